/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies over HTTP: the public snapshotSchedule and the expiry of one snapshot (rest-api.md 2.3, 2.4), and our own form of
 * a policy, which has all that the public one has no word for, with its simulation.
 *
 * The public form is the coarser one: an interval below six hours shows as 6 there.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "server/api.h"
#include "server/flow_schedule.h"

#define PUBLIC_INTERVAL_MIN_HOURS 6

/* rest-api.md 1.8, and our own in its manner. */
static const char *code_of(enum hf_policy_setting setting)
{
    switch (setting) {
    case HF_POLICY_INTERVAL:
        return "INVALID_SNAPSHOT_INTERVAL";
    case HF_POLICY_REFERENCE:
        return "INVALID_REFERENCE_HOUR_OF_DAY";
    case HF_POLICY_BASE:
        return "INVALID_SNAPSHOT_RETENTION_PERIOD";
    case HF_POLICY_DAILY:
        return "INVALID_DAILY_SNAPSHOT_RETENTION_PERIOD";
    case HF_POLICY_WEEKLY:
        return "INVALID_WEEKLY_SNAPSHOT_RETENTION_PERIOD";
    case HF_POLICY_MONTHLY:
        return "INVALID_MONTHLY_SNAPSHOT_RETENTION_PERIOD";
    case HF_POLICY_YEARLY:
        return "INVALID_YEARLY_SNAPSHOT_RETENTION_PERIOD";
    case HF_POLICY_FULL_DAY:
        return "INVALID_ENUM_VALUE";
    case HF_POLICY_WINDOW:
        return "INVALID_POINT_IN_TIME_WINDOW";
    case HF_POLICY_DEADLINE:
        return "INVALID_DEADLINE";
    case HF_POLICY_PAUSES:
        break;
    }
    return "INVALID_PAUSE";
}

/* False, and answered. */
static bool is_good(struct hf_server_call *call, const struct hf_policy *policy)
{
    enum hf_policy_setting which = HF_POLICY_INTERVAL;
    struct hf_error err;

    if (hf_policy_check(policy, &which, &err) == HF_ERR_OK) {
        return true;
    }
    hf_reply_error(call, &err, code_of(which));
    return false;
}

static bool has(const struct hf_json *body, const char *key)
{
    return hf_json_get(body, key) != NULL;
}

/* A number of the body, if it is there; a negative one is out of every range. */
static void take_u64(const struct hf_json *body, const char *key, uint64_t *out)
{
    if (has(body, key)) {
        int64_t value = hf_json_get_integer(body, key, -1);
        *out = value < 0 ? UINT64_MAX : (uint64_t)value;
    }
}

/* ---- The public form ---- */

/* The job of the path's cluster, and its schedule. False: it was answered. */
static bool find_schedule(struct hf_server_call *call, struct hf_job_record *job,
                          struct hf_schedule_record *out)
{
    struct hf_cluster_record cluster;
    struct hf_error err;

