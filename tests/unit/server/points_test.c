/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Points in time at the server: ranges out of catalog and store, what a list costs, requests, restores with their leases.
 * Times are increments of second 100 unless a test says otherwise.
 */
#include "support/server_kit.h"

#include "backup/link.h"
#include "server/flow.h"
#include "server/flow_internal.h"

struct scene {
    struct server_kit kit;
    struct kit_job job;
    struct hf_id cluster, agent;
};

static void scene_begin(struct scene *scene)
{
    struct hf_error err;
    *scene = (struct scene){.cluster = fixed_id(3), .agent = fixed_id(4)};
    server_kit_begin(&scene->kit);
    kit_job_begin(&scene->kit, &scene->job, 2);
    const struct hf_agent_record agent = {.id = scene->agent,
                                          .project = scene->kit.app.first_project,
                                          .host = "host-a",
                                          .release = "1",
                                          .restore_root = "/srv"};
    EXPECT_OK(hf_keep_agent_insert(scene->kit.app.catalog, &agent, &err), &err);
}

static void scene_end(struct scene *scene)
{
    kit_job_end(&scene->job);
    server_kit_end(&scene->kit);
}

static struct hf_optime at(uint32_t increment)
{
    return (struct hf_optime){.seconds = 100, .increment = increment, .term = 1};
}

static struct hf_snapshot_record snapshot_of(const struct scene *scene, uint8_t id,
                                             uint32_t checkpoint, uint32_t committed)
{
    struct hf_snapshot_record record = {.id = fixed_id(id),
                                        .job = scene->job.id,
                                        .project = scene->kit.app.first_project,
                                        .cluster = scene->cluster,
                                        .store = fixed_id(6),
                                        .set_name = "rs0",
                                        .state = HF_SNAPSHOT_COMPLETE,
                                        .capture = id,
                                        .writer = fixed_id(7),
                                        .task = fixed_id(8),
                                        .agent = scene->agent,
                                        .created_s = 90,
                                        .checkpoint = at(checkpoint),
                                        .oplog_end = at(committed),
                                        .committed = at(committed)};
    record.checkpoint.term = -1;
    return record;
}

static void add_snapshot(struct scene *scene, const struct hf_snapshot_record *record)
{
    struct hf_error err;
    EXPECT_OK(hf_keep_snapshot_insert(scene->kit.app.catalog, record, &err), &err);
}

static void test_ranges_come_from_catalog_and_store(void **state)
{
    struct hf_error err;
    struct scene scene;
    HF_CLEANUP(hf_points_destroy) struct hf_points *points = NULL;
    (void)state;
    scene_begin(&scene);
    tailer_slice(&scene.job.tailer, 1, 30, 7);
    tailer_slice(&scene.job.tailer, 31, 60, 7);
    struct hf_snapshot_record snapshots[] = {
        snapshot_of(&scene, 0x40, 10, 12), snapshot_of(&scene, 0x41, 40, 42),
        snapshot_of(&scene, 0x42, 5, 6),   snapshot_of(&scene, 0x43, 50, 52),
        snapshot_of(&scene, 0x44, 2, 3),
    };
    snapshots[2].state = HF_SNAPSHOT_EXPIRED;
    snapshots[3].state = HF_SNAPSHOT_IN_PROGRESS;
    snapshots[4].verified_s = 9; /* and found damaged */
    for (size_t i = 0; i < HF_ARRAY_LEN(snapshots); i++) {
        add_snapshot(&scene, &snapshots[i]);
    }
    EXPECT_OK(hf_points_load(&scene.kit.app, &scene.job.id, &points, &err), &err);
    assert_int_equal(points->ranges.count, 1);
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_points_range_to_json(points, 0);
    assert_int_equal(hf_json_get_u64(hf_json_get(json, "start"), "increment", 0), 10);
    assert_int_equal(hf_json_get_u64(hf_json_get(json, "end"), "increment", 0), 60);
    assert_string_equal(hf_json_get_text(hf_json_get(json, "end"), "date"), "1970-01-01T00:01:40Z");
    assert_string_equal(hf_json_get_text(json, "snapshotId"), hf_id_text(&snapshots[0].id).text);
    assert_int_equal(hf_json_get_u64(json, "snapshots", 0), 2);
    assert_true(hf_json_get_bool(json, "storedOplog", false));
    assert_string_equal(hf_json_get_text(json, "endReason"), "open");
    const struct hf_id other = fixed_id(0x77);
    struct hf_points *none = NULL;
    EXPECT_ERROR(hf_points_load(&scene.kit.app, &other, &none, &err), HF_ERR_NOT_FOUND,
                 "there is no job", &err);
    scene_end(&scene);
}

