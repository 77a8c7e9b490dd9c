/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of documents: order, types, numbers, look-up. Pure functions on bytes that were validated before; they know
 * nothing of queries, collections or connections.
 */
#include "sandbox/value.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const bson_value_t hf_sandbox_value_missing = {.value_type = BSON_TYPE_EOD};

struct type_row {
    bson_type_t type;
    int rank;
    const char *name;
};

static const struct type_row type_rows[] = {
    {BSON_TYPE_MINKEY, -1, "minKey"},
    {BSON_TYPE_EOD, 0, "missing"},
    {BSON_TYPE_UNDEFINED, 0, "undefined"},
    {BSON_TYPE_NULL, 5, "null"},
    {BSON_TYPE_DOUBLE, 10, "double"},
    {BSON_TYPE_INT32, 10, "int"},
    {BSON_TYPE_INT64, 10, "long"},
    {BSON_TYPE_DECIMAL128, 10, "decimal"},
    {BSON_TYPE_UTF8, 15, "string"},
    {BSON_TYPE_SYMBOL, 15, "symbol"},
    {BSON_TYPE_DOCUMENT, 20, "object"},
    {BSON_TYPE_ARRAY, 25, "array"},
    {BSON_TYPE_BINARY, 30, "binData"},
    {BSON_TYPE_OID, 35, "objectId"},
    {BSON_TYPE_BOOL, 40, "bool"},
    {BSON_TYPE_DATE_TIME, 45, "date"},
    {BSON_TYPE_TIMESTAMP, 47, "timestamp"},
    {BSON_TYPE_REGEX, 50, "regex"},
    {BSON_TYPE_DBPOINTER, 55, "dbPointer"},
    {BSON_TYPE_CODE, 60, "javascript"},
    {BSON_TYPE_CODEWSCOPE, 65, "javascriptWithScope"},
    {BSON_TYPE_MAXKEY, 127, "maxKey"},
};

static const struct type_row *find_type(bson_type_t type)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(type_rows); i++) {
        if (type_rows[i].type == type) {
            return &type_rows[i];
        }
    }
    return &type_rows[1];
}

int hf_sandbox_type_rank(bson_type_t type)
{
    return find_type(type)->rank;
}

const char *hf_sandbox_type_name(bson_type_t type)
{
    return find_type(type)->name;
}

/* ---- Numbers ---- */

bool hf_sandbox_is_number(const bson_value_t *value)
{
    return hf_sandbox_type_rank(value->value_type) == 10;
}

bool hf_sandbox_is_nullish(const bson_value_t *value)
{
    return value->value_type == BSON_TYPE_NULL || hf_sandbox_type_rank(value->value_type) == 0;
}

/* What orders numbers and times. Exact but for decimals: a long double holds 64 bits of mantissa at least. */
static long double as_long_double(const bson_value_t *value)
{
    char text[BSON_DECIMAL128_STRING];

    switch ((int)value->value_type) {
    case BSON_TYPE_INT32:
        return value->value.v_int32;
    case BSON_TYPE_INT64:
        return (long double)value->value.v_int64;
    case BSON_TYPE_DOUBLE:
        return value->value.v_double;
    case BSON_TYPE_DATE_TIME:
        return (long double)value->value.v_datetime;
    case BSON_TYPE_TIMESTAMP:
        return value->value.v_timestamp.timestamp * 0x1p32L + value->value.v_timestamp.increment;
    case BSON_TYPE_DECIMAL128:
        bson_decimal128_to_string(&value->value.v_decimal128, text);
        return strtold(text, NULL);
    default:
        return 0;
    }
}

double hf_sandbox_as_double(const bson_value_t *value)
{
    return (double)as_long_double(value);
}

bool hf_sandbox_as_int64(const bson_value_t *value, int64_t *out)
{
    long double number = as_long_double(value);

    if (!hf_sandbox_is_number(value) || !(number >= -0x1p63L && number < 0x1p63L) ||
        number != truncl(number)) {
        return false;
    }
    *out = (int64_t)number;
    return true;
}

bool hf_sandbox_is_true(const bson_value_t *value)
{
    return value->value_type == BSON_TYPE_BOOL ? value->value.v_bool : as_long_double(value) != 0;
}

