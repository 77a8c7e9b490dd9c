/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header and footer of objects that hold blocks (docs/format/pack.md). A footer is believed only after its checksum,
 * its counts and every place were checked against the object's size.
 */
#include "format/pack_internal.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "codec/hash.h"

#define OBJECT_MAGIC "HFobject"
#define FOOTER_MAGIC "HFfooter"
#define END_MAGIC "HFobjend"
#define MAGIC_BYTES 8
#define OBJECT_VERSION 1
#define KIND_DATA 1
#define KIND_TREE 2

static uint8_t kind_byte(enum hf_object_kind kind)
{
    HF_ASSERT(kind == HF_OBJECT_DATA || kind == HF_OBJECT_TREE);
    return kind == HF_OBJECT_DATA ? KIND_DATA : KIND_TREE;
}

void hf_object_header_encode(enum hf_object_kind kind, const struct hf_id *job,
                             uint8_t out[HF_OBJECT_HEADER_BYTES])
{
    memcpy(out, OBJECT_MAGIC, MAGIC_BYTES);
    hf_store_le16(out + 8, OBJECT_VERSION);
    out[10] = kind_byte(kind);
    out[11] = 0;
    memcpy(out + 12, job->bytes, HF_ID_BYTES);
    hf_store_le64(out + 24, hf_xxh3(hf_bytes_of(out, 24)));
}

enum hf_err hf_object_check_header(struct hf_bytes object, const struct hf_id *job,
                                   struct hf_error *err)
{
    if (object.len < HF_OBJECT_HEADER_BYTES ||
        memcmp(object.data, OBJECT_MAGIC, MAGIC_BYTES) != 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "not an object with blocks");
    }
    if (hf_load_le64(object.data + 24) != hf_xxh3(hf_bytes_of(object.data, 24))) {
        return hf_fail(err, HF_ERR_CORRUPT, "header: checksum does not match");
    }
    unsigned version = hf_load_le16(object.data + 8);
    if (version != OBJECT_VERSION) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "object of format version %u, this program reads version %d", version,
                       OBJECT_VERSION);
    }
    if (memcmp(object.data + 12, job->bytes, HF_ID_BYTES) != 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "header: object of another job"); /* keeps I9 */
    }
    return HF_ERR_OK;
}

size_t hf_footer_encoded_bytes(uint32_t run_count, uint32_t block_count)
{
    return HF_FOOTER_HEADER_BYTES + (size_t)run_count * HF_FOOTER_RUN_BYTES +
           (size_t)block_count * HF_FOOTER_BLOCK_BYTES + HF_OBJECT_TRAILER_BYTES;
}

void hf_footer_encode(const struct hf_footer_parts *parts, uint8_t *out)
{
    uint8_t *at = out;
    memcpy(at, FOOTER_MAGIC, MAGIC_BYTES);
    hf_store_le16(at + 8, OBJECT_VERSION);
    at[10] = kind_byte(parts->kind);
    at[11] = 0;
    memcpy(at + 12, parts->job->bytes, HF_ID_BYTES);
    hf_store_le32(at + 24, parts->run_count);
    hf_store_le32(at + 28, parts->block_count);
    at += HF_FOOTER_HEADER_BYTES;
    for (uint32_t i = 0; i < parts->run_count; i++) {
        const struct hf_pack_origin *run = &parts->runs[i];
        hf_store_le(at, run->capture, 5);
        hf_store_le(at + 5, run->pack, 3);
        hf_store_le32(at + 8, run->key_version);
        hf_store_le32(at + 12, run->cipher);
        memcpy(at + 16, run->salt, HF_PACK_SALT_BYTES);
        at += HF_FOOTER_RUN_BYTES;
    }
    for (uint32_t i = 0; i < parts->block_count; i++) {
        const struct hf_footer_block *block = &parts->blocks[i];
        hf_store_le32(at, block->run);
        hf_store_le16(at + 4, (uint16_t)block->address.ordinal);
        at[6] = block->codec;
        at[7] = 0;
        hf_store_le32(at + 8, block->place);
        hf_store_le32(at + 12, block->stored_bytes);
        hf_store_le32(at + 16, block->plain_bytes);
        hf_store_le64(at + 20, block->checksum);
        at += HF_FOOTER_BLOCK_BYTES;
    }
    /* The checksum covers the length behind the footer too. */
    hf_store_le32(at, (uint32_t)(at - out));
    hf_store_le32(at + 4, 0);
    hf_store_le64(at + 8, hf_xxh3(hf_bytes_of(out, (size_t)(at - out) + 8)));
    memcpy(at + 16, END_MAGIC, MAGIC_BYTES);
}

