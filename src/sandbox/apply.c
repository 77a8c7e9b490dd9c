/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an oplog entry does to the data: for recovery at start and for secondaries.
 *
 * The transaction is stamped with the entry's time before. An insert of what is there replaces it, a delete of
 * what is not there does nothing: the same entry twice has the effect of once.
 */
#include <stdio.h>

#include "sandbox/engine_internal.h"
#include "sandbox/update.h"
#include "sandbox/value.h"

#define MAX_CHAIN 10000 /* entries of one transaction */

static enum hf_err apply_op(struct hf_sandbox_txn *txn, const bson_t *entry, struct hf_error *err);

/* The collection by its UUID, where there is none by its name. */
static struct hf_sandbox_coll *collection_of(struct hf_sandbox_txn *txn, const bson_t *entry)
{
    bson_value_t ui;

    if (hf_sandbox_get(entry, "ui", &ui) && ui.value_type == BSON_TYPE_BINARY &&
        ui.value.v_binary.data_len == HF_SANDBOX_UUID_BYTES) {
        return hf_sandbox_txn_find_uuid(txn, ui.value.v_binary.data);
    }
    return hf_sandbox_txn_find(txn, hf_sandbox_get_utf8(entry, "ns", ""));
}

/* ---- Documents ---- */

static enum hf_err apply_insert(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                const bson_t *o, struct hf_error *err)
{
    bson_value_t id;
    bson_t *old = NULL;
    int64_t record = 0;
    enum hf_err result = HF_ERR_OK;

    if (hf_sandbox_get(o, "_id", &id)) {
        result = hf_sandbox_coll_find_id(txn, coll, &id, &record, &old, err);
    }
    if (result == HF_ERR_OK) {
        result = old != NULL ? hf_sandbox_coll_update(txn, coll, record, old, o, err)
                             : hf_sandbox_coll_insert(txn, coll, o, NULL, err);
    }
    bson_destroy(old);
    return result;
}

/* The document after {$v: 1, $set: ..} or, when o has no operator, o itself. */
static bson_t *updated_doc(const bson_t *old, const bson_t *o, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_updated_fini) struct hf_sandbox_updated updated = {.doc = NULL};
    struct hf_sandbox_refusal no;
    int32_t code;
    bson_t spec = BSON_INITIALIZER;

    bson_copy_to_excluding_noinit(o, &spec, "$v", NULL);
    code = hf_sandbox_update_apply(&spec, old, 0, &updated, &no);
    bson_destroy(&spec);
    if (code != 0) {
        (void)hf_fail(err, HF_ERR_INVALID, "apply an update: %.900s", no.message);
        return NULL;
    }
    return HF_TAKE(updated.doc);
}

static enum hf_err apply_update(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                const bson_t *entry, const bson_t *o, struct hf_error *err)
{
    bson_t o2;
    bson_value_t id;
    bson_t *old;
    bson_t *doc;
    int64_t record;
    enum hf_err result;

    if (!hf_sandbox_get_doc(entry, "o2", &o2) || !hf_sandbox_get(&o2, "_id", &id)) {
        return hf_fail(err, HF_ERR_CORRUPT, "an update without o2._id");
    }
    if (hf_sandbox_coll_find_id(txn, coll, &id, &record, &old, err) != HF_ERR_OK) {
        return err->code;
    }
    if (old == NULL) {
        return HF_ERR_OK; /* deleted later in what was copied; its delete follows */
    }
    doc = updated_doc(old, o, err);
    result = doc == NULL ? err->code : hf_sandbox_coll_update(txn, coll, record, old, doc, err);
    bson_destroy(doc);
    bson_destroy(old);
    return result;
}

static enum hf_err apply_delete(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                const bson_t *o, struct hf_error *err)
{
    bson_value_t id;
    bson_t *old;
    int64_t record;
    enum hf_err result;

    if (!hf_sandbox_get(o, "_id", &id)) {
        return hf_fail(err, HF_ERR_CORRUPT, "a delete without o._id");
    }
    if (hf_sandbox_coll_find_id(txn, coll, &id, &record, &old, err) != HF_ERR_OK) {
        return err->code;
    }
    if (old == NULL) {
        return HF_ERR_OK;
    }
    result = hf_sandbox_coll_remove(txn, coll, record, old, err);
    bson_destroy(old);
    return result;
}

