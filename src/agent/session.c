/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One text behind a mutex. Who waits for another one looks now and then: it comes with a hello, seconds later.
 */
#include "agent/session.h"

#include <string.h>

#define PAUSE_MS 100

void hf_agent_session_init(struct hf_agent_session *session)
{
    hf_mutex_init(&session->mutex);
    session->text[0] = '\0';
}

void hf_agent_session_fini(struct hf_agent_session *session)
{
    hf_mutex_fini(&session->mutex);
}

void hf_agent_session_set(struct hf_agent_session *session, const char text[HF_SESSION_BYTES])
{
    HF_LOCKED(&session->mutex);
    memcpy(session->text, text, HF_SESSION_BYTES);
}

void hf_agent_session_get(struct hf_agent_session *session, char out[HF_SESSION_BYTES])
{
    HF_LOCKED(&session->mutex);
    memcpy(out, session->text, HF_SESSION_BYTES);
}

bool hf_agent_session_wait_for_new(struct hf_agent_session *session,
                                   const char old[HF_SESSION_BYTES], const struct hf_cancel *cancel)
{
    while (!hf_cancel_requested(cancel)) {
        char now[HF_SESSION_BYTES];
        hf_agent_session_get(session, now);
        if (strcmp(now, old) != 0) {
            return true;
        }
        hf_cancel_sleep(cancel, PAUSE_MS);
    }
    return false;
}
