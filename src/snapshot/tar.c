/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers of a POSIX tar archive.
 */
#include "snapshot/tar.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"

#define NAME_BYTES 100
#define SIZE_MAX_OCTAL (((uint64_t)1 << 33) - 1) /* eleven octal digits */
#define TYPE_FILE '0'
#define TYPE_DIR '5'
#define TYPE_PAX 'x'

/* len - 1 octal digits and NUL. */
static void octal(char *to, size_t len, uint64_t value)
{
    for (size_t i = len - 1; i > 0; i--) {
        to[i - 1] = (char)('0' + (value & 7));
        value >>= 3;
    }
    to[len - 1] = '\0';
}

struct header {
    const char *name;
    size_t name_len; /* what does not fit is left out: the pax record has it all */
    char type;
    uint32_t mode;
    uint64_t size_bytes;
    uint64_t mtime_s;
};

static enum hf_err append_block(const struct header *header, struct hf_buf *out,
                                struct hf_error *err)
{
    char block[HF_TAR_BLOCK_BYTES] = {0};
    size_t name_len = header->name_len < NAME_BYTES ? header->name_len : NAME_BYTES;
    memcpy(block, header->name, name_len);
    octal(block + 100, 8, header->mode & 07777);
    octal(block + 108, 8, 0);
    octal(block + 116, 8, 0);
    octal(block + 124, 12, header->size_bytes <= SIZE_MAX_OCTAL ? header->size_bytes : 0);
    octal(block + 136, 12, header->mtime_s <= SIZE_MAX_OCTAL ? header->mtime_s : 0);
    memset(block + 148, ' ', 8);
    block[156] = header->type;
    memcpy(block + 257, "ustar", 6);
    memcpy(block + 263, "00", 2);
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof block; i++) {
        sum += (uint8_t)block[i];
    }
    octal(block + 148, 7, sum);
    return hf_buf_append(out, hf_bytes_of(block, sizeof block), err);
}

/* "<length> <key>=<value>\n", where the length counts its own digits. */
static enum hf_err append_pax(struct hf_buf *out, const char *key, const char *value,
                              struct hf_error *err)
{
    size_t rest = strlen(key) + strlen(value) + 3;
    size_t total = rest;
    for (size_t digits = 1; digits < 10; digits++) {
        char text[24];
        total = rest + digits;
        if ((size_t)snprintf(text, sizeof text, "%zu", total) == digits) {
            break;
        }
    }
    return hf_buf_appendf(out, err, "%zu %s=%s\n", total, key, value);
}

static enum hf_err append_zeros(struct hf_buf *out, uint64_t count, struct hf_error *err)
{
    static const uint8_t zeros[HF_TAR_BLOCK_BYTES];
    return hf_buf_append(out, hf_bytes_of(zeros, (size_t)count), err);
}

enum hf_err hf_tar_append_header(const struct hf_tar_member *member, struct hf_buf *out,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_free)
    char *name = hf_asprintf("%s%s", member->path, member->directory ? "/" : "");
    HF_CLEANUP(hf_buf_fini) struct hf_buf pax = HF_BUF_INIT((size_t)16 << 10);
    if (name == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "tar header");
    }
    size_t name_len = strlen(name);
    if (name_len > NAME_BYTES && append_pax(&pax, "path", name, err) != HF_ERR_OK) {
        return err->code;
    }
    if (member->size_bytes > SIZE_MAX_OCTAL) {
        char size[24];
        (void)snprintf(size, sizeof size, "%" PRIu64, member->size_bytes);
        if (append_pax(&pax, "size", size, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (pax.len > 0) {
        static const char pax_name[] = "pax-header";
        struct header extended = {.name = pax_name,
                                  .name_len = sizeof pax_name - 1,
                                  .type = TYPE_PAX,
                                  .mode = 0644,
                                  .size_bytes = pax.len,
                                  .mtime_s = member->mtime_s};
        if (append_block(&extended, out, err) != HF_ERR_OK ||
            hf_buf_append(out, hf_buf_bytes(&pax), err) != HF_ERR_OK ||
            append_zeros(out, hf_tar_padding(pax.len), err) != HF_ERR_OK) {
            return err->code;
        }
    }
    struct header header = {.name = name,
                            .name_len = name_len,
                            .type = member->directory ? TYPE_DIR : TYPE_FILE,
                            .mode = member->mode,
                            .size_bytes = member->size_bytes,
                            .mtime_s = member->mtime_s};
    return append_block(&header, out, err);
}
