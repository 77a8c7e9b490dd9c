/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver sqlite: the file, its version, several processes on it, and death at any moment.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "base/thread.h"
#include "catalog/catalog.h"
#include "os/fs.h"

static const struct hf_catalog_kind kinds[] = {
    {.name = "snapshot", .indexes = {"job"}},
    {.name = "plain"},
};
/* The same, as a later release declares it. */
static const struct hf_catalog_kind later_kinds[] = {
    {.name = "event", .indexes = {"job"}},
    {.name = "snapshot", .indexes = {"createdS", "job"}},
    {.name = "plain", .indexes = {"job"}},
};

struct fixture {
    char *dir;
    char *path;
};

static int set_up(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);
    struct hf_error err;
    assert_non_null(f);
    assert_int_equal(hf_fs_make_temp_dir("hf-catalog", &f->dir, &err), HF_ERR_OK);
    f->path = hf_path_join(f->dir, "catalog");
    *state = f;
    return f->path == NULL;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    hf_fault_disarm_all();
    assert_int_equal(hf_fs_remove_tree(f->dir, &err), HF_ERR_OK);
    hf_free(f->dir);
    hf_free(f->path);
    hf_free(f);
    return 0;
}

static enum hf_err try_open(struct fixture *f, struct hf_catalog **out, struct hf_error *err)
{
    struct hf_catalog_options options = {
        .path = f->path, .kinds = kinds, .kind_count = HF_ARRAY_LEN(kinds)};
    return hf_catalog_sqlite_open(&options, out, err);
}

