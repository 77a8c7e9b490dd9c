/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Optimes in documents. Nothing here knows how one is given out.
 */
#include "sandbox/optime.h"

int hf_sandbox_optime_compare(struct hf_sandbox_optime a, struct hf_sandbox_optime b)
{
    if (a.term != b.term && a.term >= 0 && b.term >= 0) {
        return a.term < b.term ? -1 : 1;
    }
    return a.ts < b.ts ? -1 : a.ts > b.ts;
}

void hf_sandbox_append_ts(bson_t *doc, const char *key, uint64_t ts)
{
    (void)bson_append_timestamp(doc, key, -1, hf_sandbox_ts_seconds(ts),
                                hf_sandbox_ts_increment(ts));
}

void hf_sandbox_append_optime(bson_t *doc, const char *key, struct hf_sandbox_optime optime)
{
    bson_t inner;

    (void)bson_append_document_begin(doc, key, -1, &inner);
    hf_sandbox_append_ts(&inner, "ts", optime.ts);
    (void)bson_append_int64(&inner, "t", -1, optime.term);
    (void)bson_append_document_end(doc, &inner);
}

uint64_t hf_sandbox_get_ts(const bson_t *doc, const char *key)
{
    bson_iter_t iter;
    uint32_t seconds;
    uint32_t increment;

    if (!bson_iter_init_find(&iter, doc, key) || !BSON_ITER_HOLDS_TIMESTAMP(&iter)) {
        return 0;
    }
    bson_iter_timestamp(&iter, &seconds, &increment);
    return HF_SANDBOX_TS(seconds, increment);
}

struct hf_sandbox_optime hf_sandbox_optime_of(const bson_t *doc)
{
    struct hf_sandbox_optime optime = HF_SANDBOX_OPTIME_NONE;
    bson_iter_t iter;

    optime.ts = hf_sandbox_get_ts(doc, "ts");
    if (bson_iter_init_find(&iter, doc, "t") && BSON_ITER_HOLDS_INT(&iter)) {
        optime.term = bson_iter_as_int64(&iter);
    }
    return optime;
}

struct hf_sandbox_optime hf_sandbox_get_optime(const bson_t *doc, const char *key)
{
    bson_iter_t iter;
    const uint8_t *data;
    uint32_t len;
    bson_t inner;

    if (!bson_iter_init_find(&iter, doc, key) || !BSON_ITER_HOLDS_DOCUMENT(&iter)) {
        return HF_SANDBOX_OPTIME_NONE;
    }
    bson_iter_document(&iter, &len, &data);
    if (!bson_init_static(&inner, data, len)) {
        return HF_SANDBOX_OPTIME_NONE;
    }
    return hf_sandbox_optime_of(&inner);
}
