/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of a member in a restore onto its set. Each looks at the note first: a step that was done already says so
 * again, one that does not fit the stage is refused.
 */
#include "agent/target.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "os/fs.h"
#include "os/process.h"

struct step {
    const struct hf_agent_work *work;
    const struct hf_task_target *target;
    struct hf_agent_target_note note;
    bool noted; /* there is a note of this restore */
    struct hf_msg_replay replay;
};

static void step_fini(struct step *step)
{
    hf_agent_target_note_fini(&step->note);
}
HF_CLEANUP_DEFINE_VALUE(step_fini, struct step)

static enum hf_err move_to(const struct hf_agent_context *context,
                           struct hf_agent_target_note *note, enum hf_agent_target_stage stage,
                           struct hf_error *err)
{
    note->stage = stage;
    return hf_agent_target_note_write(context->state, note, err);
}

/* ---- The note ---- */

static struct hf_agent_target_note fresh_note(const struct hf_task_target *target)
{
    struct hf_agent_target_note note = {
        .restore = target->restore, .arbiter = target->arbiter, .in_place = target->in_place};

    (void)snprintf(note.member, sizeof note.member, "%s", target->member);
    (void)snprintf(note.set_name, sizeof note.set_name, "%s", target->set_name);
    return note;
}

/*
 * The note of this restore, or a fresh one. An earlier restore's that was left in between keeps the member's ways: one in
 * place that broke off left a member that does not run and cannot tell them.
 */
static enum hf_err open_note(struct step *step, struct hf_error *err)
{
    const struct hf_task_target *target = step->target;
    enum hf_err code =
        hf_agent_target_note_read(step->work->context->state, target->member, &step->note, err);

    if (code == HF_ERR_NOT_FOUND) {
        step->note = fresh_note(target);
        return HF_ERR_OK;
    }
    if (code != HF_ERR_OK) {
        return code;
    }
    if (hf_id_equal(&step->note.restore, &target->restore)) {
        step->noted = true;
        return HF_ERR_OK;
    }
    if (!step->note.in_place && step->note.stage >= HF_AGENT_TARGET_STOPPING &&
        step->note.stage != HF_AGENT_TARGET_UNDONE) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "restore %s was given up while %s stood between its old and new data; hint: "
                       "%s holds the old, and the agent's note in its state directory says how far "
                       "it was",
                       hf_id_text(&step->note.restore).text, target->member, step->note.db_path);
    }
    struct hf_agent_target_note fresh = fresh_note(target);
    memcpy(fresh.db_path, step->note.db_path, sizeof fresh.db_path);
    fresh.inside = step->note.inside;
    fresh.program = step->note.program;
    fresh.config = step->note.config;
    fresh.login = step->note.login;
    step->note = fresh;
    return HF_ERR_OK;
}

/* ---- BUILD ---- */
static enum hf_err build(struct step *step, struct hf_error *err)
{
    const struct hf_agent_context *context = step->work->context;

    if (step->noted && step->note.stage == HF_AGENT_TARGET_BUILT) {
        return HF_ERR_OK;
    }
    if (!step->noted && hf_agent_target_know(step->work, &step->note, err) != HF_ERR_OK) {
        return err->code;
    }
    HF_CLEANUP(hf_free) char *new_dir = hf_agent_target_new_dir(&step->note);
    HF_CLEANUP(hf_free) char *old_dir = hf_agent_target_old_dir(&step->note);
    if (new_dir == NULL || old_dir == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    const struct hf_agent_target_built built = {.directory = new_dir, .replay = &step->replay};
    /* A leftover of a restore whose last step could not remove it: the set ran on without it. */
    if (!step->noted && hf_fs_remove_tree(old_dir, err) != HF_ERR_OK) {
        return err->code;
    }
    return move_to(context, &step->note, HF_AGENT_TARGET_BUILDING, err) != HF_ERR_OK ||
                   hf_agent_target_build(step->work, &step->note, &built, err) != HF_ERR_OK ||
                   HF_FAULT("agent.target.built", err) != HF_ERR_OK ||
                   move_to(context, &step->note, HF_AGENT_TARGET_BUILT, err) != HF_ERR_OK
               ? err->code
               : HF_ERR_OK;
}

/* ---- STOP, SWAP, START ---- */

static enum hf_err refuse(const struct step *step, struct hf_error *err)
{
    return hf_fail(err, HF_ERR_CONFLICT, "step %s of restore %s does not fit: %s is %s",
                   hf_target_step_name(step->target->step), hf_id_text(&step->target->restore).text,
                   step->target->member,
                   !step->noted                                  ? "not in it"
                   : step->note.stage == HF_AGENT_TARGET_UNDOING ? "on its way back"
                   : step->note.stage == HF_AGENT_TARGET_UNDONE
                       ? "back on its old data already, as its agent lost the server"
                       : "not that far");
}

static enum hf_err stop(struct step *step, struct hf_error *err)
{
    const struct hf_agent_context *context = step->work->context;
    const char *config = step->target->config;

