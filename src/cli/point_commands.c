/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on points in time: which ones a job has, and what became of a restore.
 */
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/define.h"
#include "cli/output.h"
#include "cli/point.h"
#include "cli/target.h"

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

/* ---- The table ---- */

#define ROW(type, ...) HF_OPTION_ROW(struct type##_values, __VA_ARGS__)
#define RANGES_ROW(...) ROW(job_ranges, __VA_ARGS__)
#define SHOW_ROW(...) ROW(restore_show, __VA_ARGS__)

HF_CLI_COMMAND(job_ranges, RANGES_OPTIONS(RANGES_ROW), "holdfast job ranges", "[SET]",
               "Lists the stretches of time that can be restored, and why each one ends.", 0, 1)
HF_CLI_COMMAND(restore_show, SHOW_OPTIONS(SHOW_ROW), "holdfast restore show", "[RESTORE]",
               "Shows one restore.", 0, 1)

const struct hf_command hf_cli_point_commands[] = {
    {"job", "ranges", "List the stretches of time that can be restored", job_ranges_command,
     &job_ranges_table},
    {"restore", "show", "Show one restore", restore_show_command, &restore_show_table},
    {NULL, NULL, NULL, NULL, NULL},
};
