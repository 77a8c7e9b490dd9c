/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restorable points: chains out of the oplog store, bases out of the catalog.
 */
#include "server/points.h"

#include <math.h>
#include <stdio.h>

#include "backup/job.h"
#include "backup/link.h"
#include "base/alloc.h"
#include "os/clock.h"
#include "server/flow.h"
#include "server/flow_check.h"
#include "server/keep.h"
#include "snapshot/keys.h"

#define LIST_MAX 100000
/* Jobs whose headers are kept; the one that was not asked for longest makes room. */
#define CACHED_JOBS_MAX 64
/* A capture's checkpoint is not known before its end: it lies this long before its beginning at most. */
#define CAPTURE_LEASE_S 3600

/* ---- The cache ---- */

struct cached_job {
    struct hf_id job;             /* none: free */
    struct hf_chain_cache *links; /* held */
    uint64_t used;                /* counts up */
};

struct hf_points_cache {
    struct hf_mutex mutex; /* guards: jobs, uses */
    struct cached_job jobs[CACHED_JOBS_MAX];
    uint64_t uses;
};

enum hf_err hf_points_cache_create(struct hf_points_cache **out, struct hf_error *err)
{
    struct hf_points_cache *cache = hf_alloc_zero(sizeof *cache);

    if (cache == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    hf_mutex_init(&cache->mutex);
    *out = cache;
    return HF_ERR_OK;
}

void hf_points_cache_destroy(struct hf_points_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    for (size_t i = 0; i < CACHED_JOBS_MAX; i++) {
        hf_chain_cache_drop(cache->jobs[i].links);
    }
    hf_mutex_fini(&cache->mutex);
    hf_free(cache);
}

/* Under the mutex. */
static struct cached_job *find_cached(struct hf_points_cache *cache, const struct hf_id *job)
{
    struct cached_job *oldest = &cache->jobs[0];

    for (size_t i = 0; i < CACHED_JOBS_MAX; i++) {
        struct cached_job *one = &cache->jobs[i];
        if (hf_id_equal(&one->job, job)) {
            one->used = ++cache->uses;
            return one;
        }
        oldest = one->used < oldest->used ? one : oldest;
    }
    hf_chain_cache_drop(oldest->links);
    *oldest = (struct cached_job){.job = *job, .used = ++cache->uses};
    return oldest;
}

static struct hf_chain_cache *hold_cached(struct hf_points_cache *cache, const struct hf_id *job)
{
    if (cache == NULL) {
        return NULL;
    }
    HF_LOCKED(&cache->mutex);
    return hf_chain_cache_hold(find_cached(cache, job)->links);
}

static void keep_cached_take(struct hf_points_cache *cache, const struct hf_id *job,
                             struct hf_chain_cache *links)
{
    HF_LOCKED(&cache->mutex);
    struct cached_job *one = find_cached(cache, job);
    hf_chain_cache_drop(one->links);
    one->links = links;
}

/* ---- What the stores hold ---- */

void hf_points_destroy(struct hf_points *points)
{
    if (points == NULL) {
        return;
    }
    hf_ranges_fini(&points->ranges);
    hf_chains_fini(&points->chains);
    hf_slice_reader_destroy(points->reader);
    hf_keyring_wipe(&points->keyring);
    hf_free(points);
}

static enum hf_err load_chains(struct hf_server_app *app, struct hf_points *points,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_chain_cache_drop)
    struct hf_chain_cache *known = hold_cached(app->points, &points->job.id);
    HF_CLEANUP(hf_free) struct hf_object_name *bad = NULL;
    struct hf_chain_cache *fresh = NULL;
    struct hf_chains_options options = {
        .store = points->stores.oplog.store, .keyring = &points->keyring, .cache = known};

    if (hf_flow_check_bad(app, &points->job.id, &bad, &options.bad_count, err) != HF_ERR_OK) {
        return err->code;
    }
    options.bad = bad;
    if (hf_slice_reader_create(options.store, &points->keyring, &points->reader, err) !=
            HF_ERR_OK ||
        hf_chains_load(&options, &points->chains, err) != HF_ERR_OK) {
        return err->code;
    }
    if (app->points != NULL) {
        if (hf_chain_cache_create(&points->chains, &fresh, err) != HF_ERR_OK) {
            return err->code;
        }
        keep_cached_take(app->points, &points->job.id, fresh);
    }
    return HF_ERR_OK;
}

