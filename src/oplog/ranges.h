/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restorable ranges: chains behind complete snapshots. Which instants can be restored, from which base, why a range
 * ends; what a target needs; which slices no promise needs any more. No clock: whoever prunes says since when.
 *
 * A snapshot shows its checkpoint. Its copy holds the oplog further, up to `committed` for certain, so it can be
 * brought to any instant in between by itself. It is a base on a chain when the chain has exactly that entry, timestamp
 * and term: from there on the two are one history.
 */
#ifndef HF_OPLOG_RANGES_H
#define HF_OPLOG_RANGES_H

#include <stdbool.h>

#include "oplog/chain.h"

struct hf_base_snapshot {
    struct hf_id id;
    uint64_t capture;
    struct hf_optime checkpoint; /* its term is not known: -1 */
    struct hf_optime oplog_end;  /* the last entry when the copy was begun */
    struct hf_optime
        committed; /* up to which the copy's oplog is known to be committed; none: not known */
};

enum hf_base_verdict {
    HF_BASE_APART, /* the chain does not have the entry up to which the copy is certain */
    HF_BASE_GOOD,
    HF_BASE_UNDECIDED, /* the copy holds entries that the chain has not reached yet */
    HF_BASE_ROLLED_BACK, /* the copy holds entries that the chain does not have: no base for a later target */
};

/* A snapshot on a chain; those that are apart are left out. */
struct hf_base_place {
    size_t snapshot, chain;
    enum hf_base_verdict verdict;
};

#define HF_NO_CHAIN SIZE_MAX

struct hf_range {
    struct hf_optime start; /* inclusive: the base's checkpoint */
    struct hf_optime end;   /* inclusive */
    size_t base;            /* oldest snapshot of the range */
    size_t chain;           /* HF_NO_CHAIN: the oplog in the snapshot's own copy is all there is */
    enum hf_chain_edge end_edge;
    enum hf_chain_cause end_cause; /* with HF_CHAIN_CAUSE */
    char end_text[HF_CHAIN_TEXT_BYTES];
};

struct hf_ranges {
    const struct hf_chains *chains;     /* borrowed: outlives the ranges */
    struct hf_base_snapshot *snapshots; /* owned; ascending by checkpoint */
    size_t snapshot_count;
    struct hf_base_place *places; /* owned; by snapshot, then chain */
    size_t place_count;
    struct hf_range *items; /* owned; ascending by start */
    size_t count;
};
void hf_ranges_fini(struct hf_ranges *ranges);
HF_CLEANUP_DEFINE_VALUE(hf_ranges_fini, struct hf_ranges)

struct hf_ranges_options {
    /* Borrowed: outlives the ranges. A slice that proves damaged is condemned: the chains are built anew. */
    struct hf_chains *chains;
    const struct hf_base_snapshot
        *snapshots; /* borrowed for the call; complete ones, in any order */
    size_t snapshot_count;
    struct hf_slice_reader *reader; /* borrowed for the call */
};
/* UNAVAILABLE: hf_chain_gone. */
HF_MUST_CHECK enum hf_err hf_ranges_compute(const struct hf_ranges_options *options,
                                            struct hf_ranges *out, struct hf_error *err);

/* ---- Targets ---- */

enum hf_target_kind {
    HF_TARGET_DATE,      /* up to and not including that second */
    HF_TARGET_TIMESTAMP, /* up to and including that entry */
};
struct hf_target {
    enum hf_target_kind kind;
    uint32_t seconds, increment; /* increment of a timestamp only */
};
struct hf_target_text {
    char text[64];
};
/* "2026-11-25T03:31:17Z", "1795450667.68". */
struct hf_target_text hf_target_text(const struct hf_target *target);
/* The greatest timestamp that the target takes in; its term is -1. */
struct hf_optime hf_target_limit(const struct hf_target *target);
/* A date needs an entry at or behind its second: only then no earlier one can still come. */
bool hf_range_has(const struct hf_range *range, const struct hf_target *target);

struct hf_nearest {
    bool has_before, has_after;
    struct hf_target before, after; /* of the same kind as the target */
    size_t before_range, after_range;
    char why[HF_CHAIN_TEXT_BYTES]; /* why not the target itself */
};
/* For a target that is in no range. */
void hf_ranges_nearest(const struct hf_ranges *ranges, const struct hf_target *target,
                       struct hf_nearest *out);

struct hf_plan {
    size_t range, snapshot;
    struct hf_optime limit; /* as asked */
    struct hf_optime
        last; /* last entry of the chain that is not later; none: the copy's own oplog says */
    /* What oplogTruncateAfterPoint is set to: `last`, or the limit where that is none; never before the checkpoint. */
    struct hf_optime truncate_after;
    /*
     * The chain is read after this entry (none: from its first) up to `last`: what the copy holds of it is compared by
     * timestamp and term, and where they differ this snapshot is no base; what the copy does not hold is inserted, all
     * before the one recovery run.
     */
    struct hf_optime read_after;
    struct hf_optime copy_has; /* the copy holds the entries up to this one for certain */
    bool inserts;              /* `last` lies behind copy_has */
    size_t *links;             /* owned: slices that are read, in order; to be leased */
    size_t link_count;
    uint64_t entries_max, bytes_max; /* in these slices: room needed at most */
    unsigned other_histories;        /* more ranges, of other histories, have that instant too */
};
void hf_plan_fini(struct hf_plan *plan);
HF_CLEANUP_DEFINE_VALUE(hf_plan_fini, struct hf_plan)
/*
 * Base: the newest snapshot not later than the target on its range's chain; of several histories the newest. NOT_FOUND,
 * with the nearest instants and the reason in the message, when no range has the target. snapshot NULL, or the one that
 * has to be the base (INVALID when it is none for that target). UNAVAILABLE: hf_chain_gone.
 */
HF_MUST_CHECK enum hf_err hf_ranges_plan(const struct hf_ranges *ranges,
                                         const struct hf_target *target,
                                         const struct hf_id *snapshot,
                                         struct hf_slice_reader *reader, struct hf_plan *out,
                                         struct hf_error *err);

/* ---- Pruning ---- */

struct hf_prune_options {
    uint64_t window_start_s; /* instants from here on stay restorable if they are now */
    /* Borrowed for the call: slices from each of these on are in use. A restore leases what its plan reads; a capture
     * that is under way leases its checkpoint. */
    const struct hf_optime *leases;
    size_t lease_count;
};
/*
 * Links that may be deleted, in the order in which they are: older than the window, needed by no instant in it, and at
 * the old end of every chain that reads from them; an open chain keeps its newest slice. *links is the caller's to free
 * with hf_free.
 */
HF_MUST_CHECK enum hf_err hf_ranges_prunable(const struct hf_ranges *ranges,
                                             const struct hf_prune_options *options, size_t **links,
                                             size_t *count, struct hf_error *err);

#endif
