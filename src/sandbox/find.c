/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading documents for commands: find, count, distinct and aggregate are pipelines over a collection, streamed in
 * natural order where nothing asks for the whole.
 */
#include <stdio.h>
#include <string.h>

#include "sandbox/server_internal.h"

struct filling {
    struct hf_sandbox_call *call;
    struct hf_sandbox_cursor *cursor;
    const bson_t *filter; /* NULL: all documents */
    bool counting;        /* keeps no documents */
    int64_t want, found;
    bool enough, full;
    int32_t code;
};

static bool take_doc(int64_t record, const bson_t *doc, void *context)
{
    struct filling *filling = context;
    struct hf_sandbox_cursor *cursor = filling->cursor;

    cursor->position = record;
    if (cursor->skip > 0) {
        cursor->skip--;
        return true;
    }
    filling->found++;
    if (!filling->counting) {
        filling->code = hf_sandbox_docs_add_take(&cursor->docs, bson_copy(doc), filling->call->no);
    }
    filling->enough = cursor->limit > 0 && --cursor->limit == 0;
    filling->full = !cursor->whole && ((int64_t)cursor->docs.count >= filling->want ||
                                       cursor->docs.bytes >= HF_SANDBOX_BATCH_MAX_BYTES);
    return filling->code == 0 && !filling->enough && !filling->full;
}

static int32_t fill(struct hf_sandbox_work *work, void *context)
{
    struct filling *filling = context;
    struct hf_sandbox_cursor *cursor = filling->cursor;
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, cursor->ns);
    struct hf_sandbox_query query = {
        .filter = filling->filter, .backward = cursor->backward, .after_record = cursor->position};
    int32_t code = coll == NULL ? 0 : hf_sandbox_query_run(work, coll, &query, take_doc, filling);

    return code != 0 ? code : filling->code;
}

int32_t hf_sandbox_find_fill(struct hf_sandbox_call *call, struct hf_sandbox_cursor *cursor,
                             int64_t count, bool *ended)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
    struct filling filling = {.call = call, .cursor = cursor, .want = count};
    const char *name = NULL;
    bson_t stage, filter;
    uint32_t at = 0;
    int32_t code;

    /* A first $match is the scan's business, and a $count behind it. */
    if (hf_sandbox_get_doc(cursor->stages, "0", &stage) &&
        hf_sandbox_get_doc(&stage, "$match", &filter)) {
        filling.filter = &filter;
        at = 1;
    }
    if (hf_sandbox_get_doc(cursor->stages, at == 0 ? "0" : "1", &stage)) {
        name = hf_sandbox_get_utf8(&stage, "$count", NULL);
        filling.counting = name != NULL;
    }
    code = hf_sandbox_work_run(&work, WORK_READ, fill, &filling);
    *ended = filling.enough || !filling.full;
    if (code == 0 && filling.counting && filling.found > 0) {
        bson_t *doc = bson_new();
        bson_append_int32(doc, name, -1, (int32_t)filling.found);
        code = hf_sandbox_docs_add_take(&cursor->docs, doc, call->no);
    }
    at += filling.counting;
    return code != 0 ? code : hf_sandbox_pipeline_run(cursor->stages, at, &cursor->docs, call->no);
}

/* *out reads the collection of the call through the stages, at once when it needs the whole; the caller's to destroy. */
static int32_t open_cursor(struct hf_sandbox_call *call, const bson_t *stages, bool whole,
                           struct hf_sandbox_cursor **out)
{
    struct hf_sandbox_docs none = {0};
    bool ended;
    int32_t code = hf_sandbox_pipeline_run(stages, 0, &none, call->no);

    if (code != 0) {
        return code;
    }
    *out = hf_sandbox_cursor_create(call, call->ns);
    (*out)->stages = bson_copy(stages);
    (*out)->whole = whole;
    if (whole) {
        code = hf_sandbox_find_fill(call, *out, 0, &ended);
        bson_destroy(HF_TAKE((*out)->stages));
    }
    return code;
}

