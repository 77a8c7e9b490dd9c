/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which snapshot is kept for how long, and which may go: classes, the guarantee, points in time, clocks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backup/retention.h"

#define NOW UINT64_C(1800000000)
#define DAILY HF_CLASS(HF_PERIOD_DAY)
#define WEEKLY HF_CLASS(HF_PERIOD_WEEK)
#define MONTHLY HF_CLASS(HF_PERIOD_MONTH)

static uint64_t at(const char *text)
{
    uint64_t at_s = 0;

    assert_true(hf_calendar_parse(hf_str_of(text), &at_s));
    return at_s;
}

static struct hf_snapshot_record taken(uint64_t capture, uint64_t created_s, uint64_t expires_s)
{
    return (struct hf_snapshot_record){
        .state = HF_SNAPSHOT_COMPLETE,
        .automatic = true,
        .capture = capture,
        .parent_capture = capture - 1,
        .created_s = created_s,
        .expires_s = expires_s,
        .checkpoint = {.seconds = (uint32_t)created_s, .increment = 1, .term = -1},
    };
}

static const struct hf_policy policy = {.interval_min = 360,
                                        .base_days = 2,
                                        .daily_days = 7,
                                        .weekly_weeks = 4,
                                        .monthly_months = 12,
                                        .full_day = HF_WEDNESDAY};

static void test_the_longest_class_says_how_long(void **state)
{
    uint64_t begun_s = at("2028-02-29T10:00Z");

    (void)state;
    assert_int_equal(hf_retention_expires(&policy, 0, begun_s), begun_s + 2 * 86400);
    assert_int_equal(hf_retention_expires(&policy, DAILY, begun_s), begun_s + 7 * 86400);
    assert_int_equal(hf_retention_expires(&policy, DAILY | WEEKLY, begun_s), begun_s + 28 * 86400);
    assert_int_equal(hf_retention_expires(&policy, DAILY | WEEKLY | MONTHLY, begun_s),
                     at("2029-02-28T10:00Z"));
    assert_int_equal(hf_retention_on_demand_days(&policy), 7);
    assert_int_equal(hf_retention_on_demand_days(&(struct hf_policy){.base_days = 3}), 3);
}

static void test_the_first_of_each_period_is_promoted(void **state)
{
    struct hf_snapshot_record snapshots[4];
    struct hf_retention_plan plan;
    size_t count = 0;

    (void)state;
    /* Monday, the 2nd of a month. */
    hf_retention_plan(&policy, snapshots, count, at("2026-11-02T04:00Z"), &plan);
    assert_int_equal(plan.classes, DAILY | WEEKLY | MONTHLY);
    assert_true(plan.full);
    snapshots[count] = taken(1, at("2026-11-02T04:00Z"), plan.expires_s);
    snapshots[count++].classes = plan.classes;
    hf_retention_plan(&policy, snapshots, count, at("2026-11-02T10:00Z"), &plan);
    assert_int_equal(plan.classes, 0);
    assert_int_equal(plan.expires_s, at("2026-11-04T10:00Z"));
    assert_false(plan.full);
    hf_retention_plan(&policy, snapshots, count, at("2026-11-03T04:00Z"), &plan);
    assert_int_equal(plan.classes, DAILY);
    /* A class that was off then is given as soon as it is on. */
    struct hf_policy yearly = policy;
    yearly.yearly_years = 3;
    hf_retention_plan(&yearly, snapshots, count, at("2026-11-02T16:00Z"), &plan);
    assert_int_equal(plan.classes, HF_CLASS(HF_PERIOD_YEAR));
    assert_int_equal(plan.expires_s, at("2029-11-02T16:00Z"));
    assert_true(plan.full);
}

static void test_what_failed_or_was_on_demand_takes_no_class_away(void **state)
{
    struct hf_snapshot_record snapshots[2] = {taken(1, at("2026-11-03T04:00Z"), 0),
                                              taken(2, at("2026-11-03T05:00Z"), 0)};
    struct hf_retention_plan plan;

    (void)state;
    snapshots[0].classes = DAILY | WEEKLY | MONTHLY;
    snapshots[0].state = HF_SNAPSHOT_FAILED;
    snapshots[1].automatic = false;
    hf_retention_plan(&policy, snapshots, 2, at("2026-11-03T10:00Z"), &plan);
    assert_int_equal(plan.classes, DAILY | WEEKLY | MONTHLY);
    /* Nor one that was deleted by hand. */
    snapshots[0].state = HF_SNAPSHOT_EXPIRED;
    hf_retention_plan(&policy, snapshots, 2, at("2026-11-03T10:00Z"), &plan);
    assert_int_equal(plan.classes, DAILY | WEEKLY | MONTHLY);
}

