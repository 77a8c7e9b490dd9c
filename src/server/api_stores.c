/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own calls about the stores of the installation, and about which of them new jobs of the caller's project are given.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "server/api.h"
#include "server/server_internal.h"
#include "server/stores.h"

static void set_record(struct hf_json *json, const struct hf_store_record *record)
{
    hf_json_set_text(json, "name", record->name);
    hf_json_set_text(json, "id", hf_id_text(&record->id).text);
    hf_json_set_text(json, "kind", record->oplog ? "oplog" : "snapshot");
    hf_json_set_text(json, "url", record->url);
    hf_json_set_bool(json, "encrypted", record->encrypted);
    hf_json_set_take(json, "labels", hf_store_words_to_json(&record->labels));
    hf_json_set_u64(json, "loadFactor", record->load_factor);
    hf_json_set_bool(json, "assignmentEnabled", !record->closed);
    hf_json_set_u64(json, "maxCapacityBytes", record->max_capacity_bytes);
    hf_json_set_u64(json, "createdS", record->created_s);
}

struct hf_json *hf_api_store_document(const struct hf_store_view *store)
{
    struct hf_json *json = hf_json_object();

    set_record(json, &store->record);
    hf_json_set_text(json, "holds",
                     store->record.oplog  ? "oplog"
                     : store->takes_oplog ? "snapshots, oplog"
                                          : "snapshots");
    hf_json_set_text(json, "away", store->away[0] == '\0' ? NULL : store->away);
    hf_json_set_u64(json, "jobs", store->jobs);
    hf_json_set_u64(json, "usedBytes", store->used_bytes);
    if (store->total_bytes != 0) {
        hf_json_set_u64(json, "freeBytes", store->free_bytes);
        hf_json_set_u64(json, "totalBytes", store->total_bytes);
    }
    return json;
}

void hf_api_stores(struct hf_server_call *call)
{
    HF_CLEANUP(hf_store_views_fini) struct hf_store_views views = {.items = NULL};
    struct hf_call_page page;
    struct hf_error err;

    if (!hf_call_page(call, &page)) {
        return;
    }
    if (hf_stores_view(call->app, true, &views, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *results = hf_json_array();
    for (size_t i = 0; i < views.count; i++) {
        if (i / page.size == page.number - 1) {
            hf_json_append_take(results, hf_api_store_document(&views.items[i]));
        }
    }
    hf_reply_list(call, &page, results, views.count);
}

/* ---- Changes ---- */

/* What a body says of labels, load factor, capacity and assignment; absent: as it was. False: it was answered. */
struct settings {
    struct hf_stores_change change;
    struct hf_store_words labels;
    uint64_t load_factor, max_capacity_bytes;
    bool closed;
};

static bool read_u64(struct hf_server_call *call, const char *name, uint64_t *value,
                     const uint64_t **out)
{
    if (hf_json_type(hf_json_get(call->body, name)) != HF_JSON_INTEGER) {
        return true;
    }
    if (hf_json_get_integer(call->body, name, -1) < 0) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE", "%s is less than 0", name);
        return false;
    }
    *value = hf_json_get_u64(call->body, name, 0);
    *out = value;
    return true;
}

static bool read_settings(struct hf_server_call *call, struct settings *out)
{
    const struct hf_json *labels = hf_json_get_array(call->body, "labels");
    struct hf_error err;

    *out = (struct settings){.closed = false};
    if (labels != NULL) {
        if (hf_store_words_from_json(labels, "labels", &out->labels, &err) != HF_ERR_OK) {
            hf_reply_error(call, &err, "INVALID_ATTRIBUTE");
            return false;
        }
        out->change.labels = &out->labels;
    }
    if (hf_json_type(hf_json_get(call->body, "assignmentEnabled")) == HF_JSON_BOOL) {
        out->closed = !hf_json_get_bool(call->body, "assignmentEnabled", true);
        out->change.closed = &out->closed;
    }
    return read_u64(call, "loadFactor", &out->load_factor, &out->change.load_factor) &&
           read_u64(call, "maxCapacityBytes", &out->max_capacity_bytes,
                    &out->change.max_capacity_bytes);
}

#define SETTINGS                                                                                   \
    {"labels", HF_JSON_ARRAY}, {"loadFactor", HF_JSON_INTEGER},                                    \
        {"maxCapacityBytes", HF_JSON_INTEGER},                                                     \
    {                                                                                              \
        "assignmentEnabled", HF_JSON_BOOL                                                          \
    }

/* "snapshot" and "oplog" are kinds; name and URL fit. False: it was answered. */
static bool read_wish(struct hf_server_call *call, struct hf_stores_add *out)
{
    const char *name = hf_json_get_text(call->body, "name");
    const char *url = hf_json_get_text(call->body, "url");
    const char *kind = hf_json_get_text(call->body, "kind");

    *out = (struct hf_stores_add){.plain = hf_json_get_bool(call->body, "plain", false)};
    if (name == NULL || url == NULL) {
        hf_reply_fail(call, HF_ERR_INVALID, "MISSING_ATTRIBUTE", "name and url are needed");
        return false;
    }
    if (kind != NULL && strcmp(kind, "snapshot") != 0 && strcmp(kind, "oplog") != 0) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ENUM_VALUE",
                      "kind '%s' is none of snapshot, oplog", kind);
        return false;
    }
    if (strlen(name) >= sizeof out->record.name || strlen(url) >= sizeof out->record.url) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE",
                      "a store's name has at most %zu bytes, its URL %zu",
                      sizeof out->record.name - 1, sizeof out->record.url - 1);
        return false;
    }
    (void)snprintf(out->record.name, sizeof out->record.name, "%s", name);
    (void)snprintf(out->record.url, sizeof out->record.url, "%s", url);
    out->record.oplog = kind != NULL && strcmp(kind, "oplog") == 0;
    return true;
}

