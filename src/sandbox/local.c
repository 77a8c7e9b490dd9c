/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The single documents of database `local` that steer recovery and elections, in mongod's own shapes.
 */
#include "sandbox/engine_internal.h"
#include "sandbox/value.h"

#define TRUNCATE_NS "local.replset.oplogTruncateAfterPoint"
#define MIN_VALID_NS "local.replset.minvalid"

enum hf_err hf_sandbox_local_get(struct hf_sandbox_engine *engine, const char *ns, bson_t **doc,
                                 struct hf_error *err)
{
    const struct hf_sandbox_txn_options read = {.write = false};
    const struct hf_sandbox_scan_options natural = {.index = NULL};
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    struct hf_sandbox_coll *coll;
    bool found;
    bson_t view;

    *doc = NULL;
    if (hf_sandbox_txn_begin(engine, &read, &txn, err) != HF_ERR_OK) {
        return err->code;
    }
    coll = hf_sandbox_txn_find(txn, ns);
    if (coll == NULL) {
        return HF_ERR_OK;
    }
    if (hf_sandbox_scan_open(txn, coll, &natural, &scan, err) != HF_ERR_OK ||
        hf_sandbox_scan_next(scan, &found, NULL, &view, err) != HF_ERR_OK) {
        return err->code;
    }
    *doc = found ? bson_copy(&view) : NULL;
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_local_create(struct hf_sandbox_engine *engine, const char *ns,
                                    const bson_t *options, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    bson_t none = BSON_INITIALIZER;
    uint8_t uuid[HF_SANDBOX_UUID_BYTES];

    hf_sandbox_uuid_make(uuid);
    if (hf_sandbox_txn_begin_keeping(engine, &txn, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_sandbox_txn_find(txn, ns) != NULL) {
        return HF_ERR_OK;
    }
    if (hf_sandbox_coll_create(txn, ns, options == NULL ? &none : options, uuid, NULL, err) !=
        HF_ERR_OK) {
        return err->code == HF_ERR_EXISTS ? HF_ERR_OK : err->code; /* somebody was faster */
    }
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

/* The new document in place of the first one, whose _id stays; else a new one. */
static enum hf_err set_in(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                          const bson_value_t *id, const bson_t *fields, struct hf_error *err)
{
    const struct hf_sandbox_scan_options natural = {.index = NULL};
    struct hf_sandbox_scan *scan = NULL;
    bson_t *doc = bson_new();
    bson_t *old = NULL;
    bson_value_t old_id;
    bool found = false;
    int64_t record;
    bson_t view;
    enum hf_err result = hf_sandbox_scan_open(txn, coll, &natural, &scan, err);

    if (result == HF_ERR_OK) {
        result = hf_sandbox_scan_next(scan, &found, &record, &view, err);
    }
    if (result == HF_ERR_OK && found) {
        old = bson_copy(&view);
    }
    hf_sandbox_scan_close(scan);
    if (result == HF_ERR_OK) {
        if (old != NULL && hf_sandbox_get(old, "_id", &old_id)) {
            hf_sandbox_append(doc, "_id", &old_id);
        } else if (id != NULL) {
            hf_sandbox_append(doc, "_id", id);
        } else {
            bson_oid_t oid;

            bson_oid_init(&oid, NULL);
            (void)BSON_APPEND_OID(doc, "_id", &oid);
        }
        (void)bson_concat(doc, fields);
        result = old != NULL ? hf_sandbox_coll_update(txn, coll, record, old, doc, err)
                             : hf_sandbox_coll_insert(txn, coll, doc, NULL, err);
    }
    bson_destroy(old);
    bson_destroy(doc);
    return result;
}

/* Once, in a transaction of its own. */
static enum hf_err set_once(struct hf_sandbox_engine *engine, const char *ns,
                            const bson_value_t *id, const bson_t *fields, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    struct hf_sandbox_coll *coll;

    if (hf_sandbox_txn_begin_keeping(engine, &txn, err) != HF_ERR_OK) {
        return err->code;
    }
    coll = hf_sandbox_txn_find(txn, ns);
    if (coll == NULL) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "%s is not there", ns);
    }
    if (set_in(txn, coll, id, fields, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
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
    for (;;) {
        enum hf_err result = set_once(engine, ns, id, fields, err);

        if (result == HF_ERR_NOT_FOUND) {
            if (hf_sandbox_local_create(engine, ns, NULL, err) != HF_ERR_OK) {
                return err->code;
            }
        } else if (result != HF_ERR_CONFLICT) {
            return result;
        }
    }
}

enum hf_err hf_sandbox_local_set_truncate_after(struct hf_sandbox_engine *engine, uint64_t ts,
                                                struct hf_error *err)
{
    const bson_value_t id = hf_sandbox_value_of_utf8("oplogTruncateAfterPoint");
    bson_t fields = BSON_INITIALIZER;
    enum hf_err result;

    hf_sandbox_append_ts(&fields, "oplogTruncateAfterPoint", ts);
    result = hf_sandbox_local_set(engine, NULL, TRUNCATE_NS, &id, &fields, err);
    bson_destroy(&fields);
    return result;
}

enum hf_err hf_sandbox_local_set_min_valid(struct hf_sandbox_engine *engine,
                                           struct hf_sandbox_txn *txn,
                                           struct hf_sandbox_optime valid,
                                           struct hf_sandbox_optime begin, struct hf_error *err)
{
    bson_t fields = BSON_INITIALIZER;
    enum hf_err result;

    (void)BSON_APPEND_INT64(&fields, "t", valid.term);
    hf_sandbox_append_ts(&fields, "ts", valid.ts);
    if (begin.ts != 0) {
        hf_sandbox_append_optime(&fields, "begin", begin);
    }
    result = hf_sandbox_local_set(engine, txn, MIN_VALID_NS, NULL, &fields, err);
    bson_destroy(&fields);
    return result;
}
