/* SPDX-License-Identifier: Apache-2.0 */
/*
 * insert, update, delete, findAndModify: each statement runs in small transactions that find documents and change them,
 * each change logged before it as the real server logs it.
 *
 * Retryable writes: what a session did is one document in config.transactions that names its last oplog entry; the
 * entries name the ones before, and say which statement each of them was. So a retry finds the old answer.
 */
#include <string.h>

#include "sandbox/server_internal.h"
#include "sandbox/update.h"

#define TRANSACTIONS_NS "config.transactions"
#define OPLOG_NS "local.oplog.rs"
#define CHUNK_RECORDS 256
#define CHUNK_BYTES (4U << 20)
#define ATTEMPTS 16

struct write {
    struct hf_sandbox_call *call;
    enum hf_sandbox_work_kind kind;
    bson_t *lead;                            /* owned: {lsid, txnNumber}; NULL: not retryable */
    struct hf_sandbox_optime previous, last; /* entry under it; that of the attempt under way */
    struct hf_sandbox_docs done;             /* the entries of what was done before */
    /* The answer. */
    bson_t *errors, *upserted; /* owned */
    uint32_t error_count, upserted_count;
    int64_t n, modified;
    /* The statement under way. */
    int32_t id;
    bson_t filter, update, sort; /* views of the command; sort may be empty */
    bool removal, multi, upsert, images, want_new;
    struct hf_sandbox_docs docs;    /* to insert, or found */
    size_t from, to;                /* of those to insert */
    int64_t records[CHUNK_RECORDS]; /* of the documents found */
    int64_t position;               /* the last record that is done */
    int64_t found, changed;         /* in the last transaction */
    bool upserting;
    bson_t *before, *after; /* owned: images for findAndModify; after is also what an upsert made */
};

/* ---- Retries ---- */

static bson_t *entry_at(const struct hf_sandbox_call *call, uint64_t ts)
{
    const bson_value_t id = {.value_type = BSON_TYPE_TIMESTAMP,
                             .value.v_timestamp = {.timestamp = hf_sandbox_ts_seconds(ts),
                                                   .increment = hf_sandbox_ts_increment(ts)}};

    return ts == 0 ? NULL : hf_sandbox_call_lookup(call, OPLOG_NS, &id, NULL);
}

/* Reads what the session did under this txnNumber. */
static int32_t read_done(struct write *write)
{
    struct hf_sandbox_call *call = write->call;
    OWNED_DOC *session = hf_sandbox_session_doc(&call->session);
    bson_value_t id = hf_sandbox_value_of_doc(session);
    OWNED_DOC *doc = NULL;
    int64_t number;
    int32_t code = 0;

    if (!hf_sandbox_engine_replicated(call->engine)) {
        return REFUSE(call, ILLEGAL_OPERATION,
                      "Transaction numbers are only allowed on a replica set member or mongos");
    }
    write->lead =
        BCON_NEW("lsid", BCON_DOCUMENT(session), "txnNumber", BCON_INT64(call->txn_number));
    doc = hf_sandbox_call_lookup(call, TRANSACTIONS_NS, &id, NULL);
    number = doc == NULL ? -1 : hf_sandbox_get_int64(doc, "txnNum", -1);
    if (number > call->txn_number) {
        return REFUSE(
            call, TRANSACTION_TOO_OLD,
            "Retryable write with txnNumber %lld is prohibited on session because a newer "
            "retryable write with txnNumber %lld has already started on this session.",
            (long long)call->txn_number, (long long)number);
    }
    if (number == call->txn_number && bson_has_field(doc, "state")) {
        return REFUSE(call, INCOMPLETE_TRANSACTION_HISTORY,
                      "Cannot retry a retryable write that has been converted into a transaction");
    }
    if (number == call->txn_number) {
        write->previous = hf_sandbox_get_optime(doc, "lastWriteOpTime");
    }
    for (uint64_t ts = write->previous.ts; code == 0 && ts != 0;) {
        bson_t *entry = entry_at(call, ts);
        if (entry == NULL) {
            code = hf_sandbox_call_check(call);
            return code != 0 ? code
                             : REFUSE(call, INCOMPLETE_TRANSACTION_HISTORY,
                                      "the oplog lost what this session did");
        }
        ts = hf_sandbox_get_optime(entry, "prevOpTime").ts;
        code = hf_sandbox_docs_add_take(&write->done, entry, call->no);
    }
    return code;
}

