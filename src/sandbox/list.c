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

/* hex becomes the MD5 of itself and the bytes. */
static void chain(struct hf_buf *buf, const void *bytes, size_t len, char hex[33])
{
    struct hf_error err;

    hf_buf_clear(buf);
    HF_ASSERT(hf_buf_append(buf, hf_bytes_of(hex, 32), &err) == HF_ERR_OK &&
              hf_buf_append(buf, hf_bytes_of(bytes, len), &err) == HF_ERR_OK);
    hf_md5_hex(hf_buf_bytes(buf), hex);
}

/*
 * Reads the collection in the order of an index, in its own (which sets the fast counts right) where that is NULL: how
 * many there are, in *broken how many documents cannot be read to their end, in hex a hash of all.
 */
static int32_t read_all(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll,
                        const char *index, int64_t *count, int64_t *broken, char hex[33])
{
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT(HF_SANDBOX_MESSAGE_MAX_BYTES);
    struct hf_sandbox_scan_options options = {.index = index};
    enum hf_err rc = hf_sandbox_scan_open(work->txn, coll, &options, &scan, &work->err);
    bool found = rc == HF_ERR_OK;
    int64_t bytes = 0;
    int32_t code = 0;

    (void)memset(hex, '0', 32);
    for (*count = 0; found && code == 0; *count += found) {
        bson_t doc;
        rc = hf_sandbox_scan_next(scan, &found, NULL, &doc, &work->err);
        found = found && rc == HF_ERR_OK;
        if (found) {
            *broken += !hf_sandbox_doc_valid(&doc);
            bytes += (int64_t)doc.len;
            chain(&buf, bson_get_data(&doc), doc.len, hex);
        }
        code = *count % 256 == 255 ? hf_sandbox_call_check(work->call) : 0;
    }
    if (rc == HF_ERR_OK && code == 0 && index == NULL) {
        coll->table->records = *count;
        coll->table->bytes = bytes;
    }
    return code != 0 ? code : hf_sandbox_work_code(work, rc);
}

/* Only what every member has alike. */
static bool is_hashed(const struct hf_sandbox_coll *coll)
{
    const char *ns = coll->ns;

    return strncmp(ns, "local.", 6) != 0 && strcmp(ns, "config.transactions") != 0 &&
           (strncmp(coll->name, "system.", 7) != 0 || strncmp(ns, "admin.", 6) == 0);
}

int32_t hf_sandbox_body_db_hash(struct hf_sandbox_work *work)
{
    HF_CLEANUP(hf_free) struct hf_sandbox_coll **colls = NULL;
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT(64);
    OWNED_DOC *hashes = bson_new();
    OWNED_DOC *capped = bson_new();
    OWNED_DOC *uuids = bson_new();
    uint32_t capped_count = 0;
    int64_t records, broken = 0;
    size_t count = 0;
    char all[33] = "00000000000000000000000000000000", hex[33];
    int32_t code = list(work, work->call->db, &colls, &count);

    for (size_t i = 0; code == 0 && i < count; i++) {
        bson_value_t name = hf_sandbox_value_of_utf8(colls[i]->name);
        bool ordered = colls[i]->index_count > 0;
        if (is_hashed(colls[i])) {
            code = read_all(work, colls[i], ordered ? "_id_" : NULL, &records, &broken, hex);
            chain(&buf, hex, 32, all);
            BCON_APPEND(hashes, name.value.v_utf8.str, BCON_UTF8(hex));
            BCON_APPEND(uuids, name.value.v_utf8.str,
                        BCON_BIN(BSON_SUBTYPE_UUID, colls[i]->uuid, 16));
            if (colls[i]->capped) {
                hf_sandbox_append_element(capped, &capped_count, &name);
            }
        }
    }
    BCON_APPEND(work->call->reply, "host", BCON_UTF8(work->call->server->host), "collections",
                BCON_DOCUMENT(hashes), "capped", BCON_ARRAY(capped), "uuids", BCON_DOCUMENT(uuids),
                "md5", BCON_UTF8(all), "timeMillis", BCON_INT32(0));
    return code;
}

/* It writes nothing: a read-only node can do it. */
int32_t hf_sandbox_body_validate(struct hf_sandbox_work *work)
{
    OWNED_DOC *keys = bson_new();
    OWNED_DOC *details = bson_new();
    struct hf_sandbox_coll *coll;
    int64_t records = 0, broken = 0;
    bool valid = true;
    char hex[33];
    int32_t code = hf_sandbox_work_find(work, &coll);

    code = code != 0 ? code : read_all(work, coll, NULL, &records, &broken, hex);
    for (size_t i = 0; code == 0 && i < coll->index_count; i++) {
        const struct hf_sandbox_index *index = coll->indexes[i];
        const char *name = index->name;
        bool whole = index->keyed && !index->sparse;
        int64_t entries = records; /* of a definition only, as if */

        code = index->keyed ? read_all(work, coll, name, &entries, &broken, hex) : 0;
        valid = valid && (!whole || entries == records);
        bson_append_int32(keys, name, -1, (int32_t)entries);
        BCON_APPEND(details, name, "{", "valid", BCON_BOOL(!whole || entries == records), "}");
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
