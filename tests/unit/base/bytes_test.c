/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Comparing, storing and reading numbers and hexadecimal, at their edges.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

static struct hf_str str(const char *text)
{
    return hf_str_of(text);
}

static void test_texts_compare_by_bytes(void **state)
{
    struct hf_str none = hf_str_of(NULL);
    (void)state;
    assert_true(hf_str_equal(str("ab"), str("ab")));
    assert_false(hf_str_equal(str("ab"), str("abc")));
    assert_false(hf_str_equal(str("ab"), str("aB")));
    assert_true(hf_str_equal(none, str("")));
    assert_true(hf_str_equal_c(str("x"), "x"));
    assert_false(hf_str_equal_c(str("x"), "y"));
    assert_true(hf_str_starts_with(str("abc"), str("ab")));
    assert_true(hf_str_starts_with(str("abc"), none));
    assert_false(hf_str_starts_with(str("ab"), str("abc")));
    assert_false(hf_str_starts_with(str("xbc"), str("ab")));
    assert_true(hf_str_compare(str("a"), str("b")) < 0);
    assert_true(hf_str_compare(str("b"), str("a")) > 0);
    assert_true(hf_str_compare(str("ab"), str("abc")) < 0);
    assert_true(hf_str_compare(str("abc"), str("ab")) > 0);
    assert_true(hf_str_compare(str("\xFF"), str("a")) > 0);
    assert_int_equal(hf_str_compare(none, str("")), 0);
}

static void test_bytes_compare_with_their_length(void **state)
{
    (void)state;
    assert_true(hf_bytes_equal(hf_bytes_of("a\0b", 3), hf_bytes_of("a\0b", 3)));
    assert_false(hf_bytes_equal(hf_bytes_of("a\0b", 3), hf_bytes_of("a\0c", 3)));
    assert_false(hf_bytes_equal(hf_bytes_of("a", 1), hf_bytes_of("a", 0)));
    assert_true(hf_bytes_equal(hf_bytes_of(NULL, 0), hf_bytes_of("a", 0)));
    struct hf_bytes same = hf_bytes_of_str(str("hold"));
    assert_int_equal(same.len, 4);
    assert_memory_equal(same.data, "hold", 4);
}

static void test_sums_and_products_are_checked(void **state)
{
    size_t out = 99;
    (void)state;
    assert_true(hf_add_size(SIZE_MAX - 1, 1, &out));
    assert_true(out == SIZE_MAX);
    assert_false(hf_add_size(SIZE_MAX, 1, &out));
    assert_true(out == SIZE_MAX);
    assert_true(hf_mul_size(1000, 1000, &out));
    assert_int_equal(out, 1000000);
    assert_false(hf_mul_size(SIZE_MAX / 2 + 1, 2, &out));
    assert_int_equal(out, 1000000);
}

static void test_integers_are_stored_little_end_first(void **state)
{
    uint8_t bytes[8];
    (void)state;
    hf_store_le16(bytes, 0x1234);
    assert_memory_equal(bytes, "\x34\x12", 2);
    assert_int_equal(hf_load_le16(bytes), 0x1234);
    hf_store_le32(bytes, 0xFEDCBA98u);
    assert_memory_equal(bytes, "\x98\xBA\xDC\xFE", 4);
    assert_int_equal(hf_load_le32(bytes), 0xFEDCBA98u);
    hf_store_le64(bytes, UINT64_C(0xF123456789ABCDEF));
    assert_memory_equal(bytes, "\xEF\xCD\xAB\x89\x67\x45\x23\xF1", 8);
    assert_true(hf_load_le64(bytes) == UINT64_C(0xF123456789ABCDEF));
}

static void test_any_width_reads_what_it_wrote(void **state)
{
    (void)state;
    for (size_t width = 1; width <= 8; width++) {
        uint8_t bytes[10];
        uint64_t value = UINT64_C(0xF1E2D3C4B5A69788) >> (64 - 8 * width);
        memset(bytes, 0xAA, sizeof bytes);
        hf_store_le(bytes + 1, value, width);
        assert_true(hf_load_le(bytes + 1, width) == value);
        assert_int_equal(bytes[0], 0xAA);
        assert_int_equal(bytes[1 + width], 0xAA);
    }
}

static void test_hexadecimal_goes_both_ways(void **state)
{
    char text[17];
    uint8_t bytes[8];
    (void)state;
    hf_hex_encode(hf_bytes_of("\x00\x1F\xA0\xFF", 4), text);
    assert_string_equal(text, "001fa0ff");
    hf_hex_encode(hf_bytes_of(NULL, 0), text);
    assert_string_equal(text, "");
    assert_true(hf_hex_decode(str("001FA0ff"), bytes, 4));
    assert_memory_equal(bytes, "\x00\x1F\xA0\xFF", 4);
    assert_true(hf_hex_decode(str(""), bytes, 0));
    assert_false(hf_hex_decode(str("001fa0f"), bytes, 4));
    assert_false(hf_hex_decode(str("001fa0ff0"), bytes, 4));
    assert_false(hf_hex_decode(str("001fa0ff"), bytes, 3));
    assert_false(hf_hex_decode(str("001fa0fg"), bytes, 4));
    assert_false(hf_hex_decode(str("00 fa0ff"), bytes, 4));
}

static void test_decimal_numbers_are_whole_and_in_range(void **state)
{
    uint64_t value = 7;
    (void)state;
    assert_true(hf_parse_u64(str("0"), &value));
    assert_int_equal(value, 0);
    assert_true(hf_parse_u64(str("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
    assert_true(hf_parse_u64(str("007"), &value));
    assert_int_equal(value, 7);
    const char *const bad[] = {
        "", "18446744073709551616", "99999999999999999999", "-1", "+1", " 1", "1 ", "1.5", "0x10"};
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        assert_false(hf_parse_u64(str(bad[i]), &value));
    }
    assert_int_equal(value, 7);
}

static void test_numbers_in_names_have_one_spelling(void **state)
{
    uint64_t value = 7;
    (void)state;
    assert_true(hf_parse_hex_u64(str("00000000000000ff"), &value));
    assert_int_equal(value, 255);
    assert_true(hf_parse_hex_u64(str("ffffffffffffffff"), &value));
    assert_true(value == UINT64_MAX);
    assert_true(hf_parse_hex_u64(str("a"), &value));
    assert_int_equal(value, 10);
    const char *const bad[] = {"", "00000000000000000", "FF", "fF", "g", "-1", " 1"};
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        assert_false(hf_parse_hex_u64(str(bad[i]), &value));
    }
    assert_int_equal(value, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_compare_by_bytes),
        cmocka_unit_test(test_bytes_compare_with_their_length),
        cmocka_unit_test(test_sums_and_products_are_checked),
        cmocka_unit_test(test_integers_are_stored_little_end_first),
        cmocka_unit_test(test_any_width_reads_what_it_wrote),
        cmocka_unit_test(test_hexadecimal_goes_both_ways),
        cmocka_unit_test(test_decimal_numbers_are_whole_and_in_range),
        cmocka_unit_test(test_numbers_in_names_have_one_spelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
