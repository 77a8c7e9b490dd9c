/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The choice of the member: backup-domain 4.2, rule by rule.
 */
#include "backup/member.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct hf_member_record member(const char *host, const char *state, uint64_t priority)
{
    struct hf_member_record record = {.priority_millis = priority * 1000};

    (void)snprintf(record.host, sizeof record.host, "%s", host);
    (void)snprintf(record.state, sizeof record.state, "%s", state);
    (void)snprintf(record.set_name, sizeof record.set_name, "rs0");
    return record;
}

static const char *choose(const struct hf_member_record *members, size_t count,
                          struct hf_member_wish wish)
{
    struct hf_member_choice choice;
    struct hf_error err;

    wish.set_name = "rs0";
    if (hf_member_choose(members, count, &wish, &choice, &err) != HF_ERR_OK) {
        return "";
    }
    assert_non_null(strstr(choice.reason, members[choice.index].host));
    return members[choice.index].host;
}

static void test_the_secondary_with_the_lowest_priority_is_chosen(void **state)
{
    struct hf_member_record members[] = {member("a:1", "PRIMARY", 2), member("b:1", "SECONDARY", 1),
                                         member("c:1", "SECONDARY", 0)};

    (void)state;
    assert_string_equal(choose(members, 3, (struct hf_member_wish){0}), "c:1");
}

static void test_the_previous_member_is_kept_over_a_lower_priority(void **state)
{
    struct hf_member_record members[] = {member("a:1", "PRIMARY", 2), member("b:1", "SECONDARY", 1),
                                         member("c:1", "SECONDARY", 0)};

    (void)state;
    assert_string_equal(choose(members, 3, (struct hf_member_wish){.previous = "b:1"}), "b:1");
}

static void test_a_previous_member_that_became_primary_is_not_kept(void **state)
{
    struct hf_member_record members[] = {member("a:1", "PRIMARY", 2),
                                         member("b:1", "SECONDARY", 1)};

    (void)state;
    assert_string_equal(choose(members, 2, (struct hf_member_wish){.previous = "a:1"}), "b:1");
}

static void
test_the_previous_member_is_kept_only_while_that_saves_more_than_a_sixteenth(void **state)
{
    struct hf_member_record members[] = {member("a:1", "PRIMARY", 2), member("b:1", "SECONDARY", 1),
                                         member("c:1", "SECONDARY", 0)};
    struct hf_member_cost costs[] = {{1600, 1600}, {100, 1600}, {1600, 1600}};
    const struct hf_member_wish wish = {.set_name = "rs0", .previous = "b:1", .costs = costs};
    struct hf_member_choice choice;
    struct hf_error err;
    char text[256];

    (void)state;
    assert_string_equal(choose(members, 3, wish), "b:1");
    assert_int_equal(hf_member_choose(members, 3, &wish, &choice, &err), HF_ERR_OK);
    assert_string_equal(choice.reason,
                        "b:1, the secondary of the previous snapshot: about 100 B to "
                        "send, after a change to c:1 about 1.6 KiB");
    hf_member_why(members, 2, &wish, &choice, text, sizeof text);
    assert_string_equal(text, "not needed: the previous member is kept");
    costs[2].send_bytes = 200; /* one that was captured not long ago */
    assert_string_equal(choose(members, 3, wish), "c:1");
    costs[2].send_bytes = 201;
    assert_string_equal(choose(members, 3, wish), "b:1");
    costs[1].send_bytes = 1550; /* so much changes that nothing is saved */
    costs[2].send_bytes = 1600;
    assert_string_equal(choose(members, 3, wish), "c:1");
    assert_int_equal(hf_member_choose(members, 3, &wish, &choice, &err), HF_ERR_OK);
    assert_string_equal(choice.reason,
                        "c:1, the secondary with the lowest priority: about 1.6 KiB to send, and "
                        "1.5 KiB from the previous member b:1");
    hf_member_why(members, 1, &wish, &choice, text, sizeof text);
    assert_string_equal(text, "not kept: it would save too little");
    hf_member_why(members, 0, &wish, &choice, text, sizeof text);
    assert_string_equal(text, "not needed: it is the primary");
    hf_member_why(members, 2, &wish, &choice, text, sizeof text);
    assert_string_equal(text, "chosen: the secondary with the lowest priority");
    members[1].lag_s = 30;
    hf_member_why(members, 1, &wish, &choice, text, sizeof text);
    assert_string_equal(text, "no: it lags 30 s behind");
    /* The primary is left whatever that costs. */
    assert_string_equal(
        choose(members, 3, (struct hf_member_wish){.previous = "a:1", .costs = costs}), "c:1");
}

