/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver "sqlite": queries, each on a connection of its own from a small pool, in a transaction
 * where it takes more than one statement, so that it sees one moment. Must not write.
 */
#include "base/alloc.h"
#include "catalog/sqlite_internal.h"

/* ?1 kind or field, ?2 limit, ?3 skip, ?4 and ?5 values, ?6 the id to begin behind. Ordering by what the key of the table
 * holds, SQLite reads in that order and sorts nothing. */
static const char *const read_sql[HF_CATALOG_READ_COUNT] = {
    [HF_CATALOG_READ_GET] = "SELECT id, revision, json FROM documents WHERE kind=?1 AND id=?4",
    [HF_CATALOG_READ_NUMBER] = "SELECT id, revision, json FROM documents WHERE number=?1",
    [HF_CATALOG_READ_IDS] =
        "SELECT number FROM documents WHERE kind=?1 AND id>?6 ORDER BY id LIMIT ?2 OFFSET ?3",
    [HF_CATALOG_READ_IDS_DESCENDING] =
        "SELECT number FROM documents WHERE kind=?1 AND id<?6 ORDER BY id DESC LIMIT ?2 OFFSET ?3",
    [HF_CATALOG_READ_ALL] =
        "SELECT number FROM entries WHERE field=?1 ORDER BY value, id LIMIT ?2 OFFSET ?3",
    [HF_CATALOG_READ_ALL_DESCENDING] =
        "SELECT number FROM entries WHERE field=?1 ORDER BY value DESC, id DESC LIMIT ?2 OFFSET ?3",
    [HF_CATALOG_READ_EQUAL] = "SELECT number FROM entries WHERE field=?1 AND value=?4 AND id>?6 "
                              "ORDER BY id LIMIT ?2 OFFSET ?3",
    [HF_CATALOG_READ_EQUAL_DESCENDING] =
        "SELECT number FROM entries WHERE field=?1 AND value=?4 AND id<?6 "
        "ORDER BY id DESC LIMIT ?2 OFFSET ?3",
    [HF_CATALOG_READ_RANGE] =
        "SELECT number FROM entries WHERE field=?1 AND value BETWEEN ?4 AND ?5"
        " ORDER BY value, id LIMIT ?2 OFFSET ?3",
    [HF_CATALOG_READ_RANGE_DESCENDING] =
        "SELECT number FROM entries WHERE field=?1 AND value BETWEEN ?4 AND ?5"
        " ORDER BY value DESC, id DESC LIMIT ?2 OFFSET ?3",
    [HF_CATALOG_READ_TOTAL] = "SELECT count FROM tallies WHERE name=?1 AND value=x''",
    [HF_CATALOG_READ_TALLY] = "SELECT count FROM tallies WHERE name=?1 AND value=?4",
    [HF_CATALOG_READ_RANGE_COUNT] =
        "SELECT count(*) FROM entries WHERE field=?1 AND value BETWEEN ?4 AND ?5",
};

void hf_catalog_reader_free(struct hf_catalog_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(reader->statements); i++) {
        (void)sqlite3_finalize(reader->statements[i]);
    }
    (void)sqlite3_close(reader->db);
    hf_free(reader);
}

static enum hf_err take_reader(struct hf_catalog_sqlite *catalog, struct hf_catalog_reader **out,
                               struct hf_error *err)
{
    hf_mutex_lock(&catalog->mutex);
    struct hf_catalog_reader *reader =
        catalog->idle_count > 0 ? catalog->idle[--catalog->idle_count] : NULL;
    hf_mutex_unlock(&catalog->mutex);
    if (reader == NULL) {
        reader = hf_alloc_zero(sizeof *reader);
        if (reader == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a connection");
        }
        if (hf_catalog_sqlite_connect(catalog->path, &reader->db, err) != HF_ERR_OK ||
            hf_catalog_sqlite_exec(reader->db, "PRAGMA query_only=ON", err) != HF_ERR_OK) {
            hf_catalog_reader_free(reader);
            return err->code;
        }
    }
    *out = reader;
    return HF_ERR_OK;
}

