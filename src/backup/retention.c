/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Classes, expiry, and the guarantee.
 */
#include "backup/retention.h"

#include "backup/lifecycle.h"

static const enum hf_period periods[HF_PERIODS] = {HF_PERIOD_DAY, HF_PERIOD_WEEK, HF_PERIOD_MONTH,
                                                   HF_PERIOD_YEAR};

/* 0: the class is off. */
static uint64_t kept(const struct hf_policy *policy, enum hf_period period)
{
    switch (period) {
    case HF_PERIOD_DAY:
        return policy->daily_days;
    case HF_PERIOD_WEEK:
        return policy->weekly_weeks;
    case HF_PERIOD_MONTH:
        return policy->monthly_months;
    case HF_PERIOD_YEAR:
        break;
    }
    return policy->yearly_years;
}

static uint64_t class_expires(const struct hf_policy *policy, enum hf_period period,
                              uint64_t begun_s)
{
    switch (period) {
    case HF_PERIOD_DAY:
        return begun_s + policy->daily_days * HF_DAY_S;
    case HF_PERIOD_WEEK:
        return begun_s + policy->weekly_weeks * HF_WEEKDAYS * HF_DAY_S;
    case HF_PERIOD_MONTH:
        return hf_calendar_add_months(begun_s, policy->monthly_months);
    case HF_PERIOD_YEAR:
        break;
    }
    return hf_calendar_add_months(begun_s, policy->yearly_years * 12);
}

uint64_t hf_retention_expires(const struct hf_policy *policy, uint64_t classes, uint64_t begun_s)
{
    uint64_t expires_s = begun_s + policy->base_days * HF_DAY_S;

    for (size_t i = 0; i < HF_PERIODS; i++) {
        if ((classes & HF_CLASS(periods[i])) != 0) {
            uint64_t one_s = class_expires(policy, periods[i], begun_s);
            expires_s = one_s > expires_s ? one_s : expires_s;
        }
    }
    return expires_s;
}

uint64_t hf_retention_on_demand_days(const struct hf_policy *policy)
{
    return policy->daily_days != 0 ? policy->daily_days : policy->base_days;
}

static bool has_class(const struct hf_snapshot_record *snapshots, size_t count,
                      enum hf_period period, uint64_t now_s)
{
    for (size_t i = 0; i < count; i++) {
        const struct hf_snapshot_record *one = &snapshots[i];
        if (one->state == HF_SNAPSHOT_COMPLETE && (one->classes & HF_CLASS(period)) != 0 &&
            hf_calendar_period(period, one->created_s) == hf_calendar_period(period, now_s)) {
            return true;
        }
    }
    return false;
}

/* The latest midnight, not after now, that began a full day. */
static uint64_t full_day_s(const struct hf_policy *policy, uint64_t now_s)
{
    uint64_t today_s = now_s - now_s % HF_DAY_S;
    uint64_t back =
        ((uint64_t)hf_calendar_weekday(now_s) + HF_WEEKDAYS - policy->full_day) % HF_WEEKDAYS;

    return today_s > back * HF_DAY_S ? today_s - back * HF_DAY_S : 0;
}

/* None since the last full day reads everything, so a recent full one always exists, and a missed day is made good. */
static bool needs_full(const struct hf_policy *policy, const struct hf_snapshot_record *snapshots,
                       size_t count, uint64_t now_s)
{
    uint64_t since_s = full_day_s(policy, now_s);

    for (size_t i = 0; i < count; i++) {
        const struct hf_snapshot_record *one = &snapshots[i];
        if (one->state == HF_SNAPSHOT_COMPLETE && (one->full || one->parent_capture == 0) &&
            one->created_s >= since_s && one->created_s <= now_s) {
            return false;
        }
    }
    return true;
}

void hf_retention_plan(const struct hf_policy *policy, const struct hf_snapshot_record *snapshots,
                       size_t count, uint64_t now_s, struct hf_retention_plan *out)
{
    *out = (struct hf_retention_plan){.classes = 0};
    for (size_t i = 0; i < HF_PERIODS; i++) {
        if (kept(policy, periods[i]) != 0 && !has_class(snapshots, count, periods[i], now_s)) {
            out->classes |= HF_CLASS(periods[i]);
        }
    }
    out->expires_s = hf_retention_expires(policy, out->classes, now_s);
    out->full = (out->classes & (HF_CLASS(HF_PERIOD_MONTH) | HF_CLASS(HF_PERIOD_YEAR))) != 0 ||
                needs_full(policy, snapshots, count, now_s);
}

/* ---- What goes ---- */

const char *hf_retention_word(enum hf_retention_verdict verdict)
{
    static const char *const words[] = {"STAYS",     "GOES",       "WAITS",
                                        "LAST_GOOD", "POINT_BASE", "IS_PARENT"};

    return words[verdict];
}

bool hf_retention_is_expired(const struct hf_snapshot_record *snapshot, uint64_t now_s)
{
    return snapshot->state == HF_SNAPSHOT_COMPLETE && !snapshot->keep && snapshot->expires_s != 0 &&
           snapshot->expires_s <= now_s;
}

uint64_t hf_retention_next_s(const struct hf_snapshot_record *snapshots, size_t count,
                             uint64_t now_s)
{
    uint64_t next_s = UINT64_MAX;

    for (size_t i = 0; i < count; i++) {
        const struct hf_snapshot_record *one = &snapshots[i];
        if (one->state == HF_SNAPSHOT_COMPLETE && !one->keep && one->expires_s > now_s &&
            one->expires_s < next_s) {
            next_s = one->expires_s;
        }
    }
    return next_s;
}

