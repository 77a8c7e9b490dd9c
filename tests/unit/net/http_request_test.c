/* SPDX-License-Identifier: Apache-2.0 */
/* What a handler knows of a request, and the one answer: at once, later from another thread, too late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/net/app.h"

#define ANSWER_MAX ((size_t)1 << 20)

static void test_a_handler_knows_method_target_headers_and_peer(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    int fd = peer_connect(app->port);

    peer_ask(fd, &answer,
             "PATCH /hello/a%2Fb/%zz?x=1&&y=%20+ HTTP/1.1\r\nHost: h\r\nX-COLOR: blue\r\n\r\n",
             "hello");
    const char *text = peer_text(&answer);
    assert_non_null(strstr(text, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(text, "X-Method: PATCH\r\n"));
    assert_non_null(strstr(text, "X-Target: /hello/a%2Fb/%zz?x=1&&y=%20+\r\n"));
    assert_non_null(strstr(text, "X-Peer: 127.0.0.1\r\n"));
    assert_non_null(strstr(text, "X-Tls: no\r\n"));
    assert_non_null(strstr(text, "X-Color: blue\r\n"));
    assert_non_null(strstr(text, "Content-Length: 5\r\n"));
    (void)close(fd);
}

static void test_a_connection_serves_one_request_after_another(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    int fd = peer_connect(app->port);

    for (int i = 0; i < 20; i++) {
        peer_ask(fd, &answer, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
                 "\r\n\r\nbody");
    }
    assert_int_equal(app->handled, 20);
    (void)close(fd);
}

static void test_a_head_request_gets_the_length_and_no_body(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    int fd = peer_connect(app->port);

    peer_send(fd, "HEAD /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    peer_read_all(fd, &answer);
    assert_non_null(strstr(peer_text(&answer), "Content-Length: 5\r\n"));
    assert_non_null(strstr(peer_text(&answer), "\r\n\r\n"));
    assert_string_equal(strstr(peer_text(&answer), "\r\n\r\n"), "\r\n\r\n");
    (void)close(fd);
}

static void test_a_request_nobody_answers_gets_500(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    int fd = peer_connect(app->port);

    peer_ask(fd, &answer, "GET /forget HTTP/1.1\r\nHost: h\r\n\r\n", "{\"error\":true}");
    assert_non_null(strstr(peer_text(&answer), "HTTP/1.1 500 "));
    assert_non_null(strstr(peer_text(&answer), "Content-Type: application/json\r\n"));
    (void)close(fd);
}

static void test_an_answer_with_an_impossible_header_becomes_500(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    int fd = peer_connect(app->port);

    peer_ask(fd, &answer, "GET /bad HTTP/1.1\r\nHost: h\r\n\r\n", "{\"error\":true}");
    assert_non_null(strstr(peer_text(&answer), "HTTP/1.1 500 "));
    assert_null(strstr(peer_text(&answer), "X-Bad"));
    (void)close(fd);
}

static void test_a_kept_request_is_answered_by_another_thread(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    int fd = peer_connect(app->port);

    peer_send(fd, "POST /keep HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    struct hf_http_request *request = app_next_kept(app);
    assert_false(peer_readable(fd, 0));
    /* The body is there until the answer. */
    assert_memory_equal(hf_http_request_body(request).data, "abc", 3);
    assert_true(hf_http_respond_text(request, 200, "text/plain", "finally"));
    peer_expect(fd, &answer, "finally");
    /* And the connection goes on. */
    peer_ask(fd, &answer, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n", "hello");
    (void)close(fd);
    app_wait_stats(app, app_is_empty);
}

static void test_a_body_that_is_handed_over_is_sent(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini)
    struct hf_buf answer = HF_BUF_INIT((size_t)8 << 20), body = HF_BUF_INIT((size_t)4 << 20);
    const struct hf_http_answer head = {.status = 200};
    int fd = peer_connect(app->port);
    struct hf_error err;

    assert_int_equal(hf_buf_reserve(&body, (size_t)4 << 20, &err), HF_ERR_OK);
    memset(body.data, 'x', body.capacity);
    body.len = (size_t)4 << 20;
    peer_send(fd, "GET /keep HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_true(hf_http_respond_buf_take(app_next_kept(app), &head, &body));
    assert_int_equal(body.len, 0);
    peer_read_all(fd, &answer);
    assert_true(answer.len > (size_t)4 << 20);
    assert_non_null(strstr(peer_text(&answer), "Content-Length: 4194304\r\n"));
    (void)close(fd);
}

/* Answers come while requests are still on their way to being suspended: both orders must work. */
struct answerer {
    struct app *app;
    unsigned count;
};

static void answer_kept(void *context)
{
    struct answerer *answerer = context;

    for (unsigned i = 0; i < answerer->count; i++) {
        (void)hf_http_respond_text(app_next_kept(answerer->app), 200, "text/plain", "raced.");
    }
}

static void test_an_answer_may_come_before_the_request_is_suspended(void **state)
{
    struct app *app = *state;
    struct answerer answerer = {.app = app, .count = 300};
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    struct hf_thread *thread = NULL;
    int fd = peer_connect(app->port);
    struct hf_error err;

    assert_int_equal(hf_thread_start("answerer", answer_kept, &answerer, &thread, &err), HF_ERR_OK);
    for (unsigned i = 0; i < answerer.count; i++) {
        peer_ask(fd, &answer, "GET /keep HTTP/1.1\r\nHost: h\r\n\r\n", "raced.");
    }
    hf_thread_join(thread);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        APP_TEST(test_a_handler_knows_method_target_headers_and_peer),
        APP_TEST(test_a_connection_serves_one_request_after_another),
        APP_TEST(test_a_head_request_gets_the_length_and_no_body),
        APP_TEST(test_a_request_nobody_answers_gets_500),
        APP_TEST(test_an_answer_with_an_impossible_header_becomes_500),
        APP_TEST(test_a_kept_request_is_answered_by_another_thread),
        APP_TEST(test_a_body_that_is_handed_over_is_sent),
        APP_TEST(test_an_answer_may_come_before_the_request_is_suspended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
