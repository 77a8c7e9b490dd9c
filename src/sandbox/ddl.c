/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that change the catalog, with the oplog entries the real server writes for them. What an entry does to the
 * files is the engine's business.
 */
#include <stdio.h>
#include <string.h>

#include "sandbox/server_internal.h"

#define BUILDS_NS "config.system.indexBuilds"

static const char *name_of(const char *ns)
{
    return ns + strcspn(ns, ".") + 1;
}

int32_t hf_sandbox_work_find(struct hf_sandbox_work *work, struct hf_sandbox_coll **out)
{
    *out = hf_sandbox_txn_find(work->txn, work->call->ns);
    return *out != NULL ? 0 : REFUSE(work->call, NAMESPACE_NOT_FOUND, "ns not found");
}

int32_t hf_sandbox_work_perform(struct hf_sandbox_work *work, const struct hf_sandbox_entry *entry)
{
    OWNED_DOC *doc = BCON_NEW("op", BCON_UTF8(entry->op), "ns", BCON_UTF8(entry->ns), "o",
                              BCON_DOCUMENT(entry->o));

    if (entry->uuid != NULL) {
        bson_append_binary(doc, "ui", -1, BSON_SUBTYPE_UUID, entry->uuid, HF_SANDBOX_UUID_BYTES);
    }
    if (entry->o2 != NULL) {
        bson_append_document(doc, "o2", -1, entry->o2);
    }
    return hf_sandbox_work_code(
        work, strncmp(entry->ns, "local.", 6) != 0 &&
                      hf_sandbox_txn_log(work->txn, entry, NULL, &work->err) != HF_ERR_OK
                  ? work->err.code
                  : hf_sandbox_apply(work->txn, doc, &work->err));
}

/* A command of the database that ns is in, about a collection. */
static int32_t perform(struct hf_sandbox_work *work, const char *ns, const uint8_t *uuid,
                       const bson_t *o, const bson_t *o2)
{
    char cmd[HF_SANDBOX_NS_BYTES];
    const struct hf_sandbox_entry entry = {.op = "c", .ns = cmd, .uuid = uuid, .o = o, .o2 = o2};

    (void)snprintf(cmd, sizeof cmd, "%.*s.$cmd", (int)strcspn(ns, "."), ns);
    return hf_sandbox_work_perform(work, &entry);
}

/* ---- create, drop, dropDatabase ---- */

static int32_t create(struct hf_sandbox_work *work, const char *ns, const bson_t *options)
{
    OWNED_DOC *o = BCON_NEW("create", BCON_UTF8(name_of(ns)));
    uint8_t uuid[HF_SANDBOX_UUID_BYTES];

    hf_sandbox_uuid_make(uuid);
    bson_concat(o, options);
    BCON_APPEND(o, "idIndex", "{", "v", BCON_INT32(2), "key", "{", "_id", BCON_INT32(1), "}",
                "name", "_id_", "}");
    return perform(work, ns, uuid, o, NULL);
}

int32_t hf_sandbox_work_need_coll(struct hf_sandbox_work *work, const char *ns,
                                  struct hf_sandbox_coll **out)
{
    const bson_t none = BSON_INITIALIZER;
    int32_t code = hf_sandbox_txn_find(work->txn, ns) == NULL ? create(work, ns, &none) : 0;

    *out = hf_sandbox_txn_find(work->txn, ns);
    return code;
}

int32_t hf_sandbox_body_create(struct hf_sandbox_work *work)
{
    const struct hf_sandbox_call *call = work->call;
    const char *ns = call->ns;
    OWNED_DOC *options = bson_new();
    int64_t size = hf_sandbox_get_int64(call->command, "size", 0);
    int64_t max = hf_sandbox_get_int64(call->command, "max", 0);

    if (bson_has_field(call->command, "viewOn") || bson_has_field(call->command, "timeseries")) {
        return REFUSE(call, NOT_IMPLEMENTED, "views are not in the sandbox");
    }
    if (hf_sandbox_txn_find(work->txn, ns) != NULL) {
        return REFUSE(call, NAMESPACE_EXISTS, "Collection already exists. NS: %s", ns);
    }
    if (hf_sandbox_get_true(call->command, "capped")) {
        if (size <= 0 || size > INT32_MAX) {
            return REFUSE(call, INVALID_OPTIONS, "a capped collection needs a 'size' up to 2 GiB");
        }
        BCON_APPEND(options, "capped", BCON_BOOL(true), "size", BCON_INT32((int32_t)size));
        if (max > 0) {
            bson_append_int32(options, "max", -1, (int32_t)max);
        }
    }
    bson_copy_to_excluding_noinit(call->command, options, call->name, "capped", "size", "max",
                                  "lsid", "txnNumber", "startTransaction", "autocommit",
                                  "readConcern", "$db", "$clusterTime", "$readPreference",
                                  "writeConcern", "maxTimeMS", "comment", NULL);
    return create(work, ns, options);
}

