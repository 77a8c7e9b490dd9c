/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalog: which collections and indexes there are, and in which files they lie.
 *
 * In memory a collection is an immutable version; a change makes a new one, which the transaction that made it sees at
 * once and everybody else after its commit. On disk each is a row of _mdb_catalog, which is timestamped like the
 * data: a copy of the files has the catalog of its checkpoint. Who may change it and what goes into the oplog is
 * decided elsewhere.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/clock.h"
#include "os/fs.h"
#include "sandbox/engine_internal.h"
#include "sandbox/value.h"

#define CATALOG_URI "table:_mdb_catalog"
#define SIZES_URI "table:sizeStorer"

/* ---- References ---- */

static void table_drop_reference(struct hf_sandbox_table *table)
{
    if (table != NULL && atomic_fetch_sub(&table->references, 1) == 1) {
        hf_free(table);
    }
}

void hf_sandbox_coll_drop_reference(struct hf_sandbox_coll *coll)
{
    if (coll == NULL || atomic_fetch_sub(&coll->references, 1) != 1) {
        return;
    }
    for (size_t i = 0; i < coll->index_count; i++) {
        hf_sandbox_index_drop_reference(coll->indexes[i]);
    }
    hf_free(coll->indexes);
    bson_destroy(coll->options);
    table_drop_reference(coll->table);
    hf_free(coll);
}

static struct hf_sandbox_coll *hold(struct hf_sandbox_coll *coll)
{
    atomic_fetch_add(&coll->references, 1);
    return coll;
}

static void set_ns(struct hf_sandbox_coll *coll, const char *ns)
{
    const char *dot;

    (void)snprintf(coll->ns, sizeof coll->ns, "%s", ns);
    dot = strchr(coll->ns, '.');
    coll->name = dot == NULL ? coll->ns : dot + 1;
    coll->local = strncmp(coll->ns, "local.", 6) == 0;
    coll->oplog = strcmp(coll->ns, HF_SANDBOX_OPLOG_NS) == 0;
}

static void set_options(struct hf_sandbox_coll *coll, const bson_t *options)
{
    bson_destroy(coll->options);
    coll->options = bson_copy(options);
    coll->capped = hf_sandbox_get_true(options, "capped");
    coll->cap_bytes = hf_sandbox_get_int64(options, "size", 0);
    coll->cap_records = hf_sandbox_get_int64(options, "max", 0);
}

/* A new version to be changed; NULL on no memory. */
static struct hf_sandbox_coll *version_of(const struct hf_sandbox_coll *old)
{
    struct hf_sandbox_coll *coll = hf_alloc_zero(sizeof *coll);

    if (coll == NULL) {
        return NULL;
    }
    *coll = *old;
    atomic_init(&coll->references, 1);
    atomic_init(&coll->stale, false);
    coll->name = coll->ns + (old->name - old->ns);
    coll->indexes = hf_alloc_array(old->index_count + 1, sizeof(struct hf_sandbox_index *));
    if (coll->indexes == NULL) {
        hf_free(coll);
        return NULL;
    }
    for (size_t i = 0; i < old->index_count; i++) {
        coll->indexes[i] = old->indexes[i];
        atomic_fetch_add(&coll->indexes[i]->references, 1);
    }
    coll->options = bson_copy(old->options);
    atomic_fetch_add(&coll->table->references, 1);
    return coll;
}

static struct hf_sandbox_coll *new_coll(struct hf_sandbox_engine *engine, const char *ns,
                                        const char *ident)
{
    struct hf_sandbox_coll *coll = hf_alloc_zero(sizeof *coll);
    struct hf_sandbox_table *table = hf_alloc_zero(sizeof *table);

    if (coll == NULL || table == NULL) {
        hf_free(coll);
        hf_free(table);
        return NULL;
    }
    atomic_init(&coll->references, 1);
    atomic_init(&table->references, 1);
    coll->engine = engine;
    coll->table = table;
    set_ns(coll, ns);
    (void)snprintf(table->ident, sizeof table->ident, "%s", ident);
    (void)snprintf(table->uri, sizeof table->uri, "table:%s", ident);
    return coll;
}

/* ---- Tables on disk ---- */

