/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a target to what a restore does: range, base, slices, last entry, truncation point (mongodb-observed.md 3C, 3E, 6).
 */
#include "oplog/ranges_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "os/clock.h"

struct hf_target_text hf_target_text(const struct hf_target *target)
{
    struct hf_target_text out;
    if (target->kind == HF_TARGET_DATE) {
        char time[HF_TIME_TEXT_BYTES];
        hf_time_format(target->seconds, time);
        (void)snprintf(out.text, sizeof out.text, "%s", time);
    } else {
        (void)snprintf(out.text, sizeof out.text, "%" PRIu32 ".%" PRIu32, target->seconds,
                       target->increment);
    }
    return out;
}

struct hf_optime hf_target_limit(const struct hf_target *target)
{
    if (target->kind == HF_TARGET_TIMESTAMP) {
        return (struct hf_optime){
            .seconds = target->seconds, .increment = target->increment, .term = -1};
    }
    return (struct hf_optime){.seconds = target->seconds == 0 ? 0 : target->seconds - 1,
                              .increment = target->seconds == 0 ? 0 : UINT32_MAX,
                              .term = -1};
}

bool hf_range_has(const struct hf_range *range, const struct hf_target *target)
{
    struct hf_optime limit = hf_target_limit(target);
    return hf_optime_compare_ts(&range->start, &limit) <= 0 &&
           (target->kind == HF_TARGET_DATE ? target->seconds <= range->end.seconds
                                           : hf_optime_compare_ts(&limit, &range->end) <= 0);
}

/* ---- Nearest ---- */

/* The first and last target of that kind in the range; false when it has none (a date in less than a second). */
static bool range_edges(const struct hf_range *range, enum hf_target_kind kind,
                        struct hf_target *first, struct hf_target *last)
{
    *first = (struct hf_target){.kind = kind, .seconds = range->start.seconds};
    *last = (struct hf_target){.kind = kind, .seconds = range->end.seconds};
    if (kind == HF_TARGET_TIMESTAMP) {
        first->increment = range->start.increment;
        last->increment = range->end.increment;
        return true;
    }
    if (range->start.seconds >= range->end.seconds) {
        return false;
    }
    first->seconds++;
    return true;
}

static int compare_targets(const struct hf_target *a, const struct hf_target *b)
{
    struct hf_optime left = {.seconds = a->seconds, .increment = a->increment};
    struct hf_optime right = {.seconds = b->seconds, .increment = b->increment};
    return hf_optime_compare_ts(&left, &right);
}

void hf_ranges_nearest(const struct hf_ranges *ranges, const struct hf_target *target,
                       struct hf_nearest *out)
{
    *out = (struct hf_nearest){.has_before = false};
    for (size_t i = 0; i < ranges->count; i++) {
        struct hf_target first;
        struct hf_target last;
        if (!range_edges(&ranges->items[i], target->kind, &first, &last)) {
            continue;
        }
        if (compare_targets(&last, target) < 0 &&
            (!out->has_before || compare_targets(&out->before, &last) <= 0)) {
            out->has_before = true;
            out->before = last;
            out->before_range = i;
        }
        if (compare_targets(target, &first) < 0 &&
            (!out->has_after || compare_targets(&first, &out->after) < 0)) {
            out->has_after = true;
            out->after = first;
            out->after_range = i;
        }
    }
    if (out->has_before) {
        (void)snprintf(out->why, sizeof out->why, "%s", ranges->items[out->before_range].end_text);
    } else if (out->has_after) {
        (void)snprintf(out->why, sizeof out->why, "no snapshot is that old");
    } else {
        (void)snprintf(out->why, sizeof out->why, "no snapshot is complete");
    }
}

static enum hf_err refuse(const struct hf_ranges *ranges, const struct hf_target *target,
                          struct hf_error *err)
{
    struct hf_nearest nearest;
    hf_ranges_nearest(ranges, target, &nearest);
    return hf_fail(err, HF_ERR_NOT_FOUND,
                   "%s cannot be restored: %s; hint: the nearest instants are %s before and %s "
                   "after it",
                   hf_target_text(target).text, nearest.why,
                   nearest.has_before ? hf_target_text(&nearest.before).text : "none",
                   nearest.has_after ? hf_target_text(&nearest.after).text : "none");
}

/* ---- Plan ---- */

void hf_plan_fini(struct hf_plan *plan)
{
    hf_free(plan->links);
    plan->links = NULL;
    plan->link_count = 0;
}

static size_t index_of(const struct hf_ranges *ranges, const struct hf_id *id)
{
    for (size_t i = 0; i < ranges->snapshot_count; i++) {
        if (hf_id_equal(&ranges->snapshots[i].id, id)) {
            return i;
        }
    }
    return SIZE_MAX;
}

/* The snapshot is a base in that range for instants up to the limit. */
static bool is_base(const struct hf_ranges *ranges, const struct hf_range *range, size_t snapshot,
                    const struct hf_optime *limit)
{
    if (hf_optime_compare_ts(&ranges->snapshots[snapshot].checkpoint, limit) > 0) {
        return false;
    }
    if (range->chain == HF_NO_CHAIN) {
        return range->base == snapshot;
    }
    for (size_t i = 0; i < ranges->place_count; i++) {
        if (ranges->places[i].snapshot == snapshot && ranges->places[i].chain == range->chain) {
            return ranges->places[i].verdict == HF_BASE_GOOD;
        }
    }
    return false;
}

