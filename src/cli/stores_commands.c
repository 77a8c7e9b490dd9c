/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stores of an installation, and which of them new jobs of the project are given, over the server's API.
 */
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/define.h"
#include "cli/output.h"
#include "cli/stores.h"

#define PRIVATE HF_CLI_PRIVATE

/* ---- list ---- */

static const char *joined(const struct hf_json *words, char *out, size_t out_len)
{
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; i < hf_json_count(words) && len + 1 < out_len; i++) {
        len += (size_t)snprintf(out + len, out_len - len, "%s%s", i == 0 ? "" : ", ",
                                hf_json_text(hf_json_at(words, i)));
    }
    return out[0] == '\0' ? "-" : out;
}

static void store_row(struct hf_cli_table *table, const struct hf_json *one)
{
    char jobs[24], factor[24], free_bytes[24] = "-", used[24], labels[256];

    (void)snprintf(jobs, sizeof jobs, "%llu", (unsigned long long)hf_json_get_u64(one, "jobs", 0));
    (void)snprintf(factor, sizeof factor, "%llu",
                   (unsigned long long)hf_json_get_u64(one, "loadFactor", 1));
    if (hf_json_get(one, "freeBytes") != NULL) {
        hf_cli_bytes(one, "freeBytes", free_bytes);
    }
    hf_cli_bytes(one, "usedBytes", used);
    const char *cells[] = {hf_cli_text(one, "name", ""),
                           hf_cli_text(one, "holds", ""),
                           jobs,
                           used,
                           free_bytes,
                           factor,
                           joined(hf_json_get_array(one, "labels"), labels, sizeof labels),
                           hf_json_get_bool(one, "assignmentEnabled", true) ? "yes" : "no",
                           hf_cli_text(one, "url", ""),
                           hf_cli_text(one, "away", "ready")};
    hf_cli_table_row(table, cells);
}

static const char *const titles[] = {"NAME",        "HOLDS",  "JOBS",     "USED", "FREE",
                                     "LOAD FACTOR", "LABELS", "NEW JOBS", "URL",  "STATE"};
static const struct hf_cli_listing listing = {
    .titles = titles, .columns = HF_ARRAY_LEN(titles), .row = store_row};

enum hf_err hf_cli_list_stores(const struct hf_cli_session_options *server, bool as_json,
                               struct hf_error *err)
{
    return hf_cli_list(server, PRIVATE "/stores", &listing, as_json, err);
}

/* ---- add, set, remove ---- */

static struct hf_json *words_of(const struct hf_option_list *list)
{
    struct hf_json *array = hf_json_array();

    for (size_t i = 0; i < list->count; i++) {
        hf_json_append_text(array, list->values[i]);
    }
    return array;
}

/* "none" alone: an empty list. */
static struct hf_json *words_or_none(const struct hf_option_list *list)
{
    return list->count == 1 && strcmp(list->values[0], "none") == 0 ? hf_json_array()
                                                                    : words_of(list);
}

/* What gets into a path is a name, and nothing else. */
static enum hf_err name_target(const char *name, char *out, size_t out_len, struct hf_error *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    if (name[0] == '\0' || strlen(name) > 100 || strspn(name, plain) != strlen(name)) {
        return hf_fail(err, HF_ERR_INVALID, "'%.100s' is no store's name", name);
    }
    (void)snprintf(out, out_len, PRIVATE "/stores/%s", name);
    return HF_ERR_OK;
}

#define ADD_OPTIONS(OPT)                                                                           \
    OPT(oplog, FLAG, "false", 0, 0, OPT_NONE, "It takes slices of the oplog alone, no snapshots")  \
    OPT(plain, FLAG, "false", 0, 0, OPT_NONE, "Make it without encryption")                        \
    OPT(label, LIST, "", 1, 63, OPT_NONE, "What filters of projects ask for; may be given again")  \
    OPT(load_factor, NUMBER, "1", 1, 100, OPT_NONE,                                                \
        "Share of the jobs against other stores, and works on it at a time")                       \
    OPT(assignment, FLAG, "true", 0, 0, OPT_NONE, "New jobs may be given it")                      \
    OPT(max_capacity, SIZE, "auto", 0, 0, OPT_NONE,                                                \
        "Most that it shall hold; auto: as much as its disk has")                                  \
    HF_CLI_OPTIONS(OPT)
