/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The growing buffer and the reader. The memory behind a buffer is always one byte longer than its
 * capacity, so that a NUL can follow the content without counting against the maximum.
 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"

#define SMALLEST_CAPACITY 64
#define PAGES_FROM_BYTES ((size_t)1 << 20)

void hf_buf_init(struct hf_buf *buf, size_t max)
{
    *buf = (struct hf_buf)HF_BUF_INIT(max);
}

void hf_buf_fini(struct hf_buf *buf)
{
    hf_free(buf->data);
    buf->data = NULL;
    buf->len = 0;
    buf->capacity = 0;
}

enum hf_err hf_buf_reserve(struct hf_buf *buf, size_t more, struct hf_error *err)
{
    size_t needed, size;

    if (!hf_add_size(buf->len, more, &needed) || needed > buf->max) {
        return hf_fail(err, HF_ERR_LIMIT, "buffer: %zu bytes and %zu more exceed the limit of %zu",
                       buf->len, more, buf->max);
    }
    if (needed <= buf->capacity && buf->data != NULL) {
        return HF_ERR_OK;
    }
    /* Doubling keeps appending linear; what is asked for at once is given exactly. */
    size_t capacity = buf->capacity > buf->max / 2 ? buf->max : buf->capacity * 2;
    if (capacity < SMALLEST_CAPACITY) {
        capacity = buf->max < SMALLEST_CAPACITY ? buf->max : SMALLEST_CAPACITY;
    }
    if (capacity < needed) {
        capacity = needed;
    }
    uint8_t *data = NULL;
    if (hf_add_size(capacity, 1, &size)) {
        data = buf->data == NULL && size >= PAGES_FROM_BYTES ? hf_alloc_huge(size)
                                                             : hf_realloc_array(buf->data, size, 1);
    }
    if (data == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "buffer: no memory for %zu bytes", capacity);
    }
    buf->data = data;
    buf->capacity = capacity;
    return HF_ERR_OK;
}

enum hf_err hf_buf_append(struct hf_buf *buf, struct hf_bytes bytes, struct hf_error *err)
{
    if (bytes.len == 0) {
        return HF_ERR_OK;
    }
    if (hf_buf_reserve(buf, bytes.len, err) != HF_ERR_OK) {
        return err->code;
    }
    memcpy(buf->data + buf->len, bytes.data, bytes.len);
    buf->len += bytes.len;
    return HF_ERR_OK;
}

enum hf_err hf_buf_append_text(struct hf_buf *buf, const char *text, struct hf_error *err)
{
    return hf_buf_append(buf, hf_bytes_of_str(hf_str_of(text)), err);
}

enum hf_err hf_buf_appendf(struct hf_buf *buf, struct hf_error *err, const char *format, ...)
{
    va_list arguments, again;
    enum hf_err code;

    va_start(arguments, format);
    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (len < 0) {
        code = hf_fail(err, HF_ERR_INTERNAL, "buffer: a text could not be formatted");
    } else if ((code = hf_buf_reserve(buf, (size_t)len, err)) == HF_ERR_OK) {
        (void)vsnprintf((char *)buf->data + buf->len, (size_t)len + 1, format, again);
        buf->len += (size_t)len;
    }
    va_end(again);
    return code;
}

enum hf_err hf_buf_append_le(struct hf_buf *buf, uint64_t value, size_t width, struct hf_error *err)
{
    uint8_t bytes[8];
    hf_store_le(bytes, value, width);
    return hf_buf_append(buf, hf_bytes_of(bytes, width), err);
}

enum hf_err hf_buf_append_blob(struct hf_buf *buf, struct hf_bytes bytes, struct hf_error *err)
{
    size_t total;
    if (bytes.len > UINT32_MAX || !hf_add_size(bytes.len, 4, &total)) {
        return hf_fail(err, HF_ERR_LIMIT, "buffer: %zu bytes do not fit a length of 32 bits",
                       bytes.len);
    }
    if (hf_buf_reserve(buf, total, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_store_le32(buf->data + buf->len, (uint32_t)bytes.len);
    buf->len += 4;
    return hf_buf_append(buf, bytes, err);
}

void hf_buf_clear(struct hf_buf *buf)
{
    buf->len = 0;
}

struct hf_bytes hf_buf_bytes(const struct hf_buf *buf)
{
    return hf_bytes_of(buf->data, buf->len);
}

const char *hf_buf_text(struct hf_buf *buf)
{
    struct hf_error ignored;
    if (hf_buf_reserve(buf, 0, &ignored) != HF_ERR_OK) {
        return NULL;
    }
    buf->data[buf->len] = '\0';
    return (const char *)buf->data;
}

struct hf_reader hf_reader_of(struct hf_bytes bytes)
{
    return (struct hf_reader){.data = bytes.data, .len = bytes.len, .at = 0, .failed = false};
}

struct hf_bytes hf_reader_bytes(struct hf_reader *reader, size_t len)
{
    if (reader->failed || len > reader->len - reader->at) {
        reader->failed = true;
        return hf_bytes_of(NULL, 0);
    }
    if (len == 0) {
        return hf_bytes_of(NULL, 0);
    }
    struct hf_bytes bytes = hf_bytes_of(reader->data + reader->at, len);
    reader->at += len;
    return bytes;
}

uint8_t hf_reader_u8(struct hf_reader *reader)
{
    return (uint8_t)hf_reader_le(reader, 1);
}

uint64_t hf_reader_le(struct hf_reader *reader, size_t width)
{
    struct hf_bytes bytes = hf_reader_bytes(reader, width);
    return bytes.len == 0 ? 0 : hf_load_le(bytes.data, width);
}

struct hf_bytes hf_reader_blob(struct hf_reader *reader, size_t max)
{
    uint64_t len = hf_reader_le(reader, 4);
    if (len > max) {
        reader->failed = true;
    }
    return hf_reader_bytes(reader, reader->failed ? 0 : (size_t)len);
}

size_t hf_reader_left(const struct hf_reader *reader)
{
    return reader->failed ? 0 : reader->len - reader->at;
}
