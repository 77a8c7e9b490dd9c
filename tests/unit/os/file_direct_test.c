/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing past the page cache gives the same bytes as writing, from any memory to any place.
 */
#include "room.h"

#include <signal.h>
#include <sys/resource.h>

#include "base/thread.h"

#define PAGE HF_PAGE_BYTES
#define SIZE (64 * PAGE + 777)
#define THREADS 4

struct fixture {
    struct room *room;
    struct hf_file *file; /* owned */
    uint8_t *content;     /* owned; of SIZE, begins at a page */
    uint8_t *model;       /* owned; what the file should hold */
};

static struct fixture open_fixture(void **state)
{
    struct fixture f = {.room = *state};
    struct hf_error err;
    assert_int_equal(
        hf_file_open(at(f.room, "restored.wt"), HF_OPEN_CREATE_NEW, 0600, &f.file, &err),
        HF_ERR_OK);
    assert_int_equal(hf_file_truncate(f.file, SIZE, &err), HF_ERR_OK);
    f.content = hf_alloc_pages(SIZE);
    f.model = hf_alloc_zero(SIZE);
    assert_non_null(f.content);
    assert_non_null(f.model);
    for (size_t i = 0; i < SIZE; i++) {
        f.content[i] = (uint8_t)(i * 31 + i / PAGE + 1);
    }
    return f;
}

static void close_fixture(struct fixture *f)
{
    hf_file_drop(f->file);
    hf_free(f->content);
    hf_free(f->model);
}

static void write_and_note(struct fixture *f, uint64_t offset, size_t from, size_t len)
{
    struct hf_error err;
    assert_int_equal(
        hf_file_write_at_uncached(f->file, offset, hf_bytes_of(f->content + from, len), &err),
        HF_ERR_OK);
    memcpy(f->model + offset, f->content + from, len);
}

static void assert_as_noted(struct fixture *f)
{
    HF_CLEANUP(hf_free) uint8_t *found = hf_alloc(SIZE + 1);
    struct hf_error err;
    size_t got;
    assert_int_equal(hf_file_read_at(f->file, 0, found, SIZE + 1, &got, &err), HF_ERR_OK);
    assert_int_equal(got, SIZE);
    assert_memory_equal(found, f->model, SIZE);
}

static void test_any_memory_place_and_length_gives_the_same_bytes(void **state)
{
    struct fixture f = open_fixture(state);
    write_and_note(&f, 0, 0, 2 * PAGE);               /* whole pages */
    write_and_note(&f, 4 * PAGE, PAGE, 3 * PAGE + 5); /* and a bit */
    write_and_note(&f, 9 * PAGE + 1, 0, 2 * PAGE);    /* not at a page */
    write_and_note(&f, 16 * PAGE, 3, 2 * PAGE);       /* not from one */
    write_and_note(&f, 20 * PAGE, 0, 10);             /* less than one */
    write_and_note(&f, 21 * PAGE, 0, 0);
    write_and_note(&f, 60 * PAGE, 0, 4 * PAGE + 777); /* the end of the file */
    write_and_note(&f, 4 * PAGE, 7 * PAGE, 2 * PAGE); /* over what the cache knows */
    assert_as_noted(&f);
    close_fixture(&f);
}

static void test_whole_pages_stay_out_of_the_page_cache(void **state)
{
    struct fixture f = open_fixture(state);
    const char *path = at(f.room, "restored.wt");
    bool can = can_write_past_cache(f.room->dir);
    write_and_note(&f, 0, 0, 32 * PAGE);
    assert_int_equal(resident_pages(path, 0, 32 * PAGE) == 0, can);
    assert_as_noted(&f);
    close_fixture(&f);
}

struct writer {
    struct fixture *fixture;
    size_t first;
    struct hf_thread *thread;
    bool failed;
};

static void write_every_nth(void *argument)
{
    struct writer *writer = argument;
    struct hf_error err;
    for (size_t page = writer->first; page < 64; page += THREADS) {
        struct hf_bytes bytes = hf_bytes_of(writer->fixture->content + page * PAGE, PAGE);
        writer->failed =
            writer->failed ||
            hf_file_write_at_uncached(writer->fixture->file, page * PAGE, bytes, &err) != HF_ERR_OK;
    }
}

static void test_threads_share_a_file(void **state)
{
    struct fixture f = open_fixture(state);
    struct writer writers[THREADS];
    struct hf_error err;
    for (size_t i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){.fixture = &f, .first = i};
        assert_int_equal(
            hf_thread_start("writer", write_every_nth, &writers[i], &writers[i].thread, &err),
            HF_ERR_OK);
    }
    for (size_t i = 0; i < THREADS; i++) {
        hf_thread_join(writers[i].thread);
        assert_false(writers[i].failed);
    }
    memcpy(f.model, f.content, 64 * PAGE);
    assert_as_noted(&f);
    close_fixture(&f);
}

static void test_what_cannot_be_written_is_told_with_file_and_place(void **state)
{
    struct fixture f = open_fixture(state);
    struct hf_bytes pages = hf_bytes_of(f.content, 8 * PAGE);
    struct hf_error err;
    struct rlimit before, small = {.rlim_cur = 2 * PAGE + 100};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum hf_err code = hf_file_write_at_uncached(f.file, 0, pages, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(code, HF_ERR_IO);
    assert_message(&err, "write ", at(f.room, "restored.wt"), " at 8292: File too large");
    hf_fault_arm("os.file.write", HF_ERR_NO_SPACE);
    assert_int_equal(hf_file_write_at_uncached(f.file, PAGE, pages, &err), HF_ERR_NO_SPACE);
    assert_non_null(strstr(err.message, "restored.wt at 4096: "));
    hf_fault_disarm_all();
    assert_int_equal(hf_file_write_at_uncached(f.file, INT64_MAX - PAGE + 1, pages, &err),
                     HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "lie beyond any file"));
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_ROOM(test_any_memory_place_and_length_gives_the_same_bytes),
        IN_ROOM(test_whole_pages_stay_out_of_the_page_cache),
        IN_ROOM(test_threads_share_a_file),
        IN_ROOM(test_what_cannot_be_written_is_told_with_file_and_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