static void test_a_list_costs_the_new_headers_alone(void **state)
{
    enum { SLICES = 2000, LEAST = 12 };
    struct hf_error err;
    struct scene scene;
    (void)state;
    scene_begin(&scene);
    for (uint32_t i = 0; i < SLICES; i++) {
        tailer_slice(&scene.job.tailer, i + 1, i + 1, 7);
    }
    struct hf_snapshot_record snapshot = snapshot_of(&scene, 0x40, 10, 12);
    add_snapshot(&scene, &snapshot);
    uint64_t cost[3];
    for (unsigned i = 0; i < 3; i++) {
        HF_CLEANUP(hf_points_destroy) struct hf_points *points = NULL;
        uint64_t before = hf_store_faulty_calls(scene.kit.app.store, HF_STORE_CALL_GET);
        EXPECT_OK(hf_points_load(&scene.kit.app, &scene.job.id, &points, &err), &err);
        cost[i] = hf_store_faulty_calls(scene.kit.app.store, HF_STORE_CALL_GET) - before;
        assert_int_equal(points->ranges.count, 1);
        assert_int_equal(points->ranges.items[0].end.increment, i < 2 ? SLICES : SLICES + 1);
        if (i == 1) {
            tailer_slice(&scene.job.tailer, SLICES + 1, SLICES + 1, 7);
        }
    }
    assert_true(cost[0] >= SLICES);
    assert_true(cost[1] <= LEAST); /* the job's keys, and the slice that the base is looked up in */
    assert_int_equal(cost[2], cost[1] + 1);
    scene_end(&scene);
}

static void expect_target(const char *text, enum hf_target_kind kind, uint32_t seconds,
                          uint32_t increment)
{
    struct hf_error err;
    struct hf_target target;
    bool wanted = false;
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    EXPECT_OK(hf_json_decode(hf_str_of(text), 1000, &json, &err), &err);
    EXPECT_OK(hf_points_target_from_json(json, &wanted, &target, &err), &err);
    assert_true(wanted);
    assert_int_equal(target.kind, kind);
    assert_int_equal(target.seconds, seconds);
    assert_int_equal(target.increment, increment);
}

static void expect_no_target(const char *text, const char *why)
{
    struct hf_error err;
    struct hf_target target;
    bool wanted = false;
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    EXPECT_OK(hf_json_decode(hf_str_of(text), 1000, &json, &err), &err);
    if (why == NULL) {
        EXPECT_OK(hf_points_target_from_json(json, &wanted, &target, &err), &err);
        assert_false(wanted);
    } else {
        EXPECT_ERROR(hf_points_target_from_json(json, &wanted, &target, &err), HF_ERR_INVALID, why,
                     &err);
    }
}

