/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room that deal with the file system share: parents, and the inside of an
 * open file.
 */
#ifndef HF_OS_FS_INTERNAL_H
#define HF_OS_FS_INTERNAL_H

#include <stdatomic.h>
#include <sys/stat.h>

#include "base/thread.h"
#include "os/fs.h"

void hf_fs_info_of(const struct stat *from, struct hf_file_info *out);
/* "a/b" for "a/b/c", "." for "c", "/" for "/". NULL on no memory. Free with hf_free. */
HF_MUST_CHECK char *hf_fs_parent_of(const char *path);
HF_MUST_CHECK enum hf_err hf_fs_sync_parent(const char *path, struct hf_error *err);

/* A stretch of a file that is being read beside its owner; file_uncached.c. */
struct hf_file_window;

struct hf_file {
    int fd;
    enum hf_open_mode how;
    char *path; /* owned; for messages */
    atomic_bool
        sync_failed;       /* once lost, written data stays lost: no later sync may say otherwise */
    atomic_bool uncached;  /* readahead is off since the first uncached read */
    atomic_int direct_fd;  /* owned: the same file past the page cache; see file_direct.c */
    struct hf_mutex mutex; /* guards: windows, window_count, tick; the opening of direct_fd */
    struct hf_file_window *windows; /* owned list */
    size_t window_count;
    uint64_t tick;
};

/* In direct_fd: nobody asked for it yet; the file system, or the system, has none. */
#define HF_FILE_DIRECT_UNKNOWN (-1)
#define HF_FILE_DIRECT_NONE (-2)

/* Reads until len bytes or the end of the file. */
HF_MUST_CHECK enum hf_err hf_file_read_plain(struct hf_file *file, uint64_t offset, uint8_t *out,
                                             size_t len, size_t *got, struct hf_error *err);
/* Gives back the cache that open windows hold. Nobody may be reading any more. */
void hf_file_windows_fini(struct hf_file *file);

#endif
