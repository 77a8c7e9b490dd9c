/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's upkeep of its store: what is due is done, remembered and told, and nothing that is promised goes.
 */
#include "support/snapshot_kit.h"

#include "server/flow.h"
#include "server/flow_groom.h"
#include "server/keep.h"

#define DAY ((uint64_t)86400)
#define KEPT 3

struct scene {
    struct kit kit;
    struct hf_server_app app;
    struct hf_log *log;
    struct hf_cancel cancel;
    struct hf_manifest manifests[KEPT];
    struct hf_id snapshots[KEPT];
    char *source;
};

static void write_files(struct scene *scene, unsigned seed)
{
    struct hf_error err;
    HF_CLEANUP(hf_free) uint8_t *bytes = hf_alloc((size_t)1 << 20);
    assert_non_null(bytes);
    for (size_t i = 0; i < (size_t)1 << 20; i += 8) {
        hf_store_le64(bytes + i, (i + 1) * 0x9e3779b97f4a7c15u * (seed + 1));
    }
    for (unsigned i = 0; i < 2; i++) {
        /* The second file stays as it is, so that snapshots share it. */
        HF_CLEANUP(hf_free) char *path = hf_asprintf("%s/file-%u", scene->source, i);
        if (i == 0 || seed == 0) {
            struct hf_file *file = NULL;
            KIT_OK(hf_file_open(path, HF_OPEN_CREATE, 0600, &file, &err), &err);
            KIT_OK(hf_file_write_at(file, 0, hf_bytes_of(bytes, (size_t)1 << 20), &err), &err);
            hf_file_drop(file);
        }
    }
}

static void take(struct scene *scene, unsigned number)
{
    struct hf_error err;
    write_files(scene, number);
    kit_snapshot(&scene->kit, scene->source, number == 0 ? NULL : &scene->manifests[number - 1],
                 &scene->manifests[number]);
    const struct hf_manifest *manifest = &scene->manifests[number];
    const struct hf_snapshot_record record = {.id = manifest->snapshot,
                                              .job = scene->kit.job,
                                              .project = scene->app.first_project,
                                              .cluster = scene->app.first_project,
                                              .store = scene->kit.mark.store,
                                              .set_name = "rs0",
                                              .writer = manifest->writer,
                                              .state = HF_SNAPSHOT_COMPLETE,
                                              .capture = manifest->capture,
                                              .created_s = hf_flow_now_s()};
    scene->snapshots[number] = manifest->snapshot;
    KIT_OK(hf_keep_snapshot_insert(scene->app.catalog, &record, &err), &err);
}

static int set_up(void **state)
{
    struct hf_error err;
    const struct hf_catalog_options catalog = {.kinds = hf_backup_kinds,
                                               .kind_count = hf_backup_kind_count};
    struct scene *scene = hf_alloc_zero(sizeof *scene);
    assert_non_null(scene);
    kit_open(&scene->kit, &(struct kit_options){.plain = false});
    scene->kit.pack_bytes = (size_t)128 << 10;
    scene->source = kit_path(&scene->kit, "source");
    KIT_OK(hf_fs_make_dirs(scene->source, 0700, &err), &err);
    struct hf_server_app *app = &scene->app;
    hf_cancel_init(&scene->cancel);
    scene->log = hf_log_create(stderr, HF_LOG_ERROR, false);
    app->log = scene->log;
    app->cancel = &scene->cancel;
    app->first_project = kit_id();
    app->store = scene->kit.store;
    app->oplog_store = scene->kit.store;
    app->mark = scene->kit.mark;
    app->key = scene->kit.key;
    app->upkeep = (struct hf_upkeep_policy){.living_percent = HF_UPKEEP_LIVING_PERCENT,
                                            .groom_every_s = HF_UPKEEP_GROOM_EVERY_S,
                                            .count_every_s = HF_UPKEEP_COUNT_EVERY_S,
                                            .check_every_s = HF_UPKEEP_CHECK_EVERY_S};
    app->upkeep_slots = 1;
    app->process = kit_id();
    KIT_OK(hf_catalog_mem_create(&catalog, &app->catalog, &err), &err);
    const struct hf_job_record job = {.id = scene->kit.job,
                                      .project = app->first_project,
                                      .cluster = app->first_project,
                                      .store = scene->kit.mark.store,
                                      .set_name = "rs0",
                                      .state = HF_JOB_STARTED,
                                      .next_capture = 100};
    KIT_OK(hf_keep_job_insert(app->catalog, &job, &err), &err);
    for (unsigned i = 0; i < KEPT; i++) {
        take(scene, i);
    }
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    for (unsigned i = 0; i < KEPT; i++) {
        hf_manifest_fini(&scene->manifests[i]);
    }
    hf_catalog_close(scene->app.catalog);
    hf_log_destroy(scene->log);
    hf_free(scene->source);
    kit_close(&scene->kit);
    hf_free(scene);
    return 0;
}

