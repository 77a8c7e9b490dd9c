/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The moves of the diagram in schedule.h.
 */
#include "backup/schedule.h"

#include <stdio.h>
#include <string.h>

#include "backup/fields.h"
#include "backup/job.h"
#include "backup/member.h"

/* How soon something is tried again that stood in the way and is no failure. */
#define SOON_S 10
/* A clock may go back so far without having been set. */
#define STEP_S 60
/* No change puts a planned time further ahead. */
#define AHEAD_MAX_S (2 * HF_DAY_S)

static const char *const weekdays[] = {"SUNDAY",   "MONDAY", "TUESDAY",  "WEDNESDAY",
                                       "THURSDAY", "FRIDAY", "SATURDAY", NULL};

#define R struct hf_schedule_record
static const struct hf_field schedule_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_ID(R, project, "projectId", true),
    HF_FIELDS_ID(R, store, "storeId", false),
    HF_FIELDS_TEXT(R, host, "host", false),
    HF_FIELDS_TEXT(R, set_name, "setName", true),
    HF_FIELDS_U64(R, policy.interval_min, "intervalMinutes"),
    HF_FIELDS_U64(R, policy.reference_min, "referenceMinuteOfDay"),
    HF_FIELDS_U64(R, policy.base_days, "baseRetentionDays"),
    HF_FIELDS_U64(R, policy.daily_days, "dailyRetentionDays"),
    HF_FIELDS_U64(R, policy.weekly_weeks, "weeklyRetentionWeeks"),
    HF_FIELDS_U64(R, policy.monthly_months, "monthlyRetentionMonths"),
    HF_FIELDS_U64(R, policy.yearly_years, "yearlyRetentionYears"),
    HF_FIELDS_WORD(R, policy.full_day, "fullDayOfWeek", weekdays),
    HF_FIELDS_BOOL(R, policy.own_window, "ownWindow"),
    HF_FIELDS_U64(R, policy.window_hours, "windowHours"),
    HF_FIELDS_BOOL(R, policy.has_deadline, "hasDeadline"),
    HF_FIELDS_U64(R, policy.deadline_min, "deadlineMinuteOfDay"),
    HF_FIELDS_BOOL(R, policy.no_fcv_snapshot, "noFcvSnapshot"),
    HF_FIELDS_TEXT(R, policy.pauses, "pauses", false),
    HF_FIELDS_U64(R, wake_s, "wakeS"),
    HF_FIELDS_U64(R, queue_s, "queueS"),
    HF_FIELDS_U64(R, due_s, "dueS"),
    HF_FIELDS_U64(R, owed_s, "owedS"),
    HF_FIELDS_U64(R, not_before_s, "notBeforeS"),
    HF_FIELDS_U64(R, failures, "failures"),
    HF_FIELDS_ID(R, attempt, "attemptId", false),
    HF_FIELDS_U64(R, attempt_owed_s, "attemptOwedS"),
    HF_FIELDS_U64(R, took_s, "tookS"),
    HF_FIELDS_BOOL(R, active, "active"),
    HF_FIELDS_U64(R, waits_for_capture, "waitsForCapture"),
    HF_FIELDS_U64(R, expire_s, "expireS"),
    HF_FIELDS_U64(R, seen_s, "seenS"),
    HF_FIELDS_TEXT(R, problem, "problem", false),
};
#undef R
static const struct hf_fields schedule_record = {
    .record = "schedule",
    .fields = schedule_fields,
    .count = HF_ARRAY_LEN(schedule_fields),
    .size_bytes = sizeof(struct hf_schedule_record),
};

struct hf_json *hf_schedule_record_encode(const struct hf_schedule_record *record)
{
    return hf_fields_encode(&schedule_record, record);
}

enum hf_err hf_schedule_record_decode(const struct hf_json *json, struct hf_schedule_record *out,
                                      struct hf_error *err)
{
    enum hf_policy_setting which;

