/* SPDX-License-Identifier: Apache-2.0 */
/*
 * $backupCursor and $backupCursorExtend as the real server answers them, with its deaths.
 *
 * The engine's backup cursor stays open on a session of its own: while it is, the files of the last checkpoint keep
 * the bytes that matter, journal files and dropped tables stay. Who may ask, and how the documents travel, is not known
 * here. Incremental options are taken and checked, yet every backup is whole: the real build does no better.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "os/clock.h"
#include "os/fs.h"
#include "sandbox/engine_internal.h"
#include "sandbox/value.h"

#define NOT_OPEN "Cannot extend backup cursor because backup cursor is not open"

/* ---- Reading a stage ---- */

/* What either stage takes; a value that was not given is missing. */
struct option {
    const char *name, *type_name;
    bson_type_t type;
    bson_value_t value; /* in the request */
};

#define OPTION(key, shown, kind)                                                                   \
    {                                                                                              \
        .name = (key), .type_name = (shown), .type = BSON_TYPE_##kind                              \
    }

static int32_t read_options(const char *stage, const bson_value_t *spec, struct option *options,
                            size_t count, struct hf_sandbox_refusal *no)
{
    bson_t doc;

    if (spec->value_type != BSON_TYPE_DOCUMENT || !hf_sandbox_value_doc(spec, &doc)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_FAILED_TO_PARSE,
                                 "%s parameters must be specified in an object, but found: %s",
                                 stage, hf_sandbox_type_name(spec->value_type));
    }
    HF_SANDBOX_EACH (iter, &doc, true) {
        const bson_value_t value = *bson_iter_value(&iter);
        const char *key = bson_iter_key(&iter);
        size_t at = 0;

        while (at < count && strcmp(options[at].name, key) != 0) {
            at++;
        }
        if (at == count) {
            return hf_sandbox_refuse(no, HF_SANDBOX_FAILED_TO_PARSE,
                                     "Unrecognized option '%s' in %s stage", key, stage);
        }
        /* A date is taken for a Timestamp, raw. */
        if (value.value_type != options[at].type &&
            (options[at].type != BSON_TYPE_TIMESTAMP || value.value_type != BSON_TYPE_DATE_TIME)) {
            return hf_sandbox_refuse(no, HF_SANDBOX_TYPE_MISMATCH,
                                     "The '%s' parameter of the %s stage must be a %s value, but "
                                     "found: %s",
                                     key, stage, options[at].type_name,
                                     hf_sandbox_type_name(value.value_type));
        }
        options[at].value = value;
    }
    return 0;
}

static const char *text_of(const struct option *option)
{
    return option->value.value_type == BSON_TYPE_UTF8 ? option->value.value.v_utf8.str : NULL;
}

struct request {
    bool disable_incremental;
    const char *this_name, *source_name; /* in the request */
};

static int32_t read_open(const bson_value_t *spec, struct request *out,
                         struct hf_sandbox_refusal *no)
{
    struct option options[] = {
        OPTION("incrementalBackup", "bool", BOOL), OPTION("disableIncrementalBackup", "bool", BOOL),
        OPTION("blockSize", "int", INT32), OPTION("thisBackupName", "string", UTF8),
        OPTION("srcBackupName", "string", UTF8)};
    bool incremental;

    if (read_options("$backupCursor", spec, options, HF_ARRAY_LEN(options), no) != 0) {
        return no->code;
    }
    incremental = hf_sandbox_is_true(&options[0].value);
    *out = (struct request){.disable_incremental = hf_sandbox_is_true(&options[1].value),
                            .this_name = text_of(&options[3]),
                            .source_name = text_of(&options[4])};
    if (incremental && out->disable_incremental) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INVALID_OPTIONS,
                                 "'incrementalBackup' and 'disableIncrementalBackup' parameters "
                                 "are mutually exclusive. Cannot enable both");
    }
    if (!incremental && (out->this_name != NULL || out->source_name != NULL)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INVALID_OPTIONS,
                                 "'thisBackupName' and 'srcBackupName' parameters are only allowed "
                                 "when 'incrementalBackup' is true");
    }
    if (incremental && out->this_name == NULL) {
        abort(); /* as the real server does (observed 1) */
    }
    return 0;
}

