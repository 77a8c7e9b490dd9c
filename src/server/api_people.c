/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Projects are made here, and the keys of programs and agents. A secret is in the answer that made it and nowhere else.
 * Nobody gives what he has not: a role is given by whoever has all its rights.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "server/api.h"
#include "server/server_internal.h"

#define LIST_MAX 100000
#define DESC_MAX 250 /* rest-api.md 5.8 */

/* ---- What a key is shown as ---- */

/* Whose keys: of a project, an organization or the installation. */
struct scope {
    enum hf_role_level level;
    struct hf_id target; /* none: the installation */
};

static struct scope project_scope(const struct hf_server_call *call)
{
    return (struct scope){HF_ROLE_PROJECT, call->project};
}

static struct scope org_scope(const struct hf_server_call *call)
{
    return (struct scope){HF_ROLE_ORG, call->org};
}

static const struct scope global_scope = {.level = HF_ROLE_GLOBAL};

static bool is_in_scope(const struct hf_grant *grant, const struct scope *scope)
{
    return grant->role->level == scope->level && hf_id_equal(&grant->target, &scope->target);
}

/* Of the scope, and of the rest of the key's roles. */
static void split_roles(const struct hf_json *key, const struct scope *scope,
                        struct hf_grants *inside, struct hf_grants *outside)
{
    struct hf_grants all;

    hf_grants_decode(hf_json_get_array(key, "roles"), &all);
    *inside = *outside = (struct hf_grants){.count = 0};
    for (size_t i = 0; i < all.count; i++) {
        struct hf_grants *to = is_in_scope(&all.items[i], scope) ? inside : outside;
        to->items[to->count++] = all.items[i];
    }
}

/* What other projects it is for is nobody's business here. */
static struct hf_json *key_document(const struct hf_json *key, const struct hf_grants *roles,
                                    const char *secret)
{
    struct hf_json *json = hf_json_object();
    const char *tail = hf_json_get_text(key, "tail");
    char masked[64];

    (void)snprintf(masked, sizeof masked, "********-****-****-****-********%.4s",
                   tail == NULL ? "****" : tail);
    hf_json_set_text(json, "id", hf_json_get_text(key, "id"));
    hf_json_set_text(json, "desc", hf_json_get_text(key, "desc"));
    hf_json_set_text(json, "publicKey", hf_json_get_text(key, "publicKey"));
    hf_json_set_text(json, "privateKey", secret == NULL ? masked : secret);
    hf_json_set_take(json, "roles", hf_grants_encode(roles));
    hf_json_set_take(json, "links", hf_json_array());
    return json;
}

static bool find_keys(struct hf_server_call *call, struct hf_catalog_list *out)
{
    const struct hf_catalog_query query = {.kind = HF_KIND_API_KEY, .limit = LIST_MAX};
    struct hf_error err;

    if (hf_catalog_find(call->app->catalog, &query, out, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return false;
    }
    return true;
}

static void list_keys(struct hf_server_call *call, const struct scope *scope)
{
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list keys = {.documents = NULL};
    struct hf_call_page page;
    uint64_t total = 0;

    if (!hf_call_page(call, &page) || !find_keys(call, &keys)) {
        return;
    }
    struct hf_json *results = hf_json_array();
    for (size_t i = 0; i < keys.count; i++) {
        struct hf_grants inside, outside;
        split_roles(keys.documents[i].json, scope, &inside, &outside);
        if (inside.count == 0) {
            continue;
        }
        if (total / page.size == page.number - 1) {
            hf_json_append_take(results, key_document(keys.documents[i].json, &inside, NULL));
        }
        total++;
    }
    hf_reply_list(call, &page, results, total);
}

/* ---- Making one ---- */

/* False: it was answered. */
static bool take_desc(struct hf_server_call *call, const char **out)
{
    *out = hf_json_get_text(call->body, "desc");
    if (*out == NULL || (*out)[0] == '\0') {
        hf_reply_fail(call, HF_ERR_INVALID, "MISSING_ATTRIBUTE",
                      "'desc' is missing: what the key is for");
        return false;
    }
    if (strlen(*out) > DESC_MAX) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE", "desc is longer than %d bytes",
                      DESC_MAX);
        return false;
    }
    return true;
}

static bool take_role(struct hf_server_call *call, const char *name, const struct scope *scope,
                      struct hf_grants *out)
{
    struct hf_grant grant = {.role = hf_role_of(name)};

