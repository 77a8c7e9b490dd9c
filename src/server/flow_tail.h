/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving a job's oplog, from the server's side: one tail task for each started job, and the head of its chain.
 *
 *   hf_flow_tail_tick     gives each started job a tail: chooses the member, finds the head, makes the task; ends tails
 *                         whose agent is silent; tells events; takes the snapshot that a broken chain asks for
 *   (the agent)           puts slices
 *   hf_flow_tail_slice    moves the head to a slice that is durable
 *   hf_flow_tail_finish   the agent's tail has ended: the next tick gives another
 *
 * The head is one document, moved by compare-and-set: of two tailers, of one server or of two, one goes on. A slice that
 * was put and not told of, its agent or the server having died, is taken up before the next tail begins.
 */
#ifndef HF_SERVER_FLOW_TAIL_H
#define HF_SERVER_FLOW_TAIL_H

#include "backup/head.h"
#include "format/message.h"
#include "server/flow.h"

/* From the server's periodic work, one thread at a time. An error of one job does not keep the others from theirs. */
HF_MUST_CHECK enum hf_err hf_flow_tail_tick(struct hf_server_app *app, struct hf_error *err);

/*
 * LOST when the task has ended or gone to another attempt, CONFLICT when the head is another tailer's, INVALID and
 * CORRUPT for a slice that is none of this tail's: the task is ended then, and an event tells. A slice that came before
 * is OK.
 */
HF_MUST_CHECK enum hf_err hf_flow_tail_slice(struct hf_server_app *app,
                                             const struct hf_msg_slice *slice,
                                             struct hf_error *err);

/* How the agent's tail ended, or that it could not be given. */
HF_MUST_CHECK enum hf_err hf_flow_tail_finish(struct hf_server_app *app,
                                              const struct hf_task_record *task, enum hf_err code,
                                              const char *message, struct hf_error *err);
/* A tail that no head names is nobody's: it is ended. */
HF_MUST_CHECK enum hf_err hf_flow_tail_resume(struct hf_server_app *app,
                                              const struct hf_task_record *task,
                                              struct hf_error *err);
/* What the agent is told of the task. */
HF_MUST_CHECK enum hf_err hf_flow_tail_fill(struct hf_server_app *app,
                                            const struct hf_task_record *task,
                                            struct hf_task_tail *out, struct hf_error *err);

/*
 * Deletes the job's slices that no instant of the window (app->oplog_kept_s before the newest entry) needs, nor a restore or
 * capture that is under way. Whatever it is cut off at, ranges that are left are whole.
 */
HF_MUST_CHECK enum hf_err hf_flow_prune(struct hf_server_app *app, const struct hf_id *job,
                                        uint64_t *deleted, struct hf_error *err);

/* ---- For siblings: flow_head.c ---- */

/*
 * The job's head: out of the catalog, or, where that lacks it, as the store tells it. *revision as hf_keep_head_get has
 * it.
 */
HF_MUST_CHECK enum hf_err hf_flow_head_open(struct hf_server_app *app,
                                            const struct hf_job_record *job,
                                            struct hf_head_record *out, uint64_t *revision,
                                            struct hf_error *err);
/*
 * Brings the head to what the oplog store holds: takes up slices that go on from it and were not told of; where the one
 * that it stands at is gone, the newest chain of the store, or none and the cause why.
 */
HF_MUST_CHECK enum hf_err hf_flow_head_catch_up(struct hf_server_app *app,
                                                struct hf_head_record *head, uint64_t *revision,
                                                struct hf_error *err);
/* Moves the head in the catalog to a slice, and tells of the gap that it may be. CONFLICT as hf_head_take, or when
 * another change came first. */
HF_MUST_CHECK enum hf_err hf_flow_head_move(struct hf_server_app *app, struct hf_head_record *head,
                                            uint64_t *revision, const struct hf_slice_header *slice,
                                            bool *moved, struct hf_error *err);
/* UNAVAILABLE where the oplog store has no mark: its file system is not mounted. */
HF_MUST_CHECK enum hf_err hf_flow_oplog_store_here(struct hf_store *store, struct hf_error *err);
/* The job wants a snapshot: the tick takes it as soon as one can be taken. */
HF_MUST_CHECK enum hf_err hf_flow_want_snapshot(struct hf_server_app *app, const struct hf_id *id,
                                                const char *why, struct hf_error *err);
/* Tells the gap that the head still remembers: an event, and the job wants a snapshot. */
HF_MUST_CHECK enum hf_err hf_flow_head_tell(struct hf_server_app *app, struct hf_head_record *head,
                                            uint64_t *revision, struct hf_error *err);

#endif
