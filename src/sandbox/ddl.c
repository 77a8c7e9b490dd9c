/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that change the catalog, with the oplog entries the real server writes for them. What an entry does to the
 * files is the engine's business.
 */
#include <stdio.h>
#include <string.h>

#include "sandbox/server_internal.h"

struct ddl {
    struct hf_sandbox_call *call;
    char ns[HF_SANDBOX_NS_BYTES];
    char to[HF_SANDBOX_NS_BYTES]; /* rename */
    bool done;                    /* something was there to do */
    int32_t indexes_before, indexes_after;
    const bson_t *specs; /* of createIndexes, in their stored form */
    bool created;        /* the collection too */
};

static const char *name_of(const char *ns)
{
    return ns + strcspn(ns, ".") + 1;
}

static int32_t run(struct ddl *ddl, hf_sandbox_work_body body)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = ddl->call};

    return hf_sandbox_work_run(&work, hf_sandbox_work_kind_of(ddl->ns), body, ddl);
}

static int32_t begin(struct hf_sandbox_call *call, struct ddl *out)
{
    *out = (struct ddl){.call = call};
    return hf_sandbox_call_ns(call, out->ns);
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

/* Sizes are stored as the smallest integer that holds them. */
static void append_integer(bson_t *doc, const char *key, int64_t value)
{
    if (value >= INT32_MIN && value <= INT32_MAX) {
        bson_append_int32(doc, key, -1, (int32_t)value);
    } else {
        bson_append_int64(doc, key, -1, value);
    }
}

/* ---- create ---- */

static int32_t read_create_options(struct hf_sandbox_call *call, bson_t *options)
{
    static const char *const kept[] = {"capped",           "temp",
                                       "storageEngine",    "indexOptionDefaults",
                                       "validator",        "validationLevel",
                                       "validationAction", "collation"};
    bson_value_t value;
    int64_t size = hf_sandbox_get_int64(call->command, "size", 0);
    bool capped = hf_sandbox_get_true(call->command, "capped");

    if (bson_has_field(call->command, "viewOn") || bson_has_field(call->command, "timeseries")) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_NOT_IMPLEMENTED,
                                 "views are not in the sandbox");
    }
    if (capped && size <= 0) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_INVALID_OPTIONS,
                                 "the 'size' field is required when 'capped' is true");
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(kept); i++) {
        if (hf_sandbox_get(call->command, kept[i], &value) && (i > 0 || capped)) {
            hf_sandbox_append(options, kept[i], &value);
        }
        if (i == 0 && capped) {
            append_integer(options, "size", size);
            if (hf_sandbox_get_int64(call->command, "max", 0) > 0) {
                append_integer(options, "max", hf_sandbox_get_int64(call->command, "max", 0));
            }
        }
    }
    return 0;
}

static int32_t create(struct hf_sandbox_work *work, void *context)
{
    struct ddl *ddl = context;
    struct hf_sandbox_coll *coll;
    bson_t options = BSON_INITIALIZER;
    bson_t o = BSON_INITIALIZER;
    bson_t *id_index = BCON_NEW("v", BCON_INT32(2), "key", "{", "_id", BCON_INT32(1), "}", "name",
                                BCON_UTF8("_id_"));
    uint8_t uuid[HF_SANDBOX_UUID_BYTES];
    int32_t code = 0;

    if (hf_sandbox_txn_find(work->txn, ddl->ns) != NULL) {
        code = hf_sandbox_refuse(work->call->no, HF_SANDBOX_NAMESPACE_EXISTS,
                                 "Collection already exists. NS: %s", ddl->ns);
    }
    code = code != 0 ? code : read_create_options(work->call, &options);
    if (code == 0) {
        hf_sandbox_uuid_make(uuid);
        bson_append_utf8(&o, "create", -1, name_of(ddl->ns), -1);
        bson_concat(&o, &options);
        bson_append_document(&o, "idIndex", -1, id_index);
        code = hf_sandbox_work_log_command(work, work->call->db, uuid, &o, NULL);
    }
    if (code == 0) {
        code = engine(
            work, hf_sandbox_coll_create(work->txn, ddl->ns, &options, uuid, &coll, &work->err));
    }
    bson_destroy(id_index);
    bson_destroy(&options);
    bson_destroy(&o);
    return code;
}

