/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The beginning of the public API: projects, clusters, snapshots and restore jobs in the forms of
 * rest-api.md 2 and 5.
 */
#include <stdio.h>

#include "backup/lifecycle.h"
#include "os/clock.h"
#include "server/api.h"
#include "server/audit.h"
#include "server/stores.h"

#define LIST_MAX 100000

static void set_time(struct hf_json *json, const char *key, uint64_t seconds)
{
    char text[HF_TIME_TEXT_BYTES];

    hf_time_format(seconds, text);
    hf_json_set_text(json, key, text);
}

static void set_timestamp(struct hf_json *json, const char *key, uint64_t seconds,
                          uint64_t increment)
{
    struct hf_json *timestamp = hf_json_object();

    set_time(timestamp, "date", seconds);
    hf_json_set_u64(timestamp, "increment", increment);
    hf_json_set_take(json, key, timestamp);
}

bool hf_api_check_group(struct hf_server_call *call)
{
    struct hf_id group;

    if (!hf_call_id(call, 0, "INVALID_GROUP_ID", &group)) {
        return false;
    }
    if (!hf_id_equal(&group, &call->project)) {
        /* Unknown and forbidden look the same (rest-api.md 1.4). */
        hf_reply_fail(call, HF_ERR_UNAUTHENTICATED, "NOT_IN_GROUP", "the key is not in group %s",
                      call->parameters[0]);
        return false;
    }
    return true;
}

bool hf_api_find_cluster(struct hf_server_call *call, struct hf_cluster_record *out)
{
    struct hf_error err;
    struct hf_id id;

    if (!hf_api_check_group(call) || !hf_call_id(call, 1, "INVALID_CLUSTER_ID", &id)) {
        return false;
    }
    if (hf_keep_cluster_get(call->app->catalog, &id, out, NULL, &err) != HF_ERR_OK ||
        !hf_id_equal(&out->project, &call->project)) {
        (void)hf_fail(&err, HF_ERR_NOT_FOUND, "there is no cluster %s in group %s",
                      call->parameters[1], call->parameters[0]);
        hf_reply_error(call, &err, "CLUSTER_NOT_FOUND");
        return false;
    }
    hf_audit_about_job(call, &out->id, out->set_name);
    return true;
}

/* ---- Projects ---- */

static bool on_page(const struct hf_call_page *page, size_t index)
{
    return index / page->size == page->number - 1;
}

struct hf_json *hf_api_group_document(struct hf_server_call *call,
                                      const struct hf_project_record *project)
{
    struct hf_json *json = hf_json_object();
    const struct hf_id_text id = hf_id_text(&project->id);
    char path[128];

    hf_json_set_text(json, "id", id.text);
    const struct hf_id org = hf_flow_org_of(call->app, project);
    hf_json_set_text(json, "name", project->name);
    hf_json_set_text(json, "orgId", hf_id_text(&org).text);
    (void)snprintf(path, sizeof path, "/api/public/v1.0/groups/%s", id.text);
    hf_reply_link(call, json, "self", path);
    return json;
}

/* The caller's. False: it was answered. */
static bool find_project(struct hf_server_call *call, struct hf_project_record *out)
{
    struct hf_error err;

    if (hf_keep_project_get(call->app->catalog, &call->project, out, NULL, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, err.code == HF_ERR_NOT_FOUND ? "GROUP_NOT_FOUND" : NULL);
        return false;
    }
    return true;
}

void hf_api_root(struct hf_server_call *call)
{
    struct hf_json *json = hf_json_object();

    hf_json_set_text(json, "appName", "Holdfast");
    hf_json_set_text(json, "build", HF_VERSION);
    hf_json_set_bool(json, "throttling", false);
    hf_reply_link(call, json, "self", "/api/public/v1.0");
    hf_reply_link(call, json, "http://mms.mongodb.com/groups", "/api/public/v1.0/groups");
    hf_reply_json(call, 200, json);
}

