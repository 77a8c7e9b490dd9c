/* SPDX-License-Identifier: Apache-2.0 */
/* The client: against our server, and against servers that say whatever a test wants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "net/digest.h"
#include "net/http_client.h"
#include "unit/net/app.h"
#include "unit/net/tls.h"

#define MIB ((size_t)1 << 20)
#define TOKEN "secret-token"

static struct hf_http_client *client_for(const struct hf_http_client_options *base,
                                         const char *scheme, uint16_t port)
{
    struct hf_http_client_options options = *base;
    struct hf_http_client *client = NULL;
    struct hf_error err;
    char url[64];

    (void)snprintf(url, sizeof url, "%s://127.0.0.1:%u/", scheme, port);
    options.base_url = url;
    if (hf_http_client_create(&options, &client, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    return client;
}

static struct hf_http_client *plain_client(uint16_t port)
{
    return client_for(&(struct hf_http_client_options){0}, "http", port);
}

static void expect_words(const struct hf_error *err, const char *words)
{
    if (strstr(err->message, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err->message, words);
    }
}

static void call_ok(struct hf_http_client *client, const struct hf_http_call *call,
                    struct hf_http_reply *reply)
{
    struct hf_error err;

    if (hf_http_client_call(client, call, reply, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
}

static void call_fails(struct hf_http_client *client, const struct hf_http_call *call,
                       enum hf_err code, const char *words)
{
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    struct hf_error err = {0};

    hf_http_reply_init(&reply, MIB);
    assert_int_equal(hf_http_client_call(client, call, &reply, &err), code);
    expect_words(&err, words);
}

static void test_a_call_brings_status_headers_and_body(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_http_client_destroy) struct hf_http_client *client = plain_client(app->port);
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    const struct hf_http_header headers[] = {{"X-Color", "red"}, {"X-Empty", ""}};
    const struct hf_http_call call = {
        .target = "/hello/a%2Fb/../c?x=%20", .headers = headers, .header_count = 2};

    hf_http_reply_init(&reply, MIB);
    for (int i = 0; i < 3; i++) {
        call_ok(client, &call, &reply);
        assert_int_equal(reply.status, 200);
        assert_int_equal(reply.body_length_bytes, 5);
        assert_memory_equal(reply.body.data, "hello", 5);
        assert_string_equal(hf_http_reply_header(&reply, "x-method"), "GET");
        assert_string_equal(hf_http_reply_header(&reply, "X-TARGET"), "/hello/a%2Fb/../c?x=%20");
        assert_string_equal(hf_http_reply_header(&reply, "x-color"), "red");
        assert_null(hf_http_reply_header(&reply, "x-none"));
    }
    struct hf_http_server_stats stats;
    hf_http_server_stats(app->server, &stats);
    assert_int_equal(stats.connections, 1); /* kept */
}

static void test_every_method_goes_out_as_it_is_named(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_http_client_destroy) struct hf_http_client *client = plain_client(app->port);
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    const char *methods[] = {"GET", "PUT", "HEAD", "DELETE", "POST", "GET", "PATCH", "HEAD", "GET"};

    hf_http_reply_init(&reply, MIB);
    for (size_t i = 0; i < HF_ARRAY_LEN(methods); i++) {
        const struct hf_http_call call = {.method = methods[i], .target = "/hello"};
        call_ok(client, &call, &reply);
        assert_string_equal(hf_http_reply_header(&reply, "x-method"), methods[i]);
        assert_int_equal(reply.body.len, strcmp(methods[i], "HEAD") == 0 ? 0 : 5);
    }
}

static void fill(uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)(i * 131 + (i >> 11));
    }
}

static void test_sixteen_mib_go_there_and_back(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_http_client_destroy) struct hf_http_client *client = plain_client(app->port);
    HF_CLEANUP(hf_free) uint8_t *body = hf_alloc(16 * MIB);
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    const struct hf_http_call call = {
        .method = "PUT", .target = "/echo/big", .body = hf_bytes_of(body, 16 * MIB)};

    fill(body, 16 * MIB);
    hf_http_reply_init(&reply, 16 * MIB);
    call_ok(client, &call, &reply);
    assert_int_equal(reply.status, 200);
    assert_true(hf_bytes_equal(hf_buf_bytes(&reply.body), call.body));
}

struct piecewise {
    const uint8_t *bytes;
    size_t len, at, piece, fail_at, rewinds;
};

static enum hf_err read_piece(void *context, uint8_t *buffer, size_t capacity, size_t *len,
                              struct hf_error *err)
{
    struct piecewise *from = context;
    size_t left = from->len - from->at;

