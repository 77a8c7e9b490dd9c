/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stores that an operator adds, changes and removes.
 *
 *   add: key file -> mark -> document. A key file that lies where a new store's would go is never taken for another store, and
 *   never written over.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "os/fs.h"
#include "server/flow.h"
#include "server/stores_internal.h"
#include "snapshot/keys.h"
#include "store/store.h"

#define CAS_TRIES 8
#define LIST_MAX 100000

static bool is_first(const char *name)
{
    return strcmp(name, HF_STORE_FIRST_NAME) == 0 || strcmp(name, HF_STORE_FIRST_OPLOG_NAME) == 0;
}

/* ---- Add ---- */

static enum hf_err check_new(struct hf_server_app *app, const struct hf_store_record *wish,
                             const char *url, struct hf_error *err)
{
    HF_CLEANUP(hf_store_views_fini) struct hf_store_views views = {.items = NULL};

    if (hf_stores_view(app, false, &views, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < views.count; i++) {
        const struct hf_store_record *one = &views.items[i].record;
        if (strcmp(one->name, wish->name) == 0) {
            return hf_fail(err, HF_ERR_EXISTS, "there is a store named %s: %s", one->name,
                           one->url);
        }
        if (strcmp(one->url, url) == 0) {
            return hf_fail(err, HF_ERR_EXISTS, "%s is the store named %s already", url, one->name);
        }
    }
    return is_first(wish->name)
               ? hf_fail(err, HF_ERR_INVALID,
                         "'%s' is the name of the store that --store or --oplog-store has",
                         wish->name)
               : HF_ERR_OK;
}

/* An empty directory becomes a store. */
static enum hf_err make(struct hf_server_app *app, const struct hf_stores_add *wish,
                        struct hf_store *store, const char *key_file, struct hf_storemark *mark,
                        struct hf_store_key *key, struct hf_error *err)
{
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL};
    const struct hf_store_create_options create = {
        .installation = app->stores->installation,
        .plain = wish->plain,
        .oplog_only = wish->record.oplog,
        .key_file = key_file,
        .now_s = hf_flow_now_s(),
    };

    if (hf_store_list(store, hf_str_of(""), hf_str_of(""), 1, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    if (list.count > 0) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "%s holds %s and no mark; hint: name an empty directory",
                       hf_store_url(store), list.entries[0].name);
    }
    if (!wish->plain && hf_fs_exists(key_file)) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "%s lies there already, the key of another store, or of one that was not "
                       "made to its end; hint: move it to a safe place, or give this store another "
                       "name",
                       key_file);
    }
    return hf_store_keys_create(store, &create, mark, key, err);
}

