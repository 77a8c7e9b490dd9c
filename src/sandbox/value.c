/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of documents: order, types, numbers, look-up. Pure functions on bytes that were validated
 * before; they know nothing of queries, collections or connections.
 */
#include "sandbox/value.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

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

bool hf_sandbox_type_from_name(const char *name, bson_type_t *out)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(type_rows); i++) {
        if (strcmp(type_rows[i].name, name) == 0) {
            *out = type_rows[i].type;
            return true;
        }
    }
    return false;
}

bool hf_sandbox_is_number(const bson_value_t *value)
{
    return value->value_type == BSON_TYPE_INT32 || value->value_type == BSON_TYPE_INT64 ||
           value->value_type == BSON_TYPE_DOUBLE || value->value_type == BSON_TYPE_DECIMAL128;
}

/* Exact for int32, int64 and double: a long double holds 64 bits of mantissa at least. */
static long double as_long_double(const bson_value_t *value)
{
    char text[BSON_DECIMAL128_STRING];

    if (value->value_type == BSON_TYPE_INT32) {
        return value->value.v_int32;
    }
    if (value->value_type == BSON_TYPE_INT64) {
        return (long double)value->value.v_int64;
    }
    if (value->value_type == BSON_TYPE_DOUBLE) {
        return value->value.v_double;
    }
    if (value->value_type == BSON_TYPE_DECIMAL128) {
        bson_decimal128_to_string(&value->value.v_decimal128, text);
        return strtold(text, NULL);
    }
    return 0;
}

double hf_sandbox_as_double(const bson_value_t *value)
{
    return (double)as_long_double(value);
}

bool hf_sandbox_as_int64(const bson_value_t *value, int64_t *out)
{
    long double number;

    if (!hf_sandbox_is_number(value)) {
        return false;
    }
    number = as_long_double(value);
    if (!(number >= -0x1p63L && number < 0x1p63L) || number != truncl(number)) {
        return false;
    }
    *out = (int64_t)number;
    return true;
}

bool hf_sandbox_is_true(const bson_value_t *value)
{
    if (value->value_type == BSON_TYPE_BOOL) {
        return value->value.v_bool;
    }
    return hf_sandbox_is_number(value) && as_long_double(value) != 0;
}

