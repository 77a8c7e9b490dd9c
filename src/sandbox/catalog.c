/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalog: which collections and indexes there are, and in which files they lie.
 *
 * Each collection is a row of _mdb_catalog, timestamped like the data: a transaction reads the rows
 * as of its own time, and changes them under the oplog's lock; a copy of the files has the catalog
 * of its checkpoint. Who may change it and what goes into the oplog is decided elsewhere.
 */
#include <inttypes.h>
#include <stdio.h>

#include "os/fs.h"
#include "sandbox/engine_internal.h"
#include "sandbox/value.h"

static struct hf_bytes text_bytes(const char *text)
{
    return hf_bytes_of(text, strlen(text));
}

/* ---- What transactions share ---- */

/* One above the last that is there. It begins at 2: a scan may begin below a record. */
static int64_t next_record(WT_SESSION *session, const char *ident)
{
    WT_CURSOR *cursor;
    WT_ITEM last;
    int64_t next = 2;

    if (hf_sandbox_table_open(session, ident, NULL, &cursor) == 0) {
        if (cursor->prev(cursor) == 0 && cursor->get_key(cursor, &last) == 0) {
            next = hf_sandbox_load_record(&last) + 1;
        }
        (void)cursor->close(cursor);
    }
    return next;
}

/* Under the catalog's lock. */
static struct hf_sandbox_table *known_table(const struct hf_sandbox_engine *engine,
                                            const char *ident)
{
    for (size_t i = 0; i < engine->table_count; i++) {
        if (strcmp(engine->tables[i]->ident, ident) == 0) {
            return engine->tables[i];
        }
    }
    return NULL;
}

/* The same one for all; its counts as the last checkpoint left them. */
static struct hf_sandbox_table *table_of(struct hf_sandbox_engine *engine, const char *ident)
{
    HF_CLEANUP(hf_free) struct hf_sandbox_table *fresh = NULL;
    HF_CLEANUP(bson_destroy) bson_t *counts = NULL;
    struct hf_sandbox_table *table;
    struct hf_error err;
    WT_SESSION *session;

    hf_mutex_lock(&engine->catalog);
    table = known_table(engine, ident);
    hf_mutex_unlock(&engine->catalog);
    if (table != NULL) {
        return table;
    }
    fresh = hf_alloc_zero(sizeof *fresh);
    HF_ASSERT(fresh != NULL && hf_sandbox_session_take(engine, &session, &err) == HF_ERR_OK);
    (void)snprintf(fresh->ident, sizeof fresh->ident, "%s", ident);
    (void)hf_sandbox_table_get(session, HF_SANDBOX_SIZES, text_bytes(ident), &counts);
    fresh->records = counts == NULL ? 0 : hf_sandbox_get_int64(counts, "numRecords", 0);
    fresh->bytes = counts == NULL ? 0 : hf_sandbox_get_int64(counts, "dataSize", 0);
    fresh->next_record = next_record(session, ident);
    hf_sandbox_session_give(engine, session);
    HF_LOCKED(&engine->catalog);
    table = known_table(engine, ident); /* somebody else may have been faster */
    if (table == NULL) {
        table = HF_TAKE(fresh);
        *HF_SANDBOX_PUSH(engine->tables, engine->table_count) = table;
    }
    return table;
}

static struct hf_sandbox_table *table_at(struct hf_sandbox_engine *engine, size_t at)
{
    HF_LOCKED(&engine->catalog);
    return at < engine->table_count ? engine->tables[at] : NULL;
}

/* No reads or writes under the lock: a full cache makes them wait for transactions, which need it
 * to end. */
