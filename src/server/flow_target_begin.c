/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The beginning of a restore onto a set: what is restored onto whom, the lock on the set, and the records that
 * flow_target.c goes on from.
 *
 *   lock of the set -> restore record -> target record
 *
 * A death in between leaves a lock that is taken over, or a restore that is ended as broken (flow_resume.c).
 */
#include <stdio.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "server/fleet.h"
#include "server/flow.h"
#include "server/flow_internal.h"

#define CAS_TRIES 16
#define LIST_MAX 100000

/* ---- The plan ---- */

/* Agents that are not heard of are obstacles, and asked nothing. */
static enum hf_err add_members(struct hf_server_app *app, struct hf_target_record *record,
                               struct hf_error *err)
{
    struct hf_flow_members members = {0};
    size_t named = 0;

    if (hf_flow_members(app, &record->project, &members, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < members.count; i++) {
        const struct hf_member_record *one = &members.items[i];
        if (strcmp(one->set_name, record->set_name) != 0) {
            continue;
        }
        named++;
        if (one->silent_s > HF_AGENT_SILENT_MAX_S) {
            hf_target_object(record, "AGENT", one->host,
                             "its agent was not heard of for %llu s; hint: start it",
                             (unsigned long long)one->silent_s);
        } else if (record->member_count < HF_TARGET_MEMBERS_MAX) {
            struct hf_target_member *member = &record->members[record->member_count++];
            *member = (struct hf_target_member){
                .agent = one->agent,
                .arbiter = strcmp(one->state, "ARBITER") == 0,
                .began_s = record->created_s,
            };
            (void)snprintf(member->host, sizeof member->host, "%s", one->host);
        }
    }
    hf_free(members.items);
    return named == 0 ? hf_fail(err, HF_ERR_NOT_FOUND, "no agent serves a member of set %s",
                                record->set_name)
                      : HF_ERR_OK;
}

enum hf_err hf_flow_find_cluster(struct hf_server_app *app, const struct hf_id *project,
                                 const char *set_name, struct hf_cluster_record *out,
                                 struct hf_error *err)
{
    const struct hf_catalog_query query = {
        .index = "setName", .equals_text = set_name, .limit = LIST_MAX};
    HF_CLEANUP(hf_keep_clusters_fini) struct hf_keep_clusters clusters = {0};

