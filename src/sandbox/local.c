/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The single documents of database `local` that steer recovery and elections, in mongod's own
 * shapes.
 */
#include "sandbox/engine_internal.h"
#include "sandbox/value.h"

enum hf_err hf_sandbox_local_get(struct hf_sandbox_engine *engine, const char *ns, bool last,
                                 bson_t **doc, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    struct hf_sandbox_coll *coll;
    bool found;
    bson_t view;

    *doc = NULL;
    if (hf_sandbox_txn_begin(engine, HF_SANDBOX_READS, &txn, err) != HF_ERR_OK) {
        return err->code;
    }
    coll = hf_sandbox_txn_find(txn, ns);
    if (coll == NULL) {
        return HF_ERR_OK;
    }
    if (hf_sandbox_scan_open(txn, coll, &(struct hf_sandbox_scan_options){.backward = last}, &scan,
                             err) != HF_ERR_OK ||
        hf_sandbox_scan_next(scan, &found, NULL, &view, err) != HF_ERR_OK) {
        return err->code;
    }
    *doc = found ? bson_copy(&view) : NULL;
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_local_create(struct hf_sandbox_engine *engine, const char *ns,
                                    const bson_t *options, struct hf_error *err)
{
    bson_t none = BSON_INITIALIZER;
    uint8_t uuid[HF_SANDBOX_UUID_BYTES];

    hf_sandbox_uuid_make(uuid);
    do {
        HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;

        if (hf_sandbox_txn_begin(engine, HF_SANDBOX_WRITES_AS(HF_SANDBOX_KEEPING), &txn, err) ==
                HF_ERR_OK &&
            hf_sandbox_txn_find(txn, ns) == NULL &&
            hf_sandbox_coll_create(txn, ns, options == NULL ? &none : options, uuid, NULL, err) ==
                HF_ERR_OK) {
            hf_sandbox_ignore(hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err));
        }
    } while (err->code == HF_ERR_CONFLICT);
    return err->code;
}

/* The new document in place of the first one, whose _id stays; else a new one. */
static enum hf_err set_in(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                          const bson_value_t *id, const bson_t *fields, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    HF_CLEANUP(bson_destroy) bson_t *doc = bson_new();
    HF_CLEANUP(bson_destroy) bson_t *old = NULL;
    bson_value_t new_id = {.value_type = BSON_TYPE_OID};
    bool found;
    int64_t record;
    bson_t view;

    if (hf_sandbox_scan_open(txn, coll, &(struct hf_sandbox_scan_options){.index = NULL}, &scan,
                             err) != HF_ERR_OK ||
        hf_sandbox_scan_next(scan, &found, &record, &view, err) != HF_ERR_OK) {
        return err->code;
    }
    bson_oid_init(&new_id.value.v_oid, NULL);
    new_id = id == NULL ? new_id : *id;
    if (found) {
        old = bson_copy(&view);
        (void)hf_sandbox_get(old, "_id", &new_id);
    }
    hf_sandbox_append(doc, "_id", &new_id);
    (void)bson_concat(doc, fields);
    return found ? hf_sandbox_coll_update(txn, coll, record, old, doc, err)
                 : hf_sandbox_coll_insert(txn, coll, doc, NULL, err);
}

enum hf_err hf_sandbox_local_set(struct hf_sandbox_engine *engine, struct hf_sandbox_txn *txn,
                                 const char *ns, const bson_value_t *id, const bson_t *fields,
                                 struct hf_error *err)
{
    if (txn != NULL) {
        struct hf_sandbox_coll *coll = hf_sandbox_txn_find(txn, ns);

        return coll == NULL ? hf_fail(err, HF_ERR_NOT_FOUND, "%s is not there", ns)
                            : set_in(txn, coll, id, fields, err);
    }
    do {
        HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *mine = NULL;

        if (hf_sandbox_local_create(engine, ns, NULL, err) == HF_ERR_OK &&
            hf_sandbox_txn_begin(engine, HF_SANDBOX_WRITES_AS(HF_SANDBOX_KEEPING), &mine, err) ==
                HF_ERR_OK &&
            hf_sandbox_local_set(engine, mine, ns, id, fields, err) == HF_ERR_OK) {
            hf_sandbox_ignore(hf_sandbox_txn_commit(HF_TAKE(mine), NULL, err));
        }
    } while (err->code == HF_ERR_CONFLICT);
    return err->code;
}

enum hf_err hf_sandbox_local_set_truncate_after(struct hf_sandbox_engine *engine, uint64_t ts,
                                                struct hf_error *err)
{
    const bson_value_t id = hf_sandbox_value_of_utf8("oplogTruncateAfterPoint");
    HF_CLEANUP(bson_destroy)
    bson_t *fields = BCON_NEW("oplogTruncateAfterPoint", HF_SANDBOX_BCON_TS(ts));

    return hf_sandbox_local_set(engine, NULL, "local.replset.oplogTruncateAfterPoint", &id, fields,
                                err);
}

enum hf_err hf_sandbox_local_set_min_valid(struct hf_sandbox_engine *engine,
                                           struct hf_sandbox_txn *txn,
                                           struct hf_sandbox_optime valid,
                                           struct hf_sandbox_optime begin, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy)
    bson_t *fields = BCON_NEW("t", BCON_INT64(valid.term), "ts", HF_SANDBOX_BCON_TS(valid.ts));

    if (begin.ts != 0) {
        hf_sandbox_append_optime(fields, "begin", begin);
    }
    return hf_sandbox_local_set(engine, txn, "local.replset.minvalid", NULL, fields, err);
}
