/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON values. Nothing outside this file sees the library that does the work.
 *
 * Integers are signed 64-bit. Building functions return NULL, or do nothing and remember it, when memory runs out:
 * hf_json_encode then fails with NO_MEMORY, so a builder checks once. Building on a NULL value does nothing; building
 * members on what is no object, or elements on what is no array, is a bug and stops the program: check what came from
 * outside with hf_json_type or a `need` first. What is not UTF-8, and NUL, becomes U+FFFD in a text or key: exact bytes
 * go through base64.
 */
#ifndef HF_CODEC_JSON_H
#define HF_CODEC_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/error.h"

struct hf_json; /* reference-counted value */

enum hf_json_type {
    HF_JSON_NULL,
    HF_JSON_BOOL,
    HF_JSON_INTEGER,
    HF_JSON_REAL,
    HF_JSON_TEXT,
    HF_JSON_ARRAY,
    HF_JSON_OBJECT,
};

/*
 * Any value of RFC 8259. LIMIT for more than max bytes; INVALID with line and column for what is not JSON, more than 64
 * levels, a key twice, an integer beyond 64 bits, a NUL in a text.
 */
HF_MUST_CHECK enum hf_err hf_json_decode(struct hf_str text, size_t max, struct hf_json **out,
                                         struct hf_error *err);
/* The same with a limit for the number of values too (a name counts as one): a value of two bytes takes thirty times as
 * much memory. */
struct hf_json_limits {
    size_t bytes;
    size_t values;
};
HF_MUST_CHECK enum hf_err hf_json_decode_within(struct hf_str text,
                                                const struct hf_json_limits *limits,
                                                struct hf_json **out, struct hf_error *err);
/* Appends to out, or leaves it as it was. Keys sorted by bytes. indent: 0 for one line, else spaces per level. */
HF_MUST_CHECK enum hf_err hf_json_encode(const struct hf_json *value, unsigned indent,
                                         struct hf_buf *out, struct hf_error *err);
void hf_json_drop(struct hf_json *value);
HF_CLEANUP_DEFINE(hf_json_drop, struct hf_json *)
/* Another reference to the same value. */
struct hf_json *hf_json_hold(struct hf_json *value);
/* Deep. NULL on no memory, also where it ran out while value was built. */
HF_MUST_CHECK struct hf_json *hf_json_copy(const struct hf_json *value);

enum hf_json_type hf_json_type(const struct hf_json *value);
bool hf_json_equal(const struct hf_json *a, const struct hf_json *b);

HF_MUST_CHECK struct hf_json *hf_json_object(void);
HF_MUST_CHECK struct hf_json *hf_json_array(void);
/* All of these copy text. A NULL text is left out. */
void hf_json_set_text(struct hf_json *object, const char *key, const char *text);
void hf_json_set_str(struct hf_json *object, const char *key, struct hf_str text);
/* A byte that JSON cannot hold becomes one '?', not the three bytes of U+FFFD: the text gets no longer. */
void hf_json_set_text_same_length(struct hf_json *object, const char *key, const char *text);
void hf_json_set_integer(struct hf_json *object, const char *key, int64_t value);
void hf_json_set_u64(struct hf_json *object, const char *key,
                     uint64_t value); /* above INT64_MAX: clamped */
void hf_json_set_real(struct hf_json *object, const char *key, double value); /* not finite: null */
void hf_json_set_bool(struct hf_json *object, const char *key, bool value);
void hf_json_set_null(struct hf_json *object, const char *key);
/* Takes the reference to value, also on failure. */
void hf_json_set_take(struct hf_json *object, const char *key, struct hf_json *value);
void hf_json_remove(struct hf_json *object, const char *key);
void hf_json_append_take(struct hf_json *array, struct hf_json *value);
void hf_json_append_text(struct hf_json *array, const char *text);
void hf_json_append_integer(struct hf_json *array, int64_t value);

/* Borrowed from the object; NULL when missing (or JSON null) or of another type. */
struct hf_json *hf_json_get(const struct hf_json *object, const char *key);
const char *hf_json_get_text(const struct hf_json *object, const char *key);
struct hf_json *hf_json_get_object(const struct hf_json *object, const char *key);
struct hf_json *hf_json_get_array(const struct hf_json *object, const char *key);
/* The value, or fallback when missing or of another type (get_real takes integers, get_u64 no negative ones). */
int64_t hf_json_get_integer(const struct hf_json *object, const char *key, int64_t fallback);
uint64_t hf_json_get_u64(const struct hf_json *object, const char *key, uint64_t fallback);
double hf_json_get_real(const struct hf_json *object, const char *key, double fallback);
bool hf_json_get_bool(const struct hf_json *object, const char *key, bool fallback);

size_t hf_json_count(const struct hf_json *array_or_object);
struct hf_json *hf_json_at(const struct hf_json *array, size_t index);
/* The value's own content, NULL or fallback as above. */
const char *hf_json_text(const struct hf_json *value);
int64_t hf_json_integer(const struct hf_json *value, int64_t fallback);

/* Walks an object's members: NULL at the end. `void *at = NULL; while ((key = hf_json_next(object, &at, &value)))`. */
const char *hf_json_next(const struct hf_json *object, void **at, struct hf_json **value);

/*
 * What a decoder asks: the member must be there with that type, else INVALID and the message names `key`.
 * Unsigned numbers must lie in [min, max].
 */
HF_MUST_CHECK enum hf_err hf_json_need_text(const struct hf_json *object, const char *key,
                                            const char **out, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_json_need_u64(const struct hf_json *object, const char *key,
                                           uint64_t min, uint64_t max, uint64_t *out,
                                           struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_json_need_object(const struct hf_json *object, const char *key,
                                              struct hf_json **out, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_json_need_array(const struct hf_json *object, const char *key,
                                             struct hf_json **out, struct hf_error *err);

#endif
