/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start of a snapshot: steps 1 and 2 of store-format.md 5, and the task that the agent is given.
 */
#include <stdio.h>

#include "backup/lifecycle.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "os/clock.h"
#include "server/events.h"
#include "server/fleet.h"
#include "server/flow.h"
#include "server/flow_internal.h"
#include "server/flow_tail.h"
#include "server/stores.h"
#include "snapshot/commit.h"
#include "snapshot/keys.h"
#include "snapshot/list.h"
#include "snapshot/restore.h"

/* Of the end of the snapshot before: 5 s. */
#define WIND_UP_TRIES 100
#define WIND_UP_TRY_MS 50

static const struct hf_snapshot_record *newest_complete(const struct hf_keep_snapshots *snapshots)
{
    const struct hf_snapshot_record *newest = NULL;

    for (size_t i = 0; i < snapshots->count; i++) {
        const struct hf_snapshot_record *one = &snapshots->items[i];
        if (one->state == HF_SNAPSHOT_COMPLETE &&
            (newest == NULL || one->capture > newest->capture)) {
            newest = one;
        }
    }
    return newest;
}

/* Blocks are never stored larger than they are, and lists and nodes take a hundredth: what goes beyond is garbage. The
 * data may grow between the agent's last look and the cursor. */
#define PUT_SLACK_BYTES ((uint64_t)1 << 30)

static uint64_t put_max_bytes(const struct hf_server_app *app, uint64_t data_bytes)
{
    uint64_t limit =
        data_bytes > UINT64_MAX / 4 ? INT64_MAX : data_bytes + data_bytes / 4 + PUT_SLACK_BYTES;

    limit = limit > INT64_MAX ? INT64_MAX : limit;
    return app->capture_limit_bytes != 0 && app->capture_limit_bytes < limit
               ? app->capture_limit_bytes
               : limit;
}

/* What the choice is made from, and the choice. */
struct source {
    struct hf_keep_snapshots snapshots;
    struct hf_flow_members members;
    struct hf_member_cost *costs; /* owned */
    struct hf_member_wish wish;
    struct hf_member_choice choice;
};

static void source_fini(struct source *source)
{
    hf_keep_snapshots_fini(&source->snapshots);
    hf_free(source->members.items);
    hf_free(source->costs);
}
HF_CLEANUP_DEFINE_VALUE(source_fini, struct source)

/* UNAVAILABLE and NOT_FOUND as hf_member_choose: all but the choice is there then. */
static enum hf_err find_source(struct hf_server_app *app, const struct hf_job_record *job,
                               struct source *out, struct hf_error *err)
{
    if (hf_keep_snapshots_of(app->catalog, &job->id, &out->snapshots, err) != HF_ERR_OK ||
        hf_flow_members(app, &job->project, &out->members, err) != HF_ERR_OK) {
        return err->code;
    }
    out->costs = hf_alloc_array(out->members.count + 1, sizeof *out->costs);
    if (out->costs == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (size_t i = 0; i < out->members.count; i++) {
        out->costs[i] = hf_snapshot_cost(out->snapshots.items, out->snapshots.count,
                                         &out->members.items[i], &job->store, hf_flow_now_s());
    }
    const struct hf_snapshot_record *previous = newest_complete(&out->snapshots);
    out->wish = (struct hf_member_wish){
        .set_name = job->set_name,
        .preferred = job->preferred_member,
        .previous = previous == NULL ? NULL : previous->member,
        .costs = out->costs,
    };
    return hf_member_choose(out->members.items, out->members.count, &out->wish, &out->choice, err);
}

struct hf_json *hf_flow_why_member(struct hf_server_app *app, const struct hf_job_record *job,
                                   struct hf_error *err)
{
    HF_CLEANUP(source_fini) struct source source = {.costs = NULL};
    char why[512];

