/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Choosing the member: first what rules a member out, then which of the rest costs the set least.
 */
#include "backup/member.h"

#include <stdio.h>

#include "backup/fields.h"
#include "base/progress.h"

#define R struct hf_member_record
static const struct hf_field member_fields[] = {
    HF_FIELDS_TEXT(R, host, "host", true),
    HF_FIELDS_TEXT(R, set_name, "setName", true),
    HF_FIELDS_TEXT(R, state, "state", true),
    HF_FIELDS_TEXT(R, primary, "primary", false),
    HF_FIELDS_U64(R, priority_millis, "priorityMillis"),
    HF_FIELDS_BOOL(R, hidden, "hidden"),
    HF_FIELDS_U64(R, delay_s, "delayS"),
    HF_FIELDS_U64(R, lag_s, "lagS"),
    HF_FIELDS_U64(R, data_bytes, "dataBytes"),
    HF_FIELDS_U64(R, oplog_first_s, "oplogFirstS"),
    HF_FIELDS_U64(R, oplog_last_s, "oplogLastS"),
    HF_FIELDS_BOOL(R, oplog_rolls, "oplogRolls"),
    HF_FIELDS_TEXT(R, fcv, "fcv", false),
    HF_FIELDS_TEXT(R, server_version, "serverVersion", false),
    HF_FIELDS_TEXT(R, edition, "edition", false),
    HF_FIELDS_TEXT(R, engine, "engine", false),
    HF_FIELDS_TEXT(R, refusal, "refusal", false),
    HF_FIELDS_ID(R, agent, "agentId", false),
    HF_FIELDS_ID(R, project, "projectId", false),
    HF_FIELDS_U64(R, seen_s, "seenS"),
};
#undef R
static const struct hf_fields member_record = {
    .record = "member",
    .fields = member_fields,
    .count = HF_ARRAY_LEN(member_fields),
    .size_bytes = sizeof(struct hf_member_record),
};

struct hf_json *hf_member_record_encode(const struct hf_member_record *record)
{
    return hf_fields_encode(&member_record, record);
}

enum hf_err hf_member_record_decode(const struct hf_json *json, struct hf_member_record *out,
                                    struct hf_error *err)
{
    return hf_fields_decode(&member_record, json, out, err);
}

struct hf_str hf_member_host(const char *member)
{
    const char *colon = strrchr(member, ':');

    return (struct hf_str){member, colon == NULL ? strlen(member) : (size_t)(colon - member)};
}

bool hf_member_window_is_short(const struct hf_member_record *member, uint64_t min_s)
{
    return member->oplog_rolls && member->oplog_first_s != 0 &&
           (member->oplog_last_s < member->oplog_first_s ||
            member->oplog_last_s - member->oplog_first_s < min_s);
}

void hf_member_follow(struct hf_member_record *member, const struct hf_member_record *before)
{
    if (member->oplog_first_s == 0) { /* not known just now */
        member->oplog_first_s = before->oplog_first_s;
        member->oplog_last_s = before->oplog_last_s;
    }
    /* An oplog that begins earlier than it did is another one. */
    member->oplog_rolls = before->oplog_first_s != 0 &&
                          member->oplog_first_s >= before->oplog_first_s &&
                          (before->oplog_rolls || member->oplog_first_s > before->oplog_first_s);
}

static bool is_primary(const struct hf_member_record *member)
{
    return strcmp(member->state, "PRIMARY") == 0;
}

/* Text of what rules the member out, or NULL. The primary passes here: it is the last choice, not
 * excluded. */
static const char *ruled_out(const struct hf_member_record *member, char *text, size_t text_len)
{
    if (member->refusal[0] != '\0') {
        return member->refusal;
    }
    if (!is_primary(member) && strcmp(member->state, "SECONDARY") != 0) {
        (void)snprintf(text, text_len, "it is %s",
                       member->state[0] == '\0' ? "in no known state" : member->state);
        return text;
    }
    if (member->silent_s > HF_AGENT_SILENT_MAX_S) {
        (void)snprintf(text, text_len, "its agent was last heard of %llu s ago",
                       (unsigned long long)member->silent_s);
        return text;
    }
    if (member->delay_s > 0) {
        (void)snprintf(text, text_len, "it is delayed by %llu s",
                       (unsigned long long)member->delay_s);
        return text;
    }
    if (member->lag_s > HF_MEMBER_LAG_MAX_S) {
        (void)snprintf(text, text_len, "it lags %llu s behind", (unsigned long long)member->lag_s);
        return text;
    }
    return NULL;
}

/* Lower is better: a secondary before the primary; among secondaries the operator's wish, the
 * previous member, then the lowest priority, the smallest lag, and the name so that the choice is
 * the same everywhere. */
static bool better(const struct hf_member_record *a, const struct hf_member_record *b,
                   const struct hf_member_wish *wish)
{
    bool a_wished = strcmp(a->host, wish->preferred) == 0,
         b_wished = strcmp(b->host, wish->preferred) == 0;
    bool a_before = strcmp(a->host, wish->previous) == 0,
         b_before = strcmp(b->host, wish->previous) == 0;

    if (a_wished != b_wished) {
        return a_wished;
    }
    if (is_primary(a) != is_primary(b)) {
        return is_primary(b);
    }
    if (a_before != b_before) {
        return a_before;
    }
    if (a->priority_millis != b->priority_millis) {
        return a->priority_millis < b->priority_millis;
    }
    if (a->lag_s != b->lag_s) {
        return a->lag_s < b->lag_s;
    }
    return strcmp(a->host, b->host) < 0;
}

