/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on policies, over the server's API: when snapshots of a set are taken, and how long they are kept.
 */
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/define.h"

#define SHOW_OPTIONS(OPT)                                                                          \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Name of the replica set")                                \
    HF_CLI_OPTIONS(OPT)
#define SHOW_ROW(...) HF_OPTION_ROW(struct show_values, __VA_ARGS__)
HF_CLI_VALUES(show, SHOW_OPTIONS, SHOW_ROW)

/* "auto" leaves a setting as it is. */
#define KEEP "auto"
#define POLICY_OPTIONS(OPT)                                                                        \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Name of the replica set")                                \
    OPT(interval, SECONDS, KEEP, 900, 86400, OPT_NONE,                                             \
        "Time between snapshots, 15m to 1d; it has to divide a day. auto: as it is, here and "     \
        "below")                                                                                   \
    OPT(reference_time, TEXT, "", 0, 5, OPT_NONE,                                                  \
        "One of the day's times, as 03:30, in UTC: the others lie whole intervals before and "     \
        "behind")                                                                                  \
    OPT(base_days, NUMBER, KEEP, 1, 365, OPT_NONE, "Days that every snapshot is kept")             \
    OPT(daily_days, TEXT, "", 0, 4, OPT_NONE, "Days that the first of each day is kept; 0: off")   \
    OPT(weekly_weeks, TEXT, "", 0, 4, OPT_NONE,                                                    \
        "Weeks that the first of each week is kept; 0: off")                                       \
    OPT(monthly_months, TEXT, "", 0, 4, OPT_NONE,                                                  \
        "Months that the first of each month is kept; 0: off")                                     \
    OPT(yearly_years, TEXT, "", 0, 4, OPT_NONE,                                                    \
        "Years that the first of each year is kept; 0: off")                                       \
    OPT(full_day, TEXT, "", 0, 9, OPT_NONE,                                                        \
        "Day of the week from which on the next snapshot reads every byte again")                  \
    OPT(window_hours, TEXT, "", 0, 6, OPT_NONE,                                                    \
        "Hours that any point in time stays restorable; server: as its "                           \
        "--point-in-time-window says")                                                             \
    OPT(deadline, TEXT, "", 0, 5, OPT_NONE,                                                        \
        "Be done by this time of the day, as 06:00, in UTC: such come first; none: no deadline")   \
    OPT(pause, LIST, "", 0, 200, OPT_NONE,                                                         \
        "Begin none then: 'SAT,SUN 22:00-02:00', or once "                                         \
        "'2026-12-24T00:00Z/2026-12-27T00:00Z', in UTC; replaces those that were; none: no pause") \
    OPT(fcv_snapshot, TEXT, "", 0, 3, OPT_NONE,                                                    \
        "Whether one is taken by itself when the feature compatibility version changes: on or "    \
        "off")                                                                                     \
    HF_CLI_OPTIONS(OPT)
#define POLICY_ROW(...) HF_OPTION_ROW(struct policy_values, __VA_ARGS__)
HF_CLI_VALUES(policy, POLICY_OPTIONS, POLICY_ROW)

/* ---- Show ---- */

static void kept_line(const struct hf_json *policy, const char *what, const char *key,
                      const char *unit)
{
    uint64_t count = hf_json_get_u64(policy, key, 0);

    if (count == 0) {
        (void)printf("  %-12s nothing special\n", what);
    } else {
        (void)printf("  %-12s %llu %s\n", what, (unsigned long long)count, unit);
    }
}

static void print_policy(const struct hf_json *policy)
{
    uint64_t minutes = hf_json_get_u64(policy, "intervalMinutes", 0);
    char full[32];

    (void)printf("policy of set %s\n", hf_cli_text(policy, "setName", "?"));
    if (minutes % 60 == 0) {
        (void)printf("  every        %llu h", (unsigned long long)minutes / 60);
    } else {
        (void)printf("  every        %llu min", (unsigned long long)minutes);
    }
    (void)printf(", at %s UTC\n", hf_cli_text(policy, "referenceTime", "?"));
    (void)printf("  kept         %llu days\n",
                 (unsigned long long)hf_json_get_u64(policy, "baseRetentionDays", 0));
    kept_line(policy, "daily", "dailyRetentionDays", "days");
    kept_line(policy, "weekly", "weeklyRetentionWeeks", "weeks");
    kept_line(policy, "monthly", "monthlyRetentionMonths", "months");
    kept_line(policy, "yearly", "yearlyRetentionYears", "years");
    (void)snprintf(full, sizeof full, "%s", hf_cli_text(policy, "fullDayOfWeek", "?"));
    (void)printf("  full         from %s on, and the monthly and yearly ones\n", full);
    (void)printf("  any point    of the last %llu h%s\n",
                 (unsigned long long)hf_json_get_u64(policy, "pointInTimeWindowHours", 0),
                 hf_json_get_bool(policy, "ownWindow", false) ? "" : ", as the server says");
    (void)printf("  deadline     %s\n", hf_cli_text(policy, "deadline", "none"));
    (void)printf("  pauses       %s\n", hf_cli_text(policy, "pauses", "none"));
    (void)printf("  FCV changes  %s\n", hf_json_get_bool(policy, "snapshotOnFcvChange", true)
                                            ? "a snapshot is taken"
                                            : "no snapshot is taken for them");
}

