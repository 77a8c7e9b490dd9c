/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of replication share: the configuration, what is known of each member, the member's own state.
 *
 *   repl.c         life, the coordinator: elections that are due, commit point, no-ops, a primary alone
 *   repl_config.c  configurations: reading, checking, storing, initiate and reconfig
 *   repl_beat.c    heartbeats, both sides; how a configuration spreads
 *   repl_vote.c    elections, votes, step-down
 *   repl_sync.c    a secondary: fetching, applying, rolling back
 *   repl_copy.c    a new member: copying all
 *   repl_serve.c   the source's side of both, and waiting for a write concern
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

struct hf_sandbox_member {
    int32_t id;
    char host[HF_SANDBOX_HOST_BYTES];
    bool arbiter, hidden, self;
    double priority;
    int32_t votes;
    int64_t delay_s;
};

struct hf_sandbox_config {
    bson_t *doc; /* owned: as stored and shown */
    char set[64];
    int64_t version, term;
    size_t count;
    struct hf_sandbox_member members[HF_SANDBOX_MEMBERS_MAX];
    int self; /* -1: not in it */
    uint64_t heartbeat_ms, election_ms, timeout_ms;
    bool journaled_majority;
    int32_t voters, writable_voters, data_members, vote_majority, write_majority;
};

/* What is known of a member, by its place in the configuration. */
struct hf_sandbox_view {
    bool up;
    enum hf_sandbox_state state;
    struct hf_sandbox_optime applied, durable;
    int64_t term, config_version, config_term;
    uint64_t replied_mono_ms; /* last answer to a heartbeat, or a call from it; 0: never */
    uint64_t replied_wall_ms, called_wall_ms;
    uint64_t up_since_ms;
    uint64_t ping_ms;
    uint64_t election_ts; /* of a primary: when it was elected */
    char source[HF_SANDBOX_HOST_BYTES];
    char message[128];
};

struct hf_sandbox_election { /* for replSetGetStatus */
    bool candidate, participant;
    const char *reason;
    uint64_t at_wall_ms, new_term_wall_ms, new_term_applied_ms, available_wall_ms;
    int64_t term;
    int32_t candidate_id;
    struct hf_sandbox_optime committed, seen, applied;
    double priority;
};

struct hf_sandbox_copy; /* a new member reading (repl_serve.c) */

struct hf_sandbox_repl {
    struct hf_sandbox_engine *engine;
    const struct hf_sandbox_options *options;
    struct hf_log *log;
    struct hf_cancel *shutdown;
    struct hf_cancel stopping;
    bool has_key;
    struct hf_secret key;
    bson_oid_t process_id;

    struct hf_mutex state; /* guards all below */
    struct hf_cond changed;
    struct hf_sandbox_config *config; /* owned; NULL: not initiated */
    struct hf_sandbox_config
        *retired; /* owned list is short: borrowed views may still point here */
    struct hf_sandbox_view views[HF_SANDBOX_MEMBERS_MAX];
    enum hf_sandbox_state mine;
    int64_t term, voted_term;
    int primary; /* place in the configuration; -1: none known */
    uint64_t election_due_ms, frozen_until_ms, primary_since_ms;
    uint64_t election_ts; /* while primary */
    int64_t topology;
    uint64_t beat_generation; /* grows to make all beat at once */
    bool step_down_wanted, restart_wanted, step_up_wanted;
    char source[HF_SANDBOX_HOST_BYTES];      /* whom we sync from */
    struct hf_sandbox_optime committed_seen; /* the set's majority point as heard */
    struct hf_sandbox_election election;
    uint64_t started_mono_ms, last_write_mono_ms;
    struct hf_sandbox_copy *copies;

    struct hf_mutex apply; /* held while a batch is applied, a role changes; before `state` */
    struct hf_thread *coordinator, *syncer;
    struct hf_thread *beaters[HF_SANDBOX_MEMBERS_MAX]; /* coordinator's */
};

