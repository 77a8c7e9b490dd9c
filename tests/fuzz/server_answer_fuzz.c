/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an agent takes from a server: the calls of store/remote.c and agent/link.c over the real HTTP client, against
 * answers that are the input. Its first line says what is called, one letter each, and after '!' that the server hangs up
 * after every answer; then come raw answers, with a line "---" between two. "{sum}" in a head becomes the checksum of what
 * follows the head, "{len}" its length: so that lies can be told well.
 *
 * Whatever is said, every call ends, soon by the clock that is made up here; what it takes for an object's bytes
 * came with their checksum, and is exactly what was asked for.
 *
 * Sockets are pairs, whose other end is served whenever the client would wait; the linker takes these definitions first.
 */
#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/link.h"
#include "base/alloc.h"
#include "codec/hash.h"
#include "net/http_client.h"
#include "os/clock.h"
#include "store/remote.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CONNECTIONS_MAX 128
#define REQUEST_MAX_BYTES ((size_t)64 << 10)
#define SENT_MAX_BYTES ((size_t)1 << 20)
#define CALLS_MAX 11
#define STEP_BYTES 4093
#define SLEEPS_MAX 12
#define WAITS_MAX 100000
#define RETRY_MS 5000
#define IDLE_STEP_MS 20000

/* ---- The server ---- */

struct connection {
    int fd; /* owned; -1: none */
    struct hf_buf got;
    size_t answer_at; /* of the answer that goes out */
    bool answering;
};

static struct stand_in {
    struct connection connections[CONNECTIONS_MAX];
    size_t connection_count;
    struct hf_bytes answers; /* those that were not taken yet */
    struct hf_buf answer;    /* the last one that was taken, filled in */
    struct hf_buf sent;      /* all that the call under way was answered with */
    bool hangs_up;
    uint64_t now_ms;
    unsigned sleeps, waits;
    struct hf_cancel cancel;
} server;

/* Up to the line "---", which goes. */
static struct hf_bytes next_part(struct hf_bytes *rest)
{
    const uint8_t *line = rest->len == 0 ? NULL : memmem(rest->data, rest->len, "\n---\n", 5);
    size_t len = line == NULL ? rest->len : (size_t)(line - rest->data);
    struct hf_bytes part = hf_bytes_of(rest->data, len);
    *rest =
        line == NULL ? (struct hf_bytes){.data = NULL} : hf_bytes_of(line + 5, rest->len - len - 5);
    return part;
}

static void add(struct hf_buf *buf, struct hf_bytes bytes)
{
    struct hf_error err;
    HF_ASSERT(bytes.len == 0 || hf_buf_append(buf, bytes, &err) == HF_ERR_OK);
}

/* The next answer, with its head filled in, behind what is in out. False: there is none. */
static bool take_answer(struct hf_buf *out)
{
    if (server.answers.len == 0) {
        return false;
    }
    char sum[17], len_text[24];
    struct hf_bytes part = next_part(&server.answers);
    const uint8_t *gap = part.len == 0 ? NULL : memmem(part.data, part.len, "\r\n\r\n", 4);
    size_t head_len = gap == NULL ? part.len : (size_t)(gap - part.data) + 4;
    struct hf_bytes body = hf_bytes_of(part.data + head_len, part.len - head_len);
    snprintf(sum, sizeof sum, "%016llx", (unsigned long long)hf_xxh3(body));
    snprintf(len_text, sizeof len_text, "%zu", body.len);
    for (size_t i = 0; i < head_len;) {
        struct hf_bytes piece = hf_bytes_of(part.data + i, 1);
        if (head_len - i >= 5 && memcmp(piece.data, "{sum}", 5) == 0) {
            add(out, hf_bytes_of(sum, 16));
            i += 5;
        } else if (head_len - i >= 5 && memcmp(piece.data, "{len}", 5) == 0) {
            add(out, hf_bytes_of(len_text, strlen(len_text)));
            i += 5;
        } else {
            add(out, piece);
            i++;
        }
    }
    add(out, body);
    return true;
}

static void hang_up(struct connection *connection)
{
    if (connection->fd >= 0) {
        close(connection->fd);
    }
    connection->fd = -1;
    connection->answering = false;
    hf_buf_fini(&connection->got);
}

