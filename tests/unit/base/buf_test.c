/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A buffer never passes its maximum or changes on failure; a reader never passes the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fault.h"

static int disarm(void **state)
{
    (void)state;
    hf_fault_disarm_all();
    return 0;
}

static void test_appending_grows_to_the_maximum_and_not_beyond(void **state)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT(1000);
    struct hf_error err;
    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        uint8_t byte = (uint8_t)i;
        assert_int_equal(hf_buf_append(&buf, hf_bytes_of(&byte, 1), &err), HF_ERR_OK);
    }
    assert_int_equal(hf_buf_append(&buf, hf_bytes_of("x", 1), &err), HF_ERR_LIMIT);
    assert_string_equal(err.message, "buffer: 1000 bytes and 1 more exceed the limit of 1000");
    assert_int_equal(buf.len, 1000);
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(buf.data[i], (uint8_t)i);
    }
    assert_int_equal(hf_buf_reserve(&buf, SIZE_MAX, &err), HF_ERR_LIMIT);
    assert_int_equal(hf_buf_append(&buf, hf_bytes_of(NULL, 0), &err), HF_ERR_OK);
    assert_int_equal(hf_buf_bytes(&buf).len, 1000);
    assert_int_equal(strlen(hf_buf_text(&buf)), 0); /* begins with a NUL byte */
}

static void test_much_that_is_reserved_at_once_begins_at_a_page(void **state)
{
    (void)state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT((size_t)8 << 20);
    struct hf_error err;
    assert_int_equal(hf_buf_reserve(&buf, (size_t)2 << 20, &err), HF_ERR_OK);
    assert_int_equal((uintptr_t)buf.data % HF_PAGE_BYTES, 0);
    assert_int_equal(hf_buf_append_text(&buf, "kept", &err), HF_ERR_OK);
    assert_int_equal(hf_buf_reserve(&buf, (size_t)4 << 20, &err), HF_ERR_OK);
    assert_string_equal(hf_buf_text(&buf), "kept");
}

static void test_when_memory_runs_out_the_content_stays(void **state)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT(SIZE_MAX);
    HF_CLEANUP(hf_buf_fini) struct hf_buf empty = HF_BUF_INIT(10);
    struct hf_error err;
    (void)state;
    assert_int_equal(hf_buf_append_text(&buf, "kept", &err), HF_ERR_OK);
    hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, 1, 0);
    assert_int_equal(hf_buf_reserve(&buf, 1000, &err), HF_ERR_NO_MEMORY);
    assert_string_equal(err.message, "buffer: no memory for 1004 bytes");
    assert_string_equal(hf_buf_text(&buf), "kept");
    assert_null(hf_buf_text(&empty));
    hf_fault_disarm_all();
    /* A size that cannot even be asked for. */
    assert_int_equal(hf_buf_reserve(&buf, SIZE_MAX - 4, &err), HF_ERR_NO_MEMORY);
}

static void test_text_ends_in_nul_even_when_the_buffer_is_full(void **state)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT(4);
    struct hf_error err;
    (void)state;
    assert_string_equal(hf_buf_text(&buf), "");
    assert_int_equal(hf_buf_append_text(&buf, "full", &err), HF_ERR_OK);
    assert_string_equal(hf_buf_text(&buf), "full");
    assert_int_equal(buf.len, 4);
    hf_buf_clear(&buf);
    assert_string_equal(hf_buf_text(&buf), "");
    hf_buf_fini(&buf);
    hf_buf_init(&buf, 2);
    assert_int_equal(buf.max, 2);
    assert_null(buf.data);
}

static void test_formatted_text_fits_exactly_or_not_at_all(void **state)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT(8);
    struct hf_error err;
    (void)state;
    assert_int_equal(hf_buf_appendf(&buf, &err, "%s-%d", "abc", 1234), HF_ERR_OK);
    assert_string_equal(hf_buf_text(&buf), "abc-1234");
    assert_int_equal(hf_buf_appendf(&buf, &err, "%d", 5), HF_ERR_LIMIT);
    assert_string_equal(hf_buf_text(&buf), "abc-1234");
    assert_int_equal(hf_buf_appendf(&buf, &err, "%s", ""), HF_ERR_OK);
}

