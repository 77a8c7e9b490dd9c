/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that show jobs, over the server's API.
 */
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/define.h"
#include "cli/oplog_store.h"
#include "cli/output.h"

#define PRIVATE HF_CLI_PRIVATE

#define PLAIN_ROW(...) HF_OPTION_ROW(struct plain_values, __VA_ARGS__)
HF_CLI_VALUES(plain, HF_CLI_OPTIONS, PLAIN_ROW)

#define SET_OPTIONS(OPT)                                                                           \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Name of the replica set")                                \
    HF_CLI_OPTIONS(OPT)

#define SET_ROW(...) HF_OPTION_ROW(struct set_values, __VA_ARGS__)
HF_CLI_VALUES(set, SET_OPTIONS, SET_ROW)

/* ---- list ---- */

/* Up to when the oplog is saved; "-" where nothing is. */
static void saved_text(const struct hf_json *job, char out[32])
{
    const struct hf_json *last = hf_json_get_object(hf_json_get_object(job, "oplog"), "last");

    hf_cli_time(hf_json_get_u64(last, "seconds", 0), out);
    if (out[0] == '\0') {
        (void)snprintf(out, 32, "-");
    }
}

/* Who tails, or why nobody does. */
static const char *tail_text(const struct hf_json *job)
{
    const struct hf_json *oplog = hf_json_get_object(job, "oplog");

    return hf_json_get_text(oplog, "taskId") != NULL ? hf_cli_text(oplog, "member", "?")
                                                     : hf_cli_text(oplog, "problem", "-");
}

static void job_row(struct hf_cli_table *table, const struct hf_json *one)
{
    char created[32], saved[32];

    hf_cli_time(hf_json_get_u64(one, "createdS", 0), created);
    saved_text(one, saved);
    const char *cells[] = {hf_cli_text(one, "setName", ""),
                           hf_cli_text(one, "state", ""),
                           hf_cli_text(one, "id", ""),
                           created,
                           hf_cli_text(one, "runningSnapshotId", "-"),
                           saved,
                           tail_text(one)};
    hf_cli_table_row(table, cells);
}

static const char *const job_list_titles[] = {
    "SET", "STATE", "JOB", "CREATED", "RUNNING SNAPSHOT", "OPLOG UNTIL (UTC)", "FROM MEMBER"};
static const struct hf_cli_listing job_list_listing = {
    .titles = job_list_titles, .columns = HF_ARRAY_LEN(job_list_titles), .row = job_row};

static enum hf_err job_list(const struct plain_values *values, const struct hf_option_rest *rest,
                            struct hf_error *err)
{
    (void)rest;
    return hf_cli_list(&HF_CLI_SERVER(values), PRIVATE "/jobs", &job_list_listing, values->json,
                       err);
}

/* ---- show ---- */

static void print_job(const struct hf_json *job)
{
    const struct hf_json *oplog = hf_json_get_object(job, "oplog");
    const struct hf_json *last = hf_json_get_object(oplog, "last");
    char created[32], saved[32], begun[32], bytes[24];

    hf_cli_time(hf_json_get_u64(job, "createdS", 0), created);
    (void)printf("job %s of set %s: %s\n", hf_cli_text(job, "id", "?"),
                 hf_cli_text(job, "setName", "?"), hf_cli_text(job, "state", "?"));
    (void)printf("  created      %s UTC\n", created);
    if (hf_json_get_text(job, "problem") != NULL) {
        (void)printf("  waits        %s\n", hf_cli_text(job, "problem", ""));
    }
    if (hf_json_get_text(job, "storeName") != NULL) {
        (void)printf("  stores       snapshots in %s, oplog in %s\n",
                     hf_cli_text(job, "storeName", "?"), hf_cli_text(job, "oplogStoreName", "?"));
    }
    if (hf_json_get_text(job, "assignedBecause") != NULL) {
        (void)printf("  given        %s\n", hf_cli_text(job, "assignedBecause", ""));
    }
    if (hf_json_get_text(job, "preferredMember") != NULL) {
        (void)printf("  preferred    member %s\n", hf_cli_text(job, "preferredMember", ""));
    }
    if (hf_json_get_u64(job, "failuresInARow", 0) > 0) {
        (void)printf("  failed       the last %llu snapshots (holdfast job log)\n",
                     (unsigned long long)hf_json_get_u64(job, "failuresInARow", 0));
    }
    (void)printf("  snapshot     %s\n",
                 hf_cli_text(job, "runningSnapshotId", "none is being taken"));
    if (hf_json_get_text(job, "snapshotWanted") != NULL) {
        (void)printf("  wanted       a snapshot, because %s\n",
                     hf_cli_text(job, "snapshotWanted", ""));
    }
    if (last != NULL) {
        const struct hf_json *first = hf_json_get_object(oplog, "chainFirst");
        saved_text(job, saved);
        hf_cli_time(hf_json_get_u64(first, "seconds", 0), begun);
        hf_cli_bytes(oplog, "bytes", bytes);
        (void)printf("  oplog        saved until %s UTC (entry %llu.%llu), %llu s ago; %s in %llu "
                     "slices\n",
                     saved, (unsigned long long)hf_json_get_u64(last, "seconds", 0),
                     (unsigned long long)hf_json_get_u64(last, "increment", 0),
                     (unsigned long long)hf_json_get_u64(oplog, "ageS", 0), bytes,
                     (unsigned long long)hf_json_get_u64(oplog, "slices", 0));
        (void)printf("  lag          %llu s, %llu entries, when the last slice came\n",
                     (unsigned long long)hf_json_get_u64(oplog, "lagS", 0),
                     (unsigned long long)hf_json_get_u64(oplog, "lagEntries", 0));
        (void)printf("  unbroken     from %s UTC on (%s), %llu entries\n", begun,
                     hf_cli_text(oplog, "cause", "?"),
                     (unsigned long long)hf_json_get_u64(oplog, "sequence", 0));
    } else {
        (void)printf("  oplog        nothing is saved yet\n");
    }
    hf_cli_print_checked(hf_json_get_object(job, "oplogCheck"));
    if (hf_json_get_text(oplog, "taskId") != NULL) {
        (void)printf("  tail         of member %s\n", hf_cli_text(oplog, "member", "?"));
    } else {
        (void)printf("  tail         none: %s\n",
                     hf_cli_text(oplog, "problem", "it begins within seconds"));
    }
}

