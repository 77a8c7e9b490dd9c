/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restored snapshot is brought to a point in time on this machine, with entries that a server hands out, or with no server
 * straight from the store.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/define.h"
#include "cli/oplog_served.h"
#include "cli/oplog_store.h"
#include "cli/output.h"
#include "cli/point.h"
#include "oplog/replay.h"
#include "os/fs.h"
#include "snapshot/list.h"
#include "snapshot/restore.h"

#define INFO_MAX ((size_t)1 << 20)

/* ---- apply ---- */

#define APPLY_OPTIONS(OPT)                                                                         \
    OPT(dbpath, PATH, "", 1, 4096, OPT_REQUIRED,                                                   \
        "Directory with a restored snapshot that no server has open")                              \
    HF_CLI_TARGET_OPTIONS(OPT)                                                                     \
    OPT(snapshot, TEXT, "", 0, 100, OPT_NONE,                                                      \
        "Id of the snapshot; default: as restoreInfo.txt in the directory says")                   \
    OPT(mongod, TEXT, "mongod", 1, 4096, OPT_NONE, "A mongod of the snapshot's release")           \
    OPT(store, TEXT, "", 0, 4096, OPT_NONE,                                                        \
        "URL of the store: the oplog is read there, and no server is asked")                       \
    OPT(key_file, PATH, "", 0, 4096, OPT_NONE, "The store's key file, with --store")               \
    OPT(oplog_store, TEXT, "", 0, 4096, OPT_NONE,                                                  \
        "URL of the store that has the oplog, where it is another one; with --store")              \
    HF_CLI_OPTIONS(OPT)
#define APPLY_ROW(...) HF_OPTION_ROW(struct oplog_apply_values, __VA_ARGS__)
HF_CLI_VALUES(oplog_apply, APPLY_OPTIONS, APPLY_ROW)

/* The value of a line of restoreInfo.txt; false when it has none. */
static bool info_value(struct hf_buf *text, const char *key, char *out, size_t out_len)
{
    const char *at = hf_buf_text(text);

    while (at != NULL && at[0] != '\0') {
        size_t len = strcspn(at, "\n");
        size_t key_len = strlen(key);
        if (len > key_len + 2 && strncmp(at, key, key_len) == 0 &&
            strncmp(at + key_len, ": ", 2) == 0) {
            (void)snprintf(out, out_len, "%.*s", (int)(len - key_len - 2), at + key_len + 2);
            return true;
        }
        at += len + (at[len] == '\n' ? 1 : 0);
    }
    return false;
}

static enum hf_err find_snapshot(const struct oplog_apply_values *values, struct hf_id *out,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(INFO_MAX);
    HF_CLEANUP(hf_free) char *path = hf_path_join(values->dbpath, HF_RESTORE_INFO_NAME);
    char found[64] = "";

    if (values->snapshot[0] != '\0') {
        return hf_id_parse(hf_str_of(values->snapshot), out)
                   ? HF_ERR_OK
                   : hf_fail(err, HF_ERR_INVALID, "'%s' is not an id: 24 hexadecimal digits are",
                             values->snapshot);
    }
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s", values->dbpath);
    }
    if (hf_fs_read_whole(path, INFO_MAX, &text, err) != HF_ERR_OK) {
        return hf_wrap(err, "which snapshot is it? hint: name it with --snapshot");
    }
    return info_value(&text, HF_RESTORE_INFO_SNAPSHOT, found, sizeof found) &&
                   hf_id_parse(hf_str_of(found), out)
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_INVALID,
                         "%s does not say which snapshot it is; hint: name it with --snapshot",
                         path);
}

/* Base, ranges and plan of the one snapshot that lies there. */
struct applying {
    struct hf_cli_oplog oplog;
    struct hf_manifest manifest;
    struct hf_ranges ranges;
    struct hf_plan plan;
    struct hf_chain_reader *reader; /* owned; NULL: nothing is read */
    struct hf_target target;
    struct hf_optime seen; /* the entry that was handed out last; none: none was */
};

static void applying_fini(struct applying *applying)
{
    hf_chain_reader_close(applying->reader);
    hf_plan_fini(&applying->plan);
    hf_ranges_fini(&applying->ranges);
    hf_manifest_fini(&applying->manifest);
    hf_cli_oplog_close(&applying->oplog);
}
HF_CLEANUP_DEFINE_VALUE(applying_fini, struct applying)

