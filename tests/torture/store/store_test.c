/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every driver: each allocation and each fault point of a round of calls fails in turn, once and for good. Each failure
 * is told, nothing leaks, and what was acknowledged is there afterwards.
 */
#include "contract/store/drivers.h"

#define POINTS_MAX 400

/* A round of all calls. Puts count only when acknowledged. False at the first failure, which is in *err. */
static bool round_of_calls(struct fixture *f, bool *stored, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(1024);
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL, .count = 0};
    uint8_t byte;
    uint64_t size_bytes;
    *stored = false;
    if (put_text(f, "a/b/c", "bytes", err) != HF_ERR_OK) {
        return false;
    }
    *stored = true;
    return put_text(f, "a/b/c", "bytes", err) == HF_ERR_OK &&
           hf_store_get(f->store, hf_str_of("a/b/c"), 1024, &out, err) == HF_ERR_OK &&
           hf_store_get_range(f->store, hf_str_of("a/b/c"), 1, &byte, 1, err) == HF_ERR_OK &&
           hf_store_get_tail(f->store, hf_str_of("a/b/c"), 1, &out, &size_bytes, err) ==
               HF_ERR_OK &&
           hf_store_size(f->store, hf_str_of("a/b/c"), &size_bytes, err) == HF_ERR_OK &&
           hf_store_list(f->store, hf_str_of(""), hf_str_of(""), 0, &list, err) == HF_ERR_OK;
}

/* Fails the nth pass of a point of a round (times 0: and all later ones) until the round has no more passes. */
static void torture(struct fixture *f, const char *point, enum hf_err code, uint64_t times)
{
    for (uint64_t nth = 1; nth < POINTS_MAX; nth++) {
        struct hf_error err = {.message = ""};
        bool stored = false;
        hf_fault_arm_nth(point, code, nth, times);
        bool good = round_of_calls(f, &stored, &err);
        hf_fault_disarm_all();
        if (!good) {
            assert_int_not_equal(err.code, HF_ERR_OK);
            assert_true(strlen(err.message) > 0);
        }
        if (stored) {
            assert_content(f, "a/b/c", "bytes");
        }
        /* A put that failed either happened or did not: putting the same again works. */
        must_put(f, "a/b/c", "bytes");
        assert_list(f, "", "", 0, "a/b/c");
        assert_int_equal(hf_store_delete(f->behind, hf_str_of("a/b/c"), &err), HF_ERR_OK);
        if (good) {
            return;
        }
    }
    fail_msg("%s passes more than %d times", point, POINTS_MAX);
}

static void test_each_failure_is_told_and_nothing_is_lost(void **state)
{
#ifdef HF_FAULTS
    struct fixture *f = *state;
    if (is_remote()) {
        return; /* its server shares the process, and would fail in its stead */
    }
    char put[64];
    char list[64];
    snprintf(put, sizeof put, "store.%s.put", current_driver->kind);
    snprintf(list, sizeof list, "store.%s.list", current_driver->kind);
    const char *points[] = {"base.alloc",
                            put,
                            list,
                            "os.fs.publish.write",
                            "os.fs.publish.sync",
                            "os.fs.publish.link",
                            "os.fs.publish.dirsync"};
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
    for (uint64_t nth = 1; nth < POINTS_MAX; nth++) {
        struct hf_store *store = NULL;
        hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, nth, 1);
        enum hf_err code =
            hf_store_fs_open(&(struct hf_store_fs_options){.root = f->dir}, &store, &err);
        hf_fault_disarm_all();
        hf_store_close(store);
        if (code == HF_ERR_OK) {
            return;
        }
        assert_null(store);
        assert_non_null(strstr(err.message, "open store "));
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
        ON_STORE(test_each_failure_is_told_and_nothing_is_lost),
        ON_STORE(test_opening_fails_at_each_allocation_without_a_leak),
    };
    return RUN_ON_EVERY_DRIVER(tests);
}
