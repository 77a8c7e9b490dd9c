/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was compressed comes back; what was changed, cut or mislabelled does not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "codec/compress.h"

#define BLOCK 65536

struct fixture {
    struct hf_compressor *compressor;
    struct hf_decompressor *decompressor;
    uint8_t plain[BLOCK];
    uint8_t back[BLOCK + 1];
    uint8_t packed[2 * BLOCK];
    struct hf_error err;
};

static int set_up(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);
    if (f == NULL) {
        return -1;
    }
    f->compressor = hf_compressor_create(1);
    f->decompressor = hf_decompressor_create();
    for (size_t i = 0; i < BLOCK; i++) {
        f->plain[i] = (uint8_t)(i % 251 + i / 1000);
    }
    *state = f;
    return f->compressor == NULL || f->decompressor == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    hf_fault_disarm_all();
    hf_compressor_destroy(f->compressor);
    hf_decompressor_destroy(f->decompressor);
    hf_free(f);
    return 0;
}

static size_t pack(struct fixture *f, size_t len)
{
    size_t packed_len = 0;
    assert_int_equal(hf_compress(f->compressor, hf_bytes_of(f->plain, len), f->packed,
                                 sizeof f->packed, &packed_len, &f->err),
                     HF_ERR_OK);
    assert_true(packed_len <= hf_compress_bound(len));
    return packed_len;
}

static void test_blocks_of_many_sizes_come_back(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {0, 1, 100, 4096, BLOCK - 1, BLOCK};
    for (size_t i = 0; i < HF_ARRAY_LEN(sizes); i++) {
        size_t len = pack(f, sizes[i]);
        memset(f->back, 0xEE, sizeof f->back);
        assert_int_equal(
            hf_decompress(f->decompressor, hf_bytes_of(f->packed, len), f->back, sizes[i], &f->err),
            HF_ERR_OK);
        assert_memory_equal(f->back, f->plain, sizes[i]);
        assert_int_equal(f->back[sizes[i]], 0xEE);
    }
    assert_true(pack(f, BLOCK) < BLOCK / 4);
}

/* Words out of some thousand, each at many places: a small table forgets most of them. Or noise, of which seven bits in
 * eight are left. */
static void fill(struct fixture *f, bool noise)
{
    uint32_t random = 12345;
    for (size_t i = 0; i < BLOCK; i++) {
        if (noise || i % 8 == 0) {
            random = random * 1664525 + 1013904223;
        }
        f->plain[i] =
            (uint8_t)(noise ? (random >> 16) & 127 : ((random >> 16) % 2000) * 40503 >> i % 8);
    }
}

static size_t pack_and_check(struct fixture *f, bool noise)
{
    fill(f, noise);
    size_t len = pack(f, BLOCK);
    assert_int_equal(
        hf_decompress(f->decompressor, hf_bytes_of(f->packed, len), f->back, BLOCK, &f->err),
        HF_ERR_OK);
    assert_memory_equal(f->back, f->plain, BLOCK);
    return len;
}

static void test_content_that_is_compressed_already_is_searched_less(void **state)
{
    struct fixture *f = *state;
    size_t alone = pack_and_check(f, false);
    assert_true(alone < BLOCK / 5 * 3);
    assert_int_equal(pack_and_check(f, false), alone);
    assert_true(pack_and_check(f, true) > BLOCK / 5 * 3);
    assert_true(pack_and_check(f, false) >
                alone); /* the first of its kind is taken for more of the same */
    assert_int_equal(pack_and_check(f, false), alone); /* and corrects that */
    assert_true(pack_and_check(f, true) > BLOCK / 5 * 3);
    (void)pack(f, 100); /* too small to say anything */
    assert_true(pack_and_check(f, false) > alone);
}

static void test_a_higher_level_searches_all_alike(void **state)
{
    struct fixture *f = *state;
    hf_compressor_destroy(f->compressor);
    f->compressor = hf_compressor_create(3);
    assert_non_null(f->compressor);
    size_t alone = pack_and_check(f, false);
    assert_true(pack_and_check(f, true) > BLOCK / 5 * 3);
    assert_int_equal(pack_and_check(f, false), alone);
}

