/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /metrics: the server's figures as Prometheus reads them (text format 0.0.4). Everything is looked up at each call:
 * nothing is counted twice, and several servers on one catalog say the same of it.
 *
 * Prometheus knows no digest: whoever asks from this host may read, others with the token of --metrics-token-file. A proxy
 * on this host asks for others: what it forwards needs the token too.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/job.h"
#include "base/alloc.h"
#include "base/secret.h"
#include "os/clock.h"
#include "os/fs.h"
#include "os/process.h"
#include "server/alerts.h"
#include "server/api.h"
#include "server/server_internal.h"
#include "server/stores.h"

#define LIST_MAX 100000
#define SETS_AT_A_TIME 256
#define PAGE_MAX_BYTES ((size_t)64 << 20)
#define TOKEN_MAX_BYTES 4096
#define LABEL_BYTES 2048

/* The page as it grows; after an error nothing more is written. */
struct page {
    struct hf_server_call *call;
    struct hf_buf text;
    struct hf_error err;
    const char *name; /* of the family that is being written */
};

static void family(struct page *page, const char *name, const char *type, const char *help)
{
    page->name = name;
    if (page->err.code == HF_ERR_OK) {
        (void)!hf_buf_appendf(&page->text, &page->err, "# HELP %s %s\n# TYPE %s %s\n", name, help,
                              name, type);
    }
}

/* labels: "" or "{set=\"rs0\"}". */
static void sample(struct page *page, const char *labels, double value)
{
    if (page->err.code == HF_ERR_OK) {
        (void)!hf_buf_appendf(&page->text, &page->err, "%s%s %.17g\n", page->name, labels, value);
    }
}

/* One label; backslash, quote and line end are escaped. */
static const char *label(char out[LABEL_BYTES], const char *name, const char *value)
{
    size_t len = (size_t)snprintf(out, LABEL_BYTES, "{%s=\"", name);

    for (; *value != '\0' && len + 6 < LABEL_BYTES; value++) {
        if (*value == '\\' || *value == '"' || *value == '\n') {
            out[len++] = '\\';
        }
        out[len++] = *value == '\n' ? 'n' : *value;
    }
    (void)snprintf(out + len, LABEL_BYTES - len, "\"}");
    return out;
}

/* Two labels; the first has been written by label(). */
static const char *and_label(char out[LABEL_BYTES], const char *name, const char *value)
{
    char second[LABEL_BYTES];
    size_t len = strlen(out);

    (void)label(second, name, value);
    (void)snprintf(out + len - 1, LABEL_BYTES - len + 1, ",%s", second + 1);
    return out;
}

/* ---- Who may ---- */

static bool is_local(const struct hf_http_request *request)
{
    const char *peer = hf_http_request_peer(request);

    return (strncmp(peer, "127.", 4) == 0 || strcmp(peer, "::1") == 0) &&
           hf_http_request_header(request, "Forwarded") == NULL &&
           hf_http_request_header(request, "X-Forwarded-For") == NULL &&
           hf_http_request_header(request, "Via") == NULL;
}

static bool has_token(const struct hf_server_call *call)
{
    static const char bearer[] = "Bearer ";
    const char *header = hf_http_request_header(call->request, "Authorization");
    const char *path = call->server->options->metrics_token_file;
    HF_CLEANUP(hf_buf_fini) struct hf_buf file = HF_BUF_INIT(TOKEN_MAX_BYTES + 1);
    struct hf_error ignored;

    if (path == NULL || header == NULL || strncmp(header, bearer, sizeof bearer - 1) != 0 ||
        hf_fs_read_whole(path, TOKEN_MAX_BYTES, &file, &ignored) != HF_ERR_OK) {
        return false;
    }
    const char *token = header + sizeof bearer - 1;
    size_t len = 0;
    while (len < file.len && file.data[len] != '\n' && file.data[len] != '\r') {
        len++;
    }
    bool same = len > 0 && len == strlen(token) &&
                hf_secret_equal(hf_bytes_of(file.data, len), hf_bytes_of(token, len));
    hf_wipe(file.data, file.len);
    return same;
}

