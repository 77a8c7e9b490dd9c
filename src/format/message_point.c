/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Points in time as JSON, inside a restore's task and its finish.
 */
#include "format/message_point.h"

#include <string.h>

#include "format/field.h"

void hf_task_point_fini(struct hf_task_point *point)
{
    hf_json_drop(point->engine_options);
    point->engine_options = NULL;
}

/* ---- In a task ---- */

enum hf_err hf_task_point_set(struct hf_json *json, const struct hf_task_point *point,
                              struct hf_error *err)
{
    if (!point->wanted) {
        return HF_ERR_OK;
    }
    struct hf_json *target = hf_json_object();
    hf_json_set_text(target, "kind", point->date ? "date" : "timestamp");
    hf_json_set_u64(target, "seconds", point->seconds);
    hf_json_set_u64(target, "increment", point->increment);
    hf_field_set_optime(target, "last", &point->last);
    hf_json_set_take(json, "point", target);
    struct hf_json *base = hf_json_object();
    hf_field_set_optime(base, "checkpoint", &point->checkpoint);
    hf_field_set_optime(base, "oplogEnd", &point->oplog_end);
    hf_field_set_optime(base, "committed", &point->committed);
    hf_field_set_text(base, "fcv", point->fcv);
    hf_field_set_text(base, "version", point->server_version);
    if (point->engine_options != NULL) {
        struct hf_json *options = hf_json_copy(point->engine_options);
        if (options == NULL) {
            hf_json_drop(base);
            return hf_fail(err, HF_ERR_NO_MEMORY, "restore: engineOptions");
        }
        hf_json_set_take(base, "engineOptions", options);
    }
    hf_json_set_take(json, "base", base);
    return HF_ERR_OK;
}

static enum hf_err point_from_json(const struct hf_json *json, struct hf_task_point *out,
                                   struct hf_error *err)
{
    const char *kind = NULL;
    if (hf_json_need_text(json, "kind", &kind, err) != HF_ERR_OK ||
        hf_field_u32(json, "seconds", &out->seconds, err) != HF_ERR_OK ||
        hf_field_u32(json, "increment", &out->increment, err) != HF_ERR_OK ||
        hf_field_optime(json, "last", &out->last, err) != HF_ERR_OK) {
        return hf_wrap(err, "point");
    }
    if (strcmp(kind, "date") != 0 && strcmp(kind, "timestamp") != 0) {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "point: kind: \"%.40s\"", kind);
    }
    out->date = strcmp(kind, "date") == 0;
    return HF_ERR_OK;
}

static enum hf_err base_from_json(const struct hf_json *json, struct hf_task_point *out,
                                  struct hf_error *err)
{
    const struct hf_json *options = hf_json_get(json, "engineOptions");
    if (hf_field_optime(json, "checkpoint", &out->checkpoint, err) != HF_ERR_OK ||
        hf_field_optime(json, "oplogEnd", &out->oplog_end, err) != HF_ERR_OK ||
        hf_field_optime(json, "committed", &out->committed, err) != HF_ERR_OK ||
        hf_field_text(json, "fcv", out->fcv, sizeof out->fcv, err) != HF_ERR_OK ||
        hf_field_text(json, "version", out->server_version, sizeof out->server_version, err) !=
            HF_ERR_OK) {
        return hf_wrap(err, "base");
    }
    if (options != NULL && hf_json_type(options) != HF_JSON_OBJECT) {
        return hf_fail(err, HF_ERR_INVALID, "base: engineOptions: not an object");
    }
    if (options != NULL) {
        out->engine_options = hf_json_copy(options);
        if (out->engine_options == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "base: engineOptions");
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_task_point_get(const struct hf_json *json, struct hf_task_point *out,
                              struct hf_error *err)
{
    struct hf_json *point = NULL;
    struct hf_json *base = NULL;
    *out = (struct hf_task_point){.wanted = false};
    if (hf_json_get(json, "point") == NULL) {
        return HF_ERR_OK;
    }
    out->wanted = true;
    out->last.term = out->checkpoint.term = out->oplog_end.term = out->committed.term = -1;
    if (hf_json_need_object(json, "point", &point, err) != HF_ERR_OK ||
        hf_json_need_object(json, "base", &base, err) != HF_ERR_OK ||
        point_from_json(point, out, err) != HF_ERR_OK ||
        base_from_json(base, out, err) != HF_ERR_OK) {
        hf_task_point_fini(out);
        return err->code;
    }
    return HF_ERR_OK;
}

/* ---- In a finish ---- */

void hf_msg_replay_set(struct hf_json *json, const struct hf_msg_replay *replay)
{
    if (!replay->done) {
        return;
    }
    struct hf_json *item = hf_json_object();
    hf_field_set_optime(item, "top", &replay->top);
    hf_json_set_u64(item, "compared", replay->compared);
    hf_json_set_u64(item, "inserted", replay->inserted);
    hf_json_set_u64(item, "insertedBytes", replay->inserted_bytes);
    hf_json_set_u64(item, "validated", replay->validated);
    hf_json_set_u64(item, "wrong", replay->wrong);
    hf_field_set_text(item, "notes", replay->notes);
    hf_json_set_take(json, "replay", item);
}

enum hf_err hf_msg_replay_get(const struct hf_json *json, struct hf_msg_replay *out,
                              struct hf_error *err)
{
    struct hf_json *item = NULL;
    *out = (struct hf_msg_replay){.done = false};
    if (hf_json_get(json, "replay") == NULL) {
        return HF_ERR_OK;
    }
    out->done = true;
    out->top.term = -1;
    if (hf_json_need_object(json, "replay", &item, err) != HF_ERR_OK ||
        hf_field_optime(item, "top", &out->top, err) != HF_ERR_OK ||
        hf_field_u64(item, "compared", INT64_MAX, &out->compared, err) != HF_ERR_OK ||
        hf_field_u64(item, "inserted", INT64_MAX, &out->inserted, err) != HF_ERR_OK ||
        hf_field_u64(item, "insertedBytes", INT64_MAX, &out->inserted_bytes, err) != HF_ERR_OK ||
        hf_field_u64(item, "validated", INT64_MAX, &out->validated, err) != HF_ERR_OK ||
        hf_field_u64(item, "wrong", INT64_MAX, &out->wrong, err) != HF_ERR_OK ||
        hf_field_text(item, "notes", out->notes, sizeof out->notes, err) != HF_ERR_OK) {
        return hf_wrap(err, "replay");
    }
    return HF_ERR_OK;
}