    if (!hf_api_find_cluster(call, &cluster)) {
        return false;
    }
    enum hf_err code = hf_keep_job_get(call->app->catalog, &cluster.id, job, NULL, &err);
    if (code == HF_ERR_NOT_FOUND || (code == HF_ERR_OK && job->state == HF_JOB_INACTIVE)) {
        hf_reply_fail(call, HF_ERR_CONFLICT, "CANNOT_GET_BACKUP_CONFIG_INVALID_STATE",
                      "the backup of cluster %s is INACTIVE: it has no schedule; hint: start it",
                      call->parameters[1]);
        return false;
    }
    if (code != HF_ERR_OK || hf_flow_schedule_open(call->app, job, out, NULL, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return false;
    }
    return true;
}

static uint64_t window_hours(const struct hf_server_call *call, const struct hf_policy *policy)
{
    return policy->own_window ? policy->window_hours : call->app->oplog_kept_s / HF_HOUR_S;
}

static void reply_public(struct hf_server_call *call, const struct hf_schedule_record *schedule)
{
    const struct hf_policy *policy = &schedule->policy;
    struct hf_json *json = hf_json_object();
    uint64_t hours = policy->interval_min / 60;
    char path[200];

    hf_json_set_text(json, "groupId", hf_id_text(&schedule->project).text);
    hf_json_set_text(json, "clusterId", call->parameters[1]);
    hf_json_set_u64(json, "snapshotIntervalHours",
                    hours < PUBLIC_INTERVAL_MIN_HOURS ? PUBLIC_INTERVAL_MIN_HOURS : hours);
    hf_json_set_u64(json, "snapshotRetentionDays", policy->base_days);
    hf_json_set_u64(json, "dailySnapshotRetentionDays", policy->daily_days);
    hf_json_set_u64(json, "weeklySnapshotRetentionWeeks", policy->weekly_weeks);
    hf_json_set_u64(json, "monthlySnapshotRetentionMonths", policy->monthly_months);
    hf_json_set_u64(json, "pointInTimeWindowHours", window_hours(call, policy));
    hf_json_set_u64(json, "clusterCheckpointIntervalMin", 0);
    hf_json_set_text(json, "fullIncrementalDayOfWeek", hf_weekday_word(policy->full_day));
    hf_json_set_u64(json, "referenceHourOfDay", policy->reference_min / 60);
    hf_json_set_u64(json, "referenceMinuteOfHour", policy->reference_min % 60);
    hf_json_set_text(json, "referenceTimeZoneOffset", "+0000");
    (void)snprintf(path, sizeof path,
                   "/api/public/v1.0/groups/%s/backupConfigs/%s/snapshotSchedule",
                   hf_id_text(&schedule->project).text, call->parameters[1]);
    hf_reply_link(call, json, "self", path);
    (void)snprintf(path, sizeof path, "/api/public/v1.0/groups/%s/clusters/%s",
                   hf_id_text(&schedule->project).text, call->parameters[1]);
    hf_reply_link(call, json, "http://mms.mongodb.com/cluster", path);
    (void)snprintf(path, sizeof path, "/api/public/v1.0/groups/%s",
                   hf_id_text(&schedule->project).text);
    hf_reply_link(call, json, "http://mms.mongodb.com/group", path);
    hf_reply_json(call, 200, json);
}

void hf_api_snapshot_schedule(struct hf_server_call *call)
{
    struct hf_schedule_record schedule;
    struct hf_job_record job;

    if (find_schedule(call, &job, &schedule)) {
        reply_public(call, &schedule);
    }
}

/* "Z", "+hhmm", "-hh:mm", in minutes east. */
static bool offset_of(const char *text, int64_t *out)
{
    uint64_t hours = 0, minutes = 0;
    size_t len = strlen(text);
    bool colon = len == 6 && text[3] == ':';

    if (strcmp(text, "Z") == 0) {
        *out = 0;
        return true;
    }
    if ((text[0] != '+' && text[0] != '-') || (len != 5 && !colon) ||
        !hf_parse_u64((struct hf_str){text + 1, 2}, &hours) ||
        !hf_parse_u64((struct hf_str){text + (colon ? 4 : 3), 2}, &minutes) || hours > 18 ||
        minutes > 59) {
        return false;
    }
    *out = (int64_t)(hours * 60 + minutes) * (text[0] == '-' ? -1 : 1);
    return true;
}

/* The reference time is meant in the offset that comes with it, and kept in UTC. False: it was answered. */
static bool take_reference(struct hf_server_call *call, struct hf_policy *policy)
{
    const char *offset = hf_json_get_text(call->body, "referenceTimeZoneOffset");
    uint64_t hour = policy->reference_min / 60, minute = policy->reference_min % 60;
    int64_t east = 0;

    take_u64(call->body, "referenceHourOfDay", &hour);
    take_u64(call->body, "referenceMinuteOfHour", &minute);
    if (hour > 23) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_REFERENCE_HOUR_OF_DAY",
                      "referenceHourOfDay must be 0 to 23");
        return false;
    }
    if (minute > 59) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_REFERENCE_MINUTE_OF_HOUR",
                      "referenceMinuteOfHour must be 0 to 59");
        return false;
    }
    if (offset != NULL && !offset_of(offset, &east)) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_REFERENCE_TIMEZONE_OFFSET",
                      "referenceTimeZoneOffset is '%s', not an offset such as +0000 or Z", offset);
        return false;
    }
    int64_t utc = (int64_t)(hour * 60 + minute) - east;
    policy->reference_min = (uint64_t)(utc + 2 * (int64_t)HF_DAY_MIN) % HF_DAY_MIN;
    return true;
}

