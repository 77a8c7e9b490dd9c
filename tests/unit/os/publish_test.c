/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A published file is there whole or not at all: on success, on each failure, and after death at each step.
 */
#include "room.h"

#include "base/thread.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct hf_bytes text(const char *content)
{
    return hf_bytes_of(content, strlen(content));
}

static void test_a_new_file_is_there_with_its_content_and_mode(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct hf_file_info info;
    const char *path = at(room, "object");
    assert_int_equal(hf_fs_publish_new(path, text("content"), 0600, &err), HF_ERR_OK);
    assert_content(path, "content");
    assert_int_equal(hf_fs_stat(path, &info, &err), HF_ERR_OK);
    assert_int_equal(info.mode, 0600);
    assert_int_equal(entry_count(room->dir), 1);
    assert_int_equal(hf_fs_publish_new(at(room, "empty"), text(""), 0600, &err), HF_ERR_OK);
    assert_content(at(room, "empty"), "");
}

static void test_a_taken_name_is_refused_and_nothing_changes(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "object");
    put(path, "old");
    assert_int_equal(hf_fs_publish_new(path, text("new"), 0600, &err), HF_ERR_EXISTS);
    assert_message(&err, "publish ", path, ": File exists");
    assert_content(path, "old");
    assert_int_equal(symlink("nowhere", at(room, "link")), 0);
    assert_int_equal(hf_fs_publish_new(at(room, "link"), text("new"), 0600, &err), HF_ERR_EXISTS);
    assert_int_equal(entry_count(room->dir), 2);
}

static void test_replacing_puts_the_new_content_in_the_old_place(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "config");
    assert_int_equal(hf_fs_publish_replace(path, text("first"), 0600, &err), HF_ERR_OK);
    assert_int_equal(hf_fs_publish_replace(path, text("second"), 0600, &err), HF_ERR_OK);
    assert_content(path, "second");
    assert_int_equal(entry_count(room->dir), 1);
}

static void test_a_missing_directory_is_named(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "absent/object");
    assert_int_equal(hf_fs_publish_new(path, text("x"), 0600, &err), HF_ERR_NOT_FOUND);
    assert_message(&err, "publish ", path, ": make a temporary file: No such file or directory");
    assert_int_equal(hf_fs_publish_replace(room->dir, text("x"), 0600, &err), HF_ERR_IO);
    assert_message(&err, "publish ", room->dir, ": rename: Is a directory");
}

static const char *const points[] = {"os.fs.publish.write", "os.fs.publish.sync",
                                     "os.fs.publish.link", "os.fs.publish.dirsync"};

static void test_a_failure_before_the_name_is_there_leaves_no_trace(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "object");
    for (size_t i = 0; i + 1 < HF_ARRAY_LEN(points); i++) {
        char expected[200];
        hf_fault_arm(points[i], HF_ERR_NO_SPACE);
        assert_int_equal(hf_fs_publish_new(path, text("x"), 0600, &err), HF_ERR_NO_SPACE);
        (void)snprintf(expected, sizeof expected, ": injected fault at %s", points[i]);
        assert_message(&err, "publish ", path, expected);
        assert_int_equal(entry_count(room->dir), 0);
    }
    assert_int_equal(hf_fs_publish_new(path, text("x"), 0600, &err), HF_ERR_OK);
}

static void test_a_name_that_is_not_synced_stays_whole(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "object");
    hf_fault_arm("os.fs.publish.dirsync", HF_ERR_IO);
    assert_int_equal(hf_fs_publish_new(path, text("x"), 0600, &err), HF_ERR_IO);
    assert_content(path, "x");
    assert_int_equal(entry_count(room->dir), 1);
    assert_int_equal(hf_fs_publish_new(path, text("x"), 0600, &err), HF_ERR_EXISTS);
}

static void test_a_failed_replacement_leaves_the_old_or_the_new(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "config");
    put(path, "old");
    for (size_t i = 0; i < HF_ARRAY_LEN(points); i++) {
        hf_fault_arm(points[i], HF_ERR_IO);
        assert_int_equal(hf_fs_publish_replace(path, text("new"), 0600, &err), HF_ERR_IO);
        assert_content(path, i + 1 < HF_ARRAY_LEN(points) ? "old" : "new");
        assert_int_equal(entry_count(room->dir), 1);
    }
}

static void test_without_memory_nothing_is_begun(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "object");
    /* The third allocation is the one for the directory's sync: by then the file has its name. */
    for (uint64_t nth = 1; nth <= 3; nth++) {
        hf_fault_disarm_all();
        hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, nth, 1);
        assert_int_equal(hf_fs_publish_new(path, text("x"), 0600, &err), HF_ERR_NO_MEMORY);
        assert_int_equal(entry_count(room->dir), nth == 3);
    }
}

