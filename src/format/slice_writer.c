/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes one oplog slice: entries into blocks of 256 KiB, each compressed and encrypted as soon as it is full, so that
 * memory holds one plain block beside what goes to the store.
 *
 * An entry that does not fit beside others in the open block begins a new one; one that is larger than a block fills
 * blocks of its own, all but the last full. So a reader needs a block at a time, and one entry.
 */
#include "format/slice_internal.h"

#include <inttypes.h>

#include "base/alloc.h"

struct hf_slice_writer {
    const struct hf_keyring *keyring; /* borrowed: outlives us */
    struct hf_block_coder *coder;     /* owned */
    struct hf_chain_hasher *hasher;   /* owned */
    struct hf_hmac *header_hmac;      /* owned */
    struct hf_pack_origin origin;
    struct hf_slice_block *blocks; /* owned: BLOCKS_MAX */
    uint32_t block_count;          /* closed ones */
    uint8_t *open;                 /* owned: HF_SLICE_BLOCK_BYTES */
    uint32_t open_bytes, open_entries;
    struct hf_buf stored; /* owned: head and closed blocks */
    struct hf_hash hash, hash_before;
    struct hf_optime last;
    uint32_t entry_count;
    uint64_t plain_bytes; /* open block included */
};

enum hf_err hf_slice_writer_create(const struct hf_keyring *keyring, struct hf_slice_writer **out,
                                   struct hf_error *err)
{
    HF_CLEANUP(hf_slice_writer_destroy)
    struct hf_slice_writer *writer = hf_alloc_zero(sizeof *writer);
    struct hf_block_coder_options options = {.keyring = keyring};
    if (writer == NULL ||
        (writer->blocks = hf_alloc_array(HF_SLICE_BLOCKS_MAX, sizeof *writer->blocks)) == NULL ||
        (writer->open = hf_alloc(HF_SLICE_BLOCK_BYTES)) == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "prepare to write oplog slices");
    }
    writer->keyring = keyring;
    hf_buf_init(&writer->stored, HF_SLICE_OBJECT_MAX_BYTES);
    if (hf_block_coder_create(&options, &writer->coder, err) != HF_ERR_OK ||
        hf_chain_hasher_create(keyring, &writer->hasher, err) != HF_ERR_OK ||
        hf_slice_hmac(keyring, HF_SLICE_HEADER_INFO, &writer->header_hmac, err) != HF_ERR_OK) {
        return hf_wrap(err, "prepare to write oplog slices");
    }
    *out = HF_TAKE(writer);
    return HF_ERR_OK;
}

void hf_slice_writer_destroy(struct hf_slice_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    hf_block_coder_destroy(writer->coder);
    hf_chain_hasher_destroy(writer->hasher);
    hf_hmac_destroy(writer->header_hmac);
    hf_free(writer->blocks);
    hf_free(writer->open);
    hf_buf_fini(&writer->stored);
    hf_free(writer);
}

void hf_slice_writer_begin(struct hf_slice_writer *writer, const struct hf_hash *hash_before,
                           const uint8_t salt[HF_PACK_SALT_BYTES])
{
    const struct hf_data_key *key = hf_keyring_newest(writer->keyring);
    writer->origin = (struct hf_pack_origin){
        .key_version = key == NULL ? 0 : key->version,
        .cipher = key == NULL ? HF_CIPHER_NONE : HF_CIPHER_AES256_GCM,
    };
    memcpy(writer->origin.salt, salt, HF_PACK_SALT_BYTES);
    writer->hash = writer->hash_before = *hash_before;
    writer->last = (struct hf_optime){.seconds = 0, .term = -1};
    writer->block_count = 0;
    writer->open_bytes = writer->open_entries = 0;
    writer->entry_count = 0;
    writer->plain_bytes = 0;
    hf_buf_clear(&writer->stored);
}

/* Blocks that an entry takes for itself; 0 when it may share one. */
static uint32_t own_blocks(size_t entry_bytes)
{
    return entry_bytes <= HF_SLICE_BLOCK_BYTES
               ? 0
               : (uint32_t)((entry_bytes + HF_SLICE_BLOCK_BYTES - 1) / HF_SLICE_BLOCK_BYTES);
}

