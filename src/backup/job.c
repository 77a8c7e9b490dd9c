/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two tables of job.h: moves, and what a job does.
 */
#include "backup/job.h"

#include <stdio.h>
#include <string.h>

/* backup-domain.md 2.1; PROVISIONING has nothing yet, and what is there while it lasts nobody may take away. */
static const struct hf_job_does does[HF_JOB_STATES] = {
    [HF_JOB_INACTIVE] = {.keeps_snapshots = false},
    [HF_JOB_PROVISIONING] = {.keeps_snapshots = true},
    [HF_JOB_STARTED] = {.keeps_snapshots = true,
                        .takes_snapshots = true,
                        .tails_oplog = true,
                        .stored = true},
    [HF_JOB_STOPPED] = {.keeps_snapshots = true, .stored = true},
    [HF_JOB_TERMINATING] = {.keeps_snapshots = false},
};

struct hf_job_does hf_job_does(const struct hf_job_record *job)
{
    return does[job->state];
}

/* The state that an action leads to; no entry: it is refused. */
struct move {
    bool allowed;
    enum hf_job_state to;
};
static const struct move moves[HF_JOB_ACTIONS][HF_JOB_STATES] = {
    [HF_JOB_START] = {[HF_JOB_INACTIVE] = {true, HF_JOB_PROVISIONING},
                      [HF_JOB_STOPPED] = {true, HF_JOB_STARTED}},
    [HF_JOB_STOP] = {[HF_JOB_STARTED] = {true, HF_JOB_STOPPED}},
    [HF_JOB_TERMINATE] = {[HF_JOB_STOPPED] = {true, HF_JOB_TERMINATING}},
    [HF_JOB_FORCE_TERMINATE] = {[HF_JOB_TERMINATING] = {true, HF_JOB_INACTIVE}},
    [HF_JOB_APPROVE] = {[HF_JOB_PROVISIONING] = {true, HF_JOB_PROVISIONING}},
    [HF_JOB_DENY] = {[HF_JOB_PROVISIONING] = {true, HF_JOB_INACTIVE}},
    [HF_JOB_PROVISIONED] = {[HF_JOB_PROVISIONING] = {true, HF_JOB_STARTED}},
    [HF_JOB_GONE] = {[HF_JOB_TERMINATING] = {true, HF_JOB_INACTIVE}},
};

const char *hf_job_refusal(enum hf_job_action action)
{
    static const char *const codes[HF_JOB_ACTIONS] = {
        [HF_JOB_START] = "CANNOT_START_BACKUP_INVALID_STATE",
        [HF_JOB_STOP] = "CANNOT_STOP_BACKUP_INVALID_STATE",
        [HF_JOB_TERMINATE] = "CANNOT_TERMINATE_BACKUP_INVALID_STATE",
        [HF_JOB_FORCE_TERMINATE] = "CANNOT_TERMINATE_BACKUP_INVALID_STATE",
        [HF_JOB_APPROVE] = "CANNOT_START_BACKUP_INVALID_STATE",
        [HF_JOB_DENY] = "CANNOT_START_BACKUP_INVALID_STATE",
        [HF_JOB_PROVISIONED] = "CANNOT_START_BACKUP_INVALID_STATE",
        [HF_JOB_GONE] = "CANNOT_TERMINATE_BACKUP_INVALID_STATE",
    };

    return codes[action];
}

bool hf_job_action_for(const char *status, enum hf_job_action *out)
{
    static const struct {
        enum hf_job_state state;
        enum hf_job_action action;
    } wishes[] = {{HF_JOB_STARTED, HF_JOB_START},
                  {HF_JOB_STOPPED, HF_JOB_STOP},
                  {HF_JOB_TERMINATING, HF_JOB_TERMINATE}};

    for (size_t i = 0; i < HF_ARRAY_LEN(wishes); i++) {
        if (strcmp(status, hf_job_state_word(wishes[i].state)) == 0) {
            *out = wishes[i].action;
            return true;
        }
    }
    return false;
}

void hf_job_init(struct hf_job_record *job, const struct hf_cluster_record *cluster)
{
    /* The job's id follows from its cluster: two starts at once make one job, and the second is told so. */
    *job = (struct hf_job_record){
        .id = cluster->id,
        .project = cluster->project,
        .cluster = cluster->id,
        .state = HF_JOB_INACTIVE,
        .next_capture = 1,
    };
    (void)snprintf(job->set_name, sizeof job->set_name, "%s", cluster->set_name);
}

