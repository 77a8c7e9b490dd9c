/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands over the server's API: jobs, snapshots, restores, agents.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/api.h"
#include "cli/define.h"
#include "cli/output.h"
#include "cli/point.h"
#include "cli/target.h"
#include "net/url.h"
#include "os/clock.h"
#include "os/fs.h"
#include "os/process.h"

#define PRIVATE HF_CLI_PRIVATE
#define WATCH_EVERY_MS 250

/* ---- Pieces ---- */

static void bytes_text(const struct hf_json *json, const char *key, char *out, size_t out_len)
{
    hf_format_bytes(hf_json_get_u64(json, key, 0), out, out_len);
}

/* How a list is shown: its columns, and the row or rows of one element. */
struct listing {
    const char *const *titles;
    size_t columns;
    void (*row)(struct hf_cli_table *table, const struct hf_json *element);
};

static enum hf_err show_list(const struct hf_json *list, const struct listing *listing,
                             bool as_json, struct hf_error *err)
{
    if (as_json) {
        return hf_cli_print_json(list, err);
    }
    struct hf_cli_table *table = hf_cli_table_create(listing->titles, listing->columns);
    const struct hf_json *results = hf_json_get_array(list, "results");
    for (size_t i = 0; i < hf_json_count(results); i++) {
        listing->row(table, hf_json_at(results, i));
    }
    hf_cli_table_print(table);
    return HF_ERR_OK;
}

/* ---- job ---- */

#define SET_OPTIONS(OPT)                                                                           \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Name of the replica set")                                \
    HF_CLI_OPTIONS(OPT)

HF_CLI_VALUES(job_start, SET_OPTIONS)

