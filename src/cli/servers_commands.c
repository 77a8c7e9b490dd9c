/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on the server processes of an installation: which there are, what each does, and taking one out of service.
 */
#include <stdio.h>
#include <string.h>

#include "base/thread.h"
#include "cli/api.h"
#include "cli/define.h"
#include "cli/output.h"
#include "net/url.h"

#define PRIVATE HF_CLI_PRIVATE
#define LOOK_EVERY_MS 500

#define PLAIN_ROW(...) HF_OPTION_ROW(struct plain_values, __VA_ARGS__)
HF_CLI_VALUES(plain, HF_CLI_OPTIONS, PLAIN_ROW)

static enum hf_err name_target(const char *name, char *out, size_t out_len, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(1024);

    if (hf_url_encode(&text, hf_str_of(name), err) != HF_ERR_OK) {
        return err->code;
    }
    (void)snprintf(out, out_len, PRIVATE "/servers/%.*s", (int)text.len, (const char *)text.data);
    return HF_ERR_OK;
}

/* ---- list ---- */

static const struct {
    const char *option, *member;
} switches[] = {{"backup", "backupJobsEnabled"},
                {"groom", "garbageCollectionEnabled"},
                {"usage", "resourceUsageEnabled"},
                {"restore", "restoreJobsEnabled"},
                {"assignment", "assignmentEnabled"}};

static void rows_of(struct hf_cli_table *table, const struct hf_json *one)
{
    char jobs[24], silent[24], off[128] = "";

    for (size_t i = 0; i < HF_ARRAY_LEN(switches); i++) {
        if (!hf_json_get_bool(one, switches[i].member, true)) {
            size_t used = strlen(off);
            (void)snprintf(off + used, sizeof off - used, "%s%s", used == 0 ? "" : ",",
                           switches[i].option);
        }
    }
    (void)snprintf(jobs, sizeof jobs, "%llu", (unsigned long long)hf_json_get_u64(one, "jobs", 0));
    (void)snprintf(silent, sizeof silent, "%llu s",
                   (unsigned long long)hf_json_get_u64(one, "silentS", 0));
    const char *cells[] = {hf_cli_text(one, "name", ""),
                           hf_cli_text(one, "state", ""),
                           hf_cli_text(one, "url", ""),
                           hf_cli_text(one, "release", ""),
                           jobs,
                           silent,
                           off[0] == '\0' ? "-" : off};
    hf_cli_table_row(table, cells);
}

static const char *const titles[] = {"SERVER", "STATE",  "ADDRESS", "RELEASE",
                                     "JOBS",   "SILENT", "OFF"};
static const struct hf_cli_listing listing = {
    .titles = titles, .columns = HF_ARRAY_LEN(titles), .row = rows_of};

static enum hf_err server_list(const struct plain_values *values, const struct hf_option_rest *rest,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;

    (void)rest;
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "GET", PRIVATE "/servers?itemsPerPage=500", NULL, &list, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    return hf_cli_show_list(list, &listing, values->json, err);
}

