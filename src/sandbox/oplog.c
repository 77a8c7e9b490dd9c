/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oplog as a table: entries by their time, a cap in bytes.
 *
 * What an entry means is apply.c's; who gives out times is txn.c's.
 */
#include <stdlib.h>

#include "os/clock.h"
#include "sandbox/engine_internal.h"
#include "sandbox/value.h"

#define DEFAULT_OPLOG_BYTES ((uint64_t)256 << 20)
#define CUT_BATCH 1000

enum hf_err hf_sandbox_oplog_put(struct hf_sandbox_txn *txn, uint64_t ts, const bson_t *entry,
                                 struct hf_error *err)
{
    struct hf_sandbox_coll *oplog = txn->engine->oplog;

    if (oplog == NULL || ts != hf_sandbox_get_ts(entry, "ts")) {
        return hf_fail(err, HF_ERR_INTERNAL, "no oplog to write to");
    }
    return hf_sandbox_coll_insert(txn, oplog, entry, NULL, err);
}

enum hf_err hf_sandbox_oplog_create(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    uint64_t bytes = engine->options.oplog_bytes;
    bson_t options = BSON_INITIALIZER;
    enum hf_err result;

    (void)BSON_APPEND_BOOL(&options, "capped", true);
    (void)BSON_APPEND_INT64(&options, "size", (int64_t)(bytes == 0 ? DEFAULT_OPLOG_BYTES : bytes));
    (void)BSON_APPEND_BOOL(&options, "autoIndexId", false);
    result = hf_sandbox_local_create(engine, HF_SANDBOX_OPLOG_NS, &options, err);
    bson_destroy(&options);
    return result;
}

/* The entry where such a scan begins, copied. */
static enum hf_err first_of(struct hf_sandbox_engine *engine,
                            const struct hf_sandbox_scan_options *options, bson_t **doc,
                            struct hf_error *err)
{
    const struct hf_sandbox_txn_options read = {.write = false};
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    struct hf_sandbox_coll *oplog;
    bool found;
    bson_t view;

    *doc = NULL;
    if (hf_sandbox_txn_begin(engine, &read, &txn, err) != HF_ERR_OK) {
        return err->code;
    }
    oplog = hf_sandbox_txn_find(txn, HF_SANDBOX_OPLOG_NS);
    if (oplog == NULL) {
        return HF_ERR_OK;
    }
    if (hf_sandbox_scan_open(txn, oplog, options, &scan, err) != HF_ERR_OK ||
        hf_sandbox_scan_next(scan, &found, NULL, &view, err) != HF_ERR_OK) {
        return err->code;
    }
    *doc = found ? bson_copy(&view) : NULL;
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_oplog_end(struct hf_sandbox_engine *engine, bool first, bson_t **doc,
                                 struct hf_error *err)
{
    return first_of(engine, &(struct hf_sandbox_scan_options){.backward = !first}, doc, err);
}

enum hf_err hf_sandbox_oplog_at_or_below(struct hf_sandbox_engine *engine, uint64_t ts,
                                         bson_t **doc, struct hf_error *err)
{
    const struct hf_sandbox_scan_options options = {.backward = true,
                                                    .after_record = (int64_t)(ts + 1)};

    return first_of(engine, &options, doc, err);
}

enum hf_err hf_sandbox_oplog_load_top(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    bson_t *top;
    bson_iter_t iter;

    if (hf_sandbox_oplog_end(engine, false, &top, err) != HF_ERR_OK) {
        return err->code;
    }
    HF_LOCKED(&engine->state);
    engine->applied = HF_SANDBOX_OPTIME_NONE;
    if (top != NULL) {
        engine->applied = hf_sandbox_optime_of(top);
        if (bson_iter_init_find(&iter, top, "wall") && BSON_ITER_HOLDS_DATE_TIME(&iter)) {
            engine->applied_wall = bson_iter_date_time(&iter);
        }
        bson_destroy(top);
    }
    engine->durable = engine->applied;
    if (engine->last_ts < engine->applied.ts) {
        engine->last_ts = engine->applied.ts;
    }
    return HF_ERR_OK;
}

/* One transaction's worth of removing at one end; *more false when there is nothing left to remove. */
static enum hf_err remove_some(struct hf_sandbox_engine *engine, bool newest, uint64_t limit,
                               int64_t bytes_wanted, bool *more, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    struct hf_sandbox_scan *scan = NULL;
    struct hf_sandbox_coll *oplog;
    int64_t bytes = 0;
    int count = 0;
    enum hf_err result;

    *more = false;
    if (hf_sandbox_txn_begin_keeping(engine, &txn, err) != HF_ERR_OK) {
        return err->code;
    }
    oplog = hf_sandbox_txn_find(txn, HF_SANDBOX_OPLOG_NS);
    if (oplog == NULL) {
        return HF_ERR_OK;
    }
    result = hf_sandbox_scan_open(txn, oplog, &(struct hf_sandbox_scan_options){.backward = newest},
                                  &scan, err);
    while (result == HF_ERR_OK && count < CUT_BATCH && bytes < bytes_wanted) {
        bool found;
        int64_t record;
        bson_t doc;

        result = hf_sandbox_scan_next(scan, &found, &record, &doc, err);
        if (result != HF_ERR_OK || !found ||
            (newest ? (uint64_t)record <= limit : (uint64_t)record >= limit)) {
            break;
        }
        bytes += (int64_t)doc.len;
        count++;
        result = hf_sandbox_coll_remove(txn, oplog, record, &doc, err);
    }
    hf_sandbox_scan_close(scan);
    if (result != HF_ERR_OK || count == 0) {
        return result;
    }
    *more = count == CUT_BATCH;
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

enum hf_err hf_sandbox_oplog_cut(struct hf_sandbox_engine *engine, uint64_t ts,
                                 struct hf_error *err)
{
    bool more = true;

    while (more) {
        if (remove_some(engine, true, ts, INT64_MAX, &more, err) != HF_ERR_OK) {
            return hf_wrap(err, "cut the oplog");
        }
    }
    return hf_sandbox_oplog_load_top(engine, err);
}

enum hf_err hf_sandbox_oplog_keep_cap(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    struct hf_sandbox_engine_status status;
    bool more = true;

    /* On a plain standalone the cap does not bite: a restore fills in as many entries as it needs. */
    if (!engine->options.replicated || hf_sandbox_engine_fsync_locked(engine)) {
        return HF_ERR_OK;
    }
    hf_sandbox_engine_status(engine, &status);
    while (more) {
        struct hf_sandbox_coll *oplog = hf_sandbox_catalog_find(engine, HF_SANDBOX_OPLOG_NS);
        int64_t over = oplog == NULL ? 0 : hf_sandbox_coll_bytes(oplog) - oplog->cap_bytes;

        hf_sandbox_coll_drop_reference(oplog);
        if (over <= 0) {
            return HF_ERR_OK;
        }
        if (remove_some(engine, false, status.oldest_required_ts, over, &more, err) != HF_ERR_OK) {
            return hf_wrap(err, "keep the oplog's cap");
        }
    }
    return HF_ERR_OK;
}
