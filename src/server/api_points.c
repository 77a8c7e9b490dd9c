/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which instants can be restored: our own list with reasons, and the public one (restore.md 2); and what the stored oplog
 * says of them.
 */
#include "backup/job.h"
#include "oplog/find.h"
#include "os/clock.h"
#include "server/api.h"
#include "server/points.h"

#define RANGES_MAX 100000

void hf_api_job_ranges(struct hf_server_call *call)
{
    HF_CLEANUP(hf_points_destroy) struct hf_points *points = NULL;
    const struct hf_call_page page = {.number = 1, .size = RANGES_MAX};
    struct hf_job_record job;
    struct hf_error err;

    if (!hf_api_find_job(call, &job)) {
        return;
    }
    if (hf_points_load(call->app, &job.id, &points, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *results = hf_json_array();
    for (size_t i = 0; i < points->ranges.count; i++) {
        hf_json_append_take(results, hf_points_range_to_json(points, i));
    }
    hf_reply_list(call, &page, results, points->ranges.count);
}

static struct hf_json *instant(const struct hf_optime *optime)
{
    struct hf_json *json = hf_json_object();
    char date[HF_TIME_TEXT_BYTES];

    hf_time_format(optime->seconds, date);
    hf_json_set_text(json, "date", date);
    hf_json_set_u64(json, "increment", optime->increment);
    return json;
}

enum hf_err hf_api_job_of(struct hf_server_call *call, const struct hf_cluster_record *cluster,
                          struct hf_id *job, bool *found, struct hf_error *err)
{
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};
    const struct hf_id_text id = hf_id_text(&cluster->id);
    const struct hf_catalog_query query = {
        .index = "clusterId", .equals_text = id.text, .limit = 10};

    *found = false;
    if (hf_keep_job_find(call->app->catalog, &query, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < jobs.count; i++) {
        if (hf_job_does(&jobs.items[i]).stored) {
            *job = jobs.items[i].id;
            *found = true;
        }
    }
    return HF_ERR_OK;
}

/* A bare array (rest-api.md 1.7), ascending by start. */
void hf_api_cluster_ranges(struct hf_server_call *call)
{
    HF_CLEANUP(hf_points_destroy) struct hf_points *points = NULL;
    struct hf_cluster_record cluster;
    struct hf_error err;
    struct hf_id job;
    bool found = false;

    if (!hf_api_find_cluster(call, &cluster)) {
        return;
    }
    if (hf_api_job_of(call, &cluster, &job, &found, &err) != HF_ERR_OK ||
        (found && hf_points_load(call->app, &job, &points, &err) != HF_ERR_OK)) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *list = hf_json_array();
    for (size_t i = 0; found && i < points->ranges.count; i++) {
        const struct hf_range *range = &points->ranges.items[i];
        struct hf_json *json = hf_json_object();
        hf_json_set_take(json, "start", instant(&range->start));
        hf_json_set_take(json, "end", instant(&range->end));
        hf_json_set_text(json, "snapshotId",
                         hf_id_text(&points->ranges.snapshots[range->base].id).text);
        hf_json_append_take(list, json);
    }
    hf_reply_json(call, 200, list);
}

/* ---- Looking into the stored oplog ---- */

/* Query parameter "<seconds>" or "<seconds>.<increment>"; absent: *out stays none. False, and answered, for another. */
static bool take_instant(struct hf_server_call *call, const char *name, uint32_t no_increment,
                         struct hf_optime *out)
{
    const char *text = hf_url_target_parameter(&call->target, name);
    uint64_t seconds = 0, increment = no_increment;

    *out = (struct hf_optime){.term = -1};
    if (text == NULL) {
        return true;
    }
    size_t len = strcspn(text, ".");
    if (!hf_parse_u64((struct hf_str){text, len}, &seconds) || seconds == 0 ||
        seconds > UINT32_MAX ||
        (text[len] == '.' &&
         (!hf_parse_u64(hf_str_of(text + len + 1), &increment) || increment > UINT32_MAX))) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_QUERY_PARAMETER",
                      "%s is '%.64s', not SECONDS or SECONDS.INCREMENT", name, text);
        return false;
    }
    *out = (struct hf_optime){
        .seconds = (uint32_t)seconds, .increment = (uint32_t)increment, .term = -1};
    return true;
}