bool hf_sandbox_value_add(const bson_value_t *a, const bson_value_t *b, bson_value_t *out)
{
    int64_t x, y;
    int64_t sum;

    if (a->value_type == BSON_TYPE_DECIMAL128 || b->value_type == BSON_TYPE_DECIMAL128) {
        return false;
    }
    if (!hf_sandbox_as_int64(a, &x) || !hf_sandbox_as_int64(b, &y) ||
        a->value_type == BSON_TYPE_DOUBLE || b->value_type == BSON_TYPE_DOUBLE) {
        *out = hf_sandbox_value_of_double(hf_sandbox_as_double(a) + hf_sandbox_as_double(b));
        return true;
    }
    if (__builtin_add_overflow(x, y, &sum)) {
        return false;
    }
    /* Two ints stay an int while the result fits. */
    *out =
        a->value_type == BSON_TYPE_INT32 && b->value_type == BSON_TYPE_INT32 && sum == (int32_t)sum
            ? hf_sandbox_value_of_int32((int32_t)sum)
            : hf_sandbox_value_of_int64(sum);
    return true;
}

/* ---- Order ---- */

static int compare_numbers(const bson_value_t *a, const bson_value_t *b)
{
    long double x = as_long_double(a);
    long double y = as_long_double(b);

    if (isnan(x) || isnan(y)) {
        return (int)isnan(y) - (int)isnan(x);
    }
    return x < y ? -1 : x > y;
}

static int compare_bytes(const void *a, size_t a_len, const void *b, size_t b_len)
{
    size_t shorter = a_len < b_len ? a_len : b_len;
    int order = shorter == 0 ? 0 : memcmp(a, b, shorter);

    return order != 0 ? order : a_len < b_len ? -1 : a_len > b_len;
}

/* Types whose bytes order as their values do, or whose order is nobody's concern as long as there is one. */
static int compare_encoded(const bson_value_t *a, const bson_value_t *b)
{
    bson_t x = BSON_INITIALIZER;
    bson_t y = BSON_INITIALIZER;
    int order;

    hf_sandbox_append(&x, "", a);
    hf_sandbox_append(&y, "", b);
    /* Behind the length of the whole. */
    order = compare_bytes(bson_get_data(&x) + 4, x.len - 4, bson_get_data(&y) + 4, y.len - 4);
    bson_destroy(&x);
    bson_destroy(&y);
    return order;
}

int hf_sandbox_value_compare(const bson_value_t *a, const bson_value_t *b)
{
    int order = hf_sandbox_type_rank(a->value_type) - hf_sandbox_type_rank(b->value_type);
    bson_t x, y;

    if (order != 0) {
        return order;
    }
    switch ((int)a->value_type) {
    case BSON_TYPE_DOUBLE:
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
    case BSON_TYPE_DECIMAL128:
    case BSON_TYPE_DATE_TIME:
    case BSON_TYPE_TIMESTAMP:
        return compare_numbers(a, b);
    case BSON_TYPE_UTF8: /* libbson keeps symbols in the same layout */
    case BSON_TYPE_SYMBOL:
        return compare_bytes(a->value.v_utf8.str, a->value.v_utf8.len, b->value.v_utf8.str,
                             b->value.v_utf8.len);
    case BSON_TYPE_DOCUMENT:
    case BSON_TYPE_ARRAY:
        return hf_sandbox_value_doc(a, &x) && hf_sandbox_value_doc(b, &y)
                   ? hf_sandbox_doc_compare(&x, &y)
                   : 0;
    default:
        return compare_encoded(a, b);
    }
}

int hf_sandbox_doc_compare(const bson_t *a, const bson_t *b)
{
    bson_iter_t x;
    bson_iter_t y;
    int order = 0;

    if (!bson_iter_init(&x, a) || !bson_iter_init(&y, b)) {
        return 0;
    }
    while (order == 0) {
        bool more_x = bson_iter_next(&x);
        bool more_y = bson_iter_next(&y);

        if (!more_x || !more_y) {
            return (int)more_x - (int)more_y;
        }
        order = hf_sandbox_type_rank(bson_iter_type(&x)) - hf_sandbox_type_rank(bson_iter_type(&y));
        if (order == 0) {
            order = strcmp(bson_iter_key(&x), bson_iter_key(&y));
        }
        if (order == 0) {
            order = hf_sandbox_value_compare(bson_iter_value(&x), bson_iter_value(&y));
        }
    }
    return order;
}

