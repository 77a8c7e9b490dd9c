/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names in the file system: looking, making and removing directories, removing files, listing,
 * space. What is made or removed here is durable on return unless the name says scratch.
 */
#include "os/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "os/fs_internal.h"

/* Deeper trees than this are refused: each level holds a descriptor. */
#define DEEPEST_TREE 256

void hf_fs_info_of(const struct stat *from, struct hf_file_info *out)
{
    *out = (struct hf_file_info){
        .kind = S_ISREG(from->st_mode)   ? HF_FILE_REGULAR
                : S_ISDIR(from->st_mode) ? HF_FILE_DIR
                : S_ISLNK(from->st_mode) ? HF_FILE_SYMLINK
                                         : HF_FILE_OTHER,
        .mode = from->st_mode & 07777,
        .size_bytes = (uint64_t)from->st_size,
        .disk_bytes = (uint64_t)from->st_blocks * 512,
        .device = from->st_dev,
        .inode = from->st_ino,
        .names = from->st_nlink,
        .mtime_ns = (int64_t)from->st_mtim.tv_sec * 1000000000 + from->st_mtim.tv_nsec,
        .ctime_ns = (int64_t)from->st_ctim.tv_sec * 1000000000 + from->st_ctim.tv_nsec,
    };
}

static enum hf_err stat_with(const char *path, int flags, struct hf_file_info *out,
                             struct hf_error *err)
{
    struct stat info;
    if (fstatat(AT_FDCWD, path, &info, flags) != 0) {
        return hf_fail_errno(err, errno, "look at %s", path);
    }
    hf_fs_info_of(&info, out);
    return HF_ERR_OK;
}

enum hf_err hf_fs_stat(const char *path, struct hf_file_info *out, struct hf_error *err)
{
    return stat_with(path, 0, out, err);
}

enum hf_err hf_fs_lstat(const char *path, struct hf_file_info *out, struct hf_error *err)
{
    return stat_with(path, AT_SYMLINK_NOFOLLOW, out, err);
}

bool hf_fs_exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

char *hf_fs_parent_of(const char *path)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    while (len > 0 && path[len - 1] != '/') {
        len--;
    }
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    return len == 0 ? hf_strdup(".") : hf_strndup(path, len);
}

enum hf_err hf_fs_sync_dir(const char *path, struct hf_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return hf_fail_errno(err, errno, "sync directory %s", path);
    }
    if (fsync(fd) != 0) {
        int cause = errno;
        (void)close(fd);
        return hf_fail_errno(err, cause, "sync directory %s", path);
    }
    (void)close(fd); /* nothing was written through it */
    return HF_ERR_OK;
}

enum hf_err hf_fs_sync_parent(const char *path, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *parent = hf_fs_parent_of(path);
    if (parent == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "sync the directory of %s", path);
    }
    return hf_fs_sync_dir(parent, err);
}

/*
 * A directory that is already there may have been made by a process that died before it synced the
 * parent, so the parent is synced for it. It may be one that we are not allowed to open: then it is
 * nobody's of ours.
 */
static enum hf_err sync_parent_of_existing(const char *path, struct hf_error *err)
{
    if (hf_fs_sync_parent(path, err) != HF_ERR_OK && err->code != HF_ERR_DENIED) {
        return err->code;
    }
    hf_error_clear(err);
    return HF_ERR_OK;
}

static enum hf_err refuse_unless_dir(const char *path, struct hf_error *err)
{
    struct hf_file_info info;
    if (hf_fs_stat(path, &info, err) != HF_ERR_OK) {
        return err->code;
    }
    if (info.kind != HF_FILE_DIR) {
        return hf_fail(err, HF_ERR_EXISTS, "%s is there and is not a directory", path);
    }
    return HF_ERR_OK;
}

/* Parents first; each is durable before the next depends on it. */
static enum hf_err make_dir(const char *path, uint32_t mode, bool with_parents,
                            struct hf_error *err)
{
    if (mkdir(path, mode) == 0) {
        return hf_fs_sync_parent(path, err);
    }
    if (errno == EEXIST) {
        return refuse_unless_dir(path, err) == HF_ERR_OK ? sync_parent_of_existing(path, err)
                                                         : err->code;
    }
    if (errno != ENOENT || !with_parents) {
        return hf_fail_errno(err, errno, "%s", path);
    }
    HF_CLEANUP(hf_free) char *parent = hf_fs_parent_of(path);
    if (parent == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s", path);
    }
    if (make_dir(parent, mode, strcmp(parent, path) != 0, err) != HF_ERR_OK) {
        return err->code;
    }
    return make_dir(path, mode, false, err);
}

enum hf_err hf_fs_make_dirs(const char *path, uint32_t mode, struct hf_error *err)
{
    if (make_dir(path, mode, true, err) != HF_ERR_OK) {
        return hf_wrap(err, "make directory %s", path);
    }
    return HF_ERR_OK;
}

enum hf_err hf_fs_remove(const char *path, struct hf_error *err)
{
    if (HF_FAULT("os.fs.remove", err) != HF_ERR_OK) {
        return hf_wrap(err, "remove %s", path);
    }
    if (unlink(path) != 0) {
        return hf_fail_errno(err, errno, "remove %s", path);
    }
    if (hf_fs_sync_parent(path, err) != HF_ERR_OK) {
        return hf_wrap(err, "remove %s", path);
    }
    return HF_ERR_OK;
}

enum hf_err hf_fs_remove_scratch(const char *path, struct hf_error *err)
{
    if (unlink(path) != 0 && errno != ENOENT) {
        return hf_fail_errno(err, errno, "remove %s", path);
    }
    return HF_ERR_OK;
}

