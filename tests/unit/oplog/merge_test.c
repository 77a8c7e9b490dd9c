/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small slices become few, in the order that makes a crash harmless, and never those that somebody needs.
 * (tests/property/oplog/ranges_test.c has whole histories.)
 */
#include "support/chain_kit.h"

#include "base/fault.h"
#include "oplog/merge.h"

struct fixture {
    struct world world;
    struct tailer tailer;
    struct hf_optime in_use;
    unsigned asked;           /* how often it was asked what is in use */
    unsigned in_use_from_ask; /* in_use counts from that time on */
    struct hf_merge_options options;
    struct hf_merge_result result;
    struct hf_error err;
};

static enum hf_err tell_in_use(void *context, struct hf_optime *from, struct hf_error *err)
{
    struct fixture *f = context;
    (void)err;
    if (f->asked++ >= f->in_use_from_ask) {
        *from = f->in_use;
    }
    return HF_ERR_OK;
}

static int set_up(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);
    assert_non_null(f);
    world_begin(&f->world);
    tailer_begin(&f->tailer, &f->world, NULL);
    f->options = (struct hf_merge_options){
        .store = f->world.store,
        .keyring = &f->world.ring,
        .in_use = tell_in_use,
        .context = f,
        .before_s = UINT32_MAX,
    };
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    hf_fault_disarm_all();
    tailer_end(&f->tailer);
    world_end(&f->world);
    hf_free(f);
    return 0;
}

/* Slices of three entries each: increments from, from + 1, from + 2 and so on. */
static void slices(struct fixture *f, uint32_t from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        tailer_slice(&f->tailer, from + 3 * i, from + 3 * i + 2, 5);
    }
}

static size_t objects(struct fixture *f)
{
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    load_chains(&f->world, &chains);
    return chains.link_count;
}

static enum hf_err merge(struct fixture *f)
{
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    load_chains(&f->world, &chains);
    return hf_merge_slices(&f->options, &chains, &f->result, &f->err);
}

/* One chain of these increments, every entry of which is proved. */
static void expect_one_chain(struct fixture *f, uint32_t first, uint32_t last)
{
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    HF_CLEANUP(hf_chain_report_fini) struct hf_chain_report report = {.faults = NULL};
    load_chains(&f->world, &chains);
    assert_int_equal(chains.count, 1);
    expect_chain(&chains.items[0], first, last, HF_CHAIN_CAUSE, HF_CHAIN_OPEN);
    EXPECT_OK(hf_chain_check(&chains, &chains.items[0], f->world.reader, &report, &f->err),
              &f->err);
    assert_int_equal(report.fault_count, 0);
    struct hf_chain_point head = hf_chain_head(&chains, &chains.items[0]);
    assert_int_equal(head.sequence, last - first + 1);
}

static void test_many_become_one_and_the_newest_stays(void **state)
{
    struct fixture *f = *state;
    slices(f, 1, 101); /* of one term: no limit but size and time counts */
    struct hf_object_name newest = f->tailer.name;
    assert_int_equal(merge(f), HF_ERR_OK);
    assert_int_equal(f->result.written, 1);
    assert_int_equal(f->result.deleted, 100);
    assert_int_equal(objects(f), 2);
    expect_one_chain(f, 1, 303);
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    load_chains(&f->world, &chains);
    assert_int_equal(chains.links[0].name.round, 1);
    assert_int_equal(chains.links[0].name.first_optime.increment, 1);
    assert_int_equal(chains.links[0].name.last_optime.increment, 300);
    assert_int_equal(chains.links[0].cause, HF_CHAIN_FIRST);
    assert_string_equal(hf_object_name_text(&chains.links[1].name).text,
                        hf_object_name_text(&newest).text);
    /* Again: nothing is worth it. The tail goes on behind what it knows. */
    assert_int_equal(merge(f), HF_ERR_OK);
    assert_int_equal(f->result.written + f->result.deleted, 0);
    slices(f, 304, 2);
    expect_one_chain(f, 1, 309);
}

