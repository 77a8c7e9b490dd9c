/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue over a catalog in memory: who begins, what waits and for what, and two servers that keep the limits together.
 */
#include "support/server_kit.h"

#include "server/flow_queue.h"

#define SETS 24
#define OWED_S 1000

struct rig {
    struct server_kit kit;
    struct hf_server_app other; /* a second server on the same catalog and store */
    struct hf_server_heard *heard;
};

static void name_of(size_t set, char out[HF_NAME_BYTES])
{
    (void)snprintf(out, HF_NAME_BYTES, "rs%zu", set);
}

/* Set i has one member, on host i % hosts, a job in project i % projects that is due since i seconds less. */
static void add_set(struct rig *rig, size_t i, size_t hosts, size_t projects)
{
    struct hf_server_app *app = &rig->kit.app;
    struct hf_error err;
    struct hf_msg_member member = {
        .state = "PRIMARY", .priority = 1, .readable = true, .set_members = 1};
    const struct hf_msg_members members = {.items = &member, .count = 1};
    const struct hf_flow_sight sight = {.agent = fixed_id((uint8_t)(0x40 + i)),
                                        .project = fixed_id((uint8_t)(5 + i % projects)),
                                        .members = &members};
    uint64_t now_s = hf_flow_now_s();
    name_of(i, member.set_name);
    (void)snprintf(member.address, sizeof member.address, "h%zu:%zu", i % hosts, 27017 + i);
    (void)snprintf(member.primary, sizeof member.primary, "%s", member.address);
    EXPECT_OK(hf_flow_put_members(app, &sight, &err), &err);

    struct hf_job_record job = {.id = fixed_id((uint8_t)(0x80 + i)),
                                .project = fixed_id((uint8_t)(5 + i % projects)),
                                .cluster = fixed_id((uint8_t)(0x80 + i)),
                                .store = fixed_id(6),
                                .state = HF_JOB_STARTED,
                                .next_capture = 1};
    name_of(i, job.set_name);
    EXPECT_OK(hf_keep_job_insert(app->catalog, &job, &err), &err);
    struct hf_schedule_record schedule;
    hf_schedule_init(&schedule, &job, now_s);
    schedule.active = true;
    schedule.store = job.store;
    schedule.owed_s = now_s - OWED_S + i;
    schedule.queue_s = now_s + i;
    schedule.wake_s = now_s + HF_SCHEDULE_LOOK_S;
    schedule.due_s = now_s + HF_DAY_S;
    EXPECT_OK(hf_keep_schedule_insert(app->catalog, &schedule, &err), &err);
}

static void rig_begin(struct rig *rig, size_t hosts, size_t projects)
{
    struct hf_error err;
    *rig = (struct rig){.heard = NULL};
    server_kit_begin(&rig->kit);
    struct hf_server_app *app = &rig->kit.app;
    EXPECT_OK(hf_server_heard_create(&rig->heard, &err), &err);
    app->heard = rig->heard;
    app->task_silence_s = 300;
    app->schedules = true;
    app->snapshots_at_once = 16;
    app->process = fixed_id(0x11);
    for (size_t i = 0; i < SETS; i++) {
        add_set(rig, i, hosts, projects);
    }
    rig->other = *app;
    rig->other.process = fixed_id(0x21);
}

static void rig_end(struct rig *rig)
{
    hf_server_heard_destroy(rig->heard);
    server_kit_end(&rig->kit);
}

static struct hf_keep_snapshots running(struct rig *rig)
{
    struct hf_error err;
    struct hf_keep_snapshots found = {.items = NULL};
    const struct hf_catalog_query query = {.index = "state", .equals_text = "IN_PROGRESS"};
    EXPECT_OK(hf_keep_snapshot_find(rig->kit.app.catalog, &query, &found, &err), &err);
    return found;
}

static void begin(struct hf_server_app *app)
{
    struct hf_error err;
    EXPECT_OK(hf_flow_queue_begin(app, &err), &err);
}

