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

/* The value the path must be equal to (never an array or null), for a look-up by key. */
bool hf_sandbox_filter_equal_to(const bson_t *filter, const char *path, bson_value_t *out);
/* A value the path must not lie below, for the start of a scan in the order of path. */
bool hf_sandbox_filter_at_least(const bson_t *filter, const char *path, bson_value_t *out);
/* Shows each `path: {operator: value}` of the filter itself; "$eq" where no operator is written. */
typedef void (*hf_sandbox_filter_show)(const char *path, const char *name,
                                       const bson_value_t *value, void *context);
void hf_sandbox_filter_each(const bson_t *filter, hf_sandbox_filter_show show, void *context);

#endif
