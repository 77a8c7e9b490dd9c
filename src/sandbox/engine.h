/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The storage engine of a member: collections, indexes, oplog, checkpoints and backups over
 * WiredTiger. It knows documents, not commands; who may write, and how members agree, is decided
 * above.
 *
 * Tables of database `local` are logged: what was flushed survives. All others are timestamped:
 * after a crash, and in a copy of the files, they show the last stable checkpoint, and the oplog
 * takes them forward from there.
 *
 * A replicated transaction, one unit of work of one thread, calls hf_sandbox_txn_log(entry) BEFORE
 * each change that the entry describes: the call takes the oplog's lock, which is kept until the
 * transaction ends (wait for nothing meanwhile), gives the entry its optime and stamps the changes
 * after it with that time. So entries become visible in order and without holes.
 *
 * HF_ERR_CONFLICT from any function of a transaction: somebody else was first, or the catalog was
 * changed meanwhile: abort, and do the whole again. HF_ERR_DENIED: this node may not write now.
 */
#ifndef HF_SANDBOX_ENGINE_H
#define HF_SANDBOX_ENGINE_H

#include <bson/bson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "sandbox/code.h"
#include "sandbox/optime.h"

#define HF_SANDBOX_UUID_BYTES 16
#define HF_SANDBOX_NS_BYTES 256 /* "db.collection" and NUL */
#define HF_SANDBOX_IDENT_BYTES 64

struct hf_sandbox_engine;
struct hf_sandbox_txn;
struct hf_sandbox_scan;

/* ---- The engine ---- */

struct hf_sandbox_engine_options {
    const char *dbpath; /* borrowed for the call */
    bool replicated;    /* --replSet: recovers at open, writes an oplog, keeps the oplog's cap */
    bool recover_from_oplog;  /* recoverFromOplogAsStandalone: recovers at open, then read-only */
    bool unstable_checkpoint; /* takeUnstableCheckpointOnShutdown */
    bool queryable;           /* queryableBackupMode: read-only */
    uint64_t recover_to_ts;   /* .. as of then, inclusive; 0: as of the checkpoint */
    uint64_t oplog_bytes;     /* cap of a new oplog; 0: default */
    uint64_t checkpoint_every_ms; /* 0: no background checkpoints */
    uint64_t cache_bytes;         /* 0: default */
    uint64_t log_file_bytes;      /* 0: default */
    struct hf_log *log;           /* borrowed: outlives the engine; may be NULL */
};

/* Opens or creates the data directory, recovers where options ask for it: the normal start.
 * CONFLICT when another process holds it. */
HF_MUST_CHECK enum hf_err hf_sandbox_engine_open(const struct hf_sandbox_engine_options *options,
                                                 struct hf_sandbox_engine **out,
                                                 struct hf_error *err);
/* Clean stop, once all transactions have ended; a last checkpoint. Frees in any case. */
enum hf_err hf_sandbox_engine_close(struct hf_sandbox_engine *engine, struct hf_error *err);

/* True after recover_from_oplog or queryable: every write is refused (command layer: code 20). */
bool hf_sandbox_engine_read_only(const struct hf_sandbox_engine *engine);
bool hf_sandbox_engine_replicated(const struct hf_sandbox_engine *engine);

/* The last entry of the oplog, and what of it is on disk. NONE without oplog. */
struct hf_sandbox_optime hf_sandbox_engine_applied(struct hf_sandbox_engine *engine);
struct hf_sandbox_optime hf_sandbox_engine_durable(struct hf_sandbox_engine *engine);
/* What a majority has: it never rolls back, checkpoints stand at it. NONE: nothing yet. */
struct hf_sandbox_optime hf_sandbox_engine_majority(struct hf_sandbox_engine *engine);
/* Returns once all that was committed before is on disk (concurrent callers share one flush). */
HF_MUST_CHECK enum hf_err hf_sandbox_engine_flush(struct hf_sandbox_engine *engine,
                                                  struct hf_error *err);
/* True as soon as the oplog's top is above after_ts or the majority point above known_majority_ts
 * (UINT64_MAX: not waited for); false at the time-out, or when cancel (may be NULL) is requested. */
bool hf_sandbox_engine_wait_oplog(struct hf_sandbox_engine *engine, uint64_t after_ts,
                                  uint64_t known_majority_ts, uint64_t timeout_ms,
                                  const struct hf_cancel *cancel);
/* A checkpoint now (command fsync). */
HF_MUST_CHECK enum hf_err hf_sandbox_engine_checkpoint(struct hf_sandbox_engine *engine,
                                                       struct hf_error *err);
/* 0 or the code; *count locks are held afterwards. Writers wait while it is locked. */
int32_t hf_sandbox_engine_fsync_lock(struct hf_sandbox_engine *engine, int64_t *count,
                                     struct hf_sandbox_refusal *no);
