/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine's files share. Locks, in the order in which they may be taken: the oplog's lock (as a token that a
 * transaction carries), checkpoint, catalog, state. The token is no mutex: a transaction may move between threads.
 */
#ifndef HF_SANDBOX_ENGINE_INTERNAL_H
#define HF_SANDBOX_ENGINE_INTERNAL_H

#include <stdatomic.h>
#include <wiredtiger.h>

#include "base/alloc.h"
#include "sandbox/engine.h"
#include "sandbox/match.h"

#define HF_SANDBOX_IDENT_BYTES 64
#define HF_SANDBOX_OPLOG_NS "local.oplog.rs"
#define HF_SANDBOX_DOC_MAX_BYTES (16 * 1024 * 1024 + 16 * 1024)
#define HF_SANDBOX_KEY_MAX_BYTES (64 * 1024 * 1024)
#define HF_SANDBOX_INDEX_FIELDS 32

/* What all versions of a collection share; it lives as long as one of them. */
struct hf_sandbox_table {
    atomic_int references;
    char ident[HF_SANDBOX_IDENT_BYTES];
    char uri[HF_SANDBOX_IDENT_BYTES + 8];
    atomic_int_fast64_t next_record; /* 0: not looked up yet */
    atomic_int_fast64_t records, bytes;
};

struct hf_sandbox_index_field {
    char *path; /* owned */
    bool descending;
};

struct hf_sandbox_index {
    atomic_int references;
    bson_t *spec;       /* owned: as listIndexes shows it */
    const char *name;   /* in spec */
    bson_t key_pattern; /* a view of spec.key */
    char ident[HF_SANDBOX_IDENT_BYTES];
    char uri[HF_SANDBOX_IDENT_BYTES + 8];
    bool unique, sparse, usable;
    atomic_bool multikey;
    bson_t *partial; /* owned; NULL: all documents */
    size_t field_count;
    struct hf_sandbox_index_field fields[HF_SANDBOX_INDEX_FIELDS];
};

/* One version: a change of the catalog makes a new one and marks the old one stale. */
struct hf_sandbox_coll {
    atomic_int references;
    atomic_bool stale;
    struct hf_sandbox_engine *engine;
    struct hf_sandbox_table *table;
    int64_t catalog_id;
    char ns[HF_SANDBOX_NS_BYTES];
    const char *name; /* in ns */
    uint8_t uuid[HF_SANDBOX_UUID_BYTES];
    bson_t *options; /* owned */
    bool local;      /* database local: logged, without times, not in the oplog */
    bool oplog;
    bool capped;
    int64_t cap_bytes, cap_records;
    size_t index_count;
    struct hf_sandbox_index **indexes; /* owned references */
};

/* A change of the catalog that its transaction has not committed yet. */
struct hf_sandbox_staged {
    struct hf_sandbox_coll *before; /* reference; NULL: created */
    struct hf_sandbox_coll *after;  /* reference; NULL: dropped */
};

struct hf_sandbox_use {
    struct hf_sandbox_coll *coll; /* reference */
    bool written;
    int64_t records, bytes; /* to be added to the fast counts at commit */
};

struct hf_sandbox_txn {
    struct hf_sandbox_engine *engine;
    WT_SESSION *session;
    bool write, replicated;
    bool replay;  /* recovery or a secondary: entries and their times come from elsewhere */
    bool no_trim; /* recovery: capped collections keep what falls out */
    bool holds_oplog;
    struct hf_sandbox_optime last; /* of the last entry */
    int64_t last_wall;
    uint64_t reserved_until; /* last ts set aside */
    size_t use_count, use_capacity;
    struct hf_sandbox_use *uses;
    size_t staged_count, staged_capacity;
    struct hf_sandbox_staged *staged;
    size_t ident_count, ident_capacity;
    char (*made_idents)[HF_SANDBOX_IDENT_BYTES]; /* to be dropped if it aborts */
    struct hf_sandbox_duplicate duplicate;
    bson_t *duplicate_pattern, *duplicate_value; /* owned */
    char duplicate_ns[HF_SANDBOX_NS_BYTES], duplicate_index[HF_SANDBOX_NS_BYTES];
};

