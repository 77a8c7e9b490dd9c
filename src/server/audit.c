/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which call is which event, and its way from ASKED to DONE.
 *
 *   hf_audit_begin -> ASKED --2xx--> DONE
 *                           --4xx--> withdrawn, unless the handler said that something is changed
 *                           --5xx--> FAILED: it may have been changed
 */
#include "server/audit.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "server/api.h"
#include "server/events.h"
#include "server/server_internal.h"

struct hf_call_audit {
    struct hf_event_record event;
    bool changed;
    bool settled;
};

/* A handler that is not here leaves HF_EVENT_CHANGED, unless it only reads (GET). */
static const struct {
    void (*run)(struct hf_server_call *call);
    const char *type; /* NULL: it changes nothing */
    const char *what;
} audited[] = {
    {hf_api_patch_backup_config, HF_EVENT_STATE_CHANGED, "backup set"},
    {hf_api_job_force, HF_EVENT_STATE_CHANGED, "force terminate"},
    {hf_api_patch_snapshot_schedule, HF_EVENT_SCHEDULE_UPDATED, "schedule set"},
    {hf_api_patch_policy, HF_EVENT_SCHEDULE_UPDATED, "policy set"},
    {hf_api_simulate_policy, NULL, NULL},
    {hf_api_on_demand_snapshot, HF_EVENT_SNAPSHOT_REQUESTED, "snapshot requested"},
    {hf_api_take, HF_EVENT_SNAPSHOT_REQUESTED, "snapshot requested"},
    {hf_api_patch_cluster_snapshot, HF_EVENT_EXPIRY_UPDATED, "expiry set"},
    {hf_api_patch_snapshot, HF_EVENT_EXPIRY_UPDATED, "expiry set"},
    {hf_api_delete_cluster_snapshot, HF_EVENT_SNAPSHOT_DELETED, "snapshot deleted"},
    {hf_api_delete_snapshot, HF_EVENT_SNAPSHOT_DELETED, "snapshot deleted"},
    {hf_api_cancel_snapshot, HF_EVENT_SNAPSHOT_CANCELLED, "snapshot cancelled"},
    {hf_api_verify, NULL, NULL},
    {hf_api_oplog_check, NULL, NULL},
    {hf_api_cluster_ranges, NULL, NULL},
    {hf_api_start_cluster_restore, HF_EVENT_RESTORE_REQUESTED, "restore requested"},
    {hf_api_start_restore, HF_EVENT_RESTORE_REQUESTED, "restore requested"},
    {hf_api_start_link, HF_EVENT_RESTORE_REQUESTED, "download link requested"},
    {hf_api_cancel_restore, HF_EVENT_RESTORE_CANCELLED, "restore cancelled or link withdrawn"},
    {hf_api_acknowledge_alert, HF_EVENT_ALERT_ACKNOWLEDGED, "alert acknowledged"},
    {hf_api_set_server_setting, HF_EVENT_SETTINGS_UPDATED, "setting changed"},
    {hf_api_unset_server_setting, HF_EVENT_SETTINGS_UPDATED, "setting taken back"},
    {hf_api_store_groom, HF_EVENT_STORE_WORK_REQUESTED, "groom requested"},
    {hf_api_store_check, HF_EVENT_STORE_WORK_REQUESTED, "check requested"},
    {hf_api_add_store, HF_EVENT_CHANGED, "store added"},
    {hf_api_set_store, HF_EVENT_CHANGED, "store set"},
    {hf_api_remove_store, HF_EVENT_CHANGED, "store removed"},
    {hf_api_set_server, HF_EVENT_CHANGED, "server set"},
    {hf_api_remove_server, HF_EVENT_CHANGED, "server removed"},
    {hf_api_put_assignment, HF_EVENT_CHANGED, "stores of new jobs set"},
};

static bool has(const struct hf_json *body, const char *name)
{
    const struct hf_json *value = hf_json_get(body, name);

    return value != NULL && hf_json_type(value) != HF_JSON_NULL;
}

