/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three layers of settings and what they come to.
 */
#include "server/settings.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/thread.h"
#include "catalog/catalog.h"

#define DOCUMENT "settings" /* of kind HF_KIND_SETTING: {"values": {name: text}} */
#define CAS_TRIES 8

struct hf_settings {
    struct hf_mutex applying; /* taken before mutex: what was read last is obeyed last */
    struct hf_mutex mutex;    /* guards: layers, obeyed, sources */
    struct hf_setting_layer options, file, catalog;
    struct hf_setting_value obeyed[HF_SET_COUNT];
    enum hf_setting_source sources[HF_SET_COUNT];
    atomic_bool fresh;
};

static void choose(struct hf_settings *settings)
{
    for (size_t i = 0; i < HF_SET_COUNT; i++) {
        const struct {
            const struct hf_setting_layer *layer;
            enum hf_setting_source source;
        } order[] = {{&settings->options, HF_SETTING_BY_OPTION},
                     {&settings->file, HF_SETTING_BY_FILE},
                     {&settings->catalog, HF_SETTING_BY_CATALOG}};
        struct hf_error ignored;
        size_t k = 0;

        while (k < HF_ARRAY_LEN(order) && !order[k].layer->given[i]) {
            k++;
        }
        if (k < HF_ARRAY_LEN(order)) {
            settings->obeyed[i] = order[k].layer->values[i];
            settings->sources[i] = order[k].source;
        } else {
            enum hf_err code = hf_setting_parse((enum hf_setting_id)i, hf_settings[i].standard,
                                                "default", &settings->obeyed[i], &ignored);
            HF_ASSERT(code == HF_ERR_OK);
            settings->sources[i] = HF_SETTING_BY_DEFAULT;
        }
    }
}

enum hf_err hf_settings_create(struct hf_settings **out, struct hf_error *err)
{
    struct hf_settings *settings = hf_alloc_zero(sizeof *settings);

    if (settings == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    hf_mutex_init(&settings->applying);
    hf_mutex_init(&settings->mutex);
    choose(settings);
    *out = settings;
    return HF_ERR_OK;
}

void hf_settings_destroy(struct hf_settings *settings)
{
    if (settings != NULL) {
        hf_mutex_fini(&settings->mutex);
        hf_mutex_fini(&settings->applying);
        hf_free(settings);
    }
}

void hf_settings_put(struct hf_settings *settings, const struct hf_setting_layer *options,
                     const struct hf_setting_layer *file)
{
    HF_LOCKED(&settings->mutex);

    settings->options = *options;
    settings->file = *file;
    choose(settings);
    atomic_store(&settings->fresh, true);
}

bool hf_settings_are_new(const struct hf_settings *settings)
{
    return settings != NULL && atomic_load(&settings->fresh);
}

enum hf_setting_source hf_settings_get(struct hf_settings *settings, enum hf_setting_id id,
                                       struct hf_setting_value *out)
{
    HF_LOCKED(&settings->mutex);

    *out = settings->obeyed[id];
    return settings->sources[id];
}

const char *hf_setting_source_word(enum hf_setting_source source)
{
    static const char *const words[] = {"default", "catalog", "file", "option"};

    return words[source];
}

/* ---- The catalog's ---- */

/* A value that another release wrote and this one does not take is left out, and said. */
static enum hf_err read_catalog(struct hf_server_app *app, struct hf_setting_layer *out,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};

    *out = (struct hf_setting_layer){.given = {false}};
    enum hf_err code = hf_catalog_get(app->catalog, HF_KIND_SETTING, DOCUMENT, &document, err);
    if (code != HF_ERR_OK) {
        return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
    }
    const struct hf_json *values = hf_json_get(document.json, "values");
    for (size_t i = 0; i < HF_SET_COUNT; i++) {
        const char *text = hf_json_get_text(values, hf_settings[i].name);
        struct hf_error why;
        if (text == NULL) {
            continue;
        }
        out->given[i] = hf_setting_parse((enum hf_setting_id)i, text, hf_settings[i].name,
                                         &out->values[i], &why) == HF_ERR_OK;
        if (!out->given[i]) {
            hf_log_warn(app->log, "server.setting.ignored", HF_STR("error", why.message));
        }
    }
    return HF_ERR_OK;
}

