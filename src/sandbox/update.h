/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The update language: operators or a replacement, applied to one document, with what the oplog says of it.
 */
#ifndef HF_SANDBOX_UPDATE_H
#define HF_SANDBOX_UPDATE_H

#include "sandbox/match.h"

bool hf_sandbox_update_is_replacement(const bson_t *spec);

struct hf_sandbox_updated {
    bson_t *doc; /* owned: the document afterwards */
    bson_t *o;   /* owned: `o` of the oplog entry, {$v: 1, $set: ..} or the whole document */
    bool changed;
};
void hf_sandbox_updated_fini(struct hf_sandbox_updated *updated);
HF_CLEANUP_DEFINE_VALUE(hf_sandbox_updated_fini, struct hf_sandbox_updated)

/* spec: {$set: ..} or a replacement. */
HF_MUST_CHECK int32_t hf_sandbox_update_apply(const bson_t *spec, const bson_t *doc,
                                              struct hf_sandbox_updated *out,
                                              struct hf_sandbox_refusal *no);
/* The document that an upsert inserts: equalities of the query, then the update; _id first, made when missing. */
HF_MUST_CHECK int32_t hf_sandbox_update_insert(const bson_t *spec, const bson_t *query,
                                               bson_t **out, struct hf_sandbox_refusal *no);
/* A copy with _id as its first field, a new ObjectId where there is none. */
HF_MUST_CHECK bson_t *hf_sandbox_doc_with_id(const bson_t *doc);
/*
 * doc becomes doc with `path` set to value (made where it is missing), or what is there removed
 * when value is missing (an array element becomes null). PATH_NOT_VIABLE when a scalar stands in the way: doc is of no
 * use then.
 */
HF_MUST_CHECK int32_t hf_sandbox_edit(bson_t **doc, const char *path, const bson_value_t *value,
                                      struct hf_sandbox_refusal *no);

#endif
