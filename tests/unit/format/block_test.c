/* SPDX-License-Identifier: Apache-2.0 */
#include "support/format_kit.h"

static struct hf_pack_origin origin_of(const struct hf_keyring *ring)
{
    struct hf_pack_origin origin = {
        .capture = 7,
        .pack = 5,
        .key_version = ring->encrypted ? 3 : 0,
        .cipher = ring->encrypted ? HF_CIPHER_AES256_GCM : HF_CIPHER_NONE,
    };
    memset(origin.salt, 0x51, sizeof origin.salt);
    return origin;
}

/* Seals plain; returns the stored block, whose bytes lie in `stored`. */
static struct hf_stored_block seal(struct hf_block_coder *coder,
                                   const struct hf_pack_origin *origin, struct hf_bytes plain,
                                   uint8_t *stored)
{
    struct hf_error err;
    struct hf_block_body body;
    EXPECT_OK(hf_block_compress(coder, plain, &body, &err), &err);
    EXPECT_OK(hf_block_seal(coder, origin, 9, &body, stored, &err), &err);
    return (struct hf_stored_block){
        .ordinal = 9,
        .plain_bytes = (uint32_t)plain.len,
        .codec = body.codec,
        .stored = hf_bytes_of(stored, hf_block_stored_bytes(&body, origin->cipher)),
    };
}

static void round_trip(bool encrypted, unsigned kind)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(encrypted);
    struct hf_block_coder *coder = fixed_coder(&ring);
    struct hf_pack_origin origin = origin_of(&ring);
    uint8_t plain[9000];
    uint8_t stored[9000 + 64];
    uint8_t back[9000];
    struct hf_hash hash;
    fill_block(plain, sizeof plain, kind, 4);
    hf_block_hash(coder, hf_bytes_of(plain, sizeof plain), &hash);
    struct hf_stored_block block = seal(coder, &origin, hf_bytes_of(plain, sizeof plain), stored);
    assert_int_equal(block.codec, kind == 0 ? HF_BLOCK_ZSTD : HF_BLOCK_PLAIN);
    EXPECT_OK(hf_block_open(coder, &origin, &block, &hash, back, &err), &err);
    assert_memory_equal(plain, back, sizeof plain);
    if (encrypted) {
        assert_memory_not_equal(stored, plain, 64);
    }
    hf_block_coder_destroy(coder);
}

static void test_blocks_come_back_with_and_without_key_and_gain(void **state)
{
    (void)state;
    round_trip(true, 0);
    round_trip(true, 1);
    round_trip(false, 0);
    round_trip(false, 1);
}

static void test_compression_is_kept_only_where_it_gains_a_twentieth(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(false);
    struct hf_block_coder *coder = fixed_coder(&ring);
    uint8_t plain[10000];
    struct hf_block_body body;
    (void)state;
    fill_block(plain, sizeof plain, 1, 3);
    memset(plain, 7, 300); /* 3 % to gain */
    EXPECT_OK(hf_block_compress(coder, hf_bytes_of(plain, sizeof plain), &body, &err), &err);
    assert_int_equal(body.codec, HF_BLOCK_PLAIN);
    memset(plain, 7, 1500); /* 15 % to gain */
    EXPECT_OK(hf_block_compress(coder, hf_bytes_of(plain, sizeof plain), &body, &err), &err);
    assert_int_equal(body.codec, HF_BLOCK_ZSTD);
    hf_block_coder_destroy(coder);
}

/* keeps I9: what is authenticated cannot be said of another block. */
static void test_a_block_opens_only_as_what_it_is(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_block_coder *coder = fixed_coder(&ring);
    struct hf_pack_origin origin = origin_of(&ring);
    uint8_t plain[5000];
    uint8_t stored[5064];
    uint8_t back[6000];
    (void)state;
    fill_block(plain, sizeof plain, 0, 4);
    struct hf_stored_block block = seal(coder, &origin, hf_bytes_of(plain, sizeof plain), stored);
    for (unsigned change = 0; change < 6; change++) {
        struct hf_stored_block other = block;
        struct hf_pack_origin elsewhere = origin;
        other.ordinal += change == 0 ? 1 : 0;
        other.plain_bytes += change == 1 ? 1 : 0;
        other.codec = change == 2 ? HF_BLOCK_PLAIN : other.codec;
        elsewhere.pack += change == 3 ? 1 : 0;
        elsewhere.capture += change == 4 ? 1 : 0;
        elsewhere.salt[0] ^= change == 5 ? 1 : 0;
        EXPECT_ERROR(hf_block_open(coder, &elsewhere, &other, NULL, back, &err), HF_ERR_CORRUPT,
                     "decrypt", &err);
    }
    struct hf_keyring other_job = ring;
    other_job.job.bytes[0] ^= 1;
    struct hf_block_coder *stranger = fixed_coder(&other_job);
    EXPECT_ERROR(hf_block_open(stranger, &origin, &block, NULL, back, &err), HF_ERR_CORRUPT,
                 "decrypt", &err);
    hf_block_coder_destroy(stranger);
    hf_block_coder_destroy(coder);
}

