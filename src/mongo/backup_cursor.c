/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of one backup cursor.
 *
 *   PREPARED --open--> OPEN --close--> CLOSED      open:   open_with_patience, read_documents
 *           \--open--> UNSURE --close--> CLOSED    close:  close_once, until it is known to be closed
 *
 * UNSURE: the connection broke while the server may have been opening. A cursor that is LOST is noted by the keeper
 * (keep_alive) and still has to be closed.
 *
 * From open to close a thread of the object's own, the keeper, is the only one that talks over its client; others
 * ask it through the condition. It must not know what becomes of the files.
 */
#include "mongo/backup_cursor.h"

#include <string.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "mongo/backup_internal.h"
#include "mongo/oplog.h"
#include "os/clock.h"

#define DEFAULT_TRIES 10
#define DEFAULT_PATIENCE_MS 120000
#define DEFAULT_FILE_LIMIT 10000000
/* What a server has when nobody changed it. */
#define DEFAULT_CURSOR_TIMEOUT_MS 600000
#define BATCH_DOCUMENTS 1000
/* While the server cannot be reached. The driver itself looks no more often than every 5 s. */
#define RETRY_MS 1000
#define CLOSE_TRIES 6
#define PING_LIMIT_MS 30000

enum phase { PREPARED, OPEN, UNSURE, CLOSED };

struct hf_mongo_backup {
    struct hf_mongo_client *client;  /* owned; the keeper's while it runs, else the caller's */
    struct hf_mongo_session session; /* goes with client */
    struct hf_log *log;              /* borrowed: outlives us */
    char lsid[HF_MONGO_LSID_BYTES];
    uint32_t tries, patience_ms;
    uint64_t interval_ms, cursor_timeout_ms;
    enum phase phase;
    bool close_failed; /* the next close tries once, not with patience */
    int64_t cursor_id;
    struct hf_mongo_listing listing;
    struct hf_thread *keeper; /* owned; NULL when it does not run */
    struct hf_mutex mutex;    /* guards: everything below */
    struct hf_cond changed;
    bool stop;                /* the keeper shall end, for a while or for good */
    bool serving;             /* between open and close: pings will be answered */
    uint64_t asked, answered; /* a ping waits until answered reaches its asked */
    struct hf_error trouble;  /* of the newest try; OK when it went well */
    struct hf_error lost;     /* OK while alive */
};

uint64_t hf_mongo_keep_alive_ms(uint64_t cursor_timeout_ms)
{
    if (cursor_timeout_ms == 0) {
        return 5000;
    }
    uint64_t tenth = cursor_timeout_ms / 10;
    return tenth > 30000 ? 30000 : tenth < 200 ? 200 : tenth;
}

/* ---- Preparing ---- */

