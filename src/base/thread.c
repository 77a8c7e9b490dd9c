/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads and what they wait on. A failing lock or condition is a bug of ours and stops the
 * process; only starting a thread can be refused by the system.
 */
#include "base/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"

#define CANCEL_POLL_MS 50
/* Longest wait given to the kernel: a hundred years, so that no sum overflows. */
#define LONGEST_WAIT_MS (UINT64_C(100) * 365 * 24 * 3600 * 1000)

void hf_mutex_init(struct hf_mutex *mutex)
{
    HF_ASSERT(pthread_mutex_init(&mutex->handle, NULL) == 0);
}

void hf_mutex_fini(struct hf_mutex *mutex)
{
    HF_ASSERT(pthread_mutex_destroy(&mutex->handle) == 0);
}

void hf_mutex_lock(struct hf_mutex *mutex)
{
    HF_ASSERT(pthread_mutex_lock(&mutex->handle) == 0);
}

void hf_mutex_unlock(struct hf_mutex *mutex)
{
    HF_ASSERT(pthread_mutex_unlock(&mutex->handle) == 0);
}

void hf_cond_init(struct hf_cond *cond)
{
    pthread_condattr_t attributes;
    HF_ASSERT(pthread_condattr_init(&attributes) == 0);
    HF_ASSERT(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    HF_ASSERT(pthread_cond_init(&cond->handle, &attributes) == 0);
    (void)pthread_condattr_destroy(&attributes); /* frees nothing with this libc */
}

void hf_cond_fini(struct hf_cond *cond)
{
    HF_ASSERT(pthread_cond_destroy(&cond->handle) == 0);
}

void hf_cond_wait(struct hf_cond *cond, struct hf_mutex *mutex)
{
    HF_ASSERT(pthread_cond_wait(&cond->handle, &mutex->handle) == 0);
}

static struct timespec deadline_after(uint64_t timeout_ms)
{
    struct timespec at;
    uint64_t wait_ms = timeout_ms < LONGEST_WAIT_MS ? timeout_ms : LONGEST_WAIT_MS;
    HF_ASSERT(clock_gettime(CLOCK_MONOTONIC, &at) == 0);
    at.tv_sec += (time_t)(wait_ms / 1000);
    at.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

static bool wait_until(struct hf_cond *cond, struct hf_mutex *mutex,
                       const struct timespec *deadline)
{
    int result = pthread_cond_timedwait(&cond->handle, &mutex->handle, deadline);
    HF_ASSERT(result == 0 || result == ETIMEDOUT);
    return result == 0;
}

bool hf_cond_wait_for(struct hf_cond *cond, struct hf_mutex *mutex, uint64_t timeout_ms)
{
    struct timespec deadline = deadline_after(timeout_ms);
    return wait_until(cond, mutex, &deadline);
}

void hf_cond_signal(struct hf_cond *cond)
{
    HF_ASSERT(pthread_cond_signal(&cond->handle) == 0);
}

void hf_cond_broadcast(struct hf_cond *cond)
{
    HF_ASSERT(pthread_cond_broadcast(&cond->handle) == 0);
}

struct hf_thread {
    pthread_t handle;
    char name[16]; /* the kernel's limit, NUL included */
    void (*run)(void *argument);
    void *argument; /* borrowed: whoever starts also joins */
};

static void *thread_main(void *opaque)
{
    struct hf_thread *thread = opaque;
    /* A thread without its name works as well. */
    (void)pthread_setname_np(pthread_self(), thread->name);
    thread->run(thread->argument);
    return NULL;
}

enum hf_err hf_thread_start(const char *name, void (*run)(void *argument), void *argument,
                            struct hf_thread **out, struct hf_error *err)
{
    sigset_t requests, before;
    struct hf_thread *thread = hf_alloc_zero(sizeof *thread);
    if (thread == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "start thread %s", name);
    }
    (void)snprintf(thread->name, sizeof thread->name, "%s", name);
    thread->run = run;
    thread->argument = argument;
    /* Requests to stop interrupt the main thread's waiting; a thread must not catch them away from
     * it. */
    (void)sigemptyset(&requests);
    (void)sigaddset(&requests, SIGINT);
    (void)sigaddset(&requests, SIGTERM);
    (void)sigaddset(&requests, SIGHUP);
    HF_ASSERT(pthread_sigmask(SIG_BLOCK, &requests, &before) == 0);
    int result = pthread_create(&thread->handle, NULL, thread_main, thread);
    HF_ASSERT(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (result != 0) {
        hf_free(thread);
        return hf_fail_errno(err, result, "start thread %s", name);
    }
    *out = thread;
    return HF_ERR_OK;
}

void hf_thread_join(struct hf_thread *thread)
{
    if (thread != NULL) {
        HF_ASSERT(pthread_join(thread->handle, NULL) == 0);
        hf_free(thread);
    }
}

unsigned hf_thread_cpu_count(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return 1; /* more processors than the set can name: unheard of here, and one is safe */
    }
    int count = CPU_COUNT(&set);
    return count < 1 ? 1 : (unsigned)count;
}

void hf_cancel_init(struct hf_cancel *cancel)
{
    atomic_init(&cancel->requested, false);
}

void hf_cancel_request(struct hf_cancel *cancel)
{
    atomic_store(&cancel->requested, true);
}

bool hf_cancel_requested(const struct hf_cancel *cancel)
{
    return cancel != NULL && atomic_load_explicit(&cancel->requested, memory_order_relaxed);
}

enum hf_err hf_cancel_check(const struct hf_cancel *cancel, struct hf_error *err)
{
    return hf_cancel_requested(cancel) ? hf_fail(err, HF_ERR_CANCELLED, "cancelled") : HF_ERR_OK;
}

void hf_cancel_sleep(const struct hf_cancel *cancel, uint64_t timeout_ms)
{
    uint64_t left_ms = timeout_ms;
    struct timespec until = deadline_after(0);
    /* Each step has an absolute end, so that neither a signal nor a late wake-up lengthens the
     * whole. */
    while (left_ms > 0 && !hf_cancel_requested(cancel)) {
        uint64_t step_ms = left_ms < CANCEL_POLL_MS ? left_ms : CANCEL_POLL_MS;
        until.tv_nsec += (long)step_ms * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
            if (hf_cancel_requested(cancel)) {
                return;
            }
        }
        left_ms -= step_ms;
    }
}