static void print_plan(const struct hf_json *policy)
{
    char due[32], owed[32], later[32];
    uint64_t failures = hf_json_get_u64(policy, "failures", 0);

    hf_cli_time(hf_json_get_u64(policy, "dueS", 0), due);
    hf_cli_time(hf_json_get_u64(policy, "owedS", 0), owed);
    if (!hf_json_get_bool(policy, "taken", true)) {
        (void)printf("  next         none by itself: the server runs with --no-schedule\n");
    } else if (!hf_json_get_bool(policy, "active", false)) {
        (void)printf("  next         none: the job takes no snapshots\n");
    } else {
        (void)printf("  next         %s UTC\n", due[0] == '\0' ? "is being planned" : due);
    }
    if (owed[0] != '\0') {
        (void)printf("  waiting      since %s UTC\n", owed);
    }
    if (hf_json_get_text(policy, "attemptId") != NULL) {
        (void)printf("  running      snapshot %s\n", hf_cli_text(policy, "attemptId", ""));
    }
    if (hf_json_get_text(policy, "problem") != NULL) {
        hf_cli_time(hf_json_get_u64(policy, "notBeforeS", 0), later);
        (void)printf("  problem      %s (%llu failures in a row; again at %s UTC)\n",
                     hf_cli_text(policy, "problem", ""), (unsigned long long)failures, later);
    }
}

