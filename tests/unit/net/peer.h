/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A peer that speaks whatever bytes a test wants over loopback. Every wait ends after PEER_LIMIT_MS.
 */
#ifndef HF_TESTS_UNIT_NET_PEER_H
#define HF_TESTS_UNIT_NET_PEER_H

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "os/clock.h"

#define PEER_LIMIT_MS 20000

HF_UNUSED static int peer_connect(uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* False when the other side closed. */
HF_UNUSED static bool peer_try_send(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;

    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent < 0) {
            return false;
        }
        at += sent;
        len -= (size_t)sent;
    }
    return true;
}

HF_UNUSED static void peer_send(int fd, const char *text)
{
    assert_true(peer_try_send(fd, text, strlen(text)));
}

/* True when something, or the end, can be read. */
HF_UNUSED static bool peer_readable(int fd, int within_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    return poll(&poll_fd, 1, within_ms) == 1;
}

/* Appends what arrives next; false at the end of the connection. */
HF_UNUSED static bool peer_read_some(int fd, struct hf_buf *into)
{
    static _Thread_local char bytes[65536];
    struct hf_error err;

    assert_true(peer_readable(fd, PEER_LIMIT_MS));
    ssize_t got = recv(fd, bytes, sizeof bytes, 0);
    if (got <= 0) {
        return false;
    }
    assert_int_equal(hf_buf_append(into, hf_bytes_of(bytes, (size_t)got), &err), HF_ERR_OK);
    return true;
}

HF_UNUSED static const char *peer_text(struct hf_buf *buf)
{
    const char *text = hf_buf_text(buf);

    assert_non_null(text);
    return text;
}

/* Reads until the text has come; the connection must not end before. */
HF_UNUSED static void peer_expect(int fd, struct hf_buf *into, const char *text)
{
    while (strstr(peer_text(into), text) == NULL) {
        if (!peer_read_some(fd, into)) {
            fail_msg("closed before \"%s\" came; what came: %s", text, peer_text(into));
        }
    }
}

/* Reads to the end of the connection. */
HF_UNUSED static void peer_read_all(int fd, struct hf_buf *into)
{
    while (peer_read_some(fd, into)) {
    }
}

/* Sends a request and reads to the text at the end of its answer. */
HF_UNUSED static void peer_ask(int fd, struct hf_buf *into, const char *request, const char *answer)
{
    hf_buf_clear(into);
    peer_send(fd, request);
    peer_expect(fd, into, answer);
}

/* Room for as many descriptors as the system allows; returns how many. */
HF_UNUSED static size_t peer_raise_descriptors(void)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max < 16384 ? limit.rlim_max : 16384;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return limit.rlim_cur;
}

/* A server that speaks whatever bytes a test wants: a listening socket. */
HF_UNUSED static int peer_listen(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

#endif
