/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading documents for commands: find, count, distinct and aggregate are pipelines over a collection, streamed in
 * natural order where nothing asks for the whole.
 */
#include <stdio.h>
#include <string.h>

#include "sandbox/server_internal.h"

struct hf_sandbox_find {
    struct hf_sandbox_pipeline *pipeline;     /* owned */
    const struct hf_sandbox_matcher *matcher; /* of its first stage; NULL: all documents */
    bool backward;
    bool whole;       /* all at once: there is no place to go on from */
    int64_t position; /* the last record seen */
};

void hf_sandbox_find_destroy(struct hf_sandbox_find *find)
{
    if (find != NULL) {
        hf_sandbox_pipeline_destroy(find->pipeline);
        hf_free(find);
    }
}

struct filling {
    struct hf_sandbox_call *call;
    struct hf_sandbox_cursor *cursor;
    int64_t count;
    bool enough, full;
    int32_t code;
};

static bool take_doc(int64_t record, const bson_t *doc, void *context)
{
    struct filling *filling = context;
    struct hf_sandbox_docs *docs = &filling->cursor->docs;
    struct hf_sandbox_find *find = filling->cursor->find;

    find->position = record;
    filling->code =
        hf_sandbox_pipeline_push(find->pipeline, doc, docs, &filling->enough, filling->call->no);
    filling->full = !find->whole && ((int64_t)docs->count >= filling->count ||
                                     docs->bytes >= HF_SANDBOX_BATCH_MAX_BYTES);
    return filling->code == 0 && !filling->enough && !filling->full;
}

static int32_t fill(struct hf_sandbox_work *work, void *context)
{
    struct filling *filling = context;
    struct hf_sandbox_cursor *cursor = filling->cursor;
    struct hf_sandbox_find *find = cursor->find;
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, cursor->ns);
    struct hf_sandbox_query query = {.matcher = find->matcher,
                                     .backward = find->backward,
                                     .after_record = find->position,
                                     .natural = cursor->tailable || find->backward};
    int32_t code = 0;

    filling->full = false;
    if (coll != NULL) {
        find->whole = find->whole || hf_sandbox_query_by_index(coll, &query);
        code = hf_sandbox_query_run(work, coll, &query, take_doc, filling);
    }
    return code != 0 ? code : filling->code;
}

int32_t hf_sandbox_find_fill(struct hf_sandbox_call *call, struct hf_sandbox_cursor *cursor,
                             int64_t count, bool *ended)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
    struct filling filling = {.call = call, .cursor = cursor, .count = count};
    int32_t code = hf_sandbox_work_run(&work, WORK_READ, fill, &filling);

    *ended = filling.enough || !filling.full;
    if (code == 0 && *ended && !cursor->tailable) {
        code = hf_sandbox_pipeline_finish(cursor->find->pipeline, &cursor->docs, call->no);
    }
    return code;
}

/* The cursor that reads the collection through the stages, which are destroyed. */
static int32_t open_take(struct hf_sandbox_call *call, const char *ns, bson_t *stages,
                         struct hf_sandbox_cursor **out)
{
    struct hf_sandbox_find *find = hf_alloc_zero(sizeof *find);
    int32_t code;

    HF_ASSERT(find != NULL);
    code = hf_sandbox_pipeline_create(stages, 0, &find->pipeline, call->no);
    bson_destroy(stages);
    if (code != 0) {
        hf_free(find);
        return code;
    }
    find->matcher = hf_sandbox_pipeline_take_match(find->pipeline);
    *out = hf_sandbox_cursor_create(call, ns);
    (*out)->find = find;
    return 0;
}

/* Appends {name: field of the command}, unless that is missing, empty or 0. */
static void add_stage(const struct hf_sandbox_call *call, bson_t *stages, const char *name,
                      const char *field)
{
    bson_value_t value = hf_sandbox_value_missing;
    bson_t stage = BSON_INITIALIZER;
    bson_t doc;

    (void)hf_sandbox_get(call->command, field, &value);
    if (hf_sandbox_is_true(&value) || (hf_sandbox_value_doc(&value, &doc) && !bson_empty(&doc))) {
        hf_sandbox_append(&stage, name, &value);
        bson_append_document(stages, field, -1, &stage);
    }
    bson_destroy(&stage);
}

/* ---- find ---- */

