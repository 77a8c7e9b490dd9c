/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The query language: a filter document is checked once, then tested against documents.
 */
#ifndef HF_SANDBOX_MATCH_H
#define HF_SANDBOX_MATCH_H

#include "sandbox/code.h"
#include "sandbox/value.h"

/* BAD_VALUE names the operator that is not known or not well formed. */
HF_MUST_CHECK int32_t hf_sandbox_filter_check(const bson_t *filter, struct hf_sandbox_refusal *no);
/* The filter has been checked. */
bool hf_sandbox_filter_test(const bson_t *filter, const bson_t *doc);

/* Whether the filter itself says `path: value` or `path: {operator: value}` with $eq or one that begins like name. */
bool hf_sandbox_filter_bound(const bson_t *filter, const char *path, const char *name,
                             bson_value_t *out);

#endif
