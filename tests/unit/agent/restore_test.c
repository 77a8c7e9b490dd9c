/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an agent may restore: below its root, whatever the path says and wherever its links lead.
 */
#include "agent/task.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "os/fs.h"

struct fixture {
    char *dir, *root, *outside;
};

static int set_up(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);
    struct hf_error err;

    if (f == NULL || hf_fs_make_temp_dir("agent-restore", &f->dir, &err) != HF_ERR_OK) {
        return -1;
    }
    f->root = hf_path_join(f->dir, "root");
    f->outside = hf_path_join(f->dir, "root2");
    *state = f;
    return hf_fs_make_dirs(f->root, 0755, &err) == HF_ERR_OK &&
                   hf_fs_make_dirs(f->outside, 0755, &err) == HF_ERR_OK
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;

    (void)!hf_fs_remove_tree(f->dir, &err);
    hf_free(f->dir);
    hf_free(f->root);
    hf_free(f->outside);
    hf_free(f);
    return 0;
}

static enum hf_err check(const struct fixture *f, const char *below, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = hf_path_join(f->root, below);

    return hf_agent_check_directory(f->root, path, err);
}

static void test_a_new_directory_below_the_root_is_fine(void **state)
{
    struct hf_error err;

    assert_int_equal(check(*state, "a", &err), HF_ERR_OK);
    assert_int_equal(check(*state, "a/b/c", &err), HF_ERR_OK);
}

static void test_a_neighbour_whose_name_begins_like_the_root_is_denied(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;

    assert_int_equal(hf_agent_check_directory(f->root, f->outside, &err), HF_ERR_DENIED);
    assert_non_null(strstr(err.message, "is not below"));
    assert_int_equal(hf_agent_check_directory(f->root, f->root, &err), HF_ERR_DENIED);
}

static void test_dots_and_relative_paths_are_invalid(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;

    assert_int_equal(check(f, "../root2/x", &err), HF_ERR_INVALID);
    assert_int_equal(check(f, "a/./b", &err), HF_ERR_INVALID);
    assert_int_equal(hf_agent_check_directory(f->root, "relative", &err), HF_ERR_INVALID);
    assert_int_equal(check(f, "..x/y", &err), HF_ERR_OK);
}

static void test_a_link_that_leads_outside_is_denied(void **state)
{
    struct fixture *f = *state;
    HF_CLEANUP(hf_free) char *at = hf_path_join(f->root, "link");
    struct hf_error err;

    assert_int_equal(symlink(f->outside, at), 0);
    assert_int_equal(check(f, "link/x", &err), HF_ERR_DENIED);
    assert_int_equal(check(f, "link", &err), HF_ERR_DENIED);
}

static void test_an_agent_without_a_root_restores_nothing(void **state)
{
    struct hf_error err;

    (void)state;
    assert_int_equal(hf_agent_check_directory(NULL, "/x", &err), HF_ERR_DENIED);
    assert_string_equal(err.message,
                        "this agent restores nothing; hint: start it with --restore-root DIR");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_new_directory_below_the_root_is_fine, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_neighbour_whose_name_begins_like_the_root_is_denied,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_dots_and_relative_paths_are_invalid, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_link_that_leads_outside_is_denied, set_up,
                                        tear_down),
        cmocka_unit_test(test_an_agent_without_a_root_restores_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
