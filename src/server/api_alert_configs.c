/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configurations of alerts and windows of maintenance over HTTP (rest-api.md 5.9, 5.11). There is one configuration for each
 * type, for all projects: it is changed and disabled, and deleting it makes it as it was at first. What the public form has no
 * word for ("delayS", "intervalS", "notify") stands beside the rest.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "server/alert_settings.h"
#include "server/api.h"
#include "server/notify.h"

#define WINDOWS_MAX 10000

/* ---- Configurations ---- */

/* The receivers as they may be shown: of a webhook's address the host alone. */
static void shown_ways(const struct hf_alert_config_record *config, char *out, size_t out_len)
{
    HF_CLEANUP(hf_free) struct hf_alert_ways *ways = hf_alloc_zero(sizeof *ways);
    struct hf_error ignored;
    size_t at = 0;

    out[0] = '\0';
    if (ways == NULL || hf_alert_ways_parse(config->notify, ways, &ignored) != HF_ERR_OK) {
        return;
    }
    for (size_t i = 0; i < ways->count && at < out_len; i++) {
        char name[HF_NAME_BYTES];
        hf_notify_name(ways->items[i].way, ways->items[i].to, name, sizeof name);
        at += (size_t)snprintf(out + at, out_len - at, "%s%s", i == 0 ? "" : ",", name);
    }
    if (ways->count == 0) {
        (void)snprintf(out, out_len, "none");
    }
}

static struct hf_json *notifications(const struct hf_server_call *call,
                                     const struct hf_alert_config_record *config)
{
    HF_CLEANUP(hf_free) struct hf_alert_ways *ways = hf_alloc_zero(sizeof *ways);
    struct hf_json *list = hf_json_array();
    struct hf_alert_settings none = {.windows = {.items = NULL}};
    struct hf_error ignored;

    none.configs[config->type] = *config;
    const struct hf_alert_rules rules =
        hf_alert_settings_rules(call->app, &none, config->type, &config->project, 0);
    if (ways == NULL || hf_alert_ways_parse(config->notify, ways, &ignored) != HF_ERR_OK) {
        return list;
    }
    for (size_t i = 0; i < ways->count; i++) {
        const struct hf_alert_way_to *one = &ways->items[i];
        struct hf_json *json = hf_json_object();
        char name[HF_NAME_BYTES];
        bool mail = one->way == HF_ALERT_BY_MAIL;
        hf_json_set_text(json, "typeName",
                         !mail                ? "WEBHOOK"
                         : one->to[0] != '\0' ? "EMAIL"
                                              : "ADMIN");
        hf_json_set_u64(json, "delayMin", rules.patience_s / 60);
        hf_json_set_u64(json, "intervalMin", rules.repeat_s / 60);
        if (one->to[0] != '\0') {
            hf_notify_name(one->way, one->to, name, sizeof name);
            hf_json_set_text(json, mail ? "emailAddress" : "webhookUrl", strchr(name, ':') + 1);
        }
        hf_json_append_take(list, json);
    }
    return list;
}

static struct hf_json *config_document(struct hf_server_call *call,
                                       const struct hf_alert_config_record *config)
{
    static const char *const units[] = {"", "SECONDS", "RAW", "PERCENT"};
    const struct hf_alert_kind *kind = &hf_alert_kinds[config->type];
    struct hf_json *json = hf_json_object(), *threshold = hf_json_object();
    struct hf_alert_settings none = {.windows = {.items = NULL}};
    char text[HF_ALERT_NOTIFY_BYTES], path[160];

    none.configs[config->type] = *config;
    const struct hf_alert_rules rules =
        hf_alert_settings_rules(call->app, &none, config->type, &config->project, 0);
    hf_json_set_text(json, "id", hf_id_text(&config->id).text);
    hf_json_set_text(json, "eventTypeName", kind->name);
    hf_json_set_text(json, "scope", hf_alert_scope_words[kind->scope]);
    hf_json_set_bool(json, "enabled", !config->disabled);
    hf_json_set_bool(json, "forAllGroups", true);
    hf_json_set_take(json, "matchers", hf_json_array());
    if (kind->unit != HF_ALERT_NOTHING) {
        bool least = config->type == HF_ALERT_LOW_CATALOG_FREE_SPACE;
        hf_json_set_text(threshold, "operator", least ? "LESS_THAN" : "GREATER_THAN");
        hf_json_set_u64(threshold, "threshold", hf_alert_settings_threshold(call->app, config));
        hf_json_set_text(threshold, "units", units[kind->unit]);
        hf_json_set_bool(threshold, "isDefault", !config->own_threshold);
        hf_json_set_take(json, "threshold", hf_json_hold(threshold));
    }
    hf_json_drop(threshold);
    hf_json_set_u64(json, "delayS", rules.patience_s);
    hf_json_set_u64(json, "intervalS", rules.repeat_s);
    shown_ways(config, text, sizeof text);
    hf_json_set_text(json, "notify", text);
    hf_json_set_take(json, "notifications", notifications(call, config));
    hf_time_format(config->created_s, text);
    hf_json_set_text(json, "created", text);
    hf_time_format(config->updated_s, text);
    hf_json_set_text(json, "updated", text);
    (void)snprintf(path, sizeof path, "/api/public/v1.0/globalAlertConfigs/%s",
                   hf_id_text(&config->id).text);
    hf_reply_link(call, json, "self", path);
    return json;
}

