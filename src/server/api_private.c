/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the public API has no word for: the whole records with their progress, agents, restores into directories. The
 * command line speaks this.
 */
#include <stdio.h>

#include "backup/lifecycle.h"
#include "base/alloc.h"
#include "os/clock.h"
#include "os/fs.h"
#include "os/process.h"
#include "server/api.h"
#include "server/audit.h"
#include "server/points.h"
#include "server/server_internal.h"
#include "server/stores.h"

#define LIST_MAX 100000

void hf_api_health(struct hf_server_call *call)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    struct hf_error err;

    if (hf_catalog_get(call->app->catalog, HF_KIND_SETTING, "installation", &document, &err) !=
        HF_ERR_OK) {
        (void)hf_fail(&err, HF_ERR_UNAVAILABLE, "the catalog does not answer");
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *json = hf_json_object();
    hf_json_set_bool(json, "ok", true);
    hf_reply_json(call, 200, json);
}

void hf_api_version(struct hf_server_call *call)
{
    static const char body[] = HF_REPLY_VERSION;
    const struct hf_http_header headers[] = {{"Content-Type", "text/plain"},
                                             {"X-MongoDB-Service-Version", HF_REPLY_VERSION}};
    const struct hf_http_answer answer = {.status = 200,
                                          .headers = headers,
                                          .header_count = HF_ARRAY_LEN(headers),
                                          .body = hf_bytes_of(body, sizeof body - 1)};

    (void)hf_http_respond(HF_TAKE(call->request), &answer);
}

static bool count_of(struct hf_server_call *call, const char *kind, const char *index,
                     const char *value, struct hf_json *json, const char *key)
{
    const struct hf_catalog_query query = {.kind = kind, .index = index, .equals_text = value};
    struct hf_error err;
    uint64_t count = 0;

    if (hf_catalog_count(call->app->catalog, &query, &count, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return false;
    }
    hf_json_set_u64(json, key, count);
    return true;
}

/* An empty list where the catalog does not say which there are. */
static struct hf_json *stores_space(const struct hf_server_call *call)
{
    HF_CLEANUP(hf_store_views_fini) struct hf_store_views views = {.items = NULL};
    struct hf_json *stores = hf_json_array();
    struct hf_error ignored;

    (void)!hf_stores_view(call->app, false, &views, &ignored);
    for (size_t i = 0; i < views.count; i++) {
        struct hf_json *store = hf_api_store_document(&views.items[i]);
        hf_json_remove(store, "jobs"); /* the list of stores counts them */
        hf_json_remove(store, "usedBytes");
        hf_json_append_take(stores, store);
    }
    return stores;
}

void hf_api_status(struct hf_server_call *call)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    const struct hf_id_text project = hf_id_text(&call->project);
    struct hf_project_record known;
    struct hf_http_server_stats stats;
    struct hf_error err;

    if (hf_keep_project_get(call->app->catalog, &call->project, &known, NULL, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, "GROUP_NOT_FOUND");
        return;
    }
    hf_json_set_text(json, "release", HF_VERSION);
    hf_json_set_text(json, "url", call->server->url);
    hf_json_set_text(json, "projectId", project.text);
    hf_json_set_text(json, "projectName", known.name);
    hf_json_set_u64(json, "uptimeS", (hf_clock_mono_ms() - call->server->started_ms) / 1000);
    hf_json_set_u64(json, "residentBytes", hf_resident_bytes());
    hf_http_server_stats(call->server->http, &stats);
    hf_json_set_u64(json, "connections", stats.connections);
    hf_json_set_u64(json, "waitingPolls", stats.kept);
    hf_json_set_take(json, "stores", stores_space(call));
    if (count_of(call, HF_KIND_AGENT, "projectId", project.text, json, "agents") &&
        count_of(call, HF_KIND_JOB, "projectId", project.text, json, "jobs") &&
        count_of(call, HF_KIND_SNAPSHOT, "state", "COMPLETE", json, "snapshots") &&
        count_of(call, HF_KIND_SNAPSHOT, "state", "IN_PROGRESS", json, "snapshotsInProgress")) {
        hf_reply_json(call, 200, HF_TAKE(json));
    }
}

/* ---- Agents ---- */

