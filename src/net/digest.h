/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's side of HTTP digest authentication, as the existing clients of the API speak it
 * (rest-api 1.3): MD5 and SHA-256, qop "auth" or none, the nc taken literally. A nonce is its own
 * proof (time and HMAC); a bounded table knows which were used. Knows no users: who asks brings a
 * way to look them up.
 */
#ifndef HF_NET_DIGEST_H
#define HF_NET_DIGEST_H

#include "base/secret.h"
#include "base/thread.h"

struct hf_digest;

/* Zero means the default. Copied. */
struct hf_digest_options {
    const char *realm; /* no commas or quotes; default "MMS Public API" */
    struct hf_bytes
        secret; /* servers that share it accept each other's nonces; default 32 random bytes */
    uint32_t nonce_lifetime_ms; /* default 300 s */
    size_t replay_slots;        /* nonces remembered; default 4096 */
};

HF_MUST_CHECK enum hf_err hf_digest_create(const struct hf_digest_options *options,
                                           struct hf_digest **out, struct hf_error *err);
void hf_digest_destroy(struct hf_digest *digest);
HF_CLEANUP_DEFINE(hf_digest_destroy, struct hf_digest *)

#define HF_DIGEST_CHALLENGE_BYTES 512
#define HF_DIGEST_REALM_MAX_BYTES 128

/* The value for WWW-Authenticate, with a fresh nonce. now_ms: a clock that never goes back, as nonces
 * end with the process. Any thread. */
void hf_digest_challenge(struct hf_digest *digest, uint64_t now_ms, bool stale,
                         char out[HF_DIGEST_CHALLENGE_BYTES]);

enum hf_digest_algorithm { HF_DIGEST_MD5, HF_DIGEST_SHA256 };

/* What a user is checked with: the password, or H(user:realm:password) in hexadecimal. */
struct hf_digest_credential {
    bool is_ha1;
    struct hf_secret value;
};

struct hf_digest_users {
    /* False: no such user. Called on the checking thread, must not block. */
    bool (*find)(void *context, struct hf_str user, enum hf_digest_algorithm algorithm,
                 struct hf_digest_credential *out);
    void *context;
};

enum hf_digest_outcome {
    HF_DIGEST_ACCEPTED,
    HF_DIGEST_ABSENT,    /* no Digest credentials in the header: challenge, stale=false */
    HF_DIGEST_MALFORMED, /* the header is none, or names another realm, target or algorithm:
                            challenge, or 400 */
    HF_DIGEST_REFUSED,   /* unknown user or wrong response, deliberately one outcome: challenge,
                            stale=false */
    HF_DIGEST_STALE,     /* right, but the nonce is old, used, or another server's: challenge with
                            stale=true */
};

#define HF_DIGEST_USER_MAX_BYTES 128
/* authorization is the header's value, NULL when absent; target the raw request target with its
 * query. user receives the name when ACCEPTED, else "". why: a short constant text for a debug log.
 * Any thread. */
struct hf_digest_request {
    const char *method;
    const char *target;
    const char *authorization;
    uint64_t now_ms; /* as for the challenge */
};
enum hf_digest_outcome hf_digest_check(struct hf_digest *digest,
                                       const struct hf_digest_request *request,
                                       const struct hf_digest_users *users,
                                       char user[HF_DIGEST_USER_MAX_BYTES], const char **why);

/* H(user:realm:password) in lower-case hexadecimal, to store instead of a password. */
void hf_digest_ha1(const struct hf_digest *digest, enum hf_digest_algorithm algorithm,
                   struct hf_str user, struct hf_bytes password, char out[65]);

#endif
