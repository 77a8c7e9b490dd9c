/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader of one member's oplog that hands out what the set has committed, entry after entry, without a gap: each time
 * it begins to read it finds the entry that it handed out last, timestamp and term, or says that the history changed.
 * The entries' bytes are the server's own. Must not know what becomes of them.
 *
 * A stretch ends at the commit point that the member reported *before* it was read: what lies below it in the member's
 * oplog then is committed, whatever the member's terms, read concern or rollbacks. So nothing is asked of the server but
 * finds, and no wait of ours lives in it.
 */
#ifndef HF_MONGO_OPLOG_TAIL_H
#define HF_MONGO_OPLOG_TAIL_H

#include "base/thread.h"
#include "format/slice.h"
#include "mongo/client.h"

#define HF_MONGO_TAIL_BATCH_BYTES ((size_t)4 << 20)
#define HF_MONGO_TAIL_BEHIND_MS 15000

struct hf_mongo_tail_options {
    struct hf_mongo_options client; /* its texts are borrowed: they outlive the tail */
    const char *set_name;           /* borrowed: outlives the tail */
    const struct hf_cancel *cancel; /* borrowed; may be NULL */
    size_t
        batch_bytes; /* about as many at once; 0: the default. A server gives at most 16 MiB, or one entry */
    uint32_t
        behind_ms; /* how long a primary may seem to be behind the place before it is believed; 0: the default */
};

/* One thread at a time. */
struct hf_mongo_tail;
/* Connects at the first call that needs it, and again after every failure. */
HF_MUST_CHECK enum hf_err hf_mongo_tail_create(const struct hf_mongo_tail_options *options,
                                               struct hf_mongo_tail **out, struct hf_error *err);
void hf_mongo_tail_destroy(struct hf_mongo_tail *tail);
HF_CLEANUP_DEFINE(hf_mongo_tail_destroy, struct hf_mongo_tail *)

/* The next entry is the one behind this one, which must still be there with its term. */
void hf_mongo_tail_from(struct hf_mongo_tail *tail, struct hf_optime previous);
/* The next entry is the newest committed one; with lead_s the first one that is not more than that older. */
HF_MUST_CHECK enum hf_err hf_mongo_tail_from_committed(struct hf_mongo_tail *tail, uint32_t lead_s,
                                                       struct hf_error *err);
/* The next entry is the oldest one. */
HF_MUST_CHECK enum hf_err hf_mongo_tail_from_oldest(struct hf_mongo_tail *tail,
                                                    struct hf_error *err);

/* Some entries in their order. Free from any thread. */
struct hf_mongo_tail_batch;
void hf_mongo_tail_batch_destroy(struct hf_mongo_tail_batch *batch);
HF_CLEANUP_DEFINE(hf_mongo_tail_batch_destroy, struct hf_mongo_tail_batch *)
struct hf_mongo_tail_batch_facts {
    uint64_t entries, bytes;
    struct hf_optime last;
    struct hf_optime committed; /* the commit point when it was read */
};
struct hf_mongo_tail_batch_facts hf_mongo_tail_batch_facts(const struct hf_mongo_tail_batch *batch);
/* Borrowed from the batch. False at the end. */
HF_MUST_CHECK bool hf_mongo_tail_batch_next(struct hf_mongo_tail_batch *batch,
                                            struct hf_bytes *entry);

/*
 * Waits up to wait_ms for entries; *out is NULL when there were none. An error moves nothing: the same call goes on where the
 * last one stopped.
 * LOST: the oplog does not have the entry to go on from: hf_mongo_tail_why tells. UNAVAILABLE and whatever else a server
 * refuses: it is away, neither primary nor secondary, or behind the place. CONFLICT: it belongs to another set.
 */
HF_MUST_CHECK enum hf_err hf_mongo_tail_read(struct hf_mongo_tail *tail, uint64_t wait_ms,
                                             struct hf_mongo_tail_batch **out,
                                             struct hf_error *err);
/* After LOST: ROLLED_OVER, ROLLBACK or RECREATED. UNAVAILABLE: the member does not say, or the entry is there after all. */
HF_MUST_CHECK enum hf_err hf_mongo_tail_why(struct hf_mongo_tail *tail, enum hf_chain_cause *cause,
                                            struct hf_error *err);
/* The newest commit point that the member reported; none before the first. */
struct hf_optime hf_mongo_tail_committed(const struct hf_mongo_tail *tail);
/* The feature compatibility version as it is now; "" while it is being changed. out has HF_WORD_BYTES. */
HF_MUST_CHECK enum hf_err hf_mongo_tail_fcv(struct hf_mongo_tail *tail, char *out,
                                            struct hf_error *err);

#endif
