/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restore onto a whole set, as the server leads it (docs/design/automated-restore.md): plan, lock on the set, steps for
 * the members' agents, the end. What follows on what is backup/target.h's; here it is written down and given out.
 *
 *   lock of the set -> restore record -> target record -> tasks, phase by phase -> restore's last state -> lock gone
 *
 * The target record is moved by compare-and-set before any task of it is made, and names the tasks; whoever finds one
 * missing makes it. So every function may run twice, and a server that starts goes on from what stands there.
 */
#include <stdio.h>

#include "backup/lifecycle.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "server/flow.h"
#include "server/flow_internal.h"
#include "snapshot/restore.h"

#define CAS_TRIES 16
#define ENDING_TRIES 200
#define ENDING_PAUSE_MS 25
#define LIST_MAX 100000

/* ---- The plan ---- */

/* Agents that are not heard of are obstacles, and asked nothing. */
static enum hf_err add_members(struct hf_server_app *app, struct hf_target_record *record,
                               struct hf_error *err)
{
    struct hf_flow_members members = {0};
    size_t named = 0;

    if (hf_flow_members(app, &members, err) != HF_ERR_OK) {
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

enum hf_err hf_flow_find_cluster(struct hf_server_app *app, const char *set_name,
                                 struct hf_cluster_record *out, struct hf_error *err)
{
    const struct hf_catalog_query query = {
        .index = "setName", .equals_text = set_name, .limit = LIST_MAX};
    HF_CLEANUP(hf_keep_clusters_fini) struct hf_keep_clusters clusters = {0};

    if (hf_keep_cluster_find(app->catalog, &query, &clusters, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < clusters.count; i++) {
        if (hf_id_equal(&clusters.items[i].project, &app->project)) {
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

static enum hf_err drop_lock(struct hf_server_app *app, const struct hf_target_record *record,
                             struct hf_error *err)
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
    const struct hf_flow_restore_wish instant = {
        .snapshot = wish->snapshot, .point = true, .target = wish->target, .job = wish->job};
    struct hf_snapshot_record snapshot;
    struct hf_cluster_record cluster;

    *point = (struct hf_flow_plan){.snapshot = wish->snapshot};
    if ((wish->point && hf_flow_plan_point(app, &instant, point, err) != HF_ERR_OK) ||
        hf_flow_need_complete(app, &point->snapshot, &snapshot, NULL, err) != HF_ERR_OK ||
        hf_flow_find_cluster(app, wish->set_name, &cluster, err) != HF_ERR_OK) {
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
        hf_flow_plan_still_there(app, point, err) != HF_ERR_OK ||
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
    if (plan(app, wish, record, &point, err) != HF_ERR_OK) {
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

/* ---- What an agent is given ---- */

static enum hf_target_step step_of(enum hf_target_phase phase)
{
    static const enum hf_target_step steps[HF_TARGET_PHASES] = {
        [HF_TARGET_CHECK] = HF_STEP_CHECK, [HF_TARGET_BUILD] = HF_STEP_BUILD,
        [HF_TARGET_STOP] = HF_STEP_STOP,   [HF_TARGET_SWAP] = HF_STEP_SWAP,
        [HF_TARGET_START] = HF_STEP_START, [HF_TARGET_PRIMARY] = HF_STEP_PRIMARY,
        [HF_TARGET_CLEAN] = HF_STEP_CLEAN, [HF_TARGET_HALT] = HF_STEP_HALT,
        [HF_TARGET_BACK] = HF_STEP_BACK,
    };

    return steps[phase];
}

static enum hf_err copy_text(const char *text, char **out, struct hf_error *err)
{
    *out = text[0] == '\0' ? NULL : hf_strdup(text);
    return text[0] != '\0' && *out == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory")
                                           : HF_ERR_OK;
}

static enum hf_err fill_build(struct hf_server_app *app, const struct hf_target_record *record,
                              struct hf_task *out, struct hf_error *err)
{
    HF_CLEANUP(hf_flow_reading_fini) struct hf_flow_reading reading = {0};
    HF_CLEANUP(hf_buf_fini) struct hf_buf info = HF_BUF_INIT(HF_MESSAGE_INFO_BYTES);
    struct hf_task_target *target = &out->target;
    struct hf_restore_record restore;

    if (hf_keep_restore_get(app->catalog, &record->id, &restore, NULL, err) != HF_ERR_OK ||
        hf_flow_open(app, &record->snapshot, &reading, err) != HF_ERR_OK ||
        hf_restore_info_text(&reading.manifest, &info, err) != HF_ERR_OK) {
        return err->code;
    }
    target->capture = reading.manifest.capture;
    target->checkpoint = reading.manifest.facts.checkpoint;
    target->root = reading.manifest.root;
    reading.manifest.root = (struct hf_tree_root){0};
    out->keyring = reading.keyring;
    hf_flow_fill_point(&restore.point, &reading.manifest.facts, &target->point);
    target->restore_info = hf_strndup((const char *)info.data, info.len);
    if (target->restore_info == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    return copy_text(record->options, &target->options, err);
}

static struct hf_target_member *member_of(struct hf_target_record *record, const struct hf_id *task)
{
    for (size_t i = 0; i < record->member_count; i++) {
        if (hf_id_equal(&record->members[i].task, task)) {
            return &record->members[i];
        }
    }
    return NULL;
}

enum hf_err hf_flow_fill_target(struct hf_server_app *app, const struct hf_task_record *task,
                                struct hf_task *out, struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_target_record *record = hf_alloc_zero(sizeof *record);

    if (record == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_keep_target_get(app->catalog, &task->restore, record, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_target_member *member = member_of(record, &task->id);
    if (member == NULL) {
        return hf_fail(err, HF_ERR_LOST, "restore %s has gone on without this step",
                       hf_id_text(&task->restore).text);
    }
    struct hf_task_target *target = &out->target;
    target->step = step_of(record->phase);
    target->restore = record->id;
    target->snapshot = record->snapshot;
    target->arbiter = member->arbiter;
    target->in_place = record->in_place;
    (void)snprintf(target->member, sizeof target->member, "%s", member->host);
    (void)snprintf(target->set_name, sizeof target->set_name, "%s", record->set_name);
    (void)snprintf(target->login_print, sizeof target->login_print, "%s", record->login_print);
    if (copy_text(record->config, &target->config, err) != HF_ERR_OK) {
        return err->code;
    }
    bool builds =
        target->step == HF_STEP_BUILD || (target->step == HF_STEP_SWAP && record->in_place);
    /* Nothing but building needs the store: the way back must not wait for it. */
    return builds && !member->arbiter ? fill_build(app, record, out, err) : HF_ERR_OK;
}

/* ---- Driving ---- */

static enum hf_err make_task(struct hf_server_app *app, const struct hf_target_record *record,
                             const struct hf_target_member *member, struct hf_error *err)
{
    const struct hf_task_record task = {
        .id = member->task,
        .project = record->project,
        .job = record->job,
        .agent = member->agent,
        .snapshot = record->snapshot,
        .restore = record->id,
        .kind = HF_TASK_TARGET,
        .state = HF_TASK_WAITING,
        .attempt = member->attempt,
        .created_s = hf_flow_now_s(),
        .seen_s = hf_flow_now_s(),
    };

    enum hf_err code = hf_keep_task_insert(app->catalog, &task, err);
    if (code == HF_ERR_OK) {
        hf_flow_notify(app, &member->agent);
    }
    return code == HF_ERR_EXISTS ? HF_ERR_OK : code;
}

/* Nobody began it yet: it ends here, else its agent is told to stop. */
static enum hf_err stop_task(struct hf_server_app *app, const struct hf_id *id, bool *ended,
                             struct hf_error *err)
{
    const struct hf_msg_finish never = {.code = HF_ERR_CANCELLED, .message = "cancelled"};
    struct hf_task_record task;

    enum hf_err code = hf_keep_task_get(app->catalog, id, &task, NULL, err);
    if (code != HF_ERR_OK) {
        return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
    }
    if (task.state == HF_TASK_WAITING) {
        *ended = true;
        return hf_flow_finish_target(app, &task, &never, err);
    }
    code = hf_flow_cancel_task(app, id, err);
    return code == HF_ERR_CONFLICT || code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
}

static enum hf_err settle_tasks(struct hf_server_app *app, const struct hf_target_record *record,
                                bool *again, struct hf_error *err)
{
    for (size_t i = 0; i < record->member_count; i++) {
        const struct hf_target_member *member = &record->members[i];
        if (member->state != HF_TARGET_MEMBER_RUNNING || hf_target_has_ended(record)) {
            continue;
        }
        enum hf_err code = record->failing && !record->undoing
                               ? stop_task(app, &member->task, again, err)
                               : make_task(app, record, member, err);
        if (code != HF_ERR_OK) {
            return code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err end_restore(struct hf_server_app *app, const struct hf_target_record *record,
                               struct hf_error *err)
{
    struct hf_restore_record restore;
    uint64_t revision = 0;

    if (hf_keep_restore_get(app->catalog, &record->id, &restore, &revision, err) != HF_ERR_OK) {
        return err->code == HF_ERR_NOT_FOUND ? HF_ERR_OK : err->code;
    }
    if (restore.state != HF_RESTORE_IN_PROGRESS) {
        return HF_ERR_OK;
    }
    enum hf_restore_state to = record->phase == HF_TARGET_DONE          ? HF_RESTORE_FINISHED
                               : record->cancelled && !record->given_up ? HF_RESTORE_KILLED
                                                                        : HF_RESTORE_BROKEN;
    if (hf_restore_move(&restore, to, hf_flow_now_s(), err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < record->member_count; i++) {
        const struct hf_target_member *member = &record->members[i];
        restore.files = member->files > restore.files ? member->files : restore.files;
        restore.bytes += member->bytes;
        restore.written_bytes += member->written_bytes;
    }
    if (to != HF_RESTORE_FINISHED) {
        (void)snprintf(restore.error_class, sizeof restore.error_class, "%s", record->error_class);
        (void)snprintf(restore.error, sizeof restore.error, "%.*s%s",
                       (int)sizeof restore.error - 80, record->error,
                       record->given_up ? "; the way back was not waited for" : "");
    }
    if (hf_keep_restore_replace(app->catalog, &restore, &revision, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_log_info(app->log, "restore.ended", HF_STR("restore", hf_id_text(&restore.id).text),
                HF_STR("state", hf_restore_state_word(restore.state)),
                HF_STR("error", restore.error));
    return HF_ERR_OK;
}

/* Members that may have their next step get the ids of its task. */
static bool give_steps(struct hf_target_record *record, uint64_t now_s)
{
    bool any = false;

    for (size_t i = 0; i < record->member_count; i++) {
        struct hf_target_member *member = &record->members[i];
        if (hf_target_is_due(record, i, now_s)) {
            member->state = HF_TARGET_MEMBER_RUNNING;
            member->task = hf_flow_new_id();
            member->attempt = hf_flow_new_id();
            member->began_s = now_s;
            any = true;
        }
    }
    return any;
}

/* One look: *again when another change came between. */
static enum hf_err drive_once(struct hf_server_app *app, const struct hf_id *id,
                              struct hf_target_record *record, bool *again, struct hf_error *err)
{
    uint64_t revision = 0, now_s = hf_flow_now_s();

    *again = false;
    if (hf_keep_target_get(app->catalog, id, record, &revision, err) != HF_ERR_OK ||
        !record->active) {
        return err->code == HF_ERR_NOT_FOUND ? HF_ERR_OK : err->code;
    }
    enum hf_target_phase before = record->phase;
    bool changed = hf_target_advance(record, now_s);
    changed = give_steps(record, now_s) || changed;
    if ((before != record->phase || hf_target_has_ended(record)) &&
        hf_flow_target_tell_jobs(app, record, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_target_has_ended(record)) {
        /* The restore's last state, then the lock, then nobody looks here any more. */
        if (end_restore(app, record, err) != HF_ERR_OK ||
            HF_FAULT("server.target.ended", err) != HF_ERR_OK ||
            (!record->dry_run && drop_lock(app, record, err) != HF_ERR_OK)) {
            return err->code;
        }
        record->active = false;
        changed = true;
    }
    if (changed) {
        enum hf_err code = hf_keep_target_replace(app->catalog, record, &revision, err);
        if (code == HF_ERR_CONFLICT) {
            *again = true;
            return HF_ERR_OK;
        }
        if (code != HF_ERR_OK || HF_FAULT("server.target.moved", err) != HF_ERR_OK) {
            return err->code;
        }
        if (before != record->phase) {
            hf_log_info(app->log, "restore.target.phase", HF_STR("restore", hf_id_text(id).text),
                        HF_STR("set", record->set_name),
                        HF_STR("phase", hf_target_phase_word(record->phase)));
        }
    }
    return settle_tasks(app, record, again, err);
}

void hf_flow_target_drive(struct hf_server_app *app, const struct hf_id *id)
{
    HF_CLEANUP(hf_free) struct hf_target_record *record = hf_alloc_zero(sizeof *record);
    enum hf_err code = HF_ERR_OK;
    bool again = record != NULL, mine = false;
    struct hf_error err;

    /* Two at once would make the same tasks. Who waits here sees what the other one did not. */
    for (unsigned tries = 0; again && !mine && tries < ENDING_TRIES; tries++) {
        mine = hf_flow_begin_ending(app, id);
        if (!mine) {
            hf_cancel_sleep(app->cancel, ENDING_PAUSE_MS);
        }
    }
    for (unsigned tries = 0; mine && again && code == HF_ERR_OK && tries < CAS_TRIES; tries++) {
        hf_error_clear(&err);
        code = drive_once(app, id, record, &again, &err);
    }
    if (mine) {
        hf_flow_finish_ending(app, id);
    }
    if (code != HF_ERR_OK) {
        /* Nothing is lost: the next tick looks again. */
        hf_log_warn(app->log, "restore.target.waits", HF_STR("restore", hf_id_text(id).text),
                    HF_STR("error", err.message));
    }
}

/* ---- What came back ---- */

static void take_outcome(struct hf_target_record *record, size_t index,
                         const struct hf_msg_finish *finish)
{
    struct hf_target_member *member = &record->members[index];
    struct hf_error outcome = {.code = finish->code};
    HF_CLEANUP(hf_json_drop) struct hf_json *report = NULL;
    struct hf_error err;

    (void)snprintf(outcome.message, sizeof outcome.message, "%s", finish->message);
    if (finish->code == HF_ERR_OK && record->phase == HF_TARGET_CHECK) {
        const char *text = finish->report == NULL ? "" : finish->report;
        if (hf_json_decode(hf_str_of(text), HF_TARGET_REPORT_BYTES, &report, &err) != HF_ERR_OK ||
            hf_target_take_report(record, index, report, &err) != HF_ERR_OK) {
            outcome = err;
        }
    }
    if (finish->code == HF_ERR_OK && finish->restored_bytes > 0) {
        member->files = finish->restored_files;
        member->bytes = finish->restored_bytes;
        member->written_bytes = finish->written_bytes;
    }
    hf_target_member_ended(record, index, &outcome, hf_flow_now_s());
}

/* The record first: a task that has ended is not told of again. */
static enum hf_err note_outcome(struct hf_server_app *app, const struct hf_task_record *task,
                                const struct hf_msg_finish *finish, struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_target_record *record = hf_alloc_zero(sizeof *record);

    for (unsigned tries = 0; record != NULL && tries < CAS_TRIES; tries++) {
        uint64_t revision = 0;
        enum hf_err code = hf_keep_target_get(app->catalog, &task->restore, record, &revision, err);
        if (code != HF_ERR_OK) {
            return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
        }
        struct hf_target_member *member = member_of(record, &task->id);
        if (member == NULL || member->state != HF_TARGET_MEMBER_RUNNING) {
            return HF_ERR_OK;
        }
        take_outcome(record, (size_t)(member - record->members), finish);
        code = hf_keep_target_replace(app->catalog, record, &revision, err);
        if (code != HF_ERR_CONFLICT) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "restore %s changes too often",
                   hf_id_text(&task->restore).text);
}

/* One member's is everybody's: they had the same files and entries. */
static enum hf_err note_replay(struct hf_server_app *app, const struct hf_task_record *task,
                               const struct hf_msg_finish *finish, struct hf_error *err)
{
    enum hf_err code = HF_ERR_CONFLICT;

    for (unsigned tries = 0; finish->replay.done && code == HF_ERR_CONFLICT && tries < CAS_TRIES;
         tries++) {
        struct hf_restore_record restore;
        uint64_t revision = 0;
        if (hf_keep_restore_get(app->catalog, &task->restore, &restore, &revision, err) !=
            HF_ERR_OK) {
            return err->code;
        }
        hf_flow_take_replay(&finish->replay, &restore.point);
        code = hf_keep_restore_replace(app->catalog, &restore, &revision, err);
    }
    return finish->replay.done ? code : HF_ERR_OK;
}

enum hf_err hf_flow_finish_target(struct hf_server_app *app, const struct hf_task_record *task,
                                  const struct hf_msg_finish *finish, struct hf_error *err)
{
    struct hf_error outcome = {.code = finish->code};

    (void)snprintf(outcome.message, sizeof outcome.message, "%s", finish->message);
    if (note_replay(app, task, finish, err) != HF_ERR_OK ||
        note_outcome(app, task, finish, err) != HF_ERR_OK ||
        HF_FAULT("server.target.noted", err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_flow_end_task(app, &task->id, &outcome, err);
}

/* ---- From time to time, and by the operator ---- */

void hf_flow_target_tick(struct hf_server_app *app)
{
    const struct hf_catalog_query query = {
        .kind = HF_KIND_TARGET, .index = "state", .equals_text = "ACTIVE", .limit = LIST_MAX};
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list found = {.documents = NULL};
    struct hf_error err;

    if (hf_catalog_find(app->catalog, &query, &found, &err) != HF_ERR_OK) {
        hf_log_warn(app->log, "server.resume.failed", HF_STR("error", err.message));
        return;
    }
    for (size_t i = 0; i < found.count && !hf_cancel_requested(app->cancel); i++) {
        struct hf_id id;
        if (hf_id_parse(hf_str_of(found.documents[i].id), &id)) {
            hf_flow_target_drive(app, &id);
        }
    }
}

enum hf_err hf_flow_target_cancel(struct hf_server_app *app, const struct hf_id *id,
                                  struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_target_record *record = hf_alloc_zero(sizeof *record);
    enum hf_err code = HF_ERR_CONFLICT;

    if (record == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (unsigned tries = 0; code == HF_ERR_CONFLICT && tries < CAS_TRIES; tries++) {
        uint64_t revision = 0;
        if (hf_keep_target_get(app->catalog, id, record, &revision, err) != HF_ERR_OK ||
            hf_target_cancel(record, err) != HF_ERR_OK) {
            return err->code;
        }
        code = hf_keep_target_replace(app->catalog, record, &revision, err);
    }
    if (code != HF_ERR_OK) {
        return code;
    }
    hf_flow_target_drive(app, id);
    return HF_ERR_OK;
}