    if (from->fail_at != 0 && from->at >= from->fail_at) {
        return hf_fail(err, HF_ERR_CORRUPT, "the source broke");
    }
    *len = left < from->piece ? left : from->piece;
    *len = *len < capacity ? *len : capacity;
    memcpy(buffer, from->bytes + from->at, *len);
    from->at += *len;
    return HF_ERR_OK;
}

static enum hf_err rewind_piece(void *context, struct hf_error *err)
{
    struct piecewise *from = context;

    (void)err;
    from->at = 0;
    from->rewinds++;
    return HF_ERR_OK;
}

static enum hf_err write_piece(void *context, struct hf_bytes piece, struct hf_error *err)
{
    struct piecewise *to = context;

    if (to->fail_at != 0 && to->at + piece.len >= to->fail_at) {
        return hf_fail(err, HF_ERR_NO_SPACE, "the sink is full");
    }
    assert_true(to->at + piece.len <= to->len);
    assert_memory_equal(to->bytes + to->at, piece.data, piece.len);
    to->at += piece.len;
    return HF_ERR_OK;
}

static void test_a_body_is_pulled_from_a_source_and_pushed_into_a_sink(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_http_client_destroy) struct hf_http_client *client = plain_client(app->port);
    HF_CLEANUP(hf_free) uint8_t *bytes = hf_alloc(5 * MIB);
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    const uint64_t sizes[] = {5 * MIB, HF_HTTP_SIZE_UNKNOWN};

    fill(bytes, 5 * MIB);
    hf_http_reply_init(&reply, 10);
    for (size_t i = 0; i < HF_ARRAY_LEN(sizes); i++) {
        struct piecewise from = {.bytes = bytes, .len = 5 * MIB, .piece = 77777};
        struct piecewise to = {.bytes = bytes, .len = 5 * MIB};
        const struct hf_http_source source = {
            .read = read_piece, .context = &from, .size_bytes = sizes[i]};
        const struct hf_http_sink sink = {.write = write_piece, .context = &to};
        const struct hf_http_call call = {
            .method = "POST", .target = "/echo/big", .source = &source, .sink = &sink};
        call_ok(client, &call, &reply);
        assert_int_equal(to.at, 5 * MIB);
        assert_int_equal(reply.body.len, 0);
        assert_int_equal(reply.body_length_bytes, 5 * MIB);
    }
}

static void test_what_source_or_sink_say_is_what_the_caller_hears(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_http_client_destroy) struct hf_http_client *client = plain_client(app->port);
    HF_CLEANUP(hf_free) uint8_t *bytes = hf_alloc(MIB);
    char words[128];

    fill(bytes, MIB);
    struct piecewise from = {.bytes = bytes, .len = MIB, .piece = 1000, .fail_at = 500000};
    struct piecewise to = {.bytes = bytes, .len = MIB, .fail_at = 500000};
    const struct hf_http_source source = {.read = read_piece, .context = &from, .size_bytes = MIB};
    const struct hf_http_sink sink = {.write = write_piece, .context = &to};
    const struct hf_http_call sends = {.method = "PUT", .target = "/echo", .source = &source};
    const struct hf_http_call takes = {
        .method = "PUT", .target = "/echo", .body = hf_bytes_of(bytes, MIB), .sink = &sink};
    (void)snprintf(words, sizeof words, "PUT http://127.0.0.1:%u/echo: the source broke",
                   app->port);
    call_fails(client, &sends, HF_ERR_CORRUPT, words);
    call_fails(client, &takes, HF_ERR_NO_SPACE, "/echo: the sink is full");
    /* And the client is as good as before. */
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    hf_http_reply_init(&reply, MIB);
    call_ok(client, &(struct hf_http_call){.target = "/hello"}, &reply);
}

static void test_the_body_of_an_error_goes_into_the_reply_not_the_sink(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_http_client_destroy) struct hf_http_client *client = plain_client(app->port);
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    struct piecewise to = {.len = 0};
    const struct hf_http_sink sink = {.write = write_piece, .context = &to};
    const struct hf_http_call call = {.target = "/early", .sink = &sink};
    struct hf_error err;

    hf_http_reply_init(&reply, MIB);
    call_ok(client, &call, &reply);
    assert_int_equal(reply.status, 403);
    assert_int_equal(hf_http_client_fail_status(client, &call, &reply, &err), HF_ERR_DENIED);
    expect_words(&err, "GET http://127.0.0.1:");
    expect_words(&err, "/early: 403 Forbidden: too early");
}

