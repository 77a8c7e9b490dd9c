/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON text from anywhere: what is decoded encodes, and decodes again to the same value and the same text.
 */
#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *value = NULL;
    HF_CLEANUP(hf_json_drop) struct hf_json *again = NULL;
    HF_CLEANUP(hf_buf_fini) struct hf_buf first = HF_BUF_INIT(SIZE_MAX);
    HF_CLEANUP(hf_buf_fini) struct hf_buf second = HF_BUF_INIT(SIZE_MAX);
    struct hf_str text = {.data = (const char *)data, .len = size};
    struct hf_error err;

    if (hf_json_decode(text, 1 << 16, &value, &err) != HF_ERR_OK) {
        return 0;
    }
    HF_ASSERT(hf_json_encode(value, size % 3, &first, &err) == HF_ERR_OK);
    text = (struct hf_str){.data = hf_buf_text(&first), .len = first.len};
    HF_ASSERT(hf_json_decode(text, SIZE_MAX, &again, &err) == HF_ERR_OK);
    HF_ASSERT(hf_json_equal(value, again));
    HF_ASSERT(hf_json_encode(again, size % 3, &second, &err) == HF_ERR_OK);
    HF_ASSERT(hf_bytes_equal(hf_buf_bytes(&first), hf_buf_bytes(&second)));
    return 0;
}