static size_t base_in(const struct hf_ranges *ranges, const struct hf_range *range, size_t wanted,
                      const struct hf_optime *limit)
{
    if (wanted != SIZE_MAX) {
        return is_base(ranges, range, wanted, limit) ? wanted : SIZE_MAX;
    }
    return range->chain == HF_NO_CHAIN ? range->base
                                       : hf_ranges_newest_base(ranges, range->chain, limit);
}

/* The newest history that has the target, with a base; *others counts the rest. */
static bool choose(const struct hf_ranges *ranges, const struct hf_target *target, size_t wanted,
                   struct hf_plan *plan)
{
    bool chosen = false;
    unsigned histories = 0;
    for (size_t i = 0; i < ranges->count; i++) {
        const struct hf_range *range = &ranges->items[i];
        if (!hf_range_has(range, target)) {
            continue;
        }
        size_t base = base_in(ranges, range, wanted, &plan->limit);
        if (base == SIZE_MAX) {
            continue;
        }
        histories++;
        const struct hf_range *best = chosen ? &ranges->items[plan->range] : NULL;
        /* A range of a chain says more than a copy alone; a greater term is the later history. */
        if (best == NULL || (best->chain == HF_NO_CHAIN) > (range->chain == HF_NO_CHAIN) ||
            ((best->chain == HF_NO_CHAIN) == (range->chain == HF_NO_CHAIN) &&
             (best->end.term < range->end.term ||
              (best->end.term == range->end.term &&
               hf_optime_compare_ts(&best->start, &range->start) <= 0)))) {
            plan->range = i;
            plan->snapshot = base;
            chosen = true;
        }
    }
    plan->other_histories = histories > 0 ? histories - 1 : 0;
    return chosen;
}

/* The slices between read_after and last. */
static enum hf_err choose_links(const struct hf_ranges *ranges, const struct hf_chain *chain,
                                struct hf_plan *plan, struct hf_error *err)
{
    plan->links = hf_alloc_array(chain->segment_count + 1, sizeof *plan->links);
    if (plan->links == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "plan of a restore");
    }
    for (size_t i = 0; i < chain->segment_count; i++) {
        const struct hf_chain_segment *segment = &chain->segments[i];
        if (hf_optime_compare_ts(&segment->to, &plan->read_after) > 0 &&
            hf_optime_compare_ts(&segment->after, &plan->last) < 0) {
            const struct hf_slice_link *link = &ranges->chains->links[segment->link];
            plan->links[plan->link_count++] = segment->link;
            plan->entries_max += link->entry_count;
            plan->bytes_max += link->plain_bytes;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err plan_chain(const struct hf_ranges *ranges, size_t index,
                              struct hf_slice_reader *reader, struct hf_plan *plan,
                              struct hf_error *err)
{
    const struct hf_chain *chain = &ranges->chains->items[index];
    const struct hf_base_snapshot *base = &ranges->snapshots[plan->snapshot];
    if (hf_chain_floor(ranges->chains, chain, reader, &plan->limit, &plan->last, err) !=
            HF_ERR_OK ||
        hf_chain_floor(ranges->chains, chain, reader, &base->checkpoint, &plan->read_after, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    if (hf_optime_is_none(&plan->read_after)) {
        plan->read_after =
            chain
                ->after; /* the chain begins behind the checkpoint: the copy has what is before it */
    }
    if (hf_optime_is_none(&plan->last) ||
        hf_optime_compare_ts(&plan->last, &base->checkpoint) < 0 ||
        hf_optime_compare_ts(&plan->last, &plan->read_after) <= 0) {
        /* Nothing of the chain lies between: the copy's own oplog is cut. */
        return HF_ERR_OK;
    }
    plan->truncate_after = plan->last;
    plan->inserts = hf_optime_compare_ts(&plan->copy_has, &plan->last) < 0;
    return choose_links(ranges, chain, plan, err);
}

enum hf_err hf_ranges_plan(const struct hf_ranges *ranges, const struct hf_target *target,
                           const struct hf_id *snapshot, struct hf_slice_reader *reader,
                           struct hf_plan *out, struct hf_error *err)
{
    HF_CLEANUP(hf_plan_fini)
    struct hf_plan plan = {.limit = hf_target_limit(target), .last = {.term = -1}};
    size_t wanted = SIZE_MAX;
    if (snapshot != NULL && (wanted = index_of(ranges, snapshot)) == SIZE_MAX) {
        return hf_fail(err, HF_ERR_INVALID, "snapshot %s is not among the complete ones",
                       hf_id_text(snapshot).text);
    }
    if (!choose(ranges, target, wanted, &plan)) {
        return wanted == SIZE_MAX ? refuse(ranges, target, err)
                                  : hf_fail(err, HF_ERR_INVALID, "snapshot %s is no base for %s",
                                            hf_id_text(snapshot).text, hf_target_text(target).text);
    }
    const struct hf_range *range = &ranges->items[plan.range];
    plan.truncate_after = plan.limit;
    plan.copy_has = hf_base_own_end(&ranges->snapshots[plan.snapshot]);
    if (range->chain != HF_NO_CHAIN &&
        hf_chain_gone(plan_chain(ranges, range->chain, reader, &plan, err), err) != HF_ERR_OK) {
        return hf_wrap(err, "plan for %s", hf_target_text(target).text);
    }
    *out = plan;
    plan.links = NULL;
    return HF_ERR_OK;
}
