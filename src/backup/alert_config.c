/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configurations of alerts and windows of maintenance: their documents, and what may stand in them.
 */
#include "backup/alert_config.h"

#include <inttypes.h>
#include <stdio.h>

#include "backup/fields.h"

#define PERCENT_MAX 100000 /* of an interval; of a disk 100 */
#define TIMES_MAX 1000000

static const char *const type_words[] = {
#define CONFIG_WORD(type, ending, of, about, seconds, elsewhere, counts, least) #type,
    HF_ALERT_TABLE(CONFIG_WORD)
#undef CONFIG_WORD
        NULL};

#define R struct hf_alert_config_record
static const struct hf_field config_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_ID(R, project, "projectId", true),
    HF_FIELDS_WORD(R, type, "type", type_words),
    HF_FIELDS_BOOL(R, disabled, "disabled"),
    HF_FIELDS_BOOL(R, own_threshold, "ownThreshold"),
    HF_FIELDS_U64(R, threshold, "threshold"),
    HF_FIELDS_BOOL(R, own_patience, "ownPatience"),
    HF_FIELDS_U64(R, patience_s, "patienceS"),
    HF_FIELDS_BOOL(R, own_repeat, "ownRepeat"),
    HF_FIELDS_U64(R, repeat_s, "repeatS"),
    HF_FIELDS_TEXT(R, notify, "notify", false),
    HF_FIELDS_U64(R, created_s, "createdS"),
    HF_FIELDS_U64(R, updated_s, "updatedS"),
};
#undef R
static const struct hf_fields config_record = {
    .record = "alert_config",
    .fields = config_fields,
    .count = HF_ARRAY_LEN(config_fields),
    .size_bytes = sizeof(struct hf_alert_config_record),
};

struct hf_json *hf_alert_config_record_encode(const struct hf_alert_config_record *record)
{
    return hf_fields_encode(&config_record, record);
}

enum hf_err hf_alert_config_record_decode(const struct hf_json *json,
                                          struct hf_alert_config_record *out, struct hf_error *err)
{
    return hf_fields_decode(&config_record, json, out, err);
}

#define R struct hf_maintenance_record
static const struct hf_field window_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),         HF_FIELDS_ID(R, project, "projectId", true),
    HF_FIELDS_U64(R, created_s, "createdS"), HF_FIELDS_U64(R, updated_s, "updatedS"),
    HF_FIELDS_U64(R, start_s, "startS"),     HF_FIELDS_U64(R, end_s, "endS"),
    HF_FIELDS_TEXT(R, types, "types", true), HF_FIELDS_TEXT(R, description, "description", false),
};
#undef R
static const struct hf_fields window_record = {
    .record = "maintenance_window",
    .fields = window_fields,
    .count = HF_ARRAY_LEN(window_fields),
    .size_bytes = sizeof(struct hf_maintenance_record),
};

struct hf_json *hf_maintenance_record_encode(const struct hf_maintenance_record *record)
{
    return hf_fields_encode(&window_record, record);
}

enum hf_err hf_maintenance_record_decode(const struct hf_json *json,
                                         struct hf_maintenance_record *out, struct hf_error *err)
{
    return hf_fields_decode(&window_record, json, out, err);
}

/* ---- Configurations ---- */

struct hf_id hf_alert_config_id(enum hf_alert_type type)
{
    return hf_alert_id(type, "configuration", 0);
}

void hf_alert_config_init(struct hf_alert_config_record *out, enum hf_alert_type type,
                          const struct hf_id *project, uint64_t now_s)
{
    *out = (struct hf_alert_config_record){.id = hf_alert_config_id(type),
                                           .project = *project,
                                           .type = type,
                                           .created_s = now_s,
                                           .updated_s = now_s};
}

static enum hf_err check_threshold(const struct hf_alert_config_record *config,
                                   struct hf_error *err)
{
    const struct hf_alert_kind *kind = &hf_alert_kinds[config->type];
    bool of_disk = kind->target == HF_ALERT_OF_STORE || kind->target == HF_ALERT_OF_CATALOG;
    uint64_t most = kind->unit == HF_ALERT_SECONDS ? HF_ALERT_SECONDS_MAX
                    : kind->unit == HF_ALERT_TIMES ? TIMES_MAX
                    : of_disk                      ? 100
                                                   : PERCENT_MAX;

    if (!config->own_threshold) {
        return HF_ERR_OK;
    }
    if (kind->unit == HF_ALERT_NOTHING) {
        return hf_fail(err, HF_ERR_INVALID, "%s has no threshold", kind->name);
    }
    return config->threshold <= most
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_INVALID,
                         "the threshold of %s is %" PRIu64 ", more than %" PRIu64, kind->name,
                         config->threshold, most);
}

enum hf_err hf_alert_config_check(const struct hf_alert_config_record *config, struct hf_error *err)
{
    struct hf_alert_ways ways;

