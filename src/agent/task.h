/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kinds of work an agent does, each a function from a task to the message that ends it.
 */
#ifndef HF_AGENT_TASK_H
#define HF_AGENT_TASK_H

#include "agent/session.h"
#include "agent/state.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/secret.h"
#include "base/thread.h"
#include "format/message.h"
#include "mongo/client.h"
#include "store/store.h"

struct hf_agent_targets; /* members in restores onto their sets: see target.h */

/* What every task of an agent works with; borrowed, outlives the task. */
struct hf_agent_context {
    const char *server_url;
    const char *ca_file;
    const struct hf_secret *bearer;
    struct hf_agent_session *session;
    const char *restore_root; /* NULL: none */
    const char *mongod; /* the program for recovery; NULL: the member's own, or "mongod" in PATH */
    struct hf_mongo_options mongo;
    struct hf_agent_state *state;
    struct hf_log *log;
    unsigned workers;
    unsigned nice; /* of a capture's threads */
    uint64_t rate_bytes_s;
    uint32_t patience_ms;      /* for somebody else's backup cursor; 0: the default */
    uint64_t majority_wait_ms; /* unless the task says; 0: the default */
    uint32_t silence_ms;       /* of a connection to the server; 0: the default */
    /* Of restores onto sets. Each word is for all members, or "host:port=" before it for one. */
    const char *const *member_units; /* systemd units */
    size_t member_unit_count;
    const char *const *member_starts; /* command lines, for the shell */
    size_t member_start_count;
    struct hf_agent_targets *targets;
};

struct hf_agent_work {
    const struct hf_agent_context *context;
    const struct hf_task *task;
    struct hf_progress *progress;
    const struct hf_cancel *cancel;
};

/*
 * Opens the cursor, captures, waits for oplogEnd to be committed, closes. On success *finish has facts, root and
 * adopted; else the error says what failed, and no cursor of ours is open as far as the member can be reached.
 */
HF_MUST_CHECK enum hf_err hf_agent_capture(const struct hf_agent_work *work,
                                           struct hf_msg_finish *finish, struct hf_error *err);
/* Restores into task->restore.directory, which must lie below context->restore_root. */
HF_MUST_CHECK enum hf_err hf_agent_restore(const struct hf_agent_work *work,
                                           struct hf_msg_finish *finish, struct hf_error *err);

/* One step of a restore onto a whole set, at a member of this host. */
HF_MUST_CHECK enum hf_err hf_agent_target(const struct hf_agent_work *work,
                                          struct hf_msg_finish *finish, struct hf_error *err);
/*
 * Looks after members whose restore has lost its server: what was only stopped is started again after the patience, what
 * was told to start is started, a way back that was begun is gone to its end. Runs a thread of its own.
 */
HF_MUST_CHECK enum hf_err hf_agent_targets_start(const struct hf_agent_context *context,
                                                 uint64_t patience_ms,
                                                 struct hf_agent_targets **out,
                                                 struct hf_error *err);
void hf_agent_targets_stop(struct hf_agent_targets *targets);
HF_CLEANUP_DEFINE(hf_agent_targets_stop, struct hf_agent_targets *)
/* The server has answered just now. */
void hf_agent_targets_heard(struct hf_agent_targets *targets);

/*
 * Saves the member's oplog from task->tail.start on, and tells the server of each slice that is durable. Never succeeds: it
 * ends CANCELLED; UNAVAILABLE when the member was away for too long; CONFLICT when another tailer was first; LOST when the
 * server no longer wants it. A server or a store that is away is waited for.
 */
HF_MUST_CHECK enum hf_err hf_agent_tail(const struct hf_agent_work *work, struct hf_error *err);

/*
 * The store behind the server, with the rights of the task. cancel (borrowed, outlives the store) ends its waits; retry_ms:
 * how long a call is tried again, 0: the driver's default. The caller closes the store.
 */
HF_MUST_CHECK enum hf_err hf_agent_store_open(const struct hf_agent_work *work,
                                              const struct hf_cancel *cancel, uint64_t retry_ms,
                                              struct hf_store **out, struct hf_error *err);

/*
 * Closes the cursors on the member (NULL: on all) that this agent opened and could not close, in an earlier life or
 * because the member did not answer, and forgets their notes. A member that does not answer keeps its note: the next
 * capture tries again (and its server closes the cursor by itself in time). Nobody else's cursor is touched.
 */
void hf_agent_close_leftovers(const struct hf_agent_context *context, const char *member);

/* DENIED, INVALID: the directory is not below root (symbolic links resolved), or not absolute. For tests and the task. */
HF_MUST_CHECK enum hf_err hf_agent_check_directory(const char *root, const char *directory,
                                                   struct hf_error *err);

#endif
