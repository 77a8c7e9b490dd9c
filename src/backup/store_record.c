/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both directions between the records of stores and their JSON documents.
 */
#include "backup/store_record.h"

#include <stdio.h>
#include <string.h>

#include "backup/fields.h"

/* ---- Lists of words ---- */

bool hf_store_words_have(const struct hf_store_words *words, const char *word)
{
    for (size_t i = 0; i < words->count; i++) {
        if (strcmp(words->items[i], word) == 0) {
            return true;
        }
    }
    return false;
}

void hf_store_words_list(const struct hf_store_words *words, const char **out)
{
    for (size_t i = 0; i < words->count; i++) {
        out[i] = words->items[i];
    }
    out[words->count] = NULL;
}

struct hf_json *hf_store_words_to_json(const struct hf_store_words *words)
{
    struct hf_json *array = hf_json_array();

    for (size_t i = 0; i < words->count; i++) {
        hf_json_append_text(array, words->items[i]);
    }
    return array;
}

enum hf_err hf_store_words_from_json(const struct hf_json *array, const char *what,
                                     struct hf_store_words *out, struct hf_error *err)
{
    *out = (struct hf_store_words){.count = 0};
    if (hf_json_count(array) > HF_STORE_LABELS_MAX) {
        return hf_fail(err, HF_ERR_INVALID, "%s: more than %d", what, HF_STORE_LABELS_MAX);
    }
    for (size_t i = 0; i < hf_json_count(array); i++) {
        const char *word = hf_json_text(hf_json_at(array, i));
        if (word == NULL || word[0] == '\0' || strlen(word) >= HF_STORE_LABEL_BYTES) {
            return hf_fail(err, HF_ERR_INVALID, "%s: each is a text of 1 to %d bytes", what,
                           HF_STORE_LABEL_BYTES - 1);
        }
        if (hf_store_words_have(out, word)) {
            return hf_fail(err, HF_ERR_INVALID, "%s: %s stands there twice", what, word);
        }
        (void)snprintf(out->items[out->count++], HF_STORE_LABEL_BYTES, "%s", word);
    }
    return HF_ERR_OK;
}

static enum hf_err words_member(const struct hf_json *json, const char *name,
                                struct hf_store_words *out, struct hf_error *err)
{
    const struct hf_json *array = hf_json_get_array(json, name);

    if (array == NULL) {
        *out = (struct hf_store_words){.count = 0};
        return HF_ERR_OK;
    }
    enum hf_err code = hf_store_words_from_json(array, name, out, err);
    if (code != HF_ERR_OK) {
        err->code = code = HF_ERR_CORRUPT;
    }
    return code;
}

/* ---- A store ---- */

#define R struct hf_store_record
static const struct hf_field store_fields[] = {
    HF_FIELDS_TEXT(R, name, "name", true),
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_BOOL(R, oplog, "oplog"),
    HF_FIELDS_BOOL(R, encrypted, "encrypted"),
    HF_FIELDS_BOOL(R, closed, "closed"),
    HF_FIELDS_TEXT(R, url, "url", true),
    HF_FIELDS_TEXT(R, key_file, "keyFile", false),
    HF_FIELDS_U64(R, load_factor, "loadFactor"),
    HF_FIELDS_U64(R, max_capacity_bytes, "maxCapacityBytes"),
    HF_FIELDS_U64(R, created_s, "createdS"),
};
#undef R
static const struct hf_fields store_record = {.record = "store",
                                              .fields = store_fields,
                                              .count = HF_ARRAY_LEN(store_fields),
                                              .size_bytes = sizeof(struct hf_store_record)};

struct hf_json *hf_store_record_encode(const struct hf_store_record *record)
{
    struct hf_json *json = hf_fields_encode(&store_record, record);

    hf_json_set_take(json, "labels", hf_store_words_to_json(&record->labels));
    return json;
}

enum hf_err hf_store_record_decode(const struct hf_json *json, struct hf_store_record *out,
                                   struct hf_error *err)
{
    if (hf_fields_decode(&store_record, json, out, err) != HF_ERR_OK) {
        return err->code;
    }
    return words_member(json, "labels", &out->labels, err) == HF_ERR_OK
               ? HF_ERR_OK
               : hf_wrap(err, "store %s", out->name);
}

static bool is_plain_name(const char *name)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    return name[0] != '\0' && name[0] != '.' && name[0] != '-' &&
           strspn(name, plain) == strlen(name);
}

enum hf_err hf_store_record_check(const struct hf_store_record *record, struct hf_error *err)
{
    if (!is_plain_name(record->name)) {
        return hf_fail(err, HF_ERR_INVALID,
                       "a store's name has 1 to %d letters, digits, '.', '_' and '-', and begins "
                       "with none of the last three",
                       HF_STORE_NAME_BYTES - 1);
    }
    if (record->load_factor < 1 || record->load_factor > HF_STORE_LOAD_FACTOR_MAX) {
        return hf_fail(err, HF_ERR_INVALID, "a store's load factor is 1 to %d",
                       HF_STORE_LOAD_FACTOR_MAX);
    }
    return HF_ERR_OK;
}

/* ---- Of a project ---- */

struct hf_json *hf_assignment_record_encode(const struct hf_assignment_record *record)
{
    struct hf_json *json = hf_json_object();

    hf_json_set_text(json, "projectId", hf_id_text(&record->project).text);
    hf_json_set_take(json, "labels", hf_store_words_to_json(&record->labels));
    hf_json_set_take(json, "snapshotStores", hf_store_words_to_json(&record->snapshot_stores));
    hf_json_set_take(json, "oplogStores", hf_store_words_to_json(&record->oplog_stores));
    return json;
}

enum hf_err hf_assignment_record_decode(const struct hf_json *json,
                                        struct hf_assignment_record *out, struct hf_error *err)
{
    const char *project = hf_json_get_text(json, "projectId");

    *out = (struct hf_assignment_record){.labels = {.count = 0}};
    if (project == NULL || !hf_id_parse(hf_str_of(project), &out->project)) {
        return hf_fail(err, HF_ERR_CORRUPT, "assignment: projectId is no id");
    }
    if (words_member(json, "labels", &out->labels, err) != HF_ERR_OK ||
        words_member(json, "snapshotStores", &out->snapshot_stores, err) != HF_ERR_OK ||
        words_member(json, "oplogStores", &out->oplog_stores, err) != HF_ERR_OK) {
        return hf_wrap(err, "assignment of project %s", project);
    }
    return HF_ERR_OK;
}
