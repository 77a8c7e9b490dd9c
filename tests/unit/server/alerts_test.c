/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passes over a catalog in memory: every alert is raised by what stands there, told once, and over when it is mended.
 */
#include "server/alerts.h"

#include "base/fault.h"
#include "server/alert_settings.h"
#include "server/flow.h"
#include "support/server_kit.h"

struct rig {
    struct server_kit kit;
    struct hf_id job, agent;
};

static void change_job(struct rig *rig, void (*change)(struct hf_job_record *job))
{
    struct hf_job_record job;
    struct hf_error err;
    uint64_t revision = 0;
    EXPECT_OK(hf_keep_job_get(rig->kit.app.catalog, &rig->job, &job, &revision, &err), &err);
    change(&job);
    EXPECT_OK(hf_keep_job_replace(rig->kit.app.catalog, &job, &revision, &err), &err);
}

static void change_head(struct rig *rig, void (*change)(struct hf_head_record *head))
{
    struct hf_head_record head;
    struct hf_error err;
    uint64_t revision = 0;
    EXPECT_OK(hf_keep_head_get(rig->kit.app.catalog, &rig->job, &head, &revision, &err), &err);
    change(&head);
    EXPECT_OK(hf_keep_head_replace(rig->kit.app.catalog, &head, &revision, &err), &err);
}

static void change_usage(struct rig *rig, void (*change)(struct hf_usage_record *usage))
{
    struct hf_usage_record usage;
    struct hf_error err;
    uint64_t revision = 0;
    EXPECT_OK(hf_keep_usage_get(rig->kit.app.catalog, &rig->job, &usage, &revision, &err), &err);
    change(&usage);
    EXPECT_OK(hf_keep_usage_replace(rig->kit.app.catalog, &usage, &revision, &err), &err);
}

static void see_member(struct rig *rig)
{
    struct hf_error err;
    struct hf_msg_member member = {.address = "m0:1",
                                   .set_name = "rs0",
                                   .state = "PRIMARY",
                                   .primary = "m0:1",
                                   .priority = 1,
                                   .readable = true,
                                   .set_members = 1};
    const struct hf_msg_members members = {.items = &member, .count = 1};
    const struct hf_flow_sight sight = {
        .agent = rig->agent, .project = rig->kit.app.first_project, .members = &members};
    EXPECT_OK(hf_flow_put_members(&rig->kit.app, &sight, &err), &err);
}

static int begin(void **state)
{
    static struct rig rig;
    struct hf_server_app *app = &rig.kit.app;
    struct hf_error err;

    server_kit_begin(&rig.kit);
    hf_mutex_init(&app->works_mutex);
    app->alerts = (struct hf_server_alerts){
        .host = "h",
    };
    hf_alert_limits_init(&app->alerts.limits);
    app->alerts.limits.of[HF_ALERT_OUTSIDE_SPACE_USED_THRESHOLD] = 100;
    app->alerts.limits.of[HF_ALERT_LOW_CATALOG_FREE_SPACE] = 0;
    memset(app->failed_calls, 0, sizeof app->failed_calls);
    app->upkeep = (struct hf_upkeep_policy){.living_percent = 75, .groom_every_s = 86400};
    rig.job = fixed_id(0x11);
    rig.agent = fixed_id(0x22);
    uint64_t now_s = hf_flow_now_s();
    const struct hf_job_record job = {.id = rig.job,
                                      .project = app->first_project,
                                      .cluster = fixed_id(3),
                                      .store = fixed_id(6),
                                      .set_name = "rs0",
                                      .started_s = now_s - 10 * 86400,
                                      .state = HF_JOB_STARTED};
    struct hf_head_record head = {.id = rig.job,
                                  .project = app->first_project,
                                  .set_name = "rs0",
                                  .member = "m0:1",
                                  .last = {.seconds = (uint32_t)now_s, .increment = 1, .term = 1}};
    memset(head.hash, '0', sizeof head.hash - 1);
    const struct hf_usage_record usage = {.id = rig.job,
                                          .project = app->first_project,
                                          .store = fixed_id(6),
                                          .set_name = "rs0",
                                          .created_s = now_s - 10 * 86400,
                                          .counted_s = now_s,
                                          .living_bytes = 10};
    struct hf_agent_record agent = {
        .id = rig.agent, .project = app->first_project, .host = "db1", .release = HF_VERSION};
    agent.seen_s = now_s;
    EXPECT_OK(hf_keep_job_insert(app->catalog, &job, &err), &err);
    EXPECT_OK(hf_keep_head_insert(app->catalog, &head, &err), &err);
    EXPECT_OK(hf_keep_usage_insert(app->catalog, &usage, &err), &err);
    EXPECT_OK(hf_keep_agent_insert(app->catalog, &agent, &err), &err);
    see_member(&rig);
    *state = &rig;
    return 0;
}

