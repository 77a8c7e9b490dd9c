/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at a stored oplog, over the server's API or straight in its store: which operations there are, and what a
 * restore to an earlier point would undo. Both ways make the same document. What documents hold is not shown.
 */
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/define.h"
#include "cli/oplog_store.h"
#include "cli/output.h"
#include "cli/point.h"
#include "net/url.h"
#include "oplog/find.h"

#define BETWEEN_OPTIONS(OPT)                                                                       \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Name of the replica set")                                \
    OPT(from, TEXT, "", 0, 64, OPT_NONE,                                                           \
        "Only what came at this time or later: 2026-11-30T14:03:07Z, or after that entry: "        \
        "SECONDS.INCREMENT")                                                                       \
    OPT(to, TEXT, "", 0, 64, OPT_NONE,                                                             \
        "Only what came before this time, or up to and including that entry")                      \
    OPT(ns, TEXT, "", 0, 255, OPT_NONE, "Only of this collection, or of this database")
#define STORE_OPTIONS(OPT)                                                                         \
    OPT(store, TEXT, "", 0, 4096, OPT_NONE, "URL of the store: looks there, and asks no server")   \
    OPT(key_file, PATH, "", 0, 4096, OPT_NONE, "The store's key file, with --store")               \
    OPT(oplog_store, TEXT, "", 0, 4096, OPT_NONE,                                                  \
        "URL of the store that has the oplog, where it is another one; with --store")              \
    OPT(job, TEXT, "", 0, 100, OPT_NONE, "Id of the job, where the store has several")
#define FIND_OPTIONS(OPT)                                                                          \
    BETWEEN_OPTIONS(OPT)                                                                           \
    OPT(kind, TEXT, "", 0, 20, OPT_NONE,                                                           \
        "Only this kind: insert, update, delete, command, noop, other; all but noop otherwise")    \
    OPT(id, TEXT, "", 0, 127, OPT_NONE,                                                            \
        "Only of the document with this _id: a number, a text, an object id or a UUID in hex")     \
    OPT(per_minute, FLAG, "false", 0, 0, OPT_NONE, "Show how many there were in each minute")      \
    OPT(limit, NUMBER, "100", 1, HF_OPLOG_FOUND_MAX, OPT_NONE, "Show at most so many")             \
    STORE_OPTIONS(OPT)                                                                             \
    HF_CLI_OPTIONS(OPT)
#define DIFF_OPTIONS(OPT)                                                                          \
    BETWEEN_OPTIONS(OPT)                                                                           \
    STORE_OPTIONS(OPT)                                                                             \
    HF_CLI_OPTIONS(OPT)
#define FIND_ROW(...) HF_OPTION_ROW(struct oplog_find_values, __VA_ARGS__)
HF_CLI_VALUES(oplog_find, FIND_OPTIONS, FIND_ROW)
#define DIFF_ROW(...) HF_OPTION_ROW(struct oplog_diff_values, __VA_ARGS__)
HF_CLI_VALUES(oplog_diff, DIFF_OPTIONS, DIFF_ROW)

/* What is looked for, and where. */
struct look {
    const char *set;               /* NULL: none was named */
    struct hf_cli_oplog_wish wish; /* url "": over the API */
    struct hf_cli_session_options session;
    const char *from, *to, *ns; /* as they were given; "": not */
    const char *kind, *id;
    bool diff, per_minute;
    uint64_t limit;
    struct hf_optime after, until; /* out of from and to */
};
#define LOOK_OF(values)                                                                            \
    {                                                                                              \
        .set = (values)->set[0] == '\0' ? NULL : (values)->set,                                    \
        .wish = {.url = (values)->store,                                                           \
                 .oplog_url = (values)->oplog_store,                                               \
                 .key_file = (values)->key_file,                                                   \
                 .job = (values)->job},                                                            \
        .session = {.profile = (values)->profile,                                                  \
                    .server = (values)->server,                                                    \
                    .ca_file = (values)->ca_file,                                                  \
                    .project = (values)->project},                                                 \
        .from = (values)->from, .to = (values)->to, .ns = (values)->ns,                            \
    }

