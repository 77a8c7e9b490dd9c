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

static int32_t need(struct hf_sandbox_work *work, const char *ns, struct hf_sandbox_coll **out)
{
    *out = hf_sandbox_txn_find(work->txn, ns);
    return *out != NULL
               ? 0
               : hf_sandbox_refuse(work->call->no, HF_SANDBOX_NAMESPACE_NOT_FOUND, "ns not found");
}

static int32_t engine(struct hf_sandbox_work *work, enum hf_err rc)
{
    return rc == HF_ERR_OK ? 0 : hf_sandbox_work_refuse(work);
}

/* An entry "c" about the collection, in the command's database. */
static int32_t log_command(struct hf_sandbox_work *work, const struct hf_sandbox_coll *coll,
                           const bson_t *o, const bson_t *o2)
{
    return hf_sandbox_work_log_command(work, work->call->db, hf_sandbox_coll_uuid(coll), o, o2);
}

static int32_t log_change(struct hf_sandbox_work *work, const struct hf_sandbox_coll *coll,
                          const char *op, const bson_t *o, const bson_t *o2)
{
    struct hf_sandbox_entry entry = {.op = op,
                                     .ns = hf_sandbox_coll_ns(coll),
                                     .uuid = hf_sandbox_coll_uuid(coll),
                                     .o = o,
                                     .o2 = o2};

    return engine(work, hf_sandbox_txn_log(work->txn, &entry, NULL, &work->err));
}

int32_t hf_sandbox_work_insert(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll,
                               const bson_t *doc, int64_t *record)
{
    int32_t code = log_change(work, coll, "i", doc, NULL);

    return code != 0
               ? code
               : engine(work, hf_sandbox_coll_insert(work->txn, coll, doc, record, &work->err));
}

/* Sizes are stored as the smallest integer that holds them. */
static void append_integer(bson_t *doc, const char *key, int64_t value)
{
    if (value <= INT32_MAX) {
        bson_append_int32(doc, key, -1, (int32_t)value);
    } else {
        bson_append_int64(doc, key, -1, value);
    }
}

/* ---- create ---- */

static int32_t read_create_options(struct hf_sandbox_call *call, bson_t *options)
{
    static const char *const kept[] = {"validator", "validationLevel", "validationAction"};
    int64_t size = hf_sandbox_get_int64(call->command, "size", 0);
    int64_t max = hf_sandbox_get_int64(call->command, "max", 0);
    bson_value_t value;

    if (bson_has_field(call->command, "viewOn") || bson_has_field(call->command, "timeseries")) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_NOT_IMPLEMENTED,
                                 "views are not in the sandbox");
    }
    if (hf_sandbox_get_true(call->command, "capped")) {
        if (size <= 0) {
            return hf_sandbox_refuse(call->no, HF_SANDBOX_INVALID_OPTIONS,
                                     "the 'size' field is required when 'capped' is true");
        }
        bson_append_bool(options, "capped", -1, true);
        append_integer(options, "size", size);
        if (max > 0) {
            append_integer(options, "max", max);
        }
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(kept); i++) {
        if (hf_sandbox_get(call->command, kept[i], &value)) {
            hf_sandbox_append(options, kept[i], &value);
        }
    }
    return 0;
}

int32_t hf_sandbox_body_create(struct hf_sandbox_work *work, const char *ns)
{
    HF_CLEANUP(bson_destroy) bson_t *options = bson_new();
    HF_CLEANUP(bson_destroy) bson_t *o = BCON_NEW("create", BCON_UTF8(name_of(ns)));
    struct hf_sandbox_coll *coll;
    uint8_t uuid[HF_SANDBOX_UUID_BYTES];
    int32_t code = read_create_options(work->call, options);

    if (code == 0 && hf_sandbox_txn_find(work->txn, ns) != NULL) {
        code = hf_sandbox_refuse(work->call->no, HF_SANDBOX_NAMESPACE_EXISTS,
                                 "Collection already exists. NS: %s", ns);
    }
    bson_concat(o, options);
    BCON_APPEND(o, "idIndex", "{", "v", BCON_INT32(2), "key", "{", "_id", BCON_INT32(1), "}",
                "name", BCON_UTF8("_id_"), "}");
    hf_sandbox_uuid_make(uuid);
    code = code != 0 ? code : hf_sandbox_work_log_command(work, work->call->db, uuid, o, NULL);
    return code != 0 ? code
                     : engine(work, hf_sandbox_coll_create(work->txn, ns, options, uuid, &coll,
                                                           &work->err));
}