void hf_footer_fini(struct hf_footer *footer)
{
    hf_free(footer->runs);
    hf_free(footer->blocks);
    footer->runs = NULL;
    footer->blocks = NULL;
}

static enum hf_err decode_run(const uint8_t *at, struct hf_pack_origin *out, struct hf_error *err)
{
    out->capture = hf_load_le(at, 5);
    out->pack = (uint32_t)hf_load_le(at + 5, 3);
    out->key_version = hf_load_le32(at + 8);
    uint32_t cipher = hf_load_le32(at + 12);
    memcpy(out->salt, at + 16, HF_PACK_SALT_BYTES);
    if (cipher != HF_CIPHER_NONE && cipher != HF_CIPHER_AES256_GCM) {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "footer: unknown cipher %" PRIu32, cipher);
    }
    out->cipher = (uint8_t)cipher;
    if (out->capture == 0 || (cipher == HF_CIPHER_NONE) != (out->key_version == 0)) {
        return hf_fail(err, HF_ERR_CORRUPT, "footer: a run that contradicts itself");
    }
    return HF_ERR_OK;
}

static enum hf_err decode_block(const uint8_t *at, const struct hf_footer *footer,
                                struct hf_footer_block *out, struct hf_error *err)
{
    uint32_t run = hf_load_le32(at);
    if (run >= footer->run_count) {
        return hf_fail(err, HF_ERR_CORRUPT, "footer: block of run %" PRIu32 " of %" PRIu32, run,
                       footer->run_count);
    }
    out->run = run;
    out->address.capture = footer->runs[run].capture;
    out->address.pack = footer->runs[run].pack;
    out->address.ordinal = hf_load_le16(at + 4);
    out->codec = at[6];
    out->place = hf_load_le32(at + 8);
    out->stored_bytes = hf_load_le32(at + 12);
    out->plain_bytes = hf_load_le32(at + 16);
    out->checksum = hf_load_le64(at + 20);
    if (at[7] != 0 || out->codec > HF_BLOCK_ZSTD) {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "footer: block %s with unknown codec %u",
                       hf_address_text(&out->address).text, (unsigned)out->codec);
    }
    uint64_t end = (uint64_t)out->place + out->stored_bytes;
    if (out->place < HF_OBJECT_HEADER_BYTES || end > footer->object_bytes - footer->footer_bytes ||
        out->stored_bytes == 0 || out->plain_bytes == 0 || out->plain_bytes > HF_BLOCK_MAX_BYTES ||
        out->stored_bytes > HF_BLOCK_MAX_BYTES + HF_AEAD_TAG_BYTES) {
        return hf_fail(err, HF_ERR_CORRUPT, "footer: block %s lies at %" PRIu32 " to %" PRIu64,
                       hf_address_text(&out->address).text, out->place, end);
    }
    return HF_ERR_OK;
}

