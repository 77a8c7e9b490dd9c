/* SPDX-License-Identifier: Apache-2.0 */
/* How requests arrive: bodies within and beyond every limit, early answers, and peers that misbehave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "unit/net/app.h"

#define ANSWER_MAX ((size_t)4 << 20)
#define MIB ((size_t)1 << 20)

static void test_a_body_comes_whole(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    HF_CLEANUP(hf_free) char *body = hf_alloc(MIB);
    int fd = peer_connect(app->port);

    assert_non_null(body);
    for (size_t i = 0; i < MIB; i++) {
        body[i] = (char)(i * 7 + i / 251);
    }
    peer_send(
        fd,
        "PUT /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1048576\r\n\r\n");
    assert_true(peer_try_send(fd, body, MIB));
    peer_read_all(fd, &answer);
    assert_true(answer.len > MIB);
    assert_memory_equal(answer.data + answer.len - MIB, body, MIB);
    (void)close(fd);
}

static void test_a_body_in_chunks_comes_whole(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    int fd = peer_connect(app->port);

    peer_ask(fd, &answer,
             "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
             "5\r\nhello\r\n1;ext=1\r\n \r\n5\r\nworld\r\n0\r\n\r\n",
             "\r\n\r\nhello world");
    (void)close(fd);
}

static void test_a_body_longer_than_allowed_gets_413_and_the_connection_goes_on(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    HF_CLEANUP(hf_free) char *body = hf_alloc_zero(MIB + 1);
    int fd = peer_connect(app->port);

    peer_send(fd, "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\n\r\n");
    assert_true(peer_try_send(fd, body, MIB + 1));
    peer_expect(fd, &answer, "{\"error\":true}");
    assert_non_null(strstr(peer_text(&answer), "HTTP/1.1 413 "));
    peer_ask(fd, &answer, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n", "hello");
    assert_int_equal(app->handled, 1);
    (void)close(fd);
}

static void test_chunks_longer_than_allowed_get_413(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    HF_CLEANUP(hf_free) char *body = hf_alloc_zero(MIB);
    int fd = peer_connect(app->port);

    peer_send(fd, "PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n");
    assert_true(peer_try_send(fd, body, MIB));
    peer_send(fd, "\r\n1\r\nx\r\n0\r\n\r\n");
    peer_expect(fd, &answer, "{\"error\":true}");
    assert_non_null(strstr(peer_text(&answer), "HTTP/1.1 413 "));
    assert_int_equal(app->handled, 0);
    (void)close(fd);
    app_wait_stats(app, app_is_empty);
}

static void test_a_body_nobody_wants_is_thrown_away(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    HF_CLEANUP(hf_free) char *body = hf_alloc_zero(8 * MIB);
    int fd = peer_connect(app->port);

    peer_send(fd, "PUT /drain HTTP/1.1\r\nHost: h\r\nContent-Length: 8388608\r\n\r\n");
    assert_true(peer_try_send(fd, body, 8 * MIB));
    peer_expect(fd, &answer, "HTTP/1.1 200 ");
    assert_int_equal(app->handled, 1);
    assert_int_equal(app->body_bytes, 0);
    (void)close(fd);
}

static void test_an_early_answer_comes_after_the_body_and_the_connection_goes_on(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    HF_CLEANUP(hf_free) char *body = hf_alloc_zero(MIB);
    int fd = peer_connect(app->port);

    peer_send(fd, "PUT /early HTTP/1.1\r\nHost: h\r\nContent-Length: 1048576\r\n\r\n");
    assert_true(peer_try_send(fd, body, MIB));
    peer_expect(fd, &answer, "too early");
    assert_non_null(strstr(peer_text(&answer), "HTTP/1.1 403 "));
    peer_ask(fd, &answer, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n", "hello");
    assert_int_equal(app->handled, 1);
    (void)close(fd);
}

static void test_who_asks_before_sending_is_refused_before_sending(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    int fd = peer_connect(app->port);

    peer_send(fd, "PUT /early HTTP/1.1\r\nHost: h\r\nContent-Length: 1048576\r\nExpect: "
                  "100-continue\r\n\r\n");
    peer_read_all(fd, &answer);
    assert_non_null(strstr(peer_text(&answer), "HTTP/1.1 403 "));
    assert_null(strstr(peer_text(&answer), "100 Continue"));
    (void)close(fd);

    hf_buf_clear(&answer);
    fd = peer_connect(app->port);
    peer_send(
        fd,
        "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n");
    peer_read_all(fd, &answer);
    assert_non_null(strstr(peer_text(&answer), "HTTP/1.1 413 "));
    (void)close(fd);
}

static void test_who_asks_before_sending_is_let_in(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    int fd = peer_connect(app->port);

    peer_ask(fd, &answer,
             "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
             "100 Continue\r\n\r\n");
    peer_ask(fd, &answer, "body", "\r\n\r\nbody");
    (void)close(fd);
}

static void test_headers_longer_than_allowed_get_431(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    const size_t sizes[] = {40 * 1024, 4 * MIB};

    /* One size goes past our limit, the other past the connection's memory. */
    for (size_t i = 0; i < HF_ARRAY_LEN(sizes); i++) {
        HF_CLEANUP(hf_free) char *filler = hf_alloc(sizes[i]);
        int fd = peer_connect(app->port);
        memset(filler, 'f', sizes[i]);
        hf_buf_clear(&answer);
        peer_send(fd, "GET /hello HTTP/1.1\r\nHost: h\r\nX-Filler: ");
        if (peer_try_send(fd, filler, sizes[i])) {
            (void)peer_try_send(fd, "\r\n\r\n", 4);
        }
        /* The second may end in a reset that takes the answer along. */
        while (strstr(peer_text(&answer), "HTTP/1.1 431 ") == NULL && peer_read_some(fd, &answer)) {
        }
        if (i == 0) {
            assert_non_null(strstr(peer_text(&answer), "HTTP/1.1 431 "));
        }
        (void)close(fd);
    }
    assert_int_equal(app->handled, 0);
    app_wait_stats(app, app_is_empty);
}

