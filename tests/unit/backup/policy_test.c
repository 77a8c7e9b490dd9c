/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ranges of a policy, its pauses, its calendar, and what a simulation says of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "backup/policy.h"
#include "backup/retention.h"

static uint64_t at(const char *text)
{
    uint64_t at_s = 0;

    assert_true(hf_calendar_parse(hf_str_of(text), &at_s));
    return at_s;
}

static struct hf_policy fine(void)
{
    struct hf_policy policy;

    hf_policy_default(&policy, at("2026-11-25T03:31Z"));
    return policy;
}

static void refused(const struct hf_policy *policy, enum hf_policy_setting setting,
                    const char *says)
{
    enum hf_policy_setting which = HF_POLICY_INTERVAL;
    struct hf_error err;

    assert_int_equal(hf_policy_check(policy, &which, &err), HF_ERR_INVALID);
    assert_int_equal(which, setting);
    if (strstr(err.message, says) == NULL) {
        fail_msg("'%s' does not say '%s'", err.message, says);
    }
}

static void accepted(const struct hf_policy *policy)
{
    enum hf_policy_setting which;
    struct hf_error err;

    if (hf_policy_check(policy, &which, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
}

static void test_the_calendar_is_that_of_the_system(void **state)
{
    (void)state;
    for (uint64_t at_s = 0; at_s < UINT64_C(20000000000); at_s += 86400 * 5 + 4321) {
        time_t then = (time_t)at_s;
        struct hf_calendar_date date;
        struct tm parts;
        assert_non_null(gmtime_r(&then, &parts));
        hf_calendar_date(at_s, &date);
        assert_int_equal(date.year, parts.tm_year + 1900);
        assert_int_equal(date.month, parts.tm_mon + 1);
        assert_int_equal(date.day, parts.tm_mday);
        assert_int_equal(hf_calendar_weekday(at_s), parts.tm_wday);
        assert_int_equal(hf_calendar_day_s(&date), at_s - at_s % 86400);
    }
}

static void test_months_are_added_as_people_do(void **state)
{
    (void)state;
    assert_int_equal(hf_calendar_add_months(at("2027-01-31T10:00Z"), 1), at("2027-02-28T10:00Z"));
    assert_int_equal(hf_calendar_add_months(at("2028-01-31T10:00:01Z"), 1),
                     at("2028-02-29T10:00:01Z"));
    assert_int_equal(hf_calendar_add_months(at("2028-02-29T10:00Z"), 84), at("2035-02-28T10:00Z"));
    assert_int_equal(hf_calendar_add_months(at("2026-12-01T00:00Z"), 1), at("2027-01-01T00:00Z"));
    assert_int_equal(hf_calendar_add_months(at("2026-12-01T00:00Z"), 200000), HF_CALENDAR_LAST_S);
    /* A week begins on Monday. */
    assert_int_equal(hf_calendar_period(HF_PERIOD_WEEK, at("2026-11-29T23:59:59Z")),
                     hf_calendar_period(HF_PERIOD_WEEK, at("2026-11-23T00:00Z")));
    assert_int_not_equal(hf_calendar_period(HF_PERIOD_WEEK, at("2026-11-30T00:00Z")),
                         hf_calendar_period(HF_PERIOD_WEEK, at("2026-11-29T23:59:59Z")));
}

static void test_every_setting_has_its_range(void **state)
{
    struct hf_policy policy = fine();

    (void)state;
    accepted(&policy);
    assert_int_equal(policy.interval_min, 1440);
    assert_int_equal(policy.reference_min, 3 * 60 + 31);
    assert_int_equal(policy.base_days, 2);
    assert_int_equal(policy.daily_days, 0);
    assert_int_equal(policy.weekly_weeks, 2);
    assert_int_equal(policy.monthly_months, 1);
    assert_int_equal(policy.yearly_years, 0);
    assert_int_equal(policy.full_day, HF_SUNDAY);

    policy.interval_min = 14;
    refused(&policy, HF_POLICY_INTERVAL, "14 is not between 15 and 1440");
    policy.interval_min = 0; /* would be due without end */
    refused(&policy, HF_POLICY_INTERVAL, "0 is not");
    policy.interval_min = 2880;
    refused(&policy, HF_POLICY_INTERVAL, "2880 is not");
    policy.interval_min = 25;
    refused(&policy, HF_POLICY_INTERVAL, "do not divide a day");
    policy.interval_min = 15;
    accepted(&policy);

    const struct {
        enum hf_policy_setting setting;
        size_t offset;
        uint64_t min, max;
    } rows[] = {
        {HF_POLICY_REFERENCE, offsetof(struct hf_policy, reference_min), 0, 1439},
        {HF_POLICY_BASE, offsetof(struct hf_policy, base_days), 1, 365},
        {HF_POLICY_DAILY, offsetof(struct hf_policy, daily_days), 0, 365},
        {HF_POLICY_WEEKLY, offsetof(struct hf_policy, weekly_weeks), 0, 52},
        {HF_POLICY_MONTHLY, offsetof(struct hf_policy, monthly_months), 0, 84},
        {HF_POLICY_YEARLY, offsetof(struct hf_policy, yearly_years), 0, 30},
        {HF_POLICY_WINDOW, offsetof(struct hf_policy, window_hours), 0, 87600},
        {HF_POLICY_DEADLINE, offsetof(struct hf_policy, deadline_min), 0, 1439},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
        struct hf_policy changed = fine();
        uint64_t *value = (uint64_t *)(void *)((char *)&changed + rows[i].offset);
        *value = rows[i].max;
        accepted(&changed);
        *value = rows[i].max + 1;
        refused(&changed, rows[i].setting, "is not between");
        *value = rows[i].min;
        accepted(&changed);
        if (rows[i].min > 0) {
            *value = rows[i].min - 1;
            refused(&changed, rows[i].setting, "is not between");
        }
    }
}

static uint64_t paused(const char *pauses, const char *when)
{
    struct hf_policy policy = fine();

    (void)snprintf(policy.pauses, sizeof policy.pauses, "%s", pauses);
    accepted(&policy);
    return hf_policy_paused_until(&policy, at(when));
}

static void test_pauses_come_each_week_or_once(void **state)
{
    (void)state;
    /* 2026-11-28 is a Saturday. */
    assert_int_equal(paused("SAT 22:00-02:00", "2026-11-28T21:59:59Z"), 0);
    assert_int_equal(paused("SAT 22:00-02:00", "2026-11-28T22:00Z"), at("2026-11-29T02:00Z"));
    assert_int_equal(paused("SAT 22:00-02:00", "2026-11-29T01:59:59Z"), at("2026-11-29T02:00Z"));
    assert_int_equal(paused("SAT 22:00-02:00", "2026-11-29T02:00Z"), 0);
    assert_int_equal(paused("SAT 22:00-02:00", "2026-11-29T22:30Z"), 0);
    assert_int_equal(paused("fri-mon 08:00-09:00", "2026-11-30T08:30Z"), at("2026-11-30T09:00Z"));
    assert_int_equal(paused("fri-mon 08:00-09:00", "2026-12-01T08:30Z"), 0);
    assert_int_equal(paused("08:00-09:00", "2026-12-01T08:30Z"), at("2026-12-01T09:00Z"));
    /* One that follows on another is the same. */
    assert_int_equal(paused("SAT 12:00-00:00; Sunday 00:00-12:00", "2026-11-28T13:00Z"),
                     at("2026-11-29T12:00Z"));
    assert_int_equal(paused("2026-12-24T00:00Z/2026-12-27T06:00Z;", "2026-12-25T13:00Z"),
                     at("2026-12-27T06:00Z"));
    assert_int_equal(paused("2026-12-24T00:00Z/2026-12-27T06:00Z", "2026-12-27T06:00Z"), 0);
    assert_int_equal(paused("", "2026-12-27T06:00Z"), 0);
}

static void test_pauses_that_make_no_sense_are_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"SAT", "'SAT' is none"},
        {"SAT 22:00", "is none"},
        {"SAT 22:00-26:00", "is none"},
        {"XYZ 22:00-23:00", "is none"},
        {"SAT- 22:00-23:00x", "is none"},
        {"2026-12-27T00:00Z/2026-12-24T00:00Z", "is none"},
        {"2026-02-30T00:00Z/2026-12-24T00:00Z", "is none"},
        {"00:00-00:00", "no minute"},
        {"SUN-WED 00:00-00:00; THU-SAT 00:00-00:00", "no minute"},
    };

    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
        struct hf_policy policy = fine();
        (void)snprintf(policy.pauses, sizeof policy.pauses, "%s", rows[i].text);
        refused(&policy, HF_POLICY_PAUSES, rows[i].says);
    }
}

