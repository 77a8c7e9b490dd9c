/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root of a snapshot's tree: references of its file lists, and sums.
 *
 * 0 magic "HFrt", 4 version 1, 5 zeros (3), 8 number of lists LE32, 12 zero LE32, 16 sums (nine LE64), 88 references.
 */
#include <inttypes.h>

#include "base/alloc.h"
#include "format/filelist.h"

#define ROOT_MAGIC "HFrt"
#define ROOT_VERSION 1

void hf_tree_root_fini(struct hf_tree_root *root)
{
    hf_free(root->lists);
    root->lists = NULL;
    root->list_count = 0;
}

enum hf_err hf_tree_root_copy(const struct hf_tree_root *root, struct hf_tree_root *out,
                              struct hf_error *err)
{
    struct hf_tree_root copy = *root;
    copy.lists = hf_alloc_array(root->list_count, sizeof *copy.lists);
    if (copy.lists == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "root of %zu lists", root->list_count);
    }
    if (root->list_count > 0) {
        memcpy(copy.lists, root->lists, root->list_count * sizeof *copy.lists);
    }
    *out = copy;
    return HF_ERR_OK;
}

enum hf_err hf_tree_root_encode(const struct hf_tree_root *root, struct hf_buf *out,
                                struct hf_error *err)
{
    if (root->list_count > HF_LISTS_MAX) {
        return hf_fail(err, HF_ERR_LIMIT, "a tree of %zu file lists, %zu are allowed",
                       root->list_count, HF_LISTS_MAX);
    }
    const struct hf_tree_sums *sums = &root->sums;
    const uint64_t numbers[] = {sums->files,        sums->bytes,       sums->new_bytes,
                                sums->stored_bytes, sums->read_bytes,  sums->blocks_reused,
                                sums->blocks_new,   sums->blocks_zero, sums->files_skipped};
    if (hf_buf_append(out, hf_bytes_of(ROOT_MAGIC, 4), err) != HF_ERR_OK ||
        hf_buf_append_le(out, ROOT_VERSION, 4, err) != HF_ERR_OK ||
        hf_buf_append_le(out, root->list_count, 8, err) != HF_ERR_OK) {
        return hf_wrap(err, "root");
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(numbers); i++) {
        if (hf_buf_append_le(out, numbers[i], 8, err) != HF_ERR_OK) {
            return hf_wrap(err, "root");
        }
    }
    for (size_t i = 0; i < root->list_count; i++) {
        uint8_t ref[HF_REF_BYTES];
        hf_ref_encode(&root->lists[i], ref);
        if (hf_buf_append(out, hf_bytes_of(ref, sizeof ref), err) != HF_ERR_OK) {
            return hf_wrap(err, "root");
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_tree_root_decode(struct hf_bytes in, struct hf_tree_root *out, struct hf_error *err)
{
    struct hf_reader reader = hf_reader_of(in);
    struct hf_bytes magic = hf_reader_bytes(&reader, 4);
    uint64_t version = hf_reader_le(&reader, 4);
    uint64_t count = hf_reader_le(&reader, 8);
    HF_CLEANUP(hf_tree_root_fini) struct hf_tree_root root = {.lists = NULL};
    uint64_t *const numbers[] = {
        &root.sums.files,        &root.sums.bytes,       &root.sums.new_bytes,
        &root.sums.stored_bytes, &root.sums.read_bytes,  &root.sums.blocks_reused,
        &root.sums.blocks_new,   &root.sums.blocks_zero, &root.sums.files_skipped};
    for (size_t i = 0; i < HF_ARRAY_LEN(numbers); i++) {
        *numbers[i] = hf_reader_le(&reader, 8);
    }
    if (reader.failed || memcmp(magic.data, ROOT_MAGIC, 4) != 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "not a root");
    }
    if (version != ROOT_VERSION) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "root of format version %" PRIu64 ", this program reads version %d", version,
                       ROOT_VERSION);
    }
    if (count > HF_LISTS_MAX || hf_reader_left(&reader) != count * HF_REF_BYTES) {
        return hf_fail(err, HF_ERR_CORRUPT, "root of %" PRIu64 " lists in %zu bytes", count,
                       in.len);
    }
    root.lists = hf_alloc_array((size_t)count, sizeof *root.lists);
    if (root.lists == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "root of %" PRIu64 " lists", count);
    }
    for (uint64_t i = 0; i < count; i++) {
        struct hf_bytes ref = hf_reader_bytes(&reader, HF_REF_BYTES);
        if (hf_ref_decode(ref.data, &root.lists[i], err) != HF_ERR_OK ||
            hf_ref_is_zero(&root.lists[i])) {
            return hf_fail(err, HF_ERR_CORRUPT, "root: list %" PRIu64 " cannot be read", i);
        }
    }
    root.list_count = (size_t)count;
    *out = root;
    root.lists = NULL;
    return HF_ERR_OK;
}
