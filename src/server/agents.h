/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agents' side of the server (docs/format/agent-protocol.md), without HTTP: a message in, an answer out.
 *
 * A session is known by its hash in the agent's record: any server of the catalog takes it, after a restart too. The next
 * hello of the agent ends it.
 */
#ifndef HF_SERVER_AGENTS_H
#define HF_SERVER_AGENTS_H

#include "format/message.h"
#include "server/app.h"

struct hf_server_agents;

HF_MUST_CHECK enum hf_err hf_server_agents_create(struct hf_server_app *app,
                                                  struct hf_server_agents **out,
                                                  struct hf_error *err);
void hf_server_agents_destroy(struct hf_server_agents *agents);
HF_CLEANUP_DEFINE(hf_server_agents_destroy, struct hf_server_agents *)

/* project: of the key that came with the call. The answer is appended to out. */
HF_MUST_CHECK enum hf_err hf_server_agents_hello(struct hf_server_agents *agents,
                                                 const struct hf_id *project, struct hf_str body,
                                                 struct hf_buf *out, struct hf_error *err);

/*
 * Notes what the poll says. *quiet is true when there is nothing to tell the agent: the caller may keep the request for
 * wait_ms and ask hf_server_agents_answer again when the agent was notified; else the answer stands in out.
 */
struct hf_server_poll {
    struct hf_id agent;
    uint64_t wait_ms;
    struct hf_id named[HF_MESSAGE_TASKS_MAX]; /* tasks that the agent runs, with their attempts */
    struct hf_id attempts[HF_MESSAGE_TASKS_MAX];
    size_t named_count;
};
HF_MUST_CHECK enum hf_err hf_server_agents_poll(struct hf_server_agents *agents,
                                                const struct hf_id *project, struct hf_str body,
                                                struct hf_server_poll *poll, bool *quiet,
                                                struct hf_buf *out, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_server_agents_answer(struct hf_server_agents *agents,
                                                  const struct hf_server_poll *poll, bool *quiet,
                                                  struct hf_buf *out, struct hf_error *err);

/* The end of a task is noted. *task is to be finished by hf_flow_finish when *fresh. */
HF_MUST_CHECK enum hf_err hf_server_agents_finish(struct hf_server_agents *agents,
                                                  const struct hf_id *project, struct hf_str body,
                                                  struct hf_id *task, bool *fresh,
                                                  struct hf_error *err);

/* A slice is durable: the head of its job's chain moves. */
HF_MUST_CHECK enum hf_err hf_server_agents_slice(struct hf_server_agents *agents,
                                                 const struct hf_id *project, struct hf_str body,
                                                 struct hf_id *task, struct hf_buf *out,
                                                 struct hf_error *err);

#endif
