/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events into the catalog, the oldest out of it.
 */
#include "server/events.h"

#include <stdio.h>

#include "server/flow.h"
#include "server/keep.h"

#define DROPPED_AT_ONCE 100

/* Too many of them only take room: the next event tries again. */
static void drop_oldest(struct hf_server_app *app)
{
    const struct hf_catalog_query all = {.kind = HF_KIND_EVENT};
    const struct hf_catalog_query oldest = {
        .kind = HF_KIND_EVENT, .index = "createdS", .limit = DROPPED_AT_ONCE};
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list found = {.documents = NULL};
    struct hf_error ignored;
    uint64_t count = 0;

    if (hf_catalog_count(app->catalog, &all, &count, &ignored) != HF_ERR_OK ||
        count <= HF_EVENTS_MAX ||
        hf_catalog_find(app->catalog, &oldest, &found, &ignored) != HF_ERR_OK) {
        return;
    }
    for (size_t i = 0; i < found.count; i++) {
        (void)!hf_catalog_remove(app->catalog, HF_KIND_EVENT, found.documents[i].id,
                                 found.documents[i].revision, &ignored);
    }
}

enum hf_err hf_event_tell(struct hf_server_app *app, const struct hf_event_wish *wish,
                          struct hf_error *err)
{
    struct hf_event_record event = {
        .id = hf_id_is_none(&wish->id) ? hf_flow_new_id() : wish->id,
        .project = app->project,
        .job = wish->job,
        .created_s = hf_flow_now_s(),
    };

    (void)snprintf(event.set_name, sizeof event.set_name, "%s", wish->set_name);
    (void)snprintf(event.type, sizeof event.type, "%s", wish->type);
    (void)snprintf(event.text, sizeof event.text, "%.*s", (int)sizeof event.text - 1, wish->text);
    enum hf_err code = hf_keep_event_insert(app->catalog, &event, err);
    if (code == HF_ERR_EXISTS) {
        return HF_ERR_OK;
    }
    if (code == HF_ERR_OK) {
        hf_log_warn(app->log, "event.raised", HF_STR("type", event.type),
                    HF_STR("set", event.set_name), HF_STR("text", event.text));
        drop_oldest(app);
    }
    return code;
}
