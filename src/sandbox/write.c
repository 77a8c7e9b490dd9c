/* SPDX-License-Identifier: Apache-2.0 */
/*
 * insert, update, delete, findAndModify: each statement runs in small transactions that find documents and change them,
 * each change logged before it as the real server logs it.
 */
#include <string.h>

#include "sandbox/server_internal.h"
#include "sandbox/update.h"

#define CHUNK_RECORDS 256
#define CHUNK_BYTES (4U << 20)
#define ATTEMPTS 16

struct writer {
    struct hf_sandbox_call *call;
    char ns[HF_SANDBOX_NS_BYTES];
    enum hf_sandbox_work_kind kind;
    struct hf_sandbox_retry retry;
    struct hf_sandbox_optime last; /* of the attempt under way */
    /* The answer. */
    bson_t *errors, *upserted; /* owned */
    uint32_t error_count, upserted_count;
    int64_t n, modified;
};

struct statement {
    struct writer *writer;
    int32_t id;
    struct hf_sandbox_docs docs; /* to insert, or found */
    size_t from, to;             /* of those to insert */
    bson_t filter, update, sort; /* views of the command; sort may be empty */
    bool removal, multi, upsert, images, want_new;
    int64_t records[CHUNK_RECORDS]; /* of the documents found */
    int64_t position;               /* the last record that is done */
    /* Done; reset by every attempt. */
    int64_t n, modified;
    bool upserting;
    bson_t *before, *after; /* owned: images for findAndModify; after is also what an upsert made */
};

static void statement_fini(struct statement *statement)
{
    hf_sandbox_docs_fini(&statement->docs);
    bson_destroy(statement->before);
    bson_destroy(statement->after);
}

static int32_t begin_writer(struct hf_sandbox_call *call, struct writer *out)
{
    int32_t code;

    *out = (struct writer){.call = call, .errors = bson_new(), .upserted = bson_new()};
    code = hf_sandbox_call_ns(call, out->ns);
    out->kind = hf_sandbox_work_kind_of(out->ns);
    if (code == 0 && strcmp(out->ns, "local.oplog.rs") == 0) {
        code = REFUSE(call, ILLEGAL_OPERATION, "cannot write to 'local.oplog.rs'");
    }
    return code != 0 || out->kind != WORK_WRITE ? code : hf_sandbox_retry_begin(call, &out->retry);
}

static void writer_fini(struct writer *writer)
{
    bson_destroy(writer->errors);
    bson_destroy(writer->upserted);
    hf_sandbox_retry_fini(&writer->retry);
}

/* ---- One change ---- */

/* Logs the entry, with what retries need; *at is its time, NONE in `local`. */
static int32_t log_entry(struct hf_sandbox_work *work, const struct statement *statement,
                         struct hf_sandbox_entry entry, struct hf_sandbox_optime post_image,
                         struct hf_sandbox_optime *at)
{
    struct writer *writer = statement->writer;
    OWNED_DOC *tail = bson_new();
    int32_t code;

    *at = HF_SANDBOX_OPTIME_NONE;
    if (writer->kind != WORK_WRITE) {
        return 0;
    }
    entry.ns = writer->ns;
    entry.lead = writer->retry.lead;
    if (entry.lead != NULL) {
        bool imaged = entry.op[0] == 'n' || entry.pre_image.ts != 0 || post_image.ts != 0;
        bson_append_int32(tail, "stmtId", -1, statement->id);
        hf_sandbox_append_optime(tail, "prevOpTime",
                                 imaged ? HF_SANDBOX_OPTIME_NONE : writer->last);
        if (post_image.ts != 0) {
            hf_sandbox_append_optime(tail, "postImageOpTime", post_image);
        }
        entry.tail = tail;
    }
    code = hf_sandbox_work_code(work, hf_sandbox_txn_log(work->txn, &entry, at, &work->err));
    writer->last = *at;
    return code;
}

static int32_t insert_one(struct hf_sandbox_work *work, const struct statement *statement,
                          struct hf_sandbox_coll *coll, const bson_t *doc)
{
    struct hf_sandbox_entry entry = {.op = "i", .uuid = coll->uuid, .o = doc};
    struct hf_sandbox_optime at;
    int64_t record;
    int32_t code = log_entry(work, statement, entry, HF_SANDBOX_OPTIME_NONE, &at);

    return code != 0 ? code
                     : hf_sandbox_work_code(
                           work, hf_sandbox_coll_insert(work->txn, coll, doc, &record, &work->err));
}

