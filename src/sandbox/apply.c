/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an oplog entry does to the data: for recovery at start and for secondaries.
 *
 * The transaction is stamped with the entry's time before. An insert of what is there replaces it,
 * a delete of what is not there does nothing: the same entry twice has the effect of once.
 */
#include <stdio.h>

#include "sandbox/engine_internal.h"
#include "sandbox/update.h"
#include "sandbox/value.h"

/* The UUID in field `ui`; NULL: none. */
static const uint8_t *uuid_of(const bson_t *entry)
{
    bson_value_t ui;

    return hf_sandbox_get(entry, "ui", &ui) && ui.value_type == BSON_TYPE_BINARY &&
                   ui.value.v_binary.data_len == HF_SANDBOX_UUID_BYTES
               ? ui.value.v_binary.data
               : NULL;
}

/* The collection by its UUID, where there is none by its name. */
static struct hf_sandbox_coll *find(struct hf_sandbox_txn *txn, const bson_t *entry, const char *ns)
{
    const uint8_t *uuid = uuid_of(entry);
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(txn, ns);

    return uuid == NULL || (coll != NULL && memcmp(coll->uuid, uuid, HF_SANDBOX_UUID_BYTES) == 0)
               ? coll
               : hf_sandbox_txn_find_uuid(txn, uuid);
}

/* ---- Documents ---- */

/* The document after {$v: 1, $set: ..} or, when o has no operator, o itself. */
static bson_t *updated_doc(const bson_t *old, const bson_t *o, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_updated_fini) struct hf_sandbox_updated updated = {.doc = NULL};
    HF_CLEANUP(bson_destroy) bson_t *spec = bson_new();
    struct hf_sandbox_refusal no;

    bson_copy_to_excluding_noinit(o, spec, "$v", NULL);
    if (hf_sandbox_update_apply(spec, old, &updated, &no) != 0) {
        (void)hf_fail(err, HF_ERR_INVALID, "apply an update: %.900s", no.message);
        return NULL;
    }
    return HF_TAKE(updated.doc);
}

/* op: "i", "u" or "d"; key: the document that has its _id. */
static enum hf_err apply_doc(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll, char op,
                             const bson_t *key, const bson_t *o, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy) bson_t *old = NULL;
    HF_CLEANUP(bson_destroy) bson_t *doc = NULL;
    bson_value_t id;
    int64_t record;

    if (!hf_sandbox_get(key, "_id", &id)) {
        return hf_fail(err, HF_ERR_CORRUPT, "an operation without _id");
    }
    if (hf_sandbox_coll_find_id(txn, coll, &id, &record, &old, err) != HF_ERR_OK) {
        return err->code;
    }
    if (old == NULL) { /* an update's document was deleted later in what was copied */
        return op == 'i' ? hf_sandbox_coll_insert(txn, coll, o, NULL, err) : HF_ERR_OK;
    }
    if (op == 'd') {
        return hf_sandbox_coll_remove(txn, coll, record, old, err);
    }
    doc = op == 'i' ? bson_copy(o) : updated_doc(old, o, err);
    return doc == NULL ? err->code : hf_sandbox_coll_update(txn, coll, record, old, doc, err);
}

/* ---- Definitions ---- */

struct command {
    struct hf_sandbox_txn *txn;
    const bson_t *entry;
    const bson_t *o;
    char db[64];
    char ns[HF_SANDBOX_NS_BYTES]; /* of the command's value, when text */
    struct hf_sandbox_coll *coll; /* by ui, else by ns; NULL: none */
};

static enum hf_err apply_create(const struct command *command, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy) bson_t *options = bson_new();
    const uint8_t *uuid = uuid_of(command->entry);

    if (uuid == NULL) {
        return hf_fail(err, HF_ERR_CORRUPT, "create %s without ui", command->ns);
    }
    if ((command->coll != NULL && strcmp(command->coll->ns, command->ns) == 0) ||
        hf_sandbox_coll_drop(command->txn, hf_sandbox_txn_find(command->txn, command->ns), err) !=
            HF_ERR_OK) {
        return err->code;
    }
    bson_copy_to_excluding_noinit(command->o, options, "create", "idIndex", "ui", NULL);
    return hf_sandbox_coll_create(command->txn, command->ns, options, uuid, NULL, err);
}

static enum hf_err apply_drop(const struct command *command, struct hf_error *err)
{
    return hf_sandbox_coll_drop(command->txn, command->coll, err);
}

