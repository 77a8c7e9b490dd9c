/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restorable ranges, targets, plans and pruning. Times are increments of second 100 unless a test says otherwise.
 */
#include "support/chain_kit.h"

#include "oplog/ranges.h"

static struct hf_optime at(uint32_t increment)
{
    return (struct hf_optime){.seconds = 100, .increment = increment, .term = 1};
}

/* A snapshot whose copy is certain up to `committed`. */
static struct hf_base_snapshot snapshot(uint8_t id, uint32_t checkpoint, uint32_t committed)
{
    struct hf_base_snapshot base = {.id = fixed_id(id),
                                    .capture = id,
                                    .checkpoint = at(checkpoint),
                                    .oplog_end = at(committed),
                                    .committed = at(committed)};
    base.checkpoint.term = -1;
    return base;
}

struct scene {
    struct world world;
    struct tailer tailer;
    struct hf_chains chains;
    struct hf_ranges ranges;
};

static void scene_begin(struct scene *scene)
{
    *scene = (struct scene){.chains = {.links = NULL}};
    world_begin(&scene->world);
    tailer_begin(&scene->tailer, &scene->world, NULL);
}

static void scene_end(struct scene *scene)
{
    hf_ranges_fini(&scene->ranges);
    hf_chains_fini(&scene->chains);
    tailer_end(&scene->tailer);
    world_end(&scene->world);
}

static void compute(struct scene *scene, const struct hf_base_snapshot *snapshots, size_t count)
{
    struct hf_error err;
    hf_ranges_fini(&scene->ranges);
    hf_chains_fini(&scene->chains);
    load_chains(&scene->world, &scene->chains);
    struct hf_ranges_options options = {.chains = &scene->chains,
                                        .snapshots = snapshots,
                                        .snapshot_count = count,
                                        .reader = scene->world.reader};
    EXPECT_OK(hf_ranges_compute(&options, &scene->ranges, &err), &err);
}

static void expect_range(const struct scene *scene, size_t i, uint32_t start, uint32_t end,
                         enum hf_chain_edge edge, const char *text)
{
    assert_true(i < scene->ranges.count);
    const struct hf_range *range = &scene->ranges.items[i];
    if (range->start.increment != start || range->end.increment != end || range->end_edge != edge ||
        strstr(range->end_text, text) == NULL) {
        fail_msg("range %zu: %u to %u, %s: %s", i, (unsigned)range->start.increment,
                 (unsigned)range->end.increment, hf_chain_edge_word(range->end_edge),
                 range->end_text);
    }
}

static struct hf_target entry_target(uint32_t increment)
{
    return (struct hf_target){.kind = HF_TARGET_TIMESTAMP, .seconds = 100, .increment = increment};
}

static void plan_for(const struct scene *scene, uint32_t increment, struct hf_plan *out)
{
    struct hf_error err;
    struct hf_target target = entry_target(increment);
    EXPECT_OK(hf_ranges_plan(&scene->ranges, &target, NULL, scene->world.reader, out, &err), &err);
}

/* ---- Ranges ---- */

static void test_a_chain_behind_a_snapshot_is_a_range(void **state)
{
    struct scene s;
    (void)state;
    scene_begin(&s);
    compute(&s, NULL, 0);
    assert_int_equal(s.ranges.count, 0);
    tailer_slice(&s.tailer, 1, 20, 7);
    tailer_slice(&s.tailer, 21, 40, 7);
    struct hf_base_snapshot snapshots[] = {snapshot(2, 25, 30), snapshot(1, 5, 9)};
    compute(&s, snapshots, 2);
    assert_int_equal(s.ranges.count, 1);
    expect_range(&s, 0, 5, 40, HF_CHAIN_OPEN, "newest entry");
    assert_int_equal(s.ranges.snapshots[s.ranges.items[0].base].capture, 1);
    /* Only the second one is left: the range begins there. */
    compute(&s, snapshots, 1);
    expect_range(&s, 0, 25, 40, HF_CHAIN_OPEN, "newest entry");
    scene_end(&s);
}

