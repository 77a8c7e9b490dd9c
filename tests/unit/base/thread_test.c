/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads start and are joined, waits have ends, cancellation is seen, queues keep order and close.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

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

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct shared {
    struct hf_mutex mutex; /* guards: counter, ready */
    struct hf_cond cond;
    unsigned counter;
    bool ready;
    char name[16];
    bool blocks_term;
};

static void shared_init(struct shared *shared)
{
    *shared = (struct shared){.counter = 0};
    hf_mutex_init(&shared->mutex);
    hf_cond_init(&shared->cond);
}

static void shared_fini(struct shared *shared)
{
    hf_cond_fini(&shared->cond);
    hf_mutex_fini(&shared->mutex);
}

static void count_under_lock(void *argument)
{
    struct shared *shared = argument;
    for (int i = 0; i < 10000; i++) {
        HF_LOCKED(&shared->mutex);
        shared->counter++;
    }
}

static void test_a_mutex_guards_what_it_names(void **state)
{
    struct shared shared;
    struct hf_thread *threads[4];
    struct hf_error err;
    (void)state;
    shared_init(&shared);
    for (size_t i = 0; i < HF_ARRAY_LEN(threads); i++) {
        assert_int_equal(hf_thread_start("counts", count_under_lock, &shared, &threads[i], &err),
                         HF_ERR_OK);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(threads); i++) {
        hf_thread_join(threads[i]);
    }
    assert_int_equal(shared.counter, 40000);
    shared_fini(&shared);
    hf_thread_join(NULL);
}

static void note_itself(void *argument)
{
    struct shared *shared = argument;
    sigset_t blocked;
    (void)pthread_getname_np(pthread_self(), shared->name, sizeof shared->name);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    shared->blocks_term = sigismember(&blocked, SIGTERM) == 1;
}

static void test_a_thread_has_its_name_and_leaves_signals_to_main(void **state)
{
    struct shared shared;
    struct hf_thread *thread;
    struct hf_error err;
    sigset_t blocked;
    (void)state;
    shared_init(&shared);
    assert_int_equal(hf_thread_start("capture-worker-12", note_itself, &shared, &thread, &err),
                     HF_ERR_OK);
    hf_thread_join(thread);
    assert_string_equal(shared.name, "capture-worker-");
    assert_true(shared.blocks_term);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    assert_int_equal(sigismember(&blocked, SIGTERM), 0);
    shared_fini(&shared);
}

static void test_a_thread_that_cannot_start_says_which(void **state)
{
    struct hf_thread *thread = NULL;
    struct hf_error err;
    (void)state;
    hf_fault_arm("base.alloc", HF_ERR_NO_MEMORY);
    assert_int_equal(hf_thread_start("tail", note_itself, NULL, &thread, &err), HF_ERR_NO_MEMORY);
    assert_string_equal(err.message, "start thread tail");
    assert_null(thread);
}

static void make_ready(void *argument)
{
    struct shared *shared = argument;
    HF_LOCKED(&shared->mutex);
    shared->ready = true;
    hf_cond_signal(&shared->cond);
}

static void test_a_condition_wakes_who_waits(void **state)
{
    struct shared shared;
    struct hf_thread *thread;
    struct hf_error err;
    (void)state;
    shared_init(&shared);
    hf_mutex_lock(&shared.mutex);
    assert_int_equal(hf_thread_start("wakes", make_ready, &shared, &thread, &err), HF_ERR_OK);
    while (!shared.ready) {
        hf_cond_wait(&shared.cond, &shared.mutex);
    }
    hf_mutex_unlock(&shared.mutex);
    hf_thread_join(thread);

    shared.ready = false;
    hf_mutex_lock(&shared.mutex);
    assert_int_equal(hf_thread_start("wakes", make_ready, &shared, &thread, &err), HF_ERR_OK);
    while (!shared.ready) {
        assert_true(hf_cond_wait_for(&shared.cond, &shared.mutex, UINT64_MAX));
    }
    hf_mutex_unlock(&shared.mutex);
    hf_thread_join(thread);
    shared_fini(&shared);
}

static void test_a_wait_ends_at_its_deadline(void **state)
{
    struct shared shared;
    (void)state;
    shared_init(&shared);
    hf_mutex_lock(&shared.mutex);
    uint64_t started = now_ms();
    while (hf_cond_wait_for(&shared.cond, &shared.mutex, 20)) {
    }
    assert_in_range(now_ms() - started, 20, 5000);
    assert_false(hf_cond_wait_for(&shared.cond, &shared.mutex, 0));
    hf_mutex_unlock(&shared.mutex);
    shared_fini(&shared);
}

static void test_cancellation_is_seen_and_named(void **state)
{
    struct hf_cancel cancel;
    struct hf_error err;
    (void)state;
    hf_cancel_init(&cancel);
    assert_false(hf_cancel_requested(&cancel));
    assert_false(hf_cancel_requested(NULL));
    assert_int_equal(hf_cancel_check(&cancel, &err), HF_ERR_OK);
    assert_int_equal(hf_cancel_check(NULL, &err), HF_ERR_OK);
    hf_cancel_request(&cancel);
    assert_true(hf_cancel_requested(&cancel));
    assert_int_equal(hf_cancel_check(&cancel, &err), HF_ERR_CANCELLED);
    assert_string_equal(err.message, "cancelled");
}

static void test_a_sleep_lasts_as_told_or_until_cancelled(void **state)
{
    struct hf_cancel cancel;
    (void)state;
    hf_cancel_init(&cancel);
    uint64_t started = now_ms();
    hf_cancel_sleep(&cancel, 60);
    hf_cancel_sleep(NULL, 5);
    assert_in_range(now_ms() - started, 65, 5000);
    hf_cancel_request(&cancel);
    started = now_ms();
    hf_cancel_sleep(&cancel, 1000000);
    assert_in_range(now_ms() - started, 0, 5000);
}

