/* SPDX-License-Identifier: Apache-2.0 */
/*
 * insert, update, delete, findAndModify: what documents a statement means is found first, then they are changed in
 * small transactions, each change logged as the real server logs it. A document that changed in between is looked at
 * again.
 */
#include <stdio.h>
#include <string.h>

#include "sandbox/expression.h"
#include "sandbox/server_internal.h"
#include "sandbox/update.h"

#define CHUNK_RECORDS 256
#define CHUNK_BYTES (4U << 20)
#define ATTEMPTS 16

enum write_kind { WRITE_INSERT, WRITE_UPDATE, WRITE_DELETE };

struct writer {
    struct hf_sandbox_call *call;
    char ns[HF_SANDBOX_NS_BYTES];
    enum hf_sandbox_work_kind work_kind;
    struct hf_sandbox_retry retry;
    struct hf_sandbox_optime last; /* of the attempt under way */
};

static int32_t begin_writer(struct hf_sandbox_call *call, struct writer *out)
{
    int32_t code;

    *out = (struct writer){.call = call};
    code = hf_sandbox_call_ns(call, out->ns);
    if (code != 0) {
        return code;
    }
    if (strcmp(out->ns, "local.oplog.rs") == 0 && hf_sandbox_engine_replicated(call->engine)) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_ILLEGAL_OPERATION,
                                 "cannot write to 'local.oplog.rs'");
    }
    out->work_kind = hf_sandbox_work_kind_of(out->ns);
    return out->work_kind == WORK_WRITE ? hf_sandbox_retry_begin(call, &out->retry) : 0;
}

/* One change and its entry. */
struct logged {
    const char *op;
    const bson_t *o, *o2;
    int32_t statement;
    struct hf_sandbox_optime pre_image, post_image; /* ts 0: none */
};

static int32_t log_change(struct hf_sandbox_work *work, struct writer *writer,
                          struct hf_sandbox_coll *coll, const struct logged *change,
                          struct hf_sandbox_optime *at)
{
    struct hf_sandbox_entry entry = {
        .lead = writer->retry.lead,
        .op = change->op,
        .ns = writer->ns,
        .uuid = hf_sandbox_coll_uuid(coll),
        .o = change->o,
        .o2 = change->o2,
        .pre_image = change->pre_image,
    };
    bson_t tail = BSON_INITIALIZER;
    enum hf_err rc;

    *at = HF_SANDBOX_OPTIME_NONE;
    if (writer->work_kind != WORK_WRITE) {
        bson_destroy(&tail);
        return 0;
    }
    if (writer->retry.lead != NULL) {
        bool imaged =
            change->op[0] == 'n' || change->pre_image.ts != 0 || change->post_image.ts != 0;
        bson_append_int32(&tail, "stmtId", -1, change->statement);
        hf_sandbox_append_optime(&tail, "prevOpTime",
                                 imaged ? HF_SANDBOX_OPTIME_NONE : writer->last);
        if (change->post_image.ts != 0) {
            hf_sandbox_append_optime(&tail, "postImageOpTime", change->post_image);
        }
        entry.tail = &tail;
    }
    rc = hf_sandbox_txn_log(work->txn, &entry, at, &work->err);
    bson_destroy(&tail);
    if (rc != HF_ERR_OK) {
        return hf_sandbox_work_refuse(work);
    }
    writer->last = *at;
    return 0;
}

/* The collection to write to, and that of the sessions where the write is retryable. */
static int32_t prepare(struct hf_sandbox_work *work, struct writer *writer, bool create,
                       struct hf_sandbox_coll **out)
{
    struct hf_sandbox_coll *sessions;
    int32_t code = 0;

    writer->last = writer->retry.previous;
    if (writer->retry.lead != NULL) {
        code = hf_sandbox_work_need_coll(work, "config.transactions", &sessions);
    }
    if (code == 0 && create) {
        code = hf_sandbox_work_need_coll(work, writer->ns, out);
    } else if (code == 0) {
        *out = hf_sandbox_txn_find(work->txn, writer->ns);
    }
    return code;
}

static int32_t conclude(struct hf_sandbox_work *work, struct writer *writer)
{
    return writer->last.ts != writer->retry.previous.ts
               ? hf_sandbox_retry_record(work, &writer->retry, writer->last)
               : 0;
}