static void test_a_copy_alone_reaches_as_far_as_its_own_oplog(void **state)
{
    struct scene s;
    (void)state;
    scene_begin(&s);
    struct hf_base_snapshot snapshots[] = {snapshot(1, 5, 9), snapshot(2, 12, 12)};
    snapshots[1].committed = (struct hf_optime){.seconds = 0};
    compute(&s, snapshots, 2);
    assert_int_equal(s.ranges.count, 2);
    expect_range(&s, 0, 5, 9, HF_CHAIN_MISSING, "no stored oplog");
    expect_range(&s, 1, 12, 12, HF_CHAIN_MISSING, "no stored oplog");
    scene_end(&s);
}

static void test_a_chain_that_begins_inside_the_copy_goes_on_with_it(void **state)
{
    struct scene s;
    (void)state;
    scene_begin(&s);
    tailer_slice(&s.tailer, 10, 30, 7);
    /* Certain up to 9: nobody knows whether an entry is between 9 and 10. */
    struct hf_base_snapshot base = snapshot(1, 5, 9);
    compute(&s, &base, 1);
    expect_range(&s, 0, 5, 9, HF_CHAIN_MISSING, "no stored oplog");
    base = snapshot(1, 5, 10);
    compute(&s, &base, 1);
    assert_int_equal(s.ranges.count, 1);
    expect_range(&s, 0, 5, 30, HF_CHAIN_OPEN, "newest");
    scene_end(&s);
}

static void test_the_cause_of_an_end_is_told_and_the_next_range_needs_its_own_base(void **state)
{
    struct scene s;
    (void)state;
    scene_begin(&s);
    tailer_slice(&s.tailer, 1, 20, 7);
    hf_slicer_break(s.tailer.slicer, HF_CHAIN_ROLLED_OVER, NULL);
    tailer_slice(&s.tailer, 31, 50, 7);
    struct hf_base_snapshot snapshots[] = {snapshot(1, 5, 9), snapshot(2, 40, 41)};
    compute(&s, snapshots, 1);
    assert_int_equal(s.ranges.count, 1);
    expect_range(&s, 0, 5, 20, HF_CHAIN_CAUSE, "no longer held the entry");
    assert_int_equal(s.ranges.items[0].end_cause, HF_CHAIN_ROLLED_OVER);
    compute(&s, snapshots, 2);
    assert_int_equal(s.ranges.count, 2);
    expect_range(&s, 1, 40, 50, HF_CHAIN_OPEN, "newest");
    scene_end(&s);
}

static void test_a_copy_that_was_rolled_back_is_no_base_for_later_targets(void **state)
{
    struct scene s;
    (void)state;
    scene_begin(&s);
    tailer_slice(&s.tailer, 1, 15, 7);
    /* 12 is certain; 16 of term 1 was in the copy and was rolled back: the set went on in term 2. */
    struct hf_base_snapshot base = snapshot(1, 5, 12);
    base.oplog_end = at(16);
    compute(&s, &base, 1);
    expect_range(&s, 0, 5, 12, HF_CHAIN_OPEN, "has not reached the end");
    for (uint32_t i = 16; i <= 20; i++) {
        struct hf_optime optime = {.seconds = 100, .increment = i, .term = 2};
        tailer_add(&s.tailer, &optime, 7);
    }
    tailer_put(&s.tailer);
    compute(&s, &base, 1);
    assert_int_equal(s.ranges.count, 1);
    expect_range(&s, 0, 5, 12, HF_CHAIN_DIVERGED, "rolled back entries");
    /* With the right term it is a base again. */
    base.oplog_end.term = 2;
    compute(&s, &base, 1);
    expect_range(&s, 0, 5, 20, HF_CHAIN_OPEN, "newest");
    /* The same timestamp under another term is not the entry that the copy is certain of. */
    base = snapshot(1, 5, 12);
    base.committed.term = 2;
    compute(&s, &base, 1);
    expect_range(&s, 0, 5, 12, HF_CHAIN_MISSING, "no stored oplog");
    scene_end(&s);
}

static void append_fcv(struct scene *s, uint32_t increment)
{
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT((size_t)1 << 20);
    bool taken = false;
    size_t start = bson_begin(&buf);
    bson_text(&buf, "op", "u");
    bson_text(&buf, "ns", "admin.system.version");
    bson_end(&buf, bson_nested(&buf, HF_BSON_DOCUMENT, "o"));
    size_t o2 = bson_nested(&buf, HF_BSON_DOCUMENT, "o2");
    bson_text(&buf, "_id", "featureCompatibilityVersion");
    bson_end(&buf, o2);
    bson_timestamp(&buf, "ts", 100, increment);
    bson_int64(&buf, "t", 1);
    bson_end(&buf, start);
    EXPECT_OK(hf_slicer_add(s->tailer.slicer, hf_buf_bytes(&buf), 0, &taken, &err), &err);
    assert_true(taken);
}

