/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small application behind the HTTP server: what it does with a request stands in the request's target.
 *
 *   /echo      answers with the body (at most 1 MiB; /echo/big 64 MiB)
 *   /hello     answers "hello" with what it knows about the request as headers
 *   /drain     lets no body in
 *   /early     answers 403 before the body
 *   /keep      is kept and answered by the test; /keep/soon has a deadline of 50 ms
 *   /forget    is not answered
 *   /bad       answers with an impossible header
 *   /stream    is kept, to be answered with a stream by the test
 */
#ifndef HF_TESTS_UNIT_NET_APP_H
#define HF_TESTS_UNIT_NET_APP_H

#include "net/http_server.h"
#include "os/clock.h"
#include "unit/net/peer.h"

#define APP_KEPT_MAX 2048

struct app {
    struct hf_http_server *server;
    uint16_t port;
    bool answers_deadlines;
    struct hf_mutex mutex;  /* guards: all below */
    struct hf_cond changed; /* any of them */
    struct hf_http_request *kept[APP_KEPT_MAX];
    size_t kept_count;
    unsigned headers_seen, handled, ended, gone, deadlines;
    uint64_t body_bytes;
};

static bool app_is(const struct hf_http_request *request, const char *target)
{
    return strncmp(hf_http_request_target(request), target, strlen(target)) == 0;
}

static void app_count(struct app *app, unsigned *what)
{
    HF_LOCKED(&app->mutex);
    (*what)++;
    hf_cond_broadcast(&app->changed);
}

static uint64_t app_on_headers(void *context, struct hf_http_request *request)
{
    struct app *app = context;

    assert_int_equal(hf_http_request_body(request).len, 0);
    app_count(app, &app->headers_seen);
    if (app_is(request, "/early")) {
        assert_true(hf_http_respond_text(request, 403, "text/plain", "too early"));
        return 0;
    }
    if (app_is(request, "/drain")) {
        return 0;
    }
    return app_is(request, "/echo/big") ? (uint64_t)64 << 20 : (uint64_t)1 << 20;
}

static void app_hello(struct hf_http_request *request)
{
    const char *color = hf_http_request_header(request, "x-color");
    const struct hf_http_header headers[] = {
        {"X-Method", hf_http_request_method(request)},
        {"X-Target", hf_http_request_target(request)},
        {"X-Peer", hf_http_request_peer(request)},
        {"X-Tls", hf_http_request_is_tls(request) ? "yes" : "no"},
        {"X-Color", color == NULL ? "none" : color},
    };
    const struct hf_http_answer answer = {
        .status = 200, .headers = headers, .header_count = 5, .body = hf_bytes_of("hello", 5)};

    assert_true(hf_http_respond(request, &answer));
}

static void app_keep(struct app *app, struct hf_http_request *request)
{
    /* Kept before anyone else can know it. */
    hf_http_keep(request, app_is(request, "/keep/soon") ? hf_clock_mono_ms() + 50 : 0);
    HF_LOCKED(&app->mutex);
    assert_true(app->kept_count < APP_KEPT_MAX);
    app->kept[app->kept_count++] = request;
    hf_cond_broadcast(&app->changed);
}

static void app_on_request(void *context, struct hf_http_request *request)
{
    struct app *app = context;
    const struct hf_http_header impossible = {"X-Bad", "a\r\nb"};
    struct hf_http_answer answer = {.status = 200, .body = hf_http_request_body(request)};

    app_count(app, &app->handled);
    hf_mutex_lock(&app->mutex);
    app->body_bytes += answer.body.len;
    hf_mutex_unlock(&app->mutex);
    if (app_is(request, "/keep") || app_is(request, "/stream")) {
        app_keep(app, request);
    } else if (app_is(request, "/hello")) {
        app_hello(request);
    } else if (app_is(request, "/bad")) {
        answer.headers = &impossible;
        answer.header_count = 1;
        assert_false(hf_http_respond(request, &answer));
    } else if (!app_is(request, "/forget")) {
        assert_true(hf_http_respond(request, &answer));
    }
}

/* Takes the request off the list; false when somebody else did. */
static bool app_take(struct app *app, struct hf_http_request *request)
{
    HF_LOCKED(&app->mutex);
    for (size_t i = 0; i < app->kept_count; i++) {
        if (app->kept[i] == request) {
            app->kept[i] = app->kept[--app->kept_count];
            return true;
        }
    }
    return false;
}

static void app_on_deadline(void *context, struct hf_http_request *request)
{
    struct app *app = context;

    if (app_take(app, request)) {
        assert_true(hf_http_respond_text(request, 204, "text/plain", ""));
    }
    app_count(app, &app->deadlines);
}

