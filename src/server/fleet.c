/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One look, every beat: own record (name still ours? switches, drain) with its beat raised -> the others' beats -> leases ->
 * jobs that lost their server. Each step is a compare-and-set; one that fails is found again by the next look.
 */
#include "server/fleet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "os/clock.h"
#include "os/fs.h"
#include "os/process.h"
#include "server/events.h"
#include "server/flow.h"
#include "server/keep.h"
#include "server/stores.h"
#include "server/wakes.h"

#define CAS_TRIES 16
#define JOBS_MAX 100000
#define TICK_MS 100
#define BEAT_MAX_MS 2000
#define BEATS_A_SILENCE 10
#define LOCK_TRIES 20
#define LOCK_PAUSE_MS 100

struct hf_fleet {
    struct hf_server_app *app; /* borrowed */
    char *data_dir;            /* owned */
    struct hf_id id;           /* of our name */
    uint64_t silence_s;
    bool (*busy)(void *context);
    void *context;
    char url[512];                  /* where we serve; empty: not yet */
    struct hf_lock_file *name_lock; /* owned: nobody else may have the name */
    struct hf_thread *thread;
    struct hf_cancel stop; /* of the thread */
    struct hf_wakes wakes;
    struct hf_mutex mutex; /* guards: all below */
    struct hf_fleet_list seen;
    struct hf_server_record own;
    uint64_t looked_ms; /* monotonic; when the last look began that came to its end; 0: none did */
    bool leads[HF_FLEET_WORKS];
    bool lost;
};

static enum hf_err lock_path(const char *data_dir, const struct hf_id *server, char **out,
                             struct hf_error *err)
{
    *out = hf_asprintf("%s/server-%s.lock", data_dir, hf_id_text(server).text);
    return *out == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory") : HF_ERR_OK;
}

/* ---- Our own record ---- */

static void fill_own(const struct hf_fleet *fleet, const struct hf_fleet_options *options,
                     struct hf_server_record *record)
{
    struct hf_server_app *app = fleet->app;

    record->id = fleet->id;
    record->process = app->process;
    record->pid = hf_process_id();
    record->started_s = record->seen_s = hf_flow_now_s();
    record->ended = false;
    record->drained_s = 0;
    record->beat++;
    (void)snprintf(record->name, sizeof record->name, "%s", options->name);
    (void)snprintf(record->host, sizeof record->host, "%s", app->alerts.host);
    (void)snprintf(record->release, sizeof record->release, "%s", HF_VERSION);
    record->url[0] = '\0';
}

/* The name's lock is held: whoever had the record before is dead. */
static enum hf_err announce(struct hf_fleet *fleet, const struct hf_fleet_options *options,
                            struct hf_error *err)
{
    struct hf_catalog *catalog = fleet->app->catalog;

    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        struct hf_server_record record = {.created_s = hf_flow_now_s()};
        uint64_t revision = 0;

        enum hf_err code = hf_keep_server_get(catalog, &fleet->id, &record, &revision, err);
        if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND) {
            return code;
        }
        bool fresh = code == HF_ERR_NOT_FOUND;
        if (fresh) {
            record = (struct hf_server_record){.created_s = hf_flow_now_s()};
        }
        fill_own(fleet, options, &record);
        code = fresh ? hf_keep_server_insert(catalog, &record, err)
                     : hf_keep_server_replace(catalog, &record, &revision, err);
        if (code == HF_ERR_OK) {
            fleet->own = record;
            return HF_ERR_OK;
        }
        if (code != HF_ERR_CONFLICT && code != HF_ERR_EXISTS) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "the record of server %s changes too often", options->name);
}

/* CONFLICT when the record is another process's by now, or gone. */
static enum hf_err raise_beat(struct hf_fleet *fleet, bool ended, bool drained,
                              struct hf_error *err)
{
    struct hf_catalog *catalog = fleet->app->catalog;

    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        struct hf_server_record record;
        uint64_t revision = 0;

