/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to another member: one command at a time, with deadlines. Authenticates as __system where a key is set.
 */
#ifndef HF_SANDBOX_CLIENT_H
#define HF_SANDBOX_CLIENT_H

#include <bson/bson.h>

#include "base/error.h"
#include "base/secret.h"

struct hf_sandbox_client;

/* host: "name:port". key: NULL for none; borrowed for the call. UNAVAILABLE when nobody answers in time. */
HF_MUST_CHECK enum hf_err hf_sandbox_client_open(const char *host, const struct hf_secret *key,
                                                 uint64_t timeout_ms,
                                                 struct hf_sandbox_client **out,
                                                 struct hf_error *err);
/*
 * Runs the command on admin. *reply (bson_destroy) has ok: 1, else INVALID with the server's errmsg. After any other
 * failure the connection is of no more use.
 */
HF_MUST_CHECK enum hf_err hf_sandbox_client_run(struct hf_sandbox_client *client,
                                                const bson_t *command, uint64_t timeout_ms,
                                                bson_t **reply, struct hf_error *err);
void hf_sandbox_client_close(struct hf_sandbox_client *client);
HF_CLEANUP_DEFINE(hf_sandbox_client_close, struct hf_sandbox_client *)

#endif
