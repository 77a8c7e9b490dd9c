/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pipeline: every document is pushed through the stages one by one, so that only sorts, groups and the answer
 * itself hold documents.
 */
#include "sandbox/pipeline.h"

#include <string.h>

#include "base/alloc.h"
#include "sandbox/expression.h"
#include "sandbox/group.h"

enum stage_kind {
    STAGE_MATCH,
    STAGE_PROJECT,
    STAGE_SORT,
    STAGE_SKIP,
    STAGE_LIMIT,
    STAGE_GROUP,
    STAGE_COUNT
};

struct stage {
    enum stage_kind kind;
    struct hf_sandbox_matcher *matcher;       /* owned */
    struct hf_sandbox_projection *projection; /* owned */
    struct hf_sandbox_group *group;           /* owned */
    bson_value_t
        sort; /* a view of the stages: a bson_t asks for more alignment than a heap gives */
    struct hf_sandbox_docs held; /* of a sort */
    int64_t limit;               /* of $limit and $skip */
    int64_t seen;
    const char *count_name; /* borrowed from the stages */
};

struct hf_sandbox_pipeline {
    bson_t *stages_doc;   /* owned: what the stages' views point into */
    struct stage *stages; /* owned */
    size_t count;
    struct hf_sandbox_docs result;
};

static int32_t read_number(const char *name, const bson_value_t *value, int64_t least, int64_t *out,
                           struct hf_sandbox_refusal *no)
{
    if (!hf_sandbox_as_int64(value, out)) {
        return hf_sandbox_refuse(no, 15957, "the %s must be specified as a number", name + 1);
    }
    if (*out < least) {
        return hf_sandbox_refuse(no, least == 1 ? 15958 : 15956, "the %s must be %s", name + 1,
                                 least == 1 ? "positive" : "not negative");
    }
    return 0;
}

static int32_t read_stage(const char *name, const bson_value_t *value, struct stage *out,
                          struct hf_sandbox_refusal *no)
{
    static const char *const documents[] = {"$match", "$project", "$sort", "$group"};
    bson_t spec = BSON_INITIALIZER;
    int32_t code;

    for (size_t i = 0; i < HF_ARRAY_LEN(documents); i++) {
        if (strcmp(name, documents[i]) == 0 &&
            (value->value_type != BSON_TYPE_DOCUMENT || !hf_sandbox_value_doc(value, &spec))) {
            return hf_sandbox_refuse(no, 15959, "the specification of %s must be an object", name);
        }
    }
    if (strcmp(name, "$match") == 0) {
        out->kind = STAGE_MATCH;
        return hf_sandbox_matcher_create(&spec, &out->matcher, no);
    }
    if (strcmp(name, "$project") == 0) {
        out->kind = STAGE_PROJECT;
        return bson_empty(&spec) ? hf_sandbox_refuse(no, 51272,
                                                     "Invalid $project :: caused by :: projection "
                                                     "specification must have at least one field")
                                 : hf_sandbox_projection_create(&spec, &out->projection, no);
    }
    if (strcmp(name, "$sort") == 0) {
        out->kind = STAGE_SORT;
        out->sort = *value;
        code = hf_sandbox_sort_check(&spec, no);
        return code == 0 && bson_empty(&spec)
                   ? hf_sandbox_refuse(no, 15976, "$sort stage must have at least one sort key")
                   : code;
    }
    if (strcmp(name, "$group") == 0) {
        out->kind = STAGE_GROUP;
        return hf_sandbox_group_create(&spec, &out->group, no);
    }
    if (strcmp(name, "$skip") == 0 || strcmp(name, "$limit") == 0) {
        out->kind = name[1] == 's' ? STAGE_SKIP : STAGE_LIMIT;
        return read_number(name, value, out->kind == STAGE_LIMIT, &out->limit, no);
    }
    if (strcmp(name, "$count") == 0) {
        out->kind = STAGE_COUNT;
        if (value->value_type != BSON_TYPE_UTF8 || value->value.v_utf8.len == 0) {
            return hf_sandbox_refuse(no, 40156, "the count field must be a non-empty string");
        }
        out->count_name = value->value.v_utf8.str;
        return 0;
    }
    if (strcmp(name, "$backupCursor") == 0 || strcmp(name, "$backupCursorExtend") == 0 ||
        strcmp(name, "$currentOp") == 0) {
        return hf_sandbox_refuse(no, 40602, "%s is only valid as the first stage in a pipeline",
                                 name);
    }
    return hf_sandbox_refuse(no, 40324, "Unrecognized pipeline stage name: '%s'", name);
}

int32_t hf_sandbox_pipeline_create(const bson_t *stages, uint32_t first,
                                   struct hf_sandbox_pipeline **out, struct hf_sandbox_refusal *no)
{
    HF_CLEANUP(hf_sandbox_pipeline_destroy)
    struct hf_sandbox_pipeline *made = hf_alloc_zero(sizeof *made);
    bson_iter_t iter;

