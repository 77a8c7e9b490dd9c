/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marks, claims and wrapped keys, as they are and with the checksum put right; key files.
 */
#include "base/alloc.h"
#include "codec/hash.h"
#include "format/claim.h"
#include "format/storemark.h"
#include "format/wrapped.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(struct hf_bytes in)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf again = HF_BUF_INIT(HF_SMALL_OBJECT_MAX_BYTES);
    static const struct hf_id job = {
        {0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b}};
    static const struct hf_store_key key;
    struct hf_claim claim;
    struct hf_storemark mark;
    struct hf_keyring ring;
    struct hf_error err;
    if (hf_claim_decode(in, &claim, &err) == HF_ERR_OK) {
        HF_ASSERT(hf_claim_encode(&claim, &again, &err) == HF_ERR_OK);
    }
    if (hf_storemark_decode(in, &mark, &err) == HF_ERR_OK) {
        HF_ASSERT(hf_storemark_encode(&mark, &again, &err) == HF_ERR_OK);
    }
    if (hf_keyring_unwrap(in, &job, &key, &ring, &err) == HF_ERR_OK) {
        HF_ASSERT(hf_id_equal(&ring.job, &job));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_store_key key;
    struct hf_error err;
    struct hf_str text = {.data = (const char *)data, .len = size};
    if (hf_store_key_decode(text, &key, &err) == HF_ERR_OK) {
        HF_ASSERT(!hf_id_is_none(&key.store) || size > 0);
    }
    decode(hf_bytes_of(data, size));
    if (size < 24 || size > HF_SMALL_OBJECT_MAX_BYTES) {
        return 0;
    }
    HF_CLEANUP(hf_free) uint8_t *copy = hf_alloc(size);
    HF_ASSERT(copy != NULL);
    memcpy(copy, data, size);
    hf_store_le32(copy + 12, (uint32_t)(size - 24));
    hf_store_le64(copy + size - 8, hf_xxh3(hf_bytes_of(copy, size - 8)));
    decode(hf_bytes_of(copy, size));
    return 0;
}
