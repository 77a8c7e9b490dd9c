/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files about slices share: sizes of the parts of an object, and the two keys that come from a job's hash key.
 */
#ifndef HF_FORMAT_SLICE_INTERNAL_H
#define HF_FORMAT_SLICE_INTERNAL_H

#include "format/slice.h"

#define HF_SLICE_TRAILER_BYTES 24
#define HF_SLICE_FIXED_BYTES 248
#define HF_SLICE_TERM_BYTES 16
#define HF_SLICE_BLOCK_ROW_BYTES 76
#define HF_SLICE_INDEX_ROW_BYTES 24
#define HF_SLICE_INDEX_MAX_BYTES ((size_t)2 << 20)
/* Three texts with their lengths, index row, HMAC. */
#define HF_SLICE_HEADER_MAX_BYTES                                                                  \
    (HF_SLICE_FIXED_BYTES + 6 + 2 * (size_t)HF_NAME_BYTES + HF_WORD_BYTES +                        \
     (size_t)HF_SLICE_TERMS_MAX * HF_SLICE_TERM_BYTES +                                            \
     (size_t)HF_SLICE_BLOCKS_MAX * HF_SLICE_BLOCK_ROW_BYTES + HF_SLICE_INDEX_ROW_BYTES +           \
     HF_HASH_BYTES)

/* A MAC of the job under its hash key, for the use that `info` names. */
HF_MUST_CHECK enum hf_err hf_slice_hmac(const struct hf_keyring *keyring, const char *info,
                                        struct hf_hmac **out, struct hf_error *err);
#define HF_SLICE_CHAIN_INFO "holdfast oplog chain 1"
#define HF_SLICE_HEADER_INFO "holdfast oplog header 1"

void hf_slice_head_encode(const struct hf_id *job, uint8_t out[HF_SLICE_HEAD_BYTES]);
/* Header and trailer, appended to out. blocks and index rows are those of header. */
HF_MUST_CHECK enum hf_err hf_slice_header_encode(const struct hf_slice_header *header,
                                                 struct hf_hmac *hmac, struct hf_buf *out,
                                                 struct hf_error *err);

#endif
