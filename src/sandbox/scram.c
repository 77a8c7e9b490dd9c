/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCRAM messages and proofs. Who the user is and where credentials come from is the caller's.
 */
#include "sandbox/scram.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/alloc.h"
#include "base/secret.h"
#include "codec/base64.h"
#include "codec/hash.h"
#include "os/clock.h"
#include "sandbox/value.h"

#define MAX_DIGEST 32
#define MAX_SALT 64
#define NONCE_BYTES 24

struct kind_row {
    const char *name;
    const EVP_MD *(*digest)(void);
    size_t digest_len, salt_len;
    int iterations;
};

static const struct kind_row kinds[HF_SANDBOX_SCRAM_KINDS] = {
    [HF_SANDBOX_SCRAM_SHA_1] = {"SCRAM-SHA-1", EVP_sha1, 20, 16, 10000},
    [HF_SANDBOX_SCRAM_SHA_256] = {"SCRAM-SHA-256", EVP_sha256, 32, 28, 15000},
};

struct hf_sandbox_scram {
    enum hf_sandbox_scram_kind kind;
    char *client_first_bare; /* owned */
    char *server_first;      /* owned */
    char *nonce;             /* owned: the client's, then both */
    uint8_t stored_key[MAX_DIGEST];
    uint8_t server_key[MAX_DIGEST];
    bool done;
};

const char *hf_sandbox_scram_name(enum hf_sandbox_scram_kind kind)
{
    return kinds[kind].name;
}

static void hmac(const struct kind_row *kind, struct hf_bytes key, const char *text,
                 uint8_t out[MAX_DIGEST])
{
    unsigned len = 0;

    HF_ASSERT(HMAC(kind->digest(), key.data, (int)key.len, (const uint8_t *)text, strlen(text), out,
                   &len) != NULL &&
              len == kind->digest_len);
}

static void digest(const struct kind_row *kind, const uint8_t *data, uint8_t out[MAX_DIGEST])
{
    HF_ASSERT(EVP_Digest(data, kind->digest_len, out, NULL, kind->digest(), NULL) == 1);
}

/* Passwords beyond ASCII are taken as they are: drivers prepare them the same way in all but odd cases. */
void hf_sandbox_scram_append_credentials(enum hf_sandbox_scram_kind kind_number, const char *user,
                                         const char *password, bson_t *credentials)
{
    const struct kind_row *kind = &kinds[kind_number];
    uint8_t salt[MAX_SALT], salted[MAX_DIGEST], client[MAX_DIGEST], stored[MAX_DIGEST],
        server[MAX_DIGEST];
    char text[3][HF_BASE64_LEN(MAX_SALT) + 1];
    char md5[33];
    const char *secret = password;
    bson_t doc;

    if (kind_number == HF_SANDBOX_SCRAM_SHA_1) {
        char *joined = hf_asprintf("%s:mongo:%s", user, password);
        HF_ASSERT(joined != NULL);
        hf_md5_hex(hf_bytes_of(joined, strlen(joined)), md5);
        hf_wipe(joined, strlen(joined));
        hf_free(joined);
        secret = md5;
    }
    hf_random_bytes(salt, kind->salt_len);
    HF_ASSERT(PKCS5_PBKDF2_HMAC(secret, (int)strlen(secret), salt, (int)kind->salt_len,
                                kind->iterations, kind->digest(), (int)kind->digest_len,
                                salted) == 1);
    hmac(kind, hf_bytes_of(salted, kind->digest_len), "Client Key", client);
    digest(kind, client, stored);
    hmac(kind, hf_bytes_of(salted, kind->digest_len), "Server Key", server);
    hf_base64_encode(hf_bytes_of(salt, kind->salt_len), text[0]);
    hf_base64_encode(hf_bytes_of(stored, kind->digest_len), text[1]);
    hf_base64_encode(hf_bytes_of(server, kind->digest_len), text[2]);
    bson_append_document_begin(credentials, kind->name, -1, &doc);
    bson_append_int32(&doc, "iterationCount", -1, kind->iterations);
    bson_append_utf8(&doc, "salt", -1, text[0], -1);
    bson_append_utf8(&doc, "storedKey", -1, text[1], -1);
    bson_append_utf8(&doc, "serverKey", -1, text[2], -1);
    bson_append_document_end(credentials, &doc);
    hf_wipe(salted, sizeof salted);
}

/* "n=user,r=nonce": undoes =2C and =3D in the name. */
static bool decode_name(const char *from, size_t len, char *out, size_t out_len)
{
    size_t at = 0;

    for (size_t i = 0; i < len; i++) {
        char letter = from[i];
        if (letter == '=') {
            if (i + 2 >= len || from[i + 1] != (from[i + 2] == 'C' ? '2' : '3') ||
                (from[i + 2] != 'C' && from[i + 2] != 'D')) {
                return false;
            }
            letter = from[i + 2] == 'C' ? ',' : '=';
            i += 2;
        }
        if (at + 1 >= out_len) {
            return false;
        }
        out[at++] = letter;
    }
    out[at] = '\0';
    return at > 0;
}

