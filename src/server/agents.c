/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hello, poll and finish, over the catalog.
 */
#include "server/agents.h"

#include <stdio.h>

#include "backup/lifecycle.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "base/secret.h"
#include "codec/hash.h"
#include "os/clock.h"
#include "server/alerts.h"
#include "server/events.h"
#include "server/flow.h"
#include "server/flow_tail.h"

#define POLL_WAIT_MS 30000
#define PROGRESS_MS 1000
#define AGENTS_MAX 10000

struct hf_server_agents {
    struct hf_server_app *app; /* borrowed */
};

enum hf_err hf_server_agents_create(struct hf_server_app *app, struct hf_server_agents **out,
                                    struct hf_error *err)
{
    struct hf_server_agents *agents = hf_alloc_zero(sizeof *agents);

    if (agents == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    agents->app = app;
    *out = agents;
    return HF_ERR_OK;
}

void hf_server_agents_destroy(struct hf_server_agents *agents)
{
    hf_free(agents);
}

/* ---- Sessions ---- */

/* The catalog knows the hash alone: whoever reads it opens no session. */
static void hash_session(const char *text, char out[HF_SESSION_BYTES])
{
    hf_sha256_hex(hf_bytes_of(text, strlen(text)), out);
}

static enum hf_err check_session(struct hf_server_agents *agents, const struct hf_id *agent,
                                 const struct hf_id *project, const char *text,
                                 struct hf_error *err)
{
    struct hf_agent_record record;
    char hash[HF_SESSION_BYTES];

    enum hf_err code = hf_keep_agent_get(agents->app->catalog, agent, &record, NULL, err);
    if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND) {
        return code;
    }
    hash_session(text, hash);
    if (code == HF_ERR_OK && hf_id_equal(&record.project, project) &&
        hf_secret_equal(hf_bytes_of(hash, sizeof hash - 1),
                        hf_bytes_of(record.session_hash, sizeof hash - 1))) {
        return HF_ERR_OK;
    }
    return hf_fail(err, HF_ERR_UNAUTHENTICATED, "the session is not known; hint: say hello again");
}

/* ---- hello ---- */

static bool has_open_task(struct hf_server_app *app, const struct hf_id *agent)
{
    const struct hf_id_text id = hf_id_text(agent);
    const struct hf_catalog_query query = {
        .index = "agentId", .equals_text = id.text, .limit = HF_MESSAGE_TASKS_MAX};
    HF_CLEANUP(hf_keep_tasks_fini) struct hf_keep_tasks tasks = {0};
    struct hf_error ignored;

    if (hf_keep_task_find(app->catalog, &query, &tasks, &ignored) != HF_ERR_OK) {
        return true; /* not known: it stays */
    }
    for (size_t i = 0; i < tasks.count; i++) {
        if (tasks.items[i].state != HF_TASK_ENDED) {
            return true;
        }
    }
    return false;
}

static bool remove_document(struct hf_server_app *app, const char *kind, const char *id)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    struct hf_error ignored;

    return hf_catalog_get(app->catalog, kind, id, &document, &ignored) == HF_ERR_OK &&
           hf_catalog_remove(app->catalog, kind, id, document.revision, &ignored) == HF_ERR_OK;
}

/* With the catalog full of agents, those that are silent and have nothing to do are forgotten; should one come back, it
 * says hello as a new one does. LIMIT when none is. */
static enum hf_err make_room_for_agent(struct hf_server_app *app, struct hf_error *err)
{
    const struct hf_catalog_query count_query = {.kind = HF_KIND_AGENT};
    const struct hf_catalog_query query = {.limit = AGENTS_MAX * 2};
    HF_CLEANUP(hf_keep_agents_fini) struct hf_keep_agents agents = {0};
    uint64_t there = 0;

    if (hf_catalog_count(app->catalog, &count_query, &there, err) != HF_ERR_OK) {
        return err->code;
    }
    if (there < AGENTS_MAX) {
        return HF_ERR_OK;
    }
    if (hf_keep_agent_find(app->catalog, &query, &agents, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < agents.count; i++) {
        const struct hf_agent_record *one = &agents.items[i];
        const struct hf_id_text id = hf_id_text(&one->id);
        if (hf_flow_agent_silent_s(app, one) > HF_AGENT_SILENT_MAX_S &&
            !has_open_task(app, &one->id)) {
            (void)remove_document(app, HF_KIND_MEMBERS, id.text);
            there -= remove_document(app, HF_KIND_AGENT, id.text);
        }
    }
    return there < AGENTS_MAX
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_LIMIT, "there are %d agents already", AGENTS_MAX);
}