static void test_requests_name_points_as_clients_write_them(void **state)
{
    (void)state;
    expect_target("{\"pointInTimeUTCMillis\": 1795450667999}", HF_TARGET_DATE, 1795450667, 0);
    expect_target("{\"pointInTimeUTCMillis\": 1795450667000.0}", HF_TARGET_DATE, 1795450667, 0);
    expect_target("{\"pointInTimeUTCMillis\": 1.795450667e12}", HF_TARGET_DATE, 1795450667, 0);
    expect_target("{\"oplogTs\": \"1795450667\", \"oplogInc\": 68}", HF_TARGET_TIMESTAMP,
                  1795450667, 68);
    expect_target("{\"oplogTs\": 1795450667, \"oplogInc\": \"68\", \"pointInTimeUTCMillis\": null}",
                  HF_TARGET_TIMESTAMP, 1795450667, 68);
    expect_no_target("{\"snapshotId\": \"x\"}", NULL);
    expect_no_target("{\"oplogTs\": \"1795450667\"}", "come together");
    expect_no_target("{\"oplogInc\": 5}", "come together");
    expect_no_target("{\"oplogTs\": 1, \"oplogInc\": 1, \"pointInTimeUTCMillis\": 1}",
                     "two points");
    expect_no_target("{\"checkPointId\": \"a\"}", "checkpointId");
    expect_no_target("{\"pointInTimeUTCMillis\": \"yesterday\"}", "pointInTimeUTCMillis");
    expect_no_target("{\"pointInTimeUTCMillis\": 1.5}", "pointInTimeUTCMillis");
    expect_no_target("{\"pointInTimeUTCMillis\": -1}", "pointInTimeUTCMillis");
    expect_no_target("{\"pointInTimeUTCMillis\": 1e300}", "pointInTimeUTCMillis");
    expect_no_target("{\"oplogTs\": 4294967296, \"oplogInc\": 1}", "oplogTs");
    expect_no_target("{\"oplogTs\": true, \"oplogInc\": 1}", "oplogTs");
}

static struct hf_flow_restore_wish wish_for(const struct scene *scene, uint32_t increment)
{
    return (struct hf_flow_restore_wish){
        .project = scene->kit.app.first_project,
        .point = true,
        .target = {.kind = HF_TARGET_TIMESTAMP, .seconds = 100, .increment = increment},
        .job = scene->job.id,
        .directory = "/srv/x",
        .agent = scene->agent};
}

static void finish(struct scene *scene, const struct hf_restore_record *restore,
                   const struct hf_msg_finish *message, enum hf_restore_state state,
                   struct hf_restore_record *out)
{
    struct hf_error err;
    const struct hf_task_record task = {.id = restore->task, .restore = restore->id};
    EXPECT_OK(hf_flow_finish_restore(&scene->kit.app, &task, message, &err), &err);
    EXPECT_OK(hf_keep_restore_get(scene->kit.app.catalog, &restore->id, out, NULL, &err), &err);
    assert_int_equal(out->state, state);
}

static size_t lease_count(struct scene *scene)
{
    struct hf_error err;
    HF_CLEANUP(hf_free) struct hf_optime *leases = NULL;
    size_t count = 0;
    EXPECT_OK(hf_points_leases(&scene->kit.app, &scene->job.id, &leases, &count, &err), &err);
    return count;
}