int32_t hf_sandbox_cmd_find(struct hf_sandbox_call *call)
{
    struct hf_sandbox_cursor *cursor;
    bson_t *stages;
    bson_t sort;
    char ns[HF_SANDBOX_NS_BYTES];
    int64_t natural = 0;
    bool sorted = hf_sandbox_get_doc(call->command, "sort", &sort) && !bson_empty(&sort);
    int32_t code = hf_sandbox_call_ns(call, ns);

    if (code != 0) {
        return code;
    }
    natural = sorted ? hf_sandbox_get_int64(&sort, "$natural", 0) : 0;
    stages = bson_new();
    add_stage(call, stages, "$match", "filter");
    if (natural == 0) {
        add_stage(call, stages, "$sort", "sort");
    }
    add_stage(call, stages, "$skip", "skip");
    add_stage(call, stages, "$limit", "limit");
    add_stage(call, stages, "$project", "projection");
    code = open_take(call, ns, stages, &cursor);
    if (code != 0) {
        return code;
    }
    cursor->find->backward = natural < 0;
    cursor->find->whole = sorted && natural == 0;
    cursor->tailable = hf_sandbox_get_true(call->command, "tailable");
    cursor->await_data = cursor->tailable && hf_sandbox_get_true(call->command, "awaitData");
    cursor->no_timeout = hf_sandbox_get_true(call->command, "noCursorTimeout");
    return hf_sandbox_cursor_begin_take(call, cursor,
                                        hf_sandbox_get_int64(call->command, "batchSize", -1),
                                        hf_sandbox_get_true(call->command, "singleBatch"));
}

/* ---- count, distinct ---- */

/* Runs the stages to their end; *out is the cursor with the documents, the caller's to destroy. */
static int32_t run_take(struct hf_sandbox_call *call, bson_t *stages,
                        struct hf_sandbox_cursor **out)
{
    char ns[HF_SANDBOX_NS_BYTES];
    bool ended = false;
    int32_t code = hf_sandbox_call_ns(call, ns);

    if (code != 0) {
        bson_destroy(stages);
        return code;
    }
    code = open_take(call, ns, stages, out);
    if (code == 0) {
        (*out)->find->whole = true;
        code = hf_sandbox_find_fill(call, *out, 0, &ended);
    }
    return code;
}

int32_t hf_sandbox_cmd_count(struct hf_sandbox_call *call)
{
    struct hf_sandbox_cursor *cursor = NULL;
    bson_t *stages = bson_new();
    int32_t code;

    add_stage(call, stages, "$match", "query");
    add_stage(call, stages, "$skip", "skip");
    add_stage(call, stages, "$limit", "limit");
    BCON_APPEND(stages, "count", "{", "$count", BCON_UTF8("n"), "}");
    code = run_take(call, stages, &cursor);
    if (code == 0) {
        bool any = cursor->docs.count > 0;
        bson_append_int32(call->reply, "n", -1,
                          any ? (int32_t)hf_sandbox_get_int64(cursor->docs.items[0], "n", 0) : 0);
    }
    hf_sandbox_cursor_destroy(call->server, cursor);
    return code;
}

int32_t hf_sandbox_cmd_distinct(struct hf_sandbox_call *call)
{
    const char *key = hf_sandbox_get_utf8(call->command, "key", "");
    char *path = hf_asprintf("$%s", key);
    struct hf_sandbox_cursor *cursor = NULL;
    bson_t *stages = bson_new();
    bson_t values;
    uint32_t index = 0;
    int32_t code;

    HF_ASSERT(path != NULL);
    add_stage(call, stages, "$match", "query");
    BCON_APPEND(stages, "distinct", "{", "$group", "{", "_id", BCON_UTF8(path), "}", "}");
    hf_free(path);
    code = run_take(call, stages, &cursor);
    if (code == 0) {
        bson_append_array_begin(call->reply, "values", -1, &values);
        for (size_t i = 0; i < cursor->docs.count; i++) {
            bson_value_t value = hf_sandbox_value_missing;
            (void)hf_sandbox_get(cursor->docs.items[i], "_id", &value);
            if (!hf_sandbox_is_nullish(&value)) {
                hf_sandbox_append_element(&values, &index, &value);
            }
        }
        bson_append_array_end(call->reply, &values);
    }
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
        "$configServerState $audit $client ";
    const char *coll = hf_sandbox_get_utf8(call->command, "aggregate", NULL);
    char field[64];
    bson_t cursor;
    bson_iter_t iter;

    for (bool more = bson_iter_init(&iter, call->command); more && bson_iter_next(&iter);) {
        (void)snprintf(field, sizeof field, " %s ", bson_iter_key(&iter));
        if (strstr(known, field) == NULL) {
            return hf_sandbox_refuse(call->no, HF_SANDBOX_FAILED_TO_PARSE,
                                     "unrecognized field '%s'", bson_iter_key(&iter));
        }
    }
    if (!hf_sandbox_get_doc(call->command, "cursor", &cursor)) {
        return hf_sandbox_refuse(
            call->no, HF_SANDBOX_FAILED_TO_PARSE,
            "The 'cursor' option is required, except for aggregate with the explain argument");
    }
    if ((source == NULL) == (coll == NULL)) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_INVALID_NAMESPACE,
                                 source != NULL
                                     ? "'%s' can only be run with {aggregate: 1}"
                                     : "{aggregate: 1} is not valid for '%s'; a collection is "
                                       "required.",
                                 source != NULL ? source : "this stage");
    }
    bool current_op = source != NULL && strcmp(source, "$currentOp") == 0;
    bool allowed = current_op       ? hf_sandbox_call_may(call, "inprog", NULL, NULL)
                   : source != NULL ? hf_sandbox_call_may(call, "find", "admin", NULL)
                                    : hf_sandbox_call_may(call, "find", call->db, coll);
    return allowed ? 0 : hf_sandbox_call_denied(call);
}

