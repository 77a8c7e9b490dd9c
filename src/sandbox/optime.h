/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Positions in the oplog. A BSON Timestamp travels here as one number, seconds above, increment
 * below, so that its order is the number's order and it is what the engine takes as a time.
 */
#ifndef HF_SANDBOX_OPTIME_H
#define HF_SANDBOX_OPTIME_H

#include <bson/bson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/* HF_CLEANUP(bson_destroy) bson_t *doc: for documents on the heap. */
HF_CLEANUP_DEFINE(bson_destroy, bson_t *)

struct hf_sandbox_optime {
    uint64_t ts;  /* 0: none */
    int64_t term; /* -1: none, as in the first entry of a set */
};

#define HF_SANDBOX_OPTIME_NONE ((struct hf_sandbox_optime){.ts = 0, .term = -1})
#define HF_SANDBOX_TS(seconds, increment) ((uint64_t)(seconds) << 32 | (uint64_t)(increment))

static inline uint32_t hf_sandbox_ts_seconds(uint64_t ts)
{
    return (uint32_t)(ts >> 32);
}

static inline uint32_t hf_sandbox_ts_increment(uint64_t ts)
{
    return (uint32_t)ts;
}

/* In the lists of BCON_NEW: {ts, t}, a date of the optime's second. */
#define HF_SANDBOX_BCON_TS(ts)                                                                     \
    BCON_TIMESTAMP((int32_t)hf_sandbox_ts_seconds(ts), (int32_t)hf_sandbox_ts_increment(ts))
#define HF_SANDBOX_BCON_OPTIME(optime)                                                             \
    "{", "ts", HF_SANDBOX_BCON_TS((optime).ts), "t", BCON_INT64((optime).term), "}"
#define HF_SANDBOX_BCON_DATE_OF(ts) BCON_DATE_TIME((int64_t)hf_sandbox_ts_seconds(ts) * 1000)

/* Terms first, as elections compare; an entry without term orders below all. */
int hf_sandbox_optime_compare(struct hf_sandbox_optime a, struct hf_sandbox_optime b);
/* key: Timestamp(..) */
void hf_sandbox_append_ts(bson_t *doc, const char *key, uint64_t ts);
/* key: {ts: Timestamp(..), t: NumberLong(..)} */
void hf_sandbox_append_optime(bson_t *doc, const char *key, struct hf_sandbox_optime optime);
/* 0 when the field is missing or no Timestamp. */
uint64_t hf_sandbox_get_ts(const bson_t *doc, const char *key);
/* The fields ts and t of a document (an oplog entry, or {ts, t}). */
struct hf_sandbox_optime hf_sandbox_optime_of(const bson_t *doc);
/* The same of a sub-document. */
struct hf_sandbox_optime hf_sandbox_get_optime(const bson_t *doc, const char *key);

#endif
