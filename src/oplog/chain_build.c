/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds chains out of the links of slices.
 *
 * Slices are taken by their first entry. A slice whose `previous` and hash are the end of a chain goes on with it. One
 * whose `previous` lies inside a chain, with the chain's hash there, overlaps it: it repeats the chain, or goes on with
 * it, or the two differ from some entry on; then the chain ends at the last entry that both have, and both branches are
 * chains of their own, since nothing here knows which of them is the set's history. A slice that joins nothing begins
 * a chain.
 */
#include "oplog/chain_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"

struct build {
    struct hf_chains *chains;
    struct hf_slice_reader *reader; /* borrowed */
    size_t capacity;                /* of chains->items */
    bool damaged;                   /* a link was marked: begin again */
};

/* An entry that a chain or slice has, and the hash after it. */
struct point {
    struct hf_optime optime;
    struct hf_hash hash;
};

void hf_chain_items_fini(struct hf_chains *chains)
{
    for (size_t i = 0; i < chains->count; i++) {
        hf_free(chains->items[i].segments);
    }
    hf_free(chains->items);
    chains->items = NULL;
    chains->count = 0;
}

static struct hf_slice_link *link_at(const struct build *build, size_t i)
{
    return &build->chains->links[i];
}

/* Of an error while a slice was being read: damage is the slice's, and the build begins again without it. */
static enum hf_err blame(struct build *build, size_t link, struct hf_error *err)
{
    if (!hf_chain_is_damage(err->code)) {
        return err->code;
    }
    char problem[HF_ERROR_MESSAGE_BYTES];
    (void)snprintf(problem, sizeof problem, "%s", err->message);
    if (hf_chain_mark(link_at(build, link), problem, err) != HF_ERR_OK) {
        return err->code;
    }
    build->damaged = true;
    return HF_ERR_OK;
}

/* ---- Chains that grow ---- */

static enum hf_err new_chain(struct build *build, struct hf_chain **out, struct hf_error *err)
{
    struct hf_chains *chains = build->chains;
    if (chains->count == HF_CHAINS_MAX) {
        return hf_fail(err, HF_ERR_LIMIT, "oplog slices in more than %zu chains", HF_CHAINS_MAX);
    }
    if (chains->count == build->capacity) {
        size_t capacity = build->capacity == 0 ? 8 : build->capacity * 2;
        struct hf_chain *grown = hf_realloc_array(chains->items, capacity, sizeof *grown);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "chains of oplog slices");
        }
        chains->items = grown;
        build->capacity = capacity;
    }
    *out = &chains->items[chains->count++];
    **out = (struct hf_chain){.segments = NULL};
    return HF_ERR_OK;
}

/* Room for segments comes by doubling: their number is a power of two when it is full. */
static enum hf_err add_segment(struct hf_chain *chain, const struct hf_chain_segment *segment,
                               struct hf_error *err)
{
    size_t count = chain->segment_count;
    if (count == 0 || (count & (count - 1)) == 0) {
        struct hf_chain_segment *grown =
            hf_realloc_array(chain->segments, count == 0 ? 1 : count * 2, sizeof *grown);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "chains of oplog slices");
        }
        chain->segments = grown;
    }
    chain->segments[chain->segment_count++] = *segment;
    return HF_ERR_OK;
}

/* The chain goes on with the link's entries behind its last one. */
static enum hf_err extend(struct build *build, struct hf_chain *chain, size_t i,
                          struct hf_error *err)
{
    struct hf_slice_link *link = link_at(build, i);
    struct hf_chain_segment segment = {
        .link = i, .after = chain->last, .to = link->name.last_optime};
    if (add_segment(chain, &segment, err) != HF_ERR_OK) {
        return err->code;
    }
    link->used = true;
    chain->last = link->name.last_optime;
    chain->hash_last = link->hash_after;
    return HF_ERR_OK;
}

