/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members whose restore has lost its server, or whose agent was started again in the middle. What may be done alone stands
 * in target.h behind the stages; the rest waits for the server.
 */
#include <stdio.h>

#include "agent/target.h"
#include "base/alloc.h"
#include "os/clock.h"
#include "os/fs.h"

#define LOOK_MS 1000
#define PATIENCE_MS ((uint64_t)10 * 60 * 1000)
#define NAMES_MAX 1000
#define BUSY_MAX HF_MESSAGE_TASKS_MAX
#define TAKE_PAUSE_MS 50

struct hf_agent_targets {
    const struct hf_agent_context *context; /* borrowed: outlives us */
    struct hf_thread *thread;
    struct hf_cancel cancel;
    uint64_t patience_ms;
    struct hf_mutex mutex; /* guards: all below */
    uint64_t heard_ms;
    char busy[BUSY_MAX][HF_NAME_BYTES]; /* empty: free */
};

/* ---- One thing at a time ---- */

bool hf_agent_targets_try(struct hf_agent_targets *targets, const char *member)
{
    size_t free_at = BUSY_MAX;

    HF_LOCKED(&targets->mutex);
    for (size_t i = 0; i < BUSY_MAX; i++) {
        if (strcmp(targets->busy[i], member) == 0) {
            return false;
        }
        free_at = free_at == BUSY_MAX && targets->busy[i][0] == '\0' ? i : free_at;
    }
    if (free_at == BUSY_MAX) {
        return false;
    }
    (void)snprintf(targets->busy[free_at], sizeof targets->busy[free_at], "%s", member);
    return true;
}

bool hf_agent_targets_take(struct hf_agent_targets *targets, const char *member,
                           const struct hf_cancel *cancel)
{
    while (!hf_cancel_requested(cancel)) {
        if (hf_agent_targets_try(targets, member)) {
            return true;
        }
        hf_cancel_sleep(cancel, TAKE_PAUSE_MS);
    }
    return false;
}

void hf_agent_targets_give(struct hf_agent_targets *targets, const char *member)
{
    HF_LOCKED(&targets->mutex);
    for (size_t i = 0; i < BUSY_MAX; i++) {
        if (strcmp(targets->busy[i], member) == 0) {
            targets->busy[i][0] = '\0';
        }
    }
}

void hf_agent_targets_heard(struct hf_agent_targets *targets)
{
    HF_LOCKED(&targets->mutex);
    targets->heard_ms = hf_clock_mono_ms();
}

static uint64_t silent_ms(struct hf_agent_targets *targets)
{
    HF_LOCKED(&targets->mutex);
    return hf_clock_mono_ms() - targets->heard_ms;
}

/* ---- What is done alone ---- */

static enum hf_err look_after(struct hf_agent_targets *targets, struct hf_agent_target_note *note,
                              const char **what, struct hf_error *err)
{
    if (silent_ms(targets) < targets->patience_ms) {
        return HF_ERR_OK;
    }
    switch (note->stage) {
    case HF_AGENT_TARGET_STOPPING:
    case HF_AGENT_TARGET_STOPPED:
    case HF_AGENT_TARGET_UNDOING:
        *what = "back";
        return hf_agent_target_back(targets->context, note, &targets->cancel, err);
    case HF_AGENT_TARGET_STARTED:
        if (hf_agent_target_is_free(note->db_path, err) != HF_ERR_OK) {
            return HF_ERR_OK; /* it runs */
        }
        *what = "start";
        return hf_agent_target_start(targets->context, note, &targets->cancel, err);
    case HF_AGENT_TARGET_SWAPPING:
    case HF_AGENT_TARGET_SWAPPED:
    case HF_AGENT_TARGET_BUILDING:
    case HF_AGENT_TARGET_BUILT:
    case HF_AGENT_TARGET_UNDONE:
        break;
    }
    return HF_ERR_OK;
}

static void look_at(struct hf_agent_targets *targets, const char *member)
{
    HF_CLEANUP(hf_agent_target_note_fini) struct hf_agent_target_note note = {.member = ""};
    const char *what = NULL;
    struct hf_error err;

    if (!hf_agent_targets_try(targets, member)) {
        return;
    }
    enum hf_err code = hf_agent_target_note_read(targets->context->state, member, &note, &err);
    if (code == HF_ERR_OK) {
        code = look_after(targets, &note, &what, &err);
    }
    hf_agent_targets_give(targets, member);
    if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND && code != HF_ERR_CANCELLED) {
        hf_log_error(targets->context->log, "agent.target.alone_failed", HF_STR("member", member),
                     HF_STR("error", err.message));
    } else if (code == HF_ERR_OK && what != NULL) {
        hf_log_warn(targets->context->log, "agent.target.alone", HF_STR("member", member),
                    HF_STR("restore", hf_id_text(&note.restore).text), HF_STR("did", what));
    }
}

static void look(struct hf_agent_targets *targets)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list list = {.names = NULL};
    HF_CLEANUP(hf_free) char *dir = NULL;
    struct hf_error ignored;

    if (hf_agent_state_targets(targets->context->state, &dir, &ignored) != HF_ERR_OK ||
        hf_fs_list(dir, NAMES_MAX, &list, &ignored) != HF_ERR_OK) {
        return;
    }
    for (size_t i = 0; i < list.count && !hf_cancel_requested(&targets->cancel); i++) {
        if (!hf_fs_is_temporary_name(list.names[i])) {
            look_at(targets, list.names[i]);
        }
    }
}

static void guard(void *argument)
{
    struct hf_agent_targets *targets = argument;

    while (!hf_cancel_requested(&targets->cancel)) {
        look(targets);
        hf_cancel_sleep(&targets->cancel, LOOK_MS);
    }
}

enum hf_err hf_agent_targets_start(const struct hf_agent_context *context, uint64_t patience_ms,
                                   struct hf_agent_targets **out, struct hf_error *err)
{
    HF_CLEANUP(hf_agent_targets_stop)
    struct hf_agent_targets *targets = hf_alloc_zero(sizeof *targets);

    if (targets == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    targets->context = context;
    targets->patience_ms = patience_ms != 0 ? patience_ms : PATIENCE_MS;
    targets->heard_ms = hf_clock_mono_ms();
    hf_cancel_init(&targets->cancel);
    hf_mutex_init(&targets->mutex);
    if (hf_thread_start("hf-lookout", guard, targets, &targets->thread, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = HF_TAKE(targets);
    return HF_ERR_OK;
}

void hf_agent_targets_stop(struct hf_agent_targets *targets)
{
    if (targets == NULL) {
        return;
    }
    hf_cancel_request(&targets->cancel);
    hf_thread_join(targets->thread);
    hf_mutex_fini(&targets->mutex);
    hf_free(targets);
}
