/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What agents see, kept one document an agent; clusters appear when an agent first names their set.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "server/fleet.h"
#include "server/flow.h"

#define AGENTS_MAX 10000
#define SETS_MAX 10000
#define PRIORITY_MAX 1000 /* MongoDB's own */

struct hf_id hf_flow_new_id(void)
{
    struct hf_id id;
    uint64_t now_s = hf_flow_now_s();

    hf_random_bytes(id.bytes, sizeof id.bytes);
    for (size_t i = 0; i < 4; i++) {
        id.bytes[i] = (uint8_t)(now_s >> (24 - 8 * i));
    }
    return id;
}

struct hf_id hf_flow_org_of(const struct hf_server_app *app,
                            const struct hf_project_record *project)
{
    return hf_id_is_none(&project->org) ? app->first_org : project->org;
}

void hf_flow_notify(struct hf_server_app *app, const struct hf_id *agent)
{
    if (app->notify != NULL) {
        app->notify(app->notify_context, agent);
    }
    hf_fleet_wake(app, agent);
}

uint64_t hf_flow_now_s(void)
{
    return hf_clock_wall_ms() / 1000;
}

/* By the wall clock, which is asked only about what nobody of this process has heard. */
static uint64_t age_s(uint64_t then_s)
{
    uint64_t now_s = hf_flow_now_s();

    return then_s < now_s ? now_s - then_s : 0;
}

uint64_t hf_flow_agent_silent_s(struct hf_server_app *app, const struct hf_agent_record *agent)
{
    return hf_server_heard_silent_s(app->heard, HF_HEARD_AGENT, &agent->id, agent->seen_s,
                                    age_s(agent->seen_s));
}

static void member_from_message(const struct hf_msg_member *from, const struct hf_flow_sight *sight,
                                uint64_t now_s, struct hf_member_record *to)
{
    *to = (struct hf_member_record){
        .priority_millis = from->priority <= 0 ? 0
                           : from->priority > PRIORITY_MAX
                               ? PRIORITY_MAX * 1000
                               : (uint64_t)(from->priority * 1000 + 0.5),
        .hidden = from->hidden,
        .lag_s = from->lag_s,
        .data_bytes = from->data_bytes,
        .oplog_first_s = from->oplog_first_s,
        .oplog_last_s = from->oplog_last_s,
        .agent = sight->agent,
        .project = sight->project,
        .seen_s = now_s,
    };
    (void)snprintf(to->host, sizeof to->host, "%s", from->address);
    (void)snprintf(to->set_name, sizeof to->set_name, "%s", from->set_name);
    (void)snprintf(to->state, sizeof to->state, "%s", from->state);
    (void)snprintf(to->primary, sizeof to->primary, "%s", from->primary);
    (void)snprintf(to->fcv, sizeof to->fcv, "%s", from->fcv);
    (void)snprintf(to->server_version, sizeof to->server_version, "%s", from->server_version);
    (void)snprintf(to->engine, sizeof to->engine, "%s", from->engine);
    (void)snprintf(to->refusal, sizeof to->refusal, "%.*s", (int)sizeof to->refusal - 1,
                   from->problem);
}

