/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the next snapshot is due: the published examples, missed windows, failures, clocks, pauses, deadlines.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backup/schedule.h"

static uint64_t at(const char *text)
{
    uint64_t at_s = 0;

    assert_true(hf_calendar_parse(hf_str_of(text), &at_s));
    return at_s;
}

static const struct hf_id job_id = {{1, 2, 3}};

/* A started job with its schedule, and what was taken of it. */
struct world {
    struct hf_job_record job;
    struct hf_schedule_record schedule;
    struct hf_snapshot_record snapshots[8];
    size_t count;
};

static void look(struct world *world, const char *now)
{
    const struct hf_schedule_view view = {
        .job = &world->job, .snapshots = world->snapshots, .count = world->count};

    world->schedule.expire_s = at(now) + HF_SCHEDULE_LOOK_S;
    hf_schedule_look(&world->schedule, &view, at(now));
}

static void begin(struct world *world, const char *now)
{
    struct hf_snapshot_record *one = &world->snapshots[world->count++];
    const struct hf_id id = {{9, (uint8_t)world->count}};

    assert_true(hf_schedule_may_begin(&world->schedule, at(now)));
    *one = (struct hf_snapshot_record){.id = id,
                                       .state = HF_SNAPSHOT_IN_PROGRESS,
                                       .automatic = true,
                                       .capture = world->job.next_capture++,
                                       .created_s = at(now)};
    hf_schedule_begun(&world->schedule, &id, at(now));
}

static void end(struct world *world, enum hf_snapshot_state how, const char *now)
{
    struct hf_snapshot_record *one = &world->snapshots[world->count - 1];

    one->state = how;
    one->finished_s = at(now);
    (void)snprintf(one->error, sizeof one->error, "no luck");
    look(world, now);
}

static struct world make(const char *now)
{
    struct world world = {.job = {.id = job_id, .state = HF_JOB_STARTED, .next_capture = 1}};

    hf_schedule_init(&world.schedule, &world.job, at(now));
    look(&world, now);
    return world;
}

/* One that has its first snapshot. */
static struct world begun(const char *now)
{
    struct world world = make(now);

    begin(&world, now);
    end(&world, HF_SNAPSHOT_COMPLETE, now);
    return world;
}

static void moved(const char *made, const char *planned, uint64_t reference_hour, const char *next)
{
    const struct hf_policy policy = {.interval_min = 360, .reference_min = reference_hour * 60};

    struct hf_schedule_move move = {
        .policy = &policy, .reference_changed = true, .planned_s = at(planned)};

    assert_int_equal(hf_schedule_moved(&move, at(made)), at(next));
    move.day_has = true;
    assert_int_equal(hf_schedule_moved(&move, at(made)), at(next));
}

static void test_the_four_published_examples(void **state)
{
    (void)state;
    moved("2026-11-25T08:00Z", "2026-11-25T12:00Z", 10, "2026-11-25T16:00Z");
    moved("2026-11-25T23:00Z", "2026-11-26T00:00Z", 10, "2026-11-26T04:00Z");
    moved("2026-11-25T08:00Z", "2026-11-25T12:00Z", 19, "2026-11-25T19:00Z");
    moved("2026-11-25T20:00Z", "2026-11-26T00:00Z", 19, "2026-11-26T01:00Z");
}

static void test_a_moved_time_loses_no_day(void **state)
{
    const struct hf_policy policy = {.interval_min = 1440, .reference_min = 600};
    uint64_t made_s = at("2026-11-25T08:00Z"), planned_s = at("2026-11-25T12:00Z");
    struct hf_schedule_move move = {
        .policy = &policy, .reference_changed = true, .planned_s = planned_s};

    (void)state;
    /* By the formula alone the 25th would have none. */
    assert_int_equal(hf_schedule_moved(&move, made_s), planned_s);
    move.day_has = true;
    assert_int_equal(hf_schedule_moved(&move, made_s), at("2026-11-26T10:00Z"));
    assert_int_equal(hf_schedule_slot_after(&policy, planned_s), at("2026-11-26T10:00Z"));
}

static void test_another_interval_brings_nothing_forward(void **state)
{
    struct hf_policy policy = {.interval_min = 360, .reference_min = 720};
    struct hf_schedule_move move = {
        .policy = &policy, .planned_s = at("2026-11-26T12:00Z"), .day_has = true};

    (void)state;
    /* The planned time is one of the new ones too: it stays. */
    assert_int_equal(hf_schedule_moved(&move, at("2026-11-25T13:00Z")), at("2026-11-26T12:00Z"));
    /* It is none: the next new one behind it. */
    policy.interval_min = 1440;
    move.planned_s = at("2026-11-25T18:00Z");
    assert_int_equal(hf_schedule_moved(&move, at("2026-11-25T13:00Z")), at("2026-11-26T12:00Z"));
}

