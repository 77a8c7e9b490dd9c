/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Points in time on the command line: the options that name one, what a server is sent of them, and what is printed of a
 * restore to one. Knows no command.
 */
#ifndef HF_CLI_POINT_H
#define HF_CLI_POINT_H

#include <stdbool.h>

#include "base/error.h"
#include "codec/json.h"
#include "oplog/ranges.h"

#define HF_CLI_TARGET_OPTIONS(OPT)                                                                 \
    OPT(until, TEXT, "", 0, 64, OPT_NONE,                                                          \
        "Point in time, not including that second: 2026-11-30T14:03:07Z")                          \
    OPT(oplog_ts, TEXT, "", 0, 64, OPT_NONE,                                                       \
        "Point in time, including that oplog entry: SECONDS.INCREMENT")

/* Both empty: *wanted is false. INVALID: both given, or no such point. */
HF_MUST_CHECK enum hf_err hf_cli_target(const char *until, const char *oplog_ts, bool *wanted,
                                        struct hf_target *out, struct hf_error *err);
/* As the API takes it. */
void hf_cli_target_set(struct hf_json *body, const struct hf_target *target);
/* "2026-11-30T14:03:07Z" or "1795450667.68" of a restore's document; empty: it has no point. */
void hf_cli_point_text(const struct hf_json *restore, char out[64]);
/* What the replay did, and what it left wrong; nothing for a restore without a point. */
void hf_cli_print_point(const struct hf_json *restore);

#endif
