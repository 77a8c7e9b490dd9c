/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver "sqlite": the tables of the file and their version. Must not read or write single
 * documents.
 */
#include "base/alloc.h"
#include "catalog/sqlite_internal.h"

#define APPLICATION_ID 0x48464354 /* "HFCT" */
#define SCHEMA_VERSION 1
#define TEXT_OF2(number) #number
#define TEXT_OF(number) TEXT_OF2(number)

static const char create_sql[] =
    "CREATE TABLE names(number INTEGER PRIMARY KEY, kind TEXT NOT NULL, field TEXT NOT NULL, "
    "UNIQUE(kind, field));"
    "CREATE TABLE documents(number INTEGER PRIMARY KEY, kind INTEGER NOT NULL, id TEXT NOT NULL,"
    " revision INTEGER NOT NULL, json TEXT NOT NULL, UNIQUE(kind, id));"
    "CREATE TABLE entries(field INTEGER NOT NULL, value NOT NULL, id TEXT NOT NULL, number INTEGER "
    "NOT NULL,"
    " PRIMARY KEY(field, value, id)) WITHOUT ROWID;"
    /* value: a text of the field, or the empty blob for all of the kind or field together */
    "CREATE TABLE tallies(name INTEGER NOT NULL, value NOT NULL, count INTEGER NOT NULL,"
    " PRIMARY KEY(name, value)) WITHOUT ROWID;"
    "PRAGMA application_id=" TEXT_OF(APPLICATION_ID) ";"
                                                     "PRAGMA user_version=" TEXT_OF(
                                                         SCHEMA_VERSION) ";";

static enum hf_err read_integer(sqlite3 *db, const char *sql, int64_t *out, struct hf_error *err)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    enum hf_err code = hf_catalog_sqlite_prepare(db, sql, &statement, err);
    if (code == HF_ERR_OK) {
        code = hf_catalog_sqlite_step(statement, &row, err);
    }
    *out = code == HF_ERR_OK && row ? sqlite3_column_int64(statement, 0) : 0;
    (void)sqlite3_finalize(statement);
    return code;
}

/* Whose file it is, and of which version. */
static enum hf_err check_file(sqlite3 *db, bool *is_new, struct hf_error *err)
{
    int64_t application = 0;
    int64_t version = 0;
    int64_t tables = 0;
    if (read_integer(db, "PRAGMA application_id", &application, err) != HF_ERR_OK ||
        read_integer(db, "PRAGMA user_version", &version, err) != HF_ERR_OK ||
        read_integer(db, "SELECT count(*) FROM sqlite_schema", &tables, err) != HF_ERR_OK) {
        return err->code;
    }
    *is_new = application == 0 && version == 0 && tables == 0;
    if (*is_new) {
        return HF_ERR_OK;
    }
    if (application != APPLICATION_ID) {
        return hf_fail(err, HF_ERR_INVALID, "it is a database of another program");
    }
    if (version != SCHEMA_VERSION) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "it has schema version %lld, this program knows version %d; hint: use the "
                       "release that wrote it, or a later one",
                       (long long)version, SCHEMA_VERSION);
    }
    return HF_ERR_OK;
}

/* Runs one statement with parameters 1: number, 2: text, 3: number; a zero or NULL is left out. */
static enum hf_err run(sqlite3 *db, const char *sql, int64_t first, const char *text, int64_t third,
                       struct hf_error *err)
{
    sqlite3_stmt *statement = NULL;
    bool row;
    enum hf_err code = hf_catalog_sqlite_prepare(db, sql, &statement, err);
    if (code == HF_ERR_OK) {
        (void)sqlite3_bind_int64(statement, 1, first);
        if (text != NULL) {
            hf_catalog_sqlite_bind_text(statement, 2, text);
        }
        if (third != 0) {
            (void)sqlite3_bind_int64(statement, 3, third);
        }
        code = hf_catalog_sqlite_step(statement, &row, err);
    }
    (void)sqlite3_finalize(statement);
    return code;
}

