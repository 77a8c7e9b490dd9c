/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that several commands make: about one thing, lists of all pages, waiting for an end, ids in paths.
 */
#ifndef HF_CLI_API_H
#define HF_CLI_API_H

#include "cli/output.h"
#include "cli/session.h"

#define HF_CLI_PRIVATE "/api/private/v1.0"

/* HF_CLI_PRIVATE/noun/id + tail; INVALID when id is none, so that nothing else gets into a path. */
HF_MUST_CHECK enum hf_err hf_cli_id_target(char *out, size_t out_len, const char *noun,
                                           const char *id, const char *tail, struct hf_error *err);
/* Asks the server for the key's project; it stands in session->project then. */
HF_MUST_CHECK enum hf_err hf_cli_find_project(struct hf_cli_session *session, struct hf_error *err);
/* The job of a set: what is known of it, and its id alone. */
HF_MUST_CHECK enum hf_err hf_cli_job_of(struct hf_cli_session *session, const char *set,
                                        struct hf_json **out, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_cli_find_job(struct hf_cli_session *session, const char *set,
                                          char out[32], struct hf_error *err);
/* All pages of a list into one document. */
HF_MUST_CHECK enum hf_err hf_cli_all_pages(struct hf_cli_session *session, const char *target,
                                           struct hf_json **out, struct hf_error *err);
/* Shows all pages of a list. */
HF_MUST_CHECK enum hf_err hf_cli_list(const struct hf_cli_session_options *server,
                                      const char *target, const struct hf_cli_listing *listing,
                                      bool as_json, struct hf_error *err);

/* A call about one thing, which the command's option names, or its argument. */
struct hf_cli_one {
    struct hf_cli_session_options server;
    const char *method;
    const char *noun;  /* "snapshot": the option's name, and "snapshots" is in the path */
    const char *tail;  /* what follows the id in the path */
    const char *given; /* the option's text */
};
/* *id is borrowed from one or rest. */
HF_MUST_CHECK enum hf_err hf_cli_call_one(const struct hf_cli_one *one,
                                          const struct hf_option_rest *rest, const char **id,
                                          struct hf_json **out, struct hf_error *err);

/* Waits while the snapshot or restore (noun) is IN_PROGRESS, showing its progress. */
HF_MUST_CHECK enum hf_err hf_cli_watch(struct hf_cli_session *session, const char *noun,
                                       const char *id, struct hf_json **out, struct hf_error *err);
/* What the end of a snapshot or restore means: OK, or the error of which its record tells. Decides the exit code. */
HF_MUST_CHECK enum hf_err hf_cli_ended(const struct hf_json *record, const char *noun,
                                       struct hf_error *err);
const char *hf_cli_text(const struct hf_json *json, const char *key, const char *fallback);

#endif
