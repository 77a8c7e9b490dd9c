/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables: documents by record, found one after the other or by the keys of their unique indexes.
 *
 * Every table maps bytes to bytes. A collection's key is the record's number, big end first: it
 * says in which order documents came, in the oplog it is the time. An index maps the values of its
 * fields, written so that equal ones have equal bytes, to the record; an array is one value.
 */
#include <inttypes.h>
#include <stdio.h>

#include "sandbox/engine_internal.h"
#include "sandbox/value.h"

#define DOC_MAX_BYTES (16 * 1024 * 1024 + 16 * 1024)
#define BUILD_MAX_DOCS 100000 /* their keys are one transaction, which has to fit into the cache */

static const struct hf_sandbox_scan_options natural = {.index = NULL};

/* ---- Bytes ---- */

int hf_sandbox_table_open(WT_SESSION *session, const char *ident, const char *config,
                          WT_CURSOR **out)
{
    char uri[HF_SANDBOX_IDENT_BYTES + 8];
    int code;

    (void)snprintf(uri, sizeof uri, "table:%s", ident);
    *out = NULL;
    code = session->open_cursor(session, uri, NULL, config, out);
    return code == ENOENT ? WT_ROLLBACK : code; /* dropped since it was looked up */
}

/* A cursor with the key set. */
static int open_at(WT_SESSION *session, const char *ident, const char *config, struct hf_bytes key,
                   WT_CURSOR **out)
{
    const WT_ITEM item = {.data = key.data, .size = key.len};
    int code = hf_sandbox_table_open(session, ident, config, out);

    if (code == 0) {
        (*out)->set_key(*out, &item);
    }
    return code;
}

int hf_sandbox_table_put(WT_SESSION *session, const char *ident, struct hf_bytes key,
                         struct hf_bytes value, bool overwrite)
{
    const WT_ITEM item = {.data = value.data, .size = value.len};
    WT_CURSOR *cursor;
    int code = open_at(session, ident, overwrite ? NULL : "overwrite=false", key, &cursor);

    if (code == 0) {
        cursor->set_value(cursor, &item);
        code = cursor->insert(cursor);
        (void)cursor->close(cursor);
    }
    return code;
}

int hf_sandbox_table_remove(WT_SESSION *session, const char *ident, struct hf_bytes key)
{
    WT_CURSOR *cursor;
    int code = open_at(session, ident, "overwrite=false", key, &cursor);

    if (code == 0) {
        code = cursor->remove(cursor);
        (void)cursor->close(cursor);
    }
    return code;
}

int hf_sandbox_table_get(WT_SESSION *session, const char *ident, struct hf_bytes key, bson_t **out)
{
    WT_CURSOR *cursor;
    WT_ITEM item;
    int code = open_at(session, ident, NULL, key, &cursor);

    *out = NULL;
    if (code == 0) {
        if ((code = cursor->search(cursor)) == 0 &&
            (code = cursor->get_value(cursor, &item)) == 0 &&
            (*out = bson_new_from_data(item.data, item.size)) == NULL) {
            code = WT_ERROR; /* no document */
        }
        (void)cursor->close(cursor);
    }
    return code == WT_NOTFOUND ? 0 : code;
}

void hf_sandbox_put_record(uint8_t out[HF_SANDBOX_RECORD_BYTES], int64_t record)
{
    for (size_t i = 0; i < HF_SANDBOX_RECORD_BYTES; i++) {
        out[i] = (uint8_t)((uint64_t)record >> (8 * (7 - i)));
    }
}

static struct hf_bytes record_key(int64_t record, uint8_t out[HF_SANDBOX_RECORD_BYTES])
{
    hf_sandbox_put_record(out, record);
    return hf_bytes_of(out, HF_SANDBOX_RECORD_BYTES);
}

int64_t hf_sandbox_load_record(const WT_ITEM *item)
{
    uint64_t record = 0;

    HF_ASSERT(item->size == HF_SANDBOX_RECORD_BYTES);
    for (size_t i = 0; i < HF_SANDBOX_RECORD_BYTES; i++) {
        record = record << 8 | ((const uint8_t *)item->data)[i];
    }
    return (int64_t)record;
}

static struct hf_bytes doc_bytes(const bson_t *doc)
{
    return hf_bytes_of(bson_get_data(doc), doc->len);
}

/* ---- Keys ---- */

