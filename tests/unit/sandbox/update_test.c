/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Updates: the document afterwards, and what the oplog says of it as the real server wrote it.
 */
#include "sandbox/update.h"

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

static void assert_doc(const bson_t *doc, const char *json, const char *what)
{
    bson_t *wanted = from_json(json);

    if (!bson_equal(doc, wanted)) {
        char *got = bson_as_canonical_extended_json(doc, NULL);
        fail_msg("%s: got %s, wanted %s", what, got, json);
    }
    bson_destroy(wanted);
}

struct update_case {
    const char *doc, *update, *after, *o; /* o NULL: nothing changed */
};

static void check(const struct update_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bson_t *doc = from_json(cases[i].doc);
        bson_t *spec = from_json(cases[i].update);
        struct hf_sandbox_updated updated;
        struct hf_sandbox_refusal no = {0};

        if (hf_sandbox_update_apply(spec, doc, &updated, &no) != 0) {
            fail_msg("%s: %s", cases[i].update, no.message);
        }
        assert_int_equal(updated.changed, cases[i].o != NULL);
        assert_doc(updated.doc, cases[i].after, cases[i].update);
        if (cases[i].o != NULL) {
            assert_doc(updated.o, cases[i].o, cases[i].update);
        }
        hf_sandbox_updated_fini(&updated);
        bson_destroy(doc);
        bson_destroy(spec);
    }
}

static void test_operators_change_the_document_and_say_so_as_recorded(void **state)
{
    static const struct update_case cases[] = {
        {"{\"_id\": 1, \"a\": 1}", "{\"$set\": {\"a\": 2, \"b.c\": 1}}",
         "{\"_id\": 1, \"a\": 2, \"b\": {\"c\": 1}}",
         "{\"$v\": 1, \"$set\": {\"a\": 2, \"b.c\": 1}}"},
        {"{\"_id\": 1, \"a\": 1}", "{\"$unset\": {\"a\": 1}, \"$push\": {\"arr\": 5}}",
         "{\"_id\": 1, \"arr\": [5]}",
         "{\"$v\": 1, \"$unset\": {\"a\": true}, \"$set\": {\"arr\": [5]}}"},
        {"{\"_id\": 1, \"arr\": [5]}", "{\"$push\": {\"arr\": {\"$each\": [6, 7]}}}",
         "{\"_id\": 1, \"arr\": [5, 6, 7]}", "{\"$v\": 1, \"$set\": {\"arr.1\": 6, \"arr.2\": 7}}"},
        {"{\"_id\": 2, \"a\": 1, \"s\": \"text\"}",
         "{\"$unset\": {\"s\": 1}, \"$set\": {\"r\": \"text\"}, \"$inc\": {\"a\": 5}}",
         "{\"_id\": 2, \"a\": 6, \"r\": \"text\"}",
         "{\"$v\": 1, \"$set\": {\"a\": 6, \"r\": \"text\"}, \"$unset\": {\"s\": true}}"},
        {"{\"_id\": 1, \"a\": 1}", "{\"$set\": {\"a\": 1}}", "{\"_id\": 1, \"a\": 1}", NULL},
        {"{\"_id\": 1, \"a\": 1}", "{\"$unset\": {\"b\": 1}}", "{\"_id\": 1, \"a\": 1}", NULL},
        {"{\"_id\": 1, \"a\": [1, 2, 3]}", "{\"$set\": {\"a.1\": 9}, \"$unset\": {\"a.0\": 1}}",
         "{\"_id\": 1, \"a\": [null, 9, 3]}",
         "{\"$v\": 1, \"$unset\": {\"a.0\": true}, \"$set\": {\"a.1\": 9}}"},
        {"{\"_id\": 1, \"a\": [1]}", "{\"$set\": {\"a.1\": 4}}", "{\"_id\": 1, \"a\": [1, 4]}",
         "{\"$v\": 1, \"$set\": {\"a.1\": 4}}"},
        {"{\"_id\": 1}", "{\"z\": 9}", "{\"_id\": 1, \"z\": 9}", "{\"_id\": 1, \"z\": 9}"},
    };

    (void)state;
    check(cases, sizeof cases / sizeof cases[0]);
}

