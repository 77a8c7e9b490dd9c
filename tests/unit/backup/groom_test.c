/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a store is counted, groomed and checked; slots and voids.
 */
#include "backup/groom.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define DAY ((uint64_t)86400)
#define NOW (1000 * DAY)

static const struct hf_upkeep_policy policy = {
    .living_percent = HF_UPKEEP_LIVING_PERCENT,
    .groom_every_s = HF_UPKEEP_GROOM_EVERY_S,
    .count_every_s = HF_UPKEEP_COUNT_EVERY_S,
    .check_every_s = HF_UPKEEP_CHECK_EVERY_S,
};

/* Counted and checked just now, half of it dead, groomed long ago. */
static struct hf_usage_record half_dead(void)
{
    return (struct hf_usage_record){.id = {{1}},
                                    .created_s = NOW - 100 * DAY,
                                    .counted_s = NOW - 60,
                                    .checked_s = NOW - 60,
                                    .groomed_s = NOW - 14 * DAY,
                                    .living_bytes = 500,
                                    .dead_bytes = 500};
}

static struct hf_upkeep_choice decide(const struct hf_usage_record *usage, uint64_t now_s)
{
    struct hf_upkeep_choice choice;
    hf_upkeep_decide(usage, &policy, now_s, &choice);
    return choice;
}

static void expect_work(const struct hf_usage_record *usage, enum hf_upkeep_work work)
{
    struct hf_upkeep_choice choice = decide(usage, NOW);
    if (choice.work != work) {
        fail_msg("%s, not %s: %s", hf_upkeep_word(choice.work), hf_upkeep_word(work), choice.why);
    }
    assert_true(choice.why[0] != '\0');
}

static void test_a_groom_needs_both_thresholds_fresh_numbers_and_two_weeks(void **state)
{
    (void)state;
    struct hf_usage_record usage = half_dead();
    expect_work(&usage, HF_UPKEEP_GROOM);
    assert_non_null(strstr(decide(&usage, NOW).why, "50 % of the bytes live"));
    assert_int_equal(decide(&usage, NOW).living_percent, 75);
    usage.groomed_s++;
    expect_work(&usage, HF_UPKEEP_NONE);
    usage = half_dead();
    usage.living_bytes = 1499; /* 74.99 % */
    usage.dead_bytes = 500;
    expect_work(&usage, HF_UPKEEP_GROOM);
    usage.living_bytes = 1500;
    expect_work(&usage, HF_UPKEEP_NONE);
    usage = half_dead();
    struct hf_upkeep_policy mongodb = policy;
    struct hf_upkeep_choice choice;
    mongodb.dead_bytes = 500; /* "above" */
    hf_upkeep_decide(&usage, &mongodb, NOW, &choice);
    assert_int_equal(choice.work, HF_UPKEEP_NONE);
    mongodb.dead_bytes = 499;
    hf_upkeep_decide(&usage, &mongodb, NOW, &choice);
    assert_int_equal(choice.work, HF_UPKEEP_GROOM);
    mongodb.groom_every_s = 0;
    hf_upkeep_decide(&usage, &mongodb, NOW, &choice);
    assert_int_equal(choice.work, HF_UPKEEP_NONE);
    usage.counted_s = usage.groomed_s - 1; /* stale: it may live again for all one knows */
    expect_work(&usage, HF_UPKEEP_COUNT);
    usage.groomed_s = 0; /* never: two weeks after the job's beginning */
    expect_work(&usage, HF_UPKEEP_GROOM);
    usage.created_s = NOW - 14 * DAY + 1;
    usage.counted_s = NOW - 60;
    expect_work(&usage, HF_UPKEEP_NONE);
}

static void test_counts_and_checks_come_with_time(void **state)
{
    (void)state;
    struct hf_usage_record usage = {.created_s = NOW};
    expect_work(&usage, HF_UPKEEP_COUNT); /* never */
    hf_usage_counted(&usage, &usage, NOW);
    expect_work(&usage, HF_UPKEEP_NONE);
    usage.counted_s = NOW - 3 * DAY + 1;
    expect_work(&usage, HF_UPKEEP_NONE);
    usage.counted_s--;
    expect_work(&usage, HF_UPKEEP_COUNT);
    usage.counted_s = NOW;
    usage.created_s = NOW - 7 * DAY;
    expect_work(&usage, HF_UPKEEP_CHECK); /* never, and old enough */
    for (unsigned i = 0; i < HF_UPKEEP_SHARES; i++) {
        assert_int_equal(usage.check_share, i);
        hf_usage_checked(&usage, &usage, false, NOW);
    }
    assert_int_equal(usage.check_share, 0);
    expect_work(&usage, HF_UPKEEP_NONE);
    usage.checked_s = NOW - 7 * DAY;
    expect_work(&usage, HF_UPKEEP_CHECK);
    assert_false(decide(&usage, NOW).full);
    usage.damaged_snapshots = 1; /* what a sample says of those is nothing */
    assert_true(decide(&usage, NOW).full);
    usage.checked_s = NOW + DAY; /* the clock was set back */
    expect_work(&usage, HF_UPKEEP_CHECK);
}