static void give_back(struct hf_catalog_sqlite *catalog, struct hf_catalog_reader *reader)
{
    hf_mutex_lock(&catalog->mutex);
    if (catalog->idle_count < HF_ARRAY_LEN(catalog->idle)) {
        catalog->idle[catalog->idle_count++] = reader;
        reader = NULL;
    }
    hf_mutex_unlock(&catalog->mutex);
    hf_catalog_reader_free(reader);
}

/* The statement with ?1 bound; reset it after use. */
static enum hf_err statement_of(struct hf_catalog_reader *reader, enum hf_catalog_read which,
                                int64_t name, sqlite3_stmt **out, struct hf_error *err)
{
    sqlite3_stmt **statement = &reader->statements[which];
    if (*statement == NULL &&
        hf_catalog_sqlite_prepare(reader->db, read_sql[which], statement, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)sqlite3_bind_int64(*statement, 1, name);
    *out = *statement;
    return HF_ERR_OK;
}

static enum hf_err read_document(sqlite3_stmt *statement, struct hf_catalog_document *out,
                                 struct hf_error *err)
{
    int64_t revision = sqlite3_column_int64(statement, 1);
    return hf_catalog_document_set(out, hf_catalog_sqlite_text(statement, 0), (uint64_t)revision,
                                   hf_catalog_sqlite_text(statement, 2), err);
}

static const struct hf_catalog_numbers *numbers_of(const struct hf_catalog_sqlite *catalog,
                                                   const struct hf_catalog_kind *kind)
{
    return &catalog->numbers[kind - catalog->base.kinds];
}

/* The number of the index, or of the kind without one; the query was checked. */
static int64_t name_of(const struct hf_catalog_sqlite *catalog, const struct hf_catalog_kind *kind,
                       const char *index)
{
    const struct hf_catalog_numbers *numbers = numbers_of(catalog, kind);
    for (size_t i = 0; index != NULL && i < HF_CATALOG_INDEX_MAX && kind->indexes[i] != NULL; i++) {
        if (strcmp(kind->indexes[i], index) == 0) {
            return numbers->fields[i];
        }
    }
    return numbers->kind;
}

enum hf_err hf_catalog_sqlite_get(struct hf_catalog *base, const struct hf_catalog_kind *kind,
                                  const char *id, struct hf_catalog_document *out,
                                  struct hf_error *err)
{
    struct hf_catalog_sqlite *catalog = (struct hf_catalog_sqlite *)base;
    struct hf_catalog_reader *reader = NULL;
    sqlite3_stmt *statement = NULL;
    bool row = false;
    if (take_reader(catalog, &reader, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code =
        statement_of(reader, HF_CATALOG_READ_GET, numbers_of(catalog, kind)->kind, &statement, err);
    if (code == HF_ERR_OK) {
        hf_catalog_sqlite_bind_text(statement, 4, id);
        code = hf_catalog_sqlite_step(statement, &row, err);
        if (code == HF_ERR_OK) {
            code = row ? read_document(statement, out, err)
                       : hf_fail(err, HF_ERR_NOT_FOUND, "no such document");
        }
        hf_catalog_sqlite_reset(statement);
    }
    give_back(catalog, reader);
    return code;
}

static int64_t clamp(size_t number)
{
    return number > INT64_MAX ? INT64_MAX : (int64_t)number;
}

static void bind_values(sqlite3_stmt *statement, const struct hf_catalog_query *query)
{
    /* From the start: every id is greater than the empty text, and smaller than a blob. */
    if (query->after != NULL || !query->descending) {
        hf_catalog_sqlite_bind_text(statement, 6, query->after == NULL ? "" : query->after);
    } else {
        (void)sqlite3_bind_zeroblob(statement, 6, 0);
    }
    if (query->equals_text != NULL) {
        hf_catalog_sqlite_bind_text(statement, 4, query->equals_text);
    } else if (query->has_range) {
        (void)sqlite3_bind_int64(statement, 4, query->minimum);
        (void)sqlite3_bind_int64(statement, 5, query->maximum);
    }
}

static enum hf_catalog_read statement_for(const struct hf_catalog_query *query)
{
    enum hf_catalog_read which = query->index == NULL         ? HF_CATALOG_READ_IDS
                                 : query->equals_text != NULL ? HF_CATALOG_READ_EQUAL
                                 : query->has_range           ? HF_CATALOG_READ_RANGE
                                                              : HF_CATALOG_READ_ALL;
    return query->descending ? which + 1 : which;
}

static enum hf_err add_document(struct hf_catalog_reader *reader, int64_t number,
                                struct hf_catalog_list *out, size_t *capacity, struct hf_error *err)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    struct hf_catalog_document *document = hf_catalog_list_add(out, capacity);
    if (document == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a list of documents");
    }
    enum hf_err code = statement_of(reader, HF_CATALOG_READ_NUMBER, number, &statement, err);
    if (code != HF_ERR_OK) {
        return code;
    }
    code = hf_catalog_sqlite_step(statement, &row, err);
    if (code == HF_ERR_OK) {
        code = row ? read_document(statement, document, err)
                   : hf_fail(err, HF_ERR_CORRUPT,
                             "an index names document %lld, which is not there", (long long)number);
    }
    hf_catalog_sqlite_reset(statement);
    return code;
}

static enum hf_err find_documents(struct hf_catalog_reader *reader, int64_t name,
                                  const struct hf_catalog_query *query, struct hf_catalog_list *out,
                                  struct hf_error *err)
{
    sqlite3_stmt *statement = NULL;
    size_t capacity = 0;
    bool row = true;
    enum hf_err code = statement_of(reader, statement_for(query), name, &statement, err);
    if (code != HF_ERR_OK) {
        return code;
    }
    (void)sqlite3_bind_int64(statement, 2, clamp(query->limit));
    (void)sqlite3_bind_int64(statement, 3, clamp(query->skip));
    bind_values(statement, query);
    while (code == HF_ERR_OK && row) {
        code = hf_catalog_sqlite_step(statement, &row, err);
        if (code == HF_ERR_OK && row) {
            code = add_document(reader, sqlite3_column_int64(statement, 0), out, &capacity, err);
        }
    }
    hf_catalog_sqlite_reset(statement);
    return code;
}

enum hf_err hf_catalog_sqlite_find(struct hf_catalog *base, const struct hf_catalog_kind *kind,
                                   const struct hf_catalog_query *query,
                                   struct hf_catalog_list *out, struct hf_error *err)
{
    struct hf_catalog_sqlite *catalog = (struct hf_catalog_sqlite *)base;
    struct hf_catalog_reader *reader = NULL;
    if (take_reader(catalog, &reader, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_catalog_sqlite_exec(reader->db, "BEGIN", err);
    if (code == HF_ERR_OK) {
        code = find_documents(reader, name_of(catalog, kind, query->index), query, out, err);
        (void)sqlite3_exec(reader->db, "COMMIT", NULL, NULL,
                           NULL); /* ends a look, changes nothing */
    }
    give_back(catalog, reader);
    return code;
}

enum hf_err hf_catalog_sqlite_count(struct hf_catalog *base, const struct hf_catalog_kind *kind,
                                    const struct hf_catalog_query *query, uint64_t *count,
                                    struct hf_error *err)
{
    struct hf_catalog_sqlite *catalog = (struct hf_catalog_sqlite *)base;
    struct hf_catalog_reader *reader = NULL;
    sqlite3_stmt *statement = NULL;
    bool row = false;
    if (take_reader(catalog, &reader, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_catalog_read which = query->equals_text != NULL ? HF_CATALOG_READ_TALLY
                                 : query->has_range         ? HF_CATALOG_READ_RANGE_COUNT
                                                            : HF_CATALOG_READ_TOTAL;
    enum hf_err code =
        statement_of(reader, which, name_of(catalog, kind, query->index), &statement, err);
    if (code == HF_ERR_OK) {
        bind_values(statement, query);
        code = hf_catalog_sqlite_step(statement, &row, err);
        if (code == HF_ERR_OK) {
            *count = row ? (uint64_t)sqlite3_column_int64(statement, 0) : 0;
        }
        hf_catalog_sqlite_reset(statement);
    }
    give_back(catalog, reader);
    return code;
}
