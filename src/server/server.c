/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's start, its heartbeat and its end.
 *
 * Threads: HTTP event loops, the pools (api, objects, work, streams), the caller's thread as the heartbeat
 * (docs/design/threads.md).
 */
#include "server/server.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "backup/lifecycle.h"
#include "base/alloc.h"
#include "os/clock.h"
#include "os/fs.h"
#include "os/process.h"
#include "server/alert_settings.h"
#include "server/alerts.h"
#include "server/events.h"
#include "server/fleet.h"
#include "server/flow.h"
#include "server/flow_check.h"
#include "server/flow_groom.h"
#include "server/flow_merge.h"
#include "server/flow_schedule.h"
#include "server/flow_tail.h"
#include "server/notify.h"
#include "server/points.h"
#include "server/server_internal.h"
#include "server/settings.h"
#include "server/stores.h"

#define BEAT_MS 100
#define START_WAIT_MS 120000
#define RESUME_EVERY_MS 2000
#define UPKEEP_EVERY_MS ((uint64_t)60 * 1000)
#define ALERTS_EVERY_S 60
#define MERGE_EVERY_MS ((uint64_t)1800 * 1000)
/* Whether one is due; how often that is, an option says. */
#define CHECK_EVERY_MS 5000
#define LISTENED_MAX_MS 1000 /* of one beat */
#define API_THREADS 8
#define STREAM_THREADS 8
#define WORK_THREADS 2
#define QUEUE_MAX 4096
/* Captures and restores come first, where the processor is short. */
#define UPKEEP_NICE 10
/* When a request dies (store-format.md 5): an object may take that long over a slow line, as long as bytes move. */
#define REQUEST_MAX_S 900
/* Bodies in flight: each object thread holds one, and as many wait. */
#define BODIES_MAX_BYTES ((uint64_t)512 << 20)

static void server_fini(struct hf_server *server)
{
    hf_cancel_request(&server->stop); /* also where the start failed half-way */
    /* Nothing new comes in, then what is under way ends (it may still hand work to another pool, which refuses), then
     * the polls that wait are answered, then what all of them used goes. */
    hf_http_server_stop(server->http);
    hf_server_pool_stop(server->api);
    hf_server_pool_stop(server->objects);
    hf_server_pool_stop(server->streams);
    hf_server_pool_stop(server->work);
    hf_server_pool_stop(server->upkeep);
    if (server->waiting != NULL) {
        hf_server_waiting_notify(server->waiting, NULL);
    }
    hf_server_pool_destroy(server->api);
    hf_server_pool_destroy(server->objects);
    hf_server_pool_destroy(server->streams);
    hf_server_pool_destroy(server->work);
    hf_server_pool_destroy(server->upkeep);
    hf_server_waiting_destroy(server->waiting);
    hf_server_agents_destroy(server->agents);
    hf_fleet_leave(&server->app);
    hf_fleet_destroy(server->app.fleet);
    hf_server_heard_destroy(server->app.heard);
    hf_points_cache_destroy(server->app.points);
    hf_server_links_destroy(server->app.links);
    hf_server_rights_destroy(server->rights);
    hf_server_refusals_destroy(server->refusals);
    hf_server_shares_destroy(server->shares);
    hf_server_auth_destroy(server->auth);
    hf_stores_close(&server->app);
    hf_catalog_close(server->app.catalog);
    hf_mutex_fini(&server->app.ending_mutex);
    hf_mutex_fini(&server->app.works_mutex);
    hf_server_passes_fini(&server->passes);
    hf_rounds_fini(&server->rounds);
    hf_store_key_wipe(&server->app.key);
}
HF_CLEANUP_DEFINE_VALUE(server_fini, struct hf_server)