/* Calls /jobs/ID/policy + tail of the set's job. */
static enum hf_err call_policy(const struct hf_cli_session_options *server, const char *set,
                               const char *method, const char *tail, const struct hf_json *body,
                               struct hf_json **out, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    char job[32], target[160], path[64];

    (void)snprintf(path, sizeof path, "/policy%s", tail);
    if (hf_cli_session_open(server, &session, err) != HF_ERR_OK ||
        hf_cli_find_job(&session, set, job, err) != HF_ERR_OK ||
        hf_cli_id_target(target, sizeof target, "jobs", job, path, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_cli_call(&session, method, target, body, out, err);
}

static enum hf_err policy_show(const struct show_values *values, const struct hf_option_rest *rest,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *policy = NULL;
    const char *set = NULL;

    if (hf_cli_need(values->set, rest, "set", &set, err) != HF_ERR_OK ||
        call_policy(&HF_CLI_SERVER(values), set, "GET", "", NULL, &policy, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(policy, err);
    }
    print_policy(policy);
    print_plan(policy);
    return HF_ERR_OK;
}

/* ---- Set, simulate ---- */

static enum hf_err put_number(struct hf_json *body, const char *key, const char *option,
                              const char *text, struct hf_error *err)
{
    uint64_t value = 0;

    if (text[0] == '\0') {
        return HF_ERR_OK;
    }
    if (!hf_parse_u64(hf_str_of(text), &value)) {
        return hf_fail(err, HF_ERR_INVALID, "--%s: '%s' is not a number", option, text);
    }
    hf_json_set_u64(body, key, value);
    return HF_ERR_OK;
}

static enum hf_err put_pauses(struct hf_json *body, const struct hf_option_list *pauses,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(4096);

    if (pauses->count == 0) {
        return HF_ERR_OK;
    }
    for (size_t i = 0; i < pauses->count; i++) {
        if (strcmp(pauses->values[i], "none") != 0 &&
            hf_buf_appendf(&text, err, "%s%s", text.len == 0 ? "" : "; ", pauses->values[i]) !=
                HF_ERR_OK) {
            return hf_wrap(err, "--pause");
        }
    }
    hf_json_set_text(body, "pauses", text.len == 0 ? "" : hf_buf_text(&text));
    return HF_ERR_OK;
}

/* What the options say; a body without a member says nothing. */
static enum hf_err put_policy(const struct policy_values *values, struct hf_json *body,
                              struct hf_error *err)
{
    if (values->interval != 0) {
        if (values->interval % 60 != 0) {
            return hf_fail(err, HF_ERR_INVALID, "--interval: whole minutes only");
        }
        hf_json_set_u64(body, "intervalMinutes", values->interval / 60);
    }
    if (values->base_days != 0) {
        hf_json_set_u64(body, "baseRetentionDays", values->base_days);
    }
    if (values->reference_time[0] != '\0') {
        hf_json_set_text(body, "referenceTime", values->reference_time);
    }
    if (values->full_day[0] != '\0') {
        hf_json_set_text(body, "fullDayOfWeek", values->full_day);
    }
    if (values->deadline[0] != '\0') {
        hf_json_set_text(body, "deadline",
                         strcmp(values->deadline, "none") == 0 ? "" : values->deadline);
    }
    if (values->fcv_snapshot[0] != '\0') {
        bool on = strcmp(values->fcv_snapshot, "on") == 0;
        if (!on && strcmp(values->fcv_snapshot, "off") != 0) {
            return hf_fail(err, HF_ERR_INVALID, "--fcv-snapshot: '%s' is neither on nor off",
                           values->fcv_snapshot);
        }
        hf_json_set_bool(body, "snapshotOnFcvChange", on);
    }
    if (strcmp(values->window_hours, "server") == 0) {
        hf_json_set_bool(body, "serverWindow", true);
    } else if (put_number(body, "pointInTimeWindowHours", "window-hours", values->window_hours,
                          err) != HF_ERR_OK) {
        return err->code;
    }
    if (put_number(body, "dailyRetentionDays", "daily-days", values->daily_days, err) !=
            HF_ERR_OK ||
        put_number(body, "weeklyRetentionWeeks", "weekly-weeks", values->weekly_weeks, err) !=
            HF_ERR_OK ||
        put_number(body, "monthlyRetentionMonths", "monthly-months", values->monthly_months, err) !=
            HF_ERR_OK ||
        put_number(body, "yearlyRetentionYears", "yearly-years", values->yearly_years, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    return put_pauses(body, &values->pause, err);
}

static enum hf_err policy_set(const struct policy_values *values, const struct hf_option_rest *rest,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *policy = NULL;
    const char *set = NULL;

    if (hf_cli_need(values->set, rest, "set", &set, err) != HF_ERR_OK ||
        put_policy(values, body, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_json_count(body) == 0) {
        return hf_fail(err, HF_ERR_INVALID,
                       "nothing is to be changed; hint: --help lists the options");
    }
    if (call_policy(&HF_CLI_SERVER(values), set, "PATCH", "", body, &policy, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(policy, err);
    }
    print_policy(policy);
    print_plan(policy);
    return HF_ERR_OK;
}

static void print_forecast(const struct hf_json *forecast)
{
    const struct hf_json *would_go = hf_json_get_array(forecast, "wouldGo");
    char bytes[24], full[24], change[24];

    hf_cli_bytes(forecast, "bytes", bytes);
    hf_cli_bytes(forecast, "fullBytes", full);
    hf_cli_bytes(forecast, "changeBytesPerDay", change);
    (void)printf("  snapshots    %llu at a time: %llu base, %llu daily, %llu weekly, %llu monthly, "
                 "%llu yearly; %llu a day are taken\n",
                 (unsigned long long)hf_json_get_u64(forecast, "snapshots", 0),
                 (unsigned long long)hf_json_get_u64(forecast, "base", 0),
                 (unsigned long long)hf_json_get_u64(forecast, "daily", 0),
                 (unsigned long long)hf_json_get_u64(forecast, "weekly", 0),
                 (unsigned long long)hf_json_get_u64(forecast, "monthly", 0),
                 (unsigned long long)hf_json_get_u64(forecast, "yearly", 0),
                 (unsigned long long)hf_json_get_u64(forecast, "beginsPerDay", 0));
    if (hf_json_get_bool(forecast, "measured", false)) {
        (void)printf("  store        %s: one takes %s, and a day changes %s\n", bytes, full,
                     change);
    } else {
        (void)printf("  store        not known: there are no two snapshots to measure the change "
                     "by\n");
    }
    for (size_t i = 0; i < hf_json_count(would_go); i++) {
        const struct hf_json *one = hf_json_at(would_go, i);
        char created[32], expires[32];
        hf_cli_time(hf_json_get_u64(one, "createdS", 0), created);
        hf_cli_time(hf_json_get_u64(one, "expiresS", 0), expires);
        (void)printf("  would go     %s of %s UTC; it stays until %s UTC\n",
                     hf_cli_text(one, "id", "?"), created, expires);
    }
    if (hf_json_count(would_go) > 0) {
        (void)printf("A change of policy deletes nothing; hint: holdfast snapshot delete, or "
                     "snapshot set --expires\n");
    }
}

static enum hf_err policy_simulate(const struct policy_values *values,
                                   const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *forecast = NULL;
    const char *set = NULL;

    if (hf_cli_need(values->set, rest, "set", &set, err) != HF_ERR_OK ||
        put_policy(values, body, err) != HF_ERR_OK ||
        call_policy(&HF_CLI_SERVER(values), set, "POST", "/simulate", body, &forecast, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(forecast, err);
    }
    print_policy(hf_json_get_object(forecast, "policy"));
    print_forecast(forecast);
    return HF_ERR_OK;
}

#define COMMANDS(VERB)                                                                             \
    VERB(policy_show, show, "policy", "show", "[SET]", 0, 1,                                       \
         "Show when snapshots are taken and kept",                                                 \
         "Shows when snapshots of a set are taken, how long they are kept, and what comes next.")  \
    VERB(policy_set, policy, "policy", "set", "[SET]", 0, 1, "Change that",                        \
         "Changes what is given. Snapshots that are there stay as long as they were meant to.")    \
    VERB(                                                                                          \
        policy_simulate, policy, "policy", "simulate", "[SET]", 0, 1,                              \
        "Say what a change would cost",                                                            \
        "Changes nothing, and says how many snapshots there would be and how many bytes, by what " \
        "past ones changed, and which would not have been kept.")
HF_CLI_TABLE(hf_cli_policy_commands, COMMANDS)