enum hf_err hf_sandbox_sizes_store(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    const struct hf_sandbox_table *table;
    WT_SESSION *session;
    int code = 0;

    if (hf_sandbox_session_take(engine, &session, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; code == 0 && (table = table_at(engine, i)) != NULL; i++) {
        HF_CLEANUP(bson_destroy)
        bson_t *counts = BCON_NEW("numRecords", BCON_INT64(table->records), "dataSize",
                                  BCON_INT64(table->bytes));

        code = hf_sandbox_table_put(session, HF_SANDBOX_SIZES, text_bytes(table->ident),
                                    hf_bytes_of(bson_get_data(counts), counts->len), true);
    }
    hf_sandbox_session_give(engine, session);
    return hf_sandbox_wt(err, code, "write sizeStorer");
}

/* ---- A collection in memory ---- */

static void index_destroy(struct hf_sandbox_index *index)
{
    bson_destroy(index->spec);
    hf_free(index);
}

void hf_sandbox_coll_destroy(struct hf_sandbox_coll *coll)
{
    for (size_t i = 0; i < coll->index_count; i++) {
        index_destroy(coll->indexes[i]);
    }
    hf_free(coll->indexes);
    bson_destroy(coll->options);
    hf_free(coll);
}

static void set_ns(struct hf_sandbox_coll *coll, const char *ns)
{
    (void)snprintf(coll->ns, sizeof coll->ns, "%s", ns);
    coll->name = coll->ns + strcspn(coll->ns, ".") + 1;
    coll->local = strncmp(ns, "local.", 6) == 0;
    coll->oplog = strcmp(ns, HF_SANDBOX_OPLOG_NS) == 0;
}

static void set_options(struct hf_sandbox_coll *coll, const bson_t *options)
{
    bson_destroy(coll->options);
    coll->options = bson_copy(options);
    coll->capped = hf_sandbox_get_true(options, "capped");
    coll->cap_bytes = hf_sandbox_get_int64(options, "size", 0);
    coll->cap_records = hf_sandbox_get_int64(options, "max", 0);
}

/* A collection without indexes, for as long as the transaction. */
static struct hf_sandbox_coll *add_coll(struct hf_sandbox_txn *txn, const char *ns,
                                        const char *ident, const uint8_t *uuid,
                                        const bson_t *options)
{
    struct hf_sandbox_coll *coll = hf_alloc_zero(sizeof *coll);

    HF_ASSERT(coll != NULL);
    coll->engine = txn->engine;
    coll->table = table_of(txn->engine, ident);
    set_ns(coll, ns);
    memcpy(coll->uuid, uuid, HF_SANDBOX_UUID_BYTES);
    set_options(coll, options);
    *HF_SANDBOX_PUSH(txn->colls, txn->coll_count) = coll;
    return coll;
}

static struct hf_sandbox_index *add_index(struct hf_sandbox_coll *coll, const bson_t *spec,
                                          const char *ident)
{
    struct hf_sandbox_index *index = hf_alloc_zero(sizeof *index);

    HF_ASSERT(index != NULL);
    index->spec = bson_copy(spec);
    index->name = hf_sandbox_get_utf8(index->spec, "name", "");
    index->keyed =
        strcmp(index->name, "_id_") == 0 ||
        (hf_sandbox_get_true(spec, "unique") && !bson_has_field(spec, "partialFilterExpression"));
    index->sparse = hf_sandbox_get_true(spec, "sparse");
    (void)snprintf(index->ident, sizeof index->ident, "%s", ident);
    *HF_SANDBOX_PUSH(coll->indexes, coll->index_count) = index;
    return index;
}

struct hf_sandbox_index *hf_sandbox_coll_index_named(const struct hf_sandbox_coll *coll,
                                                     const char *name)
{
    for (size_t i = 0; i < coll->index_count; i++) {
        if (strcmp(coll->indexes[i]->name, name) == 0) {
            return coll->indexes[i];
        }
    }
    return NULL;
}

int64_t hf_sandbox_coll_disk_bytes(const struct hf_sandbox_coll *coll)
{
    int64_t sum = 0;

    for (size_t i = 0; i <= coll->index_count; i++) {
        HF_CLEANUP(hf_free)
        char *path = hf_asprintf("%s/%s.wt", coll->engine->dbpath,
                                 i == 0 ? coll->table->ident : coll->indexes[i - 1]->ident);
        struct hf_file_info info;
        struct hf_error err;

        if (path != NULL && hf_fs_stat(path, &info, &err) == HF_ERR_OK) {
            sum += (int64_t)info.size_bytes;
        }
    }
    return sum;
}

/* ---- Rows ---- */

static enum hf_err write_row(struct hf_sandbox_txn *txn, const struct hf_sandbox_coll *coll,
                             struct hf_error *err)
{
    bson_t row = BSON_INITIALIZER;
    bson_t indexes;
    int code;

    BCON_APPEND(&row, "ident", BCON_UTF8(coll->table->ident), "uuid",
                BCON_BIN(BSON_SUBTYPE_UUID, coll->uuid, HF_SANDBOX_UUID_BYTES), "options",
                BCON_DOCUMENT(coll->options));
    (void)BSON_APPEND_ARRAY_BEGIN(&row, "indexes", &indexes);
    for (uint32_t i = 0; i < coll->index_count;) {
        bson_t *index = BCON_NEW("spec", BCON_DOCUMENT(coll->indexes[i]->spec), "ident",
                                 BCON_UTF8(coll->indexes[i]->ident));
        const bson_value_t value = hf_sandbox_value_of_doc(index);

        hf_sandbox_append_element(&indexes, &i, &value);
        bson_destroy(index);
    }
    (void)bson_append_array_end(&row, &indexes);
    code = hf_sandbox_table_put(txn->session, HF_SANDBOX_CATALOG, text_bytes(coll->ns),
                                hf_bytes_of(bson_get_data(&row), row.len), true);
    bson_destroy(&row);
    txn->catalog_changed = true;
    return hf_sandbox_wt(err, code, "write the catalog");
}

/* What is not as write_row left it WiredTiger's checksums would have told. */
static struct hf_sandbox_coll *read_row(struct hf_sandbox_txn *txn, const char *ns,
                                        const bson_t *row)
{
    struct hf_sandbox_coll *coll;
    bson_value_t uuid;
    bson_t options, indexes, index, spec;

    HF_ASSERT(hf_sandbox_get_doc(row, "options", &options) && hf_sandbox_get(row, "uuid", &uuid) &&
              hf_sandbox_get_doc(row, "indexes", &indexes));
    coll = add_coll(txn, ns, hf_sandbox_get_utf8(row, "ident", ""), uuid.value.v_binary.data,
                    &options);
    HF_SANDBOX_EACH (iter, &indexes, true) {
        HF_ASSERT(hf_sandbox_value_doc(bson_iter_value(&iter), &index) &&
                  hf_sandbox_get_doc(&index, "spec", &spec));
        (void)add_index(coll, &spec, hf_sandbox_get_utf8(&index, "ident", ""));
    }
    return coll;
}

struct hf_sandbox_coll *hf_sandbox_txn_find(struct hf_sandbox_txn *txn, const char *ns)
{
    HF_CLEANUP(bson_destroy) bson_t *row = NULL;

    for (size_t i = 0; i < txn->coll_count; i++) {
        if (!txn->colls[i]->dropped && strcmp(txn->colls[i]->ns, ns) == 0) {
            return txn->colls[i];
        }
    }
    (void)hf_sandbox_table_get(txn->session, HF_SANDBOX_CATALOG, text_bytes(ns), &row);
    return row == NULL ? NULL : read_row(txn, ns, row);
}

enum hf_err hf_sandbox_txn_list(struct hf_sandbox_txn *txn, const char *db,
                                struct hf_sandbox_coll ***out, size_t *count, struct hf_error *err)
{
    size_t len = db == NULL ? 0 : strlen(db);
    WT_CURSOR *cursor;
    WT_ITEM key;
    int code = hf_sandbox_table_open(txn->session, HF_SANDBOX_CATALOG, NULL, &cursor);

    *out = NULL;
    *count = 0;
    while (code == 0 && (code = cursor->next(cursor)) == 0 &&
           (code = cursor->get_key(cursor, &key)) == 0) {
        char ns[HF_SANDBOX_NS_BYTES];
        struct hf_sandbox_coll *coll;

        (void)snprintf(ns, sizeof ns, "%.*s", (int)key.size, (const char *)key.data);
        if (db == NULL || (strncmp(ns, db, len) == 0 && ns[len] == '.')) {
            coll = hf_sandbox_txn_find(txn, ns);
            code = coll == NULL ? WT_ROLLBACK : 0;
            *HF_SANDBOX_PUSH(*out, *count) = coll;
        }
    }
    if (cursor != NULL) {
        (void)cursor->close(cursor);
    }
    return hf_sandbox_wt(err, code == WT_NOTFOUND ? 0 : code, "read the catalog");
}

struct hf_sandbox_coll *hf_sandbox_txn_find_uuid(struct hf_sandbox_txn *txn,
                                                 const uint8_t uuid[HF_SANDBOX_UUID_BYTES])
{
    HF_CLEANUP(hf_free) struct hf_sandbox_coll **list = NULL;
    struct hf_error err;
    size_t count;

    if (hf_sandbox_txn_list(txn, NULL, &list, &count, &err) == HF_ERR_OK) {
        for (size_t i = 0; i < count; i++) {
            if (memcmp(list[i]->uuid, uuid, HF_SANDBOX_UUID_BYTES) == 0) {
                return list[i];
            }
        }
    }
    return NULL;
}

/* ---- Files ---- */

/* The oplog is logged, as the rest of `local` but minvalid, which follows from the data. On a
 * standalone that never was anything else all are. */
static bool is_logged(const struct hf_sandbox_engine *engine, const char *ns)
{
    return (!engine->options.replicated && engine->applied.ts == 0 && engine->stable_ts == 0) ||
           (strncmp(ns, "local.", 6) == 0 && strcmp(ns, "local.replset.minvalid") != 0);
}

/* known: it is there already, and its logging is switched. */
static enum hf_err make_table(struct hf_sandbox_engine *engine, const char *ident, bool logged,
                              bool known, struct hf_error *err)
{
    bool compressed = !known && strncmp(ident, "collection-", 11) == 0;
    WT_SESSION *session;
    char uri[HF_SANDBOX_IDENT_BYTES + 8];
    char config[128];
    int code;

    if (hf_sandbox_session_take(engine, &session, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)snprintf(uri, sizeof uri, "table:%s", ident);
    (void)snprintf(config, sizeof config, "%slog=(enabled=%s)%s",
                   known ? "" : "key_format=u,value_format=u,", logged ? "true" : "false",
                   compressed ? ",block_compressor=snappy" : "");
    code = known ? session->alter(session, uri, config) : session->create(session, uri, config);
    hf_sandbox_session_give(engine, session);
    return hf_sandbox_wt(err, code, ident);
}

/* Its file goes once the transaction has committed. */
static void note_drop(struct hf_sandbox_txn *txn, const char *ident)
{
    (void)snprintf(HF_SANDBOX_PUSH(txn->drops, txn->drop_count)->ident, HF_SANDBOX_IDENT_BYTES,
                   "%s", ident);
}

/* A new file, "collection-7-123.wt"; after an abort it lies there unused. */
static enum hf_err make_file(struct hf_sandbox_txn *txn, const char *kind, const char *ns,
                             char ident[HF_SANDBOX_IDENT_BYTES], struct hf_error *err)
{
    struct hf_sandbox_engine *engine = txn->engine;

    (void)snprintf(ident, HF_SANDBOX_IDENT_BYTES, "%s-%" PRId64 "-%s", kind,
                   (int64_t)atomic_fetch_add(&engine->next_ident, 1), engine->ident_suffix);
    return make_table(engine, ident, is_logged(engine, ns), false, err);
}

/* A recovery from an older checkpoint finds the table in its catalog and needs it. While a backup
 * or a reader has it open WiredTiger keeps it anyway (EBUSY). */
void hf_sandbox_drop_pending(struct hf_sandbox_engine *engine, size_t count)
{
    struct hf_error err;
    WT_SESSION *session;
    uint64_t checkpoint_ts;
    size_t kept = 0;

    hf_mutex_lock(&engine->state);
    checkpoint_ts = engine->checkpoint_ts;
    hf_mutex_unlock(&engine->state);
    if (hf_sandbox_session_take(engine, &session, &err) != HF_ERR_OK) {
        return;
    }
    hf_mutex_lock(&engine->catalog);
    for (size_t i = 0; i < engine->drop_count; i++) {
        const struct hf_sandbox_drop drop = engine->drops[i];
        char uri[HF_SANDBOX_IDENT_BYTES + 8];

        (void)snprintf(uri, sizeof uri, "table:%s", drop.ident);
        if (i >= count || drop.ts > checkpoint_ts ||
            session->drop(session, uri, "force=true,checkpoint_wait=false") == EBUSY) {
            engine->drops[kept++] = drop;
        }
    }
    engine->drop_count = kept;
    hf_mutex_unlock(&engine->catalog);
    hf_sandbox_session_give(engine, session);
}

/* ---- Changes ---- */

enum hf_err hf_sandbox_coll_create(struct hf_sandbox_txn *txn, const char *ns,
                                   const bson_t *options, const uint8_t uuid[HF_SANDBOX_UUID_BYTES],
                                   struct hf_sandbox_coll **out, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy)
    bson_t *id_index =
        BCON_NEW("v", BCON_INT32(2), "key", "{", "_id", BCON_INT32(1), "}", "name", "_id_");
    struct hf_sandbox_coll *coll;
    char ident[HF_SANDBOX_IDENT_BYTES];

    if (hf_sandbox_txn_hold(txn, err) != HF_ERR_OK ||
        make_file(txn, "collection", ns, ident, err) != HF_ERR_OK) {
        return err->code;
    }
    coll = add_coll(txn, ns, ident, uuid, options);
    coll->made = true;
    if (out != NULL) {
        *out = coll;
    }
    return coll->oplog ? write_row(txn, coll, err)
                       : hf_sandbox_coll_create_index(txn, coll, id_index, err);
}

/* The beginning of each change: the lock. What is prepared must find its collections again. */
static enum hf_err begin_change(struct hf_sandbox_txn *txn, const struct hf_sandbox_coll *coll,
                                struct hf_error *err)
{
    if (hf_sandbox_txn_hold(txn, err) != HF_ERR_OK) {
        return err->code;
    }
    return coll->table->pins == 0
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_CONFLICT, "%s is in a prepared transaction", coll->ns);
}