/* Numbers of all types become one, and an array a document. */
static void append_plain(bson_t *out, const char *name, const bson_value_t *value)
{
    bson_value_t plain = *value;
    bson_t from, inner;
    int64_t integer;

    if (hf_sandbox_value_doc(value, &from)) {
        (void)bson_append_document_begin(out, name, -1, &inner);
        HF_SANDBOX_EACH (iter, &from, true) {
            append_plain(&inner, bson_iter_key(&iter), bson_iter_value(&iter));
        }
        (void)bson_append_document_end(out, &inner);
        return;
    }
    if (hf_sandbox_as_int64(value, &integer)) {
        plain = hf_sandbox_value_of_int64(integer);
    } else if (hf_sandbox_is_number(value)) {
        plain = hf_sandbox_value_of_double(hf_sandbox_as_double(value));
    }
    hf_sandbox_append(out, name, &plain);
}

/* A path that leads into an array ends there. */
static bool value_at(const bson_t *doc, const char *path, bson_value_t *out)
{
    for (const char *dot = strchr(path, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
        char parent[1024];

        (void)snprintf(parent, sizeof parent, "%.*s", (int)(dot - path), path);
        if (hf_sandbox_get_path(doc, parent, out) && out->value_type == BSON_TYPE_ARRAY) {
            return true;
        }
    }
    return hf_sandbox_get_path(doc, path, out);
}

/* The values of the index's fields under their names, as the document has them. False: no key. */
static bool values_of(const struct hf_sandbox_index *index, const bson_t *doc, bson_t *out)
{
    const bson_value_t null = {.value_type = BSON_TYPE_NULL};
    bool any = false;
    bson_t key;

    HF_ASSERT(hf_sandbox_get_doc(index->spec, "key", &key));
    HF_SANDBOX_EACH (iter, &key, true) {
        bson_value_t value;
        bool there = value_at(doc, bson_iter_key(&iter), &value);

        hf_sandbox_append(out, bson_iter_key(&iter), there ? &value : &null);
        any = any || there;
    }
    return any || !index->sparse;
}

/* NULL: the document has no key in this index. */
static bson_t *key_of(const struct hf_sandbox_index *index, const bson_t *doc)
{
    bson_t values = BSON_INITIALIZER;
    bson_t *key = NULL;

    if (doc != NULL && values_of(index, doc, &values)) {
        key = bson_new();
        HF_SANDBOX_EACH (iter, &values, true) {
            append_plain(key, "", bson_iter_value(&iter));
        }
    }
    bson_destroy(&values);
    return key;
}

static enum hf_err refuse_duplicate(struct hf_sandbox_txn *txn, const struct hf_sandbox_coll *coll,
                                    const struct hf_sandbox_index *index, const bson_t *doc,
                                    struct hf_error *err)
{
    bson_t values = BSON_INITIALIZER;
    bson_t pattern;

    (void)values_of(index, doc, &values);
    HF_ASSERT(hf_sandbox_get_doc(index->spec, "key", &pattern));
    bson_destroy(txn->duplicate);
    txn->duplicate =
        BCON_NEW("ns", BCON_UTF8(coll->ns), "name", BCON_UTF8(index->name), "keyPattern",
                 BCON_DOCUMENT(&pattern), "keyValue", BCON_DOCUMENT(&values));
    bson_destroy(&values);
    return hf_fail(err, HF_ERR_EXISTS, "duplicate key in %s, index %s", coll->ns, index->name);
}

/* From the old document's key to the new one's; either may be NULL. */
static enum hf_err change_key(struct hf_sandbox_txn *txn, const struct hf_sandbox_coll *coll,
                              const struct hf_sandbox_index *index, int64_t record,
                              const bson_t *old_doc, const bson_t *new_doc, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy) bson_t *before = key_of(index, old_doc);
    HF_CLEANUP(bson_destroy) bson_t *after = key_of(index, new_doc);
    uint8_t bytes[HF_SANDBOX_RECORD_BYTES];
    int code = 0;

    if (before != NULL && after != NULL && bson_equal(before, after)) {
        return HF_ERR_OK;
    }
    if (before != NULL) {
        code = hf_sandbox_table_remove(txn->session, index->ident, doc_bytes(before));
    }
    if (code == 0 && after != NULL) {
        code = hf_sandbox_table_put(txn->session, index->ident, doc_bytes(after),
                                    record_key(record, bytes), false);
    }
    return code == WT_DUPLICATE_KEY ? refuse_duplicate(txn, coll, index, new_doc, err)
                                    : hf_sandbox_wt(err, code, coll->ns);
}