static enum hf_err start_session(struct hf_mongo_backup *backup, struct hf_error *err)
{
    if (hf_mongo_session_start(backup->client, &backup->session, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_hex_encode(hf_bytes_of(backup->session.id, sizeof backup->session.id), backup->lsid);
    return HF_ERR_OK;
}

enum hf_err hf_mongo_backup_prepare(const struct hf_mongo_backup_options *options,
                                    struct hf_mongo_backup **out, struct hf_error *err)
{
    struct hf_mongo_backup *object = hf_alloc_zero(sizeof *object);

    if (object == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "prepare a backup cursor");
    }
    hf_mutex_init(&object->mutex);
    hf_cond_init(&object->changed);
    HF_CLEANUP(hf_mongo_backup_destroy) struct hf_mongo_backup *backup = object;
    backup->log = options->log;
    backup->tries = options->tries != 0 ? options->tries : DEFAULT_TRIES;
    backup->patience_ms = options->patience_ms != 0 ? options->patience_ms : DEFAULT_PATIENCE_MS;
    backup->interval_ms = hf_mongo_keep_alive_ms(options->cursor_timeout_ms);
    backup->cursor_timeout_ms =
        options->cursor_timeout_ms != 0 ? options->cursor_timeout_ms : DEFAULT_CURSOR_TIMEOUT_MS;
    backup->listing.limit = options->file_limit != 0 ? options->file_limit : DEFAULT_FILE_LIMIT;
    if (hf_mongo_client_open(options->client, &backup->client, err) != HF_ERR_OK ||
        start_session(backup, err) != HF_ERR_OK) {
        return hf_wrap(err, "prepare a backup cursor");
    }
    *out = HF_TAKE(backup);
    return HF_ERR_OK;
}

const char *hf_mongo_backup_lsid(const struct hf_mongo_backup *backup)
{
    return backup->lsid;
}

const struct hf_mongo_backup_metadata *
hf_mongo_backup_metadata(const struct hf_mongo_backup *backup)
{
    return &backup->listing.metadata;
}

const struct hf_mongo_backup_file *hf_mongo_backup_files(const struct hf_mongo_backup *backup,
                                                         size_t *count)
{
    *count = backup->listing.count;
    return backup->listing.files;
}

/* ---- Keeping alive ---- */

static enum hf_err get_more(struct hf_mongo_backup *backup, bson_t *reply, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;

    /* Never maxTimeMS: the cursor is tailable but waits for no data, the server refuses it (observed 1). */
    (void)BSON_APPEND_INT64(&command, "getMore", backup->cursor_id);
    (void)BSON_APPEND_UTF8(&command, "collection", "$cmd.aggregate");
    (void)BSON_APPEND_INT32(&command, "batchSize", BATCH_DOCUMENTS);
    bson_destroy(reply);
    if (hf_mongo_command(backup->client, "admin", &command, &backup->session, reply, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    if (hf_mongo_get_int(reply, "cursor.id", 0) != backup->cursor_id) {
        return hf_fail(err, HF_ERR_LOST, "%s: the server ended the backup cursor",
                       backup->client->host);
    }
    return HF_ERR_OK;
}

static enum hf_err ask_once(struct hf_mongo_backup *backup, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;

    if (HF_FAULT("mongo.backup.ping", err) != HF_ERR_OK) {
        return err->code;
    }
    return get_more(backup, &reply, err);
}

/* Records an answer of the server, or its silence. False when there is nothing left to keep alive. */
static bool take_answer(struct hf_mongo_backup *backup, uint64_t target, uint64_t silent_ms,
                        const struct hf_error *error)
{
    bool was_well;
    bool lost = false;

    hf_mutex_lock(&backup->mutex);
    was_well = backup->trouble.code == HF_ERR_OK;
    backup->trouble = *error;
    if (error->code == HF_ERR_OK) {
        backup->answered = target;
    } else if (!hf_err_retry(error->code)) {
        lost = true;
        (void)hf_fail(&backup->lost, HF_ERR_LOST, "backup cursor lost: %s", error->message);
    } else if (silent_ms > backup->cursor_timeout_ms) {
        lost = true;
        (void)hf_fail(&backup->lost, HF_ERR_LOST,
                      "backup cursor lost: no answer for %llu s, longer than it lives idle: %s",
                      (unsigned long long)(silent_ms / 1000), error->message);
    }
    hf_cond_broadcast(&backup->changed);
    hf_mutex_unlock(&backup->mutex);
    if (lost) {
        hf_log_warn(backup->log, "backup.cursor.lost", HF_STR("member", backup->client->host),
                    HF_STR("error", error->message));
    } else if (error->code != HF_ERR_OK && was_well) {
        hf_log_warn(backup->log, "backup.cursor.unreachable",
                    HF_STR("member", backup->client->host), HF_STR("error", error->message));
    }
    return !lost;
}

/* Waits for the next turn; false when the thread shall end. *target is the ping that the next answer is for. */
static bool wait_turn(struct hf_mongo_backup *backup, uint64_t due_ms, uint64_t *target)
{
    HF_LOCKED(&backup->mutex);

    for (;;) {
        uint64_t now = hf_clock_mono_ms();
        bool well = backup->trouble.code == HF_ERR_OK;

        if (backup->stop) {
            return false;
        }
        if (now >= due_ms || (well && backup->asked > backup->answered)) {
            *target = backup->asked;
            return true;
        }
        (void)hf_cond_wait_for(&backup->changed, &backup->mutex, due_ms - now);
    }
}

static void keep_alive(void *argument)
{
    struct hf_mongo_backup *backup = argument;
    uint64_t last_ok_ms = hf_clock_mono_ms();
    uint64_t due_ms = last_ok_ms + backup->interval_ms;
    uint64_t target = 0;

    while (wait_turn(backup, due_ms, &target)) {
        struct hf_error error = {.code = HF_ERR_OK};
        uint64_t retry_ms = backup->interval_ms < RETRY_MS ? backup->interval_ms : RETRY_MS;
        /* Counted from before the question: the server's clock starts when it answers, not later. */
        uint64_t asked_ms = hf_clock_mono_ms();

        if (ask_once(backup, &error) == HF_ERR_OK) {
            error.code = HF_ERR_OK;
            last_ok_ms = asked_ms;
        }
        uint64_t now = hf_clock_mono_ms();
        due_ms = now + (error.code == HF_ERR_OK ? backup->interval_ms : retry_ms);
        if (!take_answer(backup, target, now - last_ok_ms, &error)) {
            return;
        }
    }
}

static enum hf_err start_keeper(struct hf_mongo_backup *backup, struct hf_error *err)
{
    hf_mutex_lock(&backup->mutex);
    backup->stop = false;
    hf_mutex_unlock(&backup->mutex);
    return hf_thread_start("hf-cursor", keep_alive, backup, &backup->keeper, err);
}

static enum hf_err start_serving(struct hf_mongo_backup *backup, struct hf_error *err)
{
    hf_mutex_lock(&backup->mutex);
    backup->serving = true;
    hf_mutex_unlock(&backup->mutex);
    return start_keeper(backup, err);
}

static void stop_keeper(struct hf_mongo_backup *backup)
{
    if (backup->keeper == NULL) {
        return;
    }
    hf_mutex_lock(&backup->mutex);
    backup->stop = true;
    hf_cond_broadcast(&backup->changed);
    hf_mutex_unlock(&backup->mutex);
    hf_thread_join(HF_TAKE(backup->keeper));
}

enum hf_err hf_mongo_backup_alive(struct hf_mongo_backup *backup, struct hf_error *err)
{
    HF_LOCKED(&backup->mutex);

    if (backup->lost.code != HF_ERR_OK) {
        *err = backup->lost;
        return err->code;
    }
    return HF_ERR_OK;
}

enum hf_err hf_mongo_backup_ping(struct hf_mongo_backup *backup, struct hf_error *err)
{
    uint64_t deadline = hf_clock_mono_ms() + PING_LIMIT_MS;
    HF_LOCKED(&backup->mutex);

    uint64_t mine = ++backup->asked;
    hf_cond_broadcast(&backup->changed);
    for (;;) {
        uint64_t now = hf_clock_mono_ms();

        if (backup->lost.code != HF_ERR_OK) {
            *err = backup->lost;
            return err->code;
        }
        if (backup->answered >= mine) {
            return HF_ERR_OK;
        }
        if (now >= deadline || !backup->serving) {
            return backup->trouble.code != HF_ERR_OK
                       ? hf_fail(err, HF_ERR_UNAVAILABLE, "backup cursor: %s",
                                 backup->trouble.message)
                       : hf_fail(err, HF_ERR_UNAVAILABLE, "backup cursor: %s",
                                 backup->serving ? "no answer within 30 s" : "it is not open");
        }
        (void)hf_cond_wait_for(&backup->changed, &backup->mutex, deadline - now);
    }
}

/* ---- Opening ---- */

/* On success the cursor is open and its first documents are in the listing. *code is the server's. */
static enum hf_err open_once(struct hf_mongo_backup *backup, int64_t *code, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    size_t added = 0;

    *code = 0;
    if (HF_FAULT("mongo.backup.open", err) != HF_ERR_OK) {
        return err->code;
    }
    bson_destroy(&command);
    /* Never incrementalBackup without thisBackupName: the server aborts (observed 1). */
    if (hf_mongo_json_to_bson("{\"aggregate\": 1, \"pipeline\": [{\"$backupCursor\": {}}], "
                              "\"cursor\": {\"batchSize\": 1000}}",
                              &command, err) != HF_ERR_OK) {
        return err->code;
    }
    bson_destroy(&reply);
    if (hf_mongo_command(backup->client, "admin", &command, &backup->session, &reply, err) !=
        HF_ERR_OK) {
        *code = hf_mongo_reply_code(&reply);
        return err->code;
    }
    backup->cursor_id = hf_mongo_get_int(&reply, "cursor.id", 0);
    if (backup->cursor_id == 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s: $backupCursor: a reply without a cursor",
                       backup->client->host);
    }
    backup->phase = OPEN;
    return hf_mongo_listing_add_reply(&backup->listing, &reply, &added, err);
}

static enum hf_err read_documents(struct hf_mongo_backup *backup, const struct hf_cancel *cancel,
                                  struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    unsigned empty_batches = 0;

    if (HF_FAULT("mongo.backup.read", err) != HF_ERR_OK) {
        return err->code;
    }
    /* The cursor is tailable: the first empty batch is the end, its id stays (mechanics 3.5). */
    while (empty_batches == 0) {
        size_t added = 0;

        if (hf_cancel_check(cancel, err) != HF_ERR_OK ||
            get_more(backup, &reply, err) != HF_ERR_OK ||
            hf_mongo_listing_add_reply(&backup->listing, &reply, &added, err) != HF_ERR_OK) {
            return err->code;
        }
        empty_batches += added == 0;
    }
    return hf_mongo_listing_finish(&backup->listing, err);
}

/* Whose cursor it is, added to the refusal; rights may not allow to know. */
static enum hf_err fail_busy(struct hf_mongo_backup *backup, struct hf_error *err)
{
    struct hf_mongo_cursor_seen seen;
    struct hf_error ignored;
    bool found = false;
    char text[512] = "whose it is could not be found";
    struct hf_error refusal = *err;

    if (hf_mongo_find_backup_cursor(backup->client, NULL, &seen, &found, &ignored) == HF_ERR_OK &&
        found) {
        hf_mongo_describe_cursor(&seen, text, sizeof text);
    }
    return hf_fail(err, HF_ERR_BUSY, "waited %u s: %s (%s)", backup->patience_ms / 1000,
                   refusal.message, text);
}

static enum hf_err open_with_patience(struct hf_mongo_backup *backup,
                                      const struct hf_cancel *cancel, struct hf_error *err)
{
    uint64_t give_up_ms = hf_clock_mono_ms() + backup->patience_ms;
    uint64_t tried = 0;

    for (uint64_t round = 1;; round++) {
        int64_t code = 0;
        struct hf_error stop;

        enum hf_err result = open_once(backup, &code, err);
        if (result == HF_ERR_OK || backup->phase == OPEN) {
            return result;
        }
        if (hf_err_retry(result) && code == 0) {
            /* It must not keep a cursor that nobody here has seen: the caller of us closes. */
            backup->phase = UNSURE;
            return result;
        }
        if (result == HF_ERR_BUSY) {
            if (hf_clock_mono_ms() >= give_up_ms) {
                return fail_busy(backup, err);
            }
        } else if (result != HF_ERR_UNAVAILABLE || ++tried >= backup->tries) {
            return result == HF_ERR_UNAVAILABLE ? hf_wrap(err, "tried %u times", backup->tries)
                                                : result;
        }
        hf_log_info(backup->log, "backup.cursor.retry", HF_STR("member", backup->client->host),
                    HF_U64("code", (uint64_t)code), HF_U64("round", round));
        /* 1, 2, 3... s; another's cursor is looked at no less often than every 5 s. */
        uint64_t sleep_s = result == HF_ERR_BUSY && round > 5 ? 5 : round;
        hf_cancel_sleep(cancel, sleep_s * 1000);
        if (hf_cancel_check(cancel, &stop) != HF_ERR_OK) {
            return hf_fail(err, stop.code, "%s while waiting: %s", stop.message, err->message);
        }
    }
}

enum hf_err hf_mongo_backup_open(struct hf_mongo_backup *backup, const struct hf_cancel *cancel,
                                 struct hf_error *err)
{
    struct hf_error ignored;

    HF_ASSERT(backup->phase == PREPARED);
    if (hf_cancel_check(cancel, err) != HF_ERR_OK ||
        open_with_patience(backup, cancel, err) != HF_ERR_OK ||
        read_documents(backup, cancel, err) != HF_ERR_OK ||
        start_serving(backup, err) != HF_ERR_OK) {
        /* The first error is the one that counts; close logs its own. */
        (void)!hf_mongo_backup_close(backup, &ignored);
        return hf_wrap(err, "open the backup cursor");
    }
    hf_log_info(backup->log, "backup.cursor.open", HF_STR("member", backup->client->host),
                HF_STR("session", backup->lsid), HF_U64("files", backup->listing.count));
    return HF_ERR_OK;
}

/* ---- Extending ---- */

struct extend_visit {
    struct hf_mongo_backup_names *names;
    const char *dbpath;
};

static enum hf_err visit_extend(void *argument, const bson_t *document, struct hf_error *err)
{
    struct extend_visit *visit = argument;

    return hf_mongo_names_add(visit->names, visit->dbpath, document, err);
}

static enum hf_err run_extend(struct hf_mongo_backup *backup, struct hf_mongo_ts ts,
                              struct hf_mongo_backup_names *out, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    struct hf_mongo_optime majority;
    struct extend_visit visit = {.names = out, .dbpath = backup->listing.metadata.dbpath};
    bson_t pipeline;
    bson_t stage;
    bson_t options;
    bson_t cursor;

    if (hf_mongo_last_write(backup->client, NULL, &majority, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_mongo_ts_compare(ts, majority.ts) > 0) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "%s: (%u, %u) is not majority committed yet, only (%u, %u)",
                       backup->client->host, ts.seconds, ts.increment, majority.ts.seconds,
                       majority.ts.increment);
    }
    /* Never maxTimeMS: when it expires in the server's wait, the server aborts (observed 2). */
    (void)BSON_APPEND_INT32(&command, "aggregate", 1);
    (void)BSON_APPEND_ARRAY_BEGIN(&command, "pipeline", &pipeline);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&pipeline, "0", &stage);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&stage, "$backupCursorExtend", &options);
    (void)BSON_APPEND_BINARY(&options, "backupId", BSON_SUBTYPE_UUID,
                             backup->listing.metadata.backup_id, 16);
    (void)BSON_APPEND_TIMESTAMP(&options, "timestamp", ts.seconds, ts.increment);
    (void)bson_append_document_end(&stage, &options);
    (void)bson_append_document_end(&pipeline, &stage);
    (void)bson_append_array_end(&command, &pipeline);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&command, "cursor", &cursor);
    (void)bson_append_document_end(&command, &cursor);
    return hf_mongo_walk(backup->client, "admin", &command, visit_extend, &visit, err);
}

