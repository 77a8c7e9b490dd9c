/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which instants can be restored: our own list with reasons, and the public one (restore.md 2).
 */
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

/* The one job of the cluster that is not gone; *found false: it has none. */
static enum hf_err find_job(struct hf_server_call *call, const struct hf_cluster_record *cluster,
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
        *job = jobs.items[i].id;
        *found = true;
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
    if (find_job(call, &cluster, &job, &found, &err) != HF_ERR_OK ||
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
