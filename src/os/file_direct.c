/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing past the page cache: whole pages, from memory that begins at a page, through a second descriptor with
 * O_DIRECT. What is no whole page, and all of it where the file system cannot, goes the usual way; the kernel keeps both
 * in agreement. Copying into new pages of the cache costs more than decrypting, unpacking and hashing what is copied
 * (docs/design/performance.md).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "os/fs_internal.h"

/* The second descriptor; negative when there is none. It is opened by number: the name may mean another file by now. */
static int direct_fd(struct hf_file *file)
{
    int fd = atomic_load(&file->direct_fd);
    if (fd != HF_FILE_DIRECT_UNKNOWN) {
        return fd;
    }
    HF_LOCKED(&file->mutex);
    fd = atomic_load(&file->direct_fd);
    if (fd == HF_FILE_DIRECT_UNKNOWN) {
        char own[48];
        (void)snprintf(own, sizeof own, "/proc/self/fd/%d", file->fd);
        fd = open(own, O_WRONLY | O_DIRECT | O_CLOEXEC);
        fd = fd < 0 ? HF_FILE_DIRECT_NONE : fd;
        atomic_store(&file->direct_fd, fd);
    }
    return fd;
}

enum hf_err hf_file_write_at_uncached(struct hf_file *file, uint64_t offset, struct hf_bytes bytes,
                                      struct hf_error *err)
{
    size_t whole = bytes.len - bytes.len % HF_PAGE_BYTES;
    size_t done = 0;

    HF_ASSERT(file->how != HF_OPEN_APPEND && file->how != HF_OPEN_READ);
    if (offset % HF_PAGE_BYTES == 0 && offset <= INT64_MAX - bytes.len &&
        (uintptr_t)bytes.data % HF_PAGE_BYTES == 0 && whole > 0 && direct_fd(file) >= 0) {
        if (HF_FAULT("os.file.write", err) != HF_ERR_OK) {
            return hf_wrap(err, "write %s at %" PRIu64, file->path, offset);
        }
        ssize_t count;
        do {
            count = pwrite(direct_fd(file), bytes.data, whole, (off_t)offset);
        } while (count < 0 && errno == EINTR);
        /* Whatever went wrong, the usual way goes on from here, and tells when it is still wrong. */
        done = count > 0 ? (size_t)count : 0;
    }
    if (done == bytes.len) {
        return HF_ERR_OK;
    }
    enum hf_err code = hf_file_write_at(file, offset + done,
                                        hf_bytes_of(bytes.data + done, bytes.len - done), err);
    if (code == HF_ERR_OK) {
        hf_file_flush_hint(file, offset + done, bytes.len - done);
    }
    return code;
}