/* The oplog entry of the statement; NULL when it was not done yet. */
static const bson_t *find_done(const struct write *write, int32_t statement)
{
    for (size_t i = 0; i < write->done.count; i++) {
        if (hf_sandbox_get_int64(write->done.items[i], "stmtId", 0) == statement) {
            return write->done.items[i];
        }
    }
    return NULL;
}

/* Stores, in the transaction of the write, which entry is the session's last one. */
static int32_t record_done(struct hf_sandbox_work *work, const struct write *write)
{
    OWNED_DOC *id = hf_sandbox_session_doc(&work->call->session);
    OWNED_DOC *entry = BCON_NEW(
        "op", "i", "ns", TRANSACTIONS_NS, "o", "{", "_id", BCON_DOCUMENT(id), "txnNum",
        BCON_INT64(work->call->txn_number), "lastWriteOpTime", HF_SANDBOX_BCON_OPTIME(write->last),
        "lastWriteDate", BCON_DATE_TIME(hf_sandbox_txn_wall(work->txn)), "}");
    struct hf_sandbox_coll *coll;
    int32_t code;

    if (write->lead == NULL || write->last.ts == write->previous.ts) {
        return 0;
    }
    code = hf_sandbox_work_need_coll(work, TRANSACTIONS_NS, &coll);
    return code != 0 ? code
                     : hf_sandbox_work_code(work, hf_sandbox_apply(work->txn, entry, &work->err));
}

static int32_t begin(struct hf_sandbox_call *call, struct write *out)
{
    *out = (struct write){.call = call,
                          .kind = hf_sandbox_work_kind_of(call->ns),
                          .previous = HF_SANDBOX_OPTIME_NONE,
                          .errors = bson_new(),
                          .upserted = bson_new(),
                          .filter = BSON_INITIALIZER,
                          .sort = BSON_INITIALIZER};
    if (strcmp(call->ns, OPLOG_NS) == 0 && hf_sandbox_repl_enabled(call->repl)) {
        return REFUSE(call, ILLEGAL_OPERATION, "cannot write to '" OPLOG_NS "'");
    }
    return out->kind != WORK_WRITE || call->txn_number < 0 || call->multi != NULL ? 0
                                                                                  : read_done(out);
}

static void end_statement(struct write *write)
{
    hf_sandbox_docs_fini(&write->docs);
    bson_destroy(HF_TAKE(write->before));
    bson_destroy(HF_TAKE(write->after));
    write->position = 0;
}

static void end(struct write *write)
{
    end_statement(write);
    hf_sandbox_docs_fini(&write->done);
    bson_destroy(write->lead);
    bson_destroy(write->errors);
    bson_destroy(write->upserted);
}

/* ---- One change ---- */

static bool coll_is_capped(const struct hf_sandbox_work *work, const char *ns)
{
    const struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, ns);

    return coll != NULL && coll->capped;
}

/* Logs the entry, with what retries need; *at is its time, NONE in `local`. */
static int32_t log_entry(struct hf_sandbox_work *work, struct write *write,
                         struct hf_sandbox_entry entry, struct hf_sandbox_optime post_image,
                         struct hf_sandbox_optime *at)
{
    OWNED_DOC *tail = bson_new();
    int32_t code;

