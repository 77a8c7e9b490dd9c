/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a replay, for replay*.c only: its mark in the directory, the namespaces that it touches, the filling.
 */
#ifndef HF_OPLOG_REPLAY_INTERNAL_H
#define HF_OPLOG_REPLAY_INTERNAL_H

#include "mongo/recover.h"
#include "oplog/replay.h"

static inline struct hf_mongo_ts hf_replay_ts(const struct hf_optime *optime)
{
    return (struct hf_mongo_ts){.seconds = optime->seconds, .increment = optime->increment};
}
static inline struct hf_optime hf_replay_optime(struct hf_mongo_optime optime)
{
    return (struct hf_optime){
        .seconds = optime.ts.seconds, .increment = optime.ts.increment, .term = optime.term};
}

/* ---- The mark (replay_mark.c) ---- */

enum hf_replay_phase {
    HF_REPLAY_FRESH,      /* no mark */
    HF_REPLAY_FILLING,    /* entries go into the oplog; nothing is lost when it stops */
    HF_REPLAY_RECOVERING, /* the one recovery run was begun */
    HF_REPLAY_RECOVERED,  /* it ended well */
    HF_REPLAY_DONE,       /* and was looked at */
};
struct hf_replay_mark {
    enum hf_replay_phase phase;
    struct hf_optime checkpoint, last, truncate_after; /* of the point */
    struct hf_optime top; /* from RECOVERING on: where the oplog has to end */
    bool applies;         /* and that recovery has something to do */
    bool many;            /* the run takes the way for many entries */
};
/* A mark of this point. */
struct hf_replay_mark hf_replay_mark_of(const struct hf_replay_point *point);
bool hf_replay_mark_same_point(const struct hf_replay_mark *a, const struct hf_replay_mark *b);
/* No file: FRESH. CORRUPT: it is no mark. */
HF_MUST_CHECK enum hf_err hf_replay_mark_read(const char *dbpath, struct hf_replay_mark *out,
                                              struct hf_error *err);
/* Durable before it returns. */
HF_MUST_CHECK enum hf_err
hf_replay_mark_write(const char *dbpath, const struct hf_replay_mark *mark, struct hf_error *err);

/* ---- Namespaces (replay_names.c) ---- */

#define HF_REPLAY_NAMES_MAX ((size_t)50000)

/* Collections that the entries touch; all of them when it cannot be told. */
struct hf_replay_names {
    char **names; /* owned; sorted */
    size_t count, room;
    size_t last; /* index of the one that was found last */
    bool all;
};
void hf_replay_names_fini(struct hf_replay_names *names);
HF_CLEANUP_DEFINE_VALUE(hf_replay_names_fini, struct hf_replay_names)
/* Memory that runs out, or too many names: `all`. */
void hf_replay_names_add(struct hf_replay_names *names, const struct hf_oplog_entry *entry);

/* ---- Index builds (replay_builds.c) ---- */

struct hf_replay_build {
    uint8_t uuid[16];
    char *collection; /* owned; "shop.orders" */
    char **indexes;   /* owned; names */
    size_t index_count;
    struct hf_optime start, abort; /* entries; none: not among the replayed ones */
    bool committed; /* and begun before the checkpoint, which shows its indexes half made */
    uint8_t *specs; /* owned; of a committed one: its indexes, a BSON array */
    size_t specs_len;
};
/* Those that were begun or aborted, and not committed; and those that are committed and were not begun. */
struct hf_replay_builds {
    struct hf_replay_build *items; /* owned */
    size_t count;
};
void hf_replay_builds_fini(struct hf_replay_builds *builds);
HF_CLEANUP_DEFINE_VALUE(hf_replay_builds_fini, struct hf_replay_builds)
HF_MUST_CHECK enum hf_err hf_replay_builds_add(struct hf_replay_builds *builds,
                                               const struct hf_oplog_entry *entry,
                                               struct hf_error *err);

/* The replayed entries begin, commit or abort that build; of one that they begin and commit nothing is known. */
bool hf_replay_builds_know(const struct hf_replay_builds *builds, const uint8_t uuid[16]);

/* ---- Filling (replay_fill.c) ---- */

struct hf_replay_fill_options {
    const struct hf_replay_options *run;     /* borrowed for the call */
    const struct hf_recover_options *server; /* borrowed for the call */
    bool taken_up;                           /* an earlier call began to fill, and stopped */
    struct hf_replay_names *names;           /* grows */
    struct hf_replay_builds *builds;         /* as at the point */
    struct hf_replay_result *result;         /* its numbers grow */
};
/*
 * Compares what the copy holds with what is handed in and puts the rest in; sets the truncation point; stops the server
 * cleanly. mark->top and applies are set.
 */
HF_MUST_CHECK enum hf_err hf_replay_fill(const struct hf_replay_fill_options *options,
                                         struct hf_replay_mark *mark, struct hf_error *err);

/* The caller's entries one at a time, read and in order. */
struct hf_replay_source {
    const struct hf_replay_options *run;
    struct hf_oplog_entry entry; /* borrowed from the caller until the next one */
    bool more;                   /* entry is set */
    struct hf_optime before;     /* the one before it */
};
void hf_replay_source_begin(struct hf_replay_source *source, const struct hf_replay_options *run);
/* INVALID when the entries are not the ones that the point asks for. */
HF_MUST_CHECK enum hf_err hf_replay_source_next(struct hf_replay_source *source,
                                                struct hf_error *err);

#endif
