/* SPDX-License-Identifier: Apache-2.0 */
#include "support/format_kit.h"

#include "format/wrapped.h"

static struct hf_store_key fixed_store_key(void)
{
    struct hf_store_key key = {.store = fixed_id(0x80)};
    memset(key.key, 0x81, sizeof key.key);
    return key;
}

static void wrap(const struct hf_keyring *ring, const struct hf_store_key *key, struct hf_buf *out)
{
    struct hf_error err;
    struct hf_wrap_options options = {.store_key = key, .store = fixed_id(0x80)};
    memset(options.salt, 0x91, sizeof options.salt);
    EXPECT_OK(hf_keyring_wrap(ring, &options, out, &err), &err);
}

static void expect_same_ring(const struct hf_keyring *a, const struct hf_keyring *b)
{
    assert_true(hf_id_equal(&a->job, &b->job));
    assert_int_equal(a->encrypted, b->encrypted);
    assert_int_equal(a->has_seal_key, b->has_seal_key);
    assert_int_equal(a->data_key_count, b->data_key_count);
    for (uint32_t i = 0; i < a->data_key_count; i++) {
        assert_int_equal(a->data_keys[i].version, b->data_keys[i].version);
        assert_memory_equal(a->data_keys[i].key, b->data_keys[i].key, HF_KEY_BYTES);
    }
    assert_memory_equal(a->hash_key, b->hash_key, HF_KEY_BYTES);
    assert_memory_equal(a->seal_key, b->seal_key, HF_KEY_BYTES);
}

static void test_wrapped_keys_come_back(void **state)
{
    struct hf_error err;
    struct hf_store_key key = fixed_store_key();
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT((size_t)64 << 10);
    (void)state;
    for (unsigned encrypted = 0; encrypted < 2; encrypted++) {
        struct hf_keyring ring = fixed_keyring(encrypted == 1);
        struct hf_keyring back;
        wrap(&ring, encrypted == 1 ? &key : NULL, &bytes);
        EXPECT_OK(hf_keyring_unwrap(hf_buf_bytes(&bytes), &ring.job, &key, &back, &err), &err);
        expect_same_ring(&ring, &back);
    }
}

static void test_wrapped_keys_do_not_show(void **state)
{
    struct hf_store_key key = fixed_store_key();
    struct hf_keyring ring = fixed_keyring(true);
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT((size_t)64 << 10);
    (void)state;
    wrap(&ring, &key, &bytes);
    assert_null(memmem(bytes.data, bytes.len, "hashKey", 7));
    assert_null(memmem(bytes.data, bytes.len, ring.data_keys[0].key, 8));
}

static void test_the_wrong_key_is_told_from_damage(void **state)
{
    struct hf_error err;
    struct hf_store_key key = fixed_store_key();
    struct hf_store_key wrong = key;
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_keyring back;
    struct hf_id other = fixed_id(0x44);
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT((size_t)64 << 10);
    (void)state;
    wrong.key[31] ^= 1;
    wrap(&ring, &key, &bytes);
    EXPECT_ERROR(hf_keyring_unwrap(hf_buf_bytes(&bytes), &ring.job, &wrong, &back, &err),
                 HF_ERR_DENIED, "the store's key does not open them", &err);
    EXPECT_ERROR(hf_keyring_unwrap(hf_buf_bytes(&bytes), &ring.job, NULL, &back, &err),
                 HF_ERR_DENIED, "the store's key is needed; hint: --key-file", &err);
    EXPECT_ERROR(hf_keyring_unwrap(hf_buf_bytes(&bytes), &other, &key, &back, &err), HF_ERR_CORRUPT,
                 "keys of another job", &err);
    bytes.data[bytes.len / 2] ^= 1;
    EXPECT_ERROR(hf_keyring_unwrap(hf_buf_bytes(&bytes), &ring.job, &key, &back, &err),
                 HF_ERR_CORRUPT, "checksum does not match", &err);
}

/* Keys in the clear must not pass for those of an encrypted job, nor the other way round. */
static void test_keys_are_wrapped_as_their_job_is_encrypted(void **state)
{
    struct hf_error err;
    struct hf_store_key key = fixed_store_key();
    struct hf_keyring clear = fixed_keyring(false);
    struct hf_keyring encrypted = fixed_keyring(true);
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT((size_t)64 << 10);
    struct hf_wrap_options with_key = {.store_key = &key};
    struct hf_wrap_options without = {.store_key = NULL};
    (void)state;
    EXPECT_ERROR(hf_keyring_wrap(&clear, &with_key, &bytes, &err), HF_ERR_INVALID,
                 "encrypted where its store has a key", &err);
    EXPECT_ERROR(hf_keyring_wrap(&encrypted, &without, &bytes, &err), HF_ERR_INVALID,
                 "encrypted where its store has a key", &err);
}

