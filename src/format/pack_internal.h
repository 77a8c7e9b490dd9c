/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header and footer of an object as bytes, for the two writers of this room.
 */
#ifndef HF_FORMAT_PACK_INTERNAL_H
#define HF_FORMAT_PACK_INTERNAL_H

#include "format/pack.h"

#define HF_FOOTER_HEADER_BYTES 32
#define HF_FOOTER_RUN_BYTES 48
#define HF_FOOTER_BLOCK_BYTES 28

struct hf_footer_parts {
    enum hf_object_kind kind;
    const struct hf_id *job;
    const struct hf_pack_origin *runs;
    uint32_t run_count;
    const struct hf_footer_block *blocks; /* ascending by address */
    uint32_t block_count;
};

/* Bytes of footer and trailer. */
size_t hf_footer_encoded_bytes(uint32_t run_count, uint32_t block_count);
/* out holds hf_footer_encoded_bytes. */
void hf_footer_encode(const struct hf_footer_parts *parts, uint8_t *out);
void hf_object_header_encode(enum hf_object_kind kind, const struct hf_id *job,
                             uint8_t out[HF_OBJECT_HEADER_BYTES]);

#endif
