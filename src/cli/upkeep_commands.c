/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the snapshot store holds, and its upkeep by the server.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/api.h"
#include "cli/define.h"
#include "cli/output.h"
#include "cli/upkeep.h"

#define WATCH_EVERY_MS 250

/* Those of the set; of all sets when it is empty. */
static enum hf_err load_usage(struct hf_cli_session *session, const char *set, struct hf_json **out,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *all = NULL;
    HF_CLEANUP(hf_json_drop) struct hf_json *chosen = hf_json_object();
    struct hf_json *kept = hf_json_array();

    if (hf_cli_all_pages(session, HF_CLI_PRIVATE "/store/usage", &all, err) != HF_ERR_OK) {
        hf_json_drop(kept);
        return err->code;
    }
    const struct hf_json *results = hf_json_get_array(all, "results");
    for (size_t i = 0; i < hf_json_count(results); i++) {
        struct hf_json *one = hf_json_at(results, i);
        if (set[0] == '\0' || strcmp(hf_cli_text(one, "setName", ""), set) == 0) {
            hf_json_append_take(kept, hf_json_hold(one));
        }
    }
    hf_json_set_u64(chosen, "totalCount", hf_json_count(kept));
    hf_json_set_take(chosen, "results", kept);
    *out = HF_TAKE(chosen);
    return HF_ERR_OK;
}

/* ---- Asking and waiting ---- */

/* Of the wish: the member that stands while the work is still to do. */
static const char *asked_member(const struct hf_cli_upkeep *wish)
{
    return strcmp(wish->call, "check") == 0 ? "askedCheckS"
           : wish->dry_run                  ? "askedCountS"
                                            : "askedGroomS";
}

static const char *work_word(const struct hf_cli_upkeep *wish)
{
    return strcmp(wish->call, "check") == 0 ? "CHECK" : wish->dry_run ? "COUNT" : "GROOM";
}

static bool is_done(const struct hf_json *list, const struct hf_cli_upkeep *wish)
{
    const struct hf_json *results = hf_json_get_array(list, "results");
    for (size_t i = 0; i < hf_json_count(results); i++) {
        if (hf_json_get_u64(hf_json_at(results, i), asked_member(wish), 0) != 0) {
            return false;
        }
    }
    return true;
}

static enum hf_err first_failure(const struct hf_json *list, const struct hf_cli_upkeep *wish,
                                 struct hf_error *err)
{
    const struct hf_json *results = hf_json_get_array(list, "results");
    for (size_t i = 0; i < hf_json_count(results); i++) {
        const struct hf_json *one = hf_json_at(results, i);
        if (strcmp(hf_cli_text(one, "failedWork", ""), work_word(wish)) == 0) {
            return hf_fail(err, hf_err_from_name(hf_cli_text(one, "errorClass", "INTERNAL")),
                           "%s of set %s: %s", work_word(wish), hf_cli_text(one, "setName", "?"),
                           hf_cli_text(one, "error", ""));
        }
    }
    return HF_ERR_OK;
}

static enum hf_err ask(struct hf_cli_session *session, const struct hf_cli_upkeep *wish,
                       struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;
    char target[128], job[32];

    (void)snprintf(target, sizeof target, HF_CLI_PRIVATE "/store/%s", wish->call);
    if (wish->set[0] != '\0') {
        if (hf_cli_find_job(session, wish->set, job, err) != HF_ERR_OK) {
            return err->code;
        }
        hf_json_set_text(body, "jobId", job);
    }
    if (strcmp(wish->call, "check") == 0) {
        hf_json_set_bool(body, "full", wish->full);
    } else {
        hf_json_set_bool(body, "dryRun", wish->dry_run);
        hf_json_set_u64(body, "livingPercent", wish->living_percent);
    }
    return hf_cli_call(session, "POST", target, body, &answer, err);
}

enum hf_err hf_cli_upkeep_run(struct hf_cli_session *session, const struct hf_cli_upkeep *wish,
                              struct hf_json **out, struct hf_error *err)
{
    if (ask(session, wish, err) != HF_ERR_OK) {
        return err->code;
    }
    for (;;) {
        HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;
        if (load_usage(session, wish->set, &list, err) != HF_ERR_OK) {
            return err->code;
        }
        if (wish->no_wait || is_done(list, wish)) {
            enum hf_err code = wish->no_wait ? HF_ERR_OK : first_failure(list, wish, err);
            *out = code == HF_ERR_OK ? HF_TAKE(list) : NULL;
            return code;
        }
        hf_cancel_sleep(session->cancel, WATCH_EVERY_MS);
        if (hf_cancel_requested(session->cancel)) {
            return hf_fail(err, HF_ERR_CANCELLED,
                           "no longer waiting; it goes on (holdfast store usage)");
        }
    }
}