/* One resource of the reference that changes different things. */
static const char *config_type(const struct hf_json *body)
{
    if (has(body, "statusName") || has(body, "provisioned")) {
        return HF_EVENT_STATE_CHANGED;
    }
    return has(body, "username") || has(body, "password") || has(body, "authMechanismName")
               ? HF_EVENT_CREDENTIAL_UPDATED
               : HF_EVENT_MEMBER_UPDATED;
}

static const char *words_of(const struct hf_route *route)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(audited); i++) {
        if (audited[i].run == route->run) {
            return audited[i].what;
        }
    }
    return "changed";
}

const char *hf_audit_type(const struct hf_route *route, const struct hf_json *body)
{
    if (strcmp(route->method, "GET") == 0) {
        return NULL;
    }
    if (route->run == hf_api_patch_backup_config) {
        return config_type(body);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(audited); i++) {
        if (audited[i].run == route->run) {
            return audited[i].type;
        }
    }
    return HF_EVENT_CHANGED;
}

/* ---- What was asked, in words ---- */

static bool contains(const char *text, const char *part)
{
    size_t len = strlen(part);

    for (; *text != '\0'; text++) {
        size_t i = 0;
        while (i < len && (text[i] == part[i] || text[i] == part[i] - 'a' + 'A')) {
            i++;
        }
        if (i == len) {
            return true;
        }
    }
    return false;
}

/* By its name, or because a password may stand in it. */
static bool is_secret(const char *name, const char *value)
{
    static const char *const parts[] = {"pass",   "secret", "key",        "token",
                                        "notify", "pem",    "credential", "auth"};

    for (size_t i = 0; i < HF_ARRAY_LEN(parts); i++) {
        if (contains(name, parts[i])) {
            return true;
        }
    }
    return strstr(value, "://") != NULL && strchr(value, '@') != NULL;
}

static void add(char *out, size_t out_len, const char *text)
{
    size_t used = strlen(out);

    (void)snprintf(out + used, out_len - used, "%s", text);
}

static void add_member(char *out, size_t out_len, const struct hf_json *body, const char *name)
{
    const struct hf_json *value = hf_json_get(body, name);
    char number[32];

    add(out, out_len, " ");
    add(out, out_len, name);
    add(out, out_len, "=");
    switch (hf_json_type(value)) {
    case HF_JSON_TEXT:
        add(out, out_len,
            is_secret(name, hf_json_text(value)) ? "(not shown)" : hf_json_text(value));
        return;
    case HF_JSON_INTEGER:
        (void)snprintf(number, sizeof number, "%lld", (long long)hf_json_integer(value, 0));
        add(out, out_len, number);
        return;
    case HF_JSON_BOOL:
        add(out, out_len, hf_json_get_bool(body, name, false) ? "true" : "false");
        return;
    case HF_JSON_NULL:
    case HF_JSON_REAL:
    case HF_JSON_ARRAY:
    case HF_JSON_OBJECT:
        break;
    }
    add(out, out_len, "...");
}

static void describe(struct hf_server_call *call, const struct hf_route *route, char *out,
                     size_t out_len)
{
    struct hf_json *value;
    const char *name;
    void *at = NULL;

    (void)snprintf(out, out_len, "%s: %s %.*s", words_of(route), call->method,
                   HF_STR_ARG(call->target.path));
    while (call->body != NULL && (name = hf_json_next(call->body, &at, &value)) != NULL) {
        add_member(out, out_len, call->body, name);
    }
}

/* ---- From ASKED to DONE ---- */

static void take_id(const char *text, struct hf_id *out)
{
    struct hf_id id;

    if (text != NULL && hf_id_parse(hf_str_of(text), &id)) {
        *out = id;
    }
}

