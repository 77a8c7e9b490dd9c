/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files: positioned reads and writes, sync, holes; locks on files; whole files read at once.
 * Positions are always given, so that threads may share a file.
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
#include "os/fs.h"
#include "os/fs_internal.h"

#define ZEROS_BYTES ((size_t)64 << 10)

static int open_flags(enum hf_open_mode how)
{
    switch (how) {
    case HF_OPEN_READ:
        /* Never waits for the other end of a pipe that somebody put in a file's place. */
        return O_RDONLY | O_NONBLOCK | O_CLOEXEC;
    case HF_OPEN_WRITE:
        return O_RDWR | O_CLOEXEC;
    case HF_OPEN_CREATE_NEW:
        return O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    case HF_OPEN_CREATE:
        return O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC;
    case HF_OPEN_APPEND:
        return O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
    default:
        HF_ASSERT(false);
    }
}

static enum hf_err refuse_unless_regular(const struct hf_file *file, struct hf_error *err)
{
    struct stat info;
    if (fstat(file->fd, &info) != 0) {
        return hf_fail_errno(err, errno, "open %s", file->path);
    }
    if (!S_ISREG(info.st_mode)) {
        return hf_fail(err, HF_ERR_INVALID, "open %s: not a regular file", file->path);
    }
    return HF_ERR_OK;
}

enum hf_err hf_file_open(const char *path, enum hf_open_mode how, uint32_t mode,
                         struct hf_file **out, struct hf_error *err)
{
    struct hf_file *file = hf_alloc_zero(sizeof *file);
    if (file == NULL || (file->path = hf_strdup(path)) == NULL) {
        hf_free(file);
        return hf_fail(err, HF_ERR_NO_MEMORY, "open %s", path);
    }
    file->how = how;
    file->fd = open(path, open_flags(how), mode);
    if (file->fd < 0) {
        int cause = errno;
        hf_free(file->path);
        hf_free(file);
        return hf_fail_errno(err, cause, "open %s", path);
    }
    hf_mutex_init(&file->mutex);
    atomic_init(&file->direct_fd, HF_FILE_DIRECT_UNKNOWN);
    if (how == HF_OPEN_READ && refuse_unless_regular(file, err) != HF_ERR_OK) {
        hf_file_drop(file);
        return err->code;
    }
    *out = file;
    return HF_ERR_OK;
}

/* The errno of close, or 0. Linux has closed the descriptor in every case, an interrupted call
 * included. */
static int close_and_free(struct hf_file *file)
{
    hf_file_windows_fini(file);
    int direct = atomic_load(&file->direct_fd);
    if (direct >= 0) {
        (void)close(direct); /* what is written through it is not delayed: no error waits here */
    }
    int result = close(file->fd) == 0 || errno == EINTR ? 0 : errno;
    hf_mutex_fini(&file->mutex);
    hf_free(file->path);
    hf_free(file);
    return result;
}

enum hf_err hf_file_close(struct hf_file *file, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = HF_TAKE(file->path);
    int cause = close_and_free(file);
    return cause == 0 ? HF_ERR_OK : hf_fail_errno(err, cause, "close %s", path);
}

void hf_file_drop(struct hf_file *file)
{
    if (file != NULL) {
        (void)close_and_free(file);
    }
}

enum hf_err hf_file_info(struct hf_file *file, struct hf_file_info *out, struct hf_error *err)
{
    struct stat info;
    if (fstat(file->fd, &info) != 0) {
        return hf_fail_errno(err, errno, "look at %s", file->path);
    }
    hf_fs_info_of(&info, out);
    return HF_ERR_OK;
}

static enum hf_err refuse_offset(const struct hf_file *file, const char *deed, uint64_t offset,
                                 size_t len, struct hf_error *err)
{
    uint64_t end;
    if (__builtin_add_overflow(offset, len, &end) || end > INT64_MAX) {
        return hf_fail(err, HF_ERR_INVALID, "%s %s: %zu bytes at %" PRIu64 " lie beyond any file",
                       deed, file->path, len, offset);
    }
    return HF_ERR_OK;
}