int32_t hf_sandbox_cmd_create(struct hf_sandbox_call *call)
{
    struct ddl ddl;
    int32_t code = begin(call, &ddl);

    code = code != 0 ? code : run(&ddl, create);
    if (code == 0) {
        hf_sandbox_call_await(call);
    }
    return code;
}

/* ---- drop, dropDatabase, emptycapped ---- */

static int32_t drop_coll(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll)
{
    const char *ns = hf_sandbox_coll_ns(coll);
    bson_t *o = BCON_NEW("drop", BCON_UTF8(name_of(ns)));
    bson_t o2 = BSON_INITIALIZER;
    int32_t code;

    append_integer(&o2, "numRecords", hf_sandbox_coll_records(coll));
    code = hf_sandbox_work_log_command(work, work->call->db, hf_sandbox_coll_uuid(coll), o, &o2);
    bson_destroy(o);
    bson_destroy(&o2);
    return code != 0 ? code : engine(work, hf_sandbox_coll_drop(work->txn, coll, &work->err));
}

static int32_t drop(struct hf_sandbox_work *work, void *context)
{
    struct ddl *ddl = context;
    struct hf_sandbox_coll *coll;
    int32_t code = need(work, ddl->ns, &coll);

    if (code != 0) {
        return code;
    }
    if (strcmp(ddl->ns, "local.oplog.rs") == 0) {
        return hf_sandbox_refuse(
            work->call->no, HF_SANDBOX_ILLEGAL_OPERATION,
            "can't drop oplog on storage engines that support replSetResizeOplog command");
    }
    if (strncmp(name_of(ddl->ns), "system.", 7) == 0 && strncmp(ddl->ns, "config.", 7) != 0) {
        return hf_sandbox_refuse(work->call->no, HF_SANDBOX_ILLEGAL_OPERATION,
                                 "can't drop system collection %s", ddl->ns);
    }
    ddl->indexes_before = (int32_t)hf_sandbox_coll_index_count(coll);
    return drop_coll(work, coll);
}

int32_t hf_sandbox_cmd_drop(struct hf_sandbox_call *call)
{
    struct ddl ddl;
    int32_t code = begin(call, &ddl);

    code = code != 0 ? code : run(&ddl, drop);
    if (code == 0) {
        bson_append_int32(call->reply, "nIndexesWas", -1, ddl.indexes_before);
        bson_append_utf8(call->reply, "ns", -1, ddl.ns, -1);
        hf_sandbox_call_await(call);
    }
    return code;
}

static int32_t drop_database(struct hf_sandbox_work *work, void *context)
{
    struct ddl *ddl = context;
    struct hf_sandbox_coll **colls = NULL;
    size_t count = 0;
    int32_t code =
        engine(work, hf_sandbox_txn_list(work->txn, work->call->db, &colls, &count, &work->err));

    for (size_t i = 0; code == 0 && i < count; i++) {
        code = drop_coll(work, colls[i]);
    }
    hf_free(colls);
    ddl->done = count > 0;
    if (code == 0 && count > 0) {
        bson_t *o = BCON_NEW("dropDatabase", BCON_INT32(1));
        code = hf_sandbox_work_log_command(work, work->call->db, NULL, o, NULL);
        bson_destroy(o);
    }
    return code;
}

int32_t hf_sandbox_cmd_drop_database(struct hf_sandbox_call *call)
{
    struct ddl ddl = {.call = call};
    int32_t code = hf_sandbox_make_ns(call->db, "x", ddl.ns, call->no);

    if (code == 0 && strcmp(call->db, "admin") == 0) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_ILLEGAL_OPERATION,
                                 "Dropping the 'admin' database is prohibited.");
    }
    if (code == 0 && strcmp(call->db, "local") == 0 && hf_sandbox_repl_enabled(call->repl)) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_ILLEGAL_OPERATION,
                                 "Cannot drop '%s' database while replication is active", call->db);
    }
    code = code != 0 ? code : run(&ddl, drop_database);
    if (code == 0) {
        if (ddl.done) {
            bson_append_utf8(call->reply, "dropped", -1, call->db, -1);
        }
        hf_sandbox_call_await(call);
    }
    return code;
}

