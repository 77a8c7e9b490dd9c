/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restore onto a whole set, as the server leads it (docs/design/automated-restore.md), from its records to its end.
 * What follows on what is backup/target.h's; here it is written down and given out.
 *
 *   target record (flow_target_begin.c) -> tasks, phase by phase (flow_target_steps.c) -> restore's last state -> lock gone
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

#define CAS_TRIES 16
#define ENDING_TRIES 200
#define ENDING_PAUSE_MS 25
#define LIST_MAX 100000

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
            (!record->dry_run && hf_flow_target_drop_lock(app, record, err) != HF_ERR_OK)) {
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