/* ---- Counts ---- */

static double count_of(struct page *page, const char *kind, const char *index, const char *value)
{
    const struct hf_catalog_query query = {.kind = kind, .index = index, .equals_text = value};
    uint64_t count = 0;

    if (page->err.code == HF_ERR_OK) {
        (void)!hf_catalog_count(page->call->app->catalog, &query, &count, &page->err);
    }
    return (double)count;
}

static void write_counts(struct page *page)
{
    static const struct {
        enum hf_snapshot_state state;
        const char *outcome;
    } captures[] = {{HF_SNAPSHOT_FAILED, "failed"}, {HF_SNAPSHOT_ABANDONED, "abandoned"}};
    char text[LABEL_BYTES];

    family(page, "holdfast_jobs", "gauge", "Backup jobs by state.");
    for (enum hf_job_state state = HF_JOB_INACTIVE; state <= HF_JOB_TERMINATING; state++) {
        const char *word = hf_job_state_word(state);
        sample(page, label(text, "state", word), count_of(page, HF_KIND_JOB, "state", word));
    }
    double complete = 0;
    family(page, "holdfast_snapshots", "gauge", "Snapshots in the catalog by state.");
    for (enum hf_snapshot_state state = HF_SNAPSHOT_IN_PROGRESS; state <= HF_SNAPSHOT_EXPIRED;
         state++) {
        const char *word = hf_snapshot_state_word(state);
        double count = count_of(page, HF_KIND_SNAPSHOT, "state", word);
        complete += state == HF_SNAPSHOT_COMPLETE || state == HF_SNAPSHOT_EXPIRED ? count : 0;
        sample(page, label(text, "state", word), count);
    }
    family(page, "holdfast_captures_total", "counter", "Captures that ended, by outcome.");
    sample(page, label(text, "outcome", "complete"), complete);
    for (size_t i = 0; i < HF_ARRAY_LEN(captures); i++) {
        sample(
            page, label(text, "outcome", captures[i].outcome),
            count_of(page, HF_KIND_SNAPSHOT, "state", hf_snapshot_state_word(captures[i].state)));
    }
    family(page, "holdfast_restores", "gauge", "Restores in the catalog by state.");
    for (enum hf_restore_state state = HF_RESTORE_IN_PROGRESS; state <= HF_RESTORE_KILLED;
         state++) {
        const char *word = hf_restore_state_word(state);
        sample(page, label(text, "state", word), count_of(page, HF_KIND_RESTORE, "state", word));
    }
    family(page, "holdfast_restores_total", "counter", "Restores that ended, by outcome.");
    sample(page, label(text, "outcome", "finished"),
           count_of(page, HF_KIND_RESTORE, "state", hf_restore_state_word(HF_RESTORE_FINISHED)));
    sample(page, label(text, "outcome", "broken"),
           count_of(page, HF_KIND_RESTORE, "state", hf_restore_state_word(HF_RESTORE_BROKEN)));
    sample(page, label(text, "outcome", "killed"),
           count_of(page, HF_KIND_RESTORE, "state", hf_restore_state_word(HF_RESTORE_KILLED)));
}

static void write_alerts(struct page *page)
{
    const struct hf_catalog_query query = {
        .index = "status", .equals_text = hf_alert_status_word(HF_ALERT_OPEN), .limit = LIST_MAX};
    HF_CLEANUP(hf_keep_alerts_fini) struct hf_keep_alerts alerts = {0};
    double counts[HF_ALERT_TYPES] = {0};
    char text[LABEL_BYTES];

    if (page->err.code != HF_ERR_OK ||
        hf_keep_alert_find(page->call->app->catalog, &query, &alerts, &page->err) != HF_ERR_OK) {
        return;
    }
    for (size_t i = 0; i < alerts.count; i++) {
        counts[alerts.items[i].type]++;
    }
    family(page, "holdfast_alerts_open", "gauge", "Alerts that are open, by type.");
    for (size_t i = 0; i < HF_ALERT_TYPES; i++) {
        sample(page, label(text, "type", hf_alert_kinds[i].name), counts[i]);
    }
}