/* 0 is what we answer, and may come back. False: it was answered. */
static bool check_checkpoint(struct hf_server_call *call)
{
    uint64_t minutes = 0;

    take_u64(call->body, "clusterCheckpointIntervalMin", &minutes);
    if (minutes == 0) {
        return true;
    }
    if (minutes != 15 && minutes != 30 && minutes != 60) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_CLUSTER_CHECKPOINT_INTERVAL",
                      "clusterCheckpointIntervalMin must be 15, 30 or 60");
        return false;
    }
    hf_reply_fail(call, HF_ERR_INVALID, "CANNOT_SET_CLUSTER_CHECKPOINT_INTERVAL_FOR_REPLICA_SET",
                  "a replica set has no cluster checkpoints");
    return false;
}

/* False: it was answered. */
static bool take_interval(struct hf_server_call *call, struct hf_policy *policy)
{
    uint64_t hours = 0;

    if (!has(call->body, "snapshotIntervalHours")) {
        return true;
    }
    take_u64(call->body, "snapshotIntervalHours", &hours);
    if (hours != 6 && hours != 8 && hours != 12 && hours != 24) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_SNAPSHOT_INTERVAL",
                      "snapshotIntervalHours must be 6, 8, 12 or 24; hint: 'holdfast policy set "
                      "--interval' has finer ones");
        return false;
    }
    /* A client that sends back what it was shown changes nothing. */
    if (hours != PUBLIC_INTERVAL_MIN_HOURS || policy->interval_min > hours * 60) {
        policy->interval_min = hours * 60;
    }
    return true;
}

/* False: it was answered. */
static bool take_full_day(struct hf_server_call *call, const char *key, struct hf_policy *policy)
{
    const char *day = hf_json_get_text(call->body, key);

    if (day != NULL && !hf_weekday_parse(day, &policy->full_day)) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ENUM_VALUE",
                      "%s is '%s', not SUNDAY to SATURDAY", key, day);
        return false;
    }
    return true;
}

