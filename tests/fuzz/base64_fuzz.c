/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base64 from anywhere: what is decoded encodes to the very text it came from.
 */
#include "base/alloc.h"
#include "codec/base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HF_CLEANUP(hf_free) uint8_t *out = hf_alloc(size);
    HF_CLEANUP(hf_free) char *text = hf_alloc(HF_BASE64_LEN(size) + 1);
    struct hf_str input = {.data = (const char *)data, .len = size};
    struct hf_error err;
    size_t len;

    if (hf_base64_decode(input, out, size, &len, &err) == HF_ERR_OK) {
        hf_base64_encode(hf_bytes_of(out, len), text);
        HF_ASSERT(hf_str_equal_c(input, text));
    }
    return 0;
}
