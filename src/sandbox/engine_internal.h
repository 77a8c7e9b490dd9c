/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine's files share. Locks, in the order in which they may be taken: the oplog's lock
 * (as a token that a transaction carries), checkpoint, flush, catalog, state.
 */
#ifndef HF_SANDBOX_ENGINE_INTERNAL_H
#define HF_SANDBOX_ENGINE_INTERNAL_H

#include <wiredtiger.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "sandbox/engine.h"

#define HF_SANDBOX_OPLOG_NS "local.oplog.rs"
#define HF_SANDBOX_CATALOG "_mdb_catalog" /* its rows lie under the names of the collections */
#define HF_SANDBOX_SIZES "sizeStorer"     /* fast counts by ident */

/* A file that is to go, once no recovery can need it any more. */
struct hf_sandbox_drop {
    char ident[HF_SANDBOX_IDENT_BYTES];
    uint64_t ts; /* once the stable checkpoint is past this; 0: after any checkpoint */
};

struct hf_sandbox_txn {
    struct hf_sandbox_engine *engine;
    WT_SESSION *session;
    bool write, replicated, holds_oplog;
    bool multi;  /* of a session: takes no lock, gathers what it logs */
    bool pinned; /* its collections */
    size_t op_count;
    bson_t **ops;         /* owned, and each of them: what it gathered */
    bool no_trim;         /* recovery: capped collections keep what falls out */
    int64_t catalog_seen; /* engine->catalog_version at the begin */
    bool catalog_changed;
    struct hf_sandbox_optime last; /* of the last entry */
    int64_t last_wall;
    size_t coll_count;
    struct hf_sandbox_coll **colls; /* owned: what it has looked up or made */
    size_t drop_count;
    struct hf_sandbox_drop *drops;
    bson_t *duplicate; /* owned; NULL: none */
};

struct hf_sandbox_backup {
    bool open;
    uint8_t id[HF_SANDBOX_UUID_BYTES];
    WT_SESSION *session;
    WT_CURSOR *cursor;
    uint64_t pinned_ts; /* the oplog is kept from here */
    bson_t *names;      /* owned: its fields; of incremental backups of this process; may be NULL */
};

struct hf_sandbox_engine {
    struct hf_sandbox_engine_options options; /* dbpath: owned below */
    char *dbpath;                             /* absolute */
    WT_CONNECTION *connection;
    WT_EVENT_HANDLER events;
    struct hf_lock_file *lock; /* mongod.lock */
    struct hf_log *log;
    char ident_suffix[24];
    atomic_int_fast64_t next_ident;
    atomic_int_fast64_t catalog_version; /* grows with each change that is committed */
    bool read_only;
    struct hf_thread *keeper;
    struct hf_cancel stopping;

    struct hf_mutex checkpoint;      /* one at a time; also held while a backup opens */
    struct hf_sandbox_backup backup; /* guarded by checkpoint */
    struct hf_mutex flush;           /* one at a time; guards: flush_done */
    uint64_t flush_done;             /* of flush_asked, how many are served */

    struct hf_mutex catalog; /* guards: tables, drops */
    struct hf_sandbox_table **tables;
    size_t table_count;
    struct hf_sandbox_drop *drops;
    size_t drop_count;

    struct hf_mutex state; /* guards all below */
    struct hf_cond changed;
    bool oplog_held;
    bool accepts_writes; /* primary, or no replication */
    int64_t term;
    struct hf_sandbox_optime applied, durable, majority;
    int64_t applied_wall; /* `wall` of the last entry */
    uint64_t reserved_ts; /* the highest time that was given away */
    uint64_t flush_asked;
    uint64_t stable_ts, checkpoint_ts;
    uint64_t pinned_ts, pinned_until_ms; /* the past from then on is kept so long */
    int64_t fsync_locks, writers;
    WT_SESSION **sessions; /* idle ones */
    size_t session_count;
};

/* For results that change nothing: a second failure while cleaning up, or one that *err tells. */
static inline void hf_sandbox_ignore(enum hf_err result)
{
    (void)result;
}

