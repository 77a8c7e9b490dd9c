/* SPDX-License-Identifier: Apache-2.0 */
/* Starting and stopping: addresses, options that make no sense, TLS material, requests under way at the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fault.h"
#include "unit/net/app.h"
#include "unit/net/tls.h"

#define ANSWER_MAX ((size_t)1 << 20)

static void refused(const struct hf_http_server_options *options, enum hf_err code,
                    const char *words)
{
    struct hf_http_server *server = NULL;
    struct hf_error err = {0};

    assert_int_equal(hf_http_server_start(options, &server, &err), code);
    assert_null(server);
    if (strstr(err.message, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.message, words);
    }
}

static void ignore_request(void *context, struct hf_http_request *request)
{
    (void)context;
    (void)hf_http_respond_text(request, 200, "text/plain", "");
}

static void test_an_address_that_is_taken_is_a_conflict(void **state)
{
    struct app *app = *state;
    char words[64];
    const struct hf_http_server_options options = {.port = app->port,
                                                   .handler = {.on_request = ignore_request}};

    (void)snprintf(words, sizeof words, "listen on 127.0.0.1 port %u: Address already in use",
                   app->port);
    refused(&options, HF_ERR_CONFLICT, words);
}

static void test_options_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    struct hf_http_server_options options = {0};
    refused(&options, HF_ERR_INVALID, "no handler");
    options.handler.on_request = ignore_request;
    options.tls_cert_pem = TEST_CERT_PEM;
    refused(&options, HF_ERR_INVALID, "a TLS certificate needs its key");
    options.tls_key_pem = "not a key";
    refused(&options, HF_ERR_INVALID, "are TLS certificate and key PEM texts");
    options.tls_cert_pem = options.tls_key_pem = NULL;
    options.address = "no.such.host.invalid";
    refused(&options, HF_ERR_INVALID, "listen on no.such.host.invalid: ");
    options.address = "192.0.2.1";
    refused(&options, HF_ERR_IO, "listen on 192.0.2.1 port 0: ");
    options.address = NULL;
    options.header_max_bytes = (size_t)2 << 20;
    refused(&options, HF_ERR_INVALID, "a limit is out of range");
}

static void test_one_loop_serves_as_several_do(void **state)
{
    const unsigned counts[] = {1, 2, 7};

    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(counts); i++) {
        const struct hf_http_server_options options = {.thread_count = counts[i]};
        HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
        struct app app;
        app_init(&app);
        app_start(&app, &options);
        for (size_t k = 0; k < 10; k++) {
            int fd = peer_connect(app.port);
            peer_ask(fd, &answer, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n", "hello");
            (void)close(fd);
        }
        app_fini(&app);
    }
}

static void test_an_ipv6_address_serves_both_families_and_names_peers_plainly(void **state)
{
    const struct hf_http_server_options options = {.address = "::"};
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    struct hf_http_server *server = NULL;
    struct hf_http_server_options probe = options;
    struct hf_error err;
    struct app app;

    (void)state;
    probe.handler.on_request = ignore_request;
    if (hf_http_server_start(&probe, &server, &err) != HF_ERR_OK) {
        skip(); /* a machine without IPv6 */
    }
    hf_http_server_stop(server);
    app_init(&app);
    app_start(&app, &options);
    int fd = peer_connect(app.port);
    peer_ask(fd, &answer, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n", "hello");
    assert_non_null(strstr(peer_text(&answer), "X-Peer: 127.0.0.1\r\n"));
    (void)close(fd);
    app_fini(&app);
}

