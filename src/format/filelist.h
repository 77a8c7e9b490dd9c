/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File entries and the lists they are stored in, and the root of a snapshot's tree (store-format.md
 * section 3).
 */
#ifndef HF_FORMAT_FILELIST_H
#define HF_FORMAT_FILELIST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "codec/hash.h"
#include "format/block.h"
#include "format/node.h"

#define HF_PATH_MAX_BYTES 4096
#define HF_FILE_MAX_BYTES ((uint64_t)16 << 40) /* 16 TiB */
#define HF_SNAPSHOT_FILES_MAX ((uint64_t)1000000)
#define HF_LIST_ENTRIES_MAX 512
#define HF_LIST_MAX_BYTES ((size_t)4 << 20)
#define HF_LISTS_MAX ((size_t)65536)

/* What was seen of a file when it was read: decides whether the next capture reads it
 * (store-format.md section 4). */
struct hf_witness {
    bool has_line;            /* the engine named a checkpoint for it */
    struct hf_hash line_hash; /* hf_block_hash of its line in WiredTiger.backup */
    uint64_t device, inode;
    uint64_t disk_bytes;   /* size on disk, which may exceed the entry's */
    uint64_t listed_bytes; /* fileSize of the cursor; UINT64_MAX: not listed with a size */
    int64_t mtime_ns, ctime_ns;
    uint64_t seen_ms; /* wall clock of the reading */
};

struct hf_file_entry {
    struct hf_str path; /* borrowed: from the list's bytes, or the caller's */
    uint64_t size_bytes;
    uint32_t block_bytes; /* power of two */
    uint32_t mode;        /* permission bits */
    struct hf_witness witness;
    uint8_t
        depth; /* 0: refs are the file's blocks; else refs[0] is the root, a node of that level */
    uint8_t ref_count; /* depth 0: 0 to 8, one a block; else 1 */
    struct hf_ref refs[HF_INLINE_REFS_MAX];
};

/* Appends one entry. The caller appends in ascending order of paths. */
HF_MUST_CHECK enum hf_err hf_file_entry_encode(const struct hf_file_entry *entry,
                                               struct hf_buf *out, struct hf_error *err);
/* True when a list ends after this path: about every hundredth, by the path alone. */
bool hf_list_cuts_after(struct hf_str path);

/* Puts header and entries together: entries are encoded entries one after another. */
HF_MUST_CHECK enum hf_err hf_list_encode(struct hf_bytes entries, uint32_t entry_count,
                                         struct hf_buf *out, struct hf_error *err);

/* Walks an encoded list; every value was checked against its limit, paths are safe and ascending.
 */
struct hf_list_reader {
    struct hf_reader reader;
    uint32_t left;
    struct hf_str previous;
};
HF_MUST_CHECK enum hf_err hf_list_open(struct hf_bytes list, struct hf_list_reader *out,
                                       struct hf_error *err);
/* *more is false at the end. entry->path is borrowed from the list's bytes. */
HF_MUST_CHECK enum hf_err hf_list_next(struct hf_list_reader *list, struct hf_file_entry *entry,
                                       bool *more, struct hf_error *err);

/* ---- The root: references of the lists, and what the tree holds ---- */

struct hf_tree_sums {
    uint64_t files, bytes; /* of the snapshot */
    uint64_t new_bytes;    /* plain bytes of blocks that this capture stored */
    uint64_t stored_bytes; /* bytes of objects that this capture put */
    uint64_t read_bytes;   /* bytes read from the source */
    uint64_t blocks_reused, blocks_new, blocks_zero;
    uint64_t files_skipped; /* taken over unread */
};

struct hf_tree_root {
    struct hf_ref *lists; /* owned */
    size_t list_count;
    struct hf_tree_sums sums;
};
void hf_tree_root_fini(struct hf_tree_root *root);
HF_CLEANUP_DEFINE_VALUE(hf_tree_root_fini, struct hf_tree_root)
HF_MUST_CHECK enum hf_err hf_tree_root_copy(const struct hf_tree_root *root,
                                            struct hf_tree_root *out, struct hf_error *err);
/* Bytes inside manifests and messages; messages carry them in base64. */
HF_MUST_CHECK enum hf_err hf_tree_root_encode(const struct hf_tree_root *root, struct hf_buf *out,
                                              struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_tree_root_decode(struct hf_bytes in, struct hf_tree_root *out,
                                              struct hf_error *err);

#endif
