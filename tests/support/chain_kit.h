/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests only: a store with slices of histories that a seed makes.
 */
#ifndef HF_TESTS_CHAIN_KIT_H
#define HF_TESTS_CHAIN_KIT_H

#include "support/oplog_kit.h"

#include "oplog/chain.h"
#include "oplog/reader.h"
#include "store/store.h"

struct world {
    struct hf_keyring ring;
    struct hf_store *store;
    struct hf_slice_reader *reader;
    uint8_t next_writer;
};

static inline void world_begin(struct world *world)
{
    struct hf_error err;
    world->ring = fixed_keyring(true);
    world->next_writer = 0x20;
    EXPECT_OK(hf_store_mem_create(&world->store, &err), &err);
    EXPECT_OK(hf_slice_reader_create(world->store, &world->ring, &world->reader, &err), &err);
}

static inline void world_end(struct world *world)
{
    hf_slice_reader_destroy(world->reader);
    hf_store_close(world->store);
}

/* The entry of a history: all that it holds follows from optime and salt. */
static inline void history_entry(const struct hf_optime *optime, uint64_t salt, struct hf_buf *out)
{
    struct made_entry made = {.optime = *optime,
                              .op = optime->increment % 7 == 0 ? "n" : "i",
                              .ns = optime->increment % 7 == 0 ? "" : "shop.orders",
                              .id = (int64_t)salt,
                              .pad_bytes = optime->increment % 3 == 0 ? 300 : 0,
                              .pad_seed = salt};
    hf_buf_clear(out);
    make_entry(&made, out);
}

/* A tailer: its slicer, and what it puts. */
struct tailer {
    struct world *world;
    struct hf_slicer *slicer;
    struct hf_buf object;
    struct hf_object_name name; /* of the slice put last */
};

static inline void tailer_begin(struct tailer *tailer, struct world *world,
                                const struct hf_chain_point *start)
{
    *tailer = (struct tailer){.world = world};
    tailer->slicer = make_slicer(&world->ring, world->next_writer++, 0, start);
    hf_buf_init(&tailer->object, HF_SLICE_OBJECT_MAX_BYTES);
}

static inline void tailer_end(struct tailer *tailer)
{
    hf_slicer_destroy(tailer->slicer);
    hf_buf_fini(&tailer->object);
}

static inline void tailer_put(struct tailer *tailer)
{
    struct hf_error err;
    if (hf_slicer_is_empty(tailer->slicer)) {
        return;
    }
    EXPECT_OK(hf_slicer_close(tailer->slicer, &tailer->name, &tailer->object, &err), &err);
    EXPECT_OK(hf_store_put(tailer->world->store, hf_str_of(hf_object_name_text(&tailer->name).text),
                           hf_buf_bytes(&tailer->object), NULL, &err),
              &err);
}

static inline void tailer_add(struct tailer *tailer, const struct hf_optime *optime, uint64_t salt)
{
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf entry = HF_BUF_INIT((size_t)1 << 20);
    bool taken = false;
    history_entry(optime, salt, &entry);
    EXPECT_OK(hf_slicer_add(tailer->slicer, hf_buf_bytes(&entry), 0, &taken, &err), &err);
    assert_true(taken);
}

/* Entries (100, from) to (100, to) of term 1, as one slice. */
static inline void tailer_slice(struct tailer *tailer, uint32_t from, uint32_t to, uint64_t salt)
{
    for (uint32_t i = from; i <= to; i++) {
        struct hf_optime optime = {.seconds = 100, .increment = i, .term = 1};
        tailer_add(tailer, &optime, salt);
    }
    tailer_put(tailer);
}

static inline void load_chains(struct world *world, struct hf_chains *out)
{
    struct hf_error err;
    struct hf_chains_options options = {.store = world->store, .keyring = &world->ring};
    EXPECT_OK(hf_chains_load(&options, out, &err), &err);
}

static inline void remove_slice(struct world *world, const struct hf_object_name *name)
{
    struct hf_error err;
    EXPECT_OK(hf_store_delete(world->store, hf_str_of(hf_object_name_text(name).text), &err), &err);
}

/* Puts the object again with a bit flipped at that offset, from its end when negative. */
static inline void spoil_slice(struct world *world, const struct hf_object_name *name, long offset)
{
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf object = HF_BUF_INIT(HF_SLICE_OBJECT_MAX_BYTES);
    struct hf_object_text text = hf_object_name_text(name);
    EXPECT_OK(
        hf_store_get(world->store, hf_str_of(text.text), HF_SLICE_OBJECT_MAX_BYTES, &object, &err),
        &err);
    size_t at = offset < 0 ? object.len - (size_t)-offset : (size_t)offset;
    object.data[at] ^= 4;
    remove_slice(world, name);
    EXPECT_OK(hf_store_put(world->store, hf_str_of(text.text), hf_buf_bytes(&object), NULL, &err),
              &err);
}

/* The chain that begins with that increment; fails when there is none. */
static inline struct hf_chain *chain_from(struct hf_chains *chains, uint32_t increment)
{
    for (size_t i = 0; i < chains->count; i++) {
        if (chains->items[i].first.increment == increment) {
            return &chains->items[i];
        }
    }
    fail_msg("no chain begins with increment %u", (unsigned)increment);
    return NULL;
}

static inline void expect_chain(const struct hf_chain *chain, uint32_t first, uint32_t last,
                                enum hf_chain_edge start, enum hf_chain_edge end)
{
    if (chain->first.increment != first || chain->last.increment != last || chain->start != start ||
        chain->end != end) {
        fail_msg("chain %u to %u, %s (%s) to %s (%s)", (unsigned)chain->first.increment,
                 (unsigned)chain->last.increment, hf_chain_edge_word(chain->start),
                 chain->start_text, hf_chain_edge_word(chain->end), chain->end_text);
    }
}

#endif