static void test_an_answer_beyond_the_limit_ends_the_call(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_http_client_destroy) struct hf_http_client *client = plain_client(app->port);
    HF_CLEANUP(hf_free) uint8_t *bytes = hf_alloc_zero(MIB);
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    struct hf_error err;
    const struct hf_http_call call = {
        .method = "PUT", .target = "/echo", .body = hf_bytes_of(bytes, MIB)};

    hf_http_reply_init(&reply, MIB - 1);
    assert_int_equal(hf_http_client_call(client, &call, &reply, &err), HF_ERR_LIMIT);
    expect_words(&err, "/echo: the answer is longer than 1048575 bytes");
}

static void test_a_header_that_could_smuggle_another_is_refused(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_http_client_destroy) struct hf_http_client *client = plain_client(app->port);
    const struct hf_http_header header = {"X-A", "b\r\nX-C: d"};
    const struct hf_http_call call = {.target = "/hello", .headers = &header, .header_count = 1};

    call_fails(client, &call, HF_ERR_INVALID, "header 0 holds a character that headers cannot");
    call_fails(client, &(struct hf_http_call){.target = "hello"}, HF_ERR_INVALID,
               "does not begin with \"/\"");
    assert_int_equal(app->headers_seen, 0);
}

static void test_nobody_there_is_unavailable(void **state)
{
    uint16_t port;
    int fd = peer_listen(&port);

    (void)state;
    (void)close(fd);
    HF_CLEANUP(hf_http_client_destroy) struct hf_http_client *client = plain_client(port);
    call_fails(client, &(struct hf_http_call){.target = "/x"}, HF_ERR_UNAVAILABLE,
               "Connection refused");
    HF_CLEANUP(hf_http_client_destroy) struct hf_http_client *lost = NULL;
    struct hf_error err;
    const struct hf_http_client_options options = {.base_url = "http://no.such.host.invalid"};
    assert_int_equal(hf_http_client_create(&options, &lost, &err), HF_ERR_OK);
    call_fails(lost, &(struct hf_http_call){.target = "/x"}, HF_ERR_UNAVAILABLE,
               "GET http://no.such.host.invalid/x: Could not resolve host");
}

/* A server that reads one request's headers and then says its text. */
struct script {
    int listen_fd;
    uint16_t port;
    const char
        *answers[4]; /* NULL ends; "" waits for the client to go; "-" closes without a word */
    struct hf_thread *thread;
    struct hf_buf heard;
};

static void play(void *context)
{
    struct script *script = context;

    for (size_t i = 0; i < 4 && script->answers[i] != NULL; i++) {
        int fd = accept(script->listen_fd, NULL, NULL);
        if (fd < 0) {
            return;
        }
        hf_buf_clear(&script->heard);
        while (strstr(peer_text(&script->heard), "\r\n\r\n") == NULL &&
               peer_read_some(fd, &script->heard)) {
        }
        if (strcmp(script->answers[i], "-") != 0) {
            (void)peer_try_send(fd, script->answers[i], strlen(script->answers[i]));
        }
        if (script->answers[i][0] == '\0') {
            peer_read_all(fd, &script->heard);
        }
        (void)shutdown(fd, SHUT_WR);
        while (peer_read_some(fd, &script->heard)) {
        }
        (void)close(fd);
    }
}

static void script_start(struct script *script)
{
    struct hf_error err;

    hf_buf_init(&script->heard, 16 * MIB);
    script->listen_fd = peer_listen(&script->port);
    assert_int_equal(hf_thread_start("script", play, script, &script->thread, &err), HF_ERR_OK);
}

static void script_end(struct script *script)
{
    hf_thread_join(script->thread);
    (void)close(script->listen_fd);
    hf_buf_fini(&script->heard);
}

static void test_answers_that_break_off_are_told_apart(void **state)
{
    const struct {
        const char *answer;
        enum hf_err code;
        const char *words;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", HF_ERR_UNAVAILABLE,
         "transfer closed with"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", HF_ERR_UNAVAILABLE,
         "transfer closed with outstanding read data"},
        {"-", HF_ERR_UNAVAILABLE, "/x: the connection was closed without an answer"},
        {"\x01\x02 not HTTP at all\r\n\r\n", HF_ERR_CORRUPT, "the answer is not HTTP"},
        {"HTTP/.1 500 broken\r\nContent-Length: 0\r\n\r\n", HF_ERR_CORRUPT,
         "malformed status line"},
        {"http/1.1 500 broken\r\nContent-Length: 0\r\n\r\n", HF_ERR_CORRUPT,
         "malformed status line"},
        {"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n", HF_ERR_CORRUPT,
         "the answer is not HTTP"},
    };

    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        struct script script = {.answers = {cases[i].answer}};
        script_start(&script);
        struct hf_http_client *client = plain_client(script.port);
        call_fails(client, &(struct hf_http_call){.target = "/x"}, cases[i].code, cases[i].words);
        hf_http_client_destroy(client);
        script_end(&script);
    }
}

