/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of servers and leases, and the decisions over them.
 */
#include "backup/fleet.h"

#include <stdio.h>

#include "backup/fields.h"
#include "codec/hash.h"

/* One pass takes no more: the next one sees how the others fared. */
#define SHARE_MAX 1024

static const char *const switch_words[HF_SERVER_SWITCHES] = {"backup", "groom", "usage", "restore",
                                                             "assignment"};
static const char *const work_words[HF_FLEET_WORKS] = {"schedule", "alerts", "notices", "restores"};

const char *hf_server_switch_word(enum hf_server_switch which)
{
    return switch_words[which];
}

bool hf_server_switch_for(const char *word, enum hf_server_switch *out)
{
    for (size_t i = 0; i < HF_SERVER_SWITCHES; i++) {
        if (strcmp(word, switch_words[i]) == 0) {
            *out = (enum hf_server_switch)i;
            return true;
        }
    }
    return false;
}

const char *hf_fleet_work_word(enum hf_fleet_work work)
{
    return work_words[work];
}

#define R struct hf_server_record
static const struct hf_field server_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_TEXT(R, name, "name", true),
    HF_FIELDS_ID(R, process, "process", false),
    HF_FIELDS_TEXT(R, host, "host", false),
    HF_FIELDS_TEXT(R, release, "release", false),
    HF_FIELDS_TEXT(R, url, "url", false),
    HF_FIELDS_U64(R, pid, "pid"),
    HF_FIELDS_U64(R, created_s, "createdS"),
    HF_FIELDS_U64(R, started_s, "startedS"),
    HF_FIELDS_U64(R, seen_s, "seenS"),
    HF_FIELDS_U64(R, beat, "beat"),
    HF_FIELDS_BOOL(R, ended, "ended"),
    HF_FIELDS_BOOL(R, off[HF_SERVER_BACKUP], "backupOff"),
    HF_FIELDS_BOOL(R, off[HF_SERVER_GROOM], "groomOff"),
    HF_FIELDS_BOOL(R, off[HF_SERVER_USAGE], "usageOff"),
    HF_FIELDS_BOOL(R, off[HF_SERVER_RESTORE], "restoreOff"),
    HF_FIELDS_BOOL(R, off[HF_SERVER_ASSIGNMENT], "assignmentOff"),
    HF_FIELDS_U64(R, workers, "workers"),
    HF_FIELDS_U64(R, load_factor, "loadFactor"),
    HF_FIELDS_TEXT(R, labels, "labels", false),
    HF_FIELDS_BOOL(R, draining, "draining"),
    HF_FIELDS_U64(R, drained_s, "drainedS"),
};
#undef R

#define R struct hf_lease_record
static const struct hf_field lease_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_TEXT(R, work, "work", true),
    HF_FIELDS_ID(R, server, "serverId", false),
    HF_FIELDS_ID(R, process, "process", false),
    HF_FIELDS_U64(R, term, "term"),
    HF_FIELDS_U64(R, taken_s, "takenS"),
};
#undef R

static const struct hf_fields server_record = {.record = "server",
                                               .fields = server_fields,
                                               .count = HF_ARRAY_LEN(server_fields),
                                               .size_bytes = sizeof(struct hf_server_record)};
static const struct hf_fields lease_record = {.record = "lease",
                                              .fields = lease_fields,
                                              .count = HF_ARRAY_LEN(lease_fields),
                                              .size_bytes = sizeof(struct hf_lease_record)};

struct hf_json *hf_server_record_encode(const struct hf_server_record *record)
{
    return hf_fields_encode(&server_record, record);
}

enum hf_err hf_server_record_decode(const struct hf_json *json, struct hf_server_record *out,
                                    struct hf_error *err)
{
    return hf_fields_decode(&server_record, json, out, err);
}

struct hf_json *hf_lease_record_encode(const struct hf_lease_record *record)
{
    return hf_fields_encode(&lease_record, record);
}

enum hf_err hf_lease_record_decode(const struct hf_json *json, struct hf_lease_record *out,
                                   struct hf_error *err)
{
    return hf_fields_decode(&lease_record, json, out, err);
}

/* ---- Names ---- */

enum hf_err hf_server_name_check(const char *name, struct hf_error *err)
{
    size_t len = strlen(name);
    bool plain = len > 0 && len < HF_SERVER_NAME_BYTES;

    for (size_t i = 0; plain && i < len; i++) {
        char c = name[i];
        plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                strchr(".:-_[]", c) != NULL;
    }
    return plain ? HF_ERR_OK
                 : hf_fail(err, HF_ERR_INVALID,
                           "'%.140s' is no name of a server: 1 to %d letters, digits and .:-_[]; "
                           "hint: give one with --name",
                           name, HF_SERVER_NAME_BYTES - 1);
}

static struct hf_id id_of(const char *kind, const char *name)
{
    char text[HF_SERVER_NAME_BYTES + 32];
    struct hf_hash hash;
    struct hf_id id;

    (void)snprintf(text, sizeof text, "%s %s", kind, name);
    hf_sha256(hf_bytes_of(text, strlen(text)), &hash);
    memcpy(id.bytes, hash.bytes, sizeof id.bytes);
    return id;
}

struct hf_id hf_fleet_server_id(const char *name)
{
    return id_of("server", name);
}

struct hf_id hf_fleet_lease_id(enum hf_fleet_work work)
{
    return id_of("lease", work_words[work]);
}

/* ---- Decisions ---- */

bool hf_fleet_member_does(const struct hf_fleet_member *member, enum hf_server_switch which)
{
    return member->alive && !member->record.draining && !member->record.off[which];
}

bool hf_fleet_member_takes(const struct hf_fleet_member *member, bool is_new)
{
    return hf_fleet_member_does(member, HF_SERVER_BACKUP) &&
           !(is_new && member->record.off[HF_SERVER_ASSIGNMENT]);
}

bool hf_fleet_member_loses(const struct hf_fleet_member *member)
{
    return member->gone || member->record.draining;
}

struct hf_fleet_share hf_fleet_share(size_t orphans, size_t rank, size_t takers)
{
    if (orphans == 0 || takers == 0) {
        return (struct hf_fleet_share){.first = 0};
    }
    size_t count = (orphans + takers - 1) / takers;
    return (struct hf_fleet_share){.first = rank * count % orphans,
                                   .count = count < SHARE_MAX ? count : SHARE_MAX};
}

void hf_fleet_resource(const struct hf_fleet_member *member, struct hf_fleet_labels *labels,
                       struct hf_resource *out)
{
    size_t count = 0;
    char *at = labels->text;

    (void)snprintf(labels->text, sizeof labels->text, "%s", member->record.labels);
    while (*at != '\0' && count + 1 < HF_ARRAY_LEN(labels->list)) {
        char *comma = strchr(at, ',');
        if (comma != NULL) {
            *comma = '\0';
        }
        if (*at != '\0') {
            labels->list[count++] = at;
        }
        at = comma == NULL ? at + strlen(at) : comma + 1;
    }
    labels->list[count] = NULL;
    *out = (struct hf_resource){.kind = HF_RESOURCE_SERVER,
                                .id = member->record.name,
                                .labels = labels->list,
                                .closed = !hf_fleet_member_takes(member, true),
                                .load_factor = member->record.load_factor,
                                .jobs = member->jobs,
                                .free_bytes = UINT64_MAX};
}
