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
    if (command->coll != NULL && memcmp(command->coll->uuid, uuid, HF_SANDBOX_UUID_BYTES) == 0) {
        return hf_sandbox_coll_rename(command->txn, command->coll, command->ns, err);
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
    HF_CLEANUP(bson_destroy) bson_t *options = bson_new();

    if (command->coll == NULL || strcmp(command->coll->ns, to) == 0 ||
        hf_sandbox_coll_drop(command->txn, hf_sandbox_txn_find(command->txn, to), err) !=
            HF_ERR_OK ||
        hf_sandbox_coll_rename(command->txn, command->coll, to, err) != HF_ERR_OK ||
        hf_sandbox_get_true(command->o, "stayTemp")) {
        return err->code;
    }
    bson_copy_to_excluding_noinit(command->coll->options, options, "temp", NULL);
    return hf_sandbox_coll_redefine(command->txn, command->coll, NULL, options, err);
}

/* Sets the fields of changes but for those named in `not`; a flag that is false goes. */
static bson_t *changed_definition(const bson_t *old, const bson_t *changes, const char * not )
{
    bson_t *out = bson_copy(old);
    struct hf_sandbox_refusal no;

    HF_SANDBOX_EACH (iter, changes, true) {
        const char *key = bson_iter_key(&iter);
        const bson_value_t *value = bson_iter_value(&iter);
        bool unset = value->value_type == BSON_TYPE_BOOL && !value->value.v_bool;

        if (strstr(not, key) == NULL) {
            /* A path of one name has nothing in its way. */
            (void)!hf_sandbox_edit(&out, key, unset ? &hf_sandbox_value_missing : value, &no);
        }
    }
    return out;
}

static enum hf_err apply_coll_mod(const struct command *command, struct hf_error *err)
{
    struct hf_sandbox_coll *coll = command->coll;
    HF_CLEANUP(bson_destroy) bson_t *definition = NULL;
    struct hf_sandbox_index *index;
    bson_t changes;

    if (coll == NULL) {
        return HF_ERR_OK;
    }
    if (hf_sandbox_get_doc(command->o, "index", &changes)) {
        index = hf_sandbox_coll_index_named(coll, hf_sandbox_get_utf8(&changes, "name", ""));
        definition =
            index == NULL ? NULL : changed_definition(index->spec, &changes, "name keyPattern");
        return index == NULL ? HF_ERR_OK
                             : hf_sandbox_coll_redefine(command->txn, coll, index, definition, err);
    }
    definition = changed_definition(coll->options, command->o, "collMod");
    return hf_sandbox_coll_redefine(command->txn, coll, NULL, definition, err);
}

static enum hf_err apply_convert_to_capped(const struct command *command, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy) bson_t *options = BCON_NEW("capped", BCON_BOOL(true));
    bson_value_t size;

    if (command->coll == NULL || !hf_sandbox_get(command->o, "size", &size)) {
        return HF_ERR_OK;
    }
    hf_sandbox_append(options, "size", &size);
    return hf_sandbox_coll_redefine(command->txn, command->coll, NULL, options, err);
}

static enum hf_err apply_emptycapped(const struct command *command, struct hf_error *err)
{
    const struct hf_sandbox_scan_options natural = {.index = NULL};
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    bool found = command->coll != NULL;
    int64_t record;
    bson_t doc;

