/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver "remote": an agent's view of a store behind the server, for one task
 * (docs/format/agent-objects.md).
 *
 * Reads and puts what the task's rights allow; every deletion is DENIED without asking. What may
 * pass (the server away, overloaded or slow, a broken connection) is tried again with growing
 * pauses until retry_ms have passed: puts are safe to repeat.
 */
#ifndef HF_STORE_REMOTE_H
#define HF_STORE_REMOTE_H

#include "base/secret.h"
#include "base/thread.h"
#include "format/ids.h"
#include "store/store.h"

/* Everything is copied, but for cancel. Zero means the default. */
struct hf_store_remote_options {
    const char *base_url;           /* "https://host:8443" */
    const char *ca_file;            /* PEM; NULL: the system's */
    const struct hf_secret *bearer; /* the agent's key */
    struct hf_id task;              /* whose rights are used */
    struct hf_id attempt;           /* fences; LOST when the task was given to another */
    const struct hf_cancel *cancel; /* borrowed: outlives the store; may be NULL */
    uint64_t retry_ms;              /* default 10 minutes; 1: one try */
    uint64_t pause_ms;              /* before the second try, doubled up to 30 s; default 250 */
    uint32_t idle_timeout_ms;       /* no byte moved either way; default 60 s */
};

/* Opens without asking the server. INVALID for an unusable URL, DENIED for a key over plain HTTP to
 * another host. */
HF_MUST_CHECK enum hf_err hf_store_remote_open(const struct hf_store_remote_options *options,
                                               struct hf_store **out, struct hf_error *err);

#endif
