/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BSON values as MongoDB sees them: one order over all types, their names, numbers, look-up by path. A bson_value_t is
 * borrowed here: it points into the document it was read from.
 */
#ifndef HF_SANDBOX_VALUE_H
#define HF_SANDBOX_VALUE_H

#include <bson/bson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* What stands for a missing field: BSON_TYPE_EOD, which orders just below null. */
extern const bson_value_t hf_sandbox_value_missing;

/* Rank of a type among all (numbers share one, so do strings and symbols). */
int hf_sandbox_type_rank(bson_type_t type);
/* "int", "string", as error messages and $type write them. */
const char *hf_sandbox_type_name(bson_type_t type);

/* MongoDB's total order: negative, 0, positive. */
int hf_sandbox_value_compare(const bson_value_t *a, const bson_value_t *b);
int hf_sandbox_doc_compare(const bson_t *a, const bson_t *b);

bool hf_sandbox_is_number(const bson_value_t *value);
/* Null, undefined or missing. */
bool hf_sandbox_is_nullish(const bson_value_t *value);
double hf_sandbox_as_double(const bson_value_t *value);
/* A number without fraction within int64; false otherwise, also when it is no number. */
bool hf_sandbox_as_int64(const bson_value_t *value, int64_t *out);
/* What a command takes for true: true, or a number other than 0. */
bool hf_sandbox_is_true(const bson_value_t *value);
/* The sum of two numbers, of the type that the server gives it; false on overflow and with decimals. */
bool hf_sandbox_value_add(const bson_value_t *a, const bson_value_t *b, bson_value_t *out);

/* A view of the document or array in value; false when it is neither. */
bool hf_sandbox_value_doc(const bson_value_t *value, bson_t *out);
/* Its fields or elements; false when it is not of that type, a document or an array. */
bool hf_sandbox_value_iter(const bson_value_t *value, bson_type_t type, bson_iter_t *out);
bson_value_t hf_sandbox_value_of_doc(const bson_t *doc);
bson_value_t hf_sandbox_value_of_utf8(const char *text);
static inline bson_value_t hf_sandbox_value_of_int32(int32_t plain)
{
    return (bson_value_t){.value_type = BSON_TYPE_INT32, .value.v_int32 = plain};
}
static inline bson_value_t hf_sandbox_value_of_int64(int64_t plain)
{
    return (bson_value_t){.value_type = BSON_TYPE_INT64, .value.v_int64 = plain};
}
static inline bson_value_t hf_sandbox_value_of_double(double plain)
{
    return (bson_value_t){.value_type = BSON_TYPE_DOUBLE, .value.v_double = plain};
}
static inline bson_value_t hf_sandbox_value_of_bool(bool plain)
{
    return (bson_value_t){.value_type = BSON_TYPE_BOOL, .value.v_bool = plain};
}

bool hf_sandbox_get(const bson_t *doc, const char *key, bson_value_t *out);
/* Field by field through documents; in an array only a number names an element. */
bool hf_sandbox_get_path(const bson_t *doc, const char *path, bson_value_t *out);
/* The field as text, number, truth, or the fallback when it is missing or of another type. */
const char *hf_sandbox_get_utf8(const bson_t *doc, const char *key, const char *fallback);
int64_t hf_sandbox_get_int64(const bson_t *doc, const char *key, int64_t fallback);
bool hf_sandbox_get_true(const bson_t *doc, const char *key);
/* A view of a field that is a document or an array. */
bool hf_sandbox_get_doc(const bson_t *doc, const char *key, bson_t *out);

/* HF_SANDBOX_EACH (iter, doc, condition) {..}: iter stands on each field in turn, as long as the condition holds. */
#define HF_SANDBOX_EACH(iter, doc, condition)                                                      \
    for (bson_iter_t iter, *iter##_at = bson_iter_init(&iter, doc) ? &iter : NULL;                 \
         iter##_at != NULL && (condition) && bson_iter_next(&iter);)

/* Returns true to end the walk. */
typedef bool (*hf_sandbox_path_visit)(const bson_value_t *value, void *context);
/* Shows every value, missing ones too, that the path (NULL: none) reaches from root as queries follow it: into documents,
 * and through arrays into each of their documents. True when a visit ended the walk. */
bool hf_sandbox_path_walk(const bson_value_t *root, const char *path, hf_sandbox_path_visit visit,
                          void *context);
/* True for a component of a path that names an array element: digits only. */
bool hf_sandbox_path_is_index(const char *component, size_t len);

/* Appends `key: value`, whatever the value is; nothing when it is missing. Libbson refuses only what is too large. */
void hf_sandbox_append(bson_t *doc, const char *key, const bson_value_t *value);
/* Append under the next number; *index grows. */
void hf_sandbox_append_element(bson_t *array, uint32_t *index, const bson_value_t *value);
void hf_sandbox_append_doc(bson_t *array, uint32_t *index, const bson_t *doc);

/* As the server's messages write a document: { a: 1, b: [ "x" ], id: UUID("..") }. Cut at the buffer's maximum. */
void hf_sandbox_doc_text(const bson_t *doc, struct hf_buf *out);

#endif