static int end(void **state)
{
    struct rig *rig = *state;
    server_kit_end(&rig->kit);
    return 0;
}

static void look(struct rig *rig)
{
    struct hf_error err;
    EXPECT_OK(hf_alerts_pass(&rig->kit.app, &err), &err);
}

/* The newest of a type, and how many there are; NULL-terminated status "" when there is none. */
static size_t find(struct rig *rig, enum hf_alert_type type, struct hf_alert_record *out)
{
    HF_CLEANUP(hf_keep_alerts_fini) struct hf_keep_alerts alerts = {0};
    const struct hf_catalog_query all = {.limit = 1000};
    struct hf_error err;
    size_t count = 0;
    EXPECT_OK(hf_keep_alert_find(rig->kit.app.catalog, &all, &alerts, &err), &err);
    *out = (struct hf_alert_record){.number = 0};
    for (size_t i = 0; i < alerts.count; i++) {
        if (alerts.items[i].type == type) {
            count++;
            *out = alerts.items[i].number > out->number ? alerts.items[i] : *out;
        }
    }
    return count;
}

static size_t events(struct rig *rig, const char *type)
{
    HF_CLEANUP(hf_keep_events_fini) struct hf_keep_events found = {0};
    const struct hf_catalog_query all = {.limit = 1000};
    struct hf_error err;
    size_t count = 0;
    EXPECT_OK(hf_keep_event_find(rig->kit.app.catalog, &all, &found, &err), &err);
    for (size_t i = 0; i < found.count; i++) {
        count += strcmp(found.items[i].type, type) == 0;
    }
    return count;
}

/* The patience of a type is over. */
static void wait_patience(struct rig *rig, struct hf_alert_record *alert)
{
    struct hf_error err;
    uint64_t revision = 0;
    assert_int_equal(alert->status, HF_ALERT_TRACKING);
    EXPECT_OK(hf_keep_alert_get(rig->kit.app.catalog, &alert->id, alert, &revision, &err), &err);
    alert->created_s -= hf_alert_kinds[alert->type].patience_s;
    EXPECT_OK(hf_keep_alert_replace(rig->kit.app.catalog, alert, &revision, &err), &err);
}

static void expect_open(struct rig *rig, enum hf_alert_type type)
{
    const struct hf_alert_kind *kind = &hf_alert_kinds[type];
    struct hf_alert_record alert;
    look(rig);
    if (kind->patience_s > 0) {
        assert_int_equal(find(rig, type, &alert), 1);
        wait_patience(rig, &alert);
        look(rig);
    }
    look(rig);
    if (find(rig, type, &alert) != 1 || alert.status != HF_ALERT_OPEN) {
        fail_msg("%s is not open, once", kind->name);
    }
    assert_int_equal(alert.notices, 1);
    assert_int_equal(events(rig, kind->name), kind->told ? 0 : 1);
    assert_true(alert.text[0] != '\0');
}

static void expect_closed(struct rig *rig, enum hf_alert_type type)
{
    struct hf_alert_record alert;
    look(rig);
    look(rig);
    assert_int_equal(find(rig, type, &alert), 1);
    if (alert.status != HF_ALERT_CLOSED) {
        fail_msg("%s is %s", hf_alert_kinds[type].name, hf_alert_status_word(alert.status));
    }
    assert_int_equal(events(rig, hf_alert_kinds[type].over), 1);
}

/* ---- What makes and ends them ---- */

