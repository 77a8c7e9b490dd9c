/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Visiting everything that a root reaches: lists, nodes, blocks. What is common to marking and verifying.
 */
#ifndef HF_SNAPSHOT_VISIT_H
#define HF_SNAPSHOT_VISIT_H

#include "base/error.h"
#include "base/thread.h"
#include "snapshot/tree.h"

struct hf_visit_place {
    const struct hf_file_entry *entry; /* NULL for a list */
    uint64_t block;                    /* first block below, of the file */
};

struct hf_visitor {
    /* True: this list or node and all below it was visited before. */
    bool (*skip)(void *context, const struct hf_ref *ref);
    /* A block of a file; zero ones are not reported. */
    enum hf_err (*block)(void *context, const struct hf_visit_place *place,
                         const struct hf_ref *ref, struct hf_error *err);
    /* A list or node, after all below it. */
    enum hf_err (*done)(void *context, const struct hf_visit_place *place, const struct hf_ref *ref,
                        struct hf_error *err);
    /* A list or node that cannot be read; OK: go on beside it. NULL: the visit ends. */
    enum hf_err (*damage)(void *context, const struct hf_visit_place *place,
                          const struct hf_ref *ref, const struct hf_error *damage,
                          struct hf_error *err);
    /* Before the entry's blocks; may be NULL. */
    enum hf_err (*file)(void *context, const struct hf_file_entry *entry, struct hf_error *err);
    void *context;
    const struct hf_cancel *cancel;
};

HF_MUST_CHECK enum hf_err hf_visit_tree(struct hf_tree_reader *reader, struct hf_block_coder *coder,
                                        const struct hf_tree_root *root,
                                        const struct hf_visitor *visitor, struct hf_error *err);

#endif
