/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver remote against a server on loopback that misbehaves: what is tried again, what is not,
 * what is believed.
 */
#include "contract/store/object_server.h"
#include "os/process.h"
#include "store/remote.h"

struct fixture {
    struct hf_store *behind;
    struct hf_store *store;
    struct object_server server;
    struct hf_cancel cancel;
    char *url;
};

static void open_store(struct fixture *f, uint64_t retry_ms)
{
    struct hf_error err = {.message = ""};
    struct hf_secret bearer;
    hf_store_close(HF_TAKE(f->store));
    assert_true(hf_secret_set(&bearer, hf_bytes_of(OBJECT_SERVER_KEY, strlen(OBJECT_SERVER_KEY))));
    const struct hf_store_remote_options options = {.base_url = f->url,
                                                    .bearer = &bearer,
                                                    .task = OBJECT_SERVER_TASK,
                                                    .attempt = OBJECT_SERVER_ATTEMPT,
                                                    .cancel = &f->cancel,
                                                    .retry_ms = retry_ms,
                                                    .pause_ms = 1};
    if (hf_store_remote_open(&options, &f->store, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
}

static int set_up(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);
    struct hf_error err;
    assert_non_null(f);
    hf_cancel_init(&f->cancel);
    assert_int_equal(hf_store_mem_create(&f->behind, &err), HF_ERR_OK);
    object_server_start(&f->server, f->behind);
    f->url = object_server_url(&f->server);
    open_store(f, 60000);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    hf_store_close(f->store);
    object_server_stop(&f->server);
    hf_store_close(f->behind);
    hf_free(f->url);
    hf_free(f);
    return 0;
}

static enum hf_err put(struct hf_store *store, const char *name, const char *text,
                       struct hf_error *err)
{
    return hf_store_put(store, hf_str_of(name), hf_bytes_of(text, strlen(text)), NULL, err);
}

static enum hf_err get(struct fixture *f, const char *name, struct hf_buf *out,
                       struct hf_error *err)
{
    return hf_store_get(f->store, hf_str_of(name), 1024, out, err);
}

static void test_every_call_names_key_task_attempt_and_protocol(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    uint8_t byte;
    uint64_t size_bytes;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(1024);
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL, .count = 0};
    assert_int_equal(put(f->store, "a", "bytes", &err), HF_ERR_OK);
    assert_int_equal(get(f, "a", &out, &err), HF_ERR_OK);
    assert_int_equal(hf_store_get_range(f->store, hf_str_of("a"), 1, &byte, 1, &err), HF_ERR_OK);
    assert_int_equal(hf_store_get_tail(f->store, hf_str_of("a"), 1, &out, &size_bytes, &err),
                     HF_ERR_OK);
    assert_int_equal(hf_store_size(f->store, hf_str_of("a"), &size_bytes, &err), HF_ERR_OK);
    assert_int_equal(hf_store_list(f->store, hf_str_of(""), hf_str_of(""), 0, &list, &err),
                     HF_ERR_OK);
    assert_int_equal(object_server_requests(&f->server), 6);
    assert_int_equal(object_server_unauthorised(&f->server), 0);
}

static void test_what_may_pass_is_tried_again(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct {
        int status;
        const char *body, *retry_after;
    } cases[] = {
        {503, "{\"error\":\"UNAVAILABLE\",\"message\":\"the store is away\"}", NULL},
        {429, "{\"error\":\"BUSY\",\"message\":\"too much\"}", "0"},
        {504, "{\"error\":\"TIMEOUT\",\"message\":\"too slow\"}", NULL},
        {502, "<html>Bad Gateway</html>", NULL},
        {429, "", "0"},
        {503, "", "nonsense"},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        char name[16];
        snprintf(name, sizeof name, "a/%zu", i);
        unsigned before = object_server_requests(&f->server);
        object_server_mishap(&f->server, OBJECT_MISHAP_ANSWER, 3, cases[i].status, cases[i].body,
                             cases[i].retry_after);
        assert_int_equal(put(f->store, name, "bytes", &err), HF_ERR_OK);
        assert_int_equal(object_server_requests(&f->server), before + 4);
    }
}

