/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths are joined and resolved, and those from outside are judged.
 */
#include "room.h"

#include <stdlib.h>
#include <unistd.h>

static void test_joining_makes_one_separator(void **state)
{
    (void)state;
    HF_CLEANUP(hf_free) char *plain = hf_path_join("a/b", "c");
    HF_CLEANUP(hf_free) char *slash = hf_path_join("/", "c");
    HF_CLEANUP(hf_free) char *none = hf_path_join("", "c");
    assert_string_equal(plain, "a/b/c");
    assert_string_equal(slash, "/c");
    assert_string_equal(none, "c");
    hf_fault_arm("base.alloc", HF_ERR_NO_MEMORY);
    assert_null(hf_path_join("a", "b"));
}

static void test_a_real_path_has_no_links(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    HF_CLEANUP(hf_free) char *real = NULL;
    HF_CLEANUP(hf_free) char *direct = NULL;
    put(at(room, "file"), "x");
    assert_int_equal(symlink("file", at(room, "link")), 0);
    assert_int_equal(hf_path_real(at(room, "link"), &real, &err), HF_ERR_OK);
    assert_int_equal(hf_path_real(at(room, "file"), &direct, &err), HF_ERR_OK);
    assert_string_equal(real, direct);
    assert_int_equal(real[0], '/');
}

static void test_a_path_that_is_not_there_cannot_be_resolved(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    char *real = NULL;
    const char *path = at(room, "absent");
    assert_int_equal(hf_path_real(path, &real, &err), HF_ERR_NOT_FOUND);
    assert_message(&err, "resolve ", path, ": No such file or directory");
    hf_fault_arm("base.alloc", HF_ERR_NO_MEMORY);
    assert_int_equal(hf_path_real("/", &real, &err), HF_ERR_NO_MEMORY);
    assert_string_equal(err.message, "resolve /");
    assert_null(real);
}

static void test_only_what_stays_below_its_root_is_safe(void **state)
{
    char longest[4098];
    (void)state;
    static const char *const safe[] = {"a",         "a/b", "a.b",      "...", "..a",
                                       "a/.hidden", "a b", "\xFF\x01", "-"};
    static const char *const unsafe[] = {"",    "/",   "/a",   "a/",   "a//b",   ".",    "..",
                                         "./a", "a/.", "a/..", "../a", "a/../b", "a/./b"};
    for (size_t i = 0; i < HF_ARRAY_LEN(safe); i++) {
        assert_true(hf_path_is_safe_relative(hf_str_of(safe[i])));
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(unsafe); i++) {
        assert_false(hf_path_is_safe_relative(hf_str_of(unsafe[i])));
    }
    assert_false(hf_path_is_safe_relative((struct hf_str){.data = "a\0b", .len = 3}));
    memset(longest, 'a', sizeof longest);
    assert_true(hf_path_is_safe_relative((struct hf_str){.data = longest, .len = 4096}));
    assert_false(hf_path_is_safe_relative((struct hf_str){.data = longest, .len = 4097}));
}

static void test_a_temporary_directory_is_new_and_private(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct hf_file_info info;
    HF_CLEANUP(hf_free) char *first = NULL;
    HF_CLEANUP(hf_free) char *second = NULL;
    HF_CLEANUP(hf_free)
    char *before = getenv("TMPDIR") == NULL ? NULL : hf_strdup(getenv("TMPDIR"));
    assert_int_equal(setenv("TMPDIR", room->dir, 1), 0);
    assert_int_equal(hf_fs_make_temp_dir("p-", &first, &err), HF_ERR_OK);
    assert_int_equal(hf_fs_make_temp_dir("p-", &second, &err), HF_ERR_OK);
    assert_string_not_equal(first, second);
    assert_int_equal(strncmp(first, at(room, "p-"), strlen(room->dir) + 3), 0);
    assert_int_equal(hf_fs_stat(first, &info, &err), HF_ERR_OK);
    assert_int_equal(info.kind, HF_FILE_DIR);
    assert_int_equal(info.mode, 0700);

    const char *absent = at(room, "absent");
    char *none = NULL;
    assert_int_equal(setenv("TMPDIR", absent, 1), 0);
    assert_int_equal(hf_fs_make_temp_dir("p-", &none, &err), HF_ERR_NOT_FOUND);
    assert_message(&err, "make a temporary directory in ", absent, ": No such file or directory");
    hf_fault_arm("base.alloc", HF_ERR_NO_MEMORY);
    assert_int_equal(hf_fs_make_temp_dir("p-", &none, &err), HF_ERR_NO_MEMORY);
    assert_null(none);
    (void)(before == NULL ? unsetenv("TMPDIR") : setenv("TMPDIR", before, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_ROOM(test_joining_makes_one_separator),
        IN_ROOM(test_a_real_path_has_no_links),
        IN_ROOM(test_a_path_that_is_not_there_cannot_be_resolved),
        cmocka_unit_test(test_only_what_stays_below_its_root_is_safe),
        IN_ROOM(test_a_temporary_directory_is_new_and_private),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