/* The greatest timestamp that a restore to it keeps: of a time the last one of the second before. */
static enum hf_err limit_of(const char *text, struct hf_optime *out, struct hf_error *err)
{
    bool date = strchr(text, '-') != NULL;
    struct hf_target point;
    bool wanted = false;

    *out = (struct hf_optime){.term = -1};
    if (hf_cli_target(date ? text : "", date ? "" : text, &wanted, &point, err) != HF_ERR_OK) {
        return err->code;
    }
    if (wanted) {
        *out = hf_target_limit(&point);
    }
    return HF_ERR_OK;
}

/* ---- Over the API ---- */

static enum hf_err add_instant(struct hf_buf *target, bool *first, const char *key,
                               const struct hf_optime *limit, struct hf_error *err)
{
    char value[64];

    if (hf_optime_is_none(limit)) {
        return HF_ERR_OK;
    }
    (void)snprintf(value, sizeof value, "%lu.%lu", (unsigned long)limit->seconds,
                   (unsigned long)limit->increment);
    return hf_url_add_parameter(target, first, key, hf_str_of(value), err);
}

static enum hf_err add_text(struct hf_buf *target, bool *first, const char *key, const char *text,
                            struct hf_error *err)
{
    return text[0] == '\0' ? HF_ERR_OK
                           : hf_url_add_parameter(target, first, key, hf_str_of(text), err);
}

/* "/api/private/v1.0/jobs/ID/oplog/find?after=…". */
static enum hf_err make_target(const struct look *look, const char *job, struct hf_buf *target,
                               struct hf_error *err)
{
    char path[160], limit[24];
    bool first = true;

    (void)snprintf(limit, sizeof limit, "%llu", (unsigned long long)look->limit);
    if (hf_cli_id_target(path, sizeof path, "jobs", job, look->diff ? "/oplog/diff" : "/oplog/find",
                         err) != HF_ERR_OK ||
        hf_buf_append_text(target, path, err) != HF_ERR_OK ||
        add_instant(target, &first, "after", &look->after, err) != HF_ERR_OK ||
        add_instant(target, &first, "to", &look->until, err) != HF_ERR_OK ||
        add_text(target, &first, "ns", look->ns, err) != HF_ERR_OK) {
        return err->code;
    }
    if (look->diff) {
        return HF_ERR_OK;
    }
    if (add_text(target, &first, "kind", look->kind, err) != HF_ERR_OK ||
        add_text(target, &first, "id", look->id, err) != HF_ERR_OK ||
        add_text(target, &first, "perMinute", look->per_minute ? "true" : "", err) != HF_ERR_OK) {
        return err->code;
    }
    return add_text(target, &first, "limit", limit, err);
}

