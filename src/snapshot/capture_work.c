/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker of a capture: takes a unit (up to 32 blocks of one file), reads it, compares each block with the parent's at
 * the same place and with what an adopted attempt left there, stores what is new.
 *
 * A byte is read once and hashed once. Holes are asked of the file system, not read.
 */
#include <inttypes.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "os/process.h"
#include "snapshot/capture_internal.h"

/* Read at once, unless one block is larger (measured: mongodb-observed 7.5). */
#define READ_BYTES ((size_t)1 << 20)

struct worker {
    struct hf_capture *capture;
    struct hf_block_coder *coder; /* owned */
    uint8_t *buffer;              /* owned; of buffer_bytes */
    size_t buffer_bytes;
    struct hf_buf proof;                    /* a block of the parent, with prove_parent */
    struct hf_node parent;                  /* references at the unit's place, with has_parent */
    struct hf_node adopted[HF_ADOPTED_MAX]; /* with has_adopted */
    bool has_parent;
    bool has_adopted[HF_ADOPTED_MAX];
    uint64_t data_start, data_end; /* the stretch of data that was asked for last */
};

static void worker_destroy(struct worker *worker)
{
    if (worker == NULL) {
        return;
    }
    hf_block_coder_destroy(worker->coder);
    hf_free(worker->buffer);
    hf_buf_fini(&worker->proof);
    hf_free(worker);
}
HF_CLEANUP_DEFINE(worker_destroy, struct worker *)

static enum hf_err worker_create(struct hf_capture *capture, struct worker **out,
                                 struct hf_error *err)
{
    HF_CLEANUP(worker_destroy) struct worker *worker = hf_alloc_zero(sizeof *worker);
    struct hf_block_coder_options options = {.keyring = capture->options->keyring,
                                             .level = capture->options->level};
    if (worker == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "worker");
    }
    worker->capture = capture;
    hf_buf_init(&worker->proof, HF_BLOCK_MAX_BYTES);
    if (hf_block_coder_create(&options, &worker->coder, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = HF_TAKE(worker);
    return HF_ERR_OK;
}

static enum hf_err make_room(struct worker *worker, uint32_t block_bytes, struct hf_error *err)
{
    size_t wanted = block_bytes > READ_BYTES ? block_bytes : READ_BYTES;
    if (worker->buffer_bytes >= wanted) {
        return HF_ERR_OK;
    }
    hf_free(worker->buffer);
    worker->buffer_bytes = 0;
    worker->buffer = hf_alloc(wanted);
    if (worker->buffer == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "buffer of %zu bytes", wanted);
    }
    worker->buffer_bytes = wanted;
    return HF_ERR_OK;
}

/* ---- what is known of the place ---- */

static void note_damage(struct hf_capture *capture, const char *path, const struct hf_error *damage)
{
    atomic_fetch_add(&capture->damaged_parent_nodes, 1);
    hf_log_warn(capture->options->log, "capture.parent_damaged", HF_STR("file", path),
                HF_STR("error", damage->message));
}

/* The parent's references at the unit's node. Missing or damaged counts as "nothing known". */
static enum hf_err load_parent(struct worker *worker, const struct hf_capture_open *open,
                               uint64_t node, struct hf_error *err)
{
    worker->has_parent = false;
    if (!open->compares) {
        return HF_ERR_OK;
    }
    uint64_t blocks = hf_block_count(open->parent.size_bytes, open->parent.block_bytes);
    if (node >= hf_tree_nodes(blocks, 1)) {
        return HF_ERR_OK;
    }
    enum hf_err code = hf_tree_file_refs(worker->capture->reader, worker->coder, &open->parent,
                                         node, &worker->parent, err);
    if (code == HF_ERR_CORRUPT || code == HF_ERR_NOT_FOUND) {
        note_damage(worker->capture, open->path, err);
        return HF_ERR_OK;
    }
    worker->has_parent = code == HF_ERR_OK;
    return code;
}