enum hf_err hf_fs_remove_dir(const char *path, struct hf_error *err)
{
    if (rmdir(path) != 0) {
        if (errno == ENOTEMPTY || errno == EEXIST) {
            return hf_fail(err, HF_ERR_CONFLICT, "remove directory %s: it is not empty", path);
        }
        return hf_fail_errno(err, errno, "remove directory %s", path);
    }
    if (hf_fs_sync_parent(path, err) != HF_ERR_OK) {
        return hf_wrap(err, "remove directory %s", path);
    }
    return HF_ERR_OK;
}

static void close_dir(DIR *dir)
{
    if (dir != NULL) {
        (void)closedir(dir); /* only read from */
    }
}
HF_CLEANUP_DEFINE(close_dir, DIR *)

static DIR *open_dir_at(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (fd >= 0 && dir == NULL) {
        int cause = errno;
        (void)close(fd);
        errno = cause;
    }
    return dir;
}

/* NULL at the end and, with errno set, on failure. */
static const char *next_name(DIR *dir)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            return NULL;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            return entry->d_name;
        }
    }
}

static enum hf_err remove_dir_at(int parent, const char *name, unsigned depth,
                                 struct hf_error *err);

/* One entry of a directory, whatever it is. What vanished meanwhile is removed as well. */
static enum hf_err remove_entry(int parent, const char *name, unsigned depth, struct hf_error *err)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) {
        return HF_ERR_OK;
    }
    /* POSIX has EPERM for a directory, Linux EISDIR; what refuses for another reason refuses again
     * below. */
    if (errno != EISDIR && errno != EPERM) {
        return hf_fail_errno(err, errno, "%s", name);
    }
    return remove_dir_at(parent, name, depth, err) == HF_ERR_OK ? HF_ERR_OK
                                                                : hf_wrap(err, "%s", name);
}

static enum hf_err remove_dir_at(int parent, const char *name, unsigned depth, struct hf_error *err)
{
    if (depth > DEEPEST_TREE) {
        return hf_fail(err, HF_ERR_LIMIT, "more than %d directories deep", DEEPEST_TREE);
    }
    HF_CLEANUP(close_dir) DIR *dir = open_dir_at(parent, name);
    if (dir == NULL) {
        return errno == ENOENT ? HF_ERR_OK : hf_fail_errno(err, errno, "open directory");
    }
    /* Removing while reading may skip entries on some file systems: as long as a pass finds some,
     * look again. */
    for (bool found = true; found;) {
        found = false;
        const char *entry;
        while ((entry = next_name(dir)) != NULL) {
            found = true;
            if (remove_entry(dirfd(dir), entry, depth + 1, err) != HF_ERR_OK) {
                return err->code;
            }
        }
        if (errno != 0) {
            return hf_fail_errno(err, errno, "read directory");
        }
        rewinddir(dir);
    }
    if (unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT) {
        return hf_fail_errno(err, errno, "remove directory");
    }
    return HF_ERR_OK;
}

enum hf_err hf_fs_remove_tree(const char *path, struct hf_error *err)
{
    struct stat info;
    if (lstat(path, &info) != 0) {
        return errno == ENOENT ? HF_ERR_OK : hf_fail_errno(err, errno, "remove tree %s", path);
    }
    if (!S_ISDIR(info.st_mode)) {
        return hf_fail(err, HF_ERR_INVALID, "remove tree %s: not a directory", path);
    }
    if (remove_dir_at(AT_FDCWD, path, 0, err) != HF_ERR_OK ||
        hf_fs_sync_parent(path, err) != HF_ERR_OK) {
        return hf_wrap(err, "remove tree %s", path);
    }
    return HF_ERR_OK;
}

void hf_dir_list_fini(struct hf_dir_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        hf_free(list->names[i]);
    }
    hf_free(list->names);
    *list = (struct hf_dir_list){.names = NULL, .count = 0};
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum hf_err collect_names(DIR *dir, size_t max_names, struct hf_dir_list *list,
                                 struct hf_error *err)
{
    size_t capacity = 0;
    const char *name;

    while ((name = next_name(dir)) != NULL) {
        if (list->count == max_names) {
            return hf_fail(err, HF_ERR_LIMIT, "more than %zu names", max_names);
        }
        if (list->count == capacity) {
            capacity = capacity == 0 ? 64 : capacity * 2;
            char **names = hf_realloc_array(list->names, capacity, sizeof *names);
            if (names == NULL) {
                return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for %zu names", capacity);
            }
            list->names = names;
        }
        if ((list->names[list->count] = hf_strdup(name)) == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a name");
        }
        list->count++;
    }
    return errno == 0 ? HF_ERR_OK : hf_fail_errno(err, errno, "read directory");
}

enum hf_err hf_fs_list(const char *path, size_t max_names, struct hf_dir_list *out,
                       struct hf_error *err)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list list = {.names = NULL, .count = 0};
    HF_CLEANUP(close_dir) DIR *dir = opendir(path);
    if (dir == NULL) {
        return hf_fail_errno(err, errno, "list %s", path);
    }
    if (collect_names(dir, max_names, &list, err) != HF_ERR_OK) {
        return hf_wrap(err, "list %s", path);
    }
    if (list.count > 0) {
        qsort(list.names, list.count, sizeof *list.names, compare_names);
    }
    *out = list;
    list = (struct hf_dir_list){.names = NULL, .count = 0};
    return HF_ERR_OK;
}

enum hf_err hf_fs_space(const char *path, uint64_t *free_bytes, uint64_t *total_bytes,
                        struct hf_error *err)
{
    struct statvfs info;
    if (statvfs(path, &info) != 0) {
        return hf_fail_errno(err, errno, "space of %s", path);
    }
    *free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    *total_bytes = (uint64_t)info.f_blocks * info.f_frsize;
    return HF_ERR_OK;
}
