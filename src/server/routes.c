/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of routes.
 */
#include "server/api.h"
#include "server/server_internal.h"

#define PUBLIC "/api/public/v1.0"
#define GROUP PUBLIC "/groups/*"
#define CLUSTER GROUP "/clusters/*"
#define PRIVATE "/api/private/v1.0"

const struct hf_route hf_server_routes[] = {
    {"GET", "/monitor/health", hf_api_health, HF_ROUTE_API, true},
    {"GET", "/metrics", hf_api_metrics, HF_ROUTE_API, true},
    {"GET", "/api/private/unauth/version", hf_api_version, HF_ROUTE_API, true},

    {"GET", PUBLIC, hf_api_root, HF_ROUTE_API, false},
    {"GET", PUBLIC "/groups", hf_api_groups, HF_ROUTE_API, false},
    {"GET", PUBLIC "/groups/byName/*", hf_api_group_by_name, HF_ROUTE_API, false},
    {"GET", GROUP, hf_api_group, HF_ROUTE_API, false},
    {"GET", GROUP "/clusters", hf_api_clusters, HF_ROUTE_API, false},
    {"GET", CLUSTER, hf_api_cluster, HF_ROUTE_API, false},
    {"GET", GROUP "/backupConfigs", hf_api_backup_configs, HF_ROUTE_API, false},
    {"GET", GROUP "/backupConfigs/*", hf_api_backup_config, HF_ROUTE_API, false},
    {"PATCH", GROUP "/backupConfigs/*", hf_api_patch_backup_config, HF_ROUTE_API, false},
    {"GET", GROUP "/backupConfigs/*/availableMembers", hf_api_available_members, HF_ROUTE_API,
     false},
    {"GET", GROUP "/backupConfigs/*/snapshotSchedule", hf_api_snapshot_schedule, HF_ROUTE_API,
     false},
    {"PATCH", GROUP "/backupConfigs/*/snapshotSchedule", hf_api_patch_snapshot_schedule,
     HF_ROUTE_API, false},
    {"GET", CLUSTER "/snapshots", hf_api_cluster_snapshots, HF_ROUTE_API, false},
    {"POST", CLUSTER "/snapshots/onDemandSnapshot", hf_api_on_demand_snapshot, HF_ROUTE_API, false},
    {"GET", CLUSTER "/snapshots/*", hf_api_cluster_snapshot, HF_ROUTE_API, false},
    {"PATCH", CLUSTER "/snapshots/*", hf_api_patch_cluster_snapshot, HF_ROUTE_API, false},
    {"DELETE", CLUSTER "/snapshots/*", hf_api_delete_cluster_snapshot, HF_ROUTE_API, false},
    {"GET", CLUSTER "/restoreJobs", hf_api_cluster_restores, HF_ROUTE_API, false},
    {"POST", CLUSTER "/restoreJobs/restorableTimeRanges", hf_api_cluster_ranges, HF_ROUTE_API,
     false},
    {"POST", CLUSTER "/restoreJobs", hf_api_start_cluster_restore, HF_ROUTE_API, false},
    {"GET", CLUSTER "/restoreJobs/*", hf_api_cluster_restore, HF_ROUTE_API, false},

    {"GET", GROUP "/alerts", hf_api_alerts, HF_ROUTE_API, false},
    {"GET", GROUP "/alerts/*", hf_api_alert, HF_ROUTE_API, false},
    {"PATCH", GROUP "/alerts/*", hf_api_acknowledge_alert, HF_ROUTE_API, false},
    {"GET", PUBLIC "/globalAlerts", hf_api_global_alerts, HF_ROUTE_API, false},
    {"GET", GROUP "/events", hf_api_group_events, HF_ROUTE_API, false},
    {"GET", GROUP "/events/*", hf_api_group_event, HF_ROUTE_API, false},
    {"GET", PUBLIC "/globalEvents", hf_api_global_events, HF_ROUTE_API, false},

    {"GET", PRIVATE "/status", hf_api_status, HF_ROUTE_API, false},
    {"GET", PRIVATE "/agents", hf_api_agents, HF_ROUTE_API, false},
    {"GET", PRIVATE "/jobs", hf_api_jobs, HF_ROUTE_API, false},
    {"GET", PRIVATE "/jobs/*", hf_api_job, HF_ROUTE_API, false},
    {"POST", PRIVATE "/jobs/*/forceTerminate", hf_api_job_force, HF_ROUTE_API, false},
    {"GET", PRIVATE "/jobs/*/whyMember", hf_api_job_why_member, HF_ROUTE_API, false},
    {"GET", PRIVATE "/jobs/*/log", hf_api_job_log, HF_ROUTE_API, false},
    {"GET", PRIVATE "/queue", hf_api_queue, HF_ROUTE_API, false},
    {"GET", PRIVATE "/jobs/*/ranges", hf_api_job_ranges, HF_ROUTE_API, false},
    {"GET", PRIVATE "/jobs/*/policy", hf_api_policy, HF_ROUTE_API, false},
    {"PATCH", PRIVATE "/jobs/*/policy", hf_api_patch_policy, HF_ROUTE_API, false},
    {"POST", PRIVATE "/jobs/*/policy/simulate", hf_api_simulate_policy, HF_ROUTE_API, false},
    {"GET", PRIVATE "/events", hf_api_events, HF_ROUTE_API, false},
    {"GET", PRIVATE "/events/*", hf_api_event, HF_ROUTE_API, false},
    {"GET", PRIVATE "/jobs/*/oplog/find", hf_api_oplog_find, HF_ROUTE_STREAM, false},
    {"GET", PRIVATE "/jobs/*/oplog/diff", hf_api_oplog_diff, HF_ROUTE_STREAM, false},
    {"POST", PRIVATE "/jobs/*/oplog/check", hf_api_oplog_check, HF_ROUTE_STREAM, false},
    {"GET", PRIVATE "/snapshots", hf_api_snapshots, HF_ROUTE_API, false},
    {"POST", PRIVATE "/snapshots", hf_api_take, HF_ROUTE_API, false},
    {"GET", PRIVATE "/snapshots/*", hf_api_snapshot, HF_ROUTE_API, false},
    {"PATCH", PRIVATE "/snapshots/*", hf_api_patch_snapshot, HF_ROUTE_API, false},
    {"DELETE", PRIVATE "/snapshots/*", hf_api_delete_snapshot, HF_ROUTE_API, false},
    {"POST", PRIVATE "/snapshots/*/cancel", hf_api_cancel_snapshot, HF_ROUTE_API, false},
    {"POST", PRIVATE "/snapshots/*/verify", hf_api_verify, HF_ROUTE_STREAM, false},
    {"GET", PRIVATE "/snapshots/*/tar", hf_api_tar, HF_ROUTE_STREAM, false},
    {"GET", PRIVATE "/snapshots/*/oplog", hf_api_snapshot_oplog, HF_ROUTE_STREAM, false},
    {"GET", PRIVATE "/snapshots/*/oplog/entries", hf_api_snapshot_entries, HF_ROUTE_STREAM, false},
    {"GET", PRIVATE "/restores", hf_api_restores, HF_ROUTE_API, false},
    {"POST", PRIVATE "/restores", hf_api_start_restore, HF_ROUTE_API, false},
    {"GET", PRIVATE "/restores/*", hf_api_restore, HF_ROUTE_API, false},
    {"POST", PRIVATE "/restores/*/cancel", hf_api_cancel_restore, HF_ROUTE_API, false},
    {"GET", PRIVATE "/stores", hf_api_stores, HF_ROUTE_API, false},
    {"POST", PRIVATE "/stores", hf_api_add_store, HF_ROUTE_API, false},
    {"PATCH", PRIVATE "/stores/*", hf_api_set_store, HF_ROUTE_API, false},
    {"DELETE", PRIVATE "/stores/*", hf_api_remove_store, HF_ROUTE_API, false},
    {"GET", PRIVATE "/assignment", hf_api_assignment, HF_ROUTE_API, false},
    {"PUT", PRIVATE "/assignment", hf_api_put_assignment, HF_ROUTE_API, false},
    {"GET", PRIVATE "/store/usage", hf_api_store_usage, HF_ROUTE_API, false},
    {"POST", PRIVATE "/store/groom", hf_api_store_groom, HF_ROUTE_API, false},
    {"POST", PRIVATE "/store/check", hf_api_store_check, HF_ROUTE_API, false},
    {"POST", PRIVATE "/links", hf_api_start_link, HF_ROUTE_API, false},

    {"GET", HF_API_PULL_PATH "*/*/*", hf_api_pull, HF_ROUTE_API, true},
};
const size_t hf_server_route_count = HF_ARRAY_LEN(hf_server_routes);
