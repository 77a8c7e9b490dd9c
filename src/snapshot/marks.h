/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of addresses: a bit a block, for marking what is reached. One thread at a time.
 */
#ifndef HF_SNAPSHOT_MARKS_H
#define HF_SNAPSHOT_MARKS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "format/block.h"

struct hf_marks;
HF_MUST_CHECK enum hf_err hf_marks_create(struct hf_marks **out, struct hf_error *err);
void hf_marks_destroy(struct hf_marks *marks);
HF_CLEANUP_DEFINE(hf_marks_destroy, struct hf_marks *)
bool hf_marks_has(const struct hf_marks *marks, const struct hf_address *address);
HF_MUST_CHECK enum hf_err hf_marks_set(struct hf_marks *marks, const struct hf_address *address,
                                       struct hf_error *err);
/* Of what was set, what was seen since: a second bit. *again: it was seen before. Once the first is seen, nothing is set any
 * more. */
HF_MUST_CHECK enum hf_err hf_marks_see(struct hf_marks *marks, const struct hf_address *address,
                                       bool *again, struct hf_error *err);
/* Bytes in memory. */
size_t hf_marks_memory(const struct hf_marks *marks);

#endif
