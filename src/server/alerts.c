/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass: all alerts there are, then every target's facts against them; what went on and was not found any more is
 * cancelled. Every change is one compare-and-set, so that several servers open, repeat and close an alert once.
 */
#include "server/alerts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "backup/job.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "codec/hash.h"
#include "os/clock.h"
#include "os/fs.h"
#include "server/alert_settings.h"
#include "server/events.h"
#include "server/fleet.h"
#include "server/flow.h"
#include "server/flow_schedule.h"
#include "server/keep.h"
#include "server/notify.h"
#include "server/stores.h"

#define LIST_MAX 100000
#define KEPT_S ((uint64_t)90 * 86400)
#define TRIES 8
#define NEWEST_LOOKED_AT 64

struct pass {
    struct hf_server_app *app;
    uint64_t now_s;
    struct hf_alert_settings settings;
    struct hf_keep_alerts alerts; /* by type, target and number */
    bool *seen;                   /* owned: for each of them */
};

/* What an alert is about. */
struct about {
    const char *target;
    const struct hf_job_record *job;     /* NULL: none */
    const struct hf_agent_record *agent; /* the same */
    const char *host;
};

/* ---- Documents ---- */

static int by_target(const void *left, const void *right)
{
    const struct hf_alert_record *a = left, *b = right;
    int order = a->type != b->type ? (a->type < b->type ? -1 : 1) : strcmp(a->target, b->target);

    return order != 0 ? order : (a->number > b->number) - (a->number < b->number);
}

