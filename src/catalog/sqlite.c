/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver "sqlite": documents in one file that several processes of a host share. WAL, so that
 * readers never wait for the writer; one writer thread a process, so that many writes share one
 * sync. SQLite's own lock orders the processes. Opening, and what all files of the driver say to
 * SQLite.
 */
#include "base/alloc.h"
#include "catalog/sqlite_internal.h"
#include "os/clock.h"
#include "os/fs.h"

#define BUSY_TIMEOUT_MS 30000
#define FILE_MODE 0600
/* What a row may hold: a document and its id. */
#define ROW_MAX_BYTES ((int)HF_CATALOG_DOCUMENT_MAX_BYTES + 4096)

/* ---- What is said to SQLite ---- */

static enum hf_err class_of(int result)
{
    switch (result & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return HF_ERR_BUSY;
    case SQLITE_FULL:
        return HF_ERR_NO_SPACE;
    case SQLITE_NOMEM:
        return HF_ERR_NO_MEMORY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return HF_ERR_CORRUPT;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return HF_ERR_DENIED;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
        return HF_ERR_IO;
    case SQLITE_TOOBIG:
        return HF_ERR_LIMIT;
    default:
        return HF_ERR_INTERNAL;
    }
}

enum hf_err hf_catalog_sqlite_fail(sqlite3 *db, int result, const char *what, struct hf_error *err)
{
    const char *text = db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(result);
    const char *file = db != NULL ? sqlite3_db_filename(db, "main") : NULL;
    enum hf_err code = class_of(result);

    /* What the operator can mend is said of the file; the statement only helps us. */
    if (file != NULL && code == HF_ERR_NO_SPACE) {
        return hf_fail(err, code, "%s: %s; hint: make room on its disk", file, text);
    }
    if (file != NULL && (code == HF_ERR_IO || code == HF_ERR_DENIED)) {
        return hf_fail(err, code, "%s: %s: %s", file, what, text);
    }
    return hf_fail(err, code, "%s: %s", what, text);
}

enum hf_err hf_catalog_sqlite_exec(sqlite3 *db, const char *sql, struct hf_error *err)
{
    int result = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? HF_ERR_OK : hf_catalog_sqlite_fail(db, result, sql, err);
}

enum hf_err hf_catalog_sqlite_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out,
                                      struct hf_error *err)
{
    int result = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    return result == SQLITE_OK ? HF_ERR_OK : hf_catalog_sqlite_fail(db, result, sql, err);
}

enum hf_err hf_catalog_sqlite_step(sqlite3_stmt *statement, bool *row, struct hf_error *err)
{
    int result = sqlite3_step(statement);
    *row = result == SQLITE_ROW;
    return result == SQLITE_ROW || result == SQLITE_DONE
               ? HF_ERR_OK
               : hf_catalog_sqlite_fail(sqlite3_db_handle(statement), result,
                                        sqlite3_sql(statement), err);
}

void hf_catalog_sqlite_reset(sqlite3_stmt *statement)
{
    (void)sqlite3_reset(statement); /* repeats the error that step gave */
    (void)sqlite3_clear_bindings(statement);
}

