/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backup configurations: the state of a job and what may be set of it, in the forms of rest-api.md 2.2.
 */
#include <stdio.h>

#include "backup/lifecycle.h"
#include "base/alloc.h"
#include "server/api.h"
#include "server/audit.h"
#include "server/stores.h"

/* A cluster without a job is INACTIVE. */
static struct hf_json *config_document(struct hf_server_call *call,
                                       const struct hf_cluster_record *cluster)
{
    struct hf_json *json = hf_json_object();
    struct hf_job_record job;
    struct hf_error ignored;
    char path[160], warning[HF_RECORD_ERROR_BYTES];

    if (hf_keep_job_get(call->app->catalog, &cluster->id, &job, NULL, &ignored) != HF_ERR_OK) {
        hf_job_init(&job, cluster);
    }
    hf_json_set_text(json, "groupId", hf_id_text(&cluster->project).text);
    hf_json_set_text(json, "clusterId", hf_id_text(&cluster->id).text);
    hf_json_set_text(json, "statusName", hf_job_state_word(job.state));
    if (job.state != HF_JOB_INACTIVE) {
        hf_json_set_text(json, "storageEngineName", "WIRED_TIGER");
    }
    if (job.waiting || job.approved) {
        hf_json_set_bool(json, "provisioned", !job.waiting);
    }
    hf_json_set_text(json, "preferredMember",
                     job.preferred_member[0] == '\0' ? NULL : job.preferred_member);
    /* Our own: clients of the reference do not look at it. */
    if (hf_flow_job_warning(call->app, cluster, warning, &ignored) == HF_ERR_OK &&
        warning[0] != '\0') {
        hf_json_set_text(json, "warning", warning);
    }
    hf_json_set_text(json, "authMechanismName", "NONE");
    hf_json_set_bool(json, "encryptionEnabled", hf_stores_encrypt(call->app, &cluster->id));
    hf_json_set_bool(json, "sslEnabled", false);
    hf_json_set_take(json, "excludedNamespaces", hf_json_array());
    hf_json_set_take(json, "includedNamespaces", hf_json_array());
    (void)snprintf(path, sizeof path, "/api/public/v1.0/groups/%s/backupConfigs/%s",
                   hf_id_text(&cluster->project).text, hf_id_text(&cluster->id).text);
    hf_reply_link(call, json, "self", path);
    (void)snprintf(path, sizeof path,
                   "/api/public/v1.0/groups/%s/backupConfigs/%s/snapshotSchedule",
                   hf_id_text(&cluster->project).text, hf_id_text(&cluster->id).text);
    hf_reply_link(call, json, "http://mms.mongodb.com/snapshotSchedule", path);
    hf_api_cluster_path(cluster, path, sizeof path);
    hf_reply_link(call, json, "http://mms.mongodb.com/cluster", path);
    (void)snprintf(path, sizeof path, "/api/public/v1.0/groups/%s",
                   hf_id_text(&cluster->project).text);
    hf_reply_link(call, json, "http://mms.mongodb.com/group", path);
    return json;
}

void hf_api_backup_configs(struct hf_server_call *call)
{
    HF_CLEANUP(hf_keep_clusters_fini) struct hf_keep_clusters clusters = {0};
    struct hf_call_page page;

    if (!hf_api_check_group(call) || !hf_call_page(call, &page) ||
        !hf_api_all_clusters(call, &clusters)) {
        return;
    }
    struct hf_json *results = hf_json_array();
    for (size_t i = 0; i < clusters.count; i++) {
        if (i / page.size == page.number - 1) {
            hf_json_append_take(results, config_document(call, &clusters.items[i]));
        }
    }
    hf_reply_list(call, &page, results, clusters.count);
}

void hf_api_backup_config(struct hf_server_call *call)
{
    struct hf_cluster_record cluster;

    if (hf_api_find_cluster(call, &cluster)) {
        hf_reply_json(call, 200, config_document(call, &cluster));
    }
}

