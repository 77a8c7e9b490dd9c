/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Days, weeks, months and years of UTC, for schedules and retention. Knows no clock: seconds since 1970 come in and go
 * out. No leap seconds, as in POSIX.
 */
#ifndef HF_BACKUP_SCHEDULE_CALENDAR_H
#define HF_BACKUP_SCHEDULE_CALENDAR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

#define HF_MINUTE_S UINT64_C(60)
#define HF_HOUR_S UINT64_C(3600)
#define HF_DAY_S UINT64_C(86400)
#define HF_DAY_MIN UINT64_C(1440)
/* 9999-12-31T23:59:59Z: what lies behind is that. */
#define HF_CALENDAR_LAST_S UINT64_C(253402300799)

enum hf_weekday {
    HF_SUNDAY,
    HF_MONDAY,
    HF_TUESDAY,
    HF_WEDNESDAY,
    HF_THURSDAY,
    HF_FRIDAY,
    HF_SATURDAY,
};
#define HF_WEEKDAYS 7
/* "SUNDAY" */
const char *hf_weekday_word(enum hf_weekday day);
enum hf_weekday hf_calendar_weekday(uint64_t at_s);

enum hf_period {
    HF_PERIOD_DAY,
    HF_PERIOD_WEEK, /* begins on Monday, as ISO 8601 has it */
    HF_PERIOD_MONTH,
    HF_PERIOD_YEAR,
};
#define HF_PERIODS 4
/* The same number for two instants in one period, and only for such. */
uint64_t hf_calendar_period(enum hf_period period, uint64_t at_s);

struct hf_calendar_date {
    uint64_t year;
    unsigned month, day; /* from 1 */
};
void hf_calendar_date(uint64_t at_s, struct hf_calendar_date *out);
/* The first second of that day. */
uint64_t hf_calendar_day_s(const struct hf_calendar_date *date);
/* The same time of the same day so many months later; the last day of a month that is too short for it. */
uint64_t hf_calendar_add_months(uint64_t at_s, uint64_t months);

/* "2026-11-25T03:31Z" or with seconds, in UTC. False if it is not. */
HF_MUST_CHECK bool hf_calendar_parse(struct hf_str text, uint64_t *at_s);

#endif
