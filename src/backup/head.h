/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of a job's oplog chain: the one document that says up to which entry the store has the oplog, who tails, and
 * why it stands still. Plain values and decisions; whoever moves a head does it by compare-and-set.
 *
 * A head moves to a slice that goes on exactly where it stands (optime, term, running hash, number of entries), or that
 * begins another chain for a cause and names the entry where this one ends. So of two tailers one goes on.
 */
#ifndef HF_BACKUP_HEAD_H
#define HF_BACKUP_HEAD_H

#include "backup/member.h"
#include "backup/records.h"
#include "format/slice.h"

/* How long a new tail waits at most after one that failed. */
#define HF_HEAD_WAIT_MAX_S 64

/* The newest stored entry may be so old before that is an event (backup-domain.md 5). */
#define HF_HEAD_BEHIND_S (75 * 60)

struct hf_head_record {
    struct hf_id id; /* the job */
    struct hf_id project;
    char set_name[HF_NAME_BYTES];
    /* The tail: the one task that may move the head; none: none is under way. */
    struct hf_id task, agent;
    struct hf_id writer; /* drawn for the task */
    char member[HF_NAME_BYTES];
    uint64_t begun_s;
    uint64_t failures; /* tails that ended since a slice came */
    uint64_t ended_s;
    char avoided[HF_NAME_BYTES];         /* member that the last tail failed on */
    char problem[HF_RECORD_ERROR_BYTES]; /* why there is no tail, or why the last one ended */
    /* Where the chain stands: behind `last`; none: nothing is stored. */
    struct hf_optime last;
    char hash[2 * HF_HASH_BYTES + 1];
    uint64_t sequence; /* entries of the chain */
    char object[HF_OBJECT_NAME_BYTES];
    char store[HF_RECORD_PATH_BYTES]; /* URL of the store that the slice was put into */
    char fcv[HF_WORD_BYTES];
    char cause[HF_WORD_BYTES]; /* why the chain begins where it does */
    struct hf_optime chain_first;
    uint64_t run; /* of the job: one that the job is not in any more has ended */
    bool
        base_seen; /* of a job's first chain: whether an older snapshot stands apart from it was looked at */
    char
        next_cause[HF_WORD_BYTES]; /* it cannot go on: the next chain begins for this; else empty */
    uint64_t slices, bytes;        /* that came since this record was made */
    uint64_t moved_s;
    uint64_t lag_s, lag_entries; /* as the tailer said with the last slice */
    /* A range ended, and this is still to be told: the event's id. */
    struct hf_id gap;
    char gap_text[HF_RECORD_ERROR_BYTES];
    /* What was told, until it is over. */
    bool told_window;
};

HF_MUST_CHECK struct hf_json *hf_head_record_encode(const struct hf_head_record *record);
HF_MUST_CHECK enum hf_err hf_head_record_decode(const struct hf_json *json,
                                                struct hf_head_record *out, struct hf_error *err);

/* Where a tailer begins. */
struct hf_chain_point hf_head_point(const struct hf_head_record *head);

/*
 * Moves the head to the slice. *moved false: the head has it already, or it lies before what the same tailer brought
 * since. CONFLICT: another tailer's slice came first. INVALID: it neither goes on nor begins a chain as one may begin.
 * gap: id for the event, should a range end with it.
 */
HF_MUST_CHECK enum hf_err hf_head_take(struct hf_head_record *head,
                                       const struct hf_slice_header *slice, uint64_t now_s,
                                       const struct hf_id *gap, bool *moved, struct hf_error *err);
/* The head as the newest slice of a chain says, without what only a tailer knows. */
void hf_head_set(struct hf_head_record *head, const struct hf_slice_header *slice);
/* The slice to go on from is not in the store: the next chain begins for that cause. */
void hf_head_lose(struct hf_head_record *head, enum hf_chain_cause cause);

/*
 * The job's first chain began too late for the snapshots that are complete: none has its certain entry on it, so without
 * another one nothing of what is saved can be restored. A job without a snapshot yet wants none by itself.
 */
bool hf_head_lacks_base(const struct hf_head_record *head,
                        const struct hf_snapshot_record *snapshots, size_t count);

/* The tail has ended: for how long, and where, the next one is not tried. */
void hf_head_end_tail(struct hf_head_record *head, enum hf_err code, const char *why,
                      uint64_t now_s);
/* True when a new tail may be begun. */
bool hf_head_may_begin(const struct hf_head_record *head, uint64_t now_s);

/*
 * Which member to tail: the one that was, while it is good, else by hf_member_choose's rule; not the one that the last
 * tail failed on, nor one whose oplog begins behind the head, while another will do. preferred: by the operator; may be
 * empty.
 */
HF_MUST_CHECK enum hf_err hf_head_choose_member(const struct hf_head_record *head,
                                                const struct hf_member_record *members,
                                                size_t count, const char *preferred,
                                                struct hf_member_choice *out, struct hf_error *err);

#endif
