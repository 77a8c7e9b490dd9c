/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Initial sync: a new member copies all collections as of one moment of its source, then goes on from there by the
 * source's oplog. A copy that was cut short is begun again from nothing: minvalid says so until it is whole.
 */
#include "sandbox/repl_internal.h"

#define COPY_TIMEOUT_MS 30000

/* ---- Making room ---- */

static enum hf_err drop_all(struct hf_sandbox_repl *repl, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    struct hf_sandbox_coll **list;
    size_t count;
    enum hf_err result = HF_ERR_OK;

    if (hf_sandbox_txn_begin_keeping(repl->engine, &txn, err) != HF_ERR_OK ||
        hf_sandbox_txn_list(txn, NULL, &list, &count, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < count && result == HF_ERR_OK; i++) {
        if (!list[i]->local || list[i]->oplog) {
            result = hf_sandbox_coll_drop(txn, list[i], err);
        }
    }
    hf_free(list);
    return result != HF_ERR_OK ? result : hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

static enum hf_err set_under_way(struct hf_sandbox_repl *repl, bool under_way, struct hf_error *err)
{
    bson_t fields = BSON_INITIALIZER;
    enum hf_err result;

    (void)BSON_APPEND_INT64(&fields, "t", -1);
    hf_sandbox_append_ts(&fields, "ts", 0);
    if (under_way) {
        (void)BSON_APPEND_BOOL(&fields, "doingInitialSync", true);
    }
    result = hf_sandbox_local_set(repl->engine, NULL, "local.replset.minvalid", NULL, &fields, err);
    bson_destroy(&fields);
    return result;
}

static enum hf_err prepare(struct hf_sandbox_repl *repl, struct hf_error *err)
{
    if (hf_sandbox_repl_make_local(repl, err) != HF_ERR_OK ||
        set_under_way(repl, true, err) != HF_ERR_OK || drop_all(repl, err) != HF_ERR_OK ||
        hf_sandbox_oplog_create(repl->engine, err) != HF_ERR_OK ||
        hf_sandbox_oplog_load_top(repl->engine, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_engine_checkpoint(repl->engine, err);
}

/* ---- One collection ---- */

static enum hf_err create_one(struct hf_sandbox_repl *repl, const bson_t *about,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    const char *ns = hf_sandbox_get_utf8(about, "ns", "");
    bson_value_t uuid;
    bson_t options;
    bson_t indexes;
    bson_iter_t iter;

    if (!hf_sandbox_get(about, "uuid", &uuid) || uuid.value_type != BSON_TYPE_BINARY ||
        uuid.value.v_binary.data_len != HF_SANDBOX_UUID_BYTES ||
        !hf_sandbox_get_doc(about, "options", &options) ||
        !hf_sandbox_get_doc(about, "indexes", &indexes) || !bson_iter_init(&iter, &indexes)) {
        return hf_fail(err, HF_ERR_CORRUPT, "the source's list of collections is malformed");
    }
    if (hf_sandbox_txn_begin_keeping(repl->engine, &txn, err) != HF_ERR_OK ||
        hf_sandbox_coll_create(txn, ns, &options, uuid.value.v_binary.data, NULL, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    while (bson_iter_next(&iter)) {
        const bson_value_t value = *bson_iter_value(&iter);
        bson_t spec;

        if (!hf_sandbox_value_doc(&value, &spec)) {
            return hf_fail(err, HF_ERR_CORRUPT, "the source's list of indexes is malformed");
        }
        if (strcmp(hf_sandbox_get_utf8(&spec, "name", ""), "_id_") != 0 &&
            hf_sandbox_coll_create_index(txn, hf_sandbox_txn_find(txn, ns), &spec, err) !=
                HF_ERR_OK) {
            return err->code;
        }
    }
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

static enum hf_err insert_batch(struct hf_sandbox_repl *repl, const char *ns, const bson_t *docs,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    struct hf_sandbox_coll *coll;
    bson_iter_t iter;

    if (hf_sandbox_txn_begin_keeping(repl->engine, &txn, err) != HF_ERR_OK) {
        return err->code;
    }
    txn->no_trim = true;
    coll = hf_sandbox_txn_find(txn, ns);
    if (coll == NULL || !bson_iter_init(&iter, docs)) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s is gone while it is copied", ns);
    }
    while (bson_iter_next(&iter)) {
        const bson_value_t value = *bson_iter_value(&iter);
        bson_t doc;

        if (!hf_sandbox_value_doc(&value, &doc)) {
            return hf_fail(err, HF_ERR_CORRUPT, "the source sent what is no document");
        }
        if (hf_sandbox_coll_insert(txn, coll, &doc, NULL, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

static enum hf_err copy_docs(struct hf_sandbox_repl *repl, struct hf_sandbox_client *client,
                             int64_t copy_id, const char *ns, struct hf_error *err)
{
    int64_t after = 0;
    bool done = false;

    while (!done) {
        bson_t *command = BCON_NEW("_sandboxCopyNext", BCON_INT64(copy_id), "ns", BCON_UTF8(ns),
                                   "after", BCON_INT64(after));
        bson_t *reply = NULL;
        bson_t docs;
        enum hf_err result = hf_sandbox_client_run(client, command, COPY_TIMEOUT_MS, &reply, err);

        bson_destroy(command);
        if (result == HF_ERR_OK) {
            result = hf_sandbox_get_doc(reply, "docs", &docs)
                         ? insert_batch(repl, ns, &docs, err)
                         : hf_fail(err, HF_ERR_CORRUPT, "the source sent no documents");
            after = hf_sandbox_get_int64(reply, "last", 0);
            done = hf_sandbox_get_true(reply, "done");
        }
        bson_destroy(reply);
        if (result != HF_ERR_OK) {
            return result;
        }
        if (hf_sandbox_repl_stopping(repl)) {
            return hf_fail(err, HF_ERR_CANCELLED, "stopping");
        }
    }
    return HF_ERR_OK;
}

static enum hf_err copy_collections(struct hf_sandbox_repl *repl, struct hf_sandbox_client *client,
                                    const bson_t *opened, struct hf_error *err)
{
    bson_t list;
    bson_iter_t iter;

    if (!hf_sandbox_get_doc(opened, "collections", &list) || !bson_iter_init(&iter, &list)) {
        return hf_fail(err, HF_ERR_CORRUPT, "the source sent no list of collections");
    }
    while (bson_iter_next(&iter)) {
        const bson_value_t value = *bson_iter_value(&iter);
        bson_t about;

        if (!hf_sandbox_value_doc(&value, &about)) {
            return hf_fail(err, HF_ERR_CORRUPT, "the source's list of collections is malformed");
        }
        if (create_one(repl, &about, err) != HF_ERR_OK ||
            copy_docs(repl, client, hf_sandbox_get_int64(opened, "copyId", 0),
                      hf_sandbox_get_utf8(&about, "ns", ""), err) != HF_ERR_OK) {
            return hf_wrap(err, "copy %s", hf_sandbox_get_utf8(&about, "ns", "?"));
        }
    }
    return HF_ERR_OK;
}

/* ---- The end ---- */

/* The oplog begins with the entry of the moment that was copied; from it the history is one's own. */
static enum hf_err begin_history(struct hf_sandbox_repl *repl, const bson_t *entry,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    struct hf_sandbox_optime optime = hf_sandbox_optime_of(entry);
    bson_value_t wall = {.value_type = BSON_TYPE_DATE_TIME};
    bson_t fields = BSON_INITIALIZER;
    uint8_t id[HF_SANDBOX_UUID_BYTES];
    bson_value_t value = {.value_type = BSON_TYPE_BINARY};
    enum hf_err result;

    (void)hf_sandbox_get(entry, "wall", &wall);
    if (hf_sandbox_txn_begin_replay(repl->engine, &txn, err) != HF_ERR_OK ||
        hf_sandbox_txn_stamp(txn, optime, wall.value.v_datetime, err) != HF_ERR_OK ||
        hf_sandbox_oplog_put(txn, optime.ts, entry, err) != HF_ERR_OK ||
        hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_sandbox_uuid_make(id);
    value.value.v_binary.subtype = BSON_SUBTYPE_UUID;
    value.value.v_binary.data = id;
    value.value.v_binary.data_len = sizeof id;
    (void)BSON_APPEND_DATE_TIME(&fields, "wallTime", (int64_t)hf_clock_wall_ms());
    result = hf_sandbox_local_set(repl->engine, NULL, "local.replset.initialSyncId", &value,
                                  &fields, err);
    bson_destroy(&fields);
    if (result != HF_ERR_OK ||
        hf_sandbox_local_set_truncate_after(repl->engine, 0, err) != HF_ERR_OK ||
        hf_sandbox_engine_set_stable(repl->engine, optime.ts, err) != HF_ERR_OK ||
        set_under_way(repl, false, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_engine_checkpoint(repl->engine, err);
}

enum hf_err hf_sandbox_copy_all(struct hf_sandbox_repl *repl, const char *source,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_client_close) struct hf_sandbox_client *client = NULL;
    bson_t *open_command = BCON_NEW("_sandboxCopyOpen", BCON_INT32(1));
    bson_t *close_command;
    bson_t *opened = NULL;
    bson_t *reply = NULL;
    bson_t entry;
    struct hf_error ignored;
    enum hf_err result = prepare(repl, err);

    if (result == HF_ERR_OK) {
        result = hf_sandbox_client_open(source, hf_sandbox_repl_key_of(repl), COPY_TIMEOUT_MS,
                                        &client, err);
    }
    if (result == HF_ERR_OK) {
        result = hf_sandbox_client_run(client, open_command, COPY_TIMEOUT_MS, &opened, err);
    }
    bson_destroy(open_command);
    if (result != HF_ERR_OK) {
        return hf_wrap(err, "initial sync from %s", source);
    }
    result = copy_collections(repl, client, opened, err);
    close_command =
        BCON_NEW("_sandboxCopyClose", BCON_INT64(hf_sandbox_get_int64(opened, "copyId", 0)));
    hf_sandbox_ignore(
        hf_sandbox_client_run(client, close_command, COPY_TIMEOUT_MS, &reply, &ignored));
    bson_destroy(close_command);
    bson_destroy(reply);
    if (result == HF_ERR_OK) {
        result = hf_sandbox_get_doc(opened, "entry", &entry)
                     ? begin_history(repl, &entry, err)
                     : hf_fail(err, HF_ERR_CORRUPT, "the source sent no oplog entry");
    }
    bson_destroy(opened);
    if (result != HF_ERR_OK) {
        return hf_wrap(err, "initial sync from %s", source);
    }
    hf_mutex_lock(&repl->state);
    if (repl->mine == HF_SANDBOX_STARTUP2) {
        hf_sandbox_repl_set_state(repl, HF_SANDBOX_SECONDARY);
        hf_sandbox_repl_put_off_election(repl);
        repl->beat_generation++;
    }
    hf_mutex_unlock(&repl->state);
    return HF_ERR_OK;
}
