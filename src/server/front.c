/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between HTTP and the handlers: who calls, which route, which pool. Runs on event loops and never waits.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "format/message.h"
#include "format/pack.h"
#include "server/api.h"
#include "server/audit.h"
#include "server/door.h"
#include "server/fleet.h"
#include "server/flow.h"
#include "server/server_internal.h"
#include "store/store.h"

#define API_BODY_MAX ((uint64_t)1 << 20)
#define RELOOKS 3

/* What one task may have on its way: a capture's packs (five of 16 MiB) with what it reads beside them, or a restore's
 * stretches. So one task, whose agent may be slow, or mean to be, leaves most of the memory to the others. */
#define TASK_SHARE_BYTES ((uint64_t)160 << 20)
/* What the messages of one address may take, and the answers to them: 1,000 agents behind one proxy need a tenth. */
#define PEER_SHARE_BYTES ((uint64_t)64 << 20)

/* Travels with a request from its headers to its end. */
struct incoming {
    struct hf_server_caller caller;
    char share[HF_SHARE_NAME_BYTES]; /* whose; empty: nobody's */
    uint64_t share_max_bytes, share_bytes;
};

/* A message of an agent on its way to a worker. */
struct agent_work {
    struct hf_server *server;
    struct hf_http_request *request;
    struct hf_id project;
    struct hf_server_poll poll;
    bool woken; /* the poll was taken before: only the answer is looked for */
};

/* ---- Answers to agents ---- */

void hf_server_agent_error(struct hf_http_request *request, const struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(64 << 10);
    const struct hf_http_header headers[] = {{"Content-Type", "application/json"},
                                             {"Retry-After", "1"}};
    const struct hf_http_answer answer = {.status = hf_err_http(err->code),
                                          .headers = headers,
                                          .header_count = err->code == HF_ERR_BUSY ? 2 : 1};
    struct hf_error ignored;

    /* Without memory for a body the status alone says enough. */
    (void)!hf_msg_error_encode(err, &text, &ignored);
    (void)hf_http_respond_buf_take(request, &answer, &text);
}

static void agent_answer(struct hf_http_request *request, struct hf_buf *body)
{
    const struct hf_http_header headers[] = {{"Content-Type", "application/json"}};
    const struct hf_http_answer answer = {.status = 200, .headers = headers, .header_count = 1};

    (void)hf_http_respond_buf_take(request, &answer, body);
}

static struct hf_str body_text(const struct hf_http_request *request)
{
    struct hf_bytes body = hf_http_request_body(request);

    return (struct hf_str){(const char *)body.data, body.len};
}

/* Refuses an agent's call, and says so in the log. */
static void refuse_agent(struct hf_server *server, struct hf_http_request *request,
                         const struct hf_error *err)
{
    hf_server_refusals_note(server->refusals, request, err);
    hf_server_agent_error(request, err);
}

enum hf_err hf_server_front_charge(struct hf_server *server, struct hf_http_request *request,
                                   uint64_t bytes, struct hf_error *err)
{
    struct incoming *incoming = hf_http_request_user(request);

    if (incoming->share[0] == '\0') {
        return HF_ERR_OK;
    }
    if (!hf_server_shares_enter(server->shares, incoming->share, bytes,
                                incoming->share_max_bytes)) {
        return hf_fail(err, HF_ERR_BUSY, "too much of %s is on its way; again in a moment",
                       incoming->share);
    }
    incoming->share_bytes += bytes;
    return HF_ERR_OK;
}

/* The answer to a message counts as its body does. */
static void answer_message(struct hf_server *server, struct hf_http_request *request,
                           struct hf_buf *body)
{
    struct hf_error err;

    if (hf_server_front_charge(server, request, body->len, &err) != HF_ERR_OK) {
        hf_server_agent_error(request, &err);
        return;
    }
    agent_answer(request, body);
}

/* ---- Agents' messages, on a worker ---- */

