/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading documents fast: they are built straight as BSON and go out in large insert commands, one copy each. Must
 * not know what is loaded.
 */
#include <string.h>

#include "base/alloc.h"
#include "mongo/client_internal.h"
#include "mongo/data.h"
#include "mongo/reply_internal.h"

#define DEFAULT_BATCH_BYTES (8u << 20)
/* A command may have 16 MiB; the rest is for its other fields and the array's keys. */
#define MAX_BATCH_BYTES (14u << 20)
#define DEFAULT_BATCH_DOCUMENTS 10000u
#define MAX_BATCH_DOCUMENTS 100000u
#define MAX_DOCUMENT_BYTES (16u << 20)
#define MAX_DEPTH 16

/* levels[0] is the document; the innermost open one is levels[depth]. */
struct hf_mongo_doc {
    bson_t levels[MAX_DEPTH + 1];
    bool is_array[MAX_DEPTH + 1];
    bool opened[MAX_DEPTH + 1]; /* false: its parent took no more, it leads nowhere */
    uint32_t next_index[MAX_DEPTH + 1];
    unsigned depth;
    bool failed; /* something did not fit: the document is refused as a whole */
};

/* ---- Building ---- */

/* The key for the next value: its name, or the next index of an array. */
static const char *key_for(struct hf_mongo_doc *doc, const char *name, char digits[16])
{
    const char *key = name;

    if (doc->is_array[doc->depth]) {
        (void)bson_uint32_to_string(doc->next_index[doc->depth]++, &key, digits, 16);
    }
    return key;
}

#define APPEND(doc, name, call)                                                                    \
    do {                                                                                           \
        char digits[16];                                                                           \
        bson_t *level = &(doc)->levels[(doc)->depth];                                              \
        const char *key = key_for(doc, name, digits);                                              \
        (doc)->failed = !(call) || (doc)->failed;                                                  \
    } while (0)

void hf_mongo_doc_text(struct hf_mongo_doc *doc, const char *name, struct hf_str value)
{
    HF_CLEANUP(hf_free) char *copy = NULL;

    if (value.len > MAX_DOCUMENT_BYTES) {
        doc->failed = true;
        return;
    }
    if (!bson_utf8_validate(value.data, value.len, true)) {
        copy = hf_alloc(value.len);
        if (copy == NULL) {
            doc->failed = true;
            return;
        }
        for (size_t i = 0; i < value.len; i++) {
            copy[i] = (value.data[i] & 0x80) != 0 ? '?' : value.data[i];
        }
        value.data = copy;
    }
    APPEND(doc, name, bson_append_utf8(level, key, -1, value.data, (int)value.len));
}

void hf_mongo_doc_int32(struct hf_mongo_doc *doc, const char *name, int32_t value)
{
    APPEND(doc, name, bson_append_int32(level, key, -1, value));
}

void hf_mongo_doc_int64(struct hf_mongo_doc *doc, const char *name, int64_t value)
{
    APPEND(doc, name, bson_append_int64(level, key, -1, value));
}

void hf_mongo_doc_double(struct hf_mongo_doc *doc, const char *name, double value)
{
    APPEND(doc, name, bson_append_double(level, key, -1, value));
}

void hf_mongo_doc_bool(struct hf_mongo_doc *doc, const char *name, bool value)
{
    APPEND(doc, name, bson_append_bool(level, key, -1, value));
}

void hf_mongo_doc_null(struct hf_mongo_doc *doc, const char *name)
{
    APPEND(doc, name, bson_append_null(level, key, -1));
}

void hf_mongo_doc_date(struct hf_mongo_doc *doc, const char *name, int64_t ms_since_1970)
{
    APPEND(doc, name, bson_append_date_time(level, key, -1, ms_since_1970));
}

void hf_mongo_doc_binary(struct hf_mongo_doc *doc, const char *name, struct hf_bytes value)
{
    if (value.len > MAX_DOCUMENT_BYTES) {
        doc->failed = true;
        return;
    }
    APPEND(
        doc, name,
        bson_append_binary(level, key, -1, BSON_SUBTYPE_BINARY, value.data, (uint32_t)value.len));
}

void hf_mongo_doc_object_id(struct hf_mongo_doc *doc, const char *name, const uint8_t value[12])
{
    bson_oid_t oid;

    bson_oid_init_from_data(&oid, value);
    APPEND(doc, name, bson_append_oid(level, key, -1, &oid));
}

