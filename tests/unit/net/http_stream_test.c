/* SPDX-License-Identifier: Apache-2.0 */
/* Answers in pieces: whole, with back pressure, broken off by either side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "unit/net/app.h"

#define MIB ((size_t)1 << 20)
#define ANSWER_MAX (64 * MIB)
#define ASK "GET /stream HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

static struct hf_http_stream *begin(struct app *app, uint64_t size_bytes)
{
    const struct hf_http_header type = {"Content-Type", "application/x-tar"};
    const struct hf_http_answer head = {.status = 200, .headers = &type, .header_count = 1};
    struct hf_http_stream *stream = hf_http_respond_stream(app_next_kept(app), &head, size_bytes);

    assert_non_null(stream);
    return stream;
}

static void write_text(struct hf_http_stream *stream, const char *text)
{
    struct hf_error err;

    assert_int_equal(hf_http_stream_write(stream, hf_bytes_of(text, strlen(text)), &err),
                     HF_ERR_OK);
}

/* A producer on a thread of its own. */
struct producer {
    struct hf_http_stream *stream;
    size_t piece, count;
    bool complete, sent_is_asked, sent;
    atomic_size_t written;
    enum hf_err code;
    struct hf_error err;
    struct hf_thread *thread;
};

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 31 + (at >> 13));
}

static void produce(void *context)
{
    struct producer *producer = context;
    HF_CLEANUP(hf_free) uint8_t *bytes = hf_alloc(producer->piece);
    size_t at = 0;

    producer->code = HF_ERR_OK;
    for (size_t i = 0; i < producer->count && producer->code == HF_ERR_OK; i++) {
        for (size_t k = 0; k < producer->piece; k++) {
            bytes[k] = pattern(at + k);
        }
        producer->code = hf_http_stream_write(producer->stream, hf_bytes_of(bytes, producer->piece),
                                              &producer->err);
        at += producer->piece;
        if (producer->code == HF_ERR_OK) {
            atomic_fetch_add(&producer->written, producer->piece);
        }
    }
    if (producer->sent_is_asked) {
        producer->sent = hf_http_stream_finish_sent(producer->stream, producer->complete);
        return;
    }
    hf_http_stream_finish(producer->stream, producer->complete);
}

static void start(struct producer *producer)
{
    struct hf_error err;

    assert_int_equal(hf_thread_start("producer", produce, producer, &producer->thread, &err),
                     HF_ERR_OK);
}

static void expect_pattern(struct hf_buf *answer, size_t len)
{
    const char *body = strstr(peer_text(answer), "\r\n\r\n");

    assert_non_null(body);
    const uint8_t *at = (const uint8_t *)body + 4;
    assert_int_equal(answer->len - (size_t)(at - answer->data), len);
    for (size_t i = 0; i < len; i++) {
        if (at[i] != pattern(i)) {
            fail_msg("byte %zu is not what was sent", i);
        }
    }
}

static void test_an_answer_of_known_size_comes_whole(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    int fd = peer_connect(app->port);

    peer_send(fd, ASK);
    struct producer producer = {
        .stream = begin(app, 9 * 1234567), .piece = 1234567, .count = 9, .complete = true};
    start(&producer);
    peer_read_all(fd, &answer);
    hf_thread_join(producer.thread);
    assert_int_equal(producer.code, HF_ERR_OK);
    assert_non_null(strstr(peer_text(&answer), "Content-Length: 11111103\r\n"));
    assert_non_null(strstr(peer_text(&answer), "Content-Type: application/x-tar\r\n"));
    expect_pattern(&answer, 9 * 1234567);
    (void)close(fd);
    app_wait_stats(app, app_is_empty);
}

