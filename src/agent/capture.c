/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A capture, from the open cursor to the facts of the manifest:
 *
 *   check the member -> note the session -> open -> list files -> capture -> ping after the last byte ->
 *   wait until oplogEnd is committed, read it back -> close -> facts
 *
 * A guard thread stops the capture when the cursor is lost or somebody cancels; every way out closes the cursor.
 */
#include <stdio.h>

#include "agent/task.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "mongo/backup_cursor.h"
#include "mongo/oplog.h"
#include "mongo/topology.h"
#include "os/clock.h"
#include "os/fs.h"
#include "snapshot/capture.h"

/* How long a capture waits for oplogEnd to be majority committed before it says "not known": a set with a majority
 * commits within a heartbeat or two. */
#define MAJORITY_WAIT_MS 30000
#define GUARD_PAUSE_MS 100

/* Everything of one capture, so that one clean-up ends it. */
struct capture {
    const struct hf_agent_work *work;
    struct hf_mongo_options mongo;
    struct hf_mongo_client *client;
    struct hf_mongo_facts facts;
    struct hf_mongo_backup *backup;
    struct hf_capture_files files;
    struct hf_store *store;
    struct hf_capture_result result;
    char *journal, *cache;
    /* The guard. */
    struct hf_thread *guard;
    struct hf_cancel stop;       /* ends the capture */
    struct hf_cancel guard_ends; /* ends the guard */
};

static void capture_fini(struct capture *capture)
{
    const struct hf_agent_context *context = capture->work->context;
    struct hf_error ignored;

    hf_cancel_request(&capture->guard_ends);
    hf_thread_join(capture->guard);
    if (capture->backup != NULL) {
        /* The note goes only when the cursor is closed: until then a restart must find it. */
        if (hf_mongo_backup_close(capture->backup, &ignored) == HF_ERR_OK ||
            ignored.code == HF_ERR_LOST) {
            (void)!hf_agent_state_forget_cursor(context->state, &capture->work->task->id, &ignored);
        }
        hf_mongo_backup_destroy(capture->backup);
    }
    hf_capture_result_fini(&capture->result);
    hf_capture_files_fini(&capture->files);
    hf_store_close(capture->store);
    hf_mongo_facts_fini(&capture->facts);
    hf_mongo_client_close(capture->client);
    hf_free(capture->journal);
    hf_free(capture->cache);
}
HF_CLEANUP_DEFINE_VALUE(capture_fini, struct capture)

static void guard_loop(void *argument)
{
    struct capture *capture = argument;
    struct hf_error ignored;

    while (!hf_cancel_requested(&capture->guard_ends)) {
        if (hf_cancel_requested(capture->work->cancel) ||
            hf_mongo_backup_alive(capture->backup, &ignored) != HF_ERR_OK) {
            hf_cancel_request(&capture->stop);
        }
        hf_cancel_sleep(&capture->guard_ends, GUARD_PAUSE_MS);
    }
}

/* The member must be what the server thinks it is, and able to give a cursor. */
static enum hf_err check_member(struct capture *capture, struct hf_error *err)
{
    const struct hf_task_capture *task = &capture->work->task->capture;

    if (hf_mongo_client_open(&capture->mongo, &capture->client, err) != HF_ERR_OK ||
        hf_mongo_facts_read(capture->client, &capture->facts, err) != HF_ERR_OK ||
        hf_mongo_backup_check(&capture->facts, err) != HF_ERR_OK) {
        return err->code;
    }
    if (strcmp(capture->facts.set_name, task->set_name) != 0) {
        return hf_fail(err, HF_ERR_CONFLICT, "%s belongs to set %s now, not to %s", task->member,
                       capture->facts.set_name, task->set_name);
    }
    return HF_ERR_OK;
}

static enum hf_err open_cursor(struct capture *capture, struct hf_error *err)
{
    const struct hf_agent_work *work = capture->work;
    const struct hf_mongo_backup_options options = {
        .client = &capture->mongo,
        .log = work->context->log,
        .patience_ms = work->context->patience_ms,
        .cursor_timeout_ms = capture->facts.cursor_timeout_ms,
    };
    struct hf_agent_cursor_note note = {.task = work->task->id};

