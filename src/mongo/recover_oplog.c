/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oplog of a copy: what it holds, read in small batches, and entries put in as they are. An entry is opaque here but
 * for its time.
 */
#include "mongo/recover_internal.h"

#include <stdio.h>

#include "base/alloc.h"

#define WALK_DOCUMENTS 2000
#define WALK_WHOLE_DOCUMENTS 100
/* One batch is in memory three times: as it is built, as the command, and as the driver sends it. */
#define FILL_BYTES ((size_t)2 << 20)
#define FILL_DOCUMENTS 5000
/*
 * The server refuses to insert a larger document, and an entry that holds the largest document is larger. It adds an
 * _id (17 bytes and some) after it has looked.
 */
#define INSERT_MAX_BYTES (((size_t)16 << 20) - 64)

/* ---- Walking ---- */

struct hf_recover_walk {
    struct hf_recover *recover; /* borrowed: outlives us */
    struct hf_mongo_session session;
    bool has_session;
    bool whole;
    int64_t cursor; /* 0: no more batches */
    bson_t *reply;  /* owned */
    bson_iter_t batch;
    bool in_batch;
};

void hf_recover_walk_close(struct hf_recover_walk *walk)
{
    if (walk == NULL) {
        return;
    }
    if (walk->cursor != 0) {
        char command[128];
        struct hf_error ignored;
        (void)snprintf(
            command, sizeof command,
            "{\"killCursors\": \"oplog.rs\", \"cursors\": [{\"$numberLong\": \"%lld\"}]}",
            (long long)walk->cursor);
        (void)!hf_recover_run(walk->recover, "local", command, &ignored); /* it would time out */
    }
    if (walk->has_session) {
        hf_mongo_session_fini(&walk->session);
    }
    bson_destroy(walk->reply);
    hf_free(walk);
}

/* Runs find or getMore in the walk's session and stands before the batch. */
static enum hf_err fetch(struct hf_recover_walk *walk, const bson_t *command, const char *batch,
                         struct hf_error *err)
{
    struct hf_mongo_client *client = walk->recover->client;

    if (hf_cancel_check(walk->recover->cancel, err) != HF_ERR_OK) {
        return err->code;
    }
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    bson_destroy(&reply);
    enum hf_err result = hf_mongo_command(client, "local", command,
                                          walk->has_session ? &walk->session : NULL, &reply, err);
    if (result != HF_ERR_OK) {
        return result == HF_ERR_UNAVAILABLE ? hf_mongod_explain(walk->recover->mongod, err)
                                            : result;
    }
    bson_destroy(walk->reply);
    walk->reply = bson_copy(&reply);
    walk->cursor = hf_mongo_get_int(walk->reply, "cursor.id", 0);
    bson_iter_t found;
    walk->in_batch = hf_mongo_get(walk->reply, batch, &found) && BSON_ITER_HOLDS_ARRAY(&found) &&
                     bson_iter_recurse(&found, &walk->batch);
    return walk->in_batch
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_CORRUPT, "%s: find oplog.rs: no '%s'", client->host, batch);
}

enum hf_err hf_recover_walk_open(struct hf_recover *recover, struct hf_mongo_ts after, bool whole,
                                 struct hf_recover_walk **out, struct hf_error *err)
{
    /* Not hf_alloc: an iterator has an alignment of its own. */
    HF_CLEANUP(hf_recover_walk_close) struct hf_recover_walk *walk = hf_alloc_pages(sizeof *walk);
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    struct hf_error ignored;
    bson_t part;
    bson_t range;

    if (walk == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "read the oplog of the copy");
    }
    *walk = (struct hf_recover_walk){.reply = bson_new()};
    walk->recover = recover;
    walk->whole = whole;
    walk->has_session =
        hf_mongo_session_start(recover->client, &walk->session, &ignored) == HF_ERR_OK;
    (void)BSON_APPEND_UTF8(&command, "find", "oplog.rs");
    (void)BSON_APPEND_DOCUMENT_BEGIN(&command, "filter", &part);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&part, "ts", &range);
    (void)BSON_APPEND_TIMESTAMP(&range, "$gt", after.seconds, after.increment);
    (void)bson_append_document_end(&part, &range);
    (void)bson_append_document_end(&command, &part);
    if (!whole) {
        (void)BSON_APPEND_DOCUMENT_BEGIN(&command, "projection", &part);
        (void)BSON_APPEND_INT32(&part, "ts", 1);
        (void)BSON_APPEND_INT32(&part, "t", 1);
        (void)bson_append_document_end(&command, &part);
    }
    (void)BSON_APPEND_INT32(&command, "batchSize", whole ? WALK_WHOLE_DOCUMENTS : WALK_DOCUMENTS);
    if (fetch(walk, &command, "cursor.firstBatch", err) != HF_ERR_OK) {
        return hf_wrap(err, "read the oplog of the copy");
    }
    *out = HF_TAKE(walk);
    return HF_ERR_OK;
}

static enum hf_err fetch_more(struct hf_recover_walk *walk, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;

    (void)BSON_APPEND_INT64(&command, "getMore", walk->cursor);
    (void)BSON_APPEND_UTF8(&command, "collection", "oplog.rs");
    (void)BSON_APPEND_INT32(&command, "batchSize",
                            walk->whole ? WALK_WHOLE_DOCUMENTS : WALK_DOCUMENTS);
    return fetch(walk, &command, "cursor.nextBatch", err);
}

enum hf_err hf_recover_walk_next(struct hf_recover_walk *walk, struct hf_mongo_optime *optime,
                                 struct hf_bytes *entry, bool *more, struct hf_error *err)
{
    bson_t document;