/* Appends {name: field of the command}, unless that is missing, empty or 0. */
static void add_stage(const struct hf_sandbox_call *call, bson_t *stages, const char *name,
                      const char *field)
{
    bson_value_t value = hf_sandbox_value_missing;
    uint32_t at = bson_count_keys(stages);
    OWNED_DOC *stage = bson_new();
    bson_t doc;

    (void)hf_sandbox_get(call->command, field, &value);
    if (hf_sandbox_is_true(&value) || (hf_sandbox_value_doc(&value, &doc) && !bson_empty(&doc))) {
        hf_sandbox_append(stage, name, &value);
        hf_sandbox_append_doc(stages, &at, stage);
    }
}

/* ---- find, count, distinct ---- */

int32_t hf_sandbox_cmd_find(struct hf_sandbox_call *call)
{
    struct hf_sandbox_cursor *cursor = NULL;
    OWNED_DOC *stages = bson_new();
    bson_t sort = BSON_INITIALIZER;
    int64_t natural;
    bool sorted;
    int32_t code;

    (void)hf_sandbox_get_doc(call->command, "sort", &sort);
    natural = hf_sandbox_get_int64(&sort, "$natural", 0);
    sorted = natural == 0 && !bson_empty(&sort);
    add_stage(call, stages, "$match", "filter");
    if (sorted) {
        add_stage(call, stages, "$sort", "sort");
        add_stage(call, stages, "$skip", "skip");
        add_stage(call, stages, "$limit", "limit");
    }
    add_stage(call, stages, "$project", "projection");
    code = open_cursor(call, stages, sorted, &cursor);
    if (code != 0) {
        return hf_sandbox_cursor_begin_take(call, cursor, code);
    }
    cursor->backward = natural < 0;
    cursor->skip = hf_sandbox_get_int64(call->command, "skip", 0);
    cursor->limit = hf_sandbox_get_int64(call->command, "limit", 0);
    cursor->tailable = hf_sandbox_get_true(call->command, "tailable");
    cursor->await_data = cursor->tailable && hf_sandbox_get_true(call->command, "awaitData");
    cursor->no_timeout = hf_sandbox_get_true(call->command, "noCursorTimeout");
    return hf_sandbox_cursor_begin_take(call, cursor, 0);
}

int32_t hf_sandbox_cmd_count(struct hf_sandbox_call *call)
{
    struct hf_sandbox_cursor *cursor = NULL;
    OWNED_DOC *stages = bson_new();
    int32_t code;

    add_stage(call, stages, "$match", "query");
    add_stage(call, stages, "$skip", "skip");
    add_stage(call, stages, "$limit", "limit");
    BCON_APPEND(stages, bson_empty(stages) ? "0" : "1", "{", "$count", BCON_UTF8("n"), "}");
    code = open_cursor(call, stages, true, &cursor);
    if (code == 0 && cursor->docs.count == 0) {
        bson_append_int32(call->reply, "n", -1, 0);
    } else if (code == 0) {
        bson_concat(call->reply, cursor->docs.items[0]);
    }
    hf_sandbox_cursor_destroy(call->server, cursor);
    return code;
}

int32_t hf_sandbox_cmd_distinct(struct hf_sandbox_call *call)
{
    HF_CLEANUP(hf_free)
    char *path = hf_asprintf("$%s", hf_sandbox_get_utf8(call->command, "key", ""));
    struct hf_sandbox_cursor *cursor = NULL;
    OWNED_DOC *stages = bson_new();
    bson_t values;
    uint32_t index = 0;
    int32_t code;

    HF_ASSERT(path != NULL);
    add_stage(call, stages, "$match", "query");
    BCON_APPEND(stages, "distinct", "{", "$group", "{", "_id", BCON_UTF8(path), "}", "}");
    code = open_cursor(call, stages, true, &cursor);
    bson_append_array_begin(call->reply, "values", -1, &values);
    for (size_t i = 0; code == 0 && i < cursor->docs.count; i++) {
        bson_value_t value;
        if (hf_sandbox_get(cursor->docs.items[i], "_id", &value) &&
            !hf_sandbox_is_nullish(&value)) {
            hf_sandbox_append_element(&values, &index, &value);
        }
    }
    bson_append_array_end(call->reply, &values);
    hf_sandbox_cursor_destroy(call->server, cursor);
    return code;
}

/* ---- aggregate ---- */

