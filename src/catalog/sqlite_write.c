/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver "sqlite": the writer thread. Callers queue their write and wait; the thread takes all that
 * is queued, writes it in one transaction and syncs once for all (two, when some need no sync:
 * these do not wait for it).
 *
 *   caller: queue, wait ........................................ answer
 *   thread: take all -> BEGIN -> each in a savepoint -> COMMIT -> wake
 *
 * A write that is refused leaves the others of its transaction alone. When the commit fails, all of
 * it failed.
 */
#include "base/alloc.h"
#include "base/fault.h"
#include "catalog/sqlite_internal.h"

enum action { ACTION_INSERT, ACTION_REPLACE, ACTION_REMOVE };

struct hf_catalog_request {
    enum action action;
    const struct hf_catalog_write *write; /* borrowed: the caller waits */
    int64_t kind_number;
    struct hf_catalog_request *next;
    struct hf_cond answered;
    bool done; /* guarded by the catalog's mutex */
    enum hf_err code;
    struct hf_error *err; /* the caller's */
};

enum statement {
    WRITE_FIND,
    WRITE_INSERT,
    WRITE_UPDATE,
    WRITE_DELETE,
    WRITE_ENTRY,
    WRITE_ENTRY_DELETE,
    WRITE_TALLY_TOTAL,
    WRITE_TALLY,
    WRITE_TALLY_DROP,
    WRITE_GENERATION,
    WRITE_FIELDS,
    WRITE_COUNT,
};

static const char *const write_sql[WRITE_COUNT] = {
    [WRITE_FIND] = "SELECT number, revision, json FROM documents WHERE kind=?1 AND id=?2",
    [WRITE_INSERT] = "INSERT INTO documents(kind, id, revision, json) VALUES(?1, ?2, 1, ?3)",
    [WRITE_UPDATE] = "UPDATE documents SET revision=revision+1, json=?2 WHERE number=?1",
    [WRITE_DELETE] = "DELETE FROM documents WHERE number=?1",
    [WRITE_ENTRY] = "INSERT INTO entries(field, value, id, number) VALUES(?1, ?2, ?3, ?4)",
    [WRITE_ENTRY_DELETE] = "DELETE FROM entries WHERE field=?1 AND value=?2 AND id=?3",
    [WRITE_TALLY_TOTAL] = "INSERT INTO tallies(name, value, count) VALUES(?1, x'', ?2)"
                          " ON CONFLICT(name, value) DO UPDATE SET count=count+?2",
    [WRITE_TALLY] = "INSERT INTO tallies(name, value, count) VALUES(?1, ?3, ?2)"
                    " ON CONFLICT(name, value) DO UPDATE SET count=count+?2",
    [WRITE_TALLY_DROP] = "DELETE FROM tallies WHERE name=?1 AND value=?3 AND count=0",
    [WRITE_GENERATION] = "SELECT max(number) FROM names",
    [WRITE_FIELDS] = "SELECT f.number, k.number, f.field FROM names f JOIN names k ON "
                     "k.kind=f.kind AND k.field=''"
                     " WHERE f.field<>''",
};

/* An index of the file. Another release's processes may have made ones that this program does not
 * declare: they are kept up all the same, or they would be wrong when those look again. */
struct field {
    int64_t number;
    int64_t kind;
    char *name; /* owned */
};

struct hf_catalog_writer {
    sqlite3 *db; /* owned */
    sqlite3_stmt *statements[WRITE_COUNT];
    struct field *fields; /* owned */
    size_t field_count;
    int64_t generation; /* of fields: the highest number given */
    bool synced;        /* how the connection is set */
};

/* ---- Statements ---- */

/* Runs a statement that gives no row and resets it. */
static enum hf_err finish(sqlite3_stmt *statement, struct hf_error *err)
{
    bool row;
    enum hf_err code = hf_catalog_sqlite_step(statement, &row, err);
    hf_catalog_sqlite_reset(statement);
    return code;
}

static void bind_value(sqlite3_stmt *statement, int at, const struct hf_catalog_value *value)
{
    if (value->type == HF_CATALOG_VALUE_TEXT) {
        hf_catalog_sqlite_bind_text(statement, at, value->text);
    } else {
        (void)sqlite3_bind_int64(statement, at, value->integer);
    }
}

