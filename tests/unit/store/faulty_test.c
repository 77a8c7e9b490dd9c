/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "store/faulty.h"

static int set_up(void **state)
{
    struct hf_error err;
    struct hf_store *inner = NULL;
    struct hf_store *store = NULL;
    assert_int_equal(hf_store_mem_create(&inner, &err), HF_ERR_OK);
    assert_int_equal(hf_store_faulty_create_take(inner, &store, &err), HF_ERR_OK);
    *state = store;
    return 0;
}

static int tear_down(void **state)
{
    hf_store_close(*state);
    return 0;
}

static enum hf_err put(struct hf_store *store, const char *name)
{
    struct hf_error err;
    return hf_store_put(store, hf_str_of(name), hf_bytes_of("bytes", 5), NULL, &err);
}

static enum hf_err size_of(struct hf_store *store, const char *name)
{
    struct hf_error err;
    uint64_t size_bytes;
    return hf_store_size(store, hf_str_of(name), &size_bytes, &err);
}

static void test_without_faults_it_is_the_store_inside(void **state)
{
    struct hf_store *store = *state;
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(16);
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL, .count = 0};
    uint64_t size_bytes = 0;
    uint8_t bytes[2];
    struct hf_str name = hf_str_of("a/1");
    assert_int_equal(put(store, "a/1"), HF_ERR_OK);
    assert_int_equal(hf_store_get(store, name, 16, &out, &err), HF_ERR_OK);
    assert_int_equal(hf_store_get_range(store, name, 1, bytes, 2, &err), HF_ERR_OK);
    assert_memory_equal(bytes, "yt", 2);
    assert_int_equal(hf_store_get_tail(store, name, 2, &out, &size_bytes, &err), HF_ERR_OK);
    assert_memory_equal(out.data, "es", 2);
    assert_int_equal(hf_store_list(store, hf_str_of("a/"), hf_str_of(""), 0, &list, &err),
                     HF_ERR_OK);
    assert_int_equal(list.count, 1);
    assert_int_equal(hf_store_delete(store, name, &err), HF_ERR_OK);
    assert_int_equal(size_of(store, "a/1"), HF_ERR_NOT_FOUND);
    assert_string_equal(hf_store_url(store), "mem:");
    assert_int_equal(hf_store_faulty_calls(store, HF_STORE_CALL_PUT), 1);
    assert_int_equal(hf_store_faulty_calls(store, HF_STORE_CALL_GET), 3);
    assert_int_equal(hf_store_faulty_calls(store, HF_STORE_CALL_LIST), 1);
    assert_int_equal(hf_store_faulty_calls(store, HF_STORE_CALL_DELETE), 1);
    assert_int_equal(hf_store_faulty_calls(store, HF_STORE_CALL_SIZE), 1);
}

static void test_the_chosen_calls_fail_and_no_others(void **state)
{
    struct hf_store *store = *state;
    hf_store_faulty_add(store, &(struct hf_store_fault){.call = HF_STORE_CALL_PUT,
                                                        .prefix = "a/",
                                                        .nth = 2,
                                                        .times = 2,
                                                        .code = HF_ERR_NO_SPACE});
    assert_int_equal(put(store, "a/1"), HF_ERR_OK);
    assert_int_equal(put(store, "b/1"), HF_ERR_OK);
    assert_int_equal(put(store, "a/2"), HF_ERR_NO_SPACE);
    assert_int_equal(put(store, "b/2"), HF_ERR_OK);
    assert_int_equal(put(store, "a/3"), HF_ERR_NO_SPACE);
    assert_int_equal(put(store, "a/2"), HF_ERR_OK);
    assert_int_equal(size_of(store, "a/3"), HF_ERR_NOT_FOUND);
}

static void test_a_fault_for_good_ends_when_cleared(void **state)
{
    struct hf_store *store = *state;
    hf_store_faulty_add(
        store, &(struct hf_store_fault){.call = HF_STORE_CALL_SIZE, .code = HF_ERR_UNAVAILABLE});
    assert_int_equal(put(store, "a"), HF_ERR_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(size_of(store, "a"), HF_ERR_UNAVAILABLE);
    }
    hf_store_faulty_clear(store);
    assert_int_equal(size_of(store, "a"), HF_ERR_OK);
}

static void test_a_lost_answer_leaves_the_effect(void **state)
{
    struct hf_store *store = *state;
    struct hf_error err;
    hf_store_faulty_add(store, &(struct hf_store_fault){.call = HF_STORE_CALL_PUT,
                                                        .times = 1,
                                                        .code = HF_ERR_TIMEOUT,
                                                        .after_effect = true});
    hf_store_faulty_add(store, &(struct hf_store_fault){.call = HF_STORE_CALL_DELETE,
                                                        .times = 1,
                                                        .code = HF_ERR_TIMEOUT,
                                                        .after_effect = true});
    assert_int_equal(put(store, "a"), HF_ERR_TIMEOUT);
    assert_int_equal(size_of(store, "a"), HF_ERR_OK);
    assert_int_equal(put(store, "a"), HF_ERR_OK);
    assert_int_equal(hf_store_delete(store, hf_str_of("a"), &err), HF_ERR_TIMEOUT);
    assert_int_equal(size_of(store, "a"), HF_ERR_NOT_FOUND);
}

static void test_a_flipped_bit_shows_in_what_is_read(void **state)
{
    struct hf_store *store = *state;
    struct hf_error err;
    uint64_t size_bytes;
    uint8_t byte = 0;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(16);
    assert_int_equal(put(store, "a"), HF_ERR_OK);
    hf_store_faulty_add(
        store, &(struct hf_store_fault){.call = HF_STORE_CALL_GET, .times = 3, .flip_bit = true});
    assert_int_equal(hf_store_get(store, hf_str_of("a"), 16, &out, &err), HF_ERR_OK);
    assert_memory_equal(out.data, "cytes", 5);
    assert_int_equal(hf_store_get_range(store, hf_str_of("a"), 0, &byte, 1, &err), HF_ERR_OK);
    assert_int_equal(byte, 'c');
    assert_int_equal(hf_store_get_tail(store, hf_str_of("a"), 1, &out, &size_bytes, &err),
                     HF_ERR_OK);
    assert_int_equal(out.data[0], 's' ^ 1);
    assert_int_equal(hf_store_get(store, hf_str_of("a"), 16, &out, &err), HF_ERR_OK);
    assert_memory_equal(out.data, "bytes", 5);
}

static void delete_before(void *argument, enum hf_store_call call, struct hf_str name)
{
    struct hf_store *store = argument;
    struct hf_error err;
    if (call == HF_STORE_CALL_SIZE) {
        assert_int_equal(hf_store_delete(store, name, &err), HF_ERR_OK);
    }
}

static void test_a_hook_comes_in_between(void **state)
{
    struct hf_store *store = *state;
    assert_int_equal(put(store, "a"), HF_ERR_OK);
    hf_store_faulty_hook(store, delete_before, store);
    assert_int_equal(size_of(store, "a"), HF_ERR_NOT_FOUND);
}

int main(void)
{
#define ON_STORE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        ON_STORE(test_without_faults_it_is_the_store_inside),
        ON_STORE(test_the_chosen_calls_fail_and_no_others),
        ON_STORE(test_a_fault_for_good_ends_when_cleared),
        ON_STORE(test_a_lost_answer_leaves_the_effect),
        ON_STORE(test_a_flipped_bit_shows_in_what_is_read),
        ON_STORE(test_a_hook_comes_in_between),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
