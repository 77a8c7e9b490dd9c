/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories are made and removed whole, lists are sorted and limited, links are not followed.
 */
#include "room.h"

#include <sys/stat.h>
#include <unistd.h>

static void test_stat_tells_kind_size_and_times(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct hf_file_info info, link;
    put(at(room, "file"), "12345");
    assert_int_equal(chmod(at(room, "file"), 0640), 0);
    assert_int_equal(symlink("file", at(room, "link")), 0);
    assert_int_equal(mkfifo(at(room, "fifo"), 0600), 0);
    assert_int_equal(hf_fs_stat(at(room, "file"), &info, &err), HF_ERR_OK);
    assert_int_equal(info.kind, HF_FILE_REGULAR);
    assert_int_equal(info.size_bytes, 5);
    assert_int_equal(info.mode, 0640);
    assert_true(info.inode != 0);
    assert_true(info.mtime_ns > INT64_C(1700000000) * 1000000000);
    assert_true(info.ctime_ns >= info.mtime_ns);
    assert_int_equal(hf_fs_stat(at(room, "link"), &link, &err), HF_ERR_OK);
    assert_int_equal(link.inode, info.inode);
    assert_int_equal(hf_fs_lstat(at(room, "link"), &link, &err), HF_ERR_OK);
    assert_int_equal(link.kind, HF_FILE_SYMLINK);
    assert_int_equal(hf_fs_stat(at(room, "fifo"), &info, &err), HF_ERR_OK);
    assert_int_equal(info.kind, HF_FILE_OTHER);
    assert_int_equal(hf_fs_stat(room->dir, &info, &err), HF_ERR_OK);
    assert_int_equal(info.kind, HF_FILE_DIR);
}

static void test_stat_of_nothing_names_it(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct hf_file_info info;
    const char *path = at(room, "absent");
    assert_int_equal(hf_fs_stat(path, &info, &err), HF_ERR_NOT_FOUND);
    assert_message(&err, "look at ", path, ": No such file or directory");
    assert_int_equal(hf_fs_lstat(path, &info, &err), HF_ERR_NOT_FOUND);
}

static void test_exists_doubts_in_favour_of_what_may_be_there(void **state)
{
    struct room *room = *state;
    char too_long[5000];
    put(at(room, "file"), "");
    assert_int_equal(symlink("nowhere", at(room, "dangling")), 0);
    assert_true(hf_fs_exists(at(room, "file")));
    assert_true(hf_fs_exists(at(room, "dangling")));
    assert_false(hf_fs_exists(at(room, "absent")));
    assert_false(hf_fs_exists(at(room, "file/below")));
    memset(too_long, 'x', sizeof too_long);
    too_long[sizeof too_long - 1] = '\0';
    assert_true(hf_fs_exists(too_long)); /* the system cannot say: ENAMETOOLONG */
}

static void test_directories_are_made_with_their_parents(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct hf_file_info info;
    assert_int_equal(hf_fs_make_dirs(at(room, "a/b//c/"), 0750, &err), HF_ERR_OK);
    assert_int_equal(hf_fs_stat(at(room, "a/b/c"), &info, &err), HF_ERR_OK);
    assert_int_equal(info.kind, HF_FILE_DIR);
    assert_int_equal(info.mode, 0750);
    assert_int_equal(hf_fs_make_dirs(at(room, "a/b/c"), 0700, &err), HF_ERR_OK);
    assert_int_equal(hf_fs_make_dirs("/", 0700, &err), HF_ERR_OK);
    assert_int_equal(symlink("a", at(room, "link")), 0);
    assert_int_equal(hf_fs_make_dirs(at(room, "link/d"), 0700, &err), HF_ERR_OK);
    assert_true(hf_fs_exists(at(room, "a/d")));
}

static void test_relative_directories_are_made_where_we_are(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    HF_CLEANUP(hf_free) char *before = NULL;
    assert_int_equal(hf_path_real(".", &before, &err), HF_ERR_OK);
    assert_int_equal(chdir(room->dir), 0);
    assert_int_equal(hf_fs_make_dirs("x/y", 0700, &err), HF_ERR_OK);
    assert_int_equal(hf_fs_make_dirs(".", 0700, &err), HF_ERR_OK);
    assert_int_equal(hf_fs_make_dirs("", 0700, &err), HF_ERR_NOT_FOUND);
    assert_int_equal(chdir(before), 0);
    assert_true(hf_fs_exists(at(room, "x/y")));
}

