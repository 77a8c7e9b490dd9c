/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests only: a fixed oplog slice. Its entries are BSON in nothing but their length.
 */
#ifndef HF_TESTS_SLICE_KIT_H
#define HF_TESTS_SLICE_KIT_H

#include "support/format_kit.h"

#include "format/slice.h"

#define FIXED_ENTRIES 6
#define FIXED_LARGE_BYTES ((size_t)600000)
#define FIXED_LARGE 4 /* the one that needs blocks of its own */

static inline size_t fixed_entry_bytes(uint32_t i)
{
    return i == FIXED_LARGE ? FIXED_LARGE_BYTES : 100 + (size_t)i * 40;
}

static inline uint8_t *fixed_entry(uint32_t i)
{
    size_t len = fixed_entry_bytes(i);
    uint8_t *entry = hf_alloc(len);
    assert_non_null(entry);
    fill_block(entry, len, i % 2, i);
    hf_store_le32(entry, (uint32_t)len);
    return entry;
}

/* The last two are of the next term. */
static inline struct hf_optime fixed_optime(uint32_t i)
{
    return (struct hf_optime){
        .seconds = 1795450498, .increment = i + 1, .term = i + 2 < FIXED_ENTRIES ? 1 : 2};
}

static inline void fixed_slice(const struct hf_keyring *ring, struct hf_buf *out)
{
    struct hf_error err;
    struct hf_slice_writer *writer = NULL;
    struct hf_hash before;
    uint8_t salt[HF_PACK_SALT_BYTES];
    uint32_t blocks = 0;
    struct hf_slice_header header = {
        .job = ring->job,
        .writer = fixed_id(0x20),
        .first = fixed_optime(0),
        .last = fixed_optime(FIXED_ENTRIES - 1),
        .previous = {.seconds = 1795450497, .increment = 9, .term = 1},
        .sequence = 77,
        .noop_count = 1,
        .term_count = 2,
    };
    header.terms[0] = (struct hf_slice_term){.term = 1, .seconds = 1795450498, .increment = 1};
    header.terms[1] = (struct hf_slice_term){.term = 2, .seconds = 1795450498, .increment = 5};
    (void)snprintf(header.set_name, sizeof header.set_name, "rs0");
    (void)snprintf(header.member, sizeof header.member, "host-a.example.net:27017");
    (void)snprintf(header.fcv, sizeof header.fcv, "4.4");
    struct hf_str spaces[] = {hf_str_of("shop.orders"), hf_str_of("shop.items")};
    uint8_t touched[] = {2, 4, 4, 4, 1};
    struct hf_slice_count counts[] = {
        {.minute = 29924174, .space = 1, .kind = HF_OPLOG_INSERT, .operations = 3},
        {.minute = 29924174, .space = 2, .kind = HF_OPLOG_UPDATE, .operations = 1},
        {.minute = 29924175, .space = 0, .kind = HF_OPLOG_COMMAND, .operations = 7},
    };
    struct hf_slice_index index = {.namespaces = spaces,
                                   .namespace_count = 2,
                                   .touched = touched,
                                   .block_count = 5,
                                   .counts = counts,
                                   .count_count = 3};
    memset(before.bytes, 0x61, sizeof before.bytes);
    memset(salt, 0x51, sizeof salt);
    EXPECT_OK(hf_slice_writer_create(ring, &writer, &err), &err);
    hf_slice_writer_begin(writer, &before, salt);
    for (uint32_t i = 0; i < FIXED_ENTRIES; i++) {
        struct hf_slice_spot spot;
        struct hf_optime optime = fixed_optime(i);
        HF_CLEANUP(hf_free) uint8_t *entry = fixed_entry(i);
        struct hf_bytes bytes = hf_bytes_of(entry, fixed_entry_bytes(i));
        EXPECT_OK(hf_slice_writer_add(writer, bytes, &optime, &spot, &err), &err);
    }
    EXPECT_OK(hf_slice_writer_close(writer, &blocks, &err), &err);
    assert_int_equal(blocks, 5);
    EXPECT_OK(hf_slice_writer_finish(writer, &header, &index, out, &err), &err);
    hf_slice_writer_destroy(writer);
}

/* Reads every block, splits it, and compares with the fixed entries and with each block's running hash. */
static inline void expect_fixed_entries(const struct hf_keyring *ring,
                                        const struct hf_slice_header *header,
                                        const struct hf_buf *object)
{
    struct hf_error err;
    struct hf_block_coder *coder = fixed_coder(ring);
    struct hf_chain_hasher *hasher = NULL;
    HF_CLEANUP(hf_buf_fini) struct hf_buf plain = HF_BUF_INIT(HF_SLICE_ENTRY_MAX_BYTES);
    struct hf_hash hash = header->hash_before;
    uint32_t seen = 0;
    EXPECT_OK(hf_chain_hasher_create(ring, &hasher, &err), &err);
    for (uint32_t i = 0; i < header->block_count; i++) {
        const struct hf_slice_block *block = &header->blocks[i];
        struct hf_bytes stored = hf_bytes_of(object->data + block->place, block->stored_bytes);
        EXPECT_OK(hf_buf_reserve(&plain, block->plain_bytes, &err), &err);
        EXPECT_OK(hf_slice_open_block(coder, header, i, stored, plain.data + plain.len, &err),
                  &err);
        plain.len += block->plain_bytes;
        if (block->more) {
            continue;
        }
        struct hf_bytes left = hf_buf_bytes(&plain);
        while (left.len > 0) {
            struct hf_bytes entry;
            HF_CLEANUP(hf_free) uint8_t *wanted = fixed_entry(seen);
            EXPECT_OK(hf_slice_take_entry(&left, &entry, &err), &err);
            assert_int_equal(entry.len, fixed_entry_bytes(seen));
            assert_memory_equal(entry.data, wanted, entry.len);
            hf_chain_hash(hasher, &hash, entry);
            seen++;
        }
        assert_true(hf_hash_equal(&hash, &block->hash));
        hf_buf_clear(&plain);
    }
    assert_int_equal(seen, FIXED_ENTRIES);
    hf_chain_hasher_destroy(hasher);
    hf_block_coder_destroy(coder);
}

/* Head, header, index and all blocks can be read. */
static inline bool slice_is_whole(const struct hf_keyring *ring, const struct hf_buf *object)
{
    struct hf_error err;
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    HF_CLEANUP(hf_slice_index_fini) struct hf_slice_index index = {.namespaces = NULL};
    uint64_t need = 0;
    if (hf_slice_check_head(hf_buf_bytes(object), &ring->job, &err) != HF_ERR_OK ||
        hf_slice_header_decode(hf_buf_bytes(object), object->len, ring, &need, &header, &err) !=
            HF_ERR_OK ||
        need != 0) {
        return false;
    }
    struct hf_block_coder *coder = fixed_coder(ring);
    HF_CLEANUP(hf_free) uint8_t *plain = hf_alloc(HF_SLICE_BLOCK_BYTES);
    struct hf_bytes stored =
        hf_bytes_of(object->data + header.index_place, header.index_stored_bytes);
    bool whole = hf_slice_open_index(coder, &header, stored, &index, &err) == HF_ERR_OK;
    for (uint32_t i = 0; i < header.block_count && whole; i++) {
        stored = hf_bytes_of(object->data + header.blocks[i].place, header.blocks[i].stored_bytes);
        whole = hf_slice_open_block(coder, &header, i, stored, plain, &err) == HF_ERR_OK;
    }
    hf_block_coder_destroy(coder);
    return whole;
}

#endif
