/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where blocks lie: the ascending list of a job's objects, and the footers used last (store-format.md section 2, I10).
 * Any thread may call.
 */
#ifndef HF_SNAPSHOT_FINDER_H
#define HF_SNAPSHOT_FINDER_H

#include "base/error.h"
#include "format/pack.h"
#include "snapshot/object_cache.h"
#include "snapshot/tree.h"
#include "store/store.h"

struct hf_finder;

struct hf_finder_options {
    struct hf_store *store;        /* borrowed: outlives the finder */
    struct hf_object_cache *cache; /* borrowed: outlives the finder */
    struct hf_id job;
    size_t footers_max_bytes;
};
HF_MUST_CHECK enum hf_err hf_finder_create(const struct hf_finder_options *options,
                                           struct hf_finder **out, struct hf_error *err);
void hf_finder_destroy(struct hf_finder *finder);
HF_CLEANUP_DEFINE(hf_finder_destroy, struct hf_finder *)

/* Makes a list that began after this call (or shares one that another thread begins after it). */
HF_MUST_CHECK enum hf_err hf_finder_refresh(struct hf_finder *finder, struct hf_error *err);

struct hf_find {
    struct hf_address address;
    enum hf_object_kind first;  /* HF_OBJECT_DATA or HF_OBJECT_TREE: where to look first */
    const struct hf_id *writer; /* NULL: of any */
    unsigned candidate;
};
/* NOT_FOUND past the last candidate; the list is not made anew. CORRUPT when a footer that could hold it is damaged and
 * no other object has it. */
HF_MUST_CHECK enum hf_err hf_finder_find(struct hf_finder *finder, const struct hf_find *find,
                                         struct hf_found_block *out, struct hf_error *err);

#endif