static enum hf_err ask_server(const struct look *look, struct hf_json **out, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_buf_fini) struct hf_buf target = HF_BUF_INIT(4000);
    char job[32];

    if (look->wish.oplog_url[0] != '\0' || look->wish.key_file[0] != '\0' ||
        look->wish.job[0] != '\0') {
        return hf_fail(err, HF_ERR_INVALID,
                       "--key-file, --oplog-store and --job go with --store, which is missing");
    }
    if (look->set == NULL) {
        return hf_fail(err, HF_ERR_INVALID,
                       "--set is missing, or --store to look without a server; hint: --help lists "
                       "the options");
    }
    if (hf_cli_session_open(&look->session, &session, err) != HF_ERR_OK ||
        hf_cli_find_job(&session, look->set, job, err) != HF_ERR_OK ||
        make_target(look, job, &target, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_cli_call(&session, "GET", hf_buf_text(&target), NULL, out, err);
}

/* ---- Straight in the store ---- */

static enum hf_err make_filter(const struct look *look, struct hf_oplog_filter *out,
                               struct hf_error *err)
{
    enum hf_oplog_kind kind;

    *out = (struct hf_oplog_filter){.after = look->after,
                                    .to = look->until,
                                    .ns = look->ns[0] == '\0' ? NULL : look->ns,
                                    .cancel = hf_cli_cancel()};
    if (look->diff) {
        return HF_ERR_OK;
    }
    out->id = look->id[0] == '\0' ? NULL : look->id;
    if (look->kind[0] == '\0') {
        return HF_ERR_OK;
    }
    if (!hf_oplog_kind_parse(look->kind, &kind)) {
        return hf_fail(err, HF_ERR_INVALID,
                       "kind '%.64s' is none of insert, update, delete, command, noop, other",
                       look->kind);
    }
    out->kinds = 1u << kind;
    return HF_ERR_OK;
}

static enum hf_err count_there(const struct look *look, const struct hf_oplog_filter *filter,
                               struct hf_json **out, struct hf_error *err)
{
    struct hf_json *results = NULL;

    if (hf_oplog_count_to_json(filter, look->per_minute, &results, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = hf_json_object();
    hf_json_set_u64(*out, "totalCount", hf_json_count(results));
    hf_json_set_take(*out, "results", results);
    return HF_ERR_OK;
}

static enum hf_err ask_store_once(const struct look *look, struct hf_json **out,
                                  struct hf_error *err)
{
    HF_CLEANUP(hf_cli_oplog_close) struct hf_cli_oplog oplog = {.store = NULL};
    struct hf_oplog_filter filter;
    struct hf_id job;

    if (look->set != NULL) {
        return hf_fail(err, HF_ERR_INVALID,
                       "a store does not know sets: leave '%s' out; hint: --job names one of "
                       "several jobs",
                       look->set);
    }
    if (make_filter(look, &filter, err) != HF_ERR_OK ||
        hf_cli_oplog_open(&look->wish, &oplog, err) != HF_ERR_OK ||
        hf_cli_oplog_job(&oplog, look->wish.job, &job, err) != HF_ERR_OK ||
        hf_cli_oplog_load(&oplog, &job, err) != HF_ERR_OK) {
        return err->code;
    }
    filter.chains = &oplog.chains;
    filter.reader = oplog.reader;
    return look->diff || look->per_minute ? count_there(look, &filter, out, err)
                                          : hf_oplog_find_to_json(&filter, look->limit, out, err);
}

/* Nothing is leased for it: a server may merge slices meanwhile. */
static enum hf_err ask_store(const struct look *look, struct hf_json **out, struct hf_error *err)
{
    enum hf_err code = HF_ERR_UNAVAILABLE;

    for (unsigned loads = 0; code == HF_ERR_UNAVAILABLE && loads < HF_CHAIN_LOADS_MAX; loads++) {
        code = ask_store_once(look, out, err);
    }
    return code;
}

/* ---- Both ---- */

static void print_counts(const struct hf_json *list, bool per_minute)
{
    static const char *const kinds[] = {"insert", "update", "delete", "command", "noop", "other"};
    static const char *const titles[] = {"MINUTE (UTC)", "NAMESPACE", "INSERTS", "UPDATES",
                                         "DELETES",      "COMMANDS",  "NO-OPS",  "OTHERS"};
    size_t skip = per_minute ? 0 : 1;
    struct hf_cli_table *table = hf_cli_table_create(titles + skip, HF_ARRAY_LEN(titles) - skip);
    const struct hf_json *results = hf_json_get_array(list, "results");

    for (size_t i = 0; i < hf_json_count(results); i++) {
        const struct hf_json *one = hf_json_at(results, i);
        char numbers[HF_ARRAY_LEN(kinds)][24];
        const char *cells[HF_ARRAY_LEN(titles)] = {hf_cli_text(one, "minute", ""),
                                                   hf_cli_text(one, "ns", "")};
        for (size_t k = 0; k < HF_ARRAY_LEN(kinds); k++) {
            (void)snprintf(numbers[k], sizeof numbers[k], "%llu",
                           (unsigned long long)hf_json_get_u64(one, kinds[k], 0));
            cells[2 + k] = numbers[k];
        }
        hf_cli_table_row(table, cells + skip);
    }
    hf_cli_table_print(table);
}

static void print_found(const struct hf_json *list)
{
    static const char *const titles[] = {"TIME (UTC)", "OPLOG TS",  "TERM",
                                         "KIND",       "NAMESPACE", "_ID"};
    struct hf_cli_table *table = hf_cli_table_create(titles, HF_ARRAY_LEN(titles));
    const struct hf_json *results = hf_json_get_array(list, "results");

    for (size_t i = 0; i < hf_json_count(results); i++) {
        const struct hf_json *one = hf_json_at(results, i);
        uint64_t seconds = hf_json_get_u64(one, "seconds", 0);
        char time[32], ts[48], term[24];
        hf_cli_time(seconds, time);
        (void)snprintf(ts, sizeof ts, "%llu.%llu", (unsigned long long)seconds,
                       (unsigned long long)hf_json_get_u64(one, "increment", 0));
        (void)snprintf(term, sizeof term, "%lld", (long long)hf_json_get_integer(one, "term", -1));
        const char *cells[] = {time,
                               ts,
                               term,
                               hf_cli_text(one, "command", hf_cli_text(one, "kind", "")),
                               hf_cli_text(one, "ns", ""),
                               hf_cli_text(one, "id", "")};
        hf_cli_table_row(table, cells);
    }
    hf_cli_table_print(table);
    if (hf_json_get_bool(list, "more", false)) {
        (void)printf("and more: --limit shows them, --from the next\n");
    }
}

static enum hf_err look_and_print(struct look *look, bool as_json, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;

    if (limit_of(look->from, &look->after, err) != HF_ERR_OK ||
        limit_of(look->to, &look->until, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_optime_is_none(&look->after) && !hf_optime_is_none(&look->until) &&
        hf_optime_compare_ts(&look->after, &look->until) >= 0) {
        return hf_fail(err, HF_ERR_INVALID, "%s is not before %s", look->from, look->to);
    }
    if ((look->wish.url[0] != '\0' ? ask_store(look, &list, err) : ask_server(look, &list, err)) !=
        HF_ERR_OK) {
        return err->code;
    }
    if (as_json) {
        return hf_cli_print_json(list, err);
    }
    if (look->diff || look->per_minute) {
        print_counts(list, look->per_minute);
    } else {
        print_found(list);
    }
    return HF_ERR_OK;
}

static enum hf_err oplog_find(const struct oplog_find_values *values,
                              const struct hf_option_rest *rest, struct hf_error *err)
{
    struct look look = LOOK_OF(values);

    look.kind = values->kind;
    look.id = values->id;
    look.per_minute = values->per_minute;
    look.limit = values->limit;
    if (look.set == NULL && rest->arguments.count > 0) {
        look.set = rest->arguments.values[0];
    }
    return look_and_print(&look, values->json, err);
}

static enum hf_err oplog_diff(const struct oplog_diff_values *values,
                              const struct hf_option_rest *rest, struct hf_error *err)
{
    struct look look = LOOK_OF(values);
    size_t count = rest->arguments.count;
    char *const *words = rest->arguments.values;

    look.diff = true;
    if (count == 1 || count == 3) {
        look.set = look.set == NULL ? words[0] : look.set;
    }
    if (count >= 2) {
        if (look.from[0] != '\0' || look.to[0] != '\0') {
            return hf_fail(err, HF_ERR_INVALID, "T1 T2 and --from or --to: say it in one way");
        }
        look.from = words[count - 2];
        look.to = words[count - 1];
    }
    if (look.from[0] == '\0') {
        return hf_fail(err, HF_ERR_INVALID, "say from which point: --from, or T1 T2");
    }
    return look_and_print(&look, values->json, err);
}

/* ---- The table ---- */

#define COMMANDS(VERB)                                                                             \
    VERB(oplog_find, oplog_find, "oplog", "find", "[SET]", 0, 1,                                   \
         "Look for operations in the stored oplog",                                                \
         "Lists operations in the stored oplog, or counts them, without a restore.")               \
    VERB(oplog_diff, oplog_diff, "oplog", "diff", "[SET] [T1 T2]", 0, 3,                           \
         "Count what lies between two points in time",                                             \
         "Counts the operations between two points, per collection: what a restore to the first "  \
         "one undoes.")
HF_CLI_TABLE(hf_cli_oplog_look_commands, COMMANDS)
