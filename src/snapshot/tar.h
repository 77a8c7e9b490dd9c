/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers of a POSIX tar archive (ustar, with pax records where a name or size needs them). For the streamed restore.
 */
#ifndef HF_SNAPSHOT_TAR_H
#define HF_SNAPSHOT_TAR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define HF_TAR_BLOCK_BYTES 512
#define HF_TAR_END_BYTES ((uint64_t)2 * HF_TAR_BLOCK_BYTES)

struct hf_tar_member {
    const char *path; /* a directory's without the '/' at its end */
    bool directory;
    uint32_t mode;
    uint64_t size_bytes;
    uint64_t mtime_s;
};

/* Appends the member's header blocks, with a pax header before it where one is needed. */
HF_MUST_CHECK enum hf_err hf_tar_append_header(const struct hf_tar_member *member,
                                               struct hf_buf *out, struct hf_error *err);
/* Zero bytes behind the content up to the next block. */
static inline uint64_t hf_tar_padding(uint64_t size_bytes)
{
    return (HF_TAR_BLOCK_BYTES - size_bytes % HF_TAR_BLOCK_BYTES) % HF_TAR_BLOCK_BYTES;
}

#endif
