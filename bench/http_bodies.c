/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies of 16 MiB over loopback: our client to our server, PUT and GET, beside what the machine can do (memcpy, a pipe,
 * a bare TCP connection). Prints one table; docs/decisions/0003 explains it.
 *
 *   http_bodies [GiB per row, default 4] [certificate.pem key.pem]
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "os/clock.h"

#define BODY_BYTES ((size_t)16 << 20)
#define CLIENTS_MAX 8

static uint8_t *body; /* constant once filled */

static void die(const struct hf_error *err)
{
    (void)fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static double cpu_seconds(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

struct row {
    const char *what;
    uint64_t bytes;
    uint64_t began_ms;
    double began_cpu;
};

static struct row row_begin(const char *what, uint64_t bytes)
{
    return (struct row){what, bytes, hf_clock_mono_ms(), cpu_seconds()};
}

static void row_end(const struct row *row)
{
    double seconds = (double)(hf_clock_mono_ms() - row->began_ms) / 1e3;
    double gb = (double)row->bytes / 1e9;

    (void)printf("| %-44s | %6.2f | %14.2f |\n", row->what, gb / seconds,
                 (cpu_seconds() - row->began_cpu) / gb);
    (void)fflush(stdout);
}

static void bench_memcpy(uint64_t count)
{
    uint8_t *to = hf_alloc_zero(BODY_BYTES);
    struct row row = row_begin("memcpy, one thread", count * BODY_BYTES);

    for (uint64_t i = 0; to != NULL && i < count; i++) {
        memcpy(to, body, BODY_BYTES);
        __asm__ volatile("" : : "r"(to) : "memory");
    }
    row_end(&row);
    hf_free(to);
}

struct feed {
    int fd;
    uint64_t count;
};

static void feed_fd(void *context)
{
    struct feed *feed = context;

    for (uint64_t i = 0; i < feed->count; i++) {
        for (size_t at = 0; at < BODY_BYTES;) {
            ssize_t sent = write(feed->fd, body + at, BODY_BYTES - at);
            if (sent <= 0) {
                exit(1);
            }
            at += (size_t)sent;
        }
    }
    (void)close(feed->fd);
}

static void drain_fd(const char *what, int from, int to, uint64_t count)
{
    struct feed feed = {.fd = to, .count = count};
    struct hf_thread *thread = NULL;
    uint8_t *into = hf_alloc(BODY_BYTES);
    struct hf_error err;
    size_t at = 0;
    struct row row = row_begin(what, count * BODY_BYTES);

    if (into == NULL || hf_thread_start("feed", feed_fd, &feed, &thread, &err) != HF_ERR_OK) {
        exit(1);
    }
    for (;;) {
        size_t piece = BODY_BYTES - at < 131072 ? BODY_BYTES - at : 131072;
        ssize_t got = read(from, into + at, piece);
        if (got <= 0) {
            break;
        }
        at = (at + (size_t)got) % BODY_BYTES;
    }
    hf_thread_join(thread);
    row_end(&row);
    (void)close(from);
    hf_free(into);
}

static void bench_pipe(uint64_t count)
{
    int fds[2];

    if (pipe(fds) == 0) {
        drain_fd("pipe, two threads", fds[0], fds[1], count);
    }
}

static void bench_tcp(uint64_t count)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), out = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(listener, (struct sockaddr *)&address, len) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &len) != 0 ||
        connect(out, (struct sockaddr *)&address, len) != 0) {
        exit(1);
    }
    drain_fd("TCP over loopback, two threads", accept(listener, NULL, NULL), out, count);
    (void)close(listener);
}

static uint64_t allow_body(void *context, struct hf_http_request *request)
{
    (void)context;
    (void)request;
    return BODY_BYTES;
}

static void produce(struct hf_http_request *request)
{
    const struct hf_http_answer head = {.status = 200};
    struct hf_http_stream *stream =
        hf_http_respond_stream(request, &head, HF_HTTP_STREAM_SIZE_UNKNOWN);
    enum hf_err code = HF_ERR_OK;
    struct hf_error err;

    for (size_t at = 0; stream != NULL && code == HF_ERR_OK && at < BODY_BYTES;
         at += (size_t)1 << 20) {
        code = hf_http_stream_write(stream, hf_bytes_of(body + at, (size_t)1 << 20), &err);
    }
    if (stream != NULL) {
        hf_http_stream_finish(stream, code == HF_ERR_OK);
    }
}

static void produce_all(void *context)
{
    void *request;

    while (hf_queue_pop(context, &request)) {
        produce(request);
    }
}

static void serve(void *context, struct hf_http_request *request)
{
    struct hf_http_answer answer = {.status = 200};

    if (strcmp(hf_http_request_target(request), "/stream") == 0) {
        hf_http_keep(request, 0);
        if (!hf_queue_push(context, request)) {
            exit(1);
        }
        return;
    }
    if (strcmp(hf_http_request_method(request), "GET") == 0) {
        struct hf_buf copy = HF_BUF_INIT(BODY_BYTES);
        struct hf_error err;
        if (hf_buf_append(&copy, hf_bytes_of(body, BODY_BYTES), &err) != HF_ERR_OK) {
            die(&err);
        }
        (void)hf_http_respond_buf_take(request, &answer, &copy);
        return;
    }
    if (hf_http_request_body(request).len != BODY_BYTES) {
        exit(1);
    }
    (void)hf_http_respond(request, &answer);
}