struct hf_queue {
    struct hf_mutex mutex; /* guards: all below */
    struct hf_cond changed_room;
    struct hf_cond changed_items;
    bool closed;
    size_t first;
    size_t count;
    size_t capacity;
    void **items; /* owned array, borrowed elements */
};

struct hf_queue *hf_queue_create(size_t capacity)
{
    HF_ASSERT(capacity > 0);
    struct hf_queue *queue = hf_alloc_zero(sizeof *queue);
    if (queue == NULL) {
        return NULL;
    }
    queue->items = hf_alloc_array(capacity, sizeof *queue->items);
    if (queue->items == NULL) {
        hf_free(queue);
        return NULL;
    }
    queue->capacity = capacity;
    hf_mutex_init(&queue->mutex);
    hf_cond_init(&queue->changed_room);
    hf_cond_init(&queue->changed_items);
    return queue;
}

void hf_queue_destroy(struct hf_queue *queue)
{
    if (queue != NULL) {
        hf_cond_fini(&queue->changed_items);
        hf_cond_fini(&queue->changed_room);
        hf_mutex_fini(&queue->mutex);
        hf_free(queue->items);
        hf_free(queue);
    }
}

bool hf_queue_push(struct hf_queue *queue, void *item)
{
    HF_LOCKED(&queue->mutex);
    while (queue->count == queue->capacity && !queue->closed) {
        hf_cond_wait(&queue->changed_room, &queue->mutex);
    }
    if (queue->closed) {
        return false;
    }
    queue->items[(queue->first + queue->count) % queue->capacity] = item;
    queue->count++;
    hf_cond_signal(&queue->changed_items);
    return true;
}

static void take_first_locked(struct hf_queue *queue, void **item)
{
    *item = queue->items[queue->first];
    queue->first = (queue->first + 1) % queue->capacity;
    queue->count--;
    hf_cond_signal(&queue->changed_room);
}

bool hf_queue_pop(struct hf_queue *queue, void **item)
{
    HF_LOCKED(&queue->mutex);
    while (queue->count == 0 && !queue->closed) {
        hf_cond_wait(&queue->changed_items, &queue->mutex);
    }
    if (queue->count == 0) {
        return false;
    }
    take_first_locked(queue, item);
    return true;
}

bool hf_queue_pop_for(struct hf_queue *queue, uint64_t timeout_ms, void **item)
{
    struct timespec deadline = deadline_after(timeout_ms);
    bool in_time = true;
    HF_LOCKED(&queue->mutex);
    while (queue->count == 0 && !queue->closed && in_time) {
        in_time = wait_until(&queue->changed_items, &queue->mutex, &deadline);
    }
    if (queue->count > 0) {
        take_first_locked(queue, item);
        return true;
    }
    *item = NULL;
    return !queue->closed;
}

void hf_queue_close(struct hf_queue *queue)
{
    HF_LOCKED(&queue->mutex);
    queue->closed = true;
    hf_cond_broadcast(&queue->changed_items);
    hf_cond_broadcast(&queue->changed_room);
}

size_t hf_queue_length(struct hf_queue *queue)
{
    HF_LOCKED(&queue->mutex);
    return queue->count;
}
