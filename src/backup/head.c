/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head's table and its decisions.
 */
#include "backup/head.h"

#include <stdio.h>

#include "backup/fields.h"
#include "base/alloc.h"

#define R struct hf_head_record
static const struct hf_field head_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_ID(R, project, "projectId", true),
    HF_FIELDS_TEXT(R, set_name, "setName", true),
    HF_FIELDS_ID(R, task, "taskId", false),
    HF_FIELDS_ID(R, agent, "agentId", false),
    HF_FIELDS_ID(R, writer, "writer", false),
    HF_FIELDS_TEXT(R, member, "member", false),
    HF_FIELDS_U64(R, begun_s, "begunS"),
    HF_FIELDS_U64(R, failures, "failures"),
    HF_FIELDS_U64(R, ended_s, "endedS"),
    HF_FIELDS_TEXT(R, avoided, "avoidedMember", false),
    HF_FIELDS_TEXT(R, problem, "problem", false),
    HF_FIELDS_OPTIME(R, last, "last"),
    HF_FIELDS_TEXT(R, hash, "hash", false),
    HF_FIELDS_U64(R, sequence, "sequence"),
    HF_FIELDS_TEXT(R, object, "object", false),
    HF_FIELDS_TEXT(R, store, "store", false),
    HF_FIELDS_TEXT(R, fcv, "fcv", false),
    HF_FIELDS_TEXT(R, cause, "cause", false),
    HF_FIELDS_OPTIME(R, chain_first, "chainFirst"),
    HF_FIELDS_U64(R, run, "run"),
    HF_FIELDS_BOOL(R, base_seen, "baseSeen"),
    HF_FIELDS_TEXT(R, next_cause, "nextCause", false),
    HF_FIELDS_U64(R, slices, "slices"),
    HF_FIELDS_U64(R, bytes, "bytes"),
    HF_FIELDS_U64(R, moved_s, "movedS"),
    HF_FIELDS_U64(R, lag_s, "lagS"),
    HF_FIELDS_U64(R, lag_entries, "lagEntries"),
    HF_FIELDS_ID(R, gap, "gapEventId", false),
    HF_FIELDS_TEXT(R, gap_text, "gapText", false),
    HF_FIELDS_BOOL(R, told_window, "toldWindow"),
};
#undef R
static const struct hf_fields head_record = {
    .record = "head",
    .fields = head_fields,
    .count = HF_ARRAY_LEN(head_fields),
    .size_bytes = sizeof(struct hf_head_record),
};

struct hf_json *hf_head_record_encode(const struct hf_head_record *record)
{
    return hf_fields_encode(&head_record, record);
}

enum hf_err hf_head_record_decode(const struct hf_json *json, struct hf_head_record *out,
                                  struct hf_error *err)
{
    struct hf_hash hash;

    if (hf_fields_decode(&head_record, json, out, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_optime_is_none(&out->last) &&
        !hf_hex_decode(hf_str_of(out->hash), hash.bytes, sizeof hash.bytes)) {
        return hf_fail(err, HF_ERR_CORRUPT, "head record: 'hash' has a value that does not fit");
    }
    return HF_ERR_OK;
}

/* Decoding saw to its being one. */
static struct hf_hash hash_of(const struct hf_head_record *head)
{
    struct hf_hash hash = {.bytes = {0}};

    (void)!hf_hex_decode(hf_str_of(head->hash), hash.bytes, sizeof hash.bytes);
    return hash;
}

struct hf_chain_point hf_head_point(const struct hf_head_record *head)
{
    struct hf_chain_point point = {.previous = {.term = -1}, .broken_after = {.term = -1}};
    enum hf_chain_cause cause = HF_CHAIN_NONE;

