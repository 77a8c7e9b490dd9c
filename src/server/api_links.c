/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deliveries by HTTP as people and programs ask for them: the public restore job in the forms of restore.md 4.1 and what
 * unchanged clients send, our own call, and what both show of a link. The download itself is api_pull.c's.
 */
#include <math.h>
#include <stdio.h>

#include "backup/link.h"
#include "os/clock.h"
#include "server/api.h"
#include "server/points.h"
#include "server/settings.h"
#include "server/stores.h"

#define HOURS_MAX 87600

/* ---- What is shown ---- */

static void set_time(struct hf_json *json, const char *key, uint64_t seconds)
{
    char text[HF_TIME_TEXT_BYTES];

    hf_time_format(seconds, text);
    hf_json_set_text(json, key, text);
}

static void set_url(struct hf_server_call *call, const struct hf_link_record *link,
                    struct hf_json *json)
{
    char key[HF_LINK_KEY_BYTES], url[1024], base[300];

    hf_settings_url(call->app->settings, base, sizeof base);
    if (base[0] == '\0') {
        hf_reply_base_url(call, base, sizeof base);
    }
    hf_server_links_key(call->app->links, link, key);
    (void)snprintf(url, sizeof url, "%s" HF_API_PULL_PATH "%s/%s/%s", base,
                   hf_id_text(&link->id).text, key, link->file);
    hf_json_set_text(json, "url", url);
}

/* As a shell takes it. */
static enum hf_err add_word(struct hf_buf *command, const char *word, struct hf_error *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_./:=@%+,";
    enum hf_err code = hf_buf_append_text(command, command->len > 0 ? " " : "", err);

    if (strspn(word, plain) == strlen(word)) {
        return code == HF_ERR_OK ? hf_buf_append_text(command, word, err) : code;
    }
    code = code == HF_ERR_OK ? hf_buf_append_text(command, "'", err) : code;
    for (const char *at = word; *at != '\0' && code == HF_ERR_OK; at++) {
        char one[2] = {*at, '\0'};
        code = hf_buf_append_text(command, *at == '\'' ? "'\\''" : one, err);
    }
    return code == HF_ERR_OK ? hf_buf_append_text(command, "'", err) : code;
}

/* Words that end with NULL, as a command line. */
static void set_command(struct hf_json *json, const char *name, const char *const *words)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf command = HF_BUF_INIT(32768);
    struct hf_error ignored;

    for (; *words != NULL; words++) {
        if (add_word(&command, *words, &ignored) != HF_ERR_OK) {
            return; /* no memory: the answer does without */
        }
    }
    hf_json_set_text(json, name, hf_buf_text(&command));
}

/*
 * What brings the unpacked archive to the point, with entries from this server, or straight from the store; DIR, PROFILE
 * and KEY_FILE are for the operator to fill in.
 */
static void set_apply(struct hf_server_call *call, const struct hf_restore_record *restore,
                      struct hf_json *json)
{
    const struct hf_target target = {.kind =
                                         restore->point.date ? HF_TARGET_DATE : HF_TARGET_TIMESTAMP,
                                     .seconds = (uint32_t)restore->point.seconds,
                                     .increment = (uint32_t)restore->point.increment};
    const struct hf_target_text point = hf_target_text(&target);
    const struct hf_id_text snapshot = hf_id_text(&restore->snapshot);
    const char *words[24] = {
        "holdfast", "oplog",      "apply",
        "--dbpath", "DIR",        restore->point.date ? "--until" : "--oplog-ts",
        point.text, "--snapshot", snapshot.text,
    };
    struct hf_job_stores at;
    struct hf_error ignored;
    size_t count = 9;
    char server[512];

    hf_reply_base_url(call, server, sizeof server);
    words[count] = "--server";
    words[count + 1] = server;
    words[count + 2] = "--profile";
    words[count + 3] = "PROFILE";
    set_command(json, "applyCommand", words);
    if (hf_stores_of_job_id(call->app, &restore->job, &at, &ignored) != HF_ERR_OK) {
        return;
    }
    words[count++] = "--store";
    words[count++] = hf_store_url(at.snapshots.store);
    if (at.oplog.store != at.snapshots.store) {
        words[count++] = "--oplog-store";
        words[count++] = hf_store_url(at.oplog.store);
    }
    if (at.snapshots.mark->encrypted) {
        words[count++] = "--key-file";
        words[count++] = "KEY_FILE";
    }
    for (size_t i = count; i < HF_ARRAY_LEN(words); i++) {
        words[i] = NULL;
    }
    set_command(json, "applyCommandOnStore", words);
}

