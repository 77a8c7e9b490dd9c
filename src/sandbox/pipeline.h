/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of documents in memory, their order, and the stages of an aggregation that work on documents. Those that make
 * documents are the commands' business.
 */
#ifndef HF_SANDBOX_PIPELINE_H
#define HF_SANDBOX_PIPELINE_H

#include "sandbox/match.h"

/* What a sort, a group or an answer may hold. */
#define HF_SANDBOX_DOCS_MAX_BYTES ((size_t)256 << 20)

struct hf_sandbox_docs {
    bson_t **items; /* owned, and each item */
    size_t count;
    size_t capacity;
    size_t bytes;
};

/* Takes doc in any case. 292 past the limit. */
HF_MUST_CHECK int32_t hf_sandbox_docs_add_take(struct hf_sandbox_docs *docs, bson_t *doc,
                                               struct hf_sandbox_refusal *no);
void hf_sandbox_docs_fini(struct hf_sandbox_docs *docs);
HF_CLEANUP_DEFINE_VALUE(hf_sandbox_docs_fini, struct hf_sandbox_docs)

/* The order by {a: 1, "b.c": -1}. */
int hf_sandbox_sort_compare(const bson_t *spec, const bson_t *a, const bson_t *b);

struct hf_sandbox_pipeline;

/* The array's stages from `first` on. 40324 names a stage that is not known. */
HF_MUST_CHECK int32_t hf_sandbox_pipeline_create(const bson_t *stages, uint32_t first,
                                                 struct hf_sandbox_pipeline **out,
                                                 struct hf_sandbox_refusal *no);
void hf_sandbox_pipeline_destroy(struct hf_sandbox_pipeline *pipeline);
HF_CLEANUP_DEFINE(hf_sandbox_pipeline_destroy, struct hf_sandbox_pipeline *)

/* A document from the source; what comes through goes to out. *enough is set when no more is wanted. */
HF_MUST_CHECK int32_t hf_sandbox_pipeline_push(struct hf_sandbox_pipeline *pipeline,
                                               const bson_t *doc, struct hf_sandbox_docs *out,
                                               bool *enough, struct hf_sandbox_refusal *no);
/* The source has ended: hands over what stages held back. */
HF_MUST_CHECK int32_t hf_sandbox_pipeline_finish(struct hf_sandbox_pipeline *pipeline,
                                                 struct hf_sandbox_docs *out,
                                                 struct hf_sandbox_refusal *no);
/* Where the first stage is a $match: its filter (borrowed), which push then takes as done; else missing. */
bson_value_t hf_sandbox_pipeline_take_match(struct hf_sandbox_pipeline *pipeline);

#endif
