/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server: API, agents' protocol, ingest and the life of snapshots, over one catalog and one store.
 */
#ifndef HF_SERVER_SERVER_H
#define HF_SERVER_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"

/* Who is told of alerts; NULL: not that way. Secrets are in files, read when they are needed. */
struct hf_notify_options {
    const char *smtp_url, *smtp_from, *smtp_user, *smtp_password_file, *smtp_ca_file;
    const char *const *smtp_to;
    size_t smtp_to_count;
    const char *webhook_url, *webhook_secret_file, *webhook_ca_file;
    const char *const *webhook_headers; /* "Name: value", "Name: @file with the value" */
    size_t webhook_header_count;
    const char *webhook_template_file; /* of the bodies; NULL: the usual one */
    bool no_private_webhooks;          /* addresses of private networks are refused */
};

struct hf_settings; /* settings.h */

struct hf_server_options {
    const char *data_dir;
    const char *store_url;
    const char *oplog_store_url; /* NULL: the slices go to the snapshot store */
    const char *listen;          /* "host:port"; port 0: the system picks */
    const char *name;            /* among the servers of the catalog; NULL: `listen` */
    uint64_t server_silence_s;   /* after which another server is taken for dead; 0: 30 */
    const char *tls_cert;        /* PEM files; NULL or both */
    const char *tls_key;
    const char *project;         /* name of the project that a first start makes; NULL: "default" */
    bool plain_http;             /* other hosts are served without TLS */
    bool plain_store;            /* a new store is made without encryption */
    uint64_t task_silence_s;     /* 0: 300 */
    uint64_t oplog_kept_s;       /* 0: slices are never deleted */
    uint64_t groom_every_s;      /* a job is groomed at most so often; 0: never by itself */
    uint64_t check_every_s;      /* a job's snapshots are checked so often; 0: never by itself */
    unsigned upkeep_slots;       /* works on the store at a time; 0: 1 */
    uint64_t oplog_window_min_s; /* the source's oplog should reach back so far; 0: any will do */
    uint64_t oplog_check_s;      /* the stored oplog is checked so often; 0: never */
    uint64_t oplog_age_s;        /* a slice is closed when its first write is so old; 0: 10 */
    uint64_t
        provision_threshold_bytes; /* a new job with more data waits for approval; 0: none does */
    struct {
        uint64_t check_s;      /* alerts are looked for so often; 0: 60 */
        uint64_t repeat_s;     /* one that is open is told again so often; 0: once */
        uint64_t agent_down_s; /* 0: never an alert, as the next two */
        uint64_t server_down_s;
        uint64_t aborted_snapshots;
        uint64_t space_used_percent; /* 100: never */
        uint64_t disk_free_percent;  /* 0: never */
    } alerts;
    const struct hf_notify_options *notify; /* borrowed; NULL: nobody is told of alerts */
    struct hf_settings *settings;   /* borrowed; those of settings.h win over the fields here */
    uint64_t event_days;            /* events are kept so long; 0: until there are many */
    const char *metrics_token_file; /* for others than this host; NULL: they may not */
    bool no_first_snapshot;         /* a new job's first snapshot is left to whoever asks for it */
    bool schedules;               /* snapshots are taken by themselves, as each job's policy says */
    uint64_t snapshots_at_once;   /* of these, in all */
    uint64_t snapshots_per_host;  /* and of the members of one host; 0: no such limit */
    uint64_t snapshots_per_store; /* and into one store; 0: no such limit */
    uint64_t capture_limit_bytes; /* most that one attempt may put; 0: by the member's data alone */
    unsigned workers;             /* threads for objects; 0: by cores */
    const char *
        profile_path; /* where a first start puts a copy of the command line's profile; NULL: nowhere */
    struct hf_log *log;
    /* Called once, when the server listens, with text for people (several lines after a first start). May be NULL. */
    void (*ready)(const char *text);
};

/*
 * Runs until cancelled: OK then. Several may run on one data directory, each with a name and an address of its own: CONFLICT
 * when one of the two is taken, a server of an earlier release uses the directory, or another process took our name while
 * this one was silent.
 */
HF_MUST_CHECK enum hf_err hf_server_run(const struct hf_server_options *options,
                                        const struct hf_cancel *cancel, struct hf_error *err);

#endif
