/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading documents for commands: find (streamed in natural order, else gathered and sorted), count, distinct.
 */
#include <stdio.h>
#include <string.h>

#include "sandbox/expression.h"
#include "sandbox/path.h"
#include "sandbox/pipeline.h"
#include "sandbox/server_internal.h"

struct hf_sandbox_find {
    struct hf_sandbox_matcher *matcher;       /* owned */
    struct hf_sandbox_projection *projection; /* owned; NULL: whole documents */
    int64_t skip;
    int64_t limit; /* still to come; -1: no limit */
    bool backward;
    int64_t position; /* the last record seen */
};

void hf_sandbox_find_destroy(struct hf_sandbox_find *find)
{
    if (find != NULL) {
        hf_sandbox_matcher_destroy(find->matcher);
        hf_sandbox_projection_destroy(find->projection);
        hf_free(find);
    }
}

struct filling {
    struct hf_sandbox_call *call;
    struct hf_sandbox_cursor *cursor;
    int64_t count;
    bool whole; /* an index was used: all at once, there is no place to go on from */
    bool ended;
    int32_t code;
};

static bool take_doc(int64_t record, const bson_t *doc, void *context)
{
    struct filling *filling = context;
    struct hf_sandbox_find *find = filling->cursor->find;
    bson_t *made = NULL;

    find->position = record;
    if (find->skip > 0) {
        find->skip--;
        return true;
    }
    if (find->projection == NULL) {
        made = bson_copy(doc);
    } else {
        filling->code = hf_sandbox_project(find->projection, doc, &made, filling->call->no);
    }
    if (filling->code == 0) {
        filling->code = hf_sandbox_docs_add_take(&filling->cursor->docs, made, filling->call->no);
    }
    filling->ended = find->limit > 0 && --find->limit == 0;
    return filling->code == 0 && !filling->ended &&
           (filling->whole || ((int64_t)filling->cursor->docs.count < filling->count &&
                               filling->cursor->docs.bytes < HF_SANDBOX_BATCH_MAX_BYTES));
}

static int32_t fill(struct hf_sandbox_work *work, void *context)
{
    struct filling *filling = context;
    struct hf_sandbox_find *find = filling->cursor->find;
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, filling->cursor->ns);
    struct hf_sandbox_query query = {.matcher = find->matcher,
                                     .backward = find->backward,
                                     .after_record = find->position,
                                     .natural = filling->cursor->tailable || find->backward};
    int64_t before;
    int32_t code;

    if (coll == NULL) {
        filling->ended = true;
        return 0;
    }
    filling->whole = hf_sandbox_query_by_index(coll, &query);
    before = (int64_t)filling->cursor->docs.count;
    filling->count += before;
    code = hf_sandbox_query_run(work, coll, &query, take_doc, filling);
    if (code == 0) {
        code = filling->code;
    }
    /* A scan that stopped for another reason than a full batch has seen everything. */
    filling->ended = filling->ended || filling->whole ||
                     ((int64_t)filling->cursor->docs.count < filling->count &&
                      filling->cursor->docs.bytes < HF_SANDBOX_BATCH_MAX_BYTES);
    return code;
}

int32_t hf_sandbox_find_fill(struct hf_sandbox_call *call, struct hf_sandbox_cursor *cursor,
                             int64_t count, bool *ended)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
    struct filling filling = {.call = call, .cursor = cursor, .count = count};
    int32_t code = hf_sandbox_work_run(&work, WORK_READ, fill, &filling);

    *ended = filling.ended;
    return code;
}

/* ---- find ---- */

static int32_t get_filter(const struct hf_sandbox_call *call, const char *name,
                          struct hf_sandbox_matcher **out)
{
    bson_t none = BSON_INITIALIZER;
    bson_t filter;
    int32_t code;

    code = hf_sandbox_matcher_create(
        hf_sandbox_get_doc(call->command, name, &filter) ? &filter : &none, out, call->no);
    bson_destroy(&none);
    return code;
}

struct gathering {
    struct hf_sandbox_call *call;
    const char *ns;
    const struct hf_sandbox_matcher *matcher;
    struct hf_sandbox_pipeline *pipeline;
    int32_t code;
};

static bool push_doc(int64_t record, const bson_t *doc, void *context)
{
    struct gathering *gathering = context;
    bool enough = false;

    (void)record;
    gathering->code =
        hf_sandbox_pipeline_push(gathering->pipeline, doc, &enough, gathering->call->no);
    return gathering->code == 0 && !enough;
}