static void app_on_gone(void *context, struct hf_http_request *request)
{
    struct app *app = context;

    assert_true(hf_http_request_gone(request));
    app_count(app, &app->gone);
}

static void app_on_end(void *context, struct hf_http_request *request)
{
    struct app *app = context;

    (void)request;
    app_count(app, &app->ended);
}

static void app_on_refuse(void *context, const struct hf_http_request *request,
                          enum hf_http_refusal why, struct hf_http_answer *answer)
{
    static const struct hf_http_header type = {"Content-Type", "application/json"};

    (void)context;
    (void)request;
    (void)why;
    answer->headers = &type;
    answer->header_count = 1;
    answer->body = hf_bytes_of("{\"error\":true}", 14);
}

/* Waits until *what is at least count. */
HF_UNUSED static void app_wait(struct app *app, const unsigned *what, unsigned count)
{
    uint64_t until_ms = hf_clock_mono_ms() + PEER_LIMIT_MS;

    HF_LOCKED(&app->mutex);
    while (*what < count) {
        assert_true(hf_clock_mono_ms() < until_ms);
        (void)hf_cond_wait_for(&app->changed, &app->mutex, 1000);
    }
}

/* Waits until that many requests are kept and on the list. */
HF_UNUSED static void app_wait_kept(struct app *app, size_t count)
{
    uint64_t until_ms = hf_clock_mono_ms() + PEER_LIMIT_MS;

    HF_LOCKED(&app->mutex);
    while (app->kept_count < count) {
        assert_true(hf_clock_mono_ms() < until_ms);
        (void)hf_cond_wait_for(&app->changed, &app->mutex, 1000);
    }
}

HF_UNUSED static struct hf_http_request *app_next_kept(struct app *app)
{
    app_wait_kept(app, 1);
    HF_LOCKED(&app->mutex);
    return app->kept[--app->kept_count];
}

/* Waits for a fact about the server that no callback tells: polled, with a limit. */
HF_UNUSED static void app_wait_stats(struct app *app,
                                     bool (*holds)(const struct hf_http_server_stats *))
{
    uint64_t until_ms = hf_clock_mono_ms() + PEER_LIMIT_MS;
    struct hf_http_server_stats stats;

    for (;;) {
        hf_http_server_stats(app->server, &stats);
        if (holds(&stats)) {
            return;
        }
        assert_true(hf_clock_mono_ms() < until_ms);
        (void)poll(NULL, 0, 1);
    }
}

HF_UNUSED static bool app_is_quiet(const struct hf_http_server_stats *stats)
{
    return stats->requests == 0 && stats->kept == 0 && stats->body_bytes == 0;
}

HF_UNUSED static bool app_is_empty(const struct hf_http_server_stats *stats)
{
    return stats->connections == 0 && app_is_quiet(stats);
}

static void app_init(struct app *app)
{
    *app = (struct app){.answers_deadlines = true};
    hf_mutex_init(&app->mutex);
    hf_cond_init(&app->changed);
}

static void app_start(struct app *app, const struct hf_http_server_options *base)
{
    struct hf_http_server_options options = *base;
    struct hf_error err;

    options.handler = (struct hf_http_handler){
        .context = app,
        .on_headers = app_on_headers,
        .on_request = app_on_request,
        .on_deadline = app->answers_deadlines ? app_on_deadline : NULL,
        .on_gone = app_on_gone,
        .on_end = app_on_end,
        .on_refuse = app_on_refuse,
    };
    if (options.thread_count == 0) {
        options.thread_count = 2;
    }
    if (hf_http_server_start(&options, &app->server, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    app->port = hf_http_server_port(app->server);
}

static void app_stop(struct app *app)
{
    hf_http_server_stop(app->server);
    app->server = NULL;
}

static void app_fini(struct app *app)
{
    app_stop(app);
    assert_int_equal(app->ended, app->headers_seen);
    hf_cond_fini(&app->changed);
    hf_mutex_fini(&app->mutex);
}

/* The common frame of a test. */
HF_UNUSED static int app_set_up(void **state)
{
    static struct app app;

    app_init(&app);
    app_start(&app, &(struct hf_http_server_options){0});
    *state = &app;
    return 0;
}

HF_UNUSED static int app_tear_down(void **state)
{
    app_fini(*state);
    return 0;
}

#define APP_TEST(name) cmocka_unit_test_setup_teardown(name, app_set_up, app_tear_down)

#endif
