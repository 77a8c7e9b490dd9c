/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What backups belong to: projects, and the organizations that own them. The API calls a project a group.
 */
#ifndef HF_BACKUP_PEOPLE_H
#define HF_BACKUP_PEOPLE_H

#include "backup/records.h"

#define HF_KIND_ORG "org"

struct hf_org_record {
    struct hf_id id;
    char name[HF_NAME_BYTES];
    bool lists_needed; /* a key without a list of addresses is of no use there */
    uint64_t created_s;
};

struct hf_project_record {
    struct hf_id id;
    struct hf_id org; /* none: a document of before there were any */
    char name[HF_NAME_BYTES];
    bool deleting; /* nothing new is begun; its documents go */
    uint64_t created_s;
};

HF_MUST_CHECK struct hf_json *hf_org_record_encode(const struct hf_org_record *record);
HF_MUST_CHECK enum hf_err hf_org_record_decode(const struct hf_json *json,
                                               struct hf_org_record *out, struct hf_error *err);
HF_MUST_CHECK struct hf_json *hf_project_record_encode(const struct hf_project_record *record);
HF_MUST_CHECK enum hf_err hf_project_record_decode(const struct hf_json *json,
                                                   struct hf_project_record *out,
                                                   struct hf_error *err);

/* INVALID, saying what is wrong, for what no organization or project can be called: 1 to 255 bytes of UTF-8 without
 * control characters, and no space at either end. */
HF_MUST_CHECK enum hf_err hf_people_check_name(const char *name, struct hf_error *err);

#endif
