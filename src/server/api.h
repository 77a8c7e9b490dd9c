/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handlers of the route table, and the documents they answer with. For siblings.
 */
#ifndef HF_SERVER_API_H
#define HF_SERVER_API_H

#include "server/call.h"
#include "server/flow.h"
#include "server/stores.h"

/* Public (rest-api.md 2 and 5). */
void hf_api_root(struct hf_server_call *call);
void hf_api_groups(struct hf_server_call *call);
void hf_api_group(struct hf_server_call *call);
void hf_api_group_by_name(struct hf_server_call *call);
void hf_api_clusters(struct hf_server_call *call);
void hf_api_cluster(struct hf_server_call *call);
void hf_api_backup_configs(struct hf_server_call *call);
void hf_api_backup_config(struct hf_server_call *call);
void hf_api_patch_backup_config(struct hf_server_call *call);
void hf_api_available_members(struct hf_server_call *call);
void hf_api_snapshot_schedule(struct hf_server_call *call);
void hf_api_patch_snapshot_schedule(struct hf_server_call *call);
void hf_api_cluster_snapshots(struct hf_server_call *call);
void hf_api_cluster_snapshot(struct hf_server_call *call);
void hf_api_patch_cluster_snapshot(struct hf_server_call *call);
void hf_api_delete_cluster_snapshot(struct hf_server_call *call);
void hf_api_on_demand_snapshot(struct hf_server_call *call);
void hf_api_cluster_restores(struct hf_server_call *call);
void hf_api_cluster_restore(struct hf_server_call *call);
void hf_api_cluster_ranges(struct hf_server_call *call);
void hf_api_start_cluster_restore(struct hf_server_call *call);

/* api_events.c; rest-api.md 5.10. */
void hf_api_group_events(struct hf_server_call *call);
void hf_api_group_event(struct hf_server_call *call);
void hf_api_global_events(struct hf_server_call *call);
void hf_api_event(struct hf_server_call *call);

/* api_people.c; rest-api.md 5.3, 5.6, 5.8. */
void hf_api_orgs(struct hf_server_call *call);
void hf_api_make_org(struct hf_server_call *call);
void hf_api_org(struct hf_server_call *call);
void hf_api_org_groups(struct hf_server_call *call);
void hf_api_org_keys(struct hf_server_call *call);
void hf_api_make_org_key(struct hf_server_call *call);
void hf_api_org_key(struct hf_server_call *call);
void hf_api_remove_org_key(struct hf_server_call *call);
void hf_api_make_group(struct hf_server_call *call);
void hf_api_group_keys(struct hf_server_call *call);
void hf_api_make_group_key(struct hf_server_call *call);
void hf_api_remove_group_key(struct hf_server_call *call);
void hf_api_agent_keys(struct hf_server_call *call);
void hf_api_make_agent_key(struct hf_server_call *call);
void hf_api_remove_agent_key(struct hf_server_call *call);
void hf_api_global_keys(struct hf_server_call *call);
void hf_api_make_global_key(struct hf_server_call *call);
void hf_api_global_key(struct hf_server_call *call);
void hf_api_remove_global_key(struct hf_server_call *call);
/* Answers with the projects that the caller has a role in; org NULL: of all organizations. */
void hf_api_list_groups(struct hf_server_call *call, const struct hf_id *org);
HF_MUST_CHECK struct hf_json *hf_api_group_document(struct hf_server_call *call,
                                                    const struct hf_project_record *project);

/* api_settings.c */
void hf_api_server_settings(struct hf_server_call *call);
void hf_api_set_server_setting(struct hf_server_call *call);
void hf_api_unset_server_setting(struct hf_server_call *call);

/* api_alerts.c; rest-api.md 5.9. */
void hf_api_alerts(struct hf_server_call *call);
void hf_api_alert(struct hf_server_call *call);
void hf_api_acknowledge_alert(struct hf_server_call *call);
void hf_api_global_alerts(struct hf_server_call *call);

/* api_alert_configs.c; rest-api.md 5.9, 5.11. */
void hf_api_alert_configs(struct hf_server_call *call);
void hf_api_alert_matchers(struct hf_server_call *call);
void hf_api_global_alert_configs(struct hf_server_call *call);
void hf_api_alert_config(struct hf_server_call *call);
void hf_api_set_alert_config(struct hf_server_call *call);
void hf_api_reset_alert_config(struct hf_server_call *call);
void hf_api_maintenance_windows(struct hf_server_call *call);
void hf_api_add_maintenance_window(struct hf_server_call *call);
void hf_api_maintenance_window(struct hf_server_call *call);
void hf_api_set_maintenance_window(struct hf_server_call *call);
void hf_api_remove_maintenance_window(struct hf_server_call *call);

