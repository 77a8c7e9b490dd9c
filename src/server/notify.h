/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling people and programs of alerts: by mail and by webhook. What is to be told stands in the catalog until it was; a
 * receiver that cannot be reached is tried again ever later, over restarts, for a week.
 */
#ifndef HF_SERVER_NOTIFY_H
#define HF_SERVER_NOTIFY_H

#include "backup/alert.h"
#include "server/app.h"

#define HF_NOTICE_RETRY_S 5
#define HF_NOTICE_RETRY_MAX_S 3600
#define HF_NOTICE_KEPT_S ((uint64_t)7 * 86400)

/* INVALID for receivers that cannot be: said at the start. */
HF_MUST_CHECK enum hf_err hf_notify_check(const struct hf_notify_options *options,
                                          struct hf_error *err);
/* A notice for each receiver; a second time with the same id nothing. what: "OPEN", "REPEATED", "CLOSED". */
HF_MUST_CHECK enum hf_err hf_notify_queue(struct hf_server_app *app,
                                          const struct hf_alert_record *alert,
                                          const struct hf_id *id, const char *what,
                                          struct hf_error *err);
/* Sends what is due. Waits for the receivers. The error of the last that failed; all are tried. */
HF_MUST_CHECK enum hf_err hf_notify_pass(struct hf_server_app *app, struct hf_error *err);
/* How long after so many failures of one notice. */
uint64_t hf_notify_wait_s(uint64_t failures);

#endif
