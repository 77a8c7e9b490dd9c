/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BSON, one level at a time. The size of every value is worked out from its type and checked against what is left.
 */
#include "oplog/bson.h"

#define DOCUMENT_MIN_BYTES 5

enum hf_err hf_bson_begin(struct hf_bytes document, struct hf_bson_walk *walk, struct hf_error *err)
{
    if (document.len < DOCUMENT_MIN_BYTES || hf_load_le32(document.data) != document.len ||
        document.data[document.len - 1] != 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "no BSON document of %zu bytes", document.len);
    }
    walk->left = hf_bytes_of(document.data + 4, document.len - DOCUMENT_MIN_BYTES);
    walk->problem = NULL;
    return HF_ERR_OK;
}

/* Bytes up to and with the first NUL; 0 when there is none. */
static size_t text_end(struct hf_bytes in)
{
    const uint8_t *nul = in.len == 0 ? NULL : memchr(in.data, 0, in.len);
    return nul == NULL ? 0 : (size_t)(nul - in.data) + 1;
}

/* LE32 length, text, NUL; 0 when malformed. */
static size_t string_bytes(struct hf_bytes in)
{
    if (in.len < 5) {
        return 0;
    }
    size_t len = hf_load_le32(in.data);
    return len == 0 || len > in.len - 4 || in.data[4 + len - 1] != 0 ? 0 : 4 + len;
}

/* LE32 of the whole; 0 when malformed. */
static size_t nested_bytes(struct hf_bytes in, size_t least)
{
    if (in.len < least) {
        return 0;
    }
    size_t len = hf_load_le32(in.data);
    return len < least || len > in.len || in.data[len - 1] != 0 ? 0 : len;
}

static size_t regex_bytes(struct hf_bytes in)
{
    size_t first = text_end(in);
    size_t second = first == 0 ? 0 : text_end(hf_bytes_of(in.data + first, in.len - first));
    return second == 0 ? 0 : first + second;
}

/* False for an unknown type, or a value that does not fit into what is left. */
static bool value_bytes(uint8_t type, struct hf_bytes in, size_t *out)
{
    size_t len = 0;
    bool may_be_empty = false;
    switch (type) {
    case HF_BSON_UNDEFINED:
    case HF_BSON_NULL:
    case HF_BSON_MAX_KEY:
    case HF_BSON_MIN_KEY:
        may_be_empty = true;
        break;
    case HF_BSON_BOOL:
        len = 1;
        break;
    case HF_BSON_INT32:
        len = 4;
        break;
    case HF_BSON_DOUBLE:
    case HF_BSON_DATE:
    case HF_BSON_TIMESTAMP:
    case HF_BSON_INT64:
        len = 8;
        break;
    case HF_BSON_OBJECT_ID:
        len = 12;
        break;
    case HF_BSON_DECIMAL:
        len = 16;
        break;
    case HF_BSON_STRING:
    case HF_BSON_CODE:
    case HF_BSON_SYMBOL:
        len = string_bytes(in);
        break;
    case HF_BSON_POINTER:
        len = string_bytes(in);
        len = len == 0 ? 0 : len + 12;
        break;
    case HF_BSON_DOCUMENT:
    case HF_BSON_ARRAY:
        len = nested_bytes(in, DOCUMENT_MIN_BYTES);
        break;
    case HF_BSON_SCOPED_CODE:
        len = nested_bytes(in, 14);
        break;
    case HF_BSON_BINARY:
        len = in.len < 5 || hf_load_le32(in.data) > in.len - 5 ? 0 : 5 + hf_load_le32(in.data);
        break;
    case HF_BSON_REGEX:
        len = regex_bytes(in);
        break;
    default:
        return false;
    }
    *out = len;
    return len <= in.len && (len > 0 || may_be_empty);
}

bool hf_bson_next(struct hf_bson_walk *walk, struct hf_bson_element *out)
{
    struct hf_bytes in = walk->left;
    if (in.len == 0 || walk->problem != NULL) {
        return false;
    }
    out->type = in.data[0];
    in = hf_bytes_of(in.data + 1, in.len - 1);
    size_t key = text_end(in);
    size_t len = 0;
    if (key == 0) {
        walk->problem = "a name without end";
        return false;
    }
    out->key = (struct hf_str){.data = (const char *)in.data, .len = key - 1};
    in = hf_bytes_of(in.data + key, in.len - key);
    if (!value_bytes(out->type, in, &len)) {
        walk->problem = "a value of unknown type or wrong size";
        return false;
    }
    out->value = hf_bytes_of(in.data, len);
    walk->left = hf_bytes_of(in.data + len, in.len - len);
    return true;
}

enum hf_err hf_bson_end(const struct hf_bson_walk *walk, struct hf_error *err)
{
    return walk->problem == NULL
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_CORRUPT, "malformed BSON: %s", walk->problem);
}

bool hf_bson_find(struct hf_bytes document, const char *key, struct hf_bson_element *out)
{
    struct hf_bson_walk walk;
    struct hf_error ignored;
    if (hf_bson_begin(document, &walk, &ignored) != HF_ERR_OK) {
        return false;
    }
    while (hf_bson_next(&walk, out)) {
        if (hf_bson_key_is(out, key)) {
            return true;
        }
    }
    return false;
}

bool hf_bson_text(const struct hf_bson_element *element, struct hf_str *out)
{
    if (element->type != HF_BSON_STRING) {
        return false;
    }
    *out = (struct hf_str){.data = (const char *)element->value.data + 4,
                           .len = element->value.len - 5};
    return true;
}

bool hf_bson_integer(const struct hf_bson_element *element, int64_t *out)
{
    if (element->type == HF_BSON_INT32) {
        *out = (int32_t)hf_load_le32(element->value.data);
        return true;
    }
    if (element->type == HF_BSON_INT64) {
        *out = (int64_t)hf_load_le64(element->value.data);
        return true;
    }
    return false;
}

bool hf_bson_timestamp(const struct hf_bson_element *element, uint32_t *seconds,
                       uint32_t *increment)
{
    if (element->type != HF_BSON_TIMESTAMP) {
        return false;
    }
    *increment = hf_load_le32(element->value.data);
    *seconds = hf_load_le32(element->value.data + 4);
    return true;
}

bool hf_bson_true(const struct hf_bson_element *element)
{
    int64_t number = 0;
    if (element->type == HF_BSON_BOOL) {
        return element->value.data[0] != 0;
    }
    return hf_bson_integer(element, &number) && number != 0;
}
