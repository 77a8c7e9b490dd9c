/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of snapshots and restores at the server: store-format.md 5, step by step, over catalog and store.
 *
 *   hf_flow_take            1 catalog IN_PROGRESS, 2 claim, the task for the agent
 *   (the agent)             3 objects, then finish
 *   hf_flow_note_finish     what the agent brought is durable: it may be told so
 *   hf_flow_finish          4 check, 5 manifest, 6 look again, 7 COMPLETE, 8 claims; or how it failed
 *   hf_flow_give_up         void, or the manifest that came first
 *   hf_flow_resume          at every start: whatever an earlier life left goes on from where it stands
 *
 * Every function may run twice, at the same time too, in this or another process: each step is a compare-and-set or an
 * object put once. All of them wait for the store: they run on workers, never on an event loop.
 */
#ifndef HF_SERVER_FLOW_H
#define HF_SERVER_FLOW_H

#include "backup/job.h"
#include "backup/member.h"
#include "backup/records.h"
#include "format/message.h"
#include "oplog/ranges.h"
#include "server/app.h"
#include "server/keep.h"

struct hf_flow_wish {
    const struct hf_id *job; /* NULL: that of the set, in the project */
    struct hf_id project;    /* where no job is given */
    const char *set_name;
    const char *description; /* may be NULL */
    uint64_t retention_days; /* 0: kept until deleted */
    bool automatic;          /* the policy's classes say how long, not retention_days */
    bool default_retention;  /* on demand, as long as the policy has it */
    uint64_t host_limit;     /* BUSY while so many are taken on the member's host; 0: no matter */
};
/*
 * Chooses the member, reserves the capture number, writes the record, claims, makes the task. NOT_FOUND when the set has
 * no job, CONFLICT when one is being taken or the job is not started, UNAVAILABLE when no member will do.
 */
HF_MUST_CHECK enum hf_err hf_flow_take(struct hf_server_app *app, const struct hf_flow_wish *wish,
                                       struct hf_snapshot_record *out, struct hf_error *err);

/*
 * Which member a snapshot of the job would be taken from now, without taking one: each member with its reason, and what a
 * change costs. NULL and *err where it cannot be said.
 */
HF_MUST_CHECK struct hf_json *hf_flow_why_member(struct hf_server_app *app,
                                                 const struct hf_job_record *job,
                                                 struct hf_error *err);

/* ---- The states of a job; flow_job.c, flow_job_end.c ---- */

/*
 * What an operator should know of the set's oplog before its job starts, and while it runs; empty: nothing. Too short for
 * the snapshots' interval is no reason to refuse a start, as too short for the agents is.
 */
HF_MUST_CHECK enum hf_err hf_flow_job_warning(struct hf_server_app *app,
                                              const struct hf_cluster_record *cluster,
                                              char out[HF_RECORD_ERROR_BYTES],
                                              struct hf_error *err);
/*
 * Starts the job of a set that an agent has reported, or restarts one that is STOPPED. STARTED on return, unless it waits
 * for approval, or for a store: PROVISIONING then. CONFLICT when its state does not allow it, the set's oplog is too short
 * or two sets have the name; UNAVAILABLE without a primary or a member that can be captured.
 */
HF_MUST_CHECK enum hf_err hf_flow_start_job(struct hf_server_app *app, const struct hf_id *cluster,
                                            struct hf_job_record *out, struct hf_error *err);
/*
 * Any other action of a person. CONFLICT as hf_job_move; a termination also while a restore or a link needs a snapshot of
 * the job, naming it. What the new state asks for is done by hf_flow_jobs_tick.
 */
HF_MUST_CHECK enum hf_err hf_flow_move_job(struct hf_server_app *app, const struct hf_id *job,
                                           enum hf_job_action action, struct hf_job_record *out,
                                           struct hf_error *err);
/* Empty: the rule decides. CONFLICT for an INACTIVE job. */
HF_MUST_CHECK enum hf_err hf_flow_prefer_member(struct hf_server_app *app, const struct hf_id *job,
                                                const char *member, struct hf_job_record *out,
                                                struct hf_error *err);
/*
 * Brings every job to what its state asks for: provisions, cancels captures of jobs that take none, deletes what
 * terminations have to. From the server's periodic work; waits for the stores, minutes where much is deleted. A job that
 * fails hinders no other.
 */
HF_MUST_CHECK enum hf_err hf_flow_jobs_tick(struct hf_server_app *app, struct hf_error *err);

/* What an agent is given for a task: parent's root, keys, directory. out is ended with hf_task_fini. */
HF_MUST_CHECK enum hf_err hf_flow_task_message(struct hf_server_app *app,
                                               const struct hf_task_record *task,
                                               struct hf_task *out, struct hf_error *err);