static struct hf_catalog *open_catalog(struct fixture *f)
{
    struct hf_error err = {.message = ""};
    struct hf_catalog *catalog = NULL;
    if (try_open(f, &catalog, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    return catalog;
}

static struct hf_catalog *open_later(struct fixture *f)
{
    struct hf_error err = {.message = ""};
    struct hf_catalog *catalog = NULL;
    struct hf_catalog_options options = {
        .path = f->path, .kinds = later_kinds, .kind_count = HF_ARRAY_LEN(later_kinds)};
    if (hf_catalog_sqlite_open(&options, &catalog, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    return catalog;
}

static enum hf_err insert(struct hf_catalog *catalog, const char *id, const char *job,
                          int64_t created, enum hf_catalog_durability durability,
                          struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    hf_json_set_text(json, "job", job);
    hf_json_set_integer(json, "createdS", created);
    return hf_catalog_insert(catalog, "snapshot", id, json, durability, err);
}

static void must_insert(struct hf_catalog *catalog, const char *id, const char *job,
                        int64_t created)
{
    struct hf_error err = {.message = ""};
    if (insert(catalog, id, job, created, HF_CATALOG_SYNCED, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
}

static uint64_t count_of(struct hf_catalog *catalog, const char *index, const char *text)
{
    struct hf_error err = {.message = ""};
    uint64_t count = 0;
    struct hf_catalog_query query = {.kind = "snapshot", .index = index, .equals_text = text};
    if (hf_catalog_count(catalog, &query, &count, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    return count;
}

static void assert_found(struct hf_catalog *catalog, const char *index, const char *expected)
{
    struct hf_error err = {.message = ""};
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list list;
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(4096);
    struct hf_catalog_query query = {.kind = "snapshot", .index = index};
    if (hf_catalog_find(catalog, &query, &list, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    for (size_t i = 0; i < list.count; i++) {
        assert_int_equal(hf_buf_appendf(&text, &err, "%s ", list.documents[i].id), HF_ERR_OK);
    }
    assert_string_equal(hf_buf_text(&text), expected);
}

static void run_sql(struct fixture *f, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_documents_outlive_the_process_and_only_the_owner_reads_them(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct hf_file_info info;
    struct hf_catalog *catalog = open_catalog(f);
    must_insert(catalog, "1", "a", 1);
    hf_catalog_close(catalog);
    assert_int_equal(hf_fs_stat(f->path, &info, &err), HF_ERR_OK);
    assert_int_equal(info.mode & 077, 0);
    catalog = open_catalog(f);
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document;
    assert_int_equal(hf_catalog_get(catalog, "snapshot", "1", &document, &err), HF_ERR_OK);
    assert_int_equal(document.revision, 1);
    assert_string_equal(hf_json_get_text(document.json, "job"), "a");
    assert_int_equal(count_of(catalog, "job", "a"), 1);
    hf_catalog_close(catalog);
}

static void test_a_newer_schema_is_refused_by_name(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct hf_catalog *catalog = open_catalog(f);
    hf_catalog_close(catalog);
    run_sql(f, "PRAGMA user_version=7");
    catalog = NULL;
    assert_int_equal(try_open(f, &catalog, &err), HF_ERR_UNSUPPORTED);
    assert_null(catalog);
    assert_non_null(strstr(err.message, "open catalog "));
    assert_non_null(strstr(err.message, f->path));
    assert_non_null(
        strstr(err.message, "it has schema version 7, this program knows version 1; hint: "));
}

static void test_a_file_of_another_program_is_refused_and_left_alone(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct hf_catalog *catalog = NULL;
    run_sql(f, "CREATE TABLE theirs(x); INSERT INTO theirs VALUES(1)");
    assert_int_equal(try_open(f, &catalog, &err), HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "it is a database of another program"));
    run_sql(f, "INSERT INTO theirs VALUES(2)");
    run_sql(f, "CREATE TABLE documents(x)"); /* nothing of ours was made */
}

static void test_a_file_that_is_no_database_is_corrupt(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct hf_catalog *catalog = NULL;
    char text[2048];
    memset(text, 'x', sizeof text);
    assert_int_equal(hf_fs_publish_new(f->path, hf_bytes_of(text, sizeof text), 0600, &err),
                     HF_ERR_OK);
    assert_int_equal(try_open(f, &catalog, &err), HF_ERR_CORRUPT);
    assert_non_null(strstr(err.message, f->path));
}

static void test_a_missing_directory_is_not_found(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct hf_catalog *catalog = NULL;
    HF_CLEANUP(hf_free) char *path = hf_path_join(f->dir, "missing/catalog");
    struct hf_catalog_options options = {.path = path, .kinds = kinds, .kind_count = 1};
    assert_int_equal(hf_catalog_sqlite_open(&options, &catalog, &err), HF_ERR_NOT_FOUND);
}

static void test_kinds_that_cannot_be_are_refused(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct hf_catalog *catalog = NULL;
    struct {
        struct hf_catalog_kind kinds[2];
        const char *message;
    } cases[] = {
        {{{.name = "Job"}, {.name = "x"}}, "kind \"Job\" is not a name"},
        {{{.name = "job"}, {.name = "job"}}, "kind job is declared twice"},
        {{{.name = "job", .indexes = {"a\"b"}}, {.name = "x"}}, "index \"a\"b\" of kind job"},
        {{{.name = "job", .indexes = {"a", "a"}}, {.name = "x"}},
         "index a of kind job is declared twice"},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        struct hf_catalog_options options = {
            .path = f->path, .kinds = cases[i].kinds, .kind_count = 2};
        assert_int_equal(hf_catalog_sqlite_open(&options, &catalog, &err), HF_ERR_INVALID);
        assert_non_null(strstr(err.message, cases[i].message));
        assert_int_equal(hf_catalog_mem_create(&options, &catalog, &err), HF_ERR_INVALID);
    }
    assert_false(hf_fs_exists(f->path));
}

static void test_an_index_of_a_later_release_is_built_and_kept_up_by_earlier_ones(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct hf_catalog *early = open_catalog(f);
    must_insert(early, "1", "a", 30);
    must_insert(early, "2", "b", 10);
    struct hf_catalog *later = open_later(f);
    assert_found(later, "createdS", "2 1 ");
    assert_found(later, "job", "1 2 ");
    assert_int_equal(count_of(later, "createdS", NULL), 2);
    /* The one that does not know the index writes on. */
    must_insert(early, "3", "c", 20);
    assert_found(later, "createdS", "2 3 1 ");
    assert_int_equal(hf_catalog_remove(early, "snapshot", "1", 1, &err), HF_ERR_OK);
    assert_found(later, "createdS", "2 3 ");
    assert_int_equal(count_of(later, "createdS", NULL), 2);
    hf_catalog_close(early);
    hf_catalog_close(later);
    early = open_catalog(f);
    must_insert(early, "4", "d", 5);
    hf_catalog_close(early);
    later = open_later(f);
    assert_found(later, "createdS", "4 2 3 ");
    assert_int_equal(count_of(later, "job", "d"), 1);
    hf_catalog_close(later);
}

static void test_two_catalogs_on_one_file_see_each_other_s_revisions(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct hf_catalog *one = open_catalog(f);
    struct hf_catalog *two = open_catalog(f);
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    must_insert(one, "1", "a", 1);
    assert_int_equal(insert(two, "1", "b", 1, HF_CATALOG_SYNCED, &err), HF_ERR_EXISTS);
    assert_int_equal(hf_catalog_replace(two, "snapshot", "1", 1, json, HF_CATALOG_SYNCED, &err),
                     HF_ERR_OK);
    assert_int_equal(hf_catalog_replace(one, "snapshot", "1", 1, json, HF_CATALOG_SYNCED, &err),
                     HF_ERR_CONFLICT);
    assert_int_equal(hf_catalog_remove(one, "snapshot", "1", 2, &err), HF_ERR_OK);
    assert_int_equal(hf_catalog_remove(two, "snapshot", "1", 2, &err), HF_ERR_NOT_FOUND);
    hf_catalog_close(one);
    hf_catalog_close(two);
}

struct writer {
    struct hf_catalog *catalog; /* borrowed */
    unsigned number;
    unsigned failed;
    char message[HF_ERROR_MESSAGE_BYTES];
};

static void run_inserts(void *argument)
{
    struct writer *writer = argument;
    struct hf_error err = {.message = ""};
    for (unsigned i = 0; i < 25; i++) {
        char id[32];
        snprintf(id, sizeof id, "%u-%u", writer->number, i);
        if (insert(writer->catalog, id, "j", i, HF_CATALOG_SYNCED, &err) != HF_ERR_OK) {
            writer->failed++;
            snprintf(writer->message, sizeof writer->message, "%s", err.message);
        }
    }
}

static void run_writers(struct hf_catalog *catalog, struct writer *writers, unsigned count)
{
    struct hf_thread *threads[16];
    struct hf_error err;
    for (unsigned i = 0; i < count; i++) {
        writers[i] = (struct writer){.catalog = catalog, .number = i};
        assert_int_equal(hf_thread_start("writer", run_inserts, &writers[i], &threads[i], &err),
                         HF_ERR_OK);
    }
    for (unsigned i = 0; i < count; i++) {
        hf_thread_join(threads[i]);
    }
}

static void test_writes_that_wait_together_share_a_commit(void **state)
{
#ifdef HF_FAULTS
    struct fixture *f = *state;
    struct writer writers[16];
    struct hf_catalog *catalog = open_catalog(f);
    hf_fault_disarm_all();
    run_writers(catalog, writers, 16);
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(writers[i].failed, 0);
    }
    assert_int_equal(count_of(catalog, "job", "j"), 400);
    assert_in_range(hf_fault_passes("catalog.sqlite.commit"), 25, 300);
    hf_catalog_close(catalog);
#else
    (void)state;
    skip();
#endif
}

static void test_a_failed_commit_fails_every_write_of_it_and_leaves_none(void **state)
{
#ifdef HF_FAULTS
    struct fixture *f = *state;
    struct hf_error err;
    struct writer writers[8];
    struct hf_catalog *catalog = open_catalog(f);
    hf_fault_arm_nth("catalog.sqlite.commit", HF_ERR_NO_SPACE, 1, 0);
    run_writers(catalog, writers, 8);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(writers[i].failed, 25);
        assert_non_null(strstr(writers[i].message, "insert snapshot "));
    }
    assert_int_equal(count_of(catalog, NULL, NULL), 0);
    assert_int_equal(count_of(catalog, "job", NULL), 0);
    hf_fault_disarm_all();
    assert_int_equal(insert(catalog, "0-0", "j", 1, HF_CATALOG_SYNCED, &err), HF_ERR_OK);
    hf_catalog_close(catalog);
#else
    (void)state;
    skip();
#endif
}

/* A child that inserts and reports each id once it is acknowledged, until it is killed. */
static void insert_for_ever(struct fixture *f, int report, unsigned process)
{
    struct hf_error err;
    struct hf_catalog *catalog = NULL;
    if (try_open(f, &catalog, &err) != HF_ERR_OK) {
        _exit(2);
    }
    for (uint32_t i = 0;; i++) {
        char id[32];
        snprintf(id, sizeof id, "%u-%u", process, i);
        if (insert(catalog, id, "j", i, HF_CATALOG_SYNCED, &err) != HF_ERR_OK ||
            write(report, &i, sizeof i) != sizeof i) {
            _exit(3);
        }
    }
}

static pid_t start_child(struct fixture *f, unsigned process, int *report)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(ends[0]);
        insert_for_ever(f, ends[1], process);
    }
    (void)close(ends[1]);
    *report = ends[0];
    return child;
}

static void assert_killed(pid_t child)
{
    int status = 0;
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void test_what_was_acknowledged_is_there_after_kill_9(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    uint64_t total = 0;
    for (unsigned round = 0; round < 4; round++) {
        int reports[2];
        uint32_t last[2] = {0, 0};
        pid_t children[2] = {start_child(f, round * 2, &reports[0]),
                             start_child(f, round * 2 + 1, &reports[1])};
        for (unsigned i = 0; i < 2; i++) {
            while (last[i] < 20 + round * 7) {
                assert_int_equal(read(reports[i], &last[i], sizeof last[i]), sizeof last[i]);
            }
        }
        assert_killed(children[0]);
        assert_killed(children[1]);
        for (unsigned i = 0; i < 2; i++) {
            uint32_t more;
            while (read(reports[i], &more, sizeof more) == sizeof more) {
                last[i] = more;
            }
            (void)close(reports[i]);
        }
        struct hf_catalog *catalog = open_catalog(f);
        for (unsigned i = 0; i < 2; i++) {
            for (uint32_t n = 0; n <= last[i]; n++) {
                HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document;
                char id[32];
                snprintf(id, sizeof id, "%u-%u", round * 2 + i, n);
                if (hf_catalog_get(catalog, "snapshot", id, &document, &err) != HF_ERR_OK) {
                    fail_msg("%s", err.message);
                }
            }
            total += last[i] + 1;
        }
        /* Of each child, one more may have been stored when it was killed; counts and index agree
         * with the documents. */
        uint64_t count = count_of(catalog, NULL, NULL);
        assert_in_range(count, total, total + 2);
        assert_int_equal(count_of(catalog, "job", "j"), count);
        total = count;
        hf_catalog_close(catalog);
    }
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH(test_documents_outlive_the_process_and_only_the_owner_reads_them),
        WITH(test_a_newer_schema_is_refused_by_name),
        WITH(test_a_file_of_another_program_is_refused_and_left_alone),
        WITH(test_a_file_that_is_no_database_is_corrupt),
        WITH(test_a_missing_directory_is_not_found),
        WITH(test_kinds_that_cannot_be_are_refused),
        WITH(test_an_index_of_a_later_release_is_built_and_kept_up_by_earlier_ones),
        WITH(test_two_catalogs_on_one_file_see_each_other_s_revisions),
        WITH(test_writes_that_wait_together_share_a_commit),
        WITH(test_a_failed_commit_fails_every_write_of_it_and_leaves_none),
        WITH(test_what_was_acknowledged_is_there_after_kill_9),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
