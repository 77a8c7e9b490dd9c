/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records in the catalog: read with their revision, written back by compare-and-set. What a record means is not known
 * here.
 */
#ifndef HF_SERVER_KEEP_H
#define HF_SERVER_KEEP_H

#include "backup/alert_config.h"
#include "backup/fleet.h"
#include "backup/groom.h"
#include "backup/head.h"
#include "backup/people.h"
#include "backup/records.h"
#include "backup/schedule.h"
#include "backup/target.h"
#include "base/error.h"
#include "catalog/catalog.h"

/*
 * For each record type: get (NOT_FOUND), insert (EXISTS), replace (CONFLICT when another change came first; the
 * revision is raised on success). Ids are the record's own. Writes are durable on return.
 */
#define HF_KEEP_TABLE(X)                                                                           \
    X(org, struct hf_org_record, HF_KIND_ORG)                                                      \
    X(project, struct hf_project_record, HF_KIND_PROJECT)                                          \
    X(cluster, struct hf_cluster_record, HF_KIND_CLUSTER)                                          \
    X(job, struct hf_job_record, HF_KIND_JOB)                                                      \
    X(snapshot, struct hf_snapshot_record, HF_KIND_SNAPSHOT)                                       \
    X(restore, struct hf_restore_record, HF_KIND_RESTORE)                                          \
    X(link, struct hf_link_record, HF_KIND_LINK)                                                   \
    X(target, struct hf_target_record, HF_KIND_TARGET)                                             \
    X(task, struct hf_task_record, HF_KIND_TASK)                                                   \
    X(agent, struct hf_agent_record, HF_KIND_AGENT)                                                \
    X(schedule, struct hf_schedule_record, HF_KIND_SCHEDULE)                                       \
    X(head, struct hf_head_record, HF_KIND_HEAD)                                                   \
    X(event, struct hf_event_record, HF_KIND_EVENT)                                                \
    X(alert, struct hf_alert_record, HF_KIND_ALERT)                                                \
    X(alert_config, struct hf_alert_config_record, HF_KIND_ALERT_CONFIG)                           \
    X(maintenance, struct hf_maintenance_record, HF_KIND_MAINTENANCE)                              \
    X(usage, struct hf_usage_record, HF_KIND_USAGE)                                                \
    X(slot, struct hf_slot_record, HF_KIND_UPKEEP_SLOT)                                            \
    X(server, struct hf_server_record, HF_KIND_FLEET)                                              \
    X(lease, struct hf_lease_record, HF_KIND_LEASE)

#define HF_KEEP_DECLARE(word, type, kind)                                                                      \
    HF_MUST_CHECK enum hf_err hf_keep_##word##_get(struct hf_catalog *catalog,                                 \
                                                   const struct hf_id *id, type *out,                          \
                                                   uint64_t *revision, struct hf_error *err);                  \
    HF_MUST_CHECK enum hf_err hf_keep_##word##_insert(struct hf_catalog *catalog,                              \
                                                      const type *record, struct hf_error *err);               \
    HF_MUST_CHECK enum hf_err hf_keep_##word##_replace(                                                        \
        struct hf_catalog *catalog, const type *record, uint64_t *revision, struct hf_error *err);             \
    struct hf_keep_##word##s {                                                                                 \
        type *items; /* owned: hf_free */                                                                      \
        size_t count;                                                                                          \
    };                                                                                                         \
    /* All that the query finds (its kind is set here); a record that cannot be read is an error naming it. */ \
    HF_MUST_CHECK enum hf_err hf_keep_##word##_find(                                                           \
        struct hf_catalog *catalog, const struct hf_catalog_query *query,                                      \
        struct hf_keep_##word##s *out, struct hf_error *err);                                                  \
    void hf_keep_##word##s_fini(struct hf_keep_##word##s *list);                                               \
    HF_CLEANUP_DEFINE_VALUE(hf_keep_##word##s_fini, struct hf_keep_##word##s)
HF_KEEP_TABLE(HF_KEEP_DECLARE)
#undef HF_KEEP_DECLARE

/* All snapshots of a job, in any order. */
HF_MUST_CHECK enum hf_err hf_keep_snapshots_of(struct hf_catalog *catalog, const struct hf_id *job,
                                               struct hf_keep_snapshots *out, struct hf_error *err);

#endif
