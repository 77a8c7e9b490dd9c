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

static bson_t *entry_at(const struct hf_sandbox_call *call, uint64_t ts)
{
    const bson_value_t id = {.value_type = BSON_TYPE_TIMESTAMP,
                             .value.v_timestamp = {.timestamp = hf_sandbox_ts_seconds(ts),
                                                   .increment = hf_sandbox_ts_increment(ts)}};

    return ts == 0 ? NULL : hf_sandbox_call_lookup(call, OPLOG_NS, &id, NULL);
}

int32_t hf_sandbox_retry_begin(struct hf_sandbox_call *call, struct hf_sandbox_retry *out)
{
    OWNED_DOC *session = session_doc(&call->session);
    bson_value_t id = hf_sandbox_value_of_doc(session);
    OWNED_DOC *doc = NULL;
    int64_t number;
    int32_t code = 0;

    *out = (struct hf_sandbox_retry){.previous = HF_SANDBOX_OPTIME_NONE};
    if (call->txn_number < 0) {
        return 0;
    }
    if (!hf_sandbox_engine_replicated(call->engine)) {
        return REFUSE(call, ILLEGAL_OPERATION,
                      "Transaction numbers are only allowed on a replica set member or mongos");
    }
    out->lead = BCON_NEW("lsid", BCON_DOCUMENT(session), "txnNumber", BCON_INT64(call->txn_number));
    doc = hf_sandbox_call_lookup(call, TRANSACTIONS_NS, &id, NULL);
    number = doc == NULL ? -1 : hf_sandbox_get_int64(doc, "txnNum", -1);
    if (number > call->txn_number) {
        return REFUSE(
            call, TRANSACTION_TOO_OLD,
            "Retryable write with txnNumber %lld is prohibited on session because a newer "
            "retryable write with txnNumber %lld has already started on this session.",
            (long long)call->txn_number, (long long)number);
    }
    if (number == call->txn_number) {
        out->previous = hf_sandbox_get_optime(doc, "lastWriteOpTime");
    }
    /* Follows the chain of entries back from the session's last one. */
    for (uint64_t ts = out->previous.ts; code == 0 && ts != 0;) {
        bson_t *entry = entry_at(call, ts);
        if (entry == NULL) {
            code = hf_sandbox_call_check(call);
            return code != 0
                       ? code
                       : hf_sandbox_refuse(call->no, 217, "the oplog lost what this session did");
        }
        ts = hf_sandbox_get_optime(entry, "prevOpTime").ts;
        code = hf_sandbox_docs_add_take(&out->done, entry, call->no);
    }
    return code;
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
    OWNED_DOC *id = session_doc(&work->call->session);
    OWNED_DOC *entry = BCON_NEW("op", "i", "ns", TRANSACTIONS_NS, "o", "{", "_id",
                                BCON_DOCUMENT(id), "txnNum", BCON_INT64(work->call->txn_number),
                                "lastWriteOpTime", HF_SANDBOX_BCON_OPTIME(last), "lastWriteDate",
                                BCON_DATE_TIME((int64_t)hf_clock_wall_ms()), "}");
    struct hf_sandbox_coll *coll;
    int32_t code;

    if (retry->lead == NULL || last.ts == retry->previous.ts) {
        return 0;
    }
    code = hf_sandbox_work_need_coll(work, TRANSACTIONS_NS, &coll);
    return code != 0 ? code
                     : hf_sandbox_work_code(work, hf_sandbox_apply(work->txn, entry, &work->err));
}

bson_t *hf_sandbox_retry_image(struct hf_sandbox_call *call, uint64_t ts)
{
    OWNED_DOC *entry = entry_at(call, ts);
    bson_t o;

    return entry != NULL && hf_sandbox_get_doc(entry, "o", &o) ? bson_copy(&o) : NULL;
}
