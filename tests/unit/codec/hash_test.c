/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes against published vectors (FIPS 180-4, RFC 4231, RFC 1321, xxHash's own), whole and in pieces.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "codec/hash.h"

static int disarm(void **state)
{
    (void)state;
    hf_fault_disarm_all();
    return 0;
}

static struct hf_bytes text(const char *content)
{
    return hf_bytes_of(content, strlen(content));
}

static void assert_hash(const struct hf_hash *hash, const char *expected)
{
    char hex[65];
    hf_hex_encode(hf_bytes_of(hash->bytes, sizeof hash->bytes), hex);
    assert_string_equal(hex, expected);
}

#define SHA256_OF_NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SHA256_OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void test_sha256_gives_the_published_values(void **state)
{
    char hex[65];
    struct hf_hash hash;
    (void)state;
    hf_sha256_hex(hf_bytes_of(NULL, 0), hex);
    assert_string_equal(hex, SHA256_OF_NOTHING);
    hf_sha256(text("abc"), &hash);
    assert_hash(&hash, SHA256_OF_ABC);
    hf_sha256_hex(text("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), hex);
    assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void test_sha256_in_pieces_is_the_same_and_begins_anew(void **state)
{
    HF_CLEANUP(hf_sha256_destroy) struct hf_sha256 *sha = hf_sha256_create();
    struct hf_hash hash;
    char piece[1000];
    (void)state;
    assert_non_null(sha);
    memset(piece, 'a', sizeof piece);
    for (int i = 0; i < 1000; i++) {
        hf_sha256_update(sha, hf_bytes_of(piece, sizeof piece));
    }
    hf_sha256_update(sha, hf_bytes_of(NULL, 0));
    hf_sha256_end(sha, &hash);
    assert_hash(&hash, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    hf_sha256_update(sha, text("a"));
    hf_sha256_update(sha, text("bc"));
    hf_sha256_end(sha, &hash);
    assert_hash(&hash, SHA256_OF_ABC);
    hf_sha256_end(sha, &hash);
    assert_hash(&hash, SHA256_OF_NOTHING);
}

struct hmac_vector {
    size_t key_len;
    const char *key; /* one byte, repeated, when key_len is not its length */
    const char *data;
    const char *expected;
};

static const struct hmac_vector rfc4231[] = {
    {20, "\x0b", "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
    {4, "Jefe", "what do ya want for nothing?",
     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    {20, "\xaa",
     "\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd"
     "\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd"
     "\xdd\xdd\xdd\xdd",
     "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
    {25,
     "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17"
     "\x18\x19",
     "\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd"
     "\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd"
     "\xcd\xcd\xcd\xcd",
     "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
    {131, "\xaa", "Test Using Larger Than Block-Size Key - Hash Key First",
     "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
    {131, "\xaa",
     "This is a test using a larger than block-size key and a larger than block-size data. The key "
     "needs to be hashed before being used by the HMAC algorithm.",
     "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
};

static void test_hmac_gives_the_values_of_rfc_4231(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(rfc4231); i++) {
        const struct hmac_vector *vector = &rfc4231[i];
        HF_CLEANUP(hf_hmac_destroy) struct hf_hmac *hmac = NULL;
        struct hf_hash hash;
        struct hf_error err;
        uint8_t key[131];
        memset(key, vector->key[0], sizeof key);
        if (strlen(vector->key) == vector->key_len) {
            memcpy(key, vector->key, vector->key_len);
        }
        assert_int_equal(hf_hmac_create(hf_bytes_of(key, vector->key_len), &hmac, &err), HF_ERR_OK);
        for (int round = 0; round < 3; round++) { /* a prepared key is used again and again */
            hf_hmac_sha256(hmac, text(vector->data), &hash);
            assert_hash(&hash, vector->expected);
        }
        hf_hmac_begin(hmac);
        for (const char *at = vector->data; *at != '\0'; at++) {
            hf_hmac_update(hmac, hf_bytes_of(at, 1));
        }
        hf_hmac_end(hmac, &hash);
        assert_hash(&hash, vector->expected);
    }
}

static void test_an_unfinished_hmac_does_not_touch_the_next(void **state)
{
    HF_CLEANUP(hf_hmac_destroy) struct hf_hmac *hmac = NULL;
    struct hf_hash hash;
    struct hf_error err;
    (void)state;
    assert_int_equal(hf_hmac_create(text("Jefe"), &hmac, &err), HF_ERR_OK);
    hf_hmac_begin(hmac);
    hf_hmac_update(hmac, text("given up"));
    hf_hmac_sha256(hmac, text("what do ya want for nothing?"), &hash);
    assert_hash(&hash, rfc4231[1].expected);
}

static void test_hmac_takes_empty_keys_and_content(void **state)
{
    HF_CLEANUP(hf_hmac_destroy) struct hf_hmac *hmac = NULL;
    struct hf_hash hash;
    struct hf_error err;
    (void)state;
    assert_int_equal(hf_hmac_create(hf_bytes_of(NULL, 0), &hmac, &err), HF_ERR_OK);
    hf_hmac_sha256(hmac, hf_bytes_of(NULL, 0), &hash);
    assert_hash(&hash, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void test_equality_of_hashes_sees_the_last_byte(void **state)
{
    struct hf_hash a = {{1, 2, 3}}, b = a;
    (void)state;
    assert_true(hf_hash_equal(&a, &b));
    b.bytes[HF_HASH_BYTES - 1] = 1;
    assert_false(hf_hash_equal(&a, &b));
}

static void test_xxh3_gives_the_published_values(void **state)
{
    /* Of xxHash's own sanity check: seed 0, over the first bytes of its generated buffer. */
    static const struct {
        size_t len;
        uint64_t expected;
    } table[] = {
        {0, UINT64_C(0x2D06800538D394C2)},    {1, UINT64_C(0xC44BDFF4074EECDB)},
        {6, UINT64_C(0x27B56A84CD2D7325)},    {12, UINT64_C(0xA713DAF0DFBB77E7)},
        {24, UINT64_C(0xA3FE70BF9D3510EB)},   {48, UINT64_C(0x397DA259ECBA1F11)},
        {80, UINT64_C(0xBCDEFBBB2C47C90A)},   {195, UINT64_C(0xCD94217EE362EC3A)},
        {403, UINT64_C(0xCDEB804D65C6DEA4)},  {512, UINT64_C(0x617E49599013CB6B)},
        {2048, UINT64_C(0xDD59E2C3A5F038E0)},
    };
    uint8_t buffer[2048];
    uint64_t generator = UINT64_C(2654435761);
    HF_CLEANUP(hf_xxh3_destroy) struct hf_xxh3 *pieces = hf_xxh3_create();
    (void)state;
    assert_non_null(pieces);
    for (size_t i = 0; i < sizeof buffer; i++) {
        buffer[i] = (uint8_t)(generator >> 56);
        generator *= UINT64_C(11400714785074694797);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(table); i++) {
        size_t len = table[i].len;
        assert_true(hf_xxh3(hf_bytes_of(buffer, len)) == table[i].expected);
        for (size_t at = 0; at < len; at += 100) {
            hf_xxh3_update(pieces, hf_bytes_of(buffer + at, len - at < 100 ? len - at : 100));
        }
        hf_xxh3_update(pieces, hf_bytes_of(NULL, 0));
        assert_true(hf_xxh3_end(pieces) == table[i].expected);
    }
    assert_true(hf_xxh3(hf_bytes_of(NULL, 0)) == table[0].expected);
}

static void test_md5_gives_the_values_of_rfc_1321(void **state)
{
    static const struct {
        const char *text;
        const char *expected;
    } table[] = {
        {"", "d41d8cd98f00b204e9800998ecf8427e"},
        {"a", "0cc175b9c0f1b6a831c399e269772661"},
        {"abc", "900150983cd24fb0d6963f7d28e17f72"},
        {"message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
        {"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
         "d174ab98d277d9f5a5611c2c9f419d9f"},
    };
    char hex[33];
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(table); i++) {
        hf_md5_hex(text(table[i].text), hex);
        assert_string_equal(hex, table[i].expected);
    }
    hf_md5_hex(text("123456789012345678901234567890123456789012345678901234567890123456789012345678"
                    "90"),
               hex);
    assert_string_equal(hex, "57edf4a22be3c955ac49da2e2107b67a");
}

static void test_md5_in_pieces_is_the_same_and_begins_anew(void **state)
{
    HF_CLEANUP(hf_md5_destroy) struct hf_md5 *md5 = hf_md5_create();
    char hex[33];
    (void)state;
    assert_non_null(md5);
    for (int i = 0; i < 2; i++) {
        hf_md5_update(md5, text("a"));
        hf_md5_update(md5, text(""));
        hf_md5_update(md5, text("bc"));
        hf_md5_end(md5, hex);
        assert_string_equal(hex, "900150983cd24fb0d6963f7d28e17f72");
    }
}

static void test_making_an_object_can_fail_for_memory(void **state)
{
    struct hf_hmac *hmac = NULL;
    struct hf_error err;
    (void)state;
    hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, 1, 0);
    assert_int_equal(hf_hmac_create(text("key"), &hmac, &err), HF_ERR_NO_MEMORY);
    assert_string_equal(err.message, "hmac: no memory");
    assert_null(hmac);
    assert_null(hf_sha256_create());
    assert_null(hf_xxh3_create());
    assert_null(hf_md5_create());
    hf_hmac_destroy(NULL);
    hf_sha256_destroy(NULL);
    hf_xxh3_destroy(NULL);
    hf_md5_destroy(NULL);
}

static void test_sha1_gives_the_published_values_and_begins_anew(void **state)
{
    HF_CLEANUP(hf_sha1_destroy) struct hf_sha1 *sha = hf_sha1_create();
    char hex[41];
    (void)state;
    assert_non_null(sha);
    hf_sha1_end(sha, hex);
    assert_string_equal(hex, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    hf_sha1_update(sha, text("a"));
    hf_sha1_update(sha, text(""));
    hf_sha1_update(sha, text("bc"));
    hf_sha1_end(sha, hex);
    assert_string_equal(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
    hf_sha1_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha1_gives_the_published_values_and_begins_anew),
        cmocka_unit_test(test_sha256_gives_the_published_values),
        cmocka_unit_test(test_sha256_in_pieces_is_the_same_and_begins_anew),
        cmocka_unit_test(test_hmac_gives_the_values_of_rfc_4231),
        cmocka_unit_test(test_an_unfinished_hmac_does_not_touch_the_next),
        cmocka_unit_test(test_hmac_takes_empty_keys_and_content),
        cmocka_unit_test(test_equality_of_hashes_sees_the_last_byte),
        cmocka_unit_test(test_xxh3_gives_the_published_values),
        cmocka_unit_test(test_md5_gives_the_values_of_rfc_1321),
        cmocka_unit_test(test_md5_in_pieces_is_the_same_and_begins_anew),
        cmocka_unit_test_teardown(test_making_an_object_can_fail_for_memory, disarm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
