/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A check of all that a store holds of a job's oplog: every slice is read whole, decrypted and hashed again; what joins them
 * is compared (predecessor, running hash, number of entries, term), and their end with the head that the catalog has.
 * Says what is wrong and which entries are lost by it. Knows no catalog and no snapshot.
 */
#ifndef HF_OPLOG_CHECK_H
#define HF_OPLOG_CHECK_H

#include "base/thread.h"
#include "codec/json.h"
#include "oplog/chain.h"

/* So many are told one by one; all are counted. */
#define HF_CHECK_FAULTS_MAX ((size_t)500)

enum hf_check_fault_kind {
    HF_CHECK_DAMAGED,  /* the slice cannot be read, or not all of it */
    HF_CHECK_MISSING,  /* no slice holds entries that one did */
    HF_CHECK_FORGED,   /* a sound slice that does not follow from the others */
    HF_CHECK_DIVERGED, /* two slices hold different entries behind the same one */
};
const char *hf_check_fault_word(enum hf_check_fault_kind kind);

struct hf_check_fault {
    enum hf_check_fault_kind kind;
    char object
        [HF_OBJECT_NAME_BYTES]; /* the slice it is about; "": one that is not there, and whose name nobody knows */
    char text[HF_CHAIN_TEXT_BYTES];
    bool loses; /* no other slice has the entries */
    /* With loses: behind this one (none: all that is older), up to but not with that one (none: to the newest). */
    struct hf_optime lost_after, lost_until;
};

struct hf_check_report {
    uint64_t slices, entries, bytes; /* that were read; bytes are plain ones */
    struct hf_check_fault *faults;   /* owned; HF_CHECK_FAULTS_MAX at most */
    size_t fault_count;              /* kept ones */
    uint64_t fault_total;
};
void hf_check_report_fini(struct hf_check_report *report);
HF_CLEANUP_DEFINE_VALUE(hf_check_report_fini, struct hf_check_report)

/* Where a catalog says that the chain stands; last none: nothing is compared. */
struct hf_check_head {
    struct hf_optime last;
    struct hf_hash hash;
    char object[HF_OBJECT_NAME_BYTES];
};

struct hf_check_options {
    struct hf_store *store;           /* borrowed for the call */
    const struct hf_keyring *keyring; /* borrowed for the call; names the job */
    struct hf_check_head
        head; /* as it was before the call: slices that come meanwhile are no fault */
    const struct hf_cancel *cancel; /* borrowed for the call; may be NULL */
};
/* OK when the check could be made, faults or none. Slices that are merged or pruned meanwhile are no fault. */
HF_MUST_CHECK enum hf_err hf_oplog_check(const struct hf_check_options *options,
                                         struct hf_check_report *out, struct hf_error *err);

/* {"ok", "slices", "entries", "bytes", "faultCount", "faults": [{"kind", "object", "text", "lostAfter", "lostUntil"}]}. */
struct hf_json *hf_check_to_json(const struct hf_check_report *report);
/* Names of slices that such a document calls damaged. *names is the caller's to free with hf_free. */
HF_MUST_CHECK enum hf_err hf_check_bad_from_json(const struct hf_json *json,
                                                 struct hf_object_name **names, size_t *count,
                                                 struct hf_error *err);
/* The document has a fault that `before` (NULL: none) does not have. */
bool hf_check_has_news(const struct hf_json *before, const struct hf_json *now);

#endif
