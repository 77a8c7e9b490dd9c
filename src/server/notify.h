/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling people and programs of alerts: by mail and by webhook. What is to be told stands in the catalog until it was; a
 * receiver that cannot be reached is tried again ever later, over restarts, for a week.
 */
#ifndef HF_SERVER_NOTIFY_H
#define HF_SERVER_NOTIFY_H

#include "server/alert_settings.h"
#include "server/app.h"

#define HF_NOTICE_RETRY_S 5
#define HF_NOTICE_RETRY_MAX_S 3600
#define HF_NOTICE_KEPT_S ((uint64_t)7 * 86400)

/* INVALID for receivers that cannot be: said at the start. */
HF_MUST_CHECK enum hf_err hf_notify_check(const struct hf_notify_options *options,
                                          struct hf_error *err);
/* A notice of what the alert owes for each receiver that its configuration names; a second time with the same id nothing. */
HF_MUST_CHECK enum hf_err hf_notify_queue(struct hf_server_app *app,
                                          const struct hf_alert_record *alert,
                                          const struct hf_id *id,
                                          const struct hf_alert_config_record *config,
                                          struct hf_error *err);
/*
 * Sends what is due that way. Waits for the receivers; one that failed is asked no more in this pass. What a receiver does not
 * take is logged and no error here.
 */
HF_MUST_CHECK enum hf_err hf_notify_pass(struct hf_server_app *app, enum hf_alert_way way,
                                         struct hf_error *err);

/* Who is told of anything, and how that goes. */
#define HF_NOTIFY_RECEIVERS_MAX 256
struct hf_notify_receiver {
    char target[40];          /* the same for the same receiver */
    char name[HF_NAME_BYTES]; /* for people, without what may be secret */
    uint64_t failures;        /* of the notice that failed most often */
    char error[HF_ALERT_TEXT_BYTES];
    bool has_template;
    char unrendered[HF_ALERT_TEXT_BYTES]; /* why the template gives no body; or empty */
};
struct hf_notify_receivers {
    struct hf_notify_receiver *items; /* owned */
    size_t count;
};
HF_MUST_CHECK enum hf_err hf_notify_receivers(struct hf_server_app *app,
                                              const struct hf_alert_settings *settings,
                                              struct hf_notify_receivers *out,
                                              struct hf_error *err);
void hf_notify_receivers_fini(struct hf_notify_receivers *receivers);
HF_CLEANUP_DEFINE_VALUE(hf_notify_receivers_fini, struct hf_notify_receivers)
/* "mail:ann@example.net", "webhook:https://host/...": of an address what may be shown. */
void hf_notify_name(enum hf_alert_way way, const char *to, char *out, size_t out_len);
/* How long after so many failures of one notice. */
uint64_t hf_notify_wait_s(uint64_t failures);

#endif
