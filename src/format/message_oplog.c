/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages about the oplog: the task to tail it, and the call that tells of a slice.
 */
#include <string.h>

#include "format/field.h"
#include "format/message_internal.h"

/* ---- The task ---- */

static struct hf_json *start_to_json(const struct hf_chain_point *start, struct hf_error *err)
{
    struct hf_json *json = hf_json_object();
    hf_field_set_optime(json, "previous", &start->previous);
    hf_json_set_u64(json, "sequence", start->sequence);
    hf_json_set_text(json, "cause", hf_chain_cause_word(start->cause));
    hf_field_set_optime(json, "brokenAfter", &start->broken_after);
    if (!hf_optime_is_none(&start->previous) &&
        hf_field_set_binary(json, "hash", hf_bytes_of(start->hash.bytes, sizeof start->hash.bytes),
                            err) != HF_ERR_OK) {
        hf_json_drop(json);
        return NULL;
    }
    return json;
}

struct hf_json *hf_task_tail_to_json(const struct hf_task_tail *tail, struct hf_error *err)
{
    struct hf_json *start = start_to_json(&tail->start, err);
    if (start == NULL) {
        return NULL;
    }
    struct hf_json *json = hf_json_object();
    hf_json_set_text(json, "member", tail->member);
    hf_json_set_text(json, "set", tail->set_name);
    hf_field_set_text(json, "fcv", tail->fcv);
    hf_field_set_id(json, "writer", &tail->writer);
    hf_json_set_take(json, "start", start);
    hf_json_set_u64(json, "targetBytes", tail->target_bytes);
    hf_json_set_u64(json, "ageMs", tail->age_ms);
    hf_json_set_u64(json, "noopAgeMs", tail->noop_age_ms);
    return json;
}

static enum hf_err hash_from_json(const struct hf_json *json, struct hf_hash *out,
                                  struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(64);
    if (hf_field_binary(json, "hash", &bytes, err) != HF_ERR_OK) {
        if (err->code == HF_ERR_LIMIT) {
            err->code = HF_ERR_INVALID;
        }
        return err->code;
    }
    if (bytes.len != sizeof out->bytes) {
        return hf_fail(err, HF_ERR_INVALID, "hash: %zu bytes, not %zu", bytes.len,
                       sizeof out->bytes);
    }
    memcpy(out->bytes, bytes.data, sizeof out->bytes);
    return HF_ERR_OK;
}

static enum hf_err start_from_json(const struct hf_json *json, struct hf_chain_point *out,
                                   struct hf_error *err)
{
    const char *cause = NULL;
    if (hf_field_optime(json, "previous", &out->previous, err) != HF_ERR_OK ||
        hf_field_u64(json, "sequence", INT64_MAX, &out->sequence, err) != HF_ERR_OK ||
        hf_json_need_text(json, "cause", &cause, err) != HF_ERR_OK ||
        hf_field_optime(json, "brokenAfter", &out->broken_after, err) != HF_ERR_OK ||
        (!hf_optime_is_none(&out->previous) &&
         hash_from_json(json, &out->hash, err) != HF_ERR_OK)) {
        return hf_wrap(err, "start");
    }
    if (!hf_chain_cause_parse(cause, &out->cause)) {
        return hf_fail(err, HF_ERR_INVALID, "start: cause: \"%.40s\"", cause);
    }
    return hf_chain_point_check(out, err) == HF_ERR_OK ? HF_ERR_OK : hf_wrap(err, "start");
}

enum hf_err hf_task_tail_from_json(const struct hf_json *json, struct hf_task_tail *out,
                                   struct hf_error *err)
{
    struct hf_json *start = NULL;
    if (hf_field_text(json, "member", out->member, sizeof out->member, err) != HF_ERR_OK ||
        hf_field_text(json, "set", out->set_name, sizeof out->set_name, err) != HF_ERR_OK ||
        hf_field_text(json, "fcv", out->fcv, sizeof out->fcv, err) != HF_ERR_OK ||
        hf_field_need_id(json, "writer", &out->writer, err) != HF_ERR_OK ||
        hf_json_need_object(json, "start", &start, err) != HF_ERR_OK ||
        start_from_json(start, &out->start, err) != HF_ERR_OK ||
        hf_field_u64(json, "targetBytes", HF_SLICE_STORED_MAX_BYTES, &out->target_bytes, err) !=
            HF_ERR_OK ||
        hf_field_u64(json, "ageMs", INT64_MAX, &out->age_ms, err) != HF_ERR_OK ||
        hf_field_u64(json, "noopAgeMs", INT64_MAX, &out->noop_age_ms, err) != HF_ERR_OK) {
        return hf_wrap(err, "tail");
    }
    if (out->member[0] == '\0' || out->set_name[0] == '\0') {
        return hf_fail(err, HF_ERR_INVALID, "tail: %s: missing",
                       out->member[0] == '\0' ? "member" : "set");
    }
    return HF_ERR_OK;
}

/* ---- slice ---- */

enum hf_err hf_msg_slice_encode(const struct hf_msg_slice *slice, struct hf_buf *out,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_msg_begin();
    hf_field_set_id(json, "agent", &slice->agent);
    hf_json_set_text(json, "session", slice->session);
    hf_field_set_id(json, "task", &slice->task);
    hf_field_set_id(json, "attempt", &slice->attempt);
    hf_json_set_text(json, "object", slice->object);
    hf_json_set_u64(json, "lagS", slice->lag_s);
    hf_json_set_u64(json, "lagEntries", slice->lag_entries);
    return hf_msg_end(json, out, err);
}

enum hf_err hf_msg_slice_decode(struct hf_str in, struct hf_msg_slice *out, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    struct hf_msg_slice slice = {.session = ""};
    struct hf_object_name name;
    if (hf_msg_open(in, "slice", &json, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_field_need_id(json, "agent", &slice.agent, err) != HF_ERR_OK ||
        hf_field_text(json, "session", slice.session, sizeof slice.session, err) != HF_ERR_OK ||
        hf_field_need_id(json, "task", &slice.task, err) != HF_ERR_OK ||
        hf_field_need_id(json, "attempt", &slice.attempt, err) != HF_ERR_OK ||
        hf_field_text(json, "object", slice.object, sizeof slice.object, err) != HF_ERR_OK ||
        hf_field_u64(json, "lagS", INT64_MAX, &slice.lag_s, err) != HF_ERR_OK ||
        hf_field_u64(json, "lagEntries", INT64_MAX, &slice.lag_entries, err) != HF_ERR_OK ||
        hf_object_name_parse(hf_str_of(slice.object), &name, err) != HF_ERR_OK) {
        return hf_wrap(err, "slice");
    }
    if (name.kind != HF_OBJECT_OPLOG) {
        return hf_fail(err, HF_ERR_INVALID, "slice: object: %s is no slice", slice.object);
    }
    *out = slice;
    return HF_ERR_OK;
}

enum hf_err hf_msg_slice_answer_encode(struct hf_buf *out, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_msg_begin();
    return hf_msg_end(json, out, err);
}

enum hf_err hf_msg_slice_answer_decode(struct hf_str in, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    return hf_msg_open(in, "answer to slice", &json, err);
}
