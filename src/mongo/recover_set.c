/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes after recovery: counts that it left wrong, and the documents of `local` that make the directory one of a new
 * set. Must not know who the members are.
 */
#include "mongo/recover_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

#define NAMESPACE_NOT_FOUND 26
#define INDEX_NOT_FOUND 27

/* ---- Counts ---- */

static enum hf_err read_options(struct hf_recover *recover, const char *database,
                                const char *collection, struct hf_recover_count *out,
                                struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    bson_t filter;
    bson_t found;

    (void)BSON_APPEND_INT32(&command, "listCollections", 1);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&command, "filter", &filter);
    (void)BSON_APPEND_UTF8(&filter, "name", collection);
    (void)bson_append_document_end(&command, &filter);
    bson_destroy(&reply);
    if (hf_recover_command(recover, database, &command, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_mongo_get_doc(&reply, "cursor.firstBatch.0", &found)) {
        return HF_ERR_OK;
    }
    const char *type = hf_mongo_get_text(&found, "type");
    out->is_collection = type == NULL || strcmp(type, "collection") == 0;
    out->capped = hf_mongo_get_bool(&found, "options.capped", false);
    if (out->capped) {
        int64_t most = hf_mongo_get_int(&found, "options.max", 0);
        int64_t bytes = hf_mongo_get_int(&found, "options.size", 0);
        out->most = most > 0 ? (uint64_t)most : 0;
        /* The server rounds it up (256 bytes), so a little more is no excess. */
        out->most_bytes = bytes > 0 ? ((uint64_t)bytes + 255) / 256 * 256 : 0;
    }
    return HF_ERR_OK;
}

static enum hf_err read_fast(struct hf_recover *recover, const char *database,
                             const char *collection, struct hf_recover_count *out,
                             struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;

    (void)BSON_APPEND_UTF8(&command, "count", collection);
    bson_destroy(&reply);
    if (hf_recover_command(recover, database, &command, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    int64_t fast = hf_mongo_get_int(&reply, "n", -1);
    if (fast < 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "count gave no number");
    }
    out->fast = (uint64_t)fast;
    return HF_ERR_OK;
}

static enum hf_err visit_counted(void *argument, const bson_t *document, struct hf_error *err)
{
    struct hf_recover_count *out = argument;
    int64_t counted = hf_mongo_get_int(document, "n", -1);

    if (counted < 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "$count gave no number");
    }
    out->counted = (uint64_t)counted;
    return HF_ERR_OK;
}

static enum hf_err read_counted(struct hf_recover *recover, const char *database,
                                const char *collection, struct hf_recover_count *out,
                                struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    bson_t pipeline;
    bson_t stage;
    bson_t cursor;

    (void)BSON_APPEND_UTF8(&command, "aggregate", collection);
    (void)BSON_APPEND_ARRAY_BEGIN(&command, "pipeline", &pipeline);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&pipeline, "0", &stage);
    (void)BSON_APPEND_UTF8(&stage, "$count", "n");
    (void)bson_append_document_end(&pipeline, &stage);
    (void)bson_append_array_end(&command, &pipeline);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&command, "cursor", &cursor);
    (void)bson_append_document_end(&command, &cursor);
    enum hf_err result =
        hf_mongo_walk(recover->client, database, &command, visit_counted, out, err);
    return result == HF_ERR_UNAVAILABLE ? hf_mongod_explain(recover->mongod, err) : result;
}

/* How many bytes the documents of a capped one have: only `collStats` knows, which not every server has. */
static enum hf_err read_bytes(struct hf_recover *recover, const char *database,
                              const char *collection, struct hf_recover_count *out,
                              struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;

    (void)BSON_APPEND_UTF8(&command, "collStats", collection);
    bson_destroy(&reply);
    enum hf_err result = hf_recover_command(recover, database, &command, &reply, err);
    if (result == HF_ERR_OK) {
        int64_t bytes = hf_mongo_get_int(&reply, "size", 0);
        out->bytes = bytes > 0 ? (uint64_t)bytes : 0;
    }
    return result == HF_ERR_UNSUPPORTED ? HF_ERR_OK : result;
}

