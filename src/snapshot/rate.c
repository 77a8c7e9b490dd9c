/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shared rate limit.
 *
 * Time is the purse: taking n bytes moves the moment at which all is paid for by n / rate; who comes while that moment
 * lies ahead waits for it. What was not used before is not saved up, but for a tenth of a second.
 */
#include "snapshot/rate.h"

#include "os/clock.h"

#define SAVED_US ((uint64_t)100000)
#define US_PER_S ((uint64_t)1000000)
#define US_PER_MS ((uint64_t)1000)

void hf_rate_init(struct hf_rate *rate, uint64_t bytes_s)
{
    rate->bytes_s = bytes_s;
    rate->free_at_us = 0;
    hf_mutex_init(&rate->mutex);
}

void hf_rate_fini(struct hf_rate *rate)
{
    hf_mutex_fini(&rate->mutex);
}

void hf_rate_take(struct hf_rate *rate, uint64_t bytes, const struct hf_cancel *cancel)
{
    if (rate->bytes_s == 0) {
        return;
    }
    uint64_t wait_us = 0;
    {
        HF_LOCKED(&rate->mutex);
        uint64_t now_us = hf_clock_mono_ms() * US_PER_MS;
        uint64_t earliest = now_us > SAVED_US ? now_us - SAVED_US : 0;
        if (rate->free_at_us < earliest) {
            rate->free_at_us = earliest;
        }
        /* A take is a block or a few: bytes * 10^6 stays far below 2^64. */
        rate->free_at_us += bytes * US_PER_S / rate->bytes_s;
        wait_us = rate->free_at_us > now_us ? rate->free_at_us - now_us : 0;
    }
    if (wait_us >= US_PER_MS) {
        hf_cancel_sleep(cancel, wait_us / US_PER_MS);
    }
}
