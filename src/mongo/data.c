/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Databases and collections of a server, with hashes and counts, so that two of them can be compared. Everything is
 * sorted by name, because servers list in any order. Must not know what is compared with what.
 */
#include "mongo/data.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "mongo/client_internal.h"
#include "mongo/reply_internal.h"

static void collection_fini(struct hf_mongo_collection *collection)
{
    hf_free(collection->name);
    hf_free(collection->type);
    hf_free(collection->options);
    hf_free(collection->md5);
}

static void database_fini(struct hf_mongo_database *database)
{
    for (size_t i = 0; i < database->collection_count; i++) {
        collection_fini(&database->collections[i]);
    }
    hf_free(database->collections);
    hf_free(database->name);
    hf_free(database->md5);
}

void hf_mongo_data_fini(struct hf_mongo_data *data)
{
    for (size_t i = 0; i < data->database_count; i++) {
        database_fini(&data->databases[i]);
    }
    hf_free(HF_TAKE(data->databases));
    data->database_count = 0;
}

const struct hf_mongo_collection *hf_mongo_data_collection(const struct hf_mongo_data *data,
                                                           const char *database,
                                                           const char *collection)
{
    for (size_t i = 0; i < data->database_count; i++) {
        const struct hf_mongo_database *one = &data->databases[i];

        for (size_t j = 0; strcmp(one->name, database) == 0 && j < one->collection_count; j++) {
            if (strcmp(one->collections[j].name, collection) == 0) {
                return &one->collections[j];
            }
        }
    }
    return NULL;
}

static int compare_collections(const void *left, const void *right)
{
    const struct hf_mongo_collection *a = left;
    const struct hf_mongo_collection *b = right;
    return strcmp(a->name, b->name);
}

static int compare_databases(const void *left, const void *right)
{
    const struct hf_mongo_database *a = left;
    const struct hf_mongo_database *b = right;
    return strcmp(a->name, b->name);
}

/* ---- Listing ---- */

static char *json_of(const bson_t *document)
{
    char *text = bson_as_canonical_extended_json(document, NULL);
    char *copy = text == NULL ? NULL : hf_strdup(text);

    bson_free(text);
    return copy;
}

static enum hf_err visit_collection(void *argument, const bson_t *document, struct hf_error *err)
{
    struct hf_mongo_database *database = argument;
    const char *name = hf_mongo_get_text(document, "name");
    const char *type = hf_mongo_get_text(document, "type");
    struct hf_mongo_collection one = {.name = NULL};
    bson_t none = BSON_INITIALIZER;
    bson_t options;

    if (name == NULL) {
        return hf_fail(err, HF_ERR_CORRUPT, "a collection without name");
    }
    struct hf_mongo_collection *all =
        hf_realloc_array(database->collections, database->collection_count + 1, sizeof *all);
    if (all == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "collection %s", name);
    }
    database->collections = all;
    bool has_options = hf_mongo_get_doc(document, "options", &options);
    one.name = hf_strdup(name);
    one.type = hf_strdup(type != NULL ? type : "collection");
    one.options = json_of(has_options ? &options : &none);
    one.md5 = hf_strdup("");
    one.capped = hf_mongo_get_bool(document, "options.capped", false);
    all[database->collection_count++] = one;
    if (one.name == NULL || one.type == NULL || one.options == NULL || one.md5 == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "collection %s", name);
    }
    return HF_ERR_OK;
}

static enum hf_err list_collections(struct hf_mongo_client *client,
                                    struct hf_mongo_database *database, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    bson_t cursor;

    (void)BSON_APPEND_INT32(&command, "listCollections", 1);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&command, "cursor", &cursor);
    (void)bson_append_document_end(&command, &cursor);
    if (hf_mongo_walk(client, database->name, &command, visit_collection, database, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    if (database->collection_count > 0) {
        qsort(database->collections, database->collection_count, sizeof *database->collections,
              compare_collections);
    }
    return HF_ERR_OK;
}

/* ---- Hash and count ---- */

static enum hf_err hash_database(struct hf_mongo_client *client, struct hf_mongo_database *database,
                                 struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    bson_t hashes;
    bson_iter_t iter;
    const char *md5;

    (void)BSON_APPEND_INT32(&command, "dbHash", 1);
    bson_destroy(&reply);
    if (hf_mongo_command(client, database->name, &command, NULL, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    md5 = hf_mongo_get_text(&reply, "md5");
    if (md5 == NULL || !hf_mongo_get_doc(&reply, "collections", &hashes)) {
        return hf_fail(err, HF_ERR_CORRUPT, "dbHash: no md5 or no collections");
    }
    hf_free(database->md5);
    database->md5 = hf_strdup(md5);
    if (database->md5 == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "dbHash");
    }
    for (size_t i = 0; i < database->collection_count; i++) {
        struct hf_mongo_collection *one = &database->collections[i];

        /* Not a dotted path: names of collections have dots. */
        if (!bson_iter_init_find(&iter, &hashes, one->name) || !BSON_ITER_HOLDS_UTF8(&iter)) {
            continue;
        }
        hf_free(one->md5);
        one->md5 = hf_strdup(bson_iter_utf8(&iter, NULL));
        if (one->md5 == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "dbHash");
        }
    }
    return HF_ERR_OK;
}

static enum hf_err visit_count(void *argument, const bson_t *document, struct hf_error *err)
{
    struct hf_mongo_collection *collection = argument;
    int64_t count = hf_mongo_get_int(document, "n", -1);

    if (count < 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "$count gave no number");
    }
    collection->count = (uint64_t)count;
    return HF_ERR_OK;
}