    if (hf_fields_decode(&schedule_record, json, out, err) != HF_ERR_OK) {
        return err->code;
    }
    /* An interval of nothing would be due without end. */
    if (hf_policy_check(&out->policy, &which, err) != HF_ERR_OK) {
        err->code = HF_ERR_CORRUPT;
        return hf_wrap(err, "schedule");
    }
    return HF_ERR_OK;
}

void hf_schedule_init(struct hf_schedule_record *record, const struct hf_job_record *job,
                      uint64_t now_s)
{
    *record = (struct hf_schedule_record){.id = job->id, .project = job->project, .wake_s = now_s};
    (void)snprintf(record->set_name, sizeof record->set_name, "%s", job->set_name);
    hf_policy_default(&record->policy, now_s);
}

/* ---- Times ---- */

static uint64_t interval_s(const struct hf_policy *policy)
{
    return policy->interval_min * HF_MINUTE_S;
}

uint64_t hf_schedule_slot_after(const struct hf_policy *policy, uint64_t after_s)
{
    uint64_t every_s = interval_s(policy);
    uint64_t phase_s = policy->reference_min * HF_MINUTE_S % every_s;

    /* The interval divides a day, and 1970 began with one: times are those with the reference's phase. */
    return after_s < phase_s ? phase_s : after_s + every_s - (after_s - phase_s) % every_s;
}

uint64_t hf_schedule_moved(const struct hf_schedule_move *move, uint64_t now_s)
{
    const struct hf_policy *policy = move->policy;
    uint64_t planned_s = move->planned_s;
    uint64_t today_s = now_s - now_s % HF_DAY_S + policy->reference_min * HF_MINUTE_S;
    uint64_t next_s = hf_schedule_slot_after(policy, planned_s);

    if (!move->reference_changed && planned_s > 0 &&
        hf_schedule_slot_after(policy, planned_s - 1) == planned_s) {
        return planned_s;
    }
    next_s = next_s < today_s ? today_s : next_s;
    return !move->day_has && hf_calendar_period(HF_PERIOD_DAY, next_s) !=
                                 hf_calendar_period(HF_PERIOD_DAY, planned_s)
               ? planned_s
               : next_s;
}

/* Until when it has to begin: the smallest goes first. With a deadline, so that it is done by then; else before the next
 * one is due. */
static uint64_t latest_start_s(const struct hf_schedule_record *record)
{
    uint64_t end_s = record->owed_s + interval_s(&record->policy);

    if (record->policy.has_deadline) {
        uint64_t day_s = record->owed_s - record->owed_s % HF_DAY_S;
        uint64_t deadline_s = day_s + record->policy.deadline_min * HF_MINUTE_S;
        deadline_s += deadline_s <= record->owed_s ? HF_DAY_S : 0;
        deadline_s = deadline_s > record->took_s ? deadline_s - record->took_s : 1;
        end_s = deadline_s < end_s ? deadline_s : end_s;
    }
    return end_s > 0 ? end_s : 1;
}

static uint64_t retry_wait_s(const struct hf_schedule_record *record)
{
    uint64_t most_s = interval_s(&record->policy) < HF_SCHEDULE_RETRY_MAX_S
                          ? interval_s(&record->policy)
                          : HF_SCHEDULE_RETRY_MAX_S;

    return hf_retry_wait_s(record->failures, HF_SCHEDULE_RETRY_S, most_s);
}

/* ---- Looks ---- */

static bool has_complete(const struct hf_schedule_view *view)
{
    for (size_t i = 0; i < view->count; i++) {
        if (view->snapshots[i].state == HF_SNAPSHOT_COMPLETE) {
            return true;
        }
    }
    return false;
}

/* The job does not take any, or has begun to do so since the last look. */
static void follow_state(struct hf_schedule_record *record, const struct hf_schedule_view *view,
                         uint64_t now_s)
{
    bool active = view->job->state == HF_JOB_STARTED;

    if (active && !record->active) {
        record->failures = 0;
        record->not_before_s = 0;
        record->waits_for_capture = view->job->next_capture;
        if (!has_complete(view) && !view->first_waits) {
            record->owed_s = now_s; /* the first one is taken at once */
            record->due_s = hf_schedule_slot_after(&record->policy, now_s);
        } else if (record->due_s == 0) {
            record->due_s = hf_schedule_slot_after(&record->policy, now_s);
        }
    }
    record->active = active;
}

