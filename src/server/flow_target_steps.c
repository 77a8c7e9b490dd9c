/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of a restore onto a set between the server and the agents: what a member's agent is given, and what came back
 * of it. When which step comes is flow_target.c's.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "server/flow.h"
#include "server/flow_internal.h"
#include "snapshot/restore.h"

#define CAS_TRIES 16

/* ---- What an agent is given ---- */

static enum hf_target_step step_of(enum hf_target_phase phase)
{
    static const enum hf_target_step steps[HF_TARGET_PHASES] = {
        [HF_TARGET_CHECK] = HF_STEP_CHECK, [HF_TARGET_BUILD] = HF_STEP_BUILD,
        [HF_TARGET_STOP] = HF_STEP_STOP,   [HF_TARGET_SWAP] = HF_STEP_SWAP,
        [HF_TARGET_START] = HF_STEP_START, [HF_TARGET_PRIMARY] = HF_STEP_PRIMARY,
        [HF_TARGET_CLEAN] = HF_STEP_CLEAN, [HF_TARGET_HALT] = HF_STEP_HALT,
        [HF_TARGET_BACK] = HF_STEP_BACK,
    };

    return steps[phase];
}

static enum hf_err copy_text(const char *text, char **out, struct hf_error *err)
{
    *out = text[0] == '\0' ? NULL : hf_strdup(text);
    return text[0] != '\0' && *out == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory")
                                           : HF_ERR_OK;
}

static enum hf_err fill_build(struct hf_server_app *app, const struct hf_target_record *record,
                              struct hf_task *out, struct hf_error *err)
{
    HF_CLEANUP(hf_flow_reading_fini) struct hf_flow_reading reading = {0};
    HF_CLEANUP(hf_buf_fini) struct hf_buf info = HF_BUF_INIT(HF_MESSAGE_INFO_BYTES);
    struct hf_task_target *target = &out->target;
    struct hf_restore_record restore;