        enum hf_err code = hf_keep_server_get(catalog, &fleet->id, &record, &revision, err);
        if (code == HF_ERR_NOT_FOUND ||
            (code == HF_ERR_OK && !hf_id_equal(&record.process, &fleet->app->process))) {
            HF_LOCKED(&fleet->mutex);
            fleet->lost = true;
            return hf_fail(err, HF_ERR_CONFLICT,
                           "server %s: its place in the catalog was taken or removed while this "
                           "process was silent; hint: start it again",
                           fleet->own.name);
        }
        if (code != HF_ERR_OK) {
            return code;
        }
        record.beat++;
        record.seen_s = hf_flow_now_s();
        record.ended = ended;
        (void)snprintf(record.url, sizeof record.url, "%s", fleet->url);
        record.drained_s = !drained ? 0 : record.drained_s == 0 ? record.seen_s : record.drained_s;
        HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_server_record_encode(&record);
        if (json == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        }
        code = hf_catalog_replace(catalog, HF_KIND_FLEET, hf_id_text(&fleet->id).text, revision,
                                  json, ended ? HF_CATALOG_SYNCED : HF_CATALOG_UNSYNCED, err);
        if (code == HF_ERR_OK) {
            HF_LOCKED(&fleet->mutex);
            fleet->own = record;
            return HF_ERR_OK;
        }
        if (code != HF_ERR_CONFLICT && code != HF_ERR_NOT_FOUND) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "the record of server %s changes too often", fleet->own.name);
}

/* ---- The others ---- */

static enum hf_err count_jobs(struct hf_server_app *app, const struct hf_id *server,
                              uint64_t *count, struct hf_error *err)
{
    const struct hf_id_text id = hf_id_text(server);
    const struct hf_catalog_query query = {
        .kind = HF_KIND_JOB, .index = "serverId", .equals_text = id.text};

    return hf_catalog_count(app->catalog, &query, count, err);
}

static void tell_change(struct hf_fleet *fleet, const struct hf_fleet_member *before,
                        const struct hf_fleet_member *now)
{
    if (before == NULL || hf_id_equal(&now->record.id, &fleet->id)) {
        return;
    }
    if (now->gone && !before->gone && !now->record.ended) {
        hf_log_warn(fleet->app->log, "server.other.silent", HF_STR("server", now->record.name),
                    HF_STR("host", now->record.host), HF_U64("silent_s", now->silent_s));
    }
    if (!now->gone && before->gone) {
        hf_log_info(fleet->app->log, "server.other.back", HF_STR("server", now->record.name),
                    HF_STR("host", now->record.host));
    }
}

static enum hf_err look_at_all(struct hf_fleet *fleet, struct hf_fleet_list *out,
                               struct hf_error *err)
{
    struct hf_server_app *app = fleet->app;
    const struct hf_catalog_query query = {.limit = HF_FLEET_MAX};
    HF_CLEANUP(hf_keep_servers_fini) struct hf_keep_servers servers = {0};

    out->count = 0;
    if (hf_keep_server_find(app->catalog, &query, &servers, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < servers.count; i++) {
        struct hf_fleet_member *member = &out->items[out->count++];
        *member = (struct hf_fleet_member){.record = servers.items[i]};
        if (count_jobs(app, &member->record.id, &member->jobs, err) != HF_ERR_OK) {
            return err->code;
        }
        member->silent_s = hf_server_heard_silent_s(app->heard, HF_HEARD_SERVER, &member->record.id,
                                                    member->record.beat, 0);
        if (hf_id_equal(&member->record.id, &fleet->id)) {
            member->silent_s = 0;
        }
        member->gone = member->silent_s > fleet->silence_s;
        member->alive = !member->gone && !member->record.ended;
        tell_change(fleet, hf_fleet_find(&fleet->seen, &member->record.id), member);
    }
    return HF_ERR_OK;
}

const struct hf_fleet_member *hf_fleet_find(const struct hf_fleet_list *list,
                                            const struct hf_id *server)
{
    for (size_t i = 0; i < list->count; i++) {
        if (hf_id_equal(&list->items[i].record.id, server)) {
            return &list->items[i];
        }
    }
    return NULL;
}

/* ---- Leases ---- */

static bool is_held(const struct hf_fleet_list *all, const struct hf_lease_record *lease)
{
    const struct hf_fleet_member *holder = hf_fleet_find(all, &lease->server);

    return holder != NULL && holder->alive && !holder->record.draining &&
           hf_id_equal(&holder->record.process, &lease->process);
}

static bool any_undrained(const struct hf_fleet_list *all)
{
    for (size_t i = 0; i < all->count; i++) {
        if (all->items[i].alive && !all->items[i].record.draining) {
            return true;
        }
    }
    return false;
}

/* *leads: it is ours, or has become so. */
static enum hf_err look_at_lease(struct hf_fleet *fleet, const struct hf_fleet_list *all,
                                 enum hf_fleet_work work, bool *leads, struct hf_error *err)
{
    struct hf_server_app *app = fleet->app;
    const struct hf_id id = hf_fleet_lease_id(work);
    struct hf_lease_record lease;
    uint64_t revision = 0;

