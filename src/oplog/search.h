/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations in a stored oplog, looked up by time and namespace: blocks that the index rules out are not read. What a
 * transaction did is shown operation by operation. Knows no text and no screen.
 */
#ifndef HF_OPLOG_SEARCH_H
#define HF_OPLOG_SEARCH_H

#include "base/thread.h"
#include "oplog/chain.h"

/* `operation` is the entry itself, or one inside it (depth > 0); borrowed for the call. Anything but OK ends the walk. */
typedef enum hf_err (*hf_oplog_found)(void *context, const struct hf_oplog_entry *operation,
                                      struct hf_error *err);
struct hf_oplog_search {
    const struct hf_chains *chains; /* borrowed for the call, as all of it */
    struct hf_slice_reader *reader;
    struct hf_optime after, to;     /* exclusive, inclusive, by timestamp; none: no such bound */
    const char *space;              /* operations on this namespace alone; NULL: on all */
    const struct hf_cancel *cancel; /* may be NULL */
    hf_oplog_found found;
    void *context;
    uint64_t blocks_read, blocks_passed; /* result */
};
/* Chains one behind the other, each in its order. */
HF_MUST_CHECK enum hf_err hf_oplog_search_run(struct hf_oplog_search *search, struct hf_error *err);

#endif
