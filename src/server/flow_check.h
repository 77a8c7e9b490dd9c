/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of the stored oplog: on schedule and by hand, with what they found kept in the catalog. What is damaged ends the
 * range that it was in from then on, is an event, and the job wants a snapshot.
 */
#ifndef HF_SERVER_FLOW_CHECK_H
#define HF_SERVER_FLOW_CHECK_H

#include "backup/records.h"
#include "codec/json.h"
#include "oplog/check.h"
#include "server/app.h"

/*
 * Reads all slices of the job: minutes or hours. *document is what is kept: hf_check_to_json's with "id", "projectId",
 * "setName", "startedS", "endedS", "byHand". CONFLICT while this server is at a check already.
 */
HF_MUST_CHECK enum hf_err hf_flow_check(struct hf_server_app *app, const struct hf_job_record *job,
                                        bool by_hand, struct hf_json **document,
                                        struct hf_error *err);
/* Checks the jobs whose last check ended app->oplog_check_s ago or more. On a worker. */
HF_MUST_CHECK enum hf_err hf_flow_check_tick(struct hf_server_app *app, struct hf_error *err);

/* What the job's last check said; NULL: there was none. */
HF_MUST_CHECK enum hf_err hf_flow_check_last(struct hf_server_app *app, const struct hf_id *job,
                                             struct hf_json **document, struct hf_error *err);
/* Slices that it found damaged: none of them may be promised. *names is the caller's to free with hf_free. */
HF_MUST_CHECK enum hf_err hf_flow_check_bad(struct hf_server_app *app, const struct hf_id *job,
                                            struct hf_object_name **names, size_t *count,
                                            struct hf_error *err);

#endif
