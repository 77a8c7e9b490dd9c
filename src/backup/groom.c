/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decisions of upkeep, and the tables of its records.
 */
#include "backup/groom.h"

#include <inttypes.h>
#include <stdio.h>

#include "backup/fields.h"
#include "backup/job.h"
#include "base/alloc.h"

static const char *const works[] = {"NONE", "COUNT", "GROOM", "CHECK", NULL};

const char *hf_upkeep_word(enum hf_upkeep_work work)
{
    return works[work];
}

#define R struct hf_usage_record
static const struct hf_field usage_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_ID(R, project, "projectId", true),
    HF_FIELDS_ID(R, store, "storeId", true),
    HF_FIELDS_TEXT(R, set_name, "setName", true),
    HF_FIELDS_U64(R, created_s, "createdS"),
    HF_FIELDS_U64(R, counted_s, "countedS"),
    HF_FIELDS_U64(R, snapshots, "snapshots"),
    HF_FIELDS_U64(R, objects, "objects"),
    HF_FIELDS_U64(R, claimed_objects, "claimedObjects"),
    HF_FIELDS_U64(R, unreadable_objects, "unreadableObjects"),
    HF_FIELDS_U64(R, object_bytes, "objectBytes"),
    HF_FIELDS_U64(R, living_bytes, "livingBytes"),
    HF_FIELDS_U64(R, dead_bytes, "deadBytes"),
    HF_FIELDS_U64(R, living_blocks, "livingBlocks"),
    HF_FIELDS_U64(R, dead_blocks, "deadBlocks"),
    HF_FIELDS_U64(R, going_objects, "goingObjects"),
    HF_FIELDS_U64(R, copied_objects, "copiedObjects"),
    HF_FIELDS_U64(R, freed_bytes, "freedBytes"),
    HF_FIELDS_U64(R, groomed_s, "groomedS"),
    HF_FIELDS_U64(R, groomed_deleted, "groomedDeleted"),
    HF_FIELDS_U64(R, groomed_written, "groomedWritten"),
    HF_FIELDS_U64(R, groomed_before_bytes, "groomedBeforeBytes"),
    HF_FIELDS_U64(R, groomed_after_bytes, "groomedAfterBytes"),
    HF_FIELDS_U64(R, checked_s, "checkedS"),
    HF_FIELDS_BOOL(R, checked_full, "checkedFull"),
    HF_FIELDS_U64(R, checked_snapshots, "checkedSnapshots"),
    HF_FIELDS_U64(R, checked_blocks, "checkedBlocks"),
    HF_FIELDS_U64(R, checked_bytes, "checkedBytes"),
    HF_FIELDS_U64(R, check_share, "checkShare"),
    HF_FIELDS_U64(R, damages, "damages"),
    HF_FIELDS_U64(R, damaged_snapshots, "damagedSnapshots"),
    HF_FIELDS_U64(R, asked_count_s, "askedCountS"),
    HF_FIELDS_U64(R, asked_groom_s, "askedGroomS"),
    HF_FIELDS_U64(R, asked_check_s, "askedCheckS"),
    HF_FIELDS_U64(R, asked_percent, "askedPercent"),
    HF_FIELDS_BOOL(R, asked_full, "askedFull"),
    HF_FIELDS_U64(R, failed_s, "failedS"),
    HF_FIELDS_U64(R, failures, "failures"),
    HF_FIELDS_TEXT(R, failed_work, "failedWork", false),
    HF_FIELDS_TEXT(R, error_class, "errorClass", false),
    HF_FIELDS_TEXT(R, error, "error", false),
};
#undef R
static const struct hf_fields usage_record = {
    .record = "usage",
    .fields = usage_fields,
    .count = HF_ARRAY_LEN(usage_fields),
    .size_bytes = sizeof(struct hf_usage_record),
};

struct hf_json *hf_usage_record_encode(const struct hf_usage_record *record)
{
    return hf_fields_encode(&usage_record, record);
}

enum hf_err hf_usage_record_decode(const struct hf_json *json, struct hf_usage_record *out,
                                   struct hf_error *err)
{
    return hf_fields_decode(&usage_record, json, out, err);
}

