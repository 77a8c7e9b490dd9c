/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes over OpenSSL's EVP, and XXH3.
 *
 * A prepared HMAC key is a MAC context that OpenSSL starts again without setting the key up. OpenSSL's functions fail
 * only when memory runs out while an object is made, or when they are misused: what fails later is asserted, so that
 * hashing needs no error.
 */
#include "codec/hash.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <xxhash.h>

#include "base/alloc.h"

bool hf_hash_equal(const struct hf_hash *a, const struct hf_hash *b)
{
    return memcmp(a->bytes, b->bytes, HF_HASH_BYTES) == 0;
}

struct hf_hmac {
    EVP_MAC_CTX *context; /* owned */
};

enum hf_err hf_hmac_create(struct hf_bytes key, struct hf_hmac **out, struct hf_error *err)
{
    static const uint8_t no_key[1] = {0};
    char digest[] = "SHA256";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, sizeof digest - 1),
        OSSL_PARAM_construct_end()};
    HF_CLEANUP(hf_hmac_destroy) struct hf_hmac *hmac = hf_alloc_zero(sizeof *hmac);

    if (hmac == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "hmac: no memory");
    }
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (mac == NULL) {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "hmac: OpenSSL offers no HMAC");
    }
    hmac->context = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac); /* the context holds it */
    /* A NULL key would mean "the one before". */
    if (hmac->context == NULL ||
        EVP_MAC_init(hmac->context, key.len == 0 ? no_key : key.data, key.len, parameters) != 1) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "hmac: no memory");
    }
    *out = HF_TAKE(hmac);
    return HF_ERR_OK;
}

void hf_hmac_destroy(struct hf_hmac *hmac)
{
    if (hmac != NULL) {
        EVP_MAC_CTX_free(hmac->context); /* wipes the key */
        hf_free(hmac);
    }
}

void hf_hmac_begin(struct hf_hmac *hmac)
{
    HF_ASSERT(EVP_MAC_init(hmac->context, NULL, 0, NULL) == 1);
}

void hf_hmac_update(struct hf_hmac *hmac, struct hf_bytes piece)
{
    HF_ASSERT(piece.len == 0 || EVP_MAC_update(hmac->context, piece.data, piece.len) == 1);
}

void hf_hmac_end(struct hf_hmac *hmac, struct hf_hash *out)
{
    size_t len;
    HF_ASSERT(EVP_MAC_final(hmac->context, out->bytes, &len, sizeof out->bytes) == 1);
    HF_ASSERT(len == sizeof out->bytes);
}

void hf_hmac_sha256(struct hf_hmac *hmac, struct hf_bytes content, struct hf_hash *out)
{
    hf_hmac_begin(hmac);
    hf_hmac_update(hmac, content);
    hf_hmac_end(hmac, out);
}

void hf_sha256(struct hf_bytes content, struct hf_hash *out)
{
    HF_ASSERT(EVP_Digest(content.data, content.len, out->bytes, NULL, EVP_sha256(), NULL) == 1);
}

struct hf_sha256 {
    EVP_MD_CTX *context; /* owned */
};

struct hf_sha256 *hf_sha256_create(void)
{
    HF_CLEANUP(hf_sha256_destroy) struct hf_sha256 *state = hf_alloc_zero(sizeof *state);
    if (state == NULL || (state->context = EVP_MD_CTX_new()) == NULL ||
        EVP_DigestInit_ex2(state->context, EVP_sha256(), NULL) != 1) {
        return NULL;
    }
    return HF_TAKE(state);
}

void hf_sha256_update(struct hf_sha256 *state, struct hf_bytes piece)
{
    HF_ASSERT(piece.len == 0 || EVP_DigestUpdate(state->context, piece.data, piece.len) == 1);
}

void hf_sha256_end(struct hf_sha256 *state, struct hf_hash *out)
{
    HF_ASSERT(EVP_DigestFinal_ex(state->context, out->bytes, NULL) == 1);
    HF_ASSERT(EVP_DigestInit_ex2(state->context, NULL, NULL) == 1);
}

void hf_sha256_destroy(struct hf_sha256 *state)
{
    if (state != NULL) {
        EVP_MD_CTX_free(state->context);
        hf_free(state);
    }
}

uint64_t hf_xxh3(struct hf_bytes content)
{
    return XXH3_64bits(content.data, content.len);
}

struct hf_xxh3 {
    XXH3_state_t *state; /* owned */
};