    *at = HF_SANDBOX_OPTIME_NONE;
    if (work->call->multi != NULL && coll_is_capped(work, work->call->ns)) {
        return REFUSE(work->call, OPERATION_NOT_SUPPORTED_IN_TRANSACTION,
                      "Collection '%s' is a capped collection. Writes in transactions are not "
                      "allowed on capped collections.",
                      work->call->ns);
    }
    if (write->kind != WORK_WRITE) {
        return 0;
    }
    entry.ns = work->call->ns;
    entry.lead = write->lead;
    if (entry.lead != NULL) {
        bool imaged = entry.op[0] == 'n' || entry.pre_image.ts != 0 || post_image.ts != 0;
        bson_append_int32(tail, "stmtId", -1, write->id);
        hf_sandbox_append_optime(tail, "prevOpTime", imaged ? HF_SANDBOX_OPTIME_NONE : write->last);
        if (post_image.ts != 0) {
            hf_sandbox_append_optime(tail, "postImageOpTime", post_image);
        }
        entry.tail = tail;
    }
    code = hf_sandbox_work_code(work, hf_sandbox_txn_log(work->txn, &entry, at, &work->err));
    write->last = *at;
    return code;
}

static int32_t insert_one(struct hf_sandbox_work *work, struct write *write,
                          struct hf_sandbox_coll *coll, const bson_t *doc)
{
    struct hf_sandbox_entry entry = {.op = "i", .uuid = coll->uuid, .o = doc};
    struct hf_sandbox_optime at;
    int32_t code = log_entry(work, write, entry, HF_SANDBOX_OPTIME_NONE, &at);

    return code != 0 ? code
                     : hf_sandbox_work_code(
                           work, hf_sandbox_coll_insert(work->txn, coll, doc, NULL, &work->err));
}

static int32_t change_one(struct hf_sandbox_work *work, struct write *write,
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
    if (!write->removal) {
        code = hf_sandbox_update_apply(&write->update, doc, &updated, work->call->no);
        entry.op = "u";
        entry.o = updated.o;
        entry.o2 = key;
    }
    write->found++;
    if (code == 0 && updated.changed) {
        write->changed++;
        if (write->images && write->lead != NULL) {
            /* The document as findAndModify shows it, for a retry. */
            image.o = write->want_new ? updated.doc : doc;
            code = log_entry(work, write, image, HF_SANDBOX_OPTIME_NONE,
                             write->want_new ? &post_image : &entry.pre_image);
        }
        code = code != 0 ? code : log_entry(work, write, entry, post_image, &at);
        if (code == 0) {
            code = hf_sandbox_work_code(
                work, write->removal
                          ? hf_sandbox_coll_remove(work->txn, coll, record, doc, &work->err)
                          : hf_sandbox_coll_update(work->txn, coll, record, doc, updated.doc,
                                                   &work->err));
        }
    }
    if (code == 0 && write->images) {
        bson_destroy(write->before);
        bson_destroy(write->after);
        write->before = bson_copy(doc);
        write->after = HF_TAKE(updated.doc);
    }
    return code;
}

/* ---- A statement's transactions ---- */

static int32_t insert_chunk(struct hf_sandbox_work *work, void *context)
{
    struct write *write = context;
    struct hf_sandbox_coll *coll = NULL;
    int32_t code = hf_sandbox_work_need_coll(work, work->call->ns, &coll);

    write->last = write->previous;
    for (size_t i = write->from; code == 0 && i < write->to; i++) {
        write->id = (int32_t)i;
        if (find_done(write, write->id) == NULL) {
            code = insert_one(work, write, coll, write->docs.items[i]);
        }
    }
    return code != 0 ? code : record_done(work, write);
}

static bool is_full(const struct hf_sandbox_docs *docs)
{
    return docs->count == CHUNK_RECORDS || docs->bytes >= CHUNK_BYTES;
}

static bool collect(int64_t record, const bson_t *doc, void *context)
{
    struct write *write = context;
    struct hf_sandbox_docs *docs = &write->docs;
    bool sorted = !bson_empty(&write->sort);

    if (sorted && docs->count == 1) {
        if (hf_sandbox_sort_compare(&write->sort, doc, docs->items[0]) >= 0) {
            return true;
        }
        hf_sandbox_docs_fini(docs);
    }
    write->records[docs->count] = record;
    /* One document more than the chunk's bytes cannot be too much. */
    (void)!hf_sandbox_docs_add_take(docs, bson_copy(doc), write->call->no);
    return sorted || (write->multi && !is_full(docs));
}