/* ---- drop, dropDatabase ---- */

static int32_t drop_coll(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll)
{
    HF_CLEANUP(bson_destroy) bson_t *o = BCON_NEW("drop", BCON_UTF8(hf_sandbox_coll_name(coll)));
    HF_CLEANUP(bson_destroy) bson_t *o2 = bson_new();
    int32_t code;

    append_integer(o2, "numRecords", hf_sandbox_coll_records(coll));
    code = log_command(work, coll, o, o2);
    return code != 0 ? code : engine(work, hf_sandbox_coll_drop(work->txn, coll, &work->err));
}

int32_t hf_sandbox_body_drop(struct hf_sandbox_work *work, const char *ns)
{
    struct hf_sandbox_coll *coll;
    int32_t code = need(work, ns, &coll);

    if (code != 0) {
        return code;
    }
    if (strcmp(ns, "local.oplog.rs") == 0 ||
        (strncmp(name_of(ns), "system.", 7) == 0 && strncmp(ns, "config.", 7) != 0)) {
        return hf_sandbox_refuse(work->call->no, HF_SANDBOX_ILLEGAL_OPERATION,
                                 "can't drop system collection %s", ns);
    }
    BCON_APPEND(work->call->reply, "nIndexesWas",
                BCON_INT32((int32_t)hf_sandbox_coll_index_count(coll)), "ns", BCON_UTF8(ns));
    return drop_coll(work, coll);
}

int32_t hf_sandbox_body_drop_database(struct hf_sandbox_work *work, const char *ns)
{
    HF_CLEANUP(bson_destroy) bson_t *o = BCON_NEW("dropDatabase", BCON_INT32(1));
    HF_CLEANUP(hf_free) struct hf_sandbox_coll **colls = NULL;
    struct hf_sandbox_call *call = work->call;
    size_t count = 0;
    int32_t code;

    (void)ns;
    if (strcmp(call->db, "admin") == 0 ||
        (strcmp(call->db, "local") == 0 && hf_sandbox_repl_enabled(call->repl))) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_ILLEGAL_OPERATION,
                                 "Dropping the '%s' database is prohibited.", call->db);
    }
    code = engine(work, hf_sandbox_txn_list(work->txn, call->db, &colls, &count, &work->err));
    for (size_t i = 0; code == 0 && i < count; i++) {
        code = drop_coll(work, colls[i]);
    }
    if (count > 0) {
        bson_append_utf8(call->reply, "dropped", -1, call->db, -1);
        code = code != 0 ? code : hf_sandbox_work_log_command(work, call->db, NULL, o, NULL);
    }
    return code;
}

/* ---- renameCollection ---- */

static int32_t rename_to(struct hf_sandbox_work *work, const char *db, const char *from,
                         const char *to)
{
    HF_CLEANUP(bson_destroy)
    bson_t *o = BCON_NEW("renameCollection", BCON_UTF8(from), "to", BCON_UTF8(to), "stayTemp",
                         BCON_BOOL(false));
    HF_CLEANUP(bson_destroy) bson_t *o2 = NULL;
    struct hf_sandbox_call *call = work->call;
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, from);
    struct hf_sandbox_coll *target = hf_sandbox_txn_find(work->txn, to);
    int32_t code;

    if (coll == NULL) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_NAMESPACE_NOT_FOUND,
                                 "Source collection %s does not exist", from);
    }
    if (target != NULL) {
        if (!hf_sandbox_get_true(call->command, "dropTarget")) {
            return hf_sandbox_refuse(call->no, HF_SANDBOX_NAMESPACE_EXISTS,
                                     "target namespace exists");
        }
        BCON_APPEND(o, "dropTarget", BCON_BIN(BSON_SUBTYPE_UUID, hf_sandbox_coll_uuid(target), 16));
        o2 = bson_new();
        append_integer(o2, "numRecords", hf_sandbox_coll_records(target));
    }
    code = hf_sandbox_work_log_command(work, db, hf_sandbox_coll_uuid(coll), o, o2);
    if (code == 0 && target != NULL) {
        code = engine(work, hf_sandbox_coll_drop(work->txn, target, &work->err));
    }
    return code != 0 ? code : engine(work, hf_sandbox_coll_rename(work->txn, coll, to, &work->err));
}