/* What a source stage left: documents, and a cursor that may have to live on. */
static int32_t list_source(struct hf_sandbox_call *call, const char *name, const bson_value_t *spec,
                           struct hf_sandbox_cursor *cursor, struct hf_sandbox_docs *docs)
{
    bson_t listed = BSON_INITIALIZER;
    bson_t view;
    bson_iter_t iter;
    int32_t code;

    if (strcmp(name, "$currentOp") == 0) {
        code = hf_sandbox_ops_list(call, docs);
        return code == 0 && hf_sandbox_value_doc(spec, &view) &&
                       hf_sandbox_get_true(&view, "idleCursors")
                   ? hf_sandbox_cursors_list(call, docs)
                   : code;
    }
    if (strcmp(name, "$backupCursor") == 0) {
        code = hf_sandbox_backup_open(call->engine, spec, &listed, cursor->backup_id, call->no);
        cursor->backup = code == 0;
        cursor->tailable = true;
    } else {
        code = hf_sandbox_backup_extend(call->engine, spec, call->deadline_ms, call->cancel,
                                        &listed, call->no);
    }
    for (bool more = bson_iter_init(&iter, &listed); more && code == 0 && bson_iter_next(&iter);) {
        if (hf_sandbox_value_doc(bson_iter_value(&iter), &view)) {
            code = hf_sandbox_docs_add_take(docs, bson_copy(&view), call->no);
        }
    }
    bson_destroy(&listed);
    return code;
}

/* The stages after a source work on what it listed. */
static int32_t run_source(struct hf_sandbox_call *call, const char *name, const bson_value_t *spec,
                          const bson_t *stages, struct hf_sandbox_cursor *cursor)
{
    HF_CLEANUP(hf_sandbox_pipeline_destroy) struct hf_sandbox_pipeline *pipeline = NULL;
    HF_CLEANUP(hf_sandbox_docs_fini) struct hf_sandbox_docs docs = {0};
    bool enough = false;
    int32_t code = hf_sandbox_pipeline_create(stages, 1, &pipeline, call->no);

    code = code != 0 ? code : list_source(call, name, spec, cursor, &docs);
    for (size_t i = 0; code == 0 && !enough && i < docs.count; i++) {
        code = hf_sandbox_pipeline_push(pipeline, docs.items[i], &cursor->docs, &enough, call->no);
    }
    return code != 0 ? code : hf_sandbox_pipeline_finish(pipeline, &cursor->docs, call->no);
}

int32_t hf_sandbox_cmd_aggregate(struct hf_sandbox_call *call)
{
    struct hf_sandbox_cursor *cursor = NULL;
    bson_value_t spec;
    bson_t stages;
    bson_t options;
    char ns[HF_SANDBOX_NS_BYTES];
    const char *source;
    int32_t code = 0;

    if (!hf_sandbox_get_doc(call->command, "pipeline", &stages)) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_TYPE_MISMATCH,
                                 "'pipeline' option must be specified as an array");
    }
    source = source_of(&stages, &spec);
    code = check_aggregate(call, source);
    if (code == 0 && source != NULL) {
        (void)snprintf(ns, sizeof ns, "%s.$cmd.aggregate", call->db);
        cursor = hf_sandbox_cursor_create(call, ns);
        code = run_source(call, source, &spec, &stages, cursor);
    } else if (code == 0) {
        code = run_take(call, bson_copy(&stages), &cursor);
    }
    if (code != 0) {
        hf_sandbox_cursor_destroy(call->server, cursor);
        return code;
    }
    hf_sandbox_find_destroy(HF_TAKE(cursor->find));
    (void)hf_sandbox_get_doc(call->command, "cursor", &options);
    return hf_sandbox_cursor_begin_take(call, cursor,
                                        hf_sandbox_get_int64(&options, "batchSize", -1), false);
}