static enum hf_err apply_drop_database(const struct command *command, struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_sandbox_coll **list = NULL;
    size_t count;

    if (hf_sandbox_txn_list(command->txn, command->db, &list, &count, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < count; i++) {
        if (hf_sandbox_coll_drop(command->txn, list[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err apply_rename(const struct command *command, struct hf_error *err)
{
    const char *to = hf_sandbox_get_utf8(command->o, "to", "");

    if (command->coll == NULL || strcmp(command->coll->ns, to) == 0 ||
        hf_sandbox_coll_drop(command->txn, hf_sandbox_txn_find(command->txn, to), err) !=
            HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_coll_rename(command->txn, command->coll, to, err);
}

static enum hf_err create_index(const struct command *command, const bson_t *spec,
                                struct hf_error *err)
{
    const char *name = hf_sandbox_get_utf8(spec, "name", "");

    return command->coll == NULL || hf_sandbox_coll_index_named(command->coll, name) != NULL
               ? HF_ERR_OK
               : hf_sandbox_coll_create_index(command->txn, command->coll, spec, err);
}

static enum hf_err apply_create_indexes(const struct command *command, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy) bson_t *spec = bson_new();

    bson_copy_to_excluding_noinit(command->o, spec, "createIndexes", NULL);
    return create_index(command, spec, err);
}

/* The start of a build does nothing here: the whole is built when it is committed. */
static enum hf_err apply_commit_index_build(const struct command *command, struct hf_error *err)
{
    bson_t list, spec;

    if (!hf_sandbox_get_doc(command->o, "indexes", &list)) {
        return hf_fail(err, HF_ERR_CORRUPT, "commitIndexBuild without indexes");
    }
    HF_SANDBOX_EACH (iter, &list, true) {
        if (hf_sandbox_value_doc(bson_iter_value(&iter), &spec) &&
            create_index(command, &spec, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err apply_drop_indexes(const struct command *command, struct hf_error *err)
{
    const char *name = hf_sandbox_get_utf8(command->o, "index", "");

    return command->coll == NULL || hf_sandbox_coll_index_named(command->coll, name) == NULL
               ? HF_ERR_OK
               : hf_sandbox_coll_drop_index(command->txn, command->coll, name, err);
}

static const struct {
    const char *name;
    enum hf_err (*apply)(const struct command *command, struct hf_error *err); /* NULL: nothing */
} commands[] = {
    {"create", apply_create},
    {"drop", apply_drop},
    {"dropDatabase", apply_drop_database},
    {"renameCollection", apply_rename},
    {"createIndexes", apply_create_indexes},
    {"startIndexBuild", NULL},
    {"commitIndexBuild", apply_commit_index_build},
    {"abortIndexBuild", NULL},
    {"dropIndexes", apply_drop_indexes},
};

static enum hf_err apply_command(struct hf_sandbox_txn *txn, const bson_t *entry, const bson_t *o,
                                 struct hf_error *err)
{
    const char *ns = hf_sandbox_get_utf8(entry, "ns", "");
    struct command command = {.txn = txn, .entry = entry, .o = o};
    const char *name;
    const char *target;
    bson_iter_t iter;

    if (!bson_iter_init(&iter, o) || !bson_iter_next(&iter)) {
        return hf_fail(err, HF_ERR_CORRUPT, "a command entry without command");
    }
    name = bson_iter_key(&iter);
    target = BSON_ITER_HOLDS_UTF8(&iter) ? bson_iter_utf8(&iter, NULL) : "";
    (void)snprintf(command.db, sizeof command.db, "%.*s", (int)strcspn(ns, "."), ns);
    (void)snprintf(command.ns, sizeof command.ns, "%s.%s", command.db, target);
    command.coll = find(txn, entry, command.ns);
    for (size_t i = 0; i < HF_ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return commands[i].apply == NULL ? HF_ERR_OK : commands[i].apply(&command, err);
        }
    }
    return hf_fail(err, HF_ERR_UNSUPPORTED, "oplog command %s", name);
}

static enum hf_err apply_op(struct hf_sandbox_txn *txn, const bson_t *entry, struct hf_error *err)
{
    const char *op = hf_sandbox_get_utf8(entry, "op", "");
    const char *ns = hf_sandbox_get_utf8(entry, "ns", "");
    struct hf_sandbox_coll *coll;
    bson_t o, o2;

    if (!hf_sandbox_get_doc(entry, "o", &o)) {
        return hf_fail(err, HF_ERR_CORRUPT, "an oplog entry without o");
    }
    if (strcmp(op, "n") == 0) {
        return HF_ERR_OK;
    }
    if (strcmp(op, "c") == 0) {
        return apply_command(txn, entry, &o, err);
    }
    if (strlen(op) != 1 || strchr("iud", op[0]) == NULL) {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "oplog operation \"%s\"", op);
    }
    coll = find(txn, entry, ns);
    if (coll == NULL || (op[0] == 'u' && !hf_sandbox_get_doc(entry, "o2", &o2))) {
        return hf_fail(err, HF_ERR_CORRUPT, "no collection %s, or no o2", ns);
    }
    return apply_doc(txn, coll, op[0], op[0] == 'u' ? &o2 : &o, &o, err);
}

/* What a retryable write leaves in config.transactions, which is in no oplog: each member makes
 * it. */
static enum hf_err note_session(struct hf_sandbox_txn *txn, const bson_t *entry,
                                struct hf_error *err)
{
    struct hf_sandbox_coll *coll = NULL;
    HF_CLEANUP(bson_destroy) bson_t *doc = bson_new();
    bson_value_t lsid, number;
    bson_value_t wall;

    if (!hf_sandbox_get(entry, "lsid", &lsid) || !bson_has_field(entry, "prevOpTime") ||
        !hf_sandbox_get(entry, "txnNumber", &number) || !hf_sandbox_get(entry, "wall", &wall) ||
        (coll = hf_sandbox_txn_find(txn, "config.transactions")) == NULL) {
        return HF_ERR_OK;
    }
    hf_sandbox_append(doc, "_id", &lsid);
    hf_sandbox_append(doc, "txnNum", &number);
    hf_sandbox_append_optime(doc, "lastWriteOpTime", hf_sandbox_optime_of(entry));
    hf_sandbox_append(doc, "lastWriteDate", &wall);
    return apply_doc(txn, coll, 'i', doc, doc, err);
}

enum hf_err hf_sandbox_apply(struct hf_sandbox_txn *txn, const bson_t *entry, struct hf_error *err)
{
    struct hf_sandbox_optime optime = hf_sandbox_optime_of(entry);

    hf_error_clear(err);
    if (apply_op(txn, entry, err) != HF_ERR_OK || note_session(txn, entry, err) != HF_ERR_OK) {
        return hf_wrap(err, "apply the entry of %u.%u", hf_sandbox_ts_seconds(optime.ts),
                       hf_sandbox_ts_increment(optime.ts));
    }
    return HF_ERR_OK;
}