/* ---- repl.c ---- */
/* Under state: the member's state, and everybody who waits for it. */
void hf_sandbox_repl_set_state(struct hf_sandbox_repl *repl, enum hf_sandbox_state state);
/* Under state: somebody has a higher term. */
void hf_sandbox_repl_see_term(struct hf_sandbox_repl *repl, int64_t term);
/* Under state: a primary was heard of: the next election is a while away. */
void hf_sandbox_repl_put_off_election(struct hf_sandbox_repl *repl);
/* Under state: moves the majority point by what the members have. */
void hf_sandbox_repl_advance(struct hf_sandbox_repl *repl);
bool hf_sandbox_repl_stopping(const struct hf_sandbox_repl *repl);
const struct hf_secret *hf_sandbox_repl_key_of(const struct hf_sandbox_repl *repl);
/* "SECONDARY" */
const char *hf_sandbox_state_name(enum hf_sandbox_state state);

/* ---- repl_config.c ---- */
/* INVALID says what is wrong; code 93. */
HF_MUST_CHECK enum hf_err hf_sandbox_config_read(struct hf_sandbox_repl *repl, const bson_t *doc,
                                                 struct hf_sandbox_config **out,
                                                 struct hf_error *err);
void hf_sandbox_config_destroy(struct hf_sandbox_config *config);
/* Under state: newer than what is in use? (term, then version) */
bool hf_sandbox_config_is_newer(const struct hf_sandbox_repl *repl, int64_t term, int64_t version);
/* Stores and puts it to use, what is known of members that stay is kept. */
HF_MUST_CHECK enum hf_err hf_sandbox_config_install_take(struct hf_sandbox_repl *repl,
                                                         struct hf_sandbox_config *config,
                                                         struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_sandbox_config_load(struct hf_sandbox_repl *repl,
                                                 struct hf_error *err);
/* The local collections a member has, made where they are missing. */
HF_MUST_CHECK enum hf_err hf_sandbox_repl_make_local(struct hf_sandbox_repl *repl,
                                                     struct hf_error *err);
/* A no-op in the oplog. */
HF_MUST_CHECK enum hf_err hf_sandbox_repl_note(struct hf_sandbox_repl *repl, const bson_t *o,
                                               struct hf_error *err);

/* ---- repl_beat.c ---- */
void hf_sandbox_beat_run(struct hf_sandbox_repl *repl, size_t place);
int32_t hf_sandbox_beat_answer(struct hf_sandbox_repl *repl, const bson_t *command, bson_t *reply,
                               struct hf_sandbox_refusal *no);

/* ---- repl_vote.c ---- */
void hf_sandbox_vote_campaign(struct hf_sandbox_repl *repl, const char *reason);
int32_t hf_sandbox_vote_answer(struct hf_sandbox_repl *repl, const bson_t *command, bson_t *reply,
                               struct hf_sandbox_refusal *no);
/* From primary to secondary; from anything else nothing. */
void hf_sandbox_vote_step_down(struct hf_sandbox_repl *repl, int64_t term);
HF_MUST_CHECK enum hf_err hf_sandbox_vote_load(struct hf_sandbox_repl *repl, struct hf_error *err);

/* ---- repl_sync.c, repl_copy.c ---- */
void hf_sandbox_sync_run(struct hf_sandbox_repl *repl);
HF_MUST_CHECK enum hf_err hf_sandbox_copy_all(struct hf_sandbox_repl *repl, const char *source,
                                              struct hf_error *err);

/* ---- repl_serve.c ---- */
int32_t hf_sandbox_serve_oplog(struct hf_sandbox_repl *repl, const bson_t *command, bson_t *reply,
                               const struct hf_cancel *cancel, struct hf_sandbox_refusal *no);
int32_t hf_sandbox_serve_copy_open(struct hf_sandbox_repl *repl, bson_t *reply,
                                   struct hf_sandbox_refusal *no);
int32_t hf_sandbox_serve_copy_next(struct hf_sandbox_repl *repl, const bson_t *command,
                                   bson_t *reply, struct hf_sandbox_refusal *no);
void hf_sandbox_serve_copy_close(struct hf_sandbox_repl *repl, int64_t id);
/* Ends those that nobody asked for in a minute; all when asked. */
void hf_sandbox_serve_reap(struct hf_sandbox_repl *repl, bool all);

#endif
