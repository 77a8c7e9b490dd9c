/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a capture: entries, sorted by path, become file lists, and their references the root. A list that the
 * parent has, byte for byte, is not stored again.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "snapshot/capture_internal.h"

static int by_path_then_round(const void *left, const void *right)
{
    const struct hf_captured *a = left;
    const struct hf_captured *b = right;
    int order = strcmp(a->path, b->path);
    if (order == 0) {
        order = a->round < b->round ? -1 : a->round > b->round;
    }
    return order;
}

struct list_maker {
    struct hf_capture *capture;
    struct hf_block_coder *coder; /* borrowed */
    struct hf_buf entries, list;
    uint32_t count;
    struct hf_tree_root *root;
    size_t root_capacity;
    const struct hf_ref **parent; /* owned; the parent's lists by hash */
    size_t parent_count;
};

static void list_maker_fini(struct list_maker *maker)
{
    hf_buf_fini(&maker->entries);
    hf_buf_fini(&maker->list);
    hf_free(maker->parent);
}
HF_CLEANUP_DEFINE_VALUE(list_maker_fini, struct list_maker)

static int by_hash(const void *left, const void *right)
{
    const struct hf_ref *const *a = left;
    const struct hf_ref *const *b = right;
    return memcmp((*a)->hash.bytes, (*b)->hash.bytes, HF_HASH_BYTES);
}

static enum hf_err index_parent(struct list_maker *maker, struct hf_error *err)
{
    const struct hf_tree_root *parent = maker->capture->options->parent.root;
    if (maker->capture->reader == NULL || parent->list_count == 0) {
        return HF_ERR_OK;
    }
    maker->parent = hf_alloc_array(parent->list_count, sizeof *maker->parent);
    if (maker->parent == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "the parent's lists");
    }
    for (size_t i = 0; i < parent->list_count; i++) {
        maker->parent[i] = &parent->lists[i];
    }
    maker->parent_count = parent->list_count;
    qsort(maker->parent, maker->parent_count, sizeof *maker->parent, by_hash);
    return HF_ERR_OK;
}

static enum hf_err add_list(struct list_maker *maker, const struct hf_ref *ref,
                            struct hf_error *err)
{
    struct hf_tree_root *root = maker->root;
    if (root->list_count >= HF_LISTS_MAX) {
        return hf_fail(err, HF_ERR_LIMIT, "more than %zu file lists", HF_LISTS_MAX);
    }
    if (root->list_count == maker->root_capacity) {
        size_t wanted = maker->root_capacity == 0 ? 16 : maker->root_capacity * 2;
        struct hf_ref *grown = hf_realloc_array(root->lists, wanted, sizeof *grown);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "root of %zu lists", wanted);
        }
        root->lists = grown;
        maker->root_capacity = wanted;
    }
    root->lists[root->list_count++] = *ref;
    return HF_ERR_OK;
}

static enum hf_err end_list(struct list_maker *maker, struct hf_error *err)
{
    if (maker->count == 0) {
        return HF_ERR_OK;
    }
    struct hf_ref ref = {.flags = 0};
    const struct hf_ref *wanted = &ref;
    const struct hf_ref **known = NULL;
    if (hf_list_encode(hf_buf_bytes(&maker->entries), maker->count, &maker->list, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    hf_block_hash(maker->coder, hf_buf_bytes(&maker->list), &ref.hash);
    if (maker->parent_count > 0) {
        known =
            bsearch(&wanted, maker->parent, maker->parent_count, sizeof *maker->parent, by_hash);
    }
    if (known != NULL) {
        ref = **known; /* keeps I5 */
    } else {
        struct hf_hash hash = ref.hash;
        if (hf_packer_add(maker->capture->packer, HF_OBJECT_TREE, maker->coder,
                          hf_buf_bytes(&maker->list), &hash, &ref, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    hf_buf_clear(&maker->entries);
    maker->count = 0;
    return add_list(maker, &ref, err);
}

enum hf_err hf_capture_make_lists(struct hf_capture *capture, struct hf_block_coder *coder,
                                  struct hf_tree_root *root, struct hf_error *err)
{
    HF_CLEANUP(list_maker_fini)
    struct list_maker maker = {.capture = capture,
                               .coder = coder,
                               .entries = {.max = HF_LIST_MAX_BYTES},
                               .list = {.max = HF_LIST_MAX_BYTES},
                               .root = root};
    if (index_parent(&maker, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_captured *all = capture->captured;
    size_t count = capture->captured_count;
    if (count > 0) {
        qsort(all, count, sizeof *all, by_path_then_round);
    }
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count && strcmp(all[i].path, all[i + 1].path) == 0) {
            continue; /* the last reading counts */
        }
        if (hf_buf_append(&maker.entries, hf_bytes_of(all[i].entry, all[i].len), err) !=
            HF_ERR_OK) {
            return err->code;
        }
        maker.count++;
        root->sums.files++;
        /* The size is the first number behind the path (tree.md). */
        root->sums.bytes += hf_load_le64(all[i].entry + 2 + strlen(all[i].path));
        if ((maker.count == HF_LIST_ENTRIES_MAX || hf_list_cuts_after(hf_str_of(all[i].path))) &&
            end_list(&maker, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return end_list(&maker, err);
}
