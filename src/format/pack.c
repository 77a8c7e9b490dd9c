/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pack writer: one buffer for one object, filled by several threads at once. A place is reserved in turn, the
 * encryption into it runs beside others.
 */
#include "format/pack_internal.h"

#include "base/alloc.h"
#include "base/secret.h"

struct hf_pack_writer {
    const struct hf_keyring *keyring; /* borrowed: outlives us */
    size_t target_bytes;
    uint8_t *buffer; /* owned; header, blocks, footer */
    size_t capacity;
    struct hf_footer_block *blocks; /* owned; HF_PACK_BLOCKS_MAX, by ordinal */
    uint32_t count;
    size_t len; /* header and blocks */
    enum hf_object_kind kind;
    struct hf_pack_origin origin;
};

enum hf_err hf_pack_writer_create(const struct hf_pack_writer_options *options,
                                  struct hf_pack_writer **out, struct hf_error *err)
{
    HF_CLEANUP(hf_pack_writer_destroy)
    struct hf_pack_writer *writer = hf_alloc_zero(sizeof *writer);
    if (writer == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "pack writer");
    }
    writer->keyring = options->keyring;
    writer->target_bytes =
        options->target_bytes == 0 ? HF_PACK_TARGET_BYTES : options->target_bytes;
    HF_ASSERT(writer->target_bytes <= HF_PACK_TARGET_BYTES);
    /* Untouched memory costs nothing: both are sized for the largest pack at once. */
    writer->capacity = HF_OBJECT_HEADER_BYTES + HF_BLOCK_MAX_BYTES + HF_AEAD_TAG_BYTES +
                       hf_footer_encoded_bytes(1, HF_PACK_BLOCKS_MAX);
    writer->buffer = hf_alloc_pages(writer->capacity);
    writer->blocks = hf_alloc_array(HF_PACK_BLOCKS_MAX, sizeof *writer->blocks);
    if (writer->buffer == NULL || writer->blocks == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "pack writer of %zu bytes", writer->capacity);
    }
    *out = HF_TAKE(writer);
    return HF_ERR_OK;
}

void hf_pack_writer_destroy(struct hf_pack_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    hf_free(writer->buffer);
    hf_free(writer->blocks);
    hf_free(writer);
}

enum hf_err hf_pack_writer_begin(struct hf_pack_writer *writer, const struct hf_pack_begin *begin,
                                 struct hf_error *err)
{
    const struct hf_data_key *key = hf_keyring_newest(writer->keyring);
    if (begin->capture == 0 || begin->capture > HF_CAPTURE_MAX || begin->pack > HF_PACK_MAX) {
        return hf_fail(err, HF_ERR_LIMIT, "a capture has at most %u packs", HF_PACK_MAX + 1);
    }
    if (writer->keyring->encrypted && key == NULL) {
        return hf_fail(err, HF_ERR_DENIED, "the job is encrypted and no data key is at hand");
    }
    writer->kind = begin->kind;
    writer->count = 0;
    writer->len = HF_OBJECT_HEADER_BYTES;
    writer->origin.capture = begin->capture;
    writer->origin.pack = begin->pack;
    writer->origin.key_version = key == NULL ? 0 : key->version;
    writer->origin.cipher = key == NULL ? HF_CIPHER_NONE : HF_CIPHER_AES256_GCM;
    memcpy(writer->origin.salt, begin->salt, HF_PACK_SALT_BYTES);
    hf_object_header_encode(begin->kind, &writer->keyring->job, writer->buffer);
    return HF_ERR_OK;
}

bool hf_pack_writer_reserve(struct hf_pack_writer *writer, const struct hf_block_body *body,
                            struct hf_pack_slot *out)
{
    uint32_t stored = hf_block_stored_bytes(body, writer->origin.cipher);
    HF_ASSERT(stored <= HF_BLOCK_MAX_BYTES + HF_AEAD_TAG_BYTES);
    if (writer->count > 0 &&
        (writer->count == HF_PACK_BLOCKS_MAX ||
         writer->len - HF_OBJECT_HEADER_BYTES + stored > writer->target_bytes)) {
        return false;
    }
    out->ordinal = writer->count;
    out->place = (uint32_t)writer->len;
    out->stored_bytes = stored;
    writer->blocks[out->ordinal] = (struct hf_footer_block){
        .address = {.capture = writer->origin.capture,
                    .pack = writer->origin.pack,
                    .ordinal = out->ordinal},
        .place = out->place,
        .stored_bytes = stored,
        .plain_bytes = body->plain_bytes,
        .codec = body->codec,
    };
    writer->count++;
    writer->len += stored;
    return true;
}

enum hf_err hf_pack_writer_fill(struct hf_pack_writer *writer, const struct hf_pack_slot *slot,
                                struct hf_block_coder *coder, const struct hf_block_body *body,
                                struct hf_error *err)
{
    uint8_t *to = writer->buffer + slot->place;
    if (hf_block_seal(coder, &writer->origin, slot->ordinal, body, to, err) != HF_ERR_OK) {
        return err->code;
    }
    writer->blocks[slot->ordinal].checksum = hf_xxh3(hf_bytes_of(to, slot->stored_bytes));
    return HF_ERR_OK;
}

uint32_t hf_pack_writer_count(const struct hf_pack_writer *writer)
{
    return writer->count;
}

size_t hf_pack_writer_bytes(const struct hf_pack_writer *writer)
{
    return writer->len - HF_OBJECT_HEADER_BYTES;
}

enum hf_err hf_pack_writer_finish(struct hf_pack_writer *writer, struct hf_bytes *object,
                                  struct hf_error *err)
{
    size_t footer_bytes = hf_footer_encoded_bytes(1, writer->count);
    if (writer->count == 0 || footer_bytes > writer->capacity - writer->len) {
        return hf_fail(err, HF_ERR_INTERNAL, "a pack of %u blocks and %zu bytes cannot be closed",
                       writer->count, writer->len);
    }
    struct hf_footer_parts parts = {
        .kind = writer->kind,
        .job = &writer->keyring->job,
        .runs = &writer->origin,
        .run_count = 1,
        .blocks = writer->blocks,
        .block_count = writer->count,
    };
    hf_footer_encode(&parts, writer->buffer + writer->len);
    *object = hf_bytes_of(writer->buffer, writer->len + footer_bytes);
    return HF_ERR_OK;
}