/* The sets whose snapshots are being taken, in the order of their numbers. */
static void expect_running(struct rig *rig, const char *want)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots found = running(rig);
    char got[512] = "", name[HF_NAME_BYTES];
    for (size_t i = 0; i < SETS; i++) {
        name_of(i, name);
        for (size_t k = 0; k < found.count; k++) {
            if (strcmp(found.items[k].set_name, name) == 0) {
                size_t len = strlen(got);
                (void)snprintf(got + len, sizeof got - len, "%s%zu", len == 0 ? "" : " ", i);
            }
        }
    }
    assert_string_equal(got, want);
}

static void finish(struct rig *rig, size_t set)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots found = running(rig);
    char name[HF_NAME_BYTES];
    name_of(set, name);
    for (size_t k = 0; k < found.count; k++) {
        struct hf_snapshot_record record;
        struct hf_error err;
        uint64_t revision = 0;
        if (strcmp(found.items[k].set_name, name) == 0) {
            EXPECT_OK(hf_keep_snapshot_get(rig->kit.app.catalog, &found.items[k].id, &record,
                                           &revision, &err),
                      &err);
            record.state = HF_SNAPSHOT_COMPLETE;
            EXPECT_OK(hf_keep_snapshot_replace(rig->kit.app.catalog, &record, &revision, &err),
                      &err);
        }
    }
}

static struct hf_json *show(struct rig *rig)
{
    struct hf_error err;
    struct hf_json *json = hf_flow_queue_show(&rig->kit.app, &rig->kit.app.first_project, &err);
    assert_non_null(json);
    return json;
}

static const struct hf_json *shown(const struct hf_json *queue, const char *set)
{
    const struct hf_json *jobs = hf_json_get_array(queue, "jobs");
    for (size_t i = 0; i < hf_json_count(jobs); i++) {
        if (strcmp(hf_json_get_text(hf_json_at(jobs, i), "setName"), set) == 0) {
            return hf_json_at(jobs, i);
        }
    }
    return NULL;
}

static void expect_shown(struct rig *rig, const char *set, uint64_t place, const char *waits_for)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *queue = show(rig);
    const struct hf_json *one = shown(queue, set);
    if (one == NULL || hf_json_get_u64(one, "place", 0) != place ||
        strstr(hf_json_get_text(one, "waitsFor"), waits_for) == NULL) {
        fail_msg("%s: place %llu, waits for %s", set,
                 (unsigned long long)hf_json_get_u64(one, "place", 0),
                 one == NULL ? "?" : hf_json_get_text(one, "waitsFor"));
    }
}

static void test_projects_take_turns_and_the_turns_are_remembered(void **state)
{
    struct rig rig;
    (void)state;
    rig_begin(&rig, SETS, 3);
    rig.kit.app.snapshots_at_once = 1;
    expect_shown(&rig, "rs0", 1, "nothing");
    begin(&rig.kit.app);
    expect_running(&rig, "0");
    begin(&rig.kit.app); /* there is no room */
    expect_running(&rig, "0");
    expect_shown(&rig, "rs3", 3, "other snapshots"); /* behind one each of the others */
    finish(&rig, 0);
    begin(&rig.kit.app);
    expect_running(&rig, "1");
    finish(&rig, 1);
    rig.other.snapshots_at_once = 1;
    begin(&rig.other); /* another server knows whose turn it is */
    expect_running(&rig, "2");
    finish(&rig, 2);
    begin(&rig.other);
    expect_running(&rig, "3");
    rig_end(&rig);
}

static void test_hosts_and_stores_get_no_more_than_their_limit(void **state)
{
    struct rig rig;
    (void)state;
    rig_begin(&rig, 2, 1);
    rig.kit.app.snapshots_per_host = 1;
    /* Where a job's member is, is known once it was looked for: the others of those hosts are found out one by one. */
    begin(&rig.kit.app);
    expect_running(&rig, "0 1");
    expect_shown(&rig, "rs2", 0, "another try at ");
    expect_shown(&rig, "rs2", 0, "1 snapshots are being taken on host h0");
    finish(&rig, 1);
    rig.kit.app.snapshots_per_host = 0;
    rig.kit.app.snapshots_per_store = 1;
    begin(&rig.kit.app);
    expect_running(&rig, "0");
    rig_end(&rig);
}

