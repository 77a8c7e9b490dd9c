/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alerts: what is wrong for as long as it is wrong (backup-domain.md 10). One table of types; each type's condition over
 * facts; one document for each time that something is wrong. Plain values and decisions: knows no clock, no catalog, and
 * not how anybody is told.
 *
 *   (nothing) --holds--> TRACKING --holds for its type's patience--> OPEN --holds no longer--> CLOSED
 *                           '--holds no longer--> (nothing)            '--its target is gone--> CANCELLED
 *
 * An alert that is OPEN is told again and again until it is resolved, or acknowledged: then not before that time is over.
 */
#ifndef HF_BACKUP_ALERT_H
#define HF_BACKUP_ALERT_H

#include "backup/groom.h"
#include "backup/head.h"
#include "backup/records.h"

#define HF_KIND_ALERT "alert"

/* What an alert is about. */
enum hf_alert_target {
    HF_ALERT_OF_JOB,
    HF_ALERT_OF_AGENT,
    HF_ALERT_OF_STORE,
    HF_ALERT_OF_CATALOG,
    HF_ALERT_OF_SERVER,
    HF_ALERT_OF_WORK, /* a kind of the server's periodic work */
};
/* Who is to care: a project's members, or the administrators of all projects, or of the machines. */
enum hf_alert_scope { HF_ALERT_PROJECT, HF_ALERT_GLOBAL, HF_ALERT_SYSTEM };

/*
 * name, event when it is over, scope, target, patience in seconds, whether another part of the server tells the event of
 * its beginning. The names are the reference's where it has one.
 */
#define HF_ALERT_TABLE(X)                                                                          \
    X(OPLOG_BEHIND, "OPLOG_CURRENT", PROJECT, JOB, 0, true)                                        \
    X(OPLOG_WINDOW_SHORT, "OPLOG_WINDOW_LONG", PROJECT, JOB, 0, true)                              \
    X(RESYNC_REQUIRED, "RESYNC_PERFORMED", PROJECT, JOB, 0, false)                                 \
    X(BACKUP_AGENT_DOWN, "BACKUP_AGENT_UP", PROJECT, AGENT, 0, false)                              \
    X(BACKUP_AGENT_VERSION_BEHIND, "BACKUP_AGENT_VERSION_CURRENT", PROJECT, AGENT, 0, false)       \
    X(SNAPSHOTS_ABORTED, "SNAPSHOT_SUCCEEDED", PROJECT, JOB, 0, false)                             \
    X(SNAPSHOTS_DAMAGED, "SNAPSHOTS_WHOLE", PROJECT, JOB, 0, false)                                \
    X(LATE_SNAPSHOT, "TIMELY_SNAPSHOT", GLOBAL, JOB, 0, false)                                     \
    X(BACKUP_TOO_MANY_RETRIES, "BACKUP_RETRIES_OVER", GLOBAL, JOB, 0, false)                       \
    X(BACKUP_IN_UNEXPECTED_STATE, "BACKUP_RECOVERED", GLOBAL, JOB, 3600, false)                    \
    X(RS_BIND_ERROR, "NO_RS_BIND_ERROR", GLOBAL, JOB, 600, false)                                  \
    X(BLOCKSTORE_JOB_TOO_MANY_RETRIES, "BLOCKSTORE_JOB_RECOVERED", GLOBAL, JOB, 0, false)          \
    X(GROOM_LATE, "GROOM_TIMELY", GLOBAL, JOB, 86400, false)                                       \
    X(DAEMON_DOWN, "DAEMON_UP", SYSTEM, SERVER, 0, false)                                          \
    X(OUTSIDE_SPACE_USED_THRESHOLD, "INSIDE_SPACE_USED_THRESHOLD", SYSTEM, STORE, 0, false)        \
    X(LOW_CATALOG_FREE_SPACE, "SUFFICIENT_CATALOG_FREE_SPACE", SYSTEM, CATALOG, 0, false)          \
    X(CRON_JOB_FAILED, "CRON_JOB_RECOVERED", SYSTEM, WORK, 60, false)

enum hf_alert_type {
#define HF_ALERT_ENUM(name, over, scope, target, patience, told) HF_ALERT_##name,
    HF_ALERT_TABLE(HF_ALERT_ENUM)
#undef HF_ALERT_ENUM
        HF_ALERT_TYPES
};
struct hf_alert_kind {
    const char *name, *over;
    enum hf_alert_scope scope;
    enum hf_alert_target target;
    uint64_t patience_s;
    bool told;
};
extern const struct hf_alert_kind hf_alert_kinds[HF_ALERT_TYPES];

enum hf_alert_status {
    HF_ALERT_TRACKING,
    HF_ALERT_OPEN,
    HF_ALERT_CLOSED,
    HF_ALERT_CANCELLED,
};
const char *hf_alert_status_word(enum hf_alert_status status);

#define HF_ALERT_TEXT_BYTES HF_RECORD_ERROR_BYTES

struct hf_alert_record {
    struct hf_id id; /* hf_alert_id: of two servers one makes it */
    struct hf_id project;
    struct hf_id job, cluster; /* none: of none */
    enum hf_alert_type type;
    char target[HF_NAME_BYTES]; /* the job's or agent's id, "oplog", "resume" */
    uint64_t number;            /* of the times that this was wrong, from 1 */
    char set_name[HF_NAME_BYTES];
    char host[HF_NAME_BYTES];
    enum hf_alert_status status;
    uint64_t created_s; /* since when it holds */
    uint64_t opened_s, updated_s, resolved_s, notified_s;
    uint64_t notices; /* that were told */
    uint64_t value;
    char text[HF_ALERT_TEXT_BYTES];
    uint64_t acknowledged_s, acknowledged_until_s;
    char acknowledged_by[HF_NAME_BYTES];
    char comment[HF_ALERT_TEXT_BYTES];
};
HF_MUST_CHECK struct hf_json *hf_alert_record_encode(const struct hf_alert_record *record);
HF_MUST_CHECK enum hf_err hf_alert_record_decode(const struct hf_json *json,
                                                 struct hf_alert_record *out, struct hf_error *err);

