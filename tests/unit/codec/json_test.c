/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values are built, read, copied and walked; what memory refused is never encoded as if it were whole.
 */
#include "json_room.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/thread.h"

static struct hf_json *build(void)
{
    struct hf_json *object = hf_json_object();
    struct hf_json *array = hf_json_array();
    hf_json_set_text(object, "text", "caf\xC3\xA9");
    hf_json_set_text(object, "key\xFF", "bad\xFF");
    hf_json_set_text(object, "left_out", NULL);
    hf_json_set_str(object, "str", (struct hf_str){.data = "partial", .len = 4});
    hf_json_set_str(object, "left_out", (struct hf_str){.data = NULL, .len = 0});
    hf_json_set_str(object, "empty", (struct hf_str){.data = "", .len = 0});
    hf_json_set_integer(object, "integer", INT64_MIN);
    hf_json_set_u64(object, "u64", 12);
    hf_json_set_u64(object, "clamped", UINT64_MAX);
    hf_json_set_real(object, "real", 0.1);
    hf_json_set_bool(object, "yes", true);
    hf_json_set_bool(object, "no", false);
    hf_json_set_null(object, "null");
    hf_json_append_text(array, "one");
    hf_json_append_text(array, NULL);
    hf_json_append_integer(array, 2);
    hf_json_append_take(array, hf_json_object());
    for (int i = 0; i < 20; i++) { /* past what an array has room for at first */
        hf_json_append_integer(array, i);
    }
    hf_json_set_take(object, "array", array);
    return object;
}

#define BUILT                                                                                      \
    "{\"array\":[\"one\",2,{},0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19],"                 \
    "\"clamped\":9223372036854775807,\"empty\":\"\",\"integer\":-9223372036854775808,"             \
    "\"key\xEF\xBF\xBD\":\"bad\xEF\xBF\xBD\",\"no\":false,\"null\":null,\"real\":0.1,\"str\":"     \
    "\"part\",\"text\":\"caf\xC3\xA9\","                                                           \
    "\"u64\":12,\"yes\":true}"

static void test_what_is_built_is_encoded_with_sorted_keys(void **state)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *object = build();
    (void)state;
    assert_encodes(object, BUILT);
}

static void test_a_text_that_must_fit_gets_no_longer(void **state)
{
    static const char *const texts[][2] = {
        {"plain", "plain"},
        {"caf\xC3\xA9", "caf\xC3\xA9"},
        {"cut \xC3", "cut ?"},
        {"\xFF\xE2\x82 \xE2\x82\xAC", "??? \xE2\x82\xAC"},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(texts); i++) {
        HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
        hf_json_set_text_same_length(json, "a", texts[i][0]);
        assert_string_equal(hf_json_get_text(json, "a"), texts[i][1]);
    }
}

static void test_members_are_read_by_type_or_fall_back(void **state)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *object = build();
    (void)state;
    assert_string_equal(hf_json_get_text(object, "text"), "caf\xC3\xA9");
    assert_null(hf_json_get_text(object, "integer"));
    assert_null(hf_json_get_text(object, "absent"));
    assert_null(hf_json_get_text(object, "null"));
    assert_null(hf_json_get(object, "null"));
    assert_non_null(hf_json_get(object, "no"));
    assert_null(hf_json_get(NULL, "x"));
    assert_null(hf_json_get(hf_json_get(object, "array"), "x"));
    assert_true(hf_json_get_integer(object, "integer", 5) == INT64_MIN);
    assert_int_equal(hf_json_get_integer(object, "real", 5), 5);
    assert_int_equal(hf_json_get_u64(object, "u64", 5), 12);
    assert_int_equal(hf_json_get_u64(object, "integer", 5), 5); /* negative */
    assert_int_equal(hf_json_get_u64(object, "text", 5), 5);
    assert_true(hf_json_get_real(object, "real", 5) == 0.1);
    assert_true(hf_json_get_real(object, "u64", 5) == 12.0);
    assert_true(hf_json_get_real(object, "text", 5) == 5.0);
    assert_true(hf_json_get_bool(object, "yes", false));
    assert_false(hf_json_get_bool(object, "no", true));
    assert_true(hf_json_get_bool(object, "u64", true));
    assert_non_null(hf_json_get_array(object, "array"));
    assert_null(hf_json_get_object(object, "array"));
    assert_null(hf_json_get_array(object, "text"));
    assert_non_null(hf_json_at(hf_json_get(object, "array"), 2));
}