/* The cluster of a set that an agent has reported. */
static enum hf_err find_cluster(struct hf_cli_session *session, const char *set, char *out,
                                size_t out_len, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;
    char target[256];

    if (hf_cli_find_project(session, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)snprintf(target, sizeof target, "/api/public/v1.0/groups/%s/clusters", session->project);
    if (hf_cli_all_pages(session, target, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_json *results = hf_json_get_array(list, "results");
    for (size_t i = 0; i < hf_json_count(results); i++) {
        const struct hf_json *one = hf_json_at(results, i);
        if (strcmp(hf_cli_text(one, "replicaSetName", ""), set) == 0) {
            (void)snprintf(out, out_len, "%s", hf_cli_text(one, "id", ""));
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_NOT_FOUND,
                   "no agent has reported a set named %s; hint: start 'holdfast agent' beside a "
                   "member, then 'holdfast "
                   "agent list'",
                   set);
}

static enum hf_err job_start(const struct job_start_values *values,
                             const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;
    const char *set = NULL;
    char cluster[64], target[256];

    session.client = NULL;
    if (hf_cli_need(values->set, rest, "set", &set, err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        find_cluster(&session, set, cluster, sizeof cluster, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)snprintf(target, sizeof target, "/api/public/v1.0/groups/%s/backupConfigs/%s",
                   session.project, cluster);
    hf_json_set_text(body, "statusName", "STARTED");
    if (hf_cli_call(&session, "PATCH", target, body, &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(answer, err);
    }
    (void)printf("job of set %s: %s\n", set, hf_cli_text(answer, "statusName", "?"));
    return HF_ERR_OK;
}

#define PLAIN_OPTIONS(OPT) HF_CLI_OPTIONS(OPT)
HF_CLI_VALUES(job_list, PLAIN_OPTIONS)

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
static const struct listing job_list_listing = {
    .titles = job_list_titles, .columns = HF_ARRAY_LEN(job_list_titles), .row = job_row};

static enum hf_err job_list(const struct job_list_values *values, const struct hf_option_rest *rest,
                            struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;

    (void)rest;
    session.client = NULL;
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_all_pages(&session, PRIVATE "/jobs", &list, err) != HF_ERR_OK) {
        return err->code;
    }
    return show_list(list, &job_list_listing, values->json, err);
}

HF_CLI_VALUES(job_show, SET_OPTIONS)

static void print_job(const struct hf_json *job)
{
    const struct hf_json *oplog = hf_json_get_object(job, "oplog");
    const struct hf_json *last = hf_json_get_object(oplog, "last");
    char created[32], saved[32], begun[32], bytes[24];

    hf_cli_time(hf_json_get_u64(job, "createdS", 0), created);
    (void)printf("job %s of set %s: %s\n", hf_cli_text(job, "id", "?"),
                 hf_cli_text(job, "setName", "?"), hf_cli_text(job, "state", "?"));
    (void)printf("  created      %s UTC\n", created);
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
        bytes_text(oplog, "bytes", bytes, sizeof bytes);
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
    if (hf_json_get_text(oplog, "taskId") != NULL) {
        (void)printf("  tail         of member %s\n", hf_cli_text(oplog, "member", "?"));
    } else {
        (void)printf("  tail         none: %s\n",
                     hf_cli_text(oplog, "problem", "it begins within seconds"));
    }
}

static enum hf_err job_show(const struct job_show_values *values, const struct hf_option_rest *rest,
                            struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;
    const char *set = NULL;

    session.client = NULL;
    if (hf_cli_need(values->set, rest, "set", &set, err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_all_pages(&session, PRIVATE "/jobs", &list, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_json *results = hf_json_get_array(list, "results");
    for (size_t i = 0; i < hf_json_count(results); i++) {
        const struct hf_json *one = hf_json_at(results, i);
        if (strcmp(hf_cli_text(one, "setName", ""), set) == 0) {
            if (values->json) {
                return hf_cli_print_json(one, err);
            }
            print_job(one);
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_NOT_FOUND,
                   "set %s has no backup job; hint: holdfast job start --set %s", set, set);
}

/* ---- snapshot ---- */

static void print_snapshot(const struct hf_json *snapshot)
{
    char bytes[24], fresh[24], stored[24], created[32];
    uint64_t seconds = hf_json_get_u64(hf_json_get_object(snapshot, "checkpoint"), "seconds", 0);

    bytes_text(snapshot, "bytes", bytes, sizeof bytes);
    bytes_text(snapshot, "newBytes", fresh, sizeof fresh);
    bytes_text(snapshot, "storedBytes", stored, sizeof stored);
    hf_cli_time(seconds, created);
    (void)printf("snapshot %s of set %s: %s\n", hf_cli_text(snapshot, "id", "?"),
                 hf_cli_text(snapshot, "setName", "?"), hf_cli_text(snapshot, "state", "?"));
    (void)printf("  as of        %s UTC\n", created);
    (void)printf("  member       %s\n",
                 hf_cli_text(snapshot, "reason", hf_cli_text(snapshot, "member", "?")));
    (void)printf("  server       MongoDB %s, FCV %s\n", hf_cli_text(snapshot, "serverVersion", "?"),
                 hf_cli_text(snapshot, "fcv", "?"));
    (void)printf("  files        %llu, %s\n",
                 (unsigned long long)hf_json_get_u64(snapshot, "files", 0), bytes);
    (void)printf("  new          %s in %llu blocks, stored as %s; %llu blocks reused, %llu zero, "
                 "%llu files not read\n",
                 fresh, (unsigned long long)hf_json_get_u64(snapshot, "blocksNew", 0), stored,
                 (unsigned long long)hf_json_get_u64(snapshot, "blocksReused", 0),
                 (unsigned long long)hf_json_get_u64(snapshot, "blocksZero", 0),
                 (unsigned long long)hf_json_get_u64(snapshot, "filesSkipped", 0));
    uint64_t begun_s = hf_json_get_u64(snapshot, "createdS", 0);
    uint64_t ended_s = hf_json_get_u64(snapshot, "finishedS", 0);
    /* The server's clock may have been set back meanwhile. */
    (void)printf("  took         %llu s\n",
                 (unsigned long long)(ended_s > begun_s ? ended_s - begun_s : 0));
    if (hf_json_get_u64(snapshot, "verifiedS", 0) != 0) {
        (void)printf("  verified     %s (%s)\n",
                     hf_json_get_bool(snapshot, "verifiedOk", false) ? "whole" : "DAMAGED",
                     hf_cli_text(snapshot, "verifiedLevel", "?"));
    }
    if (hf_json_get_text(snapshot, "error") != NULL) {
        (void)printf("  error        %s\n", hf_cli_text(snapshot, "error", ""));
    }
}

#define TAKE_OPTIONS(OPT)                                                                          \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Name of the replica set")                                \
    OPT(retention_days, NUMBER, "0", 0, 36500, OPT_NONE, "Days to keep it; 0 until it is deleted") \
    OPT(description, TEXT, "", 0, 200, OPT_NONE, "A note for people")                              \
    OPT(no_wait, FLAG, "false", 0, 0, OPT_NONE, "Return when it has begun")                        \
    HF_CLI_OPTIONS(OPT)
HF_CLI_VALUES(snapshot_take, TAKE_OPTIONS)

static enum hf_err snapshot_take(const struct snapshot_take_values *values,
                                 const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *begun = NULL;
    HF_CLEANUP(hf_json_drop) struct hf_json *ended = NULL;
    const char *set = NULL;
    char target[128];

    session.client = NULL;
    if (hf_cli_need(values->set, rest, "set", &set, err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_json_set_text(body, "set", set);
    hf_json_set_u64(body, "retentionDays", values->retention_days);
    hf_json_set_text(body, "description",
                     values->description[0] == '\0' ? NULL : values->description);
    if (hf_cli_call(&session, "POST", PRIVATE "/snapshots", body, &begun, err) != HF_ERR_OK) {
        return err->code;
    }
    const char *id = hf_cli_text(begun, "id", "");
    if (values->no_wait) {
        if (values->json) {
            return hf_cli_print_json(begun, err);
        }
        (void)printf("snapshot %s has begun on %s\n", id, hf_cli_text(begun, "member", "?"));
        return HF_ERR_OK;
    }
    if (hf_cli_id_target(target, sizeof target, "snapshots", id, "", err) != HF_ERR_OK ||
        hf_cli_watch(&session, target, "snapshot", &ended, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json && hf_cli_print_json(ended, err) != HF_ERR_OK) {
        return err->code;
    }
    if (strcmp(hf_cli_text(ended, "state", ""), "COMPLETE") != 0) {
        enum hf_err code = hf_err_from_name(hf_cli_text(ended, "errorClass", "INTERNAL"));
        return hf_fail(err, code == HF_ERR_OK ? HF_ERR_INTERNAL : code, "snapshot %s: %s: %s", id,
                       hf_cli_text(ended, "state", "?"),
                       hf_cli_text(ended, "error", "no reason given"));
    }
    if (!values->json) {
        print_snapshot(ended);
    }
    return HF_ERR_OK;
}

#define LIST_OPTIONS(OPT)                                                                          \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Only of this replica set")                               \
    OPT(all, FLAG, "false", 0, 0, OPT_NONE, "Also those that failed, were given up or deleted")    \
    HF_CLI_OPTIONS(OPT)
HF_CLI_VALUES(snapshot_list, LIST_OPTIONS)

static void list_row(struct hf_cli_table *table, const struct hf_json *one)
{
    char when[32], bytes[24], fresh[24], stored[24];
    uint64_t seconds = hf_json_get_u64(hf_json_get_object(one, "checkpoint"), "seconds", 0);
    const char *verified = hf_json_get_u64(one, "verifiedS", 0) == 0    ? "-"
                           : hf_json_get_bool(one, "verifiedOk", false) ? "whole"
                                                                        : "DAMAGED";

    hf_cli_time(seconds != 0 ? seconds : hf_json_get_u64(one, "createdS", 0), when);
    bytes_text(one, "bytes", bytes, sizeof bytes);
    bytes_text(one, "newBytes", fresh, sizeof fresh);
    bytes_text(one, "storedBytes", stored, sizeof stored);
    const char *cells[] = {hf_cli_text(one, "id", ""),
                           hf_cli_text(one, "setName", ""),
                           hf_cli_text(one, "state", ""),
                           when,
                           bytes,
                           fresh,
                           stored,
                           verified,
                           hf_cli_text(one, "member", "")};
    hf_cli_table_row(table, cells);
}

static const char *const snapshot_list_titles[] = {
    "SNAPSHOT", "SET", "STATE", "AS OF (UTC)", "SIZE", "NEW", "STORED", "VERIFIED", "MEMBER"};
static const struct listing snapshot_list_listing = {
    .titles = snapshot_list_titles, .columns = HF_ARRAY_LEN(snapshot_list_titles), .row = list_row};

static enum hf_err snapshot_list(const struct snapshot_list_values *values,
                                 const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;
    HF_CLEANUP(hf_buf_fini) struct hf_buf target = HF_BUF_INIT(1000);
    bool first = true;

    (void)rest;
    session.client = NULL;
    if (hf_buf_append_text(&target, PRIVATE "/snapshots", err) != HF_ERR_OK ||
        (values->set[0] != '\0' &&
         hf_url_add_parameter(&target, &first, "set", hf_str_of(values->set), err) != HF_ERR_OK) ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_all_pages(&session, hf_buf_text(&target), &list, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_json *results = hf_json_get_array(list, "results"), *shown = hf_json_array();
    for (size_t i = 0; i < hf_json_count(results); i++) {
        struct hf_json *one = hf_json_at(results, i);
        const char *state = hf_cli_text(one, "state", "");
        if (values->all || strcmp(state, "COMPLETE") == 0 || strcmp(state, "IN_PROGRESS") == 0) {
            hf_json_append_take(shown, hf_json_hold(one));
        }
    }
    hf_json_set_u64(list, "totalCount", hf_json_count(shown));
    hf_json_set_take(list, "results", shown);
    return show_list(list, &snapshot_list_listing, values->json, err);
}

#define ONE_OPTIONS(OPT)                                                                           \
    OPT(snapshot, TEXT, "", 0, 100, OPT_NONE, "Id of the snapshot")                                \
    HF_CLI_OPTIONS(OPT)
HF_CLI_VALUES(snapshot_show, ONE_OPTIONS)

static enum hf_err snapshot_show(const struct snapshot_show_values *values,
                                 const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *snapshot = NULL;
    const char *id = NULL;
    char target[128];

    session.client = NULL;
    if (hf_cli_need(values->snapshot, rest, "snapshot", &id, err) != HF_ERR_OK ||
        hf_cli_id_target(target, sizeof target, "snapshots", id, "", err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "GET", target, NULL, &snapshot, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(snapshot, err);
    }
    print_snapshot(snapshot);
    return HF_ERR_OK;
}

HF_CLI_VALUES(snapshot_delete, ONE_OPTIONS)

static enum hf_err snapshot_delete(const struct snapshot_delete_values *values,
                                   const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;
    const char *id = NULL;
    char target[128];

    session.client = NULL;
    if (hf_cli_need(values->snapshot, rest, "snapshot", &id, err) != HF_ERR_OK ||
        hf_cli_id_target(target, sizeof target, "snapshots", id, "", err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "DELETE", target, NULL, &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        hf_json_set_text(answer, "deleted", id);
        return hf_cli_print_json(answer, err);
    }
    (void)printf("snapshot %s is deleted; its space comes back with 'holdfast store groom'\n", id);
    return HF_ERR_OK;
}

#define VERIFY_OPTIONS(OPT)                                                                        \
    OPT(snapshot, TEXT, "", 0, 100, OPT_NONE, "Id of the snapshot")                                \
    OPT(level, TEXT, "content", 0, 20, OPT_NONE,                                                   \
        "references: every block is there; stored: and intact; content: and decrypts and has its " \
        "hash")                                                                                    \
    HF_CLI_OPTIONS(OPT)
HF_CLI_VALUES(snapshot_verify, VERIFY_OPTIONS)

/* The verification's own call waits for its end; this thread's calls show how far it is. */
struct verify_watch {
    const struct snapshot_verify_values *values;
    const char *target; /* of the snapshot */
    struct hf_cancel stop;
};

static void verify_watch_loop(void *argument)
{
    struct verify_watch *watch_this = argument;
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    struct hf_cli_progress shown = {.said_ms = 0};
    struct hf_error err;

    session.client = NULL;
    if (HF_CLI_OPEN(watch_this->values, &session, &err) != HF_ERR_OK) {
        return;
    }
    while (!hf_cancel_requested(&watch_this->stop)) {
        HF_CLEANUP(hf_json_drop) struct hf_json *record = NULL;
        hf_cancel_sleep(&watch_this->stop, 2 * WATCH_EVERY_MS);
        if (hf_cancel_requested(&watch_this->stop) ||
            hf_cli_call(&session, "GET", watch_this->target, NULL, &record, &err) != HF_ERR_OK) {
            break;
        }
        const struct hf_json *progress = hf_json_get_object(record, "verifyProgress");
        if (progress != NULL) {
            struct hf_progress_view view;
            hf_cli_progress_from_json(progress, &view);
            hf_cli_progress_show(&shown, "verify", &view);
        }
    }
    hf_cli_progress_end(&shown);
}

static enum hf_err verify_call(const struct snapshot_verify_values *values, const char *id,
                               struct hf_json **report, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    struct verify_watch watching = {.values = values};
    struct hf_thread *thread = NULL;
    char target[128], snapshot_target[128];

    session.client = NULL;
    hf_json_set_text(body, "level", values->level);
    if (hf_cli_id_target(target, sizeof target, "snapshots", id, "/verify", err) != HF_ERR_OK ||
        hf_cli_id_target(snapshot_target, sizeof snapshot_target, "snapshots", id, "", err) !=
            HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK) {
        return err->code;
    }
    watching.target = snapshot_target;
    hf_cancel_init(&watching.stop);
    if (hf_thread_start("hf-watch", verify_watch_loop, &watching, &thread, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_cli_call(&session, "POST", target, body, report, err);
    hf_cancel_request(&watching.stop);
    hf_thread_join(thread);
    return code;
}

static enum hf_err snapshot_verify(const struct snapshot_verify_values *values,
                                   const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *report = NULL;
    const char *id = NULL;
    char bytes[24];

    if (hf_cli_need(values->snapshot, rest, "snapshot", &id, err) != HF_ERR_OK ||
        verify_call(values, id, &report, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json && hf_cli_print_json(report, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_json *damages = hf_json_get_array(report, "damages");
    if (hf_json_get_bool(report, "ok", false)) {
        if (!values->json) {
            bytes_text(report, "bytes", bytes, sizeof bytes);
            (void)printf("snapshot %s is whole: %llu files, %llu blocks, %s (%s)\n", id,
                         (unsigned long long)hf_json_get_u64(report, "files", 0),
                         (unsigned long long)hf_json_get_u64(report, "blocks", 0), bytes,
                         hf_cli_text(report, "level", "?"));
        }
        return HF_ERR_OK;
    }
    for (size_t i = 0; !values->json && i < hf_json_count(damages); i++) {
        const struct hf_json *one = hf_json_at(damages, i);
        (void)printf("damaged: %s at %llu: %s\n",
                     hf_cli_text(one, "path", hf_cli_text(one, "object", "?")),
                     (unsigned long long)hf_json_get_u64(one, "offset", 0),
                     hf_cli_text(one, "message", "?"));
    }
    return hf_fail(err, HF_ERR_CORRUPT, "snapshot %s has %llu damaged blocks", id,
                   (unsigned long long)hf_json_get_u64(report, "damageCount", 0));
}

/* ---- restore ---- */

#define RESTORE_OPTIONS(OPT)                                                                       \
    OPT(snapshot, TEXT, "", 0, 100, OPT_NONE,                                                      \
        "Id of the snapshot; with a point in time the base, otherwise the newest before it")       \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Name of the replica set, for a point in time")           \
    HF_CLI_TARGET_OPTIONS(OPT)                                                                     \
    OPT(to, PATH, "", 0, 4096, OPT_NONE,                                                           \
        "Directory on the agent's host, empty or not there yet (but see --onto)")                  \
    HF_CLI_ONTO_OPTIONS(OPT)                                                                       \
    OPT(agent, TEXT, "", 0, 100, OPT_NONE, "Agent that restores; otherwise the one that can")      \
    OPT(target_set, TEXT, "", 0, 200, OPT_NONE,                                                    \
        "Restore onto this whole set, by the agents of its members: its data is replaced")         \
    OPT(dry_run, FLAG, "false", 0, 0, OPT_NONE,                                                    \
        "With --target-set: list what stands in the way, and touch nothing")                       \
    OPT(reuse_space, FLAG, "false", 0, 0, OPT_NONE,                                                \
        "With --target-set: write onto the old files instead of beside them. Needs hardly any "    \
        "room; from its first byte on there is no way back, and the set is down all the while")    \
    OPT(yes, FLAG, "false", 0, 0, OPT_NONE, "With --target-set: do not ask")                       \
    OPT(tar, PATH, "", 0, 4096, OPT_NONE,                                                          \
        "Write a tar archive here instead; - is standard output")                                  \
    OPT(no_wait, FLAG, "false", 0, 0, OPT_NONE, "Return when it has begun")                        \
    HF_CLI_OPTIONS(OPT)
HF_CLI_VALUES(restore_start, RESTORE_OPTIONS)

struct tar_sink {
    struct hf_file *file; /* NULL: stdout */
    uint64_t bytes, total;
    uint64_t started_ms;
    struct hf_cli_progress shown;
};

static enum hf_err tar_write(void *context, struct hf_bytes piece, struct hf_error *err)
{
    struct tar_sink *sink = context;

    if (sink->file != NULL) {
        if (hf_file_write_at(sink->file, sink->bytes, piece, err) != HF_ERR_OK) {
            return err->code;
        }
    } else if (fwrite(piece.data, 1, piece.len, stdout) != piece.len) {
        return hf_fail(err, HF_ERR_IO, "standard output was closed");
    }
    sink->bytes += piece.len;
    uint64_t elapsed_ms = hf_clock_mono_ms() - sink->started_ms + 1;
    struct hf_progress_view view = {
        .bytes_total = sink->total,
        .bytes_done = sink->bytes,
        .elapsed_ms = elapsed_ms,
        .rate_bytes_s = sink->bytes * 1000 / elapsed_ms,
        .left_s = UINT64_MAX,
        .phase = "downloading",
    };
    if (view.rate_bytes_s > 0 && sink->total > sink->bytes) {
        view.left_s = (sink->total - sink->bytes) / view.rate_bytes_s;
    }
    hf_cli_progress_show(&sink->shown, "restore", &view);
    return HF_ERR_OK;
}

/* A download that breaks leaves no file that looks whole. */
static enum hf_err restore_tar(const struct restore_start_values *values, const char *id,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *snapshot = NULL;
    struct tar_sink sink = {.started_ms = hf_clock_mono_ms()};
    const struct hf_http_sink http = {.write = tar_write, .context = &sink};
    bool to_stdout = strcmp(values->tar, "-") == 0;
    char target[128], about[128], bytes[24];
    struct hf_error ignored;

    session.client = NULL;
    if (hf_cli_id_target(target, sizeof target, "snapshots", id, "/tar", err) != HF_ERR_OK ||
        hf_cli_id_target(about, sizeof about, "snapshots", id, "", err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "GET", about, NULL, &snapshot, err) != HF_ERR_OK) {
        return err->code;
    }
    sink.total = hf_json_get_u64(snapshot, "bytes", 0);
    if (!to_stdout &&
        hf_file_open(values->tar, HF_OPEN_CREATE_NEW, 0600, &sink.file, err) != HF_ERR_OK) {
        return hf_wrap(err, "write %s", values->tar);
    }
    enum hf_err code = hf_cli_download(&session, target, &http, err);
    if (code == HF_ERR_OK && sink.file != NULL) {
        code = hf_file_sync(sink.file, err);
    }
    hf_cli_progress_end(&sink.shown);
    hf_file_drop(sink.file);
    if (code != HF_ERR_OK) {
        if (!to_stdout) {
            (void)!hf_fs_remove_scratch(values->tar, &ignored);
        }
        return code;
    }
    if (!to_stdout) {
        hf_format_bytes(sink.bytes, bytes, sizeof bytes);
        (void)printf("snapshot %s is in %s (%s)\n", id, values->tar, bytes);
    }
    return fflush(stdout) == 0 ? HF_ERR_OK : hf_fail(err, HF_ERR_IO, "standard output was closed");
}

static enum hf_err restore_directory(const struct restore_start_values *values, const char *id,
                                     const struct hf_target *point, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *begun = NULL;
    HF_CLEANUP(hf_json_drop) struct hf_json *ended = NULL;
    char target[128], job[32];

    session.client = NULL;
    hf_json_set_text(body, "snapshotId", id);
    hf_json_set_text(body, "directory", values->to);
    if (point != NULL) {
        hf_cli_target_set(body, point);
    }
    if (values->onto) {
        hf_json_set_bool(body, "onto", true);
        hf_json_set_bool(body, "leaveForeign", values->leave_foreign);
    }
    hf_json_set_text(body, "agentId", values->agent[0] == '\0' ? NULL : values->agent);
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->set[0] != '\0') {
        if (hf_cli_find_job(&session, values->set, job, err) != HF_ERR_OK) {
            return err->code;
        }
        hf_json_set_text(body, "jobId", job);
    }
    if (hf_cli_call(&session, "POST", PRIVATE "/restores", body, &begun, err) != HF_ERR_OK) {
        return err->code;
    }
    const char *restore = hf_cli_text(begun, "id", "");
    if (values->no_wait) {
        if (values->json) {
            return hf_cli_print_json(begun, err);
        }
        (void)printf("restore %s has begun\n", restore);
        return HF_ERR_OK;
    }
    if (hf_cli_id_target(target, sizeof target, "restores", restore, "", err) != HF_ERR_OK ||
        hf_cli_watch(&session, target, "restore", &ended, err) != HF_ERR_OK ||
        (values->json && hf_cli_print_json(ended, err) != HF_ERR_OK)) {
        return err->code;
    }
    if (strcmp(hf_cli_text(ended, "state", ""), "FINISHED") != 0) {
        enum hf_err code = hf_err_from_name(hf_cli_text(ended, "errorClass", "INTERNAL"));
        return hf_fail(err, code == HF_ERR_OK ? HF_ERR_INTERNAL : code, "restore %s: %s: %s",
                       restore, hf_cli_text(ended, "state", "?"),
                       hf_cli_text(ended, "error", "no reason given"));
    }
    if (!values->json) {
        hf_cli_print_restored(ended);
        hf_cli_print_point(ended);
        (void)printf(
            "restoreInfo.txt there says of which moment it is, and which Startup Options a "
            "mongod on it needs:\nmongod --dbpath %s ...\n",
            values->to);
    }
    return HF_ERR_OK;
}

static enum hf_err restore_set(const struct restore_start_values *values,
                               const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    struct hf_target point;
    bool wanted = false;

    if (hf_cli_target(values->until, values->oplog_ts, &wanted, &point, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_cli_set_target wish = {
        .snapshot = values->snapshot[0] != '\0' ? values->snapshot
                    : rest->arguments.count > 0 ? rest->arguments.values[0]
                                                : NULL,
        .set = values->set[0] == '\0' ? NULL : values->set,
        .target_set = values->target_set,
        .point = wanted ? &point : NULL,
        .dry_run = values->dry_run,
        .reuse_space = values->reuse_space,
        .yes = values->yes,
        .no_wait = values->no_wait,
        .json = values->json,
    };

    session.client = NULL;
    if (values->to[0] != '\0' || values->tar[0] != '\0' || values->onto || values->leave_foreign ||
        values->agent[0] != '\0') {
        return hf_fail(err, HF_ERR_INVALID,
                       "--to, --tar, --onto, --leave-foreign and --agent do not go with "
                       "--target-set");
    }
    return HF_CLI_OPEN(values, &session, err) != HF_ERR_OK
               ? err->code
               : hf_cli_restore_target(&session, &wish, err);
}

static enum hf_err restore_start(const struct restore_start_values *values,
                                 const struct hf_option_rest *rest, struct hf_error *err)
{
    const char *id = NULL;
    struct hf_target point;
    bool wanted = false;

    if (values->target_set[0] != '\0') {
        return restore_set(values, rest, err);
    }
    if (hf_cli_target(values->until, values->oplog_ts, &wanted, &point, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!wanted && values->set[0] != '\0') {
        return hf_fail(err, HF_ERR_INVALID, "--set belongs to --until or --oplog-ts");
    }
    bool any_base = wanted && values->set[0] != '\0' && values->snapshot[0] == '\0' &&
                    rest->arguments.count == 0;
    if (!any_base && hf_cli_need(values->snapshot, rest, "snapshot", &id, err) != HF_ERR_OK) {
        return wanted ? hf_wrap(err, "say which set (--set), or which base") : err->code;
    }
    if (wanted && values->tar[0] != '\0') {
        return hf_fail(err, HF_ERR_INVALID,
                       "an archive holds a snapshot as it was taken; hint: --to DIR, or unpack the "
                       "archive and use 'holdfast oplog apply'");
    }
    if ((values->to[0] == '\0') == (values->tar[0] == '\0')) {
        return hf_fail(
            err, HF_ERR_INVALID,
            "say where to: --to DIR (an agent restores), --tar FILE, or --target-set SET");
    }
    if ((values->onto && values->to[0] == '\0') || (values->leave_foreign && !values->onto)) {
        return hf_fail(err, HF_ERR_INVALID, "--onto belongs to --to, --leave-foreign to --onto");
    }
    return values->tar[0] != '\0' ? restore_tar(values, id, err)
                                  : restore_directory(values, id, wanted ? &point : NULL, err);
}

HF_CLI_VALUES(restore_list, PLAIN_OPTIONS)

static void restore_row(struct hf_cli_table *table, const struct hf_json *one)
{
    const struct hf_json *link = hf_json_get_object(one, "link");
    char created[32], where[64];

    hf_cli_time(hf_json_get_u64(one, "createdS", 0), created);
    (void)snprintf(where, sizeof where, "(link: %s)", hf_cli_text(link, "status", "?"));
    const char *cells[] = {
        hf_cli_text(one, "id", ""),
        hf_cli_text(one, "state", ""),
        hf_cli_text(one, "snapshotId", ""),
        created,
        link != NULL ? where : hf_cli_text(one, "targetSet", hf_cli_text(one, "directory", "")),
        hf_cli_text(one, "error", "")};
    hf_cli_table_row(table, cells);
}

static const char *const restore_list_titles[] = {"RESTORE",       "STATE", "SNAPSHOT",
                                                  "CREATED (UTC)", "ONTO",  "ERROR"};
static const struct listing restore_list_listing = {.titles = restore_list_titles,
                                                    .columns = HF_ARRAY_LEN(restore_list_titles),
                                                    .row = restore_row};

static enum hf_err restore_list(const struct restore_list_values *values,
                                const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;

    (void)rest;
    session.client = NULL;
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_all_pages(&session, PRIVATE "/restores", &list, err) != HF_ERR_OK) {
        return err->code;
    }
    return show_list(list, &restore_list_listing, values->json, err);
}

/* ---- agents and the server ---- */

HF_CLI_VALUES(agent_list, PLAIN_OPTIONS)

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
static const struct listing agent_list_listing = {
    .titles = agent_list_titles, .columns = HF_ARRAY_LEN(agent_list_titles), .row = agent_rows_of};

static enum hf_err agent_list(const struct agent_list_values *values,
                              const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;

    (void)rest;
    session.client = NULL;
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "GET", PRIVATE "/agents", NULL, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    return show_list(list, &agent_list_listing, values->json, err);
}

HF_CLI_VALUES(server_status, PLAIN_OPTIONS)

static enum hf_err server_status(const struct server_status_values *values,
                                 const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *status = NULL;

    (void)rest;
    session.client = NULL;
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
        bytes_text(store, "freeBytes", free_text, sizeof free_text);
        bytes_text(store, "totalBytes", total_text, sizeof total_text);
        bool oplog = strcmp(hf_cli_text(store, "holds", ""), "oplog") == 0;
        (void)printf("%sstore %s  %s, %s free of %s\n", oplog ? "oplog " : "",
                     hf_cli_text(store, "url", "?"),
                     hf_json_get_bool(store, "encrypted", false) ? "encrypted" : "not encrypted",
                     free_text, total_text);
    }
    return HF_ERR_OK;
}

/* ---- The table ---- */

#define ROW(type, ...) HF_OPTION_ROW(struct type##_values, __VA_ARGS__)
#define JOB_START_ROW(...) ROW(job_start, __VA_ARGS__)
#define JOB_LIST_ROW(...) ROW(job_list, __VA_ARGS__)
#define JOB_SHOW_ROW(...) ROW(job_show, __VA_ARGS__)
#define TAKE_ROW(...) ROW(snapshot_take, __VA_ARGS__)
#define LIST_ROW(...) ROW(snapshot_list, __VA_ARGS__)
#define SHOW_ROW(...) ROW(snapshot_show, __VA_ARGS__)
#define DELETE_ROW(...) ROW(snapshot_delete, __VA_ARGS__)
#define VERIFY_ROW(...) ROW(snapshot_verify, __VA_ARGS__)
#define RESTORE_ROW(...) ROW(restore_start, __VA_ARGS__)
#define RESTORES_ROW(...) ROW(restore_list, __VA_ARGS__)
#define AGENTS_ROW(...) ROW(agent_list, __VA_ARGS__)
#define STATUS_ROW(...) ROW(server_status, __VA_ARGS__)

HF_CLI_COMMAND(job_start, SET_OPTIONS(JOB_START_ROW), "holdfast job start", "[SET]",
               "Starts the backup job of a replica set that an agent has reported.", 0, 1)
HF_CLI_COMMAND(job_list, PLAIN_OPTIONS(JOB_LIST_ROW), "holdfast job list", "",
               "Lists the backup jobs.", 0, 0)
HF_CLI_COMMAND(job_show, SET_OPTIONS(JOB_SHOW_ROW), "holdfast job show", "[SET]", "Shows one job.",
               0, 1)
HF_CLI_COMMAND(snapshot_take, TAKE_OPTIONS(TAKE_ROW), "holdfast snapshot take", "[SET]",
               "Takes a snapshot now and waits for its end, showing how far it is.", 0, 1)
HF_CLI_COMMAND(snapshot_list, LIST_OPTIONS(LIST_ROW), "holdfast snapshot list", "",
               "Lists snapshots, newest first.", 0, 0)
HF_CLI_COMMAND(snapshot_show, ONE_OPTIONS(SHOW_ROW), "holdfast snapshot show", "[SNAPSHOT]",
               "Shows one snapshot.", 0, 1)
HF_CLI_COMMAND(snapshot_delete, ONE_OPTIONS(DELETE_ROW), "holdfast snapshot delete", "[SNAPSHOT]",
               "Deletes a snapshot. Others that share its data stay whole.", 0, 1)
HF_CLI_COMMAND(snapshot_verify, VERIFY_OPTIONS(VERIFY_ROW), "holdfast snapshot verify",
               "[SNAPSHOT]",
               "Reads a snapshot's data in the store and says what is damaged, by name.", 0, 1)
HF_CLI_COMMAND(restore_start, RESTORE_OPTIONS(RESTORE_ROW), "holdfast restore start", "[SNAPSHOT]",
               "Restores a snapshot, or a point in time: into a directory through an agent, or a "
               "snapshot as a tar archive.",
               0, 1)
HF_CLI_COMMAND(restore_list, PLAIN_OPTIONS(RESTORES_ROW), "holdfast restore list", "",
               "Lists restores, newest first.", 0, 0)
HF_CLI_COMMAND(agent_list, PLAIN_OPTIONS(AGENTS_ROW), "holdfast agent list", "",
               "Lists the agents and the members that they serve.", 0, 0)
HF_CLI_COMMAND(server_status, PLAIN_OPTIONS(STATUS_ROW), "holdfast server status", "",
               "Shows the server's state.", 0, 0)

const struct hf_command hf_cli_api_commands[] = {
    {"server", "status", "Show the server's state", server_status_command, &server_status_table},
    {"agent", "list", "List agents and the members they serve", agent_list_command,
     &agent_list_table},
    {"job", "start", "Start the backup job of a replica set", job_start_command, &job_start_table},
    {"job", "list", "List the jobs", job_list_command, &job_list_table},
    {"job", "show", "Show one job", job_show_command, &job_show_table},
    {"snapshot", "take", "Take a snapshot now", snapshot_take_command, &snapshot_take_table},
    {"snapshot", "list", "List snapshots", snapshot_list_command, &snapshot_list_table},
    {"snapshot", "show", "Show one snapshot", snapshot_show_command, &snapshot_show_table},
    {"snapshot", "verify", "Check a snapshot's data in the store", snapshot_verify_command,
     &snapshot_verify_table},
    {"snapshot", "delete", "Delete a snapshot", snapshot_delete_command, &snapshot_delete_table},
    {"restore", "start", "Restore a snapshot: --to DIR or --tar FILE", restore_start_command,
     &restore_start_table},
    {"restore", "list", "List restores", restore_list_command, &restore_list_table},
    {NULL, NULL, NULL, NULL, NULL},
};
