/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON text: decoding by Jansson behind our own limits, and our own encoder: keys sorted, the shortest form of a
 * number that reads back the same, and an error when memory ran out while the value was built.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "codec/json_internal.h"

/* Jansson would go 2048 deep, and make what it finds before it is counted; the position is where the limit is passed. */
static enum hf_err refuse_shape(struct hf_str text, size_t values_max, struct hf_error *err)
{
    size_t depth = 0, line = 1, line_start = 0, values = 1;
    bool in_text = false;

    for (size_t i = 0; i < text.len; i++) {
        char at = text.data[i];
        if (at == '\n') {
            line++;
            line_start = i + 1;
        } else if (in_text && at == '\\') {
            i++; /* whatever is escaped does not end the text */
        } else if (at == '"') {
            in_text = !in_text;
        } else if (!in_text && (at == '[' || at == '{')) {
            if (++depth > HF_JSON_DEEPEST) {
                return hf_fail(err, HF_ERR_INVALID,
                               "json: line %zu column %zu: more than %d levels deep", line,
                               i - line_start + 1, HF_JSON_DEEPEST);
            }
        } else if (!in_text && (at == ']' || at == '}') && depth > 0) {
            depth--;
        }
        if (!in_text && (at == ',' || at == ':' || at == '[' || at == '{') &&
            ++values > values_max) {
            return hf_fail(err, HF_ERR_LIMIT, "json: line %zu column %zu: more than %zu values",
                           line, i - line_start + 1, values_max);
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_json_decode(struct hf_str text, size_t max, struct hf_json **out,
                           struct hf_error *err)
{
    const struct hf_json_limits limits = {.bytes = max, .values = SIZE_MAX};

    return hf_json_decode_within(text, &limits, out, err);
}

enum hf_err hf_json_decode_within(struct hf_str text, const struct hf_json_limits *limits,
                                  struct hf_json **out, struct hf_error *err)
{
    json_error_t cause;

    if (text.len > limits->bytes) {
        return hf_fail(err, HF_ERR_LIMIT, "json: %zu bytes, at most %zu are allowed", text.len,
                       limits->bytes);
    }
    if (refuse_shape(text, limits->values, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_json_watch_memory();
    json_t *value = json_loadb(text.len == 0 ? "" : text.data, text.len,
                               JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &cause);
    if (value == NULL) {
        if (hf_json_memory_ran_out()) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "json: no memory for %zu bytes", text.len);
        }
        return hf_fail(err, HF_ERR_INVALID, "json: line %d column %d: %s", cause.line, cause.column,
                       cause.text);
    }
    if (hf_json_memory_ran_out()) {
        /* Jansson's scanner drops the characters that it has no room for, and goes on. */
        json_decref(value);
        return hf_fail(err, HF_ERR_NO_MEMORY, "json: no memory for %zu bytes", text.len);
    }
    *out = hf_json_outside(value);
    return HF_ERR_OK;
}

struct encoder {
    struct hf_buf *out;
    unsigned indent;
    unsigned depth;
};

static enum hf_err put(struct encoder *encoder, const char *text, size_t len, struct hf_error *err)
{
    return hf_buf_append(encoder->out, hf_bytes_of(text, len), err);
}

static enum hf_err new_line(struct encoder *encoder, struct hf_error *err)
{
    size_t spaces = (size_t)encoder->indent * encoder->depth;
    if (encoder->indent == 0) {
        return HF_ERR_OK;
    }
    if (hf_buf_reserve(encoder->out, spaces + 1, err) != HF_ERR_OK) {
        return err->code;
    }
    encoder->out->data[encoder->out->len] = '\n';
    memset(encoder->out->data + encoder->out->len + 1, ' ', spaces);
    encoder->out->len += spaces + 1;
    return HF_ERR_OK;
}

static bool is_plain(char at)
{
    return (unsigned char)at >= 0x20 && at != '"' && at != '\\' && at != 0x7F;
}

static enum hf_err put_escape(struct encoder *encoder, char at, struct hf_error *err)
{
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* pairs: the character, its letter */
    for (size_t i = 0; i + 1 < sizeof shorts; i += 2) {
        if (shorts[i] == at) {
            char escape[2] = {'\\', shorts[i + 1]};
            return put(encoder, escape, sizeof escape, err);
        }
    }
    return hf_buf_appendf(encoder->out, err, "\\u%04x", (unsigned)(unsigned char)at);
}

static enum hf_err put_text(struct encoder *encoder, struct hf_str text, struct hf_error *err)
{
    if (put(encoder, "\"", 1, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < text.len;) {
        size_t start = i;
        while (i < text.len && is_plain(text.data[i])) {
            i++;
        }
        if (put(encoder, text.data + start, i - start, err) != HF_ERR_OK) {
            return err->code;
        }
        if (i < text.len && put_escape(encoder, text.data[i++], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return put(encoder, "\"", 1, err);
}

/* The shortest of three precisions that reads back the same, and always visibly a real. */
static enum hf_err put_real(struct encoder *encoder, double value, struct hf_error *err)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    return hf_buf_appendf(encoder->out, err, "%s%s", text, strpbrk(text, ".e") == NULL ? ".0" : "");
}

static enum hf_err put_value(struct encoder *encoder, const json_t *value, struct hf_error *err);

static enum hf_err put_array(struct encoder *encoder, const json_t *array, struct hf_error *err)
{
    size_t count = json_array_size(array);

    if (put(encoder, "[", 1, err) != HF_ERR_OK) {
        return err->code;
    }
    encoder->depth++;
    for (size_t i = 0; i < count; i++) {
        if ((i > 0 && put(encoder, ",", 1, err) != HF_ERR_OK) ||
            new_line(encoder, err) != HF_ERR_OK ||
            put_value(encoder, json_array_get(array, i), err) != HF_ERR_OK) {
            return err->code;
        }
    }
    encoder->depth--;
    if (count > 0 && new_line(encoder, err) != HF_ERR_OK) {
        return err->code;
    }
    return put(encoder, "]", 1, err);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted; NULL on no memory. Free with hf_free, the keys are borrowed. */
static const char **sorted_keys(json_t *object, size_t count)
{
    const char **keys = hf_alloc_array(count, sizeof *keys);
    size_t used = 0;
    if (keys == NULL) {
        return NULL;
    }
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        keys[used++] = json_object_iter_key(at);
    }
    HF_ASSERT(used == count);
    if (count > 1) {
        qsort(keys, count, sizeof *keys, compare_keys);
    }
    return keys;
}

static enum hf_err put_member(struct encoder *encoder, const json_t *object, const char *key,
                              struct hf_error *err)
{
    if (new_line(encoder, err) != HF_ERR_OK ||
        put_text(encoder, hf_str_of(key), err) != HF_ERR_OK ||
        put(encoder, ": ", encoder->indent > 0 ? 2 : 1, err) != HF_ERR_OK) {
        return err->code;
    }
    return put_value(encoder, json_object_get(object, key), err);
}

static enum hf_err put_object(struct encoder *encoder, json_t *object, struct hf_error *err)
{
    size_t count = json_object_size(object);
    HF_CLEANUP(hf_free) const char **keys = sorted_keys(object, count);

    if (keys == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "json: no memory for %zu keys", count);
    }
    if (put(encoder, "{", 1, err) != HF_ERR_OK) {
        return err->code;
    }
    encoder->depth++;
    for (size_t i = 0; i < count; i++) {
        if ((i > 0 && put(encoder, ",", 1, err) != HF_ERR_OK) ||
            put_member(encoder, object, keys[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    encoder->depth--;
    if (count > 0 && new_line(encoder, err) != HF_ERR_OK) {
        return err->code;
    }
    return put(encoder, "}", 1, err);
}

static enum hf_err put_container(struct encoder *encoder, const json_t *value, struct hf_error *err)
{
    if (hf_json_is_incomplete(value)) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "json: memory ran out while it was built");
    }
    if (encoder->depth >= HF_JSON_DEEPEST) {
        return hf_fail(err, HF_ERR_LIMIT, "json: more than %d levels deep", HF_JSON_DEEPEST);
    }
    return json_is_object(value) ? put_object(encoder, (json_t *)(uintptr_t)value, err)
                                 : put_array(encoder, value, err);
}

static enum hf_err put_value(struct encoder *encoder, const json_t *value, struct hf_error *err)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        return put_container(encoder, value, err);
    case JSON_STRING:
        return put_text(
            encoder,
            (struct hf_str){.data = json_string_value(value), .len = json_string_length(value)},
            err);
    case JSON_INTEGER:
        return hf_buf_appendf(encoder->out, err, "%" PRId64, (int64_t)json_integer_value(value));
    case JSON_REAL:
        return put_real(encoder, json_real_value(value), err);
    case JSON_TRUE:
        return put(encoder, "true", 4, err);
    case JSON_FALSE:
        return put(encoder, "false", 5, err);
    case JSON_NULL:
    default:
        return put(encoder, "null", 4, err);
    }
}

enum hf_err hf_json_encode(const struct hf_json *value, unsigned indent, struct hf_buf *out,
                           struct hf_error *err)
{
    struct encoder encoder = {.out = out, .indent = indent, .depth = 0};
    size_t before = out->len;

    if (value == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "json: memory ran out while it was built");
    }
    if (put_value(&encoder, hf_json_inside(value), err) != HF_ERR_OK) {
        out->len = before;
        return err->code;
    }
    return HF_ERR_OK;
}