static void test_types_are_told_apart(void **state)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *array = decoded("[null,true,false,1,1.5,\"t\",[],{}]");
    static const enum hf_json_type types[] = {HF_JSON_NULL,    HF_JSON_BOOL,  HF_JSON_BOOL,
                                              HF_JSON_INTEGER, HF_JSON_REAL,  HF_JSON_TEXT,
                                              HF_JSON_ARRAY,   HF_JSON_OBJECT};
    (void)state;
    assert_int_equal(hf_json_count(array), HF_ARRAY_LEN(types));
    for (size_t i = 0; i < HF_ARRAY_LEN(types); i++) {
        assert_int_equal(hf_json_type(hf_json_at(array, i)), types[i]);
    }
    assert_int_equal(hf_json_type(NULL), HF_JSON_NULL);
    assert_null(hf_json_at(array, HF_ARRAY_LEN(types)));
    assert_null(hf_json_at(NULL, 0));
    assert_int_equal(hf_json_count(NULL), 0);
    assert_int_equal(hf_json_count(hf_json_at(array, 3)), 0);
    assert_string_equal(hf_json_text(hf_json_at(array, 5)), "t");
    assert_null(hf_json_text(hf_json_at(array, 3)));
    assert_int_equal(hf_json_integer(hf_json_at(array, 3), 9), 1);
    assert_int_equal(hf_json_integer(hf_json_at(array, 4), 9), 9);
    assert_int_equal(hf_json_integer(NULL, 9), 9);
}

static void test_setting_again_replaces_and_removing_removes(void **state)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *object = hf_json_object();
    (void)state;
    hf_json_set_integer(object, "a", 1);
    hf_json_set_text(object, "a", "two");
    hf_json_set_integer(object, "b", 3);
    assert_encodes(object, "{\"a\":\"two\",\"b\":3}");
    hf_json_remove(object, "a");
    hf_json_remove(object, "absent");
    hf_json_remove(NULL, "absent");
    assert_encodes(object, "{\"b\":3}");
    assert_int_equal(hf_json_count(object), 1);
}

static void test_a_walk_sees_every_member_once(void **state)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *object = decoded("{\"b\":1,\"a\":2,\"c\":null}");
    HF_CLEANUP(hf_json_drop) struct hf_json *empty = hf_json_object();
    struct hf_json *value;
    const char *key;
    char seen[4] = "";
    size_t count = 0;
    (void)state;
    void *at = NULL;
    while ((key = hf_json_next(object, &at, &value)) != NULL) {
        assert_non_null(value);
        seen[count++] = key[0];
    }
    assert_string_equal(seen, "bac"); /* as they came */
    at = NULL;
    assert_null(hf_json_next(empty, &at, &value));
    assert_null(hf_json_next(NULL, &at, &value));
}

static void test_references_are_shared_and_copies_are_not(void **state)
{
    struct hf_json *object = decoded("{\"list\":[1]}");
    struct hf_json *held = hf_json_hold(object);
    HF_CLEANUP(hf_json_drop) struct hf_json *copy = hf_json_copy(object);
    (void)state;
    assert_ptr_equal(held, object);
    assert_true(hf_json_equal(object, copy));
    hf_json_append_integer(hf_json_get_array(object, "list"), 2);
    assert_false(hf_json_equal(object, copy));
    hf_json_drop(object);
    assert_encodes(held, "{\"list\":[1,2]}");
    assert_encodes(copy, "{\"list\":[1]}");
    hf_json_drop(held);
    assert_null(hf_json_hold(NULL));
    assert_null(hf_json_copy(NULL));
    hf_json_drop(NULL);
    assert_true(hf_json_equal(NULL, NULL));
    assert_false(hf_json_equal(copy, NULL));
    assert_false(hf_json_equal(NULL, copy));
}

static void test_order_of_members_does_not_matter_for_equality(void **state)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *a = decoded("{\"a\":1,\"b\":[1,2]}");
    HF_CLEANUP(hf_json_drop) struct hf_json *b = decoded("{\"b\":[1,2],\"a\":1}");
    HF_CLEANUP(hf_json_drop) struct hf_json *c = decoded("{\"b\":[2,1],\"a\":1}");
    (void)state;
    assert_true(hf_json_equal(a, b));
    assert_false(hf_json_equal(a, c));
}