static void end_attempt(struct hf_schedule_record *record)
{
    record->attempt = (struct hf_id){0};
    record->attempt_owed_s = 0;
}

static void fail_attempt(struct hf_schedule_record *record, const char *why, uint64_t now_s)
{
    if (record->owed_s == 0 || record->attempt_owed_s < record->owed_s) {
        record->owed_s = record->attempt_owed_s;
    }
    record->failures++;
    record->not_before_s = now_s + retry_wait_s(record);
    (void)snprintf(record->problem, sizeof record->problem, "%s", why);
    end_attempt(record);
}

static void follow_attempt(struct hf_schedule_record *record, const struct hf_schedule_view *view,
                           uint64_t now_s)
{
    const struct hf_snapshot_record *attempt = NULL;

    if (hf_id_is_none(&record->attempt)) {
        return;
    }
    for (size_t i = 0; i < view->count; i++) {
        if (hf_id_equal(&view->snapshots[i].id, &record->attempt)) {
            attempt = &view->snapshots[i];
        }
    }
    if (attempt == NULL) {
        fail_attempt(record, "the record of the last attempt is gone", now_s);
        return;
    }
    switch (attempt->state) {
    case HF_SNAPSHOT_IN_PROGRESS:
        return;
    case HF_SNAPSHOT_COMPLETE:
    case HF_SNAPSHOT_EXPIRED: /* it was complete */
        record->took_s =
            attempt->finished_s > attempt->created_s ? attempt->finished_s - attempt->created_s : 0;
        record->failures = 0;
        record->not_before_s = 0;
        record->expire_s = 0; /* it may have been what expired ones waited for */
        record->problem[0] = '\0';
        end_attempt(record);
        return;
    case HF_SNAPSHOT_FAILED:
    case HF_SNAPSHOT_ABANDONED:
        fail_attempt(record, attempt->error, now_s);
        return;
    }
}

/* What another automatic snapshot has done meanwhile: one that a broken chain of the oplog asked for. */
static bool was_taken_since(const struct hf_schedule_view *view, uint64_t since_s, uint64_t now_s)
{
    for (size_t i = 0; i < view->count; i++) {
        const struct hf_snapshot_record *one = &view->snapshots[i];
        if (one->state == HF_SNAPSHOT_COMPLETE && one->automatic && one->created_s >= since_s &&
            one->created_s <= now_s) {
            return true;
        }
    }
    return false;
}

/* A clock that was set back leaves times that lie too far ahead: they are found anew. */
static void follow_clock(struct hf_schedule_record *record, uint64_t now_s)
{
    bool back = record->seen_s > now_s + STEP_S;
    uint64_t ahead_s = back ? 2 * interval_s(&record->policy) : AHEAD_MAX_S;

    if (record->due_s > now_s + ahead_s) {
        record->due_s = hf_schedule_slot_after(&record->policy, now_s);
    }
    record->seen_s = now_s;
    if (record->not_before_s > now_s + HF_SCHEDULE_RETRY_MAX_S) {
        record->not_before_s = now_s + retry_wait_s(record);
    }
    record->owed_s = record->owed_s > now_s ? now_s : record->owed_s;
    record->attempt_owed_s = record->attempt_owed_s > now_s ? now_s : record->attempt_owed_s;
    if (record->expire_s > now_s + HF_SCHEDULE_LOOK_S) {
        record->expire_s = now_s;
    }
}

static void wake_by(struct hf_schedule_record *record, uint64_t at_s)
{
    record->wake_s = at_s < record->wake_s ? at_s : record->wake_s;
}