static void run_hello(void *argument)
{
    struct agent_work *work = argument;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES);
    struct hf_error err;

    if (hf_server_agents_hello(work->server->agents, &work->project, body_text(work->request), &out,
                               &err) != HF_ERR_OK) {
        refuse_agent(work->server, work->request, &err);
    } else {
        answer_message(work->server, work->request, &out);
    }
    hf_free(work);
}

/* A drained server sends away who can go elsewhere; who knows no other one stays. */
static enum hf_err check_drain(struct hf_server *server, const struct hf_http_request *request,
                               struct hf_error *err)
{
    return hf_http_request_header(request, "Holdfast-Others") != NULL &&
                   hf_fleet_is_draining(&server->app) && hf_fleet_has_undrained(&server->app)
               ? hf_fail(err, HF_ERR_UNAVAILABLE,
                         "this server is drained; hint: go on with another")
               : HF_ERR_OK;
}

static void run_poll(void *argument)
{
    struct agent_work *work = argument;
    struct hf_server *server = work->server;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES);
    struct hf_error err;
    enum hf_err code = HF_ERR_OK;

    if (!work->woken && check_drain(server, work->request, &err) != HF_ERR_OK) {
        hf_server_agent_error(work->request, &err);
        hf_free(work);
        return;
    }
    for (unsigned looks = 0;; looks++) {
        uint64_t mark = hf_server_waiting_mark(server->waiting);
        bool quiet = false;

        hf_buf_clear(&out);
        if (work->woken) {
            code = hf_server_agents_answer(server->agents, &work->poll, &quiet, &out, &err);
        } else {
            code = hf_server_agents_poll(server->agents, &work->project, body_text(work->request),
                                         &work->poll, &quiet, &out, &err);
            work->woken = true;
        }
        if (code != HF_ERR_OK) {
            refuse_agent(server, work->request, &err);
            break;
        }
        if (!quiet || work->poll.wait_ms == 0 || looks == RELOOKS) {
            answer_message(server, work->request, &out);
            break;
        }
        if (hf_server_waiting_add(server->waiting, work->request, &work->poll, mark)) {
            break;
        }
    }
    hf_free(work);
}

static void run_finish(void *argument)
{
    struct agent_work *work = argument;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(1024);
    struct hf_error err;
    struct hf_id task;
    bool fresh = false;

    if (hf_server_agents_finish(work->server->agents, &work->project, body_text(work->request),
                                &task, &fresh, &err) != HF_ERR_OK ||
        hf_buf_appendf(&out, &err, "{\"protocol\":%d}", HF_AGENT_PROTOCOL) != HF_ERR_OK) {
        refuse_agent(work->server, work->request, &err);
    } else {
        agent_answer(work->request, &out);
        if (fresh) {
            hf_server_finish_later(work->server, &task);
        }
    }
    hf_free(work);
}

static void run_slice(void *argument)
{
    struct agent_work *work = argument;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(1024);
    struct hf_error err;
    struct hf_id task;

    if (hf_server_agents_slice(work->server->agents, &work->project, body_text(work->request),
                               &task, &out, &err) != HF_ERR_OK) {
        refuse_agent(work->server, work->request, &err);
    } else {
        hf_server_rights_told(work->server->rights, &task);
        agent_answer(work->request, &out);
    }
    hf_free(work);
}

/* A waiting poll is off the list: its answer is looked for on a worker. */
static void wake_poll(void *context, struct hf_http_request *request,
                      const struct hf_server_poll *poll)
{
    struct hf_server *server = context;
    struct agent_work *work = hf_alloc_zero(sizeof *work);

    if (work != NULL) {
        *work =
            (struct agent_work){.server = server, .request = request, .poll = *poll, .woken = true};
        work->poll.wait_ms = 0; /* whatever is found, or nothing: the agent asks again */
        if (hf_server_pool_try(server->api, run_poll, work)) {
            return;
        }
        hf_free(work);
    }
    struct hf_error err;
    (void)hf_fail(&err, HF_ERR_BUSY, "too much work waits; again in a moment");
    hf_server_agent_error(request, &err);
}

