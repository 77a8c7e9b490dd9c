/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's life: opening and closing the data directory, sessions, times, flushes, checkpoints.
 *
 * It must not know what is in a document, nor why this node may write. One thread, the keeper,
 * flushes the journal ten times a second, takes the checkpoints and keeps the oplog's cap.
 */
#include "sandbox/engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/clock.h"
#include "os/fs.h"
#include "sandbox/engine_internal.h"

#define DEFAULT_CACHE_BYTES ((uint64_t)256 << 20)
#define DEFAULT_LOG_FILE_BYTES ((uint64_t)32 << 20)
#define KEEPER_TICK_MS 100
#define PIN_MS 60000

enum hf_err hf_sandbox_wt(struct hf_error *err, int code, const char *what)
{
    static const struct {
        int code;
        enum hf_err class;
    } classes[] = {{WT_ROLLBACK, HF_ERR_CONFLICT},    {EBUSY, HF_ERR_CONFLICT},
                   {WT_DUPLICATE_KEY, HF_ERR_EXISTS}, {WT_NOTFOUND, HF_ERR_NOT_FOUND},
                   {ENOSPC, HF_ERR_NO_SPACE},         {EINVAL, HF_ERR_INTERNAL}};
    enum hf_err class = HF_ERR_IO;

    if (code == 0) {
        hf_error_clear(err);
        return HF_ERR_OK;
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(classes); i++) {
        class = classes[i].code == code ? classes[i].class : class;
    }
    return hf_fail(err, class, "%s: %s", what, wiredtiger_strerror(code));
}

void *hf_sandbox_grow(void *array, size_t count, size_t size)
{
    if ((count & (count - 1)) == 0) { /* 0 or a power of two: it is full */
        array = hf_realloc_array(array, count == 0 ? 1 : count * 2, size);
        HF_ASSERT(array != NULL);
    }
    memset((char *)array + count * size, 0, size);
    return array;
}

/* ---- Sessions ---- */

enum hf_err hf_sandbox_session_take(struct hf_sandbox_engine *engine, WT_SESSION **out,
                                    struct hf_error *err)
{
    hf_mutex_lock(&engine->state);
    *out = engine->session_count > 0 ? engine->sessions[--engine->session_count] : NULL;
    hf_mutex_unlock(&engine->state);
    return *out != NULL ? HF_ERR_OK
                        : hf_sandbox_wt(err,
                                        engine->connection->open_session(engine->connection, NULL,
                                                                         "isolation=snapshot", out),
                                        "open a session");
}

void hf_sandbox_session_give(struct hf_sandbox_engine *engine, WT_SESSION *session)
{
    HF_LOCKED(&engine->state);
    *HF_SANDBOX_PUSH(engine->sessions, engine->session_count) = session;
}

/* ---- Times ---- */

void hf_sandbox_engine_set_role(struct hf_sandbox_engine *engine, bool accepts_writes, int64_t term)
{
    HF_LOCKED(&engine->state);
    while (engine->oplog_held) {
        hf_cond_wait(&engine->changed, &engine->state);
    }
    engine->accepts_writes = accepts_writes && !engine->read_only;
    engine->term = term;
    hf_cond_broadcast(&engine->changed);
}

void hf_sandbox_engine_pin(struct hf_sandbox_engine *engine, uint64_t ts)
{
    uint64_t now = hf_clock_mono_ms();

    HF_LOCKED(&engine->state);
    if (now >= engine->pinned_until_ms || ts < engine->pinned_ts) {
        engine->pinned_ts = ts;
    }
    engine->pinned_until_ms = now + PIN_MS;
}

static enum hf_err set_stable_locked(struct hf_sandbox_engine *engine, uint64_t ts,
                                     struct hf_error *err)
{
    bool pinned = hf_clock_mono_ms() < engine->pinned_until_ms && engine->pinned_ts < ts;
    char config[96];

    (void)snprintf(config, sizeof config, "stable_timestamp=%" PRIx64 ",oldest_timestamp=%" PRIx64,
                   ts, pinned ? engine->pinned_ts : ts);
    engine->stable_ts = ts;
    return hf_sandbox_wt(err, engine->connection->set_timestamp(engine->connection, config),
                         "set the stable time");
}