void hf_api_patch_snapshot_schedule(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {
        {"groupId", HF_JSON_TEXT},
        {"clusterId", HF_JSON_TEXT},
        {"links", HF_JSON_ARRAY},
        {"snapshotIntervalHours", HF_JSON_INTEGER},
        {"snapshotRetentionDays", HF_JSON_INTEGER},
        {"dailySnapshotRetentionDays", HF_JSON_INTEGER},
        {"weeklySnapshotRetentionWeeks", HF_JSON_INTEGER},
        {"monthlySnapshotRetentionMonths", HF_JSON_INTEGER},
        {"pointInTimeWindowHours", HF_JSON_INTEGER},
        {"clusterCheckpointIntervalMin", HF_JSON_INTEGER},
        {"fullIncrementalDayOfWeek", HF_JSON_TEXT},
        {"referenceHourOfDay", HF_JSON_INTEGER},
        {"referenceMinuteOfHour", HF_JSON_INTEGER},
        {"referenceTimeZoneOffset", HF_JSON_TEXT},
        {NULL, HF_JSON_NULL}};
    struct hf_schedule_record schedule;
    struct hf_job_record job;
    struct hf_error err;

    if (!find_schedule(call, &job, &schedule) || !hf_call_body_only(call, members) ||
        !hf_api_ids_match(call)) {
        return;
    }
    struct hf_policy policy = schedule.policy;
    uint64_t shown = window_hours(call, &policy), window = shown;
    take_u64(call->body, "snapshotRetentionDays", &policy.base_days);
    take_u64(call->body, "dailySnapshotRetentionDays", &policy.daily_days);
    take_u64(call->body, "weeklySnapshotRetentionWeeks", &policy.weekly_weeks);
    take_u64(call->body, "monthlySnapshotRetentionMonths", &policy.monthly_months);
    take_u64(call->body, "pointInTimeWindowHours", &window);
    if (window != shown) {
        policy.own_window = true;
        policy.window_hours = window;
    }
    if (!take_interval(call, &policy) ||
        !take_full_day(call, "fullIncrementalDayOfWeek", &policy) ||
        !take_reference(call, &policy) || !check_checkpoint(call) || !is_good(call, &policy)) {
        return;
    }
    if (!hf_policy_equal(&policy, &schedule.policy) &&
        hf_flow_policy_set(call->app, &job, &policy, &schedule, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    reply_public(call, &schedule);
}

/* ---- Expiry ---- */

/* False: it was answered. */
static bool take_expiry(struct hf_server_call *call, const struct hf_snapshot_record *snapshot,
                        struct hf_retention_wish *out)
{
    static const struct hf_call_member members[] = {{"doNotDelete", HF_JSON_BOOL},
                                                    {"expires", HF_JSON_TEXT},
                                                    {"groupId", HF_JSON_TEXT},
                                                    {"clusterId", HF_JSON_TEXT},
                                                    {NULL, HF_JSON_NULL}};

    if (!hf_call_body_only(call, members)) {
        return false;
    }
    const char *expires = hf_json_get_text(call->body, "expires");
    bool keep = hf_json_get_bool(call->body, "doNotDelete", false);
    *out = (struct hf_retention_wish){
        .keep = has(call->body, "doNotDelete") ? keep : snapshot->keep && expires == NULL,
        .expires_s = snapshot->expires_s};
    if (expires == NULL && !has(call->body, "doNotDelete")) {
        hf_reply_fail(call, HF_ERR_INVALID, "MISSING_ONE_OF_ATTRIBUTES",
                      "doNotDelete or expires is needed");
        return false;
    }
    if (expires != NULL && keep) {
        hf_reply_fail(
            call, HF_ERR_INVALID, "INVALID_ATTRIBUTE",
            "a snapshot that is kept for ever has no expiry: give doNotDelete or expires");
        return false;
    }
    if (expires != NULL && strchr(expires, '.') != NULL) {
        hf_reply_fail(call, HF_ERR_INVALID, "FRACTIONAL_TIMESTAMP",
                      "expires: '%s' has a fraction of a second", expires);
        return false;
    }
    if (expires != NULL && !hf_time_parse(hf_str_of(expires), &out->expires_s)) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE",
                      "expires: '%s' is no date such as 2026-11-25T03:31:17Z", expires);
        return false;
    }
    /* 1970 would mean "not planned". */
    out->expires_s = expires != NULL && out->expires_s == 0 ? 1 : out->expires_s;
    return true;
}

