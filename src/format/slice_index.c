/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of an oplog slice as bytes: namespaces, which of them each block touches, and counts per minute.
 */
#include "format/slice_internal.h"

#include <inttypes.h>

#include "base/alloc.h"

#define MAGIC "HFsx"
#define VERSION 1
#define FIXED_BYTES 20
#define ROW_BYTES 12

void hf_slice_index_fini(struct hf_slice_index *index)
{
    hf_free(index->namespaces);
    hf_free(index->text);
    hf_free(index->touched);
    hf_free(index->counts);
    *index = (struct hf_slice_index){.namespaces = NULL};
}

uint32_t hf_slice_index_space(const struct hf_slice_index *index, struct hf_str ns)
{
    for (uint32_t i = 0; i < index->namespace_count; i++) {
        if (hf_str_equal(index->namespaces[i], ns)) {
            return i + 1;
        }
    }
    return 0;
}

static bool touches(const struct hf_slice_index *index, uint32_t block, uint32_t space)
{
    const uint8_t *row = index->touched + block * hf_slice_row_bytes(index->namespace_count);
    return (row[space / 8] >> (space % 8) & 1) != 0;
}

bool hf_slice_index_may_have(const struct hf_slice_index *index, uint32_t block, struct hf_str ns)
{
    HF_ASSERT(block < index->block_count);
    return touches(index, block, hf_slice_index_space(index, ns));
}

static int compare_counts(const struct hf_slice_count *a, const struct hf_slice_count *b)
{
    if (a->minute != b->minute) {
        return a->minute < b->minute ? -1 : 1;
    }
    if (a->space != b->space) {
        return a->space < b->space ? -1 : 1;
    }
    return (int)a->kind - (int)b->kind;
}

enum hf_err hf_slice_index_encode(const struct hf_slice_index *index, struct hf_buf *out,
                                  struct hf_error *err)
{
    HF_ASSERT(index->namespace_count <= HF_SLICE_NAMESPACES_MAX &&
              index->block_count <= HF_SLICE_BLOCKS_MAX && index->count_count <= HF_SLICE_ROWS_MAX);
    hf_buf_clear(out);
    if (hf_buf_append(out, hf_bytes_of(MAGIC, 4), err) != HF_ERR_OK ||
        hf_buf_append_le(out, VERSION, 4, err) != HF_ERR_OK ||
        hf_buf_append_le(out, index->namespace_count, 4, err) != HF_ERR_OK ||
        hf_buf_append_le(out, index->block_count, 4, err) != HF_ERR_OK ||
        hf_buf_append_le(out, index->count_count, 4, err) != HF_ERR_OK) {
        return hf_wrap(err, "index");
    }
    for (uint32_t i = 0; i < index->namespace_count; i++) {
        HF_ASSERT(index->namespaces[i].len <= HF_SLICE_NAMESPACE_MAX_BYTES);
        if (hf_buf_append_le(out, index->namespaces[i].len, 1, err) != HF_ERR_OK ||
            hf_buf_append(out, hf_bytes_of_str(index->namespaces[i]), err) != HF_ERR_OK) {
            return hf_wrap(err, "index");
        }
    }
    size_t touched = index->block_count * hf_slice_row_bytes(index->namespace_count);
    if (hf_buf_append(out, hf_bytes_of(index->touched, touched), err) != HF_ERR_OK ||
        hf_buf_reserve(out, (size_t)index->count_count * ROW_BYTES, err) != HF_ERR_OK) {
        return hf_wrap(err, "index");
    }
    for (uint32_t i = 0; i < index->count_count; i++) {
        const struct hf_slice_count *count = &index->counts[i];
        uint8_t row[ROW_BYTES] = {0};
        HF_ASSERT(i == 0 || compare_counts(count - 1, count) < 0);
        hf_store_le32(row, count->minute);
        hf_store_le16(row + 4, count->space);
        row[6] = count->kind;
        hf_store_le32(row + 8, count->operations);
        if (hf_buf_append(out, hf_bytes_of(row, sizeof row), err) != HF_ERR_OK) {
            return hf_wrap(err, "index");
        }
    }
    return HF_ERR_OK;
}

static enum hf_err read_namespaces(struct hf_reader *reader, struct hf_slice_index *index,
                                   struct hf_error *err)
{
    struct hf_reader sizes = *reader;
    size_t text_bytes = 0;
    for (uint32_t i = 0; i < index->namespace_count; i++) {
        size_t len = hf_reader_u8(&sizes);
        (void)hf_reader_bytes(&sizes, len);
        text_bytes += len;
    }
    if (sizes.failed) {
        return hf_fail(err, HF_ERR_CORRUPT, "index: its namespaces are cut off");
    }
    index->namespaces =
        hf_alloc_array((size_t)index->namespace_count + 1, sizeof *index->namespaces);
    index->text = hf_alloc(text_bytes + 1);
    if (index->namespaces == NULL || index->text == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "index");
    }
    uint8_t *at = index->text;
    for (uint32_t i = 0; i < index->namespace_count; i++) {
        struct hf_bytes name = hf_reader_bytes(reader, hf_reader_u8(reader));
        if (name.len > 0) {
            memcpy(at, name.data, name.len);
        }
        index->namespaces[i] = (struct hf_str){.data = (const char *)at, .len = name.len};
        at += name.len;
    }
    return HF_ERR_OK;
}

