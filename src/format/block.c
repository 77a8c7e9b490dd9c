/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks: references, and the coder that turns plain bytes into stored ones and back.
 *
 * A pack's key comes from data key, salt and "holdfast pack" with job, capture and pack; the nonce is the ordinal; job,
 * address, lengths and codec are authenticated (docs/format/pack.md). The coder keeps the derived key of the pack it
 * worked on last: blocks of one pack come in a row.
 */
#include "format/block.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/secret.h"
#include "codec/compress.h"

/* Kept plain unless compression gains a twentieth. */
#define MIN_GAIN_DIVISOR 20
#define PACK_INFO "holdfast pack 1"
#define PACK_INFO_BYTES (sizeof PACK_INFO - 1)
#define AAD_BYTES (HF_ID_BYTES + 5 + 3 + 2 + 4 + 4 + 1)

int hf_address_compare(const struct hf_address *a, const struct hf_address *b)
{
    uint64_t left = hf_address_position(a);
    uint64_t right = hf_address_position(b);
    if (left != right) {
        return left < right ? -1 : 1;
    }
    if (a->ordinal != b->ordinal) {
        return a->ordinal < b->ordinal ? -1 : 1;
    }
    return 0;
}

bool hf_address_equal(const struct hf_address *a, const struct hf_address *b)
{
    return hf_address_compare(a, b) == 0;
}

struct hf_address_text hf_address_text(const struct hf_address *address)
{
    struct hf_address_text out;
    (void)snprintf(out.text, sizeof out.text, "%" PRIu64 "/%" PRIu32 "/%" PRIu32, address->capture,
                   address->pack, address->ordinal);
    return out;
}

bool hf_ref_is_zero(const struct hf_ref *ref)
{
    return (ref->flags & (HF_REF_ZERO | HF_REF_HOLE)) != 0;
}

bool hf_ref_equal(const struct hf_ref *a, const struct hf_ref *b)
{
    return a->flags == b->flags && a->stored_bytes == b->stored_bytes &&
           hf_address_equal(&a->address, &b->address) && hf_hash_equal(&a->hash, &b->hash);
}

void hf_ref_encode(const struct hf_ref *ref, uint8_t out[HF_REF_BYTES])
{
    memcpy(out, ref->hash.bytes, HF_HASH_BYTES);
    hf_store_le(out + 32, ref->address.capture, 5);
    hf_store_le(out + 37, ref->address.pack, 3);
    hf_store_le(out + 40, ref->address.ordinal, 2);
    hf_store_le32(out + 42, ref->stored_bytes);
    out[46] = ref->flags;
    out[47] = 0;
}

enum hf_err hf_ref_decode(const uint8_t in[HF_REF_BYTES], struct hf_ref *out, struct hf_error *err)
{
    static const uint8_t nothing[HF_REF_BYTES];
    struct hf_ref ref;
    memcpy(ref.hash.bytes, in, HF_HASH_BYTES);
    ref.address.capture = hf_load_le(in + 32, 5);
    ref.address.pack = (uint32_t)hf_load_le(in + 37, 3);
    ref.address.ordinal = (uint32_t)hf_load_le(in + 40, 2);
    ref.stored_bytes = hf_load_le32(in + 42);
    ref.flags = in[46];
    if (in[47] != 0 || (ref.flags != 0 && ref.flags != HF_REF_ZERO && ref.flags != HF_REF_HOLE)) {
        return hf_fail(err, HF_ERR_CORRUPT, "reference with unknown flags %02x %02x", in[46],
                       in[47]);
    }
    if (ref.flags != 0 ? memcmp(in, nothing, 46) != 0
                       : (ref.address.capture == 0 || ref.stored_bytes == 0)) {
        return hf_fail(err, HF_ERR_CORRUPT, "reference that contradicts itself");
    }
    *out = ref;
    return HF_ERR_OK;
}

