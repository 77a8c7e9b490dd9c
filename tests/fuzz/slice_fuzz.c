/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Oplog slices: headers as they are, with the checksum put right, and with a MAC under a key that is known here; what they
 * name lies in the object, and adds up. Then every block, as entries; and the input as an index.
 */
#include "base/alloc.h"
#include "codec/hash.h"
#include "format/slice_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_blocks(struct hf_bytes object, const struct hf_slice_header *header,
                        struct hf_block_coder *coder)
{
    HF_CLEANUP(hf_free) uint8_t *plain = hf_alloc(HF_SLICE_BLOCK_BYTES);
    HF_CLEANUP(hf_slice_index_fini) struct hf_slice_index index = {.namespaces = NULL};
    struct hf_error err;
    HF_ASSERT(plain != NULL);
    for (uint32_t i = 0; i < header->block_count; i++) {
        const struct hf_slice_block *block = &header->blocks[i];
        HF_ASSERT((uint64_t)block->place + block->stored_bytes <= object.len);
        struct hf_bytes stored = hf_bytes_of(object.data + block->place, block->stored_bytes);
        if (hf_slice_open_block(coder, header, i, stored, plain, &err) != HF_ERR_OK) {
            continue;
        }
        struct hf_bytes left = hf_bytes_of(plain, block->plain_bytes);
        struct hf_bytes entry;
        while (left.len > 0 && hf_slice_take_entry(&left, &entry, &err) == HF_ERR_OK) {
            HF_ASSERT(hf_load_le32(entry.data) == entry.len);
        }
    }
    HF_ASSERT((uint64_t)header->index_place + header->index_stored_bytes <= object.len);
    struct hf_bytes stored =
        hf_bytes_of(object.data + header->index_place, header->index_stored_bytes);
    if (hf_slice_open_index(coder, header, stored, &index, &err) == HF_ERR_OK) {
        HF_ASSERT(index.block_count == header->block_count);
    }
}

/* Whose job and key the seeds have, as the golden files do. */
static struct hf_keyring known_ring(void)
{
    struct hf_keyring ring = {.encrypted = false};
    for (size_t i = 0; i < HF_ID_BYTES; i++) {
        ring.job.bytes[i] = (uint8_t)(0x10 + i);
    }
    memset(ring.hash_key, 0x21, sizeof ring.hash_key);
    return ring;
}

/* With the key: under another one it is refused; it is of that job, and lies under one name only. */
static void decode_proved(struct hf_bytes object)
{
    struct hf_keyring ring = known_ring();
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    struct hf_error err;
    uint64_t need = 0;
    ring.hash_key[0] ^= 1;
    HF_ASSERT(hf_slice_header_decode(object, object.len, &ring, &need, &header, &err) != HF_ERR_OK);
    ring.hash_key[0] ^= 1;
    if (hf_slice_header_decode(object, object.len, &ring, &need, &header, &err) != HF_ERR_OK) {
        return;
    }
    HF_ASSERT(need == 0 && header.proved && hf_id_equal(&header.job, &ring.job));
    HF_ASSERT(hf_optime_text(&header.first).text[0] != '\0');
    struct hf_object_name name = hf_slice_name(&header);
    HF_ASSERT(hf_slice_check_name(&header, &name, &err) == HF_ERR_OK);
    name.writer.bytes[0] ^= 1;
    HF_ASSERT(hf_slice_check_name(&header, &name, &err) == HF_ERR_CORRUPT);
    struct hf_bytes last =
        hf_bytes_of(object.data + object.len - HF_SLICE_TRAILER_BYTES, HF_SLICE_TRAILER_BYTES);
    HF_ASSERT(hf_slice_header_decode(last, object.len, &ring, &need, &header, &err) == HF_ERR_OK);
    HF_ASSERT(need > HF_SLICE_FIXED_BYTES && need < object.len);
    (void)!hf_slice_check_head(object, &ring.job, &err);
}

/* The header as its maker would have finished it. */
static void prove(uint8_t *header, size_t len)
{
    static struct hf_hmac *hmac;
    const struct hf_keyring ring = known_ring();
    struct hf_hash mac;
    struct hf_error err;
    HF_ASSERT(hmac != NULL || hf_slice_hmac(&ring, HF_SLICE_HEADER_INFO, &hmac, &err) == HF_ERR_OK);
    hf_hmac_sha256(hmac, hf_bytes_of(header, len - HF_HASH_BYTES), &mac);
    memcpy(header + len - HF_HASH_BYTES, mac.bytes, HF_HASH_BYTES);
    hf_store_le64(header + len + 8, hf_xxh3(hf_bytes_of(header, len + 8)));
}

static void decode(struct hf_bytes object)
{
    static struct hf_keyring ring; /* without encryption */
    static struct hf_block_coder *coder;
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    struct hf_block_coder_options options = {.keyring = &ring};
    struct hf_error err;
    uint64_t need = 0;
    HF_ASSERT(coder != NULL || hf_block_coder_create(&options, &coder, &err) == HF_ERR_OK);
    if (hf_slice_header_decode(object, object.len, NULL, &need, &header, &err) != HF_ERR_OK ||
        need != 0) {
        return;
    }
    uint64_t entries = 0;
    for (uint32_t i = 0; i < header.block_count; i++) {
        entries += header.blocks[i].entry_count;
    }
    HF_ASSERT(entries == header.entry_count && entries > 0);
    HF_ASSERT(hf_optime_compare_ts(&header.first, &header.last) <= 0);
    read_blocks(object, &header, coder);
}

static void decode_index(struct hf_bytes in)
{
    HF_CLEANUP(hf_slice_index_fini) struct hf_slice_index index = {.namespaces = NULL};
    HF_CLEANUP(hf_buf_fini) struct hf_buf again = HF_BUF_INIT((size_t)2 << 20);
    struct hf_error err;
    if (hf_slice_index_decode(in, &index, &err) == HF_ERR_OK) {
        for (uint32_t i = 0; i < index.block_count; i++) {
            (void)hf_slice_index_may_have(&index, i, hf_str_of("shop.orders"));
        }
        HF_ASSERT(hf_slice_index_encode(&index, &again, &err) == HF_ERR_OK);
        HF_ASSERT(hf_bytes_equal(hf_buf_bytes(&again), in));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode(hf_bytes_of(data, size));
    decode_index(hf_bytes_of(data, size));
    if (size < 24 || size > 1 << 20) {
        return 0;
    }
    HF_CLEANUP(hf_free) uint8_t *copy = hf_alloc(size);
    HF_ASSERT(copy != NULL);
    memcpy(copy, data, size);
    uint8_t *trailer = copy + size - 24;
    size_t len = hf_load_le32(trailer);
    if (len <= size - 24) {
        hf_store_le64(trailer + 8, hf_xxh3(hf_bytes_of(trailer - len, len + 8)));
        memcpy(trailer + 16, "HFslend_", 8);
        decode(hf_bytes_of(copy, size));
        if (len > HF_HASH_BYTES) {
            prove(trailer - len, len);
            decode_proved(hf_bytes_of(copy, size));
        }
    }
    return 0;
}
