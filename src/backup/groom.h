/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upkeep of a store: when the living and dead bytes of a job are counted, when it is groomed, when it is checked
 * (backup-domain.md 6.6, 6.7), and what is remembered of it. Plain values and decisions; knows no clock, no disk, and not
 * how any of it is done. Safety hangs on none of it: grooming is safe at any time (store-format.md 5).
 *
 *   asked by hand > groom (both thresholds, on numbers that are not stale) > count > check
 *
 * Works on a store go through its slots, of which there are as many as its load factor says: who works holds one, by
 * compare-and-set, and renews it; one that was not renewed for long is free.
 */
#ifndef HF_BACKUP_GROOM_H
#define HF_BACKUP_GROOM_H

#include "backup/records.h"

#define HF_KIND_USAGE "usage"             /* by job */
#define HF_KIND_UPKEEP_SLOT "upkeep_slot" /* by hf_upkeep_slot_id */

enum hf_upkeep_work {
    HF_UPKEEP_NONE,
    HF_UPKEEP_COUNT, /* resource tracking: living and dead bytes, nothing changed */
    HF_UPKEEP_GROOM,
    HF_UPKEEP_CHECK, /* integrity */
};
#define HF_UPKEEP_WORKS 4
/* "COUNT"; for logs, documents and events. */
const char *hf_upkeep_word(enum hf_upkeep_work work);

/* What is remembered of a job's part of a store. */
struct hf_usage_record {
    struct hf_id id; /* the job's */
    struct hf_id project, store;
    char set_name[HF_NAME_BYTES];
    uint64_t created_s;
    /* The last count. Bytes of blocks are stored ones; what a writer at work has put counts as neither. */
    uint64_t counted_s; /* 0: never */
    uint64_t snapshots, objects, claimed_objects, unreadable_objects;
    uint64_t object_bytes;
    uint64_t living_bytes, dead_bytes, living_blocks, dead_blocks;
    uint64_t going_objects, copied_objects, freed_bytes; /* what a groom would do then */
    /* The last groom. */
    uint64_t groomed_s; /* 0: never */
    uint64_t groomed_deleted, groomed_written, groomed_before_bytes, groomed_after_bytes;
    /* The last check. */
    uint64_t checked_s; /* 0: never */
    bool checked_full;
    uint64_t checked_snapshots, checked_blocks, checked_bytes;
    uint64_t check_share; /* of the next check by sampling */
    uint64_t damages, damaged_snapshots;
    /* By hand; 0: not asked for. */
    uint64_t asked_count_s, asked_groom_s, asked_check_s;
    uint64_t asked_percent; /* for that groom, or what a count says of one; 0: the policy's */
    bool asked_full;        /* for that check */
    /* The last failure; failures: since the last success. */
    uint64_t failed_s, failures;
    char failed_work[HF_WORD_BYTES];
    char error_class[HF_WORD_BYTES];
    char error[HF_RECORD_ERROR_BYTES];
};
HF_MUST_CHECK struct hf_json *hf_usage_record_encode(const struct hf_usage_record *record);
HF_MUST_CHECK enum hf_err hf_usage_record_decode(const struct hf_json *json,
                                                 struct hf_usage_record *out, struct hf_error *err);

/* Of 0 stored bytes: 1. */
double hf_usage_living_ratio(const struct hf_usage_record *usage);
/* The numbers are older than the last groom, or there are none. */
bool hf_usage_is_stale(const struct hf_usage_record *usage);

/* A file system counts as S3 (backup-domain.md 6.7). */
#define HF_UPKEEP_LIVING_PERCENT 75
#define HF_UPKEEP_GROOM_EVERY_S (14 * 86400)
#define HF_UPKEEP_COUNT_EVERY_S (3 * 86400)
#define HF_UPKEEP_CHECK_EVERY_S (7 * 86400)
/* A check by sampling reads the content of one block in so many, others the next time. */
#define HF_UPKEEP_SHARES 8
#define HF_UPKEEP_RETRY_S 3600
#define HF_UPKEEP_RETRY_MAX_S 86400
/* store-format.md 5: voids stay 30 days. */
#define HF_VOID_KEPT_S (30 * 86400)

