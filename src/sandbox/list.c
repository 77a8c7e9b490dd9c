/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the catalog holds and whether it is sound: lists, hashes, validation, sizes.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "sandbox/server_internal.h"

struct listing {
    char ns[HF_SANDBOX_NS_BYTES];
    const struct hf_sandbox_matcher *filter;
    bool name_only;
    struct hf_sandbox_docs docs;
};

static int32_t list(struct hf_sandbox_work *work, const char *db, struct hf_sandbox_coll ***colls,
                    size_t *count)
{
    return hf_sandbox_txn_list(work->txn, db, colls, count, &work->err) == HF_ERR_OK
               ? 0
               : hf_sandbox_work_refuse(work);
}

static int32_t run_read(struct hf_sandbox_call *call, hf_sandbox_work_body body, void *context)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};

    return hf_sandbox_work_run(&work, WORK_READ, body, context);
}

static int32_t get_filter(const struct hf_sandbox_call *call, struct hf_sandbox_matcher **out)
{
    bson_t filter;

    return hf_sandbox_get_doc(call->command, "filter", &filter)
               ? hf_sandbox_matcher_create(&filter, out, call->no)
               : 0;
}

/* Takes doc. */
static int32_t add_filtered(struct hf_sandbox_call *call, struct listing *listing, bson_t *doc)
{
    if (listing->filter != NULL && !hf_sandbox_matcher_test(listing->filter, doc)) {
        bson_destroy(doc);
        return 0;
    }
    return hf_sandbox_docs_add_take(&listing->docs, doc, call->no);
}

/* ---- listDatabases ---- */

static int32_t list_databases(struct hf_sandbox_work *work, void *context)
{
    struct listing *listing = context;
    struct hf_sandbox_coll **colls = NULL;
    size_t count = 0;
    int32_t code = list(work, NULL, &colls, &count);

    for (size_t i = 0; code == 0 && i < count;) {
        const char *ns = hf_sandbox_coll_ns(colls[i]);
        size_t len = strcspn(ns, ".") + 1;
        int64_t bytes = 0;
        bson_t *doc = bson_new();

        bson_append_utf8(doc, "name", -1, ns, (int)len - 1);
        for (; i < count && strncmp(hf_sandbox_coll_ns(colls[i]), ns, len) == 0; i++) {
            bytes += hf_sandbox_coll_disk_bytes(colls[i], true);
        }
        if (!listing->name_only) {
            bson_append_double(doc, "sizeOnDisk", -1, (double)bytes);
            bson_append_bool(doc, "empty", -1, false);
        }
        code = add_filtered(work->call, listing, doc);
    }
    hf_free(colls);
    return code;
}

int32_t hf_sandbox_cmd_list_databases(struct hf_sandbox_call *call)
{
    HF_CLEANUP(hf_sandbox_matcher_destroy) struct hf_sandbox_matcher *filter = NULL;
    struct listing listing = {.name_only = hf_sandbox_get_true(call->command, "nameOnly")};
    uint32_t index = 0;
    double total = 0;
    bson_t array;
    int32_t code = get_filter(call, &filter);

    listing.filter = filter;
    code = code != 0 ? code : run_read(call, list_databases, &listing);
    if (code == 0) {
        bson_append_array_begin(call->reply, "databases", -1, &array);
        for (size_t i = 0; i < listing.docs.count; i++) {
            bson_value_t value = hf_sandbox_value_of_doc(listing.docs.items[i]);
            bson_value_t size = hf_sandbox_value_of_double(0);
            hf_sandbox_append_element(&array, &index, &value);
            (void)hf_sandbox_get(listing.docs.items[i], "sizeOnDisk", &size);
            total += hf_sandbox_as_double(&size);
        }
        bson_append_array_end(call->reply, &array);
        if (!listing.name_only) {
            bson_append_double(call->reply, "totalSize", -1, total);
        }
    }
    hf_sandbox_docs_fini(&listing.docs);
    return code;
}

/* ---- listCollections, listIndexes ---- */

