/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a file beside its owner (a database) so that the page cache is afterwards as it was.
 *
 * A file is seen as aligned windows of 4 MiB. The first read in a window asks which of its pages
 * are resident (mincore). When the window has been read, or is given up because others are in use,
 * what was not resident is dropped with POSIX_FADV_DONTNEED. Whole windows, because smaller ranges
 * leave large folios in the cache; and the kernel's own readahead is off, because what it brings
 * would look like the owner's in the next window. A reader that begins at a window's start gets the
 * window requested at once, which is as good.
 *
 * Threads may read anywhere. A window that is given up and asked for again in the same moment may
 * count as the owner's what is just being dropped: the worst is 4 MiB that stay cached.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "os/fs.h"
#include "os/fs_internal.h"

#define WINDOW_BYTES (UINT64_C(4) << 20)
#define SMALLEST_PAGE 4096
/* Windows remembered per file beyond those that are being read: readers at several places. */
#define KEPT_WINDOWS 32
/* Windows looked at ahead of a reader: more than the readahead that disks are usually set to (up to 8 MiB). */
#define WINDOWS_AHEAD 4

struct hf_file_window {
    struct hf_file_window *next; /* owned */
    uint64_t index;
    uint64_t size_bytes; /* what the file has of it */
    uint64_t read_bytes;
    uint64_t used_at; /* tick of the last use */
    unsigned readers;
    bool entered; /* false: only looked at, ahead of a reader */
    bool all_resident;
    uint8_t resident[WINDOW_BYTES /
                     SMALLEST_PAGE]; /* lowest bit, one byte per page, as mincore gives it */
};

static size_t page_bytes(void)
{
    long size = sysconf(_SC_PAGESIZE);
    return size < SMALLEST_PAGE ? SMALLEST_PAGE : (size_t)size;
}

static size_t page_count(const struct hf_file_window *window)
{
    return (size_t)((window->size_bytes + page_bytes() - 1) / page_bytes());
}

/*
 * Where the system does not tell, all counts as resident: the owner's cache is left alone at the
 * price of ours. The kernel tells only the file's owner and who may write to it.
 */
static void look_at_cache(const struct hf_file *file, struct hf_file_window *window)
{
    struct stat info;
    uint64_t start = window->index * WINDOW_BYTES;

    window->all_resident = true;
    if (fstat(file->fd, &info) != 0 || (uint64_t)info.st_size <= start) {
        return;
    }
    uint64_t left = (uint64_t)info.st_size - start;
    window->size_bytes = left < WINDOW_BYTES ? left : WINDOW_BYTES;
    size_t len = (size_t)window->size_bytes;
    void *map = mmap(NULL, len, PROT_READ, MAP_SHARED, file->fd, (off_t)start);
    if (map == MAP_FAILED) {
        return;
    }
    if (mincore(map, len, window->resident) == 0) {
        size_t count = page_count(window);
        for (size_t i = 0; i < count && window->all_resident; i++) {
            window->all_resident = (window->resident[i] & 1) != 0;
        }
    }
    (void)munmap(map, len);
}

/* Drops the runs of pages that were not there before. Failure leaves pages in the cache, no more.
 */
static void give_back(const struct hf_file *file, const struct hf_file_window *window)
{
    size_t count = page_count(window);
    size_t page = page_bytes();

    for (size_t i = 0; i < count && !window->all_resident;) {
        size_t start = i;
        while (i < count && (window->resident[i] & 1) == 0) {
            i++;
        }
        if (i > start) {
            (void)posix_fadvise(file->fd, (off_t)(window->index * WINDOW_BYTES + start * page),
                                (off_t)((i - start) * page), POSIX_FADV_DONTNEED);
        }
        while (i < count && (window->resident[i] & 1) != 0) {
            i++;
        }
    }
}

static void unlink_locked(struct hf_file *file, const struct hf_file_window *window)
{
    struct hf_file_window **at = &file->windows;
    while (*at != window) {
        at = &(*at)->next;
    }
    *at = window->next;
    file->window_count--;
}

/* The window longest unused that nobody reads, taken out of the list; NULL while few enough are
 * kept. */
static struct hf_file_window *take_oldest_locked(struct hf_file *file)
{
    struct hf_file_window *oldest = NULL;
    if (file->window_count < KEPT_WINDOWS) {
        return NULL;
    }
    for (struct hf_file_window *w = file->windows; w != NULL; w = w->next) {
        if (w->readers == 0 && (oldest == NULL || w->used_at < oldest->used_at)) {
            oldest = w;
        }
    }
    if (oldest != NULL) {
        unlink_locked(file, oldest);
    }
    return oldest;
}

