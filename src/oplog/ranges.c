/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges out of chains and snapshots, and what may be pruned.
 */
#include "oplog/ranges_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "oplog/chain_internal.h"

void hf_ranges_fini(struct hf_ranges *ranges)
{
    hf_free(ranges->snapshots);
    hf_free(ranges->places);
    hf_free(ranges->items);
    *ranges = (struct hf_ranges){.chains = NULL};
}

/* ---- Snapshots on chains ---- */

bool hf_base_anchor(const struct hf_base_snapshot *snapshot, struct hf_optime *anchor)
{
    *anchor = hf_optime_is_none(&snapshot->committed) ? snapshot->oplog_end : snapshot->committed;
    return !hf_optime_is_none(anchor) && hf_optime_compare_ts(anchor, &snapshot->checkpoint) >= 0;
}

struct hf_optime hf_base_own_end(const struct hf_base_snapshot *snapshot)
{
    /* What is not known to be committed may have been rolled back on the source. */
    return hf_optime_compare_ts(&snapshot->committed, &snapshot->checkpoint) > 0
               ? snapshot->committed
               : snapshot->checkpoint;
}

/* The copy's checkpoint is of the version before the one with which the chain begins. */
static bool crosses_version(const struct hf_chain *chain, const struct hf_base_snapshot *snapshot)
{
    return chain->start == HF_CHAIN_CAUSE && chain->start_cause == HF_CHAIN_FCV_CHANGED &&
           hf_optime_compare_ts(&snapshot->checkpoint, &chain->first) < 0;
}

/*
 * Between the copy's checkpoint and the chain's first entry, which only the copy's own oplog holds, the version changed:
 * another chain begins with that. Whether that one is of the same history nobody knows there.
 */
static bool changes_version_before(const struct hf_ranges *ranges, const struct hf_chain *chain,
                                   const struct hf_base_snapshot *snapshot)
{
    for (size_t c = 0; c < ranges->chains->count; c++) {
        const struct hf_chain *other = &ranges->chains->items[c];
        if (crosses_version(other, snapshot) &&
            hf_optime_compare_ts(&other->first, &chain->first) <= 0) {
            return true;
        }
    }
    return false;
}

/* The chain has exactly that entry. *link: the slice that was looked into; link_count: none was. */
static enum hf_err has_entry(const struct hf_ranges *ranges, size_t chain,
                             struct hf_slice_reader *reader, const struct hf_optime *optime,
                             bool *found, size_t *link, struct hf_error *err)
{
    const struct hf_chain *on = &ranges->chains->items[chain];
    struct hf_hash hash;
    size_t segment = hf_chain_find_segment(on, optime);
    *link = segment == on->segment_count ? ranges->chains->link_count : on->segments[segment].link;
    return hf_chain_hash_at(ranges->chains, on, reader, optime, found, &hash, err);
}

static enum hf_err judge(const struct hf_ranges *ranges, size_t snapshot, size_t chain,
                         struct hf_slice_reader *reader, enum hf_base_verdict *verdict,
                         size_t *link, struct hf_error *err)
{
    const struct hf_base_snapshot *base = &ranges->snapshots[snapshot];
    const struct hf_chain *on = &ranges->chains->items[chain];
    struct hf_optime anchor;
    bool found = false;
    *verdict = HF_BASE_APART;
    if (!hf_base_anchor(base, &anchor) || changes_version_before(ranges, on, base)) {
        return HF_ERR_OK;
    }
    if (has_entry(ranges, chain, reader, &anchor, &found, link, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!found) {
        return HF_ERR_OK;
    }
    *verdict = HF_BASE_GOOD;
    if (hf_optime_compare_ts(&base->oplog_end, &anchor) <= 0) {
        return HF_ERR_OK;
    }
    if (hf_optime_compare_ts(&base->oplog_end, &on->last) > 0) {
        *verdict = HF_BASE_UNDECIDED;
        return HF_ERR_OK;
    }
    if (has_entry(ranges, chain, reader, &base->oplog_end, &found, link, err) != HF_ERR_OK) {
        return err->code;
    }
    *verdict = found ? HF_BASE_GOOD : HF_BASE_ROLLED_BACK;
    return HF_ERR_OK;
}

static enum hf_err add_place(struct hf_ranges *ranges, const struct hf_base_place *place,
                             struct hf_error *err)
{
    size_t count = ranges->place_count;
    if (count == 0 || (count & (count - 1)) == 0) { /* room comes by doubling */
        struct hf_base_place *grown =
            hf_realloc_array(ranges->places, count == 0 ? 1 : count * 2, sizeof *grown);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "restorable ranges");
        }
        ranges->places = grown;
    }
    ranges->places[ranges->place_count++] = *place;
    return HF_ERR_OK;
}

