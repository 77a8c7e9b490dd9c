/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stores of an installation, and which of them are a job's. Whoever needs a store asks here for that of the job at hand;
 * nobody else knows which is the first one. What lies in a store is not known here.
 *
 * A store that was opened stays open until the server ends, so what is borrowed here stays valid as long.
 */
#ifndef HF_SERVER_STORES_H
#define HF_SERVER_STORES_H

#include "backup/records.h"
#include "format/storemark.h"
#include "format/wrapped.h"
#include "server/app.h"

/* All borrowed until the server ends. */
struct hf_open_store {
    const char *name;
    struct hf_store *store;
    const struct hf_storemark *mark;
    const struct hf_store_key *key; /* zero for a store without encryption */
};
struct hf_job_stores {
    struct hf_open_store snapshots;
    struct hf_open_store oplog; /* the same where the slices lie beside the snapshots */
};

/* The snapshot store of that id. UNAVAILABLE, with its name and what to do, when it is not there now. */
HF_MUST_CHECK enum hf_err hf_stores_get(struct hf_server_app *app, const struct hf_id *store,
                                        struct hf_open_store *out, struct hf_error *err);
/* Those of a job; UNAVAILABLE when one of them is not there now. */
HF_MUST_CHECK enum hf_err hf_stores_of_job(struct hf_server_app *app,
                                           const struct hf_job_record *job,
                                           struct hf_job_stores *out, struct hf_error *err);
/* The same, the record read from the catalog: NOT_FOUND when there is no such job. */
HF_MUST_CHECK enum hf_err hf_stores_of_job_id(struct hf_server_app *app, const struct hf_id *job,
                                              struct hf_job_stores *out, struct hf_error *err);
/* Its stores, and its keys out of the snapshot store. */
HF_MUST_CHECK enum hf_err hf_stores_open_job(struct hf_server_app *app, const struct hf_id *job,
                                             struct hf_job_stores *out, struct hf_keyring *keyring,
                                             struct hf_error *err);
/* Keys of the job out of that store. */
HF_MUST_CHECK enum hf_err hf_stores_load_keys(const struct hf_open_store *store,
                                              const struct hf_id *job, struct hf_keyring *out,
                                              struct hf_error *err);
/* Whether what the job stores is encrypted; of a job that has no store yet: what the first store says. */
bool hf_stores_encrypt(struct hf_server_app *app, const struct hf_id *job);

#endif
