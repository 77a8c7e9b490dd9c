/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts the operations of one slice for its index: namespaces, which of them each block touches, operations per minute.
 * Its memory is fixed: what a hostile number of namespaces or minutes would add is counted as others.
 */
#ifndef HF_OPLOG_TALLY_H
#define HF_OPLOG_TALLY_H

#include "format/slice.h"
#include "oplog/entry.h"

struct hf_tally;
HF_MUST_CHECK enum hf_err hf_tally_create(struct hf_tally **out, struct hf_error *err);
void hf_tally_destroy(struct hf_tally *tally);
HF_CLEANUP_DEFINE(hf_tally_destroy, struct hf_tally *)
void hf_tally_clear(struct hf_tally *tally);
/* The entry lies in these blocks. The caller keeps to HF_SLICE_MINUTES_MAX minutes and HF_SLICE_BLOCKS_MAX blocks. */
void hf_tally_add(struct hf_tally *tally, const struct hf_oplog_entry *entry,
                  const struct hf_slice_spot *spot);
HF_MUST_CHECK enum hf_err hf_tally_index(const struct hf_tally *tally, uint32_t block_count,
                                         struct hf_slice_index *out, struct hf_error *err);

#endif