static void begin(struct hf_mongo_doc *doc, const char *name, bool array)
{
    char digits[16];

    HF_ASSERT(doc->depth < MAX_DEPTH);
    const char *key = key_for(doc, name, digits);
    bson_t *level = &doc->levels[doc->depth];
    bson_t *inner = &doc->levels[doc->depth + 1];
    bool ok = array ? bson_append_array_begin(level, key, -1, inner)
                    : bson_append_document_begin(level, key, -1, inner);
    if (!ok) {
        /* The level is opened all the same, so that the caller's end finds one. */
        bson_init(inner);
        doc->failed = true;
    }
    doc->depth++;
    doc->opened[doc->depth] = ok;
    doc->is_array[doc->depth] = array;
    doc->next_index[doc->depth] = 0;
}

void hf_mongo_doc_begin_object(struct hf_mongo_doc *doc, const char *name)
{
    begin(doc, name, false);
}

void hf_mongo_doc_begin_array(struct hf_mongo_doc *doc, const char *name)
{
    begin(doc, name, true);
}

void hf_mongo_doc_end(struct hf_mongo_doc *doc)
{
    HF_ASSERT(doc->depth > 0);
    bson_t *inner = &doc->levels[doc->depth];
    bson_t *level = &doc->levels[doc->depth - 1];

    if (doc->opened[doc->depth]) {
        doc->failed = !bson_append_document_end(level, inner) || doc->failed;
    } else {
        bson_destroy(inner);
    }
    doc->depth--;
}

enum hf_err hf_mongo_doc_json(struct hf_mongo_doc *doc, const char *json, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t members = BSON_INITIALIZER;

    bson_destroy(&members);
    if (hf_mongo_json_to_bson(json, &members, err) != HF_ERR_OK) {
        return err->code;
    }
    doc->failed = !bson_concat(&doc->levels[doc->depth], &members) || doc->failed;
    return HF_ERR_OK;
}

/* ---- Sending ---- */

struct loader {
    struct hf_mongo_client *client;
    const struct hf_mongo_insert_options *options;
    struct hf_mongo_insert_result *result;
    uint32_t batch_bytes, batch_documents;
    bson_t *write_concern; /* owned; NULL: the server's default */
    bson_t *command;       /* owned; reused, so that its memory is asked for once */
    bson_t array;          /* the open "documents" inside command */
    uint32_t count;        /* in the array; 0: the array is not open */
    uint64_t bytes;
};

static void loader_fini(struct loader *loader)
{
    if (loader->count > 0) {
        (void)bson_append_array_end(loader->command, &loader->array);
    }
    bson_destroy(loader->command);
    bson_destroy(loader->write_concern);
}
HF_CLEANUP_DEFINE_VALUE(loader_fini, struct loader)

static void open_batch(struct loader *loader)
{
    bson_reinit(loader->command);
    (void)BSON_APPEND_UTF8(loader->command, "insert", loader->options->collection);
    (void)BSON_APPEND_BOOL(loader->command, "ordered", true);
    if (loader->write_concern != NULL) {
        (void)BSON_APPEND_DOCUMENT(loader->command, "writeConcern", loader->write_concern);
    }
    (void)BSON_APPEND_ARRAY_BEGIN(loader->command, "documents", &loader->array);
}

static void read_optime(const bson_t *reply, struct hf_mongo_optime *out)
{
    *out = hf_mongo_get_optime(reply, "opTime");
    if (hf_mongo_ts_is_null(out->ts)) {
        out->ts = hf_mongo_get_ts(reply, "operationTime");
        out->term = -1;
    }
}

