/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on points in time: which ones a job has, what the stored oplog says, and what became of a restore.
 */
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/define.h"
#include "cli/output.h"
#include "cli/point.h"
#include "cli/target.h"
#include "net/url.h"

/* ---- job ranges ---- */

#define RANGES_OPTIONS(OPT)                                                                        \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Name of the replica set")                                \
    HF_CLI_OPTIONS(OPT)
HF_CLI_VALUES(job_ranges, RANGES_OPTIONS)

/* "2026-11-30 14:03:07 (1795450667.68)". */
static void instant_text(const struct hf_json *range, const char *key, char *out, size_t out_len)
{
    const struct hf_json *at = hf_json_get_object(range, key);
    uint64_t seconds = hf_json_get_u64(at, "seconds", 0);
    char time[32];

    hf_cli_time(seconds, time);
    (void)snprintf(out, out_len, "%s (%llu.%llu)", time, (unsigned long long)seconds,
                   (unsigned long long)hf_json_get_u64(at, "increment", 0));
}

static void print_ranges(const struct hf_json *list)
{
    static const char *const titles[] = {"START (UTC)", "END, INCLUSIVE (UTC)", "FIRST BASE",
                                         "BASES", "WHY IT ENDS THERE"};
    struct hf_cli_table *table = hf_cli_table_create(titles, HF_ARRAY_LEN(titles));
    const struct hf_json *results = hf_json_get_array(list, "results");

    for (size_t i = 0; i < hf_json_count(results); i++) {
        const struct hf_json *one = hf_json_at(results, i);
        char start[64], end[64], bases[24];
        instant_text(one, "start", start, sizeof start);
        instant_text(one, "end", end, sizeof end);
        (void)snprintf(bases, sizeof bases, "%llu",
                       (unsigned long long)hf_json_get_u64(one, "snapshots", 0));
        const char *cells[] = {start, end, hf_cli_text(one, "snapshotId", ""), bases,
                               hf_cli_text(one, "endText", "")};
        hf_cli_table_row(table, cells);
    }
    hf_cli_table_print(table);
}