    grant.target = scope->target;
    if (grant.role == NULL || !is_in_scope(&grant, scope)) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ENUM_VALUE",
                      "'%.100s' is no role that is given here", name == NULL ? "" : name);
        return false;
    }
    if ((grant.role->rights & ~call->rights) != 0) {
        hf_reply_fail(call, HF_ERR_UNAUTHENTICATED, "USER_UNAUTHORIZED",
                      "role %s allows what the caller may not do itself", name);
        return false;
    }
    out->items[out->count++] = grant;
    return true;
}

static bool take_roles(struct hf_server_call *call, const struct scope *scope,
                       struct hf_grants *out)
{
    const struct hf_json *roles = hf_json_get_array(call->body, "roles");

    *out = (struct hf_grants){.count = 0};
    if (hf_json_count(roles) == 0 || hf_json_count(roles) > HF_GRANTS_MAX) {
        hf_reply_fail(call, HF_ERR_INVALID, "MISSING_ATTRIBUTE",
                      "'roles' has the names of 1 to %d roles", HF_GRANTS_MAX);
        return false;
    }
    for (size_t i = 0; i < hf_json_count(roles); i++) {
        if (!take_role(call, hf_json_text(hf_json_at(roles, i)), scope, out)) {
            return false;
        }
    }
    return true;
}

static void make_key(struct hf_server_call *call, const struct scope *scope)
{
    static const struct hf_call_member members[] = {
        {"desc", HF_JSON_TEXT}, {"roles", HF_JSON_ARRAY}, {NULL, HF_JSON_NULL}};
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    struct hf_server_key_wish wish = {.id = hf_flow_new_id()};
    struct hf_server_api_key key;
    struct hf_grants grants;
    struct hf_error err;

    if (!hf_call_body_only(call, members) || !take_desc(call, &wish.desc) ||
        !take_roles(call, scope, &grants)) {
        return;
    }
    wish.grants = &grants;
    if (scope->level == HF_ROLE_PROJECT) {
        wish.project = scope->target;
    }
    if (hf_server_auth_make_api_key(call->server->auth, &wish, &key, &err) != HF_ERR_OK ||
        hf_catalog_get(call->app->catalog, HF_KIND_API_KEY, key.public_key, &document, &err) !=
            HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
    } else {
        hf_reply_json(call, 200, key_document(document.json, &grants, key.private_key));
    }
    hf_wipe(&key, sizeof key);
}

/* ---- One ---- */

/* Index into keys. False: it was answered. */
static bool find_key(struct hf_server_call *call, size_t parameter, const struct scope *scope,
                     const struct hf_catalog_list *keys, size_t *out)
{
    struct hf_id id;

    if (!hf_call_id(call, parameter, "INVALID_KEY_ID", &id)) {
        return false;
    }
    for (size_t i = 0; i < keys->count; i++) {
        const char *text = hf_json_get_text(keys->documents[i].json, "id");
        struct hf_grants inside, outside;
        split_roles(keys->documents[i].json, scope, &inside, &outside);
        if (text != NULL && strcmp(text, hf_id_text(&id).text) == 0 && inside.count > 0) {
            *out = i;
            return true;
        }
    }
    /* 400, as the reference has it. */
    hf_reply_fail(call, HF_ERR_INVALID, "API_KEY_NOT_FOUND", "there is no API key %s",
                  hf_id_text(&id).text);
    return false;
}

