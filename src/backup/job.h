/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a job: what may follow on what, who asks for it, and what a job does in each (backup-domain.md 2). Whoever
 * captures, tails, expires or deletes asks hf_job_does, and nobody asks the state itself.
 *
 *   INACTIVE --start--> PROVISIONING --stores assigned, approved, keys made--> STARTED --stop--> STOPPED
 *                          |                                                      ^--restart-------'|
 *                          '--denied--> INACTIVE <--everything deleted-- TERMINATING <--terminate---'
 *                                          ^------- force terminate ---------'
 *
 * Each arrow is one compare-and-set of the job's document; what a state asks for is done afterwards, as often as it takes.
 * Knows no clock, no catalog and no store.
 */
#ifndef HF_BACKUP_JOB_H
#define HF_BACKUP_JOB_H

#include "backup/records.h"

/* What people and programs ask for, and what the server itself has come to. */
enum hf_job_action {
    HF_JOB_START,           /* from STOPPED: restart */
    HF_JOB_STOP,            /* a capture under way is stopped with it */
    HF_JOB_TERMINATE,       /* every snapshot and slice goes */
    HF_JOB_FORCE_TERMINATE, /* a termination that does not come to its end is not waited for */
    HF_JOB_APPROVE,         /* data above the threshold may take their room */
    HF_JOB_DENY,            /* they may not */
    HF_JOB_PROVISIONED,     /* the server: stores, approval and keys are there */
    HF_JOB_GONE,            /* the server: nothing of it is left */
};
#define HF_JOB_ACTIONS 8
#define HF_JOB_STATES 5

/* The table of backup-domain.md 2.1. */
struct hf_job_does {
    bool keeps_snapshots; /* false: they may be deleted, or are */
    bool takes_snapshots;
    bool tails_oplog;
    bool
        stored; /* it may have objects in the stores: to be restored from, pruned, merged, groomed */
};
struct hf_job_does hf_job_does(const struct hf_job_record *job);

/* A job that was never started: of a cluster that has no record. */
void hf_job_init(struct hf_job_record *job, const struct hf_cluster_record *cluster);
/*
 * Makes the move. CONFLICT, in words, with hf_job_refusal as its public code, when the table has none; the record is as it
 * was then. A restart is another run, whose oplog is another chain, and wants a snapshot, as the first start does.
 */
HF_MUST_CHECK enum hf_err hf_job_move(struct hf_job_record *job, enum hf_job_action action,
                                      uint64_t now_s, struct hf_error *err);
/* "CANNOT_STOP_BACKUP_INVALID_STATE" */
const char *hf_job_refusal(enum hf_job_action action);
/* The action that a wished-for statusName means. False: none that anybody may wish for. */
bool hf_job_action_for(const char *status, enum hf_job_action *out);

/* ---- Provisioning ---- */

/* Data above the threshold wait for approval; 0: none does. data_bytes 0: not known yet. */
enum hf_job_approval {
    HF_JOB_MAY_GO_ON,
    HF_JOB_SIZE_UNKNOWN,
    HF_JOB_NEEDS_APPROVAL,
};
enum hf_job_approval hf_job_approval(const struct hf_job_record *job, uint64_t data_bytes,
                                     uint64_t threshold_bytes);

/* ---- A snapshot that is to be taken by itself ---- */

/* Only one that is begun from now on will do. */
void hf_job_want_snapshot(struct hf_job_record *job, const char *why, uint64_t now_s);
void hf_job_want_none(struct hf_job_record *job);

/* ---- Attempts ---- */

/* What a job remembers of its newest complete snapshot. */
struct hf_job_last hf_job_last_of(const struct hf_snapshot_record *snapshot);
/* How an attempt ended, for the job: failures in a row are counted; one that somebody cancelled is none. */
void hf_job_note_attempt(struct hf_job_record *job, const struct hf_snapshot_record *attempt);
/* first_s after one failure, doubled with each that follows, never above most_s. */
uint64_t hf_retry_wait_s(uint64_t failures, uint64_t first_s, uint64_t most_s);
/* How long after so many failures in a row nothing is tried by itself: a minute, doubled, up to an hour. */
#define HF_JOB_RETRY_S 60
#define HF_JOB_RETRY_MAX_S 3600
uint64_t hf_job_retry_wait_s(uint64_t failures);

#endif
