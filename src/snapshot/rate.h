/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rate limit that several threads share: bytes are taken before they are moved, and who takes too many waits.
 */
#ifndef HF_SNAPSHOT_RATE_H
#define HF_SNAPSHOT_RATE_H

#include <stdint.h>

#include "base/thread.h"

struct hf_rate {
    uint64_t bytes_s;      /* 0: no limit */
    struct hf_mutex mutex; /* guards: free_at_us */
    uint64_t free_at_us;   /* when all that was taken so far is paid for */
};

void hf_rate_init(struct hf_rate *rate, uint64_t bytes_s);
void hf_rate_fini(struct hf_rate *rate);
HF_CLEANUP_DEFINE_VALUE(hf_rate_fini, struct hf_rate)
/* Waits, less when cancelled. */
void hf_rate_take(struct hf_rate *rate, uint64_t bytes, const struct hf_cancel *cancel);

#endif