static const char *why(const struct hf_member_record *member, const struct hf_member_wish *wish)
{
    if (strcmp(member->host, wish->preferred) == 0) {
        return "the preferred member";
    }
    if (is_primary(member)) {
        return "the primary: no secondary will do";
    }
    if (strcmp(member->host, wish->previous) == 0) {
        return "the secondary of the previous snapshot";
    }
    return "the secondary with the lowest priority";
}

/* More than this sent beyond what staying sends, and the previous member is kept. */
static bool is_worth_keeping(const struct hf_member_cost *costs, size_t previous, size_t other)
{
    uint64_t stay = costs[previous].send_bytes, change = costs[other].send_bytes;

    return change > stay && change - stay > costs[other].all_bytes / HF_MEMBER_WORTH_PART;
}

/* The rest of the reason: what a change costs, or why staying saves too little. */
static void add_cost(char *text, size_t text_len, const struct hf_member_record *members,
                     const struct hf_member_wish *wish, size_t previous, size_t other, bool kept)
{
    size_t used = strlen(text);
    char stay[24], change[24];

    hf_format_bytes(wish->costs[previous].send_bytes, stay, sizeof stay);
    hf_format_bytes(wish->costs[other].send_bytes, change, sizeof change);
    if (kept) {
        (void)snprintf(text + used, text_len - used,
                       ": about %s to send, after a change to %s about %s", stay,
                       members[other].host, change);
        return;
    }
    (void)snprintf(text + used, text_len - used,
                   ": about %s to send, and %s from the previous member %s", change, stay,
                   members[previous].host);
}

static void add_text(char *text, size_t text_len, const char *host, const char *what)
{
    size_t used = strlen(text);

    (void)snprintf(text + used, text_len - used, "%s%s: %s", used == 0 ? "" : "; ", host, what);
}

enum hf_err hf_member_choose(const struct hf_member_record *members, size_t count,
                             const struct hf_member_wish *asked, struct hf_member_choice *out,
                             struct hf_error *err)
{
    struct hf_member_wish wish = *asked;
    char against[900] = "", text[128];
    size_t best = SIZE_MAX, of_set = 0, fresh = SIZE_MAX;
    struct hf_member_wish unbound;

    wish.preferred = wish.preferred == NULL ? "" : wish.preferred;
    wish.previous = wish.previous == NULL ? "" : wish.previous;
    unbound = wish;
    unbound.previous = "";
    for (size_t i = 0; i < count; i++) {
        const char *reason;

        if (strcmp(members[i].set_name, wish.set_name) != 0) {
            continue;
        }
        of_set++;
        reason = ruled_out(&members[i], text, sizeof text);
        if (reason != NULL) {
            add_text(against, sizeof against, members[i].host, reason);
            continue;
        }
        if (best == SIZE_MAX || better(&members[i], &members[best], &wish)) {
            best = i;
        }
        if (fresh == SIZE_MAX || better(&members[i], &members[fresh], &unbound)) {
            fresh = i;
        }
    }
    if (of_set == 0) {
        return hf_fail(err, HF_ERR_NOT_FOUND,
                       "no agent has reported a member of set %s; hint: start 'holdfast agent' "
                       "beside a member",
                       wish.set_name);
    }
    if (best == SIZE_MAX) {
        return hf_fail(err, HF_ERR_UNAVAILABLE, "no member of set %s can be captured: %s",
                       wish.set_name, against);
    }
    size_t previous = best;
    bool differ = best != fresh && wish.costs != NULL;
    bool kept = !differ || is_worth_keeping(wish.costs, previous, fresh);
    best = kept ? best : fresh;
    out->index = best;
    (void)snprintf(out->reason, sizeof out->reason, "%s, %s", members[best].host,
                   why(&members[best], &wish));
    if (differ) {
        add_cost(out->reason, sizeof out->reason, members, &wish, previous, fresh, kept);
    }
    if (against[0] != '\0') {
        size_t used = strlen(out->reason);
        (void)snprintf(out->reason + used, sizeof out->reason - used, "; not %s", against);
    }
    return HF_ERR_OK;
}

void hf_member_why(const struct hf_member_record *members, size_t index,
                   const struct hf_member_wish *asked, const struct hf_member_choice *choice,
                   char *out, size_t out_len)
{
    const struct hf_member_record *one = &members[index];
    struct hf_member_wish wish = *asked;
    char text[128];

    wish.preferred = wish.preferred == NULL ? "" : wish.preferred;
    wish.previous = wish.previous == NULL ? "" : wish.previous;
    const char *against = ruled_out(one, text, sizeof text);
    if (against != NULL) {
        (void)snprintf(out, out_len, "no: %s", against);
    } else if (choice == NULL) {
        (void)snprintf(out, out_len, "no");
    } else if (index == choice->index) {
        (void)snprintf(out, out_len, "chosen: %s", why(one, &wish));
    } else if (is_primary(one)) {
        (void)snprintf(out, out_len, "not needed: it is the primary");
    } else if (strcmp(members[choice->index].host, wish.preferred) == 0) {
        (void)snprintf(out, out_len, "not needed: another one is preferred");
    } else if (strcmp(one->host, wish.previous) == 0) {
        (void)snprintf(out, out_len, "not kept: it would save too little");
    } else if (strcmp(members[choice->index].host, wish.previous) == 0) {
        (void)snprintf(out, out_len, "not needed: the previous member is kept");
    } else {
        (void)snprintf(out, out_len, "not needed: its priority, its lag or its name come after");
    }
}
