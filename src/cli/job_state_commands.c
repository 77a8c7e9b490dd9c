/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that change a job, over the server's API: its state, its preferred member; and what was done for it.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/define.h"
#include "cli/output.h"

#define PRIVATE HF_CLI_PRIVATE
#define LOOK_EVERY_MS 300

#define SET_OPTIONS(OPT)                                                                           \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Name of the replica set")                                \
    HF_CLI_OPTIONS(OPT)
#define SET_ROW(...) HF_OPTION_ROW(struct set_values, __VA_ARGS__)
HF_CLI_VALUES(set, SET_OPTIONS, SET_ROW)

#define WAIT_OPTIONS(OPT)                                                                          \
    OPT(wait, FLAG, "false", 0, 0, OPT_NONE, "Return when it is done, not when it has begun")      \
    SET_OPTIONS(OPT)
#define WAIT_ROW(...) HF_OPTION_ROW(struct wait_values, __VA_ARGS__)
HF_CLI_VALUES(wait, WAIT_OPTIONS, WAIT_ROW)

#define TERMINATE_OPTIONS(OPT)                                                                     \
    OPT(yes, FLAG, "false", 0, 0, OPT_NONE, "Do not ask")                                          \
    OPT(force, FLAG, "false", 0, 0, OPT_NONE,                                                      \
        "Of a job that is TERMINATING and does not come to its end: it is INACTIVE at once; what " \
        "needs its snapshots is ended, and what a store does not let go of is deleted later")      \
    WAIT_OPTIONS(OPT)
#define TERMINATE_ROW(...) HF_OPTION_ROW(struct terminate_values, __VA_ARGS__)
HF_CLI_VALUES(terminate, TERMINATE_OPTIONS, TERMINATE_ROW)

#define CHANGE_OPTIONS(OPT)                                                                        \
    OPT(preferred_member, TEXT, "", 0, 300, OPT_NONE,                                              \
        "Take snapshots from this member (host:port) while it will do; 'none': the rule decides")  \
    OPT(approve, FLAG, "false", 0, 0, OPT_NONE,                                                    \
        "Of a job that waits because its data are above --provision-threshold: it goes on")        \
    OPT(deny, FLAG, "false", 0, 0, OPT_NONE, "The same: it does not, and is INACTIVE again")       \
    SET_OPTIONS(OPT)
#define CHANGE_ROW(...) HF_OPTION_ROW(struct change_values, __VA_ARGS__)
HF_CLI_VALUES(change, CHANGE_OPTIONS, CHANGE_ROW)

/* ---- Pieces ---- */

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

/* What the server says against the set as it is; a start goes on all the same. */
static void say_warning(struct hf_cli_session *session, const char *target)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *config = NULL;
    struct hf_error ignored; /* what is asked for next meets it too */

    if (hf_cli_call(session, "GET", target, NULL, &config, &ignored) == HF_ERR_OK &&
        hf_cli_text(config, "warning", "")[0] != '\0') {
        (void)fprintf(stderr, "warning: %s\n", hf_cli_text(config, "warning", ""));
    }
}

static enum hf_err patch_config(struct hf_cli_session *session, const char *set,
                                const struct hf_json *body, struct hf_json **out,
                                struct hf_error *err)
{
    char cluster[64], target[256];

