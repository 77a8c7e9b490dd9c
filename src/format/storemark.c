/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mark of a store as bytes: an envelope around JSON. Features that a reader must know stand in a list; the first
 * one we do not know refuses the store, by name.
 */
#include "format/storemark.h"

#include <inttypes.h>
#include <string.h>

#include "format/envelope.h"
#include "format/field.h"

#define FEATURE_OPLOG_ONLY "oplogOnly"

static const struct hf_envelope frame = {
    .magic = "HFmark__", .what = "mark of a store", .version = 1, .max_bytes = 64 << 10};

enum hf_err hf_storemark_encode(const struct hf_storemark *mark, struct hf_buf *out,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    if (json == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "mark of a store");
    }
    char check[2 * HF_HASH_BYTES + 1];
    hf_hex_encode(hf_bytes_of(mark->key_check.bytes, HF_HASH_BYTES), check);
    hf_json_set_u64(json, "format", HF_STORE_FORMAT);
    struct hf_json *features = hf_json_array();
    if (mark->oplog_only) {
        hf_json_append_text(features, FEATURE_OPLOG_ONLY);
    }
    hf_json_set_take(json, "features", features);
    hf_field_set_id(json, "store", &mark->store);
    hf_field_set_id(json, "installation", &mark->installation);
    hf_json_set_u64(json, "epoch", mark->epoch);
    hf_json_set_bool(json, "encrypted", mark->encrypted);
    hf_json_set_u64(json, "createdS", mark->created_s);
    if (mark->encrypted) {
        hf_json_set_text(json, "keyCheck", check);
    }
    return hf_envelope_write_json(&frame, json, out, err);
}

static enum hf_err decode(const struct hf_json *json, struct hf_storemark *mark,
                          struct hf_error *err)
{
    uint64_t epoch = 0;
    if (hf_field_need_id(json, "store", &mark->store, err) != HF_ERR_OK ||
        hf_field_need_id(json, "installation", &mark->installation, err) != HF_ERR_OK ||
        hf_json_need_u64(json, "epoch", 1, UINT32_MAX, &epoch, err) != HF_ERR_OK ||
        hf_field_bool(json, "encrypted", &mark->encrypted, err) != HF_ERR_OK ||
        hf_field_u64(json, "createdS", INT64_MAX, &mark->created_s, err) != HF_ERR_OK) {
        return err->code;
    }
    mark->epoch = (uint32_t)epoch;
    const char *check = hf_json_get_text(json, "keyCheck");
    if (mark->encrypted &&
        (check == NULL || !hf_hex_decode(hf_str_of(check), mark->key_check.bytes, HF_HASH_BYTES))) {
        return hf_fail(err, HF_ERR_INVALID, "keyCheck: not %d hexadecimal digits",
                       2 * HF_HASH_BYTES);
    }
    return HF_ERR_OK;
}

static enum hf_err decode_features(const struct hf_json *features, struct hf_storemark *mark,
                                   struct hf_error *err)
{
    for (size_t i = 0; i < hf_json_count(features); i++) {
        const char *name = hf_json_text(hf_json_at(features, i));
        if (name == NULL || strcmp(name, FEATURE_OPLOG_ONLY) != 0) {
            return hf_fail(
                err, HF_ERR_UNSUPPORTED,
                "the store uses the feature \"%.100s\", which this program does not know",
                name == NULL ? "?" : name);
        }
        mark->oplog_only = true;
    }
    return HF_ERR_OK;
}

enum hf_err hf_storemark_decode(struct hf_bytes in, struct hf_storemark *out, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    if (hf_envelope_read_json(&frame, in, &json, err) != HF_ERR_OK) {
        return err->code;
    }
    uint64_t format = hf_json_get_u64(json, "format", 0);
    if (format != HF_STORE_FORMAT) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "store of format %" PRIu64 ", this program reads format %d", format,
                       HF_STORE_FORMAT);
    }
    struct hf_storemark mark = {.epoch = 0};
    if (decode_features(hf_json_get_array(json, "features"), &mark, err) != HF_ERR_OK) {
        return err->code;
    }
    if (decode(json, &mark, err) != HF_ERR_OK) {
        err->code = HF_ERR_CORRUPT;
        return hf_wrap(err, "mark of a store");
    }
    *out = mark;
    return HF_ERR_OK;
}