/* *condemned: a slice proved damaged, the chains were built without it, and all is to be judged again. */
static enum hf_err judge_all(struct hf_ranges *ranges, const struct hf_ranges_options *options,
                             bool *condemned, struct hf_error *err)
{
    *condemned = false;
    ranges->place_count = 0;
    for (size_t s = 0; s < ranges->snapshot_count; s++) {
        for (size_t c = 0; c < options->chains->count; c++) {
            struct hf_base_place place = {.snapshot = s, .chain = c};
            size_t link = options->chains->link_count;
            enum hf_err code = judge(ranges, s, c, options->reader, &place.verdict, &link, err);
            if (hf_chain_is_damage(code)) {
                char problem[HF_ERROR_MESSAGE_BYTES];
                (void)snprintf(problem, sizeof problem, "%s", err->message);
                *condemned = true;
                return link == options->chains->link_count
                           ? hf_wrap(err, "restorable ranges")
                           : hf_chains_condemn(options->chains, link, problem, options->reader,
                                               err);
            }
            if (hf_chain_gone(code, err) != HF_ERR_OK) {
                return hf_wrap(err, "snapshot %s", hf_id_text(&ranges->snapshots[s].id).text);
            }
            if (place.verdict != HF_BASE_APART && add_place(ranges, &place, err) != HF_ERR_OK) {
                return err->code;
            }
        }
    }
    return HF_ERR_OK;
}

/* ---- Ranges ---- */

/* The oldest base on the chain with a verdict up to that one; SIZE_MAX: none. */
static size_t oldest_base(const struct hf_ranges *ranges, size_t chain, enum hf_base_verdict most)
{
    for (size_t i = 0; i < ranges->place_count; i++) { /* ascending by checkpoint */
        if (ranges->places[i].chain == chain && ranges->places[i].verdict <= most) {
            return ranges->places[i].snapshot;
        }
    }
    return SIZE_MAX;
}

size_t hf_ranges_newest_base(const struct hf_ranges *ranges, size_t chain,
                             const struct hf_optime *limit)
{
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < ranges->place_count; i++) {
        const struct hf_base_place *place = &ranges->places[i];
        if (place->chain == chain && place->verdict == HF_BASE_GOOD &&
            hf_optime_compare_ts(&ranges->snapshots[place->snapshot].checkpoint, limit) <= 0) {
            found = place->snapshot;
        }
    }
    return found;
}

static void chain_range(const struct hf_ranges *ranges, size_t chain, size_t base,
                        struct hf_range *out)
{
    const struct hf_chain *on = &ranges->chains->items[chain];
    *out = (struct hf_range){
        .start = ranges->snapshots[base].checkpoint,
        .end = on->last,
        .base = base,
        .chain = chain,
        .end_edge = on->end,
        .end_cause = on->end_cause,
    };
    (void)snprintf(out->end_text, sizeof out->end_text, "%s", on->end_text);
}

/* A chain's range that this snapshot's own instants lie in: they are of one history. */
static bool is_covered(const struct hf_ranges *ranges, size_t snapshot)
{
    const struct hf_base_snapshot *base = &ranges->snapshots[snapshot];
    struct hf_optime end = hf_base_own_end(base);
    for (size_t i = 0; i < ranges->place_count; i++) {
        if (ranges->places[i].snapshot != snapshot) {
            continue;
        }
        for (size_t r = 0; r < ranges->count; r++) {
            const struct hf_range *range = &ranges->items[r];
            if (range->chain == ranges->places[i].chain &&
                hf_optime_compare_ts(&range->start, &base->checkpoint) <= 0 &&
                hf_optime_compare_ts(&end, &range->end) <= 0) {
                return true;
            }
        }
    }
    return false;
}