static int sign_of(int64_t difference_sign)
{
    return difference_sign < 0 ? -1 : difference_sign > 0;
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_numbers(const bson_value_t *a, const bson_value_t *b)
{
    long double x = as_long_double(a);
    long double y = as_long_double(b);

    if (isnan(x) || isnan(y)) {
        return isnan(x) ? (isnan(y) ? 0 : -1) : 1;
    }
    return x < y ? -1 : x > y;
}

static int compare_bytes(const void *a, size_t a_len, const void *b, size_t b_len)
{
    size_t shorter = a_len < b_len ? a_len : b_len;
    int order = shorter == 0 ? 0 : memcmp(a, b, shorter);

    return order != 0 ? order : compare_u64(a_len, b_len);
}

static int compare_text(const char *a, const char *b)
{
    return strcmp(a == NULL ? "" : a, b == NULL ? "" : b);
}

/* Both value types keep the same union member layout in libbson: string first, then its length. */
static struct hf_str text_of(const bson_value_t *value)
{
    if (value->value_type == BSON_TYPE_SYMBOL) {
        return (struct hf_str){value->value.v_symbol.symbol, value->value.v_symbol.len};
    }
    return (struct hf_str){value->value.v_utf8.str, value->value.v_utf8.len};
}

static int compare_binary(const bson_value_t *a, const bson_value_t *b)
{
    if (a->value.v_binary.data_len != b->value.v_binary.data_len) {
        return compare_u64(a->value.v_binary.data_len, b->value.v_binary.data_len);
    }
    if (a->value.v_binary.subtype != b->value.v_binary.subtype) {
        return compare_u64(a->value.v_binary.subtype, b->value.v_binary.subtype);
    }
    return compare_bytes(a->value.v_binary.data, a->value.v_binary.data_len, b->value.v_binary.data,
                         b->value.v_binary.data_len);
}

static int compare_regex(const bson_value_t *a, const bson_value_t *b)
{
    int order = compare_text(a->value.v_regex.regex, b->value.v_regex.regex);

    return order != 0 ? order : compare_text(a->value.v_regex.options, b->value.v_regex.options);
}

static int compare_timestamp(const bson_value_t *a, const bson_value_t *b)
{
    uint64_t x = (uint64_t)a->value.v_timestamp.timestamp << 32 | a->value.v_timestamp.increment;
    uint64_t y = (uint64_t)b->value.v_timestamp.timestamp << 32 | b->value.v_timestamp.increment;

    return compare_u64(x, y);
}

static int compare_code(const bson_value_t *a, const bson_value_t *b)
{
    bson_t x;
    bson_t y;
    int order;

    if (a->value_type == BSON_TYPE_CODE) {
        return compare_text(a->value.v_code.code, b->value.v_code.code);
    }
    order = compare_text(a->value.v_codewscope.code, b->value.v_codewscope.code);
    if (order == 0 &&
        bson_init_static(&x, a->value.v_codewscope.scope_data, a->value.v_codewscope.scope_len) &&
        bson_init_static(&y, b->value.v_codewscope.scope_data, b->value.v_codewscope.scope_len)) {
        order = hf_sandbox_doc_compare(&x, &y);
    }
    return order;
}

/* Two values of the same rank, which is neither that of numbers, strings nor documents. */
static int compare_same_rank(const bson_value_t *a, const bson_value_t *b)
{
    int order;

    switch ((int)a->value_type) {
    case BSON_TYPE_BINARY:
        return compare_binary(a, b);
    case BSON_TYPE_OID:
        return memcmp(a->value.v_oid.bytes, b->value.v_oid.bytes, sizeof a->value.v_oid.bytes);
    case BSON_TYPE_BOOL:
        return (int)a->value.v_bool - (int)b->value.v_bool;
    case BSON_TYPE_DATE_TIME:
        return a->value.v_datetime < b->value.v_datetime
                   ? -1
                   : a->value.v_datetime > b->value.v_datetime;
    case BSON_TYPE_TIMESTAMP:
        return compare_timestamp(a, b);
    case BSON_TYPE_REGEX:
        return compare_regex(a, b);
    case BSON_TYPE_DBPOINTER:
        order = compare_text(a->value.v_dbpointer.collection, b->value.v_dbpointer.collection);
        return order != 0 ? order
                          : memcmp(&a->value.v_dbpointer.oid, &b->value.v_dbpointer.oid, 12);
    case BSON_TYPE_CODE:
    case BSON_TYPE_CODEWSCOPE:
        return compare_code(a, b);
    default: /* null, undefined, missing, MinKey, MaxKey: all alike */
        return 0;
    }
}

int hf_sandbox_value_compare(const bson_value_t *a, const bson_value_t *b)
{
    int rank_a = hf_sandbox_type_rank(a->value_type);
    int rank_b = hf_sandbox_type_rank(b->value_type);
    bson_t x;
    bson_t y;

    if (rank_a != rank_b) {
        return rank_a < rank_b ? -1 : 1;
    }
    if (hf_sandbox_is_number(a)) {
        return compare_numbers(a, b);
    }
    if (a->value_type == BSON_TYPE_UTF8 || a->value_type == BSON_TYPE_SYMBOL) {
        struct hf_str left = text_of(a);
        struct hf_str right = text_of(b);
        return sign_of(compare_bytes(left.data, left.len, right.data, right.len));
    }
    if (hf_sandbox_value_doc(a, &x) && hf_sandbox_value_doc(b, &y)) {
        return hf_sandbox_doc_compare(&x, &y);
    }
    return sign_of(compare_same_rank(a, b));
}

int hf_sandbox_doc_compare(const bson_t *a, const bson_t *b)
{
    bson_iter_t x;
    bson_iter_t y;

    if (!bson_iter_init(&x, a) || !bson_iter_init(&y, b)) {
        return 0;
    }
    for (;;) {
        bool more_x = bson_iter_next(&x);
        bool more_y = bson_iter_next(&y);
        int order;

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
        if (order != 0) {
            return sign_of(order);
        }
    }
}

bool hf_sandbox_value_doc(const bson_value_t *value, bson_t *out)
{
    if (value->value_type != BSON_TYPE_DOCUMENT && value->value_type != BSON_TYPE_ARRAY) {
        return false;
    }
    return bson_init_static(out, value->value.v_doc.data, value->value.v_doc.data_len);
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

bson_value_t hf_sandbox_value_of_int32(int32_t number)
{
    return (bson_value_t){.value_type = BSON_TYPE_INT32, .value.v_int32 = number};
}

bson_value_t hf_sandbox_value_of_int64(int64_t number)
{
    return (bson_value_t){.value_type = BSON_TYPE_INT64, .value.v_int64 = number};
}

bson_value_t hf_sandbox_value_of_double(double number)
{
    return (bson_value_t){.value_type = BSON_TYPE_DOUBLE, .value.v_double = number};
}

bson_value_t hf_sandbox_value_of_bool(bool truth)
{
    return (bson_value_t){.value_type = BSON_TYPE_BOOL, .value.v_bool = truth};
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
    const char *at = path;

    if (!bson_iter_init(&iter, doc)) {
        return false;
    }
    for (;;) {
        const char *dot = strchr(at, '.');
        size_t len = dot == NULL ? strlen(at) : (size_t)(dot - at);
        bson_iter_t child;

        if (!bson_iter_find_w_len(&iter, at, (int)len)) {
            return false;
        }
        if (dot == NULL) {
            *out = *bson_iter_value(&iter);
            return true;
        }
        if (!bson_iter_recurse(&iter, &child)) {
            return false;
        }
        iter = child;
        at = dot + 1;
    }
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

    (void)bson_uint32_to_string(*index, &key, space, sizeof space);
    hf_sandbox_append(array, key, value);
    (*index)++;
}

/* ---- Text of a document, for messages ---- */

static void put_doc(bson_iter_t *iter, bool array, struct hf_buf *out);

static void put(struct hf_buf *out, const char *format, ...) HF_PRINTF(2, 3);

static void put(struct hf_buf *out, const char *format, ...)
{
    struct hf_error ignored;
    char text[512];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    /* A full buffer cuts the message, which is all that can be done about it. */
    (void)!hf_buf_append_text(out, text, &ignored);
}

static void put_binary(const bson_value_t *value, struct hf_buf *out)
{
    const uint8_t *data = value->value.v_binary.data;
    uint32_t len = value->value.v_binary.data_len;

    if (value->value.v_binary.subtype == BSON_SUBTYPE_UUID && len == 16) {
        put(out, "UUID(\"");
        for (uint32_t i = 0; i < len; i++) {
            put(out, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", data[i]);
        }
        put(out, "\")");
        return;
    }
    put(out, "BinData(%u, ", (unsigned)value->value.v_binary.subtype);
    for (uint32_t i = 0; i < len; i++) {
        put(out, "%02X", data[i]);
    }
    put(out, ")");
}

static void put_scalar(const bson_value_t *value, struct hf_buf *out)
{
    char oid[25];

    switch ((int)value->value_type) {
    case BSON_TYPE_UTF8:
        put(out, "\"%.*s\"", (int)value->value.v_utf8.len, value->value.v_utf8.str);
        return;
    case BSON_TYPE_INT32:
        put(out, "%" PRId32, value->value.v_int32);
        return;
    case BSON_TYPE_INT64:
        put(out, "%" PRId64, value->value.v_int64);
        return;
    case BSON_TYPE_DOUBLE:
        put(out, value->value.v_double == floor(value->value.v_double) ? "%.1f" : "%.15g",
            value->value.v_double);
        return;
    case BSON_TYPE_BOOL:
        put(out, "%s", value->value.v_bool ? "true" : "false");
        return;
    case BSON_TYPE_TIMESTAMP:
        put(out, "Timestamp(%u, %u)", value->value.v_timestamp.timestamp,
            value->value.v_timestamp.increment);
        return;
    case BSON_TYPE_DATE_TIME:
        put(out, "new Date(%" PRId64 ")", value->value.v_datetime);
        return;
    case BSON_TYPE_OID:
        bson_oid_to_string(&value->value.v_oid, oid);
        put(out, "ObjectId('%s')", oid);
        return;
    case BSON_TYPE_REGEX:
        put(out, "/%s/%s", value->value.v_regex.regex, value->value.v_regex.options);
        return;
    case BSON_TYPE_BINARY:
        put_binary(value, out);
        return;
    case BSON_TYPE_NULL:
        put(out, "null");
        return;
    default:
        put(out, "%s", hf_sandbox_type_name(value->value_type));
        return;
    }
}

static void put_doc(bson_iter_t *iter, bool array, struct hf_buf *out)
{
    const char *separator = " ";
    bool empty = true;

    put(out, array ? "[" : "{");
    while (bson_iter_next(iter)) {
        bson_iter_t child;

        empty = false;
        put(out, "%s", separator);
        separator = ", ";
        if (!array) {
            put(out, "%s: ", bson_iter_key(iter));
        }
        if ((BSON_ITER_HOLDS_DOCUMENT(iter) || BSON_ITER_HOLDS_ARRAY(iter)) &&
            bson_iter_recurse(iter, &child)) {
            put_doc(&child, BSON_ITER_HOLDS_ARRAY(iter), out);
        } else {
            put_scalar(bson_iter_value(iter), out);
        }
    }
    put(out, empty ? "%s" : " %s", array ? "]" : "}");
}

void hf_sandbox_doc_text(const bson_t *doc, struct hf_buf *out)
{
    bson_iter_t iter;

    if (bson_iter_init(&iter, doc)) {
        put_doc(&iter, false, out);
    }
}
