/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests only: a disk that counts, refuses, dies, and forgets what was not synced.
 *
 * It lies under the room os, and under SQLite too, without a line in the product: a program that includes this header
 * has functions of its own for the system's (open, pwrite, fsync, link, ...), and the linker takes those first. Below
 * one directory (disk_watch) every call is counted in the order in which it was made; one of them may fail, or kill the
 * process before it happens.
 *
 * What a power cut may take is noted in shared memory, so that it outlives the process: the bytes under each write since
 * the file's last sync, and each change of a name since its directory's last sync. disk_cut_power then plays it back:
 * every sector of a file ends in some state that it had since the sync, every name in one of those that it had, a later
 * change never without the earlier ones of that name. Changes of different names are not kept in order: no standard
 * promises it. A synced file whose name was not synced is gone. Nothing is really synced: the machine stays up.
 *
 * Include it in one file of a program, after "support/..." of other kinds.
 */
#ifndef HF_TESTS_DISK_H
#define HF_TESTS_DISK_H

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DISK_FILES 8192
#define DISK_CHANGES 32768
#define DISK_NAMES 8192
#define DISK_PATH_BYTES 320
#define DISK_OLD_BYTES ((size_t)64 << 20)
#define DISK_SECTOR 512
#define DISK_NOTHING (-1)
#define DISK_DIRECTORY (-2)

/* Bytes of a file that one call changed. */
struct disk_change {
    int file;
    bool synced;
    bool cut; /* a truncation: old holds what it cut off */
    uint64_t offset, len;
    uint64_t old_size; /* of the file */
    size_t old_at, old_len;
};

/* What a name stood for before and after a call. */
struct disk_name_change {
    char path[DISK_PATH_BYTES];
    uint32_t call; /* a rename changes two names, both or neither */
    int before;    /* number of a file, DISK_NOTHING or DISK_DIRECTORY */
    int after;
    bool synced;
    bool lost; /* disk_cut_power decided so */
};

struct disk {
    char root[DISK_PATH_BYTES]; /* watched; empty: nothing is */
    char attic
        [DISK_PATH_BYTES]; /* a link to each file made below root, for cutting power; empty: nothing is noted */
    uint64_t calls;                /* below root, that change something */
    uint64_t all_calls;            /* those that only look, too */
    uint64_t die_at;               /* number of the changing call; 0: never */
    uint64_t fail_at;              /* number of any call; 0: never */
    uint64_t fail_times;           /* 0: that one and all later ones */
    uint64_t failed;               /* how many did */
    char failed_call[64];          /* the first of them */
    uint64_t kinds[16];            /* calls by enum disk_kind */
    _Atomic int64_t clock_ahead_s; /* added to the wall clock; stays until it is changed */
    struct {
        uint64_t device, inode;
    } files[DISK_FILES];
    size_t file_count;
    struct disk_change changes[DISK_CHANGES];
    size_t change_count;
    struct disk_name_change names[DISK_NAMES];
    size_t name_count;
    uint32_t name_calls;
    size_t old_used;
    uint8_t old[DISK_OLD_BYTES];
};

enum disk_kind {
    DISK_OPEN,
    DISK_CREATE,
    DISK_READ,
    DISK_WRITE,
    DISK_SYNC,
    DISK_SYNC_DIR,
    DISK_LINK,
    DISK_RENAME,
    DISK_UNLINK,
    DISK_MKDIR,
    DISK_RMDIR,
    DISK_TRUNCATE,
    DISK_STAT,
    DISK_LIST,
    DISK_SPACE,
    DISK_CLOSE,
};

static const char *const disk_kind_words[] = {
    "open",   "create", "read",  "write",    "sync", "sync_dir", "link",  "rename",
    "unlink", "mkdir",  "rmdir", "truncate", "stat", "list",     "space", "close"};

/* Shared by a process and the children it forks. */
static struct disk *the_disk;
static pthread_mutex_t disk_mutex =
    PTHREAD_MUTEX_INITIALIZER; /* guards: *the_disk but for root, attic */