/*
 * Writes down what the agent brought, durably, and moves the task to FINISHING. LOST when the attempt is another one,
 * NOT_FOUND for an unknown task; a finish that came before is OK. *fresh: hf_flow_finish is to be run.
 */
HF_MUST_CHECK enum hf_err hf_flow_note_finish(struct hf_server_app *app,
                                              const struct hf_msg_finish *finish, bool *fresh,
                                              struct hf_error *err);
/* Goes through the rest. An error is one that a later try may get over (the store is away); how the snapshot ended
 * stands in its record. */
HF_MUST_CHECK enum hf_err hf_flow_finish(struct hf_server_app *app, const struct hf_id *task,
                                         struct hf_error *err);

/* The agent has begun with a capture. Only for people: what cannot be noted is no error. */
void hf_flow_note_given(struct hf_server_app *app, const struct hf_task_record *task);

/* What the task needs cannot be read and will not be: it ends with that, as if its agent had said so. */
HF_MUST_CHECK enum hf_err hf_flow_not_given(struct hf_server_app *app,
                                            const struct hf_task_record *task,
                                            const struct hf_error *why, struct hf_error *err);

/* The attempt is given up: nobody has heard of it, or someone cancelled what no agent runs. */
HF_MUST_CHECK enum hf_err hf_flow_give_up(struct hf_server_app *app, const struct hf_id *task,
                                          const char *why, struct hf_error *err);
/* Gives up silent tasks, finishes FINISHING ones, ends what lost its task. At start and every few seconds. */
HF_MUST_CHECK enum hf_err hf_flow_resume(struct hf_server_app *app, struct hf_error *err);

/* Asks the agent to stop. CONFLICT when it has ended. */
HF_MUST_CHECK enum hf_err hf_flow_cancel_task(struct hf_server_app *app, const struct hf_id *task,
                                              struct hf_error *err);

/* EXPIRED, then the manifest goes. CONFLICT while it is being taken, restored from, or kept for ever. Deleting again
 * finishes a deletion that was cut off, and is OK. */
HF_MUST_CHECK enum hf_err hf_flow_delete(struct hf_server_app *app, const struct hf_id *snapshot,
                                         struct hf_error *err);

struct hf_flow_restore_wish {
    struct hf_id project;  /* of all that is named here: what is of another one is NOT_FOUND */
    struct hf_id snapshot; /* with a point it may be none: the newest base before it is taken */
    bool point;
    struct hf_target target; /* with `point` */
    struct hf_id job;        /* with `point`; none: the snapshot's */
    const char *directory;
    bool onto, leave_foreign; /* as struct hf_restore_options has them */
    struct hf_id
        agent; /* none: the one agent that takes restores, or the one beside the snapshot's member */
};
/* NOT_FOUND for a point that no range has: the message names the nearest ones. */
HF_MUST_CHECK enum hf_err hf_flow_restore(struct hf_server_app *app,
                                          const struct hf_flow_restore_wish *wish,
                                          struct hf_restore_record *out, struct hf_error *err);

/* A delivery by HTTP (restore.md 7). Zero: the default, one hour and one use. */
struct hf_flow_link_wish {
    struct hf_id project;  /* as in hf_flow_restore_wish */
    struct hf_id snapshot; /* with a point it may be none, as for hf_flow_restore */
    bool point;
    struct hf_target target;   /* with `point` */
    struct hf_id job;          /* with `point`; none: the snapshot's */
    uint64_t expires_s, hours; /* one of them */
    uint64_t max_downloads;    /* HF_LINK_NO_LIMIT: no limit */
    bool gzip;
};
/*
 * Makes the link and its job. What is said outlives the snapshot: CONFLICT; the default ends with it. NOT_FOUND and
 * CONFLICT for the snapshot and the point as hf_flow_restore. With a point, what brings the archive there is leased until
 * the link expires.
 */
HF_MUST_CHECK enum hf_err hf_flow_link(struct hf_server_app *app,
                                       const struct hf_flow_link_wish *wish,
                                       struct hf_restore_record *out, struct hf_link_record *link,
                                       struct hf_error *err);
/* Ends it now, downloads under way too. CONFLICT when it has ended. */
HF_MUST_CHECK enum hf_err hf_flow_link_withdraw(struct hf_server_app *app, const struct hf_id *id,
                                                struct hf_error *err);
/* What happened to a download; NULL texts: nothing is known. */
struct hf_flow_link_news {
    enum hf_link_transfer transfer;
    bool downloaded; /* the archive's last byte went out */
    const char *error;
    const char *sha1, *etag; /* together */
};
HF_MUST_CHECK enum hf_err hf_flow_link_note(struct hf_server_app *app, const struct hf_id *id,
                                            const struct hf_flow_link_news *news,
                                            struct hf_link_record *out, struct hf_error *err);
