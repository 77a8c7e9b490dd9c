/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server of objects for tests: docs/format/agent-objects.md over any store, without rights. A
 * test may put a mishap in front of the next answers.
 */
#ifndef HF_TESTS_CONTRACT_STORE_OBJECT_SERVER_H
#define HF_TESTS_CONTRACT_STORE_OBJECT_SERVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/thread.h"
#include "codec/hash.h"
#include "codec/json.h"
#include "net/http_server.h"
#include "net/url.h"
#include "store/store.h"

#define OBJECT_SERVER_KEY "the-agent-key"
#define OBJECT_SERVER_TASK ((struct hf_id){{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}})
#define OBJECT_SERVER_TASK_TEXT "0102030405060708090a0b0c"
#define OBJECT_SERVER_ATTEMPT ((struct hf_id){{255, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}})
#define OBJECT_SERVER_ATTEMPT_TEXT "ff02030405060708090a0b0c"
#define OBJECT_SERVER_PATH "/agent/v1/objects"

/* What happens to an answer instead of, or after, the right one. */
enum object_mishap {
    OBJECT_MISHAP_NONE,
    OBJECT_MISHAP_ANSWER,       /* status, body and retry_after instead; the store is not asked */
    OBJECT_MISHAP_ANSWER_AFTER, /* the same once the store did it: a lost answer */
    OBJECT_MISHAP_CHECKSUM,     /* the right answer with a wrong checksum */
    OBJECT_MISHAP_NO_CHECKSUM,  /* the right answer without one */
    OBJECT_MISHAP_NO_RANGE,     /* a range is answered as the whole object */
    OBJECT_MISHAP_PART,         /* and the whole object as a range */
};

struct object_server {
    struct hf_http_server *http;
    struct hf_store *store; /* borrowed */
    struct hf_mutex mutex;  /* guards: all below */
    enum object_mishap mishap;
    unsigned mishaps_left;
    int status;
    const char *body, *retry_after; /* borrowed constants */
    unsigned requests;
    unsigned unauthorised; /* without key, task, attempt or protocol */
};

struct object_mishap_now {
    enum object_mishap mishap;
    int status;
    const char *body, *retry_after;
};

static inline void object_server_mishap(struct object_server *server, enum object_mishap mishap,
                                        unsigned times, int status, const char *body,
                                        const char *retry_after)
{
    HF_LOCKED(&server->mutex);
    server->mishap = mishap;
    server->mishaps_left = times;
    server->status = status;
    server->body = body;
    server->retry_after = retry_after;
}

static inline unsigned object_server_requests(struct object_server *server)
{
    HF_LOCKED(&server->mutex);
    return server->requests;
}

static inline unsigned object_server_unauthorised(struct object_server *server)
{
    HF_LOCKED(&server->mutex);
    return server->unauthorised;
}

static inline bool object_header_is(struct hf_http_request *request, const char *name,
                                    const char *value)
{
    const char *found = hf_http_request_header(request, name);
    return found != NULL && strcmp(found, value) == 0;
}

static inline struct object_mishap_now object_server_count(struct object_server *server,
                                                           struct hf_http_request *request)
{
    HF_LOCKED(&server->mutex);
    struct object_mishap_now now = {.mishap = OBJECT_MISHAP_NONE};
    server->requests++;
    server->unauthorised +=
        !object_header_is(request, "Authorization", "Bearer " OBJECT_SERVER_KEY) ||
        !object_header_is(request, "Holdfast-Task", OBJECT_SERVER_TASK_TEXT) ||
        !object_header_is(request, "Holdfast-Attempt", OBJECT_SERVER_ATTEMPT_TEXT) ||
        !object_header_is(request, "Holdfast-Protocol", "1");
    if (server->mishaps_left > 0) {
        server->mishaps_left--;
        now = (struct object_mishap_now){.mishap = server->mishap,
                                         .status = server->status,
                                         .body = server->body,
                                         .retry_after = server->retry_after};
    }
    return now;
}

