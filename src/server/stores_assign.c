/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which stores a new job is given: what is known of each store, put to the rule of backup/assign.h.
 */
#include <stdio.h>

#include "backup/assign.h"
#include "base/alloc.h"
#include "server/flow.h"
#include "server/stores.h"

#define CAS_TRIES 8

/* ---- The project's filters ---- */

enum hf_err hf_stores_assignment_get(struct hf_server_app *app, const struct hf_id *project,
                                     struct hf_assignment_record *out, struct hf_error *err)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};

    *out = (struct hf_assignment_record){.project = *project};
    enum hf_err code =
        hf_catalog_get(app->catalog, HF_KIND_ASSIGNMENT, hf_id_text(project).text, &document, err);
    if (code == HF_ERR_NOT_FOUND) {
        return HF_ERR_OK;
    }
    return code == HF_ERR_OK ? hf_assignment_record_decode(document.json, out, err) : code;
}

/* ---- The stores as resources ---- */

struct resources {
    struct hf_store_views views;
    struct hf_resource *items; /* owned; one a store, as views has them */
    const char **labels;       /* owned: HF_STORE_LABELS_MAX + 1 each */
    size_t oplog_stores;
};

static void resources_fini(struct resources *resources)
{
    hf_free(resources->items);
    hf_free(resources->labels);
    hf_store_views_fini(&resources->views);
}
HF_CLEANUP_DEFINE_VALUE(resources_fini, struct resources)

/* What its disk has free, and what its capacity leaves. */
static uint64_t room(const struct hf_store_view *store)
{
    uint64_t most = store->record.max_capacity_bytes;
    uint64_t left = most == 0                  ? UINT64_MAX
                    : most > store->used_bytes ? most - store->used_bytes
                                               : 0;

    return store->free_bytes < left ? store->free_bytes : left;
}

static enum hf_err load_resources(struct hf_server_app *app, struct resources *out,
                                  struct hf_error *err)
{
    if (hf_stores_view(app, true, &out->views, err) != HF_ERR_OK) {
        return err->code;
    }
    out->items = hf_alloc_array(out->views.count + 1, sizeof *out->items);
    out->labels =
        hf_alloc_array((out->views.count + 1) * (HF_STORE_LABELS_MAX + 1), sizeof(const char *));
    if (out->items == NULL || out->labels == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (size_t i = 0; i < out->views.count; i++) {
        const struct hf_store_view *one = &out->views.items[i];
        const char **labels = &out->labels[i * (HF_STORE_LABELS_MAX + 1)];
        hf_store_words_list(&one->record.labels, labels);
        out->oplog_stores += one->record.oplog;
        out->items[i] = (struct hf_resource){
            .kind = one->record.oplog ? HF_RESOURCE_OPLOG_STORE : HF_RESOURCE_SNAPSHOT_STORE,
            .id = one->record.name,
            .labels = labels,
            .closed = one->record.closed,
            .load_factor = one->record.load_factor,
            .jobs = one->jobs,
            .free_bytes = room(one),
            .unfit = one->store == NULL ? "it is not there now" : NULL,
        };
    }
    return HF_ERR_OK;
}

/* ---- Filters, set ---- */

static enum hf_err check_names(const struct resources *resources,
                               const struct hf_store_words *names, bool oplog, struct hf_error *err)
{
    for (size_t i = 0; i < names->count; i++) {
        bool found = false;
        for (size_t k = 0; k < resources->views.count; k++) {
            const struct hf_store_record *one = &resources->views.items[k].record;
            found = found || (one->oplog == oplog && strcmp(one->name, names->items[i]) == 0);
        }
        if (!found) {
            return hf_fail(err, HF_ERR_NOT_FOUND,
                           "there is no %s store named %s; hint: holdfast "
                           "store list",
                           oplog ? "oplog" : "snapshot", names->items[i]);
        }
    }
    return HF_ERR_OK;
}

/* Servers have no labels, and where the slices lie beside the snapshots there is no oplog store that could have one: those
 * kinds have what is asked for. */
static enum hf_err check_labels(struct resources *resources, const struct hf_store_words *labels,
                                struct hf_error *err)
{
    const char *wanted[HF_STORE_LABELS_MAX + 1];
    const struct hf_assign_filter filter = {.labels = wanted};
    HF_CLEANUP(hf_free)
    struct hf_resource *all = hf_alloc_array(resources->views.count + 2, sizeof *all);
    size_t count = resources->views.count;