/* Into the queue, out of it, and when to look again. */
static void place(struct hf_schedule_record *record, bool running, uint64_t now_s)
{
    uint64_t paused_s = hf_policy_paused_until(&record->policy, now_s);

    record->queue_s = 0;
    record->wake_s = now_s + HF_SCHEDULE_LOOK_S;
    wake_by(record, record->expire_s > now_s ? record->expire_s : now_s + 1);
    if (!record->active) {
        return;
    }
    wake_by(record, record->due_s);
    if (running || !hf_id_is_none(&record->attempt)) {
        wake_by(record, now_s + HF_SCHEDULE_WATCH_S);
    } else if (record->owed_s != 0 && paused_s != 0) {
        wake_by(record, paused_s);
    } else if (record->owed_s != 0 && record->not_before_s > now_s) {
        wake_by(record, record->not_before_s);
    } else if (record->owed_s != 0) {
        record->queue_s = latest_start_s(record);
    }
}

void hf_schedule_look(struct hf_schedule_record *record, const struct hf_schedule_view *view,
                      uint64_t now_s)
{
    record->store = view->job->store;
    follow_clock(record, now_s);
    follow_attempt(record, view, now_s);
    follow_state(record, view, now_s);
    if (record->active && record->due_s <= now_s) {
        record->owed_s = record->owed_s == 0 ? record->due_s : record->owed_s;
        record->due_s = hf_schedule_slot_after(&record->policy, now_s);
    }
    if (record->owed_s != 0 && was_taken_since(view, record->owed_s, now_s)) {
        record->owed_s = 0;
    }
    /* One that the job itself wants is taken for that: it will do for this, too. */
    place(record, !hf_id_is_none(&view->job->running) || view->job->snapshot_wanted[0] != '\0',
          now_s);
}

void hf_schedule_change(struct hf_schedule_record *record, const struct hf_policy *policy,
                        const struct hf_schedule_view *view, uint64_t now_s)
{
    bool reference = policy->reference_min != record->policy.reference_min;
    bool moves = reference || policy->interval_min != record->policy.interval_min;
    bool day_has = false;

    for (size_t i = 0; i < view->count; i++) {
        const struct hf_snapshot_record *one = &view->snapshots[i];
        day_has = day_has || (one->automatic && one->state == HF_SNAPSHOT_COMPLETE &&
                              hf_calendar_period(HF_PERIOD_DAY, one->created_s) ==
                                  hf_calendar_period(HF_PERIOD_DAY, record->due_s));
    }
    record->policy = *policy;
    if (moves && record->due_s > now_s) {
        const struct hf_schedule_move move = {.policy = policy,
                                              .reference_changed = reference,
                                              .planned_s = record->due_s,
                                              .day_has = day_has};
        record->due_s = hf_schedule_moved(&move, now_s);
    }
    hf_schedule_look(record, view, now_s);
}

/* ---- Beginnings ---- */

bool hf_schedule_may_begin(const struct hf_schedule_record *record, uint64_t now_s)
{
    return record->active && record->owed_s != 0 && hf_id_is_none(&record->attempt) &&
           record->not_before_s <= now_s && hf_policy_paused_until(&record->policy, now_s) == 0;
}

void hf_schedule_begun(struct hf_schedule_record *record, const struct hf_id *snapshot,
                       uint64_t now_s)
{
    record->attempt = *snapshot;
    record->attempt_owed_s = record->owed_s;
    record->owed_s = 0;
    place(record, true, now_s);
}

void hf_schedule_note_member(struct hf_schedule_record *record, const char *member)
{
    struct hf_str host = hf_member_host(member);

    if (host.len > 0) {
        (void)snprintf(record->host, sizeof record->host, "%.*s", HF_STR_ARG(host));
    }
}

void hf_schedule_refused(struct hf_schedule_record *record, const char *why,
                         enum hf_schedule_patience patience, uint64_t now_s)
{
    bool failure = patience == HF_SCHEDULE_LATER;

    if (failure) {
        record->failures++;
    }
    record->not_before_s = now_s + (failure ? retry_wait_s(record) : SOON_S);
    (void)snprintf(record->problem, sizeof record->problem, "%s", why);
    place(record, false, now_s);
}
