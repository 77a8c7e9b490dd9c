/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks as JSON: inside poll answers, and (without keys) as the note on an agent's disk.
 */
#include "format/message_internal.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/secret.h"
#include "format/field.h"

static const char *const kinds[HF_TASK_KINDS] = {
    [HF_TASK_CAPTURE] = "capture",
    [HF_TASK_RESTORE] = "restore",
    [HF_TASK_TAIL] = "tail",
    [HF_TASK_TARGET] = "target",
};

const char *hf_task_kind_name(enum hf_task_kind kind)
{
    return kinds[kind];
}

bool hf_task_kind_parse(const char *name, enum hf_task_kind *out)
{
    for (unsigned i = 0; i < HF_TASK_KINDS; i++) {
        if (strcmp(kinds[i], name) == 0) {
            *out = (enum hf_task_kind)i;
            return true;
        }
    }
    return false;
}

void hf_task_fini(struct hf_task *task)
{
    hf_tree_root_fini(&task->capture.parent_root);
    hf_tree_root_fini(&task->restore.root);
    hf_free(task->restore.restore_info);
    task->restore.restore_info = NULL;
    hf_task_point_fini(&task->restore.point);
    hf_task_target_fini(&task->target);
    hf_keyring_wipe(&task->keyring);
}

static struct hf_json *limits_to_json(const struct hf_task_limits *limits)
{
    struct hf_json *json = hf_json_object();
    hf_json_set_u64(json, "workers", limits->workers);
    hf_json_set_u64(json, "rateBytesS", limits->rate_bytes_s);
    hf_json_set_integer(json, "level", limits->compression_level);
    hf_json_set_u64(json, "blockBytes", limits->block_bytes);
    hf_json_set_u64(json, "majorityWaitMs", limits->majority_wait_ms);
    return json;
}

static struct hf_json *capture_to_json(const struct hf_task_capture *capture, struct hf_error *err)
{
    struct hf_json *json = hf_json_object();
    hf_json_set_text(json, "member", capture->member);
    hf_json_set_text(json, "set", capture->set_name);
    hf_json_set_u64(json, "capture", capture->capture);
    hf_field_set_id(json, "writer", &capture->writer);
    hf_field_set_id(json, "snapshot", &capture->snapshot);
    hf_json_set_u64(json, "parent", capture->parent);
    hf_field_set_text(json, "parentMember", capture->parent_member);
    hf_field_set_text(json, "parentBackupName", capture->parent_backup_name);
    hf_field_set_adopted(json, "adopted", capture->adopted, capture->adopted_count);
    hf_json_set_bool(json, "readAll", capture->read_all);
    hf_json_set_bool(json, "proveParent", capture->prove_parent);
    if (capture->parent != 0 &&
        hf_field_set_root(json, "parentRoot", &capture->parent_root, err) != HF_ERR_OK) {
        hf_json_drop(json);
        return NULL;
    }
    return json;
}

static struct hf_json *restore_to_json(const struct hf_task_restore *restore, struct hf_error *err)
{
    struct hf_json *json = hf_json_object();
    hf_field_set_id(json, "restore", &restore->restore);
    hf_field_set_id(json, "snapshot", &restore->snapshot);
    hf_json_set_u64(json, "capture", restore->capture);
    hf_json_set_text(json, "directory", restore->directory);
    if (restore->onto) {
        hf_json_set_bool(json, "onto", true);
        hf_json_set_bool(json, "leaveForeign", restore->leave_foreign);
    }
    hf_json_set_text(json, "restoreInfo", restore->restore_info);
    if (hf_field_set_root(json, "root", &restore->root, err) != HF_ERR_OK ||
        hf_task_point_set(json, &restore->point, err) != HF_ERR_OK) {
        hf_json_drop(json);
        return NULL;
    }
    return json;
}