static void test_an_answer_of_unknown_size_comes_in_chunks(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    int fd = peer_connect(app->port);

    peer_send(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    struct hf_http_stream *stream = begin(app, HF_HTTP_STREAM_SIZE_UNKNOWN);
    /* Each piece arrives before the next is written: none is held back. */
    write_text(stream, "one");
    peer_expect(fd, &answer, "3\r\none\r\n");
    assert_non_null(strstr(peer_text(&answer), "Transfer-Encoding: chunked\r\n"));
    write_text(stream, "");
    write_text(stream, "three");
    peer_expect(fd, &answer, "5\r\nthree\r\n");
    hf_http_stream_finish(stream, true);
    peer_expect(fd, &answer, "0\r\n\r\n");
    peer_ask(fd, &answer, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n", "hello");
    (void)close(fd);
}

static void test_an_empty_stream_is_a_whole_answer(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    const uint64_t sizes[] = {0, HF_HTTP_STREAM_SIZE_UNKNOWN};
    int fd = peer_connect(app->port);

    for (size_t i = 0; i < 2; i++) {
        hf_buf_clear(&answer);
        peer_send(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
        hf_http_stream_finish(begin(app, sizes[i]), true);
        peer_expect(fd, &answer, i == 0 ? "Content-Length: 0\r\n" : "0\r\n\r\n");
    }
    (void)close(fd);
}

/* The client does not read: the producer must wait, with no more memory than the ring and the sockets. */
static void test_a_slow_client_slows_the_producer(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    int fd = peer_connect(app->port);
    size_t before;

    peer_send(fd, ASK);
    struct producer producer = {
        .stream = begin(app, 48 * MIB), .piece = MIB / 4, .count = 192, .complete = true};
    start(&producer);
    do { /* until nothing has moved for a while */
        before = atomic_load(&producer.written);
        (void)poll(NULL, 0, 100);
    } while (before == 0 || before != atomic_load(&producer.written));
    assert_true(before < 16 * MIB);
    peer_read_all(fd, &answer);
    hf_thread_join(producer.thread);
    assert_int_equal(producer.code, HF_ERR_OK);
    expect_pattern(&answer, 48 * MIB);
    (void)close(fd);
}

static void test_a_client_that_leaves_ends_the_producer(void **state)
{
    struct app *app = *state;

    /* Once while the producer waits for room, once while the loop waits for the producer. */
    int fd = peer_connect(app->port);
    peer_send(fd, ASK);
    struct producer producer = {
        .stream = begin(app, 1024 * MIB), .piece = MIB, .count = 1024, .complete = true};
    start(&producer);
    assert_true(peer_readable(fd, PEER_LIMIT_MS));
    (void)close(fd);
    hf_thread_join(producer.thread);
    assert_int_equal(producer.code, HF_ERR_UNAVAILABLE);
    assert_string_equal(producer.err.message, "the client went away");
    app_wait_stats(app, app_is_empty);

    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    fd = peer_connect(app->port);
    peer_send(fd, ASK);
    struct hf_http_stream *stream = begin(app, HF_HTTP_STREAM_SIZE_UNKNOWN);
    write_text(stream, "a beginning");
    peer_expect(fd, &answer, "a beginning");
    (void)close(fd);
    app_wait_stats(app, app_is_empty);
    struct hf_error err;
    assert_int_equal(hf_http_stream_write(stream, hf_bytes_of("x", 1), &err), HF_ERR_UNAVAILABLE);
    hf_http_stream_finish(stream, true);
    app_wait(app, &app->ended, 2);
    assert_int_equal(app->gone, 0); /* the producer is told, not on_gone */
}

static void test_a_stream_that_fails_is_seen_as_broken(void **state)
{
    struct app *app = *state;
    const uint64_t sizes[] = {HF_HTTP_STREAM_SIZE_UNKNOWN, 100, 12};

    for (size_t i = 0; i < HF_ARRAY_LEN(sizes); i++) {
        HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
        int fd = peer_connect(app->port);
        peer_send(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
        struct hf_http_stream *stream = begin(app, sizes[i]);
        write_text(stream, "half of it");
        peer_expect(fd, &answer, "half of it");
        hf_http_stream_finish(stream, false);
        peer_read_all(fd, &answer); /* cut, although the connection was to be kept */
        assert_null(strstr(peer_text(&answer), "\r\n0\r\n\r\n"));
        (void)close(fd);
    }
}

static void test_fewer_bytes_than_announced_are_a_broken_answer(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    int fd = peer_connect(app->port);

    peer_send(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    struct hf_http_stream *stream = begin(app, 100);
    write_text(stream, "99 are missing");
    hf_http_stream_finish(stream, true);
    peer_read_all(fd, &answer);
    assert_non_null(strstr(peer_text(&answer), "Content-Length: 100\r\n"));
    (void)close(fd);
}

static void test_more_bytes_than_announced_are_refused(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    int fd = peer_connect(app->port);
    struct hf_error err;

    peer_send(fd, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    struct hf_http_stream *stream = begin(app, 5);
    write_text(stream, "hello");
    assert_int_equal(hf_http_stream_write(stream, hf_bytes_of("!", 1), &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "answer stream: more than the 5 bytes announced");
    hf_http_stream_finish(stream, true);
    peer_expect(fd, &answer, "\r\n\r\nhello");
    (void)close(fd);
}

static void test_a_head_request_ends_the_producer(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    int fd = peer_connect(app->port);

    peer_send(fd, "HEAD /stream HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    struct producer producer = {
        .stream = begin(app, 1024 * MIB), .piece = MIB, .count = 1024, .complete = true};
    start(&producer);
    peer_read_all(fd, &answer);
    hf_thread_join(producer.thread);
    assert_int_equal(producer.code, HF_ERR_UNAVAILABLE);
    assert_non_null(strstr(peer_text(&answer), "Content-Length: 1073741824\r\n"));
    (void)close(fd);
}

/* Whether the last byte went out is known only when the client took it, or is gone. */
static void test_the_producer_learns_whether_all_of_it_was_sent(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);

    int fd = peer_connect(app->port);
    peer_send(fd, ASK);
    struct hf_http_stream *stream = begin(app, 5);
    write_text(stream, "hello");
    assert_true(hf_http_stream_finish_sent(stream, true));
    peer_expect(fd, &answer, "\r\n\r\nhello");
    (void)close(fd);

    fd = peer_connect(app->port);
    peer_send(fd, ASK);
    stream = begin(app, 100);
    write_text(stream, "86 are missing");
    assert_false(hf_http_stream_finish_sent(stream, true));
    (void)close(fd);

    /* The client leaves while the end is still on its way. */
    fd = peer_connect(app->port);
    peer_send(fd, ASK);
    struct producer producer = {.stream = begin(app, 48 * MIB),
                                .piece = MIB,
                                .count = 48,
                                .complete = true,
                                .sent_is_asked = true};
    start(&producer);
    assert_true(peer_readable(fd, PEER_LIMIT_MS));
    (void)close(fd);
    hf_thread_join(producer.thread);
    assert_false(producer.sent);
}

static void test_a_request_whose_client_left_gets_no_stream(void **state)
{
    struct app *app = *state;
    const struct hf_http_answer head = {.status = 200};
    int fd = peer_connect(app->port);

    peer_send(fd, ASK);
    struct hf_http_request *request = app_next_kept(app);
    (void)close(fd);
    app_wait(app, &app->gone, 1);
    assert_null(hf_http_respond_stream(request, &head, 10));
    app_wait(app, &app->ended, 1);
}

static void test_stopping_the_server_cuts_streams(void **state)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    struct app app;

    (void)state;
    app_init(&app);
    app_start(&app, &(struct hf_http_server_options){0});
    int reading = peer_connect(app.port), waiting = peer_connect(app.port);
    peer_send(reading, ASK);
    struct producer producer = {
        .stream = begin(&app, 1024 * MIB), .piece = MIB, .count = 1024, .complete = true};
    start(&producer);
    assert_true(peer_readable(reading, PEER_LIMIT_MS));
    peer_send(waiting, ASK);
    struct hf_http_stream *idle = begin(&app, HF_HTTP_STREAM_SIZE_UNKNOWN);
    write_text(idle, "a beginning");
    peer_expect(waiting, &answer, "a beginning");

    uint64_t began_ms = hf_clock_mono_ms();
    app_stop(&app);
    assert_true(hf_clock_mono_ms() - began_ms < 15000);
    hf_thread_join(producer.thread);
    assert_int_equal(producer.code, HF_ERR_UNAVAILABLE);
    struct hf_error err;
    assert_int_equal(hf_http_stream_write(idle, hf_bytes_of("x", 1), &err), HF_ERR_UNAVAILABLE);
    hf_http_stream_finish(idle, true);
    (void)close(reading);
    (void)close(waiting);
    app_fini(&app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        APP_TEST(test_an_answer_of_known_size_comes_whole),
        APP_TEST(test_an_answer_of_unknown_size_comes_in_chunks),
        APP_TEST(test_an_empty_stream_is_a_whole_answer),
        APP_TEST(test_a_slow_client_slows_the_producer),
        APP_TEST(test_a_client_that_leaves_ends_the_producer),
        APP_TEST(test_a_stream_that_fails_is_seen_as_broken),
        APP_TEST(test_fewer_bytes_than_announced_are_a_broken_answer),
        APP_TEST(test_more_bytes_than_announced_are_refused),
        APP_TEST(test_a_head_request_ends_the_producer),
        APP_TEST(test_the_producer_learns_whether_all_of_it_was_sent),
        APP_TEST(test_a_request_whose_client_left_gets_no_stream),
        cmocka_unit_test(test_stopping_the_server_cuts_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
