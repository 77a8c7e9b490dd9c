/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to another member: one command at a time, with a time-out. Where a key is set it proves that it knows it.
 */
#ifndef HF_SANDBOX_CLIENT_H
#define HF_SANDBOX_CLIENT_H

#include <bson/bson.h>

#include "base/error.h"
#include "base/secret.h"

struct hf_sandbox_client;

struct hf_sandbox_peer {
    const char *host;            /* "name:port" */
    const struct hf_secret *key; /* NULL: none */
    uint64_t timeout_ms;
};

/*
 * Runs the command on the peer's admin. *client is opened when it is NULL or leads elsewhere, and closed (NULL) after any failure but a
 * refusal. *reply (bson_destroy) has ok: 1, is NULL after a failure: INVALID with the peer's errmsg, UNAVAILABLE when
 * nobody answers in time.
 */
HF_MUST_CHECK enum hf_err hf_sandbox_client_run(struct hf_sandbox_client **client,
                                                const struct hf_sandbox_peer *peer,
                                                const bson_t *command, bson_t **reply,
                                                struct hf_error *err);
void hf_sandbox_client_close(struct hf_sandbox_client *client);
HF_CLEANUP_DEFINE(hf_sandbox_client_close, struct hf_sandbox_client *)

/* `_sandboxJoin`, the first command of such a connection: a moment and its HMAC with the key. True when it is good. */
bool hf_sandbox_client_proves(const bson_t *command, const struct hf_secret *key);

#endif
