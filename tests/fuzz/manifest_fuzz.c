/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifests, as they are, and with checksum and (unkeyed) seal put right.
 */
#include "base/alloc.h"
#include "format/manifest.h"

#define FRAME_BYTES 16
#define SUM_BYTES 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(struct hf_bytes in)
{
    static const struct hf_keyring clear = {
        .job = {{0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b}}};
    HF_CLEANUP(hf_buf_fini) struct hf_buf again = HF_BUF_INIT(HF_MANIFEST_MAX_BYTES);
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest manifest = {.capture = 0};
    struct hf_manifest_read read;
    struct hf_error err;
    if (hf_manifest_decode(in, &clear, &manifest, &read, &err) == HF_ERR_OK &&
        read.kind == HF_MANIFEST_SNAPSHOT) {
        HF_ASSERT(hf_manifest_encode(&manifest, &clear, &again, &err) == HF_ERR_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode(hf_bytes_of(data, size));
    if (size < FRAME_BYTES + SUM_BYTES + HF_HASH_BYTES + 1 || size > 1 << 20) {
        return 0;
    }
    HF_CLEANUP(hf_free) uint8_t *copy = hf_alloc(size);
    HF_ASSERT(copy != NULL);
    memcpy(copy, data, size);
    size_t sealed_len = size - FRAME_BYTES - SUM_BYTES - HF_HASH_BYTES;
    struct hf_hash seal;
    hf_store_le32(copy + 12, (uint32_t)(size - FRAME_BYTES - SUM_BYTES));
    hf_sha256(hf_bytes_of(copy + FRAME_BYTES, sealed_len), &seal);
    memcpy(copy + FRAME_BYTES + sealed_len, seal.bytes, HF_HASH_BYTES);
    hf_store_le64(copy + size - SUM_BYTES, hf_xxh3(hf_bytes_of(copy, size - SUM_BYTES)));
    decode(hf_bytes_of(copy, size));
    return 0;
}
