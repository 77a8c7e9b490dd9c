/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets: not printable, wiped after use, compared in constant time.
 */
#ifndef HF_BASE_SECRET_H
#define HF_BASE_SECRET_H

#include "base/bytes.h"

#define HF_SECRET_MAX_BYTES 256

struct hf_secret {
    size_t len;
    uint8_t data[HF_SECRET_MAX_BYTES];
};

/* False when longer than HF_SECRET_MAX_BYTES. */
HF_MUST_CHECK bool hf_secret_set(struct hf_secret *secret, struct hf_bytes bytes);
void hf_secret_wipe(struct hf_secret *secret);
HF_CLEANUP_DEFINE_VALUE(hf_secret_wipe, struct hf_secret)
/* Constant time for equal lengths. */
bool hf_secret_equal(struct hf_bytes a, struct hf_bytes b);
void hf_wipe(void *memory, size_t len);

#endif