    if (head->next_cause[0] != '\0' && hf_chain_cause_parse(head->next_cause, &cause)) {
        point.cause = cause;
        point.broken_after = head->last;
    } else if (hf_optime_is_none(&head->last)) {
        point.cause = HF_CHAIN_FIRST;
    } else {
        point.previous = head->last;
        point.hash = hash_of(head);
        point.sequence = head->sequence;
    }
    return point;
}

/* ---- Moving ---- */

/* Causes that only a server can know. */
static bool is_servers_own(enum hf_chain_cause cause)
{
    return cause == HF_CHAIN_RESTORED || cause == HF_CHAIN_TOPOLOGY ||
           cause == HF_CHAIN_STORE_CHANGED || cause == HF_CHAIN_STORE_LOST ||
           cause == HF_CHAIN_RESUMED;
}

static enum hf_err check_start(const struct hf_head_record *head,
                               const struct hf_slice_header *slice, struct hf_error *err)
{
    const char *word = hf_chain_cause_word(slice->cause);

    if (!hf_optime_equal(&slice->broken_after, &head->last) &&
        !(hf_optime_is_none(&slice->broken_after) && hf_optime_is_none(&head->last))) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "the chain begins anew (%s) after %s, and the head stands at %s", word,
                       hf_optime_text(&slice->broken_after).text, hf_optime_text(&head->last).text);
    }
    if (slice->cause == HF_CHAIN_FIRST && !hf_optime_is_none(&head->last)) {
        return hf_fail(err, HF_ERR_INVALID, "a first slice, and the job has a chain up to %s",
                       hf_optime_text(&head->last).text);
    }
    if (is_servers_own(slice->cause) && strcmp(word, head->next_cause) != 0) {
        return hf_fail(err, HF_ERR_INVALID, "the chain begins anew for a cause that is not (%s)",
                       word);
    }
    return HF_ERR_OK;
}

static enum hf_err check_place(const struct hf_head_record *head,
                               const struct hf_slice_header *slice, struct hf_error *err)
{
    struct hf_hash hash = hash_of(head);

    if (slice->cause != HF_CHAIN_NONE) {
        return check_start(head, slice, err);
    }
    if (head->next_cause[0] != '\0') {
        return hf_fail(err, HF_ERR_CONFLICT, "the chain has to begin anew (%s)", head->next_cause);
    }
    if (!hf_optime_equal(&slice->previous, &head->last) ||
        !hf_hash_equal(&slice->hash_before, &hash) || slice->sequence != head->sequence) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "the slice goes on after %s (entry %llu), and the head stands at %s (entry "
                       "%llu)",
                       hf_optime_text(&slice->previous).text, (unsigned long long)slice->sequence,
                       hf_optime_text(&head->last).text, (unsigned long long)head->sequence);
    }
    return HF_ERR_OK;
}

/* Of the same tailer, whose slices come one after the other: the head went over it before. */
static bool is_behind(const struct hf_head_record *head, const struct hf_slice_header *slice)
{
    struct hf_object_name name;
    struct hf_error ignored;

    return hf_object_name_parse(hf_str_of(head->object), &name, &ignored) == HF_ERR_OK &&
           hf_id_equal(&name.writer, &slice->writer) &&
           hf_optime_compare(&slice->last, &head->last) <= 0 && slice->cause == HF_CHAIN_NONE;
}

void hf_head_set(struct hf_head_record *head, const struct hf_slice_header *slice)
{
    const struct hf_object_name name = hf_slice_name(slice);

    head->last = slice->last;
    hf_hex_encode(hf_bytes_of(slice->hash_after.bytes, HF_HASH_BYTES), head->hash);
    head->sequence = slice->sequence + slice->entry_count;
    (void)snprintf(head->object, sizeof head->object, "%s", hf_object_name_text(&name).text);
    (void)snprintf(head->fcv, sizeof head->fcv, "%s", slice->fcv);
    (void)snprintf(head->member, sizeof head->member, "%s", slice->member);
}

static void note_gap(struct hf_head_record *head, const struct hf_slice_header *slice,
                     const struct hf_id *gap)
{
    const char *text = hf_chain_cause_text(slice->cause);

    head->gap = *gap;
    if (hf_optime_is_none(&head->last)) {
        (void)snprintf(head->gap_text, sizeof head->gap_text,
                       "%s: %s; the oplog is saved from %s on (member %s)",
                       hf_chain_cause_word(slice->cause), text, hf_optime_text(&slice->first).text,
                       slice->member);
        return;
    }
    (void)snprintf(head->gap_text, sizeof head->gap_text,
                   "%s: %s; the restorable range ends with %s, the next one needs a snapshot and "
                   "is saved from %s on (member %s)",
                   hf_chain_cause_word(slice->cause), text, hf_optime_text(&head->last).text,
                   hf_optime_text(&slice->first).text, slice->member);
}

