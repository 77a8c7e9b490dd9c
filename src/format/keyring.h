/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of one job, unwrapped (store-format.md section 9). Where they come from is not known
 * here.
 */
#ifndef HF_FORMAT_KEYRING_H
#define HF_FORMAT_KEYRING_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/error.h"
#include "codec/json.h"
#include "format/ids.h"

#define HF_KEY_BYTES 32
#define HF_DATA_KEYS_MAX 16

struct hf_data_key {
    uint32_t version; /* from 1 */
    uint8_t key[HF_KEY_BYTES];
};

struct hf_keyring {
    struct hf_id job;
    bool encrypted;          /* false: packs are stored in the clear and there are no data keys */
    bool has_seal_key;       /* agents have none */
    uint32_t data_key_count; /* ascending versions; the last one is used for new packs */
    struct hf_data_key data_keys[HF_DATA_KEYS_MAX];
    uint8_t hash_key[HF_KEY_BYTES]; /* names blocks; there without encryption too */
    uint8_t seal_key[HF_KEY_BYTES]; /* seals manifests; only with encryption */
};

void hf_keyring_wipe(struct hf_keyring *keyring);
HF_CLEANUP_DEFINE_VALUE(hf_keyring_wipe, struct hf_keyring)

/* NULL when that version is not in the ring. */
const struct hf_data_key *hf_keyring_data_key(const struct hf_keyring *keyring, uint32_t version);
/* The key of new packs; NULL without encryption. */
const struct hf_data_key *hf_keyring_newest(const struct hf_keyring *keyring);

/* For tasks. with_seal is false for agents. NULL on no memory. */
struct hf_keyring_json_options {
    bool with_seal;
};
HF_MUST_CHECK struct hf_json *hf_keyring_to_json(const struct hf_keyring *keyring,
                                                 const struct hf_keyring_json_options *options);
HF_MUST_CHECK enum hf_err hf_keyring_from_json(const struct hf_json *json, struct hf_keyring *out,
                                               struct hf_error *err);

#endif