static void test_a_lost_answer_does_no_harm(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(1024);
    object_server_mishap(&f->server, OBJECT_MISHAP_ANSWER_AFTER, 2, 503, "", NULL);
    assert_int_equal(put(f->store, "a", "bytes", &err), HF_ERR_OK);
    assert_int_equal(get(f, "a", &out, &err), HF_ERR_OK);
    assert_memory_equal(out.data, "bytes", 5);
    assert_int_equal(object_server_requests(&f->server), 4);
}

static void test_patience_ends_and_the_message_tells_how_often(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    open_store(f, 40);
    object_server_mishap(&f->server, OBJECT_MISHAP_ANSWER, 1000000, 503,
                         "{\"error\":\"UNAVAILABLE\",\"message\":\"the store is away\"}", NULL);
    assert_int_equal(put(f->store, "a", "bytes", &err), HF_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "put a: http://127.0.0.1:"));
    assert_non_null(strstr(err.message, "tried "));
    assert_non_null(strstr(err.message, "the server answers: the store is away"));
    assert_in_range(object_server_requests(&f->server), 2, 30);
    /* A pause that is longer than the patience left is not begun. */
    open_store(f, 10000);
    unsigned before = object_server_requests(&f->server);
    object_server_mishap(&f->server, OBJECT_MISHAP_ANSWER, 1000000, 429, "", "3600");
    assert_int_equal(put(f->store, "a", "bytes", &err), HF_ERR_BUSY);
    assert_int_equal(object_server_requests(&f->server), before + 1);
}

static void test_a_server_that_is_not_there_is_unavailable(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    hf_free(f->url);
    f->url = hf_asprintf("http://127.0.0.1:%u", hf_free_port());
    open_store(f, 20);
    assert_int_equal(put(f->store, "a", "bytes", &err), HF_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, f->url));
}

static void test_the_server_s_class_and_words_arrive(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(1024);
    struct {
        int status;
        const char *body;
        enum hf_err code;
        const char *message;
    } cases[] = {
        {409, "{\"error\":\"LOST\",\"message\":\"another attempt has it\"}", HF_ERR_LOST,
         "get a: http://127.0.0.1:"},
        {409, "{\"error\":\"LOST\",\"message\":\"another attempt has it\"}", HF_ERR_LOST,
         "the server answers: another attempt has it"},
        {507, "{\"error\":\"NO_SPACE\",\"message\":\"full\"}", HF_ERR_NO_SPACE, "full"},
        {500, "{\"error\":\"CORRUPT\",\"message\":\"flipped\"}", HF_ERR_CORRUPT, "flipped"},
        {500, "{\"error\":\"INTERNAL\",\"message\":\"a bug\"}", HF_ERR_INTERNAL, "a bug"},
        {404, "not here", HF_ERR_NOT_FOUND, "404"},
        {403, "", HF_ERR_DENIED, "403"},
        {401, "", HF_ERR_UNAUTHENTICATED, "401"},
        {404, "{\"error\":\"OK\",\"message\":\"fine\"}", HF_ERR_NOT_FOUND, "404"},
        {302, "", HF_ERR_UNSUPPORTED, "302"},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        unsigned before = object_server_requests(&f->server);
        object_server_mishap(&f->server, OBJECT_MISHAP_ANSWER, 1, cases[i].status, cases[i].body,
                             NULL);
        assert_int_equal(get(f, "a", &out, &err), cases[i].code);
        assert_non_null(strstr(err.message, cases[i].message));
        assert_int_equal(object_server_requests(&f->server), before + 1);
        assert_int_equal(out.len, 0);
    }
}

