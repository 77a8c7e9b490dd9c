/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of the records: what each field is called in the catalog.
 */
#include "backup/records.h"

#include "backup/alert_config.h"
#include "backup/fields.h"
#include "backup/fleet.h"
#include "backup/groom.h"
#include "backup/people.h"
#include "backup/store_record.h"

const struct hf_catalog_kind hf_backup_kinds[] = {
    {HF_KIND_SETTING, {NULL}},
    {HF_KIND_ORG, {"name", NULL}},
    {HF_KIND_PROJECT, {"name", "orgId", NULL}},
    {HF_KIND_CLUSTER, {"projectId", "setName", NULL}},
    {HF_KIND_STORE, {NULL}},
    {HF_KIND_API_KEY, {NULL}},
    {HF_KIND_AGENT_KEY, {"projectId", NULL}},
    {HF_KIND_AGENT, {"projectId", NULL}},
    {HF_KIND_JOB, {"projectId", "clusterId", "state", "serverId"}},
    {HF_KIND_SNAPSHOT, {"jobId", "clusterId", "state", "createdS"}},
    {HF_KIND_RESTORE, {"clusterId", "jobId", "state", NULL}},
    {HF_KIND_LINK, {"snapshotId", "projectId", "expiresS", NULL}},
    {HF_KIND_TARGET, {"state", NULL}},
    {HF_KIND_TARGET_LOCK, {NULL}},
    {HF_KIND_TASK, {"agentId", "state", "snapshotId", NULL}},
    {HF_KIND_PROGRESS, {NULL}},
    {HF_KIND_MEMBERS, {NULL}},
    {HF_KIND_FINISH, {NULL}},
    {HF_KIND_HEAD, {NULL}},
    {HF_KIND_CHECK, {NULL}},
    {HF_KIND_SCHEDULE, {"wakeS", "queueS", "owedS", NULL}},
    {HF_KIND_QUEUE, {NULL}},
    {HF_KIND_EVENT, {"jobId", "createdS", "userS", "serverS"}},
    {HF_KIND_USAGE, {"projectId", NULL}},
    {HF_KIND_ALERT, {"status", "createdS", NULL}},
    {HF_KIND_ALERT_CONFIG, {NULL}},
    {HF_KIND_MAINTENANCE, {"projectId", "endS", NULL}},
    {HF_KIND_SERVER, {NULL}},
    {HF_KIND_NOTICE, {"dueS", NULL}},
    {HF_KIND_UPKEEP_SLOT, {NULL}},
    {HF_KIND_ASSIGNMENT, {NULL}},
    {HF_KIND_FLEET, {NULL}},
    {HF_KIND_LEASE, {NULL}},
    {HF_KIND_WAKE, {NULL}},
};
const size_t hf_backup_kind_count = HF_ARRAY_LEN(hf_backup_kinds);

static const char *const job_states[] = {"INACTIVE", "PROVISIONING", "STARTED",
                                         "STOPPED",  "TERMINATING",  NULL};
static const char *const snapshot_states[] = {"IN_PROGRESS", "COMPLETE", "FAILED",
                                              "ABANDONED",   "EXPIRED",  NULL};
static const char *const restore_states[] = {"IN_PROGRESS", "FINISHED", "BROKEN", "KILLED", NULL};
static const char *const link_transfers[] = {"READY", "IN_PROGRESS", "INTERRUPTED", "FAILED", NULL};
static const char *const task_kinds[] = {"CAPTURE", "RESTORE", "TAIL", "TARGET", NULL};
static const char *const task_states[] = {"WAITING", "RUNNING", "FINISHING", "ENDED", NULL};

#define RECORD(word, type, table)                                                                  \
    static const struct hf_fields word##_record = {                                                \
        .record = #word,                                                                           \
        .fields = (table),                                                                         \
        .count = HF_ARRAY_LEN(table),                                                              \
        .size_bytes = sizeof(type),                                                                \
    };                                                                                             \
    struct hf_json *hf_##word##_record_encode(const type *record)                                  \
    {                                                                                              \
        return hf_fields_encode(&word##_record, record);                                           \
    }                                                                                              \
    enum hf_err hf_##word##_record_decode(const struct hf_json *json, type *out,                   \
                                          struct hf_error *err)                                    \
    {                                                                                              \
        return hf_fields_decode(&word##_record, json, out, err);                                   \
    }

#define R struct hf_cluster_record
static const struct hf_field cluster_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_ID(R, project, "projectId", true),
    HF_FIELDS_TEXT(R, set_name, "setName", true),
    HF_FIELDS_U64(R, created_s, "createdS"),
};
#undef R
RECORD(cluster, struct hf_cluster_record, cluster_fields)