int32_t hf_sandbox_body_rename(struct hf_sandbox_work *work, const char *ns)
{
    struct hf_sandbox_call *call = work->call;
    const char *from = hf_sandbox_get_utf8(call->command, call->name, "");
    const char *to = hf_sandbox_get_utf8(call->command, "to", "");
    size_t db_len = strcspn(from, ".");
    char db[HF_SANDBOX_NS_BYTES], checked[HF_SANDBOX_NS_BYTES];
    int32_t code;

    (void)ns;
    (void)snprintf(db, sizeof db, "%.*s", (int)db_len, from);
    code = hf_sandbox_make_ns(db, name_of(from), checked, call->no);
    if (code != 0 || !hf_sandbox_call_may(call, "renameCollectionSameDB", db, name_of(from))) {
        return code != 0 ? code : hf_sandbox_call_denied(call);
    }
    if (strncmp(from, to, db_len + 1) != 0) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_NOT_IMPLEMENTED,
                                 "renaming across databases is not in the sandbox");
    }
    code = hf_sandbox_make_ns(db, name_of(to), checked, call->no);
    return code != 0 ? code : rename_to(work, db, from, to);
}

/* ---- createIndexes ---- */

/* {v, unique, key, name, ...}: the order in which the server stores it. */
static int32_t store_form(struct hf_sandbox_call *call, const bson_t *given, bson_t *out)
{
    const char *name = hf_sandbox_get_utf8(given, "name", NULL);
    bson_t key;

    if (name == NULL || !hf_sandbox_get_doc(given, "key", &key)) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_FAILED_TO_PARSE,
                                 "The '%s' field is a required property of an index specification",
                                 name == NULL ? "name" : "key");
    }
    if (bson_empty(&key)) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_CANNOT_CREATE_INDEX,
                                 "Index keys cannot be an empty object");
    }
    bson_append_int32(out, "v", -1, 2);
    if (hf_sandbox_get_true(given, "unique")) {
        bson_append_bool(out, "unique", -1, true);
    }
    BCON_APPEND(out, "key", BCON_DOCUMENT(&key), "name", BCON_UTF8(name));
    bson_copy_to_excluding_noinit(given, out, "v", "unique", "key", "name", "ns", "background",
                                  NULL);
    return 0;
}

/* The index with this name, or with this key where name is NULL; NULL when there is none. */
static const bson_t *find_index(const struct hf_sandbox_coll *coll, const char *name,
                                const bson_t *key)
{
    bson_t other;

    for (size_t i = 0; i < hf_sandbox_coll_index_count(coll); i++) {
        const bson_t *spec = hf_sandbox_coll_index(coll, i);
        if (name != NULL ? strcmp(hf_sandbox_get_utf8(spec, "name", ""), name) == 0
                         : hf_sandbox_get_doc(spec, "key", &other) &&
                               hf_sandbox_doc_compare(key, &other) == 0) {
            return spec;
        }
    }
    return NULL;
}

/* *exists when the same index is there; a clash of names or keys is refused. */
static int32_t compare_index(struct hf_sandbox_work *work, const struct hf_sandbox_coll *coll,
                             const bson_t *spec, bool *exists)
{
    const char *name = hf_sandbox_get_utf8(spec, "name", "");
    const bson_t *same_name = find_index(coll, name, NULL);
    const bson_t *same_key;
    const char *other;
    bson_t key;

    (void)hf_sandbox_get_doc(spec, "key", &key);
    same_key = find_index(coll, NULL, &key);
    *exists = same_key != NULL;
    other = same_key == NULL ? name : hf_sandbox_get_utf8(same_key, "name", "");
    if (same_key != NULL && same_key != same_name && strcmp(other, "_id_") != 0) {
        return hf_sandbox_refuse(work->call->no, HF_SANDBOX_INDEX_OPTIONS_CONFLICT,
                                 "Index already exists with a different name: %s", other);
    }
    return same_key != NULL || same_name == NULL
               ? 0
               : hf_sandbox_refuse(work->call->no, HF_SANDBOX_INDEX_KEY_SPECS_CONFLICT,
                                   "An existing index has the same name as the requested index. "
                                   "Requested index: %s",
                                   name);
}

/* With log each index is one entry, its specification inlined. */
static int32_t create_listed(struct hf_sandbox_work *work, const char *ns, const bson_t *specs,
                             bool log)
{
    bson_iter_t iter;
    bson_t spec;
    int32_t code = 0;

    (void)bson_iter_init(&iter, specs);
    while (code == 0 && bson_iter_next(&iter) &&
           hf_sandbox_value_doc(bson_iter_value(&iter), &spec)) {
        HF_CLEANUP(bson_destroy) bson_t *o = BCON_NEW("createIndexes", BCON_UTF8(name_of(ns)));
        /* Every new index makes a new version of the collection. */
        struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, ns);
        bson_concat(o, &spec);
        code = log ? log_command(work, coll, o, NULL) : 0;
        code = code != 0
                   ? code
                   : engine(work, hf_sandbox_coll_create_index(work->txn, coll, &spec, &work->err));
    }
    return code;
}