static void cancel_now(void *argument)
{
    hf_cancel_request(argument);
}

static void test_a_sleep_is_ended_by_another_thread(void **state)
{
    struct hf_cancel cancel;
    struct hf_thread *thread;
    struct hf_error err;
    (void)state;
    hf_cancel_init(&cancel);
    assert_int_equal(hf_thread_start("cancels", cancel_now, &cancel, &thread, &err), HF_ERR_OK);
    uint64_t started = now_ms();
    hf_cancel_sleep(&cancel, 1000000);
    assert_in_range(now_ms() - started, 0, 10000);
    hf_thread_join(thread);
}

static void test_a_queue_keeps_order_and_drains_after_close(void **state)
{
    HF_CLEANUP(hf_queue_destroy) struct hf_queue *queue = hf_queue_create(3);
    char items[] = "abcd";
    void *item;
    (void)state;
    assert_non_null(queue);
    for (int round = 0; round < 3; round++) { /* wraps around the ring */
        assert_true(hf_queue_push(queue, &items[0]));
        assert_true(hf_queue_push(queue, &items[1]));
        assert_int_equal(hf_queue_length(queue), 2);
        assert_true(hf_queue_pop(queue, &item));
        assert_ptr_equal(item, &items[0]);
        assert_true(hf_queue_pop_for(queue, 1000, &item));
        assert_ptr_equal(item, &items[1]);
    }
    assert_true(hf_queue_pop_for(queue, 5, &item));
    assert_null(item);
    assert_true(hf_queue_push(queue, &items[2]));
    hf_queue_close(queue);
    assert_false(hf_queue_push(queue, &items[3]));
    assert_true(hf_queue_pop(queue, &item));
    assert_ptr_equal(item, &items[2]);
    assert_false(hf_queue_pop(queue, &item));
    assert_false(hf_queue_pop_for(queue, 1000, &item));
    assert_null(item);
    hf_queue_destroy(NULL);
}

struct pipeline {
    struct hf_queue *queue;
    uint64_t sum;
    bool refused;
};

static void take_all(void *argument)
{
    struct pipeline *pipeline = argument;
    void *item;
    while (hf_queue_pop(pipeline->queue, &item)) {
        pipeline->sum += *(const uint64_t *)item;
    }
}

static void test_a_small_queue_passes_everything_between_threads(void **state)
{
    enum { COUNT = 5000, READERS = 3 };
    static uint64_t numbers[COUNT];
    HF_CLEANUP(hf_queue_destroy) struct hf_queue *queue = hf_queue_create(2);
    struct pipeline readers[READERS];
    struct hf_thread *threads[READERS];
    struct hf_error err;
    uint64_t sum = 0;
    (void)state;
    for (size_t i = 0; i < READERS; i++) {
        readers[i] = (struct pipeline){.queue = queue};
        assert_int_equal(hf_thread_start("takes", take_all, &readers[i], &threads[i], &err),
                         HF_ERR_OK);
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        numbers[i] = i;
        assert_true(hf_queue_push(queue, &numbers[i]));
        assert_true(hf_queue_length(queue) <= 2);
    }
    hf_queue_close(queue);
    for (size_t i = 0; i < READERS; i++) {
        hf_thread_join(threads[i]);
        sum += readers[i].sum;
    }
    assert_int_equal(sum, (uint64_t)COUNT * (COUNT - 1) / 2);
}

static void push_until_refused(void *argument)
{
    struct pipeline *pipeline = argument;
    while (hf_queue_push(pipeline->queue, &pipeline->sum)) {
    }
    pipeline->refused = true;
}

static void test_close_wakes_who_waits_for_room(void **state)
{
    HF_CLEANUP(hf_queue_destroy) struct hf_queue *queue = hf_queue_create(1);
    struct pipeline writer = {.queue = queue};
    struct hf_thread *thread;
    struct hf_error err;
    (void)state;
    assert_int_equal(hf_thread_start("pushes", push_until_refused, &writer, &thread, &err),
                     HF_ERR_OK);
    hf_queue_close(queue);
    hf_thread_join(thread);
    assert_true(writer.refused);
}

static void test_a_queue_needs_memory_twice(void **state)
{
    (void)state;
    hf_fault_arm("base.alloc", HF_ERR_NO_MEMORY);
    assert_null(hf_queue_create(4));
    hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, 2, 1);
    assert_null(hf_queue_create(4));
    assert_null(hf_queue_create(SIZE_MAX));
}

static void test_there_is_a_processor(void **state)
{
    (void)state;
    assert_in_range(hf_thread_cpu_count(), 1, 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_mutex_guards_what_it_names),
        cmocka_unit_test(test_a_thread_has_its_name_and_leaves_signals_to_main),
        cmocka_unit_test_teardown(test_a_thread_that_cannot_start_says_which, disarm),
        cmocka_unit_test(test_a_condition_wakes_who_waits),
        cmocka_unit_test(test_a_wait_ends_at_its_deadline),
        cmocka_unit_test(test_cancellation_is_seen_and_named),
        cmocka_unit_test(test_a_sleep_lasts_as_told_or_until_cancelled),
        cmocka_unit_test(test_a_sleep_is_ended_by_another_thread),
        cmocka_unit_test(test_a_queue_keeps_order_and_drains_after_close),
        cmocka_unit_test(test_a_small_queue_passes_everything_between_threads),
        cmocka_unit_test(test_close_wakes_who_waits_for_room),
        cmocka_unit_test_teardown(test_a_queue_needs_memory_twice, disarm),
        cmocka_unit_test(test_there_is_a_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
