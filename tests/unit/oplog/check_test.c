/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The check of a stored oplog: what it finds, what it calls it, which entries it calls lost; and what it must not take for
 * damage. Times are increments of second 100.
 */
#include "support/chain_kit.h"

#include "oplog/check.h"

struct scene {
    struct world world;
    struct tailer tailer;
    struct hf_object_name names[4]; /* of slices 1-10, 11-20, 21-30, 31-40 */
    struct hf_check_head head;
    struct hf_check_report report;
};

static void scene_begin(struct scene *s)
{
    struct hf_chain_point point;
    *s = (struct scene){.report = {.faults = NULL}};
    world_begin(&s->world);
    tailer_begin(&s->tailer, &s->world, NULL);
    for (uint32_t i = 0; i < 4; i++) {
        tailer_slice(&s->tailer, i * 10 + 1, i * 10 + 10, 7);
        s->names[i] = s->tailer.name;
    }
    point = hf_slicer_point(s->tailer.slicer);
    s->head.last = point.previous;
    s->head.hash = point.hash;
    (void)snprintf(s->head.object, sizeof s->head.object, "%s",
                   hf_object_name_text(&s->names[3]).text);
}

static void scene_end(struct scene *s)
{
    hf_check_report_fini(&s->report);
    tailer_end(&s->tailer);
    world_end(&s->world);
}

static void check(struct scene *s, uint64_t faults)
{
    struct hf_error err;
    const struct hf_check_options options = {
        .store = s->world.store, .keyring = &s->world.ring, .head = s->head};
    hf_check_report_fini(&s->report);
    EXPECT_OK(hf_oplog_check(&options, &s->report, &err), &err);
    if (s->report.fault_total != faults) {
        fail_msg("%llu faults: %s", (unsigned long long)s->report.fault_total,
                 s->report.fault_count == 0 ? "" : s->report.faults[0].text);
    }
}

static const struct hf_check_fault *expect_fault(const struct scene *s, size_t i,
                                                 enum hf_check_fault_kind kind,
                                                 const struct hf_object_name *object,
                                                 const char *text)
{
    assert_true(i < s->report.fault_count);
    const struct hf_check_fault *fault = &s->report.faults[i];
    if (fault->kind != kind || strstr(fault->text, text) == NULL ||
        strcmp(fault->object, object == NULL ? "" : hf_object_name_text(object).text) != 0) {
        fail_msg("fault %zu: %s %s: %s", i, hf_check_fault_word(fault->kind), fault->object,
                 fault->text);
    }
    return fault;
}

static void expect_lost(const struct hf_check_fault *fault, uint32_t after, uint32_t until)
{
    assert_true(fault->loses);
    assert_int_equal(fault->lost_after.increment, after);
    assert_int_equal(fault->lost_until.increment, until);
}

static void test_a_sound_chain_is_read_whole(void **state)
{
    struct scene s;
    (void)state;
    scene_begin(&s);
    check(&s, 0);
    assert_int_equal(s.report.slices, 4);
    assert_int_equal(s.report.entries, 40);
    assert_true(s.report.bytes > 40 * 50);
    /* Breaks that the tailer named are none of its faults, nor slices that come behind the head. */
    hf_slicer_break(s.tailer.slicer, HF_CHAIN_ROLLED_OVER, NULL);
    tailer_slice(&s.tailer, 51, 60, 7);
    tailer_slice(&s.tailer, 61, 70, 7);
    check(&s, 0);
    assert_int_equal(s.report.slices, 6);
    scene_end(&s);
}

static void test_any_flipped_bit_is_found_and_named(void **state)
{
    struct scene s;
    uint64_t size = 0;
    struct hf_error err;
    (void)state;
    scene_begin(&s);
    const struct hf_object_text text = hf_object_name_text(&s.names[1]);
    EXPECT_OK(hf_store_size(s.world.store, hf_str_of(text.text), &size, &err), &err);
    for (uint64_t at = 0; at < size; at += 1 + size / 60) {
        spoil_slice(&s.world, &s.names[1], (long)at);
        check(&s, 1);
        expect_lost(expect_fault(&s, 0, HF_CHECK_DAMAGED, &s.names[1], "j/"), 10, 21);
        assert_int_equal(s.report.slices, 3);
        spoil_slice(&s.world, &s.names[1], (long)at); /* the same bit again */
    }
    check(&s, 0);
    /* The newest one, where the head stands: told once. */
    spoil_slice(&s.world, &s.names[3], 60);
    check(&s, 1);
    const struct hf_check_fault *fault =
        expect_fault(&s, 0, HF_CHECK_DAMAGED, &s.names[3], "block 0");
    assert_int_equal(fault->lost_after.increment, 30);
    assert_true(hf_optime_is_none(&fault->lost_until));
    scene_end(&s);
}

static void test_a_damaged_slice_whose_entries_another_has_loses_nothing(void **state)
{
    struct scene s;
    struct tailer other;
    (void)state;
    scene_begin(&s);
    tailer_begin(&other, &s.world, NULL);
    tailer_slice(&other, 1, 25, 7);
    tailer_end(&other);
    spoil_slice(&s.world, &s.names[1], 60);
    check(&s, 1);
    assert_false(expect_fault(&s, 0, HF_CHECK_DAMAGED, &s.names[1], "block 0")->loses);
    scene_end(&s);
}