static void test_no_range_crosses_a_change_of_version(void **state)
{
    struct scene s;
    (void)state;
    scene_begin(&s);
    tailer_slice(&s.tailer, 1, 19, 7);
    append_fcv(&s, 20);
    tailer_slice(&s.tailer, 21, 40, 7);
    /* The third one's copy reaches from before the change to behind it. */
    struct hf_base_snapshot snapshots[] = {snapshot(1, 5, 9), snapshot(2, 30, 31),
                                           snapshot(3, 15, 25)};
    compute(&s, snapshots, 2);
    assert_int_equal(s.ranges.count, 2);
    expect_range(&s, 0, 5, 19, HF_CHAIN_CAUSE, "compatibility version changed");
    expect_range(&s, 1, 30, 40, HF_CHAIN_OPEN, "newest");
    compute(&s, snapshots, 3);
    assert_int_equal(s.ranges.count, 3);
    expect_range(&s, 1, 15, 19, HF_CHAIN_CAUSE, "compatibility version changed");
    expect_range(&s, 2, 30, 40, HF_CHAIN_OPEN, "newest");
    scene_end(&s);
}

/* The change lies in the copy, before the chain that holds the rest of it begins: another tailer saw it. */
static void test_a_copy_that_holds_a_change_of_version_is_no_base_behind_it(void **state)
{
    struct scene s;
    struct tailer other;
    const struct hf_chain_point start = {.cause = HF_CHAIN_ROLLED_OVER, .broken_after = at(3)};
    (void)state;
    scene_begin(&s);
    tailer_slice(&s.tailer, 1, 19, 7);
    append_fcv(&s, 20);
    tailer_put(&s.tailer);
    tailer_begin(&other, &s.world, &start);
    tailer_slice(&other, 22, 40, 7);
    struct hf_base_snapshot snapshots[] = {snapshot(1, 15, 25), snapshot(2, 30, 31)};
    compute(&s, snapshots, 2);
    assert_int_equal(s.ranges.count, 2);
    expect_range(&s, 0, 15, 19, HF_CHAIN_CAUSE, "compatibility version changed");
    expect_range(&s, 1, 30, 40, HF_CHAIN_OPEN, "newest");
    tailer_end(&other);
    scene_end(&s);
}

/* The chain before the change is a history that was rolled back, and went further than the change's time. */
static void test_a_change_of_version_behind_another_history_ends_the_copy_s_range(void **state)
{
    struct scene s;
    const struct hf_chain_point start = {.cause = HF_CHAIN_ROLLBACK, .broken_after = at(900)};
    (void)state;
    scene_begin(&s);
    tailer_end(&s.tailer);
    tailer_begin(&s.tailer, &s.world, &start);
    append_fcv(&s, 20);
    tailer_slice(&s.tailer, 21, 40, 7);
    struct hf_base_snapshot base = snapshot(1, 15, 25);
    compute(&s, &base, 1);
    assert_int_equal(s.ranges.count, 1);
    expect_range(&s, 0, 15, 15, HF_CHAIN_CAUSE, "compatibility version changed");
    scene_end(&s);
}

static void test_a_damaged_block_that_is_met_ends_the_range(void **state)
{
    struct scene s;
    struct hf_object_name middle;
    (void)state;
    scene_begin(&s);
    tailer_slice(&s.tailer, 1, 10, 7);
    tailer_slice(&s.tailer, 11, 20, 7);
    middle = s.tailer.name;
    tailer_slice(&s.tailer, 21, 30, 7);
    struct hf_base_snapshot snapshots[] = {snapshot(1, 3, 5), snapshot(2, 12, 14)};
    spoil_slice(&s.world, &middle, 60);
    compute(&s, snapshots, 2);
    /* The second snapshot's entry was looked for in that block. */
    assert_int_equal(s.ranges.count, 2);
    expect_range(&s, 0, 3, 10, HF_CHAIN_DAMAGED, hf_object_name_text(&middle).text);
    expect_range(&s, 1, 12, 14, HF_CHAIN_MISSING, "no stored oplog");
    scene_end(&s);
}

