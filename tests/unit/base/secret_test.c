/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets are held, compared and wiped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/secret.h"

static void test_a_secret_holds_up_to_its_limit(void **state)
{
    uint8_t bytes[HF_SECRET_MAX_BYTES + 1];
    HF_CLEANUP(hf_secret_wipe) struct hf_secret secret = {.len = 0};
    (void)state;
    memset(bytes, 0x5A, sizeof bytes);
    assert_true(hf_secret_set(&secret, hf_bytes_of(bytes, HF_SECRET_MAX_BYTES)));
    assert_int_equal(secret.len, HF_SECRET_MAX_BYTES);
    assert_memory_equal(secret.data, bytes, HF_SECRET_MAX_BYTES);
    assert_false(hf_secret_set(&secret, hf_bytes_of(bytes, sizeof bytes)));
    assert_int_equal(secret.len, HF_SECRET_MAX_BYTES);
}

static void test_a_shorter_secret_leaves_nothing_of_the_longer(void **state)
{
    struct hf_secret secret = {.len = 0};
    static const struct hf_secret nothing;
    (void)state;
    assert_true(hf_secret_set(&secret, hf_bytes_of("a long secret", 13)));
    assert_true(hf_secret_set(&secret, hf_bytes_of("b", 1)));
    assert_int_equal(secret.data[0], 'b');
    assert_memory_equal(secret.data + 1, nothing.data + 1, HF_SECRET_MAX_BYTES - 1);
    assert_true(hf_secret_set(&secret, hf_bytes_of(NULL, 0)));
    assert_int_equal(secret.len, 0);
    hf_secret_wipe(&secret);
    assert_memory_equal(&secret, &nothing, sizeof secret);
}

static void test_equality_sees_every_byte_and_the_length(void **state)
{
    (void)state;
    assert_true(hf_secret_equal(hf_bytes_of("key", 3), hf_bytes_of("key", 3)));
    assert_true(hf_secret_equal(hf_bytes_of(NULL, 0), hf_bytes_of("", 0)));
    assert_false(hf_secret_equal(hf_bytes_of("key", 3), hf_bytes_of("kez", 3)));
    assert_false(hf_secret_equal(hf_bytes_of("key", 3), hf_bytes_of("Key", 3)));
    assert_false(hf_secret_equal(hf_bytes_of("key", 3), hf_bytes_of("key", 2)));
}

static void test_wipe_clears_what_it_is_told(void **state)
{
    char text[] = "secret!";
    (void)state;
    hf_wipe(text, 6);
    assert_memory_equal(text, "\0\0\0\0\0\0!", 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_secret_holds_up_to_its_limit),
        cmocka_unit_test(test_a_shorter_secret_leaves_nothing_of_the_longer),
        cmocka_unit_test(test_equality_sees_every_byte_and_the_length),
        cmocka_unit_test(test_wipe_clears_what_it_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