#define R struct hf_job_record
static const struct hf_field job_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_ID(R, project, "projectId", true),
    HF_FIELDS_ID(R, cluster, "clusterId", true),
    HF_FIELDS_ID(R, store, "storeId", true),
    HF_FIELDS_ID(R, oplog_store, "oplogStoreId", false),
    HF_FIELDS_TEXT(R, set_name, "setName", true),
    HF_FIELDS_WORD(R, state, "state", job_states),
    HF_FIELDS_U64(R, next_capture, "nextCapture"),
    HF_FIELDS_ID(R, running, "runningSnapshotId", false),
    HF_FIELDS_TEXT(R, preferred_member, "preferredMember", false),
    HF_FIELDS_U64(R, created_s, "createdS"),
    HF_FIELDS_TEXT(R, snapshot_wanted, "snapshotWanted", false),
    HF_FIELDS_U64(R, wanted_s, "wantedS"),
    HF_FIELDS_U64(R, wanted_capture, "wantedCapture"),
    HF_FIELDS_U64(R, moved_s, "movedS"),
    HF_FIELDS_U64(R, started_s, "startedS"),
    HF_FIELDS_U64(R, ended_s, "endedS"),
    HF_FIELDS_U64(R, run, "run"),
    HF_FIELDS_BOOL(R, waiting, "waitsForApproval"),
    HF_FIELDS_BOOL(R, approved, "approved"),
    HF_FIELDS_BOOL(R, leftover, "leftover"),
    HF_FIELDS_U64(R, failures, "failuresInARow"),
    HF_FIELDS_U64(R, failed_s, "failedS"),
    HF_FIELDS_ID(R, last.snapshot, "lastSnapshotId", false),
    HF_FIELDS_U64(R, last.created_s, "lastCreatedS"),
    HF_FIELDS_U64(R, last.finished_s, "lastFinishedS"),
    HF_FIELDS_U64(R, last.bytes, "lastBytes"),
    HF_FIELDS_U64(R, last.stored_bytes, "lastStoredBytes"),
    HF_FIELDS_TEXT(R, problem, "problem", false),
    HF_FIELDS_TEXT(R, assigned, "assignedBecause", false),
    HF_FIELDS_ID(R, server, "serverId", false),
    HF_FIELDS_U64(R, server_term, "serverTerm"),
};
#undef R
RECORD(job, struct hf_job_record, job_fields)

#define R struct hf_snapshot_record
static const struct hf_field snapshot_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_ID(R, job, "jobId", true),
    HF_FIELDS_ID(R, project, "projectId", true),
    HF_FIELDS_ID(R, cluster, "clusterId", true),
    HF_FIELDS_ID(R, store, "storeId", true),
    HF_FIELDS_TEXT(R, set_name, "setName", true),
    HF_FIELDS_WORD(R, state, "state", snapshot_states),
    HF_FIELDS_U64(R, capture, "capture"),
    HF_FIELDS_ID(R, writer, "writer", true),
    HF_FIELDS_ID(R, task, "taskId", false),
    HF_FIELDS_ID(R, agent, "agentId", false),
    HF_FIELDS_U64(R, parent_capture, "parentCapture"),
    HF_FIELDS_U64(R, adopted_capture, "adoptedCapture"),
    HF_FIELDS_ID(R, adopted_writer, "adoptedWriter", false),
    HF_FIELDS_TEXT(R, member, "member", false),
    HF_FIELDS_TEXT(R, member_state, "memberState", false),
    HF_FIELDS_TEXT(R, reason, "reason", false),
    HF_FIELDS_TEXT(R, description, "description", false),
    HF_FIELDS_U64(R, created_s, "createdS"),
    HF_FIELDS_U64(R, finished_s, "finishedS"),
    HF_FIELDS_U64(R, expires_s, "expiresS"),
    HF_FIELDS_BOOL(R, keep, "doNotDelete"),
    HF_FIELDS_BOOL(R, automatic, "automatic"),
    HF_FIELDS_U64(R, classes, "classes"),
    HF_FIELDS_BOOL(R, full, "full"),
    HF_FIELDS_BOOL(R, dropped, "dropped"),
    HF_FIELDS_BOOL(R, encrypted, "encrypted"),
    HF_FIELDS_U64(R, given_s, "givenS"),
    HF_FIELDS_U64(R, sent_s, "sentS"),
    HF_FIELDS_U64(R, manifest_s, "manifestS"),
    HF_FIELDS_U64(R, times.open_ms, "openMs"),
    HF_FIELDS_U64(R, times.list_ms, "listMs"),
    HF_FIELDS_U64(R, times.copy_ms, "copyMs"),
    HF_FIELDS_U64(R, times.confirm_ms, "confirmMs"),
    HF_FIELDS_U64(R, put_max_bytes, "putMaxBytes"),
    HF_FIELDS_TEXT(R, fcv, "fcv", false),
    HF_FIELDS_TEXT(R, server_version, "serverVersion", false),
    HF_FIELDS_TEXT(R, engine, "engine", false),
    HF_FIELDS_OPTIME(R, checkpoint, "checkpoint"),
    HF_FIELDS_OPTIME(R, oplog_end, "oplogEnd"),
    HF_FIELDS_OPTIME(R, committed, "committed"),
    HF_FIELDS_U64(R, files, "files"),
    HF_FIELDS_U64(R, bytes, "bytes"),
    HF_FIELDS_U64(R, new_bytes, "newBytes"),
    HF_FIELDS_U64(R, stored_bytes, "storedBytes"),
    HF_FIELDS_U64(R, read_bytes, "readBytes"),
    HF_FIELDS_U64(R, blocks_reused, "blocksReused"),
    HF_FIELDS_U64(R, blocks_new, "blocksNew"),
    HF_FIELDS_U64(R, blocks_zero, "blocksZero"),
    HF_FIELDS_U64(R, files_skipped, "filesSkipped"),
    HF_FIELDS_BOOL(R, claim_dropped, "claimDropped"),
    HF_FIELDS_BOOL(R, void_dropped, "voidDropped"),
    HF_FIELDS_U64(R, verified_s, "verifiedS"),
    HF_FIELDS_U64(R, verified_capture, "verifiedCapture"),
    HF_FIELDS_BOOL(R, verified_ok, "verifiedOk"),
    HF_FIELDS_TEXT(R, verified_level, "verifiedLevel", false),
    HF_FIELDS_TEXT(R, verified_error, "verifiedError", false),
    HF_FIELDS_TEXT(R, error_class, "errorClass", false),
    HF_FIELDS_TEXT(R, error, "error", false),
};
#undef R
RECORD(snapshot, struct hf_snapshot_record, snapshot_fields)

