/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line for each refusal, up to a thousand at once and one a second for each address; the next line says how many went
 * unsaid.
 */
#include "server/refusals.h"

#include <stdio.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "server/keep.h"

#define ADDRESSES_MAX 64
#define LINES_AT_ONCE 1000
#define LINE_EVERY_MS 1000
/* A message whose sender is looked for. */
#define BODY_MAX_BYTES ((size_t)64 << 10)
#define BODY_VALUES_MAX 4096

struct address {
    char peer[64];
    uint64_t spent_ms; /* the time up to which lines are spent */
    uint64_t unsaid;
};

struct hf_server_refusals {
    struct hf_server_app *app;
    struct hf_mutex mutex; /* guards: all below */
    struct address addresses[ADDRESSES_MAX];
};

enum hf_err hf_server_refusals_create(struct hf_server_app *app, struct hf_server_refusals **out,
                                      struct hf_error *err)
{
    struct hf_server_refusals *refusals = hf_alloc_zero(sizeof *refusals);

    if (refusals == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    refusals->app = app;
    hf_mutex_init(&refusals->mutex);
    *out = refusals;
    return HF_ERR_OK;
}

void hf_server_refusals_destroy(struct hf_server_refusals *refusals)
{
    if (refusals != NULL) {
        hf_mutex_fini(&refusals->mutex);
        hf_free(refusals);
    }
}

static bool is_worth_a_line(enum hf_err code)
{
    return code == HF_ERR_INVALID || code == HF_ERR_DENIED || code == HF_ERR_EXISTS ||
           code == HF_ERR_LIMIT || code == HF_ERR_UNSUPPORTED || code == HF_ERR_LOST ||
           code == HF_ERR_CONFLICT || code == HF_ERR_CORRUPT;
}

/* True when a line may be written now; *unsaid gets how many were not since the last. */
static bool take_line(struct hf_server_refusals *refusals, const char *peer, uint64_t *unsaid)
{
    uint64_t now_ms = hf_clock_mono_ms();
    struct address *at = NULL, *oldest = &refusals->addresses[0];

    HF_LOCKED(&refusals->mutex);
    for (size_t i = 0; i < ADDRESSES_MAX && at == NULL; i++) {
        struct address *one = &refusals->addresses[i];
        at = strcmp(one->peer, peer) == 0 ? one : NULL;
        oldest = one->spent_ms < oldest->spent_ms ? one : oldest;
    }
    if (at == NULL) {
        at = oldest;
        *at = (struct address){.unsaid = 0};
        (void)snprintf(at->peer, sizeof at->peer, "%s", peer);
    }
    uint64_t least_ms =
        now_ms > LINES_AT_ONCE * LINE_EVERY_MS ? now_ms - LINES_AT_ONCE * LINE_EVERY_MS : 0;
    at->spent_ms = at->spent_ms < least_ms ? least_ms : at->spent_ms;
    if (at->spent_ms + LINE_EVERY_MS > now_ms) {
        at->unsaid++;
        return false;
    }
    at->spent_ms += LINE_EVERY_MS;
    *unsaid = at->unsaid;
    at->unsaid = 0;
    return true;
}

/* Who asks and for what, as far as the request says it. */
struct asker {
    struct hf_id agent, task, job;
    char host[HF_NAME_BYTES];
};

static void read_body(const struct hf_http_request *request, struct asker *out)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    const struct hf_json_limits limits = {.bytes = BODY_MAX_BYTES, .values = BODY_VALUES_MAX};
    struct hf_bytes body = hf_http_request_body(request);
    struct hf_error ignored;

    if (hf_json_decode_within((struct hf_str){(const char *)body.data, body.len}, &limits, &json,
                              &ignored) != HF_ERR_OK ||
        hf_json_type(json) != HF_JSON_OBJECT) {
        return;
    }
    const char *agent = hf_json_get_text(json, "agent");
    const char *task = hf_json_get_text(json, "task");
    const char *host = hf_json_get_text(json, "host");
    if (agent != NULL && !hf_id_parse(hf_str_of(agent), &out->agent)) {
        out->agent = (struct hf_id){.bytes = {0}};
    }
    if (task != NULL && !hf_id_parse(hf_str_of(task), &out->task)) {
        out->task = (struct hf_id){.bytes = {0}};
    }
    (void)snprintf(out->host, sizeof out->host, "%s", host == NULL ? "" : host);
}

/* A finish names its task in the path too: its body may be too long to look into. */
static void read_path(const struct hf_http_request *request, struct asker *out)
{
    static const char head[] = "/agent/v1/tasks/";
    const char *target = hf_http_request_target(request);
    struct hf_id task;

    if (hf_id_is_none(&out->task) && strncmp(target, head, sizeof head - 1) == 0 &&
        strlen(target) >= sizeof head - 1 + HF_ID_TEXT_BYTES - 1 &&
        hf_id_parse((struct hf_str){target + sizeof head - 1, HF_ID_TEXT_BYTES - 1}, &task)) {
        out->task = task;
    }
}

static void find_asker(struct hf_server_refusals *refusals, const struct hf_http_request *request,
                       struct asker *out)
{
    const char *header = hf_http_request_header(request, "Holdfast-Task");
    struct hf_task_record task;
    struct hf_agent_record agent;
    struct hf_error ignored;

    if (header == NULL) {
        read_body(request, out);
        read_path(request, out);
    } else if (!hf_id_parse(hf_str_of(header), &out->task)) {
        out->task = (struct hf_id){.bytes = {0}};
    }
    if (!hf_id_is_none(&out->task) &&
        hf_keep_task_get(refusals->app->catalog, &out->task, &task, NULL, &ignored) == HF_ERR_OK) {
        out->job = task.job;
        out->agent = hf_id_is_none(&out->agent) ? task.agent : out->agent;
    }
    if (!hf_id_is_none(&out->agent) && out->host[0] == '\0' &&
        hf_keep_agent_get(refusals->app->catalog, &out->agent, &agent, NULL, &ignored) ==
            HF_ERR_OK) {
        (void)snprintf(out->host, sizeof out->host, "%s", agent.host);
    }
}

static struct hf_id_text text_of(const struct hf_id *id)
{
    return hf_id_is_none(id) ? (struct hf_id_text){.text = ""} : hf_id_text(id);
}

void hf_server_refusals_note(struct hf_server_refusals *refusals,
                             const struct hf_http_request *request, const struct hf_error *why)
{
    const char *peer = hf_http_request_peer(request);
    struct asker asker = {.host = ""};
    uint64_t unsaid = 0;

    if (refusals == NULL || !is_worth_a_line(why->code) || !take_line(refusals, peer, &unsaid)) {
        return;
    }
    find_asker(refusals, request, &asker);
    hf_log_warn(refusals->app->log, "agent.refused", HF_STR("peer", peer),
                HF_STR("agent", text_of(&asker.agent).text), HF_STR("host", asker.host),
                HF_STR("job", text_of(&asker.job).text), HF_STR("task", text_of(&asker.task).text),
                HF_STR("class", hf_err_name(why->code)), HF_STR("error", why->message),
                HF_U64("unsaid", unsaid));
}
