/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server obeys under the reference's names (config/setting.h): an option that was given wins over the configuration
 * file, that over the catalog, that over the default. Any thread.
 */
#ifndef HF_SERVER_SETTINGS_H
#define HF_SERVER_SETTINGS_H

#include "backup/policy.h"
#include "base/error.h"
#include "config/setting.h"
#include "server/app.h"

enum hf_setting_source {
    HF_SETTING_BY_DEFAULT,
    HF_SETTING_BY_CATALOG,
    HF_SETTING_BY_FILE,
    HF_SETTING_BY_OPTION,
};

HF_MUST_CHECK enum hf_err hf_settings_create(struct hf_settings **out, struct hf_error *err);
void hf_settings_destroy(struct hf_settings *settings);
HF_CLEANUP_DEFINE(hf_settings_destroy, struct hf_settings *)
/* At the start, and when the files were read again: takes effect with the next hf_settings_apply. */
void hf_settings_put(struct hf_settings *settings, const struct hf_setting_layer *options,
                     const struct hf_setting_layer *file);
/* True when hf_settings_put was called since the last hf_settings_apply. */
bool hf_settings_are_new(const struct hf_settings *settings);

/* Reads the catalog's, too, and makes the app obey: app->settings may be NULL, then nothing is changed. */
HF_MUST_CHECK enum hf_err hf_settings_apply(struct hf_server_app *app, struct hf_error *err);

/* The value that is obeyed, and where it comes from. */
enum hf_setting_source hf_settings_get(struct hf_settings *settings, enum hf_setting_id id,
                                       struct hf_setting_value *out);
const char *hf_setting_source_word(enum hf_setting_source source);
/* Into the catalog, and obeyed at once where nothing stronger says otherwise; text NULL: out of it. */
HF_MUST_CHECK enum hf_err hf_settings_set(struct hf_server_app *app, enum hf_setting_id id,
                                          const char *text, struct hf_error *err);

/* The policy of a job that has none of its own. */
void hf_settings_policy(const struct hf_server_app *app, struct hf_policy *policy);
/* mms.backupCentralUrl; empty: none was set, or settings is NULL. */
void hf_settings_url(struct hf_settings *settings, char *out, size_t out_len);
/* The threshold of an alert whose configuration has none of its own. Any thread. */
uint64_t hf_settings_alert_limit(const struct hf_server_app *app, enum hf_alert_type type);

#endif
