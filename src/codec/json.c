/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON values over Jansson. A struct hf_json is Jansson's value under another name, so that a reference costs nothing
 * and borrowed members need no bookkeeping.
 *
 * A building step that runs out of memory must be remembered where it happened, without memory. So Jansson gets its
 * blocks from here, each with a few bytes in front; an object or array begins its block, and what stands in front of
 * it notes that a member is missing. Encoding and copying refuse such a value.
 */
#include "codec/json.h"

#include <math.h>

#include "base/alloc.h"
#include "codec/json_internal.h"

#define BLOCK_MARK UINT32_C(0x6a736f6e)

struct block {
    uint32_t mark; /* proves that this stands in front of one of our blocks */
    uint32_t incomplete;
    max_align_t content[];
};

/*
 * mutable: memory_ran_out, because Jansson calls a text malformed when memory runs out while it reads; one per thread,
 * only between the two calls of one decoding.
 */
static _Thread_local bool memory_ran_out;

void hf_json_watch_memory(void)
{
    memory_ran_out = false;
}

bool hf_json_memory_ran_out(void)
{
    return memory_ran_out;
}

static void *block_alloc(size_t size)
{
    size_t total;
    struct block *block = hf_add_size(size, sizeof(struct block), &total) ? hf_alloc(total) : NULL;
    if (block == NULL) {
        memory_ran_out = true;
        return NULL;
    }
    block->mark = BLOCK_MARK;
    block->incomplete = 0;
    return block->content;
}

static struct block *block_of(const void *content)
{
    return (struct block *)((uintptr_t)content - offsetof(struct block, content));
}

static void block_free(void *content)
{
    if (content != NULL) {
        hf_free(block_of(content));
    }
}

/* Before main, because a block must be given back to where it came from. */
__attribute__((constructor)) static void give_jansson_our_memory(void)
{
    json_set_alloc_funcs(block_alloc, block_free);
}

bool hf_json_is_incomplete(const json_t *container)
{
    const struct block *block = block_of(container);
    HF_ASSERT(block->mark == BLOCK_MARK);
    return block->incomplete != 0;
}

static void note_incomplete(json_t *container)
{
    struct block *block = block_of(container);
    HF_ASSERT(block->mark == BLOCK_MARK);
    block->incomplete = 1;
}

