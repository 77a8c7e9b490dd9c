/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands' transactions: tried again while somebody else is first, engine errors turned into codes; and the choice of
 * how to look for documents.
 */
#include <string.h>

#include "sandbox/server_internal.h"

#define CHECK_EVERY 256

/* ---- Transactions ---- */

static void keep_duplicate(struct hf_sandbox_work *work,
                           const struct hf_sandbox_duplicate *duplicate)
{
    bson_destroy(work->duplicate);
    work->duplicate = bson_new();
    bson_append_document(work->duplicate, "keyPattern", -1, duplicate->key_pattern);
    bson_append_document(work->duplicate, "keyValue", -1, duplicate->key_value);
}

static int32_t refuse_duplicate(struct hf_sandbox_work *work)
{
    const struct hf_sandbox_duplicate *duplicate = hf_sandbox_txn_duplicate(work->txn);
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(1024);
    const char *shown;

    if (duplicate == NULL || duplicate->key_value == NULL) {
        /* A name was taken although it was not to be found: somebody else took it a moment ago. */
        return hf_sandbox_refuse(work->call->no, HF_SANDBOX_WRITE_CONFLICT, "WriteConflict");
    }
    keep_duplicate(work, duplicate);
    hf_sandbox_doc_text(duplicate->key_value, &text);
    shown = hf_buf_text(&text);
    return hf_sandbox_refuse(work->call->no, HF_SANDBOX_DUPLICATE_KEY,
                             "E11000 duplicate key error collection: %s index: %s dup key: %s",
                             duplicate->ns, duplicate->index_name,
                             shown == NULL ? "{ .. }" : shown);
}

int32_t hf_sandbox_work_refuse(struct hf_sandbox_work *work)
{
    struct hf_sandbox_refusal *no = work->call->no;

    if (work->err.code == HF_ERR_EXISTS) {
        return refuse_duplicate(work);
    }
    if (work->err.code == HF_ERR_CONFLICT) {
        return hf_sandbox_refuse(no, HF_SANDBOX_WRITE_CONFLICT, "WriteConflict");
    }
    if (work->err.code == HF_ERR_DENIED) {
        return hf_sandbox_engine_read_only(work->call->engine)
                   ? hf_sandbox_refuse(no, HF_SANDBOX_ILLEGAL_OPERATION,
                                       "Cannot execute a write operation in read-only mode")
                   : hf_sandbox_refuse(no, HF_SANDBOX_NOT_WRITABLE_PRIMARY, "not master");
    }
    if (work->err.code == HF_ERR_INVALID) {
        return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "%s", work->err.message);
    }
    if (work->err.code == HF_ERR_LIMIT) {
        return hf_sandbox_refuse(no, HF_SANDBOX_BSON_OBJECT_TOO_LARGE, "%s", work->err.message);
    }
    if (work->err.code == HF_ERR_CANCELLED) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INTERRUPTED, "operation was interrupted");
    }
    return hf_sandbox_refuse(no, HF_SANDBOX_INTERNAL_ERROR, "%s", work->err.message);
}

enum hf_sandbox_work_kind hf_sandbox_work_kind_of(const char *ns)
{
    return strncmp(ns, "local.", 6) == 0 ? WORK_WRITE_LOCAL : WORK_WRITE;
}

/* Where the command's readConcern asks to read; waits until the node has what afterClusterTime names. */
static int32_t read_point(struct hf_sandbox_call *call, uint64_t *read_ts)
{
    const char *level = "local";
    uint64_t after = 0;
    bson_t concern;

    *read_ts = 0;
    if (!hf_sandbox_repl_enabled(call->repl) ||
        !hf_sandbox_get_doc(call->command, "readConcern", &concern)) {
        return 0;
    }
    level = hf_sandbox_get_utf8(&concern, "level", level);
    after = hf_sandbox_get_ts(&concern, "afterClusterTime");
    bool majority = strcmp(level, "majority") == 0 || strcmp(level, "snapshot") == 0;
    for (;;) {
        uint64_t have = majority ? hf_sandbox_engine_majority(call->engine).ts
                                 : hf_sandbox_engine_applied(call->engine).ts;
        int32_t code = hf_sandbox_call_check(call);
        if (code != 0 || have >= after) {
            *read_ts = majority ? have : 0;
            return code;
        }
        (void)hf_sandbox_engine_wait_oplog(call->engine, majority ? UINT64_MAX - 1 : after - 1,
                                           majority ? have : UINT64_MAX, 200, call->cancel);
    }
}

static int32_t try_once(struct hf_sandbox_work *work, enum hf_sandbox_work_kind kind,
                        uint64_t read_ts, hf_sandbox_work_body body, void *context)
{
    struct hf_sandbox_txn_options options = {
        .write = kind != WORK_READ, .replicated = kind == WORK_WRITE, .read_ts = read_ts};
    struct hf_sandbox_optime optime = HF_SANDBOX_OPTIME_NONE;
    int32_t code;

    if (hf_sandbox_txn_begin(work->call->engine, &options, &work->txn, &work->err) != HF_ERR_OK) {
        return hf_sandbox_work_refuse(work);
    }
    code = body(work, context);
    if (code == 0 && kind != WORK_READ) {
        if (hf_sandbox_txn_commit(HF_TAKE(work->txn), &optime, &work->err) != HF_ERR_OK) {
            return hf_sandbox_work_refuse(work);
        }
        if (kind == WORK_WRITE && optime.ts > work->call->optime.ts) {
            work->call->optime = optime;
        }
    }
    hf_sandbox_txn_abort(HF_TAKE(work->txn));
    return code;
}