/* Those that the client has left in the middle of an answer. */
static void hang_up_others(const struct connection *connection)
{
    for (size_t i = 0; i < server.connection_count; i++) {
        if (&server.connections[i] != connection && server.connections[i].answering) {
            hang_up(&server.connections[i]);
        }
    }
}

/* Whether a whole request has come; it is then forgotten. */
static bool take_request(struct connection *connection)
{
    struct hf_buf *got = &connection->got;
    const uint8_t *gap = got->len == 0 ? NULL : memmem(got->data, got->len, "\r\n\r\n", 4);
    if (gap == NULL) {
        return false;
    }
    size_t need = (size_t)(gap - got->data) + 4;
    const uint8_t *length = memmem(got->data, need, "Content-Length: ", 16);
    need += length == NULL ? 0 : strtoul((const char *)length + 16, NULL, 10);
    if (got->len < need) {
        return false;
    }
    hf_buf_clear(got);
    return true;
}

/* Reads, answers; true when something was done. */
static bool serve(struct connection *connection)
{
    uint8_t bytes[4096];
    if (connection->fd < 0) {
        return false;
    }
    ssize_t count = recv(connection->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (count == 0 || (count < 0 && errno != EAGAIN)) {
        hang_up(connection);
        return true;
    }
    if (count > 0) {
        add(&connection->got, hf_bytes_of(bytes, (size_t)count));
    }
    if (!connection->answering && take_request(connection)) {
        hang_up_others(connection);
        hf_buf_clear(&server.answer);
        if (!take_answer(&server.answer)) {
            hang_up(connection);
            return true;
        }
        connection->answering = true;
        connection->answer_at = 0;
    }
    if (!connection->answering) {
        return count > 0;
    }
    size_t left = server.answer.len - connection->answer_at;
    if (left == 0) { /* an answer of no byte at all */
        connection->answering = false;
        return true;
    }
    struct hf_bytes step = hf_bytes_of(server.answer.data + connection->answer_at,
                                       left < STEP_BYTES ? left : STEP_BYTES);
    count = send(connection->fd, step.data, step.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0) {
        hang_up(connection);
        return true;
    }
    add(&server.sent, hf_bytes_of(step.data, (size_t)count));
    connection->answer_at += (size_t)count;
    if (connection->answer_at == server.answer.len) {
        connection->answering = false;
        if (server.hangs_up) {
            hang_up(connection);
        }
    }
    return true;
}

/* ---- Instead of sockets, waiting and the clock ---- */

static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    int pair[2];
    (void)context;
    (void)purpose;
    (void)address;
    size_t i = 0;
    while (i < server.connection_count && server.connections[i].fd >= 0) {
        i++;
    }
    HF_ASSERT(i < CONNECTIONS_MAX);
    server.connection_count = i == server.connection_count ? i + 1 : server.connection_count;
    HF_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    server.connections[i] =
        (struct connection){.fd = pair[1], .got = HF_BUF_INIT(REQUEST_MAX_BYTES)};
    return pair[0];
}

/* Curl calls it: all sockets here are pairs. */
int connect(int fd, const struct sockaddr *address, socklen_t len)
{
    (void)fd;
    (void)address;
    (void)len;
    return 0;
}

CURLMcode curl_multi_add_handle(CURLM *multi, CURL *easy)
{
    static CURLMcode (*next)(CURLM *, CURL *);
    if (next == NULL) {
        *(void **)&next = dlsym(RTLD_NEXT, "curl_multi_add_handle");
        HF_ASSERT(next != NULL);
    }
    HF_ASSERT(curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK);
    /* Large buffers would be most of an input's time. */
    HF_ASSERT(curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 4096L) == CURLE_OK);
    HF_ASSERT(curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 16384L) == CURLE_OK);
    return next(multi, easy);
}

CURLMcode curl_multi_poll(CURLM *multi, struct curl_waitfd *more, unsigned count, int timeout_ms,
                          int *ready)
{
    bool served = false;
    (void)multi;
    (void)more;
    (void)count;
    (void)timeout_ms;
    (void)ready;
    HF_ASSERT(server.waits++ < WAITS_MAX);
    for (size_t i = 0; i < server.connection_count; i++) {
        served = serve(&server.connections[i]) || served;
    }
    if (!served) {
        server.now_ms += IDLE_STEP_MS;
    }
    return CURLM_OK;
}

uint64_t hf_clock_mono_ms(void)
{
    return server.now_ms++;
}

