/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer with a maximum, and a reader that never runs past the end.
 */
#ifndef HF_BASE_BUF_H
#define HF_BASE_BUF_H

#include "base/bytes.h"
#include "base/error.h"

struct hf_buf {
    uint8_t *data; /* owned */
    size_t len;
    size_t capacity;
    size_t max; /* appending beyond it is HF_ERR_LIMIT */
};

void hf_buf_init(struct hf_buf *buf, size_t max);
void hf_buf_fini(struct hf_buf *buf);
HF_CLEANUP_DEFINE_VALUE(hf_buf_fini, struct hf_buf)
#define HF_BUF_INIT(max_bytes)                                                                     \
    {                                                                                              \
        .data = NULL, .len = 0, .capacity = 0, .max = (max_bytes)                                  \
    }

/* Room for `more` bytes after len; HF_ERR_LIMIT past max, HF_ERR_NO_MEMORY. The content stays as it was. A MiB or more that is
 * reserved at first begins at a page (hf_alloc_huge): an object that is received whole can be written past the page cache. */
HF_MUST_CHECK enum hf_err hf_buf_reserve(struct hf_buf *buf, size_t more, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_buf_append(struct hf_buf *buf, struct hf_bytes bytes,
                                        struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_buf_append_text(struct hf_buf *buf, const char *text,
                                             struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_buf_appendf(struct hf_buf *buf, struct hf_error *err,
                                         const char *format, ...) HF_PRINTF(3, 4);
/* The lowest width bytes of value, little end first. */
HF_MUST_CHECK enum hf_err hf_buf_append_le(struct hf_buf *buf, uint64_t value, size_t width,
                                           struct hf_error *err);
/* Length as LE32, then the bytes. */
HF_MUST_CHECK enum hf_err hf_buf_append_blob(struct hf_buf *buf, struct hf_bytes bytes,
                                             struct hf_error *err);
void hf_buf_clear(struct hf_buf *buf);
struct hf_bytes hf_buf_bytes(const struct hf_buf *buf);
/* The content as a C string: puts a NUL behind it (not counted in len). NULL when memory or max forbids. */
HF_MUST_CHECK const char *hf_buf_text(struct hf_buf *buf);

/*
 * Reads what came from outside. The first read past the end, or refused length, sets `failed`; every later read
 * gives zeros, so a decoder checks once at its end (and before it sizes anything by a value it read).
 */
struct hf_reader {
    const uint8_t *data; /* borrowed */
    size_t len;
    size_t at;
    bool failed;
};

struct hf_reader hf_reader_of(struct hf_bytes bytes);
uint8_t hf_reader_u8(struct hf_reader *reader);
uint64_t hf_reader_le(struct hf_reader *reader, size_t width);
/* Borrowed from the input; empty when failed. */
struct hf_bytes hf_reader_bytes(struct hf_reader *reader, size_t len);
/* LE32 length and that many bytes; fails when the length is above max. */
struct hf_bytes hf_reader_blob(struct hf_reader *reader, size_t max);
size_t hf_reader_left(const struct hf_reader *reader);

#endif
