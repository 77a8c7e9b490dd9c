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
#include "backup/member.h"
#include "backup/records.h"

#define HF_KIND_ALERT "alert"

/* What an alert is about. */
enum hf_alert_target {
    HF_ALERT_OF_JOB,
    HF_ALERT_OF_AGENT,
    HF_ALERT_OF_STORE,
    HF_ALERT_OF_CATALOG,
    HF_ALERT_OF_SERVER,
    HF_ALERT_OF_WORK,     /* a kind of the server's periodic work */
    HF_ALERT_OF_RECEIVER, /* of notices */
};
/* Who is to care: a project's members, or the administrators of all projects, or of the machines. */
enum hf_alert_scope { HF_ALERT_PROJECT, HF_ALERT_GLOBAL, HF_ALERT_SYSTEM };
extern const char *const hf_alert_scope_words[];
/* What a type's threshold counts. */
enum hf_alert_unit { HF_ALERT_NOTHING, HF_ALERT_SECONDS, HF_ALERT_TIMES, HF_ALERT_PERCENT };

/*
 * name, event when it is over, scope, target, patience in seconds, whether another part of the server tells the event of
 * its beginning, the threshold's unit, and the threshold where nobody says another. The names are the reference's where it
 * has one.
 */
#define HF_ALERT_TABLE(X)                                                                          \
    X(OPLOG_BEHIND, "OPLOG_CURRENT", PROJECT, JOB, 0, false, SECONDS, HF_HEAD_BEHIND_S)            \
    X(OPLOG_WINDOW_SHORT, "OPLOG_WINDOW_LONG", PROJECT, JOB, 0, true, NOTHING, 0)                  \
    X(RESYNC_REQUIRED, "RESYNC_PERFORMED", PROJECT, JOB, 0, false, NOTHING, 0)                     \
    X(INCONSISTENT_BACKUP_CONFIGURATION, "CONSISTENT_BACKUP_CONFIGURATION", PROJECT, JOB, 0,       \
      false, NOTHING, 0)                                                                           \
    X(BACKUP_AGENT_DOWN, "BACKUP_AGENT_UP", PROJECT, AGENT, 0, false, SECONDS, 3600)               \
    X(BACKUP_AGENT_CONF_CALL_FAILURE, "BACKUP_AGENT_CONF_CALL_SUCCESS", PROJECT, AGENT, 0, false,  \
      TIMES, 10)                                                                                   \
    X(BACKUP_AGENT_VERSION_BEHIND, "BACKUP_AGENT_VERSION_CURRENT", PROJECT, AGENT, 0, false,       \
      NOTHING, 0)                                                                                  \
    X(SNAPSHOTS_ABORTED, "SNAPSHOT_SUCCEEDED", PROJECT, JOB, 0, false, TIMES, 3)                   \
    X(SNAPSHOTS_DAMAGED, "SNAPSHOTS_WHOLE", PROJECT, JOB, 0, false, NOTHING, 0)                    \
    X(LATE_SNAPSHOT, "TIMELY_SNAPSHOT", GLOBAL, JOB, 0, false, PERCENT, 150)                       \
    X(BACKUP_TOO_MANY_RETRIES, "BACKUP_RETRIES_OVER", GLOBAL, JOB, 0, false, TIMES, 10)            \
    X(BACKUP_IN_UNEXPECTED_STATE, "BACKUP_RECOVERED", GLOBAL, JOB, 3600, false, NOTHING, 0)        \
    X(RS_BIND_ERROR, "NO_RS_BIND_ERROR", GLOBAL, JOB, 600, false, NOTHING, 0)                      \
    X(BLOCKSTORE_JOB_TOO_MANY_RETRIES, "BLOCKSTORE_JOB_RECOVERED", GLOBAL, JOB, 0, false, TIMES,   \
      3)                                                                                           \
    X(GROOM_LATE, "GROOM_TIMELY", GLOBAL, JOB, 86400, false, NOTHING, 0)                           \
    X(DAEMON_DOWN, "DAEMON_UP", SYSTEM, SERVER, 0, false, SECONDS, 15 * 60)                        \
    X(OUTSIDE_SPACE_USED_THRESHOLD, "INSIDE_SPACE_USED_THRESHOLD", SYSTEM, STORE, 0, false,        \
      PERCENT, 85)                                                                                 \
    X(LOW_CATALOG_FREE_SPACE, "SUFFICIENT_CATALOG_FREE_SPACE", SYSTEM, CATALOG, 0, false, PERCENT, \
      10)                                                                                          \
    X(CRON_JOB_FAILED, "CRON_JOB_RECOVERED", SYSTEM, WORK, 60, false, TIMES, 3)                    \
    X(NOTICES_UNDELIVERED, "NOTICES_DELIVERED", SYSTEM, RECEIVER, 0, false, TIMES, 3)              \
    X(WEBHOOK_TEMPLATE_FAILED, "WEBHOOK_TEMPLATE_RENDERED", SYSTEM, RECEIVER, 0, false, NOTHING, 0)

