/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests only: a server and an agent in one process, from start to end, over catalog sqlite, store fs and the agent's
 * state directory. Everything is the product's but the database (a directory stands for the copied files) and the wire:
 * messages are encoded and decoded, and handed over by a call.
 *
 * It runs in a child process: whatever goes wrong ends it with a word on stderr.
 */
#ifndef HF_TESTS_LIFE_H
#define HF_TESTS_LIFE_H

#include "agent/state.h"
#include "backup/lifecycle.h"
#include "base/alloc.h"
#include "os/clock.h"
#include "os/fs.h"
#include "server/flow.h"
#include "server/server_internal.h"
#include "server/stores.h"
#include "snapshot/capture.h"
#include "snapshot/keys.h"
#include "snapshot/restore.h"

#include <stdio.h>
#include <unistd.h>

#define LIFE_SET "rs0"
#define LIFE_MEMBER "127.0.0.1:27017"
#define LIFE_BLOCK_BYTES 4096
#define LIFE_PACK_BYTES ((size_t)96 << 10)

#define LIFE_FAIL(...)                                                                             \
    do {                                                                                           \
        (void)fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                      \
        (void)fprintf(stderr, __VA_ARGS__);                                                        \
        (void)fprintf(stderr, "\n");                                                               \
        _exit(3);                                                                                  \
    } while (0)
#define LIFE_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            LIFE_FAIL("%s", #condition);                                                           \
        }                                                                                          \
    } while (0)