/* A new element, zeroed, of an array that is kept with its count: *HF_SANDBOX_PUSH(list, n) = x. */
#define HF_SANDBOX_PUSH(array, count)                                                              \
    ((array) = hf_sandbox_grow(array, count, sizeof *(array)), &(array)[(count)++])
void *hf_sandbox_grow(void *array, size_t count, size_t size);

/* ---- engine.c ---- */
/* WiredTiger's code as ours: CONFLICT for a rollback, EXISTS for a duplicate, ..; OK for 0. */
enum hf_err hf_sandbox_wt(struct hf_error *err, int code, const char *what);
enum hf_err hf_sandbox_session_take(struct hf_sandbox_engine *engine, WT_SESSION **out,
                                    struct hf_error *err);
void hf_sandbox_session_give(struct hf_sandbox_engine *engine, WT_SESSION *session);
/* Lets writes in (primary) or keeps them out; waits for the transaction that holds the oplog. */
void hf_sandbox_engine_set_role(struct hf_sandbox_engine *engine, bool accepts_writes,
                                int64_t term);
/* What a majority has: moves the stable time, never back. */
void hf_sandbox_engine_set_majority(struct hf_sandbox_engine *engine,
                                    struct hf_sandbox_optime majority);
/* The start of a new history. */
HF_MUST_CHECK enum hf_err hf_sandbox_engine_set_stable(struct hf_sandbox_engine *engine,
                                                       uint64_t ts, struct hf_error *err);
/* Keeps the past from that time on readable for a minute. */
void hf_sandbox_engine_pin(struct hf_sandbox_engine *engine, uint64_t ts);

/* ---- catalog.c ---- */
/* Makes it where it is missing; tables that a standalone made become a member's. */
HF_MUST_CHECK enum hf_err hf_sandbox_catalog_load(struct hf_sandbox_engine *engine,
                                                  struct hf_error *err);
void hf_sandbox_catalog_fini(struct hf_sandbox_engine *engine);
void hf_sandbox_coll_destroy(struct hf_sandbox_coll *coll);
/* Fast counts of all collections into sizeStorer. */
HF_MUST_CHECK enum hf_err hf_sandbox_sizes_store(struct hf_sandbox_engine *engine,
                                                 struct hf_error *err);
/* After a checkpoint that began when there were `count` drops: removes what nobody needs. */
void hf_sandbox_drop_pending(struct hf_sandbox_engine *engine, size_t count);

/* ---- txn.c ---- */
/* Options of transactions that have no more to say. */
#define HF_SANDBOX_READS (&(const struct hf_sandbox_txn_options){.write = false})
#define HF_SANDBOX_WRITES_AS(who) (&(const struct hf_sandbox_txn_options){(who), .write = true})
/* Takes the oplog's lock, if it is not held yet; DENIED when this node may not write. */
HF_MUST_CHECK enum hf_err hf_sandbox_txn_hold(struct hf_sandbox_txn *txn, struct hf_error *err);
/* All that follows gets the time of this entry {ts, t, wall, ..}. */
HF_MUST_CHECK enum hf_err hf_sandbox_txn_stamp(struct hf_sandbox_txn *txn, const bson_t *entry,
                                               struct hf_error *err);

/* ---- table.c: bytes by key; documents by record ---- */
#define HF_SANDBOX_RECORD_BYTES 8
/* Big end first. */
void hf_sandbox_put_record(uint8_t out[HF_SANDBOX_RECORD_BYTES], int64_t record);
int64_t hf_sandbox_load_record(const WT_ITEM *item);
int hf_sandbox_table_open(WT_SESSION *session, const char *ident, const char *config,
                          WT_CURSOR **out);
/* Without overwrite WT_DUPLICATE_KEY when the key is there. */
int hf_sandbox_table_put(WT_SESSION *session, const char *ident, struct hf_bytes key,
                         struct hf_bytes value, bool overwrite);
