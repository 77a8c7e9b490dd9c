/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a task may do with objects, and how much of it: the door that every call of an agent on the store goes through.
 * Knows no HTTP.
 *
 * A capture puts packs of its own number under its own writer, and not more bytes than its snapshot's record allows. What
 * it has put is counted here; after a start of the server, and when the count comes to its limit, the store's list says
 * what is true. A tail puts slices under its own writer, and not more than a few that it has not told of.
 */
#ifndef HF_SERVER_RIGHTS_H
#define HF_SERVER_RIGHTS_H

#include "format/ids.h"
#include "server/app.h"

struct hf_server_rights;

HF_MUST_CHECK enum hf_err hf_server_rights_create(struct hf_server_app *app,
                                                  struct hf_server_rights **out,
                                                  struct hf_error *err);
void hf_server_rights_destroy(struct hf_server_rights *rights);
HF_CLEANUP_DEFINE(hf_server_rights_destroy, struct hf_server_rights *)

struct hf_server_object_call {
    struct hf_id project; /* of the caller's key */
    const char *task;     /* header Holdfast-Task */
    const char *attempt;
    struct hf_str name; /* of the object, or the prefix of a list */
    bool put;
    bool list;
};

/* What was allowed. */
struct hf_server_permit {
    struct hf_id task, job, writer;
    struct hf_object_name name; /* not of a list */
    struct hf_store *store;     /* where objects of that kind lie; borrowed: the app's */
    bool tail;                  /* of a tail's task */
    uint64_t capture;           /* of a capture's task */
    uint64_t put_max_bytes;     /* UINT64_MAX: no limit */
};

/* May the agents of this project do that with this object, for this task and attempt? DENIED, LOST, INVALID or NOT_FOUND
 * if not. */
HF_MUST_CHECK enum hf_err hf_server_rights_allow(struct hf_server_rights *rights,
                                                 const struct hf_server_object_call *call,
                                                 struct hf_server_permit *out,
                                                 struct hf_error *err);

/* Counts a put of so many bytes. LIMIT when the attempt would have more in the store than it may; blocks then on a list
 * of the store. */
HF_MUST_CHECK enum hf_err hf_server_rights_book(struct hf_server_rights *rights,
                                                const struct hf_server_permit *permit,
                                                uint64_t bytes, struct hf_error *err);
/* The head of the chain has moved over what this tail put. */
void hf_server_rights_told(struct hf_server_rights *rights, const struct hf_id *task);
/* The put failed. */
void hf_server_rights_unbook(struct hf_server_rights *rights, const struct hf_server_permit *permit,
                             uint64_t bytes);

#endif
