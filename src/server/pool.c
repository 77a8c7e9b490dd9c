/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of work under one mutex, threads that take from it.
 */
#include "server/pool.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/thread.h"

struct work {
    void (*run)(void *argument);
    void *argument;
};

struct hf_server_pool {
    struct hf_mutex mutex; /* guards: ring, first, count, closed */
    struct hf_cond more;
    struct work *ring;
    size_t capacity, first, count;
    bool closed;
    struct hf_thread **threads;
    unsigned thread_count;
};

static void serve(void *argument)
{
    struct hf_server_pool *pool = argument;

    for (;;) {
        hf_mutex_lock(&pool->mutex);
        while (pool->count == 0 && !pool->closed) {
            hf_cond_wait(&pool->more, &pool->mutex);
        }
        if (pool->count == 0) {
            hf_mutex_unlock(&pool->mutex);
            return;
        }
        struct work work = pool->ring[pool->first];
        pool->first = (pool->first + 1) % pool->capacity;
        pool->count--;
        hf_mutex_unlock(&pool->mutex);
        work.run(work.argument);
    }
}

enum hf_err hf_server_pool_create(const struct hf_server_pool_options *options,
                                  struct hf_server_pool **out, struct hf_error *err)
{
    struct hf_server_pool *pool = hf_alloc_zero(sizeof *pool);

    if (pool == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    hf_mutex_init(&pool->mutex);
    hf_cond_init(&pool->more);
    pool->capacity = options->queue_max;
    pool->ring = hf_alloc_array(options->queue_max, sizeof *pool->ring);
    pool->threads = hf_alloc_array(options->threads, sizeof(struct hf_thread *));
    if (pool->ring == NULL || pool->threads == NULL) {
        hf_server_pool_destroy(pool);
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (unsigned i = 0; i < options->threads; i++) {
        if (hf_thread_start(options->name, serve, pool, &pool->threads[i], err) != HF_ERR_OK) {
            hf_server_pool_destroy(pool);
            return err->code;
        }
        pool->thread_count++;
    }
    *out = pool;
    return HF_ERR_OK;
}

void hf_server_pool_stop(struct hf_server_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    hf_mutex_lock(&pool->mutex);
    pool->closed = true;
    hf_cond_broadcast(&pool->more);
    hf_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < pool->thread_count; i++) {
        hf_thread_join(pool->threads[i]);
    }
    pool->thread_count = 0;
}

void hf_server_pool_destroy(struct hf_server_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    hf_server_pool_stop(pool);
    hf_cond_fini(&pool->more);
    hf_mutex_fini(&pool->mutex);
    hf_free(pool->ring);
    hf_free(pool->threads);
    hf_free(pool);
}

bool hf_server_pool_try(struct hf_server_pool *pool, void (*run)(void *argument), void *argument)
{
    HF_LOCKED(&pool->mutex);
    if (pool->closed || pool->count == pool->capacity) {
        return false;
    }
    pool->ring[(pool->first + pool->count) % pool->capacity] =
        (struct work){.run = run, .argument = argument};
    pool->count++;
    hf_cond_signal(&pool->more);
    return true;
}
