/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The object writer: stored blocks of any packs, put together unchanged.
 */
#include "format/pack_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"

struct hf_object_writer {
    enum hf_object_kind kind;
    struct hf_id job;
    struct hf_buf buf;
    struct hf_pack_origin *runs; /* owned */
    uint32_t run_count, run_capacity;
    struct hf_footer_block *blocks; /* owned */
    uint32_t block_count, block_capacity;
};

enum hf_err hf_object_writer_create(const struct hf_object_writer_options *options,
                                    struct hf_object_writer **out, struct hf_error *err)
{
    HF_CLEANUP(hf_object_writer_destroy)
    struct hf_object_writer *writer = hf_alloc_zero(sizeof *writer);
    if (writer == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "object writer");
    }
    writer->kind = options->kind;
    writer->job = options->job;
    hf_buf_init(&writer->buf, options->max_bytes);
    uint8_t header[HF_OBJECT_HEADER_BYTES];
    hf_object_header_encode(writer->kind, &writer->job, header);
    if (hf_buf_append(&writer->buf, hf_bytes_of(header, sizeof header), err) != HF_ERR_OK) {
        return hf_wrap(err, "object writer");
    }
    *out = HF_TAKE(writer);
    return HF_ERR_OK;
}

void hf_object_writer_destroy(struct hf_object_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    hf_buf_fini(&writer->buf);
    hf_free(writer->runs);
    hf_free(writer->blocks);
    hf_free(writer);
}

bool hf_object_writer_fits(const struct hf_object_writer *writer, uint32_t stored_bytes)
{
    if (writer->run_count == HF_OBJECT_RUNS_MAX || writer->block_count == HF_OBJECT_BLOCKS_MAX) {
        return false;
    }
    size_t whole = writer->buf.len + stored_bytes +
                   hf_footer_encoded_bytes(writer->run_count + 1, writer->block_count + 1);
    return whole <= writer->buf.max;
}

static bool same_run(const struct hf_pack_origin *a, const struct hf_pack_origin *b)
{
    return a->capture == b->capture && a->pack == b->pack && a->key_version == b->key_version &&
           a->cipher == b->cipher && memcmp(a->salt, b->salt, HF_PACK_SALT_BYTES) == 0;
}

/* Doubles an array when it is full. */
static enum hf_err grow(void **array, uint32_t count, uint32_t *capacity, size_t item_bytes,
                        struct hf_error *err)
{
    if (count < *capacity) {
        return HF_ERR_OK;
    }
    uint32_t wanted = *capacity == 0 ? 64 : *capacity * 2;
    void *grown = hf_realloc_array(*array, wanted, item_bytes);
    if (grown == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "object writer");
    }
    *array = grown;
    *capacity = wanted;
    return HF_ERR_OK;
}

static enum hf_err find_run(struct hf_object_writer *writer, const struct hf_pack_origin *origin,
                            uint32_t *out, struct hf_error *err)
{
    /* Blocks of one run come in a row: the last run is nearly always the one. */
    for (uint32_t i = writer->run_count; i > 0; i--) {
        if (same_run(&writer->runs[i - 1], origin)) {
            *out = i - 1;
            return HF_ERR_OK;
        }
    }
    void *runs = writer->runs;
    if (grow(&runs, writer->run_count, &writer->run_capacity, sizeof *writer->runs, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    writer->runs = runs;
    writer->runs[writer->run_count] = *origin;
    *out = writer->run_count++;
    return HF_ERR_OK;
}

enum hf_err hf_object_writer_add(struct hf_object_writer *writer,
                                 const struct hf_pack_origin *origin,
                                 const struct hf_footer_block *block, struct hf_bytes stored,
                                 struct hf_error *err)
{
    if (stored.len != block->stored_bytes || hf_xxh3(stored) != block->checksum) {
        return hf_fail(err, HF_ERR_CORRUPT, "block %s: stored bytes do not match their checksum",
                       hf_address_text(&block->address).text);
    }
    if (!hf_object_writer_fits(writer, block->stored_bytes)) {
        return hf_fail(err, HF_ERR_LIMIT, "an object of at most %zu bytes is full",
                       writer->buf.max);
    }
    uint32_t run = 0;
    void *blocks = writer->blocks;
    if (find_run(writer, origin, &run, err) != HF_ERR_OK ||
        grow(&blocks, writer->block_count, &writer->block_capacity, sizeof *writer->blocks, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    writer->blocks = blocks;
    struct hf_footer_block *added = &writer->blocks[writer->block_count];
    *added = *block;
    added->run = run;
    added->place = (uint32_t)writer->buf.len;
    if (hf_buf_append(&writer->buf, stored, err) != HF_ERR_OK) {
        return err->code;
    }
    writer->block_count++;
    return HF_ERR_OK;
}

uint32_t hf_object_writer_count(const struct hf_object_writer *writer)
{
    return writer->block_count;
}

static int by_address(const void *a, const void *b)
{
    const struct hf_footer_block *left = a;
    const struct hf_footer_block *right = b;
    int order = hf_address_compare(&left->address, &right->address);
    if (order == 0) {
        order = left->place < right->place ? -1 : 1;
    }
    return order;
}

enum hf_err hf_object_writer_finish(struct hf_object_writer *writer, struct hf_bytes *object,
                                    struct hf_error *err)
{
    HF_ASSERT(writer->block_count > 0);
    qsort(writer->blocks, writer->block_count, sizeof *writer->blocks, by_address);
    size_t footer_bytes = hf_footer_encoded_bytes(writer->run_count, writer->block_count);
    if (hf_buf_reserve(&writer->buf, footer_bytes, err) != HF_ERR_OK) {
        return hf_wrap(err, "footer of %" PRIu32 " blocks", writer->block_count);
    }
    struct hf_footer_parts parts = {
        .kind = writer->kind,
        .job = &writer->job,
        .runs = writer->runs,
        .run_count = writer->run_count,
        .blocks = writer->blocks,
        .block_count = writer->block_count,
    };
    hf_footer_encode(&parts, writer->buf.data + writer->buf.len);
    writer->buf.len += footer_bytes;
    *object = hf_buf_bytes(&writer->buf);
    return HF_ERR_OK;
}
