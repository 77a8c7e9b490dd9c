/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots whose time is over go, as far as the guarantee lets them (backup/retention.h), and only while the clocks of
 * server, store and source agree.
 */
#include <stdio.h>

#include "backup/lifecycle.h"
#include "base/alloc.h"
#include "os/clock.h"
#include "server/fleet.h"
#include "server/flow_internal.h"
#include "server/flow_schedule.h"
#include "server/points.h"
#include "server/stores.h"

#define CAS_TRIES 8
#define WITNESSES_MAX 64
#define RUNNING_MAX 100000
/* A primary writes a no-op every 10 seconds; one that cannot, having lost its majority, is no witness against us. */
#define PRIMARY_BEHIND_S HF_HOUR_S
#define DISAGREE_AGAIN_S 60
/* Ended attempts and deleted snapshots that a job remembers, and how long the claims of attempts are kept. */
#define RECORDS_KEPT 60
#define RECORDS_KEPT_S (HF_CLAIM_KEPT_S + HF_DAY_S)

/* ---- Clocks ---- */

static enum hf_err check_clocks(struct hf_server_app *app, const struct hf_job_record *job,
                                struct hf_error *err)
{
    struct hf_clock_witness witnesses[WITNESSES_MAX];
    struct hf_flow_members members = {0};
    struct hf_open_store at;
    size_t count = 0;