struct hf_upkeep_policy {
    unsigned living_percent;   /* living bytes / all below this, and */
    uint64_t dead_bytes;       /* dead bytes above this */
    uint64_t groom_every_s;    /* at most; 0: never by itself */
    uint64_t count_every_s;    /* 0: only where there are no numbers, or stale ones */
    uint64_t check_every_s;    /* 0: never by itself */
    bool off[HF_UPKEEP_WORKS]; /* not done here, not even when asked for */
};

struct hf_upkeep_choice {
    enum hf_upkeep_work work; /* NONE: there is nothing to do */
    size_t index;             /* of the record */
    bool by_hand;
    bool full;               /* of a check */
    unsigned living_percent; /* of a groom, and of the count that says what it would do */
    char why[HF_RECORD_ERROR_BYTES];
};
/* What is due for that job. A time that lies in the future counts as long ago: the clock was set back. */
void hf_upkeep_decide(const struct hf_usage_record *usage, const struct hf_upkeep_policy *policy,
                      uint64_t now_s, struct hf_upkeep_choice *out);
/* The most urgent of all: what was asked for first; then grooms, most dead bytes first; then counts and checks, the one that
 * waits for the longest first. busy[i]: that job is worked on. May be NULL. */
void hf_upkeep_choose(const struct hf_usage_record *usages, const bool *busy, size_t count,
                      const struct hf_upkeep_policy *policy, uint64_t now_s,
                      struct hf_upkeep_choice *out);

/* Asks for it, from now on. full: of a check; living_percent: of the others. */
void hf_usage_ask(struct hf_usage_record *usage, const struct hf_upkeep_choice *wish,
                  uint64_t now_s);
/* Ends. `chosen` is the record as it was when the work was chosen: what was asked for by then is done, what was asked for
 * since is still to do. */
void hf_usage_counted(struct hf_usage_record *usage, const struct hf_usage_record *chosen,
                      uint64_t began_s);
void hf_usage_groomed(struct hf_usage_record *usage, const struct hf_usage_record *chosen,
                      uint64_t now_s);
void hf_usage_checked(struct hf_usage_record *usage, const struct hf_usage_record *chosen,
                      bool full, uint64_t now_s);
void hf_usage_failed(struct hf_usage_record *usage, const struct hf_upkeep_choice *choice,
                     const struct hf_error *why, uint64_t now_s);

/* ---- Slots ---- */

#define HF_UPKEEP_SLOTS_MAX 8
/* Longer than any pause in which a living server renews nothing. */
#define HF_UPKEEP_SLOT_SILENT_S 300

struct hf_slot_record {
    struct hf_id id, store;
    struct hf_id server; /* the process that works; none: free */
    struct hf_id job;
    enum hf_upkeep_work work;
    uint64_t started_s, seen_s;
};
HF_MUST_CHECK struct hf_json *hf_slot_record_encode(const struct hf_slot_record *record);
HF_MUST_CHECK enum hf_err hf_slot_record_decode(const struct hf_json *json,
                                                struct hf_slot_record *out, struct hf_error *err);
/* The same for every server: 0 to HF_UPKEEP_SLOTS_MAX - 1. */
struct hf_id hf_upkeep_slot_id(const struct hf_id *store, unsigned number);
/* gone: the process that holds it is dead. silent_s: it was not renewed for so long, as we saw it. */
bool hf_slot_is_free(const struct hf_slot_record *slot, const struct hf_id *server, bool gone,
                     uint64_t silent_s);

/* ---- What ends with time ---- */

/* The void of a given-up attempt may go: 30 days are over. */
bool hf_upkeep_void_is_over(const struct hf_snapshot_record *snapshot, uint64_t now_s);

#endif