static int32_t change_one(struct hf_sandbox_work *work, struct statement *statement,
                          struct hf_sandbox_coll *coll, int64_t record, const bson_t *doc)
{
    HF_CLEANUP(hf_sandbox_updated_fini) struct hf_sandbox_updated updated = {.changed = true};
    OWNED_DOC *key = bson_new();
    struct hf_sandbox_entry entry = {.op = "d", .uuid = coll->uuid, .o = key};
    struct hf_sandbox_entry image = {.op = "n", .uuid = entry.uuid, .o = doc};
    struct hf_sandbox_optime post_image = HF_SANDBOX_OPTIME_NONE;
    struct hf_sandbox_optime at;
    bson_value_t id = hf_sandbox_value_missing;
    int32_t code = 0;

    (void)hf_sandbox_get(doc, "_id", &id);
    hf_sandbox_append(key, "_id", &id);
    if (!statement->removal) {
        code = hf_sandbox_update_apply(&statement->update, doc, &updated, work->call->no);
        entry.op = "u";
        entry.o = updated.o;
        entry.o2 = key;
    }
    statement->n++;
    if (code == 0 && updated.changed) {
        statement->modified++;
        if (statement->images && statement->writer->retry.lead != NULL) {
            /* The document as findAndModify shows it, for a retry. */
            image.o = statement->want_new ? updated.doc : doc;
            code = log_entry(work, statement, image, HF_SANDBOX_OPTIME_NONE,
                             statement->want_new ? &post_image : &entry.pre_image);
        }
        code = code != 0 ? code : log_entry(work, statement, entry, post_image, &at);
        if (code == 0) {
            code = hf_sandbox_work_code(
                work, statement->removal
                          ? hf_sandbox_coll_remove(work->txn, coll, record, doc, &work->err)
                          : hf_sandbox_coll_update(work->txn, coll, record, doc, updated.doc,
                                                   &work->err));
        }
    }
    if (code == 0 && statement->images) {
        bson_destroy(statement->before);
        bson_destroy(statement->after);
        statement->before = bson_copy(doc);
        statement->after = HF_TAKE(updated.doc);
    }
    return code;
}

/* ---- A statement's transactions ---- */

static int32_t insert_chunk(struct hf_sandbox_work *work, void *context)
{
    struct statement *statement = context;
    struct writer *writer = statement->writer;
    struct hf_sandbox_coll *coll = NULL;
    int32_t code = hf_sandbox_work_need_coll(work, writer->ns, &coll);

    writer->last = writer->retry.previous;
    for (size_t i = statement->from; code == 0 && i < statement->to; i++) {
        statement->id = (int32_t)i;
        if (hf_sandbox_retry_find(&writer->retry, statement->id) == NULL) {
            code = insert_one(work, statement, coll, statement->docs.items[i]);
        }
    }
    return code != 0 ? code : hf_sandbox_retry_record(work, &writer->retry, writer->last);
}

static bool is_full(const struct hf_sandbox_docs *docs)
{
    return docs->count == CHUNK_RECORDS || docs->bytes >= CHUNK_BYTES;
}

static bool collect(int64_t record, const bson_t *doc, void *context)
{
    struct statement *statement = context;
    struct hf_sandbox_docs *docs = &statement->docs;
    bool sorted = !bson_empty(&statement->sort);

    if (sorted && docs->count == 1) {
        if (hf_sandbox_sort_compare(&statement->sort, doc, docs->items[0]) >= 0) {
            return true;
        }
        hf_sandbox_docs_fini(docs);
    }
    statement->records[docs->count] = record;
    /* One document more than the chunk's bytes cannot be too much. */
    (void)!hf_sandbox_docs_add_take(docs, bson_copy(doc), statement->writer->call->no);
    return sorted || (statement->multi && docs->count < CHUNK_RECORDS && docs->bytes < CHUNK_BYTES);
}

/* Finds documents behind the position and changes them; where an upsert finds none at all, it inserts. */
static int32_t change_chunk(struct hf_sandbox_work *work, void *context)
{
    struct statement *statement = context;
    struct writer *writer = statement->writer;
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, writer->ns);
    struct hf_sandbox_query query = {.filter = &statement->filter,
                                     .after_record = statement->position};
    int32_t code = 0;

    hf_sandbox_docs_fini(&statement->docs);
    statement->n = 0;
    statement->modified = 0;
    writer->last = writer->retry.previous;
    if (coll != NULL) {
        code = hf_sandbox_query_run(work, coll, &query, collect, statement);
    }
    statement->upserting =
        statement->upsert && statement->docs.count == 0 && statement->position == 0;
    for (size_t i = 0; code == 0 && i < statement->docs.count; i++) {
        code = change_one(work, statement, coll, statement->records[i], statement->docs.items[i]);
    }
    if (code == 0 && statement->upserting) {
        statement->n = 1;
        bson_destroy(HF_TAKE(statement->after));
        code = hf_sandbox_update_insert(&statement->update, &statement->filter, &statement->after,
                                        work->call->no);
        code = code != 0 ? code : hf_sandbox_work_need_coll(work, writer->ns, &coll);
        code = code != 0 ? code : insert_one(work, statement, coll, statement->after);
    }
    return code != 0 ? code : hf_sandbox_retry_record(work, &writer->retry, writer->last);
}