static inline void object_answer(struct hf_http_request *request, int status, struct hf_bytes body,
                                 const struct hf_http_header *headers, size_t header_count)
{
    const struct hf_http_answer answer = {
        .status = status, .headers = headers, .header_count = header_count, .body = body};
    (void)hf_http_respond(request, &answer);
}

static inline void object_answer_error(struct hf_http_request *request, const struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(65536);
    struct hf_error ignored;
    hf_json_set_text(json, "error", hf_err_name(err->code));
    hf_json_set_text(json, "message", err->message);
    HF_ASSERT(hf_json_encode(json, 0, &text, &ignored) == HF_ERR_OK);
    object_answer(request, hf_err_http(err->code), hf_buf_bytes(&text), NULL, 0);
}

static inline enum hf_err object_put(struct object_server *server, struct hf_http_request *request,
                                     struct hf_str name, struct hf_error *err)
{
    char checksum[17];
    struct hf_bytes body = hf_http_request_body(request);
    snprintf(checksum, sizeof checksum, "%016llx", (unsigned long long)hf_xxh3(body));
    if (!object_header_is(request, "Holdfast-Checksum", checksum)) {
        return hf_fail(err, HF_ERR_INVALID, "the checksum differs");
    }
    return hf_store_put(server->store, name, body, NULL, err);
}

/* Whole or a range, into body; content_range is "" for the whole. */
static inline enum hf_err object_get(struct object_server *server, const char *range,
                                     struct hf_str name, struct hf_buf *body,
                                     char content_range[96], struct hf_error *err)
{
    unsigned long long first = 0;
    unsigned long long last = 0;
    uint64_t size_bytes = 0;
    content_range[0] = '\0';
    if (range == NULL) {
        return hf_store_get(server->store, name, HF_STORE_OBJECT_MAX_BYTES, body, err);
    }
    if (sscanf(range, "bytes=-%llu", &last) == 1) {
        if (hf_store_get_tail(server->store, name, (size_t)last, body, &size_bytes, err) !=
            HF_ERR_OK) {
            return err->code;
        }
        first = size_bytes - body->len;
    } else {
        HF_ASSERT(sscanf(range, "bytes=%llu-%llu", &first, &last) == 2);
        size_t len = (size_t)(last - first + 1);
        if (hf_store_size(server->store, name, &size_bytes, err) != HF_ERR_OK ||
            hf_buf_reserve(body, len, err) != HF_ERR_OK ||
            hf_store_get_range(server->store, name, first, body->data, len, err) != HF_ERR_OK) {
            return err->code;
        }
        body->len = len;
    }
    snprintf(content_range, 96, "bytes %llu-%llu/%llu", first, first + body->len - (body->len > 0),
             (unsigned long long)size_bytes);
    return HF_ERR_OK;
}