/* Of all that it can do: the one operation that makes a collection with a given UUID. */
int32_t hf_sandbox_body_apply_ops(struct hf_sandbox_work *work)
{
    const struct hf_sandbox_call *call = work->call;
    bson_t list, one, o;
    bson_value_t ui;

    if (!hf_sandbox_get_doc(call->command, "applyOps", &list) || bson_count_keys(&list) != 1 ||
        !hf_sandbox_get_doc(&list, "0", &one) || !hf_sandbox_get_doc(&one, "o", &o) ||
        strcmp(hf_sandbox_get_utf8(&one, "op", ""), "c") != 0 || !bson_has_field(&o, "create") ||
        !hf_sandbox_get(&one, "ui", &ui) || ui.value_type != BSON_TYPE_BINARY ||
        ui.value.v_binary.data_len != HF_SANDBOX_UUID_BYTES) {
        return REFUSE(call, NOT_IMPLEMENTED, "of applyOps one create with its ui");
    }
    const struct hf_sandbox_entry entry = {.op = "c",
                                           .ns = hf_sandbox_get_utf8(&one, "ns", ""),
                                           .uuid = ui.value.v_binary.data,
                                           .o = &o};
    return hf_sandbox_work_perform(work, &entry);
}

static int32_t drop_coll(struct hf_sandbox_work *work, const struct hf_sandbox_coll *coll)
{
    OWNED_DOC *o = BCON_NEW("drop", BCON_UTF8(coll->name));
    OWNED_DOC *o2 = BCON_NEW("numRecords", BCON_INT32((int32_t)coll->table->records));

    return perform(work, coll->ns, coll->uuid, o, o2);
}

int32_t hf_sandbox_body_drop(struct hf_sandbox_work *work)
{
    const char *ns = work->call->ns;
    struct hf_sandbox_coll *coll;
    int32_t code = hf_sandbox_work_find(work, &coll);

    if (code != 0) {
        return code;
    }
    if (strcmp(ns, "local.oplog.rs") == 0 ||
        (strncmp(name_of(ns), "system.", 7) == 0 && strncmp(ns, "config.", 7) != 0)) {
        return REFUSE(work->call, ILLEGAL_OPERATION, "can't drop system collection %s", ns);
    }
    BCON_APPEND(work->call->reply, "nIndexesWas", BCON_INT32((int32_t)coll->index_count), "ns",
                BCON_UTF8(ns));
    return drop_coll(work, coll);
}

int32_t hf_sandbox_body_drop_database(struct hf_sandbox_work *work)
{
    const char *db = work->call->db;
    OWNED_DOC *o = BCON_NEW("dropDatabase", BCON_INT32(1));
    const struct hf_sandbox_entry entry = {.op = "c", .ns = work->call->ns, .o = o};
    HF_CLEANUP(hf_free) struct hf_sandbox_coll **colls = NULL;
    size_t count = 0;
    int32_t code;

    if (strcmp(db, "admin") == 0 ||
        (strcmp(db, "local") == 0 && hf_sandbox_repl_enabled(work->call->repl))) {
        return REFUSE(work->call, ILLEGAL_OPERATION, "Dropping the '%s' database is prohibited.",
                      db);
    }
    code =
        hf_sandbox_work_code(work, hf_sandbox_txn_list(work->txn, db, &colls, &count, &work->err));
    for (size_t i = 0; code == 0 && i < count; i++) {
        code = drop_coll(work, colls[i]);
    }
    if (code == 0 && count > 0) {
        bson_append_utf8(work->call->reply, "dropped", -1, db, -1);
        /* Nothing is left to do for it, only to log it. */
        code = strcmp(db, "local") == 0
                   ? 0
                   : hf_sandbox_work_code(work,
                                          hf_sandbox_txn_log(work->txn, &entry, NULL, &work->err));
    }
    return code;
}

/* ---- renameCollection ---- */