static bool read_link(struct hf_server_call *call, const struct hf_id *id,
                      struct hf_link_record *link, enum hf_link_status *status)
{
    struct hf_error ignored;

    if (hf_keep_link_get(call->app->catalog, id, link, NULL, &ignored) != HF_ERR_OK) {
        return false;
    }
    *status =
        hf_link_status(link, hf_flow_now_s(), hf_server_links_under_way(call->app->links, id));
    return true;
}

void hf_api_link_delivery(struct hf_server_call *call, const struct hf_restore_record *restore,
                          struct hf_json *document, struct hf_json *delivery)
{
    struct hf_link_record link;
    enum hf_link_status status;

    if (!read_link(call, &restore->id, &link, &status)) {
        hf_json_set_text(delivery, "statusName", "FAILED");
        return;
    }
    hf_json_set_text(delivery, "statusName", hf_link_status_word(status));
    hf_json_set_u64(delivery, "maxDownloads", link.max_downloads);
    if (link.hours != 0) {
        hf_json_set_u64(delivery, "expirationHours", link.hours);
    }
    set_time(delivery, "expires", link.expires_s);
    if (hf_link_is_open(&link, hf_flow_now_s())) {
        set_url(call, &link, delivery);
    }
    if (hf_link_leases(&link, hf_flow_now_s())) {
        set_apply(call, restore, document);
    }
    if (link.downloads > 0 && link.sha1[0] != '\0') {
        struct hf_json *hashes = hf_json_array(), *hash = hf_json_object();
        hf_json_set_text(hash, "typeName", "SHA1");
        hf_json_set_text(hash, "fileName", link.file);
        hf_json_set_text(hash, "hash", link.sha1);
        hf_json_append_take(hashes, hash);
        hf_json_set_take(document, "hashes", hashes);
    }
}

void hf_api_link_show(struct hf_server_call *call, const struct hf_restore_record *restore,
                      struct hf_json *document)
{
    struct hf_link_record link;
    enum hf_link_status status;

    if (!read_link(call, &restore->id, &link, &status)) {
        return;
    }
    struct hf_json *json = hf_link_record_encode(&link);
    hf_json_remove(json, "nonce");
    hf_json_set_text(json, "status", hf_link_status_word(status));
    hf_json_set_u64(json, "underWay", hf_server_links_under_way(call->app->links, &link.id));
    if (hf_link_is_open(&link, hf_flow_now_s())) {
        set_url(call, &link, json);
    }
    if (hf_link_leases(&link, hf_flow_now_s())) {
        set_apply(call, restore, json);
    }
    hf_json_set_take(document, "link", json);
}

/* ---- What is asked ---- */

/* A whole number that came as integer, as real (the Go client sends one) or as text. False: it is there and none. */
static bool number_of(const struct hf_json *object, const char *key, bool *there, uint64_t *out)
{
    const struct hf_json *value = hf_json_get(object, key);
    enum hf_json_type type = value == NULL ? HF_JSON_NULL : hf_json_type(value);

    *there = type != HF_JSON_NULL;
    *out = 0;
    if (type == HF_JSON_TEXT) {
        return hf_parse_u64(hf_str_of(hf_json_text(value)), out);
    }
    if (type == HF_JSON_INTEGER) {
        int64_t number = hf_json_integer(value, -1);
        *out = number < 0 ? 0 : (uint64_t)number;
        return number >= 0;
    }
    if (type == HF_JSON_REAL) {
        double number = hf_json_get_real(object, key, -1);
        bool whole = number >= 0 && number < 9007199254740992.0 && floor(number) == number;
        *out = whole ? (uint64_t)number : 0;
        return whole;
    }
    return type == HF_JSON_NULL;
}

/* A number from 1 to max; absent is 0. False: it was answered. */
static bool take_positive(struct hf_server_call *call, const struct hf_json *object,
                          const char *key, uint64_t max, uint64_t *out)
{
    bool there = false;

    if (number_of(object, key, &there, out) && (!there || (*out >= 1 && *out <= max))) {
        return true;
    }
    hf_reply_fail(call, HF_ERR_INVALID, "ATTRIBUTE_NEGATIVE_OR_ZERO",
                  "'%s' is no whole number from 1 to %llu", key, (unsigned long long)max);
    return false;
}

