/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault points count, fail when told, and kill when told; texts that arm them are checked.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "base/thread.h"

static int disarm(void **state)
{
    (void)state;
    hf_fault_disarm_all();
    return 0;
}

static enum hf_err pass(const char *point)
{
    struct hf_error err;
    return HF_FAULT(point, &err);
}

static void test_passes_are_counted_by_name(void **state)
{
    char same_text[] = "test.count"; /* another pointer, the same point */
    (void)state;
    assert_int_equal(hf_fault_passes("test.count"), 0);
    assert_int_equal(pass("test.count"), HF_ERR_OK);
    assert_int_equal(pass(same_text), HF_ERR_OK);
    assert_int_equal(pass("test.other"), HF_ERR_OK);
    assert_int_equal(hf_fault_passes("test.count"), 2);
    assert_int_equal(hf_fault_passes("test.never"), 0);
    assert_int_equal(hf_fault_passes(NULL), 3);
    hf_fault_disarm_all();
    assert_int_equal(hf_fault_passes("test.count"), 0);
    assert_int_equal(hf_fault_passes(NULL), 0);
}

static void test_an_armed_point_fails_once_and_names_itself(void **state)
{
    struct hf_error err;
    (void)state;
    hf_fault_arm("test.once", HF_ERR_NO_SPACE);
    assert_int_equal(pass("test.another"), HF_ERR_OK);
    assert_int_equal(HF_FAULT("test.once", &err), HF_ERR_NO_SPACE);
    assert_int_equal(err.code, HF_ERR_NO_SPACE);
    assert_string_equal(err.message, "injected fault at test.once");
    assert_int_equal(pass("test.once"), HF_ERR_OK);
    assert_int_equal(hf_fault_passes("test.once"), 2);
}

static void test_the_nth_pass_fails_as_often_as_told(void **state)
{
    (void)state;
    assert_int_equal(pass("test.nth"), HF_ERR_OK); /* before: does not count for the arming */
    hf_fault_arm_nth("test.nth", HF_ERR_IO, 3, 2);
    static const enum hf_err expected[] = {HF_ERR_OK, HF_ERR_OK, HF_ERR_IO, HF_ERR_IO, HF_ERR_OK};
    for (size_t i = 0; i < HF_ARRAY_LEN(expected); i++) {
        assert_int_equal(pass("test.nth"), expected[i]);
    }
    hf_fault_arm_nth("test.nth", HF_ERR_LOST, 2, 0);
    assert_int_equal(pass("test.nth"), HF_ERR_OK);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(pass("test.nth"), HF_ERR_LOST);
    }
    hf_fault_disarm_all();
    assert_int_equal(pass("test.nth"), HF_ERR_OK);
}

static void test_any_point_counts_but_the_allocator(void **state)
{
    (void)state;
    hf_fault_arm_nth("*", HF_ERR_IO, 2, 1);
    hf_free(hf_alloc(1));
    hf_free(hf_alloc(1));
    assert_int_equal(pass("test.a"), HF_ERR_OK);
    HF_CLEANUP(hf_free) void *memory = hf_alloc(1);
    assert_non_null(memory);
    assert_int_equal(pass("test.b"), HF_ERR_IO);
    assert_int_equal(pass("test.a"), HF_ERR_OK);
    assert_int_equal(hf_fault_passes(NULL), 3);
    assert_int_equal(hf_fault_passes("base.alloc"), 3);
}

static void test_two_faults_on_one_point_both_come(void **state)
{
    (void)state;
    hf_fault_arm_nth("test.two", HF_ERR_IO, 1, 1);
    hf_fault_arm_nth("test.two", HF_ERR_LOST, 3, 1);
    assert_int_equal(pass("test.two"), HF_ERR_IO);
    assert_int_equal(pass("test.two"), HF_ERR_OK);
    assert_int_equal(pass("test.two"), HF_ERR_LOST);
}

/* Runs the passes in a child; the signal that ended it, or 0. */
static int signal_of_child(const char *text, int passes)
{
    struct hf_error err;
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (text == NULL) {
            hf_fault_arm_death("test.death", 3);
        } else if (hf_fault_parse(text, &err) != HF_ERR_OK) {
            _exit(1);
        }
        for (int i = 0; i < passes; i++) {
            (void)pass("test.death");
        }
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status)) {
        assert_int_equal(WEXITSTATUS(status), 0);
        return 0;
    }
    return WTERMSIG(status);
}

static void test_death_comes_at_its_pass(void **state)
{
    (void)state;
    assert_int_equal(signal_of_child(NULL, 2), 0);
    assert_int_equal(signal_of_child(NULL, 3), SIGKILL);
    assert_int_equal(signal_of_child("test.death:2=die", 1), 0);
    assert_int_equal(signal_of_child("test.death:2=die", 2), SIGKILL);
    assert_int_equal(signal_of_child("*:4=die", 3), 0);
    assert_int_equal(signal_of_child("*:4=die", 4), SIGKILL);
}

