/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Optimes in documents. Nothing here knows how one is given out.
 */
#include "sandbox/optime.h"

#include "sandbox/value.h"

int hf_sandbox_optime_compare(struct hf_sandbox_optime a, struct hf_sandbox_optime b)
{
    if (a.term != b.term && a.term >= 0 && b.term >= 0) {
        return a.term < b.term ? -1 : 1;
    }
    return a.ts < b.ts ? -1 : a.ts > b.ts;
}

void hf_sandbox_append_ts(bson_t *doc, const char *key, uint64_t ts)
{
    BCON_APPEND(doc, key, HF_SANDBOX_BCON_TS(ts));
}

void hf_sandbox_append_optime(bson_t *doc, const char *key, struct hf_sandbox_optime optime)
{
    BCON_APPEND(doc, key, HF_SANDBOX_BCON_OPTIME(optime));
}

uint64_t hf_sandbox_get_ts(const bson_t *doc, const char *key)
{
    bson_value_t value;

    return hf_sandbox_get(doc, key, &value) && value.value_type == BSON_TYPE_TIMESTAMP
               ? HF_SANDBOX_TS(value.value.v_timestamp.timestamp, value.value.v_timestamp.increment)
               : 0;
}

struct hf_sandbox_optime hf_sandbox_optime_of(const bson_t *doc)
{
    return (struct hf_sandbox_optime){.ts = hf_sandbox_get_ts(doc, "ts"),
                                      .term = hf_sandbox_get_int64(doc, "t", -1)};
}

struct hf_sandbox_optime hf_sandbox_get_optime(const bson_t *doc, const char *key)
{
    bson_t inner;

    return hf_sandbox_get_doc(doc, key, &inner) ? hf_sandbox_optime_of(&inner)
                                                : HF_SANDBOX_OPTIME_NONE;
}