static int32_t run(struct hf_sandbox_work *work, struct statement *statement,
                   hf_sandbox_work_body body)
{
    struct writer *writer = statement->writer;
    int32_t code = hf_sandbox_work_run(work, writer->kind, body, statement);

    if (code == 0) {
        writer->retry.previous = writer->last;
    }
    return code;
}

/* Adds to the writer's numbers; what was found, changed or inserted last is left in the statement. */
static int32_t run_statement(struct hf_sandbox_work *work, struct statement *statement)
{
    HF_CLEANUP(hf_sandbox_updated_fini) struct hf_sandbox_updated ignored = {0};
    struct writer *writer = statement->writer;
    bson_t nothing = BSON_INITIALIZER;
    unsigned attempts = 0;
    int32_t code = hf_sandbox_filter_check(&statement->filter, work->call->no);

    if (code == 0 && !statement->removal) { /* what is malformed is refused in any case */
        code = hf_sandbox_update_apply(&statement->update, &nothing, &ignored, work->call->no);
    }
    while (code == 0) {
        code = run(work, statement, change_chunk);
        if (code == HF_SANDBOX_DUPLICATE_KEY && statement->upserting && ++attempts < ATTEMPTS) {
            code = 0; /* somebody else may have inserted it a moment ago */
            continue;
        }
        writer->n += code == 0 ? statement->n : 0;
        writer->modified += code == 0 ? statement->modified : 0;
        if (!statement->multi || !is_full(&statement->docs)) {
            break;
        }
        statement->position = statement->records[statement->docs.count - 1];
    }
    return code;
}

/* ---- Answers ---- */

/* What ends the whole command rather than one statement. */
static bool is_fatal(int32_t code)
{
    return code == HF_SANDBOX_NOT_WRITABLE_PRIMARY || code == HF_SANDBOX_INTERRUPTED_AT_SHUTDOWN ||
           code == HF_SANDBOX_INTERRUPTED || code == HF_SANDBOX_MAX_TIME_MS_EXPIRED ||
           code == HF_SANDBOX_INTERNAL_ERROR;
}

static void add_error(struct writer *writer, const struct hf_sandbox_work *work, int32_t index,
                      int32_t code)
{
    OWNED_DOC *one = BCON_NEW("index", BCON_INT32(index), "code", BCON_INT32(code));
    bson_value_t value;

    if (code == HF_SANDBOX_DUPLICATE_KEY && work->duplicate != NULL) {
        bson_concat(one, work->duplicate);
    }
    bson_append_utf8(one, "errmsg", -1, work->call->no->message, -1);
    value = hf_sandbox_value_of_doc(one);
    hf_sandbox_append_element(writer->errors, &writer->error_count, &value);
}

static void add_upserted(struct writer *writer, int32_t index, const bson_t *doc)
{
    OWNED_DOC *one = BCON_NEW("index", BCON_INT32(index));
    bson_value_t value = hf_sandbox_value_missing;

    (void)hf_sandbox_get(doc, "_id", &value);
    hf_sandbox_append(one, "_id", &value);
    value = hf_sandbox_value_of_doc(one);
    hf_sandbox_append_element(writer->upserted, &writer->upserted_count, &value);
}

static void append_answer(const struct writer *writer, bool update)
{
    struct hf_sandbox_call *call = writer->call;

    bson_append_int32(call->reply, "n", -1, (int32_t)writer->n);
    if (writer->upserted_count > 0) {
        bson_append_array(call->reply, "upserted", -1, writer->upserted);
    }
    if (update) {
        bson_append_int32(call->reply, "nModified", -1, (int32_t)writer->modified);
    }
    if (writer->error_count > 0) {
        bson_append_array(call->reply, "writeErrors", -1, writer->errors);
    }
    if (call->optime.ts != 0 && hf_sandbox_repl_enabled(call->repl)) {
        hf_sandbox_append_optime(call->reply, "opTime", call->optime);
    }
    hf_sandbox_call_await(call);
}