struct hf_xxh3 *hf_xxh3_create(void)
{
    HF_CLEANUP(hf_xxh3_destroy) struct hf_xxh3 *xxh3 = hf_alloc_zero(sizeof *xxh3);
    if (xxh3 == NULL || (xxh3->state = XXH3_createState()) == NULL) {
        return NULL;
    }
    HF_ASSERT(XXH3_64bits_reset(xxh3->state) == XXH_OK);
    return HF_TAKE(xxh3);
}

void hf_xxh3_update(struct hf_xxh3 *xxh3, struct hf_bytes piece)
{
    HF_ASSERT(piece.len == 0 || XXH3_64bits_update(xxh3->state, piece.data, piece.len) == XXH_OK);
}

uint64_t hf_xxh3_end(struct hf_xxh3 *xxh3)
{
    uint64_t sum = XXH3_64bits_digest(xxh3->state);
    HF_ASSERT(XXH3_64bits_reset(xxh3->state) == XXH_OK);
    return sum;
}

void hf_xxh3_destroy(struct hf_xxh3 *xxh3)
{
    if (xxh3 != NULL) {
        (void)XXH3_freeState(xxh3->state); /* always succeeds; NULL too */
        hf_free(xxh3);
    }
}

void hf_md5_hex(struct hf_bytes content, char out[33])
{
    uint8_t sum[16];
    HF_ASSERT(EVP_Digest(content.data, content.len, sum, NULL, EVP_md5(), NULL) == 1);
    hf_hex_encode(hf_bytes_of(sum, sizeof sum), out);
}

struct hf_md5 {
    EVP_MD_CTX *context; /* owned */
};

struct hf_md5 *hf_md5_create(void)
{
    HF_CLEANUP(hf_md5_destroy) struct hf_md5 *state = hf_alloc_zero(sizeof *state);
    if (state == NULL || (state->context = EVP_MD_CTX_new()) == NULL ||
        EVP_DigestInit_ex2(state->context, EVP_md5(), NULL) != 1) {
        return NULL;
    }
    return HF_TAKE(state);
}

void hf_md5_update(struct hf_md5 *state, struct hf_bytes piece)
{
    HF_ASSERT(piece.len == 0 || EVP_DigestUpdate(state->context, piece.data, piece.len) == 1);
}

void hf_md5_end(struct hf_md5 *state, char hex[33])
{
    uint8_t sum[16];
    HF_ASSERT(EVP_DigestFinal_ex(state->context, sum, NULL) == 1);
    HF_ASSERT(EVP_DigestInit_ex2(state->context, NULL, NULL) == 1);
    hf_hex_encode(hf_bytes_of(sum, sizeof sum), hex);
}

void hf_md5_destroy(struct hf_md5 *state)
{
    if (state != NULL) {
        EVP_MD_CTX_free(state->context);
        hf_free(state);
    }
}

struct hf_sha1 {
    EVP_MD_CTX *context; /* owned */
};

struct hf_sha1 *hf_sha1_create(void)
{
    HF_CLEANUP(hf_sha1_destroy) struct hf_sha1 *state = hf_alloc_zero(sizeof *state);
    if (state == NULL || (state->context = EVP_MD_CTX_new()) == NULL ||
        EVP_DigestInit_ex2(state->context, EVP_sha1(), NULL) != 1) {
        return NULL;
    }
    return HF_TAKE(state);
}

void hf_sha1_update(struct hf_sha1 *state, struct hf_bytes piece)
{
    HF_ASSERT(piece.len == 0 || EVP_DigestUpdate(state->context, piece.data, piece.len) == 1);
}

void hf_sha1_end(struct hf_sha1 *state, char hex[41])
{
    uint8_t sum[20];
    HF_ASSERT(EVP_DigestFinal_ex(state->context, sum, NULL) == 1);
    HF_ASSERT(EVP_DigestInit_ex2(state->context, NULL, NULL) == 1);
    hf_hex_encode(hf_bytes_of(sum, sizeof sum), hex);
}

void hf_sha1_destroy(struct hf_sha1 *state)
{
    if (state != NULL) {
        EVP_MD_CTX_free(state->context);
        hf_free(state);
    }
}

void hf_sha256_hex(struct hf_bytes content, char out[65])
{
    struct hf_hash sum;
    hf_sha256(content, &sum);
    hf_hex_encode(hf_bytes_of(sum.bytes, sizeof sum.bytes), out);
}