#define LIFE_OK(call, error)                                                                       \
    do {                                                                                           \
        enum hf_err code_ = (call);                                                                \
        if (code_ != HF_ERR_OK) {                                                                  \
            LIFE_FAIL("%s: %s: %s", #call, hf_err_name(code_), (error)->message);                  \
        }                                                                                          \
    } while (0)

struct life;
/* What the agent does of a restore in place of life_restore. */
typedef enum hf_err (*life_restore_with)(struct life *life, const struct hf_task *task,
                                         struct hf_msg_finish *finish, struct hf_error *err);

struct life {
    char *data_dir, *store_url, *agent_dir, *restore_root; /* owned */
    const char *sources[3];                         /* borrowed; by number of the version, from 1 */
    struct hf_optime checkpoints[3], oplog_ends[3]; /* by that number; none: now, and nothing */
    life_restore_with restore;                      /* NULL: life_restore */
    struct hf_cancel cancel;
    struct hf_server_options options;
    struct hf_server server;
    struct hf_lock_file *lock;
    struct hf_agent_state *state;
    char session[HF_SESSION_BYTES];
    struct hf_job_record job;
    struct hf_optime newest; /* entry that the next copy ends with; none: its oplog is not known */
    uint64_t data_bytes;     /* that the member says its data are; 0: it does not say */
};

static void life_begin(struct life *life, const char *dir)
{
    *life = (struct life){.data_dir = hf_path_join(dir, "data"),
                          .store_url = hf_asprintf("file://%s/store", dir),
                          .agent_dir = hf_path_join(dir, "agent"),
                          .restore_root = hf_path_join(dir, "restores")};
    hf_cancel_init(&life->cancel);
}

/* ---- The server: hf_server_run without HTTP and its threads ---- */

static void life_resume(struct life *life)
{
    struct hf_error err;
    LIFE_OK(hf_flow_resume(&life->server.app, &err), &err);
}

static void life_start_server(struct life *life)
{
    struct hf_error err;
    struct hf_buf news = HF_BUF_INIT(4096);
    char *lock = hf_path_join(life->data_dir, "server.lock");
    life->options = (struct hf_server_options){
        .data_dir = life->data_dir, .store_url = life->store_url, .listen = "127.0.0.1:0"};
    life->server = (struct hf_server){
        .app = {.cancel = &life->cancel, .task_silence_s = HF_TASK_SILENT_MAX_S},
        .options = &life->options,
        .url = "http://127.0.0.1:1",
    };
    hf_mutex_init(&life->server.app.ending_mutex);
    LIFE_OK(hf_server_heard_create(&life->server.app.heard, &err), &err);
    LIFE_OK(hf_fs_make_dirs(life->data_dir, 0700, &err), &err);
    LIFE_OK(hf_lock_file_take(lock, &life->lock, &err), &err);
    LIFE_OK(hf_server_open(&life->server, &news, &err), &err);
    LIFE_OK(hf_server_agents_create(&life->server.app, &life->server.agents, &err), &err);
    LIFE_OK(hf_server_publish_url(&life->server, &news, &err), &err);
    life_resume(life);
    hf_buf_fini(&news);
    hf_free(lock);
}

static void life_stop(struct life *life)
{
    hf_agent_state_close(life->state);
    hf_server_agents_destroy(life->server.agents);
    hf_server_heard_destroy(life->server.app.heard);
    hf_server_auth_destroy(life->server.auth);
    hf_stores_close(&life->server.app);
    hf_catalog_close(life->server.app.catalog);
    hf_lock_file_drop(life->lock);
}

static inline struct hf_store *life_store(struct life *life)
{
    return life->server.app.store;
}

static inline struct hf_job_record life_job(struct life *life)
{
    struct hf_error err;
    struct hf_job_record job;
    struct hf_id id = life->job.id;
    LIFE_OK(hf_keep_job_get(life->server.app.catalog, &id, &job, NULL, &err), &err);
    return job;
}

/* ---- The agent ---- */

static void life_see_member(const struct life *life, struct hf_msg_members *members)
{
    members->items = hf_alloc_zero(sizeof *members->items);
    LIFE_CHECK(members->items != NULL);
    members->count = 1;
    struct hf_msg_member *member = &members->items[0];
    (void)snprintf(member->address, sizeof member->address, LIFE_MEMBER);
    (void)snprintf(member->set_name, sizeof member->set_name, LIFE_SET);
    (void)snprintf(member->state, sizeof member->state, "SECONDARY");
    (void)snprintf(member->primary, sizeof member->primary, "127.0.0.1:27018");
    (void)snprintf(member->fcv, sizeof member->fcv, "4.4");
    (void)snprintf(member->server_version, sizeof member->server_version, "4.4.6");
    (void)snprintf(member->engine, sizeof member->engine, "wiredTiger");
    member->readable = true;
    member->data_bytes = life->data_bytes;
    member->set_members = 1;
    member->priority = 1;
}

static void life_say_hello(struct life *life)
{
    struct hf_error err;
    struct hf_msg_hello hello = {.agent = *hf_agent_state_id(life->state)};
    struct hf_msg_hello_answer answer;
    struct hf_buf text = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES);
    struct hf_buf out = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES);
    (void)snprintf(hello.host, sizeof hello.host, "localhost");
    (void)snprintf(hello.release, sizeof hello.release, HF_VERSION);
    (void)snprintf(hello.restore_root, sizeof hello.restore_root, "%s", life->restore_root);
    life_see_member(life, &hello.members);
    LIFE_OK(hf_msg_hello_encode(&hello, &text, &err), &err);
    LIFE_OK(hf_server_agents_hello(life->server.agents, &life->server.app.first_project,
                                   (struct hf_str){(const char *)text.data, text.len}, &out, &err),
            &err);
    LIFE_OK(
        hf_msg_hello_answer_decode((struct hf_str){(const char *)out.data, out.len}, &answer, &err),
        &err);
    memcpy(life->session, answer.session, sizeof life->session);
    hf_msg_hello_fini(&hello);
    hf_buf_fini(&text);
    hf_buf_fini(&out);
}

/* Tells the end of a task; true when the server has it or does not want it. */
static bool life_tell(struct life *life, struct hf_msg_finish *finish)
{
    struct hf_error err;
    struct hf_id task;
    bool fresh = false;
    struct hf_buf text = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES);
    finish->agent = *hf_agent_state_id(life->state);
    memcpy(finish->session, life->session, sizeof finish->session);
    LIFE_OK(hf_msg_finish_encode(finish, &text, &err), &err);
    enum hf_err code = hf_server_agents_finish(life->server.agents, &life->server.app.first_project,
                                               (struct hf_str){(const char *)text.data, text.len},
                                               &task, &fresh, &err);
    hf_buf_fini(&text);
    if (code != HF_ERR_OK) {
        return code == HF_ERR_NOT_FOUND || code == HF_ERR_LOST || code == HF_ERR_CONFLICT ||
               code == HF_ERR_INVALID;
    }
    if (fresh) {
        LIFE_OK(hf_flow_finish(&life->server.app, &task, &err), &err);
    }
    return true;
}