/* ---- Names of incremental backups ---- */

static bool knows_name(const struct hf_sandbox_backup *backup, const char *name)
{
    bson_iter_t iter;

    return name != NULL && backup->names != NULL && bson_iter_init_find(&iter, backup->names, name);
}

static int32_t check_names(const struct hf_sandbox_backup *backup, const struct request *request,
                           struct hf_sandbox_refusal *no)
{
    if (request->source_name != NULL && !knows_name(backup, request->source_name)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_UNKNOWN_ERROR, "2: No such file or directory");
    }
    return knows_name(backup, request->this_name)
               ? hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "22: Invalid argument")
               : 0;
}

static void note_names(struct hf_sandbox_backup *backup, const struct request *request)
{
    if (backup->names == NULL || request->disable_incremental) {
        bson_destroy(backup->names);
        backup->names = bson_new();
    }
    if (request->this_name != NULL) {
        (void)BSON_APPEND_BOOL(backup->names, request->this_name, true);
    }
}

/* ---- Opening ---- */

static void append_doc(bson_t *docs, uint32_t at, const bson_t *doc)
{
    char text[16];
    const char *key;

    (void)bson_uint32_to_string(at, &key, text, sizeof text);
    (void)bson_append_document(docs, key, -1, doc);
}

static int32_t wiredtiger_error(int code, struct hf_sandbox_refusal *no)
{
    return code == 0 ? 0
                     : hf_sandbox_refuse(no, HF_SANDBOX_UNKNOWN_ERROR, "%d: %s", code,
                                         wiredtiger_strerror(code));
}

/* Journal files are named without their folder. Array keys are counted here: thousands of files. */
static int32_t append_files(struct hf_sandbox_engine *engine, WT_CURSOR *cursor, bool sizes,
                            bson_t *docs, struct hf_sandbox_refusal *no)
{
    uint32_t at = bson_count_keys(docs);
    const char *name;
    int code;

    while ((code = cursor->next(cursor)) == 0 && (code = cursor->get_key(cursor, &name)) == 0) {
        bool journal = strncmp(name, "WiredTigerLog.", 14) == 0;
        HF_CLEANUP(hf_free)
        char *path = hf_asprintf("%s/%s%s", engine->dbpath, journal ? "journal/" : "", name);
        HF_CLEANUP(bson_destroy) bson_t *doc = bson_new();
        struct hf_file_info info;
        struct hf_error err;

        if (path == NULL || (sizes && hf_fs_stat(path, &info, &err) != HF_ERR_OK)) {
            return hf_sandbox_refuse(no, 31403, "Failed to get a file's size. Filename: %s", name);
        }
        (void)BSON_APPEND_UTF8(doc, "filename", path);
        if (sizes) {
            (void)BSON_APPEND_INT64(doc, "fileSize", (int64_t)info.size_bytes);
        }
        append_doc(docs, at++, doc);
    }
    return code == WT_NOTFOUND ? 0 : wiredtiger_error(code, no);
}

/* All that is in the oplog now goes to disk first, so that the copy's oplog ends at oplogEnd or later. */
static int32_t append_metadata(struct hf_sandbox_engine *engine, bson_t *docs,
                               struct hf_sandbox_refusal *no)
{
    struct hf_sandbox_backup *backup = &engine->backup;
    HF_CLEANUP(bson_destroy) bson_t *doc = bson_new();
    HF_CLEANUP(bson_destroy) bson_t *first = NULL;
    bson_t metadata;
    struct hf_error err;

