/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request as the application sees it, and its one answer. Whoever comes first answers: the
 * application, a deadline, a limit or the shutdown; who comes later is told so and nothing happens.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "net/http_server_internal.h"

struct hf_http_request *hf_http_request_create(struct hf_http_server *server, const char *target)
{
    struct hf_http_request *request = hf_alloc_zero(sizeof *request);

    if (request == NULL) {
        return NULL;
    }
    request->target = hf_strdup(target);
    if (request->target == NULL) {
        hf_free(request);
        return NULL;
    }
    request->server = server;
    request->holders = 1;
    hf_mutex_lock(&server->mutex);
    server->holders++;
    server->stats.requests++;
    hf_mutex_unlock(&server->mutex);
    return request;
}

void hf_http_request_drop_body(struct hf_http_request *request)
{
    struct hf_http_server *server = request->server;

    hf_buf_fini(&request->body);
    hf_mutex_lock(&server->mutex);
    server->stats.body_bytes -= request->reserved_bytes;
    request->reserved_bytes = 0;
    hf_mutex_unlock(&server->mutex);
}

void hf_http_request_let_go(struct hf_http_request *request)
{
    struct hf_http_server *server = request->server;

    hf_mutex_lock(&server->mutex);
    unsigned left = --request->holders;
    hf_mutex_unlock(&server->mutex);
    if (left > 0) {
        return;
    }
    if (request->seen_by_application && server->handler.on_end != NULL) {
        server->handler.on_end(server->handler.context, request);
    }
    hf_http_request_drop_body(request);
    hf_free(request->headers);
    hf_free(request->text);
    hf_free(request->target);
    hf_free(request);
    hf_http_server_let_go(server);
}

bool hf_http_request_reserve(struct hf_http_request *request, uint64_t bytes)
{
    struct hf_http_server *server = request->server;

    if (bytes > server->bodies_max_bytes - server->stats.body_bytes) {
        return false;
    }
    server->stats.body_bytes += bytes;
    request->reserved_bytes += bytes;
    return true;
}

void hf_http_request_suspend(struct hf_http_request *request)
{
    struct hf_http_server *server = request->server;

    MHD_suspend_connection(request->connection);
    request->suspended = true;
    request->previous = NULL;
    request->next = server->suspended;
    if (request->next != NULL) {
        request->next->previous = request;
    }
    server->suspended = request;
    if (!request->answered) {
        server->stats.kept++;
    }
    request->peer_connection->suspended = request;
    server->look |= request->peer_connection->hung_up;
    bool sooner = request->deadline_ms != 0 && request->deadline_ms < server->wake_at_ms;
    if (sooner) {
        server->wake_at_ms = request->deadline_ms;
    }
    if (server->look || sooner) {
        hf_http_watch_wake(server);
    }
}

void hf_http_request_resume(struct hf_http_request *request)
{
    struct hf_http_server *server = request->server;

    if (request->previous != NULL) {
        request->previous->next = request->next;
    } else {
        server->suspended = request->next;
    }
    if (request->next != NULL) {
        request->next->previous = request->previous;
    }
    request->previous = request->next = NULL;
    request->suspended = false;
    request->peer_connection->suspended = NULL;
    MHD_resume_connection(request->connection);
}

bool hf_http_request_set_answer(struct hf_http_request *request, struct MHD_Response *response,
                                unsigned status)
{
    struct hf_http_server *server = request->server;

    if (request->answered || request->connection == NULL || atomic_load(&request->gone)) {
        return false;
    }
    request->response = response;
    request->status = status;
    request->answered = true;
    server->answering++;
    if (request->suspended) {
        server->stats.kept--;
        hf_http_request_resume(request);
    }
    return true;
}

bool hf_http_request_add_headers(struct MHD_Response *response, const struct hf_http_answer *answer)
{
    for (size_t i = 0; i < answer->header_count; i++) {
        const struct hf_http_header *header = &answer->headers[i];
        if (!hf_http_header_valid(header) ||
            MHD_add_response_header(response, header->name, header->value) != MHD_YES) {
            return false;
        }
    }
    return true;
}

static void free_taken_body(void *context)
{
    struct hf_buf *body = context;

    hf_buf_fini(body);
    hf_free(body);
}

static struct MHD_Response *build_body(const struct hf_http_answer *answer, struct hf_buf *take)
{
    if (take == NULL) {
        /* The library takes a pointer to changeable bytes, and with MUST_COPY only reads them. */
        union {
            const uint8_t *given;
            void *wanted;
        } body = {.given = answer->body.data};
        return MHD_create_response_from_buffer(answer->body.len, body.wanted,
                                               MHD_RESPMEM_MUST_COPY);
    }
    struct hf_buf *kept = hf_alloc(sizeof *kept);
    if (kept == NULL) {
        return NULL;
    }
    *kept = *take;
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls(
        kept->len, kept->data, free_taken_body, kept);
    if (response == NULL) {
        hf_free(kept);
        return NULL;
    }
    *take = (struct hf_buf)HF_BUF_INIT(take->max);
    return response;
}

struct MHD_Response *hf_http_request_build_response(const struct hf_http_answer *answer,
                                                    struct hf_buf *take)
{
    struct MHD_Response *response = build_body(answer, take);

