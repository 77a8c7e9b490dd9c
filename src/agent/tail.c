/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tail: the member's entries become slices, and the slices the job's chain.
 *
 *   hf-oplog reads ahead -> here they are cut into slices -> hf-slice puts them and tells the server
 *
 * Each step waits for the next one, so a slow store makes the tail wait and never fills the memory; what waits lies in the
 * member's oplog. A slice that was closed but not told when the agent dies is written again by the next tail, as another
 * object: only what the server was told counts.
 */
#include <stdio.h>

#include "agent/tail_internal.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "oplog/slicer.h"
#include "os/clock.h"

/* How soon a cancelled task is noticed. */
#define LOOK_MS 200

struct tail {
    const struct hf_agent_work *work;
    struct hf_cancel stop;
    struct hf_tail_source *source;
    struct hf_tail_sender *sender;
    struct hf_slicer *slicer;
    uint64_t entries; /* taken so far */
};

static void tail_fini(struct tail *tail)
{
    hf_cancel_request(&tail->stop);
    hf_tail_sender_stop(tail->sender);
    hf_tail_source_stop(tail->source);
    hf_slicer_destroy(tail->slicer);
}
HF_CLEANUP_DEFINE_VALUE(tail_fini, struct tail)

static enum hf_err close_slice(struct tail *tail, struct hf_error *err)
{
    struct hf_tail_slice *slice = NULL;

    if (hf_tail_sender_take(tail->sender, &slice, err) != HF_ERR_OK ||
        hf_slicer_close(tail->slicer, &slice->name, &slice->object, err) != HF_ERR_OK) {
        return err->code;
    }
    slice->entries_until = tail->entries;
    hf_tail_sender_send(tail->sender);
    return HF_ERR_OK;
}

static enum hf_err take_entries(struct tail *tail, struct hf_mongo_tail_batch *batch,
                                struct hf_error *err)
{
    uint64_t now_ms = hf_clock_mono_ms();
    struct hf_bytes entry;

    while (hf_mongo_tail_batch_next(batch, &entry)) {
        bool taken = false;
        if (hf_slicer_add(tail->slicer, entry, now_ms, &taken, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!taken) {
            if (close_slice(tail, err) != HF_ERR_OK) {
                return err->code;
            }
            now_ms = hf_clock_mono_ms();
            if (hf_slicer_add(tail->slicer, entry, now_ms, &taken, err) != HF_ERR_OK) {
                return err->code;
            }
            HF_ASSERT(taken); /* an empty slice has room for any entry */
        }
        tail->entries++;
        hf_progress_add_done(tail->work->progress, entry.len);
    }
    return HF_ERR_OK;
}

/* The chain ends, and another one begins with the next entry. */
static enum hf_err take_break(struct tail *tail, const struct hf_tail_item *item,
                              struct hf_error *err)
{
    hf_log_warn(tail->work->context->log, "agent.tail.broken",
                HF_STR("member", tail->work->task->tail.member),
                HF_STR("cause", hf_chain_cause_word(item->cause)),
                HF_STR("text", item->error.message));
    if (!hf_slicer_is_empty(tail->slicer) && close_slice(tail, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_slicer_break(tail->slicer, item->cause, item->fcv);
    return HF_FAULT("agent.tail.broken", err);
}

/* The member is gone. What came from it before is kept, as far as the server takes it. */
static enum hf_err take_failure(struct tail *tail, const struct hf_error *why, struct hf_error *err)
{
    struct hf_tail_slice *slice = NULL;

    if (hf_slicer_is_empty(tail->slicer) || close_slice(tail, err) == HF_ERR_OK) {
        if (hf_tail_sender_take(tail->sender, &slice, err) == HF_ERR_OK) {
            return hf_fail(err, why->code, "%s", why->message);
        }
    }
    return err->code;
}

static enum hf_err take_item(struct tail *tail, struct hf_tail_item *item, struct hf_error *err)
{
    switch (item->kind) {
    case HF_TAIL_ENTRIES:
        return take_entries(tail, item->batch, err);
    case HF_TAIL_FCV:
        hf_slicer_set_fcv(tail->slicer, item->fcv);
        return HF_ERR_OK;
    case HF_TAIL_BREAK:
        return take_break(tail, item, err);
    case HF_TAIL_FAILED:
        break;
    }
    return take_failure(tail, &item->error, err);
}

static enum hf_err run(struct tail *tail, struct hf_error *err)
{
    for (;;) {
        uint64_t wait_ms = hf_slicer_wait_ms(tail->slicer, hf_clock_mono_ms());
        HF_CLEANUP(hf_tail_item_destroy) struct hf_tail_item *item = NULL;
        bool more = hf_tail_source_next(tail->source, wait_ms < LOOK_MS ? wait_ms : LOOK_MS, &item);

        if (!more) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        }
        if (hf_cancel_check(tail->work->cancel, err) != HF_ERR_OK ||
            hf_tail_sender_check(tail->sender, err) != HF_ERR_OK ||
            (item != NULL && take_item(tail, item, err) != HF_ERR_OK)) {
            return err->code;
        }
        if (hf_slicer_due(tail->slicer, hf_clock_mono_ms()) &&
            close_slice(tail, err) != HF_ERR_OK) {
            return err->code;
        }
    }
}

static enum hf_err start(struct tail *tail, struct hf_error *err)
{
    const struct hf_task_tail *task = &tail->work->task->tail;
    const struct hf_slicer_options options = {
        .keyring = &tail->work->task->keyring,
        .writer = task->writer,
        .set_name = task->set_name,
        .member = task->member,
        .fcv = task->fcv,
        .start = task->start,
        .target_bytes = task->target_bytes,
        .age_ms = task->age_ms,
        .noop_age_ms = task->noop_age_ms,
    };

    hf_progress_phase(tail->work->progress, "tail");
    if (hf_slicer_create(&options, &tail->slicer, err) != HF_ERR_OK ||
        HF_FAULT("agent.tail.begun", err) != HF_ERR_OK ||
        hf_tail_source_start(tail->work, &tail->stop, &tail->source, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_tail_sender_start(tail->work, &tail->stop, tail->source, &tail->sender, err);
}

enum hf_err hf_agent_tail(const struct hf_agent_work *work, struct hf_error *err)
{
    HF_CLEANUP(tail_fini) struct tail tail = {.work = work};
    const struct hf_task_tail *task = &work->task->tail;

    hf_cancel_init(&tail.stop);
    if (start(&tail, err) == HF_ERR_OK) {
        hf_log_info(work->context->log, "agent.tail.begun", HF_STR("member", task->member),
                    HF_STR("set", task->set_name),
                    HF_STR("after", hf_optime_text(&task->start.previous).text));
        (void)run(&tail, err);
    }
    return hf_wrap(err, "tail of %s at %s", task->set_name, task->member);
}
