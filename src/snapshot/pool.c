/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many items, several threads.
 */
#include "snapshot/pool.h"

struct pool {
    const struct hf_pool_work *work; /* borrowed */
    atomic_size_t next;
    struct hf_mutex mutex; /* guards: failed, error */
    bool failed;
    struct hf_error error;
};

struct pool_worker {
    struct pool *pool;
    unsigned number;
};

unsigned hf_pool_workers(unsigned wanted)
{
    unsigned workers = wanted == 0 ? hf_thread_cpu_count() : wanted;
    return workers > HF_POOL_WORKERS_MAX ? HF_POOL_WORKERS_MAX : workers;
}

static bool has_failed(struct pool *pool)
{
    HF_LOCKED(&pool->mutex);
    return pool->failed;
}

static void fail(struct pool *pool, const struct hf_error *error)
{
    HF_LOCKED(&pool->mutex);
    if (!pool->failed) {
        pool->failed = true;
        pool->error = *error;
    }
}

static void run_worker(void *argument)
{
    const struct pool_worker *worker = argument;
    struct pool *pool = worker->pool;
    const struct hf_pool_work *work = pool->work;
    struct hf_error err;
    for (;;) {
        size_t item = atomic_fetch_add(&pool->next, 1);
        if (item >= work->count || has_failed(pool)) {
            return;
        }
        if (hf_cancel_check(work->cancel, &err) != HF_ERR_OK ||
            work->run(work->context, worker->number, item, &err) != HF_ERR_OK) {
            fail(pool, &err);
            return;
        }
    }
}

enum hf_err hf_pool_run(const struct hf_pool_work *work, struct hf_error *err)
{
    struct pool pool = {.work = work};
    struct pool_worker workers[HF_POOL_WORKERS_MAX];
    struct hf_thread *threads[HF_POOL_WORKERS_MAX] = {NULL};
    HF_ASSERT(work->workers >= 1 && work->workers <= HF_POOL_WORKERS_MAX);
    unsigned count = work->count < work->workers ? (unsigned)work->count : work->workers;
    hf_mutex_init(&pool.mutex);
    for (unsigned i = 0; i < count; i++) {
        struct hf_error start_error;
        workers[i] = (struct pool_worker){.pool = &pool, .number = i};
        if (i > 0 && hf_thread_start("hf-pool", run_worker, &workers[i], &threads[i],
                                     &start_error) != HF_ERR_OK) {
            threads[i] = NULL; /* fewer threads do the same work */
        }
    }
    if (count > 0) {
        run_worker(&workers[0]);
    }
    for (unsigned i = 1; i < count; i++) {
        hf_thread_join(threads[i]);
    }
    hf_mutex_fini(&pool.mutex);
    if (pool.failed) {
        *err = pool.error;
        return err->code;
    }
    return HF_ERR_OK;
}
