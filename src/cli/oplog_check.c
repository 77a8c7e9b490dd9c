/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A check of a stored oplog: by the server, which keeps what it finds, or straight in the store.
 */
#include <stdio.h>

#include "cli/api.h"
#include "cli/define.h"
#include "cli/oplog_store.h"
#include "cli/output.h"
#include "oplog/check.h"

#define CHECK_OPTIONS(OPT)                                                                         \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Name of the replica set")                                \
    OPT(store, TEXT, "", 0, 4096, OPT_NONE,                                                        \
        "URL of the store: checks there, and asks no server, whose head is not compared then")     \
    OPT(key_file, PATH, "", 0, 4096, OPT_NONE, "The store's key file, with --store")               \
    OPT(oplog_store, TEXT, "", 0, 4096, OPT_NONE,                                                  \
        "URL of the store that has the oplog, where it is another one; with --store")              \
    OPT(job, TEXT, "", 0, 100, OPT_NONE, "Id of the job, where the store has several")             \
    HF_CLI_OPTIONS(OPT)
#define CHECK_ROW(...) HF_OPTION_ROW(struct oplog_check_values, __VA_ARGS__)
HF_CLI_VALUES(oplog_check, CHECK_OPTIONS, CHECK_ROW)

static enum hf_err ask_server(const struct oplog_check_values *values, const char *set,
                              struct hf_json **out, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    char target[160], job[32];

    if (values->oplog_store[0] != '\0' || values->key_file[0] != '\0' || values->job[0] != '\0') {
        return hf_fail(err, HF_ERR_INVALID,
                       "--key-file, --oplog-store and --job go with --store, which is missing");
    }
    if (set == NULL) {
        return hf_fail(err, HF_ERR_INVALID,
                       "--set is missing, or --store to check without a server; hint: --help lists "
                       "the options");
    }
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_find_job(&session, set, job, err) != HF_ERR_OK ||
        hf_cli_id_target(target, sizeof target, "jobs", job, "/oplog/check", err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_cli_call(&session, "POST", target, body, out, err);
}

static enum hf_err ask_store(const struct oplog_check_values *values, const char *set,
                             struct hf_json **out, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_oplog_close) struct hf_cli_oplog oplog = {.store = NULL};
    HF_CLEANUP(hf_check_report_fini) struct hf_check_report report = {.faults = NULL};
    const struct hf_cli_oplog_wish wish = {.url = values->store,
                                           .oplog_url = values->oplog_store,
                                           .key_file = values->key_file,
                                           .job = values->job};
    struct hf_id job;

    if (set != NULL) {
        return hf_fail(err, HF_ERR_INVALID,
                       "a store does not know sets: leave '%s' out; hint: --job names one of "
                       "several jobs",
                       set);
    }
    if (hf_cli_oplog_open(&wish, &oplog, err) != HF_ERR_OK ||
        hf_cli_oplog_job(&oplog, values->job, &job, err) != HF_ERR_OK ||
        hf_cli_oplog_keys(&oplog, &job, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_check_options options = {.store = hf_cli_oplog_slices(&oplog),
                                             .keyring = &oplog.keyring,
                                             .head = {.last = {.term = -1}},
                                             .cancel = hf_cli_cancel()};
    if (hf_oplog_check(&options, &report, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = hf_check_to_json(&report);
    return HF_ERR_OK;
}

/* "100.5 (2026-11-30T14:03:07Z)"; otherwise where there is none. */
static void instant_text(const struct hf_json *fault, const char *key, const char *otherwise,
                         char *out, size_t out_len)
{
    const struct hf_json *instant = hf_json_get_object(fault, key);

    if (instant == NULL) {
        (void)snprintf(out, out_len, "%s", otherwise);
        return;
    }
    (void)snprintf(out, out_len, "%llu.%llu (%s)",
                   (unsigned long long)hf_json_get_u64(instant, "seconds", 0),
                   (unsigned long long)hf_json_get_u64(instant, "increment", 0),
                   hf_cli_text(instant, "date", "?"));
}

static void print_report(const struct hf_json *report)
{
    const struct hf_json *faults = hf_json_get_array(report, "faults");
    char bytes[24];

    hf_format_bytes(hf_json_get_u64(report, "bytes", 0), bytes, sizeof bytes);
    (void)printf("%llu slices, %llu entries, %s: %s\n",
                 (unsigned long long)hf_json_get_u64(report, "slices", 0),
                 (unsigned long long)hf_json_get_u64(report, "entries", 0), bytes,
                 hf_json_get_bool(report, "ok", false) ? "whole" : "DAMAGED");
    for (size_t i = 0; i < hf_json_count(faults); i++) {
        const struct hf_json *fault = hf_json_at(faults, i);
        char after[80], until[80];
        (void)printf(
            "%s: %s%s%s\n", hf_cli_text(fault, "kind", "?"), hf_cli_text(fault, "object", ""),
            hf_json_get_text(fault, "object") == NULL ? "" : ": ", hf_cli_text(fault, "text", "?"));
        if (hf_json_get_bool(fault, "loses", false)) {
            instant_text(fault, "lostAfter", "the beginning", after, sizeof after);
            instant_text(fault, "lostUntil", "the newest", until, sizeof until);
            (void)printf("  lost: from %s to %s\n", after, until);
        }
    }
}

static enum hf_err oplog_check(const struct oplog_check_values *values,
                               const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *report = NULL;
    const char *set = values->set[0] != '\0'       ? values->set
                      : rest->arguments.count == 0 ? NULL
                                                   : rest->arguments.values[0];

    if ((values->store[0] != '\0' ? ask_store(values, set, &report, err)
                                  : ask_server(values, set, &report, err)) != HF_ERR_OK) {
        return err->code;
    }
    if (!values->json) {
        print_report(report);
    } else if (hf_cli_print_json(report, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_json_get_bool(report, "ok", false)
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_CORRUPT, "the stored oplog has %llu faults",
                         (unsigned long long)hf_json_get_u64(report, "faultCount", 0));
}

void hf_cli_print_checked(const struct hf_json *check)
{
    char ended[32], bytes[24];

    if (check == NULL) {
        return;
    }
    hf_cli_time(hf_json_get_u64(check, "endedS", 0), ended);
    hf_format_bytes(hf_json_get_u64(check, "bytes", 0), bytes, sizeof bytes);
    (void)printf("  checked      %s UTC, %llu slices, %s: ", ended,
                 (unsigned long long)hf_json_get_u64(check, "slices", 0), bytes);
    if (hf_json_get_bool(check, "ok", false)) {
        (void)printf("whole\n");
    } else {
        (void)printf("%llu faults (holdfast event list)\n",
                     (unsigned long long)hf_json_get_u64(check, "faultCount", 0));
    }
}

/* ---- The table ---- */

#define COMMANDS(VERB)                                                                             \
    VERB(oplog_check, oplog_check, "oplog", "check", "[SET]", 0, 1, "Check the stored oplog",      \
         "Reads the stored oplog whole and says what is damaged or missing, and which time is "    \
         "lost "                                                                                   \
         "by it.")
HF_CLI_TABLE(hf_cli_oplog_check_commands, COMMANDS)
