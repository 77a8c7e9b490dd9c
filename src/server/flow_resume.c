/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an earlier life left half done, or a take that could not begin: ended, so that the next one can.
 */
#include <stdio.h>

#include "backup/lifecycle.h"
#include "server/fleet.h"
#include "server/flow.h"
#include "server/flow_internal.h"
#include "server/flow_tail.h"
#include "server/rounds.h"
#include "server/stores.h"
#include "snapshot/commit.h"

#define GIVEN_UP_MAX 64 /* looked at in a round: their days are many */
#define NEVER_ASKED "the server stopped before an agent was asked"

/* The record may be there or not, the claim too: the step that failed decides. */
enum hf_err hf_flow_take_failed(struct hf_server_app *app, const struct hf_snapshot_record *wished,
                                const struct hf_error *why, struct hf_error *err)
{
    struct hf_snapshot_record record;

    enum hf_err code = hf_keep_snapshot_get(app->catalog, &wished->id, &record, NULL, err);
    if (code == HF_ERR_NOT_FOUND) {
        return hf_flow_end_job_lease(app, &wished->job, &wished->id, NULL, err);
    }
    if (code != HF_ERR_OK ||
        hf_flow_end_snapshot(app, &record, HF_SNAPSHOT_FAILED, why, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_flow_wind_up(app, &record, err);
}

/* Left by a death between two steps of its making: its age tells it from one that is just being made. */
static bool is_left(struct hf_server_app *app, const struct hf_id *id)
{
    return hf_server_heard_silent_s(app->heard, HF_HEARD_BEGINNING, id, 0, 0) >=
           app->task_silence_s;
}

/* An IN_PROGRESS snapshot whose task was never made, or a lease whose record was never written. */
static enum hf_err resume_job(struct hf_server_app *app, const struct hf_job_record *job,
                              struct hf_error *err)
{
    struct hf_snapshot_record record;
    struct hf_task_record task;

    if (hf_id_is_none(&job->running)) {
        return HF_ERR_OK;
    }
    if (!is_left(app, &job->running)) {
        return HF_ERR_OK;
    }
    enum hf_err code = hf_keep_snapshot_get(app->catalog, &job->running, &record, NULL, err);
    if (code == HF_ERR_NOT_FOUND) {
        return hf_flow_end_job_lease(app, &job->id, &job->running, NULL, err);
    }
    if (code != HF_ERR_OK) {
        return code;
    }
    if (record.state != HF_SNAPSHOT_IN_PROGRESS) {
        return hf_flow_wind_up(app, &record, err);
    }
    code = hf_keep_task_get(app->catalog, &record.task, &task, NULL, err);
    if (code == HF_ERR_NOT_FOUND) {
        struct hf_error why;
        (void)hf_fail(&why, HF_ERR_LOST, "%s", NEVER_ASKED);
        return hf_flow_agent_failed(app, &record, &why, err);
    }
    return code;
}

static enum hf_err give_up_restore(struct hf_server_app *app, const struct hf_task_record *task,
                                   struct hf_error *err)
{
    const struct hf_msg_finish silent = {
        .code = HF_ERR_LOST,
        .message =
            "nothing was heard of the agent for too long; what it wrote may lie in the directory",
    };

    return hf_flow_finish_restore(app, task, &silent, err);
}

static enum hf_err give_up_step(struct hf_server_app *app, const struct hf_task_record *task,
                                struct hf_error *err)
{
    const struct hf_msg_finish silent = {
        .code = HF_ERR_LOST,
        .message = "nothing was heard of the agent for too long",
    };

    return hf_flow_finish_target(app, task, &silent, err);
}

/* A restore onto a set that was not written down as such: a death between the two steps of hf_flow_target. */
static enum hf_err resume_target(struct hf_server_app *app, const struct hf_restore_record *restore,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document target = {.json = NULL};
    const struct hf_task_record task = {.restore = restore->id};
    const struct hf_msg_finish never = {.code = HF_ERR_LOST, .message = NEVER_ASKED};

    enum hf_err code =
        hf_catalog_get(app->catalog, HF_KIND_TARGET, hf_id_text(&restore->id).text, &target, err);
    return code == HF_ERR_NOT_FOUND ? hf_flow_finish_restore(app, &task, &never, err) : code;
}

/* A restore whose task was never made: a death between the two steps of hf_flow_restore. */
static enum hf_err resume_restore(struct hf_server_app *app,
                                  const struct hf_restore_record *restore, struct hf_error *err)
{
    const struct hf_msg_finish never = {
        .code = HF_ERR_LOST,
        .message = NEVER_ASKED,
    };
    struct hf_task_record task;

    if (!hf_id_is_none(&restore->target_cluster)) {
        return resume_target(app, restore, err);
    }
    enum hf_err code = hf_keep_task_get(app->catalog, &restore->task, &task, NULL, err);
    if (code != HF_ERR_NOT_FOUND) {
        return code;
    }
    task = (struct hf_task_record){.id = restore->task, .restore = restore->id};
    return hf_flow_finish_restore(app, &task, &never, err);
}

static enum hf_err resume_restores(struct hf_server_app *app, struct hf_error *err)
{
    const struct hf_catalog_query query = {
        .index = "state",
        .equals_text = hf_restore_state_word(HF_RESTORE_IN_PROGRESS),
        .limit = 100000,
    };
    HF_CLEANUP(hf_keep_restores_fini) struct hf_keep_restores restores = {0};

    if (hf_keep_restore_find(app->catalog, &query, &restores, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < restores.count && !hf_cancel_requested(app->cancel); i++) {
        const struct hf_restore_record *one = &restores.items[i];
        if (is_left(app, &one->id) && hf_fleet_owns(app, &one->job) &&
            resume_restore(app, one, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static void resume_task(struct hf_server_app *app, const struct hf_task_record *task)
{
    struct hf_error err;
    enum hf_err code = HF_ERR_OK;
    uint64_t silent_s =
        hf_server_heard_silent_s(app->heard, HF_HEARD_TASK, &task->id, task->seen_s, 0);

    if (task->state == HF_TASK_FINISHING) {
        code = hf_flow_finish(app, &task->id, &err);
    } else if (task->kind == HF_TASK_TAIL) {
        code = hf_flow_tail_resume(app, task, &err);
    } else if (hf_task_is_silent(task, app->task_silence_s, silent_s)) {
        code = task->kind == HF_TASK_TARGET ? give_up_step(app, task, &err)
               : task->kind == HF_TASK_CAPTURE
                   ? hf_flow_give_up(app, &task->id, "nothing was heard of the agent for too long",
                                     &err)
                   : give_up_restore(app, task, &err);
    }
    if (code != HF_ERR_OK) {
        hf_log_warn(app->log, "task.resume.failed", HF_STR("task", hf_id_text(&task->id).text),
                    HF_STR("error", err.message));
    }
}

/* The claim of a given-up attempt that nobody adopted in its days goes, so that its packs can be groomed. */
static enum hf_err drop_old_claim(struct hf_server_app *app, const struct hf_id *snapshot,
                                  struct hf_error *err)
{
    struct hf_snapshot_record record;
    struct hf_open_store at;
    uint64_t revision = 0;

    if (hf_keep_snapshot_get(app->catalog, snapshot, &record, &revision, err) != HF_ERR_OK ||
        hf_stores_get(app, &record.store, &at, err) != HF_ERR_OK ||
        hf_commit_drop_claim(at.store, &record.job, &record.writer, err) != HF_ERR_OK) {
        return err->code;
    }
    record.claim_dropped = true;
    return hf_keep_snapshot_replace(app->catalog, &record, &revision, err);
}

static enum hf_err drop_old_claims(struct hf_server_app *app, struct hf_error *err)
{
    struct hf_catalog_query query = {
        .index = "state",
        .equals_text = hf_snapshot_state_word(HF_SNAPSHOT_ABANDONED),
    };
    struct hf_rounds_place place;
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots given_up = {0};

    hf_rounds_begin(app, HF_ROUND_GIVEN_UP, GIVEN_UP_MAX, &place, &query);
    if (hf_keep_snapshot_find(app->catalog, &query, &given_up, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_rounds_went(app, HF_ROUND_GIVEN_UP, &query, given_up.count,
                   given_up.count == 0 ? ""
                                       : hf_id_text(&given_up.items[given_up.count - 1].id).text);
    for (size_t i = 0; i < given_up.count && !hf_cancel_requested(app->cancel); i++) {
        const struct hf_snapshot_record *one = &given_up.items[i];
        if (!one->claim_dropped && one->finished_s + HF_CLAIM_KEPT_S <= hf_flow_now_s() &&
            hf_fleet_owns(app, &one->job) && drop_old_claim(app, &one->id, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_flow_resume(struct hf_server_app *app, struct hf_error *err)
{
    static const struct {
        enum hf_task_state state;
        enum hf_round_of round;
    } open[] = {{HF_TASK_WAITING, HF_ROUND_TASKS_WAITING},
                {HF_TASK_RUNNING, HF_ROUND_TASKS_RUNNING},
                {HF_TASK_FINISHING, HF_ROUND_TASKS_FINISHING}};
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};

    for (size_t i = 0; i < HF_ARRAY_LEN(open); i++) {
        struct hf_catalog_query query = {.index = "state",
                                         .equals_text = hf_task_state_word(open[i].state)};
        HF_CLEANUP(hf_keep_tasks_fini) struct hf_keep_tasks tasks = {0};
        struct hf_rounds_place place;

        hf_rounds_begin(app, open[i].round, HF_ROUND_JOBS, &place, &query);
        if (hf_keep_task_find(app->catalog, &query, &tasks, err) != HF_ERR_OK) {
            return err->code;
        }
        hf_rounds_went(app, open[i].round, &query, tasks.count,
                       tasks.count == 0 ? "" : hf_id_text(&tasks.items[tasks.count - 1].id).text);
        for (size_t k = 0; k < tasks.count && !hf_cancel_requested(app->cancel); k++) {
            if (hf_fleet_owns(app, &tasks.items[k].job)) {
                resume_task(app, &tasks.items[k]);
            }
        }
    }
    if (hf_fleet_leads(app, HF_FLEET_RESTORES)) {
        hf_flow_target_tick(app);
    }
    if (resume_restores(app, err) != HF_ERR_OK || drop_old_claims(app, err) != HF_ERR_OK) {
        hf_log_warn(app->log, "server.resume.failed", HF_STR("error", err->message));
    }
    if (hf_rounds_jobs(app, HF_ROUND_RESUME, HF_ROUND_JOBS, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < jobs.count && !hf_cancel_requested(app->cancel); i++) {
        if (resume_job(app, &jobs.items[i], err) != HF_ERR_OK) {
            hf_log_warn(app->log, "job.resume.failed",
                        HF_STR("job", hf_id_text(&jobs.items[i].id).text),
                        HF_STR("error", err->message));
        }
    }
    return HF_ERR_OK;
}
