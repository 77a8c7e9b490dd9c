/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server remembers of jobs, snapshots, restores, tasks and agents: plain values, their
 * JSON, their states.
 *
 * The words of states are those of docs/design/architecture.md, "Words, ids, states". Knows no
 * clock, no disk and no catalog driver.
 */
#ifndef HF_BACKUP_RECORDS_H
#define HF_BACKUP_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "catalog/catalog.h"
#include "codec/json.h"
#include "format/ids.h"
#include "format/manifest.h"
#include "format/message.h"

/* The kinds of the catalog, for opening it, and their names. */
extern const struct hf_catalog_kind hf_backup_kinds[];
extern const size_t hf_backup_kind_count;
#define HF_KIND_SETTING "setting"
#define HF_KIND_PROJECT "project"
#define HF_KIND_CLUSTER "cluster"
#define HF_KIND_STORE "store"
#define HF_KIND_API_KEY "api_key"
#define HF_KIND_AGENT_KEY "agent_key"
#define HF_KIND_AGENT "agent"
#define HF_KIND_JOB "job"
#define HF_KIND_SNAPSHOT "snapshot"
#define HF_KIND_RESTORE "restore"
#define HF_KIND_LINK "link"               /* by restore: its delivery by HTTP */
#define HF_KIND_TARGET "target"           /* by restore: one onto a whole set, backup/target.h */
#define HF_KIND_TARGET_LOCK "target_lock" /* by cluster: {"restoreId"}, the one that goes on */
#define HF_KIND_TASK "task"
#define HF_KIND_PROGRESS "progress"
#define HF_KIND_MEMBERS                                                                            \
    "members" /* by agent: {"agentId", "seenS", "members": [hf_member_record]} */
#define HF_KIND_HEAD "oplog_head"   /* by job */
#define HF_KIND_CHECK "oplog_check" /* by job: what the last check of its oplog said */
#define HF_KIND_SCHEDULE "schedule" /* by job: backup/schedule.h */
#define HF_KIND_QUEUE "queue"       /* one: who begins snapshots, and the projects' turns */
#define HF_KIND_EVENT "event"
#define HF_KIND_NOTICE "notice" /* by notice and receiver: what is still to be told of an alert */
#define HF_KIND_SERVER "server" /* by a hash of its host: {"host", "release", "seenS", "ended"} */
#define HF_KIND_FINISH "finish" /* by task: the agent's finish message, as it came */

#define HF_RECORD_ERROR_BYTES 1024
#define HF_RECORD_PATH_BYTES 4096

/* One replica set that an agent has reported. */
struct hf_cluster_record {
    struct hf_id id, project;
    char set_name[HF_NAME_BYTES];
    uint64_t created_s;
};

enum hf_job_state {
    HF_JOB_INACTIVE,
    HF_JOB_PROVISIONING,
    HF_JOB_STARTED,
    HF_JOB_STOPPED,
    HF_JOB_TERMINATING
};

/* A job's newest snapshot that became complete, so that nobody has to look for it among the others. */
struct hf_job_last {
    struct hf_id snapshot; /* none: not known: there is none, it has gone, or a record of before */
    uint64_t created_s, finished_s, bytes, stored_bytes;
};

struct hf_job_record {
    struct hf_id id, project, cluster;
    struct hf_id store;       /* none: PROVISIONING, and none was assigned yet */
    struct hf_id oplog_store; /* none: of a record of before, that of the installation */
    char set_name[HF_NAME_BYTES];
    enum hf_job_state state;
    uint64_t next_capture; /* above every number that was ever used */
    struct hf_id running; /* snapshot being taken; none: idle. Set and cleared by compare-and-set */
    char preferred_member[HF_NAME_BYTES];
    uint64_t created_s;
    char snapshot_wanted[HF_RECORD_ERROR_BYTES]; /* why one is to be taken by itself; or empty */
    uint64_t wanted_s;       /* since when: only one that was begun later will do */
    uint64_t wanted_capture; /* so its number is at least this; 0: a document of before */
    uint64_t moved_s;        /* since when it is in its state; 0: a record of before */
    uint64_t started_s;      /* when it last became STARTED; 0: a record of before */
    uint64_t ended_s;        /* when it was last terminated; 0: never */
    uint64_t run;            /* raised by each restart: the oplog of a run is a chain of its own */
    bool waiting;            /* PROVISIONING: for approval */
    bool approved;
    bool leftover; /* INACTIVE by force: what a store would not let go of may lie there still */
    uint64_t
        failures; /* attempts in a row that did not become a snapshot; the cancelled are not counted */
    uint64_t failed_s; /* when the last of them ended */
    struct hf_job_last last;
    char problem[HF_RECORD_ERROR_BYTES];  /* what PROVISIONING and TERMINATING wait for */
    char assigned[HF_RECORD_ERROR_BYTES]; /* which stores, and why these */
    struct hf_id server; /* that does its periodic work, backup/fleet.h; none: a record of before */
    uint64_t server_term; /* raised whenever it goes to another one */
};

