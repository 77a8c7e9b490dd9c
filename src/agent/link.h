/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's calls to the server: hello, poll, slice, finish. Each is sent again while the server cannot be reached: every
 * one may come twice. Knows no task's content.
 */
#ifndef HF_AGENT_LINK_H
#define HF_AGENT_LINK_H

#include "base/error.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/thread.h"
#include "format/message.h"

struct hf_agent_link;

struct hf_agent_link_options {
    const char *server_url;         /* borrowed: outlives the link */
    const char *ca_file;            /* borrowed; may be NULL */
    const struct hf_secret *bearer; /* borrowed */
    const struct hf_cancel *cancel; /* borrowed: ends every wait */
    uint32_t silence_ms; /* a call is over after so long beyond its wait; 0, or at most: 30,000 */
    struct hf_log *log;  /* borrowed */
};

/* One link serves one thread. */
HF_MUST_CHECK enum hf_err hf_agent_link_create(const struct hf_agent_link_options *options,
                                               struct hf_agent_link **out, struct hf_error *err);
void hf_agent_link_destroy(struct hf_agent_link *link);
HF_CLEANUP_DEFINE(hf_agent_link_destroy, struct hf_agent_link *)

/* Until the server answers. Errors that time does not heal (UNAUTHENTICATED, CONFLICT, UNSUPPORTED…) come back. */
HF_MUST_CHECK enum hf_err hf_agent_link_hello(struct hf_agent_link *link,
                                              const struct hf_msg_hello *hello,
                                              struct hf_msg_hello_answer *answer,
                                              struct hf_error *err);
/* Once: the caller's loop tries again. CANCELLED also when interrupt was requested: what the lost answer brought comes
 * again. */
HF_MUST_CHECK enum hf_err hf_agent_link_poll(struct hf_agent_link *link,
                                             const struct hf_msg_poll *poll,
                                             const struct hf_cancel *interrupt,
                                             struct hf_msg_poll_answer *answer,
                                             struct hf_error *err);
/* Until the server answers, or limit_ms (0: none) is over. NOT_FOUND and LOST: the server no longer wants it. */
HF_MUST_CHECK enum hf_err hf_agent_link_finish(struct hf_agent_link *link,
                                               const struct hf_msg_finish *finish,
                                               uint64_t limit_ms, struct hf_error *err);
/* Until the server answers. NOT_FOUND and LOST: it no longer wants the task; CONFLICT: another tailer was first. */
HF_MUST_CHECK enum hf_err hf_agent_link_slice(struct hf_agent_link *link,
                                              const struct hf_msg_slice *slice,
                                              struct hf_error *err);

#endif
