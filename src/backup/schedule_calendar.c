/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Gregorian calendar, counted from 1 March of the year 0, so that a leap day ends a year.
 */
#include "backup/schedule_calendar.h"

#define DAYS_OF_400_YEARS UINT64_C(146097)
#define DAYS_TO_1970 UINT64_C(719468) /* from 0000-03-01 */
#define DAYS_TO_MONDAY 3              /* 1970-01-01 was a Thursday: three days after one */

const char *hf_weekday_word(enum hf_weekday day)
{
    static const char *const words[] = {"SUNDAY",   "MONDAY", "TUESDAY", "WEDNESDAY",
                                        "THURSDAY", "FRIDAY", "SATURDAY"};

    return words[day];
}

static uint64_t clamp(uint64_t at_s)
{
    return at_s < HF_CALENDAR_LAST_S ? at_s : HF_CALENDAR_LAST_S;
}

enum hf_weekday hf_calendar_weekday(uint64_t at_s)
{
    return (enum hf_weekday)((clamp(at_s) / HF_DAY_S + HF_THURSDAY) % HF_WEEKDAYS);
}

void hf_calendar_date(uint64_t at_s, struct hf_calendar_date *out)
{
    uint64_t days = clamp(at_s) / HF_DAY_S + DAYS_TO_1970;
    uint64_t era = days / DAYS_OF_400_YEARS, of_era = days % DAYS_OF_400_YEARS;
    uint64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t from_march = (5 * of_year + 2) / 153;

    out->day = (unsigned)(of_year - (153 * from_march + 2) / 5 + 1);
    out->month = (unsigned)(from_march < 10 ? from_march + 3 : from_march - 9);
    out->year = era * 400 + year_of_era + (out->month <= 2 ? 1 : 0);
}

uint64_t hf_calendar_day_s(const struct hf_calendar_date *date)
{
    uint64_t year = date->month <= 2 ? date->year - 1 : date->year;
    uint64_t from_march = (date->month + 9) % 12;
    uint64_t of_year = (153 * from_march + 2) / 5 + date->day - 1;
    uint64_t days = year * 365 + year / 4 - year / 100 + year / 400 + of_year;

    return days < DAYS_TO_1970 ? 0 : clamp((days - DAYS_TO_1970) * HF_DAY_S);
}

uint64_t hf_calendar_period(enum hf_period period, uint64_t at_s)
{
    struct hf_calendar_date date;

    switch (period) {
    case HF_PERIOD_DAY:
        return clamp(at_s) / HF_DAY_S;
    case HF_PERIOD_WEEK:
        return (clamp(at_s) / HF_DAY_S + DAYS_TO_MONDAY) / HF_WEEKDAYS;
    case HF_PERIOD_MONTH:
        hf_calendar_date(at_s, &date);
        return date.year * 12 + date.month - 1;
    case HF_PERIOD_YEAR:
        break;
    }
    hf_calendar_date(at_s, &date);
    return date.year;
}

static unsigned days_in_month(uint64_t year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap ? 1U : 0U);
}

uint64_t hf_calendar_add_months(uint64_t at_s, uint64_t months)
{
    struct hf_calendar_date date;

    at_s = clamp(at_s);
    hf_calendar_date(at_s, &date);
    uint64_t month = date.year * 12 + date.month - 1 + months;
    if (month / 12 > 9999) {
        return HF_CALENDAR_LAST_S;
    }
    date.year = month / 12;
    date.month = (unsigned)(month % 12) + 1;
    unsigned last = days_in_month(date.year, date.month);
    date.day = date.day < last ? date.day : last;
    return clamp(hf_calendar_day_s(&date) + at_s % HF_DAY_S);
}

/* Exactly count digits at *at. */
static bool take(struct hf_str text, size_t *at, size_t count, uint64_t *out)
{
    struct hf_str digits = {text.data + *at, count};

    if (text.len - *at < count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9') {
            return false;
        }
    }
    *at += count;
    return hf_parse_u64(digits, out);
}

static bool skip(struct hf_str text, size_t *at, char wanted)
{
    if (*at >= text.len || text.data[*at] != wanted) {
        return false;
    }
    *at += 1;
    return true;
}

bool hf_calendar_parse(struct hf_str text, uint64_t *at_s)
{
    uint64_t year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
    size_t at = 0;

    if (!take(text, &at, 4, &year) || !skip(text, &at, '-') || !take(text, &at, 2, &month) ||
        !skip(text, &at, '-') || !take(text, &at, 2, &day) || !skip(text, &at, 'T') ||
        !take(text, &at, 2, &hour) || !skip(text, &at, ':') || !take(text, &at, 2, &minute) ||
        (skip(text, &at, ':') && !take(text, &at, 2, &second)) || !skip(text, &at, 'Z') ||
        at != text.len) {
        return false;
    }
    if (year < 1970 || month < 1 || month > 12 || day < 1 ||
        day > days_in_month(year, (unsigned)month) || hour > 23 || minute > 59 || second > 59) {
        return false;
    }
    const struct hf_calendar_date date = {
        .year = year, .month = (unsigned)month, .day = (unsigned)day};
    *at_s = hf_calendar_day_s(&date) + hour * HF_HOUR_S + minute * HF_MINUTE_S + second;
    return true;
}
