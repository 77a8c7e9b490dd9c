/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the entries of a chain between two optimes, over all its slices, each proved, with the memory of one block and
 * one entry however long the chain is.
 */
#ifndef HF_OPLOG_READER_H
#define HF_OPLOG_READER_H

#include <stdbool.h>

#include "oplog/chain.h"

struct hf_chain_reader;
struct hf_chain_reader_options {
    const struct hf_chains *chains; /* borrowed: outlives the reader */
    size_t chain;                   /* index into chains->items */
    struct hf_slice_reader *reader; /* borrowed: outlives the reader, which alone uses it */
    struct hf_optime after;         /* exclusive; none: from the chain's first entry */
    struct hf_optime to; /* inclusive, by its timestamp; none: to the chain's last entry */
};
/*
 * INVALID when the chain does not reach from `after` to `to`: it must have the entry `after` (or begin behind exactly
 * it), and an entry with the timestamp of `to` or a later one.
 */
HF_MUST_CHECK enum hf_err hf_chain_reader_open(const struct hf_chain_reader_options *options,
                                               struct hf_chain_reader **out, struct hf_error *err);
void hf_chain_reader_close(struct hf_chain_reader *reader);
HF_CLEANUP_DEFINE(hf_chain_reader_close, struct hf_chain_reader *)
/* *more is false behind `to`. The entry is borrowed until the next call. CORRUPT names slice and block. */
HF_MUST_CHECK enum hf_err hf_chain_reader_next(struct hf_chain_reader *reader,
                                               struct hf_oplog_entry *out, bool *more,
                                               struct hf_error *err);

#endif
