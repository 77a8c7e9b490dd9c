/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first stores at the start, made where there are none, and the documents of both.
 *
 *   key file -> mark -> document; a start that died between is taken up by the next one
 *
 * The document remembers which store the first one was: an empty directory in its place is a file system that is not mounted,
 * and not another beginning, as long as a job has something in it.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "os/fs.h"
#include "server/flow.h"
#include "server/stores_internal.h"
#include "snapshot/keys.h"
#include "store/store.h"

#define FIRST_KEY_FILE "store.key"
#define CAS_TRIES 8
#define JOBS_MAX 100000

/* ---- Documents ---- */

/* Only what the start knows is changed: the rest is the operator's. */
static enum hf_err put_first(struct hf_server_app *app, const struct hf_store_record *first,
                             struct hf_error *err)
{
    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        struct hf_store_record record = *first;
        uint64_t revision = 0;
        enum hf_err code = hf_stores_record_get(app, first->name, &record, &revision, err);

        if (code == HF_ERR_NOT_FOUND) {
            HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_store_record_encode(first);
            code = json == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory")
                                : hf_catalog_insert(app->catalog, HF_KIND_STORE, first->name, json,
                                                    HF_CATALOG_SYNCED, err);
        } else if (code == HF_ERR_OK) {
            if (strcmp(record.url, first->url) == 0 && hf_id_equal(&record.id, &first->id) &&
                record.encrypted == first->encrypted) {
                return HF_ERR_OK;
            }
            (void)snprintf(record.url, sizeof record.url, "%s", first->url);
            record.id = first->id;
            record.encrypted = first->encrypted;
            HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_store_record_encode(&record);
            code = json == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory")
                                : hf_catalog_replace(app->catalog, HF_KIND_STORE, first->name,
                                                     revision, json, HF_CATALOG_SYNCED, err);
        }
        if (code != HF_ERR_CONFLICT && code != HF_ERR_EXISTS) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "the document of store %s changes too often", first->name);
}

static enum hf_err drop_document(struct hf_server_app *app, const char *name, struct hf_error *err)
{
    struct hf_store_record record;
    uint64_t revision = 0;

    enum hf_err code = hf_stores_record_get(app, name, &record, &revision, err);
    if (code == HF_ERR_OK) {
        code = hf_catalog_remove(app->catalog, HF_KIND_STORE, name, revision, err);
    }
    return code == HF_ERR_NOT_FOUND || code == HF_ERR_CONFLICT ? HF_ERR_OK : code;
}

/* Whether a job has, or may have, something in the store. */
static enum hf_err is_used(struct hf_server_app *app, const struct hf_id *store, bool *used,
                           struct hf_error *err)
{
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};
    const struct hf_catalog_query all = {.limit = JOBS_MAX};

    *used = false;
    if (hf_keep_job_find(app->catalog, &all, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < jobs.count; i++) {
        *used = *used || (hf_id_equal(&jobs.items[i].store, store) &&
                          jobs.items[i].state != HF_JOB_INACTIVE);
    }
    return HF_ERR_OK;
}

/* ---- The first snapshot store ---- */

struct opening {
    const struct hf_stores_wish *wish;
    struct hf_store_record record; /* as the catalog has it, or will */
    bool known;                    /* it has a document */
    struct hf_store *store;        /* owned */
    struct hf_storemark mark;
    struct hf_store_key key;
};

static void opening_fini(struct opening *opening)
{
    hf_store_close(opening->store);
    hf_store_key_wipe(&opening->key);
}
HF_CLEANUP_DEFINE_VALUE(opening_fini, struct opening)

static enum hf_err make_first(struct hf_server_app *app, struct opening *opening,
                              const char *key_file, struct hf_buf *news, struct hf_error *err)
{
    const struct hf_store_create_options create = {
        .installation = opening->wish->installation,
        .plain = opening->known ? !opening->record.encrypted : opening->wish->plain,
        .store = opening->record.id,
        .key_file = key_file,
        .now_s = hf_flow_now_s(),
    };

    (void)app;
    if (hf_store_keys_create(opening->store, &create, &opening->mark, &opening->key, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    return create.plain ? HF_ERR_OK
                        : hf_buf_appendf(news, err,
                                         "store key   %s  (copy it elsewhere and keep it safe: "
                                         "without it the backups cannot be read)\n",
                                         key_file);
}

static enum hf_err check_first(struct opening *opening, struct hf_error *err)
{
    const struct hf_storemark *mark = &opening->mark;

    if (mark->oplog_only) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "store %s holds the oplog of a server alone, no snapshots; hint: it belongs "
                       "behind --oplog-store",
                       opening->wish->url);
    }
    if (!hf_id_equal(&mark->installation, &opening->wish->installation)) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "store %s belongs to another installation (%s); hint: give each server a "
                       "store of its own, or its data directory back",
                       opening->wish->url, hf_id_text(&mark->installation).text);
    }
    return HF_ERR_OK;
}

