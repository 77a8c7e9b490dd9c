/* SPDX-License-Identifier: Apache-2.0 */
/* What the watch thread minds: deadlines, clients that leave, connection limits, peers that are too slow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/net/app.h"

#define ANSWER_MAX ((size_t)1 << 20)
#define KEEP "GET /keep HTTP/1.1\r\nHost: h\r\n\r\n"
#define HELLO "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"

static void test_a_deadline_is_told_and_answered(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    int fd = peer_connect(app->port);
    uint64_t began_ms = hf_clock_mono_ms();

    peer_ask(fd, &answer, "GET /keep/soon HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 204 ");
    assert_true(hf_clock_mono_ms() - began_ms >= 49);
    app_wait(app, &app->deadlines, 1);
    peer_ask(fd, &answer, HELLO, "hello");
    (void)close(fd);
}

static void test_without_a_callback_a_deadline_gets_503_and_the_late_answer_is_lost(void **state)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    struct app app;

    (void)state;
    app_init(&app);
    app.answers_deadlines = false;
    app_start(&app, &(struct hf_http_server_options){0});
    int fd = peer_connect(app.port);
    peer_ask(fd, &answer, "GET /keep/soon HTTP/1.1\r\nHost: h\r\n\r\n", "{\"error\":true}");
    assert_non_null(strstr(peer_text(&answer), "HTTP/1.1 503 "));
    assert_non_null(strstr(peer_text(&answer), "Retry-After: 2\r\n"));
    assert_false(hf_http_respond_text(app_next_kept(&app), 200, "text/plain", "late"));
    peer_ask(fd, &answer, HELLO, "hello");
    assert_null(strstr(peer_text(&answer), "late"));
    (void)close(fd);
    app_fini(&app);
}

static void test_a_client_that_leaves_is_noticed_and_its_answer_thrown_away(void **state)
{
    struct app *app = *state;
    int fd = peer_connect(app->port);

    peer_send(fd, KEEP);
    struct hf_http_request *request = app_next_kept(app);
    assert_false(hf_http_request_gone(request));
    (void)close(fd);
    app_wait(app, &app->gone, 1);
    assert_true(hf_http_request_gone(request));
    assert_string_equal(hf_http_request_target(request), "/keep");
    assert_false(hf_http_respond_text(request, 200, "text/plain", "nobody hears this"));
    app_wait(app, &app->ended, 1);
    app_wait_stats(app, app_is_empty);
}

static bool thousand_are_kept(const struct hf_http_server_stats *stats)
{
    return stats->kept == 1000;
}

static void test_a_thousand_long_polls_wait_without_a_thread_each(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    static int fds[1000];

    for (size_t i = 0; i < HF_ARRAY_LEN(fds); i++) {
        fds[i] = peer_connect(app->port);
        peer_send(fds[i], KEEP);
    }
    app_wait_kept(app, HF_ARRAY_LEN(fds));
    app_wait_stats(app, thousand_are_kept);
    /* A third leaves, the rest is answered. */
    for (size_t i = 0; i < HF_ARRAY_LEN(fds); i += 3) {
        (void)close(fds[i]);
        fds[i] = -1;
    }
    app_wait(app, &app->gone, 334);
    unsigned taken = 0;
    for (size_t i = 0; i < HF_ARRAY_LEN(fds); i++) {
        taken += hf_http_respond_text(app_next_kept(app), 200, "text/plain", "task.");
    }
    assert_int_equal(taken, 666);
    for (size_t i = 0; i < HF_ARRAY_LEN(fds); i++) {
        if (fds[i] >= 0) {
            hf_buf_clear(&answer);
            peer_expect(fds[i], &answer, "task.");
            (void)close(fds[i]);
        }
    }
    app_wait_stats(app, app_is_empty);
}

static void test_deadlines_and_leaving_clients_meet_in_any_order(void **state)
{
    struct app *app = *state;
    int fds[200];

    for (size_t i = 0; i < HF_ARRAY_LEN(fds); i++) {
        fds[i] = peer_connect(app->port);
        peer_send(fds[i], "GET /keep/soon HTTP/1.1\r\nHost: h\r\n\r\n");
        if (i % 2 == 1) {
            (void)close(fds[i - 1]);
            (void)close(fds[i]);
        }
    }
    /* What is still in the backlog is not in the counts of the server. */
    app_wait(app, &app->headers_seen, HF_ARRAY_LEN(fds));
    app_wait_stats(app, app_is_empty);
    /* Those that left before their deadline are still owed an answer. */
    hf_mutex_lock(&app->mutex);
    size_t left = app->kept_count;
    hf_mutex_unlock(&app->mutex);
    for (size_t i = 0; i < left; i++) {
        assert_false(hf_http_respond_text(app_next_kept(app), 200, "text/plain", "late"));
    }
    app_wait(app, &app->ended, app->headers_seen);
}

