/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a job against the words of backup-domain.md 2.1 to 2.3 and rest-api.md 2.2, written down here once more.
 */
#include "backup/job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct hf_job_record job_in(enum hf_job_state state)
{
    return (struct hf_job_record){.state = state, .set_name = "rs0", .next_capture = 4, .run = 2};
}

/* "From, To, Action", and who else moves a job. */
static const struct {
    enum hf_job_state from;
    enum hf_job_action action;
    enum hf_job_state to;
} arrows[] = {
    {HF_JOB_INACTIVE, HF_JOB_START, HF_JOB_PROVISIONING},
    {HF_JOB_PROVISIONING, HF_JOB_PROVISIONED, HF_JOB_STARTED},
    {HF_JOB_PROVISIONING, HF_JOB_APPROVE, HF_JOB_PROVISIONING},
    {HF_JOB_PROVISIONING, HF_JOB_DENY, HF_JOB_INACTIVE},
    {HF_JOB_STARTED, HF_JOB_STOP, HF_JOB_STOPPED},
    {HF_JOB_STOPPED, HF_JOB_START, HF_JOB_STARTED},
    {HF_JOB_STOPPED, HF_JOB_TERMINATE, HF_JOB_TERMINATING},
    {HF_JOB_TERMINATING, HF_JOB_FORCE_TERMINATE, HF_JOB_INACTIVE},
    {HF_JOB_TERMINATING, HF_JOB_GONE, HF_JOB_INACTIVE},
};

static const char *const refusals[HF_JOB_ACTIONS] = {
    "CANNOT_START_BACKUP_INVALID_STATE",     "CANNOT_STOP_BACKUP_INVALID_STATE",
    "CANNOT_TERMINATE_BACKUP_INVALID_STATE", "CANNOT_TERMINATE_BACKUP_INVALID_STATE",
    "CANNOT_START_BACKUP_INVALID_STATE",     "CANNOT_START_BACKUP_INVALID_STATE",
    "CANNOT_START_BACKUP_INVALID_STATE",     "CANNOT_TERMINATE_BACKUP_INVALID_STATE",
};

static void test_every_move_of_the_table_is_made_and_every_other_one_refused(void **state)
{
    size_t made = 0;
    (void)state;
    for (unsigned from = 0; from < HF_JOB_STATES; from++) {
        for (unsigned action = 0; action < HF_JOB_ACTIONS; action++) {
            struct hf_job_record job = job_in(from), before = job;
            struct hf_error err;
            int to = -1;
            for (size_t i = 0; i < sizeof arrows / sizeof arrows[0]; i++) {
                to = arrows[i].from == from && arrows[i].action == action ? (int)arrows[i].to : to;
            }
            enum hf_err code = hf_job_move(&job, action, 50, &err);
            assert_int_equal(code, to >= 0 ? HF_ERR_OK : HF_ERR_CONFLICT);
            if (to >= 0) {
                assert_int_equal(job.state, to);
                assert_int_equal(job.moved_s, 50);
                made++;
            } else {
                assert_memory_equal(&job, &before, sizeof job);
                assert_non_null(strstr(err.message, "the job of set rs0 is "));
                assert_non_null(strstr(err.message, hf_job_state_word(from)));
            }
            assert_string_equal(hf_job_refusal(action), refusals[action]);
        }
    }
    assert_int_equal(made, sizeof arrows / sizeof arrows[0]);
}

static void test_a_job_does_what_the_state_table_says(void **state)
{
    /* keeps existing snapshots, takes new ones, tails the oplog */
    static const bool rows[HF_JOB_STATES][3] = {
        [HF_JOB_STARTED] = {true, true, true},        [HF_JOB_STOPPED] = {true, false, false},
        [HF_JOB_INACTIVE] = {false, false, false},    [HF_JOB_PROVISIONING] = {true, false, false},
        [HF_JOB_TERMINATING] = {false, false, false},
    };
    (void)state;
    for (unsigned i = 0; i < HF_JOB_STATES; i++) {
        const struct hf_job_record job = job_in(i);
        const struct hf_job_does does = hf_job_does(&job);
        assert_int_equal(does.keeps_snapshots, rows[i][0]);
        assert_int_equal(does.takes_snapshots, rows[i][1]);
        assert_int_equal(does.tails_oplog, rows[i][2]);
        assert_int_equal(does.stored, i == HF_JOB_STARTED || i == HF_JOB_STOPPED);
    }
}