static void test_a_file_in_the_way_of_a_directory_is_named(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    char expected[1200];
    put(at(room, "file"), "");
    const char *path = at(room, "file");
    assert_int_equal(hf_fs_make_dirs(path, 0700, &err), HF_ERR_EXISTS);
    (void)snprintf(expected, sizeof expected,
                   "make directory %s: %s is there and is not a directory", path, path);
    assert_string_equal(err.message, expected);
    assert_int_equal(hf_fs_make_dirs(at(room, "file/below"), 0700, &err), HF_ERR_IO);
    assert_non_null(strstr(err.message, ": Not a directory"));
    assert_int_equal(symlink("nowhere", at(room, "dangling")), 0);
    assert_int_equal(hf_fs_make_dirs(at(room, "dangling"), 0700, &err), HF_ERR_NOT_FOUND);
}

static void test_syncing_a_directory_that_is_none_fails(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    put(at(room, "file"), "");
    assert_int_equal(hf_fs_sync_dir(room->dir, &err), HF_ERR_OK);
    const char *path = at(room, "file");
    assert_int_equal(hf_fs_sync_dir(path, &err), HF_ERR_IO);
    assert_message(&err, "sync directory ", path, ": Not a directory");
    assert_int_equal(hf_fs_sync_dir(at(room, "absent"), &err), HF_ERR_NOT_FOUND);
}

static void test_removing_is_durable_and_says_when_nothing_was_there(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "file");
    put(path, "");
    hf_fault_arm("os.fs.remove", HF_ERR_IO);
    assert_int_equal(hf_fs_remove(path, &err), HF_ERR_IO);
    assert_message(&err, "remove ", path, ": injected fault at os.fs.remove");
    assert_true(hf_fs_exists(path));
    assert_int_equal(hf_fs_remove(path, &err), HF_ERR_OK);
    assert_false(hf_fs_exists(path));
    assert_int_equal(hf_fs_remove(path, &err), HF_ERR_NOT_FOUND);
    assert_message(&err, "remove ", path, ": No such file or directory");
    assert_int_equal(hf_fs_remove_scratch(path, &err), HF_ERR_OK);
    put(path, "");
    assert_int_equal(hf_fs_remove_scratch(path, &err), HF_ERR_OK);
    assert_false(hf_fs_exists(path));
    assert_true(hf_fs_remove_scratch(room->dir, &err) != HF_ERR_OK);
    assert_message(&err, "remove ", room->dir, ": Is a directory");
}

static void test_only_an_empty_directory_is_removed_alone(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "d");
    assert_int_equal(hf_fs_make_dirs(at(room, "d/e"), 0700, &err), HF_ERR_OK);
    assert_int_equal(hf_fs_remove_dir(path, &err), HF_ERR_CONFLICT);
    assert_message(&err, "remove directory ", path, ": it is not empty");
    assert_int_equal(hf_fs_remove_dir(at(room, "d/e"), &err), HF_ERR_OK);
    assert_int_equal(hf_fs_remove_dir(path, &err), HF_ERR_OK);
    assert_int_equal(hf_fs_remove_dir(path, &err), HF_ERR_NOT_FOUND);
}

static void test_a_tree_goes_and_what_its_links_point_at_stays(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    char name[64];
    assert_int_equal(hf_fs_make_dirs(at(room, "tree/a/b/c"), 0700, &err), HF_ERR_OK);
    assert_int_equal(hf_fs_make_dirs(at(room, "other"), 0700, &err), HF_ERR_OK);
    put(at(room, "other/kept"), "kept");
    assert_int_equal(symlink("../other", at(room, "tree/link")), 0);
    assert_int_equal(symlink("nowhere", at(room, "tree/a/dangling")), 0);
    assert_int_equal(mkfifo(at(room, "tree/a/fifo"), 0600), 0);
    for (int i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof name, "tree/a/b/file-%d", i);
        put(at(room, name), "x");
    }
    assert_int_equal(hf_fs_remove_tree(at(room, "tree"), &err), HF_ERR_OK);
    assert_false(hf_fs_exists(at(room, "tree")));
    assert_content(at(room, "other/kept"), "kept");
    assert_int_equal(hf_fs_remove_tree(at(room, "tree"), &err), HF_ERR_OK);
}

static void test_a_tree_must_be_a_directory(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    assert_int_equal(hf_fs_make_dirs(at(room, "d/e"), 0700, &err), HF_ERR_OK);
    assert_int_equal(symlink("d", at(room, "link")), 0);
    const char *path = at(room, "link");
    assert_int_equal(hf_fs_remove_tree(path, &err), HF_ERR_INVALID);
    assert_message(&err, "remove tree ", path, ": not a directory");
    assert_true(hf_fs_exists(at(room, "d/e")));
}