int32_t hf_sandbox_body_rename(struct hf_sandbox_work *work)
{
    struct hf_sandbox_call *call = work->call;
    const char *from = hf_sandbox_get_utf8(call->command, call->name, "");
    const char *to = hf_sandbox_get_utf8(call->command, "to", "");
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, from);
    struct hf_sandbox_coll *target = hf_sandbox_txn_find(work->txn, to);
    OWNED_DOC *o = BCON_NEW("renameCollection", BCON_UTF8(from), "to", BCON_UTF8(to), "stayTemp",
                            BCON_BOOL(false));
    OWNED_DOC *o2 = NULL;
    char db[64], checked[HF_SANDBOX_NS_BYTES];
    int32_t code;

    (void)snprintf(db, sizeof db, "%.*s", (int)strcspn(from, "."), from);
    if (!hf_sandbox_call_may(call, "renameCollectionSameDB", db, name_of(from))) {
        return hf_sandbox_call_denied(call);
    }
    if (coll == NULL) {
        return REFUSE(call, NAMESPACE_NOT_FOUND, "Source collection %s does not exist", from);
    }
    if (strncmp(from, to, strlen(db) + 1) != 0) {
        return REFUSE(call, NOT_IMPLEMENTED, "renaming across databases is not in the sandbox");
    }
    if (target != NULL && !hf_sandbox_get_true(call->command, "dropTarget")) {
        return REFUSE(call, NAMESPACE_EXISTS, "target namespace exists");
    }
    if (target != NULL) {
        BCON_APPEND(o, "dropTarget", BCON_BIN(BSON_SUBTYPE_UUID, target->uuid, 16));
        o2 = BCON_NEW("numRecords", BCON_INT32((int32_t)target->table->records));
    }
    code = hf_sandbox_call_make_ns(call, db, name_of(to), checked);
    return code != 0 ? code : perform(work, coll->ns, coll->uuid, o, o2);
}

/* ---- createIndexes ---- */

/* {v, unique, key, name, ...}: the order in which the server stores it. */
static int32_t store_form(struct hf_sandbox_call *call, const bson_value_t *value, bson_t *out)
{
    const char *name;
    bson_t given, key;

    if (!hf_sandbox_value_doc(value, &given) || !hf_sandbox_get_doc(&given, "key", &key) ||
        bson_empty(&key) || (name = hf_sandbox_get_utf8(&given, "name", NULL)) == NULL) {
        return REFUSE(call, CANNOT_CREATE_INDEX, "An index needs a key and a name");
    }
    bson_append_int32(out, "v", -1, 2);
    if (hf_sandbox_get_true(&given, "unique")) {
        bson_append_bool(out, "unique", -1, true);
    }
    BCON_APPEND(out, "key", BCON_DOCUMENT(&key), "name", BCON_UTF8(name));
    bson_copy_to_excluding_noinit(&given, out, "v", "unique", "key", "name", "ns", "background",
                                  NULL);
    return 0;
}

/* Each index is one entry, its specification inlined. */
static int32_t build_at_once(struct hf_sandbox_work *work, const struct hf_sandbox_coll *coll,
                             const bson_t *specs)
{
    int32_t code = 0;
    bson_t spec;

    HF_SANDBOX_EACH (iter, specs, code == 0) {
        OWNED_DOC *o = BCON_NEW("createIndexes", BCON_UTF8(coll->name));
        (void)(hf_sandbox_value_doc(bson_iter_value(&iter), &spec) && bson_concat(o, &spec));
        code = perform(work, coll->ns, coll->uuid, o, NULL);
    }
    return code;
}

/*
 * On a collection with documents the real server builds in two phases, with writes to config.system.indexBuilds around
 * them. Here it is one transaction, and the same entries.
 */
static int32_t build_in_phases(struct hf_sandbox_work *work, const struct hf_sandbox_coll *coll,
                               const bson_t *specs, const bson_t *names)
{
    static const char *const steps[] = {"startIndexBuild", "commitIndexBuild"};
    uint8_t id[HF_SANDBOX_UUID_BYTES];
    struct hf_sandbox_coll *builds;
    OWNED_DOC *hello = bson_new();
    OWNED_DOC *key = bson_new();
    OWNED_DOC *build = NULL;
    OWNED_DOC *set = NULL;
    int32_t code = hf_sandbox_work_need_coll(work, BUILDS_NS, &builds);

    hf_sandbox_uuid_make(id);
    hf_sandbox_repl_append_hello(work->call->repl, true, hello);
    bson_append_binary(key, "_id", -1, BSON_SUBTYPE_UUID, id, sizeof id);
    build = bson_copy(key);
    BCON_APPEND(build, "collectionUUID", BCON_BIN(BSON_SUBTYPE_UUID, coll->uuid, 16),
                "commitQuorum", "votingMembers", "indexNames", BCON_ARRAY(names));
    set = BCON_NEW("$v", BCON_INT32(1), "$set", "{", "commitReadyMembers", "[",
                   BCON_UTF8(hf_sandbox_get_utf8(hello, "me", "")), "]", "}");
    const struct {
        const char *op;
        const bson_t *o, *o2;
    } notes[] = {{"i", build, NULL}, {"u", set, key}, {"d", key, NULL}};
    for (size_t i = 0; code == 0 && i < HF_ARRAY_LEN(notes); i++) {
        const struct hf_sandbox_entry note = {.op = notes[i].op,
                                              .ns = BUILDS_NS,
                                              .uuid = builds->uuid,
                                              .o = notes[i].o,
                                              .o2 = notes[i].o2};
        code = hf_sandbox_work_perform(work, &note);
        if (code == 0 && i < HF_ARRAY_LEN(steps)) {
            OWNED_DOC *o =
                BCON_NEW(steps[i], BCON_UTF8(coll->name), "indexBuildUUID",
                         BCON_BIN(BSON_SUBTYPE_UUID, id, 16), "indexes", BCON_ARRAY(specs));
            code = perform(work, coll->ns, coll->uuid, o, NULL);
        }
    }
    return code;
}