/* Our own. */
void hf_api_health(struct hf_server_call *call);
void hf_api_metrics(struct hf_server_call *call);
void hf_api_version(struct hf_server_call *call);
void hf_api_status(struct hf_server_call *call);
void hf_api_agents(struct hf_server_call *call);
void hf_api_jobs(struct hf_server_call *call);
void hf_api_job(struct hf_server_call *call);
void hf_api_job_force(struct hf_server_call *call);
void hf_api_job_why_member(struct hf_server_call *call);
void hf_api_job_log(struct hf_server_call *call);
void hf_api_queue(struct hf_server_call *call);
/* Adds "record": the attempt as an administrator knows it (backup-domain.md 4.13). */
void hf_api_add_record(const struct hf_snapshot_record *snapshot, struct hf_json *json);
void hf_api_events(struct hf_server_call *call);
void hf_api_oplog_check(struct hf_server_call *call);
void hf_api_snapshots(struct hf_server_call *call);
void hf_api_snapshot(struct hf_server_call *call);
void hf_api_take(struct hf_server_call *call);
void hf_api_policy(struct hf_server_call *call);
void hf_api_patch_policy(struct hf_server_call *call);
void hf_api_simulate_policy(struct hf_server_call *call);
void hf_api_patch_snapshot(struct hf_server_call *call);
void hf_api_delete_snapshot(struct hf_server_call *call);
void hf_api_cancel_snapshot(struct hf_server_call *call);
void hf_api_verify(struct hf_server_call *call);
void hf_api_tar(struct hf_server_call *call);
void hf_api_restores(struct hf_server_call *call);
void hf_api_restore(struct hf_server_call *call);
void hf_api_start_restore(struct hf_server_call *call);
/* A restore onto a whole set: the call's body has a "target". */
void hf_api_start_target(struct hf_server_call *call);
/* Adds "target", how far its members are, to a restore's document. */
void hf_api_add_target(struct hf_server_call *call, const struct hf_restore_record *restore,
                       struct hf_json *json);
void hf_api_cancel_restore(struct hf_server_call *call);
void hf_api_job_ranges(struct hf_server_call *call);
void hf_api_oplog_find(struct hf_server_call *call);
void hf_api_oplog_diff(struct hf_server_call *call);
void hf_api_snapshot_oplog(struct hf_server_call *call);
void hf_api_snapshot_entries(struct hf_server_call *call);
/* api_servers.c */
void hf_api_servers(struct hf_server_call *call);
void hf_api_set_server(struct hf_server_call *call);
void hf_api_remove_server(struct hf_server_call *call);
/* api_stores.c */
void hf_api_stores(struct hf_server_call *call);
void hf_api_add_store(struct hf_server_call *call);
void hf_api_set_store(struct hf_server_call *call);
void hf_api_remove_store(struct hf_server_call *call);
void hf_api_assignment(struct hf_server_call *call);
void hf_api_put_assignment(struct hf_server_call *call);
/* A store for people and programs. NULL on no memory. */
HF_MUST_CHECK struct hf_json *hf_api_store_document(const struct hf_store_view *store);
void hf_api_store_usage(struct hf_server_call *call);
void hf_api_store_groom(struct hf_server_call *call);
void hf_api_store_check(struct hf_server_call *call);
void hf_api_start_link(struct hf_server_call *call);

/* A download by link: no key of the API, its own is in the path. */
#define HF_API_PULL_PATH "/backup/restore/v2/pull/"
void hf_api_pull(struct hf_server_call *call);

/* The public document of a restore job; NULL on no memory. */
HF_MUST_CHECK struct hf_json *hf_api_public_restore(struct hf_server_call *call,
                                                    const struct hf_restore_record *restore);
/* Adds what is known of its link: to the public document and its "delivery", or as "link" to our own. */
void hf_api_link_delivery(struct hf_server_call *call, const struct hf_restore_record *restore,
                          struct hf_json *document, struct hf_json *delivery);
void hf_api_link_show(struct hf_server_call *call, const struct hf_restore_record *restore,
                      struct hf_json *document);
/* The one job of the cluster that is not gone; *found false: it has none. */
HF_MUST_CHECK enum hf_err hf_api_job_of(struct hf_server_call *call,
                                        const struct hf_cluster_record *cluster, struct hf_id *job,
                                        bool *found, struct hf_error *err);

/* Members of a body that name a point in time: what hf_points_target_from_json reads. */
#define HF_API_TARGET_MEMBERS                                                                      \
    {"pointInTimeUTCMillis", HF_JSON_NULL}, {"oplogTs", HF_JSON_NULL}, {"oplogInc", HF_JSON_NULL}, \
        {"checkpointId", HF_JSON_NULL},                                                            \
    {                                                                                              \
        "checkPointId", HF_JSON_NULL                                                               \
    }

/* The job of the path's parameter 0, of the caller's project. False: it was answered. */
HF_MUST_CHECK bool hf_api_find_job(struct hf_server_call *call, struct hf_job_record *out);
/* The job's record, and "oplog": the head of its chain and its tail. NULL on no memory. */
HF_MUST_CHECK struct hf_json *hf_api_job_document(struct hf_server_call *call,
                                                  const struct hf_job_record *job);
/* The cluster of the path's group (parameter 0) and cluster (parameter 1). False: it was answered. */
HF_MUST_CHECK bool hf_api_find_cluster(struct hf_server_call *call, struct hf_cluster_record *out);
/* All clusters of the caller's project; at most a few thousand. False: it was answered. */
HF_MUST_CHECK bool hf_api_all_clusters(struct hf_server_call *call, struct hf_keep_clusters *out);
void hf_api_cluster_path(const struct hf_cluster_record *cluster, char *out, size_t out_len);
/* Ids in a body are allowed if they are the path's. False: it was answered. */
HF_MUST_CHECK bool hf_api_ids_match(struct hf_server_call *call);
/* The body's doNotDelete or expires, into the snapshot's record. False: it was answered. */
HF_MUST_CHECK bool hf_api_set_expiry(struct hf_server_call *call,
                                     struct hf_snapshot_record *snapshot);
/* Parameter 0 is the caller's project. False: it was answered. */
HF_MUST_CHECK bool hf_api_check_group(struct hf_server_call *call);
/* The snapshot of that parameter, of the caller's project. False: it was answered. */
HF_MUST_CHECK bool hf_api_find_snapshot(struct hf_server_call *call, size_t index,
                                        struct hf_snapshot_record *out);

#endif
