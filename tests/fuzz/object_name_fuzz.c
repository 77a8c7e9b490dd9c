/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of objects from a store's list: what parses is what we would have written.
 */
#include "format/ids.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_object_name name;
    struct hf_error err;
    struct hf_str text = {.data = (const char *)data, .len = size};
    if (hf_object_name_parse(text, &name, &err) == HF_ERR_OK) {
        HF_ASSERT(hf_str_equal_c(text, hf_object_name_text(&name).text));
    }
    return 0;
}