static void head_old(struct hf_head_record *head)
{
    head->last.seconds -= 76 * 60;
}
static void head_new(struct hf_head_record *head)
{
    head->last.seconds += 76 * 60;
}
static void window_short(struct hf_head_record *head)
{
    head->told_window = true;
}
static void window_long(struct hf_head_record *head)
{
    head->told_window = false;
}
static void chain_lost(struct hf_head_record *head)
{
    hf_head_lose(head, HF_CHAIN_RESUMED);
}
static void chain_again(struct hf_head_record *head)
{
    head->next_cause[0] = '\0';
}
static void tails_failed(struct hf_head_record *head)
{
    head->failures = 10;
}
static void tails_go(struct hf_head_record *head)
{
    head->failures = 0;
}
static void aborted(struct hf_job_record *job)
{
    job->failures = 3;
}
static void succeeded(struct hf_job_record *job)
{
    job->failures = 0;
}
static void unbound(struct hf_job_record *job)
{
    job->state = HF_JOB_PROVISIONING;
    (void)snprintf(job->problem, sizeof job->problem, "no store has room");
}
static void bound(struct hf_job_record *job)
{
    job->problem[0] = '\0';
}
static void stuck(struct hf_job_record *job)
{
    job->state = HF_JOB_TERMINATING;
    (void)snprintf(job->problem, sizeof job->problem, "the store refuses");
}
static void damaged(struct hf_usage_record *usage)
{
    usage->damaged_snapshots = 2;
}
static void whole(struct hf_usage_record *usage)
{
    usage->damaged_snapshots = 0;
}
static void upkeep_failed(struct hf_usage_record *usage)
{
    usage->failures = 3;
    usage->failed_s = hf_flow_now_s();
}
static void upkeep_went(struct hf_usage_record *usage)
{
    usage->failures = 0;
}
static void groom_due(struct hf_usage_record *usage)
{
    usage->dead_bytes = 1000;
}
static void groomed(struct hf_usage_record *usage)
{
    usage->dead_bytes = 0;
}

static void test_every_alert_of_a_job_is_raised_and_resolved_by_its_cause(void **state)
{
    struct rig *rig = *state;
    static const struct {
        enum hf_alert_type type;
        void (*job[2])(struct hf_job_record *);
        void (*head[2])(struct hf_head_record *);
        void (*usage[2])(struct hf_usage_record *);
    } causes[] = {
        {.type = HF_ALERT_OPLOG_BEHIND, .head = {head_old, head_new}},
        {.type = HF_ALERT_OPLOG_WINDOW_SHORT, .head = {window_short, window_long}},
        {.type = HF_ALERT_RESYNC_REQUIRED, .head = {chain_lost, chain_again}},
        {.type = HF_ALERT_BACKUP_TOO_MANY_RETRIES, .head = {tails_failed, tails_go}},
        {.type = HF_ALERT_SNAPSHOTS_ABORTED, .job = {aborted, succeeded}},
        {.type = HF_ALERT_SNAPSHOTS_DAMAGED, .usage = {damaged, whole}},
        {.type = HF_ALERT_BLOCKSTORE_JOB_TOO_MANY_RETRIES, .usage = {upkeep_failed, upkeep_went}},
        {.type = HF_ALERT_GROOM_LATE, .usage = {groom_due, groomed}},
        {.type = HF_ALERT_RS_BIND_ERROR, .job = {unbound, bound}},
        {.type = HF_ALERT_BACKUP_IN_UNEXPECTED_STATE, .job = {stuck, bound}},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(causes); i++) {
        for (size_t step = 0; step < 2; step++) {
            if (causes[i].job[step] != NULL) {
                change_job(rig, causes[i].job[step]);
            } else if (causes[i].head[step] != NULL) {
                change_head(rig, causes[i].head[step]);
            } else {
                change_usage(rig, causes[i].usage[step]);
            }
            if (step == 0) {
                expect_open(rig, causes[i].type);
            } else {
                expect_closed(rig, causes[i].type);
            }
        }
    }
}

/* By the schedule one is due every day; the job began ten days ago and has none. */
static void test_a_snapshot_is_late_by_its_schedule(void **state)
{
    struct rig *rig = *state;
    struct hf_alert_record alert;
    struct hf_error err;
    struct hf_snapshot_record snapshot = {.id = fixed_id(0x33),
                                          .job = rig->job,
                                          .project = rig->kit.app.first_project,
                                          .cluster = fixed_id(3),
                                          .store = fixed_id(6),
                                          .set_name = "rs0",
                                          .state = HF_SNAPSHOT_COMPLETE,
                                          .capture = 1,
                                          .created_s = hf_flow_now_s()};
    look(rig);
    assert_int_equal(find(rig, HF_ALERT_LATE_SNAPSHOT, &alert), 0);
    rig->kit.app.schedules = true;
    expect_open(rig, HF_ALERT_LATE_SNAPSHOT);
    EXPECT_OK(hf_keep_snapshot_insert(rig->kit.app.catalog, &snapshot, &err), &err);
    expect_closed(rig, HF_ALERT_LATE_SNAPSHOT);
}

