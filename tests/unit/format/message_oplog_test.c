/* SPDX-License-Identifier: Apache-2.0 */
#include "support/format_kit.h"

#include "format/message.h"

static struct hf_task tail_task(void)
{
    struct hf_task task = {
        .id = fixed_id(1),
        .attempt = fixed_id(2),
        .kind = HF_TASK_TAIL,
        .keyring = fixed_keyring(true),
        .tail = {.member = "a:1",
                 .set_name = "rs0",
                 .fcv = "4.4",
                 .writer = fixed_id(3),
                 .start = {.previous = {.seconds = 100, .increment = 2, .term = -1},
                           .hash = {{7, 8, 9}},
                           .sequence = 41},
                 .target_bytes = 1 << 20,
                 .age_ms = 500,
                 .noop_age_ms = 700},
    };
    return task;
}

static struct hf_json *json_of(const struct hf_task *task)
{
    struct hf_json *json = hf_task_to_json(task, &(struct hf_task_json_options){.with_keys = true});
    assert_non_null(json);
    return json;
}

static void test_a_tail_task_comes_back(void **state)
{
    struct hf_error err;
    struct hf_task task = tail_task();
    HF_CLEANUP(hf_task_fini) struct hf_task back = {.kind = HF_TASK_CAPTURE};
    HF_CLEANUP(hf_json_drop) struct hf_json *json = json_of(&task);
    (void)state;
    EXPECT_OK(hf_task_from_json(json, &back, &err), &err);
    assert_int_equal(back.kind, HF_TASK_TAIL);
    assert_string_equal(back.tail.member, "a:1");
    assert_string_equal(back.tail.set_name, "rs0");
    assert_string_equal(back.tail.fcv, "4.4");
    assert_true(hf_id_equal(&back.tail.writer, &task.tail.writer));
    assert_int_equal(back.tail.start.previous.seconds, 100);
    assert_int_equal(back.tail.start.previous.increment, 2);
    assert_int_equal(back.tail.start.previous.term, -1);
    assert_true(hf_hash_equal(&back.tail.start.hash, &task.tail.start.hash));
    assert_int_equal(back.tail.start.sequence, 41);
    assert_int_equal(back.tail.start.cause, HF_CHAIN_NONE);
    assert_true(hf_optime_is_none(&back.tail.start.broken_after));
    assert_int_equal(back.tail.target_bytes, 1 << 20);
    assert_int_equal(back.tail.age_ms, 500);
    assert_int_equal(back.tail.noop_age_ms, 700);
    assert_false(back.keyring.has_seal_key);
}

static void test_a_start_carries_every_cause(void **state)
{
    struct hf_error err;
    (void)state;
    for (unsigned cause = HF_CHAIN_FIRST; cause < HF_CHAIN_CAUSE_COUNT; cause++) {
        struct hf_task task = tail_task();
        task.tail.fcv[0] = '\0';
        task.tail.start = (struct hf_chain_point){
            .cause = (enum hf_chain_cause)cause,
            .broken_after = {.seconds = 9, .increment = 1, .term = 3},
        };
        HF_CLEANUP(hf_task_fini) struct hf_task back = {.kind = HF_TASK_CAPTURE};
        HF_CLEANUP(hf_json_drop) struct hf_json *json = json_of(&task);
        EXPECT_OK(hf_task_from_json(json, &back, &err), &err);
        assert_int_equal(back.tail.start.cause, cause);
        assert_true(hf_optime_is_none(&back.tail.start.previous));
        assert_int_equal(back.tail.start.broken_after.term, 3);
        assert_string_equal(back.tail.fcv, "");
    }
}

#define ID "\"0102030405060708090a0b0c\""
#define HASH "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=\""
#define HEAD "\"member\":\"a\",\"set\":\"s\",\"writer\":" ID
#define PLACE "\"previous\":{\"s\":1,\"i\":1,\"t\":1},\"cause\":\"none\""

static void test_what_is_wrong_with_a_tail_task_is_named(void **state)
{
    static const struct {
        const char *tail;
        const char *message;
    } tasks[] = {
        {"\"set\":\"s\",\"writer\":" ID ",\"start\":{\"cause\":\"first\"}",
         "task: tail: member: missing"},
        {"\"member\":\"a\",\"writer\":" ID ",\"start\":{\"cause\":\"first\"}",
         "task: tail: set: missing"},
        {"\"member\":\"a\",\"set\":\"s\",\"start\":{\"cause\":\"first\"}", "tail: writer: missing"},
        {HEAD, "task: tail: member start is missing"},
        {HEAD ",\"start\":{}", "tail: start: member cause is missing"},
        {HEAD ",\"start\":{\"cause\":\"bored\"}", "tail: start: cause: \"bored\""},
        {HEAD ",\"start\":{\"cause\":\"none\"}", "start: neither a chain's start nor a place"},
        {HEAD ",\"start\":{\"cause\":\"first\",\"sequence\":1}", "neither a chain's start"},
        {HEAD ",\"start\":{\"cause\":\"first\",\"sequence\":-1}", "start: member sequence"},
        {HEAD ",\"start\":{" PLACE ",\"sequence\":5}", "start: member hash is missing"},
        {HEAD ",\"start\":{" PLACE ",\"sequence\":5,\"hash\":\"AAAA\"}", "start: hash: 3 bytes"},
        {HEAD ",\"start\":{" PLACE ",\"sequence\":5,\"hash\":" HASH ",\"brokenAfter\":7}",
         "brokenAfter: not an optime"},
        {HEAD ",\"start\":{" PLACE ",\"hash\":" HASH "}", "neither a chain's start"},
        {HEAD ",\"start\":{\"cause\":\"first\"},\"targetBytes\":99999999",
         "tail: member targetBytes"},
        {HEAD ",\"start\":{\"cause\":\"first\"},\"ageMs\":-1", "tail: member ageMs"},
    };
    struct hf_error err;
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(tasks); i++) {
        HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
        HF_CLEANUP(hf_task_fini) struct hf_task back = {.kind = HF_TASK_CAPTURE};
        char text[1024];
        (void)snprintf(text, sizeof text,
                       "{\"task\":" ID ",\"attempt\":" ID
                       ",\"kind\":\"tail\",\"limits\":{},\"tail\":{%s}}",
                       tasks[i].tail);
        EXPECT_OK(hf_json_decode(hf_str_of(text), sizeof text, &json, &err), &err);
        EXPECT_ERROR(hf_task_from_json(json, &back, &err), HF_ERR_INVALID, tasks[i].message, &err);
    }
}