/* ---- Targets ---- */

static void test_a_date_excludes_its_second_and_a_timestamp_includes_its_entry(void **state)
{
    struct hf_error err;
    struct scene s;
    (void)state;
    scene_begin(&s);
    for (uint32_t second = 200; second < 210; second++) {
        for (uint32_t i = 1; i <= 3; i++) {
            struct hf_optime optime = {.seconds = second, .increment = i, .term = 1};
            tailer_add(&s.tailer, &optime, 7);
        }
        tailer_put(&s.tailer);
    }
    struct hf_base_snapshot base = {.id = fixed_id(1),
                                    .checkpoint = {200, 2, -1},
                                    .oplog_end = {200, 3, 1},
                                    .committed = {200, 3, 1}};
    compute(&s, &base, 1);
    HF_CLEANUP(hf_plan_fini) struct hf_plan plan = {.links = NULL};
    struct hf_target date = {.kind = HF_TARGET_DATE, .seconds = 204};
    EXPECT_OK(hf_ranges_plan(&s.ranges, &date, NULL, s.world.reader, &plan, &err), &err);
    assert_int_equal(plan.truncate_after.seconds, 203);
    assert_int_equal(plan.truncate_after.increment, 3);
    hf_plan_fini(&plan);
    struct hf_target entry = {.kind = HF_TARGET_TIMESTAMP, .seconds = 204, .increment = 1};
    EXPECT_OK(hf_ranges_plan(&s.ranges, &entry, NULL, s.world.reader, &plan, &err), &err);
    assert_int_equal(plan.truncate_after.seconds, 204);
    assert_int_equal(plan.truncate_after.increment, 1);
    assert_true(plan.inserts);
    hf_plan_fini(&plan);
    /* The last second may still get entries; its first instant is sure. */
    const struct {
        uint32_t seconds;
        bool has;
    } dates[] = {{200, false}, {201, true}, {209, true}, {210, false}};
    for (size_t i = 0; i < HF_ARRAY_LEN(dates); i++) {
        date.seconds = dates[i].seconds;
        assert_int_equal(hf_range_has(&s.ranges.items[0], &date), dates[i].has);
    }
    const struct {
        uint32_t seconds, increment;
        bool has;
    } entries[] = {{200, 1, false}, {200, 2, true}, {209, 3, true}, {209, 4, false}};
    for (size_t i = 0; i < HF_ARRAY_LEN(entries); i++) {
        entry.seconds = entries[i].seconds;
        entry.increment = entries[i].increment;
        assert_int_equal(hf_range_has(&s.ranges.items[0], &entry), entries[i].has);
    }
    date.seconds = 300;
    EXPECT_ERROR(
        hf_ranges_plan(&s.ranges, &date, NULL, s.world.reader, &plan, &err), HF_ERR_NOT_FOUND,
        "1970-01-01T00:05:00Z cannot be restored: 209.3/1 is the newest entry that is "
        "stored; hint: the nearest instants are 1970-01-01T00:03:29Z before and none after",
        &err);
    scene_end(&s);
}

static void test_a_target_in_a_gap_names_both_sides_and_the_reason(void **state)
{
    struct hf_error err;
    struct scene s;
    HF_CLEANUP(hf_plan_fini) struct hf_plan plan = {.links = NULL};
    (void)state;
    scene_begin(&s);
    tailer_slice(&s.tailer, 1, 20, 7);
    hf_slicer_break(s.tailer.slicer, HF_CHAIN_ROLLED_OVER, NULL);
    tailer_slice(&s.tailer, 31, 50, 7);
    struct hf_base_snapshot snapshots[] = {snapshot(1, 5, 9), snapshot(2, 40, 41)};
    compute(&s, snapshots, 2);
    struct hf_target target = entry_target(25);
    EXPECT_ERROR(hf_ranges_plan(&s.ranges, &target, NULL, s.world.reader, &plan, &err),
                 HF_ERR_NOT_FOUND,
                 "100.25 cannot be restored: the source's oplog no longer held the entry to go on "
                 "from; hint: the nearest instants are 100.20 before and 100.40 after",
                 &err);
    target = entry_target(4);
    EXPECT_ERROR(hf_ranges_plan(&s.ranges, &target, NULL, s.world.reader, &plan, &err),
                 HF_ERR_NOT_FOUND,
                 "no snapshot is that old; hint: the nearest instants are none "
                 "before and 100.5 after",
                 &err);
    compute(&s, NULL, 0);
    EXPECT_ERROR(hf_ranges_plan(&s.ranges, &target, NULL, s.world.reader, &plan, &err),
                 HF_ERR_NOT_FOUND, "no snapshot is complete", &err);
    scene_end(&s);
}