void hf_api_list_groups(struct hf_server_call *call, const struct hf_id *org)
{
    HF_CLEANUP(hf_keep_projects_fini) struct hf_keep_projects projects = {0};
    const struct hf_catalog_query query = {.limit = LIST_MAX};
    struct hf_call_page page;
    struct hf_error err;
    uint64_t total = 0;

    if (!hf_call_page(call, &page)) {
        return;
    }
    if (hf_keep_project_find(call->app->catalog, &query, &projects, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *results = hf_json_array();
    for (size_t i = 0; i < projects.count; i++) {
        const struct hf_project_record *one = &projects.items[i];
        const struct hf_id of = hf_flow_org_of(call->app, one);
        if ((org == NULL || hf_id_equal(org, &of)) &&
            hf_grants_rights(&call->grants, &one->id, &of) != 0) {
            if (on_page(&page, total)) {
                hf_json_append_take(results, hf_api_group_document(call, one));
            }
            total++;
        }
    }
    hf_reply_list(call, &page, results, total);
}

void hf_api_groups(struct hf_server_call *call)
{
    hf_api_list_groups(call, NULL);
}

void hf_api_group(struct hf_server_call *call)
{
    struct hf_project_record project;

    if (hf_api_check_group(call) && find_project(call, &project)) {
        hf_reply_json(call, 200, hf_api_group_document(call, &project));
    }
}

void hf_api_group_by_name(struct hf_server_call *call)
{
    const struct hf_catalog_query query = {
        .index = "name", .equals_text = call->parameters[0], .limit = 1};
    HF_CLEANUP(hf_keep_projects_fini) struct hf_keep_projects found = {0};
    struct hf_error err;

    if (hf_keep_project_find(call->app->catalog, &query, &found, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_id org = {{0}};
    if (found.count > 0) {
        org = hf_flow_org_of(call->app, &found.items[0]);
    }
    if (found.count == 0 || hf_grants_rights(&call->grants, &found.items[0].id, &org) == 0) {
        hf_reply_fail(call, HF_ERR_NOT_FOUND, "GROUP_NAME_NOT_FOUND", "there is no group named %s",
                      call->parameters[0]);
        return;
    }
    hf_reply_json(call, 200, hf_api_group_document(call, &found.items[0]));
}

/* ---- Clusters ---- */

void hf_api_cluster_path(const struct hf_cluster_record *cluster, char *out, size_t out_len)
{
    (void)snprintf(out, out_len, "/api/public/v1.0/groups/%s/clusters/%s",
                   hf_id_text(&cluster->project).text, hf_id_text(&cluster->id).text);
}

static struct hf_json *cluster_document(struct hf_server_call *call,
                                        const struct hf_cluster_record *cluster)
{
    struct hf_json *json = hf_json_object();
    char path[160];

    hf_json_set_text(json, "id", hf_id_text(&cluster->id).text);
    hf_json_set_text(json, "groupId", hf_id_text(&cluster->project).text);
    hf_json_set_text(json, "clusterName", cluster->set_name);
    hf_json_set_text(json, "replicaSetName", cluster->set_name);
    hf_json_set_text(json, "typeName", "REPLICA_SET");
    hf_api_cluster_path(cluster, path, sizeof path);
    hf_reply_link(call, json, "self", path);
    return json;
}

bool hf_api_all_clusters(struct hf_server_call *call, struct hf_keep_clusters *out)
{
    const struct hf_id_text project = hf_id_text(&call->project);
    const struct hf_catalog_query query = {
        .index = "projectId", .equals_text = project.text, .limit = LIST_MAX};
    struct hf_error err;

    if (hf_keep_cluster_find(call->app->catalog, &query, out, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return false;
    }
    return true;
}

void hf_api_clusters(struct hf_server_call *call)
{
    HF_CLEANUP(hf_keep_clusters_fini) struct hf_keep_clusters clusters = {0};
    struct hf_call_page page;

    if (!hf_api_check_group(call) || !hf_call_page(call, &page) ||
        !hf_api_all_clusters(call, &clusters)) {
        return;
    }
    struct hf_json *results = hf_json_array();
    for (size_t i = 0; i < clusters.count; i++) {
        if (on_page(&page, i)) {
            hf_json_append_take(results, cluster_document(call, &clusters.items[i]));
        }
    }
    hf_reply_list(call, &page, results, clusters.count);
}

void hf_api_cluster(struct hf_server_call *call)
{
    struct hf_cluster_record cluster;

    if (hf_api_find_cluster(call, &cluster)) {
        hf_reply_json(call, 200, cluster_document(call, &cluster));
    }
}

/* ---- Snapshots ---- */

static struct hf_json *part_document(const struct hf_snapshot_record *snapshot)
{
    struct hf_json *part = hf_json_object();

    hf_json_set_text(part, "typeName", "REPLICA_SET");
    hf_json_set_text(part, "clusterId", hf_id_text(&snapshot->cluster).text);
    hf_json_set_text(part, "replicaSetName", snapshot->set_name);
    hf_json_set_text(part, "mongodVersion", snapshot->server_version);
    hf_json_set_text(part, "fcv", snapshot->fcv);
    hf_json_set_text(part, "machineId", snapshot->member);
    hf_json_set_text(part, "replicaState", snapshot->member_state);
    hf_json_set_text(part, "compressionSetting", "NONE");
    hf_json_set_bool(part, "encryptionEnabled", snapshot->encrypted);
    hf_json_set_u64(part, "dataSizeBytes", snapshot->bytes);
    hf_json_set_u64(part, "fileSizeBytes", snapshot->bytes);
    hf_json_set_u64(part, "storageSizeBytes", snapshot->stored_bytes);
    if (snapshot->finished_s != 0) {
        set_time(part, "completedTime", snapshot->finished_s);
    }
    return part;
}

static struct hf_json *snapshot_document(struct hf_server_call *call,
                                         const struct hf_snapshot_record *snapshot)
{
    struct hf_json *json = hf_json_object(), *parts = hf_json_array(), *filter = hf_json_object();
    uint64_t created_s =
        snapshot->checkpoint.seconds != 0 ? snapshot->checkpoint.seconds : snapshot->created_s;
    char path[220];

    hf_json_set_text(json, "id", hf_id_text(&snapshot->id).text);
    hf_json_set_text(json, "groupId", hf_id_text(&snapshot->project).text);
    hf_json_set_text(json, "clusterId", hf_id_text(&snapshot->cluster).text);
    hf_json_set_text(json, "clusterName", snapshot->set_name);
    hf_json_set_bool(json, "complete", snapshot->state == HF_SNAPSHOT_COMPLETE);
    hf_json_set_bool(json, "doNotDelete", snapshot->keep);
    set_timestamp(json, "created", created_s, snapshot->checkpoint.increment);
    if (snapshot->state == HF_SNAPSHOT_COMPLETE) {
        set_timestamp(json, "lastOplogAppliedTimestamp", snapshot->checkpoint.seconds,
                      snapshot->checkpoint.increment);
    }
    if (snapshot->expires_s != 0 && !snapshot->keep) {
        set_time(json, "expires", snapshot->expires_s);
    }
    hf_json_set_text(filter, "filterType", "blacklist");
    hf_json_set_take(filter, "filterList", hf_json_array());
    hf_json_set_take(json, "namespaceFilterList", filter);
    hf_json_append_take(parts, part_document(snapshot));
    hf_json_set_take(json, "parts", parts);
    (void)snprintf(path, sizeof path, "/api/public/v1.0/groups/%s/clusters/%s/snapshots/%s",
                   hf_id_text(&snapshot->project).text, hf_id_text(&snapshot->cluster).text,
                   hf_id_text(&snapshot->id).text);
    hf_reply_link(call, json, "self", path);
    return json;
}

/* `completed` of the query against what is public at all: the failed and the expired are not listed. */
static bool is_listed(const struct hf_snapshot_record *snapshot, const char *completed)
{
    if (snapshot->state == HF_SNAPSHOT_COMPLETE) {
        return strcmp(completed, "false") != 0;
    }
    return snapshot->state == HF_SNAPSHOT_IN_PROGRESS && strcmp(completed, "true") != 0;
}

void hf_api_cluster_snapshots(struct hf_server_call *call)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    struct hf_cluster_record cluster;
    struct hf_call_page page;
    struct hf_error err;
    uint64_t total = 0;

    if (!hf_api_find_cluster(call, &cluster) || !hf_call_page(call, &page)) {
        return;
    }
    const char *completed = hf_url_target_parameter(&call->target, "completed");
    completed = completed == NULL ? "true" : completed;
    if (strcmp(completed, "true") != 0 && strcmp(completed, "false") != 0 &&
        strcmp(completed, "all") != 0) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_QUERY_PARAMETER",
                      "completed is '%s', not true, false or all", completed);
        return;
    }
    const struct hf_id_text id = hf_id_text(&cluster.id);
    const struct hf_catalog_query query = {
        .index = "clusterId", .equals_text = id.text, .limit = LIST_MAX};
    if (hf_keep_snapshot_find(call->app->catalog, &query, &snapshots, &err) != HF_ERR_OK ||
        hf_snapshot_sort(snapshots.items, snapshots.count, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *results = hf_json_array();
    /* Newest first. */
    for (size_t i = snapshots.count; i-- > 0;) {
        if (is_listed(&snapshots.items[i], completed)) {
            if (on_page(&page, total)) {
                hf_json_append_take(results, snapshot_document(call, &snapshots.items[i]));
            }
            total++;
        }
    }
    hf_reply_list(call, &page, results, total);
}

bool hf_api_find_snapshot(struct hf_server_call *call, size_t index, struct hf_snapshot_record *out)
{
    struct hf_error err;
    struct hf_id id;

    if (!hf_call_id(call, index, "INVALID_SNAPSHOT_ID", &id)) {
        return false;
    }
    enum hf_err code = hf_keep_snapshot_get(call->app->catalog, &id, out, NULL, &err);
    if (code == HF_ERR_OK && hf_id_equal(&out->project, &call->project)) {
        hf_audit_about_job(call, &out->job, out->set_name);
        return true;
    }
    if (code == HF_ERR_OK || code == HF_ERR_NOT_FOUND) {
        (void)hf_fail(&err, HF_ERR_NOT_FOUND, "there is no snapshot %s", call->parameters[index]);
    }
    hf_reply_error(call, &err, err.code == HF_ERR_NOT_FOUND ? "SNAPSHOT_NOT_FOUND" : NULL);
    return false;
}

/* A snapshot under its cluster's path, as far as the public API knows it. False: it was answered. */
static bool find_listed(struct hf_server_call *call, struct hf_snapshot_record *out)
{
    struct hf_cluster_record cluster;

    if (!hf_api_find_cluster(call, &cluster) || !hf_api_find_snapshot(call, 2, out)) {
        return false;
    }
    if (!hf_id_equal(&out->cluster, &cluster.id) || !is_listed(out, "all")) {
        hf_reply_fail(call, HF_ERR_NOT_FOUND, "SNAPSHOT_NOT_FOUND",
                      "there is no snapshot %s in cluster %s", call->parameters[2],
                      call->parameters[1]);
        return false;
    }
    return true;
}

void hf_api_cluster_snapshot(struct hf_server_call *call)
{
    struct hf_snapshot_record snapshot;

    if (find_listed(call, &snapshot)) {
        hf_reply_json(call, 200, snapshot_document(call, &snapshot));
    }
}

void hf_api_patch_cluster_snapshot(struct hf_server_call *call)
{
    struct hf_snapshot_record snapshot;

    if (find_listed(call, &snapshot) && hf_api_ids_match(call) &&
        hf_api_set_expiry(call, &snapshot)) {
        hf_reply_json(call, 200, snapshot_document(call, &snapshot));
    }
}

void hf_api_delete_cluster_snapshot(struct hf_server_call *call)
{
    struct hf_snapshot_record snapshot;
    struct hf_error err;

    if (!find_listed(call, &snapshot)) {
        return;
    }
    if (hf_flow_delete(call->app, &snapshot.id, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_reply_empty(call, 200);
}

void hf_api_on_demand_snapshot(struct hf_server_call *call)
{
    struct hf_cluster_record cluster;
    struct hf_snapshot_record snapshot;
    struct hf_error err;
    uint64_t days = 0;

    if (!hf_api_find_cluster(call, &cluster) ||
        !hf_call_number(call, "retentionDays", 1, 36500, 0, &days)) {
        return;
    }
    if (days == 0) {
        hf_reply_fail(call, HF_ERR_INVALID, "MISSING_QUERY_PARAMETER",
                      "query parameter retentionDays is missing");
        return;
    }
    const struct hf_flow_wish wish = {.project = cluster.project,
                                      .set_name = cluster.set_name,
                                      .retention_days = days,
                                      .description = "on demand, through the public API"};
    if (hf_flow_take(call->app, &wish, &snapshot, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *json = hf_json_object(), *timestamp = hf_json_object();
    hf_json_set_text(json, "clusterName", cluster.set_name);
    hf_json_set_text(json, "description", snapshot.description);
    hf_json_set_text(json, "snapshotId", hf_id_text(&snapshot.id).text);
    hf_json_set_u64(timestamp, "increment", 0);
    hf_json_set_u64(timestamp, "time", snapshot.created_s);
    set_time(timestamp, "date", snapshot.created_s);
    hf_json_set_take(json, "timestamp", timestamp);
    hf_reply_json(call, 200, json);
}

/* ---- Restore jobs ---- */

struct hf_json *hf_api_public_restore(struct hf_server_call *call,
                                      const struct hf_restore_record *restore)
{
    static const char *const delivery_words[] = {"IN_PROGRESS", "READY", "FAILED", "INTERRUPTED"};
    struct hf_json *json = hf_json_object(), *delivery = hf_json_object();
    char path[220];

    hf_json_set_text(json, "id", hf_id_text(&restore->id).text);
    hf_json_set_text(json, "groupId", hf_id_text(&restore->project).text);
    hf_json_set_text(json, "clusterId", hf_id_text(&restore->cluster).text);
    hf_json_set_text(json, "snapshotId", hf_id_text(&restore->snapshot).text);
    hf_json_set_text(json, "statusName", hf_restore_state_word(restore->state));
    hf_json_set_bool(json, "pointInTime", restore->point.wanted);
    if (restore->point.wanted) {
        set_timestamp(json, "timestamp", restore->point.seconds, restore->point.increment);
    }
    hf_json_set_bool(json, "encryptionEnabled", hf_stores_encrypt(call->app, &restore->job));
    set_time(json, "created", restore->created_s);
    bool automated = !hf_id_is_none(&restore->target_cluster);
    hf_json_set_text(delivery, "methodName", automated ? "AUTOMATED_RESTORE" : "HTTP");
    if (restore->link) {
        hf_api_link_delivery(call, restore, json, delivery);
    } else {
        hf_json_set_text(delivery, "statusName", delivery_words[restore->state]);
        hf_json_set_text(delivery, "targetGroupId", hf_id_text(&restore->project).text);
        if (automated) {
            hf_json_set_text(delivery, "targetClusterId",
                             hf_id_text(&restore->target_cluster).text);
        }
    }
    hf_json_set_take(json, "delivery", delivery);
    (void)snprintf(path, sizeof path, "/api/public/v1.0/groups/%s/clusters/%s/restoreJobs/%s",
                   hf_id_text(&restore->project).text, hf_id_text(&restore->cluster).text,
                   hf_id_text(&restore->id).text);
    hf_reply_link(call, json, "self", path);
    return json;
}

void hf_api_cluster_restores(struct hf_server_call *call)
{
    HF_CLEANUP(hf_keep_restores_fini) struct hf_keep_restores restores = {0};
    struct hf_cluster_record cluster;
    struct hf_call_page page;
    struct hf_error err;

    if (!hf_api_find_cluster(call, &cluster) || !hf_call_page(call, &page)) {
        return;
    }
    const struct hf_id_text id = hf_id_text(&cluster.id);
    const struct hf_catalog_query query = {
        .index = "clusterId", .equals_text = id.text, .limit = LIST_MAX};
    if (hf_keep_restore_find(call->app->catalog, &query, &restores, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *results = hf_json_array();
    for (size_t i = 0; i < restores.count; i++) {
        if (on_page(&page, i)) {
            hf_json_append_take(
                results, hf_api_public_restore(call, &restores.items[restores.count - 1 - i]));
        }
    }
    hf_reply_list(call, &page, results, restores.count);
}

void hf_api_cluster_restore(struct hf_server_call *call)
{
    struct hf_cluster_record cluster;
    struct hf_restore_record restore;
    struct hf_error err;
    struct hf_id id;

    if (!hf_api_find_cluster(call, &cluster) || !hf_call_id(call, 2, "INVALID_JOB_ID", &id)) {
        return;
    }
    if (hf_keep_restore_get(call->app->catalog, &id, &restore, NULL, &err) != HF_ERR_OK ||
        !hf_id_equal(&restore.cluster, &cluster.id)) {
        hf_reply_fail(call, HF_ERR_NOT_FOUND, "RESTORE_JOB_NOT_FOUND", "there is no restore job %s",
                      call->parameters[2]);
        return;
    }
    hf_reply_json(call, 200, hf_api_public_restore(call, &restore));
}