bool hf_audit_begin(struct hf_server_call *call, const struct hf_route *route)
{
    const char *type = hf_audit_type(route, call->body);
    char text[HF_RECORD_ERROR_BYTES];
    struct hf_event_wish wish = {.project = call->project,
                                 .set_name = hf_json_get_text(call->body, "setName"),
                                 .type = type,
                                 .text = text,
                                 .by = HF_EVENT_BY_USER,
                                 .user = call->user,
                                 .address = hf_http_request_peer(call->request),
                                 .outcome = HF_EVENT_ASKED};
    struct hf_error err;

    if (type == NULL) {
        return true;
    }
    for (size_t i = 0; i < HF_CALL_PARAMETERS_MAX; i++) {
        take_id(call->parameters[i], &wish.target); /* the last one is what it is about */
    }
    describe(call, route, text, sizeof text);
    struct hf_call_audit *audit = hf_alloc_zero(sizeof *audit);
    if (audit == NULL) {
        hf_reply_fail(call, HF_ERR_NO_MEMORY, NULL, "no memory");
        return false;
    }
    if (hf_event_ask(call->app, &wish, &audit->event, &err) != HF_ERR_OK ||
        HF_FAULT("server.audit.asked", &err) != HF_ERR_OK) {
        hf_free(audit);
        (void)hf_wrap(&err, "nothing was changed, since it could not be noted who asked for it");
        hf_reply_error(call, &err, NULL);
        return false;
    }
    call->audit = audit;
    return true;
}

static enum hf_err settle(struct hf_server_call *call, int status, const struct hf_json *answer,
                          struct hf_error *err)
{
    struct hf_call_audit *audit = call->audit;
    struct hf_event_record *event = &audit->event;

    if (status >= 400 && status < 500 && !audit->changed) {
        return hf_event_withdraw(call->app, event, err);
    }
    (void)snprintf(event->outcome, sizeof event->outcome, "%s",
                   status < 400 ? HF_EVENT_DONE : HF_EVENT_FAILED);
    if (status >= 400) {
        const char *detail = hf_json_get_text(answer, "detail");
        add(event->text, sizeof event->text, "; refused: ");
        add(event->text, sizeof event->text, detail == NULL ? "" : detail);
        return hf_event_settle(call->app, event, err);
    }
    /* What was made has the answer's id; what was changed has it in the path. */
    if (strcmp(call->method, "POST") == 0) {
        take_id(hf_json_get_text(answer, "id"), &event->target);
    }
    if (hf_id_is_none(&event->job)) {
        take_id(hf_json_get_text(answer, "jobId"), &event->job);
    }
    const char *set = hf_json_get_text(answer, "setName");
    if (event->set_name[0] == '\0' && set != NULL) {
        (void)snprintf(event->set_name, sizeof event->set_name, "%s", set);
    }
    return hf_event_settle(call->app, event, err);
}

void hf_audit_settle(struct hf_server_call *call, int status, const struct hf_json *answer)
{
    struct hf_error err;

    if (call->audit == NULL || call->audit->settled) {
        return;
    }
    call->audit->settled = true;
    enum hf_err code = HF_FAULT("server.audit.changed", &err);
    if (code == HF_ERR_OK) {
        code = settle(call, status, answer, &err);
    }
    if (code != HF_ERR_OK) {
        /* The event stays ASKED: whoever reads it looks for himself. */
        hf_log_warn(call->app->log, "event.audit.failed", HF_STR("type", call->audit->event.type),
                    HF_STR("text", call->audit->event.text), HF_STR("user", call->user),
                    HF_STR("error", err.message));
    }
}

void hf_audit_drop(struct hf_server_call *call)
{
    hf_free(call->audit);
    call->audit = NULL;
}

void hf_audit_about_job(struct hf_server_call *call, const struct hf_id *job, const char *set_name)
{
    if (call->audit != NULL) {
        call->audit->event.job = *job;
        (void)snprintf(call->audit->event.set_name, sizeof call->audit->event.set_name, "%s",
                       set_name);
    }
}

void hf_audit_changed(struct hf_server_call *call)
{
    if (call->audit != NULL) {
        call->audit->changed = true;
    }
}
