/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands about projects and keys, over the server's public API. A secret is printed once, by the command that made it.
 */
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/define.h"
#include "cli/output.h"
#include "os/clock.h"

#define PUBLIC "/api/public/v1.0"

#define PLAIN_OPTIONS(OPT) HF_CLI_OPTIONS(OPT)
#define PLAIN_ROW(...) HF_OPTION_ROW(struct plain_values, __VA_ARGS__)
HF_CLI_VALUES(plain, PLAIN_OPTIONS, PLAIN_ROW)

#define PROJECT_OPTIONS(OPT)                                                                       \
    OPT(organization, TEXT, "", 0, 24, OPT_NONE, "Id of its organization; else the first one")     \
    HF_CLI_OPTIONS(OPT)
#define PROJECT_ROW(...) HF_OPTION_ROW(struct project_values, __VA_ARGS__)
HF_CLI_VALUES(project, PROJECT_OPTIONS, PROJECT_ROW)

#define KEYS_OPTIONS(OPT)                                                                          \
    OPT(agents, FLAG, "false", 0, 0, OPT_NONE, "Keys of agents; else of programs and people")      \
    OPT(global, FLAG, "false", 0, 0, OPT_NONE, "Keys for all projects; else of the project")       \
    HF_CLI_OPTIONS(OPT)
#define KEYS_ROW(...) HF_OPTION_ROW(struct keys_values, __VA_ARGS__)
HF_CLI_VALUES(keys, KEYS_OPTIONS, KEYS_ROW)

#define MAKE_OPTIONS(OPT)                                                                          \
    OPT(role, LIST, "", 0, 64, OPT_NONE, "A role that the key has, as in GROUP_READ_ONLY")         \
    OPT(desc, TEXT, "", 0, 250, OPT_NONE, "What the key is for")                                   \
    KEYS_OPTIONS(OPT)
#define MAKE_ROW(...) HF_OPTION_ROW(struct make_values, __VA_ARGS__)
HF_CLI_VALUES(make, MAKE_OPTIONS, MAKE_ROW)

/* ---- Organizations and projects ---- */

static void org_row(struct hf_cli_table *table, const struct hf_json *one)
{
    const char *cells[] = {hf_cli_text(one, "id", ""), hf_cli_text(one, "name", "")};

    hf_cli_table_row(table, cells);
}

static enum hf_err org_list(const struct plain_values *values, const struct hf_option_rest *rest,
                            struct hf_error *err)
{
    static const char *const titles[] = {"ORGANIZATION", "NAME"};
    static const struct hf_cli_listing listing = {
        .titles = titles, .columns = HF_ARRAY_LEN(titles), .row = org_row};

    (void)rest;
    return hf_cli_list(&HF_CLI_SERVER(values), PUBLIC "/orgs", &listing, values->json, err);
}

static enum hf_err org_create(const struct plain_values *values, const struct hf_option_rest *rest,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *made = NULL;

    hf_json_set_text(body, "name", rest->arguments.values[0]);
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "POST", PUBLIC "/orgs", body, &made, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(made, err);
    }
    printf("organization  %s\n", hf_cli_text(made, "id", ""));
    return HF_ERR_OK;
}

static void project_row(struct hf_cli_table *table, const struct hf_json *one)
{
    const char *cells[] = {hf_cli_text(one, "id", ""), hf_cli_text(one, "name", ""),
                           hf_cli_text(one, "orgId", "")};

    hf_cli_table_row(table, cells);
}

static enum hf_err project_list(const struct plain_values *values,
                                const struct hf_option_rest *rest, struct hf_error *err)
{
    static const char *const titles[] = {"PROJECT", "NAME", "ORGANIZATION"};
    static const struct hf_cli_listing listing = {
        .titles = titles, .columns = HF_ARRAY_LEN(titles), .row = project_row};

    (void)rest;
    return hf_cli_list(&HF_CLI_SERVER(values), PUBLIC "/groups", &listing, values->json, err);
}

static enum hf_err project_create(const struct project_values *values,
                                  const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *made = NULL;

    hf_json_set_text(body, "name", rest->arguments.values[0]);
    if (values->organization[0] != '\0') {
        hf_json_set_text(body, "orgId", values->organization);
    }
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "POST", PUBLIC "/groups", body, &made, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(made, err);
    }
    printf("project    %s\nagent key  %s\nThe key is not shown again: put it into a file of mode "
           "0600 on each of the project's hosts (holdfast agent --key-file FILE).\n",
           hf_cli_text(made, "id", ""), hf_cli_text(made, "agentApiKey", ""));
    return HF_ERR_OK;
}

/* ---- Keys ---- */

struct which {
    bool agents, global;
};