static int32_t list_collections(struct hf_sandbox_work *work, void *context)
{
    struct listing *listing = context;
    struct hf_sandbox_coll **colls = NULL;
    size_t count = 0;
    int32_t code = list(work, work->call->db, &colls, &count);

    for (size_t i = 0; code == 0 && i < count; i++) {
        bson_t *doc = BCON_NEW("name", BCON_UTF8(hf_sandbox_coll_name(colls[i])), "type",
                               BCON_UTF8("collection"));
        if (!listing->name_only) {
            bson_t info;
            bson_append_document(doc, "options", -1, hf_sandbox_coll_options(colls[i]));
            bson_append_document_begin(doc, "info", -1, &info);
            bson_append_bool(&info, "readOnly", -1, false);
            bson_append_binary(&info, "uuid", -1, BSON_SUBTYPE_UUID, hf_sandbox_coll_uuid(colls[i]),
                               16);
            bson_append_document_end(doc, &info);
            if (hf_sandbox_coll_index_count(colls[i]) > 0) {
                bson_append_document(doc, "idIndex", -1, hf_sandbox_coll_index(colls[i], 0));
            }
        }
        code = add_filtered(work->call, listing, doc);
    }
    hf_free(colls);
    return code;
}

/* Takes docs. */
static int32_t answer_docs(struct hf_sandbox_call *call, const char *ns,
                           struct hf_sandbox_docs *docs)
{
    struct hf_sandbox_cursor *cursor = hf_sandbox_cursor_create(call, ns);
    bson_t options;

    cursor->docs = *docs;
    cursor->id_first = true;
    *docs = (struct hf_sandbox_docs){0};
    return hf_sandbox_cursor_begin_take(call, cursor,
                                        hf_sandbox_get_doc(call->command, "cursor", &options)
                                            ? hf_sandbox_get_int64(&options, "batchSize", -1)
                                            : -1,
                                        false);
}

int32_t hf_sandbox_cmd_list_collections(struct hf_sandbox_call *call)
{
    HF_CLEANUP(hf_sandbox_matcher_destroy) struct hf_sandbox_matcher *filter = NULL;
    struct listing listing = {.name_only = hf_sandbox_get_true(call->command, "nameOnly")};
    int32_t code = get_filter(call, &filter);

    listing.filter = filter;
    (void)snprintf(listing.ns, sizeof listing.ns, "%s.$cmd.listCollections", call->db);
    code = code != 0 ? code : run_read(call, list_collections, &listing);
    code = code != 0 ? code : answer_docs(call, listing.ns, &listing.docs);
    hf_sandbox_docs_fini(&listing.docs);
    return code;
}

static int32_t list_indexes(struct hf_sandbox_work *work, void *context)
{
    struct listing *listing = context;
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, listing->ns);
    int32_t code = 0;

    if (coll == NULL) {
        return hf_sandbox_refuse(work->call->no, HF_SANDBOX_NAMESPACE_NOT_FOUND,
                                 "ns does not exist: %s", listing->ns);
    }
    for (size_t i = 0; code == 0 && i < hf_sandbox_coll_index_count(coll); i++) {
        code = hf_sandbox_docs_add_take(&listing->docs, bson_copy(hf_sandbox_coll_index(coll, i)),
                                        work->call->no);
    }
    return code;
}

int32_t hf_sandbox_cmd_list_indexes(struct hf_sandbox_call *call)
{
    struct listing listing = {0};
    int32_t code = hf_sandbox_call_ns(call, listing.ns);

    code = code != 0 ? code : run_read(call, list_indexes, &listing);
    code = code != 0 ? code : answer_docs(call, listing.ns, &listing.docs);
    hf_sandbox_docs_fini(&listing.docs);
    return code;
}

/* ---- dbHash ---- */

struct hashing {
    EVP_MD_CTX *all; /* owned: over the hashes of the collections */
};

