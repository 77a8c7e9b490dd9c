/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between agent and server, as JSON (docs/format/agent-protocol.md). Encodes and decodes
 * with limits; knows neither HTTP nor what is done about a message.
 *
 * Every *_decode refuses with INVALID what is missing, too large or of another type, naming the
 * member, and with UNSUPPORTED another protocol version. Every *_encode appends one JSON object to
 * out.
 */
#ifndef HF_FORMAT_MESSAGE_H
#define HF_FORMAT_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/progress.h"
#include "codec/json.h"
#include "format/filelist.h"
#include "format/ids.h"
#include "format/keyring.h"
#include "format/manifest.h"
#include "format/message_point.h"
#include "format/slice.h"

#define HF_AGENT_PROTOCOL 1
#define HF_MESSAGE_MAX_BYTES ((size_t)8 << 20)   /* a root of 65,536 lists in base64 fits */
#define HF_MESSAGE_VALUES_MAX ((size_t)64 << 10) /* the largest list of objects has a tenth */
#define HF_MESSAGE_MEMBERS_MAX 64
#define HF_MESSAGE_TASKS_MAX 64
#define HF_MESSAGE_ERROR_BYTES HF_ERROR_MESSAGE_BYTES
#define HF_MESSAGE_PATH_BYTES 4097
#define HF_MESSAGE_INFO_BYTES ((size_t)64 << 10)
#define HF_SESSION_BYTES 65

/* A member of a replica set that the agent serves, as the agent sees it. */
struct hf_msg_member {
    char address[HF_NAME_BYTES]; /* host:port */
    char set_name[HF_NAME_BYTES];
    char db_path[HF_MESSAGE_PATH_BYTES];
    char state[HF_WORD_BYTES]; /* PRIMARY, SECONDARY, ARBITER, …; UNREACHABLE when the member does
                                  not answer */
    char primary[HF_NAME_BYTES]; /* as this member sees it; empty: none */
    char fcv[HF_WORD_BYTES];
    char server_version[HF_WORD_BYTES];
    char engine[HF_WORD_BYTES];
    char problem[HF_MESSAGE_ERROR_BYTES]; /* why it cannot be captured; empty when it can */
    bool hidden;
    bool readable;        /* its dbPath can be read by the agent */
    uint32_t set_members; /* in the set's configuration */
    double priority;
    uint64_t lag_s;
    uint64_t data_bytes; /* size of the files, for choosing and planning; 0: unknown */
    uint64_t oplog_first_s, oplog_last_s; /* the window of its oplog, since 1970; 0: unknown */
};

struct hf_msg_members {
    struct hf_msg_member *items; /* owned */
    size_t count;
};

/* ---- hello ---- */

