/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests only: oplog entries made by hand, and the recorded ones.
 */
#ifndef HF_TESTS_OPLOG_KIT_H
#define HF_TESTS_OPLOG_KIT_H

#include "support/format_kit.h"

#include "codec/compress.h"
#include "format/slice.h"
#include "oplog/entry.h"
#include "oplog/slicer.h"

/* ---- BSON ---- */

/* Returns where the document begins; end it with bson_end. */
static inline size_t bson_begin(struct hf_buf *out)
{
    struct hf_error err;
    size_t start = out->len;
    EXPECT_OK(hf_buf_append_le(out, 0, 4, &err), &err);
    return start;
}

static inline void bson_end(struct hf_buf *out, size_t start)
{
    struct hf_error err;
    EXPECT_OK(hf_buf_append_le(out, 0, 1, &err), &err);
    hf_store_le32(out->data + start, (uint32_t)(out->len - start));
}

static inline void bson_key(struct hf_buf *out, uint8_t type, const char *key)
{
    struct hf_error err;
    EXPECT_OK(hf_buf_append_le(out, type, 1, &err), &err);
    EXPECT_OK(hf_buf_append(out, hf_bytes_of(key, strlen(key) + 1), &err), &err);
}

static inline void bson_text(struct hf_buf *out, const char *key, const char *text)
{
    struct hf_error err;
    bson_key(out, HF_BSON_STRING, key);
    EXPECT_OK(hf_buf_append_blob(out, hf_bytes_of(text, strlen(text) + 1), &err), &err);
}

static inline void bson_int64(struct hf_buf *out, const char *key, int64_t value)
{
    struct hf_error err;
    bson_key(out, HF_BSON_INT64, key);
    EXPECT_OK(hf_buf_append_le(out, (uint64_t)value, 8, &err), &err);
}

static inline void bson_bool(struct hf_buf *out, const char *key, bool value)
{
    struct hf_error err;
    bson_key(out, HF_BSON_BOOL, key);
    EXPECT_OK(hf_buf_append_le(out, value ? 1 : 0, 1, &err), &err);
}

static inline void bson_timestamp(struct hf_buf *out, const char *key, uint32_t seconds,
                                  uint32_t increment)
{
    struct hf_error err;
    bson_key(out, HF_BSON_TIMESTAMP, key);
    EXPECT_OK(hf_buf_append_le(out, (uint64_t)seconds << 32 | increment, 8, &err), &err);
}

static inline size_t bson_nested(struct hf_buf *out, uint8_t type, const char *key)
{
    bson_key(out, type, key);
    return bson_begin(out);
}

/* ---- Entries ---- */

struct made_entry {
    struct hf_optime optime; /* term -1: no t */
    const char *op, *ns;
    int64_t id;          /* of the document */
    size_t pad_bytes;    /* of text in the document */
    uint64_t pad_seed;   /* text differs by it */
    const char *command; /* name in o, with the value command_value */
    const char *command_value;
};

/* Appends one entry. */
static inline void make_entry(const struct made_entry *made, struct hf_buf *out)
{
    struct hf_error err;
    size_t start = bson_begin(out);
    bson_text(out, "op", made->op);
    bson_text(out, "ns", made->ns);
    size_t o = bson_nested(out, HF_BSON_DOCUMENT, "o");
    if (made->command != NULL) {
        bson_text(out, made->command, made->command_value);
    } else if (made->op[0] != 'n') {
        bson_int64(out, "_id", made->id);
    }
    if (made->pad_bytes > 0) {
        HF_CLEANUP(hf_free) uint8_t *pad = hf_alloc(made->pad_bytes + 1);
        assert_non_null(pad);
        fill_block(pad, made->pad_bytes, 1, made->pad_seed);
        bson_key(out, HF_BSON_BINARY, "pad");
        EXPECT_OK(hf_buf_append_le(out, made->pad_bytes, 4, &err), &err);
        EXPECT_OK(hf_buf_append_le(out, 0, 1, &err), &err);
        EXPECT_OK(hf_buf_append(out, hf_bytes_of(pad, made->pad_bytes), &err), &err);
    }
    bson_end(out, o);
    if (made->op[0] == 'u') {
        size_t o2 = bson_nested(out, HF_BSON_DOCUMENT, "o2");
        bson_int64(out, "_id", made->id);
        bson_end(out, o2);
    }
    bson_timestamp(out, "ts", made->optime.seconds, made->optime.increment);
    if (made->optime.term >= 0) {
        bson_int64(out, "t", made->optime.term);
    }
    bson_int64(out, "v", 2);
    bson_end(out, start);
}

/* ---- The recorded oplog ---- */

#define RECORDED_BYTES ((size_t)6844024)
#define RECORDED_ENTRIES 11765

/* All bytes; free with hf_free. */
static inline uint8_t *recorded_oplog(void)
{
    struct hf_error err;
    const char *fixtures = getenv("HF_TEST_FIXTURES");
    assert_non_null(fixtures);
    HF_CLEANUP(hf_free) char *path = hf_asprintf("%s/oplog-slice.bson.zst", fixtures);
    HF_CLEANUP(hf_free) uint8_t *packed = hf_alloc((size_t)4 << 20);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t len = fread(packed, 1, (size_t)4 << 20, file);
    fclose(file);
    uint8_t *plain = hf_alloc(RECORDED_BYTES);
    struct hf_decompressor *decompressor = hf_decompressor_create();
    assert_non_null(plain);
    assert_non_null(decompressor);
    EXPECT_OK(hf_decompress(decompressor, hf_bytes_of(packed, len), plain, RECORDED_BYTES, &err),
              &err);
    hf_decompressor_destroy(decompressor);
    return plain;
}

/* ---- Slices ---- */

static inline struct hf_slicer *make_slicer(const struct hf_keyring *ring, uint8_t writer,
                                            uint64_t target_bytes,
                                            const struct hf_chain_point *start)
{
    struct hf_error err;
    struct hf_slicer *slicer = NULL;
    struct hf_slicer_options options = {
        .keyring = ring,
        .writer = fixed_id(writer),
        .set_name = "rs0",
        .member = "host-a.example.net:27017",
        .fcv = "4.4",
        .start = {.cause = HF_CHAIN_FIRST},
        .target_bytes = target_bytes,
    };
    if (start != NULL) {
        options.start = *start;
    }
    EXPECT_OK(hf_slicer_create(&options, &slicer, &err), &err);
    return slicer;
}

/* Header and index of a whole object. */
static inline void read_slice(const struct hf_keyring *ring, const struct hf_buf *object,
                              struct hf_slice_header *header, struct hf_slice_index *index)
{
    struct hf_error err;
    uint64_t need = 0;
    EXPECT_OK(hf_slice_header_decode(hf_buf_bytes(object), object->len, ring, &need, header, &err),
              &err);
    assert_int_equal(need, 0);
    if (index != NULL) {
        struct hf_block_coder *coder = fixed_coder(ring);
        struct hf_bytes stored =
            hf_bytes_of(object->data + header->index_place, header->index_stored_bytes);
        EXPECT_OK(hf_slice_open_index(coder, header, stored, index, &err), &err);
        hf_block_coder_destroy(coder);
    }
}

#endif