static void test_a_missing_slice_is_found(void **state)
{
    struct scene s;
    (void)state;
    scene_begin(&s);
    remove_slice(&s.world, &s.names[2]);
    check(&s, 1);
    expect_lost(expect_fault(&s, 0, HF_CHECK_MISSING, NULL, "no slice holds the entries after"), 20,
                31);
    assert_non_null(strstr(s.report.faults[0].text, hf_object_name_text(&s.names[3]).text));
    /* The newest one, which only the catalog knows of. */
    remove_slice(&s.world, &s.names[3]);
    check(&s, 1);
    const struct hf_check_fault *fault =
        expect_fault(&s, 0, HF_CHECK_MISSING, &s.names[3], "up to which the catalog says");
    assert_int_equal(fault->lost_after.increment, 20);
    /* Old ones that were pruned are no fault. */
    s.head.last = (struct hf_optime){.term = -1};
    remove_slice(&s.world, &s.names[0]);
    check(&s, 0);
    scene_end(&s);
}

/* Whoever has the agent's keys can make sound slices of entries that never were. */
static void test_a_forged_slice_is_found(void **state)
{
    struct scene s;
    struct tailer forger;
    struct hf_chain_point point = {.previous = {.seconds = 100, .increment = 20, .term = 1},
                                   .sequence = 20};
    (void)state;
    scene_begin(&s);
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    load_chains(&s.world, &chains);
    point.hash = chains.links[1].hash_after;
    remove_slice(&s.world, &s.names[2]);
    tailer_begin(&forger, &s.world, &point);
    tailer_slice(&forger, 21, 30, 99);
    tailer_end(&forger);
    check(&s, 1);
    const struct hf_check_fault *fault =
        expect_fault(&s, 0, HF_CHECK_FORGED, &s.names[3], "another running hash");
    expect_lost(fault, 30, 31);
    scene_end(&s);
}

static void test_a_forged_end_contradicts_the_catalog(void **state)
{
    struct scene s;
    struct tailer forger;
    (void)state;
    scene_begin(&s);
    for (unsigned i = 0; i < 4; i++) {
        remove_slice(&s.world, &s.names[i]);
    }
    tailer_begin(&forger, &s.world, NULL);
    tailer_slice(&forger, 1, 40, 99);
    tailer_end(&forger);
    check(&s, 1);
    (void)expect_fault(&s, 0, HF_CHECK_FORGED, &s.names[3], "where the catalog says");
    scene_end(&s);
}

static void test_two_histories_are_told(void **state)
{
    struct scene s;
    struct tailer other;
    const struct hf_chain_point none = {.cause = HF_CHAIN_FIRST};
    (void)state;
    scene_begin(&s);
    tailer_begin(&other, &s.world, &none);
    tailer_slice(&other, 1, 15, 7);
    tailer_slice(&other, 16, 20, 99);
    tailer_end(&other);
    check(&s, 1);
    assert_int_equal(s.report.faults[0].kind, HF_CHECK_DIVERGED);
    scene_end(&s);
}

static void test_a_wrong_number_of_entries_before_a_slice_is_found(void **state)
{
    struct scene s;
    struct tailer forger;
    (void)state;
    scene_begin(&s);
    struct hf_chain_point point = hf_slicer_point(s.tailer.slicer);
    point.sequence += 5;
    tailer_begin(&forger, &s.world, &point);
    tailer_slice(&forger, 41, 50, 7);
    check(&s, 1);
    (void)expect_fault(&s, 0, HF_CHECK_FORGED, &forger.name, "entry 45 of the chain");
    tailer_end(&forger);
    scene_end(&s);
}

/* ---- Documents ---- */

static void test_a_report_is_a_document_that_knows_its_news(void **state)
{
    struct scene s;
    struct hf_error err;
    HF_CLEANUP(hf_free) struct hf_object_name *bad = NULL;
    size_t count = 0;
    (void)state;
    scene_begin(&s);
    check(&s, 0);
    HF_CLEANUP(hf_json_drop) struct hf_json *whole = hf_check_to_json(&s.report);
    assert_true(hf_json_get_bool(whole, "ok", false));
    assert_false(hf_check_has_news(NULL, whole));
    spoil_slice(&s.world, &s.names[1], 60);
    check(&s, 1);
    HF_CLEANUP(hf_json_drop) struct hf_json *one = hf_check_to_json(&s.report);
    assert_true(hf_check_has_news(NULL, one));
    assert_true(hf_check_has_news(whole, one));
    assert_false(hf_check_has_news(one, one));
    remove_slice(&s.world, &s.names[3]);
    check(&s, 2);
    HF_CLEANUP(hf_json_drop) struct hf_json *two = hf_check_to_json(&s.report);
    assert_true(hf_check_has_news(one, two));
    assert_false(hf_check_has_news(two, whole));
    EXPECT_OK(hf_check_bad_from_json(two, &bad, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_string_equal(hf_object_name_text(&bad[0]).text, hf_object_name_text(&s.names[1]).text);
    scene_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sound_chain_is_read_whole),
        cmocka_unit_test(test_any_flipped_bit_is_found_and_named),
        cmocka_unit_test(test_a_damaged_slice_whose_entries_another_has_loses_nothing),
        cmocka_unit_test(test_a_missing_slice_is_found),
        cmocka_unit_test(test_a_forged_slice_is_found),
        cmocka_unit_test(test_a_forged_end_contradicts_the_catalog),
        cmocka_unit_test(test_two_histories_are_told),
        cmocka_unit_test(test_a_wrong_number_of_entries_before_a_slice_is_found),
        cmocka_unit_test(test_a_report_is_a_document_that_knows_its_news),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
