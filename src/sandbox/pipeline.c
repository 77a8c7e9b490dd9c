/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stages of a pipeline, each on all documents at once. The limit of a list keeps a query from taking the process
 * down.
 */
#include "sandbox/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sandbox/update.h"

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

/* ---- Sorting ---- */

int hf_sandbox_sort_compare(const bson_t *spec, const bson_t *a, const bson_t *b)
{

    HF_SANDBOX_EACH (iter, spec, true) {
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

struct stage {
    const char *name;
    bson_value_t value;
    bson_t spec; /* a view of it, where it must be a document */
    struct hf_sandbox_docs *docs;
    struct hf_sandbox_refusal *no;
};

static int32_t run_sort(struct stage *stage)
{
    struct hf_sandbox_docs *docs = stage->docs;

    HF_SANDBOX_EACH (iter, &stage->spec, true) {
        if (bson_iter_as_int64(&iter) != 1 && bson_iter_as_int64(&iter) != -1) {
            return hf_sandbox_refuse(
                stage->no, HF_SANDBOX_BAD_VALUE,
                "$sort key ordering must be 1 (for ascending) or -1 (for descending)");
        }
    }
    if (docs->count > 0) {
        qsort_r(docs->items, docs->count, sizeof(bson_t *), compare_items, &stage->spec);
    }
    return 0;
}

/* ---- $project ---- */

static bool is_id(const bson_iter_t *iter)
{
    return strcmp(bson_iter_key(iter), "_id") == 0;
}

static int32_t project(const bson_t *spec, bool inclusion, bson_t **doc,
                       struct hf_sandbox_refusal *no)
{
    bson_t *out = inclusion ? bson_new() : bson_copy(*doc);
    bson_value_t value = hf_sandbox_value_missing;
    int32_t code = 0;

    if (inclusion && hf_sandbox_get(*doc, "_id", &value)) {
        hf_sandbox_append(out, "_id", &value);
    }
    HF_SANDBOX_EACH (iter, spec, code == 0) {
        if (hf_sandbox_get_path(*doc, bson_iter_key(&iter), &value)) {
            value = bson_iter_as_bool(&iter) ? value : hf_sandbox_value_missing;
            code = hf_sandbox_edit(&out, bson_iter_key(&iter), &value, no);
        }
    }
    bson_destroy(*doc);
    *doc = out;
    return code;
}

static int32_t run_project(struct stage *stage)
{
    struct hf_sandbox_docs *docs = stage->docs;
    bool seen[2] = {false, false}; /* left out, kept */
    bool id = false;
    int32_t code = 0;

    HF_SANDBOX_EACH (iter, &stage->spec, true) {
        if (!BSON_ITER_HOLDS_BOOL(&iter) && !hf_sandbox_is_number(bson_iter_value(&iter))) {
            return hf_sandbox_refuse(stage->no, HF_SANDBOX_NOT_IMPLEMENTED,
                                     "projections only keep fields or leave them out here");
        }
        if (is_id(&iter)) {
            id = bson_iter_as_bool(&iter);
        } else {
            seen[bson_iter_as_bool(&iter)] = true;
        }
    }
    if (seen[true] && seen[false]) {
        return hf_sandbox_refuse(stage->no, 31254, "Cannot do exclusion in inclusion projection");
    }
    for (size_t i = 0; code == 0 && i < docs->count; i++) {
        code =
            project(&stage->spec, seen[true] || (id && !seen[false]), &docs->items[i], stage->no);
    }
    return code;
}

/* ---- $group: documents {_id: key, field: value ..} are sorted by their key and summed up ---- */

/* What the fields' expressions, under their accumulators, give for the document, which is replaced. */
static int32_t evaluate(const bson_t *spec, bson_t **doc, struct hf_sandbox_refusal *no)
{
    bson_t *made = bson_new();
    bson_iter_t inner;
    int32_t code = 0;

    HF_SANDBOX_EACH (iter, spec, code == 0) {
        bson_value_t value = *bson_iter_value(&iter);

        if (!is_id(&iter)) {
            if (!bson_iter_recurse(&iter, &inner) || !bson_iter_next(&inner) ||
                (strcmp(bson_iter_key(&inner), "$sum") != 0 &&
                 strcmp(bson_iter_key(&inner), "$avg") != 0)) {
                code = hf_sandbox_refuse(no, 15952, "unknown group operator of '%s'",
                                         bson_iter_key(&iter));
                break;
            }
            value = *bson_iter_value(&inner);
        }
        if (hf_sandbox_value_iter(&value, value.value_type, &inner)) {
            code = hf_sandbox_refuse(no, 168, "the sandbox has no expressions but paths");
        }
        if (value.value_type == BSON_TYPE_UTF8 && value.value.v_utf8.str[0] == '$') {
            const char *path = value.value.v_utf8.str + 1;
            value = (bson_value_t){.value_type = BSON_TYPE_NULL};
            (void)hf_sandbox_get_path(*doc, path, &value);
        }
        hf_sandbox_append(made, bson_iter_key(&iter), &value);
    }
    bson_destroy(*doc);
    *doc = made;
    return code;
}

/* Appends the sum or average of the field over the documents. */
static int32_t sum_up(const bson_iter_t *field, bson_t *const *items, size_t item_count,
                      bson_t *out, struct hf_sandbox_refusal *no)
{
    bson_value_t sum = hf_sandbox_value_of_int32(0);
    bson_iter_t inner;
    int64_t count = 0;

    for (size_t i = 0; i < item_count; i++) {
        bson_value_t before = sum;
        bson_value_t value;

        if (hf_sandbox_get(items[i], bson_iter_key(field), &value) &&
            hf_sandbox_is_number(&value)) {
            count++;
            if (!hf_sandbox_value_add(&before, &value, &sum)) {
                return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "overflow, or decimals");
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

static int32_t run_group(struct stage *stage)
{
    const bson_t *spec = &stage->spec;
    struct hf_sandbox_docs *docs = stage->docs;
    struct hf_sandbox_refusal *no = stage->no;
    HF_CLEANUP(hf_sandbox_docs_fini) struct hf_sandbox_docs in = *docs;
    bson_t *by_id = BCON_NEW("_id", BCON_INT32(1));
    bson_t *nothing = bson_new();
    int32_t code = bson_has_field(spec, "_id")
                       ? evaluate(spec, &nothing, no)
                       : hf_sandbox_refuse(no, 15955, "a group specification must include an _id");

    *docs = (struct hf_sandbox_docs){0};
    for (size_t i = 0; code == 0 && i < in.count; i++) {
        code = evaluate(spec, &in.items[i], no);
    }
    code = code != 0 ? code : run_sort(&(struct stage){.spec = *by_id, .docs = &in, .no = no});
    for (size_t from = 0, to; code == 0 && from < in.count; from = to) {
        bson_value_t id = hf_sandbox_value_missing;
        bson_t *doc = bson_new();

        (void)hf_sandbox_get(in.items[from], "_id", &id);
        hf_sandbox_append(doc, "_id", &id);
        for (to = from + 1;
             to < in.count && hf_sandbox_sort_compare(by_id, in.items[from], in.items[to]) == 0;
             to++) {
        }
        HF_SANDBOX_EACH (field, spec, code == 0) {
            code = is_id(&field) ? 0 : sum_up(&field, in.items + from, to - from, doc, no);
        }
        int32_t added = hf_sandbox_docs_add_take(docs, doc, no);
        code = code != 0 ? code : added;
    }
    bson_destroy(nothing);
    bson_destroy(by_id);
    return code;
}

/* ---- $match, $skip, $limit, $count ---- */

/* Keeps the documents from..to that the filter (NULL: any) lets through. */
static void keep(struct hf_sandbox_docs *docs, size_t from, size_t to, const bson_t *filter)
{
    size_t kept = 0;

    for (size_t i = 0; i < docs->count; i++) {
        if (i >= from && i < to &&
            (filter == NULL || hf_sandbox_filter_test(filter, docs->items[i]))) {
            docs->items[kept++] = docs->items[i];
        } else {
            bson_destroy(docs->items[i]);
        }
    }
    docs->count = kept;
}

static int32_t run_match(struct stage *stage)
{
    int32_t code = hf_sandbox_filter_check(&stage->spec, stage->no);

    if (code == 0) {
        keep(stage->docs, 0, stage->docs->count, &stage->spec);
    }
    return code;
}

static int32_t run_bound(struct stage *stage)
{
    bool limit = stage->name[1] == 'l';
    int64_t number = 0;

    if (!hf_sandbox_as_int64(&stage->value, &number) || number < limit) {
        return hf_sandbox_refuse(stage->no, limit ? 15958 : 15956, "the %s must be a %s number",
                                 stage->name + 1, limit ? "positive" : "non-negative");
    }
    keep(stage->docs, limit ? 0 : (size_t)number, limit ? (size_t)number : stage->docs->count,
         NULL);
    return 0;
}

static int32_t run_count(struct stage *stage)
{
    int32_t count = (int32_t)stage->docs->count;

    if (stage->value.value_type != BSON_TYPE_UTF8) {
        return hf_sandbox_refuse(stage->no, 40156, "the count field must be a non-empty string");
    }
    const char *field = stage->value.value.v_utf8.str;
    if (field[0] == '\0') {
        return hf_sandbox_refuse(stage->no, 40157, "the count field must be a non-empty string");
    }
    if (field[0] == '$') {
        return hf_sandbox_refuse(stage->no, 40158, "the count field cannot be a $-prefixed path");
    }
    if (strchr(field, '.') != NULL) {
        return hf_sandbox_refuse(stage->no, 40160, "the count field cannot contain '.'");
    }
    keep(stage->docs, 0, 0, NULL);
    if (count == 0) {
        return 0;
    }
    /* Not through BCON, to which a client's "}" is more than a name. */
    bson_t *doc = bson_new();
    bson_append_int32(doc, field, -1, count);
    return hf_sandbox_docs_add_take(stage->docs, doc, stage->no);
}

static int32_t run_source(struct stage *stage)
{
    return hf_sandbox_refuse(stage->no, 40602, "%s is only valid as the first stage in a pipeline",
                             stage->name);
}

/* ---- The whole ---- */

static const struct {
    const char *name;
    int32_t (*run)(struct stage *stage);
    bool of_document;
} stage_rows[] = {
    {"$match", run_match, true},
    {"$project", run_project, true},
    {"$sort", run_sort, true},
    {"$group", run_group, true},
    {"$skip", run_bound, false},
    {"$limit", run_bound, false},
    {"$count", run_count, false},
    {"$backupCursor", run_source, false},
    {"$backupCursorExtend", run_source, false},
    {"$currentOp", run_source, false},
};

static int32_t run_stage(struct stage *stage)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(stage_rows); i++) {
        if (strcmp(stage->name, stage_rows[i].name) == 0) {
            return !stage_rows[i].of_document || hf_sandbox_value_doc(&stage->value, &stage->spec)
                       ? stage_rows[i].run(stage)
                       : hf_sandbox_refuse(stage->no, 15959,
                                           "the specification of %s must be an object",
                                           stage->name);
        }
    }
    return hf_sandbox_refuse(stage->no, 40324, "Unrecognized pipeline stage name: '%s'",
                             stage->name);
}

int32_t hf_sandbox_pipeline_run(const bson_t *stages, uint32_t first, struct hf_sandbox_docs *docs,
                                struct hf_sandbox_refusal *no)
{
    bson_iter_t field;
    uint32_t at = 0;
    int32_t code = 0;

    HF_SANDBOX_EACH (iter, stages, code == 0) {
        if (at++ < first) {
            continue;
        }
        if (!BSON_ITER_HOLDS_DOCUMENT(&iter) || !bson_iter_recurse(&iter, &field) ||
            !bson_iter_next(&field)) {
            return hf_sandbox_refuse(
                no, 40323, "A pipeline stage specification object must contain exactly one field.");
        }
        struct stage stage = {.name = bson_iter_key(&field),
                              .value = *bson_iter_value(&field),
                              .docs = docs,
                              .no = no};
        code = run_stage(&stage);
    }
    return code;
}
