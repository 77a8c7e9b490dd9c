/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The storage engine of a member: collections, indexes, oplog, checkpoints and backups over
 * WiredTiger.
 *
 * It knows documents, not commands: who may write, what a command answers and how members agree is
 * decided above.
 *
 * Two kinds of tables. Those of database `local` are logged: what was flushed survives. All others
 * are not logged but timestamped: after a crash, and in a copy of the files, they show the last
 * stable checkpoint, and the oplog takes them forward from there.
 *
 * Writing. A transaction is one unit of work of one thread at a time. One that is replicated calls
 * hf_sandbox_txn_log(entry) BEFORE each change that the entry describes: the call takes the oplog's
 * lock, which the transaction keeps until it ends, gives the entry its optime, and stamps the
 * changes after it with that time. So entries become visible in order and without holes. A
 * transaction of many statements makes its changes first, logs once at its end and commits: changes
 * without a time take the last one. Do not wait for anything between the first log and the end.
 *
 * HF_ERR_CONFLICT from any function of a transaction: somebody else was first, or the collection
 * was dropped or its indexes changed: abort, and do the whole again from the look-up of the
 * collection. HF_ERR_DENIED: this node may not write now (not primary, or read-only).
 */
#ifndef HF_SANDBOX_ENGINE_H
#define HF_SANDBOX_ENGINE_H

#include <bson/bson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "sandbox/code.h"
#include "sandbox/optime.h"

#define HF_SANDBOX_UUID_BYTES 16
#define HF_SANDBOX_NS_BYTES 256 /* "db.collection" and NUL */

struct hf_sandbox_engine;
struct hf_sandbox_txn;
struct hf_sandbox_coll; /* an open collection; reference-counted */
struct hf_sandbox_scan;

/* ---- The engine ---- */

struct hf_sandbox_engine_options {
    const char *dbpath; /* borrowed for the call */
    bool replicated;    /* --replSet: recovers at open, writes an oplog, keeps the oplog's cap */
    bool recover_from_oplog;  /* recoverFromOplogAsStandalone: recovers at open, then read-only */
    bool unstable_checkpoint; /* takeUnstableCheckpointOnShutdown */
    uint64_t recover_to_ts; /* queryable backup: as the above, up to this time; 0: not asked for */
    uint64_t oplog_bytes;   /* cap of a new oplog; 0: default */
    uint64_t checkpoint_every_ms; /* 0: no background checkpoints */
    uint64_t cache_bytes;         /* 0: default */
    uint64_t log_file_bytes;      /* 0: default */
    struct hf_log *log;           /* borrowed: outlives the engine; may be NULL */
};

/*
 * Opens or creates the data directory; CONFLICT when another process holds it. Where options ask
 * for it, cuts the oplog at oplogTruncateAfterPoint and applies it from the stable checkpoint to
 * its top: recovery is the normal start.
 */
HF_MUST_CHECK enum hf_err hf_sandbox_engine_open(const struct hf_sandbox_engine_options *options,
                                                 struct hf_sandbox_engine **out,
                                                 struct hf_error *err);
/* Clean stop: all transactions have ended; a last checkpoint. Frees in any case; NULL does nothing.
 */
enum hf_err hf_sandbox_engine_close(struct hf_sandbox_engine *engine, struct hf_error *err);

/* True after recover_from_oplog: every write is refused (command layer: code 20). */
bool hf_sandbox_engine_read_only(const struct hf_sandbox_engine *engine);
bool hf_sandbox_engine_replicated(const struct hf_sandbox_engine *engine);
const char *hf_sandbox_engine_dbpath(const struct hf_sandbox_engine *engine); /* absolute */

