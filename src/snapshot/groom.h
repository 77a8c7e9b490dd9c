/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grooming: gives back the space of what no manifest reaches, beside everything else and without a
 * lock (store-format.md section 5; I6, I7, I8).
 */
#ifndef HF_SNAPSHOT_GROOM_H
#define HF_SNAPSHOT_GROOM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "base/thread.h"
#include "format/keyring.h"
#include "store/store.h"

struct hf_groom_options {
    struct hf_store *store;
    const struct hf_keyring *keyring;
    unsigned living_percent; /* objects with fewer living bytes are copied; 0: 65; 100: drop every
                                dead block */
    const uint64_t *known_captures; /* manifests that the catalog knows as COMPLETE: one unlisted
                                       stops the groom */
    size_t known_count;
    /* Asked again before it stops: *known false when it is COMPLETE no longer. NULL: nobody is asked. */
    enum hf_err (*is_known)(void *context, uint64_t capture, bool *known, struct hf_error *err);
    void *context;
    bool only_look; /* report, change nothing */
    struct hf_progress *progress;
    const struct hf_cancel *cancel;
};
/* Blocks and bytes are those of objects whose writer has no claim and whose footer can be read; bytes of blocks are stored
 * ones, without headers and footers. A block that lies in two objects counts twice. */
struct hf_groom_result {
    uint64_t objects_seen, objects_claimed, objects_deleted, objects_written;
    uint64_t objects_unreadable;
    uint64_t objects_copied;            /* their living blocks went, or would go, into others */
    uint64_t bytes_before, bytes_after; /* of the objects seen; of those and what was written */
    uint64_t living_bytes, dead_bytes;
    uint64_t living_blocks, dead_blocks;
    uint64_t manifests;
    uint64_t marks_bytes; /* memory for one bit a block, at the end */
};
/*
 * CORRUPT, or whatever kept it from reading a node, key or manifest: nothing was deleted (keeps
 * I7). UNSUPPORTED for a store without consistent listing.
 */
HF_MUST_CHECK enum hf_err hf_groom_job(const struct hf_groom_options *options,
                                       struct hf_groom_result *out, struct hf_error *err);

#endif
