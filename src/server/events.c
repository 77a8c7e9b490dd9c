/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events into the catalog, the oldest out of it.
 */
#include "server/events.h"

#include <stdio.h>

#include "codec/hash.h"
#include "server/flow.h"
#include "server/keep.h"

#define DROPPED_AT_ONCE 1000
#define DAY_S ((uint64_t)86400)

static void put(char *out, size_t out_len, const char *text)
{
    (void)snprintf(out, out_len, "%s", text == NULL ? "" : text);
}

/* What cannot be found is of the project that was there first. */
static struct hf_id project_of(struct hf_server_app *app, const struct hf_event_wish *wish)
{
    struct hf_job_record job;
    struct hf_error ignored;

    if (!hf_id_is_none(&wish->project)) {
        return wish->project;
    }
    return hf_id_is_none(&wish->job) ||
                   hf_keep_job_get(app->catalog, &wish->job, &job, NULL, &ignored) != HF_ERR_OK
               ? app->first_project
               : job.project;
}

static void fill(struct hf_server_app *app, const struct hf_event_wish *wish,
                 struct hf_event_record *out)
{
    *out = (struct hf_event_record){
        .id = hf_id_is_none(&wish->id) ? hf_flow_new_id() : wish->id,
        .project = project_of(app, wish),
        .job = wish->job,
        .target = wish->target,
        .created_s = hf_flow_now_s(),
    };
    put(out->set_name, sizeof out->set_name, wish->set_name);
    put(out->type, sizeof out->type, wish->type);
    put(out->text, sizeof out->text, wish->text);
    put(out->by, sizeof out->by, wish->by);
    put(out->user, sizeof out->user, wish->user);
    put(out->address, sizeof out->address, wish->address);
    put(out->outcome, sizeof out->outcome, wish->outcome);
}

static bool is_audit(const struct hf_event_record *event)
{
    return event->by[0] != '\0';
}

/* In one of two indexes by age: people's and agents', or the server's own. */
static struct hf_json *document_of(const struct hf_event_record *event)
{
    struct hf_json *json = hf_event_record_encode(event);
    bool own = !is_audit(event) || strcmp(event->by, HF_EVENT_BY_SERVER) == 0;

    if (json != NULL) {
        hf_json_set_u64(json, own ? "serverS" : "userS", event->created_s);
    }
    return json;
}

static enum hf_err insert(struct hf_server_app *app, const struct hf_event_record *event,
                          struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = document_of(event);

    return json == NULL
               ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory")
               : hf_catalog_insert(app->catalog, HF_KIND_EVENT, hf_id_text(&event->id).text, json,
                                   HF_CATALOG_SYNCED, err);
}

static void log_audit(struct hf_server_app *app, const struct hf_event_record *event)
{
    hf_log_info(app->log, "event.audited", HF_STR("type", event->type), HF_STR("by", event->by),
                HF_STR("user", event->user), HF_STR("address", event->address),
                HF_STR("set", event->set_name), HF_STR("text", event->text),
                HF_STR("outcome", event->outcome));
}

enum hf_err hf_event_tell(struct hf_server_app *app, const struct hf_event_wish *wish,
                          struct hf_error *err)
{
    struct hf_event_record event;

    fill(app, wish, &event);
    enum hf_err code = insert(app, &event, err);
    if (code == HF_ERR_EXISTS) {
        return HF_ERR_OK;
    }
    if (code == HF_ERR_OK && is_audit(&event)) {
        log_audit(app, &event);
    } else if (code == HF_ERR_OK) {
        hf_log_warn(app->log, "event.raised", HF_STR("type", event.type),
                    HF_STR("set", event.set_name), HF_STR("text", event.text));
    }
    return code;
}

enum hf_err hf_event_ask(struct hf_server_app *app, const struct hf_event_wish *wish,
                         struct hf_event_record *out, struct hf_error *err)
{
    fill(app, wish, out);
    return insert(app, out, err);
}

enum hf_err hf_event_settle(struct hf_server_app *app, const struct hf_event_record *event,
                            struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = document_of(event);

    if (json == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_catalog_replace(app->catalog, HF_KIND_EVENT, hf_id_text(&event->id).text, 1, json,
                           HF_CATALOG_SYNCED, err) != HF_ERR_OK) {
        return err->code;
    }
    log_audit(app, event);
    return HF_ERR_OK;
}

enum hf_err hf_event_withdraw(struct hf_server_app *app, const struct hf_event_record *event,
                              struct hf_error *err)
{
    return hf_catalog_remove(app->catalog, HF_KIND_EVENT, hf_id_text(&event->id).text, 1, err);
}

enum hf_err hf_event_own(struct hf_server_app *app, const struct hf_event_own *own,
                         struct hf_error *err)
{
    struct hf_event_wish wish = {.id = *own->job,
                                 .job = *own->job,
                                 .target = own->target == NULL ? *own->job : *own->target,
                                 .set_name = own->set_name,
                                 .type = own->type,
                                 .text = own->text,
                                 .by = HF_EVENT_BY_SERVER};
    char name[256];

    (void)snprintf(name, sizeof name, "%s %s %llu", own->type, hf_id_text(&wish.target).text,
                   (unsigned long long)own->number);
    uint64_t hash = hf_xxh3(hf_bytes_of(name, strlen(name)));
    memcpy(wish.id.bytes + HF_ID_BYTES - sizeof hash, &hash, sizeof hash);
    return hf_event_tell(app, &wish, err);
}

/* ---- The old ones ---- */

static enum hf_err drop(struct hf_server_app *app, const struct hf_catalog_query *which,
                        struct hf_error *err)
{
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list found = {.documents = NULL};

    if (hf_catalog_find(app->catalog, which, &found, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < found.count; i++) {
        enum hf_err code = hf_catalog_remove(app->catalog, HF_KIND_EVENT, found.documents[i].id,
                                             found.documents[i].revision, err);
        /* Another server was there first, or a call is just answered. */
        if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND && code != HF_ERR_CONFLICT) {
            return code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err drop_above(struct hf_server_app *app, const char *index, struct hf_error *err)
{
    struct hf_catalog_query query = {.kind = HF_KIND_EVENT, .index = index};
    uint64_t count = 0;

    if (hf_catalog_count(app->catalog, &query, &count, err) != HF_ERR_OK) {
        return err->code;
    }
    if (count <= HF_EVENTS_MAX) {
        return HF_ERR_OK;
    }
    query.limit =
        count - HF_EVENTS_MAX < DROPPED_AT_ONCE ? (size_t)(count - HF_EVENTS_MAX) : DROPPED_AT_ONCE;
    return drop(app, &query, err);
}

enum hf_err hf_events_prune(struct hf_server_app *app, struct hf_error *err)
{
    uint64_t now_s = hf_flow_now_s(), kept_s = app->event_days * DAY_S;

    if (app->event_days != 0 && now_s > kept_s) {
        const struct hf_catalog_query old = {.kind = HF_KIND_EVENT,
                                             .index = "createdS",
                                             .has_range = true,
                                             .maximum = (int64_t)(now_s - kept_s),
                                             .limit = DROPPED_AT_ONCE};
        if (drop(app, &old, err) != HF_ERR_OK) {
            return hf_wrap(err, "old events");
        }
    }
    if (drop_above(app, "userS", err) != HF_ERR_OK ||
        drop_above(app, "serverS", err) != HF_ERR_OK) {
        return hf_wrap(err, "old events");
    }
    return HF_ERR_OK;
}