bool hf_api_set_expiry(struct hf_server_call *call, struct hf_snapshot_record *snapshot)
{
    struct hf_retention_wish wish;
    struct hf_error err;

    if (!take_expiry(call, snapshot, &wish)) {
        return false;
    }
    const struct hf_id id = snapshot->id;
    if (hf_flow_expiry_set(call->app, &id, &wish, snapshot, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return false;
    }
    return true;
}

/* ---- Our own form ---- */

static void set_minute(struct hf_json *json, const char *key, uint64_t minute)
{
    char text[8];

    (void)snprintf(text, sizeof text, "%02u:%02u", (unsigned)(minute / 60 % 24),
                   (unsigned)(minute % 60));
    hf_json_set_text(json, key, text);
}

/* The record, with its times as people write them. */
static struct hf_json *policy_document(const struct hf_server_call *call,
                                       const struct hf_schedule_record *schedule)
{
    struct hf_json *json = hf_schedule_record_encode(schedule);
    const struct hf_policy *policy = &schedule->policy;

    set_minute(json, "referenceTime", policy->reference_min);
    if (policy->has_deadline) {
        set_minute(json, "deadline", policy->deadline_min);
    }
    hf_json_set_u64(json, "pointInTimeWindowHours", window_hours(call, policy));
    hf_json_set_u64(json, "pausedUntilS",
                    hf_policy_paused_until(policy, hf_clock_wall_ms() / 1000));
    hf_json_set_bool(json, "snapshotOnFcvChange", !policy->no_fcv_snapshot);
    hf_json_set_bool(json, "taken", call->app->schedules);
    return json;
}

/* False: it was answered. */
static bool take_time(struct hf_server_call *call, const char *key, uint64_t *out)
{
    const char *text = hf_json_get_text(call->body, key);

    if (text != NULL && !hf_policy_parse_time(text, out)) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE",
                      "%s: '%s' is no time of the day such as 03:30, in UTC", key, text);
        return false;
    }
    return true;
}

/* What the body says, over what the policy has. False: it was answered. */
static bool take_policy(struct hf_server_call *call, struct hf_policy *policy)
{
    static const struct hf_call_member members[] = {{"intervalMinutes", HF_JSON_INTEGER},
                                                    {"referenceTime", HF_JSON_TEXT},
                                                    {"baseRetentionDays", HF_JSON_INTEGER},
                                                    {"dailyRetentionDays", HF_JSON_INTEGER},
                                                    {"weeklyRetentionWeeks", HF_JSON_INTEGER},
                                                    {"monthlyRetentionMonths", HF_JSON_INTEGER},
                                                    {"yearlyRetentionYears", HF_JSON_INTEGER},
                                                    {"fullDayOfWeek", HF_JSON_TEXT},
                                                    {"pointInTimeWindowHours", HF_JSON_INTEGER},
                                                    {"serverWindow", HF_JSON_BOOL},
                                                    {"deadline", HF_JSON_TEXT},
                                                    {"pauses", HF_JSON_TEXT},
                                                    {"snapshotOnFcvChange", HF_JSON_BOOL},
                                                    {NULL, HF_JSON_NULL}};

    if (!hf_call_body_only(call, members)) {
        return false;
    }
    take_u64(call->body, "intervalMinutes", &policy->interval_min);
    take_u64(call->body, "baseRetentionDays", &policy->base_days);
    take_u64(call->body, "dailyRetentionDays", &policy->daily_days);
    take_u64(call->body, "weeklyRetentionWeeks", &policy->weekly_weeks);
    take_u64(call->body, "monthlyRetentionMonths", &policy->monthly_months);
    take_u64(call->body, "yearlyRetentionYears", &policy->yearly_years);
    take_u64(call->body, "pointInTimeWindowHours", &policy->window_hours);
    policy->own_window = policy->own_window || has(call->body, "pointInTimeWindowHours");
    if (hf_json_get_bool(call->body, "serverWindow", false)) {
        policy->own_window = false;
        policy->window_hours = 0;
    }
    policy->no_fcv_snapshot =
        !hf_json_get_bool(call->body, "snapshotOnFcvChange", !policy->no_fcv_snapshot);
    const char *deadline = hf_json_get_text(call->body, "deadline");
    const char *pauses = hf_json_get_text(call->body, "pauses");
    if (pauses != NULL && strlen(pauses) >= sizeof policy->pauses) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_PAUSE", "pauses are longer than %zu bytes",
                      sizeof policy->pauses - 1);
        return false;
    }
    if (pauses != NULL) {
        (void)snprintf(policy->pauses, sizeof policy->pauses, "%s", pauses);
    }
    if (deadline != NULL && deadline[0] == '\0') {
        policy->has_deadline = false;
        policy->deadline_min = 0;
    } else if (deadline != NULL) {
        policy->has_deadline = true;
        if (!take_time(call, "deadline", &policy->deadline_min)) {
            return false;
        }
    }
    return take_time(call, "referenceTime", &policy->reference_min) &&
           take_full_day(call, "fullDayOfWeek", policy) && is_good(call, policy);
}