static void test_a_disk_that_takes_no_more_is_reported_by_the_write(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "object");
    struct rlimit before, small = {.rlim_cur = 1000, .rlim_max = RLIM_INFINITY};
    static uint8_t content[5000];
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum hf_err code = hf_fs_publish_new(path, hf_bytes_of(content, sizeof content), 0600, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(code, HF_ERR_IO);
    assert_message(&err, "publish ", path, ": write: File too large");
    assert_int_equal(entry_count(room->dir), 0);
}

/* Content so large that it goes past the page cache where the file system can. */
#define LARGE_BYTES (((size_t)2 << 20) + 123)

static uint8_t *large_content(void)
{
    uint8_t *content = hf_alloc_pages(LARGE_BYTES);
    assert_non_null(content);
    for (size_t i = 0; i < LARGE_BYTES; i++) {
        content[i] = (uint8_t)(i * 31 + i / 4096);
    }
    return content;
}

static void test_large_content_arrives_and_stays_out_of_the_page_cache(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf found = HF_BUF_INIT(LARGE_BYTES);
    HF_CLEANUP(hf_free) uint8_t *content = large_content();
    const char *path = at(room, "object");
    bool can = can_write_past_cache(room->dir);
    assert_int_equal(hf_fs_publish_new(path, hf_bytes_of(content, LARGE_BYTES), 0600, &err),
                     HF_ERR_OK);
    /* Where the file system cannot, all of it is there; else the end that fills no page. */
    assert_true(resident_pages(path, 0, LARGE_BYTES) <=
                (can ? 1 : LARGE_BYTES / HF_PAGE_BYTES + 1));
    assert_int_equal(hf_fs_read_whole(path, LARGE_BYTES, &found, &err), HF_ERR_OK);
    assert_int_equal(found.len, LARGE_BYTES);
    assert_memory_equal(found.data, content, LARGE_BYTES);
}

static void test_large_content_may_lie_anywhere_in_memory(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf found = HF_BUF_INIT(LARGE_BYTES);
    HF_CLEANUP(hf_free) uint8_t *content = large_content();
    const char *path = at(room, "object");
    assert_int_equal(hf_fs_publish_new(path, hf_bytes_of(content + 7, LARGE_BYTES - 7), 0600, &err),
                     HF_ERR_OK);
    assert_int_equal(hf_fs_read_whole(path, LARGE_BYTES, &found, &err), HF_ERR_OK);
    assert_int_equal(found.len, LARGE_BYTES - 7);
    assert_memory_equal(found.data, content + 7, LARGE_BYTES - 7);
}

static void test_a_disk_that_takes_no_more_of_a_large_file_is_reported(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    HF_CLEANUP(hf_free) uint8_t *content = large_content();
    const char *path = at(room, "object");
    struct rlimit before, small = {.rlim_cur = ((rlim_t)1 << 20) + 1000};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum hf_err code = hf_fs_publish_new(path, hf_bytes_of(content, LARGE_BYTES), 0600, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(code, HF_ERR_IO);
    assert_message(&err, "publish ", path, ": write: File too large");
    assert_int_equal(entry_count(room->dir), 0);
}

/* Publishes in a child that dies at the point. */
static void die_at(const char *point, const char *path, bool replace)
{
    struct hf_error err;
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        hf_fault_arm_death(point, 1);
        enum hf_err code = replace ? hf_fs_publish_replace(path, text("new"), 0600, &err)
                                   : hf_fs_publish_new(path, text("new"), 0600, &err);
        _exit(code == HF_ERR_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void test_death_at_each_step_leaves_all_or_nothing_after_a_sweep(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "object");
    for (size_t i = 0; i < HF_ARRAY_LEN(points); i++) {
        bool named = i + 1 == HF_ARRAY_LEN(points);
        die_at(points[i], path, false);
        assert_int_equal(entry_count(room->dir), 1); /* the temporary, or the object */
        assert_int_equal(hf_fs_exists(path), named);
        assert_int_equal(hf_fs_sweep_temporaries(room->dir, &err), HF_ERR_OK);
        assert_int_equal(entry_count(room->dir), named ? 1 : 0);
    }
    assert_content(path, "new");
}

static void test_death_while_replacing_leaves_the_old_or_the_new(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "config");
    put(path, "old");
    for (size_t i = 0; i < HF_ARRAY_LEN(points); i++) {
        die_at(points[i], path, true);
        assert_content(path, i + 1 < HF_ARRAY_LEN(points) ? "old" : "new");
        assert_int_equal(hf_fs_sweep_temporaries(room->dir, &err), HF_ERR_OK);
        assert_int_equal(entry_count(room->dir), 1);
    }
}

static void test_a_sweep_takes_temporaries_and_nothing_else(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    put(at(room, ".hf-tmp-0123456789abcdef"), "left by a crash");
    put(at(room, "object"), "kept");
    put(at(room, ".hidden"), "kept");
    assert_int_equal(hf_fs_sweep_temporaries(room->dir, &err), HF_ERR_OK);
    assert_int_equal(entry_count(room->dir), 2);
    const char *absent = at(room, "absent");
    assert_int_equal(hf_fs_sweep_temporaries(absent, &err), HF_ERR_NOT_FOUND);
    assert_int_equal(strncmp(err.message, "sweep ", 6), 0);
}

static void test_a_name_of_a_temporary_is_known_by_all_of_it(void **state)
{
    (void)state;
    assert_true(hf_fs_is_temporary_name(".hf-tmp-0123456789abcdef"));
    static const char *const others[] = {"",
                                         ".hf-tmp-",
                                         ".hf-tmp-0123456789abcde",
                                         ".hf-tmp-0123456789abcdef0",
                                         ".hf-tmp-0123456789abcdeF",
                                         ".hf-tmp-probe-0123456789",
                                         "hf-tmp-0123456789abcdef"};
    for (size_t i = 0; i < HF_ARRAY_LEN(others); i++) {
        assert_false(hf_fs_is_temporary_name(others[i]));
    }
}

static void test_a_sweep_leaves_what_a_living_process_writes(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, ".hf-tmp-0123456789abcdef");
    put(path, "being written");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(hf_fs_sweep_temporaries(room->dir, &err), HF_ERR_OK);
    assert_true(hf_fs_exists(path));
    (void)close(fd);
    assert_int_equal(hf_fs_sweep_temporaries(room->dir, &err), HF_ERR_OK);
    assert_false(hf_fs_exists(path));
}