/* Fills a new index from the documents that are there. */
static enum hf_err build_index(sqlite3 *db, int64_t field_number, const char *field,
                               int64_t kind_number, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = hf_asprintf("$.\"%s\"", field);
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for an index");
    }
    if (run(db,
            "INSERT INTO entries(field, value, id, number)"
            " SELECT ?1, json_extract(json, ?2), id, number FROM documents"
            " WHERE kind=?3 AND json_type(json, ?2) IN ('text', 'integer')",
            field_number, path, kind_number, err) != HF_ERR_OK ||
        run(db,
            "INSERT INTO tallies SELECT ?1, x'', count(*) FROM entries WHERE field=?1 HAVING "
            "count(*) > 0",
            field_number, NULL, 0, err) != HF_ERR_OK) {
        return err->code;
    }
    return run(db,
               "INSERT INTO tallies SELECT ?1, value, count(*) FROM entries"
               " WHERE field=?1 AND typeof(value)='text' GROUP BY value",
               field_number, NULL, 0, err);
}

/*
 * The number of a kind (empty field) or of one of its fields; *is_new when it was given just now.
 */
static enum hf_err number_of(sqlite3 *db, const char *kind, const char *field, int64_t *number,
                             bool *is_new, struct hf_error *err)
{
    static const char *const sql[] = {"SELECT number FROM names WHERE kind=?1 AND field=?2",
                                      "INSERT INTO names(kind, field) VALUES(?1, ?2)"};
    *is_new = false;
    for (size_t i = 0; i < HF_ARRAY_LEN(sql); i++) {
        sqlite3_stmt *statement = NULL;
        bool row = false;
        enum hf_err code = hf_catalog_sqlite_prepare(db, sql[i], &statement, err);
        if (code == HF_ERR_OK) {
            hf_catalog_sqlite_bind_text(statement, 1, kind);
            hf_catalog_sqlite_bind_text(statement, 2, field);
            code = hf_catalog_sqlite_step(statement, &row, err);
        }
        *number = row ? sqlite3_column_int64(statement, 0) : sqlite3_last_insert_rowid(db);
        (void)sqlite3_finalize(statement);
        if (code != HF_ERR_OK || row) {
            return code;
        }
    }
    *is_new = true;
    return HF_ERR_OK;
}

static enum hf_err number_kind(sqlite3 *db, const struct hf_catalog_kind *kind,
                               struct hf_catalog_numbers *numbers, struct hf_error *err)
{
    bool is_new = false;
    if (number_of(db, kind->name, "", &numbers->kind, &is_new, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < HF_CATALOG_INDEX_MAX && kind->indexes[i] != NULL; i++) {
        if (number_of(db, kind->name, kind->indexes[i], &numbers->fields[i], &is_new, err) !=
                HF_ERR_OK ||
            (is_new && build_index(db, numbers->fields[i], kind->indexes[i], numbers->kind, err) !=
                           HF_ERR_OK)) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err make_schema(sqlite3 *db, const struct hf_catalog_options *options,
                               struct hf_catalog_numbers *numbers, struct hf_error *err)
{
    bool is_new = false;
    if (check_file(db, &is_new, err) != HF_ERR_OK ||
        (is_new && hf_catalog_sqlite_exec(db, create_sql, err) != HF_ERR_OK)) {
        return err->code;
    }
    for (size_t i = 0; i < options->kind_count; i++) {
        if (number_kind(db, &options->kinds[i], &numbers[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return hf_catalog_sqlite_exec(db, "COMMIT", err);
}

enum hf_err hf_catalog_sqlite_schema(sqlite3 *db, const struct hf_catalog_options *options,
                                     struct hf_catalog_numbers *numbers, struct hf_error *err)
{
    if (hf_catalog_sqlite_exec(db, "BEGIN IMMEDIATE", err) != HF_ERR_OK) {
        return err->code;
    }
    if (make_schema(db, options, numbers, err) != HF_ERR_OK) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL,
                           NULL); /* the first failure is the one to tell */
        return err->code;
    }
    return HF_ERR_OK;
}