#define ADD_ROW(...) HF_OPTION_ROW(struct add_values, __VA_ARGS__)
HF_CLI_VALUES(add, ADD_OPTIONS, ADD_ROW)

static enum hf_err store_add(const struct add_values *values, const struct hf_option_rest *rest,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;

    hf_json_set_text(body, "name", rest->arguments.values[0]);
    hf_json_set_text(body, "url", rest->arguments.values[1]);
    hf_json_set_text(body, "kind", values->oplog ? "oplog" : "snapshot");
    hf_json_set_bool(body, "plain", values->plain);
    hf_json_set_take(body, "labels", words_of(&values->label));
    hf_json_set_u64(body, "loadFactor", values->load_factor);
    hf_json_set_bool(body, "assignmentEnabled", values->assignment);
    hf_json_set_u64(body, "maxCapacityBytes", values->max_capacity);
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "POST", PRIVATE "/stores", body, &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(answer, err);
    }
    (void)printf("store %s: %s\n", hf_cli_text(answer, "name", "?"),
                 hf_cli_text(answer, "url", "?"));
    if (hf_json_get_text(answer, "keyPath") != NULL) {
        (void)printf("store key   %s  (on the server's host; copy it elsewhere and keep it safe: "
                     "without it the backups cannot be read)\n",
                     hf_cli_text(answer, "keyPath", "?"));
    }
    return HF_ERR_OK;
}

#define CHANGE_OPTIONS(OPT)                                                                        \
    OPT(label, LIST, "", 1, 63, OPT_NONE,                                                          \
        "These instead of the ones it has; may be given again; 'none': none")                      \
    OPT(load_factor, NUMBER, "auto", 1, 100, OPT_NONE,                                             \
        "Share of the jobs against other stores, and works on it at a time")                       \
    OPT(assignment, TEXT, "", 0, 3, OPT_NONE,                                                      \
        "'on': new jobs may be given it; 'off': they may not")                                     \
    OPT(max_capacity, SIZE, "auto", 0, 0, OPT_NONE, "Most that it shall hold")                     \
    OPT(unlimited, FLAG, "false", 0, 0, OPT_NONE, "It holds as much as its disk has")              \
    OPT(url, TEXT, "", 0, 4000, OPT_NONE,                                                          \
        "Where it lies now: it was moved there, with all that is in it, while the server stood")   \
    HF_CLI_OPTIONS(OPT)
#define CHANGE_ROW(...) HF_OPTION_ROW(struct change_values, __VA_ARGS__)
HF_CLI_VALUES(change, CHANGE_OPTIONS, CHANGE_ROW)

