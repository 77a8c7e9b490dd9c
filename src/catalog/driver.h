/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a catalog driver is: a table of functions over its own object. For drivers only; everyone
 * else uses catalog.h, which checks kinds, ids and sizes before a driver is called and wraps its
 * errors with call, kind and id.
 */
#ifndef HF_CATALOG_DRIVER_H
#define HF_CATALOG_DRIVER_H

#include "catalog/catalog.h"

struct hf_catalog_write {
    const struct hf_catalog_kind *kind;
    const char *id;
    uint64_t expected;          /* revision; of replace and remove */
    const struct hf_json *json; /* borrowed; of insert and replace */
    struct hf_bytes text;       /* the same as stored: one line, keys sorted */
    enum hf_catalog_durability durability;
};

struct hf_catalog_driver {
    const char *name;
    enum hf_err (*get)(struct hf_catalog *catalog, const struct hf_catalog_kind *kind,
                       const char *id, struct hf_catalog_document *out, struct hf_error *err);
    enum hf_err (*insert)(struct hf_catalog *catalog, const struct hf_catalog_write *write,
                          struct hf_error *err);
    enum hf_err (*replace)(struct hf_catalog *catalog, const struct hf_catalog_write *write,
                           struct hf_error *err);
    enum hf_err (*remove)(struct hf_catalog *catalog, const struct hf_catalog_write *write,
                          struct hf_error *err);
    /* limit is never 0. */
    enum hf_err (*find)(struct hf_catalog *catalog, const struct hf_catalog_kind *kind,
                        const struct hf_catalog_query *query, struct hf_catalog_list *out,
                        struct hf_error *err);
    enum hf_err (*count)(struct hf_catalog *catalog, const struct hf_catalog_kind *kind,
                         const struct hf_catalog_query *query, uint64_t *count,
                         struct hf_error *err);
    void (*close)(struct hf_catalog *catalog);
};

/* First member of every driver's object. */
struct hf_catalog {
    const struct hf_catalog_driver *driver; /* borrowed: static */
    const struct hf_catalog_kind *kinds;    /* borrowed: static */
    size_t kind_count;
};

/* INVALID for a table of kinds that no driver can serve: names, doubles, too many. */
HF_MUST_CHECK enum hf_err hf_catalog_check_kinds(const struct hf_catalog_options *options,
                                                 struct hf_error *err);

/* What a document has under one index field. */
enum hf_catalog_value_type {
    HF_CATALOG_VALUE_NONE,
    HF_CATALOG_VALUE_INTEGER,
    HF_CATALOG_VALUE_TEXT
};
struct hf_catalog_value {
    enum hf_catalog_value_type type;
    int64_t integer;
    const char *text; /* borrowed from the document */
};
struct hf_catalog_value hf_catalog_value_of(const struct hf_json *json, const char *field);
bool hf_catalog_value_equal(const struct hf_catalog_value *a, const struct hf_catalog_value *b);

/*
 * One more document, zeroed; NULL on no memory. The caller fills it; hf_catalog_list_fini frees it.
 */
struct hf_catalog_document *hf_catalog_list_add(struct hf_catalog_list *list, size_t *capacity);
/* Puts id, revision and decoded text into a document; CORRUPT when the text is no document. */
HF_MUST_CHECK enum hf_err hf_catalog_document_set(struct hf_catalog_document *document,
                                                  struct hf_str id, uint64_t revision,
                                                  struct hf_str text, struct hf_error *err);

#endif