static void test_levels_out_of_range_count_as_the_nearest(void **state)
{
    struct fixture *f = *state;
    static const int levels[] = {-1000000, 0, 3, 1000};
    for (size_t i = 0; i < HF_ARRAY_LEN(levels); i++) {
        HF_CLEANUP(hf_compressor_destroy)
        struct hf_compressor *compressor = hf_compressor_create(levels[i]);
        size_t len;
        assert_non_null(compressor);
        assert_int_equal(hf_compress(compressor, hf_bytes_of(f->plain, 5000), f->packed,
                                     sizeof f->packed, &len, &f->err),
                         HF_ERR_OK);
        assert_int_equal(
            hf_decompress(f->decompressor, hf_bytes_of(f->packed, len), f->back, 5000, &f->err),
            HF_ERR_OK);
        assert_memory_equal(f->back, f->plain, 5000);
    }
}

static void test_too_little_room_is_said_and_the_context_lives_on(void **state)
{
    struct fixture *f = *state;
    size_t len = 99;
    assert_int_equal(
        hf_compress(f->compressor, hf_bytes_of(f->plain, BLOCK), f->packed, 10, &len, &f->err),
        HF_ERR_LIMIT);
    assert_string_equal(f->err.message, "compress: 65536 bytes do not fit 10");
    assert_int_equal(len, 99);
    len = pack(f, BLOCK);
    assert_int_equal(
        hf_decompress(f->decompressor, hf_bytes_of(f->packed, len), f->back, BLOCK, &f->err),
        HF_ERR_OK);
}

static void test_another_length_than_promised_is_corrupt(void **state)
{
    struct fixture *f = *state;
    size_t len = pack(f, 1000);
    struct hf_bytes packed = hf_bytes_of(f->packed, len);
    f->back[999] = 0xEE;
    assert_int_equal(hf_decompress(f->decompressor, packed, f->back, 999, &f->err), HF_ERR_CORRUPT);
    assert_string_equal(f->err.message, "decompress: Destination buffer is too small");
    assert_int_equal(f->back[999], 0xEE);
    assert_int_equal(hf_decompress(f->decompressor, packed, f->back, 1001, &f->err),
                     HF_ERR_CORRUPT);
    assert_string_equal(f->err.message, "decompress: 1000 bytes instead of 1001");
}

static void test_cut_frames_and_no_frames_are_corrupt(void **state)
{
    struct fixture *f = *state;
    size_t len = pack(f, 5000);
    for (size_t cut = 1; cut < len; cut += 7) {
        assert_int_equal(
            hf_decompress(f->decompressor, hf_bytes_of(f->packed, cut), f->back, 5000, &f->err),
            HF_ERR_CORRUPT);
    }
    assert_int_equal(
        hf_decompress(f->decompressor, hf_bytes_of("no frame at all", 15), f->back, 15, &f->err),
        HF_ERR_CORRUPT);
    assert_string_equal(f->err.message, "decompress: Unknown frame descriptor");
    assert_int_equal(hf_decompress(f->decompressor, hf_bytes_of(NULL, 0), f->back, 1, &f->err),
                     HF_ERR_CORRUPT);
    assert_string_equal(f->err.message, "decompress: 0 bytes instead of 1");
}

static void test_making_a_context_can_fail_for_memory(void **state)
{
    (void)state;
    hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, 1, 2);
    assert_null(hf_compressor_create(1));
    assert_null(hf_decompressor_create());
    hf_compressor_destroy(NULL);
    hf_decompressor_destroy(NULL);
}

int main(void)
{
#define WITH_CONTEXTS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_CONTEXTS(test_blocks_of_many_sizes_come_back),
        WITH_CONTEXTS(test_content_that_is_compressed_already_is_searched_less),
        WITH_CONTEXTS(test_a_higher_level_searches_all_alike),
        WITH_CONTEXTS(test_levels_out_of_range_count_as_the_nearest),
        WITH_CONTEXTS(test_too_little_room_is_said_and_the_context_lives_on),
        WITH_CONTEXTS(test_another_length_than_promised_is_corrupt),
        WITH_CONTEXTS(test_cut_frames_and_no_frames_are_corrupt),
        WITH_CONTEXTS(test_making_a_context_can_fail_for_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
