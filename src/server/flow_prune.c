/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slices that no promise needs any more go from the old end of their chains.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "server/fleet.h"
#include "server/flow_schedule.h"
#include "server/flow_tail.h"
#include "server/keep.h"
#include "server/points.h"

/* A restore or capture that began since the list was made may hold the slice. */
static enum hf_err is_leased(struct hf_server_app *app, const struct hf_id *job,
                             const struct hf_object_name *name, bool *leased, struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_optime *leases = NULL;
    size_t count = 0;

    *leased = false;
    if (hf_points_leases(app, job, &leases, &count, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < count; i++) {
        *leased = *leased || hf_optime_compare_ts(&leases[i], &name->last_optime) <= 0;
    }
    return HF_ERR_OK;
}

/* In their order, oldest first: wherever it ends, what is left is one stretch. */
static enum hf_err delete_all(struct hf_server_app *app, const struct hf_points *points,
                              const size_t *links, size_t count, uint64_t *deleted,
                              struct hf_error *err)
{
    for (size_t i = 0; i < count && !hf_cancel_requested(app->cancel); i++) {
        const struct hf_object_name *name = &points->chains.links[links[i]].name;
        bool leased = false;

        if (is_leased(app, &points->job.id, name, &leased, err) != HF_ERR_OK) {
            return err->code;
        }
        if (leased || !hf_fleet_keeps(app, &points->job.id)) {
            return HF_ERR_OK;
        }
        enum hf_err code = hf_store_delete(points->stores.oplog.store,
                                           hf_str_of(hf_object_name_text(name).text), err);
        if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND) {
            return code;
        }
        *deleted += 1;
        if (HF_FAULT("server.prune.deleted", err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_flow_prune(struct hf_server_app *app, const struct hf_id *job, uint64_t *deleted,
                          struct hf_error *err)
{
    HF_CLEANUP(hf_points_destroy) struct hf_points *points = NULL;
    HF_CLEANUP(hf_free) struct hf_optime *leases = NULL;
    HF_CLEANUP(hf_free) size_t *links = NULL;
    struct hf_flow_window window;
    size_t count = 0;

    *deleted = 0;
    if (!hf_fleet_does(app, HF_SERVER_GROOM)) {
        return HF_ERR_OK;
    }
    if (hf_flow_window(app, job, &window, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!window.promised) {
        return HF_ERR_OK;
    }
    struct hf_prune_options options = {.window_start_s = 0};
    if (hf_points_load(app, job, &points, err) != HF_ERR_OK ||
        hf_points_leases(app, job, &leases, &options.lease_count, err) != HF_ERR_OK) {
        return err->code;
    }
    options.leases = leases;
    options.window_start_s = hf_points_window_start_s(points, window.kept_s);
    if (hf_ranges_prunable(&points->ranges, &options, &links, &count, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = delete_all(app, points, links, count, deleted, err);
    if (*deleted > 0) {
        hf_log_info(app->log, "oplog.pruned", HF_STR("set", points->job.set_name),
                    HF_U64("slices", *deleted));
    }
    return code;
}
