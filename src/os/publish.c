/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durable publication: the one place where a file gets its name. A reader sees the whole content or
 * no file.
 *
 *     create .hf-tmp-* -> write -> fsync -> close -> link (or rename) -> unlink .hf-tmp-* -> fsync
 * of the directory
 *
 * A crash before the link leaves a temporary, which hf_fs_sweep_temporaries removes; a crash after
 * it leaves the file, whole. While a temporary is in use its maker holds a lock on it, so that a
 * sweep leaves it alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "os/clock.h"
#include "os/fs.h"
#include "os/fs_internal.h"

#define TEMPORARY_PREFIX ".hf-tmp-"
#define TEMPORARY_DIGITS 16
#define MOST_NAMES_SWEPT 10000000
#define MOST_TRIES 64
/* Smaller content costs more waiting than copying. */
#define SMALLEST_PAST_CACHE ((size_t)1 << 20)

/*
 * Large content goes past the page cache, as far as it fills pages and the file system can: copying it there costs as
 * much as encrypting it does, and nobody reads it soon (docs/design/performance.md). Returns how much is written;
 * the usual way goes on from there, and finds out what the cause was.
 */
static size_t write_past_cache(int fd, struct hf_bytes content)
{
    size_t whole = content.len - content.len % HF_PAGE_BYTES;
    ssize_t written;
    int flags = fcntl(fd, F_GETFL);

    if (content.len < SMALLEST_PAST_CACHE || (uintptr_t)content.data % HF_PAGE_BYTES != 0 ||
        flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) != 0) {
        return 0;
    }
    do {
        written = write(fd, content.data, whole);
    } while (written < 0 && errno == EINTR);
    (void)fcntl(fd, F_SETFL, flags); /* if not, the next write says so */
    return written > 0 ? (size_t)written : 0;
}

static enum hf_err write_and_sync(int fd, struct hf_bytes content, struct hf_error *err)
{
    if (HF_FAULT("os.fs.publish.write", err) != HF_ERR_OK) {
        return err->code;
    }
    size_t at = write_past_cache(fd, content);
    while (at < content.len) {
        ssize_t written = write(fd, content.data + at, content.len - at);
        if (written < 0 && errno != EINTR) {
            return hf_fail_errno(err, errno, "write");
        }
        at += written > 0 ? (size_t)written : 0;
    }
    if (HF_FAULT("os.fs.publish.sync", err) != HF_ERR_OK) {
        return err->code;
    }
    if (fsync(fd) != 0) {
        return hf_fail_errno(err, errno, "sync");
    }
    return HF_ERR_OK;
}

static enum hf_err link_new(const char *temporary, const char *path, struct hf_error *err)
{
    if (link(temporary, path) != 0) {
        return hf_fail_errno(err, errno, "link");
    }
    if (unlink(temporary) != 0) {
        int cause = errno;
        (void)unlink(path); /* no trace; the first failure is the one to tell */
        return hf_fail_errno(err, cause, "remove the temporary name");
    }
    return HF_ERR_OK;
}

static enum hf_err give_name(const char *temporary, const char *path, bool replace,
                             struct hf_error *err)
{
    if (HF_FAULT("os.fs.publish.link", err) != HF_ERR_OK) {
        return err->code;
    }
    if (!replace) {
        return link_new(temporary, path, err);
    }
    if (rename(temporary, path) != 0) {
        return hf_fail_errno(err, errno, "rename");
    }
    return HF_ERR_OK;
}

