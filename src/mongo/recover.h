/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that is said to a temporary mongod on a restored directory: looking at what the copy holds, putting oplog
 * entries in, the run that recovers from the oplog, counts, the configuration of a new set (mongodb-observed.md 3 and 6).
 * It must not know which entries, and why to that point: oplog/replay.h does.
 */
#ifndef HF_MONGO_RECOVER_H
#define HF_MONGO_RECOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/thread.h"
#include "mongo/client.h"
#include "mongo/login.h"

/* All borrowed for the call. */
struct hf_recover_options {
    const char *program; /* mongod; looked up in PATH where it has no '/' */
    const char *dbpath;
    const char *log_path;
    const char *const
        *arguments; /* the storage options of the files; NULL at the end; may be NULL */
    const struct hf_cancel *cancel;
};

/* "4.4.6-8", asked of the program itself, which touches no directory. INVALID: it is missing, or no mongod. */
HF_MUST_CHECK enum hf_err hf_recover_version(const char *program, const char *log_path,
                                             char out[HF_MONGO_NAME_BYTES], struct hf_error *err);
/*
 * Can that program open files of that version, and replay their oplog? The same release (major and minor), else
 * UNSUPPORTED.
 */
HF_MUST_CHECK enum hf_err hf_recover_check_version(const char *program_version,
                                                   const char *files_version, struct hf_error *err);

enum hf_recover_mode {
    HF_RECOVER_PLAIN, /* writable; shows the checkpoint under a longer oplog */
    /* The same with the commands of the server's own tests: entries that insert refuses need one of them. */
    HF_RECOVER_PLAIN_LARGE,
    HF_RECOVER_REPLAY, /* truncates and replays before it answers; read-only; keeps it at a clean stop */
    /* The same without a history, for many entries (startupRecoveryForRestore); only where the server knows it. */
    HF_RECOVER_REPLAY_MANY,
};

/* One server on the directory and a client of it. One thread at a time. */
struct hf_recover;
/* LOST: recovery ended so that it would end so again. An older log at log_path is removed. */
HF_MUST_CHECK enum hf_err hf_recover_start(const struct hf_recover_options *options,
                                           enum hf_recover_mode mode, struct hf_recover **out,
                                           struct hf_error *err);
/* The log of a server that ended well, and what it wrote beside it. */
void hf_recover_remove_log(const char *log_path);
struct hf_mongo_client *hf_recover_client(struct hf_recover *recover);
/* A clean stop, or an error. The object is gone either way. */
HF_MUST_CHECK enum hf_err hf_recover_stop(struct hf_recover *recover, struct hf_error *err);
/* After another error: SIGTERM, then SIGKILL. NULL does nothing. */
void hf_recover_drop(struct hf_recover *recover);
HF_CLEANUP_DEFINE(hf_recover_drop, struct hf_recover *)

/* What steers recovery, as it stands in `local`. */
struct hf_recover_state {
    uint32_t version_major, version_minor, version_patch;
    bool knows_many;                    /* HF_RECOVER_REPLAY_MANY */
    struct hf_mongo_optime first, last; /* of the oplog; ts null: it is empty */
    bool has_min_valid, has_begin;
    struct hf_mongo_optime min_valid, begin; /* begin: applied through */
    struct hf_mongo_ts truncate_after;       /* null: none, or zero */
};
HF_MUST_CHECK enum hf_err hf_recover_state_read(struct hf_recover *recover,
                                                struct hf_recover_state *out, struct hf_error *err);

/* What that release has to be told so that the entry with that timestamp is the last that stays. */
struct hf_mongo_ts hf_recover_truncate_point(const struct hf_recover_state *version,
                                             struct hf_mongo_ts last);
/*
 * The point for the next run of recovery: the entry with exactly that timestamp is the last that stays, on every version
 * (4.2 removes what is at or after the point).
 */
HF_MUST_CHECK enum hf_err hf_recover_set_truncate(struct hf_recover *recover,
                                                  struct hf_mongo_ts last, struct hf_error *err);

/* ---- The copy's oplog ---- */

/* Walks the entries with a greater timestamp, in order; the memory is that of one small batch. */
struct hf_recover_walk;
/* whole: the entries themselves, not only their times. */
HF_MUST_CHECK enum hf_err hf_recover_walk_open(struct hf_recover *recover, struct hf_mongo_ts after,
                                               bool whole, struct hf_recover_walk **out,
                                               struct hf_error *err);
void hf_recover_walk_close(struct hf_recover_walk *walk);
HF_CLEANUP_DEFINE(hf_recover_walk_close, struct hf_recover_walk *)
/* *more false at the end. entry, borrowed until the next call: as it stands there, or its ts and t only. */
HF_MUST_CHECK enum hf_err hf_recover_walk_next(struct hf_recover_walk *walk,
                                               struct hf_mongo_optime *optime,
                                               struct hf_bytes *entry, bool *more,
                                               struct hf_error *err);

