/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Initial sync, both sides: a new member copies all collections as of one moment of its source, then goes on from there
 * by the source's oplog. A copy that was cut short is begun again from nothing: minvalid says so until it is whole.
 *
 * The source keeps no state for it but the time that is copied, which it pins against being forgotten while it is asked.
 */
#include "sandbox/repl_internal.h"

#define COPY_TIMEOUT_MS 30000

/* ---- The new member ---- */

static enum hf_err drop_all(struct hf_sandbox_repl *repl, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    HF_CLEANUP(hf_free) struct hf_sandbox_coll **list = NULL;
    size_t count;

    if (hf_sandbox_txn_begin_keeping(repl->engine, &txn, err) != HF_ERR_OK ||
        hf_sandbox_txn_list(txn, NULL, &list, &count, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < count; i++) {
        if ((!list[i]->local || list[i]->oplog) &&
            hf_sandbox_coll_drop(txn, list[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

static enum hf_err make_room(struct hf_sandbox_repl *repl, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy)
    bson_t *mark = BCON_NEW("t", BCON_INT64(-1), "ts", BCON_TIMESTAMP(0, 0), "doingInitialSync",
                            BCON_BOOL(true));

    if (hf_sandbox_local_set(repl->engine, NULL, "local.replset.minvalid", NULL, mark, err) !=
            HF_ERR_OK ||
        drop_all(repl, err) != HF_ERR_OK ||
        hf_sandbox_oplog_create(repl->engine, err) != HF_ERR_OK ||
        hf_sandbox_oplog_load_top(repl->engine, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_engine_checkpoint(repl->engine, err);
}

static const uint8_t *uuid_in(const bson_t *doc)
{
    bson_value_t uuid;

    return hf_sandbox_get(doc, "uuid", &uuid) && uuid.value_type == BSON_TYPE_BINARY &&
                   uuid.value.v_binary.data_len == HF_SANDBOX_UUID_BYTES
               ? uuid.value.v_binary.data
               : NULL;
}

static enum hf_err create_one(struct hf_sandbox_repl *repl, const bson_t *about,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    const char *ns = hf_sandbox_get_utf8(about, "ns", "");
    bson_t options, indexes, spec;
    bson_iter_t iter;

    if (uuid_in(about) == NULL || !hf_sandbox_get_doc(about, "options", &options) ||
        !hf_sandbox_get_doc(about, "indexes", &indexes) || !bson_iter_init(&iter, &indexes)) {
        return hf_fail(err, HF_ERR_CORRUPT, "the source's list of collections is malformed");
    }
    if (hf_sandbox_txn_begin_keeping(repl->engine, &txn, err) != HF_ERR_OK ||
        hf_sandbox_coll_create(txn, ns, &options, uuid_in(about), NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    while (bson_iter_next(&iter)) {
        if (hf_sandbox_value_doc(bson_iter_value(&iter), &spec) &&
            strcmp(hf_sandbox_get_utf8(&spec, "name", ""), "_id_") != 0 &&
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
    bson_t doc;

    if (hf_sandbox_txn_begin_keeping(repl->engine, &txn, err) != HF_ERR_OK) {
        return err->code;
    }
    txn->no_trim = true;
    coll = hf_sandbox_txn_find(txn, ns);
    HF_ASSERT(coll != NULL && bson_iter_init(&iter, docs));
    while (bson_iter_next(&iter)) {
        if (hf_sandbox_value_doc(bson_iter_value(&iter), &doc) &&
            hf_sandbox_coll_insert(txn, coll, &doc, NULL, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

struct copying {
    struct hf_sandbox_repl *repl;
    struct hf_sandbox_peer peer;
    struct hf_sandbox_client *client;
    uint64_t ts; /* of the moment */
};

static enum hf_err copy_one(struct copying *copying, const bson_t *about, struct hf_error *err)
{
    const char *ns = hf_sandbox_get_utf8(about, "ns", "");
    int64_t after = 0;

    if (create_one(copying->repl, about, err) != HF_ERR_OK) {
        return hf_wrap(err, "copy %s", ns);
    }
    for (bool done = false; !done;) {
        HF_CLEANUP(bson_destroy)
        bson_t *command =
            BCON_NEW("_sandboxCopy", BCON_INT32(1), "ts", HF_SANDBOX_BCON_TS(copying->ts), "after",
                     BCON_INT64(after), "uuid",
                     BCON_BIN(BSON_SUBTYPE_UUID, uuid_in(about), HF_SANDBOX_UUID_BYTES));
        HF_CLEANUP(bson_destroy) bson_t *reply = NULL;
        bson_t docs;

        if (hf_cancel_check(&copying->repl->stopping, err) != HF_ERR_OK ||
            hf_sandbox_client_run(&copying->client, &copying->peer, command, &reply, err) !=
                HF_ERR_OK ||
            (!hf_sandbox_get_doc(reply, "docs", &docs) &&
             hf_fail(err, HF_ERR_CORRUPT, "the source sent no documents")) ||
            insert_batch(copying->repl, ns, &docs, err) != HF_ERR_OK) {
            return hf_wrap(err, "copy %s", ns);
        }
        after = hf_sandbox_get_int64(reply, "last", 0);
        done = hf_sandbox_get_true(reply, "done");
    }
    return HF_ERR_OK;
}

/* The oplog begins with the entry of the moment that was copied. */
static enum hf_err write_entry(struct hf_sandbox_repl *repl, const bson_t *entry,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    struct hf_sandbox_optime optime = hf_sandbox_optime_of(entry);
    bson_value_t wall = {.value_type = BSON_TYPE_DATE_TIME};

    (void)hf_sandbox_get(entry, "wall", &wall);
    if (hf_sandbox_txn_begin_replay(repl->engine, &txn, err) != HF_ERR_OK ||
        hf_sandbox_txn_stamp(txn, optime, wall.value.v_datetime, err) != HF_ERR_OK ||
        hf_sandbox_oplog_put(txn, optime.ts, entry, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

static enum hf_err copy_from(struct copying *copying, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy) bson_t *command = BCON_NEW("_sandboxCopy", BCON_INT32(1));
    HF_CLEANUP(bson_destroy) bson_t *opened = NULL;
    bson_t list, entry, about;
    bson_iter_t iter;

    if (make_room(copying->repl, err) != HF_ERR_OK ||
        hf_sandbox_client_run(&copying->client, &copying->peer, command, &opened, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    if (!hf_sandbox_get_doc(opened, "collections", &list) || !bson_iter_init(&iter, &list) ||
        !hf_sandbox_get_doc(opened, "entry", &entry)) {
        return hf_fail(err, HF_ERR_CORRUPT, "the source sent no list of collections");
    }
    copying->ts = hf_sandbox_optime_of(&entry).ts;
    while (bson_iter_next(&iter)) {
        if (hf_sandbox_value_doc(bson_iter_value(&iter), &about) &&
            copy_one(copying, &about, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return write_entry(copying->repl, &entry, err) != HF_ERR_OK
               ? err->code
               : hf_sandbox_repl_begin_history(copying->repl, err);
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

static void append_collections(struct hf_sandbox_coll *const *list, size_t count, bson_t *reply)
{
    uint32_t at = 0;
    bson_t array;

    (void)BSON_APPEND_ARRAY_BEGIN(reply, "collections", &array);
    for (size_t i = 0; i < count; i++) {
        HF_CLEANUP(bson_destroy) bson_t *indexes = bson_new();
        HF_CLEANUP(bson_destroy) bson_t *about = NULL;
        uint32_t index = 0;
        bson_value_t value;

        for (size_t j = 0; j < list[i]->index_count; j++) {
            value = hf_sandbox_value_of_doc(list[i]->indexes[j]->spec);
            hf_sandbox_append_element(indexes, &index, &value);
        }
        about =
            BCON_NEW("ns", BCON_UTF8(list[i]->ns), "uuid",
                     BCON_BIN(BSON_SUBTYPE_UUID, list[i]->uuid, HF_SANDBOX_UUID_BYTES), "options",
                     BCON_DOCUMENT(list[i]->options), "indexes", BCON_ARRAY(indexes));
        value = hf_sandbox_value_of_doc(about);
        if (!list[i]->local) {
            hf_sandbox_append_element(&array, &at, &value);
        }
    }
    (void)bson_append_array_end(reply, &array);
}

/* With the oplog held nothing is half done: what its newest entry says is all that there is. */
static enum hf_err open_copy(struct hf_sandbox_repl *repl, bson_t *reply, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    HF_CLEANUP(hf_free) struct hf_sandbox_coll **list = NULL;
    HF_CLEANUP(bson_destroy) bson_t *entry = NULL;
    size_t count;

    if (hf_sandbox_txn_begin_keeping(repl->engine, &txn, err) != HF_ERR_OK ||
        hf_sandbox_txn_hold(txn, err) != HF_ERR_OK ||
        hf_sandbox_txn_list(txn, NULL, &list, &count, err) != HF_ERR_OK ||
        hf_sandbox_oplog_end(repl->engine, false, &entry, err) != HF_ERR_OK) {
        return err->code;
    }
    if (entry == NULL) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "this member has no oplog yet");
    }
    hf_sandbox_engine_pin(repl->engine, hf_sandbox_get_ts(entry, "ts"));
    append_collections(list, count, reply);
    (void)BSON_APPEND_DOCUMENT(reply, "entry", entry);
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
    struct hf_sandbox_coll *coll;
    bool more;

    hf_sandbox_engine_pin(repl->engine, read.read_ts);
    if (hf_sandbox_txn_begin(repl->engine, &read, &txn, err) != HF_ERR_OK) {
        return err->code;
    }
    coll = uuid_in(command) == NULL ? NULL : hf_sandbox_txn_find_uuid(txn, uuid_in(command));
    if (coll == NULL) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "the collection is gone");
    }
    if (hf_sandbox_scan_open(txn, coll, &options, &scan, err) != HF_ERR_OK ||
        hf_sandbox_sync_read(scan, list, &last, &more, err) != HF_ERR_OK) {
        return err->code;
    }
    BCON_APPEND(reply, "docs", BCON_ARRAY(list), "last", BCON_INT64(last), "done",
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