enum hf_err hf_points_load_chains(struct hf_server_app *app, const struct hf_id *job,
                                  struct hf_points **out, struct hf_error *err)
{
    HF_CLEANUP(hf_points_destroy) struct hf_points *points = hf_alloc_zero(sizeof *points);

    if (points == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_keep_job_get(app->catalog, job, &points->job, NULL, err) != HF_ERR_OK) {
        return err->code == HF_ERR_NOT_FOUND
                   ? hf_fail(err, HF_ERR_NOT_FOUND, "there is no job %s", hf_id_text(job).text)
                   : err->code;
    }
    if (!hf_job_does(&points->job).stored) {
        return hf_fail(err, HF_ERR_CONFLICT, "the job of set %s is %s: nothing of it is stored",
                       points->job.set_name, hf_job_state_word(points->job.state));
    }
    if (hf_stores_of_job(app, &points->job, &points->stores, err) != HF_ERR_OK ||
        hf_stores_load_keys(&points->stores.snapshots, job, &points->keyring, err) != HF_ERR_OK ||
        load_chains(app, points, err) != HF_ERR_OK) {
        return hf_wrap(err, "oplog of set %s", points->job.set_name);
    }
    *out = HF_TAKE(points);
    return HF_ERR_OK;
}

static bool is_base(const struct hf_snapshot_record *snapshot)
{
    return snapshot->state == HF_SNAPSHOT_COMPLETE && !hf_optime_is_none(&snapshot->checkpoint) &&
           (snapshot->verified_s == 0 || snapshot->verified_ok);
}

static enum hf_err load_once(struct hf_server_app *app, const struct hf_id *job,
                             struct hf_points **out, struct hf_error *err)
{
    HF_CLEANUP(hf_points_destroy) struct hf_points *points = NULL;
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    const struct hf_id_text id = hf_id_text(job);
    const struct hf_catalog_query query = {
        .index = "jobId", .equals_text = id.text, .limit = LIST_MAX};

    if (hf_points_load_chains(app, job, &points, err) != HF_ERR_OK ||
        hf_keep_snapshot_find(app->catalog, &query, &snapshots, err) != HF_ERR_OK) {
        return err->code;
    }
    HF_CLEANUP(hf_free)
    struct hf_base_snapshot *bases = hf_alloc_array(snapshots.count + 1, sizeof *bases);
    struct hf_ranges_options options = {
        .chains = &points->chains, .snapshots = bases, .reader = points->reader};
    if (bases == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (size_t i = 0; i < snapshots.count; i++) {
        const struct hf_snapshot_record *one = &snapshots.items[i];
        if (is_base(one)) {
            bases[options.snapshot_count++] = (struct hf_base_snapshot){
                .id = one->id,
                .capture = one->capture,
                .checkpoint = one->checkpoint,
                .oplog_end = one->oplog_end,
                .committed = one->committed,
            };
        }
    }
    if (hf_ranges_compute(&options, &points->ranges, err) != HF_ERR_OK) {
        return hf_wrap(err, "restorable ranges of set %s", points->job.set_name);
    }
    *out = HF_TAKE(points);
    return HF_ERR_OK;
}

enum hf_err hf_points_load(struct hf_server_app *app, const struct hf_id *job,
                           struct hf_points **out, struct hf_error *err)
{
    enum hf_err code = HF_ERR_UNAVAILABLE;