/* A table whose collection or index is gone, to be removed once no recovery can need it. */
struct hf_sandbox_pending_drop {
    char ident[HF_SANDBOX_IDENT_BYTES];
    uint64_t ts;                    /* 0: at once */
    struct hf_sandbox_table *table; /* reference; NULL: an index */
};

struct hf_sandbox_backup {
    bool open;
    uint8_t id[HF_SANDBOX_UUID_BYTES];
    WT_SESSION *session;
    WT_CURSOR *cursor;
    uint64_t pinned_ts;                 /* the oplog is kept from here */
    char (*names)[HF_SANDBOX_NS_BYTES]; /* owned: of incremental backups of this process */
    size_t name_count;
};

struct hf_sandbox_engine {
    struct hf_sandbox_engine_options options; /* dbpath: owned, absolute */
    char *dbpath;
    WT_CONNECTION *connection;
    struct hf_lock_file *lock; /* mongod.lock */
    char ident_suffix[24];
    atomic_int_fast64_t next_ident, next_catalog_id;
    bool read_only;
    bool recovered_unstable;
    struct hf_log *log;

    struct hf_mutex catalog;        /* guards: colls, coll_count, pending */
    struct hf_sandbox_coll **colls; /* sorted by ns */
    size_t coll_count, coll_capacity;
    struct hf_sandbox_pending_drop *pending;
    size_t pending_count, pending_capacity;

    struct hf_mutex state; /* guards all below */
    struct hf_cond oplog_free, grown, flushed, writers_gone, tick;
    bool oplog_held;
    bool accepts_writes; /* primary, or no replication */
    int64_t term;
    struct hf_sandbox_optime applied, durable, majority;
    int64_t applied_wall;
    uint64_t last_ts; /* no entry may get this or less */
    bool flushing;
    uint64_t flush_begun, flush_done;
    uint64_t stable_ts, checkpoint_ts;
    uint64_t pinned_ts,
        pinned_until_ms; /* a new member reads as of then; the past is kept so long */
    int64_t fsync_locks;
    int64_t writers;
    WT_SESSION **idle_sessions;
    size_t idle_count, idle_capacity;
    bool stopping;

    WT_EVENT_HANDLER events;
    struct hf_mutex checkpoint;      /* one at a time; also held while a backup opens */
    struct hf_sandbox_backup backup; /* guarded by checkpoint */
    struct hf_sandbox_coll *oplog;   /* reference; NULL: none */
    struct hf_thread *keeper;
};

/* For results that change nothing: a second failure while cleaning up, or one that *err tells already. */
static inline void hf_sandbox_ignore(enum hf_err result)
{
    (void)result;
}

/* Room for one more element in an array that is kept with its count and capacity. False: no memory. */
#define HF_SANDBOX_ROOM(array, count, capacity)                                                    \
    ((count) < (capacity) || hf_sandbox_grow((void **)&(array), &(capacity), sizeof *(array)))
static inline bool hf_sandbox_grow(void **array, size_t *capacity, size_t size)
{
    size_t more = *capacity == 0 ? 8 : *capacity * 2;
    void *grown = hf_realloc_array(*array, more, size);

    if (grown == NULL) {
        return false;
    }
    *array = grown;
    *capacity = more;
    return true;
}

/* Sets *err from WiredTiger's code: CONFLICT for a rollback, EXISTS for a duplicate, .. */
enum hf_err hf_sandbox_wt_fail(struct hf_error *err, int code, const char *what);

/* ---- engine.c ---- */
enum hf_err hf_sandbox_session_take(struct hf_sandbox_engine *engine, WT_SESSION **out,
                                    struct hf_error *err);
void hf_sandbox_session_give(struct hf_sandbox_engine *engine, WT_SESSION *session);
/* Lets writes in (primary) or keeps them out; waits for the transaction that holds the oplog. */
void hf_sandbox_engine_set_role(struct hf_sandbox_engine *engine, bool accepts_writes,
                                int64_t term);
/* What a majority has: moves the stable time, never back. */
void hf_sandbox_engine_set_majority(struct hf_sandbox_engine *engine,
                                    struct hf_sandbox_optime majority);
