/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a backup cursor's replies mean: metadata, files, kills, and how a cursor looks in $currentOp. Names from the
 * server become paths only after a check. Must not talk to a server.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "mongo/backup_internal.h"
#include "os/clock.h"
#include "os/fs.h"

void hf_mongo_listing_fini(struct hf_mongo_listing *listing)
{
    hf_free(HF_TAKE(listing->metadata.dbpath));
    for (size_t i = 0; i < listing->count; i++) {
        hf_free(listing->files[i].path);
    }
    hf_free(HF_TAKE(listing->files));
    listing->count = 0;
    listing->capacity = 0;
    listing->has_metadata = false;
}

void hf_mongo_backup_names_fini(struct hf_mongo_backup_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        hf_free(names->paths[i]);
    }
    hf_free(HF_TAKE(names->paths));
    names->count = 0;
}

enum hf_err hf_mongo_relative_path(const char *dbpath, const char *filename, char **out,
                                   struct hf_error *err)
{
    size_t root = strlen(dbpath);

    while (root > 1 && dbpath[root - 1] == '/') {
        root--;
    }
    if (strncmp(filename, dbpath, root) != 0 || (root > 1 && filename[root] != '/')) {
        return hf_fail(err, HF_ERR_CORRUPT, "file %s is not below dbpath %s", filename, dbpath);
    }
    const char *rest = filename + root;
    while (*rest == '/') {
        rest++;
    }
    if (!hf_path_is_safe_relative(hf_str_of(rest))) {
        return hf_fail(err, HF_ERR_CORRUPT, "file %s: not a safe path below %s", filename, dbpath);
    }
    *out = hf_strdup(rest);
    return *out != NULL ? HF_ERR_OK : hf_fail(err, HF_ERR_NO_MEMORY, "file %s", filename);
}

/* Fields of later versions and of Enterprise; absent on 4.4 without names (observed 1). */
static enum hf_err read_incremental(const bson_t *metadata, struct hf_mongo_backup_metadata *out,
                                    struct hf_error *err)
{
    bson_iter_t iter;
    int64_t block_size = hf_mongo_get_int(metadata, "blockSize", 0);

    out->has_incremental = hf_mongo_get(metadata, "incrementalBackup", &iter) ||
                           hf_mongo_get(metadata, "disableIncrementalBackup", &iter);
    out->incremental = hf_mongo_get_bool(metadata, "incrementalBackup", false);
    out->disable_incremental = hf_mongo_get_bool(metadata, "disableIncrementalBackup", false);
    out->block_size_mb = block_size > 0 && block_size <= UINT32_MAX ? (uint32_t)block_size : 0;
    if (hf_mongo_copy_text(out->this_backup_name, sizeof out->this_backup_name,
                           hf_mongo_get_text(metadata, "thisBackupName"), "thisBackupName",
                           err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_mongo_copy_text(out->src_backup_name, sizeof out->src_backup_name,
                              hf_mongo_get_text(metadata, "srcBackupName"), "srcBackupName", err);
}

static enum hf_err read_metadata(const bson_t *metadata, struct hf_mongo_backup_metadata *out,
                                 struct hf_error *err)
{
    const char *dbpath = hf_mongo_get_text(metadata, "dbpath");

    if (!hf_mongo_get_uuid(metadata, "backupId", out->backup_id)) {
        return hf_fail(err, HF_ERR_CORRUPT, "metadata without backupId");
    }
    if (dbpath == NULL || dbpath[0] != '/') {
        return hf_fail(err, HF_ERR_CORRUPT, "metadata without an absolute dbpath");
    }
    out->oplog_start = hf_mongo_get_optime(metadata, "oplogStart");
    out->oplog_end = hf_mongo_get_optime(metadata, "oplogEnd");
    out->checkpoint = hf_mongo_get_ts(metadata, "checkpointTimestamp");
    if (hf_mongo_ts_is_null(out->checkpoint) || hf_mongo_ts_is_null(out->oplog_end.ts) ||
        hf_mongo_ts_is_null(out->oplog_start.ts)) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "metadata without checkpointTimestamp, oplogStart or oplogEnd: a "
                       "standalone, or a member in initial sync");
    }
    if (hf_mongo_ts_compare(out->oplog_start.ts, out->oplog_end.ts) > 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "metadata: oplogStart is after oplogEnd");
    }
    if (read_incremental(metadata, out, err) != HF_ERR_OK) {
        return hf_wrap(err, "metadata");
    }
    out->dbpath = hf_strdup(dbpath);
    return out->dbpath != NULL ? HF_ERR_OK : hf_fail(err, HF_ERR_NO_MEMORY, "metadata");
}

