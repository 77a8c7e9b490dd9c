/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of a chain: what moves it, what does not, who is tailed next.
 */
#include "backup/head.h"
#include "backup/lifecycle.h"
#include "support/format_kit.h"

static const struct hf_optime none = {.term = -1};

static struct hf_optime at(uint32_t increment, int64_t term)
{
    return (struct hf_optime){.seconds = 100, .increment = increment, .term = term};
}

static struct hf_hash hash(uint8_t with)
{
    struct hf_hash out;
    memset(out.bytes, with, sizeof out.bytes);
    return out;
}

static struct hf_head_record fresh(void)
{
    struct hf_head_record head = {.id = fixed_id(1),
                                  .project = fixed_id(2),
                                  .last = none,
                                  .chain_first = none,
                                  .set_name = "rs0"};
    return head;
}

/* Entries first to last of a chain, whose hash after an entry is its increment. */
static struct hf_slice_header slice(uint8_t writer, uint32_t first, uint32_t last)
{
    struct hf_slice_header header = {.job = fixed_id(1),
                                     .writer = fixed_id(writer),
                                     .first = at(first, 1),
                                     .last = at(last, 1),
                                     .previous = first == 1 ? none : at(first - 1, 1),
                                     .broken_after = none,
                                     .cause = first == 1 ? HF_CHAIN_FIRST : HF_CHAIN_NONE,
                                     .sequence = first - 1,
                                     .entry_count = last - first + 1,
                                     .hash_before = hash((uint8_t)(first - 1)),
                                     .hash_after = hash((uint8_t)last),
                                     .object_bytes = 1000};
    (void)snprintf(header.set_name, sizeof header.set_name, "rs0");
    (void)snprintf(header.member, sizeof header.member, "a:1");
    (void)snprintf(header.fcv, sizeof header.fcv, "4.4");
    return header;
}

static const struct hf_id gap = {{7}};

static enum hf_err take(struct hf_head_record *head, const struct hf_slice_header *one, bool *moved,
                        struct hf_error *err)
{
    return hf_head_take(head, one, 1000, &gap, moved, err);
}

static void test_slices_move_the_head_one_after_the_other(void **state)
{
    struct hf_head_record head = fresh(), back;
    struct hf_slice_header first = slice(9, 1, 5), second = slice(9, 6, 8);
    struct hf_error err;
    bool moved = false;
    (void)state;
    struct hf_chain_point start = hf_head_point(&head);
    assert_int_equal(start.cause, HF_CHAIN_FIRST);
    EXPECT_OK(hf_chain_point_check(&start, &err), &err);
    EXPECT_OK(take(&head, &first, &moved, &err), &err);
    assert_true(moved);
    EXPECT_OK(take(&head, &second, &moved, &err), &err);
    assert_true(moved);
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_head_record_encode(&head);
    EXPECT_OK(hf_head_record_decode(json, &back, &err), &err);
    start = hf_head_point(&back);
    EXPECT_OK(hf_chain_point_check(&start, &err), &err);
    assert_int_equal(start.previous.increment, 8);
    assert_int_equal(start.sequence, 8);
    assert_true(hf_hash_equal(&start.hash, &second.hash_after));
    assert_string_equal(back.cause, "first");
    assert_int_equal(back.chain_first.increment, 1);
    assert_int_equal(back.slices, 2);
    assert_int_equal(back.bytes, 2000);
    assert_true(hf_id_is_none(&back.gap));
}

static void test_what_came_before_is_taken_and_moves_nothing(void **state)
{
    struct hf_head_record head = fresh();
    struct hf_slice_header slices[] = {slice(9, 1, 5), slice(9, 6, 8), slice(9, 9, 9)};
    struct hf_error err;
    bool moved = false;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        EXPECT_OK(take(&head, &slices[i], &moved, &err), &err);
    }
    for (size_t i = 1; i < 3; i++) {
        EXPECT_OK(take(&head, &slices[i], &moved, &err), &err);
        assert_false(moved);
    }
    assert_int_equal(head.last.increment, 9);
    assert_int_equal(head.slices, 3);
}

static void test_of_two_tailers_one_goes_on(void **state)
{
    struct hf_head_record head = fresh();
    struct hf_slice_header first = slice(9, 1, 5), ours = slice(9, 6, 8), theirs = slice(8, 6, 7);
    struct hf_error err;
    bool moved = false;
    (void)state;
    EXPECT_OK(take(&head, &first, &moved, &err), &err);
    EXPECT_OK(take(&head, &ours, &moved, &err), &err);
    EXPECT_ERROR(take(&head, &theirs, &moved, &err), HF_ERR_CONFLICT, "the head stands at 100.8/1",
                 &err);
    assert_false(moved);
}

