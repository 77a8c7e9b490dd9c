/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of documents in memory, their order, and the stages of an aggregation that work on them. Stages that make
 * documents are the commands' business.
 */
#ifndef HF_SANDBOX_PIPELINE_H
#define HF_SANDBOX_PIPELINE_H

#include "sandbox/match.h"

/* What a sort, a group or an answer may hold. */
#define HF_SANDBOX_DOCS_MAX_BYTES ((size_t)256 << 20)

struct hf_sandbox_docs {
    bson_t **items; /* owned, and each item */
    size_t count, capacity;
    size_t bytes;
};

/* Takes doc in any case. 292 past the limit. */
HF_MUST_CHECK int32_t hf_sandbox_docs_add_take(struct hf_sandbox_docs *docs, bson_t *doc,
                                               struct hf_sandbox_refusal *no);
void hf_sandbox_docs_fini(struct hf_sandbox_docs *docs);
HF_CLEANUP_DEFINE_VALUE(hf_sandbox_docs_fini, struct hf_sandbox_docs)

/* The order by {a: 1, "b.c": -1}. */
int hf_sandbox_sort_compare(const bson_t *spec, const bson_t *a, const bson_t *b);

/* docs become what the array's stages from `first` on make of them; no documents: what is malformed is refused all the
 * same. 40324 names a stage that is not known. */
HF_MUST_CHECK int32_t hf_sandbox_pipeline_run(const bson_t *stages, uint32_t first,
                                              struct hf_sandbox_docs *docs,
                                              struct hf_sandbox_refusal *no);

#endif
