/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-256-GCM and HKDF over OpenSSL's EVP. The cipher is fetched once per object: looking it up by name for each
 * message costs more than encrypting a small block. What OpenSSL refuses without a reason of ours is a fault of this
 * program or of its library.
 */
#include "codec/aead.h"

#include <limits.h>
#include <openssl/evp.h>

#include "base/alloc.h"
#include "base/secret.h"
#include "codec/hash.h"

#define HKDF_HASH_BYTES 32
#define HKDF_LONGEST (255 * HKDF_HASH_BYTES)

struct hf_aead {
    EVP_CIPHER *cipher;   /* owned */
    EVP_CIPHER_CTX *seal; /* owned; keyed for encryption */
    EVP_CIPHER_CTX *open; /* owned; keyed for decryption */
};

enum hf_err hf_aead_create(const uint8_t key[HF_AEAD_KEY_BYTES], struct hf_aead **out,
                           struct hf_error *err)
{
    HF_CLEANUP(hf_aead_destroy) struct hf_aead *aead = hf_alloc_zero(sizeof *aead);
    if (aead == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "aead: no memory");
    }
    aead->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (aead->cipher == NULL) {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "aead: OpenSSL offers no AES-256-GCM");
    }
    aead->seal = EVP_CIPHER_CTX_new();
    aead->open = EVP_CIPHER_CTX_new();
    if (aead->seal == NULL || aead->open == NULL ||
        EVP_EncryptInit_ex2(aead->seal, aead->cipher, NULL, NULL, NULL) != 1 ||
        EVP_DecryptInit_ex2(aead->open, aead->cipher, NULL, NULL, NULL) != 1) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "aead: no memory");
    }
    if (hf_aead_rekey(aead, key, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = HF_TAKE(aead);
    return HF_ERR_OK;
}

enum hf_err hf_aead_rekey(struct hf_aead *aead, const uint8_t key[HF_AEAD_KEY_BYTES],
                          struct hf_error *err)
{
    if (EVP_EncryptInit_ex2(aead->seal, NULL, key, NULL, NULL) != 1 ||
        EVP_DecryptInit_ex2(aead->open, NULL, key, NULL, NULL) != 1) {
        return hf_fail(err, HF_ERR_INTERNAL, "aead: OpenSSL refuses a key");
    }
    return HF_ERR_OK;
}

void hf_aead_destroy(struct hf_aead *aead)
{
    if (aead != NULL) {
        EVP_CIPHER_CTX_free(aead->open); /* wipes the key */
        EVP_CIPHER_CTX_free(aead->seal);
        EVP_CIPHER_free(aead->cipher);
        hf_free(aead);
    }
}

static bool fits_int(size_t len)
{
    return len <= INT_MAX - HF_AEAD_TAG_BYTES;
}

enum hf_err hf_aead_seal(struct hf_aead *aead, const uint8_t nonce[HF_AEAD_NONCE_BYTES],
                         struct hf_bytes associated, struct hf_bytes plain, uint8_t *out,
                         struct hf_error *err)
{
    EVP_CIPHER_CTX *context = aead->seal;
    int len;

    if (!fits_int(associated.len) || !fits_int(plain.len)) {
        return hf_fail(err, HF_ERR_LIMIT, "seal: %zu bytes are too many", plain.len);
    }
    if (EVP_EncryptInit_ex2(context, NULL, NULL, nonce, NULL) != 1 ||
        (associated.len > 0 &&
         EVP_EncryptUpdate(context, NULL, &len, associated.data, (int)associated.len) != 1) ||
        (plain.len > 0 && EVP_EncryptUpdate(context, out, &len, plain.data, (int)plain.len) != 1) ||
        EVP_EncryptFinal_ex(context, out + plain.len, &len) != 1 ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, HF_AEAD_TAG_BYTES, out + plain.len) !=
            1) {
        return hf_fail(err, HF_ERR_INTERNAL, "seal: OpenSSL refuses");
    }
    return HF_ERR_OK;
}

