/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-256-GCM against the vectors of its specification, HKDF against RFC 5869, and every change noticed.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "codec/aead.h"

static int disarm(void **state)
{
    (void)state;
    hf_fault_disarm_all();
    return 0;
}

/* Bytes of hexadecimal text; at most 256. */
struct bytes {
    uint8_t data[256];
    size_t len;
};

static struct bytes hex(const char *text)
{
    struct bytes bytes = {.len = strlen(text) / 2};
    assert_true(hf_hex_decode(hf_str_of(text), bytes.data, bytes.len));
    return bytes;
}

static struct hf_bytes view(const struct bytes *bytes)
{
    return hf_bytes_of(bytes->data, bytes->len);
}

#define ZERO_KEY "0000000000000000000000000000000000000000000000000000000000000000"
#define SPEC_KEY "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
#define SPEC_PLAIN                                                                                 \
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"                             \
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
#define SPEC_CIPHER                                                                                \
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"                             \
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"

/* Test cases 13 to 16 of "The Galois/Counter Mode of Operation" (McGrew, Viega). */
static const struct {
    const char *key, *nonce, *plain, *associated, *sealed;
} gcm[] = {
    {ZERO_KEY, "000000000000000000000000", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {ZERO_KEY, "000000000000000000000000", "00000000000000000000000000000000", "",
     "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
    {SPEC_KEY, "cafebabefacedbaddecaf888", SPEC_PLAIN "1aafd255", "",
     SPEC_CIPHER "898015adb094dac5d93471bdec1a502270e3cc6c"},
    {SPEC_KEY, "cafebabefacedbaddecaf888", SPEC_PLAIN, "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     SPEC_CIPHER "76fc6ece0f4e1768cddf8853bb2d551b"},
};

static void test_the_specification_s_cases_go_both_ways(void **state)
{
    HF_CLEANUP(hf_aead_destroy) struct hf_aead *aead = NULL;
    struct hf_error err;
    uint8_t out[256];
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(gcm); i++) {
        struct bytes key = hex(gcm[i].key), nonce = hex(gcm[i].nonce), plain = hex(gcm[i].plain);
        struct bytes associated = hex(gcm[i].associated), sealed = hex(gcm[i].sealed);
        /* One object, another key each time. */
        assert_int_equal(aead == NULL ? hf_aead_create(key.data, &aead, &err)
                                      : hf_aead_rekey(aead, key.data, &err),
                         HF_ERR_OK);
        assert_int_equal(hf_aead_seal(aead, nonce.data, view(&associated), view(&plain), out, &err),
                         HF_ERR_OK);
        assert_int_equal(sealed.len, plain.len + HF_AEAD_TAG_BYTES);
        assert_memory_equal(out, sealed.data, sealed.len);
        memset(out, 0, sizeof out);
        assert_int_equal(
            hf_aead_open(aead, nonce.data, view(&associated), view(&sealed), out, &err), HF_ERR_OK);
        assert_memory_equal(out, plain.data, plain.len);
    }
}

static void test_sealing_and_opening_work_in_place_and_interleaved(void **state)
{
    HF_CLEANUP(hf_aead_destroy) struct hf_aead *aead = NULL;
    struct hf_error err;
    uint8_t nonce[HF_AEAD_NONCE_BYTES] = {0}, first[32 + 16], second[32 + 16];
    (void)state;
    assert_int_equal(hf_aead_create(hex(SPEC_KEY).data, &aead, &err), HF_ERR_OK);
    memset(first, 'a', 32);
    memset(second, 'b', 32);
    assert_int_equal(
        hf_aead_seal(aead, nonce, hf_bytes_of(NULL, 0), hf_bytes_of(first, 32), first, &err),
        HF_ERR_OK);
    nonce[0] = 1;
    assert_int_equal(
        hf_aead_seal(aead, nonce, hf_bytes_of(NULL, 0), hf_bytes_of(second, 32), second, &err),
        HF_ERR_OK);
    nonce[0] = 0;
    assert_int_equal(
        hf_aead_open(aead, nonce, hf_bytes_of(NULL, 0), hf_bytes_of(first, 48), first, &err),
        HF_ERR_OK);
    nonce[0] = 1;
    assert_int_equal(
        hf_aead_open(aead, nonce, hf_bytes_of(NULL, 0), hf_bytes_of(second, 48), second, &err),
        HF_ERR_OK);
    for (size_t i = 0; i < 32; i++) {
        assert_int_equal(first[i], 'a');
        assert_int_equal(second[i], 'b');
    }
}

static void assert_refused(struct hf_aead *aead, const uint8_t *nonce, struct hf_bytes associated,
                           struct hf_bytes sealed)
{
    struct hf_error err;
    uint8_t out[256];
    memset(out, 0xEE, sizeof out);
    assert_int_equal(hf_aead_open(aead, nonce, associated, sealed, out, &err), HF_ERR_CORRUPT);
    assert_string_equal(err.message, "open: changed, or sealed with another key");
    for (size_t i = 0; i + HF_AEAD_TAG_BYTES < sealed.len; i++) {
        assert_int_equal(out[i], 0); /* nothing unproved is handed out */
    }
}

static void test_every_flipped_bit_is_noticed(void **state)
{
    HF_CLEANUP(hf_aead_destroy) struct hf_aead *aead = NULL;
    struct hf_error err;
    struct bytes sealed = hex(gcm[3].sealed), nonce = hex(gcm[3].nonce);
    struct bytes associated = hex(gcm[3].associated);
    uint8_t other_key[HF_AEAD_KEY_BYTES];
    (void)state;
    assert_int_equal(hf_aead_create(hex(SPEC_KEY).data, &aead, &err), HF_ERR_OK);
    for (size_t bit = 0; bit < sealed.len * 8; bit++) {
        sealed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_refused(aead, nonce.data, view(&associated), view(&sealed));
        sealed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    nonce.data[11] ^= 1;
    assert_refused(aead, nonce.data, view(&associated), view(&sealed));
    nonce.data[11] ^= 1;
    associated.len--;
    assert_refused(aead, nonce.data, view(&associated), view(&sealed));
    associated.len++;
    assert_refused(aead, nonce.data, view(&associated), hf_bytes_of(sealed.data, sealed.len - 1));
    memcpy(other_key, hex(SPEC_KEY).data, sizeof other_key);
    other_key[0] ^= 1;
    assert_int_equal(hf_aead_rekey(aead, other_key, &err), HF_ERR_OK);
    assert_refused(aead, nonce.data, view(&associated), view(&sealed));
    assert_int_equal(hf_aead_rekey(aead, hex(SPEC_KEY).data, &err), HF_ERR_OK);
    uint8_t out[256];
    assert_int_equal(hf_aead_open(aead, nonce.data, view(&associated), view(&sealed), out, &err),
                     HF_ERR_OK);
}

static void test_what_is_shorter_than_a_tag_is_corrupt(void **state)
{
    HF_CLEANUP(hf_aead_destroy) struct hf_aead *aead = NULL;
    struct hf_error err;
    uint8_t bytes[16] = {0}, out[1];
    (void)state;
    assert_int_equal(hf_aead_create(hex(ZERO_KEY).data, &aead, &err), HF_ERR_OK);
    assert_int_equal(
        hf_aead_open(aead, bytes, hf_bytes_of(NULL, 0), hf_bytes_of(bytes, 15), out, &err),
        HF_ERR_CORRUPT);
    assert_string_equal(err.message, "open: 15 bytes hold no tag");
}

static void test_lengths_beyond_the_library_s_are_refused(void **state)
{
    HF_CLEANUP(hf_aead_destroy) struct hf_aead *aead = NULL;
    struct hf_error err;
    uint8_t byte[16] = {0};
    struct hf_bytes huge =
        hf_bytes_of(byte, (size_t)INT_MAX + 17); /* refused by its length alone */
    (void)state;
    assert_int_equal(hf_aead_create(hex(ZERO_KEY).data, &aead, &err), HF_ERR_OK);
    assert_int_equal(hf_aead_seal(aead, byte, hf_bytes_of(NULL, 0), huge, byte, &err),
                     HF_ERR_LIMIT);
    assert_string_equal(err.message, "seal: 2147483664 bytes are too many");
    assert_int_equal(hf_aead_seal(aead, byte, huge, hf_bytes_of(NULL, 0), byte, &err),
                     HF_ERR_LIMIT);
    assert_int_equal(hf_aead_open(aead, byte, hf_bytes_of(NULL, 0), huge, byte, &err),
                     HF_ERR_LIMIT);
    assert_string_equal(err.message, "open: 2147483664 bytes are too many");
}

static void test_hkdf_gives_the_values_of_rfc_5869(void **state)
{
    static const struct {
        const char *key, *salt, *info, *expected;
    } table[] = {
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
         "f0f1f2f3f4f5f6f7f8f9",
         "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
        {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627"
         "28292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
         "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f8081828384858687"
         "88898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
         "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7"
         "d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
         "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac78272"
         "71cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f"
         "1d87"},
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
         "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
    };
    struct hf_error err;
    uint8_t out[100];
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(table); i++) {
        struct bytes key = hex(table[i].key), salt = hex(table[i].salt), info = hex(table[i].info);
        struct bytes expected = hex(table[i].expected);
        memset(out, 0xEE, sizeof out);
        assert_int_equal(
            hf_hkdf_sha256(view(&key), view(&salt), view(&info), out, expected.len, &err),
            HF_ERR_OK);
        assert_memory_equal(out, expected.data, expected.len);
        assert_int_equal(out[expected.len], 0xEE);
    }
}

static void test_hkdf_derives_up_to_its_limit(void **state)
{
    static uint8_t out[255 * 32 + 1], again[255 * 32];
    struct hf_error err;
    struct hf_bytes key = hf_bytes_of("key", 3), none = hf_bytes_of(NULL, 0);
    (void)state;
    assert_int_equal(hf_hkdf_sha256(key, none, none, out, sizeof out, &err), HF_ERR_LIMIT);
    assert_string_equal(err.message, "hkdf: 8161 bytes, at most 8160 can be derived");
    assert_int_equal(hf_hkdf_sha256(key, none, none, again, sizeof again, &err), HF_ERR_OK);
    assert_int_equal(hf_hkdf_sha256(key, none, none, out, 40, &err), HF_ERR_OK);
    assert_memory_equal(out, again, 40); /* a shorter output begins the longer one */
}

static void test_making_an_object_can_fail_for_memory(void **state)
{
    struct hf_aead *aead = NULL;
    struct hf_error err;
    uint8_t key[32] = {0}, out[32];
    struct hf_bytes none = hf_bytes_of(NULL, 0);
    (void)state;
    hf_fault_arm("base.alloc", HF_ERR_NO_MEMORY);
    assert_int_equal(hf_aead_create(key, &aead, &err), HF_ERR_NO_MEMORY);
    assert_string_equal(err.message, "aead: no memory");
    assert_null(aead);
    hf_aead_destroy(NULL);
    for (uint64_t nth = 1; nth <= 2; nth++) {
        hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, nth, 1);
        assert_int_equal(hf_hkdf_sha256(none, none, none, out, 32, &err), HF_ERR_NO_MEMORY);
        assert_string_equal(err.message, "hkdf: hmac: no memory");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_specification_s_cases_go_both_ways),
        cmocka_unit_test(test_sealing_and_opening_work_in_place_and_interleaved),
        cmocka_unit_test(test_every_flipped_bit_is_noticed),
        cmocka_unit_test(test_what_is_shorter_than_a_tag_is_corrupt),
        cmocka_unit_test(test_lengths_beyond_the_library_s_are_refused),
        cmocka_unit_test(test_hkdf_gives_the_values_of_rfc_5869),
        cmocka_unit_test(test_hkdf_derives_up_to_its_limit),
        cmocka_unit_test_teardown(test_making_an_object_can_fail_for_memory, disarm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
