/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Initial sync, both sides: a new member copies all collections as of one moment of its source, then goes on from there
 * by the source's oplog. What is copied travels as oplog entries that would make it. A copy that was cut short is begun
 * again from nothing: minvalid says so until it is whole.
 *
 * The source keeps no state for it but the time that is copied, which it pins against being forgotten while it is asked.
 */
#include "sandbox/repl_internal.h"

#define COPY_TIMEOUT_MS 30000

/* ---- The new member ---- */

static enum hf_err make_room(struct hf_sandbox_repl *repl, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    HF_CLEANUP(hf_free) struct hf_sandbox_coll **list = NULL;
    HF_CLEANUP(bson_destroy)
    bson_t *mark = BCON_NEW("t", BCON_INT64(-1), "ts", BCON_TIMESTAMP(0, 0), "doingInitialSync",
                            BCON_BOOL(true));
    size_t count;

    if (hf_sandbox_local_set(repl->engine, NULL, "local.replset.minvalid", NULL, mark, err) !=
            HF_ERR_OK ||
        hf_sandbox_txn_begin(repl->engine, HF_SANDBOX_WRITES_AS(HF_SANDBOX_KEEPING), &txn, err) !=
            HF_ERR_OK ||
        hf_sandbox_txn_list(txn, NULL, &list, &count, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < count; i++) {
        if ((!list[i]->local || list[i]->oplog) &&
            hf_sandbox_coll_drop(txn, list[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err) != HF_ERR_OK ||
        hf_sandbox_oplog_create(repl->engine, err) != HF_ERR_OK ||
        hf_sandbox_oplog_load_top(repl->engine, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_engine_checkpoint(repl->engine, err);
}

struct copying {
    struct hf_sandbox_repl *repl;
    struct hf_sandbox_peer peer;
    struct hf_sandbox_client *client;
};

/* Asks, and does what the entries of the reply say. */
static enum hf_err copy_some(struct copying *copying, const bson_t *command, bson_t **reply,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    bson_t entries, entry;

    if (hf_cancel_check(&copying->repl->stopping, err) != HF_ERR_OK ||
        hf_sandbox_client_run(&copying->client, &copying->peer, command, reply, err) != HF_ERR_OK ||
        hf_sandbox_txn_begin(copying->repl->engine, HF_SANDBOX_WRITES_AS(HF_SANDBOX_KEEPING), &txn,
                             err) != HF_ERR_OK) {
        return err->code;
    }
    txn->no_trim = true;
    if (!hf_sandbox_get_doc(*reply, "entries", &entries)) {
        return hf_fail(err, HF_ERR_CORRUPT, "the source sent no entries");
    }
    HF_SANDBOX_EACH (iter, &entries, true) {
        if (hf_sandbox_value_doc(bson_iter_value(&iter), &entry) &&
            hf_sandbox_apply(txn, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

static enum hf_err copy_docs(struct copying *copying, uint64_t ts, const bson_value_t *uuid,
                             struct hf_error *err)
{
    int64_t after = 0;

    for (bool done = false; !done;) {
        HF_CLEANUP(bson_destroy) bson_t *command = NULL;
        HF_CLEANUP(bson_destroy) bson_t *reply = NULL;

        command = BCON_NEW("_sandboxCopy", BCON_INT32(1), "ts", HF_SANDBOX_BCON_TS(ts), "after",
                           BCON_INT64(after));
        hf_sandbox_append(command, "ui", uuid);
        if (copy_some(copying, command, &reply, err) != HF_ERR_OK) {
            return err->code;
        }
        after = hf_sandbox_get_int64(reply, "last", 0);
        done = hf_sandbox_get_true(reply, "done");
    }
    return HF_ERR_OK;
}

/* The oplog begins with the entry of the moment that was copied. */
static enum hf_err begin_oplog(struct hf_sandbox_repl *repl, const bson_t *entry,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;

    if (hf_sandbox_txn_begin(repl->engine, HF_SANDBOX_WRITES_AS(HF_SANDBOX_REPLAY), &txn, err) !=
            HF_ERR_OK ||
        hf_sandbox_oplog_put(txn, entry, err) != HF_ERR_OK ||
        hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_repl_begin_history(repl, err);
}

static enum hf_err copy_from(struct copying *copying, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy) bson_t *command = BCON_NEW("_sandboxCopy", BCON_INT32(1));
    HF_CLEANUP(bson_destroy) bson_t *opened = NULL;
    bson_t list, moment, entry;
    bson_value_t value;

    if (make_room(copying->repl, err) != HF_ERR_OK ||
        copy_some(copying, command, &opened, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_sandbox_get_doc(opened, "entries", &list) ||
        !hf_sandbox_get_doc(opened, "moment", &moment)) {
        return hf_fail(err, HF_ERR_CORRUPT, "the source sent no moment");
    }
    HF_SANDBOX_EACH (iter, &list, true) {
        if (hf_sandbox_value_doc(bson_iter_value(&iter), &entry) &&
            hf_sandbox_get_path(&entry, "o.create", &value) &&
            hf_sandbox_get(&entry, "ui", &value) &&
            copy_docs(copying, hf_sandbox_get_ts(&moment, "ts"), &value, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return begin_oplog(copying->repl, &moment, err);
}

enum hf_err hf_sandbox_copy_all(struct hf_sandbox_repl *repl, const char *source,
                                struct hf_error *err)
{
    struct copying copying = {.repl = repl,
                              .peer = hf_sandbox_repl_peer(repl, source, COPY_TIMEOUT_MS)};
    enum hf_err result = copy_from(&copying, err);

    hf_sandbox_client_close(copying.client);
    if (result != HF_ERR_OK) {
        return hf_wrap(err, "initial sync from %s", source);
    }
    HF_LOCKED(&repl->state);
    if (repl->mine == HF_SANDBOX_STARTUP2) {
        hf_sandbox_repl_put_off_election(repl);
        hf_sandbox_repl_set_state(repl, HF_SANDBOX_SECONDARY);
    }
    return HF_ERR_OK;
}

/* ---- The source ---- */

static void append_entry(bson_t *list, uint32_t *count, const struct hf_sandbox_coll *coll,
                         bool definition, const bson_t *o)
{
    HF_CLEANUP(bson_destroy)
    bson_t *entry = BCON_NEW("op", definition ? "c" : "i", "ns", BCON_UTF8(coll->ns), "ui",
                             BCON_BIN(BSON_SUBTYPE_UUID, coll->uuid, HF_SANDBOX_UUID_BYTES), "o",
                             BCON_DOCUMENT(o));
    const bson_value_t value = hf_sandbox_value_of_doc(entry);

    hf_sandbox_append_element(list, count, &value);
}

/* With the oplog held nothing is half done: what its newest entry says is all that there is. */
static enum hf_err open_copy(struct hf_sandbox_repl *repl, bson_t *reply, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL, *look = NULL;
    HF_CLEANUP(hf_free) struct hf_sandbox_coll **colls = NULL;
    HF_CLEANUP(bson_destroy) bson_t *list = bson_new();
    HF_CLEANUP(bson_destroy) bson_t *moment = NULL;
    uint32_t at = 0;
    uint64_t prepared;
    size_t count;

    if (hf_sandbox_txn_begin(repl->engine, HF_SANDBOX_WRITES_AS(HF_SANDBOX_KEEPING), &txn, err) !=
            HF_ERR_OK ||
        hf_sandbox_txn_hold(txn, err) != HF_ERR_OK ||
        hf_sandbox_txn_begin(repl->engine, HF_SANDBOX_READS, &look, err) != HF_ERR_OK ||
        hf_sandbox_prepared_since(look, &prepared, err) != HF_ERR_OK ||
        hf_sandbox_txn_list(txn, NULL, &colls, &count, err) != HF_ERR_OK ||
        hf_sandbox_local_get(repl->engine, HF_SANDBOX_OPLOG_NS, true, &moment, err) != HF_ERR_OK) {
        return err->code;
    }
    if (moment == NULL || prepared != UINT64_MAX) {
        /* Its operations are in the oplog only, which the copy does not have. */
        return hf_fail(err, HF_ERR_NOT_FOUND, "this member has %s",
                       moment == NULL ? "no oplog yet" : "a transaction that is prepared");
    }
    hf_sandbox_engine_pin(repl->engine, hf_sandbox_get_ts(moment, "ts"));
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; !colls[i]->local && j < colls[i]->index_count; j++) {
            HF_CLEANUP(bson_destroy)
            bson_t *o = BCON_NEW(j == 0 ? "create" : "createIndexes", BCON_UTF8(colls[i]->name));

            (void)bson_concat(o, j == 0 ? colls[i]->options : colls[i]->indexes[j]->spec);
            append_entry(list, &at, colls[i], true, o);
        }
    }
    (void)BSON_APPEND_ARRAY(reply, "entries", list);
    (void)BSON_APPEND_DOCUMENT(reply, "moment", moment);
    return HF_ERR_OK;
}

/* The collection's documents as of the time, behind the record `after`. */
static enum hf_err append_docs(struct hf_sandbox_repl *repl, const bson_t *command, bson_t *reply,
                               struct hf_error *err)
{
    const struct hf_sandbox_txn_options read = {.read_ts = hf_sandbox_get_ts(command, "ts")};
    int64_t last = hf_sandbox_get_int64(command, "after", 0);
    const struct hf_sandbox_scan_options options = {.from_record = last + 1};
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    HF_CLEANUP(bson_destroy) bson_t *list = bson_new();
    struct hf_sandbox_coll *coll = NULL;
    bson_value_t ui;
    uint32_t count = 0;
    bool more = true;
    bson_t doc;

    hf_sandbox_engine_pin(repl->engine, read.read_ts);
    if (hf_sandbox_txn_begin(repl->engine, &read, &txn, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_sandbox_get(command, "ui", &ui) && ui.value_type == BSON_TYPE_BINARY &&
        ui.value.v_binary.data_len == HF_SANDBOX_UUID_BYTES) {
        coll = hf_sandbox_txn_find_uuid(txn, ui.value.v_binary.data);
    }
    if (coll == NULL) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "the collection is gone");
    }
    if (hf_sandbox_scan_open(txn, coll, &options, &scan, err) != HF_ERR_OK) {
        return err->code;
    }
    while (more && list->len < HF_SANDBOX_REPL_BATCH_BYTES) {
        if (hf_sandbox_scan_next(scan, &more, &last, &doc, err) != HF_ERR_OK) {
            return err->code;
        }
        if (more) {
            append_entry(list, &count, coll, false, &doc);
        }
    }
    BCON_APPEND(reply, "entries", BCON_ARRAY(list), "last", BCON_INT64(last), "done",
                BCON_BOOL(!more));
    return HF_ERR_OK;
}

int32_t hf_sandbox_copy_answer(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask)
{
    struct hf_error err;
    enum hf_err result = bson_has_field(ask->command, "ts")
                             ? append_docs(repl, ask->command, ask->reply, &err)
                             : open_copy(repl, ask->reply, &err);

    return hf_sandbox_repl_result(result, &err, ask->no);
}
