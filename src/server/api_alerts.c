/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the API tells of alerts, and their acknowledgement (rest-api.md 5.9). One document for the public clients and our own
 * command line: what has no public name ("text", "target", "scope") stands beside the rest.
 */
#include <stdio.h>

#include "os/clock.h"
#include "server/alerts.h"
#include "server/api.h"

#define LIST_MAX 100000

static void set_time(struct hf_json *json, const char *key, uint64_t seconds)
{
    char text[HF_TIME_TEXT_BYTES];

    if (seconds != 0) {
        hf_time_format(seconds, text);
        hf_json_set_text(json, key, text);
    }
}

static void set_id(struct hf_json *json, const char *key, const struct hf_id *id)
{
    if (!hf_id_is_none(id)) {
        hf_json_set_text(json, key, hf_id_text(id).text);
    }
}

static struct hf_json *alert_document(struct hf_server_call *call,
                                      const struct hf_alert_record *alert)
{
    const struct hf_alert_kind *kind = &hf_alert_kinds[alert->type];
    struct hf_json *json = hf_json_object(), *value = hf_json_object();
    char path[160];

    hf_json_set_text(json, "id", hf_id_text(&alert->id).text);
    hf_json_set_text(json, "groupId", hf_id_text(&alert->project).text);
    hf_json_set_text(json, "eventTypeName", kind->name);
    hf_json_set_text(json, "status", hf_alert_status_word(alert->status));
    set_time(json, "created", alert->created_s);
    set_time(json, "updated", alert->updated_s);
    set_time(json, "resolved", alert->resolved_s);
    set_time(json, "lastNotified", alert->notified_s);
    if (hf_alert_is_acknowledged(alert, hf_flow_now_s())) {
        set_time(json, "acknowledgedUntil", alert->acknowledged_until_s);
        hf_json_set_text(json, "acknowledgingUsername", alert->acknowledged_by);
        hf_json_set_text(json, "acknowledgementComment", alert->comment);
    }
    set_id(json, "clusterId", &alert->cluster);
    if (alert->set_name[0] != '\0') {
        hf_json_set_text(json, "clusterName", alert->set_name);
        hf_json_set_text(json, "replicaSetName", alert->set_name);
        hf_json_set_text(json, "sourceTypeName", "REPLICA_SET");
    }
    if (alert->host[0] != '\0') {
        hf_json_set_text(json, "hostnameAndPort", alert->host);
    }
    hf_json_set_u64(value, "number", alert->value);
    hf_json_set_take(json, "currentValue", value);
    hf_json_set_take(json, "tags", hf_json_array());
    hf_json_set_text(json, "scope", hf_alert_scope_words[kind->scope]);
    hf_json_set_text(json, "target", alert->target);
    hf_json_set_text(json, "text", alert->text);
    hf_json_set_u64(json, "notices", alert->notices);
    (void)snprintf(path, sizeof path, "/api/public/v1.0/groups/%s/alerts/%s",
                   hf_id_text(&alert->project).text, hf_id_text(&alert->id).text);
    hf_reply_link(call, json, "self", path);
    return json;
}

static bool is_status(const char *word)
{
    for (enum hf_alert_status status = HF_ALERT_TRACKING; status <= HF_ALERT_CANCELLED; status++) {
        if (strcmp(word, hf_alert_status_word(status)) == 0) {
            return true;
        }
    }
    return false;
}

/* Newest first; those of all scopes belong to the one project. */
static void list_alerts(struct hf_server_call *call)
{
    HF_CLEANUP(hf_keep_alerts_fini) struct hf_keep_alerts alerts = {0};
    const char *status = hf_url_target_parameter(&call->target, "status");
    const struct hf_catalog_query query = {
        .index = "createdS", .descending = true, .limit = LIST_MAX};
    struct hf_call_page page;
    struct hf_error err;
    uint64_t total = 0;

    if (!hf_call_page(call, &page)) {
        return;
    }
    if (status != NULL && !is_status(status)) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_QUERY_PARAMETER",
                      "status is '%s', not TRACKING, OPEN, CLOSED or CANCELLED", status);
        return;
    }
    if (hf_keep_alert_find(call->app->catalog, &query, &alerts, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *results = hf_json_array();
    for (size_t i = 0; i < alerts.count; i++) {
        const struct hf_alert_record *one = &alerts.items[i];
        if ((!call->all_projects && !hf_id_equal(&one->project, &call->project)) ||
            (status != NULL && strcmp(status, hf_alert_status_word(one->status)) != 0)) {
            continue;
        }
        if (total / page.size == page.number - 1) {
            hf_json_append_take(results, alert_document(call, one));
        }
        total++;
    }
    hf_reply_list(call, &page, results, total);
}

void hf_api_alerts(struct hf_server_call *call)
{
    if (hf_api_check_group(call)) {
        list_alerts(call);
    }
}

void hf_api_global_alerts(struct hf_server_call *call)
{
    list_alerts(call);
}

/* False: it was answered. */
static bool find_alert(struct hf_server_call *call, struct hf_alert_record *out)
{
    struct hf_error err;
    struct hf_id id;

    if (!hf_api_check_group(call) || !hf_call_id(call, 1, "INVALID_ALERT_ID", &id)) {
        return false;
    }
    enum hf_err code = hf_keep_alert_get(call->app->catalog, &id, out, NULL, &err);
    if (code == HF_ERR_OK && hf_id_equal(&out->project, &call->project)) {
        return true;
    }
    if (code == HF_ERR_OK || code == HF_ERR_NOT_FOUND) {
        (void)hf_fail(&err, HF_ERR_NOT_FOUND, "there is no alert %s", call->parameters[1]);
    }
    hf_reply_error(call, &err, err.code == HF_ERR_NOT_FOUND ? "ALERT_NOT_FOUND" : NULL);
    return false;
}

void hf_api_alert(struct hf_server_call *call)
{
    struct hf_alert_record alert;

    if (find_alert(call, &alert)) {
        hf_reply_json(call, 200, alert_document(call, &alert));
    }
}

void hf_api_acknowledge_alert(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {{"acknowledgedUntil", HF_JSON_TEXT},
                                                    {"acknowledgementComment", HF_JSON_TEXT},
                                                    {NULL, HF_JSON_NULL}};
    struct hf_alert_record alert;
    struct hf_error err;
    struct hf_alerts_acknowledgement wish = {.who = call->user, .comment = ""};

    if (!find_alert(call, &alert) || !hf_call_body_only(call, members)) {
        return;
    }
    const char *until = hf_json_get_text(call->body, "acknowledgedUntil");
    const char *comment = hf_json_get_text(call->body, "acknowledgementComment");
    if (until == NULL) {
        hf_reply_fail(call, HF_ERR_INVALID, "MISSING_ATTRIBUTE", "acknowledgedUntil is missing");
        return;
    }
    if (!hf_time_parse(hf_str_of(until), &wish.until_s)) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE",
                      "acknowledgedUntil is '%s', no date as in 2026-11-25T03:31:17Z", until);
        return;
    }
    wish.comment = comment == NULL ? "" : comment;
    if (hf_alerts_acknowledge(call->app, &alert.id, &wish, &alert, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_log_info(call->app->log, "alert.acknowledged", HF_STR("alert", hf_id_text(&alert.id).text),
                HF_STR("type", hf_alert_kinds[alert.type].name), HF_STR("user", call->user),
                HF_U64("until_s", alert.acknowledged_until_s));
    hf_reply_json(call, 200, alert_document(call, &alert));
}
