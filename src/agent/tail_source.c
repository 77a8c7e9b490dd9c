/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the oplog ahead of the slices, a batch or two, and finds out what it means when the oplog does not go on.
 *
 *   begin: behind the task's `previous`, or (a chain's start) at the newest committed entry, a job's first one LEAD_S before
 *   read -> ENTRIES
 *   LOST -> why? -> BREAK: at the oldest entry where the oplog rolled over, else at the newest committed one
 *   away -> asked again until AWAY_MS have passed -> FAILED
 */
#include "agent/tail_internal.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "os/clock.h"

#define ITEMS_AHEAD 2
/* Of what was read and is not cut into slices yet: while there is so much, nothing more is read. Entries may have 16 MB. */
#define AHEAD_BYTES ((uint64_t)8 << 20)
#define ROOM_CHECK_MS 50
#define AWAY_MS 20000
#define AWAY_PAUSE_MS 500
#define READ_WAIT_MS 1000
/*
 * A snapshot that was begun before the job's first tail is a base on its chain only if the chain has the entry up to which
 * the copy was certain then. Between the two lie a few polls of the agents.
 */
#define LEAD_S 60

struct hf_tail_source {
    const struct hf_agent_work *work; /* borrowed */
    const struct hf_cancel *stop;     /* borrowed */
    struct hf_queue *items;           /* owned; of struct hf_tail_item */
    struct hf_mongo_tail *tail;       /* owned; the thread's */
    struct hf_thread *thread;
    atomic_uint_fast64_t entries, committed_s;
    uint64_t away_since_ms; /* the thread's; 0: it is there */
    uint64_t held_bytes;    /* the caller's: of the item that it was given last */
    struct hf_mutex mutex;  /* guards: ahead_bytes */
    struct hf_cond room;
    uint64_t ahead_bytes; /* of batches that were given, the held one among them */
};

void hf_tail_item_destroy(struct hf_tail_item *item)
{
    if (item != NULL) {
        hf_mongo_tail_batch_destroy(item->batch);
        hf_free(item);
    }
}

/* Takes item. False when nobody wants it any more. */
static bool give_take(struct hf_tail_source *source, struct hf_tail_item *item)
{
    if (hf_queue_push(source->items, item)) {
        return true;
    }
    hf_tail_item_destroy(item);
    return false;
}

static uint64_t bytes_of(const struct hf_tail_item *item)
{
    return item->batch == NULL ? 0 : hf_mongo_tail_batch_facts(item->batch).bytes;
}

static void wait_for_room(struct hf_tail_source *source)
{
    HF_LOCKED(&source->mutex);
    while (source->ahead_bytes >= AHEAD_BYTES && !hf_cancel_requested(source->stop)) {
        (void)hf_cond_wait_for(&source->room, &source->mutex, ROOM_CHECK_MS);
    }
}

static void count_ahead(struct hf_tail_source *source, uint64_t more, uint64_t less)
{
    HF_LOCKED(&source->mutex);
    source->ahead_bytes = source->ahead_bytes + more - less;
    hf_cond_signal(&source->room);
}

static const char *member_of(const struct hf_tail_source *source)
{
    return source->work->task->tail.member;
}

/*
 * True when it is worth another try: what may pass, until it has lasted for too long. A member that restarts may refuse
 * whom it knows, so refusals have their time, too.
 */
static bool bear(struct hf_tail_source *source, const struct hf_error *err)
{
    uint64_t now_ms = hf_clock_mono_ms();

    if (hf_cancel_requested(source->stop) || err->code == HF_ERR_NO_MEMORY ||
        err->code == HF_ERR_CONFLICT || err->code == HF_ERR_CANCELLED) {
        return false;
    }
    if (source->away_since_ms == 0) {
        source->away_since_ms = now_ms;
        hf_log_warn(source->work->context->log, "agent.tail.away",
                    HF_STR("member", member_of(source)), HF_STR("error", err->message));
    }
    if (now_ms - source->away_since_ms >= AWAY_MS) {
        return false;
    }
    hf_cancel_sleep(source->stop, AWAY_PAUSE_MS);
    return true;
}

static void note_alive(struct hf_tail_source *source)
{
    if (source->away_since_ms != 0) {
        source->away_since_ms = 0;
        hf_log_info(source->work->context->log, "agent.tail.back",
                    HF_STR("member", member_of(source)));
    }
    source->committed_s = hf_mongo_tail_committed(source->tail).seconds;
}

/* ---- The start, and new starts ---- */

static enum hf_err begin_once(struct hf_tail_source *source, struct hf_tail_item *item,
                              struct hf_error *err)
{
    bool from_oldest = item->kind == HF_TAIL_BREAK && item->cause == HF_CHAIN_ROLLED_OVER;
    bool first = item->kind == HF_TAIL_FCV && source->work->task->tail.start.cause ==
                                                  HF_CHAIN_FIRST; /* nothing was saved before */

