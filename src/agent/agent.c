/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's life: hello, then polls; a thread for each task that a poll brought; what ended is told until the server
 * has it. The poll loop is the caller's thread and alone touches the list of jobs.
 *
 *   given by a poll -> noted on disk -> thread runs -> finish is sent -> the server's outcome comes -> forgotten
 *
 * A task is run once: its objects' names are used up. One that the server gives again because its end could not be told
 * is ended as lost, and the next attempt goes on with what was sent.
 */
#include "agent/agent.h"

#include <stdio.h>

#include "agent/link.h"
#include "agent/session.h"
#include "agent/state.h"
#include "agent/task.h"
#include "agent/watch.h"
#include "base/alloc.h"
#include "mongo/client.h"
#include "os/clock.h"
#include "os/fs.h"
#include "os/process.h"

#define WATCH_MS 5000
#define JOBS_MAX HF_MESSAGE_TASKS_MAX
/* After a clean stop the server is told for so long; then the next start tells it. */
#define FAREWELL_MS 5000
/* At a start the server has just answered; what it cannot take now it gives again, and is told then. */
#define SETTLE_MS 30000
#define POLL_PAUSE_MS 1000
/* A tail's progress is told so many times more seldom than a capture's. */
#define TAIL_CALM 10
/* 4 % of a processor that others want whole. Less than the threads' own: polls and the cursor's keeper live in the session. */
#define SESSION_NICE_MAX 14
#define ENDED_MAX 256

enum job_state {
    JOB_RUNNING,
    JOB_TELLING,
    JOB_TOLD,     /* the server has the end; its outcome comes with a poll */
    JOB_UNWANTED, /* the server does not know the task any more */
    JOB_UNTOLD,   /* it could not be told: the note stays */
};

/* A task at work. */
struct job {
    struct hf_task task;
    struct agent *agent; /* borrowed */
    struct hf_thread *thread;
    struct hf_progress progress;
    struct hf_cancel cancel;
    bool begun_before;       /* noted already when it was given */
    struct hf_error refusal; /* why it could not be noted, and so must not run; no code: it was */
    bool outcome_came;       /* for the poll loop only */
    _Atomic enum job_state state;
};

struct agent {
    const struct hf_agent_options *options;
    const struct hf_cancel *cancel;
    struct hf_agent_context context;
    struct hf_secret bearer;
    struct hf_agent_state *state;
    struct hf_agent_watch *watch;
    struct hf_agent_link *link;
    struct hf_cancel farewell; /* requested when finishes need not be repeated any longer */
    struct hf_agent_session session;
    uint64_t poll_wait_ms, progress_ms;
    struct job *jobs[JOBS_MAX];
    size_t job_count;
    struct hf_id ended[ENDED_MAX]; /* outcomes that the next poll acknowledges */
    size_t ended_count;
    bool announced;
    unsigned session_nice; /* what was last asked of the system */
};

static void job_destroy(struct job *job)
{
    if (job == NULL) {
        return;
    }
    hf_thread_join(job->thread);
    hf_progress_fini(&job->progress);
    hf_task_fini(&job->task);
    hf_free(job);
}

static void agent_fini(struct agent *agent)
{
    for (size_t i = 0; i < agent->job_count; i++) {
        job_destroy(agent->jobs[i]);
    }
    hf_agent_targets_stop(agent->context.targets);
    hf_agent_link_destroy(agent->link);
    hf_agent_watch_stop(agent->watch);
    hf_agent_state_close(agent->state);
    hf_secret_wipe(&agent->bearer);
    hf_agent_session_fini(&agent->session);
}
HF_CLEANUP_DEFINE_VALUE(agent_fini, struct agent)

/* ---- One job, on its own thread ---- */

static void finish_begin(const struct agent *agent, const struct hf_task *task,
                         struct hf_msg_finish *finish)
{
    finish->agent = *hf_agent_state_id(agent->state);
    finish->task = task->id;
    finish->attempt = task->attempt;
    finish->kind = task->kind;
}