static enum hf_err make_pools(struct hf_server *server, struct hf_error *err)
{
    unsigned objects =
        server->options->workers != 0 ? server->options->workers : hf_thread_cpu_count() * 2 + 2;
    const struct hf_server_pool_options api = {
        .name = "hf-api", .threads = API_THREADS, .queue_max = QUEUE_MAX};
    const struct hf_server_pool_options object = {
        .name = "hf-object", .threads = objects, .queue_max = QUEUE_MAX};
    const struct hf_server_pool_options work = {
        .name = "hf-work", .threads = WORK_THREADS, .queue_max = QUEUE_MAX};
    const struct hf_server_pool_options upkeep = {
        .name = "hf-upkeep", .threads = HF_UPKEEP_SLOTS_MAX, .queue_max = HF_UPKEEP_SLOTS_MAX};
    const struct hf_server_pool_options stream = {
        .name = "hf-stream", .threads = STREAM_THREADS, .queue_max = 16};
    const struct hf_server_waiting_options waiting = hf_server_front_waiting(server);

    if (hf_server_pool_create(&api, &server->api, err) != HF_ERR_OK ||
        hf_server_pool_create(&object, &server->objects, err) != HF_ERR_OK ||
        hf_server_pool_create(&work, &server->work, err) != HF_ERR_OK ||
        hf_server_pool_create(&upkeep, &server->upkeep, err) != HF_ERR_OK ||
        hf_server_pool_create(&stream, &server->streams, err) != HF_ERR_OK ||
        hf_server_waiting_create(&waiting, &server->waiting, err) != HF_ERR_OK ||
        hf_server_rights_create(&server->app, &server->rights, err) != HF_ERR_OK ||
        hf_server_shares_create(&server->shares, err) != HF_ERR_OK ||
        hf_server_refusals_create(&server->app, &server->refusals, err) != HF_ERR_OK ||
        hf_server_heard_create(&server->app.heard, err) != HF_ERR_OK ||
        hf_points_cache_create(&server->app.points, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_server_agents_create(&server->app, &server->agents, err);
}

/* "host:port", "[v6]:port" or ":port". */
static enum hf_err split_address(const char *listen, char *host, size_t host_len, uint16_t *port,
                                 struct hf_error *err)
{
    const char *colon = strrchr(listen, ':');
    uint64_t number = 0;

    if (colon == NULL || !hf_parse_u64(hf_str_of(colon + 1), &number) || number > UINT16_MAX) {
        return hf_fail(err, HF_ERR_INVALID, "listen address '%s' is not host:port", listen);
    }
    struct hf_str name = {listen, (size_t)(colon - listen)};
    if (name.len >= 2 && name.data[0] == '[' && name.data[name.len - 1] == ']') {
        name = (struct hf_str){name.data + 1, name.len - 2};
    }
    (void)snprintf(host, host_len, "%.*s", HF_STR_ARG(name));
    *port = (uint16_t)number;
    return HF_ERR_OK;
}

/* Nobody but this host reaches it. A name that is not ours to judge counts as open to others. */
static bool is_loopback(const char *host)
{
    struct in_addr address;

    if (inet_pton(AF_INET, host, &address) == 1) {
        return ntohl(address.s_addr) >> 24 == 127;
    }
    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0;
}

static enum hf_err read_pem(const char *path, struct hf_buf *out, const char **text,
                            struct hf_error *err)
{
    *text = NULL;
    if (path == NULL) {
        return HF_ERR_OK;
    }
    if (hf_fs_read_whole(path, (size_t)1 << 20, out, err) != HF_ERR_OK) {
        return err->code;
    }
    *text = hf_buf_text(out);
    return *text == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory") : HF_ERR_OK;
}

static enum hf_err listen_on(struct hf_server *server, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf cert = HF_BUF_INIT(((size_t)1 << 20) + 1);
    HF_CLEANUP(hf_buf_fini) struct hf_buf key = HF_BUF_INIT(((size_t)1 << 20) + 1);
    char host[256];
    struct hf_http_server_options http = {
        .address = host,
        .handler = hf_server_front(server),
        .log = server->app.log,
        .connection_limit = 8192,
        .bodies_max_bytes = BODIES_MAX_BYTES,
        .receive_timeout_s = REQUEST_MAX_S,
        .thread_count = 2,
    };

    if ((server->options->tls_cert == NULL) != (server->options->tls_key == NULL)) {
        return hf_fail(err, HF_ERR_INVALID,
                       "a certificate and its key go together: --tls-cert and --tls-key");
    }
    if (split_address(server->options->listen, host, sizeof host, &http.port, err) != HF_ERR_OK) {
        return err->code;
    }
    if (server->options->tls_cert == NULL && !server->options->plain_http && !is_loopback(host)) {
        return hf_fail(err, HF_ERR_INVALID,
                       "listen on %s: other hosts would send keys and data over plain HTTP; hint: "
                       "give --tls-cert and --tls-key, or listen on 127.0.0.1, or say --plain-http "
                       "when a proxy in front has TLS",
                       server->options->listen);
    }
    if (read_pem(server->options->tls_cert, &cert, &http.tls_cert_pem, err) != HF_ERR_OK ||
        read_pem(server->options->tls_key, &key, &http.tls_key_pem, err) != HF_ERR_OK ||
        hf_http_server_start(&http, &server->http, err) != HF_ERR_OK) {
        return hf_wrap(err, "listen on %s", server->options->listen);
    }
    hf_wipe(key.data, key.len);
    hf_settings_url(server->app.settings, server->central_url, sizeof server->central_url);
    bool any = host[0] == '\0' || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    bool v6 = strchr(host, ':') != NULL;
    (void)snprintf(server->url, sizeof server->url, "%s://%s%s%s:%u",
                   http.tls_cert_pem != NULL ? "https" : "http", v6 && !any ? "[" : "",
                   any ? "127.0.0.1" : host, v6 && !any ? "]" : "",
                   (unsigned)hf_http_server_port(server->http));
    return HF_ERR_OK;
}

static void run_resume(void *argument)
{
    struct hf_server *server = argument;
    struct hf_error err;
    uint64_t began_ms = hf_clock_mono_ms();

    enum hf_err code = hf_flow_resume(&server->app, &err);
    hf_server_pass_note(&server->passes, HF_PASS_RESUME, began_ms);
    hf_alerts_note_work(&server->app, HF_SERVER_RESUMES, code, err.message);
    if (code != HF_ERR_OK) {
        hf_log_warn(server->app.log, "server.resume.failed", HF_STR("error", err.message));
    }
    began_ms = hf_clock_mono_ms();
    code = hf_flow_tail_tick(&server->app, &err);
    hf_server_pass_note(&server->passes, HF_PASS_TAILS, began_ms);
    hf_alerts_note_work(&server->app, HF_SERVER_TAILS, code, err.message);
    if (code != HF_ERR_OK) {
        hf_log_warn(server->app.log, "server.tail.failed", HF_STR("error", err.message));
    }
    began_ms = hf_clock_mono_ms();
    code = HF_ERR_OK;
    if (hf_fleet_leads(&server->app, HF_FLEET_SCHEDULE)) {
        code = hf_flow_schedule_tick(&server->app, &err);
    }
    hf_alerts_note_work(&server->app, HF_SERVER_SCHEDULES, code, err.message);
    if (code != HF_ERR_OK) {
        hf_log_warn(server->app.log, "server.schedule.failed", HF_STR("error", err.message));
    }
    hf_server_pass_note(&server->passes, HF_PASS_SCHEDULE, began_ms);
    atomic_store(&server->resuming, false);
}

/* One at a time. A full queue is no harm: the next beat asks again. */
static void resume(struct hf_server *server)
{
    if (!atomic_exchange(&server->resuming, true) &&
        !hf_server_pool_try(server->work, run_resume, server)) {
        atomic_store(&server->resuming, false);
    }
}

static void run_merge(void *argument)
{
    struct hf_server *server = argument;
    struct hf_error ignored; /* logged, job by job */

    (void)!hf_flow_merge_tick(&server->app, &ignored);
    atomic_store(&server->merging, false);
}

static void merge(struct hf_server *server)
{
    if (hf_fleet_does(&server->app, HF_SERVER_GROOM) && !atomic_exchange(&server->merging, true) &&
        !hf_server_pool_try(server->work, run_merge, server)) {
        atomic_store(&server->merging, false);
    }
}

static void run_upkeep(void *argument)
{
    struct hf_server *server = argument;
    struct hf_error err;

    (void)!hf_stand_back_thread(UPKEEP_NICE); /* refused: it is only less polite */
    enum hf_err code = hf_flow_upkeep_tick(&server->app, &err);
    hf_alerts_note_work(&server->app, HF_SERVER_KEEPS_STORES, code, err.message);
    if (code != HF_ERR_OK && !hf_cancel_requested(server->app.cancel)) {
        hf_log_warn(server->app.log, "server.upkeep.failed", HF_STR("error", err.message));
    }
    atomic_fetch_sub(&server->upkeeping, 1);
}

/* The slots of each store say how many at a time there: one that finds none free ends at once. */
static void upkeep(struct hf_server *server)
{
    if (atomic_load(&server->upkeeping) >= HF_UPKEEP_SLOTS_MAX) {
        return;
    }
    atomic_fetch_add(&server->upkeeping, 1);
    if (!hf_server_pool_try(server->upkeep, run_upkeep, server)) {
        atomic_fetch_sub(&server->upkeeping, 1);
    }
}

static void run_jobs(void *argument)
{
    struct hf_server *server = argument;
    struct hf_error err;
    uint64_t began_ms = hf_clock_mono_ms();

    enum hf_err code = hf_flow_jobs_tick(&server->app, &err);
    hf_server_pass_note(&server->passes, HF_PASS_JOBS, began_ms);
    hf_alerts_note_work(&server->app, HF_SERVER_MOVES_JOBS, code, err.message);
    if (code != HF_ERR_OK) {
        hf_log_debug(server->app.log, "server.jobs.failed", HF_STR("error", err.message));
    }
    atomic_store(&server->jobs_running, false);
}

/* Beside the resume: a termination may delete for hours. */
static void run_jobs_later(struct hf_server *server)
{
    if (!atomic_exchange(&server->jobs_running, true) &&
        !hf_server_pool_try(server->streams, run_jobs, server)) {
        atomic_store(&server->jobs_running, false);
    }
}

static void run_check(void *argument)
{
    struct hf_server *server = argument;
    struct hf_error ignored; /* logged, job by job */

    (void)!hf_flow_check_tick(&server->app, &ignored);
    atomic_store(&server->checking, false);
}

/* It takes as long as a download of all that is stored. */
static void check(struct hf_server *server)
{
    if (server->app.oplog_check_s != 0 && !atomic_exchange(&server->checking, true) &&
        !hf_server_pool_try(server->streams, run_check, server)) {
        atomic_store(&server->checking, false);
    }
}

static void run_mails(void *argument)
{
    struct hf_server *server = argument;
    struct hf_error err;
    uint64_t began_ms = hf_clock_mono_ms();

    enum hf_err code = hf_notify_pass(&server->app, HF_ALERT_BY_MAIL, &err);
    hf_server_pass_note(&server->passes, HF_PASS_NOTICES, began_ms);
    hf_alerts_note_work(&server->app, HF_SERVER_MAILS, code, err.message);
    atomic_store(&server->mailing, false);
}

static void run_posts(void *argument)
{
    struct hf_server *server = argument;
    struct hf_error err;
    uint64_t began_ms = hf_clock_mono_ms();

    enum hf_err code = hf_notify_pass(&server->app, HF_ALERT_BY_WEBHOOK, &err);
    hf_server_pass_note(&server->passes, HF_PASS_NOTICES, began_ms);
    hf_alerts_note_work(&server->app, HF_SERVER_POSTS, code, err.message);
    atomic_store(&server->posting, false);
}

/* Beside the alerts, and each beside the other: a receiver that does not answer keeps no alert from being found, and
 * nobody else from being told. */
static void notify_people(struct hf_server *server)
{
    if (!hf_fleet_leads(&server->app, HF_FLEET_NOTICES)) {
        return;
    }
    if (!atomic_exchange(&server->mailing, true) &&
        !hf_server_pool_try(server->streams, run_mails, server)) {
        atomic_store(&server->mailing, false);
    }
    if (!atomic_exchange(&server->posting, true) &&
        !hf_server_pool_try(server->streams, run_posts, server)) {
        atomic_store(&server->posting, false);
    }
}

static void run_alerts(void *argument)
{
    struct hf_server *server = argument;
    struct hf_error err;
    uint64_t began_ms = hf_clock_mono_ms();

    enum hf_err code = HF_ERR_OK;
    if (hf_fleet_leads(&server->app, HF_FLEET_ALERTS)) {
        code = hf_alerts_pass(&server->app, &err);
        hf_server_pass_note(&server->passes, HF_PASS_ALERTS, began_ms);
        hf_alerts_note_work(&server->app, HF_SERVER_ALERTS, code, err.message);
    }
    if (code != HF_ERR_OK) {
        hf_log_warn(server->app.log, "server.alerts.failed", HF_STR("error", err.message));
    }
    if (hf_events_prune(&server->app, &err) != HF_ERR_OK) {
        hf_log_warn(server->app.log, "event.prune.failed", HF_STR("error", err.message));
    }
    atomic_store(&server->alerting, false);
    notify_people(server);
}

static void look_for_alerts(struct hf_server *server)
{
    if (!atomic_exchange(&server->alerting, true) &&
        !hf_server_pool_try(server->streams, run_alerts, server)) {
        atomic_store(&server->alerting, false);
    }
}

static void notify_agent(void *context, const struct hf_id *agent)
{
    struct hf_server *server = context;

    hf_server_waiting_notify(server->waiting, agent);
}

static void announce(struct hf_server *server, const struct hf_buf *news)
{
    char text[8192];

    (void)snprintf(text, sizeof text, "%.*slistening on %s", (int)news->len,
                   (const char *)news->data, server->url);
    if (server->options->ready != NULL) {
        server->options->ready(text);
    }
    hf_log_info(server->app.log, "server.listening", HF_STR("url", server->url),
                HF_STR("store", server->options->store_url));
}

static void apply_settings(struct hf_server *server)
{
    struct hf_error err;

    if (hf_settings_apply(&server->app, &err) != HF_ERR_OK) {
        hf_log_warn(server->app.log, "server.settings.failed", HF_STR("error", err.message));
    }
}

/* Until the caller wants the end, or another process has our name. */
static void beat(struct hf_server *server, const struct hf_cancel *cancel)
{
    uint64_t resumed_ms = hf_clock_mono_ms(), beaten_ms = resumed_ms, merged_ms = resumed_ms,
             kept_ms = resumed_ms, checked_ms = resumed_ms, alerted_ms = resumed_ms;
    uint64_t alerts_s = server->options->alerts.check_s;
    alerts_s = alerts_s == 0 ? ALERTS_EVERY_S : alerts_s;
    look_for_alerts(server);

    while (!hf_cancel_requested(cancel) && !hf_fleet_is_lost(&server->app)) {
        hf_cancel_sleep(cancel, BEAT_MS);
        uint64_t now_ms = hf_clock_mono_ms();
        /* A process that was stopped or asleep could hear nobody meanwhile. */
        uint64_t passed_ms = now_ms - beaten_ms;
        hf_server_heard_listen(server->app.heard,
                               passed_ms < LISTENED_MAX_MS ? passed_ms : LISTENED_MAX_MS);
        beaten_ms = now_ms;
        hf_server_waiting_expire(server->waiting, now_ms);
        if (hf_settings_are_new(server->app.settings)) {
            apply_settings(server);
        }
        if (now_ms - resumed_ms >= RESUME_EVERY_MS) {
            resumed_ms = now_ms;
            resume(server);
            run_jobs_later(server);
        }
        /* Somebody waits for what was asked for; a tick that runs sees it by itself, unless it is about to end. */
        bool wanted = atomic_load(&server->app.upkeep_wanted) &&
                      atomic_load(&server->upkeeping) < HF_UPKEEP_SLOTS_MAX;
        if (wanted || now_ms - kept_ms >= UPKEEP_EVERY_MS) {
            kept_ms = now_ms;
            atomic_store(&server->app.upkeep_wanted, false);
            upkeep(server);
        }
        if (now_ms - alerted_ms >= alerts_s * 1000) {
            alerted_ms = now_ms;
            apply_settings(server); /* another server on the catalog may have changed them */
            look_for_alerts(server);
        }
        if (now_ms - merged_ms >= MERGE_EVERY_MS) {
            merged_ms = now_ms;
            merge(server);
        }
        if (now_ms - checked_ms >= CHECK_EVERY_MS) {
            checked_ms = now_ms;
            check(server);
        }
    }
}

/* Waits for the starts of others: what a first start makes is made once. */
static enum hf_err take_start_lock(const struct hf_server_options *options,
                                   const struct hf_cancel *cancel, struct hf_lock_file **out,
                                   struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = hf_path_join(options->data_dir, "start.lock");
    uint64_t began_ms = hf_clock_mono_ms();

    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (;;) {
        enum hf_err code = hf_lock_file_take(path, out, err);
        if (code != HF_ERR_CONFLICT || hf_cancel_requested(cancel)) {
            return code;
        }
        if (hf_clock_mono_ms() - began_ms > START_WAIT_MS) {
            return hf_wrap(err, "another server is starting on this data directory for too long");
        }
        hf_cancel_sleep(cancel, BEAT_MS);
    }
}

/* What a drain waits for. */
static bool is_busy(void *context)
{
    struct hf_server *server = context;
    bool busy = atomic_load(&server->upkeeping) != 0 || atomic_load(&server->jobs_running) ||
                atomic_load(&server->merging) || atomic_load(&server->checking);

    HF_LOCKED(&server->app.ending_mutex);
    return busy || server->app.ending_count != 0;
}

static enum hf_err join_others(struct hf_server *server, struct hf_error *err)
{
    const struct hf_server_options *options = server->options;
    const struct hf_fleet_options fleet = {
        .data_dir = options->data_dir,
        .name = options->name != NULL ? options->name : options->listen,
        .silence_s = options->server_silence_s,
        .busy = is_busy,
        .context = server,
    };

    return hf_fleet_join(&server->app, &fleet, err);
}

/* Everything up to the moment when it serves. */
static enum hf_err start(struct hf_server *server, const struct hf_cancel *cancel,
                         struct hf_buf *news, struct hf_error *err)
{
    HF_CLEANUP(hf_lock_file_drop) struct hf_lock_file *alone = NULL;

    if (take_start_lock(server->options, cancel, &alone, err) != HF_ERR_OK ||
        hf_server_open(server, news, err) != HF_ERR_OK ||
        hf_settings_apply(&server->app, err) != HF_ERR_OK || make_pools(server, err) != HF_ERR_OK ||
        join_others(server, err) != HF_ERR_OK || listen_on(server, err) != HF_ERR_OK ||
        hf_server_publish_url(server, news, err) != HF_ERR_OK ||
        hf_alert_settings_begin(&server->app, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_fleet_start(&server->app, server->url, err);
}

static void set_alert_limits(struct hf_alert_limits *limits,
                             const struct hf_server_options *options)
{
    hf_alert_limits_init(limits);
    limits->of[HF_ALERT_BACKUP_AGENT_DOWN] = options->alerts.agent_down_s;
    limits->of[HF_ALERT_DAEMON_DOWN] = options->alerts.server_down_s;
    limits->of[HF_ALERT_SNAPSHOTS_ABORTED] = options->alerts.aborted_snapshots;
    limits->of[HF_ALERT_OUTSIDE_SPACE_USED_THRESHOLD] = options->alerts.space_used_percent;
    limits->of[HF_ALERT_LOW_CATALOG_FREE_SPACE] = options->alerts.disk_free_percent;
}

enum hf_err hf_server_run(const struct hf_server_options *options, const struct hf_cancel *cancel,
                          struct hf_error *err)
{
    HF_CLEANUP(hf_lock_file_drop) struct hf_lock_file *lock = NULL;
    HF_CLEANUP(hf_buf_fini) struct hf_buf news = HF_BUF_INIT(4096);
    HF_CLEANUP(hf_free) char *lock_path = hf_path_join(options->data_dir, "server.lock");
    HF_CLEANUP(server_fini)
    struct hf_server server = {
        .app = {.log = options->log,
                .cancel = &server.stop,
                .capture_limit_bytes = options->capture_limit_bytes,
                .oplog_kept_s = options->oplog_kept_s,
                .upkeep = {.living_percent = HF_UPKEEP_LIVING_PERCENT,
                           .groom_every_s = options->groom_every_s,
                           .count_every_s = HF_UPKEEP_COUNT_EVERY_S,
                           .check_every_s = options->check_every_s},
                .upkeep_slots = options->upkeep_slots == 0 ? 1 : options->upkeep_slots,
                .alerts = {.repeat_s = options->alerts.repeat_s, .data_dir = options->data_dir},
                .process = hf_flow_new_id(),
                .oplog_window_min_s = options->oplog_window_min_s,
                .oplog_age_s = options->oplog_age_s,
                .provision_threshold_bytes = options->provision_threshold_bytes,
                .first_snapshot = !options->no_first_snapshot,
                .oplog_check_s = options->oplog_check_s,
                .schedules = options->schedules,
                .event_days = options->event_days,
                .settings = options->settings,
                .snapshots_at_once = options->snapshots_at_once,
                .snapshots_per_host = options->snapshots_per_host,
                .snapshots_per_store = options->snapshots_per_store,
                .task_silence_s =
                    options->task_silence_s != 0 ? options->task_silence_s : HF_TASK_SILENT_MAX_S},
        .options = options,
        .started_ms = hf_clock_mono_ms(),
    };

    hf_cancel_init(&server.stop);
    set_alert_limits(&server.app.alerts.limits, options);
    hf_mutex_init(&server.app.ending_mutex);
    hf_mutex_init(&server.app.works_mutex);
    hf_server_passes_init(&server.passes);
    hf_rounds_init(&server.rounds);
    server.app.rounds = &server.rounds;
    hf_host_name(server.app.alerts.host, sizeof server.app.alerts.host);
    if (lock_path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_fs_make_dirs(options->data_dir, 0700, err) != HF_ERR_OK) {
        return hf_wrap(err, "data directory");
    }
    /* Shared by all; a server of a release that knew no others takes it for itself. */
    if (hf_lock_file_share(lock_path, &lock, err) != HF_ERR_OK) {
        return hf_wrap(err,
                       "data directory %s is in use by a server of an earlier release, which must "
                       "be the only one; hint: stop it first",
                       options->data_dir);
    }
    if (options->notify != NULL) {
        server.app.alerts.notify = *options->notify;
        if (hf_notify_check(options->notify, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    server.app.notify = notify_agent;
    server.app.notify_context = &server;
    if (start(&server, cancel, &news, err) != HF_ERR_OK) {
        return err->code;
    }
    resume(&server);
    hf_server_hash_downloads(&server);
    announce(&server, &news);
    beat(&server, cancel);
    hf_cancel_request(&server.stop);
    if (hf_fleet_is_lost(&server.app)) {
        return hf_fail(
            err, HF_ERR_CONFLICT,
            "another process has taken this server's name, or it was removed, while this "
            "one was silent; hint: give each server process a --name of its own");
    }
    hf_alerts_leave(&server.app);
    hf_log_info(options->log, "server.stopped");
    return HF_ERR_OK;
}
