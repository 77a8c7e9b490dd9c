/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clocks, the texts that stand for times, and random bytes. No time zone but UTC, no locale.
 */
#include "os/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define LAST_SECOND UINT64_C(253402300799) /* of the year 9999 */

static uint64_t milliseconds_on(clockid_t clock)
{
    struct timespec now;
    HF_ASSERT(clock_gettime(clock, &now) == 0);
    HF_ASSERT(now.tv_sec >= 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

#ifdef HF_FAULTS
/* For tests of processes: HOLDFAST_TEST_CLOCK names a file with the milliseconds by which this process's wall clock is
 * wrong; the file may change at any time. */
static int64_t wall_error_ms(void)
{
    const char *path = getenv("HOLDFAST_TEST_CLOCK");
    char text[32] = "";

    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t got = read(fd, text, sizeof text - 1);
        (void)got; /* nothing was read: the clock is right */
        (void)close(fd);
    }
    return strtoll(text, NULL, 10);
}
#else
static int64_t wall_error_ms(void)
{
    return 0;
}
#endif

uint64_t hf_clock_wall_ms(void)
{
    return milliseconds_on(CLOCK_REALTIME) + (uint64_t)wall_error_ms();
}

uint64_t hf_clock_mono_ms(void)
{
    return milliseconds_on(CLOCK_BOOTTIME);
}

void hf_time_format(uint64_t seconds, char *out)
{
    struct tm parts;
    time_t at = (time_t)(seconds < LAST_SECOND ? seconds : LAST_SECOND);
    HF_ASSERT(gmtime_r(&at, &parts) != NULL);
    HF_ASSERT(strftime(out, HF_TIME_TEXT_BYTES, "%Y-%m-%dT%H:%M:%SZ", &parts) > 0);
}

/* What is left of a text that is being read. */
struct scanner {
    const char *at;
    size_t left;
};

static bool take_char(struct scanner *scanner, char wanted)
{
    if (scanner->left == 0 || *scanner->at != wanted) {
        return false;
    }
    scanner->at++;
    scanner->left--;
    return true;
}

/* Exactly count digits, with a value in [min, max]. */
static bool take_number(struct scanner *scanner, size_t count, int64_t min, int64_t max,
                        int64_t *out)
{
    int64_t value = 0;
    if (scanner->left < count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        char digit = scanner->at[i];
        if (digit < '0' || digit > '9') {
            return false;
        }
        value = value * 10 + (digit - '0');
    }
    scanner->at += count;
    scanner->left -= count;
    *out = value;
    return value >= min && value <= max;
}

static int64_t days_in_month(int64_t year, int64_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

/* Days from 1970-01-01 to a date of the Gregorian calendar; the year counts from March, so that a
 * leap day ends it. */
static int64_t days_since_1970(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t month_from_march = (month + 9) % 12;
    int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    int64_t days_before_1970 = 719468; /* since 0000-03-01 */
    return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - days_before_1970;
}

/* "Z", "+hh", "+hhmm", "+hh:mm", or nothing. */
static bool take_zone(struct scanner *scanner, int64_t *offset_s)
{
    int64_t hours, minutes = 0;
    *offset_s = 0;
    if (scanner->left == 0 || take_char(scanner, 'Z')) {
        return true;
    }
    bool east = take_char(scanner, '+');
    if (!east && !take_char(scanner, '-')) {
        return false;
    }
    if (!take_number(scanner, 2, 0, 23, &hours)) {
        return false;
    }
    if (scanner->left > 0) {
        (void)take_char(scanner, ':');
        if (!take_number(scanner, 2, 0, 59, &minutes)) {
            return false;
        }
    }
    *offset_s = (hours * 60 + minutes) * (east ? 60 : -60);
    return true;
}

bool hf_time_parse(struct hf_str text, uint64_t *seconds)
{
    struct scanner scanner = {.at = text.data, .left = text.len};
    int64_t year, month, day, hour = 0, minute = 0, second = 0, offset_s = 0;

    if (!take_number(&scanner, 4, 1970, 9999, &year) || !take_char(&scanner, '-') ||
        !take_number(&scanner, 2, 1, 12, &month) || !take_char(&scanner, '-') ||
        !take_number(&scanner, 2, 1, days_in_month(year, month), &day)) {
        return false;
    }
    if (scanner.left > 0) {
        if (!take_char(&scanner, 'T') || !take_number(&scanner, 2, 0, 23, &hour) ||
            !take_char(&scanner, ':') || !take_number(&scanner, 2, 0, 59, &minute)) {
            return false;
        }
        if (take_char(&scanner, ':') && !take_number(&scanner, 2, 0, 59, &second)) {
            return false;
        }
        if (!take_zone(&scanner, &offset_s)) {
            return false;
        }
    }
    int64_t total =
        days_since_1970(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset_s;
    if (scanner.left > 0 || total < 0) {
        return false;
    }
    *seconds = (uint64_t)total;
    return true;
}

void hf_random_bytes(void *out, size_t len)
{
    uint8_t *at = out;
    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        /* Without random bytes no key is safe: stopping is. */
        HF_ASSERT(got > 0 || errno == EINTR);
        if (got > 0) {
            at += got;
            len -= (size_t)got;
        }
    }
}