enum hf_err hf_sandbox_engine_set_stable(struct hf_sandbox_engine *engine, uint64_t ts,
                                         struct hf_error *err)
{
    HF_LOCKED(&engine->state);
    return set_stable_locked(engine, ts, err);
}

void hf_sandbox_engine_set_majority(struct hf_sandbox_engine *engine,
                                    struct hf_sandbox_optime majority)
{
    struct hf_error err;

    HF_LOCKED(&engine->state);
    if (majority.ts > engine->applied.ts) {
        majority = engine->applied;
    }
    if (majority.ts <= engine->majority.ts) {
        return;
    }
    engine->majority = majority;
    if (majority.ts > engine->stable_ts &&
        set_stable_locked(engine, majority.ts, &err) != HF_ERR_OK) {
        hf_log_error(engine->log, "engine.stable_failed", HF_STR("error", err.message));
    }
    hf_cond_broadcast(&engine->changed);
}

struct hf_sandbox_optime hf_sandbox_engine_applied(struct hf_sandbox_engine *engine)
{
    HF_LOCKED(&engine->state);
    return engine->applied;
}

struct hf_sandbox_optime hf_sandbox_engine_durable(struct hf_sandbox_engine *engine)
{
    HF_LOCKED(&engine->state);
    return engine->durable;
}

struct hf_sandbox_optime hf_sandbox_engine_majority(struct hf_sandbox_engine *engine)
{
    HF_LOCKED(&engine->state);
    return engine->majority;
}

bool hf_sandbox_engine_wait_oplog(struct hf_sandbox_engine *engine, uint64_t after_ts,
                                  uint64_t known_majority_ts, uint64_t timeout_ms,
                                  const struct hf_cancel *cancel)
{
    uint64_t deadline = hf_clock_mono_ms() + timeout_ms;

    HF_LOCKED(&engine->state);
    for (;;) {
        uint64_t now = hf_clock_mono_ms();

        if (engine->applied.ts > after_ts || engine->majority.ts > known_majority_ts) {
            return true;
        }
        if (now >= deadline || hf_cancel_requested(cancel)) {
            return false;
        }
        /* Cancellation does not signal: look at it now and then. */
        (void)hf_cond_wait_for(&engine->changed, &engine->state,
                               deadline - now < 50 ? deadline - now : 50);
    }
}

/* ---- Flushes and checkpoints ---- */

/* Serves all who have asked up to now. A primary notes up to where its oplog is whole before it
 * makes it durable: what a crash leaves after that is cut. */
static enum hf_err flush_locked(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    struct hf_sandbox_optime upto;
    WT_SESSION *session;
    uint64_t asked;
    bool note;
    int code;

    hf_mutex_lock(&engine->state);
    asked = engine->flush_asked;
    upto = engine->applied;
    note = engine->accepts_writes && engine->options.replicated && engine->fsync_locks == 0 &&
           upto.ts > engine->durable.ts;
    hf_mutex_unlock(&engine->state);
    if ((note && hf_sandbox_local_set_truncate_after(engine, upto.ts, err) != HF_ERR_OK) ||
        hf_sandbox_session_take(engine, &session, err) != HF_ERR_OK) {
        return err->code;
    }
    code = session->log_flush(session, "sync=on");
    hf_sandbox_session_give(engine, session);
    if (code == 0) {
        HF_LOCKED(&engine->state);
        engine->flush_done = asked;
        engine->durable = upto.ts > engine->durable.ts ? upto : engine->durable;
        hf_cond_broadcast(&engine->changed);
    }
    return hf_sandbox_wt(err, code, "flush the journal");
}

/* A flush under way may have begun before the caller's write: one that begins later counts. */
enum hf_err hf_sandbox_engine_flush(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    uint64_t mine;

    hf_mutex_lock(&engine->state);
    mine = ++engine->flush_asked;
    hf_mutex_unlock(&engine->state);
    hf_error_clear(err);
    HF_LOCKED(&engine->flush);
    return engine->flush_done >= mine ? HF_ERR_OK : flush_locked(engine, err);
}

static enum hf_err checkpoint_locked(struct hf_sandbox_engine *engine, bool stable,
                                     struct hf_error *err)
{
    WT_SESSION *session;
    char text[32] = "0";
    int code;

