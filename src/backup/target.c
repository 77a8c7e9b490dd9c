/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What follows on what in a restore onto a set. Every function is a step of one compare-and-set: it changes the record in
 * memory, and its caller writes it or begins again with a newer one.
 */
#include "backup/target.h"

#include <stdio.h>
#include <string.h>

bool hf_target_has_ended(const struct hf_target_record *record)
{
    return record->phase == HF_TARGET_DONE || record->phase == HF_TARGET_UNDONE;
}

/* ---- A member's step ---- */

/* What a later try may get over. A clean stop of the agent ends its steps as cancelled, too. */
static bool worth_another_try(const struct hf_target_record *record, enum hf_err code)
{
    return hf_err_retry(code) || code == HF_ERR_LOST ||
           (code == HF_ERR_CANCELLED && !record->failing);
}

static bool is_way_back(enum hf_target_phase phase)
{
    return phase == HF_TARGET_HALT || phase == HF_TARGET_BACK;
}

static void take_note(struct hf_target_member *member, const struct hf_error *outcome)
{
    (void)snprintf(member->error_class, sizeof member->error_class, "%s",
                   hf_err_name(outcome->code));
    (void)snprintf(member->error, sizeof member->error, "%.*s", (int)sizeof member->error - 1,
                   outcome->message);
}

void hf_target_member_ended(struct hf_target_record *record, size_t index,
                            const struct hf_error *outcome, uint64_t now_s)
{
    struct hf_target_member *member = &record->members[index];
    uint64_t pause_s = 0;

    member->spent_s[record->phase] += now_s > member->began_s ? now_s - member->began_s : 0;
    if (outcome->code == HF_ERR_OK) {
        member->state = HF_TARGET_MEMBER_DONE;
        member->error_class[0] = member->error[0] = '\0';
        return;
    }
    take_note(member, outcome);
    member->tries++;
    bool again = is_way_back(record->phase) ||
                 (worth_another_try(record, outcome->code) && member->tries < HF_TARGET_TRIES);
    if (record->phase == HF_TARGET_CLEAN) {
        again = member->tries < HF_TARGET_CLEAN_TRIES;
    }
    if (again) {
        pause_s = member->tries < HF_TARGET_PAUSE_MAX_S ? member->tries : HF_TARGET_PAUSE_MAX_S;
        member->state = HF_TARGET_MEMBER_WAITING;
        member->not_before_s = now_s + pause_s - 1;
        return;
    }
    /* The set runs on its new data: what could not be removed is named, and no reason to fail. */
    member->state =
        record->phase == HF_TARGET_CLEAN ? HF_TARGET_MEMBER_DONE : HF_TARGET_MEMBER_FAILED;
}

bool hf_target_is_due(const struct hf_target_record *record, size_t index, uint64_t now_s)
{
    const struct hf_target_member *member = &record->members[index];

    return !hf_target_has_ended(record) && member->state == HF_TARGET_MEMBER_WAITING &&
           member->not_before_s <= now_s && (!record->failing || record->undoing);
}

/* ---- Phases ---- */

static void enter(struct hf_target_record *record, enum hf_target_phase phase, uint64_t now_s)
{
    record->phase = phase;
    if (hf_target_has_ended(record)) {
        record->finished_s = now_s;
        return;
    }
    for (size_t i = 0; i < record->member_count; i++) {
        struct hf_target_member *member = &record->members[i];
        member->state = HF_TARGET_MEMBER_WAITING;
        member->tries = 0;
        member->not_before_s = 0;
        member->began_s = now_s;
    }
}

static bool all_are(const struct hf_target_record *record, enum hf_target_member_state state)
{
    for (size_t i = 0; i < record->member_count; i++) {
        if (record->members[i].state != state) {
            return false;
        }
    }
    return true;
}

static bool any_is(const struct hf_target_record *record, enum hf_target_member_state state)
{
    for (size_t i = 0; i < record->member_count; i++) {
        if (record->members[i].state == state) {
            return true;
        }
    }
    return false;
}

static enum hf_target_phase phase_after(const struct hf_target_record *record)
{
    switch (record->phase) {
    case HF_TARGET_CHECK:
        return record->dry_run    ? HF_TARGET_DONE
               : record->in_place ? HF_TARGET_STOP
                                  : HF_TARGET_BUILD;
    case HF_TARGET_BUILD:
        return HF_TARGET_STOP;
    case HF_TARGET_STOP:
        return HF_TARGET_SWAP;
    case HF_TARGET_SWAP:
        return HF_TARGET_START;
    case HF_TARGET_START:
        return HF_TARGET_PRIMARY;
    case HF_TARGET_PRIMARY:
        return HF_TARGET_CLEAN;
    case HF_TARGET_CLEAN:
        return HF_TARGET_DONE;
    case HF_TARGET_HALT:
        return HF_TARGET_BACK;
    case HF_TARGET_BACK:
        return HF_TARGET_UNDONE;
    case HF_TARGET_DONE:
    case HF_TARGET_UNDONE:
        break;
    }
    return record->phase;
}

