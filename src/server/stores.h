/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stores of an installation, and which of them are a job's. Whoever needs a store asks here for that of the job at hand;
 * nobody else knows which is the first one. What lies in a store is not known here.
 *
 * Stores are documents of the catalog. A process opens one when it is needed; opened once it stays open until the server
 * ends, so that what is borrowed here stays valid as long. Each time one is asked for, its mark is looked at (once a second):
 * a store whose file system is not mounted is UNAVAILABLE then, and nothing is put into the empty directory.
 */
#ifndef HF_SERVER_STORES_H
#define HF_SERVER_STORES_H

#include "backup/store_record.h"
#include "format/keyring.h"
#include "format/storemark.h"
#include "format/wrapped.h"
#include "server/app.h"

#define HF_STORES_MAX 256

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

/* ---- Of a job ---- */

/* The snapshot store of that id. UNAVAILABLE, with its name and what to do, when it is not there now; NOT_FOUND: there is
 * none. */
HF_MUST_CHECK enum hf_err hf_stores_get(struct hf_server_app *app, const struct hf_id *store,
                                        struct hf_open_store *out, struct hf_error *err);
/* Where the job's slices go. */
HF_MUST_CHECK enum hf_err hf_stores_oplog_of(struct hf_server_app *app,
                                             const struct hf_job_record *job,
                                             struct hf_open_store *out, struct hf_error *err);
/* Both of a job; UNAVAILABLE when one of them is not there now. */
HF_MUST_CHECK enum hf_err hf_stores_of_job(struct hf_server_app *app,
                                           const struct hf_job_record *job,
                                           struct hf_job_stores *out, struct hf_error *err);