enum hf_err hf_sandbox_make_table(struct hf_sandbox_engine *engine, const char *uri, bool index,
                                  bool logged, struct hf_error *err)
{
    WT_SESSION *session;
    char config[192];
    int code;

    if (hf_sandbox_session_take(engine, &session, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)snprintf(
        config, sizeof config, "key_format=%s,value_format=u,%slog=(enabled=%s)", index ? "u" : "q",
        index ? "prefix_compression=true," : "block_compressor=snappy,", logged ? "true" : "false");
    code = session->create(session, uri, config);
    hf_sandbox_session_give(engine, session);
    return code == 0 ? HF_ERR_OK : hf_sandbox_wt_fail(err, code, uri);
}

static void new_ident(struct hf_sandbox_engine *engine, const char *kind,
                      char out[HF_SANDBOX_IDENT_BYTES])
{
    (void)snprintf(out, HF_SANDBOX_IDENT_BYTES, "%s-%" PRId64 "-%s", kind,
                   (int64_t)atomic_fetch_add(&engine->next_ident, 1), engine->ident_suffix);
}

/* Only the tables of `local` are in the journal, and of these not minvalid, which follows from the data. On a
 * standalone all are. */
static bool is_logged(const struct hf_sandbox_engine *engine, const char *ns)
{
    if (!engine->options.replicated && engine->applied.ts == 0 && engine->stable_ts == 0) {
        return true;
    }
    return strncmp(ns, "local.", 6) == 0 && strcmp(ns, "local.replset.minvalid") != 0;
}

/* ---- Rows ---- */

static void append_row(const struct hf_sandbox_coll *coll, bson_t *row)
{
    bson_t md;
    bson_t options;
    bson_t indexes;
    bson_t idents;

    (void)BSON_APPEND_DOCUMENT_BEGIN(row, "md", &md);
    (void)BSON_APPEND_UTF8(&md, "ns", coll->ns);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&md, "options", &options);
    (void)bson_append_binary(&options, "uuid", -1, BSON_SUBTYPE_UUID, coll->uuid,
                             HF_SANDBOX_UUID_BYTES);
    (void)bson_concat(&options, coll->options);
    (void)bson_append_document_end(&md, &options);
    (void)BSON_APPEND_ARRAY_BEGIN(&md, "indexes", &indexes);
    for (size_t i = 0; i < coll->index_count; i++) {
        char text[16];
        const char *key;
        bson_t index;

        (void)bson_uint32_to_string((uint32_t)i, &key, text, sizeof text);
        (void)bson_append_document_begin(&indexes, key, -1, &index);
        (void)BSON_APPEND_DOCUMENT(&index, "spec", coll->indexes[i]->spec);
        (void)BSON_APPEND_BOOL(&index, "ready", true);
        (void)BSON_APPEND_BOOL(&index, "multikey", atomic_load(&coll->indexes[i]->multikey));
        (void)bson_append_document_end(&indexes, &index);
    }
    (void)bson_append_array_end(&md, &indexes);
    (void)BSON_APPEND_INT32(&md, "prefix", -1);
    (void)bson_append_document_end(row, &md);
    (void)BSON_APPEND_DOCUMENT_BEGIN(row, "idxIdent", &idents);
    for (size_t i = 0; i < coll->index_count; i++) {
        (void)BSON_APPEND_UTF8(&idents, coll->indexes[i]->name, coll->indexes[i]->ident);
    }
    (void)bson_append_document_end(row, &idents);
    (void)BSON_APPEND_UTF8(row, "ns", coll->ns);
    (void)BSON_APPEND_UTF8(row, "ident", coll->table->ident);
}

enum hf_err hf_sandbox_catalog_write(struct hf_sandbox_txn *txn, const struct hf_sandbox_coll *coll,
                                     struct hf_error *err)
{
    bson_t row = BSON_INITIALIZER;
    WT_CURSOR *cursor;
    WT_ITEM item = {.size = 0};
    int code;

    append_row(coll, &row);
    item.data = bson_get_data(&row);
    item.size = row.len;
    code = txn->session->open_cursor(txn->session, CATALOG_URI, NULL, NULL, &cursor);
    if (code == 0) {
        cursor->set_key(cursor, coll->catalog_id);
        cursor->set_value(cursor, &item);
        code = cursor->insert(cursor);
        (void)cursor->close(cursor);
    }
    bson_destroy(&row);
    return code == 0 ? HF_ERR_OK : hf_sandbox_wt_fail(err, code, "write the catalog");
}

