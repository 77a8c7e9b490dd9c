/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How alerts are configured: for each type one configuration, which can be changed and disabled and never goes away, and
 * the windows of maintenance in which nobody is told of a project's alerts. Plain values; knows no clock and no catalog.
 */
#ifndef HF_BACKUP_ALERT_CONFIG_H
#define HF_BACKUP_ALERT_CONFIG_H

#include "backup/alert.h"

#define HF_KIND_ALERT_CONFIG "alert_config"
#define HF_KIND_MAINTENANCE "maintenance_window"

#define HF_ALERT_NOTIFY_BYTES 1024
#define HF_ALERT_RECEIVERS_MAX 16
#define HF_ALERT_SECONDS_MAX ((uint64_t)31536000)

struct hf_alert_config_record {
    struct hf_id id; /* hf_alert_config_id: the same on every server */
    struct hf_id project;
    enum hf_alert_type type;
    bool disabled;
    bool own_threshold; /* else the server's option, or the table's */
    uint64_t threshold;
    bool own_patience;
    uint64_t patience_s;
    bool own_repeat; /* else the server's */
    uint64_t repeat_s;
    char notify[HF_ALERT_NOTIFY_BYTES]; /* hf_alert_receivers_parse; empty: "all" */
    uint64_t created_s, updated_s;
};
HF_MUST_CHECK struct hf_json *
hf_alert_config_record_encode(const struct hf_alert_config_record *record);
HF_MUST_CHECK enum hf_err hf_alert_config_record_decode(const struct hf_json *json,
                                                        struct hf_alert_config_record *out,
                                                        struct hf_error *err);

struct hf_id hf_alert_config_id(enum hf_alert_type type);
/* As it is made where there is none. */
void hf_alert_config_init(struct hf_alert_config_record *out, enum hf_alert_type type,
                          const struct hf_id *project, uint64_t now_s);
/* INVALID for a threshold where the type has none or that is out of its range, for too many seconds, for a receiver that is
 * none. */
HF_MUST_CHECK enum hf_err hf_alert_config_check(const struct hf_alert_config_record *config,
                                                struct hf_error *err);

/*
 * Who is told: words between commas. "all" (the server's mail and webhook), "mail", "webhook", "none", "mail:ADDRESS" by the
 * server's mail server, "webhook:URL".
 */
enum hf_alert_way { HF_ALERT_BY_MAIL, HF_ALERT_BY_WEBHOOK };
struct hf_alert_way_to {
    enum hf_alert_way way;
    char to[HF_ALERT_NOTIFY_BYTES]; /* address or URL; empty: the server's */
};
struct hf_alert_ways {
    struct hf_alert_way_to items[HF_ALERT_RECEIVERS_MAX];
    size_t count;
};
HF_MUST_CHECK enum hf_err hf_alert_ways_parse(const char *text, struct hf_alert_ways *out,
                                              struct hf_error *err);

/* From start on and before end, nobody is told of the project's alerts of these types. */
struct hf_maintenance_record {
    struct hf_id id, project;
    uint64_t created_s, updated_s;
    uint64_t start_s, end_s;
    char types[HF_NAME_BYTES]; /* words between commas: HOST, REPLICA_SET, CLUSTER, AGENT, BACKUP */
    char description[HF_NAME_BYTES];
};
HF_MUST_CHECK struct hf_json *
hf_maintenance_record_encode(const struct hf_maintenance_record *record);
HF_MUST_CHECK enum hf_err hf_maintenance_record_decode(const struct hf_json *json,
                                                       struct hf_maintenance_record *out,
                                                       struct hf_error *err);
/* Is that one of the words? */
bool hf_maintenance_type_is(const char *word);
/*
 * Is it open now, and silences alerts of that type? REPLICA_SET, CLUSTER and BACKUP are those of a set, AGENT those of an
 * agent; HOST is none of ours. Alerts of the system are never silenced: they are not about a project.
 */
bool hf_maintenance_silences(const struct hf_maintenance_record *window, enum hf_alert_type type,
                             uint64_t now_s);

#endif
