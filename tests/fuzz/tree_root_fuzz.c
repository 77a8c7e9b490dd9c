/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Roots, as messages carry them: what decodes encodes to the same bytes.
 */
#include "format/filelist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HF_CLEANUP(hf_tree_root_fini) struct hf_tree_root root = {.lists = NULL};
    HF_CLEANUP(hf_buf_fini) struct hf_buf again = HF_BUF_INIT((size_t)16 << 20);
    struct hf_bytes in = hf_bytes_of(data, size);
    struct hf_error err;
    if (hf_tree_root_decode(in, &root, &err) == HF_ERR_OK) {
        HF_ASSERT(hf_tree_root_encode(&root, &again, &err) == HF_ERR_OK);
        HF_ASSERT(hf_bytes_equal(in, hf_buf_bytes(&again)));
    }
    return 0;
}
