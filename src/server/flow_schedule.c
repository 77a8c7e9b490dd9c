/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tick of flow_schedule.h: looks at the documents whose time has come.
 */
#include "server/flow_schedule.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "os/clock.h"
#include "server/flow_internal.h"
#include "server/flow_queue.h"
#include "server/settings.h"

#define CAS_TRIES 8
#define JOBS_MAX 100000
/* Documents that one tick looks at. */
#define LOOKS_MAX 256
/* How often jobs are looked through when there are more of them than documents, or fewer. */
#define OPEN_EVERY_MS 600000
#define STEP_S 5

/* ---- The document ---- */

enum hf_err hf_flow_schedule_open(struct hf_server_app *app, const struct hf_job_record *job,
                                  struct hf_schedule_record *out, uint64_t *revision,
                                  struct hf_error *err)
{
    struct hf_schedule_record fresh;

    enum hf_err code = hf_keep_schedule_get(app->catalog, &job->id, out, revision, err);
    if (code != HF_ERR_NOT_FOUND) {
        return code;
    }
    hf_schedule_init(&fresh, job, hf_flow_now_s());
    hf_settings_policy(app, &fresh.policy);
    code = hf_keep_schedule_insert(app->catalog, &fresh, err);
    if (code != HF_ERR_OK && code != HF_ERR_EXISTS) {
        return code;
    }
    return hf_keep_schedule_get(app->catalog, &job->id, out, revision, err);
}

void hf_flow_schedule_wake(struct hf_server_app *app, const struct hf_id *job)
{
    struct hf_error ignored; /* the look that comes anyway sees the same, later */

    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        struct hf_schedule_record record;
        uint64_t revision = 0;
        if (hf_keep_schedule_get(app->catalog, job, &record, &revision, &ignored) != HF_ERR_OK) {
            return;
        }
        record.wake_s = 1;
        record.expire_s = 0;
        if (hf_keep_schedule_replace(app->catalog, &record, &revision, &ignored) !=
            HF_ERR_CONFLICT) {
            return;
        }
    }
}

enum hf_err hf_flow_policy(struct hf_server_app *app, const struct hf_id *job,
                           struct hf_policy *out, struct hf_error *err)
{
    struct hf_schedule_record record;

    enum hf_err code = hf_keep_schedule_get(app->catalog, job, &record, NULL, err);
    if (code == HF_ERR_NOT_FOUND) {
        hf_policy_default(out, hf_flow_now_s());
        hf_settings_policy(app, out);
        return HF_ERR_OK;
    }
    *out = record.policy;
    return code;
}

enum hf_err hf_flow_window(struct hf_server_app *app, const struct hf_id *job,
                           struct hf_flow_window *out, struct hf_error *err)
{
    struct hf_policy policy;

