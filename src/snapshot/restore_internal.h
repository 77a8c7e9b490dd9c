/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a restore into an empty directory and one onto files have in common: many files that several threads write, a
 * window of blocks at a time.
 */
#ifndef HF_SNAPSHOT_RESTORE_INTERNAL_H
#define HF_SNAPSHOT_RESTORE_INTERNAL_H

#include "os/fs.h"
#include "snapshot/fetch.h"
#include "snapshot/rate.h"
#include "snapshot/restore.h"

#define HF_RESTORE_WINDOW_FILES ((size_t)4096)
#define HF_RESTORE_OPEN_FILES 128
#define HF_RESTORE_NAMES_MAX 1000000
#define HF_RESTORE_DIR_MODE 0700
#define HF_RESTORE_MARK_BYTES ((size_t)4096)

struct hf_restore_file {
    char *path; /* owned; full */
};

/* Open files are shared by the workers; a slot serves file numbers that are equal modulo HF_RESTORE_OPEN_FILES. */
struct hf_restore_slot {
    struct hf_file *file; /* owned */
    uint32_t number;
    unsigned users;
};

struct hf_restore_writer {
    const struct hf_restore_options *options; /* borrowed */
    struct hf_tree_reader *reader;            /* owned */
    struct hf_block_coder *coder;             /* owned; the caller's thread */
    struct hf_fetcher *fetcher;               /* owned */
    struct hf_fetch_window window;
    struct hf_rate rate;
    unsigned workers;
    struct hf_restore_file *files; /* owned; of the window */
    size_t file_count;
    char **dirs; /* owned: every directory with files, to be synced */
    size_t dir_count, dir_capacity;
    atomic_uint_fast64_t written_bytes;
    struct hf_mutex mutex; /* guards: slots */
    struct hf_restore_slot slots[HF_RESTORE_OPEN_FILES];
};
/* init never fails, so that fini may follow whatever happened. */
void hf_restore_writer_init(struct hf_restore_writer *writer,
                            const struct hf_restore_options *options);
HF_MUST_CHECK enum hf_err hf_restore_writer_open(struct hf_restore_writer *writer,
                                                 struct hf_error *err);
void hf_restore_writer_fini(struct hf_restore_writer *writer);

/* ---- the caller's thread ---- */

/* The full path of a file of the snapshot. CORRUPT for one that must not be written. Free with hf_free. */
HF_MUST_CHECK enum hf_err hf_restore_path(const struct hf_restore_options *options,
                                          struct hf_str path, char **out, struct hf_error *err);
/* Makes the directory of a file and remembers it. Paths come sorted. */
HF_MUST_CHECK enum hf_err hf_restore_make_parent(struct hf_restore_writer *writer, const char *path,
                                                 struct hf_error *err);
/* Makes a new file, and its directory, at its full size, all of it a hole. */
HF_MUST_CHECK enum hf_err hf_restore_make_file(struct hf_restore_writer *writer, const char *path,
                                               const struct hf_file_entry *entry,
                                               struct hf_error *err);
/* The file becomes the last of the window, which has room for it. */
void hf_restore_add_file_take(struct hf_restore_writer *writer, char *path);
void hf_restore_show_file(const struct hf_restore_options *options, struct hf_str path);

enum hf_restore_rest {
    HF_RESTORE_ALL_WHOLE,
    HF_RESTORE_LAST_GOES_ON, /* the last file has more blocks, and becomes the first of the next window */
};
/* Reads and writes the window's blocks, and syncs its whole files. */
HF_MUST_CHECK enum hf_err hf_restore_flush(struct hf_restore_writer *writer,
                                           enum hf_restore_rest rest, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_restore_sync_dirs(struct hf_restore_writer *writer,
                                               struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_restore_close_files(struct hf_restore_writer *writer,
                                                 struct hf_error *err);

/* ---- any thread ---- */

/* The block itself, which was proved. */
HF_MUST_CHECK enum hf_err hf_restore_write(struct hf_restore_writer *writer,
                                           const struct hf_fetch_item *item, struct hf_bytes plain,
                                           struct hf_error *err);
/* Makes a range of a file of the window zero. */
HF_MUST_CHECK enum hf_err hf_restore_write_zeros(struct hf_restore_writer *writer,
                                                 const struct hf_fetch_item *item,
                                                 struct hf_error *err);

/* ---- onto files; restore_onto.c ---- */

HF_MUST_CHECK enum hf_err hf_restore_onto(const struct hf_restore_options *options,
                                          struct hf_restore_result *out, struct hf_error *err);

/* ---- what lies in the directory; restore_look.c ---- */

struct hf_restore_look_options {
    const struct hf_restore_options *restore; /* borrowed */
    struct hf_tree_reader *reader;            /* borrowed */
    struct hf_block_coder *coder;             /* borrowed */
};
/* What a restore onto files has to know before it changes anything. */
struct hf_restore_look {
    char **
        extra; /* owned; relative: files of a database that the snapshot does not have, ascending */
    size_t extra_count, extra_capacity;
    bool snapshot_has_lock, snapshot_has_metadata; /* mongod.lock, storage.bson */
    bool has_metadata;                             /* lies there now */
};
#define HF_RESTORE_LOCK_NAME "mongod.lock"
#define HF_RESTORE_METADATA_NAME "storage.bson"
/* A replay to a point in time that was cut off left it there (oplog/replay.h). */
#define HF_RESTORE_REPLAY_NAME "holdfast-replay.json"
/* True, or why not: CONFLICT when neither an earlier restore nor a database left its files there. */
HF_MUST_CHECK enum hf_err hf_restore_is_database(const char *directory, struct hf_error *err);
/* Changes nothing. CONFLICT names what stands in the way. */
HF_MUST_CHECK enum hf_err hf_restore_look(const struct hf_restore_look_options *options,
                                          struct hf_restore_look *out, struct hf_error *err);
void hf_restore_look_fini(struct hf_restore_look *look);

#endif
