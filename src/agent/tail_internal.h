/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two other threads of a tail: the source reads the member's oplog ahead, the sender puts closed slices into the store
 * and tells the server. Both hold little, and wait for the thread between them, which fills the slices.
 */
#ifndef HF_AGENT_TAIL_INTERNAL_H
#define HF_AGENT_TAIL_INTERNAL_H

#include "agent/task.h"
#include "format/slice.h"
#include "mongo/oplog_tail.h"

/* ---- The source ---- */

struct hf_tail_source;

enum hf_tail_item_kind {
    HF_TAIL_ENTRIES, /* batch */
    HF_TAIL_FCV,     /* fcv: of what comes next */
    HF_TAIL_BREAK,   /* the chain ends: cause, fcv of what comes next, text */
    HF_TAIL_FAILED,  /* error; nothing comes behind it */
};
struct hf_tail_item {
    enum hf_tail_item_kind kind;
    struct hf_mongo_tail_batch *batch; /* owned */
    enum hf_chain_cause cause;
    char fcv[HF_WORD_BYTES];
    struct hf_error error; /* also: what was seen, of a break */
};
void hf_tail_item_destroy(struct hf_tail_item *item);
HF_CLEANUP_DEFINE(hf_tail_item_destroy, struct hf_tail_item *)

/* Starts reading at the task's start. stop ends it soon; then hf_tail_source_stop. */
HF_MUST_CHECK enum hf_err hf_tail_source_start(const struct hf_agent_work *work,
                                               const struct hf_cancel *stop,
                                               struct hf_tail_source **out, struct hf_error *err);
void hf_tail_source_stop(struct hf_tail_source *source);
/*
 * The next item, the caller's, who has destroyed the one before; NULL when there was none for wait_ms. False: there will be
 * none, memory ran out.
 */
HF_MUST_CHECK bool hf_tail_source_next(struct hf_tail_source *source, uint64_t wait_ms,
                                       struct hf_tail_item **item);
/* Any thread: entries read so far, and the seconds of the newest commit point seen (0: none yet). */
uint64_t hf_tail_source_entries(const struct hf_tail_source *source);
uint64_t hf_tail_source_committed_s(const struct hf_tail_source *source);

/* ---- The sender ---- */

struct hf_tail_sender;

/* A closed slice. */
struct hf_tail_slice {
    struct hf_object_name name;
    struct hf_buf object;
    uint64_t entries_until; /* entries that were taken from the source up to its end */
};
HF_MUST_CHECK enum hf_err hf_tail_sender_start(const struct hf_agent_work *work,
                                               const struct hf_cancel *stop,
                                               const struct hf_tail_source *source,
                                               struct hf_tail_sender **out, struct hf_error *err);
void hf_tail_sender_stop(struct hf_tail_sender *sender);
/*
 * Waits until the slice before is told; the caller then fills *slice and calls _send. CANCELLED on stop, and what the
 * sending of an earlier one failed with.
 */
HF_MUST_CHECK enum hf_err hf_tail_sender_take(struct hf_tail_sender *sender,
                                              struct hf_tail_slice **slice, struct hf_error *err);
void hf_tail_sender_send(struct hf_tail_sender *sender);
/* OK while nothing has failed for good. */
HF_MUST_CHECK enum hf_err hf_tail_sender_check(struct hf_tail_sender *sender, struct hf_error *err);

#endif
