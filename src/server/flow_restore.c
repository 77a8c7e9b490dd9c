/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done with a complete snapshot: read it, restore it through an agent, delete it; and stopping a task.
 */
#include <stdio.h>

#include "backup/job.h"
#include "backup/lifecycle.h"
#include "backup/retention.h"
#include "base/fault.h"
#include "server/events.h"
#include "server/fleet.h"
#include "server/flow.h"
#include "server/flow_internal.h"
#include "server/points.h"
#include "server/stores.h"
#include "snapshot/commit.h"
#include "snapshot/keys.h"
#include "snapshot/list.h"

void hf_flow_reading_fini(struct hf_flow_reading *reading)
{
    hf_manifest_fini(&reading->manifest);
    hf_keyring_wipe(&reading->keyring);
}

enum hf_err hf_flow_need_complete(struct hf_server_app *app, const struct hf_id *snapshot,
                                  struct hf_snapshot_record *out, uint64_t *revision,
                                  struct hf_error *err)
{
    if (hf_keep_snapshot_get(app->catalog, snapshot, out, revision, err) != HF_ERR_OK) {
        return err->code == HF_ERR_NOT_FOUND
                   ? hf_fail(err, HF_ERR_NOT_FOUND, "there is no snapshot %s",
                             hf_id_text(snapshot).text)
                   : err->code;
    }
    if (out->state != HF_SNAPSHOT_COMPLETE) {
        return hf_fail(err, out->state == HF_SNAPSHOT_EXPIRED ? HF_ERR_NOT_FOUND : HF_ERR_CONFLICT,
                       "snapshot %s is %s", hf_id_text(snapshot).text,
                       hf_snapshot_state_word(out->state));
    }
    struct hf_job_record job;
    enum hf_err code = hf_keep_job_get(app->catalog, &out->job, &job, NULL, err);
    if (code == HF_ERR_OK && !hf_job_does(&job).keeps_snapshots) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "snapshot %s is being deleted: the job of set %s is %s",
                       hf_id_text(snapshot).text, job.set_name, hf_job_state_word(job.state));
    }
    return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
}

enum hf_err hf_flow_open(struct hf_server_app *app, const struct hf_id *snapshot,
                         struct hf_flow_reading *out, struct hf_error *err)
{
    HF_CLEANUP(hf_flow_reading_fini) struct hf_flow_reading reading = {0};
    struct hf_snapshot_record record;
    struct hf_manifest_read read;
    struct hf_open_store at;

    if (hf_flow_need_complete(app, snapshot, &record, NULL, err) != HF_ERR_OK ||
        hf_stores_get(app, &record.store, &at, err) != HF_ERR_OK ||
        hf_stores_load_keys(&at, &record.job, &reading.keyring, err) != HF_ERR_OK ||
        hf_list_read_manifest(at.store, &record.job, record.capture, &reading.keyring,
                              &reading.manifest, &read, err) != HF_ERR_OK) {
        return err->code;
    }
    if (read.kind != HF_MANIFEST_SNAPSHOT || !hf_id_equal(&reading.manifest.snapshot, snapshot)) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "%s: the manifest of capture %llu is another snapshot's",
                       hf_store_url(at.store), (unsigned long long)record.capture);
    }
    reading.store = at.store;
    *out = reading;
    reading = (struct hf_flow_reading){0};
    return HF_ERR_OK;
}

/* The agent that was named, else the one of the snapshot's own member, else the only one that takes restores. */
static enum hf_err choose_agent(struct hf_server_app *app, const struct hf_flow_restore_wish *wish,
                                const struct hf_snapshot_record *snapshot,
                                struct hf_agent_record *out, struct hf_error *err)
{
    const struct hf_id_text project = hf_id_text(&wish->project);
    const struct hf_catalog_query query = {
        .index = "projectId", .equals_text = project.text, .limit = 10000};
    HF_CLEANUP(hf_keep_agents_fini) struct hf_keep_agents agents = {0};
    const struct hf_agent_record *best = NULL;
    size_t able = 0;

