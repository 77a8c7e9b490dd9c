/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver fs: what the contract suite, which knows no files, cannot see.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "os/fs.h"
#include "store/store.h"

struct fixture {
    char *dir;
    struct hf_store *store;
};

static void open_store(struct fixture *f, const struct hf_store_fs_options *more)
{
    struct hf_error err = {.message = ""};
    struct hf_store_fs_options options = *more;
    options.root = f->dir;
    hf_store_close(HF_TAKE(f->store));
    if (hf_store_fs_open(&options, &f->store, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
}

static int set_up(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);
    struct hf_error err;
    assert_non_null(f);
    assert_int_equal(hf_fs_make_temp_dir("hf-store-fs", &f->dir, &err), HF_ERR_OK);
    open_store(f, &(struct hf_store_fs_options){.reserve_bytes = 1});
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    hf_fault_disarm_all();
    hf_store_close(f->store);
    assert_int_equal(hf_fs_remove_tree(f->dir, &err), HF_ERR_OK);
    hf_free(f->dir);
    hf_free(f);
    return 0;
}

static char *path_in(const struct fixture *f, const char *name)
{
    char *path = hf_path_join(f->dir, name);
    assert_non_null(path);
    return path;
}

static void write_file(const struct fixture *f, const char *name)
{
    struct hf_error err;
    HF_CLEANUP(hf_free) char *path = path_in(f, name);
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    assert_int_equal(hf_file_open(path, HF_OPEN_CREATE_NEW, 0600, &file, &err), HF_ERR_OK);
}

static void make_dir(const struct fixture *f, const char *name)
{
    struct hf_error err;
    HF_CLEANUP(hf_free) char *path = path_in(f, name);
    assert_int_equal(hf_fs_make_dirs(path, 0700, &err), HF_ERR_OK);
}

static bool is_there(const struct fixture *f, const char *name)
{
    HF_CLEANUP(hf_free) char *path = path_in(f, name);
    return hf_fs_exists(path);
}

static size_t entry_count(const struct fixture *f, const char *dir)
{
    struct hf_error err;
    HF_CLEANUP(hf_free) char *path = path_in(f, dir);
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list names = {.names = NULL, .count = 0};
    assert_int_equal(hf_fs_list(path, 1000, &names, &err), HF_ERR_OK);
    return names.count;
}

static enum hf_err put(struct fixture *f, const char *name, const char *text, struct hf_error *err)
{
    return hf_store_put(f->store, hf_str_of(name), hf_bytes_of_str(hf_str_of(text)), NULL, err);
}

static enum hf_err size_of(struct fixture *f, const char *name)
{
    struct hf_error err;
    uint64_t size_bytes;
    return hf_store_size(f->store, hf_str_of(name), &size_bytes, &err);
}

static size_t list_count(struct fixture *f)
{
    struct hf_error err = {.message = ""};
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL, .count = 0};
    if (hf_store_list(f->store, hf_str_of(""), hf_str_of(""), 0, &list, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    return list.count;
}

static void test_an_object_is_a_read_only_file_of_its_name(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct hf_file_info info;
    HF_CLEANUP(hf_free) char *path = path_in(f, "j/01/p/0001");
    assert_int_equal(put(f, "j/01/p/0001", "bytes", &err), HF_ERR_OK);
    assert_int_equal(hf_fs_lstat(path, &info, &err), HF_ERR_OK);
    assert_int_equal(info.kind, HF_FILE_REGULAR);
    assert_int_equal(info.size_bytes, 5);
    assert_int_equal(info.mode & 0222, 0);
    assert_int_equal(entry_count(f, "j/01/p"), 1);
    assert_int_equal(entry_count(f, ""), 1);
}

static void test_objects_outlive_the_store_object(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    assert_int_equal(put(f, "j/01/p/0001", "bytes", &err), HF_ERR_OK);
    open_store(f, &(struct hf_store_fs_options){.read_only = false});
    assert_int_equal(size_of(f, "j/01/p/0001"), HF_ERR_OK);
    assert_int_equal(put(f, "j/01/p/0001", "bytes", &err), HF_ERR_OK);
    assert_int_equal(put(f, "j/01/p/0001", "other", &err), HF_ERR_EXISTS);
}

static void test_a_missing_root_is_made_only_when_asked(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct hf_store *store = NULL;
    HF_CLEANUP(hf_free) char *root = path_in(f, "deep/er");
    struct hf_store_fs_options options = {.root = root};
    assert_int_equal(hf_store_fs_open(&options, &store, &err), HF_ERR_NOT_FOUND);
    assert_null(store);
    assert_non_null(strstr(err.message, "open store "));
    assert_non_null(strstr(err.message, root));
    options.create = true;
    options.read_only = true;
    assert_int_equal(hf_store_fs_open(&options, &store, &err), HF_ERR_NOT_FOUND);
    assert_false(is_there(f, "deep"));
    options.read_only = false;
    assert_int_equal(hf_store_fs_open(&options, &store, &err), HF_ERR_OK);
    hf_store_close(store);
    assert_true(is_there(f, "deep/er"));
}

static void test_a_root_that_is_a_file_is_refused(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct hf_store *store = NULL;
    HF_CLEANUP(hf_free) char *root = path_in(f, "file");
    write_file(f, "file");
    assert_int_equal(hf_store_fs_open(&(struct hf_store_fs_options){.root = root}, &store, &err),
                     HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "not a directory"));
}

static void test_read_only_writes_nothing_not_even_at_open(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    assert_int_equal(put(f, "a/1", "bytes", &err), HF_ERR_OK);
    write_file(f, "a/.hf-tmp-0123456789abcdef");
    open_store(f, &(struct hf_store_fs_options){.read_only = true});
    assert_int_equal(entry_count(f, ""), 1);
    assert_int_equal(entry_count(f, "a"), 2);
    assert_int_equal(put(f, "a/2", "bytes", &err), HF_ERR_DENIED);
    assert_non_null(strstr(err.message, "put a/2: file://"));
    assert_int_equal(hf_store_delete(f->store, hf_str_of("a/1"), &err), HF_ERR_DENIED);
    assert_int_equal(size_of(f, "a/1"), HF_ERR_OK);
    assert_int_equal(list_count(f), 1);
    assert_false(hf_store_abilities(f->store).put_if_absent);
    assert_int_equal(entry_count(f, "a"), 2);
}

static void test_what_a_crash_left_is_swept_when_opening(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    assert_int_equal(put(f, "a/b/1", "bytes", &err), HF_ERR_OK);
    make_dir(f, "empty");
    write_file(f, ".hf-tmp-0000000000000001");
    write_file(f, "a/.hf-tmp-0000000000000002");
    write_file(f, "a/b/.hf-tmp-0000000000000003");
    write_file(f, "empty/.hf-tmp-0000000000000004");
    assert_int_equal(list_count(f), 1);
    open_store(f, &(struct hf_store_fs_options){.read_only = false});
    assert_int_equal(entry_count(f, ""), 2);
    assert_int_equal(entry_count(f, "a"), 1);
    assert_int_equal(entry_count(f, "a/b"), 1);
    assert_int_equal(entry_count(f, "empty"), 0);
    assert_int_equal(list_count(f), 1);
}

static void test_a_directory_is_swept_when_first_written_to(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    make_dir(f, "a");
    write_file(f, "a/.hf-tmp-0000000000000002");
    assert_int_equal(put(f, "a/1", "bytes", &err), HF_ERR_OK);
    assert_int_equal(entry_count(f, "a"), 1);
}

static void test_the_reserve_is_kept_free(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct hf_store_put_options use_reserve = {.use_reserve = true};
    assert_int_equal(put(f, "before", "bytes", &err), HF_ERR_OK);
    open_store(f, &(struct hf_store_fs_options){.reserve_bytes = UINT64_MAX - 1});
    assert_int_equal(put(f, "j/1", "bytes", &err), HF_ERR_NO_SPACE);
    assert_non_null(strstr(err.message, "put j/1: "));
    assert_non_null(strstr(err.message, "are kept for grooming"));
    assert_false(is_there(f, "j"));
    /* What is there already needs no room. */
    assert_int_equal(put(f, "before", "bytes", &err), HF_ERR_OK);
    assert_int_equal(put(f, "before", "other", &err), HF_ERR_EXISTS);
    assert_int_equal(
        hf_store_put(f->store, hf_str_of("j/1"), hf_bytes_of("bytes", 5), &use_reserve, &err),
        HF_ERR_OK);
}

static void test_the_reserve_is_compared_with_what_would_be_left(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    uint64_t free_bytes;
    uint64_t total_bytes;
    HF_CLEANUP(hf_buf_fini) struct hf_buf content = HF_BUF_INIT((size_t)48 << 20);
    assert_int_equal(hf_buf_reserve(&content, (size_t)48 << 20, &err), HF_ERR_OK);
    memset(content.data, 1, (size_t)48 << 20);
    assert_int_equal(hf_fs_space(f->dir, &free_bytes, &total_bytes, &err), HF_ERR_OK);
    /* Others write to the same disk meanwhile: 16 MiB of play. */
    open_store(f,
               &(struct hf_store_fs_options){.reserve_bytes = free_bytes - ((uint64_t)32 << 20)});
    assert_int_equal(hf_store_put(f->store, hf_str_of("large"),
                                  hf_bytes_of(content.data, (size_t)48 << 20), NULL, &err),
                     HF_ERR_NO_SPACE);
    assert_int_equal(put(f, "small", "bytes", &err), HF_ERR_OK);
    /* The refused one is no longer counted as under way. */
    for (int i = 0; i < 4; i++) {
        assert_int_equal(hf_store_put(f->store, hf_str_of("large"),
                                      hf_bytes_of(content.data, (size_t)48 << 20), NULL, &err),
                         HF_ERR_NO_SPACE);
    }
    assert_int_equal(put(f, "small2", "bytes", &err), HF_ERR_OK);
}

static void test_files_that_are_no_objects_are_left_alone(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    make_dir(f, "lost+found");
    make_dir(f, ".snapshots/x");
    write_file(f, "lost+found/1");
    write_file(f, ".snapshots/x/1");
    write_file(f, "has space");
    assert_int_equal(put(f, "a/1", "bytes", &err), HF_ERR_OK);
    assert_int_equal(list_count(f), 1);
    open_store(f, &(struct hf_store_fs_options){.read_only = false});
    assert_int_equal(list_count(f), 1);
    assert_true(is_there(f, ".snapshots/x/1"));
}

static void test_two_stores_on_one_root_see_one_another(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct fixture other = {.dir = f->dir};
    open_store(&other, &(struct hf_store_fs_options){.read_only = false});
    assert_int_equal(put(f, "j/1/x", "bytes", &err), HF_ERR_OK);
    assert_int_equal(put(&other, "j/1/x", "bytes", &err), HF_ERR_OK);
    assert_int_equal(put(&other, "j/1/x", "other", &err), HF_ERR_EXISTS);
    assert_int_equal(hf_store_delete(f->store, hf_str_of("j/1/x"), &err), HF_ERR_OK);
    assert_int_equal(put(&other, "j/1/x", "other", &err), HF_ERR_OK);
    assert_int_equal(size_of(f, "j/1/x"), HF_ERR_OK);
    hf_store_close(other.store);
}

static void test_a_directory_that_someone_removed_is_made_again(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    HF_CLEANUP(hf_free) char *path = path_in(f, "j");
    assert_int_equal(put(f, "j/1/x", "bytes", &err), HF_ERR_OK);
    assert_int_equal(hf_fs_remove_tree(path, &err), HF_ERR_OK);
    assert_int_equal(put(f, "j/1/y", "bytes", &err), HF_ERR_OK);
    assert_int_equal(size_of(f, "j/1/y"), HF_ERR_OK);
    assert_int_equal(hf_store_delete(f->store, hf_str_of("j/1/x"), &err), HF_ERR_NOT_FOUND);
}

static void test_a_file_in_place_of_an_object_s_name_is_named(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    HF_CLEANUP(hf_free) char *path = path_in(f, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(put(f, "pipe", "bytes", &err), HF_ERR_EXISTS);
    assert_int_equal(size_of(f, "pipe"), HF_ERR_CORRUPT);
    assert_int_equal(list_count(f), 0);
}

static void test_symbolic_links_to_other_disks_are_followed_and_broken_ones_named(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL, .count = 0};
    HF_CLEANUP(hf_free) char *link_path = path_in(f, "j");
    HF_CLEANUP(hf_free) char *target = path_in(f, ".other-disk");
    make_dir(f, ".other-disk/1");
    assert_int_equal(symlink(target, link_path), 0);
    assert_int_equal(put(f, "j/1/x", "bytes", &err), HF_ERR_OK);
    assert_int_equal(list_count(f), 1);
    assert_int_equal(hf_fs_remove_tree(target, &err), HF_ERR_OK);
    assert_int_equal(hf_store_list(f->store, hf_str_of(""), hf_str_of(""), 0, &list, &err),
                     HF_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "/j is a symbolic link to nothing"));
}

