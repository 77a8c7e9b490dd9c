/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of a capture share.
 *
 *   capture.c          the run: opens, sorts, decides what is read, hands out units
 *   capture_work.c     a worker: reads a unit's blocks, compares, stores
 *   capture_tree.c     a file under way: units in, nodes and at last an entry out
 *   capture_lists.c    entries become lists, lists the root
 *   capture_journal.c  journals of this attempt and of adopted ones
 *   capture_files.c    the list of files, the engine's lines
 */
#ifndef HF_SNAPSHOT_CAPTURE_INTERNAL_H
#define HF_SNAPSHOT_CAPTURE_INTERNAL_H

#include <stdatomic.h>

#include "os/fs.h"
#include "snapshot/capture.h"
#include "snapshot/journal.h"
#include "snapshot/packer.h"
#include "snapshot/rate.h"
#include "snapshot/tree.h"

/* Blocks of a unit of work: divides a node, and is small enough that one file keeps many workers busy. */
#define HF_UNIT_BLOCKS 32

/* An entry that is made. */
struct hf_captured {
    const char *path; /* borrowed from the list of files */
    uint64_t round;   /* the last reading of a path counts */
    uint8_t *entry;   /* owned; encoded */
    size_t len;
};

struct hf_capture {
    const struct hf_capture_options *options;          /* borrowed */
    struct hf_tree_reader *reader;                     /* owned; of the parent; NULL without one */
    struct hf_packer *packer;                          /* owned */
    struct hf_journal_writer *journal;                 /* owned; may be NULL */
    struct hf_journal_reader *adopted[HF_ADOPTED_MAX]; /* owned; NULL where there is none */
    struct hf_queue *units;                            /* owned; of struct hf_capture_unit */
    struct hf_rate rate;
    atomic_uint_fast64_t read_bytes, new_bytes, blocks_reused, blocks_new, blocks_zero;
    atomic_uint_fast64_t damaged_parent_nodes;
    atomic_bool adopted_used[HF_ADOPTED_MAX];
    struct hf_mutex mutex; /* guards: all below */
    struct hf_cond file_done;
    bool failed;
    struct hf_error error; /* the first one */
    size_t files_open;
    struct hf_captured *captured; /* owned */
    size_t captured_count, captured_capacity;
};

/* A node whose references come in from several workers. */
struct hf_node_build {
    struct hf_node_build *next; /* owned */
    uint64_t index;
    uint32_t missing; /* references */
    struct hf_node node;
};

/* A file under way; ends when its last unit is in. */
struct hf_capture_open {
    struct hf_capture *capture; /* borrowed: outlives us */
    const char *path;           /* borrowed from the list of files */
    struct hf_file *file;       /* owned */
    uint64_t round;
    uint64_t block_count;
    bool compares;     /* the parent has the file with the same block size */
    bool must_be_same; /* every witness is equal: a difference is an event */
    atomic_bool differs;
    struct hf_file_entry parent;  /* path is ours; with compares only */
    struct hf_mutex mutex;        /* guards: builds, entry.refs, units_left */
    struct hf_node_build *builds; /* owned */
    uint64_t units_left;
    struct hf_file_entry entry;
};

struct hf_capture_unit {
    struct hf_capture_open *open; /* borrowed until its last unit is done */
    uint64_t first;               /* block */
    uint32_t count;
};

/* capture.c */
void hf_capture_fail(struct hf_capture *capture, const struct hf_error *error);
bool hf_capture_has_failed(struct hf_capture *capture);
/* Takes the entry's bytes. */
HF_MUST_CHECK enum hf_err hf_capture_add_entry(struct hf_capture *capture,
                                               const struct hf_captured *captured,
                                               struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_capture_encode_entry(const struct hf_file_entry *entry,
                                                  struct hf_captured *out, struct hf_error *err);

/* capture_lists.c */
HF_MUST_CHECK enum hf_err hf_capture_make_lists(struct hf_capture *capture,
                                                struct hf_block_coder *coder,
                                                struct hf_tree_root *root, struct hf_error *err);

/* capture_work.c */
void hf_capture_work(void *capture);

/* capture_tree.c */
HF_MUST_CHECK struct hf_capture_open *hf_capture_open_create(struct hf_capture *capture,
                                                             const char *path);
void hf_capture_open_destroy(struct hf_capture_open *open);
HF_CLEANUP_DEFINE(hf_capture_open_destroy, struct hf_capture_open *)
/* Puts the references of a unit in their places, and makes every node that is whole now. */
HF_MUST_CHECK enum hf_err hf_capture_store_refs(struct hf_capture_open *open,
                                                const struct hf_capture_unit *unit,
                                                const struct hf_ref *refs,
                                                struct hf_block_coder *coder, struct hf_error *err);
/* One unit is done, well or not; with the last one the file ends and is freed. */
void hf_capture_unit_done(struct hf_capture_open *open);

/* capture_journal.c */
HF_MUST_CHECK enum hf_err hf_capture_open_journals(struct hf_capture *capture,
                                                   struct hf_error *err);
void hf_capture_close_journals(struct hf_capture *capture);

#endif
