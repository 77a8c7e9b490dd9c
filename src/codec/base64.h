/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base64 (RFC 4648, padded), for keys and hashes inside JSON.
 */
#ifndef HF_CODEC_BASE64_H
#define HF_CODEC_BASE64_H

#include "base/buf.h"

/* out holds HF_BASE64_LEN(bytes.len) + 1 chars. */
#define HF_BASE64_LEN(len) (((len) + 2) / 3 * 4)
void hf_base64_encode(struct hf_bytes bytes, char *out);
/* INVALID for anything but whole, padded groups; LIMIT when longer than capacity. */
HF_MUST_CHECK enum hf_err hf_base64_decode(struct hf_str text, uint8_t *out, size_t capacity,
                                           size_t *out_len, struct hf_error *err);

#endif
