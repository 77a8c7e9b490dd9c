/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions of aggregation ("$a.b", {$add: [..]}) and projections.
 */
#ifndef HF_SANDBOX_EXPRESSION_H
#define HF_SANDBOX_EXPRESSION_H

#include "sandbox/code.h"
#include "sandbox/value.h"

/* The value of the expression for doc; missing where a path leads nowhere. *out is the caller's (bson_value_destroy). */
HF_MUST_CHECK int32_t hf_sandbox_evaluate(const bson_value_t *expression, const bson_t *doc,
                                          bson_value_t *out, struct hf_sandbox_refusal *no);

struct hf_sandbox_projection;

/* {a: 1, "b.c": 1}, {a: 0}, {a: "$b"}. */
HF_MUST_CHECK int32_t hf_sandbox_projection_create(const bson_t *spec,
                                                   struct hf_sandbox_projection **out,
                                                   struct hf_sandbox_refusal *no);
void hf_sandbox_projection_destroy(struct hf_sandbox_projection *projection);
HF_CLEANUP_DEFINE(hf_sandbox_projection_destroy, struct hf_sandbox_projection *)
/* *out is the caller's (bson_destroy). */
HF_MUST_CHECK int32_t hf_sandbox_project(const struct hf_sandbox_projection *projection,
                                         const bson_t *doc, bson_t **out,
                                         struct hf_sandbox_refusal *no);

#endif