static void test_a_sweep_that_cannot_remove_says_what(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    assert_int_equal(mkdir(at(room, ".hf-tmp-directory"), 0700), 0);
    assert_true(hf_fs_sweep_temporaries(room->dir, &err) != HF_ERR_OK);
    assert_non_null(strstr(err.message, ".hf-tmp-directory: Is a directory"));
    hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, 3, 1); /* after the list's two */
    assert_int_equal(hf_fs_sweep_temporaries(room->dir, &err), HF_ERR_NO_MEMORY);
}

struct sweeping {
    const char *dir;
    atomic_bool ends;
};

static void sweep_again_and_again(void *argument)
{
    struct sweeping *sweeping = argument;
    struct hf_error err;
    while (!atomic_load(&sweeping->ends)) {
        assert_int_equal(hf_fs_sweep_temporaries(sweeping->dir, &err), HF_ERR_OK);
    }
}

static void test_a_sweep_at_the_wrong_moment_takes_nothing_that_is_needed(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct sweeping sweeping = {.dir = room->dir};
    struct hf_thread *threads[3] = {NULL};
    for (size_t i = 0; i < HF_ARRAY_LEN(threads); i++) {
        assert_int_equal(
            hf_thread_start("sweep", sweep_again_and_again, &sweeping, &threads[i], &err),
            HF_ERR_OK);
    }
    for (unsigned i = 0; i < 400; i++) {
        if (hf_fs_publish_replace(at(room, "note"), text("content"), 0600, &err) != HF_ERR_OK) {
            fail_msg("%u: %s", i, err.message);
        }
    }
    atomic_store(&sweeping.ends, true);
    for (size_t i = 0; i < HF_ARRAY_LEN(threads); i++) {
        hf_thread_join(threads[i]);
    }
    assert_content(at(room, "note"), "content");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_ROOM(test_a_new_file_is_there_with_its_content_and_mode),
        IN_ROOM(test_a_taken_name_is_refused_and_nothing_changes),
        IN_ROOM(test_replacing_puts_the_new_content_in_the_old_place),
        IN_ROOM(test_a_missing_directory_is_named),
        IN_ROOM(test_a_failure_before_the_name_is_there_leaves_no_trace),
        IN_ROOM(test_a_name_that_is_not_synced_stays_whole),
        IN_ROOM(test_a_failed_replacement_leaves_the_old_or_the_new),
        IN_ROOM(test_without_memory_nothing_is_begun),
        IN_ROOM(test_a_disk_that_takes_no_more_is_reported_by_the_write),
        IN_ROOM(test_large_content_arrives_and_stays_out_of_the_page_cache),
        IN_ROOM(test_large_content_may_lie_anywhere_in_memory),
        IN_ROOM(test_a_disk_that_takes_no_more_of_a_large_file_is_reported),
        IN_ROOM(test_death_at_each_step_leaves_all_or_nothing_after_a_sweep),
        IN_ROOM(test_death_while_replacing_leaves_the_old_or_the_new),
        IN_ROOM(test_a_sweep_takes_temporaries_and_nothing_else),
        cmocka_unit_test(test_a_name_of_a_temporary_is_known_by_all_of_it),
        IN_ROOM(test_a_sweep_leaves_what_a_living_process_writes),
        IN_ROOM(test_a_sweep_at_the_wrong_moment_takes_nothing_that_is_needed),
        IN_ROOM(test_a_sweep_that_cannot_remove_says_what),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
