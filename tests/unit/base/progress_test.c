/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rate, time left and the line that shows them, from a clock that the test brings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/progress.h"

#define MIB (UINT64_C(1) << 20)

static void test_a_view_computes_rate_and_time_left(void **state)
{
    HF_CLEANUP(hf_progress_fini) struct hf_progress progress;
    struct hf_progress_view view;
    (void)state;
    hf_progress_init(&progress);
    atomic_store(&progress.bytes_total, 1000);
    atomic_store(&progress.files_total, 7);
    atomic_store(&progress.files_done, 2);
    atomic_store(&progress.bytes_new, 30);
    atomic_store(&progress.bytes_stored, 20);
    hf_progress_start(&progress, 5000);
    hf_progress_phase(&progress, "capture");
    hf_progress_file(&progress, "collection-7.wt");
    hf_progress_add_done(&progress, 150);
    hf_progress_add_done(&progress, 150);
    hf_progress_view(&progress, 8000, &view);
    assert_int_equal(view.bytes_total, 1000);
    assert_int_equal(view.bytes_done, 300);
    assert_int_equal(view.files_total, 7);
    assert_int_equal(view.files_done, 2);
    assert_int_equal(view.bytes_new, 30);
    assert_int_equal(view.bytes_stored, 20);
    assert_int_equal(view.elapsed_ms, 3000);
    assert_int_equal(view.rate_bytes_s, 100);
    assert_int_equal(view.left_s, 7);
    assert_string_equal(view.phase, "capture");
    assert_string_equal(view.current, "collection-7.wt");
}

static void test_nothing_is_known_before_the_start(void **state)
{
    HF_CLEANUP(hf_progress_fini) struct hf_progress progress;
    struct hf_progress_view view;
    (void)state;
    hf_progress_init(&progress);
    atomic_store(&progress.bytes_total, 1000);
    hf_progress_view(&progress, 8000, &view);
    assert_int_equal(view.elapsed_ms, 0);
    assert_int_equal(view.rate_bytes_s, 0);
    assert_true(view.left_s == UINT64_MAX);
    hf_progress_start(&progress, 9000);
    hf_progress_view(&progress, 8000, &view); /* a reader with an older clock */
    assert_int_equal(view.elapsed_ms, 0);
    hf_progress_view(&progress, 9500, &view); /* nothing done yet */
    assert_true(view.left_s == UINT64_MAX);
    hf_progress_start(&progress, 0);
    hf_progress_view(&progress, 1001, &view);
    assert_int_equal(view.elapsed_ms, 1000);
}

static void test_no_progress_is_fine(void **state)
{
    struct hf_progress_view view;
    (void)state;
    hf_progress_start(NULL, 1);
    hf_progress_phase(NULL, "x");
    hf_progress_file(NULL, "x");
    hf_progress_add_done(NULL, 1);
    hf_progress_view(NULL, 1, &view);
    assert_int_equal(view.bytes_done, 0);
    assert_true(view.left_s == UINT64_MAX);
    assert_string_equal(view.phase, "");
}

static void test_long_names_are_cut_at_a_character(void **state)
{
    HF_CLEANUP(hf_progress_fini) struct hf_progress progress;
    char name[HF_PROGRESS_NAME_BYTES + 10];
    (void)state;
    hf_progress_init(&progress);
    memset(name, 'x', sizeof name);
    memcpy(name + HF_PROGRESS_NAME_BYTES - 3, "\xE2\x82\xAC", 3); /* its last byte does not fit */
    name[sizeof name - 1] = '\0';
    hf_progress_file(&progress, name);
    assert_int_equal(strlen(progress.current), HF_PROGRESS_NAME_BYTES - 3);
    hf_progress_phase(&progress, "a phase with a name that is longer than 32");
    assert_string_equal(progress.phase, "a phase with a name that is lon");
}

static void test_enormous_numbers_do_not_overflow(void **state)
{
    HF_CLEANUP(hf_progress_fini) struct hf_progress progress;
    struct hf_progress_view view;
    (void)state;
    hf_progress_init(&progress);
    atomic_store(&progress.bytes_total, UINT64_MAX);
    hf_progress_start(&progress, 1);
    hf_progress_add_done(&progress, UINT64_MAX / 2);
    hf_progress_view(&progress, 1001, &view);
    assert_true(view.rate_bytes_s > UINT64_MAX / 2 - 1000000);
    assert_int_equal(view.left_s, 2);
    hf_progress_add_done(&progress, UINT64_MAX / 2 + 1);
    hf_progress_view(&progress, 1001, &view);
    assert_int_equal(view.left_s, 0);
}