static bool is_named(const struct hf_flow_members *members, const struct hf_keep_jobs *jobs,
                     const struct hf_cluster_record *cluster)
{
    for (size_t i = 0; i < members->count; i++) {
        if (hf_id_equal(&members->items[i].project, &cluster->project) &&
            strcmp(members->items[i].set_name, cluster->set_name) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < jobs->count; i++) {
        if (hf_id_equal(&jobs->items[i].cluster, &cluster->id)) {
            return true;
        }
    }
    return false;
}

/* Sets that nobody names any more and that have no job go: an agent that names others each time must not fill the
 * catalog. *count gets what is left. */
static enum hf_err forget_sets(struct hf_server_app *app, size_t *count, struct hf_error *err)
{
    const struct hf_catalog_query clusters_query = {.limit = SETS_MAX * 2};
    const struct hf_catalog_query jobs_query = {.limit = SETS_MAX * 2};
    HF_CLEANUP(hf_keep_clusters_fini) struct hf_keep_clusters clusters = {0};
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};
    struct hf_flow_members members = {0};
    struct hf_error ignored;

    if (hf_keep_cluster_find(app->catalog, &clusters_query, &clusters, err) != HF_ERR_OK ||
        hf_keep_job_find(app->catalog, &jobs_query, &jobs, err) != HF_ERR_OK ||
        hf_flow_members(app, NULL, &members, err) != HF_ERR_OK) {
        return err->code;
    }
    *count = clusters.count;
    for (size_t i = 0; i < clusters.count; i++) {
        HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
        const struct hf_id_text id = hf_id_text(&clusters.items[i].id);
        if (!is_named(&members, &jobs, &clusters.items[i]) &&
            hf_catalog_get(app->catalog, HF_KIND_CLUSTER, id.text, &document, &ignored) ==
                HF_ERR_OK &&
            hf_catalog_remove(app->catalog, HF_KIND_CLUSTER, id.text, document.revision,
                              &ignored) == HF_ERR_OK) {
            *count -= 1;
        }
    }
    hf_free(members.items);
    return HF_ERR_OK;
}

/* LIMIT when the catalog has no room for another set. */
static enum hf_err make_room_for_set(struct hf_server_app *app, const char *set_name,
                                     struct hf_error *err)
{
    const struct hf_catalog_query query = {.kind = HF_KIND_CLUSTER};
    uint64_t there = 0;
    size_t left = 0;

    if (hf_catalog_count(app->catalog, &query, &there, err) != HF_ERR_OK) {
        return err->code;
    }
    if (there < SETS_MAX) {
        return HF_ERR_OK;
    }
    if (forget_sets(app, &left, err) != HF_ERR_OK) {
        return err->code;
    }
    return left < SETS_MAX ? HF_ERR_OK
                           : hf_fail(err, HF_ERR_LIMIT, "set %s: there are %d sets already",
                                     set_name, SETS_MAX);
}