/* *out: the server's document, borrowed from the list. */
static enum hf_err find_server(struct hf_cli_session *session, const char *name,
                               struct hf_json **list, const struct hf_json **out,
                               struct hf_error *err)
{
    *out = NULL;
    if (hf_cli_call(session, "GET", PRIVATE "/servers?itemsPerPage=500", NULL, list, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    const struct hf_json *results = hf_json_get_array(*list, "results");
    for (size_t i = 0; i < hf_json_count(results) && *out == NULL; i++) {
        const struct hf_json *one = hf_json_at(results, i);
        *out = strcmp(hf_cli_text(one, "name", ""), name) == 0 ? one : NULL;
    }
    return *out != NULL ? HF_ERR_OK
                        : hf_fail(err, HF_ERR_NOT_FOUND,
                                  "there is no server %s; hint: holdfast server list", name);
}

static enum hf_err show(const struct hf_json *one, bool as_json, struct hf_error *err)
{
    if (as_json) {
        return hf_cli_print_json(one, err);
    }
    (void)printf(
        "server   %s  %s\naddress  %s\nhost     %s, process %llu\nrelease  %s\njobs     "
        "%llu\nworkers  %llu\nfactor   %llu\n",
        hf_cli_text(one, "name", ""), hf_cli_text(one, "state", ""), hf_cli_text(one, "url", ""),
        hf_cli_text(one, "machine", ""), (unsigned long long)hf_json_get_u64(one, "pid", 0),
        hf_cli_text(one, "release", ""), (unsigned long long)hf_json_get_u64(one, "jobs", 0),
        (unsigned long long)hf_json_get_u64(one, "numWorkers", 0),
        (unsigned long long)hf_json_get_u64(one, "loadFactor", 1));
    for (size_t i = 0; i < HF_ARRAY_LEN(switches); i++) {
        (void)printf("%-10s %s\n", switches[i].option,
                     hf_json_get_bool(one, switches[i].member, true) ? "on" : "off");
    }
    return HF_ERR_OK;
}

static enum hf_err server_show(const struct plain_values *values, const struct hf_option_rest *rest,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;
    const struct hf_json *one = NULL;

    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        find_server(&session, rest->arguments.values[0], &list, &one, err) != HF_ERR_OK) {
        return err->code;
    }
    return show(one, values->json, err);
}

/* ---- set ---- */

#define SET_OPTIONS(OPT)                                                                           \
    OPT(backup, TEXT, "", 0, 3, OPT_NONE, "'on' or 'off': it begins snapshots of its jobs")        \
    OPT(groom, TEXT, "", 0, 3, OPT_NONE,                                                           \
        "'on' or 'off': it grooms, checks, and deletes what is expired")                           \
    OPT(usage, TEXT, "", 0, 3, OPT_NONE, "'on' or 'off': it counts living and dead bytes")         \
    OPT(restore, TEXT, "", 0, 3, OPT_NONE, "'on' or 'off': restores may be begun at it")           \
    OPT(assignment, TEXT, "", 0, 3, OPT_NONE, "'on' or 'off': new jobs may be given it")           \
    OPT(workers, NUMBER, "auto", 1, 1000, OPT_NONE,                                                \
        "So many snapshots of its jobs are taken at a time by themselves")                         \
    OPT(load_factor, NUMBER, "auto", 1, 100, OPT_NONE, "Share of the jobs against other servers")  \
    OPT(label, LIST, "", 1, 63, OPT_NONE,                                                          \
        "These instead of the ones it has; may be given again; 'none': none")                      \
    HF_CLI_OPTIONS(OPT)
#define SET_ROW(...) HF_OPTION_ROW(struct set_values, __VA_ARGS__)
HF_CLI_VALUES(set, SET_OPTIONS, SET_ROW)

static enum hf_err add_switches(const struct set_values *values, struct hf_json *body,
                                struct hf_error *err)
{
    const char *const texts[] = {values->backup, values->groom, values->usage, values->restore,
                                 values->assignment};

