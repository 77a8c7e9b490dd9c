/* SPDX-License-Identifier: Apache-2.0 */
/*
 * $group: documents gathered by a key, each group with its accumulators. Used by pipeline.c only.
 */
#ifndef HF_SANDBOX_GROUP_H
#define HF_SANDBOX_GROUP_H

#include "sandbox/docs.h"

struct hf_sandbox_group;

/* The bytes of spec are borrowed: they outlive the group. */
HF_MUST_CHECK int32_t hf_sandbox_group_create(const bson_t *spec, struct hf_sandbox_group **out,
                                              struct hf_sandbox_refusal *no);
void hf_sandbox_group_destroy(struct hf_sandbox_group *group);
HF_CLEANUP_DEFINE(hf_sandbox_group_destroy, struct hf_sandbox_group *)
HF_MUST_CHECK int32_t hf_sandbox_group_add(struct hf_sandbox_group *group, const bson_t *doc,
                                           struct hf_sandbox_refusal *no);
size_t hf_sandbox_group_count(const struct hf_sandbox_group *group);
/* The document of the group at that place, in the order of the keys; the caller's. */
HF_MUST_CHECK bson_t *hf_sandbox_group_doc(const struct hf_sandbox_group *group, size_t at);

#endif
