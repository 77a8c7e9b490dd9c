/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restore onto a whole set, from the command line.
 */
#ifndef HF_CLI_TARGET_H
#define HF_CLI_TARGET_H

#include "cli/session.h"
#include "oplog/ranges.h"

struct hf_cli_set_target {
    const char *snapshot; /* NULL: the newest one of set */
    const char *set;      /* NULL: snapshot says */
    const char *target_set;
    const struct hf_target *point; /* NULL: the snapshot as it is */
    bool dry_run, reuse_space, yes, no_wait, json;
};
/* Asks, unless it is a dry run or yes; waits for the end, showing how far it is. */
HF_MUST_CHECK enum hf_err hf_cli_restore_target(struct hf_cli_session *session,
                                                const struct hf_cli_set_target *wish,
                                                struct hf_error *err);
/* What `restore show` adds for one: phase, members, what stands in its way. */
void hf_cli_print_set_target(const struct hf_json *restore);

#endif