static void test_silence_ends_at_the_time_out(void **state)
{
    (void)state;
    struct script script = {.answers = {"", ""}};
    script_start(&script);
    HF_CLEANUP(hf_http_client_destroy) struct hf_http_client *client = plain_client(script.port);
    const struct hf_http_call idle = {.target = "/x", .idle_timeout_ms = 200};
    const struct hf_http_call total = {.target = "/x", .total_timeout_ms = 200};
    uint64_t began_ms = hf_clock_mono_ms();
    call_fails(client, &idle, HF_ERR_TIMEOUT, "/x: no byte moved for 200 ms");
    call_fails(client, &total, HF_ERR_TIMEOUT, "/x: not finished within 200 ms");
    assert_in_range(hf_clock_mono_ms() - began_ms, 400, 5000);
    script_end(&script);
}

static void cancel_soon(void *context)
{
    (void)poll(NULL, 0, 100);
    hf_cancel_request(context);
}

static void test_a_cancel_ends_a_call_that_waits(void **state)
{
    struct script script = {.answers = {""}};
    struct hf_cancel cancel;
    struct hf_thread *thread = NULL;
    struct hf_error err;

    (void)state;
    hf_cancel_init(&cancel);
    script_start(&script);
    const struct hf_http_client_options options = {.cancel = &cancel};
    HF_CLEANUP(hf_http_client_destroy)
    struct hf_http_client *client = client_for(&options, "http", script.port);
    assert_int_equal(hf_thread_start("canceller", cancel_soon, &cancel, &thread, &err), HF_ERR_OK);
    uint64_t began_ms = hf_clock_mono_ms();
    call_fails(client, &(struct hf_http_call){.target = "/x"}, HF_ERR_CANCELLED, "/x: cancelled");
    assert_in_range(hf_clock_mono_ms() - began_ms, 90, 3000);
    hf_thread_join(thread);
    script_end(&script);
}

/* The server closed the kept connection in between: the caller does not notice. */
static void test_a_kept_connection_that_died_is_replaced(void **state)
{
    const char *answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    struct script script = {.answers = {answer, answer, answer}};

    (void)state;
    script_start(&script);
    HF_CLEANUP(hf_http_client_destroy) struct hf_http_client *client = plain_client(script.port);
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    const struct hf_http_call call = {
        .method = "PUT", .target = "/x", .body = hf_bytes_of("body", 4)};
    hf_http_reply_init(&reply, MIB);
    for (int i = 0; i < 3; i++) {
        call_ok(client, &call, &reply);
        assert_memory_equal(reply.body.data, "ok", 2);
    }
    hf_http_client_destroy(HF_TAKE(client));
    hf_thread_join(HF_TAKE(script.thread));
    assert_non_null(strstr(peer_text(&script.heard), "body"));
    script_end(&script);
}

/* Which belongs to no header: what the call before left must not be touched. */
static void test_an_answer_may_begin_with_a_folded_line(void **state)
{
    struct script script = {
        .answers = {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                    "HTTP/1.1 200 OK\r\n and: this\r\nContent-Length: 2\r\n\r\nok"}};

    (void)state;
    script_start(&script);
    HF_CLEANUP(hf_http_client_destroy) struct hf_http_client *client = plain_client(script.port);
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    const struct hf_http_call call = {.target = "/x"};
    hf_http_reply_init(&reply, MIB);
    call_ok(client, &call, &reply);
    call_fails(client, &call, HF_ERR_CORRUPT, "/x: the answer is not HTTP");
    hf_http_client_destroy(HF_TAKE(client));
    script_end(&script);
}

/* Answers a first request, hears a second on the same connection and hangs up; a connection later it answers again. */
static void play_one_who_hangs_up(void *context)
{
    struct script *script = context;
    int fd = accept(script->listen_fd, NULL, NULL);

    for (int i = 0; i < 2; i++) {
        hf_buf_clear(&script->heard);
        while (strstr(peer_text(&script->heard), "body") == NULL &&
               peer_read_some(fd, &script->heard)) {
        }
        if (i == 0) {
            (void)peer_try_send(fd, script->answers[0], strlen(script->answers[0]));
        }
    }
    (void)close(fd);
    play(script);
}