enum hf_alert_type {
#define HF_ALERT_ENUM(name, over, scope, target, patience, told, unit, threshold) HF_ALERT_##name,
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
    enum hf_alert_unit unit;
    uint64_t threshold;
};
extern const struct hf_alert_kind hf_alert_kinds[HF_ALERT_TYPES];
/* False for a name that is none. */
bool hf_alert_type_parse(const char *name, enum hf_alert_type *out);

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
    /*
     * What is still to be told of it ("OPEN", "REPEATED", "CLOSED"), or empty. Written with the step itself and cleared
     * when event and notices stand in the catalog: a death in between leaves it to the next pass.
     */
    char owed[HF_WORD_BYTES];
    bool owed_event, owed_notice;
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

/* The threshold of each type; 0: such a thing is never an alert, but of the catalog's disk, where 100 is that for a store's. */
struct hf_alert_limits {
    _Atomic uint64_t of[HF_ALERT_TYPES];
};
void hf_alert_limits_init(struct hf_alert_limits *out); /* the table's */

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
    const struct hf_member_record *members; /* all that are known, of whatever set */
    size_t member_count;
};
void hf_alert_judge_job(const struct hf_alert_job *facts, const struct hf_alert_limits *limits,
                        uint64_t now_s, struct hf_alert_findings *out);
/* An agent that serves a set with a started job. */
struct hf_alert_agent {
    const struct hf_agent_record *agent;
    uint64_t silent_s;
    const char *release;    /* the server's */
    uint64_t failed_calls;  /* answered with an error, in a row */
    const char *call_error; /* of the last; may be empty */
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
                         const struct hf_alert_limits *limits, struct hf_alert_findings *out);
/* Somebody who is told of alerts. */
struct hf_alert_receiver {
    const char *name;       /* for people: "webhook https://…" */
    uint64_t failures;      /* of the notice that failed most often */
    const char *error;      /* its last; may be empty */
    bool has_template;      /* of the bodies */
    const char *unrendered; /* why the template gives no body; empty: it does */
};
void hf_alert_judge_receiver(const struct hf_alert_receiver *facts,
                             const struct hf_alert_limits *limits, struct hf_alert_findings *out);

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

/* How the alerts of a type go on. */
struct hf_alert_rules {
    uint64_t patience_s; /* it is an alert once it holds for so long */
    uint64_t repeat_s;   /* told again so often; 0: once */
    bool
        quiet; /* a maintenance window is open: nobody is told, but of the end of what was told before */
};
/*
 * Brings the alert to what was found. A record that is CLOSED or CANCELLED, or zero but for target and what it is about,
 * is none that holds: one that begins then takes the next number, and an id of its own; *fresh is true. What is to be told
 * stands in `owed`. One that opened while it was quiet is told afterwards, if it is open still.
 */
enum hf_alert_step hf_alert_follow(struct hf_alert_record *alert,
                                   const struct hf_alert_finding *finding,
                                   const struct hf_alert_rules *rules, uint64_t now_s, bool *fresh);
/* Its target is gone, or the condition does not apply any more. False: it was not going on. */
bool hf_alert_cancel(struct hf_alert_record *alert, uint64_t now_s);
/* until_s that has passed: the acknowledgement is taken back. CONFLICT unless it is going on. */
HF_MUST_CHECK enum hf_err hf_alert_acknowledge(struct hf_alert_record *alert, const char *who,
                                               uint64_t until_s, const char *comment,
                                               uint64_t now_s, struct hf_error *err);
bool hf_alert_goes_on(const struct hf_alert_record *alert);
bool hf_alert_is_acknowledged(const struct hf_alert_record *alert, uint64_t now_s);

#endif
