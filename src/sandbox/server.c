/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections: one thread accepts and ends idle cursors, each connection has one. What a command does is command.c's
 * business.
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "os/process.h"
#include "sandbox/server_internal.h"

/* ---- One connection ---- */

/* Reads one message into buf. False at the end of the connection, or when the length is not to be believed. */
static bool read_message(int fd, struct hf_buf *buf)
{
    uint8_t header[HF_SANDBOX_WIRE_HEADER_BYTES];
    struct hf_error err;
    size_t left;

    hf_buf_clear(buf);
    if (recv(fd, header, sizeof header, MSG_WAITALL) != sizeof header) {
        return false;
    }
    left = hf_load_le32(header) - sizeof header;
    if (left == 0 || left > HF_SANDBOX_MESSAGE_MAX_BYTES - sizeof header ||
        hf_buf_append(buf, hf_bytes_of(header, sizeof header), &err) != HF_ERR_OK ||
        hf_buf_reserve(buf, left, &err) != HF_ERR_OK ||
        recv(fd, buf->data + buf->len, left, MSG_WAITALL) != (ssize_t)left) {
        return false;
    }
    buf->len += left;
    return true;
}

static bool answer(struct hf_sandbox_conn *conn, struct hf_buf *in, struct hf_buf *out)
{
    HF_CLEANUP(hf_sandbox_message_fini) struct hf_sandbox_message message = {0};
    OWNED_DOC *reply = bson_new();
    uint32_t id = (uint32_t)atomic_fetch_add(&conn->server->next_request_id, 1);
    struct hf_error err;

    if (!hf_sandbox_wire_parse(hf_buf_bytes(in), &message)) {
        return false;
    }
    hf_sandbox_command_run(conn, message.command, reply);
    hf_buf_clear(out);
    return message.no_reply ||
           (hf_sandbox_wire_reply(&message, id, reply, out, &err) == HF_ERR_OK &&
            send(conn->fd, out->data, out->len, MSG_NOSIGNAL) == (ssize_t)out->len);
}

static void conn_run(void *argument)
{
    struct hf_sandbox_conn *conn = argument;
    HF_CLEANUP(hf_buf_fini) struct hf_buf in = HF_BUF_INIT(HF_SANDBOX_MESSAGE_MAX_BYTES);
    HF_CLEANUP(hf_buf_fini)
    struct hf_buf out = HF_BUF_INIT(HF_SANDBOX_MESSAGE_MAX_BYTES + (1 << 20));

    while (!hf_cancel_requested(&conn->server->stop) && read_message(conn->fd, &in) &&
           answer(conn, &in, &out)) {
    }
    (void)shutdown(conn->fd, SHUT_RDWR);
    atomic_store(&conn->done, true);
}

/* Joins connections that have ended; all of them when `all`. */
static void collect(struct hf_sandbox_server *server, bool all)
{
    for (struct hf_sandbox_conn **at = &server->conns; *at != NULL;) {
        struct hf_sandbox_conn *conn = *at;
        if (all || atomic_load(&conn->done)) {
            *at = conn->next;
            hf_thread_join(conn->thread);
            (void)close(conn->fd);
            hf_free(conn);
        } else {
            at = &conn->next;
        }
    }
}

/* Takes fd. */
static void admit(struct hf_sandbox_server *server, int fd, const struct sockaddr_in *peer)
{
    struct hf_sandbox_conn *conn = hf_alloc_zero(sizeof *conn);
    char host[INET_ADDRSTRLEN] = "";
    struct hf_error err;

    HF_ASSERT(conn != NULL);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    /* A client that does not read must not keep a stop waiting. */
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){.tv_sec = 30},
                     sizeof(struct timeval));
    (void)inet_ntop(AF_INET, &peer->sin_addr, host, sizeof host);
    conn->server = server;
    conn->fd = fd;
    conn->id = (int32_t)atomic_fetch_add(&server->next_conn_id, 1);
    conn->loopback = strncmp(host, "127.", 4) == 0;
    (void)snprintf(conn->client, sizeof conn->client, "%s:%u", host, ntohs(peer->sin_port));
    if (hf_thread_start("conn", conn_run, conn, &conn->thread, &err) != HF_ERR_OK) {
        hf_log_warn(server->log, "sandbox.connection.refused", HF_STR("error", err.message));
        atomic_store(&conn->done, true);
    }
    conn->next = server->conns;
    server->conns = conn;
}

