/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of settings from text and back, and settings in a configuration file.
 */
#include "config/setting.h"

#include "base/alloc.h"
#include "os/fs.h"
#include "unit/config/sample.h"

static void test_every_row_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_SET_COUNT; i++) {
        enum hf_setting_id id = (enum hf_setting_id)i;
        struct hf_setting_value value;
        struct hf_error err;
        char text[HF_SETTING_TEXT_BYTES];

        assert_int_equal(hf_setting_find(hf_str_of(hf_settings[i].name)), id);
        assert_non_null(strchr(hf_settings[i].name, '.')); /* or the file takes it for an option */
        assert_int_equal(hf_setting_parse(id, hf_settings[i].standard, "here", &value, &err),
                         HF_ERR_OK);
        hf_setting_text(id, &value, text);
        assert_string_equal(text, hf_settings[i].standard);
    }
    assert_int_equal(hf_setting_find(hf_str_of("brs.snapshotSchedule")), HF_SET_COUNT);
}

static void test_values(void **state)
{
    static const struct {
        enum hf_setting_id id;
        const char *text;
        bool good;
        uint64_t number;
    } cases[] = {
        {HF_SET_INTERVAL, "6", true, 6},
        {HF_SET_INTERVAL, "24", true, 24},
        {HF_SET_INTERVAL, "10", false, 0}, /* in the range, but none of them */
        {HF_SET_INTERVAL, "4", false, 0},
        {HF_SET_INTERVAL, "6.5", false, 0},
        {HF_SET_BASE_DAYS, "1", true, 1},
        {HF_SET_BASE_DAYS, "365", true, 365},
        {HF_SET_BASE_DAYS, "0", false, 0},
        {HF_SET_BASE_DAYS, "366", false, 0},
        {HF_SET_BASE_DAYS, "none", false, 0},
        {HF_SET_BASE_DAYS, "-1", false, 0},
        {HF_SET_BASE_DAYS, "", false, 0},
        {HF_SET_BASE_DAYS, "1 ", false, 0},
        {HF_SET_DAILY_DAYS, "none", true, 0},
        {HF_SET_DAILY_DAYS, "7", true, 7},
        {HF_SET_DAILY_DAYS, "0", false, 0},
        {HF_SET_WEEKLY_WEEKS, "52", true, 52},
        {HF_SET_WEEKLY_WEEKS, "53", false, 0},
        {HF_SET_MONTHLY_MONTHS, "84", true, 84},
        {HF_SET_MONTHLY_MONTHS, "85", false, 0},
        {HF_SET_WINDOW, "0", true, 0},
        {HF_SET_WINDOW, "1.5", true, 5400},
        {HF_SET_WINDOW, "0.125", true, 450},
        {HF_SET_WINDOW, "87600", true, 315360000},
        {HF_SET_WINDOW, "87600.001", false, 0},
        {HF_SET_WINDOW, "1.", false, 0},
        {HF_SET_WINDOW, ".5", false, 0},
        {HF_SET_WINDOW, "1.2345", false, 0},
        {HF_SET_WINDOW, "99999999999999999999", false, 0},
        {HF_SET_OPLOG_WINDOW, "3", true, 10800},
        {HF_SET_SPACE_PERCENT, "100", true, 100},
        {HF_SET_SPACE_PERCENT, "101", false, 0},
        {HF_SET_CENTRAL_URL, "https://backup.example:8443", true, 0},
        {HF_SET_CENTRAL_URL, "", true, 0},
        {HF_SET_CENTRAL_URL, "backup.example", false, 0},
        {HF_SET_CENTRAL_URL, "https://", false, 0},
        {HF_SET_CENTRAL_URL, "https://a/", false, 0},
        {HF_SET_CENTRAL_URL, "https://user@a", false, 0},
        {HF_SET_CENTRAL_URL, "https://a\nb", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        struct hf_setting_value value = {.number = 0};
        struct hf_error err;
        enum hf_err code = hf_setting_parse(cases[i].id, cases[i].text, "here", &value, &err);
        if ((code == HF_ERR_OK) != cases[i].good || value.number != cases[i].number) {
            fail_msg("%s = \"%s\": %d, %llu", hf_settings[cases[i].id].name, cases[i].text,
                     (int)code, (unsigned long long)value.number);
        }
        if (code != HF_ERR_OK) {
            assert_int_equal(code, HF_ERR_INVALID);
            assert_non_null(strstr(err.message, "here: \""));
            assert_non_null(strstr(err.message, "allowed: "));
        }
    }
}

/* ---- In a file ---- */

static enum hf_err read_file(const char *text, bool has_settings, struct hf_option_rest *rest,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *dir = NULL;
    HF_CLEANUP(hf_free) char *path = NULL;
    struct hf_option_table with = table;
    struct sample values;
    struct hf_error ignored;
    char config[] = "--config", data[] = "--data-dir=/d";

    with.has_settings = has_settings;
    assert_int_equal(hf_fs_make_temp_dir("hf-setting", &dir, err), HF_ERR_OK);
    path = hf_path_join(dir, "holdfast.conf");
    assert_non_null(path);
    assert_int_equal(hf_fs_publish_replace(path, hf_bytes_of_str(hf_str_of(text)), 0600, err),
                     HF_ERR_OK);
    char *argv[] = {data, config, path};
    const struct hf_option_input input = {.argc = 3, .argv = argv};
    enum hf_err code = hf_option_parse(&with, &input, &values, rest, err);
    if (code == HF_ERR_OK) {
        hf_option_fini(&with, &values);
    }
    assert_int_equal(hf_fs_remove_tree(dir, &ignored), HF_ERR_OK);
    return code;
}

static void test_a_file(void **state)
{
    HF_CLEANUP(hf_option_rest_fini) struct hf_option_rest rest = {.help = false};
    struct hf_error err = {.message = ""};
    enum hf_err code = read_file("# mine\nbrs.snapshotSchedule.interval=12\n"
                                 "brs.pitWindowInHours : 1.5 \n"
                                 "brs.snapshotSchedule.retention.daily = \"none\"\n",
                                 true, &rest, &err);

    (void)state;
    if (code != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    for (size_t i = 0; i < HF_SET_COUNT; i++) {
        bool wanted = i == HF_SET_INTERVAL || i == HF_SET_WINDOW || i == HF_SET_DAILY_DAYS;
        assert_int_equal(rest.settings.given[i], wanted);
    }
    assert_int_equal(rest.settings.values[HF_SET_INTERVAL].number, 12);
    assert_int_equal(rest.settings.values[HF_SET_WINDOW].number, 5400);
}

static void test_what_is_wrong_in_a_file_is_said_with_its_line(void **state)
{
    static const struct {
        const char *text, *error; /* part of it */
    } cases[] = {
        {"\nbrs.snapshotSchedule.interval = 7\n", "holdfast.conf line 2: \"7\" is no value"},
        {"# a\n\nbrs.snapshotSchedule.intervall = 6\n", "holdfast.conf line 3: there is no such"},
        {"brs.snapshotSchedule.intervall = 6\n", "did you mean brs.snapshotSchedule.interval?"},
        {"brs.pitWindowInHours=1\nbrs.pitWindowInHours=1\n", "line 2: \"1\" is a second value"},
        {"brs.queryable.proxyPort = 25999\n", "line 1: there is no such setting"},
    };

    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        HF_CLEANUP(hf_option_rest_fini) struct hf_option_rest rest = {.help = false};
        struct hf_error err;
        assert_int_equal(read_file(cases[i].text, true, &rest, &err), HF_ERR_INVALID);
        if (strstr(err.message, cases[i].error) == NULL) {
            fail_msg("'%s' is not in: %s", cases[i].error, err.message);
        }
    }
}

static void test_an_agents_file_has_none(void **state)
{
    HF_CLEANUP(hf_option_rest_fini) struct hf_option_rest rest = {.help = false};
    struct hf_error err;

    (void)state;
    assert_int_equal(read_file("brs.pitWindowInHours = 1\n", false, &rest, &err), HF_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_is_whole),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_a_file),
        cmocka_unit_test(test_what_is_wrong_in_a_file_is_said_with_its_line),
        cmocka_unit_test(test_an_agents_file_has_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
