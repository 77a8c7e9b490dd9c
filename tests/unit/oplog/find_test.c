/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding and counting operations. Entries are those of chain_kit.h: inserts into shop.orders, each seventh a no-op; the
 * salt is their _id.
 */
#include "support/chain_kit.h"

#include "oplog/find.h"
#include "store/faulty.h"

struct scene {
    struct world world;
    struct tailer tailer;
    struct hf_chains chains;
    struct hf_oplog_filter filter;
};

static void scene_begin(struct scene *scene)
{
    *scene = (struct scene){.chains = {.links = NULL}};
    world_begin(&scene->world);
    tailer_begin(&scene->tailer, &scene->world, NULL);
    tailer_slice(&scene->tailer, 1, 10, 70);
    tailer_slice(&scene->tailer, 11, 20, 71);
    for (uint32_t i = 0; i < 4; i++) { /* the minutes 2 to 5, one each */
        struct hf_optime optime = {.seconds = 120 + 60 * i, .increment = 1, .term = 1};
        tailer_add(&scene->tailer, &optime, 72);
    }
    tailer_put(&scene->tailer);
    load_chains(&scene->world, &scene->chains);
    scene->filter =
        (struct hf_oplog_filter){.chains = &scene->chains, .reader = scene->world.reader};
}

static void scene_end(struct scene *scene)
{
    hf_chains_fini(&scene->chains);
    tailer_end(&scene->tailer);
    world_end(&scene->world);
}

struct seen {
    size_t count, most;
    struct hf_optime first, last;
    char id[HF_OPLOG_ID_TEXT_BYTES];
};

static enum hf_err see(void *context, const struct hf_oplog_found *found, bool *more,
                       struct hf_error *err)
{
    struct seen *seen = context;
    (void)err;
    if (seen->count++ == 0) {
        seen->first = found->optime;
    }
    seen->last = found->optime;
    memcpy(seen->id, found->id, sizeof seen->id);
    *more = seen->most == 0 || seen->count < seen->most;
    return HF_ERR_OK;
}

static struct seen find(struct scene *scene)
{
    struct hf_error err;
    struct seen seen = {.count = 0};
    EXPECT_OK(hf_oplog_find(&scene->filter, see, &seen, &err), &err);
    return seen;
}

static void test_operations_are_found_by_time_kind_namespace_and_id(void **state)
{
    struct hf_error err;
    struct scene scene;
    (void)state;
    scene_begin(&scene);
    struct seen seen = find(&scene);
    assert_int_equal(seen.count, 22); /* 24 entries, of which two are no-ops */
    assert_int_equal(seen.first.increment, 1);
    assert_int_equal(seen.last.seconds, 300);
    scene.filter.kinds = 1u << HF_OPLOG_NOOP;
    assert_int_equal(find(&scene).count, 2);
    scene.filter.kinds = 0;
    scene.filter.after = (struct hf_optime){.seconds = 100, .increment = 8, .term = -1};
    scene.filter.to = (struct hf_optime){.seconds = 100, .increment = 12, .term = -1};
    seen = find(&scene);
    assert_int_equal(seen.count, 4); /* over the edge of two slices: after 8, and 12 itself */
    assert_int_equal(seen.first.increment, 9);
    assert_int_equal(seen.last.increment, 12);
    assert_string_equal(seen.id, "71");
    scene.filter.after = scene.filter.to = (struct hf_optime){.term = -1};
    scene.filter.id = "72";
    seen = find(&scene);
    assert_int_equal(seen.count, 4);
    assert_int_equal(seen.first.seconds, 120);
    scene.filter.id = NULL;
    scene.filter.ns = "shop.orders";
    assert_int_equal(find(&scene).count, 22);
    scene.filter.ns = "shop";
    assert_int_equal(find(&scene).count, 22);
    scene.filter.ns = "shop.order";
    assert_int_equal(find(&scene).count, 0);
    scene.filter.ns = "sho";
    assert_int_equal(find(&scene).count, 0);
    scene.filter.ns = NULL;
    struct seen some = {.most = 5};
    EXPECT_OK(hf_oplog_find(&scene.filter, see, &some, &err), &err);
    assert_int_equal(some.count, 5);
    scene_end(&scene);
}

static void test_counts_per_minute_and_in_all(void **state)
{
    struct hf_error err;
    struct scene scene;
    HF_CLEANUP(hf_oplog_counts_fini) struct hf_oplog_counts minutes = {.items = NULL};
    HF_CLEANUP(hf_oplog_counts_fini) struct hf_oplog_counts all = {.items = NULL};
    (void)state;
    scene_begin(&scene);
    EXPECT_OK(hf_oplog_count(&scene.filter, true, &minutes, &err), &err);
    assert_int_equal(minutes.count, 5);
    assert_int_equal(minutes.items[0].minute, 1);
    assert_int_equal(minutes.items[0].kinds[HF_OPLOG_INSERT], 18);
    assert_int_equal(minutes.items[4].minute, 5);
    assert_int_equal(minutes.items[4].kinds[HF_OPLOG_INSERT], 1);
    EXPECT_OK(hf_oplog_count(&scene.filter, false, &all, &err), &err);
    assert_int_equal(all.count, 1);
    assert_string_equal(all.items[0].ns, "shop.orders");
    assert_int_equal(all.items[0].kinds[HF_OPLOG_INSERT], 22);
    scene_end(&scene);
}

