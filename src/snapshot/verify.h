/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verification (store-format.md section 7): what is wrong, with block, file and snapshot named.
 */
#ifndef HF_SNAPSHOT_VERIFY_H
#define HF_SNAPSHOT_VERIFY_H

#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "base/thread.h"
#include "format/manifest.h"
#include "format/wrapped.h"
#include "store/store.h"

enum hf_verify_level {
    HF_VERIFY_REFERENCES, /* every reachable block stands in a footer */
    HF_VERIFY_STORED,  /* and its stored bytes are intact (the content needs no key, the tree does)
                        */
    HF_VERIFY_CONTENT, /* and decrypts, decompresses and has its hash */
};

struct hf_damage {
    uint64_t capture; /* of the snapshot; 0: an object that was read for itself */
    struct hf_id job;
    struct hf_id snapshot;
    char *object;    /* owned; name, or empty */
    char *path;      /* owned; file, or empty (a list, a manifest, an object) */
    uint64_t offset; /* of the block in the file */
    struct hf_address address;
    enum hf_err code;
    char *message; /* owned */
};

#define HF_DAMAGE_KEPT_MAX 1000
struct hf_verify_report {
    uint64_t snapshots, files, blocks,
        bytes;        /* looked at; blocks shared by snapshots count once in hf_verify_store */
    uint64_t objects; /* read whole, by hf_verify_store */
    uint64_t damage_count;
    struct hf_damage *damages; /* owned; the first HF_DAMAGE_KEPT_MAX */
    size_t kept_count;
};
void hf_verify_report_fini(struct hf_verify_report *report);
HF_CLEANUP_DEFINE_VALUE(hf_verify_report_fini, struct hf_verify_report)

struct hf_verify_options {
    struct hf_store *store;
    enum hf_verify_level level;
    unsigned workers; /* 0: one a core */
    /* Sampling: of the blocks of files, those of one pack in `one_in` are looked at as the level says, of the others only
     * whether they stand in a footer. Shares 0 to one_in - 1 together are all. 0 and 1: all. */
    unsigned one_in, share;
    struct hf_progress *progress;
    const struct hf_cancel *cancel;
};
/*
 * OK with damage_count 0: all is well. Damage is no error of the call: it is reported. An error is
 * what kept it from looking (cancelled, store unreachable, no memory).
 */
HF_MUST_CHECK enum hf_err hf_verify_snapshot(const struct hf_verify_options *options,
                                             const struct hf_keyring *keyring,
                                             const struct hf_manifest *manifest,
                                             struct hf_verify_report *out, struct hf_error *err);
/*
 * All snapshots of one job, blocks that they share once. on_snapshot hears of each, in ascending order: how many damages
 * touch it, and the first of them (NULL: none), which stays with the report. Manifests that cannot be read count too.
 */
struct hf_verify_job_options {
    struct hf_verify_options verify;
    const struct hf_keyring *keyring;
    enum hf_err (*on_snapshot)(void *context, uint64_t capture, uint64_t damages,
                               const struct hf_damage *first, struct hf_error *err);
    void *context;
};
HF_MUST_CHECK enum hf_err hf_verify_job(const struct hf_verify_job_options *options,
                                        struct hf_verify_report *out, struct hf_error *err);
/*
 * All objects (headers, footers, checksums of stored bytes: without a key) at level STORED and
 * above, and all snapshots of all jobs whose keys open. store_key NULL: only what needs none, for
 * an encrypted store.
 */
HF_MUST_CHECK enum hf_err hf_verify_store(const struct hf_verify_options *options,
                                          const struct hf_store_key *store_key,
                                          struct hf_verify_report *out, struct hf_error *err);

#endif