static void
test_the_same_timestamp_of_another_term_or_history_is_no_place_to_go_on_from(void **state)
{
    struct hf_head_record head = fresh();
    struct hf_slice_header first = slice(9, 1, 5), next = slice(9, 6, 8);
    struct hf_error err;
    bool moved = false;
    (void)state;
    EXPECT_OK(take(&head, &first, &moved, &err), &err);
    next.previous.term = 2;
    assert_int_equal(take(&head, &next, &moved, &err), HF_ERR_CONFLICT);
    next = slice(9, 6, 8);
    next.hash_before.bytes[3] ^= 1;
    assert_int_equal(take(&head, &next, &moved, &err), HF_ERR_CONFLICT);
    next = slice(9, 6, 8);
    next.sequence = 6;
    assert_int_equal(take(&head, &next, &moved, &err), HF_ERR_CONFLICT);
    assert_int_equal(head.last.increment, 5);
}

static struct hf_slice_header begins(uint32_t first, enum hf_chain_cause cause,
                                     struct hf_optime broken_after)
{
    struct hf_slice_header header = slice(9, first, first + 2);
    header.previous = none;
    header.sequence = 0;
    header.hash_before = hash(0);
    header.cause = cause;
    header.broken_after = broken_after;
    return header;
}

static void test_a_chain_begins_anew_with_a_cause_that_is_remembered_until_it_was_told(void **state)
{
    struct hf_head_record head = fresh();
    struct hf_slice_header first = slice(9, 1, 5),
                           next = begins(20, HF_CHAIN_ROLLED_OVER, at(5, 1));
    struct hf_error err;
    bool moved = false;
    (void)state;
    EXPECT_OK(take(&head, &first, &moved, &err), &err);
    EXPECT_OK(take(&head, &next, &moved, &err), &err);
    assert_true(moved);
    assert_true(hf_id_equal(&head.gap, &gap));
    assert_non_null(strstr(head.gap_text, "rolledOver"));
    assert_non_null(strstr(head.gap_text, "ends with 100.5/1"));
    assert_non_null(strstr(head.gap_text, "from 100.20/1 on"));
    assert_int_equal(head.sequence, 3);
    assert_string_equal(head.cause, "rolledOver");
    assert_int_equal(head.chain_first.increment, 20);
}

static void test_a_chain_begins_anew_only_where_the_head_stands(void **state)
{
    struct hf_head_record head = fresh();
    struct hf_slice_header first = slice(9, 1, 5);
    struct hf_slice_header elsewhere = begins(20, HF_CHAIN_ROLLBACK, at(4, 1));
    struct hf_slice_header again = begins(20, HF_CHAIN_FIRST, at(5, 1));
    struct hf_slice_header servers = begins(20, HF_CHAIN_STORE_LOST, at(5, 1));
    struct hf_error err;
    bool moved = false;
    (void)state;
    EXPECT_OK(take(&head, &first, &moved, &err), &err);
    assert_int_equal(take(&head, &elsewhere, &moved, &err), HF_ERR_CONFLICT);
    EXPECT_ERROR(take(&head, &again, &moved, &err), HF_ERR_INVALID, "a first slice", &err);
    EXPECT_ERROR(take(&head, &servers, &moved, &err), HF_ERR_INVALID, "a cause that is not", &err);
    hf_head_lose(&head, HF_CHAIN_STORE_LOST);
    struct hf_chain_point start = hf_head_point(&head);
    EXPECT_OK(hf_chain_point_check(&start, &err), &err);
    assert_int_equal(start.cause, HF_CHAIN_STORE_LOST);
    assert_int_equal(start.broken_after.increment, 5);
    struct hf_slice_header on = slice(9, 6, 8);
    assert_int_equal(take(&head, &on, &moved, &err), HF_ERR_CONFLICT);
    EXPECT_OK(take(&head, &servers, &moved, &err), &err);
    assert_string_equal(head.next_cause, "");
}

static struct hf_member_record member(const char *host, const char *role, uint64_t priority)
{
    struct hf_member_record record = {.priority_millis = priority * 1000};
    (void)snprintf(record.host, sizeof record.host, "%s", host);
    (void)snprintf(record.state, sizeof record.state, "%s", role);
    (void)snprintf(record.set_name, sizeof record.set_name, "rs0");
    return record;
}