/* DENIED for an agent of another project; LIMIT for a new one too many. */
static enum hf_err check_newcomer(struct hf_server_app *app, const struct hf_id *agent,
                                  const struct hf_id *project, struct hf_error *err)
{
    struct hf_agent_record record;

    enum hf_err code = hf_keep_agent_get(app->catalog, agent, &record, NULL, err);
    if (code == HF_ERR_NOT_FOUND) {
        return make_room_for_agent(app, err);
    }
    if (code == HF_ERR_OK && !hf_id_equal(&record.project, project)) {
        return hf_fail(err, HF_ERR_DENIED, "agent %s belongs to another project",
                       hf_id_text(agent).text);
    }
    return code;
}

/* Before its record, as every event: a hello that is cut off is said again, and tells nothing new. */
static enum hf_err tell_added(struct hf_server_app *app, const struct hf_agent_record *record,
                              struct hf_error *err)
{
    char text[HF_NAME_BYTES + 32];
    const struct hf_id_text id = hf_id_text(&record->id);
    const struct hf_event_wish wish = {.id = record->id,
                                       .target = record->id,
                                       .set_name = "",
                                       .type = HF_EVENT_AGENT_ADDED,
                                       .text = text,
                                       .by = HF_EVENT_BY_AGENT,
                                       .user = id.text};

    (void)snprintf(text, sizeof text, "the agent of host %s", record->host);
    return hf_event_tell(app, &wish, err);
}

static enum hf_err keep_agent(struct hf_server_app *app, const struct hf_msg_hello *hello,
                              const struct hf_id *project, const char *session,
                              struct hf_error *err)
{
    for (unsigned tries = 0; tries < 8; tries++) {
        struct hf_agent_record record;
        uint64_t revision = 0;

        enum hf_err code = hf_keep_agent_get(app->catalog, &hello->agent, &record, &revision, err);
        if (code == HF_ERR_NOT_FOUND) {
            record = (struct hf_agent_record){
                .id = hello->agent, .project = *project, .created_s = hf_flow_now_s()};
        } else if (code != HF_ERR_OK) {
            return code;
        }
        (void)snprintf(record.host, sizeof record.host, "%s", hello->host);
        (void)snprintf(record.release, sizeof record.release, "%s", hello->release);
        (void)snprintf(record.restore_root, sizeof record.restore_root, "%.*s",
                       (int)sizeof record.restore_root - 1, hello->restore_root);
        record.seen_s = hf_flow_now_s();
        hash_session(session, record.session_hash);
        bool fresh = code == HF_ERR_NOT_FOUND;
        if (fresh && tell_added(app, &record, err) != HF_ERR_OK) {
            return err->code;
        }
        code = fresh ? hf_keep_agent_insert(app->catalog, &record, err)
                     : hf_keep_agent_replace(app->catalog, &record, &revision, err);
        if (code != HF_ERR_CONFLICT && code != HF_ERR_EXISTS) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "agent %s says hello too often",
                   hf_id_text(&hello->agent).text);
}

enum hf_err hf_server_agents_hello(struct hf_server_agents *agents, const struct hf_id *project,
                                   struct hf_str body, struct hf_buf *out, struct hf_error *err)
{
    HF_CLEANUP(hf_msg_hello_fini) struct hf_msg_hello hello = {0};
    struct hf_msg_hello_answer answer = {
        .now_ms = hf_clock_wall_ms(), .poll_wait_ms = POLL_WAIT_MS, .progress_ms = PROGRESS_MS};

    uint8_t random[(HF_SESSION_BYTES - 1) / 2];

