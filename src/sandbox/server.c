/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections: one thread accepts, each connection has one, one more ends idle cursors. What a command does is
 * command.c's business.
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

#define MAX_CONNECTIONS 1000
#define REAP_EVERY_MS 500

/* ---- One connection ---- */

static bool read_exactly(int fd, uint8_t *out, size_t len)
{
    while (len > 0) {
        ssize_t got = recv(fd, out, len, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        out += got;
        len -= (size_t)got;
    }
    return true;
}

static bool write_all(int fd, struct hf_bytes bytes)
{
    while (bytes.len > 0) {
        ssize_t put = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return false;
        }
        bytes.data += put;
        bytes.len -= (size_t)put;
    }
    return true;
}

/* Reads one message into buf. False at the end of the connection, or when the length is not to be believed. */
static bool read_message(int fd, struct hf_buf *buf)
{
    uint8_t header[HF_SANDBOX_WIRE_HEADER_BYTES];
    struct hf_sandbox_refusal no;
    struct hf_error err;
    size_t len;

    hf_buf_clear(buf);
    if (!read_exactly(fd, header, sizeof header) ||
        hf_sandbox_wire_length(header, &len, &no) != 0 ||
        hf_buf_append(buf, hf_bytes_of(header, sizeof header), &err) != HF_ERR_OK ||
        hf_buf_reserve(buf, len - sizeof header, &err) != HF_ERR_OK ||
        !read_exactly(fd, buf->data + buf->len, len - sizeof header)) {
        return false;
    }
    buf->len = len;
    return true;
}

static bool answer(struct hf_sandbox_conn *conn, struct hf_buf *in, struct hf_buf *out)
{
    HF_CLEANUP(hf_sandbox_message_fini) struct hf_sandbox_message message = {0};
    struct hf_sandbox_server *server = conn->server;
    struct hf_sandbox_refusal no;
    struct hf_error err;
    bson_t reply = BSON_INITIALIZER;
    bool good;

    if (hf_sandbox_wire_parse(hf_buf_bytes(in), &message, &no) != 0) {
        hf_log_debug(server->options.log, "sandbox.message.refused", HF_STR("reason", no.message));
        bson_destroy(&reply);
        return false;
    }
    hf_sandbox_command_run(conn, message.command, &reply);
    hf_buf_clear(out);
    good = message.no_reply ||
           (hf_sandbox_wire_reply(&message, (int32_t)atomic_fetch_add(&server->next_request_id, 1),
                                  &reply, out, &err) == HF_ERR_OK &&
            write_all(conn->fd, hf_buf_bytes(out)));
    bson_destroy(&reply);
    return good;
}

static void conn_run(void *argument)
{
    struct hf_sandbox_conn *conn = argument;
    HF_CLEANUP(hf_buf_fini) struct hf_buf in = HF_BUF_INIT(HF_SANDBOX_MESSAGE_MAX_BYTES);
    HF_CLEANUP(hf_buf_fini)
    struct hf_buf out = HF_BUF_INIT(HF_SANDBOX_MESSAGE_MAX_BYTES + (1 << 20));

    while (!atomic_load(&conn->server->stopping) && read_message(conn->fd, &in) &&
           answer(conn, &in, &out)) {
        if (in.capacity > (4U << 20)) {
            hf_buf_fini(&in);
            hf_buf_init(&in, HF_SANDBOX_MESSAGE_MAX_BYTES);
        }
    }
    (void)shutdown(conn->fd, SHUT_RDWR);
    atomic_store(&conn->done, true);
}

static void conn_destroy(struct hf_sandbox_conn *conn)
{
    hf_thread_join(conn->thread);
    (void)close(conn->fd);
    hf_sandbox_scram_destroy(conn->scram);
    hf_free(conn);
}

/* Takes finished connections out of the list and joins them; all of them when `all`. */
static void collect(struct hf_sandbox_server *server, bool all)
{
    struct hf_sandbox_conn *ended = NULL;

    hf_mutex_lock(&server->conns_mutex);
    for (struct hf_sandbox_conn **at = &server->conns; *at != NULL;) {
        struct hf_sandbox_conn *conn = *at;
        if (all || atomic_load(&conn->done)) {
            *at = conn->next;
            conn->next = ended;
            ended = conn;
            server->conn_count--;
        } else {
            at = &conn->next;
        }
    }
    hf_mutex_unlock(&server->conns_mutex);
    while (ended != NULL) {
        struct hf_sandbox_conn *next = ended->next;
        conn_destroy(ended);
        ended = next;
    }
}

/* Takes fd. */
static void admit(struct hf_sandbox_server *server, int fd, const struct sockaddr_storage *peer)
{
    struct hf_sandbox_conn *conn;
    struct hf_error err;
    char host[64] = "";
    char port[16] = "";
    bool full;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    /* A client that does not read must not keep a stop waiting. */
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){.tv_sec = 30},
                     sizeof(struct timeval));
    (void)getnameinfo((const struct sockaddr *)peer, sizeof *peer, host, sizeof host, port,
                      sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    hf_mutex_lock(&server->conns_mutex);
    full = server->conn_count >= MAX_CONNECTIONS;
    hf_mutex_unlock(&server->conns_mutex);
    conn = full ? NULL : hf_alloc_zero(sizeof *conn);
    if (conn == NULL) {
        hf_log_warn(server->options.log, "sandbox.connection.refused", HF_STR("client", host));
        (void)close(fd);
        return;
    }
    conn->server = server;
    conn->fd = fd;
    conn->id = (int32_t)atomic_fetch_add(&server->next_conn_id, 1);
    conn->loopback = strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
    hf_cancel_init(&conn->cancel);
    (void)snprintf(conn->client, sizeof conn->client, "%s:%s", host, port);
    hf_mutex_lock(&server->conns_mutex);
    if (hf_thread_start("conn", conn_run, conn, &conn->thread, &err) == HF_ERR_OK) {
        conn->next = server->conns;
        server->conns = conn;
        server->conn_count++;
        conn = NULL;
    }
    hf_mutex_unlock(&server->conns_mutex);
    if (conn != NULL) {
        hf_log_warn(server->options.log, "sandbox.connection.refused",
                    HF_STR("error", err.message));
        conn_destroy(conn);
    }
}