    if (found &&
        hf_sandbox_scan_open(command->txn, command->coll, &natural, &scan, err) != HF_ERR_OK) {
        return err->code;
    }
    while (found) {
        if (hf_sandbox_scan_next(scan, &found, &record, &doc, err) != HF_ERR_OK ||
            (found &&
             hf_sandbox_coll_remove(command->txn, command->coll, record, &doc, err) != HF_ERR_OK)) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err create_index(const struct command *command, const bson_t *spec,
                                struct hf_error *err)
{
    static const char *const first[] = {"v", "unique", "key", "name"};
    HF_CLEANUP(bson_destroy) bson_t *stored = bson_new(); /* in the order of the real server */
    const char *name = hf_sandbox_get_utf8(spec, "name", "");
    bson_value_t value;

    for (size_t i = 0; i < HF_ARRAY_LEN(first); i++) {
        if (hf_sandbox_get(spec, first[i], &value)) {
            hf_sandbox_append(stored, first[i], &value);
        }
    }
    bson_copy_to_excluding_noinit(spec, stored, "v", "unique", "key", "name", NULL);
    return command->coll == NULL || hf_sandbox_coll_index_named(command->coll, name) != NULL
               ? HF_ERR_OK
               : hf_sandbox_coll_create_index(command->txn, command->coll, stored, err);
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

/* ---- Transactions: their operations take effect with their last entry ---- */

static enum hf_err apply_op(struct hf_sandbox_txn *txn, const bson_t *entry, struct hf_error *err);

static enum hf_err apply_list(struct hf_sandbox_txn *txn, const bson_t *o, struct hf_error *err)
{
    bson_t list, op;

    if (!hf_sandbox_get_doc(o, "applyOps", &list)) {
        return hf_fail(err, HF_ERR_CORRUPT, "no applyOps where a transaction has some");
    }
    HF_SANDBOX_EACH (iter, &list, true) {
        if (!hf_sandbox_value_doc(bson_iter_value(&iter), &op)) {
            return hf_fail(err, HF_ERR_CORRUPT, "applyOps of what is no operation");
        }
        if (apply_op(txn, &op, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

struct chain {        /* entries, the last one first */
    bson_t **entries; /* owned, and each of them */
    size_t count;
};

static void chain_fini(struct chain *chain)
{
    for (size_t i = 0; i < chain->count; i++) {
        bson_destroy(chain->entries[i]);
    }
    hf_free(chain->entries);
}
HF_CLEANUP_DEFINE_VALUE(chain_fini, struct chain)

enum hf_err hf_sandbox_apply_before(struct hf_sandbox_txn *txn, struct hf_sandbox_optime last,
                                    struct hf_error *err)
{
    struct hf_sandbox_coll *oplog = hf_sandbox_txn_find(txn, HF_SANDBOX_OPLOG_NS);
    HF_CLEANUP(chain_fini) struct chain chain = {.entries = NULL};
    bson_t o;

    hf_error_clear(err);
    for (uint64_t above = UINT64_MAX; last.ts != 0;) {
        bson_t *entry = NULL;

        if (oplog != NULL && last.ts < above &&
            hf_sandbox_coll_get(txn, oplog, (int64_t)last.ts, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
        if (entry == NULL) {
            return hf_fail(err, HF_ERR_CORRUPT,
                           "the oplog no longer has the entry of %u.%u of a transaction",
                           hf_sandbox_ts_seconds(last.ts), hf_sandbox_ts_increment(last.ts));
        }
        *HF_SANDBOX_PUSH(chain.entries, chain.count) = entry;
        above = last.ts;
        last = hf_sandbox_get_optime(entry, "prevOpTime");
    }
    for (size_t i = chain.count; i-- > 0;) {
        if (!hf_sandbox_get_doc(chain.entries[i], "o", &o) ||
            apply_list(txn, &o, err) != HF_ERR_OK) {
            return err->code == HF_ERR_OK ? hf_fail(err, HF_ERR_CORRUPT, "an entry without o")
                                          : err->code;
        }
    }
    return HF_ERR_OK;
}

/* One of the command applyOps has its operations for itself. */
static enum hf_err apply_ops(const struct command *command, struct hf_error *err)
{
    if (hf_sandbox_get_true(command->o, "partialTxn") ||
        hf_sandbox_get_true(command->o, "prepare")) {
        return HF_ERR_OK;
    }
    return hf_sandbox_apply_before(
               command->txn, hf_sandbox_get_optime(command->entry, "prevOpTime"), err) != HF_ERR_OK
               ? err->code
               : apply_list(command->txn, command->o, err);
}

static enum hf_err apply_commit(const struct command *command, struct hf_error *err)
{
    return hf_sandbox_apply_before(command->txn,
                                   hf_sandbox_get_optime(command->entry, "prevOpTime"), err);
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
    {"collMod", apply_coll_mod},
    {"convertToCapped", apply_convert_to_capped},
    {"emptycapped", apply_emptycapped},
    {"applyOps", apply_ops},
    {"commitTransaction", apply_commit},
    {"abortTransaction", NULL},
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
    return hf_fail(err, HF_ERR_UNSUPPORTED, "Unknown oplog entry command type: %s", name);
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

/* Where the entry leaves a transaction; NULL: it is of a retryable write. */
static const char *state_after(const bson_t *entry)
{
    bson_t o = BSON_INITIALIZER;

    (void)hf_sandbox_get_doc(entry, "o", &o);
    if (hf_sandbox_get_utf8(entry, "op", "")[0] != 'c') {
        return NULL;
    }
    return hf_sandbox_get_true(&o, "partialTxn")    ? "inProgress"
           : hf_sandbox_get_true(&o, "prepare")     ? "prepared"
           : bson_has_field(&o, "abortTransaction") ? "aborted"
                                                    : "committed";
}

enum hf_err hf_sandbox_note_session(struct hf_sandbox_txn *txn, const bson_t *entry,
                                    struct hf_error *err)
{
    struct hf_sandbox_coll *coll = NULL;
    HF_CLEANUP(bson_destroy) bson_t *doc = bson_new();
    HF_CLEANUP(bson_destroy) bson_t *old = NULL;
    struct hf_sandbox_optime start = hf_sandbox_optime_of(entry);
    const char *state = state_after(entry);
    bson_value_t lsid, number;
    bson_value_t wall;
    int64_t record;

    if (!hf_sandbox_get(entry, "lsid", &lsid) || !bson_has_field(entry, "prevOpTime") ||
        !hf_sandbox_get(entry, "txnNumber", &number) || !hf_sandbox_get(entry, "wall", &wall) ||
        (coll = hf_sandbox_txn_find(txn, "config.transactions")) == NULL) {
        return HF_ERR_OK;
    }
    hf_sandbox_append(doc, "_id", &lsid);
    hf_sandbox_append(doc, "txnNum", &number);
    if (state != NULL && (state[0] == 'i' || state[0] == 'p')) { /* a part that is not the first */
        if (hf_sandbox_get_optime(entry, "prevOpTime").ts != 0) {
            if (hf_sandbox_coll_find_id(txn, coll, &lsid, &record, &old, err) != HF_ERR_OK) {
                return err->code;
            }
            start = old == NULL ? start : hf_sandbox_get_optime(old, "startOpTime");
        }
        hf_sandbox_append_optime(doc, "startOpTime", start);
    }
    hf_sandbox_append_optime(doc, "lastWriteOpTime", hf_sandbox_optime_of(entry));
    hf_sandbox_append(doc, "lastWriteDate", &wall);
    if (state != NULL) {
        (void)BSON_APPEND_UTF8(doc, "state", state);
    }
    return apply_doc(txn, coll, 'i', doc, doc, err);
}

enum hf_err hf_sandbox_txn_prepared(struct hf_sandbox_txn *txn, bson_t ***out, size_t *count,
                                    struct hf_error *err)
{
    const struct hf_sandbox_scan_options natural = {.index = NULL};
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(txn, "config.transactions");
    bool found = coll != NULL;
    bson_t doc;

    *out = NULL;
    *count = 0;
    if (found && hf_sandbox_scan_open(txn, coll, &natural, &scan, err) != HF_ERR_OK) {
        return err->code;
    }
    while (found) {
        if (hf_sandbox_scan_next(scan, &found, NULL, &doc, err) != HF_ERR_OK) {
            return err->code;
        }
        if (found && strcmp(hf_sandbox_get_utf8(&doc, "state", ""), "prepared") == 0) {
            *HF_SANDBOX_PUSH(*out, *count) = bson_copy(&doc);
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_prepared_since(struct hf_sandbox_txn *txn, uint64_t *ts,
                                      struct hf_error *err)
{
    HF_CLEANUP(chain_fini) struct chain prepared = {.entries = NULL};

    *ts = UINT64_MAX;
    if (hf_sandbox_txn_prepared(txn, &prepared.entries, &prepared.count, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < prepared.count; i++) {
        uint64_t start = hf_sandbox_get_optime(prepared.entries[i], "startOpTime").ts;

        *ts = start < *ts ? start : *ts;
    }
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_apply(struct hf_sandbox_txn *txn, const bson_t *entry, struct hf_error *err)
{
    struct hf_sandbox_optime optime = hf_sandbox_optime_of(entry);

    hf_error_clear(err);
    if (apply_op(txn, entry, err) != HF_ERR_OK ||
        hf_sandbox_note_session(txn, entry, err) != HF_ERR_OK) {
        return hf_wrap(err, "apply the entry of %u.%u", hf_sandbox_ts_seconds(optime.ts),
                       hf_sandbox_ts_increment(optime.ts));
    }
    return HF_ERR_OK;
}
