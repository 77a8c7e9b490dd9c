/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libmicrohttpd calls while a request arrives: target, headers, body, end. All of it runs on an event
 * loop, one call at a time for a request, and never waits.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "net/http_server_internal.h"
#include "os/clock.h"

#define DEFAULT_BODY_MAX_BYTES ((uint64_t)1024 * 1024)
#define CHUNKED_STEP_BYTES ((uint64_t)64 * 1024)
#define LENGTH_UNKNOWN UINT64_MAX

static struct hf_http_connection *connection_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info == NULL ? NULL : info->socket_context;
}

void *hf_http_receive_on_target(void *context, const char *target,
                                struct MHD_Connection *connection)
{
    struct hf_http_connection *peer = connection_of(connection);

    if (peer == NULL) {
        return NULL; /* memory ran out when it connected: on_access drops it */
    }
    struct hf_http_request *request = hf_http_request_create(context, target);
    if (request != NULL) {
        request->connection = connection;
        request->peer_connection = peer;
    }
    return request;
}

static void note_peer(struct hf_http_request *request)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (info == NULL || info->client_addr == NULL) {
        return;
    }
    if (info->client_addr->sa_family == AF_INET) {
        memcpy(&v4, info->client_addr, sizeof v4);
        (void)inet_ntop(AF_INET, &v4.sin_addr, request->peer, sizeof request->peer);
    } else if (info->client_addr->sa_family == AF_INET6) {
        memcpy(&v6, info->client_addr, sizeof v6);
        const uint8_t *bytes = v6.sin6_addr.s6_addr;
        if (memcmp(bytes, mapped, sizeof mapped) == 0) {
            (void)inet_ntop(AF_INET, bytes + sizeof mapped, request->peer, sizeof request->peer);
        } else {
            (void)inet_ntop(AF_INET6, bytes, request->peer, sizeof request->peer);
        }
    }
}

/* The library's texts live as long as its connection, the application's request may live longer. */
struct header_copy {
    struct hf_http_request *request;
    size_t count, text_bytes; /* of all */
    char *to;
};

static enum MHD_Result measure_header(void *context, enum MHD_ValueKind kind, const char *name,
                                      const char *value)
{
    struct header_copy *copy = context;

    (void)kind;
    copy->count++;
    copy->text_bytes += strlen(name) + 1 + (value == NULL ? 0 : strlen(value)) + 1;
    return MHD_YES;
}

static const char *copy_text(struct header_copy *copy, const char *text)
{
    size_t size = strlen(text) + 1;
    char *to = copy->to;

    memcpy(to, text, size);
    copy->to += size;
    return to;
}

static enum MHD_Result copy_header(void *context, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    struct header_copy *copy = context;
    struct hf_http_header *header = &copy->request->headers[copy->request->header_count++];

    (void)kind;
    header->name = copy_text(copy, name);
    header->value = copy_text(copy, value == NULL ? "" : value);
    return MHD_YES;
}

/* False when memory ran out. */
static bool note_headers(struct hf_http_request *request, const char *method)
{
    struct header_copy copy = {.request = request, .text_bytes = strlen(method) + 1};

    (void)MHD_get_connection_values(request->connection, MHD_HEADER_KIND, measure_header, &copy);
    request->text = hf_alloc(copy.text_bytes);
    request->headers = hf_alloc_array(copy.count, sizeof *request->headers);
    if (request->text == NULL || request->headers == NULL) {
        return false;
    }
    copy.to = request->text;
    request->method = copy_text(&copy, method);
    (void)MHD_get_connection_values(request->connection, MHD_HEADER_KIND, copy_header, &copy);
    const char *expect = hf_http_request_header(request, "Expect");
    request->expects_continue = expect != NULL && hf_http_name_equal(expect, "100-continue");
    return true;
}

static bool headers_too_long(const struct hf_http_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

    return info != NULL && info->header_size > request->server->header_max_bytes;
}

/* Where a request ends must not be a matter of opinion: a proxy in front may hold another. The library
 * takes the first length and prefers chunks. */
static bool end_is_doubtful(const struct hf_http_request *request)
{
    size_t lengths = 0, encodings = 0;

    for (size_t i = 0; i < request->header_count; i++) {
        const struct hf_http_header *header = &request->headers[i];
        lengths += hf_http_name_equal(header->name, "Content-Length");
        if (hf_http_name_equal(header->name, "Transfer-Encoding")) {
            encodings += hf_http_name_equal(header->value, "chunked") ? 1 : 2;
        }
    }
    return lengths + encodings > 1;
}