int32_t hf_sandbox_work_run(struct hf_sandbox_work *work, enum hf_sandbox_work_kind kind,
                            hf_sandbox_work_body body, void *context)
{
    uint64_t read_ts = 0;
    int32_t code = kind == WORK_READ ? read_point(work->call, &read_ts) : 0;

    for (uint64_t wait_ms = 0; code == 0; wait_ms = wait_ms == 0   ? 1
                                                    : wait_ms < 50 ? wait_ms * 2
                                                                   : 50) {
        if (wait_ms > 0) {
            hf_cancel_sleep(work->call->cancel, wait_ms);
        }
        code = hf_sandbox_call_check(work->call);
        if (code != 0) {
            return code;
        }
        code = try_once(work, kind, read_ts, body, context);
        if (code != HF_SANDBOX_WRITE_CONFLICT) {
            return code;
        }
        code = 0;
    }
    return code;
}

void hf_sandbox_work_fini(struct hf_sandbox_work *work)
{
    hf_sandbox_txn_abort(HF_TAKE(work->txn));
    bson_destroy(HF_TAKE(work->duplicate));
}

/* ---- Looking for documents ---- */

/* An index whose first field the filter pins to one value, and which holds every document once. */
static const bson_t *choose_index(const struct hf_sandbox_coll *coll,
                                  const struct hf_sandbox_query *query, bson_value_t *value)
{
    if (query->filter == NULL || query->natural || query->after_record != 0) {
        return NULL;
    }
    for (size_t i = 0; i < hf_sandbox_coll_index_count(coll); i++) {
        const bson_t *spec = hf_sandbox_coll_index(coll, i);
        bson_t key;
        bson_iter_t iter;

        if (hf_sandbox_coll_index_usable(coll, i) && !hf_sandbox_coll_index_multikey(coll, i) &&
            !hf_sandbox_get_true(spec, "sparse") &&
            !bson_has_field(spec, "partialFilterExpression") &&
            hf_sandbox_get_doc(spec, "key", &key) && bson_iter_init(&iter, &key) &&
            bson_iter_next(&iter) &&
            hf_sandbox_filter_equal_to(query->filter, bson_iter_key(&iter), value)) {
            return spec;
        }
    }
    return NULL;
}

bool hf_sandbox_query_by_index(const struct hf_sandbox_coll *coll,
                               const struct hf_sandbox_query *query)
{
    bson_value_t value;

    return choose_index(coll, query, &value) != NULL;
}

/* The oplog is in the order of its ts, so a filter on ts says where to begin. */
static int64_t first_record(const struct hf_sandbox_coll *coll,
                            const struct hf_sandbox_query *query)
{
    bson_value_t value;

    if (query->backward || query->filter == NULL ||
        strcmp(hf_sandbox_coll_ns(coll), "local.oplog.rs") != 0 ||
        !hf_sandbox_filter_at_least(query->filter, "ts", &value) ||
        value.value_type != BSON_TYPE_TIMESTAMP) {
        return 0;
    }
    return (int64_t)HF_SANDBOX_TS(value.value.v_timestamp.timestamp,
                                  value.value.v_timestamp.increment);
}

int32_t hf_sandbox_query_run(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll,
                             const struct hf_sandbox_query *query, hf_sandbox_query_visit visit,
                             void *context)
{
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    struct hf_sandbox_scan_options options = {.backward = query->backward,
                                              .after_record = query->after_record};
    bson_t bound = BSON_INITIALIZER;
    bson_value_t value;
    const bson_t *index = choose_index(coll, query, &value);
    enum hf_err rc;
    int32_t code = 0;

    if (index != NULL) {
        options.index = hf_sandbox_get_utf8(index, "name", "_id_");
        hf_sandbox_append(&bound, "", &value);
        options.low.values = &bound;
        options.high.values = &bound;
    } else if (query->after_record == 0) {
        options.from_record = first_record(coll, query);
    }
    rc = hf_sandbox_scan_open(work->txn, coll, &options, &scan, &work->err);
    for (unsigned seen = 1; rc == HF_ERR_OK && code == 0; seen++) {
        bson_t doc;
        int64_t record;
        bool found;

        rc = hf_sandbox_scan_next(scan, &found, &record, &doc, &work->err);
        if (rc != HF_ERR_OK || !found) {
            break;
        }
        if ((query->filter == NULL || hf_sandbox_filter_test(query->filter, &doc)) &&
            !visit(record, &doc, context)) {
            break;
        }
        code = seen % CHECK_EVERY == 0 ? hf_sandbox_call_check(work->call) : 0;
    }
    bson_destroy(&bound);
    return rc == HF_ERR_OK ? code : hf_sandbox_work_refuse(work);
}