static void test_a_tree_too_deep_is_refused(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    HF_CLEANUP(hf_free) char *before = NULL;
    assert_int_equal(hf_path_real(".", &before, &err), HF_ERR_OK);
    assert_int_equal(chdir(room->dir), 0);
    for (int i = 0; i < 260; i++) {
        assert_int_equal(mkdir("d", 0700), 0);
        assert_int_equal(chdir("d"), 0);
    }
    assert_int_equal(chdir(before), 0);
    assert_int_equal(hf_fs_remove_tree(at(room, "d"), &err), HF_ERR_LIMIT);
    assert_non_null(strstr(err.message, "more than 256 directories deep"));
    /* Shortened from above, so that the room can be tidied. */
    assert_int_equal(rename(at(room, "d/d/d/d/d/d/d/d/d/d"), at(room, "e")), 0);
    assert_int_equal(hf_fs_remove_tree(at(room, "e"), &err), HF_ERR_OK);
}

static void test_a_list_is_sorted_by_bytes(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list list = {.names = NULL};
    assert_int_equal(hf_fs_list(room->dir, 10, &list, &err), HF_ERR_OK);
    assert_int_equal(list.count, 0);
    put(at(room, "b"), "");
    put(at(room, "a10"), "");
    put(at(room, "a2"), "");
    put(at(room, ".hidden"), "");
    put(at(room, "\xFF"), "");
    assert_int_equal(hf_fs_list(room->dir, 5, &list, &err), HF_ERR_OK);
    assert_int_equal(list.count, 5);
    static const char *const expected[] = {".hidden", "a10", "a2", "b", "\xFF"};
    for (size_t i = 0; i < list.count; i++) {
        assert_string_equal(list.names[i], expected[i]);
    }
    struct hf_dir_list none = {.names = NULL};
    assert_int_equal(hf_fs_list(room->dir, 4, &none, &err), HF_ERR_LIMIT);
    assert_message(&err, "list ", room->dir, ": more than 4 names");
    assert_null(none.names);
    const char *absent = at(room, "absent");
    assert_int_equal(hf_fs_list(absent, 4, &none, &err), HF_ERR_NOT_FOUND);
    assert_message(&err, "list ", absent, ": No such file or directory");
}

static void test_a_list_that_runs_out_of_memory_leaves_nothing(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct hf_dir_list list = {.names = NULL};
    put(at(room, "a"), "");
    put(at(room, "b"), "");
    for (uint64_t nth = 1; nth <= 3; nth++) {
        hf_fault_disarm_all();
        hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, nth, 1);
        assert_int_equal(hf_fs_list(room->dir, 10, &list, &err), HF_ERR_NO_MEMORY);
        assert_non_null(strstr(err.message, "no memory for"));
        assert_null(list.names);
    }
}

static void test_space_is_known_and_plausible(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    uint64_t free_bytes, total_bytes;
    assert_int_equal(hf_fs_space(room->dir, &free_bytes, &total_bytes, &err), HF_ERR_OK);
    assert_true(total_bytes > 0);
    assert_true(free_bytes <= total_bytes);
    const char *absent = at(room, "absent");
    assert_int_equal(hf_fs_space(absent, &free_bytes, &total_bytes, &err), HF_ERR_NOT_FOUND);
    assert_message(&err, "space of ", absent, ": No such file or directory");
}

static void test_without_memory_for_a_parent_nothing_is_claimed(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    const char *path = at(room, "new/dir");
    hf_fault_arm("base.alloc", HF_ERR_NO_MEMORY);
    assert_int_equal(hf_fs_make_dirs(path, 0700, &err), HF_ERR_NO_MEMORY);
    assert_int_equal(strncmp(err.message, "make directory ", 15), 0);
    put(at(room, "file"), "");
    hf_fault_arm("base.alloc", HF_ERR_NO_MEMORY);
    assert_int_equal(hf_fs_remove(at(room, "file"), &err), HF_ERR_NO_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_ROOM(test_stat_tells_kind_size_and_times),
        IN_ROOM(test_stat_of_nothing_names_it),
        IN_ROOM(test_exists_doubts_in_favour_of_what_may_be_there),
        IN_ROOM(test_directories_are_made_with_their_parents),
        IN_ROOM(test_relative_directories_are_made_where_we_are),
        IN_ROOM(test_a_file_in_the_way_of_a_directory_is_named),
        IN_ROOM(test_syncing_a_directory_that_is_none_fails),
        IN_ROOM(test_removing_is_durable_and_says_when_nothing_was_there),
        IN_ROOM(test_only_an_empty_directory_is_removed_alone),
        IN_ROOM(test_a_tree_goes_and_what_its_links_point_at_stays),
        IN_ROOM(test_a_tree_must_be_a_directory),
        IN_ROOM(test_a_tree_too_deep_is_refused),
        IN_ROOM(test_a_list_is_sorted_by_bytes),
        IN_ROOM(test_a_list_that_runs_out_of_memory_leaves_nothing),
        IN_ROOM(test_space_is_known_and_plausible),
        IN_ROOM(test_without_memory_for_a_parent_nothing_is_claimed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
