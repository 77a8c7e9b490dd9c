/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files read and write where they are told, say what failed where, and locks exclude.
 */
#include "room.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/thread.h"

static struct hf_file *open_file(const char *path, enum hf_open_mode how)
{
    struct hf_file *file = NULL;
    struct hf_error err;
    assert_int_equal(hf_file_open(path, how, 0600, &file, &err), HF_ERR_OK);
    return file;
}

static void test_each_mode_opens_what_it_says(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct hf_file *file = NULL;
    struct hf_file_info info;
    const char *path = at(room, "file");
    assert_int_equal(hf_file_open(path, HF_OPEN_READ, 0, &file, &err), HF_ERR_NOT_FOUND);
    assert_message(&err, "open ", path, ": No such file or directory");
    assert_int_equal(hf_file_open(path, HF_OPEN_WRITE, 0, &file, &err), HF_ERR_NOT_FOUND);
    file = open_file(path, HF_OPEN_CREATE_NEW);
    assert_int_equal(hf_file_info(file, &info, &err), HF_ERR_OK);
    assert_int_equal(info.mode, 0600);
    assert_int_equal(hf_file_close(file, &err), HF_ERR_OK);
    file = NULL;
    assert_int_equal(hf_file_open(path, HF_OPEN_CREATE_NEW, 0600, &file, &err), HF_ERR_EXISTS);
    assert_message(&err, "open ", path, ": File exists");
    put(path, "kept");
    hf_file_drop(open_file(path, HF_OPEN_CREATE));
    hf_file_drop(open_file(path, HF_OPEN_WRITE));
    hf_file_drop(open_file(path, HF_OPEN_APPEND));
    assert_content(path, "kept");
    hf_file_drop(open_file(at(room, "made"), HF_OPEN_CREATE));
    hf_file_drop(open_file(at(room, "appended"), HF_OPEN_APPEND));
    assert_int_equal(entry_count(room->dir), 3);
    assert_null(file);
    hf_file_drop(NULL);
}

static void test_creating_never_follows_a_link(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct hf_file *file = NULL;
    assert_int_equal(symlink("target", at(room, "link")), 0);
    assert_int_equal(hf_file_open(at(room, "link"), HF_OPEN_CREATE, 0600, &file, &err), HF_ERR_IO);
    assert_non_null(strstr(err.message, ": Too many levels of symbolic links"));
    assert_int_equal(hf_file_open(at(room, "link"), HF_OPEN_CREATE_NEW, 0600, &file, &err),
                     HF_ERR_EXISTS);
    assert_false(hf_fs_exists(at(room, "target")));
}

static void test_only_regular_files_are_read(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct hf_file *file = NULL;
    const char *fifo = at(room, "fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(hf_file_open(fifo, HF_OPEN_READ, 0, &file, &err), HF_ERR_INVALID);
    assert_message(&err, "open ", fifo, ": not a regular file");
    assert_int_equal(hf_file_open(room->dir, HF_OPEN_READ, 0, &file, &err), HF_ERR_INVALID);
    assert_null(file);
}

static void test_opening_needs_memory_twice(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct hf_file *file = NULL;
    const char *path = at(room, "file");
    for (uint64_t nth = 1; nth <= 2; nth++) {
        hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, nth, 1);
        assert_int_equal(hf_file_open(path, HF_OPEN_CREATE, 0600, &file, &err), HF_ERR_NO_MEMORY);
        assert_message(&err, "open ", path, "");
    }
    assert_false(hf_fs_exists(path));
}

static void test_writes_and_reads_find_each_other(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    HF_CLEANUP(hf_file_drop) struct hf_file *file = open_file(at(room, "f"), HF_OPEN_CREATE_NEW);
    char out[32] = "";
    size_t got = 99;
    assert_int_equal(hf_file_write_at(file, 5, hf_bytes_of("world", 5), &err), HF_ERR_OK);
    assert_int_equal(hf_file_write_at(file, 0, hf_bytes_of("hello", 5), &err), HF_ERR_OK);
    assert_int_equal(hf_file_write_at(file, 3, hf_bytes_of(NULL, 0), &err), HF_ERR_OK);
    assert_int_equal(hf_file_read_at(file, 0, out, sizeof out, &got, &err), HF_ERR_OK);
    assert_int_equal(got, 10);
    assert_memory_equal(out, "helloworld", 10);
    assert_int_equal(hf_file_read_at(file, 4, out, 2, &got, &err), HF_ERR_OK);
    assert_int_equal(got, 2);
    assert_memory_equal(out, "ow", 2);
    assert_int_equal(hf_file_read_at(file, 10, out, 1, &got, &err), HF_ERR_OK);
    assert_int_equal(got, 0);
    assert_int_equal(hf_file_read_at(file, 1 << 30, out, 1, &got, &err), HF_ERR_OK);
    assert_int_equal(got, 0);
}