    if (all == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    hf_store_words_list(labels, wanted);
    memcpy(all, resources->items, count * sizeof *all);
    all[count++] = (struct hf_resource){.kind = HF_RESOURCE_SERVER, .id = "", .labels = wanted};
    if (resources->oplog_stores == 0) {
        all[count++] =
            (struct hf_resource){.kind = HF_RESOURCE_OPLOG_STORE, .id = "", .labels = wanted};
    }
    return hf_assign_check(all, count, &filter, err);
}

enum hf_err hf_stores_assignment_put(struct hf_server_app *app,
                                     const struct hf_assignment_record *record,
                                     struct hf_error *err)
{
    HF_CLEANUP(resources_fini) struct resources resources = {.items = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_assignment_record_encode(record);
    const struct hf_id_text id = hf_id_text(&record->project);

    if (load_resources(app, &resources, err) != HF_ERR_OK ||
        check_names(&resources, &record->snapshot_stores, false, err) != HF_ERR_OK ||
        check_names(&resources, &record->oplog_stores, true, err) != HF_ERR_OK ||
        check_labels(&resources, &record->labels, err) != HF_ERR_OK) {
        return err->code;
    }
    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document old = {.json = NULL};
        enum hf_err code = hf_catalog_get(app->catalog, HF_KIND_ASSIGNMENT, id.text, &old, err);
        if (code == HF_ERR_OK) {
            code = hf_catalog_replace(app->catalog, HF_KIND_ASSIGNMENT, id.text, old.revision, json,
                                      HF_CATALOG_SYNCED, err);
        } else if (code == HF_ERR_NOT_FOUND) {
            code = hf_catalog_insert(app->catalog, HF_KIND_ASSIGNMENT, id.text, json,
                                     HF_CATALOG_SYNCED, err);
        }
        if (code != HF_ERR_CONFLICT && code != HF_ERR_EXISTS) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "the filters of project %s change too often", id.text);
}

/* ---- Choosing ---- */

struct choosing {
    struct resources *resources;
    struct hf_assign_filter filter;
    uint64_t need_bytes;
    struct hf_job_record *job;
};

/*
 * What the data may need is an agent's word, and they may shrink: it decides between stores, and where none has as much room, one
 * that has any will do. A job that is kept from starting by it would have no backup at all.
 */
static enum hf_err choose(struct choosing *choosing, enum hf_resource_kind kind,
                          const struct hf_store_view **out, struct hf_error *err)
{
    struct hf_assign_wish wish = {.kind = kind,
                                  .filter = &choosing->filter,
                                  .need_bytes = kind != HF_RESOURCE_SNAPSHOT_STORE ? 0
                                                : choosing->need_bytes == 0        ? 1
                                                                            : choosing->need_bytes};
    struct resources *resources = choosing->resources;
    char *why = choosing->job->assigned;
    size_t chosen = 0, used = strlen(why);

    enum hf_err code =
        hf_assign_choose(resources->items, resources->views.count, &wish, &chosen, err);
    if (code == HF_ERR_CONFLICT && wish.need_bytes > 1) {
        wish.need_bytes = 1;
        code = hf_assign_choose(resources->items, resources->views.count, &wish, &chosen, err);
    }
    if (code != HF_ERR_OK) {
        return code;
    }
    if (used > 0 && used + 2 < sizeof choosing->job->assigned) {
        memcpy(why + used, "; ", 3);
        used += 2;
    }
    hf_assign_why(resources->items, resources->views.count, &wish, chosen, why + used,
                  sizeof choosing->job->assigned - used);
    *out = &resources->views.items[chosen];
    return HF_ERR_OK;
}

/* A job's keys lie in both, locked alike. */
static void leave_out_others(struct resources *resources, bool encrypted)
{
    for (size_t i = 0; i < resources->views.count; i++) {
        const struct hf_store_record *one = &resources->views.items[i].record;
        if (one->oplog && one->encrypted != encrypted && resources->items[i].unfit == NULL) {
            resources->items[i].unfit = encrypted ? "it is not encrypted, and the snapshots are"
                                                  : "it is encrypted, and the snapshots are not";
        }
    }
}

enum hf_err hf_stores_assign(struct hf_server_app *app, struct hf_job_record *job,
                             uint64_t need_bytes, struct hf_error *err)
{
    HF_CLEANUP(resources_fini) struct resources resources = {.items = NULL};
    const char *labels[HF_STORE_LABELS_MAX + 1], *snapshot_stores[HF_STORE_LABELS_MAX + 1];
    const char *oplog_stores[HF_STORE_LABELS_MAX + 1];
    struct hf_assignment_record filter;
    struct hf_job_record next = *job;
    const struct hf_store_view *snapshots = NULL, *oplog = NULL;

    if (hf_stores_assignment_get(app, &job->project, &filter, err) != HF_ERR_OK ||
        load_resources(app, &resources, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_store_words_list(&filter.labels, labels);
    hf_store_words_list(&filter.snapshot_stores, snapshot_stores);
    hf_store_words_list(&filter.oplog_stores, oplog_stores);
    struct choosing choosing = {
        .resources = &resources,
        .filter = {.labels = labels, .ids = {NULL, snapshot_stores, oplog_stores}},
        .need_bytes = need_bytes,
        .job = &next,
    };
    next.assigned[0] = '\0';
    if (choose(&choosing, HF_RESOURCE_SNAPSHOT_STORE, &snapshots, err) != HF_ERR_OK) {
        return err->code;
    }
    leave_out_others(&resources, snapshots->record.encrypted);
    if (resources.oplog_stores == 0) {
        oplog = snapshots; /* the slices lie beside the snapshots */
    } else if (choose(&choosing, HF_RESOURCE_OPLOG_STORE, &oplog, err) != HF_ERR_OK) {
        return err->code;
    }
    next.store = snapshots->record.id;
    next.oplog_store = oplog->record.id;
    *job = next;
    return HF_ERR_OK;
}
