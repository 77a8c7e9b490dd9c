/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands about alerts, over the server's public API.
 */
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/define.h"
#include "cli/output.h"
#include "net/url.h"
#include "os/clock.h"

#define LIST_OPTIONS(OPT)                                                                          \
    OPT(all, FLAG, "false", 0, 0, OPT_NONE, "Those that are over, too")                            \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Only those of this replica set")                         \
    OPT(type, TEXT, "", 0, 100, OPT_NONE, "Only those of this type, as in OPLOG_BEHIND")           \
    HF_CLI_OPTIONS(OPT)
#define LIST_ROW(...) HF_OPTION_ROW(struct list_values, __VA_ARGS__)
HF_CLI_VALUES(list, LIST_OPTIONS, LIST_ROW)

#define ONE_OPTIONS(OPT)                                                                           \
    OPT(alert, TEXT, "", 0, 64, OPT_NONE, "Id of the alert")                                       \
    HF_CLI_OPTIONS(OPT)
#define ONE_ROW(...) HF_OPTION_ROW(struct one_values, __VA_ARGS__)
HF_CLI_VALUES(one, ONE_OPTIONS, ONE_ROW)

#define ACKNOWLEDGE_OPTIONS(OPT)                                                                   \
    OPT(wait_for, SECONDS, "1d", 0, 315360000, OPT_NONE,                                           \
        "Do not tell the alert again for so long; 0 takes the acknowledgement back")               \
    OPT(comment, TEXT, "", 0, 500, OPT_NONE, "Why, for the others")                                \
    ONE_OPTIONS(OPT)
#define ACKNOWLEDGE_ROW(...) HF_OPTION_ROW(struct acknowledge_values, __VA_ARGS__)
HF_CLI_VALUES(acknowledge, ACKNOWLEDGE_OPTIONS, ACKNOWLEDGE_ROW)

static enum hf_err alerts_path(struct hf_cli_session *session, const char *id, char *out,
                               size_t out_len, struct hf_error *err)
{
    if (hf_cli_find_project(session, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)snprintf(out, out_len, "/api/public/v1.0/groups/%s/alerts%s%.64s", session->project,
                   id[0] == '\0' ? "" : "/", id);
    return HF_ERR_OK;
}

static void list_row(struct hf_cli_table *table, const struct hf_json *one)
{
    const char *set = hf_cli_text(one, "replicaSetName", "");
    const char *cells[] = {hf_cli_text(one, "id", ""),
                           hf_cli_text(one, "created", ""),
                           hf_cli_text(one, "status", ""),
                           hf_cli_text(one, "eventTypeName", ""),
                           set[0] != '\0' ? set : hf_cli_text(one, "hostnameAndPort", ""),
                           hf_cli_text(one, "acknowledgedUntil", ""),
                           hf_cli_text(one, "text", "")};
    hf_cli_table_row(table, cells);
}

static const char *const list_titles[] = {"ALERT", "SINCE",        "STATUS", "TYPE",
                                          "WHERE", "ACKNOWLEDGED", "WHAT"};
static const struct hf_cli_listing list_listing = {
    .titles = list_titles, .columns = HF_ARRAY_LEN(list_titles), .row = list_row};

static bool is_wanted(const struct hf_json *one, const struct list_values *values)
{
    const char *status = hf_cli_text(one, "status", "");

    return (values->all || strcmp(status, "OPEN") == 0 || strcmp(status, "TRACKING") == 0) &&
           (values->set[0] == '\0' ||
            strcmp(hf_cli_text(one, "replicaSetName", ""), values->set) == 0) &&
           (values->type[0] == '\0' ||
            strcmp(hf_cli_text(one, "eventTypeName", ""), values->type) == 0);
}

static enum hf_err alert_list(const struct list_values *values, const struct hf_option_rest *rest,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *all = NULL;
    HF_CLEANUP(hf_json_drop) struct hf_json *list = hf_json_object();
    char path[256];

    (void)rest;
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        alerts_path(&session, "", path, sizeof path, err) != HF_ERR_OK ||
        hf_cli_all_pages(&session, path, &all, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_json *results = hf_json_array();
    const struct hf_json *found = hf_json_get_array(all, "results");
    for (size_t i = 0; i < hf_json_count(found); i++) {
        if (is_wanted(hf_json_at(found, i), values)) {
            hf_json_append_take(results, hf_json_hold(hf_json_at(found, i)));
        }
    }
    hf_json_set_u64(list, "totalCount", hf_json_count(results));
    hf_json_set_take(list, "results", results);
    return hf_cli_show_list(list, &list_listing, values->json, err);
}

static enum hf_err show(const struct hf_json *alert, bool as_json, struct hf_error *err)
{
    static const struct {
        const char *title, *key;
    } lines[] = {{"alert", "id"},
                 {"type", "eventTypeName"},
                 {"status", "status"},
                 {"scope", "scope"},
                 {"since", "created"},
                 {"over", "resolved"},
                 {"set", "replicaSetName"},
                 {"host", "hostnameAndPort"},
                 {"what", "text"},
                 {"told", "lastNotified"},
                 {"acknowledged", "acknowledgedUntil"},
                 {"by", "acknowledgingUsername"},
                 {"comment", "acknowledgementComment"}};

    if (as_json) {
        return hf_cli_print_json(alert, err);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(lines); i++) {
        const char *text = hf_cli_text(alert, lines[i].key, "");
        if (text[0] != '\0') {
            (void)printf("%-13s %s\n", lines[i].title, text);
        }
    }
    return HF_ERR_OK;
}

static enum hf_err alert_show(const struct one_values *values, const struct hf_option_rest *rest,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *alert = NULL;
    const char *id = NULL;
    char path[256];

    if (hf_cli_need(values->alert, rest, "alert", &id, err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        alerts_path(&session, id, path, sizeof path, err) != HF_ERR_OK ||
        hf_cli_call(&session, "GET", path, NULL, &alert, err) != HF_ERR_OK) {
        return err->code;
    }
    return show(alert, values->json, err);
}

static enum hf_err alert_acknowledge(const struct acknowledge_values *values,
                                     const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *alert = NULL;
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    const char *id = NULL;
    char path[256], until[HF_TIME_TEXT_BYTES];

    hf_time_format(values->wait_for == 0 ? 1 : hf_clock_wall_ms() / 1000 + values->wait_for, until);
    hf_json_set_text(body, "acknowledgedUntil", until);
    hf_json_set_text(body, "acknowledgementComment", values->comment);
    if (hf_cli_need(values->alert, rest, "alert", &id, err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        alerts_path(&session, id, path, sizeof path, err) != HF_ERR_OK ||
        hf_cli_call(&session, "PATCH", path, body, &alert, err) != HF_ERR_OK) {
        return err->code;
    }
    return show(alert, values->json, err);
}

#define COMMANDS(VERB)                                                                             \
    VERB(alert_list, list, "alert", "list", "", 0, 0, "List what is wrong now",                    \
         "Lists the alerts that go on, newest first.")                                             \
    VERB(alert_show, one, "alert", "show", "[ALERT]", 0, 1, "Show one alert", "Shows one alert.")  \
    VERB(alert_acknowledge, acknowledge, "alert", "acknowledge", "[ALERT]", 0, 1,                  \
         "Let an alert rest for a while",                                                          \
         "Acknowledges an alert: it is not told again for a while, unless it is over and comes "   \
         "back.")
HF_CLI_TABLE(hf_cli_alert_commands, COMMANDS)
