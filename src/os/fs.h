/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and directories, made durable: the only door to the file system.
 *
 * Paths are C strings in the system's bytes (a name may hold every byte but NUL and '/'). Every message names the
 * path. Nothing else in the product calls link, rename or fsync.
 */
#ifndef HF_OS_FS_H
#define HF_OS_FS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/error.h"

enum hf_file_kind { HF_FILE_REGULAR, HF_FILE_DIR, HF_FILE_SYMLINK, HF_FILE_OTHER };

struct hf_file_info {
    enum hf_file_kind kind;
    uint32_t mode;       /* permission bits */
    uint64_t size_bytes; /* apparent size */
    uint64_t disk_bytes; /* allocated */
    uint64_t device, inode;
    uint64_t names; /* hard links */
    int64_t mtime_ns, ctime_ns;
};

/* NOT_FOUND when nothing is there. follow: through a symbolic link at the end. */
HF_MUST_CHECK enum hf_err hf_fs_stat(const char *path, struct hf_file_info *out,
                                     struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_fs_lstat(const char *path, struct hf_file_info *out,
                                      struct hf_error *err);
/* Any error but "not there" is reported as true: callers use it to refuse, never to overwrite. */
bool hf_fs_exists(const char *path);

/* Makes the directory and its parents (mode of new ones), each made durable in its parent. Existing is success, after
 * one sync of its parent: who made it may have died before. EXISTS when something else is there. */
HF_MUST_CHECK enum hf_err hf_fs_make_dirs(const char *path, uint32_t mode, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_fs_sync_dir(const char *path, struct hf_error *err);
/* Removes a file and syncs its directory. NOT_FOUND when it was not there. */
HF_MUST_CHECK enum hf_err hf_fs_remove(const char *path, struct hf_error *err);
/* Removes without syncing, ignoring what is not there: for scratch files. */
HF_MUST_CHECK enum hf_err hf_fs_remove_scratch(const char *path, struct hf_error *err);
/* Removes a directory and all below it, never following symbolic links. NOT_FOUND counts as success. */
HF_MUST_CHECK enum hf_err hf_fs_remove_tree(const char *path, struct hf_error *err);
/* An empty one, durably. CONFLICT when it is not empty. */
HF_MUST_CHECK enum hf_err hf_fs_remove_dir(const char *path, struct hf_error *err);

/* Names in one directory ("." and ".." left out), sorted by bytes. */
struct hf_dir_list {
    char **names; /* owned */
    size_t count;
};
HF_MUST_CHECK enum hf_err hf_fs_list(const char *path, size_t max_names, struct hf_dir_list *out,
                                     struct hf_error *err);
void hf_dir_list_fini(struct hf_dir_list *list);
HF_CLEANUP_DEFINE_VALUE(hf_dir_list_fini, struct hf_dir_list)

/* Free and total bytes of the file system that holds path, as an unprivileged writer sees them. */
HF_MUST_CHECK enum hf_err hf_fs_space(const char *path, uint64_t *free_bytes, uint64_t *total_bytes,
                                      struct hf_error *err);

/* A new name for a file or directory, durably; on the same file system. EXISTS when something is there already. Where the
 * source is gone and the target is there, an earlier call did it: success. */
HF_MUST_CHECK enum hf_err hf_fs_move(const char *from, const char *to, struct hf_error *err);
/* Owner, group and permission bits of one file or directory for another, its own links not followed. Only what differs is
 * changed, so that it works without rights where nothing does. */
HF_MUST_CHECK enum hf_err hf_fs_copy_owner(const char *from, const char *to, struct hf_error *err);

/* ---- Durable publication ---- */

/*
 * Writes content under a temporary name in the directory of path, syncs it, links it to path (a new name, never over
 * an old one), syncs the directory. EXISTS when path is taken (nothing changed). A failure before the link leaves no
 * trace; one after it leaves the whole file, whose name may not outlive a crash.
 * Temporary names begin with ".hf-tmp-"; hf_fs_sweep_temporaries removes those a crash left, and leaves alone those that
 * a living process is writing.
 */
HF_MUST_CHECK enum hf_err hf_fs_publish_new(const char *path, struct hf_bytes content,
                                            uint32_t mode, struct hf_error *err);
/* The same with rename: replaces what is there. When only the sync of the directory failed, the new content may stay. */
HF_MUST_CHECK enum hf_err hf_fs_publish_replace(const char *path, struct hf_bytes content,
                                                uint32_t mode, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_fs_sweep_temporaries(const char *dir, struct hf_error *err);
/* A name that only publication gives. */
bool hf_fs_is_temporary_name(const char *name);
/* Whole file; LIMIT when it is larger than max. The buffer is cleared first. */
HF_MUST_CHECK enum hf_err hf_fs_read_whole(const char *path, size_t max, struct hf_buf *out,
                                           struct hf_error *err);

/* ---- Open files ---- */

struct hf_file;

enum hf_open_mode {
    HF_OPEN_READ,
    HF_OPEN_WRITE,      /* existing, read and write */
    HF_OPEN_CREATE_NEW, /* read and write; EXISTS when it is there */
    HF_OPEN_CREATE,     /* read and write; made when missing, content stays */
    HF_OPEN_APPEND,     /* made when missing */
};

/* READ: regular files only, else INVALID; never waits. mode: permission bits of a new file. Never follows a symbolic link at the end for the CREATE modes. */
HF_MUST_CHECK enum hf_err hf_file_open(const char *path, enum hf_open_mode how, uint32_t mode,
                                       struct hf_file **out, struct hf_error *err);
/* Closing may fail (delayed write errors); the object is gone either way. */
HF_MUST_CHECK enum hf_err hf_file_close(struct hf_file *file, struct hf_error *err);
/* Closes, ignoring failure: for readers and for clean-up after another error. NULL does nothing. */
void hf_file_drop(struct hf_file *file);
HF_CLEANUP_DEFINE(hf_file_drop, struct hf_file *)
HF_MUST_CHECK enum hf_err hf_file_info(struct hf_file *file, struct hf_file_info *out,
                                       struct hf_error *err);
/* Reads up to len bytes at offset; *got is less only at the end of the file. Any thread. */
HF_MUST_CHECK enum hf_err hf_file_read_at(struct hf_file *file, uint64_t offset, void *out,
                                          size_t len, size_t *got, struct hf_error *err);
/*
 * As hf_file_read_at, and leaves the page cache as it was: what was not resident before (mincore) is dropped again
 * (mongodb-observed.md 7.5). For reading a database's files beside the database. It keeps windows of 4 MiB in mind, so
 * the last pages are given back when the file is closed. The kernel tells residency only to a file's owner and who may
 * write to it: for anyone else nothing is dropped.
 */
HF_MUST_CHECK enum hf_err hf_file_read_at_uncached(struct hf_file *file, uint64_t offset, void *out,
                                                   size_t len, size_t *got, struct hf_error *err);
/* Writes all of it. Any thread. */
HF_MUST_CHECK enum hf_err hf_file_write_at(struct hf_file *file, uint64_t offset,
                                           struct hf_bytes bytes, struct hf_error *err);
/*
 * As hf_file_write_at, and past the page cache where the file system can: for much that nobody reads soon. Best with
 * offset and memory at a page (hf_alloc_pages). What is not written so is handed to the disk at once (flush_hint).
 */
HF_MUST_CHECK enum hf_err hf_file_write_at_uncached(struct hf_file *file, uint64_t offset,
                                                    struct hf_bytes bytes, struct hf_error *err);
/* Writes all of it at the end; only for HF_OPEN_APPEND, which write_at refuses. After a failure a part may stand there. */
HF_MUST_CHECK enum hf_err hf_file_append(struct hf_file *file, struct hf_bytes bytes,
                                         struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_file_truncate(struct hf_file *file, uint64_t size_bytes,
                                           struct hf_error *err);
/* The whole file as another's content, with the same blocks on the disk until one of them is written. False, and nothing
 * has changed, where the file system cannot do that. */
HF_MUST_CHECK bool hf_file_clone(struct hf_file *from, struct hf_file *to);
/* Makes a range read as zeros, as a hole where the file system can; the size stays. The range lies within the file. */
HF_MUST_CHECK enum hf_err hf_file_zero(struct hf_file *file, uint64_t offset, uint64_t len,
                                       struct hf_error *err);
/* fsync. Once it failed, written data may be lost, and every later sync of this file fails. */
HF_MUST_CHECK enum hf_err hf_file_sync(struct hf_file *file, struct hf_error *err);
/* Asks the kernel to begin writing out a range, without waiting: keeps the later sync short. Never fails. */
void hf_file_flush_hint(struct hf_file *file, uint64_t offset, uint64_t len);
/* The next stretch of data at or after offset (SEEK_DATA/SEEK_HOLE): [*start, *end); *start = size when only holes
 * follow. A file system without holes answers all data. */
HF_MUST_CHECK enum hf_err hf_file_next_data(struct hf_file *file, uint64_t offset, uint64_t *start,
                                            uint64_t *end, struct hf_error *err);

/* An exclusive lock on a file (made when missing), held until dropped; CONFLICT when another process holds it. */
struct hf_lock_file;
HF_MUST_CHECK enum hf_err hf_lock_file_take(const char *path, struct hf_lock_file **out,
                                            struct hf_error *err);
/* Held together with others that share it; CONFLICT when another process holds it for itself. */
HF_MUST_CHECK enum hf_err hf_lock_file_share(const char *path, struct hf_lock_file **out,
                                             struct hf_error *err);
/* For itself, on a file that is there and stays as it is: another program's lock file. NOT_FOUND when it is not. */
HF_MUST_CHECK enum hf_err hf_lock_file_borrow(const char *path, struct hf_lock_file **out,
                                              struct hf_error *err);
/* CONFLICT when another process holds a record lock (fcntl) on the file; OK too when there is no such file. */
HF_MUST_CHECK enum hf_err hf_lock_file_check_records(const char *path, struct hf_error *err);
void hf_lock_file_drop(struct hf_lock_file *lock);
HF_CLEANUP_DEFINE(hf_lock_file_drop, struct hf_lock_file *)

/* "dir/name"; NULL on no memory. */
HF_MUST_CHECK char *hf_path_join(const char *dir, const char *name);
/* A program by its name in $PATH, or in /usr/bin and /bin where there is none. NOT_FOUND. Free with hf_free. */
HF_MUST_CHECK enum hf_err hf_path_search(const char *name, char **out, struct hf_error *err);
/* Absolute, without symbolic links; the path must exist. Free with hf_free. */
HF_MUST_CHECK enum hf_err hf_path_real(const char *path, char **out, struct hf_error *err);
/*
 * True for a relative path that stays below its root: no empty, "." or ".." component, no leading '/', no NUL, at
 * most 4096 bytes. What comes from a store or from the network passes this before it touches a disk.
 */
HF_MUST_CHECK bool hf_path_is_safe_relative(struct hf_str path);
/* A fresh directory below $TMPDIR or /tmp; free with hf_free, remove with hf_fs_remove_tree. */
HF_MUST_CHECK enum hf_err hf_fs_make_temp_dir(const char *prefix, char **out, struct hf_error *err);

#endif