static int32_t run_work(struct hf_sandbox_work *work, struct writer *writer,
                        hf_sandbox_work_body body, void *context)
{
    int32_t code = hf_sandbox_work_run(work, writer->work_kind, body, context);

    if (code == 0) {
        writer->retry.previous = writer->last;
    }
    return code;
}

static int32_t check_size(struct hf_sandbox_call *call, const bson_t *doc)
{
    return doc->len <= HF_SANDBOX_DOC_MAX
               ? 0
               : hf_sandbox_refuse(
                     call->no, HF_SANDBOX_BSON_OBJECT_TOO_LARGE,
                     "BSONObj size: %u is invalid. Size must be between 0 and 16793600(16MB)",
                     doc->len);
}

static int32_t insert_one(struct hf_sandbox_work *work, struct writer *writer,
                          struct hf_sandbox_coll *coll, const bson_t *doc, int32_t statement)
{
    struct logged change = {.op = "i", .o = doc, .statement = statement};
    struct hf_sandbox_optime at;
    int64_t record;
    int32_t code = check_size(work->call, doc);

    code = code != 0 ? code : log_change(work, writer, coll, &change, &at);
    if (code == 0 &&
        hf_sandbox_coll_insert(work->txn, coll, doc, &record, &work->err) != HF_ERR_OK) {
        code = hf_sandbox_work_refuse(work);
    }
    return code;
}

/* ---- Answers ---- */

struct answers {
    bson_t *errors;   /* owned */
    bson_t *upserted; /* owned */
    uint32_t error_count, upserted_count;
    int64_t n, modified;
    bool ordered;
};

/* What ends the whole command rather than one statement. */
static bool is_fatal(int32_t code)
{
    return code == HF_SANDBOX_NOT_WRITABLE_PRIMARY || code == HF_SANDBOX_INTERRUPTED_AT_SHUTDOWN ||
           code == HF_SANDBOX_INTERRUPTED || code == HF_SANDBOX_MAX_TIME_MS_EXPIRED ||
           code == HF_SANDBOX_INTERNAL_ERROR;
}

static void add_error(struct answers *answers, const struct hf_sandbox_work *work, int32_t index,
                      int32_t code)
{
    bson_t *one = bson_new();
    bson_value_t value;

    bson_append_int32(one, "index", -1, index);
    bson_append_int32(one, "code", -1, code);
    if (code == HF_SANDBOX_DUPLICATE_KEY && work->duplicate != NULL) {
        bson_concat(one, work->duplicate);
    }
    bson_append_utf8(one, "errmsg", -1, work->call->no->message, -1);
    value = hf_sandbox_value_of_doc(one);
    hf_sandbox_append_element(answers->errors, &answers->error_count, &value);
    bson_destroy(one);
}

static void append_answers(struct hf_sandbox_call *call, const struct answers *answers,
                           enum write_kind kind)
{
    bson_append_int32(call->reply, "n", -1, (int32_t)answers->n);
    if (answers->upserted_count > 0) {
        bson_append_array(call->reply, "upserted", -1, answers->upserted);
    }
    if (kind == WRITE_UPDATE) {
        bson_append_int32(call->reply, "nModified", -1, (int32_t)answers->modified);
    }
    if (answers->error_count > 0) {
        bson_append_array(call->reply, "writeErrors", -1, answers->errors);
    }
    if (hf_sandbox_repl_enabled(call->repl) && call->optime.ts != 0) {
        bson_oid_t election = {{0x7f, 0xff, 0xff, 0xff}};
        int64_t term = hf_sandbox_repl_term(call->repl);
        for (unsigned i = 0; i < 8; i++) {
            election.bytes[11 - i] = (uint8_t)(term >> (8 * i));
        }
        hf_sandbox_append_optime(call->reply, "opTime", call->optime);
        bson_append_oid(call->reply, "electionId", -1, &election);
    }
    hf_sandbox_call_await(call);
}

/* ---- insert ---- */

struct insertion {
    struct writer *writer;
    struct hf_sandbox_docs docs; /* those of the command, with _id */
    size_t from, to;
};

static int32_t insert_chunk(struct hf_sandbox_work *work, void *context)
{
    struct insertion *insertion = context;
    struct hf_sandbox_coll *coll = NULL;
    int32_t code = prepare(work, insertion->writer, true, &coll);

    for (size_t i = insertion->from; code == 0 && i < insertion->to; i++) {
        if (hf_sandbox_retry_find(&insertion->writer->retry, (int32_t)i) == NULL) {
            code = insert_one(work, insertion->writer, coll, insertion->docs.items[i], (int32_t)i);
        }
    }
    return code == 0 ? conclude(work, insertion->writer) : code;
}