/* What is said after "the job of set rs0 is STARTED". */
static const char *advice(enum hf_job_action action, enum hf_job_state state)
{
    switch (action) {
    case HF_JOB_START:
        return state == HF_JOB_TERMINATING
                   ? ": what it stored is being deleted; hint: wait until it is INACTIVE"
                   : " already";
    case HF_JOB_STOP:
        return state == HF_JOB_STOPPED        ? " already"
               : state == HF_JOB_PROVISIONING ? ": it has not begun yet"
                                              : ": there is nothing to stop";
    case HF_JOB_TERMINATE:
        return state == HF_JOB_STARTED        ? "; hint: stop it first: holdfast job stop"
               : state == HF_JOB_PROVISIONING ? ": it has nothing stored yet"
               : state == HF_JOB_INACTIVE     ? ": it has nothing stored"
                                              : " already";
    case HF_JOB_FORCE_TERMINATE:
        return ": only a termination that does not come to its end is forced";
    case HF_JOB_APPROVE:
    case HF_JOB_DENY:
        return ": it waits for no approval";
    case HF_JOB_PROVISIONED:
    case HF_JOB_GONE:
        break;
    }
    return "";
}

void hf_job_want_snapshot(struct hf_job_record *job, const char *why, uint64_t now_s)
{
    (void)snprintf(job->snapshot_wanted, sizeof job->snapshot_wanted, "%s", why);
    job->wanted_s = now_s;
    job->wanted_capture = job->next_capture;
}

void hf_job_want_none(struct hf_job_record *job)
{
    job->snapshot_wanted[0] = '\0';
    job->wanted_s = job->wanted_capture = 0;
}

static void forget_wishes(struct hf_job_record *job)
{
    hf_job_want_none(job);
    job->failures = 0;
    job->failed_s = 0;
}

enum hf_err hf_job_move(struct hf_job_record *job, enum hf_job_action action, uint64_t now_s,
                        struct hf_error *err)
{
    const struct move *move = &moves[action][job->state];
    enum hf_job_state from = job->state;

    if (!move->allowed) {
        return hf_fail(err, HF_ERR_CONFLICT, "the job of set %s is %s%s", job->set_name,
                       hf_job_state_word(from), advice(action, from));
    }
    job->state = move->to;
    job->problem[0] = '\0';
    job->moved_s = now_s;
    if (job->state == HF_JOB_STARTED) {
        job->started_s = now_s;
        job->waiting = job->leftover = false;
        forget_wishes(job);
        if (from == HF_JOB_STOPPED) {
            job->run++;
        }
        hf_job_want_snapshot(
            job,
            from == HF_JOB_STOPPED
                ? "the job was restarted: what was written while it was stopped is not saved"
                : "it is the first of the job",
            now_s);
    } else if (action == HF_JOB_APPROVE) {
        job->approved = true;
    } else if (job->state == HF_JOB_PROVISIONING) {
        job->created_s = now_s;
        job->approved = job->waiting = false;
    } else {
        forget_wishes(job);
        job->waiting = false;
        if (action == HF_JOB_GONE || action == HF_JOB_FORCE_TERMINATE) {
            job->ended_s = now_s;
            job->leftover = action == HF_JOB_FORCE_TERMINATE;
        }
    }
    return HF_ERR_OK;
}

enum hf_job_approval hf_job_approval(const struct hf_job_record *job, uint64_t data_bytes,
                                     uint64_t threshold_bytes)
{
    if (threshold_bytes == 0 || job->approved) {
        return HF_JOB_MAY_GO_ON;
    }
    if (data_bytes == 0) {
        return HF_JOB_SIZE_UNKNOWN;
    }
    return data_bytes > threshold_bytes ? HF_JOB_NEEDS_APPROVAL : HF_JOB_MAY_GO_ON;
}

struct hf_job_last hf_job_last_of(const struct hf_snapshot_record *snapshot)
{
    return (struct hf_job_last){.snapshot = snapshot->id,
                                .created_s = snapshot->created_s,
                                .finished_s = snapshot->finished_s,
                                .bytes = snapshot->bytes,
                                .stored_bytes = snapshot->stored_bytes};
}

void hf_job_note_attempt(struct hf_job_record *job, const struct hf_snapshot_record *attempt)
{
    if (attempt->state == HF_SNAPSHOT_COMPLETE) {
        job->last = hf_job_last_of(attempt);
        job->failures = 0;
        job->failed_s = 0;
    } else if ((attempt->state == HF_SNAPSHOT_FAILED || attempt->state == HF_SNAPSHOT_ABANDONED) &&
               strcmp(attempt->error_class, hf_err_name(HF_ERR_CANCELLED)) != 0) {
        job->failures++;
        job->failed_s = attempt->finished_s;
    }
}

uint64_t hf_retry_wait_s(uint64_t failures, uint64_t first_s, uint64_t most_s)
{
    uint64_t wait_s = first_s;

    for (uint64_t i = 1; i < failures && wait_s < most_s; i++) {
        wait_s *= 2;
    }
    return wait_s < most_s ? wait_s : most_s;
}

uint64_t hf_job_retry_wait_s(uint64_t failures)
{
    return failures == 0 ? 0 : hf_retry_wait_s(failures, HF_JOB_RETRY_S, HF_JOB_RETRY_MAX_S);
}
