/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks into packs, packs into the store: what a capture writes. A fixed number of packs is in memory; threads share
 * the one that is open, and full ones are put by threads of their own.
 */
#ifndef HF_SNAPSHOT_PACKER_H
#define HF_SNAPSHOT_PACKER_H

#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "base/thread.h"
#include "format/block.h"
#include "format/pack.h"
#include "store/store.h"

struct hf_packer;

struct hf_packer_options {
    struct hf_store *store;           /* borrowed: outlives the packer */
    const struct hf_keyring *keyring; /* borrowed: outlives the packer */
    uint64_t capture;
    struct hf_id writer;
    size_t pack_bytes; /* 0: HF_PACK_TARGET_BYTES */
    unsigned nice;     /* of the threads that put: hf_stand_back_thread */
    struct hf_progress *progress;
    const struct hf_cancel *cancel;
    /* Called on a thread of the packer when a pack is durable; may be NULL. */
    void (*durable)(void *context, uint32_t pack);
    void *context;
};
/* Starts the threads that put. */
HF_MUST_CHECK enum hf_err hf_packer_create(const struct hf_packer_options *options,
                                           struct hf_packer **out, struct hf_error *err);
/* Stops without putting what is open. */
void hf_packer_destroy(struct hf_packer *packer);
HF_CLEANUP_DEFINE(hf_packer_destroy, struct hf_packer *)

/* Compresses, encrypts and appends one block; fills *ref but for its flags. Waits while all packs are on their way.
 * Any thread, each with its own coder. After a failed put every call fails with that error. */
HF_MUST_CHECK enum hf_err hf_packer_add(struct hf_packer *packer, enum hf_object_kind kind,
                                        struct hf_block_coder *coder, struct hf_bytes plain,
                                        const struct hf_hash *hash, struct hf_ref *ref,
                                        struct hf_error *err);

struct hf_packer_sums {
    uint64_t packs;
    uint64_t stored_bytes; /* of the objects */
};
/* Puts what is open and waits until all is durable (keeps I3). No add may be under way. */
HF_MUST_CHECK enum hf_err hf_packer_finish(struct hf_packer *packer, struct hf_packer_sums *out,
                                           struct hf_error *err);

#endif