/* An hour passes in which nobody hears of the agent. */
static void test_a_silent_agent_and_an_old_one(void **state)
{
    struct rig *rig = *state;
    struct hf_server_app *app = &rig->kit.app;
    struct hf_agent_record agent;
    struct hf_error err;
    uint64_t revision = 0;
    EXPECT_OK(hf_server_heard_create(&app->heard, &err), &err);
    hf_server_heard_note(app->heard, HF_HEARD_AGENT, &rig->agent);
    for (unsigned minutes = 0; minutes < 60; minutes++) {
        hf_server_heard_listen(app->heard, (uint64_t)60 * 1000);
        look(rig);
    }
    struct hf_alert_record alert;
    assert_int_equal(find(rig, HF_ALERT_BACKUP_AGENT_DOWN, &alert), 0);
    hf_server_heard_listen(app->heard, (uint64_t)1000);
    expect_open(rig, HF_ALERT_BACKUP_AGENT_DOWN);
    hf_server_heard_note(app->heard, HF_HEARD_AGENT, &rig->agent);
    expect_closed(rig, HF_ALERT_BACKUP_AGENT_DOWN);

    EXPECT_OK(hf_keep_agent_get(app->catalog, &rig->agent, &agent, &revision, &err), &err);
    (void)snprintf(agent.release, sizeof agent.release, "0.0.1");
    EXPECT_OK(hf_keep_agent_replace(app->catalog, &agent, &revision, &err), &err);
    expect_open(rig, HF_ALERT_BACKUP_AGENT_VERSION_BEHIND);
    (void)snprintf(agent.release, sizeof agent.release, "%s", HF_VERSION);
    EXPECT_OK(hf_keep_agent_replace(app->catalog, &agent, &revision, &err), &err);
    expect_closed(rig, HF_ALERT_BACKUP_AGENT_VERSION_BEHIND);
    hf_server_heard_destroy(app->heard);
    app->heard = NULL;
}

/* The ping of the last life is old: whoever is to know learns that this server was away. */
static void test_a_server_that_was_away_says_so(void **state)
{
    struct rig *rig = *state;
    struct hf_server_app *app = &rig->kit.app;
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list servers = {.documents = NULL};
    const struct hf_catalog_query all = {.kind = HF_KIND_SERVER};
    struct hf_alert_record alert;
    struct hf_error err;
    look(rig);
    assert_int_equal(find(rig, HF_ALERT_DAEMON_DOWN, &alert), 0);
    EXPECT_OK(hf_catalog_find(app->catalog, &all, &servers, &err), &err);
    assert_int_equal(servers.count, 1);
    struct hf_catalog_document *one = &servers.documents[0];
    hf_json_set_u64(one->json, "seenS", hf_flow_now_s() - 901);
    EXPECT_OK(hf_catalog_replace(app->catalog, HF_KIND_SERVER, one->id, one->revision, one->json,
                                 HF_CATALOG_SYNCED, &err),
              &err);
    look(rig);
    assert_int_equal(find(rig, HF_ALERT_DAEMON_DOWN, &alert), 1);
    assert_int_equal(alert.status, HF_ALERT_OPEN);
    assert_string_equal(alert.host, "h");
    look(rig);
    assert_int_equal(find(rig, HF_ALERT_DAEMON_DOWN, &alert), 1);
    assert_int_equal(alert.status, HF_ALERT_CLOSED);
}

static void test_periodic_work_that_fails(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 3; i++) {
        hf_alerts_note_work(&rig->kit.app, HF_SERVER_TAILS, HF_ERR_UNAVAILABLE, "no catalog");
    }
    hf_alerts_note_work(&rig->kit.app, HF_SERVER_RESUMES, HF_ERR_OK, "");
    expect_open(rig, HF_ALERT_CRON_JOB_FAILED);
    hf_alerts_note_work(&rig->kit.app, HF_SERVER_TAILS, HF_ERR_OK, "");
    expect_closed(rig, HF_ALERT_CRON_JOB_FAILED);
}

