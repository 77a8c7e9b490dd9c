/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a restore onto a set means for the jobs that save this set: no tail while its members change, and another chain
 * afterwards. While the new data are only built the tail goes on, and after a way back the chain does.
 */
#include "backup/head.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "server/flow_internal.h"
#include "server/flow_tail.h"
#include "server/keep.h"

#define CAS_TRIES 16
#define JOBS_MAX 100000

bool hf_flow_target_changes(const struct hf_target_record *record)
{
    return record->active && !record->dry_run && record->phase != HF_TARGET_CHECK &&
           record->phase != HF_TARGET_BUILD && record->phase != HF_TARGET_UNDONE;
}

enum hf_err hf_flow_target_has_set(struct hf_server_app *app, const struct hf_id *cluster,
                                   bool *has, struct hf_error *err)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document lock = {.json = NULL};
    HF_CLEANUP(hf_free) struct hf_target_record *record = hf_alloc_zero(sizeof *record);
    struct hf_id id;

    *has = false;
    if (record == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    enum hf_err code =
        hf_catalog_get(app->catalog, HF_KIND_TARGET_LOCK, hf_id_text(cluster).text, &lock, err);
    if (code != HF_ERR_OK) {
        return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
    }
    const char *named = hf_json_get_text(lock.json, "restoreId");
    if (named == NULL || !hf_id_parse(hf_str_of(named), &id)) {
        return HF_ERR_OK;
    }
    code = hf_keep_target_get(app->catalog, &id, record, NULL, err);
    if (code != HF_ERR_OK) {
        return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
    }
    *has = hf_flow_target_changes(record);
    return HF_ERR_OK;
}

/* The agent is told at its next call; what it still sends of the old data, or of the new, is not taken. */
static enum hf_err end_tail(struct hf_server_app *app, const struct hf_id *job,
                            struct hf_error *err)
{
    struct hf_head_record head;
    struct hf_task_record task;

    enum hf_err code = hf_keep_head_get(app->catalog, job, &head, NULL, err);
    if (code != HF_ERR_OK || hf_id_is_none(&head.task)) {
        return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
    }
    code = hf_keep_task_get(app->catalog, &head.task, &task, NULL, err);
    if (code != HF_ERR_OK || task.state == HF_TASK_ENDED) {
        return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
    }
    return hf_flow_tail_finish(app, &task, HF_ERR_CANCELLED, "the set is being restored", err);
}

static enum hf_err cut_chain(struct hf_server_app *app, const struct hf_id *job,
                             struct hf_error *err)
{
    enum hf_err code = HF_ERR_CONFLICT;

    for (unsigned tries = 0; code == HF_ERR_CONFLICT && tries < CAS_TRIES; tries++) {
        struct hf_head_record head;
        uint64_t revision = 0;

        if (hf_keep_head_get(app->catalog, job, &head, &revision, err) != HF_ERR_OK) {
            return err->code == HF_ERR_NOT_FOUND ? HF_ERR_OK : err->code;
        }
        hf_head_lose(&head, HF_CHAIN_RESTORED);
        code = hf_keep_head_replace(app->catalog, &head, &revision, err);
    }
    return code;
}

enum hf_err hf_flow_target_tell_jobs(struct hf_server_app *app,
                                     const struct hf_target_record *record, struct hf_error *err)
{
    const struct hf_id_text cluster = hf_id_text(&record->cluster);
    const struct hf_catalog_query query = {
        .index = "clusterId", .equals_text = cluster.text, .limit = JOBS_MAX};
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};

    if (!hf_flow_target_changes(record)) {
        return HF_ERR_OK;
    }
    if (hf_keep_job_find(app->catalog, &query, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < jobs.count; i++) {
        const struct hf_id *job = &jobs.items[i].id;
        if (end_tail(app, job, err) != HF_ERR_OK ||
            (record->phase == HF_TARGET_DONE && cut_chain(app, job, err) != HF_ERR_OK)) {
            return hf_wrap(err, "oplog of set %s", record->set_name);
        }
    }
    return record->phase == HF_TARGET_DONE ? HF_FAULT("server.target.cut", err) : HF_ERR_OK;
}