/* The newest of that type and target; NULL: there was none. */
static struct hf_alert_record *newest_of(struct pass *pass, enum hf_alert_type type,
                                         const char *target)
{
    struct hf_alert_record key = {.type = type, .number = UINT64_MAX};
    size_t low = 0, high = pass->alerts.count;

    (void)snprintf(key.target, sizeof key.target, "%s", target);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (by_target(&pass->alerts.items[middle], &key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0 || pass->alerts.items[low - 1].type != type ||
        strcmp(pass->alerts.items[low - 1].target, key.target) != 0) {
        return NULL;
    }
    pass->seen[low - 1] = true;
    return &pass->alerts.items[low - 1];
}

/* Another server, or an acknowledgement, came first: the next pass looks again. */
static enum hf_err lost_is_fine(enum hf_err code)
{
    return code == HF_ERR_EXISTS || code == HF_ERR_CONFLICT || code == HF_ERR_NOT_FOUND ? HF_ERR_OK
                                                                                        : code;
}

/* An id of its own for each thing that is told of an alert: told twice, it is the same. */
static struct hf_id told_id(const struct hf_alert_record *alert, const char *what)
{
    char text[160];
    struct hf_id id = alert->id;

    (void)snprintf(text, sizeof text, "%s %" PRIu64 " %s", hf_id_text(&alert->id).text,
                   alert->created_s, what);
    uint64_t hash = hf_xxh3(hf_bytes_of(text, strlen(text)));
    memcpy(id.bytes + HF_ID_BYTES - sizeof hash, &hash, sizeof hash);
    return id;
}

static enum hf_err tell_event(struct hf_server_app *app, const struct hf_alert_record *alert,
                              struct hf_error *err)
{
    const struct hf_alert_kind *kind = &hf_alert_kinds[alert->type];
    bool over = strcmp(alert->owed, "CLOSED") == 0;
    const struct hf_event_wish event = {.id = told_id(alert, over ? "over" : "begun"),
                                        .project = alert->project,
                                        .job = alert->job,
                                        .set_name = alert->set_name,
                                        .type = over ? kind->over : kind->name,
                                        .text = alert->text};

    return kind->told && !over ? HF_ERR_OK : hf_event_tell(app, &event, err);
}

static enum hf_err tell_people(struct hf_server_app *app, const struct hf_alert_record *alert,
                               struct hf_error *err)
{
    struct hf_alert_config_record config;
    char what[96];
    uint64_t revision = 0;

    (void)snprintf(what, sizeof what, "%" PRIu64 " %s", alert->notices, alert->owed);
    const struct hf_id id = told_id(alert, what);
    if (hf_alert_settings_get(app, alert->type, &config, &revision, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_notify_queue(app, alert, &id, &config, err);
}

/*
 * Tells what an alert owes: by now the alert itself says that it is so, and whoever comes first tells it, this server or,
 * should it die here, the next pass of any. The same thing has the same id, so that twice is once.
 */
static enum hf_err settle(struct hf_server_app *app, const struct hf_alert_record *owing,
                          struct hf_error *err)
{
    if ((owing->owed_event && tell_event(app, owing, err) != HF_ERR_OK) ||
        HF_FAULT("server.alerts.event_told", err) != HF_ERR_OK ||
        (owing->owed_notice && tell_people(app, owing, err) != HF_ERR_OK) ||
        HF_FAULT("server.alerts.told", err) != HF_ERR_OK) {
        return err->code;
    }
    for (unsigned tries = 0; tries < TRIES; tries++) {
        struct hf_alert_record alert;
        uint64_t revision = 0;

        enum hf_err code = hf_keep_alert_get(app->catalog, &owing->id, &alert, &revision, err);
        if (code != HF_ERR_OK || strcmp(alert.owed, owing->owed) != 0 ||
            alert.notices != owing->notices) {
            return lost_is_fine(code); /* somebody else did it */
        }
        alert.owed[0] = '\0';
        alert.owed_event = alert.owed_notice = false;
        code = hf_keep_alert_replace(app->catalog, &alert, &revision, err);
        if (code != HF_ERR_CONFLICT) {
            return lost_is_fine(code);
        }
    }
    return HF_ERR_OK; /* the next pass does */
}

static enum hf_err write_step(struct pass *pass, struct hf_alert_record *alert, uint64_t revision,
                              enum hf_alert_step step, bool fresh, struct hf_error *err)
{
    struct hf_server_app *app = pass->app;
    const struct hf_alert_kind *kind = &hf_alert_kinds[alert->type];

    if (step == HF_ALERT_DROPPED) {
        return hf_catalog_remove(app->catalog, HF_KIND_ALERT, hf_id_text(&alert->id).text, revision,
                                 err);
    }
    enum hf_err code = fresh ? hf_keep_alert_insert(app->catalog, alert, err)
                             : hf_keep_alert_replace(app->catalog, alert, &revision, err);
    if (code != HF_ERR_OK) {
        return code;
    }
    if (step == HF_ALERT_OPENED) {
        hf_log_warn(app->log, "alert.opened", HF_STR("alert", hf_id_text(&alert->id).text),
                    HF_STR("type", kind->name), HF_STR("set", alert->set_name),
                    HF_STR("text", alert->text));
    } else if (step == HF_ALERT_RESOLVED) {
        hf_log_info(app->log, "alert.closed", HF_STR("alert", hf_id_text(&alert->id).text),
                    HF_STR("type", kind->name), HF_STR("set", alert->set_name));
    }
    if (alert->owed[0] == '\0') {
        return HF_ERR_OK;
    }
    return HF_FAULT("server.alerts.written", err) != HF_ERR_OK ? err->code
                                                               : settle(app, alert, err);
}

static enum hf_err follow(struct pass *pass, const struct hf_alert_finding *finding,
                          const struct about *about, struct hf_error *err)
{
    struct hf_server_app *app = pass->app;
    const struct hf_alert_record *known = newest_of(pass, finding->type, about->target);
    struct hf_alert_record alert = {
        .project = about->job != NULL     ? about->job->project
                   : about->agent != NULL ? about->agent->project
                                          : app->first_project,
    };
    const struct hf_alert_rules rules =
        hf_alert_settings_rules(app, &pass->settings, finding->type, &alert.project, pass->now_s);
    uint64_t revision = 0;
    bool fresh = false;

    if (known == NULL || !hf_alert_goes_on(known)) {
        if (!finding->holds) {
            return HF_ERR_OK;
        }
        alert.number = known == NULL ? 0 : known->number;
        alert.status = HF_ALERT_CLOSED;
        (void)snprintf(alert.target, sizeof alert.target, "%s", about->target);
        if (about->job != NULL) {
            alert.job = about->job->id;
            alert.cluster = about->job->cluster;
            (void)snprintf(alert.set_name, sizeof alert.set_name, "%s", about->job->set_name);
        }
        if (about->host != NULL) {
            (void)snprintf(alert.host, sizeof alert.host, "%s", about->host);
        }
    } else if (hf_keep_alert_get(app->catalog, &known->id, &alert, &revision, err) != HF_ERR_OK) {
        return lost_is_fine(err->code);
    }
    enum hf_alert_step step = hf_alert_follow(&alert, finding, &rules, pass->now_s, &fresh);
    return step == HF_ALERT_SAME
               ? HF_ERR_OK
               : lost_is_fine(write_step(pass, &alert, revision, step, fresh, err));
}

static enum hf_err follow_all(struct pass *pass, const struct hf_alert_findings *findings,
                              const struct about *about, struct hf_error *err)
{
    for (size_t i = 0; i < findings->count; i++) {
        /* What is disabled is not asked about: one that goes on is cancelled. */
        if (!pass->settings.configs[findings->items[i].type].disabled &&
            follow(pass, &findings->items[i], about, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* What goes on and was not asked about in a whole pass has no target any more; what is over for long goes. */
static enum hf_err end_others(struct pass *pass, struct hf_error *err)
{
    struct hf_catalog *catalog = pass->app->catalog;

    for (size_t i = 0; i < pass->alerts.count; i++) {
        struct hf_alert_record alert;
        uint64_t revision = 0;
        bool old = !hf_alert_goes_on(&pass->alerts.items[i]) &&
                   pass->alerts.items[i].resolved_s + KEPT_S < pass->now_s;

        if (!old && (pass->seen[i] || !hf_alert_goes_on(&pass->alerts.items[i]))) {
            continue;
        }
        enum hf_err code =
            hf_keep_alert_get(catalog, &pass->alerts.items[i].id, &alert, &revision, err);
        if (code == HF_ERR_OK && old) {
            code = hf_catalog_remove(catalog, HF_KIND_ALERT, hf_id_text(&alert.id).text, revision,
                                     err);
        } else if (code == HF_ERR_OK && hf_alert_cancel(&alert, pass->now_s)) {
            code = hf_keep_alert_replace(catalog, &alert, &revision, err);
        }
        if (lost_is_fine(code) != HF_ERR_OK) {
            return code;
        }
    }
    return HF_ERR_OK;
}

/* ---- Facts ---- */

enum hf_err hf_alerts_newest(struct hf_server_app *app, const struct hf_job_record *job,
                             struct hf_job_last *out, struct hf_error *err)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    const struct hf_id_text id = hf_id_text(&job->id);
    const struct hf_catalog_query query = {
        .index = "jobId", .equals_text = id.text, .descending = true, .limit = NEWEST_LOOKED_AT};

    *out = job->last;
    if (!hf_id_is_none(&out->snapshot)) {
        return HF_ERR_OK;
    }
    if (hf_keep_snapshot_find(app->catalog, &query, &snapshots, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < snapshots.count; i++) {
        const struct hf_snapshot_record *one = &snapshots.items[i];
        if (one->state == HF_SNAPSHOT_COMPLETE && one->created_s > out->created_s) {
            *out = hf_job_last_of(one);
        }
    }
    return HF_ERR_OK;
}

static int by_id(const void *a, const void *b)
{
    return memcmp(a, b, HF_ID_BYTES);
}

static int by_host(const void *left, const void *right)
{
    const struct hf_member_record *a = left, *b = right;
    int order = memcmp(&a->project, &b->project, sizeof a->project);

    order = order != 0 ? order : strcmp(a->host, b->host);
    return order != 0 ? order : (a->silent_s > b->silent_s) - (a->silent_s < b->silent_s);
}

/* All of the project, by their ids, with which they begin. */
struct jobs {
    struct hf_keep_jobs jobs;
    struct hf_keep_heads heads;
    struct hf_keep_usages usages;
    struct hf_flow_members members; /* by their hosts, the one heard of last first */
};

static void jobs_fini(struct jobs *all)
{
    hf_keep_jobs_fini(&all->jobs);
    hf_keep_heads_fini(&all->heads);
    hf_keep_usages_fini(&all->usages);
    hf_free(all->members.items);
}
HF_CLEANUP_DEFINE_VALUE(jobs_fini, struct jobs)

static enum hf_err load_jobs(struct hf_server_app *app, struct jobs *out, struct hf_error *err)
{
    const struct hf_catalog_query all = {.limit = LIST_MAX};

    if (hf_keep_job_find(app->catalog, &all, &out->jobs, err) != HF_ERR_OK ||
        hf_keep_head_find(app->catalog, &all, &out->heads, err) != HF_ERR_OK ||
        hf_keep_usage_find(app->catalog, &all, &out->usages, err) != HF_ERR_OK ||
        hf_flow_members(app, NULL, &out->members, err) != HF_ERR_OK) {
        return err->code;
    }
    if (out->members.count > 0) {
        qsort(out->members.items, out->members.count, sizeof *out->members.items, by_host);
    }
    qsort(out->heads.items, out->heads.count, sizeof *out->heads.items, by_id);
    qsort(out->usages.items, out->usages.count, sizeof *out->usages.items, by_id);
    return HF_ERR_OK;
}

static enum hf_err judge_job(struct pass *pass, const struct jobs *all,
                             const struct hf_job_record *job, struct hf_error *err)
{
    struct hf_server_app *app = pass->app;
    const struct hf_id_text id = hf_id_text(&job->id);
    struct hf_alert_job facts = {
        .job = job,
        .head = bsearch(job, all->heads.items, all->heads.count, sizeof *all->heads.items, by_id),
        .usage =
            bsearch(job, all->usages.items, all->usages.count, sizeof *all->usages.items, by_id),
        .members = all->members.items,
        .member_count = all->members.count,
    };
    struct hf_alert_findings findings;
    struct hf_upkeep_choice due = {.work = HF_UPKEEP_NONE};

    if (facts.usage != NULL) {
        hf_upkeep_decide(facts.usage, &app->upkeep, pass->now_s, &due);
        facts.groom_due = due.work == HF_UPKEEP_GROOM;
    }
    if (app->schedules) {
        struct hf_policy policy;
        if (hf_flow_policy(app, &job->id, &policy, err) != HF_ERR_OK) {
            return err->code;
        }
        facts.interval_s = policy.interval_min * 60;
    }
    if (facts.interval_s != 0 || job->snapshot_wanted[0] != '\0') {
        struct hf_job_last newest;
        if (hf_alerts_newest(app, job, &newest, err) != HF_ERR_OK) {
            return err->code;
        }
        facts.last_snapshot_s = newest.created_s;
    }
    hf_alert_judge_job(&facts, &pass->settings.limits, pass->now_s, &findings);
    return follow_all(pass, &findings, &(struct about){.target = id.text, .job = job}, err);
}

/* A set, by its project and name. */
struct set {
    const struct hf_id *project;
    const char *name;
};

static int by_set(const void *left, const void *right)
{
    const struct set *a = left, *b = right;
    int order = memcmp(a->project, b->project, sizeof *a->project);

    return order != 0 ? order : strcmp(a->name, b->name);
}

/* Marks the agents that a started job needs: those that reported a member of its set last. */
static enum hf_err mark_needed(const struct jobs *all, const struct hf_keep_agents *agents,
                               bool *needed, struct hf_error *err)
{
    const struct hf_flow_members *members = &all->members;
    HF_CLEANUP(hf_free) struct set *sets = hf_alloc_array(all->jobs.count + 1, sizeof *sets);
    size_t count = 0;

    if (sets == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (size_t i = 0; i < all->jobs.count; i++) {
        if (hf_job_does(&all->jobs.items[i]).takes_snapshots) {
            sets[count++] = (struct set){.project = &all->jobs.items[i].project,
                                         .name = all->jobs.items[i].set_name};
        }
    }
    qsort(sets, count, sizeof *sets, by_set);
    for (size_t i = 0; i < members->count; i++) {
        const struct hf_member_record *one = &members->items[i];
        const struct set set = {.project = &one->project, .name = one->set_name};
        if ((i > 0 && strcmp(one->host, members->items[i - 1].host) == 0 &&
             hf_id_equal(&one->project, &members->items[i - 1].project)) ||
            bsearch(&set, sets, count, sizeof *sets, by_set) == NULL) {
            continue;
        }
        const struct hf_agent_record *agent =
            bsearch(&one->agent, agents->items, agents->count, sizeof *agents->items, by_id);
        if (agent != NULL) {
            needed[agent - agents->items] = true;
        }
    }
    return HF_ERR_OK;
}

static void failed_calls_of(struct hf_server_app *app, const struct hf_id *agent,
                            struct hf_server_failed_calls *out)
{
    *out = (struct hf_server_failed_calls){.count = 0};
    HF_LOCKED(&app->works_mutex);
    for (size_t i = 0; i < HF_SERVER_FAILED_CALLS_MAX; i++) {
        if (hf_id_equal(&app->failed_calls[i].agent, agent)) {
            *out = app->failed_calls[i];
        }
    }
}

void hf_alerts_note_call(struct hf_server_app *app, const struct hf_id *agent, enum hf_err code,
                         const char *message)
{
    struct hf_server_failed_calls *at = NULL, *least = &app->failed_calls[0];

    if (code == HF_ERR_CANCELLED || code == HF_ERR_UNAUTHENTICATED || code == HF_ERR_BUSY) {
        return; /* every agent's after a start of the server, or one that is told to wait */
    }
    HF_LOCKED(&app->works_mutex);
    for (size_t i = 0; i < HF_SERVER_FAILED_CALLS_MAX && at == NULL; i++) {
        struct hf_server_failed_calls *one = &app->failed_calls[i];
        at = hf_id_equal(&one->agent, agent) ? one : NULL;
        least = one->count < least->count ? one : least;
    }
    if (code == HF_ERR_OK) {
        if (at != NULL) {
            *at = (struct hf_server_failed_calls){.count = 0};
        }
        return;
    }
    if (at == NULL) {
        at = least;
        *at = (struct hf_server_failed_calls){.agent = *agent};
    }
    at->count++;
    (void)snprintf(at->error, sizeof at->error, "%.*s", (int)sizeof at->error - 1, message);
}

static enum hf_err judge_agents(struct pass *pass, const struct jobs *all, struct hf_error *err)
{
    const struct hf_catalog_query query = {.limit = LIST_MAX};
    HF_CLEANUP(hf_keep_agents_fini) struct hf_keep_agents agents = {0};
    HF_CLEANUP(hf_free) bool *needed = NULL;

    if (hf_keep_agent_find(pass->app->catalog, &query, &agents, err) != HF_ERR_OK) {
        return err->code;
    }
    qsort(agents.items, agents.count, sizeof *agents.items, by_id);
    needed = hf_alloc_zero(agents.count + 1);
    if (needed == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (mark_needed(all, &agents, needed, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < agents.count; i++) {
        const struct hf_agent_record *agent = &agents.items[i];
        const struct hf_id_text id = hf_id_text(&agent->id);
        struct hf_alert_findings findings;
        if (!needed[i]) {
            continue;
        }
        struct hf_server_failed_calls failed;
        failed_calls_of(pass->app, &agent->id, &failed);
        const struct hf_alert_agent facts = {.agent = agent,
                                             .silent_s = hf_flow_agent_silent_s(pass->app, agent),
                                             .release = HF_VERSION,
                                             .failed_calls = failed.count,
                                             .call_error = failed.error};
        hf_alert_judge_agent(&facts, &pass->settings.limits, &findings);
        if (follow_all(pass, &findings,
                       &(struct about){.target = id.text, .agent = agent, .host = agent->host},
                       err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* One with a capacity is as full as that says, where its disk is not fuller. */
static enum hf_err judge_store(struct pass *pass, const struct hf_store_view *store,
                               struct hf_error *err)
{
    struct hf_alert_space facts = {.url = store->record.url,
                                   .free_bytes = store->free_bytes,
                                   .total_bytes = store->total_bytes};
    const char *target = hf_stores_word(&store->record);
    uint64_t most = store->record.max_capacity_bytes;
    struct hf_alert_findings findings;

    if (most != 0 && !store->record.oplog && store->store != NULL) {
        uint64_t left = most > store->used_bytes ? most - store->used_bytes : 0;
        if (facts.total_bytes == 0 || left < facts.free_bytes) {
            facts.free_bytes = left;
            facts.total_bytes = most;
        }
    }
    hf_alert_judge_store(&facts, &pass->settings.limits, &findings);
    return follow_all(pass, &findings, &(struct about){.target = target}, err);
}

static enum hf_err judge_disks(struct pass *pass, struct hf_error *err)
{
    struct hf_server_app *app = pass->app;
    HF_CLEANUP(hf_store_views_fini) struct hf_store_views views = {.items = NULL};
    struct hf_alert_space facts = {.url = app->alerts.data_dir};
    struct hf_alert_findings findings;
    struct hf_error ignored;

    if (hf_stores_view(app, true, &views, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < views.count; i++) {
        if (judge_store(pass, &views.items[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (facts.url == NULL ||
        hf_fs_space(facts.url, &facts.free_bytes, &facts.total_bytes, &ignored) != HF_ERR_OK) {
        return HF_ERR_OK;
    }
    hf_alert_judge_catalog(&facts, &pass->settings.limits, &findings);
    return follow_all(pass, &findings, &(struct about){.target = "catalog"}, err);
}

/* ---- Servers ---- */

static void server_id(const char *host, char out[17])
{
    (void)snprintf(out, 17, "%016" PRIx64, hf_xxh3(hf_bytes_of(host, strlen(host))));
}

/* Writes down that this server works, or that it ended. */
static enum hf_err ping(struct hf_server_app *app, bool ended, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    char id[17];

    server_id(app->alerts.host, id);
    hf_json_set_text(json, "host", app->alerts.host);
    hf_json_set_text(json, "release", HF_VERSION);
    hf_json_set_u64(json, "seenS", hf_flow_now_s());
    hf_json_set_bool(json, "ended", ended);
    enum hf_err code = hf_catalog_get(app->catalog, HF_KIND_SERVER, id, &document, err);
    if (code == HF_ERR_NOT_FOUND) {
        return lost_is_fine(
            hf_catalog_insert(app->catalog, HF_KIND_SERVER, id, json, HF_CATALOG_SYNCED, err));
    }
    return code != HF_ERR_OK ? code
                             : lost_is_fine(hf_catalog_replace(
                                   app->catalog, HF_KIND_SERVER, id, document.revision, json,
                                   ended ? HF_CATALOG_SYNCED : HF_CATALOG_UNSYNCED, err));
}

/* The other servers of this catalog, by their beats as this one saw them: whose clocks are apart alarm nobody. */
static enum hf_err judge_fleet(struct pass *pass, struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_fleet_list *all = hf_alloc_zero(sizeof *all);

    if (all == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    hf_fleet_list(pass->app, all);
    for (size_t i = 0; i < all->count; i++) {
        const struct hf_server_record *one = &all->items[i].record;
        struct hf_alert_findings findings;

        hf_alert_judge_server(one->name, all->items[i].silent_s, one->ended, &pass->settings.limits,
                              &findings);
        if (follow_all(pass, &findings,
                       &(struct about){.target = hf_id_text(&one->id).text, .host = one->name},
                       err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* As the last pings say; this one's ping comes afterwards, so that a server that was down tells so when it is back. */
static enum hf_err judge_servers(struct pass *pass, struct hf_error *err)
{
    const struct hf_catalog_query query = {.kind = HF_KIND_SERVER, .limit = LIST_MAX};
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list servers = {.documents = NULL};

    if (hf_catalog_find(pass->app->catalog, &query, &servers, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < servers.count; i++) {
        const struct hf_json *json = servers.documents[i].json;
        const char *host = hf_json_get_text(json, "host");
        uint64_t seen_s = hf_json_get_u64(json, "seenS", 0);
        struct hf_alert_findings findings;

        host = host == NULL ? "?" : host;
        hf_alert_judge_server(host, seen_s < pass->now_s ? pass->now_s - seen_s : 0,
                              hf_json_get_bool(json, "ended", false), &pass->settings.limits,
                              &findings);
        if (follow_all(pass, &findings,
                       &(struct about){.target = servers.documents[i].id, .host = host},
                       err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return judge_fleet(pass, err);
}

void hf_alerts_leave(struct hf_server_app *app)
{
    struct hf_error ignored; /* then the next start tells of it: no harm */

    (void)!ping(app, true, &ignored);
}

/* ---- Periodic work ---- */

static const char *const work_names[HF_SERVER_WORKS] = {"resume", "tail",   "schedule", "jobs",
                                                        "upkeep", "alerts", "mails",    "posts"};

void hf_alerts_note_work(struct hf_server_app *app, enum hf_server_work work, enum hf_err code,
                         const char *message)
{
    struct hf_server_work_state *state = &app->works[work];

    if (code == HF_ERR_CANCELLED) {
        return;
    }
    HF_LOCKED(&app->works_mutex);
    state->failures = code == HF_ERR_OK ? 0 : state->failures + 1;
    (void)snprintf(state->error, sizeof state->error, "%s", code == HF_ERR_OK ? "" : message);
}

static enum hf_err judge_works(struct pass *pass, struct hf_error *err)
{
    for (size_t i = 0; i < HF_SERVER_WORKS; i++) {
        struct hf_server_work_state state;
        struct hf_alert_findings findings;
        {
            HF_LOCKED(&pass->app->works_mutex);
            state = pass->app->works[i];
        }
        hf_alert_judge_work(work_names[i], state.failures, state.error, &pass->settings.limits,
                            &findings);
        if (follow_all(pass, &findings, &(struct about){.target = work_names[i]}, err) !=
            HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* ---- Receivers ---- */

/* Those who are told of anything now, and those for whom something waits still. */
static enum hf_err judge_receivers(struct pass *pass, struct hf_error *err)
{
    HF_CLEANUP(hf_notify_receivers_fini) struct hf_notify_receivers receivers = {.items = NULL};

    if (hf_notify_receivers(pass->app, &pass->settings, &receivers, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < receivers.count; i++) {
        const struct hf_notify_receiver *one = &receivers.items[i];
        const struct hf_alert_receiver facts = {.name = one->name,
                                                .failures = one->failures,
                                                .error = one->error,
                                                .has_template = one->has_template,
                                                .unrendered = one->unrendered};
        struct hf_alert_findings findings;
        hf_alert_judge_receiver(&facts, &pass->settings.limits, &findings);
        if (follow_all(pass, &findings, &(struct about){.target = one->target, .host = one->name},
                       err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* ---- All of it ---- */

static enum hf_err look(struct pass *pass, struct hf_error *err)
{
    HF_CLEANUP(jobs_fini) struct jobs all = {.jobs = {.items = NULL}};

    if (load_jobs(pass->app, &all, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < all.jobs.count; i++) {
        if (judge_job(pass, &all, &all.jobs.items[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (judge_agents(pass, &all, err) != HF_ERR_OK || judge_disks(pass, err) != HF_ERR_OK ||
        judge_servers(pass, err) != HF_ERR_OK || judge_works(pass, err) != HF_ERR_OK ||
        judge_receivers(pass, err) != HF_ERR_OK) {
        return err->code;
    }
    return end_others(pass, err);
}

static enum hf_err begin_pass(struct pass *pass, struct hf_error *err)
{
    const struct hf_catalog_query query = {.limit = LIST_MAX};
    struct hf_server_app *app = pass->app;

    if (hf_alert_settings_load(app, &pass->settings, err) != HF_ERR_OK ||
        hf_keep_alert_find(app->catalog, &query, &pass->alerts, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < pass->alerts.count; i++) {
        if (pass->alerts.items[i].owed[0] != '\0' &&
            settle(app, &pass->alerts.items[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    qsort(pass->alerts.items, pass->alerts.count, sizeof *pass->alerts.items, by_target);
    pass->seen = hf_alloc_zero(pass->alerts.count + 1);
    return pass->seen == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory") : HF_ERR_OK;
}

enum hf_err hf_alerts_pass(struct hf_server_app *app, struct hf_error *err)
{
    struct pass pass = {.app = app, .now_s = hf_flow_now_s()};

    enum hf_err code = begin_pass(&pass, err);
    code = code == HF_ERR_OK ? look(&pass, err) : code;
    hf_free(pass.seen);
    hf_keep_alerts_fini(&pass.alerts);
    hf_alert_settings_fini(&pass.settings);
    return code != HF_ERR_OK ? hf_wrap(err, "alerts") : ping(app, false, err);
}

enum hf_err hf_alerts_acknowledge(struct hf_server_app *app, const struct hf_id *id,
                                  const struct hf_alerts_acknowledgement *wish,
                                  struct hf_alert_record *out, struct hf_error *err)
{
    for (unsigned tries = 0; tries < TRIES; tries++) {
        uint64_t revision = 0;

        if (hf_keep_alert_get(app->catalog, id, out, &revision, err) != HF_ERR_OK ||
            hf_alert_acknowledge(out, wish->who, wish->until_s, wish->comment, hf_flow_now_s(),
                                 err) != HF_ERR_OK) {
            return err->code;
        }
        enum hf_err code = hf_keep_alert_replace(app->catalog, out, &revision, err);
        if (code != HF_ERR_CONFLICT) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "alert %s changes too often; hint: try again",
                   hf_id_text(id).text);
}
