/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One slice at a time: into the store, then the server is told, then there is room for the next one.
 *
 *   FREE -- hf_tail_sender_send --> FULL -- durable, and told --> FREE
 *                                   FULL -- refused for good  --> FAILED
 *
 * What may pass is waited for, however long: the entries stay in the member's oplog meanwhile.
 */
#include "agent/tail_internal.h"

#include <stdio.h>

#include "agent/link.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "os/clock.h"

#define CHECK_MS 50
#define PUT_PAUSE_MS 5000
/* The driver's own patience: after that the wait is said once more. */
#define PUT_RETRY_MS ((uint64_t)60000)

enum phase { FREE, FULL, FAILED };

struct hf_tail_sender {
    const struct hf_agent_work *work;    /* borrowed */
    const struct hf_cancel *stop;        /* borrowed */
    const struct hf_tail_source *source; /* borrowed: outlives the sender */
    struct hf_store *store;              /* owned */
    struct hf_agent_link *link;          /* owned */
    struct hf_thread *thread;
    struct hf_tail_slice slice; /* whose it is says phase */
    struct hf_mutex mutex;      /* guards: phase, error */
    struct hf_cond changed;
    enum phase phase;
    struct hf_error error;
};

/* What time heals: the server's or the store's trouble, a full disk too. */
static bool may_heal(enum hf_err code)
{
    return hf_err_retry(code) || code == HF_ERR_NO_SPACE || code == HF_ERR_IO;
}

static enum hf_err put(struct hf_tail_sender *sender, const struct hf_object_text *name,
                       struct hf_error *err)
{
    for (;;) {
        enum hf_err code = hf_store_put(sender->store, hf_str_of(name->text),
                                        hf_buf_bytes(&sender->slice.object), NULL, err);
        if (hf_cancel_requested(sender->stop)) {
            return hf_fail(err, HF_ERR_CANCELLED, "cancelled");
        }
        if (code == HF_ERR_OK || !may_heal(code)) {
            return code;
        }
        hf_log_warn(sender->work->context->log, "agent.tail.waiting", HF_STR("object", name->text),
                    HF_STR("error", err->message));
        hf_cancel_sleep(sender->stop, PUT_PAUSE_MS);
    }
}

static enum hf_err tell(struct hf_tail_sender *sender, const struct hf_object_text *name,
                        struct hf_error *err)
{
    const struct hf_agent_context *context = sender->work->context;
    struct hf_msg_slice slice = {
        .agent = *hf_agent_state_id(context->state),
        .task = sender->work->task->id,
        .attempt = sender->work->task->attempt,
    };
    uint64_t committed_s = hf_tail_source_committed_s(sender->source);
    uint64_t last_s = sender->slice.name.last_optime.seconds;

    (void)snprintf(slice.object, sizeof slice.object, "%s", name->text);
    slice.lag_s = committed_s > last_s ? committed_s - last_s : 0;
    slice.lag_entries = hf_tail_source_entries(sender->source) - sender->slice.entries_until;
    for (;;) {
        hf_agent_session_get(context->session, slice.session);
        enum hf_err code = hf_agent_link_slice(sender->link, &slice, err);
        if (code != HF_ERR_UNAUTHENTICATED) {
            return code;
        }
        if (!hf_agent_session_wait_for_new(context->session, slice.session, sender->stop)) {
            return hf_fail(err, HF_ERR_CANCELLED, "cancelled");
        }
    }
}

static enum hf_err send_slice(struct hf_tail_sender *sender, struct hf_error *err)
{
    struct hf_object_text name = hf_object_name_text(&sender->slice.name);
    struct hf_progress *progress = sender->work->progress;

    hf_error_clear(err);
    if (HF_FAULT("agent.tail.closed", err) != HF_ERR_OK || put(sender, &name, err) != HF_ERR_OK ||
        HF_FAULT("agent.tail.put", err) != HF_ERR_OK || tell(sender, &name, err) != HF_ERR_OK) {
        return hf_wrap(err, "slice up to %s", hf_optime_text(&sender->slice.name.last_optime).text);
    }
    atomic_fetch_add(&progress->bytes_stored, sender->slice.object.len);
    atomic_fetch_add(&progress->files_done, 1);
    hf_progress_file(progress, hf_optime_text(&sender->slice.name.last_optime).text);
    return HF_FAULT("agent.tail.told", err);
}