/* after, to, ns, kind, id. False: it was answered. */
static bool take_filter(struct hf_server_call *call, struct hf_oplog_filter *out)
{
    const char *kind_word = hf_url_target_parameter(&call->target, "kind");
    enum hf_oplog_kind kind;

    if (!take_instant(call, "after", 0, &out->after) ||
        !take_instant(call, "to", UINT32_MAX, &out->to)) {
        return false;
    }
    if (kind_word != NULL) {
        if (!hf_oplog_kind_parse(kind_word, &kind)) {
            hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ENUM_VALUE",
                          "kind '%.64s' is none of insert, update, delete, command, noop, other",
                          kind_word);
            return false;
        }
        out->kinds = 1u << kind;
    }
    out->ns = hf_url_target_parameter(&call->target, "ns");
    out->id = hf_url_target_parameter(&call->target, "id");
    out->cancel = call->app->cancel;
    return true;
}

/* What is looked for: so many operations, or their numbers. */
struct looking {
    struct hf_oplog_filter filter;
    uint64_t most;
    bool count, by_minute;
};

/* Nothing is leased for it: what went meanwhile is looked for in what took its place. */
static enum hf_err look(struct hf_server_call *call, const struct hf_id *job,
                        struct looking *looking, struct hf_json **json, struct hf_error *err)
{
    enum hf_err code = HF_ERR_UNAVAILABLE;

    for (unsigned loads = 0; code == HF_ERR_UNAVAILABLE && loads < HF_CHAIN_LOADS_MAX; loads++) {
        HF_CLEANUP(hf_points_destroy) struct hf_points *points = NULL;
        code = hf_points_load_chains(call->app, job, &points, err);
        if (code != HF_ERR_OK) {
            continue;
        }
        looking->filter.chains = &points->chains;
        looking->filter.reader = points->reader;
        code = looking->count
                   ? hf_oplog_count_to_json(&looking->filter, looking->by_minute, json, err)
                   : hf_oplog_find_to_json(&looking->filter, looking->most, json, err);
    }
    return code;
}

static void look_and_reply(struct hf_server_call *call, const struct hf_id *job,
                           struct looking *looking)
{
    const struct hf_call_page page = {.number = 1, .size = HF_OPLOG_COUNTED_MAX};
    struct hf_json *json = NULL;
    struct hf_error err;

    if (look(call, job, looking, &json, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
    } else if (looking->count) {
        hf_reply_list(call, &page, json, hf_json_count(json));
    } else {
        hf_reply_json(call, 200, json);
    }
}

/* Operations, or with perMinute=true their numbers. */
void hf_api_oplog_find(struct hf_server_call *call)
{
    struct looking looking = {.most = 0};
    struct hf_job_record job;

    if (!hf_api_find_job(call, &job) || !take_filter(call, &looking.filter) ||
        !hf_call_flag(call, "perMinute", false, &looking.by_minute) ||
        !hf_call_number(call, "limit", 1, HF_OPLOG_FOUND_MAX, 100, &looking.most)) {
        return;
    }
    looking.count = looking.by_minute;
    look_and_reply(call, &job.id, &looking);
}

/* What lies between two instants, per namespace: what a restore to the first one would undo. */
void hf_api_oplog_diff(struct hf_server_call *call)
{
    struct looking looking = {.count = true};
    struct hf_job_record job;

    if (!hf_api_find_job(call, &job) || !take_filter(call, &looking.filter)) {
        return;
    }
    if (hf_optime_is_none(&looking.filter.after)) {
        hf_reply_fail(call, HF_ERR_INVALID, "MISSING_QUERY_PARAMETER",
                      "query parameter after is missing");
        return;
    }
    look_and_reply(call, &job.id, &looking);
}