static struct hf_json *content_to_json(const struct hf_task *task, struct hf_error *err)
{
    switch (task->kind) {
    case HF_TASK_CAPTURE:
        return capture_to_json(&task->capture, err);
    case HF_TASK_RESTORE:
        return restore_to_json(&task->restore, err);
    case HF_TASK_TAIL:
        return hf_task_tail_to_json(&task->tail, err);
    case HF_TASK_TARGET:
        break;
    }
    return hf_task_target_to_json(&task->target, err);
}

struct hf_json *hf_task_to_json(const struct hf_task *task,
                                const struct hf_task_json_options *options)
{
    struct hf_error err;
    const char *kind = hf_task_kind_name(task->kind);
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *body = content_to_json(task, &err);
    if (json == NULL || body == NULL) {
        return NULL;
    }
    hf_field_set_id(json, "task", &task->id);
    hf_field_set_id(json, "attempt", &task->attempt);
    hf_json_set_text(json, "kind", kind);
    hf_json_set_take(json, "limits", limits_to_json(&task->limits));
    hf_json_set_take(json, kind, HF_TAKE(body));
    if (options->with_keys) {
        struct hf_json *keys = hf_keyring_to_json(
            &task->keyring, &(struct hf_keyring_json_options){.with_seal = false});
        if (keys == NULL) {
            return NULL;
        }
        hf_json_set_take(json, "keys", keys);
    }
    return HF_TAKE(json);
}

static enum hf_err limits_from_json(const struct hf_json *json, struct hf_task_limits *out,
                                    struct hf_error *err)
{
    int64_t level = hf_json_get_integer(json, "level", 0);
    if (level < -100 || level > 22) {
        return hf_fail(err, HF_ERR_INVALID, "level: %" PRId64, level);
    }
    out->compression_level = (int32_t)level;
    if (hf_field_u32(json, "workers", &out->workers, err) != HF_ERR_OK ||
        hf_field_u64(json, "rateBytesS", INT64_MAX, &out->rate_bytes_s, err) != HF_ERR_OK ||
        hf_field_u32(json, "blockBytes", &out->block_bytes, err) != HF_ERR_OK ||
        hf_field_u64(json, "majorityWaitMs", INT64_MAX, &out->majority_wait_ms, err) != HF_ERR_OK) {
        return err->code;
    }
    uint32_t block = out->block_bytes;
    if (block != 0 &&
        (block < HF_BLOCK_MIN_BYTES || block > HF_BLOCK_MAX_BYTES || (block & (block - 1)) != 0)) {
        return hf_fail(err, HF_ERR_INVALID, "blockBytes: %" PRIu32 " is no power of two in range",
                       block);
    }
    return HF_ERR_OK;
}

static enum hf_err capture_from_json(const struct hf_json *json, struct hf_task_capture *out,
                                     struct hf_error *err)
{
    if (hf_field_text(json, "member", out->member, sizeof out->member, err) != HF_ERR_OK ||
        hf_field_text(json, "set", out->set_name, sizeof out->set_name, err) != HF_ERR_OK ||
        hf_json_need_u64(json, "capture", 1, HF_CAPTURE_MAX, &out->capture, err) != HF_ERR_OK ||
        hf_field_need_id(json, "writer", &out->writer, err) != HF_ERR_OK ||
        hf_field_need_id(json, "snapshot", &out->snapshot, err) != HF_ERR_OK ||
        hf_field_u64(json, "parent", HF_CAPTURE_MAX, &out->parent, err) != HF_ERR_OK ||
        hf_field_text(json, "parentMember", out->parent_member, sizeof out->parent_member, err) !=
            HF_ERR_OK ||
        hf_field_text(json, "parentBackupName", out->parent_backup_name,
                      sizeof out->parent_backup_name, err) != HF_ERR_OK ||
        hf_field_adopted(json, "adopted", out->adopted, &out->adopted_count, err) != HF_ERR_OK ||
        hf_field_bool(json, "readAll", &out->read_all, err) != HF_ERR_OK ||
        hf_field_bool(json, "proveParent", &out->prove_parent, err) != HF_ERR_OK) {
        return hf_wrap(err, "capture");
    }
    if (out->parent >= out->capture) {
        return hf_fail(err, HF_ERR_INVALID, "capture: parent: not below its own number");
    }
    if (out->parent != 0 &&
        hf_field_root(json, "parentRoot", &out->parent_root, err) != HF_ERR_OK) {
        return hf_wrap(err, "capture");
    }
    return HF_ERR_OK;
}

