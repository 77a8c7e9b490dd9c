/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains out of slices: what goes on, what repeats, what differs, what is missing or damaged, and the words for it.
 */
#include "support/chain_kit.h"

#include "format/slice_internal.h"
#include "store/faulty.h"

static void test_slices_of_one_tailer_are_one_chain(void **state)
{
    struct world world;
    struct tailer tailer;
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    (void)state;
    world_begin(&world);
    tailer_begin(&tailer, &world, NULL);
    tailer_slice(&tailer, 1, 10, 7);
    tailer_slice(&tailer, 11, 11, 7);
    tailer_slice(&tailer, 12, 40, 7);
    load_chains(&world, &chains);
    assert_int_equal(chains.count, 1);
    expect_chain(&chains.items[0], 1, 40, HF_CHAIN_CAUSE, HF_CHAIN_OPEN);
    assert_int_equal(chains.items[0].start_cause, HF_CHAIN_FIRST);
    assert_int_equal(chains.items[0].segment_count, 3);
    tailer_end(&tailer);
    world_end(&world);
}

static void test_overlaps_that_agree_are_one_chain(void **state)
{
    struct world world;
    struct tailer one, two;
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    (void)state;
    world_begin(&world);
    tailer_begin(&one, &world, NULL);
    tailer_slice(&one, 1, 10, 7);
    struct hf_chain_point point = hf_slicer_point(one.slicer);
    tailer_begin(&two, &world, &point);
    tailer_slice(&one, 11, 20, 7);
    tailer_slice(&two, 11, 15, 7); /* repeats */
    tailer_slice(&two, 16, 30, 7); /* begins inside, goes on */
    tailer_slice(&one, 21, 25, 7); /* inside */
    load_chains(&world, &chains);
    assert_int_equal(chains.count, 1);
    expect_chain(&chains.items[0], 1, 30, HF_CHAIN_CAUSE, HF_CHAIN_OPEN);
    unsigned used = 0;
    for (size_t i = 0; i < chains.link_count; i++) {
        used += chains.links[i].used;
    }
    assert_int_equal(chains.link_count, 5);
    assert_int_equal(used, 3);
    /* The chain holds without the slices that only repeat, and without those that they repeat. */
    remove_slice(&world, &one.name);
    hf_chains_fini(&chains);
    load_chains(&world, &chains);
    assert_int_equal(chains.count, 1);
    expect_chain(&chains.items[0], 1, 30, HF_CHAIN_CAUSE, HF_CHAIN_OPEN);
    tailer_end(&one);
    tailer_end(&two);
    world_end(&world);
}

static void test_overlaps_that_differ_end_the_chain_where_they_do(void **state)
{
    struct world world;
    struct tailer one, two, three;
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    (void)state;
    world_begin(&world);
    tailer_begin(&one, &world, NULL);
    tailer_slice(&one, 1, 10, 7);
    struct hf_chain_point point = hf_slicer_point(one.slicer);
    tailer_begin(&two, &world, &point);
    tailer_begin(&three, &world, &point);
    tailer_slice(&one, 11, 20, 7);
    tailer_slice(&one, 21, 24, 7);
    for (uint32_t i = 11; i <= 22; i++) { /* the same to 14, then other entries */
        struct hf_optime optime = {.seconds = 100, .increment = i, .term = i > 14 ? 2 : 1};
        tailer_add(&two, &optime, i > 14 ? 8 : 7);
    }
    tailer_put(&two);
    tailer_slice(&three, 11, 26, 7); /* agrees with the first one, and goes on */
    load_chains(&world, &chains);
    assert_int_equal(chains.count, 3);
    expect_chain(&chains.items[0], 1, 14, HF_CHAIN_CAUSE, HF_CHAIN_DIVERGED);
    assert_non_null(strstr(chains.items[0].end_text, "different entries after 100.14/1"));
    assert_int_equal(chains.items[1].first.term + chains.items[2].first.term, 3);
    const struct hf_chain *first =
        chains.items[1].first.term == 1 ? &chains.items[1] : &chains.items[2];
    const struct hf_chain *second =
        chains.items[1].first.term == 2 ? &chains.items[1] : &chains.items[2];
    expect_chain(first, 15, 26, HF_CHAIN_DIVERGED, HF_CHAIN_OPEN);
    expect_chain(second, 15, 22, HF_CHAIN_DIVERGED, HF_CHAIN_OPEN);
    tailer_end(&one);
    tailer_end(&two);
    tailer_end(&three);
    world_end(&world);
}

