/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stages of an aggregation that work on documents. Those that make documents are the commands' business.
 */
#ifndef HF_SANDBOX_PIPELINE_H
#define HF_SANDBOX_PIPELINE_H

#include "sandbox/docs.h"
#include "sandbox/match.h"

struct hf_sandbox_pipeline;

/* The array's stages from `first` on. 40324 names a stage that is not known. */
HF_MUST_CHECK int32_t hf_sandbox_pipeline_create(const bson_t *stages, uint32_t first,
                                                 struct hf_sandbox_pipeline **out,
                                                 struct hf_sandbox_refusal *no);
void hf_sandbox_pipeline_destroy(struct hf_sandbox_pipeline *pipeline);
HF_CLEANUP_DEFINE(hf_sandbox_pipeline_destroy, struct hf_sandbox_pipeline *)

/* A document from the source. *enough is set when no more is wanted. */
HF_MUST_CHECK int32_t hf_sandbox_pipeline_push(struct hf_sandbox_pipeline *pipeline,
                                               const bson_t *doc, bool *enough,
                                               struct hf_sandbox_refusal *no);
/* The source has ended: hands the result over. */
HF_MUST_CHECK int32_t hf_sandbox_pipeline_finish(struct hf_sandbox_pipeline *pipeline,
                                                 struct hf_sandbox_docs *out,
                                                 struct hf_sandbox_refusal *no);
/* The first stage where it is a $match, for the choice of a scan; else NULL. */
const struct hf_sandbox_matcher *
hf_sandbox_pipeline_first_match(const struct hf_sandbox_pipeline *pipeline);

#endif