static enum hf_err job_ranges(const struct job_ranges_values *values,
                              const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;
    const char *set = NULL;
    char job[32], target[128];

    session.client = NULL;
    if (hf_cli_need(values->set, rest, "set", &set, err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_find_job(&session, set, job, err) != HF_ERR_OK ||
        hf_cli_id_target(target, sizeof target, "jobs", job, "/ranges", err) != HF_ERR_OK ||
        hf_cli_call(&session, "GET", target, NULL, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(list, err);
    }
    print_ranges(list);
    return HF_ERR_OK;
}

/* ---- restore show ---- */

#define SHOW_OPTIONS(OPT)                                                                          \
    OPT(restore, TEXT, "", 0, 100, OPT_NONE, "Id of the restore")                                  \
    HF_CLI_OPTIONS(OPT)
HF_CLI_VALUES(restore_show, SHOW_OPTIONS)

static void print_restore(const struct hf_json *restore)
{
    const struct hf_json *link = hf_json_get_object(restore, "link");
    const struct hf_json *target = hf_json_get_object(restore, "target");
    char begun[32], ended[32], point[64];

    hf_cli_time(hf_json_get_u64(restore, "createdS", 0), begun);
    hf_cli_time(hf_json_get_u64(restore, "finishedS", 0), ended);
    hf_cli_point_text(restore, point);
    (void)printf("restore %s: %s\n", hf_cli_text(restore, "id", "?"),
                 hf_cli_text(restore, "state", "?"));
    (void)printf("  snapshot     %s\n", hf_cli_text(restore, "snapshotId", "?"));
    if (point[0] != '\0') {
        (void)printf("  point        %s (%s)\n", point,
                     hf_json_get_bool(restore, "pointIsDate", false) ? "not including that second"
                                                                     : "including that entry");
    }
    if (link == NULL && target == NULL) {
        (void)printf("  directory    %s\n", hf_cli_text(restore, "directory", "-"));
        (void)printf("  agent        %s\n", hf_cli_text(restore, "agentId", "-"));
    }
    (void)printf("  begun        %s UTC\n", begun);
    const struct hf_json *progress = hf_json_get_object(restore, "progress");
    if (progress != NULL) {
        (void)printf("  now          %s\n", hf_cli_text(progress, "phase", "?"));
    }
    if (ended[0] != '\0') {
        (void)printf("  ended        %s UTC\n", ended);
    }
    if (hf_json_get_text(restore, "error") != NULL) {
        (void)printf("  error        %s\n", hf_cli_text(restore, "error", ""));
    }
    if (link != NULL) {
        hf_cli_print_link(link);
    } else if (target != NULL) {
        hf_cli_print_set_target(restore);
    } else if (strcmp(hf_cli_text(restore, "state", ""), "FINISHED") == 0) {
        hf_cli_print_restored(restore);
        hf_cli_print_point(restore);
    }
}

static enum hf_err restore_show(const struct restore_show_values *values,
                                const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *restore = NULL;
    const char *id = NULL;
    char target[128];

    session.client = NULL;
    if (hf_cli_need(values->restore, rest, "restore", &id, err) != HF_ERR_OK ||
        hf_cli_id_target(target, sizeof target, "restores", id, "", err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "GET", target, NULL, &restore, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(restore, err);
    }
    print_restore(restore);
    return HF_ERR_OK;
}

/* ---- oplog find, oplog diff ---- */

#define BETWEEN_OPTIONS(OPT)                                                                       \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Name of the replica set")                                \
    OPT(from, TEXT, "", 0, 64, OPT_NONE,                                                           \
        "Only what came at this time or later: 2026-11-30T14:03:07Z, or after that entry: "        \
        "SECONDS.INCREMENT")                                                                       \
    OPT(to, TEXT, "", 0, 64, OPT_NONE,                                                             \
        "Only what came before this time, or up to and including that entry")                      \
    OPT(ns, TEXT, "", 0, 255, OPT_NONE, "Only of this collection, or of this database")
#define FIND_OPTIONS(OPT)                                                                          \
    BETWEEN_OPTIONS(OPT)                                                                           \
    OPT(kind, TEXT, "", 0, 20, OPT_NONE,                                                           \
        "Only this kind: insert, update, delete, command, noop, other; all but noop otherwise")    \
    OPT(id, TEXT, "", 0, 127, OPT_NONE,                                                            \
        "Only of the document with this _id: a number, a text, an object id or a UUID in hex")     \
    OPT(per_minute, FLAG, "false", 0, 0, OPT_NONE, "Show how many there were in each minute")      \
    OPT(limit, NUMBER, "100", 1, 10000, OPT_NONE, "Show at most so many")                          \
    HF_CLI_OPTIONS(OPT)
#define DIFF_OPTIONS(OPT)                                                                          \
    BETWEEN_OPTIONS(OPT)                                                                           \
    HF_CLI_OPTIONS(OPT)
HF_CLI_VALUES(oplog_find, FIND_OPTIONS)
HF_CLI_VALUES(oplog_diff, DIFF_OPTIONS)

/* A time T in an option: what came before it ends with the last entry of the second before. */
static enum hf_err add_instant(struct hf_buf *target, bool *first, const char *key,
                               const char *text, struct hf_error *err)
{
    struct hf_target point;
    char value[64];
    bool wanted = false;

    if (text[0] == '\0') {
        return HF_ERR_OK;
    }
    if (hf_cli_target(strchr(text, '-') != NULL ? text : "", strchr(text, '-') == NULL ? text : "",
                      &wanted, &point, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_optime limit = hf_target_limit(&point);
    (void)snprintf(value, sizeof value, "%lu.%lu", (unsigned long)limit.seconds,
                   (unsigned long)limit.increment);
    return hf_url_add_parameter(target, first, key, hf_str_of(value), err);
}

static enum hf_err add_text(struct hf_buf *target, bool *first, const char *key, const char *text,
                            struct hf_error *err)
{
    return text[0] == '\0' ? HF_ERR_OK
                           : hf_url_add_parameter(target, first, key, hf_str_of(text), err);
}

/* "/api/private/v1.0/jobs/ID/oplog/find?after=…". */
static enum hf_err begin_search(struct hf_cli_session *session, const char *set, const char *verb,
                                const char *from, const char *to, const char *ns,
                                struct hf_buf *target, bool *first, struct hf_error *err)
{
    char job[32], path[160], tail[32];

    (void)snprintf(tail, sizeof tail, "/oplog/%s", verb);
    if (hf_cli_find_job(session, set, job, err) != HF_ERR_OK ||
        hf_cli_id_target(path, sizeof path, "jobs", job, tail, err) != HF_ERR_OK ||
        hf_buf_append_text(target, path, err) != HF_ERR_OK ||
        add_instant(target, first, "after", from, err) != HF_ERR_OK ||
        add_instant(target, first, "to", to, err) != HF_ERR_OK) {
        return err->code;
    }
    return add_text(target, first, "ns", ns, err);
}

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

static enum hf_err oplog_find(const struct oplog_find_values *values,
                              const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;
    HF_CLEANUP(hf_buf_fini) struct hf_buf target = HF_BUF_INIT(4000);
    const char *set = NULL;
    char limit[24];
    bool first = true;

    session.client = NULL;
    (void)snprintf(limit, sizeof limit, "%llu", (unsigned long long)values->limit);
    if (hf_cli_need(values->set, rest, "set", &set, err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        begin_search(&session, set, "find", values->from, values->to, values->ns, &target, &first,
                     err) != HF_ERR_OK ||
        add_text(&target, &first, "kind", values->kind, err) != HF_ERR_OK ||
        add_text(&target, &first, "id", values->id, err) != HF_ERR_OK ||
        add_text(&target, &first, "perMinute", values->per_minute ? "true" : "", err) !=
            HF_ERR_OK ||
        add_text(&target, &first, "limit", limit, err) != HF_ERR_OK ||
        hf_cli_call(&session, "GET", hf_buf_text(&target), NULL, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(list, err);
    }
    if (values->per_minute) {
        print_counts(list, true);
    } else {
        print_found(list);
    }
    return HF_ERR_OK;
}

static enum hf_err oplog_diff(const struct oplog_diff_values *values,
                              const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;
    HF_CLEANUP(hf_buf_fini) struct hf_buf target = HF_BUF_INIT(4000);
    const char *set = NULL;
    bool first = true;

    session.client = NULL;
    if (values->from[0] == '\0') {
        return hf_fail(err, HF_ERR_INVALID, "say from which point: --from");
    }
    if (hf_cli_need(values->set, rest, "set", &set, err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        begin_search(&session, set, "diff", values->from, values->to, values->ns, &target, &first,
                     err) != HF_ERR_OK ||
        hf_cli_call(&session, "GET", hf_buf_text(&target), NULL, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(list, err);
    }
    print_counts(list, false);
    return HF_ERR_OK;
}

/* ---- The table ---- */

#define ROW(type, ...) HF_OPTION_ROW(struct type##_values, __VA_ARGS__)
#define RANGES_ROW(...) ROW(job_ranges, __VA_ARGS__)
#define SHOW_ROW(...) ROW(restore_show, __VA_ARGS__)
#define FIND_ROW(...) ROW(oplog_find, __VA_ARGS__)
#define DIFF_ROW(...) ROW(oplog_diff, __VA_ARGS__)

HF_CLI_COMMAND(job_ranges, RANGES_OPTIONS(RANGES_ROW), "holdfast job ranges", "[SET]",
               "Lists the stretches of time that can be restored, and why each one ends.", 0, 1)
HF_CLI_COMMAND(restore_show, SHOW_OPTIONS(SHOW_ROW), "holdfast restore show", "[RESTORE]",
               "Shows one restore.", 0, 1)
HF_CLI_COMMAND(oplog_find, FIND_OPTIONS(FIND_ROW), "holdfast oplog find", "[SET]",
               "Lists operations in the stored oplog, or counts them, without a restore.", 0, 1)
HF_CLI_COMMAND(oplog_diff, DIFF_OPTIONS(DIFF_ROW), "holdfast oplog diff", "[SET]",
               "Counts the operations between two points, per collection: what a restore to the "
               "first one undoes.",
               0, 1)

const struct hf_command hf_cli_point_commands[] = {
    {"job", "ranges", "List the stretches of time that can be restored", job_ranges_command,
     &job_ranges_table},
    {"restore", "show", "Show one restore", restore_show_command, &restore_show_table},
    {"oplog", "find", "Look for operations in the stored oplog", oplog_find_command,
     &oplog_find_table},
    {"oplog", "diff", "Count what lies between two points in time", oplog_diff_command,
     &oplog_diff_table},
    {NULL, NULL, NULL, NULL, NULL},
};