/* SIZE_MAX: there is none. One that a verification found damaged is no promise, unless there is no other. */
static size_t newest_good(const struct hf_retention_view *view)
{
    size_t good = SIZE_MAX, any = SIZE_MAX;

    for (size_t i = 0; i < view->count; i++) {
        const struct hf_snapshot_record *one = &view->snapshots[i];
        if (one->state != HF_SNAPSHOT_COMPLETE) {
            continue;
        }
        if (any == SIZE_MAX || one->capture > view->snapshots[any].capture) {
            any = i;
        }
        if ((one->verified_s == 0 || one->verified_ok) &&
            (good == SIZE_MAX || one->capture > view->snapshots[good].capture)) {
            good = i;
        }
    }
    return good != SIZE_MAX ? good : any;
}

/* A waiting job has no snapshot yet that was begun since it goes on. */
static bool waits(const struct hf_retention_view *view)
{
    if (view->job->state != HF_JOB_STARTED) {
        return true;
    }
    for (size_t i = 0; i < view->count; i++) {
        if (view->snapshots[i].state == HF_SNAPSHOT_COMPLETE &&
            view->snapshots[i].capture >= view->waits_for_capture) {
            return false;
        }
    }
    return true;
}

/*
 * On each chain: the newest base from before the window, from which all of it is reached; where the chain's points begin
 * within the window, the oldest base. Whatever lies between is reached from these too.
 */
static void pin_bases(const struct hf_retention_view *view, enum hf_retention_verdict *verdicts)
{
    for (size_t i = 0; i < view->place_count; i++) {
        const struct hf_retention_place *place = &view->places[i];
        const struct hf_snapshot_record *one = &view->snapshots[place->snapshot];
        bool before = one->checkpoint.seconds <= view->window_s, better = true;
        for (size_t k = 0; k < view->place_count && better; k++) {
            const struct hf_snapshot_record *other = &view->snapshots[view->places[k].snapshot];
            bool other_before = other->checkpoint.seconds <= view->window_s;
            if (view->places[k].chain != place->chain || k == i) {
                continue;
            }
            /* Nearest to the window's beginning wins, from the older side if there is any. */
            bool older = hf_optime_compare_ts(&other->checkpoint, &one->checkpoint) < 0;
            better = before ? !(other_before && !older) : !(other_before || older);
            if (hf_optime_compare_ts(&other->checkpoint, &one->checkpoint) == 0) {
                better = other->capture < one->capture; /* of equals the newer one */
            }
        }
        if (better && verdicts[place->snapshot] == HF_RETENTION_GOES) {
            verdicts[place->snapshot] = HF_RETENTION_POINT_BASE;
        }
    }
}

static void pin_parents(const struct hf_retention_view *view, enum hf_retention_verdict *verdicts)
{
    for (size_t i = 0; i < view->count; i++) {
        const struct hf_snapshot_record *running = &view->snapshots[i];
        for (size_t k = 0; running->state == HF_SNAPSHOT_IN_PROGRESS && k < view->count; k++) {
            if (view->snapshots[k].capture == running->parent_capture &&
                verdicts[k] == HF_RETENTION_GOES) {
                verdicts[k] = HF_RETENTION_IS_PARENT;
            }
        }
    }
}

void hf_retention_judge(const struct hf_retention_view *view, uint64_t now_s,
                        enum hf_retention_verdict *verdicts)
{
    size_t last = newest_good(view);
    bool waiting = waits(view);

    for (size_t i = 0; i < view->count; i++) {
        verdicts[i] = !hf_retention_is_expired(&view->snapshots[i], now_s) ? HF_RETENTION_STAYS
                      : waiting                                            ? HF_RETENTION_WAITS
                      : i == last                                          ? HF_RETENTION_LAST_GOOD
                                                                           : HF_RETENTION_GOES;
    }
    if (!waiting && view->window_s != UINT64_MAX) {
        pin_bases(view, verdicts);
    }
    pin_parents(view, verdicts);
}

/* ---- Clocks ---- */

enum hf_err hf_retention_clocks(const struct hf_clock_witness *witnesses, size_t count,
                                uint64_t now_s, struct hf_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct hf_clock_witness *one = &witnesses[i];
        bool ahead = one->says_s > now_s && one->says_s - now_s > HF_CLOCK_SLACK_S;
        bool behind = now_s > one->says_s && now_s - one->says_s > one->behind_s + HF_CLOCK_SLACK_S;
        if (ahead || behind) {
            return hf_fail(err, HF_ERR_CONFLICT,
                           "the clock of %s is %llu s %s this server's: nothing expires until they "
                           "agree; hint: set the clocks by NTP",
                           one->name,
                           (unsigned long long)(ahead ? one->says_s - now_s : now_s - one->says_s),
                           ahead ? "ahead of" : "behind");
        }
    }
    return HF_ERR_OK;
}

/* ---- By hand ---- */

enum hf_err hf_retention_change(struct hf_snapshot_record *snapshot,
                                const struct hf_retention_wish *wish, uint64_t now_s,
                                struct hf_error *err)
{
    if (snapshot->state != HF_SNAPSHOT_COMPLETE) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "snapshot %s is %s: only one that is complete is kept longer or shorter",
                       hf_id_text(&snapshot->id).text, hf_snapshot_state_word(snapshot->state));
    }
    if (hf_retention_is_expired(snapshot, now_s)) {
        return hf_fail(err, HF_ERR_CONFLICT, "snapshot %s has expired already",
                       hf_id_text(&snapshot->id).text);
    }
    snapshot->keep = wish->keep;
    snapshot->expires_s = wish->keep ? 0 : wish->expires_s;
    return HF_ERR_OK;
}
