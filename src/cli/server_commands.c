/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on the server itself, over its API: its state, its agents, what happened.
 */
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/define.h"
#include "cli/output.h"
#include "net/url.h"

#define PRIVATE HF_CLI_PRIVATE
#define EVENTS_A_PAGE 500

#define PLAIN_ROW(...) HF_OPTION_ROW(struct plain_values, __VA_ARGS__)
HF_CLI_VALUES(plain, HF_CLI_OPTIONS, PLAIN_ROW)

/* ---- agent list ---- */

static void agent_rows_of(struct hf_cli_table *table, const struct hf_json *one)
{
    const struct hf_json *members = hf_json_get_array(one, "members");

    for (size_t i = 0; i < hf_json_count(members) || i == 0; i++) {
        const struct hf_json *member = hf_json_at(members, i);
        const char *cells[] = {hf_cli_text(one, "id", ""),
                               hf_cli_text(one, "host", ""),
                               hf_json_get_bool(one, "connected", false) ? "yes" : "no",
                               hf_cli_text(member, "host", "-"),
                               hf_cli_text(member, "setName", ""),
                               hf_cli_text(member, "state", ""),
                               hf_cli_text(member, "fcv", ""),
                               hf_cli_text(member, "refusal", "")};
        hf_cli_table_row(table, cells);
    }
}

static const char *const agent_list_titles[] = {"AGENT", "HOST",  "CONNECTED", "MEMBER",
                                                "SET",   "STATE", "FCV",       "PROBLEM"};
static const struct hf_cli_listing agent_list_listing = {
    .titles = agent_list_titles, .columns = HF_ARRAY_LEN(agent_list_titles), .row = agent_rows_of};

static enum hf_err agent_list(const struct plain_values *values, const struct hf_option_rest *rest,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;

    (void)rest;
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "GET", PRIVATE "/agents", NULL, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_cli_show_list(list, &agent_list_listing, values->json, err);
}

/* ---- server status ---- */

static enum hf_err server_status(const struct plain_values *values,
                                 const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *status = NULL;

    (void)rest;
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "GET", PRIVATE "/status", NULL, &status, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(status, err);
    }
    (void)printf("%s  release %s, up %llu s, project %s\n", session.url,
                 hf_cli_text(status, "release", "?"),
                 (unsigned long long)hf_json_get_u64(status, "uptimeS", 0),
                 hf_cli_text(status, "projectName", "?"));
    (void)printf("agents %llu, jobs %llu, snapshots %llu (%llu in progress)\n",
                 (unsigned long long)hf_json_get_u64(status, "agents", 0),
                 (unsigned long long)hf_json_get_u64(status, "jobs", 0),
                 (unsigned long long)hf_json_get_u64(status, "snapshots", 0),
                 (unsigned long long)hf_json_get_u64(status, "snapshotsInProgress", 0));
    const struct hf_json *stores = hf_json_get_array(status, "stores");
    for (size_t i = 0; i < hf_json_count(stores); i++) {
        const struct hf_json *store = hf_json_at(stores, i);
        char free_text[24], total_text[24];
        hf_cli_bytes(store, "freeBytes", free_text);
        hf_cli_bytes(store, "totalBytes", total_text);
        bool oplog = strcmp(hf_cli_text(store, "holds", ""), "oplog") == 0;
        (void)printf("%sstore %s  %s, %s free of %s\n", oplog ? "oplog " : "",
                     hf_cli_text(store, "url", "?"),
                     hf_json_get_bool(store, "encrypted", false) ? "encrypted" : "not encrypted",
                     free_text, total_text);
    }
    return HF_ERR_OK;
}

/* ---- event list ---- */

#define EVENT_OPTIONS(OPT)                                                                         \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Only those of this replica set")                         \
    OPT(kind, TEXT, "", 0, 100, OPT_NONE,                                                          \
        "Only those of this kind, as in OPLOG_GAP or RS_STATE_CHANGED_AUDIT")                      \
    OPT(since, TEXT, "", 0, 40, OPT_NONE,                                                          \
        "Only those from then on: 2026-11-25T03:31:17Z, or 2026-11-25")                            \
    OPT(until, TEXT, "", 0, 40, OPT_NONE, "Only those up to then")                                 \
    OPT(limit, NUMBER, "100", 1, 100000, OPT_NONE, "Show at most so many")                         \
    HF_CLI_OPTIONS(OPT)
#define EVENT_ROW(...) HF_OPTION_ROW(struct event_values, __VA_ARGS__)
HF_CLI_VALUES(event, EVENT_OPTIONS, EVENT_ROW)

/* Who it was: a key, an agent, the server; nobody for what happened. */
static const char *event_who(const struct hf_json *one)
{
    const char *user = hf_cli_text(one, "user", "");

    return user[0] != '\0'                                     ? user
           : strcmp(hf_cli_text(one, "by", ""), "SERVER") == 0 ? "server"
                                                               : "";
}