static void digest_hex(EVP_MD_CTX *context, char out[33])
{
    uint8_t bytes[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    HF_ASSERT(EVP_DigestFinal_ex(context, bytes, &len) == 1 && len == 16);
    hf_hex_encode(hf_bytes_of(bytes, 16), out);
}

/* MD5 of the documents in the order of _id; a capped collection is hashed in its own order where it has no _id. */
static int32_t hash_coll(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll, char out[33])
{
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    struct hf_sandbox_scan_options options = {
        .index = hf_sandbox_coll_index_count(coll) > 0 ? "_id_" : NULL};
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool found = true;
    enum hf_err rc;
    int32_t code = 0;

    HF_ASSERT(context != NULL && EVP_DigestInit_ex(context, EVP_md5(), NULL) == 1);
    rc = hf_sandbox_scan_open(work->txn, coll, &options, &scan, &work->err);
    for (unsigned seen = 1; rc == HF_ERR_OK && code == 0 && found; seen++) {
        bson_t doc;
        rc = hf_sandbox_scan_next(scan, &found, NULL, &doc, &work->err);
        if (rc == HF_ERR_OK && found) {
            HF_ASSERT(EVP_DigestUpdate(context, bson_get_data(&doc), doc.len) == 1);
        }
        code = seen % 256 == 0 ? hf_sandbox_call_check(work->call) : 0;
    }
    digest_hex(context, out);
    EVP_MD_CTX_free(context);
    return rc == HF_ERR_OK ? code : hf_sandbox_work_refuse(work);
}

/* Only what every member has alike. */
static bool is_hashed(const struct hf_sandbox_call *call, const char *ns)
{
    static const char *const system_names[] = {"system.users", "system.roles", "system.version",
                                               "system.js", "system.views"};
    const char *name = ns + strcspn(ns, ".") + 1;
    bson_iter_t iter;
    bson_t chosen;

    if (strncmp(ns, "local.", 6) == 0 || strcmp(ns, "config.transactions") == 0) {
        return false;
    }
    if (strncmp(name, "system.", 7) == 0) {
        bool replicated = false;
        for (size_t i = 0; i < HF_ARRAY_LEN(system_names); i++) {
            replicated = replicated || strcmp(name, system_names[i]) == 0;
        }
        return replicated;
    }
    if (hf_sandbox_get_doc(call->command, "collections", &chosen) && !bson_empty(&chosen) &&
        bson_iter_init(&iter, &chosen)) {
        while (bson_iter_next(&iter)) {
            if (BSON_ITER_HOLDS_UTF8(&iter) && strcmp(bson_iter_utf8(&iter, NULL), name) == 0) {
                return true;
            }
        }
        return false;
    }
    return true;
}

static int32_t db_hash(struct hf_sandbox_work *work, void *context)
{
    struct hashing *hashing = context;
    struct hf_sandbox_coll **colls = NULL;
    size_t count = 0;
    bson_t hashes = BSON_INITIALIZER;
    bson_t capped = BSON_INITIALIZER;
    bson_t uuids = BSON_INITIALIZER;
    uint32_t capped_count = 0;
    int32_t code = list(work, work->call->db, &colls, &count);

    HF_ASSERT(EVP_DigestInit_ex(hashing->all, EVP_md5(), NULL) == 1);
    bson_reinit(work->call->reply);
    for (size_t i = 0; code == 0 && i < count; i++) {
        const char *name = hf_sandbox_coll_name(colls[i]);
        char hex[33];
        if (!is_hashed(work->call, hf_sandbox_coll_ns(colls[i]))) {
            continue;
        }
        code = hash_coll(work, colls[i], hex);
        HF_ASSERT(EVP_DigestUpdate(hashing->all, hex, 32) == 1);
        bson_append_utf8(&hashes, name, -1, hex, -1);
        bson_append_binary(&uuids, name, -1, BSON_SUBTYPE_UUID, hf_sandbox_coll_uuid(colls[i]), 16);
        if (hf_sandbox_coll_capped(colls[i])) {
            bson_value_t value = hf_sandbox_value_of_utf8(name);
            hf_sandbox_append_element(&capped, &capped_count, &value);
        }
    }
    hf_free(colls);
    bson_append_utf8(work->call->reply, "host", -1, work->call->server->pretty_host, -1);
    bson_append_document(work->call->reply, "collections", -1, &hashes);
    bson_append_array(work->call->reply, "capped", -1, &capped);
    bson_append_document(work->call->reply, "uuids", -1, &uuids);
    bson_destroy(&hashes);
    bson_destroy(&capped);
    bson_destroy(&uuids);
    return code;
}

int32_t hf_sandbox_cmd_db_hash(struct hf_sandbox_call *call)
{
    struct hashing hashing = {.all = EVP_MD_CTX_new()};
    uint64_t started = hf_clock_mono_ms();
    char hex[33];
    int32_t code;

    HF_ASSERT(hashing.all != NULL);
    code = run_read(call, db_hash, &hashing);
    if (code == 0) {
        digest_hex(hashing.all, hex);
        bson_append_utf8(call->reply, "md5", -1, hex, -1);
        bson_append_int32(call->reply, "timeMillis", -1, (int32_t)(hf_clock_mono_ms() - started));
    }
    EVP_MD_CTX_free(hashing.all);
    return code;
}

/* ---- validate ---- */

/* Entries of an index, or records of the collection when index is NULL; *sound false when a document is broken. */
static int32_t count_entries(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll,
                             const char *index, int64_t *count, int64_t *broken)
{
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    struct hf_sandbox_scan_options options = {.index = index};
    bool found = true;
    enum hf_err rc = hf_sandbox_scan_open(work->txn, coll, &options, &scan, &work->err);
    int32_t code = 0;

    for (*count = 0; rc == HF_ERR_OK && code == 0 && found; *count += found) {
        bson_t doc;
        rc = hf_sandbox_scan_next(scan, &found, NULL, &doc, &work->err);
        *broken += rc == HF_ERR_OK && found && index == NULL && !hf_sandbox_doc_valid(&doc);
        code = *count % 256 == 255 ? hf_sandbox_call_check(work->call) : 0;
    }
    return rc == HF_ERR_OK ? code : hf_sandbox_work_refuse(work);
}

static int32_t validate(struct hf_sandbox_work *work, void *context)
{
    static const char *const lists[] = {"warnings", "errors", "extraIndexEntries",
                                        "missingIndexEntries"};
    const char *ns = context;
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, ns);
    bson_t *reply = work->call->reply;
    bson_t keys = BSON_INITIALIZER;
    bson_t details = BSON_INITIALIZER;
    bson_t nothing = BSON_INITIALIZER;
    int64_t records = 0;
    int64_t broken = 0;
    bool valid = true;
    int32_t code;

    if (coll == NULL) {
        return hf_sandbox_refuse(work->call->no, HF_SANDBOX_NAMESPACE_NOT_FOUND,
                                 "Collection '%s' does not exist to validate.", ns);
    }
    bson_reinit(reply);
    code = count_entries(work, coll, NULL, &records, &broken);
    for (size_t i = 0; code == 0 && i < hf_sandbox_coll_index_count(coll); i++) {
        const bson_t *spec = hf_sandbox_coll_index(coll, i);
        const char *name = hf_sandbox_get_utf8(spec, "name", "");
        int64_t entries = 0;
        bool whole = hf_sandbox_coll_index_usable(coll, i) &&
                     !hf_sandbox_coll_index_multikey(coll, i) &&
                     !hf_sandbox_get_true(spec, "sparse") &&
                     !bson_has_field(spec, "partialFilterExpression");
        if (hf_sandbox_coll_index_usable(coll, i)) {
            code = count_entries(work, coll, name, &entries, &broken);
        }
        bson_t detail;
        bool good = !whole || entries == records;
        valid = valid && good;
        bson_append_int32(&keys, name, -1, (int32_t)entries);
        bson_append_document_begin(&details, name, -1, &detail);
        bson_append_bool(&detail, "valid", -1, good);
        bson_append_document_end(&details, &detail);
    }
    if (code == 0 && hf_sandbox_coll_recount(work->txn, coll, &work->err) != HF_ERR_OK) {
        code = hf_sandbox_work_refuse(work);
    }
    bson_append_utf8(reply, "ns", -1, ns, -1);
    bson_append_int32(reply, "nInvalidDocuments", -1, (int32_t)broken);
    bson_append_int32(reply, "nrecords", -1, (int32_t)records);
    bson_append_int32(reply, "nIndexes", -1, (int32_t)hf_sandbox_coll_index_count(coll));
    bson_append_document(reply, "keysPerIndex", -1, &keys);
    bson_append_document(reply, "indexDetails", -1, &details);
    bson_append_bool(reply, "valid", -1, valid && broken == 0);
    for (size_t i = 0; i < HF_ARRAY_LEN(lists); i++) {
        bson_append_array(reply, lists[i], -1, &nothing);
    }
    bson_destroy(&keys);
    bson_destroy(&details);
    return code;
}