static void test_a_third_history_behind_a_cut_is_a_branch_of_its_own(void **state)
{
    struct world world;
    struct tailer tailers[3];
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    (void)state;
    world_begin(&world);
    tailer_begin(&tailers[0], &world, NULL);
    tailer_slice(&tailers[0], 1, 10, 7);
    struct hf_chain_point point = hf_slicer_point(tailers[0].slicer);
    tailer_begin(&tailers[1], &world, &point);
    tailer_begin(&tailers[2], &world, &point);
    tailer_slice(&tailers[2], 11, 12, 7);
    for (uint32_t t = 0; t < 3; t++) { /* all the same to 14 */
        for (uint32_t i = t == 2 ? 13 : 11; i <= 20 + t; i++) {
            struct hf_optime optime = {.seconds = 100, .increment = i, .term = i > 14 ? 1 + t : 1};
            tailer_add(&tailers[t], &optime, i > 14 ? 7 + t : 7);
        }
        tailer_put(&tailers[t]);
    }
    load_chains(&world, &chains);
    assert_int_equal(chains.count, 4);
    expect_chain(&chains.items[0], 1, 14, HF_CHAIN_CAUSE, HF_CHAIN_DIVERGED);
    for (uint32_t t = 0; t < 3; t++) {
        expect_chain(&chains.items[1 + t], 15, 20 + t, HF_CHAIN_DIVERGED, HF_CHAIN_OPEN);
        assert_int_equal(chains.items[1 + t].last.term, 1 + t);
        tailer_end(&tailers[t]);
    }
    world_end(&world);
}

/* The slice again, with another running hash behind its first block: what only a holder of the keys could make. */
static void falsify_hash(struct world *world, const struct hf_object_name *name)
{
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf object = HF_BUF_INIT(HF_SLICE_OBJECT_MAX_BYTES);
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    HF_CLEANUP(hf_hmac_destroy) struct hf_hmac *hmac = NULL;
    struct hf_object_text text = hf_object_name_text(name);
    EXPECT_OK(
        hf_store_get(world->store, hf_str_of(text.text), HF_SLICE_OBJECT_MAX_BYTES, &object, &err),
        &err);
    read_slice(&world->ring, &object, &header, NULL);
    EXPECT_OK(hf_slice_hmac(&world->ring, HF_SLICE_HEADER_INFO, &hmac, &err), &err);
    header.blocks[0].hash.bytes[0] ^= 1;
    header.hash_after = header.blocks[header.block_count - 1].hash;
    object.len = header.index_place + header.index_stored_bytes;
    EXPECT_OK(hf_slice_header_encode(&header, hmac, &object, &err), &err);
    remove_slice(world, name);
    EXPECT_OK(hf_store_put(world->store, hf_str_of(text.text), hf_buf_bytes(&object), NULL, &err),
              &err);
}

static void test_entries_that_do_not_give_the_hash_are_refused(void **state)
{
    struct hf_error err;
    struct world world;
    struct tailer one;
    struct hf_oplog_entry entry;
    bool more = false;
    (void)state;
    world_begin(&world);
    tailer_begin(&one, &world, NULL);
    tailer_slice(&one, 1, 10, 7);
    falsify_hash(&world, &one.name);
    EXPECT_OK(hf_slice_reader_open(world.reader, &one.name, &err), &err);
    EXPECT_ERROR(hf_slice_reader_next(world.reader, &entry, &more, &err), HF_ERR_CORRUPT,
                 "block 0: entries up to 100.10/1 do not match the running hash", &err);
    tailer_end(&one);
    world_end(&world);
}

