/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Points in time for people.
 */
#include "cli/point.h"

#include <stdio.h>
#include <string.h>

#include "cli/output.h"
#include "os/clock.h"

static enum hf_err parse_date(const char *text, struct hf_target *out, struct hf_error *err)
{
    uint64_t seconds = 0;

    if (!hf_time_parse(hf_str_of(text), &seconds) || seconds > UINT32_MAX) {
        return hf_fail(
            err, HF_ERR_INVALID,
            "--until '%s' is no point in time; hint: write 2026-11-30T14:03:07Z, or with "
            "an offset 2026-11-30T15:03:07+01:00",
            text);
    }
    *out = (struct hf_target){.kind = HF_TARGET_DATE, .seconds = (uint32_t)seconds};
    return HF_ERR_OK;
}

static enum hf_err parse_timestamp(const char *text, struct hf_target *out, struct hf_error *err)
{
    const char *dot = strchr(text, '.');
    uint64_t seconds = 0, increment = 0;

    if (dot == NULL || !hf_parse_u64((struct hf_str){text, (size_t)(dot - text)}, &seconds) ||
        !hf_parse_u64(hf_str_of(dot + 1), &increment) || seconds > UINT32_MAX ||
        increment > UINT32_MAX) {
        return hf_fail(
            err, HF_ERR_INVALID,
            "--oplog-ts '%s' is no timestamp; hint: Timestamp(1795450667, 68) is written "
            "1795450667.68",
            text);
    }
    *out = (struct hf_target){.kind = HF_TARGET_TIMESTAMP,
                              .seconds = (uint32_t)seconds,
                              .increment = (uint32_t)increment};
    return HF_ERR_OK;
}

enum hf_err hf_cli_target(const char *until, const char *oplog_ts, bool *wanted,
                          struct hf_target *out, struct hf_error *err)
{
    *wanted = until[0] != '\0' || oplog_ts[0] != '\0';
    if (!*wanted) {
        return HF_ERR_OK;
    }
    if (until[0] != '\0' && oplog_ts[0] != '\0') {
        return hf_fail(err, HF_ERR_INVALID, "--until and --oplog-ts name two points: give one");
    }
    return until[0] != '\0' ? parse_date(until, out, err) : parse_timestamp(oplog_ts, out, err);
}

void hf_cli_target_set(struct hf_json *body, const struct hf_target *target)
{
    if (target->kind == HF_TARGET_DATE) {
        hf_json_set_u64(body, "pointInTimeUTCMillis", (uint64_t)target->seconds * 1000);
        return;
    }
    hf_json_set_u64(body, "oplogTs", target->seconds);
    hf_json_set_u64(body, "oplogInc", target->increment);
}

void hf_cli_point_text(const struct hf_json *restore, char out[64])
{
    const struct hf_target target = {
        .kind =
            hf_json_get_bool(restore, "pointIsDate", false) ? HF_TARGET_DATE : HF_TARGET_TIMESTAMP,
        .seconds = (uint32_t)hf_json_get_u64(restore, "pointSeconds", 0),
        .increment = (uint32_t)hf_json_get_u64(restore, "pointIncrement", 0),
    };

    out[0] = '\0';
    if (hf_json_get_bool(restore, "pointInTime", false)) {
        (void)snprintf(out, 64, "%s", hf_target_text(&target).text);
    }
}

void hf_cli_print_point(const struct hf_json *restore)
{
    const struct hf_json *top = hf_json_get_object(restore, "replayTop");
    const char *notes = hf_json_get_text(restore, "replayNotes");
    uint64_t others = hf_json_get_u64(restore, "pointOtherHistories", 0);
    char point[64];

    hf_cli_point_text(restore, point);
    if (point[0] == '\0') {
        return;
    }
    if (others > 0) {
        (void)printf("%llu more histories have the point %s; the newest one was taken\n",
                     (unsigned long long)others, point);
    }
    if (top == NULL) {
        return;
    }
    (void)printf(
        "brought to %s: the oplog there ends with %llu.%llu; %llu entries of the copy were "
        "compared, %llu added\n",
        point, (unsigned long long)hf_json_get_u64(top, "seconds", 0),
        (unsigned long long)hf_json_get_u64(top, "increment", 0),
        (unsigned long long)hf_json_get_u64(restore, "replayCompared", 0),
        (unsigned long long)hf_json_get_u64(restore, "replayInserted", 0));
    if (notes != NULL) {
        (void)printf("%s%s\n",
                     hf_json_get_u64(restore, "replayWrong", 0) > 0
                         ? "recovery left this wrong, and not all of it could be set right:\n"
                         : "",
                     notes);
    }
}