enum hf_err hf_file_read_plain(struct hf_file *file, uint64_t offset, uint8_t *out, size_t len,
                               size_t *got, struct hf_error *err)
{
    size_t done = 0;
    if (HF_FAULT("os.file.read", err) != HF_ERR_OK) {
        return hf_wrap(err, "read %s at %" PRIu64, file->path, offset);
    }
    if (refuse_offset(file, "read", offset, len, err) != HF_ERR_OK) {
        return err->code;
    }
    while (done < len) {
        ssize_t count = pread(file->fd, out + done, len - done, (off_t)(offset + done));
        if (count == 0) {
            break;
        }
        if (count < 0 && errno != EINTR) {
            return hf_fail_errno(err, errno, "read %s at %" PRIu64, file->path, offset + done);
        }
        done += count > 0 ? (size_t)count : 0;
    }
    *got = done;
    return HF_ERR_OK;
}

enum hf_err hf_file_read_at(struct hf_file *file, uint64_t offset, void *out, size_t len,
                            size_t *got, struct hf_error *err)
{
    return hf_file_read_plain(file, offset, out, len, got, err);
}

enum hf_err hf_file_write_at(struct hf_file *file, uint64_t offset, struct hf_bytes bytes,
                             struct hf_error *err)
{
    size_t done = 0;
    HF_ASSERT(file->how != HF_OPEN_APPEND); /* the kernel would ignore the offset */
    if (HF_FAULT("os.file.write", err) != HF_ERR_OK) {
        return hf_wrap(err, "write %s at %" PRIu64, file->path, offset);
    }
    if (refuse_offset(file, "write", offset, bytes.len, err) != HF_ERR_OK) {
        return err->code;
    }
    while (done < bytes.len) {
        ssize_t count =
            pwrite(file->fd, bytes.data + done, bytes.len - done, (off_t)(offset + done));
        if (count < 0 && errno != EINTR) {
            return hf_fail_errno(err, errno, "write %s at %" PRIu64, file->path, offset + done);
        }
        done += count > 0 ? (size_t)count : 0;
    }
    return HF_ERR_OK;
}

enum hf_err hf_file_append(struct hf_file *file, struct hf_bytes bytes, struct hf_error *err)
{
    size_t done = 0;
    HF_ASSERT(file->how == HF_OPEN_APPEND);
    if (HF_FAULT("os.file.write", err) != HF_ERR_OK) {
        return hf_wrap(err, "append to %s", file->path);
    }
    while (done < bytes.len) {
        ssize_t count = write(file->fd, bytes.data + done, bytes.len - done);
        if (count < 0 && errno != EINTR) {
            return hf_fail_errno(err, errno, "append to %s", file->path);
        }
        done += count > 0 ? (size_t)count : 0;
    }
    return HF_ERR_OK;
}

enum hf_err hf_file_truncate(struct hf_file *file, uint64_t size_bytes, struct hf_error *err)
{
    if (refuse_offset(file, "truncate", size_bytes, 0, err) != HF_ERR_OK) {
        return err->code;
    }
    while (ftruncate(file->fd, (off_t)size_bytes) != 0) {
        if (errno != EINTR) {
            return hf_fail_errno(err, errno, "truncate %s to %" PRIu64, file->path, size_bytes);
        }
    }
    return HF_ERR_OK;
}

/* For file systems without holes. */
static enum hf_err write_zeros(struct hf_file *file, uint64_t offset, uint64_t len,
                               struct hf_error *err)
{
    static const uint8_t zeros[ZEROS_BYTES];
    for (uint64_t done = 0; done < len;) {
        uint64_t step = len - done < ZEROS_BYTES ? len - done : ZEROS_BYTES;
        if (hf_file_write_at(file, offset + done, hf_bytes_of(zeros, (size_t)step), err) !=
            HF_ERR_OK) {
            return err->code;
        }
        done += step;
    }
    return HF_ERR_OK;
}