void hf_cli_upkeep_print_groom(const struct hf_json *list, bool dry_run)
{
    const struct hf_json *results = hf_json_get_array(list, "results");

    for (size_t i = 0; i < hf_json_count(results); i++) {
        const struct hf_json *one = hf_json_at(results, i);
        char before[24], after[24], freed[24];
        uint64_t was = hf_json_get_u64(one, "groomedBeforeBytes", 0);
        hf_format_bytes(was, before, sizeof before);
        hf_format_bytes(hf_json_get_u64(one, "groomedAfterBytes", 0), after, sizeof after);
        hf_format_bytes(hf_json_get_u64(one, "freedBytes", 0), freed, sizeof freed);
        if (dry_run) {
            (void)printf("%s: %.0f %% of the bytes live; %llu of %llu objects would go, the rest "
                         "of %llu be copied together: %s free\n",
                         hf_cli_text(one, "setName", "?"),
                         hf_json_get_real(one, "livingRatio", 1) * 100,
                         (unsigned long long)hf_json_get_u64(one, "goingObjects", 0),
                         (unsigned long long)hf_json_get_u64(one, "objects", 0),
                         (unsigned long long)hf_json_get_u64(one, "copiedObjects", 0), freed);
        } else {
            (void)printf("%s: %llu objects gone, %llu written; %s before, %s after\n",
                         hf_cli_text(one, "setName", "?"),
                         (unsigned long long)hf_json_get_u64(one, "groomedDeleted", 0),
                         (unsigned long long)hf_json_get_u64(one, "groomedWritten", 0), before,
                         after);
        }
    }
}

/* ---- usage ---- */

#define USAGE_OPTIONS(OPT)                                                                         \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Only that of this replica set")                          \
    HF_CLI_OPTIONS(OPT)
#define USAGE_ROW(...) HF_OPTION_ROW(struct store_usage_values, __VA_ARGS__)
HF_CLI_VALUES(store_usage, USAGE_OPTIONS, USAGE_ROW)

/* What works, what is asked for, or what will be done next. */
static void state_text(const struct hf_json *one, char *out, size_t out_len)
{
    const char *work = hf_cli_text(one, "work", "NONE");
    const char *failed = hf_cli_text(one, "failedWork", "");

    if (strcmp(work, "NONE") != 0) {
        (void)snprintf(out, out_len, "%s now", work);
    } else if (failed[0] != '\0') {
        (void)snprintf(out, out_len, "%s failed: %s", failed, hf_cli_text(one, "error", ""));
    } else {
        (void)snprintf(out, out_len, "%s", hf_cli_text(one, "state", ""));
    }
}

static void usage_row(struct hf_cli_table *table, const struct hf_json *one)
{
    char total[24], dead[24], blocks[24], living[24], gone[24], ratio[16], groomed[32];
    char checked[64], counted[32], state[256];
    uint64_t living_bytes = hf_json_get_u64(one, "livingBytes", 0);
    uint64_t dead_bytes = hf_json_get_u64(one, "deadBytes", 0);
    uint64_t living_blocks = hf_json_get_u64(one, "livingBlocks", 0);
    uint64_t dead_blocks = hf_json_get_u64(one, "deadBlocks", 0);
    uint64_t damaged = hf_json_get_u64(one, "damagedSnapshots", 0);

    hf_format_bytes(living_bytes + dead_bytes, total, sizeof total);
    hf_format_bytes(dead_bytes, dead, sizeof dead);
    (void)snprintf(blocks, sizeof blocks, "%llu",
                   (unsigned long long)(living_blocks + dead_blocks));
    (void)snprintf(living, sizeof living, "%llu", (unsigned long long)living_blocks);
    (void)snprintf(gone, sizeof gone, "%llu", (unsigned long long)dead_blocks);
    (void)snprintf(ratio, sizeof ratio, "%.2f", hf_json_get_real(one, "livingRatio", 1));
    hf_cli_time(hf_json_get_u64(one, "countedS", 0), counted);
    hf_cli_time(hf_json_get_u64(one, "groomedS", 0), groomed);
    hf_cli_time(hf_json_get_u64(one, "checkedS", 0), checked);
    if (damaged > 0) {
        size_t len = strlen(checked);
        (void)snprintf(checked + len, sizeof checked - len, " %llu DAMAGED",
                       (unsigned long long)damaged);
    }
    state_text(one, state, sizeof state);
    const char *cells[] = {hf_cli_text(one, "setName", "?"),
                           total,
                           dead,
                           blocks,
                           living,
                           gone,
                           ratio,
                           counted,
                           groomed,
                           checked,
                           state};
    hf_cli_table_row(table, cells);
}