static enum hf_err load_adopted(struct worker *worker, const struct hf_capture_open *open,
                                uint64_t node, struct hf_error *err)
{
    struct hf_journal_place place = {
        .path = hf_str_of(open->path), .block_bytes = open->entry.block_bytes, .node = node};
    for (size_t i = 0; i < HF_ADOPTED_MAX; i++) {
        struct hf_journal_reader *journal = worker->capture->adopted[i];
        worker->has_adopted[i] = false;
        if (journal != NULL && hf_journal_find(journal, &place, &worker->adopted[i],
                                               &worker->has_adopted[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* ---- one block ---- */

static const struct hf_ref *ref_at(const struct hf_node *node, uint64_t block)
{
    size_t at = (size_t)(block % HF_NODE_REFS);
    return at < node->count ? &node->refs[at] : NULL;
}

static void zero_block(struct worker *worker, uint64_t block, enum hf_ref_flag flag,
                       struct hf_ref *out)
{
    const struct hf_ref *parent = worker->has_parent ? ref_at(&worker->parent, block) : NULL;
    *out = (struct hf_ref){.flags = (uint8_t)flag};
    if (parent != NULL && hf_ref_is_zero(parent)) {
        *out = *parent; /* a zero that became a hole, or back, makes no new node */
    }
    atomic_fetch_add(&worker->capture->blocks_zero, 1);
}

/* With prove_parent: does the store show the parent's block whole? */
static enum hf_err prove(struct worker *worker, const struct hf_capture_open *open,
                         const struct hf_ref *ref, bool *whole, struct hf_error *err)
{
    *whole = true;
    if (!worker->capture->options->prove_parent) {
        return HF_ERR_OK;
    }
    enum hf_err code =
        hf_tree_read_block(worker->capture->reader, worker->coder, ref, &worker->proof, err);
    *whole = code == HF_ERR_OK;
    if (code == HF_ERR_CORRUPT || code == HF_ERR_NOT_FOUND || code == HF_ERR_IO) {
        note_damage(worker->capture, open->path, err);
        return HF_ERR_OK;
    }
    return code;
}

/* *known when the content is known under that hash at its place: by the parent, or an adopted attempt. */
static enum hf_err known_block(struct worker *worker, const struct hf_capture_open *open,
                               uint64_t block, const struct hf_hash *hash, struct hf_ref *out,
                               bool *known, struct hf_error *err)
{
    const struct hf_ref *parent = worker->has_parent ? ref_at(&worker->parent, block) : NULL;
    *known = false;
    if (parent != NULL && !hf_ref_is_zero(parent) && hf_hash_equal(&parent->hash, hash)) {
        if (prove(worker, open, parent, known, err) != HF_ERR_OK) {
            return err->code;
        }
        *out = *parent; /* keeps I5 */
    }
    if (*known) {
        return HF_ERR_OK;
    }
    for (size_t i = 0; i < HF_ADOPTED_MAX; i++) {
        const struct hf_ref *adopted =
            worker->has_adopted[i] ? ref_at(&worker->adopted[i], block) : NULL;
        if (adopted != NULL && adopted->address.capture != 0 && !hf_ref_is_zero(adopted) &&
            hf_hash_equal(&adopted->hash, hash)) {
            atomic_store(&worker->capture->adopted_used[i], true);
            *out = *adopted;
            *known = true;
            return HF_ERR_OK;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err one_block(struct worker *worker, struct hf_capture_open *open, uint64_t block,
                             struct hf_bytes plain, struct hf_ref *out, struct hf_error *err)
{
    struct hf_capture *capture = worker->capture;
    struct hf_hash hash;
    bool known = false;
    if (hf_block_is_zero(plain)) {
        zero_block(worker, block, HF_REF_ZERO, out);
        return HF_ERR_OK;
    }
    hf_block_hash(worker->coder, plain, &hash);
    if (known_block(worker, open, block, &hash, out, &known, err) != HF_ERR_OK) {
        return err->code;
    }
    if (known) {
        atomic_fetch_add(&capture->blocks_reused, 1);
        return HF_ERR_OK;
    }
    if (hf_packer_add(capture->packer, HF_OBJECT_DATA, worker->coder, plain, &hash, out, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    atomic_store(&open->differs, true);
    atomic_fetch_add(&capture->blocks_new, 1);
    atomic_fetch_add(&capture->new_bytes, plain.len);
    if (capture->options->progress != NULL) {
        atomic_fetch_add(&capture->options->progress->bytes_new, plain.len);
    }
    return HF_ERR_OK;
}

/* ---- reading ---- */

static enum hf_err is_hole(struct worker *worker, struct hf_capture_open *open, uint64_t offset,
                           uint32_t len, bool *out, struct hf_error *err)
{
    if (offset >= worker->data_end) {
        if (hf_file_next_data(open->file, offset, &worker->data_start, &worker->data_end, err) !=
            HF_ERR_OK) {
            return err->code;
        }
    }
    *out = offset + len <= worker->data_start;
    return HF_ERR_OK;
}

/* As many blocks from `block` on as one read takes: up to the next hole, the unit's end, the buffer's size. */
static enum hf_err plan_read(struct worker *worker, struct hf_capture_open *open,
                             const struct hf_capture_unit *unit, uint64_t block, size_t *bytes,
                             uint32_t *blocks, struct hf_error *err)
{
    uint64_t size = open->entry.size_bytes;
    uint32_t block_bytes = open->entry.block_bytes;
    *bytes = 0;
    *blocks = 0;
    while (block + *blocks < unit->first + unit->count) {
        uint64_t at = block + *blocks;
        uint32_t len = hf_block_length(size, block_bytes, at);
        bool hole = false;
        if (*bytes + len > worker->buffer_bytes) {
            break;
        }
        if (is_hole(worker, open, at * block_bytes, len, &hole, err) != HF_ERR_OK) {
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

static enum hf_err read_blocks(struct worker *worker, struct hf_capture_open *open, uint64_t offset,
                               size_t bytes, struct hf_error *err)
{
    struct hf_capture *capture = worker->capture;
    size_t got = 0;
    hf_rate_take(&capture->rate, bytes, capture->options->cancel);
    if (HF_FAULT("snapshot.capture.read", err) != HF_ERR_OK ||
        hf_file_read_at_uncached(open->file, offset, worker->buffer, bytes, &got, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    if (got != bytes) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "the file shrank while it was read: it ends at %" PRIu64 ", %" PRIu64
                       " bytes were to be read",
                       offset + got, open->entry.size_bytes);
    }
    atomic_fetch_add(&capture->read_bytes, bytes);
    return HF_ERR_OK;
}

/* Blocks [block, block + *done) of the unit: one hole, or one read. */
static enum hf_err next_blocks(struct worker *worker, struct hf_capture_open *open,
                               const struct hf_capture_unit *unit, uint64_t block,
                               struct hf_ref *refs, uint32_t *done, struct hf_error *err)
{
    uint32_t block_bytes = open->entry.block_bytes;
    uint64_t offset = block * block_bytes;
    size_t bytes = 0;
    uint32_t blocks = 0;
    if (plan_read(worker, open, unit, block, &bytes, &blocks, err) != HF_ERR_OK) {
        return err->code;
    }
    if (blocks == 0) {
        zero_block(worker, block, HF_REF_HOLE, &refs[block - unit->first]);
        hf_progress_add_done(worker->capture->options->progress,
                             hf_block_length(open->entry.size_bytes, block_bytes, block));
        *done = 1;
        return HF_ERR_OK;
    }
    if (read_blocks(worker, open, offset, bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    for (uint32_t i = 0; i < blocks; i++) {
        size_t at = (size_t)i * block_bytes;
        size_t len = bytes - at < block_bytes ? bytes - at : block_bytes;
        if (one_block(worker, open, block + i, hf_bytes_of(worker->buffer + at, len),
                      &refs[block + i - unit->first], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    hf_progress_add_done(worker->capture->options->progress, bytes);
    *done = blocks;
    return HF_ERR_OK;
}

static enum hf_err run_unit(struct worker *worker, const struct hf_capture_unit *unit,
                            struct hf_error *err)
{
    struct hf_capture_open *open = unit->open;
    struct hf_ref refs[HF_UNIT_BLOCKS];
    uint64_t node = unit->first / HF_NODE_REFS;
    worker->data_start = 0;
    worker->data_end = 0;
    if (make_room(worker, open->entry.block_bytes, err) != HF_ERR_OK ||
        load_parent(worker, open, node, err) != HF_ERR_OK ||
        load_adopted(worker, open, node, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", open->path);
    }
    uint64_t block = unit->first;
    while (block < unit->first + unit->count) {
        uint32_t done = 0;
        if (hf_cancel_check(worker->capture->options->cancel, err) != HF_ERR_OK) {
            return err->code;
        }
        if (next_blocks(worker, open, unit, block, refs, &done, err) != HF_ERR_OK) {
            return hf_wrap(err, "%s at %" PRIu64, open->path, block * open->entry.block_bytes);
        }
        block += done;
    }
    return hf_capture_store_refs(open, unit, refs, worker->coder, err);
}

void hf_capture_work(void *argument)
{
    struct hf_capture *capture = argument;
    HF_CLEANUP(worker_destroy) struct worker *worker = NULL;
    struct hf_error err;
    void *item = NULL;
    (void)hf_stand_back_thread(capture->options->nice); /* refused, it works as others do */
    if (worker_create(capture, &worker, &err) != HF_ERR_OK) {
        hf_capture_fail(capture, &err);
    }
    /* After a failure units are still taken, so that whoever hands them out never waits for good. */
    while (hf_queue_pop(capture->units, &item)) {
        HF_CLEANUP(hf_free) struct hf_capture_unit *unit = item;
        if (!hf_capture_has_failed(capture)) {
            hf_progress_file(capture->options->progress, unit->open->path);
            if (run_unit(worker, unit, &err) != HF_ERR_OK) {
                hf_capture_fail(capture, &err);
            }
        }
        hf_capture_unit_done(unit->open);
    }
}