static struct hf_usage_record usage_of(struct scene *scene)
{
    struct hf_error err;
    struct hf_usage_record usage;
    KIT_OK(hf_keep_usage_get(scene->app.catalog, &scene->kit.job, &usage, NULL, &err), &err);
    return usage;
}

static void put_usage(struct scene *scene, const struct hf_usage_record *wanted)
{
    struct hf_error err;
    struct hf_usage_record usage;
    uint64_t revision = 0;
    KIT_OK(hf_keep_usage_get(scene->app.catalog, &scene->kit.job, &usage, &revision, &err), &err);
    KIT_OK(hf_keep_usage_replace(scene->app.catalog, wanted, &revision, &err), &err);
}

static void tick(struct scene *scene)
{
    struct hf_error err;
    KIT_OK(hf_flow_upkeep_tick(&scene->app, &err), &err);
}

static struct hf_snapshot_record record_of(struct scene *scene, unsigned number)
{
    struct hf_error err;
    struct hf_snapshot_record record;
    KIT_OK(hf_keep_snapshot_get(scene->app.catalog, &scene->snapshots[number], &record, NULL, &err),
           &err);
    return record;
}

/* The catalog says so; the manifest may still stand. */
static void set_state(struct scene *scene, unsigned number, enum hf_snapshot_state to,
                      uint64_t finished_s)
{
    struct hf_error err;
    struct hf_snapshot_record record;
    uint64_t revision = 0;
    KIT_OK(hf_keep_snapshot_get(scene->app.catalog, &scene->snapshots[number], &record, &revision,
                                &err),
           &err);
    record.state = to;
    record.finished_s = finished_s;
    KIT_OK(hf_keep_snapshot_replace(scene->app.catalog, &record, &revision, &err), &err);
}

static void expire(struct scene *scene, unsigned number)
{
    struct hf_error err;
    set_state(scene, number, HF_SNAPSHOT_EXPIRED, hf_flow_now_s());
    KIT_OK(hf_commit_delete_manifest(scene->kit.store, &scene->kit.job,
                                     scene->manifests[number].capture, &err),
           &err);
}

static uint64_t events_of(struct scene *scene, const char *type, char text[1024])
{
    struct hf_error err;
    const struct hf_catalog_query query = {.limit = 1000};
    HF_CLEANUP(hf_keep_events_fini) struct hf_keep_events events = {0};
    uint64_t count = 0;
    KIT_OK(hf_keep_event_find(scene->app.catalog, &query, &events, &err), &err);
    for (size_t i = 0; i < events.count; i++) {
        if (strcmp(events.items[i].type, type) == 0) {
            (void)snprintf(text, 1024, "%s", events.items[i].text);
            count++;
        }
    }
    return count;
}

