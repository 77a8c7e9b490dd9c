/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims as bytes: an envelope around JSON.
 */
#include "format/claim.h"

#include "format/envelope.h"
#include "format/field.h"

static const struct hf_envelope frame = {
    .magic = "HFclaim_", .what = "claim", .version = 1, .max_bytes = HF_SMALL_OBJECT_MAX_BYTES};

enum hf_err hf_claim_encode(const struct hf_claim *claim, struct hf_buf *out, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    if (json == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "claim");
    }
    hf_field_set_id(json, "job", &claim->job);
    hf_field_set_id(json, "writer", &claim->writer);
    hf_json_set_u64(json, "capture", claim->capture);
    hf_json_set_u64(json, "startedS", claim->started_s);
    return hf_envelope_write_json(&frame, json, out, err);
}

enum hf_err hf_claim_decode(struct hf_bytes in, struct hf_claim *out, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    struct hf_claim claim = {.capture = 0};
    if (hf_envelope_read_json(&frame, in, &json, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_field_need_id(json, "job", &claim.job, err) != HF_ERR_OK ||
        hf_field_need_id(json, "writer", &claim.writer, err) != HF_ERR_OK ||
        hf_json_need_u64(json, "capture", 1, HF_CAPTURE_MAX, &claim.capture, err) != HF_ERR_OK ||
        hf_field_u64(json, "startedS", INT64_MAX, &claim.started_s, err) != HF_ERR_OK) {
        err->code = HF_ERR_CORRUPT;
        return hf_wrap(err, "claim");
    }
    *out = claim;
    return HF_ERR_OK;
}