static void accept_run(void *argument)
{
    struct hf_sandbox_server *server = argument;

    while (!hf_cancel_requested(&server->stop)) {
        struct pollfd poller = {.fd = server->listener, .events = POLLIN};
        struct sockaddr_in peer = {0};
        socklen_t len = sizeof peer;
        int fd = -1;

        if (poll(&poller, 1, 200) > 0) {
            fd = accept4(server->listener, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
        }
        if (fd >= 0) {
            admit(server, fd, &peer);
        }
        collect(server, false);
        (void)hf_sandbox_cursors_end(server, 0, atomic_load(&server->cursor_timeout_ms));
        hf_sandbox_multis_sweep(server, false);
    }
}

/* ---- The server ---- */

/* Of a list of addresses only the first counts. */
static enum hf_err listen_on(struct hf_sandbox_server *server, const char *list, uint64_t port,
                             struct hf_error *err)
{
    const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char host[256], service[8];
    bool good;

    (void)snprintf(host, sizeof host, "%.*s", (int)strcspn(list, ","), list);
    (void)snprintf(service, sizeof service, "%u", (unsigned)port);
    if (getaddrinfo(host, service, &hints, &found) != 0) {
        return hf_fail(err, HF_ERR_INVALID, "listen on %s: no such address", host);
    }
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    good = bind(server->listener, found->ai_addr, found->ai_addrlen) == 0 &&
           listen(server->listener, 128) == 0;
    freeaddrinfo(found);
    return good ? HF_ERR_OK : hf_fail_errno(err, errno, "listen on %s port %s", host, service);
}

enum hf_err hf_sandbox_server_start(struct hf_sandbox_server *server, struct hf_error *err)
{
    const struct hf_sandbox_options *options = &server->options;
    const char *timeout = hf_sandbox_get_utf8(&options->set_parameters, "cursorTimeoutMillis", "");
    uint64_t timeout_ms = 0;
    char host[240];

    hf_mutex_init(&server->cursors_mutex);
    hf_mutex_init(&server->multis_mutex);
    hf_cond_init(&server->multis_changed);
    server->multis_term = -1;
    atomic_store(&server->next_conn_id, 1);
    atomic_store(&server->cursor_timeout_ms,
                 hf_parse_u64(hf_str_of(timeout), &timeout_ms) ? timeout_ms : 600000);
    server->started_mono_ms = hf_clock_mono_ms();
    hf_host_name(host, sizeof host);
    (void)snprintf(server->host, sizeof server->host, options->port == 27017 ? "%s" : "%s:%u", host,
                   (unsigned)options->port);
    if (listen_on(server, options->bind_ip, options->port, err) != HF_ERR_OK ||
        hf_thread_start("accept", accept_run, server, &server->thread, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_log_info(server->log, "sandbox.listening", HF_STR("address", options->bind_ip),
                HF_U64("port", options->port));
    return HF_ERR_OK;
}

void hf_sandbox_server_stop(struct hf_sandbox_server *server)
{
    if (server->thread == NULL) {
        return;
    }
    hf_cancel_request(&server->stop);
    hf_thread_join(server->thread);
    (void)close(server->listener);
    for (struct hf_sandbox_conn *conn = server->conns; conn != NULL; conn = conn->next) {
        (void)shutdown(conn->fd, SHUT_RD);
    }
    collect(server, true);
    (void)hf_sandbox_cursors_end(server, 0, 0);
    hf_sandbox_multis_sweep(server, true);
}