    if (hf_msg_hello_decode(body, &hello, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_random_bytes(random, sizeof random);
    hf_hex_encode(hf_bytes_of(random, sizeof random), answer.session);
    const struct hf_flow_sight sight = {
        .agent = hello.agent, .project = *project, .members = &hello.members, .hello = true};
    /* Whose agent it is comes first: nothing of another project's agent is touched. */
    if (check_newcomer(agents->app, &hello.agent, project, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_flow_put_members(agents->app, &sight, err) != HF_ERR_OK ||
        keep_agent(agents->app, &hello, project, answer.session, err) != HF_ERR_OK) {
        hf_alerts_note_call(agents->app, &hello.agent, err->code, err->message);
        return err->code;
    }
    (void)snprintf(answer.server_release, sizeof answer.server_release, "%s", HF_VERSION);
    hf_log_info(agents->app->log, "agent.registered",
                HF_STR("agent", hf_id_text(&hello.agent).text), HF_STR("host", hello.host),
                HF_U64("members", hello.members.count));
    return hf_msg_hello_answer_encode(&answer, out, err);
}

/* ---- poll ---- */

/* A note of being alive every ten seconds is enough for a limit of minutes. */
static uint64_t note_every_s(const struct hf_server_app *app)
{
    return app->task_silence_s / 4 < 10 ? app->task_silence_s / 4 : 10;
}

/* Less than so long ago. A time that is still to come was written by a clock that has been set back since. */
static bool was_just_now(uint64_t then_s, uint64_t less_than_s, uint64_t now_s)
{
    return then_s <= now_s && now_s - then_s < less_than_s;
}

static void keep_progress(struct hf_server_app *app, const struct hf_msg_running *running)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_msg_progress_to_json(&running->progress);
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document old = {.json = NULL};
    const struct hf_id_text id = hf_id_text(&running->task);
    struct hf_error ignored;

    /* Lost progress is no loss: the next poll brings newer. */
    if (json == NULL) {
        return;
    }
    if (hf_catalog_get(app->catalog, HF_KIND_PROGRESS, id.text, &old, &ignored) == HF_ERR_OK) {
        (void)!hf_catalog_replace(app->catalog, HF_KIND_PROGRESS, id.text, old.revision, json,
                                  HF_CATALOG_UNSYNCED, &ignored);
    } else {
        (void)!hf_catalog_insert(app->catalog, HF_KIND_PROGRESS, id.text, json, HF_CATALOG_UNSYNCED,
                                 &ignored);
    }
}

/* A task that the agent names is RUNNING. */
static enum hf_err hear_of_task(struct hf_server_app *app, const struct hf_msg_running *running,
                                const struct hf_id *agent, struct hf_error *err)
{
    struct hf_task_record task;
    uint64_t revision = 0;
    uint64_t now_s = hf_flow_now_s();

    enum hf_err code = hf_keep_task_get(app->catalog, &running->task, &task, &revision, err);
    if (code == HF_ERR_NOT_FOUND) {
        return HF_ERR_OK;
    }
    if (code != HF_ERR_OK) {
        return code;
    }
    /* Only whose task it is keeps it alive, and only what there is takes room. */
    if (!hf_id_equal(&task.attempt, &running->attempt) || !hf_id_equal(&task.agent, agent)) {
        return HF_ERR_OK;
    }
    hf_server_heard_note(app->heard, HF_HEARD_TASK, &running->task);
    if (task.state == HF_TASK_WAITING) {
        if (hf_task_move(&task, HF_TASK_RUNNING, now_s, err) != HF_ERR_OK) {
            return err->code;
        }
        if (task.kind == HF_TASK_CAPTURE) {
            hf_flow_note_given(app, &task);
        }
    } else if (task.state != HF_TASK_RUNNING ||
               was_just_now(task.seen_s, note_every_s(app), now_s)) {
        keep_progress(app, running);
        return HF_ERR_OK;
    }
    task.seen_s = now_s;
    code = hf_keep_task_replace(app->catalog, &task, &revision, err);
    keep_progress(app, running);
    return code == HF_ERR_CONFLICT ? HF_ERR_OK : code;
}

/* The agent knows the outcome: the task's papers go. */
static void forget_task(struct hf_server_app *app, const struct hf_id *id,
                        const struct hf_id *agent)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document progress = {.json = NULL};
    const struct hf_id_text text = hf_id_text(id);
    struct hf_task_record task;
    uint64_t revision = 0;
    struct hf_error ignored;

    if (hf_keep_task_get(app->catalog, id, &task, &revision, &ignored) != HF_ERR_OK ||
        task.state != HF_TASK_ENDED || !hf_id_equal(&task.agent, agent)) {
        return;
    }
    (void)!hf_catalog_remove(app->catalog, HF_KIND_TASK, text.text, revision, &ignored);
    if (hf_catalog_get(app->catalog, HF_KIND_PROGRESS, text.text, &progress, &ignored) ==
        HF_ERR_OK) {
        (void)!hf_catalog_remove(app->catalog, HF_KIND_PROGRESS, text.text, progress.revision,
                                 &ignored);
    }
}

static void touch_agent(struct hf_server_app *app, const struct hf_id *agent)
{
    struct hf_agent_record record;
    uint64_t revision = 0;
    struct hf_error ignored;

    if (hf_keep_agent_get(app->catalog, agent, &record, &revision, &ignored) != HF_ERR_OK ||
        was_just_now(record.seen_s, 10, hf_flow_now_s())) {
        return;
    }
    record.seen_s = hf_flow_now_s();
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_agent_record_encode(&record);
    if (json != NULL) {
        (void)!hf_catalog_replace(app->catalog, HF_KIND_AGENT, hf_id_text(agent).text, revision,
                                  json, HF_CATALOG_UNSYNCED, &ignored);
    }
}

static enum hf_err take_poll(struct hf_server_agents *agents, const struct hf_id *project,
                             const struct hf_msg_poll *poll, struct hf_server_poll *out,
                             struct hf_error *err)
{
    /* First of all: whom the catalog cannot write down, its disk being full, was heard all the same. */
    for (size_t i = 0; i < poll->running_count && i < HF_MESSAGE_TASKS_MAX; i++) {
        hf_server_heard_note(agents->app->heard, HF_HEARD_TASK, &poll->running[i].task);
    }
    const struct hf_flow_sight sight = {
        .agent = poll->agent, .project = *project, .members = &poll->members};
    if (HF_FAULT("server.agents.poll", err) != HF_ERR_OK ||
        hf_flow_put_members(agents->app, &sight, err) != HF_ERR_OK) {
        return err->code;
    }
    touch_agent(agents->app, &poll->agent);
    *out = (struct hf_server_poll){.agent = poll->agent, .wait_ms = poll->wait_ms};
    if (out->wait_ms > POLL_WAIT_MS) {
        out->wait_ms = POLL_WAIT_MS;
    }
    for (size_t i = 0; i < poll->running_count && i < HF_MESSAGE_TASKS_MAX; i++) {
        if (hear_of_task(agents->app, &poll->running[i], &poll->agent, err) != HF_ERR_OK) {
            return err->code;
        }
        out->named[out->named_count] = poll->running[i].task;
        out->attempts[out->named_count++] = poll->running[i].attempt;
    }
    for (size_t i = 0; i < poll->ended_count; i++) {
        forget_task(agents->app, &poll->ended[i], &poll->agent);
    }
    return HF_ERR_OK;
}

enum hf_err hf_server_agents_poll(struct hf_server_agents *agents, const struct hf_id *project,
                                  struct hf_str body, struct hf_server_poll *out, bool *quiet,
                                  struct hf_buf *answer, struct hf_error *err)
{
    HF_CLEANUP(hf_msg_poll_fini) struct hf_msg_poll poll = {0};