static int32_t insert_all(struct insertion *insertion, struct answers *answers)
{
    struct hf_sandbox_call *call = insertion->writer->call;
    size_t count = insertion->docs.count;
    size_t chunk = CHUNK_RECORDS;

    while (insertion->from < count) {
        HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
        size_t bytes = 0;
        int32_t code;

        insertion->to = insertion->from;
        while (insertion->to < count && insertion->to - insertion->from < chunk &&
               bytes < CHUNK_BYTES) {
            bytes += insertion->docs.items[insertion->to++]->len;
        }
        code = run_work(&work, insertion->writer, insert_chunk, insertion);
        if (code == 0) {
            answers->n += (int64_t)(insertion->to - insertion->from);
            insertion->from = insertion->to;
            continue;
        }
        if (is_fatal(code)) {
            return code;
        }
        if (insertion->to - insertion->from > 1) {
            chunk = 1; /* one of them is bad: find it */
            continue;
        }
        add_error(answers, &work, (int32_t)insertion->from, code);
        if (answers->ordered) {
            return 0;
        }
        insertion->from++;
    }
    return 0;
}

static int32_t read_documents(struct hf_sandbox_call *call, struct hf_sandbox_docs *out)
{
    bson_iter_t iter;
    bson_t list;
    int32_t code = 0;

    if (!hf_sandbox_get_doc(call->command, "documents", &list) || bson_empty(&list) ||
        !bson_iter_init(&iter, &list)) {
        return hf_sandbox_refuse(
            call->no, HF_SANDBOX_INVALID_LENGTH,
            "Write batch sizes must be between 1 and 100000. Got 0 operations.");
    }
    while (code == 0 && bson_iter_next(&iter)) {
        bson_t doc;
        if (!BSON_ITER_HOLDS_DOCUMENT(&iter) ||
            !hf_sandbox_value_doc(bson_iter_value(&iter), &doc)) {
            return hf_sandbox_refuse(call->no, HF_SANDBOX_TYPE_MISMATCH,
                                     "documents must be objects");
        }
        code = hf_sandbox_docs_add_take(out, hf_sandbox_doc_with_id(&doc), call->no);
    }
    return code;
}

static void answers_init(struct answers *answers, const struct hf_sandbox_call *call)
{
    bson_value_t ordered;

    *answers = (struct answers){.errors = bson_new(), .upserted = bson_new()};
    answers->ordered =
        !hf_sandbox_get(call->command, "ordered", &ordered) || hf_sandbox_is_true(&ordered);
}

static void answers_fini(struct answers *answers)
{
    bson_destroy(answers->errors);
    bson_destroy(answers->upserted);
}

int32_t hf_sandbox_cmd_insert(struct hf_sandbox_call *call)
{
    struct writer writer;
    struct insertion insertion = {.writer = &writer};
    struct answers answers;
    int32_t code = begin_writer(call, &writer);

    answers_init(&answers, call);
    code = code != 0 ? code : read_documents(call, &insertion.docs);
    code = code != 0 ? code : insert_all(&insertion, &answers);
    if (code == 0) {
        append_answers(call, &answers, WRITE_INSERT);
    }
    answers_fini(&answers);
    hf_sandbox_docs_fini(&insertion.docs);
    hf_sandbox_retry_fini(&writer.retry);
    return code;
}

/* ---- update, delete: one statement ---- */

struct statement {
    struct writer *writer;
    int32_t id;
    struct hf_sandbox_matcher *matcher; /* owned */
    struct hf_sandbox_update *update;   /* owned; NULL: a removal */
    bson_value_t sort;                  /* findAndModify; borrowed from the command */
    bool multi, upsert, images, want_new;
    /* Found. */
    int64_t *records; /* owned */
    size_t record_count, record_capacity;
    bson_t *best; /* owned: the first in the order of sort */
    size_t from, to;
    /* Done; reset by every attempt. */
    int64_t n, modified;
    bson_t *before, *after; /* owned: images for findAndModify, after is also what an upsert made */
};