#define R struct hf_slot_record
static const struct hf_field slot_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_ID(R, store, "storeId", true),
    HF_FIELDS_ID(R, server, "serverId", false),
    HF_FIELDS_ID(R, job, "jobId", false),
    HF_FIELDS_WORD(R, work, "work", works),
    HF_FIELDS_U64(R, started_s, "startedS"),
    HF_FIELDS_U64(R, seen_s, "seenS"),
};
#undef R
static const struct hf_fields slot_record = {
    .record = "slot",
    .fields = slot_fields,
    .count = HF_ARRAY_LEN(slot_fields),
    .size_bytes = sizeof(struct hf_slot_record),
};

struct hf_json *hf_slot_record_encode(const struct hf_slot_record *record)
{
    return hf_fields_encode(&slot_record, record);
}

enum hf_err hf_slot_record_decode(const struct hf_json *json, struct hf_slot_record *out,
                                  struct hf_error *err)
{
    return hf_fields_decode(&slot_record, json, out, err);
}

/* ---- When ---- */

double hf_usage_living_ratio(const struct hf_usage_record *usage)
{
    uint64_t all = usage->living_bytes + usage->dead_bytes;
    return all == 0 ? 1 : (double)usage->living_bytes / (double)all;
}

bool hf_usage_is_stale(const struct hf_usage_record *usage)
{
    return usage->counted_s == 0 || usage->counted_s < usage->groomed_s;
}

/* Since then; 0: never, which is for ever. */
static uint64_t passed_s(uint64_t then_s, uint64_t now_s)
{
    return then_s == 0 || then_s > now_s ? UINT64_MAX : now_s - then_s;
}

static uint64_t patience_s(const struct hf_usage_record *usage)
{
    return hf_retry_wait_s(usage->failures, HF_UPKEEP_RETRY_S, HF_UPKEEP_RETRY_MAX_S);
}

/* What never was counts from the job's beginning: two weeks, or seven days, later is soon enough. */
static bool is_over(uint64_t last_s, const struct hf_usage_record *usage, uint64_t every_s,
                    uint64_t now_s)
{
    return every_s > 0 && passed_s(last_s == 0 ? usage->created_s : last_s, now_s) >= every_s;
}

static bool is_groom_due(const struct hf_usage_record *usage, const struct hf_upkeep_policy *policy,
                         uint64_t now_s)
{
    return !hf_usage_is_stale(usage) && usage->dead_bytes > policy->dead_bytes &&
           hf_usage_living_ratio(usage) * 100 < policy->living_percent &&
           is_over(usage->groomed_s, usage, policy->groom_every_s, now_s);
}

static bool decide_asked(const struct hf_usage_record *usage, struct hf_upkeep_choice *out)
{
    out->by_hand = true;
    out->full = usage->asked_full || usage->damaged_snapshots > 0;
    if (usage->asked_count_s != 0) {
        out->work = HF_UPKEEP_COUNT;
    } else if (usage->asked_groom_s != 0) {
        out->work = HF_UPKEEP_GROOM;
    } else if (usage->asked_check_s != 0) {
        out->work = HF_UPKEEP_CHECK;
    }
    if (usage->asked_percent != 0) {
        out->living_percent = (unsigned)usage->asked_percent;
    }
    (void)snprintf(out->why, sizeof out->why, "asked for");
    return out->work != HF_UPKEEP_NONE;
}

