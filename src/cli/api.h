/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that several commands make: lists of all pages, waiting for an end, ids in paths.
 */
#ifndef HF_CLI_API_H
#define HF_CLI_API_H

#include "cli/session.h"

#define HF_CLI_PRIVATE "/api/private/v1.0"

/* HF_CLI_PRIVATE/noun/id + tail; INVALID when id is none, so that nothing else gets into a path. */
HF_MUST_CHECK enum hf_err hf_cli_id_target(char *out, size_t out_len, const char *noun,
                                           const char *id, const char *tail, struct hf_error *err);
/* Asks the server for the key's project; it stands in session->project then. */
HF_MUST_CHECK enum hf_err hf_cli_find_project(struct hf_cli_session *session, struct hf_error *err);
/* The job of a set. */
HF_MUST_CHECK enum hf_err hf_cli_find_job(struct hf_cli_session *session, const char *set,
                                          char out[32], struct hf_error *err);
/* All pages of a list into one document. */
HF_MUST_CHECK enum hf_err hf_cli_all_pages(struct hf_cli_session *session, const char *target,
                                           struct hf_json **out, struct hf_error *err);
/* Waits while the record at target is IN_PROGRESS, showing its progress. */
HF_MUST_CHECK enum hf_err hf_cli_watch(struct hf_cli_session *session, const char *target,
                                       const char *what, struct hf_json **out,
                                       struct hf_error *err);
/* What is known of a restore's link, indented. */
void hf_cli_print_link(const struct hf_json *link);
const char *hf_cli_text(const struct hf_json *json, const char *key, const char *fallback);

#endif
