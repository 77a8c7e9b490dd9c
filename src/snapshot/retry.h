/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patience with a store that may answer later: a broken connection costs a wait, not the capture.
 *
 *     struct hf_retry retry = {.cancel = cancel};
 *     do {
 *         code = hf_store_put(…);
 *     } while (code != HF_ERR_OK && hf_retry_again(&retry, code));
 */
#ifndef HF_SNAPSHOT_RETRY_H
#define HF_SNAPSHOT_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/thread.h"

struct hf_retry {
    unsigned tries;                 /* so far */
    uint64_t first_ms;              /* when the first one failed */
    const struct hf_cancel *cancel; /* borrowed; may be NULL */
};

/* False when the error is final, patience is at its end (two minutes after the first failure), or someone cancelled; else it
 * has waited. */
bool hf_retry_again(struct hf_retry *retry, enum hf_err code);

#endif
