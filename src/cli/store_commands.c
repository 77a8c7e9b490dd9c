/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on a store itself: no server, no catalog, only the store and its key file.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/define.h"
#include "cli/output.h"
#include "cli/stores.h"
#include "cli/upkeep.h"
#include "os/clock.h"
#include "os/fs.h"
#include "snapshot/groom.h"
#include "snapshot/keys.h"
#include "snapshot/list.h"
#include "snapshot/restore.h"
#include "snapshot/verify.h"

#define TELL_EVERY_MS 200

/* An open store with its key; key is zero when none was given and the store can do without. */
struct opened {
    struct hf_store *store;
    struct hf_storemark mark;
    struct hf_store_key key;
    bool has_key;
};

static void opened_fini(struct opened *opened)
{
    hf_store_close(opened->store);
    hf_store_key_wipe(&opened->key);
}
HF_CLEANUP_DEFINE_VALUE(opened_fini, struct opened)

struct open_wish {
    const char *url;
    const char *key_file;
    bool key_optional;
    bool writes;
};

static enum hf_err open_store(const struct open_wish *wish, struct opened *out,
                              struct hf_error *err)
{
    const struct hf_store_url_options url = {.url = wish->url, .read_only = !wish->writes};
    const char *key_file = wish->key_file[0] == '\0' ? NULL : wish->key_file;
    const struct hf_store_open_options open = {.key_file = key_file,
                                               .key_optional = wish->key_optional};

    if (hf_store_open_url(&url, &out->store, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_store_keys_open(out->store, &open, &out->mark, &out->key, err) != HF_ERR_OK) {
        return err->code;
    }
    out->has_key = !out->mark.encrypted || key_file != NULL;
    return HF_ERR_OK;
}

static const struct hf_store_key *key_of(const struct opened *opened)
{
    return opened->mark.encrypted && opened->has_key ? &opened->key : NULL;
}

/* ---- Progress of work in this process ---- */

struct teller {
    struct hf_progress progress;
    const char *what;
    struct hf_cancel stop;
    struct hf_thread *thread;
};

static void tell_loop(void *argument)
{
    struct teller *teller = argument;
    struct hf_cli_progress shown = {.said_ms = 0};

    while (!hf_cancel_requested(&teller->stop)) {
        struct hf_progress_view view;
        hf_cancel_sleep(&teller->stop, TELL_EVERY_MS);
        hf_progress_view(&teller->progress, hf_clock_mono_ms(), &view);
        hf_cli_progress_show(&shown, teller->what, &view);
    }
    hf_cli_progress_end(&shown);
}

static enum hf_err teller_start(struct teller *teller, const char *what, struct hf_error *err)
{
    teller->what = what;
    hf_progress_init(&teller->progress);
    hf_progress_start(&teller->progress, hf_clock_mono_ms());
    hf_cancel_init(&teller->stop);
    return hf_thread_start("hf-progress", tell_loop, teller, &teller->thread, err);
}

static void teller_stop(struct teller *teller)
{
    hf_cancel_request(&teller->stop);
    hf_thread_join(teller->thread);
    hf_progress_fini(&teller->progress);
}

/* ---- list ---- */

#define STORE_OPTIONS(OPT)                                                                         \
    OPT(key_file, PATH, "", 0, 4096, OPT_NONE, "With URL: the store's key file")                   \
    HF_CLI_OPTIONS(OPT)

#define LIST_ROW(...) HF_OPTION_ROW(struct store_list_values, __VA_ARGS__)
HF_CLI_VALUES(store_list, STORE_OPTIONS, LIST_ROW)

static struct hf_json *listed_document(const struct hf_listed_snapshot *listed)
{
    struct hf_json *json = hf_json_object();
    const struct hf_manifest *manifest = &listed->manifest;
    const struct hf_tree_sums *sums = &manifest->root.sums;