static void finish_fail(struct hf_msg_finish *finish, const struct hf_error *err)
{
    finish->code = err->code;
    (void)snprintf(finish->message, sizeof finish->message, "%s", err->message);
}

/* Tells the server, however often it restarts meanwhile; with a limit it is the poll loop's own thread that tells. */
static enum job_state tell(struct agent *agent, struct hf_msg_finish *finish, uint64_t limit_ms)
{
    const struct hf_agent_link_options options = {
        .server_url = agent->options->server_url,
        .ca_file = agent->options->ca_file,
        .bearer = &agent->bearer,
        .cancel = &agent->farewell,
        .silence_ms = agent->options->silence_ms,
        .log = agent->options->log,
    };
    HF_CLEANUP(hf_agent_link_destroy) struct hf_agent_link *link = NULL;
    struct hf_error err;

    enum hf_err code = hf_agent_link_create(&options, &link, &err);
    while (code == HF_ERR_OK) {
        hf_agent_session_get(&agent->session, finish->session);
        code = hf_agent_link_finish(link, finish, limit_ms, &err);
        if (code == HF_ERR_OK) {
            return JOB_TOLD;
        }
        if (code == HF_ERR_UNAUTHENTICATED && limit_ms == 0 &&
            hf_agent_session_wait_for_new(&agent->session, finish->session, &agent->farewell)) {
            code = HF_ERR_OK;
        }
    }
    hf_log_warn(agent->options->log, "agent.finish.refused",
                HF_STR("task", hf_id_text(&finish->task).text), HF_STR("error", err.message));
    return code == HF_ERR_NOT_FOUND || code == HF_ERR_LOST || code == HF_ERR_CONFLICT ? JOB_UNWANTED
                                                                                      : JOB_UNTOLD;
}

static enum hf_err run_task(struct job *job, struct hf_msg_finish *finish, struct hf_error *err)
{
    const struct hf_agent_work work = {.context = &job->agent->context,
                                       .task = &job->task,
                                       .progress = &job->progress,
                                       .cancel = &job->cancel};

    if (job->begun_before) {
        return hf_fail(err, HF_ERR_LOST, "it was begun before, and how it ended could not be told");
    }
    if (job->refusal.code != HF_ERR_OK) {
        char host[256];
        hf_host_name(host, sizeof host);
        *err = job->refusal;
        return hf_wrap(err, "the agent on %s", host);
    }
    switch (job->task.kind) {
    case HF_TASK_CAPTURE:
        return hf_agent_capture(&work, finish, err);
    case HF_TASK_RESTORE:
        return hf_agent_restore(&work, finish, err);
    case HF_TASK_TARGET:
        return hf_agent_target(&work, finish, err);
    case HF_TASK_TAIL:
        break;
    }
    return hf_agent_tail(&work, err);
}

static void job_run(void *argument)
{
    struct job *job = argument;
    struct agent *agent = job->agent;
    HF_CLEANUP(hf_msg_finish_fini) struct hf_msg_finish finish = {0};
    struct hf_error err;

    finish_begin(agent, &job->task, &finish);
    hf_progress_start(&job->progress, hf_clock_mono_ms());
    hf_log_info(agent->options->log, "agent.task.started",
                HF_STR("task", hf_id_text(&job->task.id).text),
                HF_STR("kind", hf_task_kind_name(job->task.kind)));
    enum hf_err code = run_task(job, &finish, &err);
    if (code == HF_ERR_CANCELLED && hf_cancel_requested(agent->cancel)) {
        code = hf_wrap(&err, "the agent was stopped");
    }
    if (code != HF_ERR_OK) {
        hf_log_error(agent->options->log, "agent.task.failed",
                     HF_STR("task", hf_id_text(&job->task.id).text), HF_STR("error", err.message));
        finish_fail(&finish, &err);
    }
    job->state = JOB_TELLING;
    job->state = tell(agent, &finish, 0);
}

/* ---- The poll loop ---- */

