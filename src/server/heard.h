/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For how long nothing was heard of something: an agent, a task, a take that has begun. Knows no record.
 *
 * A record says when its agent was last heard of by the wall clock of whoever wrote it, and such clocks jump and
 * disagree. So a server looks for how long the record stays the same, on a clock of its own that runs only while it can
 * hear: neither a clock that jumps nor the server's own absence (stopped, suspended, just started) is anybody's silence.
 */
#ifndef HF_SERVER_HEARD_H
#define HF_SERVER_HEARD_H

#include "base/error.h"
#include "format/ids.h"

struct hf_server_heard;

enum hf_heard_kind {
    HF_HEARD_AGENT,     /* its record */
    HF_HEARD_MEMBERS,   /* what it sees: one document an agent */
    HF_HEARD_TASK,      /* named by polls */
    HF_HEARD_BEGINNING, /* a snapshot or restore between two steps of its making */
    HF_HEARD_SERVER,    /* its beat */
    HF_HEARD_SLOT,      /* of upkeep, renewed */
};

HF_MUST_CHECK enum hf_err hf_server_heard_create(struct hf_server_heard **out,
                                                 struct hf_error *err);
void hf_server_heard_destroy(struct hf_server_heard *heard);

/* All below: any thread; NULL has heard of everything just now. */

/* The server could hear for so long since it last said so. */
void hf_server_heard_listen(struct hf_server_heard *heard, uint64_t listened_ms);
/* Heard of, by this server, now. */
void hf_server_heard_note(struct hf_server_heard *heard, enum hf_heard_kind kind,
                          const struct hf_id *id);
/*
 * Seconds since it was heard of. mark: what changes in the record whenever somebody hears of it. A mark that is new here
 * without a note (the first look, or another server heard) counts as heard of known_s ago.
 */
uint64_t hf_server_heard_silent_s(struct hf_server_heard *heard, enum hf_heard_kind kind,
                                  const struct hf_id *id, uint64_t mark, uint64_t known_s);

#endif