static void test_a_count_follows_each_groom(void **state)
{
    (void)state;
    struct hf_usage_record usage = half_dead();
    hf_usage_groomed(&usage, &usage, NOW);
    assert_true(hf_usage_is_stale(&usage));
    expect_work(&usage, HF_UPKEEP_COUNT);
    hf_usage_counted(&usage, &usage, NOW); /* in the same second */
    assert_false(hf_usage_is_stale(&usage));
    expect_work(&usage, HF_UPKEEP_NONE);
}

static void test_what_is_asked_for_comes_at_once_and_once(void **state)
{
    (void)state;
    struct hf_usage_record usage = half_dead();
    usage.failures = 3;
    usage.failed_s = NOW;
    expect_work(&usage, HF_UPKEEP_NONE);
    hf_usage_ask(&usage, &(struct hf_upkeep_choice){.work = HF_UPKEEP_GROOM, .living_percent = 100},
                 NOW);
    struct hf_upkeep_choice choice = decide(&usage, NOW);
    assert_int_equal(choice.work, HF_UPKEEP_GROOM);
    assert_int_equal(choice.living_percent, 100);
    assert_true(choice.by_hand);
    /* Asked again in the same second, while it works: that one is still to do. */
    struct hf_usage_record chosen = usage;
    hf_usage_ask(&usage, &(struct hf_upkeep_choice){.work = HF_UPKEEP_GROOM}, NOW);
    hf_usage_groomed(&usage, &chosen, NOW);
    choice = decide(&usage, NOW);
    assert_int_equal(choice.work, HF_UPKEEP_GROOM);
    assert_int_equal(choice.living_percent, 75);
    chosen = usage;
    hf_usage_groomed(&usage, &chosen, NOW);
    expect_work(&usage, HF_UPKEEP_COUNT);
    assert_false(decide(&usage, NOW).by_hand);
    hf_usage_counted(&usage, &usage, NOW);
    hf_usage_ask(&usage, &(struct hf_upkeep_choice){.work = HF_UPKEEP_CHECK, .full = true}, NOW);
    choice = decide(&usage, NOW);
    assert_int_equal(choice.work, HF_UPKEEP_CHECK);
    assert_true(choice.full);
    hf_usage_checked(&usage, &usage, true, NOW);
    assert_false(usage.asked_full);
    expect_work(&usage, HF_UPKEEP_NONE);
}

static void test_what_fails_is_tried_again_ever_later(void **state)
{
    (void)state;
    static const uint64_t waits_s[] = {3600, 7200, 14400, 28800, 57600, 86400, 86400};
    struct hf_usage_record usage = half_dead();
    struct hf_error why;
    (void)hf_fail(&why, HF_ERR_CORRUPT, "node 1 is damaged");
    for (size_t i = 0; i < HF_ARRAY_LEN(waits_s); i++) {
        usage.asked_groom_s = NOW;
        hf_usage_failed(&usage, &(struct hf_upkeep_choice){.work = HF_UPKEEP_GROOM}, &why, NOW);
        assert_int_equal(usage.asked_groom_s, 0); /* it has its answer */
        assert_int_equal(decide(&usage, NOW + waits_s[i] - 1).work, HF_UPKEEP_NONE);
        assert_int_equal(decide(&usage, NOW + waits_s[i]).work, HF_UPKEEP_GROOM);
    }
    assert_string_equal(usage.error, "node 1 is damaged");
    assert_string_equal(usage.error_class, "CORRUPT");
    assert_string_equal(usage.failed_work, "GROOM");
    hf_usage_groomed(&usage, &usage, NOW);
    assert_int_equal(usage.failures, 0);
    assert_string_equal(usage.failed_work, "");
}

static void test_the_most_urgent_job_is_chosen(void **state)
{
    (void)state;
    struct hf_usage_record usages[5] = {half_dead(), half_dead(), half_dead(), half_dead(),
                                        half_dead()};
    bool busy[5] = {false};
    struct hf_upkeep_choice choice;
    usages[0].dead_bytes = 0; /* nothing */
    usages[1].counted_s = 0;  /* a count */
    usages[3].dead_bytes = 900;
    usages[4].dead_bytes = 0;
    usages[4].asked_check_s = 5;
    static const size_t order[] = {4, 3, 2, 1};
    for (size_t i = 0; i < HF_ARRAY_LEN(order); i++) {
        hf_upkeep_choose(usages, busy, 5, &policy, NOW, &choice);
        assert_int_equal(choice.index, order[i]);
        busy[choice.index] = true;
    }
    hf_upkeep_choose(usages, busy, 5, &policy, NOW, &choice);
    assert_int_equal(choice.work, HF_UPKEEP_NONE);
    hf_upkeep_choose(usages, NULL, 0, &policy, NOW, &choice);
    assert_int_equal(choice.work, HF_UPKEEP_NONE);
}