static void test_each_week_has_one_that_reads_everything(void **state)
{
    struct hf_snapshot_record snapshots[2] = {taken(5, at("2026-11-03T04:00Z"), 0)};
    struct hf_retention_plan plan;

    (void)state;
    snapshots[0].classes = DAILY | WEEKLY | MONTHLY;
    snapshots[0].full = true;
    hf_retention_plan(&policy, snapshots, 1, at("2026-11-03T23:00Z"), &plan);
    assert_false(plan.full);
    hf_retention_plan(&policy, snapshots, 1, at("2026-11-04T00:00Z"), &plan); /* Wednesday */
    assert_true(plan.full);
    hf_retention_plan(&policy, snapshots, 1, at("2026-11-06T00:00Z"), &plan); /* it was missed */
    assert_true(plan.full);
    snapshots[1] = taken(6, at("2026-11-05T00:00Z"), 0);
    snapshots[1].full = true;
    hf_retention_plan(&policy, snapshots, 2, at("2026-11-06T00:00Z"), &plan);
    assert_false(plan.full);
    snapshots[1].state = HF_SNAPSHOT_ABANDONED;
    hf_retention_plan(&policy, snapshots, 2, at("2026-11-06T00:00Z"), &plan);
    assert_true(plan.full);
}

/* ---- What goes ---- */

struct fixture {
    struct hf_job_record job;
    struct hf_snapshot_record snapshots[4];
    struct hf_retention_view view;
    enum hf_retention_verdict verdicts[4];
};

static void make(struct fixture *f)
{
    *f = (struct fixture){.job = {.state = HF_JOB_STARTED}};
    for (uint64_t i = 0; i < 4; i++) {
        f->snapshots[i] = taken(i + 1, NOW - (4 - i) * 86400, NOW - (4 - i) * 3600);
    }
    f->view = (struct hf_retention_view){
        .job = &f->job, .snapshots = f->snapshots, .count = 4, .window_s = UINT64_MAX};
}

static void expect(struct fixture *f, const char *words)
{
    char said[128] = "";

    hf_retention_judge(&f->view, NOW, f->verdicts);
    for (size_t i = 0; i < f->view.count; i++) {
        (void)strncat(said, i == 0 ? "" : " ", 2);
        (void)strncat(said, hf_retention_word(f->verdicts[i]), 16);
    }
    assert_string_equal(said, words);
}

static void test_the_newest_good_one_never_goes(void **state)
{
    struct fixture f;

    (void)state;
    make(&f);
    expect(&f, "GOES GOES GOES LAST_GOOD");
    f.snapshots[3].verified_s = NOW;
    expect(&f, "GOES GOES LAST_GOOD GOES");
    for (size_t i = 0; i < 4; i++) {
        f.snapshots[i].verified_s = NOW;
    }
    expect(&f, "GOES GOES GOES LAST_GOOD"); /* damaged, and still better than none */
    make(&f);
    f.snapshots[3].state = HF_SNAPSHOT_FAILED;
    f.snapshots[2].state = HF_SNAPSHOT_ABANDONED;
    expect(&f, "GOES LAST_GOOD STAYS STAYS");
}

static void test_what_has_time_or_is_kept_stays(void **state)
{
    struct fixture f;

    (void)state;
    make(&f);
    f.snapshots[0].keep = true;
    f.snapshots[1].expires_s = 0;
    f.snapshots[2].expires_s = NOW + 1;
    expect(&f, "STAYS STAYS STAYS LAST_GOOD");
    assert_int_equal(hf_retention_next_s(f.snapshots, 4, NOW), NOW + 1);
    assert_int_equal(hf_retention_next_s(f.snapshots, 2, NOW), UINT64_MAX);
    f.snapshots[2].expires_s = NOW;
    expect(&f, "STAYS STAYS GOES LAST_GOOD");
}

static void test_nothing_of_a_stopped_job_goes(void **state)
{
    struct fixture f;

    (void)state;
    make(&f);
    f.job.state = HF_JOB_STOPPED;
    expect(&f, "WAITS WAITS WAITS WAITS");
    /* Nor of a restarted one, before a snapshot since is complete. */
    f.job.state = HF_JOB_STARTED;
    f.view.waits_for_capture = 5;
    expect(&f, "WAITS WAITS WAITS WAITS");
    f.snapshots[3].capture = 5;
    expect(&f, "GOES GOES GOES LAST_GOOD");
}

static void test_a_parent_stays_while_a_capture_builds_on_it(void **state)
{
    struct fixture f;

    (void)state;
    make(&f);
    f.snapshots[3].state = HF_SNAPSHOT_IN_PROGRESS;
    f.snapshots[3].parent_capture = 2;
    expect(&f, "GOES IS_PARENT LAST_GOOD STAYS");
}

