/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Footers of objects, as they are and with the checksum put right: every place that one names lies in the object.
 */
#include "base/alloc.h"
#include "codec/hash.h"
#include "format/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(struct hf_bytes object)
{
    HF_CLEANUP(hf_footer_fini) struct hf_footer footer = {.runs = NULL};
    struct hf_error err;
    uint64_t need = 0;
    uint64_t sum = 0;
    if (hf_footer_decode(object, object.len, &need, &footer, &err) != HF_ERR_OK || need != 0) {
        return;
    }
    for (uint32_t i = 0; i < footer.block_count; i++) {
        const struct hf_footer_block *block = &footer.blocks[i];
        const struct hf_footer_block *found = hf_footer_find(&footer, &block->address);
        HF_ASSERT(found != NULL && hf_address_equal(&found->address, &block->address));
        HF_ASSERT(block->run < footer.run_count);
        sum += hf_xxh3(hf_bytes_of(object.data + block->place, block->stored_bytes));
    }
    HF_ASSERT(footer.block_count == 0 || sum + 1 != 0);
    struct hf_object_name name = {.kind = footer.kind, .job = footer.job, .last = UINT64_MAX};
    if (hf_object_check_put(object, &name, &err) == HF_ERR_OK) {
        HF_ASSERT(footer.block_count > 0 && footer.run_count <= 2);
    }
    /* What stands at one place only, and the other kind. */
    name.last = name.first = hf_position(7, 5);
    (void)!hf_object_check_put(object, &name, &err);
    name.kind = name.kind == HF_OBJECT_DATA ? HF_OBJECT_TREE : HF_OBJECT_DATA;
    HF_ASSERT(hf_object_check_put(object, &name, &err) != HF_ERR_OK);
    /* A reader begins with a short tail, and is told what it needs. */
    struct hf_bytes tail =
        hf_bytes_of(object.data + object.len - HF_OBJECT_TRAILER_BYTES, HF_OBJECT_TRAILER_BYTES);
    HF_CLEANUP(hf_footer_fini) struct hf_footer none = {.runs = NULL};
    HF_ASSERT(hf_footer_decode(tail, object.len, &need, &none, &err) == HF_ERR_OK &&
              need > HF_OBJECT_TRAILER_BYTES && none.runs == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode(hf_bytes_of(data, size));
    if (size < HF_OBJECT_TRAILER_BYTES || size > 1 << 20) {
        return 0;
    }
    HF_CLEANUP(hf_free) uint8_t *copy = hf_alloc(size);
    HF_ASSERT(copy != NULL);
    memcpy(copy, data, size);
    uint8_t *trailer = copy + size - HF_OBJECT_TRAILER_BYTES;
    size_t len = hf_load_le32(trailer);
    if (len <= size - HF_OBJECT_TRAILER_BYTES) {
        hf_store_le64(trailer + 8, hf_xxh3(hf_bytes_of(trailer - len, len + 8)));
        memcpy(trailer + 16, "HFobjend", 8);
        decode(hf_bytes_of(copy, size));
    }
    return 0;
}