static inline enum hf_err object_list(struct object_server *server,
                                      const struct hf_url_target *target, struct hf_buf *text,
                                      struct hf_error *err)
{
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL, .count = 0};
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    uint64_t max = 0;
    HF_ASSERT(hf_parse_u64(hf_str_of(hf_url_target_parameter(target, "max")), &max) && max <= 1000);
    if (hf_store_list(server->store, hf_str_of(hf_url_target_parameter(target, "prefix")),
                      hf_str_of(hf_url_target_parameter(target, "after")), (size_t)max, &list,
                      err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_json *objects = hf_json_array();
    for (size_t i = 0; i < list.count; i++) {
        struct hf_json *object = hf_json_object();
        hf_json_set_text(object, "name", list.entries[i].name);
        hf_json_set_u64(object, "size", list.entries[i].size_bytes);
        hf_json_append_take(objects, object);
    }
    hf_json_set_integer(json, "protocol", 1);
    hf_json_set_take(json, "objects", objects);
    hf_json_set_bool(json, "more", list.more);
    return hf_json_encode(json, 0, text, err);
}

static inline enum hf_err object_run(struct object_server *server, struct hf_http_request *request,
                                     const struct object_mishap_now *now, struct hf_error *err)
{
    HF_CLEANUP(hf_url_target_fini) struct hf_url_target target = {0};
    HF_CLEANUP(hf_buf_fini) struct hf_buf body = HF_BUF_INIT(HF_STORE_OBJECT_MAX_BYTES);
    char checksum[17];
    char content_range[96] = "";
    if (hf_url_target_parse(&target, hf_str_of(hf_http_request_target(request)), err) !=
        HF_ERR_OK) {
        return err->code;
    }
    struct hf_str name = {.data = target.path.data + strlen(OBJECT_SERVER_PATH "/"),
                          .len = target.path.len - strlen(OBJECT_SERVER_PATH "/")};
    bool list = hf_str_equal_c(target.path, OBJECT_SERVER_PATH);
    bool put = strcmp(hf_http_request_method(request), "PUT") == 0;
    const char *range = now->mishap == OBJECT_MISHAP_NO_RANGE ? NULL
                        : now->mishap == OBJECT_MISHAP_PART
                            ? "bytes=0-3"
                            : hf_http_request_header(request, "Range");
    enum hf_err code = list  ? object_list(server, &target, &body, err)
                       : put ? object_put(server, request, name, err)
                             : object_get(server, range, name, &body, content_range, err);
    if (code != HF_ERR_OK) {
        return code;
    }
    if (now->mishap == OBJECT_MISHAP_ANSWER_AFTER) {
        object_answer(request, now->status, hf_bytes_of(now->body, strlen(now->body)), NULL, 0);
        return HF_ERR_OK;
    }
    uint64_t sum = hf_xxh3(hf_buf_bytes(&body)) ^ (now->mishap == OBJECT_MISHAP_CHECKSUM);
    snprintf(checksum, sizeof checksum, "%016llx", (unsigned long long)sum);
    const struct hf_http_header headers[] = {{"Holdfast-Checksum", checksum},
                                             {"Content-Range", content_range}};
    size_t header_count = now->mishap == OBJECT_MISHAP_NO_CHECKSUM ? 0
                          : content_range[0] != '\0'               ? 2
                                                                   : 1;
    object_answer(request,
                  put                        ? 201
                  : content_range[0] != '\0' ? 206
                                             : 200,
                  hf_buf_bytes(&body), headers, header_count);
    return HF_ERR_OK;
}

static inline uint64_t object_server_headers(void *context, struct hf_http_request *request)
{
    (void)context, (void)request;
    return HF_STORE_OBJECT_MAX_BYTES;
}

static inline void object_server_request(void *context, struct hf_http_request *request)
{
    struct object_server *server = context;
    struct object_mishap_now now = object_server_count(server, request);
    struct hf_error err;
    if (now.mishap == OBJECT_MISHAP_ANSWER) {
        const struct hf_http_header header = {"Retry-After", now.retry_after};
        object_answer(request, now.status, hf_bytes_of(now.body, strlen(now.body)), &header,
                      now.retry_after != NULL);
        return;
    }
    if (object_run(server, request, &now, &err) != HF_ERR_OK) {
        object_answer_error(request, &err);
    }
}

static inline void object_server_start(struct object_server *server, struct hf_store *store)
{
    struct hf_error err = {.message = ""};
    server->store = store;
    hf_mutex_init(&server->mutex);
    const struct hf_http_server_options options = {
        .handler = {.context = server,
                    .on_headers = object_server_headers,
                    .on_request = object_server_request},
        .thread_count = 1,
    };
    if (hf_http_server_start(&options, &server->http, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
}

/* Free with hf_free. */
static inline char *object_server_url(const struct object_server *server)
{
    char *url = hf_asprintf("http://127.0.0.1:%u", hf_http_server_port(server->http));
    assert_non_null(url);
    return url;
}

static inline void object_server_stop(struct object_server *server)
{
    hf_http_server_stop(HF_TAKE(server->http));
    hf_mutex_fini(&server->mutex);
}

#endif
