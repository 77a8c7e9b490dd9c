/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a store and the keys of its jobs (store-format.md section 9). Knows where a mark and
 * wrapped keys lie; what they protect is not known here.
 */
#ifndef HF_SNAPSHOT_KEYS_H
#define HF_SNAPSHOT_KEYS_H

#include <stdbool.h>

#include "base/error.h"
#include "format/ids.h"
#include "format/keyring.h"
#include "format/storemark.h"
#include "format/wrapped.h"
#include "store/store.h"

struct hf_store_create_options {
    struct hf_id installation;
    bool plain;         /* without encryption: no key file is written */
    struct hf_id store; /* of a plain one that is made anew; none: drawn */
    bool oplog_only;    /* for slices alone, with an id and a key of its own */
    /* Where the key file is written (mode 0600). One that lies there is taken: a start died before the mark. */
    const char *key_file;
    uint64_t now_s;
};
/* Makes an empty store ours: key file first, then mark of epoch 1. EXISTS when a mark stands there.
 */
HF_MUST_CHECK enum hf_err hf_store_keys_create(struct hf_store *store,
                                               const struct hf_store_create_options *options,
                                               struct hf_storemark *mark, struct hf_store_key *key,
                                               struct hf_error *err);

/*
 * A store for slices alone, beside the snapshot store whose mark is given: the same id, so that the same key file opens
 * it, and the feature that keeps it from being taken for the other. EXISTS when a mark stands there.
 */
HF_MUST_CHECK enum hf_err hf_store_keys_create_oplog(struct hf_store *store,
                                                     const struct hf_storemark *of, uint64_t now_s,
                                                     struct hf_storemark *mark,
                                                     struct hf_error *err);

struct hf_store_open_options {
    /* NULL: none is at hand; DENIED (with a hint) when the store is encrypted. */
    const char *key_file;
    bool key_optional; /* an encrypted store opens without a key too: key is zero then */
};
/* Reads the mark with the highest epoch. NOT_FOUND when the store has none. key is zero for a plain
 * store. */
HF_MUST_CHECK enum hf_err hf_store_keys_open(struct hf_store *store,
                                             const struct hf_store_open_options *options,
                                             struct hf_storemark *mark, struct hf_store_key *key,
                                             struct hf_error *err);

/* Makes a job's keys and puts them, wrapped, into the store. EXISTS when the job has keys there. */
HF_MUST_CHECK enum hf_err hf_job_keys_create(struct hf_store *store,
                                             const struct hf_storemark *mark,
                                             const struct hf_store_key *key,
                                             const struct hf_id *job, struct hf_keyring *out,
                                             struct hf_error *err);
/* Puts the job's wrapped keys, as they lie in one store, into another of the same id; those that are there stay. */
HF_MUST_CHECK enum hf_err hf_job_keys_copy(struct hf_store *from, struct hf_store *to,
                                           const struct hf_id *job, struct hf_error *err);
/* The same keys, which another store has, wrapped for this one too. OK when it has keys of the job. INVALID where one store is
 * encrypted and the other is not. */
HF_MUST_CHECK enum hf_err hf_job_keys_put(struct hf_store *store, const struct hf_storemark *mark,
                                          const struct hf_store_key *key,
                                          const struct hf_keyring *ring, struct hf_error *err);
/* The newest keys of a job that this key opens. NOT_FOUND when the job has none. */
HF_MUST_CHECK enum hf_err hf_job_keys_load(struct hf_store *store, const struct hf_store_key *key,
                                           const struct hf_id *job, struct hf_keyring *out,
                                           struct hf_error *err);

#endif