/* The cluster of the set in the project; made on first sight. Two at once: the second finds the first's. */
static enum hf_err see_set(struct hf_server_app *app, const struct hf_id *project,
                           const char *set_name, struct hf_error *err)
{
    const struct hf_catalog_query query = {
        .index = "setName", .equals_text = set_name, .limit = SETS_MAX * 2};
    HF_CLEANUP(hf_keep_clusters_fini) struct hf_keep_clusters found = {0};
    struct hf_cluster_record cluster = {.project = *project, .created_s = hf_flow_now_s()};
    char text[HF_NAME_BYTES + 64];
    struct hf_hash hash;

    if (hf_keep_cluster_find(app->catalog, &query, &found, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < found.count; i++) {
        if (hf_id_equal(&found.items[i].project, project)) {
            return HF_ERR_OK;
        }
    }
    if (make_room_for_set(app, set_name, err) != HF_ERR_OK) {
        return err->code;
    }
    /* The id follows from project and set, so that servers that see the set at the same moment make one cluster. */
    (void)snprintf(text, sizeof text, "%s/%s", hf_id_text(project).text, set_name);
    hf_sha256(hf_bytes_of_str(hf_str_of(text)), &hash);
    memcpy(cluster.id.bytes, hash.bytes, sizeof cluster.id.bytes);
    (void)snprintf(cluster.set_name, sizeof cluster.set_name, "%s", set_name);
    if (hf_keep_cluster_insert(app->catalog, &cluster, err) != HF_ERR_OK &&
        err->code != HF_ERR_EXISTS) {
        return err->code;
    }
    return HF_ERR_OK;
}

/* CONFLICT when another agent that is alive serves one of these. */
static enum hf_err check_served(struct hf_server_app *app, const struct hf_flow_sight *sight,
                                struct hf_error *err)
{
    struct hf_flow_members known = {0};
    enum hf_err code = hf_flow_members(app, &sight->project, &known, err);

    for (size_t i = 0; code == HF_ERR_OK && i < known.count; i++) {
        const struct hf_member_record *other = &known.items[i];
        if (hf_id_equal(&other->agent, &sight->agent) || other->silent_s > HF_AGENT_SILENT_MAX_S) {
            continue;
        }
        for (size_t k = 0; k < sight->members->count; k++) {
            if (strcmp(other->host, sight->members->items[k].address) == 0) {
                code = hf_fail(err, HF_ERR_CONFLICT,
                               "member %s is served by agent %s already; hint: one agent a member; "
                               "stop the other one, or "
                               "say --member",
                               other->host, hf_id_text(&other->agent).text);
                break;
            }
        }
    }
    hf_free(known.items);
    return code;
}

/* True when the agent says nothing new: each of the members is one that it has named before, alive all the time. */
static bool has_named(struct hf_server_app *app, const struct hf_flow_sight *sight)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document old = {.json = NULL};
    struct hf_error ignored;

    if (hf_catalog_get(app->catalog, HF_KIND_MEMBERS, hf_id_text(&sight->agent).text, &old,
                       &ignored) != HF_ERR_OK) {
        return sight->members->count == 0;
    }
    const struct hf_json *before = hf_json_get_array(old.json, "members");
    int64_t seen_s = hf_json_get_integer(old.json, "seenS", 0);
    uint64_t mark = seen_s < 0 ? 0 : (uint64_t)seen_s;
    if (hf_server_heard_silent_s(app->heard, HF_HEARD_MEMBERS, &sight->agent, mark, age_s(mark)) >
        HF_AGENT_SILENT_MAX_S) {
        return false; /* another agent may have taken them over meanwhile */
    }
    for (size_t i = 0; i < sight->members->count; i++) {
        bool known = false;
        for (size_t k = 0; k < hf_json_count(before) && !known; k++) {
            const char *host = hf_json_get_text(hf_json_at(before, k), "host");
            known = host != NULL && strcmp(host, sight->members->items[i].address) == 0;
        }
        if (!known) {
            return false;
        }
    }
    return true;
}

/* The document is the agent's alone; it is written over whatever revision stands there. */
static enum hf_err put_document(struct hf_server_app *app, const char *id,
                                const struct hf_json *json, struct hf_error *err)
{
    for (unsigned tries = 0;; tries++) {
        HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document old = {.json = NULL};

        enum hf_err code = hf_catalog_get(app->catalog, HF_KIND_MEMBERS, id, &old, err);
        if (code == HF_ERR_NOT_FOUND) {
            code = hf_catalog_insert(app->catalog, HF_KIND_MEMBERS, id, json, HF_CATALOG_UNSYNCED,
                                     err);
        } else if (code == HF_ERR_OK) {
            code = hf_catalog_replace(app->catalog, HF_KIND_MEMBERS, id, old.revision, json,
                                      HF_CATALOG_UNSYNCED, err);
        }
        if ((code != HF_ERR_CONFLICT && code != HF_ERR_EXISTS) || tries == 8) {
            return code;
        }
    }
}

/* What the agent said before of the same member tells more than one look does. */
static void follow(const struct hf_json *before, struct hf_member_record *record)
{
    for (size_t i = 0; i < hf_json_count(before); i++) {
        struct hf_member_record old;
        struct hf_error ignored;
        if (hf_member_record_decode(hf_json_at(before, i), &old, &ignored) == HF_ERR_OK &&
            strcmp(old.host, record->host) == 0) {
            hf_member_follow(record, &old);
            return;
        }
    }
}