static int32_t log_build(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll,
                         const char *step, const uint8_t *id, const bson_t *specs)
{
    HF_CLEANUP(bson_destroy)
    bson_t *o = BCON_NEW(step, BCON_UTF8(hf_sandbox_coll_name(coll)), "indexBuildUUID",
                         BCON_BIN(BSON_SUBTYPE_UUID, id, 16), "indexes", BCON_ARRAY(specs));

    return log_command(work, coll, o, NULL);
}

/*
 * On a collection with documents the real server builds in two phases, with writes to config.system.indexBuilds around
 * them. Here it is one transaction, and the same entries; the document there comes and goes, so only they are written.
 */
static int32_t build_in_phases(struct hf_sandbox_work *work, const char *ns, const bson_t *specs,
                               const bson_t *names)
{
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, ns);
    HF_CLEANUP(bson_destroy) bson_t *hello = bson_new();
    HF_CLEANUP(bson_destroy) bson_t *key = NULL;
    HF_CLEANUP(bson_destroy) bson_t *build = NULL;
    HF_CLEANUP(bson_destroy) bson_t *set = NULL;
    struct hf_sandbox_coll *builds;
    uint8_t id[HF_SANDBOX_UUID_BYTES];
    int32_t code = hf_sandbox_work_need_coll(work, BUILDS_NS, &builds);

    hf_sandbox_uuid_make(id);
    hf_sandbox_repl_append_hello(work->call->repl, true, hello);
    key = BCON_NEW("_id", BCON_BIN(BSON_SUBTYPE_UUID, id, 16));
    build = BCON_NEW("_id", BCON_BIN(BSON_SUBTYPE_UUID, id, 16), "collectionUUID",
                     BCON_BIN(BSON_SUBTYPE_UUID, hf_sandbox_coll_uuid(coll), 16), "commitQuorum",
                     BCON_UTF8("votingMembers"), "indexNames", BCON_ARRAY(names));
    set = BCON_NEW("$v", BCON_INT32(1), "$set", "{", "commitReadyMembers", "[",
                   BCON_UTF8(hf_sandbox_get_utf8(hello, "me", "")), "]", "}");
    code = code != 0 ? code : log_change(work, builds, "i", build, NULL);
    code = code != 0 ? code : log_build(work, coll, "startIndexBuild", id, specs);
    code = code != 0 ? code : log_change(work, builds, "u", set, key);
    code = code != 0 ? code : log_build(work, coll, "commitIndexBuild", id, specs);
    code = code != 0 ? code : create_listed(work, ns, specs, false);
    return code != 0 ? code : log_change(work, builds, "d", key, NULL);
}

/* Those of the command that are not there yet, in their stored form, and their names. */
static int32_t read_indexes(struct hf_sandbox_work *work, const struct hf_sandbox_coll *coll,
                            bson_t *specs, bson_t *names)
{
    struct hf_sandbox_call *call = work->call;
    uint32_t spec_count = 0, name_count = 0;
    bson_iter_t iter;
    bson_t list;
    int32_t code = 0;

    if (!hf_sandbox_get_doc(call->command, "indexes", &list) || bson_empty(&list) ||
        !bson_iter_init(&iter, &list)) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_BAD_VALUE,
                                 "Must specify at least one index to create");
    }
    while (code == 0 && bson_iter_next(&iter)) {
        HF_CLEANUP(bson_destroy) bson_t *spec = bson_new();
        bool exists = true;
        bson_t given;
        if (!hf_sandbox_value_doc(bson_iter_value(&iter), &given)) {
            return hf_sandbox_refuse(call->no, HF_SANDBOX_TYPE_MISMATCH,
                                     "The elements of the 'indexes' array must be objects");
        }
        code = store_form(call, &given, spec);
        code = code != 0 ? code : compare_index(work, coll, spec, &exists);
        if (code == 0 && !exists) {
            bson_value_t value = hf_sandbox_value_of_doc(spec);
            bson_value_t name = hf_sandbox_value_of_utf8(hf_sandbox_get_utf8(spec, "name", ""));
            hf_sandbox_append_element(specs, &spec_count, &value);
            hf_sandbox_append_element(names, &name_count, &name);
        }
    }
    return code;
}

