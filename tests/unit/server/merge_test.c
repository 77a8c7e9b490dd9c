/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's look after many small slices: what restores and captures lease is left alone, and one job's damage is no
 * other's.
 */
#include "support/server_kit.h"

#include "base/fault.h"
#include "server/flow_merge.h"

#define SLICES (HF_MERGE_MANY + 20)

struct scene {
    struct server_kit kit;
    struct kit_job jobs[2];
};

static int set_up(void **state)
{
    struct scene *scene = hf_alloc_zero(sizeof *scene);
    assert_non_null(scene);
    server_kit_begin(&scene->kit);
    for (uint8_t i = 0; i < 2; i++) {
        kit_job_begin(&scene->kit, &scene->jobs[i], i == 0 ? 2 : 9);
        /* Of three entries each: second 100, increments from 1. */
        for (uint32_t k = 0; k < SLICES; k++) {
            tailer_slice(&scene->jobs[i].tailer, 1 + 3 * k, 3 + 3 * k, 5);
        }
    }
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    for (size_t i = 0; i < HF_ARRAY_LEN(scene->jobs); i++) {
        kit_job_end(&scene->jobs[i]);
    }
    server_kit_end(&scene->kit);
    hf_free(scene);
    return 0;
}

static size_t slices_of(struct scene *scene, const struct kit_job *job)
{
    struct hf_error err;
    HF_CLEANUP(hf_points_destroy) struct hf_points *points = NULL;
    EXPECT_OK(hf_points_load_chains(&scene->kit.app, &job->id, &points, &err), &err);
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
        .project = scene->kit.app.first_project,
        .cluster = fixed_id(3),
        .state = restore_state,
        .lease_from = {.seconds = 100, .increment = lease_from, .term = 1}};
    EXPECT_OK(hf_keep_restore_insert(scene->kit.app.catalog, &restore, &err), &err);
}

static void test_every_job_s_slices_become_few(void **state)
{
    struct scene *scene = *state;
    struct hf_error err;
    add_restore(scene, HF_RESTORE_FINISHED, 1); /* it has ended, and needs nothing */
    EXPECT_OK(hf_flow_merge_tick(&scene->kit.app, &err), &err);
    assert_int_equal(slices_of(scene, &scene->jobs[0]), 2);
    assert_int_equal(slices_of(scene, &scene->jobs[1]), 2);
    EXPECT_OK(hf_flow_merge_tick(&scene->kit.app, &err), &err); /* few: not looked at */
    assert_int_equal(slices_of(scene, &scene->jobs[0]), 2);
}

static void test_what_a_merge_that_was_cut_off_left_goes_however_little(void **state)
{
    struct scene *scene = *state;
    struct hf_error err;
    hf_fault_arm_nth("oplog.merge.deleted", HF_ERR_UNAVAILABLE, 60, 1);
    assert_int_equal(hf_flow_merge_tick(&scene->kit.app, &err), HF_ERR_UNAVAILABLE);
    hf_fault_disarm_all();
    size_t left = slices_of(scene, &scene->jobs[0]) + slices_of(scene, &scene->jobs[1]);
    assert_true(left > 10 && left < HF_MERGE_MANY);
    EXPECT_OK(hf_flow_merge_tick(&scene->kit.app, &err), &err);
    assert_int_equal(slices_of(scene, &scene->jobs[0]), 2);
    assert_int_equal(slices_of(scene, &scene->jobs[1]), 2);
}

static void test_a_restore_under_way_holds_what_it_reads(void **state)
{
    struct scene *scene = *state;
    struct hf_error err;
    add_restore(scene, HF_RESTORE_IN_PROGRESS, 70); /* inside the 24th */
    add_restore(scene, HF_RESTORE_IN_PROGRESS, 200);
    EXPECT_OK(hf_flow_merge_tick(&scene->kit.app, &err), &err);
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
    assert_int_equal(hf_flow_merge_tick(&scene->kit.app, &err), HF_ERR_CORRUPT);
    assert_non_null(strstr(err.message, hf_object_name_text(&bad).text));
    HF_CLEANUP(hf_points_destroy) struct hf_points *points = NULL;
    EXPECT_OK(hf_points_load_chains(&scene->kit.app, &scene->jobs[0].id, &points, &err), &err);
    assert_true(points->chains.link_count < 10);
}

#define MERGE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MERGE_TEST(test_every_job_s_slices_become_few),
        MERGE_TEST(test_what_a_merge_that_was_cut_off_left_goes_however_little),
        MERGE_TEST(test_a_restore_under_way_holds_what_it_reads),
        MERGE_TEST(test_damage_of_one_job_hinders_no_other),
    };
    return cmocka_run_group_tests_name("server/merge", tests, NULL, NULL);
}
