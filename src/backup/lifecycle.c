/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The moves of the diagram in lifecycle.h as tables, and the choices of an attempt.
 */
#include "backup/lifecycle.h"

#include <stdlib.h>
#include <string.h>

#include "backup/job.h"
#include "base/alloc.h"

enum {
    SNAPSHOT_STATES = HF_SNAPSHOT_EXPIRED + 1,
    RESTORE_STATES = HF_RESTORE_KILLED + 1,
    TASK_STATES = HF_TASK_ENDED + 1
};

static const bool snapshot_moves[SNAPSHOT_STATES][SNAPSHOT_STATES] = {
    [HF_SNAPSHOT_IN_PROGRESS] = {[HF_SNAPSHOT_COMPLETE] = true,
                                 [HF_SNAPSHOT_FAILED] = true,
                                 [HF_SNAPSHOT_ABANDONED] = true},
    [HF_SNAPSHOT_COMPLETE] = {[HF_SNAPSHOT_EXPIRED] = true},
};
static const bool restore_moves[RESTORE_STATES][RESTORE_STATES] = {
    [HF_RESTORE_IN_PROGRESS] =
        {[HF_RESTORE_FINISHED] = true, [HF_RESTORE_BROKEN] = true, [HF_RESTORE_KILLED] = true},
};
static const bool task_moves[TASK_STATES][TASK_STATES] = {
    [HF_TASK_WAITING] =
        {[HF_TASK_RUNNING] = true, [HF_TASK_FINISHING] = true, [HF_TASK_ENDED] = true},
    [HF_TASK_RUNNING] = {[HF_TASK_FINISHING] = true, [HF_TASK_ENDED] = true},
    [HF_TASK_FINISHING] = {[HF_TASK_ENDED] = true},
};

enum hf_err hf_snapshot_move(struct hf_snapshot_record *record, enum hf_snapshot_state to,
                             uint64_t now_s, struct hf_error *err)
{
    if (!snapshot_moves[record->state][to]) {
        return hf_fail(err, HF_ERR_CONFLICT, "snapshot %s is %s and cannot become %s",
                       hf_id_text(&record->id).text, hf_snapshot_state_word(record->state),
                       hf_snapshot_state_word(to));
    }
    if (record->state == HF_SNAPSHOT_IN_PROGRESS) {
        record->finished_s = now_s;
    }
    record->state = to;
    return HF_ERR_OK;
}

enum hf_err hf_restore_move(struct hf_restore_record *record, enum hf_restore_state to,
                            uint64_t now_s, struct hf_error *err)
{
    if (!restore_moves[record->state][to]) {
        return hf_fail(err, HF_ERR_CONFLICT, "restore %s is %s and cannot become %s",
                       hf_id_text(&record->id).text, hf_restore_state_word(record->state),
                       hf_restore_state_word(to));
    }
    record->state = to;
    record->finished_s = now_s;
    return HF_ERR_OK;
}

enum hf_err hf_task_move(struct hf_task_record *record, enum hf_task_state to, uint64_t now_s,
                         struct hf_error *err)
{
    if (!task_moves[record->state][to]) {
        return hf_fail(err, HF_ERR_CONFLICT, "task %s is %s and cannot become %s",
                       hf_id_text(&record->id).text, hf_task_state_word(record->state),
                       hf_task_state_word(to));
    }
    record->state = to;
    record->seen_s = now_s;
    return HF_ERR_OK;
}

enum hf_err hf_job_begin_capture(struct hf_job_record *job, const struct hf_id *snapshot,
                                 uint64_t known_capture, uint64_t *capture, struct hf_error *err)
{
    uint64_t next = job->next_capture > known_capture ? job->next_capture : known_capture + 1;

    if (!hf_job_does(job).takes_snapshots) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "the job of set %s is %s; hint: holdfast job start --set %s", job->set_name,
                       hf_job_state_word(job->state), job->set_name);
    }
    if (!hf_id_is_none(&job->running)) {
        return hf_fail(err, HF_ERR_CONFLICT, "snapshot %s of set %s is still being taken",
                       hf_id_text(&job->running).text, job->set_name);
    }
    if (next < 1) {
        next = 1;
    }
    if (next > HF_CAPTURE_MAX) {
        return hf_fail(err, HF_ERR_LIMIT, "set %s has used up its capture numbers", job->set_name);
    }
    *capture = next;
    job->next_capture = next + 1;
    job->running = *snapshot;
    return HF_ERR_OK;
}