static void test_slots_go_by_the_reference_time(void **state)
{
    const struct hf_policy policy = {.interval_min = 480, .reference_min = 23 * 60 + 30};

    (void)state;
    assert_int_equal(hf_schedule_slot_after(&policy, at("2026-11-25T07:29:59Z")),
                     at("2026-11-25T07:30Z"));
    assert_int_equal(hf_schedule_slot_after(&policy, at("2026-11-25T07:30Z")),
                     at("2026-11-25T15:30Z"));
    assert_int_equal(hf_schedule_slot_after(&policy, at("2026-11-25T23:30:01Z")),
                     at("2026-11-26T07:30Z"));
    assert_int_equal(hf_schedule_slot_after(&policy, 0), at("1970-01-01T07:30Z"));
}

static void test_the_first_one_is_taken_at_once(void **state)
{
    struct world world = make("2026-11-25T08:10:30Z");

    (void)state;
    assert_true(world.schedule.queue_s != 0);
    begin(&world, "2026-11-25T08:10:31Z");
    assert_int_equal(world.schedule.queue_s, 0);
    end(&world, HF_SNAPSHOT_COMPLETE, "2026-11-25T08:30Z");
    assert_int_equal(world.schedule.queue_s, 0);
    assert_int_equal(world.schedule.due_s, at("2026-11-26T08:10Z"));
    look(&world, "2026-11-26T08:10Z");
    assert_true(hf_schedule_may_begin(&world.schedule, at("2026-11-26T08:10Z")));
}

static void test_a_job_with_snapshots_waits_for_its_time(void **state)
{
    struct world world = {.job = {.id = job_id, .state = HF_JOB_STARTED, .next_capture = 7}};

    (void)state;
    world.snapshots[world.count++] =
        (struct hf_snapshot_record){.state = HF_SNAPSHOT_COMPLETE, .capture = 6, .created_s = 5};
    hf_schedule_init(&world.schedule, &world.job, at("2026-11-25T08:00Z"));
    look(&world, "2026-11-25T08:00Z");
    assert_int_equal(world.schedule.queue_s, 0);
    assert_int_equal(world.schedule.due_s, at("2026-11-26T08:00Z"));
}

static void test_missed_windows_are_taken_once(void **state)
{
    struct world world = begun("2026-11-25T08:00Z");

    (void)state;
    look(&world, "2026-12-01T09:00Z");
    begin(&world, "2026-12-01T09:00Z");
    assert_int_equal(world.schedule.attempt_owed_s, at("2026-11-26T08:00Z"));
    end(&world, HF_SNAPSHOT_COMPLETE, "2026-12-01T09:10Z");
    assert_int_equal(world.schedule.queue_s, 0);
    assert_int_equal(world.schedule.due_s, at("2026-12-02T08:00Z"));
}

static void test_what_fails_is_tried_ever_later(void **state)
{
    struct world world = begun("2026-11-25T08:00Z");
    uint64_t now_s = at("2026-11-26T08:00Z"), waits_s[8];

    (void)state;
    world.count = 0;
    world.snapshots[world.count++] =
        (struct hf_snapshot_record){.state = HF_SNAPSHOT_COMPLETE, .capture = 1, .created_s = 5};
    look(&world, "2026-11-26T08:00Z");
    for (size_t i = 0; i < HF_ARRAY_LEN(waits_s); i++) {
        const struct hf_schedule_view view = {
            .job = &world.job, .snapshots = world.snapshots, .count = 2};
        const struct hf_id id = {{7, (uint8_t)i}};
        assert_true(hf_schedule_may_begin(&world.schedule, now_s));
        world.snapshots[1] = (struct hf_snapshot_record){
            .id = id, .state = HF_SNAPSHOT_FAILED, .error = "no luck", .created_s = now_s};
        hf_schedule_begun(&world.schedule, &id, now_s);
        world.schedule.expire_s = now_s + HF_SCHEDULE_LOOK_S;
        hf_schedule_look(&world.schedule, &view, now_s);
        assert_int_equal(world.schedule.queue_s, 0);
        assert_string_equal(world.schedule.problem, "no luck");
        waits_s[i] = world.schedule.not_before_s - now_s;
        now_s = world.schedule.not_before_s;
        assert_int_equal(world.schedule.wake_s, now_s);
        const struct hf_schedule_view seen = {
            .job = &world.job, .snapshots = world.snapshots, .count = 1};
        hf_schedule_look(&world.schedule, &seen, now_s);
    }
    const uint64_t expected[] = {60, 120, 240, 480, 960, 1920, 3600, 3600};
    assert_memory_equal(waits_s, expected, sizeof expected);
}