static void test_offsets_beyond_any_file_are_refused(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "f");
    HF_CLEANUP(hf_file_drop) struct hf_file *file = open_file(path, HF_OPEN_CREATE_NEW);
    char byte = 'x';
    size_t got;
    assert_int_equal(hf_file_read_at(file, UINT64_MAX, &byte, 1, &got, &err), HF_ERR_INVALID);
    assert_message(&err, "read ", path, ": 1 bytes at 18446744073709551615 lie beyond any file");
    assert_int_equal(hf_file_read_at_uncached(file, INT64_MAX, &byte, 1, &got, &err),
                     HF_ERR_INVALID);
    assert_int_equal(hf_file_write_at(file, INT64_MAX, hf_bytes_of(&byte, 1), &err),
                     HF_ERR_INVALID);
    assert_int_equal(hf_file_truncate(file, UINT64_MAX, &err), HF_ERR_INVALID);
}

static void test_a_file_open_for_reading_is_not_written(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "f");
    put(path, "kept");
    HF_CLEANUP(hf_file_drop) struct hf_file *file = open_file(path, HF_OPEN_READ);
    assert_int_equal(hf_file_write_at(file, 7, hf_bytes_of("x", 1), &err), HF_ERR_IO);
    assert_message(&err, "write ", path, " at 7: Bad file descriptor");
    assert_int_equal(hf_file_truncate(file, 0, &err), HF_ERR_IO);
    assert_message(&err, "truncate ", path, " to 0: Invalid argument");
    assert_content(path, "kept");
}

static void test_appending_goes_to_the_end(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "f");
    put(path, "a");
    HF_CLEANUP(hf_file_drop) struct hf_file *one = open_file(path, HF_OPEN_APPEND);
    HF_CLEANUP(hf_file_drop) struct hf_file *two = open_file(path, HF_OPEN_APPEND);
    assert_int_equal(hf_file_append(one, hf_bytes_of("b", 1), &err), HF_ERR_OK);
    assert_int_equal(hf_file_append(two, hf_bytes_of("c", 1), &err), HF_ERR_OK);
    assert_int_equal(hf_file_append(one, hf_bytes_of("d", 1), &err), HF_ERR_OK);
    assert_content(path, "abcd");
    size_t got;
    char byte;
    assert_int_equal(hf_file_read_at(one, 0, &byte, 1, &got, &err), HF_ERR_IO);
    assert_message(&err, "read ", path, " at 0: Bad file descriptor");
}

static void test_truncation_cuts_and_extends(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct hf_file_info info;
    HF_CLEANUP(hf_file_drop) struct hf_file *file = open_file(at(room, "f"), HF_OPEN_CREATE_NEW);
    assert_int_equal(hf_file_truncate(file, 1 << 20, &err), HF_ERR_OK);
    assert_int_equal(hf_file_info(file, &info, &err), HF_ERR_OK);
    assert_int_equal(info.size_bytes, 1 << 20);
    assert_true(info.disk_bytes < info.size_bytes);
    assert_int_equal(hf_file_truncate(file, 3, &err), HF_ERR_OK);
    assert_int_equal(hf_file_info(file, &info, &err), HF_ERR_OK);
    assert_int_equal(info.size_bytes, 3);
}

