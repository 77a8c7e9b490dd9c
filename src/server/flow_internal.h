/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the files of the flow: the moves that end a snapshot. Each may run twice.
 */
#ifndef HF_SERVER_FLOW_INTERNAL_H
#define HF_SERVER_FLOW_INTERNAL_H

#include "server/flow.h"

/* The job of a set of the project. */
HF_MUST_CHECK enum hf_err hf_flow_find_job(struct hf_server_app *app, const struct hf_id *project,
                                           const char *set_name, struct hf_job_record *out,
                                           uint64_t *revision, struct hf_error *err);
/* NOT_FOUND for a snapshot, a job or an agent that is named and is none of the project's. */
HF_MUST_CHECK enum hf_err hf_flow_check_project(struct hf_server_app *app,
                                                const struct hf_flow_restore_wish *wish,
                                                struct hf_error *err);
/* Changes a job by compare-and-set until nobody else did meanwhile; change false: it stays as it is. */
HF_MUST_CHECK enum hf_err
hf_flow_change_job(struct hf_server_app *app, const struct hf_id *job,
                   bool (*change)(struct hf_job_record *job, const void *what), const void *what,
                   struct hf_job_record *out, struct hf_error *err);
/* An event of a move that the server makes by itself, before it is made. */
HF_MUST_CHECK enum hf_err hf_flow_tell_move(struct hf_server_app *app,
                                            const struct hf_job_record *job, enum hf_job_state to,
                                            struct hf_error *err);
/* What PROVISIONING or TERMINATING waits for; written down and logged once each time that it changes. */
HF_MUST_CHECK enum hf_err hf_flow_job_waits(struct hf_server_app *app, const struct hf_id *job,
                                            enum hf_job_state state, const char *why,
                                            struct hf_error *err);
/* One step of a termination, as far as it goes now. */
HF_MUST_CHECK enum hf_err hf_flow_terminate(struct hf_server_app *app,
                                            const struct hf_job_record *job, struct hf_error *err);
/* Every snapshot of the job is EXPIRED, nothing of it can be adopted: before its objects go. */
HF_MUST_CHECK enum hf_err hf_flow_expire_all(struct hf_server_app *app, const struct hf_id *job,
                                             struct hf_error *err);
/* Restores, links and leases that need a snapshot of the job: CONFLICT, naming the first. */
HF_MUST_CHECK enum hf_err hf_flow_check_unneeded(struct hf_server_app *app, const struct hf_id *job,
                                                 struct hf_error *err);
/* And they are ended. */
HF_MUST_CHECK enum hf_err hf_flow_end_needs(struct hf_server_app *app, const struct hf_id *job,
                                            struct hf_error *err);
/*
 * Deletes all objects of the job and forgets the head of its chain, the keys last. What a store does not let go of stays,
 * with the keys: the first such error. UNAVAILABLE while a store is not there.
 */
