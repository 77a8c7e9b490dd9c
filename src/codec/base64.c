/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base64 with the standard alphabet and padding. Decoding takes exactly what encoding gives: no line breaks, no
 * missing padding, no stray bits, so that one value has one text.
 */
#include "codec/base64.h"

#include <inttypes.h>

void hf_base64_encode(struct hf_bytes bytes, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t at = 0;

    for (; bytes.len - at >= 3; at += 3) {
        uint32_t group =
            (uint32_t)bytes.data[at] << 16 | (uint32_t)bytes.data[at + 1] << 8 | bytes.data[at + 2];
        *out++ = digits[group >> 18];
        *out++ = digits[group >> 12 & 63];
        *out++ = digits[group >> 6 & 63];
        *out++ = digits[group & 63];
    }
    size_t left = bytes.len - at;
    if (left > 0) {
        uint32_t group = (uint32_t)bytes.data[at] << 16;
        if (left == 2) {
            group |= (uint32_t)bytes.data[at + 1] << 8;
        }
        *out++ = digits[group >> 18];
        *out++ = digits[group >> 12 & 63];
        *out++ = left == 2 ? digits[group >> 6 & 63] : '=';
        *out++ = '=';
    }
    *out = '\0';
}

/* 0 to 63, or -1. */
static int digit_value(char digit)
{
    if (digit >= 'A' && digit <= 'Z') {
        return digit - 'A';
    }
    if (digit >= 'a' && digit <= 'z') {
        return digit - 'a' + 26;
    }
    if (digit >= '0' && digit <= '9') {
        return digit - '0' + 52;
    }
    return digit == '+' ? 62 : digit == '/' ? 63 : -1;
}

/* The value of count digits, or -1. */
static int32_t group_value(const char *digits, size_t count)
{
    int32_t value = 0;
    for (size_t i = 0; i < count; i++) {
        int digit = digit_value(digits[i]);
        if (digit < 0) {
            return -1;
        }
        value = value << 6 | digit;
    }
    return value;
}

static size_t padding_of(struct hf_str text)
{
    if (text.len == 0 || text.data[text.len - 1] != '=') {
        return 0;
    }
    return text.data[text.len - 2] == '=' ? 2 : 1;
}

/* The group that ends in padding: 2 digits give a byte, 3 digits two; the bits that are left over are zero. */
static bool decode_last(const char *digits, size_t padding, uint8_t *out)
{
    int32_t value = group_value(digits, 4 - padding);
    if (value < 0 || (padding == 2 && (value & 15) != 0) || (padding == 1 && (value & 3) != 0)) {
        return false;
    }
    if (padding == 2) {
        out[0] = (uint8_t)(value >> 4);
    } else {
        out[0] = (uint8_t)(value >> 10);
        out[1] = (uint8_t)(value >> 2);
    }
    return true;
}

enum hf_err hf_base64_decode(struct hf_str text, uint8_t *out, size_t capacity, size_t *out_len,
                             struct hf_error *err)
{
    if (text.len % 4 != 0) {
        return hf_fail(err, HF_ERR_INVALID, "base64: %zu characters are not whole groups of four",
                       text.len);
    }
    size_t padding = padding_of(text);
    size_t len = text.len / 4 * 3 - padding;
    if (len > capacity) {
        return hf_fail(err, HF_ERR_LIMIT, "base64: %zu bytes, at most %zu are allowed", len,
                       capacity);
    }
    size_t whole = text.len / 4 - (padding > 0 ? 1 : 0);
    for (size_t i = 0; i < whole; i++) {
        int32_t value = group_value(text.data + 4 * i, 4);
        if (value < 0) {
            return hf_fail(err, HF_ERR_INVALID, "base64: a character in group %zu is none of it",
                           i);
        }
        out[3 * i] = (uint8_t)(value >> 16);
        out[3 * i + 1] = (uint8_t)(value >> 8);
        out[3 * i + 2] = (uint8_t)value;
    }
    if (padding > 0 && !decode_last(text.data + 4 * whole, padding, out + 3 * whole)) {
        return hf_fail(err, HF_ERR_INVALID, "base64: the last group is not well formed");
    }
    *out_len = len;
    return HF_ERR_OK;
}