enum hf_snapshot_state {
    HF_SNAPSHOT_IN_PROGRESS,
    HF_SNAPSHOT_COMPLETE,
    HF_SNAPSHOT_FAILED,
    HF_SNAPSHOT_ABANDONED,
    HF_SNAPSHOT_EXPIRED,
};

struct hf_snapshot_record {
    struct hf_id id, job, project, cluster, store;
    char set_name[HF_NAME_BYTES];
    enum hf_snapshot_state state;
    uint64_t capture;
    struct hf_id writer;
    struct hf_id task;
    struct hf_id agent;
    uint64_t parent_capture;  /* 0: full */
    uint64_t adopted_capture; /* of the given-up attempt whose packs it may take over; 0: none */
    struct hf_id adopted_writer;
    char member[HF_NAME_BYTES];
    char member_state[HF_WORD_BYTES];   /* PRIMARY or SECONDARY, when it was chosen */
    char reason[HF_RECORD_ERROR_BYTES]; /* why this member */
    char description[HF_NAME_BYTES];
    uint64_t created_s, finished_s;
    uint64_t expires_s; /* 0: none planned */
    bool keep;          /* doNotDelete */
    bool automatic;     /* by the schedule or for a reason of the server's own, not on demand */
    uint64_t classes;   /* of an automatic one: backup/retention.h */
    bool full;          /* every byte is read again, whatever the engine says of it */
    bool dropped;       /* EXPIRED, and its manifest is gone */
    bool encrypted;
    /* Of the attempt, beside created_s and finished_s; 0: it did not come so far, or a record of before. */
    uint64_t given_s;    /* its agent has begun */
    uint64_t sent_s;     /* its agent is done, well or not */
    uint64_t manifest_s; /* checked, and the manifest put */
    struct hf_capture_times times;
    uint64_t put_max_bytes; /* what the attempt may put into the store; 0: a record of before */
    /* From the manifest, once the agent is done. */
    char fcv[HF_WORD_BYTES];
    char server_version[HF_WORD_BYTES];
    char engine[HF_WORD_BYTES];
    struct hf_optime checkpoint, oplog_end, committed;
    uint64_t files, bytes, new_bytes, stored_bytes, read_bytes;
    uint64_t blocks_reused, blocks_new, blocks_zero, files_skipped;
    /* The last verification. */
    bool claim_dropped;        /* of an ABANDONED attempt: nothing of it can be adopted any more */
    bool void_dropped;         /* of a given-up attempt: its void has gone, its days being over */
    uint64_t verified_s;       /* 0: never */
    uint64_t verified_capture; /* the highest capture number that the job had given by then */
    bool verified_ok;
    char verified_level[HF_WORD_BYTES];
    char verified_error[HF_RECORD_ERROR_BYTES];
    char error_class[HF_WORD_BYTES];
    char error[HF_RECORD_ERROR_BYTES];
};

enum hf_restore_state {
    HF_RESTORE_IN_PROGRESS,
    HF_RESTORE_FINISHED,
    HF_RESTORE_BROKEN,
    HF_RESTORE_KILLED
};

/* A restore's point in time, its plan, and what became of it. */
struct hf_restore_point {
    bool wanted;
    bool date; /* up to and not including that second; else up to and including that entry */
    uint64_t seconds, increment;
    struct hf_optime
        last; /* last entry that the plan takes from the stored oplog; none: no entry */
    uint64_t entries, bytes;  /* at most, in the slices that the plan reads */
    uint64_t other_histories; /* that have the instant too: the newest was taken */
    struct hf_optime top;     /* where the restored oplog ends */
    uint64_t compared, inserted, inserted_bytes, validated, wrong;
    char notes[HF_REPLAY_NOTES_BYTES];
};

struct hf_restore_record {
    struct hf_id id, snapshot, job, project, cluster;
    struct hf_id agent, task;
    enum hf_restore_state state;
    char directory[HF_RECORD_PATH_BYTES];
    uint64_t created_s, finished_s;
    bool onto, leave_foreign; /* how it was asked for */
    struct hf_restore_point point;
    /* Slices with this entry or a later one stay while the restore is IN_PROGRESS; none: it needs none. */
    struct hf_optime lease_from;
    bool
        link; /* delivered by HTTP: a hf_link_record of the same id has the rest; no agent, no task */
    uint64_t files, bytes;
    uint64_t written_bytes, removed_files;
    /* Onto a whole set, by the agents of its members; none: into a directory. */
    struct hf_id target_cluster;
    char target_set[HF_NAME_BYTES];
    bool dry_run;
    char error_class[HF_WORD_BYTES];
    char error[HF_RECORD_ERROR_BYTES];
};

