/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts and stops the HTTP server: the listening socket, the library's event loops, the watch thread.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "net/http_server_internal.h"
#include "os/clock.h"

#define DEFAULT_ADDRESS "127.0.0.1"
#define DEFAULT_CONNECTIONS 4096
#define DEFAULT_IDLE_S 60
#define DEFAULT_RECEIVE_S 300
#define DEFAULT_HEADER_BYTES ((size_t)32 * 1024)
#define DEFAULT_BODIES_BYTES ((uint64_t)256 * 1024 * 1024)
#define DEFAULT_DISCARD_BYTES ((uint64_t)64 * 1024 * 1024)
#define DEFAULT_RETRY_AFTER_S 2
#define DEFAULT_STREAM_BYTES ((size_t)1024 * 1024)
#define THREADS_MAX 8
#define BACKLOG 1024
#define FAREWELL_MS 5000 /* for answers under way when the server stops */
/* One connection's memory beside the headers: the body as it arrives goes through it. All of it stays
 * resident once a connection has been used twice, so that 1,000 agents hold 64 MiB; more makes bodies
 * hardly cheaper (docs/decisions/0003). */
#define POOL_BODY_BYTES ((size_t)32 * 1024)

static uint64_t or_default(uint64_t given, uint64_t fallback)
{
    return given == 0 ? fallback : given;
}

static enum hf_err check_options(const struct hf_http_server_options *options, struct hf_error *err)
{
    if ((options->tls_cert_pem == NULL) != (options->tls_key_pem == NULL)) {
        return hf_fail(err, HF_ERR_INVALID, "http server: a TLS certificate needs its key");
    }
    if (options->handler.on_request == NULL) {
        return hf_fail(err, HF_ERR_INVALID, "http server: no handler");
    }
    if (options->header_max_bytes > (size_t)1024 * 1024 || options->connection_limit > 1000000 ||
        options->thread_count > 64) {
        return hf_fail(err, HF_ERR_INVALID, "http server: a limit is out of range");
    }
    return HF_ERR_OK;
}

static struct hf_http_server *create(const struct hf_http_server_options *options)
{
    struct hf_http_server *server = hf_alloc_zero(sizeof *server);

    if (server == NULL) {
        return NULL;
    }
    server->handler = options->handler;
    server->log = options->log;
    server->listen_fd = server->epoll_fd = server->wake_fd = -1;
    server->connection_limit = (unsigned)or_default(options->connection_limit, DEFAULT_CONNECTIONS);
    server->receive_timeout_s = (uint32_t)or_default(options->receive_timeout_s, DEFAULT_RECEIVE_S);
    server->retry_after_s = (uint32_t)or_default(options->retry_after_s, DEFAULT_RETRY_AFTER_S);
    server->header_max_bytes = or_default(options->header_max_bytes, DEFAULT_HEADER_BYTES);
    server->stream_buffer_bytes = or_default(options->stream_buffer_bytes, DEFAULT_STREAM_BYTES);
    server->bodies_max_bytes = or_default(options->bodies_max_bytes, DEFAULT_BODIES_BYTES);
    server->discard_max_bytes = or_default(options->discard_max_bytes, DEFAULT_DISCARD_BYTES);
    hf_mutex_init(&server->mutex);
    hf_cond_init(&server->quiet);
    hf_cond_init(&server->request_over);
    server->holders = 1;
    server->accepting = true;
    return server;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

void hf_http_server_let_go(struct hf_http_server *server)
{
    hf_mutex_lock(&server->mutex);
    unsigned left = --server->holders;
    hf_mutex_unlock(&server->mutex);
    if (left > 0) {
        return;
    }
    hf_cond_fini(&server->request_over);
    hf_cond_fini(&server->quiet);
    hf_mutex_fini(&server->mutex);
    hf_free(server);
}

static enum hf_err fail_listen(struct hf_error *err, int error, const char *address, uint16_t port)
{
    (void)hf_fail_errno(err, error, "listen on %s port %u", address, port);
    if (error == EADDRINUSE) {
        err->code = HF_ERR_CONFLICT;
    }
    return err->code;
}

/* The first address of that name that can be bound. */
static enum hf_err listen_on(struct hf_http_server *server, const char *address, uint16_t port,
                             struct hf_error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    const int on = 1;
    int error = EADDRNOTAVAIL;
    char service[8];

    (void)snprintf(service, sizeof service, "%u", port);
    int failed = getaddrinfo(address, service, &hints, &found);
    if (failed != 0) {
        return hf_fail(err, HF_ERR_INVALID, "listen on %s: %s", address, gai_strerror(failed));
    }
    for (const struct addrinfo *at = found; at != NULL && server->listen_fd < 0; at = at->ai_next) {
        int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
            bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) {
            server->listen_fd = fd;
        } else {
            error = errno;
            close_fd(&fd);
        }
    }
    freeaddrinfo(found);
    return server->listen_fd >= 0 ? HF_ERR_OK : fail_listen(err, error, address, port);
}