static void test_faults_name_the_file_and_the_place(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "f"), *log = at(room, "log");
    HF_CLEANUP(hf_file_drop) struct hf_file *file = open_file(path, HF_OPEN_CREATE_NEW);
    HF_CLEANUP(hf_file_drop) struct hf_file *end = open_file(log, HF_OPEN_APPEND);
    char byte;
    size_t got;
    hf_fault_arm("os.file.read", HF_ERR_IO);
    assert_int_equal(hf_file_read_at(file, 4096, &byte, 1, &got, &err), HF_ERR_IO);
    assert_message(&err, "read ", path, " at 4096: injected fault at os.file.read");
    hf_fault_arm("os.file.read", HF_ERR_IO);
    assert_int_equal(hf_file_read_at_uncached(file, 4096, &byte, 1, &got, &err), HF_ERR_IO);
    assert_message(&err, "read ", path, " at 4096: injected fault at os.file.read");
    hf_fault_arm("os.file.write", HF_ERR_NO_SPACE);
    assert_int_equal(hf_file_write_at(file, 8, hf_bytes_of("x", 1), &err), HF_ERR_NO_SPACE);
    assert_message(&err, "write ", path, " at 8: injected fault at os.file.write");
    hf_fault_arm("os.file.write", HF_ERR_NO_SPACE);
    assert_int_equal(hf_file_append(end, hf_bytes_of("x", 1), &err), HF_ERR_NO_SPACE);
    assert_message(&err, "append to ", log, ": injected fault at os.file.write");
}

static void test_after_a_failed_sync_no_later_one_succeeds(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "f");
    HF_CLEANUP(hf_file_drop) struct hf_file *file = open_file(path, HF_OPEN_CREATE_NEW);
    assert_int_equal(hf_file_write_at(file, 0, hf_bytes_of("x", 1), &err), HF_ERR_OK);
    hf_file_flush_hint(file, 0, 1);
    hf_file_flush_hint(file, UINT64_MAX, UINT64_MAX);
    assert_int_equal(hf_file_sync(file, &err), HF_ERR_OK);
    hf_fault_arm("os.file.sync", HF_ERR_IO);
    assert_int_equal(hf_file_sync(file, &err), HF_ERR_IO);
    assert_message(&err, "sync ", path, ": injected fault at os.file.sync");
    assert_int_equal(hf_file_sync(file, &err), HF_ERR_IO);
    assert_message(&err, "sync ", path, ": an earlier sync of it failed");
}

static void test_a_refused_sync_fails_for_good_too(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    HF_CLEANUP(hf_file_drop) struct hf_file *file = open_file(path, HF_OPEN_WRITE);
    assert_int_equal(hf_file_sync(file, &err), HF_ERR_IO);
    assert_message(&err, "sync ", path, ": Invalid argument");
    assert_int_equal(hf_file_sync(file, &err), HF_ERR_IO);
    assert_message(&err, "sync ", path, ": an earlier sync of it failed");
}

static void test_a_file_that_may_not_grow_says_where(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    static uint8_t content[5000];
    char out[1001];
    size_t got;
    const char *path = at(room, "f"), *log = at(room, "log");
    HF_CLEANUP(hf_file_drop) struct hf_file *file = open_file(path, HF_OPEN_CREATE_NEW);
    HF_CLEANUP(hf_file_drop) struct hf_file *end = open_file(log, HF_OPEN_APPEND);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 1000, .rlim_max = before.rlim_max};
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct hf_error append_err;
    enum hf_err code = hf_file_write_at(file, 0, hf_bytes_of(content, sizeof content), &err);
    enum hf_err append_code = hf_file_append(end, hf_bytes_of(content, 1001), &append_err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(code, HF_ERR_IO);
    assert_message(&err, "write ", path, " at 1000: File too large");
    assert_int_equal(append_code, HF_ERR_IO);
    assert_message(&append_err, "append to ", log, ": File too large");
    assert_int_equal(hf_file_read_at(file, 0, out, sizeof out, &got, &err), HF_ERR_OK);
    assert_int_equal(got, 1000);
}

static void test_holes_are_skipped_where_the_file_system_knows_them(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    uint64_t start, end;
    uint64_t place = 8 << 20;
    HF_CLEANUP(hf_file_drop) struct hf_file *file = open_file(at(room, "f"), HF_OPEN_CREATE_NEW);
    assert_int_equal(hf_file_next_data(file, 0, &start, &end, &err), HF_ERR_OK);
    assert_int_equal(start, 0);
    assert_int_equal(end, 0);
    assert_int_equal(hf_file_write_at(file, place, hf_bytes_of("x", 1), &err), HF_ERR_OK);
    assert_int_equal(hf_file_truncate(file, 2 * place, &err), HF_ERR_OK);
    assert_int_equal(hf_file_next_data(file, 5, &start, &end, &err), HF_ERR_OK);
    /* The data must lie in what is answered, whatever the file system rounds to. */
    assert_true(start <= place && end > place);
    if (start == 5) {
        skip(); /* a file system without holes answers all */
    }
    assert_true(end < 2 * place);
    assert_int_equal(hf_file_next_data(file, end, &start, &end, &err), HF_ERR_OK);
    assert_int_equal(start, 2 * place);
    assert_int_equal(end, 2 * place);
    assert_int_equal(hf_file_next_data(file, 3 * place, &start, &end, &err), HF_ERR_OK);
    assert_int_equal(start, 2 * place);
}

