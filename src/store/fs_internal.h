/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver "fs", shared by its two files: fs.c (open, put, get, delete) and fs_list.c (listing,
 * sweeping).
 */
#ifndef HF_STORE_FS_INTERNAL_H
#define HF_STORE_FS_INTERNAL_H

#include "base/thread.h"
#include "store/driver.h"

struct hf_store_fs {
    struct hf_store base;
    char *root; /* owned; absolute, without symbolic links */
    uint64_t reserve_bytes;
    bool read_only;
    struct hf_mutex mutex; /* guards: all below */
    char **known; /* owned: directories ("j/01") whose way from the root is durable; ascending */
    size_t known_count;
    uint64_t in_flight_bytes; /* of puts under way, which the free space may not show yet */
};

enum hf_err hf_store_fs_list(struct hf_store *store, struct hf_str prefix, struct hf_str after,
                             size_t max_entries, struct hf_store_list *out, struct hf_error *err);
/*
 * Removes what crashed puts left. In a large store only a part is looked at (opening must not take
 * minutes); the rest is swept directory by directory, as each is first written to. A put of another
 * process whose temporary file is swept away puts again.
 */
enum hf_err hf_store_fs_sweep(const struct hf_store_fs *fs, struct hf_error *err);
/* True when an object stands where a directory of name would be, so that nothing lies there. */
bool hf_store_fs_object_above(const struct hf_store_fs *fs, struct hf_str name);

#endif