static struct job *find_job(const struct agent *agent, const struct hf_id *task)
{
    for (size_t i = 0; i < agent->job_count; i++) {
        if (hf_id_equal(&agent->jobs[i]->task.id, task)) {
            return agent->jobs[i];
        }
    }
    return NULL;
}

static void forget_note(struct agent *agent, const struct hf_id *task)
{
    struct hf_error err;

    if (hf_agent_state_forget_task(agent->state, task, &err) != HF_ERR_OK) {
        hf_log_warn(agent->options->log, "agent.state.unwritable", HF_STR("error", err.message));
    }
}

/* The note of an end that was not told stays, so that the task is never run twice. */
static void drop_job(struct agent *agent, struct job *job)
{
    if (job->state != JOB_UNTOLD) {
        forget_note(agent, &job->task.id);
    }
    for (size_t i = 0; i < agent->job_count; i++) {
        if (agent->jobs[i] == job) {
            agent->jobs[i] = agent->jobs[--agent->job_count];
            break;
        }
    }
    job_destroy(job);
}

/*
 * Takes the task out of the answer. One that cannot be noted does not run, and ends with that. One for which there is no
 * thread stays given: the next poll brings it again, after a pause when false is returned.
 */
static bool begin_job(struct agent *agent, struct hf_task *task)
{
    struct hf_error err;

    if (find_job(agent, &task->id) != NULL) {
        return true;
    }
    struct job *job = agent->job_count == JOBS_MAX ? NULL : hf_alloc_zero(sizeof *job);
    if (job == NULL) {
        return false;
    }
    job->begun_before = hf_agent_state_has_task(agent->state, &task->id);
    if (hf_agent_state_note_task(agent->state, task, &job->refusal) != HF_ERR_OK) {
        hf_log_error(agent->options->log, "agent.state.unwritable",
                     HF_STR("error", job->refusal.message));
    } else {
        hf_error_clear(&job->refusal);
    }
    job->task = *task;
    *task = (struct hf_task){0};
    job->agent = agent;
    hf_progress_init(&job->progress);
    hf_cancel_init(&job->cancel);
    if (hf_thread_start("hf-task", job_run, job, &job->thread, &err) != HF_ERR_OK) {
        hf_log_error(agent->options->log, "agent.task.failed", HF_STR("error", err.message));
        forget_note(agent, &job->task.id);
        job_destroy(job);
        return false;
    }
    agent->jobs[agent->job_count++] = job;
    return true;
}

static void take_outcome(struct agent *agent, const struct hf_msg_outcome *outcome)
{
    struct job *job = find_job(agent, &outcome->task);

    if (outcome->code == HF_ERR_OK) {
        hf_log_info(agent->options->log, "agent.task.done",
                    HF_STR("task", hf_id_text(&outcome->task).text));
    } else {
        hf_log_warn(agent->options->log, "agent.task.refused",
                    HF_STR("task", hf_id_text(&outcome->task).text),
                    HF_STR("error", outcome->message));
    }
    if (agent->ended_count < ENDED_MAX) {
        agent->ended[agent->ended_count++] = outcome->task;
    }
    if (job != NULL) {
        job->outcome_came = true;
    }
}

/* False when something of it could not be taken now. */
static bool take_answer(struct agent *agent, struct hf_msg_poll_answer *answer)
{
    bool all = true;

    for (size_t i = 0; i < answer->outcome_count; i++) {
        take_outcome(agent, &answer->outcomes[i]);
    }
    for (size_t i = 0; i < answer->cancel_count; i++) {
        struct job *job = find_job(agent, &answer->cancels[i]);
        if (job != NULL) {
            hf_cancel_request(&job->cancel);
        }
    }
    for (size_t i = 0; i < answer->task_count; i++) {
        all = begin_job(agent, &answer->tasks[i]) && all;
    }
    for (size_t i = 0; i < agent->job_count;) {
        struct job *job = agent->jobs[i];
        enum job_state state = job->state;
        if (state == JOB_UNWANTED || state == JOB_UNTOLD ||
            (state == JOB_TOLD && job->outcome_came)) {
            drop_job(agent, job);
        } else {
            i++;
        }
    }
    return all;
}