static bool past_return(const struct hf_target_record *record)
{
    return record->in_place && record->phase >= HF_TARGET_SWAP &&
           record->phase <= HF_TARGET_PRIMARY;
}

/* Where the way back begins: nothing was touched, nothing new ran yet, or something did. */
static enum hf_target_phase way_back(const struct hf_target_record *record)
{
    if (record->phase == HF_TARGET_CHECK || past_return(record)) {
        return HF_TARGET_UNDONE;
    }
    return record->phase <= HF_TARGET_SWAP ? HF_TARGET_BACK : HF_TARGET_HALT;
}

static void fail(struct hf_target_record *record, const char *error_class, const char *member,
                 const char *error)
{
    record->failing = true;
    (void)snprintf(record->error_class, sizeof record->error_class, "%s", error_class);
    (void)snprintf(record->error, sizeof record->error, "%s%s%s%s", member,
                   member[0] == '\0' ? "" : ": ", error,
                   past_return(record) ? "; the set is down, its old data is gone; hint: restore "
                                         "onto it again, which goes on with what is there"
                                       : "");
}

/* True when a reason to go no further was found now. */
static bool find_failure(struct hf_target_record *record)
{
    if (record->failing || record->phase == HF_TARGET_CLEAN) {
        return false;
    }
    if (record->cancelled) {
        fail(record, hf_err_name(HF_ERR_CANCELLED), "", "cancelled by the operator");
        return true;
    }
    for (size_t i = 0; i < record->member_count; i++) {
        const struct hf_target_member *member = &record->members[i];
        if (member->state == HF_TARGET_MEMBER_FAILED) {
            fail(record, member->error_class, member->host, member->error);
            return true;
        }
    }
    if (record->phase == HF_TARGET_CHECK && record->obstacle_count > 0 && !record->dry_run &&
        all_are(record, HF_TARGET_MEMBER_DONE)) {
        const struct hf_target_obstacle *first = &record->obstacles[0];
        char text[HF_TARGET_TEXT_BYTES + 64];
        (void)snprintf(text, sizeof text, "%s%s", first->text,
                       record->obstacle_count > 1 ? " (and more; see restore show)" : "");
        fail(record, hf_err_name(HF_ERR_CONFLICT), first->member, text);
        return true;
    }
    return false;
}

static bool advance_once(struct hf_target_record *record, uint64_t now_s)
{
    if (hf_target_has_ended(record)) {
        return false;
    }
    if (record->undoing && record->given_up) {
        enter(record, HF_TARGET_UNDONE, now_s);
        return true;
    }
    if (!record->undoing && find_failure(record)) {
        return true;
    }
    if (record->failing && !record->undoing) {
        if (any_is(record, HF_TARGET_MEMBER_RUNNING)) {
            return false;
        }
        record->undoing = true;
        enter(record, way_back(record), now_s);
        return true;
    }
    if (all_are(record, HF_TARGET_MEMBER_DONE)) {
        enter(record, phase_after(record), now_s);
        return true;
    }
    return false;
}

bool hf_target_advance(struct hf_target_record *record, uint64_t now_s)
{
    bool changed = false;

    while (advance_once(record, now_s)) {
        changed = true;
    }
    return changed;
}

enum hf_err hf_target_cancel(struct hf_target_record *record, struct hf_error *err)
{
    const char *set = record->set_name;

    if (hf_target_has_ended(record)) {
        return hf_fail(err, HF_ERR_CONFLICT, "the restore onto set %s has ended", set);
    }
    if (record->undoing) {
        record->given_up = true;
        return HF_ERR_OK;
    }
    if (record->phase == HF_TARGET_CLEAN) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "set %s runs on the restored data already; only its old data is removed",
                       set);
    }
    if (past_return(record)) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "set %s is restored in place and has no old data to go back to; hint: it "
                       "goes on, and can be restored again",
                       set);
    }
    record->cancelled = true;
    return HF_ERR_OK;
}

void hf_target_waits_for(const struct hf_target_record *record, char *out, size_t out_len)
{
    static const char *const texts[] = {"waits for its turn", "is at it", "", "failed"};
    size_t used = (size_t)snprintf(out, out_len, "%s", hf_target_phase_word(record->phase));

    for (size_t i = 0; i < record->member_count && used < out_len; i++) {
        const struct hf_target_member *member = &record->members[i];
        if (member->state == HF_TARGET_MEMBER_DONE) {
            continue;
        }
        used += (size_t)snprintf(out + used, out_len - used, "%s %s %s", used > 20 ? ";" : ":",
                                 member->host, texts[member->state]);
        if (member->error[0] != '\0' && used < out_len) {
            used += (size_t)snprintf(out + used, out_len - used, " (try %llu: %.200s)",
                                     (unsigned long long)member->tries, member->error);
        }
    }
}