static const char *next_member(const struct hf_head_record *head,
                               const struct hf_member_record *members, size_t count)
{
    struct hf_member_choice choice;
    struct hf_error err;
    if (hf_head_choose_member(head, members, count, "", &choice, &err) != HF_ERR_OK) {
        return "";
    }
    return members[choice.index].host;
}

static void test_the_tailed_member_is_kept_and_left_when_a_tail_fails_there(void **state)
{
    struct hf_member_record members[] = {member("a:1", "PRIMARY", 2), member("b:1", "SECONDARY", 1),
                                         member("c:1", "SECONDARY", 0)};
    struct hf_head_record head = fresh();
    (void)state;
    assert_string_equal(next_member(&head, members, 3), "c:1");
    (void)snprintf(head.member, sizeof head.member, "b:1");
    assert_string_equal(next_member(&head, members, 3), "b:1");
    hf_head_end_tail(&head, HF_ERR_LOST, "began anew", 1000);
    assert_string_equal(next_member(&head, members, 3), "b:1");
    hf_head_end_tail(&head, HF_ERR_UNAVAILABLE, "it does not answer", 1000);
    assert_string_equal(next_member(&head, members, 3), "c:1");
    assert_string_equal(head.problem, "b:1: it does not answer");
    assert_string_equal(next_member(&head, members, 2), "a:1");
    assert_string_equal(next_member(&head, &members[1], 1), "b:1");
}

static void test_a_member_whose_oplog_begins_behind_the_head_is_the_last_choice(void **state)
{
    struct hf_member_record members[] = {member("a:1", "PRIMARY", 2),
                                         member("b:1", "SECONDARY", 1)};
    struct hf_head_record head = fresh();
    (void)state;
    head.last = (struct hf_optime){.seconds = 1000, .increment = 1, .term = 1};
    members[0].oplog_first_s = 500;
    members[1].oplog_first_s = 1000;
    assert_string_equal(next_member(&head, members, 2), "b:1");
    members[1].oplog_first_s = 1001; /* resynced */
    assert_string_equal(next_member(&head, members, 2), "a:1");
    members[0].oplog_first_s = 2000; /* both break the chain: the usual rule */
    assert_string_equal(next_member(&head, members, 2), "b:1");
    members[0].oplog_first_s = 500;
    hf_head_lose(&head, HF_CHAIN_STORE_LOST); /* it breaks anyway */
    assert_string_equal(next_member(&head, members, 2), "b:1");
}

static void test_tails_that_fail_are_tried_ever_later_until_a_slice_comes(void **state)
{
    struct hf_head_record head = fresh();
    struct hf_slice_header first = slice(9, 1, 5);
    struct hf_error err;
    bool moved = false;
    (void)state;
    assert_true(hf_head_may_begin(&head, 0));
    hf_head_end_tail(&head, HF_ERR_UNAVAILABLE, "away", 1000);
    assert_true(hf_head_may_begin(&head, 1000)); /* another member at once */
    hf_head_end_tail(&head, HF_ERR_UNAVAILABLE, "away", 1000);
    assert_false(hf_head_may_begin(&head, 1001));
    assert_true(hf_head_may_begin(&head, 1002));
    for (unsigned i = 0; i < 100; i++) {
        hf_head_end_tail(&head, HF_ERR_UNAVAILABLE, "away", 1000);
    }
    assert_false(hf_head_may_begin(&head, 1000 + HF_HEAD_WAIT_MAX_S - 1));
    assert_true(hf_head_may_begin(&head, 1000 + HF_HEAD_WAIT_MAX_S));
    assert_true(hf_head_may_begin(&head, 999)); /* the clock was set back */
    EXPECT_OK(take(&head, &first, &moved, &err), &err);
    assert_true(hf_head_may_begin(&head, 1000));
    hf_head_end_tail(&head, HF_ERR_CANCELLED, "stopped", 1000);
    assert_int_equal(head.failures, 0);
}

