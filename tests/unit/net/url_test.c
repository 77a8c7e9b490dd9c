/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: split first, decoded afterwards; every limit; encoding and decoding undo each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/url.h"

static void parse(struct hf_url_target *target, const char *raw)
{
    struct hf_error err = {0};

    if (hf_url_target_parse(target, hf_str_of(raw), &err) != HF_ERR_OK) {
        fail_msg("%s: %s", raw, err.message);
    }
}

static void refused(const char *raw, enum hf_err code, const char *words)
{
    struct hf_url_target target = {0};
    struct hf_error err = {0};

    assert_int_equal(hf_url_target_parse(&target, hf_str_of(raw), &err), code);
    assert_string_equal(err.message, words);
    assert_null(target.text);
}

static void test_a_slash_that_is_encoded_stays_inside_its_segment(void **state)
{
    (void)state;
    HF_CLEANUP(hf_url_target_fini) struct hf_url_target target = {0};

    parse(&target, "/admin/daemon/%2Fdata%2Fbackup%2f");
    assert_int_equal(target.segment_count, 3);
    assert_string_equal(target.segments[1], "daemon");
    assert_string_equal(target.segments[2], "/data/backup/");
    assert_false(target.trailing_slash);
}

static void test_a_trailing_slash_is_seen_and_adds_no_segment(void **state)
{
    (void)state;
    HF_CLEANUP(hf_url_target_fini) struct hf_url_target target = {0};

    parse(&target, "/api/public/?pretty=true");
    assert_int_equal(target.segment_count, 2);
    assert_true(target.trailing_slash);
    assert_string_equal(hf_url_target_parameter(&target, "pretty"), "true");
}

static void test_the_root_has_no_segments(void **state)
{
    (void)state;
    HF_CLEANUP(hf_url_target_fini) struct hf_url_target target = {0};

    parse(&target, "/");
    assert_int_equal(target.segment_count, 0);
    assert_int_equal(target.parameter_count, 0);
    assert_int_equal(target.path.len, 1);
}