    for (unsigned loads = 0; code == HF_ERR_UNAVAILABLE && loads < HF_CHAIN_LOADS_MAX; loads++) {
        code = load_once(app, job, out, err);
    }
    return code;
}

uint64_t hf_points_window_start_s(const struct hf_points *points, uint64_t kept_s)
{
    uint64_t end_s = hf_flow_now_s(), newest_s = 0;

    for (size_t i = 0; i < points->chains.count; i++) {
        uint64_t last_s = points->chains.items[i].last.seconds;
        newest_s = last_s > newest_s ? last_s : newest_s;
    }
    end_s = newest_s < end_s ? newest_s : end_s;
    return end_s > kept_s ? end_s - kept_s : 0;
}

/* ---- Requests ---- */

/* Null counts as absent. */
static const struct hf_json *member(const struct hf_json *body, const char *key)
{
    const struct hf_json *value = hf_json_get(body, key);

    return value == NULL || hf_json_type(value) == HF_JSON_NULL ? NULL : value;
}

/* A whole number up to max in whatever form clients send it: 5, 5.0, "5". */
static bool take_number(const struct hf_json *body, const char *key, uint64_t max, uint64_t *out)
{
    const struct hf_json *value = member(body, key);
    int64_t whole = 0;
    double real = 0;

    switch (hf_json_type(value)) {
    case HF_JSON_INTEGER:
        whole = hf_json_integer(value, -1);
        *out = (uint64_t)whole;
        return whole >= 0 && *out <= max;
    case HF_JSON_REAL:
        real = hf_json_get_real(body, key, -1);
        if (!(real >= 0) || real > 9007199254740992.0 || real != floor(real)) {
            return false;
        }
        *out = (uint64_t)real;
        return *out <= max;
    case HF_JSON_TEXT:
        return hf_parse_u64(hf_str_of(hf_json_text(value)), out) && *out <= max;
    case HF_JSON_NULL:
    case HF_JSON_BOOL:
    case HF_JSON_OBJECT:
    case HF_JSON_ARRAY:
        break;
    }
    return false;
}

static enum hf_err take_date(const struct hf_json *body, struct hf_target *out,
                             struct hf_error *err)
{
    uint64_t millis = 0;

    if (!take_number(body, "pointInTimeUTCMillis", (uint64_t)UINT32_MAX * 1000 + 999, &millis)) {
        return hf_fail(err, HF_ERR_INVALID,
                       "pointInTimeUTCMillis: not a number of milliseconds since 1970");
    }
    *out = (struct hf_target){.kind = HF_TARGET_DATE, .seconds = (uint32_t)(millis / 1000)};
    return HF_ERR_OK;
}

static enum hf_err take_timestamp(const struct hf_json *body, struct hf_target *out,
                                  struct hf_error *err)
{
    uint64_t s = 0, i = 0;

    if (member(body, "oplogTs") == NULL || member(body, "oplogInc") == NULL) {
        return hf_fail(err, HF_ERR_INVALID, "oplogTs and oplogInc come together");
    }
    if (!take_number(body, "oplogTs", UINT32_MAX, &s) ||
        !take_number(body, "oplogInc", UINT32_MAX, &i)) {
        return hf_fail(err, HF_ERR_INVALID,
                       "oplogTs and oplogInc: not a timestamp's seconds and increment");
    }
    *out = (struct hf_target){
        .kind = HF_TARGET_TIMESTAMP, .seconds = (uint32_t)s, .increment = (uint32_t)i};
    return HF_ERR_OK;
}

enum hf_err hf_points_target_from_json(const struct hf_json *body, bool *wanted,
                                       struct hf_target *out, struct hf_error *err)
{
    bool date = member(body, "pointInTimeUTCMillis") != NULL;
    bool timestamp = member(body, "oplogTs") != NULL || member(body, "oplogInc") != NULL;

    *wanted = false;
    if (member(body, "checkpointId") != NULL || member(body, "checkPointId") != NULL) {
        return hf_fail(err, HF_ERR_INVALID,
                       "checkpointId: checkpoints are of releases before 4.2; hint: give "
                       "pointInTimeUTCMillis, or oplogTs and oplogInc");
    }
    if (date && timestamp) {
        return hf_fail(err, HF_ERR_INVALID,
                       "pointInTimeUTCMillis and oplogTs name two points: give one");
    }
    if (!date && !timestamp) {
        return HF_ERR_OK;
    }
    *wanted = true;
    return date ? take_date(body, out, err) : take_timestamp(body, out, err);
}

/* ---- For people ---- */

static struct hf_json *instant(const struct hf_optime *optime)
{
    struct hf_json *json = hf_json_object();
    char date[HF_TIME_TEXT_BYTES];