    *leads = false;
    enum hf_err code = hf_keep_lease_get(app->catalog, &id, &lease, &revision, err);
    bool fresh = code == HF_ERR_NOT_FOUND;
    if (code != HF_ERR_OK && !fresh) {
        return code;
    }
    if (fresh) {
        lease = (struct hf_lease_record){.id = id};
        (void)snprintf(lease.work, sizeof lease.work, "%s", hf_fleet_work_word(work));
    } else if (is_held(all, &lease)) {
        *leads = hf_id_equal(&lease.process, &app->process);
        return HF_ERR_OK;
    }
    if (fleet->own.draining) {
        /* Rather a drained server than none. */
        bool ours = !fresh && hf_id_equal(&lease.process, &app->process);
        if (any_undrained(all) || ours) {
            *leads = ours && !any_undrained(all);
            return HF_ERR_OK;
        }
    }
    lease.server = fleet->id;
    lease.process = app->process;
    lease.term++;
    lease.taken_s = hf_flow_now_s();
    code = fresh ? hf_keep_lease_insert(app->catalog, &lease, err)
                 : hf_keep_lease_replace(app->catalog, &lease, &revision, err);
    *leads = code == HF_ERR_OK;
    if (*leads) {
        hf_log_debug(app->log, "server.leads", HF_STR("work", lease.work),
                     HF_U64("term", lease.term));
    }
    return code == HF_ERR_EXISTS || code == HF_ERR_CONFLICT ? HF_ERR_OK : code;
}

/* ---- Jobs without a living server ---- */

/* Our place among those that take jobs; false: we take none. */
static bool rank_of(const struct hf_fleet *fleet, const struct hf_fleet_list *all, size_t *rank,
                    size_t *takers)
{
    bool we = false;

    *rank = *takers = 0;
    for (size_t i = 0; i < all->count; i++) {
        if (hf_fleet_member_takes(&all->items[i], false)) {
            bool own = hf_id_equal(&all->items[i].record.id, &fleet->id);
            *rank = own ? *takers : *rank;
            we = we || own;
            *takers += 1;
        }
    }
    return we;
}

/* Whoever had it has it still: now we do. *taken: by us. */
static enum hf_err take_job(struct hf_fleet *fleet, const struct hf_job_record *seen, bool *taken,
                            struct hf_error *err)
{
    struct hf_server_app *app = fleet->app;
    struct hf_job_record job;
    uint64_t revision = 0;

    *taken = false;
    enum hf_err code = hf_keep_job_get(app->catalog, &seen->id, &job, &revision, err);
    if (code == HF_ERR_OK && hf_id_equal(&job.server, &seen->server)) {
        job.server = fleet->id;
        job.server_term++;
        code = HF_FAULT("server.fleet.take", err);
        if (code == HF_ERR_OK) {
            code = hf_keep_job_replace(app->catalog, &job, &revision, err);
            *taken = code == HF_ERR_OK;
        }
    }
    return code == HF_ERR_CONFLICT || code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
}

/* Of the jobs that lost their server, what falls to us this time. */
static enum hf_err take_share(struct hf_fleet *fleet, const struct hf_fleet_list *all,
                              const struct hf_keep_jobs *jobs, size_t *taken, struct hf_error *err)
{
    size_t rank = 0, takers = 0;

    *taken = 0;
    if (!rank_of(fleet, all, &rank, &takers)) {
        return HF_ERR_OK;
    }
    const struct hf_fleet_share share = hf_fleet_share(jobs->count, rank, takers);
    for (size_t i = 0; i < share.count && !hf_cancel_requested(&fleet->stop); i++) {
        bool ours = false;
        if (take_job(fleet, &jobs->items[(share.first + i) % jobs->count], &ours, err) !=
            HF_ERR_OK) {
            return err->code;
        }
        *taken += ours;
    }
    return HF_ERR_OK;
}

static void tell_taken(struct hf_fleet *fleet, const struct hf_fleet_member *from, size_t taken)
{
    char text[HF_RECORD_ERROR_BYTES];
    struct hf_error ignored; /* it is logged, and the jobs show it */

    hf_log_info(fleet->app->log, "server.jobs.taken", HF_STR("from", from->record.name),
                HF_U64("jobs", taken), HF_U64("silent_s", from->silent_s));
    (void)snprintf(text, sizeof text, "server %s has taken over %zu jobs of server %s, which %s",
                   fleet->own.name, taken, from->record.name,
                   from->record.draining && !from->gone ? "is drained"
                   : from->record.ended                 ? "has ended"
                                                        : "is silent");
    (void)!hf_event_tell(
        fleet->app, &(struct hf_event_wish){.type = HF_EVENT_JOBS_TAKEN, .text = text}, &ignored);
}

static enum hf_err take_from(struct hf_fleet *fleet, const struct hf_fleet_list *all,
                             const struct hf_fleet_member *from, struct hf_error *err)
{
    const struct hf_id_text id = hf_id_text(&from->record.id);
    const struct hf_catalog_query query = {
        .index = "serverId", .equals_text = id.text, .limit = JOBS_MAX};
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};
    size_t taken = 0;