/* As agent.c does at its start: what an earlier life began is told to be lost. */
static void life_settle_the_past(struct life *life)
{
    struct hf_error err;
    struct hf_agent_noted noted = {0};
    LIFE_OK(hf_agent_state_tasks(life->state, &noted, &err), &err);
    for (size_t i = 0; i < noted.count; i++) {
        struct hf_msg_finish finish = {.task = noted.tasks[i].id,
                                       .attempt = noted.tasks[i].attempt,
                                       .kind = noted.tasks[i].kind,
                                       .code = HF_ERR_LOST,
                                       .message = "the agent was stopped while it worked on this"};
        LIFE_CHECK(life_tell(life, &finish));
        LIFE_OK(hf_agent_state_forget_task(life->state, &noted.tasks[i].id, &err), &err);
    }
    hf_agent_noted_fini(&noted);
}

static void life_start_agent(struct life *life)
{
    struct hf_error err;
    LIFE_OK(hf_agent_state_open(life->agent_dir, &life->state, &err), &err);
    life_say_hello(life);
    life_settle_the_past(life);
}

/* Adds every file below dir/prefix, with its size as listed. */
static void life_list_files(const char *dir, const char *prefix, struct hf_capture_files *files)
{
    struct hf_error err;
    struct hf_dir_list list;
    char *here = prefix[0] == '\0' ? hf_strdup(dir) : hf_path_join(dir, prefix);
    LIFE_OK(hf_fs_list(here, 100000, &list, &err), &err);
    for (size_t i = 0; i < list.count; i++) {
        char *relative =
            prefix[0] == '\0' ? hf_strdup(list.names[i]) : hf_path_join(prefix, list.names[i]);
        char *path = hf_path_join(dir, relative);
        struct hf_file_info info;
        LIFE_OK(hf_fs_stat(path, &info, &err), &err);
        if (info.kind == HF_FILE_DIR) {
            life_list_files(dir, relative, files);
        } else {
            LIFE_OK(hf_capture_files_add(files, relative, info.size_bytes, NULL, &err), &err);
        }
        hf_free(path);
        hf_free(relative);
    }
    hf_dir_list_fini(&list);
    hf_free(here);
}

/* Which version of the source a snapshot is of: its description says so. */
static size_t life_version_of(struct life *life, const struct hf_id *snapshot,
                              struct hf_snapshot_record *record)
{
    struct hf_error err;
    LIFE_OK(hf_keep_snapshot_get(life->server.app.catalog, snapshot, record, NULL, &err), &err);
    /* One that the server takes by itself says why instead. */
    return record->description[0] == '1' ? 1 : 2;
}

