/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tables of commands there are.
 */
#include "cli/command.h"

const struct hf_command *const hf_cli_tables[] = {
    hf_cli_server_commands,       hf_cli_alert_commands,
    hf_cli_alert_config_commands, hf_cli_job_commands,
    hf_cli_job_state_commands,    hf_cli_policy_commands,
    hf_cli_snapshot_commands,     hf_cli_restore_commands,
    hf_cli_link_commands,         hf_cli_store_commands,
    hf_cli_stores_commands,       hf_cli_upkeep_commands,
    hf_cli_oplog_commands,        hf_cli_oplog_look_commands,
    hf_cli_oplog_check_commands,  hf_cli_people_commands,
    hf_cli_demo_commands,         hf_cli_servers_commands,
    hf_cli_settings_commands,     NULL,
};
