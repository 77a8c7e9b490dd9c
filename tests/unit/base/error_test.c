/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages read from the outside in, nothing cuts the cause, and the table is what the documentation says.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

static void test_fail_sets_code_and_message(void **state)
{
    struct hf_error err;
    (void)state;
    assert_int_equal(hf_fail(&err, HF_ERR_INVALID, "port %d is taken", 80), HF_ERR_INVALID);
    assert_int_equal(err.code, HF_ERR_INVALID);
    assert_string_equal(err.message, "port 80 is taken");
}

static void test_wrap_puts_frames_in_front(void **state)
{
    struct hf_error err;
    (void)state;
    (void)hf_fail(&err, HF_ERR_CORRUPT, "block %d is damaged", 7);
    assert_int_equal(hf_wrap(&err, "collection-%d.wt", 3), HF_ERR_CORRUPT);
    assert_int_equal(hf_wrap(&err, "restore %s", "64b0"), HF_ERR_CORRUPT);
    assert_string_equal(err.message, "restore 64b0: collection-3.wt: block 7 is damaged");
}

static void test_a_message_may_quote_the_one_it_replaces(void **state)
{
    struct hf_error err;
    (void)state;
    (void)hf_fail(&err, HF_ERR_IO, "first");
    (void)hf_fail(&err, HF_ERR_LOST, "second after %s", err.message);
    assert_string_equal(err.message, "second after first");
    (void)hf_wrap(&err, "quoting %s", err.message);
    assert_string_equal(err.message, "quoting second after first: second after first");
}

static void test_a_frame_that_does_not_fit_is_dropped_and_the_cause_stays(void **state)
{
    struct hf_error err;
    char frame[900];
    (void)state;
    memset(frame, 'f', sizeof frame - 1);
    frame[sizeof frame - 1] = '\0';
    (void)hf_fail(&err, HF_ERR_IO, "the cause");
    (void)hf_wrap(&err, "%s", frame);
    size_t len = strlen(err.message);
    assert_int_equal(len, 899 + 2 + 9);
    assert_int_equal(hf_wrap(&err, "%s", frame), HF_ERR_IO);
    assert_int_equal(strlen(err.message), len);
    assert_string_equal(err.message + len - 9, "the cause");
}

static void test_the_frame_that_fits_exactly_is_kept(void **state)
{
    struct hf_error err;
    char frame[HF_ERROR_MESSAGE_BYTES];
    (void)state;
    memset(frame, 'f', sizeof frame);
    (void)hf_fail(&err, HF_ERR_IO, "c");
    frame[HF_ERROR_MESSAGE_BYTES - 3] = '\0'; /* with ": c" one too long */
    (void)hf_wrap(&err, "%s", frame);
    assert_string_equal(err.message, "c");
    frame[HF_ERROR_MESSAGE_BYTES - 4] = '\0';
    (void)hf_wrap(&err, "%s", frame);
    assert_int_equal(strlen(err.message), HF_ERROR_MESSAGE_BYTES - 1);
    assert_string_equal(err.message + HF_ERROR_MESSAGE_BYTES - 5, "f: c");
}

static void test_no_descriptors_passes_and_says_what_helps(void **state)
{
    struct hf_error err;
    (void)state;
    assert_int_equal(hf_fail_errno(&err, EMFILE, "open x"), HF_ERR_BUSY);
    assert_string_equal(err.message, "open x: Too many open files; hint: raise the limit of open "
                                     "files (LimitNOFILE, ulimit -n)");
    assert_int_equal(hf_fail_errno(&err, ENFILE, "open x"), HF_ERR_BUSY);
    assert_true(hf_err_retry(HF_ERR_BUSY));
}

static void test_a_hint_follows_once_and_never_costs_the_cause(void **state)
{
    struct hf_error err;
    char cause[HF_ERROR_MESSAGE_BYTES];
    (void)state;
    (void)hf_fail(&err, HF_ERR_NO_SPACE, "write x: no space");
    assert_int_equal(hf_hint(&err, "make room"), HF_ERR_NO_SPACE);
    assert_string_equal(err.message, "write x: no space; hint: make room");
    assert_int_equal(hf_hint(&err, "another"), HF_ERR_NO_SPACE);
    assert_string_equal(err.message, "write x: no space; hint: make room");
    memset(cause, 'c', sizeof cause);
    cause[HF_ERROR_MESSAGE_BYTES - 1 - 9] = '\0'; /* with "; hint: h" one too long */
    (void)hf_fail(&err, HF_ERR_IO, "%s.", cause);
    (void)hf_hint(&err, "h");
    assert_int_equal(strlen(err.message), HF_ERROR_MESSAGE_BYTES - 9);
    (void)hf_fail(&err, HF_ERR_IO, "%s", cause);
    (void)hf_hint(&err, "h");
    assert_string_equal(err.message + HF_ERROR_MESSAGE_BYTES - 11, "c; hint: h");
}