static void test_a_job_is_counted_groomed_and_counted_again(void **state)
{
    struct scene *scene = *state;
    tick(scene);
    struct hf_usage_record usage = usage_of(scene);
    assert_int_equal(usage.snapshots, KEPT);
    assert_int_equal(usage.dead_bytes, 0);
    assert_int_equal(usage.dead_blocks, 0);
    assert_true(usage.living_bytes > (size_t)4 << 20);
    assert_string_equal(usage.set_name, "rs0");
    uint64_t counted_s = usage.counted_s;
    assert_int_not_equal(counted_s, 0);
    expire(scene, 0);
    expire(scene, 1);
    tick(scene); /* nothing is due: the numbers are fresh */
    assert_int_equal(usage_of(scene).dead_bytes, 0);
    usage.counted_s -= 3 * DAY;
    put_usage(scene, &usage);
    tick(scene); /* a count; the groom waits for its two weeks */
    usage = usage_of(scene);
    assert_int_equal(usage.snapshots, 1);
    assert_true(usage.dead_bytes > (size_t)2 << 20);
    assert_true(usage.going_objects > 0);
    assert_true(usage.freed_bytes > (size_t)2 << 20);
    assert_int_equal(usage.groomed_s, 0);
    usage.created_s -= 14 * DAY;
    usage.checked_s = hf_flow_now_s();
    put_usage(scene, &usage);
    tick(scene);
    assert_int_equal(usage_of(scene).groomed_deleted >= usage.going_objects, true);
    assert_int_not_equal(usage_of(scene).groomed_s, 0);
    assert_false(hf_usage_is_stale(&(struct hf_usage_record){
        .counted_s = usage_of(scene).counted_s, .groomed_s = usage_of(scene).groomed_s}));
    assert_true(usage_of(scene).dead_bytes < usage.dead_bytes / 4);
    kit_expect_no_damage(&scene->kit, HF_VERIFY_CONTENT);
    char *dir = kit_path(&scene->kit, "restored");
    kit_restore(&scene->kit, &scene->manifests[2], dir);
    hf_free(dir);
}

static void test_a_known_snapshot_that_is_not_listed_stops_the_groom_and_is_told(void **state)
{
    struct scene *scene = *state;
    struct hf_error err;
    uint64_t asked = 0;
    char text[1024];
    KIT_OK(hf_commit_delete_manifest(scene->kit.store, &scene->kit.job, scene->manifests[0].capture,
                                     &err),
           &err);
    KIT_OK(hf_flow_upkeep_ask(
               &scene->app,
               &(struct hf_flow_upkeep_wish){.work = HF_UPKEEP_GROOM, .living_percent = 100},
               &asked, &err),
           &err);
    assert_int_equal(asked, 1);
    assert_true(atomic_load(&scene->app.upkeep_wanted));
    tick(scene);
    struct hf_usage_record usage = usage_of(scene);
    assert_int_equal(usage.groomed_s, 0);
    assert_int_equal(usage.asked_groom_s, 0);
    assert_string_equal(usage.failed_work, "GROOM");
    assert_non_null(strstr(usage.error, "snapshot 1 is known and its manifest is not listed"));
    assert_int_equal(events_of(scene, HF_EVENT_UPKEEP_FAILED, text), 1);
    assert_non_null(strstr(text, "GROOM failed: "));
    tick(scene); /* it waits */
    assert_int_equal(usage_of(scene).failures, 1);
    /* Expired by another, after it was read as COMPLETE: that is no damage. */
    set_state(scene, 0, HF_SNAPSHOT_EXPIRED, hf_flow_now_s());
    KIT_OK(hf_flow_upkeep_ask(
               &scene->app,
               &(struct hf_flow_upkeep_wish){.work = HF_UPKEEP_GROOM, .job = scene->kit.job},
               &asked, &err),
           &err);
    tick(scene);
    assert_int_not_equal(usage_of(scene).groomed_s, 0);
    assert_int_equal(usage_of(scene).failures, 0);
}

/* Flips a byte of the first block of the newest data object. */
static void spoil(struct scene *scene)
{
    struct hf_error err;
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL};
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_STORE_OBJECT_MAX_BYTES);
    struct hf_object_text prefix = hf_object_prefix(HF_OBJECT_DATA, &scene->kit.job);
    KIT_OK(
        hf_store_list(scene->kit.store, hf_str_of(prefix.text), hf_str_of(""), 1000, &list, &err),
        &err);
    struct hf_str name = hf_str_of(list.entries[0].name); /* of the first snapshot: all share it */
    KIT_OK(hf_store_get(scene->kit.store, name, HF_STORE_OBJECT_MAX_BYTES, &bytes, &err), &err);
    bytes.data[100] ^= 1;
    KIT_OK(hf_store_delete(scene->kit.store, name, &err), &err);
    KIT_OK(hf_store_put(scene->kit.store, name, hf_buf_bytes(&bytes), NULL, &err), &err);
}