static enum hf_err read_touched(struct hf_reader *reader, struct hf_slice_index *index,
                                struct hf_error *err)
{
    size_t len = index->block_count * hf_slice_row_bytes(index->namespace_count);
    struct hf_bytes touched = hf_reader_bytes(reader, len);
    index->touched = hf_alloc(len + 1);
    if (index->touched == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "index");
    }
    if (reader->failed) {
        return hf_fail(err, HF_ERR_CORRUPT, "index: its blocks are cut off");
    }
    if (len > 0) {
        memcpy(index->touched, touched.data, len);
    }
    return HF_ERR_OK;
}

static enum hf_err read_counts(struct hf_reader *reader, struct hf_slice_index *index,
                               struct hf_error *err)
{
    if (hf_reader_left(reader) != (size_t)index->count_count * ROW_BYTES) {
        return hf_fail(err, HF_ERR_CORRUPT, "index: its length does not fit its counts");
    }
    index->counts = hf_alloc_array((size_t)index->count_count + 1, sizeof *index->counts);
    if (index->counts == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "index");
    }
    for (uint32_t i = 0; i < index->count_count; i++) {
        struct hf_slice_count *count = &index->counts[i];
        count->minute = (uint32_t)hf_reader_le(reader, 4);
        count->space = (uint16_t)hf_reader_le(reader, 2);
        count->kind = hf_reader_u8(reader);
        uint8_t zero = hf_reader_u8(reader);
        count->operations = (uint32_t)hf_reader_le(reader, 4);
        if (zero != 0 || count->space > index->namespace_count || count->kind == 0 ||
            count->kind > HF_OPLOG_KIND_MAX || count->operations == 0 ||
            (i > 0 && compare_counts(count - 1, count) >= 0)) {
            return hf_fail(err, HF_ERR_CORRUPT, "index: count %" PRIu32 " contradicts itself", i);
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_slice_index_decode(struct hf_bytes in, struct hf_slice_index *out,
                                  struct hf_error *err)
{
    HF_CLEANUP(hf_slice_index_fini) struct hf_slice_index index = {.namespaces = NULL};
    struct hf_reader reader = hf_reader_of(in);
    if (in.len < FIXED_BYTES || in.len > HF_SLICE_INDEX_MAX_BYTES ||
        memcmp(in.data, MAGIC, 4) != 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "not an index of a slice");
    }
    (void)hf_reader_bytes(&reader, 4);
    uint32_t version = (uint32_t)hf_reader_le(&reader, 4);
    if (version != VERSION) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "index of format version %" PRIu32 ", this program reads version %d",
                       version, VERSION);
    }
    index.namespace_count = (uint32_t)hf_reader_le(&reader, 4);
    index.block_count = (uint32_t)hf_reader_le(&reader, 4);
    index.count_count = (uint32_t)hf_reader_le(&reader, 4);
    if (index.namespace_count > HF_SLICE_NAMESPACES_MAX ||
        index.block_count > HF_SLICE_BLOCKS_MAX || index.count_count > HF_SLICE_ROWS_MAX) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "index: %" PRIu32 " namespaces, %" PRIu32 " blocks, %" PRIu32 " counts",
                       index.namespace_count, index.block_count, index.count_count);
    }
    if (read_namespaces(&reader, &index, err) != HF_ERR_OK ||
        read_touched(&reader, &index, err) != HF_ERR_OK ||
        read_counts(&reader, &index, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = index;
    index = (struct hf_slice_index){.namespaces = NULL};
    return HF_ERR_OK;
}

enum hf_err hf_slice_open_index(struct hf_block_coder *coder, const struct hf_slice_header *header,
                                struct hf_bytes stored, struct hf_slice_index *out,
                                struct hf_error *err)
{
    struct hf_stored_block block = {.ordinal = header->block_count,
                                    .plain_bytes = header->index_plain_bytes,
                                    .codec = header->index_codec,
                                    .stored = stored};
    if (stored.len != header->index_stored_bytes || hf_xxh3(stored) != header->index_checksum) {
        return hf_fail(err, HF_ERR_CORRUPT, "index: checksum does not match");
    }
    HF_CLEANUP(hf_free) uint8_t *plain = hf_alloc(header->index_plain_bytes);
    if (plain == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "index");
    }
    if (hf_block_open(coder, &header->origin, &block, NULL, plain, err) != HF_ERR_OK) {
        return hf_wrap(err, "index");
    }
    HF_CLEANUP(hf_slice_index_fini) struct hf_slice_index index = {.namespaces = NULL};
    if (hf_slice_index_decode(hf_bytes_of(plain, header->index_plain_bytes), &index, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    if (index.block_count != header->block_count) {
        return hf_fail(err, HF_ERR_CORRUPT, "index: of %" PRIu32 " blocks in a slice of %" PRIu32,
                       index.block_count, header->block_count);
    }
    *out = index;
    index = (struct hf_slice_index){.namespaces = NULL};
    return HF_ERR_OK;
}