static int32_t empty_capped(struct hf_sandbox_work *work, void *context)
{
    struct ddl *ddl = context;
    struct hf_sandbox_coll *coll;
    bson_t *o = BCON_NEW("emptycapped", BCON_UTF8(name_of(ddl->ns)));
    int32_t code = need(work, ddl->ns, &coll);

    if (code == 0) {
        code =
            hf_sandbox_work_log_command(work, work->call->db, hf_sandbox_coll_uuid(coll), o, NULL);
    }
    bson_destroy(o);
    return code != 0 ? code : engine(work, hf_sandbox_coll_truncate(work->txn, coll, &work->err));
}

int32_t hf_sandbox_cmd_empty_capped(struct hf_sandbox_call *call)
{
    struct ddl ddl;
    int32_t code = begin(call, &ddl);

    return code != 0 ? code : run(&ddl, empty_capped);
}

/* ---- renameCollection ---- */

static int32_t rename_coll(struct hf_sandbox_work *work, void *context)
{
    struct ddl *ddl = context;
    struct hf_sandbox_call *call = work->call;
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, ddl->ns);
    struct hf_sandbox_coll *target = hf_sandbox_txn_find(work->txn, ddl->to);
    bson_t o = BSON_INITIALIZER;
    bson_t o2 = BSON_INITIALIZER;
    char *db = hf_strndup(ddl->ns, strcspn(ddl->ns, "."));
    int32_t code = 0;

    HF_ASSERT(db != NULL);
    if (coll == NULL) {
        code = hf_sandbox_refuse(call->no, HF_SANDBOX_NAMESPACE_NOT_FOUND,
                                 "Source collection %s does not exist", ddl->ns);
    } else if (target != NULL && !hf_sandbox_get_true(call->command, "dropTarget")) {
        code = hf_sandbox_refuse(call->no, HF_SANDBOX_NAMESPACE_EXISTS, "target namespace exists");
    }
    bson_append_utf8(&o, "renameCollection", -1, ddl->ns, -1);
    bson_append_utf8(&o, "to", -1, ddl->to, -1);
    bson_append_bool(&o, "stayTemp", -1, false);
    if (code == 0 && target != NULL) {
        bson_append_binary(&o, "dropTarget", -1, BSON_SUBTYPE_UUID, hf_sandbox_coll_uuid(target),
                           16);
        append_integer(&o2, "numRecords", hf_sandbox_coll_records(target));
    }
    if (code == 0) {
        code = hf_sandbox_work_log_command(work, db, hf_sandbox_coll_uuid(coll), &o,
                                           target != NULL ? &o2 : NULL);
    }
    if (code == 0 && target != NULL) {
        code = engine(work, hf_sandbox_coll_drop(work->txn, target, &work->err));
    }
    if (code == 0) {
        code = engine(work, hf_sandbox_coll_rename(work->txn, coll, ddl->to, &work->err));
    }
    bson_destroy(&o);
    bson_destroy(&o2);
    hf_free(db);
    return code;
}

int32_t hf_sandbox_cmd_rename(struct hf_sandbox_call *call)
{
    struct ddl ddl = {.call = call};
    const char *from = hf_sandbox_get_utf8(call->command, call->name, "");
    const char *to = hf_sandbox_get_utf8(call->command, "to", "");
    size_t db_len = strcspn(from, ".");
    const struct hf_sandbox_rights *rights = &call->conn->rights;
    char db[64];
    int32_t code;

    (void)snprintf(db, sizeof db, "%.*s", (int)db_len, from);
    if (from[db_len] == '\0' || to[strcspn(to, ".")] == '\0') {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_INVALID_NAMESPACE,
                                 "Invalid namespace specified '%.200s'",
                                 from[db_len] == '\0' ? from : to);
    }
    if (call->server->options.options->auth &&
        !hf_sandbox_rights_allow(rights, HF_SANDBOX_ACT(RENAME_SAME_DB), db, from + db_len + 1)) {
        return hf_sandbox_call_denied(call);
    }
    if (strncmp(from, to, db_len + 1) != 0) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_NOT_IMPLEMENTED,
                                 "renaming across databases is not in the sandbox");
    }
    code = hf_sandbox_make_ns(db, from + db_len + 1, ddl.ns, call->no);
    code = code != 0 ? code : hf_sandbox_make_ns(db, to + db_len + 1, ddl.to, call->no);
    code = code != 0 ? code : run(&ddl, rename_coll);
    if (code == 0) {
        hf_sandbox_call_await(call);
    }
    return code;
}

/* ---- createIndexes ---- */