    if (hf_msg_poll_decode(body, &poll, err) != HF_ERR_OK ||
        check_session(agents, &poll.agent, project, poll.session, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = take_poll(agents, project, &poll, out, err);
    code = code == HF_ERR_OK ? hf_server_agents_answer(agents, out, quiet, answer, err) : code;
    hf_alerts_note_call(agents->app, &poll.agent, code, err->message);
    return code;
}

static const struct hf_id *named_attempt(const struct hf_server_poll *poll,
                                         const struct hf_id *task)
{
    for (size_t i = 0; i < poll->named_count; i++) {
        if (hf_id_equal(&poll->named[i], task)) {
            return &poll->attempts[i];
        }
    }
    return NULL;
}

static bool is_among(const struct hf_keep_tasks *tasks, const struct hf_id *id)
{
    for (size_t i = 0; i < tasks->count; i++) {
        if (hf_id_equal(&tasks->items[i].id, id)) {
            return true;
        }
    }
    return false;
}

/* One task of the agent: given, cancelled, or told how it ended. */
static enum hf_err answer_task(struct hf_server_app *app, const struct hf_task_record *task,
                               const struct hf_server_poll *poll, struct hf_msg_poll_answer *answer,
                               struct hf_error *err)
{
    const struct hf_id *attempt = named_attempt(poll, &task->id);

    if (task->state == HF_TASK_ENDED) {
        struct hf_msg_outcome *outcome = &answer->outcomes[answer->outcome_count++];
        outcome->task = task->id;
        outcome->code = hf_err_from_name(task->error_class);
        (void)snprintf(outcome->message, sizeof outcome->message, "%.*s",
                       (int)sizeof outcome->message - 1, task->error);
        return HF_ERR_OK;
    }
    if (attempt != NULL && (task->cancelled || !hf_id_equal(attempt, &task->attempt))) {
        answer->cancels[answer->cancel_count++] = task->id;
        return HF_ERR_OK;
    }
    if (attempt == NULL && (task->state == HF_TASK_WAITING || task->state == HF_TASK_RUNNING)) {
        if (task->cancelled) {
            return HF_ERR_OK;
        }
        if (hf_flow_task_message(app, task, &answer->tasks[answer->task_count], err) != HF_ERR_OK) {
            /* The agent cannot do it now; the others' work must not wait for it. */
            struct hf_error why = *err, ignored;
            hf_log_warn(app->log, "task.not_given", HF_STR("task", hf_id_text(&task->id).text),
                        HF_STR("error", why.message));
            if (!hf_err_retry(why.code)) {
                (void)!hf_flow_not_given(app, task, &why, &ignored); /* else at the next poll */
            }
            return HF_ERR_OK;
        }
        answer->task_count++;
    }
    return HF_ERR_OK;
}

enum hf_err hf_server_agents_answer(struct hf_server_agents *agents,
                                    const struct hf_server_poll *poll, bool *quiet,
                                    struct hf_buf *out, struct hf_error *err)
{
    const struct hf_id_text agent = hf_id_text(&poll->agent);
    const struct hf_catalog_query query = {
        .index = "agentId", .equals_text = agent.text, .limit = HF_MESSAGE_TASKS_MAX};
    HF_CLEANUP(hf_keep_tasks_fini) struct hf_keep_tasks tasks = {0};
    HF_CLEANUP(hf_msg_poll_answer_fini) struct hf_msg_poll_answer answer = {0};

    if (hf_keep_task_find(agents->app->catalog, &query, &tasks, err) != HF_ERR_OK) {
        return err->code;
    }
    answer.tasks = hf_alloc_zero((tasks.count + 1) * sizeof *answer.tasks);
    answer.outcomes = hf_alloc_zero((tasks.count + 1) * sizeof *answer.outcomes);
    answer.cancels = hf_alloc_zero((tasks.count + poll->named_count + 1) * sizeof *answer.cancels);
    if (answer.tasks == NULL || answer.outcomes == NULL || answer.cancels == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (size_t i = 0; i < tasks.count; i++) {
        if (answer_task(agents->app, &tasks.items[i], poll, &answer, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    for (size_t i = 0; i < poll->named_count; i++) {
        if (!is_among(&tasks, &poll->named[i])) {
            answer.cancels[answer.cancel_count++] = poll->named[i];
        }
    }
    *quiet = answer.task_count == 0 && answer.cancel_count == 0 && answer.outcome_count == 0;
    return hf_msg_poll_answer_encode(&answer, out, err);
}

/* ---- finish ---- */

enum hf_err hf_server_agents_finish(struct hf_server_agents *agents, const struct hf_id *project,
                                    struct hf_str body, struct hf_id *task, bool *fresh,
                                    struct hf_error *err)
{
    HF_CLEANUP(hf_msg_finish_fini) struct hf_msg_finish finish = {0};

    if (hf_msg_finish_decode(body, &finish, err) != HF_ERR_OK ||
        check_session(agents, &finish.agent, project, finish.session, err) != HF_ERR_OK) {
        return err->code;
    }
    *task = finish.task;
    return hf_flow_note_finish(agents->app, &finish, fresh, err);
}

/* ---- slice ---- */

enum hf_err hf_server_agents_slice(struct hf_server_agents *agents, const struct hf_id *project,
                                   struct hf_str body, struct hf_id *task, struct hf_buf *out,
                                   struct hf_error *err)
{
    struct hf_msg_slice slice;

    if (hf_msg_slice_decode(body, &slice, err) != HF_ERR_OK ||
        check_session(agents, &slice.agent, project, slice.session, err) != HF_ERR_OK ||
        hf_flow_tail_slice(agents->app, &slice, err) != HF_ERR_OK) {
        return err->code;
    }
    *task = slice.task;
    return hf_msg_slice_answer_encode(out, err);
}