/* True for an entry that insert refuses for its size: it can be added in HF_RECOVER_PLAIN_LARGE only. */
bool hf_recover_entry_is_large(struct hf_bytes entry);
/*
 * Entries go in oldest first, in bounded batches, and are not changed, but that the server puts an _id in front of one
 * that has none; an entry of the oplog may have one.
 */
struct hf_recover_fill;
HF_MUST_CHECK enum hf_err hf_recover_fill_begin(struct hf_recover *recover,
                                                struct hf_recover_fill **out, struct hf_error *err);
/* Copied. After an error the fill can only be dropped. */
HF_MUST_CHECK enum hf_err hf_recover_fill_add(struct hf_recover_fill *fill, struct hf_bytes entry,
                                              struct hf_error *err);
/* What was added so far is in the oplog. */
HF_MUST_CHECK enum hf_err hf_recover_fill_flush(struct hf_recover_fill *fill, struct hf_error *err);
void hf_recover_fill_drop(struct hf_recover_fill *fill);
HF_CLEANUP_DEFINE(hf_recover_fill_drop, struct hf_recover_fill *)

/* Makes the entry with that timestamp a no-op of the same size, time and term. NOT_FOUND: there is none. */
HF_MUST_CHECK enum hf_err hf_recover_make_noop(struct hf_recover *recover, struct hf_mongo_ts ts,
                                               struct hf_error *err);

/* ---- What recovery leaves wrong ---- */

/* "shop.orders", "by_name"; OK too when collection or index are not there. Plain mode only. */
HF_MUST_CHECK enum hf_err hf_recover_drop_index(struct hf_recover *recover, const char *collection,
                                                const char *index, struct hf_error *err);

/* specs: a BSON array of index definitions. OK too when the collection is not there. Plain mode only. */
HF_MUST_CHECK enum hf_err hf_recover_make_indexes(struct hf_recover *recover,
                                                  const char *collection, struct hf_bytes specs,
                                                  struct hf_error *err);

/* An index of a build that has neither been committed nor aborted; it may be half made, or not there at all. */
struct hf_recover_half_made {
    uint8_t build[16];      /* UUID */
    const char *collection; /* "shop.orders" */
    const char *index;
};
/* Borrowed for the call. */
typedef enum hf_err (*hf_recover_half_made_visit)(void *context,
                                                  const struct hf_recover_half_made *one,
                                                  struct hf_error *err);
/* Each of them as the files show it now; the first error ends it. */
HF_MUST_CHECK enum hf_err hf_recover_half_made(struct hf_recover *recover,
                                               hf_recover_half_made_visit visit, void *context,
                                               struct hf_error *err);

struct hf_recover_count {
    bool is_collection; /* false: a view, or not there; nothing else is set */
    bool capped;
    uint64_t fast, counted;    /* documents: as reported, as found */
    uint64_t most, most_bytes; /* of a capped one; 0: no such limit */
    uint64_t bytes;            /* of its documents */
    bool validated;            /* the counts differed, and `validate` was run */
    bool valid;                /* what it found */
    char problem[256];         /* of one that is not valid */
};
/* Counts the collection, and runs `validate` where the fast count is wrong, which sets it right. Plain mode only. */
HF_MUST_CHECK enum hf_err hf_recover_count(struct hf_recover *recover, const char *database,
                                           const char *collection, struct hf_recover_count *out,
                                           struct hf_error *err);

/* ---- A new set ---- */

struct hf_recover_set {
    const char *name;           /* of the set */
    const char *members;        /* extended JSON array, as in replSetGetConfig */
    const char *settings;       /* extended JSON object without replicaSetId; NULL: defaults */
    uint8_t replica_set_id[12]; /* the same on all members, drawn once */
    bool config_server;
    /* A user that is known afterwards whatever the files say; NULL: none. The same on all members. */
    const struct hf_mongo_login *login;
};
/*
 * Makes the directory that of a member of a new set that keeps its oplog (observed 3F): the source's election, sync and
 * configuration documents go, the new configuration and minValid come; and the login's user, as that document, beside all
 * users that are there. Its roles come too, but none of them in place of one that is there. Starts and stops a plain server
 * for it; may be repeated. After hf_replay_run. INVALID: the configuration is no JSON.
 */
HF_MUST_CHECK enum hf_err hf_recover_set_config(const struct hf_recover_options *options,
                                                const struct hf_recover_set *set,
                                                struct hf_error *err);

#endif