static void test_a_whole_file_is_read_up_to_its_limit(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT(100);
    HF_CLEANUP(hf_buf_fini) struct hf_buf small = HF_BUF_INIT(3);
    const char *path = at(room, "f");
    put(path, "12345");
    assert_int_equal(hf_buf_append_text(&buf, "before", &err), HF_ERR_OK);
    assert_int_equal(hf_fs_read_whole(path, 5, &buf, &err), HF_ERR_OK);
    assert_string_equal(hf_buf_text(&buf), "12345");
    assert_int_equal(hf_fs_read_whole(path, 4, &buf, &err), HF_ERR_LIMIT);
    assert_message(&err, "read ", path, ": 5 bytes, at most 4 are allowed");
    assert_int_equal(hf_fs_read_whole(path, 5, &small, &err), HF_ERR_LIMIT);
    assert_message(&err, "read ", path, ": buffer: 0 bytes and 5 more exceed the limit of 3");
    put(path, "");
    assert_int_equal(hf_fs_read_whole(path, 0, &buf, &err), HF_ERR_OK);
    assert_int_equal(buf.len, 0);
    assert_int_equal(hf_fs_read_whole(at(room, "absent"), 5, &buf, &err), HF_ERR_NOT_FOUND);
    assert_int_equal(hf_fs_read_whole(room->dir, 5, &buf, &err), HF_ERR_INVALID);
}

static void test_a_file_that_hides_its_size_is_read_too(void **state)
{
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT(1 << 20);
    (void)state;
    assert_int_equal(hf_fs_read_whole("/proc/self/status", 1 << 20, &buf, &err), HF_ERR_OK);
    assert_non_null(strstr(hf_buf_text(&buf), "\nVmRSS:"));
    assert_int_equal(hf_fs_read_whole("/proc/self/status", 10, &buf, &err), HF_ERR_LIMIT);
    assert_string_equal(err.message,
                        "read /proc/self/status: more than the 10 bytes that are allowed");
}

static void test_a_failed_read_of_a_whole_file_is_told(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT(100);
    put(at(room, "f"), "12345");
    for (uint64_t nth = 1; nth <= 2; nth++) {
        hf_fault_disarm_all();
        hf_fault_arm_nth("os.file.read", HF_ERR_IO, nth, 1);
        assert_int_equal(hf_fs_read_whole(at(room, "f"), 10, &buf, &err), HF_ERR_IO);
        assert_non_null(strstr(err.message, "injected fault at os.file.read"));
    }
}

static void test_a_lock_excludes_until_it_is_dropped(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct hf_lock_file *lock = NULL, *second = NULL;
    char expected[64];
    const char *path = at(room, "lock");
    assert_int_equal(hf_lock_file_take(path, &lock, &err), HF_ERR_OK);
    assert_int_equal(hf_lock_file_take(path, &second, &err), HF_ERR_CONFLICT);
    (void)snprintf(expected, sizeof expected, ": process %d holds it", (int)getpid());
    assert_message(&err, "lock ", path, expected);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(hf_lock_file_take(path, &second, &err), HF_ERR_CONFLICT);
    assert_message(&err, "lock ", path, ": another process holds it");
    assert_null(second);
    hf_lock_file_drop(lock);
    assert_int_equal(hf_lock_file_take(path, &second, &err), HF_ERR_OK);
    hf_lock_file_drop(second);
    hf_lock_file_drop(NULL);
    assert_true(hf_fs_exists(path));
}