static enum hf_err job_show(const struct set_values *values, const struct hf_option_rest *rest,
                            struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *job = NULL;
    const char *set = NULL;

    if (hf_cli_need(values->set, rest, "set", &set, err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_job_of(&session, set, &job, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(job, err);
    }
    print_job(job);
    return HF_ERR_OK;
}

/* ---- ranges ---- */

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

static void range_row(struct hf_cli_table *table, const struct hf_json *one)
{
    char start[64], end[64], bases[24];

    instant_text(one, "start", start, sizeof start);
    instant_text(one, "end", end, sizeof end);
    (void)snprintf(bases, sizeof bases, "%llu",
                   (unsigned long long)hf_json_get_u64(one, "snapshots", 0));
    const char *cells[] = {start, end, hf_cli_text(one, "snapshotId", ""), bases,
                           hf_cli_text(one, "endText", "")};
    hf_cli_table_row(table, cells);
}

static const char *const ranges_titles[] = {"START (UTC)", "END, INCLUSIVE (UTC)", "FIRST BASE",
                                            "BASES", "WHY IT ENDS THERE"};
static const struct hf_cli_listing ranges_listing = {
    .titles = ranges_titles, .columns = HF_ARRAY_LEN(ranges_titles), .row = range_row};

static enum hf_err job_ranges(const struct set_values *values, const struct hf_option_rest *rest,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;
    const char *set = NULL;
    char job[32], target[128];

    if (hf_cli_need(values->set, rest, "set", &set, err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_find_job(&session, set, job, err) != HF_ERR_OK ||
        hf_cli_id_target(target, sizeof target, "jobs", job, "/ranges", err) != HF_ERR_OK ||
        hf_cli_call(&session, "GET", target, NULL, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_cli_show_list(list, &ranges_listing, values->json, err);
}

/* ---- queue ---- */

static void queue_row(struct hf_cli_table *table, const struct hf_json *one)
{
    char place[24] = "-", due[32], latest[32];

    if (hf_json_get_u64(one, "place", 0) != 0) {
        (void)snprintf(place, sizeof place, "%llu",
                       (unsigned long long)hf_json_get_u64(one, "place", 0));
    }
    hf_cli_time(hf_json_get_u64(one, "owedS", 0), due);
    hf_cli_time(hf_json_get_u64(one, "latestS", 0), latest);
    const char *cells[] = {place, hf_cli_text(one, "setName", ""), due,
                           latest[0] == '\0' ? "-" : latest, hf_cli_text(one, "waitsFor", "")};
    hf_cli_table_row(table, cells);
}

static const char *const queue_titles[] = {"PLACE", "SET", "DUE SINCE (UTC)", "BEGIN BY (UTC)",
                                           "WAITS FOR"};

static enum hf_err job_queue(const struct plain_values *values, const struct hf_option_rest *rest,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;

    (void)rest;
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "GET", PRIVATE "/queue", NULL, &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(answer, err);
    }
    struct hf_cli_table *table = hf_cli_table_create(queue_titles, HF_ARRAY_LEN(queue_titles));
    const struct hf_json *jobs = hf_json_get_array(answer, "jobs");
    for (size_t i = 0; i < hf_json_count(jobs); i++) {
        queue_row(table, hf_json_at(jobs, i));
    }
    hf_cli_table_print(table);
    (void)printf("%llu snapshots are being taken, %llu wait for a place\n",
                 (unsigned long long)hf_json_get_u64(answer, "running", 0),
                 (unsigned long long)hf_json_get_u64(answer, "waiting", 0));
    return HF_ERR_OK;
}

/* ---- The table ---- */

#define COMMANDS(VERB)                                                                             \
    VERB(job_list, plain, "job", "list", "", 0, 0, "List the jobs", "Lists the backup jobs.")      \
    VERB(job_show, set, "job", "show", "[SET]", 0, 1, "Show one job", "Shows one job.")            \
    VERB(job_queue, plain, "job", "queue", "", 0, 0, "List the snapshots that are due",            \
         "Lists the snapshots that are due and have not begun, in the order in which they will, "  \
         "and what each of them waits for.")                                                       \
    VERB(job_ranges, set, "job", "ranges", "[SET]", 0, 1,                                          \
         "List the stretches of time that can be restored",                                        \
         "Lists the stretches of time that can be restored, and why each one ends.")
HF_CLI_TABLE(hf_cli_job_commands, COMMANDS)