    if (hf_keep_cluster_find(app->catalog, &query, &clusters, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < clusters.count; i++) {
        if (hf_id_equal(&clusters.items[i].project, project)) {
            *out = clusters.items[i];
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_NOT_FOUND, "no agent has reported a set %s", set_name);
}

/* The target's own job: a capture of it would lose its cursor. */
static enum hf_err check_busy(struct hf_server_app *app, struct hf_target_record *record,
                              struct hf_error *err)
{
    const struct hf_id_text cluster = hf_id_text(&record->cluster);
    const struct hf_catalog_query query = {
        .index = "clusterId", .equals_text = cluster.text, .limit = LIST_MAX};
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};

    if (hf_keep_job_find(app->catalog, &query, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < jobs.count; i++) {
        if (!hf_id_is_none(&jobs.items[i].running)) {
            hf_target_object(record, "BUSY", NULL,
                             "snapshot %s of set %s is being taken; hint: wait, or cancel it",
                             hf_id_text(&jobs.items[i].running).text, record->set_name);
        }
    }
    return HF_ERR_OK;
}

static enum hf_err take_facts(struct hf_server_app *app, struct hf_target_record *record,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_flow_reading_fini) struct hf_flow_reading reading = {0};
    HF_CLEANUP(hf_buf_fini) struct hf_buf options = HF_BUF_INIT(sizeof record->options - 1);

    if (hf_flow_open(app, &record->snapshot, &reading, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_facts *facts = &reading.manifest.facts;
    (void)snprintf(record->fcv, sizeof record->fcv, "%s", facts->fcv);
    (void)snprintf(record->server_version, sizeof record->server_version, "%s",
                   facts->server_version);
    (void)snprintf(record->engine, sizeof record->engine, "%s", facts->engine);
    record->bytes = reading.manifest.root.sums.bytes;
    if (facts->engine_options != NULL) {
        if (hf_json_encode(facts->engine_options, 0, &options, err) != HF_ERR_OK) {
            return hf_wrap(err, "storage options of snapshot %s",
                           hf_id_text(&record->snapshot).text);
        }
        memcpy(record->options, options.data, options.len);
        record->options[options.len] = '\0';
    }
    return HF_ERR_OK;
}

/* ---- The lock of a set ---- */

/* True when the restore that a lock names goes on. */
static bool goes_on(struct hf_server_app *app, const struct hf_json *lock, char named[64])
{
    const char *text = hf_json_get_text(lock, "restoreId");
    struct hf_restore_record restore;
    struct hf_error err;
    struct hf_id id;

    (void)snprintf(named, 64, "%s", text == NULL ? "?" : text);
    if (text == NULL || !hf_id_parse(hf_str_of(text), &id)) {
        return false;
    }
    enum hf_err code = hf_keep_restore_get(app->catalog, &id, &restore, NULL, &err);
    if (code == HF_ERR_NOT_FOUND) {
        /* Its record comes right after its lock: a young one is just being made. */
        return hf_server_heard_silent_s(app->heard, HF_HEARD_BEGINNING, &id, 0, 0) <
               app->task_silence_s;
    }
    return code != HF_ERR_OK || restore.state == HF_RESTORE_IN_PROGRESS;
}

/* CONFLICT names the restore that has it. A lock that nobody holds any more is taken over. */
static enum hf_err take_lock(struct hf_server_app *app, const struct hf_target_record *record,
                             struct hf_error *err)
{
    const struct hf_id_text id = hf_id_text(&record->cluster);
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();

    hf_json_set_text(json, "restoreId", hf_id_text(&record->id).text);
    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document old = {.json = NULL};
        char named[64] = "";

        enum hf_err code = hf_catalog_insert(app->catalog, HF_KIND_TARGET_LOCK, id.text, json,
                                             HF_CATALOG_SYNCED, err);
        if (code != HF_ERR_EXISTS) {
            return code;
        }
        code = hf_catalog_get(app->catalog, HF_KIND_TARGET_LOCK, id.text, &old, err);
        if (code == HF_ERR_NOT_FOUND) {
            continue;
        }
        if (code != HF_ERR_OK) {
            return code;
        }
        if (goes_on(app, old.json, named)) {
            return hf_fail(err, HF_ERR_CONFLICT,
                           "restore %s onto set %s is under way; hint: wait for its end, or "
                           "holdfast restore cancel %s",
                           named, record->set_name, named);
        }
        code = hf_catalog_remove(app->catalog, HF_KIND_TARGET_LOCK, id.text, old.revision, err);
        if (code != HF_ERR_OK && code != HF_ERR_CONFLICT && code != HF_ERR_NOT_FOUND) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "set %s is asked for too often", record->set_name);
}

enum hf_err hf_flow_target_drop_lock(struct hf_server_app *app,
                                     const struct hf_target_record *record, struct hf_error *err)
{
    const struct hf_id_text id = hf_id_text(&record->cluster);
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document lock = {.json = NULL};

    enum hf_err code = hf_catalog_get(app->catalog, HF_KIND_TARGET_LOCK, id.text, &lock, err);
    if (code == HF_ERR_OK) {
        const char *named = hf_json_get_text(lock.json, "restoreId");
        if (named == NULL || strcmp(named, hf_id_text(&record->id).text) != 0) {
            return HF_ERR_OK;
        }
        code = hf_catalog_remove(app->catalog, HF_KIND_TARGET_LOCK, id.text, lock.revision, err);
    }
    return code == HF_ERR_NOT_FOUND || code == HF_ERR_CONFLICT ? HF_ERR_OK : code;
}

enum hf_err hf_flow_check_no_target(struct hf_server_app *app, const struct hf_id *cluster,
                                    struct hf_error *err)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document lock = {.json = NULL};
    char named[64] = "";

    enum hf_err code =
        hf_catalog_get(app->catalog, HF_KIND_TARGET_LOCK, hf_id_text(cluster).text, &lock, err);
    if (code == HF_ERR_NOT_FOUND) {
        return HF_ERR_OK;
    }
    if (code == HF_ERR_OK && goes_on(app, lock.json, named)) {
        return hf_fail(err, HF_ERR_CONFLICT, "restore %s onto it is under way", named);
    }
    return code;
}

/* ---- Beginning ---- */

static enum hf_err refuse(const struct hf_target_record *record, struct hf_error *err)
{
    const struct hf_target_obstacle *first = &record->obstacles[0];

