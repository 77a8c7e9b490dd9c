/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A member of this host in a restore onto its whole set (docs/design/automated-restore.md): the server gives one step
 * after the other, each may come again, and a note on disk says how far the member is. The files of the agent that do
 * this share this header.
 *
 *   target.c          the steps         target_note.c   the note
 *   target_look.c     what it is
 *   target_build.c    the new directory target_swap.c   the old one steps aside, and back
 *   target_member.c   its server process: found, stopped, started
 *   target_guard.c    what is done when the server is not heard of any more
 */
#ifndef HF_AGENT_TARGET_H
#define HF_AGENT_TARGET_H

#include "agent/task.h"
#include "mongo/login.h"
#include "os/program.h"

/* How far a member is. What follows on a death, or on a server that is gone for good, stands behind it. */
enum hf_agent_target_stage {
    HF_AGENT_TARGET_BUILDING, /* nothing: the old member runs */
    HF_AGENT_TARGET_BUILT,    /* nothing: the old member runs */
    HF_AGENT_TARGET_STOPPING, /* alone: back */
    HF_AGENT_TARGET_STOPPED,  /* alone: back */
    HF_AGENT_TARGET_SWAPPING, /* in doubt: others may run on the new data already; the server is waited for */
    HF_AGENT_TARGET_SWAPPED, /* the same */
    HF_AGENT_TARGET_STARTED, /* alone: on; all others have swapped too */
    HF_AGENT_TARGET_UNDOING, /* alone: back, to its end */
    HF_AGENT_TARGET_UNDONE,  /* the old member runs; no step of that restore is taken any more */
};

struct hf_agent_target_note {
    struct hf_id restore;
    char member[HF_NAME_BYTES];
    char set_name[HF_NAME_BYTES];
    char db_path[HF_MESSAGE_PATH_BYTES]; /* links resolved */
    enum hf_agent_target_stage stage;
    bool arbiter, in_place;
    bool
        inside; /* the dbPath stays, its entries are swapped: it is a mount point, or its parent not ours */
    bool entries_back; /* on the way back inside: the new entries are out, the old ones go in */
    bool entries_in;   /* inside: the old entries are out, the new ones go in */
    bool stopped_by_us;
    bool
        coming; /* its server was launched, or is about to be, and nobody has seen yet what became of it */
    bool
        going; /* its server was told to end, or is about to be, and nobody has seen yet that it did */
    struct hf_program program;   /* owned; how the member ran */
    char *config;                /* owned; of the set, as JSON, once it is stopped; may be NULL */
    struct hf_mongo_login login; /* owned; what we log in with, to be known to the new data too */
    uint64_t files, bytes, written_bytes;
    uint64_t reused_bytes, fetched_bytes; /* of the files: from what lay there; from the store */
};
void hf_agent_target_note_fini(struct hf_agent_target_note *note);
HF_CLEANUP_DEFINE_VALUE(hf_agent_target_note_fini, struct hf_agent_target_note)

/* ---- The note ---- */

/* NOT_FOUND: there is none for that member. */
HF_MUST_CHECK enum hf_err hf_agent_target_note_read(struct hf_agent_state *state,
                                                    const char *member,
                                                    struct hf_agent_target_note *out,
                                                    struct hf_error *err);
