/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The query language: a filter document is read once, then tested against documents.
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
/* The same; *array_index is the place that matched in the first array on a path, for `$` in
 * updates; -1 if none. */
bool hf_sandbox_matcher_test_place(const struct hf_sandbox_matcher *matcher, const bson_t *doc,
                                   int32_t *array_index);

/* The value the path must be equal to (never an array, a regular expression or null), for a look-up
 * by key. */
bool hf_sandbox_matcher_equal_to(const struct hf_sandbox_matcher *matcher, const char *path,
                                 bson_value_t *out);
/* A value the path must not lie below, for the start of a scan in the order of path. */
bool hf_sandbox_matcher_at_least(const struct hf_sandbox_matcher *matcher, const char *path,
                                 bson_value_t *out);
/* Shows each `path: value` that must hold, which is what an upsert starts from. */
void hf_sandbox_matcher_each_equality(const struct hf_sandbox_matcher *matcher,
                                      void (*show)(const char *path, const bson_value_t *value,
                                                   void *context),
                                      void *context);

#endif