static void test_a_damaged_slice_is_named(void **state)
{
    struct hf_error err;
    struct scene scene;
    struct seen seen = {.count = 0};
    (void)state;
    scene_begin(&scene);
    spoil_slice(&scene.world, &scene.tailer.name, 40);
    char name[HF_OBJECT_NAME_BYTES];
    (void)snprintf(name, sizeof name, "%s", hf_object_name_text(&scene.tailer.name).text);
    EXPECT_ERROR(hf_oplog_find(&scene.filter, see, &seen, &err), HF_ERR_CORRUPT, name, &err);
    scene_end(&scene);
}

/* Three blocks: shop.orders, shop.items, shop.orders again. */
static void put_three_blocks(struct scene *scene)
{
    struct hf_error err;
    bool taken = false;
    for (uint32_t i = 0; i < 60; i++) {
        HF_CLEANUP(hf_buf_fini) struct hf_buf entry = HF_BUF_INIT((size_t)1 << 20);
        struct made_entry made = {.optime = {.seconds = 1000, .increment = 1 + i, .term = 1},
                                  .op = "i",
                                  .ns = i / 20 == 1 ? "shop.items" : "shop.orders",
                                  .id = i,
                                  .pad_bytes = HF_SLICE_BLOCK_BYTES / 20 - 200,
                                  .pad_seed = i};
        make_entry(&made, &entry);
        EXPECT_OK(hf_slicer_add(scene->tailer.slicer, hf_buf_bytes(&entry), 0, &taken, &err), &err);
        assert_true(taken);
    }
    tailer_put(&scene->tailer);
    hf_chains_fini(&scene->chains);
    load_chains(&scene->world, &scene->chains);
    scene->filter.after = (struct hf_optime){.seconds = 1000, .term = -1};
}

/* Merged or pruned since the chains were loaded: whoever asked loads them again. */
static void test_a_slice_that_went_meanwhile_is_worth_another_try(void **state)
{
    struct hf_error err;
    struct scene scene;
    struct seen seen = {.count = 0};
    (void)state;
    scene_begin(&scene);
    remove_slice(&scene.world, &scene.chains.links[1].name);
    EXPECT_ERROR(hf_oplog_find(&scene.filter, see, &seen, &err), HF_ERR_UNAVAILABLE,
                 "it went while it was being read", &err);
    hf_chains_fini(&scene.chains);
    load_chains(&scene.world, &scene.chains);
    seen = find(&scene);
    assert_int_equal(seen.count, 13);
    scene_end(&scene);
}

static void test_blocks_without_the_namespace_are_not_read(void **state)
{
    struct hf_error err;
    struct scene scene;
    struct seen seen = {.count = 0};
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    (void)state;
    scene_begin(&scene);
    put_three_blocks(&scene);
    assert_int_equal(find(&scene).count, 60);
    scene.filter.ns = "shop";
    assert_int_equal(find(&scene).count, 60);
    scene.filter.ns = "shop.items";
    assert_int_equal(find(&scene).count, 20);
    EXPECT_OK(hf_slice_fetch_header(scene.world.store, &scene.tailer.name, &scene.world.ring,
                                    &header, &err),
              &err);
    assert_int_equal(header.block_count, 3);
    spoil_slice(&scene.world, &scene.tailer.name, (long)header.blocks[2].place + 40);
    /* Another reader: this one has the slice. */
    hf_slice_reader_destroy(scene.world.reader);
    EXPECT_OK(
        hf_slice_reader_create(scene.world.store, &scene.world.ring, &scene.world.reader, &err),
        &err);
    scene.filter.reader = scene.world.reader;
    assert_int_equal(find(&scene).count, 20);
    scene.filter.ns = "shop.orders";
    EXPECT_ERROR(hf_oplog_find(&scene.filter, see, &seen, &err), HF_ERR_CORRUPT,
                 hf_object_name_text(&scene.tailer.name).text, &err);
    scene_end(&scene);
}

static void test_words_of_kinds(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= HF_OPLOG_KIND_MAX; i++) {
        enum hf_oplog_kind kind;
        assert_true(hf_oplog_kind_parse(hf_oplog_kind_word((enum hf_oplog_kind)i), &kind));
        assert_int_equal(kind, i);
    }
    enum hf_oplog_kind kind;
    assert_false(hf_oplog_kind_parse("", &kind));
    assert_false(hf_oplog_kind_parse("drop", &kind));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operations_are_found_by_time_kind_namespace_and_id),
        cmocka_unit_test(test_counts_per_minute_and_in_all),
        cmocka_unit_test(test_a_damaged_slice_is_named),
        cmocka_unit_test(test_a_slice_that_went_meanwhile_is_worth_another_try),
        cmocka_unit_test(test_blocks_without_the_namespace_are_not_read),
        cmocka_unit_test(test_words_of_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
