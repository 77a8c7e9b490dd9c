/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks through a collection: in the order the documents came, or in that of an index between two bounds.
 */
#include "sandbox/engine_internal.h"
#include "sandbox/value.h"

struct hf_sandbox_scan {
    struct hf_sandbox_coll *coll;   /* borrowed from the transaction */
    struct hf_sandbox_index *index; /* borrowed from coll; NULL: natural order */
    WT_CURSOR *cursor;              /* over records, or over keys */
    WT_CURSOR *fetch;               /* over records, beside an index */
    struct hf_sandbox_scan_options options;
    struct hf_buf low, high; /* encoded bounds; empty: open */
    bool begun, ended;
};

void hf_sandbox_scan_close(struct hf_sandbox_scan *scan)
{
    if (scan == NULL) {
        return;
    }
    if (scan->cursor != NULL) {
        (void)scan->cursor->close(scan->cursor);
    }
    if (scan->fetch != NULL) {
        (void)scan->fetch->close(scan->fetch);
    }
    hf_buf_fini(&scan->low);
    hf_buf_fini(&scan->high);
    hf_free(scan);
}

static enum hf_err encode_bound(const struct hf_sandbox_index *index,
                                const struct hf_sandbox_bound *bound, struct hf_buf *out,
                                struct hf_error *err)
{
    bson_iter_t iter;
    size_t at = 0;

    if (bound->values == NULL || !bson_iter_init(&iter, bound->values)) {
        return HF_ERR_OK;
    }
    while (bson_iter_next(&iter)) {
        if (at == index->field_count) {
            return hf_fail(err, HF_ERR_INVALID, "index %s: a bound with more than its fields",
                           index->name);
        }
        if (hf_sandbox_key_append(out, bson_iter_value(&iter), index->fields[at].descending, err) !=
            HF_ERR_OK) {
            return err->code;
        }
        at++;
    }
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_scan_open(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                 const struct hf_sandbox_scan_options *options,
                                 struct hf_sandbox_scan **out, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = hf_alloc_zero(sizeof *scan);
    const char *uri = coll->table->uri;
    int code;

    if (scan == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "scan %s", coll->ns);
    }
    scan->coll = coll;
    scan->options = *options;
    hf_buf_init(&scan->low, HF_SANDBOX_KEY_MAX_BYTES);
    hf_buf_init(&scan->high, HF_SANDBOX_KEY_MAX_BYTES);
    for (size_t i = 0; options->index != NULL && i < coll->index_count; i++) {
        if (strcmp(coll->indexes[i]->name, options->index) == 0 && coll->indexes[i]->usable) {
            scan->index = coll->indexes[i];
        }
    }
    if (options->index != NULL) {
        if (scan->index == NULL) {
            return hf_fail(err, HF_ERR_NOT_FOUND, "%s has no index %s to scan", coll->ns,
                           options->index);
        }
        if (encode_bound(scan->index, &options->low, &scan->low, err) != HF_ERR_OK ||
            encode_bound(scan->index, &options->high, &scan->high, err) != HF_ERR_OK) {
            return err->code;
        }
        uri = scan->index->uri;
        code = txn->session->open_cursor(txn->session, coll->table->uri, NULL, NULL, &scan->fetch);
        if (code != 0) {
            scan->fetch = NULL;
            return hf_sandbox_wt_fail(err, code, coll->ns);
        }
    }
    code = txn->session->open_cursor(txn->session, uri, NULL, NULL, &scan->cursor);
    if (code != 0) {
        scan->cursor = NULL;
        return hf_sandbox_wt_fail(err, code, coll->ns);
    }
    *out = HF_TAKE(scan);
    return HF_ERR_OK;
}

static int step(struct hf_sandbox_scan *scan)
{
    return scan->options.backward ? scan->cursor->prev(scan->cursor)
                                  : scan->cursor->next(scan->cursor);
}

/* ---- Natural order ---- */

static int begin_natural(struct hf_sandbox_scan *scan)
{
    int64_t from = scan->options.after_record;
    bool exact_counts = scan->options.from_record != 0;
    int side;
    int code;

    if (exact_counts) {
        from = scan->options.from_record;
    }
    if (from == 0) {
        return step(scan);
    }
    scan->cursor->set_key(scan->cursor, from);
    code = scan->cursor->search_near(scan->cursor, &side);
    if (code != 0) {
        return code;
    }
    if (side == 0) {
        return exact_counts ? 0 : step(scan);
    }
    /* It stands on a neighbour: on which side of the place? */
    return (side > 0) == scan->options.backward ? step(scan) : 0;
}

static enum hf_err next_natural(struct hf_sandbox_scan *scan, bool *found, int64_t *record,
                                bson_t *doc, struct hf_error *err)
{
    WT_ITEM item;
    int64_t key;
    int code = scan->begun ? step(scan) : begin_natural(scan);

    scan->begun = true;
    if (code == WT_NOTFOUND) {
        scan->ended = true;
        *found = false;
        return HF_ERR_OK;
    }
    if (code != 0 || (code = scan->cursor->get_key(scan->cursor, &key)) != 0 ||
        (code = scan->cursor->get_value(scan->cursor, &item)) != 0) {
        return hf_sandbox_wt_fail(err, code, scan->coll->ns);
    }
    if (!bson_init_static(doc, item.data, item.size)) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s: a record is no document", scan->coll->ns);
    }
    if (record != NULL) {
        *record = key;
    }
    *found = true;
    return HF_ERR_OK;
}