static enum hf_err keys_path(struct hf_cli_session *session, struct which which, const char *id,
                             char *out, size_t out_len, struct hf_error *err)
{
    const char *slash = id[0] == '\0' ? "" : "/";

    if (which.agents && which.global) {
        return hf_fail(err, HF_ERR_INVALID,
                       "--agents and --global exclude each other: an agent is of one project");
    }
    if (id[0] != '\0' && (strlen(id) != 24 || strspn(id, "0123456789abcdefABCDEF") != 24)) {
        return hf_fail(err, HF_ERR_INVALID, "'%s' is not an id: 24 hexadecimal digits are", id);
    }
    if (which.global) {
        (void)snprintf(out, out_len, PUBLIC "/admin/apiKeys%s%s", slash, id);
        return HF_ERR_OK;
    }
    if (hf_cli_find_project(session, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)snprintf(out, out_len, PUBLIC "/groups/%s/%s%s%s", session->project,
                   which.agents ? "agentapikeys" : "apiKeys", slash, id);
    return HF_ERR_OK;
}

static void key_row(struct hf_cli_table *table, const struct hf_json *one)
{
    const struct hf_json *roles = hf_json_get_array(one, "roles");
    char names[512] = "";

    for (size_t i = 0; i < hf_json_count(roles); i++) {
        size_t len = strlen(names);
        (void)snprintf(names + len, sizeof names - len, "%s%s", len == 0 ? "" : " ",
                       hf_cli_text(hf_json_at(roles, i), "roleName", ""));
    }
    const char *cells[] = {hf_cli_text(one, "id", ""), hf_cli_text(one, "publicKey", ""), names,
                           hf_cli_text(one, "desc", "")};
    hf_cli_table_row(table, cells);
}

static void agent_key_row(struct hf_cli_table *table, const struct hf_json *one)
{
    char made[32];

    hf_cli_time(hf_json_get_u64(one, "createdTime", 0) / 1000, made);
    const char *cells[] = {hf_cli_text(one, "_id", ""), hf_cli_text(one, "key", ""), made,
                           hf_cli_text(one, "desc", "")};
    hf_cli_table_row(table, cells);
}

static enum hf_err apikey_list(const struct keys_values *values, const struct hf_option_rest *rest,
                               struct hf_error *err)
{
    static const char *const titles[] = {"KEY", "PUBLIC", "ROLES", "FOR"};
    static const char *const agent_titles[] = {"KEY", "ENDS IN", "MADE", "FOR"};
    const struct hf_cli_listing listing = {.titles = values->agents ? agent_titles : titles,
                                           .columns = HF_ARRAY_LEN(titles),
                                           .row = values->agents ? agent_key_row : key_row};
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *found = NULL;
    char path[200];

    (void)rest;
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        keys_path(&session, (struct which){values->agents, values->global}, "", path, sizeof path,
                  err) != HF_ERR_OK) {
        return err->code;
    }
    if (!values->agents) {
        return hf_cli_all_pages(&session, path, &found, err) != HF_ERR_OK
                   ? err->code
                   : hf_cli_show_list(found, &listing, values->json, err);
    }
    /* A bare array, as the API has it. */
    HF_CLEANUP(hf_json_drop) struct hf_json *list = hf_json_object();
    if (hf_cli_call(&session, "GET", path, NULL, &found, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_json_set_take(list, "results", hf_json_hold(found));
    return hf_cli_show_list(list, &listing, values->json, err);
}

static enum hf_err apikey_create(const struct make_values *values,
                                 const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *made = NULL;
    char path[200];

    (void)rest;
    if (values->agents != (values->role.count == 0)) {
        return hf_fail(err, HF_ERR_INVALID,
                       values->agents ? "a key of agents has no --role"
                                      : "a key without a role is of no use; hint: --role "
                                        "GROUP_READ_ONLY, or see docs/user/roles.md");
    }
    hf_json_set_text(body, "desc", values->desc);
    if (!values->agents) {
        struct hf_json *roles = hf_json_array();
        for (size_t i = 0; i < values->role.count; i++) {
            hf_json_append_text(roles, values->role.values[i]);
        }
        hf_json_set_take(body, "roles", roles);
    }
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        keys_path(&session, (struct which){values->agents, values->global}, "", path, sizeof path,
                  err) != HF_ERR_OK ||
        hf_cli_call(&session, "POST", path, body, &made, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(made, err);
    }
    if (values->agents) {
        printf("key        %s\nagent key  %s\n", hf_cli_text(made, "_id", ""),
               hf_cli_text(made, "key", ""));
    } else {
        /* The last three lines are a profile. */
        printf("# key %s; not shown again: keep these lines in a file of mode 0600 (--profile "
               "FILE)\nserver = %s\npublic_key = %s\nprivate_key = %s\n",
               hf_cli_text(made, "id", ""), session.url, hf_cli_text(made, "publicKey", ""),
               hf_cli_text(made, "privateKey", ""));
    }
    return HF_ERR_OK;
}

static enum hf_err apikey_remove(const struct keys_values *values,
                                 const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;
    char path[200];

    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        keys_path(&session, (struct which){values->agents, values->global},
                  rest->arguments.values[0], path, sizeof path, err) != HF_ERR_OK ||
        hf_cli_call(&session, "DELETE", path, NULL, &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(answer, err);
    }
    printf("removed: it is refused from the next request on\n");
    return HF_ERR_OK;
}

#define COMMANDS(VERB)                                                                             \
    VERB(org_list, plain, "org", "list", "", 0, 0, "List the organizations that the key sees",     \
         "Lists the organizations that the API key has a role in.")                                \
    VERB(org_create, plain, "org", "create", "NAME", 1, 1, "Make an organization",                 \
         "Makes an organization: projects may be made in it.")                                     \
    VERB(project_list, plain, "project", "list", "", 0, 0, "List the projects that the key sees",  \
         "Lists the projects that the API key has a role in.")                                     \
    VERB(project_create, project, "project", "create", "NAME", 1, 1,                               \
         "Make a project, and a key for its agents",                                               \
         "Makes a project and a key for its agents. The key is shown once.")                       \
    VERB(apikey_list, keys, "apikey", "list", "", 0, 0, "List keys and their roles",               \
         "Lists the API keys of a project, of all projects, or the keys of a project's agents.")   \
    VERB(apikey_create, make, "apikey", "create", "", 0, 0, "Make a key",                          \
         "Makes an API key with roles, or a key for agents, and shows its secret once. What is "   \
         "printed of an API key is a profile.")                                                    \
    VERB(apikey_remove, keys, "apikey", "remove", "KEY", 1, 1, "Remove a key",                     \
         "Removes a key: it is refused from the next request on, in the middle of an agent's "     \
         "work too.")
HF_CLI_TABLE(hf_cli_people_commands, COMMANDS)
