/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text becomes values and text again; what is not JSON, or too much of it, is refused with its place.
 */
#include "json_room.h"

#include <float.h>
#include <stdio.h>

static void assert_refused(const char *text, enum hf_err code, const char *message)
{
    struct hf_json *value = NULL;
    struct hf_error err;
    assert_int_equal(hf_json_decode(hf_str_of(text), 1000, &value, &err), code);
    assert_string_equal(err.message, message);
    assert_null(value);
}

static void test_what_is_not_json_is_refused_with_its_place(void **state)
{
    (void)state;
    assert_refused("", HF_ERR_INVALID, "json: line 1 column 0: unexpected token near end of file");
    assert_refused("{\"a\":1,\n \"b\" 2}", HF_ERR_INVALID,
                   "json: line 2 column 6: ':' expected near '2'");
    assert_refused("{\"a\":1,\"a\":2}", HF_ERR_INVALID,
                   "json: line 1 column 10: duplicate object key near '\"a\"'");
    assert_refused("[9223372036854775808]", HF_ERR_INVALID,
                   "json: line 1 column 20: too big integer near '9223372036854775808'");
    assert_refused("[1e999]", HF_ERR_INVALID,
                   "json: line 1 column 6: real number overflow near '1e999'");
    assert_refused(
        "[\"\\u0000\"]", HF_ERR_INVALID,
        "json: line 1 column 9: \\u0000 is not allowed without JSON_ALLOW_NUL near '\"\\u0000\"'");
    assert_refused(
        "{\"a\\u0000b\":1}", HF_ERR_INVALID,
        "json: line 1 column 11: NUL byte in object key not supported near '\"a\\u0000b\"'");
}

static void test_other_ways_of_being_wrong_are_refused_too(void **state)
{
    static const char *const table[] = {
        "[1] x",      "[1,]",          "{\"a\":1,}", "[01]",       "[+1]",
        "[.5]",       "[1.]",          "[NaN]",      "nul",        "'a'",
        "[\"\xFF\"]", "[\"\\ud800\"]", "[\"\\x\"]",  "[\"a\nb\"]", "{a:1}",
        "[\"a]",      "// x\n[]",      "[1 2]",      "]",          "\xEF\xBB\xBF[]",
    };
    struct hf_json *value = NULL;
    struct hf_error err;
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(table); i++) {
        if (hf_json_decode(hf_str_of(table[i]), 1000, &value, &err) != HF_ERR_INVALID) {
            fail_msg("taken for JSON: %s", table[i]);
        }
        assert_non_null(strstr(err.message, "json: line "));
    }
    assert_int_equal(hf_json_decode((struct hf_str){.data = "[\0]", .len = 3}, 9, &value, &err),
                     HF_ERR_INVALID);
    assert_int_equal(hf_json_decode(hf_str_of(NULL), 9, &value, &err), HF_ERR_INVALID);
    assert_null(value);
}

static void test_any_value_may_stand_alone(void **state)
{
    static const char *const table[] = {"1", "\"t\"", "true", "null", "-0.5", "[]", "{}"};
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(table); i++) {
        HF_CLEANUP(hf_json_drop) struct hf_json *value = decoded(table[i]);
        assert_encodes(value, table[i]);
    }
}

static void test_text_has_its_limit(void **state)
{
    struct hf_json *value = NULL;
    struct hf_error err;
    (void)state;
    assert_int_equal(hf_json_decode(hf_str_of("[1,2]"), 4, &value, &err), HF_ERR_LIMIT);
    assert_string_equal(err.message, "json: 5 bytes, at most 4 are allowed");
    assert_int_equal(hf_json_decode(hf_str_of("[1,2]"), 5, &value, &err), HF_ERR_OK);
    hf_json_drop(value);
}