/* The copy's own oplog is not replayed across a change of version either. */
static void end_before_version(const struct hf_ranges *ranges, const struct hf_base_snapshot *base,
                               struct hf_range *range)
{
    for (size_t c = 0; c < ranges->chains->count; c++) {
        const struct hf_chain *chain = &ranges->chains->items[c];
        if (crosses_version(chain, base) && hf_optime_compare_ts(&chain->first, &range->end) <= 0) {
            /* The chain before may be another history's, and end later than this one begins. */
            bool before = hf_optime_compare_ts(&chain->broken_after, &base->checkpoint) > 0 &&
                          hf_optime_compare_ts(&chain->broken_after, &chain->first) < 0;
            range->end = before ? chain->broken_after : base->checkpoint;
            range->end_edge = HF_CHAIN_CAUSE;
            range->end_cause = HF_CHAIN_FCV_CHANGED;
            (void)snprintf(range->end_text, sizeof range->end_text, "%s",
                           hf_chain_cause_text(HF_CHAIN_FCV_CHANGED));
        }
    }
}

static void own_range(const struct hf_ranges *ranges, size_t snapshot, struct hf_range *out)
{
    const struct hf_base_snapshot *base = &ranges->snapshots[snapshot];
    enum hf_base_verdict verdict = HF_BASE_APART;
    for (size_t i = 0; i < ranges->place_count; i++) {
        if (ranges->places[i].snapshot == snapshot && ranges->places[i].verdict > verdict) {
            verdict = ranges->places[i].verdict;
        }
    }
    *out = (struct hf_range){
        .start = base->checkpoint,
        .end = hf_base_own_end(base),
        .base = snapshot,
        .chain = HF_NO_CHAIN,
        .end_edge = verdict == HF_BASE_ROLLED_BACK ? HF_CHAIN_DIVERGED
                    : verdict == HF_BASE_UNDECIDED ? HF_CHAIN_OPEN
                                                   : HF_CHAIN_MISSING,
    };
    (void)snprintf(out->end_text, sizeof out->end_text, "%s",
                   verdict == HF_BASE_ROLLED_BACK
                       ? "the source rolled back entries that the snapshot's copy holds"
                   : verdict == HF_BASE_UNDECIDED
                       ? "the stored oplog has not reached the end of the snapshot's copy yet"
                       : "no stored oplog has the last entry that the snapshot's copy is known "
                         "to hold");
    end_before_version(ranges, base, out);
}

static int compare_ranges(const void *left, const void *right)
{
    const struct hf_range *a = left;
    const struct hf_range *b = right;
    int order = hf_optime_compare_ts(&a->start, &b->start);
    if (order == 0) {
        order = hf_optime_compare(&a->end, &b->end);
    }
    return order != 0 ? order : a->base < b->base ? -1 : a->base > b->base;
}

static int compare_snapshots(const void *left, const void *right)
{
    const struct hf_base_snapshot *a = left;
    const struct hf_base_snapshot *b = right;
    int order = hf_optime_compare_ts(&a->checkpoint, &b->checkpoint);
    return order != 0 ? order : a->capture < b->capture ? -1 : a->capture > b->capture;
}