int32_t hf_sandbox_cmd_validate(struct hf_sandbox_call *call)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
    char ns[HF_SANDBOX_NS_BYTES];
    int32_t code = hf_sandbox_call_ns(call, ns);

    /* It sets the fast counts right, but writes nothing: a read-only node can do it. */
    return code != 0 ? code : hf_sandbox_work_run(&work, WORK_READ, validate, ns);
}

/* ---- collStats, dbStats ---- */

static int32_t coll_stats(struct hf_sandbox_work *work, void *context)
{
    const char *ns = context;
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, ns);
    bson_t *reply = work->call->reply;
    int64_t records, bytes, data, all;

    bson_append_utf8(reply, "ns", -1, ns, -1);
    records = coll == NULL ? 0 : hf_sandbox_coll_records(coll);
    bytes = coll == NULL ? 0 : hf_sandbox_coll_bytes(coll);
    data = coll == NULL ? 0 : hf_sandbox_coll_disk_bytes(coll, false);
    all = coll == NULL ? 0 : hf_sandbox_coll_disk_bytes(coll, true);
    bson_append_int64(reply, "size", -1, bytes);
    bson_append_int64(reply, "count", -1, records);
    if (records > 0) {
        bson_append_int64(reply, "avgObjSize", -1, bytes / records);
    }
    bson_append_int64(reply, "storageSize", -1, data);
    bson_append_bool(reply, "capped", -1, coll != NULL && hf_sandbox_coll_capped(coll));
    bson_append_int32(reply, "nindexes", -1,
                      coll == NULL ? 0 : (int32_t)hf_sandbox_coll_index_count(coll));
    bson_append_int64(reply, "totalIndexSize", -1, all - data);
    bson_append_int64(reply, "totalSize", -1, all);
    bson_append_int32(reply, "scaleFactor", -1, 1);
    return 0;
}