    if (from_oldest
            ? hf_mongo_tail_from_oldest(source->tail, err) != HF_ERR_OK
            : hf_mongo_tail_from_committed(source->tail, first ? LEAD_S : 0, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_mongo_tail_fcv(source->tail, item->fcv, err);
}

/* A chain begins; item says so. False: give up, with *err. */
static bool begin_chain_take(struct hf_tail_source *source, struct hf_tail_item *item,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_tail_item_destroy) struct hf_tail_item *owned = item;

    while (begin_once(source, owned, err) != HF_ERR_OK) {
        if (!bear(source, err)) {
            return false;
        }
    }
    if (!give_take(source, HF_TAKE(owned))) {
        (void)hf_fail(err, HF_ERR_CANCELLED, "cancelled");
        return false;
    }
    return true;
}

static bool begin(struct hf_tail_source *source, struct hf_error *err)
{
    const struct hf_chain_point *start = &source->work->task->tail.start;

    if (!hf_optime_is_none(&start->previous)) {
        hf_mongo_tail_from(source->tail, start->previous);
        return true;
    }
    struct hf_tail_item *item = hf_alloc_zero(sizeof *item);
    if (item == NULL) {
        (void)hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        return false;
    }
    item->kind = HF_TAIL_FCV;
    return begin_chain_take(source, item, err);
}

/* The entry to go on from is gone, as *err says. */
static bool begin_again(struct hf_tail_source *source, struct hf_error *err)
{
    HF_CLEANUP(hf_tail_item_destroy) struct hf_tail_item *item = hf_alloc_zero(sizeof *item);

    if (item == NULL) {
        (void)hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        return false;
    }
    item->kind = HF_TAIL_BREAK;
    item->error = *err;
    if (hf_mongo_tail_why(source->tail, &item->cause, err) != HF_ERR_OK) {
        return bear(source, err); /* the next read finds it again */
    }
    return begin_chain_take(source, HF_TAKE(item), err);
}

/* ---- The thread ---- */

static bool give_entries_take(struct hf_tail_source *source, struct hf_mongo_tail_batch *batch,
                              struct hf_error *err)
{
    struct hf_tail_item *item = hf_alloc_zero(sizeof *item);

    if (item == NULL) {
        hf_mongo_tail_batch_destroy(batch);
        (void)hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        return false;
    }
    item->kind = HF_TAIL_ENTRIES;
    item->batch = batch;
    source->entries += hf_mongo_tail_batch_facts(batch).entries;
    count_ahead(source, bytes_of(item), 0);
    if (!give_take(source, item)) {
        (void)hf_fail(err, HF_ERR_CANCELLED, "cancelled");
        return false;
    }
    return true;
}

/* Until it must end, with *err. */
static void read_on(struct hf_tail_source *source, struct hf_error *err)
{
    for (;;) {
        struct hf_mongo_tail_batch *batch = NULL;

        wait_for_room(source);
        enum hf_err code = HF_FAULT("agent.tail.read", err);

        if (code == HF_ERR_OK) {
            code = hf_mongo_tail_read(source->tail, READ_WAIT_MS, &batch, err);
        }
        if (code == HF_ERR_OK) {
            note_alive(source);
            if (batch != NULL && !give_entries_take(source, batch, err)) {
                return;
            }
        } else if (code == HF_ERR_LOST ? !begin_again(source, err) : !bear(source, err)) {
            return;
        }
    }
}

static void source_run(void *argument)
{
    struct hf_tail_source *source = argument;
    struct hf_tail_item *item;
    struct hf_error err;

    hf_error_clear(&err);
    if (begin(source, &err)) {
        read_on(source, &err);
    }
    item = hf_alloc_zero(sizeof *item);
    if (item != NULL) {
        item->kind = HF_TAIL_FAILED;
        item->error = err;
        (void)give_take(source, item);
    }
    /* Without memory even for that: the closed queue says it. */
    hf_queue_close(source->items);
}

enum hf_err hf_tail_source_start(const struct hf_agent_work *work, const struct hf_cancel *stop,
                                 struct hf_tail_source **out, struct hf_error *err)
{
    struct hf_tail_source *source = hf_alloc_zero(sizeof *source);
    struct hf_mongo_tail_options options = {
        .client = work->context->mongo,
        .set_name = work->task->tail.set_name,
        .cancel = stop,
    };

    if (source == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    source->work = work;
    source->stop = stop;
    hf_mutex_init(&source->mutex);
    hf_cond_init(&source->room);
    source->items = hf_queue_create(ITEMS_AHEAD);
    options.client.host = work->task->tail.member;
    enum hf_err code = source->items == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory")
                                             : hf_mongo_tail_create(&options, &source->tail, err);
    if (code == HF_ERR_OK) {
        code = hf_thread_start("hf-oplog", source_run, source, &source->thread, err);
    }
    if (code != HF_ERR_OK) {
        hf_tail_source_stop(source);
        return code;
    }
    *out = source;
    return HF_ERR_OK;
}

void hf_tail_source_stop(struct hf_tail_source *source)
{
    void *item = NULL;

    if (source == NULL) {
        return;
    }
    if (source->items != NULL) {
        hf_queue_close(source->items);
    }
    hf_thread_join(source->thread);
    while (source->items != NULL && hf_queue_pop(source->items, &item)) {
        hf_tail_item_destroy(item);
    }
    hf_queue_destroy(source->items);
    hf_mongo_tail_destroy(source->tail);
    hf_cond_fini(&source->room);
    hf_mutex_fini(&source->mutex);
    hf_free(source);
}

bool hf_tail_source_next(struct hf_tail_source *source, uint64_t wait_ms,
                         struct hf_tail_item **item)
{
    void *next = NULL;

    count_ahead(source, 0, source->held_bytes);
    source->held_bytes = 0;
    bool more = hf_queue_pop_for(source->items, wait_ms, &next);
    *item = next;
    source->held_bytes = next == NULL ? 0 : bytes_of(next);
    return more;
}

uint64_t hf_tail_source_entries(const struct hf_tail_source *source)
{
    return source->entries;
}

uint64_t hf_tail_source_committed_s(const struct hf_tail_source *source)
{
    return source->committed_s;
}