static void test_the_bases_of_promised_points_stay(void **state)
{
    struct fixture f;
    const struct hf_retention_place one_chain[] = {{0, 0}, {1, 0}, {2, 0}, {3, 0}};
    const struct hf_retention_place two_chains[] = {{0, 0}, {1, 0}, {2, 1}, {3, 1}};

    (void)state;
    make(&f);
    f.view.places = one_chain;
    f.view.place_count = 4;
    /* The window begins between the second and the third. */
    f.view.window_s = NOW - 5 * 86400 / 2;
    expect(&f, "GOES POINT_BASE GOES LAST_GOOD");
    /* A tail that fails leaves the window where it is: whatever the time, the base stays. */
    for (size_t i = 0; i < 4; i++) {
        f.snapshots[i].expires_s = NOW - 30 * 86400;
    }
    expect(&f, "GOES POINT_BASE GOES LAST_GOOD");
    /* It begins before all of them: the oldest is the first point that there is. */
    f.view.window_s = NOW - 30 * 86400;
    expect(&f, "POINT_BASE GOES GOES LAST_GOOD");
    /* A chain that broke within the window has its own. */
    f.view.places = two_chains;
    f.view.window_s = NOW - 5 * 86400 / 2;
    expect(&f, "GOES POINT_BASE POINT_BASE LAST_GOOD");
    f.view.window_s = NOW - 86400; /* as the newest checkpoint: it is reached from there */
    expect(&f, "GOES POINT_BASE GOES LAST_GOOD");
}

static void test_of_two_at_one_checkpoint_the_newer_is_the_base(void **state)
{
    struct fixture f;
    const struct hf_retention_place places[] = {{0, 0}, {1, 0}, {2, 0}, {3, 0}};

    (void)state;
    make(&f);
    f.snapshots[0].checkpoint = f.snapshots[1].checkpoint;
    f.view.places = places;
    f.view.place_count = 4;
    f.view.window_s = NOW - 5 * 86400 / 2;
    expect(&f, "GOES POINT_BASE GOES LAST_GOOD");
    f.view.window_s = 1;
    expect(&f, "GOES POINT_BASE GOES LAST_GOOD");
}

static void test_clocks_that_disagree_are_named(void **state)
{
    const struct hf_clock_witness good[] = {
        {"store", NOW + 300, 0}, {"store", NOW - 300, 0}, {"primary", NOW - 3900, 3600}};
    const struct hf_clock_witness bad[] = {
        {"store", NOW + 301, 0}, {"store", NOW - 301, 0}, {"primary", NOW - 3901, 3600}};
    struct hf_error err;

    (void)state;
    assert_int_equal(hf_retention_clocks(good, 3, NOW, &err), HF_ERR_OK);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(hf_retention_clocks(&bad[i], 1, NOW, &err), HF_ERR_CONFLICT);
        assert_non_null(strstr(err.message, bad[i].name));
        assert_non_null(strstr(err.message, i == 0 ? "ahead of" : "behind"));
    }
}

static enum hf_err change(struct hf_snapshot_record *one, bool keep, uint64_t expires_s,
                          struct hf_error *err)
{
    const struct hf_retention_wish wish = {.keep = keep, .expires_s = expires_s};

    return hf_retention_change(one, &wish, NOW, err);
}

static void test_a_change_by_hand(void **state)
{
    struct hf_snapshot_record one = taken(1, NOW - 100, NOW + 100);
    struct hf_error err;

    (void)state;
    assert_int_equal(change(&one, true, 0, &err), HF_ERR_OK);
    assert_true(one.keep);
    assert_int_equal(one.expires_s, 0);
    /* A past instant: at the next opportunity. */
    assert_int_equal(change(&one, false, NOW - 1, &err), HF_ERR_OK);
    assert_false(one.keep);
    assert_true(hf_retention_is_expired(&one, NOW));
    assert_int_equal(change(&one, true, 0, &err), HF_ERR_CONFLICT);
    assert_non_null(strstr(err.message, "has expired already"));
    one.state = HF_SNAPSHOT_IN_PROGRESS;
    assert_int_equal(change(&one, true, 0, &err), HF_ERR_CONFLICT);
    assert_non_null(strstr(err.message, "is IN_PROGRESS"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_longest_class_says_how_long),
        cmocka_unit_test(test_the_first_of_each_period_is_promoted),
        cmocka_unit_test(test_what_failed_or_was_on_demand_takes_no_class_away),
        cmocka_unit_test(test_each_week_has_one_that_reads_everything),
        cmocka_unit_test(test_the_newest_good_one_never_goes),
        cmocka_unit_test(test_what_has_time_or_is_kept_stays),
        cmocka_unit_test(test_nothing_of_a_stopped_job_goes),
        cmocka_unit_test(test_a_parent_stays_while_a_capture_builds_on_it),
        cmocka_unit_test(test_the_bases_of_promised_points_stay),
        cmocka_unit_test(test_of_two_at_one_checkpoint_the_newer_is_the_base),
        cmocka_unit_test(test_clocks_that_disagree_are_named),
        cmocka_unit_test(test_a_change_by_hand),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