/* ---- insert, update, delete ---- */

static int32_t insert_all(struct statement *statement, bool ordered)
{
    struct writer *writer = statement->writer;
    const struct hf_sandbox_docs *docs = &statement->docs;
    size_t chunk = CHUNK_RECORDS;

    while (statement->from < docs->count) {
        HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = writer->call};
        size_t count = 0;

        for (size_t bytes = 0;
             count < chunk && count < docs->count - statement->from && bytes < CHUNK_BYTES;
             count++) {
            bytes += docs->items[statement->from + count]->len;
        }
        statement->to = statement->from + count;
        int32_t code = run(&work, statement, insert_chunk);
        if (is_fatal(code)) {
            return code;
        }
        if (code != 0 && count > 1) {
            chunk = 1; /* one of them is bad: find it */
            continue;
        }
        if (code == 0) {
            writer->n += (int64_t)count;
        } else {
            add_error(writer, &work, (int32_t)statement->from, code);
            if (ordered) {
                return 0;
            }
        }
        statement->from = statement->to;
    }
    return 0;
}

static int32_t read_statement(struct hf_sandbox_call *call, const bson_t *doc,
                              struct statement *out)
{
    out->multi = out->removal ? hf_sandbox_get_int64(doc, "limit", 1) == 0
                              : hf_sandbox_get_true(doc, "multi");
    out->upsert = hf_sandbox_get_true(doc, "upsert");
    if (!hf_sandbox_get_doc(doc, "q", &out->filter) ||
        (!out->removal && !hf_sandbox_get_doc(doc, "u", &out->update))) {
        return REFUSE(call, NO_SUCH_KEY, "a statement needs the documents q and u");
    }
    return out->multi && !out->removal && hf_sandbox_update_is_replacement(&out->update)
               ? REFUSE(call, FAILED_TO_PARSE,
                        "multi update is not supported for replacement-style update")
               : 0;
}

/* One that was done before answers the same. */
static int32_t run_one(struct writer *writer, const bson_t *doc, bool removal, int32_t index)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = writer->call};
    struct statement statement = {
        .writer = writer, .id = index, .removal = removal, .sort = BSON_INITIALIZER};
    const bson_t *entry = hf_sandbox_retry_find(&writer->retry, index);
    bson_t o;
    int32_t code = 0;

    if (entry != NULL) {
        const char *op = hf_sandbox_get_utf8(entry, "op", "");
        writer->n++;
        writer->modified += op[0] == 'u';
        if (op[0] == 'i' && hf_sandbox_get_doc(entry, "o", &o)) {
            add_upserted(writer, index, &o);
        }
        return 0;
    }
    code = read_statement(writer->call, doc, &statement);
    code = code != 0 ? code : run_statement(&work, &statement);
    if (code == 0 && statement.upserting) {
        add_upserted(writer, index, statement.after);
    } else if (code != 0 && !is_fatal(code)) {
        add_error(writer, &work, index, code);
    }
    statement_fini(&statement);
    return code;
}

/* insert, update, delete: the command's name begins with another letter each. */
int32_t hf_sandbox_cmd_write(struct hf_sandbox_call *call)
{
    const char kind = (char)(call->name[0] | 0x20);
    const char *field = kind == 'i' ? "documents" : kind == 'u' ? "updates" : "deletes";
    struct writer writer;
    struct statement insertion = {.writer = &writer};
    bson_value_t value = hf_sandbox_value_of_bool(true);
    bson_iter_t iter;
    bson_t doc;
    int32_t code = begin_writer(call, &writer);

    (void)hf_sandbox_get(call->command, "ordered", &value);
    bool ordered = hf_sandbox_is_true(&value);
    if (code == 0 && (!hf_sandbox_get(call->command, field, &value) ||
                      !hf_sandbox_value_iter(&value, BSON_TYPE_ARRAY, &iter))) {
        code = REFUSE(call, NO_SUCH_KEY, "'%s' is missing", field);
    }
    for (int32_t index = 0; code == 0 && bson_iter_next(&iter); index++) {
        if (!hf_sandbox_value_doc(bson_iter_value(&iter), &doc)) {
            code = REFUSE(call, TYPE_MISMATCH, "'%s' must hold objects", field);
        } else if (kind == 'i') {
            code =
                hf_sandbox_docs_add_take(&insertion.docs, hf_sandbox_doc_with_id(&doc), call->no);
        } else {
            code = run_one(&writer, &doc, kind == 'd', index);
            if (code != 0 && !is_fatal(code)) {
                code = 0;
                if (ordered) {
                    break;
                }
            }
        }
    }
    code = code != 0 ? code : insert_all(&insertion, ordered);
    if (code == 0) {
        append_answer(&writer, kind == 'u');
    }
    statement_fini(&insertion);
    writer_fini(&writer);
    return code;
}

