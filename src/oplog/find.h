/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks for operations in the saved oplog, and counts them, without a restore: to find the moment before a mistake. Knows
 * slices and the facts of an entry; what a document holds besides its _id is not looked at.
 */
#ifndef HF_OPLOG_FIND_H
#define HF_OPLOG_FIND_H

#include <stdbool.h>

#include "base/thread.h"
#include "codec/json.h"
#include "oplog/chain.h"

#define HF_OPLOG_ID_TEXT_BYTES 128

/* "insert"… "other"; and back: false for a word that is none. */
const char *hf_oplog_kind_word(enum hf_oplog_kind kind);
HF_MUST_CHECK bool hf_oplog_kind_parse(const char *word, enum hf_oplog_kind *out);

/* One operation, those inside transactions each by itself. Borrowed for the callback. */
struct hf_oplog_found {
    struct hf_optime optime;
    int64_t wall_ms; /* 0: not there */
    enum hf_oplog_kind kind;
    struct hf_str ns;      /* the collection, or the database of a command that is about none */
    struct hf_str command; /* of a command; else empty */
    char id
        [HF_OPLOG_ID_TEXT_BYTES]; /* text of the _id; empty: none, or of a type that has no text here */
    bool in_transaction;
};

struct hf_oplog_filter {
    const struct hf_chains *chains; /* borrowed for the call: all of them are looked through */
    struct hf_slice_reader *reader; /* borrowed for the call */
    struct hf_optime after;         /* exclusive, by timestamp; none: from the first */
    struct hf_optime to;            /* inclusive, by timestamp; none: to the last */
    const char *ns;                 /* "shop.orders", or "shop" for a whole database; NULL: any */
    unsigned kinds;                 /* bits 1 << kind; 0: all but no-ops */
    const char *id;                 /* as hf_oplog_found has it; NULL: any */
    const struct hf_cancel *cancel; /* may be NULL */
};
/* *more is set to false to end. */
typedef enum hf_err (*hf_oplog_find_sink)(void *context, const struct hf_oplog_found *found,
                                          bool *more, struct hf_error *err);
/*
 * Every operation that the filter lets through, chain by chain in the order of their first entries. Blocks that have
 * nothing on the namespace are not read. CORRUPT names the slice that cannot be. UNAVAILABLE: hf_chain_gone.
 */
HF_MUST_CHECK enum hf_err hf_oplog_find(const struct hf_oplog_filter *filter,
                                        hf_oplog_find_sink sink, void *context,
                                        struct hf_error *err);

/* ---- Counts ---- */

#define HF_OPLOG_COUNTED_MAX ((size_t)100000)

struct hf_oplog_count {
    uint32_t minute; /* seconds / 60; 0 where minutes are not told apart */
    char *ns;        /* owned */
    uint64_t kinds[HF_OPLOG_KIND_MAX + 1];
};
struct hf_oplog_counts {
    struct hf_oplog_count *items; /* owned; ascending by minute, then namespace */
    size_t count, capacity;
};
void hf_oplog_counts_fini(struct hf_oplog_counts *counts);
HF_CLEANUP_DEFINE_VALUE(hf_oplog_counts_fini, struct hf_oplog_counts)
/* LIMIT: more than HF_OPLOG_COUNTED_MAX lines. */
HF_MUST_CHECK enum hf_err hf_oplog_count(const struct hf_oplog_filter *filter, bool by_minute,
                                         struct hf_oplog_counts *out, struct hf_error *err);

/* ---- Documents: what the server answers, and what is shown without one ---- */

#define HF_OPLOG_FOUND_MAX 10000
/* The first `most` operations: results, totalCount (of these), more (there are). */
HF_MUST_CHECK enum hf_err hf_oplog_find_to_json(const struct hf_oplog_filter *filter, uint64_t most,
                                                struct hf_json **out, struct hf_error *err);
/* The array of counts. */
HF_MUST_CHECK enum hf_err hf_oplog_count_to_json(const struct hf_oplog_filter *filter,
                                                 bool by_minute, struct hf_json **out,
                                                 struct hf_error *err);

#endif