struct hf_sandbox_scram *hf_sandbox_scram_start(enum hf_sandbox_scram_kind kind,
                                                struct hf_bytes payload, char *user,
                                                size_t user_len)
{
    struct hf_sandbox_scram *scram;
    char *text = hf_strndup((const char *)payload.data, payload.len);
    char *bare = text == NULL || strncmp(text, "n,,n=", 5) != 0 ? NULL : text + 3;
    char *nonce = bare == NULL ? NULL : strstr(bare, ",r=");

    if (nonce == NULL || strlen(nonce) < 4 + 8 || strchr(nonce + 3, ',') != NULL ||
        !decode_name(bare + 2, (size_t)(nonce - bare) - 2, user, user_len)) {
        hf_free(text);
        return NULL;
    }
    scram = hf_alloc_zero(sizeof *scram);
    HF_ASSERT(scram != NULL);
    scram->kind = kind;
    scram->client_first_bare = hf_strdup(bare);
    scram->nonce = hf_strdup(nonce + 3);
    hf_free(text);
    HF_ASSERT(scram->client_first_bare != NULL && scram->nonce != NULL);
    return scram;
}

static bool read_key(const bson_t *credentials, const char *name, size_t len,
                     uint8_t out[MAX_DIGEST])
{
    const char *text = hf_sandbox_get_utf8(credentials, name, "");
    size_t got = 0;
    struct hf_error err;

    return hf_base64_decode(hf_str_of(text), out, MAX_DIGEST, &got, &err) == HF_ERR_OK &&
           got == len;
}

char *hf_sandbox_scram_challenge(struct hf_sandbox_scram *scram, const bson_t *credentials)
{
    const struct kind_row *kind = &kinds[scram->kind];
    uint8_t random[NONCE_BYTES];
    char random_text[HF_BASE64_LEN(NONCE_BYTES) + 1];
    char *nonce;

    if (!read_key(credentials, "storedKey", kind->digest_len, scram->stored_key) ||
        !read_key(credentials, "serverKey", kind->digest_len, scram->server_key)) {
        return NULL;
    }
    hf_random_bytes(random, sizeof random);
    hf_base64_encode(hf_bytes_of(random, sizeof random), random_text);
    nonce = hf_asprintf("%s%s", scram->nonce, random_text);
    HF_ASSERT(nonce != NULL);
    hf_free(scram->nonce);
    scram->nonce = nonce;
    hf_free(scram->server_first);
    scram->server_first =
        hf_asprintf("r=%s,s=%s,i=%d", nonce, hf_sandbox_get_utf8(credentials, "salt", ""),
                    (int)hf_sandbox_get_int64(credentials, "iterationCount", 0));
    return scram->server_first == NULL ? NULL : hf_strdup(scram->server_first);
}

char *hf_sandbox_scram_finish(struct hf_sandbox_scram *scram, struct hf_bytes payload)
{
    const struct kind_row *kind = &kinds[scram->kind];
    char *text =
        scram->server_first == NULL ? NULL : hf_strndup((const char *)payload.data, payload.len);
    char *proof_at = text == NULL ? NULL : strstr(text, ",p=");
    char *expected = hf_asprintf("c=biws,r=%s", scram->nonce);
    uint8_t proof[MAX_DIGEST], signature[MAX_DIGEST], stored[MAX_DIGEST];
    char verifier[HF_BASE64_LEN(MAX_DIGEST) + 1];
    size_t proof_len = 0;
    char *answer = NULL;
    struct hf_error err;

    HF_ASSERT(expected != NULL);
    if (proof_at != NULL && strncmp(text, expected, strlen(expected)) == 0 &&
        text + strlen(expected) == proof_at &&
        hf_base64_decode(hf_str_of(proof_at + 3), proof, sizeof proof, &proof_len, &err) ==
            HF_ERR_OK &&
        proof_len == kind->digest_len) {
        char *message =
            hf_asprintf("%s,%s,%s", scram->client_first_bare, scram->server_first, expected);
        HF_ASSERT(message != NULL);
        hmac(kind, hf_bytes_of(scram->stored_key, kind->digest_len), message, signature);
        for (size_t i = 0; i < kind->digest_len; i++) {
            proof[i] ^= signature[i];
        }
        digest(kind, proof, stored);
        if (hf_secret_equal(hf_bytes_of(stored, kind->digest_len),
                            hf_bytes_of(scram->stored_key, kind->digest_len))) {
            hmac(kind, hf_bytes_of(scram->server_key, kind->digest_len), message, signature);
            hf_base64_encode(hf_bytes_of(signature, kind->digest_len), verifier);
            answer = hf_asprintf("v=%s", verifier);
            scram->done = true;
        }
        hf_free(message);
    }
    hf_free(expected);
    hf_free(text);
    return answer;
}

bool hf_sandbox_scram_done(const struct hf_sandbox_scram *scram)
{
    return scram->done;
}

void hf_sandbox_scram_destroy(struct hf_sandbox_scram *scram)
{
    if (scram != NULL) {
        hf_free(scram->client_first_bare);
        hf_free(scram->server_first);
        hf_free(scram->nonce);
        hf_wipe(scram, sizeof *scram);
        hf_free(scram);
    }
}