    hf_progress_phase(work->progress, "opening the cursor");
    /* One that could not be closed when its capture ended would look like somebody else's. */
    hf_agent_close_leftovers(work->context, work->task->capture.member);
    if (hf_mongo_backup_prepare(&options, &capture->backup, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)snprintf(note.member, sizeof note.member, "%s", work->task->capture.member);
    (void)snprintf(note.lsid, sizeof note.lsid, "%s", hf_mongo_backup_lsid(capture->backup));
    if (hf_agent_state_note_cursor(work->context->state, &note, err) != HF_ERR_OK ||
        HF_FAULT("agent.capture.noted", err) != HF_ERR_OK ||
        hf_mongo_backup_open(capture->backup, work->cancel, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_mongo_ts_is_null(hf_mongo_backup_metadata(capture->backup)->checkpoint)) {
        return hf_fail(err, HF_ERR_UNAVAILABLE,
                       "%s has no stable checkpoint yet (initial sync, or just started); hint: try "
                       "again in a minute",
                       work->task->capture.member);
    }
    return HF_FAULT("agent.capture.opened", err);
}

static enum hf_err add_file(struct capture *capture, const char *path, uint64_t listed_bytes,
                            bool optional, struct hf_error *err)
{
    struct hf_capture_file *added = NULL;

    if (hf_capture_files_add(&capture->files, path, listed_bytes, &added, err) != HF_ERR_OK) {
        return err->code;
    }
    added->optional = optional;
    /* What has no line in the engine's metadata is read every time (store-format.md 4). */
    added->always_read = strncmp(path, "journal/", 8) == 0 || strcmp(path, "WiredTiger") == 0 ||
                         strcmp(path, "WiredTiger.backup") == 0 || optional;
    return HF_ERR_OK;
}

static enum hf_err list_files(struct capture *capture, struct hf_error *err)
{
    size_t count = 0;
    const struct hf_mongo_backup_file *files = hf_mongo_backup_files(capture->backup, &count);
    const char *root = hf_mongo_backup_metadata(capture->backup)->dbpath;

    for (size_t i = 0; i < count; i++) {
        if (files[i].has_range) {
            return hf_fail(err, HF_ERR_INTERNAL,
                           "%s: the member lists changed ranges that nobody asked for",
                           files[i].path);
        }
        if (add_file(capture, files[i].path, files[i].size_bytes, false, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    /* No cursor lists storage.bson, and a read-only start needs it (mongodb-mechanics.md 3.4). */
    if (add_file(capture, "storage.bson", HF_LISTED_UNKNOWN, true, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_capture_read_lines(&capture->files, root, &capture->work->task->keyring, err);
}

/*
 * A failed copy may be the late sign of a lost cursor: the guard stopped it, or the member has restarted and its
 * recovery changes files that were promised to stand still. So the member is asked before a file is blamed.
 */
static enum hf_err blame_cursor(struct capture *capture, struct hf_error *err)
{
    const struct hf_error seen = *err;
    struct hf_error lost;

    if (hf_cancel_requested(capture->work->cancel) || hf_err_retry(seen.code)) {
        return seen.code;
    }
    if (hf_mongo_backup_ping(capture->backup, &lost) == HF_ERR_OK) {
        return seen.code;
    }
    return seen.code == HF_ERR_CANCELLED
               ? hf_fail(err, lost.code, "%s", lost.message)
               : hf_fail(err, lost.code, "%s; noticed when %s", lost.message, seen.message);
}

static enum hf_err copy_files(struct capture *capture, struct hf_error *err)
{
    const struct hf_agent_work *work = capture->work;
    const struct hf_agent_context *context = work->context;
    const struct hf_task *task = work->task;
    struct hf_capture_options options = {
        .store = capture->store,
        .keyring = &task->keyring,
        .capture = task->capture.capture,
        .writer = task->capture.writer,
        .root = hf_mongo_backup_metadata(capture->backup)->dbpath,
        .files = &capture->files,
        .parent = {.capture = task->capture.parent, .root = &task->capture.parent_root},
        .adopted = task->capture.adopted,
        .adopted_count = task->capture.adopted_count,
        .journal_path = capture->journal,
        .cache_dir = capture->cache,
        .workers = task->limits.workers != 0 ? task->limits.workers : context->workers,
        .nice = context->nice,
        .level = task->limits.compression_level,
        .rate_bytes_s =
            task->limits.rate_bytes_s != 0 ? task->limits.rate_bytes_s : context->rate_bytes_s,
        .block_bytes = task->limits.block_bytes,
        .read_all = task->capture.read_all,
        .prove_parent = task->capture.prove_parent,
        .progress = work->progress,
        .cancel = &capture->stop,
        .log = context->log,
    };

    if (hf_capture_run(&options, &capture->result, err) != HF_ERR_OK) {
        return blame_cursor(capture, err);
    }
    if (HF_FAULT("agent.capture.copied", err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_mongo_backup_ping(capture->backup, err);
}

static struct hf_optime optime_of(struct hf_mongo_optime optime)
{
    return (struct hf_optime){
        .seconds = optime.ts.seconds, .increment = optime.ts.increment, .term = optime.term};
}

/*
 * Up to which entry the copy's oplog is known to be committed (architecture.md, "The time of a snapshot"). A set that
 * commits nothing for a while does not spoil the snapshot, which is as of the checkpoint: the manifest then says less.
 */
static enum hf_err confirm_oplog(struct capture *capture, struct hf_optime *committed,
                                 struct hf_error *err)
{
    const struct hf_agent_work *work = capture->work;
    const struct hf_mongo_backup_metadata *metadata = hf_mongo_backup_metadata(capture->backup);
    uint64_t ours_ms = work->context->majority_wait_ms;
    uint64_t limit_ms = work->task->limits.majority_wait_ms != 0
                            ? work->task->limits.majority_wait_ms
                        : ours_ms != 0 ? ours_ms
                                       : MAJORITY_WAIT_MS;

    hf_progress_phase(work->progress, "confirming the oplog");
    *committed = (struct hf_optime){.seconds = metadata->checkpoint.seconds,
                                    .increment = metadata->checkpoint.increment,
                                    .term = -1};
    enum hf_err code = hf_mongo_wait_majority(capture->client, metadata->oplog_end.ts, limit_ms,
                                              work->cancel, NULL, err);
    if (code == HF_ERR_OK) {
        code = hf_mongo_oplog_confirm(capture->client, metadata->oplog_end, err);
    }
    if (code == HF_ERR_OK) {
        *committed = optime_of(metadata->oplog_end);
        return HF_ERR_OK;
    }
    if (code == HF_ERR_CANCELLED || hf_cancel_requested(work->cancel)) {
        return hf_fail(err, HF_ERR_CANCELLED, "cancelled");
    }
    hf_log_warn(work->context->log, "agent.capture.oplog_not_confirmed",
                HF_STR("member", work->task->capture.member), HF_STR("error", err->message));
    return HF_ERR_OK;
}

static const char *edition_word(enum hf_mongo_edition edition)
{
    switch (edition) {
    case HF_MONGO_ENTERPRISE:
        return "enterprise";
    case HF_MONGO_PERCONA:
        return "percona";
    case HF_MONGO_COMMUNITY:
        return "community";
    case HF_MONGO_EDITION_UNKNOWN:
        break;
    }
    return "";
}

static void backup_id_text(const uint8_t id[16], char *out, size_t out_len)
{
    char hex[33];

    hf_hex_encode(hf_bytes_of(id, 16), hex);
    (void)snprintf(out, out_len, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
                   hex + 20);
}

static enum hf_err fill_facts(const struct capture *capture, struct hf_facts *out,
                              struct hf_error *err)
{
    const struct hf_mongo_backup_metadata *metadata = hf_mongo_backup_metadata(capture->backup);
    const struct hf_mongo_facts *facts = &capture->facts;

    (void)snprintf(out->set_name, sizeof out->set_name, "%s", facts->set_name);
    (void)snprintf(out->member, sizeof out->member, "%s", capture->work->task->capture.member);
    (void)snprintf(out->fcv, sizeof out->fcv, "%.63s", facts->fcv);
    (void)snprintf(out->server_version, sizeof out->server_version, "%.63s", facts->version);
    (void)snprintf(out->server_modules, sizeof out->server_modules, "%s",
                   edition_word(facts->edition));
    (void)snprintf(out->engine, sizeof out->engine, "%.63s", facts->engine);
    (void)snprintf(out->agent_release, sizeof out->agent_release, "%s", HF_VERSION);
    (void)snprintf(out->backup_name, sizeof out->backup_name, "%s", metadata->this_backup_name);
    backup_id_text(metadata->backup_id, out->backup_id, sizeof out->backup_id);
    out->checkpoint = (struct hf_optime){.seconds = metadata->checkpoint.seconds,
                                         .increment = metadata->checkpoint.increment,
                                         .term = -1};
    out->oplog_start = optime_of(metadata->oplog_start);
    out->oplog_end = optime_of(metadata->oplog_end);
    if (facts->restore_options != NULL &&
        hf_json_decode(hf_str_of(facts->restore_options), (size_t)1 << 20, &out->engine_options,
                       err) != HF_ERR_OK) {
        return err->code;
    }
    return HF_ERR_OK;
}

/* A phase has ended, well or not: its time is what passed since the last. */
static enum hf_err lap(enum hf_err code, uint64_t *since_ms, uint64_t *out)
{
    uint64_t now_ms = hf_clock_mono_ms();

    *out = now_ms - *since_ms;
    *since_ms = now_ms;
    return code;
}

static enum hf_err check_and_open(struct capture *capture, struct hf_error *err)
{
    return check_member(capture, err) == HF_ERR_OK ? open_cursor(capture, err) : err->code;
}

static enum hf_err run(struct capture *capture, struct hf_msg_finish *finish, struct hf_error *err)
{
    const struct hf_agent_context *context = capture->work->context;
    const struct hf_task *task = capture->work->task;

    struct hf_capture_times *times = &finish->times;
    uint64_t lap_ms = hf_clock_mono_ms();

    finish->facts.started_s = hf_clock_wall_ms() / 1000;
    if (hf_agent_state_journal(context->state, &task->keyring.job, &capture->journal, err) !=
            HF_ERR_OK ||
        hf_agent_state_cache(context->state, &task->keyring.job, &capture->cache, err) !=
            HF_ERR_OK ||
        lap(check_and_open(capture, err), &lap_ms, &times->open_ms) != HF_ERR_OK ||
        hf_thread_start("hf-guard", guard_loop, capture, &capture->guard, err) != HF_ERR_OK ||
        lap(list_files(capture, err), &lap_ms, &times->list_ms) != HF_ERR_OK ||
        hf_agent_store_open(capture->work, &capture->stop, 0, &capture->store, err) != HF_ERR_OK ||
        lap(copy_files(capture, err), &lap_ms, &times->copy_ms) != HF_ERR_OK ||
        lap(confirm_oplog(capture, &finish->facts.committed, err), &lap_ms, &times->confirm_ms) !=
            HF_ERR_OK ||
        fill_facts(capture, &finish->facts, err) != HF_ERR_OK) {
        return err->code;
    }
    /* A cursor that was lost meanwhile makes the copy worthless, so its end is asked about, not assumed. */
    if (hf_mongo_backup_close(capture->backup, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_agent_state_forget_cursor(context->state, &task->id, err) != HF_ERR_OK) {
        return err->code;
    }
    finish->facts.finished_s = hf_clock_wall_ms() / 1000;
    finish->root = capture->result.root;
    capture->result.root = (struct hf_tree_root){0};
    memcpy(finish->adopted, capture->result.adopted, sizeof finish->adopted);
    finish->adopted_count = capture->result.adopted_count;
    finish->damaged_parent_nodes = capture->result.damaged_parent_nodes;
    return HF_ERR_OK;
}

enum hf_err hf_agent_capture(const struct hf_agent_work *work, struct hf_msg_finish *finish,
                             struct hf_error *err)
{
    HF_CLEANUP(capture_fini) struct capture capture = {.work = work, .mongo = work->context->mongo};

    capture.mongo.host = work->task->capture.member;
    hf_cancel_init(&capture.stop);
    hf_cancel_init(&capture.guard_ends);
    if (run(&capture, finish, err) != HF_ERR_OK) {
        return hf_wrap(err, "capture of %s from %s", work->task->capture.set_name,
                       work->task->capture.member);
    }
    return HF_ERR_OK;
}

void hf_agent_close_leftovers(const struct hf_agent_context *context, const char *member)
{
    HF_CLEANUP(hf_agent_cursors_fini) struct hf_agent_cursors cursors = {0};
    struct hf_error err;

    if (hf_agent_state_cursors(context->state, &cursors, &err) != HF_ERR_OK) {
        hf_log_error(context->log, "agent.state.unreadable", HF_STR("error", err.message));
        return;
    }
    for (size_t i = 0; i < cursors.count; i++) {
        HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
        struct hf_mongo_options options = context->mongo;
        bool found = false;

        if (member != NULL && strcmp(member, cursors.notes[i].member) != 0) {
            continue;
        }
        options.host = cursors.notes[i].member;
        if (hf_mongo_client_open(&options, &client, &err) != HF_ERR_OK ||
            hf_mongo_backup_close_leftover(client, cursors.notes[i].lsid, &found, &err) !=
                HF_ERR_OK ||
            hf_agent_state_forget_cursor(context->state, &cursors.notes[i].task, &err) !=
                HF_ERR_OK) {
            hf_log_warn(context->log, "agent.cursor.leftover",
                        HF_STR("member", cursors.notes[i].member), HF_STR("error", err.message));
            continue;
        }
        hf_log_info(context->log, "agent.cursor.leftover_closed",
                    HF_STR("member", cursors.notes[i].member),
                    HF_STR("found", found ? "yes" : "no"));
    }
}