/* The job of the path and its schedule. False: it was answered. */
static bool find_policy(struct hf_server_call *call, struct hf_job_record *job,
                        struct hf_schedule_record *out)
{
    struct hf_error err;

    if (!hf_api_find_job(call, job)) {
        return false;
    }
    if (hf_flow_schedule_open(call->app, job, out, NULL, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return false;
    }
    return true;
}

void hf_api_policy(struct hf_server_call *call)
{
    struct hf_schedule_record schedule;
    struct hf_job_record job;

    if (find_policy(call, &job, &schedule)) {
        hf_reply_json(call, 200, policy_document(call, &schedule));
    }
}

void hf_api_patch_policy(struct hf_server_call *call)
{
    struct hf_schedule_record schedule;
    struct hf_job_record job;
    struct hf_error err;

    if (!find_policy(call, &job, &schedule)) {
        return;
    }
    struct hf_policy policy = schedule.policy;
    if (!take_policy(call, &policy)) {
        return;
    }
    if (!hf_policy_equal(&policy, &schedule.policy) &&
        hf_flow_policy_set(call->app, &job, &policy, &schedule, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_reply_json(call, 200, policy_document(call, &schedule));
}

static struct hf_json *forecast_document(const struct hf_policy_forecast *forecast)
{
    struct hf_json *json = hf_json_object();

    hf_json_set_u64(json, "snapshots", forecast->snapshots);
    hf_json_set_u64(json, "base", forecast->base);
    hf_json_set_u64(json, "daily", forecast->daily);
    hf_json_set_u64(json, "weekly", forecast->weekly);
    hf_json_set_u64(json, "monthly", forecast->monthly);
    hf_json_set_u64(json, "yearly", forecast->yearly);
    hf_json_set_u64(json, "bytes", forecast->bytes);
    hf_json_set_u64(json, "fullBytes", forecast->full_bytes);
    hf_json_set_u64(json, "changeBytesPerDay", forecast->change_bytes_per_day);
    hf_json_set_bool(json, "measured", forecast->measured);
    hf_json_set_u64(json, "beginsPerDay", forecast->begins_per_day);
    return json;
}

void hf_api_simulate_policy(struct hf_server_call *call)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    struct hf_policy_forecast forecast;
    struct hf_schedule_record schedule;
    struct hf_job_record job;
    struct hf_error err;
    uint64_t now_s = hf_flow_now_s();

    if (!find_policy(call, &job, &schedule)) {
        return;
    }
    struct hf_policy policy = schedule.policy;
    if (!take_policy(call, &policy)) {
        return;
    }
    if (hf_keep_snapshots_of(call->app->catalog, &job.id, &snapshots, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    HF_CLEANUP(hf_free) bool *goes = hf_alloc_array(snapshots.count + 1, sizeof *goes);
    if (goes == NULL) {
        hf_reply_fail(call, HF_ERR_NO_MEMORY, NULL, "no memory");
        return;
    }
    if (hf_policy_simulate(&policy, snapshots.items, snapshots.count, now_s, &forecast, goes,
                           &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *json = forecast_document(&forecast), *list = hf_json_array();
    schedule.policy = policy;
    hf_json_set_take(json, "policy", policy_document(call, &schedule));
    for (size_t i = 0; i < snapshots.count; i++) {
        if (goes[i]) {
            struct hf_json *one = hf_json_object();
            hf_json_set_text(one, "id", hf_id_text(&snapshots.items[i].id).text);
            hf_json_set_u64(one, "createdS", snapshots.items[i].created_s);
            hf_json_set_u64(one, "expiresS", snapshots.items[i].expires_s);
            hf_json_set_u64(one, "storedBytes", snapshots.items[i].stored_bytes);
            hf_json_append_take(list, one);
        }
    }
    hf_json_set_take(json, "wouldGo", list);
    hf_reply_json(call, 200, json);
}
