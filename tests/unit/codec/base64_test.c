/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base64 against RFC 4648, and everything it must refuse.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/base64.h"

static const struct {
    const char *plain;
    const char *text;
} rfc4648[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

static void test_the_vectors_of_rfc_4648_go_both_ways(void **state)
{
    char text[16];
    uint8_t plain[8];
    size_t len;
    struct hf_error err;
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(rfc4648); i++) {
        size_t plain_len = strlen(rfc4648[i].plain);
        hf_base64_encode(hf_bytes_of(rfc4648[i].plain, plain_len), text);
        assert_string_equal(text, rfc4648[i].text);
        assert_int_equal(HF_BASE64_LEN(plain_len), strlen(text));
        assert_int_equal(hf_base64_decode(hf_str_of(rfc4648[i].text), plain, plain_len, &len, &err),
                         HF_ERR_OK);
        assert_int_equal(len, plain_len);
        assert_memory_equal(plain, rfc4648[i].plain, len);
    }
}

static void test_all_bytes_of_all_lengths_come_back(void **state)
{
    uint8_t bytes[300], back[300];
    char text[401];
    size_t len;
    struct hf_error err;
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 37 + i / 7);
    }
    for (size_t n = 0; n <= sizeof bytes; n++) {
        hf_base64_encode(hf_bytes_of(bytes, n), text);
        assert_int_equal(hf_base64_decode(hf_str_of(text), back, n, &len, &err), HF_ERR_OK);
        assert_int_equal(len, n);
        assert_memory_equal(back, bytes, n);
    }
    hf_base64_encode(hf_bytes_of("\xFB\xEF\xBE\xFF", 4), text);
    assert_string_equal(text, "++++/w==");
}

static void test_what_is_no_base64_is_refused(void **state)
{
    static const struct {
        const char *text;
        const char *message;
    } table[] = {
        {"Zg=", "base64: 3 characters are not whole groups of four"},
        {"Zg", "base64: 2 characters are not whole groups of four"},
        {"Zm9v\n", "base64: 5 characters are not whole groups of four"},
        {"Zm9vZm9-", "base64: a character in group 1 is none of it"},
        {"Z=9v", "base64: a character in group 0 is none of it"},
        {"Zg==Zg==", "base64: a character in group 0 is none of it"},
        {" Zm9", "base64: a character in group 0 is none of it"},
        {"====", "base64: the last group is not well formed"},
        {"Z===", "base64: the last group is not well formed"},
        {"Zh==", "base64: the last group is not well formed"}, /* stray bits: another "Zg==" */
        {"Zm9=", "base64: the last group is not well formed"},
        {"Zm-=", "base64: the last group is not well formed"},
        {"\xFF\xFF==", "base64: the last group is not well formed"},
    };
    uint8_t out[16];
    size_t len = 99;
    struct hf_error err;
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(table); i++) {
        assert_int_equal(hf_base64_decode(hf_str_of(table[i].text), out, sizeof out, &len, &err),
                         HF_ERR_INVALID);
        assert_string_equal(err.message, table[i].message);
    }
    assert_int_equal(len, 99);
}

static void test_more_than_fits_is_refused_before_a_byte_is_written(void **state)
{
    uint8_t out[6] = "kept!";
    size_t len;
    struct hf_error err;
    (void)state;
    assert_int_equal(hf_base64_decode(hf_str_of("Zm9vYmFy"), out, 5, &len, &err), HF_ERR_LIMIT);
    assert_string_equal(err.message, "base64: 6 bytes, at most 5 are allowed");
    assert_string_equal((const char *)out, "kept!");
    assert_int_equal(hf_base64_decode(hf_str_of("Zm9vYmE="), out, 5, &len, &err), HF_ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_vectors_of_rfc_4648_go_both_ways),
        cmocka_unit_test(test_all_bytes_of_all_lengths_come_back),
        cmocka_unit_test(test_what_is_no_base64_is_refused),
        cmocka_unit_test(test_more_than_fits_is_refused_before_a_byte_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
