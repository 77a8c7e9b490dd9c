/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schedules and retention once more, as slowly and plainly as they can be written, for tests to hold the product against:
 * days are counted one by one, times are found by walking, whether a point in time is reached is tried out. Shares no line
 * and no rule with src/backup; takes the product's documents as its input only.
 */
#ifndef HF_TEST_NAIVE_SCHEDULE_H
#define HF_TEST_NAIVE_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "backup/records.h"

/* ---- A calendar of one entry a day ---- */

#define NAIVE_DAYS 40000 /* to 2079 */
#define NAIVE_DAY_S UINT64_C(86400)

struct naive_day {
    unsigned year, month, day, weekday, week; /* weekday: 0 is Sunday; week counts Mondays */
};
struct naive_calendar {
    struct naive_day days[NAIVE_DAYS];
};

static inline unsigned naive_month_days(unsigned year, unsigned month)
{
    if (month == 2) {
        return year % 400 == 0 || (year % 4 == 0 && year % 100 != 0) ? 29 : 28;
    }
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

static inline void naive_calendar_fill(struct naive_calendar *calendar)
{
    struct naive_day now = {.year = 1970, .month = 1, .day = 1, .weekday = 4, .week = 0};

    for (size_t i = 0; i < NAIVE_DAYS; i++) {
        calendar->days[i] = now;
        now.day++;
        if (now.day > naive_month_days(now.year, now.month)) {
            now.day = 1;
            now.month++;
        }
        if (now.month > 12) {
            now.month = 1;
            now.year++;
        }
        now.weekday = now.weekday == 6 ? 0 : now.weekday + 1;
        now.week += now.weekday == 1;
    }
}

static inline const struct naive_day *naive_day_of(const struct naive_calendar *calendar,
                                                   uint64_t at_s)
{
    return &calendar->days[at_s / NAIVE_DAY_S];
}

/* class: 0 day, 1 week, 2 month, 3 year. */
static inline bool naive_same(const struct naive_calendar *calendar, unsigned class, uint64_t a_s,
                              uint64_t b_s)
{
    const struct naive_day *a = naive_day_of(calendar, a_s), *b = naive_day_of(calendar, b_s);

    return class == 0   ? a == b
           : class == 1 ? a->week == b->week
           : class == 2 ? a->year == b->year && a->month == b->month
                        : a->year == b->year;
}

/* The same day of the month, so many months on; the last day of a month that has no such. */
static inline uint64_t naive_add_months(const struct naive_calendar *calendar, uint64_t at_s,
                                        uint64_t months)
{
    size_t day = at_s / NAIVE_DAY_S;
    unsigned wanted = calendar->days[day].day;

    for (uint64_t i = 0; i < months; i++) {
        day -= calendar->days[day].day - 1; /* the first of this month, then of the next */
        day += naive_month_days(calendar->days[day].year, calendar->days[day].month);
    }
    size_t first = day - (calendar->days[day].day - 1);
    unsigned last = naive_month_days(calendar->days[first].year, calendar->days[first].month);
    return (first + (wanted < last ? wanted : last) - 1) * NAIVE_DAY_S + at_s % NAIVE_DAY_S;
}

/* ---- A policy, and when it wants a snapshot ---- */

struct naive_policy {
    uint64_t every_min, reference_min;
    uint64_t base_days, keeps[4]; /* days, weeks, months, years */
    unsigned full_weekday;
    bool pause; /* from pause_from to pause_to on pause_weekday, not over midnight */
    unsigned pause_weekday;
    uint64_t pause_from_min, pause_to_min;
    bool deadline;
    uint64_t deadline_min;
};

static inline bool naive_is_time(const struct naive_policy *policy, uint64_t minute)
{
    /* From the reference time of some day, forwards or backwards by whole intervals. */
    uint64_t of_day = minute % 1440;
    for (uint64_t k = 0; k < 1440 / policy->every_min; k++) {
        if ((policy->reference_min + k * policy->every_min) % 1440 == of_day) {
            return true;
        }
    }
    return false;
}

static inline uint64_t naive_next(const struct naive_policy *policy, uint64_t after_s)
{
    uint64_t minute = after_s / 60 + 1;

    while (!naive_is_time(policy, minute)) {
        minute++;
    }
    return minute * 60;
}

/* backup-domain.md 3.2, word by word; then the day that would have none. */
static inline uint64_t naive_moved(const struct naive_calendar *calendar,
                                   const struct naive_policy *policy, bool reference,
                                   uint64_t planned_s, bool day_has, uint64_t now_s)
{
    uint64_t candidate_s = now_s / NAIVE_DAY_S * NAIVE_DAY_S + policy->reference_min * 60;

    if (!reference && naive_is_time(policy, planned_s / 60)) {
        return planned_s;
    }
    while (candidate_s <= planned_s) {
        candidate_s += policy->every_min * 60;
    }
    return !day_has && !naive_same(calendar, 0, candidate_s, planned_s) ? planned_s : candidate_s;
}

static inline bool naive_paused(const struct naive_calendar *calendar,
                                const struct naive_policy *policy, uint64_t now_s)
{
    uint64_t minute = now_s % NAIVE_DAY_S / 60;

    return policy->pause && naive_day_of(calendar, now_s)->weekday == policy->pause_weekday &&
           minute >= policy->pause_from_min && minute < policy->pause_to_min;
}

/* ---- How long one is kept ---- */

static inline bool naive_has_class(const struct naive_calendar *calendar,
                                   const struct hf_snapshot_record *snapshots, size_t count,
                                   unsigned class, uint64_t now_s)
{
    for (size_t i = 0; i < count; i++) {
        if (snapshots[i].state == HF_SNAPSHOT_COMPLETE && snapshots[i].automatic &&
            (snapshots[i].classes >> class & 1) != 0 &&
            naive_same(calendar, class, snapshots[i].created_s, now_s)) {
            return true;
        }
    }
    return false;
}

static inline uint64_t naive_expires(const struct naive_calendar *calendar,
                                     const struct naive_policy *policy, uint64_t classes,
                                     uint64_t begun_s)
{
    uint64_t best_s = begun_s;
    uint64_t candidates_s[5] = {begun_s + policy->base_days * NAIVE_DAY_S,
                                begun_s + policy->keeps[0] * NAIVE_DAY_S,
                                begun_s + policy->keeps[1] * 7 * NAIVE_DAY_S,
                                naive_add_months(calendar, begun_s, policy->keeps[2]),
                                naive_add_months(calendar, begun_s, policy->keeps[3] * 12)};

    for (unsigned i = 0; i < 5; i++) {
        if ((i == 0 || (classes >> (i - 1) & 1) != 0) && candidates_s[i] > best_s) {
            best_s = candidates_s[i];
        }
    }
    return best_s;
}

static inline bool naive_full(const struct naive_calendar *calendar,
                              const struct naive_policy *policy,
                              const struct hf_snapshot_record *snapshots, size_t count,
                              uint64_t classes, uint64_t now_s)
{
    size_t day = now_s / NAIVE_DAY_S;

    if ((classes & 0xc) != 0) {
        return true;
    }
    while (calendar->days[day].weekday != policy->full_weekday) {
        day--;
    }
    for (size_t i = 0; i < count; i++) {
        const struct hf_snapshot_record *one = &snapshots[i];
        if (one->state == HF_SNAPSHOT_COMPLETE && (one->full || one->parent_capture == 0) &&
            one->created_s / NAIVE_DAY_S >= day && one->created_s <= now_s) {
            return false;
        }
    }
    return true;
}

/* ---- The guarantee ---- */

/* Of one chain of the oplog. */
struct naive_chain {
    const struct hf_snapshot_record *snapshots;
    const unsigned *chain_of;
    size_t count;
    unsigned chain;
    uint64_t slices_from_s; /* what is older was pruned: no base before it is worth anything */
};

/* The newest snapshot from before the window: slices older than it are pruned at any moment. */
static inline uint64_t naive_slices_from_s(const struct naive_chain *chain, const bool *there,
                                           uint64_t window_s)
{
    uint64_t from_s = 0;

    for (size_t i = 0; i < chain->count; i++) {
        uint64_t at_s = chain->snapshots[i].checkpoint.seconds;
        if (there[i] && chain->chain_of[i] == chain->chain && at_s <= window_s && at_s > from_s) {
            from_s = at_s;
        }
    }
    return from_s;
}

/* Can the instant be restored: from a good snapshot on that chain that is not later, by slices that are there? */
static inline bool naive_reaches(const struct naive_chain *chain, const bool *there,
                                 uint64_t instant_s)
{
    for (size_t i = 0; i < chain->count; i++) {
        uint64_t at_s = chain->snapshots[i].checkpoint.seconds;
        if (there[i] && chain->chain_of[i] == chain->chain && at_s <= instant_s &&
            at_s >= chain->slices_from_s) {
            return true;
        }
    }
    return false;
}

#endif
