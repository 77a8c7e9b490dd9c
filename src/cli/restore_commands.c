/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on restores, over the server's API. Those onto whole sets are in target_commands.c, links in link_commands.c.
 */
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/define.h"
#include "cli/link.h"
#include "cli/output.h"
#include "cli/point.h"
#include "cli/target.h"
#include "os/clock.h"
#include "os/fs.h"

#define PRIVATE HF_CLI_PRIVATE

#define PLAIN_ROW(...) HF_OPTION_ROW(struct plain_values, __VA_ARGS__)
HF_CLI_VALUES(plain, HF_CLI_OPTIONS, PLAIN_ROW)

/* ---- start ---- */

#define START_OPTIONS(OPT)                                                                         \
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
#define START_ROW(...) HF_OPTION_ROW(struct start_values, __VA_ARGS__)
HF_CLI_VALUES(start, START_OPTIONS, START_ROW)

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
static enum hf_err restore_tar(const struct start_values *values, const char *id,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *snapshot = NULL;
    struct tar_sink sink = {.started_ms = hf_clock_mono_ms()};
    const struct hf_http_sink http = {.write = tar_write, .context = &sink};
    bool to_stdout = strcmp(values->tar, "-") == 0;
    char target[128], about[128], bytes[24];
    struct hf_error ignored;

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

static enum hf_err restore_directory(const struct start_values *values, const char *id,
                                     const struct hf_target *point, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *begun = NULL;
    HF_CLEANUP(hf_json_drop) struct hf_json *ended = NULL;
    char job[32];

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
    if (hf_cli_watch(&session, "restore", restore, &ended, err) != HF_ERR_OK ||
        (values->json && hf_cli_print_json(ended, err) != HF_ERR_OK) ||
        hf_cli_ended(ended, "restore", err) != HF_ERR_OK) {
        return err->code;
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

static enum hf_err restore_set(const struct start_values *values, const struct hf_option_rest *rest,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
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

static enum hf_err restore_start(const struct start_values *values,
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

/* ---- list ---- */

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
static const struct hf_cli_listing restore_list_listing = {.titles = restore_list_titles,
                                                           .columns =
                                                               HF_ARRAY_LEN(restore_list_titles),
                                                           .row = restore_row};

static enum hf_err restore_list(const struct plain_values *values,
                                const struct hf_option_rest *rest, struct hf_error *err)
{
    (void)rest;
    return hf_cli_list(&HF_CLI_SERVER(values), PRIVATE "/restores", &restore_list_listing,
                       values->json, err);
}

/* ---- show ---- */

#define ONE_OPTIONS(OPT)                                                                           \
    OPT(restore, TEXT, "", 0, 100, OPT_NONE, "Id of the restore")                                  \
    HF_CLI_OPTIONS(OPT)
#define ONE_ROW(...) HF_OPTION_ROW(struct one_values, __VA_ARGS__)
HF_CLI_VALUES(one, ONE_OPTIONS, ONE_ROW)

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

static enum hf_err restore_show(const struct one_values *values, const struct hf_option_rest *rest,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *restore = NULL;
    const struct hf_cli_one one = {.server = HF_CLI_SERVER(values),
                                   .method = "GET",
                                   .noun = "restore",
                                   .tail = "",
                                   .given = values->restore};
    const char *id = NULL;

    if (hf_cli_call_one(&one, rest, &id, &restore, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(restore, err);
    }
    print_restore(restore);
    return HF_ERR_OK;
}

/* ---- cancel ---- */

static enum hf_err restore_cancel(const struct one_values *values,
                                  const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *restore = NULL;
    const struct hf_cli_one one = {.server = HF_CLI_SERVER(values),
                                   .method = "POST",
                                   .noun = "restore",
                                   .tail = "/cancel",
                                   .given = values->restore};
    const char *id = NULL;

    if (hf_cli_call_one(&one, rest, &id, &restore, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(restore, err);
    }
    (void)printf(hf_json_get_object(restore, "link") != NULL
                     ? "the link of restore %s is withdrawn\n"
                     : "restore %s is asked to stop\n",
                 id);
    return HF_ERR_OK;
}

/* ---- The table ---- */

#define COMMANDS(VERB)                                                                             \
    VERB(restore_start, start, "restore", "start", "[SNAPSHOT]", 0, 1,                             \
         "Restore a snapshot: --to DIR or --tar FILE",                                             \
         "Restores a snapshot, or a point in time: into a directory through an agent, or a "       \
         "snapshot as a tar archive.")                                                             \
    VERB(restore_list, plain, "restore", "list", "", 0, 0, "List restores",                        \
         "Lists restores, newest first.")                                                          \
    VERB(restore_show, one, "restore", "show", "[RESTORE]", 0, 1, "Show one restore",              \
         "Shows one restore.")                                                                     \
    VERB(restore_cancel, one, "restore", "cancel", "[RESTORE]", 0, 1,                              \
         "Stop a restore, or withdraw a link", "Stops a restore, or withdraws a link.")
HF_CLI_TABLE(hf_cli_restore_commands, COMMANDS)