/* ---- Index order ---- */

/* Where a key lies to a bound: -1 before, 0 it begins with it, 1 behind. */
static int compare_prefix(const WT_ITEM *key, const struct hf_buf *bound)
{
    size_t shorter = key->size < bound->len ? key->size : bound->len;
    int order = memcmp(key->data, bound->data, shorter);

    if (order != 0) {
        return order < 0 ? -1 : 1;
    }
    return key->size < bound->len ? -1 : 0;
}

static bool below_low(const struct hf_sandbox_scan *scan, const WT_ITEM *key)
{
    int order = scan->low.len == 0 ? 1 : compare_prefix(key, &scan->low);

    return order < 0 || (order == 0 && scan->options.low.exclusive);
}

static bool above_high(const struct hf_sandbox_scan *scan, const WT_ITEM *key)
{
    int order = scan->high.len == 0 ? -1 : compare_prefix(key, &scan->high);

    return order > 0 || (order == 0 && scan->options.high.exclusive);
}

/* Near the bound the walk begins at; what lies outside is skipped by the caller. */
static int begin_index(struct hf_sandbox_scan *scan)
{
    struct hf_buf *bound = scan->options.backward ? &scan->high : &scan->low;
    struct hf_error err;
    WT_ITEM item;
    int side;
    int code;

    if (bound->len == 0) {
        return step(scan);
    }
    if (scan->options.backward || scan->options.low.exclusive) {
        /* Behind all that begins with it: no key goes on with 16 bytes of ff (descending ones end in a record). */
        static const uint8_t after[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
        size_t len = bound->len;

        if (scan->options.backward ? !scan->options.high.exclusive : true) {
            if (hf_buf_append(bound, hf_bytes_of(after, sizeof after), &err) != HF_ERR_OK) {
                return ENOMEM;
            }
        }
        item = (WT_ITEM){.data = bound->data, .size = bound->len};
        scan->cursor->set_key(scan->cursor, &item);
        code = scan->cursor->search_near(scan->cursor, &side);
        bound->len = len;
    } else {
        item = (WT_ITEM){.data = bound->data, .size = bound->len};
        scan->cursor->set_key(scan->cursor, &item);
        code = scan->cursor->search_near(scan->cursor, &side);
    }
    if (code != 0) {
        return code;
    }
    if (scan->options.backward) {
        return side > 0 ? step(scan) : 0;
    }
    return side < 0 ? step(scan) : 0;
}

/* The document of the key the cursor stands on. */
static enum hf_err fetch(struct hf_sandbox_scan *scan, const WT_ITEM *key, int64_t *record,
                         bson_t *doc, struct hf_error *err)
{
    WT_ITEM item;
    int64_t mine;
    int code = 0;

    if (scan->index->unique) {
        code = scan->cursor->get_value(scan->cursor, &item);
    } else {
        item = (WT_ITEM){.data = (const uint8_t *)key->data + key->size - 8, .size = 8};
    }
    if (code != 0 || item.size != 8 || key->size < 1) {
        return hf_fail(err, HF_ERR_CORRUPT, "index %s of %s: a key without record",
                       scan->index->name, scan->coll->ns);
    }
    mine = hf_sandbox_load_record(item.data);
    scan->fetch->set_key(scan->fetch, mine);
    code = scan->fetch->search(scan->fetch);
    if (code != 0 || (code = scan->fetch->get_value(scan->fetch, &item)) != 0) {
        return hf_sandbox_wt_fail(err, code == WT_NOTFOUND ? EIO : code, scan->coll->ns);
    }
    if (!bson_init_static(doc, item.data, item.size)) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s: a record is no document", scan->coll->ns);
    }
    if (record != NULL) {
        *record = mine;
    }
    return HF_ERR_OK;
}

static enum hf_err next_index(struct hf_sandbox_scan *scan, bool *found, int64_t *record,
                              bson_t *doc, struct hf_error *err)
{
    WT_ITEM key;
    int code = scan->begun ? step(scan) : begin_index(scan);

    scan->begun = true;
    for (;;) {
        bool outside_start;
        bool outside_end;

        if (code != 0) {
            break;
        }
        if ((code = scan->cursor->get_key(scan->cursor, &key)) != 0) {
            break;
        }
        outside_start = scan->options.backward ? above_high(scan, &key) : below_low(scan, &key);
        outside_end = scan->options.backward ? below_low(scan, &key) : above_high(scan, &key);
        if (outside_end) {
            code = WT_NOTFOUND;
            break;
        }
        if (!outside_start) {
            *found = true;
            return fetch(scan, &key, record, doc, err);
        }
        code = step(scan);
    }
    if (code != WT_NOTFOUND) {
        return hf_sandbox_wt_fail(err, code, scan->coll->ns);
    }
    scan->ended = true;
    *found = false;
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_scan_next(struct hf_sandbox_scan *scan, bool *found, int64_t *record,
                                 bson_t *doc, struct hf_error *err)
{
    if (scan->ended) {
        *found = false;
        return HF_ERR_OK;
    }
    return scan->index == NULL ? next_natural(scan, found, record, doc, err)
                               : next_index(scan, found, record, doc, err);
}