    enum hf_err code = find_source(app, job, &source, err);
    bool chosen = code == HF_ERR_OK;
    if (!chosen && code != HF_ERR_UNAVAILABLE && code != HF_ERR_NOT_FOUND) {
        return NULL;
    }
    struct hf_json *json = hf_json_object(), *list = hf_json_array();
    hf_json_set_text(json, "setName", job->set_name);
    hf_json_set_text(json, "preferredMember",
                     job->preferred_member[0] == '\0' ? NULL : job->preferred_member);
    hf_json_set_text(json, "previousMember", source.wish.previous);
    hf_json_set_text(json, "member",
                     chosen ? source.members.items[source.choice.index].host : NULL);
    hf_json_set_text(json, "reason", chosen ? source.choice.reason : err->message);
    for (size_t i = 0; i < source.members.count; i++) {
        const struct hf_member_record *one = &source.members.items[i];
        if (strcmp(one->set_name, job->set_name) != 0) {
            continue;
        }
        struct hf_json *member = hf_member_record_encode(one);
        hf_member_why(source.members.items, i, &source.wish, chosen ? &source.choice : NULL, why,
                      sizeof why);
        hf_json_set_text(member, "why", why);
        hf_json_set_u64(member, "sendBytes", source.costs[i].send_bytes);
        hf_json_set_bool(member, "chosen", chosen && i == source.choice.index);
        hf_json_append_take(list, member);
    }
    hf_json_set_take(json, "members", list);
    return json;
}

/* Member, parent and adopted attempt, into the record. */
static enum hf_err choose_source(struct hf_server_app *app, const struct hf_job_record *job,
                                 struct hf_snapshot_record *record, struct hf_error *err)
{
    HF_CLEANUP(source_fini) struct source source = {.costs = NULL};

