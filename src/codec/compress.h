/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zstd, with contexts that a thread keeps.
 */
#ifndef HF_CODEC_COMPRESS_H
#define HF_CODEC_COMPRESS_H

#include "base/bytes.h"
#include "base/error.h"

struct hf_compressor;   /* one per thread */
struct hf_decompressor; /* one per thread */

/* level: zstd's, 1 is the default of the product. NULL on no memory. */
HF_MUST_CHECK struct hf_compressor *hf_compressor_create(int level);
void hf_compressor_destroy(struct hf_compressor *compressor);
HF_CLEANUP_DEFINE(hf_compressor_destroy, struct hf_compressor *)
/* The largest size that compressing len bytes can need. */
size_t hf_compress_bound(size_t len);
/* *out_len bytes are written to out (capacity at least the bound). They may depend on what was compressed before. */
HF_MUST_CHECK enum hf_err hf_compress(struct hf_compressor *compressor, struct hf_bytes in,
                                      uint8_t *out, size_t capacity, size_t *out_len,
                                      struct hf_error *err);

HF_MUST_CHECK struct hf_decompressor *hf_decompressor_create(void);
void hf_decompressor_destroy(struct hf_decompressor *decompressor);
HF_CLEANUP_DEFINE(hf_decompressor_destroy, struct hf_decompressor *)
/* Writes exactly expected bytes; CORRUPT when the frame is bad or holds another number of bytes. */
HF_MUST_CHECK enum hf_err hf_decompress(struct hf_decompressor *decompressor, struct hf_bytes in,
                                        uint8_t *out, size_t expected, struct hf_error *err);

#endif