static enum hf_err remove_row(struct hf_sandbox_txn *txn, int64_t catalog_id, struct hf_error *err)
{
    WT_CURSOR *cursor;
    int code = txn->session->open_cursor(txn->session, CATALOG_URI, NULL, NULL, &cursor);

    if (code == 0) {
        cursor->set_key(cursor, catalog_id);
        code = cursor->remove(cursor);
        (void)cursor->close(cursor);
    }
    return code == 0 ? HF_ERR_OK : hf_sandbox_wt_fail(err, code, "write the catalog");
}

/* ---- The sorted list ---- */

/* Where ns is, or belongs. */
static size_t place_of(const struct hf_sandbox_engine *engine, const char *ns, bool *found)
{
    size_t low = 0;
    size_t high = engine->coll_count;

    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(engine->colls[middle]->ns, ns);

        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Takes over the reference. */
static bool list_insert(struct hf_sandbox_engine *engine, struct hf_sandbox_coll *coll)
{
    bool found;
    size_t at = place_of(engine, coll->ns, &found);

    HF_ASSERT(!found);
    if (!HF_SANDBOX_ROOM(engine->colls, engine->coll_count, engine->coll_capacity)) {
        return false;
    }
    memmove(engine->colls + at + 1, engine->colls + at,
            (engine->coll_count - at) * sizeof(struct hf_sandbox_coll *));
    engine->colls[at] = coll;
    engine->coll_count++;
    return true;
}

static void list_remove(struct hf_sandbox_engine *engine, const char *ns)
{
    bool found;
    size_t at = place_of(engine, ns, &found);

    if (found) {
        struct hf_sandbox_coll *coll = engine->colls[at];

        memmove(engine->colls + at, engine->colls + at + 1,
                (engine->coll_count - at - 1) * sizeof(struct hf_sandbox_coll *));
        engine->coll_count--;
        atomic_store(&coll->stale, true);
        hf_sandbox_coll_drop_reference(coll);
    }
}

struct hf_sandbox_coll *hf_sandbox_catalog_find(struct hf_sandbox_engine *engine, const char *ns)
{
    bool found;

    HF_LOCKED(&engine->catalog);
    size_t at = place_of(engine, ns, &found);
    return found ? hold(engine->colls[at]) : NULL;
}

/* ---- Publishing ---- */

/* Files of what is gone: the collection's when it was dropped, an index's when the next version lacks it. */
static void drop_files(struct hf_sandbox_txn *txn, const struct hf_sandbox_coll *before,
                       const struct hf_sandbox_coll *after)
{
    uint64_t ts = before->local ? 0 : txn->last.ts;

    for (size_t i = 0; i < before->index_count; i++) {
        bool kept = false;

        for (size_t j = 0; after != NULL && j < after->index_count; j++) {
            kept = kept || strcmp(before->indexes[i]->ident, after->indexes[j]->ident) == 0;
        }
        if (!kept) {
            hf_sandbox_drop_later(txn->engine, before->indexes[i]->ident, ts, NULL);
        }
    }
    if (after == NULL) {
        hf_sandbox_drop_later(txn->engine, before->table->ident, ts, before->table);
    }
}

void hf_sandbox_catalog_publish(struct hf_sandbox_txn *txn)
{
    struct hf_sandbox_engine *engine = txn->engine;

    for (size_t i = 0; i < txn->staged_count; i++) {
        struct hf_sandbox_staged *staged = &txn->staged[i];

        hf_mutex_lock(&engine->catalog);
        if (staged->before != NULL) {
            list_remove(engine, staged->before->ns);
        }
        if (staged->after != NULL) {
            HF_ASSERT(list_insert(engine, hold(staged->after)));
            if (staged->after->oplog) {
                struct hf_sandbox_coll *old = engine->oplog;

                engine->oplog = hold(staged->after);
                hf_sandbox_coll_drop_reference(old);
            }
        } else if (staged->before != NULL && staged->before->oplog) {
            hf_sandbox_coll_drop_reference(engine->oplog);
            engine->oplog = NULL;
        }
        hf_mutex_unlock(&engine->catalog);
        if (staged->before != NULL) {
            drop_files(txn, staged->before, staged->after);
        }
    }
}

/* ---- Changes ---- */

enum hf_err hf_sandbox_coll_create(struct hf_sandbox_txn *txn, const char *ns,
                                   const bson_t *options, const uint8_t uuid[HF_SANDBOX_UUID_BYTES],
                                   struct hf_sandbox_coll **out, struct hf_error *err)
{
    struct hf_sandbox_engine *engine = txn->engine;
    struct hf_sandbox_coll *coll;
    char ident[HF_SANDBOX_IDENT_BYTES];
    char index_ident[HF_SANDBOX_IDENT_BYTES];
    bson_t *spec;
    bool logged = is_logged(engine, ns);

    if (strlen(ns) >= HF_SANDBOX_NS_BYTES || strchr(ns, '.') == NULL) {
        return hf_fail(err, HF_ERR_INVALID, "create %s: not a name of a collection", ns);
    }
    if (hf_sandbox_txn_hold(txn, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_sandbox_txn_find(txn, ns) != NULL) {
        return hf_fail(err, HF_ERR_EXISTS, "create %s: it exists", ns);
    }
    new_ident(engine, "collection", ident);
    new_ident(engine, "index", index_ident);
    coll = new_coll(engine, ns, ident);
    if (coll == NULL || (coll->indexes = hf_alloc_array(1, sizeof *coll->indexes)) == NULL) {
        hf_sandbox_coll_drop_reference(coll);
        return hf_fail(err, HF_ERR_NO_MEMORY, "create %s", ns);
    }
    set_options(coll, options);
    memcpy(coll->uuid, uuid, HF_SANDBOX_UUID_BYTES);
    coll->catalog_id = atomic_fetch_add(&engine->next_catalog_id, 1);
    atomic_store(&coll->table->next_record, 1);
    hf_error_clear(err);
    if (!coll->oplog) {
        spec = BCON_NEW("v", BCON_INT32(2), "key", "{", "_id", BCON_INT32(1), "}", "name", "_id_");
        coll->indexes[0] = hf_sandbox_index_make(spec, index_ident, false, err);
        bson_destroy(spec);
        coll->index_count = coll->indexes[0] == NULL ? 0 : 1;
        if (err->code == HF_ERR_OK && hf_sandbox_txn_made(txn, index_ident, err) == HF_ERR_OK) {
            hf_sandbox_ignore(
                hf_sandbox_make_table(engine, coll->indexes[0]->uri, true, logged, err));
        }
    }
    if (err->code != HF_ERR_OK || hf_sandbox_txn_made(txn, ident, err) != HF_ERR_OK ||
        hf_sandbox_make_table(engine, coll->table->uri, false, logged, err) != HF_ERR_OK ||
        hf_sandbox_catalog_write(txn, coll, err) != HF_ERR_OK) {
        hf_sandbox_coll_drop_reference(coll);
        return hf_wrap(err, "create %s", ns);
    }
    if (hf_sandbox_txn_stage(txn, NULL, coll, err) != HF_ERR_OK) {
        return err->code;
    }
    if (out != NULL) {
        *out = coll;
    }
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_coll_drop(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                 struct hf_error *err)
{
    if (hf_sandbox_txn_hold(txn, err) != HF_ERR_OK ||
        hf_sandbox_txn_writes(txn, coll, 0, 0, err) != HF_ERR_OK ||
        remove_row(txn, coll->catalog_id, err) != HF_ERR_OK) {
        return hf_wrap(err, "drop %s", coll->ns);
    }
    return hf_sandbox_txn_stage(txn, coll, NULL, err);
}

/* Hands the new version to the transaction; the row is written. */
static enum hf_err replace_take(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                struct hf_sandbox_coll *next, struct hf_error *err)
{
    if (hf_sandbox_catalog_write(txn, next, err) != HF_ERR_OK) {
        hf_sandbox_coll_drop_reference(next);
        return err->code;
    }
    return hf_sandbox_txn_stage(txn, coll, next, err);
}

/* The beginning of each change: the lock, a fresh look, a version of one's own. NULL: *err says why. */
static struct hf_sandbox_coll *change(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                      struct hf_error *err)
{
    struct hf_sandbox_coll *next;

    if (hf_sandbox_txn_hold(txn, err) != HF_ERR_OK ||
        hf_sandbox_txn_writes(txn, coll, 0, 0, err) != HF_ERR_OK) {
        return NULL;
    }
    next = version_of(coll);
    if (next == NULL) {
        (void)hf_fail(err, HF_ERR_NO_MEMORY, "change %s", coll->ns);
    }
    return next;
}

enum hf_err hf_sandbox_coll_rename(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                   const char *to, struct hf_error *err)
{
    struct hf_sandbox_coll *next;

    if (strlen(to) >= HF_SANDBOX_NS_BYTES || strchr(to, '.') == NULL) {
        return hf_fail(err, HF_ERR_INVALID, "rename to %s: not a name of a collection", to);
    }
    if (hf_sandbox_txn_find(txn, to) != NULL) {
        return hf_fail(err, HF_ERR_EXISTS, "rename %s to %s: it exists", coll->ns, to);
    }
    next = change(txn, coll, err);
    if (next == NULL) {
        return err->code;
    }
    set_ns(next, to);
    return replace_take(txn, coll, next, err);
}

enum hf_err hf_sandbox_coll_set_options(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                        const bson_t *options, struct hf_error *err)
{
    struct hf_sandbox_coll *next = change(txn, coll, err);

    if (next == NULL) {
        return err->code;
    }
    set_options(next, options);
    return replace_take(txn, coll, next, err);
}

static size_t index_at(const struct hf_sandbox_coll *coll, const char *name)
{
    size_t at = 0;

    while (at < coll->index_count && strcmp(coll->indexes[at]->name, name) != 0) {
        at++;
    }
    return at;
}

enum hf_err hf_sandbox_coll_create_index(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                         const bson_t *spec, struct hf_error *err)
{
    char ident[HF_SANDBOX_IDENT_BYTES];
    struct hf_sandbox_coll *next = change(txn, coll, err);
    struct hf_sandbox_index *index;

    if (next == NULL) {
        return err->code;
    }
    new_ident(txn->engine, "index", ident);
    index = hf_sandbox_index_make(spec, ident, false, err);
    if (index == NULL) {
        hf_sandbox_coll_drop_reference(next);
        return err->code;
    }
    next->indexes[next->index_count++] = index;
    if (hf_sandbox_txn_made(txn, ident, err) != HF_ERR_OK ||
        hf_sandbox_make_table(txn->engine, index->uri, true, is_logged(txn->engine, coll->ns),
                              err) != HF_ERR_OK ||
        hf_sandbox_index_build(txn, next, index, err) != HF_ERR_OK) {
        hf_sandbox_coll_drop_reference(next);
        return err->code;
    }
    return replace_take(txn, coll, next, err);
}

enum hf_err hf_sandbox_coll_drop_index(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                       const char *name, struct hf_error *err)
{
    struct hf_sandbox_coll *next = change(txn, coll, err);
    size_t at;

    if (next == NULL) {
        return err->code;
    }
    at = index_at(next, name);
    if (at == next->index_count) {
        hf_sandbox_coll_drop_reference(next);
        return hf_fail(err, HF_ERR_NOT_FOUND, "index not found with name [%s]", name);
    }
    hf_sandbox_index_drop_reference(next->indexes[at]);
    memmove(next->indexes + at, next->indexes + at + 1,
            (next->index_count - at - 1) * sizeof(struct hf_sandbox_index *));
    next->index_count--;
    return replace_take(txn, coll, next, err);
}

enum hf_err hf_sandbox_coll_set_index(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                      const char *name, const bson_t *spec, struct hf_error *err)
{
    struct hf_sandbox_coll *next = change(txn, coll, err);
    struct hf_sandbox_index *index;
    size_t at;

    if (next == NULL) {
        return err->code;
    }
    at = index_at(next, name);
    if (at == next->index_count) {
        hf_sandbox_coll_drop_reference(next);
        return hf_fail(err, HF_ERR_NOT_FOUND, "index not found with name [%s]", name);
    }
    index = hf_sandbox_index_make(spec, next->indexes[at]->ident,
                                  atomic_load(&next->indexes[at]->multikey), err);
    if (index == NULL) {
        hf_sandbox_coll_drop_reference(next);
        return err->code;
    }
    hf_sandbox_index_drop_reference(next->indexes[at]);
    next->indexes[at] = index;
    return replace_take(txn, coll, next, err);
}

/* ---- Loading ---- */

static void note_ident(struct hf_sandbox_engine *engine, const char *ident)
{
    const char *dash = strchr(ident, '-');
    int64_t number = dash == NULL ? 0 : strtoll(dash + 1, NULL, 10);

    if (number >= atomic_load(&engine->next_ident)) {
        atomic_store(&engine->next_ident, number + 1);
    }
}

static enum hf_err load_indexes(struct hf_sandbox_coll *coll, const bson_t *md,
                                const bson_t *idents, struct hf_error *err)
{
    bson_t list;
    bson_iter_t iter;
    size_t count;

    if (!hf_sandbox_get_doc(md, "indexes", &list)) {
        return HF_ERR_OK;
    }
    count = bson_count_keys(&list);
    coll->indexes = hf_alloc_array(count + 1, sizeof(struct hf_sandbox_index *));
    if (coll->indexes == NULL || !bson_iter_init(&iter, &list)) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "load %s", coll->ns);
    }
    while (coll->index_count < count && bson_iter_next(&iter)) {
        bson_value_t value = *bson_iter_value(&iter);
        bson_t index;
        bson_t spec;
        const char *ident;

        if (!hf_sandbox_value_doc(&value, &index) || !hf_sandbox_get_doc(&index, "spec", &spec) ||
            (ident = hf_sandbox_get_utf8(idents, hf_sandbox_get_utf8(&spec, "name", ""), NULL)) ==
                NULL) {
            return hf_fail(err, HF_ERR_CORRUPT, "catalog: %s: an index without name", coll->ns);
        }
        coll->indexes[coll->index_count] =
            hf_sandbox_index_make(&spec, ident, hf_sandbox_get_true(&index, "multikey"), err);
        if (coll->indexes[coll->index_count] == NULL) {
            return err->code;
        }
        coll->index_count++;
        note_ident(coll->engine, ident);
    }
    return HF_ERR_OK;
}

static enum hf_err load_row(struct hf_sandbox_engine *engine, int64_t id, const bson_t *row,
                            struct hf_error *err)
{
    struct hf_sandbox_coll *coll;
    const char *ident = hf_sandbox_get_utf8(row, "ident", NULL);
    const char *ns = hf_sandbox_get_utf8(row, "ns", NULL);
    bson_t md;
    bson_t options;
    bson_t idents;
    bson_t rest = BSON_INITIALIZER;
    bson_value_t uuid;

    if (ident == NULL || ns == NULL || !hf_sandbox_get_doc(row, "md", &md) ||
        !hf_sandbox_get_doc(&md, "options", &options) ||
        !hf_sandbox_get_doc(row, "idxIdent", &idents) || !hf_sandbox_get(&options, "uuid", &uuid) ||
        uuid.value_type != BSON_TYPE_BINARY ||
        uuid.value.v_binary.data_len != HF_SANDBOX_UUID_BYTES) {
        return hf_fail(err, HF_ERR_CORRUPT, "catalog: row %" PRId64 " is not readable", id);
    }
    coll = new_coll(engine, ns, ident);
    if (coll == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "load %s", ns);
    }
    bson_copy_to_excluding_noinit(&options, &rest, "uuid", NULL);
    set_options(coll, &rest);
    bson_destroy(&rest);
    memcpy(coll->uuid, uuid.value.v_binary.data, HF_SANDBOX_UUID_BYTES);
    coll->catalog_id = id;
    note_ident(engine, ident);
    if (load_indexes(coll, &md, &idents, err) != HF_ERR_OK) {
        hf_sandbox_coll_drop_reference(coll);
        return err->code;
    }
    if (coll->oplog) {
        engine->oplog = hold(coll);
    }
    HF_ASSERT(list_insert(engine, coll));
    return HF_ERR_OK;
}

