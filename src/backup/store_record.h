/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the catalog knows of a store, and of which stores and servers a project's new jobs may be given: plain values, their
 * JSON, what they may be. Knows no disk and no driver.
 */
#ifndef HF_BACKUP_STORE_RECORD_H
#define HF_BACKUP_STORE_RECORD_H

#include "backup/records.h"

#define HF_STORE_NAME_BYTES 64
#define HF_STORE_LABELS_MAX 16
#define HF_STORE_LABEL_BYTES 64
#define HF_STORE_LOAD_FACTOR_MAX 100

/* Those of --store and --oplog-store. */
#define HF_STORE_FIRST_NAME "default"
#define HF_STORE_FIRST_OPLOG_NAME "default-oplog"

/* Names or labels: as many as fit. */
struct hf_store_words {
    char items[HF_STORE_LABELS_MAX][HF_STORE_LABEL_BYTES];
    size_t count;
};

/* Its document has the name as id. */
struct hf_store_record {
    char name[HF_STORE_NAME_BYTES];
    struct hf_id
        id;     /* of its mark; that of --oplog-store has the id of the snapshot store beside it */
    bool oplog; /* it takes slices alone; else snapshots, and slices where there is no other */
    bool encrypted;
    bool closed;                             /* no new jobs */
    char url[HF_RECORD_PATH_BYTES];          /* "file:///backup" */
    char key_file[HF_STORE_NAME_BYTES + 16]; /* in the server's data directory; empty: none */
    struct hf_store_words labels;
    uint64_t load_factor;        /* 1 to HF_STORE_LOAD_FACTOR_MAX */
    uint64_t max_capacity_bytes; /* 0: as much as its disk has */
    uint64_t created_s;
};
HF_MUST_CHECK struct hf_json *hf_store_record_encode(const struct hf_store_record *record);
HF_MUST_CHECK enum hf_err hf_store_record_decode(const struct hf_json *json,
                                                 struct hf_store_record *out, struct hf_error *err);
/* INVALID, naming what: a name of other than letters, digits, '.', '_' and '-', a load factor out of its range. */
HF_MUST_CHECK enum hf_err hf_store_record_check(const struct hf_store_record *record,
                                                struct hf_error *err);

/* Of texts; what: "label", for messages. INVALID for what is no text, empty, too long, twice or too many. */
HF_MUST_CHECK enum hf_err hf_store_words_from_json(const struct hf_json *array, const char *what,
                                                   struct hf_store_words *out,
                                                   struct hf_error *err);
HF_MUST_CHECK struct hf_json *hf_store_words_to_json(const struct hf_store_words *words);
bool hf_store_words_have(const struct hf_store_words *words, const char *word);
/* As hf_assign_filter and hf_resource want them; out: room for HF_STORE_LABELS_MAX + 1. */
void hf_store_words_list(const struct hf_store_words *words, const char **out);

/* ---- What a project's new jobs may be given ---- */

#define HF_KIND_ASSIGNMENT "assignment" /* by project */

/* Of a project; an empty list: any. */
struct hf_assignment_record {
    struct hf_id project;
    struct hf_store_words labels;
    struct hf_store_words snapshot_stores, oplog_stores; /* names */
};
HF_MUST_CHECK struct hf_json *
hf_assignment_record_encode(const struct hf_assignment_record *record);
HF_MUST_CHECK enum hf_err hf_assignment_record_decode(const struct hf_json *json,
                                                      struct hf_assignment_record *out,
                                                      struct hf_error *err);

#endif
