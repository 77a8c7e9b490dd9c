/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Oplog slices: what went in comes out, the running hash does not hang on the cuts, every limit holds, and no changed
 * byte passes.
 */
#include "support/slice_kit.h"

static void test_round_trip_with_and_without_keys(void **state)
{
    (void)state;
    for (unsigned encrypted = 0; encrypted < 2; encrypted++) {
        struct hf_error err;
        struct hf_keyring ring = fixed_keyring(encrypted == 1);
        HF_CLEANUP(hf_buf_fini) struct hf_buf object = HF_BUF_INIT(HF_SLICE_OBJECT_MAX_BYTES);
        HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
        uint64_t need = 0;
        fixed_slice(&ring, &object);
        EXPECT_OK(hf_slice_check_head(hf_buf_bytes(&object), &ring.job, &err), &err);
        EXPECT_OK(
            hf_slice_header_decode(hf_buf_bytes(&object), object.len, &ring, &need, &header, &err),
            &err);
        assert_int_equal(need, 0);
        assert_true(header.proved);
        assert_string_equal(header.set_name, "rs0");
        assert_string_equal(header.fcv, "4.4");
        assert_int_equal(header.entry_count, FIXED_ENTRIES);
        assert_int_equal(header.origin.cipher, encrypted);
        assert_int_equal(header.term_count, 2);
        /* Four small entries; one of 600,000 bytes in three blocks of its own; one more. */
        assert_int_equal(header.block_count, 5);
        assert_false(header.blocks[0].more);
        assert_true(header.blocks[1].more && header.blocks[2].more);
        assert_int_equal(header.blocks[3].entry_count, 1);
        struct hf_object_name name = hf_slice_name(&header);
        EXPECT_OK(hf_slice_check_name(&header, &name, &err), &err);
        name.writer.bytes[0] ^= 1;
        EXPECT_ERROR(hf_slice_check_name(&header, &name, &err), HF_ERR_CORRUPT,
                     "under another name", &err);
        expect_fixed_entries(&ring, &header, &object);
    }
}

static void test_index_comes_back_and_lets_blocks_be_skipped(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_block_coder *coder = fixed_coder(&ring);
    HF_CLEANUP(hf_buf_fini) struct hf_buf object = HF_BUF_INIT(HF_SLICE_OBJECT_MAX_BYTES);
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    HF_CLEANUP(hf_slice_index_fini) struct hf_slice_index index = {.namespaces = NULL};
    uint64_t need = 0;
    (void)state;
    fixed_slice(&ring, &object);
    EXPECT_OK(
        hf_slice_header_decode(hf_buf_bytes(&object), object.len, &ring, &need, &header, &err),
        &err);
    struct hf_bytes stored =
        hf_bytes_of(object.data + header.index_place, header.index_stored_bytes);
    EXPECT_OK(hf_slice_open_index(coder, &header, stored, &index, &err), &err);
    assert_int_equal(index.namespace_count, 2);
    assert_int_equal(hf_slice_index_space(&index, hf_str_of("shop.orders")), 1);
    assert_true(hf_slice_index_may_have(&index, 0, hf_str_of("shop.orders")));
    assert_false(hf_slice_index_may_have(&index, 1, hf_str_of("shop.orders")));
    assert_true(hf_slice_index_may_have(&index, 1, hf_str_of("shop.items")));
    /* Not known by name: only where others were. */
    assert_false(hf_slice_index_may_have(&index, 0, hf_str_of("shop.unknown")));
    assert_true(hf_slice_index_may_have(&index, 4, hf_str_of("shop.unknown")));
    assert_int_equal(index.count_count, 3);
    assert_int_equal(index.counts[2].operations, 7);
    hf_block_coder_destroy(coder);
}

