/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How alerts are configured on this installation: what the catalog says of each type, over the server's options, and the
 * windows of maintenance.
 */
#ifndef HF_SERVER_ALERT_SETTINGS_H
#define HF_SERVER_ALERT_SETTINGS_H

#include "backup/alert_config.h"
#include "server/app.h"
#include "server/keep.h"

struct hf_alert_settings {
    struct hf_alert_config_record
        configs[HF_ALERT_TYPES]; /* one the catalog lacks: as it is made */
    struct hf_alert_limits limits;
    struct hf_keep_maintenances windows; /* owned */
};
HF_MUST_CHECK enum hf_err hf_alert_settings_load(struct hf_server_app *app,
                                                 struct hf_alert_settings *out,
                                                 struct hf_error *err);
void hf_alert_settings_fini(struct hf_alert_settings *settings);
HF_CLEANUP_DEFINE_VALUE(hf_alert_settings_fini, struct hf_alert_settings)

/* How an alert of that type and project goes on now. */
struct hf_alert_rules hf_alert_settings_rules(const struct hf_server_app *app,
                                              const struct hf_alert_settings *settings,
                                              enum hf_alert_type type, const struct hf_id *project,
                                              uint64_t now_s);
/* The threshold that holds. */
uint64_t hf_alert_settings_threshold(const struct hf_server_app *app,
                                     const struct hf_alert_config_record *config);

/* At the start: makes the configurations that are missing. They can be disabled, and do not go away. */
HF_MUST_CHECK enum hf_err hf_alert_settings_begin(struct hf_server_app *app, struct hf_error *err);
/* The one of a type; one the catalog lacks as it is made, *revision 0 then. */
HF_MUST_CHECK enum hf_err hf_alert_settings_get(struct hf_server_app *app, enum hf_alert_type type,
                                                struct hf_alert_config_record *out,
                                                uint64_t *revision, struct hf_error *err);
/* INVALID by hf_alert_config_check, CONFLICT when another change came first. */
HF_MUST_CHECK enum hf_err hf_alert_settings_put(struct hf_server_app *app,
                                                struct hf_alert_config_record *config,
                                                uint64_t revision, struct hf_error *err);

#endif