static void check(struct scene *scene, bool full)
{
    struct hf_error err;
    uint64_t asked = 0;
    KIT_OK(hf_flow_upkeep_ask(&scene->app,
                              &(struct hf_flow_upkeep_wish){.work = HF_UPKEEP_CHECK, .full = full},
                              &asked, &err),
           &err);
    tick(scene);
    assert_int_equal(usage_of(scene).asked_check_s, 0);
}

static void test_damage_is_found_named_and_over_once_it_is_healed(void **state)
{
    struct scene *scene = *state;
    char text[1024];
    check(scene, true);
    assert_int_equal(usage_of(scene).checked_snapshots, KEPT);
    assert_true(usage_of(scene).checked_full);
    assert_true(record_of(scene, 1).verified_ok);
    assert_int_equal(record_of(scene, 1).verified_capture, 99);
    spoil(scene);
    /* Of eight samples together one has it, and only that one speaks. */
    unsigned rounds = 0;
    while (usage_of(scene).damaged_snapshots == 0 && rounds++ < HF_UPKEEP_SHARES) {
        check(scene, false);
    }
    assert_true(usage_of(scene).damaged_snapshots > 0);
    assert_int_equal(events_of(scene, HF_EVENT_STORE_DAMAGED, text), 1);
    unsigned damaged = 0;
    for (unsigned i = 0; i < KEPT; i++) {
        bool named = strstr(text, hf_id_text(&scene->snapshots[i]).text) != NULL;
        assert_int_equal(named, !record_of(scene, i).verified_ok);
        if (named) {
            assert_non_null(strstr(record_of(scene, i).verified_error, "file-"));
            damaged++;
        }
    }
    assert_int_equal(damaged, usage_of(scene).damaged_snapshots);
    /* The next capture proves what it builds on and reads what is bad again; the check after it is a full one by itself. */
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest next = {.capture = 0};
    write_files(scene, 0);
    scene->kit.prove_parent = true;
    kit_snapshot(&scene->kit, scene->source, &scene->manifests[0], &next);
    check(scene, false);
    assert_true(usage_of(scene).checked_full);
    assert_int_equal(usage_of(scene).damaged_snapshots, 0);
    for (unsigned i = 0; i < KEPT; i++) {
        assert_true(record_of(scene, i).verified_ok);
    }
    assert_int_equal(events_of(scene, HF_EVENT_STORE_DAMAGED, text), 1);
}

static void test_works_of_another_living_server_are_left_to_it(void **state)
{
    struct scene *scene = *state;
    struct hf_error err;
    struct hf_slot_record slot = {.id = hf_upkeep_slot_id(&scene->app.mark.store, 0),
                                  .store = scene->app.mark.store,
                                  .server = kit_id(),
                                  .job = kit_id(),
                                  .work = HF_UPKEEP_GROOM,
                                  .seen_s = hf_flow_now_s()};
    KIT_OK(hf_server_heard_create(&scene->app.heard, &err), &err);
    KIT_OK(hf_keep_slot_insert(scene->app.catalog, &slot, &err), &err);
    tick(scene);
    assert_int_equal(usage_of(scene).counted_s, 0); /* its only slot is taken */
    scene->app.upkeep_slots = 2;
    tick(scene);
    assert_int_not_equal(usage_of(scene).counted_s, 0);
    scene->app.upkeep_slots = 1;
    struct hf_usage_record usage = usage_of(scene);
    usage.counted_s = 0;
    put_usage(scene, &usage);
    /* It lost its slot, or died: on our clock, whatever the other's says. */
    hf_server_heard_listen(scene->app.heard, (uint64_t)(HF_UPKEEP_SLOT_SILENT_S + 5) * 1000);
    tick(scene);
    assert_int_not_equal(usage_of(scene).counted_s, 0);
    struct hf_flow_upkeep_slots slots;
    KIT_OK(hf_flow_upkeep_slots(&scene->app, &scene->app.mark.store, &slots, &err), &err);
    assert_true(hf_id_is_none(&slots.items[0].server)); /* and given back */
    hf_server_heard_destroy(scene->app.heard);
    scene->app.heard = NULL;
}

