/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Index builds that have not ended, as a set notes them: one document each in config.system.indexBuilds, put there before
 * the build's first entry of the oplog and taken away after its last (mongodb-observed.md 4). Releases before 4.4 have none.
 */
#include <string.h>

#include "base/alloc.h"
#include "mongo/recover_internal.h"

#define BUILDS_MAX 1000
#define INDEXES_MAX 1000

struct visit {
    struct hf_recover *recover;
    hf_recover_half_made_visit visit;
    void *context;
};

static enum hf_err find_builds(struct hf_recover *recover, bson_t *reply, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;

    (void)BSON_APPEND_UTF8(&command, "find", "system.indexBuilds");
    (void)BSON_APPEND_INT32(&command, "batchSize", BUILDS_MAX);
    return hf_recover_command(recover, "config", &command, reply, err);
}

/* The name of the collection with that UUID in the database; NULL: it has none. Borrowed from reply. */
static enum hf_err find_collection(struct hf_recover *recover, const char *database,
                                   const uint8_t uuid[16], bson_t *reply, const char **out,
                                   struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    bson_t filter;

    (void)BSON_APPEND_INT32(&command, "listCollections", 1);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&command, "filter", &filter);
    (void)BSON_APPEND_BINARY(&filter, "info.uuid", BSON_SUBTYPE_UUID, uuid, 16);
    (void)bson_append_document_end(&command, &filter);
    if (hf_recover_command(recover, database, &command, reply, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = hf_mongo_get_text(reply, "cursor.firstBatch.0.name");
    return HF_ERR_OK;
}

/* The collection's index of that name is there and whole: one that is not is shown with its build around it. */
static bool is_whole(const bson_t *batch, const char *name)
{
    bson_iter_t iter;
    bson_t index;

    if (!bson_iter_init(&iter, batch)) {
        return false;
    }
    while (bson_iter_next(&iter)) {
        const char *found =
            hf_mongo_iter_doc(&iter, &index) ? hf_mongo_get_text(&index, "name") : NULL;
        if (found != NULL && strcmp(found, name) == 0) {
            return true;
        }
    }
    return false;
}

static enum hf_err visit_indexes(const struct visit *visit, const bson_t *build,
                                 const char *database, const char *collection, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    HF_CLEANUP(hf_free) char *space = hf_asprintf("%s.%s", database, collection);
    struct hf_recover_half_made half = {.collection = space};
    bson_t names, batch, cursor;
    bson_iter_t iter;

    if (space == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s", collection);
    }
    (void)BSON_APPEND_UTF8(&command, "listIndexes", collection);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&command, "cursor", &cursor);
    (void)BSON_APPEND_INT32(&cursor, "batchSize", INDEXES_MAX);
    (void)bson_append_document_end(&command, &cursor);
    (void)BSON_APPEND_BOOL(&command, "includeBuildUUIDs", true);
    bson_destroy(&reply);
    if (hf_recover_command(visit->recover, database, &command, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_mongo_get_uuid(build, "_id", half.build) ||
        !hf_mongo_get_doc(build, "indexNames", &names) ||
        !hf_mongo_get_doc(&reply, "cursor.firstBatch", &batch) || !bson_iter_init(&iter, &names)) {
        return hf_fail(err, HF_ERR_CORRUPT, "an index build of %s", space);
    }
    while (bson_iter_next(&iter)) {
        half.index = BSON_ITER_HOLDS_UTF8(&iter) ? bson_iter_utf8(&iter, NULL) : NULL;
        if (half.index != NULL && !is_whole(&batch, half.index) &&
            visit->visit(visit->context, &half, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err visit_build(const struct visit *visit, const bson_t *databases,
                               const bson_t *build, struct hf_error *err)
{
    uint8_t uuid[16];
    bson_iter_t iter;
    bson_t one;

    if (!hf_mongo_get_uuid(build, "collectionUUID", uuid) || !bson_iter_init(&iter, databases)) {
        return hf_fail(err, HF_ERR_CORRUPT, "an index build of no collection");
    }
    while (bson_iter_next(&iter)) {
        HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
        const char *database =
            hf_mongo_iter_doc(&iter, &one) ? hf_mongo_get_text(&one, "name") : NULL;
        const char *collection = NULL;
        if (database == NULL) {
            continue;
        }
        bson_destroy(&reply);
        if (find_collection(visit->recover, database, uuid, &reply, &collection, err) !=
            HF_ERR_OK) {
            return err->code;
        }
        if (collection != NULL) {
            return visit_indexes(visit, build, database, collection, err);
        }
    }
    return HF_ERR_OK; /* it was dropped */
}

enum hf_err hf_recover_half_made(struct hf_recover *recover, hf_recover_half_made_visit function,
                                 void *context, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t found = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    const struct visit visit = {.recover = recover, .visit = function, .context = context};
    bson_t builds, build, databases;
    bson_iter_t iter;

    bson_destroy(&found);
    if (find_builds(recover, &found, err) != HF_ERR_OK) {
        return hf_wrap(err, "index builds");
    }
    if (!hf_mongo_get_doc(&found, "cursor.firstBatch.0", &build)) {
        return HF_ERR_OK;
    }
    (void)BSON_APPEND_INT32(&command, "listDatabases", 1);
    (void)BSON_APPEND_BOOL(&command, "nameOnly", true);
    bson_destroy(&reply);
    if (hf_recover_command(recover, "admin", &command, &reply, err) != HF_ERR_OK) {
        return hf_wrap(err, "index builds");
    }
    if (!hf_mongo_get_doc(&reply, "databases", &databases) ||
        !hf_mongo_get_doc(&found, "cursor.firstBatch", &builds) ||
        !bson_iter_init(&iter, &builds)) {
        return hf_fail(err, HF_ERR_CORRUPT, "index builds");
    }
    while (bson_iter_next(&iter)) {
        if (hf_mongo_iter_doc(&iter, &build) &&
            visit_build(&visit, &databases, &build, err) != HF_ERR_OK) {
            return hf_wrap(err, "index builds");
        }
    }
    return HF_ERR_OK;
}
