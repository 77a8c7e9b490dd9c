/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of JSON objects as values of this room.
 */
#include "format/field.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "codec/base64.h"

/* A root of HF_LISTS_MAX lists. */
#define ROOT_MAX_BYTES ((size_t)HF_LISTS_MAX * HF_REF_BYTES + 4096)

enum hf_err hf_field_text(const struct hf_json *json, const char *key, char *out, size_t capacity,
                          struct hf_error *err)
{
    const struct hf_json *value = hf_json_get(json, key);
    if (value == NULL) {
        return HF_ERR_OK;
    }
    const char *text = hf_json_text(value);
    if (text == NULL) {
        return hf_fail(err, HF_ERR_INVALID, "%s: not a text", key);
    }
    size_t len = strlen(text);
    if (len >= capacity) {
        return hf_fail(err, HF_ERR_INVALID, "%s: %zu bytes, at most %zu are allowed", key, len,
                       capacity - 1);
    }
    memcpy(out, text, len + 1);
    return HF_ERR_OK;
}

enum hf_err hf_field_u64(const struct hf_json *json, const char *key, uint64_t max, uint64_t *out,
                         struct hf_error *err)
{
    if (hf_json_get(json, key) == NULL) {
        return HF_ERR_OK;
    }
    return hf_json_need_u64(json, key, 0, max, out, err);
}