static void test_a_slot_is_free_when_nobody_renews_it(void **state)
{
    (void)state;
    const struct hf_id we = {{1}}, they = {{2}}, store = {{3}};
    struct hf_slot_record slot = {.seen_s = NOW};
    assert_true(hf_slot_is_free(&slot, &we, false, 0));
    slot.server = they;
    assert_false(hf_slot_is_free(&slot, &we, false, HF_UPKEEP_SLOT_SILENT_S));
    assert_true(hf_slot_is_free(&slot, &we, false, HF_UPKEEP_SLOT_SILENT_S + 1));
    assert_true(hf_slot_is_free(&slot, &we, true, 0));
    slot.server = we;
    assert_false(hf_slot_is_free(&slot, &we, true, 10 * HF_UPKEEP_SLOT_SILENT_S));
    struct hf_id ids[HF_UPKEEP_SLOTS_MAX];
    for (unsigned i = 0; i < HF_UPKEEP_SLOTS_MAX; i++) {
        ids[i] = hf_upkeep_slot_id(&store, i);
        assert_false(hf_id_equal(&ids[i], &store));
        for (unsigned k = 0; k < i; k++) {
            assert_false(hf_id_equal(&ids[i], &ids[k]));
        }
    }
}

static void test_a_void_stays_thirty_days(void **state)
{
    (void)state;
    struct hf_snapshot_record snapshot = {.state = HF_SNAPSHOT_ABANDONED, .finished_s = NOW};
    assert_false(hf_upkeep_void_is_over(&snapshot, NOW + 30 * DAY - 1));
    assert_true(hf_upkeep_void_is_over(&snapshot, NOW + 30 * DAY));
    assert_false(hf_upkeep_void_is_over(&snapshot, NOW - DAY)); /* the clock was set back */
    snapshot.state = HF_SNAPSHOT_FAILED;
    assert_true(hf_upkeep_void_is_over(&snapshot, NOW + 30 * DAY));
    snapshot.void_dropped = true;
    assert_false(hf_upkeep_void_is_over(&snapshot, NOW + 30 * DAY));
    snapshot.void_dropped = false;
    snapshot.state = HF_SNAPSHOT_COMPLETE;
    assert_false(hf_upkeep_void_is_over(&snapshot, NOW + 30 * DAY));
}

static void test_records_come_back_as_they_were(void **state)
{
    (void)state;
    struct hf_usage_record usage = half_dead(), again;
    struct hf_slot_record slot = {
        .id = {{1}}, .store = {{2}}, .work = HF_UPKEEP_CHECK, .seen_s = 9};
    struct hf_slot_record slot_again;
    struct hf_error err;
    usage.project = usage.id;
    usage.store = usage.id;
    (void)snprintf(usage.set_name, sizeof usage.set_name, "rs0");
    usage.checked_full = true;
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_usage_record_encode(&usage);
    assert_int_equal(hf_usage_record_decode(json, &again, &err), HF_ERR_OK);
    assert_memory_equal(&usage, &again, sizeof usage);
    HF_CLEANUP(hf_json_drop) struct hf_json *slot_json = hf_slot_record_encode(&slot);
    assert_int_equal(hf_slot_record_decode(slot_json, &slot_again, &err), HF_ERR_OK);
    assert_memory_equal(&slot, &slot_again, sizeof slot);
    assert_true(hf_usage_living_ratio(&usage) == 0.5);
    usage.living_bytes = usage.dead_bytes = 0;
    assert_true(hf_usage_living_ratio(&usage) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_groom_needs_both_thresholds_fresh_numbers_and_two_weeks),
        cmocka_unit_test(test_counts_and_checks_come_with_time),
        cmocka_unit_test(test_a_count_follows_each_groom),
        cmocka_unit_test(test_what_is_asked_for_comes_at_once_and_once),
        cmocka_unit_test(test_what_fails_is_tried_again_ever_later),
        cmocka_unit_test(test_the_most_urgent_job_is_chosen),
        cmocka_unit_test(test_a_slot_is_free_when_nobody_renews_it),
        cmocka_unit_test(test_a_void_stays_thirty_days),
        cmocka_unit_test(test_records_come_back_as_they_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
