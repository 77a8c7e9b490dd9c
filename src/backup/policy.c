/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ranges of a policy, and the texts of its pauses.
 */
#include "backup/policy.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define WEEK_MIN (HF_WEEKDAYS * HF_DAY_MIN)
/* Pauses that follow on one another; beyond it the next look goes on. */
#define FOLLOWING_MAX 64

void hf_policy_default(struct hf_policy *out, uint64_t started_s)
{
    *out = (struct hf_policy){
        .interval_min = HF_DAY_MIN,
        .reference_min = started_s / HF_MINUTE_S % HF_DAY_MIN,
        .base_days = 2,
        .weekly_weeks = 2,
        .monthly_months = 1,
        .full_day = HF_SUNDAY,
    };
}

static enum hf_err out_of(const char *what, uint64_t value, uint64_t min, uint64_t max,
                          struct hf_error *err)
{
    return hf_fail(err, HF_ERR_INVALID, "%s: %llu is not between %llu and %llu", what,
                   (unsigned long long)value, (unsigned long long)min, (unsigned long long)max);
}

static enum hf_err check_pauses(const struct hf_policy *policy, struct hf_error *err)
{
    struct hf_pause pauses[HF_POLICY_PAUSES_MAX];
    size_t count = 0;

    return hf_policy_pauses(policy->pauses, pauses, &count, err);
}

enum hf_err hf_policy_check(const struct hf_policy *policy, enum hf_policy_setting *which,
                            struct hf_error *err)
{
    const struct {
        enum hf_policy_setting setting;
        const char *what;
        uint64_t value, min, max;
    } ranges[] = {
        {HF_POLICY_INTERVAL, "interval in minutes", policy->interval_min,
         HF_POLICY_INTERVAL_MIN_MIN, HF_DAY_MIN},
        {HF_POLICY_REFERENCE, "reference time in minutes", policy->reference_min, 0,
         HF_DAY_MIN - 1},
        {HF_POLICY_BASE, "base retention in days", policy->base_days, 1, HF_POLICY_BASE_DAYS_MAX},
        {HF_POLICY_DAILY, "daily retention in days", policy->daily_days, 0,
         HF_POLICY_DAILY_DAYS_MAX},
        {HF_POLICY_WEEKLY, "weekly retention in weeks", policy->weekly_weeks, 0,
         HF_POLICY_WEEKLY_WEEKS_MAX},
        {HF_POLICY_MONTHLY, "monthly retention in months", policy->monthly_months, 0,
         HF_POLICY_MONTHLY_MONTHS_MAX},
        {HF_POLICY_YEARLY, "yearly retention in years", policy->yearly_years, 0,
         HF_POLICY_YEARLY_YEARS_MAX},
        {HF_POLICY_FULL_DAY, "day of the full snapshot", policy->full_day, HF_SUNDAY, HF_SATURDAY},
        {HF_POLICY_WINDOW, "window of points in time in hours", policy->window_hours, 0,
         HF_POLICY_WINDOW_HOURS_MAX},
        {HF_POLICY_DEADLINE, "deadline in minutes", policy->deadline_min, 0, HF_DAY_MIN - 1},
    };

    for (size_t i = 0; i < HF_ARRAY_LEN(ranges); i++) {
        *which = ranges[i].setting;
        if (ranges[i].value < ranges[i].min || ranges[i].value > ranges[i].max) {
            return out_of(ranges[i].what, ranges[i].value, ranges[i].min, ranges[i].max, err);
        }
    }
    *which = HF_POLICY_INTERVAL;
    if (HF_DAY_MIN % policy->interval_min != 0) {
        return hf_fail(err, HF_ERR_INVALID,
                       "interval: %llu minutes do not divide a day; hint: 15, 20, 30, 60, 90, 120, "
                       "180, 240, 360, 480, 720 and 1440 do",
                       (unsigned long long)policy->interval_min);
    }
    *which = HF_POLICY_PAUSES;
    return check_pauses(policy, err);
}