static void test_same_timestamps_under_another_term_are_another_history(void **state)
{
    struct world world;
    struct tailer one;
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    (void)state;
    world_begin(&world);
    tailer_begin(&one, &world, NULL);
    tailer_slice(&one, 1, 20, 7);
    hf_slicer_break(one.slicer, HF_CHAIN_ROLLBACK, "4.4");
    for (uint32_t i = 11; i <= 30; i++) {
        struct hf_optime optime = {.seconds = 100, .increment = i, .term = 2};
        tailer_add(&one, &optime, 9);
    }
    tailer_put(&one);
    load_chains(&world, &chains);
    assert_int_equal(chains.count, 2);
    expect_chain(&chains.items[0], 1, 20, HF_CHAIN_CAUSE, HF_CHAIN_CAUSE);
    assert_int_equal(chains.items[0].end_cause, HF_CHAIN_ROLLBACK);
    assert_non_null(strstr(chains.items[0].end_text, "rolled back"));
    expect_chain(&chains.items[1], 11, 30, HF_CHAIN_CAUSE, HF_CHAIN_OPEN);
    tailer_end(&one);
    world_end(&world);
}

static void test_missing_and_pruned_slices_are_told_apart(void **state)
{
    struct world world;
    struct tailer one;
    struct hf_object_name names[4];
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    (void)state;
    world_begin(&world);
    tailer_begin(&one, &world, NULL);
    for (uint32_t i = 0; i < 4; i++) {
        tailer_slice(&one, 10 * i + 1, 10 * i + 10, 7);
        names[i] = one.name;
    }
    remove_slice(&world, &names[0]);
    load_chains(&world, &chains);
    assert_int_equal(chains.count, 1);
    expect_chain(&chains.items[0], 11, 40, HF_CHAIN_PRUNED, HF_CHAIN_OPEN);
    hf_chains_fini(&chains);
    remove_slice(&world, &names[2]);
    load_chains(&world, &chains);
    assert_int_equal(chains.count, 2);
    expect_chain(&chains.items[0], 11, 20, HF_CHAIN_PRUNED, HF_CHAIN_MISSING);
    assert_string_equal(chains.items[0].end_text,
                        "no slice holds the entries after 100.20/1 up to 100.30/1");
    expect_chain(&chains.items[1], 31, 40, HF_CHAIN_MISSING, HF_CHAIN_OPEN);
    tailer_end(&one);
    world_end(&world);
}