static void list_configs(struct hf_server_call *call, bool of_projects)
{
    struct hf_call_page page;
    struct hf_error err;
    struct hf_json *results = NULL;
    uint64_t total = 0;

    if (!hf_call_page(call, &page)) {
        return;
    }
    results = hf_json_array();
    for (enum hf_alert_type type = 0; type < HF_ALERT_TYPES; type++) {
        struct hf_alert_config_record config;
        uint64_t revision = 0;
        if (of_projects && hf_alert_kinds[type].scope != HF_ALERT_PROJECT) {
            continue;
        }
        if (hf_alert_settings_get(call->app, type, &config, &revision, &err) != HF_ERR_OK) {
            hf_json_drop(results);
            hf_reply_error(call, &err, NULL);
            return;
        }
        if (total / page.size == page.number - 1) {
            hf_json_append_take(results, config_document(call, &config));
        }
        total++;
    }
    hf_reply_list(call, &page, results, total);
}

void hf_api_alert_configs(struct hf_server_call *call)
{
    if (hf_api_check_group(call)) {
        list_configs(call, true);
    }
}

void hf_api_global_alert_configs(struct hf_server_call *call)
{
    list_configs(call, false);
}

/* Nothing of an alert can be asked for but its type. */
void hf_api_alert_matchers(struct hf_server_call *call)
{
    hf_reply_json(call, 200, hf_json_array());
}

/* False: it was answered. The path has the id, or our own clients the type's name. */
static bool find_config(struct hf_server_call *call, struct hf_alert_config_record *out,
                        uint64_t *revision)
{
    const char *wanted = call->parameters[0];
    struct hf_error err;
    struct hf_id id;

    for (enum hf_alert_type type = 0; type < HF_ALERT_TYPES; type++) {
        const struct hf_id of_type = hf_alert_config_id(type);
        if (strcmp(wanted, hf_id_text(&of_type).text) != 0 &&
            strcmp(wanted, hf_alert_kinds[type].name) != 0) {
            continue;
        }
        if (hf_alert_settings_get(call->app, type, out, revision, &err) != HF_ERR_OK) {
            hf_reply_error(call, &err, NULL);
            return false;
        }
        return true;
    }
    bool is_id = hf_id_parse(hf_str_of(wanted), &id);
    hf_reply_fail(
        call, HF_ERR_NOT_FOUND, is_id ? "ALERT_CONFIG_NOT_FOUND" : "INVALID_ALERT_CONFIG_ID",
        "there is no configuration of alerts %s; hint: holdfast alert config list", wanted);
    return false;
}

void hf_api_alert_config(struct hf_server_call *call)
{
    struct hf_alert_config_record config;
    uint64_t revision = 0;

    if (find_config(call, &config, &revision)) {
        hf_reply_json(call, 200, config_document(call, &config));
    }
}

/* A number of the body; a negative one is above every limit. */
static bool take_number(const struct hf_json *body, const char *key, bool *own, uint64_t *out)
{
    if (hf_json_get(body, key) == NULL) {
        return false;
    }
    int64_t value = hf_json_get_integer(body, key, -1);
    *own = true;
    *out = value < 0 ? UINT64_MAX : (uint64_t)value;
    return true;
}

/* What was shown without its path and comes back so is what it was. */
static void take_ways(const struct hf_json *body, struct hf_alert_config_record *config)
{
    const char *wanted = hf_json_get_text(body, "notify");
    char shown[HF_ALERT_NOTIFY_BYTES];

    shown_ways(config, shown, sizeof shown);
    if (wanted != NULL && strcmp(wanted, shown) != 0) {
        (void)snprintf(config->notify, sizeof config->notify, "%s",
                       strlen(wanted) < sizeof config->notify ? wanted : "?");
    }
}

/* False, and answered. */
static bool put_config(struct hf_server_call *call, struct hf_alert_config_record *config,
                       uint64_t revision)
{
    struct hf_error err;

    if (hf_alert_settings_put(call->app, config, revision, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, err.code == HF_ERR_INVALID ? "INVALID_ATTRIBUTE" : NULL);
        return false;
    }
    return true;
}

