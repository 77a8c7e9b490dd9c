/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options: each allocation fails in turn; the struct is then empty and nothing leaks.
 */
#include "base/alloc.h"
#include "base/fault.h"
#include "unit/config/sample.h"

static void test_each_allocation_that_fails_is_told(void **state)
{
#ifdef HF_FAULTS
    (void)state;
    char a[] = "--data-dir=d", b[] = "--member=x", c[] = "file";
    char *argv[] = {a, b, c};
    const char *const environment[] = {"HOLDFAST_MEMBER=a,b", "HOLDFAST_LISTEN=x", NULL};
    struct hf_option_input input = {.argc = 3, .argv = argv, .environment = environment};
    for (uint64_t nth = 1; nth < 200; nth++) {
        struct hf_error err = {.message = ""};
        struct sample values;
        HF_CLEANUP(hf_option_rest_fini) struct hf_option_rest rest;
        hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, nth, 1);
        enum hf_err code = hf_option_parse(&table, &input, &values, &rest, &err);
        hf_fault_disarm_all();
        if (code == HF_ERR_OK) {
            assert_string_equal(values.member.values[0], "x");
            hf_option_fini(&table, &values);
            return;
        }
        assert_int_equal(code, HF_ERR_NO_MEMORY);
        assert_null(values.data_dir);
        assert_null(values.listen);
        assert_int_equal(rest.arguments.count, 0);
    }
    fail_msg("parsing never worked");
#else
    (void)state;
    skip();
#endif
}

static void test_rendering_with_too_small_a_buffer_is_told(void **state)
{
    (void)state;
    struct hf_error err;
    for (size_t max = 0; max < 4000; max += 61) {
        HF_CLEANUP(hf_buf_fini) struct hf_buf help = HF_BUF_INIT(max);
        HF_CLEANUP(hf_buf_fini) struct hf_buf markdown = HF_BUF_INIT(max);
        HF_CLEANUP(hf_buf_fini) struct hf_buf man = HF_BUF_INIT(max);
        enum hf_err codes[] = {hf_option_help(&table, &help, &err),
                               hf_option_markdown(&table, &markdown, &err),
                               hf_option_man(&table, &man, &err)};
        for (size_t i = 0; i < HF_ARRAY_LEN(codes); i++) {
            assert_true(codes[i] == HF_ERR_OK || codes[i] == HF_ERR_LIMIT);
            assert_true(max > 1000 || codes[i] == HF_ERR_LIMIT);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_allocation_that_fails_is_told),
        cmocka_unit_test(test_rendering_with_too_small_a_buffer_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