static void run_object(void *argument)
{
    struct hf_server_object_work *work = argument;

    hf_server_object_run(work);
    hf_free(work);
}

static void refuse_busy(struct hf_http_request *request)
{
    struct hf_error err;

    (void)hf_fail(&err, HF_ERR_BUSY, "too much work waits; again in a moment");
    hf_server_agent_error(request, &err);
}

static void take_object_call(struct hf_server *server, struct hf_http_request *request,
                             const struct hf_id *project)
{
    struct hf_server_object_work *work = hf_alloc_zero(sizeof *work);

    if (work == NULL) {
        refuse_busy(request);
        return;
    }
    *work =
        (struct hf_server_object_work){.server = server, .request = request, .project = *project};
    hf_http_keep(request, 0);
    if (!hf_server_pool_try(server->objects, run_object, work)) {
        hf_free(work);
        refuse_busy(request);
    }
}

/* "/agent/v1/tasks/ID" and then `tail`. */
static bool is_of_task(struct hf_str path, const char *tail)
{
    static const char head[] = "/agent/v1/tasks/";
    size_t len = strlen(tail);

    return hf_str_starts_with(path, hf_str_of(head)) && path.len > sizeof head + len &&
           memcmp(path.data + path.len - len, tail, len) == 0;
}

static struct hf_str path_of(const struct hf_http_request *request)
{
    const char *target = hf_http_request_target(request);

    return (struct hf_str){target, strcspn(target, "?")};
}

static void take_agent_call(struct hf_server *server, struct hf_http_request *request,
                            const struct hf_id *project)
{
    struct hf_str path = path_of(request);
    const char *method = hf_http_request_method(request);
    const char *protocol = hf_http_request_header(request, "Holdfast-Protocol");
    void (*run)(void *argument) = NULL;
    struct hf_error err;

    if (protocol == NULL || strcmp(protocol, "1") != 0) {
        (void)hf_fail(&err, HF_ERR_UNSUPPORTED,
                      "agent protocol %s is not spoken here; this server speaks 1",
                      protocol == NULL ? "(none named)" : protocol);
        refuse_agent(server, request, &err);
        return;
    }
    if (hf_str_equal_c(path, "/agent/v1/objects") ||
        hf_str_starts_with(path, hf_str_of("/agent/v1/objects/"))) {
        take_object_call(server, request, project);
        return;
    }
    if (strcmp(method, "POST") == 0) {
        run = hf_str_equal_c(path, "/agent/v1/hello")  ? run_hello
              : hf_str_equal_c(path, "/agent/v1/poll") ? run_poll
              : is_of_task(path, "/finish")            ? run_finish
              : is_of_task(path, "/slice")             ? run_slice
                                                       : NULL;
    }
    if (run == NULL) {
        (void)hf_fail(&err, HF_ERR_NOT_FOUND, "there is no %s %.*s", method, HF_STR_ARG(path));
        refuse_agent(server, request, &err);
        return;
    }
    struct agent_work *work = hf_alloc_zero(sizeof *work);
    if (work == NULL) {
        refuse_busy(request);
        return;
    }
    *work = (struct agent_work){.server = server, .request = request, .project = *project};
    hf_http_keep(request, 0);
    /* A slice is looked at in the store, which may be slow: that keeps no poll waiting. */
    if (!hf_server_pool_try(run == run_slice ? server->objects : server->api, run, work)) {
        hf_free(work);
        refuse_busy(request);
    }
}

/* ---- The API ---- */

static void call_destroy(struct hf_server_call *call)
{
    hf_url_target_fini(&call->target);
    hf_json_drop(call->body);
    hf_audit_drop(call);
    hf_free(call);
}

/* Segments of a pattern against those of the target; variable ones are noted. */
static bool matches(const char *pattern, struct hf_server_call *call)
{
    size_t segment = 0, variable = 0;

    while (*pattern != '\0') {
        size_t len = strcspn(++pattern, "/");
        if (segment == call->target.segment_count) {
            return len == 0 && pattern[0] == '\0';
        }
        const char *have = call->target.segments[segment++];
        if (len == 1 && pattern[0] == '*') {
            call->parameters[variable++] = have;
        } else if (strlen(have) != len || memcmp(have, pattern, len) != 0) {
            return false;
        }
        pattern += len;
    }
    return segment == call->target.segment_count;
}

