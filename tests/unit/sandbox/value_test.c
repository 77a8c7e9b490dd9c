/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order over all types, and the text of documents in messages.
 */
#include "sandbox/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static bson_t *from_json(const char *json)
{
    bson_error_t error;
    bson_t *doc = bson_new_from_json((const uint8_t *)json, -1, &error);

    if (doc == NULL) {
        fail_msg("%s: %s", json, error.message);
    }
    return doc;
}

static void test_values_are_in_the_servers_order(void **state)
{
    static const char *const ascending[] = {
        "{\"$minKey\": 1}",
        "null",
        "{\"$numberDouble\": \"NaN\"}",
        "-5",
        "{\"$numberLong\": \"9007199254740992\"}",
        "{\"$numberLong\": \"9007199254740993\"}",
        "{\"$numberDecimal\": \"1E20\"}",
        "\"a\"",
        "\"aa\"",
        "\"b\"",
        "{}",
        "{\"a\": 1}",
        "{\"a\": 2}",
        "{\"b\": 1}",
        "{\"a\": \"x\"}",
        "[]",
        "[1]",
        "{\"$binary\": {\"base64\": \"AQ==\", \"subType\": \"00\"}}",
        "{\"$binary\": {\"base64\": \"AAA=\", \"subType\": \"00\"}}",
        "{\"$oid\": \"000000000000000000000001\"}",
        "false",
        "true",
        "{\"$date\": {\"$numberLong\": \"-1\"}}",
        "{\"$date\": {\"$numberLong\": \"5\"}}",
        "{\"$timestamp\": {\"t\": 1, \"i\": 2}}",
        "{\"$timestamp\": {\"t\": 2, \"i\": 1}}",
        "{\"$regularExpression\": {\"pattern\": \"a\", \"options\": \"\"}}",
        "{\"$code\": \"f\"}",
        "{\"$maxKey\": 1}",
    };
    enum { COUNT = sizeof ascending / sizeof ascending[0] };
    bson_t *docs[COUNT];

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        char json[256];
        (void)snprintf(json, sizeof json, "{\"v\": %s}", ascending[i]);
        docs[i] = from_json(json);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < COUNT; j++) {
            bson_value_t a, b;
            assert_true(hf_sandbox_get(docs[i], "v", &a) && hf_sandbox_get(docs[j], "v", &b));
            int order = hf_sandbox_value_compare(&a, &b);
            if ((order < 0) != (i < j) || (order > 0) != (i > j)) {
                fail_msg("%s against %s: %d", ascending[i], ascending[j], order);
            }
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        bson_destroy(docs[i]);
    }
}

static void test_a_document_is_written_as_in_the_servers_messages(void **state)
{
    bson_t *doc = from_json(
        "{\"aggregate\": 1, \"pipeline\": [{\"$backupCursor\": {}}], \"id\": {\"$binary\": "
        "{\"base64\": "
        "\"0pyCo1qiRem+OrFRKBFJjw==\", \"subType\": \"04\"}}, \"t\": {\"$timestamp\": {\"t\": 5, "
        "\"i\": 2}}, "
        "\"h\": {\"$binary\": {\"base64\": \"6jc=\", \"subType\": \"00\"}}, \"$db\": \"admin\"}");
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(4096);

    (void)state;
    hf_sandbox_doc_text(doc, &text);
    assert_string_equal(hf_buf_text(&text),
                        "{ aggregate: 1, pipeline: [ { $backupCursor: {} } ], id: "
                        "UUID(\"d29c82a3-5aa2-45e9-be3a-b1512811498f\"), "
                        "t: Timestamp(5, 2), h: BinData(0, EA37), $db: \"admin\" }");
    bson_destroy(doc);
}

static void test_numbers_add_up_to_the_type_that_holds_the_sum(void **state)
{
    const bson_value_t big = hf_sandbox_value_of_int32(INT32_MAX);
    const bson_value_t bigger = hf_sandbox_value_of_int64(INT64_MAX);
    const bson_value_t half = hf_sandbox_value_of_double(0.5);
    bson_value_t sum;

    (void)state;
    assert_true(hf_sandbox_value_add(&big, &big, &sum));
    assert_int_equal(sum.value_type, BSON_TYPE_INT64);
    assert_true(hf_sandbox_value_add(&big, &half, &sum));
    assert_int_equal(sum.value_type, BSON_TYPE_DOUBLE);
    assert_false(hf_sandbox_value_add(&big, &bigger, &sum));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_are_in_the_servers_order),
        cmocka_unit_test(test_a_document_is_written_as_in_the_servers_messages),
        cmocka_unit_test(test_numbers_add_up_to_the_type_that_holds_the_sum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
