/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The slices that a tail brings: looked at in the store, and the head moved over them.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "oplog/slice_reader.h"
#include "server/events.h"
#include "server/flow_tail.h"
#include "server/keep.h"
#include "server/stores.h"
#include "snapshot/keys.h"

#define CAS_TRIES 8
/* Refused slices that are told as events, before one is accepted again: a liar must not drown the other events. */
#define REFUSALS_TOLD 3

/* What the slice says of itself must be what its tail was sent for. */
static enum hf_err check_slice(const struct hf_task_record *task, const struct hf_head_record *head,
                               const struct hf_slice_header *slice, struct hf_error *err)
{
    if (!hf_id_equal(&slice->writer, &task->writer) || slice->round != 0) {
        return hf_fail(err, HF_ERR_INVALID, "it is of another tailer");
    }
    if (strcmp(slice->set_name, head->set_name) != 0 || strcmp(slice->member, task->member) != 0) {
        return hf_fail(err, HF_ERR_INVALID, "it is of member %s of set %s, the tail is of %s of %s",
                       slice->member, slice->set_name, task->member, head->set_name);
    }
    return HF_ERR_OK;
}

/*
 * What was refused must not stay: whoever reads the store's chains takes a slice for what it says, so a forged one would
 * make them two histories, and a damaged one a hole. Only what this tail put, and only behind the head: a name is easily
 * said, and what was taken before is somebody's range.
 */
