/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Indexes: what a spec means, and keeping the tables of keys in step with the documents.
 *
 * A unique index maps key to record. Any other has key and record in its keys, and empty values.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sandbox/engine_internal.h"
#include "sandbox/value.h"

#define BUILD_MAX_BYTES ((size_t)1 << 30)

void hf_sandbox_put_record(uint8_t out[8], int64_t record)
{
    for (size_t i = 0; i < 8; i++) {
        out[i] = (uint8_t)((uint64_t)record >> (8 * (7 - i)));
    }
}

int64_t hf_sandbox_load_record(const uint8_t *from)
{
    uint64_t record = 0;

    for (size_t i = 0; i < 8; i++) {
        record = record << 8 | from[i];
    }
    return (int64_t)record;
}

/* ---- A spec ---- */

void hf_sandbox_index_drop_reference(struct hf_sandbox_index *index)
{
    if (index == NULL || atomic_fetch_sub(&index->references, 1) != 1) {
        return;
    }
    for (size_t i = 0; i < index->field_count; i++) {
        hf_free(index->fields[i].path);
    }
    bson_destroy(index->partial);
    bson_destroy(index->spec);
    hf_free(index);
}

/* Kinds other than ascending and descending are kept in the catalog, but hold no keys. */
static enum hf_err read_fields(struct hf_sandbox_index *index, struct hf_error *err)
{
    bson_iter_t iter;

    index->usable = true;
    if (!bson_iter_init(&iter, &index->key_pattern)) {
        return hf_fail(err, HF_ERR_INVALID, "index %s: the key is not readable", index->name);
    }
    while (bson_iter_next(&iter)) {
        const bson_value_t *value = bson_iter_value(&iter);
        struct hf_sandbox_index_field *field = &index->fields[index->field_count];

        if (index->field_count == HF_SANDBOX_INDEX_FIELDS) {
            return hf_fail(err, HF_ERR_INVALID, "index %s: more than %d fields", index->name,
                           HF_SANDBOX_INDEX_FIELDS);
        }
        if (!hf_sandbox_is_number(value) || strstr(bson_iter_key(&iter), "$**") != NULL) {
            index->usable = false;
        } else {
            field->descending = hf_sandbox_as_double(value) < 0;
        }
        field->path = hf_strdup(bson_iter_key(&iter));
        if (field->path == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "index %s", index->name);
        }
        index->field_count++;
    }
    return HF_ERR_OK;
}

struct hf_sandbox_index *hf_sandbox_index_make(const bson_t *spec, const char *ident, bool multikey,
                                               struct hf_error *err)
{
    struct hf_sandbox_index *index = hf_alloc_zero(sizeof *index);
    struct hf_sandbox_refusal no;
    bson_t filter;

    if (index == NULL) {
        (void)hf_fail(err, HF_ERR_NO_MEMORY, "make an index");
        return NULL;
    }
    atomic_init(&index->references, 1);
    atomic_init(&index->multikey, multikey);
    index->spec = bson_copy(spec);
    index->name = hf_sandbox_get_utf8(index->spec, "name", "");
    index->unique = hf_sandbox_get_true(spec, "unique") || strcmp(index->name, "_id_") == 0;
    index->sparse = hf_sandbox_get_true(spec, "sparse");
    (void)snprintf(index->ident, sizeof index->ident, "%s", ident);
    (void)snprintf(index->uri, sizeof index->uri, "table:%s", ident);
    if (!hf_sandbox_get_doc(index->spec, "key", &index->key_pattern)) {
        (void)hf_fail(err, HF_ERR_INVALID, "index %s has no key", index->name);
        hf_sandbox_index_drop_reference(index);
        return NULL;
    }
    if (hf_sandbox_get_doc(index->spec, "partialFilterExpression", &filter) &&
        hf_sandbox_filter_check(&filter, &no) != 0) {
        (void)hf_fail(err, HF_ERR_INVALID, "%.900s", no.message);
        hf_sandbox_index_drop_reference(index);
        return NULL;
    }
    index->partial =
        bson_has_field(index->spec, "partialFilterExpression") ? bson_copy(&filter) : NULL;
    if (read_fields(index, err) != HF_ERR_OK) {
        hf_sandbox_index_drop_reference(index);
        return NULL;
    }
    return index;
}

