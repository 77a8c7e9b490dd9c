/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configurations out of the catalog over the options, and back into it.
 */
#include "server/alert_settings.h"

#include "server/flow.h"
#include "server/settings.h"

#define WINDOWS_MAX 10000
/* A window that is over for so long is of no interest to anybody. */
#define WINDOW_KEPT_S ((uint64_t)90 * 86400)

void hf_alert_settings_fini(struct hf_alert_settings *settings)
{
    hf_keep_maintenances_fini(&settings->windows);
}

uint64_t hf_alert_settings_threshold(const struct hf_server_app *app,
                                     const struct hf_alert_config_record *config)
{
    return config->own_threshold ? config->threshold : hf_settings_alert_limit(app, config->type);
}

/* A window that was forgotten takes no room for ever. */
static void drop_old_windows(struct hf_server_app *app, const struct hf_keep_maintenances *windows)
{
    uint64_t now_s = hf_flow_now_s();

    for (size_t i = 0; i < windows->count; i++) {
        struct hf_maintenance_record window;
        struct hf_error ignored;
        uint64_t revision = 0;
        if (windows->items[i].end_s + WINDOW_KEPT_S < now_s &&
            hf_keep_maintenance_get(app->catalog, &windows->items[i].id, &window, &revision,
                                    &ignored) == HF_ERR_OK) {
            (void)!hf_catalog_remove(app->catalog, HF_KIND_MAINTENANCE, hf_id_text(&window.id).text,
                                     revision, &ignored);
        }
    }
}

enum hf_err hf_alert_settings_load(struct hf_server_app *app, struct hf_alert_settings *out,
                                   struct hf_error *err)
{
    const struct hf_catalog_query all = {.limit = WINDOWS_MAX};
    HF_CLEANUP(hf_keep_alert_configs_fini) struct hf_keep_alert_configs configs = {.items = NULL};

    out->windows = (struct hf_keep_maintenances){.items = NULL};
    for (enum hf_alert_type type = 0; type < HF_ALERT_TYPES; type++) {
        hf_alert_config_init(&out->configs[type], type, &app->first_project, 0);
    }
    if (hf_keep_alert_config_find(app->catalog, &all, &configs, err) != HF_ERR_OK ||
        hf_keep_maintenance_find(app->catalog, &all, &out->windows, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < configs.count; i++) {
        out->configs[configs.items[i].type] = configs.items[i];
    }
    for (size_t i = 0; i < HF_ALERT_TYPES; i++) {
        out->limits.of[i] = hf_alert_settings_threshold(app, &out->configs[i]);
    }
    drop_old_windows(app, &out->windows);
    return HF_ERR_OK;
}

struct hf_alert_rules hf_alert_settings_rules(const struct hf_server_app *app,
                                              const struct hf_alert_settings *settings,
                                              enum hf_alert_type type, const struct hf_id *project,
                                              uint64_t now_s)
{
    const struct hf_alert_config_record *config = &settings->configs[type];
    struct hf_alert_rules rules = {
        .patience_s = config->own_patience ? config->patience_s : hf_alert_kinds[type].patience_s,
        .repeat_s = config->own_repeat ? config->repeat_s : app->alerts.repeat_s,
    };

    for (size_t i = 0; i < settings->windows.count; i++) {
        const struct hf_maintenance_record *window = &settings->windows.items[i];
        rules.quiet |=
            hf_id_equal(&window->project, project) && hf_maintenance_silences(window, type, now_s);
    }
    return rules;
}

enum hf_err hf_alert_settings_begin(struct hf_server_app *app, struct hf_error *err)
{
    for (enum hf_alert_type type = 0; type < HF_ALERT_TYPES; type++) {
        struct hf_alert_config_record config;
        hf_alert_config_init(&config, type, &app->first_project, hf_flow_now_s());
        enum hf_err code = hf_keep_alert_config_insert(app->catalog, &config, err);
        if (code != HF_ERR_OK && code != HF_ERR_EXISTS) {
            return hf_wrap(err, "configuration of alerts");
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_alert_settings_get(struct hf_server_app *app, enum hf_alert_type type,
                                  struct hf_alert_config_record *out, uint64_t *revision,
                                  struct hf_error *err)
{
    const struct hf_id id = hf_alert_config_id(type);

    *revision = 0;
    enum hf_err code = hf_keep_alert_config_get(app->catalog, &id, out, revision, err);
    if (code == HF_ERR_NOT_FOUND) {
        hf_alert_config_init(out, type, &app->first_project, hf_flow_now_s());
        return HF_ERR_OK;
    }
    return code;
}

enum hf_err hf_alert_settings_put(struct hf_server_app *app, struct hf_alert_config_record *config,
                                  uint64_t revision, struct hf_error *err)
{
    if (hf_alert_config_check(config, err) != HF_ERR_OK) {
        return err->code;
    }
    config->updated_s = hf_flow_now_s();
    if (revision != 0) {
        return hf_keep_alert_config_replace(app->catalog, config, &revision, err);
    }
    enum hf_err code = hf_keep_alert_config_insert(app->catalog, config, err);
    return code == HF_ERR_EXISTS ? hf_fail(err, HF_ERR_CONFLICT, "another change came first")
                                 : code;
}
