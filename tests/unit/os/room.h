/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of this room share: a directory of their own, and paths in it.
 */
#ifndef HF_TESTS_UNIT_OS_ROOM_H
#define HF_TESTS_UNIT_OS_ROOM_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "os/fs.h"

struct room {
    char *dir;
    char path[8][512]; /* one for each of at most 8 names in use at a time */
    unsigned next;
};

static inline int room_open(void **state)
{
    struct hf_error err;
    struct room *room = hf_alloc_zero(sizeof *room);
    if (room == NULL || hf_fs_make_temp_dir("hf-unit-os-", &room->dir, &err) != HF_ERR_OK) {
        return -1;
    }
    *state = room;
    return 0;
}

static inline int room_close(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    hf_fault_disarm_all();
    int result = hf_fs_remove_tree(room->dir, &err) == HF_ERR_OK ? 0 : -1;
    hf_free(room->dir);
    hf_free(room);
    return result;
}

static inline const char *at(struct room *room, const char *name)
{
    char *path = room->path[room->next++ % 8];
    (void)snprintf(path, sizeof room->path[0], "%s/%s", room->dir, name);
    return path;
}

/* Pages of [offset, offset + len) that are in the page cache. */
static inline size_t resident_pages(const char *path, uint64_t offset, uint64_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), count = 0, pages = (len + page - 1) / page;
    unsigned char *flags = hf_alloc_zero(pages);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, (off_t)offset);
    assert_true(map != MAP_FAILED);
    assert_int_equal(mincore(map, len, flags), 0);
    for (size_t i = 0; i < pages; i++) {
        count += flags[i] & 1;
    }
    (void)munmap(map, len);
    (void)close(fd);
    hf_free(flags);
    return count;
}

/* Does the file system of that directory write past the page cache? */
static inline bool can_write_past_cache(const char *dir)
{
    HF_CLEANUP(hf_free) uint8_t *page = hf_alloc_pages(HF_PAGE_BYTES);
    HF_CLEANUP(hf_free) char *path = hf_path_join(dir, "probe");
    memset(page, 0, HF_PAGE_BYTES);
    int fd = open(path, O_WRONLY | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
    bool can = fd >= 0 && write(fd, page, HF_PAGE_BYTES) == (ssize_t)HF_PAGE_BYTES &&
               resident_pages(path, 0, HF_PAGE_BYTES) == 0;
    (void)close(fd);
    (void)unlink(path);
    return can;
}

static inline void put(const char *path, const char *content)
{
    FILE *stream = fopen(path, "w");
    assert_non_null(stream);
    assert_true(fputs(content, stream) >= 0);
    assert_int_equal(fclose(stream), 0);
}

static inline void assert_content(const char *path, const char *content)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT(1 << 20);
    struct hf_error err;
    assert_int_equal(hf_fs_read_whole(path, 1 << 20, &buf, &err), HF_ERR_OK);
    assert_string_equal(hf_buf_text(&buf), content);
}

static inline size_t entry_count(const char *dir)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list list = {.names = NULL};
    struct hf_error err;
    assert_int_equal(hf_fs_list(dir, 100000, &list, &err), HF_ERR_OK);
    return list.count;
}

/* The message is `prefix`, the path, `suffix`. */
static inline void assert_message(const struct hf_error *err, const char *prefix, const char *path,
                                  const char *suffix)
{
    char expected[2048];
    (void)snprintf(expected, sizeof expected, "%s%s%s", prefix, path, suffix);
    assert_string_equal(err->message, expected);
}

#define IN_ROOM(test) cmocka_unit_test_setup_teardown(test, room_open, room_close)

#endif