static void accept_run(void *argument)
{
    struct hf_sandbox_server *server = argument;

    while (!atomic_load(&server->stopping)) {
        struct pollfd poller = {.fd = server->listener, .events = POLLIN};
        struct sockaddr_storage peer = {0};
        socklen_t len = sizeof peer;
        int fd;

        collect(server, false);
        if (poll(&poller, 1, 200) <= 0) {
            continue;
        }
        fd = accept4(server->listener, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
        if (fd >= 0) {
            admit(server, fd, &peer);
        }
    }
}

static void reap_run(void *argument)
{
    struct hf_sandbox_server *server = argument;

    while (!atomic_load(&server->stopping)) {
        hf_cancel_sleep(server->options.shutdown, REAP_EVERY_MS);
        if (hf_cancel_requested(server->options.shutdown)) {
            (void)poll(NULL, 0, 50);
        }
        hf_sandbox_cursors_reap(server);
    }
}

/* ---- The server ---- */

static enum hf_err listen_on(const char *host, uint16_t port, int *out, struct hf_error *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char service[8];
    int fd;
    int rc;

    (void)snprintf(service, sizeof service, "%u", (unsigned)port);
    rc = getaddrinfo(host, service, &hints, &found);
    if (rc != 0 || found == NULL) {
        return hf_fail(err, HF_ERR_INVALID, "listen on %s: %s", host, gai_strerror(rc));
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    }
    rc = fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 128) != 0 ? errno
                                                                                            : 0;
    freeaddrinfo(found);
    if (rc != 0) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return hf_fail_errno(err, rc, "listen on %s port %u", host, (unsigned)port);
    }
    *out = fd;
    return HF_ERR_OK;
}

static const char *first_address(const struct hf_sandbox_options *options, char *out,
                                 size_t out_len)
{
    /* Of a list only the first counts: members listen on one address here. */
    (void)snprintf(out, out_len, "%.*s", (int)strcspn(options->bind_ip, ","), options->bind_ip);
    return strcmp(out, "localhost") == 0 ? "127.0.0.1" : out;
}

enum hf_err hf_sandbox_server_start(const struct hf_sandbox_server_options *options,
                                    struct hf_sandbox_server **out, struct hf_error *err)
{
    struct hf_sandbox_server *server = hf_alloc_zero(sizeof *server);
    char address[256];
    char host[200];
    uint64_t timeout_ms = 600000;

    if (server == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "start the server");
    }
    server->options = *options;
    server->listener = -1;
    hf_mutex_init(&server->conns_mutex);
    hf_mutex_init(&server->cursors_mutex);
    atomic_store(&server->next_conn_id, 1);
    atomic_store(&server->next_op_id, 1);
    if (!hf_parse_u64(hf_str_of(hf_sandbox_options_parameter(options->options,
                                                             "cursorTimeoutMillis", "600000")),
                      &timeout_ms)) {
        timeout_ms = 600000;
    }
    atomic_store(&server->cursor_timeout_ms, timeout_ms);
    server->started_mono_ms = hf_clock_mono_ms();
    hf_host_name(host, sizeof host);
    (void)snprintf(server->host, sizeof server->host, "%s:%u", host,
                   (unsigned)options->options->port);
    (void)snprintf(server->pretty_host, sizeof server->pretty_host, "%s",
                   options->options->port == 27017 ? host : server->host);
    if (listen_on(first_address(options->options, address, sizeof address), options->options->port,
                  &server->listener, err) != HF_ERR_OK ||
        hf_thread_start("accept", accept_run, server, &server->accept_thread, err) != HF_ERR_OK ||
        hf_thread_start("reap", reap_run, server, &server->reap_thread, err) != HF_ERR_OK) {
        hf_sandbox_server_stop(server);
        return err->code;
    }
    hf_log_info(options->log, "sandbox.listening", HF_STR("address", address),
                HF_U64("port", options->options->port));
    *out = server;
    return HF_ERR_OK;
}

void hf_sandbox_server_stop(struct hf_sandbox_server *server)
{
    if (server == NULL) {
        return;
    }
    atomic_store(&server->stopping, true);
    hf_thread_join(server->accept_thread);
    hf_thread_join(server->reap_thread);
    hf_mutex_lock(&server->conns_mutex);
    for (struct hf_sandbox_conn *conn = server->conns; conn != NULL; conn = conn->next) {
        hf_cancel_request(&conn->cancel);
        (void)shutdown(conn->fd, SHUT_RD);
    }
    hf_mutex_unlock(&server->conns_mutex);
    collect(server, true);
    hf_sandbox_cursors_close_all(server);
    if (server->listener >= 0) {
        (void)close(server->listener);
    }
    hf_mutex_fini(&server->conns_mutex);
    hf_mutex_fini(&server->cursors_mutex);
    hf_free(server);
}
