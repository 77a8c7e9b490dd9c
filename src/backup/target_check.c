/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in the way of a restore onto a set: versions, storage options, space, and what the agents found on their
 * hosts. Everything is listed, not only the first.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/target.h"

/* Beside the snapshot's files: journal, checkpoint and oplog of the first starts. */
#define SPARE_BYTES ((uint64_t)512 << 20)

void hf_target_object(struct hf_target_record *record, const char *kind, const char *member,
                      const char *format, ...)
{
    va_list arguments;

    if (record->obstacle_count == HF_TARGET_OBSTACLES_MAX) {
        struct hf_target_obstacle *last = &record->obstacles[HF_TARGET_OBSTACLES_MAX - 1];
        (void)snprintf(last->text, sizeof last->text, "there are more than can be listed");
        return;
    }
    struct hf_target_obstacle *one = &record->obstacles[record->obstacle_count++];
    *one = (struct hf_target_obstacle){.text = ""};
    (void)snprintf(one->kind, sizeof one->kind, "%s", kind);
    (void)snprintf(one->member, sizeof one->member, "%s", member == NULL ? "" : member);
    va_start(arguments, format);
    (void)vsnprintf(one->text, sizeof one->text, format, arguments);
    va_end(arguments);
}

/* ---- Versions ---- */

/* "4.4" and "4.4.6-8" alike: 404. 0 when it is none. */
static unsigned version_number(const char *text)
{
    char *end = NULL;
    unsigned long major = strtoul(text, &end, 10);

    if (end == text || *end != '.' || major > 1000) {
        return 0;
    }
    const char *rest = end + 1;
    unsigned long minor = strtoul(rest, &end, 10);
    return end == rest || minor > 99 ? 0 : (unsigned)(major * 100 + minor);
}

bool hf_target_version_fits(const char *fcv, const char *server_version)
{
    static const unsigned lines[] = {402, 404, 500, 600, 700, 800};
    unsigned have = version_number(server_version), need = version_number(fcv);

    for (size_t i = 0; i < HF_ARRAY_LEN(lines); i++) {
        if (lines[i] == need) {
            return have == need || (i + 1 < HF_ARRAY_LEN(lines) && have == lines[i + 1]);
        }
    }
    return false;
}

/* An oplog is replayed by the release that wrote it only (mongo/recover.h): the member's own program, or its agent's. */
static void check_replay(struct hf_target_record *record, const char *host,
                         const struct hf_json *report)
{
    const char *own = hf_json_get_text(report, "replayVersion");
    const char *version = own == NULL ? hf_json_get_text(report, "version") : own;
    unsigned need = version_number(record->server_version);

    if (record->to_point && version != NULL && need != 0 && version_number(version) != need) {
        hf_target_object(record, "VERSION", host,
                         "its agent would replay with %s what a %s wrote; hint: give the agent one "
                         "of that release with --mongod, or restore a snapshot",
                         version, record->server_version);
    }
}

static void check_versions(struct hf_target_record *record, const char *host,
                           const struct hf_json *report)
{
    const char *version = hf_json_get_text(report, "version");
    const char *fcv = hf_json_get_text(report, "fcv");

    if (version != NULL && !hf_target_version_fits(record->fcv, version)) {
        hf_target_object(record, "VERSION", host, "it runs %s, which does not open files of FCV %s",
                         version, record->fcv[0] == '\0' ? "(unknown)" : record->fcv);
    }
    if (fcv != NULL && version_number(fcv) < version_number(record->fcv)) {
        hf_target_object(record, "FCV", host,
                         "its set is at FCV %s, below the snapshot's %s; hint: "
                         "setFeatureCompatibilityVersion there first",
                         fcv, record->fcv);
    }
}

/* ---- Storage options ---- */

/* The object that holds the last name of a dotted path, and that name; NULL when it is not there. */
static const struct hf_json *holder_of(const struct hf_json *json, const char *path,
                                       const char **last)
{
    char key[64];

    for (;;) {
        size_t len = strcspn(path, ".");
        if (path[len] == '\0') {
            *last = path;
            return json;
        }
        if (len >= sizeof key) {
            return NULL;
        }
        memcpy(key, path, len);
        key[len] = '\0';
        json = hf_json_get_object(json, key);
        path += len + 1;
    }
}

