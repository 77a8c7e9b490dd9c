/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests only: unpacks a plain ustar archive compressed with zstd, as the fixtures are. Zero pages become holes, so that
 * a journal of 100 MiB costs what it holds.
 */
#ifndef HF_TESTS_UNTAR_H
#define HF_TESTS_UNTAR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/alloc.h"
#include "format/block.h"
#include "os/fs.h"

struct untar_stream {
    FILE *file;
    ZSTD_DStream *zstd;
    uint8_t in_bytes[65536];
    ZSTD_inBuffer in;
};

/* Reads exactly len bytes; false at the end. */
static bool untar_read(struct untar_stream *stream, uint8_t *out, size_t len)
{
    ZSTD_outBuffer to = {.dst = out, .size = len, .pos = 0};
    while (to.pos < len) {
        if (stream->in.pos == stream->in.size) {
            stream->in.size = fread(stream->in_bytes, 1, sizeof stream->in_bytes, stream->file);
            stream->in.pos = 0;
            if (stream->in.size == 0) {
                return false;
            }
        }
        assert_false(ZSTD_isError(ZSTD_decompressStream(stream->zstd, &to, &stream->in)));
    }
    return true;
}

static void untar_content(struct untar_stream *stream, const char *path, uint64_t size)
{
    struct hf_error err;
    struct hf_file *file = NULL;
    uint8_t page[4096];
    assert_int_equal(hf_file_open(path, HF_OPEN_CREATE_NEW, 0600, &file, &err), HF_ERR_OK);
    for (uint64_t at = 0; at < size; at += sizeof page) {
        size_t len = size - at < sizeof page ? (size_t)(size - at) : sizeof page;
        /* Blocks of the archive are 512 bytes; the padding is read away with the last page. */
        assert_true(untar_read(stream, page, (len + 511) / 512 * 512));
        if (!hf_block_is_zero(hf_bytes_of(page, len))) {
            assert_int_equal(hf_file_write_at(file, at, hf_bytes_of(page, len), &err), HF_ERR_OK);
        }
    }
    assert_int_equal(hf_file_truncate(file, size, &err), HF_ERR_OK);
    assert_int_equal(hf_file_close(file, &err), HF_ERR_OK);
}

/* Unpacks archive into dir; returns the number of files. */
static size_t untar(const char *archive, const char *dir)
{
    struct untar_stream stream = {.file = fopen(archive, "rb"), .zstd = ZSTD_createDStream()};
    struct hf_error err;
    uint8_t header[512];
    size_t files = 0;
    assert_non_null(stream.file);
    stream.in.src = stream.in_bytes;
    while (untar_read(&stream, header, sizeof header) && header[0] != 0) {
        char name[101] = {0};
        memcpy(name, header, 100);
        uint64_t size = strtoull((const char *)header + 124, NULL, 8);
        char *path = hf_path_join(dir, name);
        char *parent = hf_strndup(path, (size_t)(strrchr(path, '/') - path));
        assert_true(header[156] == '0');
        assert_int_equal(hf_fs_make_dirs(parent, 0700, &err), HF_ERR_OK);
        untar_content(&stream, path, size);
        hf_free(parent);
        hf_free(path);
        files++;
    }
    ZSTD_freeDStream(stream.zstd);
    fclose(stream.file);
    return files;
}

#endif