static enum hf_err store_set(const struct change_values *values, const struct hf_option_rest *rest,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;
    const char *name = rest->arguments.values[0];
    bool on = strcmp(values->assignment, "on") == 0, off = strcmp(values->assignment, "off") == 0;
    char target[200];

    if (values->assignment[0] != '\0' && !on && !off) {
        return hf_fail(err, HF_ERR_INVALID, "--assignment is 'on' or 'off'");
    }
    if (values->unlimited && values->max_capacity != 0) {
        return hf_fail(err, HF_ERR_INVALID, "--unlimited and --max-capacity: give one");
    }
    if (values->label.count > 0) {
        hf_json_set_take(body, "labels", words_or_none(&values->label));
    }
    if (values->load_factor != 0) {
        hf_json_set_u64(body, "loadFactor", values->load_factor);
    }
    if (on || off) {
        hf_json_set_bool(body, "assignmentEnabled", on);
    }
    if (values->unlimited || values->max_capacity != 0) {
        hf_json_set_u64(body, "maxCapacityBytes", values->max_capacity);
    }
    hf_json_set_text(body, "url", values->url[0] == '\0' ? NULL : values->url);
    if (hf_json_count(body) == 0) {
        return hf_fail(err, HF_ERR_INVALID, "what shall change? hint: --help lists the options");
    }
    if (name_target(name, target, sizeof target, err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "PATCH", target, body, &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(answer, err);
    }
    (void)printf("store %s: changed\n", name);
    return HF_ERR_OK;
}

#define PLAIN_ROW(...) HF_OPTION_ROW(struct plain_values, __VA_ARGS__)
HF_CLI_VALUES(plain, HF_CLI_OPTIONS, PLAIN_ROW)

static enum hf_err store_remove(const struct plain_values *values,
                                const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;
    const char *name = rest->arguments.values[0];
    char target[200];

    if (name_target(name, target, sizeof target, err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "DELETE", target, NULL, &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(answer, err);
    }
    (void)printf("store %s: forgotten; its files stay where they are\n", name);
    return HF_ERR_OK;
}

/* ---- Of a project ---- */

static enum hf_err show_assignment(const struct hf_json *answer, bool as_json, struct hf_error *err)
{
    char words[1200];

    if (as_json) {
        return hf_cli_print_json(answer, err);
    }
    (void)printf("new jobs of project %s are given\n", hf_cli_text(answer, "projectId", "?"));
    (void)printf("  labels           %s\n",
                 joined(hf_json_get_array(answer, "labels"), words, sizeof words));
    (void)printf("  snapshot stores  %s\n",
                 joined(hf_json_get_array(answer, "snapshotStores"), words, sizeof words));
    (void)printf("  oplog stores     %s\n",
                 joined(hf_json_get_array(answer, "oplogStores"), words, sizeof words));
    (void)printf("('-': any)\n");
    return HF_ERR_OK;
}

static enum hf_err assignment_show(const struct plain_values *values,
                                   const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;

    (void)rest;
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "GET", PRIVATE "/assignment", NULL, &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    return show_assignment(answer, values->json, err);
}

#define FILTER_OPTIONS(OPT)                                                                        \
    OPT(label, LIST, "", 1, 63, OPT_NONE,                                                          \
        "Only stores with this label; may be given again, they have all then; 'none': any")        \
    OPT(snapshot_store, LIST, "", 1, 63, OPT_NONE,                                                 \
        "Only this store, and those that are given beside it; 'none': any")                        \
    OPT(oplog_store, LIST, "", 1, 63, OPT_NONE, "The same for the oplog")                          \
    HF_CLI_OPTIONS(OPT)
#define FILTER_ROW(...) HF_OPTION_ROW(struct filter_values, __VA_ARGS__)
HF_CLI_VALUES(filter, FILTER_OPTIONS, FILTER_ROW)

/* The member as it is, or as the options say. */
static void set_words(struct hf_json *body, const char *name, const struct hf_option_list *given,
                      const struct hf_json *now)
{
    hf_json_set_take(body, name,
                     given->count > 0 ? words_or_none(given)
                                      : hf_json_copy(hf_json_get_array(now, name)));
}

static enum hf_err assignment_set(const struct filter_values *values,
                                  const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *now = NULL;
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;

    (void)rest;
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "GET", PRIVATE "/assignment", NULL, &now, err) != HF_ERR_OK) {
        return err->code;
    }
    set_words(body, "labels", &values->label, now);
    set_words(body, "snapshotStores", &values->snapshot_store, now);
    set_words(body, "oplogStores", &values->oplog_store, now);
    if (hf_cli_call(&session, "PUT", PRIVATE "/assignment", body, &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    return show_assignment(answer, values->json, err);
}

#define COMMANDS(VERB)                                                                             \
    VERB(store_add, add, "store", "add", "NAME URL", 2, 2, "Add a store",                          \
         "Makes a store in an empty directory of the server's host, or takes up one that this "    \
         "installation made before; new jobs may be given it from then on.")                       \
    VERB(store_set, change, "store", "set", "NAME", 1, 1, "Change a store's settings",             \
         "Changes what decides whether new jobs are given the store; jobs that have it keep it.")  \
    VERB(store_remove, plain, "store", "remove", "NAME", 1, 1, "Forget a store",                   \
         "Takes a store that nothing uses out of the list; its files stay.")                       \
    VERB(assignment_show, plain, "assignment", "show", "", 0, 0,                                   \
         "Show which stores new jobs are given",                                                   \
         "Shows which stores new jobs of the project may be given.")                               \
    VERB(assignment_set, filter, "assignment", "set", "", 0, 0,                                    \
         "Say which stores new jobs are given",                                                    \
         "Says which stores new jobs of the project may be given; jobs that are there keep "       \
         "theirs.")
HF_CLI_TABLE(hf_cli_stores_commands, COMMANDS)
