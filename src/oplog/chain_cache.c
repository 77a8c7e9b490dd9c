/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the headers of a job's slices said, for the next load: a slice never changes, so what was read of it once stays true.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "oplog/chain.h"

struct hf_chain_cache {
    atomic_size_t holders;
    struct hf_slice_link *links; /* owned; by compare_names; none has a problem */
    size_t count;
};

static int compare_optimes(const struct hf_optime *a, const struct hf_optime *b)
{
    int order = hf_optime_compare_ts(a, b);
    return order != 0 ? order : a->term < b->term ? -1 : a->term > b->term;
}

/* Any order will do that tells all names of one job apart. */
static int compare_names(const struct hf_object_name *a, const struct hf_object_name *b)
{
    int order = compare_optimes(&a->last_optime, &b->last_optime);
    if (order == 0) {
        order = compare_optimes(&a->first_optime, &b->first_optime);
    }
    if (order == 0) {
        order = a->round < b->round ? -1 : a->round > b->round;
    }
    return order != 0 ? order : memcmp(a->writer.bytes, b->writer.bytes, sizeof a->writer.bytes);
}

static int compare_links(const void *left, const void *right)
{
    const struct hf_slice_link *a = left;
    const struct hf_slice_link *b = right;
    return compare_names(&a->name, &b->name);
}

enum hf_err hf_chain_cache_create(const struct hf_chains *chains, struct hf_chain_cache **out,
                                  struct hf_error *err)
{
    HF_CLEANUP(hf_chain_cache_drop) struct hf_chain_cache *cache = hf_alloc_zero(sizeof *cache);
    if (cache == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "headers of oplog slices");
    }
    atomic_init(&cache->holders, 1);
    cache->links = hf_alloc_array(chains->link_count + 1, sizeof *cache->links);
    if (cache->links == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "headers of oplog slices");
    }
    for (size_t i = 0; i < chains->link_count; i++) {
        if (chains->links[i].problem == NULL) {
            cache->links[cache->count] = chains->links[i];
            cache->links[cache->count++].used = false;
        }
    }
    qsort(cache->links, cache->count, sizeof *cache->links, compare_links);
    *out = HF_TAKE(cache);
    return HF_ERR_OK;
}

struct hf_chain_cache *hf_chain_cache_hold(struct hf_chain_cache *cache)
{
    if (cache != NULL) {
        atomic_fetch_add(&cache->holders, 1);
    }
    return cache;
}

void hf_chain_cache_drop(struct hf_chain_cache *cache)
{
    if (cache != NULL && atomic_fetch_sub(&cache->holders, 1) == 1) {
        hf_free(cache->links);
        hf_free(cache);
    }
}

const struct hf_slice_link *hf_chain_cache_find(const struct hf_chain_cache *cache,
                                                const struct hf_object_name *name,
                                                uint64_t object_bytes)
{
    const struct hf_slice_link wanted = {.name = *name};
    const struct hf_slice_link *found =
        bsearch(&wanted, cache->links, cache->count, sizeof *cache->links, compare_links);
    return found != NULL && found->object_bytes == object_bytes ? found : NULL;
}
