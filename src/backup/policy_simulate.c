/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a policy would cost, once its longest retention is full: every snapshot that it takes until then, by the schedule's
 * own rules. Bytes go by what past snapshots stored: one alone, and what changes in a day. A snapshot that is kept holds
 * what was overwritten until the next one that is kept, and never more than everything.
 */
#include <string.h>

#include "backup/policy.h"
#include "backup/schedule.h"
#include "base/alloc.h"

struct tally {
    const struct hf_policy *policy;
    struct hf_policy_forecast *out;
    uint64_t end_s, last_s; /* of the last one that is kept */
    uint64_t of_class[HF_PERIODS];
};

static void count_class(struct hf_policy_forecast *out, const struct hf_policy *policy,
                        uint64_t classes, uint64_t begun_s, uint64_t expires_s)
{
    uint64_t *const counts[HF_PERIODS] = {&out->daily, &out->weekly, &out->monthly, &out->yearly};

    for (size_t i = HF_PERIODS; i-- > 0;) {
        if ((classes & HF_CLASS(i)) != 0 &&
            hf_retention_expires(policy, HF_CLASS(i), begun_s) == expires_s) {
            *counts[i] += 1;
            return;
        }
    }
    out->base++;
}

static void hold(struct tally *tally, uint64_t upto_s)
{
    struct hf_policy_forecast *out = tally->out;
    uint64_t gap_s = upto_s - tally->last_s;
    double bytes = (double)out->change_bytes_per_day * (double)gap_s / (double)HF_DAY_S;

    out->bytes += bytes < (double)out->full_bytes ? (uint64_t)bytes : out->full_bytes;
}

static void take(struct tally *tally, uint64_t at_s)
{
    uint64_t classes = 0;

    for (size_t i = 0; i < HF_PERIODS; i++) {
        uint64_t period = hf_calendar_period((enum hf_period)i, at_s);
        const uint64_t kept[HF_PERIODS] = {tally->policy->daily_days, tally->policy->weekly_weeks,
                                           tally->policy->monthly_months,
                                           tally->policy->yearly_years};
        classes |= kept[i] != 0 && period != tally->of_class[i] ? HF_CLASS(i) : 0;
        tally->of_class[i] = period;
    }
    uint64_t expires_s = hf_retention_expires(tally->policy, classes, at_s);
    if (expires_s <= tally->end_s) {
        return;
    }
    if (tally->last_s != 0) {
        hold(tally, at_s);
    }
    tally->last_s = at_s;
    tally->out->snapshots++;
    count_class(tally->out, tally->policy, classes, at_s, expires_s);
}

/* Stored bytes: what the newest would take alone, and what a day changes. */
static void measure(const struct hf_snapshot_record *snapshots, size_t count,
                    struct hf_policy_forecast *out)
{
    uint64_t first_s = UINT64_MAX, last_s = 0, changed = 0;
    double stored = 0, plain = 0;
    const struct hf_snapshot_record *newest = NULL;

    for (size_t i = 0; i < count; i++) {
        const struct hf_snapshot_record *one = &snapshots[i];
        /* One that is deleted was complete, and its change is as true as any. */
        if (one->state != HF_SNAPSHOT_COMPLETE && one->state != HF_SNAPSHOT_EXPIRED) {
            continue;
        }
        stored += (double)one->stored_bytes;
        plain += (double)one->new_bytes;
        newest = newest == NULL || one->capture > newest->capture ? one : newest;
        first_s = one->created_s < first_s ? one->created_s : first_s;
        last_s = one->created_s > last_s ? one->created_s : last_s;
        changed += one->parent_capture != 0 ? one->stored_bytes : 0;
    }
    if (newest == NULL) {
        return;
    }
    out->full_bytes = (uint64_t)((double)newest->bytes * (plain > 0 ? stored / plain : 1));
    out->measured = last_s > first_s;
    if (out->measured) {
        out->change_bytes_per_day =
            (uint64_t)((double)changed * (double)HF_DAY_S / (double)(last_s - first_s));
    }
}

/* Those that this policy had let go by now, had it been in force from the first one on. */
static void judge(const struct hf_policy *policy, const struct hf_snapshot_record *snapshots,
                  size_t count, uint64_t now_s, bool *goes)
{
    for (size_t i = 0; i < count; i++) {
        const struct hf_snapshot_record *one = &snapshots[i];
        uint64_t classes = (UINT64_C(1) << HF_PERIODS) - 1;

        goes[i] = false;
        if (one->state != HF_SNAPSHOT_COMPLETE || !one->automatic || one->keep) {
            continue;
        }
        for (size_t k = 0; k < count; k++) {
            const struct hf_snapshot_record *other = &snapshots[k];
            if (other->state != HF_SNAPSHOT_COMPLETE || !other->automatic ||
                other->capture >= one->capture) {
                continue;
            }
            for (size_t p = 0; p < HF_PERIODS; p++) {
                if (hf_calendar_period((enum hf_period)p, one->created_s) ==
                    hf_calendar_period((enum hf_period)p, other->created_s)) {
                    classes &= ~HF_CLASS(p);
                }
            }
        }
        const uint64_t kept[HF_PERIODS] = {policy->daily_days, policy->weekly_weeks,
                                           policy->monthly_months, policy->yearly_years};
        for (size_t p = 0; p < HF_PERIODS; p++) {
            classes &= kept[p] == 0 ? ~HF_CLASS(p) : ~UINT64_C(0);
        }
        goes[i] = hf_retention_expires(policy, classes, one->created_s) <= now_s;
    }
}

enum hf_err hf_policy_simulate(const struct hf_policy *policy,
                               const struct hf_snapshot_record *snapshots, size_t count,
                               uint64_t now_s, struct hf_policy_forecast *out, bool *goes,
                               struct hf_error *err)
{
    enum hf_policy_setting which;
    const uint64_t every_class = (UINT64_C(1) << HF_PERIODS) - 1;

    *out = (struct hf_policy_forecast){.snapshots = 0};
    if (hf_policy_check(policy, &which, err) != HF_ERR_OK) {
        return err->code;
    }
    measure(snapshots, count, out);
    out->begins_per_day = HF_DAY_MIN / policy->interval_min;
    struct tally tally = {.policy = policy, .out = out};
    /* The longest retention, and a year for its first ones to be whole periods. */
    uint64_t first_s = hf_calendar_add_months(now_s, 12);
    tally.end_s = hf_retention_expires(policy, every_class, first_s);
    for (uint64_t at_s = hf_schedule_slot_after(policy, now_s); at_s <= tally.end_s;
         at_s = hf_schedule_slot_after(policy, at_s)) {
        take(&tally, at_s);
    }
    out->bytes += out->full_bytes;
    judge(policy, snapshots, count, now_s, goes);
    return HF_ERR_OK;
}