/* False: it was answered. */
static bool members_of(struct hf_server_call *call, struct hf_flow_members *out)
{
    struct hf_error err;

    if (hf_flow_members(call->app, &call->project, out, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return false;
    }
    return true;
}

void hf_api_available_members(struct hf_server_call *call)
{
    struct hf_cluster_record cluster;
    struct hf_flow_members members = {0};

    if (!hf_api_find_cluster(call, &cluster) || !members_of(call, &members)) {
        return;
    }
    struct hf_json *json = config_document(call, &cluster), *list = hf_json_array();
    for (size_t i = 0; i < members.count; i++) {
        const struct hf_member_record *one = &members.items[i];
        if (strcmp(one->set_name, cluster.set_name) == 0 && one->refusal[0] == '\0' &&
            (strcmp(one->state, "PRIMARY") == 0 || strcmp(one->state, "SECONDARY") == 0)) {
            hf_json_append_text(list, one->host);
        }
    }
    hf_free(members.items);
    hf_json_set_take(json, "availableMembers", list);
    hf_reply_json(call, 200, json);
}

/* ---- PATCH ---- */

bool hf_api_ids_match(struct hf_server_call *call)
{
    static const char *const names[] = {"groupId", "clusterId"};

    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        const char *id = hf_json_get_text(call->body, names[i]);
        if (id != NULL && strcmp(id, call->parameters[i]) != 0) {
            hf_reply_fail(call, HF_ERR_INVALID, "GROUP_MISMATCH",
                          "%s in the body differs from the path's", names[i]);
            return false;
        }
    }
    return true;
}

static bool has(const struct hf_server_call *call, const char *name)
{
    const struct hf_json *value = hf_json_get(call->body, name);

    return value != NULL && hf_json_type(value) != HF_JSON_NULL;
}

/* What clients send along and what is fixed here. False: it was answered. */
static bool check_fixed(struct hf_server_call *call, const struct hf_cluster_record *cluster)
{
    const char *engine = hf_json_get_text(call->body, "storageEngineName");
    bool encrypted = hf_stores_encrypt(call->app, &cluster->id);

    if (engine != NULL && strcmp(engine, "WIRED_TIGER") != 0) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ENUM_VALUE",
                      "storage engine %s is not backed up: only WIRED_TIGER is", engine);
        return false;
    }
    if (hf_json_get_bool(call->body, "encryptionEnabled", encrypted) != encrypted) {
        hf_reply_fail(call, HF_ERR_CONFLICT, NULL,
                      "encryptionEnabled: whether snapshots are encrypted is settled with their "
                      "store: here they %s",
                      encrypted ? "are" : "are not");
        return false;
    }
    if (has(call, "username") || has(call, "password")) {
        hf_reply_fail(call, HF_ERR_CONFLICT, "CANNOT_SET_BACKUP_AUTH_FOR_MANAGED_CLUSTER",
                      "the agents have the credentials of the set: holdfast agent --mongodb");
        return false;
    }
    if (hf_json_count(hf_json_get_array(call->body, "excludedNamespaces")) > 0 ||
        hf_json_count(hf_json_get_array(call->body, "includedNamespaces")) > 0) {
        /* Ignored from FCV 4.2 on by others: someone who believes that data were left out should be told. */
        hf_reply_fail(call, HF_ERR_UNSUPPORTED, NULL,
                      "namespaces are not filtered: a snapshot is of all files (MongoDB 4.2 and "
                      "later)");
        return false;
    }
    return true;
}

/* The named member is one of the set's that an agent has reported. False: it was answered. */
static bool check_preferred(struct hf_server_call *call, const struct hf_cluster_record *cluster)
{
    const char *wish = hf_json_get_text(call->body, "preferredMember");
    struct hf_flow_members members = {0};
    bool known = wish == NULL || wish[0] == '\0';

    if (known) {
        return true;
    }
    if (!members_of(call, &members)) {
        return false;
    }
    for (size_t i = 0; i < members.count; i++) {
        known = known || (strcmp(members.items[i].host, wish) == 0 &&
                          strcmp(members.items[i].set_name, cluster->set_name) == 0);
    }
    hf_free(members.items);
    if (!known) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE",
                      "preferredMember: no agent has reported a member %.200s of set %s", wish,
                      cluster->set_name);
    }
    return known;
}

/* Approves or denies what waits. Clients send `provisioned` along with a state, as they read it: then it says nothing. */
static enum hf_err set_provisioned(struct hf_server_call *call,
                                   const struct hf_cluster_record *cluster, struct hf_error *err)
{
    bool approve = hf_json_get_bool(call->body, "provisioned", false);
    struct hf_job_record job;

    if (!has(call, "provisioned") || has(call, "statusName")) {
        return HF_ERR_OK;
    }
    return hf_flow_move_job(call->app, &cluster->id, approve ? HF_JOB_APPROVE : HF_JOB_DENY, &job,
                            err);
}

static enum hf_err set_preferred(struct hf_server_call *call,
                                 const struct hf_cluster_record *cluster, struct hf_error *err)
{
    const char *wish = hf_json_get_text(call->body, "preferredMember");
    struct hf_job_record job;

    return wish == NULL ? HF_ERR_OK
                        : hf_flow_prefer_member(call->app, &cluster->id, wish, &job, err);
}

