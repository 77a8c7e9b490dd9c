/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the command line makes of a record's end, and which texts get into a path.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/api.h"

static enum hf_err end_of(const char *noun, const char *text, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *record = NULL;

    hf_error_clear(err);
    assert_int_equal(hf_json_decode(hf_str_of(text), 4096, &record, err), HF_ERR_OK);
    return hf_cli_ended(record, noun, err);
}

static void test_a_snapshot_that_is_complete_and_a_restore_that_is_finished_ended_well(void **state)
{
    struct hf_error err;

    (void)state;
    assert_int_equal(end_of("snapshot", "{\"state\":\"COMPLETE\"}", &err), HF_ERR_OK);
    assert_int_equal(end_of("restore", "{\"state\":\"FINISHED\"}", &err), HF_ERR_OK);
}

static void test_any_other_end_is_the_error_of_which_the_record_tells(void **state)
{
    struct hf_error err;

    (void)state;
    assert_int_equal(end_of("restore",
                            "{\"id\":\"64b0\",\"state\":\"BROKEN\",\"errorClass\":\"NO_SPACE\","
                            "\"error\":\"write a.wt: the disk is full\"}",
                            &err),
                     HF_ERR_NO_SPACE);
    assert_string_equal(err.message, "restore 64b0: BROKEN: write a.wt: the disk is full");
    assert_int_equal(end_of("snapshot",
                            "{\"id\":\"64b1\",\"state\":\"FAILED\",\"errorClass\":\"CORRUPT\"}",
                            &err),
                     HF_ERR_CORRUPT);
    assert_string_equal(err.message, "snapshot 64b1: FAILED: no reason given");
}

/* An exit code of 0 would say that all went well. */
static void test_an_end_without_a_class_that_we_know_is_an_error_all_the_same(void **state)
{
    static const char *const records[] = {
        "{\"state\":\"KILLED\"}",
        "{\"state\":\"KILLED\",\"errorClass\":\"OK\"}",
        "{\"state\":\"KILLED\",\"errorClass\":\"OF_A_LATER_RELEASE\"}",
        "{}",
    };
    struct hf_error err;

    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(records); i++) {
        assert_int_equal(end_of("restore", records[i], &err), HF_ERR_INTERNAL);
    }
}

static void test_only_an_id_gets_into_a_path(void **state)
{
    static const char *const wrong[] = {"", "64b0", "64b0f1e2d3c4b5a697887960/x",
                                        "64b0f1e2d3c4b5a69788796g", "../../../../../../status"};
    char target[128];
    struct hf_error err;

    (void)state;
    assert_int_equal(hf_cli_id_target(target, sizeof target, "jobs", "64b0f1e2d3c4b5a697887960",
                                      "/ranges", &err),
                     HF_ERR_OK);
    assert_string_equal(target, "/api/private/v1.0/jobs/64b0f1e2d3c4b5a697887960/ranges");
    for (size_t i = 0; i < HF_ARRAY_LEN(wrong); i++) {
        assert_int_equal(hf_cli_id_target(target, sizeof target, "jobs", wrong[i], "", &err),
                         HF_ERR_INVALID);
        assert_non_null(strstr(err.message, "is not an id: 24 hexadecimal digits are"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_a_snapshot_that_is_complete_and_a_restore_that_is_finished_ended_well),
        cmocka_unit_test(test_any_other_end_is_the_error_of_which_the_record_tells),
        cmocka_unit_test(test_an_end_without_a_class_that_we_know_is_an_error_all_the_same),
        cmocka_unit_test(test_only_an_id_gets_into_a_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