#define R struct hf_restore_record
static const struct hf_field restore_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_ID(R, snapshot, "snapshotId", true),
    HF_FIELDS_ID(R, job, "jobId", true),
    HF_FIELDS_ID(R, project, "projectId", true),
    HF_FIELDS_ID(R, cluster, "clusterId", true),
    HF_FIELDS_ID(R, agent, "agentId", false),
    HF_FIELDS_ID(R, task, "taskId", false),
    HF_FIELDS_WORD(R, state, "state", restore_states),
    HF_FIELDS_TEXT(R, directory, "directory", false),
    HF_FIELDS_BOOL(R, onto, "onto"),
    HF_FIELDS_BOOL(R, leave_foreign, "leaveForeign"),
    HF_FIELDS_BOOL(R, point.wanted, "pointInTime"),
    HF_FIELDS_BOOL(R, point.date, "pointIsDate"),
    HF_FIELDS_U64(R, point.seconds, "pointSeconds"),
    HF_FIELDS_U64(R, point.increment, "pointIncrement"),
    HF_FIELDS_OPTIME(R, point.last, "pointLast"),
    HF_FIELDS_U64(R, point.entries, "pointEntriesMax"),
    HF_FIELDS_U64(R, point.bytes, "pointBytesMax"),
    HF_FIELDS_U64(R, point.other_histories, "pointOtherHistories"),
    HF_FIELDS_OPTIME(R, lease_from, "leaseFrom"),
    HF_FIELDS_OPTIME(R, point.top, "replayTop"),
    HF_FIELDS_U64(R, point.compared, "replayCompared"),
    HF_FIELDS_U64(R, point.inserted, "replayInserted"),
    HF_FIELDS_U64(R, point.inserted_bytes, "replayInsertedBytes"),
    HF_FIELDS_U64(R, point.validated, "replayValidated"),
    HF_FIELDS_U64(R, point.wrong, "replayWrong"),
    HF_FIELDS_TEXT(R, point.notes, "replayNotes", false),
    HF_FIELDS_BOOL(R, link, "link"),
    HF_FIELDS_U64(R, created_s, "createdS"),
    HF_FIELDS_U64(R, finished_s, "finishedS"),
    HF_FIELDS_U64(R, files, "files"),
    HF_FIELDS_U64(R, bytes, "bytes"),
    HF_FIELDS_U64(R, written_bytes, "writtenBytes"),
    HF_FIELDS_U64(R, removed_files, "removedFiles"),
    HF_FIELDS_ID(R, target_cluster, "targetClusterId", false),
    HF_FIELDS_TEXT(R, target_set, "targetSet", false),
    HF_FIELDS_BOOL(R, dry_run, "dryRun"),
    HF_FIELDS_TEXT(R, error_class, "errorClass", false),
    HF_FIELDS_TEXT(R, error, "error", false),
};
#undef R
RECORD(restore, struct hf_restore_record, restore_fields)