/* ---- Making values, looking them up ---- */

bool hf_sandbox_value_doc(const bson_value_t *value, bson_t *out)
{
    return (value->value_type == BSON_TYPE_DOCUMENT || value->value_type == BSON_TYPE_ARRAY) &&
           bson_init_static(out, value->value.v_doc.data, value->value.v_doc.data_len);
}

bool hf_sandbox_value_iter(const bson_value_t *value, bson_type_t type, bson_iter_t *out)
{
    bson_t view;

    return value->value_type == type && hf_sandbox_value_doc(value, &view) &&
           bson_iter_init(out, &view);
}

bson_value_t hf_sandbox_value_of_doc(const bson_t *doc)
{
    bson_value_t value = {.value_type = BSON_TYPE_DOCUMENT};

    /* Libbson's values are writable by type only; nobody writes through a borrowed one. */
    memcpy(&value.value.v_doc.data, &(const uint8_t *){bson_get_data(doc)},
           sizeof value.value.v_doc.data);
    value.value.v_doc.data_len = doc->len;
    return value;
}

bson_value_t hf_sandbox_value_of_utf8(const char *text)
{
    bson_value_t value = {.value_type = BSON_TYPE_UTF8};

    memcpy(&value.value.v_utf8.str, &text, sizeof value.value.v_utf8.str);
    value.value.v_utf8.len = (uint32_t)strlen(text);
    return value;
}

bool hf_sandbox_get(const bson_t *doc, const char *key, bson_value_t *out)
{
    bson_iter_t iter;

    if (!bson_iter_init_find(&iter, doc, key)) {
        return false;
    }
    *out = *bson_iter_value(&iter);
    return true;
}

bool hf_sandbox_get_path(const bson_t *doc, const char *path, bson_value_t *out)
{
    bson_iter_t iter;
    bson_iter_t found;

    if (!bson_iter_init(&iter, doc) || !bson_iter_find_descendant(&iter, path, &found)) {
        return false;
    }
    *out = *bson_iter_value(&found);
    return true;
}

const char *hf_sandbox_get_utf8(const bson_t *doc, const char *key, const char *fallback)
{
    bson_value_t value;

    return hf_sandbox_get(doc, key, &value) && value.value_type == BSON_TYPE_UTF8
               ? value.value.v_utf8.str
               : fallback;
}

int64_t hf_sandbox_get_int64(const bson_t *doc, const char *key, int64_t fallback)
{
    bson_value_t value;
    int64_t number;

    return hf_sandbox_get(doc, key, &value) && hf_sandbox_as_int64(&value, &number) ? number
                                                                                    : fallback;
}

bool hf_sandbox_get_true(const bson_t *doc, const char *key)
{
    bson_value_t value;

    return hf_sandbox_get(doc, key, &value) && hf_sandbox_is_true(&value);
}

bool hf_sandbox_get_doc(const bson_t *doc, const char *key, bson_t *out)
{
    bson_value_t value;

    return hf_sandbox_get(doc, key, &value) && hf_sandbox_value_doc(&value, out);
}

/* ---- Paths ---- */

bool hf_sandbox_path_is_index(const char *component, size_t len)
{
    return len > 0 && len <= 9 && strspn(component, "0123456789") >= len &&
           (len == 1 || component[0] != '0');
}

bool hf_sandbox_path_walk(const bson_value_t *root, const char *path, hf_sandbox_path_visit visit,
                          void *context)
{
    size_t len = path == NULL ? 0 : strcspn(path, ".");
    bson_iter_t iter;
    bson_t inner;

    if (path == NULL) {
        return visit(root, context);
    }
    if (!hf_sandbox_value_doc(root, &inner) || !bson_iter_init(&iter, &inner)) {
        return visit(&hf_sandbox_value_missing, context);
    }
    if (root->value_type == BSON_TYPE_ARRAY) {
        while (bson_iter_next(&iter)) {
            if (BSON_ITER_HOLDS_DOCUMENT(&iter) &&
                hf_sandbox_path_walk(bson_iter_value(&iter), path, visit, context)) {
                return true;
            }
        }
        if (!hf_sandbox_path_is_index(path, len) || !bson_iter_init(&iter, &inner)) {
            return false;
        }
    }
    if (!bson_iter_find_w_len(&iter, path, (int)len)) {
        return root->value_type == BSON_TYPE_DOCUMENT && visit(&hf_sandbox_value_missing, context);
    }
    return hf_sandbox_path_walk(bson_iter_value(&iter), path[len] == '.' ? path + len + 1 : NULL,
                                visit, context);
}