static bool flag_at(const struct hf_json *json, const char *path)
{
    const char *last = path;
    const struct hf_json *holder = holder_of(json, path, &last);

    return hf_json_get_bool(holder, last, false);
}

static const char *text_at(const struct hf_json *json, const char *path, const char *fallback)
{
    const char *last = path;
    const struct hf_json *holder = holder_of(json, path, &last);
    const char *text = hf_json_get_text(holder, last);

    return text == NULL ? fallback : text;
}

static void check_options(struct hf_target_record *record, const char *host,
                          const struct hf_json *options)
{
    static const char *const flags[] = {"storage.directoryPerDB",
                                        "storage.wiredTiger.engineConfig.directoryForIndexes"};
    static const struct {
        const char *path, *fallback;
    } texts[] = {{"storage.engine", "wiredTiger"},
                 {"storage.wiredTiger.collectionConfig.blockCompressor", "snappy"}};
    HF_CLEANUP(hf_json_drop) struct hf_json *source = NULL;
    struct hf_error ignored;

    if (options == NULL || record->options[0] == '\0' ||
        hf_json_decode(hf_str_of(record->options), sizeof record->options, &source, &ignored) !=
            HF_ERR_OK) {
        return;
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(flags); i++) {
        bool is = flag_at(options, flags[i]), must = flag_at(source, flags[i]);
        if (is != must) {
            hf_target_object(record, "OPTIONS", host, "%s is %s there, the snapshot has %s",
                             flags[i], is ? "true" : "false", must ? "true" : "false");
        }
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(texts); i++) {
        const char *is = text_at(options, texts[i].path, texts[i].fallback);
        const char *must = text_at(source, texts[i].path, texts[i].fallback);
        if (strcmp(is, must) != 0) {
            hf_target_object(record, "OPTIONS", host, "%s is %.80s there, the snapshot has %.80s",
                             texts[i].path, is, must);
        }
    }
}

/* ---- Space ---- */

static void check_space(struct hf_target_record *record, const char *host,
                        const struct hf_json *report)
{
    uint64_t free_bytes = hf_json_get_u64(report, "freeBytes", UINT64_MAX);
    uint64_t data_bytes = hf_json_get_u64(report, "dataBytes", 0);
    uint64_t need = record->bytes + SPARE_BYTES;

    if (record->in_place) {
        need = need > data_bytes ? need - data_bytes : 0;
    }
    if (free_bytes < need) {
        hf_target_object(record, "SPACE", host,
                         "%llu MiB are free for its data, %llu MiB are needed%s",
                         (unsigned long long)(free_bytes >> 20), (unsigned long long)(need >> 20),
                         record->in_place ? ""
                                          : "; hint: --reuse-space restores onto the old files, "
                                            "which are gone then whatever happens");
    }
}

/* ---- What the agents log in with ---- */

/* It is put into every member's new data, which must be the same. */
static void check_login(struct hf_target_record *record, const char *host,
                        const struct hf_json *login)
{
    const char *user = hf_json_get_text(login, "user");
    const char *print = hf_json_get_text(login, "print");

    if (user == NULL || print == NULL) {
        return;
    }
    if (record->login_print[0] == '\0') {
        (void)snprintf(record->login, sizeof record->login, "%s", user);
        (void)snprintf(record->login_print, sizeof record->login_print, "%s", print);
    } else if (strcmp(record->login, user) != 0) {
        hf_target_object(record, "LOGIN", host,
                         "its agent logs in as %.150s, another member's as %.150s, and one is kept "
                         "over the restore; hint: the same user for all agents of the set",
                         user[0] == '\0' ? "nobody" : user,
                         record->login[0] == '\0' ? "nobody" : record->login);
    } else if (strcmp(record->login_print, print) != 0) {
        hf_target_object(
            record, "LOGIN", host,
            "user %.150s is another one there than on another member; hint: wait until "
            "the members have the same",
            user);
    }
}

/* ---- The report ---- */

/* One is enough where a set agrees. The restore's id becomes the set's: it is new, and everybody's. */
static enum hf_err take_config(struct hf_target_record *record, const struct hf_json *report,
                               struct hf_error *err)
{
    const struct hf_json *config = hf_json_get_object(report, "config");

    if (config == NULL || record->config[0] != '\0') {
        return HF_ERR_OK;
    }
    return hf_target_make_config(config, &record->id, record->config, sizeof record->config, err);
}