/* Finds documents behind the position and changes them; where an upsert finds none at all, it inserts. */
static int32_t change_chunk(struct hf_sandbox_work *work, void *context)
{
    struct write *write = context;
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, work->call->ns);
    struct hf_sandbox_query query = {.filter = &write->filter, .after_record = write->position};
    int32_t code = 0;

    hf_sandbox_docs_fini(&write->docs);
    write->found = 0;
    write->changed = 0;
    write->last = write->previous;
    if (coll != NULL) {
        code = hf_sandbox_query_run(work, coll, &query, collect, write);
    }
    write->upserting = write->upsert && write->docs.count == 0 && write->position == 0;
    for (size_t i = 0; code == 0 && i < write->docs.count; i++) {
        code = change_one(work, write, coll, write->records[i], write->docs.items[i]);
    }
    if (code == 0 && write->upserting) {
        write->found = 1;
        bson_destroy(HF_TAKE(write->after));
        code =
            hf_sandbox_update_insert(&write->update, &write->filter, &write->after, work->call->no);
        code = code != 0 ? code : hf_sandbox_work_need_coll(work, work->call->ns, &coll);
        code = code != 0 ? code : insert_one(work, write, coll, write->after);
    }
    return code != 0 ? code : record_done(work, write);
}

static int32_t run(struct hf_sandbox_work *work, struct write *write, hf_sandbox_work_body body)
{
    int32_t code = hf_sandbox_work_run(work, write->kind, body, write);

    write->previous = code == 0 ? write->last : write->previous;
    return code;
}

/* Adds to the numbers of the answer; what was found, changed or inserted last is left. */
static int32_t run_statement(struct hf_sandbox_work *work, struct write *write)
{
    HF_CLEANUP(hf_sandbox_updated_fini) struct hf_sandbox_updated ignored = {0};
    bson_t nothing = BSON_INITIALIZER;
    unsigned attempts = 0;
    int32_t code = hf_sandbox_filter_check(&write->filter, work->call->no);

    if (code == 0 && !write->removal) { /* what is malformed is refused in any case */
        code = hf_sandbox_update_apply(&write->update, &nothing, &ignored, work->call->no);
    }
    while (code == 0) {
        code = run(work, write, change_chunk);
        if (code == HF_SANDBOX_DUPLICATE_KEY && write->upserting && work->call->multi == NULL &&
            ++attempts < ATTEMPTS) {
            code = 0; /* somebody else may have inserted it a moment ago */
            continue;
        }
        write->n += code == 0 ? write->found : 0;
        write->modified += code == 0 ? write->changed : 0;
        if (!write->multi || !is_full(&write->docs)) {
            break;
        }
        write->position = write->records[write->docs.count - 1];
    }
    return code;
}

/* ---- insert, update, delete ---- */

/* What ends the whole command rather than one statement. */
static bool is_fatal(int32_t code)
{
    return code == HF_SANDBOX_NOT_WRITABLE_PRIMARY || code == HF_SANDBOX_INTERRUPTED_AT_SHUTDOWN ||
           code == HF_SANDBOX_INTERRUPTED || code == HF_SANDBOX_MAX_TIME_MS_EXPIRED ||
           code == HF_SANDBOX_INTERNAL_ERROR || code == HF_SANDBOX_WRITE_CONFLICT;
}

static void add_error(struct write *write, const struct hf_sandbox_work *work, int32_t index,
                      int32_t code)
{
    OWNED_DOC *one = BCON_NEW("index", BCON_INT32(index), "code", BCON_INT32(code));

    write->call->multi_failed = true;

    if (code == HF_SANDBOX_DUPLICATE_KEY && work->duplicate != NULL) {
        bson_concat(one, work->duplicate);
    }
    bson_append_utf8(one, "errmsg", -1, work->call->no->message, -1);
    hf_sandbox_append_doc(write->errors, &write->error_count, one);
}

