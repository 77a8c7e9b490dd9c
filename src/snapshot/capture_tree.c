/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file under way: references come in unit by unit, in any order; nodes are made as they become whole, from level 1
 * upwards; the last unit makes the entry.
 *
 * Only nodes that wait for a reference are in memory. Units are handed out in order, so these are few.
 */
#include <inttypes.h>

#include "base/alloc.h"
#include "snapshot/capture_internal.h"

struct hf_capture_open *hf_capture_open_create(struct hf_capture *capture, const char *path)
{
    struct hf_capture_open *open = hf_alloc_zero(sizeof *open);
    if (open != NULL) {
        open->capture = capture;
        open->path = path;
        hf_mutex_init(&open->mutex);
    }
    return open;
}

void hf_capture_open_destroy(struct hf_capture_open *open)
{
    if (open == NULL) {
        return;
    }
    while (open->builds != NULL) {
        struct hf_node_build *next = open->builds->next;
        hf_free(open->builds);
        open->builds = next;
    }
    hf_file_drop(open->file);
    hf_mutex_fini(&open->mutex);
    hf_free(open);
}

/* Under the file's mutex. The build of a node, made when it is not there yet. NULL on no memory. */
static struct hf_node_build *build_of(struct hf_capture_open *open, unsigned level, uint64_t index)
{
    for (struct hf_node_build *build = open->builds; build != NULL; build = build->next) {
        if (build->node.level == level && build->index == index) {
            return build;
        }
    }
    struct hf_node_build *build = hf_alloc_zero(sizeof *build);
    if (build != NULL) {
        build->index = index;
        build->node.level = (uint8_t)level;
        build->missing = hf_tree_node_refs(open->block_count, level, index);
        build->node.count = (uint8_t)build->missing;
        build->next = open->builds;
        open->builds = build;
    }
    return build;
}

static void unlink_build(struct hf_capture_open *open, const struct hf_node_build *build)
{
    struct hf_node_build **at = &open->builds;
    while (*at != build) {
        at = &(*at)->next;
    }
    *at = build->next;
}

/* Puts references into a node. *whole gets the node when none is missing any more; the caller owns it then. */
static enum hf_err place_refs(struct hf_capture_open *open, unsigned level, uint64_t first,
                              const struct hf_ref *refs, uint32_t count,
                              struct hf_node_build **whole, struct hf_error *err)
{
    HF_LOCKED(&open->mutex);
    struct hf_node_build *build = build_of(open, level, first / HF_NODE_REFS);
    *whole = NULL;
    if (build == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "node");
    }
    size_t at = (size_t)(first % HF_NODE_REFS);
    HF_ASSERT(at + count <= build->node.count && count <= build->missing);
    memcpy(&build->node.refs[at], refs, count * sizeof *refs);
    build->missing -= count;
    if (build->missing == 0) {
        unlink_build(open, build);
        *whole = build;
    }
    return HF_ERR_OK;
}

/* A node of zeros alone is a flag; HOLE only where every part is one. */
static bool zero_node(const struct hf_node *node, struct hf_ref *out)
{
    bool all_holes = true;
    for (unsigned i = 0; i < node->count; i++) {
        if (!hf_ref_is_zero(&node->refs[i])) {
            return false;
        }
        all_holes = all_holes && (node->refs[i].flags & HF_REF_HOLE) != 0;
    }
    *out = (struct hf_ref){.flags = all_holes ? HF_REF_HOLE : HF_REF_ZERO};
    return true;
}

/* The parent's node at the same place; *there false when it has none, or it cannot be read. */
static enum hf_err parent_node(struct hf_capture_open *open, const struct hf_node_build *build,
                               struct hf_block_coder *coder, struct hf_ref *out, bool *there,
                               struct hf_error *err)
{
    struct hf_node_place place = {.level = build->node.level, .index = build->index};
    *there = false;
    if (!open->compares) {
        return HF_ERR_OK;
    }
    enum hf_err code =
        hf_tree_node_ref(open->capture->reader, coder, &open->parent, &place, out, there, err);
    if (code == HF_ERR_CORRUPT || code == HF_ERR_NOT_FOUND) {
        *there = false; /* was counted where its blocks were compared */
        return HF_ERR_OK;
    }
    return code;
}

