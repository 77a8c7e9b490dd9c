/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oplog as a table: entries by their time, a cap in bytes.
 *
 * What an entry means is apply.c's; who gives out times is txn.c's.
 */
#include "sandbox/engine_internal.h"
#include "sandbox/value.h"

#define DEFAULT_OPLOG_BYTES ((uint64_t)256 << 20)
#define CUT_BATCH 1000

enum hf_err hf_sandbox_oplog_put(struct hf_sandbox_txn *txn, const bson_t *entry,
                                 struct hf_error *err)
{
    struct hf_sandbox_coll *oplog = hf_sandbox_txn_find(txn, HF_SANDBOX_OPLOG_NS);

    if (oplog == NULL) {
        return hf_fail(err, HF_ERR_INTERNAL, "no oplog to write to");
    }
    return hf_sandbox_txn_stamp(txn, entry, err) != HF_ERR_OK
               ? err->code
               : hf_sandbox_coll_insert(txn, oplog, entry, NULL, err);
}

enum hf_err hf_sandbox_oplog_create(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    uint64_t bytes = engine->options.oplog_bytes;
    HF_CLEANUP(bson_destroy)
    bson_t *options = BCON_NEW("capped", BCON_BOOL(true), "size",
                               BCON_INT64((int64_t)(bytes == 0 ? DEFAULT_OPLOG_BYTES : bytes)),
                               "autoIndexId", BCON_BOOL(false));

    return hf_sandbox_local_create(engine, HF_SANDBOX_OPLOG_NS, options, err);
}

enum hf_err hf_sandbox_oplog_load_top(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy) bson_t *top = NULL;
    bson_value_t wall;

    if (hf_sandbox_local_get(engine, HF_SANDBOX_OPLOG_NS, true, &top, err) != HF_ERR_OK) {
        return err->code;
    }
    HF_LOCKED(&engine->state);
    engine->applied = top == NULL ? HF_SANDBOX_OPTIME_NONE : hf_sandbox_optime_of(top);
    engine->durable = engine->applied;
    if (top != NULL && hf_sandbox_get(top, "wall", &wall)) {
        engine->applied_wall = wall.value.v_datetime;
    }
    return HF_ERR_OK;
}

/* One transaction's worth of removing at one end, up to the limit, which stays; *more false when
 * there is nothing left to remove. */
static enum hf_err remove_some(struct hf_sandbox_engine *engine, bool newest, uint64_t limit,
                               int64_t bytes_wanted, bool *more, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    struct hf_sandbox_coll *oplog;

    *more = false;
    if (hf_sandbox_txn_begin(engine, HF_SANDBOX_WRITES_AS(HF_SANDBOX_KEEPING), &txn, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    oplog = hf_sandbox_txn_find(txn, HF_SANDBOX_OPLOG_NS);
    if (oplog == NULL) {
        return HF_ERR_OK;
    }
    if (hf_sandbox_scan_open(txn, oplog, &(struct hf_sandbox_scan_options){.backward = newest},
                             &scan, err) != HF_ERR_OK) {
        return err->code;
    }
    for (int i = 0; i < CUT_BATCH && -oplog->bytes < bytes_wanted; i++) {
        bool found;
        int64_t record;
        bson_t doc;

        if (hf_sandbox_scan_next(scan, &found, &record, &doc, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!found || (newest ? (uint64_t)record <= limit : (uint64_t)record >= limit)) {
            break;
        }
        if (hf_sandbox_coll_remove(txn, oplog, record, &doc, err) != HF_ERR_OK) {
            return err->code;
        }
        *more = true;
    }
    hf_sandbox_scan_close(HF_TAKE(scan));
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

enum hf_err hf_sandbox_oplog_cut(struct hf_sandbox_engine *engine, uint64_t ts,
                                 struct hf_error *err)
{
    HF_CLEANUP(bson_destroy) bson_t *first = NULL;
    bool more = true;

    if (hf_sandbox_local_get(engine, HF_SANDBOX_OPLOG_NS, false, &first, err) != HF_ERR_OK) {
        return err->code;
    }
    if (first == NULL || hf_sandbox_get_ts(first, "ts") > ts) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "fatal assertion 40296: no oplog entry at or below the truncate point");
    }
    while (more) {
        if (remove_some(engine, true, ts, INT64_MAX, &more, err) != HF_ERR_OK) {
            return hf_wrap(err, "cut the oplog");
        }
    }
    return hf_sandbox_oplog_load_top(engine, err);
}

enum hf_err hf_sandbox_oplog_keep_cap(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    struct hf_sandbox_engine_status status;
    const struct hf_sandbox_coll *oplog;
    uint64_t needed;
    bool more = true;

    /* On a plain standalone the cap does not bite: a restore fills in as many as it needs. */
    if (!engine->options.replicated || hf_sandbox_engine_fsync_locked(engine)) {
        return HF_ERR_OK;
    }
    if (hf_sandbox_txn_begin(engine, HF_SANDBOX_READS, &txn, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_sandbox_engine_status(engine, &status);
    oplog = hf_sandbox_txn_find(txn, HF_SANDBOX_OPLOG_NS);
    if (oplog == NULL || oplog->table->bytes <= oplog->cap_bytes) {
        return HF_ERR_OK;
    }
    if (hf_sandbox_prepared_since(txn, &needed, err) != HF_ERR_OK) {
        return err->code;
    }
    needed = needed < status.oldest_required_ts ? needed : status.oldest_required_ts;
    while (more && oplog->table->bytes > oplog->cap_bytes) {
        if (remove_some(engine, false, needed, oplog->table->bytes - oplog->cap_bytes, &more,
                        err) != HF_ERR_OK) {
            return hf_wrap(err, "keep the oplog's cap");
        }
    }
    return HF_ERR_OK;
}
