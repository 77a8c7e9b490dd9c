/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which source of a setting wins, and that each setting is obeyed: over a catalog in memory.
 */
#include "server/settings.h"

#include "server/alert_settings.h"
#include "server/flow_schedule.h"
#include "support/server_kit.h"

struct rig {
    struct server_kit kit;
    struct hf_setting_layer options, file;
};

static int begin(void **state)
{
    static struct rig rig; /* mutable: made anew for each test */
    struct hf_error err;

    rig = (struct rig){.options = {.given = {false}}};
    server_kit_begin(&rig.kit);
    hf_alert_limits_init(&rig.kit.app.alerts.limits);
    EXPECT_OK(hf_settings_create(&rig.kit.app.settings, &err), &err);
    *state = &rig;
    return 0;
}

static int end(void **state)
{
    struct rig *rig = *state;

    hf_settings_destroy(rig->kit.app.settings);
    server_kit_end(&rig->kit);
    return 0;
}

static void put(struct hf_setting_layer *layer, enum hf_setting_id id, const char *text)
{
    struct hf_error err;

    layer->given[id] = text != NULL;
    if (text != NULL) {
        EXPECT_OK(hf_setting_parse(id, text, "here", &layer->values[id], &err), &err);
    }
}

static void obey(struct rig *rig)
{
    struct hf_error err;

    hf_settings_put(rig->kit.app.settings, &rig->options, &rig->file);
    assert_true(hf_settings_are_new(rig->kit.app.settings));
    EXPECT_OK(hf_settings_apply(&rig->kit.app, &err), &err);
    assert_false(hf_settings_are_new(rig->kit.app.settings));
}

static void set(struct rig *rig, enum hf_setting_id id, const char *text)
{
    struct hf_error err;

    EXPECT_OK(hf_settings_set(&rig->kit.app, id, text, &err), &err);
}

static void expect_window(struct rig *rig, uint64_t kept_s, enum hf_setting_source source)
{
    struct hf_setting_value value;

    assert_int_equal(hf_settings_get(rig->kit.app.settings, HF_SET_WINDOW, &value), source);
    assert_int_equal(value.number, kept_s);
    assert_int_equal(rig->kit.app.oplog_kept_s, kept_s);
}

static void test_the_stronger_source_wins(void **state)
{
    struct rig *rig = *state;
    struct hf_error err;

    obey(rig);
    expect_window(rig, 24 * 3600, HF_SETTING_BY_DEFAULT);
    set(rig, HF_SET_WINDOW, "1");
    expect_window(rig, 3600, HF_SETTING_BY_CATALOG);
    put(&rig->file, HF_SET_WINDOW, "2");
    obey(rig);
    expect_window(rig, 2 * 3600, HF_SETTING_BY_FILE);
    put(&rig->options, HF_SET_WINDOW, "3");
    obey(rig);
    expect_window(rig, 3 * 3600, HF_SETTING_BY_OPTION);
    set(rig, HF_SET_WINDOW, "4"); /* kept, not obeyed */
    expect_window(rig, 3 * 3600, HF_SETTING_BY_OPTION);
    put(&rig->file, HF_SET_WINDOW, NULL);
    put(&rig->options, HF_SET_WINDOW, NULL);
    obey(rig);
    expect_window(rig, 4 * 3600, HF_SETTING_BY_CATALOG);
    assert_int_equal(hf_settings_set(&rig->kit.app, HF_SET_WINDOW, "x", &err), HF_ERR_INVALID);
    expect_window(rig, 4 * 3600, HF_SETTING_BY_CATALOG);
    set(rig, HF_SET_WINDOW, NULL);
    expect_window(rig, 24 * 3600, HF_SETTING_BY_DEFAULT);
    set(rig, HF_SET_WINDOW, NULL); /* there is none: the same */
}

static struct hf_policy policy_of_job(struct rig *rig, uint8_t id)
{
    const struct hf_job_record job = {
        .id = fixed_id(id), .project = rig->kit.app.first_project, .set_name = "rs0"};
    struct hf_schedule_record record;
    uint64_t revision = 0;
    struct hf_error err;

    EXPECT_OK(hf_flow_schedule_open(&rig->kit.app, &job, &record, &revision, &err), &err);
    return record.policy;
}

static void test_a_new_job_has_its_schedule_from_the_settings(void **state)
{
    struct rig *rig = *state;

    put(&rig->file, HF_SET_INTERVAL, "12");
    put(&rig->file, HF_SET_DAILY_DAYS, "7");
    put(&rig->file, HF_SET_WEEKLY_WEEKS, "none");
    obey(rig);
    set(rig, HF_SET_BASE_DAYS, "3");
    set(rig, HF_SET_MONTHLY_MONTHS, "5");
    for (int i = 0; i < 2; i++) {
        struct hf_policy policy = policy_of_job(rig, 1);
        assert_int_equal(policy.interval_min, 12 * 60);
        assert_int_equal(policy.base_days, 3);
        assert_int_equal(policy.daily_days, 7);
        assert_int_equal(policy.weekly_weeks, 0);
        assert_int_equal(policy.monthly_months, 5);
        set(rig, HF_SET_BASE_DAYS, "9"); /* changes no job that is there */
        set(rig, HF_SET_MONTHLY_MONTHS, "none");
    }
    struct hf_policy other = policy_of_job(rig, 2);
    assert_int_equal(other.base_days, 9);
    assert_int_equal(other.monthly_months, 0);
}

static void test_what_acts_at_once(void **state)
{
    struct rig *rig = *state;
    struct hf_server_app *app = &rig->kit.app;
    struct hf_alert_config_record config;
    char url[300];

    obey(rig);
    assert_int_equal(app->oplog_window_min_s, 3 * 3600);
    hf_settings_url(app->settings, url, sizeof url);
    assert_string_equal(url, "");
    set(rig, HF_SET_OPLOG_WINDOW, "1.5");
    assert_int_equal(app->oplog_window_min_s, 5400);
    set(rig, HF_SET_CENTRAL_URL, "https://backup.example");
    hf_settings_url(app->settings, url, sizeof url);
    assert_string_equal(url, "https://backup.example");

    hf_alert_config_init(&config, HF_ALERT_OUTSIDE_SPACE_USED_THRESHOLD, &app->first_project, 0);
    assert_int_equal(hf_alert_settings_threshold(app, &config), 85);
    set(rig, HF_SET_SPACE_PERCENT, "60");
    assert_int_equal(hf_alert_settings_threshold(app, &config), 60);
    config.own_threshold = true; /* the alert's own wins */
    config.threshold = 70;
    assert_int_equal(hf_alert_settings_threshold(app, &config), 70);
    hf_alert_config_init(&config, HF_ALERT_BACKUP_AGENT_CONF_CALL_FAILURE, &app->first_project, 0);
    assert_int_equal(hf_alert_settings_threshold(app, &config), 10);
    set(rig, HF_SET_CONF_CALLS, "4");
    assert_int_equal(hf_alert_settings_threshold(app, &config), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_stronger_source_wins, begin, end),
        cmocka_unit_test_setup_teardown(test_a_new_job_has_its_schedule_from_the_settings, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_what_acts_at_once, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
