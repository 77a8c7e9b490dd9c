/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCRAM (RFC 5802 and 7677), the server's half, with credentials as MongoDB stores them.
 */
#ifndef HF_SANDBOX_SCRAM_H
#define HF_SANDBOX_SCRAM_H

#include <bson/bson.h>

#include "base/bytes.h"
#include "base/compiler.h"

enum hf_sandbox_scram_kind { HF_SANDBOX_SCRAM_SHA_1, HF_SANDBOX_SCRAM_SHA_256 };
#define HF_SANDBOX_SCRAM_KINDS 2

/* "SCRAM-SHA-1" */
const char *hf_sandbox_scram_name(enum hf_sandbox_scram_kind kind);
/* {iterationCount, salt, storedKey, serverKey} of the password; appended under the mechanism's name. */
void hf_sandbox_scram_append_credentials(enum hf_sandbox_scram_kind kind, const char *user,
                                         const char *password, bson_t *credentials);

struct hf_sandbox_scram; /* a conversation */

/* Reads the client's first message; user is the name in it. NULL when it is malformed. */
HF_MUST_CHECK struct hf_sandbox_scram *hf_sandbox_scram_start(enum hf_sandbox_scram_kind kind,
                                                              struct hf_bytes payload, char *user,
                                                              size_t user_len);
/* The server's first message, from the user's credentials; NULL (no memory, or bad credentials) refuses. Free with
 * hf_free. */
HF_MUST_CHECK char *hf_sandbox_scram_challenge(struct hf_sandbox_scram *scram,
                                               const bson_t *credentials);
/* Checks the client's proof; the server's last message (free with hf_free), NULL when it is wrong. */
HF_MUST_CHECK char *hf_sandbox_scram_finish(struct hf_sandbox_scram *scram,
                                            struct hf_bytes payload);
bool hf_sandbox_scram_done(const struct hf_sandbox_scram *scram);
void hf_sandbox_scram_destroy(struct hf_sandbox_scram *scram);

#endif