/* The reference of a whole node: a flag, the parent's, or a new block. */
static enum hf_err node_ref(struct hf_capture_open *open, const struct hf_node_build *build,
                            struct hf_block_coder *coder, struct hf_ref *out, struct hf_error *err)
{
    if (zero_node(&build->node, out)) {
        return HF_ERR_OK;
    }
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_NODE_MAX_BYTES);
    struct hf_ref parent;
    bool there = false;
    struct hf_hash hash;
    if (hf_node_encode(&build->node, &bytes, err) != HF_ERR_OK ||
        parent_node(open, build, coder, &parent, &there, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_block_hash(coder, hf_buf_bytes(&bytes), &hash);
    if (there && !hf_ref_is_zero(&parent) && hf_hash_equal(&parent.hash, &hash)) {
        *out = parent; /* keeps I5 */
        return HF_ERR_OK;
    }
    return hf_packer_add(open->capture->packer, HF_OBJECT_TREE, coder, hf_buf_bytes(&bytes), &hash,
                         out, err);
}

static void note_in_journal(struct hf_capture_open *open, uint64_t index,
                            const struct hf_node *node)
{
    struct hf_journal_place place = {
        .path = hf_str_of(open->path), .block_bytes = open->entry.block_bytes, .node = index};
    hf_journal_note_node(open->capture->journal, &place, node);
}

enum hf_err hf_capture_store_refs(struct hf_capture_open *open, const struct hf_capture_unit *unit,
                                  const struct hf_ref *refs, struct hf_block_coder *coder,
                                  struct hf_error *err)
{
    if (open->entry.depth == 0) {
        struct hf_node node = {.level = 1, .count = (uint8_t)unit->count};
        memcpy(node.refs, refs, unit->count * sizeof *refs);
        memcpy(open->entry.refs, refs, unit->count * sizeof *refs);
        note_in_journal(open, 0, &node);
        return HF_ERR_OK;
    }
    struct hf_ref made;
    uint64_t first = unit->first;
    uint32_t count = unit->count;
    for (unsigned level = 1; level <= open->entry.depth; level++) {
        HF_CLEANUP(hf_free) struct hf_node_build *whole = NULL;
        if (place_refs(open, level, first, refs, count, &whole, err) != HF_ERR_OK) {
            return err->code;
        }
        if (whole == NULL) {
            return HF_ERR_OK;
        }
        if (level == 1) {
            note_in_journal(open, whole->index, &whole->node);
        }
        if (node_ref(open, whole, coder, &made, err) != HF_ERR_OK) {
            return hf_wrap(err, "%s", open->path);
        }
        refs = &made;
        first = whole->index;
        count = 1;
    }
    HF_LOCKED(&open->mutex);
    open->entry.refs[0] = made;
    return HF_ERR_OK;
}

static enum hf_err end_file(struct hf_capture_open *open, struct hf_error *err)
{
    struct hf_capture *capture = open->capture;
    struct hf_captured captured = {.path = open->path, .round = open->round};
    struct hf_file_info info;
    if (hf_file_info(open->file, &info, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", open->path);
    }
    /* What is cut off while holes are looked for looks like a hole. */
    if (info.size_bytes < open->entry.size_bytes) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "%s: the file shrank while it was read: it has %" PRIu64 " bytes, %" PRIu64
                       " were to be read",
                       open->path, info.size_bytes, open->entry.size_bytes);
    }
    if (open->must_be_same && atomic_load(&open->differs)) {
        hf_log_warn(capture->options->log, "capture.unannounced_change",
                    HF_STR("file", open->path));
    }
    if (hf_capture_encode_entry(&open->entry, &captured, err) != HF_ERR_OK ||
        hf_capture_add_entry(capture, &captured, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", open->path);
    }
    if (capture->options->progress != NULL) {
        atomic_fetch_add(&capture->options->progress->files_done, 1);
    }
    return HF_ERR_OK;
}

void hf_capture_unit_done(struct hf_capture_open *open)
{
    struct hf_capture *capture = open->capture;
    {
        HF_LOCKED(&open->mutex);
        if (--open->units_left > 0) {
            return;
        }
    }
    struct hf_error err;
    if (!hf_capture_has_failed(capture) && end_file(open, &err) != HF_ERR_OK) {
        hf_capture_fail(capture, &err);
    }
    hf_capture_open_destroy(open);
    HF_LOCKED(&capture->mutex);
    capture->files_open--;
    hf_cond_broadcast(&capture->file_done);
}
