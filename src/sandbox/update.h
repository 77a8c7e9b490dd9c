/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The update language: operators or a replacement, applied to one document, with what the oplog says of it.
 */
#ifndef HF_SANDBOX_UPDATE_H
#define HF_SANDBOX_UPDATE_H

#include "sandbox/code.h"
#include "sandbox/match.h"
#include "sandbox/value.h"

struct hf_sandbox_update;

/* spec: {$set: ..} or a replacement. array_filters may be NULL. Both are copied. */
HF_MUST_CHECK int32_t hf_sandbox_update_create(const bson_value_t *spec,
                                               const bson_t *array_filters,
                                               struct hf_sandbox_update **out,
                                               struct hf_sandbox_refusal *no);
void hf_sandbox_update_destroy(struct hf_sandbox_update *update);
HF_CLEANUP_DEFINE(hf_sandbox_update_destroy, struct hf_sandbox_update *)
bool hf_sandbox_update_is_replacement(const struct hf_sandbox_update *update);

struct hf_sandbox_updated {
    bson_t *doc; /* owned: the document afterwards */
    bson_t *o;   /* owned: `o` of the oplog entry, {$v: 1, $set: ..} or the whole document */
    bool changed;
};
void hf_sandbox_updated_fini(struct hf_sandbox_updated *updated);
HF_CLEANUP_DEFINE_VALUE(hf_sandbox_updated_fini, struct hf_sandbox_updated)

/* array_index: what the matcher said, for `$`. now_ms: for $currentDate. */
HF_MUST_CHECK int32_t hf_sandbox_update_apply(const struct hf_sandbox_update *update,
                                              const bson_t *doc, int32_t array_index,
                                              int64_t now_ms, struct hf_sandbox_updated *out,
                                              struct hf_sandbox_refusal *no);
/* The document that an upsert inserts: equalities of the query, then the update; _id comes first, made when missing. */
HF_MUST_CHECK int32_t hf_sandbox_update_insert(const struct hf_sandbox_update *update,
                                               const struct hf_sandbox_matcher *query,
                                               int64_t now_ms, bson_t **out,
                                               struct hf_sandbox_refusal *no);
/* A copy with _id as its first field, a new ObjectId where there is none. */
HF_MUST_CHECK bson_t *hf_sandbox_doc_with_id(const bson_t *doc);

#endif
