/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading stretches of a job's objects. Objects with nodes and lists are fetched whole once and kept in a directory: a
 * capture looks at many small pieces of them. What lies there is believed no more than a store. Any thread may call.
 */
#ifndef HF_SNAPSHOT_OBJECT_CACHE_H
#define HF_SNAPSHOT_OBJECT_CACHE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "format/ids.h"
#include "store/store.h"

struct hf_object_cache;

struct hf_object_cache_options {
    struct hf_store *store; /* borrowed: outlives the cache */
    const char *dir;        /* NULL: nothing is kept */
    uint64_t max_bytes;     /* 0: 1 GiB */
};
HF_MUST_CHECK enum hf_err hf_object_cache_create(const struct hf_object_cache_options *options,
                                                 struct hf_object_cache **out,
                                                 struct hf_error *err);
void hf_object_cache_destroy(struct hf_object_cache *cache);
HF_CLEANUP_DEFINE(hf_object_cache_destroy, struct hf_object_cache *)

HF_MUST_CHECK enum hf_err hf_object_cache_range(struct hf_object_cache *cache,
                                                const struct hf_object_name *object,
                                                uint64_t offset, uint8_t *out, size_t len,
                                                struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_object_cache_tail(struct hf_object_cache *cache,
                                               const struct hf_object_name *object, size_t len,
                                               struct hf_buf *out, uint64_t *size_bytes,
                                               struct hf_error *err);
/* Forgets the kept copy, when what was read from it proved wrong. */
void hf_object_cache_forget(struct hf_object_cache *cache, const struct hf_object_name *object);

#endif