    HF_ASSERT(made != NULL);
    made->stages_doc = bson_copy(stages);
    made->stages = hf_alloc_zero((bson_count_keys(stages) + 1) * sizeof *made->stages);
    HF_ASSERT(made->stages != NULL);
    if (!bson_iter_init(&iter, made->stages_doc)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INVALID_BSON, "malformed pipeline");
    }
    for (uint32_t at = 0; bson_iter_next(&iter); at++) {
        bson_iter_t field;
        int32_t code;

        if (!BSON_ITER_HOLDS_DOCUMENT(&iter) || !bson_iter_recurse(&iter, &field)) {
            return hf_sandbox_refuse(no, HF_SANDBOX_TYPE_MISMATCH,
                                     "Each element of the 'pipeline' array must be an object");
        }
        if (!bson_iter_next(&field)) {
            return hf_sandbox_refuse(
                no, 40323, "A pipeline stage specification object must contain exactly one field.");
        }
        if (at < first) {
            continue;
        }
        code = read_stage(bson_iter_key(&field), bson_iter_value(&field),
                          &made->stages[made->count], no);
        made->count++;
        if (code == 0 && bson_iter_next(&field)) {
            code = hf_sandbox_refuse(
                no, 40323, "A pipeline stage specification object must contain exactly one field.");
        }
        if (code != 0) {
            return code;
        }
    }
    *out = HF_TAKE(made);
    return 0;
}

void hf_sandbox_pipeline_destroy(struct hf_sandbox_pipeline *pipeline)
{
    if (pipeline == NULL) {
        return;
    }
    for (size_t i = 0; i < pipeline->count; i++) {
        hf_sandbox_matcher_destroy(pipeline->stages[i].matcher);
        hf_sandbox_projection_destroy(pipeline->stages[i].projection);
        hf_sandbox_group_destroy(pipeline->stages[i].group);
        hf_sandbox_docs_fini(&pipeline->stages[i].held);
    }
    hf_free(pipeline->stages);
    hf_sandbox_docs_fini(&pipeline->result);
    bson_destroy(pipeline->stages_doc);
    hf_free(pipeline);
}

/* From stage `at` on. */
static int32_t push_from(struct hf_sandbox_pipeline *pipeline, size_t at, const bson_t *doc,
                         bool *enough, struct hf_sandbox_refusal *no)
{
    struct stage *stage = &pipeline->stages[at];
    bson_t *projected = NULL;
    int32_t code;

    if (at == pipeline->count) {
        return hf_sandbox_docs_add_take(&pipeline->result, bson_copy(doc), no);
    }
    switch (stage->kind) {
    case STAGE_MATCH:
        return hf_sandbox_matcher_test(stage->matcher, doc)
                   ? push_from(pipeline, at + 1, doc, enough, no)
                   : 0;
    case STAGE_PROJECT:
        code = hf_sandbox_project(stage->projection, doc, &projected, no);
        if (code == 0) {
            code = push_from(pipeline, at + 1, projected, enough, no);
            bson_destroy(projected);
        }
        return code;
    case STAGE_SORT:
        return hf_sandbox_docs_add_take(&stage->held, bson_copy(doc), no);
    case STAGE_SKIP:
        return stage->seen++ < stage->limit ? 0 : push_from(pipeline, at + 1, doc, enough, no);
    case STAGE_LIMIT:
        *enough = *enough || stage->seen + 1 >= stage->limit;
        return stage->seen++ < stage->limit ? push_from(pipeline, at + 1, doc, enough, no) : 0;
    case STAGE_GROUP:
        return hf_sandbox_group_add(stage->group, doc, no);
    case STAGE_COUNT:
        stage->seen++;
        return 0;
    }
    return 0;
}

int32_t hf_sandbox_pipeline_push(struct hf_sandbox_pipeline *pipeline, const bson_t *doc,
                                 bool *enough, struct hf_sandbox_refusal *no)
{
    return push_from(pipeline, 0, doc, enough, no);
}

/* The stage has seen all its input: passes on what it held back. */
static int32_t flush_stage(struct hf_sandbox_pipeline *pipeline, size_t at,
                           struct hf_sandbox_refusal *no)
{
    struct stage *stage = &pipeline->stages[at];
    bool enough = false;
    bson_t spec;
    int32_t code = 0;

    if (stage->kind == STAGE_SORT) {
        if (hf_sandbox_value_doc(&stage->sort, &spec)) {
            hf_sandbox_docs_sort(&stage->held, &spec);
        }
        for (size_t i = 0; code == 0 && !enough && i < stage->held.count; i++) {
            code = push_from(pipeline, at + 1, stage->held.items[i], &enough, no);
        }
        hf_sandbox_docs_fini(&stage->held);
    } else if (stage->kind == STAGE_GROUP) {
        for (size_t i = 0; code == 0 && !enough && i < hf_sandbox_group_count(stage->group); i++) {
            bson_t *doc = hf_sandbox_group_doc(stage->group, i);
            code = push_from(pipeline, at + 1, doc, &enough, no);
            bson_destroy(doc);
        }
    } else if (stage->kind == STAGE_COUNT && stage->seen > 0) {
        bson_t *doc = BCON_NEW(stage->count_name, BCON_INT32((int32_t)stage->seen));
        code = push_from(pipeline, at + 1, doc, &enough, no);
        bson_destroy(doc);
    }
    return code;
}

int32_t hf_sandbox_pipeline_finish(struct hf_sandbox_pipeline *pipeline,
                                   struct hf_sandbox_docs *out, struct hf_sandbox_refusal *no)
{
    int32_t code = 0;

    for (size_t i = 0; code == 0 && i < pipeline->count; i++) {
        code = flush_stage(pipeline, i, no);
    }
    if (code == 0) {
        *out = pipeline->result;
        pipeline->result = (struct hf_sandbox_docs){0};
    }
    return code;
}

const struct hf_sandbox_matcher *
hf_sandbox_pipeline_first_match(const struct hf_sandbox_pipeline *pipeline)
{
    return pipeline->count > 0 && pipeline->stages[0].kind == STAGE_MATCH
               ? pipeline->stages[0].matcher
               : NULL;
}