static void test_bytes_changed_on_their_way_are_asked_for_again_and_never_given_out(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    uint8_t bytes[2];
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(1024);
    assert_int_equal(put(f->behind, "a", "bytes", &err), HF_ERR_OK);
    object_server_mishap(&f->server, OBJECT_MISHAP_CHECKSUM, 2, 0, NULL, NULL);
    assert_int_equal(get(f, "a", &out, &err), HF_ERR_OK);
    assert_memory_equal(out.data, "bytes", 5);
    object_server_mishap(&f->server, OBJECT_MISHAP_CHECKSUM, 3, 0, NULL, NULL);
    assert_int_equal(get(f, "a", &out, &err), HF_ERR_CORRUPT);
    assert_non_null(strstr(err.message, "does not have its checksum"));
    assert_int_equal(out.len, 0);
    object_server_mishap(&f->server, OBJECT_MISHAP_CHECKSUM, 3, 0, NULL, NULL);
    assert_int_equal(hf_store_get_range(f->store, hf_str_of("a"), 1, bytes, 2, &err),
                     HF_ERR_CORRUPT);
    object_server_mishap(&f->server, OBJECT_MISHAP_NO_CHECKSUM, 3, 0, NULL, NULL);
    assert_int_equal(get(f, "a", &out, &err), HF_ERR_CORRUPT);
    assert_non_null(strstr(err.message, "has no checksum"));
}

static void test_an_answer_to_a_range_is_that_range(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    uint8_t bytes[8];
    uint64_t size_bytes;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(1024);
    assert_int_equal(put(f->behind, "a", "0123456789", &err), HF_ERR_OK);
    object_server_mishap(&f->server, OBJECT_MISHAP_NO_RANGE, 1, 0, NULL, NULL);
    assert_int_equal(hf_store_get_range(f->store, hf_str_of("a"), 0, bytes, 4, &err),
                     HF_ERR_CORRUPT);
    assert_non_null(strstr(err.message, "longer than what was asked for"));
    object_server_mishap(&f->server, OBJECT_MISHAP_NO_RANGE, 1, 0, NULL, NULL);
    assert_int_equal(hf_store_get_tail(f->store, hf_str_of("a"), 20, &out, &size_bytes, &err),
                     HF_ERR_CORRUPT);
    assert_non_null(strstr(err.message, "is no range (HTTP status 200)"));
    assert_int_equal(out.len, 0);
    object_server_mishap(&f->server, OBJECT_MISHAP_PART, 1, 0, NULL, NULL);
    assert_int_equal(get(f, "a", &out, &err), HF_ERR_CORRUPT);
    assert_non_null(strstr(err.message, "is not the whole object (HTTP status 206)"));
    assert_int_equal(out.len, 0);
}

static void test_lists_are_not_believed(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    const char *bodies[] = {
        "",
        "[]",
        "{\"protocol\":1,\"more\":false}",
        "{\"protocol\":1,\"objects\":[]}",
        "{\"protocol\":1,\"objects\":[],\"more\":null}",
        "{\"protocol\":1,\"objects\":[{\"name\":\"j/2\"}],\"more\":false}",
        "{\"protocol\":1,\"objects\":[{\"name\":\"j/../x\",\"size\":1}],\"more\":false}",
        "{\"protocol\":1,\"objects\":[{\"name\":\"k/1\",\"size\":1}],\"more\":false}",
        "{\"protocol\":1,\"objects\":[{\"name\":\"j/2\",\"size\":1},{\"name\":\"j/"
        "1\",\"size\":1}],\"more\":false}",
        "{\"protocol\":1,\"objects\":[{\"name\":\"j/2\",\"size\":1},{\"name\":\"j/"
        "2\",\"size\":1}],\"more\":false}",
        "{\"protocol\":1,\"objects\":[{\"name\":\"j/0\",\"size\":1}],\"more\":false}",
        "{\"protocol\":1,\"objects\":[{\"name\":\"j/2\",\"size\":-1}],\"more\":false}",
        "{\"protocol\":1,\"objects\":[],\"more\":true}",
        "{\"protocol\":1,\"objects\":[{\"name\":\"j/2\",\"size\":1},{\"name\":\"j/3\",\"size\":1},"
        "{\"name\":\"j/4\",\"size\":1}],\"more\":false}",
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(bodies); i++) {
        HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL, .count = 0};
        object_server_mishap(&f->server, OBJECT_MISHAP_ANSWER, 1, 200, bodies[i], NULL);
        assert_int_equal(hf_store_list(f->store, hf_str_of("j/"), hf_str_of("j/0"), 2, &list, &err),
                         HF_ERR_CORRUPT);
        assert_non_null(strstr(err.message, "list j/: http://127.0.0.1:"));
        assert_non_null(strstr(err.message, "the answer"));
        assert_int_equal(list.count, 0);
    }
}