/* ---- Duplicates ---- */

/* What the message for a duplicate shows: {a: value} as the document has it. */
static void note_duplicate(struct hf_sandbox_txn *txn, const struct hf_sandbox_coll *coll,
                           const struct hf_sandbox_index *index, const bson_t *doc)
{
    bson_destroy(txn->duplicate_pattern);
    bson_destroy(txn->duplicate_value);
    txn->duplicate_pattern = bson_copy(&index->key_pattern);
    txn->duplicate_value = bson_new();
    for (size_t i = 0; i < index->field_count; i++) {
        bson_value_t value = {.value_type = BSON_TYPE_NULL};
        bson_value_t found;

        if (hf_sandbox_get_path(doc, index->fields[i].path, &found)) {
            value = found;
        }
        hf_sandbox_append(txn->duplicate_value, index->fields[i].path, &value);
    }
    (void)snprintf(txn->duplicate_ns, sizeof txn->duplicate_ns, "%s", coll->ns);
    (void)snprintf(txn->duplicate_index, sizeof txn->duplicate_index, "%s", index->name);
    txn->duplicate = (struct hf_sandbox_duplicate){.ns = txn->duplicate_ns,
                                                   .index_name = txn->duplicate_index,
                                                   .key_pattern = txn->duplicate_pattern,
                                                   .key_value = txn->duplicate_value};
}

/* ---- Tables of keys ---- */

/* The key as the table has it: a unique index's as it is, any other's with the record behind. */
static int set_key(WT_CURSOR *cursor, const struct hf_sandbox_index *index,
                   const struct hf_buf *key, int64_t record, struct hf_buf *scratch)
{
    struct hf_error err;
    uint8_t bytes[8];
    WT_ITEM item;

    hf_sandbox_put_record(bytes, record);
    hf_buf_clear(scratch);
    if (hf_buf_append(scratch, hf_buf_bytes(key), &err) != HF_ERR_OK ||
        (!index->unique &&
         hf_buf_append(scratch, hf_bytes_of(bytes, sizeof bytes), &err) != HF_ERR_OK)) {
        return ENOMEM;
    }
    item = (WT_ITEM){.data = scratch->data, .size = scratch->len};
    cursor->set_key(cursor, &item);
    return 0;
}

static int insert_key(WT_CURSOR *cursor, const struct hf_sandbox_index *index,
                      const struct hf_buf *key, int64_t record, struct hf_buf *scratch)
{
    uint8_t bytes[8];
    WT_ITEM value = {.data = "", .size = 0};
    int code = set_key(cursor, index, key, record, scratch);

    if (code != 0) {
        return code;
    }
    hf_sandbox_put_record(bytes, record);
    if (index->unique) {
        value = (WT_ITEM){.data = bytes, .size = sizeof bytes};
    }
    cursor->set_value(cursor, &value);
    return cursor->insert(cursor);
}

static int remove_key(WT_CURSOR *cursor, const struct hf_sandbox_index *index,
                      const struct hf_buf *key, int64_t record, struct hf_buf *scratch)
{
    int code = set_key(cursor, index, key, record, scratch);

    return code != 0 ? code : cursor->remove(cursor);
}

static bool has_key(const struct hf_sandbox_keys *keys, const struct hf_buf *key)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (hf_bytes_equal(hf_buf_bytes(&keys->list[i]), hf_buf_bytes(key))) {
            return true;
        }
    }
    return false;
}

/* The catalog remembers that an index has several keys for a document: then its order is not the documents'. */
static enum hf_err note_multikey(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                 struct hf_sandbox_index *index, struct hf_error *err)
{
    if (atomic_exchange(&index->multikey, true)) {
        return HF_ERR_OK;
    }
    return hf_sandbox_catalog_write(txn, coll, err);
}