enum hf_err hf_file_zero(struct hf_file *file, uint64_t offset, uint64_t len, struct hf_error *err)
{
    if (HF_FAULT("os.file.zero", err) != HF_ERR_OK) {
        return hf_wrap(err, "make a hole in %s at %" PRIu64, file->path, offset);
    }
    if (refuse_offset(file, "make a hole in", offset, (size_t)len, err) != HF_ERR_OK) {
        return err->code;
    }
    while (len > 0 && fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                                (off_t)len) != 0) {
        if (errno == EOPNOTSUPP || errno == ENOSYS) {
            return write_zeros(file, offset, len, err);
        }
        if (errno != EINTR) {
            return hf_fail_errno(err, errno, "make a hole in %s at %" PRIu64, file->path, offset);
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_file_sync(struct hf_file *file, struct hf_error *err)
{
    if (HF_FAULT("os.file.sync", err) != HF_ERR_OK) {
        atomic_store(&file->sync_failed, true);
        return hf_wrap(err, "sync %s", file->path);
    }
    /* The kernel reports lost writes once and drops them: a second sync would succeed over the
     * hole. */
    if (atomic_load(&file->sync_failed)) {
        return hf_fail(err, HF_ERR_IO, "sync %s: an earlier sync of it failed", file->path);
    }
    if (fsync(file->fd) != 0) {
        atomic_store(&file->sync_failed, true);
        return hf_fail_errno(err, errno, "sync %s", file->path);
    }
    return HF_ERR_OK;
}

void hf_file_flush_hint(struct hf_file *file, uint64_t offset, uint64_t len)
{
    if (offset <= INT64_MAX && len <= INT64_MAX) {
        /* A hint: the sync that follows it tells what went wrong. */
        (void)sync_file_range(file->fd, (off_t)offset, (off_t)len, SYNC_FILE_RANGE_WRITE);
    }
}

enum hf_err hf_file_next_data(struct hf_file *file, uint64_t offset, uint64_t *start, uint64_t *end,
                              struct hf_error *err)
{
    struct stat info;
    if (fstat(file->fd, &info) != 0) {
        return hf_fail_errno(err, errno, "look at %s", file->path);
    }
    uint64_t size = (uint64_t)info.st_size;
    *start = *end = size;
    if (offset >= size) {
        return HF_ERR_OK;
    }
    off_t data = lseek(file->fd, (off_t)offset, SEEK_DATA);
    off_t hole = data < 0 ? -1 : lseek(file->fd, data, SEEK_HOLE);
    if (data < 0 || hole < 0) {
        if (errno == ENXIO) {
            return HF_ERR_OK; /* only a hole is left, or the file was shortened meanwhile */
        }
        if (errno != EINVAL && errno != EOPNOTSUPP) {
            return hf_fail_errno(err, errno, "look for data in %s", file->path);
        }
        *start = offset;
        return HF_ERR_OK;
    }
    *start = (uint64_t)data < size ? (uint64_t)data : size;
    *end = (uint64_t)hole < size ? (uint64_t)hole : size;
    return HF_ERR_OK;
}

enum hf_err hf_fs_read_whole(const char *path, size_t max, struct hf_buf *out, struct hf_error *err)
{
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    struct hf_file_info info;
    size_t got;

    hf_buf_clear(out);
    if (hf_file_open(path, HF_OPEN_READ, 0, &file, err) != HF_ERR_OK ||
        hf_file_info(file, &info, err) != HF_ERR_OK) {
        return err->code;
    }
    if (info.size_bytes > max) {
        return hf_fail(err, HF_ERR_LIMIT, "read %s: %" PRIu64 " bytes, at most %zu are allowed",
                       path, info.size_bytes, max);
    }
    /* The size is a first guess (files of the kernel say 0): what counts is the end. */
    for (size_t step = (size_t)info.size_bytes;;) {
        uint8_t probe;
        if (hf_buf_reserve(out, step, err) != HF_ERR_OK) {
            return hf_wrap(err, "read %s", path);
        }
        if (step > 0) {
            if (hf_file_read_plain(file, out->len, out->data + out->len, step, &got, err) !=
                HF_ERR_OK) {
                return err->code;
            }
            out->len += got;
            if (got < step) {
                return HF_ERR_OK;
            }
        }
        if (hf_file_read_plain(file, out->len, &probe, 1, &got, err) != HF_ERR_OK) {
            return err->code;
        }
        if (got == 0) {
            return HF_ERR_OK;
        }
        if (out->len >= max) {
            return hf_fail(err, HF_ERR_LIMIT, "read %s: more than the %zu bytes that are allowed",
                           path, max);
        }
        step = max - out->len < 4096 ? max - out->len : 4096;
    }
}

struct hf_lock_file {
    int fd;
};

static enum hf_err refuse_held(int fd, const char *path, struct hf_error *err)
{
    char holder[24] = "";
    ssize_t len = pread(fd, holder, sizeof holder - 1, 0);
    uint64_t pid;
    /* mongod ends the line. */
    len -= len > 0 && holder[len - 1] == '\n' ? 1 : 0;
    if (len > 0 && hf_parse_u64((struct hf_str){.data = holder, .len = (size_t)len}, &pid)) {
        return hf_fail(err, HF_ERR_CONFLICT, "lock %s: process %" PRIu64 " holds it", path, pid);
    }
    return hf_fail(err, HF_ERR_CONFLICT, "lock %s: another process holds it", path);
}

static enum hf_err lock_file(const char *path, int flags, int how, struct hf_lock_file **out,
                             struct hf_error *err)
{
    struct hf_lock_file *lock = hf_alloc_zero(sizeof *lock);
    if (lock == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "lock %s", path);
    }
    lock->fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
    if (lock->fd < 0) {
        int cause = errno;
        hf_free(lock);
        return hf_fail_errno(err, cause, "lock %s", path);
    }
    if (flock(lock->fd, how | LOCK_NB) != 0) {
        enum hf_err code = errno == EWOULDBLOCK ? refuse_held(lock->fd, path, err)
                                                : hf_fail_errno(err, errno, "lock %s", path);
        hf_lock_file_drop(lock);
        return code;
    }
    *out = lock;
    return HF_ERR_OK;
}

enum hf_err hf_lock_file_borrow(const char *path, struct hf_lock_file **out, struct hf_error *err)
{
    return lock_file(path, 0, LOCK_EX, out, err);
}

enum hf_err hf_lock_file_share(const char *path, struct hf_lock_file **out, struct hf_error *err)
{
    return lock_file(path, O_CREAT, LOCK_SH, out, err);
}

enum hf_err hf_lock_file_take(const char *path, struct hf_lock_file **out, struct hf_error *err)
{
    char pid[24];
    if (lock_file(path, O_CREAT, LOCK_EX, out, err) != HF_ERR_OK) {
        return err->code;
    }
    /* The holder's number is for people; the lock holds without it. */
    int len = snprintf(pid, sizeof pid, "%d", (int)getpid());
    if (ftruncate((*out)->fd, 0) == 0) {
        (void)!pwrite((*out)->fd, pid, (size_t)len, 0);
    }
    return HF_ERR_OK;
}

enum hf_err hf_lock_file_check_records(const char *path, struct hf_error *err)
{
    struct flock wanted = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? HF_ERR_OK : hf_fail_errno(err, errno, "look at %s", path);
    }
    int cause = fcntl(fd, F_GETLK, &wanted) == 0 ? 0 : errno;
    (void)close(fd); /* nothing was written through it, and no lock of ours is on it */
    if (cause != 0) {
        return hf_fail_errno(err, cause, "look for locks on %s", path);
    }
    if (wanted.l_type != F_UNLCK) {
        return hf_fail(err, HF_ERR_CONFLICT, "lock %s: process %d holds it", path,
                       (int)wanted.l_pid);
    }
    return HF_ERR_OK;
}

void hf_lock_file_drop(struct hf_lock_file *lock)
{
    if (lock != NULL) {
        /*
         * Not left to close: a child that another thread has forked, and that has not become its program yet, holds the
         * same open file. The file stays: removing it would let two processes lock two files of one name.
         */
        (void)flock(lock->fd, LOCK_UN);
        (void)close(lock->fd);
        hf_free(lock);
    }
}
