/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes that are there, block by block, against the hashes that the snapshot has of them: in the file itself, then at
 * the same place of the file of that name in another directory. Must not know how the restore goes on.
 *
 * What the other directory has may change while it is read, so what was hashed is what is written.
 */
#include <inttypes.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "snapshot/restore_onto_internal.h"

/* Read at once, unless one block is larger (measured: mongodb-observed 7.5). */
#define READ_BYTES ((size_t)1 << 20)

struct comparison {
    struct hf_restore_onto *onto;
    struct hf_restore_comparer *comparer;
    const struct hf_file_entry *entry;
    const struct hf_restore_unit *unit;
    struct hf_file *file; /* borrowed */
    struct hf_file *like; /* borrowed; NULL: there is none */
    uint64_t like_size;
    uint64_t data_start, data_end; /* the stretch of data that was asked for last */
};

static uint32_t length_of(const struct comparison *at, uint64_t block)
{
    return hf_block_length(at->entry->size_bytes, at->entry->block_bytes, block);
}

static const struct hf_ref *ref_of(const struct comparison *at, uint64_t block)
{
    return &at->comparer->node.refs[block % HF_NODE_REFS];
}

static struct hf_fetch_item item_of(const struct comparison *at, uint64_t block)
{
    return (struct hf_fetch_item){
        .ref = *ref_of(at, block),
        .plain_bytes = length_of(at, block),
        .file = at->unit->file,
        .offset = block * at->entry->block_bytes,
    };
}

static void is_equal(const struct comparison *at, uint64_t block)
{
    uint32_t len = length_of(at, block);
    atomic_fetch_add(&at->onto->equal_bytes, len);
    if (!hf_ref_is_zero(ref_of(at, block))) {
        atomic_fetch_add(&at->onto->reused_bytes, len);
    }
    hf_progress_add_done(at->onto->options->progress, len);
}

static enum hf_err make_like_room(struct hf_restore_comparer *comparer, size_t wanted,
                                  struct hf_error *err)
{
    if (comparer->like_bytes >= wanted) {
        return HF_ERR_OK;
    }
    hf_free(comparer->like);
    comparer->like_bytes = 0;
    comparer->like = hf_alloc_pages(wanted);
    if (comparer->like == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "buffer of %zu bytes", wanted);
    }
    comparer->like_bytes = wanted;
    return HF_ERR_OK;
}