    if (hf_sandbox_engine_flush(engine, &err) != HF_ERR_OK ||
        (engine->options.replicated &&
         hf_sandbox_local_get(engine, HF_SANDBOX_OPLOG_NS, false, &first, &err) != HF_ERR_OK)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_UNKNOWN_ERROR, "%s", err.message);
    }
    if (engine->options.replicated && first == NULL) {
        return hf_sandbox_refuse(no, 50912, "No oplog records were found.");
    }
    (void)BSON_APPEND_DOCUMENT_BEGIN(doc, "metadata", &metadata);
    BCON_APPEND(&metadata, "backupId",
                BCON_BIN(BSON_SUBTYPE_UUID, backup->id, HF_SANDBOX_UUID_BYTES), "dbpath",
                BCON_UTF8(engine->dbpath));
    if (engine->options.replicated) {
        hf_sandbox_append_optime(&metadata, "oplogStart", hf_sandbox_optime_of(first));
        hf_sandbox_append_optime(&metadata, "oplogEnd", hf_sandbox_engine_durable(engine));
        hf_sandbox_append_ts(&metadata, "checkpointTimestamp", backup->pinned_ts);
    }
    (void)bson_append_document_end(doc, &metadata);
    append_doc(docs, 0, doc);
    return 0;
}

static void close_locked(struct hf_sandbox_backup *backup)
{
    if (backup->cursor != NULL) {
        (void)backup->cursor->close(backup->cursor);
    }
    if (backup->session != NULL) {
        (void)backup->session->close(backup->session, NULL);
    }
    backup->cursor = NULL;
    backup->session = NULL;
    backup->open = false;
}

/* With the checkpoint's lock: none can run between the reading of its time and the opening. */
static int32_t open_locked(struct hf_sandbox_engine *engine, const struct request *request,
                           bson_t *docs, struct hf_sandbox_refusal *no)
{
    struct hf_sandbox_backup *backup = &engine->backup;
    WT_CONNECTION *connection = engine->connection;
    struct hf_error err;
    int code;

    if (hf_sandbox_engine_fsync_locked(engine)) {
        return hf_sandbox_refuse(no, 50887, "The node is currently fsyncLocked.");
    }
    if (HF_FAULT("sandbox.backup.open", &err) != HF_ERR_OK) {
        return hf_sandbox_refuse(no, 50915,
                                 "A checkpoint took place while opening a backup cursor.");
    }
    if (check_names(backup, request, no) != 0) {
        return no->code;
    }
    hf_sandbox_uuid_make(backup->id);
    backup->pinned_ts = engine->checkpoint_ts;
    backup->open = true;
    if (append_metadata(engine, docs, no) != 0) {
        return no->code;
    }
    code = connection->open_session(connection, NULL, NULL, &backup->session);
    if (code == 0) {
        code =
            backup->session->open_cursor(backup->session, "backup:", NULL, NULL, &backup->cursor);
    }
    if (code != 0) {
        return wiredtiger_error(code, no);
    }
    note_names(backup, request);
    return request->disable_incremental ? 0 : append_files(engine, backup->cursor, true, docs, no);
}

int32_t hf_sandbox_backup_open(struct hf_sandbox_engine *engine, const bson_value_t *spec,
                               bson_t *docs, uint8_t id[HF_SANDBOX_UUID_BYTES],
                               struct hf_sandbox_refusal *no)
{
    struct request request = {.this_name = NULL};
    int32_t code = read_open(spec, &request, no);

    if (code != 0) {
        return code;
    }
    HF_LOCKED(&engine->checkpoint);
    if (engine->backup.open) {
        return hf_sandbox_refuse(
            no, 50886,
            "The existing backup cursor must be closed before $backupCursor can succeed.");
    }
    code = open_locked(engine, &request, docs, no);
    if (code != 0) {
        close_locked(&engine->backup);
    }
    memcpy(id, engine->backup.id, HF_SANDBOX_UUID_BYTES);
    return code;
}

void hf_sandbox_backup_close(struct hf_sandbox_engine *engine,
                             const uint8_t id[HF_SANDBOX_UUID_BYTES])
{
    hf_mutex_lock(&engine->checkpoint);
    if (engine->backup.open && memcmp(engine->backup.id, id, HF_SANDBOX_UUID_BYTES) == 0) {
        close_locked(&engine->backup);
    }
    hf_mutex_unlock(&engine->checkpoint);
}

bool hf_sandbox_backup_is_open(struct hf_sandbox_engine *engine)
{
    HF_LOCKED(&engine->checkpoint);
    return engine->backup.open;
}

/* ---- Extending ---- */

struct extend {
    const uint8_t *id; /* in the request */
    uint64_t ts;
};