/* By going through it: the number that a server keeps is wrong after recovery (observed 6). */
static enum hf_err count_collection(struct hf_mongo_client *client, const char *database,
                                    struct hf_mongo_collection *collection, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t rest = BSON_INITIALIZER;

    bson_destroy(&rest);
    if (hf_mongo_json_to_bson("{\"pipeline\": [{\"$count\": \"n\"}], \"cursor\": {}}", &rest,
                              err) != HF_ERR_OK) {
        return err->code;
    }
    (void)BSON_APPEND_UTF8(&command, "aggregate", collection->name);
    (void)bson_concat(&command, &rest);
    return hf_mongo_walk(client, database, &command, visit_count, collection, err);
}

static enum hf_err read_database(struct hf_mongo_client *client,
                                 const struct hf_mongo_data_options *options,
                                 struct hf_mongo_database *database, struct hf_error *err)
{
    if (hf_cancel_check(options->cancel, err) != HF_ERR_OK ||
        list_collections(client, database, err) != HF_ERR_OK ||
        (!options->no_hash && hash_database(client, database, err) != HF_ERR_OK)) {
        return hf_wrap(err, "database %s", database->name);
    }
    for (size_t i = 0; options->count && i < database->collection_count; i++) {
        struct hf_mongo_collection *one = &database->collections[i];

        if (hf_cancel_check(options->cancel, err) != HF_ERR_OK ||
            (strcmp(one->type, "view") != 0 &&
             count_collection(client, database->name, one, err) != HF_ERR_OK)) {
            return hf_wrap(err, "collection %s.%s", database->name, one->name);
        }
    }
    return HF_ERR_OK;
}

/* ---- All ---- */

static enum hf_err add_database(struct hf_mongo_data *data, const char *name, struct hf_error *err)
{
    struct hf_mongo_database *all =
        hf_realloc_array(data->databases, data->database_count + 1, sizeof *all);

    if (all == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "database %s", name);
    }
    data->databases = all;
    struct hf_mongo_database one = {.name = hf_strdup(name), .md5 = hf_strdup("")};
    all[data->database_count++] = one;
    if (one.name == NULL || one.md5 == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "database %s", name);
    }
    return HF_ERR_OK;
}

static enum hf_err list_databases(struct hf_mongo_client *client, bool with_local,
                                  struct hf_mongo_data *data, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    bson_t list;
    bson_iter_t iter;

    (void)BSON_APPEND_INT32(&command, "listDatabases", 1);
    (void)BSON_APPEND_BOOL(&command, "nameOnly", true);
    bson_destroy(&reply);
    if (hf_mongo_command(client, "admin", &command, NULL, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_mongo_get_doc(&reply, "databases", &list) || !bson_iter_init(&iter, &list)) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s: listDatabases: no list", client->host);
    }
    while (bson_iter_next(&iter)) {
        bson_t one;
        const char *name = hf_mongo_iter_doc(&iter, &one) ? hf_mongo_get_text(&one, "name") : NULL;

        if (name == NULL) {
            return hf_fail(err, HF_ERR_CORRUPT, "%s: listDatabases: one without name",
                           client->host);
        }
        if ((with_local || strcmp(name, "local") != 0) &&
            add_database(data, name, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_mongo_data_read(struct hf_mongo_client *client,
                               const struct hf_mongo_data_options *options,
                               struct hf_mongo_data *out, struct hf_error *err)
{
    HF_CLEANUP(hf_mongo_data_fini) struct hf_mongo_data data = {.databases = NULL};

    enum hf_err result = options->database != NULL
                             ? add_database(&data, options->database, err)
                             : list_databases(client, options->with_local, &data, err);
    for (size_t i = 0; result == HF_ERR_OK && i < data.database_count; i++) {
        result = read_database(client, options, &data.databases[i], err);
    }
    if (result != HF_ERR_OK) {
        return hf_wrap(err, "read data");
    }
    if (data.database_count > 0) {
        qsort(data.databases, data.database_count, sizeof *data.databases, compare_databases);
    }
    *out = data;
    data = (struct hf_mongo_data){.databases = NULL};
    return HF_ERR_OK;
}