void hf_api_set_alert_config(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {
        {"enabled", HF_JSON_BOOL},      {"threshold", HF_JSON_NULL}, {"delayS", HF_JSON_INTEGER},
        {"intervalS", HF_JSON_INTEGER}, {"notify", HF_JSON_TEXT},    {NULL, HF_JSON_NULL}};
    struct hf_alert_config_record config;
    uint64_t revision = 0;

    if (!find_config(call, &config, &revision) || !hf_call_body_only(call, members)) {
        return;
    }
    const struct hf_json *threshold = hf_json_get_object(call->body, "threshold");
    config.disabled = !hf_json_get_bool(call->body, "enabled", !config.disabled);
    (void)take_number(threshold != NULL ? threshold : call->body, "threshold",
                      &config.own_threshold, &config.threshold);
    (void)take_number(call->body, "delayS", &config.own_patience, &config.patience_s);
    (void)take_number(call->body, "intervalS", &config.own_repeat, &config.repeat_s);
    take_ways(call->body, &config);
    if (put_config(call, &config, revision)) {
        hf_reply_json(call, 200, config_document(call, &config));
    }
}

/* It goes on as it was made at first. */
void hf_api_reset_alert_config(struct hf_server_call *call)
{
    struct hf_alert_config_record config, fresh;
    uint64_t revision = 0;

    if (!find_config(call, &config, &revision)) {
        return;
    }
    hf_alert_config_init(&fresh, config.type, &call->app->first_project, config.created_s);
    if (put_config(call, &fresh, revision)) {
        hf_reply_empty(call, 200);
    }
}

/* ---- Windows of maintenance ---- */

static struct hf_json *window_document(struct hf_server_call *call,
                                       const struct hf_maintenance_record *window)
{
    struct hf_json *json = hf_json_object(), *types = hf_json_array();
    char text[HF_TIME_TEXT_BYTES], path[160];

    hf_json_set_text(json, "id", hf_id_text(&window->id).text);
    hf_json_set_text(json, "groupId", hf_id_text(&window->project).text);
    const struct {
        const char *key;
        uint64_t seconds;
    } times[] = {{"created", window->created_s},
                 {"updated", window->updated_s},
                 {"startDate", window->start_s},
                 {"endDate", window->end_s}};
    for (size_t i = 0; i < HF_ARRAY_LEN(times); i++) {
        hf_time_format(times[i].seconds, text);
        hf_json_set_text(json, times[i].key, text);
    }
    for (const char *at = window->types; *at != '\0';) {
        size_t len = strcspn(at, ",");
        char word[HF_WORD_BYTES];
        (void)snprintf(word, sizeof word, "%.*s", (int)len, at);
        hf_json_append_text(types, word);
        at += at[len] == '\0' ? len : len + 1;
    }
    hf_json_set_take(json, "alertTypeNames", types);
    hf_json_set_text(json, "description", window->description);
    (void)snprintf(path, sizeof path, "/api/public/v1.0/groups/%s/maintenanceWindows/%s",
                   hf_id_text(&window->project).text, hf_id_text(&window->id).text);
    hf_reply_link(call, json, "self", path);
    return json;
}

void hf_api_maintenance_windows(struct hf_server_call *call)
{
    HF_CLEANUP(hf_keep_maintenances_fini) struct hf_keep_maintenances windows = {.items = NULL};
    struct hf_call_page page;
    struct hf_error err;

    if (!hf_api_check_group(call) || !hf_call_page(call, &page)) {
        return;
    }
    const struct hf_id_text project = hf_id_text(&call->project);
    const struct hf_catalog_query query = {
        .index = "projectId", .equals_text = project.text, .limit = WINDOWS_MAX};
    if (hf_keep_maintenance_find(call->app->catalog, &query, &windows, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *results = hf_json_array();
    for (size_t i = 0; i < windows.count; i++) {
        if (i / page.size == page.number - 1) {
            hf_json_append_take(results, window_document(call, &windows.items[i]));
        }
    }
    hf_reply_list(call, &page, results, windows.count);
}

/* False: it was answered. */
static bool take_time(struct hf_server_call *call, const char *key, uint64_t *out)
{
    const char *text = hf_json_get_text(call->body, key);

    if (text == NULL || hf_time_parse(hf_str_of(text), out)) {
        return true;
    }
    hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE",
                  "%s is '%s', no date as in 2026-11-25T03:31:17Z", key, text);
    return false;
}

static bool take_types(struct hf_server_call *call, struct hf_maintenance_record *window)
{
    const struct hf_json *types = hf_json_get_array(call->body, "alertTypeNames");
    size_t at = 0;

    if (types == NULL) {
        return true;
    }
    window->types[0] = '\0';
    for (size_t i = 0; i < hf_json_count(types); i++) {
        const char *word = hf_json_text(hf_json_at(types, i));
        if (word == NULL || !hf_maintenance_type_is(word) || at > sizeof window->types / 2) {
            hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ENUM_VALUE",
                          "alertTypeNames holds '%s', not HOST, REPLICA_SET, CLUSTER, AGENT or "
                          "BACKUP",
                          word == NULL ? "no text" : word);
            return false;
        }
        at += (size_t)snprintf(window->types + at, sizeof window->types - at, "%s%s",
                               i == 0 ? "" : ",", word);
    }
    return true;
}