void hf_upkeep_decide(const struct hf_usage_record *usage, const struct hf_upkeep_policy *policy,
                      uint64_t now_s, struct hf_upkeep_choice *out)
{
    *out =
        (struct hf_upkeep_choice){.work = HF_UPKEEP_NONE, .living_percent = policy->living_percent};
    if (decide_asked(usage, out)) {
        return;
    }
    out->by_hand = false;
    /* What was found damaged is known to be whole again only once all of it was read. */
    out->full = usage->damaged_snapshots > 0;
    if (usage->failures > 0 && passed_s(usage->failed_s, now_s) < patience_s(usage)) {
        (void)snprintf(out->why, sizeof out->why, "failed %" PRIu64 " times, waits",
                       usage->failures);
    } else if (is_groom_due(usage, policy, now_s)) {
        out->work = HF_UPKEEP_GROOM;
        (void)snprintf(out->why, sizeof out->why,
                       "%.0f %% of the bytes live, which is below %u %%; %" PRIu64
                       " bytes are dead, which is above %" PRIu64,
                       hf_usage_living_ratio(usage) * 100, policy->living_percent,
                       usage->dead_bytes, policy->dead_bytes);
    } else if (hf_usage_is_stale(usage)) {
        out->work = HF_UPKEEP_COUNT;
        (void)snprintf(out->why, sizeof out->why, "%s",
                       usage->counted_s == 0 ? "never counted" : "groomed since the last count");
    } else if (policy->count_every_s > 0 &&
               passed_s(usage->counted_s, now_s) >= policy->count_every_s) {
        out->work = HF_UPKEEP_COUNT;
        (void)snprintf(out->why, sizeof out->why, "counted long ago");
    } else if (is_over(usage->checked_s, usage, policy->check_every_s, now_s)) {
        out->work = HF_UPKEEP_CHECK;
        (void)snprintf(out->why, sizeof out->why, "%s",
                       usage->checked_s == 0 ? "never checked" : "checked long ago");
    } else {
        (void)snprintf(out->why, sizeof out->why, "nothing is due");
    }
}

static uint64_t asked_at(const struct hf_usage_record *usage)
{
    const uint64_t all[] = {usage->asked_count_s, usage->asked_groom_s, usage->asked_check_s};
    uint64_t first_s = UINT64_MAX;
    for (size_t i = 0; i < HF_ARRAY_LEN(all); i++) {
        first_s = all[i] != 0 && all[i] < first_s ? all[i] : first_s;
    }
    return first_s;
}

/* 3: asked for; 2: groom; 1: the rest. */
static int rank(const struct hf_upkeep_choice *choice)
{
    return choice->by_hand ? 3 : choice->work == HF_UPKEEP_GROOM ? 2 : 1;
}

/* True when `one` comes before `other`. */
static bool is_first(const struct hf_usage_record *usages, const struct hf_upkeep_choice *one,
                     const struct hf_upkeep_choice *other)
{
    const struct hf_usage_record *a = &usages[one->index], *b = &usages[other->index];
    if (rank(one) != rank(other)) {
        return rank(one) > rank(other);
    }
    if (one->by_hand) {
        return asked_at(a) < asked_at(b);
    }
    if (one->work == HF_UPKEEP_GROOM) {
        return a->dead_bytes > b->dead_bytes;
    }
    uint64_t a_s = one->work == HF_UPKEEP_COUNT ? a->counted_s : a->checked_s;
    uint64_t b_s = other->work == HF_UPKEEP_COUNT ? b->counted_s : b->checked_s;
    return a_s < b_s;
}

void hf_upkeep_choose(const struct hf_usage_record *usages, const bool *busy, size_t count,
                      const struct hf_upkeep_policy *policy, uint64_t now_s,
                      struct hf_upkeep_choice *out)
{
    *out = (struct hf_upkeep_choice){.work = HF_UPKEEP_NONE};
    for (size_t i = 0; i < count; i++) {
        struct hf_upkeep_choice choice;
        if (busy != NULL && busy[i]) {
            continue;
        }
        hf_upkeep_decide(&usages[i], policy, now_s, &choice);
        choice.index = i;
        if (choice.work != HF_UPKEEP_NONE && !policy->off[choice.work] &&
            (out->work == HF_UPKEEP_NONE || is_first(usages, &choice, out))) {
            *out = choice;
        }
    }
}

/* ---- Ends ---- */

static void succeeded(struct hf_usage_record *usage)
{
    usage->failures = 0;
    usage->failed_work[0] = '\0';
    usage->error_class[0] = '\0';
    usage->error[0] = '\0';
}

/* Every wish has a time of its own, so that one of the same second is not taken for the one before. */
static void ask(uint64_t *asked_s, uint64_t now_s)
{
    *asked_s = now_s > *asked_s ? now_s : *asked_s + 1;
}