static enum hf_err change_one(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                              struct hf_sandbox_index *index, int64_t record, const bson_t *old_doc,
                              const bson_t *new_doc, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_keys_fini) struct hf_sandbox_keys old_keys = HF_SANDBOX_KEYS_INIT;
    HF_CLEANUP(hf_sandbox_keys_fini) struct hf_sandbox_keys new_keys = HF_SANDBOX_KEYS_INIT;
    HF_CLEANUP(hf_buf_fini) struct hf_buf scratch = HF_BUF_INIT(HF_SANDBOX_KEY_MAX_BYTES);
    WT_CURSOR *cursor;
    int code;

    if ((old_doc != NULL && hf_sandbox_keys_of(index, old_doc, &old_keys, err) != HF_ERR_OK) ||
        (new_doc != NULL && hf_sandbox_keys_of(index, new_doc, &new_keys, err) != HF_ERR_OK)) {
        return err->code;
    }
    code = txn->session->open_cursor(txn->session, index->uri, NULL, "overwrite=false", &cursor);
    if (code != 0) {
        return hf_sandbox_wt_fail(err, code, index->uri);
    }
    for (size_t i = 0; i < old_keys.count && (code == 0 || code == WT_NOTFOUND); i++) {
        if (!has_key(&new_keys, &old_keys.list[i])) {
            code = remove_key(cursor, index, &old_keys.list[i], record, &scratch);
        }
    }
    code = code == WT_NOTFOUND ? 0 : code;
    for (size_t i = 0; i < new_keys.count && code == 0; i++) {
        if (!has_key(&old_keys, &new_keys.list[i])) {
            code = insert_key(cursor, index, &new_keys.list[i], record, &scratch);
        }
    }
    (void)cursor->close(cursor);
    if (code == WT_DUPLICATE_KEY) {
        note_duplicate(txn, coll, index, new_doc);
        return hf_fail(err, HF_ERR_EXISTS, "duplicate key in %s, index %s", coll->ns, index->name);
    }
    if (code != 0) {
        return hf_sandbox_wt_fail(err, code, index->uri);
    }
    return new_keys.multikey ? note_multikey(txn, coll, index, err) : HF_ERR_OK;
}