/* {v, unique, key, name, ...}: the order in which the server stores it. */
static int32_t store_form(struct hf_sandbox_call *call, const bson_t *given, bson_t *out)
{
    const char *name = hf_sandbox_get_utf8(given, "name", NULL);
    bson_iter_t iter;
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
    bson_append_document(out, "key", -1, &key);
    bson_append_utf8(out, "name", -1, name, -1);
    if (bson_iter_init(&iter, given)) {
        while (bson_iter_next(&iter)) {
            const char *field = bson_iter_key(&iter);
            if (strcmp(field, "v") != 0 && strcmp(field, "unique") != 0 &&
                strcmp(field, "key") != 0 && strcmp(field, "name") != 0 &&
                strcmp(field, "ns") != 0 && strcmp(field, "background") != 0) {
                hf_sandbox_append(out, field, bson_iter_value(&iter));
            }
        }
    }
    return 0;
}

/* *exists when the same index is there; a clash of names or keys is refused. */
static int32_t compare_index(struct hf_sandbox_work *work, const struct hf_sandbox_coll *coll,
                             const bson_t *spec, bool *exists)
{
    const char *name = hf_sandbox_get_utf8(spec, "name", "");
    bson_t key;
    bson_t other_key;

    *exists = false;
    for (size_t i = 0;
         hf_sandbox_get_doc(spec, "key", &key) && i < hf_sandbox_coll_index_count(coll); i++) {
        const bson_t *other = hf_sandbox_coll_index(coll, i);
        const char *other_name = hf_sandbox_get_utf8(other, "name", "");
        bool same_key = hf_sandbox_get_doc(other, "key", &other_key) &&
                        hf_sandbox_doc_compare(&key, &other_key) == 0;

        if (same_key && (strcmp(name, other_name) == 0 || strcmp(other_name, "_id_") == 0)) {
            *exists = true;
        } else if (same_key) {
            return hf_sandbox_refuse(work->call->no, HF_SANDBOX_INDEX_OPTIONS_CONFLICT,
                                     "Index already exists with a different name: %s", other_name);
        } else if (strcmp(name, other_name) == 0) {
            return hf_sandbox_refuse(
                work->call->no, HF_SANDBOX_INDEX_KEY_SPECS_CONFLICT,
                "An existing index has the same name as the requested index. Requested index: %s",
                name);
        }
    }
    return 0;
}

/* On an empty collection each index is one entry, its specification inlined. */
static int32_t build_at_once(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll,
                             const bson_t *spec)
{
    bson_t *o = BCON_NEW("createIndexes", BCON_UTF8(hf_sandbox_coll_name(coll)));
    int32_t code;

    bson_concat(o, spec);
    code = hf_sandbox_work_log_command(work, work->call->db, hf_sandbox_coll_uuid(coll), o, NULL);
    bson_destroy(o);
    return code != 0
               ? code
               : engine(work, hf_sandbox_coll_create_index(work->txn, coll, spec, &work->err));
}

/* One of the three writes to config.system.indexBuilds that stand around a build. */
static int32_t note_build(struct hf_sandbox_work *work, struct hf_sandbox_coll *builds,
                          const char *op, const bson_t *o, const bson_t *o2)
{
    struct hf_sandbox_entry entry = {.op = op,
                                     .ns = "config.system.indexBuilds",
                                     .uuid = hf_sandbox_coll_uuid(builds),
                                     .o = o,
                                     .o2 = o2};

    return engine(work, hf_sandbox_txn_log(work->txn, &entry, NULL, &work->err));
}

static int32_t log_build(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll,
                         const char *step, const uint8_t *id, const bson_t *specs)
{
    bson_t *o = BCON_NEW(step, BCON_UTF8(hf_sandbox_coll_name(coll)), "indexBuildUUID",
                         BCON_BIN(BSON_SUBTYPE_UUID, id, 16));
    int32_t code;

    bson_append_array(o, "indexes", -1, specs);
    code = hf_sandbox_work_log_command(work, work->call->db, hf_sandbox_coll_uuid(coll), o, NULL);
    bson_destroy(o);
    return code;
}

static int32_t create_listed(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll,
                             const bson_t *specs, bool at_once)
{
    bson_iter_t iter;
    int32_t code = 0;

    if (!bson_iter_init(&iter, specs)) {
        return 0;
    }
    while (code == 0 && bson_iter_next(&iter)) {
        bson_t spec;
        /* Every new index makes a new version of the collection. */
        coll = hf_sandbox_txn_find(work->txn, hf_sandbox_coll_ns(coll));
        if (coll != NULL && hf_sandbox_value_doc(bson_iter_value(&iter), &spec)) {
            code = at_once ? build_at_once(work, coll, &spec)
                           : engine(work, hf_sandbox_coll_create_index(work->txn, coll, &spec,
                                                                       &work->err));
        }
    }
    return code;
}

