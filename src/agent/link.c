/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls and their repetition: what may heal with time is tried again, ever slower, the rest comes back.
 */
#include "agent/link.h"

#include <stdio.h>

#include "base/alloc.h"
#include "net/http_client.h"
#include "os/clock.h"

#define PAUSE_FIRST_MS 250
#define PAUSE_MAX_MS 10000
/* How long an answer may take, beyond the time that the server may hold it. */
#define SLACK_MS 30000

struct hf_agent_link {
    struct hf_agent_link_options options;
    struct hf_http_client *client;
    struct hf_http_reply reply;
    struct hf_buf body;
};

void hf_agent_link_destroy(struct hf_agent_link *link)
{
    if (link == NULL) {
        return;
    }
    hf_http_client_destroy(link->client);
    hf_http_reply_fini(&link->reply);
    hf_buf_fini(&link->body);
    hf_free(link);
}

enum hf_err hf_agent_link_create(const struct hf_agent_link_options *options,
                                 struct hf_agent_link **out, struct hf_error *err)
{
    HF_CLEANUP(hf_agent_link_destroy) struct hf_agent_link *link = hf_alloc_zero(sizeof *link);
    struct hf_http_client_options http = {
        .base_url = options->server_url,
        .ca_file = options->ca_file,
        .cancel = options->cancel,
    };

    if (link == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    link->options = *options;
    if (link->options.silence_ms == 0 || link->options.silence_ms > SLACK_MS) {
        link->options.silence_ms = SLACK_MS;
    }
    hf_http_reply_init(&link->reply, HF_MESSAGE_MAX_BYTES);
    hf_buf_init(&link->body, HF_MESSAGE_MAX_BYTES);
    HF_CLEANUP(hf_free)
    char *token = hf_strndup((const char *)options->bearer->data, options->bearer->len);
    if (token == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    http.bearer = token;
    enum hf_err code = hf_http_client_create(&http, &link->client, err);
    hf_wipe(token, options->bearer->len);
    if (code != HF_ERR_OK) {
        return code;
    }
    *out = HF_TAKE(link);
    return HF_ERR_OK;
}

/* One POST of link->body. */
static enum hf_err post(struct hf_agent_link *link, const char *target, uint64_t wait_ms,
                        const struct hf_cancel *interrupt, struct hf_error *err)
{
    const struct hf_http_header headers[] = {
        {"Content-Type", "application/json"},
        {"Holdfast-Protocol", "1"},
        {"Holdfast-Others", "1"}, /* a server that is drained may send us away */
    };
    bool others = strchr(link->options.server_url, ',') != NULL;
    const struct hf_http_call call = {
        .method = "POST",
        .target = target,
        .headers = headers,
        .header_count = HF_ARRAY_LEN(headers) - !others,
        .body = hf_buf_bytes(&link->body),
        .total_timeout_ms = (uint32_t)wait_ms + link->options.silence_ms,
        .idle_timeout_ms = (uint32_t)wait_ms + link->options.silence_ms,
        .interrupt = interrupt,
    };

    if (hf_http_client_call(link->client, &call, &link->reply, err) != HF_ERR_OK) {
        return err->code;
    }
    if (link->reply.status / 100 != 2) {
        struct hf_str text = {(const char *)link->reply.body.data, link->reply.body.len};
        hf_msg_error_decode(text, link->reply.status, err);
        return hf_wrap(err, "POST %s%s", link->options.server_url, target);
    }
    return HF_ERR_OK;
}

static struct hf_str reply_text(const struct hf_agent_link *link)
{
    return (struct hf_str){(const char *)link->reply.body.data, link->reply.body.len};
}

/* What time heals; the disk of the server's catalog too, once somebody makes room: what was done here meanwhile must not be
 * lost over it. */
static bool may_heal(enum hf_err code)
{
    return hf_err_retry(code) || code == HF_ERR_NO_SPACE || code == HF_ERR_IO;
}

/* Posts until it is answered; errors that time does not heal come back at once. */
static enum hf_err post_until_answered(struct hf_agent_link *link, const char *target,
                                       uint64_t limit_ms, struct hf_error *err)
{
    uint64_t pause_ms = PAUSE_FIRST_MS, started_ms = hf_clock_mono_ms();

    for (unsigned tries = 1;; tries++) {
        if (post(link, target, 0, NULL, err) == HF_ERR_OK) {
            return HF_ERR_OK;
        }
        if (!may_heal(err->code) || hf_cancel_requested(link->options.cancel) ||
            (limit_ms != 0 && hf_clock_mono_ms() - started_ms > limit_ms)) {
            return err->code;
        }
        if (tries == 1 || tries % 30 == 0) {
            hf_log_warn(link->options.log, "agent.server.unreachable",
                        HF_STR("error", err->message));
        }
        hf_cancel_sleep(link->options.cancel, pause_ms);
        pause_ms = pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause_ms * 2;
    }
}

enum hf_err hf_agent_link_hello(struct hf_agent_link *link, const struct hf_msg_hello *hello,
                                struct hf_msg_hello_answer *answer, struct hf_error *err)
{
    hf_buf_clear(&link->body);
    if (hf_msg_hello_encode(hello, &link->body, err) != HF_ERR_OK ||
        post_until_answered(link, "/agent/v1/hello", 0, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_msg_hello_answer_decode(reply_text(link), answer, err);
}

enum hf_err hf_agent_link_poll(struct hf_agent_link *link, const struct hf_msg_poll *poll,
                               const struct hf_cancel *interrupt, struct hf_msg_poll_answer *answer,
                               struct hf_error *err)
{
    hf_buf_clear(&link->body);
    if (hf_msg_poll_encode(poll, &link->body, err) != HF_ERR_OK ||
        post(link, "/agent/v1/poll", poll->wait_ms, interrupt, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_msg_poll_answer_decode(reply_text(link), answer, err);
}

enum hf_err hf_agent_link_finish(struct hf_agent_link *link, const struct hf_msg_finish *finish,
                                 uint64_t limit_ms, struct hf_error *err)
{
    char target[96];

    hf_buf_clear(&link->body);
    (void)snprintf(target, sizeof target, "/agent/v1/tasks/%s/finish",
                   hf_id_text(&finish->task).text);
    if (hf_msg_finish_encode(finish, &link->body, err) != HF_ERR_OK) {
        return err->code;
    }
    return post_until_answered(link, target, limit_ms, err);
}

enum hf_err hf_agent_link_slice(struct hf_agent_link *link, const struct hf_msg_slice *slice,
                                struct hf_error *err)
{
    char target[96];

    hf_buf_clear(&link->body);
    (void)snprintf(target, sizeof target, "/agent/v1/tasks/%s/slice",
                   hf_id_text(&slice->task).text);
    if (hf_msg_slice_encode(slice, &link->body, err) != HF_ERR_OK ||
        post_until_answered(link, target, 0, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_msg_slice_answer_decode(reply_text(link), err);
}