    hf_json_set_text(json, "jobId", hf_id_text(&manifest->job).text);
    hf_json_set_u64(json, "capture", manifest->capture);
    if (listed->code != HF_ERR_OK) {
        hf_json_set_text(json, "errorClass", hf_err_name(listed->code));
        hf_json_set_text(json, "error", listed->problem);
        return json;
    }
    hf_json_set_text(json, "id", hf_id_text(&manifest->snapshot).text);
    hf_json_set_text(json, "setName", manifest->facts.set_name);
    hf_json_set_text(json, "member", manifest->facts.member);
    hf_json_set_text(json, "serverVersion", manifest->facts.server_version);
    hf_json_set_text(json, "fcv", manifest->facts.fcv);
    hf_json_set_u64(json, "createdS", manifest->created_s);
    hf_json_set_u64(json, "checkpointS", manifest->facts.checkpoint.seconds);
    hf_json_set_u64(json, "checkpointIncrement", manifest->facts.checkpoint.increment);
    hf_json_set_u64(json, "files", sums->files);
    hf_json_set_u64(json, "bytes", sums->bytes);
    hf_json_set_u64(json, "newBytes", sums->new_bytes);
    hf_json_set_u64(json, "storedBytes", sums->stored_bytes);
    hf_json_set_bool(json, "encrypted", manifest->encrypted);
    hf_json_set_bool(json, "sealed", listed->seal_state == HF_SEAL_PROVED);
    return json;
}

static enum hf_err print_list(const struct hf_snapshot_list *list, bool as_json,
                              struct hf_error *err)
{
    static const char *const titles[] = {"SNAPSHOT", "SET",    "AS OF (UTC)", "SIZE",
                                         "NEW",      "STORED", "MEMBER",      "STATE"};
    HF_CLEANUP(hf_json_drop) struct hf_json *all = hf_json_object();
    struct hf_json *results = hf_json_array();

