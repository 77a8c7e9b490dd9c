/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pipeline: every document is pushed through the stages one by one, so that only sorts, groups and the answer itself
 * hold documents, within a limit that keeps one query from taking the process down.
 */
#include "sandbox/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sandbox/update.h"

struct stage {
    const struct stage_row *row;
    bson_value_t spec; /* a view of the pipeline's stages */
    bool inclusion;
    struct hf_sandbox_docs held; /* of a sort or group */
    int64_t limit;               /* of $limit and $skip */
    int64_t seen;
};

struct hf_sandbox_pipeline {
    bson_t *stages_doc;   /* owned */
    struct stage *stages; /* owned */
    size_t count;
    size_t first; /* that push begins at */
};

/* On the way through the stages. */
struct flow {
    const struct hf_sandbox_pipeline *pipeline;
    struct hf_sandbox_docs *out;
    bool enough;
    struct hf_sandbox_refusal *no;
};

struct stage_row {
    const char *name;
    int32_t (*read)(struct stage *stage, struct hf_sandbox_refusal *no);
    int32_t (*push)(struct flow *flow, struct stage *stage, const bson_t *doc);
    int32_t (*finish)(struct flow *flow, struct stage *stage); /* NULL: holds nothing back */
};

static bson_iter_t fields_of(const struct stage *stage)
{
    bson_iter_t iter;

    HF_ASSERT(hf_sandbox_value_iter(&stage->spec, BSON_TYPE_DOCUMENT, &iter));
    return iter;
}

static int32_t enter(struct flow *flow, struct stage *stage, const bson_t *doc)
{
    return stage < flow->pipeline->stages + flow->pipeline->count
               ? stage->row->push(flow, stage, doc)
               : hf_sandbox_docs_add_take(flow->out, bson_copy(doc), flow->no);
}

/* To what follows the stage. */
static int32_t pass_take(struct flow *flow, struct stage *stage, bson_t *doc)
{
    int32_t code = enter(flow, stage + 1, doc);

    bson_destroy(doc);
    return code;
}

/* ---- Lists ---- */

int32_t hf_sandbox_docs_add_take(struct hf_sandbox_docs *docs, bson_t *doc,
                                 struct hf_sandbox_refusal *no)
{
    if (docs->bytes + doc->len > HF_SANDBOX_DOCS_MAX_BYTES) {
        bson_destroy(doc);
        return hf_sandbox_refuse(no, 292, "Exceeded memory limit, but didn't allow external sort.");
    }
    if (docs->count == docs->capacity) {
        docs->capacity = docs->capacity == 0 ? 16 : docs->capacity * 2;
        docs->items = hf_realloc_array(docs->items, docs->capacity, sizeof(bson_t *));
        HF_ASSERT(docs->items != NULL);
    }
    docs->bytes += doc->len;
    docs->items[docs->count++] = doc;
    return 0;
}

void hf_sandbox_docs_fini(struct hf_sandbox_docs *docs)
{
    for (size_t i = 0; i < docs->count; i++) {
        bson_destroy(docs->items[i]);
    }
    hf_free(docs->items);
    *docs = (struct hf_sandbox_docs){0};
}

/* ---- $sort ---- */

int hf_sandbox_sort_compare(const bson_t *spec, const bson_t *a, const bson_t *b)
{
    bson_iter_t iter;

    for (bool more = bson_iter_init(&iter, spec); more && bson_iter_next(&iter);) {
        bson_value_t x = {.value_type = BSON_TYPE_NULL};
        bson_value_t y = x;

        (void)hf_sandbox_get_path(a, bson_iter_key(&iter), &x);
        (void)hf_sandbox_get_path(b, bson_iter_key(&iter), &y);
        int order = hf_sandbox_value_compare(&x, &y);
        if (order != 0) {
            return bson_iter_as_int64(&iter) < 0 ? -order : order;
        }
    }
    return 0;
}

static int compare_items(const void *a, const void *b, void *spec)
{
    return hf_sandbox_sort_compare(spec, *(bson_t *const *)a, *(bson_t *const *)b);
}

static int32_t read_sort(struct stage *stage, struct hf_sandbox_refusal *no)
{
    bson_iter_t iter = fields_of(stage);

    while (bson_iter_next(&iter)) {
        if (bson_iter_as_int64(&iter) != 1 && bson_iter_as_int64(&iter) != -1) {
            return hf_sandbox_refuse(
                no, HF_SANDBOX_BAD_VALUE,
                "$sort key ordering must be 1 (for ascending) or -1 (for descending)");
        }
    }
    return 0;
}

static int32_t push_sort(struct flow *flow, struct stage *stage, const bson_t *doc)
{
    return hf_sandbox_docs_add_take(&stage->held, bson_copy(doc), flow->no);
}