static uint64_t announced_length(const struct hf_http_request *request)
{
    const char *length = hf_http_request_header(request, "Content-Length");
    uint64_t bytes;

    if (hf_http_request_header(request, "Transfer-Encoding") != NULL) {
        return LENGTH_UNKNOWN;
    }
    if (length == NULL) {
        return 0;
    }
    return hf_parse_u64(hf_str_of(length), &bytes) ? bytes : LENGTH_UNKNOWN;
}

static bool is_answered(struct hf_http_request *request)
{
    HF_LOCKED(&request->server->mutex);
    return request->answered;
}

static void discard_from_here(struct hf_http_request *request)
{
    request->discards = true;
    hf_http_request_drop_body(request);
}

static void refuse_body(struct hf_http_request *request, enum hf_http_refusal why)
{
    discard_from_here(request);
    hf_http_request_refuse(request, why);
}

/* Room for the body that was announced, or a refusal. Reserved at once: a body that is let in also fits. */
static void prepare_body(struct hf_http_request *request, uint64_t length)
{
    struct hf_http_server *server = request->server;
    struct hf_error err;

    hf_buf_init(&request->body,
                request->body_max_bytes < SIZE_MAX ? (size_t)request->body_max_bytes : SIZE_MAX);
    if (is_answered(request) || request->body_max_bytes == 0) {
        request->discards = true;
        return;
    }
    if (length == LENGTH_UNKNOWN || length == 0) {
        return;
    }
    if (length > request->body_max_bytes) {
        refuse_body(request, HF_HTTP_REFUSE_TOO_LARGE);
        return;
    }
    hf_mutex_lock(&server->mutex);
    bool reserved = hf_http_request_reserve(request, length);
    hf_mutex_unlock(&server->mutex);
    if (!reserved || hf_buf_reserve(&request->body, (size_t)length, &err) != HF_ERR_OK) {
        refuse_body(request, HF_HTTP_REFUSE_BUSY);
    }
}

/* Gives the answer to the library. NO closes the connection. */
static enum MHD_Result queue_answer(struct hf_http_request *request)
{
    struct hf_http_server *server = request->server;

    hf_mutex_lock(&server->mutex);
    struct MHD_Response *response = HF_TAKE(request->response);
    request->peer_connection->receiving_since_ms = 0;
    hf_mutex_unlock(&server->mutex);
    if (response == NULL) {
        return MHD_NO; /* the client went away, or no memory for an answer */
    }
    enum MHD_Result result = MHD_queue_response(request->connection, request->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result begin(struct hf_http_request *request, const char *method)
{
    struct hf_http_server *server = request->server;
    const struct hf_http_handler *handler = &server->handler;

    request->started = true;
    request->is_tls =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_PROTOCOL) != NULL;
    note_peer(request);
    if (!note_headers(request, method)) {
        return MHD_NO;
    }
    request->body_max_bytes = DEFAULT_BODY_MAX_BYTES;
    if (atomic_load(&server->stopping)) {
        hf_http_request_refuse(request, HF_HTTP_REFUSE_SHUTDOWN);
    } else if (end_is_doubtful(request)) {
        hf_http_request_refuse(request, HF_HTTP_REFUSE_MALFORMED);
        return queue_answer(request);
    } else if (headers_too_long(request)) {
        hf_http_request_refuse(request, HF_HTTP_REFUSE_HEADERS);
    } else if (handler->on_headers != NULL) {
        request->seen_by_application = true;
        request->body_max_bytes = handler->on_headers(handler->context, request);
    }
    uint64_t length = announced_length(request);
    prepare_body(request, length);
    /* Answered now, the connection closes afterwards; answered after the body, it stays. A client that
     * waits for "continue" has not sent the body and need not. */
    bool too_much = length != LENGTH_UNKNOWN && length > server->discard_max_bytes;
    if (is_answered(request) && (request->expects_continue || too_much)) {
        return queue_answer(request);
    }
    return MHD_YES;
}

/* Chunks do not say how many they are: room is asked for as they come. */
static bool reserve_for(struct hf_http_request *request, uint64_t needed)
{
    HF_LOCKED(&request->server->mutex);
    if (needed <= request->reserved_bytes) {
        return true;
    }
    uint64_t wanted = request->reserved_bytes * 2;
    wanted = wanted < CHUNKED_STEP_BYTES ? CHUNKED_STEP_BYTES : wanted;
    wanted = wanted > request->body_max_bytes ? request->body_max_bytes : wanted;
    wanted = wanted < needed ? needed : wanted;
    return hf_http_request_reserve(request, wanted - request->reserved_bytes);
}

static enum MHD_Result receive(struct hf_http_request *request, const char *upload, size_t len)
{
    struct hf_error err;