static void test_a_plan_takes_the_newest_base_and_the_slices_behind_it(void **state)
{
    struct hf_error err;
    struct scene s;
    HF_CLEANUP(hf_plan_fini) struct hf_plan plan = {.links = NULL};
    (void)state;
    scene_begin(&s);
    for (uint32_t i = 0; i < 5; i++) {
        tailer_slice(&s.tailer, 10 * i + 1, 10 * i + 10, 7);
    }
    struct hf_base_snapshot snapshots[] = {snapshot(1, 5, 9), snapshot(2, 25, 28)};
    compute(&s, snapshots, 2);
    plan_for(&s, 43, &plan);
    assert_int_equal(s.ranges.snapshots[plan.snapshot].capture, 2);
    assert_int_equal(plan.last.increment, 43);
    assert_int_equal(plan.last.term, 1);
    assert_int_equal(plan.read_after.increment, 25);
    assert_int_equal(plan.read_after.term, 1); /* the chain knows the term */
    assert_int_equal(plan.copy_has.increment, 28);
    assert_true(plan.inserts);
    assert_int_equal(plan.link_count, 3); /* 21 to 50 */
    assert_int_equal(plan.entries_max, 30);
    assert_int_equal(plan.other_histories, 0);
    hf_plan_fini(&plan);
    /* Within the copy: nothing to insert, the copy's oplog is compared and cut. */
    plan_for(&s, 27, &plan);
    assert_int_equal(plan.truncate_after.increment, 27);
    assert_false(plan.inserts);
    assert_int_equal(plan.link_count, 1);
    hf_plan_fini(&plan);
    plan_for(&s, 24, &plan);
    assert_int_equal(s.ranges.snapshots[plan.snapshot].capture, 1);
    assert_int_equal(plan.link_count, 3);
    hf_plan_fini(&plan);
    /* The checkpoint itself needs no slice. */
    plan_for(&s, 25, &plan);
    assert_int_equal(plan.truncate_after.increment, 25);
    assert_int_equal(plan.link_count, 0);
    hf_plan_fini(&plan);
    /* Another base by its name, where it is one. */
    struct hf_target target = entry_target(43);
    struct hf_id id = fixed_id(1);
    EXPECT_OK(hf_ranges_plan(&s.ranges, &target, &id, s.world.reader, &plan, &err), &err);
    assert_int_equal(plan.link_count, 5);
    hf_plan_fini(&plan);
    target = entry_target(20);
    id = fixed_id(2);
    EXPECT_ERROR(hf_ranges_plan(&s.ranges, &target, &id, s.world.reader, &plan, &err),
                 HF_ERR_INVALID, "is no base for 100.20", &err);
    id = fixed_id(9);
    EXPECT_ERROR(hf_ranges_plan(&s.ranges, &target, &id, s.world.reader, &plan, &err),
                 HF_ERR_INVALID, "not among the complete ones", &err);
    scene_end(&s);
}

static void test_a_target_that_two_histories_have_is_of_the_newer_one(void **state)
{
    struct scene s;
    HF_CLEANUP(hf_plan_fini) struct hf_plan plan = {.links = NULL};
    (void)state;
    scene_begin(&s);
    tailer_slice(&s.tailer, 1, 30, 7);
    hf_slicer_break(s.tailer.slicer, HF_CHAIN_RESTORED, NULL);
    for (uint32_t i = 11; i <= 40; i++) {
        struct hf_optime optime = {.seconds = 100, .increment = i, .term = 3};
        tailer_add(&s.tailer, &optime, 9);
    }
    tailer_put(&s.tailer);
    struct hf_base_snapshot snapshots[] = {snapshot(1, 5, 9), snapshot(2, 12, 14)};
    snapshots[1].committed.term = snapshots[1].oplog_end.term = 3;
    compute(&s, snapshots, 2);
    assert_int_equal(s.ranges.count, 2);
    plan_for(&s, 20, &plan);
    assert_int_equal(plan.last.term, 3);
    assert_int_equal(plan.other_histories, 1);
    hf_plan_fini(&plan);
    plan_for(&s, 11, &plan);
    assert_int_equal(plan.last.term, 1);
    assert_int_equal(plan.other_histories, 0);
    scene_end(&s);
}