static int32_t finish_sort(struct flow *flow, struct stage *stage)
{
    bson_t spec = BSON_INITIALIZER;
    int32_t code = 0;

    (void)hf_sandbox_value_doc(&stage->spec, &spec);
    if (stage->held.count > 0) {
        qsort_r(stage->held.items, stage->held.count, sizeof(bson_t *), compare_items, &spec);
    }
    for (size_t i = 0; code == 0 && !flow->enough && i < stage->held.count; i++) {
        code = enter(flow, stage + 1, stage->held.items[i]);
    }
    return code;
}

/* ---- $project ---- */

static bool is_id(const bson_iter_t *iter)
{
    return strcmp(bson_iter_key(iter), "_id") == 0;
}

static int32_t read_project(struct stage *stage, struct hf_sandbox_refusal *no)
{
    bson_iter_t iter = fields_of(stage);
    bool seen[2] = {false, false}; /* left out, kept */
    bool id = false;

    while (bson_iter_next(&iter)) {
        const bson_value_t *value = bson_iter_value(&iter);

        if (value->value_type != BSON_TYPE_BOOL && !hf_sandbox_is_number(value)) {
            return hf_sandbox_refuse(no, HF_SANDBOX_NOT_IMPLEMENTED,
                                     "projections only keep fields or leave them out here");
        }
        if (is_id(&iter)) {
            id = hf_sandbox_is_true(value);
        } else {
            seen[hf_sandbox_is_true(value)] = true;
        }
    }
    stage->inclusion = seen[true] || (id && !seen[false]);
    return seen[true] && seen[false]
               ? hf_sandbox_refuse(no, 31254, "Cannot do exclusion in inclusion projection")
               : 0;
}

static int32_t push_project(struct flow *flow, struct stage *stage, const bson_t *doc)
{
    bson_iter_t iter = fields_of(stage);
    bson_t *out = stage->inclusion ? bson_new() : bson_copy(doc);
    bson_value_t value = hf_sandbox_value_missing;
    int32_t code = 0;

    if (stage->inclusion && hf_sandbox_get(doc, "_id", &value)) {
        hf_sandbox_append(out, "_id", &value);
    }
    while (code == 0 && bson_iter_next(&iter)) {
        bool kept = hf_sandbox_is_true(bson_iter_value(&iter));

        if (hf_sandbox_get_path(doc, bson_iter_key(&iter), &value)) {
            code = hf_sandbox_edit(&out, bson_iter_key(&iter),
                                   kept ? &value : &hf_sandbox_value_missing, flow->no);
        }
    }
    if (code == 0) {
        return pass_take(flow, stage, out);
    }
    bson_destroy(out);
    return code;
}

/* ---- $group: documents of {_id: key, field: value ..} are held, sorted by their key and summed up ---- */

static int32_t read_group(struct stage *stage, struct hf_sandbox_refusal *no)
{
    bson_iter_t iter = fields_of(stage);
    bson_iter_t inner;
    bool id = false;

    while (bson_iter_next(&iter)) {
        if (is_id(&iter)) {
            id = true;
        } else if (!bson_iter_recurse(&iter, &inner) || !bson_iter_next(&inner) ||
                   (strcmp(bson_iter_key(&inner), "$sum") != 0 &&
                    strcmp(bson_iter_key(&inner), "$avg") != 0)) {
            return hf_sandbox_refuse(no, 15952, "unknown group operator of '%s'",
                                     bson_iter_key(&iter));
        }
    }
    return id ? 0 : hf_sandbox_refuse(no, 15955, "a group specification must include an _id");
}

static int32_t push_group(struct flow *flow, struct stage *stage, const bson_t *doc)
{
    bson_iter_t iter = fields_of(stage);
    bson_iter_t inner;
    bson_t *made = bson_new();

    while (bson_iter_next(&iter)) {
        bson_value_t value = *bson_iter_value(&iter);

        if (!is_id(&iter) && bson_iter_recurse(&iter, &inner) && bson_iter_next(&inner)) {
            value = *bson_iter_value(&inner);
        }
        if (hf_sandbox_value_iter(&value, value.value_type, &inner)) {
            bson_destroy(made);
            return hf_sandbox_refuse(flow->no, 168, "the sandbox has no expressions but paths");
        }
        if (value.value_type == BSON_TYPE_UTF8 && value.value.v_utf8.str[0] == '$') {
            const char *path = value.value.v_utf8.str + 1;
            value = (bson_value_t){.value_type = BSON_TYPE_NULL};
            (void)hf_sandbox_get_path(doc, path, &value);
        }
        hf_sandbox_append(made, bson_iter_key(&iter), &value);
    }
    return hf_sandbox_docs_add_take(&stage->held, made, flow->no);
}

