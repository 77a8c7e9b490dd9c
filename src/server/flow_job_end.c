/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a job: everything that it stored is deleted, its keys last, and it is INACTIVE.
 *
 *   no capture, no tail, no restore, no link   waited for; while a job is TERMINATING none of them begins
 *   snapshots EXPIRED                          nobody is promised anything any more (keeps I3)
 *   manifests, claims, trees, packs; slices    from what refers to what is referred to
 *   the head of the oplog's chain
 *   keys                                       while one other object stands, they do: it can be told what it is
 *   INACTIVE
 *
 * Each step finds what is left of it: a death anywhere costs nothing. Needs no keys.
 */
#include <stdio.h>

#include "backup/lifecycle.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "server/flow.h"
#include "server/flow_internal.h"
#include "server/stores.h"

#define LIST_MAX 1000000
#define PAGE_NAMES 1000
#define CAS_TRIES 8
#define ROUNDS_MAX 8

/* ---- Who needs a snapshot of the job ---- */

static enum hf_err restores_of(struct hf_server_app *app, const struct hf_id *job,
                               struct hf_keep_restores *out, struct hf_error *err)
{
    const struct hf_id_text id = hf_id_text(job);
    const struct hf_catalog_query query = {
        .index = "jobId", .equals_text = id.text, .limit = LIST_MAX};

    return hf_keep_restore_find(app->catalog, &query, out, err);
}

