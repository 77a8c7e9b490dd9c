/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between listing (chain.c), building (chain_build.c) and telling why (chain_tell.c).
 */
#ifndef HF_OPLOG_CHAIN_INTERNAL_H
#define HF_OPLOG_CHAIN_INTERNAL_H

#include "oplog/chain.h"

/* True for what says that an object is bad, and not that it could not be asked for. */
bool hf_chain_is_damage(enum hf_err code);
/* Sets the link's problem, if it has none. */
HF_MUST_CHECK enum hf_err hf_chain_mark(struct hf_slice_link *link, const char *problem,
                                        struct hf_error *err);
/*
 * Builds items from links. *damaged becomes true when a slice that had to be looked into proved bad: its link has a
 * problem now, and the build begins again.
 */
HF_MUST_CHECK enum hf_err hf_chain_build(struct hf_chains *chains, struct hf_slice_reader *reader,
                                         bool *damaged, struct hf_error *err);
/*
 * The slice's last entry that is not later than `optime`, and the running hash after it; where the slice has none, its
 * previous and the hash before. Reads at most one block.
 */
HF_MUST_CHECK enum hf_err hf_chain_floor_in(struct hf_slice_reader *reader,
                                            const struct hf_slice_link *link,
                                            const struct hf_optime *optime, struct hf_optime *found,
                                            struct hf_hash *hash, struct hf_error *err);
/* Fills start, end and their texts; the chains are sorted, and cut ones know their end. */
void hf_chain_tell(struct hf_chains *chains);
/* The chain that begins next behind `chain`; NULL when none does. */
const struct hf_chain *hf_chain_next(const struct hf_chains *chains, const struct hf_chain *chain);
/* Items anew, after links got problems. */
HF_MUST_CHECK enum hf_err hf_chains_rebuild(struct hf_chains *chains,
                                            struct hf_slice_reader *reader, struct hf_error *err);
/* Reads the slice whole, fetched anew; adds to the report's numbers. */
HF_MUST_CHECK enum hf_err hf_chain_check_slice(const struct hf_slice_link *link,
                                               struct hf_slice_reader *reader,
                                               struct hf_chain_report *report,
                                               struct hf_error *err);
void hf_chain_items_fini(struct hf_chains *chains);

#endif