/* One of the same name or key. */
static bool has_index(const struct hf_sandbox_coll *coll, const bson_t *spec)
{
    bool found = hf_sandbox_coll_index_named(coll, hf_sandbox_get_utf8(spec, "name", "")) != NULL;
    bson_t key, other;

    (void)hf_sandbox_get_doc(spec, "key", &key);
    for (size_t i = 0; !found && i < coll->index_count; i++) {
        found = hf_sandbox_get_doc(coll->indexes[i]->spec, "key", &other) &&
                hf_sandbox_doc_compare(&key, &other) == 0;
    }
    return found;
}

/* Those of the command that are not there yet, in their stored form, and their names. */
static int32_t read_indexes(struct hf_sandbox_work *work, const struct hf_sandbox_coll *coll,
                            bson_t *specs, bson_t *names)
{
    struct hf_sandbox_call *call = work->call;
    uint32_t spec_count = 0, name_count = 0;
    bson_t list;
    int32_t code = 0;

    if (!hf_sandbox_get_doc(call->command, "indexes", &list)) {
        return REFUSE(call, BAD_VALUE, "Must specify at least one index to create");
    }
    HF_SANDBOX_EACH (iter, &list, code == 0) {
        OWNED_DOC *spec = bson_new();
        code = store_form(call, bson_iter_value(&iter), spec);
        if (code == 0 && !has_index(coll, spec)) {
            bson_value_t name = hf_sandbox_value_of_utf8(hf_sandbox_get_utf8(spec, "name", ""));
            hf_sandbox_append_doc(specs, &spec_count, spec);
            hf_sandbox_append_element(names, &name_count, &name);
        }
    }
    return code;
}

int32_t hf_sandbox_body_create_indexes(struct hf_sandbox_work *work)
{
    OWNED_DOC *specs = bson_new();
    OWNED_DOC *names = bson_new();
    struct hf_sandbox_call *call = work->call;
    const char *ns = call->ns;
    bool created = hf_sandbox_txn_find(work->txn, ns) == NULL;
    struct hf_sandbox_coll *coll;
    int32_t before, after;
    int32_t code = hf_sandbox_work_need_coll(work, ns, &coll);

    code = code != 0 ? code : read_indexes(work, coll, specs, names);
    if (code != 0) {
        return code;
    }
    before = (int32_t)coll->index_count;
    after = before + (int32_t)bson_count_keys(specs);
    if (call->multi != NULL && !coll->made && after > before) {
        return REFUSE(call, OPERATION_NOT_SUPPORTED_IN_TRANSACTION,
                      "Cannot create new indexes on existing collection %s in a multi-document "
                      "transaction.",
                      ns);
    }
    if (coll->table->records == 0 || call->multi != NULL ||
        hf_sandbox_work_kind_of(ns) != WORK_WRITE || !hf_sandbox_engine_replicated(call->engine)) {
        code = build_at_once(work, coll, specs);
    } else if (after > before) {
        code = build_in_phases(work, coll, specs, names);
    }
    BCON_APPEND(call->reply, "createdCollectionAutomatically", BCON_BOOL(created),
                "numIndexesBefore", BCON_INT32(before), "numIndexesAfter", BCON_INT32(after));
    if (after == before) {
        BCON_APPEND(call->reply, "note", "all indexes already exist");
    } else if (hf_sandbox_repl_enabled(call->repl)) {
        BCON_APPEND(call->reply, "commitQuorum", "votingMembers");
    }
    return code;
}

/* ---- dropIndexes ---- */