#define R struct hf_link_record
static const struct hf_field link_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_ID(R, snapshot, "snapshotId", true),
    HF_FIELDS_ID(R, job, "jobId", true),
    HF_FIELDS_ID(R, project, "projectId", true),
    HF_FIELDS_TEXT(R, nonce, "nonce", true),
    HF_FIELDS_TEXT(R, file, "file", true),
    HF_FIELDS_BOOL(R, gzip, "gzip"),
    HF_FIELDS_U64(R, created_s, "createdS"),
    HF_FIELDS_U64(R, expires_s, "expiresS"),
    HF_FIELDS_U64(R, hours, "hours"),
    HF_FIELDS_U64(R, max_downloads, "maxDownloads"),
    HF_FIELDS_U64(R, downloads, "downloads"),
    HF_FIELDS_U64(R, downloaded_s, "downloadedS"),
    HF_FIELDS_OPTIME(R, lease_from, "leaseFrom"),
    HF_FIELDS_WORD(R, transfer, "transfer", link_transfers),
    HF_FIELDS_TEXT(R, sha1, "sha1", false),
    HF_FIELDS_TEXT(R, etag, "etag", false),
    HF_FIELDS_TEXT(R, error, "error", false),
};
#undef R
RECORD(link, struct hf_link_record, link_fields)

#define R struct hf_task_record
static const struct hf_field task_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_ID(R, project, "projectId", true),
    HF_FIELDS_ID(R, job, "jobId", true),
    HF_FIELDS_ID(R, agent, "agentId", false),
    HF_FIELDS_ID(R, snapshot, "snapshotId", false),
    HF_FIELDS_ID(R, restore, "restoreId", false),
    HF_FIELDS_WORD(R, kind, "kind", task_kinds),
    HF_FIELDS_WORD(R, state, "state", task_states),
    HF_FIELDS_ID(R, writer, "writer", false),
    HF_FIELDS_TEXT(R, member, "member", false),
    HF_FIELDS_ID(R, attempt, "attempt", true),
    HF_FIELDS_U64(R, created_s, "createdS"),
    HF_FIELDS_U64(R, seen_s, "seenS"),
    HF_FIELDS_BOOL(R, cancelled, "cancelled"),
    HF_FIELDS_TEXT(R, error_class, "errorClass", false),
    HF_FIELDS_TEXT(R, error, "error", false),
};
#undef R
RECORD(task, struct hf_task_record, task_fields)

#define R struct hf_event_record
static const struct hf_field event_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_ID(R, project, "projectId", true),
    HF_FIELDS_ID(R, job, "jobId", false),
    HF_FIELDS_TEXT(R, set_name, "setName", false),
    HF_FIELDS_TEXT(R, type, "type", true),
    HF_FIELDS_U64(R, created_s, "createdS"),
    HF_FIELDS_TEXT(R, text, "text", false),
    HF_FIELDS_ID(R, target, "targetId", false),
    HF_FIELDS_TEXT(R, by, "by", false),
    HF_FIELDS_TEXT(R, user, "user", false),
    HF_FIELDS_TEXT(R, address, "address", false),
    HF_FIELDS_TEXT(R, outcome, "outcome", false),
};
#undef R
RECORD(event, struct hf_event_record, event_fields)

#define R struct hf_agent_record
static const struct hf_field agent_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_ID(R, project, "projectId", true),
    HF_FIELDS_TEXT(R, host, "host", true),
    HF_FIELDS_TEXT(R, release, "release", false),
    HF_FIELDS_U64(R, created_s, "createdS"),
    HF_FIELDS_U64(R, seen_s, "seenS"),
    HF_FIELDS_TEXT(R, restore_root, "restoreRoot", false),
    HF_FIELDS_TEXT(R, session_hash, "sessionHash", false),
};
#undef R
RECORD(agent, struct hf_agent_record, agent_fields)

const char *hf_job_state_word(enum hf_job_state state)
{
    return job_states[state];
}

const char *hf_snapshot_state_word(enum hf_snapshot_state state)
{
    return snapshot_states[state];
}

const char *hf_restore_state_word(enum hf_restore_state state)
{
    return restore_states[state];
}

const char *hf_task_kind_word(enum hf_task_kind kind)
{
    return task_kinds[kind];
}

const char *hf_task_state_word(enum hf_task_state state)
{
    return task_states[state];
}