/*
 * How long the server may hold the next poll. It answers at once when it has something to say, so this is about what the
 * agent has to say: of a capture how far it is, of a tail, which goes on for months, that it is there.
 */
static uint64_t wait_of_poll(const struct agent *agent)
{
    uint64_t wait_ms = agent->poll_wait_ms;

    for (size_t i = 0; i < agent->job_count; i++) {
        const struct job *job = agent->jobs[i];
        bool calm = job->task.kind == HF_TASK_TAIL && job->state == JOB_RUNNING;
        uint64_t one_ms = calm ? agent->progress_ms * TAIL_CALM : agent->progress_ms;
        wait_ms = one_ms < wait_ms ? one_ms : wait_ms;
    }
    return wait_ms;
}

static enum hf_err poll_once(struct agent *agent, struct hf_error *err)
{
    HF_CLEANUP(hf_msg_poll_fini)
    struct hf_msg_poll poll = {.agent = *hf_agent_state_id(agent->state)};
    HF_CLEANUP(hf_msg_poll_answer_fini) struct hf_msg_poll_answer answer = {0};
    size_t telling = agent->ended_count;

    hf_agent_session_get(&agent->session, poll.session);
    poll.wait_ms = wait_of_poll(agent);
    poll.running = hf_alloc_array(agent->job_count + 1, sizeof *poll.running);
    poll.ended = hf_alloc_array(telling + 1, sizeof *poll.ended);
    if (poll.running == NULL || poll.ended == NULL ||
        hf_agent_watch_members(agent->watch, &poll.members, err) != HF_ERR_OK) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (size_t i = 0; i < agent->job_count; i++) {
        struct job *job = agent->jobs[i];
        if (job->state == JOB_RUNNING || job->state == JOB_TELLING) {
            struct hf_msg_running *running = &poll.running[poll.running_count++];
            running->task = job->task.id;
            running->attempt = job->task.attempt;
            hf_progress_view(&job->progress, hf_clock_mono_ms(), &running->progress);
        }
    }
    memcpy(poll.ended, agent->ended, telling * sizeof *poll.ended);
    poll.ended_count = telling;
    if (hf_agent_link_poll(agent->link, &poll, hf_agent_watch_news(agent->watch), &answer, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    hf_agent_targets_heard(agent->context.targets);
    memmove(agent->ended, agent->ended + telling,
            (agent->ended_count - telling) * sizeof *agent->ended);
    agent->ended_count -= telling;
    if (!take_answer(agent, &answer)) {
        hf_cancel_sleep(agent->cancel, POLL_PAUSE_MS);
    }
    return HF_ERR_OK;
}

static void announce(struct agent *agent, const struct hf_msg_hello *hello)
{
    char text[2048] = "serving";

    for (size_t i = 0; i < hello->members.count; i++) {
        const struct hf_msg_member *member = &hello->members.items[i];
        size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, " %s (%s %s)%s", member->address,
                       member->set_name, member->state, i + 1 < hello->members.count ? "," : "");
        if (member->problem[0] != '\0') {
            hf_log_warn(agent->options->log, "agent.member.not_usable",
                        HF_STR("member", member->address), HF_STR("problem", member->problem));
        }
    }
    if (hello->members.count == 0) {
        (void)snprintf(text, sizeof text,
                       "registered; none of the set's members is served here yet");
    }
    if (!agent->announced && agent->options->ready != NULL) {
        agent->options->ready(text);
    }
    agent->announced = true;
}

static enum hf_err say_hello(struct agent *agent, struct hf_error *err)
{
    HF_CLEANUP(hf_msg_hello_fini)
    struct hf_msg_hello hello = {.agent = *hf_agent_state_id(agent->state)};
    struct hf_msg_hello_answer answer = {0};