static enum hf_err sync_name(const char *path, struct hf_error *err)
{
    if (HF_FAULT("os.fs.publish.dirsync", err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_fs_sync_parent(path, err);
}

/* "dir/.hf-tmp-<16 random digits>"; NULL on no memory. */
static char *temporary_beside(const char *path)
{
    uint64_t random;
    HF_CLEANUP(hf_free) char *parent = hf_fs_parent_of(path);
    hf_random_bytes(&random, sizeof random);
    return parent == NULL ? NULL
                          : hf_asprintf("%s/" TEMPORARY_PREFIX "%016" PRIx64, parent, random);
}

/* Not left to close: a child of another thread that has not become its program yet has the same open file, and who locks
 * the file next would find it held. */
static void close_unlocked(int fd)
{
    (void)flock(fd, LOCK_UN);
    (void)close(fd); /* all is synced, or has failed: nothing is left that could fail */
}

/* A sweep that came between the making of the file and its lock has taken it for a left-over. */
static bool was_swept(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 && info.st_nlink == 0;
}

/* The open temporary, which a sweep leaves alone from now on; negative after an error. */
static int make_temporary(const char *path, uint32_t mode, char **out, struct hf_error *err)
{
    for (unsigned tries = 0; tries < MOST_TRIES; tries++) {
        HF_CLEANUP(hf_free) char *temporary = temporary_beside(path);
        if (temporary == NULL) {
            (void)hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a name");
            return -1;
        }
        int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        if (fd < 0) {
            (void)hf_fail_errno(err, errno, "make a temporary file");
            return -1;
        }
        /* A sweep has the lock for a moment only. Without locks (some network file systems) it may take the file away:
         * then its new name cannot be given, and that is said. */
        (void)flock(fd, LOCK_EX);
        if (!was_swept(fd)) {
            *out = HF_TAKE(temporary);
            return fd;
        }
        (void)close(fd);
    }
    (void)hf_fail(err, HF_ERR_BUSY, "temporary files are swept away as soon as they are made");
    return -1;
}

static enum hf_err publish(const char *path, struct hf_bytes content, uint32_t mode, bool replace,
                           struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *temporary = NULL;
    int fd = make_temporary(path, mode, &temporary, err);
    if (fd < 0) {
        return err->code;
    }
    if (write_and_sync(fd, content, err) != HF_ERR_OK) {
        goto unlink_temporary;
    }
    if (give_name(temporary, path, replace, err) != HF_ERR_OK) {
        goto unlink_temporary;
    }
    if (sync_name(path, err) != HF_ERR_OK) {
        /* The name stays: whoever put the same bytes meanwhile may have been told that they are there (I1). */
        close_unlocked(fd);
        return err->code;
    }
    close_unlocked(fd);
    return HF_ERR_OK;

unlink_temporary:
    (void)unlink(temporary); /* the first failure is the one to tell; a sweep gets what stays */
    close_unlocked(fd);
    return err->code;
}

enum hf_err hf_fs_publish_new(const char *path, struct hf_bytes content, uint32_t mode,
                              struct hf_error *err)
{
    struct stat info;
    /* Only saves the writing of what link would refuse in the end. */
    if (lstat(path, &info) == 0) {
        return hf_fail_errno(err, EEXIST, "publish %s", path);
    }
    return publish(path, content, mode, false, err) == HF_ERR_OK ? HF_ERR_OK
                                                                 : hf_wrap(err, "publish %s", path);
}

enum hf_err hf_fs_publish_replace(const char *path, struct hf_bytes content, uint32_t mode,
                                  struct hf_error *err)
{
    return publish(path, content, mode, true, err) == HF_ERR_OK ? HF_ERR_OK
                                                                : hf_wrap(err, "publish %s", path);
}

bool hf_fs_is_temporary_name(const char *name)
{
    size_t head = strlen(TEMPORARY_PREFIX);

    return strncmp(name, TEMPORARY_PREFIX, head) == 0 &&
           strspn(name + head, "0123456789abcdef") == TEMPORARY_DIGITS &&
           name[head + TEMPORARY_DIGITS] == '\0';
}

/* A temporary whose maker lives is locked and stays. */
static enum hf_err sweep_one(const char *path, struct hf_error *err)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? HF_ERR_OK : hf_fail_errno(err, errno, "remove %s", path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        (void)close(fd);
        return HF_ERR_OK;
    }
    enum hf_err code = hf_fs_remove_scratch(path, err);
    (void)close(fd);
    return code;
}

enum hf_err hf_fs_sweep_temporaries(const char *dir, struct hf_error *err)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list list = {.names = NULL, .count = 0};
    if (hf_fs_list(dir, MOST_NAMES_SWEPT, &list, err) != HF_ERR_OK) {
        return hf_wrap(err, "sweep %s", dir);
    }
    for (size_t i = 0; i < list.count; i++) {
        if (strncmp(list.names[i], TEMPORARY_PREFIX, strlen(TEMPORARY_PREFIX)) != 0) {
            continue;
        }
        HF_CLEANUP(hf_free) char *path = hf_path_join(dir, list.names[i]);
        if (path == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "sweep %s", dir);
        }
        if (sweep_one(path, err) != HF_ERR_OK) {
            return hf_wrap(err, "sweep %s", dir);
        }
    }
    return HF_ERR_OK;
}
