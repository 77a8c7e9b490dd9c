/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves, capture numbers, parents and adoption.
 */
#include "backup/lifecycle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_a_snapshot_moves_only_as_the_diagram_says(void **state)
{
    static const bool allowed[5][5] = {{false, true, true, true, false},
                                       {false, false, false, false, true}};
    struct hf_error err;

    (void)state;
    for (unsigned from = 0; from < 5; from++) {
        for (unsigned to = 0; to < 5; to++) {
            struct hf_snapshot_record record = {.state = from, .id = {{1}}};
            enum hf_err code = hf_snapshot_move(&record, to, 7, &err);
            assert_int_equal(code, allowed[from][to] ? HF_ERR_OK : HF_ERR_CONFLICT);
            assert_int_equal(record.state, allowed[from][to] ? to : from);
        }
    }
    assert_non_null(strstr(
        err.message, "snapshot 010000000000000000000000 is EXPIRED and cannot become EXPIRED"));
}

static void test_an_ended_task_and_restore_stay_as_they_are(void **state)
{
    struct hf_task_record task = {.state = HF_TASK_ENDED};
    struct hf_restore_record restore = {.state = HF_RESTORE_FINISHED};
    struct hf_error err;

    (void)state;
    assert_int_equal(hf_task_move(&task, HF_TASK_RUNNING, 1, &err), HF_ERR_CONFLICT);
    assert_int_equal(hf_restore_move(&restore, HF_RESTORE_BROKEN, 1, &err), HF_ERR_CONFLICT);
    task.state = HF_TASK_WAITING;
    assert_int_equal(hf_task_move(&task, HF_TASK_RUNNING, 5, &err), HF_ERR_OK);
    assert_int_equal(task.seen_s, 5);
}

static void test_a_capture_number_is_above_all_that_catalog_and_store_show(void **state)
{
    struct hf_job_record job = {.state = HF_JOB_STARTED, .set_name = "rs0"};
    struct hf_id first = {{1}}, second = {{2}};
    struct hf_error err;
    uint64_t capture = 0;

    (void)state;
    assert_int_equal(hf_job_begin_capture(&job, &first, 0, &capture, &err), HF_ERR_OK);
    assert_int_equal(capture, 1);
    assert_int_equal(hf_job_begin_capture(&job, &second, 0, &capture, &err), HF_ERR_CONFLICT);
    assert_string_equal(err.message,
                        "snapshot 010000000000000000000000 of set rs0 is still being taken");
    assert_false(hf_job_end_capture(&job, &second));
    assert_true(hf_job_end_capture(&job, &first));
    assert_int_equal(hf_job_begin_capture(&job, &second, 41, &capture, &err), HF_ERR_OK);
    assert_int_equal(capture, 42);
    assert_int_equal(job.next_capture, 43);
}

static void test_a_job_that_is_not_started_takes_no_capture(void **state)
{
    struct hf_job_record job = {.state = HF_JOB_INACTIVE, .set_name = "rs0"};
    struct hf_id id = {{1}};
    struct hf_error err;
    uint64_t capture = 0;

    (void)state;
    assert_int_equal(hf_job_begin_capture(&job, &id, 0, &capture, &err), HF_ERR_CONFLICT);
    assert_string_equal(err.message,
                        "the job of set rs0 is INACTIVE; hint: holdfast job start --set rs0");
    assert_int_equal(job.next_capture, 0);
}

static struct hf_snapshot_record snapshot(enum hf_snapshot_state state, uint64_t capture,
                                          const char *member)
{
    struct hf_snapshot_record record = {
        .state = state, .capture = capture, .store = {{7}}, .finished_s = 1000};

    (void)snprintf(record.member, sizeof record.member, "%s", member);
    return record;
}

