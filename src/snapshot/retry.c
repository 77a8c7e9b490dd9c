/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patience with a store that may answer later.
 */
#include "snapshot/retry.h"

#include "os/clock.h"

#define TRIES_MAX 10
#define FIRST_WAIT_MS 100
#define LONGEST_WAIT_MS 30000
/* Drivers have patience of their own: a call may have taken minutes when it fails. */
#define PATIENCE_MS 120000

bool hf_retry_again(struct hf_retry *retry, enum hf_err code)
{
    if (code != HF_ERR_UNAVAILABLE && code != HF_ERR_BUSY && code != HF_ERR_TIMEOUT) {
        return false;
    }
    uint64_t now_ms = hf_clock_mono_ms();
    if (retry->tries == 0) {
        retry->first_ms = now_ms;
    }
    if (retry->tries >= TRIES_MAX || now_ms - retry->first_ms > PATIENCE_MS) {
        return false;
    }
    uint64_t wait_ms = (uint64_t)FIRST_WAIT_MS << retry->tries;
    retry->tries++;
    hf_cancel_sleep(retry->cancel, wait_ms < LONGEST_WAIT_MS ? wait_ms : LONGEST_WAIT_MS);
    return !hf_cancel_requested(retry->cancel);
}
