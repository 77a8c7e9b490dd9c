/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Labels, filters, load factors.
 */
#include "backup/assign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char *const east[] = {"east", NULL}, *const both[] = {"east", "fast", NULL};

static size_t choose(const struct hf_resource *resources, size_t count,
                     const struct hf_assign_wish *wish)
{
    struct hf_error err;
    size_t out = SIZE_MAX;
    assert_int_equal(hf_assign_choose(resources, count, wish, &out, &err), HF_ERR_OK);
    return out;
}

static void test_the_one_store_that_there_is_is_taken(void **state)
{
    const struct hf_resource one = {
        .kind = HF_RESOURCE_SNAPSHOT_STORE, .id = "s1", .free_bytes = 10};
    const struct hf_assign_wish wish = {.kind = HF_RESOURCE_SNAPSHOT_STORE};
    (void)state;
    assert_int_equal(choose(&one, 1, &wish), 0);
}

static void test_jobs_are_spread_by_load_factor(void **state)
{
    struct hf_resource stores[] = {
        {.kind = HF_RESOURCE_SNAPSHOT_STORE, .id = "small", .load_factor = 1},
        {.kind = HF_RESOURCE_SNAPSHOT_STORE, .id = "large", .load_factor = 3},
        {.kind = HF_RESOURCE_OPLOG_STORE, .id = "oplog", .load_factor = 100}};
    const struct hf_assign_wish wish = {.kind = HF_RESOURCE_SNAPSHOT_STORE};
    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        stores[choose(stores, 3, &wish)].jobs++;
    }
    assert_int_equal(stores[0].jobs, 10);
    assert_int_equal(stores[1].jobs, 30);
    assert_int_equal(stores[2].jobs, 0);
}

static void test_all_labels_and_the_filter_must_fit(void **state)
{
    const char *const only_c[] = {"c", NULL}, *const none[] = {NULL};
    const struct hf_resource stores[] = {
        {.kind = HF_RESOURCE_SNAPSHOT_STORE, .id = "a", .labels = east},
        {.kind = HF_RESOURCE_SNAPSHOT_STORE, .id = "b", .labels = both, .jobs = 7},
        {.kind = HF_RESOURCE_SNAPSHOT_STORE, .id = "c", .labels = both, .jobs = 9}};
    struct hf_assign_filter filter = {.labels = none, .ids = {none, none, none}};
    const struct hf_assign_wish wish = {.kind = HF_RESOURCE_SNAPSHOT_STORE, .filter = &filter};
    (void)state;
    assert_int_equal(choose(stores, 3, &wish), 0); /* an empty filter is any */
    filter.labels = both;
    assert_int_equal(choose(stores, 3, &wish), 1);
    filter.ids[HF_RESOURCE_SNAPSHOT_STORE] = only_c;
    assert_int_equal(choose(stores, 3, &wish), 2);
}

static void test_what_is_closed_full_or_of_another_label_is_named(void **state)
{
    const char *const only_d[] = {"d", NULL};
    const struct hf_resource stores[] = {
        {.kind = HF_RESOURCE_OPLOG_STORE, .id = "a", .labels = both, .closed = true},
        {.kind = HF_RESOURCE_OPLOG_STORE, .id = "b", .labels = east, .free_bytes = 9},
        {.kind = HF_RESOURCE_OPLOG_STORE, .id = "c", .labels = both, .free_bytes = 9},
        {.kind = HF_RESOURCE_OPLOG_STORE, .id = "d", .labels = both, .free_bytes = 3}};
    const struct hf_assign_filter filter = {.labels = both,
                                            .ids = {[HF_RESOURCE_OPLOG_STORE] = only_d}};
    const struct hf_assign_wish wish = {
        .kind = HF_RESOURCE_OPLOG_STORE, .filter = &filter, .need_bytes = 5};
    const struct hf_assign_wish other = {.kind = HF_RESOURCE_SERVER};
    struct hf_error err;
    size_t out = 0;
    (void)state;
    assert_int_equal(hf_assign_choose(stores, 4, &wish, &out, &err), HF_ERR_CONFLICT);
    assert_string_equal(err.message,
                        "no oplog store will do: a: it takes no new jobs; b: it has no label fast; "
                        "c: the project's filter leaves it out; d: it has 3 bytes free, and 5 may "
                        "be needed");
    assert_int_equal(hf_assign_choose(stores, 4, &other, &out, &err), HF_ERR_NOT_FOUND);
    assert_string_equal(err.message, "there is no server");
}

static void test_equals_are_chosen_by_room_and_then_by_name(void **state)
{
    struct hf_resource stores[] = {
        {.kind = HF_RESOURCE_SNAPSHOT_STORE, .id = "b", .free_bytes = 5},
        {.kind = HF_RESOURCE_SNAPSHOT_STORE, .id = "a", .free_bytes = 5},
        {.kind = HF_RESOURCE_SNAPSHOT_STORE, .id = "c", .free_bytes = 6}};
    const struct hf_assign_wish wish = {.kind = HF_RESOURCE_SNAPSHOT_STORE};
    (void)state;
    assert_int_equal(choose(stores, 3, &wish), 2);
    assert_int_equal(choose(stores, 2, &wish), 1);
}

static void test_a_label_must_be_on_one_resource_of_each_kind(void **state)
{
    const struct hf_resource all[] = {
        {.kind = HF_RESOURCE_SERVER, .id = "s", .labels = both},
        {.kind = HF_RESOURCE_SNAPSHOT_STORE, .id = "b", .labels = both},
        {.kind = HF_RESOURCE_OPLOG_STORE, .id = "o", .labels = east}};
    const struct hf_assign_filter one = {.labels = east}, two = {.labels = both};
    struct hf_error err;
    (void)state;
    assert_int_equal(hf_assign_check(all, 3, &one, &err), HF_ERR_OK);
    assert_int_equal(hf_assign_check(all, 3, &two, &err), HF_ERR_CONFLICT);
    assert_string_equal(err.message, "no oplog store has the label fast");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_one_store_that_there_is_is_taken),
        cmocka_unit_test(test_jobs_are_spread_by_load_factor),
        cmocka_unit_test(test_all_labels_and_the_filter_must_fit),
        cmocka_unit_test(test_what_is_closed_full_or_of_another_label_is_named),
        cmocka_unit_test(test_equals_are_chosen_by_room_and_then_by_name),
        cmocka_unit_test(test_a_label_must_be_on_one_resource_of_each_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