static void test_disks(void **state)
{
    struct rig *rig = *state;
    rig->kit.app.alerts.data_dir = "/";
    rig->kit.app.alerts.limits.of[HF_ALERT_LOW_CATALOG_FREE_SPACE] = 101;
    expect_open(rig, HF_ALERT_LOW_CATALOG_FREE_SPACE);
    rig->kit.app.alerts.limits.of[HF_ALERT_LOW_CATALOG_FREE_SPACE] = 0;
    expect_closed(rig, HF_ALERT_LOW_CATALOG_FREE_SPACE);
}

static void stop(struct hf_job_record *job)
{
    job->state = HF_JOB_STOPPED;
}
static void start(struct hf_job_record *job)
{
    job->state = HF_JOB_STARTED;
}

static void test_what_nobody_needs_any_more_is_cancelled_and_comes_back_as_another(void **state)
{
    struct rig *rig = *state;
    struct hf_alert_record first, second;
    change_head(rig, head_old);
    look(rig);
    assert_int_equal(find(rig, HF_ALERT_OPLOG_BEHIND, &first), 1);
    change_job(rig, stop);
    look(rig);
    assert_int_equal(find(rig, HF_ALERT_OPLOG_BEHIND, &first), 1);
    assert_int_equal(first.status, HF_ALERT_CANCELLED);
    assert_int_equal(events(rig, "OPLOG_CURRENT"), 0);
    change_job(rig, start);
    look(rig);
    assert_int_equal(find(rig, HF_ALERT_OPLOG_BEHIND, &second), 2);
    assert_int_equal(second.status, HF_ALERT_OPEN);
    assert_int_equal(second.number, 2);
}

static void test_an_acknowledged_alert_is_not_told_again(void **state)
{
    struct rig *rig = *state;
    struct hf_server_app *app = &rig->kit.app;
    struct hf_alert_record alert, after;
    struct hf_error err;
    uint64_t revision = 0, now_s = hf_flow_now_s();
    app->alerts.repeat_s = 3600;
    change_head(rig, head_old);
    look(rig);
    assert_int_equal(find(rig, HF_ALERT_OPLOG_BEHIND, &alert), 1);
    const struct hf_alerts_acknowledgement wish = {
        .who = "ann", .comment = "being mended", .until_s = now_s + 7200};
    EXPECT_OK(hf_alerts_acknowledge(app, &alert.id, &wish, &alert, &err), &err);
    EXPECT_OK(hf_keep_alert_get(app->catalog, &alert.id, &alert, &revision, &err), &err);
    alert.notified_s = now_s - 4000;
    EXPECT_OK(hf_keep_alert_replace(app->catalog, &alert, &revision, &err), &err);
    look(rig);
    assert_int_equal(find(rig, HF_ALERT_OPLOG_BEHIND, &after), 1);
    assert_int_equal(after.notices, 1);
    assert_string_equal(after.acknowledged_by, "ann");
    const struct hf_alerts_acknowledgement back = {.who = "ann", .comment = "", .until_s = 0};
    EXPECT_OK(hf_alerts_acknowledge(app, &alert.id, &back, &alert, &err), &err);
    look(rig);
    assert_int_equal(find(rig, HF_ALERT_OPLOG_BEHIND, &after), 1);
    assert_int_equal(after.notices, 2);
}

static size_t notices(struct rig *rig)
{
    const struct hf_catalog_query all = {.kind = HF_KIND_NOTICE};
    struct hf_error err;
    uint64_t count = 0;
    EXPECT_OK(hf_catalog_count(rig->kit.app.catalog, &all, &count, &err), &err);
    return count;
}

