/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server on 127.0.0.1 that speaks just enough of the wire protocol to answer a driver as a script says: recorded
 * replies, refusals, a connection that breaks. For what cannot be made to happen on a real server at will.
 */
#ifndef HF_TESTS_CONTRACT_MONGO_SCRIPTED_SERVER_H
#define HF_TESTS_CONTRACT_MONGO_SCRIPTED_SERVER_H

#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/thread.h"
#include "unit/mongo/recorded.h"

#define SCRIPT_CONNECTIONS 16
#define SCRIPT_HISTORY 4096
#define SCRIPT_MESSAGE_MAX (32u << 20)

enum script_action { SCRIPT_REPLY, SCRIPT_BREAK };

/* Fills reply (empty at first; ok: 1 is added where ok is missing) for a command; runs on the server's thread. */
typedef enum script_action (*script_handler)(void *argument, const char *name,
                                             const bson_t *command, bson_t *reply);

struct scripted_server {
    int listener;
    char host[64];
    bson_t *hello; /* owned; what hello and isMaster answer; NULL: what the handler says */
    script_handler handler;
    void *argument;
    struct hf_thread *thread;
    atomic_bool stop;
    struct hf_mutex mutex;           /* guards: history, history_count */
    bson_t *history[SCRIPT_HISTORY]; /* owned; commands in order, hello left out */
    size_t history_count;
    struct pollfd fds[SCRIPT_CONNECTIONS + 1];
    nfds_t fd_count;
};

static inline bool script_read(int fd, uint8_t *out, size_t len)
{
    while (len > 0) {
        ssize_t got = recv(fd, out, len, 0);
        if (got <= 0) {
            return false;
        }
        out += got;
        len -= (size_t)got;
    }
    return true;
}

static inline bool script_write(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t put = send(fd, data, len, MSG_NOSIGNAL);
        if (put <= 0) {
            return false;
        }
        data += put;
        len -= (size_t)put;
    }
    return true;
}

static inline void script_remember(struct scripted_server *server, const bson_t *command)
{
    HF_LOCKED(&server->mutex);
    if (server->history_count < SCRIPT_HISTORY) {
        server->history[server->history_count++] = bson_copy(command);
    }
}

static inline enum script_action script_answer(struct scripted_server *server,
                                               const bson_t *command, bson_t *reply)
{
    const char *name = hf_mongo_command_name(command);

    bson_init(reply);
    if (server->hello != NULL &&
        (strcasecmp(name, "hello") == 0 || strcasecmp(name, "isMaster") == 0)) {
        (void)bson_concat(reply, server->hello);
        return SCRIPT_REPLY;
    }
    script_remember(server, command);
    enum script_action action = server->handler(server->argument, name, command, reply);
    if (!bson_has_field(reply, "ok")) {
        (void)BSON_APPEND_DOUBLE(reply, "ok", 1);
    }
    return action;
}

static inline bool script_send(int fd, uint32_t request_id, bool as_reply, const bson_t *doc)
{
    uint8_t head[36] = {0};
    size_t head_len = as_reply ? 36 : 21;

    hf_store_le32(head, (uint32_t)(head_len + doc->len));
    hf_store_le32(head + 8, request_id);
    hf_store_le32(head + 12, as_reply ? 1 : 2013);
    if (as_reply) {
        hf_store_le32(head + 16, 8);
        hf_store_le32(head + 32, 1);
    }
    return script_write(fd, head, head_len) && script_write(fd, bson_get_data(doc), doc->len);
}

/* One message; false closes the connection. */
static inline bool script_serve(struct scripted_server *server, int fd)
{
    uint8_t head[16];
    bson_t command;
    bson_t reply;
    bool keep = false;

    if (!script_read(fd, head, sizeof head)) {
        return false;
    }
    size_t len = hf_load_le32(head);
    bool legacy = hf_load_le32(head + 12) == 2004;
    if (len < 21 || len > SCRIPT_MESSAGE_MAX) {
        return false;
    }
    HF_CLEANUP(hf_free) uint8_t *body = hf_alloc(len);
    if (body == NULL || !script_read(fd, body, len - sizeof head)) {
        return false;
    }
    size_t at = 5;
    if (legacy) {
        at = 4 + strlen((const char *)body + 4) + 1 + 8;
    }
    size_t doc_len = hf_load_le32(body + at);
    if (bson_init_static(&command, body + at, doc_len)) {
        keep = script_answer(server, &command, &reply) == SCRIPT_REPLY &&
               script_send(fd, hf_load_le32(head + 4), legacy, &reply);
        bson_destroy(&reply);
    }
    return keep;
}

