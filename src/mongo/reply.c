/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Typed look-ups in replies. A field of the wrong type counts as missing: servers of other versions and editions
 * differ, and what a caller cannot do without it checks itself. Must not know any command.
 */
#include "mongo/reply_internal.h"

#include <math.h>
#include <string.h>

int hf_mongo_ts_compare(struct hf_mongo_ts a, struct hf_mongo_ts b)
{
    if (a.seconds != b.seconds) {
        return a.seconds < b.seconds ? -1 : 1;
    }
    if (a.increment != b.increment) {
        return a.increment < b.increment ? -1 : 1;
    }
    return 0;
}

bool hf_mongo_get(const bson_t *doc, const char *path, bson_iter_t *out)
{
    bson_iter_t iter;

    if (!bson_iter_init(&iter, doc)) {
        return false;
    }
    return bson_iter_find_descendant(&iter, path, out);
}

int64_t hf_mongo_get_int(const bson_t *doc, const char *path, int64_t fallback)
{
    bson_iter_t iter;

    if (!hf_mongo_get(doc, path, &iter)) {
        return fallback;
    }
    if (BSON_ITER_HOLDS_INT32(&iter)) {
        return bson_iter_int32(&iter);
    }
    if (BSON_ITER_HOLDS_INT64(&iter)) {
        return bson_iter_int64(&iter);
    }
    if (BSON_ITER_HOLDS_DOUBLE(&iter)) {
        double value = bson_iter_double(&iter);

        /* 2^63 itself is not an int64_t; everything below it that a double can hold is. */
        if (value >= -0x1p63 && value < 0x1p63 && value == trunc(value)) {
            return (int64_t)value;
        }
    }
    return fallback;
}

double hf_mongo_get_real(const bson_t *doc, const char *path, double fallback)
{
    bson_iter_t iter;

    if (!hf_mongo_get(doc, path, &iter)) {
        return fallback;
    }
    if (BSON_ITER_HOLDS_INT32(&iter)) {
        return bson_iter_int32(&iter);
    }
    if (BSON_ITER_HOLDS_INT64(&iter)) {
        return (double)bson_iter_int64(&iter);
    }
    if (BSON_ITER_HOLDS_DOUBLE(&iter) && isfinite(bson_iter_double(&iter))) {
        return bson_iter_double(&iter);
    }
    return fallback;
}

bool hf_mongo_get_bool(const bson_t *doc, const char *path, bool fallback)
{
    bson_iter_t iter;

    if (!hf_mongo_get(doc, path, &iter)) {
        return fallback;
    }
    if (BSON_ITER_HOLDS_BOOL(&iter)) {
        return bson_iter_bool(&iter);
    }
    if (BSON_ITER_HOLDS_NUMBER(&iter)) {
        return hf_mongo_get_real(doc, path, 0) != 0;
    }
    return fallback;
}

const char *hf_mongo_get_text(const bson_t *doc, const char *path)
{
    bson_iter_t iter;
    uint32_t len = 0;

    if (!hf_mongo_get(doc, path, &iter) || !BSON_ITER_HOLDS_UTF8(&iter)) {
        return NULL;
    }
    const char *text = bson_iter_utf8(&iter, &len);
    return bson_utf8_validate(text, len, false) ? text : NULL;
}

struct hf_mongo_ts hf_mongo_get_ts(const bson_t *doc, const char *path)
{
    bson_iter_t iter;
    struct hf_mongo_ts ts = {0, 0};

    if (hf_mongo_get(doc, path, &iter) && BSON_ITER_HOLDS_TIMESTAMP(&iter)) {
        bson_iter_timestamp(&iter, &ts.seconds, &ts.increment);
    }
    return ts;
}

struct hf_mongo_optime hf_mongo_get_optime(const bson_t *doc, const char *path)
{
    struct hf_mongo_optime optime = {.ts = hf_mongo_get_ts(doc, path), .term = -1};
    bson_t inside;

    if (hf_mongo_get_doc(doc, path, &inside)) {
        optime.ts = hf_mongo_get_ts(&inside, "ts");
        optime.term = hf_mongo_get_int(&inside, "t", -1);
    }
    return optime;
}

bool hf_mongo_iter_doc(const bson_iter_t *iter, bson_t *out)
{
    const uint8_t *data = NULL;
    uint32_t len = 0;

    if (BSON_ITER_HOLDS_DOCUMENT(iter)) {
        bson_iter_document(iter, &len, &data);
    } else if (BSON_ITER_HOLDS_ARRAY(iter)) {
        bson_iter_array(iter, &len, &data);
    }
    return data != NULL && bson_init_static(out, data, len);
}

bool hf_mongo_get_doc(const bson_t *doc, const char *path, bson_t *out)
{
    bson_iter_t iter;

    return hf_mongo_get(doc, path, &iter) && hf_mongo_iter_doc(&iter, out);
}

bool hf_mongo_get_uuid(const bson_t *doc, const char *path, uint8_t out[16])
{
    bson_iter_t iter;
    bson_subtype_t subtype = BSON_SUBTYPE_BINARY;
    const uint8_t *data = NULL;
    uint32_t len = 0;

    if (!hf_mongo_get(doc, path, &iter) || !BSON_ITER_HOLDS_BINARY(&iter)) {
        return false;
    }
    bson_iter_binary(&iter, &subtype, &len, &data);
    if (subtype != BSON_SUBTYPE_UUID || len != 16 || data == NULL) {
        return false;
    }
    memcpy(out, data, 16);
    return true;
}

enum hf_err hf_mongo_copy_text(char *out, size_t out_len, const char *text, const char *field,
                               struct hf_error *err)
{
    size_t len = text == NULL ? 0 : strlen(text);

    if (len >= out_len) {
        return hf_fail(err, HF_ERR_LIMIT, "%s has %zu bytes, at most %zu are allowed", field, len,
                       out_len - 1);
    }
    if (len > 0) {
        memcpy(out, text, len);
    }
    out[len] = '\0';
    return HF_ERR_OK;
}