/* WT_NOTFOUND when it is not there. */
int hf_sandbox_table_remove(WT_SESSION *session, const char *ident, struct hf_bytes key);
/* *out is a copy of the value, which is a document; the caller's; NULL when it is not there. */
int hf_sandbox_table_get(WT_SESSION *session, const char *ident, struct hf_bytes key, bson_t **out);
/* Adds the documents' keys to an index. */
HF_MUST_CHECK enum hf_err hf_sandbox_index_build(struct hf_sandbox_txn *txn,
                                                 struct hf_sandbox_coll *coll,
                                                 const struct hf_sandbox_index *index,
                                                 struct hf_error *err);

/* ---- oplog.c ---- */
HF_MUST_CHECK enum hf_err hf_sandbox_oplog_create(struct hf_sandbox_engine *engine,
                                                  struct hf_error *err);
/* Finds the newest entry and sets applied by it. */
HF_MUST_CHECK enum hf_err hf_sandbox_oplog_load_top(struct hf_sandbox_engine *engine,
                                                    struct hf_error *err);
/* Removes all entries after ts, and moves applied back. CORRUPT when none is at it or below. */
HF_MUST_CHECK enum hf_err hf_sandbox_oplog_cut(struct hf_sandbox_engine *engine, uint64_t ts,
                                               struct hf_error *err);
/* Lets the oldest entries go beyond the cap, but none that a recovery or a backup needs. */
HF_MUST_CHECK enum hf_err hf_sandbox_oplog_keep_cap(struct hf_sandbox_engine *engine,
                                                    struct hf_error *err);
/* Stamps the transaction with the entry's time, and appends it. */
HF_MUST_CHECK enum hf_err hf_sandbox_oplog_put(struct hf_sandbox_txn *txn, const bson_t *entry,
                                               struct hf_error *err);

/* ---- local.c: single documents of database local ---- */
/* The first document or the last one; *doc is the caller's, NULL: none (or no such collection). */
HF_MUST_CHECK enum hf_err hf_sandbox_local_get(struct hf_sandbox_engine *engine, const char *ns,
                                               bool last, bson_t **doc, struct hf_error *err);
/* Sets the fields after _id; an _id that is there stays, a new one is an ObjectId (or id, when not
 * NULL). Within txn when given, else at once, and the collection is made when missing. */
HF_MUST_CHECK enum hf_err hf_sandbox_local_set(struct hf_sandbox_engine *engine,
                                               struct hf_sandbox_txn *txn, const char *ns,
                                               const bson_value_t *id, const bson_t *fields,
                                               struct hf_error *err);
/* Creates an empty local collection; options may be NULL. Nothing when it is there. */
HF_MUST_CHECK enum hf_err hf_sandbox_local_create(struct hf_sandbox_engine *engine, const char *ns,
                                                  const bson_t *options, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_sandbox_local_set_truncate_after(struct hf_sandbox_engine *engine,
                                                              uint64_t ts, struct hf_error *err);
/* Within txn: applied through; begin 0: left out. */
HF_MUST_CHECK enum hf_err hf_sandbox_local_set_min_valid(struct hf_sandbox_engine *engine,
                                                         struct hf_sandbox_txn *txn,
                                                         struct hf_sandbox_optime valid,
                                                         struct hf_sandbox_optime begin,
                                                         struct hf_error *err);

/* ---- apply.c ---- */
/* What an entry of a session leaves in config.transactions, which is in no oplog: each member makes
 * it. */
HF_MUST_CHECK enum hf_err hf_sandbox_note_session(struct hf_sandbox_txn *txn, const bson_t *entry,
                                                  struct hf_error *err);

/* The first entry of the oldest transaction that is prepared and not ended; UINT64_MAX: none. */
HF_MUST_CHECK enum hf_err hf_sandbox_prepared_since(struct hf_sandbox_txn *txn, uint64_t *ts,
                                                    struct hf_error *err);

/* ---- recover.c ---- */
HF_MUST_CHECK enum hf_err hf_sandbox_recover(struct hf_sandbox_engine *engine,
                                             struct hf_error *err);

#endif