static void test_the_operators_wish_comes_first_even_for_the_primary(void **state)
{
    struct hf_member_record members[] = {member("a:1", "PRIMARY", 2),
                                         member("b:1", "SECONDARY", 1)};

    (void)state;
    assert_string_equal(
        choose(members, 2, (struct hf_member_wish){.preferred = "a:1", .previous = "b:1"}), "a:1");
}

static void test_the_primary_serves_when_it_is_alone(void **state)
{
    struct hf_member_record members[] = {member("a:1", "PRIMARY", 2), member("b:1", "ARBITER", 0)};

    (void)state;
    assert_string_equal(choose(members, 2, (struct hf_member_wish){0}), "a:1");
}

static void test_delayed_lagging_silent_and_refused_members_are_left_out(void **state)
{
    struct hf_member_record members[] = {
        member("a:1", "PRIMARY", 2),   member("b:1", "SECONDARY", 0),
        member("c:1", "SECONDARY", 0), member("d:1", "SECONDARY", 0),
        member("e:1", "SECONDARY", 0), member("f:1", "SECONDARY", 5)};

    (void)state;
    members[1].delay_s = 3600;
    members[2].lag_s = HF_MEMBER_LAG_MAX_S + 1;
    members[3].silent_s = HF_AGENT_SILENT_MAX_S + 1;
    (void)snprintf(members[4].refusal, sizeof members[4].refusal, "FCV 4.0 takes no cursor");
    assert_string_equal(
        choose(members, 6, (struct hf_member_wish){.preferred = "b:1", .previous = "c:1"}), "f:1");
}

static void test_when_none_will_do_the_message_says_why_for_each(void **state)
{
    struct hf_member_record members[] = {member("a:1", "RECOVERING", 2),
                                         member("b:1", "SECONDARY", 0)};
    struct hf_member_wish wish = {.set_name = "rs0"};
    struct hf_member_choice choice;
    struct hf_error err;

    (void)state;
    members[1].lag_s = 60;
    assert_int_equal(hf_member_choose(members, 2, &wish, &choice, &err), HF_ERR_UNAVAILABLE);
    assert_string_equal(
        err.message,
        "no member of set rs0 can be captured: a:1: it is RECOVERING; b:1: it lags 60 s behind");
    wish.set_name = "rs1";
    assert_int_equal(hf_member_choose(members, 2, &wish, &choice, &err), HF_ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "no agent has reported a member of set rs1"));
}

static void test_a_member_record_comes_back_from_its_json(void **state)
{
    struct hf_member_record record = member("a:1", "SECONDARY", 1), back;
    struct hf_error err;

    (void)state;
    record.hidden = true;
    record.lag_s = 7;
    record.agent.bytes[0] = 9;
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_member_record_encode(&record);
    assert_int_equal(hf_member_record_decode(json, &back, &err), HF_ERR_OK);
    assert_memory_equal(&back, &record, sizeof back);
    hf_json_set_integer(json, "hidden", 1);
    assert_int_equal(hf_member_record_decode(json, &back, &err), HF_ERR_CORRUPT);
    assert_string_equal(err.message, "member record: 'hidden' has a value that does not fit");
    hf_json_remove(json, "host");
    assert_int_equal(hf_member_record_decode(json, &back, &err), HF_ERR_CORRUPT);
    assert_string_equal(err.message, "member record: 'host' is missing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_secondary_with_the_lowest_priority_is_chosen),
        cmocka_unit_test(test_the_previous_member_is_kept_over_a_lower_priority),
        cmocka_unit_test(test_a_previous_member_that_became_primary_is_not_kept),
        cmocka_unit_test(
            test_the_previous_member_is_kept_only_while_that_saves_more_than_a_sixteenth),
        cmocka_unit_test(test_the_operators_wish_comes_first_even_for_the_primary),
        cmocka_unit_test(test_the_primary_serves_when_it_is_alone),
        cmocka_unit_test(test_delayed_lagging_silent_and_refused_members_are_left_out),
        cmocka_unit_test(test_when_none_will_do_the_message_says_why_for_each),
        cmocka_unit_test(test_a_member_record_comes_back_from_its_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
