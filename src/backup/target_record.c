/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of a restore onto a set as a document of the catalog: scalars by a table, members and obstacles as lists.
 */
#include <stdio.h>
#include <string.h>

#include "backup/fields.h"
#include "backup/target.h"

static const char *const phases[] = {"CHECK", "BUILD", "STOP", "SWAP", "START",  "PRIMARY",
                                     "CLEAN", "DONE",  "HALT", "BACK", "UNDONE", NULL};
static const char *const member_states[] = {"WAITING", "RUNNING", "DONE", "FAILED", NULL};

const char *hf_target_phase_word(enum hf_target_phase phase)
{
    return phases[phase];
}

#define R struct hf_target_record
static const struct hf_field record_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_ID(R, project, "projectId", true),
    HF_FIELDS_ID(R, cluster, "clusterId", true),
    HF_FIELDS_ID(R, job, "jobId", true),
    HF_FIELDS_ID(R, snapshot, "snapshotId", true),
    HF_FIELDS_TEXT(R, set_name, "setName", true),
    HF_FIELDS_BOOL(R, active, "active"),
    HF_FIELDS_BOOL(R, dry_run, "dryRun"),
    HF_FIELDS_BOOL(R, in_place, "inPlace"),
    HF_FIELDS_BOOL(R, to_point, "toPoint"),
    HF_FIELDS_BOOL(R, cancelled, "cancelled"),
    HF_FIELDS_BOOL(R, failing, "failing"),
    HF_FIELDS_BOOL(R, undoing, "undoing"),
    HF_FIELDS_BOOL(R, given_up, "givenUp"),
    HF_FIELDS_WORD(R, phase, "phase", phases),
    HF_FIELDS_U64(R, created_s, "createdS"),
    HF_FIELDS_U64(R, finished_s, "finishedS"),
    HF_FIELDS_TEXT(R, fcv, "fcv", false),
    HF_FIELDS_TEXT(R, server_version, "serverVersion", false),
    HF_FIELDS_TEXT(R, engine, "engine", false),
    HF_FIELDS_TEXT(R, options, "options", false),
    HF_FIELDS_U64(R, bytes, "bytes"),
    HF_FIELDS_TEXT(R, config, "config", false),
    HF_FIELDS_TEXT(R, login, "login", false),
    HF_FIELDS_TEXT(R, login_print, "loginPrint", false),
    HF_FIELDS_TEXT(R, error_class, "errorClass", false),
    HF_FIELDS_TEXT(R, error, "error", false),
};
#undef R
#define R struct hf_target_member
static const struct hf_field member_fields[] = {
    HF_FIELDS_TEXT(R, host, "host", true),
    HF_FIELDS_ID(R, agent, "agentId", false),
    HF_FIELDS_ID(R, task, "taskId", false),
    HF_FIELDS_ID(R, attempt, "attempt", false),
    HF_FIELDS_WORD(R, state, "state", member_states),
    HF_FIELDS_BOOL(R, arbiter, "arbiter"),
    HF_FIELDS_U64(R, tries, "tries"),
    HF_FIELDS_U64(R, not_before_s, "notBeforeS"),
    HF_FIELDS_U64(R, began_s, "beganS"),
    HF_FIELDS_U64(R, files, "files"),
    HF_FIELDS_U64(R, bytes, "bytes"),
    HF_FIELDS_U64(R, written_bytes, "writtenBytes"),
    HF_FIELDS_U64(R, reused_bytes, "reusedBytes"),
    HF_FIELDS_U64(R, fetched_bytes, "fetchedBytes"),
    HF_FIELDS_TEXT(R, error_class, "errorClass", false),
    HF_FIELDS_TEXT(R, error, "error", false),
};
#undef R
#define R struct hf_target_obstacle
static const struct hf_field obstacle_fields[] = {
    HF_FIELDS_TEXT(R, kind, "kind", true),
    HF_FIELDS_TEXT(R, member, "member", false),
    HF_FIELDS_TEXT(R, text, "text", true),
};
#undef R

static const struct hf_fields record_table = {.record = "target",
                                              .fields = record_fields,
                                              .count = HF_ARRAY_LEN(record_fields),
                                              .size_bytes = sizeof(struct hf_target_record)};
static const struct hf_fields member_table = {.record = "target member",
                                              .fields = member_fields,
                                              .count = HF_ARRAY_LEN(member_fields),
                                              .size_bytes = sizeof(struct hf_target_member)};
static const struct hf_fields obstacle_table = {.record = "obstacle",
                                                .fields = obstacle_fields,
                                                .count = HF_ARRAY_LEN(obstacle_fields),
                                                .size_bytes = sizeof(struct hf_target_obstacle)};

static struct hf_json *member_encode(const struct hf_target_member *member)
{
    struct hf_json *json = hf_fields_encode(&member_table, member);
    struct hf_json *spent = hf_json_object();

    for (unsigned i = 0; i < HF_TARGET_PHASES; i++) {
        if (member->spent_s[i] != 0) {
            hf_json_set_u64(spent, phases[i], member->spent_s[i]);
        }
    }
    hf_json_set_take(json, "spentS", spent);
    return json;
}

struct hf_json *hf_target_record_encode(const struct hf_target_record *record)
{
    struct hf_json *json = hf_fields_encode(&record_table, record);
    struct hf_json *members = hf_json_array();
    struct hf_json *obstacles = hf_json_array();

    for (size_t i = 0; i < record->member_count; i++) {
        hf_json_append_take(members, member_encode(&record->members[i]));
    }
    for (size_t i = 0; i < record->obstacle_count; i++) {
        hf_json_append_take(obstacles, hf_fields_encode(&obstacle_table, &record->obstacles[i]));
    }
    hf_json_set_take(json, "members", members);
    hf_json_set_take(json, "obstacles", obstacles);
    /* The catalog's index knows text only. */
    hf_json_set_text(json, "state", record->active ? "ACTIVE" : "ENDED");
    return json;
}

static enum hf_err member_decode(const struct hf_json *json, struct hf_target_member *out,
                                 struct hf_error *err)
{
    if (hf_fields_decode(&member_table, json, out, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_json *spent = hf_json_get_object(json, "spentS");
    for (unsigned i = 0; i < HF_TARGET_PHASES; i++) {
        out->spent_s[i] = hf_json_get_u64(spent, phases[i], 0);
    }
    return HF_ERR_OK;
}

enum hf_err hf_target_record_decode(const struct hf_json *json, struct hf_target_record *out,
                                    struct hf_error *err)
{
    if (hf_fields_decode(&record_table, json, out, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_json *members = hf_json_get_array(json, "members");
    const struct hf_json *obstacles = hf_json_get_array(json, "obstacles");
    if (hf_json_count(members) > HF_TARGET_MEMBERS_MAX ||
        hf_json_count(obstacles) > HF_TARGET_OBSTACLES_MAX) {
        return hf_fail(err, HF_ERR_CORRUPT, "target record: too many members or obstacles");
    }
    for (size_t i = 0; i < hf_json_count(members); i++) {
        if (member_decode(hf_json_at(members, i), &out->members[out->member_count++], err) !=
            HF_ERR_OK) {
            return err->code;
        }
    }
    for (size_t i = 0; i < hf_json_count(obstacles); i++) {
        if (hf_fields_decode(&obstacle_table, hf_json_at(obstacles, i),
                             &out->obstacles[out->obstacle_count++], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}