void hf_sandbox_append(bson_t *doc, const char *key, const bson_value_t *value)
{
    if (value->value_type != BSON_TYPE_EOD) {
        (void)bson_append_value(doc, key, (int)strlen(key), value);
    }
}

void hf_sandbox_append_element(bson_t *array, uint32_t *index, const bson_value_t *value)
{
    char space[16];
    const char *key;

    (void)bson_uint32_to_string((*index)++, &key, space, sizeof space);
    hf_sandbox_append(array, key, value);
}

void hf_sandbox_append_doc(bson_t *array, uint32_t *index, const bson_t *doc)
{
    const bson_value_t value = hf_sandbox_value_of_doc(doc);

    hf_sandbox_append_element(array, index, &value);
}

/* ---- Text of a document, for messages ---- */

/* A full buffer cuts the message, which is all that can be done about it. */
#define PUT(out, ...) ((void)!hf_buf_appendf((out), &(struct hf_error){0}, __VA_ARGS__))

static void put_binary(const bson_value_t *value, struct hf_buf *out)
{
    const bool uuid = value->value.v_binary.subtype == BSON_SUBTYPE_UUID;

    PUT(out, uuid ? "%s(\"" : "%s(%u, ", uuid ? "UUID" : "BinData",
        (unsigned)value->value.v_binary.subtype);
    for (uint32_t i = 0; i < value->value.v_binary.data_len; i++) {
        PUT(out, uuid ? "%s%02x" : "%s%02X",
            uuid && (i == 4 || i == 6 || i == 8 || i == 10) ? "-" : "",
            value->value.v_binary.data[i]);
    }
    PUT(out, uuid ? "\")" : ")");
}

static void put_scalar(const bson_value_t *value, struct hf_buf *out)
{
    bson_t *alone = bson_new();
    char *json;
    char oid[25];

    hf_sandbox_append(alone, "", value);
    json = bson_as_relaxed_extended_json(alone, NULL); /* { "" : 5 } */
    if (value->value_type == BSON_TYPE_BINARY) {
        put_binary(value, out);
    } else if (value->value_type == BSON_TYPE_TIMESTAMP) {
        PUT(out, "Timestamp(%u, %u)", value->value.v_timestamp.timestamp,
            value->value.v_timestamp.increment);
    } else if (value->value_type == BSON_TYPE_OID) {
        bson_oid_to_string(&value->value.v_oid, oid);
        PUT(out, "ObjectId('%s')", oid);
    } else if (json != NULL) {
        PUT(out, "%.*s", (int)strlen(json) - 9, json + 7);
    }
    bson_free(json);
    bson_destroy(alone);
}

static void put_doc(bson_iter_t *iter, bool array, struct hf_buf *out)
{
    const char *separator = " ";

    PUT(out, array ? "[" : "{");
    for (; bson_iter_next(iter); separator = ", ") {
        bson_iter_t child;

        PUT(out, "%s%s%s", separator, array ? "" : bson_iter_key(iter), array ? "" : ": ");
        if (bson_iter_recurse(iter, &child)) {
            put_doc(&child, BSON_ITER_HOLDS_ARRAY(iter), out);
        } else {
            put_scalar(bson_iter_value(iter), out);
        }
    }
    PUT(out, "%s%s", separator[0] == ' ' ? "" : " ", array ? "]" : "}");
}

void hf_sandbox_doc_text(const bson_t *doc, struct hf_buf *out)
{
    bson_iter_t iter;

    if (bson_iter_init(&iter, doc)) {
        put_doc(&iter, false, out);
    }
}
