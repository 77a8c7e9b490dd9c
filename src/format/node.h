/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes of a file's block tree: 128 references each, aligned (store-format.md section 3;
 * docs/format/tree.md).
 *
 * Level 1 refers to blocks of the file, level n to nodes of level n - 1. The shape follows from the
 * number of blocks alone, so two trees over the same number of blocks can be walked in step.
 */
#ifndef HF_FORMAT_NODE_H
#define HF_FORMAT_NODE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "format/block.h"

#define HF_NODE_REFS 128
#define HF_NODE_HEADER_BYTES 8
#define HF_NODE_MAX_BYTES (HF_NODE_HEADER_BYTES + HF_NODE_REFS * HF_REF_BYTES)
#define HF_NODE_LEVELS_MAX 6 /* 128^6 blocks: beyond any limit */
#define HF_INLINE_REFS_MAX 8

struct hf_node {
    uint8_t level; /* from 1 */
    uint8_t count; /* 1 to 128 */
    struct hf_ref refs[HF_NODE_REFS];
};

HF_MUST_CHECK enum hf_err hf_node_encode(const struct hf_node *node, struct hf_buf *out,
                                         struct hf_error *err);
/* CORRUPT, or UNSUPPORTED for another version. */
HF_MUST_CHECK enum hf_err hf_node_decode(struct hf_bytes in, struct hf_node *out,
                                         struct hf_error *err);

/* Blocks of a file; block_bytes is a power of two. */
uint64_t hf_block_count(uint64_t size_bytes, uint32_t block_bytes);
/* Bytes of block `index` (only the last may be short). */
uint32_t hf_block_length(uint64_t size_bytes, uint32_t block_bytes, uint64_t index);
/* 0 when the references stand in the file's entry, else the root's level. */
unsigned hf_tree_depth(uint64_t block_count);
/* Nodes on a level; references in node `index` of a level. */
uint64_t hf_tree_nodes(uint64_t block_count, unsigned level);
uint32_t hf_tree_node_refs(uint64_t block_count, unsigned level, uint64_t index);

#endif