static struct hf_file_window *find_locked(struct hf_file *file, uint64_t index)
{
    struct hf_file_window *w = file->windows;
    while (w != NULL && w->index != index) {
        w = w->next;
    }
    return w;
}

/* The window, looked at now if it was not yet; NULL on no memory. *given_up is the caller's to give
 * back. */
static struct hf_file_window *look_locked(struct hf_file *file, uint64_t index,
                                          struct hf_file_window **given_up)
{
    struct hf_file_window *window = find_locked(file, index);
    if (window == NULL) {
        *given_up = take_oldest_locked(file);
        window = hf_alloc_zero(sizeof *window);
        if (window == NULL) {
            return NULL;
        }
        window->index = index;
        /* A question to the kernel, not I/O; nobody may read here before the answer. */
        look_at_cache(file, window);
        window->next = file->windows;
        file->windows = window;
        file->window_count++;
    }
    window->used_at = ++file->tick;
    return window;
}

/*
 * The window with one more reader; *is_first when nobody read in it before. NULL on no memory. The
 * next window is looked at too: a page that the owner's readahead marked starts a readahead when we
 * touch it, and that may reach there.
 */
static struct hf_file_window *enter_window(struct hf_file *file, uint64_t index, bool *is_first)
{
    struct hf_file_window *given_up[1 + WINDOWS_AHEAD] = {NULL};

    hf_mutex_lock(&file->mutex);
    struct hf_file_window *window = look_locked(file, index, &given_up[0]);
    if (window != NULL) {
        *is_first = !window->entered;
        window->entered = true;
        window->readers++;
        struct hf_file_window *ahead = window;
        for (size_t i = 1;
             i <= WINDOWS_AHEAD && *is_first && ahead != NULL && ahead->size_bytes == WINDOW_BYTES;
             i++) {
            /* Out of memory it is left out: a little may stay cached. */
            ahead = look_locked(file, index + i, &given_up[i]);
        }
    }
    hf_mutex_unlock(&file->mutex);
    for (size_t i = 0; i < HF_ARRAY_LEN(given_up); i++) {
        if (given_up[i] != NULL) {
            give_back(file, given_up[i]);
            hf_free(given_up[i]);
        }
    }
    return window;
}

static void leave_window(struct hf_file *file, struct hf_file_window *window, size_t read_bytes)
{
    hf_mutex_lock(&file->mutex);
    window->readers--;
    window->read_bytes += read_bytes;
    bool finished = window->readers == 0 && window->read_bytes >= window->size_bytes;
    if (finished) {
        unlink_locked(file, window);
    }
    hf_mutex_unlock(&file->mutex);
    if (finished) {
        give_back(file, window);
        hf_free(window);
    }
}

static enum hf_err read_in_window(struct hf_file *file, uint64_t offset, uint8_t *out, size_t len,
                                  size_t *got, struct hf_error *err)
{
    bool is_first;
    struct hf_file_window *window = enter_window(file, offset / WINDOW_BYTES, &is_first);
    if (window == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "read %s", file->path);
    }
    if (is_first && offset % WINDOW_BYTES == 0 && !window->all_resident) {
        (void)posix_fadvise(file->fd, (off_t)offset, (off_t)window->size_bytes,
                            POSIX_FADV_WILLNEED);
    }
    *got = 0;
    enum hf_err code = hf_file_read_plain(file, offset, out, len, got, err);
    leave_window(file, window, *got);
    return code;
}

enum hf_err hf_file_read_at_uncached(struct hf_file *file, uint64_t offset, void *out, size_t len,
                                     size_t *got, struct hf_error *err)
{
    uint8_t *to = out;
    size_t done = 0;

    if (!atomic_exchange(&file->uncached, true)) {
        (void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_RANDOM);
    }
    if (offset > INT64_MAX - WINDOW_BYTES || len > INT64_MAX - WINDOW_BYTES - offset) {
        return hf_file_read_plain(file, offset, out, len, got, err); /* refuses or finds nothing */
    }
    while (done < len) {
        size_t in_window = (size_t)(WINDOW_BYTES - (offset + done) % WINDOW_BYTES);
        size_t step = len - done < in_window ? len - done : in_window;
        size_t count = 0;
        if (read_in_window(file, offset + done, to + done, step, &count, err) != HF_ERR_OK) {
            return err->code;
        }
        done += count;
        if (count < step) {
            break;
        }
    }
    *got = done;
    return HF_ERR_OK;
}

void hf_file_windows_fini(struct hf_file *file)
{
    while (file->windows != NULL) {
        struct hf_file_window *window = file->windows;
        HF_ASSERT(window->readers == 0);
        unlink_locked(file, window);
        give_back(file, window);
        hf_free(window);
    }
}