/* The last entry of the oplog, and what of it is on disk. NONE without oplog. */
struct hf_sandbox_optime hf_sandbox_engine_applied(struct hf_sandbox_engine *engine);
struct hf_sandbox_optime hf_sandbox_engine_durable(struct hf_sandbox_engine *engine);
/* `wall` of the last entry, milliseconds. */
int64_t hf_sandbox_engine_applied_wall(struct hf_sandbox_engine *engine);
/* Returns once all that was committed before is on disk (concurrent callers share one flush). */
HF_MUST_CHECK enum hf_err hf_sandbox_engine_flush(struct hf_sandbox_engine *engine,
                                                  struct hf_error *err);
/*
 * Returns true as soon as the oplog's top is above after_ts or the majority point is above
 * known_majority_ts (UINT64_MAX: not waited for); false at the time-out, or when cancel (may be
 * NULL) is requested.
 */
bool hf_sandbox_engine_wait_oplog(struct hf_sandbox_engine *engine, uint64_t after_ts,
                                  uint64_t known_majority_ts, uint64_t timeout_ms,
                                  const struct hf_cancel *cancel);

/* A checkpoint now (command fsync). */
HF_MUST_CHECK enum hf_err hf_sandbox_engine_checkpoint(struct hf_sandbox_engine *engine,
                                                       struct hf_error *err);
/* fsync with lock, fsyncUnlock: 0 or the code; *count locks held afterwards. Writers wait while it
 * is locked. */
int32_t hf_sandbox_engine_fsync_lock(struct hf_sandbox_engine *engine, int64_t *count,
                                     struct hf_sandbox_refusal *no);
int32_t hf_sandbox_engine_fsync_unlock(struct hf_sandbox_engine *engine, int64_t *count,
                                       struct hf_sandbox_refusal *no);
bool hf_sandbox_engine_fsync_locked(struct hf_sandbox_engine *engine);

/* The point that a majority has: data up to it never roll back; checkpoints stand at it. 0: none
 * yet. */
struct hf_sandbox_optime hf_sandbox_engine_majority(struct hf_sandbox_engine *engine);

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

struct hf_sandbox_txn_options {
    bool write;
    bool replicated; /* with write: hf_sandbox_txn_log will be called; refused now if this node may
                        not write */
    uint64_t
        read_ts; /* see the data as of then (read concern majority and snapshot); 0: the newest */
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
};
/* Appends to the oplog; *optime (may be NULL) is the entry's. On a standalone nothing is written
 * and *optime is NONE. */
HF_MUST_CHECK enum hf_err hf_sandbox_txn_log(struct hf_sandbox_txn *txn,
                                             const struct hf_sandbox_entry *entry,
                                             struct hf_sandbox_optime *optime,
                                             struct hf_error *err);
/* Does what the entry {op, ns, ui, o, ..} says, whether it was done before or not. */
HF_MUST_CHECK enum hf_err hf_sandbox_apply(struct hf_sandbox_txn *txn, const bson_t *entry,
                                           struct hf_error *err);
/* Before the first log: sets count optimes aside, used by the logs that follow, the rest is left
 * out (a large transaction of n operations reserves n and writes fewer entries). */
HF_MUST_CHECK enum hf_err hf_sandbox_txn_reserve(struct hf_sandbox_txn *txn, uint32_t count,
                                                 struct hf_error *err);

/* ---- The catalog ---- */

/* The collection named "db.coll" as this transaction sees it; borrowed until the transaction ends.
 * NULL: none. */
struct hf_sandbox_coll *hf_sandbox_txn_find(struct hf_sandbox_txn *txn, const char *ns);
struct hf_sandbox_coll *hf_sandbox_txn_find_uuid(struct hf_sandbox_txn *txn,
                                                 const uint8_t uuid[HF_SANDBOX_UUID_BYTES]);
/*
 * All collections, of one database or of all (db NULL), in order of their names; borrowed until the
 * transaction ends. *out is an array to free with hf_free.
 */
HF_MUST_CHECK enum hf_err hf_sandbox_txn_list(struct hf_sandbox_txn *txn, const char *db,
                                              struct hf_sandbox_coll ***out, size_t *count,
                                              struct hf_error *err);