static void
test_the_parent_is_the_newest_complete_snapshot_of_the_same_member_and_store(void **state)
{
    struct hf_snapshot_record all[] = {
        snapshot(HF_SNAPSHOT_COMPLETE, 1, "a"), snapshot(HF_SNAPSHOT_COMPLETE, 2, "a"),
        snapshot(HF_SNAPSHOT_EXPIRED, 3, "a"),  snapshot(HF_SNAPSHOT_COMPLETE, 4, "b"),
        snapshot(HF_SNAPSHOT_FAILED, 5, "a"),   snapshot(HF_SNAPSHOT_COMPLETE, 6, "a"),
    };
    struct hf_id store = {{7}};

    (void)state;
    all[5].store = (struct hf_id){{8}};
    assert_ptr_equal(hf_snapshot_choose_parent(all, 6, "a", &store), &all[1]);
    assert_null(hf_snapshot_choose_parent(all, 6, "c", &store));
}

static void test_a_member_costs_what_has_changed_since_its_own_last_snapshot(void **state)
{
    struct hf_snapshot_record all[] = {
        snapshot(HF_SNAPSHOT_COMPLETE, 1, "a"), snapshot(HF_SNAPSHOT_COMPLETE, 2, "b"),
        snapshot(HF_SNAPSHOT_COMPLETE, 3, "b"), snapshot(HF_SNAPSHOT_FAILED, 4, "b")};
    struct hf_member_record a = {.host = "a"}, b = {.host = "b"}, c = {.host = "c"};
    const struct hf_id store = {{7}};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        all[i].created_s = 1000 * (i + 1);
        all[i].bytes = 900;
    }
    all[2].parent_capture = 2;
    all[2].new_bytes = 50; /* in 1000 s */
    a.data_bytes = b.data_bytes = 1000;
    assert_int_equal(hf_snapshot_cost(all, 4, &b, &store, 3500).send_bytes, 25);
    assert_int_equal(hf_snapshot_cost(all, 4, &a, &store, 3500).send_bytes, 125);
    assert_int_equal(hf_snapshot_cost(all, 4, &c, &store, 3500).send_bytes, 900);
    assert_int_equal(hf_snapshot_cost(all, 4, &b, &store, 900000).send_bytes, 1000);
    assert_int_equal(hf_snapshot_cost(all, 4, &b, &(struct hf_id){{8}}, 3500).send_bytes, 1000);
    /* No rate is known: nothing speaks for its being large. */
    assert_int_equal(hf_snapshot_cost(all, 2, &b, &store, 3500).send_bytes, 0);
}

static void test_only_a_given_up_attempt_of_the_last_week_is_adopted(void **state)
{
    struct hf_snapshot_record all[] = {snapshot(HF_SNAPSHOT_ABANDONED, 1, "a"),
                                       snapshot(HF_SNAPSHOT_ABANDONED, 2, "a"),
                                       snapshot(HF_SNAPSHOT_FAILED, 3, "a")};

    (void)state;
    assert_ptr_equal(hf_snapshot_choose_adopted(all, 3, "a", 2000), &all[1]);
    assert_null(hf_snapshot_choose_adopted(all, 3, "a", 1000 + HF_CLAIM_KEPT_S));
    all[1].claim_dropped = true;
    assert_ptr_equal(hf_snapshot_choose_adopted(all, 3, "a", 2000), &all[0]);
    all[2].state = HF_SNAPSHOT_COMPLETE;
    assert_null(hf_snapshot_choose_adopted(all, 3, "a", 2000));
    assert_null(hf_snapshot_choose_adopted(all, 3, "b", 2000));
}

static void test_damage_is_believed_until_a_later_capture_has_looked(void **state)
{
    struct hf_snapshot_record all[] = {snapshot(HF_SNAPSHOT_COMPLETE, 1, "a"),
                                       snapshot(HF_SNAPSHOT_COMPLETE, 2, "a"),
                                       snapshot(HF_SNAPSHOT_FAILED, 3, "a")};

    (void)state;
    /* Clocks are not asked: these were set back in between. */
    all[0].created_s = 500;
    all[1].created_s = 400;
    all[2].created_s = 300;
    assert_false(hf_snapshot_must_prove(all, 3));
    all[0].verified_s = 100;
    all[0].verified_capture = 2;
    assert_true(hf_snapshot_must_prove(all, 3)); /* the attempt that failed has healed nothing */
    all[0].verified_ok = true;
    assert_false(hf_snapshot_must_prove(all, 3));
    all[0].verified_ok = false;
    all[2].state = HF_SNAPSHOT_COMPLETE;
    assert_false(hf_snapshot_must_prove(all, 3));
}