static void write_agents(struct page *page)
{
    const struct hf_catalog_query query = {.limit = LIST_MAX};
    HF_CLEANUP(hf_keep_agents_fini) struct hf_keep_agents agents = {0};
    size_t connected = 0;
    char text[LABEL_BYTES];

    if (page->err.code != HF_ERR_OK ||
        hf_keep_agent_find(page->call->app->catalog, &query, &agents, &page->err) != HF_ERR_OK) {
        return;
    }
    for (size_t i = 0; i < agents.count; i++) {
        connected +=
            hf_flow_agent_silent_s(page->call->app, &agents.items[i]) <= HF_AGENT_SILENT_MAX_S;
    }
    family(page, "holdfast_agents", "gauge",
           "Agents that were ever heard of, by whether they are.");
    sample(page, label(text, "state", "connected"), (double)connected);
    sample(page, label(text, "state", "silent"), (double)(agents.count - connected));
}

/* ---- Each set ---- */

static int by_id(const void *a, const void *b)
{
    return memcmp(a, b, HF_ID_BYTES);
}

struct set_figures {
    const struct hf_job_record *job;
    const struct hf_head_record *head;   /* NULL: none */
    const struct hf_usage_record *usage; /* the same */
    struct hf_job_last newest;
};

static double last_snapshot(const struct set_figures *one)
{
    return (double)one->newest.created_s;
}

static double snapshot_bytes(const struct set_figures *one)
{
    return (double)one->newest.bytes;
}

static double snapshot_stored(const struct set_figures *one)
{
    return (double)one->newest.stored_bytes;
}

static double snapshot_seconds(const struct set_figures *one)
{
    return one->newest.finished_s > one->newest.created_s
               ? (double)(one->newest.finished_s - one->newest.created_s)
               : 0;
}

static double failures(const struct set_figures *one)
{
    return (double)one->job->failures;
}

static double oplog_lag(const struct set_figures *one)
{
    uint64_t now_s = hf_flow_now_s();

    return one->head->last.seconds < now_s ? (double)(now_s - one->head->last.seconds) : 0;
}

static double oplog_bytes(const struct set_figures *one)
{
    return (double)one->head->bytes;
}

static double oplog_slices(const struct set_figures *one)
{
    return (double)one->head->slices;
}

static double living(const struct set_figures *one)
{
    return (double)one->usage->living_bytes;
}

static double dead(const struct set_figures *one)
{
    return (double)one->usage->dead_bytes;
}

static double damaged(const struct set_figures *one)
{
    return (double)one->usage->damaged_snapshots;
}

enum needs { NEEDS_JOB, NEEDS_SNAPSHOT, NEEDS_HEAD, NEEDS_USAGE };

static const struct {
    const char *name, *type, *help;
    enum needs needs;
    double (*value)(const struct set_figures *one);
} set_families[] = {
    {"holdfast_last_snapshot_timestamp_seconds", "gauge",
     "When the newest complete snapshot of a set was begun.", NEEDS_SNAPSHOT, last_snapshot},
    {"holdfast_last_snapshot_duration_seconds", "gauge", "How long it took.", NEEDS_SNAPSHOT,
     snapshot_seconds},
    {"holdfast_last_snapshot_bytes", "gauge", "Bytes of its files.", NEEDS_SNAPSHOT,
     snapshot_bytes},
    {"holdfast_last_snapshot_stored_bytes", "gauge", "Bytes that it put into the store.",
     NEEDS_SNAPSHOT, snapshot_stored},
    {"holdfast_snapshot_failures_in_a_row", "gauge",
     "Captures of a set that failed since the last one that did not.", NEEDS_JOB, failures},
    {"holdfast_oplog_lag_seconds", "gauge", "Age of the newest stored entry of a set's oplog.",
     NEEDS_HEAD, oplog_lag},
    {"holdfast_oplog_stored_bytes_total", "counter", "Bytes of a set's oplog that were stored.",
     NEEDS_HEAD, oplog_bytes},
    {"holdfast_oplog_slices_total", "counter", "Slices of a set's oplog that were stored.",
     NEEDS_HEAD, oplog_slices},
    {"holdfast_store_living_bytes", "gauge", "Bytes in the store that a set's snapshots need.",
     NEEDS_USAGE, living},
    {"holdfast_store_dead_bytes", "gauge", "Bytes in the store that a groom would free.",
     NEEDS_USAGE, dead},
    {"holdfast_snapshots_damaged", "gauge", "Snapshots of a set that a check found damaged.",
     NEEDS_USAGE, damaged},
};