int32_t hf_sandbox_engine_fsync_unlock(struct hf_sandbox_engine *engine, int64_t *count,
                                       struct hf_sandbox_refusal *no);
bool hf_sandbox_engine_fsync_locked(struct hf_sandbox_engine *engine);

/* For serverStatus.storageEngine and replSetGetStatus. */
struct hf_sandbox_engine_status {
    uint64_t stable_checkpoint_ts; /* lastStableRecoveryTimestamp; 0: none */
    uint64_t oldest_required_ts;   /* oldestRequiredTimestampForCrashRecovery */
    uint64_t drop_pending;         /* tables of dropped collections that still lie on disk */
    bool backup_open;
};
void hf_sandbox_engine_status(struct hf_sandbox_engine *engine,
                              struct hf_sandbox_engine_status *out);

/* A new random UUID (version 4). */
void hf_sandbox_uuid_make(uint8_t out[HF_SANDBOX_UUID_BYTES]);

/* ---- Transactions ---- */

/* Who writes: a client; recovery or a secondary (entries and times come from elsewhere, also where
 * clients may not write); the engine for itself (also while writes are locked out). */
enum hf_sandbox_origin { HF_SANDBOX_CLIENT, HF_SANDBOX_REPLAY, HF_SANDBOX_KEEPING };

struct hf_sandbox_txn_options {
    enum hf_sandbox_origin origin;
    bool write;
    bool replicated;  /* with write: hf_sandbox_txn_log will be called; DENIED where none may be */
    bool multi;       /* of a session: lives over several commands, see hf_sandbox_txn_join */
    uint64_t read_ts; /* see the data as of then (majority, snapshot); 0: the newest */
};

HF_MUST_CHECK enum hf_err hf_sandbox_txn_begin(struct hf_sandbox_engine *engine,
                                               const struct hf_sandbox_txn_options *options,
                                               struct hf_sandbox_txn **out, struct hf_error *err);
/* Ends the transaction whatever the result. *optime (may be NULL): its last entry, else what is
 * newest. */
HF_MUST_CHECK enum hf_err hf_sandbox_txn_commit(struct hf_sandbox_txn *txn,
                                                struct hf_sandbox_optime *optime,
                                                struct hf_error *err);
/* NULL does nothing. */
void hf_sandbox_txn_abort(struct hf_sandbox_txn *txn);
HF_CLEANUP_DEFINE(hf_sandbox_txn_abort, struct hf_sandbox_txn *)

/* An oplog entry; ts, t, wall, v are filled in. Stored order: lead op ns ui o o2 preImageOpTime ts
 * t wall v tail. */
struct hf_sandbox_entry {
    const bson_t *lead; /* lsid, txnNumber, ..; may be NULL */
    const char *op;     /* "i" "u" "d" "c" "n" */
    const char *ns;
    const uint8_t *uuid; /* NULL: no ui */
    const bson_t *o;
    const bson_t *o2;                   /* may be NULL */
    struct hf_sandbox_optime pre_image; /* ts 0: none */
    const bson_t *tail;                 /* stmtId, prevOpTime, fromMigrate, ..; may be NULL */
    uint64_t before, behind;            /* times that nobody gets, on both sides of its own */
};
/* Appends to the oplog; *optime (may be NULL) is the entry's. Without replication nothing is
 * written and *optime is NONE. */
HF_MUST_CHECK enum hf_err hf_sandbox_txn_log(struct hf_sandbox_txn *txn,
                                             const struct hf_sandbox_entry *entry,
                                             struct hf_sandbox_optime *optime,
                                             struct hf_error *err);
/* A transaction of a session holds no lock: what it logs is only gathered, as {op, ns, ui, o, o2}.
 * Borrowed from it. */
bson_t *const *hf_sandbox_txn_ops(const struct hf_sandbox_txn *txn, size_t *count);
/* Until the transaction of a session ends no collection that it used is defined otherwise: who tries
 * gets CONFLICT. False: one has been already. now: holds the oplog; NULL: nothing can have been. */
bool hf_sandbox_txn_pin(struct hf_sandbox_txn *data, const struct hf_sandbox_txn *now);
/* Ends data, a transaction of a session, whatever the result: commits it at the time of under, which
 * has logged what data did, and is to be committed next. CONFLICT: a collection that it used has
 * been defined otherwise since. */
HF_MUST_CHECK enum hf_err hf_sandbox_txn_join(struct hf_sandbox_txn *data,
                                              struct hf_sandbox_txn *under, struct hf_error *err);
/* The documents of config.transactions of what is prepared and not ended: an array, each of them and
 * itself the caller's. */
HF_MUST_CHECK enum hf_err hf_sandbox_txn_prepared(struct hf_sandbox_txn *txn, bson_t ***out,
                                                  size_t *count, struct hf_error *err);