static void test_more_done_than_planned_leaves_nothing(void **state)
{
    HF_CLEANUP(hf_progress_fini) struct hf_progress progress;
    struct hf_progress_view view;
    (void)state;
    hf_progress_init(&progress);
    atomic_store(&progress.bytes_total, 100);
    hf_progress_start(&progress, 1);
    hf_progress_add_done(&progress, 150);
    hf_progress_view(&progress, 1001, &view);
    assert_int_equal(view.left_s, 0);
}

static void test_bytes_are_shown_with_their_unit(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } table[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1.0 KiB"},
        {1536, "1.5 KiB"},
        {102297, "99.9 KiB"},
        {102400, "100 KiB"},
        {1048063, "1023 KiB"},
        {1048064, "1.0 MiB"},
        {310 * MIB, "310 MiB"},
        {1288490189, "1.2 GiB"},
        {UINT64_MAX, "16.0 EiB"},
    };
    char text[16];
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(table); i++) {
        hf_format_bytes(table[i].bytes, text, sizeof text);
        assert_string_equal(text, table[i].text);
    }
}

static void test_the_line_shows_what_is_known(void **state)
{
    struct hf_progress_view view = {.bytes_total = 3113851290,
                                    .bytes_done = 1307817542,
                                    .rate_bytes_s = 310 * MIB,
                                    .left_s = 6,
                                    .phase = "capture",
                                    .current = "collection-7.wt"};
    char line[256];
    (void)state;
    hf_progress_format(&view, line, sizeof line);
    assert_string_equal(line, "  42.0 %  1.2 GiB of 2.9 GiB  310 MiB/s  6 s left  collection-7.wt");
    view.current[0] = '\0';
    view.left_s = 200;
    hf_progress_format(&view, line, sizeof line);
    assert_string_equal(line, "  42.0 %  1.2 GiB of 2.9 GiB  310 MiB/s  3 min 20 s left  capture");
    view.phase[0] = '\0';
    view.left_s = 2 * 3600 + 600;
    hf_progress_format(&view, line, sizeof line);
    assert_string_equal(line, "  42.0 %  1.2 GiB of 2.9 GiB  310 MiB/s  2 h 10 min left");
    view.bytes_total = 0;
    view.left_s = UINT64_MAX;
    hf_progress_format(&view, line, sizeof line);
    assert_string_equal(line, "1.2 GiB  310 MiB/s");
}

static void test_only_what_is_finished_shows_a_hundred_per_cent(void **state)
{
    struct hf_progress_view view = {.bytes_total = 1000000, .bytes_done = 999999, .left_s = 0};
    char line[128];
    (void)state;
    hf_progress_format(&view, line, sizeof line);
    assert_int_equal(strncmp(line, "  99.9 %", 8), 0);
    view.bytes_done = 1000000;
    hf_progress_format(&view, line, sizeof line);
    assert_int_equal(strncmp(line, " 100.0 %", 8), 0);
}

static void test_a_long_name_is_cut_at_the_end_of_the_line(void **state)
{
    struct hf_progress_view view = {.bytes_done = 1, .left_s = UINT64_MAX};
    char line[128];
    (void)state;
    memset(view.current, 'x', sizeof view.current - 1);
    hf_progress_format(&view, line, sizeof line);
    assert_int_equal(strlen(line), sizeof line - 1);
    assert_int_equal(strncmp(line, "1 B  0 B/s  xxx", 15), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_view_computes_rate_and_time_left),
        cmocka_unit_test(test_nothing_is_known_before_the_start),
        cmocka_unit_test(test_no_progress_is_fine),
        cmocka_unit_test(test_long_names_are_cut_at_a_character),
        cmocka_unit_test(test_enormous_numbers_do_not_overflow),
        cmocka_unit_test(test_more_done_than_planned_leaves_nothing),
        cmocka_unit_test(test_bytes_are_shown_with_their_unit),
        cmocka_unit_test(test_the_line_shows_what_is_known),
        cmocka_unit_test(test_only_what_is_finished_shows_a_hundred_per_cent),
        cmocka_unit_test(test_a_long_name_is_cut_at_the_end_of_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