static bool has_member(const struct hf_target_record *record, const char *host)
{
    for (size_t i = 0; i < record->member_count; i++) {
        if (strcmp(record->members[i].host, host) == 0) {
            return true;
        }
    }
    return false;
}

static void check_config(struct hf_target_record *record, const char *host,
                         const struct hf_json *config)
{
    const struct hf_json *members = hf_json_get_array(config, "members");

    if (hf_json_get_bool(config, "configsvr", false)) {
        hf_target_object(record, "MEMBERS", host, "it belongs to the config servers of a cluster");
    }
    for (size_t i = 0; i < hf_json_count(members); i++) {
        const char *name = hf_json_get_text(hf_json_at(members, i), "host");
        if (name != NULL && !has_member(record, name)) {
            hf_target_object(record, "AGENT", host,
                             "the set's configuration names member %.200s, which no agent serves; "
                             "hint: start an agent on its host, or remove it from the set",
                             name);
        }
    }
}

enum hf_err hf_target_take_report(struct hf_target_record *record, size_t index,
                                  const struct hf_json *report, struct hf_error *err)
{
    const char *host = record->members[index].host;
    const struct hf_json *problems = hf_json_get_array(report, "problems");

    if (report == NULL || hf_json_type(report) != HF_JSON_OBJECT) {
        return hf_fail(err, HF_ERR_CORRUPT, "the report of %s is no object", host);
    }
    for (size_t i = 0; i < hf_json_count(problems); i++) {
        const struct hf_json *one = hf_json_at(problems, i);
        const char *kind = hf_json_get_text(one, "kind"), *text = hf_json_get_text(one, "text");
        hf_target_object(record, kind == NULL ? "START" : kind, host, "%s",
                         text == NULL ? "it has a problem without a name" : text);
    }
    check_versions(record, host, report);
    if (!record->members[index].arbiter) {
        check_replay(record, host, report);
        check_options(record, host, hf_json_get_object(report, "options"));
        check_space(record, host, report);
        check_login(record, host, hf_json_get_object(report, "login"));
    }
    check_config(record, host, hf_json_get_object(report, "config"));
    return take_config(record, report, err);
}

/* ---- The configuration ---- */

/* Whole numbers may come as {"$numberInt": "3"}. */
static int64_t number_of(const struct hf_json *value)
{
    const char *text = hf_json_get_text(value, "$numberInt");

    text = text == NULL ? hf_json_get_text(value, "$numberLong") : text;
    return text == NULL ? hf_json_integer(value, 1) : strtoll(text, NULL, 10);
}

static struct hf_json *extended(const char *type, const char *text)
{
    struct hf_json *json = hf_json_object();

    hf_json_set_text(json, type, text);
    return json;
}

/*
 * Observed 3F: term 1 and protocol 1. The id is new, so that a member on the old data and one on the new can never take
 * each other for members of one set.
 */
enum hf_err hf_target_make_config(const struct hf_json *current, const struct hf_id *replica_set_id,
                                  char *out, size_t capacity, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *config = hf_json_copy(current);
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(capacity - 1);
    struct hf_json *settings = hf_json_get_object(config, "settings") == NULL
                                   ? hf_json_object()
                                   : hf_json_copy(hf_json_get_object(config, "settings"));
    int64_t version = number_of(hf_json_get(config, "version"));
    char number[24];

    (void)snprintf(number, sizeof number, "%lld",
                   (long long)(version < 1 || version > INT32_MAX - 2 ? 1 : version + 1));
    hf_json_set_take(config, "version", extended("$numberInt", number));
    hf_json_set_take(config, "term", extended("$numberLong", "1"));
    hf_json_set_take(config, "protocolVersion", extended("$numberLong", "1"));
    hf_json_set_bool(config, "writeConcernMajorityJournalDefault",
                     hf_json_get_bool(config, "writeConcernMajorityJournalDefault", true));
    hf_json_set_take(settings, "replicaSetId", extended("$oid", hf_id_text(replica_set_id).text));
    hf_json_set_take(config, "settings", settings);
    if (hf_json_encode(config, 0, &text, err) != HF_ERR_OK) {
        return hf_wrap(err, "the set's configuration");
    }
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return HF_ERR_OK;
}