/* Wherever a pass breaks off between an alert's own change and what is told of it, the next one tells it, once. */
static void test_a_pass_that_breaks_off_loses_nothing_that_is_to_be_told(void **state)
{
    struct rig *rig = *state;
    static const char *const points[] = {"server.alerts.written", "server.alerts.event_told",
                                         "server.notify.queued", "server.alerts.told"};
    struct hf_alert_record alert;
    struct hf_error err;
    size_t told = 0;
    rig->kit.app.alerts.notify.webhook_url = "http://127.0.0.1:1/x";
    rig->kit.app.alerts.notify.smtp_url = "smtp://127.0.0.1:1";
    for (size_t i = 0; i < HF_ARRAY_LEN(points); i++) {
        for (size_t over = 0; over < 2; over++) {
            change_head(rig, over ? head_new : head_old);
            hf_fault_arm(points[i], HF_ERR_IO);
            assert_int_equal(hf_alerts_pass(&rig->kit.app, &err), HF_ERR_IO);
            (void)find(rig, HF_ALERT_OPLOG_BEHIND, &alert);
            assert_int_equal(alert.status, over ? HF_ALERT_CLOSED : HF_ALERT_OPEN);
            assert_string_not_equal(alert.owed, "");
            look(rig);
            look(rig);
            (void)find(rig, HF_ALERT_OPLOG_BEHIND, &alert);
            assert_string_equal(alert.owed, "");
            told += 2;
            assert_int_equal(notices(rig), told);
            assert_int_equal(events(rig, "OPLOG_BEHIND"), i + 1);
            assert_int_equal(events(rig, "OPLOG_CURRENT"), i + over);
        }
    }
    hf_fault_disarm_all();
}

static void configure(struct rig *rig, enum hf_alert_type type,
                      void (*change)(struct hf_alert_config_record *config))
{
    struct hf_alert_config_record config;
    struct hf_error err;
    uint64_t revision = 0;
    EXPECT_OK(hf_alert_settings_get(&rig->kit.app, type, &config, &revision, &err), &err);
    change(&config);
    EXPECT_OK(hf_alert_settings_put(&rig->kit.app, &config, revision, &err), &err);
}
static void disabled(struct hf_alert_config_record *config)
{
    config->disabled = true;
}
static void enabled(struct hf_alert_config_record *config)
{
    config->disabled = false;
}
static void two_hours(struct hf_alert_config_record *config)
{
    config->own_threshold = true;
    config->threshold = 7200;
}
static void at_once_to_ann(struct hf_alert_config_record *config)
{
    config->own_patience = true;
    (void)snprintf(config->notify, sizeof config->notify, "mail:ann@example.net,webhook");
}

static void test_what_is_configured_holds(void **state)
{
    struct rig *rig = *state;
    struct hf_server_app *app = &rig->kit.app;
    struct hf_alert_config_record config;
    struct hf_alert_record alert;
    struct hf_error err;
    uint64_t revision = 0;
    app->alerts.notify.webhook_url = "http://127.0.0.1:1/x";
    app->alerts.notify.smtp_url = "smtp://127.0.0.1:1";
    EXPECT_OK(hf_alert_settings_begin(app, &err), &err);
    configure(rig, HF_ALERT_OPLOG_BEHIND, two_hours);
    change_head(rig, head_old);
    look(rig);
    assert_int_equal(find(rig, HF_ALERT_OPLOG_BEHIND, &alert), 0);
    change_head(rig, head_old);
    expect_open(rig, HF_ALERT_OPLOG_BEHIND);
    configure(rig, HF_ALERT_OPLOG_BEHIND, disabled);
    look(rig);
    (void)find(rig, HF_ALERT_OPLOG_BEHIND, &alert);
    assert_int_equal(alert.status, HF_ALERT_CANCELLED);
    look(rig);
    assert_int_equal(find(rig, HF_ALERT_OPLOG_BEHIND, &alert), 1);
    /* What a start makes is what is missing, and nothing else. */
    EXPECT_OK(hf_alert_settings_begin(app, &err), &err);
    EXPECT_OK(hf_alert_settings_get(app, HF_ALERT_OPLOG_BEHIND, &config, &revision, &err), &err);
    assert_true(config.disabled && config.threshold == 7200);
    EXPECT_OK(hf_catalog_remove(app->catalog, HF_KIND_ALERT_CONFIG, hf_id_text(&config.id).text,
                                revision, &err),
              &err);
    look(rig);
    assert_int_equal(find(rig, HF_ALERT_OPLOG_BEHIND, &alert), 2);
    EXPECT_OK(hf_alert_settings_begin(app, &err), &err);
    EXPECT_OK(hf_alert_settings_get(app, HF_ALERT_OPLOG_BEHIND, &config, &revision, &err), &err);
    assert_int_equal(revision, 1);
    configure(rig, HF_ALERT_OPLOG_BEHIND, enabled);

    size_t before = notices(rig);
    configure(rig, HF_ALERT_RS_BIND_ERROR, at_once_to_ann);
    change_job(rig, unbound);
    look(rig);
    (void)find(rig, HF_ALERT_RS_BIND_ERROR, &alert);
    assert_int_equal(alert.status, HF_ALERT_OPEN);
    assert_int_equal(notices(rig), before + 2);
}