static void expect_refused(enum hf_job_state from, enum hf_job_action action, const char *text)
{
    struct hf_job_record job = job_in(from);
    struct hf_error err;
    assert_int_equal(hf_job_move(&job, action, 1, &err), HF_ERR_CONFLICT);
    assert_string_equal(err.message, text);
}

static void test_a_refusal_says_what_to_do(void **state)
{
    (void)state;
    expect_refused(HF_JOB_STARTED, HF_JOB_START, "the job of set rs0 is STARTED already");
    expect_refused(HF_JOB_TERMINATING, HF_JOB_START,
                   "the job of set rs0 is TERMINATING: what it stored is being deleted; hint: wait "
                   "until it is INACTIVE");
    expect_refused(HF_JOB_INACTIVE, HF_JOB_STOP,
                   "the job of set rs0 is INACTIVE: there is nothing to stop");
    expect_refused(HF_JOB_STARTED, HF_JOB_TERMINATE,
                   "the job of set rs0 is STARTED; hint: stop it first: holdfast job stop");
    expect_refused(HF_JOB_STOPPED, HF_JOB_FORCE_TERMINATE,
                   "the job of set rs0 is STOPPED: only a termination that does not come to its "
                   "end is forced");
}

static void test_status_names_that_may_be_wished_for(void **state)
{
    enum hf_job_action action = HF_JOB_GONE;
    (void)state;
    assert_true(hf_job_action_for("STARTED", &action) && action == HF_JOB_START);
    assert_true(hf_job_action_for("STOPPED", &action) && action == HF_JOB_STOP);
    assert_true(hf_job_action_for("TERMINATING", &action) && action == HF_JOB_TERMINATE);
    assert_false(hf_job_action_for("INACTIVE", &action));
    assert_false(hf_job_action_for("PROVISIONING", &action));
    assert_false(hf_job_action_for("started", &action));
}

static void make(struct hf_job_record *job, enum hf_job_action action, uint64_t now_s)
{
    struct hf_error err;
    assert_int_equal(hf_job_move(job, action, now_s, &err), HF_ERR_OK);
}

static void test_a_life_from_start_to_start(void **state)
{
    const struct hf_cluster_record cluster = {
        .id = {{1}}, .project = {{2}}, .set_name = "rs0", .created_s = 1};
    struct hf_job_record job;
    (void)state;
    hf_job_init(&job, &cluster);
    assert_int_equal(job.state, HF_JOB_INACTIVE);
    make(&job, HF_JOB_START, 10);
    assert_int_equal(job.created_s, 10);
    assert_string_equal(job.snapshot_wanted, "");
    make(&job, HF_JOB_PROVISIONED, 20);
    assert_int_equal(job.started_s, 20);
    assert_string_equal(job.snapshot_wanted, "it is the first of the job");
    assert_int_equal(job.wanted_s, 20);
    job.failures = 3;
    job.next_capture = 9;
    make(&job, HF_JOB_STOP, 30);
    assert_string_equal(job.snapshot_wanted, "");
    assert_int_equal(job.wanted_s, 0);
    assert_int_equal(job.failures, 0);
    make(&job, HF_JOB_START, 40);
    assert_int_equal(job.run, 1);
    assert_int_equal(job.started_s, 40);
    assert_non_null(strstr(job.snapshot_wanted, "the job was restarted"));
    make(&job, HF_JOB_STOP, 50);
    make(&job, HF_JOB_TERMINATE, 60);
    make(&job, HF_JOB_GONE, 70);
    assert_false(job.leftover);
    make(&job, HF_JOB_START, 80);
    make(&job, HF_JOB_PROVISIONED, 90);
    assert_int_equal(job.created_s, 80);
    assert_int_equal(job.run, 1);          /* no restart: its chain is a first one */
    assert_int_equal(job.next_capture, 9); /* a number is never used twice */
    make(&job, HF_JOB_STOP, 91);
    make(&job, HF_JOB_TERMINATE, 92);
    make(&job, HF_JOB_FORCE_TERMINATE, 93);
    assert_true(job.leftover);
}