static bool has(const struct set_figures *one, enum needs needs)
{
    switch (needs) {
    case NEEDS_JOB:
        return true;
    case NEEDS_SNAPSHOT:
        return !hf_id_is_none(&one->newest.snapshot);
    case NEEDS_HEAD:
        return one->head != NULL && !hf_optime_is_none(&one->head->last);
    case NEEDS_USAGE:
        return one->usage != NULL;
    }
    return false;
}

/* What is written of a set: no more of ten thousand is held at a time. */
struct set_line {
    struct hf_id project;
    char set_name[HF_NAME_BYTES];
    double values[HF_ARRAY_LEN(set_families)];
    bool has[HF_ARRAY_LEN(set_families)];
};
struct set_lines {
    struct set_line *items; /* owned */
    size_t count;
};

static void set_lines_fini(struct set_lines *lines)
{
    hf_free(lines->items);
}
HF_CLEANUP_DEFINE_VALUE(set_lines_fini, struct set_lines)

static enum hf_err add_set(struct hf_server_app *app, const struct hf_job_record *job,
                           struct set_line *line, struct hf_error *err)
{
    struct set_figures one = {.job = job};
    struct hf_head_record head;
    struct hf_usage_record usage;

    enum hf_err code = hf_keep_head_get(app->catalog, &job->id, &head, NULL, err);
    if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND) {
        return code;
    }
    one.head = code == HF_ERR_OK ? &head : NULL;
    code = hf_keep_usage_get(app->catalog, &job->id, &usage, NULL, err);
    if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND) {
        return code;
    }
    one.usage = code == HF_ERR_OK ? &usage : NULL;
    if (hf_alerts_newest(app, job, &one.newest, err) != HF_ERR_OK) {
        return err->code;
    }
    line->project = job->project;
    (void)snprintf(line->set_name, sizeof line->set_name, "%s", job->set_name);
    for (size_t i = 0; i < HF_ARRAY_LEN(set_families); i++) {
        line->has[i] = has(&one, set_families[i].needs);
        line->values[i] = line->has[i] ? set_families[i].value(&one) : 0;
    }
    return HF_ERR_OK;
}

static enum hf_err read_sets(struct hf_server_app *app, struct set_lines *out, struct hf_error *err)
{
    struct hf_id_text after;
    struct hf_catalog_query query = {.limit = SETS_AT_A_TIME};
    size_t came = SETS_AT_A_TIME;

    while (came == SETS_AT_A_TIME) {
        HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};
        if (hf_keep_job_find(app->catalog, &query, &jobs, err) != HF_ERR_OK) {
            return err->code;
        }
        came = jobs.count;
        struct set_line *more =
            hf_realloc_array(out->items, out->count + came + 1, sizeof *out->items);
        if (more == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        }
        out->items = more;
        for (size_t i = 0; i < came; i++) {
            if (!hf_job_does(&jobs.items[i]).stored) {
                continue;
            }
            if (add_set(app, &jobs.items[i], &out->items[out->count], err) != HF_ERR_OK) {
                return err->code;
            }
            out->count++;
        }
        if (came > 0) {
            after = hf_id_text(&jobs.items[came - 1].id);
            query.after = after.text;
        }
    }
    return HF_ERR_OK;
}