static enum hf_err grow(struct hf_mongo_listing *listing, struct hf_error *err)
{
    if (listing->count < listing->capacity) {
        return HF_ERR_OK;
    }
    if (listing->count >= listing->limit) {
        return hf_fail(err, HF_ERR_LIMIT, "the backup cursor lists more than %zu files",
                       listing->limit);
    }
    size_t capacity = listing->capacity < 64 ? 64 : listing->capacity * 2;
    struct hf_mongo_backup_file *files = hf_realloc_array(listing->files, capacity, sizeof *files);
    if (files == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "list of %zu files", capacity);
    }
    listing->files = files;
    listing->capacity = capacity;
    return HF_ERR_OK;
}

/* A size or offset: present and not negative. */
static bool read_length(const bson_t *document, const char *field, uint64_t *out)
{
    int64_t value = hf_mongo_get_int(document, field, -1);

    *out = value < 0 ? 0 : (uint64_t)value;
    return value >= 0;
}

static enum hf_err add_file(struct hf_mongo_listing *listing, const bson_t *document,
                            const char *filename, struct hf_error *err)
{
    struct hf_mongo_backup_file file = {.path = NULL};
    bson_iter_t iter;

    if (!read_length(document, "fileSize", &file.size_bytes)) {
        return hf_fail(err, HF_ERR_CORRUPT, "file %s: no fileSize", filename);
    }
    if (hf_mongo_get(document, "length", &iter)) {
        file.has_range = true;
        if (!read_length(document, "length", &file.length) ||
            !read_length(document, "offset", &file.offset)) {
            return hf_fail(err, HF_ERR_CORRUPT, "file %s: no usable offset and length", filename);
        }
    }
    if (grow(listing, err) != HF_ERR_OK ||
        hf_mongo_relative_path(listing->metadata.dbpath, filename, &file.path, err) != HF_ERR_OK) {
        return err->code;
    }
    listing->files[listing->count++] = file;
    return HF_ERR_OK;
}

enum hf_err hf_mongo_listing_add(struct hf_mongo_listing *listing, const bson_t *document,
                                 struct hf_error *err)
{
    bson_t metadata;
    const char *filename = hf_mongo_get_text(document, "filename");

    if (hf_mongo_get_doc(document, "metadata", &metadata)) {
        if (listing->has_metadata) {
            return hf_fail(err, HF_ERR_CORRUPT, "the backup cursor gave its metadata twice");
        }
        if (read_metadata(&metadata, &listing->metadata, err) != HF_ERR_OK) {
            return hf_wrap(err, "backup cursor");
        }
        listing->has_metadata = true;
        return HF_ERR_OK;
    }
    if (filename == NULL || !listing->has_metadata) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "the backup cursor gave a document that is neither metadata nor a file "
                       "after it");
    }
    if (add_file(listing, document, filename, err) != HF_ERR_OK) {
        return hf_wrap(err, "backup cursor");
    }
    return HF_ERR_OK;
}

enum hf_err hf_mongo_listing_add_reply(struct hf_mongo_listing *listing, const bson_t *reply,
                                       size_t *added, struct hf_error *err)
{
    bson_t batch;
    bson_iter_t iter;

    *added = 0;
    if ((!hf_mongo_get_doc(reply, "cursor.firstBatch", &batch) &&
         !hf_mongo_get_doc(reply, "cursor.nextBatch", &batch)) ||
        !bson_iter_init(&iter, &batch)) {
        return hf_fail(err, HF_ERR_CORRUPT, "backup cursor: a reply without a batch");
    }
    while (bson_iter_next(&iter)) {
        bson_t document;
        if (!hf_mongo_iter_doc(&iter, &document)) {
            return hf_fail(err, HF_ERR_CORRUPT,
                           "backup cursor: a batch with something else than "
                           "documents");
        }
        if (hf_mongo_listing_add(listing, &document, err) != HF_ERR_OK) {
            return err->code;
        }
        (*added)++;
    }
    return HF_ERR_OK;
}