    if (find_source(app, job, &source, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_keep_snapshots *snapshots = &source.snapshots;
    const struct hf_member_record *member = &source.members.items[source.choice.index];
    (void)snprintf(record->member, sizeof record->member, "%s", member->host);
    (void)snprintf(record->member_state, sizeof record->member_state, "%s", member->state);
    (void)snprintf(record->reason, sizeof record->reason, "%s", source.choice.reason);
    record->agent = member->agent;
    record->put_max_bytes = put_max_bytes(app, member->data_bytes);
    const struct hf_snapshot_record *parent =
        hf_snapshot_choose_parent(snapshots->items, snapshots->count, record->member, &job->store);
    const struct hf_snapshot_record *adopted = hf_snapshot_choose_adopted(
        snapshots->items, snapshots->count, record->member, hf_flow_now_s());
    record->parent_capture = parent == NULL ? 0 : parent->capture;
    if (adopted != NULL) {
        record->adopted_capture = adopted->capture;
        record->adopted_writer = adopted->writer;
    }
    return HF_ERR_OK;
}

/* Takes the job's lease and a capture number; again when another change of the job came first. */
static enum hf_err reserve(struct hf_server_app *app, struct hf_job_record *job, uint64_t revision,
                           struct hf_snapshot_record *record, struct hf_error *err)
{
    uint64_t next = 0;

    struct hf_open_store at;
    if (hf_stores_get(app, &job->store, &at, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_commit_next above = {
        .store = at.store, .job = &job->id, .known = job->next_capture - 1, .log = app->log};

    if (hf_commit_next_capture(&above, &next, err) != HF_ERR_OK) {
        return err->code;
    }
    for (unsigned tries = 0; tries < 8; tries++) {
        if (hf_job_begin_capture(job, &record->id, next - 1, &record->capture, err) != HF_ERR_OK) {
            return err->code;
        }
        enum hf_err code = hf_keep_job_replace(app->catalog, job, &revision, err);
        if (code != HF_ERR_CONFLICT) {
            return code;
        }
        if (hf_keep_job_get(app->catalog, &record->job, job, &revision, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "the job of set %s changes too often; hint: try again",
                   job->set_name);
}

static enum hf_err make_task(struct hf_server_app *app, struct hf_snapshot_record *record,
                             struct hf_error *err)
{
    struct hf_task_record task = {
        .id = record->task,
        .project = record->project,
        .job = record->job,
        .agent = record->agent,
        .snapshot = record->id,
        .kind = HF_TASK_CAPTURE,
        .state = HF_TASK_WAITING,
        .attempt = hf_flow_new_id(),
        .created_s = record->created_s,
        .seen_s = hf_flow_now_s(),
    };

    return hf_keep_task_insert(app->catalog, &task, err);
}

/* What a person asked for has the event of the call. */
static enum hf_err tell_begun(struct hf_server_app *app, const struct hf_snapshot_record *record,
                              struct hf_error *err)
{
    char text[HF_RECORD_ERROR_BYTES + HF_NAME_BYTES + 64];
    const struct hf_event_own own = {.job = &record->job,
                                     .target = &record->id,
                                     .set_name = record->set_name,
                                     .type = HF_EVENT_SNAPSHOT_REQUESTED,
                                     .text = text};

    (void)snprintf(text, sizeof text, "by the schedule, from %s: %s", record->member,
                   record->reason);
    return hf_event_own(app, &own, err);
}

/* Record, claim, task. A death here leaves a record, or a lease without a record: hf_flow_resume ends both. */
static enum hf_err begin_attempt(struct hf_server_app *app, struct hf_snapshot_record *record,
                                 struct hf_error *err)
{
    const struct hf_claim claim = {.job = record->job,
                                   .writer = record->writer,
                                   .capture = record->capture,
                                   .started_s = record->created_s};

    struct hf_open_store at;

    if (HF_FAULT("server.take.reserved", err) != HF_ERR_OK ||
        hf_stores_get(app, &record->store, &at, err) != HF_ERR_OK ||
        (record->automatic && tell_begun(app, record, err) != HF_ERR_OK) ||
        hf_keep_snapshot_insert(app->catalog, record, err) != HF_ERR_OK ||
        HF_FAULT("server.take.recorded", err) != HF_ERR_OK ||
        hf_commit_claim(at.store, &claim, err) != HF_ERR_OK ||
        HF_FAULT("server.take.claimed", err) != HF_ERR_OK) {
        return err->code;
    }
    return make_task(app, record, err);
}

/*
 * The snapshot before has its last state a moment before the job is free: who saw that and asks for the next one is not
 * refused, but waits for the rest of it. One that does not end in that time is refused as any other.
 */
static enum hf_err await_wind_up(struct hf_server_app *app, struct hf_job_record *job,
                                 uint64_t *revision, struct hf_error *err)
{
    for (unsigned tries = 0; tries < WIND_UP_TRIES && !hf_id_is_none(&job->running); tries++) {
        struct hf_snapshot_record before;
        struct hf_error ignored;

        if (hf_keep_snapshot_get(app->catalog, &job->running, &before, NULL, &ignored) !=
                HF_ERR_OK ||
            before.state == HF_SNAPSHOT_IN_PROGRESS || hf_cancel_requested(app->cancel)) {
            return HF_ERR_OK;
        }
        hf_cancel_sleep(app->cancel, WIND_UP_TRY_MS);
        if (hf_keep_job_get(app->catalog, &job->id, job, revision, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err find_job(struct hf_server_app *app, const struct hf_flow_wish *wish,
                            struct hf_job_record *out, uint64_t *revision, struct hf_error *err)
{
    return wish->job != NULL
               ? hf_keep_job_get(app->catalog, wish->job, out, revision, err)
               : hf_flow_find_job(app, &wish->project, wish->set_name, out, revision, err);
}

/* A job that takes none says so, whatever else is wrong: it may have no store. */
static enum hf_err check_takes(const struct hf_job_record *job, struct hf_error *err)
{
    const struct hf_id probe = {{1}};
    struct hf_job_record copy = *job;
    uint64_t ignored = 0;

    return hf_job_does(job).takes_snapshots ? HF_ERR_OK
                                            : hf_job_begin_capture(&copy, &probe, 0, &ignored, err);
}

enum hf_err hf_flow_take(struct hf_server_app *app, const struct hf_flow_wish *wish,
                         struct hf_snapshot_record *out, struct hf_error *err)
{
    struct hf_open_store at;
    struct hf_job_record job;
    uint64_t revision = 0;

    if (find_job(app, wish, &job, &revision, err) != HF_ERR_OK ||
        (!wish->automatic && await_wind_up(app, &job, &revision, err) != HF_ERR_OK)) {
        return err->code;
    }
    if (check_takes(&job, err) != HF_ERR_OK ||
        hf_stores_get(app, &job.store, &at, err) != HF_ERR_OK ||
        hf_fleet_check_take(app, &job, wish->automatic, err) != HF_ERR_OK ||
        hf_flow_check_no_target(app, &job.cluster, err) != HF_ERR_OK) {
        return hf_wrap(err, "take a snapshot of set %s", wish->set_name);
    }
    *out = (struct hf_snapshot_record){
        .id = hf_flow_new_id(),
        .job = job.id,
        .project = job.project,
        .cluster = job.cluster,
        .store = job.store,
        .state = HF_SNAPSHOT_IN_PROGRESS,
        .writer = hf_flow_new_id(),
        .task = hf_flow_new_id(),
        .created_s = hf_flow_now_s(),
        .encrypted = at.mark->encrypted,
    };
    out->expires_s = wish->retention_days == 0 ? 0 : out->created_s + wish->retention_days * 86400;
    (void)snprintf(out->set_name, sizeof out->set_name, "%s", job.set_name);
    (void)snprintf(out->description, sizeof out->description, "%s",
                   wish->description == NULL ? "" : wish->description);
    if (choose_source(app, &job, out, err) != HF_ERR_OK ||
        hf_flow_plan_retention(app, wish, out, err) != HF_ERR_OK ||
        reserve(app, &job, revision, out, err) != HF_ERR_OK) {
        return hf_wrap(err, "take a snapshot of set %s", wish->set_name);
    }
    if (begin_attempt(app, out, err) != HF_ERR_OK) {
        struct hf_error why = *err, ignored;
        /* What cannot be undone now, the store being away, is undone by hf_flow_resume. */
        (void)!hf_flow_take_failed(app, out, &why, &ignored);
        return hf_wrap(err, "take a snapshot of set %s", wish->set_name);
    }
    hf_flow_notify(app, &out->agent);
    hf_log_info(app->log, "snapshot.started", HF_STR("snapshot", hf_id_text(&out->id).text),
                HF_STR("set", out->set_name), HF_STR("member", out->member),
                HF_STR("reason", out->reason), HF_U64("put_max_bytes", out->put_max_bytes));
    return HF_ERR_OK;
}

void hf_flow_note_given(struct hf_server_app *app, const struct hf_task_record *task)
{
    struct hf_snapshot_record record;
    struct hf_error ignored;
    uint64_t revision = 0;

    if (hf_keep_snapshot_get(app->catalog, &task->snapshot, &record, &revision, &ignored) ==
            HF_ERR_OK &&
        record.state == HF_SNAPSHOT_IN_PROGRESS && record.given_s == 0) {
        record.given_s = hf_flow_now_s();
        (void)!hf_keep_snapshot_replace(app->catalog, &record, &revision, &ignored);
    }
}

/* Root and member of the parent, out of its manifest. A parent that is gone or damaged means a full capture. */
static enum hf_err fill_parent(struct hf_server_app *app, const struct hf_snapshot_record *record,
                               const struct hf_keyring *keyring, struct hf_task_capture *out,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest manifest = {0};
    struct hf_manifest_read read;
    struct hf_open_store at;

    if (record->parent_capture == 0) {
        return HF_ERR_OK;
    }
    if (hf_stores_get(app, &record->store, &at, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_list_read_manifest(at.store, &record->job, record->parent_capture,
                                             keyring, &manifest, &read, err);
    if (code == HF_ERR_NOT_FOUND || code == HF_ERR_CORRUPT || code == HF_ERR_UNSUPPORTED) {
        hf_log_warn(app->log, "snapshot.parent.unreadable",
                    HF_STR("snapshot", hf_id_text(&record->id).text),
                    HF_STR("error", err->message));
        return HF_ERR_OK;
    }
    if (code != HF_ERR_OK || read.kind != HF_MANIFEST_SNAPSHOT) {
        return code;
    }
    out->parent = record->parent_capture;
    (void)snprintf(out->parent_member, sizeof out->parent_member, "%s", manifest.facts.member);
    (void)snprintf(out->parent_backup_name, sizeof out->parent_backup_name, "%s",
                   manifest.facts.backup_name);
    out->parent_root = manifest.root;
    manifest.root = (struct hf_tree_root){0};
    return HF_ERR_OK;
}

static enum hf_err fill_capture(struct hf_server_app *app, const struct hf_task_record *task,
                                struct hf_task *out, struct hf_error *err)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    struct hf_snapshot_record record;

    if (hf_keep_snapshot_get(app->catalog, &task->snapshot, &record, NULL, err) != HF_ERR_OK ||
        hf_keep_snapshots_of(app->catalog, &record.job, &snapshots, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_task_capture *capture = &out->capture;
    (void)snprintf(capture->member, sizeof capture->member, "%s", record.member);
    (void)snprintf(capture->set_name, sizeof capture->set_name, "%s", record.set_name);
    capture->capture = record.capture;
    capture->writer = record.writer;
    capture->snapshot = record.id;
    capture->prove_parent = record.full || hf_snapshot_must_prove(snapshots.items, snapshots.count);
    if (record.adopted_capture != 0) {
        capture->adopted[0] =
            (struct hf_adopted){.capture = record.adopted_capture, .writer = record.adopted_writer};
        capture->adopted_count = 1;
    }
    return fill_parent(app, &record, &out->keyring, capture, err);
}

void hf_flow_fill_point(const struct hf_restore_point *point, struct hf_facts *facts,
                        struct hf_task_point *out)
{
    if (!point->wanted) {
        return;
    }
    *out = (struct hf_task_point){
        .wanted = true,
        .date = point->date,
        .seconds = (uint32_t)point->seconds,
        .increment = (uint32_t)point->increment,
        .last = point->last,
        .checkpoint = facts->checkpoint,
        .oplog_end = facts->oplog_end,
        .committed = facts->committed,
        .engine_options = HF_TAKE(facts->engine_options),
    };
    (void)snprintf(out->fcv, sizeof out->fcv, "%s", facts->fcv);
    (void)snprintf(out->server_version, sizeof out->server_version, "%s", facts->server_version);
}

static enum hf_err fill_restore(struct hf_server_app *app, const struct hf_task_record *task,
                                struct hf_task *out, struct hf_error *err)
{
    HF_CLEANUP(hf_flow_reading_fini) struct hf_flow_reading reading = {0};
    HF_CLEANUP(hf_buf_fini) struct hf_buf info = HF_BUF_INIT(HF_MESSAGE_INFO_BYTES);
    struct hf_restore_record record;

    if (hf_keep_restore_get(app->catalog, &task->restore, &record, NULL, err) != HF_ERR_OK ||
        hf_flow_open(app, &task->snapshot, &reading, err) != HF_ERR_OK ||
        hf_restore_info_text(&reading.manifest, &info, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_task_restore *restore = &out->restore;
    restore->restore = record.id;
    restore->snapshot = record.snapshot;
    restore->capture = reading.manifest.capture;
    (void)snprintf(restore->directory, sizeof restore->directory, "%s", record.directory);
    restore->onto = record.onto;
    restore->leave_foreign = record.leave_foreign;
    restore->root = reading.manifest.root;
    reading.manifest.root = (struct hf_tree_root){0};
    hf_flow_fill_point(&record.point, &reading.manifest.facts, &restore->point);
    restore->restore_info = hf_strndup((const char *)info.data, info.len);
    return restore->restore_info == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory") : HF_ERR_OK;
}

static enum hf_err fill(struct hf_server_app *app, const struct hf_task_record *task,
                        struct hf_task *out, struct hf_error *err)
{
    switch (task->kind) {
    case HF_TASK_CAPTURE:
        return fill_capture(app, task, out, err);
    case HF_TASK_RESTORE:
        return fill_restore(app, task, out, err);
    case HF_TASK_TAIL:
        return hf_flow_tail_fill(app, task, &out->tail, err);
    case HF_TASK_TARGET:
        break; /* may need no store: hf_flow_task_message */
    }
    return hf_fail(err, HF_ERR_INTERNAL, "of no kind");
}

/* An agent forges no manifest: it gets no seal key (store-format.md 9). */
static enum hf_err give_message(struct hf_task *message, struct hf_task *out)
{
    message->keyring.has_seal_key = false;
    hf_wipe(message->keyring.seal_key, sizeof message->keyring.seal_key);
    *out = *message;
    *message = (struct hf_task){0};
    return HF_ERR_OK;
}

enum hf_err hf_flow_task_message(struct hf_server_app *app, const struct hf_task_record *task,
                                 struct hf_task *out, struct hf_error *err)
{
    HF_CLEANUP(hf_task_fini)
    struct hf_task message = {.id = task->id, .attempt = task->attempt, .kind = task->kind};
    struct hf_open_store at;

    if (task->kind == HF_TASK_TARGET) {
        if (hf_flow_fill_target(app, task, &message, err) != HF_ERR_OK) {
            return hf_wrap(err, "task %s", hf_id_text(&task->id).text);
        }
        return give_message(&message, out);
    }
    if ((task->kind == HF_TASK_TAIL
             ? hf_stores_open_oplog(app, &task->job, &at, &message.keyring, err)
             : hf_stores_open_snapshots(app, &task->job, &at, &message.keyring, err)) !=
        HF_ERR_OK) {
        return err->code;
    }
    if (fill(app, task, &message, err) != HF_ERR_OK) {
        return hf_wrap(err, "task %s", hf_id_text(&task->id).text);
    }
    return give_message(&message, out);
}
