/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk along a dotted path. Depth is bounded by that of documents, which is checked where they
 * enter.
 */
#include "sandbox/path.h"

#include <string.h>

struct walk {
    hf_sandbox_path_visit visit;
    void *context;
};

bool hf_sandbox_path_is_index(const char *component, size_t len)
{
    if (len == 0 || len > 9) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (component[i] < '0' || component[i] > '9') {
            return false;
        }
    }
    return len == 1 || component[0] != '0';
}

static bool walk_doc(const struct walk *walk, const bson_t *doc, const char *path,
                     int32_t array_index);

static bool show(const struct walk *walk, const bson_value_t *value, int32_t array_index)
{
    struct hf_sandbox_path_hit hit = {.value = value, .array_index = array_index};

    return walk->visit(&hit, walk->context);
}

/* path is what follows the array's name: it may begin with an element's number, or apply to each
 * document inside. */
static bool walk_array(const struct walk *walk, const bson_t *array, const char *path,
                       int32_t array_index)
{
    const char *dot = strchr(path, '.');
    size_t len = dot == NULL ? strlen(path) : (size_t)(dot - path);
    bson_iter_t iter;
    int32_t index = 0;

    if (!bson_iter_init(&iter, array)) {
        return false;
    }
    while (bson_iter_next(&iter)) {
        const bson_value_t *value = bson_iter_value(&iter);
        int32_t place = array_index >= 0 ? array_index : index;
        bson_t inner;

        if (value->value_type == BSON_TYPE_DOCUMENT && hf_sandbox_value_doc(value, &inner) &&
            walk_doc(walk, &inner, path, place)) {
            return true;
        }
        index++;
    }
    if (!hf_sandbox_path_is_index(path, len) || !bson_iter_init(&iter, array) ||
        !bson_iter_find_w_len(&iter, path, (int)len)) {
        return false;
    }
    const bson_value_t *element = bson_iter_value(&iter);
    bson_t inner;
    if (dot == NULL) {
        return show(walk, element, array_index);
    }
    if (!hf_sandbox_value_doc(element, &inner)) {
        return false;
    }
    return element->value_type == BSON_TYPE_ARRAY ? walk_array(walk, &inner, dot + 1, array_index)
                                                  : walk_doc(walk, &inner, dot + 1, array_index);
}

static bool walk_doc(const struct walk *walk, const bson_t *doc, const char *path,
                     int32_t array_index)
{
    const char *dot = strchr(path, '.');
    size_t len = dot == NULL ? strlen(path) : (size_t)(dot - path);
    bson_iter_t iter;
    bson_t inner;

    if (!bson_iter_init(&iter, doc) || !bson_iter_find_w_len(&iter, path, (int)len)) {
        return show(walk, &hf_sandbox_value_missing, array_index);
    }
    const bson_value_t *value = bson_iter_value(&iter);
    if (dot == NULL) {
        return show(walk, value, array_index);
    }
    if (!hf_sandbox_value_doc(value, &inner)) {
        return show(walk, &hf_sandbox_value_missing, array_index);
    }
    return value->value_type == BSON_TYPE_ARRAY ? walk_array(walk, &inner, dot + 1, array_index)
                                                : walk_doc(walk, &inner, dot + 1, array_index);
}

bool hf_sandbox_path_walk(const bson_t *doc, const char *path, hf_sandbox_path_visit visit,
                          void *context)
{
    struct walk walk = {.visit = visit, .context = context};

    return walk_doc(&walk, doc, path, -1);
}