/* The same in every store that is there: a job that begins anew may have had others. */
HF_MUST_CHECK enum hf_err hf_flow_delete_strays(struct hf_server_app *app, const struct hf_id *job,
                                                struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_flow_delete_objects(struct hf_server_app *app, const struct hf_id *job,
                                                 struct hf_error *err);
/* The task is ENDED, with its outcome for the agent; one that has ended, or is gone, stays as it is. */
HF_MUST_CHECK enum hf_err hf_flow_end_task(struct hf_server_app *app, const struct hf_id *id,
                                           const struct hf_error *outcome, struct hf_error *err);
void hf_flow_forget_finish(struct hf_server_app *app, const struct hf_id *task);
/* The job is idle again, if this snapshot held it; how it ended is counted. ended NULL: it never had a record. */
HF_MUST_CHECK enum hf_err hf_flow_end_job_lease(struct hf_server_app *app,
                                                const struct hf_id *job_id,
                                                const struct hf_id *snapshot,
                                                const struct hf_snapshot_record *ended,
                                                struct hf_error *err);
/* Moves an IN_PROGRESS snapshot; one that has ended already is left as it is, and *record shows how. */
HF_MUST_CHECK enum hf_err hf_flow_end_snapshot(struct hf_server_app *app,
                                               struct hf_snapshot_record *record,
                                               enum hf_snapshot_state to,
                                               const struct hf_error *why, struct hf_error *err);
/* The rest after a snapshot has its last state: the manifest of a failed one, claims, lease, task. */
HF_MUST_CHECK enum hf_err hf_flow_wind_up(struct hf_server_app *app,
                                          const struct hf_snapshot_record *record,
                                          struct hf_error *err);
/* Void, then FAILED or ABANDONED by what went wrong; FAILED without a void where the store takes nothing; COMPLETE when a
 * manifest stands. */
HF_MUST_CHECK enum hf_err hf_flow_agent_failed(struct hf_server_app *app,
                                               struct hf_snapshot_record *record,
                                               const struct hf_error *why, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_flow_finish_restore(struct hf_server_app *app,
                                                 const struct hf_task_record *task,
                                                 const struct hf_msg_finish *finish,
                                                 struct hf_error *err);
/* CONFLICT and NOT_FOUND, in words, for a snapshot that is not COMPLETE. */
HF_MUST_CHECK enum hf_err hf_flow_need_complete(struct hf_server_app *app,
                                                const struct hf_id *snapshot,
                                                struct hf_snapshot_record *out, uint64_t *revision,
                                                struct hf_error *err);
/* What is to be restored: base, what the record says of the point, and the oldest slice that is needed. */
struct hf_flow_plan {
    struct hf_id snapshot;
    struct hf_restore_point point;
    struct hf_optime lease_from;
    struct hf_store *oplog; /* borrowed until the server ends */
    struct hf_object_name oldest;
    bool reads; /* oldest is set */
};
HF_MUST_CHECK enum hf_err hf_flow_plan_point(struct hf_server_app *app,
                                             const struct hf_flow_restore_wish *wish,
                                             struct hf_flow_plan *out, struct hf_error *err);
/* After the lease is written: what was deleted before it came is seen here, since the oldest slice goes first. */
HF_MUST_CHECK enum hf_err hf_flow_plan_still_there(const struct hf_flow_plan *plan,
                                                   struct hf_error *err);
/* CONFLICT, naming it, while a restore from the snapshot is under way. */
HF_MUST_CHECK enum hf_err hf_flow_check_no_restore(struct hf_server_app *app,
                                                   const struct hf_id *snapshot,
                                                   struct hf_error *err);
/* CONFLICT, naming it, while a link to the snapshot can be used or is. */
HF_MUST_CHECK enum hf_err hf_flow_check_no_link(struct hf_server_app *app,
                                                const struct hf_id *snapshot, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_flow_end_task(struct hf_server_app *app, const struct hf_id *id,
                                           const struct hf_error *outcome, struct hf_error *err);
/* Claims what that id stands for, for this thread; false when another one of this process has it, or too many are at it:
 * a later resume comes back. */
bool hf_flow_begin_ending(struct hf_server_app *app, const struct hf_id *id);
void hf_flow_finish_ending(struct hf_server_app *app, const struct hf_id *id);

/* The message's point; takes the options out of the facts. */
void hf_flow_fill_point(const struct hf_restore_point *point, struct hf_facts *facts,
                        struct hf_task_point *out);
/* What a finish says of the replay. */
void hf_flow_take_replay(const struct hf_msg_replay *replay, struct hf_restore_point *point);

/* ---- Restores onto sets; flow_target*.c ---- */

HF_MUST_CHECK enum hf_err hf_flow_fill_target(struct hf_server_app *app,
                                              const struct hf_task_record *task,
                                              struct hf_task *out, struct hf_error *err);
/* The step's outcome is written down; hf_flow_target_drive then goes on. */
HF_MUST_CHECK enum hf_err hf_flow_finish_target(struct hf_server_app *app,
                                                const struct hf_task_record *task,
                                                const struct hf_msg_finish *finish,
                                                struct hf_error *err);
/* As far as its members allow. What fails is logged, and tried again by the next tick. */
void hf_flow_target_drive(struct hf_server_app *app, const struct hf_id *restore);
void hf_flow_target_tick(struct hf_server_app *app);
/* Of flow_target_begin.c: the set may be restored again. OK too when the lock is another's by now. */
HF_MUST_CHECK enum hf_err hf_flow_target_drop_lock(struct hf_server_app *app,
                                                   const struct hf_target_record *record,
                                                   struct hf_error *err);
/* Of flow_target_jobs.c. Members are stopped, or run on data that may go again: none is tailed. */
bool hf_flow_target_changes(const struct hf_target_record *record);
/* *has: a restore has the set in that sense. */
HF_MUST_CHECK enum hf_err hf_flow_target_has_set(struct hf_server_app *app,
                                                 const struct hf_id *cluster, bool *has,
                                                 struct hf_error *err);
/* Before the phase is written down: the jobs of the set lose their tails, and their chains end when it is DONE. */
HF_MUST_CHECK enum hf_err hf_flow_target_tell_jobs(struct hf_server_app *app,
                                                   const struct hf_target_record *record,
                                                   struct hf_error *err);
/*
 * How long the snapshot that is about to begin is kept, and whether it reads everything: into the record, which knows its
 * member. BUSY when the wish has a limit for its host and that has enough to do.
 */
HF_MUST_CHECK enum hf_err hf_flow_plan_retention(struct hf_server_app *app,
                                                 const struct hf_flow_wish *wish,
                                                 struct hf_snapshot_record *record,
                                                 struct hf_error *err);
/* A take that broke off after it had the job's lease: the job is free again, the record says why. */
HF_MUST_CHECK enum hf_err hf_flow_take_failed(struct hf_server_app *app,
                                              const struct hf_snapshot_record *wished,
                                              const struct hf_error *why, struct hf_error *err);

#endif