    hf_host_name(hello.host, sizeof hello.host);
    (void)snprintf(hello.release, sizeof hello.release, "%s", HF_VERSION);
    if (agent->options->restore_root != NULL) {
        (void)snprintf(hello.restore_root, sizeof hello.restore_root, "%s",
                       agent->options->restore_root);
    }
    if (hf_agent_watch_members(agent->watch, &hello.members, err) != HF_ERR_OK ||
        hf_agent_link_hello(agent->link, &hello, &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_agent_session_set(&agent->session, answer.session);
    agent->poll_wait_ms = answer.poll_wait_ms;
    agent->progress_ms = answer.progress_ms;
    announce(agent, &hello);
    return HF_ERR_OK;
}

/* Tells the end of what an earlier life left, after its cursors were closed. */
static enum hf_err settle_the_past(struct agent *agent, struct hf_error *err)
{
    HF_CLEANUP(hf_agent_noted_fini) struct hf_agent_noted noted = {0};

    hf_agent_close_leftovers(&agent->context, NULL);
    if (hf_agent_state_tasks(agent->state, &noted, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < noted.count; i++) {
        HF_CLEANUP(hf_msg_finish_fini) struct hf_msg_finish finish = {0};
        struct hf_error lost;

        finish_begin(agent, &noted.tasks[i], &finish);
        (void)hf_fail(&lost, HF_ERR_LOST, "the agent was stopped while it worked on this");
        finish_fail(&finish, &lost);
        if (tell(agent, &finish, SETTLE_MS) != JOB_UNTOLD &&
            hf_agent_state_forget_task(agent->state, &noted.tasks[i].id, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* While a capture is under way the whole session stands back (threads.md). Where that is refused, or means nothing, the
 * threads' own weight is all. */
static void weigh_session(struct agent *agent)
{
    unsigned wanted = 0;
    for (size_t i = 0; i < agent->job_count; i++) {
        const struct job *job = agent->jobs[i];
        if (job->task.kind == HF_TASK_CAPTURE && job->state == JOB_RUNNING) {
            wanted =
                agent->options->nice < SESSION_NICE_MAX ? agent->options->nice : SESSION_NICE_MAX;
        }
    }
    if (wanted != agent->session_nice) {
        (void)hf_stand_back_session(wanted);
        agent->session_nice = wanted;
    }
}

/* Until cancelled; false when the session must be renewed. */
static enum hf_err poll_loop(struct agent *agent, struct hf_error *err)
{
    while (!hf_cancel_requested(agent->cancel)) {
        weigh_session(agent);
        if (poll_once(agent, err) == HF_ERR_OK) {
            continue;
        }
        if (err->code == HF_ERR_UNAUTHENTICATED || err->code == HF_ERR_LOST) {
            if (say_hello(agent, err) != HF_ERR_OK && !hf_cancel_requested(agent->cancel)) {
                return err->code;
            }
            continue;
        }
        if (err->code == HF_ERR_CANCELLED) {
            continue; /* news of the members, or our own end: the loop's condition tells them apart */
        }
        hf_log_warn(agent->options->log, "agent.poll.failed", HF_STR("error", err->message));
        hf_cancel_sleep(agent->cancel, POLL_PAUSE_MS);
    }
    return HF_ERR_OK;
}

/* Every task is stopped, its cursor closed by its own thread, and the server told, within a limit. */
static void stop_jobs(struct agent *agent)
{
    uint64_t until_ms = hf_clock_mono_ms() + FAREWELL_MS;
    bool busy = agent->job_count > 0;

    for (size_t i = 0; i < agent->job_count; i++) {
        hf_cancel_request(&agent->jobs[i]->cancel);
    }
    while (busy) {
        busy = false;
        for (size_t i = 0; i < agent->job_count; i++) {
            busy = busy || agent->jobs[i]->state == JOB_RUNNING ||
                   (agent->jobs[i]->state == JOB_TELLING && hf_clock_mono_ms() < until_ms);
        }
        if (busy) {
            hf_cancel_sleep(NULL, 20);
        }
    }
    hf_cancel_request(&agent->farewell);
    while (agent->job_count > 0) {
        struct job *job = agent->jobs[0];
        enum job_state state = job->state;
        if (state == JOB_TOLD || state == JOB_UNWANTED) {
            drop_job(agent, job);
        } else {
            agent->jobs[0] = agent->jobs[--agent->job_count];
            job_destroy(job);
        }
    }
}

static enum hf_err read_key(struct agent *agent, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(HF_SECRET_MAX_BYTES + 1);

    if (hf_fs_read_whole(agent->options->key_file, HF_SECRET_MAX_BYTES, &text, err) != HF_ERR_OK) {
        return hf_wrap(err, "read the agent key");
    }
    size_t len = 0;
    while (len < text.len && text.data[len] != '\n' && text.data[len] != '\r') {
        len++;
    }
    bool fits = len > 0 && hf_secret_set(&agent->bearer, hf_bytes_of(text.data, len));
    hf_wipe(text.data, text.len);
    return fits ? HF_ERR_OK
                : hf_fail(err, HF_ERR_INVALID, "%s holds no agent key on its first line",
                          agent->options->key_file);
}

static enum hf_err start(struct agent *agent, struct hf_error *err)
{
    const struct hf_agent_options *options = agent->options;
    const struct hf_agent_watch_options watch = {
        .seeds = options->seeds,
        .members = options->members,
        .member_count = options->member_count,
        .mongo = agent->context.mongo,
        .interval_ms = options->watch_ms != 0 ? options->watch_ms : WATCH_MS,
        .log = options->log,
    };
    const struct hf_agent_link_options link = {
        .server_url = options->server_url,
        .ca_file = options->ca_file,
        .bearer = &agent->bearer,
        .cancel = agent->cancel,
        .silence_ms = options->silence_ms,
        .log = options->log,
    };

    if (read_key(agent, err) != HF_ERR_OK ||
        hf_agent_state_open(options->state_dir, &agent->state, err) != HF_ERR_OK) {
        return err->code;
    }
    agent->context.state = agent->state;
    /* Before the server is waited for: it may not come back. */
    if (hf_agent_targets_start(&agent->context, options->restore_patience_ms,
                               &agent->context.targets, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_agent_watch_start(&watch, &agent->watch, err) != HF_ERR_OK ||
        hf_agent_link_create(&link, &agent->link, err) != HF_ERR_OK ||
        say_hello(agent, err) != HF_ERR_OK) {
        return err->code;
    }
    return settle_the_past(agent, err);
}

enum hf_err hf_agent_run(const struct hf_agent_options *options, const struct hf_cancel *cancel,
                         struct hf_error *err)
{
    HF_CLEANUP(agent_fini) struct agent agent = {.options = options, .cancel = cancel};
    bool uri = strncmp(options->seeds, "mongodb://", 10) == 0 ||
               strncmp(options->seeds, "mongodb+srv://", 14) == 0;

    hf_cancel_init(&agent.farewell);
    hf_agent_session_init(&agent.session);
    agent.context = (struct hf_agent_context){
        .server_url = options->server_url,
        .ca_file = options->ca_file,
        .bearer = &agent.bearer,
        .session = &agent.session,
        .restore_root = options->restore_root,
        .mongod = options->mongod,
        .mongo = {.uri = uri ? options->seeds : NULL,
                  .user = options->user,
                  .password_file = options->password_file},
        .log = options->log,
        .workers = options->workers,
        .nice = options->nice,
        .rate_bytes_s = options->rate_bytes_s,
        .patience_ms = (uint32_t)options->patience_ms,
        .majority_wait_ms = options->majority_wait_ms,
        .silence_ms = options->silence_ms,
        .member_units = options->member_units,
        .member_unit_count = options->member_unit_count,
        .member_starts = options->member_starts,
        .member_start_count = options->member_start_count,
    };
    enum hf_err code = start(&agent, err);
    if (code == HF_ERR_OK) {
        code = poll_loop(&agent, err);
    }
    if (hf_cancel_requested(cancel)) {
        code = HF_ERR_OK;
    }
    stop_jobs(&agent);
    return code;
}