enum hf_err hf_aead_open(struct hf_aead *aead, const uint8_t nonce[HF_AEAD_NONCE_BYTES],
                         struct hf_bytes associated, struct hf_bytes sealed, uint8_t *out,
                         struct hf_error *err)
{
    EVP_CIPHER_CTX *context = aead->open;
    uint8_t tag[HF_AEAD_TAG_BYTES], nothing;
    int len;

    if (sealed.len < HF_AEAD_TAG_BYTES) {
        return hf_fail(err, HF_ERR_CORRUPT, "open: %zu bytes hold no tag", sealed.len);
    }
    size_t plain_len = sealed.len - HF_AEAD_TAG_BYTES;
    if (!fits_int(associated.len) || !fits_int(plain_len)) {
        return hf_fail(err, HF_ERR_LIMIT, "open: %zu bytes are too many", sealed.len);
    }
    memcpy(tag, sealed.data + plain_len, sizeof tag);
    if (EVP_DecryptInit_ex2(context, NULL, NULL, nonce, NULL) != 1 ||
        (associated.len > 0 &&
         EVP_DecryptUpdate(context, NULL, &len, associated.data, (int)associated.len) != 1) ||
        (plain_len > 0 &&
         EVP_DecryptUpdate(context, out, &len, sealed.data, (int)plain_len) != 1) ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) != 1) {
        return hf_fail(err, HF_ERR_INTERNAL, "open: OpenSSL refuses");
    }
    if (EVP_DecryptFinal_ex(context, &nothing, &len) != 1) {
        /* Nobody may use what was not proved. */
        hf_wipe(out, plain_len);
        return hf_fail(err, HF_ERR_CORRUPT, "open: changed, or sealed with another key");
    }
    return HF_ERR_OK;
}

enum hf_err hf_hkdf_sha256(struct hf_bytes key, struct hf_bytes salt, struct hf_bytes info,
                           uint8_t *out, size_t out_len, struct hf_error *err)
{
    static const uint8_t no_salt[HKDF_HASH_BYTES] = {0}; /* what RFC 5869 takes for none */
    HF_CLEANUP(hf_hmac_destroy) struct hf_hmac *extract = NULL;
    HF_CLEANUP(hf_hmac_destroy) struct hf_hmac *expand = NULL;
    struct hf_hash pseudo_random_key, block;

    if (out_len > HKDF_LONGEST) {
        return hf_fail(err, HF_ERR_LIMIT, "hkdf: %zu bytes, at most %d can be derived", out_len,
                       HKDF_LONGEST);
    }
    if (salt.len == 0) {
        salt = hf_bytes_of(no_salt, sizeof no_salt);
    }
    if (hf_hmac_create(salt, &extract, err) != HF_ERR_OK) {
        return hf_wrap(err, "hkdf");
    }
    hf_hmac_sha256(extract, key, &pseudo_random_key);
    enum hf_err code = hf_hmac_create(
        hf_bytes_of(pseudo_random_key.bytes, sizeof pseudo_random_key.bytes), &expand, err);
    hf_wipe(&pseudo_random_key, sizeof pseudo_random_key);
    if (code != HF_ERR_OK) {
        return hf_wrap(err, "hkdf");
    }
    for (size_t done = 0; done < out_len;) {
        uint8_t counter = (uint8_t)(done / HKDF_HASH_BYTES + 1);
        size_t take = out_len - done < HKDF_HASH_BYTES ? out_len - done : HKDF_HASH_BYTES;
        hf_hmac_begin(expand);
        if (done > 0) {
            hf_hmac_update(expand, hf_bytes_of(block.bytes, sizeof block.bytes));
        }
        hf_hmac_update(expand, info);
        hf_hmac_update(expand, hf_bytes_of(&counter, 1));
        hf_hmac_end(expand, &block);
        memcpy(out + done, block.bytes, take);
        done += take;
    }
    hf_wipe(&block, sizeof block);
    return HF_ERR_OK;
}