/* A standalone journals all its tables, a member of a set only those of `local`: brings one in line. */
static int set_logging(WT_SESSION *session, WT_CURSOR *metadata, const char *uri, bool logged)
{
    char key[HF_SANDBOX_IDENT_BYTES + 16];
    const char *config;
    int code;

    (void)snprintf(key, sizeof key, "file:%s.wt", uri + strlen("table:"));
    metadata->set_key(metadata, key);
    if ((code = metadata->search(metadata)) != 0 ||
        (code = metadata->get_value(metadata, &config)) != 0) {
        return code;
    }
    if ((strstr(config, "log=(enabled=false)") == NULL) == logged) {
        return 0;
    }
    return session->alter(session, uri, logged ? "log=(enabled=true)" : "log=(enabled=false)");
}

static bool is_known_uri(const struct hf_sandbox_engine *engine, const char *uri)
{
    for (size_t i = 0; i < engine->coll_count; i++) {
        const struct hf_sandbox_coll *coll = engine->colls[i];

        if (strcmp(coll->table->uri, uri) == 0) {
            return true;
        }
        for (size_t j = 0; j < coll->index_count; j++) {
            if (strcmp(coll->indexes[j]->uri, uri) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Removes tables that no row names: their creation was not committed, or their drop was and the crash came before the
 * file went. */
static enum hf_err tidy_tables(struct hf_sandbox_engine *engine, WT_SESSION *session,
                               struct hf_error *err)
{
    WT_CURSOR *cursor;
    const char *key;
    int code = session->open_cursor(session, "metadata:", NULL, NULL, &cursor);

    while (code == 0 && (code = cursor->next(cursor)) == 0) {
        if ((code = cursor->get_key(cursor, &key)) == 0 &&
            (strncmp(key, "table:collection-", 17) == 0 || strncmp(key, "table:index-", 12) == 0)) {
            note_ident(engine, key + 6);
            if (!is_known_uri(engine, key)) {
                hf_sandbox_drop_later(engine, key + 6, 0, NULL);
            }
        }
    }
    code = code == WT_NOTFOUND ? 0 : code;
    for (size_t i = 0; engine->options.replicated && code == 0 && i < engine->coll_count; i++) {
        const struct hf_sandbox_coll *coll = engine->colls[i];
        bool logged = is_logged(engine, coll->ns);

        code = set_logging(session, cursor, coll->table->uri, logged);
        for (size_t j = 0; j < coll->index_count && code == 0; j++) {
            code = set_logging(session, cursor, coll->indexes[j]->uri, logged);
        }
    }
    if (code == 0) {
        code = cursor->close(cursor);
    }
    return code == 0 ? HF_ERR_OK : hf_sandbox_wt_fail(err, code, "look through the tables");
}

static enum hf_err load_sizes(struct hf_sandbox_engine *engine, WT_SESSION *session,
                              struct hf_error *err)
{
    WT_CURSOR *cursor;
    int code = session->open_cursor(session, SIZES_URI, NULL, NULL, &cursor);

    if (code != 0) {
        return hf_sandbox_wt_fail(err, code, "read sizeStorer");
    }
    for (size_t i = 0; i < engine->coll_count; i++) {
        struct hf_sandbox_table *table = engine->colls[i]->table;
        WT_ITEM key = {.data = table->uri, .size = strlen(table->uri)};
        WT_ITEM item;
        bson_t doc;

        cursor->set_key(cursor, &key);
        if (cursor->search(cursor) == 0 && cursor->get_value(cursor, &item) == 0 &&
            bson_init_static(&doc, item.data, item.size)) {
            atomic_store(&table->records, hf_sandbox_get_int64(&doc, "numRecords", 0));
            atomic_store(&table->bytes, hf_sandbox_get_int64(&doc, "dataSize", 0));
        }
    }
    (void)cursor->close(cursor);
    return HF_ERR_OK;
}

static int store_size(WT_CURSOR *cursor, const struct hf_sandbox_table *table)
{
    HF_CLEANUP(bson_destroy)
    bson_t *doc = BCON_NEW("numRecords", BCON_INT64((int64_t)atomic_load(&table->records)),
                           "dataSize", BCON_INT64((int64_t)atomic_load(&table->bytes)));
    WT_ITEM key = {.data = table->uri, .size = strlen(table->uri)};
    WT_ITEM item = {.data = bson_get_data(doc), .size = doc->len};

    cursor->set_key(cursor, &key);
    cursor->set_value(cursor, &item);
    return cursor->insert(cursor);
}

/* Not under the catalog's lock: a full cache makes a write wait for transactions, and these need the lock to end. */
enum hf_err hf_sandbox_sizes_store(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_sandbox_coll **colls = NULL;
    WT_SESSION *session;
    WT_CURSOR *cursor;
    size_t count;
    int code;

    hf_mutex_lock(&engine->catalog);
    count = engine->coll_count;
    colls = hf_alloc_array(count + 1, sizeof *colls);
    for (size_t i = 0; colls != NULL && i < count; i++) {
        colls[i] = engine->colls[i];
        atomic_fetch_add(&colls[i]->references, 1);
    }
    hf_mutex_unlock(&engine->catalog);
    if (colls == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "write sizeStorer");
    }
    hf_error_clear(err);
    if (hf_sandbox_session_take(engine, &session, err) == HF_ERR_OK) {
        code = session->open_cursor(session, SIZES_URI, NULL, NULL, &cursor);
        if (code == 0) {
            for (size_t i = 0; i < count && code == 0; i++) {
                code = store_size(cursor, colls[i]->table);
            }
            (void)cursor->close(cursor);
        }
        hf_sandbox_session_give(engine, session);
        if (code != 0) {
            (void)hf_sandbox_wt_fail(err, code, "write sizeStorer");
        }
    }
    for (size_t i = 0; i < count; i++) {
        hf_sandbox_coll_drop_reference(colls[i]);
    }
    return err->code;
}

static enum hf_err load_rows(struct hf_sandbox_engine *engine, WT_SESSION *session,
                             struct hf_error *err)
{
    WT_CURSOR *cursor;
    WT_ITEM item;
    bson_t row;
    int64_t id;
    int code = session->open_cursor(session, CATALOG_URI, NULL, NULL, &cursor);

    if (code != 0) {
        return hf_sandbox_wt_fail(err, code, "read the catalog");
    }
    while ((code = cursor->next(cursor)) == 0) {
        if ((code = cursor->get_key(cursor, &id)) != 0 ||
            (code = cursor->get_value(cursor, &item)) != 0) {
            break;
        }
        if (!bson_init_static(&row, item.data, item.size)) {
            (void)cursor->close(cursor);
            return hf_fail(err, HF_ERR_CORRUPT, "catalog: row %" PRId64 " is not readable", id);
        }
        if (load_row(engine, id, &row, err) != HF_ERR_OK) {
            (void)cursor->close(cursor);
            return err->code;
        }
        atomic_store(&engine->next_catalog_id, id + 1);
    }
    (void)cursor->close(cursor);
    return code == WT_NOTFOUND ? HF_ERR_OK : hf_sandbox_wt_fail(err, code, "read the catalog");
}

enum hf_err hf_sandbox_catalog_load(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    WT_SESSION *session;
    int code;

    atomic_store(&engine->next_catalog_id, 1);
    if (hf_sandbox_session_take(engine, &session, err) != HF_ERR_OK) {
        return err->code;
    }
    code = session->create(session, CATALOG_URI, "key_format=q,value_format=u,log=(enabled=false)");
    if (code == 0) {
        code =
            session->create(session, SIZES_URI, "key_format=u,value_format=u,log=(enabled=false)");
    }
    if (code != 0) {
        (void)hf_sandbox_wt_fail(err, code, "make the catalog");
    } else if (load_rows(engine, session, err) == HF_ERR_OK &&
               load_sizes(engine, session, err) == HF_ERR_OK) {
        (void)tidy_tables(engine, session, err);
    }
    hf_sandbox_session_give(engine, session);
    if (err->code == HF_ERR_OK) {
        hf_sandbox_drop_pending(engine);
    }
    return err->code;
}

void hf_sandbox_catalog_fini(struct hf_sandbox_engine *engine)
{
    for (size_t i = 0; i < engine->coll_count; i++) {
        hf_sandbox_coll_drop_reference(engine->colls[i]);
    }
    for (size_t i = 0; i < engine->pending_count; i++) {
        table_drop_reference(engine->pending[i].table);
    }
    hf_sandbox_coll_drop_reference(engine->oplog);
    hf_free(engine->colls);
    hf_free(engine->pending);
}
