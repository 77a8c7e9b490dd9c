/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stores that this process knows, and which of them are a job's.
 *
 * Lookups go through one list under one mutex, which is never held while a store or the catalog is asked.
 */
#include "server/stores.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "os/fs.h"
#include "server/keep.h"
#include "server/stores_internal.h"
#include "snapshot/keys.h"

#define SEEN_MS 1000
#define JOBS_MAX 100000

/* ---- The list ---- */

/* Under the mutex. Of slices: one that takes them alone comes before the snapshot store whose id it has. */
static struct hf_known_store *find(const struct hf_store_registry *stores, const struct hf_id *id,
                                   bool slices)
{
    struct hf_known_store *found = NULL;

    for (size_t i = 0; i < stores->count; i++) {
        struct hf_known_store *one = stores->entries[i];
        if (one->gone || !hf_id_equal(&one->record.id, id) || (one->record.oplog && !slices)) {
            continue;
        }
        if (found == NULL || one->record.oplog) {
            found = one;
        }
    }
    return found;
}

enum hf_err hf_stores_note(struct hf_server_app *app, const struct hf_store_record *record,
                           struct hf_known_store **out, struct hf_error *err)
{
    struct hf_store_registry *stores = app->stores;
    HF_CLEANUP(hf_free) struct hf_known_store *fresh = hf_alloc_zero(sizeof *fresh);

    if (fresh == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    HF_LOCKED(&stores->mutex);
    for (size_t i = 0; i < stores->count; i++) {
        struct hf_known_store *one = stores->entries[i];
        if (strcmp(one->record.name, record->name) == 0 &&
            strcmp(one->record.url, record->url) == 0 &&
            hf_id_equal(&one->record.id, &record->id)) {
            one->record = *record;
            one->gone = false;
            *out = one;
            return HF_ERR_OK;
        }
    }
    if (stores->count == HF_STORES_MAX) {
        return hf_fail(err, HF_ERR_LIMIT, "there are %d stores already", HF_STORES_MAX);
    }
    fresh->record = *record;
    (void)snprintf(fresh->name, sizeof fresh->name, "%s", record->name);
    *out = stores->entries[stores->count++] = fresh;
    fresh = NULL;
    return HF_ERR_OK;
}

static bool is_listed(const struct hf_catalog_list *list, const struct hf_known_store *entry)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *id = hf_json_get_text(list->documents[i].json, "id");
        const char *url = hf_json_get_text(list->documents[i].json, "url");
        if (strcmp(list->documents[i].id, entry->record.name) == 0 && id != NULL && url != NULL &&
            strcmp(id, hf_id_text(&entry->record.id).text) == 0 &&
            strcmp(url, entry->record.url) == 0) {
            return true;
        }
    }
    return false;
}

enum hf_err hf_stores_refresh(struct hf_server_app *app, struct hf_error *err)
{
    struct hf_store_registry *stores = app->stores;
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list list = {.documents = NULL};
    const struct hf_catalog_query query = {.kind = HF_KIND_STORE, .limit = HF_STORES_MAX};

    if (hf_catalog_find(app->catalog, &query, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < list.count; i++) {
        struct hf_store_record record;
        struct hf_known_store *entry = NULL;
        if (hf_store_record_decode(list.documents[i].json, &record, err) != HF_ERR_OK ||
            hf_stores_note(app, &record, &entry, err) != HF_ERR_OK) {
            return hf_wrap(err, "catalog: store %s", list.documents[i].id);
        }
    }
    HF_LOCKED(&stores->mutex);
    for (size_t i = 0; i < stores->count; i++) {
        stores->entries[i]->gone = !is_listed(&list, stores->entries[i]);
    }
    return HF_ERR_OK;
}

enum hf_err hf_stores_record_get(struct hf_server_app *app, const char *name,
                                 struct hf_store_record *out, uint64_t *revision,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};