static void test_fewer_than_are_worth_it_stay(void **state)
{
    struct fixture *f = *state;
    slices(f, 1, HF_MERGE_LEAST); /* one of them is the newest */
    assert_int_equal(merge(f), HF_ERR_OK);
    assert_int_equal(f->result.written, 0);
    slices(f, 1 + 3 * HF_MERGE_LEAST, 1);
    assert_int_equal(merge(f), HF_ERR_OK);
    assert_int_equal(f->result.written, 1);
}

/* Each entry is written again once a round, not at every merge. */
static void test_rounds_are_merged_among_themselves(void **state)
{
    struct fixture *f = *state;
    uint32_t next = 1;
    f->options.least = 4;
    for (unsigned i = 0; i < 64; i++) {
        slices(f, next, 1);
        next += 3;
        assert_int_equal(merge(f), HF_ERR_OK);
    }
    expect_one_chain(f, 1, next - 1);
    assert_true(objects(f) <= 3 * 4 + 1);
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    load_chains(&f->world, &chains);
    assert_int_equal(chains.links[0].name.round, 2);
}

static void test_what_is_in_use_stays(void **state)
{
    struct fixture *f = *state;
    slices(f, 1, 40);
    f->in_use =
        (struct hf_optime){.seconds = 100, .increment = 65, .term = 1}; /* inside the 22nd */
    assert_int_equal(merge(f), HF_ERR_OK);
    assert_int_equal(f->result.deleted, 21);
    assert_int_equal(objects(f), 1 + 19);
    expect_one_chain(f, 1, 120);
}

static void test_what_comes_into_use_meanwhile_stays_too(void **state)
{
    struct fixture *f = *state;
    slices(f, 1, 21);
    f->in_use = (struct hf_optime){.seconds = 100, .increment = 2, .term = 1};
    f->in_use_from_ask =
        1; /* asked before the run it was free, and before the deletion no longer */
    assert_int_equal(merge(f), HF_ERR_OK);
    assert_int_equal(f->result.written, 1);
    assert_int_equal(f->result.deleted, 0);
    expect_one_chain(f, 1, 63);
    f->in_use = (struct hf_optime){.seconds = 0};
    assert_int_equal(merge(f), HF_ERR_OK); /* the leftovers go */
    assert_int_equal(f->result.deleted, 20);
    assert_int_equal(objects(f), 2);
    expect_one_chain(f, 1, 63);
}

static void test_young_slices_stay(void **state)
{
    struct fixture *f = *state;
    slices(f, 1, 21);
    f->options.before_s = 100; /* they are of second 100 */
    assert_int_equal(merge(f), HF_ERR_OK);
    assert_int_equal(f->result.written, 0);
}

static void test_a_chain_s_start_is_a_wall(void **state)
{
    struct fixture *f = *state;
    f->options.least = 2;
    slices(f, 1, 5);
    hf_slicer_break(f->tailer.slicer, HF_CHAIN_ROLLED_OVER, "4.4");
    slices(f, 101, 5);
    assert_int_equal(merge(f), HF_ERR_OK);
    assert_int_equal(f->result.written, 2);
    assert_int_equal(f->result.deleted, 5 + 4);
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    load_chains(&f->world, &chains);
    assert_int_equal(chains.count, 2);
    expect_chain(chain_from(&chains, 1), 1, 15, HF_CHAIN_CAUSE, HF_CHAIN_CAUSE);
    expect_chain(chain_from(&chains, 101), 101, 115, HF_CHAIN_CAUSE, HF_CHAIN_OPEN);
    assert_int_equal(chain_from(&chains, 101)->start_cause, HF_CHAIN_ROLLED_OVER);
    assert_int_equal(chain_from(&chains, 101)->broken_after.increment, 15);
}

static void test_another_version_is_a_wall(void **state)
{
    struct fixture *f = *state;
    f->options.least = 2;
    slices(f, 1, 4);
    hf_slicer_set_fcv(f->tailer.slicer, "5.0");
    slices(f, 13, 4);
    assert_int_equal(merge(f), HF_ERR_OK);
    assert_int_equal(f->result.written, 2);
    expect_one_chain(f, 1, 24);
}