static enum hf_err remove_refused(struct hf_server_app *app, const struct hf_task_record *task,
                                  const struct hf_head_record *head,
                                  const struct hf_msg_slice *slice, struct hf_error *err)
{
    struct hf_open_store at;
    struct hf_object_name name;

    if (hf_object_name_parse(hf_str_of(slice->object), &name, err) != HF_ERR_OK ||
        !hf_id_equal(&name.writer, &task->writer) || !hf_id_equal(&head->task, &task->id) ||
        hf_optime_compare(&name.last_optime, &head->last) <= 0) {
        return HF_ERR_OK;
    }
    if (hf_stores_oplog_of_job_id(app, &task->job, &at, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_store_delete(at.store, hf_str_of(slice->object), err);
    if (code == HF_ERR_OK) {
        hf_log_warn(app->log, "oplog.slice.removed", HF_STR("set", head->set_name),
                    HF_STR("slice", slice->object));
    }
    return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
}

/* The tail is ended, and its member avoided: it lied, or its memory is bad. */
static enum hf_err refuse(struct hf_server_app *app, const struct hf_task_record *task,
                          const struct hf_msg_slice *slice, struct hf_error *err)
{
    struct hf_error why = *err, ignored;
    struct hf_head_record head;

    (void)hf_wrap(&why, "slice %s", slice->object);
    /* A store that does not answer now is asked again: the agent tells until the task has ended. */
    if (hf_keep_head_get(app->catalog, &task->job, &head, NULL, err) != HF_ERR_OK ||
        remove_refused(app, task, &head, slice, err) != HF_ERR_OK ||
        HF_FAULT("server.tail.refused", err) != HF_ERR_OK) {
        return err->code;
    }
    if (head.failures < REFUSALS_TOLD) {
        HF_CLEANUP(hf_free)
        char *text = hf_asprintf("member %s, agent %s: %s", task->member,
                                 hf_id_text(&task->agent).text, why.message);
        const struct hf_event_wish event = {.job = task->job,
                                            .set_name = head.set_name,
                                            .type = HF_EVENT_SLICE_REFUSED,
                                            .text = text == NULL ? why.message : text};
        (void)!hf_event_tell(app, &event, &ignored);
    }
    /* Left as it is where the catalog does not answer: the slice is refused all the same. */
    (void)!hf_flow_tail_finish(app, task, why.code, why.message, &ignored);
    *err = why;
    return why.code;
}

/* Of a task that may move the head now. */
static enum hf_err check_task(struct hf_server_app *app, const struct hf_msg_slice *slice,
                              struct hf_task_record *task, struct hf_object_name *name,
                              struct hf_error *err)
{
    if (hf_keep_task_get(app->catalog, &slice->task, task, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_id_equal(&task->attempt, &slice->attempt) ||
        !hf_id_equal(&task->agent, &slice->agent) || task->state == HF_TASK_ENDED ||
        task->state == HF_TASK_FINISHING) {
        return hf_fail(err, HF_ERR_LOST, "task %s has ended or gone to another attempt",
                       hf_id_text(&task->id).text);
    }
    if (task->kind != HF_TASK_TAIL) {
        return hf_fail(err, HF_ERR_INVALID, "task %s does not tail an oplog",
                       hf_id_text(&task->id).text);
    }
    if (hf_object_name_parse(hf_str_of(slice->object), name, err) != HF_ERR_OK) {
        return err->code;
    }
    if (name->kind != HF_OBJECT_OPLOG || !hf_id_equal(&name->job, &task->job)) {
        return hf_fail(err, HF_ERR_DENIED, "task %s does not put %s", hf_id_text(&task->id).text,
                       slice->object);
    }
    return HF_ERR_OK;
}

/* One try: CONFLICT also when another change of the document came first. */
static enum hf_err move(struct hf_server_app *app, const struct hf_task_record *task,
                        const struct hf_msg_slice *slice, const struct hf_slice_header *header,
                        bool *raced, struct hf_error *err)
{
    struct hf_head_record head;
    struct hf_error ignored;
    uint64_t revision = 0;
    bool moved = false;

    *raced = false;
    if (hf_keep_head_get(app->catalog, &task->job, &head, &revision, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_id_equal(&head.task, &task->id)) {
        return hf_fail(err, HF_ERR_CONFLICT, "the oplog of set %s is saved by another tail now",
                       head.set_name);
    }
    if (check_slice(task, &head, header, err) != HF_ERR_OK) {
        return err->code;
    }
    uint64_t before = revision;
    head.lag_s = slice->lag_s;
    head.lag_entries = slice->lag_entries;
    enum hf_err code = hf_flow_head_move(app, &head, &revision, header, &moved, err);
    if (code == HF_ERR_CONFLICT) {
        struct hf_head_record now;
        uint64_t now_revision = 0;
        *raced = hf_keep_head_get(app->catalog, &task->job, &now, &now_revision, &ignored) ==
                     HF_ERR_OK &&
                 now_revision != before;
    }
    if (code != HF_ERR_OK || !moved) {
        return code;
    }
    hf_log_debug(app->log, "oplog.slice", HF_STR("set", head.set_name),
                 HF_STR("slice", slice->object), HF_U64("entries", header->entry_count),
                 HF_U64("bytes", header->object_bytes), HF_U64("lag_s", slice->lag_s));
    if (hf_flow_head_tell(app, &head, &revision, &ignored) != HF_ERR_OK) {
        hf_log_warn(app->log, "oplog.gap.not_told", HF_STR("set", head.set_name),
                    HF_STR("error", ignored.message)); /* the tick does */
    }
    return HF_ERR_OK;
}

/* A slice that was told of before is not read again. */
static bool has_it(struct hf_server_app *app, const struct hf_task_record *task, const char *object)
{
    struct hf_head_record head;
    struct hf_error ignored;

    return hf_keep_head_get(app->catalog, &task->job, &head, NULL, &ignored) == HF_ERR_OK &&
           hf_id_equal(&head.task, &task->id) && strcmp(head.object, object) == 0;
}

enum hf_err hf_flow_tail_slice(struct hf_server_app *app, const struct hf_msg_slice *slice,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    HF_CLEANUP(hf_keyring_wipe) struct hf_keyring keyring = {0};
    struct hf_object_name name;
    struct hf_task_record task;
    struct hf_open_store at;
    struct hf_error away;
    bool raced = true;

    if (check_task(app, slice, &task, &name, err) != HF_ERR_OK) {
        return err->code;
    }
    if (has_it(app, &task, slice->object)) {
        return HF_ERR_OK;
    }
    if (hf_stores_open_oplog(app, &task.job, &at, &keyring, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_slice_fetch_header(at.store, &name, &keyring, &header, err);
    if (code == HF_ERR_OK) {
        code = HF_FAULT("server.tail.slice_read", err);
    } else if (code == HF_ERR_CORRUPT || code == HF_ERR_UNSUPPORTED ||
               (code == HF_ERR_NOT_FOUND &&
                hf_flow_oplog_store_here(at.store, &away) == HF_ERR_OK)) {
        return refuse(app, &task, slice, err); /* damaged, forged, or never put */
    } else if (code == HF_ERR_NOT_FOUND) {
        *err = away;
        return err->code;
    }
    for (unsigned tries = 0; code == HF_ERR_OK && tries < CAS_TRIES; tries++) {
        code = move(app, &task, slice, &header, &raced, err);
        if (code != HF_ERR_CONFLICT || !raced) {
            break;
        }
        code = HF_ERR_OK;
    }
    if (code == HF_ERR_OK && raced) {
        return hf_fail(err, HF_ERR_BUSY, "head of job %s changes too often",
                       hf_id_text(&task.job).text);
    }
    return code == HF_ERR_INVALID ? refuse(app, &task, slice, err) : code;
}
