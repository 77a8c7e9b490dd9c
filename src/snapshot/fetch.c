/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading many blocks at once.
 *
 * A window is sorted by address and cut into batches that lie close together. A worker finds the places of a batch,
 * joins those of one object that are near (a gap of 256 KiB costs less than a request; measured: mongodb-observed 7.3),
 * and reads each stretch at once. Blocks that follow each other in the caller's file are handed over as one. Whatever goes wrong with a stretch sends its blocks, one by one, through
 * hf_tree_read_block, which tries every copy and lists anew.
 */
#include "snapshot/fetch.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"

#define GAP_BYTES ((uint32_t)256 << 10)
#define STRETCH_BYTES ((uint32_t)4 << 20)
#define BATCH_ITEMS 64

struct tools {
    struct hf_block_coder *coder; /* owned */
    struct hf_buf plain;          /* a block that was read alone */
    struct hf_buf stored;
    uint8_t *run; /* owned; blocks that follow each other in the caller's file */
    size_t run_len, run_room;
    struct hf_fetch_item run_first;
};

struct hf_fetcher {
    struct hf_fetcher_options options;
    struct tools tools[HF_POOL_WORKERS_MAX];
    atomic_uint_fast64_t read_bytes;
};

enum hf_err hf_fetch_window_init(struct hf_fetch_window *window, size_t capacity,
                                 struct hf_error *err)
{
    *window = (struct hf_fetch_window){.items = hf_alloc_array(capacity, sizeof *window->items),
                                       .capacity = capacity};
    if (window->items == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "window of %zu blocks", capacity);
    }
    return HF_ERR_OK;
}

void hf_fetch_window_fini(struct hf_fetch_window *window)
{
    hf_free(window->items);
    window->items = NULL;
}

enum hf_err hf_fetcher_create(const struct hf_fetcher_options *options, struct hf_fetcher **out,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_fetcher_destroy) struct hf_fetcher *fetcher = hf_alloc_zero(sizeof *fetcher);
    if (fetcher == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "fetcher");
    }
    fetcher->options = *options;
    struct hf_block_coder_options coding = {.keyring = options->keyring};
    for (unsigned i = 0; i < options->workers; i++) {
        struct tools *tools = &fetcher->tools[i];
        hf_buf_init(&tools->plain, HF_BLOCK_MAX_BYTES);
        hf_buf_init(&tools->stored,
                    (size_t)STRETCH_BYTES + HF_BLOCK_MAX_BYTES + HF_AEAD_TAG_BYTES + GAP_BYTES);
        if (hf_block_coder_create(&coding, &tools->coder, err) != HF_ERR_OK) {
            return hf_wrap(err, "fetcher");
        }
    }
    *out = HF_TAKE(fetcher);
    return HF_ERR_OK;
}

void hf_fetcher_destroy(struct hf_fetcher *fetcher)
{
    if (fetcher == NULL) {
        return;
    }
    for (unsigned i = 0; i < fetcher->options.workers; i++) {
        hf_block_coder_destroy(fetcher->tools[i].coder);
        hf_buf_fini(&fetcher->tools[i].plain);
        hf_buf_fini(&fetcher->tools[i].stored);
        hf_free(fetcher->tools[i].run);
    }
    hf_free(fetcher);
}

uint64_t hf_fetcher_read_bytes(const struct hf_fetcher *fetcher)
{
    return atomic_load(&fetcher->read_bytes);
}

static int by_address(const void *left, const void *right)
{
    const struct hf_fetch_item *a = left;
    const struct hf_fetch_item *b = right;
    return hf_address_compare(&a->ref.address, &b->ref.address);
}

/* ---- one block ---- */

static enum hf_err block_is_there(struct hf_fetcher *fetcher, const struct hf_fetch_item *item,
                                  struct hf_bytes plain, struct hf_error *err)
{
    if (fetcher->options.on_block == NULL) {
        return HF_ERR_OK;
    }
    return fetcher->options.on_block(fetcher->options.context, item, plain, err);
}

/* Hands over the blocks that were gathered. */
static enum hf_err end_run(struct hf_fetcher *fetcher, struct tools *tools, struct hf_error *err)
{
    size_t len = tools->run_len;
    tools->run_len = 0;
    return len == 0 ? HF_ERR_OK
                    : block_is_there(fetcher, &tools->run_first, hf_bytes_of(tools->run, len), err);
}

/* Makes room for the block at the end of the run, or in a new one. */
static enum hf_err join_run(struct hf_fetcher *fetcher, struct tools *tools,
                            const struct hf_fetch_item *item, struct hf_error *err)
{
    size_t most = fetcher->options.run_bytes;
    if (tools->run_len > 0 && item->file == tools->run_first.file &&
        item->offset == tools->run_first.offset + tools->run_len &&
        tools->run_len + item->plain_bytes <= most) {
        return HF_ERR_OK;
    }
    if (end_run(fetcher, tools, err) != HF_ERR_OK) {
        return err->code;
    }
    size_t wanted = item->plain_bytes > most ? item->plain_bytes : most;
    if (tools->run_room < wanted) {
        hf_free(tools->run);
        tools->run_room = 0;
        tools->run = hf_alloc_pages(wanted);
        if (tools->run == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "room for blocks of %zu bytes", wanted);
        }
        tools->run_room = wanted;
    }
    tools->run_first = *item;
    return HF_ERR_OK;
}