/*
 * On a collection with documents the real server builds in two phases, with writes to config.system.indexBuilds around
 * them. Here it is one transaction, and the same entries.
 */
static int32_t build_in_phases(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll,
                               const bson_t *specs, const bson_t *names)
{
    uint8_t id[HF_SANDBOX_UUID_BYTES];
    struct hf_sandbox_coll *builds;
    bson_t hello = BSON_INITIALIZER;
    bson_t *key, *before, *after, *set;
    int64_t record = 0;
    int32_t code = hf_sandbox_work_need_coll(work, "config.system.indexBuilds", &builds);

    if (code != 0) {
        return code;
    }
    hf_sandbox_uuid_make(id);
    hf_sandbox_repl_append_hello(work->call->repl, true, &hello);
    const char *me = hf_sandbox_get_utf8(&hello, "me", work->call->server->host);
    key = BCON_NEW("_id", BCON_BIN(BSON_SUBTYPE_UUID, id, 16));
    before = BCON_NEW("_id", BCON_BIN(BSON_SUBTYPE_UUID, id, 16), "collectionUUID",
                      BCON_BIN(BSON_SUBTYPE_UUID, hf_sandbox_coll_uuid(coll), 16), "commitQuorum",
                      BCON_UTF8("votingMembers"));
    bson_append_array(before, "indexNames", -1, names);
    set = BCON_NEW("$v", BCON_INT32(1), "$set", "{", "commitReadyMembers", "[", BCON_UTF8(me), "]",
                   "}");
    after = bson_copy(before);
    BCON_APPEND(after, "commitReadyMembers", "[", BCON_UTF8(me), "]");
    code = note_build(work, builds, "i", before, NULL);
    code =
        code != 0
            ? code
            : engine(work, hf_sandbox_coll_insert(work->txn, builds, before, &record, &work->err));
    code = code != 0 ? code : log_build(work, coll, "startIndexBuild", id, specs);
    code = code != 0 ? code : note_build(work, builds, "u", set, key);
    code = code != 0 ? code
                     : engine(work, hf_sandbox_coll_update(work->txn, builds, record, before, after,
                                                           &work->err));
    code = code != 0 ? code : log_build(work, coll, "commitIndexBuild", id, specs);
    code = code != 0 ? code : create_listed(work, coll, specs, false);
    code = code != 0 ? code : note_build(work, builds, "d", key, NULL);
    code = code != 0
               ? code
               : engine(work, hf_sandbox_coll_remove(work->txn, builds, record, after, &work->err));
    bson_destroy(key);
    bson_destroy(before);
    bson_destroy(after);
    bson_destroy(set);
    bson_destroy(&hello);
    return code;
}

static int32_t create_indexes(struct hf_sandbox_work *work, void *context)
{
    struct ddl *ddl = context;
    struct hf_sandbox_coll *coll;
    bson_t missing = BSON_INITIALIZER;
    bson_t names = BSON_INITIALIZER;
    uint32_t missing_count = 0;
    uint32_t name_count = 0;
    bson_iter_t iter;
    int32_t code;

    ddl->created = hf_sandbox_txn_find(work->txn, ddl->ns) == NULL;
    code = hf_sandbox_work_need_coll(work, ddl->ns, &coll);
    if (code == 0) {
        ddl->indexes_before = (int32_t)hf_sandbox_coll_index_count(coll);
    }
    for (bool more = code == 0 && bson_iter_init(&iter, ddl->specs);
         more && code == 0 && bson_iter_next(&iter);) {
        bool exists = false;
        bson_t spec;
        if (hf_sandbox_value_doc(bson_iter_value(&iter), &spec)) {
            code = compare_index(work, coll, &spec, &exists);
            if (code == 0 && !exists) {
                bson_value_t name =
                    hf_sandbox_value_of_utf8(hf_sandbox_get_utf8(&spec, "name", ""));
                hf_sandbox_append_element(&missing, &missing_count, bson_iter_value(&iter));
                hf_sandbox_append_element(&names, &name_count, &name);
            }
        }
    }
    if (code == 0 && missing_count > 0) {
        bool at_once = hf_sandbox_coll_records(coll) == 0 ||
                       hf_sandbox_work_kind_of(ddl->ns) != WORK_WRITE ||
                       !hf_sandbox_engine_replicated(work->call->engine);
        code = at_once ? create_listed(work, coll, &missing, true)
                       : build_in_phases(work, coll, &missing, &names);
    }
    ddl->indexes_after = ddl->indexes_before + (int32_t)missing_count;
    bson_destroy(&missing);
    bson_destroy(&names);
    return code;
}