bool hf_job_end_capture(struct hf_job_record *job, const struct hf_id *snapshot)
{
    if (!hf_id_equal(&job->running, snapshot)) {
        return false;
    }
    job->running = (struct hf_id){0};
    return true;
}

bool hf_task_is_silent(const struct hf_task_record *task, uint64_t limit_s, uint64_t silent_s)
{
    return (task->state == HF_TASK_WAITING || task->state == HF_TASK_RUNNING) && silent_s > limit_s;
}

const struct hf_snapshot_record *
hf_snapshot_choose_parent(const struct hf_snapshot_record *snapshots, size_t count,
                          const char *member, const struct hf_id *store)
{
    const struct hf_snapshot_record *best = NULL;

    for (size_t i = 0; i < count; i++) {
        const struct hf_snapshot_record *one = &snapshots[i];
        if (one->state == HF_SNAPSHOT_COMPLETE && strcmp(one->member, member) == 0 &&
            hf_id_equal(&one->store, store) && (best == NULL || one->capture > best->capture)) {
            best = one;
        }
    }
    return best;
}

static const struct hf_snapshot_record *find_capture(const struct hf_snapshot_record *snapshots,
                                                     size_t count, uint64_t capture)
{
    for (size_t i = 0; i < count; i++) {
        if (snapshots[i].capture == capture) {
            return &snapshots[i];
        }
    }
    return NULL;
}

/* New bytes in so many seconds, at the rate of the newest snapshot whose parent is known too; 0: none is. */
static uint64_t change_in(const struct hf_snapshot_record *snapshots, size_t count, uint64_t time_s)
{
    const struct hf_snapshot_record *newest = NULL, *parent = NULL;

    for (size_t i = 0; i < count; i++) {
        const struct hf_snapshot_record *one = &snapshots[i];
        const struct hf_snapshot_record *before =
            one->parent_capture == 0 ? NULL : find_capture(snapshots, count, one->parent_capture);
        if (one->state == HF_SNAPSHOT_COMPLETE && before != NULL &&
            before->created_s < one->created_s &&
            (newest == NULL || one->capture > newest->capture)) {
            newest = one;
            parent = before;
        }
    }
    return newest == NULL ? 0
                          : (uint64_t)((double)newest->new_bytes * (double)time_s /
                                       (double)(newest->created_s - parent->created_s));
}

struct hf_member_cost hf_snapshot_cost(const struct hf_snapshot_record *snapshots, size_t count,
                                       const struct hf_member_record *member,
                                       const struct hf_id *store, uint64_t now_s)
{
    const struct hf_snapshot_record *parent =
        hf_snapshot_choose_parent(snapshots, count, member->host, store);
    struct hf_member_cost cost = {.all_bytes = member->data_bytes};
    uint64_t newest = 0;

    for (size_t i = 0; cost.all_bytes == 0 && i < count; i++) {
        if (snapshots[i].state == HF_SNAPSHOT_COMPLETE && snapshots[i].capture > newest) {
            newest = snapshots[i].capture;
        }
    }
    if (newest != 0) {
        cost.all_bytes = find_capture(snapshots, count, newest)->bytes;
    }
    cost.send_bytes = cost.all_bytes;
    if (parent != NULL) {
        uint64_t age_s = parent->created_s < now_s ? now_s - parent->created_s : 0;
        uint64_t change = change_in(snapshots, count, age_s);
        cost.send_bytes = change < cost.all_bytes ? change : cost.all_bytes;
    }
    return cost;
}

/* A snapshot's place in a list. */
struct place {
    const struct hf_snapshot_record *snapshot;
    uint32_t time_s; /* of its id, and never less than that of an older one of its job */
};

static int by_job(const void *left, const void *right)
{
    const struct hf_snapshot_record *a = ((const struct place *)left)->snapshot;
    const struct hf_snapshot_record *b = ((const struct place *)right)->snapshot;
    int order = memcmp(a->job.bytes, b->job.bytes, sizeof a->job.bytes);

    return order != 0 ? order : (a->capture > b->capture) - (a->capture < b->capture);
}

static int by_time(const void *left, const void *right)
{
    const struct place *a = left, *b = right;

    return a->time_s != b->time_s ? (a->time_s > b->time_s ? 1 : -1) : by_job(left, right);
}

