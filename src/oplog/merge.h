/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merges small slices: an idle set makes 300 a day, each of which costs every list and every load of chains. A merged slice
 * holds the same entries under the same running hash, takes the range of what it replaces, and the next round; it is
 * put first, what it replaces is deleted afterwards. So whatever a crash leaves, the chains are the same, and the
 * next merge goes on from there. Knows no clock, no catalog and no snapshot: what is in use is asked of the caller.
 */
#ifndef HF_OPLOG_MERGE_H
#define HF_OPLOG_MERGE_H

#include "base/thread.h"
#include "oplog/chain.h"

#define HF_MERGE_LEAST 16 /* slices of one round that are worth it */
#define HF_MERGE_TARGET_BYTES ((uint64_t)8 << 20)

struct hf_merge_options {
    struct hf_store *store;           /* borrowed for the call */
    const struct hf_keyring *keyring; /* borrowed for the call; names the job */
    /*
     * From which entry on slices are in use: none with this entry or a later one is touched; none: all may be. Asked
     * before each run of slices, and again right before it is deleted.
     */
    enum hf_err (*in_use)(void *context, struct hf_optime *from, struct hf_error *err);
    void *context;
    uint32_t before_s;     /* only slices whose last entry is older */
    size_t least;          /* 0: HF_MERGE_LEAST; at least 2 */
    uint64_t target_bytes; /* of a merged object, at most about that; 0: HF_MERGE_TARGET_BYTES */
    size_t runs_max;       /* merged slices of one call; 0: as many as there are */
    const struct hf_cancel *cancel;
};

struct hf_merge_result {
    uint64_t written, deleted;
    uint64_t bytes_read, bytes_written; /* of whole objects */
};

/*
 * Merges what it can. First it deletes what an earlier merge replaced and did not come to delete. Slices are merged when
 * they follow on one another within a chain, are of one round, member, set and FCV, and the limits of a slice and
 * target_bytes allow it; never the newest of a chain that is open, never across a chain's start, never one that
 * is read in part only. chains are what was loaded last, and are out of date afterwards. Slices with damage stay as they
 * are, and so do those beside them; it ends with CORRUPT then, naming the first, after all else was merged.
 */
HF_MUST_CHECK enum hf_err hf_merge_slices(const struct hf_merge_options *options,
                                          const struct hf_chains *chains,
                                          struct hf_merge_result *out, struct hf_error *err);

#endif
