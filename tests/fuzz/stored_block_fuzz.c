/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stored block as a footer describes it: lengths and codec from the input, with and without encryption.
 */
#include "base/alloc.h"
#include "format/block.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PLAIN_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct hf_keyring ring = {.data_key_count = 1, .data_keys = {{.version = 1}}};
    struct hf_block_coder_options options = {.keyring = &ring};
    HF_CLEANUP(hf_block_coder_destroy) struct hf_block_coder *coder = NULL;
    struct hf_error err;
    if (size < 8) {
        return 0;
    }
    struct hf_pack_origin origin = {
        .capture = 1, .key_version = data[0] % 3, .cipher = data[0] % 2};
    struct hf_stored_block block = {
        .ordinal = data[1],
        .plain_bytes = hf_load_le32(data + 4) % PLAIN_MAX,
        .codec = data[2] % 3,
        .stored = hf_bytes_of(data + 8, size - 8),
    };
    HF_CLEANUP(hf_free) uint8_t *out = hf_alloc(block.plain_bytes + 1);
    HF_ASSERT(out != NULL && hf_block_coder_create(&options, &coder, &err) == HF_ERR_OK);
    if (hf_block_open(coder, &origin, &block, NULL, out, &err) == HF_ERR_OK) {
        struct hf_hash hash;
        hf_block_hash(coder, hf_bytes_of(out, block.plain_bytes), &hash);
    }
    return 0;
}