static void test_nobody_is_told_while_a_window_is_open(void **state)
{
    struct rig *rig = *state;
    struct hf_server_app *app = &rig->kit.app;
    struct hf_maintenance_record window = {.id = fixed_id(9),
                                           .project = app->first_project,
                                           .start_s = hf_flow_now_s() - 10,
                                           .end_s = hf_flow_now_s() + 1000,
                                           .types = "AGENT,BACKUP"};
    struct hf_alert_record alert;
    struct hf_error err;
    uint64_t revision = 1;
    app->alerts.notify.webhook_url = "http://127.0.0.1:1/x";
    EXPECT_OK(hf_keep_maintenance_insert(app->catalog, &window, &err), &err);
    change_head(rig, head_old);
    look(rig);
    look(rig);
    (void)find(rig, HF_ALERT_OPLOG_BEHIND, &alert);
    assert_int_equal(alert.status, HF_ALERT_OPEN);
    assert_int_equal(alert.notices, 0);
    assert_int_equal(events(rig, "OPLOG_BEHIND"), 1);
    assert_int_equal(notices(rig), 0);
    /* One that began and ended within the window is told to nobody. */
    change_job(rig, aborted);
    look(rig);
    change_job(rig, succeeded);
    look(rig);
    assert_int_equal(notices(rig), 0);
    /* What is open still when it ends is told then. */
    window.end_s = hf_flow_now_s() - 1;
    EXPECT_OK(hf_keep_maintenance_replace(app->catalog, &window, &revision, &err), &err);
    look(rig);
    look(rig);
    (void)find(rig, HF_ALERT_OPLOG_BEHIND, &alert);
    assert_int_equal(alert.notices, 1);
    assert_int_equal(notices(rig), 1);
    assert_int_equal(events(rig, "OPLOG_BEHIND"), 1);
}

static void test_an_agent_whose_calls_fail(void **state)
{
    struct rig *rig = *state;
    struct hf_alert_record alert;
    for (int i = 0; i < 10; i++) {
        hf_alerts_note_call(&rig->kit.app, &rig->agent, HF_ERR_IO, "the catalog is full");
    }
    look(rig);
    assert_int_equal(find(rig, HF_ALERT_BACKUP_AGENT_CONF_CALL_FAILURE, &alert), 0);
    hf_alerts_note_call(&rig->kit.app, &rig->agent, HF_ERR_IO, "the catalog is full");
    /* After a start of the server every agent is refused once. */
    hf_alerts_note_call(&rig->kit.app, &rig->agent, HF_ERR_UNAUTHENTICATED, "hello");
    expect_open(rig, HF_ALERT_BACKUP_AGENT_CONF_CALL_FAILURE);
    hf_alerts_note_call(&rig->kit.app, &rig->agent, HF_ERR_OK, "");
    expect_closed(rig, HF_ALERT_BACKUP_AGENT_CONF_CALL_FAILURE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
        TEST(test_every_alert_of_a_job_is_raised_and_resolved_by_its_cause),
        TEST(test_a_snapshot_is_late_by_its_schedule),
        TEST(test_a_silent_agent_and_an_old_one),
        TEST(test_a_server_that_was_away_says_so),
        TEST(test_periodic_work_that_fails),
        TEST(test_disks),
        TEST(test_what_nobody_needs_any_more_is_cancelled_and_comes_back_as_another),
        TEST(test_an_acknowledged_alert_is_not_told_again),
        TEST(test_a_pass_that_breaks_off_loses_nothing_that_is_to_be_told),
        TEST(test_what_is_configured_holds),
        TEST(test_nobody_is_told_while_a_window_is_open),
        TEST(test_an_agent_whose_calls_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