static int32_t read_extend(const bson_value_t *spec, struct extend *out,
                           struct hf_sandbox_refusal *no)
{
    struct option options[] = {OPTION("backupId", "UUID", BINARY),
                               OPTION("timestamp", "Timestamp", TIMESTAMP)};
    const bson_value_t *id = &options[0].value;
    const bson_value_t *ts = &options[1].value;

    if (read_options("$backupCursorExtend", spec, options, HF_ARRAY_LEN(options), no) != 0) {
        return no->code;
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(options); i++) {
        if (options[i].value.value_type == BSON_TYPE_EOD) {
            return hf_sandbox_refuse(no, HF_SANDBOX_INVALID_OPTIONS,
                                     "Required parameter missing: %s", options[i].name);
        }
    }
    if (id->value.v_binary.subtype != BSON_SUBTYPE_UUID ||
        id->value.v_binary.data_len != HF_SANDBOX_UUID_BYTES) {
        return hf_sandbox_refuse(no, HF_SANDBOX_TYPE_MISMATCH,
                                 "The 'backupId' parameter of the $backupCursorExtend stage must "
                                 "be a UUID value, but found: binData");
    }
    *out = (struct extend){
        .id = id->value.v_binary.data,
        .ts = ts->value_type == BSON_TYPE_TIMESTAMP
                  ? HF_SANDBOX_TS(ts->value.v_timestamp.timestamp, ts->value.v_timestamp.increment)
                  : (uint64_t)ts->value.v_datetime};
    return 0;
}

/* With the checkpoint's lock. */
static int32_t check_extend(const struct hf_sandbox_engine *engine, const struct extend *extend,
                            struct hf_sandbox_refusal *no)
{
    if (!engine->backup.open) {
        return hf_sandbox_refuse(no, 50886, NOT_OPEN);
    }
    return memcmp(engine->backup.id, extend->id, HF_SANDBOX_UUID_BYTES) == 0
               ? 0
               : hf_sandbox_refuse(no, 29094,
                                   "backupId provided to $backupCursorExtend does not match "
                                   "active backup");
}

/* On a standalone there is no majority point: it waits for ever, and dies at the stop. */
static void await_majority(struct hf_sandbox_engine *engine, uint64_t ts, uint64_t deadline_ms,
                           const struct hf_cancel *cancel)
{
    while (hf_sandbox_engine_majority(engine).ts < ts) {
        if (hf_cancel_requested(cancel) ||
            (deadline_ms != 0 && hf_clock_mono_ms() >= deadline_ms)) {
            hf_log_error(engine->log, "engine.fatal_assertion", HF_U64("id", 29096));
            abort();
        }
        (void)hf_sandbox_engine_wait_oplog(engine, UINT64_MAX,
                                           hf_sandbox_engine_majority(engine).ts, 50, cancel);
    }
}

int32_t hf_sandbox_backup_extend(struct hf_sandbox_engine *engine, const bson_value_t *spec,
                                 uint64_t deadline_ms, const struct hf_cancel *cancel, bson_t *docs,
                                 struct hf_sandbox_refusal *no)
{
    struct hf_sandbox_backup *backup = &engine->backup;
    struct extend extend = {.id = NULL};
    struct hf_error err;
    WT_CURSOR *log;
    int32_t code = read_extend(spec, &extend, no);

    if (code == 0) {
        HF_LOCKED(&engine->checkpoint);
        code = check_extend(engine, &extend, no);
    }
    if (code != 0) {
        return code;
    }
    await_majority(engine, extend.ts, deadline_ms, cancel);
    if (hf_sandbox_engine_flush(engine, &err) != HF_ERR_OK) {
        return hf_sandbox_refuse(no, HF_SANDBOX_UNKNOWN_ERROR, "%s", err.message);
    }
    HF_LOCKED(&engine->checkpoint);
    code = check_extend(engine, &extend, no); /* it may have been closed meanwhile */
    if (code == 0) {
        code = wiredtiger_error(backup->session->open_cursor(backup->session, NULL, backup->cursor,
                                                             "target=(\"log:\")", &log),
                                no);
    }
    if (code == 0) {
        code = append_files(engine, log, false, docs, no);
        (void)log->close(log);
    }
    return code;
}
