/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that is full, read-only or broken, for a test on a machine where it may mount none: preloaded into a process
 * (LD_PRELOAD), it refuses calls on files below a directory as the kernel would. HOLDFAST_SHIM names a file of lines that
 * the test rewrites as it goes, "full DIR", "readonly DIR", "broken FILE", "size:BYTES DIR"; a change holds from the next
 * call on. No line: every call goes through.
 *
 * "broken" is for readers that HOLDFAST_SHIM_BREAKS is set for: a database that cannot read its own file ends itself.
 * A full disk takes what overwrites its own blocks, names and removals, and nothing that needs a new block.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define RULES_BYTES 8192

/* The next function of that name, found once. */
#define REAL(type, name, ...)                                                                      \
    static type (*real)(__VA_ARGS__);                                                              \
    if (real == NULL) {                                                                            \
        *(void **)(&real) = dlsym(RTLD_NEXT, name);                                                \
    }

/* Raw calls only: this runs inside every call of the process. */
static int read_rules(char *out)
{
    const char *path = getenv("HOLDFAST_SHIM");
    if (path == NULL) {
        return 0;
    }
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t got = syscall(SYS_pread64, fd, out, (size_t)RULES_BYTES - 1, (off_t)0);
    syscall(SYS_close, fd);
    out[got < 0 ? 0 : got] = '\0';
    return got > 0;
}

static int has_rules(void)
{
    char rules[RULES_BYTES];
    int saved = errno, some = read_rules(rules);
    errno = saved;
    return some;
}

/* The errno of the first rule among words ("full", "readonly", "broken") that covers the path, or 0. */
static int ruled(const char *words, const char *path)
{
    char rules[RULES_BYTES];
    int saved = errno, found = 0;
    if (path == NULL || path[0] != '/' || !read_rules(rules)) {
        errno = saved;
        return 0;
    }
    char *state = NULL;
    for (char *line = strtok_r(rules, "\n", &state); line != NULL && found == 0;
         line = strtok_r(NULL, "\n", &state)) {
        char *where = strchr(line, ' ');
        if (where == NULL) {
            continue;
        }
        *where++ = '\0';
        size_t len = strlen(where);
        if (strstr(words, line) != NULL && strncmp(path, where, len) == 0 &&
            (path[len] == '\0' || path[len] == '/')) {
            found = strcmp(line, "full") == 0       ? ENOSPC
                    : strcmp(line, "readonly") == 0 ? EROFS
                                                    : EIO;
        }
    }
    errno = saved;
    return found;
}

static int path_of(int fd, char path[PATH_MAX])
{
    char link[64];
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    errno = saved;
    path[len < 0 ? 0 : len] = '\0';
    return len > 0;
}

static int ruled_fd(const char *words, int fd)
{
    char path[PATH_MAX];
    return path_of(fd, path) ? ruled(words, path) : 0;
}

/* ---- small disks ---- */

static __thread unsigned long long used_bytes;

static int add_used(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)path;
    (void)where;
    used_bytes += kind == FTW_F ? (unsigned long long)info->st_blocks * 512 : 0;
    return 0;
}

/* Whether the path lies on a disk of a size; what of it is free, by what its files have. */
static int sized(const char *path, unsigned long long *size, unsigned long long *left)
{
    char rules[RULES_BYTES], *state = NULL;
    int saved = errno, found = 0;
    if (path[0] != '/' || !read_rules(rules)) {
        errno = saved;
        return 0;
    }
    for (char *line = strtok_r(rules, "\n", &state); line != NULL && !found;
         line = strtok_r(NULL, "\n", &state)) {
        char *where = strchr(line, ' ');
        size_t len = where == NULL ? 0 : strlen(where + 1);
        if (where == NULL || strncmp(line, "size:", 5) != 0 || strncmp(path, where + 1, len) != 0 ||
            (path[len] != '\0' && path[len] != '/')) {
            continue;
        }
        *size = strtoull(line + 5, NULL, 10);
        used_bytes = 0;
        (void)nftw(where + 1, add_used, 8, FTW_PHYS);
        *left = used_bytes < *size ? *size - used_bytes : 0;
        found = 1;
    }
    errno = saved;
    return found;
}

/* Whether that range lies in blocks that the file has: a size that its blocks make up, no holes. */
static int needs_block(int fd, off_t offset, size_t len)
{
    struct stat info;
    return fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || offset + (off_t)len > info.st_size ||
           (off_t)info.st_blocks * 512 < info.st_size;
}

static int refuse_write(int fd, off_t offset, size_t len)
{
    char path[PATH_MAX];
    unsigned long long size, left;
    int cause = ruled_fd("full readonly", fd);
    if (cause == 0 && path_of(fd, path) && sized(path, &size, &left) && left < len) {
        cause = ENOSPC;
    }
    if (cause == ENOSPC && !needs_block(fd, offset, len)) {
        cause = 0;
    }
    errno = cause == 0 ? errno : cause;
    return cause;
}

static off_t place_of(int fd)
{
    int saved = errno;
    off_t at =
        (fcntl(fd, F_GETFL) & O_APPEND) != 0 ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
    errno = saved;
    return at < 0 ? 0 : at;
}