static void statement_fini(struct statement *statement)
{
    hf_sandbox_matcher_destroy(statement->matcher);
    hf_sandbox_update_destroy(statement->update);
    hf_free(statement->records);
    bson_destroy(statement->best);
    bson_destroy(statement->before);
    bson_destroy(statement->after);
}

static bool collect_record(int64_t record, const bson_t *doc, void *context)
{
    struct statement *statement = context;
    bson_t sort;

    if (hf_sandbox_value_doc(&statement->sort, &sort) && !bson_empty(&sort)) {
        if (statement->best != NULL && hf_sandbox_sort_compare(&sort, doc, statement->best) >= 0) {
            return true;
        }
        bson_destroy(statement->best);
        statement->best = bson_copy(doc);
        statement->record_count = 0;
    }
    if (statement->record_count == statement->record_capacity) {
        size_t capacity = statement->record_capacity == 0 ? 8 : statement->record_capacity * 2;
        int64_t *grown = hf_realloc_array(statement->records, capacity, sizeof *grown);
        HF_ASSERT(grown != NULL);
        statement->records = grown;
        statement->record_capacity = capacity;
    }
    statement->records[statement->record_count++] = record;
    return statement->multi || statement->best != NULL;
}

static int32_t collect(struct hf_sandbox_work *work, void *context)
{
    struct statement *statement = context;
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, statement->writer->ns);
    struct hf_sandbox_query query = {.matcher = statement->matcher};

    statement->record_count = 0;
    bson_destroy(HF_TAKE(statement->best));
    return coll == NULL ? 0 : hf_sandbox_query_run(work, coll, &query, collect_record, statement);
}

/* The entry that keeps a document as findAndModify shows it, for a retry. */
static int32_t log_image(struct hf_sandbox_work *work, struct statement *statement,
                         struct hf_sandbox_coll *coll, const bson_t *image, struct logged *change)
{
    struct logged noop = {.op = "n", .o = image, .statement = statement->id};
    bool wanted = statement->images && statement->writer->retry.lead != NULL;

    return wanted ? log_change(work, statement->writer, coll, &noop,
                               statement->want_new ? &change->post_image : &change->pre_image)
                  : 0;
}

static int32_t change_record(struct hf_sandbox_work *work, struct statement *statement,
                             struct hf_sandbox_coll *coll, int64_t record, const bson_t *doc,
                             int32_t array_index)
{
    HF_CLEANUP(hf_sandbox_updated_fini) struct hf_sandbox_updated updated = {0};
    struct logged change = {.op = statement->update == NULL ? "d" : "u",
                            .statement = statement->id};
    struct hf_sandbox_optime at;
    bson_t key = BSON_INITIALIZER;
    bson_value_t id;
    int32_t code = 0;

    if (statement->update != NULL) {
        code = hf_sandbox_update_apply(statement->update, doc, array_index,
                                       (int64_t)hf_clock_wall_ms(), &updated, work->call->no);
        code = code != 0 ? code : check_size(work->call, updated.doc);
    }
    if (hf_sandbox_get(doc, "_id", &id)) {
        hf_sandbox_append(&key, "_id", &id);
    }
    if (code == 0 && (statement->update == NULL || updated.changed)) {
        change.o = statement->update == NULL ? &key : updated.o;
        change.o2 = statement->update == NULL ? NULL : &key;
        code = log_image(work, statement, coll, statement->want_new ? updated.doc : doc, &change);
        code = code != 0 ? code : log_change(work, statement->writer, coll, &change, &at);
        if (code == 0 && (statement->update == NULL
                              ? hf_sandbox_coll_remove(work->txn, coll, record, doc, &work->err)
                              : hf_sandbox_coll_update(work->txn, coll, record, doc, updated.doc,
                                                       &work->err)) != HF_ERR_OK) {
            code = hf_sandbox_work_refuse(work);
        }
        statement->modified++;
    }
    bson_destroy(&key);
    statement->n++;
    if (code == 0 && statement->images) {
        bson_destroy(statement->before);
        bson_destroy(statement->after);
        statement->before = bson_copy(doc);
        statement->after = HF_TAKE(updated.doc);
    }
    return code;
}