static void test_garbage_is_refused(void **state)
{
    struct app *app = *state;
    const char *garbage[] = {
        "\r\n\r\n\r\n\x01\x02\x03\xff\r\n\r\n",
        "GET\r\n\r\n",
        "GET /hello HTTP/9.9\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost h\r\n\r\n",
        "GET /hello HTTP/1.1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS to a plain port\r\n\r\n",
    };

    for (size_t i = 0; i < HF_ARRAY_LEN(garbage); i++) {
        HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
        int fd = peer_connect(app->port);
        peer_send(fd, garbage[i]);
        (void)shutdown(fd, SHUT_WR);
        peer_read_all(fd, &answer);
        assert_null(strstr(peer_text(&answer), "HTTP/1.1 2"));
        (void)close(fd);
    }
    assert_int_equal(app->handled, 0);
    app_wait_stats(app, app_is_empty);
}

/* Each of these ends somewhere else for another reader: what follows must not be taken for a request. */
static void test_a_request_whose_end_is_doubtful_is_refused(void **state)
{
    struct app *app = *state;
    const char *requests[] = {
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\n",
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
         "\r\n0\r\n\r\n"),
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    };

    for (size_t i = 0; i < HF_ARRAY_LEN(requests); i++) {
        HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
        int fd = peer_connect(app->port);
        peer_send(fd, requests[i]);
        (void)peer_try_send(fd, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n", 33);
        peer_read_all(fd, &answer);
        assert_non_null(strstr(peer_text(&answer), "HTTP/1.1 400 "));
        assert_null(strstr(peer_text(&answer), "HTTP/1.1 200 "));
        (void)close(fd);
    }
    assert_int_equal(app->handled, 0);
}

/* The last bytes and the end arrive together. The idle time-out is a minute: it is not what ends these. */
static void test_a_request_that_breaks_off_is_noticed_soon(void **state)
{
    struct app *app = *state;
    const char *beginnings[] = {"GET", "GET /hello HTTP/1.1\r\nHost",
                                "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc"};

    for (size_t i = 0; i < 30; i++) {
        int fd = peer_connect(app->port);
        peer_send(fd, beginnings[i % 3]);
        (void)close(fd);
    }
    app_wait_stats(app, app_is_empty);
    assert_int_equal(app->handled, 0);
}

static void test_a_client_that_leaves_within_the_body_leaves_nothing(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_free) char *body = hf_alloc_zero(MIB / 2);

    for (unsigned i = 0; i < 20; i++) {
        int fd = peer_connect(app->port);
        peer_send(fd, "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1048576\r\n\r\n");
        assert_true(peer_try_send(fd, body, i * 1000));
        app_wait(app, &app->headers_seen, i + 1);
        (void)close(fd);
    }
    app_wait(app, &app->ended, 20);
    app_wait_stats(app, app_is_empty);
    assert_int_equal(app->handled, 0);
}

