/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which jobs' slices are merged, and what must not be touched: what restores under way lease, and captures that may
 * become a base.
 */
#include "server/flow_merge.h"

#include "backup/job.h"
#include "base/alloc.h"
#include "oplog/merge.h"
#include "server/fleet.h"
#include "server/flow.h"
#include "server/keep.h"
#include "server/points.h"

#define RUNS_A_JOB 8 /* of one tick: so that one job with a backlog leaves room for the others */

struct asker {
    struct hf_server_app *app;
    const struct hf_id *job;
};

/* The earliest entry that anybody leases. */
static enum hf_err ask_in_use(void *context, struct hf_optime *from, struct hf_error *err)
{
    const struct asker *asker = context;
    HF_CLEANUP(hf_free) struct hf_optime *leases = NULL;
    size_t count = 0;

    if (hf_points_leases(asker->app, asker->job, &leases, &count, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < count; i++) {
        if (hf_optime_is_none(from) || hf_optime_compare_ts(&leases[i], from) < 0) {
            *from = leases[i];
        }
    }
    return HF_ERR_OK;
}

/* A merge that was cut off left slices beside the one that replaces them: they go, however few there are. */
static bool has_leftovers(const struct hf_chains *chains)
{
    bool merged = false, unused = false;

    for (size_t i = 0; i < chains->link_count; i++) {
        const struct hf_slice_link *link = &chains->links[i];
        merged = merged || (link->problem == NULL && link->name.round > 0);
        unused = unused || (link->problem == NULL && !link->used);
    }
    return merged && unused;
}

static enum hf_err merge_job(struct hf_server_app *app, const struct hf_id *job,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_points_destroy) struct hf_points *points = NULL;
    struct asker asker = {.app = app, .job = job};
    struct hf_merge_result result;
    uint64_t now_s = hf_flow_now_s();

    if (hf_points_load_chains(app, job, &points, err) != HF_ERR_OK) {
        return err->code;
    }
    if (points->chains.link_count < HF_MERGE_MANY && !has_leftovers(&points->chains)) {
        return HF_ERR_OK;
    }
    const struct hf_merge_options options = {
        .store = points->stores.oplog.store,
        .keyring = &points->keyring,
        .in_use = ask_in_use,
        .context = &asker,
        .before_s = now_s > HF_MERGE_AGE_S ? (uint32_t)(now_s - HF_MERGE_AGE_S) : 0,
        .runs_max = RUNS_A_JOB,
        .cancel = app->cancel,
    };
    enum hf_err code = hf_merge_slices(&options, &points->chains, &result, err);
    if (result.written + result.deleted > 0) {
        hf_log_info(app->log, "oplog.merged", HF_STR("job", hf_id_text(job).text),
                    HF_U64("replaced", result.deleted), HF_U64("written", result.written),
                    HF_U64("bytes", result.bytes_written));
    }
    return code;
}

enum hf_err hf_flow_merge_tick(struct hf_server_app *app, struct hf_error *err)
{
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};
    struct hf_error first = {.code = HF_ERR_OK};

    if (hf_fleet_jobs(app, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < jobs.count && !hf_cancel_requested(app->cancel); i++) {
        struct hf_error one;
        if (hf_job_does(&jobs.items[i]).stored &&
            merge_job(app, &jobs.items[i].id, &one) != HF_ERR_OK &&
            !hf_cancel_requested(app->cancel)) {
            hf_log_warn(app->log, "oplog.merge.failed",
                        HF_STR("job", hf_id_text(&jobs.items[i].id).text),
                        HF_STR("error", one.message));
            first = first.code == HF_ERR_OK ? one : first;
        }
    }
    *err = first;
    return first.code;
}