static uint32_t time_of_id(const struct hf_id *id)
{
    uint32_t time_s = 0;

    for (size_t i = 0; i < sizeof time_s; i++) {
        time_s = time_s << 8 | id->bytes[i];
    }
    return time_s;
}

enum hf_err hf_snapshot_sort(struct hf_snapshot_record *snapshots, size_t count,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct place *places = hf_alloc_array(count + 1, sizeof *places);
    HF_CLEANUP(hf_free)
    struct hf_snapshot_record *sorted = hf_alloc_array(count + 1, sizeof *sorted);

    if (places == NULL || sorted == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (size_t i = 0; i < count; i++) {
        places[i] =
            (struct place){.snapshot = &snapshots[i], .time_s = time_of_id(&snapshots[i].id)};
    }
    qsort(places, count, sizeof *places, by_job);
    for (size_t i = 1; i < count; i++) {
        if (hf_id_equal(&places[i].snapshot->job, &places[i - 1].snapshot->job) &&
            places[i].time_s < places[i - 1].time_s) {
            places[i].time_s = places[i - 1].time_s;
        }
    }
    qsort(places, count, sizeof *places, by_time);
    for (size_t i = 0; i < count; i++) {
        sorted[i] = *places[i].snapshot;
    }
    memcpy(snapshots, sorted, count * sizeof *sorted);
    return HF_ERR_OK;
}

bool hf_snapshot_must_prove(const struct hf_snapshot_record *snapshots, size_t count)
{
    uint64_t newest = 0;
    uint64_t damage = 0;

    for (size_t i = 0; i < count; i++) {
        const struct hf_snapshot_record *one = &snapshots[i];
        if (one->state != HF_SNAPSHOT_COMPLETE) {
            continue;
        }
        newest = one->capture > newest ? one->capture : newest;
        if (one->verified_s != 0 && !one->verified_ok) {
            uint64_t found =
                one->verified_capture > one->capture ? one->verified_capture : one->capture;
            damage = found > damage ? found : damage;
        }
    }
    return damage != 0 && damage >= newest;
}

const struct hf_snapshot_record *
hf_snapshot_choose_adopted(const struct hf_snapshot_record *snapshots, size_t count,
                           const char *member, uint64_t now_s)
{
    const struct hf_snapshot_record *best = NULL;
    uint64_t complete = 0;

    for (size_t i = 0; i < count; i++) {
        const struct hf_snapshot_record *one = &snapshots[i];
        if (one->state == HF_SNAPSHOT_COMPLETE && strcmp(one->member, member) == 0 &&
            one->capture > complete) {
            complete = one->capture;
        }
    }
    for (size_t i = 0; i < count; i++) {
        const struct hf_snapshot_record *one = &snapshots[i];
        if (one->state == HF_SNAPSHOT_ABANDONED && !one->claim_dropped && one->capture > complete &&
            strcmp(one->member, member) == 0 && one->finished_s + HF_CLAIM_KEPT_S > now_s &&
            (best == NULL || one->capture > best->capture)) {
            best = one;
        }
    }
    return best;
}

enum hf_wanted_step hf_snapshot_wanted(const struct hf_snapshot_record *snapshots, size_t count,
                                       const struct hf_job_record *job, uint64_t now_s)
{
    uint64_t failures = 0, ended_s = 0;

    for (size_t i = 0; i < count; i++) {
        const struct hf_snapshot_record *one = &snapshots[i];
        if (one->state == HF_SNAPSHOT_IN_PROGRESS) {
            return HF_WANTED_WAIT;
        }
        if (job->wanted_capture != 0 ? one->capture < job->wanted_capture
                                     : one->created_s < job->wanted_s) {
            continue;
        }
        if (one->state == HF_SNAPSHOT_COMPLETE) {
            return HF_WANTED_HAD;
        }
        if (one->state == HF_SNAPSHOT_FAILED || one->state == HF_SNAPSHOT_ABANDONED) {
            ended_s = one->finished_s > ended_s ? one->finished_s : ended_s;
            failures++;
        }
    }
    return ended_s <= now_s && now_s - ended_s < hf_job_retry_wait_s(failures) ? HF_WANTED_WAIT
                                                                               : HF_WANTED_TAKE;
}