static void test_header_alone_from_the_tail(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    HF_CLEANUP(hf_buf_fini) struct hf_buf object = HF_BUF_INIT(HF_SLICE_OBJECT_MAX_BYTES);
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    uint64_t need = 0;
    (void)state;
    fixed_slice(&ring, &object);
    struct hf_bytes tail = hf_bytes_of(object.data + object.len - 100, 100);
    EXPECT_OK(hf_slice_header_decode(tail, object.len, &ring, &need, &header, &err), &err);
    assert_true(need > 100 && need < 2000);
    tail = hf_bytes_of(object.data + object.len - need, need);
    /* Without a key it can be listed, and is not proved. */
    EXPECT_OK(hf_slice_header_decode(tail, object.len, NULL, &need, &header, &err), &err);
    assert_int_equal(need, 0);
    assert_false(header.proved);
    assert_int_equal(header.last.increment, 6);
}

static void test_hash_does_not_hang_on_the_cuts(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_slice_writer *writer = NULL;
    struct hf_hash hashes[2] = {{{0}}, {{0}}};
    uint8_t salt[HF_PACK_SALT_BYTES] = {1};
    (void)state;
    EXPECT_OK(hf_slice_writer_create(&ring, &writer, &err), &err);
    for (unsigned way = 0; way < 2; way++) {
        struct hf_hash hash = {{0}};
        hf_slice_writer_begin(writer, &hash, salt);
        for (uint32_t i = 0; i < FIXED_ENTRIES; i++) {
            struct hf_slice_spot spot;
            uint32_t blocks = 0;
            HF_CLEANUP(hf_free) uint8_t *entry = fixed_entry(i);
            struct hf_optime optime = fixed_optime(i);
            EXPECT_OK(hf_slice_writer_add(writer, hf_bytes_of(entry, fixed_entry_bytes(i)), &optime,
                                          &spot, &err),
                      &err);
            if (way == 1) {
                EXPECT_OK(hf_slice_writer_close(writer, &blocks, &err), &err);
                hash = *hf_slice_writer_hash(writer);
                hf_slice_writer_begin(writer, &hash, salt);
            }
        }
        hashes[way] = *hf_slice_writer_hash(writer);
    }
    assert_true(hf_hash_equal(&hashes[0], &hashes[1]));
    hf_slice_writer_destroy(writer);
}

static void test_no_changed_byte_of_a_slice_passes(void **state)
{
    struct hf_error err;
    (void)state;
    for (unsigned encrypted = 0; encrypted < 2; encrypted++) {
        struct hf_keyring ring = fixed_keyring(encrypted == 1);
        HF_CLEANUP(hf_buf_fini) struct hf_buf object = HF_BUF_INIT(HF_SLICE_OBJECT_MAX_BYTES);
        HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
        uint64_t need = 0;
        fixed_slice(&ring, &object);
        EXPECT_OK(
            hf_slice_header_decode(hf_buf_bytes(&object), object.len, &ring, &need, &header, &err),
            &err);
        size_t step = 1;
        for (size_t at = 0; at < object.len; at += step) {
            /* The blocks' bytes are guarded by one checksum each: some of them will do. */
            step = at + 40 < header.index_place && at > 40 ? 97 : 1;
            object.data[at] ^= 0x10;
            if (slice_is_whole(&ring, &object)) {
                fail_msg("a flipped bit in byte %zu of %zu was not seen", at, object.len);
            }
            object.data[at] ^= 0x10;
        }
        assert_true(slice_is_whole(&ring, &object));
    }
}

