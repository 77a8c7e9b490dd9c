/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading many blocks at once: in address order, near ones joined, by several threads (store-format.md section 3). Used by
 * restore and verification.
 */
#ifndef HF_SNAPSHOT_FETCH_H
#define HF_SNAPSHOT_FETCH_H

#include <stdint.h>

#include "base/error.h"
#include "base/thread.h"
#include "snapshot/pool.h"
#include "snapshot/tree.h"

/* How far a look goes; the values are those of enum hf_verify_level. */
enum hf_fetch_depth { HF_FETCH_FIND, HF_FETCH_STORED, HF_FETCH_CONTENT };

struct hf_fetch_item {
    struct hf_ref ref;
    uint32_t plain_bytes; /* as the tree says */
    uint32_t file;        /* the caller's */
    uint64_t offset;      /* the caller's */
    uint8_t *into;        /* the caller's; borrowed */
};

/* A window of items: so many are sorted and read at once. */
struct hf_fetch_window {
    struct hf_fetch_item *items; /* owned */
    size_t count, capacity;
};
#define HF_FETCH_WINDOW_ITEMS ((size_t)65536)
HF_MUST_CHECK enum hf_err hf_fetch_window_init(struct hf_fetch_window *window, size_t capacity,
                                               struct hf_error *err);
void hf_fetch_window_fini(struct hf_fetch_window *window);
HF_CLEANUP_DEFINE_VALUE(hf_fetch_window_fini, struct hf_fetch_window)

/* Tools of the workers: a coder and buffers each. */
struct hf_fetcher;
struct hf_fetcher_options {
    struct hf_tree_reader *reader;    /* borrowed: outlives the fetcher */
    const struct hf_keyring *keyring; /* borrowed: outlives the fetcher */
    unsigned workers;                 /* as hf_pool_workers gave it */
    enum hf_fetch_depth depth;
    /* With HF_FETCH_CONTENT: blocks whose offsets in a file follow each other are handed over as one, up to so many bytes;
     * 0: each on its own. */
    size_t run_bytes;
    const struct hf_cancel *cancel;
    /* A block is there, or a run of blocks of which it is the first; plain is empty but for HF_FETCH_CONTENT, and begins at
     * a page unless the block was read alone. On any of the workers' threads. */
    enum hf_err (*on_block)(void *context, const struct hf_fetch_item *item, struct hf_bytes plain,
                            struct hf_error *err);
    /* A block is missing or damaged (damage says how). NULL: the first one ends the fetch. */
    enum hf_err (*on_damage)(void *context, const struct hf_fetch_item *item,
                             const struct hf_error *damage, struct hf_error *err);
    void *context;
};
HF_MUST_CHECK enum hf_err hf_fetcher_create(const struct hf_fetcher_options *options,
                                            struct hf_fetcher **out, struct hf_error *err);
void hf_fetcher_destroy(struct hf_fetcher *fetcher);
HF_CLEANUP_DEFINE(hf_fetcher_destroy, struct hf_fetcher *)
/* Sorts the window by address and reads it; the window is empty afterwards. */
HF_MUST_CHECK enum hf_err hf_fetcher_run(struct hf_fetcher *fetcher, struct hf_fetch_window *window,
                                         struct hf_error *err);
/* Bytes that were read from the store so far. */
uint64_t hf_fetcher_read_bytes(const struct hf_fetcher *fetcher);

/* Reads items [first, first + count) of an ascending window on the calling thread, with the tools of `worker`. */
HF_MUST_CHECK enum hf_err hf_fetcher_run_some(struct hf_fetcher *fetcher, unsigned worker,
                                              const struct hf_fetch_item *items, size_t count,
                                              struct hf_error *err);

#endif
