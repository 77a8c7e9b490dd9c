/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Borrowed bytes and text, stored integers, hexadecimal. Nothing here allocates or fails but by
 * saying no.
 */
#include "base/bytes.h"

bool hf_str_equal(struct hf_str a, struct hf_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool hf_str_equal_c(struct hf_str a, const char *b)
{
    return hf_str_equal(a, hf_str_of(b));
}

bool hf_str_starts_with(struct hf_str text, struct hf_str prefix)
{
    return text.len >= prefix.len &&
           (prefix.len == 0 || memcmp(text.data, prefix.data, prefix.len) == 0);
}

int hf_str_compare(struct hf_str a, struct hf_str b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0) {
        return order;
    }
    return (a.len > b.len) - (a.len < b.len);
}

bool hf_bytes_equal(struct hf_bytes a, struct hf_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

uint16_t hf_load_le16(const uint8_t *from)
{
    return (uint16_t)(from[0] | from[1] << 8);
}

uint32_t hf_load_le32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

uint64_t hf_load_le64(const uint8_t *from)
{
    return (uint64_t)hf_load_le32(from) | (uint64_t)hf_load_le32(from + 4) << 32;
}

uint64_t hf_load_le(const uint8_t *from, size_t width)
{
    uint64_t value = 0;
    HF_ASSERT(width >= 1 && width <= 8);
    for (size_t i = width; i > 0; i--) {
        value = value << 8 | from[i - 1];
    }
    return value;
}

void hf_store_le16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
}

void hf_store_le32(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
    to[2] = (uint8_t)(value >> 16);
    to[3] = (uint8_t)(value >> 24);
}

void hf_store_le64(uint8_t *to, uint64_t value)
{
    hf_store_le32(to, (uint32_t)value);
    hf_store_le32(to + 4, (uint32_t)(value >> 32));
}

void hf_store_le(uint8_t *to, uint64_t value, size_t width)
{
    HF_ASSERT(width >= 1 && width <= 8);
    for (size_t i = 0; i < width; i++) {
        to[i] = (uint8_t)value;
        value >>= 8;
    }
}

void hf_hex_encode(struct hf_bytes bytes, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.len; i++) {
        out[2 * i] = digits[bytes.data[i] >> 4];
        out[2 * i + 1] = digits[bytes.data[i] & 15];
    }
    out[2 * bytes.len] = '\0';
}

/* 0 to 15, or -1. */
static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    if (digit >= 'A' && digit <= 'F') {
        return digit - 'A' + 10;
    }
    return -1;
}

bool hf_hex_decode(struct hf_str text, uint8_t *out, size_t len)
{
    if (text.len % 2 != 0 || text.len / 2 != len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        int high = hex_value(text.data[2 * i]);
        int low = hex_value(text.data[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool hf_parse_u64(struct hf_str text, uint64_t *out)
{
    uint64_t value = 0;
    if (text.len == 0) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char digit = text.data[i];
        if (digit < '0' || digit > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(digit - '0'), &value)) {
            return false;
        }
    }
    *out = value;
    return true;
}

bool hf_parse_hex_u64(struct hf_str text, uint64_t *out)
{
    uint64_t value = 0;
    if (text.len == 0 || text.len > 16) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char digit = text.data[i];
        if (digit >= 'A' && digit <= 'F') {
            return false;
        }
        int nibble = hex_value(digit);
        if (nibble < 0) {
            return false;
        }
        value = value << 4 | (uint64_t)nibble;
    }
    *out = value;
    return true;
}