/* What was last seen of a download; a status for people follows from it by hf_link_status. */
enum hf_link_transfer {
    HF_LINK_READY,
    HF_LINK_IN_PROGRESS,
    HF_LINK_INTERRUPTED,
    HF_LINK_FAILED,
};

#define HF_LINK_FILE_BYTES (HF_NAME_BYTES + 64)
#define HF_LINK_NO_LIMIT 2147483647 /* downloads; as clients know it */

struct hf_link_record {
    struct hf_id id; /* the restore's */
    struct hf_id snapshot, job, project;
    char nonce[33]; /* with the server's link key it gives the key in the address */
    char file[HF_LINK_FILE_BYTES];
    bool gzip;
    uint64_t created_s, expires_s;
    uint64_t hours; /* as asked for; 0: a time was */
    uint64_t max_downloads, downloads;
    uint64_t downloaded_s; /* the last one's end; 0: none yet */
    /* With a point in time: slices with this entry or a later one stay until the link expires, used up or not, since what
     * was downloaded is brought to the point by them. None: no point. */
    struct hf_optime lease_from;
    enum hf_link_transfer transfer;
    char sha1[41];                     /* of the whole archive; empty: not known yet */
    char etag[41];                     /* of the archive that sha1 is of */
    char error[HF_RECORD_ERROR_BYTES]; /* why the last transfer broke */
};

enum hf_task_state {
    HF_TASK_WAITING,   /* given in every poll until the agent names it as running */
    HF_TASK_RUNNING,   /* named by the agent */
    HF_TASK_FINISHING, /* the agent is done, the server is at its own steps */
    HF_TASK_ENDED,
};

struct hf_task_record {
    struct hf_id id, project, job, agent;
    struct hf_id snapshot; /* what is captured or read */
    struct hf_id restore;
    enum hf_task_kind kind;
    enum hf_task_state state;
    struct hf_id writer;        /* of a tail */
    char member[HF_NAME_BYTES]; /* of a tail */
    struct hf_id attempt;       /* fences: a call that names another attempt is refused */
    uint64_t created_s;
    uint64_t seen_s; /* when a poll last named it, or it was made */
    bool cancelled;  /* someone asked to stop it */
    char error_class[HF_WORD_BYTES];
    char error[HF_RECORD_ERROR_BYTES];
};

struct hf_agent_record {
    struct hf_id id, project;
    char host[HF_NAME_BYTES];
    char release[HF_WORD_BYTES];
    uint64_t created_s, seen_s;
    char restore_root[HF_RECORD_PATH_BYTES]; /* below which it may restore; empty: it may not */
    char session_hash[HF_SESSION_BYTES];     /* hex of SHA-256 of its session; empty: it has none */
};