static enum hf_err life_capture(struct life *life, const struct hf_task *task,
                                struct hf_msg_finish *finish, struct hf_error *err)
{
    struct hf_capture_files files = {.items = NULL};
    struct hf_capture_result result = {.packs = 0};
    struct hf_snapshot_record record;
    char *journal = NULL;
    char *cache = NULL;
    const size_t version = life_version_of(life, &task->capture.snapshot, &record);
    const char *root = life->sources[version];
    LIFE_OK(hf_agent_state_journal(life->state, &task->keyring.job, &journal, err), err);
    LIFE_OK(hf_agent_state_cache(life->state, &task->keyring.job, &cache, err), err);
    life_list_files(root, "", &files);
    LIFE_OK(hf_capture_read_lines(&files, root, &task->keyring, err), err);
    const struct hf_capture_options options = {
        .store = life->server.app.store,
        .keyring = &task->keyring,
        .capture = task->capture.capture,
        .writer = task->capture.writer,
        .root = root,
        .files = &files,
        .parent = {.capture = task->capture.parent, .root = &task->capture.parent_root},
        .adopted = task->capture.adopted,
        .adopted_count = task->capture.adopted_count,
        .journal_path = journal,
        .cache_dir = cache,
        .workers = 1,
        .block_bytes = LIFE_BLOCK_BYTES,
        .pack_bytes = LIFE_PACK_BYTES,
    };
    enum hf_err code = hf_capture_run(&options, &result, err);
    if (code == HF_ERR_OK) {
        struct hf_facts *facts = &finish->facts;
        (void)snprintf(facts->set_name, sizeof facts->set_name, LIFE_SET);
        (void)snprintf(facts->member, sizeof facts->member, LIFE_MEMBER);
        (void)snprintf(facts->server_version, sizeof facts->server_version, "4.4.6");
        facts->checkpoint =
            (struct hf_optime){.seconds = (uint32_t)hf_flow_now_s(), .increment = 1, .term = -1};
        if (!hf_optime_is_none(&life->newest)) {
            facts->checkpoint = facts->oplog_end = facts->committed = life->newest;
            facts->checkpoint.term = -1;
        }
        if (life->checkpoints[version].seconds != 0) {
            facts->checkpoint = life->checkpoints[version];
            facts->oplog_end = facts->committed = life->oplog_ends[version];
        }
        finish->root = result.root;
        result.root = (struct hf_tree_root){0};
        memcpy(finish->adopted, result.adopted, sizeof finish->adopted);
        finish->adopted_count = result.adopted_count;
    }
    hf_capture_result_fini(&result);
    hf_capture_files_fini(&files);
    hf_free(journal);
    hf_free(cache);
    return code;
}

static enum hf_err life_restore(struct life *life, const struct hf_task *task,
                                struct hf_msg_finish *finish, struct hf_error *err)
{
    struct hf_restore_result result = {0};
    const struct hf_restore_options options = {
        .store = life->server.app.store,
        .keyring = &task->keyring,
        .root = &task->restore.root,
        .directory = task->restore.directory,
        .restore_info = task->restore.restore_info,
        .workers = 1,
        .onto = task->restore.onto,
        .leave_foreign = task->restore.leave_foreign,
    };
    enum hf_err code = hf_restore_run(&options, &result, err);
    finish->restored_files = result.files;
    finish->restored_bytes = result.bytes;
    finish->written_bytes = result.written_bytes;
    finish->removed_files = result.removed_files;
    return code;
}

/* Asks for tasks; names the given one as running when there is one. Free answer with hf_msg_poll_answer_fini. */
static void life_poll(struct life *life, const struct hf_task *running, const struct hf_id *ended,
                      struct hf_msg_poll_answer *answer)
{
    struct hf_error err;
    struct hf_msg_poll poll = {.agent = *hf_agent_state_id(life->state)};
    struct hf_msg_running named;
    struct hf_server_poll noted;
    struct hf_id end;
    struct hf_buf text = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES);
    struct hf_buf out = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES);
    bool quiet = false;
    memcpy(poll.session, life->session, sizeof poll.session);
    if (running != NULL) {
        named = (struct hf_msg_running){.task = running->id, .attempt = running->attempt};
        poll.running = &named;
        poll.running_count = 1;
    }
    if (ended != NULL) {
        end = *ended;
        poll.ended = &end;
        poll.ended_count = 1;
    }
    life_see_member(life, &poll.members);
    LIFE_OK(hf_msg_poll_encode(&poll, &text, &err), &err);
    LIFE_OK(hf_server_agents_poll(life->server.agents, &life->server.app.first_project,
                                  (struct hf_str){(const char *)text.data, text.len}, &noted,
                                  &quiet, &out, &err),
            &err);
    LIFE_OK(
        hf_msg_poll_answer_decode((struct hf_str){(const char *)out.data, out.len}, answer, &err),
        &err);
    hf_free(poll.members.items);
    hf_buf_fini(&text);
    hf_buf_fini(&out);
}