/* NOT_FOUND: nothing lies there, and a job has something in the store that should. */
static enum hf_err open_first(struct hf_server_app *app, struct opening *opening,
                              struct hf_buf *news, struct hf_error *err)
{
    HF_CLEANUP(hf_free)
    char *key_file = hf_path_join(opening->wish->data_dir, FIRST_KEY_FILE);
    bool used = false;

    if (key_file == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (opening->known && is_used(app, &opening->record.id, &used, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_store_url_options url = {.url = opening->wish->url, .create = !used};
    const struct hf_store_open_options open = {.key_file =
                                                   hf_fs_exists(key_file) ? key_file : NULL};
    if (hf_store_open_url(&url, &opening->store, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code =
        hf_store_keys_open(opening->store, &open, &opening->mark, &opening->key, err);
    if (code == HF_ERR_NOT_FOUND && !used) {
        code = make_first(app, opening, key_file, news, err);
    }
    return code == HF_ERR_OK ? check_first(opening, err) : code;
}

static void say_away(struct hf_server_app *app, const struct hf_store_record *record,
                     const struct hf_error *why)
{
    hf_log_warn(app->log, "store.away", HF_STR("store", record->name), HF_STR("url", record->url),
                HF_STR("error", why->message));
}

static enum hf_err note_opened(struct hf_server_app *app, struct opening *opening,
                               struct hf_error *err)
{
    struct hf_known_store *entry = NULL;

    if (put_first(app, &opening->record, err) != HF_ERR_OK ||
        hf_stores_note(app, &opening->record, &entry, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_stores_publish_take(app, entry, HF_TAKE(opening->store), &opening->mark, &opening->key);
    return HF_ERR_OK;
}

static enum hf_err begin(struct hf_server_app *app, struct opening *opening, const char *name,
                         struct hf_error *err)
{
    uint64_t revision = 0;

    enum hf_err code = hf_stores_record_get(app, name, &opening->record, &revision, err);
    opening->known = code == HF_ERR_OK;
    if (code == HF_ERR_NOT_FOUND) {
        opening->record = (struct hf_store_record){.load_factor = 1};
        (void)snprintf(opening->record.name, sizeof opening->record.name, "%s", name);
        code = HF_ERR_OK;
    }
    return code;
}

static enum hf_err set_record(struct opening *opening, struct hf_error *err)
{
    struct hf_store_record *record = &opening->record;
    const char *url = hf_store_url(opening->store);

    if (strlen(url) >= sizeof record->url) {
        return hf_fail(err, HF_ERR_INVALID, "the URL of a store has at most %zu bytes",
                       sizeof record->url - 1);
    }
    (void)snprintf(record->url, sizeof record->url, "%s", url);
    record->id = opening->mark.store;
    record->encrypted = opening->mark.encrypted;
    record->created_s = record->created_s == 0 ? opening->mark.created_s : record->created_s;
    (void)snprintf(record->key_file, sizeof record->key_file, "%s",
                   record->encrypted ? FIRST_KEY_FILE : "");
    return HF_ERR_OK;
}

static enum hf_err open_snapshots(struct hf_server_app *app, const struct hf_stores_wish *wish,
                                  struct hf_buf *news, struct hf_error *err)
{
    HF_CLEANUP(opening_fini) struct opening opening = {.wish = wish};

    if (begin(app, &opening, HF_STORE_FIRST_NAME, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = open_first(app, &opening, news, err);
    if (opening.known && (code == HF_ERR_NOT_FOUND || hf_err_retry(code))) {
        /* Looked for where the option says, whatever the document has. */
        struct hf_known_store *entry = NULL;
        (void)snprintf(opening.record.url, sizeof opening.record.url, "%s", wish->url);
        say_away(app, &opening.record, err);
        app->mark = (struct hf_storemark){.store = opening.record.id,
                                          .encrypted = opening.record.encrypted};
        return put_first(app, &opening.record, err) == HF_ERR_OK
                   ? hf_stores_note(app, &opening.record, &entry, err)
                   : err->code;
    }
    if (code != HF_ERR_OK || set_record(&opening, err) != HF_ERR_OK) {
        return err->code;
    }
    app->store = opening.store;
    app->mark = opening.mark;
    app->key = opening.key;
    return note_opened(app, &opening, err);
}

/* ---- The first oplog store ---- */

/* Its mark has the snapshot store's id: the same key file opens it, and no other installation's slices can come into it. */
static enum hf_err check_oplog(const struct hf_server_app *app, const struct opening *opening,
                               struct hf_error *err)
{
    const struct hf_storemark *mark = &opening->mark;
    const char *url = hf_store_url(opening->store);

    if (!mark->oplog_only) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "oplog store %s is a store of snapshots (%s); hint: name an empty "
                       "directory, or leave --oplog-store out",
                       url, hf_id_text(&mark->store).text);
    }
    if (!hf_id_equal(&mark->store, &app->mark.store) ||
        !hf_id_equal(&mark->installation, &opening->wish->installation)) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "oplog store %s belongs to the snapshot store %s, not to %s; hint: give "
                       "each server an oplog store of its own",
                       url, hf_id_text(&mark->store).text, hf_id_text(&app->mark.store).text);
    }
    return HF_ERR_OK;
}

/* A directory that is empty is made anew: the start is how the operator says that it was emptied on purpose. One that is not
 * there was not. */
static enum hf_err open_first_oplog(struct hf_server_app *app, struct opening *opening,
                                    struct hf_error *err)
{
    HF_CLEANUP(hf_store_key_wipe) struct hf_store_key none = {.key = {0}};
    const struct hf_store_url_options url = {
        .url = opening->wish->oplog_url,
        .create = !opening->known || strcmp(opening->record.url, opening->wish->oplog_url) != 0};
    const struct hf_store_open_options open = {.key_optional = true};

    if (hf_store_open_url(&url, &opening->store, err) != HF_ERR_OK) {
        return hf_wrap(err, "oplog store");
    }
    if (app->store != NULL && strcmp(hf_store_url(opening->store), hf_store_url(app->store)) == 0) {
        hf_store_close(opening->store);
        opening->store = NULL;
        return HF_ERR_OK;
    }
    enum hf_err code = hf_store_keys_open(opening->store, &open, &opening->mark, &none, err);
    if (code == HF_ERR_NOT_FOUND && app->store != NULL) {
        code = hf_store_keys_create_oplog(opening->store, &app->mark, hf_flow_now_s(),
                                          &opening->mark, err);
    }
    return code == HF_ERR_OK ? check_oplog(app, opening, err) : code;
}

/* Slices go beside the snapshots unless a place of their own was named. */
static enum hf_err open_oplog(struct hf_server_app *app, const struct hf_stores_wish *wish,
                              struct hf_error *err)
{
    HF_CLEANUP(opening_fini) struct opening opening = {.wish = wish};

    app->oplog_store = app->store;
    if (wish->oplog_url == NULL) {
        return drop_document(app, HF_STORE_FIRST_OPLOG_NAME, err);
    }
    if (begin(app, &opening, HF_STORE_FIRST_OPLOG_NAME, err) != HF_ERR_OK) {
        return err->code;
    }
    opening.record.oplog = true;
    enum hf_err code = open_first_oplog(app, &opening, err);
    if (opening.known && (code == HF_ERR_NOT_FOUND || hf_err_retry(code))) {
        struct hf_known_store *entry = NULL;
        (void)snprintf(opening.record.url, sizeof opening.record.url, "%s", wish->oplog_url);
        say_away(app, &opening.record, err);
        app->oplog_store = NULL;
        return put_first(app, &opening.record, err) == HF_ERR_OK
                   ? hf_stores_note(app, &opening.record, &entry, err)
                   : err->code;
    }
    if (code != HF_ERR_OK) {
        return code;
    }
    if (opening.store == NULL) {
        return drop_document(app, HF_STORE_FIRST_OPLOG_NAME, err); /* it is the snapshot store */
    }
    if (set_record(&opening, err) != HF_ERR_OK) {
        return err->code;
    }
    opening.key = app->key;
    app->oplog_store = opening.store;
    return note_opened(app, &opening, err);
}

/* ---- All ---- */

static enum hf_err open_others(struct hf_server_app *app, struct hf_error *err)
{
    HF_CLEANUP(hf_store_views_fini) struct hf_store_views views = {.items = NULL};

    if (hf_stores_view(app, false, &views, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < views.count; i++) {
        const struct hf_store_view *one = &views.items[i];
        bool first = strcmp(one->record.name, HF_STORE_FIRST_NAME) == 0 ||
                     strcmp(one->record.name, HF_STORE_FIRST_OPLOG_NAME) == 0;
        if (one->store == NULL && !first) {
            hf_log_warn(app->log, "store.away", HF_STR("store", one->record.name),
                        HF_STR("url", one->record.url), HF_STR("error", one->away));
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_stores_open(struct hf_server_app *app, const struct hf_stores_wish *wish,
                           struct hf_buf *news, struct hf_error *err)
{
    struct hf_store_registry *stores = hf_alloc_zero(sizeof *stores);

    if (stores == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    hf_mutex_init(&stores->mutex);
    stores->data_dir = wish->data_dir;
    stores->installation = wish->installation;
    app->stores = stores;
    if (open_snapshots(app, wish, news, err) != HF_ERR_OK ||
        open_oplog(app, wish, err) != HF_ERR_OK) {
        return err->code;
    }
    return open_others(app, err);
}

void hf_stores_close(struct hf_server_app *app)
{
    struct hf_store_registry *stores = app->stores;

    if (stores == NULL) {
        return;
    }
    for (size_t i = 0; i < stores->count; i++) {
        hf_store_close(stores->entries[i]->store);
        hf_store_key_wipe(&stores->entries[i]->key);
        hf_free(stores->entries[i]);
    }
    hf_mutex_fini(&stores->mutex);
    hf_free(stores);
    app->stores = NULL;
    app->store = app->oplog_store = NULL;
}
