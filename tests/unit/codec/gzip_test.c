/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The envelope: gunzip takes it, its size is known beforehand, and any stretch of it is what the whole has there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "codec/gzip.h"

#define MEMBER (HF_GZIP_CONTENT_BYTES + 10 + 16 * 5 + 8)

static enum hf_err gather(void *context, struct hf_bytes bytes, struct hf_error *err)
{
    return hf_buf_append(context, bytes, err);
}

static uint8_t *content_of(size_t len)
{
    uint8_t *bytes = hf_alloc(len + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)(i * UINT64_C(0x9e3779b97f4a7c15) >> 56);
    }
    return bytes;
}

/* The stretch, of content that comes in pieces of an odd length. */
static void wrap(const uint8_t *content, size_t len, uint64_t from, uint64_t to, struct hf_buf *out)
{
    struct hf_gzip_options options = {
        .content_bytes = len, .from = from, .to = to, .sink = gather, .context = out};
    HF_CLEANUP(hf_gzip_destroy) struct hf_gzip *gzip = NULL;
    struct hf_error err;
    uint64_t at = 0, end = 0;
    hf_gzip_content(&options, &at, &end);
    assert_int_equal(hf_gzip_create(&options, &gzip, &err), HF_ERR_OK);
    while (at < end) {
        size_t now = end - at < 77777 ? (size_t)(end - at) : 77777;
        assert_int_equal(hf_gzip_write(gzip, hf_bytes_of(content + at, now), &err), HF_ERR_OK);
        at += now;
    }
    assert_int_equal(out->len, to - from);
    /* More than it said is refused. */
    assert_int_equal(hf_gzip_write(gzip, hf_bytes_of(content, 1), &err), HF_ERR_INVALID);
}

static void test_gunzip_gives_the_content_back(void **state)
{
    static const size_t lengths[] = {1,      512,        65535,          65536,
                                     100000, MEMBER * 2, 16 * 65535 * 2, 16 * 65535 + 1};
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(lengths); i++) {
        size_t len = lengths[i];
        HF_CLEANUP(hf_free) uint8_t *content = content_of(len);
        HF_CLEANUP(hf_free) uint8_t *back = hf_alloc(len + 1);
        HF_CLEANUP(hf_buf_fini) struct hf_buf envelope = HF_BUF_INIT((size_t)16 << 20);
        char name[] = "/tmp/hf-gzip-test-XXXXXX", command[100];
        wrap(content, len, 0, hf_gzip_size(len), &envelope);
        int fd = mkstemp(name);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, envelope.data, envelope.len), (ssize_t)envelope.len);
        (void)close(fd);
        (void)snprintf(command, sizeof command, "gzip -dc < %s", name);
        FILE *unpacked = popen(command, "r");
        assert_non_null(unpacked);
        assert_int_equal(fread(back, 1, len + 1, unpacked), len);
        assert_int_equal(pclose(unpacked), 0);
        assert_memory_equal(back, content, len);
        assert_int_equal(unlink(name), 0);
    }
}

static void test_any_stretch_is_what_the_whole_has_there(void **state)
{
    const size_t len = (size_t)HF_GZIP_CONTENT_BYTES * 2 + 70000;
    const uint64_t size = hf_gzip_size(len);
    HF_CLEANUP(hf_free) uint8_t *content = content_of(len);
    HF_CLEANUP(hf_buf_fini) struct hf_buf whole = HF_BUF_INIT((size_t)16 << 20);
    uint64_t random = 88172645463325252u;
    (void)state;
    wrap(content, len, 0, size, &whole);
    for (unsigned i = 0; i < 60; i++) {
        HF_CLEANUP(hf_buf_fini) struct hf_buf part = HF_BUF_INIT((size_t)16 << 20);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        uint64_t from = i < 30 ? MEMBER * (i % 3) + i / 3 - (i % 3 > 0 ? 5 : 0) : random % size;
        uint64_t to = i < 10 ? from + 1 : from + 1 + (random >> 32) % (size - from);
        wrap(content, len, from, to, &part);
        assert_memory_equal(part.data, whole.data + from, part.len);
    }
}

static void test_only_the_members_that_are_touched_need_content(void **state)
{
    uint64_t from = 0, to = 0;
    struct hf_gzip_options options = {
        .content_bytes = HF_GZIP_CONTENT_BYTES * 5 + 3, .from = MEMBER * 2, .to = MEMBER * 3};
    (void)state;
    hf_gzip_content(&options, &from, &to);
    assert_int_equal(from, HF_GZIP_CONTENT_BYTES * 2);
    assert_int_equal(to, HF_GZIP_CONTENT_BYTES * 3);
    options.to = hf_gzip_size(options.content_bytes);
    hf_gzip_content(&options, &from, &to);
    assert_int_equal(to, options.content_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gunzip_gives_the_content_back),
        cmocka_unit_test(test_any_stretch_is_what_the_whole_has_there),
        cmocka_unit_test(test_only_the_members_that_are_touched_need_content),
    };
    return cmocka_run_group_tests_name("codec/gzip", tests, NULL, NULL);
}