/* ---- findAndModify ---- */

static int32_t read_find_and_modify(struct hf_sandbox_call *call, struct statement *out)
{
    out->removal = hf_sandbox_get_true(call->command, "remove");
    out->want_new = hf_sandbox_get_true(call->command, "new");
    out->upsert = hf_sandbox_get_true(call->command, "upsert");
    (void)hf_sandbox_get_doc(call->command, "sort", &out->sort);
    (void)hf_sandbox_get_doc(call->command, "query", &out->filter);
    return out->removal == hf_sandbox_get_doc(call->command, "update", &out->update) ||
                   (out->removal && (out->want_new || out->upsert))
               ? REFUSE(call, FAILED_TO_PARSE,
                        "Either an update or remove=true must be specified, the latter without "
                        "new and upsert")
               : 0;
}

/* The old answer of a retry, from the entry and its image. */
static void recall(struct hf_sandbox_call *call, const bson_t *entry, struct statement *statement)
{
    uint64_t post = hf_sandbox_get_optime(entry, "postImageOpTime").ts;
    bson_t o;

    statement->n = 1;
    statement->upserting = hf_sandbox_get_utf8(entry, "op", "")[0] == 'i';
    if (statement->upserting && hf_sandbox_get_doc(entry, "o", &o)) {
        statement->after = bson_copy(&o);
    } else if (post != 0) {
        statement->after = hf_sandbox_retry_image(call, post);
    } else {
        statement->before =
            hf_sandbox_retry_image(call, hf_sandbox_get_optime(entry, "preImageOpTime").ts);
    }
}

static int32_t append_value(struct hf_sandbox_call *call, const bson_t *value)
{
    HF_CLEANUP(hf_sandbox_docs_fini) struct hf_sandbox_docs docs = {0};
    OWNED_DOC *stages = bson_new();
    bson_t fields;
    int32_t code;

    if (value == NULL) {
        bson_append_null(call->reply, "value", -1);
        return 0;
    }
    if (hf_sandbox_get_doc(call->command, "fields", &fields)) {
        BCON_APPEND(stages, "0", "{", "$project", BCON_DOCUMENT(&fields), "}");
    }
    code = hf_sandbox_docs_add_take(&docs, bson_copy(value), call->no);
    code = code != 0 ? code : hf_sandbox_pipeline_run(stages, 0, &docs, call->no);
    if (code == 0) {
        bson_append_document(call->reply, "value", -1, docs.items[0]);
    }
    return code;
}

static int32_t answer_find_and_modify(struct hf_sandbox_call *call,
                                      const struct statement *statement)
{
    bool found = statement->n > 0 && !statement->upserting;
    bson_value_t id = hf_sandbox_value_missing;
    bson_t last;
    int32_t code;

    bson_append_document_begin(call->reply, "lastErrorObject", -1, &last);
    bson_append_int32(&last, "n", -1, (int32_t)statement->n);
    if (!statement->removal) {
        bson_append_bool(&last, "updatedExisting", -1, found);
    }
    if (statement->upserting && hf_sandbox_get(statement->after, "_id", &id)) {
        hf_sandbox_append(&last, "upserted", &id);
    }
    bson_append_document_end(call->reply, &last);
    code = append_value(call, statement->want_new ? statement->after
                              : found             ? statement->before
                                                  : NULL);
    if (code == 0) {
        hf_sandbox_call_await(call);
    }
    return code;
}

int32_t hf_sandbox_cmd_find_and_modify(struct hf_sandbox_call *call)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
    struct writer writer;
    struct statement statement = {
        .writer = &writer, .filter = BSON_INITIALIZER, .sort = BSON_INITIALIZER, .images = true};
    const bson_t *entry;
    int32_t code = begin_writer(call, &writer);

    code = code != 0 ? code : read_find_and_modify(call, &statement);
    entry = hf_sandbox_retry_find(&writer.retry, 0);
    if (code == 0 && entry != NULL) {
        recall(call, entry, &statement);
    } else if (code == 0) {
        code = run_statement(&work, &statement);
    }
    code = code != 0 ? code : answer_find_and_modify(call, &statement);
    statement_fini(&statement);
    writer_fini(&writer);
    return code;
}