static void test_snapshots_of_a_job_stay_in_their_order_when_the_clock_is_set_back(void **state)
{
    static const uint8_t times[] = {1, 9, 5, 5, 8, 12};
    static const uint64_t captures[] = {1, 2, 3, 4, 1, 5}; /* the fifth is another job's */
    static const uint64_t wanted[] = {1, 1, 2, 3, 4, 5};
    struct hf_snapshot_record all[6];
    struct hf_error err;

    (void)state;
    for (size_t i = 0; i < 6; i++) {
        size_t from = 5 - i;
        all[i] = snapshot(HF_SNAPSHOT_COMPLETE, captures[from], "a");
        all[i].job.bytes[0] = from == 4 ? 2 : 1;
        all[i].id.bytes[3] = times[from];
        all[i].id.bytes[11] = (uint8_t)(100 - from);
    }
    assert_int_equal(hf_snapshot_sort(all, 6, &err), HF_ERR_OK);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(all[i].capture, wanted[i]);
    }
    assert_int_equal(all[1].job.bytes[0], 2);
}

static void test_a_task_that_nobody_names_is_given_up_after_five_minutes(void **state)
{
    struct hf_task_record task = {.state = HF_TASK_RUNNING};

    (void)state;
    assert_false(hf_task_is_silent(&task, HF_TASK_SILENT_MAX_S, HF_TASK_SILENT_MAX_S));
    assert_true(hf_task_is_silent(&task, HF_TASK_SILENT_MAX_S, HF_TASK_SILENT_MAX_S + 1));
    task.state = HF_TASK_FINISHING;
    assert_false(hf_task_is_silent(&task, HF_TASK_SILENT_MAX_S, 100000));
}

static void test_a_snapshot_record_comes_back_from_its_json(void **state)
{
    struct hf_snapshot_record record = snapshot(HF_SNAPSHOT_COMPLETE, 9, "a:27017"), back;
    struct hf_error err;

    (void)state;
    record.id = record.job = record.project = record.cluster = record.writer = (struct hf_id){{3}};
    (void)snprintf(record.set_name, sizeof record.set_name, "rs0");
    record.checkpoint = (struct hf_optime){.seconds = 5, .increment = 6, .term = -1};
    record.keep = true;
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_snapshot_record_encode(&record);
    assert_int_equal(hf_snapshot_record_decode(json, &back, &err), HF_ERR_OK);
    assert_memory_equal(&back, &record, sizeof back);
    hf_json_set_text(json, "state", "SOMETHING");
    assert_int_equal(hf_snapshot_record_decode(json, &back, &err), HF_ERR_CORRUPT);
    assert_string_equal(err.message, "snapshot record: 'state' has a value that does not fit");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_snapshot_moves_only_as_the_diagram_says),
        cmocka_unit_test(test_an_ended_task_and_restore_stay_as_they_are),
        cmocka_unit_test(test_a_capture_number_is_above_all_that_catalog_and_store_show),
        cmocka_unit_test(test_a_job_that_is_not_started_takes_no_capture),
        cmocka_unit_test(
            test_the_parent_is_the_newest_complete_snapshot_of_the_same_member_and_store),
        cmocka_unit_test(test_a_member_costs_what_has_changed_since_its_own_last_snapshot),
        cmocka_unit_test(test_only_a_given_up_attempt_of_the_last_week_is_adopted),
        cmocka_unit_test(test_damage_is_believed_until_a_later_capture_has_looked),
        cmocka_unit_test(test_snapshots_of_a_job_stay_in_their_order_when_the_clock_is_set_back),
        cmocka_unit_test(test_a_task_that_nobody_names_is_given_up_after_five_minutes),
        cmocka_unit_test(test_a_snapshot_record_comes_back_from_its_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
