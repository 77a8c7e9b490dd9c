/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of a running server share. Made once at start, torn down last; any thread may use what is in it.
 */
#ifndef HF_SERVER_APP_H
#define HF_SERVER_APP_H

#include <stdatomic.h>

#include "backup/alert.h"
#include "backup/groom.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "catalog/catalog.h"
#include "format/storemark.h"
#include "format/wrapped.h"
#include "server/heard.h"
#include "server/links.h"
#include "server/server.h"
#include "store/store.h"

#define HF_SERVER_ENDING_MAX 64

struct hf_fleet;          /* fleet.h */
struct hf_points_cache;   /* points.h */
struct hf_rounds;         /* rounds.h */
struct hf_store_registry; /* stores_internal.h */
struct hf_settings;       /* settings.h */

/* The server's periodic work, as alerts know it. */
enum hf_server_work {
    HF_SERVER_RESUMES,
    HF_SERVER_TAILS,
    HF_SERVER_SCHEDULES,
    HF_SERVER_MOVES_JOBS,
    HF_SERVER_KEEPS_STORES,
    HF_SERVER_ALERTS,
    HF_SERVER_MAILS,
    HF_SERVER_POSTS,
};
#define HF_SERVER_WORKS 8
struct hf_server_work_state {
    uint64_t failures; /* rounds in a row */
    char error[HF_ALERT_TEXT_BYTES];
};
/* Calls of an agent (what am I to do?) that this server answered with an error, in a row. */
struct hf_server_failed_calls {
    struct hf_id agent; /* none: a free place */
    uint64_t count;
    char error[512];
};
#define HF_SERVER_FAILED_CALLS_MAX 64
struct hf_server_alerts {
    struct hf_notify_options notify;
    struct hf_alert_limits limits;
    uint64_t repeat_s;    /* an alert that is open is told again so often; 0: once */
    const char *data_dir; /* borrowed; NULL: its disk is not looked at */
    char host[256];
};

struct hf_server_app {
    struct hf_log *log;             /* borrowed */
    const struct hf_cancel *cancel; /* borrowed: the server stops */
    struct hf_catalog *catalog;     /* owned */
    struct hf_store_registry
        *stores; /* owned; NULL: an app put together by hand, of the next two */
    struct hf_store
        *store; /* borrowed; of --store, NULL: it was not there at the start. For stores.c alone */
    struct hf_store *oplog_store;   /* the same of --oplog-store, or `store` */
    struct hf_points_cache *points; /* owned; NULL: every list reads every header */
    struct hf_storemark mark;       /* of `store` */
    struct hf_store_key key;        /* the same; zero for a store without encryption */
    /* What the first start made: of documents from before there were several, and of what no project is behind. */
    struct hf_id first_project;
    struct hf_id first_org;       /* of projects that name none */
    struct hf_settings *settings; /* borrowed; NULL: the fields say what is obeyed */
    _Atomic uint64_t
        oplog_kept_s;   /* any second of so long stays restorable; 0: slices are never deleted */
    uint64_t pruned_ms; /* monotonic; of the periodic work alone */
    bool pruning;       /* the same: a round over all jobs has begun */
    struct hf_rounds *rounds; /* borrowed; NULL: every round is one over all */
    _Atomic uint64_t
        oplog_window_min_s; /* the source's oplog should reach back so far; 0: it is not looked at */
    uint64_t oplog_check_s; /* a job's stored oplog is checked so often; 0: only by hand */
    atomic_bool checking;   /* one check at a time */
    uint64_t
        provision_threshold_bytes; /* a new job with more data waits for approval; 0: none does */
    bool first_snapshot;           /* of a new job: taken by itself */
    uint64_t oplog_age_s;          /* of a slice; 0: the agents' default */
    bool schedules;                /* snapshots are taken by themselves */
    uint64_t snapshots_at_once, snapshots_per_host; /* by themselves; per host 0: no such limit */
    uint64_t snapshots_per_store;                   /* the same; 0: no such limit */
    uint64_t queue_seen_revision, queue_seen_ms;    /* of the periodic work alone; flow_queue.c */
    struct hf_queue_idle {
        uint64_t waiting, running, since_ms;
    } queue_idle;                                                /* the same */
    uint64_t jobs_counted, schedules_opened_ms, schedule_seen_s; /* of the periodic work alone */
    bool clocks_disagree;                                        /* the same; it was said */
    uint64_t task_silence_s; /* after which a task is given up */
    struct hf_server_heard
        *heard; /* owned: who was heard of, and when; NULL: silence is not looked for */
    struct hf_server_links *links; /* owned: deliveries by HTTP; NULL where none are made */
    uint64_t
        capture_limit_bytes; /* what one attempt may put, whatever its agent says; 0: no such limit */
    struct hf_upkeep_policy upkeep;
    unsigned upkeep_slots; /* works on the store at a time, at most HF_UPKEEP_SLOTS_MAX */
    struct hf_server_alerts alerts;
    uint64_t event_days;         /* events are kept so long; 0: until there are too many */
    struct hf_mutex works_mutex; /* guards: works, failed_calls, unrendered */
    struct hf_server_work_state works[HF_SERVER_WORKS];
    struct hf_server_failed_calls failed_calls[HF_SERVER_FAILED_CALLS_MAX];
    char unrendered[HF_ALERT_TEXT_BYTES]; /* why the template gave no body when it was last used */
    uint64_t unrendered_version;          /* of the template then */
    struct hf_id process;                 /* drawn at start: holds slots */
    struct hf_fleet *fleet;               /* owned; NULL: no other process uses the catalog */
    atomic_bool upkeep_wanted;            /* somebody asked for work: the next beat looks */
    /* Called when there may be something to tell this agent. May be NULL. */
    void (*notify)(void *context, const struct hf_id *agent);
    void *notify_context;
    /* Tasks whose end this process works on: a resume beside it would only do the same work twice. */
    struct hf_mutex ending_mutex; /* guards: ending, ending_count */
    struct hf_id ending[HF_SERVER_ENDING_MAX];
    size_t ending_count;
};

#endif
