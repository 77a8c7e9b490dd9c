/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of replication share: the configuration, what is known of each member, the member's own state.
 *
 *   repl.c         life, the coordinator: what is due, commit point, no-ops, a primary alone; write concern
 *   repl_config.c  configurations: reading, storing, initiate and reconfig
 *   repl_vote.c    heartbeats, elections, step-down
 *   repl_sync.c    following another member's oplog, and letting others follow
 *   repl_copy.c    a new member copies all: both sides
 *   repl_status.c  hello, replSetGetStatus, serverStatus
 *
 * One mutex, `state`, guards what may change; the engine's functions may be called under it, the network never.
 */
#ifndef HF_SANDBOX_REPL_INTERNAL_H
#define HF_SANDBOX_REPL_INTERNAL_H

#include "os/clock.h"
#include "sandbox/client.h"
#include "sandbox/engine_internal.h"
#include "sandbox/repl.h"
#include "sandbox/value.h"

#define HF_SANDBOX_MEMBERS_MAX 50
#define HF_SANDBOX_HOST_BYTES 256
#define HF_SANDBOX_CONFIG_NS "local.system.replset"
#define HF_SANDBOX_REPL_BATCH_BYTES (4 << 20) /* of entries in one answer */

struct hf_sandbox_member {
    int32_t id;
    char host[HF_SANDBOX_HOST_BYTES];
    bool arbiter, hidden, self;
    double priority;
    int32_t votes;
};

struct hf_sandbox_config {
    bson_t *doc; /* owned: as stored and shown */
    int64_t version, term;
    size_t count;
    struct hf_sandbox_member members[HF_SANDBOX_MEMBERS_MAX];
    int self; /* -1: not in it */
    uint64_t heartbeat_ms, election_ms;
    int32_t voters, writable_voters, data_members, vote_majority, write_majority;
};

/* What is known of a member, by its place in the configuration; of this one too, from hf_sandbox_repl_advance. */
struct hf_sandbox_view {
    bool up;
    enum hf_sandbox_state state;
    struct hf_sandbox_optime applied, durable;
    int64_t config_version, config_term;
    uint64_t heard_mono_ms; /* last answer to a heartbeat, or a call from it; 0: never */
    uint64_t replied_wall_ms, called_wall_ms, up_since_ms;
    uint64_t election_ts; /* of a primary: when it was elected */
};

struct hf_sandbox_repl {
    struct hf_sandbox_engine *engine;
    const struct hf_sandbox_options *options;
    struct hf_log *log;
    struct hf_cancel stopping;
    bool has_key;
    struct hf_secret key;
    bson_oid_t process_id;

    struct hf_mutex state; /* guards all below */
    struct hf_cond changed;
    struct hf_sandbox_config *config; /* owned; NULL: not initiated */
    struct hf_sandbox_view views[HF_SANDBOX_MEMBERS_MAX];
    enum hf_sandbox_state mine;
    int64_t term, voted_term, won_term; /* highest seen; of the last vote; of its own election */
    int primary;                        /* place in the configuration; -1: none known */
    uint64_t beat_due_ms, election_due_ms, frozen_until_ms, primary_since_ms;
    uint64_t election_ts; /* while primary */
    int64_t topology;
    bool step_down_wanted, step_up_wanted;
    struct hf_sandbox_optime committed_seen; /* the set's majority point as heard */
    const char *election_name;               /* electionCandidateMetrics or ..ParticipantMetrics */
    bson_t *election;                        /* owned: its content; NULL: no election yet */
    uint64_t started_mono_ms;

    struct hf_mutex apply; /* held while a batch is applied, a role changes; before `state` */
    struct hf_thread *coordinator, *syncer;
    struct hf_sandbox_client *peers[HF_SANDBOX_MEMBERS_MAX]; /* owned; the coordinator's */
};

/* ---- repl.c ---- */
/* Under state: the member's state, and everybody who waits for it. */
void hf_sandbox_repl_set_state(struct hf_sandbox_repl *repl, enum hf_sandbox_state state);
/* Under state: somebody has a higher term. */
void hf_sandbox_repl_see_term(struct hf_sandbox_repl *repl, int64_t term);
/* Under state: a primary was heard of: the next election is a while away. */
void hf_sandbox_repl_put_off_election(struct hf_sandbox_repl *repl);
/* Under state: looks at the engine, moves the majority point by what the members have. */
void hf_sandbox_repl_advance(struct hf_sandbox_repl *repl);
/* The majority point; an arbiter's is hearsay. */
struct hf_sandbox_optime hf_sandbox_repl_committed(struct hf_sandbox_repl *repl);
bool hf_sandbox_repl_stopping(const struct hf_sandbox_repl *repl);
struct hf_sandbox_peer hf_sandbox_repl_peer(const struct hf_sandbox_repl *repl, const char *host,
                                            uint64_t timeout_ms);
/* A no-op in the oplog. */
HF_MUST_CHECK enum hf_err hf_sandbox_repl_note(struct hf_sandbox_repl *repl, const bson_t *o,
                                               struct hf_error *err);
/* 0, or INTERNAL_ERROR with err's message. */
int32_t hf_sandbox_repl_result(enum hf_err result, const struct hf_error *err,
                               struct hf_sandbox_refusal *no);

/* ---- repl_config.c ---- */
void hf_sandbox_config_destroy(struct hf_sandbox_config *config);
/* Under state: above 0 when newer than what is in use (term, then version), below when older. */
int hf_sandbox_config_compare(const struct hf_sandbox_repl *repl, int64_t term, int64_t version);
/* Reads, stores and puts it to use, unless it is older; what is known of members that stay is kept. INVALID says what
 * is wrong with it. */
HF_MUST_CHECK enum hf_err hf_sandbox_config_install(struct hf_sandbox_repl *repl, const bson_t *doc,
                                                    struct hf_error *err);
/* From the oplog's newest entry on the history is one's own: noted, and a checkpoint at it. */
HF_MUST_CHECK enum hf_err hf_sandbox_repl_begin_history(struct hf_sandbox_repl *repl,
                                                        struct hf_error *err);
int32_t hf_sandbox_config_initiate(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask);
int32_t hf_sandbox_config_reconfig(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask);

/* ---- repl_vote.c ---- */
void hf_sandbox_vote_beat_all(struct hf_sandbox_repl *repl);
void hf_sandbox_vote_campaign(struct hf_sandbox_repl *repl, const char *reason);
/* From primary to secondary; from anything else nothing. */
void hf_sandbox_vote_step_down(struct hf_sandbox_repl *repl);
HF_MUST_CHECK enum hf_err hf_sandbox_vote_load(struct hf_sandbox_repl *repl, struct hf_error *err);
int32_t hf_sandbox_vote_answer(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask);
int32_t hf_sandbox_vote_answer_beat(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask);
int32_t hf_sandbox_vote_hand_over(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask);

/* ---- repl_sync.c, repl_copy.c ---- */
void hf_sandbox_sync_run(void *repl); /* a thread's whole life */
int32_t hf_sandbox_sync_answer(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask);
HF_MUST_CHECK enum hf_err hf_sandbox_copy_all(struct hf_sandbox_repl *repl, const char *source,
                                              struct hf_error *err);
int32_t hf_sandbox_copy_answer(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask);

/* ---- repl_status.c ---- */
const char *hf_sandbox_state_name(enum hf_sandbox_state state); /* "SECONDARY" */
int32_t hf_sandbox_status_answer(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask);
int32_t hf_sandbox_status_config(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask);

#endif