    if (hf_sandbox_sizes_store(engine, err) != HF_ERR_OK ||
        hf_sandbox_session_take(engine, &session, err) != HF_ERR_OK) {
        return err->code;
    }
    code = session->checkpoint(session, stable ? "use_timestamp=true" : "use_timestamp=false");
    hf_sandbox_session_give(engine, session);
    if (code == 0) {
        /* Fails while there has been no stable time. */
        (void)engine->connection->query_timestamp(engine->connection, text, "get=last_checkpoint");
        HF_LOCKED(&engine->state);
        engine->checkpoint_ts = strtoull(text, NULL, 16);
    }
    return hf_sandbox_wt(err, code, "checkpoint");
}

enum hf_err hf_sandbox_engine_checkpoint(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    size_t drops;

    hf_mutex_lock(&engine->checkpoint);
    hf_mutex_lock(&engine->catalog);
    drops = engine->drop_count;
    hf_mutex_unlock(&engine->catalog);
    if (checkpoint_locked(engine, true, err) == HF_ERR_OK) {
        hf_sandbox_drop_pending(engine, drops);
    }
    hf_mutex_unlock(&engine->checkpoint);
    return err->code;
}

static void keeper_run(void *argument)
{
    struct hf_sandbox_engine *engine = argument;
    uint64_t every = engine->options.checkpoint_every_ms;
    uint64_t next = every == 0 ? UINT64_MAX : hf_clock_mono_ms() + every;

    for (;;) {
        struct hf_error err;
        bool behind;

        hf_cancel_sleep(&engine->stopping, KEEPER_TICK_MS);
        if (hf_cancel_requested(&engine->stopping)) {
            return;
        }
        hf_mutex_lock(&engine->state);
        behind = engine->applied.ts > engine->durable.ts;
        hf_mutex_unlock(&engine->state);
        hf_error_clear(&err);
        if (behind) {
            hf_sandbox_ignore(hf_sandbox_engine_flush(engine, &err));
        }
        if (err.code == HF_ERR_OK && hf_clock_mono_ms() >= next) {
            next = hf_clock_mono_ms() + every;
            hf_sandbox_ignore(hf_sandbox_engine_checkpoint(engine, &err));
        }
        if (err.code == HF_ERR_OK) {
            hf_sandbox_ignore(hf_sandbox_oplog_keep_cap(engine, &err));
        }
        if (err.code != HF_ERR_OK && err.code != HF_ERR_CONFLICT) {
            hf_log_error(engine->log, "engine.keeper_failed", HF_STR("error", err.message));
        }
    }
}

/* ---- fsync lock ---- */

int32_t hf_sandbox_engine_fsync_lock(struct hf_sandbox_engine *engine, int64_t *count,
                                     struct hf_sandbox_refusal *no)
{
    struct hf_error err;

    if (hf_sandbox_backup_is_open(engine)) {
        return hf_sandbox_refuse(
            no, 50884, "The existing backup cursor must be closed before fsyncLock can succeed.");
    }
    hf_mutex_lock(&engine->state);
    engine->fsync_locks++;
    while (engine->writers > 0) {
        hf_cond_wait(&engine->changed, &engine->state);
    }
    *count = engine->fsync_locks;
    hf_mutex_unlock(&engine->state);
    if (hf_sandbox_engine_flush(engine, &err) != HF_ERR_OK ||
        hf_sandbox_engine_checkpoint(engine, &err) != HF_ERR_OK) {
        (void)hf_sandbox_engine_fsync_unlock(engine, count, no);
        return hf_sandbox_refuse(no, HF_SANDBOX_UNKNOWN_ERROR, "%s", err.message);
    }
    return 0;
}

int32_t hf_sandbox_engine_fsync_unlock(struct hf_sandbox_engine *engine, int64_t *count,
                                       struct hf_sandbox_refusal *no)
{
    HF_LOCKED(&engine->state);
    if (engine->fsync_locks == 0) {
        return hf_sandbox_refuse(no, -1, "fsyncUnlock called when not locked");
    }
    *count = --engine->fsync_locks;
    hf_cond_broadcast(&engine->changed);
    return 0;
}