    for (size_t i = 0; i < HF_ARRAY_LEN(switches); i++) {
        bool on = strcmp(texts[i], "on") == 0;
        if (texts[i][0] == '\0') {
            continue;
        }
        if (!on && strcmp(texts[i], "off") != 0) {
            return hf_fail(err, HF_ERR_INVALID, "--%s is 'on' or 'off'", switches[i].option);
        }
        hf_json_set_bool(body, switches[i].member, on);
    }
    return HF_ERR_OK;
}

static void add_numbers(const struct set_values *values, struct hf_json *body)
{
    if (values->workers != 0) {
        hf_json_set_u64(body, "numWorkers", values->workers);
    }
    if (values->load_factor != 0) {
        hf_json_set_u64(body, "loadFactor", values->load_factor);
    }
    if (values->label.count > 0) {
        struct hf_json *labels = hf_json_array();
        for (size_t i = 0; i < values->label.count; i++) {
            if (strcmp(values->label.values[i], "none") != 0) {
                hf_json_append_text(labels, values->label.values[i]);
            }
        }
        hf_json_set_take(body, "labels", labels);
    }
}

static enum hf_err server_set(const struct set_values *values, const struct hf_option_rest *rest,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;
    char target[600];

    if (add_switches(values, body, err) != HF_ERR_OK) {
        return err->code;
    }
    add_numbers(values, body);
    if (hf_json_count(body) == 0) {
        return hf_fail(err, HF_ERR_INVALID, "what shall change? hint: --help lists the options");
    }
    if (name_target(rest->arguments.values[0], target, sizeof target, err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "PATCH", target, body, &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    return show(answer, values->json, err);
}

/* ---- drain, undrain, remove ---- */

static enum hf_err ask_drain(struct hf_cli_session *session, const char *name, bool drain,
                             struct hf_json **answer, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    char target[600];

    hf_json_set_bool(body, "draining", drain);
    if (name_target(name, target, sizeof target, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_cli_call(session, "PATCH", target, body, answer, err);
}

#define DRAIN_OPTIONS(OPT)                                                                         \
    OPT(no_wait, FLAG, "false", 0, 0, OPT_NONE, "Do not wait until it has nothing left to do")     \
    HF_CLI_OPTIONS(OPT)
#define DRAIN_ROW(...) HF_OPTION_ROW(struct drain_values, __VA_ARGS__)
HF_CLI_VALUES(drain, DRAIN_OPTIONS, DRAIN_ROW)

static enum hf_err server_drain(const struct drain_values *values,
                                const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;
    const char *name = rest->arguments.values[0];

    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        ask_drain(&session, name, true, &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    while (!values->no_wait) {
        HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;
        const struct hf_json *one = NULL;
        if (find_server(&session, name, &list, &one, err) != HF_ERR_OK) {
            return err->code;
        }
        const char *state = hf_cli_text(one, "state", "");
        if (strcmp(state, "DRAINING") != 0 && strcmp(state, "RUNNING") != 0) {
            if (values->json) {
                return hf_cli_print_json(one, err);
            }
            (void)printf("server %s: %s\n", name,
                         strcmp(state, "DRAINED") == 0 ? "drained, it can be stopped" : state);
            return HF_ERR_OK;
        }
        hf_cancel_sleep(NULL, LOOK_EVERY_MS);
    }
    return values->json ? hf_cli_print_json(answer, err) : HF_ERR_OK;
}

static enum hf_err server_undrain(const struct plain_values *values,
                                  const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;

    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        ask_drain(&session, rest->arguments.values[0], false, &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    return show(answer, values->json, err);
}

static enum hf_err server_remove(const struct plain_values *values,
                                 const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;
    const char *name = rest->arguments.values[0];
    char target[600];

    if (name_target(name, target, sizeof target, err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "DELETE", target, NULL, &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(answer, err);
    }
    (void)printf("server %s: forgotten\n", name);
    return HF_ERR_OK;
}

/* ---- The table ---- */

#define COMMANDS(VERB)                                                                             \
    VERB(server_list, plain, "server", "list", "", 0, 0, "List the servers of the installation",   \
         "Lists the server processes that share the catalog: whether each lives, its jobs, what "  \
         "is switched off.")                                                                       \
    VERB(server_show, plain, "server", "show", "NAME", 1, 1, "Show one server",                    \
         "Shows one server and its switches.")                                                     \
    VERB(server_set, set, "server", "set", "NAME", 1, 1, "Switch what a server does",              \
         "Switches kinds of work of a server on or off, and changes its share.")                   \
    VERB(server_drain, drain, "server", "drain", "NAME", 1, 1, "Take a server out of service",     \
         "Gives a server no new work and its jobs to others, and waits until it has nothing left " \
         "to do.")                                                                                 \
    VERB(server_undrain, plain, "server", "undrain", "NAME", 1, 1, "Take a server into service",   \
         "Ends a drain.")                                                                          \
    VERB(server_remove, plain, "server", "remove", "NAME", 1, 1, "Forget a dead server",           \
         "Forgets a server that has ended or died.")
HF_CLI_TABLE(hf_cli_servers_commands, COMMANDS)
