/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authenticated encryption (AES-256-GCM) and key derivation (HKDF-SHA-256).
 */
#ifndef HF_CODEC_AEAD_H
#define HF_CODEC_AEAD_H

#include "base/bytes.h"
#include "base/error.h"

#define HF_AEAD_KEY_BYTES 32
#define HF_AEAD_NONCE_BYTES 12
#define HF_AEAD_TAG_BYTES 16

/* A key with its schedule; one thread at a time. */
struct hf_aead;
HF_MUST_CHECK enum hf_err hf_aead_create(const uint8_t key[HF_AEAD_KEY_BYTES], struct hf_aead **out,
                                         struct hf_error *err);
/* Another key in the same object (packs have a key each). */
HF_MUST_CHECK enum hf_err hf_aead_rekey(struct hf_aead *aead, const uint8_t key[HF_AEAD_KEY_BYTES],
                                        struct hf_error *err);
void hf_aead_destroy(struct hf_aead *aead);
HF_CLEANUP_DEFINE(hf_aead_destroy, struct hf_aead *)

/* out gets plain.len + HF_AEAD_TAG_BYTES bytes; out may be plain.data itself. A nonce is used once with a key. */
HF_MUST_CHECK enum hf_err hf_aead_seal(struct hf_aead *aead,
                                       const uint8_t nonce[HF_AEAD_NONCE_BYTES],
                                       struct hf_bytes associated, struct hf_bytes plain,
                                       uint8_t *out, struct hf_error *err);
/* sealed = ciphertext and tag; out gets sealed.len - tag bytes. CORRUPT when it was changed or the key is another. */
HF_MUST_CHECK enum hf_err hf_aead_open(struct hf_aead *aead,
                                       const uint8_t nonce[HF_AEAD_NONCE_BYTES],
                                       struct hf_bytes associated, struct hf_bytes sealed,
                                       uint8_t *out, struct hf_error *err);

HF_MUST_CHECK enum hf_err hf_hkdf_sha256(struct hf_bytes key, struct hf_bytes salt,
                                         struct hf_bytes info, uint8_t *out, size_t out_len,
                                         struct hf_error *err);

#endif