/* What is damage to one block, and what keeps from looking at all? */
static bool is_damage(enum hf_err code)
{
    return code == HF_ERR_CORRUPT || code == HF_ERR_NOT_FOUND || code == HF_ERR_DENIED ||
           code == HF_ERR_UNSUPPORTED || code == HF_ERR_IO;
}

static enum hf_err report(struct hf_fetcher *fetcher, const struct hf_fetch_item *item,
                          enum hf_err code, struct hf_error *err)
{
    if (fetcher->options.on_damage == NULL || !is_damage(code)) {
        return code;
    }
    struct hf_error damage = *err;
    return fetcher->options.on_damage(fetcher->options.context, item, &damage, err);
}

/* The slow way, which tries every copy. */
static enum hf_err read_alone(struct hf_fetcher *fetcher, struct tools *tools,
                              const struct hf_fetch_item *item, struct hf_error *err)
{
    enum hf_err code =
        hf_tree_read_block(fetcher->options.reader, tools->coder, &item->ref, &tools->plain, err);
    if (code == HF_ERR_OK && tools->plain.len != item->plain_bytes) {
        code =
            hf_fail(err, HF_ERR_CORRUPT, "block %s holds %zu bytes, not %" PRIu32,
                    hf_address_text(&item->ref.address).text, tools->plain.len, item->plain_bytes);
    }
    if (code != HF_ERR_OK) {
        return report(fetcher, item, code, err);
    }
    atomic_fetch_add(&fetcher->read_bytes, item->ref.stored_bytes);
    return block_is_there(fetcher, item, hf_buf_bytes(&tools->plain), err);
}

/* A stored block, out of a stretch that was read, to the end of the run. False when it is not good. */
static bool open_good(struct tools *tools, const struct hf_fetch_item *item,
                      const struct hf_found_block *found, struct hf_bytes stored)
{
    struct hf_error ignored;
    struct hf_stored_block block = {
        .ordinal = found->block.address.ordinal,
        .plain_bytes = found->block.plain_bytes,
        .codec = found->block.codec,
        .stored = stored,
    };
    if (found->block.plain_bytes != item->plain_bytes ||
        hf_block_open(tools->coder, &found->origin, &block, &item->ref.hash,
                      tools->run + tools->run_len, &ignored) != HF_ERR_OK) {
        return false;
    }
    tools->run_len += item->plain_bytes;
    return true;
}

/* One copy that is not as it was written, without regard to the key: every copy has to be good at this depth. */
static enum hf_err stored_damage(const struct hf_fetch_item *item,
                                 const struct hf_found_block *found, struct hf_error *err)
{
    return hf_fail(err, HF_ERR_CORRUPT, "block %s in %s: stored bytes do not match their checksum",
                   hf_address_text(&item->ref.address).text,
                   hf_object_name_text(&found->object).text);
}

static enum hf_err take_block(struct hf_fetcher *fetcher, struct tools *tools,
                              const struct hf_fetch_item *item, const struct hf_found_block *found,
                              struct hf_bytes stored, struct hf_error *err)
{
    if (fetcher->options.depth == HF_FETCH_STORED) {
        if (hf_xxh3(stored) != found->block.checksum) {
            return report(fetcher, item, stored_damage(item, found, err), err);
        }
        return block_is_there(fetcher, item, (struct hf_bytes){.data = NULL}, err);
    }
    if (join_run(fetcher, tools, item, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!open_good(tools, item, found, stored)) {
        return read_alone(fetcher, tools, item, err);
    }
    return fetcher->options.run_bytes == 0 ? end_run(fetcher, tools, err) : HF_ERR_OK;
}

/* ---- stretches ---- */

static bool same_object(const struct hf_object_name *a, const struct hf_object_name *b)
{
    return a->kind == b->kind && a->last == b->last && a->first == b->first &&
           a->round == b->round && hf_id_equal(&a->writer, &b->writer);
}

/* How many of the found blocks, from the first on, are read as one; they lie in one object, ascending. */
static size_t stretch_length(const struct hf_found_block *found, size_t count, uint32_t *bytes)
{
    uint64_t end = (uint64_t)found[0].block.place + found[0].block.stored_bytes;
    size_t taken = 1;
    while (taken < count) {
        const struct hf_found_block *next = &found[taken];
        uint64_t next_end = (uint64_t)next->block.place + next->block.stored_bytes;
        if (!same_object(&found[0].object, &next->object) || next->block.place < end ||
            next->block.place - end > GAP_BYTES ||
            next_end - found[0].block.place > STRETCH_BYTES) {
            break;
        }
        end = next_end;
        taken++;
    }
    *bytes = (uint32_t)(end - found[0].block.place);
    return taken;
}

/* The order of blocks in the caller's files: what several threads captured at once lies mixed in an object. */
static void order_by_place(const struct hf_fetch_item *items, size_t count,
                           uint8_t order[BATCH_ITEMS])
{
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        for (; at > 0; at--) {
            const struct hf_fetch_item *before = &items[order[at - 1]];
            if (before->file < items[i].file ||
                (before->file == items[i].file && before->offset <= items[i].offset)) {
                break;
            }
            order[at] = order[at - 1];
        }
        order[at] = (uint8_t)i;
    }
}