int32_t hf_sandbox_cmd_create_indexes(struct hf_sandbox_call *call)
{
    struct ddl ddl;
    bson_t specs = BSON_INITIALIZER;
    uint32_t count = 0;
    bson_iter_t iter;
    bson_t list;
    int32_t code = begin(call, &ddl);

    if (code == 0 && (!hf_sandbox_get_doc(call->command, "indexes", &list) || bson_empty(&list) ||
                      !bson_iter_init(&iter, &list))) {
        code = hf_sandbox_refuse(call->no, HF_SANDBOX_BAD_VALUE,
                                 "Must specify at least one index to create");
    }
    while (code == 0 && bson_iter_next(&iter)) {
        bson_t given;
        bson_t made = BSON_INITIALIZER;
        code = hf_sandbox_value_doc(bson_iter_value(&iter), &given)
                   ? store_form(call, &given, &made)
                   : hf_sandbox_refuse(call->no, HF_SANDBOX_TYPE_MISMATCH,
                                       "The elements of the 'indexes' array must be objects");
        bson_value_t value = hf_sandbox_value_of_doc(&made);
        hf_sandbox_append_element(&specs, &count, &value);
        bson_destroy(&made);
    }
    ddl.specs = &specs;
    code = code != 0 ? code : run(&ddl, create_indexes);
    if (code == 0) {
        bson_append_bool(call->reply, "createdCollectionAutomatically", -1, ddl.created);
        bson_append_int32(call->reply, "numIndexesBefore", -1, ddl.indexes_before);
        bson_append_int32(call->reply, "numIndexesAfter", -1, ddl.indexes_after);
        if (ddl.indexes_after == ddl.indexes_before) {
            bson_append_utf8(call->reply, "note", -1, "all indexes already exist", -1);
        } else if (hf_sandbox_repl_enabled(call->repl)) {
            bson_append_utf8(call->reply, "commitQuorum", -1, "votingMembers", -1);
        }
        hf_sandbox_call_await(call);
    }
    bson_destroy(&specs);
    return code;
}

/* ---- dropIndexes, collMod ---- */

/* The index that the value names, by name or by key; NULL when there is none. */
static const bson_t *find_index(const struct hf_sandbox_coll *coll, const bson_value_t *by)
{
    bson_t key;
    bson_t other;

    for (size_t i = 0; i < hf_sandbox_coll_index_count(coll); i++) {
        const bson_t *spec = hf_sandbox_coll_index(coll, i);
        if (by->value_type == BSON_TYPE_UTF8
                ? strcmp(hf_sandbox_get_utf8(spec, "name", ""), by->value.v_utf8.str) == 0
                : hf_sandbox_value_doc(by, &key) && hf_sandbox_get_doc(spec, "key", &other) &&
                      hf_sandbox_doc_compare(&key, &other) == 0) {
            return spec;
        }
    }
    return NULL;
}

static int32_t drop_index(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll,
                          const bson_t *spec)
{
    bson_t *copy = bson_copy(spec);
    const char *name = hf_sandbox_get_utf8(copy, "name", "");
    bson_t *o =
        BCON_NEW("dropIndexes", BCON_UTF8(hf_sandbox_coll_name(coll)), "index", BCON_UTF8(name));
    int32_t code =
        hf_sandbox_work_log_command(work, work->call->db, hf_sandbox_coll_uuid(coll), o, copy);

    code = code != 0 ? code
                     : engine(work, hf_sandbox_coll_drop_index(work->txn, coll, name, &work->err));
    bson_destroy(o);
    bson_destroy(copy);
    return code;
}