/* HEAD is GET without a body: the HTTP server leaves the body out. */
static bool method_is(const char *route, const char *asked)
{
    return strcmp(route, asked) == 0 || (strcmp(route, "GET") == 0 && strcmp(asked, "HEAD") == 0);
}

static const struct hf_route *find_route(struct hf_server_call *call, bool *path_known)
{
    *path_known = false;
    for (size_t i = 0; i < hf_server_route_count; i++) {
        if (matches(hf_server_routes[i].path, call)) {
            *path_known = true;
            if (method_is(hf_server_routes[i].method, call->method)) {
                return &hf_server_routes[i];
            }
        }
    }
    return NULL;
}

/* "GET, HEAD, POST": what the path knows. */
static void allowed_methods(struct hf_server_call *call, char *out, size_t out_len)
{
    out[0] = '\0';
    for (size_t i = 0; i < hf_server_route_count; i++) {
        const char *method = hf_server_routes[i].method;
        if (matches(hf_server_routes[i].path, call)) {
            size_t used = strlen(out);
            (void)snprintf(out + used, out_len - used, "%s%s%s", used == 0 ? "" : ", ", method,
                           strcmp(method, "GET") == 0 ? ", HEAD" : "");
        }
    }
}

static void refuse_method(struct hf_server_call *call)
{
    char allow[128], detail[256];

    allowed_methods(call, allow, sizeof allow);
    (void)snprintf(detail, sizeof detail, "%.32s is not done here, only %s", call->method, allow);
    hf_reply_refuse(call, &(struct hf_reply_refusal){.status = 405,
                                                     .public_code = "METHOD_NOT_ALLOWED",
                                                     .detail = detail,
                                                     .allow = allow});
}

/* A body is JSON; one whose type nobody named is taken for it. */
static bool body_is_json(const struct hf_http_request *request)
{
    const char *header = hf_http_request_header(request, "Content-Type");
    char type[32];

    if (header == NULL) {
        return true;
    }
    size_t len = strcspn(header, "; ");
    if (len >= sizeof type) {
        return false;
    }
    (void)snprintf(type, sizeof type, "%.*s", (int)len, header);
    return hf_http_name_equal(type, "application/json");
}

struct api_work {
    struct hf_server_call *call;
    const struct hf_route *route;
};

/* False: the caller may not, and was told. */
static bool enter(struct hf_server_call *call, const struct hf_route *route)
{
    const struct hf_door_call asked = {
        .route = route,
        .grants = &call->grants,
        .parameters = call->parameters,
        .named = hf_url_target_parameter(&call->target, "project"),
        .usual = call->project,
    };
    struct hf_door_answer answer;
    struct hf_error err;

    if (hf_door_open(call->app, &asked, &answer, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, answer.public_code);
        return false;
    }
    call->project = answer.project;
    call->org = answer.org;
    call->rights = answer.rights;
    call->all_projects = hf_right_is_global(route->right);
    return true;
}

static void run_api(void *argument)
{
    struct api_work *work = argument;
    struct hf_server_call *call = work->call;
    struct hf_str text = body_text(call->request);
    struct hf_error err;

    if (text.len > 0 && !body_is_json(call->request)) {
        hf_reply_refuse(call, &(struct hf_reply_refusal){
                                  .status = 415,
                                  .public_code = "UNSUPPORTED_MEDIA_TYPE",
                                  .detail = "a body is application/json; hint: say so in the "
                                            "header Content-Type"});
    } else if (text.len > 0 && hf_json_decode(text, API_BODY_MAX, &call->body, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, "INVALID_JSON");
    } else if (call->body != NULL && hf_json_type(call->body) != HF_JSON_OBJECT) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_JSON", "the body is no JSON object");
    } else if (enter(call, work->route) && hf_audit_begin(call, work->route)) {
        work->route->run(call);
    }
    HF_ASSERT(call->request == NULL);
    call_destroy(call);
    hf_free(work);
}

