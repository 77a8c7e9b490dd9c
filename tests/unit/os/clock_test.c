/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times as text and back, clocks that run, random bytes that differ.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "os/clock.h"

static void test_times_are_shown_in_utc(void **state)
{
    static const struct {
        uint64_t seconds;
        const char *text;
    } table[] = {
        {0, "1970-01-01T00:00:00Z"},
        {951782400, "2000-02-29T00:00:00Z"},
        {1714559430, "2024-05-01T10:30:30Z"},
        {1795577477, "2026-11-25T03:31:17Z"},
        {UINT64_C(253402300799), "9999-12-31T23:59:59Z"},
        {UINT64_C(253402300800), "9999-12-31T23:59:59Z"},
        {UINT64_MAX, "9999-12-31T23:59:59Z"},
    };
    char text[HF_TIME_TEXT_BYTES];
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(table); i++) {
        hf_time_format(table[i].seconds, text);
        assert_string_equal(text, table[i].text);
    }
}

static void test_dates_in_are_read_with_and_without_zone(void **state)
{
    static const struct {
        const char *text;
        uint64_t seconds;
    } table[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2018-09-27", 1538006400},
        {"2018-09-27T16:00", 1538064000},
        {"2018-09-27T16:00Z", 1538064000},
        {"2018-09-27T16:00-04:00", 1538078400},
        {"2018-09-27T16:00:30+0530", 1538064030 - 19800},
        {"2018-09-27T16:00:30+02", 1538064030 - 7200},
        {"2000-02-29", 951782400},
        {"2026-11-25T03:31:17", 1795577477},
        {"9999-12-31T23:59:59Z", UINT64_C(253402300799)},
        {"1970-01-01T01:00:00+01:00", 0},
    };
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(table); i++) {
        uint64_t seconds = 99;
        assert_true(hf_time_parse(hf_str_of(table[i].text), &seconds));
        assert_int_equal(seconds, table[i].seconds);
    }
}

static void test_what_is_no_date_is_refused(void **state)
{
    static const char *const table[] = {
        "",
        "2018",
        "2018-09",
        "2018-9-27",
        "2018-13-01",
        "2018-00-01",
        "2018-02-29",
        "1900-02-29",
        "2018-04-31",
        "2018-09-00",
        "2018-09-27T",
        "2018-09-27T16",
        "2018-09-27 16:00",
        "2018-09-27T24:00",
        "2018-09-27T16:60",
        "2018-09-27T16:00:60",
        "2018-09-27T16:00:00.5Z", /* fractions are for the caller to name */
        "2018-09-27T16:00:00z",
        "2018-09-27T16:00:00Zx",
        "2018-09-27T16:00+4",
        "2018-09-27T16:00+24:00",
        "2018-09-27T16:00+04:60",
        "2018-09-27T16:00+04:",
        "2018-09-27T16:00 04:00",
        "2018-09-27Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00+01:00", /* before 1970 */
        "-018-09-27",
        "20 8-09-27",
    };
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(table); i++) {
        uint64_t seconds = 99;
        if (hf_time_parse(hf_str_of(table[i]), &seconds)) {
            fail_msg("taken for a date: %s", table[i]);
        }
        assert_int_equal(seconds, 99);
    }
}

static void test_every_day_goes_both_ways(void **state)
{
    char text[HF_TIME_TEXT_BYTES];
    (void)state;
    for (uint64_t day = 0; day < 60000; day++) {
        uint64_t wanted = day * 86400 + day % 86400, seconds;
        hf_time_format(wanted, text);
        assert_true(hf_time_parse(hf_str_of(text), &seconds));
        assert_int_equal(seconds, wanted);
    }
}

static void test_clocks_run_forward(void **state)
{
    (void)state;
    uint64_t before = hf_clock_mono_ms();
    assert_true(hf_clock_mono_ms() >= before);
    uint64_t wall_s = hf_clock_wall_ms() / 1000;
    assert_in_range(wall_s, (uint64_t)time(NULL) - 1, (uint64_t)time(NULL) + 1);
}

static void test_random_bytes_fill_all_and_differ(void **state)
{
    uint8_t a[1000] = {0}, b[1000] = {0};
    size_t zeros = 0;
    (void)state;
    hf_random_bytes(a, sizeof a - 1);
    hf_random_bytes(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a - 1);
    assert_int_equal(a[sizeof a - 1], 0);
    for (size_t i = 0; i < sizeof b; i++) {
        zeros += b[i] == 0;
    }
    assert_true(zeros < 50);
    hf_random_bytes(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times_are_shown_in_utc),
        cmocka_unit_test(test_dates_in_are_read_with_and_without_zone),
        cmocka_unit_test(test_what_is_no_date_is_refused),
        cmocka_unit_test(test_every_day_goes_both_ways),
        cmocka_unit_test(test_clocks_run_forward),
        cmocka_unit_test(test_random_bytes_fill_all_and_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
