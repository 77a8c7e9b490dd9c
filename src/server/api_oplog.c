/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told of a job's oplog, and events.
 */
#include <stdio.h>

#include "server/api.h"
#include "server/flow_check.h"
#include "server/flow_tail.h"
#include "server/keep.h"

/* Where the oplog of the job is saved up to, and by whom; NULL: nothing is known yet. */
static struct hf_json *oplog_document(struct hf_server_call *call, const struct hf_id *job)
{
    struct hf_head_record head;
    struct hf_task_record task;
    struct hf_error ignored;

    if (hf_keep_head_get(call->app->catalog, job, &head, NULL, &ignored) != HF_ERR_OK) {
        return NULL;
    }
    struct hf_json *json = hf_head_record_encode(&head);
    const char *tail = "NONE";
    if (!hf_id_is_none(&head.task) &&
        hf_keep_task_get(call->app->catalog, &head.task, &task, NULL, &ignored) == HF_ERR_OK) {
        tail = hf_task_state_word(task.state);
    }
    hf_json_set_text(json, "tail", tail);
    if (!hf_optime_is_none(&head.last)) {
        uint64_t now_s = hf_flow_now_s();
        hf_json_set_u64(json, "ageS", head.last.seconds < now_s ? now_s - head.last.seconds : 0);
    }
    return json;
}

/* What the last check of it said; NULL: there was none. */
static struct hf_json *check_document(struct hf_server_call *call, const struct hf_id *job)
{
    static const char *const numbers[] = {"startedS", "endedS", "slices",
                                          "entries",  "bytes",  "faultCount"};
    HF_CLEANUP(hf_json_drop) struct hf_json *last = NULL;
    struct hf_error ignored;

    if (hf_flow_check_last(call->app, job, &last, &ignored) != HF_ERR_OK || last == NULL) {
        return NULL;
    }
    struct hf_json *json = hf_json_object();
    hf_json_set_bool(json, "ok", hf_json_get_bool(last, "ok", false));
    hf_json_set_bool(json, "byHand", hf_json_get_bool(last, "byHand", false));
    for (size_t i = 0; i < HF_ARRAY_LEN(numbers); i++) {
        hf_json_set_u64(json, numbers[i], hf_json_get_u64(last, numbers[i], 0));
    }
    hf_json_set_take(json, "faults", hf_json_copy(hf_json_get_array(last, "faults")));
    return json;
}

struct hf_json *hf_api_job_document(struct hf_server_call *call, const struct hf_job_record *job)
{
    struct hf_json *json = hf_job_record_encode(job);
    struct hf_json *oplog = oplog_document(call, &job->id);
    const struct hf_stores_names names = hf_stores_names(call->app, &job->store, &job->oplog_store);

    hf_json_set_text(json, "storeName", names.snapshots[0] == '\0' ? NULL : names.snapshots);
    hf_json_set_text(json, "oplogStoreName", names.oplog[0] == '\0' ? NULL : names.oplog);
    struct hf_json *check = check_document(call, &job->id);

    if (oplog != NULL) {
        hf_json_set_take(json, "oplog", oplog);
    }
    if (check != NULL) {
        hf_json_set_take(json, "oplogCheck", check);
    }
    return json;
}

/* Answers when all is read; the outcome is kept, whoever still waits for it. */
void hf_api_oplog_check(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {{NULL, HF_JSON_NULL}};
    struct hf_json *document = NULL;
    struct hf_job_record job;
    struct hf_error err;

    if (!hf_call_body_only(call, members) || !hf_api_find_job(call, &job)) {
        return;
    }
    if (hf_flow_check(call->app, &job, true, &document, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_reply_json(call, 200, document);
}
