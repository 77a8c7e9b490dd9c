/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told of a job's attempts: the record of each (backup-domain.md 4.13), and from which member the next would be.
 */
#include "backup/lifecycle.h"
#include "os/clock.h"
#include "server/api.h"
#include "server/flow_queue.h"

#define LOG_MAX 60 /* backup-domain.md 4.13 */

static void set_time(struct hf_json *json, const char *key, uint64_t seconds)
{
    char text[HF_TIME_TEXT_BYTES];

    if (seconds != 0) {
        hf_time_format(seconds, text);
        hf_json_set_text(json, key, text);
    }
}

/* The administrator knows three states. */
static const char *state_word(enum hf_snapshot_state state)
{
    switch (state) {
    case HF_SNAPSHOT_IN_PROGRESS:
        return "IN_PROGRESS";
    case HF_SNAPSHOT_COMPLETE:
    case HF_SNAPSHOT_EXPIRED:
        return "COMPLETE";
    case HF_SNAPSHOT_FAILED:
    case HF_SNAPSHOT_ABANDONED:
        break;
    }
    return "FAILED";
}

static uint64_t between_s(uint64_t from_s, uint64_t to_s)
{
    return from_s != 0 && to_s > from_s ? to_s - from_s : 0;
}

void hf_api_add_record(const struct hf_snapshot_record *snapshot, struct hf_json *json)
{
    struct hf_json *record = hf_json_object();
    const struct hf_capture_times *times = &snapshot->times;
    uint64_t now_s = hf_flow_now_s();
    uint64_t end_s = snapshot->state == HF_SNAPSHOT_IN_PROGRESS ? now_s : snapshot->finished_s;
    uint64_t before_copy_s = (times->open_ms + times->list_ms) / 1000;

    hf_json_set_text(record, "snapshotId", hf_id_text(&snapshot->id).text);
    hf_json_set_text(record, "rsId", snapshot->set_name);
    hf_json_set_text(record, "sourceMongodHostName", snapshot->member);
    hf_json_set_text(record, "state", state_word(snapshot->state));
    hf_json_set_text(record, "error", snapshot->error[0] == '\0' ? NULL : snapshot->error);
    set_time(record, "timestamp", snapshot->checkpoint.seconds);
    set_time(record, "startTimeTs", snapshot->created_s);
    set_time(record, "descriptionCreatedAtTs", snapshot->given_s);
    set_time(record, "dataTransferStartedAtTs",
             times->copy_ms == 0 ? 0 : snapshot->given_s + before_copy_s);
    set_time(record, "endTimeTs", snapshot->finished_s);
    set_time(record, "latestUpdateTs",
             snapshot->finished_s != 0   ? snapshot->finished_s
             : snapshot->manifest_s != 0 ? snapshot->manifest_s
             : snapshot->sent_s != 0     ? snapshot->sent_s
             : snapshot->given_s != 0    ? snapshot->given_s
                                         : snapshot->created_s);
    hf_json_set_u64(record, "totalDuration", between_s(snapshot->created_s, end_s));
    hf_json_set_real(record, "openCursorDuration", (double)times->open_ms / 1000);
    hf_json_set_real(record, "fileListUploadDuration", (double)times->list_ms / 1000);
    hf_json_set_real(record, "dataBlockUploadDuration", (double)times->copy_ms / 1000);
    hf_json_set_real(record, "confirmOplogDuration", (double)times->confirm_ms / 1000);
    hf_json_set_u64(record, "finalizeFileListDuration",
                    between_s(snapshot->sent_s, snapshot->manifest_s));
    if (times->copy_ms != 0) {
        hf_json_set_real(record, "transferSpeed",
                         (double)snapshot->stored_bytes / 1000 / (double)times->copy_ms);
    }
    hf_json_set_u64(record, "numFiles", snapshot->files);
    hf_json_set_bool(record, "incrementalBackup", snapshot->parent_capture != 0);
    if (snapshot->parent_capture != 0) {
        hf_json_set_u64(record, "numBlocks",
                        snapshot->blocks_new + snapshot->blocks_reused + snapshot->blocks_zero);
        hf_json_set_u64(record, "numNewBlocks", snapshot->blocks_new);
    }
    hf_json_set_u64(record, "fileSize", snapshot->bytes);
    hf_json_set_u64(record, "compressedSize", snapshot->stored_bytes);
    hf_json_set_take(json, "record", record);
}

void hf_api_job_log(struct hf_server_call *call)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    const struct hf_call_page page = {.number = 1, .size = LOG_MAX};
    struct hf_job_record job;
    struct hf_error err;

    if (!hf_api_find_job(call, &job)) {
        return;
    }
    if (hf_keep_snapshots_of(call->app->catalog, &job.id, &snapshots, &err) != HF_ERR_OK ||
        hf_snapshot_sort(snapshots.items, snapshots.count, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *results = hf_json_array();
    for (size_t i = 0; i < snapshots.count && i < LOG_MAX; i++) {
        const struct hf_snapshot_record *one = &snapshots.items[snapshots.count - 1 - i];
        struct hf_json *json = hf_snapshot_record_encode(one);
        hf_api_add_record(one, json);
        hf_json_append_take(results, json);
    }
    hf_reply_list(call, &page, results, snapshots.count < LOG_MAX ? snapshots.count : LOG_MAX);
}

void hf_api_job_why_member(struct hf_server_call *call)
{
    struct hf_job_record job;
    struct hf_error err = {.code = HF_ERR_OK};

    if (!hf_api_find_job(call, &job)) {
        return;
    }
    struct hf_json *json = hf_flow_why_member(call->app, &job, &err);
    if (json == NULL && err.code != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_reply_json(call, 200, json);
}

void hf_api_queue(struct hf_server_call *call)
{
    struct hf_error err = {.code = HF_ERR_OK};

    struct hf_json *json = hf_flow_queue_show(call->app, &call->project, &err);
    if (json == NULL && err.code != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_reply_json(call, 200, json);
}