static void test_a_restore_to_a_point_leases_what_its_plan_needs(void **state)
{
    struct hf_error err;
    struct scene scene;
    struct hf_restore_record restore, ended;
    HF_CLEANUP(hf_free) struct hf_optime *leases = NULL;
    size_t count = 0;
    (void)state;
    scene_begin(&scene);
    for (uint32_t i = 0; i < 6; i++) {
        tailer_slice(&scene.job.tailer, 10 * i + 1, 10 * i + 10, 7);
    }
    struct hf_snapshot_record older = snapshot_of(&scene, 0x40, 11, 12);
    struct hf_snapshot_record newer = snapshot_of(&scene, 0x41, 31, 33);
    add_snapshot(&scene, &older);
    add_snapshot(&scene, &newer);
    struct hf_flow_restore_wish wish = wish_for(&scene, 45);
    EXPECT_OK(hf_flow_restore(&scene.kit.app, &wish, &restore, &err), &err);
    assert_true(hf_id_equal(&restore.snapshot, &newer.id));
    assert_true(restore.point.wanted);
    assert_false(restore.point.date);
    assert_int_equal(restore.point.last.increment, 45);
    assert_int_equal(restore.point.last.term, 1);
    assert_int_equal(restore.point.entries, 20); /* of the slices 31 to 40 and 41 to 50 */
    EXPECT_OK(hf_points_leases(&scene.kit.app, &scene.job.id, &leases, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_int_equal(leases[0].increment, 31);
    /* Held as long as it goes on, whatever becomes of the process: it stands in the catalog. */
    EXPECT_ERROR(hf_flow_delete(&scene.kit.app, &newer.id, &err), HF_ERR_CONFLICT,
                 "is being restored from", &err);
    /* A base that was named; what its own oplog reaches needs no slice. */
    struct hf_restore_record second, third;
    wish.snapshot = older.id;
    wish.directory = "/srv/y";
    EXPECT_OK(hf_flow_restore(&scene.kit.app, &wish, &second, &err), &err);
    assert_true(hf_id_equal(&second.snapshot, &older.id));
    assert_int_equal(lease_count(&scene), 2);
    wish = wish_for(&scene, 5);
    EXPECT_ERROR(hf_flow_restore(&scene.kit.app, &wish, &third, &err), HF_ERR_NOT_FOUND,
                 "100.5 cannot be restored: no snapshot is that old; hint: the nearest instants "
                 "are none before and 100.11 after it",
                 &err);
    wish = wish_for(&scene, 61);
    EXPECT_ERROR(hf_flow_restore(&scene.kit.app, &wish, &third, &err), HF_ERR_NOT_FOUND,
                 "100.60 before and none after it", &err);
    wish = wish_for(&scene, 20);
    wish.snapshot = newer.id;
    EXPECT_ERROR(hf_flow_restore(&scene.kit.app, &wish, &third, &err), HF_ERR_INVALID, "is no base",
                 &err);
    /* It ends: an agent that passed over the point has restored something else. */
    const struct hf_msg_finish unaware = {.code = HF_ERR_OK, .restored_files = 3};
    finish(&scene, &restore, &unaware, HF_RESTORE_BROKEN, &ended);
    assert_string_equal(ended.error_class, "UNSUPPORTED");
    assert_non_null(strstr(ended.error, "does not know points in time"));
    assert_int_equal(lease_count(&scene), 1);
    const struct hf_msg_finish done = {.code = HF_ERR_OK,
                                       .replay = {.done = true,
                                                  .top = at(45),
                                                  .compared = 2,
                                                  .inserted = 32,
                                                  .wrong = 1,
                                                  .notes = "shop.log: too many"}};
    finish(&scene, &second, &done, HF_RESTORE_FINISHED, &ended);
    assert_int_equal(ended.point.top.increment, 45);
    assert_int_equal(ended.point.inserted, 32);
    assert_int_equal(ended.point.wrong, 1);
    assert_string_equal(ended.point.notes, "shop.log: too many");
    assert_int_equal(lease_count(&scene), 0);
    EXPECT_OK(hf_flow_delete(&scene.kit.app, &newer.id, &err), &err);
    scene_end(&scene);
}

static void test_a_link_to_a_point_leases_until_it_expires(void **state)
{
    struct hf_error err;
    struct scene scene;
    struct hf_restore_record restore, plain, own;
    struct hf_link_record link, other;
    HF_CLEANUP(hf_free) struct hf_optime *leases = NULL;
    size_t count = 0;
    (void)state;
    scene_begin(&scene);
    for (uint32_t i = 0; i < 6; i++) {
        tailer_slice(&scene.job.tailer, 10 * i + 1, 10 * i + 10, 7);
    }
    struct hf_snapshot_record older = snapshot_of(&scene, 0x40, 11, 12);
    struct hf_snapshot_record newer = snapshot_of(&scene, 0x41, 31, 33);
    add_snapshot(&scene, &older);
    add_snapshot(&scene, &newer);
    const struct hf_flow_restore_wish asked = wish_for(&scene, 45);
    struct hf_flow_link_wish wish = {
        .project = asked.project, .point = true, .target = asked.target, .job = asked.job};
    EXPECT_OK(hf_flow_link(&scene.kit.app, &wish, &restore, &link, &err), &err);
    assert_true(hf_id_equal(&restore.snapshot, &newer.id));
    assert_int_equal(restore.state, HF_RESTORE_FINISHED);
    assert_true(restore.point.wanted);
    assert_int_equal(restore.point.last.increment, 45);
    EXPECT_OK(hf_points_leases(&scene.kit.app, &scene.job.id, &leases, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_int_equal(leases[0].increment, 31);
    /* A link to a snapshot as it is leases nothing. */
    const struct hf_flow_link_wish no_point = {.project = asked.project, .snapshot = older.id};
    EXPECT_OK(hf_flow_link(&scene.kit.app, &no_point, &plain, &other, &err), &err);
    assert_int_equal(lease_count(&scene), 1);
    /* A point that the base's own oplog reaches reads no slice, and needs its base all the same. */
    wish.snapshot = older.id;
    wish.target.increment = 11;
    EXPECT_OK(hf_flow_link(&scene.kit.app, &wish, &own, &other, &err), &err);
    assert_true(hf_id_equal(&own.snapshot, &older.id));
    assert_int_equal(lease_count(&scene), 2);
    EXPECT_OK(hf_flow_link_withdraw(&scene.kit.app, &own.id, &err), &err);
    /* Used up: what was downloaded is not at its point yet. */
    const struct hf_flow_link_news gone_out = {.transfer = HF_LINK_READY, .downloaded = true};
    EXPECT_OK(hf_flow_link_note(&scene.kit.app, &link.id, &gone_out, &link, &err), &err);
    assert_false(hf_link_is_open(&link, hf_flow_now_s()));
    assert_int_equal(lease_count(&scene), 1);
    EXPECT_ERROR(hf_flow_delete(&scene.kit.app, &newer.id, &err), HF_ERR_CONFLICT,
                 "may be brought to a point in time until", &err);
    EXPECT_OK(hf_flow_link_withdraw(&scene.kit.app, &link.id, &err), &err);
    assert_int_equal(lease_count(&scene), 0);
    EXPECT_ERROR(hf_flow_link_withdraw(&scene.kit.app, &link.id, &err), HF_ERR_CONFLICT, "already",
                 &err);
    EXPECT_OK(hf_flow_delete(&scene.kit.app, &newer.id, &err), &err);
    wish = (struct hf_flow_link_wish){
        .project = asked.project, .point = true, .target = asked.target, .job = asked.job};
    wish.target.increment = 61;
    EXPECT_ERROR(hf_flow_link(&scene.kit.app, &wish, &restore, &link, &err), HF_ERR_NOT_FOUND,
                 "100.60 before and none after it", &err);
    assert_int_equal(lease_count(&scene), 0);
    scene_end(&scene);
}

static void test_a_capture_leases_what_may_become_its_base(void **state)
{
    struct hf_error err;
    struct scene scene;
    HF_CLEANUP(hf_free) struct hf_optime *leases = NULL;
    size_t count = 0;
    (void)state;
    scene_begin(&scene);
    struct hf_snapshot_record snapshot = snapshot_of(&scene, 0x40, 11, 12);
    snapshot.state = HF_SNAPSHOT_IN_PROGRESS;
    snapshot.created_s = 10000;
    add_snapshot(&scene, &snapshot);
    EXPECT_OK(hf_points_leases(&scene.kit.app, &scene.job.id, &leases, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_int_equal(leases[0].seconds, 6400);
    const struct hf_id other = fixed_id(0x77);
    hf_free(leases);
    leases = NULL;
    EXPECT_OK(hf_points_leases(&scene.kit.app, &other, &leases, &count, &err), &err);
    assert_int_equal(count, 0);
    scene_end(&scene);
}

struct deleting {
    struct hf_store *store;
    struct hf_object_text name;
    bool armed;
};

/* Somebody who read the leases before this one was written deletes the oldest slice. */
static void delete_once(void *argument, enum hf_store_call call, struct hf_str name)
{
    struct deleting *deleting = argument;
    struct hf_error err;
    if (call == HF_STORE_CALL_SIZE && deleting->armed &&
        hf_str_equal(name, hf_str_of(deleting->name.text))) {
        deleting->armed = false;
        EXPECT_OK(hf_store_delete(deleting->store, name, &err), &err);
    }
}

static void test_a_slice_that_goes_while_a_restore_is_planned_breaks_it(void **state)
{
    struct hf_error err;
    struct scene scene;
    struct hf_restore_record restore;
    HF_CLEANUP(hf_keep_restores_fini) struct hf_keep_restores all = {0};
    (void)state;
    scene_begin(&scene);
    tailer_slice(&scene.job.tailer, 1, 10, 7);
    struct deleting deleting = {.store = scene.kit.app.store,
                                .name = hf_object_name_text(&scene.job.tailer.name),
                                .armed = true};
    tailer_slice(&scene.job.tailer, 11, 20, 7);
    struct hf_snapshot_record snapshot = snapshot_of(&scene, 0x40, 3, 4);
    add_snapshot(&scene, &snapshot);
    hf_store_faulty_hook(scene.kit.app.store, delete_once, &deleting);
    struct hf_flow_restore_wish wish = wish_for(&scene, 15);
    EXPECT_ERROR(hf_flow_restore(&scene.kit.app, &wish, &restore, &err), HF_ERR_UNAVAILABLE,
                 "was deleted while the restore was planned", &err);
    hf_store_faulty_hook(scene.kit.app.store, NULL, NULL);
    assert_false(deleting.armed);
    const struct hf_catalog_query query = {.limit = 10};
    EXPECT_OK(hf_keep_restore_find(scene.kit.app.catalog, &query, &all, &err), &err);
    assert_int_equal(all.count, 1);
    assert_int_equal(all.items[0].state, HF_RESTORE_BROKEN);
    assert_int_equal(lease_count(&scene), 0);
    scene_end(&scene);
}

/* What is named is looked at before anything is said of it, points in time included. */
static void test_what_is_of_another_project_does_not_exist(void **state)
{
    struct hf_error err;
    struct scene scene;
    struct hf_restore_record restore;
    struct hf_link_record link;
    (void)state;
    scene_begin(&scene);
    tailer_slice(&scene.job.tailer, 1, 10, 7);
    struct hf_snapshot_record base = snapshot_of(&scene, 0x40, 2, 3);
    add_snapshot(&scene, &base);
    const struct hf_id project = fixed_id(0x77), agent = fixed_id(0x78);
    const struct hf_agent_record foreign = {
        .id = agent, .project = project, .host = "host-b", .restore_root = "/srv"};
    EXPECT_OK(hf_keep_agent_insert(scene.kit.app.catalog, &foreign, &err), &err);
    struct hf_flow_restore_wish wish = wish_for(&scene, 5);
    wish.agent = agent;
    EXPECT_ERROR(hf_flow_restore(&scene.kit.app, &wish, &restore, &err), HF_ERR_NOT_FOUND,
                 "there is no agent 78", &err);
    wish = wish_for(&scene, 50);
    wish.project = project;
    EXPECT_ERROR(hf_flow_restore(&scene.kit.app, &wish, &restore, &err), HF_ERR_NOT_FOUND,
                 "there is no job ", &err);
    const struct hf_flow_link_wish linked = {.project = project, .snapshot = base.id};
    EXPECT_ERROR(hf_flow_link(&scene.kit.app, &linked, &restore, &link, &err), HF_ERR_NOT_FOUND,
                 "there is no snapshot 40", &err);
    const struct hf_flow_target_wish onto = {
        .project = project, .snapshot = base.id, .set_name = "rs0"};
    EXPECT_ERROR(hf_flow_target(&scene.kit.app, &onto, &restore, &err), HF_ERR_NOT_FOUND,
                 "there is no snapshot 40", &err);
    /* An agent of another project takes no restore that named none. */
    const struct hf_id_text own = hf_id_text(&scene.agent);
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    EXPECT_OK(hf_catalog_get(scene.kit.app.catalog, HF_KIND_AGENT, own.text, &document, &err),
              &err);
    EXPECT_OK(
        hf_catalog_remove(scene.kit.app.catalog, HF_KIND_AGENT, own.text, document.revision, &err),
        &err);
    wish = wish_for(&scene, 5);
    wish.agent = (struct hf_id){{0}};
    EXPECT_ERROR(hf_flow_restore(&scene.kit.app, &wish, &restore, &err), HF_ERR_UNAVAILABLE,
                 "no agent that takes restores is connected", &err);
    scene_end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges_come_from_catalog_and_store),
        cmocka_unit_test(test_a_list_costs_the_new_headers_alone),
        cmocka_unit_test(test_requests_name_points_as_clients_write_them),
        cmocka_unit_test(test_a_restore_to_a_point_leases_what_its_plan_needs),
        cmocka_unit_test(test_a_link_to_a_point_leases_until_it_expires),
        cmocka_unit_test(test_a_capture_leases_what_may_become_its_base),
        cmocka_unit_test(test_a_slice_that_goes_while_a_restore_is_planned_breaks_it),
        cmocka_unit_test(test_what_is_of_another_project_does_not_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