    if (step->noted
            ? step->note.stage < HF_AGENT_TARGET_BUILT || step->note.stage > HF_AGENT_TARGET_STOPPED
            : !step->target->in_place) {
        return refuse(step, err);
    }
    if (!step->noted && hf_agent_target_know(step->work, &step->note, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_free(step->note.config);
    step->note.config = config == NULL ? NULL : hf_strdup(config);
    return move_to(context, &step->note, HF_AGENT_TARGET_STOPPING, err) != HF_ERR_OK ||
                   hf_agent_target_stop(step->work, &step->note, err) != HF_ERR_OK ||
                   HF_FAULT("agent.target.stopped", err) != HF_ERR_OK ||
                   move_to(context, &step->note, HF_AGENT_TARGET_STOPPED, err) != HF_ERR_OK
               ? err->code
               : HF_ERR_OK;
}

static enum hf_err swap(struct step *step, struct hf_error *err)
{
    const struct hf_agent_context *context = step->work->context;

    if (step->noted && step->note.stage == HF_AGENT_TARGET_SWAPPED) {
        return HF_ERR_OK;
    }
    if (!step->noted || step->note.stage < HF_AGENT_TARGET_STOPPED ||
        step->note.stage > HF_AGENT_TARGET_SWAPPED) {
        return refuse(step, err);
    }
    const struct hf_agent_target_built built = {.directory = step->note.db_path,
                                                .replay = &step->replay};
    if (move_to(context, &step->note, HF_AGENT_TARGET_SWAPPING, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = step->note.in_place
                           ? hf_agent_target_build(step->work, &step->note, &built, err)
                           : hf_agent_target_swap(context, &step->note, err);
    return code != HF_ERR_OK || HF_FAULT("agent.target.swapped", err) != HF_ERR_OK
               ? err->code
               : move_to(context, &step->note, HF_AGENT_TARGET_SWAPPED, err);
}

static enum hf_err start(struct step *step, struct hf_error *err)
{
    const struct hf_agent_context *context = step->work->context;

    if (!step->noted || (step->note.stage != HF_AGENT_TARGET_SWAPPED &&
                         step->note.stage != HF_AGENT_TARGET_STARTED)) {
        return refuse(step, err);
    }
    /* Noted first: the server has decided, and we may be alone from here on. */
    return move_to(context, &step->note, HF_AGENT_TARGET_STARTED, err) != HF_ERR_OK ||
                   HF_FAULT("agent.target.starting", err) != HF_ERR_OK ||
                   hf_agent_target_start(context, &step->note, step->work->cancel, err) != HF_ERR_OK
               ? err->code
               : HF_FAULT("agent.target.started", err);
}

static enum hf_err primary(struct step *step, struct hf_error *err)
{
    if (!step->noted || step->note.stage != HF_AGENT_TARGET_STARTED) {
        return refuse(step, err);
    }
    return hf_agent_target_wait_primary(step->work, &step->note, err) == HF_ERR_OK
               ? HF_FAULT("agent.target.primary", err)
               : err->code;
}

static enum hf_err clean(struct step *step, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *old_dir = hf_agent_target_old_dir(&step->note);

    if (!step->noted) {
        return HF_ERR_OK; /* done, and told in vain */
    }
    if (step->note.stage != HF_AGENT_TARGET_STARTED) {
        return refuse(step, err);
    }
    if (old_dir == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_fs_remove_tree(old_dir, err) != HF_ERR_OK ||
        HF_FAULT("agent.target.cleaned", err) != HF_ERR_OK) {
        return hf_wrap(err, "remove the old data; hint: %s is not needed any more", old_dir);
    }
    return hf_agent_target_note_forget(step->work->context->state, step->target->member, err);
}

/* ---- The way back ---- */

static enum hf_err halt(struct step *step, struct hf_error *err)
{
    if (!step->noted || step->note.stage < HF_AGENT_TARGET_SWAPPED ||
        step->note.stage > HF_AGENT_TARGET_STARTED) {
        return HF_ERR_OK;
    }
    /* No guard may start it again while the others stop. */
    return move_to(step->work->context, &step->note, HF_AGENT_TARGET_SWAPPED, err) != HF_ERR_OK ||
                   hf_agent_target_stop(step->work, &step->note, err) != HF_ERR_OK
               ? err->code
               : HF_FAULT("agent.target.halted", err);
}

enum hf_err hf_agent_target_back(const struct hf_agent_context *context,
                                 struct hf_agent_target_note *note, const struct hf_cancel *cancel,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *new_dir = hf_agent_target_new_dir(note);
    bool was_stopped = note->stage >= HF_AGENT_TARGET_STOPPING || note->stopped_by_us;

    if (note->stage == HF_AGENT_TARGET_UNDONE) {
        return HF_ERR_OK;
    }
    if (new_dir == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (note->stage != HF_AGENT_TARGET_UNDOING) {
        note->stopped_by_us = was_stopped;
        if (move_to(context, note, HF_AGENT_TARGET_UNDOING, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (note->stopped_by_us) {
        if (hf_agent_target_swap_back(context, note, err) != HF_ERR_OK ||
            HF_FAULT("agent.target.put_back", err) != HF_ERR_OK ||
            hf_agent_target_start(context, note, cancel, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (hf_fs_remove_tree(new_dir, err) != HF_ERR_OK ||
        HF_FAULT("agent.target.undone", err) != HF_ERR_OK) {
        return err->code;
    }
    return move_to(context, note, HF_AGENT_TARGET_UNDONE, err);
}

static enum hf_err back(struct step *step, struct hf_error *err)
{
    const struct hf_agent_context *context = step->work->context;

    if (!step->noted) {
        return HF_ERR_OK; /* it never got so far as to note anything */
    }
    return hf_agent_target_back(context, &step->note, step->work->cancel, err) != HF_ERR_OK
               ? err->code
               : hf_agent_target_note_forget(context->state, step->target->member, err);
}

/* ---- The task ---- */

/* Where the files' bytes came from. */
static enum hf_err report_bytes(const struct hf_agent_target_note *note,
                                struct hf_msg_finish *finish, struct hf_error *err)
{
    finish->report = hf_asprintf("{\"reusedBytes\": %llu, \"fetchedBytes\": %llu}",
                                 (unsigned long long)note->reused_bytes,
                                 (unsigned long long)note->fetched_bytes);
    return finish->report == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory") : HF_ERR_OK;
}

static enum hf_err run_step(struct step *step, struct hf_msg_finish *finish, struct hf_error *err)
{
    switch (step->target->step) {
    case HF_STEP_CHECK:
        return hf_agent_target_report(step->work, &step->note, finish, err);
    case HF_STEP_BUILD:
        return build(step, err);
    case HF_STEP_STOP:
        return stop(step, err);
    case HF_STEP_SWAP:
        return swap(step, err);
    case HF_STEP_START:
        return start(step, err);
    case HF_STEP_PRIMARY:
        return primary(step, err);
    case HF_STEP_CLEAN:
        return clean(step, err);
    case HF_STEP_HALT:
        return halt(step, err);
    case HF_STEP_BACK:
        break;
    }
    return back(step, err);
}

enum hf_err hf_agent_target(const struct hf_agent_work *work, struct hf_msg_finish *finish,
                            struct hf_error *err)
{
    HF_CLEANUP(step_fini)
    struct step step = {.work = work, .target = &work->task->target};
    struct hf_agent_targets *targets = work->context->targets;
    const char *member = step.target->member;
    char host[256];

    hf_progress_phase(work->progress, hf_target_step_name(step.target->step));
    if (!hf_agent_targets_take(targets, member, work->cancel)) {
        return hf_fail(err, HF_ERR_CANCELLED, "cancelled");
    }
    enum hf_err code = open_note(&step, err);
    if (code == HF_ERR_OK) {
        code = run_step(&step, finish, err);
    }
    hf_agent_targets_give(targets, member);
    if (code != HF_ERR_OK) {
        hf_host_name(host, sizeof host);
        return hf_wrap(err, "agent on %s", host);
    }
    if (step.note.bytes > 0 && finish->report == NULL &&
        report_bytes(&step.note, finish, err) != HF_ERR_OK) {
        return err->code;
    }
    finish->replay = step.replay;
    finish->restored_files = step.note.files;
    finish->restored_bytes = step.note.bytes;
    finish->written_bytes = step.note.written_bytes;
    return HF_ERR_OK;
}
