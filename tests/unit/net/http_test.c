/* SPDX-License-Identifier: Apache-2.0 */
/* Header syntax and what a status means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/http.h"

static bool valid(const char *name, const char *value)
{
    const struct hf_http_header header = {.name = name, .value = value};

    return hf_http_header_valid(&header);
}

static void test_ordinary_headers_are_valid(void **state)
{
    (void)state;
    assert_true(valid("Content-Type", "application/json"));
    assert_true(valid("X-MongoDB-Service-Version", "gitHash=0; versionString=8.0.0"));
    assert_true(valid("x", ""));
    assert_true(valid("a", "tab\tand caf\xc3\xa9"));
}

static void test_a_header_that_could_end_its_line_is_not_valid(void **state)
{
    (void)state;
    assert_false(valid("a", "b\r\nX-Evil: 1"));
    assert_false(valid("a", "b\n"));
    assert_false(valid("a", "\x7f"));
    assert_false(valid("a b", "c"));
    assert_false(valid("a:", "c"));
    assert_false(valid("a\r\n", "c"));
    assert_false(valid("", "c"));
    assert_false(valid(NULL, "c"));
    assert_false(valid("a", NULL));
}

static void test_header_names_are_compared_without_case(void **state)
{
    (void)state;
    assert_true(hf_http_name_equal("Content-Length", "content-LENGTH"));
    assert_true(hf_http_name_equal("", ""));
    assert_false(hf_http_name_equal("Content", "Content-Length"));
    assert_false(hf_http_name_equal("Content-Length", "Content"));
    assert_false(hf_http_name_equal("a@", "a`"));
}

static void test_a_status_tells_the_class(void **state)
{
    (void)state;
    assert_int_equal(hf_http_status_class(200), HF_ERR_OK);
    assert_int_equal(hf_http_status_class(299), HF_ERR_OK);
    assert_int_equal(hf_http_status_class(401), HF_ERR_UNAUTHENTICATED);
    assert_int_equal(hf_http_status_class(404), HF_ERR_NOT_FOUND);
    assert_int_equal(hf_http_status_class(418), HF_ERR_INVALID);
    assert_int_equal(hf_http_status_class(429), HF_ERR_BUSY);
    assert_int_equal(hf_http_status_class(503), HF_ERR_UNAVAILABLE);
    assert_int_equal(hf_http_status_class(599), HF_ERR_INTERNAL);
    assert_int_equal(hf_http_status_class(301), HF_ERR_UNSUPPORTED);
    assert_int_equal(hf_http_status_class(0), HF_ERR_UNSUPPORTED);
}

/* A server that answers with hf_err_http, and a client that reads it, mean the same class. */
static void test_what_may_be_retried_survives_the_way_over_http(void **state)
{
    (void)state;
    const enum hf_err codes[] = {HF_ERR_NOT_FOUND, HF_ERR_CONFLICT,    HF_ERR_UNAVAILABLE,
                                 HF_ERR_DENIED,    HF_ERR_NO_SPACE,    HF_ERR_TIMEOUT,
                                 HF_ERR_BUSY,      HF_ERR_LIMIT,       HF_ERR_UNAUTHENTICATED,
                                 HF_ERR_INVALID,   HF_ERR_UNSUPPORTED, HF_ERR_INTERNAL};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        assert_int_equal(hf_http_status_class(hf_err_http(codes[i])), codes[i]);
    }
}

static void test_a_status_has_its_phrase(void **state)
{
    (void)state;
    assert_string_equal(hf_http_status_phrase(404), "Not Found");
    assert_string_equal(hf_http_status_phrase(499), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ordinary_headers_are_valid),
        cmocka_unit_test(test_a_header_that_could_end_its_line_is_not_valid),
        cmocka_unit_test(test_header_names_are_compared_without_case),
        cmocka_unit_test(test_a_status_tells_the_class),
        cmocka_unit_test(test_what_may_be_retried_survives_the_way_over_http),
        cmocka_unit_test(test_a_status_has_its_phrase),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
