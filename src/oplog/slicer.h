/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes slices of entries that come in order. Decides when one is closed, begins a new chain where the history breaks,
 * and keeps the running hash; knows no clock, no source and no store: time is handed in, closed slices are handed out.
 * One thread at a time.
 */
#ifndef HF_OPLOG_SLICER_H
#define HF_OPLOG_SLICER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "format/ids.h"
#include "format/keyring.h"
#include "format/slice.h"

#define HF_SLICER_TARGET_BYTES ((uint64_t)8 << 20)
#define HF_SLICER_TARGET_MAX_BYTES ((uint64_t)24 << 20)
#define HF_SLICER_AGE_MS ((uint64_t)10000)
#define HF_SLICER_NOOP_AGE_MS ((uint64_t)300000)

struct hf_slicer_options {
    const struct hf_keyring *keyring;    /* borrowed: outlives the slicer; its job is the slices' */
    struct hf_id writer;                 /* drawn for this slicer */
    uint32_t round;                      /* 0: a tailer's; above that of what is merged */
    const char *set_name, *member, *fcv; /* borrowed for the call; fcv NULL: not known */
    struct hf_chain_point start;
    uint64_t target_bytes; /* stored; 0: HF_SLICER_TARGET_BYTES */
    uint64_t age_ms;       /* from the first entry that is no no-op; 0: HF_SLICER_AGE_MS */
    uint64_t noop_age_ms;  /* from the first entry; 0: HF_SLICER_NOOP_AGE_MS */
};

struct hf_slicer;
HF_MUST_CHECK enum hf_err hf_slicer_create(const struct hf_slicer_options *options,
                                           struct hf_slicer **out, struct hf_error *err);
void hf_slicer_destroy(struct hf_slicer *slicer);
HF_CLEANUP_DEFINE(hf_slicer_destroy, struct hf_slicer *)

/*
 * Takes the next entry. *taken false: the slice has to be closed first, then the entry is offered again.
 * An entry that writes the document of the feature compatibility version begins a new chain by itself.
 * CONFLICT: it does not come after the last one (timestamp not greater, or term smaller): the source's history changed;
 * nothing was taken. CORRUPT: no entry. LOST: memory ran out before; begin again from what the store holds.
 */
HF_MUST_CHECK enum hf_err hf_slicer_add(struct hf_slicer *slicer, struct hf_bytes entry,
                                        uint64_t now_ms, bool *taken, struct hf_error *err);
bool hf_slicer_is_empty(const struct hf_slicer *slicer);
/* By size or age. An empty one never is. */
bool hf_slicer_due(const struct hf_slicer *slicer, uint64_t now_ms);
/* How long until it is due by age; UINT64_MAX for an empty one. */
uint64_t hf_slicer_wait_ms(const struct hf_slicer *slicer, uint64_t now_ms);
/* The slice so far as an object (out is cleared first); not for an empty one. After an error it may be tried again. */
HF_MUST_CHECK enum hf_err hf_slicer_close(struct hf_slicer *slicer, struct hf_object_name *name,
                                          struct hf_buf *out, struct hf_error *err);
/* Where the next entry will stand: what the catalog's head of the chain says once all closed slices are durable. */
struct hf_chain_point hf_slicer_point(const struct hf_slicer *slicer);
/* Ends the chain: the next entry, of any optime, begins another. Only when empty. fcv NULL: not known. */
void hf_slicer_break(struct hf_slicer *slicer, enum hf_chain_cause cause, const char *fcv);
/* Of the slice that is being filled and all after it. */
void hf_slicer_set_fcv(struct hf_slicer *slicer, const char *fcv);

#endif