struct hf_block_coder {
    const struct hf_keyring *keyring;     /* borrowed: outlives us */
    struct hf_hmac *hmac;                 /* owned */
    struct hf_compressor *compressor;     /* owned */
    struct hf_decompressor *decompressor; /* owned */
    struct hf_aead *aead;                 /* owned; NULL before the first encrypted pack */
    uint8_t *scratch;                     /* owned: compressed, or decrypted */
    size_t scratch_bytes;
    bool keyed; /* aead has the key of the pack `origin` */
    struct hf_pack_origin origin;
};

enum hf_err hf_block_coder_create(const struct hf_block_coder_options *options,
                                  struct hf_block_coder **out, struct hf_error *err)
{
    HF_CLEANUP(hf_block_coder_destroy)
    struct hf_block_coder *coder = hf_alloc_zero(sizeof *coder);
    if (coder == NULL ||
        (coder->compressor = hf_compressor_create(options->level == 0 ? 1 : options->level)) ==
            NULL ||
        (coder->decompressor = hf_decompressor_create()) == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "prepare to code blocks");
    }
    coder->keyring = options->keyring;
    if (hf_hmac_create(hf_bytes_of(options->keyring->hash_key, HF_KEY_BYTES), &coder->hmac, err) !=
        HF_ERR_OK) {
        return hf_wrap(err, "prepare to code blocks");
    }
    *out = HF_TAKE(coder);
    return HF_ERR_OK;
}

void hf_block_coder_destroy(struct hf_block_coder *coder)
{
    if (coder == NULL) {
        return;
    }
    hf_hmac_destroy(coder->hmac);
    hf_compressor_destroy(coder->compressor);
    hf_decompressor_destroy(coder->decompressor);
    hf_aead_destroy(coder->aead);
    hf_free(coder->scratch);
    hf_free(coder);
}

static enum hf_err scratch_room(struct hf_block_coder *coder, size_t len, struct hf_error *err)
{
    if (coder->scratch_bytes >= len) {
        return HF_ERR_OK;
    }
    hf_free(coder->scratch);
    coder->scratch_bytes = 0;
    coder->scratch = hf_alloc(len);
    if (coder->scratch == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "room for a block of %zu bytes", len);
    }
    coder->scratch_bytes = len;
    return HF_ERR_OK;
}

void hf_block_hash(struct hf_block_coder *coder, struct hf_bytes plain, struct hf_hash *out)
{
    hf_hmac_sha256(coder->hmac, plain, out);
}

bool hf_block_is_zero(struct hf_bytes plain)
{
    /* Comparing the bytes with themselves, shifted by one, lets memcmp run at memory speed. */
    return plain.len == 0 ||
           (plain.data[0] == 0 && memcmp(plain.data, plain.data + 1, plain.len - 1) == 0);
}

enum hf_err hf_block_compress(struct hf_block_coder *coder, struct hf_bytes plain,
                              struct hf_block_body *out, struct hf_error *err)
{
    if (plain.len == 0 || plain.len > HF_BLOCK_MAX_BYTES) {
        return hf_fail(err, HF_ERR_LIMIT, "a block of %zu bytes", plain.len);
    }
    size_t bound = hf_compress_bound(plain.len);
    size_t packed = 0;
    if (scratch_room(coder, bound, err) != HF_ERR_OK ||
        hf_compress(coder->compressor, plain, coder->scratch, bound, &packed, err) != HF_ERR_OK) {
        return hf_wrap(err, "compress");
    }
    out->plain_bytes = (uint32_t)plain.len;
    if (packed < plain.len - plain.len / MIN_GAIN_DIVISOR) {
        out->codec = HF_BLOCK_ZSTD;
        out->bytes = hf_bytes_of(coder->scratch, packed);
    } else {
        out->codec = HF_BLOCK_PLAIN;
        out->bytes = plain;
    }
    return HF_ERR_OK;
}