    if (!hf_id_is_none(&wish->agent)) {
        if (hf_keep_agent_get(app->catalog, &wish->agent, out, NULL, err) != HF_ERR_OK) {
            return err->code;
        }
        if (out->restore_root[0] == '\0') {
            return hf_fail(
                err, HF_ERR_CONFLICT,
                "agent %s on %s takes no restores; hint: start it with --restore-root DIR",
                hf_id_text(&out->id).text, out->host);
        }
        return HF_ERR_OK;
    }
    if (hf_keep_agent_find(app->catalog, &query, &agents, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < agents.count; i++) {
        const struct hf_agent_record *one = &agents.items[i];
        if (one->restore_root[0] == '\0' ||
            hf_flow_agent_silent_s(app, one) > HF_AGENT_SILENT_MAX_S) {
            continue;
        }
        able++;
        if (best == NULL || hf_id_equal(&one->id, &snapshot->agent)) {
            best = one;
        }
    }
    if (best == NULL) {
        return hf_fail(err, HF_ERR_UNAVAILABLE,
                       "no agent that takes restores is connected; hint: start one with "
                       "--restore-root DIR, or use --tar");
    }
    if (able > 1 && !hf_id_equal(&best->id, &snapshot->agent)) {
        return hf_fail(
            err, HF_ERR_INVALID,
            "%zu agents take restores; hint: say which with --agent ID (holdfast agent list)",
            able);
    }
    *out = *best;
    return HF_ERR_OK;
}

/* ---- What is named ---- */

enum hf_err hf_flow_check_project(struct hf_server_app *app,
                                  const struct hf_flow_restore_wish *wish, struct hf_error *err)
{
    struct hf_snapshot_record snapshot;
    struct hf_job_record job;
    struct hf_agent_record agent;

    if (!hf_id_is_none(&wish->snapshot)) {
        enum hf_err code =
            hf_keep_snapshot_get(app->catalog, &wish->snapshot, &snapshot, NULL, err);
        if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND) {
            return code;
        }
        if (code != HF_ERR_OK || !hf_id_equal(&snapshot.project, &wish->project)) {
            return hf_fail(err, HF_ERR_NOT_FOUND, "there is no snapshot %s",
                           hf_id_text(&wish->snapshot).text);
        }
    }
    if (!hf_id_is_none(&wish->job)) {
        enum hf_err code = hf_keep_job_get(app->catalog, &wish->job, &job, NULL, err);
        if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND) {
            return code;
        }
        if (code != HF_ERR_OK || !hf_id_equal(&job.project, &wish->project)) {
            return hf_fail(err, HF_ERR_NOT_FOUND, "there is no job %s",
                           hf_id_text(&wish->job).text);
        }
    }
    if (!hf_id_is_none(&wish->agent)) {
        enum hf_err code = hf_keep_agent_get(app->catalog, &wish->agent, &agent, NULL, err);
        if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND) {
            return code;
        }
        if (code != HF_ERR_OK || !hf_id_equal(&agent.project, &wish->project)) {
            return hf_fail(err, HF_ERR_NOT_FOUND, "there is no agent %s",
                           hf_id_text(&wish->agent).text);
        }
    }
    return HF_ERR_OK;
}

/* ---- Points in time ---- */

static enum hf_err plan_once(struct hf_server_app *app, const struct hf_flow_restore_wish *wish,
                             struct hf_flow_plan *out, struct hf_error *err)
{
    HF_CLEANUP(hf_points_destroy) struct hf_points *points = NULL;
    HF_CLEANUP(hf_plan_fini) struct hf_plan plan = {.links = NULL};
    struct hf_snapshot_record base;
    struct hf_id job = wish->job;
    bool named = !hf_id_is_none(&wish->snapshot);

