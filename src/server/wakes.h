/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one server has for an agent that waits at another: each server has a document with the agents that it called last, and
 * the others read it. Lost calls cost time, no work: an agent's poll ends after half a minute anyway. Knows no server's state.
 */
#ifndef HF_SERVER_WAKES_H
#define HF_SERVER_WAKES_H

#include "base/thread.h"
#include "server/app.h"

#define HF_WAKES_KEPT 64
#define HF_WAKES_SERVERS 64

struct hf_wakes {
    struct hf_mutex mutex; /* guards: called, kept, told */
    uint64_t called;       /* agents, since the process began */
    uint64_t told;         /* of these, in the catalog */
    struct hf_id kept[HF_WAKES_KEPT];
    /* Of the thread that reads alone: how many calls of which process were heard. */
    struct hf_wakes_heard {
        struct hf_id process;
        uint64_t called;
    } heard[HF_WAKES_SERVERS];
    size_t heard_count;
};

void hf_wakes_init(struct hf_wakes *wakes);
void hf_wakes_fini(struct hf_wakes *wakes);
/* Any thread. */
void hf_wakes_call(struct hf_wakes *wakes, const struct hf_id *agent);
/* Writes what was called since; reads what others called, and notifies. Failures cost time alone. One thread. */
void hf_wakes_exchange(struct hf_wakes *wakes, struct hf_server_app *app,
                       const struct hf_id *server);

#endif