/* The row as it was goes. */
static enum hf_err remove_row(struct hf_sandbox_txn *txn, const struct hf_sandbox_coll *coll,
                              struct hf_error *err)
{
    int code;

    if (begin_change(txn, coll, err) != HF_ERR_OK) {
        return err->code;
    }
    code = hf_sandbox_table_remove(txn->session, HF_SANDBOX_CATALOG, text_bytes(coll->ns));
    txn->catalog_changed = true;
    return hf_sandbox_wt(err, code, coll->ns);
}

enum hf_err hf_sandbox_coll_drop(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                 struct hf_error *err)
{
    if (coll == NULL) {
        return HF_ERR_OK;
    }
    if (remove_row(txn, coll, err) != HF_ERR_OK) {
        return err->code;
    }
    note_drop(txn, coll->table->ident);
    for (size_t i = 0; i < coll->index_count; i++) {
        note_drop(txn, coll->indexes[i]->ident);
    }
    coll->dropped = true;
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_coll_rename(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                   const char *to, struct hf_error *err)
{
    if (remove_row(txn, coll, err) != HF_ERR_OK) {
        return err->code;
    }
    set_ns(coll, to);
    return write_row(txn, coll, err);
}

enum hf_err hf_sandbox_coll_redefine(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                     struct hf_sandbox_index *index, const bson_t *definition,
                                     struct hf_error *err)
{
    if (begin_change(txn, coll, err) != HF_ERR_OK) {
        return err->code;
    }
    if (index == NULL) {
        set_options(coll, definition);
    } else {
        bson_destroy(index->spec);
        index->spec = bson_copy(definition);
        index->name = hf_sandbox_get_utf8(index->spec, "name", "");
    }
    return write_row(txn, coll, err);
}

enum hf_err hf_sandbox_coll_create_index(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                         const bson_t *spec, struct hf_error *err)
{
    const struct hf_sandbox_index *index;
    char ident[HF_SANDBOX_IDENT_BYTES];