/* Appends the sum or average of the field over the held documents from..to. */
static int32_t sum_up(struct flow *flow, const struct stage *stage, const bson_iter_t *field,
                      size_t from, size_t to, bson_t *out)
{
    bson_value_t sum = hf_sandbox_value_of_int32(0);
    bson_iter_t inner;
    int64_t count = 0;

    for (size_t i = from; i < to; i++) {
        bson_value_t before = sum;
        bson_value_t value;

        if (hf_sandbox_get(stage->held.items[i], bson_iter_key(field), &value) &&
            hf_sandbox_is_number(&value)) {
            count++;
            if (!hf_sandbox_value_add(&before, &value, &sum)) {
                return hf_sandbox_refuse(flow->no, HF_SANDBOX_BAD_VALUE, "overflow, or decimals");
            }
        }
    }
    if (bson_iter_recurse(field, &inner) && bson_iter_find(&inner, "$avg")) {
        sum = count == 0 ? (bson_value_t){.value_type = BSON_TYPE_NULL}
                         : hf_sandbox_value_of_double(hf_sandbox_as_double(&sum) / (double)count);
    }
    hf_sandbox_append(out, bson_iter_key(field), &sum);
    return 0;
}

static int32_t finish_group(struct flow *flow, struct stage *stage)
{
    bson_t *by_id = BCON_NEW("_id", BCON_INT32(1));
    bson_t **items = stage->held.items;
    size_t count = stage->held.count;
    int32_t code = 0;

    if (count > 0) {
        qsort_r(items, count, sizeof(bson_t *), compare_items, by_id);
    }
    for (size_t from = 0, to; code == 0 && !flow->enough && from < count; from = to) {
        bson_iter_t field = fields_of(stage);
        bson_value_t id = hf_sandbox_value_missing;
        bson_t *doc = bson_new();

        for (to = from; to < count && hf_sandbox_sort_compare(by_id, items[from], items[to]) == 0;
             to++) {
        }
        (void)hf_sandbox_get(items[from], "_id", &id);
        hf_sandbox_append(doc, "_id", &id);
        while (code == 0 && bson_iter_next(&field)) {
            code = is_id(&field) ? 0 : sum_up(flow, stage, &field, from, to, doc);
        }
        int32_t passed = pass_take(flow, stage, doc);
        code = code != 0 ? code : passed;
    }
    bson_destroy(by_id);
    return code;
}

/* ---- The others ---- */

static int32_t read_match(struct stage *stage, struct hf_sandbox_refusal *no)
{
    bson_t filter = BSON_INITIALIZER;

    (void)hf_sandbox_value_doc(&stage->spec, &filter);
    return hf_sandbox_filter_check(&filter, no);
}

static int32_t push_match(struct flow *flow, struct stage *stage, const bson_t *doc)
{
    bson_t filter = BSON_INITIALIZER;

    (void)hf_sandbox_value_doc(&stage->spec, &filter);
    return hf_sandbox_filter_test(&filter, doc) ? enter(flow, stage + 1, doc) : 0;
}

static int32_t read_number(struct stage *stage, struct hf_sandbox_refusal *no)
{
    bool limit = stage->row->name[1] == 'l';

    return hf_sandbox_as_int64(&stage->spec, &stage->limit) && stage->limit >= limit
               ? 0
               : hf_sandbox_refuse(no, limit ? 15958 : 15956, "the %s must be a %s number",
                                   stage->row->name + 1, limit ? "positive" : "non-negative");
}

static int32_t push_skip(struct flow *flow, struct stage *stage, const bson_t *doc)
{
    return stage->seen++ < stage->limit ? 0 : enter(flow, stage + 1, doc);
}

static int32_t push_limit(struct flow *flow, struct stage *stage, const bson_t *doc)
{
    flow->enough = flow->enough || stage->seen + 1 >= stage->limit;
    return stage->seen++ < stage->limit ? enter(flow, stage + 1, doc) : 0;
}

static int32_t read_count(struct stage *stage, struct hf_sandbox_refusal *no)
{
    return stage->spec.value_type == BSON_TYPE_UTF8
               ? 0
               : hf_sandbox_refuse(no, 40156, "the count field must be a non-empty string");
}

static int32_t push_count(struct flow *flow, struct stage *stage, const bson_t *doc)
{
    (void)flow;
    (void)doc;
    stage->seen++;
    return 0;
}

static int32_t finish_count(struct flow *flow, struct stage *stage)
{
    bson_t *doc = bson_new();

    bson_append_int32(doc, stage->spec.value.v_utf8.str, -1, (int32_t)stage->seen);
    if (stage->seen > 0) {
        return pass_take(flow, stage, doc);
    }
    bson_destroy(doc);
    return 0;
}

