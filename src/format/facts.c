/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an agent found out about its source, as a value and as JSON (in finish messages and in manifests).
 */
#include "format/field.h"

void hf_facts_fini(struct hf_facts *facts)
{
    hf_json_drop(facts->engine_options);
    facts->engine_options = NULL;
}

enum hf_err hf_facts_copy(const struct hf_facts *facts, struct hf_facts *out, struct hf_error *err)
{
    struct hf_facts copy = *facts;
    if (facts->engine_options != NULL) {
        copy.engine_options = hf_json_copy(facts->engine_options);
        if (copy.engine_options == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "facts of a capture");
        }
    }
    *out = copy;
    return HF_ERR_OK;
}

struct hf_json *hf_facts_to_json(const struct hf_facts *facts)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    if (json == NULL) {
        return NULL;
    }
    hf_field_set_text(json, "set", facts->set_name);
    hf_field_set_text(json, "member", facts->member);
    hf_field_set_text(json, "fcv", facts->fcv);
    hf_field_set_text(json, "version", facts->server_version);
    hf_field_set_text(json, "modules", facts->server_modules);
    hf_field_set_text(json, "engine", facts->engine);
    hf_field_set_text(json, "agentRelease", facts->agent_release);
    hf_field_set_text(json, "backupId", facts->backup_id);
    hf_field_set_text(json, "backupName", facts->backup_name);
    hf_field_set_optime(json, "checkpoint", &facts->checkpoint);
    hf_field_set_optime(json, "oplogStart", &facts->oplog_start);
    hf_field_set_optime(json, "oplogEnd", &facts->oplog_end);
    hf_field_set_optime(json, "committed", &facts->committed);
    hf_json_set_u64(json, "startedS", facts->started_s);
    hf_json_set_u64(json, "finishedS", facts->finished_s);
    if (facts->engine_options != NULL) {
        struct hf_json *options = hf_json_copy(facts->engine_options);
        if (options == NULL) {
            return NULL;
        }
        hf_json_set_take(json, "engineOptions", options);
    }
    return HF_TAKE(json);
}

enum hf_err hf_facts_from_json(const struct hf_json *json, struct hf_facts *out,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_facts_fini) struct hf_facts facts = {.engine_options = NULL};
    const struct {
        const char *key;
        char *to;
        size_t capacity;
    } texts[] = {
        {"set", facts.set_name, sizeof facts.set_name},
        {"member", facts.member, sizeof facts.member},
        {"fcv", facts.fcv, sizeof facts.fcv},
        {"version", facts.server_version, sizeof facts.server_version},
        {"modules", facts.server_modules, sizeof facts.server_modules},
        {"engine", facts.engine, sizeof facts.engine},
        {"agentRelease", facts.agent_release, sizeof facts.agent_release},
        {"backupId", facts.backup_id, sizeof facts.backup_id},
        {"backupName", facts.backup_name, sizeof facts.backup_name},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(texts); i++) {
        if (hf_field_text(json, texts[i].key, texts[i].to, texts[i].capacity, err) != HF_ERR_OK) {
            return hf_wrap(err, "facts");
        }
    }
    if (hf_field_optime(json, "checkpoint", &facts.checkpoint, err) != HF_ERR_OK ||
        hf_field_optime(json, "oplogStart", &facts.oplog_start, err) != HF_ERR_OK ||
        hf_field_optime(json, "oplogEnd", &facts.oplog_end, err) != HF_ERR_OK ||
        hf_field_optime(json, "committed", &facts.committed, err) != HF_ERR_OK ||
        hf_field_u64(json, "startedS", INT64_MAX, &facts.started_s, err) != HF_ERR_OK ||
        hf_field_u64(json, "finishedS", INT64_MAX, &facts.finished_s, err) != HF_ERR_OK) {
        return hf_wrap(err, "facts");
    }
    const struct hf_json *options = hf_json_get(json, "engineOptions");
    if (options != NULL) {
        if (hf_json_type(options) != HF_JSON_OBJECT) {
            return hf_fail(err, HF_ERR_INVALID, "facts: engineOptions: not an object");
        }
        facts.engine_options = hf_json_copy(options);
        if (facts.engine_options == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "facts");
        }
    }
    *out = facts;
    facts.engine_options = NULL;
    return HF_ERR_OK;
}
