/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on snapshots, over the server's API.
 */
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/define.h"
#include "cli/output.h"
#include "net/url.h"

#define PRIVATE HF_CLI_PRIVATE
#define WATCH_EVERY_MS 500

/* ---- take ---- */

/* Of an attempt whose agent said them. */
static void print_phases(const struct hf_json *record)
{
    if (hf_json_get_real(record, "openCursorDuration", 0) > 0) {
        (void)printf("  phases       cursor %.1f s, file list %.1f s, data %.1f s, oplog %.1f s, "
                     "check %llu s\n",
                     hf_json_get_real(record, "openCursorDuration", 0),
                     hf_json_get_real(record, "fileListUploadDuration", 0),
                     hf_json_get_real(record, "dataBlockUploadDuration", 0),
                     hf_json_get_real(record, "confirmOplogDuration", 0),
                     (unsigned long long)hf_json_get_u64(record, "finalizeFileListDuration", 0));
    }
}

static void print_snapshot(const struct hf_json *snapshot)
{
    char bytes[24], fresh[24], stored[24], created[32];
    uint64_t seconds = hf_json_get_u64(hf_json_get_object(snapshot, "checkpoint"), "seconds", 0);

    hf_cli_bytes(snapshot, "bytes", bytes);
    hf_cli_bytes(snapshot, "newBytes", fresh);
    hf_cli_bytes(snapshot, "storedBytes", stored);
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
    print_phases(hf_json_get_object(snapshot, "record"));
    hf_cli_time(hf_json_get_u64(snapshot, "expiresS", 0), created);
    (void)printf("  kept         %s%s%s%s\n",
                 hf_json_get_bool(snapshot, "doNotDelete", false) ? "for ever"
                 : created[0] == '\0'                             ? "until it is deleted"
                                                                  : "until ",
                 hf_json_get_bool(snapshot, "doNotDelete", false) ? "" : created,
                 created[0] == '\0' ? "" : " UTC",
                 hf_json_get_bool(snapshot, "full", false) ? "; everything was read" : "");
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
#define TAKE_ROW(...) HF_OPTION_ROW(struct take_values, __VA_ARGS__)
HF_CLI_VALUES(take, TAKE_OPTIONS, TAKE_ROW)

static enum hf_err snapshot_take(const struct take_values *values,
                                 const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *begun = NULL;
    HF_CLEANUP(hf_json_drop) struct hf_json *ended = NULL;
    const char *set = NULL;

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
    if (hf_cli_watch(&session, "snapshot", id, &ended, err) != HF_ERR_OK ||
        (values->json && hf_cli_print_json(ended, err) != HF_ERR_OK) ||
        hf_cli_ended(ended, "snapshot", err) != HF_ERR_OK) {
        return err->code;
    }
    if (!values->json) {
        print_snapshot(ended);
    }
    return HF_ERR_OK;
}

/* ---- list ---- */

#define LIST_OPTIONS(OPT)                                                                          \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Only of this replica set")                               \
    OPT(all, FLAG, "false", 0, 0, OPT_NONE, "Also those that failed, were given up or deleted")    \
    HF_CLI_OPTIONS(OPT)
#define LIST_ROW(...) HF_OPTION_ROW(struct list_values, __VA_ARGS__)
HF_CLI_VALUES(list, LIST_OPTIONS, LIST_ROW)

static void list_row(struct hf_cli_table *table, const struct hf_json *one)
{
    char when[32], bytes[24], fresh[24], stored[24];
    uint64_t seconds = hf_json_get_u64(hf_json_get_object(one, "checkpoint"), "seconds", 0);
    const char *verified = hf_json_get_u64(one, "verifiedS", 0) == 0    ? "-"
                           : hf_json_get_bool(one, "verifiedOk", false) ? "whole"
                                                                        : "DAMAGED";

    hf_cli_time(seconds != 0 ? seconds : hf_json_get_u64(one, "createdS", 0), when);
    hf_cli_bytes(one, "bytes", bytes);
    hf_cli_bytes(one, "newBytes", fresh);
    hf_cli_bytes(one, "storedBytes", stored);
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
static const struct hf_cli_listing snapshot_list_listing = {
    .titles = snapshot_list_titles, .columns = HF_ARRAY_LEN(snapshot_list_titles), .row = list_row};

static enum hf_err snapshot_list(const struct list_values *values,
                                 const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;
    HF_CLEANUP(hf_buf_fini) struct hf_buf target = HF_BUF_INIT(1000);
    bool first = true;

    (void)rest;
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
    return hf_cli_show_list(list, &snapshot_list_listing, values->json, err);
}

/* ---- show ---- */

#define ONE_OPTIONS(OPT)                                                                           \
    OPT(snapshot, TEXT, "", 0, 100, OPT_NONE, "Id of the snapshot")                                \
    HF_CLI_OPTIONS(OPT)
#define ONE_ROW(...) HF_OPTION_ROW(struct one_values, __VA_ARGS__)
HF_CLI_VALUES(one, ONE_OPTIONS, ONE_ROW)

static enum hf_err snapshot_show(const struct one_values *values, const struct hf_option_rest *rest,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *snapshot = NULL;
    const struct hf_cli_one one = {.server = HF_CLI_SERVER(values),
                                   .method = "GET",
                                   .noun = "snapshot",
                                   .tail = "",
                                   .given = values->snapshot};
    const char *id = NULL;

    if (hf_cli_call_one(&one, rest, &id, &snapshot, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(snapshot, err);
    }
    print_snapshot(snapshot);
    return HF_ERR_OK;
}

/* ---- delete ---- */

static enum hf_err snapshot_delete(const struct one_values *values,
                                   const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;
    const struct hf_cli_one one = {.server = HF_CLI_SERVER(values),
                                   .method = "DELETE",
                                   .noun = "snapshot",
                                   .tail = "",
                                   .given = values->snapshot};
    const char *id = NULL;

    if (hf_cli_call_one(&one, rest, &id, &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        hf_json_set_text(answer, "deleted", id);
        return hf_cli_print_json(answer, err);
    }
    (void)printf("snapshot %s is deleted; its space comes back with 'holdfast store groom'\n", id);
    return HF_ERR_OK;
}

/* ---- verify ---- */

#define VERIFY_OPTIONS(OPT)                                                                        \
    OPT(snapshot, TEXT, "", 0, 100, OPT_NONE, "Id of the snapshot")                                \
    OPT(level, TEXT, "content", 0, 20, OPT_NONE,                                                   \
        "references: every block is there; stored: and intact; content: and decrypts and has its " \
        "hash")                                                                                    \
    HF_CLI_OPTIONS(OPT)
#define VERIFY_ROW(...) HF_OPTION_ROW(struct verify_values, __VA_ARGS__)
HF_CLI_VALUES(verify, VERIFY_OPTIONS, VERIFY_ROW)

/* The verification's own call waits for its end; this thread's calls show how far it is. */
struct verify_watch {
    const struct verify_values *values;
    const char *target; /* of the snapshot */
    struct hf_cancel stop;
};

static void verify_watch_loop(void *argument)
{
    struct verify_watch *watch_this = argument;
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    struct hf_cli_progress shown = {.said_ms = 0};
    struct hf_error err;

    if (HF_CLI_OPEN(watch_this->values, &session, &err) != HF_ERR_OK) {
        return;
    }
    while (!hf_cancel_requested(&watch_this->stop)) {
        HF_CLEANUP(hf_json_drop) struct hf_json *record = NULL;
        hf_cancel_sleep(&watch_this->stop, WATCH_EVERY_MS);
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

static enum hf_err verify_call(const struct verify_values *values, const char *id,
                               struct hf_json **report, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    struct verify_watch watching = {.values = values};
    struct hf_thread *thread = NULL;
    char target[128], snapshot_target[128];

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

static enum hf_err snapshot_verify(const struct verify_values *values,
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
            hf_cli_bytes(report, "bytes", bytes);
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

/* ---- The table ---- */

/* ---- start, set ---- */

#define START_OPTIONS(OPT)                                                                         \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Name of the replica set")                                \
    OPT(retention_days, NUMBER, "auto", 1, 36500, OPT_NONE,                                        \
        "Days to keep it; auto: as long as the policy keeps the daily one")                        \
    OPT(description, TEXT, "", 0, 200, OPT_NONE, "A note for people")                              \
    HF_CLI_OPTIONS(OPT)
#define START_ROW(...) HF_OPTION_ROW(struct start_values, __VA_ARGS__)
HF_CLI_VALUES(start, START_OPTIONS, START_ROW)

static enum hf_err snapshot_start(const struct start_values *values,
                                  const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *begun = NULL;
    const char *set = NULL;
    char expires[32];

    if (hf_cli_need(values->set, rest, "set", &set, err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_json_set_text(body, "set", set);
    if (values->retention_days != 0) {
        hf_json_set_u64(body, "retentionDays", values->retention_days);
    }
    hf_json_set_text(body, "description",
                     values->description[0] == '\0' ? NULL : values->description);
    if (hf_cli_call(&session, "POST", PRIVATE "/snapshots", body, &begun, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(begun, err);
    }
    hf_cli_time(hf_json_get_u64(begun, "expiresS", 0), expires);
    (void)printf("snapshot %s has begun on %s; it is kept until %s UTC\n",
                 hf_cli_text(begun, "id", "?"), hf_cli_text(begun, "member", "?"), expires);
    return HF_ERR_OK;
}

#define EXPIRY_OPTIONS(OPT)                                                                        \
    OPT(snapshot, TEXT, "", 0, 100, OPT_NONE, "Id of the snapshot")                                \
    OPT(expires, TEXT, "", 0, 40, OPT_NONE,                                                        \
        "Keep it until then, as 2026-12-24T18:00:00Z; a past time: it goes at the next "           \
        "opportunity")                                                                             \
    OPT(keep, FLAG, "false", 0, 0, OPT_NONE, "Keep it for ever")                                   \
    HF_CLI_OPTIONS(OPT)
#define EXPIRY_ROW(...) HF_OPTION_ROW(struct expiry_values, __VA_ARGS__)
HF_CLI_VALUES(expiry, EXPIRY_OPTIONS, EXPIRY_ROW)

static enum hf_err snapshot_set(const struct expiry_values *values,
                                const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *record = NULL;
    const char *id = NULL;
    char target[128], expires[32];

    if (values->keep == (values->expires[0] != '\0')) {
        return hf_fail(err, HF_ERR_INVALID, "give one of --expires and --keep");
    }
    if (values->keep) {
        hf_json_set_bool(body, "doNotDelete", true);
    } else {
        hf_json_set_text(body, "expires", values->expires);
    }
    if (hf_cli_need(values->snapshot, rest, "snapshot", &id, err) != HF_ERR_OK ||
        hf_cli_id_target(target, sizeof target, "snapshots", id, "", err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, "PATCH", target, body, &record, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(record, err);
    }
    hf_cli_time(hf_json_get_u64(record, "expiresS", 0), expires);
    (void)printf("snapshot %s is kept %s%s%s\n", id, values->keep ? "for ever" : "until ", expires,
                 values->keep ? "" : " UTC");
    return HF_ERR_OK;
}

#define COMMANDS(VERB)                                                                             \
    VERB(snapshot_take, take, "snapshot", "take", "[SET]", 0, 1, "Take a snapshot now",            \
         "Takes a snapshot now and waits for its end, showing how far it is.")                     \
    VERB(snapshot_list, list, "snapshot", "list", "", 0, 0, "List snapshots",                      \
         "Lists snapshots, newest first.")                                                         \
    VERB(snapshot_show, one, "snapshot", "show", "[SNAPSHOT]", 0, 1, "Show one snapshot",          \
         "Shows one snapshot.")                                                                    \
    VERB(snapshot_verify, verify, "snapshot", "verify", "[SNAPSHOT]", 0, 1,                        \
         "Check a snapshot's data in the store",                                                   \
         "Reads a snapshot's data in the store and says what is damaged, by name.")                \
    VERB(snapshot_delete, one, "snapshot", "delete", "[SNAPSHOT]", 0, 1, "Delete a snapshot",      \
         "Deletes a snapshot. Others that share its data stay whole.")                             \
    VERB(snapshot_start, start, "snapshot", "start", "[SET]", 0, 1,                                \
         "Begin a snapshot beside the schedule",                                                   \
         "Begins a snapshot on demand and returns. The schedule goes on as if there were none.")   \
    VERB(snapshot_set, expiry, "snapshot", "set", "[SNAPSHOT]", 0, 1,                              \
         "Keep a snapshot longer, shorter or for ever", "Changes how long a snapshot is kept.")
HF_CLI_TABLE(hf_cli_snapshot_commands, COMMANDS)