int32_t hf_sandbox_body_create_indexes(struct hf_sandbox_work *work, const char *ns)
{
    HF_CLEANUP(bson_destroy) bson_t *specs = bson_new();
    HF_CLEANUP(bson_destroy) bson_t *names = bson_new();
    struct hf_sandbox_call *call = work->call;
    bool created = hf_sandbox_txn_find(work->txn, ns) == NULL;
    struct hf_sandbox_coll *coll;
    int32_t before, after;
    int32_t code = hf_sandbox_work_need_coll(work, ns, &coll);

    code = code != 0 ? code : read_indexes(work, coll, specs, names);
    if (code != 0) {
        return code;
    }
    before = (int32_t)hf_sandbox_coll_index_count(coll);
    after = before + (int32_t)bson_count_keys(specs);
    if (hf_sandbox_coll_records(coll) == 0 || hf_sandbox_work_kind_of(ns) != WORK_WRITE ||
        !hf_sandbox_engine_replicated(call->engine)) {
        code = create_listed(work, ns, specs, true);
    } else if (after > before) {
        code = build_in_phases(work, ns, specs, names);
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

static int32_t drop_index(struct hf_sandbox_work *work, const char *ns, const bson_t *spec)
{
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, ns);
    HF_CLEANUP(bson_destroy) bson_t *copy = bson_copy(spec);
    const char *name = hf_sandbox_get_utf8(copy, "name", "");
    HF_CLEANUP(bson_destroy)
    bson_t *o = BCON_NEW("dropIndexes", BCON_UTF8(name_of(ns)), "index", BCON_UTF8(name));
    int32_t code = log_command(work, coll, o, copy);

    return code != 0 ? code
                     : engine(work, hf_sandbox_coll_drop_index(work->txn, coll, name, &work->err));
}

/* index: a name, "*" for all but _id, or a key. */
int32_t hf_sandbox_body_drop_indexes(struct hf_sandbox_work *work, const char *ns)
{
    struct hf_sandbox_call *call = work->call;
    const char *name = hf_sandbox_get_utf8(call->command, "index", NULL);
    bool all = name != NULL && strcmp(name, "*") == 0;
    const bson_t *spec = NULL;
    struct hf_sandbox_coll *coll;
    bson_t key;
    int32_t code = need(work, ns, &coll);

    if (code != 0) {
        return code;
    }
    if (name != NULL || hf_sandbox_get_doc(call->command, "index", &key)) {
        spec = find_index(coll, name, &key);
    }
    if (!all && (spec == NULL || spec == hf_sandbox_coll_index(coll, 0))) {
        return spec != NULL
                   ? hf_sandbox_refuse(call->no, HF_SANDBOX_INVALID_OPTIONS,
                                       "cannot drop _id index")
                   : hf_sandbox_refuse(call->no, HF_SANDBOX_INDEX_NOT_FOUND,
                                       "index not found with name [%s]", name == NULL ? "" : name);
    }
    BCON_APPEND(call->reply, "nIndexesWas", BCON_INT32((int32_t)hf_sandbox_coll_index_count(coll)));
    if (all) {
        BCON_APPEND(call->reply, "msg", "non-_id indexes dropped for collection");
    }
    while (code == 0 && all && hf_sandbox_coll_index_count(coll) > 1) {
        code = drop_index(work, ns, hf_sandbox_coll_index(coll, 1));
        coll = hf_sandbox_txn_find(work->txn, ns);
    }
    return all ? code : drop_index(work, ns, spec);
}

/* ---- appendOplogNote ---- */

int32_t hf_sandbox_body_append_note(struct hf_sandbox_work *work, const char *ns)
{
    struct hf_sandbox_entry entry = {.op = "n", .ns = ""};
    bson_t data;

    (void)ns;
    if (!hf_sandbox_repl_enabled(work->call->repl)) {
        return hf_sandbox_refuse(work->call->no, HF_SANDBOX_NO_REPLICATION_ENABLED,
                                 "Must have replication set up to run \"appendOplogNote\"");
    }
    if (!hf_sandbox_get_doc(work->call->command, "data", &data)) {
        return hf_sandbox_refuse(work->call->no, HF_SANDBOX_NO_SUCH_KEY,
                                 "Missing expected field \"data\"");
    }
    entry.o = &data;
    return engine(work, hf_sandbox_txn_log(work->txn, &entry, NULL, &work->err));
}
