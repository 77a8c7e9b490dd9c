/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory can be refused, sizes cannot overflow, and nothing is lost when growing fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"

static int disarm(void **state)
{
    (void)state;
    hf_fault_disarm_all();
    return 0;
}

static void test_size_zero_gives_something_to_free(void **state)
{
    (void)state;
    void *all[] = {hf_alloc(0),
                   hf_alloc_zero(0),
                   hf_alloc_array(0, 8),
                   hf_alloc_array(8, 0),
                   hf_realloc_array(NULL, 0, 8),
                   hf_alloc_pages(0),
                   hf_alloc_huge(0)};
    for (size_t i = 0; i < HF_ARRAY_LEN(all); i++) {
        assert_non_null(all[i]);
        hf_free(all[i]);
    }
    hf_free(NULL);
}

static void test_zero_is_zero(void **state)
{
    (void)state;
    static const uint8_t zeros[1000];
    HF_CLEANUP(hf_free) uint8_t *memory = hf_alloc_zero(sizeof zeros);
    assert_non_null(memory);
    assert_memory_equal(memory, zeros, sizeof zeros);
}

static void test_pages_begin_at_a_page(void **state)
{
    (void)state;
    HF_CLEANUP(hf_free) uint8_t *memory = hf_alloc_pages(10000);
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % HF_PAGE_BYTES, 0);
    memset(memory, 1, 10000);
}

static void test_large_memory_begins_at_a_huge_page(void **state)
{
    const size_t huge = (size_t)2 << 20, size = 9 * huge / 2 + 5;
    (void)state;
    HF_CLEANUP(hf_free) uint8_t *memory = hf_alloc_huge(size);
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % huge, 0);
    memset(memory, 1, size);
}

static void test_a_product_that_overflows_is_refused(void **state)
{
    (void)state;
    HF_CLEANUP(hf_free) char *old = hf_strdup("kept");
    assert_null(hf_alloc_array(SIZE_MAX / 2 + 1, 2));
    assert_null(hf_realloc_array(old, SIZE_MAX, SIZE_MAX));
    assert_string_equal(old, "kept");
}

static void test_growing_keeps_the_content(void **state)
{
    (void)state;
    HF_CLEANUP(hf_free) uint32_t *numbers = hf_alloc_array(2, sizeof *numbers);
    assert_non_null(numbers);
    numbers[0] = 7;
    numbers[1] = 8;
    uint32_t *more = hf_realloc_array(numbers, 5000, sizeof *numbers);
    assert_non_null(more);
    numbers = more;
    assert_int_equal(numbers[0], 7);
    assert_int_equal(numbers[1], 8);
}

static void test_text_is_copied(void **state)
{
    (void)state;
    HF_CLEANUP(hf_free) char *whole = hf_strdup("holdfast");
    HF_CLEANUP(hf_free) char *part = hf_strndup("holdfast", 4);
    HF_CLEANUP(hf_free) char *beyond = hf_strndup("hold", 100);
    HF_CLEANUP(hf_free) char *none = hf_strndup(NULL, 0);
    HF_CLEANUP(hf_free) char *made = hf_asprintf("%s/%d", "p", 12);
    assert_string_equal(whole, "holdfast");
    assert_string_equal(part, "hold");
    assert_string_equal(beyond, "hold");
    assert_string_equal(none, "");
    assert_string_equal(made, "p/12");
}

static void test_every_way_can_be_refused(void **state)
{
    (void)state;
    HF_CLEANUP(hf_free) char *old = hf_strdup("kept");
    hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, 1, 0);
    assert_null(hf_alloc(1));
    assert_null(hf_alloc_zero(1));
    assert_null(hf_alloc_pages(1));
    assert_null(hf_alloc_huge(1));
    assert_null(hf_alloc_huge((size_t)9 << 20));
    assert_null(hf_alloc_array(1, 1));
    assert_null(hf_realloc_array(old, 100, 1));
    assert_null(hf_strdup("x"));
    assert_null(hf_strndup("x", 1));
    assert_null(hf_asprintf("x"));
    assert_string_equal(old, "kept");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size_zero_gives_something_to_free),
        cmocka_unit_test(test_zero_is_zero),
        cmocka_unit_test(test_pages_begin_at_a_page),
        cmocka_unit_test(test_large_memory_begins_at_a_huge_page),
        cmocka_unit_test(test_a_product_that_overflows_is_refused),
        cmocka_unit_test(test_growing_keeps_the_content),
        cmocka_unit_test(test_text_is_copied),
        cmocka_unit_test_teardown(test_every_way_can_be_refused, disarm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