static void event_row(struct hf_cli_table *table, const struct hf_json *one)
{
    char at[32];

    hf_cli_time(hf_json_get_u64(one, "createdS", 0), at);
    const char *cells[] = {at,
                           hf_cli_text(one, "id", ""),
                           hf_cli_text(one, "type", ""),
                           event_who(one),
                           hf_cli_text(one, "setName", ""),
                           hf_cli_text(one, "outcome", ""),
                           hf_cli_text(one, "text", "")};
    hf_cli_table_row(table, cells);
}

static const char *const event_titles[] = {"AT (UTC)", "EVENT",   "KIND", "WHO",
                                           "SET",      "OUTCOME", "WHAT"};
static const struct hf_cli_listing event_listing = {
    .titles = event_titles, .columns = HF_ARRAY_LEN(event_titles), .row = event_row};

static enum hf_err event_parameter(struct hf_buf *target, bool *first, const char *name,
                                   const char *value, struct hf_error *err)
{
    return value[0] == '\0' ? HF_ERR_OK
                            : hf_url_add_parameter(target, first, name, hf_str_of(value), err);
}

static enum hf_err event_target(const struct event_values *values, uint64_t page,
                                struct hf_buf *target, struct hf_error *err)
{
    char size[24], number[24];
    bool first = true;

    (void)snprintf(
        size, sizeof size, "%llu",
        (unsigned long long)(values->limit < EVENTS_A_PAGE ? values->limit : EVENTS_A_PAGE));
    (void)snprintf(number, sizeof number, "%llu", (unsigned long long)page);
    return hf_buf_append_text(target, PRIVATE "/events", err) != HF_ERR_OK ||
                   event_parameter(target, &first, "set", values->set, err) != HF_ERR_OK ||
                   event_parameter(target, &first, "type", values->kind, err) != HF_ERR_OK ||
                   event_parameter(target, &first, "minDate", values->since, err) != HF_ERR_OK ||
                   event_parameter(target, &first, "maxDate", values->until, err) != HF_ERR_OK ||
                   event_parameter(target, &first, "itemsPerPage", size, err) != HF_ERR_OK
               ? err->code
               : event_parameter(target, &first, "pageNum", number, err);
}

/* Page after page, as many as were wanted. */
static enum hf_err event_list(const struct event_values *values, const struct hf_option_rest *rest,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *all = hf_json_object();
    struct hf_json *results = hf_json_array();
    size_t count = 0, got = EVENTS_A_PAGE;

    (void)rest;
    hf_json_set_take(all, "results", results);
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK) {
        return err->code;
    }
    for (uint64_t page = 1; got == EVENTS_A_PAGE && count < values->limit; page++) {
        HF_CLEANUP(hf_buf_fini) struct hf_buf target = HF_BUF_INIT(4096);
        HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;
        if (event_target(values, page, &target, err) != HF_ERR_OK ||
            hf_cli_call(&session, "GET", hf_buf_text(&target), NULL, &list, err) != HF_ERR_OK) {
            return err->code;
        }
        const struct hf_json *found = hf_json_get_array(list, "results");
        got = hf_json_count(found);
        for (size_t i = 0; i < got && count < values->limit; i++, count++) {
            hf_json_append_take(results, hf_json_hold(hf_json_at(found, i)));
        }
        hf_json_set_u64(all, "totalCount", hf_json_get_u64(list, "totalCount", 0));
    }
    return hf_cli_show_list(all, &event_listing, values->json, err);
}

static enum hf_err event_show(const struct plain_values *values, const struct hf_option_rest *rest,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *event = NULL;
    const struct hf_cli_one one = {
        .server = HF_CLI_SERVER(values), .method = "GET", .noun = "event", .tail = "", .given = ""};
    const char *id;
    char at[32];

    if (hf_cli_call_one(&one, rest, &id, &event, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(event, err);
    }
    hf_cli_time(hf_json_get_u64(event, "createdS", 0), at);
    (void)printf("%s  %s\n%s\n", at, hf_cli_text(event, "type", ""),
                 hf_cli_text(event, "text", ""));
    (void)printf("who      %s\nfrom     %s\nset      %s\ntarget   %s\noutcome  %s\n",
                 event_who(event), hf_cli_text(event, "address", ""),
                 hf_cli_text(event, "setName", ""), hf_cli_text(event, "targetId", ""),
                 hf_cli_text(event, "outcome", ""));
    return HF_ERR_OK;
}

/* ---- The table ---- */

#define COMMANDS(VERB)                                                                             \
    VERB(server_status, plain, "server", "status", "", 0, 0, "Show the server's state",            \
         "Shows the server's state.")                                                              \
    VERB(agent_list, plain, "agent", "list", "", 0, 0, "List agents and the members they serve",   \
         "Lists the agents and the members that they serve.")                                      \
    VERB(event_list, event, "event", "list", "", 0, 0, "List what happened and who changed what",  \
         "Lists what happened that somebody should know of, and what was changed by whom, newest " \
         "first.")                                                                                 \
    VERB(event_show, plain, "event", "show", "EVENT", 1, 1, "Show one event", "Shows one event.")
HF_CLI_TABLE(hf_cli_server_commands, COMMANDS)