static void add_upserted(struct write *write, const bson_t *doc)
{
    OWNED_DOC *one = BCON_NEW("index", BCON_INT32(write->id));
    bson_value_t id = hf_sandbox_value_missing;

    (void)hf_sandbox_get(doc, "_id", &id);
    hf_sandbox_append(one, "_id", &id);
    hf_sandbox_append_doc(write->upserted, &write->upserted_count, one);
}

static int32_t insert_all(struct write *write, bool ordered)
{
    const struct hf_sandbox_docs *docs = &write->docs;
    size_t chunk = write->call->multi == NULL ? CHUNK_RECORDS : 1;

    while (write->from < docs->count) {
        HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = write->call};
        size_t bytes = 0;

        for (write->to = write->from;
             write->to < docs->count && write->to - write->from < chunk && bytes < CHUNK_BYTES;
             write->to++) {
            bytes += docs->items[write->to]->len;
        }
        int32_t code = run(&work, write, insert_chunk);
        if (is_fatal(code)) {
            return code;
        }
        if (code != 0 && write->to - write->from > 1) {
            chunk = 1; /* one of them is bad: find it */
            continue;
        }
        if (code == 0) {
            write->n += (int64_t)(write->to - write->from);
        } else {
            add_error(write, &work, (int32_t)write->from, code);
            if (ordered || write->call->multi != NULL) {
                return 0;
            }
        }
        write->from = write->to;
    }
    return 0;
}

static int32_t read_statement(struct write *write, const bson_t *doc)
{
    write->multi = write->removal ? hf_sandbox_get_int64(doc, "limit", 1) == 0
                                  : hf_sandbox_get_true(doc, "multi");
    write->upsert = hf_sandbox_get_true(doc, "upsert");
    if (!hf_sandbox_get_doc(doc, "q", &write->filter) ||
        (!write->removal && !hf_sandbox_get_doc(doc, "u", &write->update))) {
        return REFUSE(write->call, NO_SUCH_KEY, "a statement needs the documents q and u");
    }
    return write->multi && !write->removal && hf_sandbox_update_is_replacement(&write->update)
               ? REFUSE(write->call, FAILED_TO_PARSE,
                        "multi update is not supported for replacement-style update")
               : 0;
}

/* One that was done before answers the same. */
static int32_t run_one(struct write *write, const bson_t *doc, int32_t index)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = write->call};
    const bson_t *entry = find_done(write, index);
    bson_t o;
    int32_t code;

    write->id = index;
    if (entry != NULL) {
        const char *op = hf_sandbox_get_utf8(entry, "op", "");
        write->n++;
        write->modified += op[0] == 'u';
        if (op[0] == 'i' && hf_sandbox_get_doc(entry, "o", &o)) {
            add_upserted(write, &o);
        }
        return 0;
    }
    code = read_statement(write, doc);
    code = code != 0 ? code : run_statement(&work, write);
    if (code == 0 && write->upserting) {
        add_upserted(write, write->after);
    } else if (code != 0 && !is_fatal(code)) {
        add_error(write, &work, index, code);
    }
    end_statement(write);
    return code;
}

static void append_answer(const struct write *write, bool update)
{
    struct hf_sandbox_call *call = write->call;

    bson_append_int32(call->reply, "n", -1, (int32_t)write->n);
    if (write->upserted_count > 0) {
        bson_append_array(call->reply, "upserted", -1, write->upserted);
    }
    if (update) {
        bson_append_int32(call->reply, "nModified", -1, (int32_t)write->modified);
    }
    if (write->error_count > 0) {
        bson_append_array(call->reply, "writeErrors", -1, write->errors);
    }
    if (call->optime.ts != 0 && hf_sandbox_repl_enabled(call->repl)) {
        hf_sandbox_append_optime(call->reply, "opTime", call->optime);
    }
    hf_sandbox_call_await(call);
}