enum hf_err hf_ranges_compute(const struct hf_ranges_options *options, struct hf_ranges *out,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_ranges_fini)
    struct hf_ranges ranges = {.chains = options->chains,
                               .snapshot_count = options->snapshot_count};
    ranges.snapshots = hf_alloc_array(options->snapshot_count + 1, sizeof *ranges.snapshots);
    if (ranges.snapshots == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "restorable ranges");
    }
    if (options->snapshot_count > 0) {
        memcpy(ranges.snapshots, options->snapshots,
               options->snapshot_count * sizeof *ranges.snapshots);
        qsort(ranges.snapshots, ranges.snapshot_count, sizeof *ranges.snapshots, compare_snapshots);
    }
    bool condemned = true;
    while (condemned) {
        if (judge_all(&ranges, options, &condemned, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    ranges.items =
        hf_alloc_array(options->snapshot_count + options->chains->count + 1, sizeof *ranges.items);
    if (ranges.items == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "restorable ranges");
    }
    for (size_t c = 0; c < options->chains->count; c++) {
        size_t base = oldest_base(&ranges, c, HF_BASE_GOOD);
        if (base != SIZE_MAX) {
            chain_range(&ranges, c, base, &ranges.items[ranges.count++]);
        }
    }
    for (size_t s = 0; s < ranges.snapshot_count; s++) {
        if (!is_covered(&ranges, s)) {
            own_range(&ranges, s, &ranges.items[ranges.count++]);
        }
    }
    qsort(ranges.items, ranges.count, sizeof *ranges.items, compare_ranges);
    *out = ranges;
    ranges = (struct hf_ranges){.chains = NULL};
    return HF_ERR_OK;
}

/* ---- Pruning ---- */

/* The earliest entry that instants in the window need of the chain: slices that end before it may go. */
static struct hf_optime needed_from(const struct hf_ranges *ranges, size_t chain,
                                    uint64_t window_start_s)
{
    uint32_t start = window_start_s > UINT32_MAX ? UINT32_MAX : (uint32_t)window_start_s;
    struct hf_optime window = {.seconds = start, .term = -1};
    /* One that is not decided yet may become a base. */
    size_t oldest = oldest_base(ranges, chain, HF_BASE_UNDECIDED);
    if (oldest == SIZE_MAX ||
        hf_optime_compare_ts(&ranges->chains->items[chain].last, &window) < 0) {
        return window;
    }
    size_t base = hf_ranges_newest_base(ranges, chain, &window);
    struct hf_optime from = ranges->snapshots[base == SIZE_MAX ? oldest : base].checkpoint;
    return hf_optime_compare_ts(&from, &window) < 0 ? from : window;
}

static void keep_earlier(struct hf_optime *need, const struct hf_optime *other)
{
    if (hf_optime_compare_ts(other, need) < 0) {
        *need = *other;
    }
}

/* Marks what a chain must keep: everything behind the first slice that is needed. */
static void keep_chain(const struct hf_ranges *ranges, const struct hf_chain *chain,
                       const struct hf_optime *need, bool *keep)
{
    bool needed = false;
    for (size_t i = 0; i < chain->segment_count; i++) {
        size_t link = chain->segments[i].link;
        needed = needed ||
                 hf_optime_compare_ts(&ranges->chains->links[link].name.last_optime, need) >= 0 ||
                 (i + 1 == chain->segment_count && chain->end == HF_CHAIN_OPEN);
        keep[link] = keep[link] || needed;
    }
}

enum hf_err hf_ranges_prunable(const struct hf_ranges *ranges,
                               const struct hf_prune_options *options, size_t **links,
                               size_t *count, struct hf_error *err)
{
    const struct hf_chains *chains = ranges->chains;
    HF_CLEANUP(hf_free) bool *keep = hf_alloc_zero(chains->link_count + 1);
    HF_CLEANUP(hf_free) size_t *found = hf_alloc_array(chains->link_count + 1, sizeof *found);
    struct hf_optime earliest = {.seconds = options->window_start_s > UINT32_MAX
                                                ? UINT32_MAX
                                                : (uint32_t)options->window_start_s,
                                 .term = -1};
    size_t found_count = 0;
    if (keep == NULL || found == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "prune oplog slices");
    }
    for (size_t i = 0; i < options->lease_count; i++) {
        keep_earlier(&earliest, &options->leases[i]);
    }
    struct hf_optime leased = earliest;
    for (size_t c = 0; c < chains->count; c++) {
        struct hf_optime need = needed_from(ranges, c, options->window_start_s);
        keep_earlier(&need, &leased);
        keep_earlier(&earliest, &need);
        keep_chain(ranges, &chains->items[c], &need, keep);
    }
    /* Ascending by last entry, as the links are: what is left after a crash half way is still one stretch. */
    for (size_t i = 0; i < chains->link_count; i++) {
        const struct hf_slice_link *link = &chains->links[i];
        bool old = link->used || hf_optime_compare_ts(&link->name.last_optime, &earliest) < 0;
        if (!keep[i] && old) {
            found[found_count++] = i;
        }
    }
    *links = HF_TAKE(found);
    *count = found_count;
    return HF_ERR_OK;
}