    enum hf_err code = hf_catalog_get(app->catalog, HF_KIND_STORE, name, &document, err);
    if (code == HF_ERR_NOT_FOUND) {
        return hf_fail(err, code, "there is no store named %s; hint: holdfast store list", name);
    }
    if (code != HF_ERR_OK || hf_store_record_decode(document.json, out, err) != HF_ERR_OK) {
        return err->code;
    }
    *revision = document.revision;
    return HF_ERR_OK;
}

/* ---- Opening ---- */

char *hf_stores_key_path(const struct hf_server_app *app, const struct hf_store_record *record)
{
    return hf_path_join(app->stores->data_dir, record->key_file);
}

enum hf_err hf_stores_check_mark(const struct hf_server_app *app,
                                 const struct hf_store_record *record,
                                 const struct hf_storemark *mark, struct hf_error *err)
{
    if (!hf_id_equal(&mark->installation, &app->stores->installation)) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "%s belongs to another installation (%s); hint: give each server stores of "
                       "its own, or its data directory back",
                       record->url, hf_id_text(&mark->installation).text);
    }
    if (mark->oplog_only != record->oplog) {
        return hf_fail(err, HF_ERR_CONFLICT, "%s is a store %s (%s); hint: name an empty directory",
                       record->url, mark->oplog_only ? "for the oplog alone" : "of snapshots",
                       hf_id_text(&mark->store).text);
    }
    if (!hf_id_is_none(&record->id) && !hf_id_equal(&mark->store, &record->id)) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "%s is the store %s, and should be %s; hint: look whether two directories "
                       "were exchanged",
                       record->url, hf_id_text(&mark->store).text, hf_id_text(&record->id).text);
    }
    return HF_ERR_OK;
}

void hf_stores_publish_take(struct hf_server_app *app, struct hf_known_store *entry,
                            struct hf_store *store, const struct hf_storemark *mark,
                            const struct hf_store_key *key)
{
    struct hf_store *second = store;

    hf_mutex_lock(&app->stores->mutex);
    if (entry->store == NULL) {
        const struct hf_object_name name = {.kind = HF_OBJECT_MARK, .epoch = mark->epoch};
        entry->mark = *mark;
        entry->key = *key;
        (void)snprintf(entry->mark_name, sizeof entry->mark_name, "%s",
                       hf_object_name_text(&name).text);
        entry->seen_ms = hf_clock_mono_ms();
        entry->store = store;
        second = NULL;
    }
    hf_mutex_unlock(&app->stores->mutex);
    hf_store_close(second);
}

/* In front of what its driver said. A store that has no mark, or no directory, is not mounted. */
static enum hf_err say_away(const struct hf_store_record *record, struct hf_error *err)
{
    const char *kind = record->oplog ? "oplog store" : "store";

    if (err->code != HF_ERR_NOT_FOUND) {
        return hf_wrap(err, "%s %s", kind, record->name);
    }
    return hf_fail(err, HF_ERR_UNAVAILABLE,
                   "%s %s is not there: %s has no mark; hint: mount its file system, or look where "
                   "its directory went",
                   kind, record->name, record->url);
}