size_t hf_json_utf8_length(struct hf_str text)
{
    const unsigned char *at = (const unsigned char *)text.data;
    size_t len;

    if (text.len == 0 || at[0] == 0) {
        return 0;
    }
    if (at[0] < 0x80) {
        return 1;
    }
    len = at[0] < 0xC2 ? 0 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : at[0] < 0xF5 ? 4 : 0;
    if (len > text.len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    /* Overlong forms, surrogates, and what lies beyond U+10FFFF. */
    if ((at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xED && at[1] > 0x9F) ||
        (at[0] == 0xF0 && at[1] < 0x90) || (at[0] == 0xF4 && at[1] > 0x8F)) {
        return 0;
    }
    return len;
}

/* The text with U+FFFD for every byte that JSON cannot hold. NULL on no memory. Free with hf_free. */
static char *clean_copy(struct hf_str text, size_t *out_len)
{
    size_t size, at = 0;
    char *copy = hf_mul_size(text.len, 3, &size) ? hf_alloc(size) : NULL;
    if (copy == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < text.len;) {
        size_t len =
            hf_json_utf8_length((struct hf_str){.data = text.data + i, .len = text.len - i});
        memcpy(copy + at, len == 0 ? "\xEF\xBF\xBD" : text.data + i, len == 0 ? 3 : len);
        at += len == 0 ? 3 : len;
        i += len == 0 ? 1 : len;
    }
    *out_len = at;
    return copy;
}

static bool is_clean(struct hf_str text)
{
    for (size_t i = 0; i < text.len;) {
        size_t len =
            hf_json_utf8_length((struct hf_str){.data = text.data + i, .len = text.len - i});
        if (len == 0) {
            return false;
        }
        i += len;
    }
    return true;
}

static json_t *make_text(struct hf_str text)
{
    if (is_clean(text)) {
        return json_stringn_nocheck(text.len == 0 ? "" : text.data, text.len);
    }
    size_t len;
    HF_CLEANUP(hf_free) char *copy = clean_copy(text, &len);
    return copy == NULL ? NULL : json_stringn_nocheck(copy, len);
}

/*
 * As json_decref and json_incref, which read the count without an atomic operation: right on every processor we know,
 * a data race by the letter.
 */
static bool is_counted(json_t *value)
{
    return value != NULL && __atomic_load_n(&value->refcount, __ATOMIC_RELAXED) != SIZE_MAX;
}

static void drop(json_t *value)
{
    if (is_counted(value) && __atomic_sub_fetch(&value->refcount, 1, __ATOMIC_ACQ_REL) == 0) {
        json_delete(value);
    }
}

void hf_json_drop(struct hf_json *value)
{
    drop(hf_json_inside(value));
}

struct hf_json *hf_json_hold(struct hf_json *value)
{
    json_t *inside = hf_json_inside(value);
    if (is_counted(inside)) {
        (void)__atomic_add_fetch(&inside->refcount, 1, __ATOMIC_RELAXED);
    }
    return value;
}

static bool is_whole(const json_t *value)
{
    size_t index;
    const char *key;
    json_t *member;

    if (json_is_object(value)) {
        if (hf_json_is_incomplete(value)) {
            return false;
        }
        json_object_foreach((json_t *)(uintptr_t)value, key, member)
        {
            if (!is_whole(member)) {
                return false;
            }
        }
    } else if (json_is_array(value)) {
        if (hf_json_is_incomplete(value)) {
            return false;
        }
        json_array_foreach(value, index, member)
        {
            if (!is_whole(member)) {
                return false;
            }
        }
    }
    return true;
}

struct hf_json *hf_json_copy(const struct hf_json *value)
{
    const json_t *inside = hf_json_inside(value);
    return inside == NULL || !is_whole(inside) ? NULL : hf_json_outside(json_deep_copy(inside));
}

enum hf_json_type hf_json_type(const struct hf_json *value)
{
    const json_t *inside = hf_json_inside(value);
    if (inside == NULL) {
        return HF_JSON_NULL;
    }
    switch (json_typeof(inside)) {
    case JSON_OBJECT:
        return HF_JSON_OBJECT;
    case JSON_ARRAY:
        return HF_JSON_ARRAY;
    case JSON_STRING:
        return HF_JSON_TEXT;
    case JSON_INTEGER:
        return HF_JSON_INTEGER;
    case JSON_REAL:
        return HF_JSON_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return HF_JSON_BOOL;
    case JSON_NULL:
    default:
        return HF_JSON_NULL;
    }
}

bool hf_json_equal(const struct hf_json *a, const struct hf_json *b)
{
    return a == b || (a != NULL && b != NULL && json_equal(hf_json_inside(a), hf_json_inside(b)));
}

struct hf_json *hf_json_object(void)
{
    return hf_json_outside(json_object());
}

struct hf_json *hf_json_array(void)
{
    return hf_json_outside(json_array());
}

/* Takes value, which is NULL when making it failed. */
static void set_member(struct hf_json *object, const char *key, json_t *value)
{
    json_t *inside = hf_json_inside(object);
    size_t len;

    if (inside == NULL) {
        drop(value); /* the object could not be made: its encoding fails */
        return;
    }
    HF_ASSERT(json_is_object(inside));
    if (value == NULL) {
        note_incomplete(inside);
        return;
    }
    if (is_clean(hf_str_of(key))) {
        if (json_object_set_new_nocheck(inside, key, value) != 0) {
            note_incomplete(inside);
        }
        return;
    }
    HF_CLEANUP(hf_free) char *clean = clean_copy(hf_str_of(key), &len);
    HF_CLEANUP(hf_free) char *text = clean == NULL ? NULL : hf_strndup(clean, len);
    if (text == NULL) {
        drop(value);
        note_incomplete(inside);
    } else if (json_object_set_new_nocheck(inside, text, value) != 0) {
        note_incomplete(inside);
    }
}

void hf_json_set_text(struct hf_json *object, const char *key, const char *text)
{
    if (text != NULL) {
        set_member(object, key, make_text(hf_str_of(text)));
    }
}

void hf_json_set_text_same_length(struct hf_json *object, const char *key, const char *text)
{
    size_t rest = strlen(text);
    HF_CLEANUP(hf_free) char *copy = hf_strndup(text, rest);

    if (copy == NULL) {
        set_member(object, key, NULL);
        return;
    }
    for (char *at = copy; rest > 0;) {
        size_t len = hf_json_utf8_length((struct hf_str){.data = at, .len = rest});
        if (len == 0) {
            *at = '?';
            len = 1;
        }
        at += len;
        rest -= len;
    }
    hf_json_set_text(object, key, copy);
}

void hf_json_set_str(struct hf_json *object, const char *key, struct hf_str text)
{
    if (text.data != NULL) {
        set_member(object, key, make_text(text));
    }
}

void hf_json_set_integer(struct hf_json *object, const char *key, int64_t value)
{
    set_member(object, key, json_integer(value));
}

void hf_json_set_u64(struct hf_json *object, const char *key, uint64_t value)
{
    hf_json_set_integer(object, key, value < INT64_MAX ? (int64_t)value : INT64_MAX);
}

void hf_json_set_real(struct hf_json *object, const char *key, double value)
{
    set_member(object, key, isfinite(value) ? json_real(value) : json_null());
}

void hf_json_set_bool(struct hf_json *object, const char *key, bool value)
{
    set_member(object, key, json_boolean(value));
}

void hf_json_set_null(struct hf_json *object, const char *key)
{
    set_member(object, key, json_null());
}

void hf_json_set_take(struct hf_json *object, const char *key, struct hf_json *value)
{
    set_member(object, key, hf_json_inside(value));
}

void hf_json_remove(struct hf_json *object, const char *key)
{
    (void)json_object_del(hf_json_inside(object), key); /* fails only when it is not there */
}

static void append(struct hf_json *array, json_t *value)
{
    json_t *inside = hf_json_inside(array);
    if (inside == NULL) {
        drop(value);
        return;
    }
    HF_ASSERT(json_is_array(inside));
    if (value == NULL || json_array_append_new(inside, value) != 0) {
        note_incomplete(inside);
    }
}

void hf_json_append_take(struct hf_json *array, struct hf_json *value)
{
    append(array, hf_json_inside(value));
}

void hf_json_append_text(struct hf_json *array, const char *text)
{
    if (text != NULL) {
        append(array, make_text(hf_str_of(text)));
    }
}

void hf_json_append_integer(struct hf_json *array, int64_t value)
{
    append(array, json_integer(value));
}

/* The member, NULL when it is missing or null. */
static json_t *member_of(const struct hf_json *object, const char *key)
{
    json_t *value = json_object_get(hf_json_inside(object), key);
    return json_is_null(value) ? NULL : value;
}

struct hf_json *hf_json_get(const struct hf_json *object, const char *key)
{
    return hf_json_outside(member_of(object, key));
}

const char *hf_json_get_text(const struct hf_json *object, const char *key)
{
    return json_string_value(member_of(object, key));
}

struct hf_json *hf_json_get_object(const struct hf_json *object, const char *key)
{
    json_t *value = member_of(object, key);
    return json_is_object(value) ? hf_json_outside(value) : NULL;
}

struct hf_json *hf_json_get_array(const struct hf_json *object, const char *key)
{
    json_t *value = member_of(object, key);
    return json_is_array(value) ? hf_json_outside(value) : NULL;
}

int64_t hf_json_get_integer(const struct hf_json *object, const char *key, int64_t fallback)
{
    return hf_json_integer(hf_json_get(object, key), fallback);
}

uint64_t hf_json_get_u64(const struct hf_json *object, const char *key, uint64_t fallback)
{
    int64_t value = hf_json_integer(hf_json_get(object, key), -1);
    return value < 0 ? fallback : (uint64_t)value;
}

double hf_json_get_real(const struct hf_json *object, const char *key, double fallback)
{
    const json_t *value = member_of(object, key);
    return json_is_number(value) ? json_number_value(value) : fallback;
}

bool hf_json_get_bool(const struct hf_json *object, const char *key, bool fallback)
{
    const json_t *value = member_of(object, key);
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

size_t hf_json_count(const struct hf_json *array_or_object)
{
    const json_t *inside = hf_json_inside(array_or_object);
    return json_is_object(inside) ? json_object_size(inside) : json_array_size(inside);
}

struct hf_json *hf_json_at(const struct hf_json *array, size_t index)
{
    return hf_json_outside(json_array_get(hf_json_inside(array), index));
}

const char *hf_json_text(const struct hf_json *value)
{
    return json_string_value(hf_json_inside(value));
}

int64_t hf_json_integer(const struct hf_json *value, int64_t fallback)
{
    const json_t *inside = hf_json_inside(value);
    return json_is_integer(inside) ? json_integer_value(inside) : fallback;
}

const char *hf_json_next(const struct hf_json *object, void **at, struct hf_json **value)
{
    json_t *inside = hf_json_inside(object);
    *at = *at == NULL ? json_object_iter(inside) : json_object_iter_next(inside, *at);
    if (*at == NULL) {
        return NULL;
    }
    *value = hf_json_outside(json_object_iter_value(*at));
    return json_object_iter_key(*at);
}

/* The member of that type, or NULL and the error. what: "a text". */
static json_t *need(const struct hf_json *object, const char *key, enum hf_json_type type,
                    const char *what, struct hf_error *err)
{
    struct hf_json *value = hf_json_get(object, key);
    if (value == NULL) {
        (void)hf_fail(err, HF_ERR_INVALID, "member %s is missing", key);
        return NULL;
    }
    if (hf_json_type(value) != type) {
        (void)hf_fail(err, HF_ERR_INVALID, "member %s is not %s", key, what);
        return NULL;
    }
    return hf_json_inside(value);
}

enum hf_err hf_json_need_text(const struct hf_json *object, const char *key, const char **out,
                              struct hf_error *err)
{
    const json_t *value = need(object, key, HF_JSON_TEXT, "a text", err);
    if (value == NULL) {
        return err->code;
    }
    *out = json_string_value(value);
    return HF_ERR_OK;
}

enum hf_err hf_json_need_u64(const struct hf_json *object, const char *key, uint64_t min,
                             uint64_t max, uint64_t *out, struct hf_error *err)
{
    const json_t *value = need(object, key, HF_JSON_INTEGER, "an integer", err);
    if (value == NULL) {
        return err->code;
    }
    json_int_t number = json_integer_value(value);
    if (number < 0 || (uint64_t)number < min || (uint64_t)number > max) {
        return hf_fail(err, HF_ERR_INVALID, "member %s: %lld is not within %llu to %llu", key,
                       (long long)number, (unsigned long long)min, (unsigned long long)max);
    }
    *out = (uint64_t)number;
    return HF_ERR_OK;
}

enum hf_err hf_json_need_object(const struct hf_json *object, const char *key, struct hf_json **out,
                                struct hf_error *err)
{
    const json_t *value = need(object, key, HF_JSON_OBJECT, "an object", err);
    if (value == NULL) {
        return err->code;
    }
    *out = hf_json_outside(value);
    return HF_ERR_OK;
}

enum hf_err hf_json_need_array(const struct hf_json *object, const char *key, struct hf_json **out,
                               struct hf_error *err)
{
    const json_t *value = need(object, key, HF_JSON_ARRAY, "an array", err);
    if (value == NULL) {
        return err->code;
    }
    *out = hf_json_outside(value);
    return HF_ERR_OK;
}