static void take_api_call(struct hf_server *server, struct hf_http_request *request,
                          const struct incoming *incoming)
{
    struct hf_server_call *call = hf_alloc_zero(sizeof *call);
    struct api_work *work = hf_alloc_zero(sizeof *work);
    struct hf_error err;
    bool path_known = false;

    if (call == NULL || work == NULL) {
        hf_free(call);
        hf_free(work);
        refuse_busy(request);
        return;
    }
    *call = (struct hf_server_call){.server = server,
                                    .app = &server->app,
                                    .request = request,
                                    .method = hf_http_request_method(request),
                                    .project = incoming->caller.project,
                                    .grants = incoming->caller.grants};
    (void)snprintf(call->user, sizeof call->user, "%s", incoming->caller.user);
    if (hf_url_target_parse(&call->target, hf_str_of(hf_http_request_target(request)), &err) !=
        HF_ERR_OK) {
        hf_reply_error(call, &err, "INVALID_QUERY_PARAMETER");
    } else if ((work->route = find_route(call, &path_known)) == NULL) {
        if (path_known) {
            refuse_method(call);
        } else {
            hf_reply_fail(call, HF_ERR_NOT_FOUND, "RESOURCE_NOT_FOUND", "there is no resource %.*s",
                          HF_STR_ARG(call->target.path));
        }
    } else {
        work->call = call;
        hf_http_keep(request, 0);
        if (hf_server_pool_try(work->route->kind == HF_ROUTE_STREAM ? server->streams : server->api,
                               run_api, work)) {
            return;
        }
        hf_reply_fail(call, HF_ERR_BUSY, NULL, "too much work waits; again in a moment");
    }
    call_destroy(call);
    hf_free(work);
}

/* ---- Callbacks of the HTTP server ---- */

static bool is_agent_path(struct hf_str path)
{
    return hf_str_starts_with(path, hf_str_of("/agent/"));
}

/* Paths without a key: a route that says so, whatever the method. */
static bool is_open_path(struct hf_str path)
{
    return hf_str_equal_c(path, "/monitor/health") || hf_str_equal_c(path, "/metrics") ||
           hf_str_equal_c(path, "/api/private/unauth/version") ||
           hf_str_starts_with(path, hf_str_of(HF_API_PULL_PATH));
}

static void challenge_caller(struct hf_http_request *request, const char *challenge)
{
    static const char body[] =
        "{\"error\":401,\"reason\":\"Unauthorized\",\"errorCode\":\"NO_CURRENT_USER\","
        "\"errorClass\":\"UNAUTHENTICATED\",\"parameters\":[],"
        "\"detail\":\"an API key is needed: HTTP digest authentication\"}";
    const struct hf_http_header headers[] = {
        {"WWW-Authenticate", challenge},
        {"Content-Type", "application/json"},
        {"X-MongoDB-Service-Version", HF_REPLY_VERSION},
    };
    const struct hf_http_answer answer = {.status = 401,
                                          .headers = headers,
                                          .header_count = HF_ARRAY_LEN(headers),
                                          .body = hf_bytes_of(body, sizeof body - 1)};

    (void)hf_http_respond(request, &answer);
}

/* What the body will take, as far as it is known: one that comes in chunks may become as long as is allowed. */
static uint64_t body_bytes(const struct hf_http_request *request, uint64_t max_bytes)
{
    const char *length = hf_http_request_header(request, "Content-Length");
    uint64_t bytes = 0;

    if (length == NULL) {
        return hf_http_request_header(request, "Transfer-Encoding") == NULL ? 0 : max_bytes;
    }
    return hf_parse_u64(hf_str_of(length), &bytes) && bytes < max_bytes ? bytes : max_bytes;
}