static bool half_a_mib_is_reserved(const struct hf_http_server_stats *stats)
{
    return stats->body_bytes == MIB / 2;
}

/* All bodies together have 1 MiB. One that holds half of it by its announcement keeps others out. */
static void test_bodies_in_flight_are_bounded(void **state)
{
    const struct hf_http_server_options options = {.bodies_max_bytes = MIB, .retry_after_s = 7};
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    HF_CLEANUP(hf_free) char *body = hf_alloc_zero(MIB);
    struct app app;

    (void)state;
    app_init(&app);
    app_start(&app, &options);
    int holder = peer_connect(app.port), other = peer_connect(app.port);
    peer_send(holder, "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 524288\r\n\r\n");
    app_wait_stats(&app, half_a_mib_is_reserved);

    peer_send(other, "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 524289\r\n\r\n");
    assert_true(peer_try_send(other, body, 524289));
    peer_expect(other, &answer, "{\"error\":true}");
    assert_non_null(strstr(peer_text(&answer), "HTTP/1.1 429 "));
    assert_non_null(strstr(peer_text(&answer), "Retry-After: 7\r\n"));

    /* Chunks do not say how many they are: they are let in and refused on the way. */
    hf_buf_clear(&answer);
    peer_send(other,
              "PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n");
    assert_true(peer_try_send(other, body, MIB));
    peer_send(other, "\r\n0\r\n\r\n");
    peer_expect(other, &answer, "{\"error\":true}");
    assert_non_null(strstr(peer_text(&answer), "HTTP/1.1 429 "));

    /* When the first is done there is room again. */
    hf_buf_clear(&answer);
    assert_true(peer_try_send(holder, body, 524288));
    peer_expect(holder, &answer, "HTTP/1.1 200 ");
    (void)close(holder);
    hf_buf_clear(&answer);
    peer_send(other, "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 524289\r\n\r\n");
    assert_true(peer_try_send(other, body, 524289));
    peer_expect(other, &answer, "HTTP/1.1 200 ");
    (void)close(other);
    app_fini(&app);
}

static void test_throwing_away_has_an_end(void **state)
{
    const struct hf_http_server_options options = {.discard_max_bytes = 2 * MIB};
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    HF_CLEANUP(hf_free) char *body = hf_alloc_zero(MIB);
    struct app app;

    (void)state;
    app_init(&app);
    app_start(&app, &options);
    int fd = peer_connect(app.port);
    peer_send(fd,
              "PUT /drain HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10000000\r\n");
    size_t sent = 0;
    while (sent < 256 && peer_try_send(fd, body, MIB)) {
        sent++;
    }
    assert_true(sent < 256);
    (void)close(fd);

    /* An announced length beyond it is refused at once. */
    fd = peer_connect(app.port);
    peer_send(fd, "PUT /early HTTP/1.1\r\nHost: h\r\nContent-Length: 2097153\r\n\r\n");
    peer_read_all(fd, &answer);
    assert_non_null(strstr(peer_text(&answer), "HTTP/1.1 403 "));
    (void)close(fd);
    app_fini(&app);
    assert_int_equal(app.handled, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        APP_TEST(test_a_body_comes_whole),
        APP_TEST(test_a_body_in_chunks_comes_whole),
        APP_TEST(test_a_body_longer_than_allowed_gets_413_and_the_connection_goes_on),
        APP_TEST(test_chunks_longer_than_allowed_get_413),
        APP_TEST(test_a_body_nobody_wants_is_thrown_away),
        APP_TEST(test_an_early_answer_comes_after_the_body_and_the_connection_goes_on),
        APP_TEST(test_who_asks_before_sending_is_refused_before_sending),
        APP_TEST(test_who_asks_before_sending_is_let_in),
        APP_TEST(test_headers_longer_than_allowed_get_431),
        APP_TEST(test_garbage_is_refused),
        APP_TEST(test_a_request_whose_end_is_doubtful_is_refused),
        APP_TEST(test_a_request_that_breaks_off_is_noticed_soon),
        APP_TEST(test_a_client_that_leaves_within_the_body_leaves_nothing),
        cmocka_unit_test(test_bodies_in_flight_are_bounded),
        cmocka_unit_test(test_throwing_away_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
