/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many items, several threads: each item is done once, the first error stops all.
 */
#ifndef HF_SNAPSHOT_POOL_H
#define HF_SNAPSHOT_POOL_H

#include <stddef.h>

#include "base/error.h"
#include "base/thread.h"

#define HF_POOL_WORKERS_MAX 64

struct hf_pool_work {
    size_t count;
    unsigned workers;               /* 1 to HF_POOL_WORKERS_MAX; one works on the caller's thread */
    const struct hf_cancel *cancel; /* may be NULL */
    /* worker: 0 to workers - 1, so that each can have its own tools. */
    enum hf_err (*run)(void *context, unsigned worker, size_t item, struct hf_error *err);
    void *context;
};

/* One a core, within the limit, when wanted is 0. */
unsigned hf_pool_workers(unsigned wanted);
HF_MUST_CHECK enum hf_err hf_pool_run(const struct hf_pool_work *work, struct hf_error *err);

#endif