static enum hf_err note_port(struct hf_http_server *server, struct hf_error *err)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (getsockname(server->listen_fd, (struct sockaddr *)&address, &len) != 0) {
        return hf_fail_errno(err, errno, "http server: own address");
    }
    if (address.ss_family == AF_INET6) {
        memcpy(&v6, &address, sizeof v6);
        server->port = ntohs(v6.sin6_port);
    } else {
        memcpy(&v4, &address, sizeof v4);
        server->port = ntohs(v4.sin_port);
    }
    return HF_ERR_OK;
}

static enum hf_err watch_fds(struct hf_http_server *server, struct hf_error *err)
{
    struct epoll_event listening = {.events = EPOLLIN, .data = {.ptr = server}};
    struct epoll_event waking = {.events = EPOLLIN, .data = {.ptr = &server->wake_fd}};

    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->epoll_fd < 0 || server->wake_fd < 0 ||
        epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->listen_fd, &listening) != 0 ||
        epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->wake_fd, &waking) != 0) {
        return hf_fail_errno(err, errno, "http server: event descriptors");
    }
    return HF_ERR_OK;
}

static void on_library_log(void *context, const char *format, va_list arguments)
{
    struct hf_http_server *server = context;
    char text[256];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int len = vsnprintf(text, sizeof text, format, arguments);
#pragma GCC diagnostic pop
    while (len > 0 && len < (int)sizeof text && text[len - 1] == '\n') {
        text[--len] = '\0';
    }
    hf_log_debug(server->log, "http.library", HF_STR("text", text));
}

static enum hf_err start_loops(struct hf_http_server *server,
                               const struct hf_http_server_options *options, struct hf_error *err)
{
    unsigned cpus = hf_thread_cpu_count();
    unsigned threads =
        (unsigned)or_default(options->thread_count, cpus < THREADS_MAX ? cpus : THREADS_MAX);
    size_t pool = server->header_max_bytes + POOL_BODY_BYTES;
    unsigned flags =
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET;
    struct MHD_OptionItem items[5];
    size_t count = 0;

    if (threads > 1) {
        items[count++] =
            (struct MHD_OptionItem){MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)threads, NULL};
    }
    if (options->tls_cert_pem != NULL) {
        /* The library takes pointers to changeable text and only reads it. */
        union {
            const char *given;
            void *wanted;
        } cert = {.given = options->tls_cert_pem}, key = {.given = options->tls_key_pem},
          priorities = {.given = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"};
        flags |= MHD_USE_TLS;
        items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, cert.wanted};
        items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, key.wanted};
        items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, priorities.wanted};
    }
    items[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    if (server->log != NULL) {
        flags |= MHD_USE_ERROR_LOG;
    }
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, hf_http_receive_on_access, server, MHD_OPTION_EXTERNAL_LOGGER,
        on_library_log, server, MHD_OPTION_URI_LOG_CALLBACK, hf_http_receive_on_target, server,
        MHD_OPTION_NOTIFY_COMPLETED, hf_http_receive_on_completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, hf_http_watch_on_connection, server,
        MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)or_default(options->idle_timeout_s, DEFAULT_IDLE_S),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, pool,
        /* The watch thread keeps the limit; the library's only must not come first in one loop. */
        MHD_OPTION_CONNECTION_LIMIT, server->connection_limit * 2 + threads,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, items, MHD_OPTION_END);
    if (server->daemon == NULL) {
        return options->tls_cert_pem != NULL
                   ? hf_fail(
                         err, HF_ERR_INVALID,
                         "http server: does not start (hint: are TLS certificate and key PEM texts "
                         "that belong together?)")
                   : hf_fail_errno(err, errno, "http server: event loops");
    }
    return HF_ERR_OK;
}