    if (hf_flow_policy(app, job, &policy, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = (struct hf_flow_window){
        .promised = policy.own_window || app->oplog_kept_s != 0,
        .kept_s = policy.own_window ? policy.window_hours * HF_HOUR_S : app->oplog_kept_s,
    };
    return HF_ERR_OK;
}

enum hf_err hf_flow_oplog_wanted(struct hf_server_app *app, const struct hf_id *job,
                                 uint64_t *wanted_s, struct hf_error *err)
{
    struct hf_policy policy = {.interval_min = 0};

    *wanted_s = app->oplog_window_min_s;
    if (*wanted_s == 0 || !app->schedules) {
        return HF_ERR_OK;
    }
    if (hf_flow_policy(app, job, &policy, err) != HF_ERR_OK) {
        return err->code;
    }
    *wanted_s = policy.interval_min * 60 > *wanted_s ? policy.interval_min * 60 : *wanted_s;
    return HF_ERR_OK;
}

enum hf_err hf_flow_policy_set(struct hf_server_app *app, const struct hf_job_record *job,
                               const struct hf_policy *policy, struct hf_schedule_record *out,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};

    if (hf_keep_snapshots_of(app->catalog, &job->id, &snapshots, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_schedule_view view = {.job = job,
                                          .snapshots = snapshots.items,
                                          .count = snapshots.count,
                                          .first_waits = !app->first_snapshot};
    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        uint64_t revision = 0;
        if (hf_flow_schedule_open(app, job, out, &revision, err) != HF_ERR_OK) {
            return err->code;
        }
        hf_schedule_change(out, policy, &view, hf_flow_now_s());
        enum hf_err code = hf_keep_schedule_replace(app->catalog, out, &revision, err);
        if (code == HF_ERR_OK) {
            hf_log_info(app->log, "policy.changed", HF_STR("set", job->set_name),
                        HF_U64("interval_min", policy->interval_min), HF_U64("due_s", out->due_s));
        }
        if (code != HF_ERR_CONFLICT) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "the schedule of set %s changes too often", job->set_name);
}

/* ---- Looks ---- */

/* A job that is gone for good takes its document along. */
static enum hf_err forget(struct hf_server_app *app, const struct hf_id *id, uint64_t revision,
                          struct hf_error *err)
{
    enum hf_err code =
        hf_catalog_remove(app->catalog, HF_KIND_SCHEDULE, hf_id_text(id).text, revision, err);

    return code == HF_ERR_CONFLICT || code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
}

static enum hf_err look_once(struct hf_server_app *app, const struct hf_id *id,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    struct hf_schedule_record record;
    struct hf_job_record job;
    uint64_t revision = 0, now_s = hf_flow_now_s();

    enum hf_err code = hf_keep_schedule_get(app->catalog, id, &record, &revision, err);
    if (code != HF_ERR_OK) {
        return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
    }
    code = hf_keep_job_get(app->catalog, id, &job, NULL, err);
    if (code == HF_ERR_NOT_FOUND) {
        return forget(app, id, revision, err);
    }
    if (code != HF_ERR_OK || hf_keep_snapshots_of(app->catalog, id, &snapshots, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_schedule_view view = {.job = &job,
                                          .snapshots = snapshots.items,
                                          .count = snapshots.count,
                                          .first_waits = !app->first_snapshot};
    if (record.expire_s <= now_s || record.expire_s > now_s + HF_SCHEDULE_LOOK_S) {
        code = hf_flow_expire(app, &record, &view, now_s, err);
        if (code != HF_ERR_OK) { /* the store is away: what is due is due all the same */
            hf_log_warn(app->log, "expiry.failed", HF_STR("set", job.set_name),
                        HF_STR("error", err->message));
        }
    }
    bool waited = record.queue_s != 0;
    hf_schedule_look(&record, &view, now_s);
    if (HF_FAULT("server.schedule.looked", err) != HF_ERR_OK) {
        return err->code;
    }
    code = hf_keep_schedule_replace(app->catalog, &record, &revision, err);
    if (code == HF_ERR_OK && !waited && record.queue_s != 0) {
        hf_log_debug(app->log, "schedule.due", HF_STR("set", job.set_name),
                     HF_U64("owed_s", record.owed_s), HF_U64("until_s", record.queue_s));
    }
    return code == HF_ERR_CONFLICT ? HF_ERR_OK : code; /* the next tick sees it */
}

/* Those whose wake_s lies in that range. */
static enum hf_err look_range(struct hf_server_app *app, uint64_t from_s, uint64_t to_s,
                              size_t most, struct hf_error *err)
{
    const struct hf_catalog_query query = {.kind = HF_KIND_SCHEDULE,
                                           .index = "wakeS",
                                           .has_range = true,
                                           .minimum = (int64_t)from_s,
                                           .maximum = (int64_t)to_s,
                                           .limit = most};
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list found = {.documents = NULL};

    if (hf_catalog_find(app->catalog, &query, &found, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < found.count && !hf_cancel_requested(app->cancel); i++) {
        struct hf_error why;
        struct hf_id id;
        if (!hf_id_parse(hf_str_of(found.documents[i].id), &id)) {
            continue;
        }
        if (look_once(app, &id, &why) != HF_ERR_OK) {
            hf_log_warn(app->log, "schedule.look.failed", HF_STR("job", found.documents[i].id),
                        HF_STR("error", why.message));
        }
    }
    return HF_ERR_OK;
}

/* Jobs of before there were schedules, or whose start died before it made one. */
static enum hf_err open_missing(struct hf_server_app *app, struct hf_error *err)
{
    const struct hf_catalog_query jobs_query = {.limit = JOBS_MAX};
    const struct hf_catalog_query count_jobs = {.kind = HF_KIND_JOB},
                                  count_schedules = {.kind = HF_KIND_SCHEDULE};
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};
    uint64_t job_count = 0, schedule_count = 0, now_ms = hf_clock_mono_ms();

    if (hf_catalog_count(app->catalog, &count_jobs, &job_count, err) != HF_ERR_OK ||
        hf_catalog_count(app->catalog, &count_schedules, &schedule_count, err) != HF_ERR_OK) {
        return err->code;
    }
    bool known = app->jobs_counted == job_count && app->schedules_opened_ms != 0 &&
                 now_ms - app->schedules_opened_ms < OPEN_EVERY_MS;
    if (job_count == schedule_count || known) {
        return HF_ERR_OK;
    }
    app->jobs_counted = job_count;
    app->schedules_opened_ms = now_ms == 0 ? 1 : now_ms;
    if (hf_keep_job_find(app->catalog, &jobs_query, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < jobs.count && !hf_cancel_requested(app->cancel); i++) {
        struct hf_schedule_record ignored;
        if (hf_flow_schedule_open(app, &jobs.items[i], &ignored, NULL, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err look(struct hf_server_app *app, struct hf_error *err)
{
    uint64_t now_s = hf_flow_now_s(), before_s = app->schedule_seen_s;

    if (open_missing(app, err) != HF_ERR_OK ||
        look_range(app, 0, now_s, LOOKS_MAX, err) != HF_ERR_OK) {
        return err->code;
    }
    /* Times that a clock ahead of this one made are found anew: all of them when it was set back while we looked. */
    bool back = before_s > now_s + STEP_S;
    enum hf_err code =
        back ? look_range(app, now_s, INT64_MAX, JOBS_MAX, err)
             : look_range(app, now_s + HF_SCHEDULE_LOOK_S + STEP_S, INT64_MAX, LOOKS_MAX, err);
    app->schedule_seen_s = now_s;
    return code;
}

/* ---- The tick ---- */

enum hf_err hf_flow_schedule_look(struct hf_server_app *app, const struct hf_id *job,
                                  struct hf_error *err)
{
    return look_once(app, job, err);
}

enum hf_err hf_flow_schedule_tick(struct hf_server_app *app, struct hf_error *err)
{
    if (look(app, err) != HF_ERR_OK) {
        return err->code;
    }
    return app->schedules ? hf_flow_queue_begin(app, err) : HF_ERR_OK;
}