enum hf_err hf_mongo_backup_extend(struct hf_mongo_backup *backup, struct hf_mongo_ts ts,
                                   struct hf_mongo_backup_names *out, struct hf_error *err)
{
    struct hf_error second;

    *out = (struct hf_mongo_backup_names){.paths = NULL};
    if (hf_mongo_backup_alive(backup, err) != HF_ERR_OK) {
        return hf_wrap(err, "extend");
    }
    HF_ASSERT(backup->phase == OPEN);
    stop_keeper(backup);
    enum hf_err result = run_extend(backup, ts, out, err);
    if (start_keeper(backup, &second) != HF_ERR_OK && result == HF_ERR_OK) {
        *err = second;
        result = second.code;
    }
    if (result != HF_ERR_OK) {
        hf_mongo_backup_names_fini(out);
        return hf_wrap(err, "extend");
    }
    return HF_ERR_OK;
}

/* ---- Closing ---- */

static enum hf_err close_once(struct hf_mongo_backup *backup, struct hf_error *err)
{
    bool found = false;

    if (HF_FAULT("mongo.backup.close", err) != HF_ERR_OK) {
        return err->code;
    }
    return backup->phase == UNSURE
               ? hf_mongo_backup_close_leftover(backup->client, backup->lsid, &found, err)
               : hf_mongo_kill_cursor(backup->client, &backup->session, backup->cursor_id, err);
}