static void test_what_the_end_of_the_server_broke_off_is_due_again(void **state)
{
    struct scene *scene = *state;
    struct hf_error err;
    uint64_t asked = 0;
    const struct hf_flow_upkeep_wish wish = {.work = HF_UPKEEP_GROOM, .living_percent = 100};
    expire(scene, 0);
    KIT_OK(hf_flow_upkeep_ask(&scene->app, &wish, &asked, &err), &err);
    hf_cancel_request(&scene->cancel);
    tick(scene);
    assert_int_equal(usage_of(scene).failures, 0);
    assert_int_not_equal(usage_of(scene).asked_groom_s, 0);
    hf_cancel_init(&scene->cancel);
    tick(scene);
    assert_int_equal(usage_of(scene).asked_groom_s, 0);
    assert_int_equal(usage_of(scene).dead_bytes, 0);
    assert_int_equal(
        hf_flow_upkeep_ask(&scene->app,
                           &(struct hf_flow_upkeep_wish){.work = HF_UPKEEP_GROOM, .job = kit_id()},
                           &asked, &err),
        HF_ERR_NOT_FOUND);
}

static bool void_stands(struct scene *scene, uint64_t capture)
{
    struct hf_error err;
    HF_CLEANUP(hf_capture_list_fini) struct hf_capture_list list = {.captures = NULL};
    KIT_OK(hf_list_captures(scene->kit.store, &scene->kit.job, &list, &err), &err);
    for (size_t i = 0; i < list.count; i++) {
        if (list.captures[i] == capture) {
            return true;
        }
    }
    return false;
}

static void test_voids_go_after_thirty_days_and_manifests_stay(void **state)
{
    struct scene *scene = *state;
    struct hf_error err;
    enum hf_give_up_outcome outcome;
    const uint64_t given_up = 50;
    struct hf_snapshot_record record = record_of(scene, 0);
    KIT_OK(hf_commit_give_up(scene->kit.store, &scene->kit.job, given_up, &outcome, &err), &err);
    record.id = kit_id();
    record.capture = given_up;
    record.state = HF_SNAPSHOT_ABANDONED;
    record.finished_s = hf_flow_now_s() - 30 * DAY + 100;
    KIT_OK(hf_keep_snapshot_insert(scene->app.catalog, &record, &err), &err);
    tick(scene);
    assert_true(void_stands(scene, given_up));
    uint64_t revision = 1;
    record.finished_s -= 100;
    KIT_OK(hf_keep_snapshot_replace(scene->app.catalog, &record, &revision, &err), &err);
    /* A record that says ABANDONED where a manifest stands: it stays. */
    set_state(scene, 0, HF_SNAPSHOT_ABANDONED, hf_flow_now_s() - 31 * DAY);
    struct hf_usage_record usage = usage_of(scene);
    usage.counted_s = 0;
    put_usage(scene, &usage);
    tick(scene);
    assert_false(void_stands(scene, given_up));
    assert_true(void_stands(scene, scene->manifests[0].capture));
    KIT_OK(hf_keep_snapshot_get(scene->app.catalog, &record.id, &record, NULL, &err), &err);
    assert_true(record.void_dropped);
}

static void test_a_record_without_its_job_goes(void **state)
{
    struct scene *scene = *state;
    struct hf_error err;
    struct hf_usage_record usage = {.id = kit_id(),
                                    .project = scene->app.first_project,
                                    .store = scene->app.first_project,
                                    .set_name = "gone"};
    KIT_OK(hf_keep_usage_insert(scene->app.catalog, &usage, &err), &err);
    tick(scene);
    assert_int_equal(hf_keep_usage_get(scene->app.catalog, &usage.id, &usage, NULL, &err),
                     HF_ERR_NOT_FOUND);
    assert_int_equal(usage_of(scene).snapshots, KEPT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_job_is_counted_groomed_and_counted_again),
        TEST(test_a_known_snapshot_that_is_not_listed_stops_the_groom_and_is_told),
        TEST(test_damage_is_found_named_and_over_once_it_is_healed),
        TEST(test_works_of_another_living_server_are_left_to_it),
        TEST(test_what_the_end_of_the_server_broke_off_is_due_again),
        TEST(test_voids_go_after_thirty_days_and_manifests_stay),
        TEST(test_a_record_without_its_job_goes),
    };
    kit_use_all();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
