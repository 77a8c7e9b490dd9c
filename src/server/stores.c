/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which stores are a job's.
 */
#include "server/stores.h"

#include "server/keep.h"
#include "snapshot/keys.h"

static struct hf_open_store first_store(struct hf_server_app *app, struct hf_store *store)
{
    return (struct hf_open_store){
        .name = "default", .store = store, .mark = &app->mark, .key = &app->key};
}

enum hf_err hf_stores_get(struct hf_server_app *app, const struct hf_id *store,
                          struct hf_open_store *out, struct hf_error *err)
{
    (void)store;
    (void)err;
    *out = first_store(app, app->store);
    return HF_ERR_OK;
}

enum hf_err hf_stores_of_job(struct hf_server_app *app, const struct hf_job_record *job,
                             struct hf_job_stores *out, struct hf_error *err)
{
    if (hf_stores_get(app, &job->store, &out->snapshots, err) != HF_ERR_OK) {
        return err->code;
    }
    out->oplog = first_store(app, app->oplog_store);
    return HF_ERR_OK;
}

enum hf_err hf_stores_of_job_id(struct hf_server_app *app, const struct hf_id *job,
                                struct hf_job_stores *out, struct hf_error *err)
{
    struct hf_job_record record = {.store = {{0}}};

    (void)job;
    return hf_stores_of_job(app, &record, out, err);
}

enum hf_err hf_stores_load_keys(const struct hf_open_store *store, const struct hf_id *job,
                                struct hf_keyring *out, struct hf_error *err)
{
    return hf_job_keys_load(store->store, store->key, job, out, err);
}

enum hf_err hf_stores_open_job(struct hf_server_app *app, const struct hf_id *job,
                               struct hf_job_stores *out, struct hf_keyring *keyring,
                               struct hf_error *err)
{
    return hf_stores_of_job_id(app, job, out, err) == HF_ERR_OK
               ? hf_stores_load_keys(&out->snapshots, job, keyring, err)
               : err->code;
}

bool hf_stores_encrypt(struct hf_server_app *app, const struct hf_id *job)
{
    struct hf_job_stores at;
    struct hf_error ignored;

    return hf_stores_of_job_id(app, job, &at, &ignored) == HF_ERR_OK ? at.snapshots.mark->encrypted
                                                                     : app->mark.encrypted;
}