static enum hf_err store_usage(const struct store_usage_values *values,
                               const struct hf_option_rest *rest, struct hf_error *err)
{
    static const char *const titles[] = {"SET",     "TOTAL BYTES", "DEAD BYTES",   "BLOCKS",
                                         "LIVING",  "DEAD",        "LIVING RATIO", "COUNTED (UTC)",
                                         "GROOMED", "CHECKED",     "STATE"};
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;

    (void)rest;
    session.client = NULL;
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        load_usage(&session, values->set, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(list, err);
    }
    struct hf_cli_table *table = hf_cli_table_create(titles, HF_ARRAY_LEN(titles));
    const struct hf_json *results = hf_json_get_array(list, "results");
    for (size_t i = 0; i < hf_json_count(results); i++) {
        usage_row(table, hf_json_at(results, i));
    }
    hf_cli_table_print(table);
    return HF_ERR_OK;
}

/* ---- check ---- */

#define CHECK_OPTIONS(OPT)                                                                         \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Only the snapshots of this replica set")                 \
    OPT(full, FLAG, "false", 0, 0, OPT_NONE,                                                       \
        "Read every block; otherwise one in eight, others each time, and of the rest only "        \
        "whether "                                                                                 \
        "they are there")                                                                          \
    OPT(no_wait, FLAG, "false", 0, 0, OPT_NONE, "Only ask for it, see `store usage` for the rest") \
    HF_CLI_OPTIONS(OPT)
#define CHECK_ROW(...) HF_OPTION_ROW(struct store_check_values, __VA_ARGS__)
HF_CLI_VALUES(store_check, CHECK_OPTIONS, CHECK_ROW)

static void check_line(const struct hf_json *one)
{
    char bytes[24];
    uint64_t damaged = hf_json_get_u64(one, "damagedSnapshots", 0);

    hf_format_bytes(hf_json_get_u64(one, "checkedBytes", 0), bytes, sizeof bytes);
    (void)printf("%s: %llu snapshots, %llu blocks, %s read: ", hf_cli_text(one, "setName", "?"),
                 (unsigned long long)hf_json_get_u64(one, "checkedSnapshots", 0),
                 (unsigned long long)hf_json_get_u64(one, "checkedBlocks", 0), bytes);
    if (damaged == 0) {
        (void)printf("whole\n");
    } else {
        (void)printf("%llu snapshots DAMAGED (holdfast snapshot list names them)\n",
                     (unsigned long long)damaged);
    }
}

static enum hf_err store_check(const struct store_check_values *values,
                               const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;
    const struct hf_cli_upkeep wish = {
        .call = "check", .set = values->set, .full = values->full, .no_wait = values->no_wait};
    uint64_t damaged = 0;

    (void)rest;
    session.client = NULL;
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_upkeep_run(&session, &wish, &list, err) != HF_ERR_OK ||
        (values->json && hf_cli_print_json(list, err) != HF_ERR_OK)) {
        return err->code;
    }
    const struct hf_json *results = hf_json_get_array(list, "results");
    for (size_t i = 0; i < hf_json_count(results) && !values->no_wait; i++) {
        const struct hf_json *one = hf_json_at(results, i);
        damaged += hf_json_get_u64(one, "damagedSnapshots", 0);
        if (!values->json) {
            check_line(one);
        }
    }
    return damaged == 0 ? HF_ERR_OK
                        : hf_fail(err, HF_ERR_CORRUPT, "%llu snapshots are damaged",
                                  (unsigned long long)damaged);
}

#define COMMANDS(VERB)                                                                             \
    VERB(store_usage, store_usage, "store", "usage", "", 0, 0, "Show living and dead bytes",       \
         "Shows what each replica set takes in the store, how much of it lives, when it was "      \
         "counted, groomed and checked.")                                                          \
    VERB(store_check, store_check, "store", "check", "", 0, 0, "Check the snapshots in the store", \
         "Checks the snapshots in the store by the server, and remembers what is damaged.")
HF_CLI_TABLE(hf_cli_upkeep_commands, COMMANDS)
