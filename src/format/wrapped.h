/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store's key, its file, and a job's keys wrapped by it (store-format.md section 9;
 * docs/format/keys.md).
 */
#ifndef HF_FORMAT_WRAPPED_H
#define HF_FORMAT_WRAPPED_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/secret.h"
#include "codec/hash.h"
#include "format/ids.h"
#include "format/keyring.h"

struct hf_store_key {
    struct hf_id store;
    uint8_t key[HF_KEY_BYTES];
};
void hf_store_key_wipe(struct hf_store_key *key);
HF_CLEANUP_DEFINE_VALUE(hf_store_key_wipe, struct hf_store_key)

/* Text of the key file: three lines, for people to print and keep. */
HF_MUST_CHECK enum hf_err hf_store_key_encode(const struct hf_store_key *key, struct hf_buf *out,
                                              struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_store_key_decode(struct hf_str text, struct hf_store_key *out,
                                              struct hf_error *err);
/* What the store's mark keeps, so that a wrong key is refused by name. */
HF_MUST_CHECK enum hf_err hf_store_key_check(const struct hf_store_key *key, struct hf_hash *out,
                                             struct hf_error *err);

#define HF_WRAP_SALT_BYTES 32
/* store_key NULL: the keys of a job without encryption, kept in the clear (the ring must say so).
 */
struct hf_wrap_options {
    const struct hf_store_key *store_key;
    struct hf_id store;
    uint8_t salt[HF_WRAP_SALT_BYTES]; /* fresh random bytes */
};
HF_MUST_CHECK enum hf_err hf_keyring_wrap(const struct hf_keyring *keyring,
                                          const struct hf_wrap_options *options, struct hf_buf *out,
                                          struct hf_error *err);
/* DENIED when the key is missing or another one. job: whose keys these must be. */
HF_MUST_CHECK enum hf_err hf_keyring_unwrap(struct hf_bytes in, const struct hf_id *job,
                                            const struct hf_store_key *store_key,
                                            struct hf_keyring *out, struct hf_error *err);

#endif
