/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job's states in the catalog: each move is one compare-and-set (backup/job.h), and what the new state asks for is done
 * afterwards by the tick, again and again, so that a death on either side of the move changes nothing.
 *
 *   hf_flow_start_job     checks, stores assigned, PROVISIONING; then, at once where nothing is to be waited for:
 *     provision           approval -> what an earlier life of the job left goes -> keys -> STARTED
 *   hf_flow_move_job      STOPPED, TERMINATING…
 *   hf_flow_jobs_tick     provision; a capture of a job that takes none is cancelled; terminations (flow_job_end.c)
 *
 * The tail follows by itself: flow_tail.c gives one to jobs that tail, and ends those of others.
 */
#include <stdio.h>

#include "backup/lifecycle.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "os/fs.h"
#include "server/events.h"
#include "server/fleet.h"
#include "server/flow.h"
#include "server/flow_internal.h"
#include "server/flow_schedule.h"
#include "server/rounds.h"
#include "server/stores.h"
#include "snapshot/keys.h"

#define CAS_TRIES 8
#define JOBS_MAX 100000

enum hf_err hf_flow_find_job(struct hf_server_app *app, const struct hf_id *project,
                             const char *set_name, struct hf_job_record *out, uint64_t *revision,
                             struct hf_error *err)
{
    const struct hf_id_text id = hf_id_text(project);
    const struct hf_catalog_query query = {
        .index = "projectId", .equals_text = id.text, .limit = JOBS_MAX};
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};

    if (hf_keep_job_find(app->catalog, &query, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < jobs.count; i++) {
        if (strcmp(jobs.items[i].set_name, set_name) == 0) {
            return hf_keep_job_get(app->catalog, &jobs.items[i].id, out, revision, err);
        }
    }
    return hf_fail(err, HF_ERR_NOT_FOUND,
                   "set %s has no backup job; hint: holdfast job start --set %s", set_name,
                   set_name);
}

enum hf_err hf_flow_change_job(struct hf_server_app *app, const struct hf_id *job,
                               bool (*change)(struct hf_job_record *job, const void *what),
                               const void *what, struct hf_job_record *out, struct hf_error *err)
{
    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        uint64_t revision = 0;

        if (hf_keep_job_get(app->catalog, job, out, &revision, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!change(out, what)) {
            return HF_ERR_OK;
        }
        enum hf_err code = hf_keep_job_replace(app->catalog, out, &revision, err);
        if (code == HF_ERR_OK) {
            hf_rounds_wake(app->rounds, job);
        }
        if (code != HF_ERR_CONFLICT) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "the job of set %s changes too often; hint: try again",
                   out->set_name);
}

enum hf_err hf_flow_tell_move(struct hf_server_app *app, const struct hf_job_record *job,
                              enum hf_job_state to, struct hf_error *err)
{
    char text[512];
    const struct hf_event_own own = {.job = &job->id,
                                     .set_name = job->set_name,
                                     .type = HF_EVENT_STATE_CHANGED,
                                     .text = text,
                                     .number = job->moved_s * HF_JOB_STATES + to};

    (void)snprintf(text, sizeof text, "the job of set %s: %s to %s", job->set_name,
                   hf_job_state_word(job->state), hf_job_state_word(to));
    return hf_event_own(app, &own, err);
}

/* ---- What is asked of a set before its job starts ---- */

static bool is_of_set(const struct hf_member_record *member, const char *set_name)
{
    return strcmp(member->set_name, set_name) == 0 && member->silent_s <= HF_AGENT_SILENT_MAX_S;
}

static bool is_in(const struct hf_member_record *member, const char *state)
{
    return strcmp(member->state, state) == 0;
}

