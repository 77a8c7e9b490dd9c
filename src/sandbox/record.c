/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents in their tables, found by record, by _id, or one after the other.
 *
 * Nothing here knows a query. A record's number says in which order documents came, in the oplog it is the time.
 */
#include <inttypes.h>

#include "sandbox/engine_internal.h"
#include "sandbox/value.h"

/* ---- Numbers ---- */

/* The first number that was never given: one above the last in the table, looked up once. Uncommitted ones count. */
static enum hf_err next_record(struct hf_sandbox_coll *coll, int64_t *out, struct hf_error *err)
{
    struct hf_sandbox_table *table = coll->table;
    WT_SESSION *session;
    WT_CURSOR *cursor;
    int64_t last = 0;
    int64_t unset = 0;
    int code;

    if (atomic_load(&table->next_record) == 0) {
        if (hf_sandbox_session_take(coll->engine, &session, err) != HF_ERR_OK) {
            return err->code;
        }
        code = session->begin_transaction(session, "isolation=read-uncommitted");
        if (code == 0) {
            code = session->open_cursor(session, table->uri, NULL, NULL, &cursor);
        }
        if (code == 0) {
            code = cursor->prev(cursor);
            if (code == 0) {
                code = cursor->get_key(cursor, &last);
            }
            (void)cursor->close(cursor);
        }
        (void)session->rollback_transaction(session, NULL);
        hf_sandbox_session_give(coll->engine, session);
        if (code != 0 && code != WT_NOTFOUND) {
            return hf_sandbox_wt_fail(err, code, table->uri);
        }
        (void)atomic_compare_exchange_strong(&table->next_record, &unset, last + 1);
    }
    *out = atomic_fetch_add(&table->next_record, 1);
    return HF_ERR_OK;
}

/* ---- Capped collections ---- */

/* The oldest documents fall out until it fits; in the same transaction, and in no oplog. Recovery does not do it: the
 * real server does not either, so that a restored copy may hold more than its source had. */
static enum hf_err trim(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                        struct hf_error *err)
{
    const struct hf_sandbox_scan_options natural = {.index = NULL};
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    int64_t records = atomic_load(&coll->table->records);
    int64_t bytes = atomic_load(&coll->table->bytes);

