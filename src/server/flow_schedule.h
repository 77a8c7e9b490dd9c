/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots that are taken and that go by themselves: one document for each job (backup/schedule.h), looked at when its
 * time has come.
 *
 *   hf_flow_schedule_tick   looks at the documents whose wake_s has passed: expired snapshots go, what is due gets into the
 *                           queue; then begins the first of the queue (flow_queue.h)
 *
 * Every step is a compare-and-set of one document: several servers may do the same, and a job's own lease sees to it that
 * one snapshot begins. Whatever a death leaves undone is done by the next look, an hour later at most.
 */
#ifndef HF_SERVER_FLOW_SCHEDULE_H
#define HF_SERVER_FLOW_SCHEDULE_H

#include "backup/schedule.h"
#include "server/flow.h"

/* From the server's periodic work, one thread at a time. An error of one job does not keep the others from theirs. */
HF_MUST_CHECK enum hf_err hf_flow_schedule_tick(struct hf_server_app *app, struct hf_error *err);

/* The job's document, made when it has none. *revision may be NULL. */
HF_MUST_CHECK enum hf_err hf_flow_schedule_open(struct hf_server_app *app,
                                                const struct hf_job_record *job,
                                                struct hf_schedule_record *out, uint64_t *revision,
                                                struct hf_error *err);
/* The job's document is looked at by the next tick: its state changed, or a snapshot's expiry. What fails is made good by a
 * later look. */
void hf_flow_schedule_wake(struct hf_server_app *app, const struct hf_id *job);
/* The job's policy, or the default of one that has none yet. */
HF_MUST_CHECK enum hf_err hf_flow_policy(struct hf_server_app *app, const struct hf_id *job,
                                         struct hf_policy *out, struct hf_error *err);
/* Takes hold at once; snapshots that are there keep the expiry that they have. */
HF_MUST_CHECK enum hf_err hf_flow_policy_set(struct hf_server_app *app,
                                             const struct hf_job_record *job,
                                             const struct hf_policy *policy,
                                             struct hf_schedule_record *out, struct hf_error *err);
/* How far back points in time are promised. */
struct hf_flow_window {
    bool promised;   /* false: slices are never deleted, and no base is kept for them */
    uint64_t kept_s; /* with `promised`: before the newest entry */
};
HF_MUST_CHECK enum hf_err hf_flow_window(struct hf_server_app *app, const struct hf_id *job,
                                         struct hf_flow_window *out, struct hf_error *err);

/*
 * How far back the oplog of a set should reach on its members: the least that is asked for, or the interval of the snapshots
 * that are taken by themselves, whichever is more (backup-domain.md 5). 0: it is not looked at.
 */
HF_MUST_CHECK enum hf_err hf_flow_oplog_wanted(struct hf_server_app *app, const struct hf_id *job,
                                               uint64_t *wanted_s, struct hf_error *err);

/* Keeps a snapshot longer, shorter or for ever. CONFLICT as hf_retention_change. */
HF_MUST_CHECK enum hf_err hf_flow_expiry_set(struct hf_server_app *app,
                                             const struct hf_id *snapshot,
                                             const struct hf_retention_wish *wish,
                                             struct hf_snapshot_record *out, struct hf_error *err);

/* ---- For siblings: flow_expire.c ---- */

/* Looks at one job's document now; one that is gone is no error. */
HF_MUST_CHECK enum hf_err hf_flow_schedule_look(struct hf_server_app *app, const struct hf_id *job,
                                                struct hf_error *err);

/*
 * Deletes what may go of the job, and finishes deletions that were cut off; forgets old records of what is no snapshot. Sets
 * schedule->expire_s, when to come again. What cannot go now is logged, and is no error.
 */
HF_MUST_CHECK enum hf_err hf_flow_expire(struct hf_server_app *app,
                                         struct hf_schedule_record *schedule,
                                         const struct hf_schedule_view *view, uint64_t now_s,
                                         struct hf_error *err);

#endif
