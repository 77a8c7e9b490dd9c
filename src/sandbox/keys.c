/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Index keys: which keys a document has, and their encoding as bytes that order as MongoDB orders values.
 *
 * Pure functions. A key is its fields' encodings one after the other; a descending field has all bits turned round.
 */
#include <math.h>
#include <stdlib.h>

#include "sandbox/engine_internal.h"
#include "sandbox/value.h"

#define TYPE_BIAS 10    /* ranks begin at -1; 0 ends an object or array */
#define MAX_KEYS 100000 /* of one document in one index */

/* ---- Encoding ---- */

static enum hf_err put(struct hf_buf *out, const void *data, size_t len, struct hf_error *err)
{
    return hf_buf_append(out, hf_bytes_of(data, len), err);
}

static enum hf_err put_big_end(struct hf_buf *out, uint64_t value, size_t width,
                               struct hf_error *err)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < width; i++) {
        bytes[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
    }
    return put(out, bytes, width, err);
}

/* Zeros inside are written 00 ff, the end 00 00: a text orders before its own continuations. */
static enum hf_err put_text(struct hf_buf *out, const char *text, size_t len, struct hf_error *err)
{
    for (size_t i = 0; i < len; i++) {
        const uint8_t pair[2] = {(uint8_t)text[i], 0xff};

        if (put(out, pair, text[i] == '\0' ? 2 : 1, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return put(out, "\0\0", 2, err);
}

/* The number as a double, then how far a long lies from it: all four types share one order. */
static enum hf_err put_number(struct hf_buf *out, const bson_value_t *value, struct hf_error *err)
{
    double number = hf_sandbox_as_double(value);
    uint64_t bits = 0;
    int64_t rest = 0;

    if (value->value_type == BSON_TYPE_INT64) {
        rest = number >= 0x1p63 ? value->value.v_int64 - INT64_MAX - 1
                                : value->value.v_int64 - (int64_t)number;
    }
    if (!isnan(number)) {
        number = number == 0 ? 0 : number; /* no negative zero */
        memcpy(&bits, &number, sizeof bits);
        bits = bits >> 63 != 0 ? ~bits : bits | 1ull << 63;
    }
    if (put_big_end(out, bits, 8, err) != HF_ERR_OK) {
        return err->code;
    }
    return put_big_end(out, (uint64_t)(rest + 0x8000), 2, err);
}

static enum hf_err put_value(struct hf_buf *out, const bson_value_t *value, struct hf_error *err);

static enum hf_err put_doc(struct hf_buf *out, const bson_value_t *value, struct hf_error *err)
{
    bson_t doc;
    bson_iter_t iter;

    if (!hf_sandbox_value_doc(value, &doc) || !bson_iter_init(&iter, &doc)) {
        return hf_fail(err, HF_ERR_INVALID, "a value is not readable");
    }
    while (bson_iter_next(&iter)) {
        const bson_value_t inner = *bson_iter_value(&iter);
        const uint8_t type = (uint8_t)(hf_sandbox_type_rank(inner.value_type) + TYPE_BIAS);

        if (put(out, &type, 1, err) != HF_ERR_OK) {
            return err->code;
        }
        if (value->value_type == BSON_TYPE_DOCUMENT &&
            put_text(out, bson_iter_key(&iter), bson_iter_key_len(&iter), err) != HF_ERR_OK) {
            return err->code;
        }
        if (put_value(out, &inner, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return put(out, "\0", 1, err);
}

static enum hf_err put_code(struct hf_buf *out, const bson_value_t *value, struct hf_error *err)
{
    bson_value_t scope = {.value_type = BSON_TYPE_DOCUMENT};

    if (value->value_type == BSON_TYPE_CODE) {
        return put_text(out, value->value.v_code.code, value->value.v_code.code_len, err);
    }
    scope.value.v_doc.data = value->value.v_codewscope.scope_data;
    scope.value.v_doc.data_len = value->value.v_codewscope.scope_len;
    if (put_text(out, value->value.v_codewscope.code, value->value.v_codewscope.code_len, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    return put_doc(out, &scope, err);
}

static enum hf_err put_binary(struct hf_buf *out, const bson_value_t *value, struct hf_error *err)
{
    if (put_big_end(out, value->value.v_binary.data_len, 4, err) != HF_ERR_OK ||
        put_big_end(out, (uint64_t)value->value.v_binary.subtype, 1, err) != HF_ERR_OK) {
        return err->code;
    }
    return put(out, value->value.v_binary.data, value->value.v_binary.data_len, err);
}

/* Without the type, which stands before it. */
static enum hf_err put_value(struct hf_buf *out, const bson_value_t *value, struct hf_error *err)
{
    switch (value->value_type) {
    case BSON_TYPE_DOUBLE:
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
    case BSON_TYPE_DECIMAL128:
        return put_number(out, value, err);
    case BSON_TYPE_UTF8:
        return put_text(out, value->value.v_utf8.str, value->value.v_utf8.len, err);
    case BSON_TYPE_SYMBOL:
        return put_text(out, value->value.v_symbol.symbol, value->value.v_symbol.len, err);
    case BSON_TYPE_DOCUMENT:
    case BSON_TYPE_ARRAY:
        return put_doc(out, value, err);
    case BSON_TYPE_BINARY:
        return put_binary(out, value, err);
    case BSON_TYPE_OID:
        return put(out, value->value.v_oid.bytes, 12, err);
    case BSON_TYPE_BOOL:
        return put_big_end(out, value->value.v_bool ? 1 : 0, 1, err);
    case BSON_TYPE_DATE_TIME:
        return put_big_end(out, (uint64_t)value->value.v_datetime ^ 1ull << 63, 8, err);
    case BSON_TYPE_TIMESTAMP:
        return put_big_end(out,
                           (uint64_t)value->value.v_timestamp.timestamp << 32 |
                               value->value.v_timestamp.increment,
                           8, err);
    case BSON_TYPE_REGEX:
        if (put_text(out, value->value.v_regex.regex, strlen(value->value.v_regex.regex), err) !=
            HF_ERR_OK) {
            return err->code;
        }
        return put_text(out, value->value.v_regex.options, strlen(value->value.v_regex.options),
                        err);
    case BSON_TYPE_DBPOINTER:
        if (put_text(out, value->value.v_dbpointer.collection,
                     value->value.v_dbpointer.collection_len, err) != HF_ERR_OK) {
            return err->code;
        }
        return put(out, value->value.v_dbpointer.oid.bytes, 12, err);
    case BSON_TYPE_CODE:
    case BSON_TYPE_CODEWSCOPE:
        return put_code(out, value, err);
    case BSON_TYPE_EOD:
    case BSON_TYPE_UNDEFINED:
    case BSON_TYPE_NULL:
    case BSON_TYPE_MAXKEY:
    case BSON_TYPE_MINKEY:
        return HF_ERR_OK;
    }
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_key_append(struct hf_buf *out, const bson_value_t *value, bool descending,
                                  struct hf_error *err)
{
    const uint8_t type = (uint8_t)(hf_sandbox_type_rank(value->value_type) + TYPE_BIAS);
    size_t from = out->len;

    if (put(out, &type, 1, err) != HF_ERR_OK || put_value(out, value, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = from; descending && i < out->len; i++) {
        out->data[i] = (uint8_t)~out->data[i];
    }
    return HF_ERR_OK;
}

/* ---- Keys of a document ---- */

/* How far one field of the index has come on its path. */
struct walk {
    bson_value_t value; /* where it stands; EOD: nothing there */
    const char *rest;   /* "" at the end of the path */
    bool done;          /* no array is opened any more */
};

void hf_sandbox_keys_fini(struct hf_sandbox_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        hf_buf_fini(&keys->list[i]);
    }
    hf_free(keys->list);
}

static const char *next_component(const char *rest, char *out, size_t out_len)
{
    size_t len = strcspn(rest, ".");

    (void)snprintf(out, out_len, "%.*s", (int)len, rest);
    return rest[len] == '.' ? rest + len + 1 : rest + len;
}

/* Follows documents (and places in arrays that the path names) as far as there is no choice. */
static void advance(struct walk *walk)
{
    char component[1024];

    while (walk->rest[0] != '\0' && !walk->done) {
        const char *after = next_component(walk->rest, component, sizeof component);
        bson_t doc;
        bson_value_t inner;

        if (walk->value.value_type == BSON_TYPE_ARRAY &&
            !hf_sandbox_path_is_index(component, strlen(component))) {
            return;
        }
        if (!hf_sandbox_value_doc(&walk->value, &doc) || !hf_sandbox_get(&doc, component, &inner)) {
            walk->value = hf_sandbox_value_missing;
            walk->rest = "";
            return;
        }
        walk->value = inner;
        walk->rest = after;
    }
}

static bool same_array(const bson_value_t *a, const bson_value_t *b)
{
    return a->value_type == BSON_TYPE_ARRAY && b->value_type == BSON_TYPE_ARRAY &&
           a->value.v_doc.data == b->value.v_doc.data;
}

static enum hf_err emit(const struct hf_sandbox_index *index, const struct walk *walks,
                        struct hf_sandbox_keys *out, struct hf_error *err)
{
    const bson_value_t null = {.value_type = BSON_TYPE_NULL};
    struct hf_buf *key;

    if (out->count >= MAX_KEYS) {
        return hf_fail(err, HF_ERR_INVALID, "too many keys in one document");
    }
    if (!HF_SANDBOX_ROOM(out->list, out->count, out->capacity)) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "make index keys");
    }
    key = &out->list[out->count++];
    hf_buf_init(key, HF_SANDBOX_KEY_MAX_BYTES);
    for (size_t i = 0; i < index->field_count; i++) {
        const bson_value_t *value = &walks[i].value;

        if (hf_sandbox_key_append(key, value->value_type == BSON_TYPE_EOD ? &null : value,
                                  index->fields[i].descending, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err expand(const struct hf_sandbox_index *index, const struct walk *from,
                          struct hf_sandbox_keys *out, struct hf_error *err);

/* One element of the array at which the fields marked in `at` stand. */
static enum hf_err expand_element(const struct hf_sandbox_index *index, const struct walk *from,
                                  const bool *at, const bson_value_t *element,
                                  struct hf_sandbox_keys *out, struct hf_error *err)
{
    struct walk walks[HF_SANDBOX_INDEX_FIELDS];

    memcpy(walks, from, index->field_count * sizeof *walks);
    for (size_t i = 0; i < index->field_count; i++) {
        if (!at[i]) {
            continue;
        }
        walks[i].value = *element;
        if (walks[i].rest[0] == '\0') {
            walks[i].done = true; /* an array in an array is a value of its own */
        } else if (element->value_type != BSON_TYPE_DOCUMENT) {
            walks[i].value = hf_sandbox_value_missing;
            walks[i].rest = "";
        }
    }
    return expand(index, walks, out, err);
}

static enum hf_err expand(const struct hf_sandbox_index *index, const struct walk *from,
                          struct hf_sandbox_keys *out, struct hf_error *err)
{
    struct walk walks[HF_SANDBOX_INDEX_FIELDS];
    bool at[HF_SANDBOX_INDEX_FIELDS] = {false};
    const bson_value_t undefined = {.value_type = BSON_TYPE_UNDEFINED};
    const bson_value_t *array = NULL;
    bson_t doc;
    bson_iter_t iter;
    bool empty = true;

    memcpy(walks, from, index->field_count * sizeof *walks);
    for (size_t i = 0; i < index->field_count; i++) {
        advance(&walks[i]);
        at[i] = walks[i].value.value_type == BSON_TYPE_ARRAY && !walks[i].done;
        if (at[i] && array != NULL && !same_array(array, &walks[i].value)) {
            return hf_fail(err, HF_ERR_INVALID, "cannot index parallel arrays [%s]",
                           index->fields[i].path);
        }
        array = at[i] ? &walks[i].value : array;
    }
    if (array == NULL) {
        return emit(index, walks, out, err);
    }
    out->multikey = true;
    if (!hf_sandbox_value_doc(array, &doc) || !bson_iter_init(&iter, &doc)) {
        return hf_fail(err, HF_ERR_INVALID, "an array is not readable");
    }
    while (bson_iter_next(&iter)) {
        const bson_value_t element = *bson_iter_value(&iter);

        empty = false;
        if (expand_element(index, walks, at, &element, out, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return empty ? expand_element(index, walks, at, &undefined, out, err) : HF_ERR_OK;
}

static int compare_keys(const void *a, const void *b)
{
    const struct hf_buf *left = a;
    const struct hf_buf *right = b;
    size_t shorter = left->len < right->len ? left->len : right->len;
    int order = memcmp(left->data, right->data, shorter);

    return order != 0 ? order : (left->len > right->len) - (left->len < right->len);
}

/* Sorted, each once. */
static void tidy(struct hf_sandbox_keys *keys)
{
    size_t kept = 0;

    if (keys->count < 2) {
        return;
    }
    qsort(keys->list, keys->count, sizeof *keys->list, compare_keys);
    for (size_t i = 1; i < keys->count; i++) {
        if (compare_keys(&keys->list[kept], &keys->list[i]) == 0) {
            hf_buf_fini(&keys->list[i]);
        } else {
            keys->list[++kept] = keys->list[i];
        }
    }
    keys->count = kept + 1;
}

static bool has_any_field(const struct hf_sandbox_index *index, const bson_t *doc)
{
    for (size_t i = 0; i < index->field_count; i++) {
        bson_iter_t iter;
        bson_iter_t found;
        char first[1024];

        /* Through arrays too: what matters is that the path leads somewhere; its first part decides nearly always. */
        (void)next_component(index->fields[i].path, first, sizeof first);
        if (bson_iter_init(&iter, doc) &&
            (bson_iter_find_descendant(&iter, index->fields[i].path, &found) ||
             (bson_iter_init_find(&iter, doc, first) && BSON_ITER_HOLDS_ARRAY(&iter)))) {
            return true;
        }
    }
    return false;
}

enum hf_err hf_sandbox_keys_of(const struct hf_sandbox_index *index, const bson_t *doc,
                               struct hf_sandbox_keys *out, struct hf_error *err)
{
    struct walk walks[HF_SANDBOX_INDEX_FIELDS];

    if (!index->usable || (index->sparse && !has_any_field(index, doc)) ||
        (index->partial != NULL && !hf_sandbox_filter_test(index->partial, doc))) {
        return HF_ERR_OK;
    }
    for (size_t i = 0; i < index->field_count; i++) {
        walks[i] =
            (struct walk){.value = hf_sandbox_value_of_doc(doc), .rest = index->fields[i].path};
    }
    if (expand(index, walks, out, err) != HF_ERR_OK) {
        return err->code;
    }
    tidy(out);
    return HF_ERR_OK;
}