/* ---- Definitions ---- */

struct command {
    struct hf_sandbox_txn *txn;
    const bson_t *entry;
    const bson_t *o;
    const char *name;             /* first field of o */
    const char *target;           /* its value, when text */
    char ns[HF_SANDBOX_NS_BYTES]; /* "db.target" */
    struct hf_sandbox_coll *coll; /* by ui; NULL: none */
};

static enum hf_err drop_if(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                           struct hf_error *err)
{
    return coll == NULL ? HF_ERR_OK : hf_sandbox_coll_drop(txn, coll, err);
}

static enum hf_err apply_create(const struct command *command, struct hf_error *err)
{
    bson_t options = BSON_INITIALIZER;
    bson_value_t ui;
    enum hf_err result;

    if (command->coll != NULL && strcmp(command->coll->ns, command->ns) == 0) {
        bson_destroy(&options);
        return HF_ERR_OK;
    }
    if (!hf_sandbox_get(command->entry, "ui", &ui) || ui.value_type != BSON_TYPE_BINARY ||
        ui.value.v_binary.data_len != HF_SANDBOX_UUID_BYTES) {
        return hf_fail(err, HF_ERR_CORRUPT, "create %s without ui", command->ns);
    }
    result = drop_if(command->txn, hf_sandbox_txn_find(command->txn, command->ns), err);
    if (result == HF_ERR_OK) {
        bson_copy_to_excluding_noinit(command->o, &options, "create", "idIndex", "ui", NULL);
        result = hf_sandbox_coll_create(command->txn, command->ns, &options, ui.value.v_binary.data,
                                        NULL, err);
    }
    bson_destroy(&options);
    return result;
}

static enum hf_err apply_drop(const struct command *command, struct hf_error *err)
{
    return drop_if(command->txn, command->coll, err);
}

static enum hf_err apply_drop_database(const struct command *command, struct hf_error *err)
{
    struct hf_sandbox_coll **list;
    size_t count;
    size_t len = strcspn(command->ns, ".");
    char db[HF_SANDBOX_NS_BYTES];
    enum hf_err result = HF_ERR_OK;

    (void)snprintf(db, sizeof db, "%.*s", (int)len, command->ns);
    if (hf_sandbox_txn_list(command->txn, db, &list, &count, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < count && result == HF_ERR_OK; i++) {
        result = hf_sandbox_coll_drop(command->txn, list[i], err);
    }
    hf_free(list);
    return result;
}

static enum hf_err apply_rename(const struct command *command, struct hf_error *err)
{
    const char *to = hf_sandbox_get_utf8(command->o, "to", "");
    struct hf_sandbox_coll *target = hf_sandbox_txn_find(command->txn, to);
    struct hf_sandbox_coll *source = command->coll;
    bson_t options = BSON_INITIALIZER;
    enum hf_err result = HF_ERR_OK;

    if (source == NULL || strcmp(source->ns, to) == 0) {
        bson_destroy(&options);
        return HF_ERR_OK;
    }
    if (drop_if(command->txn, target, err) != HF_ERR_OK ||
        hf_sandbox_coll_rename(command->txn, source, to, err) != HF_ERR_OK) {
        bson_destroy(&options);
        return err->code;
    }
    if (!hf_sandbox_get_true(command->o, "stayTemp") &&
        hf_sandbox_get_true(source->options, "temp")) {
        bson_copy_to_excluding_noinit(source->options, &options, "temp", NULL);
        result = hf_sandbox_coll_set_options(command->txn, hf_sandbox_txn_find(command->txn, to),
                                             &options, err);
    }
    bson_destroy(&options);
    return result;
}

/* Of a collection that further specs of the same entry may have changed meanwhile. */
static enum hf_err create_index(const struct command *command, const bson_t *spec,
                                struct hf_error *err)
{
    struct hf_sandbox_coll *coll = collection_of(command->txn, command->entry);
    const char *name = hf_sandbox_get_utf8(spec, "name", "");

