/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's whole API, public, private and agents', over its route table, with catalog and store in memory: a few
 * requests one after the other, each "METHOD target", lines "Name: value", an empty line, a body; they end with a line
 * "---". Whoever asks has a key. Clock and random bytes are made up, so that ids are the same in every run and an input
 * can name what an earlier request made.
 *
 * What is below HTTP is replaced here (the linker takes the first definition): requests are plain structs, pools run their
 * work at once. Every request is answered once.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "server/flow.h"
#include "server/points.h"
#include "server/server_internal.h"
#include "snapshot/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEADERS_MAX 16
#define REQUESTS_MAX 16

/* ---- Instead of os ---- */

static uint64_t made_up;

uint64_t hf_clock_wall_ms(void)
{
    return UINT64_C(1800000000000);
}

uint64_t hf_clock_mono_ms(void)
{
    return UINT64_C(5000000) + made_up;
}

void hf_random_bytes(void *out, size_t len)
{
    uint8_t *at = out;
    made_up++;
    for (size_t i = 0; i < len; i++) {
        at[i] = (uint8_t)(made_up >> (i + 1 == len ? 0 : 8));
    }
}

/* ---- Instead of net ---- */

struct hf_http_request {
    const char *method, *target;
    struct hf_http_header headers[HEADERS_MAX];
    size_t header_count;
    struct hf_bytes body;
    void *user;
    unsigned answers;
    bool kept;
};

struct hf_http_stream {
    uint64_t written;
};

const char *hf_http_request_method(const struct hf_http_request *request)
{
    return request->method;
}

const char *hf_http_request_target(const struct hf_http_request *request)
{
    return request->target;
}

const char *hf_http_request_header(const struct hf_http_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (hf_http_name_equal(request->headers[i].name, name)) {
            return request->headers[i].value;
        }
    }
    return NULL;
}

const char *hf_http_request_peer(const struct hf_http_request *request)
{
    (void)request;
    return "192.0.2.1";
}

bool hf_http_request_is_tls(const struct hf_http_request *request)
{
    (void)request;
    return true;
}

struct hf_bytes hf_http_request_body(const struct hf_http_request *request)
{
    return request->body;
}

bool hf_http_request_gone(const struct hf_http_request *request)
{
    (void)request;
    return false;
}

void hf_http_request_set_user(struct hf_http_request *request, void *user)
{
    request->user = user;
}

void *hf_http_request_user(const struct hf_http_request *request)
{
    return request->user;
}

void hf_http_keep(struct hf_http_request *request, uint64_t deadline_ms)
{
    (void)deadline_ms;
    request->kept = true;
}

static void check_answer(struct hf_http_request *request, const struct hf_http_answer *answer)
{
    HF_ASSERT(request->answers++ == 0);
    HF_ASSERT(answer->status >= 200 && answer->status <= 599);
    for (size_t i = 0; i < answer->header_count; i++) {
        HF_ASSERT(hf_http_header_valid(&answer->headers[i]));
    }
}

bool hf_http_respond(struct hf_http_request *request, const struct hf_http_answer *answer)
{
    check_answer(request, answer);
    return true;
}

bool hf_http_respond_text(struct hf_http_request *request, int status, const char *content_type,
                          const char *text)
{
    const struct hf_http_header header = {"Content-Type", content_type};
    const struct hf_http_answer answer = {.status = status, .headers = &header, .header_count = 1};
    (void)strlen(text);
    check_answer(request, &answer);
    return true;
}

bool hf_http_respond_buf_take(struct hf_http_request *request, const struct hf_http_answer *answer,
                              struct hf_buf *body)
{
    check_answer(request, answer);
    hf_buf_fini(body);
    return true;
}

struct hf_http_stream *hf_http_respond_stream(struct hf_http_request *request,
                                              const struct hf_http_answer *answer,
                                              uint64_t size_bytes)
{
    (void)size_bytes;
    check_answer(request, answer);
    return hf_alloc_zero(sizeof(struct hf_http_stream));
}