    if (!request->discards) {
        uint64_t needed = (uint64_t)request->body.len + len;
        if (needed > request->body_max_bytes) {
            refuse_body(request, HF_HTTP_REFUSE_TOO_LARGE);
        } else if (!reserve_for(request, needed) ||
                   hf_buf_append(&request->body, hf_bytes_of(upload, len), &err) != HF_ERR_OK) {
            refuse_body(request, HF_HTTP_REFUSE_BUSY);
        }
    }
    if (request->discards) {
        request->discarded_bytes += len;
        if (request->discarded_bytes > request->server->discard_max_bytes) {
            return MHD_NO;
        }
    }
    return MHD_YES;
}

/* Calls on_request, once. */
static void hand_over(struct hf_http_request *request)
{
    struct hf_http_server *server = request->server;

    hf_mutex_lock(&server->mutex);
    request->handed_over = request->held = true;
    request->holders++;
    request->peer_connection->receiving_since_ms = 0;
    hf_mutex_unlock(&server->mutex);
    request->seen_by_application = true;
    server->handler.on_request(server->handler.context, request);
    hf_mutex_lock(&server->mutex);
    bool forgotten = request->held && !request->keep;
    hf_mutex_unlock(&server->mutex);
    if (forgotten) {
        char target[HF_HTTP_LOGGED_TARGET_BYTES + 1];
        (void)snprintf(target, sizeof target, "%s", request->target);
        hf_log_error(server->log, "http.unanswered", HF_STR("target", target));
        (void)hf_http_request_answer(request, NULL, 500);
    }
}

static enum MHD_Result complete(struct hf_http_request *request)
{
    struct hf_http_server *server = request->server;

    hf_mutex_lock(&server->mutex);
    bool fresh = !request->answered && !request->handed_over;
    hf_mutex_unlock(&server->mutex);
    if (fresh && atomic_load(&server->stopping)) {
        hf_http_request_refuse(request, HF_HTTP_REFUSE_SHUTDOWN);
    } else if (fresh) {
        hand_over(request);
    }
    hf_mutex_lock(&server->mutex);
    /* Under the mutex: from here on who answers also resumes, and a stop finds it among the suspended. */
    bool waits = !request->answered && !atomic_load(&request->gone);
    bool suspends = waits && !atomic_load(&server->stopping);
    if (suspends) {
        hf_http_request_suspend(request);
    }
    hf_mutex_unlock(&server->mutex);
    if (suspends) {
        return MHD_YES;
    }
    if (waits) {
        hf_http_request_refuse(request, HF_HTTP_REFUSE_SHUTDOWN);
    }
    return queue_answer(request);
}

enum MHD_Result hf_http_receive_on_access(void *server, struct MHD_Connection *connection,
                                          const char *url, const char *method, const char *version,
                                          const char *upload, size_t *upload_len, void **context)
{
    struct hf_http_request *request = *context;

    (void)server;
    (void)connection;
    (void)url;
    (void)version;
    if (request == NULL) {
        return MHD_NO;
    }
    if (!request->started) {
        return begin(request, method);
    }
    if (*upload_len > 0) {
        size_t len = *upload_len;
        *upload_len = 0;
        return receive(request, upload, len);
    }
    return complete(request);
}

void hf_http_receive_on_completed(void *context, struct MHD_Connection *connection,
                                  void **request_at, enum MHD_RequestTerminationCode code)
{
    struct hf_http_server *server = context;
    struct hf_http_request *request = *request_at;

    (void)connection;
    if (request == NULL) {
        return;
    }
    *request_at = NULL;
    hf_mutex_lock(&server->mutex);
    HF_ASSERT(!request->suspended);
    request->connection = NULL;
    request->peer_connection->receiving_since_ms = hf_clock_mono_ms();
    request->peer_connection = NULL;
    struct MHD_Response *unsent = HF_TAKE(request->response);
    server->stats.requests--;
    if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK) {
        atomic_store(&request->gone, true);
    }
    request->over = true;
    hf_cond_broadcast(&server->request_over);
    if (request->answered && --server->answering == 0) {
        hf_cond_broadcast(&server->quiet);
    }
    hf_mutex_unlock(&server->mutex);
    if (unsent != NULL) {
        MHD_destroy_response(unsent);
    }
    hf_http_request_let_go(request);
}