static void test_a_simulation_counts_what_is_kept(void **state)
{
    struct hf_policy policy = fine();
    struct hf_policy_forecast forecast;
    struct hf_snapshot_record snapshots[12] = {{.capture = 0}};
    bool goes[12];
    struct hf_error err;
    uint64_t now_s = at("2026-11-25T03:31Z");

    (void)state;
    policy.weekly_weeks = 0;
    policy.monthly_months = 0;
    assert_int_equal(hf_policy_simulate(&policy, snapshots, 0, now_s, &forecast, goes, &err),
                     HF_ERR_OK);
    assert_int_equal(forecast.snapshots, 2);
    assert_int_equal(forecast.base, 2);
    assert_int_equal(forecast.bytes, 0);
    assert_false(forecast.measured);

    policy.interval_min = 360;
    policy.daily_days = 7;
    policy.weekly_weeks = 4;
    policy.monthly_months = 12;
    policy.yearly_years = 2;
    /* One of 1000 bytes, then one a day with 10 new ones, all of them automatic. */
    for (uint64_t i = 0; i < HF_ARRAY_LEN(snapshots); i++) {
        snapshots[i] = (struct hf_snapshot_record){
            .state = HF_SNAPSHOT_COMPLETE,
            .automatic = true,
            .capture = i + 1,
            .parent_capture = i,
            .created_s = now_s - (12 - i) * 86400,
            .bytes = 2000,
            .new_bytes = i == 0 ? 2000 : 20,
            .stored_bytes = i == 0 ? 1000 : 10,
        };
    }
    assert_int_equal(hf_policy_simulate(&policy, snapshots, HF_ARRAY_LEN(snapshots), now_s,
                                        &forecast, goes, &err),
                     HF_ERR_OK);
    assert_true(forecast.measured);
    assert_int_equal(forecast.change_bytes_per_day, 10);
    assert_int_equal(forecast.full_bytes, 1000);
    assert_int_equal(forecast.base + forecast.daily + forecast.weekly + forecast.monthly +
                         forecast.yearly,
                     forecast.snapshots);
    assert_in_range(forecast.base, 6, 8); /* two days of four, less the daily ones */
    assert_in_range(forecast.daily, 5, 7);
    assert_in_range(forecast.weekly, 2, 4);
    assert_in_range(forecast.monthly, 10, 12);
    assert_int_equal(forecast.yearly, 2);
    /* Nearly two years of change are kept apart, and one whole. */
    assert_in_range(forecast.bytes, 1000 + 10 * 400, 1000 + 10 * 800);
    /* Of twelve days: the last two, the daily ones of a week, the first of two weeks, and the first of all. */
    policy.daily_days = 0;
    policy.monthly_months = 0;
    policy.yearly_years = 0;
    policy.weekly_weeks = 1;
    assert_int_equal(hf_policy_simulate(&policy, snapshots, HF_ARRAY_LEN(snapshots), now_s,
                                        &forecast, goes, &err),
                     HF_ERR_OK);
    for (size_t i = 0; i < HF_ARRAY_LEN(snapshots); i++) {
        uint64_t age = 12 - i;
        bool monday = hf_calendar_weekday(snapshots[i].created_s) == HF_MONDAY;
        assert_int_equal(goes[i], !(age < 2 || (monday && age < 7)));
    }
    policy.interval_min = 7;
    assert_int_equal(hf_policy_simulate(&policy, snapshots, 0, now_s, &forecast, goes, &err),
                     HF_ERR_INVALID);
}