bool hf_policy_equal(const struct hf_policy *a, const struct hf_policy *b)
{
    return a->interval_min == b->interval_min && a->reference_min == b->reference_min &&
           a->base_days == b->base_days && a->daily_days == b->daily_days &&
           a->weekly_weeks == b->weekly_weeks && a->monthly_months == b->monthly_months &&
           a->yearly_years == b->yearly_years && a->full_day == b->full_day &&
           a->own_window == b->own_window && a->window_hours == b->window_hours &&
           a->has_deadline == b->has_deadline && a->deadline_min == b->deadline_min &&
           a->no_fcv_snapshot == b->no_fcv_snapshot && strcmp(a->pauses, b->pauses) == 0;
}

/* ---- Texts ---- */

/* A day by its name or at least three letters of it. */
static bool day_of(struct hf_str word, enum hf_weekday *out)
{
    for (int day = HF_SUNDAY; day <= HF_SATURDAY; day++) {
        const char *name = hf_weekday_word((enum hf_weekday)day);
        if (word.len >= 3 && word.len <= strlen(name) &&
            strncasecmp(word.data, name, word.len) == 0) {
            *out = (enum hf_weekday)day;
            return true;
        }
    }
    return false;
}

bool hf_weekday_parse(const char *word, enum hf_weekday *out)
{
    return day_of(hf_str_of(word), out);
}