static void test_what_json_cannot_hold_is_replaced(void **state)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *object = hf_json_object();
    (void)state;
    hf_json_set_text(object, "bad", "a\xFFz\xE2\x82");
    hf_json_set_text(object, "bad2", "\xE2\x82z\xC0\x80\xED\xA0\x80");
    hf_json_set_str(object, "nul", (struct hf_str){.data = "a\0z", .len = 3});
    hf_json_set_text(object, "key\xC0", "x");
    hf_json_set_real(object, "nan", (double)NAN);
    hf_json_set_real(object, "infinite", (double)INFINITY);
    assert_encodes(object, "{\"bad\":\"a\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD\","
                           "\"bad2\":\"\xEF\xBF\xBD\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD"
                           "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\","
                           "\"infinite\":null,\"key\xEF\xBF\xBD\":\"x\",\"nan\":null,"
                           "\"nul\":\"a\xEF\xBF\xBDz\"}");
}

static void test_needed_members_are_named_when_they_fail(void **state)
{
    HF_CLEANUP(hf_json_drop)
    struct hf_json *object = decoded("{\"t\":\"x\",\"n\":7,\"neg\":-1,\"o\":{},\"a\":[],"
                                     "\"null\":null,\"big\":9223372036854775807}");
    struct hf_error err;
    const char *text = NULL;
    uint64_t number = 0;
    struct hf_json *value = NULL;
    (void)state;
    assert_int_equal(hf_json_need_text(object, "t", &text, &err), HF_ERR_OK);
    assert_string_equal(text, "x");
    assert_int_equal(hf_json_need_text(object, "absent", &text, &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "member absent is missing");
    assert_int_equal(hf_json_need_text(object, "null", &text, &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "member null is missing");
    assert_int_equal(hf_json_need_text(object, "n", &text, &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "member n is not a text");
    assert_int_equal(hf_json_need_u64(object, "n", 7, 7, &number, &err), HF_ERR_OK);
    assert_int_equal(number, 7);
    assert_int_equal(hf_json_need_u64(object, "n", 8, 9, &number, &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "member n: 7 is not within 8 to 9");
    assert_int_equal(hf_json_need_u64(object, "n", 0, 6, &number, &err), HF_ERR_INVALID);
    assert_int_equal(hf_json_need_u64(object, "neg", 0, UINT64_MAX, &number, &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "member neg: -1 is not within 0 to 18446744073709551615");
    assert_int_equal(hf_json_need_u64(object, "big", 0, UINT64_MAX, &number, &err), HF_ERR_OK);
    assert_true(number == INT64_MAX);
    assert_int_equal(hf_json_need_u64(object, "t", 0, 9, &number, &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "member t is not an integer");
    assert_int_equal(hf_json_need_object(object, "o", &value, &err), HF_ERR_OK);
    assert_int_equal(hf_json_type(value), HF_JSON_OBJECT);
    assert_int_equal(hf_json_need_object(object, "a", &value, &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "member a is not an object");
    assert_int_equal(hf_json_need_array(object, "a", &value, &err), HF_ERR_OK);
    assert_int_equal(hf_json_type(value), HF_JSON_ARRAY);
    assert_int_equal(hf_json_need_array(NULL, "a", &value, &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "member a is missing");
}

/* Each allocation refused in turn: the outcome is the whole value or NO_MEMORY, never a part. */
static void test_no_lost_member_goes_unnoticed(void **state)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(1 << 16);
    struct hf_error err;
    uint64_t nth = 0;
    enum hf_err code;
    (void)state;
    do {
        hf_fault_disarm_all();
        hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, ++nth, 1);
        HF_CLEANUP(hf_json_drop) struct hf_json *object = build();
        bool refused = hf_fault_passes("base.alloc") >= nth;
        hf_fault_disarm_all();
        HF_CLEANUP(hf_json_drop) struct hf_json *copy = hf_json_copy(object);
        hf_buf_clear(&out);
        code = hf_json_encode(object, 0, &out, &err);
        assert_int_equal(code, refused ? HF_ERR_NO_MEMORY : HF_ERR_OK);
        if (refused) {
            assert_string_equal(err.message, "json: memory ran out while it was built");
            assert_int_equal(out.len, 0);
            assert_null(copy);
        }
    } while (code != HF_ERR_OK);
    assert_string_equal(hf_buf_text(&out), BUILT);
    assert_true(nth > 40);
}

static void test_a_lost_member_deep_inside_is_noticed(void **state)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(1 << 16);
    HF_CLEANUP(hf_json_drop) struct hf_json *outer = hf_json_array();
    struct hf_json *inner = hf_json_object();
    struct hf_error err;
    (void)state;
    hf_json_append_take(outer, inner);
    hf_json_set_take(inner, "made", NULL); /* what made it failed */
    assert_int_equal(hf_json_encode(outer, 0, &out, &err), HF_ERR_NO_MEMORY);
    assert_null(hf_json_copy(outer));
    HF_CLEANUP(hf_json_drop) struct hf_json *list = hf_json_array();
    hf_json_append_take(list, NULL);
    assert_int_equal(hf_json_encode(list, 0, &out, &err), HF_ERR_NO_MEMORY);
    assert_int_equal(hf_json_encode(NULL, 0, &out, &err), HF_ERR_NO_MEMORY);
}

static void test_building_on_what_could_not_be_made_does_nothing(void **state)
{
    (void)state;
    hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, 1, 2);
    struct hf_json *object = hf_json_object();
    struct hf_json *array = hf_json_array();
    assert_null(object);
    assert_null(array);
    hf_json_set_text(object, "a", "b");
    hf_json_set_take(object, "a", hf_json_object()); /* taken, also when it goes nowhere */
    hf_json_append_take(array, hf_json_object());
    hf_json_append_text(array, "x");
}

static void test_copying_can_run_out_of_memory(void **state)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *object = build();
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        hf_fault_disarm_all();
        hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, nth, 1);
        HF_CLEANUP(hf_json_drop) struct hf_json *copy = hf_json_copy(object);
        if (copy != NULL) {
            assert_true(hf_fault_passes("base.alloc") < nth);
            assert_true(hf_json_equal(copy, object));
            break;
        }
        assert_true(nth < 1000);
    }
}

static void hold_and_drop(void *argument)
{
    for (int i = 0; i < 20000; i++) {
        hf_json_drop(hf_json_hold(argument));
    }
}

static void test_threads_may_share_a_reference_count(void **state)
{
    struct hf_json *object = build();
    struct hf_thread *threads[4];
    struct hf_error err;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(hf_thread_start("holds", hold_and_drop, object, &threads[i], &err),
                         HF_ERR_OK);
    }
    for (size_t i = 0; i < 4; i++) {
        hf_thread_join(threads[i]);
    }
    assert_encodes(object, BUILT);
    hf_json_drop(object);
}