static void test_a_simulation_never_keeps_more_than_everything_apart(void **state)
{
    struct hf_policy policy = fine();
    struct hf_policy_forecast forecast;
    struct hf_snapshot_record snapshots[2] = {{.capture = 0}};
    bool goes[2];
    struct hf_error err;

    (void)state;
    for (uint64_t i = 0; i < 2; i++) {
        snapshots[i] = (struct hf_snapshot_record){.state = HF_SNAPSHOT_COMPLETE,
                                                   .capture = i + 1,
                                                   .parent_capture = i,
                                                   .created_s = 1000000000 + i * 60,
                                                   .bytes = 1000,
                                                   .new_bytes = 1000,
                                                   .stored_bytes = 1000};
    }
    assert_int_equal(hf_policy_simulate(&policy, snapshots, 2, 1000000100, &forecast, goes, &err),
                     HF_ERR_OK);
    assert_int_equal(forecast.change_bytes_per_day, 1440000);
    assert_int_equal(forecast.bytes, forecast.snapshots * 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_calendar_is_that_of_the_system),
        cmocka_unit_test(test_months_are_added_as_people_do),
        cmocka_unit_test(test_every_setting_has_its_range),
        cmocka_unit_test(test_pauses_come_each_week_or_once),
        cmocka_unit_test(test_pauses_that_make_no_sense_are_refused),
        cmocka_unit_test(test_a_simulation_counts_what_is_kept),
        cmocka_unit_test(test_a_simulation_never_keeps_more_than_everything_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
