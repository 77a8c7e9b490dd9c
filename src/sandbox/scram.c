/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCRAM messages and proofs. Who the user is and where credentials come from is the caller's.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

#include "base/secret.h"
#include "codec/base64.h"
#include "codec/hash.h"
#include "sandbox/server_internal.h"

#define MAX_DIGEST 32
#define NONCE_BYTES 24

struct kind {
    const char *name;
    const EVP_MD *(*digest)(void);
    size_t len, salt_len;
    int iterations;
};
static const struct kind kinds[] = {
    {"SCRAM-SHA-1", EVP_sha1, 20, 16, 10000},
    {"SCRAM-SHA-256", EVP_sha256, 32, 28, 15000},
};

static void hmac(const struct kind *kind, const uint8_t *key, const char *text, uint8_t *out)
{
    HF_ASSERT(HMAC(kind->digest(), key, (int)kind->len, (const uint8_t *)text, strlen(text), out,
                   NULL) != NULL);
}

static void digest(const struct kind *kind, const uint8_t *data, uint8_t *out)
{
    HF_ASSERT(EVP_Digest(data, kind->len, out, NULL, kind->digest(), NULL) == 1);
}

static void append_kind(const struct kind *kind, const char *password, bson_t *credentials)
{
    uint8_t salt[MAX_DIGEST], salted[MAX_DIGEST], key[MAX_DIGEST];
    char texts[3][HF_BASE64_LEN(MAX_DIGEST) + 1];

    hf_random_bytes(salt, kind->salt_len);
    HF_ASSERT(PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, (int)kind->salt_len,
                                kind->iterations, kind->digest(), (int)kind->len, salted) == 1);
    hf_base64_encode(hf_bytes_of(salt, kind->salt_len), texts[0]);
    hmac(kind, salted, "Client Key", key);
    digest(kind, key, salt);
    hf_base64_encode(hf_bytes_of(salt, kind->len), texts[1]);
    hmac(kind, salted, "Server Key", key);
    hf_base64_encode(hf_bytes_of(key, kind->len), texts[2]);
    BCON_APPEND(credentials, kind->name, "{", "iterationCount", BCON_INT32(kind->iterations),
                "salt", BCON_UTF8(texts[0]), "storedKey", BCON_UTF8(texts[1]), "serverKey",
                BCON_UTF8(texts[2]), "}");
    hf_wipe(salted, sizeof salted);
}

/* Passwords beyond ASCII are taken as they are: drivers prepare them the same way in all but odd cases. */
void hf_sandbox_scram_append_credentials(bson_t *doc, const char *user, const char *password)
{
    char joined[HF_SANDBOX_SCRAM_TEXT_BYTES], md5[33];
    bson_t credentials;

    (void)snprintf(joined, sizeof joined, "%s:mongo:%s", user, password);
    hf_md5_hex(hf_bytes_of(joined, strlen(joined)), md5);
    hf_wipe(joined, sizeof joined);
    bson_append_document_begin(doc, "credentials", -1, &credentials);
    append_kind(&kinds[0], md5, &credentials);
    append_kind(&kinds[1], password, &credentials);
    bson_append_document_end(doc, &credentials);
}

static bool read_text(struct hf_bytes payload, char out[HF_SANDBOX_SCRAM_TEXT_BYTES])
{
    int len = snprintf(out, HF_SANDBOX_SCRAM_TEXT_BYTES, "%.*s", (int)payload.len,
                       (const char *)payload.data);

    return len > 0 && (size_t)len == payload.len && len < HF_SANDBOX_SCRAM_TEXT_BYTES;
}

bool hf_sandbox_scram_start(struct hf_sandbox_scram *scram, const char *mechanism,
                            struct hf_bytes payload)
{
    char text[HF_SANDBOX_SCRAM_TEXT_BYTES];
    int end = 0;