/* The oldest time in which a snapshot of the past may begin; also the start of a new history. */
HF_MUST_CHECK enum hf_err hf_sandbox_engine_set_stable(struct hf_sandbox_engine *engine,
                                                       uint64_t ts, struct hf_error *err);
/* Keeps the past from that time on readable for a minute. */
void hf_sandbox_engine_pin(struct hf_sandbox_engine *engine, uint64_t ts);

/* ---- catalog.c ---- */
HF_MUST_CHECK enum hf_err hf_sandbox_catalog_load(struct hf_sandbox_engine *engine,
                                                  struct hf_error *err);
void hf_sandbox_catalog_fini(struct hf_sandbox_engine *engine);
void hf_sandbox_coll_drop_reference(struct hf_sandbox_coll *coll);
/* A reference, or NULL. */
struct hf_sandbox_coll *hf_sandbox_catalog_find(struct hf_sandbox_engine *engine, const char *ns);
/* Makes staged changes seen; the oplog is held. */
void hf_sandbox_catalog_publish(struct hf_sandbox_txn *txn);
/* Writes the catalog's row of the collection (its indexes' multikey flags are in it). */
HF_MUST_CHECK enum hf_err hf_sandbox_catalog_write(struct hf_sandbox_txn *txn,
                                                   const struct hf_sandbox_coll *coll,
                                                   struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_sandbox_make_table(struct hf_sandbox_engine *engine, const char *uri,
                                                bool index, bool logged, struct hf_error *err);
/* Fast counts of all collections into sizeStorer. */
HF_MUST_CHECK enum hf_err hf_sandbox_sizes_store(struct hf_sandbox_engine *engine,
                                                 struct hf_error *err);

/* ---- drop.c ---- */
void hf_sandbox_drop_later(struct hf_sandbox_engine *engine, const char *ident, uint64_t ts,
                           struct hf_sandbox_table *table);
/* Removes what no recovery needs any more. */
void hf_sandbox_drop_pending(struct hf_sandbox_engine *engine);

/* ---- txn.c ---- */
HF_MUST_CHECK enum hf_err hf_sandbox_txn_begin_replay(struct hf_sandbox_engine *engine,
                                                      struct hf_sandbox_txn **out,
                                                      struct hf_error *err);
/* For the engine's own notes in database local. */
HF_MUST_CHECK enum hf_err hf_sandbox_txn_begin_keeping(struct hf_sandbox_engine *engine,
                                                       struct hf_sandbox_txn **out,
                                                       struct hf_error *err);
/* Takes the oplog's lock, if it is not held yet; DENIED when this node may not write. */
HF_MUST_CHECK enum hf_err hf_sandbox_txn_hold(struct hf_sandbox_txn *txn, struct hf_error *err);
/* Replay: all that follows gets this time. */
HF_MUST_CHECK enum hf_err hf_sandbox_txn_stamp(struct hf_sandbox_txn *txn,
                                               struct hf_sandbox_optime optime, int64_t wall,
                                               struct hf_error *err);
/* Marks the collection as written; CONFLICT when it is stale. */
HF_MUST_CHECK enum hf_err hf_sandbox_txn_writes(struct hf_sandbox_txn *txn,
                                                struct hf_sandbox_coll *coll, int64_t records,
                                                int64_t bytes, struct hf_error *err);
/* Takes over a reference. */
HF_MUST_CHECK enum hf_err hf_sandbox_txn_stage(struct hf_sandbox_txn *txn,
                                               struct hf_sandbox_coll *before,
                                               struct hf_sandbox_coll *after_take,
                                               struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_sandbox_txn_made(struct hf_sandbox_txn *txn, const char *ident,
                                              struct hf_error *err);

/* ---- index.c, keys.c ---- */

/* Keys of one document in one index: encoded, sorted, each once. */
struct hf_sandbox_keys {
    struct hf_buf *list; /* owned array */
    size_t count, capacity;
    bool multikey;
};
#define HF_SANDBOX_KEYS_INIT                                                                       \
    {                                                                                              \
        .list = NULL                                                                               \
    }
void hf_sandbox_keys_fini(struct hf_sandbox_keys *keys);
HF_CLEANUP_DEFINE_VALUE(hf_sandbox_keys_fini, struct hf_sandbox_keys)
HF_MUST_CHECK enum hf_err hf_sandbox_keys_of(const struct hf_sandbox_index *index,
                                             const bson_t *doc, struct hf_sandbox_keys *out,
                                             struct hf_error *err);
/* One value, so that memcmp of encodings orders as MongoDB orders values. */
HF_MUST_CHECK enum hf_err hf_sandbox_key_append(struct hf_buf *out, const bson_value_t *value,
                                                bool descending, struct hf_error *err);
HF_MUST_CHECK struct hf_sandbox_index *hf_sandbox_index_make(const bson_t *spec, const char *ident,
                                                             bool multikey, struct hf_error *err);
void hf_sandbox_index_drop_reference(struct hf_sandbox_index *index);
/* Adds or removes all keys of a document; on a duplicate EXISTS and the transaction knows which. */
HF_MUST_CHECK enum hf_err hf_sandbox_indexes_change(struct hf_sandbox_txn *txn,
                                                    struct hf_sandbox_coll *coll, int64_t record,
                                                    const bson_t *old_doc, const bson_t *new_doc,
                                                    struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_sandbox_index_build(struct hf_sandbox_txn *txn,
                                                 struct hf_sandbox_coll *coll,
                                                 struct hf_sandbox_index *index,
                                                 struct hf_error *err);
void hf_sandbox_put_record(uint8_t out[8], int64_t record);
int64_t hf_sandbox_load_record(const uint8_t *from);

/* ---- oplog.c ---- */
HF_MUST_CHECK enum hf_err hf_sandbox_oplog_create(struct hf_sandbox_engine *engine,
                                                  struct hf_error *err);
/* Finds the newest entry and sets applied by it. */
HF_MUST_CHECK enum hf_err hf_sandbox_oplog_load_top(struct hf_sandbox_engine *engine,
                                                    struct hf_error *err);
/* The first or last entry; *doc is the caller's, NULL when empty. */
HF_MUST_CHECK enum hf_err hf_sandbox_oplog_end(struct hf_sandbox_engine *engine, bool first,
                                               bson_t **doc, struct hf_error *err);
/* The entry at ts, or the newest below; NULL: none. */
HF_MUST_CHECK enum hf_err hf_sandbox_oplog_at_or_below(struct hf_sandbox_engine *engine,
                                                       uint64_t ts, bson_t **doc,
                                                       struct hf_error *err);
/* Removes all entries after ts, and moves applied back. */
HF_MUST_CHECK enum hf_err hf_sandbox_oplog_cut(struct hf_sandbox_engine *engine, uint64_t ts,
                                               struct hf_error *err);
/* Lets the oldest entries go beyond the cap, but none that a recovery or a backup needs. */
HF_MUST_CHECK enum hf_err hf_sandbox_oplog_keep_cap(struct hf_sandbox_engine *engine,
                                                    struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_sandbox_oplog_put(struct hf_sandbox_txn *txn, uint64_t ts,
                                               const bson_t *entry, struct hf_error *err);

/* ---- local.c: single documents of database local ---- */
/* The only document; *doc is the caller's, NULL: none (or no such collection). */
HF_MUST_CHECK enum hf_err hf_sandbox_local_get(struct hf_sandbox_engine *engine, const char *ns,
                                               bson_t **doc, struct hf_error *err);
/* Sets the fields after _id; an _id that is there stays, a new one is an ObjectId (or id, when not NULL). Within txn
 * when given, else at once. The collection is made when missing. */
HF_MUST_CHECK enum hf_err hf_sandbox_local_set(struct hf_sandbox_engine *engine,
                                               struct hf_sandbox_txn *txn, const char *ns,
                                               const bson_value_t *id, const bson_t *fields,
                                               struct hf_error *err);
/* Creates an empty local collection, and checkpoints so that its place in the catalog is durable. */
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

/* ---- recover.c ---- */
HF_MUST_CHECK enum hf_err hf_sandbox_recover(struct hf_sandbox_engine *engine,
                                             struct hf_error *err);

#endif