static enum hf_err plan_once(struct applying *applying, const struct hf_target *target,
                             const struct hf_optime *after, struct hf_error *err)
{
    const struct hf_facts *facts = &applying->manifest.facts;
    struct hf_cli_oplog *oplog = &applying->oplog;
    struct hf_base_snapshot base = {.id = applying->manifest.snapshot,
                                    .capture = applying->manifest.capture,
                                    .checkpoint = facts->checkpoint,
                                    .oplog_end = facts->oplog_end,
                                    .committed = facts->committed};
    const struct hf_ranges_options options = {
        .chains = &oplog->chains, .snapshots = &base, .snapshot_count = 1, .reader = oplog->reader};

    if (hf_ranges_compute(&options, &applying->ranges, err) != HF_ERR_OK ||
        hf_ranges_plan(&applying->ranges, target, NULL, oplog->reader, &applying->plan, err) !=
            HF_ERR_OK) {
        return hf_wrap(err, "snapshot %s", hf_id_text(&base.id).text);
    }
    if (applying->plan.link_count == 0) {
        return HF_ERR_OK;
    }
    const struct hf_chain_reader_options reading = {
        .chains = &oplog->chains,
        .chain = applying->ranges.items[applying->plan.range].chain,
        .reader = oplog->reader,
        .after = after == NULL ? applying->plan.read_after : *after,
        .to = applying->plan.last,
    };
    return hf_chain_gone(hf_chain_reader_open(&reading, &applying->reader, err), err);
}

static void unplan(struct applying *applying)
{
    hf_chain_reader_close(HF_TAKE(applying->reader));
    hf_plan_fini(&applying->plan);
    hf_ranges_fini(&applying->ranges);
    hf_chains_fini(&applying->oplog.chains);
}

/* Chains, plan and reader, from the plan's start or behind an entry. Nothing is leased for it: a server may merge slices
 * meanwhile. */
static enum hf_err plan_it(struct applying *applying, const struct hf_optime *after,
                           struct hf_error *err)
{
    enum hf_err code = HF_ERR_UNAVAILABLE;

    for (unsigned loads = 0; code == HF_ERR_UNAVAILABLE && loads < HF_CHAIN_LOADS_MAX; loads++) {
        unplan(applying);
        code = hf_cli_oplog_chains(&applying->oplog, err);
        if (code == HF_ERR_OK) {
            code = plan_once(applying, &applying->target, after, err);
        }
    }
    return code;
}

/* For the replay: the next entry, from the slice that took the place of one that went. */
static enum hf_err next_entry(void *context, struct hf_bytes *bytes, bool *more,
                              struct hf_error *err)
{
    struct applying *applying = context;
    struct hf_oplog_entry entry;

    *more = false;
    if (applying->reader == NULL) {
        return HF_ERR_OK; /* the copy's own oplog is enough */
    }
    enum hf_err code = hf_chain_reader_next(applying->reader, &entry, more, err);
    if (code == HF_ERR_NOT_FOUND) {
        const struct hf_optime last = applying->plan.last;
        const struct hf_optime *after = hf_optime_is_none(&applying->seen) ? NULL : &applying->seen;
        if (plan_it(applying, after, err) != HF_ERR_OK) {
            return hf_wrap(err, "read on behind %s", hf_optime_text(&applying->seen).text);
        }
        if (applying->reader == NULL || !hf_optime_equal(&applying->plan.last, &last)) {
            return hf_fail(err, HF_ERR_UNAVAILABLE,
                           "the stored oplog changed while it was read; hint: run it again");
        }
        code = hf_chain_reader_next(applying->reader, &entry, more, err);
    }
    if (code == HF_ERR_OK && *more) {
        applying->seen = entry.optime;
        *bytes = entry.bytes;
    }
    return code;
}

/* What is replayed, wherever it comes from. */
struct replayed {
    const struct hf_json *engine_options;
    const char *server_version; /* NULL: not known */
    const struct hf_replay_point *point;
    hf_replay_next next;
    void *next_context;
};

