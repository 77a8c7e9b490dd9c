/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading beside a database gives the same bytes as reading, and leaves the page cache as it was.
 */
#include "room.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/thread.h"

#define MIB (UINT64_C(1) << 20)
#define SIZE (12 * MIB + 5000) /* three windows and a bit */

static uint8_t content_at(uint64_t offset)
{
    return (uint8_t)(offset * 31 + offset / 4096);
}

static const char *make_file(struct room *room)
{
    const char *path = at(room, "data.wt");
    uint8_t *content = hf_alloc(SIZE);
    struct hf_error err;
    assert_non_null(content);
    for (uint64_t i = 0; i < SIZE; i++) {
        content[i] = content_at(i);
    }
    assert_int_equal(hf_fs_publish_new(path, hf_bytes_of(content, SIZE), 0600, &err), HF_ERR_OK);
    hf_free(content);
    return path;
}

/* Skips the test where the kernel does not drop pages on request (memory file systems). */
static void empty_cache(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    (void)close(fd);
    if (resident_pages(path, 0, SIZE) != 0) {
        skip();
    }
}

static void read_and_check(struct hf_file *file, uint64_t offset, size_t len)
{
    struct hf_error err;
    size_t got, expected = offset >= SIZE ? 0 : offset + len > SIZE ? SIZE - offset : len;
    uint8_t *out = hf_alloc(len);
    assert_int_equal(hf_file_read_at_uncached(file, offset, out, len, &got, &err), HF_ERR_OK);
    assert_int_equal(got, expected);
    for (size_t i = 0; i < got; i++) {
        if (out[i] != content_at(offset + i)) {
            fail_msg("wrong byte at %zu", (size_t)offset + i);
        }
    }
    hf_free(out);
}

static struct hf_file *open_data(const char *path)
{
    struct hf_file *file = NULL;
    struct hf_error err;
    assert_int_equal(hf_file_open(path, HF_OPEN_READ, 0, &file, &err), HF_ERR_OK);
    return file;
}

static void test_any_place_and_length_gives_the_file_s_bytes(void **state)
{
    struct room *room = *state;
    HF_CLEANUP(hf_file_drop) struct hf_file *file = open_data(make_file(room));
    read_and_check(file, 0, 1);
    read_and_check(file, 4 * MIB - 1, 2);
    read_and_check(file, 3 * MIB + 17, 6 * MIB);
    read_and_check(file, SIZE - 1, 100);
    read_and_check(file, SIZE, 100);
    read_and_check(file, 100 * MIB, 100);
    read_and_check(file, 0, SIZE);
    read_and_check(file, 0, SIZE + 5 * MIB);
    read_and_check(file, 7, 0);
}

static void test_a_cold_file_is_cold_again_after_it_was_read(void **state)
{
    struct room *room = *state;
    const char *path = make_file(room);
    empty_cache(path);
    HF_CLEANUP(hf_file_drop) struct hf_file *file = open_data(path);
    for (uint64_t offset = 0; offset < SIZE; offset += 256 * 1024) {
        read_and_check(file, offset, 256 * 1024);
    }
    assert_int_equal(resident_pages(path, 0, SIZE), 0);
    read_and_check(file, 0, SIZE); /* in one */
    assert_int_equal(resident_pages(path, 0, SIZE), 0);
}

static void test_what_the_database_holds_stays_and_the_rest_goes(void **state)
{
    struct room *room = *state;
    const char *path = make_file(room);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t buffer[64 * 1024];
    empty_cache(path);
    /* The database's: 64 KiB at 1 MiB, 64 KiB at 9 MiB; read without readahead. */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    assert_int_equal(pread(fd, buffer, sizeof buffer, 1 * MIB), sizeof buffer);
    assert_int_equal(pread(fd, buffer, sizeof buffer, 9 * MIB), sizeof buffer);
    (void)close(fd);
    size_t before = resident_pages(path, 0, SIZE);
    assert_true(before >= 2 * sizeof buffer / page);
    struct hf_file *file = open_data(path);
    for (uint64_t offset = 0; offset < SIZE; offset += 64 * 1024) {
        read_and_check(file, offset, 64 * 1024);
    }
    hf_file_drop(file);
    assert_int_equal(resident_pages(path, 1 * MIB, sizeof buffer), sizeof buffer / page);
    assert_int_equal(resident_pages(path, 9 * MIB, sizeof buffer), sizeof buffer / page);
    assert_int_equal(resident_pages(path, 0, SIZE), before);
}

