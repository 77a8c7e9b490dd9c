/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a replay needs, asked of a server: the plan for one snapshot and point, and the entries, page by page. Must not know
 * what becomes of them.
 */
#ifndef HF_CLI_OPLOG_SERVED_H
#define HF_CLI_OPLOG_SERVED_H

#include "cli/session.h"
#include "format/ids.h"
#include "oplog/replay.h"

struct hf_cli_served {
    struct hf_cli_session session;
    struct hf_json *plan; /* owned */
    struct hf_replay_point point;
    const char *server_version;     /* borrowed from plan; NULL: it did not say */
    const struct hf_json *options;  /* borrowed from plan; NULL: none */
    char target[512], point_of[64]; /* path of the snapshot's oplog; the point's parameters */
    struct hf_optime after;         /* the last entry that was handed out */
    struct hf_buf page;
    size_t at, page_bytes;
};
/* Asks for the plan. Closed with hf_cli_served_close whatever came of it. */
HF_MUST_CHECK enum hf_err hf_cli_served_open(const struct hf_cli_session_options *options,
                                             const struct hf_id *snapshot,
                                             const struct hf_target *target,
                                             struct hf_cli_served *out, struct hf_error *err);
void hf_cli_served_close(struct hf_cli_served *served);
HF_CLEANUP_DEFINE_VALUE(hf_cli_served_close, struct hf_cli_served)
/* A hf_replay_next. A server that is away for less than two minutes is waited for. */
HF_MUST_CHECK enum hf_err hf_cli_served_next(void *context, struct hf_bytes *entry, bool *more,
                                             struct hf_error *err);

#endif