static int32_t gather(struct hf_sandbox_work *work, void *context)
{
    struct gathering *gathering = context;
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, gathering->ns);
    struct hf_sandbox_query query = {.matcher = gathering->matcher};
    int32_t code = coll == NULL ? 0 : hf_sandbox_query_run(work, coll, &query, push_doc, gathering);

    return code != 0 ? code : gathering->code;
}

/* Runs every document that the matcher lets through (NULL: all) through the pipeline. */
static int32_t run_pipeline(struct hf_sandbox_call *call, const char *ns,
                            const struct hf_sandbox_matcher *matcher,
                            struct hf_sandbox_pipeline *pipeline, struct hf_sandbox_docs *out)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
    struct gathering gathering = {.call = call, .ns = ns, .matcher = matcher, .pipeline = pipeline};
    int32_t code = hf_sandbox_work_run(&work, WORK_READ, gather, &gathering);

    return code != 0 ? code : hf_sandbox_pipeline_finish(pipeline, out, call->no);
}

/* A sort other than $natural: as the stages $sort, $skip, $limit and $project would do it. */
static int32_t find_sorted(struct hf_sandbox_call *call, struct hf_sandbox_cursor *cursor,
                           const bson_t *sort, const bson_t *projection)
{
    HF_CLEANUP(hf_sandbox_pipeline_destroy) struct hf_sandbox_pipeline *pipeline = NULL;
    struct hf_sandbox_find *find = cursor->find;
    bson_t stages = BSON_INITIALIZER;
    bson_t *stage[4] = {BCON_NEW("$sort", BCON_DOCUMENT(sort)), NULL, NULL, NULL};
    uint32_t index = 0;
    int32_t code;

    stage[1] = find->skip > 0 ? BCON_NEW("$skip", BCON_INT64(find->skip)) : NULL;
    stage[2] = find->limit > 0 ? BCON_NEW("$limit", BCON_INT64(find->limit)) : NULL;
    stage[3] = projection != NULL ? BCON_NEW("$project", BCON_DOCUMENT(projection)) : NULL;
    for (size_t i = 0; i < HF_ARRAY_LEN(stage); i++) {
        if (stage[i] != NULL) {
            bson_value_t value = hf_sandbox_value_of_doc(stage[i]);
            hf_sandbox_append_element(&stages, &index, &value);
            bson_destroy(stage[i]);
        }
    }
    code = hf_sandbox_pipeline_create(&stages, 0, &pipeline, call->no);
    bson_destroy(&stages);
    if (code == 0) {
        code = run_pipeline(call, cursor->ns, find->matcher, pipeline, &cursor->docs);
    }
    hf_sandbox_find_destroy(HF_TAKE(cursor->find));
    return code;
}

static int32_t read_find(struct hf_sandbox_call *call, struct hf_sandbox_cursor *cursor)
{
    struct hf_sandbox_find *find = hf_alloc_zero(sizeof *find);
    bson_t sort = BSON_INITIALIZER;
    bson_t projection = BSON_INITIALIZER;
    bool projected =
        hf_sandbox_get_doc(call->command, "projection", &projection) && !bson_empty(&projection);
    int64_t limit = hf_sandbox_get_int64(call->command, "limit", 0);
    int32_t code;

    HF_ASSERT(find != NULL);
    cursor->find = find;
    cursor->tailable = hf_sandbox_get_true(call->command, "tailable");
    cursor->await_data = cursor->tailable && hf_sandbox_get_true(call->command, "awaitData");
    cursor->no_timeout = hf_sandbox_get_true(call->command, "noCursorTimeout");
    find->skip = hf_sandbox_get_int64(call->command, "skip", 0);
    find->limit = limit == 0 ? -1 : limit < 0 ? -limit : limit;
    if (find->skip < 0 || limit < 0) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_BAD_VALUE,
                                 "skip and limit must not be negative");
    }
    code = get_filter(call, "filter", &find->matcher);
    if (code == 0 && projected) {
        code = hf_sandbox_projection_create(&projection, &find->projection, call->no);
    }
    if (code == 0 && hf_sandbox_get_doc(call->command, "sort", &sort)) {
        code = hf_sandbox_sort_check(&sort, call->no);
        int64_t natural = hf_sandbox_get_int64(&sort, "$natural", 0);
        find->backward = natural < 0;
        if (code == 0 && natural == 0 && !bson_empty(&sort)) {
            code = find_sorted(call, cursor, &sort, projected ? &projection : NULL);
        }
    }
    return code;
}