static void test_a_short_oplog_is_one_that_is_full(void **state)
{
    struct hf_member_record now = member("a:1", "PRIMARY", 1), before = member("a:1", "PRIMARY", 1);
    (void)state;
    before.oplog_first_s = 1000;
    before.oplog_last_s = 1060;
    now.oplog_first_s = 1000;
    now.oplog_last_s = 1070;
    hf_member_follow(&now, &before);
    assert_false(hf_member_window_is_short(&now, 100)); /* young */
    now.oplog_first_s = 1010;
    hf_member_follow(&now, &before);
    assert_true(hf_member_window_is_short(&now, 100));
    assert_false(hf_member_window_is_short(&now, 60));
    before = now;
    now.oplog_last_s = 2000;
    hf_member_follow(&now, &before);
    assert_false(hf_member_window_is_short(&now, 100));
    assert_true(now.oplog_rolls);
    before = now;
    now.oplog_first_s = 5; /* another oplog */
    hf_member_follow(&now, &before);
    assert_false(now.oplog_rolls);
    now.oplog_first_s = 0;
    hf_member_follow(&now, &before);
    assert_int_equal(now.oplog_first_s, 1010);
    assert_true(now.oplog_rolls);
}

static struct hf_snapshot_record snapshot(enum hf_snapshot_state in, uint64_t created_s,
                                          uint64_t finished_s)
{
    return (struct hf_snapshot_record){
        .state = in, .created_s = created_s, .finished_s = finished_s};
}

static const struct hf_job_record *wanted(uint64_t since_s, uint64_t capture)
{
    static struct hf_job_record job;

    job = (struct hf_job_record){.wanted_s = since_s, .wanted_capture = capture};
    return &job;
}

static void test_a_wanted_snapshot_is_had_when_one_that_was_begun_later_is_complete(void **state)
{
    struct hf_snapshot_record list[] = {
        snapshot(HF_SNAPSHOT_COMPLETE, 999, 1001), snapshot(HF_SNAPSHOT_FAILED, 1000, 1100),
        snapshot(HF_SNAPSHOT_ABANDONED, 1200, 1300), snapshot(HF_SNAPSHOT_IN_PROGRESS, 1400, 0)};
    (void)state;
    assert_int_equal(hf_snapshot_wanted(list, 1, wanted(1000, 0), 1000), HF_WANTED_TAKE);
    assert_int_equal(hf_snapshot_wanted(list, 1, wanted(999, 0), 1000), HF_WANTED_HAD);
    assert_int_equal(hf_snapshot_wanted(list, 2, wanted(1000, 0), 1159), HF_WANTED_WAIT);
    assert_int_equal(hf_snapshot_wanted(list, 2, wanted(1000, 0), 1160), HF_WANTED_TAKE);
    assert_int_equal(hf_snapshot_wanted(list, 3, wanted(1000, 0), 1419), HF_WANTED_WAIT);
    assert_int_equal(hf_snapshot_wanted(list, 3, wanted(1000, 0), 1420), HF_WANTED_TAKE);
    assert_int_equal(hf_snapshot_wanted(list, 4, wanted(1000, 0), 9999), HF_WANTED_WAIT);
    list[3].state = HF_SNAPSHOT_COMPLETE;
    assert_int_equal(hf_snapshot_wanted(list, 4, wanted(1000, 0), 9999), HF_WANTED_HAD);
    /* By their numbers: one may have been begun and wanted anew in the same second, and clocks are set back. */
    list[0].capture = 7;
    assert_int_equal(hf_snapshot_wanted(list, 1, wanted(999, 8), 1000), HF_WANTED_TAKE);
    assert_int_equal(hf_snapshot_wanted(list, 1, wanted(5000, 7), 1000), HF_WANTED_HAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices_move_the_head_one_after_the_other),
        cmocka_unit_test(test_what_came_before_is_taken_and_moves_nothing),
        cmocka_unit_test(test_of_two_tailers_one_goes_on),
        cmocka_unit_test(
            test_the_same_timestamp_of_another_term_or_history_is_no_place_to_go_on_from),
        cmocka_unit_test(
            test_a_chain_begins_anew_with_a_cause_that_is_remembered_until_it_was_told),
        cmocka_unit_test(test_a_chain_begins_anew_only_where_the_head_stands),
        cmocka_unit_test(test_the_tailed_member_is_kept_and_left_when_a_tail_fails_there),
        cmocka_unit_test(test_a_member_whose_oplog_begins_behind_the_head_is_the_last_choice),
        cmocka_unit_test(test_tails_that_fail_are_tried_ever_later_until_a_slice_comes),
        cmocka_unit_test(test_a_short_oplog_is_one_that_is_full),
        cmocka_unit_test(test_a_wanted_snapshot_is_had_when_one_that_was_begun_later_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
