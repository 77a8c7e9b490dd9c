/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes: HMAC-SHA-256 names a block, SHA-256 a key's origin, XXH3 guards bytes on their way at memory speed, MD5 only
 * where others ask for it: HTTP digest authentication, dbHash; SHA-1 likewise: the hash of a downloaded archive.
 */
#ifndef HF_CODEC_HASH_H
#define HF_CODEC_HASH_H

#include "base/bytes.h"
#include "base/error.h"

#define HF_HASH_BYTES 32

struct hf_hash {
    uint8_t bytes[HF_HASH_BYTES];
};

bool hf_hash_equal(const struct hf_hash *a, const struct hf_hash *b);

/* A prepared HMAC key; one per thread for speed. */
struct hf_hmac;
HF_MUST_CHECK enum hf_err hf_hmac_create(struct hf_bytes key, struct hf_hmac **out,
                                         struct hf_error *err);
void hf_hmac_destroy(struct hf_hmac *hmac);
HF_CLEANUP_DEFINE(hf_hmac_destroy, struct hf_hmac *)
void hf_hmac_sha256(struct hf_hmac *hmac, struct hf_bytes content, struct hf_hash *out);
/* The same over content in pieces. */
void hf_hmac_begin(struct hf_hmac *hmac);
void hf_hmac_update(struct hf_hmac *hmac, struct hf_bytes piece);
void hf_hmac_end(struct hf_hmac *hmac, struct hf_hash *out);

void hf_sha256(struct hf_bytes content, struct hf_hash *out);
/* Incremental SHA-256 for files. After _end it begins anew. */
struct hf_sha256;
HF_MUST_CHECK struct hf_sha256 *hf_sha256_create(void);
void hf_sha256_update(struct hf_sha256 *state, struct hf_bytes piece);
void hf_sha256_end(struct hf_sha256 *state, struct hf_hash *out);
void hf_sha256_destroy(struct hf_sha256 *state);
HF_CLEANUP_DEFINE(hf_sha256_destroy, struct hf_sha256 *)

uint64_t hf_xxh3(struct hf_bytes content);
/* XXH3 (64 bits, seed 0) over pieces. After _end it begins anew. */
struct hf_xxh3;
HF_MUST_CHECK struct hf_xxh3 *hf_xxh3_create(void);
void hf_xxh3_update(struct hf_xxh3 *state, struct hf_bytes piece);
uint64_t hf_xxh3_end(struct hf_xxh3 *state);
void hf_xxh3_destroy(struct hf_xxh3 *state);
HF_CLEANUP_DEFINE(hf_xxh3_destroy, struct hf_xxh3 *)

/* 32 lower-case hexadecimal digits and NUL. */
void hf_md5_hex(struct hf_bytes content, char out[33]);
/* Incremental; after _end it begins anew. */
struct hf_md5;
HF_MUST_CHECK struct hf_md5 *hf_md5_create(void);
void hf_md5_update(struct hf_md5 *state, struct hf_bytes piece);
void hf_md5_end(struct hf_md5 *state, char hex[33]);
void hf_md5_destroy(struct hf_md5 *state);
HF_CLEANUP_DEFINE(hf_md5_destroy, struct hf_md5 *)
/* SHA-1 in pieces, 40 lower-case hexadecimal digits and NUL; after _end it begins anew. */
struct hf_sha1;
HF_MUST_CHECK struct hf_sha1 *hf_sha1_create(void);
void hf_sha1_update(struct hf_sha1 *state, struct hf_bytes piece);
void hf_sha1_end(struct hf_sha1 *state, char hex[41]);
void hf_sha1_destroy(struct hf_sha1 *state);
HF_CLEANUP_DEFINE(hf_sha1_destroy, struct hf_sha1 *)
/* 64 lower-case hexadecimal digits and NUL. */
void hf_sha256_hex(struct hf_bytes content, char out[65]);

#endif
