/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Retryable writes. What a session did is one document in config.transactions that names its last oplog entry; the
 * entries name the ones before, and say which statement each of them was. So a retry finds the old answer.
 */
#include <string.h>

#include "sandbox/server_internal.h"

#define TRANSACTIONS_NS "config.transactions"
#define MAX_STATEMENTS 100000

static bson_t *session_doc(const struct hf_sandbox_session *session)
{
    bson_t *doc = bson_new();

    bson_append_binary(doc, "id", -1, BSON_SUBTYPE_UUID, session->id, 16);
    bson_append_binary(doc, "uid", -1, BSON_SUBTYPE_BINARY, session->uid, 32);
    return doc;
}

static int32_t add_statement(struct hf_sandbox_retry *retry, bson_t *entry,
                             struct hf_sandbox_refusal *no)
{
    struct hf_sandbox_statement *grown =
        hf_realloc_array(retry->done, retry->done_count + 1, sizeof(struct hf_sandbox_statement));

    HF_ASSERT(grown != NULL);
    retry->done = grown;
    grown[retry->done_count++] = (struct hf_sandbox_statement){
        .id = (int32_t)hf_sandbox_get_int64(entry, "stmtId", 0), .entry = entry};
    return retry->done_count <= MAX_STATEMENTS
               ? 0
               : hf_sandbox_refuse(no, HF_SANDBOX_INTERNAL_ERROR,
                                   "a session's chain of entries does not end");
}

/* Follows the chain of entries back from the session's last one. */
static int32_t read_chain(struct hf_sandbox_work *work, struct hf_sandbox_retry *retry)
{
    struct hf_sandbox_coll *oplog = hf_sandbox_txn_find(work->txn, "local.oplog.rs");
    int32_t code = 0;

    for (uint64_t ts = retry->previous.ts; code == 0 && ts != 0 && oplog != NULL;) {
        bson_t *entry = NULL;
        if (hf_sandbox_coll_get(work->txn, oplog, (int64_t)ts, &entry, &work->err) != HF_ERR_OK) {
            return hf_sandbox_work_refuse(work);
        }
        if (entry == NULL) {
            return hf_sandbox_refuse(work->call->no, 217,
                                     "the oplog no longer has what this session did");
        }
        ts = hf_sandbox_get_optime(entry, "prevOpTime").ts;
        code = add_statement(retry, entry, work->call->no);
    }
    return code;
}

static int32_t read_record(struct hf_sandbox_work *work, void *context)
{
    struct hf_sandbox_retry *retry = context;
    struct hf_sandbox_call *call = work->call;
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, TRANSACTIONS_NS);
    bson_t *id = session_doc(&call->session);
    bson_value_t id_value = hf_sandbox_value_of_doc(id);
    bson_t *doc = NULL;
    int64_t record = 0;
    int64_t number;
    int32_t code = 0;

    if (coll != NULL && hf_sandbox_coll_find_id(work->txn, coll, &id_value, &record, &doc,
                                                &work->err) != HF_ERR_OK) {
        code = hf_sandbox_work_refuse(work);
    }
    bson_destroy(id);
    if (doc != NULL) {
        number = hf_sandbox_get_int64(doc, "txnNum", -1);
        if (number > call->txn_number) {
            code = hf_sandbox_refuse(
                call->no, HF_SANDBOX_TRANSACTION_TOO_OLD,
                "Retryable write with txnNumber %lld is prohibited on session because a newer "
                "retryable write with txnNumber %lld has already started on this session.",
                (long long)call->txn_number, (long long)number);
        } else if (number == call->txn_number) {
            retry->previous = hf_sandbox_get_optime(doc, "lastWriteOpTime");
            code = read_chain(work, retry);
        }
        bson_destroy(doc);
    }
    return code;
}

