/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains: what a job's slices in a store add up to. Two stretches belong together when optime and running hash say so,
 * never because their times fit; where one ends is said with its cause. Reads headers, and a block where two tailers'
 * slices overlap. Knows no clock, no catalog, no snapshot.
 */
#ifndef HF_OPLOG_CHAIN_H
#define HF_OPLOG_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "format/slice.h"
#include "oplog/slice_reader.h"
#include "oplog/slicer.h"
#include "store/store.h"

#define HF_CHAIN_SLICES_MAX ((size_t)1000000)
#define HF_CHAINS_MAX ((size_t)10000)
#define HF_CHAIN_TEXT_BYTES 512

/* A slice as the list and its header tell it. */
struct hf_slice_link {
    struct hf_object_name name;
    uint64_t object_bytes;
    char *
        problem; /* owned; NULL: sound as far as is known. With a problem only name and object_bytes are set */
    struct hf_optime previous, broken_after;
    enum hf_chain_cause cause;
    uint64_t sequence;
    uint32_t entry_count;
    uint64_t plain_bytes;
    struct hf_hash hash_before, hash_after;
    bool used; /* a chain reads from it; else it only repeats others, or has a problem */
};

/* Entries of a link that are greater than `after`, up to and with `to`. */
struct hf_chain_segment {
    size_t link; /* index into links */
    struct hf_optime after, to;
};

enum hf_chain_edge {
    HF_CHAIN_OPEN,     /* end: the newest that is stored; the tail may go on */
    HF_CHAIN_CAUSE,    /* the tailer said why */
    HF_CHAIN_MISSING,  /* slices between this chain and the next are not in the store */
    HF_CHAIN_DAMAGED,  /* a slice there cannot be read */
    HF_CHAIN_DIVERGED, /* two tailers saved different entries from here on */
    HF_CHAIN_PRUNED,   /* start: nothing older is there */
};
const char *hf_chain_edge_word(enum hf_chain_edge edge);

struct hf_chain {
    struct hf_chain_segment *segments; /* owned; each begins where the one before ends */
    size_t segment_count;
    struct hf_optime after; /* the entry before the first; none: it begins a history */
    struct hf_optime first, last;
    struct hf_hash hash_after; /* before the first entry */
    struct hf_hash hash_last;  /* after the last one */
    enum hf_chain_edge start, end;
    enum hf_chain_cause start_cause, end_cause; /* with HF_CHAIN_CAUSE */
    struct hf_optime broken_after;      /* start by a cause: last entry of the chain before */
    char end_text[HF_CHAIN_TEXT_BYTES]; /* a sentence for people */
    char start_text[HF_CHAIN_TEXT_BYTES];
};

struct hf_chains {
    struct hf_slice_link *links; /* owned; ascending by name */
    size_t link_count;
    struct hf_chain *items; /* owned; ascending by first entry */
    size_t count;
};
void hf_chains_fini(struct hf_chains *chains);
HF_CLEANUP_DEFINE_VALUE(hf_chains_fini, struct hf_chains)

/* Sound links of an earlier load, whose headers need not be read again. Never changes; any thread; counted. */
struct hf_chain_cache;
HF_MUST_CHECK enum hf_err hf_chain_cache_create(const struct hf_chains *chains,
                                                struct hf_chain_cache **out, struct hf_error *err);
struct hf_chain_cache *hf_chain_cache_hold(struct hf_chain_cache *cache);
void hf_chain_cache_drop(struct hf_chain_cache *cache); /* NULL does nothing */
HF_CLEANUP_DEFINE(hf_chain_cache_drop, struct hf_chain_cache *)

struct hf_chains_options {
    struct hf_store *store;           /* borrowed for the call */
    const struct hf_keyring *keyring; /* borrowed for the call; names the job */
    const struct hf_object_name *bad; /* borrowed for the call: slices that a check found damaged */
    size_t bad_count;
    const struct hf_chain_cache *cache; /* borrowed for the call; may be NULL */
    /* Only slices with an entry from here on, and up to here, by timestamp; none: no such bound. What is left out looks as
     * if it were not there. */
    struct hf_optime from, to;
};
/*
 * Lists, reads headers, builds. A damaged slice is no error: it is a link with a problem, and ends its chain unless
 * another slice has its entries. An error is what says nothing of the slices: the store did not answer, memory ran out.
 */
HF_MUST_CHECK enum hf_err hf_chains_load(const struct hf_chains_options *options,
                                         struct hf_chains *out, struct hf_error *err);
/* A link that the cache has, by name and size; NULL: none. */
const struct hf_slice_link *hf_chain_cache_find(const struct hf_chain_cache *cache,
                                                const struct hf_object_name *name,
                                                uint64_t object_bytes);

/* A slice proved damaged when it was looked into: its link gets the problem, and the chains are built without it. */
HF_MUST_CHECK enum hf_err hf_chains_condemn(struct hf_chains *chains, size_t link,
                                            const char *problem, struct hf_slice_reader *reader,
                                            struct hf_error *err);

/*
 * Who reads without a lease may find a slice gone, merged or pruned since the chains were loaded. ranges and find say that as
 * UNAVAILABLE: chains that are loaded again know what took its place. So often that is worth it.
 */
#define HF_CHAIN_LOADS_MAX 3
/* NOT_FOUND becomes that, any other code stays. */
enum hf_err hf_chain_gone(enum hf_err code, struct hf_error *err);

/* The segment that holds entries with that timestamp (greater than its `after`, at most `to`); segment_count: none. */
size_t hf_chain_find_segment(const struct hf_chain *chain, const struct hf_optime *optime);
/*
 * *found: the last entry of the chain that is not later than `optime` by its timestamp; none when there is no such
 * entry; chain->after counts as one. Reads at most one block.
 */
HF_MUST_CHECK enum hf_err hf_chain_floor(const struct hf_chains *chains,
                                         const struct hf_chain *chain,
                                         struct hf_slice_reader *reader,
                                         const struct hf_optime *optime, struct hf_optime *found,
                                         struct hf_error *err);
/* Running hash after exactly that entry (chain->after included); *found false when the chain does not have it. */
HF_MUST_CHECK enum hf_err hf_chain_hash_at(const struct hf_chains *chains,
                                           const struct hf_chain *chain,
                                           struct hf_slice_reader *reader,
                                           const struct hf_optime *optime, bool *found,
                                           struct hf_hash *hash, struct hf_error *err);

/* Where a tailer goes on: behind the chain's last entry, which it has to find again first. Not for one that diverged. */
struct hf_chain_point hf_chain_head(const struct hf_chains *chains, const struct hf_chain *chain);

/* ---- A check of a chain: every entry is read, every hash computed again ---- */

struct hf_chain_fault {
    size_t link;
    char text[HF_CHAIN_TEXT_BYTES];
};
struct hf_chain_report {
    uint64_t slices, entries, bytes; /* read; bytes are plain ones */
    struct hf_chain_fault *faults;   /* owned */
    size_t fault_count;
};
void hf_chain_report_fini(struct hf_chain_report *report);
HF_CLEANUP_DEFINE_VALUE(hf_chain_report_fini, struct hf_chain_report)
/* Checks every slice that `chain` reads from, whole, its index too. OK when the check could be made, faults or none. */
HF_MUST_CHECK enum hf_err hf_chain_check(const struct hf_chains *chains,
                                         const struct hf_chain *chain,
                                         struct hf_slice_reader *reader,
                                         struct hf_chain_report *out, struct hf_error *err);

#endif