/* Who asks, whether it may, and whether there is room for what it brings: known before the body is read. */
static uint64_t on_agent_headers(struct hf_server *server, struct hf_http_request *request,
                                 struct incoming *incoming, struct hf_str path)
{
    const char *task = hf_http_request_header(request, "Holdfast-Task");
    bool object = hf_str_starts_with(path, hf_str_of("/agent/v1/objects"));
    bool put = object && strcmp(hf_http_request_method(request), "PUT") == 0;
    uint64_t max_bytes = put ? hf_server_object_max_bytes(path) : HF_MESSAGE_MAX_BYTES;
    struct hf_error err;
    struct hf_id id;

    if (hf_server_auth_agent(server->auth, request, &incoming->caller, &err) != HF_ERR_OK) {
        hf_server_agent_error(request, &err);
        return 0;
    }
    if (put &&
        hf_server_object_may_put(server, request, &incoming->caller.project, &err) != HF_ERR_OK) {
        refuse_agent(server, request, &err);
        return 0;
    }
    if (object && task != NULL && hf_id_parse(hf_str_of(task), &id)) {
        (void)snprintf(incoming->share, sizeof incoming->share, "task %s", hf_id_text(&id).text);
        incoming->share_max_bytes = TASK_SHARE_BYTES;
    } else {
        (void)snprintf(incoming->share, sizeof incoming->share, "address %s",
                       hf_http_request_peer(request));
        incoming->share_max_bytes = PEER_SHARE_BYTES;
    }
    if (hf_server_front_charge(server, request, body_bytes(request, max_bytes), &err) !=
        HF_ERR_OK) {
        hf_server_agent_error(request, &err);
        return 0;
    }
    return max_bytes;
}

static uint64_t on_headers(void *context, struct hf_http_request *request)
{
    struct hf_server *server = context;
    struct hf_str path = path_of(request);
    struct incoming *incoming = hf_alloc_zero(sizeof *incoming);
    char challenge[HF_DIGEST_CHALLENGE_BYTES];

    if (incoming == NULL) {
        refuse_busy(request);
        return 0;
    }
    hf_http_request_set_user(request, incoming);
    if (is_open_path(path)) {
        return 0;
    }
    if (is_agent_path(path)) {
        return on_agent_headers(server, request, incoming, path);
    }
    if (!hf_server_auth_api(server->auth, request, &incoming->caller, challenge)) {
        challenge_caller(request, challenge);
        return 0;
    }
    return API_BODY_MAX;
}

static void on_request(void *context, struct hf_http_request *request)
{
    struct hf_server *server = context;
    struct incoming *incoming = hf_http_request_user(request);

    if (is_agent_path(path_of(request))) {
        atomic_fetch_add(&server->agent_requests, 1);
        take_agent_call(server, request, &incoming->caller.project);
    } else {
        atomic_fetch_add(&server->api_requests, 1);
        take_api_call(server, request, incoming);
    }
}

/* The client of a waiting poll is gone: whoever finds it on the list answers. */
static void on_gone(void *context, struct hf_http_request *request)
{
    struct hf_server *server = context;
    struct hf_server_poll poll;

    if (hf_server_waiting_take(server->waiting, request, &poll)) {
        (void)hf_http_respond_text(request, 200, "application/json",
                                   "{\"protocol\":1,\"tasks\":[],\"cancel\":[],\"outcomes\":[]}");
    }
}

static void on_end(void *context, struct hf_http_request *request)
{
    struct hf_server *server = context;
    struct incoming *incoming = hf_http_request_user(request);

    if (incoming != NULL && incoming->share_bytes > 0) {
        hf_server_shares_leave(server->shares, incoming->share, incoming->share_bytes);
    }
    hf_free(incoming);
}