static void test_anothers_lock_file_is_borrowed_as_it_is(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct hf_lock_file *lock = NULL, *second = NULL;
    HF_CLEANUP(hf_buf_fini) struct hf_buf content = HF_BUF_INIT(100);
    const char *path = at(room, "lock");
    assert_int_equal(hf_lock_file_borrow(path, &lock, &err), HF_ERR_NOT_FOUND);
    assert_false(hf_fs_exists(path));
    put(path, "of old");
    assert_int_equal(hf_lock_file_borrow(path, &lock, &err), HF_ERR_OK);
    assert_int_equal(hf_lock_file_borrow(path, &second, &err), HF_ERR_CONFLICT);
    assert_message(&err, "lock ", path, ": another process holds it");
    hf_lock_file_drop(lock);
    assert_int_equal(hf_fs_read_whole(path, 100, &content, &err), HF_ERR_OK);
    assert_int_equal(content.len, 6);
    assert_memory_equal(content.data, "of old", 6);
    put(path, "4711\n"); /* as mongod writes it */
    assert_int_equal(hf_lock_file_borrow(path, &lock, &err), HF_ERR_OK);
    assert_int_equal(hf_lock_file_borrow(path, &second, &err), HF_ERR_CONFLICT);
    assert_message(&err, "lock ", path, ": process 4711 holds it");
    hf_lock_file_drop(lock);
}