/* <set>-<unix seconds of snapshot>-<id> (restore.md 7.3); what is no plain name character becomes '_'. */
void hf_flow_archive_name(const struct hf_snapshot_record *snapshot, const struct hf_id *id,
                          char *out, size_t out_len);

/*
 * Onto a whole set, by the agents of all its members. CONFLICT names the restore that goes on there already, or the first
 * thing that stands in the way; a dry run lists all of them in its record, and touches nothing.
 */
struct hf_flow_target_wish {
    struct hf_id project; /* as in hf_flow_restore_wish, and of the target */
    struct hf_id snapshot;
    const char *set_name;    /* of the target */
    bool point;              /* as in hf_flow_restore_wish, with the two below */
    struct hf_target target; /* the point */
    struct hf_id job;
    bool dry_run;
    bool in_place; /* onto the members' own files: no old data is kept */
};
HF_MUST_CHECK enum hf_err hf_flow_target(struct hf_server_app *app,
                                         const struct hf_flow_target_wish *wish,
                                         struct hf_restore_record *out, struct hf_error *err);
/* The cluster of a set in the project. */
HF_MUST_CHECK enum hf_err hf_flow_find_cluster(struct hf_server_app *app,
                                               const struct hf_id *project, const char *set_name,
                                               struct hf_cluster_record *out, struct hf_error *err);
/* CONFLICT, naming it, while a restore onto that set goes on. */
HF_MUST_CHECK enum hf_err hf_flow_check_no_target(struct hf_server_app *app,
                                                  const struct hf_id *cluster,
                                                  struct hf_error *err);
/* The way back, if there is one. A second time, on that way: it is not waited for any longer. */
HF_MUST_CHECK enum hf_err hf_flow_target_cancel(struct hf_server_app *app,
                                                const struct hf_id *restore, struct hf_error *err);

/* The same for one whose time is over; CONFLICT when it was given more meanwhile. */
HF_MUST_CHECK enum hf_err hf_flow_delete_expired(struct hf_server_app *app,
                                                 const struct hf_id *snapshot,
                                                 struct hf_error *err);

/* For readers of a snapshot (tar, verify): its manifest and keys, whole. CONFLICT unless it is COMPLETE. */
struct hf_flow_reading {
    struct hf_store *store; /* borrowed until the server ends: where it lies */
    struct hf_manifest manifest;
    struct hf_keyring keyring;
};
HF_MUST_CHECK enum hf_err hf_flow_open(struct hf_server_app *app, const struct hf_id *snapshot,
                                       struct hf_flow_reading *out, struct hf_error *err);
void hf_flow_reading_fini(struct hf_flow_reading *reading);
HF_CLEANUP_DEFINE_VALUE(hf_flow_reading_fini, struct hf_flow_reading)

/* Members that agents of the project have reported, and how long ago; NULL: of all projects. Free with hf_free. */
struct hf_flow_members {
    struct hf_member_record *items; /* owned */
    size_t count;
};
HF_MUST_CHECK enum hf_err hf_flow_members(struct hf_server_app *app, const struct hf_id *project,
                                          struct hf_flow_members *out, struct hf_error *err);
/* One of them, as that agent reported it: what it costs does not grow with the number of agents. */
HF_MUST_CHECK enum hf_err hf_flow_member(struct hf_server_app *app, const struct hf_id *agent,
                                         const char *host, struct hf_member_record *out,
                                         bool *found, struct hf_error *err);

/* Notes what an agent sees (unsynced). At hello: CONFLICT when another living agent serves one of the members. */
struct hf_flow_sight {
    struct hf_id agent, project;
    const struct hf_msg_members *members;
    bool hello;
};
HF_MUST_CHECK enum hf_err hf_flow_put_members(struct hf_server_app *app,
                                              const struct hf_flow_sight *sight,
                                              struct hf_error *err);

/* There may be something to tell this agent. */
void hf_flow_notify(struct hf_server_app *app, const struct hf_id *agent);

/* The project's organization: the first one where it names none. */
struct hf_id hf_flow_org_of(const struct hf_server_app *app,
                            const struct hf_project_record *project);
/* A fresh id: time, then random (as ObjectIds sort). */
struct hf_id hf_flow_new_id(void);
uint64_t hf_flow_now_s(void);
/* Seconds since an agent with that record was heard of. */
uint64_t hf_flow_agent_silent_s(struct hf_server_app *app, const struct hf_agent_record *agent);

#endif