    while (!bson_iter_next(&walk->batch)) {
        if (walk->cursor == 0) {
            *more = false;
            return HF_ERR_OK;
        }
        if (fetch_more(walk, err) != HF_ERR_OK) {
            return hf_wrap(err, "read the oplog of the copy");
        }
    }
    if (!hf_mongo_iter_doc(&walk->batch, &document)) {
        return hf_fail(err, HF_ERR_CORRUPT, "the oplog of the copy: an entry is no document");
    }
    *optime = (struct hf_mongo_optime){.ts = hf_mongo_get_ts(&document, "ts"),
                                       .term = hf_mongo_get_int(&document, "t", -1)};
    *entry = hf_bytes_of(bson_get_data(&document), document.len);
    *more = true;
    return HF_ERR_OK;
}

/* ---- Filling ---- */

struct hf_recover_fill {
    struct hf_recover *recover; /* borrowed: outlives us */
    bson_t *documents;          /* owned; an array */
    uint32_t count;
    size_t bytes;
};

enum hf_err hf_recover_fill_begin(struct hf_recover *recover, struct hf_recover_fill **out,
                                  struct hf_error *err)
{
    struct hf_recover_fill *fill = hf_alloc_zero(sizeof *fill);

    if (fill == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "fill the oplog");
    }
    HF_ASSERT(recover->writable);
    fill->recover = recover;
    fill->documents = bson_new();
    *out = fill;
    return HF_ERR_OK;
}

void hf_recover_fill_drop(struct hf_recover_fill *fill)
{
    if (fill != NULL) {
        bson_destroy(fill->documents);
        hf_free(fill);
    }
}

bool hf_recover_entry_is_large(struct hf_bytes entry)
{
    return entry.len > INSERT_MAX_BYTES;
}

enum hf_err hf_recover_fill_flush(struct hf_recover_fill *fill, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;

    if (fill->count == 0) {
        return HF_ERR_OK;
    }
    (void)BSON_APPEND_UTF8(&command, "insert", "oplog.rs");
    (void)BSON_APPEND_ARRAY(&command, "documents", fill->documents);
    bson_destroy(&reply);
    enum hf_err result = hf_recover_command(fill->recover, "local", &command, &reply, err);
    if (result == HF_ERR_OK && hf_mongo_get_int(&reply, "n", -1) != (int64_t)fill->count) {
        result =
            hf_fail(err, HF_ERR_CORRUPT, "%s took %lld of %u entries", fill->recover->client->host,
                    (long long)hf_mongo_get_int(&reply, "n", -1), fill->count);
    }
    bson_reinit(fill->documents);
    fill->count = 0;
    fill->bytes = 0;
    return result == HF_ERR_OK ? HF_ERR_OK : hf_wrap(err, "put entries into the oplog");
}

/* insert refuses it; this command of the server's own tests takes any document as it is. */
static enum hf_err add_large(struct hf_recover_fill *fill, const bson_t *document,
                             struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;

    if (hf_recover_fill_flush(fill, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)BSON_APPEND_UTF8(&command, "godinsert", "oplog.rs");
    (void)BSON_APPEND_DOCUMENT(&command, "obj", document);
    bson_destroy(&reply);
    return hf_recover_command(fill->recover, "local", &command, &reply, err) == HF_ERR_OK
               ? HF_ERR_OK
               : hf_wrap(err, "put an entry of %u bytes into the oplog", document->len);
}

enum hf_err hf_recover_fill_add(struct hf_recover_fill *fill, struct hf_bytes entry,
                                struct hf_error *err)
{
    bson_t document;
    char key[16];
    const char *name = NULL;

    if (!bson_init_static(&document, entry.data, entry.len)) {
        return hf_fail(err, HF_ERR_CORRUPT, "an entry of %zu bytes is no BSON", entry.len);
    }
    if (hf_recover_entry_is_large(entry)) {
        return add_large(fill, &document, err);
    }
    if (fill->count > 0 &&
        (fill->bytes + entry.len > FILL_BYTES || fill->count == FILL_DOCUMENTS) &&
        hf_recover_fill_flush(fill, err) != HF_ERR_OK) {
        return err->code;
    }
    size_t len = bson_uint32_to_string(fill->count, &name, key, sizeof key);
    (void)bson_append_document(fill->documents, name, (int)len, &document);
    fill->count++;
    fill->bytes += entry.len;
    return HF_ERR_OK;
}

/* ---- Changing ---- */

enum hf_err hf_recover_make_noop(struct hf_recover *recover, struct hf_mongo_ts ts,
                                 struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    bson_t updates;
    bson_t update;
    bson_t part;
    bson_t inner;

    HF_ASSERT(recover->writable);
    (void)BSON_APPEND_UTF8(&command, "update", "oplog.rs");
    (void)BSON_APPEND_ARRAY_BEGIN(&command, "updates", &updates);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&updates, "0", &update);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&update, "q", &part);
    (void)BSON_APPEND_TIMESTAMP(&part, "ts", ts.seconds, ts.increment);
    (void)bson_append_document_end(&update, &part);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&update, "u", &part);
    /* One letter for another: the document of a capped collection must keep its size. */
    (void)BSON_APPEND_DOCUMENT_BEGIN(&part, "$set", &inner);
    (void)BSON_APPEND_UTF8(&inner, "op", "n");
    (void)bson_append_document_end(&part, &inner);
    (void)bson_append_document_end(&update, &part);
    (void)bson_append_document_end(&updates, &update);
    (void)bson_append_array_end(&command, &updates);
    bson_destroy(&reply);
    if (hf_recover_command(recover, "local", &command, &reply, err) != HF_ERR_OK) {
        return hf_wrap(err, "make an entry a no-op");
    }
    return hf_mongo_get_int(&reply, "n", 0) == 1
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_NOT_FOUND, "the oplog has no entry (%u, %u)", ts.seconds,
                         ts.increment);
}