/* A source that keeps its oplog for less than the agents' longest absence loses it sooner or later: said before, not after. */
static enum hf_err check_window(const struct hf_server_app *app,
                                const struct hf_flow_members *members, const char *set_name,
                                struct hf_error *err)
{
    for (size_t i = 0; app->oplog_window_min_s != 0 && i < members->count; i++) {
        const struct hf_member_record *one = &members->items[i];
        if (strcmp(one->set_name, set_name) == 0 &&
            hf_member_window_is_short(one, app->oplog_window_min_s)) {
            return hf_fail(err, HF_ERR_CONFLICT,
                           "the oplog of %s reaches back %llu s, and should %llu s: with less, an "
                           "agent or a server that is away breaks the restorable range; hint: "
                           "enlarge it (replSetResizeOplog), or start the server with a shorter "
                           "--minimum-oplog-window",
                           one->host, (unsigned long long)(one->oplog_last_s - one->oplog_first_s),
                           (unsigned long long)app->oplog_window_min_s);
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_flow_job_warning(struct hf_server_app *app, const struct hf_cluster_record *cluster,
                                char out[HF_RECORD_ERROR_BYTES], struct hf_error *err)
{
    struct hf_flow_members members = {0};
    uint64_t wanted_s = 0;

    out[0] = '\0';
    if (hf_flow_oplog_wanted(app, &cluster->id, &wanted_s, err) != HF_ERR_OK ||
        hf_flow_members(app, &cluster->project, &members, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < members.count && out[0] == '\0'; i++) {
        const struct hf_member_record *one = &members.items[i];
        if (strcmp(one->set_name, cluster->set_name) == 0 &&
            hf_member_window_is_short(one, wanted_s)) {
            (void)snprintf(out, HF_RECORD_ERROR_BYTES,
                           "the oplog of %s reaches back %llu s, and should %llu s: a hole can "
                           "open between a snapshot and the stored oplog; hint: enlarge it "
                           "(replSetResizeOplog), or take snapshots more often (holdfast policy "
                           "set)",
                           one->host, (unsigned long long)(one->oplog_last_s - one->oplog_first_s),
                           (unsigned long long)wanted_s);
        }
    }
    hf_free(members.items);
    return HF_ERR_OK;
}

/* A member with data and an agent; one primary, so one set of the name. */
static enum hf_err check_members(const struct hf_flow_members *members, const char *set_name,
                                 struct hf_error *err)
{
    const char *primary = NULL;
    size_t with_data = 0;

    for (size_t i = 0; i < members->count; i++) {
        const struct hf_member_record *one = &members->items[i];
        if (!is_of_set(one, set_name)) {
            continue;
        }
        with_data += is_in(one, "PRIMARY") || is_in(one, "SECONDARY");
        const char *seen = is_in(one, "PRIMARY") ? one->host : one->primary;
        if (seen[0] == '\0') {
            continue;
        }
        if (primary != NULL && strcmp(primary, seen) != 0) {
            return hf_fail(err, HF_ERR_CONFLICT,
                           "members of set %s name two primaries, %s and %s: two sets have the "
                           "name, which must be one of its own in a project; hint: after an "
                           "election try again",
                           set_name, primary, seen);
        }
        primary = seen;
    }
    if (with_data == 0) {
        return hf_fail(err, HF_ERR_UNAVAILABLE,
                       "no agent serves a member of set %s that is PRIMARY or SECONDARY; hint: "
                       "holdfast agent list",
                       set_name);
    }
    return primary == NULL
               ? hf_fail(err, HF_ERR_UNAVAILABLE,
                         "set %s has no primary; hint: see its members, then try again", set_name)
               : HF_ERR_OK;
}

/* A catalog that was put together out of two may hold another cluster's job of that name. */
static enum hf_err check_name(struct hf_server_app *app, const struct hf_cluster_record *cluster,
                              struct hf_error *err)
{
    struct hf_job_record other;

    enum hf_err code =
        hf_flow_find_job(app, &cluster->project, cluster->set_name, &other, NULL, err);
    if (code == HF_ERR_OK && !hf_id_equal(&other.cluster, &cluster->id)) {
        return hf_fail(err, HF_ERR_CONFLICT, "job %s is of another set named %s",
                       hf_id_text(&other.id).text, cluster->set_name);
    }
    return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
}

static enum hf_err check_set(struct hf_server_app *app, const struct hf_job_record *job,
                             struct hf_error *err)
{
    const char *set_name = job->set_name;
    struct hf_flow_members members = {0};

    if (hf_flow_members(app, &job->project, &members, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = check_members(&members, set_name, err);
    if (code == HF_ERR_OK) {
        code = check_window(app, &members, set_name, err);
    }
    hf_free(members.items);
    return code;
}

/* The largest member's; 0: no agent has said it yet. */
static enum hf_err data_bytes(struct hf_server_app *app, const struct hf_job_record *job,
                              uint64_t *out, struct hf_error *err)
{
    struct hf_flow_members members = {0};

    *out = 0;
    if (hf_flow_members(app, &job->project, &members, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < members.count; i++) {
        const struct hf_member_record *one = &members.items[i];
        if (strcmp(one->set_name, job->set_name) == 0 && one->data_bytes > *out) {
            *out = one->data_bytes;
        }
    }
    hf_free(members.items);
    return HF_ERR_OK;
}

/* ---- Provisioning ---- */

struct waits {
    enum hf_job_state state;
    const char *why;
    bool approval;
};

static bool change_waits(struct hf_job_record *job, const void *what)
{
    const struct waits *waits = what;
    char text[sizeof job->problem];

    (void)snprintf(text, sizeof text, "%s", waits->why);
    if (job->state != waits->state ||
        (strcmp(text, job->problem) == 0 && job->waiting == waits->approval)) {
        return false;
    }
    memcpy(job->problem, text, sizeof text);
    job->waiting = waits->approval;
    return true;
}

enum hf_err hf_flow_job_waits(struct hf_server_app *app, const struct hf_id *job,
                              enum hf_job_state state, const char *why, struct hf_error *err)
{
    const struct waits waits = {.state = state, .why = why};
    struct hf_job_record before, after;

    if (hf_keep_job_get(app->catalog, job, &before, NULL, err) != HF_ERR_OK ||
        hf_flow_change_job(app, job, change_waits, &waits, &after, err) != HF_ERR_OK) {
        return err->code;
    }
    if (strcmp(before.problem, after.problem) != 0 && after.problem[0] != '\0') {
        hf_log_warn(app->log, "job.waits", HF_STR("set", after.set_name),
                    HF_STR("state", hf_job_state_word(after.state)), HF_STR("why", after.problem));
    }
    return HF_ERR_OK;
}

/* *go false: it waits, and its record says for what. */
static enum hf_err approved(struct hf_server_app *app, const struct hf_job_record *job, bool *go,
                            struct hf_error *err)
{
    struct waits waits = {.state = HF_JOB_PROVISIONING,
                          .why = "no agent has said yet how large the data are"};
    struct hf_job_record noted;
    char text[512], size[24], limit[24];
    uint64_t bytes = 0;

    if (app->provision_threshold_bytes != 0 && data_bytes(app, job, &bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_job_approval approval = hf_job_approval(job, bytes, app->provision_threshold_bytes);
    *go = approval == HF_JOB_MAY_GO_ON;
    if (*go) {
        return HF_ERR_OK;
    }
    if (approval == HF_JOB_NEEDS_APPROVAL) {
        hf_format_bytes(bytes, size, sizeof size);
        hf_format_bytes(app->provision_threshold_bytes, limit, sizeof limit);
        (void)snprintf(text, sizeof text,
                       "its data, %s, are above --provision-threshold, %s: it waits for approval; "
                       "hint: holdfast job set --set %s --approve",
                       size, limit, job->set_name);
        waits.why = text;
        waits.approval = true;
    }
    return hf_flow_change_job(app, &job->id, change_waits, &waits, &noted, err);
}

static bool change_provisioned(struct hf_job_record *job, const void *what)
{
    const struct hf_server_app *app = what;
    struct hf_error ignored;

    if (hf_job_move(job, HF_JOB_PROVISIONED, hf_flow_now_s(), &ignored) != HF_ERR_OK) {
        return false; /* somebody else came first */
    }
    if (!app->first_snapshot) {
        hf_job_want_none(job);
    }
    return true;
}

/* Keys first: a job that is STARTED can be captured. Keys that an unfinished start left are the job's. */
static enum hf_err make_keys(struct hf_server_app *app, const struct hf_id *job,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_keyring_wipe) struct hf_keyring keyring = {0};
    struct hf_open_store at;

    if (hf_stores_snapshots_of_job_id(app, job, &at, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_job_keys_create(at.store, at.mark, at.key, job, &keyring, err);
    return code == HF_ERR_EXISTS ? HF_ERR_OK : code;
}

static bool change_assigned(struct hf_job_record *job, const void *what)
{
    const struct hf_job_record *wish = what;

    if (job->state != HF_JOB_PROVISIONING || hf_id_equal(&job->store, &wish->store)) {
        return false;
    }
    job->store = wish->store;
    job->oplog_store = wish->oplog_store;
    memcpy(job->assigned, wish->assigned, sizeof job->assigned);
    return true;
}

/* Anew where the one that was assigned has been removed since: nothing of the job lies there, or it is lost. */
static enum hf_err assign(struct hf_server_app *app, struct hf_job_record *job,
                          struct hf_error *err)
{
    struct hf_job_record wish = *job;
    struct hf_job_stores at;
    uint64_t bytes = 0;

    enum hf_err code = hf_stores_of_job(app, job, &at, err);
    if (code != HF_ERR_NOT_FOUND) {
        return code;
    }
    if (data_bytes(app, job, &bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_stores_assign(app, &wish, bytes, err) != HF_ERR_OK) {
        return hf_wrap(err, "the job of set %s", job->set_name);
    }
    if (hf_flow_change_job(app, &job->id, change_assigned, &wish, job, err) != HF_ERR_OK ||
        HF_FAULT("server.job.assigned", err) != HF_ERR_OK) {
        return err->code;
    }
    hf_log_info(app->log, "job.assigned", HF_STR("set", job->set_name),
                HF_STR("why", job->assigned));
    return HF_ERR_OK;
}

static enum hf_err provision_steps(struct hf_server_app *app, struct hf_job_record *job,
                                   struct hf_error *err)
{
    struct hf_job_record now;
    bool go = false;

    if (assign(app, job, err) != HF_ERR_OK || approved(app, job, &go, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!go) {
        return HF_ERR_OK;
    }
    /* Of an earlier life that was terminated: what came late, or was not let go of then. */
    if (job->ended_s != 0 && hf_flow_delete_strays(app, &job->id, err) != HF_ERR_OK) {
        return hf_wrap(err, "what the job stored before it was terminated");
    }
    if (HF_FAULT("server.job.swept", err) != HF_ERR_OK ||
        make_keys(app, &job->id, err) != HF_ERR_OK ||
        HF_FAULT("server.job.keys_made", err) != HF_ERR_OK ||
        hf_flow_tell_move(app, job, HF_JOB_STARTED, err) != HF_ERR_OK ||
        hf_flow_change_job(app, &job->id, change_provisioned, app, &now, err) != HF_ERR_OK ||
        HF_FAULT("server.job.provisioned", err) != HF_ERR_OK) {
        return err->code;
    }
    hf_flow_schedule_wake(app, &job->id);
    hf_log_info(app->log, "job.started", HF_STR("set", now.set_name),
                HF_STR("job", hf_id_text(&now.id).text));
    return HF_ERR_OK;
}

static enum hf_err provision(struct hf_server_app *app, const struct hf_id *id,
                             struct hf_error *err)
{
    struct hf_job_record job;
    struct hf_error why, ignored;

    *err = (struct hf_error){.code = HF_ERR_OK};
    if (!hf_flow_begin_ending(app, id)) {
        return HF_ERR_OK; /* another thread is at it */
    }
    /* Read within: a thread that was here a moment ago may have come to the end. */
    enum hf_err code = hf_keep_job_get(app->catalog, id, &job, NULL, err);
    if (code == HF_ERR_OK && job.state == HF_JOB_PROVISIONING) {
        code = provision_steps(app, &job, err);
    }
    hf_flow_finish_ending(app, id);
    if (code != HF_ERR_OK) {
        why = *err;
        (void)!hf_flow_job_waits(app, id, HF_JOB_PROVISIONING, why.message, &ignored);
    }
    return code;
}

/* ---- Moves ---- */

static void forget_stores(struct hf_job_record *job)
{
    job->store = job->oplog_store = (struct hf_id){{0}};
    job->assigned[0] = '\0';
}

/* One compare-and-set; a job that was never started has no record yet. */
static enum hf_err put_start(struct hf_server_app *app, const struct hf_cluster_record *cluster,
                             struct hf_job_record *job, enum hf_job_state *from,
                             struct hf_error *err)
{
    uint64_t revision = 0;

    enum hf_err code = hf_keep_job_get(app->catalog, &cluster->id, job, &revision, err);
    bool fresh = code == HF_ERR_NOT_FOUND;
    if (fresh) {
        if (check_name(app, cluster, err) != HF_ERR_OK) {
            return err->code;
        }
        hf_job_init(job, cluster);
    } else if (code != HF_ERR_OK) {
        return code;
    }
    *from = job->state;
    if (hf_job_move(job, HF_JOB_START, hf_flow_now_s(), err) != HF_ERR_OK ||
        (*from == HF_JOB_INACTIVE &&
         (check_set(app, job, err) != HF_ERR_OK || hf_fleet_assign(app, job, err) != HF_ERR_OK)) ||
        HF_FAULT("server.job.checked", err) != HF_ERR_OK) {
        return err->code;
    }
    /* What a forced end left is deleted where it lies first. */
    if (*from == HF_JOB_INACTIVE && !job->leftover) {
        forget_stores(job);
    }
    if (!fresh) {
        return hf_keep_job_replace(app->catalog, job, &revision, err);
    }
    code = hf_keep_job_insert(app->catalog, job, err);
    return code == HF_ERR_EXISTS ? hf_fail(err, HF_ERR_CONFLICT, "the job has just been made")
                                 : code;
}

enum hf_err hf_flow_start_job(struct hf_server_app *app, const struct hf_id *cluster,
                              struct hf_job_record *out, struct hf_error *err)
{
    enum hf_job_state from = HF_JOB_INACTIVE;
    struct hf_cluster_record set;
    struct hf_error why;

    if (hf_keep_cluster_get(app->catalog, cluster, &set, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    /* A change that came first is seen by the second look; what it allows no more is refused in words there. */
    enum hf_err code = put_start(app, &set, out, &from, err);
    if (code == HF_ERR_CONFLICT) {
        code = put_start(app, &set, out, &from, err);
    }
    if (code != HF_ERR_OK || HF_FAULT("server.job.moved", err) != HF_ERR_OK) {
        return err->code;
    }
    if (from == HF_JOB_STOPPED) {
        hf_log_info(app->log, "job.restarted", HF_STR("set", out->set_name),
                    HF_STR("job", hf_id_text(&out->id).text));
        return HF_ERR_OK;
    }
    /* From here on it is started, whatever happens: the tick goes on. */
    if (provision(app, &out->id, &why) != HF_ERR_OK) {
        hf_log_warn(app->log, "job.provision.failed", HF_STR("set", out->set_name),
                    HF_STR("error", why.message));
    }
    return hf_keep_job_get(app->catalog, &set.id, out, NULL, err);
}

static enum hf_err put_move(struct hf_server_app *app, const struct hf_id *id,
                            enum hf_job_action action, struct hf_job_record *out,
                            struct hf_error *err)
{
    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        uint64_t revision = 0;

        if (hf_keep_job_get(app->catalog, id, out, &revision, err) != HF_ERR_OK ||
            hf_job_move(out, action, hf_flow_now_s(), err) != HF_ERR_OK) {
            return err->code;
        }
        enum hf_err code = hf_keep_job_replace(app->catalog, out, &revision, err);
        if (code == HF_ERR_OK) {
            hf_rounds_wake(app->rounds, id);
            hf_flow_schedule_wake(app, id);
        }
        if (code != HF_ERR_CONFLICT) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "job %s changes too often; hint: try again",
                   hf_id_text(id).text);
}

/* What has to be true, or made so, before the move. */
static enum hf_err prepare(struct hf_server_app *app, const struct hf_id *id,
                           enum hf_job_action action, struct hf_error *err)
{
    struct hf_job_record job;

    if (hf_keep_job_get(app->catalog, id, &job, NULL, err) != HF_ERR_OK ||
        hf_job_move(&job, action, 0, err) != HF_ERR_OK) {
        return err->code;
    }
    if (action == HF_JOB_TERMINATE) {
        return hf_flow_check_unneeded(app, id, err);
    }
    if (action == HF_JOB_FORCE_TERMINATE) {
        return hf_flow_end_needs(app, id, err) == HF_ERR_OK ? hf_flow_expire_all(app, id, err)
                                                            : err->code;
    }
    return HF_ERR_OK;
}

enum hf_err hf_flow_move_job(struct hf_server_app *app, const struct hf_id *id,
                             enum hf_job_action action, struct hf_job_record *out,
                             struct hf_error *err)
{
    if (prepare(app, id, action, err) != HF_ERR_OK ||
        HF_FAULT("server.job.checked", err) != HF_ERR_OK ||
        put_move(app, id, action, out, err) != HF_ERR_OK ||
        HF_FAULT("server.job.moved", err) != HF_ERR_OK) {
        return err->code;
    }
    hf_log_info(app->log, "job.moved", HF_STR("set", out->set_name),
                HF_STR("job", hf_id_text(&out->id).text),
                HF_STR("state", hf_job_state_word(out->state)));
    return HF_ERR_OK;
}

static bool change_preferred(struct hf_job_record *job, const void *what)
{
    (void)snprintf(job->preferred_member, sizeof job->preferred_member, "%s", (const char *)what);
    return true;
}

enum hf_err hf_flow_prefer_member(struct hf_server_app *app, const struct hf_id *job,
                                  const char *member, struct hf_job_record *out,
                                  struct hf_error *err)
{
    if (strlen(member) >= sizeof out->preferred_member) {
        return hf_fail(err, HF_ERR_INVALID, "preferredMember is longer than %zu bytes",
                       sizeof out->preferred_member - 1);
    }
    return hf_flow_change_job(app, job, change_preferred, member, out, err);
}

/* ---- The tick ---- */

/* A capture that began before the job was stopped. Its task may be made a moment later: the next tick sees it. */
static enum hf_err cancel_capture(struct hf_server_app *app, const struct hf_job_record *job,
                                  struct hf_error *err)
{
    struct hf_snapshot_record running;
    struct hf_task_record task;

    if (hf_id_is_none(&job->running)) {
        return HF_ERR_OK;
    }
    enum hf_err code = hf_keep_snapshot_get(app->catalog, &job->running, &running, NULL, err);
    if (code == HF_ERR_OK) {
        code = hf_keep_task_get(app->catalog, &running.task, &task, NULL, err);
    }
    if (code == HF_ERR_OK && !task.cancelled && task.state != HF_TASK_ENDED &&
        task.state != HF_TASK_FINISHING) {
        code = hf_flow_cancel_task(app, &task.id, err);
    }
    return code == HF_ERR_NOT_FOUND || code == HF_ERR_CONFLICT ? HF_ERR_OK : code;
}

static bool change_swept(struct hf_job_record *job, const void *what)
{
    (void)what;
    if (job->state != HF_JOB_INACTIVE) {
        return false;
    }
    job->leftover = false;
    job->problem[0] = '\0';
    return true;
}

/* Of a termination that was forced, or whose objects were locked: tried until the store lets go of them. */
static enum hf_err sweep(struct hf_server_app *app, const struct hf_job_record *job,
                         struct hf_error *err)
{
    struct hf_job_record now;
    struct hf_error why;

    if (!hf_flow_begin_ending(app, &job->id)) {
        return HF_ERR_OK;
    }
    enum hf_err code = hf_keep_job_get(app->catalog, &job->id, &now, NULL, err);
    if (code == HF_ERR_OK && now.state == HF_JOB_INACTIVE && now.leftover) {
        code = hf_flow_delete_objects(app, &job->id, err);
        /* Its store was removed, lost as it was: nothing is waited for. */
        if (code == HF_ERR_NOT_FOUND) {
            code = hf_flow_delete_strays(app, &job->id, err);
        }
        if (code == HF_ERR_OK) {
            code = hf_flow_change_job(app, &job->id, change_swept, NULL, &now, err);
        } else {
            why = *err;
            code = hf_flow_job_waits(app, &job->id, HF_JOB_INACTIVE, why.message, err);
        }
    }
    hf_flow_finish_ending(app, &job->id);
    return code;
}

static enum hf_err terminate(struct hf_server_app *app, const struct hf_job_record *job,
                             struct hf_error *err)
{
    struct hf_error why, ignored;

    if (!hf_flow_begin_ending(app, &job->id)) {
        return HF_ERR_OK;
    }
    enum hf_err code = hf_flow_terminate(app, job, err);
    hf_flow_finish_ending(app, &job->id);
    if (code != HF_ERR_OK) {
        why = *err;
        (void)!hf_flow_job_waits(app, &job->id, HF_JOB_TERMINATING, why.message, &ignored);
    }
    return code;
}

static enum hf_err tick_job(struct hf_server_app *app, const struct hf_job_record *job,
                            struct hf_error *err)
{
    if (!hf_job_does(job).takes_snapshots && cancel_capture(app, job, err) != HF_ERR_OK) {
        return err->code;
    }
    switch (job->state) {
    case HF_JOB_PROVISIONING:
        return provision(app, &job->id, err);
    case HF_JOB_TERMINATING:
        return terminate(app, job, err);
    case HF_JOB_INACTIVE:
        return job->leftover ? sweep(app, job, err) : HF_ERR_OK;
    case HF_JOB_STARTED:
    case HF_JOB_STOPPED:
        break;
    }
    return HF_ERR_OK;
}

enum hf_err hf_flow_jobs_tick(struct hf_server_app *app, struct hf_error *err)
{
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};
    struct hf_error first = {.code = HF_ERR_OK};

    if (HF_FAULT("server.job.ticked", err) != HF_ERR_OK ||
        hf_rounds_jobs(app, HF_ROUND_MOVES, HF_ROUND_JOBS, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < jobs.count && !hf_cancel_requested(app->cancel); i++) {
        struct hf_error one;
        if (tick_job(app, &jobs.items[i], &one) != HF_ERR_OK && first.code == HF_ERR_OK) {
            first = one;
            (void)hf_wrap(&first, "the job of set %s", jobs.items[i].set_name);
        }
    }
    *err = first;
    return first.code;
}