static void test_depth_has_its_limit_outside_of_texts(void **state)
{
    char text[300];
    struct hf_json *value = NULL;
    struct hf_error err;
    (void)state;
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    text[128] = '\0';
    HF_CLEANUP(hf_json_drop) struct hf_json *deepest = decoded(text);
    assert_encodes(deepest, text);
    memcpy(text, "\n\n ", 3);
    memset(text + 3, '[', 65);
    memset(text + 68, ']', 65);
    text[133] = '\0';
    assert_int_equal(hf_json_decode(hf_str_of(text), 300, &value, &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "json: line 3 column 66: more than 64 levels deep");
    /* Brackets in texts, behind escaped quotes too, are no depth; and what is closed counts no more. */
    text[0] = '"';
    text[1] = '\\';
    text[2] = '"';
    memset(text + 3, '{', 100);
    text[103] = '"';
    text[104] = '\0';
    HF_CLEANUP(hf_json_drop) struct hf_json *quoted = decoded(text);
    assert_int_equal(strlen(hf_json_text(quoted)), 101);
    size_t at = 0;
    text[at++] = '[';
    for (int i = 0; i < 99; i++) {
        memcpy(text + at, i == 0 ? "[]" : ",{}", i == 0 ? 2 : 3);
        at += i == 0 ? 2 : 3;
    }
    memcpy(text + at, "]", 2);
    at++;
    assert_true(at < sizeof text);
    HF_CLEANUP(hf_json_drop) struct hf_json *wide = decoded(text);
    assert_int_equal(hf_json_count(wide), 99);
}

static void test_values_have_their_limit_outside_of_texts(void **state)
{
    const struct hf_json_limits limits = {.bytes = 100, .values = 6};
    static const struct {
        const char *text;
        enum hf_err code;
    } cases[] = {
        {"[1,2,3,4]", HF_ERR_OK},          {"[1,2,3,4,5]", HF_ERR_OK},
        {"[1,2,3,4,5,6]", HF_ERR_LIMIT},   {"{\"a\":1,\"b\":2}", HF_ERR_OK},
        {"{\"a\":1,\"b\":[]}", HF_ERR_OK}, {"{\"a\":1,\"b\":[{}]}", HF_ERR_LIMIT},
        {"[[[[[]]]]]", HF_ERR_OK},         {"[[[[[[]]]]]]", HF_ERR_LIMIT},
        {"\",,,,[[[[::::\"", HF_ERR_OK},
    };
    struct hf_error err;
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        HF_CLEANUP(hf_json_drop) struct hf_json *value = NULL;
        assert_int_equal(hf_json_decode_within(hf_str_of(cases[i].text), &limits, &value, &err),
                         cases[i].code);
    }
}

static void test_what_is_built_too_deep_is_not_encoded(void **state)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(1 << 16);
    HF_CLEANUP(hf_json_drop) struct hf_json *value = hf_json_array();
    struct hf_error err;
    (void)state;
    for (int i = 0; i < 64; i++) {
        struct hf_json *outer = hf_json_object();
        hf_json_set_take(outer, "k", value);
        value = outer;
    }
    assert_int_equal(hf_buf_append_text(&out, "before", &err), HF_ERR_OK);
    assert_int_equal(hf_json_encode(value, 0, &out, &err), HF_ERR_LIMIT);
    assert_string_equal(err.message, "json: more than 64 levels deep");
    assert_string_equal(hf_buf_text(&out), "before");
}

static void test_indentation_makes_it_readable(void **state)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(1 << 16);
    HF_CLEANUP(hf_json_drop) struct hf_json *value = decoded("{\"b\":[1,{\"c\":{}}],\"a\":[]}");
    struct hf_error err;
    (void)state;
    assert_int_equal(hf_json_encode(value, 2, &out, &err), HF_ERR_OK);
    assert_string_equal(hf_buf_text(&out), "{\n"
                                           "  \"a\": [],\n"
                                           "  \"b\": [\n"
                                           "    1,\n"
                                           "    {\n"
                                           "      \"c\": {}\n"
                                           "    }\n"
                                           "  ]\n"
                                           "}");
}

static void test_texts_are_escaped_and_read_back(void **state)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *object = hf_json_object();
    (void)state;
    hf_json_set_text(object, "k\"\n", "\"\\/\b\f\n\r\t\x01\x1f\x7f \xE2\x82\xAC \xF0\x9F\x98\x80");
    const char *expected = "{\"k\\\"\\n\":\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f "
                           "\xE2\x82\xAC \xF0\x9F\x98\x80\"}";
    assert_encodes(object, expected);
    HF_CLEANUP(hf_json_drop) struct hf_json *back = decoded(expected);
    assert_true(hf_json_equal(object, back));
    HF_CLEANUP(hf_json_drop) struct hf_json *escapes = decoded("[\"\\u20ac\\ud83d\\ude00\\/\"]");
    assert_encodes(escapes, "[\"\xE2\x82\xAC\xF0\x9F\x98\x80/\"]");
}

static void test_keys_sort_by_bytes(void **state)
{
    HF_CLEANUP(hf_json_drop)
    struct hf_json *value = decoded("{\"b\":1,\"\xC3\xA9\":2,\"a10\":3,\"a2\":4,\"\":5,\"B\":6}");
    (void)state;
    assert_encodes(value, "{\"\":5,\"B\":6,\"a10\":3,\"a2\":4,\"b\":1,\"\xC3\xA9\":2}");
}

