/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may follow on what: the states of jobs, snapshots, restores and tasks, and the decisions of
 * an attempt's life.
 *
 *   snapshot   IN_PROGRESS --manifest put, looked again--> COMPLETE --deleted or expired--> EXPIRED
 *              IN_PROGRESS --the agent or the store failed--> FAILED
 *              IN_PROGRESS --nobody heard of for 5 minutes, void put--> ABANDONED
 *   restore    IN_PROGRESS --> FINISHED | BROKEN | KILLED
 *   task       WAITING --named by the agent--> RUNNING --agent done--> FINISHING --> ENDED; any
 * state may end
 *
 * Each move is one compare-and-set of one document (store-format.md 5). Knows no clock: now comes
 * as a number.
 */
#ifndef HF_BACKUP_LIFECYCLE_H
#define HF_BACKUP_LIFECYCLE_H

#include "backup/member.h"
#include "backup/records.h"

/* architecture.md, "Agent and server": a task that no poll names for 5 minutes is given up. */
#define HF_TASK_SILENT_MAX_S 300
/* store-format.md 5: the claim of a given-up attempt stays up to 7 days, so that a later one can
 * adopt its packs. */
#define HF_CLAIM_KEPT_S (7 * 24 * 3600)

/* CONFLICT, in words, when the move is not in the diagram above. */
HF_MUST_CHECK enum hf_err hf_snapshot_move(struct hf_snapshot_record *record,
                                           enum hf_snapshot_state to, uint64_t now_s,
                                           struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_restore_move(struct hf_restore_record *record,
                                          enum hf_restore_state to, uint64_t now_s,
                                          struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_task_move(struct hf_task_record *record, enum hf_task_state to,
                                       uint64_t now_s, struct hf_error *err);

/*
 * Reserves the next capture number for a snapshot: the job must be one that takes snapshots, and idle, else CONFLICT.
 * known_capture: the highest number that catalog and store show; the new one is above it (keeps
 * I2).
 */
HF_MUST_CHECK enum hf_err hf_job_begin_capture(struct hf_job_record *job,
                                               const struct hf_id *snapshot, uint64_t known_capture,
                                               uint64_t *capture, struct hf_error *err);
/* The job is idle again, if it was this snapshot that ran. True when something changed. */
bool hf_job_end_capture(struct hf_job_record *job, const struct hf_id *snapshot);

/* True when an agent should name the task, and nobody has for more than limit_s (HF_TASK_SILENT_MAX_S unless a test
 * says less). */
bool hf_task_is_silent(const struct hf_task_record *task, uint64_t limit_s, uint64_t silent_s);

/*
 * The newest complete snapshot of that member with a lower capture number, in the same store: the
 * parent. NULL: none, so the capture is full.
 */
const struct hf_snapshot_record *
hf_snapshot_choose_parent(const struct hf_snapshot_record *snapshots, size_t count,
                          const char *member, const struct hf_id *store);
/*
 * About what a snapshot from the member would send: everything without a parent there, else what changes in so long a time,
 * as the newest snapshot with a parent had it. data_bytes: as its agent says; 0: as the newest snapshot was.
 */
struct hf_member_cost hf_snapshot_cost(const struct hf_snapshot_record *snapshots, size_t count,
                                       const struct hf_member_record *member,
                                       const struct hf_id *store, uint64_t now_s);
/* The newest given-up attempt on that member whose claim still stands and that no complete snapshot came after (its
 * packs were adopted then, or are older than the parent); NULL: none. */
const struct hf_snapshot_record *
hf_snapshot_choose_adopted(const struct hf_snapshot_record *snapshots, size_t count,
                           const char *member, uint64_t now_s);
/*
 * Oldest first: those of a job by their capture numbers, those of several jobs by the times in their ids. A clock that was
 * set back puts no snapshot before an older one of its job.
 */
HF_MUST_CHECK enum hf_err hf_snapshot_sort(struct hf_snapshot_record *snapshots, size_t count,
                                           struct hf_error *err);
/* True when a verification found damage since the newest complete snapshot was begun: the next capture must not believe
 * what lies in the store. */
bool hf_snapshot_must_prove(const struct hf_snapshot_record *snapshots, size_t count);

/*
 * A job that wants a snapshot: what is to be done about it. One that was begun before it was wanted will not do, in the
 * same second neither. Failed ones are tried again, ever later.
 */
enum hf_wanted_step {
    HF_WANTED_HAD,  /* one that was begun since is complete */
    HF_WANTED_WAIT, /* one is under way, or failed just now */
    HF_WANTED_TAKE,
};
enum hf_wanted_step hf_snapshot_wanted(const struct hf_snapshot_record *snapshots, size_t count,
                                       const struct hf_job_record *job, uint64_t now_s);

#endif
