/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as tables: one line a field says its name, type and place, and both directions of JSON
 * follow from it. For the records of this room; knows no record.
 */
#ifndef HF_BACKUP_FIELDS_H
#define HF_BACKUP_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "codec/json.h"

enum hf_field_type {
    HF_FIELD_TEXT,   /* char[size]; left out when empty, unless it is needed */
    HF_FIELD_ID,     /* struct hf_id; left out when none, unless it is needed */
    HF_FIELD_U64,    /* uint64_t */
    HF_FIELD_BOOL,   /* bool */
    HF_FIELD_WORD,   /* an int-sized enum; words[value] is its name */
    HF_FIELD_OPTIME, /* struct hf_optime; left out when none */
};

struct hf_field {
    const char *name;
    enum hf_field_type type;
    size_t offset;
    size_t size;              /* of TEXT */
    bool needed;              /* decoding fails without it */
    const char *const *words; /* of WORD; NULL at the end */
};

#define HF_FIELDS_TEXT(record, member, json, must)                                                 \
    {                                                                                              \
        .name = (json), .type = HF_FIELD_TEXT, .offset = offsetof(record, member),                 \
        .size = sizeof(((record *)0)->member), .needed = (must)                                    \
    }
#define HF_FIELDS_ID(record, member, json, must)                                                   \
    {                                                                                              \
        .name = (json), .type = HF_FIELD_ID, .offset = offsetof(record, member), .needed = (must)  \
    }
#define HF_FIELDS_U64(record, member, json)                                                        \
    {                                                                                              \
        .name = (json), .type = HF_FIELD_U64, .offset = offsetof(record, member)                   \
    }
#define HF_FIELDS_BOOL(record, member, json)                                                       \
    {                                                                                              \
        .name = (json), .type = HF_FIELD_BOOL, .offset = offsetof(record, member)                  \
    }
#define HF_FIELDS_WORD(record, member, json, names)                                                \
    {                                                                                              \
        .name = (json), .type = HF_FIELD_WORD, .offset = offsetof(record, member), .needed = true, \
        .words = (names)                                                                           \
    }
#define HF_FIELDS_OPTIME(record, member, json)                                                     \
    {                                                                                              \
        .name = (json), .type = HF_FIELD_OPTIME, .offset = offsetof(record, member)                \
    }

struct hf_fields {
    const char *record; /* "job": for messages */
    const struct hf_field *fields;
    size_t count;
    size_t size_bytes;
};

/* NULL on no memory. */
HF_MUST_CHECK struct hf_json *hf_fields_encode(const struct hf_fields *fields, const void *record);
/* The record is zeroed first. CORRUPT, naming record and field, for what encode could not have
 * made. Members without a line are ignored, so that a newer server's document can still be read. */
HF_MUST_CHECK enum hf_err hf_fields_decode(const struct hf_fields *fields,
                                           const struct hf_json *json, void *record,
                                           struct hf_error *err);

#endif