    for (size_t i = 0; i < txn->use_count; i++) {
        if (txn->uses[i].coll->table == coll->table) {
            records += txn->uses[i].records;
            bytes += txn->uses[i].bytes;
        }
    }
    while (records > 1 && ((coll->cap_bytes > 0 && bytes > coll->cap_bytes) ||
                           (coll->cap_records > 0 && records > coll->cap_records))) {
        bool found;
        int64_t record;
        bson_t doc;

        if ((scan == NULL && hf_sandbox_scan_open(txn, coll, &natural, &scan, err) != HF_ERR_OK) ||
            hf_sandbox_scan_next(scan, &found, &record, &doc, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!found) {
            return HF_ERR_OK;
        }
        records--;
        bytes -= (int64_t)doc.len;
        bson_t *copy = bson_copy(&doc);
        hf_sandbox_ignore(hf_sandbox_coll_remove(txn, coll, record, copy, err));
        bson_destroy(copy);
        if (err->code != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* ---- Changes ---- */

static int put(struct hf_sandbox_txn *txn, const struct hf_sandbox_coll *coll, int64_t record,
               const bson_t *doc, const char *config)
{
    WT_ITEM item = {.data = bson_get_data(doc), .size = doc->len};
    WT_CURSOR *cursor;
    int code = txn->session->open_cursor(txn->session, coll->table->uri, NULL, config, &cursor);

    if (code != 0) {
        return code;
    }
    cursor->set_key(cursor, record);
    cursor->set_value(cursor, &item);
    code = cursor->insert(cursor);
    (void)cursor->close(cursor);
    return code;
}

enum hf_err hf_sandbox_coll_insert(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                   const bson_t *doc, int64_t *record, struct hf_error *err)
{
    int64_t mine;
    int code;

    hf_error_clear(err);
    if (coll->oplog) {
        mine = (int64_t)hf_sandbox_get_ts(doc, "ts");
        if (mine == 0) {
            return hf_fail(err, HF_ERR_INVALID, "an oplog entry has no ts");
        }
    } else if (next_record(coll, &mine, err) != HF_ERR_OK) {
        return err->code;
    }
    if (doc->len > HF_SANDBOX_DOC_MAX_BYTES) {
        return hf_fail(err, HF_ERR_LIMIT, "a document of %" PRIu32 " bytes", doc->len);
    }
    if (hf_sandbox_txn_writes(txn, coll, 1, (int64_t)doc->len, err) != HF_ERR_OK) {
        return err->code;
    }
    code = put(txn, coll, mine, doc, "overwrite=false");
    if (code != 0) {
        return hf_sandbox_wt_fail(err, code, coll->ns);
    }
    if (hf_sandbox_indexes_change(txn, coll, mine, NULL, doc, err) != HF_ERR_OK) {
        return err->code;
    }
    if (record != NULL) {
        *record = mine;
    }
    if (coll->capped && !coll->oplog && !txn->no_trim) {
        return trim(txn, coll, err);
    }
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_coll_update(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                   int64_t record, const bson_t *old_doc, const bson_t *new_doc,
                                   struct hf_error *err)
{
    int code;

    if (new_doc->len > HF_SANDBOX_DOC_MAX_BYTES) {
        return hf_fail(err, HF_ERR_LIMIT, "a document of %" PRIu32 " bytes", new_doc->len);
    }
    if (hf_sandbox_txn_writes(txn, coll, 0, (int64_t)new_doc->len - (int64_t)old_doc->len, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    code = put(txn, coll, record, new_doc, NULL);
    if (code != 0) {
        return hf_sandbox_wt_fail(err, code, coll->ns);
    }
    return hf_sandbox_indexes_change(txn, coll, record, old_doc, new_doc, err);
}

enum hf_err hf_sandbox_coll_remove(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                   int64_t record, const bson_t *doc, struct hf_error *err)
{
    WT_CURSOR *cursor;
    int code;

    hf_error_clear(err);
    if (hf_sandbox_txn_writes(txn, coll, -1, -(int64_t)doc->len, err) != HF_ERR_OK) {
        return err->code;
    }
    code =
        txn->session->open_cursor(txn->session, coll->table->uri, NULL, "overwrite=false", &cursor);
    if (code == 0) {
        cursor->set_key(cursor, record);
        code = cursor->remove(cursor);
        (void)cursor->close(cursor);
    }
    if (code != 0) {
        return hf_sandbox_wt_fail(err, code, coll->ns);
    }
    return hf_sandbox_indexes_change(txn, coll, record, doc, NULL, err);
}

enum hf_err hf_sandbox_coll_truncate(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                     struct hf_error *err)
{
    const struct hf_sandbox_scan_options natural = {.index = NULL};
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    bool found;
    int64_t record;
    bson_t doc;

    hf_error_clear(err);
    if (hf_sandbox_scan_open(txn, coll, &natural, &scan, err) != HF_ERR_OK) {
        return err->code;
    }
    while (hf_sandbox_scan_next(scan, &found, &record, &doc, err) == HF_ERR_OK && found) {
        bson_t *copy = bson_copy(&doc);

        hf_sandbox_ignore(hf_sandbox_coll_remove(txn, coll, record, copy, err));
        bson_destroy(copy);
        if (err->code != HF_ERR_OK) {
            return err->code;
        }
    }
    return err->code;
}

enum hf_err hf_sandbox_coll_recount(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                    struct hf_error *err)
{
    const struct hf_sandbox_scan_options natural = {.index = NULL};
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    int64_t records = 0;
    int64_t bytes = 0;
    bool found;
    bson_t doc;

    if (hf_sandbox_scan_open(txn, coll, &natural, &scan, err) != HF_ERR_OK) {
        return err->code;
    }
    for (;;) {
        if (hf_sandbox_scan_next(scan, &found, NULL, &doc, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!found) {
            break;
        }
        records++;
        bytes += (int64_t)doc.len;
    }
    atomic_store(&coll->table->records, records);
    atomic_store(&coll->table->bytes, bytes);
    return HF_ERR_OK;
}

/* ---- Look-ups ---- */

enum hf_err hf_sandbox_coll_get(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                int64_t record, bson_t **doc, struct hf_error *err)
{
    WT_CURSOR *cursor;
    WT_ITEM item;
    int code;

    *doc = NULL;
    code = txn->session->open_cursor(txn->session, coll->table->uri, NULL, NULL, &cursor);
    if (code != 0) {
        return hf_sandbox_wt_fail(err, code, coll->ns);
    }
    cursor->set_key(cursor, record);
    code = cursor->search(cursor);
    if (code == 0 && (code = cursor->get_value(cursor, &item)) == 0 &&
        (*doc = bson_new_from_data(item.data, item.size)) == NULL) {
        (void)cursor->close(cursor);
        return hf_fail(err, HF_ERR_CORRUPT, "%s: record %" PRId64 " is no document", coll->ns,
                       record);
    }
    (void)cursor->close(cursor);
    return code == 0 || code == WT_NOTFOUND ? HF_ERR_OK : hf_sandbox_wt_fail(err, code, coll->ns);
}

enum hf_err hf_sandbox_coll_find_id(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                    const bson_value_t *id, int64_t *record, bson_t **doc,
                                    struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf key = HF_BUF_INIT(HF_SANDBOX_KEY_MAX_BYTES);
    WT_CURSOR *cursor;
    WT_ITEM item;
    int code;

    *record = 0;
    *doc = NULL;
    if (coll->index_count == 0) {
        return hf_fail(err, HF_ERR_INVALID, "%s has no index on _id", coll->ns);
    }
    if (hf_sandbox_key_append(&key, id, false, err) != HF_ERR_OK) {
        return err->code;
    }
    code = txn->session->open_cursor(txn->session, coll->indexes[0]->uri, NULL, NULL, &cursor);
    if (code != 0) {
        return hf_sandbox_wt_fail(err, code, coll->ns);
    }
    item = (WT_ITEM){.data = key.data, .size = key.len};
    cursor->set_key(cursor, &item);
    code = cursor->search(cursor);
    if (code == 0 && (code = cursor->get_value(cursor, &item)) == 0 && item.size == 8) {
        *record = hf_sandbox_load_record(item.data);
    }
    (void)cursor->close(cursor);
    if (code == WT_NOTFOUND) {
        return HF_ERR_OK;
    }
    if (code != 0) {
        return hf_sandbox_wt_fail(err, code, coll->ns);
    }
    return hf_sandbox_coll_get(txn, coll, *record, doc, err);
}