static void test_large_ones_stay_and_runs_end_at_the_target(void **state)
{
    struct fixture *f = *state;
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    slices(f, 1, 41);
    load_chains(&f->world, &chains);
    f->options.target_bytes = chains.links[0].object_bytes * 8;
    f->options.least = 4;
    assert_int_equal(merge(f), HF_ERR_OK);
    assert_true(f->result.written >= 4);
    expect_one_chain(f, 1, 123);
    f->options.target_bytes = 100; /* all are larger */
    size_t before = objects(f);
    assert_int_equal(merge(f), HF_ERR_OK);
    assert_int_equal(f->result.written, 0);
    assert_int_equal(objects(f), before);
}

static void test_a_death_at_any_step_leaves_the_same_chain(void **state)
{
    static const char *const points[] = {"oplog.merge.put", "oplog.merge.written",
                                         "oplog.merge.deleted"};
    struct fixture *f = *state;
    uint32_t next = 1;
    unsigned deaths = 0;
    f->options.least = 4;
    for (size_t i = 0; i < HF_ARRAY_LEN(points); i++) {
        for (uint64_t nth = 1;; nth++) {
            slices(f, next, 13);
            next += 39;
            hf_fault_arm_nth(points[i], HF_ERR_IO, nth, 1);
            enum hf_err code = merge(f);
            hf_fault_disarm_all();
            expect_one_chain(f, 1, next - 1);
            if (code == HF_ERR_OK) {
                break;
            }
            deaths++;
            assert_int_equal(code, HF_ERR_IO);
            size_t left = objects(f);
            assert_int_equal(merge(f), HF_ERR_OK); /* goes on from there */
            assert_int_equal(merge(f), HF_ERR_OK);
            assert_true(objects(f) < left);
            expect_one_chain(f, 1, next - 1);
        }
    }
    assert_true(deaths >= 14);
    assert_true(objects(f) < 20);
}

static void test_damage_stays_where_it_is_and_is_told(void **state)
{
    struct fixture *f = *state;
    f->options.least = 2;
    slices(f, 1, 3);
    struct hf_object_name bad = f->tailer.name;
    slices(f, 10, 3);
    hf_slicer_break(f->tailer.slicer, HF_CHAIN_ROLLED_OVER, "4.4");
    slices(f, 101, 5);
    spoil_slice(&f->world, &bad, 40); /* in its first block */
    size_t before = objects(f);
    assert_int_equal(merge(f), HF_ERR_CORRUPT);
    assert_non_null(strstr(f->err.message, hf_object_name_text(&bad).text));
    assert_int_equal(f->result.written, 1); /* the other chain's */
    assert_int_equal(f->result.deleted, 4);
    assert_int_equal(objects(f), before - 3);
}

static void test_an_idle_day_becomes_a_few_slices(void **state)
{
    struct fixture *f = *state;
    uint32_t minute = 27000000;              /* since 1970 */
    for (uint32_t i = 0; i < 2 * 288; i++) { /* one of no-ops every five minutes */
        struct hf_optime optime = {.seconds = (minute + 5 * i) * 60, .increment = 7, .term = 1};
        tailer_add(&f->tailer, &optime, 5);
        tailer_put(&f->tailer);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(merge(f), HF_ERR_OK);
    }
    assert_true(objects(f) < 40);
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    load_chains(&f->world, &chains);
    assert_int_equal(chains.count, 1);
    assert_int_equal(hf_chain_head(&chains, &chains.items[0]).sequence, 576);
}

#define MERGE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MERGE_TEST(test_many_become_one_and_the_newest_stays),
        MERGE_TEST(test_fewer_than_are_worth_it_stay),
        MERGE_TEST(test_rounds_are_merged_among_themselves),
        MERGE_TEST(test_what_is_in_use_stays),
        MERGE_TEST(test_what_comes_into_use_meanwhile_stays_too),
        MERGE_TEST(test_young_slices_stay),
        MERGE_TEST(test_a_chain_s_start_is_a_wall),
        MERGE_TEST(test_another_version_is_a_wall),
        MERGE_TEST(test_large_ones_stay_and_runs_end_at_the_target),
        MERGE_TEST(test_a_death_at_any_step_leaves_the_same_chain),
        MERGE_TEST(test_damage_stays_where_it_is_and_is_told),
        MERGE_TEST(test_an_idle_day_becomes_a_few_slices),
    };
    return cmocka_run_group_tests_name("oplog/merge", tests, NULL, NULL);
}
