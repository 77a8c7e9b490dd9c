/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a list of tests on every driver of a catalog, each test on a fresh, empty one. A driver that
 * passes all programs of this folder is one.
 */
#ifndef HF_TESTS_CONTRACT_CATALOG_DRIVERS_H
#define HF_TESTS_CONTRACT_CATALOG_DRIVERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "catalog/catalog.h"
#include "os/fs.h"

static const struct hf_catalog_kind kinds[] = {
    {.name = "job", .indexes = {"state"}},
    {.name = "snapshot", .indexes = {"job", "createdS", "any", "size"}},
    {.name = "plain"},
};

struct fixture {
    struct hf_catalog *catalog;
    char *dir; /* of driver sqlite */
};

struct driver {
    const char *name;
    void (*open)(struct fixture *f);
};

static inline void open_mem(struct fixture *f)
{
    struct hf_error err;
    struct hf_catalog_options options = {.kinds = kinds, .kind_count = HF_ARRAY_LEN(kinds)};
    assert_int_equal(hf_catalog_mem_create(&options, &f->catalog, &err), HF_ERR_OK);
}

static inline void open_sqlite(struct fixture *f)
{
    struct hf_error err = {.message = ""};
    if (hf_fs_exists("/dev/shm")) {
        (void)setenv("TMPDIR", "/dev/shm",
                     0); /* what is durable here, and in time, is not tested here */
    }
    assert_int_equal(hf_fs_make_temp_dir("hf-catalog", &f->dir, &err), HF_ERR_OK);
    HF_CLEANUP(hf_free) char *path = hf_path_join(f->dir, "catalog");
    struct hf_catalog_options options = {
        .path = path, .kinds = kinds, .kind_count = HF_ARRAY_LEN(kinds)};
    if (hf_catalog_sqlite_open(&options, &f->catalog, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
}

static const struct driver drivers[] = {{"mem", open_mem}, {"sqlite", open_sqlite}};
static const struct driver *current_driver;

static inline int set_up(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);
    assert_non_null(f);
    current_driver->open(f);
    *state = f;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    hf_fault_disarm_all();
    hf_catalog_close(f->catalog);
    if (f->dir != NULL) {
        assert_int_equal(hf_fs_remove_tree(f->dir, &err), HF_ERR_OK);
    }
    hf_free(f->dir);
    hf_free(f);
    return 0;
}

#define ON_CATALOG(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

/* The exit code of a test program: how many tests failed, over all drivers. */
#define RUN_ON_EVERY_DRIVER(tests)                                                                 \
    ({                                                                                             \
        int failed_ = 0;                                                                           \
        for (size_t driver_ = 0; driver_ < HF_ARRAY_LEN(drivers); driver_++) {                     \
            current_driver = &drivers[driver_];                                                    \
            failed_ += cmocka_run_group_tests_name(current_driver->name, tests, NULL, NULL);       \
        }                                                                                          \
        failed_;                                                                                   \
    })

/* ---- Shorthand ---- */

/* From JSON with ' for ". Free with hf_json_drop. */
static inline struct hf_json *json_of(const char *text)
{
    struct hf_error err = {.message = ""};
    struct hf_json *json = NULL;
    HF_CLEANUP(hf_free) char *copy = hf_strdup(text);
    assert_non_null(copy);
    for (char *at = copy; *at != '\0'; at++) {
        *at = *at == '\'' ? '"' : *at;
    }
    if (hf_json_decode(hf_str_of(copy), 1 << 20, &json, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    return json;
}

static inline enum hf_err insert(struct fixture *f, const char *kind, const char *id,
                                 const char *text, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = json_of(text);
    return hf_catalog_insert(f->catalog, kind, id, json, HF_CATALOG_UNSYNCED, err);
}

static inline void must_insert(struct fixture *f, const char *kind, const char *id,
                               const char *text)
{
    struct hf_error err = {.message = ""};
    if (insert(f, kind, id, text, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
}

static inline enum hf_err replace(struct fixture *f, const char *kind, const char *id,
                                  uint64_t expected, const char *text, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = json_of(text);
    return hf_catalog_replace(f->catalog, kind, id, expected, json, HF_CATALOG_SYNCED, err);
}

/* The document is there with this revision and content. */
static inline void assert_document(struct fixture *f, const char *kind, const char *id,
                                   uint64_t revision, const char *text)
{
    struct hf_error err = {.message = ""};
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *expected = json_of(text);
    if (hf_catalog_get(f->catalog, kind, id, &document, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    assert_string_equal(document.id, id);
    assert_int_equal(document.revision, revision);
    assert_true(hf_json_equal(document.json, expected));
}

/* What a query finds, as one text of ids; and that counting agrees with finding. */
static inline void assert_found(struct fixture *f, const struct hf_catalog_query *query,
                                const char *expected)
{
    struct hf_error err = {.message = ""};
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list list = {.documents = NULL, .count = 0};
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT((size_t)1 << 20);
    if (hf_catalog_find(f->catalog, query, &list, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    for (size_t i = 0; i < list.count; i++) {
        assert_int_equal(
            hf_buf_appendf(&text, &err, "%s%s", i == 0 ? "" : " ", list.documents[i].id),
            HF_ERR_OK);
        assert_non_null(list.documents[i].json);
    }
    assert_string_equal(hf_buf_text(&text), expected);
    uint64_t count = 0;
    assert_int_equal(hf_catalog_count(f->catalog, query, &count, &err), HF_ERR_OK);
    if (query->skip == 0 && query->limit == 0) {
        assert_int_equal(count, list.count);
    } else {
        assert_true(count >= list.count);
    }
}

#endif