static void test_parameters_are_decoded_in_order_and_duplicates_kept(void **state)
{
    (void)state;
    HF_CLEANUP(hf_url_target_fini) struct hf_url_target target = {0};
    struct hf_error err;
    const char *value;

    parse(&target, "/x?a=1+2&&b=%26%3D%25&a=3&flag&=empty&c=x=y?z&");
    assert_int_equal(target.parameter_count, 6);
    assert_string_equal(target.parameters[0].name, "a");
    assert_string_equal(target.parameters[0].value, "1 2");
    assert_string_equal(target.parameters[1].value, "&=%");
    assert_string_equal(target.parameters[2].value, "3");
    assert_string_equal(target.parameters[3].name, "flag");
    assert_string_equal(target.parameters[3].value, "");
    assert_string_equal(target.parameters[4].name, "");
    assert_string_equal(target.parameters[5].value, "x=y?z");
    assert_int_equal(hf_url_target_once(&target, "b", &value, &err), HF_ERR_OK);
    assert_string_equal(value, "&=%");
    assert_int_equal(hf_url_target_once(&target, "none", &value, &err), HF_ERR_OK);
    assert_null(value);
    assert_int_equal(hf_url_target_once(&target, "a", &value, &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "query parameter a is given 2 times");
}

static void test_a_plus_in_the_path_is_a_plus(void **state)
{
    (void)state;
    HF_CLEANUP(hf_url_target_fini) struct hf_url_target target = {0};

    parse(&target, "/a+b");
    assert_string_equal(target.segments[0], "a+b");
}

static void test_malformed_targets_are_refused_in_words(void **state)
{
    (void)state;
    refused("", HF_ERR_INVALID, "request target does not begin with \"/\"");
    refused("*", HF_ERR_INVALID, "request target does not begin with \"/\"");
    refused("http://h/", HF_ERR_INVALID, "request target does not begin with \"/\"");
    refused("/a//b", HF_ERR_INVALID, "request path: an empty segment");
    refused("//", HF_ERR_INVALID, "request path: an empty segment");
    refused("/a/../b", HF_ERR_INVALID, "request path: the segment \"..\"");
    refused("/a/%2e%2E/b", HF_ERR_INVALID, "request path: the segment \"..\"");
    refused("/.", HF_ERR_INVALID, "request path: the segment \".\"");
    refused("/a%00b", HF_ERR_INVALID, "request path: a NUL byte");
    refused("/a%2", HF_ERR_INVALID, "request path: \"%\" without two hexadecimal digits");
    refused("/a%zz", HF_ERR_INVALID, "request path: \"%\" without two hexadecimal digits");
    refused("/a?b=%", HF_ERR_INVALID, "query: \"%\" without two hexadecimal digits");
    refused("/a?b%00=1", HF_ERR_INVALID, "query: a NUL byte");
}

static void test_the_limits_hold(void **state)
{
    (void)state;
    static char raw[HF_URL_TARGET_MAX_BYTES + 2];
    HF_CLEANUP(hf_url_target_fini) struct hf_url_target target = {0};

    memset(raw, 'a', sizeof raw - 1);
    raw[0] = '/';
    refused(raw, HF_ERR_LIMIT, "request target: 16385 bytes, the limit is 16384");
    raw[HF_URL_TARGET_MAX_BYTES] = '\0';
    parse(&target, raw);
    assert_int_equal(target.segment_count, 1);

    memset(raw, 0, sizeof raw);
    for (size_t i = 0; i <= HF_URL_SEGMENTS_MAX; i++) {
        memcpy(raw + 2 * i, "/a", 2);
    }
    refused(raw, HF_ERR_LIMIT, "request path: more than 32 segments");

    memset(raw, 0, sizeof raw);
    raw[0] = '/';
    for (size_t i = 0; i <= HF_URL_PARAMETERS_MAX; i++) {
        memcpy(raw + 1 + 2 * i, i == 0 ? "?a" : "&a", 2);
    }
    refused(raw, HF_ERR_LIMIT, "query: more than 64 parameters");
    raw[1 + 2 * HF_URL_PARAMETERS_MAX] = '\0';
    hf_url_target_fini(&target);
    parse(&target, raw);
    assert_int_equal(target.parameter_count, HF_URL_PARAMETERS_MAX);
}

static void test_what_is_encoded_comes_back(void **state)
{
    (void)state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf raw = HF_BUF_INIT(4096);
    HF_CLEANUP(hf_url_target_fini) struct hf_url_target target = {0};
    struct hf_error err;
    char every[256];
    bool first = true;

    for (int i = 1; i < 256; i++) {
        every[i - 1] = (char)i;
    }
    every[255] = '\0';
    assert_int_equal(hf_buf_append_text(&raw, "/", &err), HF_ERR_OK);
    assert_int_equal(hf_url_encode(&raw, hf_str_of(every), &err), HF_ERR_OK);
    assert_int_equal(hf_url_add_parameter(&raw, &first, "all of it", hf_str_of(every), &err),
                     HF_ERR_OK);
    assert_int_equal(hf_url_add_parameter(&raw, &first, "n", hf_str_of("2"), &err), HF_ERR_OK);
    parse(&target, hf_buf_text(&raw));
    assert_int_equal(target.segment_count, 1);
    assert_string_equal(target.segments[0], every);
    assert_string_equal(hf_url_target_parameter(&target, "all of it"), every);
    assert_string_equal(hf_url_target_parameter(&target, "n"), "2");
}

static void test_encoding_stops_at_the_buffers_limit(void **state)
{
    (void)state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf raw = HF_BUF_INIT(4);
    struct hf_error err;

    assert_int_equal(hf_url_encode(&raw, hf_str_of("ab/c"), &err), HF_ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_slash_that_is_encoded_stays_inside_its_segment),
        cmocka_unit_test(test_a_trailing_slash_is_seen_and_adds_no_segment),
        cmocka_unit_test(test_the_root_has_no_segments),
        cmocka_unit_test(test_parameters_are_decoded_in_order_and_duplicates_kept),
        cmocka_unit_test(test_a_plus_in_the_path_is_a_plus),
        cmocka_unit_test(test_malformed_targets_are_refused_in_words),
        cmocka_unit_test(test_the_limits_hold),
        cmocka_unit_test(test_what_is_encoded_comes_back),
        cmocka_unit_test(test_encoding_stops_at_the_buffers_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
