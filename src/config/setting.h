/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings under the reference's names (backup-domain.md 9): one table, from which the parser, the help, docs/user/settings.md
 * and what the server obeys derive. A setting comes from an option of the server, the configuration file, or the catalog;
 * which of them wins, the server knows. Must not know what any setting does.
 */
#ifndef HF_CONFIG_SETTING_H
#define HF_CONFIG_SETTING_H

#include "base/buf.h"
#include "base/error.h"

/* What a value may be, and what hf_setting_parse makes of it. */
enum hf_setting_type {
    HF_SETTING_NUMBER,
    HF_SETTING_OR_NONE, /* a number, or "none": 0 */
    HF_SETTING_HOURS,   /* "3", "1.5": seconds */
    HF_SETTING_OF_DAY,  /* hours that divide a day and are among 6, 8, 12 and 24 */
    HF_SETTING_URL,     /* http:// or https:// and a host; or "" */
};

/*  id                type     reference's name, the server's option, default, min, max, meaning */
#define HF_SETTINGS(X)                                                                             \
    X(INTERVAL, OF_DAY, "brs.snapshotSchedule.interval", "", "24", 6, 24,                          \
      "Hours from snapshot to snapshot, for new jobs: 6, 8, 12 or 24")                             \
    X(BASE_DAYS, NUMBER, "brs.snapshotSchedule.retention.base", "", "2", 1, 365,                   \
      "Days that every snapshot is kept, for new jobs")                                            \
    X(DAILY_DAYS, OR_NONE, "brs.snapshotSchedule.retention.daily", "", "none", 1, 365,             \
      "Days that the first snapshot of a day is kept, for new jobs")                               \
    X(WEEKLY_WEEKS, OR_NONE, "brs.snapshotSchedule.retention.weekly", "", "2", 1, 52,              \
      "Weeks that the first of a week is kept, for new jobs")                                      \
    X(MONTHLY_MONTHS, OR_NONE, "brs.snapshotSchedule.retention.monthly", "", "1", 1, 84,           \
      "Months that the first of a month is kept, for new jobs")                                    \
    X(WINDOW, HOURS, "brs.pitWindowInHours", "point_in_time_window", "24", 0, 87600,               \
      "Hours of which any second stays restorable, where a job's policy says nothing else; 0: "    \
      "none is promised, and no slice is deleted")                                                 \
    X(OPLOG_WINDOW, HOURS, "mms.backup.minimumOplogWindowHours", "minimum_oplog_window", "3", 0,   \
      8760, "Hours that the oplog of a set should reach back; 0: any will do")                     \
    X(CONF_CALLS, NUMBER, "mms.alerts.BackupAgentConfCallFailure.maximumFailedConfCalls", "",      \
      "10", 1, 1000000, "An agent that asked in vain more often than this, in a row, is an alert") \
    X(SPACE_PERCENT, NUMBER, "mms.alerts.OutsideSpaceUsedThreshold.maximumSpaceUsedPercent",       \
      "maximum_space_used_percent", "85", 0, 100,                                                  \
      "A store whose disk is fuller is an alert; 100: never")                                      \
    X(CENTRAL_URL, URL, "mms.backupCentralUrl", "", "", 0, 255,                                    \
      "Address of the server for agents and people, where it is another than that of --listen: "   \
      "it stands in cli.profile, in server.url and in links to downloads")

enum hf_setting_id {
#define HF_SETTING_ID(id, type, name, option, standard, min, max, help) HF_SET_##id,
    HF_SETTINGS(HF_SETTING_ID)
#undef HF_SETTING_ID
        HF_SET_COUNT
};

struct hf_setting {
    const char *name;
    enum hf_setting_type type;
    const char *option; /* of `holdfast server`, that means the same; "" when there is none */
    const char *standard;
    uint64_t min, max; /* of the number as it is written; of the text's length */
    const char *help;
};
extern const struct hf_setting hf_settings[HF_SET_COUNT];

#define HF_SETTING_TEXT_BYTES 256
struct hf_setting_value {
    uint64_t number; /* hours are seconds here */
    char text[HF_SETTING_TEXT_BYTES];
};
/* What one source says. */
struct hf_setting_layer {
    bool given[HF_SET_COUNT];
    struct hf_setting_value values[HF_SET_COUNT];
};

/* HF_SET_COUNT: there is none of that name. */
enum hf_setting_id hf_setting_find(struct hf_str name);
/* INVALID: source, the value, and what is allowed. */
HF_MUST_CHECK enum hf_err hf_setting_parse(enum hf_setting_id id, const char *text,
                                           const char *source, struct hf_setting_value *out,
                                           struct hf_error *err);
/* "there is no such setting", with the nearest name. */
HF_MUST_CHECK enum hf_err hf_setting_unknown(struct hf_str name, const char *source,
                                             struct hf_error *err);
/* As it is written: "24", "1.5", "none". */
void hf_setting_text(enum hf_setting_id id, const struct hf_setting_value *value,
                     char out[HF_SETTING_TEXT_BYTES]);
/* "1 to 365, or none" */
void hf_setting_range(enum hf_setting_id id, char *out, size_t out_len);
/* The table of docs/user/settings.md. */
HF_MUST_CHECK enum hf_err hf_setting_markdown(struct hf_buf *out, struct hf_error *err);

#endif
