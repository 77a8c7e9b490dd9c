/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a restored snapshot to a point in time: the saved entries are put into the copy's own oplog, unchanged, and the
 * server's own recovery replays them, in one run (mongodb-observed.md 3C, 3E, 6). What was not applied is an error,
 * never a directory that looks done. Knows neither slices nor stores: entries are handed in.
 *
 * Works on a directory that no server has open, with temporary servers of its own that listen on 127.0.0.1. It may be
 * killed at any instant: the same call again goes on where it can, and otherwise says that the directory has to be
 * restored anew. How far it came stands in the file HF_REPLAY_MARK inside the directory.
 */
#ifndef HF_OPLOG_REPLAY_H
#define HF_OPLOG_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "base/progress.h"
#include "base/thread.h"
#include "codec/json.h"
#include "format/manifest.h"
#include "oplog/ranges.h"
#include "oplog/reader.h"

#define HF_REPLAY_MARK "holdfast-replay.json"

/* From a struct hf_plan and its base (hf_replay_point_of). */
struct hf_replay_point {
    struct hf_optime checkpoint; /* what the copy's files show; its term may be -1 */
    struct hf_optime copy_has;   /* the copy holds the entries up to this one for certain */
    struct hf_optime read_after; /* entries come after this one; none: from the chain's first */
    struct hf_optime last; /* the last one; none: no entries come, the copy's own oplog is cut */
    struct hf_optime truncate_after; /* greatest timestamp that stays: `last`, or the limit asked */
    bool inserts;                    /* `last` lies behind copy_has */
};
struct hf_replay_point hf_replay_point_of(const struct hf_plan *plan,
                                          const struct hf_base_snapshot *base);

/* The next entry, in order, after read_after up to and with last; borrowed until the next call. *more false: no more. */
typedef enum hf_err (*hf_replay_next)(void *context, struct hf_bytes *entry, bool *more,
                                      struct hf_error *err);
/* The same out of a chain; the context is a struct hf_chain_reader that was opened from read_after to last. */
HF_MUST_CHECK enum hf_err hf_replay_chain_next(void *context, struct hf_bytes *entry, bool *more,
                                               struct hf_error *err);

/* What a mongod has to be started with to open files of these options: "--directoryperdb" and the like. */
struct hf_replay_arguments {
    char **values; /* owned; NULL at the end */
};
/* engine_options: facts.engine_options of the manifest; NULL: none. UNSUPPORTED names an option that is not known here. */
HF_MUST_CHECK enum hf_err hf_replay_arguments_make(const struct hf_json *engine_options,
                                                   struct hf_replay_arguments *out,
                                                   struct hf_error *err);
void hf_replay_arguments_fini(struct hf_replay_arguments *arguments);
HF_CLEANUP_DEFINE_VALUE(hf_replay_arguments_fini, struct hf_replay_arguments)

/* All borrowed for the call. */
struct hf_replay_options {
    const char *program; /* mongod; looked up in PATH where it has no '/' */
    const char *
        server_version; /* of the source ("4.4.6-8"): the program has to be of the same release; NULL: any */
    const char *dbpath;
    const char *const *arguments; /* hf_replay_arguments.values and more; may be NULL */
    const struct hf_replay_point *point;
    hf_replay_next next; /* NULL where point->last is none */
    void *next_context;
    const char
        *log_dir; /* logs of the temporary servers; NULL: beside dbpath, "<dbpath>.replay-…" */
    struct hf_progress *progress; /* may be NULL */
    const struct hf_cancel *cancel;
    struct hf_log *log; /* may be NULL */
};

/* A collection that recovery left with a wrong count, or with more documents than it may have. */
struct hf_replay_note {
    char *name;  /* owned; "shop.audit" */
    char *text;  /* owned; a sentence */
    bool mended; /* nothing is left to do */
};
struct hf_replay_result {
    struct hf_optime top; /* the oplog's last entry: the point that was reached */
    bool done_before;     /* an earlier call had done it; only looked at again */
    uint64_t compared;    /* entries that the copy held already */
    uint64_t inserted, inserted_bytes;
    uint64_t looked_at, validated; /* collections */
    struct hf_replay_note *notes;  /* owned */
    size_t note_count;
};
void hf_replay_result_fini(struct hf_replay_result *result);
HF_CLEANUP_DEFINE_VALUE(hf_replay_result_fini, struct hf_replay_result)

/*
 * Brings the directory to the point. Afterwards a plain mongod opens it with exactly the data at the point, and it can
 * become a member of a new set (hf_recover_set_config). What may be wrong:
 * CONFLICT: the copy holds entries that the history does not have: the source rolled back after this snapshot, which is
 *   no base for a later target; or the directory is in use; or it was brought to another point before.
 * LOST: the directory has to be restored anew. CORRUPT: the copy lacks entries it should have.
 * INVALID: the program is missing or of another release. Before any of these the directory can be used with another point.
 */
HF_MUST_CHECK enum hf_err hf_replay_run(const struct hf_replay_options *options,
                                        struct hf_replay_result *out, struct hf_error *err);

/* Removes what hf_replay_run keeps in mind in the directory: once nobody calls it for this directory again. */
HF_MUST_CHECK enum hf_err hf_replay_forget(const char *dbpath, struct hf_error *err);

#endif