static void test_a_body_goes_again_when_its_source_can_go_back(void **state)
{
    const char *answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    struct script script = {.answers = {answer}};
    struct piecewise from = {.bytes = (const uint8_t *)"body", .len = 4, .piece = 4};
    struct hf_http_source source = {
        .read = read_piece, .rewind = rewind_piece, .context = &from, .size_bytes = 4};
    const struct hf_http_call call = {.method = "PUT", .target = "/x", .source = &source};

    (void)state;
    for (int can = 1; can >= 0; can--) {
        struct hf_error err;
        hf_buf_init(&script.heard, MIB);
        script.listen_fd = peer_listen(&script.port);
        assert_int_equal(
            hf_thread_start("script", play_one_who_hangs_up, &script, &script.thread, &err),
            HF_ERR_OK);
        HF_CLEANUP(hf_http_client_destroy)
        struct hf_http_client *client = plain_client(script.port);
        HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
        hf_http_reply_init(&reply, MIB);
        from.at = 0;
        from.rewinds = 0;
        source.rewind = can ? rewind_piece : NULL;
        call_ok(client, &call, &reply);
        from.at = 0;
        if (can) {
            call_ok(client, &call, &reply);
            assert_int_equal(from.rewinds, 1);
        } else {
            call_fails(client, &call, HF_ERR_UNAVAILABLE,
                       "would have to be sent again and its source cannot");
        }
        hf_http_client_destroy(HF_TAKE(client));
        (void)shutdown(script.listen_fd, SHUT_RDWR); /* nobody else comes */
        script_end(&script);
    }
}

static void test_what_goes_out_is_what_was_asked(void **state)
{
    struct script script = {
        .answers = {"HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n"
                    "HTTP/1.1 201 Created\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n"}};
    const struct hf_http_client_options options = {.bearer = TOKEN, .user_agent = "tester/1"};

    (void)state;
    script_start(&script);
    HF_CLEANUP(hf_http_client_destroy)
    struct hf_http_client *client = client_for(&options, "http", script.port);
    HF_CLEANUP(hf_free) uint8_t *body = hf_alloc_zero(2 * MIB);
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    const struct hf_http_call call = {
        .method = "POST", .target = "/x?y=%2F", .body = hf_bytes_of(body, 2 * MIB)};
    hf_http_reply_init(&reply, MIB);
    call_ok(client, &call, &reply);
    assert_int_equal(reply.status, 201);
    assert_string_equal(hf_http_reply_header(&reply, "location"), "/y"); /* seen, not followed */
    assert_null(hf_http_reply_header(&reply, "x-interim"));
    hf_http_client_destroy(HF_TAKE(client));
    hf_thread_join(HF_TAKE(script.thread));
    const char *heard = peer_text(&script.heard);
    assert_memory_equal(heard, "POST /x?y=%2F HTTP/1.1\r\n", 24);
    assert_non_null(strstr(heard, "\r\nAuthorization: Bearer " TOKEN "\r\n"));
    assert_non_null(strstr(heard, "\r\nUser-Agent: tester/1\r\n"));
    assert_non_null(strstr(heard, "\r\nContent-Length: 2097152\r\n"));
    assert_null(strstr(heard, "Expect"));
    assert_null(strstr(heard, "Content-Type"));
    assert_null(strstr(heard, "Transfer-Encoding"));
    script_end(&script);
}

static void create_fails(const struct hf_http_client_options *options, enum hf_err code,
                         const char *words)
{
    struct hf_http_client *client = NULL;
    struct hf_error err = {0};

    assert_int_equal(hf_http_client_create(options, &client, &err), code);
    assert_null(client);
    expect_words(&err, words);
}

static void test_options_that_make_no_sense_are_refused(void **state)
{
    const char *urls[] = {"ftp://host", "host", "http://", "file:///etc/passwd", ""};

    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(urls); i++) {
        create_fails(&(struct hf_http_client_options){.base_url = urls[i]}, HF_ERR_INVALID,
                     "not a URL of the form");
    }
    create_fails(&(struct hf_http_client_options){0}, HF_ERR_INVALID, "no URL");
    create_fails(&(struct hf_http_client_options){.base_url = "http://u:hidden@host"},
                 HF_ERR_INVALID, "base URL for host host: a query or a user");
    create_fails(&(struct hf_http_client_options){.base_url = "https://h", .bearer = "a\r\nb"},
                 HF_ERR_INVALID, "the token holds a control character");
    create_fails(
        &(struct hf_http_client_options){
            .base_url = "https://h", .bearer = "a", .user = "u", .password = "p"},
        HF_ERR_INVALID, "a token and a user together");
    create_fails(&(struct hf_http_client_options){.base_url = "https://h", .user = "u"},
                 HF_ERR_INVALID, "a user needs a password");
}