static void test_blobs_and_numbers_read_back(void **state)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT(100);
    struct hf_error err;
    (void)state;
    assert_int_equal(hf_buf_append_le(&buf, 0x0102, 2, &err), HF_ERR_OK);
    assert_int_equal(hf_buf_append_blob(&buf, hf_bytes_of("hold", 4), &err), HF_ERR_OK);
    assert_int_equal(hf_buf_append_blob(&buf, hf_bytes_of(NULL, 0), &err), HF_ERR_OK);
    assert_int_equal(hf_buf_append_le(&buf, UINT64_MAX, 8, &err), HF_ERR_OK);
    assert_int_equal(hf_buf_append_le(&buf, 9, 1, &err), HF_ERR_OK);
    assert_int_equal(buf.len, 2 + 8 + 4 + 8 + 1);

    struct hf_reader reader = hf_reader_of(hf_buf_bytes(&buf));
    assert_int_equal(hf_reader_le(&reader, 2), 0x0102);
    struct hf_bytes blob = hf_reader_blob(&reader, 4);
    assert_int_equal(blob.len, 4);
    assert_memory_equal(blob.data, "hold", 4);
    assert_int_equal(hf_reader_blob(&reader, 0).len, 0);
    assert_false(reader.failed);
    assert_int_equal(hf_reader_left(&reader), 9);
    assert_true(hf_reader_le(&reader, 8) == UINT64_MAX);
    assert_int_equal(hf_reader_u8(&reader), 9);
    assert_int_equal(hf_reader_left(&reader), 0);
    assert_false(reader.failed);
}

static void test_a_blob_is_there_whole_or_not_at_all(void **state)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT(7);
    struct hf_error err;
    (void)state;
    assert_int_equal(hf_buf_append_blob(&buf, hf_bytes_of("hold", 4), &err), HF_ERR_LIMIT);
    assert_int_equal(buf.len, 0);
    /* The length is refused before a byte is looked at. */
    assert_int_equal(hf_buf_append_blob(&buf, hf_bytes_of("x", (size_t)UINT32_MAX + 1), &err),
                     HF_ERR_LIMIT);
    assert_string_equal(err.message, "buffer: 4294967296 bytes do not fit a length of 32 bits");
}

static void test_the_first_read_past_the_end_fails_for_good(void **state)
{
    struct hf_reader reader = hf_reader_of(hf_bytes_of("\x01\x02\x03", 3));
    (void)state;
    assert_int_equal(hf_reader_le(&reader, 4), 0);
    assert_true(reader.failed);
    assert_int_equal(hf_reader_u8(&reader), 0);
    assert_int_equal(hf_reader_bytes(&reader, 1).len, 0);
    assert_int_equal(hf_reader_blob(&reader, 10).len, 0);
    assert_int_equal(hf_reader_left(&reader), 0);

    struct hf_reader none = hf_reader_of(hf_bytes_of(NULL, 0));
    assert_int_equal(hf_reader_bytes(&none, 0).len, 0);
    assert_false(none.failed);
    assert_int_equal(hf_reader_u8(&none), 0);
    assert_true(none.failed);
}

static void test_a_length_above_the_limit_or_the_input_fails(void **state)
{
    struct hf_reader limited = hf_reader_of(hf_bytes_of("\x05\0\0\0hello", 9));
    struct hf_reader lying = hf_reader_of(hf_bytes_of("\xFF\xFF\xFF\xFFhello", 9));
    struct hf_reader cut = hf_reader_of(hf_bytes_of("\x05\0\0\0hell", 8));
    (void)state;
    assert_int_equal(hf_reader_blob(&limited, 4).len, 0);
    assert_true(limited.failed);
    assert_int_equal(hf_reader_blob(&lying, SIZE_MAX).len, 0);
    assert_true(lying.failed);
    assert_int_equal(hf_reader_blob(&cut, 10).len, 0);
    assert_true(cut.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appending_grows_to_the_maximum_and_not_beyond),
        cmocka_unit_test_teardown(test_when_memory_runs_out_the_content_stays, disarm),
        cmocka_unit_test(test_much_that_is_reserved_at_once_begins_at_a_page),
        cmocka_unit_test(test_text_ends_in_nul_even_when_the_buffer_is_full),
        cmocka_unit_test(test_formatted_text_fits_exactly_or_not_at_all),
        cmocka_unit_test(test_blobs_and_numbers_read_back),
        cmocka_unit_test(test_a_blob_is_there_whole_or_not_at_all),
        cmocka_unit_test(test_the_first_read_past_the_end_fails_for_good),
        cmocka_unit_test(test_a_length_above_the_limit_or_the_input_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
