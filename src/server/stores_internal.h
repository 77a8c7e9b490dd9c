/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of stores that this process knows, for siblings.
 */
#ifndef HF_SERVER_STORES_INTERNAL_H
#define HF_SERVER_STORES_INTERNAL_H

#include "base/thread.h"
#include "server/stores.h"

/* One store; made once, there until the server ends. What is not `record`, `gone` and `seen_ms` is set once, by whoever
 * opened it first, and read without the mutex once `store` was seen. */
struct hf_known_store {
    char name[HF_STORE_NAME_BYTES]; /* the record's */
    struct hf_store_record record;
    bool gone;              /* it was removed from the catalog */
    uint64_t seen_ms;       /* monotonic: when its mark was seen last */
    struct hf_store *store; /* owned; NULL: it could not be opened yet */
    struct hf_storemark mark;
    struct hf_store_key key;
    char mark_name[HF_OBJECT_NAME_BYTES];
};

struct hf_store_registry {
    struct hf_mutex mutex; /* guards: all below but data_dir and installation */
    struct hf_known_store *entries[HF_STORES_MAX]; /* owned */
    size_t count;
    const char *data_dir; /* borrowed */
    struct hf_id installation;
};

/* Reads what stands in the catalog: new stores are known then, removed ones are no longer found. */
HF_MUST_CHECK enum hf_err hf_stores_refresh(struct hf_server_app *app, struct hf_error *err);
/* Makes it known; an entry of that name and id gets the new record. LIMIT for too many. */
HF_MUST_CHECK enum hf_err hf_stores_note(struct hf_server_app *app,
                                         const struct hf_store_record *record,
                                         struct hf_known_store **out, struct hf_error *err);
/* Path of the record's key file; NULL on no memory. The caller's: hf_free. */
HF_MUST_CHECK char *hf_stores_key_path(const struct hf_server_app *app,
                                       const struct hf_store_record *record);
/* What lies at the record's URL is the record's store: CONFLICT else. */
HF_MUST_CHECK enum hf_err hf_stores_check_mark(const struct hf_server_app *app,
                                               const struct hf_store_record *record,
                                               const struct hf_storemark *mark,
                                               struct hf_error *err);
/* An open store becomes the entry's, unless another thread was first: it is closed then. */
void hf_stores_publish_take(struct hf_server_app *app, struct hf_known_store *entry,
                            struct hf_store *store, const struct hf_storemark *mark,
                            const struct hf_store_key *key);
/* The store with that name, as the catalog has it; its revision. NOT_FOUND, naming it. */
HF_MUST_CHECK enum hf_err hf_stores_record_get(struct hf_server_app *app, const char *name,
                                               struct hf_store_record *out, uint64_t *revision,
                                               struct hf_error *err);

#endif
