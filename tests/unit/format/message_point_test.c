/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Points in time inside messages: what goes in comes out, and what is none is refused by the name of its field.
 */
#include "support/format_kit.h"

#include "format/message_point.h"

HF_CLEANUP_DEFINE_VALUE(hf_task_point_fini, struct hf_task_point)

#define POINT                                                                                      \
    "\"point\":{\"kind\":\"timestamp\",\"seconds\":1795450667,\"increment\":68,"                   \
    "\"last\":{\"s\":1795450667,\"i\":68,\"t\":3}}"
#define BASE                                                                                       \
    "\"base\":{\"checkpoint\":{\"s\":1795450600,\"i\":1,\"t\":2},"                                 \
    "\"oplogEnd\":{\"s\":1795450610,\"i\":4,\"t\":3},"                                             \
    "\"committed\":{\"s\":1795450609,\"i\":2,\"t\":3},"                                            \
    "\"fcv\":\"4.4\",\"version\":\"4.4.6-8\",\"engineOptions\":{\"directoryPerDB\":true}}"
#define TASK "{" POINT "," BASE "}"
#define REPLAY                                                                                     \
    "{\"replay\":{\"top\":{\"s\":7,\"i\":8,\"t\":9},\"compared\":10,\"inserted\":11,"              \
    "\"insertedBytes\":12,\"validated\":13,\"wrong\":14,\"notes\":\"app.c: counted anew\"}}"

static struct hf_json *json_of(const char *text)
{
    struct hf_json *json = NULL;
    struct hf_error err;

    EXPECT_OK(hf_json_decode(hf_str_of(text), (size_t)1 << 20, &json, &err), &err);
    return json;
}

/* The text with its one occurrence of old replaced; "" takes it away. */
static char *with(const char *text, const char *old, const char *new)
{
    const char *at = strstr(text, old);

    assert_non_null(at);
    assert_null(strstr(at + 1, old));
    char *changed = hf_asprintf("%.*s%s%s", (int)(at - text), text, new, at + strlen(old));
    assert_non_null(changed);
    return changed;
}

static void assert_optime(struct hf_optime optime, uint32_t seconds, uint32_t increment,
                          int64_t term)
{
    assert_int_equal(optime.seconds, seconds);
    assert_int_equal(optime.increment, increment);
    assert_int_equal(optime.term, term);
}

/* ---- In a task ---- */

static void test_a_point_comes_back(void **state)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = json_of(TASK);
    HF_CLEANUP(hf_json_drop) struct hf_json *again = hf_json_object();
    HF_CLEANUP(hf_task_point_fini) struct hf_task_point point = {0}, back = {0};
    struct hf_error err;

    (void)state;
    EXPECT_OK(hf_task_point_get(json, &point, &err), &err);
    EXPECT_OK(hf_task_point_set(again, &point, &err), &err);
    EXPECT_OK(hf_task_point_get(again, &back, &err), &err);
    assert_true(back.wanted);
    assert_false(back.date);
    assert_int_equal(back.seconds, 1795450667);
    assert_int_equal(back.increment, 68);
    assert_optime(back.last, 1795450667, 68, 3);
    assert_optime(back.checkpoint, 1795450600, 1, 2);
    assert_optime(back.oplog_end, 1795450610, 4, 3);
    assert_optime(back.committed, 1795450609, 2, 3);
    assert_string_equal(back.fcv, "4.4");
    assert_string_equal(back.server_version, "4.4.6-8");
    assert_true(hf_json_get_bool(back.engine_options, "directoryPerDB", false));
}

static void test_a_date_comes_back_as_one(void **state)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    HF_CLEANUP(hf_task_point_fini) struct hf_task_point back = {0};
    const struct hf_task_point point = {.wanted = true, .date = true, .seconds = 5};
    struct hf_error err;

    (void)state;
    EXPECT_OK(hf_task_point_set(json, &point, &err), &err);
    EXPECT_OK(hf_task_point_get(json, &back, &err), &err);
    assert_true(back.date);
    assert_int_equal(back.seconds, 5);
    assert_null(back.engine_options);
}

/* A restore of the snapshot as it is says nothing of a point: an agent of before points reads it too. */
static void test_no_point_is_no_field(void **state)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    HF_CLEANUP(hf_task_point_fini) struct hf_task_point back = {0};
    struct hf_error err;

    (void)state;
    EXPECT_OK(hf_task_point_set(json, &(const struct hf_task_point){.wanted = false}, &err), &err);
    assert_null(hf_json_get(json, "point"));
    assert_null(hf_json_get(json, "base"));
    EXPECT_OK(hf_task_point_get(json, &back, &err), &err);
    assert_false(back.wanted);
}