    if (find_cluster(session, set, cluster, sizeof cluster, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)snprintf(target, sizeof target, "/api/public/v1.0/groups/%s/backupConfigs/%s",
                   session->project, cluster);
    if (strcmp(hf_cli_text(body, "statusName", ""), "STARTED") == 0) {
        say_warning(session, target);
    }
    return hf_cli_call(session, "PATCH", target, body, out, err);
}

/* What is waited for: a state, and nothing under way any more where quiet. */
struct goal {
    const char *state;
    bool quiet;
};

static bool has_come(const struct hf_json *job, const struct goal *goal)
{
    bool busy = hf_json_get_text(job, "runningSnapshotId") != NULL ||
                hf_json_get_text(hf_json_get_object(job, "oplog"), "taskId") != NULL;

    return strcmp(hf_cli_text(job, "state", ""), goal->state) == 0 && !(goal->quiet && busy);
}

/* Says once each time what it waits for. */
static enum hf_err wait_for(struct hf_cli_session *session, const char *set,
                            const struct goal *goal, struct hf_json **out, struct hf_error *err)
{
    char said[1024] = "";

    for (;;) {
        HF_CLEANUP(hf_json_drop) struct hf_json *job = NULL;
        if (hf_cli_job_of(session, set, &job, err) != HF_ERR_OK) {
            return err->code;
        }
        if (has_come(job, goal)) {
            *out = HF_TAKE(job);
            return HF_ERR_OK;
        }
        const char *problem = hf_cli_text(job, "problem", "");
        if (strcmp(problem, said) != 0 && problem[0] != '\0') {
            (void)fprintf(stderr, "%s: %s\n", hf_cli_text(job, "state", "?"), problem);
            (void)snprintf(said, sizeof said, "%s", problem);
        }
        hf_cancel_sleep(session->cancel, LOOK_EVERY_MS);
        if (hf_cancel_requested(session->cancel)) {
            return hf_fail(err, HF_ERR_CANCELLED, "not waited for: the server goes on");
        }
    }
}

static enum hf_err say(struct hf_cli_session *session, const char *set, bool as_json,
                       const struct goal *goal, const struct hf_json *answer, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *job = NULL;

    if (goal != NULL && wait_for(session, set, goal, &job, err) != HF_ERR_OK) {
        return err->code;
    }
    if (as_json) {
        return hf_cli_print_json(job != NULL ? job : answer, err);
    }
    (void)printf("job of set %s: %s\n", set,
                 job != NULL
                     ? hf_cli_text(job, "state", "?")
                     : hf_cli_text(answer, "statusName", hf_cli_text(answer, "state", "?")));
    return HF_ERR_OK;
}

/* Asks for a state, and waits for the goal where it is one. */
static enum hf_err ask_state(const struct wait_values *values, const struct hf_option_rest *rest,
                             const char *status, const struct goal *goal, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;
    const char *set = NULL;

    hf_json_set_text(body, "statusName", status);
    if (hf_cli_need(values->set, rest, "set", &set, err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        patch_config(&session, set, body, &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    return say(&session, set, values->json, values->wait ? goal : NULL, answer, err);
}

/* ---- start, stop, restart ---- */

static const struct goal started = {.state = "STARTED"};
static const struct goal stopped = {.state = "STOPPED", .quiet = true};
static const struct goal inactive = {.state = "INACTIVE"};

static enum hf_err job_start(const struct wait_values *values, const struct hf_option_rest *rest,
                             struct hf_error *err)
{
    return ask_state(values, rest, "STARTED", &started, err);
}

static enum hf_err job_stop(const struct wait_values *values, const struct hf_option_rest *rest,
                            struct hf_error *err)
{
    return ask_state(values, rest, "STOPPED", &stopped, err);
}

static enum hf_err job_restart(const struct wait_values *values, const struct hf_option_rest *rest,
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
    if (strcmp(hf_cli_text(job, "state", ""), "STOPPED") != 0) {
        return hf_fail(err, HF_ERR_CONFLICT, "the job of set %s is %s: a STOPPED one is restarted",
                       set, hf_cli_text(job, "state", "?"));
    }
    return ask_state(values, rest, "STARTED", &started, err);
}

/* ---- terminate ---- */

static enum hf_err confirm(const struct terminate_values *values, const char *set,
                           struct hf_error *err)
{
    char line[256] = "";

    if (values->yes) {
        return HF_ERR_OK;
    }
    if (isatty(STDIN_FILENO) != 1) {
        return hf_fail(
            err, HF_ERR_INVALID,
            "every snapshot of set %s and its whole stored oplog would be deleted; hint: "
            "say --yes",
            set);
    }
    (void)fprintf(
        stderr,
        "Every snapshot of set %s and its whole stored oplog are deleted. There is no way "
        "back.\nType the name of the set to go on: ",
        set);
    if (fgets(line, sizeof line, stdin) == NULL) {
        line[0] = '\0';
    }
    line[strcspn(line, "\n")] = '\0';
    return strcmp(line, set) == 0
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_CANCELLED, "nothing was done: '%s' is not %s", line, set);
}

static enum hf_err job_terminate(const struct terminate_values *values,
                                 const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;
    const char *set = NULL;
    char job[32], target[128];

    hf_json_set_text(body, "statusName", "TERMINATING");
    if (hf_cli_need(values->set, rest, "set", &set, err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_find_job(&session, set, job, err) != HF_ERR_OK ||
        confirm(values, set, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!values->force) {
        if (patch_config(&session, set, body, &answer, err) != HF_ERR_OK) {
            return err->code;
        }
    } else if (hf_cli_id_target(target, sizeof target, "jobs", job, "/forceTerminate", err) !=
                   HF_ERR_OK ||
               hf_cli_call(&session, "POST", target, NULL, &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    return say(&session, set, values->json, values->wait ? &inactive : NULL, answer, err);
}

/* ---- set ---- */

static enum hf_err job_set(const struct change_values *values, const struct hf_option_rest *rest,
                           struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;
    const char *member = values->preferred_member, *set = NULL;

    if (hf_cli_need(values->set, rest, "set", &set, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->approve && values->deny) {
        return hf_fail(err, HF_ERR_INVALID, "--approve and --deny exclude each other");
    }
    if (member[0] == '\0' && !values->approve && !values->deny) {
        return hf_fail(err, HF_ERR_INVALID,
                       "nothing to set; hint: --preferred-member, --approve or --deny");
    }
    if (member[0] != '\0') {
        hf_json_set_text(body, "preferredMember", strcmp(member, "none") == 0 ? "" : member);
    }
    if (values->approve || values->deny) {
        hf_json_set_bool(body, "provisioned", values->approve);
    }
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        patch_config(&session, set, body, &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    return say(&session, set, values->json, NULL, answer, err);
}

/* ---- why-member ---- */

static void why_row(struct hf_cli_table *table, const struct hf_json *one)
{
    char send[24], lag[24], priority[24];

    hf_cli_bytes(one, "sendBytes", send);
    (void)snprintf(lag, sizeof lag, "%llu s", (unsigned long long)hf_json_get_u64(one, "lagS", 0));
    (void)snprintf(priority, sizeof priority, "%g",
                   (double)hf_json_get_u64(one, "priorityMillis", 0) / 1000);
    const char *cells[] = {
        hf_cli_text(one, "host", ""), hf_cli_text(one, "state", ""), priority, lag, send,
        hf_cli_text(one, "why", "")};
    hf_cli_table_row(table, cells);
}

/* The answer of jobs/ID/tail for the job of the set. */
static enum hf_err ask_job(const struct set_values *values, const struct hf_option_rest *rest,
                           const char *tail, struct hf_json **out, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    const char *set = NULL;
    char job[32], target[128];

    if (hf_cli_need(values->set, rest, "set", &set, err) != HF_ERR_OK ||
        HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_find_job(&session, set, job, err) != HF_ERR_OK ||
        hf_cli_id_target(target, sizeof target, "jobs", job, tail, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_cli_call(&session, "GET", target, NULL, out, err);
}

static enum hf_err job_why_member(const struct set_values *values,
                                  const struct hf_option_rest *rest, struct hf_error *err)
{
    static const char *const titles[] = {"MEMBER", "STATE", "PRIORITY", "LAG", "WOULD SEND", "WHY"};
    HF_CLEANUP(hf_json_drop) struct hf_json *answer = NULL;

    if (ask_job(values, rest, "/whyMember", &answer, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(answer, err);
    }
    struct hf_cli_table *table = hf_cli_table_create(titles, HF_ARRAY_LEN(titles));
    const struct hf_json *members = hf_json_get_array(answer, "members");
    for (size_t i = 0; i < hf_json_count(members); i++) {
        why_row(table, hf_json_at(members, i));
    }
    hf_cli_table_print(table);
    (void)printf("\n%s\n", hf_cli_text(answer, "reason", ""));
    return HF_ERR_OK;
}

/* ---- log ---- */

static void log_row(struct hf_cli_table *table, const struct hf_json *one)
{
    char begun[32], took[24], read[24], sent[24];

    hf_cli_time(hf_json_get_u64(one, "createdS", 0), begun);
    hf_cli_bytes(one, "readBytes", read);
    hf_cli_bytes(one, "storedBytes", sent);
    (void)snprintf(
        took, sizeof took, "%llu s",
        (unsigned long long)hf_json_get_u64(hf_json_get_object(one, "record"), "totalDuration", 0));
    const char *cells[] = {begun,
                           hf_cli_text(one, "state", ""),
                           hf_cli_text(one, "id", ""),
                           hf_cli_text(one, "member", ""),
                           hf_json_get_u64(one, "parentCapture", 0) == 0 ? "full" : "changes",
                           took,
                           read,
                           sent,
                           hf_cli_text(one, "error", "")};
    hf_cli_table_row(table, cells);
}

static enum hf_err job_log(const struct set_values *values, const struct hf_option_rest *rest,
                           struct hf_error *err)
{
    static const char *const titles[] = {"BEGUN (UTC)", "STATE", "SNAPSHOT", "MEMBER", "KIND",
                                         "TOOK",        "READ",  "STORED",   "ERROR"};
    static const struct hf_cli_listing listing = {
        .titles = titles, .columns = HF_ARRAY_LEN(titles), .row = log_row};
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;

    if (ask_job(values, rest, "/log", &list, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_cli_show_list(list, &listing, values->json, err);
}

/* ---- The table ---- */

#define COMMANDS(VERB)                                                                             \
    VERB(job_start, wait, "job", "start", "[SET]", 0, 1, "Start the backup job of a replica set",  \
         "Starts the backup job of a replica set that an agent has reported, or one that is "      \
         "stopped.")                                                                               \
    VERB(job_stop, wait, "job", "stop", "[SET]", 0, 1, "Stop a job; its snapshots stay",           \
         "Stops a job: no snapshots any more, no oplog; what there is stays. A capture under way " \
         "is stopped too.")                                                                        \
    VERB(job_restart, wait, "job", "restart", "[SET]", 0, 1, "Restart a job that is stopped",      \
         "Restarts a job that is stopped: its oplog is saved again, a snapshot is taken. No "      \
         "point while it was stopped can be restored.")                                            \
    VERB(job_terminate, terminate, "job", "terminate", "[SET]", 0, 1,                              \
         "Delete all that a stopped job has stored",                                               \
         "Deletes every snapshot of a job that is stopped, and its stored oplog.")                 \
    VERB(job_set, change, "job", "set", "[SET]", 0, 1,                                             \
         "Set a job's preferred member; approve or deny one that waits",                           \
         "Sets what there is to set of a job.")                                                    \
    VERB(job_why_member, set, "job", "why-member", "[SET]", 0, 1,                                  \
         "Say which member a snapshot would be taken from, and why",                               \
         "Says which member of the set a snapshot would be taken from now, and why not from the "  \
         "others. Takes none.")                                                                    \
    VERB(job_log, set, "job", "log", "[SET]", 0, 1, "List the job's last 60 attempts",             \
         "Lists the last 60 attempts at a snapshot of the set, those that failed too, newest "     \
         "first.")
HF_CLI_TABLE(hf_cli_job_state_commands, COMMANDS)
