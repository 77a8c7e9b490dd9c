/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The running server's parts, for siblings.
 */
#ifndef HF_SERVER_SERVER_INTERNAL_H
#define HF_SERVER_SERVER_INTERNAL_H

#include <stdatomic.h>

#include "server/agents.h"
#include "server/app.h"
#include "server/auth.h"
#include "server/call.h"
#include "server/passes.h"
#include "server/pool.h"
#include "server/refusals.h"
#include "server/rights.h"
#include "server/roles.h"
#include "server/rounds.h"
#include "server/server.h"
#include "server/shares.h"
#include "server/waiting.h"

struct hf_server {
    struct hf_server_app app;
    struct hf_cancel
        stop; /* app.cancel: requested once the caller's is, or this server must not go on */
    const struct hf_server_options *options; /* borrowed */
    uint64_t started_ms;                     /* monotonic */
    struct hf_server_auth *auth;
    struct hf_server_agents *agents;
    struct hf_server_rights *rights;     /* of tasks on objects */
    struct hf_server_shares *shares;     /* of the memory for what is on its way */
    struct hf_server_refusals *refusals; /* for the log */
    struct hf_server_waiting *waiting;
    struct hf_server_pool *api;     /* calls of people and programs, and agents' messages */
    struct hf_server_pool *objects; /* agents' objects */
    struct hf_server_pool *work;    /* finishing captures */
    struct hf_server_pool *upkeep;  /* of the store: hours each */
    struct hf_server_pool *streams; /* downloads and verifications: minutes or hours each */
    struct hf_http_server *http;
    atomic_ullong agent_requests, api_requests;
    struct hf_server_passes passes;
    struct hf_rounds rounds;
    char url[512];                /* "http://127.0.0.1:8080" */
    char central_url[256];        /* as agents and people reach it; empty: `url` */
    atomic_bool resuming;         /* hf_flow_resume waits or runs */
    atomic_bool jobs_running;     /* hf_flow_jobs_tick waits or runs */
    atomic_bool mailing, posting; /* hf_notify_pass waits or runs */
    atomic_bool alerting;         /* hf_alerts_pass waits or runs */
    atomic_bool merging;          /* hf_flow_merge_tick waits or runs */
    atomic_uint upkeeping;        /* hf_flow_upkeep_tick waits or runs, so many times */
    atomic_bool checking;         /* hf_flow_check_tick waits or runs */
};

/* ---- Routes ---- */

enum hf_route_kind { HF_ROUTE_API, HF_ROUTE_STREAM };

struct hf_route {
    const char *method;
    const char *path; /* "*" stands for one segment */
    void (*run)(struct hf_server_call *call);
    enum hf_route_kind kind;
    enum hf_right right; /* what it needs */
};
extern const struct hf_route hf_server_routes[];
extern const size_t hf_server_route_count;

/* What waiting polls are woken with. */
struct hf_server_waiting_options hf_server_front_waiting(struct hf_server *server);
/* The callbacks for the HTTP server. */
struct hf_http_handler hf_server_front(struct hf_server *server);

/* An agent's call on an object; answers the request. */
struct hf_server_object_work {
    struct hf_server *server;
    struct hf_http_request *request;
    struct hf_id project;
};
void hf_server_object_run(struct hf_server_object_work *work);
/* For a PUT whose body is still to come: the refusal that it would meet. */
HF_MUST_CHECK enum hf_err hf_server_object_may_put(struct hf_server *server,
                                                   const struct hf_http_request *request,
                                                   const struct hf_id *project,
                                                   struct hf_error *err);
/* The largest body that a PUT of that path may have. */
uint64_t hf_server_object_max_bytes(struct hf_str path);
/* The request holds so much more until it is over. BUSY when its task, or its sender, holds too much already. */
HF_MUST_CHECK enum hf_err hf_server_front_charge(struct hf_server *server,
                                                 struct hf_http_request *request, uint64_t bytes,
                                                 struct hf_error *err);
/* Answers an agent's call with the protocol's error body. */
void hf_server_agent_error(struct hf_http_request *request, const struct hf_error *err);

/* Hands a task that the agent has finished to a worker. */
void hf_server_finish_later(struct hf_server *server, const struct hf_id *task);

/* Archives that were downloaded and have no hash yet, because the server stopped: made on a thread of the streams. */
void hf_server_hash_downloads(struct hf_server *server);

/* ---- Start ---- */

/* Catalog, project, store, keys: made on the first start, opened on the later ones. *news gets text about what was made
 * (empty on later starts). */
HF_MUST_CHECK enum hf_err hf_server_open(struct hf_server *server, struct hf_buf *news,
                                         struct hf_error *err);
/* Writes the address into the files that need it, once it is known. */
HF_MUST_CHECK enum hf_err hf_server_publish_url(struct hf_server *server, struct hf_buf *news,
                                                struct hf_error *err);

#endif