static void test_damaged_and_forged_slices_are_named(void **state)
{
    struct world world;
    struct tailer one, two;
    struct hf_object_name names[4];
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    (void)state;
    world_begin(&world);
    tailer_begin(&one, &world, NULL);
    for (uint32_t i = 0; i < 4; i++) {
        tailer_slice(&one, 10 * i + 1, 10 * i + 10, 7);
        names[i] = one.name;
    }
    spoil_slice(&world, &names[2], -60);
    load_chains(&world, &chains);
    assert_int_equal(chains.count, 2);
    expect_chain(&chains.items[0], 1, 20, HF_CHAIN_CAUSE, HF_CHAIN_DAMAGED);
    assert_non_null(strstr(chains.items[0].end_text, hf_object_name_text(&names[2]).text));
    assert_non_null(strstr(chains.items[0].end_text, "checksum"));
    expect_chain(&chains.items[1], 31, 40, HF_CHAIN_DAMAGED, HF_CHAIN_OPEN);
    hf_chains_fini(&chains);
    /* Another slice with the same entries mends it. */
    struct hf_chain_point point = {.cause = HF_CHAIN_FIRST};
    tailer_begin(&two, &world, &point);
    tailer_slice(&two, 1, 35, 7);
    load_chains(&world, &chains);
    assert_int_equal(chains.count, 1);
    expect_chain(&chains.items[0], 1, 40, HF_CHAIN_CAUSE, HF_CHAIN_OPEN);
    hf_chains_fini(&chains);
    remove_slice(&world, &two.name);
    remove_slice(&world, &names[2]);
    /* One who has no key makes a slice that fits. */
    struct hf_keyring honest = world.ring;
    struct tailer forger;
    memset(world.ring.hash_key, 0x99, sizeof world.ring.hash_key);
    point = (struct hf_chain_point){.previous = names[1].last_optime, .sequence = 20};
    memset(point.hash.bytes, 5, sizeof point.hash.bytes);
    tailer_begin(&forger, &world, &point);
    tailer_slice(&forger, 21, 30, 6);
    world.ring = honest;
    load_chains(&world, &chains);
    expect_chain(&chains.items[0], 1, 20, HF_CHAIN_CAUSE, HF_CHAIN_DAMAGED);
    assert_non_null(strstr(chains.items[0].end_text, "forged"));
    tailer_end(&forger);
    tailer_end(&one);
    tailer_end(&two);
    world_end(&world);
}

static void test_a_check_finds_a_flipped_bit_and_the_chain_ends_there(void **state)
{
    struct hf_error err;
    struct world world;
    struct tailer one;
    struct hf_object_name names[3];
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    HF_CLEANUP(hf_chain_report_fini) struct hf_chain_report report = {.faults = NULL};
    (void)state;
    world_begin(&world);
    tailer_begin(&one, &world, NULL);
    for (uint32_t i = 0; i < 3; i++) {
        tailer_slice(&one, 10 * i + 1, 10 * i + 10, 7);
        names[i] = one.name;
    }
    load_chains(&world, &chains);
    EXPECT_OK(hf_chain_check(&chains, &chains.items[0], world.reader, &report, &err), &err);
    assert_int_equal(report.fault_count, 0);
    assert_int_equal(report.entries, 30);
    assert_int_equal(report.slices, 3);
    hf_chain_report_fini(&report);
    const long places[] = {3, 60}; /* head, first block */
    for (size_t i = 0; i < HF_ARRAY_LEN(places); i++) {
        spoil_slice(&world, &names[1], places[i]);
        EXPECT_OK(hf_chain_check(&chains, &chains.items[0], world.reader, &report, &err), &err);
        assert_int_equal(report.fault_count, 1);
        assert_non_null(strstr(report.faults[0].text, hf_object_name_text(&names[1]).text));
        hf_chain_report_fini(&report);
        spoil_slice(&world, &names[1], places[i]);
    }
    struct hf_chains_options options = {
        .store = world.store, .keyring = &world.ring, .bad = &names[1], .bad_count = 1};
    hf_chains_fini(&chains);
    EXPECT_OK(hf_chains_load(&options, &chains, &err), &err);
    assert_int_equal(chains.count, 2);
    expect_chain(&chains.items[0], 1, 10, HF_CHAIN_CAUSE, HF_CHAIN_DAMAGED);
    tailer_end(&one);
    world_end(&world);
}