enum hf_err hf_field_u32(const struct hf_json *json, const char *key, uint32_t *out,
                         struct hf_error *err)
{
    uint64_t value = *out;
    if (hf_field_u64(json, key, UINT32_MAX, &value, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = (uint32_t)value;
    return HF_ERR_OK;
}

enum hf_err hf_field_bool(const struct hf_json *json, const char *key, bool *out,
                          struct hf_error *err)
{
    const struct hf_json *value = hf_json_get(json, key);
    if (value == NULL) {
        return HF_ERR_OK;
    }
    if (hf_json_type(value) != HF_JSON_BOOL) {
        return hf_fail(err, HF_ERR_INVALID, "%s: neither true nor false", key);
    }
    *out = hf_json_get_bool(json, key, false);
    return HF_ERR_OK;
}

enum hf_err hf_field_id(const struct hf_json *json, const char *key, struct hf_id *out,
                        struct hf_error *err)
{
    const struct hf_json *value = hf_json_get(json, key);
    if (value == NULL) {
        return HF_ERR_OK;
    }
    const char *text = hf_json_text(value);
    if (text == NULL || !hf_id_parse(hf_str_of(text), out)) {
        return hf_fail(err, HF_ERR_INVALID, "%s: not an id of 24 hexadecimal digits", key);
    }
    return HF_ERR_OK;
}

enum hf_err hf_field_need_id(const struct hf_json *json, const char *key, struct hf_id *out,
                             struct hf_error *err)
{
    if (hf_json_get(json, key) == NULL) {
        return hf_fail(err, HF_ERR_INVALID, "%s: missing", key);
    }
    if (hf_field_id(json, key, out, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_id_is_none(out) ? hf_fail(err, HF_ERR_INVALID, "%s: an id of zeros alone", key)
                              : HF_ERR_OK;
}

enum hf_err hf_field_optime(const struct hf_json *json, const char *key, struct hf_optime *out,
                            struct hf_error *err)
{
    const struct hf_json *value = hf_json_get(json, key);
    if (value == NULL) {
        return HF_ERR_OK;
    }
    uint64_t seconds = 0;
    uint64_t increment = 0;
    int64_t term = hf_json_get_integer(value, "t", -1);
    if (hf_json_type(value) != HF_JSON_OBJECT || term < -1 || term == INT64_MAX ||
        hf_json_need_u64(value, "s", 0, UINT32_MAX, &seconds, err) != HF_ERR_OK ||
        hf_json_need_u64(value, "i", 0, UINT32_MAX, &increment, err) != HF_ERR_OK) {
        return hf_fail(err, HF_ERR_INVALID, "%s: not an optime", key);
    }
    *out = (struct hf_optime){
        .seconds = (uint32_t)seconds, .increment = (uint32_t)increment, .term = term};
    return HF_ERR_OK;
}

enum hf_err hf_field_adopted(const struct hf_json *json, const char *key, struct hf_adopted *out,
                             size_t *count, struct hf_error *err)
{
    const struct hf_json *array = hf_json_get(json, key);
    if (array == NULL) {
        return HF_ERR_OK;
    }
    size_t found = hf_json_count(array);
    if (hf_json_type(array) != HF_JSON_ARRAY || found > HF_ADOPTED_MAX) {
        return hf_fail(err, HF_ERR_INVALID, "%s: not a list of at most %d attempts", key,
                       HF_ADOPTED_MAX);
    }
    for (size_t i = 0; i < found; i++) {
        const struct hf_json *item = hf_json_at(array, i);
        if (hf_json_need_u64(item, "capture", 1, HF_CAPTURE_MAX, &out[i].capture, err) !=
                HF_ERR_OK ||
            hf_field_need_id(item, "writer", &out[i].writer, err) != HF_ERR_OK) {
            return hf_wrap(err, "%s", key);
        }
    }
    *count = found;
    return HF_ERR_OK;
}

enum hf_err hf_field_binary(const struct hf_json *json, const char *key, struct hf_buf *out,
                            struct hf_error *err)
{
    const char *text = NULL;
    hf_buf_clear(out);
    if (hf_json_need_text(json, key, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_str encoded = hf_str_of(text);
    size_t room = encoded.len / 4 * 3;
    size_t len = 0;
    if (hf_buf_reserve(out, room + 1, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", key);
    }
    if (hf_base64_decode(encoded, out->data, room, &len, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", key);
    }
    out->len = len;
    return HF_ERR_OK;
}

enum hf_err hf_field_root(const struct hf_json *json, const char *key, struct hf_tree_root *out,
                          struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(ROOT_MAX_BYTES);
    if (hf_field_binary(json, key, &bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_tree_root_decode(hf_buf_bytes(&bytes), out, err) != HF_ERR_OK) {
        if (err->code == HF_ERR_CORRUPT) {
            err->code = HF_ERR_INVALID; /* nothing is damaged here: it came so */
        }
        return hf_wrap(err, "%s", key);
    }
    return HF_ERR_OK;
}

void hf_field_set_id(struct hf_json *json, const char *key, const struct hf_id *id)
{
    if (!hf_id_is_none(id)) {
        hf_json_set_text(json, key, hf_id_text(id).text);
    }
}

void hf_field_set_optime(struct hf_json *json, const char *key, const struct hf_optime *optime)
{
    if (hf_optime_is_none(optime)) {
        return;
    }
    struct hf_json *value = hf_json_object();
    hf_json_set_u64(value, "s", optime->seconds);
    hf_json_set_u64(value, "i", optime->increment);
    hf_json_set_integer(value, "t", optime->term);
    hf_json_set_take(json, key, value);
}

void hf_field_set_text(struct hf_json *json, const char *key, const char *text)
{
    if (text[0] != '\0') {
        hf_json_set_text(json, key, text);
    }
}

void hf_field_set_adopted(struct hf_json *json, const char *key, const struct hf_adopted *adopted,
                          size_t count)
{
    if (count == 0) {
        return;
    }
    struct hf_json *array = hf_json_array();
    for (size_t i = 0; i < count; i++) {
        struct hf_json *item = hf_json_object();
        hf_json_set_u64(item, "capture", adopted[i].capture);
        hf_field_set_id(item, "writer", &adopted[i].writer);
        hf_json_append_take(array, item);
    }
    hf_json_set_take(json, key, array);
}

enum hf_err hf_field_set_binary(struct hf_json *json, const char *key, struct hf_bytes bytes,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *text = hf_alloc(HF_BASE64_LEN(bytes.len) + 1);
    if (text == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s: %zu bytes", key, bytes.len);
    }
    hf_base64_encode(bytes, text);
    hf_json_set_text(json, key, text);
    return HF_ERR_OK;
}

enum hf_err hf_field_set_root(struct hf_json *json, const char *key,
                              const struct hf_tree_root *root, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(ROOT_MAX_BYTES);
    if (hf_tree_root_encode(root, &bytes, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", key);
    }
    return hf_field_set_binary(json, key, hf_buf_bytes(&bytes), err);
}