    if (named) {
        if (hf_flow_need_complete(app, &wish->snapshot, &base, NULL, err) != HF_ERR_OK) {
            return err->code;
        }
        if (base.verified_s != 0 && !base.verified_ok) {
            return hf_fail(err, HF_ERR_CONFLICT,
                           "a verification found snapshot %s damaged: it is no base; hint: name "
                           "another one, or none",
                           hf_id_text(&base.id).text);
        }
        if (!hf_id_is_none(&job) && !hf_id_equal(&job, &base.job)) {
            return hf_fail(err, HF_ERR_INVALID, "snapshot %s is of set %s",
                           hf_id_text(&base.id).text, base.set_name);
        }
        job = base.job;
    }
    if (hf_points_load(app, &job, &points, err) != HF_ERR_OK ||
        hf_ranges_plan(&points->ranges, &wish->target, named ? &wish->snapshot : NULL,
                       points->reader, &plan, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_base_snapshot *on = &points->ranges.snapshots[plan.snapshot];
    *out = (struct hf_flow_plan){
        .snapshot = on->id,
        .point = {.wanted = true,
                  .date = wish->target.kind == HF_TARGET_DATE,
                  .seconds = wish->target.seconds,
                  .increment = wish->target.increment,
                  .entries = plan.entries_max,
                  .bytes = plan.bytes_max,
                  .other_histories = plan.other_histories},
        .oplog = points->stores.oplog.store,
        .reads = plan.link_count > 0,
    };
    if (out->reads) {
        out->point.last = plan.last;
        /* Every slice that the agent looks at, to come to the same plan. */
        out->lease_from = on->checkpoint;
        out->oldest = points->chains.links[plan.links[0]].name;
    }
    return HF_ERR_OK;
}

/* Slices may be merged between the list and the look into one of them. */
enum hf_err hf_flow_plan_point(struct hf_server_app *app, const struct hf_flow_restore_wish *wish,
                               struct hf_flow_plan *out, struct hf_error *err)
{
    enum hf_err code = HF_ERR_UNAVAILABLE;

    for (unsigned loads = 0; code == HF_ERR_UNAVAILABLE && loads < HF_CHAIN_LOADS_MAX; loads++) {
        code = plan_once(app, wish, out, err);
    }
    return code;
}

enum hf_err hf_flow_plan_still_there(const struct hf_flow_plan *plan, struct hf_error *err)
{
    struct hf_object_text name = hf_object_name_text(&plan->oldest);
    uint64_t ignored = 0;

    if (!plan->reads) {
        return HF_ERR_OK;
    }
    enum hf_err code = hf_store_size(plan->oplog, hf_str_of(name.text), &ignored, err);
    return code == HF_ERR_NOT_FOUND
               ? hf_fail(err, HF_ERR_UNAVAILABLE,
                         "%s was deleted while the restore was planned; hint: ask again", name.text)
               : code;
}

/* The restore has a record and cannot begin. */
static enum hf_err break_restore(struct hf_server_app *app, const struct hf_restore_record *restore,
                                 struct hf_error *err)
{
    const struct hf_task_record none = {.id = restore->task, .restore = restore->id};
    struct hf_msg_finish refused = {.code = err->code};
    struct hf_error ignored;

    (void)snprintf(refused.message, sizeof refused.message, "%s", err->message);
    /* What cannot be written now, the next resume does: the restore has no task. */
    (void)!hf_flow_finish_restore(app, &none, &refused, &ignored);
    return err->code;
}

/* One restore for a directory. Of two that are asked for in the same instant the agent takes one. */
static enum hf_err check_no_other(struct hf_server_app *app, const struct hf_id *agent,
                                  const char *directory, struct hf_error *err)
{
    const struct hf_catalog_query query = {.index = "state",
                                           .equals_text =
                                               hf_restore_state_word(HF_RESTORE_IN_PROGRESS),
                                           .limit = 100000};
    HF_CLEANUP(hf_keep_restores_fini) struct hf_keep_restores restores = {0};

    if (hf_keep_restore_find(app->catalog, &query, &restores, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < restores.count; i++) {
        if (hf_id_equal(&restores.items[i].agent, agent) &&
            strcmp(restores.items[i].directory, directory) == 0) {
            return hf_fail(err, HF_ERR_CONFLICT, "restore %s is under way into %s",
                           hf_id_text(&restores.items[i].id).text, directory);
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_flow_restore(struct hf_server_app *app, const struct hf_flow_restore_wish *wish,
                            struct hf_restore_record *out, struct hf_error *err)
{
    struct hf_flow_plan plan = {.snapshot = wish->snapshot};
    struct hf_snapshot_record snapshot;
    struct hf_agent_record agent;

    if (hf_fleet_check_restore(app, err) != HF_ERR_OK ||
        hf_flow_check_project(app, wish, err) != HF_ERR_OK ||
        (wish->point && hf_flow_plan_point(app, wish, &plan, err) != HF_ERR_OK) ||
        hf_flow_need_complete(app, &plan.snapshot, &snapshot, NULL, err) != HF_ERR_OK ||
        choose_agent(app, wish, &snapshot, &agent, err) != HF_ERR_OK) {
        return err->code;
    }
    if (wish->directory[0] != '/' || strlen(wish->directory) >= sizeof out->directory) {
        return hf_fail(err, HF_ERR_INVALID,
                       "restore directory '%.200s' is not an absolute path of at most %zu bytes",
                       wish->directory, sizeof out->directory - 1);
    }
    if (check_no_other(app, &agent.id, wish->directory, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = (struct hf_restore_record){
        .id = hf_flow_new_id(),
        .snapshot = snapshot.id,
        .job = snapshot.job,
        .project = snapshot.project,
        .cluster = snapshot.cluster,
        .agent = agent.id,
        .task = hf_flow_new_id(),
        .state = HF_RESTORE_IN_PROGRESS,
        .created_s = hf_flow_now_s(),
        .onto = wish->onto,
        .leave_foreign = wish->leave_foreign,
        .point = plan.point,
        .lease_from = plan.lease_from,
    };
    (void)snprintf(out->directory, sizeof out->directory, "%s", wish->directory);
    const struct hf_task_record task = {
        .id = out->task,
        .project = out->project,
        .job = out->job,
        .agent = agent.id,
        .snapshot = snapshot.id,
        .restore = out->id,
        .kind = HF_TASK_RESTORE,
        .state = HF_TASK_WAITING,
        .attempt = hf_flow_new_id(),
        .created_s = out->created_s,
        .seen_s = out->created_s,
    };
    if (hf_keep_restore_insert(app->catalog, out, err) != HF_ERR_OK ||
        HF_FAULT("server.restore.recorded", err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_flow_plan_still_there(&plan, err) != HF_ERR_OK) {
        return break_restore(app, out, err);
    }
    if (hf_keep_task_insert(app->catalog, &task, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_flow_notify(app, &agent.id);
    hf_log_info(app->log, "restore.started", HF_STR("restore", hf_id_text(&out->id).text),
                HF_STR("snapshot", hf_id_text(&snapshot.id).text),
                HF_STR("agent", hf_id_text(&agent.id).text), HF_STR("directory", out->directory));
    return HF_ERR_OK;
}

/* A restore under way holds its snapshot. */
enum hf_err hf_flow_check_no_restore(struct hf_server_app *app, const struct hf_id *snapshot,
                                     struct hf_error *err)
{
    const struct hf_id_text id = hf_id_text(snapshot);
    const struct hf_catalog_query query = {
        .index = "snapshotId", .equals_text = id.text, .limit = 100000};
    HF_CLEANUP(hf_keep_tasks_fini) struct hf_keep_tasks tasks = {0};

    if (hf_keep_task_find(app->catalog, &query, &tasks, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < tasks.count; i++) {
        if (tasks.items[i].kind == HF_TASK_RESTORE && tasks.items[i].state != HF_TASK_ENDED) {
            return hf_fail(err, HF_ERR_CONFLICT, "snapshot %s is being restored from (restore %s)",
                           id.text, hf_id_text(&tasks.items[i].restore).text);
        }
    }
    const struct hf_catalog_query restores_query = {
        .index = "state",
        .equals_text = hf_restore_state_word(HF_RESTORE_IN_PROGRESS),
        .limit = 100000};
    HF_CLEANUP(hf_keep_restores_fini) struct hf_keep_restores restores = {0};

    /* One that was asked for, and has no task yet. */
    if (hf_keep_restore_find(app->catalog, &restores_query, &restores, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < restores.count; i++) {
        if (hf_id_equal(&restores.items[i].snapshot, snapshot)) {
            return hf_fail(err, HF_ERR_CONFLICT, "snapshot %s is being restored from (restore %s)",
                           id.text, hf_id_text(&restores.items[i].id).text);
        }
    }
    return HF_ERR_OK;
}

/* That the manifest is gone is written down last, so that a deletion that was cut off is known. */
static enum hf_err note_dropped(struct hf_server_app *app, struct hf_snapshot_record *record,
                                uint64_t *revision, struct hf_error *err)
{
    if (record->dropped) {
        return HF_ERR_OK;
    }
    record->dropped = true;
    enum hf_err code = hf_keep_snapshot_replace(app->catalog, record, revision, err);
    return code == HF_ERR_CONFLICT || code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
}

enum deletion {
    BY_HAND,
    BY_TIME, /* only when its time is over */
};

static enum hf_err tell_expired(struct hf_server_app *app, const struct hf_snapshot_record *record,
                                struct hf_error *err)
{
    const struct hf_event_own own = {.job = &record->job,
                                     .target = &record->id,
                                     .set_name = record->set_name,
                                     .type = HF_EVENT_SNAPSHOT_DELETED,
                                     .text = "its time is over",
                                     .number = record->expires_s};

    return hf_event_own(app, &own, err);
}

static bool change_last(struct hf_job_record *job, const void *what)
{
    if (!hf_id_equal(&job->last.snapshot, (const struct hf_id *)what)) {
        return false;
    }
    job->last = (struct hf_job_last){.created_s = 0};
    return true;
}

/* The job remembers it no longer as its newest: who wants to know looks for the one before. */
static enum hf_err forget_last(struct hf_server_app *app, const struct hf_snapshot_record *gone,
                               struct hf_error *err)
{
    struct hf_job_record job;

    enum hf_err code = hf_flow_change_job(app, &gone->job, change_last, &gone->id, &job, err);
    return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
}

static enum hf_err delete_snapshot(struct hf_server_app *app, const struct hf_id *snapshot,
                                   enum deletion how, struct hf_error *err)
{
    struct hf_open_store at;
    struct hf_snapshot_record record;
    uint64_t revision = 0;

    if (hf_keep_snapshot_get(app->catalog, snapshot, &record, &revision, err) != HF_ERR_OK) {
        return err->code;
    }
    if (record.state != HF_SNAPSHOT_EXPIRED) {
        if (hf_flow_need_complete(app, snapshot, &record, &revision, err) != HF_ERR_OK ||
            hf_flow_check_no_restore(app, snapshot, err) != HF_ERR_OK ||
            hf_flow_check_no_link(app, snapshot, err) != HF_ERR_OK) {
            return err->code;
        }
        if (record.keep) {
            return hf_fail(err, HF_ERR_CONFLICT, "snapshot %s is marked to be kept",
                           hf_id_text(snapshot).text);
        }
        if (how == BY_TIME && !hf_retention_is_expired(&record, hf_flow_now_s())) {
            return hf_fail(err, HF_ERR_CONFLICT, "snapshot %s was given more time",
                           hf_id_text(snapshot).text);
        }
        if (hf_snapshot_move(&record, HF_SNAPSHOT_EXPIRED, hf_flow_now_s(), err) != HF_ERR_OK ||
            (how == BY_TIME && tell_expired(app, &record, err) != HF_ERR_OK) ||
            hf_keep_snapshot_replace(app->catalog, &record, &revision, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    /* EXPIRED first, then the manifest (keeps I3). A deletion that was cut off here is finished by asking again. */
    if (HF_FAULT("server.delete.expired", err) != HF_ERR_OK ||
        forget_last(app, &record, err) != HF_ERR_OK ||
        hf_stores_get(app, &record.store, &at, err) != HF_ERR_OK ||
        hf_commit_delete_manifest(at.store, &record.job, record.capture, err) != HF_ERR_OK ||
        note_dropped(app, &record, &revision, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_log_info(app->log, "snapshot.deleted", HF_STR("snapshot", hf_id_text(snapshot).text),
                HF_STR("set", record.set_name), HF_U64("expired", how == BY_TIME));
    return HF_ERR_OK;
}

enum hf_err hf_flow_delete(struct hf_server_app *app, const struct hf_id *snapshot,
                           struct hf_error *err)
{
    return delete_snapshot(app, snapshot, BY_HAND, err);
}

enum hf_err hf_flow_delete_expired(struct hf_server_app *app, const struct hf_id *snapshot,
                                   struct hf_error *err)
{
    return delete_snapshot(app, snapshot, BY_TIME, err);
}

enum hf_err hf_flow_cancel_task(struct hf_server_app *app, const struct hf_id *id,
                                struct hf_error *err)
{
    for (unsigned tries = 0; tries < 8; tries++) {
        struct hf_task_record task;
        uint64_t revision = 0;

        if (hf_keep_task_get(app->catalog, id, &task, &revision, err) != HF_ERR_OK) {
            return err->code;
        }
        if (task.state == HF_TASK_FINISHING || task.state == HF_TASK_ENDED) {
            return hf_fail(err, HF_ERR_CONFLICT, "task %s has ended", hf_id_text(id).text);
        }
        if (task.cancelled) {
            return HF_ERR_OK;
        }
        task.cancelled = true;
        enum hf_err code = hf_keep_task_replace(app->catalog, &task, &revision, err);
        if (code == HF_ERR_OK) {
            hf_flow_notify(app, &task.agent);
        }
        if (code != HF_ERR_CONFLICT) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "task %s changes too often", hf_id_text(id).text);
}
