/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One tail for each started job: begun, given, ended; and what the operator should know of it.
 */
#include "server/flow_tail.h"

#include <stdio.h>

#include "backup/job.h"
#include "backup/lifecycle.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "os/clock.h"
#include "server/events.h"
#include "server/flow_internal.h"
#include "server/flow_schedule.h"
#include "server/keep.h"
#include "server/rounds.h"
#include "server/stores.h"
#include "snapshot/keys.h"

#define CAS_TRIES 8
#define PRUNE_EVERY_MS 600000
#define PRUNES_MAX 16 /* jobs in a round: each lists its slices */
#define CHAIN_WAIT_S 120

/* ---- Its end ---- */

/* The head lets go of the task, if it is the one that it names. */
static enum hf_err release_head(struct hf_server_app *app, const struct hf_task_record *task,
                                enum hf_err code, const char *why, struct hf_error *err)
{
    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        struct hf_head_record head;
        uint64_t revision = 0;

        enum hf_err got = hf_keep_head_get(app->catalog, &task->job, &head, &revision, err);
        if (got == HF_ERR_NOT_FOUND || (got == HF_ERR_OK && !hf_id_equal(&head.task, &task->id))) {
            return HF_ERR_OK;
        }
        if (got != HF_ERR_OK) {
            return got;
        }
        hf_head_end_tail(&head, code, why, hf_flow_now_s());
        got = hf_keep_head_replace(app->catalog, &head, &revision, err);
        if (got == HF_ERR_OK) {
            hf_rounds_wake(app->rounds, &task->job);
            hf_log_info(app->log, "oplog.tail.ended", HF_STR("set", head.set_name),
                        HF_STR("member", head.member), HF_STR("task", hf_id_text(&task->id).text),
                        HF_STR("error", why));
        }
        if (got != HF_ERR_CONFLICT) {
            return got;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "head of job %s changes too often",
                   hf_id_text(&task->job).text);
}

enum hf_err hf_flow_tail_finish(struct hf_server_app *app, const struct hf_task_record *task,
                                enum hf_err code, const char *message, struct hf_error *err)
{
    struct hf_error outcome = {.code = code};