static void test_a_token_leaves_over_plain_http_only_to_loopback(void **state)
{
    const char *loopback[] = {"http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1",
                              "https://backup.example"};
    const char *others[] = {"http://backup.example:8080", "http://127.0.0.1.example",
                            "http://10.0.0.1", "HTTP://backup.example"};
    struct hf_http_client *client;
    struct hf_error err;

    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(loopback); i++) {
        const struct hf_http_client_options options = {.base_url = loopback[i], .bearer = TOKEN};
        assert_int_equal(hf_http_client_create(&options, &client, &err), HF_ERR_OK);
        hf_http_client_destroy(client);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(others); i++) {
        struct hf_http_client_options options = {.base_url = others[i], .bearer = TOKEN};
        create_fails(&options, HF_ERR_DENIED,
                     "a token is not sent over plain HTTP to another host (hint: use https)");
        options.allow_insecure = true;
        assert_int_equal(hf_http_client_create(&options, &client, &err), HF_ERR_OK);
        hf_http_client_destroy(client);
    }
}

static void write_file(char *path, const char *text)
{
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_true(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    (void)close(fd);
}

static void test_tls_trusts_a_named_authority_or_a_pinned_key_and_nothing_else(void **state)
{
    const struct hf_http_server_options server = {.tls_cert_pem = TEST_CERT_PEM,
                                                  .tls_key_pem = TEST_KEY_PEM};
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    HF_CLEANUP(hf_free) uint8_t *body = hf_alloc(16 * MIB);
    char ca_file[] = "/tmp/holdfast-test-ca-XXXXXX";
    const struct hf_http_call call = {.target = "/hello"};
    struct hf_http_client *client;
    struct app app;

    (void)state;
    app_init(&app);
    app_start(&app, &server);
    hf_http_reply_init(&reply, 16 * MIB);
    write_file(ca_file, TEST_CERT_PEM);

    client = client_for(&(struct hf_http_client_options){.ca_file = ca_file}, "https", app.port);
    call_ok(client, &call, &reply);
    assert_string_equal(hf_http_reply_header(&reply, "x-tls"), "yes");
    fill(body, 16 * MIB);
    const struct hf_http_call big = {
        .method = "PUT", .target = "/echo/big", .body = hf_bytes_of(body, 16 * MIB)};
    call_ok(client, &big, &reply);
    assert_true(hf_bytes_equal(hf_buf_bytes(&reply.body), big.body));
    hf_http_client_destroy(client);

    client =
        client_for(&(struct hf_http_client_options){.pinned_key = TEST_KEY_PIN}, "https", app.port);
    call_ok(client, &call, &reply);
    hf_http_client_destroy(client);

    client = client_for(&(struct hf_http_client_options){0}, "https", app.port);
    call_fails(client, &call, HF_ERR_DENIED,
               "(hint: name the certificate's authority as CA file, or pin its key)");
    hf_http_client_destroy(client);

    const struct hf_http_client_options wrong = {
        .pinned_key = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="};
    client = client_for(&wrong, "https", app.port);
    call_fails(client, &call, HF_ERR_DENIED, "the server's key is not the pinned one");
    hf_http_client_destroy(client);

    client =
        client_for(&(struct hf_http_client_options){.ca_file = "/no/such/file"}, "https", app.port);
    call_fails(client, &call, HF_ERR_INVALID, "/no/such/file");
    hf_http_client_destroy(client);
    (void)unlink(ca_file);

    client = client_for(&(struct hf_http_client_options){0}, "http", app.port);
    call_fails(client, &call, HF_ERR_UNAVAILABLE, "/hello: ");
    hf_http_client_destroy(client);
    app_fini(&app);
}

static void test_tls_to_a_plain_port_gets_a_hint(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_http_client_destroy)
    struct hf_http_client *client =
        client_for(&(struct hf_http_client_options){0}, "https", app->port);

    call_fails(client, &(struct hf_http_call){.target = "/hello"}, HF_ERR_UNAVAILABLE,
               "(hint: does the server speak TLS on this port?)");
}

/* A server that asks for digest credentials, and counts what it gets. */
struct guarded {
    struct hf_digest *digest;
    atomic_uint challenged, let_in;
};

static bool find_guarded(void *context, struct hf_str user, enum hf_digest_algorithm algorithm,
                         struct hf_digest_credential *out)
{
    (void)context;
    (void)algorithm;
    return hf_str_equal_c(user, "public") && hf_secret_set(&out->value, hf_bytes_of("private", 7));
}

static uint64_t guard(void *context, struct hf_http_request *request)
{
    struct guarded *guarded = context;
    const struct hf_digest_users users = {.find = find_guarded};
    const struct hf_digest_request asked = {
        .method = hf_http_request_method(request),
        .target = hf_http_request_target(request),
        .authorization = hf_http_request_header(request, "Authorization"),
        .now_ms = 1000000,
    };
    char user[HF_DIGEST_USER_MAX_BYTES], challenge[HF_DIGEST_CHALLENGE_BYTES];
    const char *why;
    enum hf_digest_outcome outcome = hf_digest_check(guarded->digest, &asked, &users, user, &why);

    if (outcome == HF_DIGEST_ACCEPTED) {
        atomic_fetch_add(&guarded->let_in, 1);
        return 16 * MIB;
    }
    hf_digest_challenge(guarded->digest, asked.now_ms, outcome == HF_DIGEST_STALE, challenge);
    const struct hf_http_header header = {"WWW-Authenticate", challenge};
    const struct hf_http_answer answer = {.status = 401, .headers = &header, .header_count = 1};
    atomic_fetch_add(&guarded->challenged, 1);
    (void)hf_http_respond(request, &answer);
    return 0;
}

static void answer_length(void *context, struct hf_http_request *request)
{
    char text[32];

    (void)context;
    (void)snprintf(text, sizeof text, "%zu", hf_http_request_body(request).len);
    assert_true(hf_http_respond_text(request, 200, "text/plain", text));
}

static void test_digest_credentials_open_the_door(void **state)
{
    struct guarded guarded = {.digest = NULL};
    const struct hf_http_server_options options = {
        .handler = {.context = &guarded, .on_headers = guard, .on_request = answer_length}};
    const struct hf_http_client_options right = {.user = "public", .password = "private"};
    const struct hf_http_client_options wrong = {.user = "public", .password = "guess"};
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    HF_CLEANUP(hf_free) uint8_t *body = hf_alloc_zero(4 * MIB);
    struct hf_http_server *server;
    struct hf_error err;

    (void)state;
    hf_http_reply_init(&reply, MIB);
    assert_int_equal(hf_digest_create(&(struct hf_digest_options){0}, &guarded.digest, &err),
                     HF_ERR_OK);
    assert_int_equal(hf_http_server_start(&options, &server, &err), HF_ERR_OK);
    struct hf_http_client *client = client_for(&right, "http", hf_http_server_port(server));
    const struct hf_http_call put = {
        .method = "PUT", .target = "/a%2Fb?x=1&y=%20", .body = hf_bytes_of(body, 4 * MIB)};
    call_ok(client, &put, &reply);
    assert_int_equal(reply.status, 200);
    assert_memory_equal(reply.body.data, "4194304", 7);
    assert_int_equal(atomic_load(&guarded.challenged), 1);
    /* Every call is challenged, before its body goes: a source is read once, and need not go back. */
    for (int i = 0; i < 5; i++) {
        call_ok(client, &(struct hf_http_call){.target = "/again"}, &reply);
        assert_int_equal(reply.status, 200);
    }
    assert_int_equal(atomic_load(&guarded.challenged), 6);
    struct piecewise from = {.bytes = body, .len = 4 * MIB, .piece = 4 * MIB};
    const struct hf_http_source source = {
        .read = read_piece, .context = &from, .size_bytes = 4 * MIB};
    const struct hf_http_call pulled = {.method = "PUT", .target = "/once", .source = &source};
    call_ok(client, &pulled, &reply);
    assert_int_equal(reply.status, 200);
    assert_memory_equal(reply.body.data, "4194304", 7);
    assert_int_equal(atomic_load(&guarded.challenged), 7);
    hf_http_client_destroy(client);

    client = client_for(&wrong, "http", hf_http_server_port(server));
    call_ok(client, &put, &reply);
    assert_int_equal(reply.status, 401);
    assert_int_equal(hf_http_client_fail_status(client, &put, &reply, &err),
                     HF_ERR_UNAUTHENTICATED);
    expect_words(&err, "/a%2Fb?x=1&y=%20: 401 Unauthorized");
    hf_http_client_destroy(client);
    hf_http_server_stop(server);
    hf_digest_destroy(guarded.digest);
}

static void test_a_call_can_be_made_to_fail_before_and_after(void **state)
{
    struct app *app = *state;
    HF_CLEANUP(hf_http_client_destroy) struct hf_http_client *client = plain_client(app->port);
    const struct hf_http_call call = {.target = "/hello"};

    hf_fault_arm("net.client.send", HF_ERR_UNAVAILABLE);
    call_fails(client, &call, HF_ERR_UNAVAILABLE, "/hello: injected fault at net.client.send");
    assert_int_equal(app->handled, 0);
    hf_fault_arm("net.client.answer", HF_ERR_TIMEOUT);
    call_fails(client, &call, HF_ERR_TIMEOUT, "/hello: injected fault at net.client.answer");
    assert_int_equal(app->handled, 1);
    hf_fault_disarm_all();
}

/* Each allocation of a whole exchange fails in turn, on either side: a clear error, and both go on. */
static void test_no_allocation_that_fails_leaves_a_trace(void **state)
{
    struct app *app = *state;
    const struct hf_http_header header = {"X-Color", "red"};
    const struct hf_http_call call = {.method = "PUT",
                                      .target = "/echo",
                                      .headers = &header,
                                      .header_count = 1,
                                      .body = hf_bytes_of("body", 4)};
    char url[64];
    unsigned failures = 0;

    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", app->port);
    for (uint64_t nth = 1; nth <= 40; nth++) {
        HF_CLEANUP(hf_http_client_destroy) struct hf_http_client *client = NULL;
        HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
        const struct hf_http_client_options options = {.base_url = url, .bearer = TOKEN};
        struct hf_error err = {0};
        hf_http_reply_init(&reply, MIB);
        hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, nth, 1);
        enum hf_err code = hf_http_client_create(&options, &client, &err);
        if (code == HF_ERR_OK) {
            code = hf_http_client_call(client, &call, &reply, &err);
        }
        hf_fault_disarm_all();
        if (code == HF_ERR_OK && reply.status == 200) {
            assert_memory_equal(reply.body.data, "body", 4);
        } else {
            failures++;
            /* Ours, or a connection that the server dropped, or its 429 and 500. */
            assert_true(code == HF_ERR_OK || code == HF_ERR_NO_MEMORY ||
                        code == HF_ERR_UNAVAILABLE);
        }
        assert_true(client == NULL || code != HF_ERR_NO_MEMORY || strlen(err.message) > 0);
    }
    assert_true(failures > 8);
    app_wait_stats(app, app_is_empty);
    HF_CLEANUP(hf_http_client_destroy) struct hf_http_client *client = plain_client(app->port);
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    hf_http_reply_init(&reply, MIB);
    call_ok(client, &call, &reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        APP_TEST(test_a_call_brings_status_headers_and_body),
        APP_TEST(test_every_method_goes_out_as_it_is_named),
        APP_TEST(test_sixteen_mib_go_there_and_back),
        APP_TEST(test_a_body_is_pulled_from_a_source_and_pushed_into_a_sink),
        APP_TEST(test_what_source_or_sink_say_is_what_the_caller_hears),
        APP_TEST(test_the_body_of_an_error_goes_into_the_reply_not_the_sink),
        APP_TEST(test_an_answer_beyond_the_limit_ends_the_call),
        APP_TEST(test_a_header_that_could_smuggle_another_is_refused),
        cmocka_unit_test(test_nobody_there_is_unavailable),
        cmocka_unit_test(test_answers_that_break_off_are_told_apart),
        cmocka_unit_test(test_silence_ends_at_the_time_out),
        cmocka_unit_test(test_a_cancel_ends_a_call_that_waits),
        cmocka_unit_test(test_a_kept_connection_that_died_is_replaced),
        cmocka_unit_test(test_an_answer_may_begin_with_a_folded_line),
        cmocka_unit_test(test_a_body_goes_again_when_its_source_can_go_back),
        cmocka_unit_test(test_what_goes_out_is_what_was_asked),
        cmocka_unit_test(test_options_that_make_no_sense_are_refused),
        cmocka_unit_test(test_a_token_leaves_over_plain_http_only_to_loopback),
        cmocka_unit_test(test_tls_trusts_a_named_authority_or_a_pinned_key_and_nothing_else),
        APP_TEST(test_tls_to_a_plain_port_gets_a_hint),
        cmocka_unit_test(test_digest_credentials_open_the_door),
        APP_TEST(test_a_call_can_be_made_to_fail_before_and_after),
        APP_TEST(test_no_allocation_that_fails_leaves_a_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
