/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes, and the arithmetic of a file's tree.
 *
 * A node: 0 magic "HFnd", 4 version 1, 5 level, 6 count, 7 zero, then count references of 48 bytes.
 */
#include "format/node.h"

#include <inttypes.h>

#define NODE_MAGIC "HFnd"
#define NODE_VERSION 1

enum hf_err hf_node_encode(const struct hf_node *node, struct hf_buf *out, struct hf_error *err)
{
    HF_ASSERT(node->count >= 1 && node->count <= HF_NODE_REFS && node->level >= 1);
    uint8_t bytes[HF_NODE_MAX_BYTES];
    memcpy(bytes, NODE_MAGIC, 4);
    bytes[4] = NODE_VERSION;
    bytes[5] = node->level;
    bytes[6] = node->count;
    bytes[7] = 0;
    size_t len = HF_NODE_HEADER_BYTES;
    for (unsigned i = 0; i < node->count; i++) {
        hf_ref_encode(&node->refs[i], bytes + len);
        len += HF_REF_BYTES;
    }
    hf_buf_clear(out);
    return hf_buf_append(out, hf_bytes_of(bytes, len), err);
}

enum hf_err hf_node_decode(struct hf_bytes in, struct hf_node *out, struct hf_error *err)
{
    if (in.len < HF_NODE_HEADER_BYTES || memcmp(in.data, NODE_MAGIC, 4) != 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "not a node");
    }
    if (in.data[4] != NODE_VERSION) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "node of format version %u, this program reads version %d",
                       (unsigned)in.data[4], NODE_VERSION);
    }
    unsigned level = in.data[5];
    unsigned count = in.data[6];
    if (level < 1 || level > HF_NODE_LEVELS_MAX || count < 1 || count > HF_NODE_REFS ||
        in.data[7] != 0 || in.len != HF_NODE_HEADER_BYTES + (size_t)count * HF_REF_BYTES) {
        return hf_fail(err, HF_ERR_CORRUPT, "node of level %u with %u references in %zu bytes",
                       level, count, in.len);
    }
    out->level = (uint8_t)level;
    out->count = (uint8_t)count;
    for (unsigned i = 0; i < count; i++) {
        if (hf_ref_decode(in.data + HF_NODE_HEADER_BYTES + (size_t)i * HF_REF_BYTES, &out->refs[i],
                          err) != HF_ERR_OK) {
            return hf_wrap(err, "node, reference %u", i);
        }
    }
    return HF_ERR_OK;
}

uint64_t hf_block_count(uint64_t size_bytes, uint32_t block_bytes)
{
    return size_bytes / block_bytes + (size_bytes % block_bytes != 0 ? 1 : 0);
}

uint32_t hf_block_length(uint64_t size_bytes, uint32_t block_bytes, uint64_t index)
{
    uint64_t left = size_bytes - index * block_bytes;
    return left < block_bytes ? (uint32_t)left : block_bytes;
}

unsigned hf_tree_depth(uint64_t block_count)
{
    if (block_count <= HF_INLINE_REFS_MAX) {
        return 0;
    }
    unsigned depth = 1;
    for (uint64_t nodes = hf_tree_nodes(block_count, 1); nodes > 1;
         nodes = hf_tree_nodes(block_count, depth)) {
        depth++;
    }
    return depth;
}

uint64_t hf_tree_nodes(uint64_t block_count, unsigned level)
{
    uint64_t nodes = block_count;
    for (unsigned i = 0; i < level; i++) {
        nodes = nodes / HF_NODE_REFS + (nodes % HF_NODE_REFS != 0 ? 1 : 0);
    }
    return nodes;
}

uint32_t hf_tree_node_refs(uint64_t block_count, unsigned level, uint64_t index)
{
    uint64_t below = level <= 1 ? block_count : hf_tree_nodes(block_count, level - 1);
    uint64_t left = below - index * HF_NODE_REFS;
    return left < HF_NODE_REFS ? (uint32_t)left : HF_NODE_REFS;
}