/* The same on every server: of the type, the target, and the number of the time. */
struct hf_id hf_alert_id(enum hf_alert_type type, const char *target, uint64_t number);

/* ---- Conditions ---- */

/* backup-domain.md 10; 0 anywhere but in the spaces: never. */
struct hf_alert_limits {
    uint64_t oplog_behind_s;
    uint64_t agent_down_s;
    uint64_t server_down_s;
    uint64_t aborted_snapshots;  /* in a row */
    uint64_t space_used_percent; /* of a store's disk; 100: never */
    uint64_t disk_free_percent;  /* of the catalog's disk; 0: never */
};
#define HF_ALERT_OPLOG_BEHIND_S HF_HEAD_BEHIND_S
#define HF_ALERT_AGENT_DOWN_S 3600
#define HF_ALERT_SERVER_DOWN_S (15 * 60)
#define HF_ALERT_ABORTED 3
#define HF_ALERT_SPACE_PERCENT 85
#define HF_ALERT_FREE_PERCENT 10
#define HF_ALERT_RETRIES 10     /* tails or captures that failed in a row */
#define HF_ALERT_WORK_RETRIES 3 /* upkeep and periodic work */

/* What is known now: whether the condition of a type holds. A type without a finding does not apply to the target. */
struct hf_alert_finding {
    enum hf_alert_type type;
    bool holds;
    uint64_t value;
    char text[HF_ALERT_TEXT_BYTES];
};
struct hf_alert_findings {
    struct hf_alert_finding items[HF_ALERT_TYPES];
    size_t count;
};

struct hf_alert_job {
    const struct hf_job_record *job;
    const struct hf_head_record *head;   /* NULL: none yet */
    const struct hf_usage_record *usage; /* NULL: none yet */
    uint64_t interval_s;                 /* of its schedule; 0: it has none */
    uint64_t last_snapshot_s;            /* 0: none yet */
    bool groom_due;
};
void hf_alert_judge_job(const struct hf_alert_job *facts, const struct hf_alert_limits *limits,
                        uint64_t now_s, struct hf_alert_findings *out);
/* An agent that serves a set with a started job. */
struct hf_alert_agent {
    const struct hf_agent_record *agent;
    uint64_t silent_s;
    const char *release; /* the server's */
};
void hf_alert_judge_agent(const struct hf_alert_agent *facts, const struct hf_alert_limits *limits,
                          struct hf_alert_findings *out);
struct hf_alert_space {
    const char *url;
    uint64_t free_bytes, total_bytes;
};
void hf_alert_judge_store(const struct hf_alert_space *facts, const struct hf_alert_limits *limits,
                          struct hf_alert_findings *out);
void hf_alert_judge_catalog(const struct hf_alert_space *facts,
                            const struct hf_alert_limits *limits, struct hf_alert_findings *out);
/* host: where the server runs; ended: it was stopped, as somebody wanted. */
void hf_alert_judge_server(const char *host, uint64_t silent_s, bool ended,
                           const struct hf_alert_limits *limits, struct hf_alert_findings *out);
void hf_alert_judge_work(const char *work, uint64_t failures, const char *error,
                         struct hf_alert_findings *out);

/* True for a release that comes before the other: numbers between dots, what follows a '-' is left out. */
bool hf_alert_release_before(const char *release, const char *other);

/* ---- The life of one ---- */

enum hf_alert_step {
    HF_ALERT_SAME,     /* nothing to write */
    HF_ALERT_BEGUN,    /* TRACKING, a fresh document */
    HF_ALERT_UPDATED,  /* its value and text alone */
    HF_ALERT_OPENED,   /* tell; a fresh document when `fresh` */
    HF_ALERT_REPEATED, /* tell again */
    HF_ALERT_RESOLVED, /* tell that it is over */
    HF_ALERT_DROPPED,  /* it was TRACKING and held no longer: its document goes */
};
/* Written at most so often while nothing but its value changes. */
#define HF_ALERT_UPDATE_S 300

/*
 * Brings the alert to what was found. A record that is CLOSED or CANCELLED, or zero but for target and what it is about,
 * is none that holds: one that begins then takes the next number, and an id of its own; *fresh is true.
 */
enum hf_alert_step hf_alert_follow(struct hf_alert_record *alert,
                                   const struct hf_alert_finding *finding, uint64_t repeat_s,
                                   uint64_t now_s, bool *fresh);
/* Its target is gone, or the condition does not apply any more. False: it was not going on. */
bool hf_alert_cancel(struct hf_alert_record *alert, uint64_t now_s);
/* until_s that has passed: the acknowledgement is taken back. CONFLICT unless it is going on. */
HF_MUST_CHECK enum hf_err hf_alert_acknowledge(struct hf_alert_record *alert, const char *who,
                                               uint64_t until_s, const char *comment,
                                               uint64_t now_s, struct hf_error *err);
bool hf_alert_goes_on(const struct hf_alert_record *alert);
bool hf_alert_is_acknowledged(const struct hf_alert_record *alert, uint64_t now_s);

#endif