static void test_text_arms_points(void **state)
{
    struct hf_error err;
    (void)state;
    assert_int_equal(hf_fault_parse(NULL, &err), HF_ERR_OK);
    assert_int_equal(hf_fault_parse("", &err), HF_ERR_OK);
    assert_int_equal(hf_fault_parse("test.p=NOT_FOUND;test.q:2=INTERNAL;;*:5=CORRUPT;", &err),
                     HF_ERR_OK);
    assert_int_equal(pass("test.p"), HF_ERR_NOT_FOUND);
    assert_int_equal(pass("test.q"), HF_ERR_OK);
    assert_int_equal(pass("test.q"), HF_ERR_INTERNAL);
    assert_int_equal(pass("test.p"), HF_ERR_OK);
    assert_int_equal(pass("test.p"), HF_ERR_CORRUPT);
}

static void test_bad_text_is_refused_by_name(void **state)
{
    static const struct {
        const char *text;
        const char *message;
    } table[] = {
        {"test.p", "fault test.p: point=ERROR or point:pass=die is expected"},
        {"=die", "fault =die: point=ERROR or point:pass=die is expected"},
        {"test.p=", "fault test.p=: point=ERROR or point:pass=die is expected"},
        {"a=die;test.p=WRONG", "fault test.p=WRONG: WRONG is neither die nor the name of an error"},
        {"test.p=OK", "fault test.p=OK: OK is neither die nor the name of an error"},
        {"test.p:0=die", "fault test.p:0=die: 0 is not the number of a pass"},
        {"test.p:x=die", "fault test.p:x=die: x is not the number of a pass"},
        {"test.p:=die", "fault test.p:=die:  is not the number of a pass"},
    };
    struct hf_error err;
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(table); i++) {
        assert_int_equal(hf_fault_parse(table[i].text, &err), HF_ERR_INVALID);
        assert_string_equal(err.message, table[i].message);
    }
}

static void test_names_and_faults_have_their_limits(void **state)
{
    struct hf_error err;
    char text[200];
    (void)state;
    memset(text, 'n', 64);
    memcpy(text + 64, "=die", 5);
    assert_int_equal(hf_fault_parse(text, &err), HF_ERR_LIMIT);
    assert_non_null(strstr(err.message, "too many faults, or too long a name"));
    memset(text, 'E', 100);
    memcpy(text, "p=", 2);
    text[100] = '\0';
    assert_int_equal(hf_fault_parse(text, &err), HF_ERR_INVALID);
    for (int i = 0; i < 64; i++) {
        assert_int_equal(hf_fault_parse("test.many:1000=IO", &err), HF_ERR_OK);
    }
    assert_int_equal(hf_fault_parse("test.many:1000=IO", &err), HF_ERR_LIMIT);
}

#define PASSES_PER_THREAD 20000

static void pass_often(void *argument)
{
    uint64_t *failures = argument;
    char name[32];
    for (int i = 0; i < PASSES_PER_THREAD; i++) {
        (void)snprintf(name, sizeof name, "test.thread.%d", i % 10);
        if (pass(name) != HF_ERR_OK) {
            (*failures)++;
        }
    }
}

static void test_threads_lose_no_pass_and_fire_no_fault_twice(void **state)
{
    struct hf_thread *threads[4];
    uint64_t failures[4] = {0}, sum = 0;
    struct hf_error err;
    (void)state;
    hf_fault_arm_nth("test.thread.7", HF_ERR_IO, 100, 50);
    for (size_t i = 0; i < HF_ARRAY_LEN(threads); i++) {
        assert_int_equal(hf_thread_start("passes", pass_often, &failures[i], &threads[i], &err),
                         HF_ERR_OK);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(threads); i++) {
        hf_thread_join(threads[i]);
        sum += failures[i];
    }
    assert_int_equal(sum, 50);
    assert_int_equal(hf_fault_passes(NULL), 4 * PASSES_PER_THREAD);
    assert_int_equal(hf_fault_passes("test.thread.3"), 4 * PASSES_PER_THREAD / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_passes_are_counted_by_name, disarm),
        cmocka_unit_test_teardown(test_an_armed_point_fails_once_and_names_itself, disarm),
        cmocka_unit_test_teardown(test_the_nth_pass_fails_as_often_as_told, disarm),
        cmocka_unit_test_teardown(test_any_point_counts_but_the_allocator, disarm),
        cmocka_unit_test_teardown(test_two_faults_on_one_point_both_come, disarm),
        cmocka_unit_test_teardown(test_death_comes_at_its_pass, disarm),
        cmocka_unit_test_teardown(test_text_arms_points, disarm),
        cmocka_unit_test_teardown(test_bad_text_is_refused_by_name, disarm),
        cmocka_unit_test_teardown(test_names_and_faults_have_their_limits, disarm),
        cmocka_unit_test_teardown(test_threads_lose_no_pass_and_fire_no_fault_twice, disarm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