/* A file that cannot be read, or changes under us, has nothing for us. */
static enum hf_err take_like(const struct comparison *at, const struct hf_fetch_item *item,
                             bool *taken, struct hf_error *err)
{
    struct hf_restore_comparer *comparer = at->comparer;
    uint32_t len = item->plain_bytes;
    struct hf_hash hash;
    struct hf_error ignored;
    size_t got = 0;
    *taken = false;
    if (at->like == NULL || item->offset + len > at->like_size) {
        return HF_ERR_OK;
    }
    if (make_like_room(comparer, at->entry->block_bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_file_read_at_uncached(at->like, item->offset, comparer->like, len, &got, &ignored) !=
            HF_ERR_OK ||
        got != len) {
        return HF_ERR_OK;
    }
    hf_block_hash(comparer->coder, hf_bytes_of(comparer->like, len), &hash);
    if (!hf_hash_equal(&hash, &item->ref.hash)) {
        return HF_ERR_OK;
    }
    *taken = true;
    atomic_fetch_add(&at->onto->reused_bytes, len);
    return HF_FAULT("snapshot.restore.reuse", err) != HF_ERR_OK
               ? err->code
               : hf_restore_write(&at->onto->writer, item, hf_bytes_of(comparer->like, len), err);
}

/* The window has room: no more units are compared at once than fit into it. */
static enum hf_err differs(const struct comparison *at, uint64_t block, struct hf_error *err)
{
    bool taken = false;
    struct hf_restore_onto *onto = at->onto;
    struct hf_fetch_window *window = &onto->writer.window;
    struct hf_fetch_item item = item_of(at, block);
    if (hf_ref_is_zero(&item.ref)) {
        return hf_restore_write_zeros(&onto->writer, &item, err);
    }
    enum hf_err code = take_like(at, &item, &taken, err);
    if (code != HF_ERR_OK || taken) {
        return code;
    }
    HF_LOCKED(&onto->mutex);
    HF_ASSERT(window->count < window->capacity);
    window->items[window->count++] = item;
    return HF_ERR_OK;
}

static enum hf_err compare_block(const struct comparison *at, uint64_t block, struct hf_bytes there,
                                 struct hf_error *err)
{
    const struct hf_ref *ref = ref_of(at, block);
    bool equal;
    if (hf_ref_is_zero(ref)) {
        equal = hf_block_is_zero(there);
    } else {
        struct hf_hash hash;
        hf_block_hash(at->comparer->coder, there, &hash);
        equal = hf_hash_equal(&hash, &ref->hash);
    }
    if (equal) {
        is_equal(at, block);
        return HF_ERR_OK;
    }
    return differs(at, block, err);
}

static enum hf_err is_hole(struct comparison *at, uint64_t block, bool *out, struct hf_error *err)
{
    uint64_t offset = block * at->entry->block_bytes;
    if (offset >= at->data_end &&
        hf_file_next_data(at->file, offset, &at->data_start, &at->data_end, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = offset + length_of(at, block) <= at->data_start;
    return HF_ERR_OK;
}

/* As many blocks from `block` on as one read takes: up to the next hole, the unit's end, the buffer's size. */
static enum hf_err plan_read(struct comparison *at, uint64_t block, size_t *bytes, uint32_t *blocks,
                             struct hf_error *err)
{
    uint64_t end = at->unit->first + at->unit->count;
    *bytes = 0;
    *blocks = 0;
    while (block + *blocks < end) {
        bool hole = false;
        uint32_t len = length_of(at, block + *blocks);
        if (*bytes + len > at->comparer->buffer_bytes) {
            break;
        }
        if (is_hole(at, block + *blocks, &hole, err) != HF_ERR_OK) {
            return err->code;
        }
        if (hole) {
            break;
        }
        *bytes += len;
        (*blocks)++;
    }
    return HF_ERR_OK;
}

/* A hole can only be equal to zeros. */
static enum hf_err compare_hole(const struct comparison *at, uint64_t block, struct hf_error *err)
{
    if (hf_ref_is_zero(ref_of(at, block))) {
        is_equal(at, block);
        return HF_ERR_OK;
    }
    return differs(at, block, err);
}

static enum hf_err compare_data(const struct comparison *at, uint64_t block, size_t bytes,
                                uint32_t blocks, struct hf_error *err)
{
    struct hf_restore_comparer *comparer = at->comparer;
    uint64_t offset = block * at->entry->block_bytes;
    size_t got = 0;
    if (HF_FAULT("snapshot.restore.compare", err) != HF_ERR_OK ||
        hf_file_read_at_uncached(at->file, offset, comparer->buffer, bytes, &got, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    if (got != bytes) {
        return hf_fail(err, HF_ERR_CONFLICT, "the file shrank under the restore, to %" PRIu64,
                       offset + got);
    }
    atomic_fetch_add(&at->onto->compared_bytes, bytes);
    for (uint32_t i = 0; i < blocks; i++) {
        struct hf_bytes there = hf_bytes_of(comparer->buffer + (size_t)i * at->entry->block_bytes,
                                            length_of(at, block + i));
        if (compare_block(at, block + i, there, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err make_room(struct hf_restore_comparer *comparer, uint32_t block_bytes,
                             struct hf_error *err)
{
    size_t wanted = block_bytes > READ_BYTES ? block_bytes : READ_BYTES;
    if (comparer->buffer_bytes >= wanted) {
        return HF_ERR_OK;
    }
    hf_free(comparer->buffer);
    comparer->buffer_bytes = 0;
    comparer->buffer = hf_alloc(wanted);
    if (comparer->buffer == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "buffer of %zu bytes", wanted);
    }
    comparer->buffer_bytes = wanted;
    return HF_ERR_OK;
}

static enum hf_err compare_unit(struct comparison *at, struct hf_error *err)
{
    uint64_t end = at->unit->first + at->unit->count;
    for (uint64_t block = at->unit->first; block < end;) {
        size_t bytes = 0;
        uint32_t blocks = 0;
        if (hf_cancel_check(at->onto->options->cancel, err) != HF_ERR_OK ||
            plan_read(at, block, &bytes, &blocks, err) != HF_ERR_OK) {
            return err->code;
        }
        enum hf_err code = blocks == 0 ? compare_hole(at, block, err)
                                       : compare_data(at, block, bytes, blocks, err);
        if (code != HF_ERR_OK) {
            return hf_wrap(err, "at %" PRIu64, block * at->entry->block_bytes);
        }
        block += blocks == 0 ? 1 : blocks;
    }
    return HF_ERR_OK;
}

/* None where there is no such file. */
static enum hf_err open_like(struct comparison *at, struct hf_file **out, struct hf_error *err)
{
    const struct hf_restore_options *options = at->onto->options;
    struct hf_file_info info;
    struct hf_error ignored;
    if (options->like == NULL) {
        return HF_ERR_OK;
    }
    HF_CLEANUP(hf_free)
    char *path = hf_asprintf("%s/%.*s", options->like, HF_STR_ARG(at->entry->path));
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "path");
    }
    if (hf_file_open(path, HF_OPEN_READ, 0, out, &ignored) == HF_ERR_OK &&
        hf_file_info(*out, &info, &ignored) == HF_ERR_OK) {
        at->like = *out;
        at->like_size = info.size_bytes;
    }
    return HF_ERR_OK;
}

static enum hf_err run_unit(void *context, unsigned worker, size_t item, struct hf_error *err)
{
    struct hf_restore_onto *onto = context;
    struct comparison at = {.onto = onto,
                            .comparer = &onto->comparers[worker],
                            .unit = &onto->units[item],
                            .entry = &onto->entries[onto->units[item].file]};
    const char *path = onto->writer.files[at.unit->file].path;
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    HF_CLEANUP(hf_file_drop) struct hf_file *like = NULL;
    hf_restore_show_file(onto->options, at.entry->path);
    if (make_room(at.comparer, at.entry->block_bytes, err) != HF_ERR_OK ||
        hf_tree_file_refs(onto->writer.reader, at.comparer->coder, at.entry,
                          at.unit->first / HF_NODE_REFS, &at.comparer->node, err) != HF_ERR_OK ||
        hf_file_open(path, HF_OPEN_READ, 0, &file, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", path);
    }
    at.file = file;
    if (open_like(&at, &like, err) != HF_ERR_OK) {
        return err->code;
    }
    return compare_unit(&at, err) == HF_ERR_OK ? HF_ERR_OK : hf_wrap(err, "%s", path);
}

enum hf_err hf_restore_compare_units(struct hf_restore_onto *onto, struct hf_error *err)
{
    struct hf_pool_work work = {
        .count = onto->unit_count,
        .workers = onto->writer.workers,
        .cancel = onto->options->cancel,
        .run = run_unit,
        .context = onto,
    };
    enum hf_err code = hf_pool_run(&work, err);
    onto->unit_count = 0;
    onto->block_count = 0;
    return code;
}
