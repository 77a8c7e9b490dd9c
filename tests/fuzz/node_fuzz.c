/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes of a tree: what decodes encodes to the same bytes.
 */
#include "format/node.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf again = HF_BUF_INIT(HF_NODE_MAX_BYTES);
    struct hf_node node;
    struct hf_error err;
    struct hf_bytes in = hf_bytes_of(data, size);
    if (hf_node_decode(in, &node, &err) == HF_ERR_OK) {
        HF_ASSERT(hf_node_encode(&node, &again, &err) == HF_ERR_OK);
        HF_ASSERT(hf_bytes_equal(in, hf_buf_bytes(&again)));
    }
    return 0;
}
