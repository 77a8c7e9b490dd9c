/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between ranges (ranges.c) and targets (plan.c).
 */
#ifndef HF_OPLOG_RANGES_INTERNAL_H
#define HF_OPLOG_RANGES_INTERNAL_H

#include "oplog/ranges.h"

/* The entry that ties the snapshot to a chain; false when none is known that is not before its checkpoint. */
bool hf_base_anchor(const struct hf_base_snapshot *snapshot, struct hf_optime *anchor);
/* How far the snapshot's copy can be brought by itself. */
struct hf_optime hf_base_own_end(const struct hf_base_snapshot *snapshot);
/* The newest good base on the chain whose checkpoint is not later; SIZE_MAX: none. */
size_t hf_ranges_newest_base(const struct hf_ranges *ranges, size_t chain,
                             const struct hf_optime *limit);

#endif
