/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Retryable writes. What a session did is one document in config.transactions that names its last oplog entry; the
 * entries name the ones before, and say which statement each of them was. So a retry finds the old answer.
 */
#include "sandbox/server_internal.h"

#define TRANSACTIONS_NS "config.transactions"
#define OPLOG_NS "local.oplog.rs"

/* The session's key in config.transactions, which oplog entries carry too. */
static bson_t *session_doc(const struct hf_sandbox_session *session)
{
    return BCON_NEW("id", BCON_BIN(BSON_SUBTYPE_UUID, session->id, 16), "uid",
                    BCON_BIN(BSON_SUBTYPE_BINARY, session->uid, 32));
}

static int32_t read_entry(struct hf_sandbox_work *work, uint64_t ts, bson_t **out)
{
    struct hf_sandbox_coll *oplog = hf_sandbox_txn_find(work->txn, OPLOG_NS);

    *out = NULL;
    return hf_sandbox_work_code(
        work, oplog == NULL ? HF_ERR_OK
                            : hf_sandbox_coll_get(work->txn, oplog, (int64_t)ts, out, &work->err));
}

static int32_t find_session(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll,
                            int64_t *record, bson_t **doc)
{
    OWNED_DOC *id = session_doc(&work->call->session);
    bson_value_t value = hf_sandbox_value_of_doc(id);

    *doc = NULL;
    return coll == NULL || hf_sandbox_coll_find_id(work->txn, coll, &value, record, doc,
                                                   &work->err) == HF_ERR_OK
               ? 0
               : hf_sandbox_work_refuse(work);
}

/* Follows the chain of entries back from the session's last one. */
static int32_t read_done(struct hf_sandbox_work *work, void *context)
{
    struct hf_sandbox_retry *retry = context;
    struct hf_sandbox_call *call = work->call;
    OWNED_DOC *doc = NULL;
    int64_t record;
    int32_t code =
        find_session(work, hf_sandbox_txn_find(work->txn, TRANSACTIONS_NS), &record, &doc);
    int64_t number = doc == NULL ? -1 : hf_sandbox_get_int64(doc, "txnNum", -1);

    hf_sandbox_docs_fini(&retry->done);
    if (code == 0 && number > call->txn_number) {
        return REFUSE(
            call, TRANSACTION_TOO_OLD,
            "Retryable write with txnNumber %lld is prohibited on session because a newer "
            "retryable write with txnNumber %lld has already started on this session.",
            (long long)call->txn_number, (long long)number);
    }
    if (code != 0 || number != call->txn_number) {
        return code;
    }
    retry->previous = hf_sandbox_get_optime(doc, "lastWriteOpTime");
    for (uint64_t ts = retry->previous.ts; code == 0 && ts != 0;) {
        bson_t *entry;
        code = read_entry(work, ts, &entry);
        if (code == 0 && entry == NULL) {
            code =
                hf_sandbox_refuse(call->no, 217, "the oplog no longer has what this session did");
        }
        ts = entry == NULL ? 0 : hf_sandbox_get_optime(entry, "prevOpTime").ts;
        code = entry == NULL ? code : hf_sandbox_docs_add_take(&retry->done, entry, call->no);
    }
    return code;
}

int32_t hf_sandbox_retry_begin(struct hf_sandbox_call *call, struct hf_sandbox_retry *out)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
    OWNED_DOC *session = session_doc(&call->session);

    *out = (struct hf_sandbox_retry){.previous = HF_SANDBOX_OPTIME_NONE};
    if (call->txn_number < 0) {
        return 0;
    }
    if (!hf_sandbox_engine_replicated(call->engine)) {
        return REFUSE(call, ILLEGAL_OPERATION,
                      "Transaction numbers are only allowed on a replica set member or mongos");
    }
    out->lead = BCON_NEW("lsid", BCON_DOCUMENT(session), "txnNumber", BCON_INT64(call->txn_number));
    return hf_sandbox_work_run(&work, WORK_READ, read_done, out);
}

void hf_sandbox_retry_fini(struct hf_sandbox_retry *retry)
{
    hf_sandbox_docs_fini(&retry->done);
    bson_destroy(retry->lead);
    *retry = (struct hf_sandbox_retry){0};
}

const bson_t *hf_sandbox_retry_find(const struct hf_sandbox_retry *retry, int32_t statement)
{
    for (size_t i = 0; i < retry->done.count; i++) {
        if (hf_sandbox_get_int64(retry->done.items[i], "stmtId", 0) == statement) {
            return retry->done.items[i];
        }
    }
    return NULL;
}

int32_t hf_sandbox_retry_record(struct hf_sandbox_work *work, const struct hf_sandbox_retry *retry,
                                struct hf_sandbox_optime last)
{
    struct hf_sandbox_call *call = work->call;
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, TRANSACTIONS_NS);
    OWNED_DOC *id = session_doc(&call->session);
    OWNED_DOC *old = NULL;
    OWNED_DOC *doc = NULL;
    int64_t record = 0;
    enum hf_err rc;
    int32_t code;

    if (retry->lead == NULL || last.ts == 0 || coll == NULL) {
        return 0;
    }
    doc = BCON_NEW("_id", BCON_DOCUMENT(id), "txnNum", BCON_INT64(call->txn_number),
                   "lastWriteOpTime", HF_SANDBOX_BCON_OPTIME(last), "lastWriteDate",
                   BCON_DATE_TIME((int64_t)hf_clock_wall_ms()));
    code = find_session(work, coll, &record, &old);
    if (code != 0) {
        return code;
    }
    rc = old == NULL ? hf_sandbox_coll_insert(work->txn, coll, doc, &record, &work->err)
                     : hf_sandbox_coll_update(work->txn, coll, record, old, doc, &work->err);
    return hf_sandbox_work_code(work, rc);
}

struct image {
    uint64_t ts;
    bson_t *o;
};

static int32_t read_image(struct hf_sandbox_work *work, void *context)
{
    struct image *image = context;
    OWNED_DOC *entry = NULL;
    int32_t code = read_entry(work, image->ts, &entry);
    bson_t view;

    if (entry != NULL && hf_sandbox_get_doc(entry, "o", &view)) {
        image->o = bson_copy(&view);
    }
    return code;
}

bson_t *hf_sandbox_retry_image(struct hf_sandbox_call *call, uint64_t ts)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
    struct image image = {.ts = ts};

    return ts != 0 && hf_sandbox_work_run(&work, WORK_READ, read_image, &image) == 0 ? image.o
                                                                                     : NULL;
}
