/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Object store: immutable objects, each found by its name (store-format.md section 1).
 *
 * The rooms above see only this header. They must not know which driver answers; a driver must not
 * know what a block or a manifest is, or who asks. Any thread may call any function of an open
 * store.
 */
#ifndef HF_STORE_STORE_H
#define HF_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/error.h"

/* store-format.md section 1: an object is at most 64 MiB. */
#define HF_STORE_OBJECT_MAX_BYTES ((size_t)64 << 20)
/*
 * Names: components of [A-Za-z0-9._-] (none empty, none beginning with '.', at most 255 bytes),
 * joined by '/'. No name is another's directory: with an object `a`, a put of `a/b` is EXISTS, and
 * so is `a` with an object `a/b`.
 */
#define HF_STORE_NAME_MAX_BYTES 512
#define HF_STORE_COMPONENT_MAX_BYTES 255

struct hf_store;

/* Probed when the store was opened, never believed: all false where nothing may be written. */
struct hf_store_abilities {
    bool put_if_absent;
    bool consistent_list;
    bool signed_requests;
    bool retention_lock;
    bool server_copy;
};

struct hf_store_fs_options {
    const char *root;       /* borrowed for the call */
    uint64_t reserve_bytes; /* kept free for grooming; 0 means two objects */
    bool create;            /* make the directory when it is missing; else NOT_FOUND */
    bool read_only;         /* puts and deletes are DENIED; nothing is written while opening */
};

/* Opens or creates the store at options->root. *out is set on success only; the caller owns it. */
HF_MUST_CHECK enum hf_err hf_store_fs_open(const struct hf_store_fs_options *options,
                                           struct hf_store **out, struct hf_error *err);
/* Objects in memory: for tests, and for what lives no longer than the process. */
HF_MUST_CHECK enum hf_err hf_store_mem_create(struct hf_store **out, struct hf_error *err);

struct hf_store_url_options {
    const char *url; /* file:///absolute/path; other kinds are refused by name (UNSUPPORTED) */
    bool create;
    bool read_only;
    uint64_t reserve_bytes;
};
HF_MUST_CHECK enum hf_err hf_store_open_url(const struct hf_store_url_options *options,
                                            struct hf_store **out, struct hf_error *err);

void hf_store_close(struct hf_store *store);
HF_CLEANUP_DEFINE(hf_store_close, struct hf_store *)

/* "file:///backup": for messages. */
const char *hf_store_url(const struct hf_store *store);
struct hf_store_abilities hf_store_abilities(const struct hf_store *store);

/*
 * Makes the object durable before returning. A name that is taken: with the same bytes success,
 * else HF_ERR_EXISTS and nothing changed (keeps I1). HF_ERR_NO_SPACE leaves the store as it was;
 * `use_reserve` lets grooming and manifests use what is kept free.
 */
struct hf_store_put_options {
    bool use_reserve;
};
/* options may be NULL. LIMIT for more than HF_STORE_OBJECT_MAX_BYTES; an empty object is one. */
HF_MUST_CHECK enum hf_err hf_store_put(struct hf_store *store, struct hf_str name,
                                       struct hf_bytes content,
                                       const struct hf_store_put_options *options,
                                       struct hf_error *err);

/* The whole object; LIMIT when larger than max. The buffer is cleared first. */
HF_MUST_CHECK enum hf_err hf_store_get(struct hf_store *store, struct hf_str name, size_t max,
                                       struct hf_buf *out, struct hf_error *err);
/* Exactly len bytes at offset; CORRUPT when the object ends before. */
HF_MUST_CHECK enum hf_err hf_store_get_range(struct hf_store *store, struct hf_str name,
                                             uint64_t offset, uint8_t *out, size_t len,
                                             struct hf_error *err);
/* The last len bytes (all of a shorter object); *size_bytes gets the object's size. */
HF_MUST_CHECK enum hf_err hf_store_get_tail(struct hf_store *store, struct hf_str name, size_t len,
                                            struct hf_buf *out, uint64_t *size_bytes,
                                            struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_store_size(struct hf_store *store, struct hf_str name,
                                        uint64_t *size_bytes, struct hf_error *err);
/* Durable on return. NOT_FOUND when it was not there. */
HF_MUST_CHECK enum hf_err hf_store_delete(struct hf_store *store, struct hf_str name,
                                          struct hf_error *err);

/* What the store itself takes for the time, for whoever wants to know whether clocks agree. UNSUPPORTED where it has none. */
HF_MUST_CHECK enum hf_err hf_store_clock(struct hf_store *store, uint64_t *now_s,
                                         struct hf_error *err);

struct hf_store_entry {
    char *name; /* owned by the list */
    uint64_t size_bytes;
};
struct hf_store_list {
    struct hf_store_entry *entries; /* owned */
    size_t count;
    bool more; /* ask again after the last name */
};
/*
 * Names that begin with prefix and are greater than `after` (empty: from the start), in ascending
 * byte order, at most max_entries of them (0: 1000). The list is made anew; free with
 * hf_store_list_fini. prefix and after are each empty or the beginning of a name (INVALID
 * otherwise). A driver may read a whole directory for each call: ask for many at once.
 */
HF_MUST_CHECK enum hf_err hf_store_list(struct hf_store *store, struct hf_str prefix,
                                        struct hf_str after, size_t max_entries,
                                        struct hf_store_list *out, struct hf_error *err);
void hf_store_list_fini(struct hf_store_list *list);
HF_CLEANUP_DEFINE_VALUE(hf_store_list_fini, struct hf_store_list)

/* INVALID, naming it, for a name that no driver may see. Every call above checks this first. */
HF_MUST_CHECK enum hf_err hf_store_name_check(struct hf_str name, struct hf_error *err);

#endif