static enum hf_err tally(struct hf_catalog_writer *writer, int64_t name,
                         const struct hf_catalog_value *value, int64_t change, struct hf_error *err)
{
    sqlite3_stmt *total = writer->statements[WRITE_TALLY_TOTAL];
    (void)sqlite3_bind_int64(total, 1, name);
    (void)sqlite3_bind_int64(total, 2, change);
    enum hf_err code = finish(total, err);
    if (code != HF_ERR_OK || value == NULL || value->type != HF_CATALOG_VALUE_TEXT) {
        return code;
    }
    sqlite3_stmt *single = writer->statements[WRITE_TALLY];
    (void)sqlite3_bind_int64(single, 1, name);
    (void)sqlite3_bind_int64(single, 2, change);
    bind_value(single, 3, value);
    code = finish(single, err);
    if (code != HF_ERR_OK || change > 0) {
        return code;
    }
    sqlite3_stmt *drop = writer->statements[WRITE_TALLY_DROP];
    (void)sqlite3_bind_int64(drop, 1, name);
    bind_value(drop, 3, value);
    return finish(drop, err);
}

static enum hf_err change_entry(struct hf_catalog_writer *writer, const struct field *field,
                                const char *id, int64_t number,
                                const struct hf_catalog_value *before,
                                const struct hf_catalog_value *after, struct hf_error *err)
{
    if (hf_catalog_value_equal(before, after)) {
        return HF_ERR_OK;
    }
    if (before->type != HF_CATALOG_VALUE_NONE) {
        sqlite3_stmt *statement = writer->statements[WRITE_ENTRY_DELETE];
        (void)sqlite3_bind_int64(statement, 1, field->number);
        bind_value(statement, 2, before);
        hf_catalog_sqlite_bind_text(statement, 3, id);
        if (finish(statement, err) != HF_ERR_OK ||
            tally(writer, field->number, before, -1, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (after->type != HF_CATALOG_VALUE_NONE) {
        sqlite3_stmt *statement = writer->statements[WRITE_ENTRY];
        (void)sqlite3_bind_int64(statement, 1, field->number);
        bind_value(statement, 2, after);
        hf_catalog_sqlite_bind_text(statement, 3, id);
        (void)sqlite3_bind_int64(statement, 4, number);
        if (finish(statement, err) != HF_ERR_OK ||
            tally(writer, field->number, after, 1, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* before and after: the document as it was and will be; NULL for none. */
static enum hf_err change_entries(struct hf_catalog_writer *writer,
                                  const struct hf_catalog_request *request, int64_t number,
                                  const struct hf_json *before, const struct hf_json *after,
                                  struct hf_error *err)
{
    static const struct hf_catalog_value none = {.type = HF_CATALOG_VALUE_NONE};
    for (size_t i = 0; i < writer->field_count; i++) {
        const struct field *field = &writer->fields[i];
        if (field->kind != request->kind_number) {
            continue;
        }
        struct hf_catalog_value old =
            before == NULL ? none : hf_catalog_value_of(before, field->name);
        struct hf_catalog_value new =
            after == NULL ? none : hf_catalog_value_of(after, field->name);
        if (change_entry(writer, field, request->write->id, number, &old, &new, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* ---- One write ---- */

static void bind_document(sqlite3_stmt *statement, int at, struct hf_bytes text)
{
    (void)sqlite3_bind_text64(statement, at, (const char *)text.data, text.len, SQLITE_STATIC,
                              SQLITE_UTF8);
}

/*
 * The document that is there, and its number; NOT_FOUND without one. *json is the caller's to drop.
 */
static enum hf_err find_stored(struct hf_catalog_writer *writer,
                               const struct hf_catalog_request *request, int64_t *number,
                               uint64_t *revision, struct hf_json **json, struct hf_error *err)
{
    sqlite3_stmt *statement = writer->statements[WRITE_FIND];
    struct hf_catalog_document document = {.json = NULL};
    bool row = false;
    (void)sqlite3_bind_int64(statement, 1, request->kind_number);
    hf_catalog_sqlite_bind_text(statement, 2, request->write->id);
    enum hf_err code = hf_catalog_sqlite_step(statement, &row, err);
    if (code == HF_ERR_OK && !row) {
        code = hf_fail(err, HF_ERR_NOT_FOUND, "no such document");
    }
    if (code == HF_ERR_OK) {
        *number = sqlite3_column_int64(statement, 0);
        *revision = (uint64_t)sqlite3_column_int64(statement, 1);
        code = hf_catalog_document_set(&document, hf_str_of(request->write->id), *revision,
                                       hf_catalog_sqlite_text(statement, 2), err);
    }
    *json = document.json;
    hf_catalog_sqlite_reset(statement);
    return code;
}

static enum hf_err apply_insert(struct hf_catalog_writer *writer,
                                const struct hf_catalog_request *request, struct hf_error *err)
{
    sqlite3_stmt *statement = writer->statements[WRITE_INSERT];
    (void)sqlite3_bind_int64(statement, 1, request->kind_number);
    hf_catalog_sqlite_bind_text(statement, 2, request->write->id);
    bind_document(statement, 3, request->write->text);
    int result = sqlite3_step(statement);
    enum hf_err code = HF_ERR_OK;
    if ((result & 0xff) == SQLITE_CONSTRAINT) {
        code = hf_fail(err, HF_ERR_EXISTS, "there is one already");
    } else if (result != SQLITE_DONE) {
        code = hf_catalog_sqlite_fail(writer->db, result, "insert", err);
    }
    hf_catalog_sqlite_reset(statement);
    if (code != HF_ERR_OK) {
        return code;
    }
    int64_t number = sqlite3_last_insert_rowid(writer->db);
    if (tally(writer, request->kind_number, NULL, 1, err) != HF_ERR_OK) {
        return err->code;
    }
    return change_entries(writer, request, number, NULL, request->write->json, err);
}

/* Replace and remove: only of the revision that the caller saw. */
static enum hf_err apply_change(struct hf_catalog_writer *writer,
                                const struct hf_catalog_request *request, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *stored = NULL;
    int64_t number = 0;
    uint64_t revision = 0;
    if (find_stored(writer, request, &number, &revision, &stored, err) != HF_ERR_OK) {
        return err->code;
    }
    if (revision != request->write->expected) {
        return hf_fail(err, HF_ERR_CONFLICT, "its revision is %llu, no longer %llu",
                       (unsigned long long)revision, (unsigned long long)request->write->expected);
    }
    bool remove = request->action == ACTION_REMOVE;
    sqlite3_stmt *statement = writer->statements[remove ? WRITE_DELETE : WRITE_UPDATE];
    (void)sqlite3_bind_int64(statement, 1, number);
    if (!remove) {
        bind_document(statement, 2, request->write->text);
    }
    if (finish(statement, err) != HF_ERR_OK ||
        (remove && tally(writer, request->kind_number, NULL, -1, err) != HF_ERR_OK)) {
        return err->code;
    }
    return change_entries(writer, request, number, stored, remove ? NULL : request->write->json,
                          err);
}

/* ---- One transaction ---- */

static void fields_clear(struct hf_catalog_writer *writer)
{
    for (size_t i = 0; i < writer->field_count; i++) {
        hf_free(writer->fields[i].name);
    }
    hf_free(writer->fields);
    writer->fields = NULL;
    writer->field_count = 0;
    writer->generation = 0;
}

static enum hf_err add_field(struct hf_catalog_writer *writer, sqlite3_stmt *row,
                             struct hf_error *err)
{
    struct field *fields =
        hf_realloc_array(writer->fields, writer->field_count + 1, sizeof *writer->fields);
    if (fields == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for the indexes");
    }
    writer->fields = fields;
    struct hf_str name = hf_catalog_sqlite_text(row, 2);
    struct field field = {.number = sqlite3_column_int64(row, 0),
                          .kind = sqlite3_column_int64(row, 1)};
    field.name = hf_strndup(name.data, name.len);
    if (field.name == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for the indexes");
    }
    writer->fields[writer->field_count++] = field;
    return HF_ERR_OK;
}

/* Inside the transaction, so that no index can be added between the look and the writes. */
static enum hf_err refresh_fields(struct hf_catalog_writer *writer, struct hf_error *err)
{
    sqlite3_stmt *statement = writer->statements[WRITE_GENERATION];
    bool row = false;
    enum hf_err code = hf_catalog_sqlite_step(statement, &row, err);
    int64_t generation = row ? sqlite3_column_int64(statement, 0) : 0;
    hf_catalog_sqlite_reset(statement);
    if (code != HF_ERR_OK || generation == writer->generation) {
        return code;
    }
    fields_clear(writer);
    statement = writer->statements[WRITE_FIELDS];
    do {
        code = hf_catalog_sqlite_step(statement, &row, err);
        if (code == HF_ERR_OK && row) {
            code = add_field(writer, statement, err);
        }
    } while (code == HF_ERR_OK && row);
    hf_catalog_sqlite_reset(statement);
    if (code == HF_ERR_OK) {
        writer->generation = generation;
    } else {
        fields_clear(writer);
    }
    return code;
}

static enum hf_err begin(struct hf_catalog_writer *writer, bool synced, struct hf_error *err)
{
    /* FULL syncs the log with each commit, NORMAL only before a checkpoint. A sync covers what
     * earlier commits wrote. */
    if (writer->synced != synced) {
        const char *sql = synced ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL";
        if (hf_catalog_sqlite_exec(writer->db, sql, err) != HF_ERR_OK) {
            return err->code;
        }
        writer->synced = synced;
    }
    if (hf_catalog_sqlite_exec(writer->db, "BEGIN IMMEDIATE", err) != HF_ERR_OK) {
        return err->code;
    }
    return refresh_fields(writer, err);
}

/* One write of a transaction. *lost: the failure took the whole transaction with it. */
static enum hf_err apply_one(struct hf_catalog_writer *writer,
                             const struct hf_catalog_request *request, bool *lost,
                             struct hf_error *err)
{
    *lost = false;
    enum hf_err code = hf_catalog_sqlite_exec(writer->db, "SAVEPOINT one", err);
    if (code == HF_ERR_OK) {
        code = request->action == ACTION_INSERT ? apply_insert(writer, request, err)
                                                : apply_change(writer, request, err);
        struct hf_error ignored; /* the first failure is the one to tell */
        if (code == HF_ERR_OK) {
            code = hf_catalog_sqlite_exec(writer->db, "RELEASE one", err);
        } else {
            *lost = hf_catalog_sqlite_exec(writer->db, "ROLLBACK TO one; RELEASE one", &ignored) !=
                    HF_ERR_OK;
        }
    }
    *lost = *lost || sqlite3_get_autocommit(writer->db) != 0;
    return code;
}

/*
 * How a transaction, begun or not, ended for those of its writes that had not failed by themselves.
 */
static void fail_rest(struct hf_catalog_request *first, const struct hf_error *cause)
{
    for (struct hf_catalog_request *request = first; request != NULL; request = request->next) {
        if (request->code == HF_ERR_OK) {
            request->code = cause->code;
            *request->err = *cause;
        }
    }
}

static void apply_all(struct hf_catalog_writer *writer, struct hf_catalog_request *first,
                      bool synced)
{
    struct hf_error cause;
    size_t good = 0;
    bool lost = false;
    enum hf_err code = begin(writer, synced, &cause);
    for (struct hf_catalog_request *request = first; request != NULL && code == HF_ERR_OK;
         request = request->next) {
        request->code = apply_one(writer, request, &lost, request->err);
        good += request->code == HF_ERR_OK;
        if (lost) {
            code = hf_fail(&cause, request->code, "another write of the same transaction: %s",
                           request->err->message);
        }
    }
    if (code == HF_ERR_OK && good > 0) {
        code = HF_FAULT("catalog.sqlite.commit", &cause);
        if (code == HF_ERR_OK) {
            code = hf_catalog_sqlite_exec(writer->db, "COMMIT", &cause);
        }
    }
    if (sqlite3_get_autocommit(writer->db) == 0) {
        (void)sqlite3_exec(writer->db, "ROLLBACK", NULL, NULL,
                           NULL); /* what failed before is to be told */
    }
    if (code != HF_ERR_OK) {
        fail_rest(first, &cause);
    }
}

/* ---- The thread ---- */

static void answer_all(struct hf_catalog_sqlite *catalog, struct hf_catalog_request *first)
{
    HF_LOCKED(&catalog->mutex);
    while (first != NULL) {
        struct hf_catalog_request *next =
            first->next; /* the request is gone once its caller woke */
        first->done = true;
        hf_cond_signal(&first->answered);
        first = next;
    }
}

/* Parts a queue by durability, keeping the order. */
static void part(struct hf_catalog_request *queue, struct hf_catalog_request **synced,
                 struct hf_catalog_request **unsynced)
{
    *synced = NULL;
    *unsynced = NULL;
    while (queue != NULL) {
        struct hf_catalog_request ***end =
            queue->write->durability == HF_CATALOG_SYNCED ? &synced : &unsynced;
        struct hf_catalog_request *next = queue->next;
        queue->next = NULL;
        **end = queue;
        *end = &queue->next;
        queue = next;
    }
}

static void run_writer(void *argument)
{
    struct hf_catalog_sqlite *catalog = argument;
    for (;;) {
        hf_mutex_lock(&catalog->mutex);
        while (catalog->first == NULL && !catalog->closing) {
            hf_cond_wait(&catalog->work, &catalog->mutex);
        }
        struct hf_catalog_request *queue = catalog->first;
        catalog->first = NULL;
        catalog->last = NULL;
        hf_mutex_unlock(&catalog->mutex);
        if (queue == NULL) {
            return;
        }
        struct hf_catalog_request *synced;
        struct hf_catalog_request *unsynced;
        part(queue, &synced, &unsynced);
        if (unsynced != NULL) {
            apply_all(catalog->writer, unsynced, false);
            answer_all(catalog, unsynced);
        }
        if (synced != NULL) {
            apply_all(catalog->writer, synced, true);
            answer_all(catalog, synced);
        }
    }
}

static enum hf_err submit(struct hf_catalog *base, enum action action,
                          const struct hf_catalog_write *write, struct hf_error *err)
{
    struct hf_catalog_sqlite *catalog = (struct hf_catalog_sqlite *)base;
    struct hf_catalog_request request = {
        .action = action,
        .write = write,
        .kind_number = catalog->numbers[write->kind - base->kinds].kind,
        .code = HF_ERR_OK,
        .err = err,
    };
    hf_cond_init(&request.answered);
    hf_mutex_lock(&catalog->mutex);
    if (catalog->last == NULL) {
        catalog->first = &request;
    } else {
        catalog->last->next = &request;
    }
    catalog->last = &request;
    hf_cond_signal(&catalog->work);
    while (!request.done) {
        hf_cond_wait(&request.answered, &catalog->mutex);
    }
    hf_mutex_unlock(&catalog->mutex);
    hf_cond_fini(&request.answered);
    return request.code;
}

enum hf_err hf_catalog_sqlite_insert(struct hf_catalog *catalog,
                                     const struct hf_catalog_write *write, struct hf_error *err)
{
    return submit(catalog, ACTION_INSERT, write, err);
}

enum hf_err hf_catalog_sqlite_replace(struct hf_catalog *catalog,
                                      const struct hf_catalog_write *write, struct hf_error *err)
{
    return submit(catalog, ACTION_REPLACE, write, err);
}

enum hf_err hf_catalog_sqlite_remove(struct hf_catalog *catalog,
                                     const struct hf_catalog_write *write, struct hf_error *err)
{
    return submit(catalog, ACTION_REMOVE, write, err);
}

static void writer_free(struct hf_catalog_writer *writer)
{
    fields_clear(writer);
    for (size_t i = 0; i < WRITE_COUNT; i++) {
        (void)sqlite3_finalize(writer->statements[i]);
    }
    (void)sqlite3_close(writer->db);
    hf_free(writer);
}

enum hf_err hf_catalog_sqlite_start(struct hf_catalog_sqlite *catalog, sqlite3 *db,
                                    struct hf_error *err)
{
    struct hf_catalog_writer *writer = hf_alloc_zero(sizeof *writer);
    if (writer == NULL) {
        (void)sqlite3_close(db);
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for the writer");
    }
    writer->db = db;
    writer->synced = true; /* as every connection begins */
    for (size_t i = 0; i < WRITE_COUNT; i++) {
        if (hf_catalog_sqlite_prepare(db, write_sql[i], &writer->statements[i], err) != HF_ERR_OK) {
            writer_free(writer);
            return err->code;
        }
    }
    catalog->writer = writer;
    if (hf_thread_start("hf-catalog", run_writer, catalog, &catalog->thread, err) != HF_ERR_OK) {
        catalog->writer = NULL;
        writer_free(writer);
        return err->code;
    }
    return HF_ERR_OK;
}

void hf_catalog_sqlite_stop(struct hf_catalog_sqlite *catalog)
{
    hf_mutex_lock(&catalog->mutex);
    catalog->closing = true;
    hf_cond_signal(&catalog->work);
    hf_mutex_unlock(&catalog->mutex);
    hf_thread_join(catalog->thread);
    catalog->thread = NULL;
    if (catalog->writer != NULL) {
        writer_free(catalog->writer);
        catalog->writer = NULL;
    }
}