static void test_beyond_the_connection_limit_one_waits_until_another_leaves(void **state)
{
    const struct hf_http_server_options options = {.connection_limit = 3};
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    struct app app;
    int fds[4];

    (void)state;
    app_init(&app);
    app_start(&app, &options);
    for (size_t i = 0; i < 3; i++) {
        fds[i] = peer_connect(app.port);
        peer_ask(fds[i], &answer, HELLO, "hello");
    }
    fds[3] = peer_connect(app.port); /* in the backlog */
    peer_send(fds[3], HELLO);
    assert_false(peer_readable(fds[3], 100));
    (void)close(fds[0]);
    hf_buf_clear(&answer);
    peer_expect(fds[3], &answer, "hello");
    for (size_t i = 1; i < 4; i++) {
        (void)close(fds[i]);
    }
    app_fini(&app);
}

static void test_idle_connections_keep_nobody_out(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    static int idle[2000];

    for (size_t i = 0; i < HF_ARRAY_LEN(idle); i++) {
        idle[i] = peer_connect(app->port);
    }
    int fd = peer_connect(app->port);
    peer_ask(fd, &answer, HELLO, "hello");
    (void)close(fd);
    for (size_t i = 0; i < HF_ARRAY_LEN(idle); i++) {
        (void)close(idle[i]);
    }
    app_wait_stats(app, app_is_empty);
}

static void test_an_idle_connection_is_closed(void **state)
{
    const struct hf_http_server_options options = {.idle_timeout_s = 1};
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    struct app app;

    (void)state;
    app_init(&app);
    app_start(&app, &options);
    int silent = peer_connect(app.port), half = peer_connect(app.port),
        kept = peer_connect(app.port);
    peer_send(half, "GET /hello HTTP/1.1\r\nHo");
    peer_send(kept, KEEP);
    assert_false(peer_read_some(silent, &answer));
    assert_false(peer_read_some(half, &answer));
    /* One that waits for the application is not idle. */
    assert_true(hf_http_respond_text(app_next_kept(&app), 200, "text/plain", "patience"));
    peer_expect(kept, &answer, "patience");
    (void)close(silent);
    (void)close(half);
    (void)close(kept);
    app_fini(&app);
}

/* Each byte resets the idle time-out; the whole must still end. */
static void test_a_peer_that_trickles_is_cut(void **state)
{
    const char *beginnings[] = {
        "G",
        "GET /hello HTTP/1.1\r\nHost: h\r\nX: ",
        "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n",
    };
    const struct hf_http_server_options options = {.receive_timeout_s = 1};
    int fds[HF_ARRAY_LEN(beginnings)];
    struct app app;

    (void)state;
    app_init(&app);
    app_start(&app, &options);
    for (size_t i = 0; i < HF_ARRAY_LEN(fds); i++) {
        fds[i] = peer_connect(app.port);
        peer_send(fds[i], beginnings[i]);
    }
    uint64_t until_ms = hf_clock_mono_ms() + PEER_LIMIT_MS;
    for (size_t i = 0; i < HF_ARRAY_LEN(fds); i++) {
        while (!peer_readable(fds[i], 20) && peer_try_send(fds[i], "x", 1)) {
            assert_true(hf_clock_mono_ms() < until_ms);
        }
        (void)close(fds[i]);
    }
    app_wait_stats(&app, app_is_empty);
    app_fini(&app);
    assert_int_equal(app.handled, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        APP_TEST(test_a_deadline_is_told_and_answered),
        cmocka_unit_test(test_without_a_callback_a_deadline_gets_503_and_the_late_answer_is_lost),
        APP_TEST(test_a_client_that_leaves_is_noticed_and_its_answer_thrown_away),
        APP_TEST(test_a_thousand_long_polls_wait_without_a_thread_each),
        APP_TEST(test_deadlines_and_leaving_clients_meet_in_any_order),
        cmocka_unit_test(test_beyond_the_connection_limit_one_waits_until_another_leaves),
        APP_TEST(test_idle_connections_keep_nobody_out),
        cmocka_unit_test(test_an_idle_connection_is_closed),
        cmocka_unit_test(test_a_peer_that_trickles_is_cut),
    };
    (void)peer_raise_descriptors();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
