/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The check before a manifest (store-format.md section 5, step 4): the new tree is walked beside the parent's. What is
 * the parent's at the same place needs no look; all else must stand in a footer of an object of this attempt or of an
 * adopted one (keeps I5). New nodes and lists are read and proved by hash; of the new packs a sample is read whole.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "snapshot/commit.h"
#include "snapshot/heal.h"
#include "snapshot/marks.h"
#include "snapshot/tree.h"

#define SAMPLE_ONE_IN 16

struct check {
    const struct hf_commit_check_options *options; /* borrowed */
    struct hf_tree_reader *reader;                 /* owned */
    struct hf_block_coder *coder;                  /* owned */
    uint64_t last_pack;                            /* position of the pack that was seen last */
    uint64_t packs;
    struct hf_buf object;
    struct hf_healer *healer; /* owned */
    struct hf_marks *seen;    /* owned: new blocks that the tree has referred to */
    struct hf_commit_check_result result;
};

static void check_fini(struct check *check)
{
    hf_block_coder_destroy(check->coder);
    hf_tree_reader_destroy(check->reader);
    hf_buf_fini(&check->object);
    hf_healer_destroy(check->healer);
    hf_marks_destroy(check->seen);
}
HF_CLEANUP_DEFINE_VALUE(check_fini, struct check)

/* The writer who may have written a block of that capture; NULL: nobody that this attempt may build on. */
static const struct hf_id *writer_of(const struct hf_commit_check_options *options,
                                     uint64_t capture)
{
    if (capture == options->capture) {
        return &options->writer;
    }
    for (size_t i = 0; i < options->adopted_count; i++) {
        if (options->adopted[i].capture == capture) {
            return &options->adopted[i].writer;
        }
    }
    return NULL;
}