static void test_the_failed_one_is_still_owed(void **state)
{
    struct world world = begun("2026-11-25T08:00Z");

    (void)state;
    look(&world, "2026-11-26T08:00Z");
    begin(&world, "2026-11-26T08:00Z");
    end(&world, HF_SNAPSHOT_ABANDONED, "2026-11-26T08:20Z");
    assert_string_equal(world.schedule.problem, "no luck");
    assert_int_equal(world.schedule.owed_s, at("2026-11-26T08:00Z"));
    assert_int_equal(world.schedule.queue_s, 0);
    look(&world, "2026-11-26T08:21Z");
    begin(&world, "2026-11-26T08:21Z");
    end(&world, HF_SNAPSHOT_COMPLETE, "2026-11-26T08:40Z");
    assert_int_equal(world.schedule.owed_s, 0);
    assert_int_equal(world.schedule.failures, 0);
    assert_string_equal(world.schedule.problem, "");
    assert_int_equal(world.schedule.took_s, 19 * 60);
}

static void test_one_that_was_taken_otherwise_is_owed_no_more(void **state)
{
    struct world world = begun("2026-11-25T08:00Z");

    (void)state;
    look(&world, "2026-11-26T08:00Z");
    assert_true(world.schedule.queue_s != 0);
    world.snapshots[world.count++] = (struct hf_snapshot_record){
        .state = HF_SNAPSHOT_COMPLETE, .capture = 2, .created_s = at("2026-11-26T08:00:05Z")};
    look(&world, "2026-11-26T08:05Z");
    assert_true(world.schedule.queue_s != 0); /* on demand: no effect on the schedule */
    world.snapshots[world.count - 1].automatic = true;
    look(&world, "2026-11-26T08:05Z");
    assert_int_equal(world.schedule.queue_s, 0);
    assert_int_equal(world.schedule.owed_s, 0);
}

static void test_a_clock_that_steps_makes_neither_storm_nor_silence(void **state)
{
    struct world world = begun("2026-11-25T08:00Z");

    (void)state;
    look(&world, "2036-11-25T08:00Z");
    begin(&world, "2036-11-25T08:00Z");
    end(&world, HF_SNAPSHOT_COMPLETE, "2036-11-25T08:10Z");
    assert_int_equal(world.schedule.queue_s, 0); /* ten years were missed once */
    assert_int_equal(world.schedule.due_s, at("2036-11-26T08:00Z"));
    look(&world, "2026-11-25T09:00Z");
    assert_int_equal(world.schedule.queue_s, 0);
    assert_int_equal(world.schedule.due_s, at("2026-11-26T08:00Z"));
    assert_true(world.schedule.wake_s <= at("2026-11-25T10:00Z"));
    look(&world, "2026-11-26T08:00Z");
    begin(&world, "2026-11-26T08:00Z");
}

static void test_a_stopped_job_takes_none_and_a_restarted_one_what_it_missed(void **state)
{
    struct world world = begun("2026-11-25T08:00Z");

    (void)state;
    world.job.state = HF_JOB_STOPPED;
    look(&world, "2026-11-26T08:00Z");
    assert_int_equal(world.schedule.queue_s, 0);
    assert_false(hf_schedule_may_begin(&world.schedule, at("2026-11-26T08:00Z")));
    world.job.state = HF_JOB_STARTED;
    world.job.next_capture = 17;
    look(&world, "2026-11-28T12:00Z");
    assert_int_equal(world.schedule.waits_for_capture, 17);
    begin(&world, "2026-11-28T12:00Z");
}

static void test_nothing_begins_in_a_pause(void **state)
{
    struct world world = begun("2026-11-25T08:00Z");

    (void)state;
    (void)snprintf(world.schedule.policy.pauses, sizeof world.schedule.policy.pauses,
                   "07:00-09:30");
    look(&world, "2026-11-26T08:00Z");
    assert_int_equal(world.schedule.queue_s, 0);
    assert_int_equal(world.schedule.wake_s, at("2026-11-26T09:00Z"));
    look(&world, "2026-11-26T09:00Z");
    assert_int_equal(world.schedule.wake_s, at("2026-11-26T09:30Z"));
    assert_false(hf_schedule_may_begin(&world.schedule, at("2026-11-26T09:29Z")));
    look(&world, "2026-11-26T09:30Z");
    begin(&world, "2026-11-26T09:30Z");
}