uint32_t hf_block_stored_bytes(const struct hf_block_body *body, uint8_t cipher)
{
    return (uint32_t)body->bytes.len + (cipher == HF_CIPHER_AES256_GCM ? HF_AEAD_TAG_BYTES : 0);
}

static bool same_origin(const struct hf_pack_origin *a, const struct hf_pack_origin *b)
{
    return a->capture == b->capture && a->pack == b->pack && a->key_version == b->key_version &&
           memcmp(a->salt, b->salt, HF_PACK_SALT_BYTES) == 0;
}

static enum hf_err use_pack_key(struct hf_block_coder *coder, const struct hf_pack_origin *origin,
                                struct hf_error *err)
{
    if (coder->keyed && same_origin(&coder->origin, origin)) {
        return HF_ERR_OK;
    }
    const struct hf_data_key *data_key = hf_keyring_data_key(coder->keyring, origin->key_version);
    if (data_key == NULL) {
        return hf_fail(err, HF_ERR_DENIED, "data key %" PRIu32 " of the job is not at hand",
                       origin->key_version);
    }
    uint8_t info[PACK_INFO_BYTES + HF_ID_BYTES + 8];
    memcpy(info, PACK_INFO, PACK_INFO_BYTES);
    memcpy(info + PACK_INFO_BYTES, coder->keyring->job.bytes, HF_ID_BYTES);
    hf_store_le(info + PACK_INFO_BYTES + HF_ID_BYTES, origin->capture, 5);
    hf_store_le(info + PACK_INFO_BYTES + HF_ID_BYTES + 5, origin->pack, 3);
    uint8_t key[HF_AEAD_KEY_BYTES];
    coder->keyed = false;
    enum hf_err code = hf_hkdf_sha256(hf_bytes_of(data_key->key, HF_KEY_BYTES),
                                      hf_bytes_of(origin->salt, HF_PACK_SALT_BYTES),
                                      hf_bytes_of(info, sizeof info), key, sizeof key, err);
    if (code == HF_ERR_OK) {
        code = coder->aead == NULL ? hf_aead_create(key, &coder->aead, err)
                                   : hf_aead_rekey(coder->aead, key, err);
    }
    hf_wipe(key, sizeof key);
    if (code != HF_ERR_OK) {
        return hf_wrap(err, "key of pack %" PRIu64 "/%" PRIu32, origin->capture, origin->pack);
    }
    coder->origin = *origin;
    coder->keyed = true;
    return HF_ERR_OK;
}

static void make_nonce(uint32_t ordinal, uint8_t out[HF_AEAD_NONCE_BYTES])
{
    memset(out, 0, HF_AEAD_NONCE_BYTES);
    hf_store_le32(out, ordinal);
}

static void make_associated(const struct hf_id *job, const struct hf_pack_origin *origin,
                            uint32_t ordinal, uint32_t stored_bytes, uint32_t plain_bytes,
                            uint8_t codec, uint8_t out[AAD_BYTES])
{
    memcpy(out, job->bytes, HF_ID_BYTES);
    hf_store_le(out + 12, origin->capture, 5);
    hf_store_le(out + 17, origin->pack, 3);
    hf_store_le16(out + 20, (uint16_t)ordinal);
    hf_store_le32(out + 22, stored_bytes);
    hf_store_le32(out + 26, plain_bytes);
    out[30] = codec;
}