static void sender_run(void *argument)
{
    struct hf_tail_sender *sender = argument;
    struct hf_error err;

    while (!hf_cancel_requested(sender->stop)) {
        hf_mutex_lock(&sender->mutex);
        if (sender->phase != FULL) {
            (void)hf_cond_wait_for(&sender->changed, &sender->mutex, CHECK_MS);
        }
        bool full = sender->phase == FULL;
        hf_mutex_unlock(&sender->mutex);
        if (!full) {
            continue;
        }
        enum hf_err code = send_slice(sender, &err);
        hf_mutex_lock(&sender->mutex);
        sender->phase = code == HF_ERR_OK ? FREE : FAILED;
        sender->error = err;
        hf_cond_broadcast(&sender->changed);
        hf_mutex_unlock(&sender->mutex);
        if (code != HF_ERR_OK) {
            return;
        }
    }
}

static enum hf_err open_ways(struct hf_tail_sender *sender, struct hf_error *err)
{
    const struct hf_agent_context *context = sender->work->context;
    const struct hf_agent_link_options link = {
        .server_url = context->server_url,
        .ca_file = context->ca_file,
        .bearer = context->bearer,
        .cancel = sender->stop,
        .silence_ms = context->silence_ms,
        .log = context->log,
    };

    if (hf_agent_store_open(sender->work, sender->stop, PUT_RETRY_MS, &sender->store, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    return hf_agent_link_create(&link, &sender->link, err);
}

enum hf_err hf_tail_sender_start(const struct hf_agent_work *work, const struct hf_cancel *stop,
                                 const struct hf_tail_source *source, struct hf_tail_sender **out,
                                 struct hf_error *err)
{
    struct hf_tail_sender *sender = hf_alloc_zero(sizeof *sender);

    if (sender == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    sender->work = work;
    sender->stop = stop;
    sender->source = source;
    hf_buf_init(&sender->slice.object, HF_SLICE_OBJECT_MAX_BYTES);
    hf_mutex_init(&sender->mutex);
    hf_cond_init(&sender->changed);
    if (open_ways(sender, err) != HF_ERR_OK ||
        hf_thread_start("hf-slice", sender_run, sender, &sender->thread, err) != HF_ERR_OK) {
        hf_tail_sender_stop(sender);
        return err->code;
    }
    *out = sender;
    return HF_ERR_OK;
}

void hf_tail_sender_stop(struct hf_tail_sender *sender)
{
    if (sender == NULL) {
        return;
    }
    hf_thread_join(sender->thread);
    hf_store_close(sender->store);
    hf_agent_link_destroy(sender->link);
    hf_buf_fini(&sender->slice.object);
    hf_cond_fini(&sender->changed);
    hf_mutex_fini(&sender->mutex);
    hf_free(sender);
}

enum hf_err hf_tail_sender_check(struct hf_tail_sender *sender, struct hf_error *err)
{
    HF_LOCKED(&sender->mutex);
    if (sender->phase == FAILED) {
        *err = sender->error;
        return err->code;
    }
    return HF_ERR_OK;
}

enum hf_err hf_tail_sender_take(struct hf_tail_sender *sender, struct hf_tail_slice **slice,
                                struct hf_error *err)
{
    HF_LOCKED(&sender->mutex);
    while (sender->phase == FULL) {
        (void)hf_cond_wait_for(&sender->changed, &sender->mutex, CHECK_MS);
        if (hf_cancel_requested(sender->stop) || hf_cancel_requested(sender->work->cancel)) {
            return hf_fail(err, HF_ERR_CANCELLED, "cancelled");
        }
    }
    if (sender->phase == FAILED) {
        *err = sender->error;
        return err->code;
    }
    *slice = &sender->slice;
    return HF_ERR_OK;
}

void hf_tail_sender_send(struct hf_tail_sender *sender)
{
    HF_LOCKED(&sender->mutex);
    sender->phase = FULL;
    hf_cond_broadcast(&sender->changed);
}