static enum hf_err restore_from_json(const struct hf_json *json, struct hf_task_restore *out,
                                     struct hf_error *err)
{
    if (hf_field_need_id(json, "restore", &out->restore, err) != HF_ERR_OK ||
        hf_field_need_id(json, "snapshot", &out->snapshot, err) != HF_ERR_OK ||
        hf_field_u64(json, "capture", HF_CAPTURE_MAX, &out->capture, err) != HF_ERR_OK ||
        hf_field_text(json, "directory", out->directory, sizeof out->directory, err) != HF_ERR_OK ||
        hf_field_bool(json, "onto", &out->onto, err) != HF_ERR_OK ||
        hf_field_bool(json, "leaveForeign", &out->leave_foreign, err) != HF_ERR_OK ||
        hf_field_root(json, "root", &out->root, err) != HF_ERR_OK ||
        hf_task_point_get(json, &out->point, err) != HF_ERR_OK) {
        return hf_wrap(err, "restore");
    }
    const char *info = hf_json_get_text(json, "restoreInfo");
    if (info != NULL) {
        if (strlen(info) > HF_MESSAGE_INFO_BYTES) {
            return hf_fail(err, HF_ERR_INVALID, "restore: restoreInfo: too long");
        }
        out->restore_info = hf_strdup(info);
        if (out->restore_info == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "restore: restoreInfo");
        }
    }
    return HF_ERR_OK;
}

static enum hf_err content_from_json(const struct hf_json *json, struct hf_task *out,
                                     struct hf_error *err)
{
    switch (out->kind) {
    case HF_TASK_CAPTURE:
        return capture_from_json(json, &out->capture, err);
    case HF_TASK_RESTORE:
        return restore_from_json(json, &out->restore, err);
    case HF_TASK_TAIL:
        return hf_task_tail_from_json(json, &out->tail, err);
    case HF_TASK_TARGET:
        break;
    }
    return hf_task_target_from_json(json, &out->target, err);
}

enum hf_err hf_task_from_json(const struct hf_json *json, struct hf_task *out, struct hf_error *err)
{
    HF_CLEANUP(hf_task_fini) struct hf_task task = {.kind = HF_TASK_CAPTURE};
    const char *kind = NULL;
    struct hf_json *limits = NULL;
    struct hf_json *body = NULL;
    if (hf_field_need_id(json, "task", &task.id, err) != HF_ERR_OK ||
        hf_field_need_id(json, "attempt", &task.attempt, err) != HF_ERR_OK ||
        hf_json_need_text(json, "kind", &kind, err) != HF_ERR_OK ||
        hf_json_need_object(json, "limits", &limits, err) != HF_ERR_OK ||
        limits_from_json(limits, &task.limits, err) != HF_ERR_OK) {
        return hf_wrap(err, "task");
    }
    if (!hf_task_kind_parse(kind, &task.kind)) {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "task of unknown kind \"%.40s\"", kind);
    }
    if (hf_json_need_object(json, kind, &body, err) != HF_ERR_OK) {
        return hf_wrap(err, "task");
    }
    enum hf_err code = content_from_json(body, &task, err);
    const struct hf_json *keys = hf_json_get(json, "keys");
    if (code == HF_ERR_OK && keys != NULL) {
        code = hf_keyring_from_json(keys, &task.keyring, err);
    }
    if (code != HF_ERR_OK) {
        return hf_wrap(err, "task");
    }
    *out = task;
    /* Everything owned went to out; the keys are wiped here. */
    task.capture.parent_root = (struct hf_tree_root){.lists = NULL};
    task.restore.root = (struct hf_tree_root){.lists = NULL};
    task.restore.restore_info = NULL;
    task.restore.point.engine_options = NULL;
    task.target = (struct hf_task_target){.config = NULL};
    return HF_ERR_OK;
}