static void test_a_long_list_comes_in_pages(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    char name[16];
    for (unsigned i = 0; i < 2500; i++) {
        snprintf(name, sizeof name, "j/%04u", i);
        assert_int_equal(put(f->behind, name, "", &err), HF_ERR_OK);
    }
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL, .count = 0};
    assert_int_equal(hf_store_list(f->store, hf_str_of("j/"), hf_str_of(""), 10000, &list, &err),
                     HF_ERR_OK);
    assert_int_equal(list.count, 2500);
    assert_false(list.more);
    assert_string_equal(list.entries[2499].name, "j/2499");
    assert_int_equal(object_server_requests(&f->server), 3);
    hf_store_list_fini(&list);
    assert_int_equal(hf_store_list(f->store, hf_str_of("j/"), hf_str_of(""), 1500, &list, &err),
                     HF_ERR_OK);
    assert_int_equal(list.count, 1500);
    assert_true(list.more);
}

static void test_deletions_are_refused_without_asking(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    assert_int_equal(put(f->behind, "a", "bytes", &err), HF_ERR_OK);
    assert_int_equal(hf_store_delete(f->store, hf_str_of("a"), &err), HF_ERR_DENIED);
    assert_non_null(strstr(err.message, "deletions are the server's own"));
    assert_int_equal(object_server_requests(&f->server), 0);
}

static void test_cancelling_ends_the_patience(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    object_server_mishap(&f->server, OBJECT_MISHAP_ANSWER, 1000000, 503, "", "50");
    hf_cancel_request(&f->cancel);
    assert_int_equal(put(f->store, "a", "bytes", &err), HF_ERR_CANCELLED);
}

static void test_what_cannot_be_opened_is_named(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_store *store = NULL;
    struct hf_secret bearer;
    assert_true(hf_secret_set(&bearer, hf_bytes_of("secret", 6)));
    struct hf_store_remote_options options = {.base_url = "not a url", .bearer = &bearer};
    assert_int_equal(hf_store_remote_open(&options, &store, &err), HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "open store behind not a url: "));
    options.base_url = "http://example.com:1";
    assert_int_equal(hf_store_remote_open(&options, &store, &err), HF_ERR_DENIED);
    assert_null(strstr(err.message, "secret"));
    assert_null(store);
}

int main(void)
{
#define ON_STORE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        ON_STORE(test_every_call_names_key_task_attempt_and_protocol),
        ON_STORE(test_what_may_pass_is_tried_again),
        ON_STORE(test_a_lost_answer_does_no_harm),
        ON_STORE(test_patience_ends_and_the_message_tells_how_often),
        ON_STORE(test_a_server_that_is_not_there_is_unavailable),
        ON_STORE(test_the_server_s_class_and_words_arrive),
        ON_STORE(test_bytes_changed_on_their_way_are_asked_for_again_and_never_given_out),
        ON_STORE(test_an_answer_to_a_range_is_that_range),
        ON_STORE(test_lists_are_not_believed),
        ON_STORE(test_a_long_list_comes_in_pages),
        ON_STORE(test_deletions_are_refused_without_asking),
        ON_STORE(test_cancelling_ends_the_patience),
        cmocka_unit_test(test_what_cannot_be_opened_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
