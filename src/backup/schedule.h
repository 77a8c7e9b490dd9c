/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a job's next snapshot is due: one document for each job, and the decisions about it. Knows no clock, no agent and
 * not how a snapshot is taken; a job's state is only ever read from its own record.
 *
 *   due_s ---time comes---> owed_s ---hf_schedule_begun---> attempt ---COMPLETE---> nothing owed
 *                             ^                                |
 *                             '-------- FAILED, refused -------'   not before not_before_s
 *
 * Times that pass while one is owed are the same one: a missed window is taken once. Two index fields let 10,000 jobs cost
 * nothing while nothing is to do: wake_s, when to look at the document again, and queue_s, which is set while a snapshot
 * may begin: by when it has to at the latest, so the smallest goes first.
 */
#ifndef HF_BACKUP_SCHEDULE_H
#define HF_BACKUP_SCHEDULE_H

#include "backup/policy.h"
#include "backup/records.h"
#include "backup/retention.h"

/* A document is looked at so often at least: what should have woken it, and died, is made good. */
#define HF_SCHEDULE_LOOK_S 3600
/* While its snapshot is taken. */
#define HF_SCHEDULE_WATCH_S 4
/* After so many failures in a row: a minute, doubled, up to an hour or the interval. */
#define HF_SCHEDULE_RETRY_S 60
#define HF_SCHEDULE_RETRY_MAX_S 3600

struct hf_schedule_record {
    struct hf_id id; /* the job's */
    struct hf_id project;
    struct hf_id store;       /* the job's when last looked at */
    char host[HF_NAME_BYTES]; /* of the member that one was taken from, or to be taken, last */
    char set_name[HF_NAME_BYTES];
    struct hf_policy policy;
    uint64_t wake_s;  /* index */
    uint64_t queue_s; /* index; 0: nothing to begin */
    uint64_t due_s;   /* the next one that is planned; 0: not known yet */
    uint64_t owed_s;  /* index; since when one is owed; 0: none is */
    uint64_t not_before_s;
    uint64_t failures; /* in a row */
    struct hf_id attempt;
    uint64_t attempt_owed_s;             /* what the attempt is for */
    uint64_t took_s;                     /* the last one that became complete */
    bool active;                         /* the job took snapshots when last looked at */
    uint64_t waits_for_capture;          /* see hf_retention_view; set by a restart */
    uint64_t expire_s;                   /* when to look for expired ones again; 0: at once */
    uint64_t seen_s;                     /* the last look */
    char problem[HF_RECORD_ERROR_BYTES]; /* why none could begin, or why the last one failed */
};
HF_MUST_CHECK struct hf_json *hf_schedule_record_encode(const struct hf_schedule_record *record);
HF_MUST_CHECK enum hf_err hf_schedule_record_decode(const struct hf_json *json,
                                                    struct hf_schedule_record *out,
                                                    struct hf_error *err);

/* With the default policy; the first look decides the rest. */
void hf_schedule_init(struct hf_schedule_record *record, const struct hf_job_record *job,
                      uint64_t now_s);

/* The first time after after_s at which the policy wants a snapshot. */
uint64_t hf_schedule_slot_after(const struct hf_policy *policy, uint64_t after_s);
/*
 * backup-domain.md 3.2: the planned one, after a change at now_s. Never earlier than planned_s. day_has: the UTC day of the
 * planned one has a snapshot already; where it has none and the change would leave it without, the planned one stays.
 */
struct hf_schedule_move {
    const struct hf_policy *policy; /* the new one */
    bool reference_changed;         /* else its interval */
    uint64_t planned_s;
    bool day_has;
};
uint64_t hf_schedule_moved(const struct hf_schedule_move *move, uint64_t now_s);

struct hf_schedule_view {
    const struct hf_job_record *job;
    const struct hf_snapshot_record *snapshots; /* the job's, in any order */
    size_t count;
    bool first_waits; /* the first one is not taken at once, but at its time */
};
/* Brings the document to now: what came of the attempt, what is owed, when to look again. */
void hf_schedule_look(struct hf_schedule_record *record, const struct hf_schedule_view *view,
                      uint64_t now_s);
/* Takes the policy over, which hf_policy_check found good. */
void hf_schedule_change(struct hf_schedule_record *record, const struct hf_policy *policy,
                        const struct hf_schedule_view *view, uint64_t now_s);
/* True when the owed one may begin now: the document may have waited in the queue until a pause. */
bool hf_schedule_may_begin(const struct hf_schedule_record *record, uint64_t now_s);
void hf_schedule_begun(struct hf_schedule_record *record, const struct hf_id *snapshot,
                       uint64_t now_s);
/* The queue then knows on which host it is likely to be. "": nothing is known of it. */
void hf_schedule_note_member(struct hf_schedule_record *record, const char *member);
/* It could not begin. */
enum hf_schedule_patience {
    HF_SCHEDULE_SOON,  /* something is in the way that goes by itself */
    HF_SCHEDULE_LATER, /* a failure: tried again ever later */
};
void hf_schedule_refused(struct hf_schedule_record *record, const char *why,
                         enum hf_schedule_patience patience, uint64_t now_s);

#endif