int32_t hf_sandbox_cmd_find(struct hf_sandbox_call *call)
{
    struct hf_sandbox_cursor *cursor;
    char ns[HF_SANDBOX_NS_BYTES];
    int32_t code = hf_sandbox_call_ns(call, ns);

    if (code != 0) {
        return code;
    }
    cursor = hf_sandbox_cursor_create(call, ns);
    code = read_find(call, cursor);
    if (code != 0) {
        hf_sandbox_cursor_destroy(call->server, cursor);
        return code;
    }
    return hf_sandbox_cursor_begin_take(call, cursor,
                                        hf_sandbox_get_int64(call->command, "batchSize", -1),
                                        hf_sandbox_get_true(call->command, "singleBatch"));
}

/* ---- count, distinct ---- */

struct counting {
    const char *ns;
    const struct hf_sandbox_matcher *matcher;
    bool all; /* no filter: the fast count will do */
    int64_t count, stop_at;
};

static bool count_doc(int64_t record, const bson_t *doc, void *context)
{
    struct counting *counting = context;

    (void)record;
    (void)doc;
    return ++counting->count < counting->stop_at;
}

static int32_t count(struct hf_sandbox_work *work, void *context)
{
    struct counting *counting = context;
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, counting->ns);
    struct hf_sandbox_query query = {.matcher = counting->matcher};

    counting->count = 0;
    if (coll == NULL) {
        return 0;
    }
    if (counting->all) {
        counting->count = hf_sandbox_coll_records(coll);
        return 0;
    }
    return hf_sandbox_query_run(work, coll, &query, count_doc, counting);
}

int32_t hf_sandbox_cmd_count(struct hf_sandbox_call *call)
{
    HF_CLEANUP(hf_sandbox_matcher_destroy) struct hf_sandbox_matcher *matcher = NULL;
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
    int64_t skip = hf_sandbox_get_int64(call->command, "skip", 0);
    int64_t limit = hf_sandbox_get_int64(call->command, "limit", 0);
    struct counting counting = {0};
    char ns[HF_SANDBOX_NS_BYTES];
    bson_t query;
    int32_t code = hf_sandbox_call_ns(call, ns);

    code = code != 0 ? code : get_filter(call, "query", &matcher);
    if (code != 0) {
        return code;
    }
    limit = limit < 0 ? -limit : limit;
    counting.ns = ns;
    counting.matcher = matcher;
    counting.all = !hf_sandbox_get_doc(call->command, "query", &query) || bson_empty(&query);
    counting.stop_at = limit == 0 ? INT64_MAX : skip + limit;
    code = hf_sandbox_work_run(&work, WORK_READ, count, &counting);
    if (code == 0) {
        int64_t n = counting.count < counting.stop_at ? counting.count : counting.stop_at;
        bson_append_int32(call->reply, "n", -1, (int32_t)(n > skip ? n - skip : 0));
    }
    return code;
}

struct distinct {
    struct hf_sandbox_call *call;
    const char *ns;
    const char *key;
    const struct hf_sandbox_matcher *matcher;
    struct hf_sandbox_docs values; /* {"": value}, sorted */
    int32_t code;
};