enum hf_err hf_flow_put_members(struct hf_server_app *app, const struct hf_flow_sight *sight,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document before = {.json = NULL};
    struct hf_json *members = hf_json_array();
    uint64_t now_s = hf_flow_now_s();
    struct hf_error ignored;

    if ((sight->hello || !has_named(app, sight)) && check_served(app, sight, err) != HF_ERR_OK) {
        hf_json_drop(members);
        return err->code;
    }
    hf_server_heard_note(app->heard, HF_HEARD_AGENT, &sight->agent);
    hf_server_heard_note(app->heard, HF_HEARD_MEMBERS, &sight->agent);
    (void)!hf_catalog_get(app->catalog, HF_KIND_MEMBERS, hf_id_text(&sight->agent).text, &before,
                          &ignored);
    hf_json_set_text(json, "agentId", hf_id_text(&sight->agent).text);
    hf_json_set_u64(json, "seenS", now_s);
    for (size_t i = 0; i < sight->members->count; i++) {
        struct hf_member_record record;
        member_from_message(&sight->members->items[i], sight, now_s, &record);
        follow(hf_json_get_array(before.json, "members"), &record);
        hf_json_append_take(members, hf_member_record_encode(&record));
        if (record.set_name[0] != '\0' &&
            see_set(app, &sight->project, record.set_name, err) != HF_ERR_OK) {
            hf_json_drop(members);
            return err->code;
        }
    }
    hf_json_set_take(json, "members", members);
    return put_document(app, hf_id_text(&sight->agent).text, json, err);
}

/* One agent's words must not hide what the others see: false for what is no member. */
static bool read_member(struct hf_server_app *app, const struct hf_json *json,
                        struct hf_member_record *out)
{
    struct hf_error ignored;

    if (hf_member_record_decode(json, out, &ignored) != HF_ERR_OK) {
        return false;
    }
    if (hf_id_is_none(&out->project)) {
        out->project = app->first_project; /* written when there was no other */
    }
    out->silent_s = hf_server_heard_silent_s(app->heard, HF_HEARD_MEMBERS, &out->agent, out->seen_s,
                                             age_s(out->seen_s));
    return true;
}

enum hf_err hf_flow_member(struct hf_server_app *app, const struct hf_id *agent, const char *host,
                           struct hf_member_record *out, bool *found, struct hf_error *err)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};

    *found = false;
    if (hf_id_is_none(agent)) {
        return HF_ERR_OK;
    }
    enum hf_err code =
        hf_catalog_get(app->catalog, HF_KIND_MEMBERS, hf_id_text(agent).text, &document, err);
    if (code != HF_ERR_OK) {
        return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
    }
    const struct hf_json *members = hf_json_get_array(document.json, "members");
    for (size_t i = 0; i < hf_json_count(members) && !*found; i++) {
        const char *name = hf_json_get_text(hf_json_at(members, i), "host");
        *found = name != NULL && strcmp(name, host) == 0 &&
                 read_member(app, hf_json_at(members, i), out);
    }
    return HF_ERR_OK;
}

enum hf_err hf_flow_members(struct hf_server_app *app, const struct hf_id *project,
                            struct hf_flow_members *out, struct hf_error *err)
{
    const struct hf_catalog_query query = {.kind = HF_KIND_MEMBERS, .limit = AGENTS_MAX};
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list found = {.documents = NULL};
    size_t count = 0;

    *out = (struct hf_flow_members){0};
    if (hf_catalog_find(app->catalog, &query, &found, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < found.count; i++) {
        count += hf_json_count(hf_json_get_array(found.documents[i].json, "members"));
    }
    struct hf_member_record *items = hf_alloc_array(count + 1, sizeof *items);
    if (items == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    count = 0;
    for (size_t i = 0; i < found.count; i++) {
        const struct hf_json *members = hf_json_get_array(found.documents[i].json, "members");
        for (size_t k = 0; k < hf_json_count(members); k++) {
            count += read_member(app, hf_json_at(members, k), &items[count]) &&
                     (project == NULL || hf_id_equal(project, &items[count].project));
        }
    }
    *out = (struct hf_flow_members){.items = items, .count = count};
    return HF_ERR_OK;
}