bool hf_sandbox_engine_fsync_locked(struct hf_sandbox_engine *engine)
{
    HF_LOCKED(&engine->state);
    return engine->fsync_locks > 0;
}

/* ---- Facts ---- */

bool hf_sandbox_engine_read_only(const struct hf_sandbox_engine *engine)
{
    return engine->read_only;
}

bool hf_sandbox_engine_replicated(const struct hf_sandbox_engine *engine)
{
    return engine->options.replicated;
}

void hf_sandbox_engine_status(struct hf_sandbox_engine *engine,
                              struct hf_sandbox_engine_status *out)
{
    hf_mutex_lock(&engine->checkpoint);
    out->backup_open = engine->backup.open;
    out->oldest_required_ts = engine->backup.open ? engine->backup.pinned_ts : 0;
    hf_mutex_unlock(&engine->checkpoint);
    hf_mutex_lock(&engine->catalog);
    out->drop_pending = engine->drop_count;
    hf_mutex_unlock(&engine->catalog);
    hf_mutex_lock(&engine->state);
    out->stable_checkpoint_ts = engine->checkpoint_ts;
    if (out->oldest_required_ts == 0) {
        out->oldest_required_ts = engine->checkpoint_ts;
    }
    hf_mutex_unlock(&engine->state);
}

void hf_sandbox_uuid_make(uint8_t out[HF_SANDBOX_UUID_BYTES])
{
    hf_random_bytes(out, HF_SANDBOX_UUID_BYTES);
    out[6] = (uint8_t)((out[6] & 0x0f) | 0x40);
    out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
}

/* ---- Opening and closing ---- */

static int on_error(WT_EVENT_HANDLER *handler, WT_SESSION *session, int code, const char *message)
{
    const struct hf_sandbox_engine *engine =
        (struct hf_sandbox_engine *)((char *)handler - offsetof(struct hf_sandbox_engine, events));

    (void)session;
    hf_log_error(engine->log, "engine.wiredtiger", HF_STR("message", message));
    if (code == WT_PANIC) {
        abort(); /* the engine is beyond use; recovery is the next start */
    }
    return 0;
}

/* Written once, as mongod does: no backup cursor lists it. */
static enum hf_err write_storage_bson(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = hf_path_join(engine->dbpath, "storage.bson");
    HF_CLEANUP(bson_destroy)
    bson_t *doc = BCON_NEW("storage", "{", "engine", "wiredTiger", "options", "{", "directoryPerDB",
                           BCON_BOOL(false), "directoryForIndexes", BCON_BOOL(false),
                           "groupCollections", BCON_BOOL(false), "}", "}");

    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "write storage.bson");
    }
    if (hf_fs_publish_new(path, hf_bytes_of(bson_get_data(doc), doc->len), 0600, err) ==
        HF_ERR_EXISTS) {
        return HF_ERR_OK;
    }
    return err->code;
}

static enum hf_err open_directory(struct hf_sandbox_engine *engine, const char *dbpath,
                                  struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *journal = NULL;
    HF_CLEANUP(hf_free) char *lock = NULL;

    if (hf_path_real(dbpath, &engine->dbpath, err) != HF_ERR_OK) {
        return hf_wrap(err, "data directory %s", dbpath);
    }
    lock = hf_path_join(engine->dbpath, "mongod.lock");
    journal = hf_path_join(engine->dbpath, "journal");
    if (lock == NULL || journal == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "open %s", dbpath);
    }
    return hf_fs_make_dirs(journal, 0700, err) != HF_ERR_OK
               ? err->code
               : hf_lock_file_take(lock, &engine->lock, err);
}

static enum hf_err open_connection(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    const struct hf_sandbox_engine_options *options = &engine->options;
    char config[512];

    (void)snprintf(config, sizeof config,
                   "create,cache_size=%" PRIu64 ",session_max=4000,config_base=false,"
                   "log=(enabled=true,archive=true,path=journal,prealloc=false,compressor=snappy,"
                   "file_max=%" PRIu64 "),extensions=[libwiredtiger_snappy.so],statistics=(none)",
                   options->cache_bytes == 0 ? DEFAULT_CACHE_BYTES : options->cache_bytes,
                   options->log_file_bytes == 0 ? DEFAULT_LOG_FILE_BYTES : options->log_file_bytes);
    engine->events.handle_error = on_error;
    return hf_sandbox_wt(
        err, wiredtiger_open(engine->dbpath, &engine->events, config, &engine->connection),
        engine->dbpath);
}

