/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server remembers: JSON documents by kind and id, each with a revision for
 * compare-and-set and a few declared index fields. Knows nothing of what a document means. Any
 * thread may call.
 */
#ifndef HF_CATALOG_CATALOG_H
#define HF_CATALOG_CATALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "codec/json.h"

#define HF_CATALOG_INDEX_MAX 4
#define HF_CATALOG_ID_MAX_BYTES 200
#define HF_CATALOG_DOCUMENT_MAX_BYTES ((size_t)16 << 20)

/* Declared once when the catalog is opened; index fields are top-level members of text or integer
 * type (integers order as numbers, text by bytes; a document without the member is not in that
 * index). */
struct hf_catalog_kind {
    const char *name;                          /* [a-z_]+ */
    const char *indexes[HF_CATALOG_INDEX_MAX]; /* NULL at the end, unless all four are used */
};

struct hf_catalog;

struct hf_catalog_options {
    const char *path;                    /* sqlite: the file; made when missing */
    const struct hf_catalog_kind *kinds; /* borrowed: static */
    size_t kind_count;
};

HF_MUST_CHECK enum hf_err hf_catalog_sqlite_open(const struct hf_catalog_options *options,
                                                 struct hf_catalog **out, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_catalog_mem_create(const struct hf_catalog_options *options,
                                                struct hf_catalog **out, struct hf_error *err);
void hf_catalog_close(struct hf_catalog *catalog);
HF_CLEANUP_DEFINE(hf_catalog_close, struct hf_catalog *)

struct hf_catalog_document {
    char id[HF_CATALOG_ID_MAX_BYTES + 1];
    uint64_t revision;    /* 1 for a new document, rising by one with each change */
    struct hf_json *json; /* owned */
};
void hf_catalog_document_fini(struct hf_catalog_document *document);
HF_CLEANUP_DEFINE_VALUE(hf_catalog_document_fini, struct hf_catalog_document)

enum hf_catalog_durability {
    HF_CATALOG_SYNCED,   /* durable before the call returns */
    HF_CATALOG_UNSYNCED, /* may be lost with the machine, never torn: progress and the like */
};

/* NOT_FOUND names kind and id. */
HF_MUST_CHECK enum hf_err hf_catalog_get(struct hf_catalog *catalog, const char *kind,
                                         const char *id, struct hf_catalog_document *out,
                                         struct hf_error *err);
/* EXISTS when the id is taken. */
HF_MUST_CHECK enum hf_err hf_catalog_insert(struct hf_catalog *catalog, const char *kind,
                                            const char *id, const struct hf_json *json,
                                            enum hf_catalog_durability durability,
                                            struct hf_error *err);
/* Compare-and-set: CONFLICT when the revision is no longer `expected`, NOT_FOUND when the document
 * is gone. */
HF_MUST_CHECK enum hf_err hf_catalog_replace(struct hf_catalog *catalog, const char *kind,
                                             const char *id, uint64_t expected,
                                             const struct hf_json *json,
                                             enum hf_catalog_durability durability,
                                             struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_catalog_remove(struct hf_catalog *catalog, const char *kind,
                                            const char *id, uint64_t expected,
                                            struct hf_error *err);

struct hf_catalog_query {
    const char *kind;
    const char *index;       /* NULL: by id */
    const char *equals_text; /* only documents whose index has this text */
    bool has_range;          /* integer index: minimum <= value <= maximum */
    int64_t minimum, maximum;
    bool descending;
    const char *
        after; /* only documents behind that id: to go on where a list ended, at the price of what comes. By id,
                          or with equals_text. NULL: from the start */
    size_t skip;  /* costs as much as what is skipped */
    size_t limit; /* 0: 1000 */
};
struct hf_catalog_list {
    struct hf_catalog_document *documents; /* owned */
    size_t count;
};
/* Ordered by the index, then by id. A consistent view of one moment. */
HF_MUST_CHECK enum hf_err hf_catalog_find(struct hf_catalog *catalog,
                                          const struct hf_catalog_query *query,
                                          struct hf_catalog_list *out, struct hf_error *err);
void hf_catalog_list_fini(struct hf_catalog_list *list);
HF_CLEANUP_DEFINE_VALUE(hf_catalog_list_fini, struct hf_catalog_list)
/* How many the query matches, without after, skip and limit. */
HF_MUST_CHECK enum hf_err hf_catalog_count(struct hf_catalog *catalog,
                                           const struct hf_catalog_query *query, uint64_t *count,
                                           struct hf_error *err);

#endif