static void test_a_store_that_does_not_answer_is_no_damage(void **state)
{
    struct hf_error err;
    struct world world;
    struct tailer one;
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    (void)state;
    world_begin(&world);
    tailer_begin(&one, &world, NULL);
    tailer_slice(&one, 1, 10, 7);
    tailer_slice(&one, 11, 20, 7);
    EXPECT_OK(hf_store_faulty_create_take(world.store, &world.store, &err), &err);
    struct hf_store_fault fault = {
        .call = HF_STORE_CALL_GET, .nth = 2, .times = 1, .code = HF_ERR_UNAVAILABLE};
    hf_store_faulty_add(world.store, &fault);
    struct hf_chains_options options = {.store = world.store, .keyring = &world.ring};
    assert_int_equal(hf_chains_load(&options, &chains, &err), HF_ERR_UNAVAILABLE);
    load_chains(&world, &chains);
    assert_int_equal(chains.count, 1);
    /* Gone between list and look: listed again. */
    hf_chains_fini(&chains);
    fault.code = HF_ERR_NOT_FOUND;
    hf_store_faulty_add(world.store, &fault);
    load_chains(&world, &chains);
    expect_chain(&chains.items[0], 1, 20, HF_CHAIN_CAUSE, HF_CHAIN_OPEN);
    fault.times = 0;
    hf_store_faulty_add(world.store, &fault);
    hf_chains_fini(&chains);
    EXPECT_ERROR(hf_chains_load(&options, &chains, &err), HF_ERR_UNAVAILABLE, "they go while",
                 &err);
    tailer_end(&one);
    world_end(&world);
}

static void test_a_cache_saves_the_headers_that_were_read_before(void **state)
{
    struct hf_error err;
    struct world world;
    struct tailer one;
    HF_CLEANUP(hf_chain_cache_drop) struct hf_chain_cache *cache = NULL;
    HF_CLEANUP(hf_chains_fini) struct hf_chains before = {.links = NULL};
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    (void)state;
    world_begin(&world);
    tailer_begin(&one, &world, NULL);
    for (uint32_t i = 0; i < 20; i++) {
        tailer_slice(&one, 10 * i + 1, 10 * i + 10, 7);
    }
    struct hf_object_name last = one.name;
    EXPECT_OK(hf_store_faulty_create_take(world.store, &world.store, &err), &err);
    load_chains(&world, &before);
    assert_int_equal(before.items[0].segment_count, 20);
    EXPECT_OK(hf_chain_cache_create(&before, &cache, &err), &err);
    struct hf_chain_cache *again = hf_chain_cache_hold(cache);
    hf_chain_cache_drop(again); /* one of two */
    tailer_slice(&one, 201, 210, 7);
    struct hf_chains_options options = {
        .store = world.store, .keyring = &world.ring, .cache = cache};
    uint64_t gets = hf_store_faulty_calls(world.store, HF_STORE_CALL_GET);
    EXPECT_OK(hf_chains_load(&options, &chains, &err), &err);
    assert_int_equal(hf_store_faulty_calls(world.store, HF_STORE_CALL_GET), gets + 1);
    expect_chain(&chains.items[0], 1, 210, HF_CHAIN_CAUSE, HF_CHAIN_OPEN);
    assert_int_equal(chains.items[0].segment_count, 21);
    assert_true(hf_hash_equal(&chains.links[3].hash_after, &before.links[3].hash_after));
    /* What is gone is gone, and what was found bad stays bad, cache or not. */
    remove_slice(&world, &last);
    options.bad = &before.links[5].name;
    options.bad_count = 1;
    hf_chains_fini(&chains);
    EXPECT_OK(hf_chains_load(&options, &chains, &err), &err);
    assert_int_equal(chains.link_count, 20);
    assert_int_equal(chains.count, 3);
    assert_non_null(chains.links[5].problem);
    /* Another object of that name is none that was read. */
    assert_non_null(hf_chain_cache_find(cache, &last, before.links[19].object_bytes));
    assert_null(hf_chain_cache_find(cache, &last, before.links[19].object_bytes + 1));
    tailer_end(&one);
    world_end(&world);
}