static void test_a_deadline_orders_the_queue(void **state)
{
    struct world plain = begun("2026-11-25T00:00Z"), pressed = begun("2026-11-25T00:30Z");

    (void)state;
    pressed.schedule.policy.has_deadline = true;
    pressed.schedule.policy.deadline_min = 6 * 60;
    pressed.schedule.took_s = 2 * 3600;
    look(&plain, "2026-11-26T00:40Z");
    look(&pressed, "2026-11-26T00:40Z");
    assert_int_equal(plain.schedule.queue_s, at("2026-11-27T00:00Z"));
    assert_int_equal(pressed.schedule.queue_s, at("2026-11-26T04:00Z"));
    /* Without one, the one that was due first. */
    pressed.schedule.policy.has_deadline = false;
    look(&pressed, "2026-11-26T00:40Z");
    assert_true(plain.schedule.queue_s < pressed.schedule.queue_s);
}

static void test_a_refusal_waits_a_little_and_a_failure_more(void **state)
{
    struct world world = begun("2026-11-25T08:00Z");
    uint64_t now_s = at("2026-11-26T08:00Z");

    (void)state;
    look(&world, "2026-11-26T08:00Z");
    hf_schedule_refused(&world.schedule, "the host is busy", HF_SCHEDULE_SOON, now_s);
    assert_int_equal(world.schedule.not_before_s, now_s + 10);
    assert_int_equal(world.schedule.failures, 0);
    hf_schedule_refused(&world.schedule, "no member will do", HF_SCHEDULE_LATER, now_s);
    hf_schedule_refused(&world.schedule, "no member will do", HF_SCHEDULE_LATER, now_s);
    assert_int_equal(world.schedule.not_before_s, now_s + 120);
    assert_string_equal(world.schedule.problem, "no member will do");
    assert_int_equal(world.schedule.owed_s, now_s);
}

static void test_a_record_comes_back_as_it_was(void **state)
{
    struct world world = begun("2026-11-25T08:00Z");
    struct hf_schedule_record again;
    struct hf_error err;

    (void)state;
    (void)snprintf(world.schedule.policy.pauses, sizeof world.schedule.policy.pauses,
                   "SUN 07:00-09:30");
    world.schedule.policy.full_day = HF_FRIDAY;
    (void)snprintf(world.schedule.set_name, sizeof world.schedule.set_name, "rs0");
    world.schedule.project = job_id;
    struct hf_json *json = hf_schedule_record_encode(&world.schedule);
    assert_int_equal(hf_schedule_record_decode(json, &again, &err), HF_ERR_OK);
    assert_memory_equal(&again, &world.schedule, sizeof again);
    /* One that would be due without end is not believed. */
    hf_json_set_u64(json, "intervalMinutes", 0);
    assert_int_equal(hf_schedule_record_decode(json, &again, &err), HF_ERR_CORRUPT);
    hf_json_drop(json);
}

static void test_a_change_takes_hold_at_once_and_moves_the_next(void **state)
{
    struct world world = begun("2026-11-25T08:00Z");
    const struct hf_schedule_view view = {
        .job = &world.job, .snapshots = world.snapshots, .count = world.count};
    struct hf_policy policy = world.schedule.policy;

    (void)state;
    policy.interval_min = 360;
    hf_schedule_change(&world.schedule, &policy, &view, at("2026-11-25T09:00Z"));
    assert_int_equal(world.schedule.due_s, at("2026-11-26T08:00Z"));
    policy.reference_min = 10 * 60;
    hf_schedule_change(&world.schedule, &policy, &view, at("2026-11-25T09:00Z"));
    assert_int_equal(world.schedule.due_s, at("2026-11-26T10:00Z"));
    look(&world, "2026-11-26T10:00Z");
    begin(&world, "2026-11-26T10:00Z");
    assert_int_equal(world.schedule.due_s, at("2026-11-26T16:00Z"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_four_published_examples),
        cmocka_unit_test(test_a_moved_time_loses_no_day),
        cmocka_unit_test(test_another_interval_brings_nothing_forward),
        cmocka_unit_test(test_slots_go_by_the_reference_time),
        cmocka_unit_test(test_the_first_one_is_taken_at_once),
        cmocka_unit_test(test_a_job_with_snapshots_waits_for_its_time),
        cmocka_unit_test(test_missed_windows_are_taken_once),
        cmocka_unit_test(test_what_fails_is_tried_ever_later),
        cmocka_unit_test(test_the_failed_one_is_still_owed),
        cmocka_unit_test(test_one_that_was_taken_otherwise_is_owed_no_more),
        cmocka_unit_test(test_a_clock_that_steps_makes_neither_storm_nor_silence),
        cmocka_unit_test(test_a_stopped_job_takes_none_and_a_restarted_one_what_it_missed),
        cmocka_unit_test(test_nothing_begins_in_a_pause),
        cmocka_unit_test(test_a_deadline_orders_the_queue),
        cmocka_unit_test(test_a_refusal_waits_a_little_and_a_failure_more),
        cmocka_unit_test(test_a_record_comes_back_as_it_was),
        cmocka_unit_test(test_a_change_takes_hold_at_once_and_moves_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