    (void)snprintf(outcome.message, sizeof outcome.message, "%s", message);
    /* The head first: a task that has ended is forgotten once its agent knows. */
    if (release_head(app, task, code, message, err) != HF_ERR_OK ||
        HF_FAULT("server.tail.released", err) != HF_ERR_OK ||
        hf_flow_end_task(app, &task->id, &outcome, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_flow_forget_finish(app, &task->id);
    return HF_ERR_OK;
}

enum hf_err hf_flow_tail_resume(struct hf_server_app *app, const struct hf_task_record *task,
                                struct hf_error *err)
{
    struct hf_head_record head;

    enum hf_err code = hf_keep_head_get(app->catalog, &task->job, &head, NULL, err);
    if (code == HF_ERR_OK && hf_id_equal(&head.task, &task->id)) {
        return HF_ERR_OK;
    }
    return code == HF_ERR_OK || code == HF_ERR_NOT_FOUND
               ? hf_flow_tail_finish(app, task, HF_ERR_LOST,
                                     "the oplog is saved by another tail now", err)
               : code;
}

/* ---- Its beginning ---- */

enum hf_err hf_flow_tail_fill(struct hf_server_app *app, const struct hf_task_record *task,
                              struct hf_task_tail *out, struct hf_error *err)
{
    struct hf_head_record head;

    if (hf_keep_head_get(app->catalog, &task->job, &head, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_id_equal(&head.task, &task->id)) {
        return hf_fail(err, HF_ERR_LOST, "the oplog of set %s is saved by another tail now",
                       head.set_name);
    }
    (void)snprintf(out->member, sizeof out->member, "%s", task->member);
    (void)snprintf(out->set_name, sizeof out->set_name, "%s", head.set_name);
    (void)snprintf(out->fcv, sizeof out->fcv, "%s", head.fcv);
    out->writer = task->writer;
    out->start = hf_head_point(&head);
    out->age_ms = app->oplog_age_s * 1000;
    return HF_ERR_OK;
}

static enum hf_err choose(struct hf_server_app *app, const struct hf_job_record *job,
                          const struct hf_head_record *head, struct hf_member_record *out,
                          struct hf_error *err)
{
    struct hf_flow_members members = {0};
    struct hf_member_choice choice;

    if (hf_flow_members(app, &job->project, &members, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_head_choose_member(head, members.items, members.count,
                                             job->preferred_member, &choice, err);
    if (code == HF_ERR_OK) {
        *out = members.items[choice.index];
        hf_log_debug(app->log, "oplog.tail.chosen", HF_STR("set", head->set_name),
                     HF_STR("reason", choice.reason));
    }
    hf_free(members.items);
    return code;
}

/* The head names the task before it is there: two servers make two, and the head says which one counts. */
static enum hf_err make_tail(struct hf_server_app *app, const struct hf_member_record *member,
                             struct hf_head_record *head, uint64_t *revision, struct hf_error *err)
{
    struct hf_task_record task = {
        .id = hf_flow_new_id(),
        .project = head->project,
        .job = head->id,
        .agent = member->agent,
        .kind = HF_TASK_TAIL,
        .state = HF_TASK_WAITING,
        .writer = hf_flow_new_id(),
        .attempt = hf_flow_new_id(),
        .created_s = hf_flow_now_s(),
        .seen_s = hf_flow_now_s(),
    };
    struct hf_head_record next = *head;

    (void)snprintf(task.member, sizeof task.member, "%s", member->host);
    next.task = task.id;
    next.agent = task.agent;
    next.writer = task.writer;
    next.begun_s = task.created_s;
    next.problem[0] = '\0';
    (void)snprintf(next.member, sizeof next.member, "%s", member->host);
    hf_server_heard_note(app->heard, HF_HEARD_TASK, &task.id);
    if (hf_keep_head_replace(app->catalog, &next, revision, err) != HF_ERR_OK) {
        return err->code;
    }
    *head = next;
    if (HF_FAULT("server.tail.named", err) != HF_ERR_OK ||
        hf_keep_task_insert(app->catalog, &task, err) != HF_ERR_OK ||
        HF_FAULT("server.tail.made", err) != HF_ERR_OK) {
        return err->code; /* a task that is not there has ended: the next tick begins anew */
    }
    hf_flow_notify(app, &task.agent);
    hf_log_info(app->log, "oplog.tail.begun", HF_STR("set", head->set_name),
                HF_STR("member", head->member), HF_STR("task", hf_id_text(&task.id).text),
                HF_STR("agent", hf_id_text(&task.agent).text),
                HF_STR("after", hf_optime_text(&head->last).text));
    return HF_ERR_OK;
}

static enum hf_err begin_tail(struct hf_server_app *app, const struct hf_job_record *job,
                              struct hf_head_record *head, uint64_t *revision, struct hf_error *err)
{
    struct hf_member_record member;
    struct hf_job_stores at;

    if (choose(app, job, head, &member, err) != HF_ERR_OK ||
        hf_stores_of_job(app, job, &at, err) != HF_ERR_OK ||
        hf_flow_oplog_store_here(at.oplog.store, err) != HF_ERR_OK ||
        hf_stores_share_keys(&at, &job->id, err) != HF_ERR_OK ||
        hf_flow_head_catch_up(app, head, revision, err) != HF_ERR_OK ||
        HF_FAULT("server.tail.caught_up", err) != HF_ERR_OK) {
        return err->code;
    }
    return make_tail(app, &member, head, revision, err);
}

/* Why there is no tail, once each time that it changes. */
static void note_problem(struct hf_server_app *app, const struct hf_id *job, const char *why)
{
    struct hf_head_record head;
    struct hf_error ignored;
    uint64_t revision = 0;

    if (hf_keep_head_get(app->catalog, job, &head, &revision, &ignored) != HF_ERR_OK ||
        !hf_id_is_none(&head.task)) {
        return;
    }
    char text[sizeof head.problem];
    (void)snprintf(text, sizeof text, "%s", why);
    if (strcmp(text, head.problem) != 0) {
        memcpy(head.problem, text, sizeof text);
        hf_log_warn(app->log, "oplog.tail.none", HF_STR("set", head.set_name), HF_STR("why", why));
        (void)!hf_keep_head_replace(app->catalog, &head, &revision, &ignored);
    }
}

/* A tail goes on while its store is away, and waits: its agent asks again and again. The head says why until it is back. */
static enum hf_err note_store(struct hf_server_app *app, const struct hf_job_record *job,
                              struct hf_head_record *head, uint64_t *revision, struct hf_error *err)
{
    struct hf_open_store at;
    struct hf_error why = {.message = ""};
    char text[sizeof head->problem];

    enum hf_err code = hf_stores_oplog_of(app, job, &at, &why);
    (void)snprintf(text, sizeof text, "%s", code == HF_ERR_OK ? "" : why.message);
    if (strcmp(text, head->problem) == 0) {
        return HF_ERR_OK;
    }
    struct hf_head_record next = *head;
    memcpy(next.problem, text, sizeof text);
    if (code != HF_ERR_OK) {
        hf_log_warn(app->log, "oplog.store.away", HF_STR("set", head->set_name),
                    HF_STR("why", text));
    }
    if (hf_keep_head_replace(app->catalog, &next, revision, err) != HF_ERR_OK) {
        return err->code;
    }
    *head = next;
    return HF_ERR_OK;
}

/* ---- The tick ---- */

/* *open: the job's tail goes on, or is at its end. */
static enum hf_err look_after(struct hf_server_app *app, const struct hf_job_record *job,
                              const struct hf_head_record *head, bool *open, struct hf_error *err)
{
    struct hf_task_record task;

    *open = false;
    if (hf_id_is_none(&head->task)) {
        return HF_ERR_OK;
    }
    enum hf_err code = hf_keep_task_get(app->catalog, &head->task, &task, NULL, err);
    if (code == HF_ERR_NOT_FOUND || (code == HF_ERR_OK && task.state == HF_TASK_ENDED)) {
        return HF_ERR_OK;
    }
    if (code != HF_ERR_OK) {
        return code;
    }
    *open = true;
    if (task.state == HF_TASK_FINISHING) {
        return HF_ERR_OK;
    }
    uint64_t silent_s =
        hf_server_heard_silent_s(app->heard, HF_HEARD_TASK, &task.id, task.seen_s, 0);
    if (silent_s > HF_AGENT_SILENT_MAX_S) { /* polls come at least every 30 s */
        return hf_flow_tail_finish(app, &task, HF_ERR_UNAVAILABLE,
                                   "nothing was heard of the agent for too long", err);
    }
    bool wanted = hf_job_does(job).tails_oplog && head->run == job->run;
    return wanted || task.cancelled ? HF_ERR_OK : hf_flow_cancel_task(app, &task.id, err);
}

/* ---- What the operator should know ---- */

/* *told follows is; an event when it becomes so. */
static enum hf_err tell_once(struct hf_server_app *app, const struct hf_head_record *head, bool is,
                             bool *told, const struct hf_event_wish *event, struct hf_error *err)
{
    if (is && !*told && hf_event_tell(app, event, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!is && *told) {
        hf_log_info(app->log, "event.over", HF_STR("type", event->type),
                    HF_STR("set", head->set_name));
    }
    *told = is;
    return HF_ERR_OK;
}

/* Of this run of the job. */
static bool chain_has_begun(const struct hf_job_record *job, const struct hf_head_record *head)
{
    return head->run == job->run && head->next_cause[0] == '\0' && !hf_optime_is_none(&head->last);
}

static enum hf_err tell_window(struct hf_server_app *app, const struct hf_job_record *job,
                               struct hf_head_record *head, struct hf_error *err)
{
    struct hf_member_record member;
    bool found = false;
    uint64_t wanted_s = 0;
    char text[HF_RECORD_ERROR_BYTES];
    const struct hf_event_wish event = {
        .job = job->id, .set_name = job->set_name, .type = HF_EVENT_OPLOG_WINDOW, .text = text};

    if (hf_flow_oplog_wanted(app, &job->id, &wanted_s, err) != HF_ERR_OK ||
        hf_flow_member(app, &head->agent, head->member, &member, &found, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!found || strcmp(member.set_name, job->set_name) != 0) {
        return HF_ERR_OK;
    }
    (void)snprintf(text, sizeof text,
                   "the oplog of %s reaches back %llu s, and should %llu s, %s (mended by "
                   "replSetResizeOplog)",
                   member.host, (unsigned long long)(member.oplog_last_s - member.oplog_first_s),
                   (unsigned long long)wanted_s,
                   wanted_s > app->oplog_window_min_s ? "from one snapshot to the next"
                                                      : "the least that is asked for");
    return tell_once(app, head, hf_member_window_is_short(&member, wanted_s), &head->told_window,
                     &event, err);
}

static enum hf_err tell(struct hf_server_app *app, const struct hf_job_record *job,
                        struct hf_head_record *head, uint64_t *revision, struct hf_error *err)
{
    bool window = head->told_window;

    if (app->oplog_window_min_s != 0 && tell_window(app, job, head, err) != HF_ERR_OK) {
        return err->code;
    }
    return window == head->told_window ? HF_ERR_OK
                                       : hf_keep_head_replace(app->catalog, head, revision, err);
}

/* ---- The snapshot that a job wants ---- */

static enum hf_err have_snapshot(struct hf_server_app *app, const struct hf_job_record *wanting,
                                 struct hf_error *err)
{
    struct hf_job_record job;
    uint64_t revision = 0;

    if (hf_keep_job_get(app->catalog, &wanting->id, &job, &revision, err) != HF_ERR_OK) {
        return err->code;
    }
    if (job.wanted_s != wanting->wanted_s || job.wanted_capture != wanting->wanted_capture) {
        return HF_ERR_OK; /* another one is wanted since */
    }
    hf_job_want_none(&job);
    enum hf_err code = hf_keep_job_replace(app->catalog, &job, &revision, err);
    return code == HF_ERR_CONFLICT ? HF_ERR_OK : code; /* at the next tick */
}

/* A base has to lie in the chain that later points are reached by: after a start its first slice is waited for, a while. */
static bool waits_for_chain(const struct hf_job_record *job, const struct hf_head_record *head)
{
    uint64_t now_s = hf_flow_now_s();

    return !chain_has_begun(job, head) && now_s >= job->started_s &&
           now_s - job->started_s < CHAIN_WAIT_S;
}

/* A snapshot may be complete before the first tail has begun, and stand apart from its chain: once, behind that. */
static enum hf_err look_for_base(struct hf_server_app *app, const struct hf_job_record *job,
                                 struct hf_head_record *head, uint64_t *revision,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    struct hf_head_record next = *head;

    if (head->base_seen || hf_optime_is_none(&head->last) ||
        strcmp(head->cause, hf_chain_cause_word(HF_CHAIN_FIRST)) != 0 ||
        !hf_id_is_none(&job->running)) {
        return HF_ERR_OK;
    }
    if (hf_keep_snapshots_of(app->catalog, &job->id, &snapshots, err) != HF_ERR_OK) {
        return err->code;
    }
    if (job->snapshot_wanted[0] == '\0' &&
        hf_head_lacks_base(head, snapshots.items, snapshots.count) &&
        hf_flow_want_snapshot(app, &job->id,
                              "the oplog is saved since after the newest snapshot: a base for it",
                              err) != HF_ERR_OK) {
        return err->code;
    }
    next.base_seen = true;
    if (HF_FAULT("server.tail.base_seen", err) != HF_ERR_OK ||
        hf_keep_head_replace(app->catalog, &next, revision, err) != HF_ERR_OK) {
        return err->code;
    }
    *head = next;
    return HF_ERR_OK;
}

/*
 * Taken by itself: the first one; one after a restart; and a range that ended needs a new base before anything can be
 * restored from what is saved now.
 */
static enum hf_err take_wanted(struct hf_server_app *app, const struct hf_job_record *job,
                               const struct hf_head_record *head, struct hf_error *err)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    struct hf_snapshot_record taken;
    struct hf_error why;

    if (job->snapshot_wanted[0] == '\0' || !hf_job_does(job).takes_snapshots ||
        !hf_id_is_none(&job->running) || waits_for_chain(job, head)) {
        return HF_ERR_OK;
    }
    if (hf_keep_snapshots_of(app->catalog, &job->id, &snapshots, err) != HF_ERR_OK) {
        return err->code;
    }
    switch (hf_snapshot_wanted(snapshots.items, snapshots.count, job, hf_flow_now_s())) {
    case HF_WANTED_HAD:
        return have_snapshot(app, job, err);
    case HF_WANTED_WAIT:
        return HF_ERR_OK;
    case HF_WANTED_TAKE:
        break;
    }
    const struct hf_flow_wish wish = {.project = job->project,
                                      .set_name = job->set_name,
                                      .description = job->snapshot_wanted,
                                      .automatic = true};
    if (hf_flow_take(app, &wish, &taken, &why) != HF_ERR_OK) {
        hf_log_debug(app->log, "snapshot.wanted.not_taken", HF_STR("set", job->set_name),
                     HF_STR("error", why.message));
    }
    return HF_ERR_OK;
}

/* A restart: the tail of the run before ends, then the next chain begins for that cause. */
static enum hf_err begin_run(struct hf_server_app *app, const struct hf_job_record *job,
                             struct hf_head_record *head, uint64_t *revision, struct hf_error *err)
{
    struct hf_job_stores at;

    if (head->run == job->run) {
        return HF_ERR_OK;
    }
    /* What the old tail put and did not tell of belongs to the old chain. */
    if (hf_stores_of_job(app, job, &at, err) != HF_ERR_OK ||
        hf_flow_oplog_store_here(at.oplog.store, err) != HF_ERR_OK ||
        hf_flow_head_catch_up(app, head, revision, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_head_record next = *head;
    next.run = job->run;
    if (!hf_optime_is_none(&next.last)) {
        hf_head_lose(&next, HF_CHAIN_RESUMED);
    }
    if (hf_keep_head_replace(app->catalog, &next, revision, err) != HF_ERR_OK) {
        return err->code;
    }
    *head = next;
    return HF_FAULT("server.tail.run_begun", err);
}

/* Nothing but what may be left of a tail. */
static enum hf_err tick_quiet_job(struct hf_server_app *app, const struct hf_job_record *job,
                                  struct hf_error *err)
{
    struct hf_head_record head;
    bool open = false;

    enum hf_err code = hf_keep_head_get(app->catalog, &job->id, &head, NULL, err);
    if (code == HF_ERR_OK) {
        code = look_after(app, job, &head, &open, err);
    }
    return code == HF_ERR_NOT_FOUND || code == HF_ERR_CONFLICT ? HF_ERR_OK : code;
}

static enum hf_err tick_job(struct hf_server_app *app, const struct hf_job_record *job,
                            struct hf_error *err)
{
    struct hf_head_record head;
    uint64_t revision = 0;
    bool open = false, restored = false;

    if (!hf_job_does(job).tails_oplog) {
        return tick_quiet_job(app, job, err);
    }
    if (hf_flow_head_open(app, job, &head, &revision, err) != HF_ERR_OK ||
        hf_flow_head_tell(app, &head, &revision, err) != HF_ERR_OK ||
        tell(app, job, &head, &revision, err) != HF_ERR_OK ||
        look_for_base(app, job, &head, &revision, err) != HF_ERR_OK ||
        take_wanted(app, job, &head, err) != HF_ERR_OK ||
        look_after(app, job, &head, &open, err) != HF_ERR_OK ||
        hf_flow_target_has_set(app, &job->cluster, &restored, err) != HF_ERR_OK) {
        return err->code == HF_ERR_CONFLICT ? HF_ERR_OK : err->code; /* the next tick sees it */
    }
    if (open && note_store(app, job, &head, &revision, err) != HF_ERR_OK) {
        return err->code == HF_ERR_CONFLICT ? HF_ERR_OK : err->code;
    }
    if (open || restored || !hf_head_may_begin(&head, hf_flow_now_s())) {
        return HF_ERR_OK;
    }
    enum hf_err code = begin_run(app, job, &head, &revision, err);
    if (code == HF_ERR_OK) {
        code = begin_tail(app, job, &head, &revision, err);
    }
    if (code != HF_ERR_OK && code != HF_ERR_CONFLICT) {
        note_problem(app, &job->id, err->message);
    }
    /* Another server was first, or its task ended just now: the next tick sees it. */
    return code == HF_ERR_CONFLICT || code == HF_ERR_UNAVAILABLE || code == HF_ERR_NOT_FOUND
               ? HF_ERR_OK
               : code;
}

/* Now and then: it reads the list of all slices. A few jobs at a time, until all were looked at. */
static bool is_time_to_prune(struct hf_server_app *app)
{
    uint64_t now_ms = hf_clock_mono_ms();

    if (!app->pruning && app->pruned_ms != 0 && now_ms - app->pruned_ms < PRUNE_EVERY_MS) {
        return false;
    }
    if (!app->pruning) {
        app->pruned_ms = now_ms == 0 ? 1 : now_ms;
    }
    return true;
}

static enum hf_err prune(struct hf_server_app *app, struct hf_error *err)
{
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};

    if (!is_time_to_prune(app)) {
        return HF_ERR_OK;
    }
    if (hf_rounds_jobs(app, HF_ROUND_PRUNE, PRUNES_MAX, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    app->pruning = !hf_rounds_is_over(app, HF_ROUND_PRUNE);
    for (size_t i = 0; i < jobs.count && !hf_cancel_requested(app->cancel); i++) {
        struct hf_error why;
        uint64_t deleted = 0;
        if (hf_job_does(&jobs.items[i]).stored &&
            hf_flow_prune(app, &jobs.items[i].id, &deleted, &why) != HF_ERR_OK) {
            hf_log_warn(app->log, "oplog.prune.failed", HF_STR("set", jobs.items[i].set_name),
                        HF_STR("error", why.message));
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_flow_tail_tick(struct hf_server_app *app, struct hf_error *err)
{
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};
    struct hf_error first = {.code = HF_ERR_OK};

    if (hf_rounds_jobs(app, HF_ROUND_TAILS, HF_ROUND_JOBS, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < jobs.count && !hf_cancel_requested(app->cancel); i++) {
        if (tick_job(app, &jobs.items[i], err) != HF_ERR_OK && first.code == HF_ERR_OK) {
            first = *err;
            (void)hf_wrap(&first, "oplog of set %s", jobs.items[i].set_name);
        }
    }
    if (prune(app, err) != HF_ERR_OK && first.code == HF_ERR_OK) {
        first = *err;
    }
    *err = first;
    return first.code;
}