static inline void script_run(void *argument)
{
    struct scripted_server *server = argument;

    server->fds[0] = (struct pollfd){.fd = server->listener, .events = POLLIN};
    server->fd_count = 1;
    while (!atomic_load(&server->stop)) {
        (void)poll(server->fds, server->fd_count, 20);
        for (nfds_t i = server->fd_count; i > 1; i--) {
            struct pollfd *one = &server->fds[i - 1];
            if (one->revents != 0 && !script_serve(server, one->fd)) {
                (void)close(one->fd);
                *one = server->fds[--server->fd_count];
            }
        }
        if (server->fds[0].revents != 0 && server->fd_count <= SCRIPT_CONNECTIONS) {
            int fd = accept(server->listener, NULL, NULL);
            if (fd >= 0) {
                server->fds[server->fd_count++] = (struct pollfd){.fd = fd, .events = POLLIN};
            }
        }
    }
    for (nfds_t i = 0; i < server->fd_count; i++) {
        (void)close(server->fds[i].fd);
    }
}

/* hello: the name of a recording; NULL: the handler answers that, too. */
static inline struct scripted_server *script_start(const char *hello, script_handler handler,
                                                   void *argument)
{
    struct scripted_server *server = hf_alloc_zero(sizeof *server);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    struct hf_error err;

    assert_non_null(server);
    hf_mutex_init(&server->mutex);
    server->hello = hello == NULL ? NULL : recorded(hello);
    server->handler = handler;
    server->argument = argument;
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->listener, 16), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &len), 0);
    (void)snprintf(server->host, sizeof server->host, "127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(hf_thread_start("script", script_run, server, &server->thread, &err),
                     HF_ERR_OK);
    return server;
}

static inline void script_stop(struct scripted_server *server)
{
    if (server == NULL) {
        return;
    }
    atomic_store(&server->stop, true);
    hf_thread_join(server->thread);
    for (size_t i = 0; i < server->history_count; i++) {
        bson_destroy(server->history[i]);
    }
    if (server->hello != NULL) {
        bson_destroy(server->hello);
    }
    hf_mutex_fini(&server->mutex);
    hf_free(server);
}
HF_CLEANUP_DEFINE(script_stop, struct scripted_server *)
#define SCRIPTED HF_CLEANUP(script_stop) struct scripted_server

/* How often a command of that name came in. */
static inline size_t script_count(struct scripted_server *server, const char *name)
{
    HF_LOCKED(&server->mutex);
    size_t count = 0;
    for (size_t i = 0; i < server->history_count; i++) {
        count += strcmp(hf_mongo_command_name(server->history[i]), name) == 0;
    }
    return count;
}

/* The nth (from 0) command of that name; a copy to be destroyed; fails the test when there is none. */
static inline bson_t *script_nth(struct scripted_server *server, const char *name, size_t nth)
{
    HF_LOCKED(&server->mutex);
    for (size_t i = 0; i < server->history_count; i++) {
        if (strcmp(hf_mongo_command_name(server->history[i]), name) == 0 && nth-- == 0) {
            return bson_copy(server->history[i]);
        }
    }
    return NULL;
}

/* Puts a recorded answer into reply. */
static inline void script_recorded(bson_t *reply, const char *name)
{
    HF_REPLY bson_t *answer = recorded(name);
    (void)bson_concat(reply, answer);
}

static inline void script_json(bson_t *reply, const char *json)
{
    HF_REPLY bson_t *answer = bson_of(json);
    (void)bson_concat(reply, answer);
}

#endif
