/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store holds, with no catalog: its jobs, and the manifests of a job.
 */
#ifndef HF_SNAPSHOT_LIST_H
#define HF_SNAPSHOT_LIST_H

#include <stdint.h>

#include "base/error.h"
#include "format/manifest.h"
#include "format/wrapped.h"
#include "store/store.h"

struct hf_job_list {
    struct hf_id *jobs; /* owned, ascending */
    size_t count;
};
void hf_job_list_fini(struct hf_job_list *list);
HF_CLEANUP_DEFINE_VALUE(hf_job_list_fini, struct hf_job_list)
HF_MUST_CHECK enum hf_err hf_list_jobs(struct hf_store *store, struct hf_job_list *out,
                                       struct hf_error *err);

struct hf_capture_list {
    uint64_t *captures; /* owned, ascending; voids included */
    size_t count;
};
void hf_capture_list_fini(struct hf_capture_list *list);
HF_CLEANUP_DEFINE_VALUE(hf_capture_list_fini, struct hf_capture_list)
HF_MUST_CHECK enum hf_err hf_list_captures(struct hf_store *store, const struct hf_id *job,
                                           struct hf_capture_list *out, struct hf_error *err);

/* One manifest; keyring may be NULL (see hf_manifest_decode). CORRUPT when it says another job or
 * number. */
HF_MUST_CHECK enum hf_err hf_list_read_manifest(struct hf_store *store, const struct hf_id *job,
                                                uint64_t capture, const struct hf_keyring *keyring,
                                                struct hf_manifest *out,
                                                struct hf_manifest_read *read,
                                                struct hf_error *err);

/* A snapshot as a list shows it. A manifest that cannot be read is listed with its error. */
struct hf_listed_snapshot {
    struct hf_manifest manifest; /* owned parts; job and capture only, when code is not OK */
    enum hf_seal_state seal_state;
    enum hf_err code;
    char problem[256];
};
struct hf_snapshot_list {
    struct hf_listed_snapshot *items; /* owned; by job, then capture; voids left out */
    size_t count;
};
void hf_snapshot_list_fini(struct hf_snapshot_list *list);
HF_CLEANUP_DEFINE_VALUE(hf_snapshot_list_fini, struct hf_snapshot_list)
/* store_key NULL: keyed seals are not checked. job NULL: of all jobs. The roots are left out unless
 * with_roots. */
struct hf_list_options {
    struct hf_store *store;
    const struct hf_store_key *store_key;
    const struct hf_id *job;
    bool with_roots;
    size_t max; /* 0: 1,000,000; LIMIT beyond */
};
HF_MUST_CHECK enum hf_err hf_list_snapshots(const struct hf_list_options *options,
                                            struct hf_snapshot_list *out, struct hf_error *err);
/* The snapshot with that id (any job): its first part. NOT_FOUND names it. */
HF_MUST_CHECK enum hf_err hf_list_find_snapshot(struct hf_store *store,
                                                const struct hf_store_key *store_key,
                                                const struct hf_id *snapshot,
                                                struct hf_manifest *out, struct hf_error *err);

#endif
