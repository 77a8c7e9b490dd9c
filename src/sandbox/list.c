/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the catalog holds and whether it is sound: lists, hashes, validation, sizes.
 */
#include <stdio.h>
#include <string.h>

#include "codec/hash.h"
#include "sandbox/server_internal.h"

static int32_t list(struct hf_sandbox_work *work, const char *db, struct hf_sandbox_coll ***colls,
                    size_t *count)
{
    return hf_sandbox_work_code(work, hf_sandbox_txn_list(work->txn, db, colls, count, &work->err));
}

/* ---- listDatabases, listCollections, listIndexes ---- */

int32_t hf_sandbox_body_list_databases(struct hf_sandbox_work *work)
{
    HF_CLEANUP(hf_free) struct hf_sandbox_coll **colls = NULL;
    bool name_only = hf_sandbox_get_true(work->call->command, "nameOnly");
    double total = 0;
    uint32_t index = 0;
    size_t count = 0;
    bson_t array;
    int32_t code = list(work, NULL, &colls, &count);

    bson_append_array_begin(work->call->reply, "databases", -1, &array);
    for (size_t i = 0; i < count;) {
        const char *name = colls[i]->ns;
        size_t len = strcspn(name, ".") + 1;
        OWNED_DOC *doc = bson_new();
        double bytes = 0;

        bson_append_utf8(doc, "name", -1, name, (int)len - 1);
        for (; i < count && strncmp(colls[i]->ns, name, len) == 0; i++) {
            bytes += (double)hf_sandbox_coll_disk_bytes(colls[i]);
        }
        if (!name_only) {
            BCON_APPEND(doc, "sizeOnDisk", BCON_DOUBLE(bytes), "empty", BCON_BOOL(false));
        }
        total += bytes;
        hf_sandbox_append_doc(&array, &index, doc);
    }
    bson_append_array_end(work->call->reply, &array);
    if (!name_only) {
        bson_append_double(work->call->reply, "totalSize", -1, total);
    }
    return code;
}

int32_t hf_sandbox_body_list_collections(struct hf_sandbox_work *work)
{
    HF_CLEANUP(hf_free) struct hf_sandbox_coll **colls = NULL;
    struct hf_sandbox_call *call = work->call;
    char ns[HF_SANDBOX_NS_BYTES + 16];
    size_t count = 0;
    bson_t filter = BSON_INITIALIZER;
    int32_t code = list(work, call->db, &colls, &count);

    (void)snprintf(ns, sizeof ns, "%s.listCollections", call->ns);
    struct hf_sandbox_cursor *cursor = hf_sandbox_cursor_create(call, ns);
    if (code == 0 && hf_sandbox_get_doc(call->command, "filter", &filter)) {
        code = hf_sandbox_filter_check(&filter, call->no);
    }
    for (size_t i = 0; code == 0 && i < count; i++) {
        bson_t *doc = BCON_NEW("name", BCON_UTF8(colls[i]->name), "type", "collection");
        if (!hf_sandbox_get_true(call->command, "nameOnly")) {
            BCON_APPEND(doc, "options", BCON_DOCUMENT(colls[i]->options), "info", "{", "readOnly",
                        BCON_BOOL(false), "uuid", BCON_BIN(BSON_SUBTYPE_UUID, colls[i]->uuid, 16),
                        "}");
            if (colls[i]->index_count > 0) {
                bson_append_document(doc, "idIndex", -1, colls[i]->indexes[0]->spec);
            }
        }
        if (!hf_sandbox_filter_test(&filter, doc)) {
            bson_destroy(doc);
        } else {
            code = hf_sandbox_docs_add_take(&cursor->docs, doc, call->no);
        }
    }
    return hf_sandbox_cursor_begin_take(call, cursor, code);
}