void hf_catalog_sqlite_bind_text(sqlite3_stmt *statement, int at, const char *text)
{
    /* The text outlives the statement's use. A failure (no memory) shows as a missing row or
     * constraint. */
    (void)sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

struct hf_str hf_catalog_sqlite_text(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    int len = sqlite3_column_bytes(statement, column);
    return (struct hf_str){.data = text, .len = text == NULL ? 0 : (size_t)len};
}

/* ---- Opening ---- */

enum hf_err hf_catalog_sqlite_connect(const char *path, sqlite3 **out, struct hf_error *err)
{
    sqlite3 *db = NULL;
    int result = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (result != SQLITE_OK) {
        (void)hf_catalog_sqlite_fail(db, result, "open", err);
        (void)sqlite3_close(db);
        return err->code;
    }
    (void)sqlite3_busy_timeout(db, BUSY_TIMEOUT_MS);
    (void)sqlite3_limit(db, SQLITE_LIMIT_LENGTH, ROW_MAX_BYTES);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (hf_catalog_sqlite_exec(db,
                               "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; "
                               "PRAGMA cache_size=-16000; PRAGMA journal_size_limit=67108864; "
                               "PRAGMA synchronous=FULL",
                               err) != HF_ERR_OK) {
        (void)sqlite3_close(db);
        return err->code;
    }
    *out = db;
    return HF_ERR_OK;
}

/* A file that is not there is made here, so that nobody else can read it, and is in its directory
 * for good. */
static enum hf_err make_file(const char *path, struct hf_error *err)
{
    if (hf_fs_exists(path)) {
        return HF_ERR_OK; /* and must not be opened here: closing it would drop SQLite's locks of this process */
    }
    struct hf_file *file = NULL;
    enum hf_err code = hf_file_open(path, HF_OPEN_CREATE_NEW, FILE_MODE, &file, err);
    if (code != HF_ERR_OK) {
        return code == HF_ERR_EXISTS ? HF_ERR_OK : code; /* another process was first */
    }
    hf_file_drop(file);
    const char *slash = strrchr(path, '/');
    HF_CLEANUP(hf_free)
    char *dir = slash == NULL   ? hf_strdup(".")
                : slash == path ? hf_strdup("/")
                                : hf_strndup(path, (size_t)(slash - path));
    return dir != NULL ? hf_fs_sync_dir(dir, err)
                       : hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a path");
}

/*
 * Changing to WAL needs the file alone for a moment, and SQLite does not wait for that by itself.
 */
static enum hf_err use_wal(sqlite3 *db, struct hf_error *err)
{
    uint64_t deadline = hf_clock_mono_ms() + BUSY_TIMEOUT_MS;
    for (;;) {
        sqlite3_stmt *statement = NULL;
        bool row = false;
        enum hf_err code =
            hf_catalog_sqlite_prepare(db, "PRAGMA journal_mode=WAL", &statement, err);
        if (code == HF_ERR_OK) {
            code = hf_catalog_sqlite_step(statement, &row, err);
        }
        bool wal =
            code == HF_ERR_OK && row && hf_str_equal_c(hf_catalog_sqlite_text(statement, 0), "wal");
        (void)sqlite3_finalize(statement);
        if (wal) {
            return HF_ERR_OK;
        }
        if (code == HF_ERR_OK) {
            return hf_fail(err, HF_ERR_UNSUPPORTED,
                           "the file system does not support SQLite's write-ahead log; hint: use a "
                           "local disk");
        }
        if (code != HF_ERR_BUSY || hf_clock_mono_ms() >= deadline) {
            return code;
        }
        hf_cancel_sleep(NULL, 20);
    }
}

static void sqlite_close(struct hf_catalog *base)
{
    struct hf_catalog_sqlite *catalog = (struct hf_catalog_sqlite *)base;
    hf_catalog_sqlite_stop(catalog);
    for (size_t i = 0; i < catalog->idle_count; i++) {
        hf_catalog_reader_free(catalog->idle[i]);
    }
    hf_cond_fini(&catalog->work);
    hf_mutex_fini(&catalog->mutex);
    hf_free(catalog->numbers);
    hf_free(catalog->path);
    hf_free(catalog);
}

static const struct hf_catalog_driver sqlite_driver = {
    .name = "sqlite",
    .get = hf_catalog_sqlite_get,
    .insert = hf_catalog_sqlite_insert,
    .replace = hf_catalog_sqlite_replace,
    .remove = hf_catalog_sqlite_remove,
    .find = hf_catalog_sqlite_find,
    .count = hf_catalog_sqlite_count,
    .close = sqlite_close,
};

static enum hf_err prepare(struct hf_catalog_sqlite *catalog,
                           const struct hf_catalog_options *options, struct hf_error *err)
{
    sqlite3 *db = NULL;
    if (hf_catalog_check_kinds(options, err) != HF_ERR_OK ||
        make_file(options->path, err) != HF_ERR_OK ||
        hf_path_real(options->path, &catalog->path, err) != HF_ERR_OK ||
        hf_catalog_sqlite_connect(catalog->path, &db, err) != HF_ERR_OK) {
        return err->code;
    }
    catalog->numbers = hf_alloc_zero((options->kind_count + 1) * sizeof *catalog->numbers);
    if (catalog->numbers == NULL) {
        (void)sqlite3_close(db);
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for the kinds");
    }
    if (hf_catalog_sqlite_schema(db, options, catalog->numbers, err) != HF_ERR_OK ||
        use_wal(db, err) != HF_ERR_OK) {
        (void)sqlite3_close(db);
        return err->code;
    }
    return hf_catalog_sqlite_start(catalog, db, err);
}

enum hf_err hf_catalog_sqlite_open(const struct hf_catalog_options *options,
                                   struct hf_catalog **out, struct hf_error *err)
{
    struct hf_catalog_sqlite *catalog = hf_alloc_zero(sizeof *catalog);
    if (catalog == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "open catalog %s", options->path);
    }
    catalog->base = (struct hf_catalog){
        .driver = &sqlite_driver, .kinds = options->kinds, .kind_count = options->kind_count};
    hf_mutex_init(&catalog->mutex);
    hf_cond_init(&catalog->work);
    if (prepare(catalog, options, err) != HF_ERR_OK) {
        sqlite_close(&catalog->base);
        return hf_wrap(err, "open catalog %s", options->path);
    }
    *out = &catalog->base;
    return HF_ERR_OK;
}
