/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands: what every subcommand of the program is to the table in main, and the groups that the room cli brings.
 */
#ifndef HF_CLI_COMMAND_H
#define HF_CLI_COMMAND_H

#include "base/error.h"
#include "config/option.h"

struct hf_command {
    const char *noun;
    const char *verb; /* NULL: the noun alone */
    const char *summary;
    /* argv: what follows noun and verb. An error is printed by the caller and decides the exit code. */
    enum hf_err (*run)(int argc, char *const *argv, struct hf_error *err);
    const struct hf_option_table *options; /* for the manual; NULL: another program parses them */
};

/* The commands of this room, by their files; each table ends with noun NULL. */
extern const struct hf_command
    hf_cli_server_commands[]; /* over the server's API, as the next five */
extern const struct hf_command hf_cli_servers_commands[];
extern const struct hf_command hf_cli_alert_commands[];
extern const struct hf_command hf_cli_alert_config_commands[];
extern const struct hf_command hf_cli_settings_commands[];
extern const struct hf_command hf_cli_job_commands[];
extern const struct hf_command hf_cli_job_state_commands[];
extern const struct hf_command hf_cli_policy_commands[];
extern const struct hf_command hf_cli_snapshot_commands[];
extern const struct hf_command hf_cli_restore_commands[];
extern const struct hf_command hf_cli_link_commands[];
extern const struct hf_command hf_cli_store_commands[];  /* on a store, with no server */
extern const struct hf_command hf_cli_stores_commands[]; /* of the stores, over the server's API */
extern const struct hf_command hf_cli_upkeep_commands[]; /* of the store, over the server's API */
extern const struct hf_command hf_cli_oplog_commands[];  /* a replay on this machine */
extern const struct hf_command hf_cli_oplog_check_commands[];
extern const struct hf_command hf_cli_oplog_look_commands[]; /* the same, over the API as well */
extern const struct hf_command hf_cli_people_commands[];     /* projects and keys, over the API */
extern const struct hf_command hf_cli_demo_commands[];       /* the demo and the sandbox */
/* All of them, in the order of the help; ends with NULL. */
extern const struct hf_command *const hf_cli_tables[];

#endif