    if (!bson_has_field(spec, "key")) {
        return hf_fail(err, HF_ERR_INVALID, "an index without key");
    }
    if (begin_change(txn, coll, err) != HF_ERR_OK ||
        make_file(txn, "index", coll->ns, ident, err) != HF_ERR_OK) {
        return err->code;
    }
    index = add_index(coll, spec, ident);
    return hf_sandbox_index_build(txn, coll, index, err) != HF_ERR_OK ? err->code
                                                                      : write_row(txn, coll, err);
}

enum hf_err hf_sandbox_coll_drop_index(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                       const char *name, struct hf_error *err)
{
    struct hf_sandbox_index *index = hf_sandbox_coll_index_named(coll, name);
    size_t kept = 0;

    if (index == NULL) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "index not found with name [%s]", name);
    }
    if (begin_change(txn, coll, err) != HF_ERR_OK) {
        return err->code;
    }
    note_drop(txn, index->ident);
    for (size_t i = 0; i < coll->index_count; i++) {
        if (coll->indexes[i] != index) {
            coll->indexes[kept++] = coll->indexes[i];
        }
    }
    coll->index_count = kept;
    index_destroy(index);
    return write_row(txn, coll, err);
}

/* What a standalone made is logged: a member's data would outrun its checkpoint. */
static enum hf_err switch_logging(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    HF_CLEANUP(hf_free) struct hf_sandbox_coll **list = NULL;
    size_t count;

    if (make_table(engine, HF_SANDBOX_CATALOG, false, true, err) != HF_ERR_OK ||
        hf_sandbox_txn_begin(engine, HF_SANDBOX_READS, &txn, err) != HF_ERR_OK ||
        hf_sandbox_txn_list(txn, NULL, &list, &count, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < count; i++) {
        bool logged = is_logged(engine, list[i]->ns);

        for (size_t j = 0; j <= list[i]->index_count; j++) {
            const char *ident = j == 0 ? list[i]->table->ident : list[i]->indexes[j - 1]->ident;

            if (make_table(engine, ident, logged, true, err) != HF_ERR_OK) {
                return err->code;
            }
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_catalog_load(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    if (make_table(engine, HF_SANDBOX_CATALOG, is_logged(engine, ""), false, err) != HF_ERR_OK ||
        make_table(engine, HF_SANDBOX_SIZES, false, false, err) != HF_ERR_OK) {
        return err->code;
    }
    return engine->options.replicated ? switch_logging(engine, err) : HF_ERR_OK;
}

void hf_sandbox_catalog_fini(struct hf_sandbox_engine *engine)
{
    for (size_t i = 0; i < engine->table_count; i++) {
        hf_free(engine->tables[i]);
    }
    hf_free(engine->tables);
    hf_free(engine->drops);
}