    if (hf_stores_get(app, &job->store, &at, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_store_clock(at.store, &witnesses[0].says_s, err);
    if (code == HF_ERR_OK) {
        witnesses[0].name = "the store";
        witnesses[0].behind_s = 0;
        count = 1;
    } else if (code != HF_ERR_UNSUPPORTED) {
        return hf_wrap(err, "the store's clock");
    }
    if (hf_flow_members(app, &job->project, &members, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < members.count && count < WITNESSES_MAX; i++) {
        const struct hf_member_record *one = &members.items[i];
        if (strcmp(one->set_name, job->set_name) == 0 && one->oplog_last_s != 0 &&
            one->silent_s <= HF_AGENT_SILENT_MAX_S) {
            witnesses[count++] = (struct hf_clock_witness){
                .name = one->host,
                .says_s = one->oplog_last_s,
                .behind_s = strcmp(one->state, "PRIMARY") == 0 ? PRIMARY_BEHIND_S : UINT64_MAX / 2,
            };
        }
    }
    code = hf_retention_clocks(witnesses, count, hf_flow_now_s(), err);
    hf_free(members.items);
    return code;
}

/* ---- Points in time ---- */

/* Where each snapshot is a base on a chain that reaches into the window. */
static enum hf_err place_bases(const struct hf_points *points, struct hf_retention_view *view,
                               struct hf_retention_place **out, struct hf_error *err)
{
    const struct hf_ranges *ranges = &points->ranges;
    HF_CLEANUP(hf_free)
    struct hf_retention_place *places = hf_alloc_array(ranges->place_count + 1, sizeof *places);
    size_t count = 0;

    if (places == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (size_t i = 0; i < ranges->place_count; i++) {
        const struct hf_base_place *place = &ranges->places[i];
        const struct hf_id *id = &ranges->snapshots[place->snapshot].id;
        if ((place->verdict != HF_BASE_GOOD && place->verdict != HF_BASE_UNDECIDED) ||
            points->chains.items[place->chain].last.seconds < view->window_s) {
            continue;
        }
        for (size_t k = 0; k < view->count; k++) {
            if (hf_id_equal(&view->snapshots[k].id, id)) {
                places[count++] = (struct hf_retention_place){.snapshot = k, .chain = place->chain};
                break;
            }
        }
    }
    view->place_count = count;
    *out = HF_TAKE(places);
    view->places = *out;
    return HF_ERR_OK;
}

static enum hf_err load_bases(struct hf_server_app *app, struct hf_retention_view *view,
                              struct hf_retention_place **places, struct hf_error *err)
{
    HF_CLEANUP(hf_points_destroy) struct hf_points *points = NULL;
    struct hf_flow_window window;

    if (hf_flow_window(app, &view->job->id, &window, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!window.promised) {
        return HF_ERR_OK;
    }
    if (hf_points_load(app, &view->job->id, &points, err) != HF_ERR_OK) {
        return err->code;
    }
    view->window_s = hf_points_window_start_s(points, window.kept_s);
    return place_bases(points, view, places, err);
}

/* ---- What goes ---- */

/* One that is read from just now, or was given more time meanwhile, is left for the next look. */
static void delete_one(struct hf_server_app *app, const struct hf_snapshot_record *snapshot)
{
    struct hf_error err;

    enum hf_err code = snapshot->state == HF_SNAPSHOT_EXPIRED
                           ? hf_flow_delete(app, &snapshot->id, &err)
                           : hf_flow_delete_expired(app, &snapshot->id, &err);
    if (code == HF_ERR_CONFLICT) {
        hf_log_debug(app->log, "snapshot.expiry.waits",
                     HF_STR("snapshot", hf_id_text(&snapshot->id).text),
                     HF_STR("why", err.message));
    } else if (code != HF_ERR_OK) {
        hf_log_warn(app->log, "snapshot.expiry.failed",
                    HF_STR("snapshot", hf_id_text(&snapshot->id).text),
                    HF_STR("error", err.message));
    }
}

static enum hf_err delete_expired(struct hf_server_app *app, struct hf_retention_view *view,
                                  uint64_t now_s, struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_retention_place *places = NULL;
    HF_CLEANUP(hf_free)
    enum hf_retention_verdict *verdicts = hf_alloc_array(view->count + 1, sizeof *verdicts);
    size_t going = 0;

    if (verdicts == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    hf_retention_judge(view, now_s, verdicts);
    for (size_t i = 0; i < view->count; i++) {
        going += verdicts[i] == HF_RETENTION_GOES;
    }
    if (going == 0) {
        return HF_ERR_OK;
    }
    /* Only now what costs more: whoever keeps nothing back pays for nothing. */
    if (load_bases(app, view, &places, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_retention_judge(view, now_s, verdicts);
    for (size_t i = 0; i < view->count && !hf_cancel_requested(app->cancel); i++) {
        if (verdicts[i] == HF_RETENTION_GOES) {
            delete_one(app, &view->snapshots[i]);
        } else if (verdicts[i] != HF_RETENTION_STAYS) {
            hf_log_debug(app->log, "snapshot.expiry.kept",
                         HF_STR("snapshot", hf_id_text(&view->snapshots[i].id).text),
                         HF_STR("why", hf_retention_word(verdicts[i])));
        }
    }
    return HF_ERR_OK;
}

/* Records of what is no snapshot any more, or never was: the newest 60 stay, and those whose packs may be adopted. */
static enum hf_err forget_old(struct hf_server_app *app, const struct hf_schedule_view *view,
                              uint64_t now_s, struct hf_error *err)
{
    size_t ended = 0;

    for (size_t i = 0; i < view->count; i++) {
        ended += view->snapshots[i].state != HF_SNAPSHOT_COMPLETE &&
                 view->snapshots[i].state != HF_SNAPSHOT_IN_PROGRESS;
    }
    for (size_t i = 0; i < view->count && ended > RECORDS_KEPT; i++) {
        const struct hf_snapshot_record *one = &view->snapshots[i];
        HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
        size_t newer = 0;
        bool done = (one->state == HF_SNAPSHOT_EXPIRED && one->dropped) ||
                    one->state == HF_SNAPSHOT_FAILED ||
                    (one->state == HF_SNAPSHOT_ABANDONED && one->claim_dropped);
        if (!done || one->finished_s + RECORDS_KEPT_S > now_s) {
            continue;
        }
        for (size_t k = 0; k < view->count; k++) {
            const struct hf_snapshot_record *other = &view->snapshots[k];
            newer += other->capture > one->capture && other->state != HF_SNAPSHOT_COMPLETE &&
                     other->state != HF_SNAPSHOT_IN_PROGRESS;
        }
        const struct hf_id_text id = hf_id_text(&one->id);
        if (newer < RECORDS_KEPT) {
            continue;
        }
        enum hf_err code = hf_catalog_get(app->catalog, HF_KIND_SNAPSHOT, id.text, &document, err);
        if (code == HF_ERR_OK) {
            code =
                hf_catalog_remove(app->catalog, HF_KIND_SNAPSHOT, id.text, document.revision, err);
        }
        if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND && code != HF_ERR_CONFLICT) {
            return code;
        }
        ended--;
    }
    return HF_ERR_OK;
}

static bool any_expired(const struct hf_schedule_view *view, uint64_t now_s)
{
    for (size_t i = 0; i < view->count; i++) {
        if (hf_retention_is_expired(&view->snapshots[i], now_s)) {
            return true;
        }
    }
    return false;
}

static uint64_t next_look_s(const struct hf_schedule_view *view, uint64_t now_s)
{
    uint64_t next_s = hf_retention_next_s(view->snapshots, view->count, now_s);

    return next_s < now_s + HF_SCHEDULE_LOOK_S ? next_s : now_s + HF_SCHEDULE_LOOK_S;
}

enum hf_err hf_flow_expire(struct hf_server_app *app, struct hf_schedule_record *schedule,
                           const struct hf_schedule_view *view, uint64_t now_s,
                           struct hf_error *err)
{
    struct hf_retention_view retention = {.job = view->job,
                                          .snapshots = view->snapshots,
                                          .count = view->count,
                                          .window_s = UINT64_MAX,
                                          .waits_for_capture = schedule->waits_for_capture};
    struct hf_error why;

    schedule->expire_s = now_s + DISAGREE_AGAIN_S; /* when something fails */
    if (!hf_fleet_does(app, HF_SERVER_GROOM)) {
        return HF_ERR_OK;
    }
    for (size_t i = 0; i < view->count && !hf_cancel_requested(app->cancel); i++) {
        if (view->snapshots[i].state == HF_SNAPSHOT_EXPIRED && !view->snapshots[i].dropped) {
            delete_one(app, &view->snapshots[i]);
        }
    }
    if (!any_expired(view, now_s)) {
        schedule->expire_s = next_look_s(view, now_s);
        return forget_old(app, view, now_s, err);
    }
    enum hf_err code = check_clocks(app, view->job, &why);
    if (code != HF_ERR_OK) {
        if (!app->clocks_disagree) {
            hf_log_warn(app->log, "expiry.clocks_disagree", HF_STR("set", view->job->set_name),
                        HF_STR("error", why.message));
        }
        app->clocks_disagree = true;
        return HF_ERR_OK;
    }
    app->clocks_disagree = false;
    if (delete_expired(app, &retention, now_s, err) != HF_ERR_OK ||
        forget_old(app, view, now_s, err) != HF_ERR_OK) {
        return err->code;
    }
    schedule->expire_s = next_look_s(view, now_s);
    return HF_ERR_OK;
}

/* ---- Beginnings ---- */

static enum hf_err check_host(struct hf_server_app *app, const char *member, uint64_t limit,
                              struct hf_error *err)
{
    const struct hf_catalog_query query = {.index = "state",
                                           .equals_text =
                                               hf_snapshot_state_word(HF_SNAPSHOT_IN_PROGRESS),
                                           .limit = RUNNING_MAX};
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots running = {0};
    struct hf_str host = hf_member_host(member);
    uint64_t count = 0;

    if (limit == 0) {
        return HF_ERR_OK;
    }
    if (hf_keep_snapshot_find(app->catalog, &query, &running, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < running.count; i++) {
        count += hf_str_equal(hf_member_host(running.items[i].member), host);
    }
    return count < limit ? HF_ERR_OK
                         : hf_fail(err, HF_ERR_BUSY, "%llu snapshots are being taken on host %.*s",
                                   (unsigned long long)count, HF_STR_ARG(host));
}

enum hf_err hf_flow_plan_retention(struct hf_server_app *app, const struct hf_flow_wish *wish,
                                   struct hf_snapshot_record *record, struct hf_error *err)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    struct hf_retention_plan plan;
    struct hf_policy policy;

    if (check_host(app, record->member, wish->host_limit, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!wish->automatic && !wish->default_retention) {
        return HF_ERR_OK;
    }
    if (hf_flow_policy(app, &record->job, &policy, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!wish->automatic) {
        record->expires_s = record->created_s + hf_retention_on_demand_days(&policy) * HF_DAY_S;
        return HF_ERR_OK;
    }
    if (hf_keep_snapshots_of(app->catalog, &record->job, &snapshots, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_retention_plan(&policy, snapshots.items, snapshots.count, record->created_s, &plan);
    record->automatic = true;
    record->classes = plan.classes;
    record->expires_s = plan.expires_s;
    record->full = plan.full;
    return HF_ERR_OK;
}

/* ---- By hand ---- */

enum hf_err hf_flow_expiry_set(struct hf_server_app *app, const struct hf_id *snapshot,
                               const struct hf_retention_wish *wish, struct hf_snapshot_record *out,
                               struct hf_error *err)
{
    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        uint64_t revision = 0;
        if (hf_keep_snapshot_get(app->catalog, snapshot, out, &revision, err) != HF_ERR_OK ||
            hf_retention_change(out, wish, hf_flow_now_s(), err) != HF_ERR_OK) {
            return err->code;
        }
        enum hf_err code = hf_keep_snapshot_replace(app->catalog, out, &revision, err);
        if (code == HF_ERR_OK) {
            hf_log_info(app->log, "snapshot.expiry_changed",
                        HF_STR("snapshot", hf_id_text(snapshot).text), HF_STR("set", out->set_name),
                        HF_U64("expires_s", out->expires_s), HF_U64("keep", out->keep));
            hf_flow_schedule_wake(app, &out->job);
        }
        if (code != HF_ERR_CONFLICT) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "snapshot %s changes too often", hf_id_text(snapshot).text);
}