enum hf_err hf_mongo_backup_close(struct hf_mongo_backup *backup, struct hf_error *err)
{
    enum hf_err result = HF_ERR_OK;
    unsigned tries = backup->close_failed ? 1 : CLOSE_TRIES;

    stop_keeper(backup);
    hf_mutex_lock(&backup->mutex);
    backup->serving = false;
    hf_cond_broadcast(&backup->changed);
    hf_mutex_unlock(&backup->mutex);
    if (backup->phase == PREPARED || backup->phase == CLOSED) {
        return HF_ERR_OK;
    }
    for (unsigned i = 0; i < tries; i++) {
        if (i > 0) {
            hf_cancel_sleep(NULL, 2 * RETRY_MS);
        }
        result = close_once(backup, err);
        if (!hf_err_retry(result)) {
            break;
        }
    }
    if (result == HF_ERR_OK || result == HF_ERR_LOST) {
        backup->phase = CLOSED;
        hf_log_info(backup->log, "backup.cursor.closed", HF_STR("member", backup->client->host),
                    HF_STR("session", backup->lsid));
        return result == HF_ERR_OK ? result : hf_wrap(err, "close the backup cursor");
    }
    backup->close_failed = true;
    hf_log_warn(backup->log, "backup.cursor.not_closed", HF_STR("member", backup->client->host),
                HF_STR("session", backup->lsid), HF_STR("error", err->message));
    return hf_wrap(err, "close the backup cursor");
}

void hf_mongo_backup_destroy(struct hf_mongo_backup *backup)
{
    struct hf_error ignored;

    if (backup == NULL) {
        return;
    }
    /* Logged by close; the session id that the caller noted finds the cursor again. */
    (void)!hf_mongo_backup_close(backup, &ignored);
    hf_mongo_session_fini(&backup->session);
    hf_mongo_client_close(backup->client);
    hf_mongo_listing_fini(&backup->listing);
    hf_cond_fini(&backup->changed);
    hf_mutex_fini(&backup->mutex);
    hf_free(backup);
}
