/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent knows of the members that it serves: asked again and again by a thread of its own, read by the polls.
 */
#ifndef HF_AGENT_WATCH_H
#define HF_AGENT_WATCH_H

#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "format/message.h"
#include "mongo/client.h"

struct hf_agent_watch;

struct hf_agent_watch_options {
    const char *seeds; /* borrowed, as all here: outlives the watch */
    const char *const
        *members; /* only these; empty: those of the seeds whose dbPath can be read here */
    size_t member_count;
    struct hf_mongo_options mongo; /* credentials, time-outs */
    uint64_t interval_ms;
    struct hf_log *log;
};

/* Looks once, then goes on looking in a thread. The first look may have found nothing: that is no error. */
HF_MUST_CHECK enum hf_err hf_agent_watch_start(const struct hf_agent_watch_options *options,
                                               struct hf_agent_watch **out, struct hf_error *err);
void hf_agent_watch_stop(struct hf_agent_watch *watch);
HF_CLEANUP_DEFINE(hf_agent_watch_stop, struct hf_agent_watch *)

/*
 * Requested as soon as a member was seen to have changed in what the choice of a member hangs on (state, role, what
 * speaks against it): a waiting poll then ends, so that the server need not choose by what was true half a minute ago.
 */
const struct hf_cancel *hf_agent_watch_news(const struct hf_agent_watch *watch);
/* A copy of what was seen last; free items with hf_free. Whatever changes from now on is news. */
HF_MUST_CHECK enum hf_err hf_agent_watch_members(struct hf_agent_watch *watch,
                                                 struct hf_msg_members *out, struct hf_error *err);

#endif