    if (response != NULL && !hf_http_request_add_headers(response, answer)) {
        MHD_destroy_response(response);
        response = NULL;
    }
    return response;
}

struct MHD_Response *hf_http_request_build_refusal(struct hf_http_request *request,
                                                   enum hf_http_refusal why, unsigned *status)
{
    static const int statuses[] = {
        [HF_HTTP_REFUSE_TOO_LARGE] = 413,  [HF_HTTP_REFUSE_BUSY] = 429,
        [HF_HTTP_REFUSE_SHUTDOWN] = 503,   [HF_HTTP_REFUSE_DEADLINE] = 503,
        [HF_HTTP_REFUSE_MALFORMED] = 400,  [HF_HTTP_REFUSE_HEADERS] = 431,
        [HF_HTTP_REFUSE_UNANSWERED] = 500,
    };
    const struct hf_http_server *server = request->server;
    struct hf_http_answer answer = {.status = statuses[why]};
    char seconds[16];

    if (server->handler.on_refuse != NULL) {
        server->handler.on_refuse(server->handler.context, request, why, &answer);
    }
    *status = (unsigned)answer.status;
    struct MHD_Response *response = hf_http_request_build_response(&answer, NULL);
    if (response == NULL) {
        return NULL;
    }
    if (answer.status == 429 || answer.status == 503) {
        (void)snprintf(seconds, sizeof seconds, "%u", server->retry_after_s);
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
    if (why == HF_HTTP_REFUSE_SHUTDOWN || why == HF_HTTP_REFUSE_MALFORMED) {
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    }
    return response;
}

void hf_http_request_refuse(struct hf_http_request *request, enum hf_http_refusal why)
{
    unsigned status = 0;
    struct MHD_Response *response = hf_http_request_build_refusal(request, why, &status);

    hf_mutex_lock(&request->server->mutex);
    bool taken = hf_http_request_set_answer(request, response, status);
    hf_mutex_unlock(&request->server->mutex);
    if (!taken && response != NULL) {
        MHD_destroy_response(response);
    }
}

bool hf_http_request_answer(struct hf_http_request *request, struct MHD_Response *response,
                            int status)
{
    struct hf_http_server *server = request->server;
    bool built = response != NULL;
    unsigned code = (unsigned)status;

    if (!built) {
        response = hf_http_request_build_refusal(request, HF_HTTP_REFUSE_UNANSWERED, &code);
        char target[HF_HTTP_LOGGED_TARGET_BYTES + 1];
        (void)snprintf(target, sizeof target, "%s", request->target);
        hf_log_error(server->log, "http.answer_failed", HF_STR("target", target),
                     HF_U64("status", (uint64_t)status));
    }
    hf_mutex_lock(&server->mutex);
    bool taken = hf_http_request_set_answer(request, response, code);
    bool held = request->held;
    request->held = false;
    hf_mutex_unlock(&server->mutex);
    if (!taken && response != NULL) {
        MHD_destroy_response(response);
    }
    if (held) {
        hf_http_request_drop_body(request);
        hf_http_request_let_go(request);
    }
    return built && taken;
}

bool hf_http_respond(struct hf_http_request *request, const struct hf_http_answer *answer)
{
    return hf_http_request_answer(request, hf_http_request_build_response(answer, NULL),
                                  answer->status);
}

bool hf_http_respond_text(struct hf_http_request *request, int status, const char *content_type,
                          const char *text)
{
    const struct hf_http_header header = {.name = "Content-Type", .value = content_type};
    const struct hf_http_answer answer = {
        .status = status,
        .headers = &header,
        .header_count = 1,
        .body = hf_bytes_of_str(hf_str_of(text)),
    };

    return hf_http_respond(request, &answer);
}

bool hf_http_respond_buf_take(struct hf_http_request *request, const struct hf_http_answer *answer,
                              struct hf_buf *body)
{
    bool taken = hf_http_request_answer(request, hf_http_request_build_response(answer, body),
                                        answer->status);

    /* Empty already, unless the answer could not be built. */
    hf_buf_fini(body);
    return taken;
}

void hf_http_keep(struct hf_http_request *request, uint64_t deadline_ms)
{
    HF_LOCKED(&request->server->mutex);
    HF_ASSERT(request->handed_over);
    request->keep = true;
    request->deadline_ms = deadline_ms;
}

const char *hf_http_request_method(const struct hf_http_request *request)
{
    return request->method;
}

const char *hf_http_request_target(const struct hf_http_request *request)
{
    return request->target;
}

const char *hf_http_request_header(const struct hf_http_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (hf_http_name_equal(request->headers[i].name, name)) {
            return request->headers[i].value;
        }
    }
    return NULL;
}

const char *hf_http_request_peer(const struct hf_http_request *request)
{
    return request->peer;
}

bool hf_http_request_is_tls(const struct hf_http_request *request)
{
    return request->is_tls;
}

struct hf_bytes hf_http_request_body(const struct hf_http_request *request)
{
    return hf_buf_bytes(&request->body);
}

bool hf_http_request_gone(const struct hf_http_request *request)
{
    return atomic_load(&request->gone);
}

void hf_http_request_set_user(struct hf_http_request *request, void *user)
{
    request->user = user;
}

void *hf_http_request_user(const struct hf_http_request *request)
{
    return request->user;
}