enum hf_err hf_flow_check_unneeded(struct hf_server_app *app, const struct hf_id *job,
                                   struct hf_error *err)
{
    HF_CLEANUP(hf_keep_restores_fini) struct hf_keep_restores restores = {0};
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};

    if (restores_of(app, job, &restores, err) != HF_ERR_OK ||
        hf_keep_snapshots_of(app->catalog, job, &snapshots, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < restores.count; i++) {
        if (restores.items[i].state == HF_RESTORE_IN_PROGRESS) {
            const struct hf_id_text id = hf_id_text(&restores.items[i].id);
            return hf_fail(err, HF_ERR_CONFLICT,
                           "restore %s from a snapshot of the job is under way; hint: wait for it, "
                           "or holdfast restore cancel --restore %s",
                           id.text, id.text);
        }
    }
    for (size_t i = 0; i < snapshots.count; i++) {
        if (hf_flow_check_no_link(app, &snapshots.items[i].id, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err end_need(struct hf_server_app *app, const struct hf_restore_record *restore,
                            struct hf_error *err)
{
    enum hf_err code = HF_ERR_OK;

    if (restore->link) {
        code = hf_flow_link_withdraw(app, &restore->id, err);
    } else if (restore->state == HF_RESTORE_IN_PROGRESS) {
        code = hf_id_is_none(&restore->target_cluster)
                   ? hf_flow_cancel_task(app, &restore->task, err)
                   : hf_flow_target_cancel(app, &restore->id, err);
    }
    return code == HF_ERR_CONFLICT || code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code; /* has ended */
}

enum hf_err hf_flow_end_needs(struct hf_server_app *app, const struct hf_id *job,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_keep_restores_fini) struct hf_keep_restores restores = {0};

    if (restores_of(app, job, &restores, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < restores.count; i++) {
        if (end_need(app, &restores.items[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* Its capture and its tail: cancelled by the ticks, and given up where their agents are silent. */
static enum hf_err check_quiet(struct hf_server_app *app, const struct hf_job_record *job,
                               struct hf_error *err)
{
    struct hf_head_record head;
    struct hf_task_record task;

    if (!hf_id_is_none(&job->running)) {
        return hf_fail(err, HF_ERR_BUSY, "waits for the end of snapshot %s, which was cancelled",
                       hf_id_text(&job->running).text);
    }
    enum hf_err code = hf_keep_head_get(app->catalog, &job->id, &head, NULL, err);
    if (code == HF_ERR_OK && !hf_id_is_none(&head.task)) {
        code = hf_keep_task_get(app->catalog, &head.task, &task, NULL, err);
        if (code == HF_ERR_OK && task.state != HF_TASK_ENDED) {
            return hf_fail(err, HF_ERR_BUSY, "waits for the end of the tail of %s", head.member);
        }
    }
    return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
}

/* ---- Records ---- */

static enum hf_err expire(struct hf_server_app *app, const struct hf_id *id, struct hf_error *err)
{
    enum hf_err code = HF_ERR_CONFLICT;

    for (unsigned tries = 0; code == HF_ERR_CONFLICT && tries < CAS_TRIES; tries++) {
        struct hf_snapshot_record record;
        uint64_t revision = 0;

        if (hf_keep_snapshot_get(app->catalog, id, &record, &revision, err) != HF_ERR_OK) {
            return err->code == HF_ERR_NOT_FOUND ? HF_ERR_OK : err->code;
        }
        if (record.state == HF_SNAPSHOT_COMPLETE) {
            if (hf_snapshot_move(&record, HF_SNAPSHOT_EXPIRED, hf_flow_now_s(), err) != HF_ERR_OK) {
                return err->code;
            }
        } else if (record.state != HF_SNAPSHOT_ABANDONED || record.claim_dropped) {
            return HF_ERR_OK;
        }
        record.claim_dropped = true;
        code = hf_keep_snapshot_replace(app->catalog, &record, &revision, err);
    }
    return code == HF_ERR_OK ? HF_FAULT("server.terminate.expired", err) : code;
}

enum hf_err hf_flow_expire_all(struct hf_server_app *app, const struct hf_id *job,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};

    if (hf_keep_snapshots_of(app->catalog, job, &snapshots, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < snapshots.count; i++) {
        if (expire(app, &snapshots.items[i].id, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* A document of that kind that has the job's id. */
static enum hf_err forget(struct hf_server_app *app, const char *kind, const struct hf_id *job,
                          struct hf_error *err)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document found = {.json = NULL};

    enum hf_err code = hf_catalog_get(app->catalog, kind, hf_id_text(job).text, &found, err);
    if (code == HF_ERR_OK) {
        code = hf_catalog_remove(app->catalog, kind, found.id, found.revision, err);
    }
    return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
}

/* ---- Objects ---- */

/* Of one go over the stores. */
struct sweep {
    const struct hf_job_record *life; /* of the job, when the deletion began */
    size_t found;
    struct hf_error first; /* why something was passed over */
};

/*
 * Before each deletion: a server that was frozen, and whose termination another one has finished, must not go on in the job's
 * next life. Whoever is frozen behind this look deletes one object more: of the life that was ended, or one of the two
 * wrappings of the new keys.
 */
static enum hf_err check_life(struct hf_server_app *app, const struct hf_job_record *life,
                              struct hf_error *err)
{
    struct hf_job_record now;

    enum hf_err code = hf_keep_job_get(app->catalog, &life->id, &now, NULL, err);
    if (code != HF_ERR_OK) {
        return code;
    }
    return now.state == life->state && now.moved_s == life->moved_s && now.run == life->run &&
                   now.server_term == life->server_term
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_CANCELLED, "another server goes on with the job");
}

/* Deletes what begins with the prefix, and passes over what cannot be. */
static enum hf_err delete_below(struct hf_server_app *app, struct hf_store *store,
                                const char *prefix, struct sweep *sweep, struct hf_error *err)
{
    char after[HF_STORE_NAME_MAX_BYTES + 1] = "";
    bool more = true;

    while (more) {
        HF_CLEANUP(hf_store_list_fini) struct hf_store_list page = {.entries = NULL};
        if (hf_store_list(store, hf_str_of(prefix), hf_str_of(after), PAGE_NAMES, &page, err) !=
            HF_ERR_OK) {
            return hf_wrap(err, "list %s in %s", prefix, hf_store_url(store));
        }
        sweep->found += page.count;
        for (size_t i = 0; i < page.count; i++) {
            struct hf_error one;
            if (hf_cancel_requested(app->cancel)) {
                return hf_fail(err, HF_ERR_CANCELLED, "the server stops");
            }
            if (check_life(app, sweep->life, err) != HF_ERR_OK) {
                return err->code;
            }
            enum hf_err code = hf_store_delete(store, hf_str_of(page.entries[i].name), &one);
            if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND && sweep->first.code == HF_ERR_OK) {
                sweep->first = one;
                (void)hf_wrap(&sweep->first, "delete %s", page.entries[i].name);
            }
            if (HF_FAULT("server.terminate.deleted", err) != HF_ERR_OK) {
                return err->code;
            }
        }
        more = page.more && page.count > 0;
        if (page.count > 0) {
            (void)snprintf(after, sizeof after, "%s", page.entries[page.count - 1].name);
        }
    }
    return HF_ERR_OK;
}

/* A store that is away holds nothing either, and that is no deletion. */
static enum hf_err check_here(struct hf_store *store, struct hf_error *err)
{
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list found = {.entries = NULL};
    const struct hf_object_text prefix = hf_object_prefix(HF_OBJECT_MARK, NULL);

    enum hf_err code = hf_store_list(store, hf_str_of(prefix.text), hf_str_of(""), 1, &found, err);
    if (code == HF_ERR_NOT_FOUND || (code == HF_ERR_OK && found.count == 0)) {
        return hf_fail(err, HF_ERR_UNAVAILABLE, "store %s has no mark; hint: mount its file system",
                       hf_store_url(store));
    }
    return code;
}

static enum hf_err delete_kind(struct hf_server_app *app, struct hf_store *store,
                               enum hf_object_kind kind, const struct hf_id *job,
                               struct sweep *sweep, struct hf_error *err)
{
    const struct hf_object_text prefix = hf_object_prefix(kind, job);

    return delete_below(app, store, prefix.text, sweep, err);
}

/* All but the keys. */
static enum hf_err delete_round(struct hf_server_app *app, struct hf_store *store,
                                const struct hf_id *job, struct sweep *sweep, struct hf_error *err)
{
    static const enum hf_object_kind kinds[] = {HF_OBJECT_MANIFEST, HF_OBJECT_CLAIM, HF_OBJECT_TREE,
                                                HF_OBJECT_DATA, HF_OBJECT_OPLOG};

    for (size_t i = 0; i < HF_ARRAY_LEN(kinds); i++) {
        if (delete_kind(app, store, kinds[i], job, sweep, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* Again until nothing is found: a groom, or a merge of slices, that was at it may still put what it had begun. */
static enum hf_err delete_all(struct hf_server_app *app, struct hf_store *store,
                              const struct hf_job_record *life, struct hf_error *err)
{
    for (unsigned rounds = 0; rounds < ROUNDS_MAX; rounds++) {
        struct sweep sweep = {.life = life, .first = {.code = HF_ERR_OK}};
        if (delete_round(app, store, &life->id, &sweep, err) != HF_ERR_OK) {
            return err->code;
        }
        if (sweep.first.code != HF_ERR_OK) {
            *err = sweep.first;
            return err->code;
        }
        if (sweep.found == 0) {
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "objects of the job keep coming into %s", hf_store_url(store));
}

/* Keys last, and those of the first store after all others: without them nothing can be read, so nothing is left then. */
static enum hf_err delete_in(struct hf_server_app *app, const struct hf_open_store *stores,
                             size_t store_count, const struct hf_id *job, struct hf_error *err)
{
    struct hf_job_record life;
    struct sweep keys = {.life = &life, .first = {.code = HF_ERR_OK}};
    struct hf_error first = {.code = HF_ERR_OK};

    if (hf_keep_job_get(app->catalog, job, &life, NULL, err) != HF_ERR_OK) {
        return err->code;
    }

    for (size_t s = 0; s < store_count; s++) {
        if (check_here(stores[s].store, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    for (size_t s = 0; s < store_count; s++) {
        if (delete_all(app, stores[s].store, &life, err) != HF_ERR_OK && first.code == HF_ERR_OK) {
            first = *err;
        }
    }
    if (first.code != HF_ERR_OK) {
        *err = first;
        return first.code;
    }
    if (HF_FAULT("server.terminate.emptied", err) != HF_ERR_OK ||
        forget(app, HF_KIND_CHECK, job, err) != HF_ERR_OK ||
        forget(app, HF_KIND_HEAD, job, err) != HF_ERR_OK ||
        HF_FAULT("server.terminate.head_gone", err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t s = store_count; s-- > 0;) {
        if (delete_kind(app, stores[s].store, HF_OBJECT_KEYS, job, &keys, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    *err = keys.first;
    return err->code == HF_ERR_OK ? HF_FAULT("server.terminate.keys_gone", err) : err->code;
}

enum hf_err hf_flow_delete_objects(struct hf_server_app *app, const struct hf_id *job,
                                   struct hf_error *err)
{
    struct hf_job_stores at;

    if (hf_stores_of_job_id(app, job, &at, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_open_store stores[] = {at.snapshots, at.oplog};
    return delete_in(app, stores, stores[1].store == stores[0].store ? 1 : 2, job, err);
}

enum hf_err hf_flow_delete_strays(struct hf_server_app *app, const struct hf_id *job,
                                  struct hf_error *err)
{
    struct hf_open_store stores[HF_STORES_MAX];
    size_t count = 0;

    return hf_stores_each_open(app, stores, &count, err) == HF_ERR_OK
               ? delete_in(app, stores, count, job, err)
               : err->code;
}

static bool change_gone(struct hf_job_record *job, const void *what)
{
    const uint64_t *now_s = what;
    struct hf_error ignored;

    return hf_job_move(job, HF_JOB_GONE, *now_s, &ignored) == HF_ERR_OK;
}

enum hf_err hf_flow_terminate(struct hf_server_app *app, const struct hf_job_record *seen,
                              struct hf_error *err)
{
    const uint64_t now_s = hf_flow_now_s();
    struct hf_job_record job;

    /* As it is now: the caller's look may be old, and another thread at the end already. */
    if (hf_keep_job_get(app->catalog, &seen->id, &job, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    if (job.state != HF_JOB_TERMINATING) {
        return HF_ERR_OK;
    }
    if (check_quiet(app, &job, err) != HF_ERR_OK ||
        hf_flow_check_unneeded(app, &job.id, err) != HF_ERR_OK ||
        hf_flow_expire_all(app, &job.id, err) != HF_ERR_OK ||
        hf_flow_delete_objects(app, &job.id, err) != HF_ERR_OK ||
        hf_flow_tell_move(app, &job, HF_JOB_INACTIVE, err) != HF_ERR_OK ||
        hf_flow_change_job(app, &job.id, change_gone, &now_s, &job, err) != HF_ERR_OK ||
        HF_FAULT("server.terminate.gone", err) != HF_ERR_OK) {
        return err->code;
    }
    hf_log_info(app->log, "job.terminated", HF_STR("set", job.set_name),
                HF_STR("job", hf_id_text(&job.id).text));
    return HF_ERR_OK;
}