static int32_t drop_one_index(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll,
                              const bson_value_t *by)
{
    const bson_t *spec = find_index(coll, by);

    if (spec == NULL) {
        return hf_sandbox_refuse(work->call->no, HF_SANDBOX_INDEX_NOT_FOUND,
                                 "index not found with name [%s]",
                                 by->value_type == BSON_TYPE_UTF8 ? by->value.v_utf8.str : "");
    }
    return strcmp(hf_sandbox_get_utf8(spec, "name", ""), "_id_") == 0
               ? hf_sandbox_refuse(work->call->no, HF_SANDBOX_INVALID_OPTIONS,
                                   "cannot drop _id index")
               : drop_index(work, coll, spec);
}

static int32_t drop_indexes(struct hf_sandbox_work *work, void *context)
{
    struct ddl *ddl = context;
    struct hf_sandbox_coll *coll;
    bson_value_t which = hf_sandbox_value_of_utf8("");
    bson_iter_t iter;
    bson_t list;
    int32_t code = need(work, ddl->ns, &coll);

    if (code != 0) {
        return code;
    }
    (void)hf_sandbox_get(work->call->command, "index", &which);
    ddl->indexes_before = (int32_t)hf_sandbox_coll_index_count(coll);
    ddl->done = which.value_type == BSON_TYPE_UTF8 && strcmp(which.value.v_utf8.str, "*") == 0;
    while (ddl->done && code == 0 && hf_sandbox_coll_index_count(coll) > 1) {
        code = drop_index(work, coll, hf_sandbox_coll_index(coll, 1));
        coll = hf_sandbox_txn_find(work->txn, ddl->ns);
    }
    if (ddl->done) {
        return code;
    }
    if (which.value_type == BSON_TYPE_ARRAY && hf_sandbox_value_doc(&which, &list) &&
        bson_iter_init(&iter, &list)) {
        while (code == 0 && bson_iter_next(&iter)) {
            code = drop_one_index(work, hf_sandbox_txn_find(work->txn, ddl->ns),
                                  bson_iter_value(&iter));
        }
        return code;
    }
    return drop_one_index(work, coll, &which);
}

int32_t hf_sandbox_cmd_drop_indexes(struct hf_sandbox_call *call)
{
    struct ddl ddl;
    int32_t code = begin(call, &ddl);

    code = code != 0 ? code : run(&ddl, drop_indexes);
    if (code == 0) {
        bson_append_int32(call->reply, "nIndexesWas", -1, ddl.indexes_before);
        if (ddl.done) {
            bson_append_utf8(call->reply, "msg", -1, "non-_id indexes dropped for collection", -1);
        }
        hf_sandbox_call_await(call);
    }
    return code;
}

/* spec with field set to value. */
static bson_t *with_field(const bson_t *spec, const char *field, const bson_value_t *value)
{
    bson_t *out = bson_new();

    bson_copy_to_excluding_noinit(spec, out, field, NULL);
    hf_sandbox_append(out, field, value);
    return out;
}

/* {index: {name, expireAfterSeconds | hidden}}: the entry's o and o2, the reply, the change. */
static int32_t mod_index(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll,
                         const bson_t *index, bson_t *o, bson_t *o2)
{
    bson_value_t by = hf_sandbox_value_missing;
    bool hide = bson_has_field(index, "hidden");
    const char *field = hide ? "hidden" : "expireAfterSeconds";
    bson_value_t value = hide ? hf_sandbox_value_of_bool(hf_sandbox_get_true(index, field))
                              : hf_sandbox_value_of_int64(hf_sandbox_get_int64(index, field, 0));
    bson_value_t old = hide ? hf_sandbox_value_of_bool(false) : hf_sandbox_value_missing;
    const bson_t *spec;
    bson_t inner;
    bson_t *changed;
    int32_t code;

    if (!hf_sandbox_get(index, "name", &by)) {
        (void)hf_sandbox_get(index, "keyPattern", &by);
    }
    spec = find_index(coll, &by);
    if (spec == NULL) {
        return hf_sandbox_refuse(work->call->no, HF_SANDBOX_INDEX_NOT_FOUND,
                                 "cannot find index for ns %s", hf_sandbox_coll_ns(coll));
    }
    if (!bson_has_field(index, field)) {
        return hf_sandbox_refuse(work->call->no, HF_SANDBOX_INVALID_OPTIONS,
                                 "no expireAfterSeconds or hidden field");
    }
    if (hf_sandbox_get(spec, field, &old) && !hide) {
        old = hf_sandbox_value_of_int64(hf_sandbox_get_int64(spec, field, 0));
    }
    bson_append_document_begin(o, "index", -1, &inner);
    bson_append_utf8(&inner, "name", -1, hf_sandbox_get_utf8(spec, "name", ""), -1);
    hf_sandbox_append(&inner, field, &value);
    bson_append_document_end(o, &inner);
    hf_sandbox_append(o2, hide ? "hidden_old" : "expireAfterSeconds_old", &old);
    hf_sandbox_append(work->call->reply, hide ? "hidden_old" : "expireAfterSeconds_old", &old);
    hf_sandbox_append(work->call->reply, hide ? "hidden_new" : "expireAfterSeconds_new", &value);
    code = hf_sandbox_work_log_command(work, work->call->db, hf_sandbox_coll_uuid(coll), o, o2);
    changed = with_field(spec, field, &value);
    if (code == 0) {
        code = engine(work, hf_sandbox_coll_set_index(work->txn, coll,
                                                      hf_sandbox_get_utf8(changed, "name", ""),
                                                      changed, &work->err));
    }
    bson_destroy(changed);
    return code;
}

