/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands about how alerts are configured, and about windows of maintenance, over the server's public API.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/define.h"
#include "cli/output.h"
#include "os/clock.h"

#define CONFIGS "/api/public/v1.0/globalAlertConfigs"

#define CONFIG_OPTIONS(OPT)                                                                        \
    OPT(enabled, FLAG, "false", 0, 0, OPT_NONE, "Look for alerts of this type again")              \
    OPT(disabled, FLAG, "false", 0, 0, OPT_NONE, "Look for none; one that goes on is cancelled")   \
    OPT(threshold, TEXT, "", 0, 20, OPT_NONE,                                                      \
        "Seconds, times or percent, as alert config list shows it")                                \
    OPT(delay, TEXT, "", 0, 20, OPT_NONE, "It is an alert once it holds for so many seconds")      \
    OPT(repeat, TEXT, "", 0, 20, OPT_NONE, "Told again after so many seconds; 0: once")            \
    OPT(notify, TEXT, "", 0, 1000, OPT_NONE,                                                       \
        "Who is told, between commas: all, mail, webhook, none, mail:ADDRESS, webhook:URL")        \
    HF_CLI_OPTIONS(OPT)
#define CONFIG_ROW(...) HF_OPTION_ROW(struct config_values, __VA_ARGS__)
HF_CLI_VALUES(config, CONFIG_OPTIONS, CONFIG_ROW)

#define WINDOW_OPTIONS(OPT)                                                                        \
    OPT(begin, TEXT, "", 0, 40, OPT_NONE, "When it begins, as in 2026-12-01T03:00:00Z; now")       \
    OPT(lasts, SECONDS, "1h", 1, 31536000, OPT_NONE, "How long it is open")                        \
    OPT(of, LIST, "", 0, 40, OPT_NONE,                                                             \
        "Which alerts are told to nobody: BACKUP (of sets), AGENT (of agents); both")              \
    OPT(description, TEXT, "", 0, 200, OPT_NONE, "Why, for the others")                            \
    HF_CLI_OPTIONS(OPT)
#define WINDOW_ROW(...) HF_OPTION_ROW(struct window_values, __VA_ARGS__)
HF_CLI_VALUES(window, WINDOW_OPTIONS, WINDOW_ROW)

static void config_row(struct hf_cli_table *table, const struct hf_json *one)
{
    const struct hf_json *threshold = hf_json_get_object(one, "threshold");
    char limit[64] = "", delay[32], repeat[32];

    if (threshold != NULL) {
        const char *unit = hf_cli_text(threshold, "units", "");
        (void)snprintf(limit, sizeof limit, "%" PRIu64 "%s",
                       hf_json_get_u64(threshold, "threshold", 0),
                       strcmp(unit, "SECONDS") == 0   ? " s"
                       : strcmp(unit, "PERCENT") == 0 ? " %"
                                                      : "");
    }
    (void)snprintf(delay, sizeof delay, "%" PRIu64 " s", hf_json_get_u64(one, "delayS", 0));
    (void)snprintf(repeat, sizeof repeat, "%" PRIu64 " s", hf_json_get_u64(one, "intervalS", 0));
    const char *cells[] = {hf_cli_text(one, "eventTypeName", ""),
                           hf_json_get_bool(one, "enabled", true) ? "yes" : "no",
                           limit,
                           delay,
                           repeat,
                           hf_cli_text(one, "notify", "")};
    hf_cli_table_row(table, cells);
}
static const char *const config_titles[] = {"TYPE",  "ENABLED", "THRESHOLD",
                                            "DELAY", "REPEAT",  "NOTIFY"};
static const struct hf_cli_listing config_listing = {
    .titles = config_titles, .columns = HF_ARRAY_LEN(config_titles), .row = config_row};

static enum hf_err show_configs(struct hf_json *results, bool as_json, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *list = hf_json_object();

    hf_json_set_u64(list, "totalCount", hf_json_count(results));
    hf_json_set_take(list, "results", results);
    return hf_cli_show_list(list, &config_listing, as_json, err);
}

static enum hf_err list_configs(struct hf_cli_session *session, bool as_json, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *all = NULL;

    return hf_cli_all_pages(session, CONFIGS, &all, err) != HF_ERR_OK
               ? err->code
               : hf_cli_show_list(all, &config_listing, as_json, err);
}

static enum hf_err add_number(struct hf_json *body, const char *key, const char *text,
                              struct hf_error *err)
{
    uint64_t number = 0;

    if (text[0] == '\0') {
        return HF_ERR_OK;
    }
    if (!hf_parse_u64(hf_str_of(text), &number) || number > INT64_MAX) {
        return hf_fail(err, HF_ERR_INVALID, "'%s' is no number", text);
    }
    hf_json_set_u64(body, key, number);
    return HF_ERR_OK;
}

