/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a document anew with one path changed. Everything but that path keeps its place and bytes.
 */
#include "sandbox/edit.h"

#include <string.h>

#include "sandbox/path.h"

/* A path into an array may ask for this many nulls at most, as the server does. */
#define MAX_PADDING 1500000

struct edit {
    const char *path; /* what is left of it */
    const bson_value_t *value;
    struct hf_sandbox_refusal *no;
};

static int32_t edit_level(const struct edit *edit, const bson_t *in, bool array, bson_t *out);

static size_t component_len(const char *path)
{
    const char *dot = strchr(path, '.');

    return dot == NULL ? strlen(path) : (size_t)(dot - path);
}

/* Writes a container under key: `in` with the rest of the path applied. */
static int32_t edit_below(const struct edit *edit, const char *key, size_t key_len,
                          const bson_t *in, bool array, bson_t *out)
{
    struct edit rest = *edit;
    bson_t child;
    int32_t code;

    rest.path += component_len(edit->path) + 1;
    if (array) {
        bson_append_array_begin(out, key, (int)key_len, &child);
        code = edit_level(&rest, in, true, &child);
        bson_append_array_end(out, &child);
    } else {
        bson_append_document_begin(out, key, (int)key_len, &child);
        code = edit_level(&rest, in, false, &child);
        bson_append_document_end(out, &child);
    }
    return code;
}

/* The path's component is not there yet: pads an array, then adds it. */
static int32_t edit_add(const struct edit *edit, bool array, uint32_t count, bson_t *out)
{
    size_t len = component_len(edit->path);
    bson_t nothing = BSON_INITIALIZER;
    int32_t code = 0;

    if (edit->value->value_type == BSON_TYPE_EOD) {
        return 0;
    }
    if (array) {
        uint64_t wanted = 0;
        if (!hf_sandbox_path_is_index(edit->path, len) ||
            !hf_parse_u64((struct hf_str){edit->path, len}, &wanted) ||
            wanted > (uint64_t)count + MAX_PADDING) {
            return hf_sandbox_refuse(edit->no, HF_SANDBOX_PATH_NOT_VIABLE,
                                     "Cannot create field '%.*s' in an array", (int)len,
                                     edit->path);
        }
        while (count < wanted) {
            hf_sandbox_append_element(out, &count, &(bson_value_t){.value_type = BSON_TYPE_NULL});
        }
    }
    if (edit->path[len] == '\0') {
        hf_sandbox_append(out, edit->path, edit->value);
    } else {
        code = edit_below(edit, edit->path, len, &nothing, false, out);
    }
    bson_destroy(&nothing);
    return code;
}

static int32_t edit_found(const struct edit *edit, const char *key, const bson_value_t *old,
                          bool array, bson_t *out)
{
    size_t len = component_len(edit->path);
    bool removal = edit->value->value_type == BSON_TYPE_EOD;
    bson_t inner;

    if (edit->path[len] == '\0') {
        if (removal && array) {
            hf_sandbox_append(out, key, &(bson_value_t){.value_type = BSON_TYPE_NULL});
        } else {
            hf_sandbox_append(out, key, edit->value);
        }
        return 0;
    }
    if (hf_sandbox_value_doc(old, &inner)) {
        return edit_below(edit, key, strlen(key), &inner, old->value_type == BSON_TYPE_ARRAY, out);
    }
    if (removal) {
        hf_sandbox_append(out, key, old);
        return 0;
    }
    return hf_sandbox_refuse(edit->no, HF_SANDBOX_PATH_NOT_VIABLE,
                             "Cannot create field '%.*s' in element {%s: %s}",
                             (int)component_len(edit->path + len + 1), edit->path + len + 1, key,
                             hf_sandbox_type_name(old->value_type));
}

static int32_t edit_level(const struct edit *edit, const bson_t *in, bool array, bson_t *out)
{
    size_t len = component_len(edit->path);
    bool found = false;
    uint32_t count = 0;
    bson_iter_t iter;

    if (!bson_iter_init(&iter, in)) {
        return hf_sandbox_refuse(edit->no, HF_SANDBOX_INVALID_BSON, "malformed document");
    }
    for (; bson_iter_next(&iter); count++) {
        const char *key = bson_iter_key(&iter);

        if (!found && strlen(key) == len && memcmp(key, edit->path, len) == 0) {
            int32_t code = edit_found(edit, key, bson_iter_value(&iter), array, out);
            if (code != 0) {
                return code;
            }
            found = true;
        } else {
            hf_sandbox_append(out, key, bson_iter_value(&iter));
        }
    }
    return found ? 0 : edit_add(edit, array, count, out);
}

int32_t hf_sandbox_edit(bson_t **doc, const char *path, const bson_value_t *value,
                        struct hf_sandbox_refusal *no)
{
    struct edit edit = {.path = path, .value = value, .no = no};
    bson_t *out = bson_new();
    int32_t code = edit_level(&edit, *doc, false, out);

    if (code != 0) {
        bson_destroy(out);
        return code;
    }
    bson_destroy(*doc);
    *doc = out;
    return 0;
}