static void test_every_flipped_bit_is_noticed(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_block_coder *coder = fixed_coder(&ring);
    struct hf_pack_origin origin = origin_of(&ring);
    uint8_t plain[200];
    uint8_t stored[300];
    uint8_t back[200];
    (void)state;
    fill_block(plain, sizeof plain, 1, 4);
    struct hf_stored_block block = seal(coder, &origin, hf_bytes_of(plain, sizeof plain), stored);
    for (size_t bit = 0; bit < block.stored.len * 8; bit++) {
        stored[bit / 8] = (uint8_t)(stored[bit / 8] ^ 1u << bit % 8);
        assert_int_equal(hf_block_open(coder, &origin, &block, NULL, back, &err), HF_ERR_CORRUPT);
        stored[bit / 8] = (uint8_t)(stored[bit / 8] ^ 1u << bit % 8);
    }
    hf_block_coder_destroy(coder);
}

static void test_without_encryption_the_hash_proves_the_content(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(false);
    struct hf_block_coder *coder = fixed_coder(&ring);
    struct hf_pack_origin origin = origin_of(&ring);
    uint8_t plain[4096];
    uint8_t stored[4200];
    uint8_t back[4096];
    struct hf_hash hash;
    (void)state;
    fill_block(plain, sizeof plain, 1, 4);
    hf_block_hash(coder, hf_bytes_of(plain, sizeof plain), &hash);
    struct hf_stored_block block = seal(coder, &origin, hf_bytes_of(plain, sizeof plain), stored);
    stored[100] ^= 1;
    EXPECT_ERROR(hf_block_open(coder, &origin, &block, &hash, back, &err), HF_ERR_CORRUPT,
                 "content does not match its hash", &err);
    hf_block_coder_destroy(coder);
}

static void test_a_key_that_is_not_in_the_ring_is_named(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_block_coder *coder = fixed_coder(&ring);
    struct hf_pack_origin origin = origin_of(&ring);
    uint8_t stored[64] = {0};
    uint8_t back[64];
    struct hf_stored_block block = {
        .plain_bytes = 48, .codec = HF_BLOCK_PLAIN, .stored = hf_bytes_of(stored, sizeof stored)};
    (void)state;
    origin.key_version = 2;
    EXPECT_ERROR(hf_block_open(coder, &origin, &block, NULL, back, &err), HF_ERR_DENIED,
                 "data key 2 of the job is not at hand", &err);
    hf_block_coder_destroy(coder);
}

static void test_zero_is_seen_whatever_the_length(void **state)
{
    uint8_t bytes[4097] = {0};
    (void)state;
    for (size_t len = 0; len < 40; len++) {
        assert_true(hf_block_is_zero(hf_bytes_of(bytes, len)));
    }
    for (size_t i = 0; i < sizeof bytes; i += 61) {
        bytes[i] = 1;
        assert_false(hf_block_is_zero(hf_bytes_of(bytes, sizeof bytes)));
        bytes[i] = 0;
    }
    bytes[4096] = 1;
    assert_false(hf_block_is_zero(hf_bytes_of(bytes, 4097)));
    assert_true(hf_block_is_zero(hf_bytes_of(bytes, 4096)));
}

static void test_references_are_checked(void **state)
{
    struct hf_error err;
    uint8_t bytes[HF_REF_BYTES];
    struct hf_ref ref = fixed_ref(3);
    struct hf_ref back;
    (void)state;
    ref.address = (struct hf_address){
        .capture = HF_CAPTURE_MAX, .pack = HF_PACK_MAX, .ordinal = HF_ORDINAL_MAX};
    hf_ref_encode(&ref, bytes);
    EXPECT_OK(hf_ref_decode(bytes, &back, &err), &err);
    assert_true(hf_ref_equal(&ref, &back));
    bytes[46] = 3;
    EXPECT_ERROR(hf_ref_decode(bytes, &back, &err), HF_ERR_CORRUPT, "unknown flags", &err);
    bytes[46] = HF_REF_ZERO;
    EXPECT_ERROR(hf_ref_decode(bytes, &back, &err), HF_ERR_CORRUPT, "contradicts itself", &err);
    memset(bytes, 0, sizeof bytes);
    EXPECT_ERROR(hf_ref_decode(bytes, &back, &err), HF_ERR_CORRUPT, "contradicts itself", &err);
    bytes[46] = HF_REF_HOLE;
    EXPECT_OK(hf_ref_decode(bytes, &back, &err), &err);
    assert_true(hf_ref_is_zero(&back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_come_back_with_and_without_key_and_gain),
        cmocka_unit_test(test_compression_is_kept_only_where_it_gains_a_twentieth),
        cmocka_unit_test(test_a_block_opens_only_as_what_it_is),
        cmocka_unit_test(test_every_flipped_bit_is_noticed),
        cmocka_unit_test(test_without_encryption_the_hash_proves_the_content),
        cmocka_unit_test(test_a_key_that_is_not_in_the_ring_is_named),
        cmocka_unit_test(test_zero_is_seen_whatever_the_length),
        cmocka_unit_test(test_references_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
