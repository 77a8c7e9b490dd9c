/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of a set as agents see them, and the choice of the one to take a snapshot from, with its
 * reasons.
 *
 * The rule is backup-domain.md 4.2: the secondary with the lowest priority, the previous snapshot's
 * member first, never an arbiter or a delayed one, the primary only when nothing else exists.
 * Decided afresh for each snapshot.
 *
 * What the previous member saves: files, and so blocks, of two members differ although their data are the same, so a
 * capture can only build on an earlier one of its own member. From a member without one everything is read and sent; from
 * one with an old one, what has changed since. The previous member is kept while a change would send more than a
 * sixteenth of the data beyond what staying sends; not as primary, which serves the application, while another will do.
 */
#ifndef HF_BACKUP_MEMBER_H
#define HF_BACKUP_MEMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "codec/json.h"
#include "format/ids.h"
#include "format/manifest.h"

/* A secondary further behind is no source (mongodb-mechanics.md 6: under 21 s). */
#define HF_MEMBER_LAG_MAX_S 21
/* A member whose agent was not heard of for longer is not chosen; polls come at least every 30 s.
 */
#define HF_AGENT_SILENT_MAX_S 90

struct hf_member_record {
    char host[HF_NAME_BYTES]; /* host:port as the set's configuration names it */
    char set_name[HF_NAME_BYTES];
    char state[HF_WORD_BYTES];   /* PRIMARY, SECONDARY, ... */
    char primary[HF_NAME_BYTES]; /* as it sees it; empty: none */
    uint64_t priority_millis;    /* priority * 1000 */
    bool hidden;
    uint64_t delay_s;
    uint64_t lag_s;
    uint64_t data_bytes;                  /* of its files, as its agent says; 0: unknown */
    uint64_t oplog_first_s, oplog_last_s; /* its oplog's first and last entry; 0: unknown */
    bool oplog_rolls; /* its first entry has been seen to go: the oplog is full, not young */
    char fcv[HF_WORD_BYTES];
    char server_version[HF_WORD_BYTES];
    char edition[HF_WORD_BYTES];
    char engine[HF_WORD_BYTES];
    char refusal[HF_NAME_BYTES *
                 2];    /* why no cursor can be opened there, in the agent's words; empty: it can */
    struct hf_id agent; /* who serves it */
    struct hf_id project; /* the agent's */
    uint64_t seen_s;      /* when the agent last said so */
    uint64_t silent_s;    /* how long ago that was by a clock that does not jump; not stored */
};
HF_MUST_CHECK struct hf_json *hf_member_record_encode(const struct hf_member_record *record);
HF_MUST_CHECK enum hf_err hf_member_record_decode(const struct hf_json *json,
                                                  struct hf_member_record *out,
                                                  struct hf_error *err);

/* "h" of "h:27017". */
struct hf_str hf_member_host(const char *member);

/*
 * True when the member keeps its oplog for less than min_s (0: any will do). Only once it is known to be full: a young set
 * has a short oplog too.
 */
bool hf_member_window_is_short(const struct hf_member_record *member, uint64_t min_s);
/* Carries over what an earlier report of the same member tells: whether its oplog rolls. */
void hf_member_follow(struct hf_member_record *member, const struct hf_member_record *before);

/* Of a snapshot from a member. */
struct hf_member_cost {
    uint64_t send_bytes; /* about */
    uint64_t all_bytes;  /* of its data */
};
#define HF_MEMBER_WORTH_PART 16

struct hf_member_wish {
    const char *set_name;
    const char *preferred;              /* by the operator; may be empty */
    const char *previous;               /* member of the newest complete snapshot; may be empty */
    const struct hf_member_cost *costs; /* for each member; NULL: not asked, the previous is kept */
};

struct hf_member_choice {
    size_t index;      /* into the members given */
    char reason[1024]; /* why this one, and what spoke against each other one */
};

/* Why a member is, or is not, the chosen one; NULL for choice: none will do. */
void hf_member_why(const struct hf_member_record *members, size_t index,
                   const struct hf_member_wish *wish, const struct hf_member_choice *choice,
                   char *out, size_t out_len);
/* UNAVAILABLE when no member will do: the message says for each one why. NOT_FOUND when no agent
 * knows the set. */
HF_MUST_CHECK enum hf_err hf_member_choose(const struct hf_member_record *members, size_t count,
                                           const struct hf_member_wish *wish,
                                           struct hf_member_choice *out, struct hf_error *err);

#endif