static enum hf_err validate(struct hf_recover *recover, const char *database,
                            const char *collection, struct hf_recover_count *out,
                            struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;

    (void)BSON_APPEND_UTF8(&command, "validate", collection);
    bson_destroy(&reply);
    if (hf_recover_command(recover, database, &command, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    out->validated = true;
    out->valid = hf_mongo_get_bool(&reply, "valid", false);
    if (!out->valid) {
        const char *first = hf_mongo_get_text(&reply, "errors.0");
        (void)snprintf(out->problem, sizeof out->problem, "%s",
                       first != NULL ? first : "validate does not say why");
    }
    return HF_ERR_OK;
}

enum hf_err hf_recover_count(struct hf_recover *recover, const char *database,
                             const char *collection, struct hf_recover_count *out,
                             struct hf_error *err)
{
    *out = (struct hf_recover_count){.valid = true};
    HF_ASSERT(recover->writable);
    if (read_options(recover, database, collection, out, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s.%s", database, collection);
    }
    if (!out->is_collection) {
        return HF_ERR_OK;
    }
    if (read_fast(recover, database, collection, out, err) != HF_ERR_OK ||
        read_counted(recover, database, collection, out, err) != HF_ERR_OK ||
        (out->fast != out->counted &&
         validate(recover, database, collection, out, err) != HF_ERR_OK) ||
        (out->capped && read_bytes(recover, database, collection, out, err) != HF_ERR_OK)) {
        return hf_wrap(err, "%s.%s", database, collection);
    }
    return HF_ERR_OK;
}

/* "shop" of "shop.orders"; *rest is "orders". Free with hf_free. */
static enum hf_err split_name(const char *collection, char **database, const char **rest,
                              struct hf_error *err)
{
    const char *dot = strchr(collection, '.');

    if (dot == NULL) {
        return hf_fail(err, HF_ERR_INVALID, "%s is no collection", collection);
    }
    *rest = dot + 1;
    *database = hf_asprintf("%.*s", (int)(dot - collection), collection);
    return *database != NULL ? HF_ERR_OK : hf_fail(err, HF_ERR_NO_MEMORY, "%s", collection);
}

enum hf_err hf_recover_drop_index(struct hf_recover *recover, const char *collection,
                                  const char *index, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    HF_CLEANUP(hf_free) char *database = NULL;
    const char *name = NULL;

    HF_ASSERT(recover->writable);
    if (split_name(collection, &database, &name, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)BSON_APPEND_UTF8(&command, "dropIndexes", name);
    (void)BSON_APPEND_UTF8(&command, "index", index);
    bson_destroy(&reply);
    enum hf_err result = hf_recover_command(recover, database, &command, &reply, err);
    int64_t code = hf_mongo_reply_code(&reply);
    if (result != HF_ERR_OK && (code == NAMESPACE_NOT_FOUND || code == INDEX_NOT_FOUND)) {
        return HF_ERR_OK;
    }
    return result == HF_ERR_OK ? HF_ERR_OK : hf_wrap(err, "drop %s of %s", index, collection);
}

/* createIndexes would make the collection, too. */
static enum hf_err has_collection(struct hf_recover *recover, const char *database,
                                  const char *name, bool *has, struct hf_error *err)
{
    struct hf_recover_count found = {.is_collection = false};

    enum hf_err result = read_options(recover, database, name, &found, err);
    *has = found.is_collection;
    return result;
}

enum hf_err hf_recover_make_indexes(struct hf_recover *recover, const char *collection,
                                    struct hf_bytes specs, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    HF_CLEANUP(hf_free) char *database = NULL;
    const char *name = NULL;
    bool there = false;
    bson_t array;

    HF_ASSERT(recover->writable);
    if (!bson_init_static(&array, specs.data, specs.len)) {
        return hf_fail(err, HF_ERR_CORRUPT, "the indexes of %s are no BSON", collection);
    }
    if (split_name(collection, &database, &name, err) != HF_ERR_OK ||
        has_collection(recover, database, name, &there, err) != HF_ERR_OK) {
        return hf_wrap(err, "make indexes of %s", collection);
    }
    if (!there) {
        return HF_ERR_OK;
    }
    (void)BSON_APPEND_UTF8(&command, "createIndexes", name);
    (void)BSON_APPEND_ARRAY(&command, "indexes", &array);
    bson_destroy(&reply);
    return hf_recover_command(recover, database, &command, &reply, err) == HF_ERR_OK
               ? HF_ERR_OK
               : hf_wrap(err, "make indexes of %s", collection);
}

/* ---- A new set ---- */

static enum hf_err append_json(bson_t *out, const char *name, const char *json, bool array,
                               struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t part = BSON_INITIALIZER;

    bson_destroy(&part);
    if (hf_mongo_json_to_bson(json, &part, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s of the configuration", name);
    }
    (void)(array ? BSON_APPEND_ARRAY(out, name, &part) : BSON_APPEND_DOCUMENT(out, name, &part));
    return HF_ERR_OK;
}

/* {insert: "system.replset", documents: [the configuration]} */
static enum hf_err config_command(const struct hf_recover_set *set, bson_t *out,
                                  struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t config = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t settings = BSON_INITIALIZER;
    bson_oid_t id;
    bson_t documents;

    (void)BSON_APPEND_UTF8(&config, "_id", set->name);
    (void)BSON_APPEND_INT32(&config, "version", 1);
    (void)BSON_APPEND_INT64(&config, "term", 1);
    (void)BSON_APPEND_INT64(&config, "protocolVersion", 1);
    (void)BSON_APPEND_BOOL(&config, "writeConcernMajorityJournalDefault", true);
    if (set->config_server) {
        (void)BSON_APPEND_BOOL(&config, "configsvr", true);
    }
    if (append_json(&config, "members", set->members, true, err) != HF_ERR_OK) {
        return err->code;
    }
    if (set->settings != NULL) {
        bson_destroy(&settings);
        if (hf_mongo_json_to_bson(set->settings, &settings, err) != HF_ERR_OK) {
            return hf_wrap(err, "settings of the configuration");
        }
    }
    bson_oid_init_from_data(&id, set->replica_set_id);
    (void)BSON_APPEND_OID(&settings, "replicaSetId", &id);
    (void)BSON_APPEND_DOCUMENT(&config, "settings", &settings);
    (void)BSON_APPEND_UTF8(out, "insert", "system.replset");
    (void)BSON_APPEND_ARRAY_BEGIN(out, "documents", &documents);
    (void)BSON_APPEND_DOCUMENT(&documents, "0", &config);
    (void)bson_append_array_end(out, &documents);
    return HF_ERR_OK;
}

static enum hf_err drop_old(struct hf_recover *recover, struct hf_error *err)
{
    static const char *const gone[] = {"replset.election", "replset.minvalid",
                                       "replset.initialSyncId", "replset.oplogTruncateAfterPoint"};

    for (size_t i = 0; i < HF_ARRAY_LEN(gone); i++) {
        char command[128];
        (void)snprintf(command, sizeof command, "{\"drop\": \"%s\"}", gone[i]);
        enum hf_err result = hf_recover_run(recover, "local", command, err);
        if (result != HF_ERR_OK && result != HF_ERR_NOT_FOUND) {
            return result;
        }
    }
    /* A drop of it is refused. */
    return hf_recover_run(recover, "local",
                          "{\"delete\": \"system.replset\", \"deletes\": [{\"q\": {}, \"limit\": "
                          "0}]}",
                          err);
}

static enum hf_err write_new(struct hf_recover *recover, const bson_t *config, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    bson_oid_t id;
    bson_t documents;
    bson_t min_valid;

    bson_destroy(&reply);
    if (drop_old(recover, err) != HF_ERR_OK ||
        hf_recover_command(recover, "local", config, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    bson_oid_init(&id, NULL);
    (void)BSON_APPEND_UTF8(&command, "insert", "replset.minvalid");
    (void)BSON_APPEND_ARRAY_BEGIN(&command, "documents", &documents);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&documents, "0", &min_valid);
    (void)BSON_APPEND_OID(&min_valid, "_id", &id);
    (void)BSON_APPEND_INT64(&min_valid, "t", -1);
    (void)BSON_APPEND_TIMESTAMP(&min_valid, "ts", 0, 1);
    (void)bson_append_document_end(&documents, &min_valid);
    (void)bson_append_array_end(&command, &documents);
    bson_destroy(&reply);
    return hf_recover_command(recover, "local", &command, &reply, err);
}

enum hf_err hf_recover_set_config(const struct hf_recover_options *options,
                                  const struct hf_recover_set *set, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t config = BSON_INITIALIZER;
    HF_CLEANUP(hf_recover_drop) struct hf_recover *recover = NULL;
    const struct hf_bytes seed = hf_bytes_of(set->replica_set_id, sizeof set->replica_set_id);

    if (config_command(set, &config, err) != HF_ERR_OK ||
        hf_recover_start(options, HF_RECOVER_PLAIN, &recover, err) != HF_ERR_OK ||
        write_new(recover, &config, err) != HF_ERR_OK ||
        (set->login != NULL &&
         hf_recover_keep_login(recover, set->login, seed, err) != HF_ERR_OK) ||
        hf_recover_stop(HF_TAKE(recover), err) != HF_ERR_OK) {
        return hf_wrap(err, "make %s a member of the new set %s", options->dbpath, set->name);
    }
    return HF_ERR_OK;
}
