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

#define OPEN_ELSEWHERE "The existing backup cursor must be closed before $backupCursor can succeed."

struct options {
    bool incremental, disable_incremental;
    const char *this_name, *source_name; /* in the request */
};

/* ---- Reading the stage ---- */

static int32_t want_type(const bson_value_t *value, const char *name, bson_type_t type,
                         struct hf_sandbox_refusal *no)
{
    if (value->value_type == type) {
        return 0;
    }
    return hf_sandbox_refuse(no, HF_SANDBOX_TYPE_MISMATCH,
                             "The '%s' parameter of the $backupCursor stage must be a %s value, "
                             "but found: %s",
                             name, hf_sandbox_type_name(type),
                             hf_sandbox_type_name(value->value_type));
}

static int32_t read_option(const char *key, const bson_value_t *value, struct options *out,
                           struct hf_sandbox_refusal *no)
{
    if (strcmp(key, "incrementalBackup") == 0) {
        out->incremental = hf_sandbox_is_true(value);
        return want_type(value, key, BSON_TYPE_BOOL, no);
    }
    if (strcmp(key, "disableIncrementalBackup") == 0) {
        out->disable_incremental = hf_sandbox_is_true(value);
        return want_type(value, key, BSON_TYPE_BOOL, no);
    }
    if (strcmp(key, "blockSize") == 0) {
        return want_type(value, key, BSON_TYPE_INT32, no);
    }
    if (strcmp(key, "thisBackupName") == 0 || strcmp(key, "srcBackupName") == 0) {
        if (want_type(value, key, BSON_TYPE_UTF8, no) != 0) {
            return no->code;
        }
        if (key[0] == 't') {
            out->this_name = value->value.v_utf8.str;
        } else {
            out->source_name = value->value.v_utf8.str;
        }
        return 0;
    }
    return hf_sandbox_refuse(no, HF_SANDBOX_FAILED_TO_PARSE,
                             "Unrecognized option '%s' in $backupCursor stage", key);
}

static int32_t read_options(const bson_value_t *spec, struct options *out,
                            struct hf_sandbox_refusal *no)
{
    bson_t doc;
    bson_iter_t iter;

    if (spec->value_type != BSON_TYPE_DOCUMENT || !hf_sandbox_value_doc(spec, &doc) ||
        !bson_iter_init(&iter, &doc)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_FAILED_TO_PARSE,
                                 "$backupCursor parameters must be specified in an object, but "
                                 "found: %s",
                                 hf_sandbox_type_name(spec->value_type));
    }
    while (bson_iter_next(&iter)) {
        const bson_value_t value = *bson_iter_value(&iter);

        if (read_option(bson_iter_key(&iter), &value, out, no) != 0) {
            return no->code;
        }
    }
    if (out->incremental && out->disable_incremental) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INVALID_OPTIONS,
                                 "'incrementalBackup' and 'disableIncrementalBackup' parameters "
                                 "are mutually exclusive. Cannot enable both");
    }
    if (!out->incremental && (out->this_name != NULL || out->source_name != NULL)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INVALID_OPTIONS,
                                 "'thisBackupName' and 'srcBackupName' parameters are only allowed "
                                 "when 'incrementalBackup' is true");
    }
    if (out->incremental && out->this_name == NULL) {
        abort(); /* as the real server does (observed 1) */
    }
    return 0;
}

/* ---- Names of incremental backups ---- */