/* One task of the agent from its note to the end that is told. */
static void life_do_task(struct life *life, const struct hf_task *task)
{
    struct hf_error err;
    struct hf_msg_poll_answer ignored = {0};
    struct hf_msg_finish finish = {.task = task->id, .attempt = task->attempt, .kind = task->kind};
    LIFE_OK(hf_agent_state_note_task(life->state, task, &err), &err);
    life_poll(life, task, NULL, &ignored);
    hf_msg_poll_answer_fini(&ignored);
    life_restore_with restore = life->restore != NULL ? life->restore : life_restore;
    enum hf_err code = task->kind == HF_TASK_CAPTURE ? life_capture(life, task, &finish, &err)
                                                     : restore(life, task, &finish, &err);
    if (code != HF_ERR_OK) {
        finish.code = code;
        (void)snprintf(finish.message, sizeof finish.message, "%s", err.message);
    }
    LIFE_CHECK(life_tell(life, &finish));
    LIFE_OK(hf_agent_state_forget_task(life->state, &task->id, &err), &err);
    hf_msg_finish_fini(&finish);
}

/* Does whatever the server has for the agent, and lets it forget what has ended. */
static void life_work(struct life *life)
{
    for (unsigned rounds = 0; rounds < 8; rounds++) {
        struct hf_msg_poll_answer answer = {0};
        struct hf_msg_poll_answer after = {0};
        life_poll(life, NULL, NULL, &answer);
        for (size_t i = 0; i < answer.task_count; i++) {
            life_do_task(life, &answer.tasks[i]);
        }
        for (size_t i = 0; i < answer.outcome_count; i++) {
            life_poll(life, NULL, &answer.outcomes[i].task, &after);
            hf_msg_poll_answer_fini(&after);
        }
        bool quiet = answer.task_count == 0 && answer.outcome_count == 0;
        hf_msg_poll_answer_fini(&answer);
        if (quiet) {
            return;
        }
    }
    LIFE_FAIL("the server has tasks without end");
}

/* ---- What a user asks for ---- */

static void life_start_job(struct life *life)
{
    struct hf_error err;
    const struct hf_catalog_query query = {.index = "setName", .equals_text = LIFE_SET};
    struct hf_keep_clusters clusters = {0};
    LIFE_OK(hf_keep_cluster_find(life->server.app.catalog, &query, &clusters, &err), &err);
    LIFE_CHECK(clusters.count == 1);
    if (hf_flow_start_job(&life->server.app, &clusters.items[0].id, &life->job, &err) !=
        HF_ERR_OK) {
        LIFE_CHECK(err.code == HF_ERR_CONFLICT);
        /* A start that was cut off is brought to its end by the server's periodic work. */
        LIFE_OK(hf_flow_jobs_tick(&life->server.app, &err), &err);
        LIFE_OK(hf_keep_job_get(life->server.app.catalog, &clusters.items[0].id, &life->job, NULL,
                                &err),
                &err);
    }
    hf_keep_clusters_fini(&clusters);
}

/* Takes a snapshot of a version; it must end as COMPLETE. */
static inline void life_take(struct life *life, size_t version, struct hf_snapshot_record *record)
{
    struct hf_error err;
    const struct hf_flow_wish wish = {.project = life->server.app.first_project,
                                      .set_name = LIFE_SET,
                                      .description = version == 1 ? "1" : "2"};
    LIFE_OK(hf_flow_take(&life->server.app, &wish, record, &err), &err);
    life_work(life);
    struct hf_id id = record->id;
    LIFE_OK(hf_keep_snapshot_get(life->server.app.catalog, &id, record, NULL, &err), &err);
    if (record->state != HF_SNAPSHOT_COMPLETE) {
        LIFE_FAIL("snapshot of version %zu is %s: %s", version,
                  hf_snapshot_state_word(record->state), record->error);
    }
}

static inline void life_load_keys(struct life *life, struct hf_keyring *out)
{
    struct hf_error err;
    LIFE_OK(
        hf_job_keys_load(life->server.app.store, &life->server.app.key, &life->job.id, out, &err),
        &err);
}

/* All snapshots of the job. Free with hf_keep_snapshots_fini. */
static inline void life_snapshots(struct life *life, struct hf_keep_snapshots *out)
{
    struct hf_error err;
    const struct hf_id_text job = hf_id_text(&life->job.id);
    const struct hf_catalog_query query = {
        .index = "jobId", .equals_text = job.text, .limit = 1000};
    *out = (struct hf_keep_snapshots){0};
    LIFE_OK(hf_keep_snapshot_find(life->server.app.catalog, &query, out, &err), &err);
}

#endif
