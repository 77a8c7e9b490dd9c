/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store driver is: a table of functions over its own object. For drivers and wrappers only; everyone else uses
 * store.h, which checks names and arguments before a driver is called and wraps its errors with name and URL.
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
    enum hf_err (*get_range)(struct hf_store *store, struct hf_str name, uint64_t offset, uint8_t *out, size_t len,
                             struct hf_error *err);
    enum hf_err (*get_tail)(struct hf_store *store, struct hf_str name, size_t len, struct hf_buf *out,
                            uint64_t *size_bytes, struct hf_error *err);
    enum hf_err (*size)(struct hf_store *store, struct hf_str name, uint64_t *size_bytes, struct hf_error *err);
    enum hf_err (*list)(struct hf_store *store, struct hf_str prefix, struct hf_str after, size_t max_entries,
                        struct hf_store_list *out, struct hf_error *err);
    enum hf_err (*remove)(struct hf_store *store, struct hf_str name, struct hf_error *err);
    void (*close)(struct hf_store *store);
};

/* First member of every driver's object. */
struct hf_store {
    const struct hf_store_driver *driver; /* borrowed: static */
    struct hf_store_abilities abilities;
    char *url; /* owned by the driver */
};

#endif