static enum hf_err begin_chain(struct build *build, size_t i, struct hf_error *err)
{
    struct hf_slice_link *link = link_at(build, i);
    struct hf_chain *chain = NULL;
    if (new_chain(build, &chain, err) != HF_ERR_OK) {
        return err->code;
    }
    chain->after = chain->last = link->previous;
    chain->hash_after = link->hash_before;
    chain->first = link->name.first_optime;
    chain->start_cause = link->cause;
    chain->broken_after = link->broken_after;
    chain->start = link->cause == HF_CHAIN_NONE ? HF_CHAIN_PRUNED : HF_CHAIN_CAUSE;
    return extend(build, chain, i, err);
}

/* ---- Overlaps that differ ---- */

static enum hf_err is_common(struct build *build, size_t chain, const struct point *point,
                             bool *common, struct hf_error *err)
{
    const struct hf_chain *of = &build->chains->items[chain];
    struct hf_hash hash;
    bool found = false;
    size_t segment = hf_chain_find_segment(of, &point->optime);
    *common = false;
    if (hf_chain_hash_at(build->chains, of, build->reader, &point->optime, &found, &hash, err) !=
        HF_ERR_OK) {
        return segment == of->segment_count ? err->code
                                            : blame(build, of->segments[segment].link, err);
    }
    *common = found && hf_hash_equal(&hash, &point->hash);
    return HF_ERR_OK;
}