enum hf_err hf_head_take(struct hf_head_record *head, const struct hf_slice_header *slice,
                         uint64_t now_s, const struct hf_id *gap, bool *moved, struct hf_error *err)
{
    const struct hf_object_name name = hf_slice_name(slice);

    *moved = false;
    if (strcmp(head->object, hf_object_name_text(&name).text) == 0 || is_behind(head, slice)) {
        return HF_ERR_OK;
    }
    if (check_place(head, slice, err) != HF_ERR_OK) {
        return err->code;
    }
    if (slice->cause != HF_CHAIN_NONE) {
        if (slice->cause != HF_CHAIN_FIRST) {
            note_gap(head, slice, gap);
        }
        (void)snprintf(head->cause, sizeof head->cause, "%s", hf_chain_cause_word(slice->cause));
        head->chain_first = slice->first;
        head->base_seen = false;
        head->next_cause[0] = '\0';
    }
    hf_head_set(head, slice);
    head->slices++;
    head->bytes += slice->object_bytes;
    head->moved_s = now_s;
    head->failures = 0;
    head->avoided[0] = '\0';
    head->problem[0] = '\0';
    *moved = true;
    return HF_ERR_OK;
}

void hf_head_lose(struct hf_head_record *head, enum hf_chain_cause cause)
{
    (void)snprintf(head->next_cause, sizeof head->next_cause, "%s", hf_chain_cause_word(cause));
}

bool hf_head_lacks_base(const struct hf_head_record *head,
                        const struct hf_snapshot_record *snapshots, size_t count)
{
    bool apart = false;

    for (size_t i = 0; i < count; i++) {
        const struct hf_snapshot_record *one = &snapshots[i];
        const struct hf_optime *certain =
            hf_optime_is_none(&one->committed) ? &one->oplog_end : &one->committed;
        if (one->state != HF_SNAPSHOT_COMPLETE) {
            continue;
        }
        if (hf_optime_compare_ts(certain, &head->chain_first) >= 0) {
            return false;
        }
        apart = true;
    }
    return apart;
}

/* ---- The tail ---- */

void hf_head_end_tail(struct hf_head_record *head, enum hf_err code, const char *why,
                      uint64_t now_s)
{
    head->task = (struct hf_id){{0}};
    head->ended_s = now_s;
    if (code == HF_ERR_OK || code == HF_ERR_CANCELLED) {
        head->problem[0] = '\0';
        return;
    }
    head->failures++;
    (void)snprintf(head->problem, sizeof head->problem, "%s: %.*s", head->member,
                   HF_RECORD_ERROR_BYTES - HF_NAME_BYTES - 3, why);
    /* An agent that began anew, or a head that another tailer moved, says nothing against the member. */
    if (code != HF_ERR_LOST && code != HF_ERR_CONFLICT) {
        (void)snprintf(head->avoided, sizeof head->avoided, "%s", head->member);
    }
}

bool hf_head_may_begin(const struct hf_head_record *head, uint64_t now_s)
{
    uint64_t wait_s = head->failures <= 1      ? 0
                      : head->failures - 1 > 6 ? HF_HEAD_WAIT_MAX_S
                                               : (uint64_t)1 << (head->failures - 1);

    /* A time that is still to come was written by a clock that has been set back since. */
    return now_s < head->ended_s || now_s - head->ended_s >= wait_s;
}

/* Why the member should not be tailed where another will do; NULL: nothing speaks against it. */
static const char *against(const struct hf_head_record *head, const struct hf_member_record *member)
{
    if (head->avoided[0] != '\0' && strcmp(member->host, head->avoided) == 0) {
        return "the last tail failed there";
    }
    /* Resynced or new: there the chain would break, although others still have the entry to go on from. */
    if (!hf_optime_is_none(&head->last) && head->next_cause[0] == '\0' &&
        member->oplog_first_s > head->last.seconds) {
        return "its oplog begins behind what is saved";
    }
    return NULL;
}

enum hf_err hf_head_choose_member(const struct hf_head_record *head,
                                  const struct hf_member_record *members, size_t count,
                                  const char *preferred, struct hf_member_choice *out,
                                  struct hf_error *err)
{
    struct hf_member_wish wish = {
        .set_name = head->set_name, .preferred = preferred, .previous = head->member};
    HF_CLEANUP(hf_free) struct hf_member_record *others = hf_alloc_array(count + 1, sizeof *others);

    if (others == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    /* Those to avoid are there, and ruled out: the reason names them like the others. */
    for (size_t i = 0; i < count; i++) {
        const char *why = against(head, &members[i]);
        others[i] = members[i];
        if (why != NULL && others[i].refusal[0] == '\0') {
            (void)snprintf(others[i].refusal, sizeof others[i].refusal, "%s", why);
        }
    }
    if (hf_member_choose(others, count, &wish, out, err) == HF_ERR_OK) {
        return HF_ERR_OK;
    }
    return hf_member_choose(members, count, &wish, out, err);
}
