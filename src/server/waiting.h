/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Polls that wait: kept requests, each of one agent, until the agent is notified, the wait is over or the client goes.
 * A thousand of them cost no thread.
 */
#ifndef HF_SERVER_WAITING_H
#define HF_SERVER_WAITING_H

#include "net/http_server.h"
#include "server/agents.h"

struct hf_server_waiting;

/* wake is called, outside of locks, with a request that is off the list and owes its answer. */
struct hf_server_waiting_options {
    void (*wake)(void *context, struct hf_http_request *request, const struct hf_server_poll *poll);
    void *context;
};
HF_MUST_CHECK enum hf_err hf_server_waiting_create(const struct hf_server_waiting_options *options,
                                                   struct hf_server_waiting **out,
                                                   struct hf_error *err);
/* The list must be empty: the HTTP server was stopped before. */
void hf_server_waiting_destroy(struct hf_server_waiting *waiting);

/* Number of notifications so far: read it before looking for something to tell. */
uint64_t hf_server_waiting_mark(struct hf_server_waiting *waiting);
/* False when the agent was notified since mark: look again. Else the request waits for poll->wait_ms. No room is false too. */
HF_MUST_CHECK bool hf_server_waiting_add(struct hf_server_waiting *waiting,
                                         struct hf_http_request *request,
                                         const struct hf_server_poll *poll, uint64_t mark);
/* There may be something for this agent (NULL: for all). */
void hf_server_waiting_notify(struct hf_server_waiting *waiting, const struct hf_id *agent);
/* Wakes those whose wait is over. Called every fraction of a second. */
void hf_server_waiting_expire(struct hf_server_waiting *waiting, uint64_t now_ms);
/* Takes the request off the list: true when it was on it, and *poll is filled; then its answer is the caller's. */
HF_MUST_CHECK bool hf_server_waiting_take(struct hf_server_waiting *waiting,
                                          const struct hf_http_request *request,
                                          struct hf_server_poll *poll);

#endif