/* The name of a first stage that makes its own documents; NULL for the others. */
static const char *source_of(const bson_t *stages, bson_value_t *spec)
{
    static const char *const names[] = {"$backupCursor", "$backupCursorExtend", "$currentOp"};
    bson_t first;

    for (size_t i = 0; hf_sandbox_get_doc(stages, "0", &first) && i < HF_ARRAY_LEN(names); i++) {
        if (hf_sandbox_get(&first, names[i], spec)) {
            return names[i];
        }
    }
    return NULL;
}

static int32_t check_aggregate(struct hf_sandbox_call *call, const char *source)
{
    static const char known[] =
        " aggregate pipeline cursor lsid $clusterTime $db $readPreference readConcern writeConcern "
        "maxTimeMS allowDiskUse collation hint comment let bypassDocumentValidation txnNumber "
        "autocommit startTransaction ";
    const char *coll = hf_sandbox_get_utf8(call->command, "aggregate", NULL);
    char field[64];

    HF_SANDBOX_EACH (iter, call->command, true) {
        (void)snprintf(field, sizeof field, " %s ", bson_iter_key(&iter));
        if (strstr(known, field) == NULL) {
            return REFUSE(call, FAILED_TO_PARSE, "unrecognized field '%s'", bson_iter_key(&iter));
        }
    }
    if (source != NULL && coll != NULL) {
        return REFUSE(call, INVALID_NAMESPACE, "'%s' can only be run with {aggregate: 1}", source);
    }
    bool current_op = source != NULL && strcmp(source, "$currentOp") == 0;
    return hf_sandbox_call_may(call, current_op ? "inprog" : "find",
                               current_op       ? NULL
                               : source != NULL ? "admin"
                                                : call->db,
                               coll)
               ? 0
               : hf_sandbox_call_denied(call);
}

/* What the source makes goes through the stages behind it; the cursor may have to live on. */
static int32_t run_source(struct hf_sandbox_call *call, const char *name, const bson_value_t *spec,
                          const bson_t *stages, struct hf_sandbox_cursor *cursor)
{
    struct hf_sandbox_docs *docs = &cursor->docs;
    OWNED_DOC *listed = bson_new();
    bson_t view;
    int32_t code = hf_sandbox_pipeline_run(stages, 1, docs, call->no);

    if (code != 0) {
        return code;
    }
    if (strcmp(name, "$currentOp") == 0) {
        code = hf_sandbox_ops_list(call, docs);
        if (code == 0 && hf_sandbox_value_doc(spec, &view) &&
            hf_sandbox_get_true(&view, "idleCursors")) {
            code = hf_sandbox_cursors_list(call, docs);
        }
    } else if (strcmp(name, "$backupCursor") == 0) {
        code = hf_sandbox_backup_open(call->engine, spec, listed, cursor->backup_id, call->no);
        cursor->backup = code == 0;
        cursor->tailable = true;
    } else {
        code = hf_sandbox_backup_extend(call->engine, spec, call->deadline_ms, call->cancel, listed,
                                        call->no);
    }
    HF_SANDBOX_EACH (iter, listed, code == 0) {
        HF_ASSERT(hf_sandbox_value_doc(bson_iter_value(&iter), &view));
        code = hf_sandbox_docs_add_take(docs, bson_copy(&view), call->no);
    }
    return code != 0 ? code : hf_sandbox_pipeline_run(stages, 1, docs, call->no);
}

int32_t hf_sandbox_cmd_aggregate(struct hf_sandbox_call *call)
{
    struct hf_sandbox_cursor *cursor = NULL;
    bson_value_t spec;
    bson_t stages, options;
    char ns[HF_SANDBOX_NS_BYTES];
    const char *source;
    int32_t code;

    if (!hf_sandbox_get_doc(call->command, "pipeline", &stages) ||
        !hf_sandbox_get_doc(call->command, "cursor", &options)) {
        return REFUSE(call, FAILED_TO_PARSE, "'pipeline' and 'cursor' are required");
    }
    source = source_of(&stages, &spec);
    code = check_aggregate(call, source);
    if (code == 0 && source != NULL) {
        (void)snprintf(ns, sizeof ns, "%s.$cmd.aggregate", call->db);
        cursor = hf_sandbox_cursor_create(call, ns);
        code = run_source(call, source, &spec, &stages, cursor);
    } else if (code == 0) {
        code = open_cursor(call, &stages, true, &cursor);
    }
    return hf_sandbox_cursor_begin_take(call, cursor, code);
}
