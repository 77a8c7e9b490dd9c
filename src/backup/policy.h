/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job's policy: when snapshots are taken, how long they are kept, when none may begin (backup-domain.md 3.1). Plain
 * values, their ranges, and what a policy would cost. Knows no clock, and not what is done about it.
 *
 * All times are UTC. Snapshots are due at the reference time and every interval before and after it; an interval divides
 * a day, so that each day has the same times.
 */
#ifndef HF_BACKUP_POLICY_H
#define HF_BACKUP_POLICY_H

#include "backup/records.h"
#include "backup/schedule_calendar.h"

#define HF_POLICY_INTERVAL_MIN_MIN 15
#define HF_POLICY_BASE_DAYS_MAX 365
#define HF_POLICY_DAILY_DAYS_MAX 365
#define HF_POLICY_WEEKLY_WEEKS_MAX 52
#define HF_POLICY_MONTHLY_MONTHS_MAX 84
#define HF_POLICY_YEARLY_YEARS_MAX 30
#define HF_POLICY_WINDOW_HOURS_MAX 87600
#define HF_POLICY_PAUSES_BYTES 1024
#define HF_POLICY_PAUSES_MAX 16

struct hf_policy {
    uint64_t interval_min;  /* 15 minutes to a day */
    uint64_t reference_min; /* minute of the UTC day */
    uint64_t base_days;     /* every snapshot is kept so long */
    /* The first of each day, week, month and year; 0: such are nothing special. */
    uint64_t daily_days, weekly_weeks, monthly_months, yearly_years;
    enum hf_weekday
        full_day;          /* the first snapshot from this day of each week on reads every byte */
    bool own_window;       /* else the server's option says */
    uint64_t window_hours; /* of points in time; 0: none is promised */
    bool has_deadline;
    uint64_t deadline_min; /* of the UTC day: a snapshot should be complete by then */
    bool no_fcv_snapshot;  /* none is taken because the feature compatibility version changed */
    char pauses
        [HF_POLICY_PAUSES_BYTES]; /* "SAT,SUN 22:00-02:00; 2026-12-24T00:00Z/2026-12-27T00:00Z" */
};

enum hf_policy_setting {
    HF_POLICY_INTERVAL,
    HF_POLICY_REFERENCE,
    HF_POLICY_BASE,
    HF_POLICY_DAILY,
    HF_POLICY_WEEKLY,
    HF_POLICY_MONTHLY,
    HF_POLICY_YEARLY,
    HF_POLICY_FULL_DAY,
    HF_POLICY_WINDOW,
    HF_POLICY_DEADLINE,
    HF_POLICY_PAUSES,
};

/* A job without a word about it: every 24 hours at the time of its start, 2 days, 2 weeks, 1 month. */
void hf_policy_default(struct hf_policy *out, uint64_t started_s);
/* INVALID, with what is allowed; *which gets the setting. */
HF_MUST_CHECK enum hf_err hf_policy_check(const struct hf_policy *policy,
                                          enum hf_policy_setting *which, struct hf_error *err);
bool hf_policy_equal(const struct hf_policy *a, const struct hf_policy *b);

/* "SUNDAY", in any case. False: no such day. */
HF_MUST_CHECK bool hf_weekday_parse(const char *word, enum hf_weekday *out);
/* "07:30" */
HF_MUST_CHECK bool hf_policy_parse_time(const char *text, uint64_t *minute);

/* ---- Pauses: no snapshot begins by itself in them; one that runs goes on ---- */

struct hf_pause {
    bool once;
    uint64_t from_s, to_s;     /* once */
    unsigned days;             /* on which it begins: bit 0 is Sunday */
    uint64_t from_min, to_min; /* to not behind from: over midnight */
};
HF_MUST_CHECK enum hf_err hf_policy_pauses(const char *text, struct hf_pause *out, size_t *count,
                                           struct hf_error *err);
/* When the pause that is on ends, with those that follow on it; 0: none is on. */
uint64_t hf_policy_paused_until(const struct hf_policy *policy, uint64_t now_s);

/* ---- What it would cost ---- */

struct hf_policy_forecast {
    uint64_t snapshots; /* kept at a time, once the longest retention is full */
    uint64_t base, daily, weekly, monthly, yearly; /* of these, by the class that keeps each */
    uint64_t bytes;                                /* stored, for all of them */
    uint64_t full_bytes;                           /* stored, for one alone */
    uint64_t change_bytes_per_day;                 /* stored, as past snapshots had it */
    bool measured;                                 /* there were two to measure it by */
    uint64_t begins_per_day;
};
/*
 * snapshots: the job's, in any order. goes: one for each; set for a complete automatic one that this policy would not have
 * kept until now. Such stay all the same until their own time: a change of policy deletes nothing.
 */
HF_MUST_CHECK enum hf_err hf_policy_simulate(const struct hf_policy *policy,
                                             const struct hf_snapshot_record *snapshots,
                                             size_t count, uint64_t now_s,
                                             struct hf_policy_forecast *out, bool *goes,
                                             struct hf_error *err);

#endif