static int32_t change_chunk(struct hf_sandbox_work *work, void *context)
{
    struct statement *statement = context;
    struct hf_sandbox_coll *coll = NULL;
    int32_t code = prepare(work, statement->writer, false, &coll);

    statement->n = 0;
    statement->modified = 0;
    if (code == 0 && coll != NULL && statement->update == NULL && hf_sandbox_coll_capped(coll)) {
        return hf_sandbox_refuse(work->call->no, HF_SANDBOX_ILLEGAL_OPERATION,
                                 "cannot remove from a capped collection: %s",
                                 statement->writer->ns);
    }
    for (size_t i = statement->from; code == 0 && coll != NULL && i < statement->to; i++) {
        bson_t *doc = NULL;
        int32_t place = -1;
        if (hf_sandbox_coll_get(work->txn, coll, statement->records[i], &doc, &work->err) !=
            HF_ERR_OK) {
            return hf_sandbox_work_refuse(work);
        }
        if (doc != NULL && hf_sandbox_matcher_test_place(statement->matcher, doc, &place)) {
            code = change_record(work, statement, coll, statement->records[i], doc, place);
        }
        bson_destroy(doc);
    }
    return code == 0 ? conclude(work, statement->writer) : code;
}

static int32_t upsert(struct hf_sandbox_work *work, void *context)
{
    struct statement *statement = context;
    struct hf_sandbox_coll *coll = NULL;
    bson_t *doc = NULL;
    int32_t code = prepare(work, statement->writer, true, &coll);

    if (code == 0) {
        code = hf_sandbox_update_insert(statement->update, statement->matcher,
                                        (int64_t)hf_clock_wall_ms(), &doc, work->call->no);
    }
    code = code != 0 ? code : insert_one(work, statement->writer, coll, doc, statement->id);
    code = code != 0 ? code : conclude(work, statement->writer);
    bson_destroy(statement->after);
    statement->after = doc;
    return code;
}

/* Finds, changes, inserts where nothing was found: *n and *modified as the command counts them. */
static int32_t run_statement(struct hf_sandbox_work *work, struct statement *statement, int64_t *n,
                             int64_t *modified, bool *upserted)
{
    *n = 0;
    *modified = 0;
    *upserted = false;
    for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
        int32_t code = hf_sandbox_work_run(work, WORK_READ, collect, statement);
        for (statement->from = 0; code == 0 && statement->from < statement->record_count;
             statement->from = statement->to) {
            size_t left = statement->record_count - statement->from;
            statement->to = statement->from + (left < CHUNK_RECORDS ? left : CHUNK_RECORDS);
            code = run_work(work, statement->writer, change_chunk, statement);
            *n += code == 0 ? statement->n : 0;
            *modified += code == 0 ? statement->modified : 0;
        }
        if (code != 0 || *n > 0) {
            return code;
        }
        if (statement->record_count > 0 && !statement->multi) {
            continue; /* somebody changed what was found: look again */
        }
        if (!statement->upsert) {
            return 0;
        }
        code = run_work(work, statement->writer, upsert, statement);
        if (code != HF_SANDBOX_DUPLICATE_KEY) {
            *upserted = code == 0;
            *n = code == 0;
            return code;
        }
        if (attempt + 1 == ATTEMPTS) {
            return code;
        }
    }
    return hf_sandbox_refuse(work->call->no, HF_SANDBOX_WRITE_CONFLICT, "WriteConflict");
}

/* ---- update, delete: the commands ---- */

static void add_upserted(struct answers *answers, int32_t index, const bson_t *doc)
{
    bson_t *one = bson_new();
    bson_value_t value;

    bson_append_int32(one, "index", -1, index);
    if (hf_sandbox_get(doc, "_id", &value)) {
        hf_sandbox_append(one, "_id", &value);
    }
    value = hf_sandbox_value_of_doc(one);
    hf_sandbox_append_element(answers->upserted, &answers->upserted_count, &value);
    bson_destroy(one);
}

/* A statement that was done before answers the same. */
static bool answer_again(const struct writer *writer, int32_t index, struct answers *answers)
{
    const bson_t *entry = hf_sandbox_retry_find(&writer->retry, index);
    const char *op = entry == NULL ? "" : hf_sandbox_get_utf8(entry, "op", "");
    bson_t o;

    if (entry == NULL) {
        return false;
    }
    answers->n++;
    answers->modified += op[0] == 'u';
    if (op[0] == 'i' && hf_sandbox_get_doc(entry, "o", &o)) {
        add_upserted(answers, index, &o);
    }
    return true;
}

static int32_t read_statement(struct hf_sandbox_call *call, const bson_t *doc, enum write_kind kind,
                              struct statement *out)
{
    bson_t query;
    bson_t filters;
    bson_value_t update;
    int32_t code;