/* False: there was none, and none is to be. */
static bool change_values(struct hf_json *json, const char *name, const char *text)
{
    struct hf_json *values = hf_json_get(json, "values");

    if (text == NULL) {
        if (hf_json_get(values, name) == NULL) {
            return false;
        }
        hf_json_remove(values, name);
        return true;
    }
    if (values == NULL) {
        hf_json_set_take(json, "values", hf_json_object());
        values = hf_json_get(json, "values");
    }
    hf_json_set_text(values, name, text);
    return true;
}

static enum hf_err write_catalog(struct hf_server_app *app, const char *name, const char *text,
                                 struct hf_error *err)
{
    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};

        enum hf_err code = hf_catalog_get(app->catalog, HF_KIND_SETTING, DOCUMENT, &document, err);
        bool fresh = code == HF_ERR_NOT_FOUND;
        if (fresh) {
            document.json = hf_json_object();
        } else if (code != HF_ERR_OK) {
            return code;
        }
        if (!change_values(document.json, name, text)) {
            return HF_ERR_OK;
        }
        code = fresh ? hf_catalog_insert(app->catalog, HF_KIND_SETTING, DOCUMENT, document.json,
                                         HF_CATALOG_SYNCED, err)
                     : hf_catalog_replace(app->catalog, HF_KIND_SETTING, DOCUMENT,
                                          document.revision, document.json, HF_CATALOG_SYNCED, err);
        if (code != HF_ERR_EXISTS && code != HF_ERR_CONFLICT) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "the settings change too often; hint: try again");
}

enum hf_err hf_settings_set(struct hf_server_app *app, enum hf_setting_id id, const char *text,
                            struct hf_error *err)
{
    struct hf_setting_value value;

    if (text != NULL &&
        hf_setting_parse(id, text, hf_settings[id].name, &value, err) != HF_ERR_OK) {
        return err->code;
    }
    return write_catalog(app, hf_settings[id].name, text, err) == HF_ERR_OK
               ? hf_settings_apply(app, err)
               : err->code;
}

/* ---- Obeying ---- */

static uint64_t number_of(const struct hf_server_app *app, enum hf_setting_id id)
{
    struct hf_setting_value value;

    (void)hf_settings_get(app->settings, id, &value);
    return value.number;
}

enum hf_err hf_settings_apply(struct hf_server_app *app, struct hf_error *err)
{
    struct hf_setting_layer catalog;

    if (app->settings == NULL) {
        return HF_ERR_OK;
    }
    HF_LOCKED(&app->settings->applying);
    atomic_store(&app->settings->fresh, false);
    if (read_catalog(app, &catalog, err) != HF_ERR_OK) {
        return hf_wrap(err, "settings");
    }
    hf_mutex_lock(&app->settings->mutex);
    app->settings->catalog = catalog;
    choose(app->settings);
    hf_mutex_unlock(&app->settings->mutex);
    app->oplog_kept_s = number_of(app, HF_SET_WINDOW);
    app->oplog_window_min_s = number_of(app, HF_SET_OPLOG_WINDOW);
    return HF_ERR_OK;
}

void hf_settings_policy(const struct hf_server_app *app, struct hf_policy *policy)
{
    if (app->settings == NULL) {
        return;
    }
    policy->interval_min = number_of(app, HF_SET_INTERVAL) * 60;
    policy->base_days = number_of(app, HF_SET_BASE_DAYS);
    policy->daily_days = number_of(app, HF_SET_DAILY_DAYS);
    policy->weekly_weeks = number_of(app, HF_SET_WEEKLY_WEEKS);
    policy->monthly_months = number_of(app, HF_SET_MONTHLY_MONTHS);
}

void hf_settings_url(struct hf_settings *settings, char *out, size_t out_len)
{
    struct hf_setting_value value = {.number = 0};

    if (settings != NULL) {
        (void)hf_settings_get(settings, HF_SET_CENTRAL_URL, &value);
    }
    (void)snprintf(out, out_len, "%s", value.text);
}

uint64_t hf_settings_alert_limit(const struct hf_server_app *app, enum hf_alert_type type)
{
    if (app->settings != NULL && type == HF_ALERT_OUTSIDE_SPACE_USED_THRESHOLD) {
        return number_of(app, HF_SET_SPACE_PERCENT);
    }
    if (app->settings != NULL && type == HF_ALERT_BACKUP_AGENT_CONF_CALL_FAILURE) {
        return number_of(app, HF_SET_CONF_CALLS);
    }
    return app->alerts.limits.of[type];
}