static bool knows_name(const struct hf_sandbox_backup *backup, const char *name)
{
    for (size_t i = 0; i < backup->name_count; i++) {
        if (strcmp(backup->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static int32_t check_names(struct hf_sandbox_backup *backup, const struct options *options,
                           struct hf_sandbox_refusal *no)
{
    if (options->source_name != NULL && !knows_name(backup, options->source_name)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_UNKNOWN_ERROR, "2: No such file or directory");
    }
    if (options->this_name != NULL && knows_name(backup, options->this_name)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "22: Invalid argument");
    }
    return 0;
}

static void note_names(struct hf_sandbox_backup *backup, const struct options *options)
{
    if (options->disable_incremental) {
        backup->name_count = 0;
    }
    if (options->this_name != NULL) {
        size_t capacity = backup->name_count; /* one more each time: they are few */

        if (hf_sandbox_grow((void **)&backup->names, &capacity, sizeof *backup->names)) {
            (void)snprintf(backup->names[backup->name_count++], sizeof *backup->names, "%s",
                           options->this_name);
        }
    }
}

/* ---- Opening ---- */

static void append_doc(bson_t *docs, const bson_t *doc)
{
    char text[16];
    const char *key;

    (void)bson_uint32_to_string(bson_count_keys(docs), &key, text, sizeof text);
    (void)bson_append_document(docs, key, -1, doc);
}

static void append_binary_id(bson_t *doc, const uint8_t id[HF_SANDBOX_UUID_BYTES])
{
    (void)bson_append_binary(doc, "backupId", -1, BSON_SUBTYPE_UUID, id, HF_SANDBOX_UUID_BYTES);
}

/* Journal files are named without their folder. */
static char *absolute_name(const struct hf_sandbox_engine *engine, const char *name)
{
    bool journal = strncmp(name, "WiredTigerLog.", 14) == 0;

    return hf_asprintf("%s/%s%s", engine->dbpath, journal ? "journal/" : "", name);
}

/* Array keys are counted here: thousands of files. */
static int32_t append_files(struct hf_sandbox_engine *engine, WT_CURSOR *cursor, bool sizes,
                            bson_t *docs, struct hf_sandbox_refusal *no)
{
    uint32_t at = bson_count_keys(docs);
    const char *name;
    int code;

    while ((code = cursor->next(cursor)) == 0 && (code = cursor->get_key(cursor, &name)) == 0) {
        HF_CLEANUP(hf_free) char *path = absolute_name(engine, name);
        bson_t doc = BSON_INITIALIZER;
        struct hf_file_info info = {.size_bytes = 0};
        struct hf_error err;
        char text[16];
        const char *key;

        if (path == NULL || (sizes && hf_fs_stat(path, &info, &err) != HF_ERR_OK)) {
            bson_destroy(&doc);
            return hf_sandbox_refuse(no, 31403, "Failed to get a file's size. Filename: %s", name);
        }
        (void)BSON_APPEND_UTF8(&doc, "filename", path);
        if (sizes) {
            (void)BSON_APPEND_INT64(&doc, "fileSize", (int64_t)info.size_bytes);
        }
        (void)bson_uint32_to_string(at++, &key, text, sizeof text);
        (void)bson_append_document(docs, key, -1, &doc);
        bson_destroy(&doc);
    }
    if (code != WT_NOTFOUND) {
        return hf_sandbox_refuse(no, HF_SANDBOX_UNKNOWN_ERROR, "%d: %s", code,
                                 wiredtiger_strerror(code));
    }
    return 0;
}

/* All that is in the oplog now goes to disk first, so that the copy's oplog ends at oplogEnd or later. */
static int32_t append_metadata(struct hf_sandbox_engine *engine, bson_t *docs,
                               struct hf_sandbox_refusal *no)
{
    struct hf_sandbox_backup *backup = &engine->backup;
    bson_t doc = BSON_INITIALIZER;
    bson_t metadata;
    bson_t *first = NULL;
    struct hf_error err;

    if (hf_sandbox_engine_flush(engine, &err) != HF_ERR_OK ||
        (engine->options.replicated &&
         hf_sandbox_oplog_end(engine, true, &first, &err) != HF_ERR_OK)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_UNKNOWN_ERROR, "%s", err.message);
    }
    if (engine->options.replicated && first == NULL) {
        return hf_sandbox_refuse(no, 50912, "No oplog records were found.");
    }
    (void)BSON_APPEND_DOCUMENT_BEGIN(&doc, "metadata", &metadata);
    append_binary_id(&metadata, backup->id);
    (void)BSON_APPEND_UTF8(&metadata, "dbpath", engine->dbpath);
    if (engine->options.replicated) {
        hf_sandbox_append_optime(&metadata, "oplogStart", hf_sandbox_optime_of(first));
        hf_sandbox_append_optime(&metadata, "oplogEnd", hf_sandbox_engine_durable(engine));
        hf_sandbox_append_ts(&metadata, "checkpointTimestamp", backup->pinned_ts);
    }
    (void)bson_append_document_end(&doc, &metadata);
    append_doc(docs, &doc);
    bson_destroy(&doc);
    bson_destroy(first);
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
static int32_t open_locked(struct hf_sandbox_engine *engine, const struct options *options,
                           bson_t *docs, struct hf_sandbox_refusal *no)
{
    struct hf_sandbox_backup *backup = &engine->backup;
    struct hf_error err;
    int code;

    if (backup->open) {
        return hf_sandbox_refuse(no, 50886, OPEN_ELSEWHERE);
    }
    if (hf_sandbox_engine_fsync_locked(engine)) {
        return hf_sandbox_refuse(no, 50887, "The node is currently fsyncLocked.");
    }
    if (HF_FAULT("sandbox.backup.open", &err) != HF_ERR_OK) {
        return hf_sandbox_refuse(no, 50915,
                                 "A checkpoint took place while opening a backup cursor.");
    }
    if (check_names(backup, options, no) != 0) {
        return no->code;
    }
    hf_sandbox_uuid_make(backup->id);
    backup->pinned_ts = engine->checkpoint_ts;
    backup->open = true;
    if (append_metadata(engine, docs, no) != 0) {
        return no->code;
    }
    code = engine->connection->open_session(engine->connection, NULL, NULL, &backup->session);
    if (code == 0) {
        code =
            backup->session->open_cursor(backup->session, "backup:", NULL, NULL, &backup->cursor);
    }
    if (code != 0) {
        return hf_sandbox_refuse(no, HF_SANDBOX_UNKNOWN_ERROR, "%d: %s", code,
                                 wiredtiger_strerror(code));
    }
    note_names(backup, options);
    return options->disable_incremental ? 0 : append_files(engine, backup->cursor, true, docs, no);
}

int32_t hf_sandbox_backup_open(struct hf_sandbox_engine *engine, const bson_value_t *spec,
                               bson_t *docs, uint8_t id[HF_SANDBOX_UUID_BYTES],
                               struct hf_sandbox_refusal *no)
{
    struct options options = {.incremental = false};
    int32_t code = read_options(spec, &options, no);
    bool was_open;

    if (code != 0) {
        return code;
    }
    HF_LOCKED(&engine->checkpoint);
    was_open = engine->backup.open;
    code = open_locked(engine, &options, docs, no);
    if (code != 0 && !was_open) {
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
    bson_t doc;
    bson_iter_t iter;
    bool has_time = false;

    if (spec->value_type != BSON_TYPE_DOCUMENT || !hf_sandbox_value_doc(spec, &doc) ||
        !bson_iter_init(&iter, &doc)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_FAILED_TO_PARSE,
                                 "$backupCursorExtend parameters must be specified in an object, "
                                 "but found: %s",
                                 hf_sandbox_type_name(spec->value_type));
    }
    while (bson_iter_next(&iter)) {
        const bson_value_t value = *bson_iter_value(&iter);
        const char *key = bson_iter_key(&iter);

        if (strcmp(key, "backupId") == 0) {
            if (value.value_type != BSON_TYPE_BINARY ||
                value.value.v_binary.subtype != BSON_SUBTYPE_UUID ||
                value.value.v_binary.data_len != HF_SANDBOX_UUID_BYTES) {
                return hf_sandbox_refuse(no, HF_SANDBOX_TYPE_MISMATCH,
                                         "The 'backupId' parameter of the $backupCursorExtend "
                                         "stage must be a UUID value, but found: %s",
                                         hf_sandbox_type_name(value.value_type));
            }
            out->id = value.value.v_binary.data;
        } else if (strcmp(key, "timestamp") == 0) {
            has_time = true;
            if (value.value_type == BSON_TYPE_TIMESTAMP) {
                out->ts = HF_SANDBOX_TS(value.value.v_timestamp.timestamp,
                                        value.value.v_timestamp.increment);
            } else if (value.value_type == BSON_TYPE_DATE_TIME) {
                out->ts = (uint64_t)value.value.v_datetime; /* raw, as the real one takes it */
            } else {
                return hf_sandbox_refuse(no, HF_SANDBOX_TYPE_MISMATCH,
                                         "The 'timestamp' parameter of the $backupCursorExtend "
                                         "stage must be a Timestamp value, but found: %s",
                                         hf_sandbox_type_name(value.value_type));
            }
        } else {
            return hf_sandbox_refuse(no, HF_SANDBOX_FAILED_TO_PARSE,
                                     "Unrecognized option '%s' in $backupCursorExtend stage", key);
        }
    }
    if (out->id == NULL || !has_time) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INVALID_OPTIONS, "Required parameter missing: %s",
                                 out->id == NULL ? "backupId" : "timestamp");
    }
    return 0;
}

