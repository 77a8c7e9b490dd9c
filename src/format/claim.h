/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims: the small object that says that a writer is at work (store-format.md section 5).
 */
#ifndef HF_FORMAT_CLAIM_H
#define HF_FORMAT_CLAIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "format/ids.h"

#define HF_SMALL_OBJECT_MAX_BYTES ((size_t)64 << 10)

/* A capture or copy is under way: its objects are not groomed. */
struct hf_claim {
    struct hf_id job;
    struct hf_id writer;
    uint64_t capture;
    uint64_t started_s;
};
HF_MUST_CHECK enum hf_err hf_claim_encode(const struct hf_claim *claim, struct hf_buf *out,
                                          struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_claim_decode(struct hf_bytes in, struct hf_claim *out,
                                          struct hf_error *err);

#endif
