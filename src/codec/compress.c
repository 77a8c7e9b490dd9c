/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zstd frames in one piece, with contexts that are kept: making one costs more than compressing a block. Frames
 * carry their content's size and no checksum, because every block is proved by its hash.
 *
 * What a database has compressed already (pages of WiredTiger under snappy) has few matches left; a table of matches that
 * fits the nearest cache finds nearly as many of them in two thirds of the time. Such content comes in a row: the block
 * before says what the next one is. Measured in docs/design/performance.md.
 */
#include "codec/compress.h"

#include <zstd.h>
#include <zstd_errors.h>

#include "base/alloc.h"

/* Content that keeps more than three fifths is taken for compressed already. */
#define DENSE_NUMERATOR 3
#define DENSE_DENOMINATOR 5
#define DENSE_HASH_LOG 12
#define DENSE_MIN_BYTES ((size_t)64 << 10) /* zstd's own table is no larger for less */

struct hf_compressor {
    ZSTD_CCtx *context; /* owned */
    bool learns;        /* who asks for a higher level wants size, not speed */
    bool dense;         /* the table is set for content that is compressed already */
};

struct hf_decompressor {
    ZSTD_DCtx *context; /* owned */
};

struct hf_compressor *hf_compressor_create(int level)
{
    HF_CLEANUP(hf_compressor_destroy)
    struct hf_compressor *compressor = hf_alloc_zero(sizeof *compressor);
    if (compressor == NULL || (compressor->context = ZSTD_createCCtx()) == NULL) {
        return NULL;
    }
    /* A level beyond the library's range is taken as its nearest. */
    if (ZSTD_isError(ZSTD_CCtx_setParameter(compressor->context, ZSTD_c_compressionLevel, level))) {
        return NULL;
    }
    compressor->learns = level == 1 || level < 0; /* 0 is the library's own choice, a higher one */
    return HF_TAKE(compressor);
}

void hf_compressor_destroy(struct hf_compressor *compressor)
{
    if (compressor != NULL) {
        (void)ZSTD_freeCCtx(compressor->context);
        hf_free(compressor);
    }
}

size_t hf_compress_bound(size_t len)
{
    return ZSTD_compressBound(len);
}

/* Sets the table for the next block by what became of this one. */
static void learn(struct hf_compressor *compressor, size_t plain_len, size_t packed_len)
{
    bool dense = packed_len / DENSE_NUMERATOR > plain_len / DENSE_DENOMINATOR;
    if (!compressor->learns || plain_len < DENSE_MIN_BYTES || dense == compressor->dense) {
        return;
    }
    /* 0 is the level's own. A refusal leaves the table as it is, which costs speed or size and nothing else. */
    if (!ZSTD_isError(ZSTD_CCtx_setParameter(compressor->context, ZSTD_c_hashLog,
                                             dense ? DENSE_HASH_LOG : 0))) {
        compressor->dense = dense;
    }
}

enum hf_err hf_compress(struct hf_compressor *compressor, struct hf_bytes in, uint8_t *out,
                        size_t capacity, size_t *out_len, struct hf_error *err)
{
    size_t len = ZSTD_compress2(compressor->context, out, capacity, in.data, in.len);
    if (ZSTD_isError(len)) {
        ZSTD_ErrorCode cause = ZSTD_getErrorCode(len);
        if (cause == ZSTD_error_dstSize_tooSmall) {
            return hf_fail(err, HF_ERR_LIMIT, "compress: %zu bytes do not fit %zu", in.len,
                           capacity);
        }
        if (cause == ZSTD_error_memory_allocation) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "compress: no memory for %zu bytes", in.len);
        }
        return hf_fail(err, HF_ERR_INTERNAL, "compress: %s", ZSTD_getErrorName(len));
    }
    learn(compressor, in.len, len);
    *out_len = len;
    return HF_ERR_OK;
}

struct hf_decompressor *hf_decompressor_create(void)
{
    HF_CLEANUP(hf_decompressor_destroy)
    struct hf_decompressor *decompressor = hf_alloc_zero(sizeof *decompressor);
    if (decompressor == NULL || (decompressor->context = ZSTD_createDCtx()) == NULL) {
        return NULL;
    }
    return HF_TAKE(decompressor);
}

void hf_decompressor_destroy(struct hf_decompressor *decompressor)
{
    if (decompressor != NULL) {
        (void)ZSTD_freeDCtx(decompressor->context);
        hf_free(decompressor);
    }
}

enum hf_err hf_decompress(struct hf_decompressor *decompressor, struct hf_bytes in, uint8_t *out,
                          size_t expected, struct hf_error *err)
{
    size_t len = ZSTD_decompressDCtx(decompressor->context, out, expected, in.data, in.len);
    if (ZSTD_isError(len)) {
        if (ZSTD_getErrorCode(len) == ZSTD_error_memory_allocation) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "decompress: no memory for %zu bytes", expected);
        }
        return hf_fail(err, HF_ERR_CORRUPT, "decompress: %s", ZSTD_getErrorName(len));
    }
    if (len != expected) {
        return hf_fail(err, HF_ERR_CORRUPT, "decompress: %zu bytes instead of %zu", len, expected);
    }
    return HF_ERR_OK;
}
