/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands' transactions: tried again while somebody else is first, engine errors turned into codes; and the choice of
 * how to look for documents.
 */
#include <string.h>

#include "sandbox/server_internal.h"

#define CHECK_EVERY 256

/* ---- Transactions ---- */

static int32_t refuse_duplicate(struct hf_sandbox_work *work)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(1024);
    const bson_t *duplicate = work->txn == NULL ? NULL : hf_sandbox_txn_duplicate(work->txn);
    const char *shown;
    bson_t value;

    if (duplicate == NULL || !hf_sandbox_get_doc(duplicate, "keyValue", &value)) {
        /* A name was taken although it was not to be found: somebody else took it just now. */
        return hf_sandbox_refuse(work->call->no, HF_SANDBOX_WRITE_CONFLICT, "WriteConflict");
    }
    bson_destroy(work->duplicate);
    work->duplicate = bson_new();
    bson_copy_to_excluding_noinit(duplicate, work->duplicate, "ns", "name", NULL);
    hf_sandbox_doc_text(&value, &text);
    shown = hf_buf_text(&text);
    return hf_sandbox_refuse(work->call->no, HF_SANDBOX_DUPLICATE_KEY,
                             "E11000 duplicate key error collection: %s index: %s dup key: %s",
                             hf_sandbox_get_utf8(duplicate, "ns", ""),
                             hf_sandbox_get_utf8(duplicate, "name", ""),
                             shown == NULL ? "{ .. }" : shown);
}

int32_t hf_sandbox_work_code(struct hf_sandbox_work *work, enum hf_err result)
{
    static const struct {
        enum hf_err class;
        int32_t code;
        const char *text; /* NULL: the error's own */
    } refusals[] = {
        {HF_ERR_CONFLICT, HF_SANDBOX_WRITE_CONFLICT, "WriteConflict"},
        {HF_ERR_DENIED, HF_SANDBOX_NOT_WRITABLE_PRIMARY, "not master"},
        {HF_ERR_INVALID, HF_SANDBOX_BAD_VALUE, NULL},
        {HF_ERR_LIMIT, HF_SANDBOX_BSON_OBJECT_TOO_LARGE, NULL},
        {HF_ERR_CANCELLED, HF_SANDBOX_INTERRUPTED, "operation was interrupted"},
    };
    struct hf_sandbox_refusal *no = work->call->no;

    if (result == HF_ERR_OK || result == HF_ERR_EXISTS) {
        return result == HF_ERR_OK ? 0 : refuse_duplicate(work);
    }
    if (result == HF_ERR_DENIED && hf_sandbox_engine_read_only(work->call->engine)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_ILLEGAL_OPERATION,
                                 "Cannot execute a write operation in read-only mode");
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(refusals); i++) {
        if (refusals[i].class == result) {
            return hf_sandbox_refuse(no, refusals[i].code, "%s",
                                     refusals[i].text != NULL ? refusals[i].text
                                                              : work->err.message);
        }
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

    if (work->call->multi != NULL) { /* what it did so far is there, and stays open */
        work->txn = work->call->multi->txn;
        code = body(work, context);
        work->txn = NULL;
        return code;
    }
    if (hf_sandbox_txn_begin(work->call->engine, &options, &work->txn, &work->err) != HF_ERR_OK) {
        return hf_sandbox_work_code(work, work->err.code);
    }
    code = body(work, context);
    if (code == 0 && kind != WORK_READ) {
        if (hf_sandbox_txn_commit(HF_TAKE(work->txn), &optime, &work->err) != HF_ERR_OK) {
            return hf_sandbox_work_code(work, work->err.code);
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
    bool multi = work->call->multi != NULL;
    uint64_t read_ts = 0;
    int32_t code = kind == WORK_READ && !multi ? read_point(work->call, &read_ts) : 0;

    for (uint64_t wait_ms = 1; code == 0; wait_ms = wait_ms < 50 ? wait_ms * 2 : 50) {
        code = hf_sandbox_call_check(work->call);
        code = code != 0 ? code : try_once(work, kind, read_ts, body, context);
        if (code != HF_SANDBOX_WRITE_CONFLICT || multi) {
            return code;
        }
        hf_cancel_sleep(work->call->cancel, wait_ms);
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

/* A query that pins _id to one value is answered by its key; all others look at everything. */
static bool is_pinned(const struct hf_sandbox_coll *coll, const struct hf_sandbox_query *query,
                      bson_value_t *id)
{
    return query->filter != NULL && query->after_record == 0 && coll->index_count > 0 &&
           hf_sandbox_filter_bound(query->filter, "_id", "$eq", id) &&
           id->value_type != BSON_TYPE_ARRAY && !hf_sandbox_is_nullish(id);
}

/* Where to begin. The oplog is in the order of its ts, so a filter on ts says it, too. */
static int64_t first_record(const struct hf_sandbox_coll *coll,
                            const struct hf_sandbox_query *query)
{
    bson_value_t value;

    if (query->after_record != 0) {
        return query->after_record + (query->backward ? -1 : 1);
    }
    return coll->oplog && !query->backward && query->filter != NULL &&
                   hf_sandbox_filter_bound(query->filter, "ts", "$gt", &value) &&
                   value.value_type == BSON_TYPE_TIMESTAMP
               ? (int64_t)HF_SANDBOX_TS(value.value.v_timestamp.timestamp,
                                        value.value.v_timestamp.increment)
               : 0;
}

static bool visit_if(const struct hf_sandbox_query *query, int64_t record, const bson_t *doc,
                     hf_sandbox_query_visit visit, void *context)
{
    return (query->filter != NULL && !hf_sandbox_filter_test(query->filter, doc)) ||
           visit(record, doc, context);
}

int32_t hf_sandbox_query_run(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll,
                             const struct hf_sandbox_query *query, hf_sandbox_query_visit visit,
                             void *context)
{
    const struct hf_sandbox_scan_options options = {.backward = query->backward,
                                                    .from_record = first_record(coll, query)};
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    HF_CLEANUP(bson_destroy) bson_t *one = NULL;
    bson_value_t id;
    int64_t record;
    enum hf_err rc;
    int32_t code = 0;
    bool more = true;

    if (is_pinned(coll, query, &id)) {
        rc = hf_sandbox_coll_find_id(work->txn, coll, &id, &record, &one, &work->err);
        if (rc == HF_ERR_OK && one != NULL) {
            (void)visit_if(query, record, one, visit, context);
        }
        return hf_sandbox_work_code(work, rc);
    }
    rc = hf_sandbox_scan_open(work->txn, coll, &options, &scan, &work->err);
    for (unsigned seen = 1; rc == HF_ERR_OK && code == 0 && more; seen++) {
        bson_t doc;

        rc = hf_sandbox_scan_next(scan, &more, &record, &doc, &work->err);
        more = rc == HF_ERR_OK && more && visit_if(query, record, &doc, visit, context);
        code = seen % CHECK_EVERY == 0 ? hf_sandbox_call_check(work->call) : 0;
    }
    return rc == HF_ERR_OK ? code : hf_sandbox_work_code(work, rc);
}
