/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job's keys as a value, and as JSON inside tasks.
 */
#include "format/keyring.h"

#include <inttypes.h>

#include "base/secret.h"
#include "codec/base64.h"

void hf_keyring_wipe(struct hf_keyring *keyring)
{
    hf_wipe(keyring, sizeof *keyring);
}

const struct hf_data_key *hf_keyring_data_key(const struct hf_keyring *keyring, uint32_t version)
{
    for (uint32_t i = 0; i < keyring->data_key_count; i++) {
        if (keyring->data_keys[i].version == version) {
            return &keyring->data_keys[i];
        }
    }
    return NULL;
}

const struct hf_data_key *hf_keyring_newest(const struct hf_keyring *keyring)
{
    if (!keyring->encrypted || keyring->data_key_count == 0) {
        return NULL;
    }
    return &keyring->data_keys[keyring->data_key_count - 1];
}

static void set_key(struct hf_json *json, const char *name, const uint8_t key[HF_KEY_BYTES])
{
    char text[HF_BASE64_LEN(HF_KEY_BYTES) + 1];
    hf_base64_encode(hf_bytes_of(key, HF_KEY_BYTES), text);
    hf_json_set_text(json, name, text);
    hf_wipe(text, sizeof text);
}

struct hf_json *hf_keyring_to_json(const struct hf_keyring *keyring,
                                   const struct hf_keyring_json_options *options)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *keys = hf_json_array();
    if (json == NULL || keys == NULL) {
        return NULL;
    }
    hf_json_set_text(json, "job", hf_id_text(&keyring->job).text);
    hf_json_set_bool(json, "encrypted", keyring->encrypted);
    set_key(json, "hashKey", keyring->hash_key);
    if (options->with_seal && keyring->has_seal_key) {
        set_key(json, "sealKey", keyring->seal_key);
    }
    for (uint32_t i = 0; i < keyring->data_key_count; i++) {
        struct hf_json *key = hf_json_object();
        if (key == NULL) {
            return NULL;
        }
        hf_json_set_u64(key, "version", keyring->data_keys[i].version);
        set_key(key, "key", keyring->data_keys[i].key);
        hf_json_append_take(keys, key);
    }
    hf_json_set_take(json, "dataKeys", HF_TAKE(keys));
    return HF_TAKE(json);
}

static enum hf_err get_key(const struct hf_json *json, const char *name, uint8_t key[HF_KEY_BYTES],
                           struct hf_error *err)
{
    const char *text = NULL;
    size_t len = 0;
    if (hf_json_need_text(json, name, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    /* The content is a secret: a message may name the member only. */
    if (hf_base64_decode(hf_str_of(text), key, HF_KEY_BYTES, &len, err) != HF_ERR_OK ||
        len != HF_KEY_BYTES) {
        return hf_fail(err, HF_ERR_INVALID, "%s: not %d bytes in base64", name, HF_KEY_BYTES);
    }
    return HF_ERR_OK;
}

static enum hf_err get_data_keys(const struct hf_json *json, struct hf_keyring *ring,
                                 struct hf_error *err)
{
    struct hf_json *keys = NULL;
    if (hf_json_need_array(json, "dataKeys", &keys, err) != HF_ERR_OK) {
        return err->code;
    }
    size_t count = hf_json_count(keys);
    if (count > HF_DATA_KEYS_MAX || (count > 0) != ring->encrypted) {
        return hf_fail(err, HF_ERR_INVALID, "dataKeys: %zu keys", count);
    }
    for (size_t i = 0; i < count; i++) {
        struct hf_data_key *key = &ring->data_keys[i];
        uint64_t version = 0;
        uint64_t lowest = i == 0 ? 1 : (uint64_t)ring->data_keys[i - 1].version + 1;
        const struct hf_json *item = hf_json_at(keys, i);
        if (hf_json_need_u64(item, "version", lowest, UINT32_MAX, &version, err) != HF_ERR_OK ||
            get_key(item, "key", key->key, err) != HF_ERR_OK) {
            return hf_wrap(err, "dataKeys");
        }
        key->version = (uint32_t)version;
        ring->data_key_count++;
    }
    return HF_ERR_OK;
}

enum hf_err hf_keyring_from_json(const struct hf_json *json, struct hf_keyring *out,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_keyring_wipe) struct hf_keyring ring = {0};
    const char *job = NULL;
    if (hf_json_need_text(json, "job", &job, err) != HF_ERR_OK) {
        return hf_wrap(err, "keys");
    }
    if (!hf_id_parse(hf_str_of(job), &ring.job)) {
        return hf_fail(err, HF_ERR_INVALID, "keys: job: not an id");
    }
    ring.encrypted = hf_json_get_bool(json, "encrypted", false);
    if (get_key(json, "hashKey", ring.hash_key, err) != HF_ERR_OK ||
        get_data_keys(json, &ring, err) != HF_ERR_OK) {
        return hf_wrap(err, "keys");
    }
    if (hf_json_get(json, "sealKey") != NULL) {
        if (get_key(json, "sealKey", ring.seal_key, err) != HF_ERR_OK) {
            return hf_wrap(err, "keys");
        }
        ring.has_seal_key = true;
    }
    *out = ring;
    return HF_ERR_OK;
}
