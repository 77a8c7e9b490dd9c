/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a snapshot is kept, and which may go now (backup-domain.md 2.5, 2.6, 3.3, 3.4): decisions over documents. Knows
 * no clock, no store, and not how one is deleted.
 *
 * The classes of a snapshot are decided when it begins: it is daily when no automatic snapshot that is complete is the
 * daily one of that UTC day yet; so for week, month and year. Thus a day, week or month that has any snapshot has its
 * long-kept one, wherever the time of day was moved and whichever attempt failed. It is kept for the longest of its
 * classes, counted from its beginning, and a later change of policy does not touch it.
 *
 * The guarantee: whatever its expiry says, of a job that takes snapshots the newest one that restores stays, and the base
 * of each range of points in time that is promised.
 */
#ifndef HF_BACKUP_RETENTION_H
#define HF_BACKUP_RETENTION_H

#include "backup/policy.h"

/* Bits of hf_snapshot_record.classes: by enum hf_period. */
#define HF_CLASS(period) (UINT64_C(1) << (period))

struct hf_retention_plan {
    uint64_t classes;
    uint64_t expires_s;
    bool full; /* every byte is read again */
};
/* For an automatic snapshot that begins at now_s. snapshots: the job's, in any order. */
void hf_retention_plan(const struct hf_policy *policy, const struct hf_snapshot_record *snapshots,
                       size_t count, uint64_t now_s, struct hf_retention_plan *out);
uint64_t hf_retention_expires(const struct hf_policy *policy, uint64_t classes, uint64_t begun_s);
/* Days that one on demand is kept when nobody says: the daily's, or the base's where there is none. */
uint64_t hf_retention_on_demand_days(const struct hf_policy *policy);

/* ---- What goes ---- */

/* A snapshot as a base on a chain of the oplog. */
struct hf_retention_place {
    size_t snapshot; /* into the view's */
    size_t chain;
};
struct hf_retention_view {
    const struct hf_job_record *job;
    const struct hf_snapshot_record *snapshots;
    size_t count;
    /*
     * Points in time: from window_s on they are promised where they can be reached; window_s UINT64_MAX: none is. Chains
     * that end before the window have no place here.
     */
    uint64_t window_s;
    const struct hf_retention_place *places;
    size_t place_count;
    /* One with a number from here on must be complete before anything goes: the job was restarted; 0: nothing to wait for. */
    uint64_t waits_for_capture;
};

enum hf_retention_verdict {
    HF_RETENTION_STAYS, /* not expired, kept for ever, or not complete */
    HF_RETENTION_GOES,
    HF_RETENTION_WAITS,      /* expired; but the job is stopped, or has no snapshot yet since */
    HF_RETENTION_LAST_GOOD,  /* expired, and the newest that restores */
    HF_RETENTION_POINT_BASE, /* expired, and the base of promised points in time */
    HF_RETENTION_IS_PARENT,  /* expired, and a capture that runs builds on it */
};
/* "LAST_GOOD" */
const char *hf_retention_word(enum hf_retention_verdict verdict);
/* verdicts: one for each snapshot. */
void hf_retention_judge(const struct hf_retention_view *view, uint64_t now_s,
                        enum hf_retention_verdict *verdicts);
/* True when its time is over, whatever else keeps it. */
bool hf_retention_is_expired(const struct hf_snapshot_record *snapshot, uint64_t now_s);
/* When the next one's time is over; UINT64_MAX: none has one. */
uint64_t hf_retention_next_s(const struct hf_snapshot_record *snapshots, size_t count,
                             uint64_t now_s);

/* ---- Clocks ---- */

/* Nothing expires while clocks disagree (store-format.md 5). What others say that the time is: */
struct hf_clock_witness {
    const char *name; /* "store", "primary h:p" */
    uint64_t says_s;
    uint64_t behind_s; /* it may lag so far without meaning anything */
};
#define HF_CLOCK_SLACK_S 300
/* CONFLICT, naming the first that disagrees. */
HF_MUST_CHECK enum hf_err hf_retention_clocks(const struct hf_clock_witness *witnesses,
                                              size_t count, uint64_t now_s, struct hf_error *err);

/* ---- Changes by hand ---- */

struct hf_retention_wish {
    bool keep; /* for ever: it has no expiry then */
    uint64_t expires_s;
};
/* CONFLICT unless it is complete, or when its time was over already. */
HF_MUST_CHECK enum hf_err hf_retention_change(struct hf_snapshot_record *snapshot,
                                              const struct hf_retention_wish *wish, uint64_t now_s,
                                              struct hf_error *err);

#endif