static int32_t check_extend(struct hf_sandbox_engine *engine, const struct extend *extend,
                            struct hf_sandbox_refusal *no)
{
    HF_LOCKED(&engine->checkpoint);
    if (!engine->backup.open) {
        return hf_sandbox_refuse(no, 50886,
                                 "Cannot extend backup cursor because backup cursor is not open");
    }
    if (memcmp(engine->backup.id, extend->id, HF_SANDBOX_UUID_BYTES) != 0) {
        return hf_sandbox_refuse(
            no, 29094, "backupId provided to $backupCursorExtend does not match active backup");
    }
    return 0;
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
    struct extend extend = {.id = NULL};
    struct hf_error err;
    WT_CURSOR *log;
    int code;
    int32_t result;

    if (read_extend(spec, &extend, no) != 0 || check_extend(engine, &extend, no) != 0) {
        return no->code;
    }
    await_majority(engine, extend.ts, deadline_ms, cancel);
    if (hf_sandbox_engine_flush(engine, &err) != HF_ERR_OK) {
        return hf_sandbox_refuse(no, HF_SANDBOX_UNKNOWN_ERROR, "%s", err.message);
    }
    if (check_extend(engine, &extend, no) != 0) {
        return no->code; /* closed meanwhile */
    }
    HF_LOCKED(&engine->checkpoint);
    if (!engine->backup.open) {
        return hf_sandbox_refuse(no, 50886,
                                 "Cannot extend backup cursor because backup cursor is not open");
    }
    code = engine->backup.session->open_cursor(engine->backup.session, NULL, engine->backup.cursor,
                                               "target=(\"log:\")", &log);
    if (code != 0) {
        return hf_sandbox_refuse(no, HF_SANDBOX_UNKNOWN_ERROR, "%d: %s", code,
                                 wiredtiger_strerror(code));
    }
    result = append_files(engine, log, false, docs, no);
    (void)log->close(log);
    return result;
}