static void test_a_put_that_fails_on_its_way_leaves_no_trace(void **state)
{
#ifdef HF_FAULTS
    struct fixture *f = *state;
    struct hf_error err;
    const char *points[] = {"os.fs.publish.write", "os.fs.publish.sync", "os.fs.publish.link",
                            "os.fs.publish.dirsync"};
    for (size_t i = 0; i < HF_ARRAY_LEN(points); i++) {
        hf_fault_arm(points[i], HF_ERR_IO);
        assert_int_equal(put(f, "j/1", "bytes", &err), HF_ERR_IO);
        assert_non_null(strstr(err.message, points[i]));
        /* Once it has its name it stays, whole: another putter of the same bytes may count on it (I1). */
        assert_int_equal(entry_count(f, "j"), i + 1 == HF_ARRAY_LEN(points));
        hf_fault_disarm_all();
        assert_int_equal(put(f, "j/1", "bytes", &err), HF_ERR_OK);
        assert_int_equal(hf_store_delete(f->store, hf_str_of("j/1"), &err), HF_ERR_OK);
    }
#else
    (void)state;
    skip();
#endif
}

static void test_a_full_file_system_is_no_space_and_leaves_no_trace(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct hf_store_put_options use_reserve = {.use_reserve = true};
    HF_CLEANUP(hf_free) char *small = path_in(f, "small");
    make_dir(f, "small");
    /* A file system of our own, which ends with this process; only root may. */
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", small, "tmpfs", 0, "size=256k") != 0) {
        skip();
    }
    uint8_t *content = hf_alloc_zero((size_t)512 << 10);
    assert_non_null(content);
    struct fixture inner = {.dir = small};
    open_store(&inner, &(struct hf_store_fs_options){.reserve_bytes = 1});
    assert_int_equal(put(&inner, "j/1", "fits", &err), HF_ERR_OK);
    assert_int_equal(hf_store_put(inner.store, hf_str_of("j/2"),
                                  hf_bytes_of(content, (size_t)512 << 10), NULL, &err),
                     HF_ERR_NO_SPACE);
    assert_int_equal(hf_store_put(inner.store, hf_str_of("j/2"),
                                  hf_bytes_of(content, (size_t)512 << 10), &use_reserve, &err),
                     HF_ERR_NO_SPACE);
    assert_non_null(strstr(err.message, "put j/2: "));
    assert_int_equal(entry_count(&inner, "j"), 1);
    assert_int_equal(put(&inner, "j/3", "fits", &err), HF_ERR_OK);
    hf_store_close(inner.store);
    hf_free(content);
    assert_int_equal(umount(small), 0);
}

