/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Borrowed bytes and text, checked arithmetic, stored integers, hexadecimal.
 */
#ifndef HF_BASE_BYTES_H
#define HF_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

struct hf_bytes {
    const uint8_t *data;
    size_t len;
};

/* Text that need not end in NUL. */
struct hf_str {
    const char *data;
    size_t len;
};

static inline struct hf_bytes hf_bytes_of(const void *data, size_t len)
{
    return (struct hf_bytes){.data = data, .len = len};
}

static inline struct hf_str hf_str_of(const char *text)
{
    return (struct hf_str){.data = text, .len = text == NULL ? 0 : strlen(text)};
}

static inline struct hf_bytes hf_bytes_of_str(struct hf_str text)
{
    return (struct hf_bytes){.data = (const uint8_t *)text.data, .len = text.len};
}

bool hf_str_equal(struct hf_str a, struct hf_str b);
bool hf_str_equal_c(struct hf_str a, const char *b);
bool hf_str_starts_with(struct hf_str text, struct hf_str prefix);
/* Byte order, as memcmp; a prefix sorts before what it begins. */
int hf_str_compare(struct hf_str a, struct hf_str b);
bool hf_bytes_equal(struct hf_bytes a, struct hf_bytes b);
/* Printf helper: HF_STR_ARG(s) for "%.*s". */
#define HF_STR_ARG(s) (int)(s).len, (s).data

/* False on overflow; *out is set on success only. */
HF_MUST_CHECK static inline bool hf_add_size(size_t a, size_t b, size_t *out)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum)) {
        return false;
    }
    *out = sum;
    return true;
}

HF_MUST_CHECK static inline bool hf_mul_size(size_t a, size_t b, size_t *out)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) {
        return false;
    }
    *out = product;
    return true;
}

uint16_t hf_load_le16(const uint8_t *from);
uint32_t hf_load_le32(const uint8_t *from);
uint64_t hf_load_le64(const uint8_t *from);
/* The lowest `width` bytes (1 to 8), little end first. */
uint64_t hf_load_le(const uint8_t *from, size_t width);
void hf_store_le16(uint8_t *to, uint16_t value);
void hf_store_le32(uint8_t *to, uint32_t value);
void hf_store_le64(uint8_t *to, uint64_t value);
void hf_store_le(uint8_t *to, uint64_t value, size_t width);

/* Lower-case hexadecimal; out holds 2 * bytes.len + 1 chars, NUL included. */
void hf_hex_encode(struct hf_bytes bytes, char *out);
/* Exactly 2 * len lower- or upper-case digits; false otherwise and out is unspecified. */
HF_MUST_CHECK bool hf_hex_decode(struct hf_str text, uint8_t *out, size_t len);
/* Whole text is a decimal number within 0..UINT64_MAX, no sign, no space. */
HF_MUST_CHECK bool hf_parse_u64(struct hf_str text, uint64_t *out);
/* Whole text is 1 to 16 lower-case hexadecimal digits: the fixed-width numbers in names, which have one spelling. */
HF_MUST_CHECK bool hf_parse_hex_u64(struct hf_str text, uint64_t *out);

#endif