static enum hf_err read_stretch(struct hf_fetcher *fetcher, struct tools *tools,
                                const struct hf_fetch_item *items,
                                const struct hf_found_block *found, size_t count, uint32_t bytes,
                                struct hf_error *err)
{
    hf_buf_clear(&tools->stored);
    if (hf_buf_reserve(&tools->stored, bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    uint32_t start = found[0].block.place;
    enum hf_err code = hf_tree_read_range(fetcher->options.reader, &found[0].object, start,
                                          tools->stored.data, bytes, err);
    if (code != HF_ERR_OK && !is_damage(code)) {
        return code;
    }
    bool whole = code == HF_ERR_OK;
    if (whole) {
        atomic_fetch_add(&fetcher->read_bytes, bytes);
    }
    uint8_t order[BATCH_ITEMS];
    order_by_place(items, count, order);
    for (size_t n = 0; n < count; n++) {
        size_t i = order[n];
        if (whole) {
            struct hf_bytes stored = hf_bytes_of(tools->stored.data + found[i].block.place - start,
                                                 found[i].block.stored_bytes);
            code = take_block(fetcher, tools, &items[i], &found[i], stored, err);
        } else {
            code = read_alone(fetcher, tools, &items[i], err);
        }
        if (code != HF_ERR_OK) {
            return code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err run_batch(struct hf_fetcher *fetcher, struct tools *tools,
                             const struct hf_fetch_item *items, size_t count, struct hf_error *err)
{
    struct hf_found_block found[BATCH_ITEMS];
    struct hf_fetch_item good[BATCH_ITEMS];
    size_t good_count = 0;
    tools->run_len = 0; /* of a batch that failed */
    for (size_t i = 0; i < count; i++) {
        enum hf_err code = hf_tree_find(fetcher->options.reader, &items[i].ref.address, 0,
                                        &found[good_count], err);
        if (code == HF_ERR_OK && found[good_count].block.plain_bytes != items[i].plain_bytes) {
            code = hf_fail(err, HF_ERR_CORRUPT, "block %s holds %" PRIu32 " bytes, not %" PRIu32,
                           hf_address_text(&items[i].ref.address).text,
                           found[good_count].block.plain_bytes, items[i].plain_bytes);
        }
        if (code == HF_ERR_OK && fetcher->options.depth == HF_FETCH_FIND) {
            code = block_is_there(fetcher, &items[i], (struct hf_bytes){.data = NULL}, err);
        } else if (code == HF_ERR_OK) {
            good[good_count++] = items[i];
        } else {
            code = report(fetcher, &items[i], code, err);
        }
        if (code != HF_ERR_OK) {
            return code;
        }
    }
    for (size_t at = 0; at < good_count;) {
        uint32_t bytes = 0;
        size_t taken = stretch_length(&found[at], good_count - at, &bytes);
        if (read_stretch(fetcher, tools, &good[at], &found[at], taken, bytes, err) != HF_ERR_OK) {
            return err->code;
        }
        at += taken;
    }
    return end_run(fetcher, tools, err);
}

enum hf_err hf_fetcher_run_some(struct hf_fetcher *fetcher, unsigned worker,
                                const struct hf_fetch_item *items, size_t count,
                                struct hf_error *err)
{
    for (size_t at = 0; at < count; at += BATCH_ITEMS) {
        size_t batch = count - at < BATCH_ITEMS ? count - at : BATCH_ITEMS;
        if (run_batch(fetcher, &fetcher->tools[worker], items + at, batch, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

struct window_run {
    struct hf_fetcher *fetcher;
    const struct hf_fetch_window *window;
};

static enum hf_err run_item(void *context, unsigned worker, size_t item, struct hf_error *err)
{
    const struct window_run *run = context;
    size_t first = item * BATCH_ITEMS;
    size_t left = run->window->count - first;
    return hf_fetcher_run_some(run->fetcher, worker, run->window->items + first,
                               left < BATCH_ITEMS ? left : BATCH_ITEMS, err);
}

enum hf_err hf_fetcher_run(struct hf_fetcher *fetcher, struct hf_fetch_window *window,
                           struct hf_error *err)
{
    struct window_run run = {.fetcher = fetcher, .window = window};
    struct hf_pool_work work = {
        .count = window->count / BATCH_ITEMS + (window->count % BATCH_ITEMS != 0 ? 1 : 0),
        .workers = fetcher->options.workers,
        .cancel = fetcher->options.cancel,
        .run = run_item,
        .context = &run,
    };
    if (window->count > 0) {
        qsort(window->items, window->count, sizeof *window->items, by_address);
    }
    enum hf_err code = hf_pool_run(&work, err);
    window->count = 0;
    return code;
}