void hf_api_agents(struct hf_server_call *call)
{
    HF_CLEANUP(hf_keep_agents_fini) struct hf_keep_agents agents = {0};
    const struct hf_id_text project = hf_id_text(&call->project);
    const struct hf_catalog_query query = {
        .index = "projectId", .equals_text = project.text, .limit = LIST_MAX};
    struct hf_flow_members members = {0};
    struct hf_call_page page = {.number = 1, .size = LIST_MAX};
    struct hf_error err;

    if (hf_keep_agent_find(call->app->catalog, &query, &agents, &err) != HF_ERR_OK ||
        hf_flow_members(call->app, &call->project, &members, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *results = hf_json_array();
    for (size_t i = 0; i < agents.count; i++) {
        struct hf_json *json = hf_agent_record_encode(&agents.items[i]);
        hf_json_remove(json, "sessionHash");
        struct hf_json *served = hf_json_array();
        for (size_t k = 0; k < members.count; k++) {
            if (hf_id_equal(&members.items[k].agent, &agents.items[i].id)) {
                hf_json_append_take(served, hf_member_record_encode(&members.items[k]));
            }
        }
        hf_json_set_take(json, "members", served);
        hf_json_set_bool(json, "connected",
                         hf_flow_agent_silent_s(call->app, &agents.items[i]) <=
                             HF_AGENT_SILENT_MAX_S);
        hf_json_append_take(results, json);
    }
    hf_free(members.items);
    hf_reply_list(call, &page, results, agents.count);
}

/* ---- Jobs ---- */

void hf_api_jobs(struct hf_server_call *call)
{
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};
    const struct hf_id_text project = hf_id_text(&call->project);
    const struct hf_catalog_query query = {
        .index = "projectId", .equals_text = project.text, .limit = LIST_MAX};
    struct hf_call_page page;
    struct hf_error err;

    if (!hf_call_page(call, &page)) {
        return;
    }
    if (hf_keep_job_find(call->app->catalog, &query, &jobs, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *results = hf_json_array();
    for (size_t i = 0; i < jobs.count; i++) {
        if (i / page.size == page.number - 1) {
            hf_json_append_take(results, hf_api_job_document(call, &jobs.items[i]));
        }
    }
    hf_reply_list(call, &page, results, jobs.count);
}

bool hf_api_find_job(struct hf_server_call *call, struct hf_job_record *out)
{
    struct hf_error err;
    struct hf_id id;

    if (!hf_call_id(call, 0, "INVALID_JOB_ID", &id)) {
        return false;
    }
    if (hf_keep_job_get(call->app->catalog, &id, out, NULL, &err) != HF_ERR_OK ||
        !hf_id_equal(&out->project, &call->project)) {
        hf_reply_fail(call, HF_ERR_NOT_FOUND, NULL, "there is no job %s", call->parameters[0]);
        return false;
    }
    hf_audit_about_job(call, &out->id, out->set_name);
    return true;
}

void hf_api_job(struct hf_server_call *call)
{
    struct hf_job_record job;

    if (hf_api_find_job(call, &job)) {
        hf_reply_json(call, 200, hf_api_job_document(call, &job));
    }
}

/* ---- Snapshots ---- */

static void add_progress(struct hf_server_call *call, struct hf_json *json, const char *key,
                         const char *id)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    struct hf_error ignored;

    if (hf_catalog_get(call->app->catalog, HF_KIND_PROGRESS, id, &document, &ignored) ==
        HF_ERR_OK) {
        hf_json_set_take(json, key, hf_json_copy(document.json));
    }
}

static struct hf_json *snapshot_document(struct hf_server_call *call,
                                         const struct hf_snapshot_record *snapshot)
{
    struct hf_json *json = hf_snapshot_record_encode(snapshot);
    char id[64];

    if (snapshot->state == HF_SNAPSHOT_IN_PROGRESS) {
        add_progress(call, json, "progress", hf_id_text(&snapshot->task).text);
    }
    hf_api_add_record(snapshot, json);
    (void)snprintf(id, sizeof id, "verify-%s", hf_id_text(&snapshot->id).text);
    add_progress(call, json, "verifyProgress", id);
    return json;
}

void hf_api_snapshots(struct hf_server_call *call)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    const char *set = hf_url_target_parameter(&call->target, "set");
    const char *state = hf_url_target_parameter(&call->target, "state");
    const struct hf_catalog_query query = {
        .index = state == NULL ? NULL : "state", .equals_text = state, .limit = LIST_MAX};
    struct hf_call_page page;
    struct hf_error err;
    uint64_t total = 0;

    if (!hf_call_page(call, &page)) {
        return;
    }
    if (hf_keep_snapshot_find(call->app->catalog, &query, &snapshots, &err) != HF_ERR_OK ||
        hf_snapshot_sort(snapshots.items, snapshots.count, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *results = hf_json_array();
    for (size_t i = snapshots.count; i-- > 0;) {
        const struct hf_snapshot_record *one = &snapshots.items[i];
        if (!hf_id_equal(&one->project, &call->project) ||
            (set != NULL && strcmp(set, one->set_name) != 0)) {
            continue;
        }
        if (total / page.size == page.number - 1) {
            hf_json_append_take(results, snapshot_document(call, one));
        }
        total++;
    }
    hf_reply_list(call, &page, results, total);
}

void hf_api_snapshot(struct hf_server_call *call)
{
    struct hf_snapshot_record snapshot;

    if (hf_api_find_snapshot(call, 0, &snapshot)) {
        hf_reply_json(call, 200, snapshot_document(call, &snapshot));
    }
}

void hf_api_take(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {{"set", HF_JSON_TEXT},
                                                    {"retentionDays", HF_JSON_INTEGER},
                                                    {"description", HF_JSON_TEXT},
                                                    {NULL, HF_JSON_NULL}};
    struct hf_snapshot_record snapshot;
    struct hf_error err;

    if (!hf_call_body_only(call, members)) {
        return;
    }
    const char *set = hf_json_get_text(call->body, "set");
    int64_t days = hf_json_get_integer(call->body, "retentionDays", 0);
    if (set == NULL || set[0] == '\0') {
        hf_reply_fail(call, HF_ERR_INVALID, "MISSING_ATTRIBUTE",
                      "'set' is missing: the name of the replica set");
        return;
    }
    if (days < 0 || days > 36500) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE",
                      "retentionDays must be 0 (kept until deleted) to 36500");
        return;
    }
    const char *description = hf_json_get_text(call->body, "description");
    if (description != NULL && strlen(description) >= sizeof snapshot.description) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE",
                      "description is longer than %zu bytes", sizeof snapshot.description - 1);
        return;
    }
    const struct hf_flow_wish wish = {
        .project = call->project,
        .set_name = set,
        .retention_days = (uint64_t)days,
        .default_retention = hf_json_get(call->body, "retentionDays") == NULL,
        .description = description,
    };
    if (hf_flow_take(call->app, &wish, &snapshot, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_reply_json(call, 201, snapshot_document(call, &snapshot));
}

void hf_api_patch_snapshot(struct hf_server_call *call)
{
    struct hf_snapshot_record snapshot;

    if (hf_api_find_snapshot(call, 0, &snapshot) && hf_api_set_expiry(call, &snapshot)) {
        hf_reply_json(call, 200, snapshot_document(call, &snapshot));
    }
}

void hf_api_delete_snapshot(struct hf_server_call *call)
{
    struct hf_snapshot_record snapshot;
    struct hf_error err;

    if (!hf_api_find_snapshot(call, 0, &snapshot)) {
        return;
    }
    if (hf_flow_delete(call->app, &snapshot.id, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_reply_empty(call, 200);
}

void hf_api_cancel_snapshot(struct hf_server_call *call)
{
    struct hf_snapshot_record snapshot;
    struct hf_error err;

    if (!hf_api_find_snapshot(call, 0, &snapshot)) {
        return;
    }
    if (snapshot.state != HF_SNAPSHOT_IN_PROGRESS) {
        hf_reply_fail(call, HF_ERR_CONFLICT, NULL, "snapshot %s is %s", call->parameters[0],
                      hf_snapshot_state_word(snapshot.state));
        return;
    }
    if (hf_flow_cancel_task(call->app, &snapshot.task, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_reply_json(call, 202, snapshot_document(call, &snapshot));
}

/* ---- Restores ---- */

static struct hf_json *restore_document(struct hf_server_call *call,
                                        const struct hf_restore_record *restore)
{
    struct hf_json *json = hf_restore_record_encode(restore);

    if (restore->state == HF_RESTORE_IN_PROGRESS) {
        add_progress(call, json, "progress", hf_id_text(&restore->task).text);
    }
    if (restore->link) {
        hf_api_link_show(call, restore, json);
    }
    hf_api_add_target(call, restore, json);
    return json;
}

void hf_api_restores(struct hf_server_call *call)
{
    HF_CLEANUP(hf_keep_restores_fini) struct hf_keep_restores restores = {0};
    const struct hf_catalog_query query = {.limit = LIST_MAX};
    struct hf_call_page page;
    struct hf_error err;
    uint64_t total = 0;

    if (!hf_call_page(call, &page)) {
        return;
    }
    if (hf_keep_restore_find(call->app->catalog, &query, &restores, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *results = hf_json_array();
    for (size_t i = restores.count; i-- > 0;) {
        if (!hf_id_equal(&restores.items[i].project, &call->project)) {
            continue;
        }
        if (total / page.size == page.number - 1) {
            hf_json_append_take(results, restore_document(call, &restores.items[i]));
        }
        total++;
    }
    hf_reply_list(call, &page, results, total);
}

/* False: it was answered. */
static bool find_restore(struct hf_server_call *call, struct hf_restore_record *out)
{
    struct hf_error err;
    struct hf_id id;

    if (!hf_call_id(call, 0, "INVALID_JOB_ID", &id)) {
        return false;
    }
    if (hf_keep_restore_get(call->app->catalog, &id, out, NULL, &err) != HF_ERR_OK ||
        !hf_id_equal(&out->project, &call->project)) {
        hf_reply_fail(call, HF_ERR_NOT_FOUND, "RESTORE_JOB_NOT_FOUND", "there is no restore %s",
                      call->parameters[0]);
        return false;
    }
    return true;
}

void hf_api_restore(struct hf_server_call *call)
{
    struct hf_restore_record restore;

    if (find_restore(call, &restore)) {
        hf_reply_json(call, 200, restore_document(call, &restore));
    }
}

void hf_api_start_restore(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {
        {"snapshotId", HF_JSON_TEXT}, {"jobId", HF_JSON_TEXT}, {"directory", HF_JSON_TEXT},
        {"agentId", HF_JSON_TEXT},    {"onto", HF_JSON_BOOL},  {"leaveForeign", HF_JSON_BOOL},
        HF_API_TARGET_MEMBERS,        {NULL, HF_JSON_NULL}};
    struct hf_flow_restore_wish wish = {.project = call->project};
    struct hf_restore_record restore;
    struct hf_error err;

    if (hf_json_get(call->body, "target") != NULL) {
        hf_api_start_target(call);
        return;
    }
    if (!hf_call_body_only(call, members)) {
        return;
    }
    const char *snapshot = hf_json_get_text(call->body, "snapshotId");
    const char *agent = hf_json_get_text(call->body, "agentId");
    const char *job = hf_json_get_text(call->body, "jobId");
    wish.directory = hf_json_get_text(call->body, "directory");
    wish.onto = hf_json_get_bool(call->body, "onto", false);
    wish.leave_foreign = hf_json_get_bool(call->body, "leaveForeign", false);
    if (hf_points_target_from_json(call->body, &wish.point, &wish.target, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, "INVALID_ATTRIBUTE");
        return;
    }
    if (wish.directory == NULL || (snapshot == NULL && (!wish.point || job == NULL))) {
        hf_reply_fail(call, HF_ERR_INVALID, "MISSING_ATTRIBUTE",
                      "directory and snapshotId are needed, or jobId with a point in time");
        return;
    }
    if ((snapshot != NULL && !hf_id_parse(hf_str_of(snapshot), &wish.snapshot)) ||
        (job != NULL && !hf_id_parse(hf_str_of(job), &wish.job)) ||
        (agent != NULL && !hf_id_parse(hf_str_of(agent), &wish.agent))) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE",
                      "snapshotId, jobId and agentId are 24 hexadecimal digits");
        return;
    }
    if (hf_flow_restore(call->app, &wish, &restore, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err,
                       err.code != HF_ERR_NOT_FOUND ? NULL
                       : wish.point                 ? "NO_CHECKPOINT_FOR_PIT_RESTORE"
                                                    : "SNAPSHOT_NOT_FOUND");
        return;
    }
    hf_reply_json(call, 201, restore_document(call, &restore));
}

void hf_api_cancel_restore(struct hf_server_call *call)
{
    struct hf_restore_record restore;
    struct hf_error err;

    if (!find_restore(call, &restore)) {
        return;
    }
    enum hf_err code = restore.link ? hf_flow_link_withdraw(call->app, &restore.id, &err)
                       : hf_id_is_none(&restore.target_cluster)
                           ? hf_flow_cancel_task(call->app, &restore.task, &err)
                           : hf_flow_target_cancel(call->app, &restore.id, &err);
    if (code != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_reply_json(call, 202, restore_document(call, &restore));
}
