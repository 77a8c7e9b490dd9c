/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets in memory: kept short, wiped in a way the compiler may not remove, compared without
 * telling where they differ.
 */
#include "base/secret.h"

bool hf_secret_set(struct hf_secret *secret, struct hf_bytes bytes)
{
    if (bytes.len > HF_SECRET_MAX_BYTES) {
        return false;
    }
    hf_secret_wipe(secret);
    if (bytes.len > 0) {
        memcpy(secret->data, bytes.data, bytes.len);
    }
    secret->len = bytes.len;
    return true;
}

void hf_secret_wipe(struct hf_secret *secret)
{
    hf_wipe(secret, sizeof *secret);
}

bool hf_secret_equal(struct hf_bytes a, struct hf_bytes b)
{
    if (a.len != b.len) {
        return false;
    }
    /* volatile: the loop must not become one that ends at the first difference. */
    volatile uint8_t difference = 0;
    for (size_t i = 0; i < a.len; i++) {
        difference = (uint8_t)(difference | (a.data[i] ^ b.data[i]));
    }
    return difference == 0;
}

void hf_wipe(void *memory, size_t len)
{
    /* An empty buffer's memory is NULL. */
    if (len > 0) {
        explicit_bzero(memory, len);
    }
}
