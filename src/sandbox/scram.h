/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCRAM (RFC 5802 and 7677), the server's half, with credentials as MongoDB stores them.
 */
#ifndef HF_SANDBOX_SCRAM_H
#define HF_SANDBOX_SCRAM_H

#include <bson/bson.h>

#include "base/bytes.h"

enum hf_sandbox_scram_kind { HF_SANDBOX_SCRAM_SHA_1, HF_SANDBOX_SCRAM_SHA_256 };
#define HF_SANDBOX_SCRAM_KINDS 2
#define HF_SANDBOX_SCRAM_TEXT_BYTES 512

/* A conversation; all zeros: none. */
struct hf_sandbox_scram {
    bool challenged;
    enum hf_sandbox_scram_kind kind;
    char user[128];
    char nonce[HF_SANDBOX_SCRAM_TEXT_BYTES]; /* the client's, then both */
    char said[4 * HF_SANDBOX_SCRAM_TEXT_BYTES];
    uint8_t stored_key[32], server_key[32];
};

/* "SCRAM-SHA-1" */
const char *hf_sandbox_scram_name(enum hf_sandbox_scram_kind kind);
/* {iterationCount, salt, storedKey, serverKey} of the password; appended under the mechanism's name. */
void hf_sandbox_scram_append_credentials(enum hf_sandbox_scram_kind kind, const char *user,
                                         const char *password, bson_t *credentials);

/* Reads the client's first message, with the user's name in it. False when it is malformed. */
bool hf_sandbox_scram_start(struct hf_sandbox_scram *scram, enum hf_sandbox_scram_kind kind,
                            struct hf_bytes payload);
/* The server's first message, from the user's credentials. False when these are none. */
bool hf_sandbox_scram_challenge(struct hf_sandbox_scram *scram, const bson_t *credentials,
                                char out[HF_SANDBOX_SCRAM_TEXT_BYTES]);
/* Checks the client's proof; the server's last message. False when it is wrong. */
bool hf_sandbox_scram_finish(struct hf_sandbox_scram *scram, struct hf_bytes payload,
                             char out[HF_SANDBOX_SCRAM_TEXT_BYTES]);

#endif