static enum hf_err open_entry(struct hf_server_app *app, struct hf_known_store *entry,
                              const struct hf_store_record *record, struct hf_error *err)
{
    HF_CLEANUP(hf_store_close) struct hf_store *store = NULL;
    HF_CLEANUP(hf_store_key_wipe) struct hf_store_key key = {.key = {0}};
    HF_CLEANUP(hf_free) char *path = hf_stores_key_path(app, record);
    const struct hf_store_url_options url = {.url = record->url};
    struct hf_storemark mark;

    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    const struct hf_store_open_options open = {.key_file =
                                                   record->key_file[0] == '\0' ? NULL : path};
    if (hf_store_open_url(&url, &store, err) != HF_ERR_OK ||
        hf_store_keys_open(store, &open, &mark, &key, err) != HF_ERR_OK ||
        hf_stores_check_mark(app, record, &mark, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_stores_publish_take(app, entry, HF_TAKE(store), &mark, &key);
    return HF_ERR_OK;
}

/* Opens it, or sees that it is still there. */
static enum hf_err look_at(struct hf_server_app *app, struct hf_known_store *entry,
                           struct hf_error *err)
{
    struct hf_store_registry *stores = app->stores;
    uint64_t now_ms = hf_clock_mono_ms(), ignored = 0;

    hf_mutex_lock(&stores->mutex);
    const struct hf_store_record record = entry->record;
    struct hf_store *store = entry->store;
    bool seen = store != NULL && now_ms - entry->seen_ms < SEEN_MS;
    hf_mutex_unlock(&stores->mutex);
    if (seen) {
        return HF_ERR_OK;
    }
    enum hf_err code = store == NULL
                           ? open_entry(app, entry, &record, err)
                           : hf_store_size(store, hf_str_of(entry->mark_name), &ignored, err);
    if (code != HF_ERR_OK) {
        return say_away(&record, err);
    }
    HF_LOCKED(&stores->mutex);
    entry->seen_ms = now_ms;
    return HF_ERR_OK;
}

static struct hf_open_store opened(const struct hf_known_store *entry)
{
    return (struct hf_open_store){
        .name = entry->name, .store = entry->store, .mark = &entry->mark, .key = &entry->key};
}

/* ---- Of a job ---- */

/* An app that was put together by hand, of stores that are open: there is no list. */
static struct hf_open_store by_hand(struct hf_server_app *app, struct hf_store *store)
{
    return (struct hf_open_store){
        .name = HF_STORE_FIRST_NAME, .store = store, .mark = &app->mark, .key = &app->key};
}

static enum hf_err get(struct hf_server_app *app, const struct hf_id *id, bool slices,
                       struct hf_open_store *out, struct hf_error *err)
{
    struct hf_known_store *entry = NULL;

    if (hf_id_is_none(id)) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "no store was assigned yet");
    }
    for (unsigned looks = 0; looks < 2 && entry == NULL; looks++) {
        if (looks == 1 && hf_stores_refresh(app, err) != HF_ERR_OK) {
            return err->code;
        }
        HF_LOCKED(&app->stores->mutex);
        entry = find(app->stores, id, slices);
    }
    if (entry == NULL) {
        return hf_fail(
            err, HF_ERR_NOT_FOUND,
            "store %s is not known here; hint: holdfast store list, and add the one that "
            "is missing",
            hf_id_text(id).text);
    }
    if (look_at(app, entry, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = opened(entry);
    return HF_ERR_OK;
}

enum hf_err hf_stores_get(struct hf_server_app *app, const struct hf_id *store,
                          struct hf_open_store *out, struct hf_error *err)
{
    if (app->stores == NULL) {
        *out = by_hand(app, app->store);
        return HF_ERR_OK;
    }
    return get(app, store, false, out, err);
}

enum hf_err hf_stores_oplog_of(struct hf_server_app *app, const struct hf_job_record *job,
                               struct hf_open_store *out, struct hf_error *err)
{
    if (app->stores == NULL) {
        *out = by_hand(app, app->oplog_store);
        return HF_ERR_OK;
    }
    return get(app, hf_id_is_none(&job->oplog_store) ? &job->store : &job->oplog_store, true, out,
               err);
}

enum hf_err hf_stores_of_job(struct hf_server_app *app, const struct hf_job_record *job,
                             struct hf_job_stores *out, struct hf_error *err)
{
    return hf_stores_get(app, &job->store, &out->snapshots, err) == HF_ERR_OK
               ? hf_stores_oplog_of(app, job, &out->oplog, err)
               : err->code;
}

/* Stores that were put together by hand are every job's. */
static enum hf_err read_job(struct hf_server_app *app, const struct hf_id *job,
                            struct hf_job_record *out, struct hf_error *err)
{
    *out = (struct hf_job_record){.id = *job};
    return app->stores == NULL ? HF_ERR_OK : hf_keep_job_get(app->catalog, job, out, NULL, err);
}

enum hf_err hf_stores_of_job_id(struct hf_server_app *app, const struct hf_id *job,
                                struct hf_job_stores *out, struct hf_error *err)
{
    struct hf_job_record record;

    return read_job(app, job, &record, err) == HF_ERR_OK ? hf_stores_of_job(app, &record, out, err)
                                                         : err->code;
}

enum hf_err hf_stores_snapshots_of_job_id(struct hf_server_app *app, const struct hf_id *job,
                                          struct hf_open_store *out, struct hf_error *err)
{
    struct hf_job_record record;

    return read_job(app, job, &record, err) == HF_ERR_OK
               ? hf_stores_get(app, &record.store, out, err)
               : err->code;
}

enum hf_err hf_stores_oplog_of_job_id(struct hf_server_app *app, const struct hf_id *job,
                                      struct hf_open_store *out, struct hf_error *err)
{
    struct hf_job_record record;

    return read_job(app, job, &record, err) == HF_ERR_OK
               ? hf_stores_oplog_of(app, &record, out, err)
               : err->code;
}

enum hf_err hf_stores_load_keys(const struct hf_open_store *store, const struct hf_id *job,
                                struct hf_keyring *out, struct hf_error *err)
{
    return hf_job_keys_load(store->store, store->key, job, out, err);
}

enum hf_err hf_stores_open_snapshots(struct hf_server_app *app, const struct hf_id *job,
                                     struct hf_open_store *out, struct hf_keyring *keyring,
                                     struct hf_error *err)
{
    return hf_stores_snapshots_of_job_id(app, job, out, err) == HF_ERR_OK
               ? hf_stores_load_keys(out, job, keyring, err)
               : err->code;
}

enum hf_err hf_stores_open_oplog(struct hf_server_app *app, const struct hf_id *job,
                                 struct hf_open_store *out, struct hf_keyring *keyring,
                                 struct hf_error *err)
{
    struct hf_open_store snapshots;
    struct hf_error ignored;

    if (hf_stores_oplog_of_job_id(app, job, out, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_stores_open_snapshots(app, job, &snapshots, keyring, err);
    if (code != HF_ERR_UNAVAILABLE) {
        return code;
    }
    return hf_stores_load_keys(out, job, keyring, &ignored) == HF_ERR_OK ? HF_ERR_OK : code;
}

enum hf_err hf_stores_share_keys(const struct hf_job_stores *stores, const struct hf_id *job,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_keyring_wipe) struct hf_keyring keyring = {0};
    const struct hf_open_store *from = &stores->snapshots, *to = &stores->oplog;

    if (from->store == to->store) {
        return HF_ERR_OK;
    }
    if (hf_id_equal(&from->mark->store, &to->mark->store)) {
        return hf_job_keys_copy(from->store, to->store, job, err); /* one key opens both */
    }
    return hf_stores_load_keys(from, job, &keyring, err) == HF_ERR_OK
               ? hf_job_keys_put(to->store, to->mark, to->key, &keyring, err)
               : err->code;
}

uint64_t hf_stores_load_factor(struct hf_server_app *app, const struct hf_id *store)
{
    if (app->stores == NULL) {
        return 1;
    }
    HF_LOCKED(&app->stores->mutex);
    const struct hf_known_store *entry = find(app->stores, store, false);
    return entry == NULL ? 1 : entry->record.load_factor;
}

struct hf_stores_names hf_stores_names(struct hf_server_app *app, const struct hf_id *store,
                                       const struct hf_id *oplog_store)
{
    struct hf_stores_names names = {.snapshots = "", .oplog = ""};

    if (app->stores == NULL || hf_id_is_none(store)) {
        return names;
    }
    HF_LOCKED(&app->stores->mutex);
    const struct hf_known_store *snapshots = find(app->stores, store, false);
    const struct hf_known_store *oplog =
        find(app->stores, hf_id_is_none(oplog_store) ? store : oplog_store, true);
    (void)snprintf(names.snapshots, sizeof names.snapshots, "%s",
                   snapshots == NULL ? "" : snapshots->record.name);
    (void)snprintf(names.oplog, sizeof names.oplog, "%s", oplog == NULL ? "" : oplog->record.name);
    return names;
}

bool hf_stores_encrypt(struct hf_server_app *app, const struct hf_id *job)
{
    struct hf_job_record record;
    struct hf_error ignored;

    if (app->stores == NULL || read_job(app, job, &record, &ignored) != HF_ERR_OK) {
        return app->mark.encrypted;
    }
    HF_LOCKED(&app->stores->mutex);
    const struct hf_known_store *entry = find(app->stores, &record.store, false);
    return entry == NULL ? app->mark.encrypted : entry->record.encrypted;
}

/* ---- All of them ---- */

void hf_store_views_fini(struct hf_store_views *views)
{
    hf_free(views->items);
    *views = (struct hf_store_views){.items = NULL};
}

const char *hf_stores_word(const struct hf_store_record *record)
{
    return strcmp(record->name, HF_STORE_FIRST_NAME) == 0         ? "snapshots"
           : strcmp(record->name, HF_STORE_FIRST_OPLOG_NAME) == 0 ? "oplog"
                                                                  : record->name;
}

static int by_name(const void *a, const void *b)
{
    const struct hf_store_view *one = a, *other = b;
    int first = (strcmp(other->record.name, HF_STORE_FIRST_NAME) == 0) -
                (strcmp(one->record.name, HF_STORE_FIRST_NAME) == 0);

    return first != 0 ? first : strcmp(one->record.name, other->record.name);
}

static void look_for_view(struct hf_server_app *app, struct hf_known_store *entry,
                          struct hf_store_view *out)
{
    struct hf_error err;

    hf_mutex_lock(&app->stores->mutex);
    out->record = entry->record;
    hf_mutex_unlock(&app->stores->mutex);
    if (look_at(app, entry, &err) != HF_ERR_OK) {
        (void)snprintf(out->away, sizeof out->away, "%s", err.message);
        return;
    }
    out->store = entry->store;
    const char *url = hf_store_url(out->store);
    if (strncmp(url, "file://", 7) != 0 ||
        hf_fs_space(url + 7, &out->free_bytes, &out->total_bytes, &err) != HF_ERR_OK) {
        out->free_bytes = UINT64_MAX;
        out->total_bytes = 0;
    }
}

static void view_by_hand(struct hf_server_app *app, struct hf_store *store, bool oplog,
                         struct hf_store_view *out)
{
    *out = (struct hf_store_view){.store = store,
                                  .record = {.id = app->mark.store,
                                             .oplog = oplog,
                                             .encrypted = app->mark.encrypted,
                                             .load_factor = 1},
                                  .free_bytes = UINT64_MAX};
    (void)snprintf(out->record.name, sizeof out->record.name, "%s",
                   oplog ? HF_STORE_FIRST_OPLOG_NAME : HF_STORE_FIRST_NAME);
    (void)snprintf(out->record.url, sizeof out->record.url, "%s", hf_store_url(store));
}

/* An oplog store is every job's that names it; else the slices lie beside the snapshots. */
static void mark_oplog(struct hf_store_views *views)
{
    bool any = false;

    for (size_t i = 0; i < views->count; i++) {
        any = any || views->items[i].record.oplog;
    }
    for (size_t i = 0; i < views->count; i++) {
        views->items[i].takes_oplog = views->items[i].record.oplog || !any;
    }
}

static struct hf_store_view *view_of(struct hf_store_views *views, const struct hf_id *id,
                                     bool slices)
{
    struct hf_store_view *found = NULL;

    for (size_t i = 0; i < views->count; i++) {
        struct hf_store_view *one = &views->items[i];
        if (hf_id_equal(&one->record.id, id) && (slices || !one->record.oplog) &&
            (found == NULL || one->record.oplog)) {
            found = one;
        }
    }
    return found;
}

static enum hf_err count_jobs(struct hf_server_app *app, struct hf_store_views *views,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};
    HF_CLEANUP(hf_keep_usages_fini) struct hf_keep_usages usages = {0};
    const struct hf_catalog_query all = {.limit = JOBS_MAX};

    if (hf_keep_job_find(app->catalog, &all, &jobs, err) != HF_ERR_OK ||
        hf_keep_usage_find(app->catalog, &all, &usages, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < jobs.count; i++) {
        const struct hf_job_record *job = &jobs.items[i];
        if (job->state == HF_JOB_INACTIVE && !job->leftover) {
            continue;
        }
        struct hf_store_view *snapshots = view_of(views, &job->store, false);
        struct hf_store_view *oplog = view_of(
            views, hf_id_is_none(&job->oplog_store) ? &job->store : &job->oplog_store, true);
        if (snapshots != NULL) {
            snapshots->jobs++;
        }
        if (oplog != NULL && oplog != snapshots) {
            oplog->jobs++;
            oplog->takes_oplog = true;
        }
    }
    for (size_t i = 0; i < usages.count; i++) {
        struct hf_store_view *store = view_of(views, &usages.items[i].store, false);
        if (store != NULL) {
            store->used_bytes += usages.items[i].object_bytes;
        }
    }
    return HF_ERR_OK;
}

static size_t list_entries(struct hf_server_app *app, struct hf_known_store *out[HF_STORES_MAX])
{
    size_t count = 0;

    HF_LOCKED(&app->stores->mutex);
    for (size_t i = 0; i < app->stores->count; i++) {
        if (!app->stores->entries[i]->gone) {
            out[count++] = app->stores->entries[i];
        }
    }
    return count;
}

enum hf_err hf_stores_each_open(struct hf_server_app *app, struct hf_open_store out[HF_STORES_MAX],
                                size_t *count, struct hf_error *err)
{
    struct hf_known_store *entries[HF_STORES_MAX];
    struct hf_error away;

    *count = 0;
    if (app->stores == NULL) {
        out[(*count)++] = by_hand(app, app->store);
        if (app->oplog_store != NULL && app->oplog_store != app->store) {
            out[(*count)++] = by_hand(app, app->oplog_store);
        }
        return HF_ERR_OK;
    }
    if (hf_stores_refresh(app, err) != HF_ERR_OK) {
        return err->code;
    }
    size_t known = list_entries(app, entries);
    for (size_t i = 0; i < known; i++) {
        if (look_at(app, entries[i], &away) == HF_ERR_OK) {
            out[(*count)++] = opened(entries[i]);
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_stores_view(struct hf_server_app *app, bool with_jobs, struct hf_store_views *out,
                           struct hf_error *err)
{
    HF_CLEANUP(hf_store_views_fini) struct hf_store_views views = {.items = NULL};
    struct hf_known_store *entries[HF_STORES_MAX];
    size_t count = 0;

    if (app->stores != NULL) {
        if (hf_stores_refresh(app, err) != HF_ERR_OK) {
            return err->code;
        }
        count = list_entries(app, entries);
    }
    views.items = hf_alloc_zero((count + 2) * sizeof *views.items);
    if (views.items == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (app->stores == NULL) {
        view_by_hand(app, app->store, false, &views.items[views.count++]);
        if (app->oplog_store != NULL && app->oplog_store != app->store) {
            view_by_hand(app, app->oplog_store, true, &views.items[views.count++]);
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            look_for_view(app, entries[i], &views.items[views.count++]);
        }
    }
    qsort(views.items, views.count, sizeof *views.items, by_name);
    mark_oplog(&views);
    if (with_jobs && count_jobs(app, &views, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = views;
    views = (struct hf_store_views){.items = NULL};
    return HF_ERR_OK;
}