static void test_forged_and_foreign_slices_are_refused_by_name(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_keyring other = ring;
    HF_CLEANUP(hf_buf_fini) struct hf_buf object = HF_BUF_INIT(HF_SLICE_OBJECT_MAX_BYTES);
    struct hf_slice_header header = {.blocks = NULL};
    uint64_t need = 0;
    (void)state;
    fixed_slice(&ring, &object);
    other.hash_key[0] ^= 1;
    EXPECT_ERROR(
        hf_slice_header_decode(hf_buf_bytes(&object), object.len, &other, &need, &header, &err),
        HF_ERR_CORRUPT, "forged", &err);
    other = ring;
    other.job = fixed_id(0x70);
    EXPECT_ERROR(
        hf_slice_header_decode(hf_buf_bytes(&object), object.len, &other, &need, &header, &err),
        HF_ERR_CORRUPT, "job", &err);
    EXPECT_ERROR(hf_slice_check_head(hf_buf_bytes(&object), &other.job, &err), HF_ERR_CORRUPT,
                 "another job", &err);
    /* Another version, with the checksum put right. */
    size_t len = hf_load_le32(object.data + object.len - 24);
    uint8_t *start = object.data + object.len - 24 - len;
    start[8] = 2;
    hf_store_le64(start + len + 8, hf_xxh3(hf_bytes_of(start, len + 8)));
    EXPECT_ERROR(
        hf_slice_header_decode(hf_buf_bytes(&object), object.len, NULL, &need, &header, &err),
        HF_ERR_UNSUPPORTED, "version 2", &err);
}

static void test_writer_keeps_its_limits(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(false);
    struct hf_slice_writer *writer = NULL;
    struct hf_hash hash = {{0}};
    struct hf_slice_spot spot;
    struct hf_optime optime = {.seconds = 1, .increment = 1, .term = 1};
    uint8_t salt[HF_PACK_SALT_BYTES] = {1};
    HF_CLEANUP(hf_free) uint8_t *entry = hf_alloc(HF_SLICE_ENTRY_MAX_BYTES + 1);
    (void)state;
    assert_non_null(entry);
    fill_block(entry, HF_SLICE_ENTRY_MAX_BYTES + 1, 1, 5);
    EXPECT_OK(hf_slice_writer_create(&ring, &writer, &err), &err);
    hf_slice_writer_begin(writer, &hash, salt);
    hf_store_le32(entry, (uint32_t)HF_SLICE_ENTRY_MAX_BYTES + 1);
    EXPECT_ERROR(hf_slice_writer_add(writer, hf_bytes_of(entry, HF_SLICE_ENTRY_MAX_BYTES + 1),
                                     &optime, &spot, &err),
                 HF_ERR_CORRUPT, "16793601 bytes", &err);
    hf_store_le32(entry, (uint32_t)HF_SLICE_ENTRY_MAX_BYTES);
    EXPECT_ERROR(hf_slice_writer_add(writer, hf_bytes_of(entry, HF_SLICE_ENTRY_MAX_BYTES - 1),
                                     &optime, &spot, &err),
                 HF_ERR_CORRUPT, "oplog entry 1.1/1", &err);
    /* Three of the largest, which do not compress, would pass 44 MiB. */
    unsigned taken = 0;
    while (hf_slice_writer_has_room(writer, HF_SLICE_ENTRY_MAX_BYTES)) {
        assert_true(taken < 10);
        optime.increment++;
        EXPECT_OK(hf_slice_writer_add(writer, hf_bytes_of(entry, HF_SLICE_ENTRY_MAX_BYTES), &optime,
                                      &spot, &err),
                  &err);
        taken++;
    }
    assert_int_equal(taken, 2);
    assert_int_equal(spot.last_block - spot.first_block, 64);
    assert_true(hf_slice_writer_has_room(writer, 1000));
    hf_slice_writer_destroy(writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip_with_and_without_keys),
        cmocka_unit_test(test_index_comes_back_and_lets_blocks_be_skipped),
        cmocka_unit_test(test_header_alone_from_the_tail),
        cmocka_unit_test(test_hash_does_not_hang_on_the_cuts),
        cmocka_unit_test(test_no_changed_byte_of_a_slice_passes),
        cmocka_unit_test(test_forged_and_foreign_slices_are_refused_by_name),
        cmocka_unit_test(test_writer_keeps_its_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
