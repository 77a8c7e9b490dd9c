/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upkeep of the store by the server, as several commands ask for it: grooms, dry runs, checks; and the table of what each
 * job takes there.
 */
#ifndef HF_CLI_UPKEEP_H
#define HF_CLI_UPKEEP_H

#include "cli/session.h"

struct hf_cli_upkeep {
    const char *call; /* "groom" or "check" */
    const char *set;  /* empty: all sets */
    bool dry_run;     /* of a groom */
    bool full;        /* of a check */
    uint64_t living_percent;
    bool no_wait;
};
/* Asks, waits for the end unless no_wait, and gives the usage of the jobs then: {"results"}. The first job whose work failed
 * is the error. */
HF_MUST_CHECK enum hf_err hf_cli_upkeep_run(struct hf_cli_session *session,
                                            const struct hf_cli_upkeep *wish, struct hf_json **out,
                                            struct hf_error *err);

/* What a groom did, or would do: one line a job. */
void hf_cli_upkeep_print_groom(const struct hf_json *list, bool dry_run);

#endif
