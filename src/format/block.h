/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks: address, reference, and the way from plain bytes to stored bytes and back
 * (store-format.md 2 and 9).
 *
 * plain -> zstd (kept plain when that gains under 5 %) -> AES-256-GCM with the pack's key -> stored
 * bytes. Knows nothing of files or stores.
 */
#ifndef HF_FORMAT_BLOCK_H
#define HF_FORMAT_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "codec/aead.h"
#include "codec/hash.h"
#include "format/ids.h"
#include "format/keyring.h"

#define HF_BLOCK_MIN_BYTES                                                                         \
    ((uint32_t)4096) /* the smallest block size a file may have (tests, tiny files) */
#define HF_BLOCK_MAX_BYTES ((uint32_t)16 << 20)

/* Who wrote a block; valid for ever and in every store (keeps I2). */
struct hf_address {
    uint64_t capture;
    uint32_t pack;
    uint32_t ordinal;
};
int hf_address_compare(const struct hf_address *a, const struct hf_address *b);
bool hf_address_equal(const struct hf_address *a, const struct hf_address *b);
static inline uint64_t hf_address_position(const struct hf_address *address)
{
    return hf_position(address->capture, address->pack);
}
/* "17/3/12": capture, pack, ordinal, for messages. */
struct hf_address_text {
    char text[48];
};
struct hf_address_text hf_address_text(const struct hf_address *address);

enum hf_ref_flag {
    HF_REF_ZERO =
        1, /* all bytes are zero; no hash, no address. On a node's reference: the whole sub-tree */
    HF_REF_HOLE = 2, /* as ZERO, and the source had no bytes there */
};

#define HF_REF_BYTES 48
/* How a tree names a block. With a flag set, hash, address and stored_bytes are zero. */
struct hf_ref {
    struct hf_hash hash;
    struct hf_address address;
    uint32_t stored_bytes; /* as it was written; the footer says what lies there now */
    uint8_t flags;
};
bool hf_ref_is_zero(const struct hf_ref *ref); /* ZERO or HOLE */
bool hf_ref_equal(const struct hf_ref *a, const struct hf_ref *b);
void hf_ref_encode(const struct hf_ref *ref, uint8_t out[HF_REF_BYTES]);
HF_MUST_CHECK enum hf_err hf_ref_decode(const uint8_t in[HF_REF_BYTES], struct hf_ref *out,
                                        struct hf_error *err);

enum hf_block_codec { HF_BLOCK_PLAIN = 0, HF_BLOCK_ZSTD = 1 };
enum hf_block_cipher { HF_CIPHER_NONE = 0, HF_CIPHER_AES256_GCM = 1 };

#define HF_PACK_SALT_BYTES 32
/* What a pack's blocks have in common. */
struct hf_pack_origin {
    uint64_t capture;
    uint32_t pack;
    uint32_t key_version; /* 0 without encryption */
    uint8_t cipher;       /* enum hf_block_cipher */
    uint8_t salt[HF_PACK_SALT_BYTES];
};

/* Everything a thread needs to code blocks of one job: hasher, compressor, cipher, scratch. One
 * thread at a time. */
struct hf_block_coder;
struct hf_block_coder_options {
    const struct hf_keyring *keyring; /* borrowed: outlives the coder */
    int level;                        /* zstd's; 0 means the product's default, 1 */
};
HF_MUST_CHECK enum hf_err hf_block_coder_create(const struct hf_block_coder_options *options,
                                                struct hf_block_coder **out, struct hf_error *err);
void hf_block_coder_destroy(struct hf_block_coder *coder);
HF_CLEANUP_DEFINE(hf_block_coder_destroy, struct hf_block_coder *)

void hf_block_hash(struct hf_block_coder *coder, struct hf_bytes plain, struct hf_hash *out);
/* True when every byte is zero. */
bool hf_block_is_zero(struct hf_bytes plain);

/* A block on its way into a pack. */
struct hf_block_body {
    struct hf_bytes bytes; /* borrowed: plain itself, or the coder's scratch until its next call */
    uint32_t plain_bytes;
    uint8_t codec; /* enum hf_block_codec */
};
HF_MUST_CHECK enum hf_err hf_block_compress(struct hf_block_coder *coder, struct hf_bytes plain,
                                            struct hf_block_body *out, struct hf_error *err);
/* Bytes that a body takes once stored. */
uint32_t hf_block_stored_bytes(const struct hf_block_body *body, uint8_t cipher);

/* Encrypts (or copies) the body to out, which holds hf_block_stored_bytes. The coder keeps the last
 * pack's key. */
HF_MUST_CHECK enum hf_err hf_block_seal(struct hf_block_coder *coder,
                                        const struct hf_pack_origin *origin, uint32_t ordinal,
                                        const struct hf_block_body *body, uint8_t *out,
                                        struct hf_error *err);

/* A stored block, as a footer describes it. */
struct hf_stored_block {
    uint32_t ordinal;
    uint32_t plain_bytes;
    uint8_t codec;
    struct hf_bytes stored;
};
/* out holds plain_bytes. CORRUPT when it does not decrypt or decompress; DENIED when the key is not
 * in the ring. The content is proved only by hf_block_hash against the reference: hf_block_open
 * does both when hash is not NULL. */
HF_MUST_CHECK enum hf_err hf_block_open(struct hf_block_coder *coder,
                                        const struct hf_pack_origin *origin,
                                        const struct hf_stored_block *block,
                                        const struct hf_hash *hash, uint8_t *out,
                                        struct hf_error *err);

#endif