static int32_t coll_mod(struct hf_sandbox_work *work, void *context)
{
    static const char *const fields[] = {"validator", "validationLevel", "validationAction"};
    struct ddl *ddl = context;
    struct hf_sandbox_coll *coll;
    bson_t o = BSON_INITIALIZER;
    bson_t o2 = BSON_INITIALIZER;
    bson_t old;
    bson_t index;
    int32_t code = need(work, ddl->ns, &coll);

    bson_reinit(work->call->reply);
    if (code != 0) {
        return code;
    }
    bson_append_utf8(&o, "collMod", -1, name_of(ddl->ns), -1);
    bson_append_document_begin(&o2, "collectionOptions_old", -1, &old);
    bson_append_binary(&old, "uuid", -1, BSON_SUBTYPE_UUID, hf_sandbox_coll_uuid(coll), 16);
    bson_concat(&old, hf_sandbox_coll_options(coll));
    bson_append_document_end(&o2, &old);
    if (hf_sandbox_get_doc(work->call->command, "index", &index)) {
        code = mod_index(work, coll, &index, &o, &o2);
    } else {
        bson_t *options = bson_copy(hf_sandbox_coll_options(coll));
        for (size_t i = 0; i < HF_ARRAY_LEN(fields); i++) {
            bson_value_t value;
            if (hf_sandbox_get(work->call->command, fields[i], &value)) {
                bson_t *changed = with_field(options, fields[i], &value);
                bson_destroy(options);
                options = changed;
                hf_sandbox_append(&o, fields[i], &value);
            }
        }
        code =
            hf_sandbox_work_log_command(work, work->call->db, hf_sandbox_coll_uuid(coll), &o, &o2);
        code =
            code != 0
                ? code
                : engine(work, hf_sandbox_coll_set_options(work->txn, coll, options, &work->err));
        bson_destroy(options);
    }
    bson_destroy(&o);
    bson_destroy(&o2);
    return code;
}

int32_t hf_sandbox_cmd_coll_mod(struct hf_sandbox_call *call)
{
    struct ddl ddl;
    int32_t code = begin(call, &ddl);

    code = code != 0 ? code : run(&ddl, coll_mod);
    if (code == 0) {
        hf_sandbox_call_await(call);
    }
    return code;
}

/* ---- appendOplogNote ---- */

static int32_t append_note(struct hf_sandbox_work *work, void *context)
{
    struct hf_sandbox_entry entry = {.op = "n", .ns = ""};
    bson_t data;

    (void)context;
    if (!hf_sandbox_get_doc(work->call->command, "data", &data)) {
        return hf_sandbox_refuse(work->call->no, HF_SANDBOX_NO_SUCH_KEY,
                                 "Missing expected field \"data\"");
    }
    entry.o = &data;
    return engine(work, hf_sandbox_txn_log(work->txn, &entry, NULL, &work->err));
}

int32_t hf_sandbox_cmd_append_note(struct hf_sandbox_call *call)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
    int32_t code;

    if (!hf_sandbox_repl_enabled(call->repl)) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_NO_REPLICATION_ENABLED,
                                 "Must have replication set up to run \"appendOplogNote\"");
    }
    code = hf_sandbox_work_run(&work, WORK_WRITE, append_note, NULL);
    if (code == 0) {
        hf_sandbox_call_await(call);
    }
    return code;
}
