/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First which project, then whether the caller is in it at all, then whether it may do that there.
 */
#include "server/door.h"

#include "server/flow.h"
#include "server/keep.h"
#include "server/server_internal.h"

#define GROUP "/api/public/v1.0/groups/*"

static bool has_group(const struct hf_route *route)
{
    size_t len = sizeof GROUP - 1;

    return strncmp(route->path, GROUP, len) == 0 &&
           (route->path[len] == '\0' || route->path[len] == '/');
}

/* What is done in it; 0: it is not there, or the caller is nobody there. */
static enum hf_err rights_in(struct hf_server_app *app, const struct hf_grants *grants,
                             const struct hf_id *project, uint32_t *rights, struct hf_error *err)
{
    struct hf_project_record record;

    *rights = 0;
    enum hf_err code = hf_keep_project_get(app->catalog, project, &record, NULL, err);
    if (code == HF_ERR_OK) {
        const struct hf_id org = hf_flow_org_of(app, &record);
        *rights = hf_grants_rights(grants, project, &org);
    }
    return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
}

static enum hf_err find_named(struct hf_server_app *app, const char *named, struct hf_id *out,
                              struct hf_error *err)
{
    const struct hf_catalog_query query = {.index = "name", .equals_text = named, .limit = 1};
    HF_CLEANUP(hf_keep_projects_fini) struct hf_keep_projects found = {0};

    *out = (struct hf_id){{0}};
    if (hf_id_parse(hf_str_of(named), out)) {
        return HF_ERR_OK;
    }
    if (hf_keep_project_find(app->catalog, &query, &found, err) != HF_ERR_OK) {
        return err->code;
    }
    if (found.count > 0) {
        *out = found.items[0].id;
    }
    return HF_ERR_OK;
}

/* Nothing said: the key's own, or the one that its roles are for. */
static struct hf_id usual_of(const struct hf_door_call *call)
{
    struct hf_id only = call->usual;

    for (size_t i = 0; hf_id_is_none(&call->usual) && i < call->grants->count; i++) {
        const struct hf_grant *grant = &call->grants->items[i];
        if (grant->role->level != HF_ROLE_PROJECT) {
            continue;
        }
        if (!hf_id_is_none(&only) && !hf_id_equal(&only, &grant->target)) {
            return (struct hf_id){{0}};
        }
        only = grant->target;
    }
    return only;
}

static enum hf_err find_project(struct hf_server_app *app, const struct hf_door_call *call,
                                struct hf_door_answer *out, struct hf_error *err)
{
    if (has_group(call->route)) {
        if (!hf_id_parse(hf_str_of(call->parameters[0]), &out->project) ||
            hf_id_is_none(&out->project)) {
            out->public_code = "INVALID_GROUP_ID";
            return hf_fail(err, HF_ERR_NOT_FOUND,
                           "'%.100s' is not an id: 24 hexadecimal digits are", call->parameters[0]);
        }
        if (rights_in(app, call->grants, &out->project, &out->rights, err) != HF_ERR_OK) {
            return err->code;
        }
        out->public_code = "NOT_IN_GROUP";
        return out->rights == 0 ? hf_fail(err, HF_ERR_UNAUTHENTICATED,
                                          "the key is not in group %.100s", call->parameters[0])
                                : HF_ERR_OK;
    }
    out->project = usual_of(call);
    if (call->named != NULL) {
        if (find_named(app, call->named, &out->project, err) != HF_ERR_OK) {
            return err->code;
        }
    } else if (hf_id_is_none(&out->project)) {
        out->public_code = "MISSING_QUERY_PARAMETER";
        return hf_fail(err, HF_ERR_INVALID,
                       "the key is for several projects, and query parameter project says none");
    }
    if (rights_in(app, call->grants, &out->project, &out->rights, err) != HF_ERR_OK) {
        return err->code;
    }
    out->public_code = "GROUP_NOT_FOUND";
    return out->rights == 0
               ? hf_fail(err, HF_ERR_NOT_FOUND, "there is no project %.200s",
                         call->named != NULL ? call->named : hf_id_text(&out->project).text)
               : HF_ERR_OK;
}

/* Of the path. What is not there, and where the caller is nobody, is one answer. */
static enum hf_err find_org(struct hf_server_app *app, const struct hf_door_call *call,
                            struct hf_door_answer *out, struct hf_error *err)
{
    struct hf_org_record record;

    out->public_code = "ORG_NOT_FOUND";
    out->rights = 0;
    if (hf_id_parse(hf_str_of(call->parameters[0]), &out->org)) {
        enum hf_err code = hf_keep_org_get(app->catalog, &out->org, &record, NULL, err);
        if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND) {
            out->public_code = NULL;
            return code;
        }
        out->rights = code == HF_ERR_OK ? hf_grants_rights(call->grants, NULL, &out->org) : 0;
    }
    return out->rights == 0 ? hf_fail(err, HF_ERR_NOT_FOUND, "there is no organization %.100s",
                                      call->parameters[0])
                            : HF_ERR_OK;
}

enum hf_err hf_door_open(struct hf_server_app *app, const struct hf_door_call *call,
                         struct hf_door_answer *out, struct hf_error *err)
{
    enum hf_right right = call->route->right;

    *out = (struct hf_door_answer){.project = call->usual};
    if (right == HF_RIGHT_OPEN) {
        return HF_ERR_OK;
    }
    if (hf_right_is_of_project(right)) {
        if (find_project(app, call, out, err) != HF_ERR_OK) {
            return err->code;
        }
    } else if (hf_right_is_of_org(right)) {
        out->project = usual_of(call);
        if (find_org(app, call, out, err) != HF_ERR_OK) {
            return err->code;
        }
    } else {
        out->project = usual_of(call);
        out->rights = hf_grants_rights(call->grants, NULL, NULL);
    }
    out->public_code = "USER_UNAUTHORIZED";
    if (right != HF_RIGHT_CALLER && !hf_rights_have(out->rights, right)) {
        return hf_fail(err, HF_ERR_UNAUTHENTICATED,
                       "the key has no role that may %s; hint: see docs/user/roles.md",
                       hf_right_word(right));
    }
    out->public_code = NULL;
    return HF_ERR_OK;
}