static enum hf_err replay_it(const struct oplog_apply_values *values,
                             const struct replayed *replayed, struct hf_replay_result *result,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_log_destroy) struct hf_log *log = hf_log_create(stderr, HF_LOG_INFO, 0);
    HF_CLEANUP(hf_replay_arguments_fini) struct hf_replay_arguments arguments = {.values = NULL};

    if (hf_replay_arguments_make(replayed->engine_options, &arguments, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_replay_options options = {
        .program = values->mongod,
        .server_version = replayed->server_version,
        .dbpath = values->dbpath,
        .arguments = (const char *const *)arguments.values,
        .point = replayed->point,
        .next = replayed->next,
        .next_context = replayed->next_context,
        .cancel = hf_cli_cancel(),
        .log = log,
    };
    return hf_replay_run(&options, result, err);
}

static enum hf_err print_applied(const struct oplog_apply_values *values,
                                 const struct hf_replay_result *result, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    struct hf_json *notes = hf_json_array();
    char bytes[24];

    for (size_t i = 0; i < result->note_count; i++) {
        struct hf_json *note = hf_json_object();
        hf_json_set_text(note, "name", result->notes[i].name);
        hf_json_set_text(note, "text", result->notes[i].text);
        hf_json_set_bool(note, "mended", result->notes[i].mended);
        hf_json_append_take(notes, note);
    }
    hf_json_set_text(json, "directory", values->dbpath);
    hf_json_set_u64(json, "topS", result->top.seconds);
    hf_json_set_u64(json, "topIncrement", result->top.increment);
    hf_json_set_bool(json, "doneBefore", result->done_before);
    hf_json_set_u64(json, "compared", result->compared);
    hf_json_set_u64(json, "inserted", result->inserted);
    hf_json_set_u64(json, "insertedBytes", result->inserted_bytes);
    hf_json_set_u64(json, "collectionsLookedAt", result->looked_at);
    hf_json_set_u64(json, "collectionsValidated", result->validated);
    hf_json_set_take(json, "notes", notes);
    if (values->json) {
        return hf_cli_print_json(json, err);
    }
    hf_format_bytes(result->inserted_bytes, bytes, sizeof bytes);
    (void)printf("%s is at %s%s: %llu entries (%s) were added to the %llu that it held\n",
                 values->dbpath, hf_optime_text(&result->top).text,
                 result->done_before ? ", and was before" : "",
                 (unsigned long long)result->inserted, bytes, (unsigned long long)result->compared);
    for (size_t i = 0; i < result->note_count; i++) {
        (void)printf("%s: %s\n", result->notes[i].name, result->notes[i].text);
    }
    return HF_ERR_OK;
}

static enum hf_err apply_from_store(const struct oplog_apply_values *values,
                                    const struct hf_target *target, struct hf_replay_result *result,
                                    struct hf_error *err)
{
    HF_CLEANUP(applying_fini) struct applying applying = {.seen = {.term = -1}};
    struct hf_cli_oplog *oplog = &applying.oplog;
    const struct hf_facts *facts = &applying.manifest.facts;
    const struct hf_cli_oplog_wish wish = {
        .url = values->store, .oplog_url = values->oplog_store, .key_file = values->key_file};
    struct hf_id snapshot;

    applying.target = *target;
    if (find_snapshot(values, &snapshot, err) != HF_ERR_OK ||
        hf_cli_oplog_open(&wish, oplog, err) != HF_ERR_OK ||
        hf_list_find_snapshot(oplog->store, oplog->mark.encrypted ? &oplog->key : NULL, &snapshot,
                              &applying.manifest, err) != HF_ERR_OK ||
        hf_cli_oplog_keys(oplog, &applying.manifest.job, err) != HF_ERR_OK ||
        plan_it(&applying, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_replay_point point =
        hf_replay_point_of(&applying.plan, &applying.ranges.snapshots[applying.plan.snapshot]);
    const struct replayed replayed = {
        .engine_options = facts->engine_options,
        .server_version = facts->server_version[0] == '\0' ? NULL : facts->server_version,
        .point = &point,
        .next = next_entry,
        .next_context = &applying,
    };
    return replay_it(values, &replayed, result, err);
}

static enum hf_err apply_from_server(const struct oplog_apply_values *values,
                                     const struct hf_target *target,
                                     struct hf_replay_result *result, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_served_close) struct hf_cli_served served = {.plan = NULL};
    const struct hf_cli_session_options session = {.profile = values->profile,
                                                   .server = values->server,
                                                   .ca_file = values->ca_file,
                                                   .project = values->project};
    struct hf_id snapshot;

    if (values->key_file[0] != '\0' || values->oplog_store[0] != '\0') {
        return hf_fail(err, HF_ERR_INVALID,
                       "--key-file and --oplog-store go with --store, which is missing");
    }
    if (find_snapshot(values, &snapshot, err) != HF_ERR_OK ||
        hf_cli_served_open(&session, &snapshot, target, &served, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct replayed replayed = {
        .engine_options = served.options,
        .server_version = served.server_version,
        .point = &served.point,
        .next = hf_cli_served_next,
        .next_context = &served,
    };
    return replay_it(values, &replayed, result, err);
}

static enum hf_err oplog_apply(const struct oplog_apply_values *values,
                               const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.notes = NULL};
    struct hf_target target;
    bool wanted = false;

    (void)rest;
    if (hf_cli_target(values->until, values->oplog_ts, &wanted, &target, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!wanted) {
        return hf_fail(err, HF_ERR_INVALID, "which point? --until or --oplog-ts says it");
    }
    if (values->store[0] != '\0' ? apply_from_store(values, &target, &result, err) != HF_ERR_OK
                                 : apply_from_server(values, &target, &result, err) != HF_ERR_OK) {
        return err->code;
    }
    return print_applied(values, &result, err);
}

/* ---- The table ---- */

#define COMMANDS(VERB)                                                                             \
    VERB(oplog_apply, oplog_apply, "oplog", "apply", "", 0, 0,                                     \
         "Bring a restored snapshot to a point in time",                                           \
         "Brings a restored snapshot to a point in time, on this machine.")
HF_CLI_TABLE(hf_cli_oplog_commands, COMMANDS)