static void test_numbers_have_their_shortest_form_and_read_back_the_same(void **state)
{
    static const struct {
        double value;
        const char *text;
    } table[] = {
        {0.1, "0.1"},
        {1.0, "1.0"},
        {-2.5, "-2.5"},
        {1e300, "1e+300"},
        {1.0 / 3.0, "0.3333333333333333"},
        {123456789.125, "123456789.125"},
        {DBL_MIN, "2.2250738585072014e-308"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {9007199254740993.0, "9007199254740992.0"},
    };
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(table); i++) {
        char expected[64];
        HF_CLEANUP(hf_json_drop) struct hf_json *object = hf_json_object();
        hf_json_set_real(object, "r", table[i].value);
        (void)snprintf(expected, sizeof expected, "{\"r\":%s}", table[i].text);
        assert_encodes(object, expected);
        HF_CLEANUP(hf_json_drop) struct hf_json *back = decoded(expected);
        assert_int_equal(hf_json_type(hf_json_get(back, "r")), HF_JSON_REAL);
        assert_true(hf_json_get_real(back, "r", 0) == table[i].value);
    }
}

static void test_a_full_buffer_ends_the_encoding_at_any_place(void **state)
{
    HF_CLEANUP(hf_json_drop)
    struct hf_json *value = decoded("{\"a\":[1,2.5,\"x\\n\",null,true,false,{}],\"b\":{\"c\":[]}}");
    HF_CLEANUP(hf_buf_fini) struct hf_buf whole = HF_BUF_INIT(1000);
    struct hf_error err;
    (void)state;
    for (unsigned indent = 0; indent <= 2; indent += 2) {
        hf_buf_clear(&whole);
        assert_int_equal(hf_json_encode(value, indent, &whole, &err), HF_ERR_OK);
        for (size_t max = 0; max < whole.len; max++) {
            HF_CLEANUP(hf_buf_fini) struct hf_buf small = HF_BUF_INIT(max);
            assert_int_equal(hf_json_encode(value, indent, &small, &err), HF_ERR_LIMIT);
            assert_int_equal(small.len, 0);
        }
    }
}

static void test_decoding_and_encoding_can_run_out_of_memory(void **state)
{
    const char *text = "{\"a\":[1,2,3,4,5,6,7,8,9,10],\"b\":{\"c\":\"text\"}}";
    struct hf_error err;
    enum hf_err code = HF_ERR_NO_MEMORY;
    (void)state;
    for (uint64_t nth = 1; code != HF_ERR_OK; nth++) {
        struct hf_json *value = NULL;
        hf_fault_disarm_all();
        hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, nth, 1);
        code = hf_json_decode(hf_str_of(text), 1000, &value, &err);
        hf_fault_disarm_all();
        if (code == HF_ERR_OK) {
            assert_encodes(value, text);
        } else {
            assert_int_equal(code, HF_ERR_NO_MEMORY);
            assert_string_equal(err.message, "json: no memory for 45 bytes");
            assert_null(value);
        }
        hf_json_drop(value);
    }
    HF_CLEANUP(hf_json_drop) struct hf_json *value = decoded(text);
    code = HF_ERR_NO_MEMORY;
    for (uint64_t nth = 1; code != HF_ERR_OK; nth++) {
        HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(1000);
        hf_fault_disarm_all();
        hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, nth, 1);
        code = hf_json_encode(value, 0, &out, &err);
        assert_true(code == HF_ERR_OK || code == HF_ERR_NO_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_not_json_is_refused_with_its_place),
        cmocka_unit_test(test_other_ways_of_being_wrong_are_refused_too),
        cmocka_unit_test(test_any_value_may_stand_alone),
        cmocka_unit_test(test_text_has_its_limit),
        cmocka_unit_test(test_depth_has_its_limit_outside_of_texts),
        cmocka_unit_test(test_values_have_their_limit_outside_of_texts),
        cmocka_unit_test(test_what_is_built_too_deep_is_not_encoded),
        cmocka_unit_test(test_indentation_makes_it_readable),
        cmocka_unit_test(test_texts_are_escaped_and_read_back),
        cmocka_unit_test(test_keys_sort_by_bytes),
        cmocka_unit_test(test_numbers_have_their_shortest_form_and_read_back_the_same),
        cmocka_unit_test(test_a_full_buffer_ends_the_encoding_at_any_place),
        cmocka_unit_test_teardown(test_decoding_and_encoding_can_run_out_of_memory, disarm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