static void test_bounds_leave_slices_out(void **state)
{
    struct hf_error err;
    struct world world;
    struct tailer one;
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    (void)state;
    world_begin(&world);
    tailer_begin(&one, &world, NULL);
    for (uint32_t i = 0; i < 5; i++) {
        tailer_slice(&one, 10 * i + 1, 10 * i + 10, 7);
    }
    struct hf_chains_options options = {.store = world.store,
                                        .keyring = &world.ring,
                                        .from = {.seconds = 100, .increment = 20, .term = -1},
                                        .to = {.seconds = 100, .increment = 31, .term = -1}};
    EXPECT_OK(hf_chains_load(&options, &chains, &err), &err);
    assert_int_equal(chains.count, 1);
    expect_chain(&chains.items[0], 11, 40, HF_CHAIN_PRUNED, HF_CHAIN_OPEN);
    assert_int_equal(chains.items[0].after.increment, 10);
    options.from.increment = 21;
    options.to.increment = 30;
    hf_chains_fini(&chains);
    EXPECT_OK(hf_chains_load(&options, &chains, &err), &err);
    expect_chain(&chains.items[0], 21, 30, HF_CHAIN_PRUNED, HF_CHAIN_OPEN);
    tailer_end(&one);
    world_end(&world);
}

static void test_floor_and_hash_at_every_place(void **state)
{
    struct hf_error err;
    struct world world;
    struct tailer one;
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    (void)state;
    world_begin(&world);
    tailer_begin(&one, &world, NULL);
    for (uint32_t i = 0; i < 4; i++) { /* 2 to 80, even ones */
        for (uint32_t n = 1; n <= 10; n++) {
            struct hf_optime optime = {.seconds = 100, .increment = 20 * i + 2 * n, .term = 1};
            tailer_add(&one, &optime, 7);
        }
        tailer_put(&one);
    }
    load_chains(&world, &chains);
    for (uint32_t i = 1; i <= 82; i++) {
        struct hf_optime optime = {.seconds = 100, .increment = i, .term = 1};
        struct hf_optime found;
        struct hf_hash hash;
        bool there = false;
        EXPECT_OK(hf_chain_floor(&chains, &chains.items[0], world.reader, &optime, &found, &err),
                  &err);
        assert_int_equal(found.increment, i > 80 ? 80 : i / 2 * 2);
        EXPECT_OK(
            hf_chain_hash_at(&chains, &chains.items[0], world.reader, &optime, &there, &hash, &err),
            &err);
        assert_int_equal(there, i % 2 == 0 && i <= 80);
        optime.term = 2;
        EXPECT_OK(
            hf_chain_hash_at(&chains, &chains.items[0], world.reader, &optime, &there, &hash, &err),
            &err);
        assert_false(there);
    }
    tailer_end(&one);
    world_end(&world);
}

static void test_reading_between_any_two_entries(void **state)
{
    struct hf_error err;
    struct world world;
    struct tailer one, two;
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    (void)state;
    world_begin(&world);
    tailer_begin(&one, &world, NULL);
    tailer_slice(&one, 1, 10, 7);
    struct hf_chain_point point = hf_slicer_point(one.slicer);
    tailer_begin(&two, &world, &point);
    tailer_slice(&one, 11, 20, 7);
    tailer_slice(&two, 11, 13, 7);
    tailer_slice(&two, 14, 32, 7);
    load_chains(&world, &chains);
    for (uint32_t from = 0; from <= 32; from++) {
        for (uint32_t to = from == 0 ? 1 : from; to <= 32; to++) {
            HF_CLEANUP(hf_chain_reader_close) struct hf_chain_reader *reader = NULL;
            struct hf_chain_reader_options options = {
                .chains = &chains,
                .reader = world.reader,
                .after = {.seconds = from == 0 ? 0 : 100, .increment = from, .term = 1},
                .to = {.seconds = 100, .increment = to, .term = 1},
            };
            uint32_t wanted = from;
            bool more = true;
            EXPECT_OK(hf_chain_reader_open(&options, &reader, &err), &err);
            while (more) {
                struct hf_oplog_entry entry;
                EXPECT_OK(hf_chain_reader_next(reader, &entry, &more, &err), &err);
                if (more) {
                    assert_int_equal(entry.optime.increment, ++wanted);
                }
            }
            assert_int_equal(wanted, to);
        }
    }
    HF_CLEANUP(hf_chain_reader_close) struct hf_chain_reader *reader = NULL;
    struct hf_chain_reader_options options = {
        .chains = &chains, .reader = world.reader, .after = {100, 5, 2}, .to = {100, 9, 1}};
    EXPECT_ERROR(hf_chain_reader_open(&options, &reader, &err), HF_ERR_INVALID,
                 "does not have the entry 100.5/2", &err);
    options.after.term = 1;
    options.to.increment = 33;
    EXPECT_ERROR(hf_chain_reader_open(&options, &reader, &err), HF_ERR_INVALID,
                 "does not reach from 100.5/1 to 100.33/1", &err);
    tailer_end(&one);
    tailer_end(&two);
    world_end(&world);
}