/* Something that an operator should know of, kept until there are many newer ones. */
struct hf_event_record {
    struct hf_id id, project;
    struct hf_id job; /* none: of no job */
    char set_name[HF_NAME_BYTES];
    char type[HF_WORD_BYTES];
    uint64_t created_s;
    char text[HF_RECORD_ERROR_BYTES];
    /* Of an audit event (docs/design/audit.md). */
    struct hf_id target;         /* what was changed or made; none: nothing that has an id */
    char by[HF_WORD_BYTES];      /* USER, AGENT or SERVER */
    char user[HF_NAME_BYTES];    /* public key of the caller, or the agent's id */
    char address[HF_NAME_BYTES]; /* where the call came from */
    char outcome
        [HF_WORD_BYTES]; /* ASKED: not answered yet, or never; DONE, FAILED; empty: it happened */
};
/* Audit: what somebody changed (rest-api.md 5.10); those that the reference has no name for are ours. */
#define HF_EVENT_STATE_CHANGED "RS_STATE_CHANGED_AUDIT"
#define HF_EVENT_SCHEDULE_UPDATED "RS_SNAPSHOT_SCHEDULE_UPDATED_AUDIT"
#define HF_EVENT_CREDENTIAL_UPDATED "RS_CREDENTIAL_UPDATED_AUDIT"
#define HF_EVENT_SNAPSHOT_DELETED "SNAPSHOT_DELETED_AUDIT"
#define HF_EVENT_EXPIRY_UPDATED "SNAPSHOT_EXPIRY_UPDATED_AUDIT"
#define HF_EVENT_RESTORE_REQUESTED "RESTORE_REQUESTED_AUDIT"
#define HF_EVENT_SNAPSHOT_REQUESTED "SNAPSHOT_REQUESTED_AUDIT"
#define HF_EVENT_SNAPSHOT_CANCELLED "SNAPSHOT_CANCELLED_AUDIT"
#define HF_EVENT_RESTORE_CANCELLED "RESTORE_CANCELLED_AUDIT" /* a link's: withdrawn */
#define HF_EVENT_MEMBER_UPDATED "RS_MEMBER_UPDATED_AUDIT"
#define HF_EVENT_ALERT_ACKNOWLEDGED "ALERT_ACKNOWLEDGED_AUDIT"
#define HF_EVENT_STORE_WORK_REQUESTED "STORE_WORK_REQUESTED_AUDIT"
#define HF_EVENT_AGENT_ADDED "AGENT_ADDED_AUDIT"
#define HF_EVENT_KEY_CREATED "API_KEY_CREATED_AUDIT"
#define HF_EVENT_SETTINGS_UPDATED "SERVER_SETTINGS_UPDATED_AUDIT"
#define HF_EVENT_CHANGED "CONFIGURATION_UPDATED_AUDIT" /* any other change by the API */
#define HF_EVENT_OPLOG_GAP "OPLOG_GAP"                 /* a restorable range ended, and why */
#define HF_EVENT_OPLOG_WINDOW "OPLOG_WINDOW_SHORT"     /* the source keeps its oplog too short */
#define HF_EVENT_OPLOG_DAMAGED "OPLOG_DAMAGED"         /* a check found slices damaged or missing */
#define HF_EVENT_SLICE_REFUSED "OPLOG_SLICE_REFUSED"   /* an agent brought a slice that is none */
#define HF_EVENT_STORE_DAMAGED "STORE_DAMAGED" /* a check found snapshots that are not whole */
#define HF_EVENT_UPKEEP_FAILED "UPKEEP_FAILED" /* a store cannot be counted, groomed or checked */
#define HF_EVENT_JOBS_TAKEN "JOBS_TAKEN_OVER"  /* a server goes on with the jobs of another one */

HF_MUST_CHECK struct hf_json *hf_event_record_encode(const struct hf_event_record *record);
HF_MUST_CHECK enum hf_err hf_event_record_decode(const struct hf_json *json,
                                                 struct hf_event_record *out, struct hf_error *err);
HF_MUST_CHECK struct hf_json *hf_cluster_record_encode(const struct hf_cluster_record *record);
HF_MUST_CHECK enum hf_err hf_cluster_record_decode(const struct hf_json *json,
                                                   struct hf_cluster_record *out,
                                                   struct hf_error *err);
HF_MUST_CHECK struct hf_json *hf_job_record_encode(const struct hf_job_record *record);
HF_MUST_CHECK enum hf_err hf_job_record_decode(const struct hf_json *json,
                                               struct hf_job_record *out, struct hf_error *err);
HF_MUST_CHECK struct hf_json *hf_snapshot_record_encode(const struct hf_snapshot_record *record);
HF_MUST_CHECK enum hf_err hf_snapshot_record_decode(const struct hf_json *json,
                                                    struct hf_snapshot_record *out,
                                                    struct hf_error *err);
HF_MUST_CHECK struct hf_json *hf_restore_record_encode(const struct hf_restore_record *record);
HF_MUST_CHECK enum hf_err hf_restore_record_decode(const struct hf_json *json,
                                                   struct hf_restore_record *out,
                                                   struct hf_error *err);
HF_MUST_CHECK struct hf_json *hf_link_record_encode(const struct hf_link_record *record);
HF_MUST_CHECK enum hf_err hf_link_record_decode(const struct hf_json *json,
                                                struct hf_link_record *out, struct hf_error *err);
HF_MUST_CHECK struct hf_json *hf_task_record_encode(const struct hf_task_record *record);
HF_MUST_CHECK enum hf_err hf_task_record_decode(const struct hf_json *json,
                                                struct hf_task_record *out, struct hf_error *err);
HF_MUST_CHECK struct hf_json *hf_agent_record_encode(const struct hf_agent_record *record);
HF_MUST_CHECK enum hf_err hf_agent_record_decode(const struct hf_json *json,
                                                 struct hf_agent_record *out, struct hf_error *err);

const char *hf_job_state_word(enum hf_job_state state);
const char *hf_snapshot_state_word(enum hf_snapshot_state state);
const char *hf_restore_state_word(enum hf_restore_state state);
const char *hf_task_kind_word(enum hf_task_kind kind);
const char *hf_task_state_word(enum hf_task_state state);

#endif
