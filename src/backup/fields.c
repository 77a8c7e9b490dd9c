/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both directions between a record and its JSON document, driven by the record's table.
 */
#include "backup/fields.h"

#include "base/bytes.h"
#include "format/ids.h"

static struct hf_json *optime_encode(const struct hf_optime *optime)
{
    struct hf_json *json = hf_json_object();

    hf_json_set_u64(json, "seconds", optime->seconds);
    hf_json_set_u64(json, "increment", optime->increment);
    hf_json_set_integer(json, "term", optime->term);
    return json;
}

static void field_encode(const struct hf_field *field, const unsigned char *at,
                         struct hf_json *json)
{
    switch (field->type) {
    case HF_FIELD_TEXT:
        if (at[0] != '\0' || field->needed) {
            /* What fitted still fits when it is read back: a record that cannot be decoded would take every list
             * that it stands in with it. */
            hf_json_set_text_same_length(json, field->name, (const char *)at);
        }
        break;
    case HF_FIELD_ID: {
        const struct hf_id *id = (const void *)at;
        if (!hf_id_is_none(id) || field->needed) {
            hf_json_set_text(json, field->name, hf_id_text(id).text);
        }
        break;
    }
    case HF_FIELD_U64:
        hf_json_set_u64(json, field->name, *(const uint64_t *)(const void *)at);
        break;
    case HF_FIELD_BOOL:
        hf_json_set_bool(json, field->name, *(const bool *)at);
        break;
    case HF_FIELD_WORD:
        hf_json_set_text(json, field->name, field->words[*(const unsigned *)(const void *)at]);
        break;
    case HF_FIELD_OPTIME: {
        const struct hf_optime *optime = (const void *)at;
        if (!hf_optime_is_none(optime)) {
            hf_json_set_take(json, field->name, optime_encode(optime));
        }
        break;
    }
    }
}

struct hf_json *hf_fields_encode(const struct hf_fields *fields, const void *record)
{
    struct hf_json *json = hf_json_object();

    for (size_t i = 0; json != NULL && i < fields->count; i++) {
        field_encode(&fields->fields[i], (const unsigned char *)record + fields->fields[i].offset,
                     json);
    }
    return json;
}

static bool optime_decode(const struct hf_json *json, struct hf_optime *out)
{
    struct hf_error ignored;
    uint64_t seconds = 0, increment = 0;

    if (hf_json_need_u64(json, "seconds", 0, UINT32_MAX, &seconds, &ignored) != HF_ERR_OK ||
        hf_json_need_u64(json, "increment", 0, UINT32_MAX, &increment, &ignored) != HF_ERR_OK) {
        return false;
    }
    *out = (struct hf_optime){.seconds = (uint32_t)seconds,
                              .increment = (uint32_t)increment,
                              .term = hf_json_get_integer(json, "term", -1)};
    return true;
}

static bool word_decode(const struct hf_field *field, const char *text, unsigned *out)
{
    for (unsigned i = 0; text != NULL && field->words[i] != NULL; i++) {
        if (strcmp(field->words[i], text) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

/* value is there and not null. */
static bool field_decode(const struct hf_field *field, const struct hf_json *value,
                         unsigned char *at)
{
    const char *text = hf_json_text(value);

    switch (field->type) {
    case HF_FIELD_TEXT:
        if (text == NULL || strlen(text) >= field->size) {
            return false;
        }
        memcpy(at, text, strlen(text) + 1);
        return true;
    case HF_FIELD_ID:
        return text != NULL && hf_id_parse(hf_str_of(text), (struct hf_id *)(void *)at);
    case HF_FIELD_U64: {
        int64_t number = hf_json_integer(value, -1);
        *(uint64_t *)(void *)at = (uint64_t)number;
        return number >= 0;
    }
    case HF_FIELD_BOOL:
        if (hf_json_type(value) != HF_JSON_BOOL) {
            return false;
        }
        return true;
    case HF_FIELD_WORD:
        return word_decode(field, text, (unsigned *)(void *)at);
    case HF_FIELD_OPTIME:
        return optime_decode(value, (struct hf_optime *)(void *)at);
    }
    return false;
}

enum hf_err hf_fields_decode(const struct hf_fields *fields, const struct hf_json *json,
                             void *record, struct hf_error *err)
{
    memset(record, 0, fields->size_bytes);
    for (size_t i = 0; i < fields->count; i++) {
        const struct hf_field *field = &fields->fields[i];
        const struct hf_json *value = hf_json_get(json, field->name);
        unsigned char *at = (unsigned char *)record + field->offset;

        if (value == NULL) {
            if (field->needed) {
                return hf_fail(err, HF_ERR_CORRUPT, "%s record: '%s' is missing", fields->record,
                               field->name);
            }
            continue;
        }
        if (!field_decode(field, value, at)) {
            return hf_fail(err, HF_ERR_CORRUPT, "%s record: '%s' has a value that does not fit",
                           fields->record, field->name);
        }
        if (field->type == HF_FIELD_BOOL) {
            *(bool *)at = hf_json_get_bool(json, field->name, false);
        }
    }
    return HF_ERR_OK;
}
