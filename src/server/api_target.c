/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restores onto whole sets over the API: asked for, and shown with their members, phases, bytes and obstacles.
 */
#include "server/api.h"
#include "server/flow.h"
#include "server/points.h"

/* Progress of a member that is at its step, and how fast it is; the totals for whoever watches one line. */
static void add_member_progress(struct hf_server_call *call, struct hf_json *member,
                                struct hf_json *total)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    static const char *const sums[] = {"bytesTotal", "bytesDone", "filesTotal", "filesDone",
                                       "rateBytesS"};
    const char *task = hf_json_get_text(member, "taskId");
    const char *state = hf_json_get_text(member, "state");
    struct hf_error ignored;

    if (task == NULL || state == NULL || strcmp(state, "RUNNING") != 0 ||
        hf_catalog_get(call->app->catalog, HF_KIND_PROGRESS, task, &document, &ignored) !=
            HF_ERR_OK) {
        return;
    }
    hf_json_set_take(member, "progress", hf_json_copy(document.json));
    for (size_t i = 0; i < HF_ARRAY_LEN(sums); i++) {
        hf_json_set_u64(total, sums[i],
                        hf_json_get_u64(total, sums[i], 0) +
                            hf_json_get_u64(document.json, sums[i], 0));
    }
    if (hf_json_get_text(total, "phase") == NULL) {
        hf_json_set_text(total, "phase", hf_json_get_text(document.json, "phase"));
    }
}

void hf_api_add_target(struct hf_server_call *call, const struct hf_restore_record *restore,
                       struct hf_json *json)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    struct hf_error ignored;

    if (hf_id_is_none(&restore->target_cluster) ||
        hf_catalog_get(call->app->catalog, HF_KIND_TARGET, hf_id_text(&restore->id).text, &document,
                       &ignored) != HF_ERR_OK) {
        return;
    }
    struct hf_json *target = hf_json_copy(document.json);
    struct hf_json *total = hf_json_object();
    const struct hf_json *members = hf_json_get_array(target, "members");
    hf_json_remove(target, "config");
    hf_json_remove(target, "loginPrint");
    for (size_t i = 0; i < hf_json_count(members); i++) {
        add_member_progress(call, hf_json_at(members, i), total);
    }
    if (restore->state == HF_RESTORE_IN_PROGRESS) {
        if (hf_json_get_text(total, "phase") == NULL) {
            hf_json_set_text(total, "phase", hf_json_get_text(target, "phase"));
        }
        hf_json_set_take(json, "progress", total);
    } else {
        hf_json_drop(total);
    }
    hf_json_set_take(json, "target", target);
}

void hf_api_start_target(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {
        {"snapshotId", HF_JSON_TEXT}, {"jobId", HF_JSON_TEXT},      {"target", HF_JSON_TEXT},
        {"dryRun", HF_JSON_BOOL},     {"reuseSpace", HF_JSON_BOOL}, HF_API_TARGET_MEMBERS,
        {NULL, HF_JSON_NULL}};
    struct hf_flow_target_wish wish = {.project = call->project};
    struct hf_restore_record restore;
    struct hf_error err;

    if (!hf_call_body_only(call, members)) {
        return;
    }
    const char *snapshot = hf_json_get_text(call->body, "snapshotId");
    const char *job = hf_json_get_text(call->body, "jobId");
    if (hf_points_target_from_json(call->body, &wish.point, &wish.target, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, "INVALID_ATTRIBUTE");
        return;
    }
    wish.set_name = hf_json_get_text(call->body, "target");
    wish.dry_run = hf_json_get_bool(call->body, "dryRun", false);
    wish.in_place = hf_json_get_bool(call->body, "reuseSpace", false);
    if (snapshot == NULL && (!wish.point || job == NULL)) {
        hf_reply_fail(call, HF_ERR_INVALID, "MISSING_ATTRIBUTE",
                      "snapshotId is needed, or jobId with a point in time");
        return;
    }
    if ((snapshot != NULL && !hf_id_parse(hf_str_of(snapshot), &wish.snapshot)) ||
        (job != NULL && !hf_id_parse(hf_str_of(job), &wish.job))) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE",
                      "snapshotId and jobId are 24 hexadecimal digits");
        return;
    }
    if (hf_flow_target(call->app, &wish, &restore, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *json = hf_restore_record_encode(&restore);
    hf_api_add_target(call, &restore, json);
    hf_reply_json(call, 201, json);
}
