/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the elements of one BSON document without a library: nothing is copied, nothing believed, nothing below the
 * walked level looked at. Only for the few facts that this room reads of oplog entries.
 */
#ifndef HF_OPLOG_BSON_H
#define HF_OPLOG_BSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

enum hf_bson_type {
    HF_BSON_DOUBLE = 0x01,
    HF_BSON_STRING = 0x02,
    HF_BSON_DOCUMENT = 0x03,
    HF_BSON_ARRAY = 0x04,
    HF_BSON_BINARY = 0x05,
    HF_BSON_UNDEFINED = 0x06,
    HF_BSON_OBJECT_ID = 0x07,
    HF_BSON_BOOL = 0x08,
    HF_BSON_DATE = 0x09,
    HF_BSON_NULL = 0x0a,
    HF_BSON_REGEX = 0x0b,
    HF_BSON_POINTER = 0x0c,
    HF_BSON_CODE = 0x0d,
    HF_BSON_SYMBOL = 0x0e,
    HF_BSON_SCOPED_CODE = 0x0f,
    HF_BSON_INT32 = 0x10,
    HF_BSON_TIMESTAMP = 0x11,
    HF_BSON_INT64 = 0x12,
    HF_BSON_DECIMAL = 0x13,
    HF_BSON_MAX_KEY = 0x7f,
    HF_BSON_MIN_KEY = 0xff,
};

struct hf_bson_element {
    uint8_t type;          /* enum hf_bson_type */
    struct hf_str key;     /* borrowed, as value */
    struct hf_bytes value; /* as stored: a string with its length and NUL, a document whole */
};

struct hf_bson_walk {
    struct hf_bytes left; /* borrowed: elements not yet seen */
    const char *problem;  /* set when the walk ended at something malformed */
};

/* CORRUPT unless the bytes are one document by their length and end. */
HF_MUST_CHECK enum hf_err hf_bson_begin(struct hf_bytes document, struct hf_bson_walk *walk,
                                        struct hf_error *err);
/* False at the end, or with walk->problem set. */
HF_MUST_CHECK bool hf_bson_next(struct hf_bson_walk *walk, struct hf_bson_element *out);
/* CORRUPT when the walk ended at something malformed. */
HF_MUST_CHECK enum hf_err hf_bson_end(const struct hf_bson_walk *walk, struct hf_error *err);
/* The first element of that name; false when there is none (or the document is malformed before it). */
HF_MUST_CHECK bool hf_bson_find(struct hf_bytes document, const char *key,
                                struct hf_bson_element *out);

/* Each is false when the element is of another type. */
HF_MUST_CHECK bool hf_bson_text(const struct hf_bson_element *element, struct hf_str *out);
HF_MUST_CHECK bool hf_bson_integer(const struct hf_bson_element *element,
                                   int64_t *out); /* 32, 64 */
HF_MUST_CHECK bool hf_bson_timestamp(const struct hf_bson_element *element, uint32_t *seconds,
                                     uint32_t *increment);
/* BSON true, or a number that is not 0. */
bool hf_bson_true(const struct hf_bson_element *element);
/* Inline: several times for each field of each entry, and with a literal the compiler knows its length. */
static inline bool hf_bson_key_is(const struct hf_bson_element *element, const char *key)
{
    size_t len = strlen(key);

    return element->key.len == len && memcmp(element->key.data, key, len) == 0;
}

#endif