static enum hf_err decode_tables(const uint8_t *footer_start, struct hf_footer *footer,
                                 struct hf_error *err)
{
    footer->runs = hf_alloc_array(footer->run_count, sizeof *footer->runs);
    footer->blocks = hf_alloc_array(footer->block_count, sizeof *footer->blocks);
    if (footer->runs == NULL || footer->blocks == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "footer of %" PRIu32 " blocks", footer->block_count);
    }
    const uint8_t *at = footer_start + HF_FOOTER_HEADER_BYTES;
    for (uint32_t i = 0; i < footer->run_count; i++, at += HF_FOOTER_RUN_BYTES) {
        if (decode_run(at, &footer->runs[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    for (uint32_t i = 0; i < footer->block_count; i++, at += HF_FOOTER_BLOCK_BYTES) {
        if (decode_block(at, footer, &footer->blocks[i], err) != HF_ERR_OK) {
            return err->code;
        }
        if (i > 0 &&
            hf_address_compare(&footer->blocks[i - 1].address, &footer->blocks[i].address) > 0) {
            return hf_fail(err, HF_ERR_CORRUPT, "footer: blocks are out of order");
        }
    }
    return HF_ERR_OK;
}

/* Checks magic, length and checksum of the trailer; *len gets the footer's length without it. */
static enum hf_err decode_trailer(struct hf_bytes tail, uint64_t object_bytes, size_t *len,
                                  struct hf_error *err)
{
    if (tail.len < HF_OBJECT_TRAILER_BYTES || tail.len > object_bytes ||
        memcmp(tail.data + tail.len - MAGIC_BYTES, END_MAGIC, MAGIC_BYTES) != 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "the object does not end in a footer");
    }
    const uint8_t *trailer = tail.data + tail.len - HF_OBJECT_TRAILER_BYTES;
    size_t footer_len = hf_load_le32(trailer);
    if (footer_len < HF_FOOTER_HEADER_BYTES || hf_load_le32(trailer + 4) != 0 ||
        footer_len > hf_footer_encoded_bytes(HF_OBJECT_RUNS_MAX, HF_OBJECT_BLOCKS_MAX) ||
        footer_len + HF_OBJECT_TRAILER_BYTES + HF_OBJECT_HEADER_BYTES > object_bytes) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "a footer of %zu bytes in an object of %" PRIu64 " bytes", footer_len,
                       object_bytes);
    }
    *len = footer_len;
    return HF_ERR_OK;
}