static bool is_one_of(const char *key, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (strcmp(*names, key) == 0) {
            return true;
        }
    }
    return false;
}

/* False, and answered, for a member that is in no list. */
static bool members_known(struct hf_server_call *call, const struct hf_json *object,
                          const char *const *names)
{
    struct hf_json *value;
    void *at = NULL;
    const char *key;

    while ((key = hf_json_next(object, &at, &value)) != NULL) {
        if (!is_one_of(key, names)) {
            hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE", "'%s' is no attribute here",
                          key);
            return false;
        }
    }
    return true;
}

/* *automated: by the agents of a target, and nothing of the wish is filled. */
static bool take_delivery(struct hf_server_call *call, struct hf_flow_link_wish *wish,
                          bool *automated)
{
    static const char *const names[] = {
        "methodName",    "expires",         "expirationHours",   "maxDownloads",
        "targetGroupId", "targetClusterId", "targetClusterName", NULL};
    const struct hf_json *delivery = hf_json_get_object(call->body, "delivery");

    if (delivery == NULL) {
        hf_reply_fail(call, HF_ERR_INVALID, "MISSING_ATTRIBUTE", "delivery is missing");
        return false;
    }
    if (!members_known(call, delivery, names)) {
        return false;
    }
    const char *method = hf_json_get_text(delivery, "methodName");
    const char *expires = hf_json_get_text(delivery, "expires");
    if (method == NULL) {
        hf_reply_fail(call, HF_ERR_INVALID, "MISSING_ATTRIBUTE", "delivery.methodName is missing");
        return false;
    }
    *automated = strcmp(method, "AUTOMATED_RESTORE") == 0;
    if (*automated) {
        return true;
    }
    if (strcmp(method, "HTTP") != 0) {
        hf_reply_fail(call, HF_ERR_INVALID, "UNSUPPORTED_DELIVERY_METHOD",
                      "delivery method %.100s is not there: HTTP and AUTOMATED_RESTORE are",
                      method);
        return false;
    }
    if (hf_json_get(delivery, "expires") != NULL &&
        hf_json_type(hf_json_get(delivery, "expires")) != HF_JSON_NULL &&
        (expires == NULL || !hf_time_parse(hf_str_of(expires), &wish->expires_s) ||
         wish->expires_s == 0)) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE",
                      "delivery.expires is no time like 2026-11-30T14:03:07Z");
        return false;
    }
    if (!take_positive(call, delivery, "expirationHours", HOURS_MAX, &wish->hours) ||
        !take_positive(call, delivery, "maxDownloads", HF_LINK_NO_LIMIT, &wish->max_downloads)) {
        return false;
    }
    if (wish->expires_s != 0 && wish->hours != 0) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE",
                      "delivery.expires and delivery.expirationHours exclude each other");
        return false;
    }
    return true;
}

/* A point in time of the cluster's one job. */
static bool take_point(struct hf_server_call *call, const struct hf_cluster_record *cluster,
                       struct hf_flow_link_wish *wish)
{
    struct hf_error err;
    bool found = false;

    if (hf_points_target_from_json(call->body, &wish->point, &wish->target, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, "INVALID_ATTRIBUTE");
        return false;
    }
    if (hf_api_job_of(call, cluster, &wish->job, &found, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return false;
    }
    if (!found) {
        hf_reply_fail(call, HF_ERR_NOT_FOUND, "NO_CHECKPOINT_FOR_PIT_RESTORE",
                      "cluster %s has no backup job", call->parameters[1]);
    }
    return found;
}

/* What is restored: of the four ways to say it, one. */
static bool take_source(struct hf_server_call *call, const struct hf_cluster_record *cluster,
                        struct hf_flow_link_wish *wish)
{
    static const char *const ways[] = {"snapshotId", "oplogTs", "pointInTimeUTCMillis",
                                       "checkpointId", "checkPointId"};
    const char *said = NULL;
    struct hf_snapshot_record snapshot;
    struct hf_error err;
    unsigned count = 0;