/* `wall` of the transaction's last entry; 0: it has none. */
int64_t hf_sandbox_txn_wall(const struct hf_sandbox_txn *txn);
/* Does what the entry {op, ns, ui, o, ..} says, whether it was done before or not. */
HF_MUST_CHECK enum hf_err hf_sandbox_apply(struct hf_sandbox_txn *txn, const bson_t *entry,
                                           struct hf_error *err);

/* Does the operations of a session's transaction whose newest entry (of those with operations) is
 * that one: the chain of them, oldest first. */
HF_MUST_CHECK enum hf_err hf_sandbox_apply_before(struct hf_sandbox_txn *txn,
                                                  struct hf_sandbox_optime last,
                                                  struct hf_error *err);

/* ---- The catalog ---- */

/* What all transactions share of a collection. */
struct hf_sandbox_table {
    char ident[HF_SANDBOX_IDENT_BYTES];
    atomic_int_fast64_t next_record;
    atomic_int_fast64_t pins;           /* transactions that forbid another definition */
    atomic_int_fast64_t records, bytes; /* fast counts: may be wrong after recovery */
};

struct hf_sandbox_index {
    bson_t *spec;     /* owned: {v, key, name, ...} as listIndexes shows it */
    const char *name; /* in spec */
    char ident[HF_SANDBOX_IDENT_BYTES];
    bool keyed;  /* unique: holds a key for each document; any other is a definition only */
    bool sparse; /* keyed, but not for documents that have none of its fields */
};

/* A collection as one transaction sees it, and has changed it. Only the engine writes here. */
struct hf_sandbox_coll {
    struct hf_sandbox_engine *engine;
    struct hf_sandbox_table *table;
    char ns[HF_SANDBOX_NS_BYTES];
    const char *name; /* in ns, without the database */
    uint8_t uuid[HF_SANDBOX_UUID_BYTES];
    bson_t *options; /* owned: as given to create, without idIndex */
    bool local;      /* database local: without times, not in the oplog */
    bool oplog, capped, dropped;
    bool made; /* by this transaction */
    int64_t cap_bytes, cap_records;
    size_t index_count;
    struct hf_sandbox_index **indexes; /* owned; "_id_" is the first (the oplog has none) */
    int64_t records, bytes;            /* to be added to the fast counts at commit */
};

/* The collection of that name or UUID, borrowed until the transaction ends. NULL: none. */
struct hf_sandbox_coll *hf_sandbox_txn_find(struct hf_sandbox_txn *txn, const char *ns);
struct hf_sandbox_coll *hf_sandbox_txn_find_uuid(struct hf_sandbox_txn *txn,
                                                 const uint8_t uuid[HF_SANDBOX_UUID_BYTES]);
/* All collections of one database or of all (db NULL) in the order of their names. *out is an array
 * to free with hf_free; what it points to is borrowed until the transaction ends. */
HF_MUST_CHECK enum hf_err hf_sandbox_txn_list(struct hf_sandbox_txn *txn, const char *db,
                                              struct hf_sandbox_coll ***out, size_t *count,
                                              struct hf_error *err);
/* Bytes of its files on disk, those of its indexes too. */
int64_t hf_sandbox_coll_disk_bytes(const struct hf_sandbox_coll *coll);
/* NULL: no such index. */
struct hf_sandbox_index *hf_sandbox_coll_index_named(const struct hf_sandbox_coll *coll,
                                                     const char *name);

/* Changes to the catalog, inside a write transaction, each after its log entry. */
/* uuid: as in the entry. EXISTS when the name is taken. out may be NULL. */
HF_MUST_CHECK enum hf_err hf_sandbox_coll_create(struct hf_sandbox_txn *txn, const char *ns,
                                                 const bson_t *options,
                                                 const uint8_t uuid[HF_SANDBOX_UUID_BYTES],
                                                 struct hf_sandbox_coll **out,
                                                 struct hf_error *err);
/* NULL: nothing. */
HF_MUST_CHECK enum hf_err hf_sandbox_coll_drop(struct hf_sandbox_txn *txn,
                                               struct hf_sandbox_coll *coll, struct hf_error *err);
/* The target's name must be free (drop it first in the same transaction). */
HF_MUST_CHECK enum hf_err hf_sandbox_coll_rename(struct hf_sandbox_txn *txn,
                                                 struct hf_sandbox_coll *coll, const char *to,
                                                 struct hf_error *err);
/* The collection's options (index NULL) or the index's specification, of the same name, become
 * these. */
HF_MUST_CHECK enum hf_err hf_sandbox_coll_redefine(struct hf_sandbox_txn *txn,
                                                   struct hf_sandbox_coll *coll,
                                                   struct hf_sandbox_index *index,
                                                   const bson_t *definition, struct hf_error *err);