/* An operator's patience ends too: who tries for ever is stopped. */
void hf_cancel_sleep(const struct hf_cancel *cancel, uint64_t timeout_ms)
{
    HF_ASSERT(cancel == &server.cancel);
    server.now_ms += timeout_ms;
    if (++server.sleeps == SLEEPS_MAX) {
        hf_cancel_request(&server.cancel);
    }
    HF_ASSERT(server.sleeps <= SLEEPS_MAX);
}

/* ---- What is believed ---- */

static bool was_sent(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i + len <= server.sent.len; i++) {
        if (strncasecmp((const char *)server.sent.data + i, text, len) == 0) {
            return true;
        }
    }
    return false;
}

static bool sum_was_sent(struct hf_bytes bytes)
{
    char sum[17];
    snprintf(sum, sizeof sum, "%016llx", (unsigned long long)hf_xxh3(bytes));
    return was_sent(sum);
}

static void check_error(const struct hf_error *err)
{
    HF_ASSERT(err->code != HF_ERR_OK && err->message[0] != '\0');
    HF_ASSERT(strlen(err->message) < sizeof err->message);
}

static void check_list(const struct hf_store_list *list, const char *prefix, const char *after,
                       size_t max)
{
    const char *before = after;
    HF_ASSERT(list->count <= max);
    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->entries[i].name;
        HF_ASSERT(strncmp(name, prefix, strlen(prefix)) == 0 && strcmp(name, before) > 0);
        HF_ASSERT(was_sent(name) || was_sent("\\")); /* or escaped */
        before = name;
    }
}

/* ---- Calls ---- */

static const char object_name[] = "j/111111111111111111111111/p/0001";

static void call_get(struct hf_store *store)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(4096);
    struct hf_error err;
    if (hf_store_get(store, hf_str_of(object_name), 4096, &out, &err) == HF_ERR_OK) {
        HF_ASSERT(sum_was_sent(hf_buf_bytes(&out)) && was_sent(" 200"));
    } else {
        check_error(&err);
        HF_ASSERT(out.len == 0);
    }
}

static void call_range(struct hf_store *store)
{
    uint8_t out[7];
    struct hf_error err;
    if (hf_store_get_range(store, hf_str_of(object_name), 3, out, sizeof out, &err) == HF_ERR_OK) {
        HF_ASSERT(sum_was_sent(hf_bytes_of(out, sizeof out)) && was_sent(" 206"));
        HF_ASSERT(was_sent("bytes 3-"));
    } else {
        check_error(&err);
    }
}

static void call_tail(struct hf_store *store)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(64);
    uint64_t size = 0;
    struct hf_error err;
    if (hf_store_get_tail(store, hf_str_of(object_name), 9, &out, &size, &err) == HF_ERR_OK) {
        HF_ASSERT(sum_was_sent(hf_buf_bytes(&out)) && was_sent(" 206"));
        HF_ASSERT(out.len == (size < 9 ? size : 9));
    } else {
        check_error(&err);
        HF_ASSERT(out.len == 0);
    }
}

static void call_size(struct hf_store *store)
{
    char text[24];
    uint64_t size = 0;
    struct hf_error err;
    if (hf_store_size(store, hf_str_of(object_name), &size, &err) == HF_ERR_OK) {
        snprintf(text, sizeof text, "%llu", (unsigned long long)size);
        HF_ASSERT(was_sent(" 206") && was_sent(text));
    } else {
        check_error(&err);
    }
}

static void call_list(struct hf_store *store)
{
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL};
    struct hf_error err;
    if (hf_store_list(store, hf_str_of("j/"), hf_str_of("j/0"), 5, &list, &err) == HF_ERR_OK) {
        check_list(&list, "j/", "j/0", 5);
        HF_ASSERT(list.more || was_sent("false"));
    } else {
        check_error(&err);
    }
}

static void call_put(struct hf_store *store)
{
    struct hf_error err;
    if (hf_store_put(store, hf_str_of(object_name), hf_bytes_of("content", 7), NULL, &err) ==
        HF_ERR_OK) {
        HF_ASSERT(was_sent(" 2"));
    } else {
        check_error(&err);
    }
}

