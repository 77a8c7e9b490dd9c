/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From URLs and a key file to the chains of one job. Must not know what becomes of them.
 */
#include "cli/oplog_store.h"

#include "snapshot/list.h"

void hf_cli_oplog_close(struct hf_cli_oplog *oplog)
{
    hf_chains_fini(&oplog->chains);
    hf_slice_reader_destroy(oplog->reader);
    hf_store_close(oplog->own_oplog);
    hf_store_close(oplog->store);
    hf_keyring_wipe(&oplog->keyring);
    hf_store_key_wipe(&oplog->key);
}

struct hf_store *hf_cli_oplog_slices(const struct hf_cli_oplog *oplog)
{
    return oplog->own_oplog != NULL ? oplog->own_oplog : oplog->store;
}

enum hf_err hf_cli_oplog_open(const struct hf_cli_oplog_wish *wish, struct hf_cli_oplog *out,
                              struct hf_error *err)
{
    const struct hf_store_url_options url = {.url = wish->url, .read_only = true};
    const struct hf_store_url_options oplog_url = {.url = wish->oplog_url, .read_only = true};
    const struct hf_store_open_options open = {
        .key_file = wish->key_file[0] == '\0' ? NULL : wish->key_file};

    if (hf_store_open_url(&url, &out->store, err) != HF_ERR_OK ||
        hf_store_keys_open(out->store, &open, &out->mark, &out->key, err) != HF_ERR_OK) {
        return err->code;
    }
    return wish->oplog_url[0] == '\0' ? HF_ERR_OK
                                      : hf_store_open_url(&oplog_url, &out->own_oplog, err);
}

enum hf_err hf_cli_oplog_job(struct hf_cli_oplog *oplog, const char *job, struct hf_id *out,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_job_list_fini) struct hf_job_list jobs = {.count = 0};

    if (job[0] != '\0') {
        return hf_id_parse(hf_str_of(job), out)
                   ? HF_ERR_OK
                   : hf_fail(err, HF_ERR_INVALID, "'%s' is not an id: 24 hexadecimal digits are",
                             job);
    }
    if (hf_list_jobs(hf_cli_oplog_slices(oplog), &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    if (jobs.count != 1) {
        return hf_fail(err, jobs.count == 0 ? HF_ERR_NOT_FOUND : HF_ERR_INVALID,
                       jobs.count == 0 ? "the store has no job"
                                       : "the store has %zu jobs; hint: "
                                         "name one with --job",
                       jobs.count);
    }
    *out = jobs.jobs[0];
    return HF_ERR_OK;
}

enum hf_err hf_cli_oplog_keys(struct hf_cli_oplog *oplog, const struct hf_id *job,
                              struct hf_error *err)
{
    return hf_job_keys_load(oplog->store, &oplog->key, job, &oplog->keyring, err);
}

enum hf_err hf_cli_oplog_load(struct hf_cli_oplog *oplog, const struct hf_id *job,
                              struct hf_error *err)
{
    return hf_cli_oplog_keys(oplog, job, err) == HF_ERR_OK ? hf_cli_oplog_chains(oplog, err)
                                                           : err->code;
}

enum hf_err hf_cli_oplog_chains(struct hf_cli_oplog *oplog, struct hf_error *err)
{
    hf_chains_fini(&oplog->chains);
    if (oplog->reader == NULL && hf_slice_reader_create(hf_cli_oplog_slices(oplog), &oplog->keyring,
                                                        &oplog->reader, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_chains_options options = {.store = hf_cli_oplog_slices(oplog),
                                              .keyring = &oplog->keyring};
    return hf_chains_load(&options, &oplog->chains, err);
}
