/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The set of addresses against a plain array, and what it costs.
 */
#include "snapshot/marks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/run.h"

#define PACKS 200
#define ORDINALS 600

static struct hf_address address_of(size_t pack, size_t ordinal)
{
    return (struct hf_address){
        .capture = 1 + pack / 7, .pack = (uint32_t)(pack % 7), .ordinal = (uint32_t)ordinal};
}

static void test_it_has_what_was_set_and_nothing_else(void **state)
{
    (void)state;
    static bool set[PACKS][ORDINALS], seen[PACKS][ORDINALS];
    HF_CLEANUP(hf_marks_destroy) struct hf_marks *marks = NULL;
    struct hf_error err;
    uint64_t random = 7;
    assert_int_equal(hf_marks_create(&marks, &err), HF_ERR_OK);
    for (size_t i = 0; i < 20000; i++) { /* in any order, so that packs grow between others */
        size_t pack = run_random(&random) % PACKS, ordinal = run_random(&random) % ORDINALS;
        struct hf_address address = address_of(pack, ordinal);
        assert_int_equal(hf_marks_has(marks, &address), set[pack][ordinal]);
        assert_int_equal(hf_marks_set(marks, &address, &err), HF_ERR_OK);
        set[pack][ordinal] = true;
    }
    for (size_t i = 0; i < 20000; i++) {
        size_t pack = run_random(&random) % PACKS, ordinal = run_random(&random) % ORDINALS;
        struct hf_address address = address_of(pack, ordinal);
        bool again = false;
        if (set[pack][ordinal]) {
            assert_int_equal(hf_marks_see(marks, &address, &again, &err), HF_ERR_OK);
            assert_int_equal(again, seen[pack][ordinal]);
            seen[pack][ordinal] = true;
        }
    }
    for (size_t pack = 0; pack < PACKS; pack++) {
        for (size_t ordinal = 0; ordinal < ORDINALS; ordinal++) {
            struct hf_address address = address_of(pack, ordinal);
            assert_int_equal(hf_marks_has(marks, &address), set[pack][ordinal]);
        }
    }
    struct hf_address last = {
        .capture = HF_CAPTURE_MAX, .pack = HF_PACK_MAX, .ordinal = HF_ORDINAL_MAX};
    assert_false(hf_marks_has(marks, &last));
}

static void test_a_block_costs_a_bit_and_a_pack_little(void **state)
{
    (void)state;
    enum { MANY_PACKS = 20000, BLOCKS = 256 };
    HF_CLEANUP(hf_marks_destroy) struct hf_marks *marks = NULL;
    struct hf_error err;
    assert_int_equal(hf_marks_create(&marks, &err), HF_ERR_OK);
    for (size_t pack = 0; pack < MANY_PACKS; pack++) {
        for (size_t ordinal = 0; ordinal < BLOCKS; ordinal++) {
            struct hf_address address = address_of(pack, ordinal);
            assert_int_equal(hf_marks_set(marks, &address, &err), HF_ERR_OK);
        }
    }
    size_t bits = (size_t)MANY_PACKS * BLOCKS / 8;
    size_t bytes = hf_marks_memory(marks);
    print_message("%zu bytes for %zu blocks\n", bytes, (size_t)MANY_PACKS * BLOCKS);
    assert_true(bytes < bits + bits / 2 + (size_t)MANY_PACKS * 28);
    for (size_t pack = 0; pack < MANY_PACKS; pack++) {
        struct hf_address address = address_of(pack, BLOCKS - 1);
        bool again = true;
        assert_int_equal(hf_marks_see(marks, &address, &again, &err), HF_ERR_OK);
        assert_false(again);
    }
    assert_true(hf_marks_memory(marks) < bytes + bits + bits / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_has_what_was_set_and_nothing_else),
        cmocka_unit_test(test_a_block_costs_a_bit_and_a_pack_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