/* Known from the last time: then nothing is even tried. */
static void test_a_host_that_is_known_is_waited_for_in_the_queue(void **state)
{
    struct rig rig;
    struct hf_error err;
    (void)state;
    rig_begin(&rig, 2, 1);
    rig.kit.app.snapshots_per_host = 1;
    for (size_t i = 0; i < SETS; i++) {
        struct hf_schedule_record schedule;
        uint64_t revision = 0;
        const struct hf_id id = fixed_id((uint8_t)(0x80 + i));
        EXPECT_OK(hf_keep_schedule_get(rig.kit.app.catalog, &id, &schedule, &revision, &err), &err);
        hf_schedule_note_member(&schedule, i % 2 == 0 ? "h0:1" : "h1:1");
        EXPECT_OK(hf_keep_schedule_replace(rig.kit.app.catalog, &schedule, &revision, &err), &err);
    }
    begin(&rig.kit.app);
    expect_running(&rig, "0 1");
    expect_shown(&rig, "rs2", 1, "other snapshots of its host");
    finish(&rig, 0);
    begin(&rig.kit.app);
    expect_running(&rig, "1 2");
    rig_end(&rig);
}

/* The document of the queue, as a server that died in it left it. */
static void hold_queue(struct rig *rig, const struct hf_id *process)
{
    struct hf_error err;
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    hf_json_set_text(json, "holder", hf_id_text(process).text);
    EXPECT_OK(hf_catalog_insert(rig->kit.app.catalog, HF_KIND_QUEUE, "snapshots", json,
                                HF_CATALOG_SYNCED, &err),
              &err);
}

static void test_a_queue_that_is_held_waits_until_its_holder_is_silent(void **state)
{
    struct rig rig;
    const struct hf_id dead = fixed_id(0x31);
    (void)state;
    rig_begin(&rig, SETS, 1);
    hold_queue(&rig, &dead);
    begin(&rig.kit.app);
    expect_running(&rig, "");
    rig.kit.app.queue_idle.waiting = 0;
    begin(&rig.kit.app);
    expect_running(&rig, "");
    rig.kit.app.queue_idle.waiting = 0;
    rig.kit.app.queue_seen_ms -= 60000; /* it has stood still for a minute */
    begin(&rig.kit.app);
    expect_running(&rig, "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15");
    rig_end(&rig);
}

#define ROUNDS 60

static void begin_often(void *argument)
{
    struct hf_server_app *app = argument;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct hf_error err;
        app->queue_idle.waiting = 0; /* looks each time */
        EXPECT_OK(hf_flow_queue_begin(app, &err), &err);
    }
}

static void test_two_servers_keep_the_limits_together(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 10; round++) {
        struct rig rig;
        struct hf_thread *threads[2] = {NULL, NULL};
        struct hf_error err;
        rig_begin(&rig, 8, 3);
        rig.kit.app.snapshots_at_once = rig.other.snapshots_at_once = 5;
        rig.kit.app.snapshots_per_host = rig.other.snapshots_per_host = 1;
        EXPECT_OK(hf_thread_start("one", begin_often, &rig.kit.app, &threads[0], &err), &err);
        EXPECT_OK(hf_thread_start("other", begin_often, &rig.other, &threads[1], &err), &err);
        hf_thread_join(threads[0]);
        hf_thread_join(threads[1]);
        HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots found = running(&rig);
        assert_int_equal(found.count, 5);
        for (size_t i = 0; i < found.count; i++) {
            for (size_t k = 0; k < i; k++) {
                struct hf_str one = hf_member_host(found.items[i].member);
                assert_false(hf_str_equal(one, hf_member_host(found.items[k].member)));
                assert_false(hf_id_equal(&found.items[i].job, &found.items[k].job));
            }
        }
        rig_end(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_projects_take_turns_and_the_turns_are_remembered),
        cmocka_unit_test(test_hosts_and_stores_get_no_more_than_their_limit),
        cmocka_unit_test(test_a_host_that_is_known_is_waited_for_in_the_queue),
        cmocka_unit_test(test_a_queue_that_is_held_waits_until_its_holder_is_silent),
        cmocka_unit_test(test_two_servers_keep_the_limits_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