int32_t hf_sandbox_cmd_coll_stats(struct hf_sandbox_call *call)
{
    char ns[HF_SANDBOX_NS_BYTES];
    int32_t code = hf_sandbox_call_ns(call, ns);

    return code != 0 ? code : run_read(call, coll_stats, ns);
}

static int32_t db_stats(struct hf_sandbox_work *work, void *context)
{
    struct hf_sandbox_coll **colls = NULL;
    size_t count = 0;
    size_t indexes = 0;
    double objects = 0, data = 0, storage = 0, all = 0;
    bson_t *reply = work->call->reply;
    int32_t code = list(work, work->call->db, &colls, &count);

    (void)context;
    for (size_t i = 0; code == 0 && i < count; i++) {
        objects += (double)hf_sandbox_coll_records(colls[i]);
        data += (double)hf_sandbox_coll_bytes(colls[i]);
        storage += (double)hf_sandbox_coll_disk_bytes(colls[i], false);
        all += (double)hf_sandbox_coll_disk_bytes(colls[i], true);
        indexes += hf_sandbox_coll_index_count(colls[i]);
    }
    hf_free(colls);
    bson_append_utf8(reply, "db", -1, work->call->db, -1);
    bson_append_int32(reply, "collections", -1, (int32_t)count);
    bson_append_int32(reply, "views", -1, 0);
    bson_append_int64(reply, "objects", -1, (int64_t)objects);
    bson_append_double(reply, "avgObjSize", -1, objects > 0 ? data / objects : 0);
    bson_append_double(reply, "dataSize", -1, data);
    bson_append_double(reply, "storageSize", -1, storage);
    bson_append_int32(reply, "indexes", -1, (int32_t)indexes);
    bson_append_double(reply, "indexSize", -1, all - storage);
    bson_append_double(reply, "totalSize", -1, all);
    bson_append_double(reply, "scaleFactor", -1, 1);
    return code;
}

int32_t hf_sandbox_cmd_db_stats(struct hf_sandbox_call *call)
{
    return run_read(call, db_stats, NULL);
}