static void test_an_unknown_kind_is_unsupported(void **state)
{
    static const char text[] =
        "{\"task\":" ID ",\"attempt\":" ID ",\"kind\":\"tale\",\"limits\":{},\"tale\":{}}";
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    struct hf_task back;
    struct hf_error err;
    (void)state;
    EXPECT_OK(hf_json_decode(hf_str_of(text), sizeof text, &json, &err), &err);
    EXPECT_ERROR(hf_task_from_json(json, &back, &err), HF_ERR_UNSUPPORTED,
                 "task of unknown kind \"tale\"", &err);
}

static struct hf_msg_slice a_slice(void)
{
    struct hf_object_name name = {.kind = HF_OBJECT_OPLOG,
                                  .job = fixed_id(9),
                                  .writer = fixed_id(3),
                                  .first_optime = {.seconds = 5, .increment = 1, .term = 1},
                                  .last_optime = {.seconds = 6, .increment = 1, .term = 1}};
    struct hf_msg_slice slice = {.agent = fixed_id(1),
                                 .session = "s",
                                 .task = fixed_id(2),
                                 .attempt = fixed_id(4),
                                 .lag_s = 3,
                                 .lag_entries = 12};
    (void)snprintf(slice.object, sizeof slice.object, "%s", hf_object_name_text(&name).text);
    return slice;
}

static void test_a_slice_call_comes_back(void **state)
{
    struct hf_error err;
    struct hf_msg_slice slice = a_slice();
    struct hf_msg_slice back;
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(4096);
    (void)state;
    EXPECT_OK(hf_msg_slice_encode(&slice, &bytes, &err), &err);
    EXPECT_OK(hf_msg_slice_decode(buf_str(&bytes), &back, &err), &err);
    assert_true(hf_id_equal(&back.agent, &slice.agent));
    assert_true(hf_id_equal(&back.task, &slice.task));
    assert_true(hf_id_equal(&back.attempt, &slice.attempt));
    assert_string_equal(back.session, "s");
    assert_string_equal(back.object, slice.object);
    assert_int_equal(back.lag_s, 3);
    assert_int_equal(back.lag_entries, 12);
    hf_buf_clear(&bytes);
    EXPECT_OK(hf_msg_slice_answer_encode(&bytes, &err), &err);
    EXPECT_OK(hf_msg_slice_answer_decode(buf_str(&bytes), &err), &err);
}

static void test_a_slice_call_names_a_slice(void **state)
{
#define CALL "{\"protocol\":1,\"agent\":" ID ",\"session\":\"s\",\"task\":" ID ",\"attempt\":" ID
    static const struct {
        const char *text;
        const char *message;
    } calls[] = {
        {CALL "}", "slice: "},
        {CALL ",\"object\":\"j/../x\"}", "slice: "},
        {CALL ",\"object\":\"j/0102030405060708090a0b0c/c/0102030405060708090a0b0c\"}",
         "slice: object: j/0102030405060708090a0b0c/c/0102030405060708090a0b0c is no slice"},
        {CALL ",\"object\":7}", "slice: object: not a text"},
        {CALL ",\"object\":\"x\",\"lagS\":-1}", "slice: member lagS"},
        {"{\"protocol\":1,\"agent\":" ID "}", "slice: task: missing"},
    };
    struct hf_error err;
    struct hf_msg_slice back;
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(calls); i++) {
        EXPECT_ERROR(hf_msg_slice_decode(hf_str_of(calls[i].text), &back, &err), HF_ERR_INVALID,
                     calls[i].message, &err);
    }
    EXPECT_ERROR(hf_msg_slice_decode(hf_str_of("{\"protocol\":2}"), &back, &err),
                 HF_ERR_UNSUPPORTED, "slice: protocol version 2", &err);
    EXPECT_ERROR(hf_msg_slice_answer_decode(hf_str_of("[]"), &err), HF_ERR_INVALID,
                 "answer to slice: not an object", &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_tail_task_comes_back),
        cmocka_unit_test(test_a_start_carries_every_cause),
        cmocka_unit_test(test_what_is_wrong_with_a_tail_task_is_named),
        cmocka_unit_test(test_an_unknown_kind_is_unsupported),
        cmocka_unit_test(test_a_slice_call_comes_back),
        cmocka_unit_test(test_a_slice_call_names_a_slice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