int32_t hf_sandbox_body_list_indexes(struct hf_sandbox_work *work)
{
    struct hf_sandbox_cursor *cursor = hf_sandbox_cursor_create(work->call, work->call->ns);
    struct hf_sandbox_coll *coll;
    int32_t code = hf_sandbox_work_find(work, &coll);

    for (size_t i = 0; code == 0 && i < coll->index_count; i++) {
        code = hf_sandbox_docs_add_take(&cursor->docs, bson_copy(coll->indexes[i]->spec),
                                        work->call->no);
    }
    return hf_sandbox_cursor_begin_take(work->call, cursor, code);
}

/* ---- dbHash, validate ---- */

/* Shows the documents in the order of an index, in its own where that is NULL. */
static int32_t walk(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll, const char *index,
                    hf_sandbox_query_visit visit, void *context)
{
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    struct hf_sandbox_scan_options options = {.index = index};
    enum hf_err rc = hf_sandbox_scan_open(work->txn, coll, &options, &scan, &work->err);
    bool more = rc == HF_ERR_OK;
    int32_t code = 0;

    for (unsigned seen = 1; more && code == 0; seen++) {
        int64_t record;
        bson_t doc;
        rc = hf_sandbox_scan_next(scan, &more, &record, &doc, &work->err);
        more = rc == HF_ERR_OK && more && visit(record, &doc, context);
        code = seen % 256 == 0 ? hf_sandbox_call_check(work->call) : 0;
    }
    return code != 0 ? code : hf_sandbox_work_code(work, rc);
}

struct counting {
    int64_t count, bytes, broken; /* broken: cannot be read to their end */
};

static bool count_doc(int64_t record, const bson_t *doc, void *context)
{
    struct counting *counting = context;

    (void)record;
    counting->count++;
    counting->bytes += (int64_t)doc->len;
    counting->broken += !hf_sandbox_doc_valid(doc);
    return true;
}

struct hashing {
    struct hf_sandbox_refusal *no;
    struct hf_md5 *md5;            /* owned */
    struct hf_sandbox_docs places; /* {_id, at: record} */
    int32_t code;
};

static bool note_place(int64_t record, const bson_t *doc, void *context)
{
    struct hashing *hashing = context;
    bson_t *place = BCON_NEW("at", BCON_INT64(record));
    bson_value_t id = hf_sandbox_value_missing;

    (void)hf_sandbox_get(doc, "_id", &id);
    hf_sandbox_append(place, "_id", &id);
    hashing->code = hf_sandbox_docs_add_take(&hashing->places, place, hashing->no);
    return hashing->code == 0;
}

static bool hash_doc(int64_t record, const bson_t *doc, void *context)
{
    const struct hashing *hashing = context;

    (void)record;
    hf_md5_update(hashing->md5, hf_bytes_of(bson_get_data(doc), doc->len));
    return true;
}

/* In hex the MD5 of the documents one after the other, as the real server has them: in the order of their _id, those
 * of a capped collection in its own. Our index on _id is in another one. */
static int32_t hash_coll(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll,
                         struct hashing *hashing, char hex[33])
{
    OWNED_DOC *stages = BCON_NEW("0", "{", "$sort", "{", "_id", BCON_INT32(1), "}", "}");
    bool sorted = !coll->capped && coll->index_count > 0;
    int32_t code =
        walk(work, coll, sorted ? "_id_" : NULL, sorted ? note_place : hash_doc, hashing);

    code = code != 0 ? code : hashing->code;
    code = code != 0 ? code : hf_sandbox_pipeline_run(stages, 0, &hashing->places, work->call->no);
    for (size_t i = 0; code == 0 && i < hashing->places.count; i++) {
        OWNED_DOC *doc = NULL;
        int64_t record = hf_sandbox_get_int64(hashing->places.items[i], "at", 0);
        code = hf_sandbox_work_code(work,
                                    hf_sandbox_coll_get(work->txn, coll, record, &doc, &work->err));
        code = code == 0 && i % 256 == 0 ? hf_sandbox_call_check(work->call) : code;
        (void)(code == 0 && hash_doc(0, doc, hashing));
    }
    hf_sandbox_docs_fini(&hashing->places);
    hf_md5_end(hashing->md5, hex);
    return code;
}

