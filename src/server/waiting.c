/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of waiting polls under one mutex; whoever takes an entry off owns its answer.
 */
#include "server/waiting.h"

#include "base/alloc.h"
#include "base/thread.h"
#include "os/clock.h"

#define WAITING_MAX 20000

struct waiter {
    struct hf_http_request *request;
    struct hf_server_poll poll;
    uint64_t until_ms;
};

struct hf_server_waiting {
    struct hf_server_waiting_options options;
    struct hf_mutex mutex; /* guards: waiters, count, capacity, mark */
    struct waiter **waiters;
    size_t count, capacity;
    uint64_t mark;
};

enum hf_err hf_server_waiting_create(const struct hf_server_waiting_options *options,
                                     struct hf_server_waiting **out, struct hf_error *err)
{
    struct hf_server_waiting *waiting = hf_alloc_zero(sizeof *waiting);

    if (waiting == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    waiting->options = *options;
    hf_mutex_init(&waiting->mutex);
    *out = waiting;
    return HF_ERR_OK;
}

void hf_server_waiting_destroy(struct hf_server_waiting *waiting)
{
    if (waiting == NULL) {
        return;
    }
    HF_ASSERT(waiting->count == 0);
    hf_mutex_fini(&waiting->mutex);
    hf_free(waiting->waiters);
    hf_free(waiting);
}

uint64_t hf_server_waiting_mark(struct hf_server_waiting *waiting)
{
    HF_LOCKED(&waiting->mutex);
    return waiting->mark;
}

bool hf_server_waiting_add(struct hf_server_waiting *waiting, struct hf_http_request *request,
                           const struct hf_server_poll *poll, uint64_t mark)
{
    struct waiter *waiter = hf_alloc_zero(sizeof *waiter);

    if (waiter == NULL) {
        return false;
    }
    *waiter = (struct waiter){
        .request = request, .poll = *poll, .until_ms = hf_clock_mono_ms() + poll->wait_ms};
    HF_LOCKED(&waiting->mutex);
    if (waiting->mark != mark || waiting->count == WAITING_MAX) {
        hf_free(waiter);
        return false;
    }
    if (waiting->count == waiting->capacity) {
        size_t capacity = waiting->capacity == 0 ? 64 : waiting->capacity * 2;
        struct waiter **more =
            hf_realloc_array(waiting->waiters, capacity, sizeof(struct waiter *));
        if (more == NULL) {
            hf_free(waiter);
            return false;
        }
        waiting->waiters = more;
        waiting->capacity = capacity;
    }
    waiting->waiters[waiting->count++] = waiter;
    return true;
}

/* Takes off and wakes all that are due: of that agent (NULL: every one), or past now_ms. */
static void wake_due(struct hf_server_waiting *waiting, bool notified, const struct hf_id *agent,
                     uint64_t now_ms)
{
    hf_mutex_lock(&waiting->mutex);
    waiting->mark += notified;
    for (size_t i = 0; i < waiting->count;) {
        struct waiter *waiter = waiting->waiters[i];
        bool due = notified ? agent == NULL || hf_id_equal(&waiter->poll.agent, agent)
                            : waiter->until_ms <= now_ms;
        if (!due) {
            i++;
            continue;
        }
        waiting->waiters[i] = waiting->waiters[--waiting->count];
        hf_mutex_unlock(&waiting->mutex);
        waiting->options.wake(waiting->options.context, waiter->request, &waiter->poll);
        hf_free(waiter);
        hf_mutex_lock(&waiting->mutex);
        i = 0;
    }
    hf_mutex_unlock(&waiting->mutex);
}

void hf_server_waiting_notify(struct hf_server_waiting *waiting, const struct hf_id *agent)
{
    wake_due(waiting, true, agent, 0);
}

void hf_server_waiting_expire(struct hf_server_waiting *waiting, uint64_t now_ms)
{
    wake_due(waiting, false, NULL, now_ms);
}

bool hf_server_waiting_take(struct hf_server_waiting *waiting,
                            const struct hf_http_request *request, struct hf_server_poll *poll)
{
    HF_LOCKED(&waiting->mutex);
    for (size_t i = 0; i < waiting->count; i++) {
        if (waiting->waiters[i]->request == request) {
            struct waiter *waiter = waiting->waiters[i];
            waiting->waiters[i] = waiting->waiters[--waiting->count];
            *poll = waiter->poll;
            hf_free(waiter);
            return true;
        }
    }
    return false;
}