    for (size_t i = 0; i < HF_ARRAY_LEN(ways); i++) {
        const struct hf_json *value = hf_json_get(call->body, ways[i]);
        if (value != NULL && hf_json_type(value) != HF_JSON_NULL) {
            said = ways[i];
            count++;
        }
    }
    if (count != 1) {
        hf_reply_fail(call, HF_ERR_INVALID,
                      count == 0 ? "MISSING_ONE_OF_ATTRIBUTES" : "INVALID_ATTRIBUTE",
                      "one, and only one, of snapshotId, oplogTs with oplogInc, "
                      "pointInTimeUTCMillis and checkpointId says what is restored");
        return false;
    }
    if (strcmp(said, "checkpointId") == 0 || strcmp(said, "checkPointId") == 0) {
        hf_reply_fail(call, HF_ERR_UNSUPPORTED, "FEATURE_UNSUPPORTED",
                      "'%s': checkpoints are of releases before 4.2; hint: give "
                      "pointInTimeUTCMillis, or oplogTs and oplogInc",
                      said);
        return false;
    }
    if (strcmp(said, "snapshotId") != 0) {
        return take_point(call, cluster, wish);
    }
    const char *id = hf_json_get_text(call->body, said);
    if (id == NULL || !hf_id_parse(hf_str_of(id), &wish->snapshot)) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE",
                      "snapshotId is 24 hexadecimal digits");
        return false;
    }
    if (hf_keep_snapshot_get(call->app->catalog, &wish->snapshot, &snapshot, NULL, &err) !=
            HF_ERR_OK ||
        !hf_id_equal(&snapshot.cluster, &cluster->id)) {
        hf_reply_fail(call, HF_ERR_NOT_FOUND, "SNAPSHOT_NOT_FOUND",
                      "there is no snapshot %s in cluster %s", id, call->parameters[1]);
        return false;
    }
    if (snapshot.state == HF_SNAPSHOT_EXPIRED) {
        hf_reply_fail(call, HF_ERR_CONFLICT, "CANNOT_START_RESTORE_JOB_FOR_DELETED_SNAPSHOT",
                      "snapshot %s was deleted", id);
        return false;
    }
    return true;
}

static void reply_started(struct hf_server_call *call, const struct hf_restore_record *restore)
{
    const struct hf_call_page page = {.number = 1, .size = 100};
    struct hf_json *results = hf_json_array();

    hf_json_append_take(results, hf_api_public_restore(call, restore));
    hf_reply_list(call, &page, results, 1);
}

/* The target by its id, or by its name as one client sends it. */
static bool take_target(struct hf_server_call *call, struct hf_cluster_record *out)
{
    const struct hf_json *delivery = hf_json_get_object(call->body, "delivery");
    const char *group = hf_json_get_text(delivery, "targetGroupId");
    const char *id = hf_json_get_text(delivery, "targetClusterId");
    const char *name = hf_json_get_text(delivery, "targetClusterName");
    struct hf_id cluster;
    struct hf_error err;

    if (group == NULL || (id == NULL && name == NULL)) {
        hf_reply_fail(call, HF_ERR_INVALID, "MISSING_ATTRIBUTE",
                      "delivery.targetGroupId and delivery.targetClusterId are needed for an "
                      "automated restore");
        return false;
    }
    if (strcmp(group, hf_id_text(&call->project).text) != 0) {
        hf_reply_fail(call, HF_ERR_NOT_FOUND, "GROUP_NOT_FOUND", "there is no group %.100s", group);
        return false;
    }
    if (id == NULL) {
        if (hf_flow_find_cluster(call->app, &call->project, name, out, &err) == HF_ERR_OK) {
            return true;
        }
    } else if (hf_id_parse(hf_str_of(id), &cluster) &&
               hf_keep_cluster_get(call->app->catalog, &cluster, out, NULL, &err) == HF_ERR_OK &&
               hf_id_equal(&out->project, &call->project)) {
        return true;
    }
    hf_reply_fail(call, HF_ERR_NOT_FOUND, "CLUSTER_NOT_FOUND", "there is no cluster %.100s",
                  id == NULL ? name : id);
    return false;
}