/* No term is -1, which no election gives: 0 would be taken for one. */
static void test_what_a_point_does_not_say_is_none(void **state)
{
    HF_CLEANUP(hf_json_drop)
    struct hf_json *json = json_of("{\"point\":{\"kind\":\"date\"},\"base\":{}}");
    HF_CLEANUP(hf_task_point_fini) struct hf_task_point back = {0};
    struct hf_error err;

    (void)state;
    EXPECT_OK(hf_task_point_get(json, &back, &err), &err);
    assert_int_equal(back.seconds, 0);
    assert_int_equal(back.increment, 0);
    assert_optime(back.last, 0, 0, -1);
    assert_optime(back.checkpoint, 0, 0, -1);
    assert_optime(back.oplog_end, 0, 0, -1);
    assert_optime(back.committed, 0, 0, -1);
    assert_string_equal(back.fcv, "");
    assert_string_equal(back.server_version, "");
    assert_null(back.engine_options);
}

struct refusal {
    const char *old, *new, *says;
    enum hf_err code;
};

static void refuse_task(const struct refusal *refusal)
{
    HF_CLEANUP(hf_free) char *text = with(TASK, refusal->old, refusal->new);
    HF_CLEANUP(hf_json_drop) struct hf_json *json = json_of(text);
    struct hf_task_point point;
    struct hf_error err;

    EXPECT_ERROR(hf_task_point_get(json, &point, &err), refusal->code, refusal->says, &err);
    assert_null(point.engine_options); /* nothing is left to free */
}

static void test_a_point_that_is_none_is_refused_by_its_field(void **state)
{
    static const struct refusal refusals[] = {
        {"," BASE, "", "base", HF_ERR_INVALID},
        {POINT, "\"point\":[]", "point", HF_ERR_INVALID},
        {"\"kind\":\"timestamp\",", "", "point: member kind", HF_ERR_INVALID},
        {"\"timestamp\"", "7", "point: member kind", HF_ERR_INVALID},
        {"\"timestamp\"", "\"entry\"", "point: kind: \"entry\"", HF_ERR_UNSUPPORTED},
        {"\"seconds\":1795450667", "\"seconds\":4294967296", "point: member seconds",
         HF_ERR_INVALID},
        {"\"seconds\":1795450667", "\"seconds\":\"5\"", "point: member seconds", HF_ERR_INVALID},
        {"\"increment\":68", "\"increment\":-1", "point: member increment", HF_ERR_INVALID},
        {"\"increment\":68", "\"increment\":4294967296", "point: member increment", HF_ERR_INVALID},
        {"{\"s\":1795450667,\"i\":68,\"t\":3}", "5", "point: last", HF_ERR_INVALID},
        {"\"i\":68,\"t\":3", "\"t\":3", "point: last", HF_ERR_INVALID},
        {"\"i\":68,\"t\":3", "\"i\":68,\"t\":-2", "point: last", HF_ERR_INVALID},
    };

    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(refusals); i++) {
        refuse_task(&refusals[i]);
    }
}

static void test_a_base_that_is_none_is_refused_by_its_field(void **state)
{
    static const struct refusal refusals[] = {
        {"," BASE, ",\"base\":1", "base", HF_ERR_INVALID},
        {"{\"s\":1795450600,\"i\":1,\"t\":2}", "[]", "base: checkpoint", HF_ERR_INVALID},
        {"\"s\":1795450600", "\"s\":4294967296", "base: checkpoint", HF_ERR_INVALID},
        {"\"s\":1795450610,", "", "base: oplogEnd", HF_ERR_INVALID},
        {"\"i\":2,", "\"i\":2.5,", "base: committed", HF_ERR_INVALID},
        {"\"fcv\":\"4.4\"", "\"fcv\":4.4", "base: fcv: not a text", HF_ERR_INVALID},
        {"\"version\":\"4.4.6-8\"", "\"version\":[\"4\"]", "base: version: not a text",
         HF_ERR_INVALID},
        {"{\"directoryPerDB\":true}", "\"directoryPerDB\"", "base: engineOptions: not an object",
         HF_ERR_INVALID},
    };
    HF_CLEANUP(hf_free) char *word = hf_asprintf("\"fcv\":\"%0*d\"", HF_WORD_BYTES, 4);
    const struct refusal too_long = {"\"fcv\":\"4.4\"", word, "at most", HF_ERR_INVALID};

    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(refusals); i++) {
        refuse_task(&refusals[i]);
    }
    refuse_task(&too_long);
}