void hf_api_add_store(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {{"name", HF_JSON_TEXT},
                                                    {"url", HF_JSON_TEXT},
                                                    {"kind", HF_JSON_TEXT},
                                                    {"plain", HF_JSON_BOOL},
                                                    SETTINGS,
                                                    {NULL, HF_JSON_NULL}};
    HF_CLEANUP(hf_free) char *key_path = NULL;
    struct hf_store_record record;
    struct hf_stores_add wish;
    struct settings settings;
    struct hf_error err;

    if (!hf_call_body_only(call, members) || !read_wish(call, &wish) ||
        !read_settings(call, &settings)) {
        return;
    }
    wish.record.labels = settings.labels;
    wish.record.load_factor = settings.change.load_factor == NULL ? 1 : settings.load_factor;
    wish.record.max_capacity_bytes = settings.max_capacity_bytes;
    wish.record.closed = settings.closed;
    if (hf_stores_add(call->app, &wish, &record, &key_path, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *json = hf_json_object();
    set_record(json, &record);
    hf_json_set_text(json, "keyPath", key_path);
    hf_reply_json(call, 201, json);
}

void hf_api_set_store(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {
        {"url", HF_JSON_TEXT}, SETTINGS, {NULL, HF_JSON_NULL}};
    struct hf_store_record record;
    struct settings settings;
    struct hf_error err;

    if (!hf_call_body_only(call, members) || !read_settings(call, &settings)) {
        return;
    }
    settings.change.url = hf_json_get_text(call->body, "url");
    if (hf_stores_set(call->app, call->parameters[0], &settings.change, &record, &err) !=
        HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *json = hf_json_object();
    set_record(json, &record);
    hf_reply_json(call, 200, json);
}

void hf_api_remove_store(struct hf_server_call *call)
{
    struct hf_error err;

    if (hf_stores_remove(call->app, call->parameters[0], &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_reply_empty(call, 200);
}

/* ---- What new jobs are given ---- */

static void reply_assignment(struct hf_server_call *call)
{
    struct hf_assignment_record record;
    struct hf_error err;

    if (hf_stores_assignment_get(call->app, &call->project, &record, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_reply_json(call, 200, hf_assignment_record_encode(&record));
}

void hf_api_assignment(struct hf_server_call *call)
{
    reply_assignment(call);
}

static bool read_words(struct hf_server_call *call, const char *name, struct hf_store_words *out)
{
    const struct hf_json *words = hf_json_get_array(call->body, name);
    struct hf_error err;

    if (words != NULL && hf_store_words_from_json(words, name, out, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, "INVALID_ATTRIBUTE");
        return false;
    }
    return true;
}

/* The whole document: what is absent is empty, so any store will do. */
void hf_api_put_assignment(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {{"labels", HF_JSON_ARRAY},
                                                    {"snapshotStores", HF_JSON_ARRAY},
                                                    {"oplogStores", HF_JSON_ARRAY},
                                                    {NULL, HF_JSON_NULL}};
    struct hf_assignment_record record = {.project = call->project};
    struct hf_error err;

    if (!hf_call_body_only(call, members) || !read_words(call, "labels", &record.labels) ||
        !read_words(call, "snapshotStores", &record.snapshot_stores) ||
        !read_words(call, "oplogStores", &record.oplog_stores)) {
        return;
    }
    if (hf_stores_assignment_put(call->app, &record, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    reply_assignment(call);
}
