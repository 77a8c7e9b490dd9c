/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events, as the public API (rest-api.md 5.10) and our own tell them. Read a few hundred at a time: there may be many.
 */
#include <stdio.h>

#include "os/clock.h"
#include "server/api.h"
#include "server/events.h"
#include "server/keep.h"

#define READ_AT_ONCE 500

struct filter {
    const struct hf_url_target *target; /* borrowed */
    const char *set;                    /* borrowed; NULL: any */
    uint64_t min_s, max_s;
};

static bool parse_time(struct hf_server_call *call, const char *name, uint64_t fallback,
                       uint64_t *out)
{
    const char *text = hf_url_target_parameter(&call->target, name);

    *out = fallback;
    if (text == NULL || hf_time_parse(hf_str_of(text), out)) {
        return true;
    }
    hf_reply_fail(call, HF_ERR_INVALID, "INVALID_QUERY_PARAMETER",
                  "%s is '%s', no date as in 2026-11-25T03:31:17Z", name, text);
    return false;
}

static bool parse_filter(struct hf_server_call *call, struct filter *out)
{
    out->target = &call->target;
    out->set = hf_url_target_parameter(&call->target, "set");
    return parse_time(call, "minDate", 0, &out->min_s) &&
           parse_time(call, "maxDate", INT64_MAX, &out->max_s);
}

/* eventType may be given several times; `type` is ours. */
static bool is_wanted(const struct filter *filter, const struct hf_event_record *event)
{
    bool named = false, any = false;

    for (size_t i = 0; i < filter->target->parameter_count; i++) {
        const struct hf_url_parameter *one = &filter->target->parameters[i];
        if (strcmp(one->name, "eventType") == 0 || strcmp(one->name, "type") == 0) {
            any = true;
            named = named || strcmp(one->value, event->type) == 0;
        }
    }
    return (named || !any) && (filter->set == NULL || strcmp(filter->set, event->set_name) == 0);
}

typedef struct hf_json *(*document_fn)(struct hf_server_call *call,
                                       const struct hf_event_record *event);

static void add_page(struct hf_server_call *call, const struct hf_call_page *page,
                     const struct filter *filter, const struct hf_keep_events *events,
                     document_fn document, struct hf_json *results, uint64_t *total)
{
    for (size_t i = 0; i < events->count; i++) {
        const struct hf_event_record *one = &events->items[i];
        if ((call->all_projects || hf_id_equal(&one->project, &call->project)) &&
            is_wanted(filter, one)) {
            if (*total / page->size == page->number - 1) {
                hf_json_append_take(results, document(call, one));
            }
            *total += 1;
        }
    }
}

static void list_events(struct hf_server_call *call, document_fn document)
{
    struct hf_catalog_query query = {
        .index = "createdS", .has_range = true, .descending = true, .limit = READ_AT_ONCE};
    struct hf_call_page page;
    struct filter filter;
    struct hf_error err;
    uint64_t total = 0;
    size_t read = READ_AT_ONCE;

    if (!hf_call_page(call, &page) || !parse_filter(call, &filter)) {
        return;
    }
    query.minimum = (int64_t)filter.min_s;
    query.maximum = (int64_t)filter.max_s;
    HF_CLEANUP(hf_json_drop) struct hf_json *results = hf_json_array();
    for (; read == READ_AT_ONCE; query.skip += READ_AT_ONCE) {
        HF_CLEANUP(hf_keep_events_fini) struct hf_keep_events events = {0};
        if (hf_keep_event_find(call->app->catalog, &query, &events, &err) != HF_ERR_OK) {
            hf_reply_error(call, &err, NULL);
            return;
        }
        read = events.count;
        add_page(call, &page, &filter, &events, document, results, &total);
    }
    hf_reply_list(call, &page, HF_TAKE(results), total);
}

/* False: it was answered. */
static bool find_event(struct hf_server_call *call, size_t index, struct hf_event_record *out)
{
    struct hf_error err;
    struct hf_id id;

    if (!hf_call_id(call, index, "INVALID_EVENT_ID", &id)) {
        return false;
    }
    enum hf_err code = hf_keep_event_get(call->app->catalog, &id, out, NULL, &err);
    if (code == HF_ERR_OK && hf_id_equal(&out->project, &call->project)) {
        return true;
    }
    if (code == HF_ERR_OK || code == HF_ERR_NOT_FOUND) {
        (void)hf_fail(&err, HF_ERR_NOT_FOUND, "there is no event %s", call->parameters[index]);
    }
    hf_reply_error(call, &err, err.code == HF_ERR_NOT_FOUND ? "EVENT_NOT_FOUND" : NULL);
    return false;
}

/* ---- The public API ---- */

static void set_text(struct hf_json *json, const char *name, const char *text)
{
    if (text[0] != '\0') {
        hf_json_set_text(json, name, text);
    }
}

static struct hf_json *public_document(struct hf_server_call *call,
                                       const struct hf_event_record *event)
{
    struct hf_json *json = hf_json_object();
    char time[HF_TIME_TEXT_BYTES], path[160];

    hf_time_format(event->created_s, time);
    hf_json_set_text(json, "id", hf_id_text(&event->id).text);
    hf_json_set_text(json, "created", time);
    hf_json_set_text(json, "eventTypeName", event->type);
    hf_json_set_text(json, "groupId", hf_id_text(&event->project).text);
    hf_json_set_bool(json, "isGlobalAdmin", false);
    set_text(json, "clusterName", event->set_name);
    set_text(json, "replicaSetName", event->set_name);
    if (!hf_id_is_none(&event->job)) {
        hf_json_set_text(json, "clusterId", hf_id_text(&event->job).text);
    }
    if (!hf_id_is_none(&event->target)) {
        hf_json_set_text(json, "targetId", hf_id_text(&event->target).text);
    }
    if (strcmp(event->by, HF_EVENT_BY_USER) == 0) {
        set_text(json, "publicKey", event->user);
        set_text(json, "remoteAddress", event->address);
    }
    set_text(json, "text", event->text);
    set_text(json, "outcome", event->outcome);
    (void)snprintf(path, sizeof path, "/api/public/v1.0/groups/%s/events/%s",
                   hf_id_text(&event->project).text, hf_id_text(&event->id).text);
    hf_reply_link(call, json, "self", path);
    return json;
}

void hf_api_group_events(struct hf_server_call *call)
{
    if (hf_api_check_group(call)) {
        list_events(call, public_document);
    }
}

void hf_api_global_events(struct hf_server_call *call)
{
    list_events(call, public_document);
}

void hf_api_group_event(struct hf_server_call *call)
{
    struct hf_event_record event;

    if (hf_api_check_group(call) && find_event(call, 1, &event)) {
        hf_reply_json(call, 200, public_document(call, &event));
    }
}

/* ---- Our own ---- */

static struct hf_json *private_document(struct hf_server_call *call,
                                        const struct hf_event_record *event)
{
    (void)call;
    return hf_event_record_encode(event);
}

void hf_api_events(struct hf_server_call *call)
{
    list_events(call, private_document);
}

void hf_api_event(struct hf_server_call *call)
{
    struct hf_event_record event;

    if (find_event(call, 0, &event)) {
        hf_reply_json(call, 200, private_document(call, &event));
    }
}