static void test_arithmetic_and_arrays(void **state)
{
    static const struct update_case cases[] = {
        {"{\"a\": 2147483647}", "{\"$inc\": {\"a\": 1}}",
         "{\"a\": {\"$numberLong\": \"2147483648\"}}",
         "{\"$v\": 1, \"$set\": {\"a\": {\"$numberLong\": \"2147483648\"}}}"},
        {"{}", "{\"$inc\": {\"a\": 3}}", "{\"a\": 3}", "{\"$v\": 1, \"$set\": {\"a\": 3}}"},
        {"{\"a\": [1]}", "{\"$push\": {\"a\": {\"x\": 2}}}", "{\"a\": [1, {\"x\": 2}]}",
         "{\"$v\": 1, \"$set\": {\"a.1\": {\"x\": 2}}}"},
        {"{\"a\": [1]}", "{\"$push\": {\"a\": {\"$each\": []}}}", "{\"a\": [1]}", NULL},
    };

    (void)state;
    check(cases, sizeof cases / sizeof cases[0]);
}

static void test_an_upsert_starts_from_the_query(void **state)
{
    bson_t *query = from_json("{\"_id\": 77, \"a.b\": 2, \"c\": {\"$gt\": 1}}");
    bson_t *spec = from_json("{\"$set\": {\"y\": 2, \"x\": 1}}");
    struct hf_sandbox_refusal no = {0};
    bson_t *made = NULL;

    (void)state;
    assert_int_equal(hf_sandbox_update_insert(spec, query, &made, &no), 0);
    assert_doc(made, "{\"_id\": 77, \"a\": {\"b\": 2}, \"x\": 1, \"y\": 2}", "upsert");
    bson_destroy(made);
    bson_destroy(query);
    bson_destroy(spec);
}

static void test_refusals_name_the_path(void **state)
{
    static const struct {
        const char *update, *message;
    } cases[] = {
        {"{\"$set\": {\"a\": 1, \"a.b\": 2}}", "Updating the path 'a.b' would create a conflict"},
        {"{\"$foo\": {\"a\": 1}}", "Unknown modifier: $foo"},
        {"{\"$set\": {\"s.x\": 1}}", "Cannot create field 'x' in an element of type string"},
        {"{\"$inc\": {\"s\": 1}}", "Cannot increment 's' of type string by a value of type int"},
        {"{\"$push\": {\"s\": 1}}", "$push to 's' needs an array, and $each alone if at all"},
        {"{\"$push\": {\"a\": {\"$each\": [1], \"$slice\": 1}}}",
         "$push to 'a' needs an array, and $each alone if at all"},
        {"{\"$set\": {\"a.$[x]\": 2}}",
         "The dollar ($) prefixed field in 'a.$[x]' is not valid for storage."},
        {"{\"$set\": {\"_id\": 2}}",
         "Performing an update on the path '_id' would modify the immutable field '_id'"},
        {"{\"$set\": {\"a\": 1}, \"$inc\": {\"a\": 2}}",
         "Updating the path 'a' would create a conflict"},
        {"{\"a\": 1, \"$set\": 1}",
         "The dollar ($) prefixed field in '$set' is not valid for storage."},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bson_t *doc = from_json("{\"_id\": 1, \"s\": \"text\"}");
        bson_t *spec = from_json(cases[i].update);
        struct hf_sandbox_updated updated = {0};
        struct hf_sandbox_refusal no = {0};

        assert_int_not_equal(hf_sandbox_update_apply(spec, doc, &updated, &no), 0);
        assert_string_equal(no.message, cases[i].message);
        hf_sandbox_updated_fini(&updated);
        bson_destroy(doc);
        bson_destroy(spec);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operators_change_the_document_and_say_so_as_recorded),
        cmocka_unit_test(test_arithmetic_and_arrays),
        cmocka_unit_test(test_an_upsert_starts_from_the_query),
        cmocka_unit_test(test_refusals_name_the_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