    if (config->patience_s > HF_ALERT_SECONDS_MAX || config->repeat_s > HF_ALERT_SECONDS_MAX) {
        return hf_fail(err, HF_ERR_INVALID, "an alert waits, and is repeated, within %" PRIu64 " s",
                       HF_ALERT_SECONDS_MAX);
    }
    return check_threshold(config, err) != HF_ERR_OK
               ? err->code
               : hf_alert_ways_parse(config->notify, &ways, err);
}

static enum hf_err add_way(struct hf_alert_ways *out, enum hf_alert_way way, struct hf_str to,
                           struct hf_error *err)
{
    for (size_t i = 0; i < out->count; i++) {
        if (out->items[i].way == way && hf_str_equal_c(to, out->items[i].to)) {
            return HF_ERR_OK;
        }
    }
    if (out->count == HF_ALERT_RECEIVERS_MAX) {
        return hf_fail(err, HF_ERR_LIMIT, "at most %d receivers", HF_ALERT_RECEIVERS_MAX);
    }
    struct hf_alert_way_to *one = &out->items[out->count++];
    one->way = way;
    (void)snprintf(one->to, sizeof one->to, "%.*s", HF_STR_ARG(to));
    return HF_ERR_OK;
}

static bool begins(struct hf_str text, const char *head, struct hf_str *rest)
{
    size_t len = strlen(head);

    if (text.len <= len || memcmp(text.data, head, len) != 0) {
        return false;
    }
    *rest = (struct hf_str){text.data + len, text.len - len};
    return true;
}

/* Nothing that could begin another line of a mail's header, or another address. */
static bool is_plain(struct hf_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= ' ' || text.data[i] > '~' || strchr("<>\"\\,;", text.data[i]) != NULL) {
            return false;
        }
    }
    return text.len > 0;
}

static enum hf_err add_word(struct hf_alert_ways *out, struct hf_str word, struct hf_error *err)
{
    const struct hf_str servers = {"", 0};
    struct hf_str to, host;

    if (hf_str_equal_c(word, "none")) {
        return HF_ERR_OK;
    }
    if (hf_str_equal_c(word, "mail")) {
        return add_way(out, HF_ALERT_BY_MAIL, servers, err);
    }
    if (hf_str_equal_c(word, "webhook")) {
        return add_way(out, HF_ALERT_BY_WEBHOOK, servers, err);
    }
    if (hf_str_equal_c(word, "all")) {
        return add_way(out, HF_ALERT_BY_MAIL, servers, err) != HF_ERR_OK
                   ? err->code
                   : add_way(out, HF_ALERT_BY_WEBHOOK, servers, err);
    }
    if (begins(word, "mail:", &to) && is_plain(to) && memchr(to.data, '@', to.len) != NULL) {
        return add_way(out, HF_ALERT_BY_MAIL, to, err);
    }
    if (begins(word, "webhook:", &to) && is_plain(to) &&
        (begins(to, "http://", &host) || begins(to, "https://", &host)) &&
        memchr(host.data, '@', host.len) == NULL) {
        return add_way(out, HF_ALERT_BY_WEBHOOK, to, err);
    }
    return hf_fail(err, HF_ERR_INVALID,
                   "'%.*s' is nobody who can be told; hint: all, mail, webhook, none, mail:ADDRESS "
                   "or webhook:URL, without a password in it",
                   HF_STR_ARG(word));
}

enum hf_err hf_alert_ways_parse(const char *text, struct hf_alert_ways *out, struct hf_error *err)
{
    const char *at = text[0] == '\0' ? "all" : text;

    out->count = 0;
    for (;;) {
        size_t len = strcspn(at, ",");
        if (add_word(out, (struct hf_str){at, len}, err) != HF_ERR_OK) {
            return err->code;
        }
        if (at[len] == '\0') {
            return HF_ERR_OK;
        }
        at += len + 1;
    }
}

/* ---- Windows ---- */

bool hf_maintenance_type_is(const char *word)
{
    static const char *const words[] = {"HOST", "REPLICA_SET", "CLUSTER", "AGENT", "BACKUP"};

    for (size_t i = 0; i < HF_ARRAY_LEN(words); i++) {
        if (strcmp(word, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

bool hf_maintenance_silences(const struct hf_maintenance_record *window, enum hf_alert_type type,
                             uint64_t now_s)
{
    const struct hf_alert_kind *kind = &hf_alert_kinds[type];

    if (now_s < window->start_s || now_s >= window->end_s || kind->scope == HF_ALERT_SYSTEM) {
        return false;
    }
    for (const char *at = window->types; *at != '\0';) {
        size_t len = strcspn(at, ",");
        struct hf_str word = {at, len};
        bool of_set = hf_str_equal_c(word, "REPLICA_SET") || hf_str_equal_c(word, "CLUSTER") ||
                      hf_str_equal_c(word, "BACKUP");
        if ((of_set && kind->target == HF_ALERT_OF_JOB) ||
            (hf_str_equal_c(word, "AGENT") && kind->target == HF_ALERT_OF_AGENT)) {
            return true;
        }
        at += at[len] == '\0' ? len : len + 1;
    }
    return false;
}
