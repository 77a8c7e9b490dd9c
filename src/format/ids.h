/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids, numbers and the names of objects (store-format.md section 1).
 *
 * Everything that names something in a store is built and parsed here, with fixed-width numbers so
 * that byte order is their order. Knows no object's content.
 */
#ifndef HF_FORMAT_IDS_H
#define HF_FORMAT_IDS_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

/* ---- 24 hexadecimal digits: projects, clusters, jobs, snapshots, restores, tasks, writers, stores
 * ---- */

#define HF_ID_BYTES 12
#define HF_ID_TEXT_BYTES 25 /* digits and NUL */

struct hf_id {
    uint8_t bytes[HF_ID_BYTES];
};
struct hf_id_text {
    char text[HF_ID_TEXT_BYTES];
};

/* Exactly 24 lower-case hexadecimal digits. */
HF_MUST_CHECK bool hf_id_parse(struct hf_str text, struct hf_id *out);
/* By value, so that `hf_id_text(&id).text` serves inside a call. */
struct hf_id_text hf_id_text(const struct hf_id *id);
bool hf_id_equal(const struct hf_id *a, const struct hf_id *b);
/* No id has twelve zero bytes; a zeroed struct means "none". */
bool hf_id_is_none(const struct hf_id *id);

/* ---- Numbers ---- */

#define HF_CAPTURE_MAX (((uint64_t)1 << 40) - 1) /* capture numbers begin at 1; 0 means none */
#define HF_PACK_MAX (((uint32_t)1 << 24) - 1)
#define HF_ORDINAL_MAX ((uint32_t)UINT16_MAX)
#define HF_ROUND_MAX ((uint32_t)UINT16_MAX)

/* A pack's place in the order of a job's packs: capture and pack in one number. */
static inline uint64_t hf_position(uint64_t capture, uint32_t pack)
{
    return capture << 24 | pack;
}
static inline uint64_t hf_position_capture(uint64_t position)
{
    return position >> 24;
}
static inline uint32_t hf_position_pack(uint64_t position)
{
    return (uint32_t)(position & HF_PACK_MAX);
}

/* Time of an oplog entry. term: -1 where MongoDB has none. */
struct hf_optime {
    uint32_t seconds;
    uint32_t increment;
    int64_t term;
};

bool hf_optime_is_none(const struct hf_optime *optime); /* seconds and increment are 0 */
/* By seconds, increment, then term. */
int hf_optime_compare(const struct hf_optime *a, const struct hf_optime *b);

/* ---- Names of objects ---- */

#define HF_OBJECT_NAME_BYTES 192 /* the longest name and NUL */

enum hf_object_kind {
    HF_OBJECT_MARK,     /* holdfast/<epoch> */
    HF_OBJECT_KEYS,     /* j/<job>/k/<key>-<wrap> */
    HF_OBJECT_CLAIM,    /* j/<job>/c/<writer> */
    HF_OBJECT_DATA,     /* j/<job>/p/<last>-<span>-<round>-<writer> */
    HF_OBJECT_TREE,     /* j/<job>/t/<last>-<span>-<round>-<writer> */
    HF_OBJECT_MANIFEST, /* j/<job>/m/<capture> */
    HF_OBJECT_OPLOG,    /* j/<job>/o/<last>-<first>-<round>-<writer> */
};

/* Only the members that the kind's name has are used. */
struct hf_object_name {
    enum hf_object_kind kind;
    struct hf_id job;
    struct hf_id writer;
    uint32_t epoch;
    uint32_t key, wrap;
    uint64_t capture;
    uint64_t first, last; /* positions, first <= last */
    uint32_t round;
    struct hf_optime first_optime, last_optime;
};

struct hf_object_text {
    char text[HF_OBJECT_NAME_BYTES];
};

/* The name as text; a number beyond its limit is our own bug (asserted). */
struct hf_object_text hf_object_name_text(const struct hf_object_name *name);
/* INVALID, with the name, for whatever hf_object_name_text could not have made. */
HF_MUST_CHECK enum hf_err hf_object_name_parse(struct hf_str text, struct hf_object_name *out,
                                               struct hf_error *err);
/* What all names of that kind begin with; job may be NULL for HF_OBJECT_MARK only. */
struct hf_object_text hf_object_prefix(enum hf_object_kind kind, const struct hf_id *job);

#endif