int32_t hf_sandbox_retry_begin(struct hf_sandbox_call *call, struct hf_sandbox_retry *out)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
    bson_t *session;

    *out = (struct hf_sandbox_retry){.previous = HF_SANDBOX_OPTIME_NONE};
    if (call->txn_number < 0) {
        return 0;
    }
    if (!hf_sandbox_engine_replicated(call->engine)) {
        return hf_sandbox_refuse(
            call->no, HF_SANDBOX_ILLEGAL_OPERATION,
            "Transaction numbers are only allowed on a replica set member or mongos");
    }
    session = session_doc(&call->session);
    out->lead = bson_new();
    bson_append_document(out->lead, "lsid", -1, session);
    bson_append_int64(out->lead, "txnNumber", -1, call->txn_number);
    bson_destroy(session);
    return hf_sandbox_work_run(&work, WORK_READ, read_record, out);
}

void hf_sandbox_retry_fini(struct hf_sandbox_retry *retry)
{
    for (size_t i = 0; i < retry->done_count; i++) {
        bson_destroy(retry->done[i].entry);
    }
    hf_free(retry->done);
    bson_destroy(retry->lead);
    *retry = (struct hf_sandbox_retry){0};
}

const bson_t *hf_sandbox_retry_find(const struct hf_sandbox_retry *retry, int32_t statement)
{
    for (size_t i = 0; i < retry->done_count; i++) {
        if (retry->done[i].id == statement) {
            return retry->done[i].entry;
        }
    }
    return NULL;
}

int32_t hf_sandbox_retry_record(struct hf_sandbox_work *work, const struct hf_sandbox_retry *retry,
                                struct hf_sandbox_optime last)
{
    struct hf_sandbox_call *call = work->call;
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, TRANSACTIONS_NS);
    bson_t *id;
    bson_t *old = NULL;
    bson_t *doc;
    bson_value_t id_value;
    int64_t record = 0;
    enum hf_err rc;

    if (retry->lead == NULL || last.ts == 0 || coll == NULL) {
        return 0;
    }
    id = session_doc(&call->session);
    id_value = hf_sandbox_value_of_doc(id);
    doc = bson_new();
    bson_append_document(doc, "_id", -1, id);
    bson_append_int64(doc, "txnNum", -1, call->txn_number);
    hf_sandbox_append_optime(doc, "lastWriteOpTime", last);
    bson_append_date_time(doc, "lastWriteDate", -1, (int64_t)hf_clock_wall_ms());
    rc = hf_sandbox_coll_find_id(work->txn, coll, &id_value, &record, &old, &work->err);
    if (rc == HF_ERR_OK) {
        rc = old == NULL ? hf_sandbox_coll_insert(work->txn, coll, doc, &record, &work->err)
                         : hf_sandbox_coll_update(work->txn, coll, record, old, doc, &work->err);
    }
    bson_destroy(old);
    bson_destroy(doc);
    bson_destroy(id);
    return rc == HF_ERR_OK ? 0 : hf_sandbox_work_refuse(work);
}

struct image {
    uint64_t ts;
    bson_t *o;
};

static int32_t read_image(struct hf_sandbox_work *work, void *context)
{
    struct image *image = context;
    struct hf_sandbox_coll *oplog = hf_sandbox_txn_find(work->txn, "local.oplog.rs");
    bson_t *entry = NULL;
    bson_t view;

    if (oplog != NULL && hf_sandbox_coll_get(work->txn, oplog, (int64_t)image->ts, &entry,
                                             &work->err) != HF_ERR_OK) {
        return hf_sandbox_work_refuse(work);
    }
    if (entry != NULL && hf_sandbox_get_doc(entry, "o", &view)) {
        image->o = bson_copy(&view);
    }
    bson_destroy(entry);
    return 0;
}

bson_t *hf_sandbox_retry_image(struct hf_sandbox_call *call, uint64_t ts)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
    struct image image = {.ts = ts};

    return ts != 0 && hf_sandbox_work_run(&work, WORK_READ, read_image, &image) == 0 ? image.o
                                                                                     : NULL;
}