static int signal_when(void (*deed)(void))
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)signal(SIGABRT, SIG_DFL);
        (void)close(STDERR_FILENO);
        deed();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void set_on_an_array(void)
{
    hf_json_set_integer(hf_json_array(), "a", 1);
}

static void append_to_an_object(void)
{
    hf_json_append_integer(hf_json_object(), 1);
}

static void test_building_on_the_wrong_type_is_a_bug_and_stops(void **state)
{
    (void)state;
    assert_int_equal(signal_when(set_on_an_array), SIGABRT);
    assert_int_equal(signal_when(append_to_an_object), SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_built_is_encoded_with_sorted_keys),
        cmocka_unit_test(test_a_text_that_must_fit_gets_no_longer),
        cmocka_unit_test(test_members_are_read_by_type_or_fall_back),
        cmocka_unit_test(test_types_are_told_apart),
        cmocka_unit_test(test_setting_again_replaces_and_removing_removes),
        cmocka_unit_test(test_a_walk_sees_every_member_once),
        cmocka_unit_test(test_references_are_shared_and_copies_are_not),
        cmocka_unit_test(test_order_of_members_does_not_matter_for_equality),
        cmocka_unit_test(test_what_json_cannot_hold_is_replaced),
        cmocka_unit_test(test_needed_members_are_named_when_they_fail),
        cmocka_unit_test_teardown(test_no_lost_member_goes_unnoticed, disarm),
        cmocka_unit_test(test_a_lost_member_deep_inside_is_noticed),
        cmocka_unit_test_teardown(test_building_on_what_could_not_be_made_does_nothing, disarm),
        cmocka_unit_test_teardown(test_copying_can_run_out_of_memory, disarm),
        cmocka_unit_test(test_threads_may_share_a_reference_count),
        cmocka_unit_test(test_building_on_the_wrong_type_is_a_bug_and_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