/* What the HTTP server answers by itself has a body in the form of whom it answers. */
static void on_refuse(void *context, const struct hf_http_request *request,
                      enum hf_http_refusal why, struct hf_http_answer *answer)
{
#define BODIES(status, reason, code, class, text)                                                  \
    {                                                                                              \
        "{\"error\":" #status ",\"reason\":\"" reason "\",\"errorCode\":\"" code                   \
        "\",\"errorClass\":\"" class "\",\"parameters\":[],\"detail\":\"" text "\"}",              \
            "{\"error\":\"" class "\",\"message\":\"" text "\"}", text                             \
    }
    static const struct {
        const char *api, *agent, *text;
    } bodies[] = {
        [HF_HTTP_REFUSE_TOO_LARGE] = BODIES(413, "Content Too Large", "REQUEST_TOO_LARGE", "LIMIT",
                                            "the body is longer than is taken here"),
        [HF_HTTP_REFUSE_BUSY] = BODIES(429, "Too Many Requests", "RATE_LIMITED", "BUSY",
                                       "too much is on its way; again in a moment"),
        [HF_HTTP_REFUSE_SHUTDOWN] = BODIES(503, "Service Unavailable", "UNEXPECTED_ERROR",
                                           "UNAVAILABLE", "the server is stopping"),
        [HF_HTTP_REFUSE_DEADLINE] = BODIES(503, "Service Unavailable", "UNEXPECTED_ERROR",
                                           "UNAVAILABLE", "no answer in time; try again"),
        [HF_HTTP_REFUSE_MALFORMED] =
            BODIES(400, "Bad Request", "BAD_REQUEST", "INVALID",
                   "where the request ends is not clear: two lengths, or an unknown encoding"),
        [HF_HTTP_REFUSE_HEADERS] = BODIES(431, "Request Header Fields Too Large",
                                          "REQUEST_TOO_LARGE", "LIMIT", "the headers are too long"),
        [HF_HTTP_REFUSE_UNANSWERED] =
            BODIES(500, "Internal Server Error", "UNEXPECTED_ERROR", "INTERNAL", "nobody answered"),
    };
#undef BODIES
    static const struct hf_http_header headers[] = {
        {"Content-Type", "application/json"},
        {"X-MongoDB-Service-Version", HF_REPLY_VERSION},
    };
    bool agent = is_agent_path(path_of(request));
    const char *body = agent ? bodies[why].agent : bodies[why].api;

    if (agent && (why == HF_HTTP_REFUSE_TOO_LARGE || why == HF_HTTP_REFUSE_MALFORMED ||
                  why == HF_HTTP_REFUSE_HEADERS)) {
        struct hf_server *server = context;
        struct hf_error err;
        (void)hf_fail(&err, why == HF_HTTP_REFUSE_MALFORMED ? HF_ERR_INVALID : HF_ERR_LIMIT, "%s",
                      bodies[why].text);
        hf_server_refusals_note(server->refusals, request, &err);
    }
    answer->headers = headers;
    answer->header_count = HF_ARRAY_LEN(headers);
    answer->body = hf_bytes_of(body, strlen(body));
}

struct hf_http_handler hf_server_front(struct hf_server *server)
{
    return (struct hf_http_handler){
        .context = server,
        .on_headers = on_headers,
        .on_request = on_request,
        .on_gone = on_gone,
        .on_end = on_end,
        .on_refuse = on_refuse,
    };
}

struct hf_server_waiting_options hf_server_front_waiting(struct hf_server *server)
{
    return (struct hf_server_waiting_options){.wake = wake_poll, .context = server};
}

/* ---- Work that goes on after an answer ---- */

struct finish_work {
    struct hf_server *server;
    struct hf_id task;
};

static void run_finish_work(void *argument)
{
    struct finish_work *work = argument;
    struct hf_error err;

    if (hf_flow_finish(&work->server->app, &work->task, &err) != HF_ERR_OK) {
        /* hf_flow_resume takes it up again. */
        hf_log_warn(work->server->app.log, "task.finish.failed",
                    HF_STR("task", hf_id_text(&work->task).text), HF_STR("error", err.message));
    }
    hf_free(work);
}

void hf_server_finish_later(struct hf_server *server, const struct hf_id *task)
{
    struct finish_work *work = hf_alloc_zero(sizeof *work);

    if (work == NULL) {
        return;
    }
    *work = (struct finish_work){.server = server, .task = *task};
    if (!hf_server_pool_try(server->work, run_finish_work, work)) {
        hf_free(work);
    }
}