static enum hf_err send_batch(struct loader *loader, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    struct hf_mongo_insert_result *result = loader->result;

    if (loader->count == 0) {
        return HF_ERR_OK;
    }
    bool whole = bson_append_array_end(loader->command, &loader->array);
    uint32_t count = loader->count;
    loader->count = 0;
    if (!whole) {
        return hf_fail(err, HF_ERR_LIMIT, "a batch of %u documents is too large", count);
    }
    bson_destroy(&reply);
    if (hf_mongo_command(loader->client, loader->options->database, loader->command, NULL, &reply,
                         err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_mongo_get_int(&reply, "n", -1) != count) {
        return hf_fail(err, HF_ERR_INTERNAL, "%s: insert: %lld of %u documents were taken",
                       loader->client->host, (long long)hf_mongo_get_int(&reply, "n", 0), count);
    }
    read_optime(&reply, &result->last);
    result->documents += count;
    result->bytes += loader->bytes;
    hf_progress_add_done(loader->options->progress, loader->bytes);
    loader->bytes = 0;
    return hf_cancel_check(loader->options->cancel, err);
}

static enum hf_err add_document(struct loader *loader, const bson_t *document, struct hf_error *err)
{
    char digits[16];
    const char *key = NULL;

    if (document->len > MAX_DOCUMENT_BYTES) {
        return hf_fail(err, HF_ERR_LIMIT, "a document of %u bytes; the server takes 16 MiB",
                       document->len);
    }
    if (loader->count > 0 && (loader->count == loader->batch_documents ||
                              loader->bytes + document->len > loader->batch_bytes)) {
        if (send_batch(loader, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (loader->count == 0) {
        open_batch(loader);
    }
    (void)bson_uint32_to_string(loader->count++, &key, digits, sizeof digits);
    loader->bytes += document->len;
    return bson_append_document(&loader->array, key, -1, document)
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_LIMIT, "a batch is too large");
}

/* One document from the generator into the batch. */
static enum hf_err generate_one(struct loader *loader, struct hf_mongo_doc *doc, uint64_t index,
                                hf_mongo_generate generate, void *argument, bool *done,
                                struct hf_error *err)
{
    bson_reinit(&doc->levels[0]);
    doc->depth = 0;
    doc->failed = false;
    enum hf_err result = generate(argument, index, doc, done, err);
    if (result == HF_ERR_OK && !*done && doc->depth != 0) {
        result = hf_fail(err, HF_ERR_INVALID, "an object or array was not ended");
    }
    if (result == HF_ERR_OK && !*done && doc->failed) {
        result = hf_fail(err, HF_ERR_LIMIT, "it does not fit into a document");
    }
    while (doc->depth > 0) {
        hf_mongo_doc_end(doc);
    }
    if (result == HF_ERR_OK && !*done) {
        result = add_document(loader, &doc->levels[0], err);
    }
    return result == HF_ERR_OK ? result : hf_wrap(err, "document %llu", (unsigned long long)index);
}

static uint32_t within(uint32_t asked, uint32_t fallback, uint32_t most)
{
    return asked == 0 ? fallback : asked > most ? most : asked;
}

static enum hf_err load(struct loader *loader, hf_mongo_generate generate, void *argument,
                        struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_mongo_doc *doc = hf_alloc_zero(sizeof *doc);
    enum hf_err result = HF_ERR_OK;
    bool done = false;

    if (doc == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "load");
    }
    bson_init(&doc->levels[0]);
    for (uint64_t index = 0; result == HF_ERR_OK && !done; index++) {
        result = generate_one(loader, doc, index, generate, argument, &done, err);
    }
    bson_destroy(&doc->levels[0]);
    return result == HF_ERR_OK ? send_batch(loader, err) : result;
}

enum hf_err hf_mongo_insert_generated(struct hf_mongo_client *client,
                                      const struct hf_mongo_insert_options *options,
                                      hf_mongo_generate generate, void *argument,
                                      struct hf_mongo_insert_result *out, struct hf_error *err)
{
    uint32_t batch_bytes = within(options->batch_bytes, DEFAULT_BATCH_BYTES, MAX_BATCH_BYTES);

    *out = (struct hf_mongo_insert_result){.last = {.term = -1}};
    HF_CLEANUP(loader_fini)
    struct loader loader = {
        .client = client,
        .options = options,
        .result = out,
        .batch_bytes = batch_bytes,
        .batch_documents =
            within(options->batch_documents, DEFAULT_BATCH_DOCUMENTS, MAX_BATCH_DOCUMENTS),
        .command = bson_sized_new(batch_bytes),
    };
    if (options->write_concern != NULL) {
        HF_BSON_CLEANUP bson_t parsed = BSON_INITIALIZER;

        if (hf_mongo_json_to_bson(options->write_concern, &parsed, err) != HF_ERR_OK) {
            return hf_wrap(err, "write concern");
        }
        loader.write_concern = bson_copy(&parsed);
    }
    if (load(&loader, generate, argument, err) != HF_ERR_OK) {
        return hf_wrap(err, "insert into %s.%s", options->database, options->collection);
    }
    return HF_ERR_OK;
}

enum hf_err hf_mongo_write(struct hf_mongo_client *client, const char *database,
                           const char *command, struct hf_mongo_optime *optime,
                           struct hf_buf *reply, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf own = HF_BUF_INIT(64u << 20);
    struct hf_buf *text = reply != NULL ? reply : &own;
    HF_BSON_CLEANUP bson_t answer = BSON_INITIALIZER;

    if (hf_mongo_run(client, database, command, text, err) != HF_ERR_OK) {
        return err->code;
    }
    const char *json = hf_buf_text(text);
    if (json == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s: reply", client->host);
    }
    bson_destroy(&answer);
    if (hf_mongo_json_to_bson(json, &answer, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s: reply", client->host);
    }
    read_optime(&answer, optime);
    return HF_ERR_OK;
}