int32_t hf_sandbox_body_db_hash(struct hf_sandbox_work *work)
{
    HF_CLEANUP(hf_free) struct hf_sandbox_coll **colls = NULL;
    HF_CLEANUP(hf_md5_destroy) struct hf_md5 *md5 = hf_md5_create(), *all = hf_md5_create();
    struct hashing hashing = {.no = work->call->no, .md5 = md5};
    OWNED_DOC *hashes = bson_new();
    OWNED_DOC *capped = bson_new();
    OWNED_DOC *uuids = bson_new();
    uint32_t capped_count = 0;
    size_t count = 0;
    char hex[33];
    int32_t code = list(work, work->call->db, &colls, &count);

    HF_ASSERT(md5 != NULL && all != NULL);
    for (size_t i = 0; code == 0 && i < count; i++) {
        bson_value_t name = hf_sandbox_value_of_utf8(colls[i]->name);
        if (!colls[i]->local) { /* what is replicated */
            code = hash_coll(work, colls[i], &hashing, hex);
            hf_md5_update(all, hf_bytes_of(hex, 32));
            /* Names are a client's: not through BCON, to which "}" is more than a name. */
            bson_append_utf8(hashes, colls[i]->name, -1, hex, 32);
            bson_append_binary(uuids, colls[i]->name, -1, BSON_SUBTYPE_UUID, colls[i]->uuid, 16);
            if (colls[i]->capped) {
                hf_sandbox_append_element(capped, &capped_count, &name);
            }
        }
    }
    hf_md5_end(all, hex);
    BCON_APPEND(work->call->reply, "host", BCON_UTF8(work->call->server->host), "collections",
                BCON_DOCUMENT(hashes), "capped", BCON_ARRAY(capped), "uuids", BCON_DOCUMENT(uuids),
                "md5", BCON_UTF8(hex), "timeMillis", BCON_INT32(0));
    return code;
}

/* It writes nothing: a read-only node can do it. */
int32_t hf_sandbox_body_validate(struct hf_sandbox_work *work)
{
    OWNED_DOC *keys = bson_new();
    OWNED_DOC *details = bson_new();
    struct hf_sandbox_coll *coll;
    struct counting all = {0};
    bool valid = true;
    int32_t code = hf_sandbox_work_find(work, &coll);

    code = code != 0 ? code : walk(work, coll, NULL, count_doc, &all);
    int64_t records = all.count, broken = all.broken;
    if (code == 0) { /* the fast counts are right from here on */
        coll->table->records = records;
        coll->table->bytes = all.bytes;
    }
    for (size_t i = 0; code == 0 && i < coll->index_count; i++) {
        const struct hf_sandbox_index *index = coll->indexes[i];
        const char *name = index->name;
        bool whole = index->keyed && !index->sparse;
        struct counting keys_there = {0};

        code = index->keyed ? walk(work, coll, name, count_doc, &keys_there) : 0;
        broken += keys_there.broken;
        int64_t entries = index->keyed ? keys_there.count : records; /* of a definition: as if */
        valid = valid && (!whole || entries == records);
        bson_append_int32(keys, name, -1, (int32_t)entries);
        OWNED_DOC *detail = BCON_NEW("valid", BCON_BOOL(!whole || entries == records));
        bson_append_document(details, name, -1, detail);
    }
    if (code != 0) {
        return code;
    }
    BCON_APPEND(work->call->reply, "ns", BCON_UTF8(work->call->ns), "nInvalidDocuments",
                BCON_INT32((int32_t)broken), "nrecords", BCON_INT32((int32_t)records), "nIndexes",
                BCON_INT32((int32_t)coll->index_count), "keysPerIndex", BCON_DOCUMENT(keys),
                "indexDetails", BCON_DOCUMENT(details), "valid", BCON_BOOL(valid && broken == 0),
                "warnings", "[", "]", "errors", "[", "]", "extraIndexEntries", "[", "]",
                "missingIndexEntries", "[", "]");
    return 0;
}
