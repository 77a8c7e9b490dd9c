/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says where chains begin and end, and why: by the cause that the next chain names, by a slice that cannot be read, or by
 * what is missing between them.
 */
#include "oplog/chain_internal.h"

#include <stdio.h>

/* The damaged slice whose name says the earliest entries behind `from`, and before `until` (none: no end). One that only
 * repeats what the chains around have explains nothing. */
static const struct hf_slice_link *damage_between(const struct hf_chains *chains,
                                                  const struct hf_optime *from,
                                                  const struct hf_optime *until)
{
    const struct hf_slice_link *found = NULL;
    for (size_t i = 0; i < chains->link_count; i++) {
        const struct hf_slice_link *link = &chains->links[i];
        if (link->problem == NULL || hf_optime_compare_ts(&link->name.last_optime, from) <= 0 ||
            (!hf_optime_is_none(until) &&
             hf_optime_compare_ts(&link->name.first_optime, until) >= 0)) {
            continue;
        }
        if (found == NULL ||
            hf_optime_compare_ts(&link->name.first_optime, &found->name.first_optime) < 0) {
            found = link;
        }
    }
    return found;
}

const struct hf_chain *hf_chain_next(const struct hf_chains *chains, const struct hf_chain *chain)
{
    const struct hf_chain *next = NULL;
    for (size_t i = 0; i < chains->count; i++) {
        const struct hf_chain *other = &chains->items[i];
        if (other == chain || other->start == HF_CHAIN_DIVERGED) {
            continue;
        }
        if (other->start == HF_CHAIN_CAUSE && hf_optime_equal(&other->broken_after, &chain->last)) {
            return other;
        }
        if (hf_optime_compare_ts(&other->first, &chain->last) > 0 &&
            (next == NULL || hf_optime_compare_ts(&other->first, &next->first) < 0)) {
            next = other;
        }
    }
    return next;
}

static void tell_end(const struct hf_chains *chains, struct hf_chain *chain)
{
    static const struct hf_optime none;
    if (chain->end == HF_CHAIN_DIVERGED) {
        return;
    }
    const struct hf_chain *next = hf_chain_next(chains, chain);
    bool named = next != NULL && next->start == HF_CHAIN_CAUSE &&
                 hf_optime_equal(&next->broken_after, &chain->last);
    const struct hf_slice_link *damaged =
        named ? NULL : damage_between(chains, &chain->last, next == NULL ? &none : &next->first);
    if (damaged != NULL) {
        chain->end = HF_CHAIN_DAMAGED;
        (void)snprintf(chain->end_text, sizeof chain->end_text, "the next slice is damaged: %.*s",
                       HF_CHAIN_TEXT_BYTES - 40, damaged->problem);
    } else if (next == NULL) {
        chain->end = HF_CHAIN_OPEN;
        (void)snprintf(chain->end_text, sizeof chain->end_text,
                       "%s is the newest entry that is stored", hf_optime_text(&chain->last).text);
    } else if (named || (next->start == HF_CHAIN_CAUSE &&
                         hf_optime_compare_ts(&next->broken_after, &chain->last) <= 0)) {
        chain->end = HF_CHAIN_CAUSE;
        chain->end_cause = next->start_cause;
        (void)snprintf(chain->end_text, sizeof chain->end_text, "%s",
                       hf_chain_cause_text(next->start_cause));
    } else {
        chain->end = HF_CHAIN_MISSING;
        (void)snprintf(
            chain->end_text, sizeof chain->end_text, "no slice holds the entries after %s up to %s",
            hf_optime_text(&chain->last).text,
            hf_optime_text(next->start == HF_CHAIN_CAUSE ? &next->broken_after : &next->after)
                .text);
    }
}

static void tell_start(const struct hf_chains *chains, struct hf_chain *chain)
{
    if (chain->start == HF_CHAIN_CAUSE) {
        (void)snprintf(chain->start_text, sizeof chain->start_text, "%s",
                       hf_chain_cause_text(chain->start_cause));
        return;
    }
    if (chain->start == HF_CHAIN_DIVERGED) {
        (void)snprintf(chain->start_text, sizeof chain->start_text,
                       "two tailers saved different entries after %s",
                       hf_optime_text(&chain->after).text);
        return;
    }
    const struct hf_chain *before = NULL;
    for (size_t i = 0; i < chains->count; i++) {
        const struct hf_chain *other = &chains->items[i];
        if (other != chain && hf_optime_compare_ts(&other->last, &chain->after) <= 0 &&
            (before == NULL || hf_optime_compare_ts(&before->last, &other->last) < 0)) {
            before = other;
        }
    }
    struct hf_optime from = before == NULL ? (struct hf_optime){.term = -1} : before->last;
    const struct hf_slice_link *damaged = damage_between(chains, &from, &chain->first);
    if (damaged != NULL) {
        chain->start = HF_CHAIN_DAMAGED;
        (void)snprintf(chain->start_text, sizeof chain->start_text,
                       "a slice before it is damaged: %.*s", HF_CHAIN_TEXT_BYTES - 40,
                       damaged->problem);
    } else if (before != NULL) {
        chain->start = HF_CHAIN_MISSING;
        (void)snprintf(chain->start_text, sizeof chain->start_text,
                       "no slice holds the entries after %s up to %s", hf_optime_text(&from).text,
                       hf_optime_text(&chain->after).text);
    } else {
        chain->start = HF_CHAIN_PRUNED;
        (void)snprintf(chain->start_text, sizeof chain->start_text,
                       "older slices are no longer kept");
    }
}

void hf_chain_tell(struct hf_chains *chains)
{
    for (size_t i = 0; i < chains->count; i++) {
        tell_start(chains, &chains->items[i]);
        tell_end(chains, &chains->items[i]);
    }
}