/* ---- Pruning ---- */

static void test_pruning_keeps_what_the_window_needs(void **state)
{
    struct hf_error err;
    struct scene s;
    HF_CLEANUP(hf_free) size_t *links = NULL;
    size_t count = 0;
    (void)state;
    scene_begin(&s);
    for (uint32_t minute = 0; minute < 10; minute++) { /* a slice a minute: 600, 660, … */
        struct hf_optime optime = {.seconds = 600 + 60 * minute, .increment = 1, .term = 1};
        tailer_add(&s.tailer, &optime, 7);
        optime.increment = 2;
        tailer_add(&s.tailer, &optime, 7);
        tailer_put(&s.tailer);
    }
    struct hf_base_snapshot snapshots[2] = {{.id = fixed_id(1),
                                             .capture = 1,
                                             .checkpoint = {660, 1, -1},
                                             .oplog_end = {660, 2, 1},
                                             .committed = {660, 2, 1}},
                                            {.id = fixed_id(2),
                                             .capture = 2,
                                             .checkpoint = {840, 1, -1},
                                             .oplog_end = {840, 2, 1},
                                             .committed = {840, 2, 1}}};
    compute(&s, snapshots, 2);
    const struct {
        uint32_t window, lease;
        size_t pruned;
    } cases[] = {
        {600, 0, 0},  {700, 0, 1},   /* 700 needs the base at 660 */
        {840, 0, 1},  {841, 0, 4},   /* now the base at 840 serves all */
        {900, 0, 4},  {900, 720, 2}, /* someone reads from 720 on */
        {1141, 0, 9},                /* the newest slice stays: the tail goes on from it */
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        struct hf_optime lease = {.seconds = cases[i].lease, .increment = 1, .term = 1};
        struct hf_prune_options options = {.window_start_s = cases[i].window,
                                           .leases = &lease,
                                           .lease_count = cases[i].lease == 0 ? 0 : 1};
        EXPECT_OK(hf_ranges_prunable(&s.ranges, &options, &links, &count, &err), &err);
        if (count != cases[i].pruned) {
            fail_msg("window from %u, lease %u: %zu slices", (unsigned)cases[i].window,
                     (unsigned)cases[i].lease, count);
        }
        for (size_t k = 0; k < count; k++) {
            assert_int_equal(links[k], k); /* from the old end, in order */
        }
        hf_free(links);
        links = NULL;
    }
    /* Without a snapshot the window alone decides. */
    compute(&s, NULL, 0);
    struct hf_prune_options options = {.window_start_s = 781};
    EXPECT_OK(hf_ranges_prunable(&s.ranges, &options, &links, &count, &err), &err);
    assert_int_equal(count, 4);
    scene_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_chain_behind_a_snapshot_is_a_range),
        cmocka_unit_test(test_a_copy_alone_reaches_as_far_as_its_own_oplog),
        cmocka_unit_test(test_a_chain_that_begins_inside_the_copy_goes_on_with_it),
        cmocka_unit_test(test_the_cause_of_an_end_is_told_and_the_next_range_needs_its_own_base),
        cmocka_unit_test(test_a_copy_that_was_rolled_back_is_no_base_for_later_targets),
        cmocka_unit_test(test_no_range_crosses_a_change_of_version),
        cmocka_unit_test(test_a_copy_that_holds_a_change_of_version_is_no_base_behind_it),
        cmocka_unit_test(test_a_change_of_version_behind_another_history_ends_the_copy_s_range),
        cmocka_unit_test(test_a_damaged_block_that_is_met_ends_the_range),
        cmocka_unit_test(test_a_date_excludes_its_second_and_a_timestamp_includes_its_entry),
        cmocka_unit_test(test_a_target_in_a_gap_names_both_sides_and_the_reason),
        cmocka_unit_test(test_a_plan_takes_the_newest_base_and_the_slices_behind_it),
        cmocka_unit_test(test_a_target_that_two_histories_have_is_of_the_newer_one),
        cmocka_unit_test(test_pruning_keeps_what_the_window_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
