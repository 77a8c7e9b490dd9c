/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stored frame from anywhere (after two bytes that say the expected length): success means exactly that length.
 */
#include "base/alloc.h"
#include "codec/compress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t expected = hf_load_le16(data);
    /* Exactly as large as promised, so that the sanitizer sees a byte too many. */
    HF_CLEANUP(hf_free) uint8_t *out = hf_alloc(expected);
    HF_CLEANUP(hf_decompressor_destroy)
    struct hf_decompressor *decompressor = hf_decompressor_create();
    struct hf_error err;
    enum hf_err code =
        hf_decompress(decompressor, hf_bytes_of(data + 2, size - 2), out, expected, &err);
    HF_ASSERT(code == HF_ERR_OK || code == HF_ERR_CORRUPT);
    return 0;
}