static void call_hello(struct hf_agent_link *link)
{
    struct hf_msg_hello hello = {.host = "h", .release = "1"};
    struct hf_msg_hello_answer answer;
    struct hf_error err;
    memset(hello.agent.bytes, 0x33, sizeof hello.agent.bytes);
    if (hf_agent_link_hello(link, &hello, &answer, &err) == HF_ERR_OK) {
        HF_ASSERT(was_sent(" 2") && strlen(answer.session) < sizeof answer.session);
    } else {
        check_error(&err);
    }
}

static void call_poll(struct hf_agent_link *link)
{
    HF_CLEANUP(hf_msg_poll_answer_fini) struct hf_msg_poll_answer answer = {.tasks = NULL};
    const struct hf_msg_poll poll = {.session = "s", .wait_ms = 30000};
    struct hf_error err;
    if (hf_agent_link_poll(link, &poll, NULL, &answer, &err) == HF_ERR_OK) {
        HF_ASSERT(was_sent(" 2") && answer.task_count <= HF_MESSAGE_TASKS_MAX);
    } else {
        check_error(&err);
    }
}

static void call_finish(struct hf_agent_link *link)
{
    const struct hf_msg_finish finish = {.session = "s", .code = HF_ERR_IO, .message = "broken"};
    struct hf_error err;
    if (hf_agent_link_finish(link, &finish, RETRY_MS, &err) == HF_ERR_OK) {
        HF_ASSERT(was_sent(" 2"));
    } else {
        check_error(&err);
    }
}

static void call_slice(struct hf_agent_link *link)
{
    const struct hf_msg_slice slice = {.session = "s", .object = "j/1/o/1"};
    struct hf_error err;
    if (hf_agent_link_slice(link, &slice, &err) == HF_ERR_OK) {
        HF_ASSERT(was_sent(" 2"));
    } else {
        check_error(&err);
    }
}

static void make_call(char letter, struct hf_store *store, struct hf_agent_link *link)
{
    static const struct {
        char letter;
        void (*of_store)(struct hf_store *store);
        void (*of_link)(struct hf_agent_link *link);
    } calls[] = {
        {'g', call_get, NULL},   {'r', call_range, NULL}, {'t', call_tail, NULL},
        {'s', call_size, NULL},  {'l', call_list, NULL},  {'p', call_put, NULL},
        {'h', NULL, call_hello}, {'o', NULL, call_poll},  {'f', NULL, call_finish},
        {'c', NULL, call_slice},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(calls); i++) {
        if (calls[i].letter == letter) {
            /* Each call begins with whatever connection the one before left. */
            hf_buf_clear(&server.sent);
            hf_cancel_init(&server.cancel);
            server.sleeps = server.waits = 0;
            if (calls[i].of_store != NULL) {
                calls[i].of_store(store);
            } else {
                calls[i].of_link(link);
            }
        }
    }
}

static void end(struct hf_store *store, struct hf_agent_link *link)
{
    hf_store_close(store);
    hf_agent_link_destroy(link);
    for (size_t i = 0; i < server.connection_count; i++) {
        hang_up(&server.connections[i]);
    }
    hf_buf_fini(&server.answer);
    hf_buf_fini(&server.sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line = size == 0 ? NULL : memchr(data, '\n', size);
    if (line == NULL || (size_t)(line - data) > CALLS_MAX) {
        return 0;
    }
    static const char url[] = "http://127.0.0.1:1";
    struct hf_secret bearer = {.data = "key", .len = 3};
    struct hf_store *store = NULL;
    struct hf_agent_link *link = NULL;
    struct hf_error err;
    server = (struct stand_in){.answers = hf_bytes_of(line + 1, size - (size_t)(line + 1 - data)),
                               .hangs_up = memchr(data, '!', (size_t)(line - data)) != NULL};
    hf_buf_init(&server.answer, SENT_MAX_BYTES);
    hf_buf_init(&server.sent, SENT_MAX_BYTES);
    hf_cancel_init(&server.cancel);
    const struct hf_store_remote_options remote = {
        .base_url = url, .bearer = &bearer, .cancel = &server.cancel, .retry_ms = RETRY_MS};
    const struct hf_agent_link_options options = {
        .server_url = url, .bearer = &bearer, .cancel = &server.cancel};
    HF_ASSERT(hf_store_remote_open(&remote, &store, &err) == HF_ERR_OK);
    HF_ASSERT(hf_agent_link_create(&options, &link, &err) == HF_ERR_OK);
    for (const uint8_t *at = data; at < line; at++) {
        make_call((char)*at, store, link);
    }
    end(store, link);
    return 0;
}
