/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the snapshots that are due begins next: documents in, order out. Knows no catalog and no clock, and not how a
 * snapshot is begun.
 *
 * Projects take turns: first the one that has the fewest running, of these the one whose last turn is the longest ago. In a
 * project the one goes first that has to begin the earliest to be done in time, then the one that is late the longest. What a
 * store's or a host's limit keeps back costs its project no turn; what could not begin, although it might, does.
 */
#ifndef HF_BACKUP_TURNS_H
#define HF_BACKUP_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "format/ids.h"

/* A job whose snapshot waits, or is being taken: then of its times nothing counts. */
struct hf_turn_entry {
    struct hf_id job, project, store;
    const char
        *host; /* borrowed; of the member that it is likely to be taken from; "": not known */
    uint64_t latest_s; /* when it has to begin at the latest */
    uint64_t owed_s;   /* since when it is due */
};
/* The number of a project's last turn; one that is not listed had none. */
struct hf_turn_taken {
    struct hf_id project;
    uint64_t turn;
};
struct hf_turns_view {
    const struct hf_turn_entry *waiting, *running; /* in any order, no job twice; borrowed */
    size_t waiting_count, running_count;
    const struct hf_turn_taken *turns; /* in any order */
    size_t turn_count;
    struct {
        uint64_t total, per_store, per_host; /* 0: no limit */
    } at_once;
};

/* What an entry waits for. */
enum hf_turn_why {
    HF_TURN_GOES, /* for nothing */
    HF_TURN_STORE,
    HF_TURN_HOST,
    HF_TURN_TOTAL,
};
/* "the snapshots of its host" */
const char *hf_turn_why_text(enum hf_turn_why why);

/* n waiting and r running cost (n + r) log (n + r) in all, however they are limited. One thread. */
struct hf_turns;
/* The view is borrowed until destroy. */
HF_MUST_CHECK enum hf_err hf_turns_create(const struct hf_turns_view *view, struct hf_turns **out,
                                          struct hf_error *err);
void hf_turns_destroy(struct hf_turns *turns);
HF_CLEANUP_DEFINE(hf_turns_destroy, struct hf_turns *)
/*
 * The next in the order, each once: its number in view->waiting, and what it waits for. One that GOES counts as running from
 * now on. False: that was the last.
 */
HF_MUST_CHECK bool hf_turns_next(struct hf_turns *turns, size_t *entry, enum hf_turn_why *why);
/* The one that hf_turns_next said last goes did not begin: it takes nobody's place. */
void hf_turns_refused(struct hf_turns *turns);

#endif