    return hf_fail(err, HF_ERR_CONFLICT, "restore onto set %s: %s%s%s%s", record->set_name,
                   first->member, first->member[0] == '\0' ? "" : ": ", first->text,
                   record->obstacle_count > 1 ? " (and more; see --dry-run)" : "");
}

static enum hf_err plan(struct hf_server_app *app, const struct hf_flow_target_wish *wish,
                        struct hf_target_record *record, struct hf_flow_plan *point,
                        struct hf_error *err)
{
    const struct hf_flow_restore_wish instant = {.project = wish->project,
                                                 .snapshot = wish->snapshot,
                                                 .point = true,
                                                 .target = wish->target,
                                                 .job = wish->job};
    struct hf_snapshot_record snapshot;
    struct hf_cluster_record cluster;

    *point = (struct hf_flow_plan){.snapshot = wish->snapshot};
    if (hf_flow_check_project(app, &instant, err) != HF_ERR_OK ||
        (wish->point && hf_flow_plan_point(app, &instant, point, err) != HF_ERR_OK) ||
        hf_flow_need_complete(app, &point->snapshot, &snapshot, NULL, err) != HF_ERR_OK ||
        hf_flow_find_cluster(app, &wish->project, wish->set_name, &cluster, err) != HF_ERR_OK) {
        return err->code;
    }
    *record = (struct hf_target_record){
        .id = hf_flow_new_id(),
        .project = cluster.project,
        .cluster = cluster.id,
        .job = snapshot.job,
        .snapshot = snapshot.id,
        .active = true,
        .dry_run = wish->dry_run,
        .in_place = wish->in_place,
        .to_point = wish->point,
        .created_s = hf_flow_now_s(),
    };
    (void)snprintf(record->set_name, sizeof record->set_name, "%s", cluster.set_name);
    return add_members(app, record, err) != HF_ERR_OK || check_busy(app, record, err) != HF_ERR_OK
               ? err->code
               : take_facts(app, record, err);
}

static struct hf_restore_record restore_of(struct hf_server_app *app,
                                           const struct hf_target_record *record,
                                           const struct hf_flow_plan *point, struct hf_error *err)
{
    struct hf_snapshot_record snapshot;
    struct hf_restore_record restore = {
        .id = record->id,
        .snapshot = record->snapshot,
        .job = record->job,
        .project = record->project,
        .cluster = record->cluster,
        .state = HF_RESTORE_IN_PROGRESS,
        .created_s = record->created_s,
        .onto = record->in_place,
        .target_cluster = record->cluster,
        .dry_run = record->dry_run,
        .point = point->point,
        .lease_from = point->lease_from,
    };

    /* Listed with the set that it was taken of. */
    if (hf_keep_snapshot_get(app->catalog, &record->snapshot, &snapshot, NULL, err) == HF_ERR_OK) {
        restore.cluster = snapshot.cluster;
    }
    (void)snprintf(restore.target_set, sizeof restore.target_set, "%s", record->set_name);
    return restore;
}

static enum hf_err begin(struct hf_server_app *app, struct hf_target_record *record,
                         const struct hf_flow_plan *point, struct hf_restore_record *out,
                         struct hf_error *err)
{
    *out = restore_of(app, record, point, err);
    if (hf_keep_restore_insert(app->catalog, out, err) != HF_ERR_OK ||
        HF_FAULT("server.target.recorded", err) != HF_ERR_OK ||
        hf_flow_plan_still_there(point, err) != HF_ERR_OK ||
        hf_keep_target_insert(app->catalog, record, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_log_info(app->log, "restore.target.started", HF_STR("restore", hf_id_text(&out->id).text),
                HF_STR("snapshot", hf_id_text(&out->snapshot).text),
                HF_STR("set", record->set_name), HF_U64("members", record->member_count));
    return HF_ERR_OK;
}

enum hf_err hf_flow_target(struct hf_server_app *app, const struct hf_flow_target_wish *wish,
                           struct hf_restore_record *out, struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_target_record *record = hf_alloc_zero(sizeof *record);
    struct hf_flow_plan point;

    if (record == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_fleet_check_restore(app, err) != HF_ERR_OK ||
        plan(app, wish, record, &point, err) != HF_ERR_OK) {
        return err->code;
    }
    if (wish->dry_run) {
        if (hf_flow_check_no_target(app, &record->cluster, err) == HF_ERR_CONFLICT) {
            hf_target_object(record, "BUSY", NULL, "%s", err->message);
        }
    } else if (record->obstacle_count > 0) {
        return refuse(record, err);
    } else if (take_lock(app, record, err) != HF_ERR_OK) {
        return err->code;
    }
    if (HF_FAULT("server.target.locked", err) != HF_ERR_OK ||
        begin(app, record, &point, out, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_flow_target_drive(app, &record->id);
    return HF_ERR_OK;
}
