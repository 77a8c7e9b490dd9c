/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of these records, and what a name may be.
 */
#include "backup/people.h"

#include "backup/fields.h"

#define RECORD(word, type, table)                                                                  \
    static const struct hf_fields word##_record = {                                                \
        .record = #word,                                                                           \
        .fields = (table),                                                                         \
        .count = HF_ARRAY_LEN(table),                                                              \
        .size_bytes = sizeof(type),                                                                \
    };                                                                                             \
    struct hf_json *hf_##word##_record_encode(const type *record)                                  \
    {                                                                                              \
        return hf_fields_encode(&word##_record, record);                                           \
    }                                                                                              \
    enum hf_err hf_##word##_record_decode(const struct hf_json *json, type *out,                   \
                                          struct hf_error *err)                                    \
    {                                                                                              \
        return hf_fields_decode(&word##_record, json, out, err);                                   \
    }

#define R struct hf_org_record
static const struct hf_field org_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_TEXT(R, name, "name", true),
    HF_FIELDS_BOOL(R, lists_needed, "listsNeeded"),
    HF_FIELDS_U64(R, created_s, "createdS"),
};
#undef R
RECORD(org, struct hf_org_record, org_fields)

#define R struct hf_project_record
static const struct hf_field project_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),         HF_FIELDS_ID(R, org, "orgId", false),
    HF_FIELDS_TEXT(R, name, "name", true),   HF_FIELDS_BOOL(R, deleting, "deleting"),
    HF_FIELDS_U64(R, created_s, "createdS"),
};
#undef R
RECORD(project, struct hf_project_record, project_fields)

enum hf_err hf_people_check_name(const char *name, struct hf_error *err)
{
    size_t len = strlen(name);

    if (len == 0 || len >= HF_NAME_BYTES) {
        return hf_fail(err, HF_ERR_INVALID, "a name has 1 to %d bytes", HF_NAME_BYTES - 1);
    }
    if (name[0] == ' ' || name[len - 1] == ' ') {
        return hf_fail(err, HF_ERR_INVALID, "a name neither begins nor ends with a space");
    }
    for (const char *at = name; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            return hf_fail(err, HF_ERR_INVALID, "a name has no control characters");
        }
    }
    return HF_ERR_OK;
}
