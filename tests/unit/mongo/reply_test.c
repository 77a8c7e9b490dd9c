/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Look-ups that believe nothing.
 */
#include "unit/mongo/recorded.h"

#include <string.h>

static void test_numbers_of_every_type_are_numbers(void **state)
{
    (void)state;
    HF_REPLY bson_t *doc =
        bson_of("{\"i\": {\"$numberInt\": \"7\"}, \"l\": {\"$numberLong\": \"-8\"}, \"d\": "
                "{\"$numberDouble\": \"9.0\"}, \"f\": {\"$numberDouble\": \"9.5\"}, \"n\": "
                "{\"$numberDouble\": \"NaN\"}, \"b\": {\"$numberDouble\": \"1e19\"}, \"s\": \"7\", "
                "\"t\": true, \"in\": {\"side\": [{\"x\": 3}]}}");

    assert_int_equal(hf_mongo_get_int(doc, "i", 0), 7);
    assert_int_equal(hf_mongo_get_int(doc, "l", 0), -8);
    assert_int_equal(hf_mongo_get_int(doc, "d", 0), 9);
    assert_int_equal(hf_mongo_get_int(doc, "f", -1), -1);
    assert_int_equal(hf_mongo_get_int(doc, "n", -1), -1);
    assert_int_equal(hf_mongo_get_int(doc, "b", -1), -1);
    assert_int_equal(hf_mongo_get_int(doc, "s", -1), -1);
    assert_int_equal(hf_mongo_get_int(doc, "t", -1), -1);
    assert_int_equal(hf_mongo_get_int(doc, "in.side.0.x", -1), 3);
    assert_int_equal(hf_mongo_get_int(doc, "in.side.1.x", -1), -1);
    assert_true(hf_mongo_get_bool(doc, "t", false));
    assert_true(hf_mongo_get_bool(doc, "d", false));
    assert_false(hf_mongo_get_bool(doc, "s", false));
    assert_true(hf_mongo_get_real(doc, "f", 0) > 9.4);
    assert_true(hf_mongo_get_real(doc, "n", 1.5) == 1.5);
}

static void test_text_with_a_nul_or_bad_utf8_counts_as_missing(void **state)
{
    (void)state;
    bson_t doc = BSON_INITIALIZER;

    (void)bson_append_utf8(&doc, "nul", -1, "a\0b", 3);
    (void)bson_append_utf8(&doc, "bad", -1, "\xff\xfe", 2);
    (void)bson_append_utf8(&doc, "good", -1, "Größe", -1);
    assert_null(hf_mongo_get_text(&doc, "nul"));
    assert_null(hf_mongo_get_text(&doc, "bad"));
    assert_null(hf_mongo_get_text(&doc, "none"));
    assert_string_equal(hf_mongo_get_text(&doc, "good"), "Größe");
    bson_destroy(&doc);
}

static void test_optimes_with_and_without_term(void **state)
{
    (void)state;
    HF_REPLY bson_t *doc = bson_of(
        "{\"new\": {\"ts\": {\"$timestamp\": {\"t\": 5, \"i\": 6}}, \"t\": {\"$numberLong\": "
        "\"2\"}}, \"old\": {\"$timestamp\": {\"t\": 7, \"i\": 8}}, \"odd\": 3}");

    struct hf_mongo_optime with = hf_mongo_get_optime(doc, "new");
    struct hf_mongo_optime without = hf_mongo_get_optime(doc, "old");
    struct hf_mongo_optime none = hf_mongo_get_optime(doc, "odd");
    assert_int_equal(with.ts.seconds, 5);
    assert_int_equal(with.ts.increment, 6);
    assert_int_equal(with.term, 2);
    assert_int_equal(without.ts.increment, 8);
    assert_int_equal(without.term, -1);
    assert_true(hf_mongo_ts_is_null(none.ts));
}

static void test_timestamps_are_ordered_as_unsigned_pairs(void **state)
{
    (void)state;
    struct hf_mongo_ts a = {5, 9};
    struct hf_mongo_ts b = {6, 0};
    struct hf_mongo_ts late = {0x80000000u, 0};

    assert_true(hf_mongo_ts_compare(a, b) < 0);
    assert_true(hf_mongo_ts_compare(b, a) > 0);
    assert_true(hf_mongo_ts_compare(late, b) > 0);
    assert_true(hf_mongo_ts_compare(a, a) == 0);
}

static void test_only_subtype_4_of_16_bytes_is_a_uuid(void **state)
{
    (void)state;
    uint8_t out[16] = {0};
    HF_REPLY bson_t *doc = bson_of(
        "{\"good\": {\"$binary\": {\"base64\": \"kZpmkP2gQBiFHaLquFGDLw==\", \"subType\": "
        "\"04\"}}, \"old\": {\"$binary\": {\"base64\": \"kZpmkP2gQBiFHaLquFGDLw==\", "
        "\"subType\": \"03\"}}, \"short\": {\"$binary\": {\"base64\": \"kZpm\", \"subType\": "
        "\"04\"}}, \"text\": \"x\"}");

    assert_true(hf_mongo_get_uuid(doc, "good", out));
    assert_int_equal(out[0], 0x91);
    assert_false(hf_mongo_get_uuid(doc, "old", out));
    assert_false(hf_mongo_get_uuid(doc, "short", out));
    assert_false(hf_mongo_get_uuid(doc, "text", out));
}

static void test_text_that_does_not_fit_is_refused_not_cut(void **state)
{
    (void)state;
    char out[4];
    struct hf_error err;

    assert_int_equal(hf_mongo_copy_text(out, sizeof out, "abc", "f", &err), HF_ERR_OK);
    assert_string_equal(out, "abc");
    assert_int_equal(hf_mongo_copy_text(out, sizeof out, "abcd", "setName", &err), HF_ERR_LIMIT);
    assert_string_equal(err.message, "setName has 4 bytes, at most 3 are allowed");
    assert_int_equal(hf_mongo_copy_text(out, sizeof out, NULL, "f", &err), HF_ERR_OK);
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_of_every_type_are_numbers),
        cmocka_unit_test(test_text_with_a_nul_or_bad_utf8_counts_as_missing),
        cmocka_unit_test(test_optimes_with_and_without_term),
        cmocka_unit_test(test_timestamps_are_ordered_as_unsigned_pairs),
        cmocka_unit_test(test_only_subtype_4_of_16_bytes_is_a_uuid),
        cmocka_unit_test(test_text_that_does_not_fit_is_refused_not_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
