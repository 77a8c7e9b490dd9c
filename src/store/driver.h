/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store driver is: a table of functions over its own object. For drivers and wrappers only;
 * everyone else uses store.h, which checks names and arguments before a driver is called and wraps
 * its errors with name and URL.
 */
#ifndef HF_STORE_DRIVER_H
#define HF_STORE_DRIVER_H

#include "store/store.h"

struct hf_store_driver {
    const char *kind;
    enum hf_err (*put)(struct hf_store *store, struct hf_str name, struct hf_bytes content,
                       const struct hf_store_put_options *options, struct hf_error *err);
    enum hf_err (*get)(struct hf_store *store, struct hf_str name, size_t max, struct hf_buf *out,
                       struct hf_error *err);
    enum hf_err (*get_range)(struct hf_store *store, struct hf_str name, uint64_t offset,
                             uint8_t *out, size_t len, struct hf_error *err);
    enum hf_err (*get_tail)(struct hf_store *store, struct hf_str name, size_t len,
                            struct hf_buf *out, uint64_t *size_bytes, struct hf_error *err);
    enum hf_err (*size)(struct hf_store *store, struct hf_str name, uint64_t *size_bytes,
                        struct hf_error *err);
    enum hf_err (*list)(struct hf_store *store, struct hf_str prefix, struct hf_str after,
                        size_t max_entries, struct hf_store_list *out, struct hf_error *err);
    enum hf_err (*remove)(struct hf_store *store, struct hf_str name, struct hf_error *err);
    /* NULL: the store has no clock that can be asked. */
    enum hf_err (*clock)(struct hf_store *store, uint64_t *now_s, struct hf_error *err);
    void (*close)(struct hf_store *store);
};

/* First member of every driver's object. */
struct hf_store {
    const struct hf_store_driver *driver; /* borrowed: static */
    struct hf_store_abilities abilities;
    char *url; /* owned by the driver */
};

/*
 * What a driver puts a listing together with. The driver gives names in ascending byte order; names
 * that the call did not ask for are passed over, and the one that no longer fits sets `more`.
 */
struct hf_store_lister {
    struct hf_str prefix, after; /* borrowed for the call */
    size_t max_entries;          /* never 0 */
    size_t capacity;
    struct hf_store_list *list; /* borrowed; empty at the start */
};
/* True when the call asks for this name. */
bool hf_store_lister_wants(const struct hf_store_lister *lister, struct hf_str name);
/* True when names below a directory ("j/01/", with its '/') can be asked for. */
bool hf_store_lister_wants_below(const struct hf_store_lister *lister, struct hf_str dir);
/* Copies the name. Nothing more need be given once lister->list->more is true. */
HF_MUST_CHECK enum hf_err hf_store_lister_add(struct hf_store_lister *lister, struct hf_str name,
                                              uint64_t size_bytes, struct hf_error *err);

#endif
