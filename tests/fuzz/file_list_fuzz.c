/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File lists: entries that are read are written again as the same bytes.
 */
#include "format/filelist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf entries = HF_BUF_INIT(HF_LIST_MAX_BYTES);
    HF_CLEANUP(hf_buf_fini) struct hf_buf again = HF_BUF_INIT(HF_LIST_MAX_BYTES);
    struct hf_bytes in = hf_bytes_of(data, size);
    struct hf_list_reader list;
    struct hf_file_entry entry;
    struct hf_error err;
    uint32_t count = 0;
    bool more = false;
    if (size > HF_LIST_MAX_BYTES / 2 || hf_list_open(in, &list, &err) != HF_ERR_OK) {
        return 0;
    }
    do {
        if (hf_list_next(&list, &entry, &more, &err) != HF_ERR_OK) {
            return 0;
        }
        if (more) {
            HF_ASSERT(hf_file_entry_encode(&entry, &entries, &err) == HF_ERR_OK);
            count++;
        }
    } while (more);
    HF_ASSERT(hf_list_encode(hf_buf_bytes(&entries), count, &again, &err) == HF_ERR_OK);
    HF_ASSERT(hf_bytes_equal(in, hf_buf_bytes(&again)));
    return 0;
}