/* What start began, whether it came to its end or not. */
static void shut_down(struct hf_http_server *server)
{
    if (server->daemon != NULL) {
        MHD_stop_daemon(server->daemon);
        server->daemon = NULL;
    }
    close_fd(&server->listen_fd);
    close_fd(&server->epoll_fd);
    close_fd(&server->wake_fd);
    hf_http_server_let_go(server);
}

enum hf_err hf_http_server_start(const struct hf_http_server_options *options,
                                 struct hf_http_server **out, struct hf_error *err)
{
    const char *address = options->address == NULL ? DEFAULT_ADDRESS : options->address;

    if (check_options(options, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_http_server *server = create(options);
    if (server == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "http server: no memory");
    }
    if (listen_on(server, address, options->port, err) != HF_ERR_OK ||
        note_port(server, err) != HF_ERR_OK || watch_fds(server, err) != HF_ERR_OK ||
        start_loops(server, options, err) != HF_ERR_OK ||
        hf_thread_start("http-watch", hf_http_watch_run, server, &server->watch, err) !=
            HF_ERR_OK) {
        shut_down(server);
        return err->code;
    }
    *out = server;
    return HF_ERR_OK;
}

uint16_t hf_http_server_port(const struct hf_http_server *server)
{
    return server->port;
}

/* Answers every kept request and cuts every waiting stream. No new ones come: stopping is set. */
static void wake_suspended(struct hf_http_server *server)
{
    for (;;) {
        hf_mutex_lock(&server->mutex);
        struct hf_http_request *request = server->suspended;
        bool waits = request != NULL && !request->answered;
        if (waits) {
            request->holders++;
        } else if (request != NULL) {
            hf_http_request_resume(request);
        }
        hf_mutex_unlock(&server->mutex);
        if (request == NULL) {
            return;
        }
        if (waits) {
            hf_http_request_refuse(request, HF_HTTP_REFUSE_SHUTDOWN);
            hf_http_request_let_go(request);
        }
    }
}

static void wait_for_answers(struct hf_http_server *server)
{
    uint64_t until_ms = hf_clock_mono_ms() + FAREWELL_MS, now_ms;

    HF_LOCKED(&server->mutex);
    while (server->answering > 0 && (now_ms = hf_clock_mono_ms()) < until_ms) {
        (void)hf_cond_wait_for(&server->quiet, &server->mutex, until_ms - now_ms);
    }
}

void hf_http_server_stop(struct hf_http_server *server)
{
    if (server == NULL) {
        return;
    }
    atomic_store(&server->stopping, true);
    hf_http_watch_wake(server);
    hf_thread_join(server->watch);
    close_fd(&server->listen_fd);
    wake_suspended(server);
    wait_for_answers(server);
    shut_down(server);
}

void hf_http_server_stats(struct hf_http_server *server, struct hf_http_server_stats *out)
{
    HF_LOCKED(&server->mutex);
    *out = server->stats;
}