enum hf_err hf_footer_decode(struct hf_bytes tail, uint64_t object_bytes, uint64_t *need,
                             struct hf_footer *out, struct hf_error *err)
{
    size_t len = 0;
    *need = 0;
    if (decode_trailer(tail, object_bytes, &len, err) != HF_ERR_OK) {
        return err->code;
    }
    size_t whole = len + HF_OBJECT_TRAILER_BYTES;
    if (tail.len < whole) {
        *need = whole;
        return HF_ERR_OK;
    }
    const uint8_t *start = tail.data + tail.len - whole;
    const uint8_t *trailer = start + len;
    if (hf_load_le64(trailer + 8) != hf_xxh3(hf_bytes_of(start, len + 8)) ||
        memcmp(start, FOOTER_MAGIC, MAGIC_BYTES) != 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "footer: checksum does not match");
    }
    unsigned version = hf_load_le16(start + 8);
    if (version != OBJECT_VERSION) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "footer of format version %u, this program reads version %d", version,
                       OBJECT_VERSION);
    }
    HF_CLEANUP(hf_footer_fini)
    struct hf_footer footer = {
        .object_bytes = object_bytes,
        .footer_bytes = whole,
        .kind = start[10] == KIND_DATA ? HF_OBJECT_DATA : HF_OBJECT_TREE,
        .run_count = hf_load_le32(start + 24),
        .block_count = hf_load_le32(start + 28),
    };
    memcpy(footer.job.bytes, start + 12, HF_ID_BYTES);
    if ((start[10] != KIND_DATA && start[10] != KIND_TREE) || start[11] != 0 ||
        footer.run_count > HF_OBJECT_RUNS_MAX || footer.block_count > HF_OBJECT_BLOCKS_MAX ||
        hf_footer_encoded_bytes(footer.run_count, footer.block_count) != whole) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "footer: %" PRIu32 " runs and %" PRIu32 " blocks in %zu bytes",
                       footer.run_count, footer.block_count, len);
    }
    if (decode_tables(start, &footer, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = footer;
    footer.runs = NULL;
    footer.blocks = NULL;
    return HF_ERR_OK;
}

const struct hf_footer_block *hf_footer_find(const struct hf_footer *footer,
                                             const struct hf_address *address)
{
    uint32_t low = 0;
    uint32_t high = footer->block_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (hf_address_compare(&footer->blocks[middle].address, address) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == footer->block_count || !hf_address_equal(&footer->blocks[low].address, address)) {
        return NULL;
    }
    return &footer->blocks[low];
}

size_t hf_footer_memory(const struct hf_footer *footer)
{
    return sizeof *footer + footer->run_count * sizeof *footer->runs +
           footer->block_count * sizeof *footer->blocks;
}

enum hf_err hf_footer_check_name(const struct hf_footer *footer, const struct hf_object_name *name,
                                 struct hf_error *err)
{
    if (!hf_id_equal(&footer->job, &name->job) || footer->kind != name->kind) {
        return hf_fail(err, HF_ERR_CORRUPT, "footer: job or kind is not the name's");
    }
    return HF_ERR_OK;
}

/* ---- What an agent puts ---- */

/* Two packs at most: a small capture's blocks and its tree. */
#define PUT_RUNS_MAX 2
#define PUT_BLOCKS_MAX (PUT_RUNS_MAX * HF_PACK_BLOCKS_MAX)

static enum hf_err check_put_blocks(const struct hf_footer *footer,
                                    const struct hf_object_name *name, struct hf_error *err)
{
    uint64_t room = footer->object_bytes - footer->footer_bytes - HF_OBJECT_HEADER_BYTES;
    uint64_t stored = 0;

    if (footer->block_count == 0) {
        return hf_fail(err, HF_ERR_INVALID, "footer: no blocks");
    }
    for (uint32_t i = 0; i < footer->run_count; i++) {
        uint64_t position = hf_position(footer->runs[i].capture, footer->runs[i].pack);
        if (position < name->first || position > name->last) {
            return hf_fail(err, HF_ERR_INVALID,
                           "footer: blocks of capture %" PRIu64 ", pack %" PRIu32
                           ", which the name does not cover",
                           footer->runs[i].capture, footer->runs[i].pack);
        }
    }
    for (uint32_t i = 0; i < footer->block_count; i++) {
        const struct hf_footer_block *block = &footer->blocks[i];
        if (i > 0 && hf_address_equal(&footer->blocks[i - 1].address, &block->address)) {
            return hf_fail(err, HF_ERR_INVALID, "footer: block %s stands there twice",
                           hf_address_text(&block->address).text);
        }
        stored += block->stored_bytes;
    }
    /* Grooming copies each block by itself: shared bytes would become many. */
    if (stored > room) {
        return hf_fail(err, HF_ERR_INVALID,
                       "footer: blocks of %" PRIu64 " bytes in an object with room for %" PRIu64,
                       stored, room);
    }
    return HF_ERR_OK;
}

enum hf_err hf_object_check_put(struct hf_bytes object, const struct hf_object_name *name,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_footer_fini) struct hf_footer footer = {.runs = NULL};
    uint64_t need = 0;
    size_t len = 0;

    enum hf_err code = hf_object_check_header(object, &name->job, err);
    if (code == HF_ERR_OK) {
        code = decode_trailer(object, object.len, &len, err);
    }
    if (code == HF_ERR_OK &&
        len + HF_OBJECT_TRAILER_BYTES > hf_footer_encoded_bytes(PUT_RUNS_MAX, PUT_BLOCKS_MAX)) {
        code = hf_fail(err, HF_ERR_INVALID, "a footer of %zu bytes for one or two packs", len);
    }
    if (code == HF_ERR_OK) {
        code = hf_footer_decode(object, object.len, &need, &footer, err);
    }
    if (code == HF_ERR_OK) {
        code = hf_footer_check_name(&footer, name, err);
    }
    if (code == HF_ERR_OK) {
        code = check_put_blocks(&footer, name, err);
    }
    if (code == HF_ERR_CORRUPT) {
        err->code = HF_ERR_INVALID; /* nothing is damaged here: it came so */
    }
    return code == HF_ERR_OK ? code : hf_wrap(err, "%s", hf_object_name_text(name).text);
}