bool hf_slice_writer_has_room(const struct hf_slice_writer *writer, size_t entry_bytes)
{
    /* The open block may have to be closed first, and the entry's last block stays open. */
    uint32_t blocks = writer->block_count + 2 + own_blocks(entry_bytes);
    uint64_t overhead = (uint64_t)blocks * HF_AEAD_TAG_BYTES;
    return writer->entry_count == 0 ||
           (blocks <= HF_SLICE_BLOCKS_MAX &&
            writer->plain_bytes + entry_bytes <= HF_SLICE_PLAIN_MAX_BYTES &&
            writer->stored.len + writer->open_bytes + entry_bytes + overhead <=
                HF_SLICE_STORED_MAX_BYTES);
}

/* Compresses, encrypts and appends the open block. */
static enum hf_err close_block(struct hf_slice_writer *writer, bool more, struct hf_error *err)
{
    HF_ASSERT(writer->block_count < HF_SLICE_BLOCKS_MAX);
    struct hf_slice_block *block = &writer->blocks[writer->block_count];
    struct hf_block_body body;
    if (writer->stored.len == 0) {
        uint8_t head[HF_SLICE_HEAD_BYTES];
        hf_slice_head_encode(&writer->keyring->job, head);
        if (hf_buf_append(&writer->stored, hf_bytes_of(head, sizeof head), err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (hf_block_compress(writer->coder, hf_bytes_of(writer->open, writer->open_bytes), &body,
                          err) != HF_ERR_OK) {
        return err->code;
    }
    uint32_t len = hf_block_stored_bytes(&body, writer->origin.cipher);
    if (hf_buf_reserve(&writer->stored, len, err) != HF_ERR_OK) {
        return err->code;
    }
    uint8_t *at = writer->stored.data + writer->stored.len;
    if (hf_block_seal(writer->coder, &writer->origin, writer->block_count, &body, at, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    *block = (struct hf_slice_block){
        .place = (uint32_t)writer->stored.len,
        .stored_bytes = len,
        .plain_bytes = body.plain_bytes,
        .entry_count = writer->open_entries,
        .codec = body.codec,
        .more = more,
        .checksum = hf_xxh3(hf_bytes_of(at, len)),
        .last = writer->last,
        .hash = writer->hash,
    };
    writer->stored.len += len;
    writer->block_count++;
    writer->open_bytes = writer->open_entries = 0;
    return HF_ERR_OK;
}

enum hf_err hf_slice_writer_add(struct hf_slice_writer *writer, struct hf_bytes entry,
                                const struct hf_optime *optime, struct hf_slice_spot *spot,
                                struct hf_error *err)
{
    if (entry.len < HF_SLICE_ENTRY_MIN_BYTES || entry.len > HF_SLICE_ENTRY_MAX_BYTES ||
        hf_load_le32(entry.data) != entry.len) {
        return hf_fail(err, HF_ERR_CORRUPT, "oplog entry %s of %zu bytes",
                       hf_optime_text(optime).text, entry.len);
    }
    HF_ASSERT(hf_slice_writer_has_room(writer, entry.len));
    if (writer->open_bytes > 0 && writer->open_bytes + entry.len > HF_SLICE_BLOCK_BYTES &&
        close_block(writer, false, err) != HF_ERR_OK) {
        return hf_wrap(err, "oplog slice");
    }
    spot->first_block = writer->block_count;
    struct hf_bytes left = entry;
    while (left.len > HF_SLICE_BLOCK_BYTES) {
        memcpy(writer->open, left.data, HF_SLICE_BLOCK_BYTES);
        writer->open_bytes = HF_SLICE_BLOCK_BYTES;
        left = hf_bytes_of(left.data + HF_SLICE_BLOCK_BYTES, left.len - HF_SLICE_BLOCK_BYTES);
        if (close_block(writer, true, err) != HF_ERR_OK) {
            return hf_wrap(err, "oplog slice");
        }
    }
    memcpy(writer->open + writer->open_bytes, left.data, left.len);
    writer->open_bytes += (uint32_t)left.len;
    writer->open_entries++;
    writer->entry_count++;
    writer->plain_bytes += entry.len;
    writer->last = *optime;
    hf_chain_hash(writer->hasher, &writer->hash, entry);
    spot->last_block = writer->block_count;
    /* The rest of a large entry has its block to itself, so that a block is whole entries or one part. */
    if (left.len != entry.len && close_block(writer, false, err) != HF_ERR_OK) {
        return hf_wrap(err, "oplog slice");
    }
    return HF_ERR_OK;
}

uint64_t hf_slice_writer_bytes(const struct hf_slice_writer *writer)
{
    return (uint64_t)writer->stored.len + writer->open_bytes;
}

uint32_t hf_slice_writer_entries(const struct hf_slice_writer *writer)
{
    return writer->entry_count;
}

const struct hf_hash *hf_slice_writer_hash(const struct hf_slice_writer *writer)
{
    return &writer->hash;
}

enum hf_err hf_slice_writer_close(struct hf_slice_writer *writer, uint32_t *blocks,
                                  struct hf_error *err)
{
    HF_ASSERT(writer->entry_count > 0);
    if (writer->open_bytes > 0 && close_block(writer, false, err) != HF_ERR_OK) {
        return hf_wrap(err, "oplog slice");
    }
    *blocks = writer->block_count;
    return HF_ERR_OK;
}

static enum hf_err append_index(struct hf_slice_writer *writer, const struct hf_slice_index *index,
                                struct hf_slice_header *header, struct hf_buf *out,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf plain = HF_BUF_INIT(HF_SLICE_INDEX_MAX_BYTES);
    struct hf_block_body body;
    if (hf_slice_index_encode(index, &plain, err) != HF_ERR_OK ||
        hf_block_compress(writer->coder, hf_buf_bytes(&plain), &body, err) != HF_ERR_OK) {
        return err->code;
    }
    uint32_t len = hf_block_stored_bytes(&body, writer->origin.cipher);
    if (hf_buf_reserve(out, len, err) != HF_ERR_OK ||
        hf_block_seal(writer->coder, &writer->origin, writer->block_count, &body,
                      out->data + out->len, err) != HF_ERR_OK) {
        return err->code;
    }
    header->index_place = (uint32_t)out->len;
    header->index_stored_bytes = len;
    header->index_plain_bytes = body.plain_bytes;
    header->index_codec = body.codec;
    header->index_checksum = hf_xxh3(hf_bytes_of(out->data + out->len, len));
    out->len += len;
    return HF_ERR_OK;
}

/* The parts of a large entry that the slice begins with stand behind the last entry of its predecessor. */
static void place_first_parts(struct hf_slice_writer *writer, const struct hf_optime *previous)
{
    for (uint32_t i = 0; i < writer->block_count && writer->blocks[i].more; i++) {
        if (hf_optime_is_none(&writer->blocks[i].last)) {
            writer->blocks[i].last = *previous;
        }
    }
}

enum hf_err hf_slice_writer_finish(struct hf_slice_writer *writer,
                                   const struct hf_slice_header *header,
                                   const struct hf_slice_index *index, struct hf_buf *out,
                                   struct hf_error *err)
{
    HF_ASSERT(writer->entry_count > 0 && writer->open_bytes == 0 &&
              index->block_count == writer->block_count);
    HF_ASSERT(hf_optime_equal(&header->last, &writer->last) &&
              hf_id_equal(&header->job, &writer->keyring->job));
    place_first_parts(writer, &header->previous);
    struct hf_slice_header whole = *header;
    whole.entry_count = writer->entry_count;
    whole.plain_bytes = writer->plain_bytes;
    whole.hash_before = writer->hash_before;
    whole.hash_after = writer->hash;
    whole.origin = writer->origin;
    whole.blocks = writer->blocks;
    whole.block_count = writer->block_count;
    hf_buf_clear(out);
    if (hf_buf_append(out, hf_buf_bytes(&writer->stored), err) != HF_ERR_OK ||
        append_index(writer, index, &whole, out, err) != HF_ERR_OK ||
        hf_slice_header_encode(&whole, writer->header_hmac, out, err) != HF_ERR_OK) {
        return hf_wrap(err, "oplog slice");
    }
    return HF_ERR_OK;
}
