/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Visiting everything that a root reaches. A list or node is "done" only after all below it, so that whoever remembers it
 * then may skip it the next time.
 */
#include "snapshot/visit.h"

#include <inttypes.h>

#include "base/alloc.h"

struct visit {
    struct hf_tree_reader *reader; /* borrowed */
    struct hf_block_coder *coder;  /* borrowed */
    const struct hf_visitor *visitor;
    const struct hf_file_entry *entry; /* the file that is visited now */
    uint64_t blocks;
};

/* Reports damage where someone wants to hear of it; else it is the end. */
static enum hf_err damaged(struct visit *visit, const struct hf_visit_place *place,
                           const struct hf_ref *ref, struct hf_error *err)
{
    enum hf_err code = err->code;
    bool is_damage = code == HF_ERR_CORRUPT || code == HF_ERR_NOT_FOUND ||
                     code == HF_ERR_UNSUPPORTED || code == HF_ERR_DENIED || code == HF_ERR_IO;
    if (visit->visitor->damage == NULL || !is_damage) {
        return code;
    }
    struct hf_error damage = *err;
    return visit->visitor->damage(visit->visitor->context, place, ref, &damage, err);
}

static enum hf_err visit_ref(struct visit *visit, unsigned level, uint64_t index,
                             const struct hf_ref *ref, struct hf_error *err);

/* Depth is bounded by the entry's, which was checked against its size. */
static enum hf_err visit_node(struct visit *visit, unsigned level, uint64_t index,
                              const struct hf_ref *ref, struct hf_error *err)
{
    uint64_t below = 1;
    for (unsigned i = 0; i < level; i++) {
        below *= HF_NODE_REFS;
    }
    struct hf_visit_place place = {.entry = visit->entry, .block = index * below};
    HF_CLEANUP(hf_free) struct hf_node *node = hf_alloc(sizeof *node);
    if (node == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "node");
    }
    if (hf_cancel_check(visit->visitor->cancel, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_tree_read_node(visit->reader, visit->coder, ref, level, node, err);
    if (code == HF_ERR_OK && node->count != hf_tree_node_refs(visit->blocks, level, index)) {
        code = hf_fail(err, HF_ERR_CORRUPT, "node %s holds %u references",
                       hf_address_text(&ref->address).text, (unsigned)node->count);
    }
    if (code != HF_ERR_OK) {
        return damaged(visit, &place, ref, err);
    }
    for (unsigned i = 0; i < node->count; i++) {
        if (visit_ref(visit, level - 1, index * HF_NODE_REFS + i, &node->refs[i], err) !=
            HF_ERR_OK) {
            return err->code;
        }
    }
    return visit->visitor->done(visit->visitor->context, &place, ref, err);
}

static enum hf_err visit_ref(struct visit *visit, unsigned level, uint64_t index,
                             const struct hf_ref *ref, struct hf_error *err)
{
    if (hf_ref_is_zero(ref)) {
        return HF_ERR_OK;
    }
    if (level == 0) {
        struct hf_visit_place place = {.entry = visit->entry, .block = index};
        return visit->visitor->block(visit->visitor->context, &place, ref, err);
    }
    if (visit->visitor->skip(visit->visitor->context, ref)) {
        return HF_ERR_OK;
    }
    return visit_node(visit, level, index, ref, err);
}

static enum hf_err visit_file(struct visit *visit, const struct hf_file_entry *entry,
                              struct hf_error *err)
{
    visit->entry = entry;
    visit->blocks = hf_block_count(entry->size_bytes, entry->block_bytes);
    if (visit->visitor->file != NULL &&
        visit->visitor->file(visit->visitor->context, entry, err) != HF_ERR_OK) {
        return err->code;
    }
    for (unsigned i = 0; i < entry->ref_count; i++) {
        if (visit_ref(visit, entry->depth, i, &entry->refs[i], err) != HF_ERR_OK) {
            return hf_wrap(err, "%.*s", HF_STR_ARG(entry->path));
        }
    }
    return HF_ERR_OK;
}

static enum hf_err visit_list(struct visit *visit, const struct hf_ref *ref, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_LIST_MAX_BYTES);
    struct hf_list_reader list;
    struct hf_file_entry entry;
    struct hf_visit_place place = {.entry = NULL};
    enum hf_err code = hf_tree_read_tree_block(visit->reader, visit->coder, ref, &bytes, err);
    if (code == HF_ERR_OK) {
        code = hf_list_open(hf_buf_bytes(&bytes), &list, err);
    }
    if (code != HF_ERR_OK) {
        return damaged(visit, &place, ref, err);
    }
    for (;;) {
        bool more = false;
        if (hf_cancel_check(visit->visitor->cancel, err) != HF_ERR_OK) {
            return err->code;
        }
        if (hf_list_next(&list, &entry, &more, err) != HF_ERR_OK) {
            return damaged(visit, &place, ref, err);
        }
        if (!more) {
            break;
        }
        if (visit_file(visit, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return visit->visitor->done(visit->visitor->context, &place, ref, err);
}

enum hf_err hf_visit_tree(struct hf_tree_reader *reader, struct hf_block_coder *coder,
                          const struct hf_tree_root *root, const struct hf_visitor *visitor,
                          struct hf_error *err)
{
    struct visit visit = {.reader = reader, .coder = coder, .visitor = visitor};
    for (size_t i = 0; i < root->list_count; i++) {
        if (visitor->skip(visitor->context, &root->lists[i])) {
            continue;
        }
        if (visit_list(&visit, &root->lists[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}