static enum hf_err read_sample(struct check *check, const struct hf_found_block *found,
                               struct hf_error *err)
{
    struct hf_object_text name = hf_object_name_text(&found->object);
    HF_CLEANUP(hf_footer_fini) struct hf_footer footer = {.runs = NULL};
    uint64_t need = 0;
    if (hf_store_get(check->options->store, hf_str_of(name.text), HF_STORE_OBJECT_MAX_BYTES,
                     &check->object, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_bytes object = hf_buf_bytes(&check->object);
    if (hf_object_check_header(object, &found->object.job, err) != HF_ERR_OK ||
        hf_footer_decode(object, object.len, &need, &footer, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", name.text);
    }
    for (uint32_t i = 0; i < footer.block_count; i++) {
        const struct hf_footer_block *block = &footer.blocks[i];
        struct hf_bytes stored = hf_bytes_of(object.data + block->place, block->stored_bytes);
        if (hf_xxh3(stored) != block->checksum) {
            return hf_fail(err, HF_ERR_CORRUPT,
                           "block %s in %s: stored bytes do not match their checksum",
                           hf_address_text(&block->address).text, name.text);
        }
    }
    return HF_ERR_OK;
}

/* A reference that is not the parent's: it must stand in a footer of a writer who may. plain_bytes 0: any length. */
static enum hf_err check_new(struct check *check, const struct hf_ref *ref, uint32_t plain_bytes,
                             struct hf_error *err)
{
    struct hf_found_block found;
    const struct hf_id *writer = writer_of(check->options, ref->address.capture);
    if (writer == NULL) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "block %s is neither the parent's nor of this or an adopted attempt",
                       hf_address_text(&ref->address).text);
    }
    enum hf_err code = hf_tree_find_of_writer(check->reader, &ref->address, writer, &found, err);
    if (code == HF_ERR_NOT_FOUND) {
        return hf_fail(err, HF_ERR_CORRUPT, "block %s stands in no footer of writer %s",
                       hf_address_text(&ref->address).text, hf_id_text(writer).text);
    }
    if (code != HF_ERR_OK) {
        return code;
    }
    if (plain_bytes != 0 && found.block.plain_bytes != plain_bytes) {
        return hf_fail(err, HF_ERR_CORRUPT, "block %s holds %" PRIu32 " bytes, not %" PRIu32,
                       hf_address_text(&ref->address).text, found.block.plain_bytes, plain_bytes);
    }
    /* A capture stores what is new once for each place. So the walk ends with the blocks that were really put: a tree
     * that refers to one node over and over is as large as it says, and nobody has paid for it. */
    if (hf_marks_has(check->seen, &ref->address)) {
        return hf_fail(err, HF_ERR_CORRUPT, "block %s is referred to twice",
                       hf_address_text(&ref->address).text);
    }
    if (hf_marks_set(check->seen, &ref->address, err) != HF_ERR_OK) {
        return err->code;
    }
    check->result.stored_bytes += found.block.stored_bytes;
    uint64_t pack = hf_address_position(&ref->address);
    if (pack != check->last_pack) {
        unsigned one_in = check->options->sample_one_in;
        check->last_pack = pack;
        if (check->packs++ % (one_in == 0 ? SAMPLE_ONE_IN : one_in) == 0) {
            return read_sample(check, &found, err);
        }
    }
    return HF_ERR_OK;
}

/* ---- a file ---- */

/* Two trees of one file, walked in step. before.count 0 where the parent has nothing at this place. */
struct pair {
    const struct hf_file_entry *entry;
    uint64_t blocks;
    const struct hf_file_entry *before; /* NULL: nothing to compare with */
};

static uint32_t plain_length(const struct pair *pair, unsigned level, uint64_t index)
{
    return level == 0 ? hf_block_length(pair->entry->size_bytes, pair->entry->block_bytes, index)
                      : 0;
}

/* The parent's reference at a place; *there false when it has none. */
static enum hf_err before_ref(struct check *check, const struct pair *pair, unsigned level,
                              uint64_t index, struct hf_ref *out, bool *there, struct hf_error *err)
{
    *there = false;
    if (pair->before == NULL) {
        return HF_ERR_OK;
    }
    uint64_t blocks = hf_block_count(pair->before->size_bytes, pair->before->block_bytes);
    if (level > 0) {
        struct hf_node_place place = {.level = level, .index = index};
        return hf_tree_node_ref(check->reader, check->coder, pair->before, &place, out, there, err);
    }
    if (index >= blocks) {
        return HF_ERR_OK;
    }
    struct hf_node node;
    if (hf_tree_file_refs(check->reader, check->coder, pair->before, index / HF_NODE_REFS, &node,
                          err) != HF_ERR_OK) {
        return err->code;
    }
    *out = node.refs[index % HF_NODE_REFS];
    *there = true;
    return HF_ERR_OK;
}

/* The parent's reference at the same place, when it has the same content there. A parent's node that cannot be read
 * proves nothing. */
static enum hf_err same_content(struct check *check, const struct pair *pair, unsigned level,
                                uint64_t index, const struct hf_ref *ref, struct hf_ref *before,
                                bool *out, struct hf_error *err)
{
    bool there = false;
    enum hf_err code = before_ref(check, pair, level, index, before, &there, err);
    *out = code == HF_ERR_OK && there && hf_hash_equal(&before->hash, &ref->hash) &&
           !hf_ref_is_zero(before);
    return code == HF_ERR_CORRUPT || code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
}

static enum hf_err check_ref(struct check *check, const struct pair *pair, unsigned level,
                             uint64_t index, const struct hf_ref *ref, struct hf_error *err);

/* A node that is not the parent's: it is read and its references are checked. Depth is bounded by the entry's. */
static enum hf_err check_node(struct check *check, const struct pair *pair, unsigned level,
                              uint64_t index, const struct hf_ref *ref, struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_node *node = hf_alloc(sizeof *node);
    if (node == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "node");
    }
    if (check_new(check, ref, 0, err) != HF_ERR_OK ||
        hf_tree_read_node(check->reader, check->coder, ref, level, node, err) != HF_ERR_OK) {
        return err->code;
    }
    check->result.nodes_new++;
    if (node->count != hf_tree_node_refs(pair->blocks, level, index)) {
        return hf_fail(err, HF_ERR_CORRUPT, "node %s holds %u references",
                       hf_address_text(&ref->address).text, (unsigned)node->count);
    }
    for (unsigned i = 0; i < node->count; i++) {
        if (check_ref(check, pair, level - 1, index * HF_NODE_REFS + i, &node->refs[i], err) !=
            HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err check_ref(struct check *check, const struct pair *pair, unsigned level,
                             uint64_t index, const struct hf_ref *ref, struct hf_error *err)
{
    struct hf_ref before;
    bool same = false;
    if (hf_ref_is_zero(ref)) {
        check->result.blocks_zero += level == 0 ? 1 : 0;
        return HF_ERR_OK;
    }
    if (same_content(check, pair, level, index, ref, &before, &same, err) != HF_ERR_OK) {
        return err->code;
    }
    if (same && hf_address_equal(&before.address, &ref->address)) {
        check->result.blocks_parent += level == 0 ? 1 : 0;
        return HF_ERR_OK;
    }
    if (level > 0) {
        return check_node(check, pair, level, index, ref, err);
    }
    check->result.blocks_new++;
    if (check_new(check, ref, plain_length(pair, level, index), err) != HF_ERR_OK) {
        return err->code;
    }
    return same ? hf_healer_heal(check->healer, &before, ref, err) : HF_ERR_OK;
}

static enum hf_err check_file(struct check *check, const struct hf_file_entry *entry,
                              const struct hf_file_entry *before, struct hf_error *err)
{
    struct pair pair = {
        .entry = entry,
        .blocks = hf_block_count(entry->size_bytes, entry->block_bytes),
        .before = before != NULL && before->block_bytes == entry->block_bytes ? before : NULL,
    };
    check->result.files++;
    check->result.bytes += entry->size_bytes;
    for (unsigned i = 0; i < entry->ref_count; i++) {
        /* The references of a small file are its blocks; else there is one, the root node. */
        if (check_ref(check, &pair, entry->depth, i, &entry->refs[i], err) != HF_ERR_OK) {
            return hf_wrap(err, "%.*s", HF_STR_ARG(entry->path));
        }
    }
    return HF_ERR_OK;
}

/* ---- the lists ---- */

static int by_hash(const void *left, const void *right)
{
    const struct hf_ref *a = left;
    const struct hf_ref *b = right;
    int order = memcmp(a->hash.bytes, b->hash.bytes, HF_HASH_BYTES);
    return order != 0 ? order : hf_address_compare(&a->address, &b->address);
}

/* Lists that are not the parent's must be new. Entries inside are checked by the walk over all files. */
static enum hf_err check_lists(struct check *check, struct hf_error *err)
{
    const struct hf_tree_root *root = check->options->root;
    const struct hf_tree_root *parent = check->options->parent;
    HF_CLEANUP(hf_free) struct hf_ref *known = NULL;
    size_t count = parent == NULL ? 0 : parent->list_count;
    if (count > 0) {
        known = hf_alloc_array(count, sizeof *known);
        if (known == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "the parent's lists");
        }
        memcpy(known, parent->lists, count * sizeof *known);
        qsort(known, count, sizeof *known, by_hash);
    }
    for (size_t i = 0; i < root->list_count; i++) {
        if (count > 0 && bsearch(&root->lists[i], known, count, sizeof *known, by_hash) != NULL) {
            continue;
        }
        check->result.nodes_new++;
        if (check_new(check, &root->lists[i], 0, err) != HF_ERR_OK) {
            return hf_wrap(err, "file list %zu", i);
        }
    }
    return HF_ERR_OK;
}

/* The parent's entry of a path. A damaged list of the parent proves nothing: its files must be new. */
static enum hf_err seek_parent(struct hf_file_walk *walk, struct hf_str path,
                               const struct hf_file_entry **out, struct hf_error *err)
{
    *out = NULL;
    while (walk != NULL) {
        enum hf_err code = hf_file_walk_seek(walk, path, out, err);
        if (code != HF_ERR_CORRUPT && code != HF_ERR_NOT_FOUND) {
            return code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err check_files(struct check *check, struct hf_error *err)
{
    const struct hf_commit_check_options *options = check->options;
    HF_CLEANUP(hf_file_walk_destroy) struct hf_file_walk *walk = NULL;
    HF_CLEANUP(hf_file_walk_destroy) struct hf_file_walk *parent = NULL;
    const struct hf_file_entry *entry = NULL;
    const struct hf_file_entry *before = NULL;
    if (hf_file_walk_create(check->reader, check->coder, options->root, &walk, err) != HF_ERR_OK ||
        (options->parent != NULL &&
         hf_file_walk_create(check->reader, check->coder, options->parent, &parent, err) !=
             HF_ERR_OK)) {
        return err->code;
    }
    for (;;) {
        if (hf_cancel_check(options->cancel, err) != HF_ERR_OK ||
            hf_file_walk_next(walk, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
        if (entry == NULL) {
            return HF_ERR_OK;
        }
        if (seek_parent(parent, entry->path, &before, err) != HF_ERR_OK ||
            check_file(check, entry, before, err) != HF_ERR_OK) {
            return err->code;
        }
        hf_progress_add_done(options->progress, entry->size_bytes);
    }
}

enum hf_err hf_commit_check(const struct hf_commit_check_options *options,
                            struct hf_commit_check_result *out, struct hf_error *err)
{
    HF_CLEANUP(check_fini)
    struct check check = {
        .options = options, .last_pack = UINT64_MAX, .object = {.max = HF_STORE_OBJECT_MAX_BYTES}};
    struct hf_tree_reader_options reader = {.store = options->store, .keyring = options->keyring};
    struct hf_block_coder_options coding = {.keyring = options->keyring};
    hf_progress_phase(options->progress, "check");
    if (hf_marks_create(&check.seen, err) != HF_ERR_OK ||
        hf_tree_reader_create(&reader, &check.reader, err) != HF_ERR_OK ||
        hf_block_coder_create(&coding, &check.coder, err) != HF_ERR_OK ||
        hf_healer_create(options->store, options->keyring, check.reader, &check.healer, err) !=
            HF_ERR_OK ||
        check_lists(&check, err) != HF_ERR_OK || check_files(&check, err) != HF_ERR_OK ||
        hf_healer_finish(check.healer, &check.result.blocks_healed, err) != HF_ERR_OK) {
        return hf_wrap(err, "check of capture %" PRIu64, options->capture);
    }
    if (check.result.files != options->root->sums.files ||
        check.result.bytes != options->root->sums.bytes) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "check of capture %" PRIu64 ": the tree holds %" PRIu64
                       " files, its root says %" PRIu64,
                       options->capture, check.result.files, options->root->sums.files);
    }
    *out = check.result;
    return HF_ERR_OK;
}
