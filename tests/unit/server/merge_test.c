/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's look after many small slices: what restores and captures lease is left alone, and one job's damage is no
 * other's.
 */
#include "support/chain_kit.h"

#include "server/flow_merge.h"
#include "server/keep.h"
#include "server/points.h"
#include "snapshot/keys.h"

#define SLICES (HF_MERGE_MANY + 20)

/* A job with slices of three entries each: second 100, increments from 1. */
struct job {
    struct hf_id id;
    struct world world;
    struct tailer tailer;
};

struct scene {
    struct hf_server_app app;
    struct hf_log *log;
    struct hf_cancel cancel;
    struct job jobs[2];
};

static void begin_job(struct scene *scene, struct job *job, uint8_t id)
{
    struct hf_server_app *app = &scene->app;
    struct hf_error err;
    job->id = fixed_id(id);
    EXPECT_OK(
        hf_job_keys_create(app->store, &app->mark, &app->key, &job->id, &job->world.ring, &err),
        &err);
    job->world.store = app->store;
    job->world.next_writer = 0x20;
    EXPECT_OK(hf_slice_reader_create(app->store, &job->world.ring, &job->world.reader, &err), &err);
    tailer_begin(&job->tailer, &job->world, NULL);
    const struct hf_job_record record = {.id = job->id,
                                         .project = app->project,
                                         .cluster = fixed_id(3),
                                         .store = fixed_id(6),
                                         .set_name = "rs0",
                                         .state = HF_JOB_STARTED,
                                         .next_capture = 100};
    EXPECT_OK(hf_keep_job_insert(app->catalog, &record, &err), &err);
    for (uint32_t i = 0; i < SLICES; i++) {
        tailer_slice(&job->tailer, 1 + 3 * i, 3 + 3 * i, 5);
    }
}

static int set_up(void **state)
{
    struct hf_error err;
    const struct hf_catalog_options catalog = {.kinds = hf_backup_kinds,
                                               .kind_count = hf_backup_kind_count};
    const struct hf_store_create_options create = {
        .installation = fixed_id(1), .plain = true, .now_s = 1};
    struct scene *scene = hf_alloc_zero(sizeof *scene);
    assert_non_null(scene);
    struct hf_server_app *app = &scene->app;
    hf_cancel_init(&scene->cancel);
    app->cancel = &scene->cancel;
    app->project = fixed_id(5);
    scene->log = hf_log_create(stderr, HF_LOG_ERROR, false);
    app->log = scene->log;
    EXPECT_OK(hf_catalog_mem_create(&catalog, &app->catalog, &err), &err);
    EXPECT_OK(hf_store_mem_create(&app->store, &err), &err);
    app->oplog_store = app->store;
    EXPECT_OK(hf_points_cache_create(&app->points, &err), &err);
    EXPECT_OK(hf_store_keys_create(app->store, &create, &app->mark, &app->key, &err), &err);
    begin_job(scene, &scene->jobs[0], 2);
    begin_job(scene, &scene->jobs[1], 9);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    for (size_t i = 0; i < HF_ARRAY_LEN(scene->jobs); i++) {
        tailer_end(&scene->jobs[i].tailer);
        hf_slice_reader_destroy(scene->jobs[i].world.reader);
    }
    hf_points_cache_destroy(scene->app.points);
    hf_catalog_close(scene->app.catalog);
    hf_store_close(scene->app.store);
    hf_log_destroy(scene->log);
    hf_free(scene);
    return 0;
}

static size_t slices_of(struct scene *scene, const struct job *job)
{
    struct hf_error err;
    HF_CLEANUP(hf_points_destroy) struct hf_points *points = NULL;
    EXPECT_OK(hf_points_load_chains(&scene->app, &job->id, &points, &err), &err);
    assert_int_equal(points->chains.count, 1);
    expect_chain(&points->chains.items[0], 1, 3 * SLICES, HF_CHAIN_CAUSE, HF_CHAIN_OPEN);
    return points->chains.link_count;
}

static void add_restore(struct scene *scene, enum hf_restore_state restore_state,
                        uint32_t lease_from)
{
    struct hf_error err;
    const struct hf_restore_record restore = {
        .id = fixed_id((uint8_t)(0x60 + lease_from)),
        .snapshot = fixed_id(0x40),
        .job = scene->jobs[0].id,
        .project = scene->app.project,
        .cluster = fixed_id(3),
        .state = restore_state,
        .lease_from = {.seconds = 100, .increment = lease_from, .term = 1}};
    EXPECT_OK(hf_keep_restore_insert(scene->app.catalog, &restore, &err), &err);
}

static void test_every_job_s_slices_become_few(void **state)
{
    struct scene *scene = *state;
    struct hf_error err;
    add_restore(scene, HF_RESTORE_FINISHED, 1); /* it has ended, and needs nothing */
    EXPECT_OK(hf_flow_merge_tick(&scene->app, &err), &err);
    assert_int_equal(slices_of(scene, &scene->jobs[0]), 2);
    assert_int_equal(slices_of(scene, &scene->jobs[1]), 2);
    EXPECT_OK(hf_flow_merge_tick(&scene->app, &err), &err); /* few: not looked at */
    assert_int_equal(slices_of(scene, &scene->jobs[0]), 2);
}

static void test_a_restore_under_way_holds_what_it_reads(void **state)
{
    struct scene *scene = *state;
    struct hf_error err;
    add_restore(scene, HF_RESTORE_IN_PROGRESS, 70); /* inside the 24th */
    add_restore(scene, HF_RESTORE_IN_PROGRESS, 200);
    EXPECT_OK(hf_flow_merge_tick(&scene->app, &err), &err);
    assert_int_equal(slices_of(scene, &scene->jobs[0]), 1 + SLICES - 23);
    assert_int_equal(slices_of(scene, &scene->jobs[1]), 2);
}

static void test_damage_of_one_job_hinders_no_other(void **state)
{
    struct scene *scene = *state;
    struct hf_error err;
    spoil_slice(&scene->jobs[0].world, &scene->jobs[0].tailer.name,
                -30); /* its newest, in the header */
    for (uint32_t i = 0; i < 5; i++) {
        tailer_slice(&scene->jobs[1].tailer, 1000 + 3 * i, 1002 + 3 * i, 5);
    }
    struct hf_object_name bad = scene->jobs[1].tailer.name;
    tailer_slice(&scene->jobs[1].tailer, 1015, 1017, 5);
    spoil_slice(&scene->jobs[1].world, &bad, 40); /* in its first block: met when it is copied */
    assert_int_equal(hf_flow_merge_tick(&scene->app, &err), HF_ERR_CORRUPT);
    assert_non_null(strstr(err.message, hf_object_name_text(&bad).text));
    HF_CLEANUP(hf_points_destroy) struct hf_points *points = NULL;
    EXPECT_OK(hf_points_load_chains(&scene->app, &scene->jobs[0].id, &points, &err), &err);
    assert_true(points->chains.link_count < 10);
}

#define MERGE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MERGE_TEST(test_every_job_s_slices_become_few),
        MERGE_TEST(test_a_restore_under_way_holds_what_it_reads),
        MERGE_TEST(test_damage_of_one_job_hinders_no_other),
    };
    return cmocka_run_group_tests_name("server/merge", tests, NULL, NULL);
}