/* insert, update, delete: the command's name begins with another letter each. */
int32_t hf_sandbox_cmd_write(struct hf_sandbox_call *call)
{
    const char kind = (char)(call->name[0] | 0x20);
    const char *field = kind == 'i' ? "documents" : kind == 'u' ? "updates" : "deletes";
    struct write write;
    bson_value_t value = hf_sandbox_value_of_bool(true);
    bson_iter_t iter;
    bson_t doc;
    int32_t code = begin(call, &write);

    write.removal = kind == 'd';
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
            code = hf_sandbox_docs_add_take(&write.docs, hf_sandbox_doc_with_id(&doc), call->no);
        } else {
            code = run_one(&write, &doc, index);
            if (code != 0 && !is_fatal(code)) {
                code = 0;
                if (ordered || call->multi != NULL) {
                    break;
                }
            }
        }
    }
    code = code != 0 ? code : insert_all(&write, ordered);
    if (code == 0) {
        append_answer(&write, kind == 'u');
    }
    end(&write);
    return code;
}

/* ---- findAndModify ---- */

/* The old answer of a retry, from the entry and its image, which another entry holds. */
static void recall(struct write *write, const bson_t *entry)
{
    uint64_t post = hf_sandbox_get_optime(entry, "postImageOpTime").ts;
    uint64_t pre = hf_sandbox_get_optime(entry, "preImageOpTime").ts;
    OWNED_DOC *image = entry_at(write->call, post != 0 ? post : pre);
    bson_t o;

    write->found = 1;
    write->upserting = hf_sandbox_get_utf8(entry, "op", "")[0] == 'i';
    entry = write->upserting ? entry : image;
    if (entry != NULL && hf_sandbox_get_doc(entry, "o", &o)) {
        *(write->upserting || post != 0 ? &write->after : &write->before) = bson_copy(&o);
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

static int32_t answer_find_and_modify(struct hf_sandbox_call *call, const struct write *write)
{
    bool existing = write->found > 0 && !write->upserting;
    OWNED_DOC *last = BCON_NEW("n", BCON_INT32((int32_t)write->found));
    bson_value_t id = hf_sandbox_value_missing;

    if (!write->removal) {
        bson_append_bool(last, "updatedExisting", -1, existing);
    }
    if (write->upserting && hf_sandbox_get(write->after, "_id", &id)) {
        hf_sandbox_append(last, "upserted", &id);
    }
    bson_append_document(call->reply, "lastErrorObject", -1, last);
    return append_value(call, write->want_new ? write->after : existing ? write->before : NULL);
}

int32_t hf_sandbox_cmd_find_and_modify(struct hf_sandbox_call *call)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
    struct write write;
    int32_t code = begin(call, &write);
    const bson_t *entry = find_done(&write, 0);

    write.images = true;
    write.removal = hf_sandbox_get_true(call->command, "remove");
    write.want_new = hf_sandbox_get_true(call->command, "new");
    write.upsert = hf_sandbox_get_true(call->command, "upsert");
    (void)hf_sandbox_get_doc(call->command, "sort", &write.sort);
    (void)hf_sandbox_get_doc(call->command, "query", &write.filter);
    if (code == 0 && (write.removal == hf_sandbox_get_doc(call->command, "update", &write.update) ||
                      (write.removal && (write.want_new || write.upsert)))) {
        code = REFUSE(call, FAILED_TO_PARSE,
                      "Either an update or remove=true must be specified, the latter without new "
                      "and upsert");
    }
    if (code == 0 && entry != NULL) {
        recall(&write, entry);
    } else if (code == 0) {
        code = run_statement(&work, &write);
    }
    code = code != 0 ? code : answer_find_and_modify(call, &write);
    if (code == 0) {
        hf_sandbox_call_await(call);
    }
    end(&write);
    return code;
}
