/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job's oplog in a store, opened with no server: for the commands that look at it or replay it.
 */
#ifndef HF_CLI_OPLOG_STORE_H
#define HF_CLI_OPLOG_STORE_H

#include "format/keyring.h"
#include "oplog/chain.h"
#include "snapshot/keys.h"
#include "store/store.h"

struct hf_cli_oplog_wish {
    const char *url;       /* of the snapshots and keys */
    const char *oplog_url; /* of the slices; "": the same */
    const char *key_file;  /* "": none */
    const char *job;       /* "": the only one that has an oplog */
};
struct hf_cli_oplog {
    struct hf_store *store, *own_oplog; /* owned; own_oplog NULL: the slices lie in store */
    struct hf_storemark mark;
    struct hf_store_key key;
    struct hf_keyring keyring;      /* of the job */
    struct hf_slice_reader *reader; /* owned */
    struct hf_chains chains;
};
void hf_cli_oplog_close(struct hf_cli_oplog *oplog);
HF_CLEANUP_DEFINE_VALUE(hf_cli_oplog_close, struct hf_cli_oplog)
/* Opens the stores. */
HF_MUST_CHECK enum hf_err hf_cli_oplog_open(const struct hf_cli_oplog_wish *wish,
                                            struct hf_cli_oplog *out, struct hf_error *err);
/* Where the slices lie. */
struct hf_store *hf_cli_oplog_slices(const struct hf_cli_oplog *oplog);
/* The job's keys. */
HF_MUST_CHECK enum hf_err hf_cli_oplog_keys(struct hf_cli_oplog *oplog, const struct hf_id *job,
                                            struct hf_error *err);
/* With the keys: slices and chains, anew. */
HF_MUST_CHECK enum hf_err hf_cli_oplog_chains(struct hf_cli_oplog *oplog, struct hf_error *err);
/* Then keys, slices and chains of that job. */
HF_MUST_CHECK enum hf_err hf_cli_oplog_load(struct hf_cli_oplog *oplog, const struct hf_id *job,
                                            struct hf_error *err);
/* The job that is wished, or the only one. NOT_FOUND: none; INVALID: several, which are named. */
HF_MUST_CHECK enum hf_err hf_cli_oplog_job(struct hf_cli_oplog *oplog, const char *job,
                                           struct hf_id *out, struct hf_error *err);

/* A line of `job show`: when its oplog was checked, and how that ended. NULL: nothing. */
void hf_cli_print_checked(const struct hf_json *check);

#endif