struct hf_msg_hello {
    struct hf_id agent; /* made once by the agent */
    char host[HF_NAME_BYTES];
    char release[HF_WORD_BYTES];
    char restore_root[HF_MESSAGE_PATH_BYTES]; /* below it restores may go; empty: none are taken */
    struct hf_msg_members members;
};
void hf_msg_hello_fini(struct hf_msg_hello *hello);
HF_CLEANUP_DEFINE_VALUE(hf_msg_hello_fini, struct hf_msg_hello)
HF_MUST_CHECK enum hf_err hf_msg_hello_encode(const struct hf_msg_hello *hello, struct hf_buf *out,
                                              struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_msg_hello_decode(struct hf_str in, struct hf_msg_hello *out,
                                              struct hf_error *err);

struct hf_msg_hello_answer {
    char session[HF_SESSION_BYTES];
    char server_release[HF_WORD_BYTES];
    uint64_t now_ms;       /* the server's wall clock */
    uint64_t poll_wait_ms; /* how long a poll may wait */
    uint64_t progress_ms;  /* how often a working agent should poll */
};
HF_MUST_CHECK enum hf_err hf_msg_hello_answer_encode(const struct hf_msg_hello_answer *answer,
                                                     struct hf_buf *out, struct hf_error *err);
HF_MUST_CHECK enum hf_err
hf_msg_hello_answer_decode(struct hf_str in, struct hf_msg_hello_answer *out, struct hf_error *err);

/* ---- tasks ---- */

enum hf_task_kind { HF_TASK_CAPTURE, HF_TASK_RESTORE, HF_TASK_TAIL, HF_TASK_TARGET };
#define HF_TASK_KINDS 4
/* "capture": the name of the kind, and of the member of a message that has its content. */
const char *hf_task_kind_name(enum hf_task_kind kind);
/* False for a name that is none. */
bool hf_task_kind_parse(const char *name, enum hf_task_kind *out);

struct hf_task_limits {
    uint32_t workers;          /* 0: one a core */
    uint64_t rate_bytes_s;     /* 0: none */
    int32_t compression_level; /* 0: the default */
    uint32_t block_bytes;      /* 0: by file size */
    uint64_t majority_wait_ms; /* how long a capture waits for oplogEnd to be committed; 0: the
                                  agent's default */
};

struct hf_task_capture {
    char member[HF_NAME_BYTES]; /* host:port to capture from */
    char set_name[HF_NAME_BYTES];
    uint64_t capture;
    struct hf_id writer;
    struct hf_id snapshot;
    uint64_t parent; /* 0: none */
    char parent_member[HF_NAME_BYTES];
    char parent_backup_name[HF_NAME_BYTES];
    struct hf_tree_root parent_root;           /* owned; empty without a parent */
    struct hf_adopted adopted[HF_ADOPTED_MAX]; /* attempts whose claims still stand */
    size_t adopted_count;
    bool read_all;     /* read every file, whatever the engine says */
    bool prove_parent; /* and believe no block of the parent: damage was found */
};

struct hf_task_restore {
    struct hf_id restore;
    struct hf_id snapshot;
    uint64_t capture;
    char directory[HF_MESSAGE_PATH_BYTES];
    bool onto;                  /* files that lie there already */
    bool leave_foreign;         /* those that are no database's */
    struct hf_tree_root root;   /* owned */
    char *restore_info;         /* owned; text of restoreInfo.txt, at most HF_MESSAGE_INFO_BYTES */
    struct hf_task_point point; /* owned parts */
};

/* Does not end by itself: the agent saves the member's oplog from `start` on until it is cancelled or cannot go on. */
struct hf_task_tail {
    char member[HF_NAME_BYTES]; /* host:port to tail */
    char set_name[HF_NAME_BYTES];
    char fcv[HF_WORD_BYTES]; /* of the chain so far; empty: not known */
    struct hf_id writer;     /* drawn for this task */
    struct hf_chain_point start;
    uint64_t target_bytes, age_ms, noop_age_ms; /* when a slice is closed; 0: the default */
};

/* One step of a restore onto a whole set, at one member. */
enum hf_target_step {
    HF_STEP_CHECK,
    HF_STEP_BUILD,
    HF_STEP_STOP,
    HF_STEP_SWAP,
    HF_STEP_START,
    HF_STEP_PRIMARY,
    HF_STEP_CLEAN,
    HF_STEP_HALT,
    HF_STEP_BACK,
};
#define HF_STEPS 9
#define HF_TARGET_MESSAGE_CONFIG_BYTES 32768
#define HF_TARGET_REPORT_BYTES ((size_t)64 << 10)
#define HF_LOGIN_PRINT_BYTES 65 /* a SHA-256 in hexadecimal digits */
const char *hf_target_step_name(enum hf_target_step step);
struct hf_task_target {
    enum hf_target_step step;
    struct hf_id restore;
    char member[HF_NAME_BYTES]; /* host:port */
    char set_name[HF_NAME_BYTES];
    bool arbiter;
    bool in_place; /* onto the member's own files */
    /* Of the steps that build; else none of it. */
    struct hf_id snapshot;
    uint64_t capture;
    struct hf_optime checkpoint; /* what the snapshot shows */
    struct hf_tree_root root;    /* owned */
    char *restore_info;          /* owned; at most HF_MESSAGE_INFO_BYTES */
    char *
        config; /* owned; the set's new configuration, a JSON object; at most HF_TARGET_MESSAGE_CONFIG_BYTES */
    char *options;              /* owned; what a server needs to open the files: a JSON object */
    struct hf_task_point point; /* owned parts; to what the snapshot is brought */
    char login_print
        [HF_LOGIN_PRINT_BYTES]; /* of what all agents of the set log in with; empty: not kept */
};

/* Given again until the agent names it as running. */
struct hf_task {
    struct hf_id id;
    struct hf_id attempt; /* fences: every call about the task names it */
    enum hf_task_kind kind;
    struct hf_task_limits limits;
    struct hf_keyring keyring;      /* without the seal key */
    struct hf_task_capture capture; /* one of these, by kind */
    struct hf_task_restore restore;
    struct hf_task_tail tail;
    struct hf_task_target target;
};
void hf_task_fini(struct hf_task *task);
HF_CLEANUP_DEFINE_VALUE(hf_task_fini, struct hf_task)
/* with_keys is false for the note on the agent's disk. NULL on no memory. */
struct hf_task_json_options {
    bool with_keys;
};
HF_MUST_CHECK struct hf_json *hf_task_to_json(const struct hf_task *task,
                                              const struct hf_task_json_options *options);
/* A task noted without keys comes back with an empty keyring. */
HF_MUST_CHECK enum hf_err hf_task_from_json(const struct hf_json *json, struct hf_task *out,
                                            struct hf_error *err);

/* ---- poll ---- */

/* Progress as messages carry it, and as the API shows it. NULL on no memory. */
HF_MUST_CHECK struct hf_json *hf_msg_progress_to_json(const struct hf_progress_view *view);

/* A task that the agent has. */
struct hf_msg_running {
    struct hf_id task;
    struct hf_id attempt;
    struct hf_progress_view progress;
};

struct hf_msg_poll {
    struct hf_id agent;
    char session[HF_SESSION_BYTES];
    uint64_t wait_ms; /* how long the agent is ready to wait; 0: answer at once */
    struct hf_msg_members members;
    struct hf_msg_running *running; /* owned */
    size_t running_count;
    struct hf_id *ended; /* owned: tasks whose outcome the agent knows; the server forgets them */
    size_t ended_count;
};
void hf_msg_poll_fini(struct hf_msg_poll *poll);
HF_CLEANUP_DEFINE_VALUE(hf_msg_poll_fini, struct hf_msg_poll)
HF_MUST_CHECK enum hf_err hf_msg_poll_encode(const struct hf_msg_poll *poll, struct hf_buf *out,
                                             struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_msg_poll_decode(struct hf_str in, struct hf_msg_poll *out,
                                             struct hf_error *err);

/* What became of a task after its finish. */
struct hf_msg_outcome {
    struct hf_id task;
    enum hf_err code; /* OK: a capture is COMPLETE, a restore FINISHED */
    char message[HF_MESSAGE_ERROR_BYTES];
};

struct hf_msg_poll_answer {
    struct hf_task *tasks; /* owned: to begin, or to begin again */
    size_t task_count;
    struct hf_id *cancels; /* owned: tasks to stop */
    size_t cancel_count;
    struct hf_msg_outcome *outcomes; /* owned */
    size_t outcome_count;
};
void hf_msg_poll_answer_fini(struct hf_msg_poll_answer *answer);
HF_CLEANUP_DEFINE_VALUE(hf_msg_poll_answer_fini, struct hf_msg_poll_answer)
HF_MUST_CHECK enum hf_err hf_msg_poll_answer_encode(const struct hf_msg_poll_answer *answer,
                                                    struct hf_buf *out, struct hf_error *err);
HF_MUST_CHECK enum hf_err
hf_msg_poll_answer_decode(struct hf_str in, struct hf_msg_poll_answer *out, struct hf_error *err);

/* ---- finish ---- */

/* What a capture spent its time on, as far as it came. By a clock that does not jump. */
struct hf_capture_times {
    uint64_t open_ms;    /* check of the member, opening the cursor */
    uint64_t list_ms;    /* of the files, and what the engine says of them */
    uint64_t copy_ms;    /* reading, packing, sending */
    uint64_t confirm_ms; /* waiting until the copy's oplog is committed; closing the cursor */
};

/* The end of a task: its result, or its error. */
struct hf_msg_finish {
    struct hf_id agent;
    char session[HF_SESSION_BYTES];
    struct hf_id task;
    struct hf_id attempt;
    enum hf_task_kind kind;
    enum hf_err code; /* OK, or why it failed */
    char message[HF_MESSAGE_ERROR_BYTES];
    struct hf_capture_times times; /* of a capture, however it ended */
    /* of a capture that succeeded */
    struct hf_facts facts;                     /* owned parts */
    struct hf_tree_root root;                  /* owned */
    struct hf_adopted adopted[HF_ADOPTED_MAX]; /* whose packs the tree really uses */
    size_t adopted_count;
    uint64_t damaged_parent_nodes;
    /* of a restore that succeeded */
    uint64_t restored_files, restored_bytes, written_bytes;
    uint64_t removed_files; /* that lay there, and the snapshot does not have */
    struct hf_msg_replay replay;
    /* of a target's step that succeeded, beside the numbers of a restore */
    char *report; /* owned; a JSON object, or NULL */
};
void hf_msg_finish_fini(struct hf_msg_finish *finish);
HF_CLEANUP_DEFINE_VALUE(hf_msg_finish_fini, struct hf_msg_finish)
HF_MUST_CHECK enum hf_err hf_msg_finish_encode(const struct hf_msg_finish *finish,
                                               struct hf_buf *out, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_msg_finish_decode(struct hf_str in, struct hf_msg_finish *out,
                                               struct hf_error *err);

/* ---- slice ---- */

/* A slice of the oplog is durable: the head of the job's chain may move. */
struct hf_msg_slice {
    struct hf_id agent;
    char session[HF_SESSION_BYTES];
    struct hf_id task;
    struct hf_id attempt;
    char object[HF_OBJECT_NAME_BYTES]; /* its name: of an object of kind `o` */
    uint64_t lag_s;                    /* from its last entry to the newest committed one */
    uint64_t lag_entries;              /* as many as are known to lie between them */
};
HF_MUST_CHECK enum hf_err hf_msg_slice_encode(const struct hf_msg_slice *slice, struct hf_buf *out,
                                              struct hf_error *err);
/* INVALID also for an object that is no slice. */
HF_MUST_CHECK enum hf_err hf_msg_slice_decode(struct hf_str in, struct hf_msg_slice *out,
                                              struct hf_error *err);
/* It says nothing but that the head has moved, now or when the same call came before. */
HF_MUST_CHECK enum hf_err hf_msg_slice_answer_encode(struct hf_buf *out, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_msg_slice_answer_decode(struct hf_str in, struct hf_error *err);

/* ---- list of objects ---- */

struct hf_msg_object {
    char name[HF_OBJECT_NAME_BYTES];
    uint64_t size_bytes;
};
struct hf_msg_objects {
    struct hf_msg_object *items; /* owned */
    size_t count;
    bool more;
};
void hf_msg_objects_fini(struct hf_msg_objects *objects);
HF_CLEANUP_DEFINE_VALUE(hf_msg_objects_fini, struct hf_msg_objects)
HF_MUST_CHECK enum hf_err hf_msg_objects_encode(const struct hf_msg_objects *objects,
                                                struct hf_buf *out, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_msg_objects_decode(struct hf_str in, struct hf_msg_objects *out,
                                                struct hf_error *err);

/* ---- errors, in the body of every answer that is not a success ---- */

HF_MUST_CHECK enum hf_err hf_msg_error_encode(const struct hf_error *error, struct hf_buf *out,
                                              struct hf_error *err);
/* Fills error from the body; when it is not such a body, by the status, which the message names: 5xx
 * UNAVAILABLE, 429 BUSY, 404 NOT_FOUND..., other 4xx INVALID. */
void hf_msg_error_decode(struct hf_str in, int http_status, struct hf_error *error);

#endif