/* Onto a whole set. What stands in its way is a CONFLICT; another restore there has a code of its own, and is named. */
static void start_automated(struct hf_server_call *call, const struct hf_flow_link_wish *source)
{
    struct hf_cluster_record target;
    struct hf_restore_record restore;
    struct hf_error err, ignored;

    if (!take_target(call, &target)) {
        return;
    }
    if (hf_flow_check_no_target(call->app, &target.id, &err) == HF_ERR_CONFLICT) {
        hf_reply_error(call, &err, "CONCURRENT_RESTORES_JOB_IDS");
        return;
    }
    const struct hf_flow_target_wish wish = {
        .project = call->project,
        .snapshot = source->snapshot,
        .set_name = target.set_name,
        .point = source->point,
        .target = source->target,
        .job = source->job,
    };
    if (hf_flow_target(call->app, &wish, &restore, &err) != HF_ERR_OK) {
        bool late = hf_flow_check_no_target(call->app, &target.id, &ignored) == HF_ERR_CONFLICT;
        hf_reply_error(call, &err,
                       late && err.code == HF_ERR_CONFLICT ? "CONCURRENT_RESTORES_JOB_IDS"
                       : wish.point && err.code == HF_ERR_NOT_FOUND
                           ? "NO_CHECKPOINT_FOR_PIT_RESTORE"
                           : NULL);
        return;
    }
    reply_started(call, &restore);
}

void hf_api_start_cluster_restore(struct hf_server_call *call)
{
    static const char *const names[] = {
        "snapshotId",   "oplogTs",      "oplogInc", "pointInTimeUTCMillis",
        "checkpointId", "checkPointId", "delivery", NULL};
    /* What a client unpacks with `tar xzf`: archives are called .tar.gz there. */
    struct hf_flow_link_wish wish = {.project = call->project, .gzip = true};
    struct hf_cluster_record cluster;
    struct hf_restore_record restore;
    struct hf_link_record link;
    bool automated = false;
    struct hf_error err;

    if (!hf_api_find_cluster(call, &cluster)) {
        return;
    }
    if (call->body == NULL) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_JSON", "a body is needed");
        return;
    }
    if (!members_known(call, call->body, names) || !take_delivery(call, &wish, &automated) ||
        !take_source(call, &cluster, &wish)) {
        return;
    }
    if (automated) {
        start_automated(call, &wish);
        return;
    }
    if (hf_flow_link(call->app, &wish, &restore, &link, &err) != HF_ERR_OK) {
        bool outlives = err.code == HF_ERR_CONFLICT && strstr(err.message, "outlive") != NULL;
        const char *word = outlives ? "LINK_EXPIRATION_AFTER_SNAPSHOT_DELETION"
                           : wish.point && err.code == HF_ERR_NOT_FOUND
                               ? "NO_CHECKPOINT_FOR_PIT_RESTORE"
                               : NULL;
        hf_reply_error(call, &err, word);
        return;
    }
    reply_started(call, &restore);
}

/* ---- Our own ---- */

void hf_api_start_link(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {
        {"snapshotId", HF_JSON_TEXT}, {"jobId", HF_JSON_TEXT},
        {"hours", HF_JSON_INTEGER},   {"maxDownloads", HF_JSON_INTEGER},
        {"gzip", HF_JSON_BOOL},       HF_API_TARGET_MEMBERS,
        {NULL, HF_JSON_NULL}};
    struct hf_flow_link_wish wish = {.project = call->project};
    struct hf_restore_record restore;
    struct hf_link_record link;
    struct hf_error err;

    if (!hf_call_body_only(call, members)) {
        return;
    }
    const char *id = hf_json_get_text(call->body, "snapshotId");
    const char *job = hf_json_get_text(call->body, "jobId");
    wish.gzip = hf_json_get_bool(call->body, "gzip", false);
    if (hf_points_target_from_json(call->body, &wish.point, &wish.target, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, "INVALID_ATTRIBUTE");
        return;
    }
    if ((id == NULL && (!wish.point || job == NULL)) ||
        (id != NULL && !hf_id_parse(hf_str_of(id), &wish.snapshot)) ||
        (job != NULL && !hf_id_parse(hf_str_of(job), &wish.job))) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE",
                      "snapshotId is needed, or jobId with a point in time: 24 hexadecimal digits");
        return;
    }
    if (!take_positive(call, call->body, "hours", HOURS_MAX, &wish.hours) ||
        !take_positive(call, call->body, "maxDownloads", HF_LINK_NO_LIMIT, &wish.max_downloads)) {
        return;
    }
    if (hf_flow_link(call->app, &wish, &restore, &link, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err,
                       err.code != HF_ERR_NOT_FOUND ? NULL
                       : wish.point                 ? "NO_CHECKPOINT_FOR_PIT_RESTORE"
                                                    : "SNAPSHOT_NOT_FOUND");
        return;
    }
    struct hf_json *json = hf_restore_record_encode(&restore);
    hf_api_link_show(call, &restore, json);
    hf_reply_json(call, 201, json);
}