static void test_data_above_the_threshold_wait_for_approval(void **state)
{
    struct hf_job_record job = job_in(HF_JOB_PROVISIONING);
    (void)state;
    assert_int_equal(hf_job_approval(&job, 1000, 0), HF_JOB_MAY_GO_ON);
    assert_int_equal(hf_job_approval(&job, 1000, 1000), HF_JOB_MAY_GO_ON);
    assert_int_equal(hf_job_approval(&job, 1001, 1000), HF_JOB_NEEDS_APPROVAL);
    assert_int_equal(hf_job_approval(&job, 0, 1000), HF_JOB_SIZE_UNKNOWN);
    make(&job, HF_JOB_APPROVE, 5);
    assert_int_equal(hf_job_approval(&job, 1001, 1000), HF_JOB_MAY_GO_ON);
    make(&job, HF_JOB_DENY, 6);
    make(&job, HF_JOB_START, 7);
    assert_int_equal(hf_job_approval(&job, 1001, 1000), HF_JOB_NEEDS_APPROVAL);
}

static void test_failures_in_a_row_are_counted_and_waited_after(void **state)
{
    static const uint64_t waits[] = {0, 60, 120, 240, 480, 960, 1920, 3600, 3600};
    struct hf_job_record job = job_in(HF_JOB_STARTED);
    struct hf_snapshot_record attempt = {.state = HF_SNAPSHOT_FAILED, .finished_s = 7};
    (void)state;
    hf_job_note_attempt(&job, &attempt);
    attempt = (struct hf_snapshot_record){
        .state = HF_SNAPSHOT_ABANDONED, .finished_s = 9, .error_class = "LOST"};
    hf_job_note_attempt(&job, &attempt);
    (void)snprintf(attempt.error_class, sizeof attempt.error_class, "CANCELLED");
    attempt.finished_s = 11;
    hf_job_note_attempt(&job, &attempt);
    assert_int_equal(job.failures, 2);
    assert_int_equal(job.failed_s, 9);
    assert_true(hf_id_is_none(&job.last.snapshot));
    attempt.state = HF_SNAPSHOT_COMPLETE;
    attempt.id = job.id;
    attempt.created_s = 10;
    attempt.stored_bytes = 12;
    hf_job_note_attempt(&job, &attempt);
    assert_int_equal(job.failures, 0);
    attempt.state = HF_SNAPSHOT_FAILED; /* the newest complete one is remembered */
    attempt.created_s = 20;
    hf_job_note_attempt(&job, &attempt);
    assert_true(hf_id_equal(&job.last.snapshot, &job.id));
    assert_int_equal(job.last.created_s, 10);
    assert_int_equal(job.last.finished_s, 11);
    assert_int_equal(job.last.stored_bytes, 12);
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        assert_int_equal(hf_job_retry_wait_s(i), waits[i]);
    }
    assert_int_equal(hf_job_retry_wait_s(UINT64_MAX), 3600);
}

static void test_a_record_of_an_earlier_installation_goes_on_as_it_was(void **state)
{
    static const char text[] =
        "{\"id\":\"010000000000000000000000\",\"projectId\":\"020000000000000000000000\","
        "\"clusterId\":\"010000000000000000000000\",\"storeId\":\"030000000000000000000000\","
        "\"setName\":\"rs0\",\"state\":\"STARTED\",\"nextCapture\":7,\"createdS\":5}";
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL, *again = NULL;
    struct hf_job_record job;
    struct hf_error err;
    (void)state;
    assert_int_equal(hf_json_decode(hf_str_of(text), 4096, &json, &err), HF_ERR_OK);
    assert_int_equal(hf_job_record_decode(json, &job, &err), HF_ERR_OK);
    assert_true(hf_job_does(&job).tails_oplog && hf_job_does(&job).takes_snapshots);
    assert_int_equal(job.run, 0);
    assert_string_equal(job.snapshot_wanted, "");
    make(&job, HF_JOB_STOP, 9);
    make(&job, HF_JOB_START, 10);
    again = hf_job_record_encode(&job);
    assert_int_equal(hf_job_record_decode(again, &job, &err), HF_ERR_OK);
    assert_int_equal(job.run, 1);
    assert_int_equal(job.started_s, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_move_of_the_table_is_made_and_every_other_one_refused),
        cmocka_unit_test(test_a_job_does_what_the_state_table_says),
        cmocka_unit_test(test_a_refusal_says_what_to_do),
        cmocka_unit_test(test_status_names_that_may_be_wished_for),
        cmocka_unit_test(test_a_life_from_start_to_start),
        cmocka_unit_test(test_data_above_the_threshold_wait_for_approval),
        cmocka_unit_test(test_failures_in_a_row_are_counted_and_waited_after),
        cmocka_unit_test(test_a_record_of_an_earlier_installation_goes_on_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