static enum hf_err change_keys(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                               int64_t record, const bson_t *old_doc, const bson_t *new_doc,
                               struct hf_error *err)
{
    for (size_t i = 0; i < coll->index_count; i++) {
        if (coll->indexes[i]->keyed &&
            change_key(txn, coll, coll->indexes[i], record, old_doc, new_doc, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    coll->records += (new_doc != NULL) - (old_doc != NULL);
    coll->bytes += (new_doc == NULL ? 0 : (int64_t)new_doc->len) -
                   (old_doc == NULL ? 0 : (int64_t)old_doc->len);
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_index_build(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                   const struct hf_sandbox_index *index, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    bool found = index->keyed;
    int64_t record;
    bson_t doc;

    if (found && txn->replicated && coll->table->records > BUILD_MAX_DOCS) {
        return hf_fail(err, HF_ERR_INVALID, "a unique index over more than %d documents",
                       BUILD_MAX_DOCS);
    }
    hf_error_clear(err);
    if (found && hf_sandbox_scan_open(txn, coll, &natural, &scan, err) != HF_ERR_OK) {
        return err->code;
    }
    while (found && hf_sandbox_scan_next(scan, &found, &record, &doc, err) == HF_ERR_OK && found) {
        if (change_key(txn, coll, index, record, NULL, &doc, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return err->code;
}

/* ---- Changes ---- */

/* The oldest documents fall out until it fits; in the same transaction, and in no oplog. Recovery
 * does not do it: the real server does not either, so that a restored copy may hold more. */
static enum hf_err trim(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                        struct hf_error *err)
{
    int64_t records = coll->table->records;
    int64_t bytes = coll->table->bytes;
    bool found = true;

    while (found && records + coll->records > 1 &&
           ((coll->cap_bytes > 0 && bytes + coll->bytes > coll->cap_bytes) ||
            (coll->cap_records > 0 && records + coll->records > coll->cap_records))) {
        HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
        int64_t record;
        bson_t doc;

        if (hf_sandbox_scan_open(txn, coll, &natural, &scan, err) != HF_ERR_OK ||
            hf_sandbox_scan_next(scan, &found, &record, &doc, err) != HF_ERR_OK ||
            (found && hf_sandbox_coll_remove(txn, coll, record, &doc, err) != HF_ERR_OK)) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* Without an old document: an insert. */
enum hf_err hf_sandbox_coll_update(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                   int64_t record, const bson_t *old_doc, const bson_t *new_doc,
                                   struct hf_error *err)
{
    uint8_t key[HF_SANDBOX_RECORD_BYTES];

    if (new_doc->len > DOC_MAX_BYTES) {
        return hf_fail(err, HF_ERR_LIMIT, "a document of %" PRIu32 " bytes", new_doc->len);
    }
    return hf_sandbox_wt(err,
                         hf_sandbox_table_put(txn->session, coll->table->ident,
                                              record_key(record, key), doc_bytes(new_doc),
                                              old_doc != NULL),
                         coll->ns) != HF_ERR_OK
               ? err->code
               : change_keys(txn, coll, record, old_doc, new_doc, err);
}

enum hf_err hf_sandbox_coll_insert(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                   const bson_t *doc, int64_t *record, struct hf_error *err)
{
    int64_t mine = coll->oplog ? (int64_t)hf_sandbox_get_ts(doc, "ts")
                               : (int64_t)atomic_fetch_add(&coll->table->next_record, 1);

    if (mine == 0) {
        return hf_fail(err, HF_ERR_INVALID, "an oplog entry has no ts");
    }
    if (hf_sandbox_coll_update(txn, coll, mine, NULL, doc, err) != HF_ERR_OK) {
        return err->code;
    }
    if (record != NULL) {
        *record = mine;
    }
    return coll->capped && !coll->oplog && !txn->no_trim ? trim(txn, coll, err) : HF_ERR_OK;
}

enum hf_err hf_sandbox_coll_remove(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                   int64_t record, const bson_t *doc, struct hf_error *err)
{
    uint8_t key[HF_SANDBOX_RECORD_BYTES];

    /* The keys first: doc may be a view of what is removed. */
    if (change_keys(txn, coll, record, doc, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_wt(
        err, hf_sandbox_table_remove(txn->session, coll->table->ident, record_key(record, key)),
        coll->ns);
}

/* ---- Look-ups ---- */

enum hf_err hf_sandbox_coll_get(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                int64_t record, bson_t **doc, struct hf_error *err)
{
    uint8_t key[HF_SANDBOX_RECORD_BYTES];

    return hf_sandbox_wt(
        err, hf_sandbox_table_get(txn->session, coll->table->ident, record_key(record, key), doc),
        coll->ns);
}

enum hf_err hf_sandbox_coll_find_id(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                    const bson_value_t *id, int64_t *record, bson_t **doc,
                                    struct hf_error *err)
{
    HF_CLEANUP(bson_destroy) bson_t *key = bson_new();
    WT_CURSOR *cursor;
    WT_ITEM item;
    int code;

    *record = 0;
    *doc = NULL;
    if (coll->index_count == 0) {
        return hf_fail(err, HF_ERR_INVALID, "%s has no index on _id", coll->ns);
    }
    append_plain(key, "", id);
    code = open_at(txn->session, coll->indexes[0]->ident, NULL, doc_bytes(key), &cursor);
    if (code == 0) {
        if ((code = cursor->search(cursor)) == 0 &&
            (code = cursor->get_value(cursor, &item)) == 0) {
            *record = hf_sandbox_load_record(&item);
        }
        (void)cursor->close(cursor);
    }
    if (code != 0) {
        return code == WT_NOTFOUND ? HF_ERR_OK : hf_sandbox_wt(err, code, coll->ns);
    }
    return hf_sandbox_coll_get(txn, coll, *record, doc, err);
}

/* ---- Scans ---- */

struct hf_sandbox_scan {
    struct hf_sandbox_coll *coll; /* borrowed from the transaction */
    WT_CURSOR *cursor;            /* over what is walked */
    WT_CURSOR *docs;              /* over the documents, beside an index; NULL: natural order */
    struct hf_sandbox_scan_options options;
    bool begun, ended;
};

void hf_sandbox_scan_close(struct hf_sandbox_scan *scan)
{
    if (scan != NULL) {
        if (scan->cursor != NULL) {
            (void)scan->cursor->close(scan->cursor);
        }
        if (scan->docs != NULL) {
            (void)scan->docs->close(scan->docs);
        }
        hf_free(scan);
    }
}

enum hf_err hf_sandbox_scan_open(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                 const struct hf_sandbox_scan_options *options,
                                 struct hf_sandbox_scan **out, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = hf_alloc_zero(sizeof *scan);
    const char *ident = coll->table->ident;
    int code = 0;

    if (scan == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "scan %s", coll->ns);
    }
    scan->coll = coll;
    scan->options = *options;
    if (options->index != NULL) {
        const struct hf_sandbox_index *index = hf_sandbox_coll_index_named(coll, options->index);

        if (index == NULL || !index->keyed) {
            return hf_fail(err, HF_ERR_NOT_FOUND, "%s has no keys %s", coll->ns, options->index);
        }
        code = hf_sandbox_table_open(txn->session, ident, NULL, &scan->docs);
        ident = index->ident;
    }
    code = code != 0 ? code : hf_sandbox_table_open(txn->session, ident, NULL, &scan->cursor);
    if (code == 0) {
        *out = HF_TAKE(scan);
    }
    return hf_sandbox_wt(err, code, coll->ns);
}

static int step(struct hf_sandbox_scan *scan)
{
    WT_CURSOR *cursor = scan->cursor;
    bool backward = scan->options.backward;
    uint8_t key[HF_SANDBOX_RECORD_BYTES];
    WT_ITEM item = {.data = key, .size = sizeof key};
    int side;
    int code;

    if (!scan->begun && scan->options.from_record != 0) {
        hf_sandbox_put_record(key, scan->options.from_record);
        cursor->set_key(cursor, &item);
        code = cursor->search_near(cursor, &side);
        if (code != 0 || side == 0 || (side > 0) != backward) {
            return code;
        } /* else it stands on the wrong side of the place */
    }
    return backward ? cursor->prev(cursor) : cursor->next(cursor);
}

/* Where the scan stands: record and document. */
static int read_place(struct hf_sandbox_scan *scan, int64_t *record, WT_ITEM *value)
{
    WT_CURSOR *cursor = scan->cursor;
    WT_ITEM key;
    int code = scan->docs == NULL ? cursor->get_key(cursor, &key) : cursor->get_value(cursor, &key);

    if (code != 0) {
        return code;
    }
    *record = hf_sandbox_load_record(&key);
    if (scan->docs != NULL) {
        cursor = scan->docs;
        cursor->set_key(cursor, &key);
        code = cursor->search(cursor);
    }
    return code != 0 ? code : cursor->get_value(cursor, value);
}

enum hf_err hf_sandbox_scan_next(struct hf_sandbox_scan *scan, bool *found, int64_t *record,
                                 bson_t *doc, struct hf_error *err)
{
    int code = scan->ended ? WT_NOTFOUND : step(scan);
    int64_t here;
    WT_ITEM value;

    scan->begun = true;
    scan->ended = code == WT_NOTFOUND;
    *found = code == 0;
    if (scan->ended) {
        return HF_ERR_OK;
    }
    code = code != 0 ? code : read_place(scan, &here, &value);
    if (code == 0 && !bson_init_static(doc, value.data, value.size)) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s: a record is no document", scan->coll->ns);
    }
    if (code == 0 && record != NULL) {
        *record = here;
    }
    return hf_sandbox_wt(err, code, scan->coll->ns);
}