    if (hf_keep_restore_get(app->catalog, &record->id, &restore, NULL, err) != HF_ERR_OK ||
        hf_flow_open(app, &record->snapshot, &reading, err) != HF_ERR_OK ||
        hf_restore_info_text(&reading.manifest, &info, err) != HF_ERR_OK) {
        return err->code;
    }
    target->capture = reading.manifest.capture;
    target->checkpoint = reading.manifest.facts.checkpoint;
    target->root = reading.manifest.root;
    reading.manifest.root = (struct hf_tree_root){0};
    out->keyring = reading.keyring;
    hf_flow_fill_point(&restore.point, &reading.manifest.facts, &target->point);
    target->restore_info = hf_strndup((const char *)info.data, info.len);
    if (target->restore_info == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    return copy_text(record->options, &target->options, err);
}

static struct hf_target_member *member_of(struct hf_target_record *record, const struct hf_id *task)
{
    for (size_t i = 0; i < record->member_count; i++) {
        if (hf_id_equal(&record->members[i].task, task)) {
            return &record->members[i];
        }
    }
    return NULL;
}

enum hf_err hf_flow_fill_target(struct hf_server_app *app, const struct hf_task_record *task,
                                struct hf_task *out, struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_target_record *record = hf_alloc_zero(sizeof *record);

    if (record == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_keep_target_get(app->catalog, &task->restore, record, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_target_member *member = member_of(record, &task->id);
    if (member == NULL) {
        return hf_fail(err, HF_ERR_LOST, "restore %s has gone on without this step",
                       hf_id_text(&task->restore).text);
    }
    struct hf_task_target *target = &out->target;
    target->step = step_of(record->phase);
    target->restore = record->id;
    target->snapshot = record->snapshot;
    target->arbiter = member->arbiter;
    target->in_place = record->in_place;
    (void)snprintf(target->member, sizeof target->member, "%s", member->host);
    (void)snprintf(target->set_name, sizeof target->set_name, "%s", record->set_name);
    (void)snprintf(target->login_print, sizeof target->login_print, "%s", record->login_print);
    if (copy_text(record->config, &target->config, err) != HF_ERR_OK) {
        return err->code;
    }
    bool builds =
        target->step == HF_STEP_BUILD || (target->step == HF_STEP_SWAP && record->in_place);
    /* Nothing but building needs the store: the way back must not wait for it. */
    return builds && !member->arbiter ? fill_build(app, record, out, err) : HF_ERR_OK;
}

/* ---- What came back ---- */

/* An older agent says nothing. */
static void take_bytes(struct hf_target_member *member, const char *text)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *report = NULL;
    struct hf_error ignored;

    if (text != NULL &&
        hf_json_decode(hf_str_of(text), HF_TARGET_REPORT_BYTES, &report, &ignored) == HF_ERR_OK) {
        member->reused_bytes = hf_json_get_u64(report, "reusedBytes", 0);
        member->fetched_bytes = hf_json_get_u64(report, "fetchedBytes", 0);
    }
}

static void take_outcome(struct hf_target_record *record, size_t index,
                         const struct hf_msg_finish *finish)
{
    struct hf_target_member *member = &record->members[index];
    struct hf_error outcome = {.code = finish->code};
    HF_CLEANUP(hf_json_drop) struct hf_json *report = NULL;
    struct hf_error err;

    (void)snprintf(outcome.message, sizeof outcome.message, "%s", finish->message);
    if (finish->code == HF_ERR_OK && record->phase == HF_TARGET_CHECK) {
        const char *text = finish->report == NULL ? "" : finish->report;
        if (hf_json_decode(hf_str_of(text), HF_TARGET_REPORT_BYTES, &report, &err) != HF_ERR_OK ||
            hf_target_take_report(record, index, report, &err) != HF_ERR_OK) {
            outcome = err;
        }
    }
    if (finish->code == HF_ERR_OK && finish->restored_bytes > 0) {
        take_bytes(member, finish->report);
        member->files = finish->restored_files;
        member->bytes = finish->restored_bytes;
        member->written_bytes = finish->written_bytes;
    }
    hf_target_member_ended(record, index, &outcome, hf_flow_now_s());
}

/* The record first: a task that has ended is not told of again. */
static enum hf_err note_outcome(struct hf_server_app *app, const struct hf_task_record *task,
                                const struct hf_msg_finish *finish, struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_target_record *record = hf_alloc_zero(sizeof *record);

    for (unsigned tries = 0; record != NULL && tries < CAS_TRIES; tries++) {
        uint64_t revision = 0;
        enum hf_err code = hf_keep_target_get(app->catalog, &task->restore, record, &revision, err);
        if (code != HF_ERR_OK) {
            return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
        }
        struct hf_target_member *member = member_of(record, &task->id);
        if (member == NULL || member->state != HF_TARGET_MEMBER_RUNNING) {
            return HF_ERR_OK;
        }
        take_outcome(record, (size_t)(member - record->members), finish);
        code = hf_keep_target_replace(app->catalog, record, &revision, err);
        if (code != HF_ERR_CONFLICT) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "restore %s changes too often",
                   hf_id_text(&task->restore).text);
}

/* One member's is everybody's: they had the same files and entries. */
static enum hf_err note_replay(struct hf_server_app *app, const struct hf_task_record *task,
                               const struct hf_msg_finish *finish, struct hf_error *err)
{
    enum hf_err code = HF_ERR_CONFLICT;

    for (unsigned tries = 0; finish->replay.done && code == HF_ERR_CONFLICT && tries < CAS_TRIES;
         tries++) {
        struct hf_restore_record restore;
        uint64_t revision = 0;
        if (hf_keep_restore_get(app->catalog, &task->restore, &restore, &revision, err) !=
            HF_ERR_OK) {
            return err->code;
        }
        hf_flow_take_replay(&finish->replay, &restore.point);
        code = hf_keep_restore_replace(app->catalog, &restore, &revision, err);
    }
    return finish->replay.done ? code : HF_ERR_OK;
}

enum hf_err hf_flow_finish_target(struct hf_server_app *app, const struct hf_task_record *task,
                                  const struct hf_msg_finish *finish, struct hf_error *err)
{
    struct hf_error outcome = {.code = finish->code};

    (void)snprintf(outcome.message, sizeof outcome.message, "%s", finish->message);
    if (note_replay(app, task, finish, err) != HF_ERR_OK ||
        note_outcome(app, task, finish, err) != HF_ERR_OK ||
        HF_FAULT("server.target.noted", err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_flow_end_task(app, &task->id, &outcome, err);
}