static const struct stage_row stage_rows[] = {
    {"$match", read_match, push_match, NULL},
    {"$project", read_project, push_project, NULL},
    {"$sort", read_sort, push_sort, finish_sort},
    {"$group", read_group, push_group, finish_group},
    {"$skip", read_number, push_skip, NULL},
    {"$limit", read_number, push_limit, NULL},
    {"$count", read_count, push_count, finish_count},
};

/* ---- The whole ---- */

static int32_t read_stage(const bson_iter_t *stages, struct stage *out,
                          struct hf_sandbox_refusal *no)
{
    bson_iter_t field;
    const char *name;

    if (!BSON_ITER_HOLDS_DOCUMENT(stages) || !bson_iter_recurse(stages, &field) ||
        !bson_iter_next(&field)) {
        return hf_sandbox_refuse(
            no, 40323, "A pipeline stage specification object must contain exactly one field.");
    }
    name = bson_iter_key(&field);
    out->spec = *bson_iter_value(&field);
    for (size_t i = 0; i < HF_ARRAY_LEN(stage_rows); i++) {
        if (strcmp(name, stage_rows[i].name) == 0) {
            out->row = &stage_rows[i];
            if (i < 4 && out->spec.value_type != BSON_TYPE_DOCUMENT) {
                return hf_sandbox_refuse(no, 15959, "the specification of %s must be an object",
                                         name);
            }
            return out->row->read(out, no);
        }
    }
    return strncmp(name, "$backupCursor", 13) == 0 || strcmp(name, "$currentOp") == 0
               ? hf_sandbox_refuse(no, 40602, "%s is only valid as the first stage in a pipeline",
                                   name)
               : hf_sandbox_refuse(no, 40324, "Unrecognized pipeline stage name: '%s'", name);
}

int32_t hf_sandbox_pipeline_create(const bson_t *stages, uint32_t first,
                                   struct hf_sandbox_pipeline **out, struct hf_sandbox_refusal *no)
{
    HF_CLEANUP(hf_sandbox_pipeline_destroy)
    struct hf_sandbox_pipeline *made = hf_alloc_zero(sizeof *made);
    bson_iter_t iter;
    int32_t code = 0;

    HF_ASSERT(made != NULL);
    made->stages_doc = bson_copy(stages);
    made->stages = hf_alloc_zero((bson_count_keys(stages) + 1) * sizeof *made->stages);
    HF_ASSERT(made->stages != NULL && bson_iter_init(&iter, made->stages_doc));
    for (uint32_t at = 0; code == 0 && bson_iter_next(&iter); at++) {
        code = at < first ? 0 : read_stage(&iter, &made->stages[made->count++], no);
    }
    if (code == 0) {
        *out = HF_TAKE(made);
    }
    return code;
}

void hf_sandbox_pipeline_destroy(struct hf_sandbox_pipeline *pipeline)
{
    if (pipeline == NULL) {
        return;
    }
    for (size_t i = 0; i < pipeline->count; i++) {
        hf_sandbox_docs_fini(&pipeline->stages[i].held);
    }
    hf_free(pipeline->stages);
    bson_destroy(pipeline->stages_doc);
    hf_free(pipeline);
}

int32_t hf_sandbox_pipeline_push(struct hf_sandbox_pipeline *pipeline, const bson_t *doc,
                                 struct hf_sandbox_docs *out, bool *enough,
                                 struct hf_sandbox_refusal *no)
{
    struct flow flow = {.pipeline = pipeline, .out = out, .no = no};
    int32_t code = enter(&flow, pipeline->stages + pipeline->first, doc);

    *enough = flow.enough;
    return code;
}

int32_t hf_sandbox_pipeline_finish(struct hf_sandbox_pipeline *pipeline,
                                   struct hf_sandbox_docs *out, struct hf_sandbox_refusal *no)
{
    struct flow flow = {.pipeline = pipeline, .out = out, .no = no};
    int32_t code = 0;

    for (size_t i = 0; code == 0 && i < pipeline->count; i++) {
        struct stage *stage = &pipeline->stages[i];
        flow.enough = false;
        code = stage->row->finish == NULL ? 0 : stage->row->finish(&flow, stage);
    }
    return code;
}

bson_value_t hf_sandbox_pipeline_take_match(struct hf_sandbox_pipeline *pipeline)
{
    pipeline->first = pipeline->count > 0 && pipeline->stages[0].row->push == push_match;
    return pipeline->first == 1 ? pipeline->stages[0].spec : hf_sandbox_value_missing;
}