static void test_large_entries_are_found_and_read(void **state)
{
    struct hf_error err;
    struct world world;
    struct tailer one;
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    HF_CLEANUP(hf_buf_fini) struct hf_buf entry = HF_BUF_INIT(HF_SLICE_ENTRY_MAX_BYTES);
    (void)state;
    world_begin(&world);
    tailer_begin(&one, &world, NULL);
    for (uint32_t i = 1; i <= 9; i++) {
        struct made_entry made = {.optime = {100, i, 1},
                                  .op = "i",
                                  .ns = "shop.blobs",
                                  .id = i,
                                  .pad_bytes = i % 2 == 0 ? 700000 : 10,
                                  .pad_seed = i};
        bool taken = false;
        hf_buf_clear(&entry);
        make_entry(&made, &entry);
        EXPECT_OK(hf_slicer_add(one.slicer, hf_buf_bytes(&entry), 0, &taken, &err), &err);
        assert_true(taken);
    }
    tailer_put(&one);
    load_chains(&world, &chains);
    for (uint32_t i = 1; i <= 9; i++) {
        struct hf_optime optime = {100, i, 1};
        struct hf_optime found;
        struct hf_oplog_entry next;
        bool more = false;
        EXPECT_OK(hf_chain_floor(&chains, &chains.items[0], world.reader, &optime, &found, &err),
                  &err);
        assert_int_equal(found.increment, i);
        EXPECT_OK(hf_slice_reader_open(world.reader, &one.name, &err), &err);
        EXPECT_OK(hf_slice_reader_seek(world.reader, &optime, &err), &err);
        EXPECT_OK(hf_slice_reader_next(world.reader, &next, &more, &err), &err);
        assert_int_equal(more, i < 9);
        assert_true(!more || (next.optime.increment == i + 1 &&
                              (next.bytes.len > 700000) == ((i + 1) % 2 == 0)));
    }
    tailer_end(&one);
    world_end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices_of_one_tailer_are_one_chain),
        cmocka_unit_test(test_overlaps_that_agree_are_one_chain),
        cmocka_unit_test(test_overlaps_that_differ_end_the_chain_where_they_do),
        cmocka_unit_test(test_a_third_history_behind_a_cut_is_a_branch_of_its_own),
        cmocka_unit_test(test_entries_that_do_not_give_the_hash_are_refused),
        cmocka_unit_test(test_same_timestamps_under_another_term_are_another_history),
        cmocka_unit_test(test_missing_and_pruned_slices_are_told_apart),
        cmocka_unit_test(test_damaged_and_forged_slices_are_named),
        cmocka_unit_test(test_a_check_finds_a_flipped_bit_and_the_chain_ends_there),
        cmocka_unit_test(test_a_store_that_does_not_answer_is_no_damage),
        cmocka_unit_test(test_a_cache_saves_the_headers_that_were_read_before),
        cmocka_unit_test(test_bounds_leave_slices_out),
        cmocka_unit_test(test_floor_and_hash_at_every_place),
        cmocka_unit_test(test_reading_between_any_two_entries),
        cmocka_unit_test(test_large_entries_are_found_and_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
