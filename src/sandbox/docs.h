/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of documents in memory, with a limit, and their order by a sort specification.
 */
#ifndef HF_SANDBOX_DOCS_H
#define HF_SANDBOX_DOCS_H

#include "sandbox/code.h"
#include "sandbox/value.h"

/* What a sort, a group or the answer of an aggregation may hold. */
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

/* {a: 1, "b.c": -1}: BAD_VALUE for other directions. An empty specification is fine. */
HF_MUST_CHECK int32_t hf_sandbox_sort_check(const bson_t *spec, struct hf_sandbox_refusal *no);
int hf_sandbox_sort_compare(const bson_t *spec, const bson_t *a, const bson_t *b);
/* Stable. */
void hf_sandbox_docs_sort(struct hf_sandbox_docs *docs, const bson_t *spec);

#endif