enum hf_err hf_http_stream_write(struct hf_http_stream *stream, struct hf_bytes bytes,
                                 struct hf_error *err)
{
    stream->written += bytes.len;
    return stream->written > (1 << 20) ? hf_fail(err, HF_ERR_UNAVAILABLE, "the client went away")
                                       : HF_ERR_OK;
}

void hf_http_stream_finish(struct hf_http_stream *stream, bool complete)
{
    (void)complete;
    hf_free(stream);
}

void hf_http_server_stats(struct hf_http_server *server, struct hf_http_server_stats *out)
{
    (void)server;
    *out = (struct hf_http_server_stats){.connections = 1};
}

/* ---- Instead of pools and keys ---- */

bool hf_server_pool_try(struct hf_server_pool *pool, void (*run)(void *argument), void *argument)
{
    (void)pool;
    run(argument);
    return true;
}

static struct hf_server server;

bool hf_server_auth_api(struct hf_server_auth *auth, const struct hf_http_request *request,
                        struct hf_server_caller *out, char challenge[HF_DIGEST_CHALLENGE_BYTES])
{
    (void)auth;
    (void)request;
    (void)challenge;
    out->project = server.app.first_project;
    out->grants = (struct hf_grants){.items = {{.role = hf_role_of("GLOBAL_OWNER")}}, .count = 1};
    return true;
}

enum hf_err hf_server_auth_agent(struct hf_server_auth *auth, const struct hf_http_request *request,
                                 struct hf_server_caller *out, struct hf_error *err)
{
    (void)auth;
    (void)request;
    (void)err;
    out->project = server.app.first_project;
    return HF_ERR_OK;
}

enum hf_err hf_server_auth_make_api_key(struct hf_server_auth *auth,
                                        const struct hf_server_key_wish *wish,
                                        struct hf_server_api_key *out, struct hf_error *err)
{
    (void)auth;
    (void)wish;
    (void)out;
    return hf_fail(err, HF_ERR_NO_SPACE, "no keys are made here");
}

enum hf_err hf_server_auth_make_agent_key(struct hf_server_auth *auth,
                                          const struct hf_server_key_wish *wish,
                                          char out[HF_AGENT_KEY_BYTES], struct hf_error *err)
{
    (void)auth;
    (void)wish;
    (void)out;
    return hf_fail(err, HF_ERR_NO_SPACE, "no keys are made here");
}

/* ---- A server for one input ---- */

static void insert(const char *kind, const char *id, const char *text)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    struct hf_error err;
    HF_ASSERT(hf_json_decode(hf_str_of(text), 4096, &json, &err) == HF_ERR_OK);
    HF_ASSERT(hf_catalog_insert(server.app.catalog, kind, id, json, HF_CATALOG_SYNCED, &err) ==
              HF_ERR_OK);
}

