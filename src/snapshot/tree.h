/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a job's blocks and trees out of a store: the block finder, and bounded caches over it.
 *
 * "A block is where you find it" (store-format.md section 2): the finder keeps the ascending list
 * of the job's objects and the footers used last; what it does not find it looks for again after a
 * new list (keeps I10), and every block is proved by its hash (keeps I9). Any thread may call; one
 * reader serves one job.
 */
#ifndef HF_SNAPSHOT_TREE_H
#define HF_SNAPSHOT_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "format/filelist.h"
#include "format/node.h"
#include "format/pack.h"
#include "store/store.h"

struct hf_tree_reader;

struct hf_tree_reader_options {
    struct hf_store *store;           /* borrowed: outlives the reader */
    const struct hf_keyring *keyring; /* borrowed: outlives the reader */
    const char *cache_dir; /* objects with nodes and lists are kept there; NULL: nothing on disk */
    uint64_t cache_dir_max_bytes; /* 0 means 1 GiB */
    size_t memory_max_bytes;      /* footers and nodes in memory; 0 means 48 MiB */
};
HF_MUST_CHECK enum hf_err hf_tree_reader_create(const struct hf_tree_reader_options *options,
                                                struct hf_tree_reader **out, struct hf_error *err);
void hf_tree_reader_destroy(struct hf_tree_reader *reader);
HF_CLEANUP_DEFINE(hf_tree_reader_destroy, struct hf_tree_reader *)

/* Lists the job's objects anew; the first look-up does so by itself. */
HF_MUST_CHECK enum hf_err hf_tree_reader_refresh(struct hf_tree_reader *reader,
                                                 struct hf_error *err);

/* Where a block lies, as a footer said a moment ago. */
struct hf_found_block {
    struct hf_object_name object;
    struct hf_footer_block block;
    struct hf_pack_origin origin;
};
/* candidate 0 is the first object that has it, 1 the next one, …; NOT_FOUND past the last (after a
 * new list, for 0). */
HF_MUST_CHECK enum hf_err hf_tree_find(struct hf_tree_reader *reader,
                                       const struct hf_address *address, unsigned candidate,
                                       struct hf_found_block *out, struct hf_error *err);
/* Of writer only: for the check before a manifest. */
HF_MUST_CHECK enum hf_err hf_tree_find_of_writer(struct hf_tree_reader *reader,
                                                 const struct hf_address *address,
                                                 const struct hf_id *writer,
                                                 struct hf_found_block *out, struct hf_error *err);

/*
 * Reads, decrypts, decompresses and proves one block; every copy is tried before it is given up.
 * plain gets the bytes (cleared first; its max bounds them). NOT_FOUND or CORRUPT names address and
 * object.
 */
HF_MUST_CHECK enum hf_err hf_tree_read_block(struct hf_tree_reader *reader,
                                             struct hf_block_coder *coder, const struct hf_ref *ref,
                                             struct hf_buf *plain, struct hf_error *err);
/* The same for a node or a list, which lie in tree objects. */
HF_MUST_CHECK enum hf_err hf_tree_read_tree_block(struct hf_tree_reader *reader,
                                                  struct hf_block_coder *coder,
                                                  const struct hf_ref *ref, struct hf_buf *plain,
                                                  struct hf_error *err);
/* A node, through the cache. level: what it must be. */
HF_MUST_CHECK enum hf_err hf_tree_read_node(struct hf_tree_reader *reader,
                                            struct hf_block_coder *coder, const struct hf_ref *ref,
                                            unsigned level, struct hf_node *out,
                                            struct hf_error *err);

/*
 * References of a file's blocks [node * 128, node * 128 + count): a level-1 node, or the entry's
 * own references. A zero sub-tree answers ZERO (or HOLE) references.
 */
HF_MUST_CHECK enum hf_err hf_tree_file_refs(struct hf_tree_reader *reader,
                                            struct hf_block_coder *coder,
                                            const struct hf_file_entry *entry, uint64_t node,
                                            struct hf_node *out, struct hf_error *err);

/*
 * The reference of node `index` of a level in a file's tree, as the tree says it (a zero sub-tree answers its flags).
 * *there is false when the tree has no such node.
 */
struct hf_node_place {
    unsigned level; /* from 1 */
    uint64_t index;
};
HF_MUST_CHECK enum hf_err hf_tree_node_ref(struct hf_tree_reader *reader,
                                           struct hf_block_coder *coder,
                                           const struct hf_file_entry *entry,
                                           const struct hf_node_place *place, struct hf_ref *out,
                                           bool *there, struct hf_error *err);

/* A stretch of an object, as it lies there: for joining near blocks. NOT_FOUND: the object went, look again. */
HF_MUST_CHECK enum hf_err hf_tree_read_range(struct hf_tree_reader *reader,
                                             const struct hf_object_name *object, uint64_t offset,
                                             uint8_t *out, size_t len, struct hf_error *err);

/* ---- Walking the files of a tree, in order of their paths ---- */

struct hf_file_walk;
HF_MUST_CHECK enum hf_err hf_file_walk_create(struct hf_tree_reader *reader,
                                              struct hf_block_coder *coder,
                                              const struct hf_tree_root *root,
                                              struct hf_file_walk **out, struct hf_error *err);
void hf_file_walk_destroy(struct hf_file_walk *walk);
HF_CLEANUP_DEFINE(hf_file_walk_destroy, struct hf_file_walk *)
/* *entry is NULL at the end; borrowed until the next call. */
HF_MUST_CHECK enum hf_err hf_file_walk_next(struct hf_file_walk *walk,
                                            const struct hf_file_entry **entry,
                                            struct hf_error *err);
/* The entry with that path; *entry NULL when there is none. Paths of successive calls must ascend.
 */
HF_MUST_CHECK enum hf_err hf_file_walk_seek(struct hf_file_walk *walk, struct hf_str path,
                                            const struct hf_file_entry **entry,
                                            struct hf_error *err);

#endif
