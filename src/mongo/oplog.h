/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Points in the oplog of one member: how far it is, what is majority committed, is an entry (still)
 * there.
 */
#ifndef HF_MONGO_OPLOG_H
#define HF_MONGO_OPLOG_H

#include "base/thread.h"
#include "mongo/client.h"

/* lastWrite of hello. Either may be NULL. A part the member does not report has ts null. */
HF_MUST_CHECK enum hf_err hf_mongo_last_write(struct hf_mongo_client *client,
                                              struct hf_mongo_optime *applied,
                                              struct hf_mongo_optime *majority,
                                              struct hf_error *err);

/*
 * Polls until this member reports ts, or a later time, as majority committed; *majority (may be
 * NULL) is what it reported. TIMEOUT after limit_ms (nothing was changed), CANCELLED. Short losses
 * of the connection are waited out.
 */
HF_MUST_CHECK enum hf_err hf_mongo_wait_majority(struct hf_mongo_client *client,
                                                 struct hf_mongo_ts ts, uint64_t limit_ms,
                                                 const struct hf_cancel *cancel,
                                                 struct hf_mongo_optime *majority,
                                                 struct hf_error *err);

/* The entry with exactly this ts. NOT_FOUND when the oplog has none. */
HF_MUST_CHECK enum hf_err hf_mongo_oplog_find(struct hf_mongo_client *client, struct hf_mongo_ts ts,
                                              struct hf_mongo_optime *out, struct hf_error *err);
/* The first entry with this ts or a later one. NOT_FOUND when the oplog has none. */
HF_MUST_CHECK enum hf_err hf_mongo_oplog_find_from(struct hf_mongo_client *client,
                                                   struct hf_mongo_ts ts,
                                                   struct hf_mongo_optime *out,
                                                   struct hf_error *err);
/* The entry is there with this term, else LOST: it was rolled back or has left the oplog. */
HF_MUST_CHECK enum hf_err hf_mongo_oplog_confirm(struct hf_mongo_client *client,
                                                 struct hf_mongo_optime optime,
                                                 struct hf_error *err);
/* The newest entry. */
HF_MUST_CHECK enum hf_err hf_mongo_oplog_last(struct hf_mongo_client *client,
                                              struct hf_mongo_optime *out, struct hf_error *err);
struct hf_mongo_oplog_window {
    struct hf_mongo_optime oldest, newest;
    bool
        begins_the_set; /* the oldest is the one that initiated the set: nothing has left the oplog */
};
/* What the oplog holds. NOT_FOUND when it is empty. */
HF_MUST_CHECK enum hf_err hf_mongo_oplog_window(struct hf_mongo_client *client,
                                                struct hf_mongo_oplog_window *out,
                                                struct hf_error *err);
/* Writes a no-op on the primary, which moves the majority point of an idle set (appendOplogNote).
 */
HF_MUST_CHECK enum hf_err hf_mongo_append_note(struct hf_mongo_client *client, const char *text,
                                               struct hf_error *err);

#endif