    if (!hf_sandbox_get_doc(doc, "q", &query)) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_NO_SUCH_KEY,
                                 "BSON field 'q' is missing but a required field");
    }
    code = hf_sandbox_matcher_create(&query, &out->matcher, call->no);
    if (kind == WRITE_DELETE) {
        out->multi = hf_sandbox_get_int64(doc, "limit", 1) == 0;
        return code;
    }
    out->multi = hf_sandbox_get_true(doc, "multi");
    out->upsert = hf_sandbox_get_true(doc, "upsert");
    if (code == 0 && !hf_sandbox_get(doc, "u", &update)) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_NO_SUCH_KEY,
                                 "BSON field 'u' is missing but a required field");
    }
    if (code == 0) {
        code = hf_sandbox_update_create(
            &update, hf_sandbox_get_doc(doc, "arrayFilters", &filters) ? &filters : NULL,
            &out->update, call->no);
    }
    if (code == 0 && out->multi && hf_sandbox_update_is_replacement(out->update)) {
        code = hf_sandbox_refuse(call->no, HF_SANDBOX_FAILED_TO_PARSE,
                                 "multi update is not supported for replacement-style update");
    }
    if (code == 0 && out->multi && call->txn_number >= 0) {
        code = hf_sandbox_refuse(call->no, HF_SANDBOX_INVALID_OPTIONS,
                                 "Cannot use retryable writes with multi-document updates");
    }
    return code;
}

static int32_t run_one(struct writer *writer, const bson_t *doc, enum write_kind kind,
                       int32_t index, struct answers *answers)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = writer->call};
    struct statement statement = {.writer = writer, .id = index};
    int64_t n = 0;
    int64_t modified = 0;
    bool upserted = false;
    int32_t code = read_statement(writer->call, doc, kind, &statement);

    code = code != 0 ? code : run_statement(&work, &statement, &n, &modified, &upserted);
    answers->n += n;
    answers->modified += upserted ? 0 : modified;
    if (upserted) {
        add_upserted(answers, index, statement.after);
    }
    if (code != 0 && !is_fatal(code)) {
        add_error(answers, &work, index, code);
    }
    statement_fini(&statement);
    return code;
}

static int32_t run_statements(struct hf_sandbox_call *call, const char *field, enum write_kind kind)
{
    struct writer writer;
    struct answers answers;
    bson_iter_t iter;
    bson_t list;
    int32_t index = 0;
    int32_t code = begin_writer(call, &writer);

    answers_init(&answers, call);
    if (code == 0 && (!hf_sandbox_get_doc(call->command, field, &list) || bson_empty(&list) ||
                      !bson_iter_init(&iter, &list))) {
        code =
            hf_sandbox_refuse(call->no, HF_SANDBOX_INVALID_LENGTH,
                              "Write batch sizes must be between 1 and 100000. Got 0 operations.");
    }
    for (; code == 0 && bson_iter_next(&iter); index++) {
        bson_t doc;
        if (!hf_sandbox_value_doc(bson_iter_value(&iter), &doc)) {
            code = hf_sandbox_refuse(call->no, HF_SANDBOX_TYPE_MISMATCH, "%s must hold objects",
                                     field);
        } else if (!answer_again(&writer, index, &answers)) {
            code = run_one(&writer, &doc, kind, index, &answers);
            if (code != 0 && !is_fatal(code)) {
                code = 0;
                if (answers.ordered) {
                    break;
                }
            }
        }
    }
    if (code == 0) {
        append_answers(call, &answers, kind);
    }
    answers_fini(&answers);
    hf_sandbox_retry_fini(&writer.retry);
    return code;
}

int32_t hf_sandbox_cmd_update(struct hf_sandbox_call *call)
{
    return run_statements(call, "updates", WRITE_UPDATE);
}

int32_t hf_sandbox_cmd_delete(struct hf_sandbox_call *call)
{
    return run_statements(call, "deletes", WRITE_DELETE);
}

/* ---- findAndModify ---- */

