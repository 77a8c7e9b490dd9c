/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's state directory: who it is, which tasks it began, which cursors it opened. All of it may be lost at the
 * price of work, never of truth.
 *
 *   agent.id          made once
 *   agent.lock        held while an agent runs
 *   tasks/<task>      the task as it was given, never its keys; there from before it begins until its end is told
 *   cursors/<task>    member and session of a backup cursor; there from before it is opened until it is closed
 *   targets/<member>  how far a member is in a restore onto its set
 *   recovery/<member> logs of the servers that bring its new data to their point
 *   journal/<job>     finished nodes, for adoption       cache/<job>/   the parent's nodes
 */
#ifndef HF_AGENT_STATE_H
#define HF_AGENT_STATE_H

#include "base/error.h"
#include "format/ids.h"
#include "format/message.h"

struct hf_agent_state;

/* Makes what is missing. CONFLICT when another agent runs on it. */
HF_MUST_CHECK enum hf_err hf_agent_state_open(const char *dir, struct hf_agent_state **out,
                                              struct hf_error *err);
void hf_agent_state_close(struct hf_agent_state *state);
HF_CLEANUP_DEFINE(hf_agent_state_close, struct hf_agent_state *)

const struct hf_id *hf_agent_state_id(const struct hf_agent_state *state);

/* Durable on return. */
HF_MUST_CHECK enum hf_err hf_agent_state_note_task(struct hf_agent_state *state,
                                                   const struct hf_task *task,
                                                   struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_agent_state_forget_task(struct hf_agent_state *state,
                                                     const struct hf_id *task,
                                                     struct hf_error *err);
/* Whether it is noted: it was begun, in this life or an earlier one, and its end was not told. */
bool hf_agent_state_has_task(const struct hf_agent_state *state, const struct hf_id *task);
/* Tasks noted by an earlier life. A note that cannot be read is removed: the task is then unknown here. */
struct hf_agent_noted {
    struct hf_task *tasks; /* owned; without keys */
    size_t count;
};
HF_MUST_CHECK enum hf_err hf_agent_state_tasks(struct hf_agent_state *state,
                                               struct hf_agent_noted *out, struct hf_error *err);
void hf_agent_noted_fini(struct hf_agent_noted *noted);
HF_CLEANUP_DEFINE_VALUE(hf_agent_noted_fini, struct hf_agent_noted)

struct hf_agent_cursor_note {
    struct hf_id task;
    char member[HF_NAME_BYTES];
    char lsid[33];
};
HF_MUST_CHECK enum hf_err hf_agent_state_note_cursor(struct hf_agent_state *state,
                                                     const struct hf_agent_cursor_note *note,
                                                     struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_agent_state_forget_cursor(struct hf_agent_state *state,
                                                       const struct hf_id *task,
                                                       struct hf_error *err);
struct hf_agent_cursors {
    struct hf_agent_cursor_note *notes; /* owned */
    size_t count;
};
HF_MUST_CHECK enum hf_err hf_agent_state_cursors(struct hf_agent_state *state,
                                                 struct hf_agent_cursors *out,
                                                 struct hf_error *err);
void hf_agent_cursors_fini(struct hf_agent_cursors *cursors);
HF_CLEANUP_DEFINE_VALUE(hf_agent_cursors_fini, struct hf_agent_cursors)

/* The directory "targets", made when missing. Free with hf_free. */
HF_MUST_CHECK enum hf_err hf_agent_state_targets(struct hf_agent_state *state, char **path,
                                                 struct hf_error *err);
/* A directory for the logs of temporary servers that work on that member's new data; made when missing. Free with hf_free. */
HF_MUST_CHECK enum hf_err hf_agent_state_recovery(struct hf_agent_state *state, const char *member,
                                                  char **path, struct hf_error *err);
/* Paths for a capture of that job; the directories are there. Free with hf_free. */
HF_MUST_CHECK enum hf_err hf_agent_state_journal(struct hf_agent_state *state,
                                                 const struct hf_id *job, char **path,
                                                 struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_agent_state_cache(struct hf_agent_state *state,
                                               const struct hf_id *job, char **path,
                                               struct hf_error *err);

#endif