ssize_t write(int fd, const void *data, size_t len)
{
    REAL(ssize_t, "write", int, const void *, size_t)
    return has_rules() && refuse_write(fd, place_of(fd), len) != 0 ? -1 : real(fd, data, len);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    REAL(ssize_t, "writev", int, const struct iovec *, int)
    size_t len = 0;
    for (int i = 0; i < count; i++) {
        len += parts[i].iov_len;
    }
    return has_rules() && refuse_write(fd, place_of(fd), len) != 0 ? -1 : real(fd, parts, count);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t)
    return refuse_write(fd, offset, len) != 0 ? -1 : real(fd, data, len, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t)
    return refuse_write(fd, offset, len) != 0 ? -1 : real(fd, data, len, offset);
}

ssize_t pread(int fd, void *out, size_t len, off_t offset)
{
    REAL(ssize_t, "pread", int, void *, size_t, off_t)
    int cause = getenv("HOLDFAST_SHIM_BREAKS") == NULL ? 0 : ruled_fd("broken", fd);
    errno = cause == 0 ? errno : cause;
    return cause != 0 ? -1 : real(fd, out, len, offset);
}

ssize_t pread64(int fd, void *out, size_t len, off64_t offset)
{
    REAL(ssize_t, "pread64", int, void *, size_t, off64_t)
    int cause = getenv("HOLDFAST_SHIM_BREAKS") == NULL ? 0 : ruled_fd("broken", fd);
    errno = cause == 0 ? errno : cause;
    return cause != 0 ? -1 : real(fd, out, len, offset);
}

static int refuse_room(int fd, off_t len)
{
    char path[PATH_MAX];
    unsigned long long size, left;
    int cause = ruled_fd("full readonly", fd);
    if (cause == 0 && path_of(fd, path) && sized(path, &size, &left) &&
        left < (unsigned long long)len) {
        cause = ENOSPC;
    }
    return cause;
}

int posix_fallocate(int fd, off_t offset, off_t len)
{
    REAL(int, "posix_fallocate", int, off_t, off_t)
    int cause = refuse_room(fd, len);
    return cause != 0 ? cause : real(fd, offset, len);
}

int posix_fallocate64(int fd, off64_t offset, off64_t len)
{
    REAL(int, "posix_fallocate64", int, off64_t, off64_t)
    int cause = refuse_room(fd, len);
    return cause != 0 ? cause : real(fd, offset, len);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    REAL(int, "fallocate", int, int, off_t, off_t)
    int cause = refuse_room(fd, len);
    errno = cause == 0 ? errno : cause;
    return cause != 0 ? -1 : real(fd, mode, offset, len);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
    REAL(int, "fallocate64", int, int, off64_t, off64_t)
    int cause = refuse_room(fd, len);
    errno = cause == 0 ? errno : cause;
    return cause != 0 ? -1 : real(fd, mode, offset, len);
}

/* ---- names ---- */

static int refuse_name(const char *path)
{
    int cause = ruled("readonly", path);
    errno = cause == 0 ? errno : cause;
    return cause;
}

/* An existing file is opened for reading only, on a disk that is. */
static int refuse_open(const char *path, int flags)
{
    int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0;
    return writes ? refuse_name(path) : 0;
}

#define MODE_OF(flags)                                                                             \
    mode_t mode = 0;                                                                               \
    if (((flags) & (O_CREAT | __O_TMPFILE)) != 0) {                                                \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode = va_arg(rest, mode_t);                                                               \
        va_end(rest);                                                                              \
    }

int open(const char *path, int flags, ...)
{
    REAL(int, "open", const char *, int, ...)
    MODE_OF(flags)
    return refuse_open(path, flags) != 0 ? -1 : real(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    REAL(int, "open64", const char *, int, ...)
    MODE_OF(flags)
    return refuse_open(path, flags) != 0 ? -1 : real(path, flags, mode);
}

int link(const char *from, const char *to)
{
    REAL(int, "link", const char *, const char *)
    return refuse_name(to) != 0 ? -1 : real(from, to);
}

int rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *)
    return refuse_name(to) != 0 ? -1 : real(from, to);
}

int unlink(const char *path)
{
    REAL(int, "unlink", const char *)
    return refuse_name(path) != 0 ? -1 : real(path);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(int, "mkdir", const char *, mode_t)
    struct stat info;
    /* The kernel looks whether it is there first. */
    return stat(path, &info) != 0 && refuse_name(path) != 0 ? -1 : real(path, mode);
}

int rmdir(const char *path)
{
    REAL(int, "rmdir", const char *)
    return refuse_name(path) != 0 ? -1 : real(path);
}

int statvfs(const char *path, struct statvfs *out)
{
    REAL(int, "statvfs", const char *, struct statvfs *)
    int result = real(path, out);
    unsigned long long size, left;
    if (result == 0 && ruled("full", path) != 0) {
        out->f_bavail = out->f_bfree = 0;
    } else if (result == 0 && sized(path, &size, &left)) {
        out->f_blocks = size / out->f_frsize;
        out->f_bavail = out->f_bfree = left / out->f_frsize;
    }
    return result;
}

int statvfs64(const char *path, struct statvfs64 *out)
{
    REAL(int, "statvfs64", const char *, struct statvfs64 *)
    int result = real(path, out);
    unsigned long long size, left;
    if (result == 0 && ruled("full", path) != 0) {
        out->f_bavail = out->f_bfree = 0;
    } else if (result == 0 && sized(path, &size, &left)) {
        out->f_blocks = size / out->f_frsize;
        out->f_bavail = out->f_bfree = left / out->f_frsize;
    }
    return result;
}
