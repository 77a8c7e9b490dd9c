/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of the last calls, and its image in the catalog: {"process", "called", "agents": the last of them, oldest first}.
 */
#include "server/wakes.h"

#include "backup/fleet.h"

void hf_wakes_init(struct hf_wakes *wakes)
{
    memset(wakes, 0, sizeof *wakes);
    hf_mutex_init(&wakes->mutex);
}

void hf_wakes_fini(struct hf_wakes *wakes)
{
    hf_mutex_fini(&wakes->mutex);
}

void hf_wakes_call(struct hf_wakes *wakes, const struct hf_id *agent)
{
    HF_LOCKED(&wakes->mutex);
    wakes->kept[wakes->called++ % HF_WAKES_KEPT] = *agent;
}

static struct hf_json *image(struct hf_wakes *wakes, const struct hf_id *process, uint64_t *called)
{
    struct hf_json *json = hf_json_object(), *agents = hf_json_array();
    HF_LOCKED(&wakes->mutex);
    uint64_t first = wakes->called > HF_WAKES_KEPT ? wakes->called - HF_WAKES_KEPT : 0;

    for (uint64_t i = first; i < wakes->called; i++) {
        hf_json_append_text(agents, hf_id_text(&wakes->kept[i % HF_WAKES_KEPT]).text);
    }
    hf_json_set_text(json, "process", hf_id_text(process).text);
    hf_json_set_u64(json, "called", wakes->called);
    hf_json_set_take(json, "agents", agents);
    *called = wakes->called;
    return json;
}

static void tell(struct hf_wakes *wakes, struct hf_server_app *app, const struct hf_id *server)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document old = {.json = NULL};
    const struct hf_id_text id = hf_id_text(server);
    struct hf_error ignored;
    uint64_t called = 0;

    {
        HF_LOCKED(&wakes->mutex);
        if (wakes->called == wakes->told) {
            return;
        }
    }
    HF_CLEANUP(hf_json_drop) struct hf_json *json = image(wakes, &app->process, &called);
    enum hf_err code = hf_catalog_get(app->catalog, HF_KIND_WAKE, id.text, &old, &ignored);
    if (code == HF_ERR_OK) {
        code = hf_catalog_replace(app->catalog, HF_KIND_WAKE, id.text, old.revision, json,
                                  HF_CATALOG_UNSYNCED, &ignored);
    } else if (code == HF_ERR_NOT_FOUND) {
        code = hf_catalog_insert(app->catalog, HF_KIND_WAKE, id.text, json, HF_CATALOG_UNSYNCED,
                                 &ignored);
    }
    if (code == HF_ERR_OK) {
        HF_LOCKED(&wakes->mutex);
        wakes->told = called;
    }
}

/* Calls of one server since the last look; the first look at a process hears none. */
static void hear(struct hf_wakes *wakes, struct hf_server_app *app, const struct hf_json *json)
{
    const struct hf_json *agents = hf_json_get(json, "agents");
    const char *text = hf_json_get_text(json, "process");
    uint64_t called = hf_json_get_u64(json, "called", 0);
    struct hf_wakes_heard *heard = NULL;
    struct hf_id process;

    if (agents == NULL || text == NULL || !hf_id_parse(hf_str_of(text), &process) ||
        hf_id_equal(&process, &app->process)) {
        return;
    }
    for (size_t i = 0; i < wakes->heard_count && heard == NULL; i++) {
        heard = hf_id_equal(&wakes->heard[i].process, &process) ? &wakes->heard[i] : NULL;
    }
    if (heard == NULL) {
        /* Of a process that began just now, or one that was forgotten: all that it kept. */
        heard = &wakes->heard[wakes->heard_count < HF_WAKES_SERVERS ? wakes->heard_count++ : 0];
        *heard = (struct hf_wakes_heard){.process = process};
    }
    uint64_t count = hf_json_count(agents), fresh = called - heard->called;
    for (uint64_t i = fresh < count ? count - fresh : 0; i < count; i++) {
        const char *name = hf_json_text(hf_json_at(agents, (size_t)i));
        struct hf_id agent;
        if (name != NULL && hf_id_parse(hf_str_of(name), &agent)) {
            app->notify(app->notify_context, &agent);
        }
    }
    if (fresh > count) {
        app->notify(app->notify_context, NULL); /* more than are kept: any may be among them */
    }
    heard->called = called;
}

void hf_wakes_exchange(struct hf_wakes *wakes, struct hf_server_app *app,
                       const struct hf_id *server)
{
    const struct hf_catalog_query query = {.kind = HF_KIND_WAKE, .limit = HF_WAKES_SERVERS};
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list list = {.documents = NULL};
    struct hf_error ignored;

    tell(wakes, app, server);
    if (app->notify == NULL ||
        hf_catalog_find(app->catalog, &query, &list, &ignored) != HF_ERR_OK) {
        return;
    }
    for (size_t i = 0; i < list.count; i++) {
        hear(wakes, app, list.documents[i].json);
    }
}