    for (size_t i = 0; i < list->count; i++) {
        hf_json_append_take(results, listed_document(&list->items[i]));
    }
    hf_json_set_take(all, "results", results);
    hf_json_set_u64(all, "totalCount", list->count);
    if (as_json) {
        return hf_cli_print_json(all, err);
    }
    struct hf_cli_table *table = hf_cli_table_create(titles, HF_ARRAY_LEN(titles));
    for (size_t i = 0; i < list->count; i++) {
        const struct hf_listed_snapshot *one = &list->items[i];
        const struct hf_tree_sums *sums = &one->manifest.root.sums;
        char when[32], bytes[24], fresh[24], stored[24];
        hf_cli_time(one->manifest.facts.checkpoint.seconds, when);
        hf_format_bytes(sums->bytes, bytes, sizeof bytes);
        hf_format_bytes(sums->new_bytes, fresh, sizeof fresh);
        hf_format_bytes(sums->stored_bytes, stored, sizeof stored);
        bool good = one->code == HF_ERR_OK;
        const struct hf_id_text id = hf_id_text(&one->manifest.snapshot);
        const char *cells[] = {good ? id.text : "?",
                               one->manifest.facts.set_name,
                               when,
                               bytes,
                               fresh,
                               stored,
                               one->manifest.facts.member,
                               !good ? one->problem
                               : one->seal_state == HF_SEAL_PROVED
                                   ? "sealed"
                                   : "seal not checked: no key given"};
        hf_cli_table_row(table, cells);
    }
    hf_cli_table_print(table);
    return HF_ERR_OK;
}

static enum hf_err store_list(const struct store_list_values *values,
                              const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(opened_fini) struct opened opened = {.store = NULL};
    HF_CLEANUP(hf_snapshot_list_fini) struct hf_snapshot_list list = {0};
    if (rest->arguments.count == 0) {
        return hf_cli_list_stores(&HF_CLI_SERVER(values), values->json, err);
    }
    const struct open_wish wish = {
        .url = rest->arguments.values[0], .key_file = values->key_file, .key_optional = true};
    if (open_store(&wish, &opened, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_list_options options = {
        .store = opened.store, .store_key = key_of(&opened), .with_roots = true};
    if (hf_list_snapshots(&options, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    return print_list(&list, values->json, err);
}

/* ---- verify ---- */

#define STORE_VERIFY_OPTIONS(OPT)                                                                  \
    OPT(key_file, PATH, "", 0, 4096, OPT_NONE,                                                     \
        "The store's key file; without it only what needs no key is checked")                      \
    OPT(level, TEXT, "content", 0, 20, OPT_NONE,                                                   \
        "references: every block is there; stored: and intact; content: and decrypts and has its " \
        "hash")                                                                                    \
    OPT(json, FLAG, "false", 0, 0, OPT_NONE, "Print one JSON document")
#define VERIFY_ROW(...) HF_OPTION_ROW(struct store_verify_values, __VA_ARGS__)
HF_CLI_VALUES(store_verify, STORE_VERIFY_OPTIONS, VERIFY_ROW)

static enum hf_err level_of(const char *text, enum hf_verify_level *out, struct hf_error *err)
{
    static const char *const words[] = {"references", "stored", "content"};

    for (size_t i = 0; i < HF_ARRAY_LEN(words); i++) {
        if (strcmp(words[i], text) == 0) {
            *out = (enum hf_verify_level)i;
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_INVALID, "level '%s' is none of references, stored, content", text);
}

static struct hf_json *damage_document(const struct hf_damage *damage)
{
    struct hf_json *json = hf_json_object();

    hf_json_set_text(json, "jobId", hf_id_text(&damage->job).text);
    if (!hf_id_is_none(&damage->snapshot)) {
        hf_json_set_text(json, "snapshotId", hf_id_text(&damage->snapshot).text);
    }
    hf_json_set_text(json, "object", damage->object);
    hf_json_set_text(json, "path", damage->path);
    hf_json_set_u64(json, "offset", damage->offset);
    hf_json_set_text(json, "block", hf_address_text(&damage->address).text);
    hf_json_set_text(json, "errorClass", hf_err_name(damage->code));
    hf_json_set_text(json, "message", damage->message);
    return json;
}

static enum hf_err print_report(const struct hf_verify_report *report, bool as_json,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    struct hf_json *damages = hf_json_array();
    char bytes[24];

    for (size_t i = 0; i < report->kept_count; i++) {
        hf_json_append_take(damages, damage_document(&report->damages[i]));
    }
    hf_json_set_bool(json, "ok", report->damage_count == 0);
    hf_json_set_u64(json, "snapshots", report->snapshots);
    hf_json_set_u64(json, "objects", report->objects);
    hf_json_set_u64(json, "files", report->files);
    hf_json_set_u64(json, "blocks", report->blocks);
    hf_json_set_u64(json, "bytes", report->bytes);
    hf_json_set_u64(json, "damageCount", report->damage_count);
    hf_json_set_take(json, "damages", damages);
    if (as_json) {
        return hf_cli_print_json(json, err);
    }
    hf_format_bytes(report->bytes, bytes, sizeof bytes);
    (void)printf("%llu snapshots, %llu objects, %llu blocks, %s: %s\n",
                 (unsigned long long)report->snapshots, (unsigned long long)report->objects,
                 (unsigned long long)report->blocks, bytes,
                 report->damage_count == 0 ? "whole" : "DAMAGED");
    for (size_t i = 0; i < report->kept_count; i++) {
        const struct hf_damage *one = &report->damages[i];
        (void)printf("damaged: %s%s%s%s%s\n",
                     hf_id_is_none(&one->snapshot) ? "" : hf_id_text(&one->snapshot).text,
                     one->path[0] == '\0' ? "" : " ", one->path,
                     one->message[0] == '\0' ? "" : ": ", one->message);
    }
    return HF_ERR_OK;
}

static enum hf_err store_verify(const struct store_verify_values *values,
                                const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(opened_fini) struct opened opened = {.store = NULL};
    HF_CLEANUP(hf_verify_report_fini) struct hf_verify_report report = {0};
    struct teller teller = {.thread = NULL};
    enum hf_verify_level level = HF_VERIFY_CONTENT;
    const struct open_wish wish = {
        .url = rest->arguments.values[0], .key_file = values->key_file, .key_optional = true};

    if (level_of(values->level, &level, err) != HF_ERR_OK ||
        open_store(&wish, &opened, err) != HF_ERR_OK ||
        teller_start(&teller, "verify", err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_verify_options options = {.store = opened.store,
                                              .level = level,
                                              .progress = &teller.progress,
                                              .cancel = hf_cli_cancel()};
    enum hf_err code = hf_verify_store(&options, key_of(&opened), &report, err);
    teller_stop(&teller);
    if (code != HF_ERR_OK || print_report(&report, values->json, err) != HF_ERR_OK) {
        return err->code;
    }
    if (report.damage_count > 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s has %llu damages", wish.url,
                       (unsigned long long)report.damage_count);
    }
    return HF_ERR_OK;
}

/* ---- restore ---- */

#define STORE_RESTORE_OPTIONS(OPT)                                                                 \
    OPT(key_file, PATH, "", 0, 4096, OPT_NONE, "The store's key file")                             \
    OPT(snapshot, TEXT, "", 1, 100, OPT_REQUIRED, "Id of the snapshot")                            \
    OPT(to, PATH, "", 1, 4096, OPT_REQUIRED, "Directory, empty or not there yet (but see --onto)") \
    HF_CLI_ONTO_OPTIONS(OPT)                                                                       \
    OPT(workers, NUMBER, "auto", 1, 256, OPT_NONE, "Threads; auto is one a core")                  \
    OPT(json, FLAG, "false", 0, 0, OPT_NONE, "Print one JSON document")
#define RESTORE_ROW(...) HF_OPTION_ROW(struct store_restore_values, __VA_ARGS__)
HF_CLI_VALUES(store_restore, STORE_RESTORE_OPTIONS, RESTORE_ROW)

static enum hf_err restore_manifest(const struct store_restore_values *values,
                                    const struct opened *opened, const struct hf_manifest *manifest,
                                    struct hf_restore_result *result, struct hf_error *err)
{
    HF_CLEANUP(hf_keyring_wipe) struct hf_keyring keyring = {.encrypted = false};
    HF_CLEANUP(hf_buf_fini) struct hf_buf info = HF_BUF_INIT((size_t)1 << 20);
    struct teller teller = {.thread = NULL};

    if (hf_job_keys_load(opened->store, &opened->key, &manifest->job, &keyring, err) != HF_ERR_OK ||
        hf_restore_info_text(manifest, &info, err) != HF_ERR_OK ||
        teller_start(&teller, "restore", err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_restore_options options = {
        .store = opened->store,
        .keyring = &keyring,
        .root = &manifest->root,
        .directory = values->to,
        .restore_info = hf_buf_text(&info),
        .workers = (unsigned)values->workers,
        .progress = &teller.progress,
        .cancel = hf_cli_cancel(),
        .onto = values->onto,
        .leave_foreign = values->leave_foreign,
    };
    enum hf_err code = hf_restore_run(&options, result, err);
    teller_stop(&teller);
    return code;
}

static enum hf_err store_restore(const struct store_restore_values *values,
                                 const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(opened_fini) struct opened opened = {.store = NULL};
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest manifest = {.capture = 0};
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    struct hf_restore_result result = {0};
    struct hf_id snapshot;
    const struct open_wish wish = {.url = rest->arguments.values[0], .key_file = values->key_file};

    if (!hf_id_parse(hf_str_of(values->snapshot), &snapshot)) {
        return hf_fail(err, HF_ERR_INVALID, "'%s' is not an id: 24 hexadecimal digits are",
                       values->snapshot);
    }
    if (values->leave_foreign && !values->onto) {
        return hf_fail(err, HF_ERR_INVALID, "--leave-foreign belongs to --onto");
    }
    if (open_store(&wish, &opened, err) != HF_ERR_OK ||
        hf_list_find_snapshot(opened.store, key_of(&opened), &snapshot, &manifest, err) !=
            HF_ERR_OK ||
        restore_manifest(values, &opened, &manifest, &result, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_json_set_text(json, "snapshotId", values->snapshot);
    hf_json_set_text(json, "directory", values->to);
    hf_json_set_bool(json, "onto", values->onto);
    hf_json_set_u64(json, "files", result.files);
    hf_json_set_u64(json, "bytes", result.bytes);
    hf_json_set_u64(json, "writtenBytes", result.written_bytes);
    hf_json_set_u64(json, "removedFiles", result.removed_files);
    if (values->json) {
        return hf_cli_print_json(json, err);
    }
    hf_cli_print_restored(json);
    return HF_ERR_OK;
}

/* ---- groom ---- */

#define STORE_GROOM_OPTIONS(OPT)                                                                   \
    OPT(key_file, PATH, "", 0, 4096, OPT_NONE, "With URL: the store's key file")                   \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Without URL: only this replica set's part")              \
    OPT(living_percent, NUMBER, "75", 1, 100, OPT_NONE,                                            \
        "Copy the rest of objects with a smaller share of living bytes; 100 drops every dead "     \
        "block")                                                                                   \
    OPT(dry_run, FLAG, "false", 0, 0, OPT_NONE, "Say what would go, change nothing")               \
    OPT(no_wait, FLAG, "false", 0, 0, OPT_NONE,                                                    \
        "Without URL: only ask for it, see `store usage` for the rest")                            \
    HF_CLI_OPTIONS(OPT)
#define GROOM_ROW(...) HF_OPTION_ROW(struct store_groom_values, __VA_ARGS__)
HF_CLI_VALUES(store_groom, STORE_GROOM_OPTIONS, GROOM_ROW)

static struct hf_json *groom_document(const struct hf_groom_result *one)
{
    struct hf_json *json = hf_json_object();
    uint64_t all = one->living_bytes + one->dead_bytes;

    hf_json_set_u64(json, "snapshots", one->manifests);
    hf_json_set_u64(json, "objectsSeen", one->objects_seen);
    hf_json_set_u64(json, "objectsClaimed", one->objects_claimed);
    hf_json_set_u64(json, "objectsUnreadable", one->objects_unreadable);
    hf_json_set_u64(json, "objectsDeleted", one->objects_deleted);
    hf_json_set_u64(json, "objectsCopied", one->objects_copied);
    hf_json_set_u64(json, "objectsWritten", one->objects_written);
    hf_json_set_u64(json, "bytesBefore", one->bytes_before);
    hf_json_set_u64(json, "bytesAfter", one->bytes_after);
    hf_json_set_u64(json, "livingBytes", one->living_bytes);
    hf_json_set_u64(json, "deadBytes", one->dead_bytes);
    hf_json_set_u64(json, "livingBlocks", one->living_blocks);
    hf_json_set_u64(json, "deadBlocks", one->dead_blocks);
    hf_json_set_real(json, "livingRatio", all == 0 ? 1 : (double)one->living_bytes / (double)all);
    return json;
}

static void print_groomed(const char *what, const struct hf_groom_result *one, bool dry_run)
{
    char before[24], after[24];
    uint64_t all = one->living_bytes + one->dead_bytes;

    hf_format_bytes(one->bytes_before, before, sizeof before);
    hf_format_bytes(one->bytes_after, after, sizeof after);
    (void)printf("%s: %llu snapshots, %.0f %% of the bytes live; %llu of %llu objects %s, the rest "
                 "of %llu %s together; %s before, %s after\n",
                 what, (unsigned long long)one->manifests,
                 all == 0 ? 100 : (double)one->living_bytes / (double)all * 100,
                 (unsigned long long)one->objects_deleted, (unsigned long long)one->objects_seen,
                 dry_run ? "would go" : "gone", (unsigned long long)one->objects_copied,
                 dry_run ? "would be copied" : "copied", before, after);
}

static void add_groomed(struct hf_groom_result *sum, const struct hf_groom_result *one)
{
    sum->objects_seen += one->objects_seen;
    sum->objects_deleted += one->objects_deleted;
    sum->objects_written += one->objects_written;
    sum->objects_claimed += one->objects_claimed;
    sum->objects_unreadable += one->objects_unreadable;
    sum->objects_copied += one->objects_copied;
    sum->bytes_before += one->bytes_before;
    sum->bytes_after += one->bytes_after;
    sum->living_bytes += one->living_bytes;
    sum->dead_bytes += one->dead_bytes;
    sum->living_blocks += one->living_blocks;
    sum->dead_blocks += one->dead_blocks;
    sum->manifests += one->manifests;
}

/* Each job; one that cannot be groomed hinders no other. *wrong: the first error. */
static enum hf_err groom_jobs(const struct store_groom_values *values, const struct opened *opened,
                              struct hf_groom_result *sum, struct hf_json *results,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_job_list_fini) struct hf_job_list jobs = {0};
    struct hf_error first = {.code = HF_ERR_OK};

    if (hf_list_jobs(opened->store, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < jobs.count; i++) {
        HF_CLEANUP(hf_keyring_wipe) struct hf_keyring keyring = {.encrypted = false};
        struct hf_groom_result one = {0};
        const struct hf_groom_options options = {
            .store = opened->store,
            .keyring = &keyring,
            .living_percent = (unsigned)values->living_percent,
            .only_look = values->dry_run,
            .cancel = hf_cli_cancel(),
        };
        if (hf_job_keys_load(opened->store, &opened->key, &jobs.jobs[i], &keyring, err) !=
                HF_ERR_OK ||
            hf_groom_job(&options, &one, err) != HF_ERR_OK) {
            if (hf_cancel_requested(hf_cli_cancel())) {
                return err->code;
            }
            first = first.code == HF_ERR_OK ? *err : first;
            continue;
        }
        struct hf_json *json = groom_document(&one);
        hf_json_set_text(json, "jobId", hf_id_text(&jobs.jobs[i]).text);
        hf_json_append_take(results, json);
        if (!values->json && jobs.count > 1) {
            print_groomed(hf_id_text(&jobs.jobs[i]).text, &one, values->dry_run);
        }
        add_groomed(sum, &one);
    }
    if (first.code != HF_ERR_OK) {
        *err = first;
    }
    return first.code;
}

/* By the server. */
static enum hf_err groom_there(const struct store_groom_values *values, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;
    const struct hf_cli_upkeep wish = {.call = "groom",
                                       .set = values->set,
                                       .dry_run = values->dry_run,
                                       .living_percent = values->living_percent,
                                       .no_wait = values->no_wait};

    session.client = NULL;
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_upkeep_run(&session, &wish, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(list, err);
    }
    if (!values->no_wait) {
        hf_cli_upkeep_print_groom(list, values->dry_run);
    }
    return HF_ERR_OK;
}

static enum hf_err store_groom(const struct store_groom_values *values,
                               const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(opened_fini) struct opened opened = {.store = NULL};
    struct hf_groom_result sum = {0};

    if (rest->arguments.count == 0) {
        return groom_there(values, err);
    }
    if (values->set[0] != '\0' || values->no_wait) {
        return hf_fail(err, HF_ERR_INVALID,
                       "--set and --no-wait are for a groom by the server: without URL");
    }
    const struct open_wish wish = {
        .url = rest->arguments.values[0], .key_file = values->key_file, .writes = !values->dry_run};
    if (open_store(&wish, &opened, err) != HF_ERR_OK) {
        return err->code;
    }
    HF_CLEANUP(hf_json_drop) struct hf_json *results = hf_json_array();
    enum hf_err code = groom_jobs(values, &opened, &sum, results, err);
    if (code != HF_ERR_OK) {
        return code;
    }
    if (values->json) {
        HF_CLEANUP(hf_json_drop) struct hf_json *json = groom_document(&sum);
        hf_json_set_take(json, "jobs", HF_TAKE(results));
        return hf_cli_print_json(json, err);
    }
    print_groomed("all", &sum, values->dry_run);
    return HF_ERR_OK;
}

/* ---- The table ---- */

#define COMMANDS(VERB)                                                                             \
    VERB(store_list, store_list, "store", "list", "[URL]", 0, 1,                                   \
         "List the stores, or with URL the snapshots of one",                                      \
         "Lists the stores of the server; with URL the snapshots that a store holds, with no "     \
         "server.")                                                                                \
    VERB(store_verify, store_verify, "store", "verify", "URL", 1, 1,                               \
         "Check a whole store, with no server",                                                    \
         "Checks every object and every snapshot of a store and names what is damaged.")           \
    VERB(store_restore, store_restore, "store", "restore", "URL", 1, 1,                            \
         "Restore from a store, with no server",                                                   \
         "Restores a snapshot from a store into a directory, with no server.")                     \
    VERB(store_groom, store_groom, "store", "groom", "[URL]", 0, 1,                                \
         "Give back the space of deleted snapshots",                                               \
         "Gives back the space of what no snapshot reaches: by the server, or with URL by this "   \
         "process. Safe beside everything else.")
HF_CLI_TABLE(hf_cli_store_commands, COMMANDS)