/* Our own mistakes end the program: the state of the disk would be a lie. */
#define DISK_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "disk.h:%d: %s (errno %d)\n", __LINE__, #condition, errno);      \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static inline void disk_make(void)
{
    void *memory = mmap(NULL, sizeof *the_disk, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    DISK_CHECK(memory != MAP_FAILED);
    the_disk = memory;
}

/* Forgets everything and watches what lies below root from now on. attic: an empty directory on the same file system,
 * not below root; NULL: nothing is noted. */
static inline void disk_watch(const char *root, const char *attic)
{
    struct disk *disk = the_disk;
    DISK_CHECK(strlen(root) < sizeof disk->root &&
               (attic == NULL || strlen(attic) < sizeof disk->attic));
    disk->calls = disk->all_calls = disk->die_at = disk->fail_at = disk->failed = 0;
    disk->file_count = disk->change_count = disk->name_count = disk->old_used = 0;
    disk->name_calls = 0;
    disk->failed_call[0] = '\0';
    memset(disk->kinds, 0, sizeof disk->kinds);
    (void)snprintf(disk->attic, sizeof disk->attic, "%s", attic == NULL ? "" : attic);
    (void)snprintf(disk->root, sizeof disk->root, "%s", root);
}

static inline void disk_watch_nothing(void)
{
    the_disk->root[0] = '\0';
}

/* The nth call from now (of those that look, too) fails, times in a row; 0: and all later ones. */
static inline void disk_fail(uint64_t nth, uint64_t times)
{
    (void)pthread_mutex_lock(&disk_mutex);
    the_disk->fail_at = nth == 0 ? 0 : the_disk->all_calls + nth;
    the_disk->fail_times = times;
    the_disk->failed = 0;
    the_disk->failed_call[0] = '\0';
    (void)pthread_mutex_unlock(&disk_mutex);
}

/* ---- Watching ---- */

static inline bool disk_is_below(const char *path)
{
    if (the_disk == NULL || the_disk->root[0] == '\0') {
        return false;
    }
    size_t len = strlen(the_disk->root);
    return strncmp(path, the_disk->root, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* The path that a descriptor was opened by, as it is called now; false when it is not watched. */
static inline bool disk_path_of(int fd, char path[DISK_PATH_BYTES])
{
    char link_name[48];
    if (the_disk == NULL || the_disk->root[0] == '\0') {
        return false;
    }
    (void)snprintf(link_name, sizeof link_name, "/proc/self/fd/%d", fd);
    ssize_t len = syscall(SYS_readlinkat, AT_FDCWD, link_name, path, DISK_PATH_BYTES - 1);
    if (len < 0) {
        return false;
    }
    path[len] = '\0';
    return disk_is_below(path);
}

/* "name" in an open directory, or below the current one. */
static inline bool disk_path_at(int dir, const char *name, char path[DISK_PATH_BYTES])
{
    if (name[0] == '/' || dir == AT_FDCWD) {
        return (size_t)snprintf(path, DISK_PATH_BYTES, "%s", name) < DISK_PATH_BYTES &&
               disk_is_below(path);
    }
    if (!disk_path_of(dir, path)) {
        return false;
    }
    size_t len = strlen(path);
    return (size_t)snprintf(path + len, DISK_PATH_BYTES - len, "/%s", name) < DISK_PATH_BYTES - len;
}

static inline int disk_errno_of(enum disk_kind kind)
{
    switch (kind) {
    case DISK_OPEN:
    case DISK_LIST:
        return EMFILE;
    case DISK_CREATE:
    case DISK_WRITE:
    case DISK_MKDIR:
    case DISK_LINK:
        return ENOSPC;
    case DISK_READ:
    case DISK_SYNC:
    case DISK_SYNC_DIR:
    case DISK_RENAME:
    case DISK_UNLINK:
    case DISK_RMDIR:
    case DISK_TRUNCATE:
    case DISK_STAT:
    case DISK_SPACE:
    case DISK_CLOSE:
        break;
    }
    return EIO;
}

static inline bool disk_changes(enum disk_kind kind)
{
    return kind != DISK_OPEN && kind != DISK_READ && kind != DISK_STAT && kind != DISK_LIST &&
           kind != DISK_SPACE && kind != DISK_CLOSE;
}

/* Counts a call, with the mutex held. The errno to fail with, 0 to go on; or dies. */
static inline int disk_enter(enum disk_kind kind, const char *path)
{
    struct disk *disk = the_disk;
    disk->all_calls++;
    disk->kinds[kind]++;
    if (disk_changes(kind)) {
        disk->calls++;
        if (disk->calls == disk->die_at) {
            (void)kill(getpid(), SIGKILL);
        }
    }
    if (disk->fail_at == 0 || disk->all_calls < disk->fail_at ||
        (disk->fail_times != 0 && disk->all_calls >= disk->fail_at + disk->fail_times)) {
        return 0;
    }
    if (disk->failed++ == 0) {
        const char *name = strrchr(path, '/');
        (void)snprintf(disk->failed_call, sizeof disk->failed_call, "%s %.40s",
                       disk_kind_words[kind], name == NULL ? path : name + 1);
    }
    return disk_errno_of(kind);
}

/* ---- Noting ---- */

static inline bool disk_notes(void)
{
    return the_disk->attic[0] != '\0';
}

static inline void disk_attic_path(int file, char out[DISK_PATH_BYTES + 16])
{
    (void)snprintf(out, DISK_PATH_BYTES + 16, "%s/%d", the_disk->attic, file);
}

static inline int disk_find_file(const struct stat *info)
{
    for (size_t i = the_disk->file_count; i-- > 0;) {
        if (the_disk->files[i].inode == info->st_ino && the_disk->files[i].device == info->st_dev) {
            return (int)i;
        }
    }
    return DISK_NOTHING;
}

static inline int disk_stat(const char *path, struct stat *info)
{
    return (int)syscall(SYS_newfstatat, AT_FDCWD, path, info, AT_SYMLINK_NOFOLLOW);
}

/* What stands under a name now; a file gets its number, and its link in the attic, when it is first seen. */
static inline int disk_look(const char *path)
{
    char attic[DISK_PATH_BYTES + 16];
    struct stat info;
    if (disk_stat(path, &info) != 0) {
        return DISK_NOTHING;
    }
    if (S_ISDIR(info.st_mode)) {
        return DISK_DIRECTORY;
    }
    int file = disk_find_file(&info);
    if (file != DISK_NOTHING) {
        return file;
    }
    DISK_CHECK(the_disk->file_count < DISK_FILES);
    file = (int)the_disk->file_count++;
    the_disk->files[file].device = info.st_dev;
    the_disk->files[file].inode = info.st_ino;
    disk_attic_path(file, attic);
    DISK_CHECK(syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, attic, 0) == 0);
    return file;
}

static inline void disk_note_name(const char *path, int before, int after)
{
    DISK_CHECK(the_disk->name_count < DISK_NAMES);
    struct disk_name_change *change = &the_disk->names[the_disk->name_count++];
    *change =
        (struct disk_name_change){.call = the_disk->name_calls, .before = before, .after = after};
    (void)snprintf(change->path, sizeof change->path, "%s", path);
}

static inline bool disk_is_parent(const char *dir, const char *path)
{
    size_t len = strlen(dir);
    return strncmp(dir, path, len) == 0 && path[len] == '/' && strchr(path + len + 1, '/') == NULL;
}

static inline void disk_note_sync_dir(const char *dir)
{
    for (size_t i = the_disk->name_count; i-- > 0;) {
        if (disk_is_parent(dir, the_disk->names[i].path)) {
            the_disk->names[i].synced = true;
        }
    }
}

static inline void disk_note_sync(int fd)
{
    struct stat info;
    DISK_CHECK(syscall(SYS_fstat, fd, &info) == 0);
    int file = disk_find_file(&info);
    for (size_t i = the_disk->change_count; i-- > 0;) {
        if (the_disk->changes[i].file == file) {
            the_disk->changes[i].synced = true;
        }
    }
}

/* Before [offset, offset + len) is written, or all from offset on is cut off. */
static inline void disk_note_change(int fd, const char *path, uint64_t offset, uint64_t len,
                                    bool cut)
{
    struct stat info;
    DISK_CHECK(syscall(SYS_fstat, fd, &info) == 0);
    int file = disk_find_file(&info);
    if (file == DISK_NOTHING) {
        file = disk_look(path); /* it was there before it was watched */
    }
    DISK_CHECK(file != DISK_NOTHING && the_disk->change_count < DISK_CHANGES);
    struct disk_change *change = &the_disk->changes[the_disk->change_count];
    uint64_t size = (uint64_t)info.st_size;
    uint64_t end = cut || offset + len > size ? size : offset + len;
    *change = (struct disk_change){.file = file,
                                   .cut = cut,
                                   .offset = offset,
                                   .len = cut ? (end > offset ? end - offset : 0) : len,
                                   .old_size = size,
                                   .old_at = the_disk->old_used};
    if (end > offset) {
        /* The descriptor may be for writing only. */
        char own[48];
        (void)snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
        int reader = (int)syscall(SYS_openat, AT_FDCWD, own, O_RDONLY | O_CLOEXEC);
        change->old_len = (size_t)(end - offset);
        DISK_CHECK(reader >= 0 && the_disk->old_used + change->old_len <= DISK_OLD_BYTES);
        DISK_CHECK(syscall(SYS_pread64, reader, the_disk->old + change->old_at, change->old_len,
                           offset) == (long)change->old_len);
        (void)syscall(SYS_close, reader);
        the_disk->old_used += change->old_len;
    }
    the_disk->change_count++;
}

/* ---- The system's functions ---- */

#define DISK_FAIL(code)                                                                            \
    do {                                                                                           \
        (void)pthread_mutex_unlock(&disk_mutex);                                                   \
        errno = (code);                                                                            \
        return -1;                                                                                 \
    } while (0)

static inline int disk_open(int dir, const char *name, int flags, mode_t mode)
{
    char path[DISK_PATH_BYTES];
    if (!disk_path_at(dir, name, path)) {
        return (int)syscall(SYS_openat, dir, name, flags, mode);
    }
    (void)pthread_mutex_lock(&disk_mutex);
    struct stat info;
    bool makes = (flags & O_CREAT) != 0 && disk_stat(path, &info) != 0;
    int cause = disk_enter(makes ? DISK_CREATE : DISK_OPEN, path);
    if (cause != 0) {
        DISK_FAIL(cause);
    }
    DISK_CHECK((flags & O_TRUNC) == 0);
    int fd = (int)syscall(SYS_openat, dir, name, flags, mode);
    if (fd >= 0 && makes && disk_notes()) {
        the_disk->name_calls++;
        disk_note_name(path, DISK_NOTHING, disk_look(path));
    }
    cause = errno;
    (void)pthread_mutex_unlock(&disk_mutex);
    errno = cause;
    return fd;
}

static inline mode_t disk_mode(int flags, va_list arguments)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? (mode_t)va_arg(arguments, int) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = disk_mode(flags, arguments);
    va_end(arguments);
    return disk_open(AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = disk_mode(flags, arguments);
    va_end(arguments);
    return disk_open(dir, path, flags, mode);
}

static inline ssize_t disk_write(int fd, const void *bytes, size_t len, off_t offset, bool at_end)
{
    char path[DISK_PATH_BYTES];
    if (!disk_path_of(fd, path)) {
        return at_end ? syscall(SYS_write, fd, bytes, len)
                      : syscall(SYS_pwrite64, fd, bytes, len, offset);
    }
    (void)pthread_mutex_lock(&disk_mutex);
    int cause = disk_enter(DISK_WRITE, path);
    if (cause != 0) {
        DISK_FAIL(cause);
    }
    if (disk_notes()) {
        uint64_t place = (uint64_t)offset;
        if (at_end) {
            struct stat info;
            long flags = syscall(SYS_fcntl, fd, F_GETFL);
            DISK_CHECK(syscall(SYS_fstat, fd, &info) == 0);
            place = (flags & O_APPEND) != 0 ? (uint64_t)info.st_size
                                            : (uint64_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
        }
        disk_note_change(fd, path, place, len, false);
    }
    ssize_t done =
        at_end ? syscall(SYS_write, fd, bytes, len) : syscall(SYS_pwrite64, fd, bytes, len, offset);
    cause = errno;
    (void)pthread_mutex_unlock(&disk_mutex);
    errno = cause;
    return done;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    return disk_write(fd, bytes, len, 0, true);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    return disk_write(fd, bytes, len, offset, false);
}

int ftruncate(int fd, off_t size)
{
    char path[DISK_PATH_BYTES];
    if (!disk_path_of(fd, path)) {
        return (int)syscall(SYS_ftruncate, fd, size);
    }
    (void)pthread_mutex_lock(&disk_mutex);
    int cause = disk_enter(DISK_TRUNCATE, path);
    if (cause != 0) {
        DISK_FAIL(cause);
    }
    if (disk_notes()) {
        disk_note_change(fd, path, (uint64_t)size, 0, true);
    }
    int result = (int)syscall(SYS_ftruncate, fd, size);
    cause = errno;
    (void)pthread_mutex_unlock(&disk_mutex);
    errno = cause;
    return result;
}

/* Only as a hole within a file is it used: a write of zeros, as far as losing it goes. */
int fallocate(int fd, int mode, off_t offset, off_t len)
{
    char path[DISK_PATH_BYTES];
    if (!disk_path_of(fd, path)) {
        return (int)syscall(SYS_fallocate, fd, mode, offset, len);
    }
    (void)pthread_mutex_lock(&disk_mutex);
    int cause = disk_enter(DISK_WRITE, path);
    if (cause != 0) {
        DISK_FAIL(cause);
    }
    if (disk_notes()) {
        disk_note_change(fd, path, (uint64_t)offset, (uint64_t)len, false);
    }
    int result = (int)syscall(SYS_fallocate, fd, mode, offset, len);
    cause = errno;
    (void)pthread_mutex_unlock(&disk_mutex);
    errno = cause;
    return result;
}

static inline int disk_sync(int fd)
{
    char path[DISK_PATH_BYTES];
    struct stat info;
    if (!disk_path_of(fd, path) || syscall(SYS_fstat, fd, &info) != 0) {
        return 0;
    }
    (void)pthread_mutex_lock(&disk_mutex);
    int cause = disk_enter(S_ISDIR(info.st_mode) ? DISK_SYNC_DIR : DISK_SYNC, path);
    if (cause != 0) {
        DISK_FAIL(cause);
    }
    if (disk_notes() && S_ISDIR(info.st_mode)) {
        disk_note_sync_dir(path);
    } else if (disk_notes()) {
        disk_note_sync(fd);
    }
    (void)pthread_mutex_unlock(&disk_mutex);
    return 0;
}

int fsync(int fd)
{
    return disk_sync(fd);
}

int fdatasync(int fd)
{
    return disk_sync(fd);
}

/* A hint promises nothing; the watched disk has no use for it. */
int sync_file_range(int fd, off_t offset, off_t len, unsigned flags)
{
    char path[DISK_PATH_BYTES];
    return disk_path_of(fd, path) ? 0 : (int)syscall(SYS_sync_file_range, fd, offset, len, flags);
}

int link(const char *from, const char *to)
{
    if (!disk_is_below(to)) {
        return (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
    }
    (void)pthread_mutex_lock(&disk_mutex);
    int cause = disk_enter(DISK_LINK, to);
    if (cause != 0) {
        DISK_FAIL(cause);
    }
    int result = (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
    cause = errno;
    if (result == 0 && disk_notes()) {
        the_disk->name_calls++;
        disk_note_name(to, DISK_NOTHING, disk_look(to));
    }
    (void)pthread_mutex_unlock(&disk_mutex);
    errno = cause;
    return result;
}

int rename(const char *from, const char *to)
{
    if (!disk_is_below(to)) {
        return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    }
    (void)pthread_mutex_lock(&disk_mutex);
    int cause = disk_enter(DISK_RENAME, to);
    if (cause != 0) {
        DISK_FAIL(cause);
    }
    int old = disk_notes() ? disk_look(to) : DISK_NOTHING;
    int moved = disk_notes() ? disk_look(from) : DISK_NOTHING;
    int result = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    cause = errno;
    if (result == 0 && disk_notes()) {
        the_disk->name_calls++;
        disk_note_name(from, moved, DISK_NOTHING);
        disk_note_name(to, old, moved);
    }
    (void)pthread_mutex_unlock(&disk_mutex);
    errno = cause;
    return result;
}

static inline int disk_unlink(int dir, const char *name, int flags)
{
    char path[DISK_PATH_BYTES];
    if (!disk_path_at(dir, name, path)) {
        return (int)syscall(SYS_unlinkat, dir, name, flags);
    }
    (void)pthread_mutex_lock(&disk_mutex);
    int cause = disk_enter((flags & AT_REMOVEDIR) != 0 ? DISK_RMDIR : DISK_UNLINK, path);
    if (cause != 0) {
        DISK_FAIL(cause);
    }
    int gone = disk_notes() ? disk_look(path) : DISK_NOTHING;
    int result = (int)syscall(SYS_unlinkat, dir, name, flags);
    cause = errno;
    if (result == 0 && disk_notes()) {
        the_disk->name_calls++;
        disk_note_name(path, gone, DISK_NOTHING);
    }
    (void)pthread_mutex_unlock(&disk_mutex);
    errno = cause;
    return result;
}

int unlink(const char *path)
{
    return disk_unlink(AT_FDCWD, path, 0);
}

int unlinkat(int dir, const char *name, int flags)
{
    return disk_unlink(dir, name, flags);
}

int rmdir(const char *path)
{
    return disk_unlink(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdir(const char *path, mode_t mode)
{
    if (!disk_is_below(path)) {
        return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    }
    (void)pthread_mutex_lock(&disk_mutex);
    int cause = disk_enter(DISK_MKDIR, path);
    if (cause != 0) {
        DISK_FAIL(cause);
    }
    int result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    cause = errno;
    if (result == 0 && disk_notes()) {
        the_disk->name_calls++;
        disk_note_name(path, DISK_NOTHING, DISK_DIRECTORY);
    }
    (void)pthread_mutex_unlock(&disk_mutex);
    errno = cause;
    return result;
}

/* Those that only look: counted and refused, when what they look at is watched. */
static inline int disk_look_in(enum disk_kind kind, const char *path)
{
    if (!disk_is_below(path)) {
        return 0;
    }
    (void)pthread_mutex_lock(&disk_mutex);
    int cause = disk_enter(kind, path);
    (void)pthread_mutex_unlock(&disk_mutex);
    return cause;
}

static inline int disk_look_at(enum disk_kind kind, int fd)
{
    char path[DISK_PATH_BYTES];
    return disk_path_of(fd, path) && disk_is_below(path) ? disk_look_in(kind, path) : 0;
}

#define DISK_REFUSE(cause, failure)                                                                \
    do {                                                                                           \
        int cause_ = (cause);                                                                      \
        if (cause_ != 0) {                                                                         \
            errno = cause_;                                                                        \
            return failure;                                                                        \
        }                                                                                          \
    } while (0)

ssize_t pread(int fd, void *out, size_t len, off_t offset)
{
    DISK_REFUSE(disk_look_at(DISK_READ, fd), -1);
    return syscall(SYS_pread64, fd, out, len, offset);
}

int close(int fd)
{
    int cause = disk_look_at(DISK_CLOSE, fd);
    int result = (int)syscall(SYS_close, fd);
    DISK_REFUSE(cause, -1);
    return result;
}

/* The attic's link to a file is not to be seen. */
static inline int disk_hide_attic(int result, struct stat *info)
{
    if (result != 0 || the_disk == NULL || the_disk->root[0] == '\0' || !disk_notes()) {
        return result;
    }
    (void)pthread_mutex_lock(&disk_mutex);
    if (S_ISREG(info->st_mode) && disk_find_file(info) != DISK_NOTHING) {
        info->st_nlink--;
    }
    (void)pthread_mutex_unlock(&disk_mutex);
    return result;
}

int stat(const char *path, struct stat *info)
{
    DISK_REFUSE(disk_look_in(DISK_STAT, path), -1);
    return disk_hide_attic((int)syscall(SYS_newfstatat, AT_FDCWD, path, info, 0), info);
}

int lstat(const char *path, struct stat *info)
{
    DISK_REFUSE(disk_look_in(DISK_STAT, path), -1);
    return disk_hide_attic((int)syscall(SYS_newfstatat, AT_FDCWD, path, info, AT_SYMLINK_NOFOLLOW),
                           info);
}

int fstat(int fd, struct stat *info)
{
    char path[DISK_PATH_BYTES];
    DISK_REFUSE(disk_look_at(DISK_STAT, fd), -1);
    int result = (int)syscall(SYS_fstat, fd, info);
    if (result == 0 && disk_path_of(fd, path)) {
        info->st_mtim.tv_sec += the_disk->clock_ahead_s; /* the disk's clock is the machine's */
    }
    return result;
}

int fstatat(int dir, const char *path, struct stat *info, int flags)
{
    DISK_REFUSE(disk_look_in(DISK_STAT, path), -1);
    return disk_hide_attic((int)syscall(SYS_newfstatat, dir, path, info, flags), info);
}

/* The next definition of a symbol: the library's own. */
#define DISK_NEXT(result, symbol, parameters)                                                      \
    static result(*next) parameters;                                                               \
    if (next == NULL) {                                                                            \
        void *found_ = dlsym(RTLD_NEXT, symbol);                                                   \
        DISK_CHECK(found_ != NULL);                                                                \
        memcpy(&next, &found_, sizeof next);                                                       \
    }

DIR *opendir(const char *path)
{
    DISK_NEXT(DIR *, "opendir", (const char *))
    DISK_REFUSE(disk_look_in(DISK_LIST, path), NULL);
    return next(path);
}

DIR *fdopendir(int fd)
{
    DISK_NEXT(DIR *, "fdopendir", (int))
    DISK_REFUSE(disk_look_at(DISK_LIST, fd), NULL);
    return next(fd);
}

struct dirent *readdir(DIR *dir)
{
    DISK_NEXT(struct dirent *, "readdir64", (DIR *))
    DISK_REFUSE(disk_look_at(DISK_READ, dirfd(dir)), NULL);
    return next(dir);
}

int statvfs(const char *path, struct statvfs *out)
{
    DISK_NEXT(int, "statvfs64", (const char *, struct statvfs *))
    DISK_REFUSE(disk_look_in(DISK_SPACE, path), -1);
    return next(path, out);
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    int result = (int)syscall(SYS_clock_gettime, clock, out);
    if (result == 0 && clock == CLOCK_REALTIME && the_disk != NULL) {
        out->tv_sec += the_disk->clock_ahead_s;
    }
    return result;
}

/* ---- The power cut ---- */

enum disk_loss {
    DISK_LOSS_NONE, /* only the process died */
    DISK_LOSS_ALL,  /* nothing that was not synced is left */
    DISK_LOSS_SOME, /* any of it may be left, sector by sector and name by name */
};

static inline uint64_t disk_mix(uint64_t seed, uint64_t a, uint64_t b)
{
    uint64_t z = seed + a * UINT64_C(0x9e3779b97f4a7c15) + b * UINT64_C(0xd1b54a32d192ed03);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* How many of a file's unsynced changes a part of it has seen, of count. */
static inline size_t disk_seen(enum disk_loss loss, uint64_t roll, size_t count)
{
    return loss == DISK_LOSS_ALL ? 0 : (size_t)(roll % (count + 1));
}

/* Puts back the part [from, to) of a change: its old bytes, zeros beyond the old end. */
static inline void disk_put_back(int fd, const struct disk_change *change, uint64_t from,
                                 uint64_t to)
{
    uint8_t bytes[DISK_SECTOR] = {0};
    for (uint64_t at = from; at < to; at++) {
        uint64_t in = at - change->offset;
        bytes[at - from] = in < change->old_len ? the_disk->old[change->old_at + in] : 0;
    }
    DISK_CHECK(syscall(SYS_pwrite64, fd, bytes, to - from, from) == (long)(to - from));
}

static inline void disk_lose_bytes(int file, enum disk_loss loss, uint64_t seed)
{
    char path[DISK_PATH_BYTES + 16];
    static size_t unsynced[DISK_CHANGES];
    size_t count = 0;
    struct stat info;
    for (size_t i = 0; i < the_disk->change_count; i++) {
        if (the_disk->changes[i].file == file && !the_disk->changes[i].synced) {
            unsynced[count++] = i;
        }
    }
    if (count == 0) {
        return;
    }
    disk_attic_path(file, path);
    DISK_CHECK(disk_stat(path, &info) == 0);
    DISK_CHECK(chmod(path, 0600) == 0);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    DISK_CHECK(fd >= 0);
    size_t size_seen = disk_seen(loss, disk_mix(seed, (uint64_t)file, UINT64_MAX), count);
    for (size_t k = count; k-- > 0;) {
        const struct disk_change *change = &the_disk->changes[unsynced[k]];
        uint64_t end = change->offset + change->len;
        for (uint64_t at = change->offset; at < end;) {
            uint64_t sector = at / DISK_SECTOR;
            uint64_t to = (sector + 1) * DISK_SECTOR < end ? (sector + 1) * DISK_SECTOR : end;
            size_t seen = change->cut
                              ? size_seen
                              : disk_seen(loss, disk_mix(seed, (uint64_t)file, sector), count);
            if (seen <= k) {
                disk_put_back(fd, change, at, to);
            }
            at = to;
        }
    }
    uint64_t size = size_seen == count ? (uint64_t)info.st_size
                                       : the_disk->changes[unsynced[size_seen]].old_size;
    DISK_CHECK(syscall(SYS_ftruncate, fd, size) == 0);
    (void)syscall(SYS_close, fd);
    DISK_CHECK(chmod(path, info.st_mode & 07777) == 0);
}

static inline void disk_remove_tree(const char *path)
{
    char below[DISK_PATH_BYTES * 2];
    struct stat info;
    if (disk_stat(path, &info) != 0) {
        return;
    }
    if (!S_ISDIR(info.st_mode)) {
        DISK_CHECK(syscall(SYS_unlinkat, AT_FDCWD, path, 0) == 0);
        return;
    }
    DIR *dir = opendir(path);
    DISK_CHECK(dir != NULL);
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            (void)snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
            disk_remove_tree(below);
        }
    }
    (void)closedir(dir);
    DISK_CHECK(syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR) == 0);
}

static inline void disk_put_back_name(const struct disk_name_change *change)
{
    char attic[DISK_PATH_BYTES + 16];
    disk_remove_tree(change->path);
    /* Where the directory is gone too, or was lost with its name, there is nothing to put back into. */
    if (change->before == DISK_DIRECTORY) {
        DISK_CHECK(syscall(SYS_mkdirat, AT_FDCWD, change->path, 0700) == 0 || errno == ENOENT);
    } else if (change->before != DISK_NOTHING) {
        disk_attic_path(change->before, attic);
        DISK_CHECK(syscall(SYS_linkat, AT_FDCWD, attic, AT_FDCWD, change->path, 0) == 0 ||
                   errno == ENOENT);
    }
}

/* A change is lost when chance says so, or when an earlier one of the same name, or of the same call, is. */
static inline void disk_choose_lost_names(enum disk_loss loss, uint64_t seed)
{
    struct disk_name_change *names = the_disk->names;
    for (size_t i = 0; i < the_disk->name_count; i++) {
        bool partner = i + 1 < the_disk->name_count && names[i + 1].call == names[i].call;
        size_t last = partner ? i + 1 : i;
        /* Both names of a rename lie in one directory. */
        bool lost = !names[i].synced && (loss == DISK_LOSS_ALL || (disk_mix(seed, i, 1) & 1) != 0);
        for (size_t k = i; k <= last && !names[i].synced; k++) {
            for (size_t before = 0; before < i && !lost; before++) {
                lost = names[before].lost && strcmp(names[before].path, names[k].path) == 0;
            }
        }
        for (size_t k = i; k <= last; k++) {
            names[k].lost = lost;
        }
        i = last;
    }
}

/* What the disk holds when the machine comes up again. The process that used it is dead. */
static inline void disk_cut_power(enum disk_loss loss, uint64_t seed)
{
    disk_watch_nothing();
    if (loss != DISK_LOSS_NONE) {
        for (size_t i = 0; i < the_disk->file_count; i++) {
            disk_lose_bytes((int)i, loss, seed);
        }
        disk_choose_lost_names(loss, seed);
        for (size_t i = the_disk->name_count; i-- > 0;) {
            if (the_disk->names[i].lost) {
                disk_put_back_name(&the_disk->names[i]);
            }
        }
    }
    disk_remove_tree(the_disk->attic);
}

#endif