enum hf_err hf_block_seal(struct hf_block_coder *coder, const struct hf_pack_origin *origin,
                          uint32_t ordinal, const struct hf_block_body *body, uint8_t *out,
                          struct hf_error *err)
{
    HF_ASSERT(ordinal <= HF_ORDINAL_MAX);
    if (origin->cipher == HF_CIPHER_NONE) {
        memcpy(out, body->bytes.data, body->bytes.len);
        return HF_ERR_OK;
    }
    if (use_pack_key(coder, origin, err) != HF_ERR_OK) {
        return err->code;
    }
    uint8_t nonce[HF_AEAD_NONCE_BYTES];
    uint8_t associated[AAD_BYTES];
    make_nonce(ordinal, nonce);
    make_associated(&coder->keyring->job, origin, ordinal,
                    hf_block_stored_bytes(body, origin->cipher), body->plain_bytes, body->codec,
                    associated);
    return hf_aead_seal(coder->aead, nonce, hf_bytes_of(associated, sizeof associated), body->bytes,
                        out, err);
}

/* Bytes before decompression: borrowed from the block, or the coder's scratch. */
static enum hf_err decrypt(struct hf_block_coder *coder, const struct hf_pack_origin *origin,
                           const struct hf_stored_block *block, struct hf_bytes *out,
                           struct hf_error *err)
{
    if (origin->cipher == HF_CIPHER_NONE) {
        *out = block->stored;
        return HF_ERR_OK;
    }
    if (block->stored.len <= HF_AEAD_TAG_BYTES) {
        return hf_fail(err, HF_ERR_CORRUPT, "%zu stored bytes are too few", block->stored.len);
    }
    size_t len = block->stored.len - HF_AEAD_TAG_BYTES;
    if (use_pack_key(coder, origin, err) != HF_ERR_OK ||
        scratch_room(coder, len, err) != HF_ERR_OK) {
        return err->code;
    }
    uint8_t nonce[HF_AEAD_NONCE_BYTES];
    uint8_t associated[AAD_BYTES];
    make_nonce(block->ordinal, nonce);
    make_associated(&coder->keyring->job, origin, block->ordinal, (uint32_t)block->stored.len,
                    block->plain_bytes, block->codec, associated);
    if (hf_aead_open(coder->aead, nonce, hf_bytes_of(associated, sizeof associated), block->stored,
                     coder->scratch, err) != HF_ERR_OK) {
        return hf_wrap(err, "decrypt");
    }
    *out = hf_bytes_of(coder->scratch, len);
    return HF_ERR_OK;
}

enum hf_err hf_block_open(struct hf_block_coder *coder, const struct hf_pack_origin *origin,
                          const struct hf_stored_block *block, const struct hf_hash *hash,
                          uint8_t *out, struct hf_error *err)
{
    if (block->plain_bytes == 0 || block->plain_bytes > HF_BLOCK_MAX_BYTES ||
        block->ordinal > HF_ORDINAL_MAX || block->stored.len == 0 ||
        block->stored.len > (size_t)HF_BLOCK_MAX_BYTES + HF_AEAD_TAG_BYTES) {
        return hf_fail(err, HF_ERR_CORRUPT, "a block of %" PRIu32 " plain, %zu stored bytes",
                       block->plain_bytes, block->stored.len);
    }
    struct hf_bytes body;
    if (decrypt(coder, origin, block, &body, err) != HF_ERR_OK) {
        return err->code;
    }
    if (block->codec == HF_BLOCK_PLAIN) {
        if (body.len != block->plain_bytes) {
            return hf_fail(err, HF_ERR_CORRUPT, "%zu bytes where %" PRIu32 " were written",
                           body.len, block->plain_bytes);
        }
        memcpy(out, body.data, body.len);
    } else if (block->codec == HF_BLOCK_ZSTD) {
        if (hf_decompress(coder->decompressor, body, out, block->plain_bytes, err) != HF_ERR_OK) {
            return hf_wrap(err, "decompress");
        }
    } else {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "unknown codec %u", (unsigned)block->codec);
    }
    if (hash != NULL) {
        struct hf_hash found;
        hf_block_hash(coder, hf_bytes_of(out, block->plain_bytes), &found);
        if (!hf_hash_equal(&found, hash)) {
            return hf_fail(err, HF_ERR_CORRUPT, "content does not match its hash");
        }
    }
    return HF_ERR_OK;
}