static void test_many_directories_are_remembered_in_order(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    char name[64];
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 200; i++) {
            snprintf(name, sizeof name, "j/%03u/p/%u", (i * 37) % 200, round);
            assert_int_equal(put(f, name, "x", &err), HF_ERR_OK);
        }
    }
    assert_int_equal(list_count(f), 400);
}

int main(void)
{
#define ON_STORE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        ON_STORE(test_an_object_is_a_read_only_file_of_its_name),
        ON_STORE(test_objects_outlive_the_store_object),
        ON_STORE(test_a_missing_root_is_made_only_when_asked),
        ON_STORE(test_a_root_that_is_a_file_is_refused),
        ON_STORE(test_read_only_writes_nothing_not_even_at_open),
        ON_STORE(test_what_a_crash_left_is_swept_when_opening),
        ON_STORE(test_a_directory_is_swept_when_first_written_to),
        ON_STORE(test_the_reserve_is_kept_free),
        ON_STORE(test_the_reserve_is_compared_with_what_would_be_left),
        ON_STORE(test_files_that_are_no_objects_are_left_alone),
        ON_STORE(test_two_stores_on_one_root_see_one_another),
        ON_STORE(test_a_directory_that_someone_removed_is_made_again),
        ON_STORE(test_a_file_in_place_of_an_object_s_name_is_named),
        ON_STORE(test_symbolic_links_to_other_disks_are_followed_and_broken_ones_named),
        ON_STORE(test_a_put_that_fails_on_its_way_leaves_no_trace),
        ON_STORE(test_many_directories_are_remembered_in_order),
        ON_STORE(test_a_full_file_system_is_no_space_and_leaves_no_trace),
    };
    if (hf_fs_exists("/dev/shm")) {
        (void)setenv("TMPDIR", "/dev/shm", 0);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
