/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's part of a capture (store-format.md section 5): claim, check, manifest, a second
 * look, the end of the claim; giving up; the end of a manifest.
 *
 *   hf_commit_claim        2 claim
 *   (the agent)            3 objects
 *   hf_commit_check        4 what is not the parent's stands in a footer of this or an adopted
 * attempt (keeps I5) hf_commit_manifest     5 manifest hf_commit_look_again   6 own claim, adopted
 * claims, the parent's manifest are still there (keeps I4) (the caller)           7 catalog
 * COMPLETE, by compare-and-set; FAILED when 6 said LOST, then hf_commit_delete_manifest
 *   hf_commit_drop_claim   8 adopted claims, then the own one
 *
 * Every function may be called again after a lost answer. None writes the catalog.
 */
#ifndef HF_SNAPSHOT_COMMIT_H
#define HF_SNAPSHOT_COMMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/thread.h"
#include "format/claim.h"
#include "format/keyring.h"
#include "format/manifest.h"
#include "store/store.h"

struct hf_commit_next {
    struct hf_store *store;
    const struct hf_id *job;
    uint64_t known;     /* the catalog's highest; 0: none */
    struct hf_log *log; /* names claims that cannot be read; NULL: nowhere */
};
/* One above every number that the store shows for the job, and above the known one; well above while a claim hides its own. */
HF_MUST_CHECK enum hf_err hf_commit_next_capture(const struct hf_commit_next *next, uint64_t *out,
                                                 struct hf_error *err);

HF_MUST_CHECK enum hf_err hf_commit_claim(struct hf_store *store, const struct hf_claim *claim,
                                          struct hf_error *err);

struct hf_commit_check_options {
    struct hf_store *store;
    const struct hf_keyring *keyring;
    uint64_t capture;
    struct hf_id writer;
    const struct hf_adopted *adopted;
    size_t adopted_count;
    const struct hf_tree_root *root;
    const struct hf_tree_root *parent; /* NULL: a full capture */
    unsigned sample_one_in; /* every nth new object is read whole and its checksums compared; 0: 16;
                               the first always */
    struct hf_progress *progress;
    const struct hf_cancel *cancel;
};
struct hf_commit_check_result {
    uint64_t files, bytes;
    uint64_t blocks_parent, blocks_new, blocks_zero, nodes_new;
    uint64_t stored_bytes; /* of the new blocks and nodes */
    uint64_t blocks_healed;
};
/*
 * CORRUPT, naming file and address, for a reference that may not be there.
 * A block that came anew although the parent has the same content at the same place: where no copy of the parent's is
 * whole, the content is put again under its address, and every snapshot that uses it is whole at once.
 */
HF_MUST_CHECK enum hf_err hf_commit_check(const struct hf_commit_check_options *options,
                                          struct hf_commit_check_result *out, struct hf_error *err);

/* Encodes, seals and puts it. LOST when a void stands there (the attempt was given up), EXISTS when
 * another manifest does. */
HF_MUST_CHECK enum hf_err hf_commit_manifest(struct hf_store *store,
                                             const struct hf_keyring *keyring,
                                             struct hf_manifest *manifest, struct hf_error *err);

/* LOST, naming it, when a claim or the parent's manifest is gone. */
HF_MUST_CHECK enum hf_err hf_commit_look_again(struct hf_store *store,
                                               const struct hf_manifest *manifest,
                                               struct hf_error *err);

/* What is not there counts as dropped. */
HF_MUST_CHECK enum hf_err hf_commit_drop_claim(struct hf_store *store, const struct hf_id *job,
                                               const struct hf_id *writer, struct hf_error *err);

enum hf_give_up_outcome {
    HF_GIVEN_UP,        /* the void stands: catalog ABANDONED */
    HF_MANIFEST_STANDS, /* a manifest came first: look again and finish for it */
};
/* Any server may call it, even one wrong about who is dead. */
HF_MUST_CHECK enum hf_err hf_commit_give_up(struct hf_store *store, const struct hf_id *job,
                                            uint64_t capture, enum hf_give_up_outcome *out,
                                            struct hf_error *err);

/* For an attempt that FAILED: a manifest of it goes, durable on return; a void stays. */
HF_MUST_CHECK enum hf_err hf_commit_drop_failed(struct hf_store *store, const struct hf_id *job,
                                                uint64_t capture, struct hf_error *err);

/* The void of an attempt that was given up long ago goes, so that it is not listed for ever; a manifest stays. */
HF_MUST_CHECK enum hf_err hf_commit_drop_void(struct hf_store *store, const struct hf_id *job,
                                              uint64_t capture, struct hf_error *err);

/* Deletes a snapshot's manifest (or a void); durable on return. What is not there counts as
 * deleted. */
HF_MUST_CHECK enum hf_err hf_commit_delete_manifest(struct hf_store *store, const struct hf_id *job,
                                                    uint64_t capture, struct hf_error *err);

#endif