static void write_sets(struct page *page)
{
    struct hf_server_app *app = page->call->app;
    const struct hf_catalog_query all = {.limit = LIST_MAX};
    HF_CLEANUP(hf_keep_projects_fini) struct hf_keep_projects projects = {0};
    HF_CLEANUP(set_lines_fini) struct set_lines lines = {.items = NULL};
    struct hf_error err;
    char text[LABEL_BYTES];

    if (page->err.code != HF_ERR_OK) {
        return;
    }
    /* What was not found on the way is no failure of the page. */
    if (hf_keep_project_find(app->catalog, &all, &projects, &err) != HF_ERR_OK ||
        read_sets(app, &lines, &err) != HF_ERR_OK) {
        page->err = err;
        return;
    }
    qsort(projects.items, projects.count, sizeof *projects.items, by_id);
    for (size_t f = 0; f < HF_ARRAY_LEN(set_families); f++) {
        family(page, set_families[f].name, set_families[f].type, set_families[f].help);
        for (size_t i = 0; i < lines.count; i++) {
            const struct set_line *line = &lines.items[i];
            if (line->has[f]) {
                const struct hf_project_record *project = bsearch(
                    &line->project, projects.items, projects.count, sizeof *projects.items, by_id);
                (void)label(text, "project", project == NULL ? "" : project->name);
                sample(page, and_label(text, "set", line->set_name), line->values[f]);
            }
        }
    }
}

/* ---- Disks, the server itself ---- */

struct disk {
    const char *name;
    uint64_t free_bytes, total_bytes;
};

static void write_disk_family(struct page *page, const struct disk *disks, size_t count, bool free)
{
    char text[LABEL_BYTES];

    for (size_t i = 0; i < count; i++) {
        if (disks[i].total_bytes != 0) {
            sample(page, label(text, "of", disks[i].name),
                   (double)(free ? disks[i].free_bytes : disks[i].total_bytes));
        }
    }
}

static void write_stores(struct page *page, const struct hf_store_views *views)
{
    char text[LABEL_BYTES];

    family(page, "holdfast_store_up", "gauge", "1 while the store is there, 0 while it is away.");
    for (size_t i = 0; i < views->count; i++) {
        sample(page, label(text, "store", views->items[i].record.name),
               views->items[i].store != NULL);
    }
    family(page, "holdfast_store_jobs", "gauge", "Jobs that a store has.");
    for (size_t i = 0; i < views->count; i++) {
        sample(page, label(text, "store", views->items[i].record.name),
               (double)views->items[i].jobs);
    }
    family(page, "holdfast_store_used_bytes", "gauge",
           "Bytes of snapshots in a store, as counted last.");
    for (size_t i = 0; i < views->count; i++) {
        if (!views->items[i].record.oplog) {
            sample(page, label(text, "store", views->items[i].record.name),
                   (double)views->items[i].used_bytes);
        }
    }
}

/* The stores that are there, and the catalog. Where the slices lie beside the snapshots, "oplog" is the same disk. */
static void write_disks(struct page *page)
{
    HF_CLEANUP(hf_store_views_fini) struct hf_store_views views = {.items = NULL};
    struct disk disks[HF_STORES_MAX + 2];
    struct hf_error ignored;
    size_t count = 0;
    bool oplog = false;

    (void)!hf_stores_view(page->call->app, true, &views, &ignored);
    for (size_t i = 0; i < views.count; i++) {
        disks[count++] = (struct disk){.name = hf_stores_word(&views.items[i].record),
                                       .free_bytes = views.items[i].free_bytes,
                                       .total_bytes = views.items[i].total_bytes};
        oplog = oplog || strcmp(disks[count - 1].name, "oplog") == 0;
    }
    if (count > 0 && !oplog) {
        disks[count++] = (struct disk){.name = "oplog",
                                       .free_bytes = disks[0].free_bytes,
                                       .total_bytes = disks[0].total_bytes};
    }
    disks[count] = (struct disk){.name = "catalog"};
    if (hf_fs_space(page->call->server->options->data_dir, &disks[count].free_bytes,
                    &disks[count].total_bytes, &ignored) == HF_ERR_OK) {
        count++;
    }
    family(page, "holdfast_disk_free_bytes", "gauge",
           "Free bytes of the disk of a store or the catalog.");
    write_disk_family(page, disks, count, true);
    family(page, "holdfast_disk_size_bytes", "gauge",
           "Bytes of the disk of a store or the catalog.");
    write_disk_family(page, disks, count, false);
    write_stores(page, &views);
}