/* How many of the points, which come in order, the chain has. */
static enum hf_err count_common(struct build *build, size_t chain, const struct point *points,
                                size_t count, size_t *common, struct hf_error *err)
{
    size_t low = 0;
    size_t high = count;
    while (low < high && !build->damaged) {
        size_t middle = low + (high - low) / 2;
        bool has = false;
        if (is_common(build, chain, &points[middle], &has, err) != HF_ERR_OK) {
            return err->code;
        }
        if (has) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *common = low;
    return HF_ERR_OK;
}

struct points {
    struct point *items; /* owned */
    size_t count;
};

static void points_fini(struct points *points)
{
    hf_free(points->items);
}
HF_CLEANUP_DEFINE_VALUE(points_fini, struct points)

/* The ends of the link's blocks. */
static enum hf_err block_points(struct build *build, size_t link, struct points *out,
                                struct hf_error *err)
{
    if (hf_slice_reader_open(build->reader, &link_at(build, link)->name, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_slice_header *header = hf_slice_reader_header(build->reader);
    out->items = hf_alloc_array(header->block_count, sizeof *out->items);
    if (out->items == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "compare oplog slices");
    }
    for (uint32_t i = 0; i < header->block_count; i++) {
        if (!header->blocks[i].more) {
            out->items[out->count++] =
                (struct point){.optime = header->blocks[i].last, .hash = header->blocks[i].hash};
        }
    }
    return HF_ERR_OK;
}

/* The link's entries in (after, to]: of one block, so their number is bounded. */
static enum hf_err entry_points(struct build *build, size_t link, const struct hf_optime *after,
                                const struct hf_optime *to, struct points *out,
                                struct hf_error *err)
{
    size_t capacity = 0;
    if (hf_slice_reader_open(build->reader, &link_at(build, link)->name, err) != HF_ERR_OK ||
        hf_slice_reader_seek(build->reader, after, err) != HF_ERR_OK) {
        return err->code;
    }
    for (;;) {
        struct hf_oplog_entry entry;
        bool more = false;
        if (hf_slice_reader_next(build->reader, &entry, &more, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!more || hf_optime_compare_ts(&entry.optime, to) > 0) {
            return HF_ERR_OK;
        }
        if (out->count == capacity) {
            capacity = capacity == 0 ? 64 : capacity * 2;
            struct point *grown = hf_realloc_array(out->items, capacity, sizeof *grown);
            if (grown == NULL) {
                return hf_fail(err, HF_ERR_NO_MEMORY, "compare oplog slices");
            }
            out->items = grown;
        }
        out->items[out->count].optime = entry.optime;
        hf_slice_reader_hash(build->reader, &out->items[out->count].hash);
        out->count++;
    }
}

/* The last entry that link and chain both have, at or behind `shared`. */
static enum hf_err last_common(struct build *build, size_t chain, size_t link, struct point *shared,
                               struct hf_error *err)
{
    HF_CLEANUP(points_fini) struct points blocks = {.items = NULL};
    HF_CLEANUP(points_fini) struct points entries = {.items = NULL};
    size_t common = 0;
    if (block_points(build, link, &blocks, err) != HF_ERR_OK) {
        return blame(build, link, err);
    }
    if (count_common(build, chain, blocks.items, blocks.count, &common, err) != HF_ERR_OK) {
        return err->code;
    }
    if (common > 0 && hf_optime_compare_ts(&shared->optime, &blocks.items[common - 1].optime) < 0) {
        *shared = blocks.items[common - 1];
    }
    if (build->damaged || common == blocks.count) {
        return HF_ERR_OK;
    }
    if (entry_points(build, link, &shared->optime, &blocks.items[common].optime, &entries, err) !=
        HF_ERR_OK) {
        return blame(build, link, err);
    }
    if (count_common(build, chain, entries.items, entries.count, &common, err) != HF_ERR_OK) {
        return err->code;
    }
    if (common > 0) {
        *shared = entries.items[common - 1];
    }
    return HF_ERR_OK;
}

/* A chain of what the link has behind `at`. */
static enum hf_err begin_branch(struct build *build, size_t link, const struct point *at,
                                struct hf_chain **out, struct hf_error *err)
{
    struct hf_oplog_entry entry;
    bool more = false;
    if (hf_slice_reader_open(build->reader, &link_at(build, link)->name, err) != HF_ERR_OK ||
        hf_slice_reader_seek(build->reader, &at->optime, err) != HF_ERR_OK ||
        hf_slice_reader_next(build->reader, &entry, &more, err) != HF_ERR_OK) {
        return blame(build, link, err);
    }
    HF_ASSERT(more);
    struct hf_optime first = entry.optime;
    if (new_chain(build, out, err) != HF_ERR_OK) {
        return err->code;
    }
    (*out)->after = (*out)->last = at->optime;
    (*out)->hash_after = at->hash;
    (*out)->first = first;
    (*out)->start = HF_CHAIN_DIVERGED;
    return HF_ERR_OK;
}

/* The chain keeps what lies up to `at`; the rest becomes a chain of its own. */
static enum hf_err cut(struct build *build, size_t chain, const struct point *at, size_t other,
                       struct hf_error *err)
{
    struct hf_chain *whole = &build->chains->items[chain];
    size_t segment = hf_chain_find_segment(whole, &at->optime);
    HF_ASSERT(segment < whole->segment_count);
    bool inside = hf_optime_compare_ts(&at->optime, &whole->segments[segment].to) < 0;
    size_t next = inside ? segment : segment + 1;
    HF_ASSERT(next < whole->segment_count);
    size_t rest_link = whole->segments[next].link;
    struct hf_chain *rest = NULL;
    enum hf_err code = begin_branch(build, rest_link, at, &rest, err);
    if (code != HF_ERR_OK || build->damaged) {
        return code;
    }
    whole = &build->chains->items[chain]; /* the array may have moved */
    for (size_t i = next; i < whole->segment_count; i++) {
        struct hf_chain_segment moved = whole->segments[i];
        moved.after = rest->last;
        if (add_segment(rest, &moved, err) != HF_ERR_OK) {
            return err->code;
        }
        rest->last = moved.to;
    }
    rest->hash_last = whole->hash_last;
    rest->end = whole->end;
    (void)snprintf(rest->end_text, sizeof rest->end_text, "%s", whole->end_text);
    whole->segment_count = segment + 1;
    whole->segments[segment].to = at->optime;
    whole->last = at->optime;
    whole->hash_last = at->hash;
    whole->end = HF_CHAIN_DIVERGED;
    (void)snprintf(whole->end_text, sizeof whole->end_text,
                   "two tailers saved different entries after %s: %s and %s",
                   hf_optime_text(&at->optime).text,
                   hf_object_name_text(&link_at(build, rest_link)->name).text,
                   hf_object_name_text(&link_at(build, other)->name).text);
    return HF_ERR_OK;
}

/* Chain and slice have `shared`, and differ somewhere behind it. */
static enum hf_err fork_off(struct build *build, size_t chain, size_t link, struct point *shared,
                            struct hf_error *err)
{
    struct hf_chain *branch = NULL;
    enum hf_err code = last_common(build, chain, link, shared, err);
    if (code != HF_ERR_OK || build->damaged) {
        return code;
    }
    if (hf_optime_is_none(&shared->optime)) {
        return begin_chain(build, link, err); /* they differ from the first entry on */
    }
    const struct hf_chain *whole = &build->chains->items[chain];
    if (hf_optime_compare_ts(&whole->after, &shared->optime) < 0 &&
        hf_optime_compare_ts(&shared->optime, &whole->last) < 0) {
        code = cut(build, chain, shared, link, err);
    }
    if (code == HF_ERR_OK && !build->damaged) {
        code = begin_branch(build, link, shared, &branch, err);
    }
    return code != HF_ERR_OK || build->damaged ? code : extend(build, branch, link, err);
}

/* ---- A slice to a chain ---- */

/*
 * The first place that both could have: the slice's start inside the chain, or a branch's start inside the slice.
 * *shares: both have it, with the same hash.
 */
static enum hf_err shares_start(struct build *build, size_t chain, size_t i, struct point *shared,
                                bool *shares, struct hf_error *err)
{
    const struct hf_chain *of = &build->chains->items[chain];
    const struct hf_slice_link *link = link_at(build, i);
    *shared = (struct point){.optime = link->previous, .hash = link->hash_before};
    *shares = false;
    if (hf_optime_is_none(&of->after)) {
        if (hf_optime_is_none(&link->previous)) {
            *shares = hf_optime_equal(&of->first, &link->name.first_optime);
            return HF_ERR_OK;
        }
    } else if (hf_optime_compare_ts(&link->previous, &of->after) < 0) {
        struct point at;
        if (hf_optime_compare_ts(&link->name.last_optime, &of->after) < 0) {
            return HF_ERR_OK;
        }
        if (hf_chain_floor_in(build->reader, link, &of->after, &at.optime, &at.hash, err) !=
            HF_ERR_OK) {
            return blame(build, i, err);
        }
        *shared = (struct point){.optime = of->after, .hash = of->hash_after};
        *shares =
            hf_optime_equal(&at.optime, &of->after) && hf_hash_equal(&at.hash, &of->hash_after);
        return HF_ERR_OK;
    }
    return hf_optime_is_none(&link->previous) ||
                   hf_optime_compare_ts(&link->previous, &of->last) > 0
               ? HF_ERR_OK
               : is_common(build, chain, shared, shares, err);
}

enum joined {
    APART,   /* no place in common */
    AGREES,  /* it repeats the chain, or can go on with it */
    DIFFERS, /* a place in common, and a difference behind it */
};

/* Whether link and chain have the same entries from the shared place to the end of the shorter one. */
static enum hf_err compare_ends(struct build *build, size_t chain, size_t i,
                                const struct point *shared, bool *agree, struct hf_error *err)
{
    const struct hf_chain *of = &build->chains->items[chain];
    const struct hf_slice_link *link = link_at(build, i);
    struct point end = {.optime = link->name.last_optime, .hash = link->hash_after};
    struct point at;
    *agree = hf_optime_equal(&shared->optime, &of->last);
    if (*agree) {
        return HF_ERR_OK; /* it goes on where the chain ends: no header need be read again */
    }
    if (hf_optime_compare_ts(&end.optime, &of->last) <= 0) {
        return is_common(build, chain, &end, agree, err);
    }
    if (hf_chain_floor_in(build->reader, link, &of->last, &at.optime, &at.hash, err) != HF_ERR_OK) {
        return blame(build, i, err);
    }
    *agree = hf_optime_equal(&at.optime, &of->last) && hf_hash_equal(&at.hash, &of->hash_last);
    return HF_ERR_OK;
}

static enum hf_err compare(struct build *build, size_t chain, size_t i, struct point *shared,
                           enum joined *out, struct hf_error *err)
{
    const struct hf_chain *of = &build->chains->items[chain];
    bool longer = hf_optime_compare_ts(&link_at(build, i)->name.last_optime, &of->last) > 0;
    bool yes = false;
    *out = APART;
    enum hf_err code = shares_start(build, chain, i, shared, &yes, err);
    if (code != HF_ERR_OK || build->damaged || !yes) {
        return code;
    }
    code = compare_ends(build, chain, i, shared, &yes, err);
    if (code != HF_ERR_OK || build->damaged) {
        return code;
    }
    /* A chain that was cut stays so: what goes on behind the cut is a branch. */
    *out = yes && !(longer && of->end == HF_CHAIN_DIVERGED) ? AGREES : DIFFERS;
    return HF_ERR_OK;
}

/* Newest first: nearly always the slice goes on with the chain that grew last. */
static enum hf_err place(struct build *build, size_t i, struct hf_error *err)
{
    const struct hf_slice_link *link = link_at(build, i);
    size_t other = SIZE_MAX; /* of the chains that it differs from, the one that began last */
    struct point shared = {.optime = {.seconds = 0}};
    for (size_t chain = build->chains->count; chain-- > 0;) {
        struct hf_chain *of = &build->chains->items[chain];
        struct point at;
        enum joined joined = APART;
        enum hf_err code = compare(build, chain, i, &at, &joined, err);
        if (code != HF_ERR_OK || build->damaged) {
            return code;
        }
        if (joined == AGREES) {
            return hf_optime_compare_ts(&link->name.last_optime, &of->last) > 0
                       ? extend(build, of, i, err)
                       : HF_ERR_OK;
        }
        if (joined == DIFFERS &&
            (other == SIZE_MAX ||
             hf_optime_compare_ts(&build->chains->items[other].after, &of->after) < 0)) {
            other = chain;
            shared = at;
        }
    }
    return other == SIZE_MAX ? begin_chain(build, i, err) : fork_off(build, other, i, &shared, err);
}

/* ---- The whole ---- */

/* By first entry; of those with the same, the longest first, so that the others repeat it. */
static int compare_links(const void *left, const void *right)
{
    const struct hf_slice_link *const *a = left;
    const struct hf_slice_link *const *b = right;
    int order = hf_optime_compare_ts(&(*a)->name.first_optime, &(*b)->name.first_optime);
    if (order == 0) {
        order = hf_optime_compare(&(*b)->name.last_optime, &(*a)->name.last_optime);
    }
    return order != 0 ? order : *a < *b ? -1 : 1;
}

static int compare_chains(const void *left, const void *right)
{
    const struct hf_chain *a = left;
    const struct hf_chain *b = right;
    int order = hf_optime_compare(&a->first, &b->first);
    return order != 0 ? order : hf_optime_compare(&a->last, &b->last);
}

enum hf_err hf_chain_build(struct hf_chains *chains, struct hf_slice_reader *reader, bool *damaged,
                           struct hf_error *err)
{
    struct build build = {.chains = chains, .reader = reader};
    HF_CLEANUP(hf_free)
    struct hf_slice_link **order = hf_alloc_array(chains->link_count + 1, sizeof *order);
    size_t count = 0;
    if (order == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "chains of oplog slices");
    }
    for (size_t i = 0; i < chains->link_count; i++) {
        chains->links[i].used = false;
        if (chains->links[i].problem == NULL) {
            order[count++] = &chains->links[i];
        }
    }
    qsort(order, count, sizeof(struct hf_slice_link *), compare_links);
    for (size_t i = 0; i < count && !build.damaged; i++) {
        if (place(&build, (size_t)(order[i] - chains->links), err) != HF_ERR_OK) {
            return err->code;
        }
    }
    *damaged = build.damaged;
    if (build.damaged) {
        return HF_ERR_OK;
    }
    if (chains->count > 0) {
        qsort(chains->items, chains->count, sizeof *chains->items, compare_chains);
    }
    hf_chain_tell(chains);
    return HF_ERR_OK;
}