static void test_a_record_lock_of_another_process_is_seen(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    char expected[64];
    int ready[2], go[2], status;
    char byte = 0;
    const char *path = at(room, "records");
    assert_int_equal(hf_lock_file_check_records(path, &err), HF_ERR_OK);
    assert_false(hf_fs_exists(path));
    put(path, "x");
    assert_int_equal(hf_lock_file_check_records(path, &err), HF_ERR_OK);
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct flock wanted = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
        int fd = open(path, O_RDWR | O_CLOEXEC);
        (void)close(go[1]);
        bool held = fcntl(fd, F_SETLK, &wanted) == 0 && write(ready[1], &byte, 1) == 1;
        (void)!read(go[0], &byte, 1);
        _exit(held ? 0 : 1);
    }
    (void)close(ready[1]);
    (void)close(go[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(hf_lock_file_check_records(path, &err), HF_ERR_CONFLICT);
    (void)snprintf(expected, sizeof expected, ": process %d holds it", (int)child);
    assert_message(&err, "lock ", path, expected);
    (void)close(go[1]);
    (void)close(ready[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(hf_lock_file_check_records(path, &err), HF_ERR_OK);
}

static void test_a_range_is_made_zero_and_the_size_stays(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct hf_file_info info;
    uint8_t bytes[20000];
    size_t got = 0;
    const char *path = at(room, "zeros");
    struct hf_file *file = open_file(path, HF_OPEN_CREATE_NEW);
    memset(bytes, 'x', sizeof bytes);
    assert_int_equal(hf_file_write_at(file, 0, hf_bytes_of(bytes, sizeof bytes), &err), HF_ERR_OK);
    assert_int_equal(hf_file_zero(file, 100, 0, &err), HF_ERR_OK);
    assert_int_equal(hf_file_zero(file, 5000, 10000, &err), HF_ERR_OK);
    assert_int_equal(hf_file_read_at(file, 0, bytes, sizeof bytes, &got, &err), HF_ERR_OK);
    assert_int_equal(got, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        assert_int_equal(bytes[i], i >= 5000 && i < 15000 ? 0 : 'x');
    }
    assert_int_equal(hf_file_info(file, &info, &err), HF_ERR_OK);
    assert_int_equal(info.size_bytes, sizeof bytes);
    assert_int_equal(info.names, 1);
    hf_fault_arm("os.file.zero", HF_ERR_NO_SPACE);
    assert_int_equal(hf_file_zero(file, 8, 8, &err), HF_ERR_NO_SPACE);
    assert_message(&err, "make a hole in ", path, " at 8: injected fault at os.file.zero");
    assert_int_equal(hf_file_zero(file, UINT64_MAX - 1, 8, &err), HF_ERR_INVALID);
    hf_file_drop(file);
}

static void test_a_lock_goes_with_its_process(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct hf_lock_file *lock = NULL;
    const char *path = at(room, "lock");
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(hf_lock_file_take(path, &lock, &err) == HF_ERR_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(hf_lock_file_take(path, &lock, &err), HF_ERR_OK);
    hf_lock_file_drop(lock);
}

/* Starts children that have every open file of ours for a moment, as one does that is to become a program. */
static void fork_on(void *argument)
{
    struct hf_cancel *stop = argument;
    while (!hf_cancel_requested(stop)) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            (void)usleep(5000);
            _exit(0);
        }
        assert_int_equal(waitpid(child, NULL, 0), child);
    }
}

static void test_a_lock_does_not_outlive_its_drop_in_a_forked_child(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct hf_lock_file *lock = NULL;
    struct hf_thread *thread = NULL;
    struct hf_cancel stop;
    char name[32];
    hf_cancel_init(&stop);
    assert_int_equal(hf_thread_start("forks", fork_on, &stop, &thread, &err), HF_ERR_OK);
    for (unsigned i = 0; i < 150; i++) {
        (void)snprintf(name, sizeof name, "lock-%u", i);
        const char *path = at(room, name);
        /* A file that was just published, and one whose lock was just dropped. */
        assert_int_equal(hf_fs_publish_new(path, hf_bytes_of("x", 1), 0600, &err), HF_ERR_OK);
        for (unsigned again = 0; again < 2; again++) {
            enum hf_err code = hf_lock_file_borrow(path, &lock, &err);
            if (code != HF_ERR_OK) {
                fail_msg("%s", err.message);
            }
            hf_lock_file_drop(lock);
        }
    }
    hf_cancel_request(&stop);
    hf_thread_join(thread);
}

static void test_a_lock_that_cannot_be_made_says_why(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct hf_lock_file *lock = NULL;
    const char *path = at(room, "absent/lock");
    assert_int_equal(hf_lock_file_take(path, &lock, &err), HF_ERR_NOT_FOUND);
    assert_message(&err, "lock ", path, ": No such file or directory");
    hf_fault_arm("base.alloc", HF_ERR_NO_MEMORY);
    assert_int_equal(hf_lock_file_take(path, &lock, &err), HF_ERR_NO_MEMORY);
    assert_null(lock);
}

/* Where the file system cannot (most of those that tests run on), nothing changes. */
static void test_a_clone_is_whole_or_not_at_all(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    HF_CLEANUP(hf_file_drop) struct hf_file *from = NULL;
    HF_CLEANUP(hf_file_drop) struct hf_file *to = NULL;
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(64);
    put(at(room, "from"), "of the one");
    put(at(room, "to"), "the other");
    assert_int_equal(hf_file_open(at(room, "from"), HF_OPEN_READ, 0, &from, &err), HF_ERR_OK);
    assert_int_equal(hf_file_open(at(room, "to"), HF_OPEN_WRITE, 0, &to, &err), HF_ERR_OK);
    bool cloned = hf_file_clone(from, to);
    assert_int_equal(hf_fs_read_whole(at(room, "to"), 64, &text, &err), HF_ERR_OK);
    assert_string_equal(hf_buf_text(&text), cloned ? "of the one" : "the other");
    assert_false(hf_file_clone(to, from)); /* open for reading only */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_ROOM(test_each_mode_opens_what_it_says),
        IN_ROOM(test_creating_never_follows_a_link),
        IN_ROOM(test_only_regular_files_are_read),
        IN_ROOM(test_opening_needs_memory_twice),
        IN_ROOM(test_writes_and_reads_find_each_other),
        IN_ROOM(test_offsets_beyond_any_file_are_refused),
        IN_ROOM(test_a_file_open_for_reading_is_not_written),
        IN_ROOM(test_a_clone_is_whole_or_not_at_all),
        IN_ROOM(test_appending_goes_to_the_end),
        IN_ROOM(test_truncation_cuts_and_extends),
        IN_ROOM(test_faults_name_the_file_and_the_place),
        IN_ROOM(test_after_a_failed_sync_no_later_one_succeeds),
        IN_ROOM(test_a_refused_sync_fails_for_good_too),
        IN_ROOM(test_a_file_that_may_not_grow_says_where),
        IN_ROOM(test_holes_are_skipped_where_the_file_system_knows_them),
        IN_ROOM(test_a_whole_file_is_read_up_to_its_limit),
        cmocka_unit_test(test_a_file_that_hides_its_size_is_read_too),
        IN_ROOM(test_a_failed_read_of_a_whole_file_is_told),
        IN_ROOM(test_a_lock_excludes_until_it_is_dropped),
        IN_ROOM(test_anothers_lock_file_is_borrowed_as_it_is),
        IN_ROOM(test_a_record_lock_of_another_process_is_seen),
        IN_ROOM(test_a_range_is_made_zero_and_the_size_stays),
        IN_ROOM(test_a_lock_goes_with_its_process),
        IN_ROOM(test_a_lock_does_not_outlive_its_drop_in_a_forked_child),
        IN_ROOM(test_a_lock_that_cannot_be_made_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