/* The rate of the time by the rate of the count is how long a pass takes. */
static void write_passes(struct page *page)
{
    struct hf_server_passes *passes = &page->call->server->passes;
    char text[LABEL_BYTES];

    family(page, "holdfast_pass_last_seconds", "gauge",
           "How long the last pass of a periodic work took.");
    for (enum hf_server_pass pass = HF_PASS_RESUME; pass < HF_PASSES; pass++) {
        sample(page, label(text, "pass", hf_server_pass_word(pass)),
               (double)hf_server_pass_times(passes, pass).last_ms / 1000);
    }
    family(page, "holdfast_pass_seconds_total", "counter",
           "Time that the passes of a periodic work took together.");
    for (enum hf_server_pass pass = HF_PASS_RESUME; pass < HF_PASSES; pass++) {
        sample(page, label(text, "pass", hf_server_pass_word(pass)),
               (double)hf_server_pass_times(passes, pass).total_ms / 1000);
    }
    family(page, "holdfast_passes_total", "counter", "How many there were.");
    for (enum hf_server_pass pass = HF_PASS_RESUME; pass < HF_PASSES; pass++) {
        sample(page, label(text, "pass", hf_server_pass_word(pass)),
               (double)hf_server_pass_times(passes, pass).count);
    }
}

static void write_server(struct page *page)
{
    struct hf_server *server = page->call->server;
    struct hf_http_server_stats stats;
    char text[LABEL_BYTES];

    hf_http_server_stats(server->http, &stats);
    family(page, "holdfast_build_info", "gauge", "Release of the server.");
    sample(page, label(text, "version", HF_VERSION), 1);
    family(page, "holdfast_http_requests_total", "counter", "HTTP requests, by who asks.");
    sample(page, label(text, "from", "agent"), (double)atomic_load(&server->agent_requests));
    sample(page, label(text, "from", "client"), (double)atomic_load(&server->api_requests));
    family(page, "holdfast_http_connections", "gauge", "Open connections.");
    sample(page, "", (double)stats.connections);
    family(page, "holdfast_http_waiting_polls", "gauge", "Polls of agents that wait.");
    sample(page, "", (double)stats.kept);
    family(page, "holdfast_http_body_bytes", "gauge", "Memory for bodies on their way.");
    sample(page, "", (double)stats.body_bytes);
    family(page, "process_resident_memory_bytes", "gauge", "Resident memory.");
    sample(page, "", (double)hf_resident_bytes());
    family(page, "process_cpu_seconds_total", "counter", "Processor time, user and system.");
    sample(page, "", (double)hf_cpu_ms() / 1000);
    family(page, "process_start_time_seconds", "gauge", "When the server started.");
    sample(page, "",
           (double)(hf_clock_wall_ms() - (hf_clock_mono_ms() - server->started_ms)) / 1000);
}

void hf_api_metrics(struct hf_server_call *call)
{
    static const struct hf_http_header headers[] = {
        {"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}};
    struct page page = {.call = call, .text = HF_BUF_INIT(PAGE_MAX_BYTES)};
    const struct hf_http_answer answer = {.status = 200, .headers = headers, .header_count = 1};

    if (!is_local(call->request) && !has_token(call)) {
        hf_reply_fail(call, HF_ERR_DENIED, NULL,
                      "/metrics is read from the server's own host, or with the token of "
                      "--metrics-token-file");
        return;
    }
    write_counts(&page);
    write_alerts(&page);
    write_agents(&page);
    write_sets(&page);
    write_disks(&page);
    write_passes(&page);
    write_server(&page);
    if (page.err.code != HF_ERR_OK) {
        hf_reply_error(call, &page.err, NULL);
    } else {
        (void)hf_http_respond_buf_take(HF_TAKE(call->request), &answer, &page.text);
    }
    hf_buf_fini(&page.text);
}
