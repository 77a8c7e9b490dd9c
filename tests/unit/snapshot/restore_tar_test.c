/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any stretch of an archive is what the whole one has there, and costs no reading of what lies before it.
 */
#include "support/snapshot_kit.h"

#include <unistd.h>

#include "snapshot/tar.h"

#define BLOCK ((uint32_t)4096)
#define INFO "which moment it is\n"

struct fixture {
    struct kit kit;
    char *source; /* owned */
    struct hf_manifest manifest;
    struct hf_buf whole;
};

static void make_file(const char *dir, const char *name, uint64_t offset, size_t len)
{
    struct hf_error err;
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    HF_CLEANUP(hf_free) char *path = hf_path_join(dir, name);
    HF_CLEANUP(hf_free) char *parent = hf_strndup(path, (size_t)(strrchr(path, '/') - path));
    HF_CLEANUP(hf_free) uint8_t *bytes = hf_alloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)((len * 31 + i) * UINT64_C(0x9e3779b97f4a7c15) >> 56);
    }
    KIT_OK(hf_fs_make_dirs(parent, 0700, &err), &err);
    KIT_OK(hf_file_open(path, HF_OPEN_CREATE, 0600, &file, &err), &err);
    if (len > 0) {
        KIT_OK(hf_file_write_at(file, offset, hf_bytes_of(bytes, len), &err), &err);
    }
}

static enum hf_err gather(void *context, struct hf_bytes bytes, struct hf_error *err)
{
    return hf_buf_append(context, bytes, err);
}

static struct hf_restore_tar_options tar_of(struct fixture *f, struct hf_buf *out)
{
    return (struct hf_restore_tar_options){
        .store = f->kit.store,
        .keyring = &f->kit.keyring,
        .root = &f->manifest.root,
        .top = "rs0-1-2",
        .restore_info = INFO,
        .mtime_s = 1795450521,
        .workers = 2,
        .sink = gather,
        .context = out,
    };
}

static int set_up(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);
    const struct kit_options options = {.on_disk = true};
    struct hf_restore_result result;
    struct hf_error err;
    assert_non_null(f);
    kit_open(&f->kit, &options);
    f->kit.block_bytes = BLOCK;
    f->source = kit_path(&f->kit, "source");
    make_file(f->source, "WiredTiger", 0, 50);
    make_file(f->source, "a.wt", 0, 10 * BLOCK);
    make_file(f->source, "app/b.wt", 0, 300 * BLOCK + 5); /* nodes of two levels */
    make_file(f->source, "empty.wt", 0, 0);
    make_file(f->source, "journal/WiredTigerLog.0000000001", 0, 2 * BLOCK);
    make_file(f->source, "sparse.wt", 20 * BLOCK, BLOCK);
    HF_CLEANUP(hf_free) char *sparse = hf_path_join(f->source, "sparse.wt");
    assert_int_equal(truncate(sparse, (off_t)(200 * BLOCK)), 0);
    make_file(f->source, "z.wt", 0, 3 * BLOCK + 1);
    kit_snapshot(&f->kit, f->source, NULL, &f->manifest);
    f->whole = (struct hf_buf)HF_BUF_INIT((size_t)64 << 20);
    const struct hf_restore_tar_options whole = tar_of(f, &f->whole);
    KIT_OK(hf_restore_tar(&whole, &result, &err), &err);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    hf_buf_fini(&f->whole);
    hf_manifest_fini(&f->manifest);
    hf_free(f->source);
    kit_close(&f->kit);
    hf_free(f);
    return 0;
}

static void expect_stretch(struct fixture *f, uint64_t from, uint64_t to)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf part = HF_BUF_INIT((size_t)64 << 20);
    struct hf_restore_tar_options options = tar_of(f, &part);
    struct hf_restore_result result;
    struct hf_error err;
    uint64_t end = to == 0 ? f->whole.len : to;
    options.from_bytes = from;
    options.to_bytes = to;
    KIT_OK(hf_restore_tar(&options, &result, &err), &err);
    if (part.len != end - from ||
        (part.len > 0 && memcmp(part.data, f->whole.data + from, part.len) != 0)) {
        fail_msg("bytes %llu to %llu: %zu bytes, or other ones", (unsigned long long)from,
                 (unsigned long long)to, part.len);
    }
}

static void test_the_size_is_known_and_the_bytes_are_the_same_each_time(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    uint64_t size = 0;
    const struct hf_restore_tar_options options = tar_of(f, NULL);
    KIT_OK(hf_restore_tar_size(&options, &size, &err), &err);
    assert_int_equal(size, f->whole.len);
    expect_stretch(f, 0, 0);
    expect_stretch(f, 0, size);
}

static void test_every_edge_of_a_stretch(void **state)
{
    struct fixture *f = *state;
    const uint64_t end = f->whole.len;
    /* Around each block of the archive's beginning and end, where headers, texts and paddings are. */
    for (uint64_t at = 0; at <= 16 * HF_TAR_BLOCK_BYTES; at += HF_TAR_BLOCK_BYTES) {
        expect_stretch(f, at, 0);
        expect_stretch(f, at + 1, at + 2);
        expect_stretch(f, end - at - 1, end - at);
        expect_stretch(f, at, at + HF_TAR_BLOCK_BYTES);
    }
    expect_stretch(f, end, 0);
    expect_stretch(f, end - 1, 0);
}

static void test_stretches_anywhere(void **state)
{
    struct fixture *f = *state;
    uint64_t random = 88172645463325252u;
    for (unsigned i = 0; i < 150; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        uint64_t from = random % f->whole.len;
        uint64_t len = 1 + (random >> 32) % (i % 2 == 0 ? 300 : f->whole.len);
        expect_stretch(f, from, from + len > f->whole.len ? 0 : from + len);
    }
}

static void test_what_lies_before_is_not_read(void **state)
{
    struct fixture *f = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf part = HF_BUF_INIT((size_t)64 << 20);
    struct hf_restore_tar_options options = tar_of(f, &part);
    struct hf_restore_result all, some;
    struct hf_error err;
    KIT_OK(hf_restore_tar(&options, &all, &err), &err);
    options.from_bytes = f->whole.len - 2 * BLOCK; /* inside the last file */
    KIT_OK(hf_restore_tar(&options, &some, &err), &err);
    assert_true(some.read_bytes > 0);
    assert_true(some.read_bytes < all.read_bytes / 20);
}

static void test_behind_the_end_there_is_nothing(void **state)
{
    struct fixture *f = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf part = HF_BUF_INIT(1000);
    struct hf_restore_tar_options options = tar_of(f, &part);
    struct hf_restore_result result;
    struct hf_error err;
    options.from_bytes = f->whole.len + 1;
    assert_int_equal(hf_restore_tar(&options, &result, &err), HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "restore as archive rs0-1-2: byte "));
    assert_int_equal(part.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_size_is_known_and_the_bytes_are_the_same_each_time),
        cmocka_unit_test(test_every_edge_of_a_stretch),
        cmocka_unit_test(test_stretches_anywhere),
        cmocka_unit_test(test_what_lies_before_is_not_read),
        cmocka_unit_test(test_behind_the_end_there_is_nothing),
    };
    return cmocka_run_group_tests_name("snapshot/restore_tar", tests, set_up, tear_down);
}
