/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restore onto files from the inside: restore_onto.c leads it, restore_compare.c looks at the bytes that are there.
 */
#ifndef HF_SNAPSHOT_RESTORE_ONTO_INTERNAL_H
#define HF_SNAPSHOT_RESTORE_ONTO_INTERNAL_H

#include "snapshot/restore_internal.h"

struct hf_restore_unit {
    uint64_t first; /* block; all of a unit stand in one node */
    uint32_t count;
    uint32_t file;
};

struct hf_restore_comparer {
    struct hf_block_coder *coder; /* owned */
    uint8_t *buffer;              /* owned; of buffer_bytes */
    size_t buffer_bytes;
    uint8_t *like; /* owned; of like_bytes: one block of the other directory's file */
    size_t like_bytes;
    struct hf_node node;
};

struct hf_restore_onto {
    const struct hf_restore_options *options; /* borrowed */
    struct hf_restore_writer writer;
    struct hf_restore_look look;
    struct hf_lock_file *lock; /* owned: on mongod.lock */
    bool made_lock, had_mark;  /* mongod.lock was not there; an earlier restore's mark was */
    struct hf_file_entry
        *entries; /* owned; of the writer's files, their paths borrowed from there */
    struct hf_file_entry metadata;         /* storage.bson, kept for the end */
    struct hf_restore_unit *units;         /* owned; to be compared */
    size_t unit_count, block_count;        /* of units */
    struct hf_restore_comparer *comparers; /* owned; one a worker */
    struct hf_mutex mutex;                 /* guards: writer.window, while units are compared */
    atomic_uint_fast64_t compared_bytes, equal_bytes, reused_bytes;
    struct hf_restore_result result;
};

/* Compares all units, and writes, or puts into the window, the blocks that differ; there are none afterwards. */
HF_MUST_CHECK enum hf_err hf_restore_compare_units(struct hf_restore_onto *onto,
                                                   struct hf_error *err);

#endif