/* False: it was answered. */
static bool take_window(struct hf_server_call *call, struct hf_maintenance_record *window)
{
    static const struct hf_call_member members[] = {{"startDate", HF_JSON_TEXT},
                                                    {"endDate", HF_JSON_TEXT},
                                                    {"alertTypeNames", HF_JSON_ARRAY},
                                                    {"description", HF_JSON_TEXT},
                                                    {NULL, HF_JSON_NULL}};

    if (!hf_call_body_only(call, members) || !take_time(call, "startDate", &window->start_s) ||
        !take_time(call, "endDate", &window->end_s) || !take_types(call, window)) {
        return false;
    }
    const char *text = hf_json_get_text(call->body, "description");
    if (text != NULL) {
        (void)snprintf(window->description, sizeof window->description, "%.*s",
                       (int)sizeof window->description - 1, text);
    }
    const char *missing = window->start_s == 0       ? "START_DATE"
                          : window->end_s == 0       ? "END_DATE"
                          : window->types[0] == '\0' ? "ALERT_TYPE_NAME"
                                                     : NULL;
    char code[64];
    if (missing != NULL) {
        (void)snprintf(code, sizeof code, "MISSING_MAINTENANCE_WINDOW_%s", missing);
        hf_reply_fail(call, HF_ERR_INVALID, code,
                      "a window of maintenance needs startDate, endDate and alertTypeNames");
        return false;
    }
    if (window->start_s >= window->end_s) {
        hf_reply_fail(call, HF_ERR_INVALID, "MAINTENANCE_WINDOW_START_DATE_AFTER_END_DATE",
                      "the window's start is not before its end");
        return false;
    }
    window->updated_s = hf_flow_now_s();
    return true;
}

void hf_api_add_maintenance_window(struct hf_server_call *call)
{
    struct hf_maintenance_record window = {.created_s = hf_flow_now_s()};
    struct hf_error err;

    if (!hf_api_check_group(call) || !take_window(call, &window)) {
        return;
    }
    window.id = hf_flow_new_id();
    window.project = call->project;
    if (hf_keep_maintenance_insert(call->app->catalog, &window, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_reply_json(call, 201, window_document(call, &window));
}

/* False: it was answered. */
static bool find_window(struct hf_server_call *call, struct hf_maintenance_record *out,
                        uint64_t *revision)
{
    struct hf_error err;
    struct hf_id id;

    if (!hf_api_check_group(call) || !hf_call_id(call, 1, "INVALID_WINDOW_ID", &id)) {
        return false;
    }
    enum hf_err code = hf_keep_maintenance_get(call->app->catalog, &id, out, revision, &err);
    if (code == HF_ERR_OK && hf_id_equal(&out->project, &call->project)) {
        return true;
    }
    if (code == HF_ERR_OK || code == HF_ERR_NOT_FOUND) {
        (void)hf_fail(&err, HF_ERR_NOT_FOUND, "there is no maintenance window %s",
                      call->parameters[1]);
    }
    hf_reply_error(call, &err,
                   err.code == HF_ERR_NOT_FOUND ? "MAINTENANCE_WINDOW_NOT_FOUND" : NULL);
    return false;
}

void hf_api_maintenance_window(struct hf_server_call *call)
{
    struct hf_maintenance_record window;
    uint64_t revision = 0;

    if (find_window(call, &window, &revision)) {
        hf_reply_json(call, 200, window_document(call, &window));
    }
}

void hf_api_set_maintenance_window(struct hf_server_call *call)
{
    struct hf_maintenance_record window;
    struct hf_error err;
    uint64_t revision = 0;

    if (!find_window(call, &window, &revision) || !take_window(call, &window)) {
        return;
    }
    if (hf_keep_maintenance_replace(call->app->catalog, &window, &revision, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_reply_json(call, 200, window_document(call, &window));
}

void hf_api_remove_maintenance_window(struct hf_server_call *call)
{
    struct hf_maintenance_record window;
    struct hf_error err;
    uint64_t revision = 0;

    if (!find_window(call, &window, &revision)) {
        return;
    }
    if (hf_catalog_remove(call->app->catalog, HF_KIND_MAINTENANCE, hf_id_text(&window.id).text,
                          revision, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_reply_empty(call, 200);
}