static int compare_files(const void *left, const void *right)
{
    const struct hf_mongo_backup_file *a = left;
    const struct hf_mongo_backup_file *b = right;
    int order = strcmp(a->path, b->path);

    if (order != 0) {
        return order;
    }
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

enum hf_err hf_mongo_listing_finish(struct hf_mongo_listing *listing, struct hf_error *err)
{
    if (!listing->has_metadata) {
        return hf_fail(err, HF_ERR_CORRUPT, "the backup cursor ended without metadata");
    }
    if (listing->count == 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "the backup cursor listed no file");
    }
    /* The server's order is that of a hash map; a fixed one makes runs comparable. */
    qsort(listing->files, listing->count, sizeof *listing->files, compare_files);
    for (size_t i = 1; i < listing->count; i++) {
        const struct hf_mongo_backup_file *a = &listing->files[i - 1];
        const struct hf_mongo_backup_file *b = &listing->files[i];

        if (strcmp(a->path, b->path) == 0 && !(a->has_range && b->has_range)) {
            return hf_fail(err, HF_ERR_CORRUPT, "the backup cursor lists %s twice", a->path);
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_mongo_names_add(struct hf_mongo_backup_names *names, const char *dbpath,
                               const bson_t *document, struct hf_error *err)
{
    const char *filename = hf_mongo_get_text(document, "filename");

    if (filename == NULL) {
        return hf_fail(err, HF_ERR_CORRUPT, "$backupCursorExtend: a document without filename");
    }
    char **paths = hf_realloc_array(names->paths, names->count + 1, sizeof *paths);
    if (paths == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "$backupCursorExtend");
    }
    names->paths = paths;
    if (hf_mongo_relative_path(dbpath, filename, &names->paths[names->count], err) != HF_ERR_OK) {
        return hf_wrap(err, "$backupCursorExtend");
    }
    names->count++;
    return HF_ERR_OK;
}

static bool list_has(const bson_t *reply, const char *field, int64_t id)
{
    bson_t list;
    bson_iter_t iter;

    if (!hf_mongo_get_doc(reply, field, &list) || !bson_iter_init(&iter, &list)) {
        return false;
    }
    while (bson_iter_next(&iter)) {
        if (BSON_ITER_HOLDS_INT(&iter) && bson_iter_as_int64(&iter) == id) {
            return true;
        }
    }
    return false;
}

enum hf_err hf_mongo_parse_killed(const bson_t *reply, int64_t id, struct hf_error *err)
{
    if (list_has(reply, "cursorsKilled", id)) {
        return HF_ERR_OK;
    }
    if (list_has(reply, "cursorsNotFound", id)) {
        return hf_fail(err, HF_ERR_LOST, "the backup cursor was gone before it was closed");
    }
    return hf_fail(err, HF_ERR_INTERNAL, "killCursors did not close the backup cursor");
}

/* ---- $currentOp ---- */

/* The first stage of the command that opened it. */
static bool opened_by_backup_stage(const bson_t *document)
{
    static const char places[][48] = {"cursor.originatingCommand.pipeline.0",
                                      "originatingCommand.pipeline.0", "command.pipeline.0"};

    for (size_t i = 0; i < HF_ARRAY_LEN(places); i++) {
        bson_t stage;
        bson_iter_t iter;
        if (hf_mongo_get_doc(document, places[i], &stage) && bson_iter_init(&iter, &stage) &&
            bson_iter_next(&iter) && strcmp(bson_iter_key(&iter), "$backupCursor") == 0) {
            return true;
        }
    }
    return false;
}

static int64_t date_of(const bson_t *document, const char *path)
{
    bson_iter_t iter;

    return hf_mongo_get(document, path, &iter) && BSON_ITER_HOLDS_DATE_TIME(&iter)
               ? bson_iter_date_time(&iter)
               : 0;
}

bool hf_mongo_parse_current_op(const bson_t *document, struct hf_mongo_cursor_seen *out)
{
    const char *type = hf_mongo_get_text(document, "type");
    const char *user = hf_mongo_get_text(document, "effectiveUsers.0.user");
    const char *client = hf_mongo_get_text(document, "appName");

    *out = (struct hf_mongo_cursor_seen){.cursor_id = 0};
    if (type == NULL || !opened_by_backup_stage(document)) {
        return false;
    }
    if (strcmp(type, "idleCursor") != 0 && strcmp(type, "op") != 0) {
        return false;
    }
    out->running = strcmp(type, "op") == 0;
    out->cursor_id = hf_mongo_get_int(document, "cursor.cursorId", 0);
    out->has_lsid = hf_mongo_get_uuid(document, "lsid.id", out->lsid);
    out->created_ms = date_of(document, "cursor.createdDate");
    out->used_ms = date_of(document, "cursor.lastAccessDate");
    /* Only words for a message: a cut does no harm here. */
    (void)snprintf(out->user, sizeof out->user, "%s", user != NULL ? user : "");
    (void)snprintf(out->client, sizeof out->client, "%s", client != NULL ? client : "");
    return out->running || out->cursor_id != 0;
}

static void add_text(char *out, size_t out_len, const char *label, const char *value)
{
    size_t len = strlen(out);

    (void)snprintf(out + len, out_len - len, "%s%s %s", len > 0 ? ", " : "", label, value);
}

void hf_mongo_describe_cursor(const struct hf_mongo_cursor_seen *seen, char *out, size_t out_len)
{
    char text[HF_MONGO_LSID_BYTES];
    char time[HF_TIME_TEXT_BYTES];

    out[0] = '\0';
    if (seen->has_lsid) {
        hf_hex_encode(hf_bytes_of(seen->lsid, sizeof seen->lsid), text);
        add_text(out, out_len, "session", text);
    }
    if (seen->user[0] != '\0') {
        add_text(out, out_len, "user", seen->user);
    }
    if (seen->client[0] != '\0') {
        add_text(out, out_len, "application", seen->client);
    }
    if (seen->created_ms > 0) {
        hf_time_format((uint64_t)seen->created_ms / 1000, time);
        add_text(out, out_len, "open since", time);
    }
    if (seen->used_ms > 0) {
        hf_time_format((uint64_t)seen->used_ms / 1000, time);
        add_text(out, out_len, "last used", time);
    }
}