static void add_distinct(struct distinct *distinct, const bson_value_t *value)
{
    size_t low = 0;
    size_t high = distinct->values.count;

    while (low < high && distinct->code == 0) {
        size_t middle = low + (high - low) / 2;
        bson_value_t have = hf_sandbox_value_missing;
        (void)hf_sandbox_get(distinct->values.items[middle], "", &have);
        int order = hf_sandbox_value_compare(&have, value);
        if (order == 0) {
            return;
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    bson_t *one = bson_new();
    hf_sandbox_append(one, "", value);
    distinct->code = hf_sandbox_docs_add_take(&distinct->values, one, distinct->call->no);
    if (distinct->code == 0) {
        memmove(distinct->values.items + low + 1, distinct->values.items + low,
                (distinct->values.count - 1 - low) * sizeof(bson_t *));
        distinct->values.items[low] = one;
    }
}

static bool visit_value(const struct hf_sandbox_path_hit *hit, void *context)
{
    bson_iter_t iter;
    bson_t array;

    if (hit->value->value_type == BSON_TYPE_ARRAY && hf_sandbox_value_doc(hit->value, &array) &&
        bson_iter_init(&iter, &array)) {
        while (bson_iter_next(&iter)) {
            add_distinct(context, bson_iter_value(&iter));
        }
    } else if (hit->value->value_type != BSON_TYPE_EOD) {
        add_distinct(context, hit->value);
    }
    return false;
}

static bool visit_distinct(int64_t record, const bson_t *doc, void *context)
{
    struct distinct *distinct = context;

    (void)record;
    (void)hf_sandbox_path_walk(doc, distinct->key, visit_value, distinct);
    return distinct->code == 0;
}

static int32_t find_distinct(struct hf_sandbox_work *work, void *context)
{
    struct distinct *distinct = context;
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(work->txn, distinct->ns);
    struct hf_sandbox_query query = {.matcher = distinct->matcher};
    int32_t code =
        coll == NULL ? 0 : hf_sandbox_query_run(work, coll, &query, visit_distinct, distinct);

    return code != 0 ? code : distinct->code;
}

int32_t hf_sandbox_cmd_distinct(struct hf_sandbox_call *call)
{
    HF_CLEANUP(hf_sandbox_matcher_destroy) struct hf_sandbox_matcher *matcher = NULL;
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
    struct distinct distinct = {.call = call,
                                .key = hf_sandbox_get_utf8(call->command, "key", NULL)};
    char ns[HF_SANDBOX_NS_BYTES];
    bson_t values;
    uint32_t index = 0;
    int32_t code = hf_sandbox_call_ns(call, ns);

    if (code == 0 && distinct.key == NULL) {
        code = hf_sandbox_refuse(call->no, HF_SANDBOX_TYPE_MISMATCH,
                                 "\"key\" had the wrong type. Expected string");
    }
    code = code != 0 ? code : get_filter(call, "query", &matcher);
    if (code != 0) {
        return code;
    }
    distinct.ns = ns;
    distinct.matcher = matcher;
    code = hf_sandbox_work_run(&work, WORK_READ, find_distinct, &distinct);
    if (code == 0) {
        bson_append_array_begin(call->reply, "values", -1, &values);
        for (size_t i = 0; i < distinct.values.count; i++) {
            bson_value_t value = hf_sandbox_value_missing;
            (void)hf_sandbox_get(distinct.values.items[i], "", &value);
            hf_sandbox_append_element(&values, &index, &value);
        }
        bson_append_array_end(call->reply, &values);
    }
    hf_sandbox_docs_fini(&distinct.values);
    return code;
}

/* ---- aggregate ---- */

/* What a source stage left: documents, and a cursor that may have to live on. */
static int32_t run_source(struct hf_sandbox_call *call, const char *name, const bson_value_t *spec,
                          struct hf_sandbox_cursor *cursor, struct hf_sandbox_docs *docs)
{
    struct hf_sandbox_engine *engine = call->engine;
    bson_t listed = BSON_INITIALIZER;
    bson_iter_t iter;
    int32_t code;

    if (strcmp(name, "$currentOp") == 0) {
        bson_t options;
        bool idle =
            hf_sandbox_value_doc(spec, &options) && hf_sandbox_get_true(&options, "idleCursors");
        bson_destroy(&listed);
        code = hf_sandbox_ops_list(call, docs);
        return code == 0 && idle ? hf_sandbox_cursors_list(call, docs) : code;
    }
    if (strcmp(name, "$backupCursor") == 0) {
        code = hf_sandbox_backup_open(engine, spec, &listed, cursor->backup_id, call->no);
        cursor->backup = code == 0;
        cursor->tailable = true;
    } else {
        code = hf_sandbox_backup_extend(engine, spec, call->deadline_ms, call->cancel, &listed,
                                        call->no);
    }
    if (code == 0 && bson_iter_init(&iter, &listed)) {
        while (code == 0 && bson_iter_next(&iter)) {
            bson_t view;
            if (hf_sandbox_value_doc(bson_iter_value(&iter), &view)) {
                code = hf_sandbox_docs_add_take(docs, bson_copy(&view), call->no);
            }
        }
    }
    bson_destroy(&listed);
    return code;
}

/* The stages after a source work on what it listed. */
static int32_t push_all(struct hf_sandbox_call *call, const struct hf_sandbox_docs *docs,
                        struct hf_sandbox_pipeline *pipeline, struct hf_sandbox_docs *out)
{
    bool enough = false;
    int32_t code = 0;

    for (size_t i = 0; code == 0 && !enough && i < docs->count; i++) {
        code = hf_sandbox_pipeline_push(pipeline, docs->items[i], &enough, call->no);
    }
    return code != 0 ? code : hf_sandbox_pipeline_finish(pipeline, out, call->no);
}

static int32_t check_aggregate(struct hf_sandbox_call *call, const char *source)
{
    static const char *const fields[] = {"aggregate",
                                         "pipeline",
                                         "cursor",
                                         "lsid",
                                         "$clusterTime",
                                         "$db",
                                         "$readPreference",
                                         "readConcern",
                                         "writeConcern",
                                         "maxTimeMS",
                                         "allowDiskUse",
                                         "collation",
                                         "hint",
                                         "comment",
                                         "let",
                                         "explain",
                                         "bypassDocumentValidation",
                                         "txnNumber",
                                         "$configServerState",
                                         "$audit",
                                         "$client"};
    const char *coll = hf_sandbox_get_utf8(call->command, "aggregate", NULL);
    bson_t cursor;
    bson_iter_t iter;

    if (bson_iter_init(&iter, call->command)) {
        while (bson_iter_next(&iter)) {
            bool known = false;
            for (size_t i = 0; i < HF_ARRAY_LEN(fields); i++) {
                known = known || strcmp(bson_iter_key(&iter), fields[i]) == 0;
            }
            if (!known) {
                return hf_sandbox_refuse(call->no, HF_SANDBOX_FAILED_TO_PARSE,
                                         "unrecognized field '%s'", bson_iter_key(&iter));
            }
        }
    }
    if (hf_sandbox_get_true(call->command, "explain")) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_NOT_IMPLEMENTED,
                                 "explain is not in the sandbox");
    }
    if (!hf_sandbox_get_doc(call->command, "cursor", &cursor)) {
        return hf_sandbox_refuse(
            call->no, HF_SANDBOX_FAILED_TO_PARSE,
            "The 'cursor' option is required, except for aggregate with the explain argument");
    }
    if (source != NULL && coll != NULL) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_INVALID_NAMESPACE,
                                 "'%s' can only be run with {aggregate: 1}", source);
    }
    if (source == NULL && coll == NULL) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_INVALID_NAMESPACE,
                                 "{aggregate: 1} is not valid for '%s'; a collection is required.",
                                 "this stage");
    }
    bool current_op = source != NULL && strcmp(source, "$currentOp") == 0;
    bool allowed = current_op       ? hf_sandbox_call_may(call, "inprog", NULL, NULL)
                   : source != NULL ? hf_sandbox_call_may(call, "find", "admin", NULL)
                                    : hf_sandbox_call_may(call, "find", call->db, coll);
    return allowed ? 0 : hf_sandbox_call_denied(call);
}

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

