/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every driver: each allocation and each fault point of a round of calls fails in turn, once and for good. Each failure
 * is told, nothing leaks, and documents, indexes and counts agree afterwards.
 */
#include "contract/catalog/drivers.h"

#define POINTS_MAX 600

static bool round_of_calls(struct fixture *f, const struct hf_json *first,
                           const struct hf_json *second, struct hf_error *err)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list list = {.documents = NULL, .count = 0};
    struct hf_catalog_query query = {.kind = "snapshot", .index = "job", .equals_text = "b"};
    uint64_t count = 0;
    return hf_catalog_insert(f->catalog, "snapshot", "1", first, HF_CATALOG_SYNCED, err) ==
               HF_ERR_OK &&
           hf_catalog_get(f->catalog, "snapshot", "1", &document, err) == HF_ERR_OK &&
           hf_catalog_replace(f->catalog, "snapshot", "1", 1, second, HF_CATALOG_UNSYNCED, err) ==
               HF_ERR_OK &&
           hf_catalog_find(f->catalog, &query, &list, err) == HF_ERR_OK &&
           hf_catalog_count(f->catalog, &query, &count, err) == HF_ERR_OK;
}

/* Whatever failed: the document is not there, or of job a, or of job b, and every index says the same. */
static void assert_consistent(struct fixture *f)
{
    struct hf_error err = {.message = ""};
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    enum hf_err code = hf_catalog_get(f->catalog, "snapshot", "1", &document, &err);
    if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND) {
        fail_msg("%s", err.message);
    }
    const char *jobs[] = {"a", "b"};
    for (size_t i = 0; i < HF_ARRAY_LEN(jobs); i++) {
        struct hf_catalog_query query = {
            .kind = "snapshot", .index = "job", .equals_text = jobs[i]};
        bool has =
            code == HF_ERR_OK && strcmp(hf_json_get_text(document.json, "job"), jobs[i]) == 0;
        assert_found(f, &query, has ? "1" : "");
    }
    assert_found(f, &(struct hf_catalog_query){.kind = "snapshot"}, code == HF_ERR_OK ? "1" : "");
    if (code == HF_ERR_OK) {
        assert_int_equal(hf_catalog_remove(f->catalog, "snapshot", "1", document.revision, &err),
                         HF_ERR_OK);
    }
}

static void torture(struct fixture *f, const char *point, enum hf_err code, uint64_t times)
{
    HF_CLEANUP(hf_json_drop)
    struct hf_json *first = json_of("{'job': 'a', 'createdS': 1, 'any': 'x'}");
    HF_CLEANUP(hf_json_drop)
    struct hf_json *second = json_of("{'job': 'b', 'createdS': 2, 'size': 1}");
    for (uint64_t nth = 1; nth < POINTS_MAX; nth++) {
        struct hf_error err = {.message = ""};
        hf_fault_arm_nth(point, code, nth, times);
        bool good = round_of_calls(f, first, second, &err);
        hf_fault_disarm_all();
        assert_consistent(f);
        if (good) {
            return;
        }
        assert_int_not_equal(err.code, HF_ERR_OK);
        assert_non_null(strstr(err.message, "snapshot"));
    }
    fail_msg("%s passes more than %d times", point, POINTS_MAX);
}

static void test_each_failure_is_told_and_leaves_no_half_change(void **state)
{
#ifdef HF_FAULTS
    struct fixture *f = *state;
    char insert_point[64];
    char replace_point[64];
    snprintf(insert_point, sizeof insert_point, "catalog.%s.insert.done", current_driver->name);
    snprintf(replace_point, sizeof replace_point, "catalog.%s.replace.done", current_driver->name);
    const char *points[] = {"base.alloc", "catalog.sqlite.commit", insert_point, replace_point};
    for (size_t i = 0; i < HF_ARRAY_LEN(points); i++) {
        enum hf_err code = i == 0 ? HF_ERR_NO_MEMORY : HF_ERR_IO;
        torture(f, points[i], code, 1);
        torture(f, points[i], code, 0);
    }
#else
    (void)state;
    skip();
#endif
}

static void test_opening_fails_at_each_allocation_without_a_leak(void **state)
{
#ifdef HF_FAULTS
    struct fixture *f = *state;
    struct hf_error err;
    if (f->dir == NULL) {
        return;
    }
    HF_CLEANUP(hf_free) char *path = hf_path_join(f->dir, "catalog");
    struct hf_catalog_options options = {
        .path = path, .kinds = kinds, .kind_count = HF_ARRAY_LEN(kinds)};
    for (uint64_t nth = 1; nth < POINTS_MAX; nth++) {
        struct hf_catalog *catalog = NULL;
        hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, nth, 1);
        enum hf_err code = hf_catalog_sqlite_open(&options, &catalog, &err);
        hf_fault_disarm_all();
        hf_catalog_close(catalog);
        if (code == HF_ERR_OK) {
            return;
        }
        assert_null(catalog);
        assert_non_null(strstr(err.message, "open catalog "));
    }
    fail_msg("opening never worked");
#else
    (void)state;
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_CATALOG(test_each_failure_is_told_and_leaves_no_half_change),
        ON_CATALOG(test_opening_fails_at_each_allocation_without_a_leak),
    };
    return RUN_ON_EVERY_DRIVER(tests);
}