static enum hf_err put_document(struct hf_server_app *app, const struct hf_store_record *record,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_store_record_encode(record);

    if (json == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    enum hf_err code =
        hf_catalog_insert(app->catalog, HF_KIND_STORE, record->name, json, HF_CATALOG_SYNCED, err);
    return code == HF_ERR_EXISTS
               ? hf_fail(err, code, "a store named %s was added just now", record->name)
               : code;
}

static enum hf_err open_new(struct hf_server_app *app, const struct hf_stores_add *wish,
                            struct hf_store_record *out, char **key_path, struct hf_error *err)
{
    HF_CLEANUP(hf_store_close) struct hf_store *store = NULL;
    HF_CLEANUP(hf_store_key_wipe) struct hf_store_key key = {.key = {0}};
    HF_CLEANUP(hf_free) char *path = hf_stores_key_path(app, out);
    const struct hf_store_url_options url = {.url = wish->record.url, .create = true};
    struct hf_known_store *entry = NULL;
    struct hf_storemark mark;

    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    const struct hf_store_open_options open = {.key_file = hf_fs_exists(path) ? path : NULL};
    if (hf_store_open_url(&url, &store, err) != HF_ERR_OK ||
        check_new(app, out, hf_store_url(store), err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_store_keys_open(store, &open, &mark, &key, err);
    bool made = code == HF_ERR_NOT_FOUND;
    if (made) {
        code = make(app, wish, store, path, &mark, &key, err);
    }
    if (code != HF_ERR_OK || HF_FAULT("server.stores.made", err) != HF_ERR_OK ||
        hf_stores_check_mark(app, out, &mark, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)snprintf(out->url, sizeof out->url, "%s", hf_store_url(store));
    out->id = mark.store;
    out->encrypted = mark.encrypted;
    out->created_s = mark.created_s;
    if (!mark.encrypted) {
        out->key_file[0] = '\0';
    }
    if (put_document(app, out, err) != HF_ERR_OK ||
        hf_stores_note(app, out, &entry, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_stores_publish_take(app, entry, HF_TAKE(store), &mark, &key);
    *key_path = made && mark.encrypted ? HF_TAKE(path) : NULL;
    return HF_ERR_OK;
}

enum hf_err hf_stores_add(struct hf_server_app *app, const struct hf_stores_add *wish,
                          struct hf_store_record *out, char **key_path, struct hf_error *err)
{
    *out = wish->record;
    *key_path = NULL;
    (void)snprintf(out->key_file, sizeof out->key_file, "store-%s.key", out->name);
    if (hf_store_record_check(out, err) != HF_ERR_OK ||
        check_new(app, out, wish->record.url, err) != HF_ERR_OK ||
        open_new(app, wish, out, key_path, err) != HF_ERR_OK) {
        return hf_wrap(err, "add a store");
    }
    hf_log_info(app->log, "store.added", HF_STR("store", out->name), HF_STR("url", out->url),
                HF_STR("id", hf_id_text(&out->id).text));
    return HF_ERR_OK;
}

/* ---- Set ---- */

/* It lies there now, whole as far as its mark says. */
static enum hf_err take_url(struct hf_server_app *app, const char *url,
                            struct hf_store_record *record, struct hf_error *err)
{
    HF_CLEANUP(hf_store_close) struct hf_store *store = NULL;
    HF_CLEANUP(hf_store_key_wipe) struct hf_store_key key = {.key = {0}};
    const struct hf_store_url_options options = {.url = url};
    const struct hf_store_open_options open = {.key_optional = true};
    struct hf_storemark mark;

    if (is_first(record->name)) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "where store %s lies is said by --store or --oplog-store of the server",
                       record->name);
    }
    if (hf_store_open_url(&options, &store, err) != HF_ERR_OK ||
        hf_store_keys_open(store, &open, &mark, &key, err) != HF_ERR_OK) {
        return hf_wrap(err, "store %s", record->name);
    }
    if (strlen(hf_store_url(store)) >= sizeof record->url) {
        return hf_fail(err, HF_ERR_INVALID, "the URL of a store has at most %zu bytes",
                       sizeof record->url - 1);
    }
    (void)snprintf(record->url, sizeof record->url, "%s", hf_store_url(store));
    return hf_stores_check_mark(app, record, &mark, err);
}

enum hf_err hf_stores_set(struct hf_server_app *app, const char *name,
                          const struct hf_stores_change *change, struct hf_store_record *out,
                          struct hf_error *err)
{
    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        struct hf_known_store *entry = NULL;
        uint64_t revision = 0;

        if (hf_stores_record_get(app, name, out, &revision, err) != HF_ERR_OK) {
            return err->code;
        }
        if (change->url != NULL && take_url(app, change->url, out, err) != HF_ERR_OK) {
            return err->code;
        }
        out->labels = change->labels == NULL ? out->labels : *change->labels;
        out->load_factor = change->load_factor == NULL ? out->load_factor : *change->load_factor;
        out->max_capacity_bytes = change->max_capacity_bytes == NULL ? out->max_capacity_bytes
                                                                     : *change->max_capacity_bytes;
        out->closed = change->closed == NULL ? out->closed : *change->closed;
        HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_store_record_encode(out);
        if (json == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        }
        if (hf_store_record_check(out, err) != HF_ERR_OK) {
            return err->code;
        }
        enum hf_err code = hf_catalog_replace(app->catalog, HF_KIND_STORE, name, revision, json,
                                              HF_CATALOG_SYNCED, err);
        if (code == HF_ERR_OK) {
            return hf_stores_note(app, out, &entry, err) == HF_ERR_OK ? hf_stores_refresh(app, err)
                                                                      : err->code;
        }
        if (code != HF_ERR_CONFLICT) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "store %s changes too often; hint: try again", name);
}

/* ---- Remove ---- */

/* A snapshot that the store still has, of a job that names another one now, or none. */
static enum hf_err check_snapshots(struct hf_server_app *app, const struct hf_store_record *store,
                                   const struct hf_job_record *job, struct hf_error *err)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};

    if (hf_keep_snapshots_of(app->catalog, &job->id, &snapshots, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < snapshots.count; i++) {
        const struct hf_snapshot_record *one = &snapshots.items[i];
        if (hf_id_equal(&one->store, &store->id) &&
            (one->state == HF_SNAPSHOT_COMPLETE || one->state == HF_SNAPSHOT_IN_PROGRESS)) {
            return hf_fail(err, HF_ERR_CONFLICT, "store %s has snapshot %s of set %s", store->name,
                           hf_id_text(&one->id).text, one->set_name);
        }
    }
    return HF_ERR_OK;
}

/* What a forced end left there is deleted by itself, unless the store is lost. */
static bool is_there(struct hf_server_app *app, const struct hf_store_record *store)
{
    const struct hf_job_record of_it = {.store = store->id};
    struct hf_open_store at;
    struct hf_error away;

    return (store->oplog ? hf_stores_oplog_of(app, &of_it, &at, &away)
                         : hf_stores_get(app, &store->id, &at, &away)) == HF_ERR_OK;
}

static enum hf_err check_jobs(struct hf_server_app *app, const struct hf_store_record *store,
                              struct hf_error *err)
{
    bool there = is_there(app, store);
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};
    const struct hf_catalog_query all = {.limit = LIST_MAX};

    if (hf_keep_job_find(app->catalog, &all, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < jobs.count; i++) {
        const struct hf_job_record *job = &jobs.items[i];
        bool lives = job->state != HF_JOB_INACTIVE || (job->leftover && there);
        bool names =
            hf_id_equal(&job->store, &store->id) || hf_id_equal(&job->oplog_store, &store->id);
        if (lives && names) {
            return hf_fail(err, HF_ERR_CONFLICT,
                           "store %s is that of the job of set %s, which is %s%s; hint: a job that "
                           "is terminated, and started again, is given another one",
                           store->name, job->set_name, hf_job_state_word(job->state),
                           job->leftover ? " and has left something there" : "");
        }
        if (!lives && !store->oplog && check_snapshots(app, store, job, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err check_filters(struct hf_server_app *app, const struct hf_store_record *store,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list list = {.documents = NULL};
    const struct hf_catalog_query all = {.kind = HF_KIND_ASSIGNMENT, .limit = LIST_MAX};

    if (hf_catalog_find(app->catalog, &all, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < list.count; i++) {
        struct hf_assignment_record filter;
        if (hf_assignment_record_decode(list.documents[i].json, &filter, err) != HF_ERR_OK) {
            return err->code;
        }
        if (hf_store_words_have(&filter.snapshot_stores, store->name) ||
            hf_store_words_have(&filter.oplog_stores, store->name)) {
            return hf_fail(err, HF_ERR_CONFLICT,
                           "the filter of project %s names store %s; hint: holdfast "
                           "assignment set",
                           hf_id_text(&filter.project).text, store->name);
        }
    }
    return HF_ERR_OK;
}

static enum hf_err check_unused(struct hf_server_app *app, const struct hf_store_record *store,
                                struct hf_error *err)
{
    return check_jobs(app, store, err) == HF_ERR_OK ? check_filters(app, store, err) : err->code;
}

enum hf_err hf_stores_remove(struct hf_server_app *app, const char *name, struct hf_error *err)
{
    struct hf_store_record record;
    uint64_t revision = 0;

    if (is_first(name)) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "store %s is that of --store or --oplog-store, and stays; hint: holdfast "
                       "store set %s --assignment off keeps new jobs away from it",
                       name, name);
    }
    if (hf_stores_record_get(app, name, &record, &revision, err) != HF_ERR_OK ||
        check_unused(app, &record, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_catalog_remove(app->catalog, HF_KIND_STORE, name, revision, err);
    if (code == HF_ERR_CONFLICT) {
        return hf_fail(err, HF_ERR_BUSY, "store %s has just been changed; hint: try again", name);
    }
    if (code != HF_ERR_OK) {
        return code;
    }
    /* A job that was given it in this instant: it stays. One that is given it later finds that it is gone (provision). */
    if (check_unused(app, &record, err) != HF_ERR_OK) {
        struct hf_error why = *err;
        if (put_document(app, &record, err) == HF_ERR_OK) {
            *err = why;
        }
        return err->code;
    }
    hf_log_info(app->log, "store.removed", HF_STR("store", name), HF_STR("url", record.url));
    return hf_stores_refresh(app, err);
}