static bool time_of(struct hf_str text, uint64_t *minute)
{
    uint64_t hours = 0, minutes = 0;

    if (text.len != 5 || text.data[2] != ':' ||
        !hf_parse_u64((struct hf_str){text.data, 2}, &hours) ||
        !hf_parse_u64((struct hf_str){text.data + 3, 2}, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }
    *minute = hours * 60 + minutes;
    return true;
}

bool hf_policy_parse_time(const char *text, uint64_t *minute)
{
    return time_of(hf_str_of(text), minute);
}

static struct hf_str trim(struct hf_str text)
{
    while (text.len > 0 && isspace((unsigned char)text.data[0])) {
        text = (struct hf_str){text.data + 1, text.len - 1};
    }
    while (text.len > 0 && isspace((unsigned char)text.data[text.len - 1])) {
        text.len--;
    }
    return text;
}

/* What stands before the separator; the rest stays in *text. All of it when there is none. */
static struct hf_str cut(struct hf_str *text, char separator)
{
    const char *at = text->len == 0 ? NULL : memchr(text->data, separator, text->len);
    struct hf_str first = {text->data, at == NULL ? text->len : (size_t)(at - text->data)};
    size_t used = first.len + (at == NULL ? 0 : 1);

    *text = (struct hf_str){text->data + used, text->len - used};
    return first;
}

/* "SAT", "MON-FRI", over Saturday too. */
static bool days_of(struct hf_str words, unsigned *days)
{
    struct hf_str first = cut(&words, '-');
    enum hf_weekday from = HF_SUNDAY, to = HF_SUNDAY;

    if (!day_of(first, &from)) {
        return false;
    }
    to = from;
    if (words.len > 0 && !day_of(words, &to)) {
        return false;
    }
    for (unsigned day = from;; day = (day + 1) % HF_WEEKDAYS) {
        *days |= 1U << day;
        if (day == (unsigned)to) {
            return true;
        }
    }
}

/* "SAT,SUN 22:00-02:00", "22:00-02:00" for every day. */
static bool repeated(struct hf_str text, struct hf_pause *out)
{
    struct hf_str days = text, times = text;

    *out = (struct hf_pause){.days = (1U << HF_WEEKDAYS) - 1};
    if (memchr(text.data, ' ', text.len) != NULL) {
        out->days = 0;
        times = days;
        days = cut(&times, ' ');
        times = trim(times);
        while (days.len > 0) {
            if (!days_of(cut(&days, ','), &out->days)) {
                return false;
            }
        }
    }
    struct hf_str from = cut(&times, '-');
    return time_of(from, &out->from_min) && time_of(times, &out->to_min) && out->days != 0;
}

static bool once(struct hf_str text, struct hf_pause *out)
{
    struct hf_str from = cut(&text, '/');

    *out = (struct hf_pause){.once = true};
    return hf_calendar_parse(from, &out->from_s) && hf_calendar_parse(text, &out->to_s) &&
           out->from_s < out->to_s;
}

static bool is_on(const struct hf_pause *pause, uint64_t at_s, uint64_t *end_s)
{
    uint64_t day_s = at_s - at_s % HF_DAY_S;

    if (pause->once) {
        *end_s = pause->to_s;
        return at_s >= pause->from_s && at_s < pause->to_s;
    }
    uint64_t long_min =
        (pause->to_min > pause->from_min ? 0 : HF_DAY_MIN) + pause->to_min - pause->from_min;
    /* It began today, or yesterday and goes over midnight. */
    for (uint64_t back = 0; back <= 1; back++) {
        if (day_s < back * HF_DAY_S) {
            break;
        }
        uint64_t from_s = day_s - back * HF_DAY_S + pause->from_min * HF_MINUTE_S;
        *end_s = from_s + long_min * HF_MINUTE_S;
        if ((pause->days >> hf_calendar_weekday(from_s) & 1) != 0 && at_s >= from_s &&
            at_s < *end_s) {
            return true;
        }
    }
    return false;
}

/* Some minute of the week is in none of those that come again. */
static bool leave_room(const struct hf_pause *pauses, size_t count)
{
    for (uint64_t minute = 0; minute < WEEK_MIN; minute++) {
        bool on = false;
        for (size_t i = 0; i < count; i++) {
            uint64_t end_s = 0;
            on = on ||
                 (!pauses[i].once && is_on(&pauses[i], (WEEK_MIN + minute) * HF_MINUTE_S, &end_s));
        }
        if (!on) {
            return true;
        }
    }
    return false;
}

enum hf_err hf_policy_pauses(const char *text, struct hf_pause *out, size_t *count,
                             struct hf_error *err)
{
    struct hf_str rest = hf_str_of(text);

    *count = 0;
    while (rest.len > 0) {
        struct hf_str one = trim(cut(&rest, ';'));
        if (one.len == 0) {
            continue;
        }
        if (*count == HF_POLICY_PAUSES_MAX) {
            return hf_fail(err, HF_ERR_INVALID, "pauses: more than %d", HF_POLICY_PAUSES_MAX);
        }
        if (!(memchr(one.data, '/', one.len) != NULL ? once(one, &out[*count])
                                                     : repeated(one, &out[*count]))) {
            return hf_fail(err, HF_ERR_INVALID,
                           "pauses: '%.*s' is none; hint: 'SAT,SUN 22:00-02:00' each week, or once "
                           "'2026-12-24T00:00Z/2026-12-27T00:00Z', all in UTC",
                           HF_STR_ARG(one));
        }
        *count += 1;
    }
    return leave_room(out, *count)
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_INVALID, "pauses: they leave no minute of the week");
}

uint64_t hf_policy_paused_until(const struct hf_policy *policy, uint64_t now_s)
{
    struct hf_pause pauses[HF_POLICY_PAUSES_MAX];
    struct hf_error ignored; /* what does not parse was not stored by us: no pause */
    uint64_t at_s = now_s, end_s = 0;
    size_t count = 0;

    if (policy->pauses[0] == '\0' ||
        hf_policy_pauses(policy->pauses, pauses, &count, &ignored) != HF_ERR_OK) {
        return 0;
    }
    for (unsigned tries = 0; tries < FOLLOWING_MAX; tries++) {
        uint64_t before_s = at_s;
        for (size_t i = 0; i < count; i++) {
            if (is_on(&pauses[i], at_s, &end_s)) {
                at_s = end_s;
            }
        }
        if (at_s == before_s) {
            break;
        }
    }
    return at_s == now_s ? 0 : at_s;
}