static void test_a_key_file_is_three_lines_of_text(void **state)
{
    struct hf_error err;
    struct hf_store_key key = fixed_store_key();
    struct hf_store_key back;
    struct hf_hash check;
    struct hf_hash again;
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(4096);
    (void)state;
    EXPECT_OK(hf_store_key_encode(&key, &text, &err), &err);
    assert_string_equal(hf_buf_text(&text),
                        "holdfast store key 1\nstore: 808182838485868788898a8b\n"
                        "key: gYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYE=\n");
    EXPECT_OK(hf_store_key_decode(buf_str(&text), &back, &err), &err);
    assert_memory_equal(&key, &back, sizeof key);
    EXPECT_OK(hf_store_key_check(&key, &check, &err), &err);
    back.key[0] ^= 1;
    EXPECT_OK(hf_store_key_check(&back, &again, &err), &err);
    assert_false(hf_hash_equal(&check, &again));
    /* As an editor on another system saves it. */
    EXPECT_OK(
        hf_store_key_decode(hf_str_of("holdfast store key 1\r\nstore: 808182838485868788898a8b\r\n"
                                      "key: gYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYE=\r\n"),
                            &back, &err),
        &err);
}

static void test_what_is_no_key_file_is_named_without_showing_it(void **state)
{
    static const struct {
        const char *text;
        const char *message;
    } files[] = {
        {"", "its first line is not"},
        {"holdfast store key 2\n", "its first line is not"},
        {"holdfast store key 1\n", "its second line names no store"},
        {"holdfast store key 1\nstore: 80\nkey: SECRET\n", "its second line names no store"},
        {"holdfast store key 1\nstore: 808182838485868788898a8b\nkey: SECRET\n",
         "its third line holds no key"},
        {"holdfast store key 1\nstore: 808182838485868788898a8b\n"
         "key: gYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYE=\nx\n",
         "more than three lines"},
    };
    struct hf_error err;
    struct hf_store_key key;
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(files); i++) {
        EXPECT_ERROR(hf_store_key_decode(hf_str_of(files[i].text), &key, &err), HF_ERR_INVALID,
                     files[i].message, &err);
        assert_null(strstr(err.message, "SECRET"));
    }
}

/* ---- the keyring as JSON ---- */

static void test_an_agent_gets_no_seal_key(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_keyring back;
    (void)state;
    HF_CLEANUP(hf_json_drop)
    struct hf_json *json =
        hf_keyring_to_json(&ring, &(struct hf_keyring_json_options){.with_seal = false});
    assert_null(hf_json_get(json, "sealKey"));
    EXPECT_OK(hf_keyring_from_json(json, &back, &err), &err);
    assert_false(back.has_seal_key);
    assert_int_equal(hf_keyring_newest(&back)->version, 3);
    assert_non_null(hf_keyring_data_key(&back, 1));
    assert_null(hf_keyring_data_key(&back, 2));
}

static void test_bad_keyrings_are_refused_by_member(void **state)
{
#define HASH "\"hashKey\":\"ISEhISEhISEhISEhISEhISEhISEhISEhISEhISEhISE=\""
#define KEY "\"key\":\"MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE=\""
#define RING_JOB "\"job\":\"101112131415161718191a1b\""
    static const struct {
        const char *text;
        const char *message;
    } rings[] = {
        {"{}", "keys: member job is missing"},
        {"{\"job\":\"x\"}", "keys: job: not an id"},
        {"{" RING_JOB ",\"hashKey\":\"QUJD\"}", "keys: hashKey: not 32 bytes"},
        {"{" RING_JOB "," HASH "}", "dataKeys"},
        {"{" RING_JOB "," HASH ",\"encrypted\":true,\"dataKeys\":[]}", "keys: dataKeys: 0 keys"},
        {"{" RING_JOB "," HASH ",\"encrypted\":false,\"dataKeys\":[{\"version\":1," KEY "}]}",
         "keys: dataKeys: 1 keys"},
        {"{" RING_JOB "," HASH ",\"encrypted\":true,\"dataKeys\":[{\"version\":0," KEY "}]}",
         "version"},
        {"{" RING_JOB "," HASH ",\"encrypted\":true,\"dataKeys\":[{\"version\":2," KEY
         "},{\"version\":2," KEY "}]}",
         "version"},
    };
    struct hf_error err;
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(rings); i++) {
        HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
        struct hf_keyring back;
        EXPECT_OK(hf_json_decode(hf_str_of(rings[i].text), 4096, &json, &err), &err);
        EXPECT_ERROR(hf_keyring_from_json(json, &back, &err), HF_ERR_INVALID, rings[i].message,
                     &err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrapped_keys_come_back),
        cmocka_unit_test(test_wrapped_keys_do_not_show),
        cmocka_unit_test(test_the_wrong_key_is_told_from_damage),
        cmocka_unit_test(test_keys_are_wrapped_as_their_job_is_encrypted),
        cmocka_unit_test(test_a_key_file_is_three_lines_of_text),
        cmocka_unit_test(test_what_is_no_key_file_is_named_without_showing_it),
        cmocka_unit_test(test_an_agent_gets_no_seal_key),
        cmocka_unit_test(test_bad_keyrings_are_refused_by_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