    if (coll == NULL) {
        return HF_ERR_OK;
    }
    for (size_t i = 0; i < coll->index_count; i++) {
        if (strcmp(coll->indexes[i]->name, name) == 0) {
            return HF_ERR_OK;
        }
    }
    return hf_sandbox_coll_create_index(command->txn, coll, spec, err);
}

static enum hf_err apply_create_indexes(const struct command *command, struct hf_error *err)
{
    bson_t spec = BSON_INITIALIZER;
    enum hf_err result;

    bson_copy_to_excluding_noinit(command->o, &spec, "createIndexes", NULL);
    result = create_index(command, &spec, err);
    bson_destroy(&spec);
    return result;
}

/* The start of a build does nothing here: the whole is built when it is committed. */
static enum hf_err apply_commit_index_build(const struct command *command, struct hf_error *err)
{
    bson_t list;
    bson_iter_t iter;

    if (!hf_sandbox_get_doc(command->o, "indexes", &list) || !bson_iter_init(&iter, &list)) {
        return hf_fail(err, HF_ERR_CORRUPT, "commitIndexBuild without indexes");
    }
    while (bson_iter_next(&iter)) {
        const bson_value_t value = *bson_iter_value(&iter);
        bson_t spec;

        if (hf_sandbox_value_doc(&value, &spec) && create_index(command, &spec, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err apply_nothing(const struct command *command, struct hf_error *err)
{
    (void)command;
    (void)err;
    return HF_ERR_OK;
}

static enum hf_err apply_drop_indexes(const struct command *command, struct hf_error *err)
{
    const char *name = hf_sandbox_get_utf8(command->o, "index", "");

    if (command->coll == NULL) {
        return HF_ERR_OK;
    }
    if (hf_sandbox_coll_drop_index(command->txn, command->coll, name, err) == HF_ERR_NOT_FOUND) {
        return HF_ERR_OK;
    }
    return err->code;
}

/* {collMod, index: {name, hidden | expireAfterSeconds}} or options of the collection. */
static enum hf_err apply_coll_mod(const struct command *command, struct hf_error *err)
{
    struct hf_sandbox_coll *coll = command->coll;
    bson_t change;
    bson_t next = BSON_INITIALIZER;
    bson_iter_t iter;
    const bson_t *old = NULL;
    const char *name = NULL;
    enum hf_err result;

    if (coll == NULL) {
        bson_destroy(&next);
        return HF_ERR_OK;
    }
    if (hf_sandbox_get_doc(command->o, "index", &change)) {
        name = hf_sandbox_get_utf8(&change, "name", "");
        for (size_t i = 0; i < coll->index_count; i++) {
            if (strcmp(coll->indexes[i]->name, name) == 0) {
                old = coll->indexes[i]->spec;
            }
        }
        if (old == NULL) {
            bson_destroy(&next);
            return HF_ERR_OK;
        }
    } else {
        old = coll->options;
        (void)bson_init_static(&change, bson_get_data(command->o), command->o->len);
    }
    /* What changes keeps its place, what is new comes last; hidden: false is not kept. */
    if (bson_iter_init(&iter, old)) {
        while (bson_iter_next(&iter)) {
            bson_value_t value = *bson_iter_value(&iter);

            if (strcmp(bson_iter_key(&iter), "name") != 0) {
                (void)hf_sandbox_get(&change, bson_iter_key(&iter), &value);
            }
            if (strcmp(bson_iter_key(&iter), "hidden") != 0 || hf_sandbox_is_true(&value)) {
                hf_sandbox_append(&next, bson_iter_key(&iter), &value);
            }
        }
    }
    if (bson_iter_init(&iter, &change)) {
        while (bson_iter_next(&iter)) {
            const bson_value_t value = *bson_iter_value(&iter);
            const char *key = bson_iter_key(&iter);

            if (!bson_has_field(old, key) && strcmp(key, "collMod") != 0 &&
                strcmp(key, "keyPattern") != 0 &&
                (strcmp(key, "hidden") != 0 || hf_sandbox_is_true(&value))) {
                hf_sandbox_append(&next, key, &value);
            }
        }
    }
    result = name != NULL ? hf_sandbox_coll_set_index(command->txn, coll, name, &next, err)
                          : hf_sandbox_coll_set_options(command->txn, coll, &next, err);
    bson_destroy(&next);
    return result;
}

static enum hf_err apply_empty_capped(const struct command *command, struct hf_error *err)
{
    return command->coll == NULL ? HF_ERR_OK
                                 : hf_sandbox_coll_truncate(command->txn, command->coll, err);
}

/* ---- Transactions ---- */

static enum hf_err apply_list(struct hf_sandbox_txn *txn, const bson_t *o, struct hf_error *err)
{
    bson_t list;
    bson_iter_t iter;

    if (!hf_sandbox_get_doc(o, "applyOps", &list) || !bson_iter_init(&iter, &list)) {
        return hf_fail(err, HF_ERR_CORRUPT, "applyOps without a list");
    }
    while (bson_iter_next(&iter)) {
        const bson_value_t value = *bson_iter_value(&iter);
        bson_t op;

        if (!hf_sandbox_value_doc(&value, &op)) {
            return hf_fail(err, HF_ERR_CORRUPT, "applyOps with what is no operation");
        }
        if (apply_op(txn, &op, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* A large transaction lies in several entries, each pointing to the one before; the last applies them all, the first
 * one first. */
static enum hf_err apply_ops(const struct command *command, struct hf_error *err)
{
    struct hf_sandbox_optime before = hf_sandbox_get_optime(command->entry, "prevOpTime");
    bson_t **chain = NULL;
    size_t count = 0;
    size_t capacity = 0;
    enum hf_err result = HF_ERR_OK;
    bson_t o;

    if (hf_sandbox_get_true(command->o, "partialTxn")) {
        return HF_ERR_OK;
    }
    while (result == HF_ERR_OK && before.ts != 0) {
        bson_t *entry = NULL;

        if (count == MAX_CHAIN || !HF_SANDBOX_ROOM(chain, count, capacity)) {
            result = hf_fail(err, HF_ERR_LIMIT, "a transaction of too many entries");
            break;
        }
        result = hf_sandbox_oplog_at_or_below(command->txn->engine, before.ts, &entry, err);
        if (result == HF_ERR_OK && (entry == NULL || hf_sandbox_get_ts(entry, "ts") != before.ts)) {
            bson_destroy(entry);
            result = hf_fail(err, HF_ERR_CORRUPT, "a transaction's earlier entry is missing");
        }
        if (result == HF_ERR_OK) {
            chain[count++] = entry;
            before = hf_sandbox_get_optime(entry, "prevOpTime");
        }
    }
    for (size_t i = count; i-- > 0;) {
        if (result == HF_ERR_OK && hf_sandbox_get_doc(chain[i], "o", &o)) {
            result = apply_list(command->txn, &o, err);
        }
        bson_destroy(chain[i]);
    }
    hf_free(chain);
    return result != HF_ERR_OK ? result : apply_list(command->txn, command->o, err);
}

/* ---- Dispatch ---- */

static const struct {
    const char *name;
    enum hf_err (*apply)(const struct command *command, struct hf_error *err);
} commands[] = {
    {"applyOps", apply_ops},
    {"create", apply_create},
    {"drop", apply_drop},
    {"dropDatabase", apply_drop_database},
    {"renameCollection", apply_rename},
    {"createIndexes", apply_create_indexes},
    {"startIndexBuild", apply_nothing},
    {"commitIndexBuild", apply_commit_index_build},
    {"abortIndexBuild", apply_nothing},
    {"dropIndexes", apply_drop_indexes},
    {"deleteIndexes", apply_drop_indexes},
    {"collMod", apply_coll_mod},
    {"emptycapped", apply_empty_capped},
    {"abortTransaction", apply_nothing},
};

static enum hf_err apply_command(struct hf_sandbox_txn *txn, const bson_t *entry, const bson_t *o,
                                 struct hf_error *err)
{
    const char *ns = hf_sandbox_get_utf8(entry, "ns", "");
    struct command command = {.txn = txn, .entry = entry, .o = o};
    bson_iter_t iter;

    if (!bson_iter_init(&iter, o) || !bson_iter_next(&iter)) {
        return hf_fail(err, HF_ERR_CORRUPT, "a command entry without command");
    }
    command.name = bson_iter_key(&iter);
    command.target = BSON_ITER_HOLDS_UTF8(&iter) ? bson_iter_utf8(&iter, NULL) : "";
    (void)snprintf(command.ns, sizeof command.ns, "%.*s.%s", (int)strcspn(ns, "."), ns,
                   command.target);
    if (bson_has_field(entry, "ui")) {
        command.coll = collection_of(txn, entry);
    } else if (command.target[0] != '\0') {
        command.coll = hf_sandbox_txn_find(txn, command.ns);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, command.name) == 0) {
            hf_error_clear(err);
            return commands[i].apply(&command, err);
        }
    }
    return hf_fail(err, HF_ERR_UNSUPPORTED, "oplog command %s", command.name);
}

static enum hf_err apply_op(struct hf_sandbox_txn *txn, const bson_t *entry, struct hf_error *err)
{
    const char *op = hf_sandbox_get_utf8(entry, "op", "");
    struct hf_sandbox_coll *coll;
    bson_t o;

    if (strcmp(op, "n") == 0) {
        return HF_ERR_OK;
    }
    if (!hf_sandbox_get_doc(entry, "o", &o)) {
        return hf_fail(err, HF_ERR_CORRUPT, "an oplog entry without o");
    }
    if (strcmp(op, "c") == 0) {
        return apply_command(txn, entry, &o, err);
    }
    coll = collection_of(txn, entry);
    if (coll == NULL) {
        return hf_fail(err, HF_ERR_CORRUPT, "no collection %s",
                       hf_sandbox_get_utf8(entry, "ns", ""));
    }
    if (strcmp(op, "i") == 0) {
        return apply_insert(txn, coll, &o, err);
    }
    if (strcmp(op, "u") == 0) {
        return apply_update(txn, coll, entry, &o, err);
    }
    if (strcmp(op, "d") == 0) {
        return apply_delete(txn, coll, &o, err);
    }
    return hf_fail(err, HF_ERR_UNSUPPORTED, "oplog operation \"%s\"", op);
}

/* What a retryable write or a transaction leaves in config.transactions, which is in no oplog: each member makes it. */
static enum hf_err note_session(struct hf_sandbox_txn *txn, const bson_t *entry,
                                struct hf_error *err)
{
    struct hf_sandbox_coll *coll;
    bson_t doc = BSON_INITIALIZER;
    bson_value_t lsid;
    bson_value_t number;
    bson_value_t wall;
    bson_t o;
    enum hf_err result = HF_ERR_OK;

    coll = hf_sandbox_txn_find(txn, "config.transactions");
    if (coll != NULL && hf_sandbox_get(entry, "lsid", &lsid) &&
        hf_sandbox_get(entry, "txnNumber", &number) && hf_sandbox_get(entry, "wall", &wall) &&
        bson_has_field(entry, "prevOpTime") && hf_sandbox_get_doc(entry, "o", &o) &&
        !hf_sandbox_get_true(&o, "partialTxn")) {
        hf_sandbox_append(&doc, "_id", &lsid);
        hf_sandbox_append(&doc, "txnNum", &number);
        hf_sandbox_append_optime(&doc, "lastWriteOpTime", hf_sandbox_optime_of(entry));
        hf_sandbox_append(&doc, "lastWriteDate", &wall);
        if (!bson_has_field(entry, "stmtId")) {
            (void)BSON_APPEND_UTF8(&doc, "state", "committed");
        }
        result = apply_insert(txn, coll, &doc, err);
    }
    bson_destroy(&doc);
    return result;
}

enum hf_err hf_sandbox_apply(struct hf_sandbox_txn *txn, const bson_t *entry, struct hf_error *err)
{
    struct hf_sandbox_optime optime = hf_sandbox_optime_of(entry);

    if (apply_op(txn, entry, err) != HF_ERR_OK || note_session(txn, entry, err) != HF_ERR_OK) {
        return hf_wrap(err, "apply the entry of %u.%u", hf_sandbox_ts_seconds(optime.ts),
                       hf_sandbox_ts_increment(optime.ts));
    }
    return HF_ERR_OK;
}