enum hf_err hf_sandbox_indexes_change(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                      int64_t record, const bson_t *old_doc, const bson_t *new_doc,
                                      struct hf_error *err)
{
    for (size_t i = 0; i < coll->index_count; i++) {
        if (coll->indexes[i]->usable &&
            change_one(txn, coll, coll->indexes[i], record, old_doc, new_doc, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* ---- Building ---- */

/* Of every document, one behind the other: the key's length, the key as in the table, the record. */
static enum hf_err gather(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                          struct hf_sandbox_index *index, struct hf_buf *out, size_t *count,
                          struct hf_error *err)
{
    const struct hf_sandbox_scan_options natural = {.index = NULL};
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    uint8_t len[4], place[8];
    int64_t record;
    bson_t doc;
    bool found = true;

    if (hf_sandbox_scan_open(txn, coll, &natural, &scan, err) != HF_ERR_OK) {
        return err->code;
    }
    while (found) {
        HF_CLEANUP(hf_sandbox_keys_fini) struct hf_sandbox_keys keys = HF_SANDBOX_KEYS_INIT;
        const struct hf_bytes behind = hf_bytes_of(place, index->unique ? 0 : sizeof place);

        if (hf_sandbox_scan_next(scan, &found, &record, &doc, err) != HF_ERR_OK ||
            (found && hf_sandbox_keys_of(index, &doc, &keys, err) != HF_ERR_OK)) {
            return err->code;
        }
        hf_sandbox_put_record(place, found ? record : 0);
        for (size_t i = 0; i < keys.count; i++) {
            hf_store_le32(len, (uint32_t)(keys.list[i].len + behind.len));
            if (hf_buf_append(out, hf_bytes_of(len, sizeof len), err) != HF_ERR_OK ||
                hf_buf_append(out, hf_buf_bytes(&keys.list[i]), err) != HF_ERR_OK ||
                hf_buf_append(out, behind, err) != HF_ERR_OK ||
                hf_buf_append(out, hf_bytes_of(place, sizeof place), err) != HF_ERR_OK) {
                return err->code;
            }
        }
        *count += keys.count;
        if (keys.multikey) {
            atomic_store(&index->multikey, true);
        }
    }
    return HF_ERR_OK;
}

static int compare_gathered(const void *a, const void *b)
{
    const uint8_t *one = *(const uint8_t *const *)a;
    const uint8_t *other = *(const uint8_t *const *)b;
    uint32_t len = hf_load_le32(one);
    uint32_t other_len = hf_load_le32(other);
    int order = memcmp(one + 4, other + 4, len < other_len ? len : other_len);

    return order != 0 ? order : (len > other_len) - (len < other_len);
}

static int load_all(WT_CURSOR *cursor, bool unique, uint8_t *const *list, size_t count)
{
    int code = 0;

    for (size_t i = 0; i < count && code == 0; i++) {
        WT_ITEM key = {.data = list[i] + 4, .size = hf_load_le32(list[i])};
        WT_ITEM value = {.data = list[i] + 4 + key.size, .size = unique ? 8 : 0};

        cursor->set_key(cursor, &key);
        cursor->set_value(cursor, &value);
        code = cursor->insert(cursor);
    }
    return code;
}

/* Straight into the new table's file: nobody else sees it before the transaction commits, and as one change a large
 * index would not fit into the cache. What is loaded so is in no journal. */
static enum hf_err load(struct hf_sandbox_engine *engine, const struct hf_sandbox_index *index,
                        uint8_t *const *list, size_t count, struct hf_error *err)
{
    WT_SESSION *session;
    WT_CURSOR *cursor;
    int code;
    int closed;

    if (hf_sandbox_session_take(engine, &session, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_mutex_lock(&engine->checkpoint); /* one that runs has the table open */
    code = session->open_cursor(session, index->uri, NULL, "bulk", &cursor);
    hf_mutex_unlock(&engine->checkpoint);
    if (code == EBUSY) {
        code = session->open_cursor(session, index->uri, NULL, NULL, &cursor);
    }
    if (code == 0) {
        code = load_all(cursor, index->unique, list, count);
        closed = cursor->close(cursor);
        code = code == 0 ? closed : code;
    }
    hf_sandbox_session_give(engine, session);
    if (code != 0) {
        return hf_sandbox_wt_fail(err, code, index->uri);
    }
    return engine->options.replicated ? HF_ERR_OK : hf_sandbox_engine_checkpoint(engine, err);
}

enum hf_err hf_sandbox_index_build(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                   struct hf_sandbox_index *index, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf gathered = HF_BUF_INIT(BUILD_MAX_BYTES);
    HF_CLEANUP(hf_free) uint8_t **list = NULL;
    size_t count = 0;
    uint8_t *at;

    hf_error_clear(err);
    if (!index->usable) {
        return HF_ERR_OK;
    }
    if (gather(txn, coll, index, &gathered, &count, err) != HF_ERR_OK || count == 0) {
        return err->code;
    }
    list = hf_alloc_array(count, sizeof *list);
    if (list == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "build index %s", index->name);
    }
    at = gathered.data;
    for (size_t i = 0; i < count; i++, at += 4 + hf_load_le32(at) + 8) {
        list[i] = at;
    }
    qsort(list, count, sizeof *list, compare_gathered);
    for (size_t i = 1; i < count; i++) {
        HF_CLEANUP(bson_destroy) bson_t *doc = NULL;
        const uint8_t *record = list[i] + 4 + hf_load_le32(list[i]);

        if (compare_gathered(&list[i - 1], &list[i]) == 0) {
            if (hf_sandbox_coll_get(txn, coll, hf_sandbox_load_record(record), &doc, err) ==
                HF_ERR_OK) {
                note_duplicate(txn, coll, index, doc);
                (void)hf_fail(err, HF_ERR_EXISTS, "duplicate key in %s, index %s", coll->ns,
                              index->name);
            }
            return err->code;
        }
    }
    return load(txn->engine, index, list, count, err);
}
