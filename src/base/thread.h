/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads, mutexes, conditions with deadlines on the monotonic clock, cancellation, bounded queues.
 */
#ifndef HF_BASE_THREAD_H
#define HF_BASE_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/error.h"

struct hf_mutex {
    pthread_mutex_t handle;
};

struct hf_cond {
    pthread_cond_t handle; /* on CLOCK_MONOTONIC */
};

void hf_mutex_init(struct hf_mutex *mutex);
void hf_mutex_fini(struct hf_mutex *mutex);
void hf_mutex_lock(struct hf_mutex *mutex);
void hf_mutex_unlock(struct hf_mutex *mutex);
void hf_cond_init(struct hf_cond *cond);
void hf_cond_fini(struct hf_cond *cond);
void hf_cond_wait(struct hf_cond *cond, struct hf_mutex *mutex);
/* False when timeout_ms passed first. Spurious wake-ups happen: call in a loop on the condition. */
bool hf_cond_wait_for(struct hf_cond *cond, struct hf_mutex *mutex, uint64_t timeout_ms);
void hf_cond_signal(struct hf_cond *cond);
void hf_cond_broadcast(struct hf_cond *cond);

/* Holds the mutex until the end of the scope. */
static inline void hf_mutex_unlock_on_exit(struct hf_mutex **mutex)
{
    hf_mutex_unlock(*mutex);
}
static inline struct hf_mutex *hf_mutex_hold(struct hf_mutex *mutex)
{
    hf_mutex_lock(mutex);
    return mutex;
}
#define HF_LOCKED_NAME2(line) hf_held_##line
#define HF_LOCKED_NAME(line) HF_LOCKED_NAME2(line)
#define HF_LOCKED(mutex)                                                                           \
    HF_CLEANUP(hf_mutex_unlock)                                                                    \
    HF_UNUSED struct hf_mutex *HF_LOCKED_NAME(__LINE__) = hf_mutex_hold(mutex)

struct hf_thread;
/* Starts run(argument) with the given name (15 chars show in ps). Whoever starts joins. */
HF_MUST_CHECK enum hf_err hf_thread_start(const char *name, void (*run)(void *argument),
                                          void *argument, struct hf_thread **out,
                                          struct hf_error *err);
/* Waits for the end and frees. NULL does nothing. */
void hf_thread_join(struct hf_thread *thread);
unsigned hf_thread_cpu_count(void);

/* A flag that loops poll; set once, from any thread or a signal handler. */
struct hf_cancel {
    atomic_bool requested;
};
void hf_cancel_init(struct hf_cancel *cancel);
void hf_cancel_request(struct hf_cancel *cancel);
/* NULL is never cancelled. */
bool hf_cancel_requested(const struct hf_cancel *cancel);
/* HF_ERR_CANCELLED with the message "cancelled" once requested. */
HF_MUST_CHECK enum hf_err hf_cancel_check(const struct hf_cancel *cancel, struct hf_error *err);
/* Sleeps at most timeout_ms, less when cancelled (polls every 50 ms). */
void hf_cancel_sleep(const struct hf_cancel *cancel, uint64_t timeout_ms);

/* Bounded queue of pointers; any thread. The element type is named where the queue is made. */
struct hf_queue;
HF_MUST_CHECK struct hf_queue *hf_queue_create(size_t capacity);
/* The elements left inside are the caller's to free before. */
void hf_queue_destroy(struct hf_queue *queue);
HF_CLEANUP_DEFINE(hf_queue_destroy, struct hf_queue *)
/* Waits for room. False when the queue was closed: the item stays the caller's. */
HF_MUST_CHECK bool hf_queue_push(struct hf_queue *queue, void *item);
/* Waits for an item. False when the queue is closed and empty. */
HF_MUST_CHECK bool hf_queue_pop(struct hf_queue *queue, void **item);
/* As pop, but gives up after timeout_ms with *item NULL and true. */
HF_MUST_CHECK bool hf_queue_pop_for(struct hf_queue *queue, uint64_t timeout_ms, void **item);
/* No more pushes; pops drain what is left. */
void hf_queue_close(struct hf_queue *queue);
size_t hf_queue_length(struct hf_queue *queue);

#endif
