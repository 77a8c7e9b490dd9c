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
    bool only_look; /* report, change nothing */
    struct hf_progress *progress;
    const struct hf_cancel *cancel;
};
struct hf_groom_result {
    uint64_t objects_seen, objects_claimed, objects_deleted, objects_written;
    uint64_t bytes_before, bytes_after; /* of the objects seen; of those and what was written */
    uint64_t living_bytes;
    uint64_t manifests;
};
/*
 * CORRUPT, or whatever kept it from reading a node, key or manifest: nothing was deleted (keeps
 * I7). UNSUPPORTED for a store without consistent listing.
 */
HF_MUST_CHECK enum hf_err hf_groom_job(const struct hf_groom_options *options,
                                       struct hf_groom_result *out, struct hf_error *err);

#endif