    if (hf_keep_job_find(fleet->app->catalog, &query, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = take_share(fleet, all, &jobs, &taken, err);
    if (taken > 0) {
        tell_taken(fleet, from, taken);
    }
    return code;
}

/* Those of a catalog of before have no server, and one that was removed may have been given a job just then. */
static enum hf_err take_unbound(struct hf_fleet *fleet, const struct hf_fleet_list *all,
                                struct hf_error *err)
{
    const struct hf_catalog_query query = {.kind = HF_KIND_JOB, .limit = JOBS_MAX};
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};
    uint64_t job_count = 0, bound_count = 0;
    size_t count = 0, taken = 0;

    if (hf_catalog_count(fleet->app->catalog, &query, &job_count, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < all->count; i++) {
        bound_count += all->items[i].jobs;
    }
    if (job_count <= bound_count) {
        return HF_ERR_OK;
    }
    if (hf_keep_job_find(fleet->app->catalog, &query, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < jobs.count; i++) {
        if (hf_fleet_find(all, &jobs.items[i].server) == NULL) {
            jobs.items[count++] = jobs.items[i];
        }
    }
    jobs.count = count;
    enum hf_err code = take_share(fleet, all, &jobs, &taken, err);
    if (taken > 0) {
        hf_log_info(fleet->app->log, "server.jobs.taken", HF_STR("from", "none"),
                    HF_U64("jobs", taken));
    }
    return code;
}

static enum hf_err take_orphans(struct hf_fleet *fleet, const struct hf_fleet_list *all,
                                struct hf_error *err)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct hf_fleet_member *one = &all->items[i];
        if (one->jobs > 0 && hf_fleet_member_loses(one) &&
            !hf_id_equal(&one->record.id, &fleet->id) &&
            take_from(fleet, all, one, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return take_unbound(fleet, all, err);
}

/* ---- One look ---- */

/* Nothing is bound to us any more, and nothing is under way. */
static bool is_drained(struct hf_fleet *fleet)
{
    const struct hf_fleet_member *own = hf_fleet_find(&fleet->seen, &fleet->id);

    return fleet->own.draining && own != NULL && own->jobs == 0 &&
           (fleet->busy == NULL || !fleet->busy(fleet->context));
}

static enum hf_err look(struct hf_fleet *fleet, struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_fleet_list *all = hf_alloc_zero(sizeof *all);
    bool leads[HF_FLEET_WORKS] = {false};
    uint64_t began_ms = hf_clock_mono_ms();
    bool was_drained = fleet->own.drained_s != 0, drained = is_drained(fleet);

    if (all == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (raise_beat(fleet, false, drained, err) != HF_ERR_OK ||
        look_at_all(fleet, all, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < HF_FLEET_WORKS; i++) {
        if (look_at_lease(fleet, all, (enum hf_fleet_work)i, &leads[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    {
        HF_LOCKED(&fleet->mutex);
        fleet->seen = *all;
        memcpy(fleet->leads, leads, sizeof leads);
        fleet->looked_ms = began_ms == 0 ? 1 : began_ms;
    }
    if (drained && !was_drained) {
        hf_log_info(fleet->app->log, "server.drained", HF_STR("server", fleet->own.name));
    }
    return take_orphans(fleet, all, err);
}

static void run(void *argument)
{
    struct hf_fleet *fleet = argument;
    uint64_t every_ms = fleet->silence_s * 1000 / BEATS_A_SILENCE, looked_ms = hf_clock_mono_ms();
    bool failed = false;

    every_ms = every_ms < BEAT_MAX_MS ? every_ms : BEAT_MAX_MS;
    while (!hf_cancel_requested(&fleet->stop)) {
        struct hf_error err;

        hf_cancel_sleep(&fleet->stop, TICK_MS);
        if (fleet->seen.count > 1) {
            hf_wakes_exchange(&fleet->wakes, fleet->app, &fleet->id);
        }
        if (hf_cancel_requested(&fleet->stop) || hf_clock_mono_ms() - looked_ms < every_ms) {
            continue;
        }
        looked_ms = hf_clock_mono_ms();
        bool fails = look(fleet, &err) != HF_ERR_OK;
        if (fails && !failed) {
            hf_log_warn(fleet->app->log, "server.look.failed", HF_STR("error", err.message));
        }
        failed = fails;
    }
}

/* ---- Beginning and end ---- */

static enum hf_err take_name(struct hf_fleet *fleet, const char *name, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = NULL;

    if (lock_path(fleet->data_dir, &fleet->id, &path, err) != HF_ERR_OK) {
        return err->code;
    }
    /* Another one's start may be looking who lives. */
    for (unsigned tries = 0;; tries++) {
        enum hf_err code = hf_lock_file_take(path, &fleet->name_lock, err);
        if (code != HF_ERR_CONFLICT) {
            return code;
        }
        if (tries == LOCK_TRIES) {
            return hf_wrap(err,
                           "a server named %s runs already; hint: each server process has a "
                           "--name of its own",
                           name);
        }
        hf_cancel_sleep(fleet->app->cancel, LOCK_PAUSE_MS);
    }
}

enum hf_err hf_fleet_join(struct hf_server_app *app, const struct hf_fleet_options *options,
                          struct hf_error *err)
{
    HF_CLEANUP(hf_fleet_destroy) struct hf_fleet *fleet = NULL;

    if (hf_server_name_check(options->name, err) != HF_ERR_OK) {
        return err->code;
    }
    fleet = hf_alloc_zero(sizeof *fleet);
    if (fleet == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    fleet->app = app;
    fleet->id = hf_fleet_server_id(options->name);
    fleet->silence_s = options->silence_s == 0 ? HF_FLEET_SILENCE_S : options->silence_s;
    fleet->busy = options->busy;
    fleet->context = options->context;
    hf_cancel_init(&fleet->stop);
    hf_mutex_init(&fleet->mutex);
    hf_wakes_init(&fleet->wakes);
    fleet->data_dir = hf_strdup(options->data_dir);
    if (fleet->data_dir == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (take_name(fleet, options->name, err) != HF_ERR_OK ||
        announce(fleet, options, err) != HF_ERR_OK || look(fleet, err) != HF_ERR_OK) {
        return hf_wrap(err, "join the servers of this catalog");
    }
    app->fleet = HF_TAKE(fleet);
    return HF_ERR_OK;
}

enum hf_err hf_fleet_start(struct hf_server_app *app, const char *url, struct hf_error *err)
{
    struct hf_fleet *fleet = app->fleet;

    (void)snprintf(fleet->url, sizeof fleet->url, "%s", url);
    if (raise_beat(fleet, false, false, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_thread_start("hf-fleet", run, fleet, &fleet->thread, err);
}

void hf_fleet_leave(struct hf_server_app *app)
{
    struct hf_fleet *fleet = app->fleet;
    struct hf_error ignored; /* then it counts as dead after a while */

    if (fleet == NULL || fleet->thread == NULL) {
        return;
    }
    hf_cancel_request(&fleet->stop);
    hf_thread_join(fleet->thread);
    fleet->thread = NULL;
    (void)!raise_beat(fleet, true, false, &ignored);
}

void hf_fleet_destroy(struct hf_fleet *fleet)
{
    if (fleet == NULL) {
        return;
    }
    HF_ASSERT(fleet->thread == NULL);
    hf_mutex_fini(&fleet->mutex);
    hf_wakes_fini(&fleet->wakes);
    hf_lock_file_drop(fleet->name_lock);
    hf_free(fleet->data_dir);
    hf_free(fleet);
}

/* ---- What others ask ---- */

void hf_fleet_wake(struct hf_server_app *app, const struct hf_id *agent)
{
    if (app->fleet != NULL) {
        hf_wakes_call(&app->fleet->wakes, agent);
    }
}

bool hf_fleet_is_lost(struct hf_server_app *app)
{
    if (app->fleet == NULL) {
        return false;
    }
    HF_LOCKED(&app->fleet->mutex);
    return app->fleet->lost;
}

bool hf_fleet_has_others(struct hf_server_app *app)
{
    struct hf_fleet *fleet = app->fleet;

    for (size_t i = 0; fleet != NULL && i < fleet->seen.count; i++) {
        const struct hf_server_record *one = &fleet->seen.items[i].record;
        HF_CLEANUP(hf_lock_file_drop) struct hf_lock_file *lock = NULL;
        HF_CLEANUP(hf_free) char *path = NULL;
        struct hf_error err;

        if (hf_id_equal(&one->id, &fleet->id) || one->ended ||
            lock_path(fleet->data_dir, &one->id, &path, &err) != HF_ERR_OK) {
            continue;
        }
        if (hf_lock_file_borrow(path, &lock, &err) == HF_ERR_CONFLICT) {
            return true;
        }
    }
    return false;
}

/* The mutex is held. A look that began so long ago that others may have taken over what was ours then is no look. */
static bool is_awake(const struct hf_fleet *fleet)
{
    return !fleet->lost && fleet->looked_ms != 0 &&
           hf_clock_mono_ms() - fleet->looked_ms < fleet->silence_s * 1000 / 3 * 2;
}

bool hf_fleet_own_jobs(struct hf_server_app *app, struct hf_catalog_query *query,
                       struct hf_id_text *text)
{
    struct hf_fleet *fleet = app->fleet;

    if (fleet == NULL) {
        return true;
    }
    HF_LOCKED(&fleet->mutex);
    *text = hf_id_text(&fleet->id);
    query->index = "serverId";
    query->equals_text = text->text;
    return is_awake(fleet);
}

enum hf_err hf_fleet_jobs(struct hf_server_app *app, struct hf_keep_jobs *out, struct hf_error *err)
{
    struct hf_catalog_query query = {.limit = JOBS_MAX};
    struct hf_id_text text;

    *out = (struct hf_keep_jobs){.items = NULL};
    return hf_fleet_own_jobs(app, &query, &text) ? hf_keep_job_find(app->catalog, &query, out, err)
                                                 : HF_ERR_OK;
}

bool hf_fleet_is_own(struct hf_server_app *app, const struct hf_job_record *job)
{
    if (app->fleet == NULL) {
        return true;
    }
    HF_LOCKED(&app->fleet->mutex);
    return is_awake(app->fleet) && hf_id_equal(&job->server, &app->fleet->id);
}

bool hf_fleet_owns(struct hf_server_app *app, const struct hf_id *job)
{
    struct hf_job_record record;
    struct hf_error ignored;

    if (app->fleet == NULL) {
        return true;
    }
    enum hf_err code = hf_keep_job_get(app->catalog, job, &record, NULL, &ignored);
    return code == HF_ERR_OK ? hf_fleet_is_own(app, &record)
                             : code == HF_ERR_NOT_FOUND && hf_fleet_leads(app, HF_FLEET_RESTORES);
}

static int by_id(const void *a, const void *b)
{
    return memcmp(a, b, HF_ID_BYTES);
}

bool hf_fleet_has(const struct hf_keep_jobs *jobs, const struct hf_id *job)
{
    return jobs->count != 0 &&
           bsearch(job, jobs->items, jobs->count, sizeof *jobs->items, by_id) != NULL;
}

bool hf_fleet_keeps(struct hf_server_app *app, const struct hf_id *job)
{
    struct hf_job_record record;
    struct hf_error ignored;

    return app->fleet == NULL ||
           hf_keep_job_get(app->catalog, job, &record, NULL, &ignored) != HF_ERR_OK ||
           hf_id_equal(&record.server, &app->fleet->id);
}

bool hf_fleet_leads(struct hf_server_app *app, enum hf_fleet_work work)
{
    if (app->fleet == NULL) {
        return true;
    }
    HF_LOCKED(&app->fleet->mutex);
    return is_awake(app->fleet) && app->fleet->leads[work];
}

bool hf_fleet_does(struct hf_server_app *app, enum hf_server_switch which)
{
    if (app->fleet == NULL) {
        return true;
    }
    HF_LOCKED(&app->fleet->mutex);
    return !app->fleet->own.draining && !app->fleet->own.off[which];
}

bool hf_fleet_is_draining(struct hf_server_app *app)
{
    if (app->fleet == NULL) {
        return false;
    }
    HF_LOCKED(&app->fleet->mutex);
    return app->fleet->own.draining;
}

bool hf_fleet_has_undrained(struct hf_server_app *app)
{
    if (app->fleet == NULL) {
        return true;
    }
    HF_LOCKED(&app->fleet->mutex);
    return any_undrained(&app->fleet->seen);
}

bool hf_fleet_process_is_gone(struct hf_server_app *app, const struct hf_id *process)
{
    if (app->fleet == NULL) {
        return false; /* not known */
    }
    HF_LOCKED(&app->fleet->mutex);
    for (size_t i = 0; i < app->fleet->seen.count; i++) {
        const struct hf_fleet_member *one = &app->fleet->seen.items[i];
        if (one->alive && hf_id_equal(&one->record.process, process)) {
            return false;
        }
    }
    return true;
}

void hf_fleet_list(struct hf_server_app *app, struct hf_fleet_list *out)
{
    out->count = 0;
    if (app->fleet != NULL) {
        HF_LOCKED(&app->fleet->mutex);
        *out = app->fleet->seen;
    }
}

/* ---- Switches ---- */

enum hf_err hf_fleet_check_take(struct hf_server_app *app, const struct hf_job_record *job,
                                bool by_itself, struct hf_error *err)
{
    const struct hf_id_text id = hf_id_text(&job->server);
    const struct hf_catalog_query query = {
        .index = "serverId", .equals_text = id.text, .limit = JOBS_MAX};
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};
    struct hf_server_record server;
    uint64_t running = 0;

    if (app->fleet == NULL || hf_id_is_none(&job->server)) {
        return HF_ERR_OK;
    }
    enum hf_err code = hf_keep_server_get(app->catalog, &job->server, &server, NULL, err);
    if (code != HF_ERR_OK) {
        return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code; /* it will be another one's */
    }
    if (server.off[HF_SERVER_BACKUP]) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "server %s begins no snapshots; hint: holdfast server set %s --backup on",
                       server.name, server.name);
    }
    if (!by_itself || server.workers == 0) {
        return HF_ERR_OK;
    }
    if (hf_keep_job_find(app->catalog, &query, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < jobs.count; i++) {
        running += !hf_id_is_none(&jobs.items[i].running);
    }
    return running < server.workers
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_BUSY, "server %s has %" PRIu64 " workers, and all are busy",
                         server.name, server.workers);
}

enum hf_err hf_fleet_check_restore(struct hf_server_app *app, struct hf_error *err)
{
    return hf_fleet_does(app, HF_SERVER_RESTORE)
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_UNAVAILABLE,
                         "this server begins no restores: it is drained, or they are switched off; "
                         "hint: ask another server, or holdfast server set NAME --restore on");
}

/* ---- A server for a new job ---- */

enum hf_err hf_fleet_assign(struct hf_server_app *app, struct hf_job_record *job,
                            struct hf_error *err)
{
    struct choice {
        struct hf_fleet_list all;
        struct hf_fleet_labels labels[HF_FLEET_MAX];
        struct hf_resource resources[HF_FLEET_MAX];
    };
    const char *labels[HF_STORE_LABELS_MAX + 1];
    const struct hf_assign_filter filter = {.labels = labels};
    const struct hf_assign_wish any = {.kind = HF_RESOURCE_SERVER},
                                wanted = {.kind = HF_RESOURCE_SERVER, .filter = &filter};
    struct hf_assignment_record project;
    size_t chosen = 0;

    if (app->fleet == NULL) {
        return HF_ERR_OK;
    }
    HF_CLEANUP(hf_free) struct choice *choice = hf_alloc_zero(sizeof *choice);
    if (choice == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    hf_fleet_list(app, &choice->all);
    for (size_t i = 0; i < choice->all.count; i++) {
        struct hf_fleet_member *one = &choice->all.items[i];
        /* Since the last look there may have been many. */
        if (count_jobs(app, &one->record.id, &one->jobs, err) != HF_ERR_OK) {
            return err->code;
        }
        hf_fleet_resource(one, &choice->labels[i], &choice->resources[i]);
    }
    if (hf_stores_assignment_get(app, &job->project, &project, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_store_words_list(&project.labels, labels);
    /* One that carries the project's labels, where there is one: they may be meant for stores alone. */
    if (hf_assign_choose(choice->resources, choice->all.count, &wanted, &chosen, err) !=
            HF_ERR_OK &&
        hf_assign_choose(choice->resources, choice->all.count, &any, &chosen, err) != HF_ERR_OK) {
        return hf_wrap(err, "the job of set %s", job->set_name);
    }
    if (!hf_id_equal(&job->server, &choice->all.items[chosen].record.id)) {
        job->server = choice->all.items[chosen].record.id;
        job->server_term++;
    }
    return HF_ERR_OK;
}

/* ---- By hand ---- */

static void apply(const struct hf_fleet_wish *wish, struct hf_server_record *record)
{
    for (size_t i = 0; i < HF_SERVER_SWITCHES; i++) {
        if (wish->change[i]) {
            record->off[i] = !wish->on[i];
        }
    }
    record->workers = wish->workers != NULL ? *wish->workers : record->workers;
    record->load_factor = wish->load_factor != NULL ? *wish->load_factor : record->load_factor;
    if (wish->labels != NULL) {
        (void)snprintf(record->labels, sizeof record->labels, "%s", wish->labels);
    }
    if (wish->drain || wish->undrain) {
        record->draining = wish->drain;
        record->drained_s = 0;
    }
}

enum hf_err hf_fleet_set(struct hf_server_app *app, const struct hf_id *server,
                         const struct hf_fleet_wish *wish, struct hf_server_record *out,
                         struct hf_error *err)
{
    if (wish->labels != NULL && strlen(wish->labels) >= sizeof out->labels) {
        return hf_fail(err, HF_ERR_INVALID, "labels are longer than %zu bytes",
                       sizeof out->labels - 1);
    }
    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        uint64_t revision = 0;
        if (hf_keep_server_get(app->catalog, server, out, &revision, err) != HF_ERR_OK) {
            return err->code;
        }
        apply(wish, out);
        enum hf_err code = hf_keep_server_replace(app->catalog, out, &revision, err);
        if (code == HF_ERR_OK) {
            hf_log_info(app->log, "server.changed", HF_STR("server", out->name),
                        HF_U64("draining", out->draining));
        }
        if (code != HF_ERR_CONFLICT) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "the record of server %s changes too often; hint: try again",
                   out->name);
}

/* Before the next look finds that it is gone. */
static void forget(struct hf_fleet *fleet, const struct hf_id *server)
{
    size_t kept = 0;

    if (fleet == NULL) {
        return;
    }
    HF_LOCKED(&fleet->mutex);
    for (size_t i = 0; i < fleet->seen.count; i++) {
        if (!hf_id_equal(&fleet->seen.items[i].record.id, server)) {
            fleet->seen.items[kept++] = fleet->seen.items[i];
        }
    }
    fleet->seen.count = kept;
}

enum hf_err hf_fleet_remove(struct hf_server_app *app, const struct hf_id *server,
                            struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_fleet_list *all = hf_alloc_zero(sizeof *all);
    struct hf_server_record record;
    uint64_t revision = 0, jobs = 0;

    if (all == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    hf_fleet_list(app, all);
    if (hf_keep_server_get(app->catalog, server, &record, &revision, err) != HF_ERR_OK ||
        count_jobs(app, server, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_fleet_member *seen = hf_fleet_find(all, server);
    if (!record.ended && (seen == NULL || !seen->gone)) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "server %s lives; hint: drain it, stop it, then remove it", record.name);
    }
    if (jobs != 0) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "server %s has %" PRIu64 " jobs still; hint: another server takes them over "
                       "once it is silent for long enough",
                       record.name, jobs);
    }
    if (hf_catalog_remove(app->catalog, HF_KIND_FLEET, hf_id_text(server).text, revision, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    forget(app->fleet, server);
    return HF_ERR_OK;
}