static void begin(void)
{
    const struct hf_catalog_options catalog = {.kinds = hf_backup_kinds,
                                               .kind_count = hf_backup_kind_count};
    const struct hf_server_waiting_options waiting = hf_server_front_waiting(&server);
    static struct hf_cancel cancel;
    struct hf_error err;
    made_up = 0;
    hf_cancel_init(&cancel);
    server = (struct hf_server){.app = {.cancel = &cancel, .task_silence_s = 300},
                                .url = "http://127.0.0.1:8080"};
    hf_mutex_init(&server.app.ending_mutex);
    memset(server.app.first_project.bytes, 0x11, sizeof server.app.first_project.bytes);
    memset(server.app.mark.store.bytes, 0x22, sizeof server.app.mark.store.bytes);
    HF_ASSERT(hf_catalog_mem_create(&catalog, &server.app.catalog, &err) == HF_ERR_OK);
    HF_ASSERT(hf_store_mem_create(&server.app.store, &err) == HF_ERR_OK);
    HF_ASSERT(hf_store_mem_create(&server.app.oplog_store, &err) == HF_ERR_OK);
    HF_ASSERT(hf_points_cache_create(&server.app.points, &err) == HF_ERR_OK);
    HF_ASSERT(hf_server_waiting_create(&waiting, &server.waiting, &err) == HF_ERR_OK);
    HF_ASSERT(hf_server_agents_create(&server.app, &server.agents, &err) == HF_ERR_OK);
    HF_ASSERT(hf_server_rights_create(&server.app, &server.rights, &err) == HF_ERR_OK);
    HF_ASSERT(hf_server_shares_create(&server.shares, &err) == HF_ERR_OK);
    HF_ASSERT(hf_server_refusals_create(&server.app, &server.refusals, &err) == HF_ERR_OK);
    insert(HF_KIND_PROJECT, "111111111111111111111111",
           "{\"id\":\"111111111111111111111111\",\"name\":\"default\",\"createdS\":1}");
    insert(HF_KIND_SETTING, "installation", "{\"projectId\":\"111111111111111111111111\"}");
}

static void end(void)
{
    hf_server_waiting_destroy(server.waiting);
    hf_server_agents_destroy(server.agents);
    hf_server_rights_destroy(server.rights);
    hf_server_refusals_destroy(server.refusals);
    hf_server_shares_destroy(server.shares);
    hf_points_cache_destroy(server.app.points);
    hf_store_close(server.app.oplog_store);
    hf_store_close(server.app.store);
    hf_catalog_close(server.app.catalog);
    hf_mutex_fini(&server.app.ending_mutex);
}

/* ---- Requests out of the input ---- */

/* The next line, ended with NUL; *rest goes behind it. */
static char *next_line(char **rest)
{
    char *line = *rest;
    char *stop = strchr(line, '\n');
    if (stop != NULL) {
        *stop = '\0';
    }
    *rest = stop == NULL ? line + strlen(line) : stop + 1;
    return line;
}

static void ask(char *text, size_t len)
{
    struct hf_http_handler handler = hf_server_front(&server);
    struct hf_http_request request = {.method = "GET"};
    struct hf_server_poll poll;
    char *stop = text + len, *rest = text;
    char *target = strchr(request.method = next_line(&rest), ' ');
    if (target == NULL || target[1] != '/') {
        return;
    }
    *target++ = '\0';
    request.target = target;
    while (rest < stop && request.header_count < HEADERS_MAX) {
        char *line = next_line(&rest);
        char *value = strstr(line, ": ");
        if (value == NULL) {
            break;
        }
        *value = '\0';
        request.headers[request.header_count++] =
            (struct hf_http_header){.name = line, .value = value + 2};
    }
    rest = rest < stop ? rest : stop;
    request.body = hf_bytes_of(rest, (size_t)(stop - rest));
    uint64_t allowed = handler.on_headers(handler.context, &request);
    if (request.answers == 0) {
        /* As the HTTP server: a body that is too long, or not wanted, does not come. */
        request.body.len = request.body.len > allowed ? 0 : request.body.len;
        handler.on_request(handler.context, &request);
    }
    if (request.answers == 0) {
        HF_ASSERT(request.kept && hf_server_waiting_take(server.waiting, &request, &poll));
        HF_ASSERT(poll.wait_ms > 0);
    }
    handler.on_end(handler.context, &request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HF_CLEANUP(hf_free) char *copy = hf_alloc_zero(size + 1);
    memcpy(copy, data, size);
    begin();
    char *at = copy;
    for (unsigned i = 0; i < REQUESTS_MAX && at < copy + size; i++) {
        char *stop = memmem(at, (size_t)(copy + size - at), "\n---\n", 5);
        size_t len = stop == NULL ? (size_t)(copy + size - at) : (size_t)(stop - at);
        at[len] = '\0';
        ask(at, len);
        at = stop == NULL ? copy + size : stop + 5;
    }
    end();
    return 0;
}