void hf_usage_ask(struct hf_usage_record *usage, const struct hf_upkeep_choice *wish,
                  uint64_t now_s)
{
    if (wish->work == HF_UPKEEP_CHECK) {
        ask(&usage->asked_check_s, now_s);
        usage->asked_full = wish->full;
        return;
    }
    ask(wish->work == HF_UPKEEP_COUNT ? &usage->asked_count_s : &usage->asked_groom_s, now_s);
    usage->asked_percent = wish->living_percent;
}

static void answer(uint64_t *asked_s, uint64_t chosen_s)
{
    *asked_s = *asked_s == chosen_s ? 0 : *asked_s;
}

void hf_usage_counted(struct hf_usage_record *usage, const struct hf_usage_record *chosen,
                      uint64_t began_s)
{
    succeeded(usage);
    usage->counted_s = began_s > usage->groomed_s ? began_s : usage->groomed_s;
    answer(&usage->asked_count_s, chosen->asked_count_s);
    if (usage->asked_count_s == 0 && usage->asked_groom_s == 0) {
        usage->asked_percent = 0;
    }
}

void hf_usage_groomed(struct hf_usage_record *usage, const struct hf_usage_record *chosen,
                      uint64_t now_s)
{
    succeeded(usage);
    usage->groomed_s = now_s > usage->counted_s ? now_s : usage->counted_s + 1;
    answer(&usage->asked_groom_s, chosen->asked_groom_s);
    if (usage->asked_groom_s == 0) {
        usage->asked_percent = 0;
    }
}

void hf_usage_checked(struct hf_usage_record *usage, const struct hf_usage_record *chosen,
                      bool full, uint64_t now_s)
{
    succeeded(usage);
    usage->checked_s = now_s;
    usage->checked_full = full;
    if (!full) {
        usage->check_share = (usage->check_share + 1) % HF_UPKEEP_SHARES;
    }
    answer(&usage->asked_check_s, chosen->asked_check_s);
    if (usage->asked_check_s == 0) {
        usage->asked_full = false;
    }
}

void hf_usage_failed(struct hf_usage_record *usage, const struct hf_upkeep_choice *choice,
                     const struct hf_error *why, uint64_t now_s)
{
    usage->failures++;
    usage->failed_s = now_s;
    (void)snprintf(usage->failed_work, sizeof usage->failed_work, "%s",
                   hf_upkeep_word(choice->work));
    (void)snprintf(usage->error_class, sizeof usage->error_class, "%s", hf_err_name(why->code));
    (void)snprintf(usage->error, sizeof usage->error, "%s", why->message);
    /* Whoever asked has the answer: it failed. */
    if (choice->work == HF_UPKEEP_COUNT) {
        usage->asked_count_s = 0;
        usage->asked_percent = usage->asked_groom_s == 0 ? 0 : usage->asked_percent;
    } else if (choice->work == HF_UPKEEP_GROOM) {
        usage->asked_groom_s = 0;
        usage->asked_percent = 0;
    } else {
        usage->asked_check_s = 0;
        usage->asked_full = false;
    }
}

/* ---- Slots, voids ---- */

struct hf_id hf_upkeep_slot_id(const struct hf_id *store, unsigned number)
{
    struct hf_id id = *store;
    HF_ASSERT(number < HF_UPKEEP_SLOTS_MAX);
    id.bytes[HF_ID_BYTES - 1] = (uint8_t)(id.bytes[HF_ID_BYTES - 1] ^ (number + 1));
    return id;
}

bool hf_slot_is_free(const struct hf_slot_record *slot, const struct hf_id *server, bool gone,
                     uint64_t silent_s)
{
    if (hf_id_is_none(&slot->server)) {
        return true;
    }
    /* Our own is held by another thread, however long it was not renewed. */
    return !hf_id_equal(&slot->server, server) && (gone || silent_s > HF_UPKEEP_SLOT_SILENT_S);
}

bool hf_upkeep_void_is_over(const struct hf_snapshot_record *snapshot, uint64_t now_s)
{
    return (snapshot->state == HF_SNAPSHOT_ABANDONED || snapshot->state == HF_SNAPSHOT_FAILED) &&
           !snapshot->void_dropped && snapshot->finished_s <= now_s &&
           now_s - snapshot->finished_s >= HF_VOID_KEPT_S;
}
