/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mark of a store, `holdfast/<epoch>`: what it is, which features a reader must know, who owns
 * it.
 */
#ifndef HF_FORMAT_STOREMARK_H
#define HF_FORMAT_STOREMARK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "codec/hash.h"
#include "format/ids.h"

#define HF_STORE_FORMAT 1

struct hf_storemark {
    struct hf_id store;
    struct hf_id installation; /* who writes; the highest epoch counts */
    uint32_t epoch;
    bool encrypted;
    bool oplog_only; /* beside a snapshot store, whose id and key it has: it holds slices alone */
    struct hf_hash key_check; /* proves that a key file is this store's; zero without encryption */
    uint64_t created_s;
};
HF_MUST_CHECK enum hf_err hf_storemark_encode(const struct hf_storemark *mark, struct hf_buf *out,
                                              struct hf_error *err);
/* UNSUPPORTED, naming it, for a format or feature that this program does not know. */
HF_MUST_CHECK enum hf_err hf_storemark_decode(struct hf_bytes in, struct hf_storemark *out,
                                              struct hf_error *err);

#endif