/* Plain facts; borrowed from the collection. */
const char *hf_sandbox_coll_ns(const struct hf_sandbox_coll *coll);
const char *hf_sandbox_coll_name(const struct hf_sandbox_coll *coll); /* without the database */
const uint8_t *hf_sandbox_coll_uuid(const struct hf_sandbox_coll *coll);
const bson_t *hf_sandbox_coll_options(
    const struct hf_sandbox_coll *coll); /* as given to create, without idIndex */
const char *hf_sandbox_coll_ident(const struct hf_sandbox_coll *coll); /* "collection-7-123" */
bool hf_sandbox_coll_capped(const struct hf_sandbox_coll *coll);
/* Fast counts: may be wrong after recovery until hf_sandbox_coll_recount. */
int64_t hf_sandbox_coll_records(const struct hf_sandbox_coll *coll);
int64_t hf_sandbox_coll_bytes(const struct hf_sandbox_coll *coll);
/* Bytes of its files on disk, indexes included where asked. */
int64_t hf_sandbox_coll_disk_bytes(const struct hf_sandbox_coll *coll, bool with_indexes);
size_t hf_sandbox_coll_index_count(const struct hf_sandbox_coll *coll);
/* {v, key, name, ...} as listIndexes shows it; NULL past the end. "_id_" is the first. */
const bson_t *hf_sandbox_coll_index(const struct hf_sandbox_coll *coll, size_t at);
bool hf_sandbox_coll_index_multikey(const struct hf_sandbox_coll *coll, size_t at);
const char *hf_sandbox_coll_index_ident(const struct hf_sandbox_coll *coll, size_t at);
/* False for index kinds that are kept but hold no keys (text, 2d, hashed, wildcard): a scan cannot
 * use them. Sparse and partial ones can be scanned but do not hold every document. */
bool hf_sandbox_coll_index_usable(const struct hf_sandbox_coll *coll, size_t at);

/* Changes to the catalog, inside a write transaction, each after its log entry. */
/* uuid: as in the entry. id_index: with an index on _id (all but the oplog). EXISTS when the name
 * is taken. */
