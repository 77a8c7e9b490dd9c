/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restore onto a whole replica set, carried out by the agents of its members: the record, what stands in its way, and
 * what follows on what (docs/design/automated-restore.md).
 *
 *   CHECK -> BUILD -> STOP -> SWAP -> START -> PRIMARY -> CLEAN -> DONE       each a barrier over all members
 *     |        \        |       /         \       /
 *     v         `----> BACK <--'           > HALT -> BACK                     at a failure, or cancelled
 *   UNDONE <-------------'
 *
 * In place (nothing of the old is kept) BUILD is left out and SWAP builds; from there on there is no way back.
 * Knows no clock, no disk, no catalog and no agent: times come as numbers, reports as JSON.
 */
#ifndef HF_BACKUP_TARGET_H
#define HF_BACKUP_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "codec/json.h"
#include "format/ids.h"
#include "format/manifest.h"
#include "format/message.h"

#define HF_TARGET_MEMBERS_MAX 50 /* MongoDB's own limit */
#define HF_TARGET_OBSTACLES_MAX 64
#define HF_TARGET_TEXT_BYTES 512
#define HF_TARGET_CONFIG_BYTES 32768
#define HF_TARGET_OPTIONS_BYTES 2048
/* A step whose agent was lost, or could not, is given again so often; the way back is tried for ever. */
#define HF_TARGET_TRIES 6
#define HF_TARGET_CLEAN_TRIES 3
#define HF_TARGET_PAUSE_MAX_S 30

enum hf_target_phase {
    HF_TARGET_CHECK,   /* look only */
    HF_TARGET_BUILD,   /* the new directory beside the old one, while the old set runs */
    HF_TARGET_STOP,    /* every member */
    HF_TARGET_SWAP,    /* the old directory steps aside */
    HF_TARGET_START,   /* from here on the members run on the new data */
    HF_TARGET_PRIMARY, /* each is a member of the set again, and there is a primary */
    HF_TARGET_CLEAN,   /* the old data go */
    HF_TARGET_DONE,
    HF_TARGET_HALT, /* on the way back: what runs on the new data stops */
    HF_TARGET_BACK, /* the old directory in its place, the old member started */
    HF_TARGET_UNDONE,
};
#define HF_TARGET_PHASES 11
const char *hf_target_phase_word(enum hf_target_phase phase);

enum hf_target_member_state {
    HF_TARGET_MEMBER_WAITING, /* to be given the phase's step */
    HF_TARGET_MEMBER_RUNNING, /* its task says how far it is */
    HF_TARGET_MEMBER_DONE,
    HF_TARGET_MEMBER_FAILED,
};

struct hf_target_member {
    char host[HF_NAME_BYTES]; /* host:port, as the set calls it */
    struct hf_id agent;
    struct hf_id task, attempt; /* of the step that runs, or ran last */
    enum hf_target_member_state state;
    bool arbiter;
    uint64_t tries;        /* of this step, that did not end well */
    uint64_t not_before_s; /* when the next one may be given */
    uint64_t began_s;      /* of the step */
    uint64_t files, bytes, written_bytes;
    uint64_t reused_bytes, fetched_bytes; /* of the files: from what lay there; from the store */
    uint64_t spent_s[HF_TARGET_PHASES];   /* in each phase's step */
    char error_class[HF_WORD_BYTES];      /* of the last try that failed */
    char error[HF_TARGET_TEXT_BYTES];
};

struct hf_target_obstacle {
    char kind
        [HF_WORD_BYTES]; /* VERSION, FCV, OPTIONS, SPACE, AGENT, BUSY, MEMBERS, LOGIN, DIRECTORY, START */
    char member[HF_NAME_BYTES]; /* empty: the whole set */
    char text[HF_TARGET_TEXT_BYTES];
};

struct hf_target_record {
    struct hf_id id; /* the restore's */
    struct hf_id project, cluster;
    struct hf_id job, snapshot; /* what is restored */
    char set_name[HF_NAME_BYTES];
    bool active; /* false: everything is ended, nothing to be done any more */
    bool dry_run, in_place;
    bool to_point;  /* oplog is replayed after the snapshot */
    bool cancelled; /* by the operator */
    bool failing; /* no step more; the members that are at one are waited for, then the way back */
    bool undoing;
    bool given_up; /* the operator did not wait for the way back */
    enum hf_target_phase phase;
    uint64_t created_s, finished_s;
    /* Of the snapshot. */
    char fcv[HF_WORD_BYTES], server_version[HF_WORD_BYTES], engine[HF_WORD_BYTES];
    char
        options[HF_TARGET_OPTIONS_BYTES]; /* what a server needs to open its files: a JSON object */
    uint64_t bytes;
    char config
        [HF_TARGET_CONFIG_BYTES]; /* of the set, as it will be: one JSON object; empty before CHECK */
    /* What the agents log in with, and its print ("none": nothing; empty: not known yet). It is known to the set afterwards
     * too, whatever users come with the snapshot. */
    char login[HF_TARGET_TEXT_BYTES];
    char login_print[HF_LOGIN_PRINT_BYTES];
    char error_class[HF_WORD_BYTES]; /* why it is failing; the first cause */
    char error[HF_TARGET_TEXT_BYTES * 2];
    struct hf_target_member members[HF_TARGET_MEMBERS_MAX];
    size_t member_count;
    struct hf_target_obstacle obstacles[HF_TARGET_OBSTACLES_MAX];
    size_t obstacle_count;
};
HF_MUST_CHECK struct hf_json *hf_target_record_encode(const struct hf_target_record *record);
HF_MUST_CHECK enum hf_err hf_target_record_decode(const struct hf_json *json,
                                                  struct hf_target_record *out,
                                                  struct hf_error *err);

/* ---- What stands in the way ---- */

/* Adds one; beyond the limit it is left out, and the last one says so. member may be NULL. */
void hf_target_object(struct hf_target_record *record, const char *kind, const char *member,
                      const char *format, ...) HF_PRINTF(4, 5);
/*
 * What the agent of a member found (agent-protocol.md, "target"): its obstacles, and the set's configuration where the
 * record has none yet. CORRUPT for a report that cannot be.
 */
HF_MUST_CHECK enum hf_err hf_target_take_report(struct hf_target_record *record, size_t member,
                                                const struct hf_json *report, struct hf_error *err);
/* backup-domain.md 4.12: a server of that version opens files of that FCV. False too when a version is not known. */
bool hf_target_version_fits(const char *fcv, const char *server_version);
/* The configuration that all members are given: the set's own members and settings, a version above its last, the new id.
 * current: the answer's "config" of replSetGetConfig, as extended JSON. LIMIT when it is too long. */
HF_MUST_CHECK enum hf_err hf_target_make_config(const struct hf_json *current,
                                                const struct hf_id *replica_set_id, char *out,
                                                size_t capacity, struct hf_error *err);

/* ---- What follows ---- */

/* How a member's step ended. now_s also paces the next try. */
void hf_target_member_ended(struct hf_target_record *record, size_t member,
                            const struct hf_error *outcome, uint64_t now_s);
/* Goes on as far as the members allow: phases, the way back, the end. True when something changed. Members that are to be
 * given a step afterwards are WAITING. */
bool hf_target_advance(struct hf_target_record *record, uint64_t now_s);
/* The member's next step may be given now. */
bool hf_target_is_due(const struct hf_target_record *record, size_t member, uint64_t now_s);
/* True at DONE and UNDONE. */
bool hf_target_has_ended(const struct hf_target_record *record);
/* CONFLICT when it has ended, or there is no way back. The second one, on the way back, gives up waiting for it. */
HF_MUST_CHECK enum hf_err hf_target_cancel(struct hf_target_record *record, struct hf_error *err);
/* What a restore that waits waits for: "stop: h:27017 (try 2: …)". */
void hf_target_waits_for(const struct hf_target_record *record, char *out, size_t out_len);

#endif