static void free_engine(struct hf_sandbox_engine *engine)
{
    hf_sandbox_catalog_fini(engine);
    hf_lock_file_drop(engine->lock);
    hf_cond_fini(&engine->changed);
    hf_mutex_fini(&engine->checkpoint);
    hf_mutex_fini(&engine->flush);
    hf_mutex_fini(&engine->catalog);
    hf_mutex_fini(&engine->state);
    bson_destroy(engine->backup.names);
    hf_free(engine->sessions);
    hf_free(engine->dbpath);
    hf_free(engine);
}

/* The time of the checkpoint the files stand at is the stable time until a majority point is known:
 * a plain start and stop leaves a copy as restorable as it was. */
static enum hf_err start_history(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    char text[32] = "0";
    int code = engine->connection->query_timestamp(engine->connection, text, "get=recovery");

    engine->checkpoint_ts = strtoull(text, NULL, 16);
    return code != 0 || engine->checkpoint_ts == 0
               ? hf_sandbox_wt(err, code, "ask for the recovery time")
               : hf_sandbox_engine_set_stable(engine, engine->checkpoint_ts, err);
}

enum hf_err hf_sandbox_engine_open(const struct hf_sandbox_engine_options *options,
                                   struct hf_sandbox_engine **out, struct hf_error *err)
{
    struct hf_sandbox_engine *engine = hf_alloc_zero(sizeof *engine);
    uint64_t suffix;

    if (engine == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "open %s", options->dbpath);
    }
    engine->options = *options;
    engine->options.dbpath = NULL;
    engine->log = options->log;
    engine->applied = engine->durable = engine->majority = HF_SANDBOX_OPTIME_NONE;
    engine->accepts_writes = !options->replicated;
    engine->term = -1;
    hf_random_bytes(&suffix, sizeof suffix);
    (void)snprintf(engine->ident_suffix, sizeof engine->ident_suffix, "%" PRId64, (int64_t)suffix);
    hf_mutex_init(&engine->checkpoint);
    hf_mutex_init(&engine->flush);
    hf_mutex_init(&engine->catalog);
    hf_mutex_init(&engine->state);
    hf_cond_init(&engine->changed);
    if (open_directory(engine, options->dbpath, err) == HF_ERR_OK &&
        open_connection(engine, err) == HF_ERR_OK && start_history(engine, err) == HF_ERR_OK &&
        hf_sandbox_catalog_load(engine, err) == HF_ERR_OK &&
        hf_sandbox_recover(engine, err) == HF_ERR_OK &&
        write_storage_bson(engine, err) == HF_ERR_OK &&
        hf_thread_start("keeper", keeper_run, engine, &engine->keeper, err) == HF_ERR_OK) {
        *out = engine;
        return HF_ERR_OK;
    }
    /* Not a clean stop: the data stay as the last checkpoint has them. */
    if (engine->connection != NULL) {
        (void)engine->connection->close(engine->connection, NULL);
    }
    free_engine(engine);
    return err->code;
}

enum hf_err hf_sandbox_engine_close(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    bool stable = !(engine->read_only && engine->options.unstable_checkpoint);
    int code;

    hf_cancel_request(&engine->stopping);
    hf_thread_join(engine->keeper);
    if (engine->backup.open) {
        uint8_t id[HF_SANDBOX_UUID_BYTES];

        memcpy(id, engine->backup.id, sizeof id);
        hf_sandbox_backup_close(engine, id);
    }
    if (hf_sandbox_engine_flush(engine, err) == HF_ERR_OK) {
        (void)checkpoint_locked(engine, stable, err);
    }
    code = engine->connection->close(engine->connection,
                                     stable ? "use_timestamp=true" : "use_timestamp=false");
    if (err->code == HF_ERR_OK) {
        (void)hf_sandbox_wt(err, code, "close");
    }
    free_engine(engine);
    return err->code;
}
