/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session that the server gave with its last hello, for all threads of the agent. Knows no call.
 */
#ifndef HF_AGENT_SESSION_H
#define HF_AGENT_SESSION_H

#include <stdbool.h>

#include "base/thread.h"
#include "format/message.h"

/* Any thread. */
struct hf_agent_session {
    struct hf_mutex mutex; /* guards: text */
    char text[HF_SESSION_BYTES];
};
void hf_agent_session_init(struct hf_agent_session *session);
void hf_agent_session_fini(struct hf_agent_session *session);
void hf_agent_session_set(struct hf_agent_session *session, const char text[HF_SESSION_BYTES]);
void hf_agent_session_get(struct hf_agent_session *session, char out[HF_SESSION_BYTES]);
/* A server that was restarted knows no session: the poll loop says hello to it. False when cancelled first. */
HF_MUST_CHECK bool hf_agent_session_wait_for_new(struct hf_agent_session *session,
                                                 const char old[HF_SESSION_BYTES],
                                                 const struct hf_cancel *cancel);

#endif