    hf_time_format(optime->seconds, date);
    hf_json_set_text(json, "date", date);
    hf_json_set_u64(json, "seconds", optime->seconds);
    hf_json_set_u64(json, "increment", optime->increment);
    if (optime->term >= 0) {
        hf_json_set_integer(json, "term", optime->term);
    }
    return json;
}

struct hf_json *hf_points_range_to_json(const struct hf_points *points, size_t index)
{
    const struct hf_range *range = &points->ranges.items[index];
    struct hf_json *json = hf_json_object();
    uint64_t bases = 0;

    for (size_t i = 0; i < points->ranges.place_count; i++) {
        bases += points->ranges.places[i].chain == range->chain &&
                 points->ranges.places[i].verdict == HF_BASE_GOOD;
    }
    hf_json_set_take(json, "start", instant(&range->start));
    hf_json_set_take(json, "end", instant(&range->end));
    hf_json_set_text(json, "snapshotId",
                     hf_id_text(&points->ranges.snapshots[range->base].id).text);
    hf_json_set_u64(json, "snapshots", range->chain == HF_NO_CHAIN ? 1 : bases);
    hf_json_set_bool(json, "storedOplog", range->chain != HF_NO_CHAIN);
    hf_json_set_text(json, "endReason", hf_chain_edge_word(range->end_edge));
    if (range->end_edge == HF_CHAIN_CAUSE) {
        hf_json_set_text(json, "endCause", hf_chain_cause_word(range->end_cause));
    }
    hf_json_set_text(json, "endText", range->end_text);
    return json;
}

/* ---- Leases ---- */

enum hf_err hf_points_leases(struct hf_server_app *app, const struct hf_id *job,
                             struct hf_optime **leases, size_t *count, struct hf_error *err)
{
    HF_CLEANUP(hf_keep_restores_fini) struct hf_keep_restores restores = {0};
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    HF_CLEANUP(hf_keep_links_fini) struct hf_keep_links links = {0};
    HF_CLEANUP(hf_free) struct hf_optime *found = NULL;
    const uint64_t now_s = hf_flow_now_s();
    size_t found_count = 0;
    const struct hf_catalog_query restores_query = {
        .index = "state",
        .equals_text = hf_restore_state_word(HF_RESTORE_IN_PROGRESS),
        .limit = LIST_MAX};
    const struct hf_catalog_query snapshots_query = {
        .index = "state",
        .equals_text = hf_snapshot_state_word(HF_SNAPSHOT_IN_PROGRESS),
        .limit = LIST_MAX};
    const struct hf_catalog_query links_query = {.index = "expiresS",
                                                 .has_range = true,
                                                 .minimum = (int64_t)now_s,
                                                 .maximum = INT64_MAX,
                                                 .limit = LIST_MAX};

    if (hf_keep_restore_find(app->catalog, &restores_query, &restores, err) != HF_ERR_OK ||
        hf_keep_snapshot_find(app->catalog, &snapshots_query, &snapshots, err) != HF_ERR_OK ||
        hf_keep_link_find(app->catalog, &links_query, &links, err) != HF_ERR_OK) {
        return err->code;
    }
    found = hf_alloc_array(restores.count + snapshots.count + links.count + 1, sizeof *found);
    if (found == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (size_t i = 0; i < restores.count; i++) {
        const struct hf_restore_record *one = &restores.items[i];
        if (hf_id_equal(&one->job, job) && !hf_optime_is_none(&one->lease_from)) {
            found[found_count++] = one->lease_from;
        }
    }
    for (size_t i = 0; i < snapshots.count; i++) {
        const struct hf_snapshot_record *one = &snapshots.items[i];
        if (hf_id_equal(&one->job, job)) {
            uint64_t from_s =
                one->created_s > CAPTURE_LEASE_S ? one->created_s - CAPTURE_LEASE_S : 1;
            found[found_count++] = (struct hf_optime){
                .seconds = from_s > UINT32_MAX ? UINT32_MAX : (uint32_t)from_s, .term = -1};
        }
    }
    for (size_t i = 0; i < links.count; i++) {
        if (hf_id_equal(&links.items[i].job, job) && hf_link_leases(&links.items[i], now_s)) {
            found[found_count++] = links.items[i].lease_from;
        }
    }
    *leases = HF_TAKE(found);
    *count = found_count;
    return HF_ERR_OK;
}
