/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps of a restore onto a whole set as messages: what goes in comes out, and what is none is refused by its field.
 */
#include "support/format_kit.h"

#include "format/message_internal.h"

HF_CLEANUP_DEFINE_VALUE(hf_task_target_fini, struct hf_task_target)

#define TARGET                                                                                     \
    "{\"step\":\"build\",\"restore\":\"0102030405060708090a0b0c\",\"member\":\"h:27017\","         \
    "\"set\":\"rs0\",\"arbiter\":false,\"inPlace\":true,"                                          \
    "\"snapshot\":\"1102030405060708090a0b0c\",\"capture\":7,"                                     \
    "\"checkpoint\":{\"s\":5,\"i\":6,\"t\":1},\"restoreInfo\":\"info\","                           \
    "\"config\":\"{}\",\"options\":\"[]\",\"login\":\"abc\","                                      \
    "\"point\":{\"kind\":\"date\",\"seconds\":9},\"base\":{\"fcv\":\"4.4\"}}"

static enum hf_err decode(const char *text, struct hf_task_target *out, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;

    EXPECT_OK(hf_json_decode(hf_str_of(text), (size_t)1 << 20, &json, err), err);
    *out = (struct hf_task_target){.capture = 0};
    return hf_task_target_from_json(json, out, err);
}

static void test_a_step_comes_back(void **state)
{
    HF_CLEANUP(hf_task_target_fini) struct hf_task_target target = {0}, back = {0};
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    struct hf_error err;

    (void)state;
    EXPECT_OK(decode(TARGET, &target, &err), &err);
    json = hf_task_target_to_json(&target, &err);
    assert_non_null(json);
    EXPECT_OK(hf_task_target_from_json(json, &back, &err), &err);
    assert_int_equal(back.step, HF_STEP_BUILD);
    assert_string_equal(hf_id_text(&back.restore).text, "0102030405060708090a0b0c");
    assert_string_equal(back.member, "h:27017");
    assert_string_equal(back.set_name, "rs0");
    assert_false(back.arbiter);
    assert_true(back.in_place);
    assert_string_equal(hf_id_text(&back.snapshot).text, "1102030405060708090a0b0c");
    assert_int_equal(back.capture, 7);
    assert_int_equal(back.checkpoint.seconds, 5);
    assert_int_equal(back.checkpoint.increment, 6);
    assert_int_equal(back.checkpoint.term, 1);
    assert_string_equal(back.restore_info, "info");
    assert_string_equal(back.config, "{}");
    assert_string_equal(back.options, "[]");
    assert_string_equal(back.login_print, "abc");
    assert_true(back.point.wanted);
    assert_true(back.point.date);
    assert_int_equal(back.point.seconds, 9);
    assert_string_equal(back.point.fcv, "4.4");
}

static void test_every_step_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (unsigned i = 0; i < HF_STEPS; i++) {
        HF_CLEANUP(hf_task_target_fini) struct hf_task_target back = {0};
        HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
        struct hf_task_target target = {.step = (enum hf_target_step)i,
                                        .restore = fixed_id(1),
                                        .member = "h:1",
                                        .arbiter = true};
        struct hf_error err;
        json = hf_task_target_to_json(&target, &err);
        assert_non_null(json);
        EXPECT_OK(hf_task_target_from_json(json, &back, &err), &err);
        assert_int_equal(back.step, i);
        /* Steps that build nothing carry nothing for it. */
        assert_true(back.arbiter);
        assert_null(back.restore_info);
        assert_null(back.config);
        assert_null(back.options);
        assert_null(back.root.lists);
        assert_false(back.point.wanted);
        assert_string_equal(back.login_print, "");
    }
}

static void refuse(const char *old, const char *new, enum hf_err code, const char *says)
{
    HF_CLEANUP(hf_task_target_fini) struct hf_task_target back = {0};
    const char *at = strstr(TARGET, old);
    struct hf_error err;

    assert_non_null(at);
    HF_CLEANUP(hf_free)
    char *text = hf_asprintf("%.*s%s%s", (int)(at - TARGET), TARGET, new, at + strlen(old));
    EXPECT_ERROR(decode(text, &back, &err), code, says, &err);
}

static void test_what_is_no_step_is_refused_by_its_field(void **state)
{
    HF_CLEANUP(hf_free) char *login = hf_asprintf("\"login\":\"%0*d\"", HF_LOGIN_PRINT_BYTES, 1);
    HF_CLEANUP(hf_free)
    char *info = hf_asprintf("\"restoreInfo\":\"%0*d\"", (int)HF_MESSAGE_INFO_BYTES + 1, 1);

    (void)state;
    refuse("\"step\":\"build\",", "", HF_ERR_INVALID, "target: member step is missing");
    refuse("\"build\"", "\"leap\"", HF_ERR_UNSUPPORTED, "target: unknown step \"leap\"");
    refuse("\"restore\":\"0102030405060708090a0b0c\",", "", HF_ERR_INVALID,
           "target: restore: missing");
    refuse("0102030405060708090a0b0c", "000000000000000000000000", HF_ERR_INVALID,
           "target: restore: an id of zeros alone");
    refuse("\"rs0\"", "0", HF_ERR_INVALID, "target: set: not a text");
    refuse("false", "0", HF_ERR_INVALID, "target: arbiter: neither true nor false");
    refuse("true", "\"true\"", HF_ERR_INVALID, "target: inPlace: neither true nor false");
    refuse("\"1102", "\"x102", HF_ERR_INVALID, "target: snapshot: not an id");
    refuse(":7,", ":-7,", HF_ERR_INVALID, "target: member capture");
    refuse("{\"s\":5", "{\"s\":\"5\"", HF_ERR_INVALID, "target: checkpoint: not an optime");
    refuse("\"date\"", "\"now\"", HF_ERR_UNSUPPORTED, "target: point: kind");
    refuse(",\"base\":{\"fcv\":\"4.4\"}", "", HF_ERR_INVALID, "target: member base");
    refuse("\"login\":\"abc\"", login, HF_ERR_INVALID, "target: login: 65 bytes");
    refuse("\"restoreInfo\":\"info\"", info, HF_ERR_INVALID, "target: restoreInfo: too long");
    refuse("\"info\"", "[\"info\"]", HF_ERR_INVALID, "target: restoreInfo: not a text");
    refuse("\"{}\"", "{}", HF_ERR_INVALID, "target: config: not a text");
    refuse("\"[]\"", "[]", HF_ERR_INVALID, "target: options: not a text");
    refuse("\"login\"", "\"root\":\"AAAA\",\"login\"", HF_ERR_INVALID, "target: root: not a root");
}

/* Its directory at the agent is named after it. */
static void test_a_member_that_would_be_a_path_is_refused(void **state)
{
    (void)state;
    refuse("\"member\":\"h:27017\",", "", HF_ERR_INVALID, "target: member: \"\"");
    refuse("h:27017", "", HF_ERR_INVALID, "target: member: \"\"");
    refuse("h:27017", "..", HF_ERR_INVALID, "target: member: \"..\"");
    refuse("h:27017", ".hidden:1", HF_ERR_INVALID, "target: member: \".hidden:1\"");
    refuse("h:27017", "a/../../b:1", HF_ERR_INVALID, "target: member: \"a/../../b:1\"");
    refuse("\"h:27017\"", "7", HF_ERR_INVALID, "target: member: not a text");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_step_comes_back),
        cmocka_unit_test(test_every_step_has_a_name_of_its_own),
        cmocka_unit_test(test_what_is_no_step_is_refused_by_its_field),
        cmocka_unit_test(test_a_member_that_would_be_a_path_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
