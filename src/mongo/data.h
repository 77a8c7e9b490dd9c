/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data in a server: databases, collections, their hashes and counts; and a fast way to load
 * documents. For looking at restored copies, for tests and the demo; a backup itself never uses it.
 */
#ifndef HF_MONGO_DATA_H
#define HF_MONGO_DATA_H

#include "base/progress.h"
#include "base/thread.h"
#include "mongo/client.h"

struct hf_mongo_collection {
    char *name;    /* owned */
    char *type;    /* owned; "collection" or "view" */
    char *options; /* owned; canonical extended JSON object */
    char
        *md5; /* owned; of dbHash; "" for what dbHash leaves out (views, some system collections) */
    bool capped;
    uint64_t
        count; /* counted, not the fast count, which is wrong after recovery; 0 unless asked for */
};

struct hf_mongo_database {
    char *name;                              /* owned */
    char *md5;                               /* owned; of dbHash, over all collections */
    struct hf_mongo_collection *collections; /* owned; sorted by name */
    size_t collection_count;
};

struct hf_mongo_data {
    struct hf_mongo_database *databases; /* owned; sorted by name */
    size_t database_count;
};

struct hf_mongo_data_options {
    const char *database; /* only this one; NULL: all but local */
    bool with_local;      /* local too */
    bool no_hash;         /* leave md5 empty */
    bool count;           /* count each collection's documents */
    const struct hf_cancel *cancel;
};

HF_MUST_CHECK enum hf_err hf_mongo_data_read(struct hf_mongo_client *client,
                                             const struct hf_mongo_data_options *options,
                                             struct hf_mongo_data *out, struct hf_error *err);
void hf_mongo_data_fini(struct hf_mongo_data *data);
HF_CLEANUP_DEFINE_VALUE(hf_mongo_data_fini, struct hf_mongo_data)
/* NULL when missing. */
const struct hf_mongo_collection *hf_mongo_data_collection(const struct hf_mongo_data *data,
                                                           const char *database,
                                                           const char *collection);

/* ---- Loading ---- */

/* A document being built; borrowed from the loader for one call of the generator. Values are
 * appended in order. */
struct hf_mongo_doc;
/* Text is UTF-8; what is not is replaced by "?" byte by byte. */
void hf_mongo_doc_text(struct hf_mongo_doc *doc, const char *name, struct hf_str value);
void hf_mongo_doc_int32(struct hf_mongo_doc *doc, const char *name, int32_t value);
void hf_mongo_doc_int64(struct hf_mongo_doc *doc, const char *name, int64_t value);
void hf_mongo_doc_double(struct hf_mongo_doc *doc, const char *name, double value);
void hf_mongo_doc_bool(struct hf_mongo_doc *doc, const char *name, bool value);
void hf_mongo_doc_null(struct hf_mongo_doc *doc, const char *name);
void hf_mongo_doc_date(struct hf_mongo_doc *doc, const char *name, int64_t ms_since_1970);
void hf_mongo_doc_binary(struct hf_mongo_doc *doc, const char *name, struct hf_bytes value);
/* Twelve bytes. */
void hf_mongo_doc_object_id(struct hf_mongo_doc *doc, const char *name, const uint8_t value[12]);
/* Everything until end goes inside; in an array names are ignored. At most 16 deep. */
void hf_mongo_doc_begin_object(struct hf_mongo_doc *doc, const char *name);
void hf_mongo_doc_begin_array(struct hf_mongo_doc *doc, const char *name);
void hf_mongo_doc_end(struct hf_mongo_doc *doc);
/* All members of an extended JSON object. */
HF_MUST_CHECK enum hf_err hf_mongo_doc_json(struct hf_mongo_doc *doc, const char *json,
                                            struct hf_error *err);

/* Builds the next document (without _id the server makes one). *done true: there is none, what was
 * built is ignored. */
typedef enum hf_err (*hf_mongo_generate)(void *argument, uint64_t index, struct hf_mongo_doc *doc,
                                         bool *done, struct hf_error *err);

struct hf_mongo_insert_options {
    const char *database, *collection;
    uint32_t batch_bytes;      /* default 8 MiB, most 14 MiB */
    uint32_t batch_documents;  /* default 10,000, most 100,000 */
    const char *write_concern; /* JSON, e.g. {"w": 1}; NULL: the server's default */
    const struct hf_cancel *cancel;
    struct hf_progress *progress; /* bytes_done grows by the BSON that was sent; may be NULL */
};

struct hf_mongo_insert_result {
    uint64_t documents, bytes;
    struct hf_mongo_optime last; /* opTime of the last batch's reply; ts null on a standalone */
};

HF_MUST_CHECK enum hf_err hf_mongo_insert_generated(struct hf_mongo_client *client,
                                                    const struct hf_mongo_insert_options *options,
                                                    hf_mongo_generate generate, void *argument,
                                                    struct hf_mongo_insert_result *out,
                                                    struct hf_error *err);

/*
 * One write command (insert, update, delete, findAndModify) as extended JSON; *optime is the
 * reply's opTime, or its operationTime with term -1 where a reply has no opTime. reply may be NULL.
 */
HF_MUST_CHECK enum hf_err hf_mongo_write(struct hf_mongo_client *client, const char *database,
                                         const char *command, struct hf_mongo_optime *optime,
                                         struct hf_buf *reply, struct hf_error *err);

#endif