    *scram = (struct hf_sandbox_scram){.kind = strcmp(mechanism, kinds[0].name) == 0 ? 0 : 1};
    /* Names with an escape (a comma, an equals sign) are not taken. */
    if (strcmp(mechanism, kinds[scram->kind].name) != 0 || !read_text(payload, text) ||
        sscanf(text, "n,,n=%127[^,=],r=%128[^,]%n", scram->user, scram->nonce, &end) != 2 ||
        text[end] != '\0' || strlen(scram->nonce) < 8) {
        return false;
    }
    (void)snprintf(scram->said, sizeof scram->said, "%s", text + 3);
    return true;
}

static bool read_key(const bson_t *credentials, const char *name, size_t len,
                     uint8_t out[MAX_DIGEST])
{
    size_t got = 0;
    struct hf_error err;

    return hf_base64_decode(hf_str_of(hf_sandbox_get_utf8(credentials, name, "")), out, MAX_DIGEST,
                            &got, &err) == HF_ERR_OK &&
           got == len;
}

/* Appends to what was said: the proof is of all of it. */
static void note(struct hf_sandbox_scram *scram, const char *text)
{
    size_t len = strlen(scram->said);

    (void)snprintf(scram->said + len, sizeof scram->said - len, ",%s", text);
}

bool hf_sandbox_scram_challenge(struct hf_sandbox_scram *scram, const bson_t *user,
                                char out[HF_SANDBOX_SCRAM_TEXT_BYTES])
{
    const struct kind *kind = &kinds[scram->kind];
    size_t len = strlen(scram->nonce);
    uint8_t random[NONCE_BYTES];
    bson_t all, own;

    if (!hf_sandbox_get_doc(user, "credentials", &all) ||
        !hf_sandbox_get_doc(&all, kind->name, &own) ||
        !read_key(&own, "storedKey", kind->len, scram->stored_key) ||
        !read_key(&own, "serverKey", kind->len, scram->server_key)) {
        return false;
    }
    hf_random_bytes(random, sizeof random);
    hf_base64_encode(hf_bytes_of(random, sizeof random), scram->nonce + len);
    (void)snprintf(out, HF_SANDBOX_SCRAM_TEXT_BYTES, "r=%.256s,s=%.64s,i=%d", scram->nonce,
                   hf_sandbox_get_utf8(&own, "salt", ""),
                   (int)hf_sandbox_get_int64(&own, "iterationCount", 0));
    note(scram, out);
    return true;
}

bool hf_sandbox_scram_finish(struct hf_sandbox_scram *scram, struct hf_bytes payload,
                             char out[HF_SANDBOX_SCRAM_TEXT_BYTES])
{
    const struct kind *kind = &kinds[scram->kind];
    char text[HF_SANDBOX_SCRAM_TEXT_BYTES], nonce[HF_SANDBOX_SCRAM_TEXT_BYTES], proof_text[65];
    uint8_t proof[MAX_DIGEST], signature[MAX_DIGEST], stored[MAX_DIGEST];
    size_t len = 0;
    struct hf_error err;

    if (scram->nonce[0] == '\0' || !read_text(payload, text) ||
        sscanf(text, "c=biws,r=%511[^,],p=%64s", nonce, proof_text) != 2 ||
        strcmp(nonce, scram->nonce) != 0 ||
        hf_base64_decode(hf_str_of(proof_text), proof, sizeof proof, &len, &err) != HF_ERR_OK ||
        len != kind->len) {
        return false;
    }
    *strstr(text, ",p=") = '\0';
    note(scram, text);
    hmac(kind, scram->stored_key, scram->said, signature);
    for (size_t i = 0; i < kind->len; i++) {
        proof[i] ^= signature[i];
    }
    digest(kind, proof, stored);
    hmac(kind, scram->server_key, scram->said, signature);
    (void)snprintf(out, HF_SANDBOX_SCRAM_TEXT_BYTES, "v=");
    hf_base64_encode(hf_bytes_of(signature, kind->len), out + 2);
    return hf_secret_equal(hf_bytes_of(stored, kind->len),
                           hf_bytes_of(scram->stored_key, kind->len));
}