HF_MUST_CHECK enum hf_err hf_sandbox_coll_create(struct hf_sandbox_txn *txn, const char *ns,
                                                 const bson_t *options,
                                                 const uint8_t uuid[HF_SANDBOX_UUID_BYTES],
                                                 struct hf_sandbox_coll **out,
                                                 struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_sandbox_coll_drop(struct hf_sandbox_txn *txn,
                                               struct hf_sandbox_coll *coll, struct hf_error *err);
/* The target's name must be free (drop it first in the same transaction). */
HF_MUST_CHECK enum hf_err hf_sandbox_coll_rename(struct hf_sandbox_txn *txn,
                                                 struct hf_sandbox_coll *coll, const char *to,
                                                 struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_sandbox_coll_set_options(struct hf_sandbox_txn *txn,
                                                      struct hf_sandbox_coll *coll,
                                                      const bson_t *options, struct hf_error *err);
/* Builds it over what is there. EXISTS: a duplicate key, see hf_sandbox_txn_duplicate. spec: {v,
 * key, name, ...}. */
HF_MUST_CHECK enum hf_err hf_sandbox_coll_create_index(struct hf_sandbox_txn *txn,
                                                       struct hf_sandbox_coll *coll,
                                                       const bson_t *spec, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_sandbox_coll_drop_index(struct hf_sandbox_txn *txn,
                                                     struct hf_sandbox_coll *coll, const char *name,
                                                     struct hf_error *err);
/* Another spec of the same name and key (collMod: hidden, expireAfterSeconds). */
HF_MUST_CHECK enum hf_err hf_sandbox_coll_set_index(struct hf_sandbox_txn *txn,
                                                    struct hf_sandbox_coll *coll, const char *name,
                                                    const bson_t *spec, struct hf_error *err);
/* Removes every document (emptycapped). */
HF_MUST_CHECK enum hf_err hf_sandbox_coll_truncate(struct hf_sandbox_txn *txn,
                                                   struct hf_sandbox_coll *coll,
                                                   struct hf_error *err);
/* Counts and sets the fast counts right (validate). */
HF_MUST_CHECK enum hf_err hf_sandbox_coll_recount(struct hf_sandbox_txn *txn,
                                                  struct hf_sandbox_coll *coll,
                                                  struct hf_error *err);

/* ---- Documents ---- */

/*
 * The document has its _id (in the oplog none is needed: its place is its ts). EXISTS: a duplicate
 * key. A capped collection lets its oldest fall out. INVALID: a key that no index can take (two
 * arrays in a compound one).
 */
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

/* After EXISTS of insert, update or create_index: which index and key; borrowed until the
 * transaction ends. */
struct hf_sandbox_duplicate {
    const char *ns;
    const char *index_name;
    const bson_t *key_pattern; /* {a: 1} */
    const bson_t *key_value;   /* {a: 5} */
};
const struct hf_sandbox_duplicate *hf_sandbox_txn_duplicate(const struct hf_sandbox_txn *txn);

/* ---- Scans ---- */

struct hf_sandbox_bound {
    const bson_t *values; /* of the index's first fields, names ignored; NULL: open */
    bool exclusive;       /* leaves out what begins with these values */
};

struct hf_sandbox_scan_options {
    const char *index; /* NULL: natural order */
    bool backward;
    /* Natural order: begin behind this record (before it when backward); 0: from the start. Oplog:
     * record = ts. */
    int64_t after_record;
    /* Natural order, forward: begin at this record or the first above it (the oplog, from a time
     * on); 0: not used. */
    int64_t from_record;
    /* Index order: low and high in the index's own order (for a descending field the larger value
     * is the low one). */
    struct hf_sandbox_bound low, high;
};

/* A multikey index may show a record more than once: the caller leaves out what it has seen. */
HF_MUST_CHECK enum hf_err hf_sandbox_scan_open(struct hf_sandbox_txn *txn,
                                               struct hf_sandbox_coll *coll,
                                               const struct hf_sandbox_scan_options *options,
                                               struct hf_sandbox_scan **out, struct hf_error *err);
/* *found false at the end. *doc is a view, valid until the next call for this scan; record may be
 * NULL. */
HF_MUST_CHECK enum hf_err hf_sandbox_scan_next(struct hf_sandbox_scan *scan, bool *found,
                                               int64_t *record, bson_t *doc, struct hf_error *err);
/* Before the transaction ends. NULL does nothing. */
void hf_sandbox_scan_close(struct hf_sandbox_scan *scan);
HF_CLEANUP_DEFINE(hf_sandbox_scan_close, struct hf_sandbox_scan *)

/* ---- Backup ---- */

/*
 * $backupCursor. spec is the stage's value. Appends metadata and file documents to the array docs,
 * in order; id gets the backupId. The node's state (13436) is checked above. Returns 0 or the code.
 * It aborts the process where the real server does (observed 1).
 */
int32_t hf_sandbox_backup_open(struct hf_sandbox_engine *engine, const bson_value_t *spec,
                               bson_t *docs, uint8_t id[HF_SANDBOX_UUID_BYTES],
                               struct hf_sandbox_refusal *no);
/*
 * $backupCursorExtend. Waits until the time is majority committed; when the wait is cut (cancel,
 * deadline on hf_clock_mono_ms; 0: none) the process ABORTS, as the real one does with assertion
 * 29096.
 */
int32_t hf_sandbox_backup_extend(struct hf_sandbox_engine *engine, const bson_value_t *spec,
                                 uint64_t deadline_ms, const struct hf_cancel *cancel, bson_t *docs,
                                 struct hf_sandbox_refusal *no);
/* Ends the backup with this id (the cursor was killed, timed out). Another id: nothing. */
void hf_sandbox_backup_close(struct hf_sandbox_engine *engine,
                             const uint8_t id[HF_SANDBOX_UUID_BYTES]);
bool hf_sandbox_backup_is_open(struct hf_sandbox_engine *engine);

#endif
