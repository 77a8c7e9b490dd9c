/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The query language: a filter document is checked once, then tested against documents.
 */
#ifndef HF_SANDBOX_MATCH_H
#define HF_SANDBOX_MATCH_H

#include "sandbox/code.h"
#include "sandbox/value.h"

struct hf_sandbox_matcher;

/* filter is copied. BAD_VALUE names the operator that is not known or not well formed. */
HF_MUST_CHECK int32_t hf_sandbox_matcher_create(const bson_t *filter,
                                                struct hf_sandbox_matcher **out,
                                                struct hf_sandbox_refusal *no);
void hf_sandbox_matcher_destroy(struct hf_sandbox_matcher *matcher);
HF_CLEANUP_DEFINE(hf_sandbox_matcher_destroy, struct hf_sandbox_matcher *)

bool hf_sandbox_matcher_test(const struct hf_sandbox_matcher *matcher, const bson_t *doc);

/* The value the path must be equal to (never an array, a regular expression or null), for a look-up by key. */
bool hf_sandbox_matcher_equal_to(const struct hf_sandbox_matcher *matcher, const char *path,
                                 bson_value_t *out);
/* A value the path must not lie below, for the start of a scan in the order of path. */
bool hf_sandbox_matcher_at_least(const struct hf_sandbox_matcher *matcher, const char *path,
                                 bson_value_t *out);
/* Shows every condition (`path: {operator: value}`) that must hold; an equality is "$eq" however it was written. */
typedef void (*hf_sandbox_matcher_show)(const char *path, const char *name,
                                        const bson_value_t *value, void *context);
void hf_sandbox_matcher_each(const struct hf_sandbox_matcher *matcher, hf_sandbox_matcher_show show,
                             void *context);

#endif
