/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded pool of worker threads: event loops hand work over and go on. Knows nothing of the work.
 */
#ifndef HF_SERVER_POOL_H
#define HF_SERVER_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct hf_server_pool;

struct hf_server_pool_options {
    const char *name; /* of the threads, at most 15 chars */
    unsigned threads;
    size_t queue_max; /* work that waits */
};
HF_MUST_CHECK enum hf_err hf_server_pool_create(const struct hf_server_pool_options *options,
                                                struct hf_server_pool **out, struct hf_error *err);
/* Takes no more work; what was taken is done, then the threads are joined. Twice is fine, NULL does nothing. */
void hf_server_pool_stop(struct hf_server_pool *pool);
/* Stops if need be, frees. NULL does nothing. */
void hf_server_pool_destroy(struct hf_server_pool *pool);
HF_CLEANUP_DEFINE(hf_server_pool_destroy, struct hf_server_pool *)
/* False when as much waits as may: run is not called, argument stays the caller's. Never waits. */
HF_MUST_CHECK bool hf_server_pool_try(struct hf_server_pool *pool, void (*run)(void *argument),
                                      void *argument);

#endif