/* Durable on return. */
HF_MUST_CHECK enum hf_err hf_agent_target_note_write(struct hf_agent_state *state,
                                                     const struct hf_agent_target_note *note,
                                                     struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_agent_target_note_forget(struct hf_agent_state *state,
                                                      const char *member, struct hf_error *err);

/* ---- What it is ---- */

/* Its report for the server; touches nothing. */
HF_MUST_CHECK enum hf_err hf_agent_target_report(const struct hf_agent_work *work,
                                                 struct hf_agent_target_note *note,
                                                 struct hf_msg_finish *finish,
                                                 struct hf_error *err);
/* Into the note, for a step that comes first: directory, program, login. CONFLICT when it is not as the report said. */
HF_MUST_CHECK enum hf_err hf_agent_target_know(const struct hf_agent_work *work,
                                               struct hf_agent_target_note *note,
                                               struct hf_error *err);

/* ---- Its directories ---- */

/* ".holdfast-new" and ".holdfast-old": beside the dbPath with its name in front, or inside. Free with hf_free; NULL on no
 * memory. */
char *hf_agent_target_new_dir(const struct hf_agent_target_note *note);
char *hf_agent_target_old_dir(const struct hf_agent_target_note *note);
/* Each may be called again after a death anywhere within. */
HF_MUST_CHECK enum hf_err hf_agent_target_swap(const struct hf_agent_context *context,
                                               struct hf_agent_target_note *note,
                                               struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_agent_target_swap_back(const struct hf_agent_context *context,
                                                    struct hf_agent_target_note *note,
                                                    struct hf_error *err);
/* CONFLICT when the directory is not one that a mongod was started on, or must not be emptied. */
HF_MUST_CHECK enum hf_err hf_agent_target_check_directory(const char *db_path,
                                                          struct hf_error *err);
/* On the disk, of what is a database's: as much as a restore onto it has at least. */
uint64_t hf_agent_target_data_bytes(const char *db_path);
/* Owner and modes of what lies in dir become those of the dbPath and its files. */
HF_MUST_CHECK enum hf_err hf_agent_target_own(const struct hf_agent_target_note *note,
                                              const char *dir, struct hf_error *err);

/* ---- Its server process ---- */

/* CONFLICT while a server has the directory open. */
HF_MUST_CHECK enum hf_err hf_agent_target_is_free(const char *db_path, struct hf_error *err);
/* The process that has it open; NOT_FOUND when none is seen. */
HF_MUST_CHECK enum hf_err hf_agent_target_find(const char *db_path, struct hf_program *out,
                                               struct hf_error *err);
/* By its unit, or SIGTERM; waits for its clean end. Nothing runs, and nothing that was launched is still to come: OK. */
HF_MUST_CHECK enum hf_err hf_agent_target_stop(const struct hf_agent_work *work,
                                               struct hf_agent_target_note *note,
                                               struct hf_error *err);
/* By its unit, the command that was given for it, or as it ran before; waits until it answers. It runs: only waits; unless it
 * was told to end, which is waited for first: it answers until then. */
HF_MUST_CHECK enum hf_err hf_agent_target_start(const struct hf_agent_context *context,
                                                struct hf_agent_target_note *note,
                                                const struct hf_cancel *cancel,
                                                struct hf_error *err);
/* Until it is a member of a set that has a primary. */
HF_MUST_CHECK enum hf_err hf_agent_target_wait_primary(const struct hf_agent_work *work,
                                                       const struct hf_agent_target_note *note,
                                                       struct hf_error *err);
/* "unit mongod.service", for people; NULL when nothing was said for that member. */
const char *hf_agent_target_unit(const struct hf_agent_context *context, const char *member);
const char *hf_agent_target_command(const struct hf_agent_context *context, const char *member);

/* ---- The new directory ---- */

struct hf_agent_target_built {
    const char *directory;
    struct hf_msg_replay *replay; /* what the replay to a point did */
};
HF_MUST_CHECK enum hf_err hf_agent_target_build(const struct hf_agent_work *work,
                                                struct hf_agent_target_note *note,
                                                const struct hf_agent_target_built *built,
                                                struct hf_error *err);

/* ---- Both the steps and the guard ---- */

/* The old directory in its place, the new one gone, the old member started. The note ends UNDONE. */
HF_MUST_CHECK enum hf_err hf_agent_target_back(const struct hf_agent_context *context,
                                               struct hf_agent_target_note *note,
                                               const struct hf_cancel *cancel,
                                               struct hf_error *err);

/* One thing at a time for each member; taken by steps and guard. False when cancelled meanwhile. */
bool hf_agent_targets_take(struct hf_agent_targets *targets, const char *member,
                           const struct hf_cancel *cancel);
bool hf_agent_targets_try(struct hf_agent_targets *targets, const char *member);
void hf_agent_targets_give(struct hf_agent_targets *targets, const char *member);

#endif