static int32_t read_find_and_modify(struct hf_sandbox_call *call, struct statement *out)
{
    bool remove = hf_sandbox_get_true(call->command, "remove");
    bson_t none = BSON_INITIALIZER;
    bson_t query;
    bson_t filters;
    bson_value_t update;
    int32_t code;

    out->images = true;
    out->want_new = hf_sandbox_get_true(call->command, "new");
    out->upsert = hf_sandbox_get_true(call->command, "upsert");
    (void)hf_sandbox_get(call->command, "sort", &out->sort);
    if (remove == hf_sandbox_get(call->command, "update", &update)) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_FAILED_TO_PARSE,
                                 remove ? "Cannot specify both an update and remove=true"
                                        : "Either an update or remove=true must be specified");
    }
    if (remove && (out->want_new || out->upsert)) {
        return hf_sandbox_refuse(
            call->no, HF_SANDBOX_FAILED_TO_PARSE,
            "Cannot specify new=true or upsert=true together with remove=true");
    }
    code = hf_sandbox_matcher_create(hf_sandbox_get_doc(call->command, "query", &query) ? &query
                                                                                        : &none,
                                     &out->matcher, call->no);
    if (code == 0 && !remove) {
        code = hf_sandbox_update_create(
            &update, hf_sandbox_get_doc(call->command, "arrayFilters", &filters) ? &filters : NULL,
            &out->update, call->no);
    }
    return code;
}

/* The old answer of a retry, from the entry and its image. */
static void recall(struct hf_sandbox_call *call, const bson_t *entry, struct statement *statement,
                   bool *upserted)
{
    uint64_t pre = hf_sandbox_get_optime(entry, "preImageOpTime").ts;
    uint64_t post = hf_sandbox_get_optime(entry, "postImageOpTime").ts;
    bson_t o;

    *upserted = strcmp(hf_sandbox_get_utf8(entry, "op", ""), "i") == 0;
    if (*upserted && hf_sandbox_get_doc(entry, "o", &o)) {
        statement->after = bson_copy(&o);
    } else if (post != 0) {
        statement->after = hf_sandbox_retry_image(call, post);
    } else {
        statement->before = hf_sandbox_retry_image(call, pre);
    }
}

static int32_t append_find_and_modify(struct hf_sandbox_call *call,
                                      const struct statement *statement, bool found, bool upserted)
{
    const bson_t *value = statement->want_new ? statement->after : found ? statement->before : NULL;
    bson_t last;
    bson_t fields;
    int32_t code = 0;

    bson_append_document_begin(call->reply, "lastErrorObject", -1, &last);
    bson_append_int32(&last, "n", -1, found || upserted);
    if (statement->update != NULL) {
        bson_value_t id;
        bson_append_bool(&last, "updatedExisting", -1, found);
        if (upserted && hf_sandbox_get(statement->after, "_id", &id)) {
            hf_sandbox_append(&last, "upserted", &id);
        }
    }
    bson_append_document_end(call->reply, &last);
    if (value == NULL) {
        bson_append_null(call->reply, "value", -1);
    } else if (hf_sandbox_get_doc(call->command, "fields", &fields) && !bson_empty(&fields)) {
        HF_CLEANUP(hf_sandbox_projection_destroy) struct hf_sandbox_projection *projection = NULL;
        bson_t *projected = NULL;
        code = hf_sandbox_projection_create(&fields, &projection, call->no);
        code = code != 0 ? code : hf_sandbox_project(projection, value, &projected, call->no);
        if (code == 0) {
            bson_append_document(call->reply, "value", -1, projected);
        }
        bson_destroy(projected);
    } else {
        bson_append_document(call->reply, "value", -1, value);
    }
    return code;
}

int32_t hf_sandbox_cmd_find_and_modify(struct hf_sandbox_call *call)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
    struct writer writer;
    struct statement statement = {.writer = &writer};
    const bson_t *entry;
    int64_t n = 0;
    int64_t modified = 0;
    bool upserted = false;
    int32_t code = begin_writer(call, &writer);

    code = code != 0 ? code : read_find_and_modify(call, &statement);
    entry = code == 0 ? hf_sandbox_retry_find(&writer.retry, 0) : NULL;
    if (entry != NULL) {
        recall(call, entry, &statement, &upserted);
        n = 1;
    } else if (code == 0) {
        code = run_statement(&work, &statement, &n, &modified, &upserted);
    }
    if (code == 0) {
        code = append_find_and_modify(call, &statement, n > 0 && !upserted, upserted);
    }
    if (code == 0) {
        hf_sandbox_call_await(call);
    }
    statement_fini(&statement);
    hf_sandbox_retry_fini(&writer.retry);
    return code;
}