static void test_a_file_that_is_wholly_cached_stays_so(void **state)
{
    struct room *room = *state;
    const char *path = make_file(room);
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT(SIZE);
    struct hf_error err;
    assert_int_equal(hf_fs_read_whole(path, SIZE, &buf, &err), HF_ERR_OK);
    size_t before = resident_pages(path, 0, SIZE);
    struct hf_file *file = open_data(path);
    read_and_check(file, 0, SIZE);
    hf_file_drop(file);
    assert_int_equal(resident_pages(path, 0, SIZE), before);
}

static void test_closing_gives_back_what_was_read_in_part(void **state)
{
    struct room *room = *state;
    const char *path = make_file(room);
    empty_cache(path);
    struct hf_file *file = open_data(path);
    read_and_check(file, 4 * MIB, 64 * 1024);
    read_and_check(file, 8 * MIB + 64 * 1024, 64 * 1024);
    assert_true(resident_pages(path, 0, SIZE) > 0);
    struct hf_error err;
    assert_int_equal(hf_file_close(file, &err), HF_ERR_OK);
    assert_int_equal(resident_pages(path, 0, SIZE), 0);
}

static void test_many_places_at_once_are_given_back_too(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "sparse.wt");
    uint8_t byte = 1;
    size_t got;
    struct hf_file *file = NULL;
    assert_int_equal(hf_file_open(path, HF_OPEN_CREATE_NEW, 0600, &file, &err), HF_ERR_OK);
    assert_int_equal(hf_file_truncate(file, 400 * MIB, &err), HF_ERR_OK);
    hf_file_drop(file);
    /* More windows than are remembered: the oldest are given up, twice. */
    file = open_data(path);
    for (int round = 0; round < 2; round++) {
        for (uint64_t window = 0; window < 100; window++) {
            assert_int_equal(
                hf_file_read_at_uncached(file, window * 4 * MIB + 100, &byte, 1, &got, &err),
                HF_ERR_OK);
            assert_int_equal(byte, 0);
            byte = 1;
        }
    }
    hf_file_drop(file);
}

static void test_without_memory_a_read_fails_and_the_next_succeeds(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = make_file(room);
    HF_CLEANUP(hf_file_drop) struct hf_file *file = open_data(path);
    uint8_t byte;
    size_t got;
    hf_fault_arm("base.alloc", HF_ERR_NO_MEMORY);
    assert_int_equal(hf_file_read_at_uncached(file, 0, &byte, 1, &got, &err), HF_ERR_NO_MEMORY);
    assert_message(&err, "read ", path, "");
    /* Looking ahead may fail without harm. */
    hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, 2, 0);
    assert_int_equal(hf_file_read_at_uncached(file, 0, &byte, 1, &got, &err), HF_ERR_OK);
    assert_int_equal(got, 1);
}

struct reader {
    struct hf_file *file;
    uint64_t first;
    bool wrong;
};

static void read_every_fourth(void *argument)
{
    struct reader *reader = argument;
    struct hf_error err;
    uint8_t out[64 * 1024];
    size_t got;
    for (uint64_t offset = reader->first * sizeof out; offset < SIZE; offset += 4 * sizeof out) {
        if (hf_file_read_at_uncached(reader->file, offset, out, sizeof out, &got, &err) !=
            HF_ERR_OK) {
            reader->wrong = true;
            return;
        }
        for (size_t i = 0; i < got; i++) {
            reader->wrong = reader->wrong || out[i] != content_at(offset + i);
        }
    }
}

static void test_threads_share_a_file_and_its_windows(void **state)
{
    struct room *room = *state;
    const char *path = make_file(room);
    struct reader readers[4];
    struct hf_thread *threads[4];
    struct hf_error err;
    empty_cache(path);
    struct hf_file *file = open_data(path);
    for (size_t i = 0; i < 4; i++) {
        readers[i] = (struct reader){.file = file, .first = i};
        assert_int_equal(
            hf_thread_start("reads", read_every_fourth, &readers[i], &threads[i], &err), HF_ERR_OK);
    }
    for (size_t i = 0; i < 4; i++) {
        hf_thread_join(threads[i]);
        assert_false(readers[i].wrong);
    }
    hf_file_drop(file);
    assert_int_equal(resident_pages(path, 0, SIZE), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_ROOM(test_any_place_and_length_gives_the_file_s_bytes),
        IN_ROOM(test_a_cold_file_is_cold_again_after_it_was_read),
        IN_ROOM(test_what_the_database_holds_stays_and_the_rest_goes),
        IN_ROOM(test_a_file_that_is_wholly_cached_stays_so),
        IN_ROOM(test_closing_gives_back_what_was_read_in_part),
        IN_ROOM(test_many_places_at_once_are_given_back_too),
        IN_ROOM(test_without_memory_a_read_fails_and_the_next_succeeds),
        IN_ROOM(test_threads_share_a_file_and_its_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