/* ---- In a finish ---- */

static void test_what_a_replay_did_comes_back(void **state)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = json_of(REPLAY);
    HF_CLEANUP(hf_json_drop) struct hf_json *again = hf_json_object();
    struct hf_msg_replay replay, back;
    struct hf_error err;

    (void)state;
    EXPECT_OK(hf_msg_replay_get(json, &replay, &err), &err);
    hf_msg_replay_set(again, &replay);
    EXPECT_OK(hf_msg_replay_get(again, &back, &err), &err);
    assert_true(back.done);
    assert_optime(back.top, 7, 8, 9);
    assert_int_equal(back.compared, 10);
    assert_int_equal(back.inserted, 11);
    assert_int_equal(back.inserted_bytes, 12);
    assert_int_equal(back.validated, 13);
    assert_int_equal(back.wrong, 14);
    assert_string_equal(back.notes, "app.c: counted anew");
}

static void test_no_replay_is_no_field(void **state)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    struct hf_msg_replay back;
    struct hf_error err;

    (void)state;
    hf_msg_replay_set(json, &(const struct hf_msg_replay){.done = false, .compared = 5});
    assert_null(hf_json_get(json, "replay"));
    EXPECT_OK(hf_msg_replay_get(json, &back, &err), &err);
    assert_false(back.done);
}

static void test_a_replay_that_says_nothing_is_one_all_the_same(void **state)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = json_of("{\"replay\":{}}");
    struct hf_msg_replay back;
    struct hf_error err;

    (void)state;
    EXPECT_OK(hf_msg_replay_get(json, &back, &err), &err);
    assert_true(back.done);
    assert_optime(back.top, 0, 0, -1);
    assert_int_equal(back.wrong, 0);
    assert_string_equal(back.notes, "");
}

static void refuse_replay(const struct refusal *refusal)
{
    HF_CLEANUP(hf_free) char *text = with(REPLAY, refusal->old, refusal->new);
    HF_CLEANUP(hf_json_drop) struct hf_json *json = json_of(text);
    struct hf_msg_replay replay;
    struct hf_error err;

    EXPECT_ERROR(hf_msg_replay_get(json, &replay, &err), refusal->code, refusal->says, &err);
}

static void test_a_replay_that_is_none_is_refused_by_its_field(void **state)
{
    static const struct refusal refusals[] = {
        {"{\"s\":7,\"i\":8,\"t\":9}", "\"7\"", "replay: top: not an optime", HF_ERR_INVALID},
        {"\"compared\":10", "\"compared\":\"10\"", "replay: member compared", HF_ERR_INVALID},
        {"\"inserted\":11", "\"inserted\":-1", "replay: member inserted", HF_ERR_INVALID},
        {"\"insertedBytes\":12", "\"insertedBytes\":1e3", "replay: member insertedBytes",
         HF_ERR_INVALID},
        {"\"validated\":13", "\"validated\":true", "replay: member validated", HF_ERR_INVALID},
        {"\"wrong\":14", "\"wrong\":{}", "replay: member wrong", HF_ERR_INVALID},
        {"\"app.c: counted anew\"", "0", "replay: notes: not a text", HF_ERR_INVALID},
    };
    HF_CLEANUP(hf_json_drop) struct hf_json *none = json_of("{\"replay\":true}");
    HF_CLEANUP(hf_free) char *text = hf_asprintf("\"%0*d\"", HF_REPLAY_NOTES_BYTES, 4);
    const struct refusal too_long = {"\"app.c: counted anew\"", text, "replay: notes: 4096 bytes",
                                     HF_ERR_INVALID};
    struct hf_msg_replay replay;
    struct hf_error err;

    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(refusals); i++) {
        refuse_replay(&refusals[i]);
    }
    refuse_replay(&too_long);
    EXPECT_ERROR(hf_msg_replay_get(none, &replay, &err), HF_ERR_INVALID, "replay", &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_point_comes_back),
        cmocka_unit_test(test_a_date_comes_back_as_one),
        cmocka_unit_test(test_no_point_is_no_field),
        cmocka_unit_test(test_what_a_point_does_not_say_is_none),
        cmocka_unit_test(test_a_point_that_is_none_is_refused_by_its_field),
        cmocka_unit_test(test_a_base_that_is_none_is_refused_by_its_field),
        cmocka_unit_test(test_what_a_replay_did_comes_back),
        cmocka_unit_test(test_no_replay_is_no_field),
        cmocka_unit_test(test_a_replay_that_says_nothing_is_one_all_the_same),
        cmocka_unit_test(test_a_replay_that_is_none_is_refused_by_its_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