int32_t hf_sandbox_cmd_aggregate(struct hf_sandbox_call *call)
{
    HF_CLEANUP(hf_sandbox_pipeline_destroy) struct hf_sandbox_pipeline *pipeline = NULL;
    HF_CLEANUP(hf_sandbox_docs_fini) struct hf_sandbox_docs listed = {0};
    struct hf_sandbox_cursor *cursor;
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
    if (code == 0) {
        code = hf_sandbox_pipeline_create(&stages, source != NULL, &pipeline, call->no);
    }
    if (code == 0 && source == NULL) {
        code = hf_sandbox_call_ns(call, ns);
    } else {
        (void)snprintf(ns, sizeof ns, "%s.$cmd.aggregate", call->db);
    }
    if (code != 0) {
        return code;
    }
    cursor = hf_sandbox_cursor_create(call, ns);
    if (source == NULL) {
        code = run_pipeline(call, ns, hf_sandbox_pipeline_first_match(pipeline), pipeline,
                            &cursor->docs);
    } else {
        code = run_source(call, source, &spec, cursor, &listed);
        code = code != 0 ? code : push_all(call, &listed, pipeline, &cursor->docs);
    }
    if (code != 0) {
        hf_sandbox_cursor_destroy(call->server, cursor);
        return code;
    }
    return hf_sandbox_cursor_begin_take(call, cursor,
                                        hf_sandbox_get_doc(call->command, "cursor", &options)
                                            ? hf_sandbox_get_int64(&options, "batchSize", -1)
                                            : -1,
                                        false);
}