struct caller {
    const char *url, *method, *target, *ca_file;
    uint64_t count;
};

static void call(void *context)
{
    struct caller *caller = context;
    const struct hf_http_client_options options = {.base_url = caller->url,
                                                   .ca_file = caller->ca_file};
    struct hf_http_call ask = {.method = caller->method, .target = caller->target};
    struct hf_http_reply reply;
    struct hf_http_client *client;
    struct hf_error err;

    if (strcmp(caller->method, "PUT") == 0) {
        ask.body = hf_bytes_of(body, BODY_BYTES);
    }
    hf_http_reply_init(&reply, BODY_BYTES);
    if (hf_http_client_create(&options, &client, &err) != HF_ERR_OK) {
        die(&err);
    }
    for (uint64_t i = 0; i < caller->count; i++) {
        if (hf_http_client_call(client, &ask, &reply, &err) != HF_ERR_OK) {
            die(&err);
        }
        if (reply.status != 200 || (ask.body.len == 0 && reply.body.len != BODY_BYTES)) {
            (void)fprintf(stderr, "status %d, %zu bytes\n", reply.status, reply.body.len);
            exit(1);
        }
    }
    hf_http_client_destroy(client);
    hf_http_reply_fini(&reply);
}

static void bench_http(const char *what, struct caller caller, unsigned clients, uint64_t count)
{
    struct hf_thread *threads[CLIENTS_MAX];
    struct hf_error err;
    struct row row = row_begin(what, count / clients * clients * BODY_BYTES);

    caller.count = count / clients;
    for (unsigned i = 0; i < clients; i++) {
        if (hf_thread_start("client", call, &caller, &threads[i], &err) != HF_ERR_OK) {
            die(&err);
        }
    }
    for (unsigned i = 0; i < clients; i++) {
        hf_thread_join(threads[i]);
    }
    row_end(&row);
}

static char *read_text(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = hf_alloc_zero(65536);

    if (file == NULL || text == NULL || fread(text, 1, 65535, file) == 0) {
        exit(1);
    }
    (void)fclose(file);
    return text;
}

static void bench_server(const char *cert, const char *key, uint64_t count)
{
    struct hf_queue *queue = hf_queue_create(64);
    const struct hf_http_server_options options = {
        .handler = {.context = queue, .on_headers = allow_body, .on_request = serve},
        .tls_cert_pem = cert == NULL ? NULL : read_text(cert),
        .tls_key_pem = key == NULL ? NULL : read_text(key),
    };
    struct hf_http_server *server;
    struct hf_thread *producer = NULL;
    struct hf_error err;
    char url[64];

    if (hf_http_server_start(&options, &server, &err) != HF_ERR_OK ||
        hf_thread_start("producer", produce_all, queue, &producer, &err) != HF_ERR_OK) {
        die(&err);
    }
    (void)snprintf(url, sizeof url, "%s://127.0.0.1:%u", cert == NULL ? "http" : "https",
                   hf_http_server_port(server));
    struct caller put = {.url = url, .method = "PUT", .target = "/x", .ca_file = cert};
    struct caller get = {.url = url, .method = "GET", .target = "/x", .ca_file = cert};
    struct caller stream = {.url = url, .method = "GET", .target = "/stream", .ca_file = cert};
    bench_http(cert == NULL ? "PUT 16 MiB, 1 client" : "PUT 16 MiB over TLS, 1 client", put, 1,
               count);
    bench_http(cert == NULL ? "PUT 16 MiB, 4 clients" : "PUT 16 MiB over TLS, 4 clients", put, 4,
               count);
    bench_http(cert == NULL ? "GET 16 MiB, 1 client" : "GET 16 MiB over TLS, 1 client", get, 1,
               count);
    bench_http(cert == NULL ? "GET 16 MiB, 4 clients" : "GET 16 MiB over TLS, 4 clients", get, 4,
               count);
    bench_http(cert == NULL ? "GET stream in chunks, 1 client" : "GET stream over TLS, 1 client",
               stream, 1, count);
    hf_http_server_stop(server);
    hf_queue_close(queue);
    hf_thread_join(producer);
    hf_queue_destroy(queue);
}

int main(int argc, char **argv)
{
    uint64_t gib = 4;

    if (argc > 1 && !hf_parse_u64(hf_str_of(argv[1]), &gib)) {
        (void)fprintf(stderr, "usage: http_bodies [GiB] [certificate.pem key.pem]\n");
        return 2;
    }
    uint64_t count = gib << 30 >> 24;
    body = hf_alloc(BODY_BYTES);
    if (body == NULL) {
        return 1;
    }
    for (size_t i = 0; i < BODY_BYTES; i++) {
        body[i] = (uint8_t)(i * 131 + (i >> 11));
    }
    (void)printf("| %-44s | %6s | %14s |\n|---|---|---|\n", "what", "GB/s", "CPU s per GB");
    bench_memcpy(count);
    bench_pipe(count);
    bench_tcp(count);
    bench_server(NULL, NULL, count);
    if (argc > 3) {
        bench_server(argv[2], argv[3], count);
    }
    hf_free(body);
    return 0;
}