/* Builds it over what is there. EXISTS: a duplicate key, see hf_sandbox_txn_duplicate. spec: {v,
 * key, name, ...}. */
HF_MUST_CHECK enum hf_err hf_sandbox_coll_create_index(struct hf_sandbox_txn *txn,
                                                       struct hf_sandbox_coll *coll,
                                                       const bson_t *spec, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_sandbox_coll_drop_index(struct hf_sandbox_txn *txn,
                                                     struct hf_sandbox_coll *coll, const char *name,
                                                     struct hf_error *err);

/* ---- Documents ---- */

/* The document has its _id (in the oplog none is needed: its place is its ts). EXISTS: a duplicate
 * key. A capped collection lets its oldest fall out. record may be NULL. */
HF_MUST_CHECK enum hf_err hf_sandbox_coll_insert(struct hf_sandbox_txn *txn,
                                                 struct hf_sandbox_coll *coll, const bson_t *doc,
                                                 int64_t *record, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_sandbox_coll_update(struct hf_sandbox_txn *txn,
                                                 struct hf_sandbox_coll *coll, int64_t record,
                                                 const bson_t *old_doc, const bson_t *new_doc,
                                                 struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_sandbox_coll_remove(struct hf_sandbox_txn *txn,
                                                 struct hf_sandbox_coll *coll, int64_t record,
                                                 const bson_t *doc, struct hf_error *err);
/* By _id. *doc is the caller's (bson_destroy), NULL and *record 0 when there is none. */
HF_MUST_CHECK enum hf_err hf_sandbox_coll_find_id(struct hf_sandbox_txn *txn,
                                                  struct hf_sandbox_coll *coll,
                                                  const bson_value_t *id, int64_t *record,
                                                  bson_t **doc, struct hf_error *err);
/* By record. *doc is the caller's, NULL when there is none (any more). */
HF_MUST_CHECK enum hf_err hf_sandbox_coll_get(struct hf_sandbox_txn *txn,
                                              struct hf_sandbox_coll *coll, int64_t record,
                                              bson_t **doc, struct hf_error *err);

/* After EXISTS of insert, update or create_index: which key; NULL: it was a name that is taken.
 * {ns: "db.c", name: "a_1", keyPattern: {a: 1}, keyValue: {a: 5}}, borrowed from txn. */
const bson_t *hf_sandbox_txn_duplicate(const struct hf_sandbox_txn *txn);

/* ---- Scans ---- */

struct hf_sandbox_scan_options {
    const char *index; /* in the order of its keys, which is always the same for the same documents,
                          though not that of values; NULL: natural order, for all below */
    bool backward;
    int64_t from_record; /* begin at this record, or at the next in the direction; 0: at the end */
};

HF_MUST_CHECK enum hf_err hf_sandbox_scan_open(struct hf_sandbox_txn *txn,
                                               struct hf_sandbox_coll *coll,
                                               const struct hf_sandbox_scan_options *options,
                                               struct hf_sandbox_scan **out, struct hf_error *err);
/* *found false at the end. *doc is a view, valid until the next call for this scan; record (in the
 * oplog: ts) may be NULL. */
HF_MUST_CHECK enum hf_err hf_sandbox_scan_next(struct hf_sandbox_scan *scan, bool *found,
                                               int64_t *record, bson_t *doc, struct hf_error *err);
/* Before the transaction ends. NULL does nothing. */
void hf_sandbox_scan_close(struct hf_sandbox_scan *scan);
HF_CLEANUP_DEFINE(hf_sandbox_scan_close, struct hf_sandbox_scan *)

/* ---- Backup ---- */

/* $backupCursor; spec is the stage's value. Appends metadata and file documents to the array docs;
 * id gets the backupId. Returns 0 or the code. Aborts where the real server does (observed 1). */
int32_t hf_sandbox_backup_open(struct hf_sandbox_engine *engine, const bson_value_t *spec,
                               bson_t *docs, uint8_t id[HF_SANDBOX_UUID_BYTES],
                               struct hf_sandbox_refusal *no);
/* $backupCursorExtend. Waits until the time is majority committed; when the wait is cut (cancel,
 * deadline on hf_clock_mono_ms; 0: none) the process ABORTS, as the real one does (29096). */
int32_t hf_sandbox_backup_extend(struct hf_sandbox_engine *engine, const bson_value_t *spec,
                                 uint64_t deadline_ms, const struct hf_cancel *cancel, bson_t *docs,
                                 struct hf_sandbox_refusal *no);
/* Ends the backup with this id (the cursor was killed, timed out). Another id: nothing. */
void hf_sandbox_backup_close(struct hf_sandbox_engine *engine,
                             const uint8_t id[HF_SANDBOX_UUID_BYTES]);
bool hf_sandbox_backup_is_open(struct hf_sandbox_engine *engine);

#endif
