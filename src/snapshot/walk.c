/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking the files of a tree in order of their paths: one list in memory at a time.
 */
#include <inttypes.h>

#include "base/alloc.h"
#include "snapshot/tree.h"

struct hf_file_walk {
    struct hf_tree_reader *reader;   /* borrowed: outlives us */
    struct hf_block_coder *coder;    /* borrowed: outlives us */
    const struct hf_tree_root *root; /* borrowed: outlives us */
    size_t next_list;
    struct hf_buf list;      /* the list that is walked now */
    struct hf_buf last_path; /* of the lists before it */
    bool open;
    struct hf_list_reader at;
    struct hf_file_entry entry;
    bool has_entry; /* entry was read and not passed yet (after a seek) */
};

enum hf_err hf_file_walk_create(struct hf_tree_reader *reader, struct hf_block_coder *coder,
                                const struct hf_tree_root *root, struct hf_file_walk **out,
                                struct hf_error *err)
{
    struct hf_file_walk *walk = hf_alloc_zero(sizeof *walk);
    if (walk == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "walk of files");
    }
    walk->reader = reader;
    walk->coder = coder;
    walk->root = root;
    hf_buf_init(&walk->list, HF_LIST_MAX_BYTES);
    hf_buf_init(&walk->last_path, HF_PATH_MAX_BYTES);
    *out = walk;
    return HF_ERR_OK;
}

void hf_file_walk_destroy(struct hf_file_walk *walk)
{
    if (walk == NULL) {
        return;
    }
    hf_buf_fini(&walk->list);
    hf_buf_fini(&walk->last_path);
    hf_free(walk);
}

/* Opens the next list; one that cannot be read is passed over by the next call. The path that ended the one before moves
 * to last_path: it lies in bytes that go away now. */
static enum hf_err open_next(struct hf_file_walk *walk, struct hf_error *err)
{
    struct hf_str last = walk->at.previous;
    if (last.len > 0 && (const uint8_t *)last.data != walk->last_path.data) {
        hf_buf_clear(&walk->last_path);
        if (hf_buf_append(&walk->last_path, hf_bytes_of_str(last), err) != HF_ERR_OK) {
            return err->code;
        }
        last.data = (const char *)walk->last_path.data;
        walk->at.previous = last;
    }
    size_t number = walk->next_list++;
    if (hf_tree_read_tree_block(walk->reader, walk->coder, &walk->root->lists[number], &walk->list,
                                err) != HF_ERR_OK ||
        hf_list_open(hf_buf_bytes(&walk->list), &walk->at, err) != HF_ERR_OK) {
        return hf_wrap(err, "file list %zu", number);
    }
    walk->at.previous = last;
    walk->open = true;
    return HF_ERR_OK;
}

/* Reads the next entry into walk->entry; has_entry false at the end. */
static enum hf_err advance(struct hf_file_walk *walk, struct hf_error *err)
{
    walk->has_entry = false;
    for (;;) {
        if (walk->open) {
            bool more = false;
            if (hf_list_next(&walk->at, &walk->entry, &more, err) != HF_ERR_OK) {
                return hf_wrap(err, "file list %zu", walk->next_list - 1);
            }
            if (more) {
                walk->has_entry = true;
                return HF_ERR_OK;
            }
            walk->open = false;
        }
        if (walk->next_list == walk->root->list_count) {
            return HF_ERR_OK;
        }
        if (open_next(walk, err) != HF_ERR_OK) {
            return err->code;
        }
    }
}

enum hf_err hf_file_walk_next(struct hf_file_walk *walk, const struct hf_file_entry **entry,
                              struct hf_error *err)
{
    *entry = NULL;
    if (advance(walk, err) != HF_ERR_OK) {
        return err->code;
    }
    if (walk->has_entry) {
        *entry = &walk->entry;
    }
    return HF_ERR_OK;
}

enum hf_err hf_file_walk_seek(struct hf_file_walk *walk, struct hf_str path,
                              const struct hf_file_entry **entry, struct hf_error *err)
{
    *entry = NULL;
    while (!walk->has_entry || hf_str_compare(walk->entry.path, path) < 0) {
        if (advance(walk, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!walk->has_entry) {
            return HF_ERR_OK;
        }
    }
    if (hf_str_equal(walk->entry.path, path)) {
        *entry = &walk->entry;
    }
    return HF_ERR_OK;
}