static enum hf_err set_config(struct hf_cli_session *session, const struct config_values *values,
                              const char *type, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *config = NULL;
    char path[160];

    if (values->enabled && values->disabled) {
        return hf_fail(err, HF_ERR_INVALID, "--enabled and --disabled together");
    }
    if (values->enabled || values->disabled) {
        hf_json_set_bool(body, "enabled", values->enabled);
    }
    if (values->notify[0] != '\0') {
        hf_json_set_text(body, "notify", values->notify);
    }
    (void)snprintf(path, sizeof path, CONFIGS "/%.80s", type);
    if (add_number(body, "threshold", values->threshold, err) != HF_ERR_OK ||
        add_number(body, "delayS", values->delay, err) != HF_ERR_OK ||
        add_number(body, "intervalS", values->repeat, err) != HF_ERR_OK ||
        hf_cli_call(session, "PATCH", path, body, &config, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_json *one = hf_json_array();
    hf_json_append_take(one, hf_json_hold(config));
    return show_configs(one, values->json, err);
}

static enum hf_err alert_config(const struct config_values *values,
                                const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *nothing = NULL;
    const char *what = rest->arguments.values[0];
    const char *type = rest->arguments.count > 1 ? rest->arguments.values[1] : NULL;
    char path[160];

    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK) {
        return err->code;
    }
    if (strcmp(what, "list") == 0) {
        return list_configs(&session, values->json, err);
    }
    if (type == NULL || (strcmp(what, "set") != 0 && strcmp(what, "reset") != 0)) {
        return hf_fail(err, HF_ERR_INVALID,
                       "hint: holdfast alert config list, set TYPE or reset TYPE");
    }
    if (strcmp(what, "set") == 0) {
        return set_config(&session, values, type, err);
    }
    (void)snprintf(path, sizeof path, CONFIGS "/%.80s", type);
    return hf_cli_call(&session, "DELETE", path, NULL, &nothing, err);
}

static void window_row(struct hf_cli_table *table, const struct hf_json *one)
{
    const struct hf_json *types = hf_json_get_array(one, "alertTypeNames");
    char words[200] = "";
    size_t at = 0;

    for (size_t i = 0; i < hf_json_count(types) && at < sizeof words; i++) {
        at += (size_t)snprintf(words + at, sizeof words - at, "%s%s", i == 0 ? "" : ",",
                               hf_json_text(hf_json_at(types, i)));
    }
    const char *cells[] = {hf_cli_text(one, "id", ""), hf_cli_text(one, "startDate", ""),
                           hf_cli_text(one, "endDate", ""), words,
                           hf_cli_text(one, "description", "")};
    hf_cli_table_row(table, cells);
}
static const char *const window_titles[] = {"WINDOW", "FROM", "UNTIL", "OF", "WHY"};
static const struct hf_cli_listing window_listing = {
    .titles = window_titles, .columns = HF_ARRAY_LEN(window_titles), .row = window_row};

static enum hf_err add_window(struct hf_cli_session *session, const struct window_values *values,
                              const char *path, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *window = NULL;
    HF_CLEANUP(hf_json_drop) struct hf_json *list = hf_json_object();
    struct hf_json *types = hf_json_array(), *results = NULL;
    uint64_t begin_s = hf_clock_wall_ms() / 1000;
    char time[HF_TIME_TEXT_BYTES];

    for (size_t i = 0; i < values->of.count; i++) {
        hf_json_append_text(types, values->of.values[i]);
    }
    if (values->of.count == 0) {
        hf_json_append_text(types, "AGENT");
        hf_json_append_text(types, "BACKUP");
    }
    hf_json_set_take(body, "alertTypeNames", types);
    if (values->begin[0] != '\0' && !hf_time_parse(hf_str_of(values->begin), &begin_s)) {
        return hf_fail(err, HF_ERR_INVALID, "--begin '%s' is no time as in 2026-12-01T03:00:00Z",
                       values->begin);
    }
    hf_time_format(begin_s, time);
    hf_json_set_text(body, "startDate", time);
    hf_time_format(begin_s + values->lasts, time);
    hf_json_set_text(body, "endDate", time);
    hf_json_set_text(body, "description", values->description);
    if (hf_cli_call(session, "POST", path, body, &window, err) != HF_ERR_OK) {
        return err->code;
    }
    results = hf_json_array();
    hf_json_append_take(results, hf_json_hold(window));
    hf_json_set_u64(list, "totalCount", 1);
    hf_json_set_take(list, "results", results);
    return hf_cli_show_list(list, &window_listing, values->json, err);
}

static enum hf_err alert_window(const struct window_values *values,
                                const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;
    const char *what = rest->arguments.values[0];
    char path[256];

    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_find_project(&session, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)snprintf(path, sizeof path, "/api/public/v1.0/groups/%s/maintenanceWindows",
                   session.project);
    if (strcmp(what, "list") == 0) {
        return hf_cli_all_pages(&session, path, &answer, err) != HF_ERR_OK
                   ? err->code
                   : hf_cli_show_list(answer, &window_listing, values->json, err);
    }
    if (strcmp(what, "add") == 0) {
        return add_window(&session, values, path, err);
    }
    if (strcmp(what, "remove") != 0 || rest->arguments.count < 2) {
        return hf_fail(err, HF_ERR_INVALID,
                       "hint: holdfast alert window list, add or remove WINDOW");
    }
    size_t at = strlen(path);
    (void)snprintf(path + at, sizeof path - at, "/%.64s", rest->arguments.values[1]);
    return hf_cli_call(&session, "DELETE", path, NULL, &answer, err);
}

#define COMMANDS(VERB)                                                                             \
    VERB(alert_config, config, "alert", "config", "list | set TYPE | reset TYPE", 1, 2,            \
         "See or change what is an alert, and who is told",                                        \
         "Lists how each type of alerts is configured, changes that, or makes it as it was at "    \
         "first.")                                                                                 \
    VERB(alert_window, window, "alert", "window", "list | add | remove WINDOW", 1, 2,              \
         "Tell nobody of alerts while there is maintenance",                                       \
         "Lists, makes or removes a window of maintenance: alerts come and go, and nobody is "     \
         "told of them. What is open still when it ends is told then.")
HF_CLI_TABLE(hf_cli_alert_config_commands, COMMANDS)