/* Its roles here go; without any other role it goes itself. */
static void remove_key(struct hf_server_call *call, size_t parameter, const struct scope *scope)
{
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list keys = {.documents = NULL};
    struct hf_grants inside, outside;
    struct hf_error err;
    size_t at = 0;

    if (!find_keys(call, &keys) || !find_key(call, parameter, scope, &keys, &at)) {
        return;
    }
    struct hf_catalog_document *key = &keys.documents[at];
    split_roles(key->json, scope, &inside, &outside);
    enum hf_err code;
    if (outside.count == 0) {
        code = hf_catalog_remove(call->app->catalog, HF_KIND_API_KEY, key->id, key->revision, &err);
    } else {
        hf_json_set_take(key->json, "roles", hf_grants_encode(&outside));
        code = hf_catalog_replace(call->app->catalog, HF_KIND_API_KEY, key->id, key->revision,
                                  key->json, HF_CATALOG_SYNCED, &err);
    }
    if (code != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_reply_empty(call, 200);
}

void hf_api_group_keys(struct hf_server_call *call)
{
    const struct scope scope = project_scope(call);

    list_keys(call, &scope);
}

void hf_api_make_group_key(struct hf_server_call *call)
{
    const struct scope scope = project_scope(call);

    make_key(call, &scope);
}

void hf_api_remove_group_key(struct hf_server_call *call)
{
    const struct scope scope = project_scope(call);

    remove_key(call, 1, &scope);
}

void hf_api_global_keys(struct hf_server_call *call)
{
    list_keys(call, &global_scope);
}

void hf_api_make_global_key(struct hf_server_call *call)
{
    make_key(call, &global_scope);
}

static void show_key(struct hf_server_call *call, size_t parameter, const struct scope *scope)
{
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list keys = {.documents = NULL};
    struct hf_grants inside, outside;
    size_t at = 0;

    if (find_keys(call, &keys) && find_key(call, parameter, scope, &keys, &at)) {
        split_roles(keys.documents[at].json, scope, &inside, &outside);
        hf_reply_json(call, 200, key_document(keys.documents[at].json, &inside, NULL));
    }
}

void hf_api_global_key(struct hf_server_call *call)
{
    show_key(call, 0, &global_scope);
}

void hf_api_org_keys(struct hf_server_call *call)
{
    const struct scope scope = org_scope(call);

    list_keys(call, &scope);
}

void hf_api_make_org_key(struct hf_server_call *call)
{
    const struct scope scope = org_scope(call);

    make_key(call, &scope);
}

void hf_api_org_key(struct hf_server_call *call)
{
    const struct scope scope = org_scope(call);

    show_key(call, 1, &scope);
}

void hf_api_remove_org_key(struct hf_server_call *call)
{
    const struct scope scope = org_scope(call);

    remove_key(call, 1, &scope);
}

void hf_api_remove_global_key(struct hf_server_call *call)
{
    remove_key(call, 0, &global_scope);
}

/* ---- Keys of agents ---- */

/* A key from before they had ids is known by the beginning of its hash. */
static void agent_key_id(const struct hf_catalog_document *key, char out[HF_ID_TEXT_BYTES])
{
    const char *id = hf_json_get_text(key->json, "id");

    (void)snprintf(out, HF_ID_TEXT_BYTES, "%.24s", id == NULL ? key->id : id);
}

static struct hf_json *agent_key_document(const struct hf_catalog_document *key, const char *secret)
{
    struct hf_json *json = hf_json_object();
    const char *tail = hf_json_get_text(key->json, "tail");
    const char *desc = hf_json_get_text(key->json, "desc");
    char id[HF_ID_TEXT_BYTES], masked[16];

    agent_key_id(key, id);
    (void)snprintf(masked, sizeof masked, "********%.4s", tail == NULL ? "" : tail);
    hf_json_set_text(json, "_id", id);
    hf_json_set_text(json, "key", secret == NULL ? masked : secret);
    hf_json_set_text(json, "desc", desc == NULL ? "" : desc);
    hf_json_set_u64(json, "createdTime", hf_json_get_u64(key->json, "createdS", 0) * 1000);
    hf_json_set_text(json, "createdBy", "PUBLIC_API");
    return json;
}

/* False: it was answered. */
static bool find_agent_keys(struct hf_server_call *call, struct hf_catalog_list *out)
{
    const struct hf_id_text project = hf_id_text(&call->project);
    const struct hf_catalog_query query = {.kind = HF_KIND_AGENT_KEY,
                                           .index = "projectId",
                                           .equals_text = project.text,
                                           .limit = LIST_MAX};
    struct hf_error err;

    if (hf_catalog_find(call->app->catalog, &query, out, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return false;
    }
    return true;
}

/* A bare array (rest-api.md 5.6). */
void hf_api_agent_keys(struct hf_server_call *call)
{
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list keys = {.documents = NULL};

    if (!find_agent_keys(call, &keys)) {
        return;
    }
    struct hf_json *list = hf_json_array();
    for (size_t i = 0; i < keys.count; i++) {
        hf_json_append_take(list, agent_key_document(&keys.documents[i], NULL));
    }
    hf_reply_json(call, 200, list);
}

void hf_api_make_agent_key(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {{"desc", HF_JSON_TEXT}, {NULL, HF_JSON_NULL}};
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list keys = {.documents = NULL};
    struct hf_server_key_wish wish = {.id = hf_flow_new_id(), .project = call->project};
    const struct hf_id_text id = hf_id_text(&wish.id);
    char secret[HF_AGENT_KEY_BYTES];
    struct hf_error err;

    if (!hf_call_body_only(call, members) || !take_desc(call, &wish.desc)) {
        return;
    }
    if (hf_server_auth_make_agent_key(call->server->auth, &wish, secret, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    if (find_agent_keys(call, &keys)) {
        struct hf_json *json = NULL;
        for (size_t i = 0; i < keys.count; i++) {
            char one[HF_ID_TEXT_BYTES];
            agent_key_id(&keys.documents[i], one);
            if (json == NULL && strcmp(one, id.text) == 0) {
                json = agent_key_document(&keys.documents[i], secret);
            }
        }
        hf_reply_json(call, 200, json);
    }
    hf_wipe(secret, sizeof secret);
}

/* Its agents are refused at their next request: every one is looked up. */
void hf_api_remove_agent_key(struct hf_server_call *call)
{
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list keys = {.documents = NULL};
    struct hf_error err;
    struct hf_id id;

    if (!hf_call_id(call, 1, "INVALID_KEY_ID", &id) || !find_agent_keys(call, &keys)) {
        return;
    }
    const struct hf_id_text text = hf_id_text(&id);
    for (size_t i = 0; i < keys.count; i++) {
        char one[HF_ID_TEXT_BYTES];
        agent_key_id(&keys.documents[i], one);
        if (strcmp(one, text.text) != 0) {
            continue;
        }
        if (hf_catalog_remove(call->app->catalog, HF_KIND_AGENT_KEY, keys.documents[i].id,
                              keys.documents[i].revision, &err) != HF_ERR_OK) {
            hf_reply_error(call, &err, NULL);
            return;
        }
        hf_reply_empty(call, 200);
        return;
    }
    hf_reply_fail(call, HF_ERR_NOT_FOUND, NULL, "there is no agent key %s", text.text);
}

/* False: it was answered. */
static bool take_name(struct hf_server_call *call, char *out, size_t out_len)
{
    const char *name = hf_json_get_text(call->body, "name");
    struct hf_error err;

    if (name == NULL) {
        hf_reply_fail(call, HF_ERR_INVALID, "MISSING_ATTRIBUTE", "'name' is missing");
        return false;
    }
    if (hf_people_check_name(name, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, "INVALID_ATTRIBUTE");
        return false;
    }
    (void)snprintf(out, out_len, "%s", name);
    return true;
}

/* ---- Organizations ---- */

static struct hf_json *org_document(struct hf_server_call *call, const struct hf_org_record *org)
{
    struct hf_json *json = hf_json_object();
    char path[128];

    hf_json_set_text(json, "id", hf_id_text(&org->id).text);
    hf_json_set_text(json, "name", org->name);
    hf_json_set_bool(json, "isDeleted", false);
    (void)snprintf(path, sizeof path, "/api/public/v1.0/orgs/%s", hf_id_text(&org->id).text);
    hf_reply_link(call, json, "self", path);
    return json;
}

/* Those that the caller has a role in; `name` matches beginnings (rest-api.md 5.3). */
void hf_api_orgs(struct hf_server_call *call)
{
    HF_CLEANUP(hf_keep_orgs_fini) struct hf_keep_orgs orgs = {0};
    const char *name = hf_url_target_parameter(&call->target, "name");
    const struct hf_catalog_query query = {.limit = LIST_MAX};
    struct hf_call_page page;
    struct hf_error err;
    uint64_t total = 0;

    if (!hf_call_page(call, &page)) {
        return;
    }
    if (hf_keep_org_find(call->app->catalog, &query, &orgs, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *results = hf_json_array();
    for (size_t i = 0; i < orgs.count; i++) {
        const struct hf_org_record *one = &orgs.items[i];
        if (hf_grants_rights(&call->grants, NULL, &one->id) == 0 ||
            (name != NULL && strncmp(name, one->name, strlen(name)) != 0)) {
            continue;
        }
        if (total / page.size == page.number - 1) {
            hf_json_append_take(results, org_document(call, one));
        }
        total++;
    }
    hf_reply_list(call, &page, results, total);
}

void hf_api_org(struct hf_server_call *call)
{
    struct hf_org_record org;
    struct hf_error err;

    if (hf_keep_org_get(call->app->catalog, &call->org, &org, NULL, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, err.code == HF_ERR_NOT_FOUND ? "ORG_NOT_FOUND" : NULL);
        return;
    }
    hf_reply_json(call, 200, org_document(call, &org));
}

void hf_api_org_groups(struct hf_server_call *call)
{
    hf_api_list_groups(call, &call->org);
}

/* Names of organizations need not differ. */
void hf_api_make_org(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {{"name", HF_JSON_TEXT}, {NULL, HF_JSON_NULL}};
    struct hf_org_record org = {.id = hf_flow_new_id(), .created_s = hf_flow_now_s()};
    struct hf_error err;

    if (!hf_call_body_only(call, members) || !take_name(call, org.name, sizeof org.name)) {
        return;
    }
    if (hf_keep_org_insert(call->app->catalog, &org, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_reply_json(call, 201, org_document(call, &org));
}

/* ---- Projects ---- */

/* Of two that are made at once with one name the one with the smaller id stays. */
static enum hf_err insert_project(struct hf_server_app *app,
                                  const struct hf_project_record *project, struct hf_error *err)
{
    const struct hf_catalog_query query = {
        .index = "name", .equals_text = project->name, .limit = 10};
    HF_CLEANUP(hf_keep_projects_fini) struct hf_keep_projects before = {0};
    HF_CLEANUP(hf_keep_projects_fini) struct hf_keep_projects after = {0};
    const struct hf_id_text id = hf_id_text(&project->id);

    if (hf_keep_project_find(app->catalog, &query, &before, err) != HF_ERR_OK ||
        (before.count == 0 &&
         (hf_keep_project_insert(app->catalog, project, err) != HF_ERR_OK ||
          hf_keep_project_find(app->catalog, &query, &after, err) != HF_ERR_OK))) {
        return err->code;
    }
    /* By the index, then by the id. */
    if (before.count == 0 && after.count > 0 && hf_id_equal(&after.items[0].id, &project->id)) {
        return HF_ERR_OK;
    }
    if (before.count == 0 &&
        hf_catalog_remove(app->catalog, HF_KIND_PROJECT, id.text, 1, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_fail(err, HF_ERR_EXISTS, "there is a project named %s", project->name);
}

/* Where the caller may make a project; the first organization where none is named. False: it was answered. */
static bool take_org(struct hf_server_call *call, struct hf_id *out)
{
    const char *text = hf_json_get_text(call->body, "orgId");
    struct hf_org_record org;
    struct hf_error err;
    uint32_t rights = 0;

    *out = call->app->first_org;
    if ((text == NULL || hf_id_parse(hf_str_of(text), out)) &&
        hf_keep_org_get(call->app->catalog, out, &org, NULL, &err) == HF_ERR_OK) {
        rights = hf_grants_rights(&call->grants, NULL, out);
    }
    if (rights == 0 && text != NULL) {
        hf_reply_fail(call, HF_ERR_NOT_FOUND, "ORG_NOT_FOUND", "there is no organization %.100s",
                      text);
        return false;
    }
    if (!hf_rights_have(rights, HF_RIGHT_MAKE_PROJECT)) {
        hf_reply_fail(call, HF_ERR_UNAUTHENTICATED, "USER_UNAUTHORIZED",
                      "the key has no role that may %s", hf_right_word(HF_RIGHT_MAKE_PROJECT));
        return false;
    }
    return true;
}

void hf_api_make_group(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {
        {"name", HF_JSON_TEXT}, {"orgId", HF_JSON_TEXT}, {NULL, HF_JSON_NULL}};
    struct hf_project_record project = {.id = hf_flow_new_id(), .created_s = hf_flow_now_s()};
    const struct hf_server_key_wish wish = {
        .id = hf_flow_new_id(), .project = project.id, .desc = "made with the project"};
    char secret[HF_AGENT_KEY_BYTES];
    struct hf_error err;

    if (!hf_call_body_only(call, members) || !take_org(call, &project.org) ||
        !take_name(call, project.name, sizeof project.name)) {
        return;
    }
    if (insert_project(call->app, &project, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, err.code == HF_ERR_EXISTS ? "GROUP_ALREADY_EXISTS" : NULL);
        return;
    }
    if (hf_server_auth_make_agent_key(call->server->auth, &wish, secret, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *json = hf_api_group_document(call, &project);
    hf_json_set_text(json, "agentApiKey", secret);
    hf_wipe(secret, sizeof secret);
    hf_reply_json(call, 201, json);
}
