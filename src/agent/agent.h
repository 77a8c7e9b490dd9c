/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: it registers at the server, watches the members on its host, and carries out the tasks that it is given.
 * It calls the server, the server never calls it (docs/format/agent-protocol.md).
 */
#ifndef HF_AGENT_AGENT_H
#define HF_AGENT_AGENT_H

#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"

struct hf_agent_options {
    const char *server_url;
    const char *key_file; /* holds the agent key: one line */
    const char *ca_file;  /* PEM; may be NULL */
    const char *state_dir;
    const char *seeds; /* mongodb:// URI or "host:port,host:port" */
    const char *const
        *members; /* "host:port": only these; NULL or empty: those of the seeds that are here */
    size_t member_count;
    const char *user;          /* may be NULL: the URI's */
    const char *password_file; /* may be NULL */
    const char *restore_root;  /* may be NULL: no restores here */
    /* Of restores onto whole sets; each word for all members, or "host:port=" before it for one. */
    const char *const *member_units; /* systemd units */
    size_t member_unit_count;
    const char *const *member_starts; /* command lines */
    size_t member_start_count;
    const char *mongod; /* for recovery; NULL: the member's own, or "mongod" in PATH */
    uint64_t
        restore_patience_ms;   /* for a server that is not heard of in the middle; 0: 10 minutes */
    unsigned workers;          /* 0: one a core */
    unsigned nice;             /* what captures leave to the source: 0 to 19, the most */
    uint64_t rate_bytes_s;     /* of reading; 0: no limit */
    uint64_t patience_ms;      /* for somebody else's backup cursor; 0: 120,000 */
    uint64_t watch_ms;         /* how often the members are asked; 0: 5,000 */
    uint64_t majority_wait_ms; /* for the end of the copied oplog to be committed; 0: 30,000 */
    uint32_t silence_ms;       /* a connection to the server is dead after so long; 0: 60,000 */
    struct hf_log *log;        /* borrowed */
    /* Called once, after the first registration, with a text for people. May be NULL. */
    void (*ready)(const char *text);
};

/*
 * Runs until cancelled: OK then, with every cursor closed and every task told off. CONFLICT when another agent uses the
 * state directory or serves a member; UNAUTHENTICATED when the server does not know the key. A server that cannot be
 * reached is waited for.
 */
HF_MUST_CHECK enum hf_err hf_agent_run(const struct hf_agent_options *options,
                                       const struct hf_cancel *cancel, struct hf_error *err);

#endif