static void test_stopping_answers_what_is_kept_and_closes_what_is_idle(void **state)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf answer = HF_BUF_INIT(ANSWER_MAX);
    int kept[50], idle = -1, half = -1;
    struct app app;

    (void)state;
    app_init(&app);
    app_start(&app, &(struct hf_http_server_options){0});
    for (size_t i = 0; i < HF_ARRAY_LEN(kept); i++) {
        kept[i] = peer_connect(app.port);
        peer_send(kept[i], "GET /keep HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    idle = peer_connect(app.port);
    half = peer_connect(app.port);
    peer_send(half, "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf");
    app_wait_kept(&app, HF_ARRAY_LEN(kept));
    app_wait(&app, &app.headers_seen, HF_ARRAY_LEN(kept) + 1);
    uint64_t began_ms = hf_clock_mono_ms();
    app_stop(&app);
    assert_true(hf_clock_mono_ms() - began_ms < 4000);

    for (size_t i = 0; i < HF_ARRAY_LEN(kept); i++) {
        hf_buf_clear(&answer);
        peer_read_all(kept[i], &answer);
        assert_non_null(strstr(peer_text(&answer), "HTTP/1.1 503 "));
        assert_non_null(strstr(peer_text(&answer), "Retry-After: 2\r\n"));
        assert_non_null(strstr(peer_text(&answer), "{\"error\":true}"));
        (void)close(kept[i]);
        /* The application answers what it still holds, although nobody is there any more. */
        assert_false(hf_http_respond_text(app_next_kept(&app), 200, "text/plain", "late"));
    }
    hf_buf_clear(&answer);
    peer_read_all(idle, &answer);
    peer_read_all(half, &answer);
    assert_int_equal(answer.len, 0);
    (void)close(idle);
    (void)close(half);
    app_fini(&app);
}

static void stop_concurrently(void *context)
{
    app_stop(context);
}

/* Requests come, are kept and answered while the server stops. */
static void test_stopping_under_load_loses_nothing(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        struct hf_thread *stopper = NULL;
        struct hf_error err;
        struct app app;
        int fds[40];

        app_init(&app);
        app_start(&app, &(struct hf_http_server_options){0});
        for (size_t i = 0; i < HF_ARRAY_LEN(fds); i++) {
            fds[i] = peer_connect(app.port);
        }
        for (size_t i = 0; i < HF_ARRAY_LEN(fds); i++) {
            (void)peer_try_send(fds[i], "GET /keep HTTP/1.1\r\nHost: h\r\n\r\n", 31);
            if (i == round * 2) {
                assert_int_equal(
                    hf_thread_start("stopper", stop_concurrently, &app, &stopper, &err), HF_ERR_OK);
            }
        }
        hf_thread_join(stopper);
        while (app.kept_count > 0) {
            (void)hf_http_respond_text(app_next_kept(&app), 200, "text/plain", "late");
        }
        for (size_t i = 0; i < HF_ARRAY_LEN(fds); i++) {
            (void)close(fds[i]);
        }
        app_fini(&app);
    }
}

static void test_a_start_without_memory_leaves_nothing(void **state)
{
    const struct hf_http_server_options options = {.handler = {.on_request = ignore_request}};
    struct hf_http_server *server = NULL;
    struct hf_error err;
    uint64_t nth = 1;

    (void)state;
    for (;; nth++) {
        hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, nth, 1);
        enum hf_err code = hf_http_server_start(&options, &server, &err);
        hf_fault_disarm_all();
        if (code == HF_ERR_OK) {
            break;
        }
        assert_int_equal(code, HF_ERR_NO_MEMORY);
        assert_null(server);
    }
    assert_true(nth > 1);
    hf_http_server_stop(server);
}

static void test_stopping_nothing_is_harmless(void **state)
{
    (void)state;
    hf_http_server_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        APP_TEST(test_an_address_that_is_taken_is_a_conflict),
        cmocka_unit_test(test_options_that_make_no_sense_are_refused),
        cmocka_unit_test(test_one_loop_serves_as_several_do),
        cmocka_unit_test(test_an_ipv6_address_serves_both_families_and_names_peers_plainly),
        cmocka_unit_test(test_stopping_answers_what_is_kept_and_closes_what_is_idle),
        cmocka_unit_test(test_stopping_under_load_loses_nothing),
        cmocka_unit_test(test_a_start_without_memory_leaves_nothing),
        cmocka_unit_test(test_stopping_nothing_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
