/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gzip envelope (RFC 1952) in which the place of every byte is known beforehand: members of HF_GZIP_CONTENT_BYTES
 * each, of stored blocks. It makes nothing smaller; it is for those who unpack with `tar xzf`, and any stretch of it
 * can be made without what is before it. Knows nothing of archives.
 */
#ifndef HF_CODEC_GZIP_H
#define HF_CODEC_GZIP_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

#define HF_GZIP_CONTENT_BYTES ((uint64_t)16 * 65535) /* of each member but the last */

/* Bytes of the envelope of so much content. */
uint64_t hf_gzip_size(uint64_t content_bytes);

struct hf_gzip_options {
    uint64_t content_bytes; /* of the whole */
    uint64_t from, to;      /* the stretch of the envelope that is wanted, to excluded */
    /* Takes the next bytes of the stretch. */
    enum hf_err (*sink)(void *context, struct hf_bytes bytes, struct hf_error *err);
    void *context;
};

/* The content that a stretch is made of: write exactly [*from, *to) of it. */
void hf_gzip_content(const struct hf_gzip_options *options, uint64_t *from, uint64_t *to);

struct hf_gzip;
HF_MUST_CHECK enum hf_err hf_gzip_create(const struct hf_gzip_options *options,
                                         struct hf_gzip **out, struct hf_error *err);
void hf_gzip_destroy(struct hf_gzip *gzip);
HF_CLEANUP_DEFINE(hf_gzip_destroy, struct hf_gzip *)
/* Content in its order. INVALID for more than hf_gzip_content said. */
HF_MUST_CHECK enum hf_err hf_gzip_write(struct hf_gzip *gzip, struct hf_bytes content,
                                        struct hf_error *err);

#endif