/* A job that was never started can be neither stopped nor set: it is INACTIVE all the same. */
static enum hf_err move_job(struct hf_server_call *call, const struct hf_cluster_record *cluster,
                            enum hf_job_action action, struct hf_error *err)
{
    struct hf_job_record job;

    if (action == HF_JOB_START) {
        return hf_flow_start_job(call->app, &cluster->id, &job, err);
    }
    enum hf_err code = hf_flow_move_job(call->app, &cluster->id, action, &job, err);
    if (code == HF_ERR_NOT_FOUND) {
        hf_job_init(&job, cluster);
        code = hf_job_move(&job, action, 0, err);
    }
    return code;
}

static void apply_patch(struct hf_server_call *call, const struct hf_cluster_record *cluster,
                        const enum hf_job_action *action)
{
    struct hf_error err;

    if (action != NULL && move_job(call, cluster, *action, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, err.code == HF_ERR_CONFLICT ? hf_job_refusal(*action) : NULL);
        return;
    }
    if (action != NULL) {
        hf_audit_changed(call);
    }
    if (set_preferred(call, cluster, &err) != HF_ERR_OK ||
        set_provisioned(call, cluster, &err) != HF_ERR_OK) {
        if (err.code == HF_ERR_NOT_FOUND) {
            (void)hf_fail(&err, HF_ERR_CONFLICT, "the job of set %s is INACTIVE",
                          cluster->set_name);
        }
        hf_reply_error(call, &err,
                       err.code == HF_ERR_CONFLICT ? "CANNOT_GET_BACKUP_CONFIG_INVALID_STATE"
                                                   : NULL);
        return;
    }
    hf_reply_json(call, 200, config_document(call, cluster));
}

void hf_api_patch_backup_config(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {{"statusName", HF_JSON_TEXT},
                                                    {"groupId", HF_JSON_TEXT},
                                                    {"clusterId", HF_JSON_TEXT},
                                                    {"storageEngineName", HF_JSON_TEXT},
                                                    {"syncSource", HF_JSON_TEXT},
                                                    {"authMechanismName", HF_JSON_TEXT},
                                                    {"username", HF_JSON_TEXT},
                                                    {"password", HF_JSON_TEXT},
                                                    {"sslEnabled", HF_JSON_BOOL},
                                                    {"encryptionEnabled", HF_JSON_BOOL},
                                                    {"excludedNamespaces", HF_JSON_ARRAY},
                                                    {"includedNamespaces", HF_JSON_ARRAY},
                                                    {"preferredMember", HF_JSON_TEXT},
                                                    {"provisioned", HF_JSON_BOOL},
                                                    {NULL, HF_JSON_NULL}};
    const struct hf_reply_refusal refusal = {
        .status = 403,
        .public_code = "UNSUPPORTED_SET_BACKUP_STATE",
        .detail = "statusName can be set to STARTED, STOPPED or TERMINATING",
    };
    enum hf_job_action action = HF_JOB_START;
    struct hf_cluster_record cluster;

    if (!hf_api_find_cluster(call, &cluster) || !hf_call_body_only(call, members) ||
        !hf_api_ids_match(call)) {
        return;
    }
    const char *status = hf_json_get_text(call->body, "statusName");
    if (!check_fixed(call, &cluster) || !check_preferred(call, &cluster)) {
        return;
    }
    if (status == NULL && !has(call, "preferredMember") && !has(call, "provisioned")) {
        hf_reply_fail(call, HF_ERR_INVALID, "MISSING_ATTRIBUTE",
                      "none of statusName, preferredMember and provisioned is there");
        return;
    }
    if (status != NULL && !hf_job_action_for(status, &action)) {
        hf_reply_refuse(call, &refusal);
        return;
    }
    apply_patch(call, &cluster, status == NULL ? NULL : &action);
}

/* ---- Our own ---- */

void hf_api_job_force(struct hf_server_call *call)
{
    struct hf_job_record job;
    struct hf_error err;

    if (!hf_api_find_job(call, &job)) {
        return;
    }
    if (hf_flow_move_job(call->app, &job.id, HF_JOB_FORCE_TERMINATE, &job, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err,
                       err.code == HF_ERR_CONFLICT ? hf_job_refusal(HF_JOB_FORCE_TERMINATE) : NULL);
        return;
    }
    hf_reply_json(call, 200, hf_api_job_document(call, &job));
}
