/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of stored blocks. One member's content is gathered, its checksum made, and the member leaves, cut to the
 * stretch that is wanted.
 */
#include "codec/gzip.h"

#include "base/alloc.h"
#include "base/buf.h"

#define BLOCK_BYTES 65535
#define HEAD_BYTES 10
#define BLOCK_HEAD_BYTES 5
#define TAIL_BYTES 8
#define SLICES 8 /* bytes of content that a step of the checksum takes */

struct hf_gzip {
    struct hf_gzip_options options;
    uint64_t content_at, content_end; /* of what is still to be written */
    uint64_t member_at;               /* in the envelope */
    uint8_t *content;                 /* owned: HF_GZIP_CONTENT_BYTES */
    size_t len;
    uint32_t table[SLICES][256];
};

static uint64_t member_bytes(uint64_t content_bytes)
{
    uint64_t blocks = content_bytes == 0 ? 1 : (content_bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;

    return HEAD_BYTES + blocks * BLOCK_HEAD_BYTES + content_bytes + TAIL_BYTES;
}

uint64_t hf_gzip_size(uint64_t content_bytes)
{
    uint64_t whole = content_bytes / HF_GZIP_CONTENT_BYTES;
    uint64_t rest = content_bytes % HF_GZIP_CONTENT_BYTES;

    return whole * member_bytes(HF_GZIP_CONTENT_BYTES) +
           (rest > 0 || whole == 0 ? member_bytes(rest) : 0);
}

void hf_gzip_content(const struct hf_gzip_options *options, uint64_t *from, uint64_t *to)
{
    const uint64_t member = member_bytes(HF_GZIP_CONTENT_BYTES);

    *from = options->from / member * HF_GZIP_CONTENT_BYTES;
    *to = (options->to + member - 1) / member * HF_GZIP_CONTENT_BYTES;
    *to = *to < options->content_bytes ? *to : options->content_bytes;
    *from = *from < *to ? *from : *to;
}

/* CRC-32 (IEEE 802.3, reflected): table[k][b] is the checksum of b with k zero bytes behind it. */
static void make_table(uint32_t table[SLICES][256])
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (unsigned bit = 0; bit < 8; bit++) {
            value = (value & 1) != 0 ? value >> 1 ^ 0xedb88320U : value >> 1;
        }
        table[0][i] = value;
    }
    for (unsigned k = 1; k < SLICES; k++) {
        for (unsigned i = 0; i < 256; i++) {
            uint32_t before = table[k - 1][i];
            table[k][i] = before >> 8 ^ table[0][before & 0xff];
        }
    }
}

static uint32_t checksum(const struct hf_gzip *gzip)
{
    const uint8_t *at = gzip->content;
    size_t left = gzip->len;
    uint32_t sum = 0xffffffffU;

    for (; left >= SLICES; at += SLICES, left -= SLICES) {
        uint32_t low = sum ^ hf_load_le32(at), high = hf_load_le32(at + 4);
        sum = gzip->table[7][low & 0xff] ^ gzip->table[6][low >> 8 & 0xff] ^
              gzip->table[5][low >> 16 & 0xff] ^ gzip->table[4][low >> 24] ^
              gzip->table[3][high & 0xff] ^ gzip->table[2][high >> 8 & 0xff] ^
              gzip->table[1][high >> 16 & 0xff] ^ gzip->table[0][high >> 24];
    }
    for (; left > 0; at++, left--) {
        sum = sum >> 8 ^ gzip->table[0][(sum ^ *at) & 0xff];
    }
    return ~sum;
}

/* The next bytes of the member, as far as they are wanted. */
static enum hf_err emit(struct hf_gzip *gzip, struct hf_bytes bytes, struct hf_error *err)
{
    uint64_t at = gzip->member_at, end = at + bytes.len;

    gzip->member_at = end;
    if (end <= gzip->options.from || at >= gzip->options.to) {
        return HF_ERR_OK;
    }
    size_t skip = gzip->options.from > at ? (size_t)(gzip->options.from - at) : 0;
    size_t cut = end > gzip->options.to ? (size_t)(end - gzip->options.to) : 0;
    return gzip->options.sink(gzip->options.context,
                              hf_bytes_of(bytes.data + skip, bytes.len - skip - cut), err);
}

static enum hf_err emit_member(struct hf_gzip *gzip, struct hf_error *err)
{
    /* Magic, deflate, no flags, no time, no extra flags, an unknown system: the same bytes every time. */
    static const uint8_t head[HEAD_BYTES] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};
    uint8_t tail[TAIL_BYTES];
    size_t done = 0;

    if (emit(gzip, hf_bytes_of(head, sizeof head), err) != HF_ERR_OK) {
        return err->code;
    }
    do {
        size_t left = gzip->len - done, now = left < BLOCK_BYTES ? left : BLOCK_BYTES;
        uint8_t block[BLOCK_HEAD_BYTES] = {now == left ? 1 : 0};
        hf_store_le16(block + 1, (uint16_t)now);
        hf_store_le16(block + 3, (uint16_t)~now);
        if (emit(gzip, hf_bytes_of(block, sizeof block), err) != HF_ERR_OK ||
            emit(gzip, hf_bytes_of(gzip->content + done, now), err) != HF_ERR_OK) {
            return err->code;
        }
        done += now;
    } while (done < gzip->len);
    hf_store_le32(tail, checksum(gzip));
    hf_store_le32(tail + 4, (uint32_t)gzip->len);
    gzip->len = 0;
    return emit(gzip, hf_bytes_of(tail, sizeof tail), err);
}

enum hf_err hf_gzip_create(const struct hf_gzip_options *options, struct hf_gzip **out,
                           struct hf_error *err)
{
    HF_CLEANUP(hf_gzip_destroy) struct hf_gzip *gzip = hf_alloc_zero(sizeof *gzip);

    if (gzip == NULL || (gzip->content = hf_alloc(HF_GZIP_CONTENT_BYTES)) == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "gzip envelope");
    }
    gzip->options = *options;
    make_table(gzip->table);
    hf_gzip_content(options, &gzip->content_at, &gzip->content_end);
    gzip->member_at =
        gzip->content_at / HF_GZIP_CONTENT_BYTES * member_bytes(HF_GZIP_CONTENT_BYTES);
    *out = HF_TAKE(gzip);
    return HF_ERR_OK;
}

void hf_gzip_destroy(struct hf_gzip *gzip)
{
    if (gzip != NULL) {
        hf_free(gzip->content);
        hf_free(gzip);
    }
}

enum hf_err hf_gzip_write(struct hf_gzip *gzip, struct hf_bytes content, struct hf_error *err)
{
    if (content.len > gzip->content_end - gzip->content_at) {
        return hf_fail(err, HF_ERR_INVALID, "gzip envelope: more content than was announced");
    }
    while (content.len > 0) {
        size_t room = (size_t)HF_GZIP_CONTENT_BYTES - gzip->len;
        size_t now = content.len < room ? content.len : room;
        memcpy(gzip->content + gzip->len, content.data, now);
        gzip->len += now;
        gzip->content_at += now;
        content = hf_bytes_of(content.data + now, content.len - now);
        if ((gzip->len == HF_GZIP_CONTENT_BYTES || gzip->content_at == gzip->content_end) &&
            emit_member(gzip, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}
