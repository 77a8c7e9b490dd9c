/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hand-over, cleanup and assertions.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/compiler.h"

static void note(int *counter)
{
    (*counter)++;
}
HF_CLEANUP_DEFINE_VALUE(note, int)

static void note_pointer(int *counter)
{
    if (counter != NULL) {
        (*counter)++;
    }
}
HF_CLEANUP_DEFINE(note_pointer, int *)

static int leave_early(int *counter, int early)
{
    HF_CLEANUP(note_pointer) int *held = counter;
    if (early) {
        return *held;
    }
    return *HF_TAKE(held);
}

static void test_cleanup_runs_on_every_way_out(void **state)
{
    int counter = 0;
    (void)state;
    assert_int_equal(leave_early(&counter, 1), 0);
    assert_int_equal(counter, 1);
    {
        HF_CLEANUP(note) int value = 41;
        assert_int_equal(value, 41);
    }
    assert_int_equal(counter, 1);
}

static void test_take_hands_over_and_leaves_null(void **state)
{
    int counter = 5;
    (void)state;
    assert_int_equal(leave_early(&counter, 0), 5);
    assert_int_equal(counter, 5); /* taken: the cleanup saw NULL */
    int *pointer = &counter;
    assert_ptr_equal(HF_TAKE(pointer), &counter);
    assert_null(pointer);
}

static void test_a_failed_assertion_says_where_and_aborts(void **state)
{
    int ends[2], status;
    char text[256] = "";
    (void)state;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(ends[1], STDERR_FILENO);
        HF_ASSERT(1 + 1 == 3);
        _exit(0);
    }
    (void)close(ends[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    assert_non_null(strstr(text, "holdfast: assertion failed: 1 + 1 == 3 ("));
    assert_non_null(strstr(text, "compiler_test.c:"));
    (void)close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cleanup_runs_on_every_way_out),
        cmocka_unit_test(test_take_hands_over_and_leaves_null),
        cmocka_unit_test(test_a_failed_assertion_says_where_and_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