/* index: a name, or "*" for all but _id. */
int32_t hf_sandbox_body_drop_indexes(struct hf_sandbox_work *work)
{
    struct hf_sandbox_call *call = work->call;
    const char *name = hf_sandbox_get_utf8(call->command, "index", "");
    bool all = strcmp(name, "*") == 0;
    bool dropped = all;
    struct hf_sandbox_coll *coll;
    int32_t code = hf_sandbox_work_find(work, &coll);
    size_t count = code == 0 ? coll->index_count : 0;

    BCON_APPEND(call->reply, "nIndexesWas", BCON_INT32((int32_t)count));
    for (size_t i = 1; code == 0 && i < coll->index_count;) {
        const struct hf_sandbox_index *index = coll->indexes[i];
        if (all || strcmp(index->name, name) == 0) {
            OWNED_DOC *o =
                BCON_NEW("dropIndexes", BCON_UTF8(coll->name), "index", BCON_UTF8(index->name));
            OWNED_DOC *o2 = bson_copy(index->spec);
            code = perform(work, coll->ns, coll->uuid, o, o2);
            coll = hf_sandbox_txn_find(work->txn, call->ns); /* a new version of it */
            dropped = true;
        } else {
            i++;
        }
    }
    if (all) {
        BCON_APPEND(call->reply, "msg", "non-_id indexes dropped for collection");
    }
    return code != 0 || dropped
               ? code
               : REFUSE(call, INDEX_NOT_FOUND, "index not found with name [%s]", name);
}

/* ---- appendOplogNote ---- */

int32_t hf_sandbox_body_append_note(struct hf_sandbox_work *work)
{
    struct hf_sandbox_entry entry = {.op = "n", .ns = ""};
    bson_t data;

    if (!hf_sandbox_repl_enabled(work->call->repl)) {
        return REFUSE(work->call, NO_REPLICATION_ENABLED,
                      "Must have replication set up to run \"appendOplogNote\"");
    }
    if (!hf_sandbox_get_doc(work->call->command, "data", &data)) {
        return REFUSE(work->call, NO_SUCH_KEY, "Missing expected field \"data\"");
    }
    entry.o = &data;
    return hf_sandbox_work_perform(work, &entry);
}

/* ---- setFeatureCompatibilityVersion ---- */

#define VERSION_NS "admin.system.version"
#define VERSION_ID "featureCompatibilityVersion"

/* Replaces the version's document, as a real server does: the whole of it stands in the entry. */
static int32_t put_version(struct hf_sandbox_work *work, const struct hf_sandbox_coll *coll,
                           const char *version, const char *target)
{
    OWNED_DOC *o = BCON_NEW("_id", VERSION_ID, "version", BCON_UTF8(version));
    OWNED_DOC *o2 = BCON_NEW("_id", VERSION_ID);
    const struct hf_sandbox_entry entry = {
        .op = "u", .ns = VERSION_NS, .uuid = coll->uuid, .o = o, .o2 = o2};

    if (target != NULL) {
        (void)BSON_APPEND_UTF8(o, "targetVersion", target);
    }
    return hf_sandbox_work_perform(work, &entry);
}

int32_t hf_sandbox_body_set_version(struct hf_sandbox_work *work)
{
    const struct hf_sandbox_call *call = work->call;
    const char *wanted = hf_sandbox_get_utf8(call->command, call->name, NULL);
    const bson_value_t id = hf_sandbox_value_of_utf8(VERSION_ID);
    OWNED_DOC *doc = NULL;
    struct hf_sandbox_coll *coll = NULL;
    int64_t record = 0;

    if (wanted == NULL) {
        return REFUSE(call, TYPE_MISMATCH, "Command argument must be of type String");
    }
    if (strcmp(call->db, "admin") != 0) {
        return REFUSE(call, UNAUTHORIZED, "%s may only be run against the admin database.",
                      call->name);
    }
    if (strcmp(wanted, "4.4") != 0 && strcmp(wanted, "4.2") != 0) {
        return REFUSE(call, BAD_VALUE,
                      "Invalid command argument. Expected '4.4' or '4.2', found %s", wanted);
    }
    int32_t code = hf_sandbox_work_need_coll(work, VERSION_NS, &coll);
    if (code == 0) {
        code = hf_sandbox_work_code(
            work, hf_sandbox_coll_find_id(work->txn, coll, &id, &record, &doc, &work->err));
    }
    if (code != 0 ||
        (doc != NULL && strcmp(hf_sandbox_get_utf8(doc, "version", ""), wanted) == 0)) {
        return code;
    }
    /* Also on the way up the document shows the lower one until all is done. */
    code = put_version(work, coll, "4.2", wanted);
    return code != 0 ? code : put_version(work, coll, wanted, NULL);
}