static void test_a_message_that_is_too_long_ends_in_dots_at_a_character(void **state)
{
    struct hf_error err;
    char text[2048];
    (void)state;
    for (size_t i = 0; i + 2 < sizeof text; i += 2) {
        memcpy(text + i, "\xC3\xA9", 2);
    }
    text[sizeof text - 2] = '\0';
    for (size_t shift = 0; shift < 2; shift++) {
        (void)hf_fail(&err, HF_ERR_INVALID, "%s%s", shift == 0 ? "" : "x", text);
        size_t len = strlen(err.message);
        assert_true(len >= sizeof err.message - 3 && len < sizeof err.message);
        assert_string_equal(err.message + len - 5, "\xC3\xA9...");
        assert_int_equal((len - 3 - shift) % 2, 0);
    }
}

static void test_errno_chooses_the_class_and_ends_the_message(void **state)
{
    static const struct {
        int number;
        enum hf_err code;
    } table[] = {
        {ENOENT, HF_ERR_NOT_FOUND},
        {ENOSPC, HF_ERR_NO_SPACE},
        {EDQUOT, HF_ERR_NO_SPACE},
        {EACCES, HF_ERR_DENIED},
        {EPERM, HF_ERR_DENIED},
        {EROFS, HF_ERR_DENIED},
        {EEXIST, HF_ERR_EXISTS},
        {ENOMEM, HF_ERR_NO_MEMORY},
        {ECONNREFUSED, HF_ERR_UNAVAILABLE},
        {ECONNRESET, HF_ERR_UNAVAILABLE},
        {ECONNABORTED, HF_ERR_UNAVAILABLE},
        {EPIPE, HF_ERR_UNAVAILABLE},
        {EIO, HF_ERR_IO},
        {ENAMETOOLONG, HF_ERR_IO},
    };
    struct hf_error err;
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(table); i++) {
        assert_int_equal(hf_fail_errno(&err, table[i].number, "x"), table[i].code);
        assert_int_equal(err.code, table[i].code);
    }
    (void)hf_fail_errno(&err, ENOSPC, "write %s", "/d/pack");
    assert_string_equal(err.message, "write /d/pack: No space left on device");
    (void)hf_fail_errno(&err, 54321, "odd");
    assert_string_equal(err.message, "odd: error 54321 of the system");
    assert_int_equal(err.code, HF_ERR_IO);
}

static void test_a_long_deed_is_cut_so_that_the_errno_stays(void **state)
{
    struct hf_error err;
    char path[3000];
    (void)state;
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    (void)hf_fail_errno(&err, ENOENT, "open %s", path);
    const char *end = "ppp...: No such file or directory";
    assert_string_equal(err.message + strlen(err.message) - strlen(end), end);
}

static void test_clear_makes_it_ok(void **state)
{
    struct hf_error err;
    (void)state;
    (void)hf_fail(&err, HF_ERR_IO, "x");
    hf_error_clear(&err);
    assert_int_equal(err.code, HF_ERR_OK);
    assert_string_equal(err.message, "");
}

static void test_the_table_answers_for_every_class(void **state)
{
    (void)state;
    assert_string_equal(hf_err_name(HF_ERR_NOT_FOUND), "NOT_FOUND");
    assert_string_equal(hf_err_meaning(HF_ERR_NOT_FOUND), "the named thing does not exist");
    assert_int_equal(hf_err_http(HF_ERR_NOT_FOUND), 404);
    assert_int_equal(hf_err_exit(HF_ERR_NOT_FOUND), 3);
    assert_false(hf_err_retry(HF_ERR_NOT_FOUND));
    assert_true(hf_err_retry(HF_ERR_UNAVAILABLE));
    assert_int_equal(hf_err_exit(HF_ERR_LOST), 18);
    for (int code = HF_ERR_OK; code <= HF_ERR_LOST; code++) {
        assert_int_equal(hf_err_from_name(hf_err_name((enum hf_err)code)), code);
        assert_int_equal(hf_err_exit((enum hf_err)code), code); /* an exit code is one class */
        assert_true(strlen(hf_err_meaning((enum hf_err)code)) > 5);
    }
}

static void test_what_is_not_in_the_table_is_internal(void **state)
{
    (void)state;
    assert_int_equal(hf_err_from_name("NO_SUCH_CLASS"), HF_ERR_INTERNAL);
    assert_int_equal(hf_err_from_name(""), HF_ERR_INTERNAL);
    assert_int_equal(hf_err_from_name(NULL), HF_ERR_INTERNAL);
    assert_string_equal(hf_err_name((enum hf_err)99), "INTERNAL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fail_sets_code_and_message),
        cmocka_unit_test(test_wrap_puts_frames_in_front),
        cmocka_unit_test(test_a_message_may_quote_the_one_it_replaces),
        cmocka_unit_test(test_a_frame_that_does_not_fit_is_dropped_and_the_cause_stays),
        cmocka_unit_test(test_the_frame_that_fits_exactly_is_kept),
        cmocka_unit_test(test_no_descriptors_passes_and_says_what_helps),
        cmocka_unit_test(test_a_hint_follows_once_and_never_costs_the_cause),
        cmocka_unit_test(test_a_message_that_is_too_long_ends_in_dots_at_a_character),
        cmocka_unit_test(test_errno_chooses_the_class_and_ends_the_message),
        cmocka_unit_test(test_a_long_deed_is_cut_so_that_the_errno_stays),
        cmocka_unit_test(test_clear_makes_it_ok),
        cmocka_unit_test(test_the_table_answers_for_every_class),
        cmocka_unit_test(test_what_is_not_in_the_table_is_internal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