/* The same, the record read from the catalog: NOT_FOUND when there is no such job. */
HF_MUST_CHECK enum hf_err hf_stores_of_job_id(struct hf_server_app *app, const struct hf_id *job,
                                              struct hf_job_stores *out, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_stores_snapshots_of_job_id(struct hf_server_app *app,
                                                        const struct hf_id *job,
                                                        struct hf_open_store *out,
                                                        struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_stores_oplog_of_job_id(struct hf_server_app *app,
                                                    const struct hf_id *job,
                                                    struct hf_open_store *out,
                                                    struct hf_error *err);
/* Keys of the job out of that store. */
HF_MUST_CHECK enum hf_err hf_stores_load_keys(const struct hf_open_store *store,
                                              const struct hf_id *job, struct hf_keyring *out,
                                              struct hf_error *err);
/* Its snapshot store and its keys. */
HF_MUST_CHECK enum hf_err hf_stores_open_snapshots(struct hf_server_app *app,
                                                   const struct hf_id *job,
                                                   struct hf_open_store *out,
                                                   struct hf_keyring *keyring,
                                                   struct hf_error *err);
/* Its oplog store and its keys: out of the snapshot store, or, where that is away, out of the oplog store's copy. */
HF_MUST_CHECK enum hf_err hf_stores_open_oplog(struct hf_server_app *app, const struct hf_id *job,
                                               struct hf_open_store *out,
                                               struct hf_keyring *keyring, struct hf_error *err);
/* The oplog store has the job's keys from then on, locked with its own. */
HF_MUST_CHECK enum hf_err hf_stores_share_keys(const struct hf_job_stores *stores,
                                               const struct hf_id *job, struct hf_error *err);
/* Of a snapshot store; 1 where it is not known. */
uint64_t hf_stores_load_factor(struct hf_server_app *app, const struct hf_id *store);
/* For people; empty: it is not known, or the job has none. */
struct hf_stores_names {
    char snapshots[HF_STORE_NAME_BYTES], oplog[HF_STORE_NAME_BYTES];
};
struct hf_stores_names hf_stores_names(struct hf_server_app *app, const struct hf_id *store,
                                       const struct hf_id *oplog_store);
/* Whether what the job stores is encrypted; of a job that has no store yet: what the first store says. */
bool hf_stores_encrypt(struct hf_server_app *app, const struct hf_id *job);

/* ---- All of them ---- */

/* One as it is now. */
struct hf_store_view {
    struct hf_store_record record;
    struct hf_store
        *store; /* borrowed until the server ends; NULL: it is not there now, and `away` says why */
    char away[HF_RECORD_ERROR_BYTES];
    bool takes_oplog;                 /* slices go there */
    uint64_t free_bytes, total_bytes; /* of its disk; total 0: not known */
    uint64_t jobs;                    /* that it has */
    uint64_t used_bytes;              /* of their snapshots, as counted last */
};
struct hf_store_views {
    struct hf_store_view *items; /* owned: hf_free */
    size_t count;
};
void hf_store_views_fini(struct hf_store_views *views);
HF_CLEANUP_DEFINE_VALUE(hf_store_views_fini, struct hf_store_views)
/* Those of the catalog, by name, the first one first; each is looked at. with_jobs: the last two members are counted. */
HF_MUST_CHECK enum hf_err hf_stores_view(struct hf_server_app *app, bool with_jobs,
                                         struct hf_store_views *out, struct hf_error *err);
/* Those that are there now, of both kinds: where what an earlier life of a job left is looked for. */
HF_MUST_CHECK enum hf_err hf_stores_each_open(struct hf_server_app *app,
                                              struct hf_open_store out[HF_STORES_MAX],
                                              size_t *count, struct hf_error *err);

/* What alerts and metrics call it: "snapshots" and "oplog" are the first ones, the others have their names. */
const char *hf_stores_word(const struct hf_store_record *record);

/* ---- Start and end; stores_open.c ---- */

struct hf_stores_wish {
    const char *data_dir; /* borrowed until the server ends */
    struct hf_id installation;
    const char *url;       /* of the first store */
    const char *oplog_url; /* NULL: the slices of the first store's jobs lie beside the snapshots */
    bool plain;            /* a new first store is made without encryption */
};
/*
 * Makes, or opens, the first stores, and opens those of the catalog. One that is not there keeps no server from starting, but
 * for one that was never there. *news gets text about what was made. CONFLICT for a store of another kind or installation.
 */
HF_MUST_CHECK enum hf_err hf_stores_open(struct hf_server_app *app,
                                         const struct hf_stores_wish *wish, struct hf_buf *news,
                                         struct hf_error *err);
void hf_stores_close(struct hf_server_app *app);

/* ---- Changes by hand; stores_admin.c ---- */

struct hf_stores_add {
    struct hf_store_record record; /* id, encrypted, key_file and created_s are found */
    bool plain;                    /* a new one is made without encryption */
};
/* Makes a store at the URL, or takes up one that this installation made before, and writes it down. *key_path (hf_free): of a
 * key that was made; NULL: none was. EXISTS for a name or URL that is taken, UNSUPPORTED for a kind that there is not. */
HF_MUST_CHECK enum hf_err hf_stores_add(struct hf_server_app *app, const struct hf_stores_add *wish,
                                        struct hf_store_record *out, char **key_path,
                                        struct hf_error *err);
/* NULL: stays as it is. */
struct hf_stores_change {
    const char *url; /* where it lies now: it was moved there with all that is in it */
    const struct hf_store_words *labels;
    const uint64_t *load_factor, *max_capacity_bytes;
    const bool *closed;
};
/* CONFLICT when what lies at the URL is another store. */
HF_MUST_CHECK enum hf_err hf_stores_set(struct hf_server_app *app, const char *name,
                                        const struct hf_stores_change *change,
                                        struct hf_store_record *out, struct hf_error *err);
/* The catalog forgets it; what lies in it stays. CONFLICT, naming it, while a job, a snapshot or a project's filter needs
 * it, and for the first ones. */
HF_MUST_CHECK enum hf_err hf_stores_remove(struct hf_server_app *app, const char *name,
                                           struct hf_error *err);

/* ---- Which ones a new job is given; stores_assign.c ---- */

/* None where the project has none. */
HF_MUST_CHECK enum hf_err hf_stores_assignment_get(struct hf_server_app *app,
                                                   const struct hf_id *project,
                                                   struct hf_assignment_record *out,
                                                   struct hf_error *err);
/* NOT_FOUND for a store that there is not, CONFLICT for a label that is on no store of a kind. */
HF_MUST_CHECK enum hf_err hf_stores_assignment_put(struct hf_server_app *app,
                                                   const struct hf_assignment_record *record,
                                                   struct hf_error *err);
/* Chooses both stores, by labels, filters, load factors and room; need_bytes 0: not known. Into the record, with the
 * reasons. As hf_assign_choose. */
HF_MUST_CHECK enum hf_err hf_stores_assign(struct hf_server_app *app, struct hf_job_record *job,
                                           uint64_t need_bytes, struct hf_error *err);

#endif
