/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store behind the server, as a task sees it.
 */
#include "agent/task.h"
#include "store/remote.h"

enum hf_err hf_agent_store_open(const struct hf_agent_work *work, const struct hf_cancel *cancel,
                                uint64_t retry_ms, struct hf_store **out, struct hf_error *err)
{
    const struct hf_agent_context *context = work->context;
    const struct hf_store_remote_options options = {
        .base_url = context->server_url,
        .ca_file = context->ca_file,
        .bearer = context->bearer,
        .task = work->task->id,
        .attempt = work->task->attempt,
        .cancel = cancel,
        .retry_ms = retry_ms,
        .idle_timeout_ms = context->silence_ms,
    };

    return hf_store_remote_open(&options, out, err);
}
