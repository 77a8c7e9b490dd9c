/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A member of a replica set: configuration, state, elections, what others have, and the point that a majority has.
 *
 * The command layer asks here and fills its replies; the engine stores. Any thread.
 */
#ifndef HF_SANDBOX_REPL_H
#define HF_SANDBOX_REPL_H

#include "base/secret.h"
#include "sandbox/engine.h"
#include "sandbox/options.h"

struct hf_sandbox_repl;

enum hf_sandbox_state { /* MemberState, as replSetGetStatus numbers them */
                        HF_SANDBOX_STARTUP = 0,
                        HF_SANDBOX_PRIMARY = 1,
                        HF_SANDBOX_SECONDARY = 2,
                        HF_SANDBOX_RECOVERING = 3,
                        HF_SANDBOX_STARTUP2 = 5,
                        HF_SANDBOX_UNKNOWN = 6,
                        HF_SANDBOX_ARBITER = 7,
                        HF_SANDBOX_DOWN = 8,
                        HF_SANDBOX_REMOVED = 10,
};

/* Without --replSet too: then it answers as a standalone does. The caller stops it also after a failure. */
HF_MUST_CHECK enum hf_err hf_sandbox_repl_start(struct hf_sandbox_engine *engine,
                                                const struct hf_sandbox_options *options,
                                                struct hf_log *log, struct hf_sandbox_repl **out,
                                                struct hf_error *err);
/* Steps down if it is primary, joins the threads. NULL does nothing. */
void hf_sandbox_repl_stop(struct hf_sandbox_repl *repl);

bool hf_sandbox_repl_enabled(const struct hf_sandbox_repl *repl); /* --replSet was given */
enum hf_sandbox_state hf_sandbox_repl_state(struct hf_sandbox_repl *repl);
/* Writes are taken: a primary, or a standalone. */
bool hf_sandbox_repl_writable(struct hf_sandbox_repl *repl);
/* Reads are taken with secondaryOk: primary, secondary, standalone. */
bool hf_sandbox_repl_readable(struct hf_sandbox_repl *repl);
int64_t hf_sandbox_repl_term(struct hf_sandbox_repl *repl);
/* The key file without white space; NULL: none. */
const struct hf_secret *hf_sandbox_repl_key(const struct hf_sandbox_repl *repl);

/* From topologyVersion to lastWrite of hello (legacy: isMaster, `ismaster` and no isWritablePrimary); on a standalone
 * too. The rest (maxBsonObjectSize on) is the caller's. */
void hf_sandbox_repl_append_hello(struct hf_sandbox_repl *repl, bool legacy, bson_t *reply);
/* The `repl` section of serverStatus; nothing on a standalone. */
void hf_sandbox_repl_append_server_status(struct hf_sandbox_repl *repl, bson_t *reply);
/* topologyVersion alone: errors for "not primary" carry it. */
void hf_sandbox_repl_append_topology(struct hf_sandbox_repl *repl, bson_t *reply);
/* Awaitable hello: true once the topology differs from what the client knows (processId and counter), false at the
 * time-out or when cancelled. */
bool hf_sandbox_repl_wait_topology(struct hf_sandbox_repl *repl, const bson_t *known,
                                   uint64_t timeout_ms, const struct hf_cancel *cancel);

struct hf_sandbox_ask {
    const char *name; /* replSetGetStatus, .. and the commands between members */
    const bson_t *command;
    bson_t *reply; /* gets all but `ok`, errmsg and the cluster's time */
    const struct hf_cancel *cancel;
    struct hf_sandbox_refusal *no;
};
/* One of those that only members send each other. */
bool hf_sandbox_repl_is_member_command(const char *name);
/* A command about replication: 0 or MongoDB's code. */
int32_t hf_sandbox_repl_command(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask);

struct hf_sandbox_write_concern {
    int32_t w;           /* members; 0 counts as 1 here */
    bool majority;       /* w: "majority" */
    bool journal;        /* j: true */
    uint64_t timeout_ms; /* 0: none */
};
/* Waits until the optime is where the concern asks for. 0; 64 (time-out); 100 (more members than there are); 10107 when
 * it stops being primary meanwhile; 11600 at shutdown. */
int32_t hf_sandbox_repl_await(struct hf_sandbox_repl *repl, struct hf_sandbox_optime optime,
                              const struct hf_sandbox_write_concern *concern,
                              const struct hf_cancel *cancel, struct hf_sandbox_refusal *no);

#endif
