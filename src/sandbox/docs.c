/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of documents and their order. It knows no command; the limit keeps one query from taking the process down.
 */
#include "sandbox/docs.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sandbox/path.h"

int32_t hf_sandbox_docs_add_take(struct hf_sandbox_docs *docs, bson_t *doc,
                                 struct hf_sandbox_refusal *no)
{
    if (docs->bytes + doc->len > HF_SANDBOX_DOCS_MAX_BYTES) {
        bson_destroy(doc);
        return hf_sandbox_refuse(no, 292, "Exceeded memory limit, but didn't allow external sort.");
    }
    if (docs->count == docs->capacity) {
        size_t capacity = docs->capacity == 0 ? 16 : docs->capacity * 2;
        bson_t **grown = hf_realloc_array(docs->items, capacity, sizeof(bson_t *));
        HF_ASSERT(grown != NULL);
        docs->items = grown;
        docs->capacity = capacity;
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

int32_t hf_sandbox_sort_check(const bson_t *spec, struct hf_sandbox_refusal *no)
{
    bson_iter_t iter;
    int64_t direction;

    if (!bson_iter_init(&iter, spec)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INVALID_BSON, "malformed sort");
    }
    while (bson_iter_next(&iter)) {
        if (!hf_sandbox_as_int64(bson_iter_value(&iter), &direction) ||
            (direction != 1 && direction != -1)) {
            return hf_sandbox_refuse(
                no, HF_SANDBOX_BAD_VALUE,
                "$sort key ordering must be 1 (for ascending) or -1 (for descending)");
        }
    }
    return 0;
}

struct extreme {
    bson_value_t best;
    bool found;
    bool descending;
};

static void consider(struct extreme *extreme, const bson_value_t *value)
{
    int order = extreme->found ? hf_sandbox_value_compare(value, &extreme->best) : 0;

    if (!extreme->found || (extreme->descending ? order > 0 : order < 0)) {
        extreme->best = *value;
        extreme->found = true;
    }
}

/* An array sorts by its smallest element, or its largest when descending. */
static bool visit_sort_key(const struct hf_sandbox_path_hit *hit, void *context)
{
    struct extreme *extreme = context;
    bson_iter_t iter;
    bson_t array;

    if (hit->value->value_type == BSON_TYPE_ARRAY && hf_sandbox_value_doc(hit->value, &array) &&
        bson_iter_init(&iter, &array)) {
        if (bson_empty(&array)) {
            consider(extreme, &(bson_value_t){.value_type = BSON_TYPE_UNDEFINED});
        }
        while (bson_iter_next(&iter)) {
            consider(extreme, bson_iter_value(&iter));
        }
        return false;
    }
    if (hit->value->value_type == BSON_TYPE_EOD) {
        consider(extreme, &(bson_value_t){.value_type = BSON_TYPE_NULL});
    } else {
        consider(extreme, hit->value);
    }
    return false;
}

static bson_value_t sort_key(const bson_t *doc, const char *path, bool descending)
{
    struct extreme extreme = {.best.value_type = BSON_TYPE_NULL, .descending = descending};

    (void)hf_sandbox_path_walk(doc, path, visit_sort_key, &extreme);
    return extreme.best;
}

int hf_sandbox_sort_compare(const bson_t *spec, const bson_t *a, const bson_t *b)
{
    bson_iter_t iter;

    if (!bson_iter_init(&iter, spec)) {
        return 0;
    }
    while (bson_iter_next(&iter)) {
        bool descending = hf_sandbox_as_double(bson_iter_value(&iter)) < 0;
        bson_value_t x = sort_key(a, bson_iter_key(&iter), descending);
        bson_value_t y = sort_key(b, bson_iter_key(&iter), descending);
        int order = hf_sandbox_value_compare(&x, &y);
        if (order != 0) {
            return descending ? -order : order;
        }
    }
    return 0;
}

/* Merge sort: qsort is not stable and its order may not depend on an argument. */
static void merge_sort(bson_t **items, bson_t **space, size_t count, const bson_t *spec)
{
    size_t half = count / 2;
    size_t left = 0;
    size_t right = half;

    if (count < 2) {
        return;
    }
    merge_sort(items, space, half, spec);
    merge_sort(items + half, space, count - half, spec);
    for (size_t at = 0; at < count; at++) {
        bool take_left =
            right == count ||
            (left < half && hf_sandbox_sort_compare(spec, items[left], items[right]) <= 0);
        space[at] = take_left ? items[left++] : items[right++];
    }
    memcpy(items, space, count * sizeof(bson_t *));
}

void hf_sandbox_docs_sort(struct hf_sandbox_docs *docs, const bson_t *spec)
{
    bson_t **space = hf_alloc_array(docs->count + 1, sizeof(bson_t *));

    HF_ASSERT(space != NULL);
    merge_sort(docs->items, space, docs->count, spec);
    hf_free(space);
}
