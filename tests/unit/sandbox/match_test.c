/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The query language, case by case: a filter, a document, whether they match.
 */
#include "sandbox/match.h"

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

struct match_case {
    const char *filter, *doc;
    bool matches;
};

static void check(const struct match_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bson_t *filter = from_json(cases[i].filter);
        bson_t *doc = from_json(cases[i].doc);
        struct hf_sandbox_refusal no = {0};

        if (hf_sandbox_filter_check(filter, &no) != 0) {
            fail_msg("%s: %s", cases[i].filter, no.message);
        }
        if (hf_sandbox_filter_test(filter, doc) != cases[i].matches) {
            fail_msg("%s on %s should be %d", cases[i].filter, cases[i].doc, cases[i].matches);
        }
        bson_destroy(filter);
        bson_destroy(doc);
    }
}

static void test_comparison_keeps_to_the_type_of_its_operand(void **state)
{
    static const struct match_case cases[] = {
        {"{}", "{\"a\": 1}", true},
        {"{\"a\": 1}", "{\"a\": 1.0}", true},
        {"{\"a\": {\"$numberLong\": \"1\"}}", "{\"a\": 1}", true},
        {"{\"a\": 1}", "{\"a\": \"1\"}", false},
        {"{\"a\": {\"$gt\": 1}}", "{\"a\": 2}", true},
        {"{\"a\": {\"$gt\": 1}}", "{\"a\": \"x\"}", false},
        {"{\"a\": {\"$gte\": 1, \"$lt\": 3}}", "{\"a\": 3}", false},
        {"{\"a\": {\"$lte\": 3}}", "{\"a\": 3}", true},
        {"{\"a\": {\"$lt\": \"b\"}}", "{\"a\": \"a\"}", true},
        {"{\"a\": {\"$ne\": 1}}", "{\"b\": 1}", true},
        {"{\"a\": {\"$ne\": 1}}", "{\"a\": [1, 2]}", false},
        {"{\"a\": {\"$gt\": {\"$minKey\": 1}}}", "{\"a\": \"x\"}", true},
        {"{\"a\": {\"x\": 1, \"y\": 2}}", "{\"a\": {\"x\": 1, \"y\": 2}}", true},
        {"{\"a\": {\"x\": 1, \"y\": 2}}", "{\"a\": {\"y\": 2, \"x\": 1}}", false},
    };

    (void)state;
    check(cases, sizeof cases / sizeof cases[0]);
}

static void test_null_matches_what_is_missing(void **state)
{
    static const struct match_case cases[] = {
        {"{\"a\": null}", "{}", true},
        {"{\"a\": null}", "{\"a\": null}", true},
        {"{\"a\": null}", "{\"a\": 0}", false},
        {"{\"a.b\": null}", "{\"a\": 5}", true},
        {"{\"a\": {\"$in\": [null, 1]}}", "{}", true},
        {"{\"a\": {\"$exists\": true}}", "{\"a\": null}", true},
        {"{\"a\": {\"$exists\": false}}", "{\"a\": null}", false},
        {"{\"a\": {\"$exists\": false}}", "{}", true},
        {"{\"a\": {\"$gte\": null}}", "{}", true},
        {"{\"a\": {\"$gt\": null}}", "{\"a\": null}", false},
    };

    (void)state;
    check(cases, sizeof cases / sizeof cases[0]);
}

static void test_arrays_match_by_element_and_as_a_whole(void **state)
{
    static const struct match_case cases[] = {
        {"{\"a\": 2}", "{\"a\": [1, 2]}", true},
        {"{\"a\": [1, 2]}", "{\"a\": [1, 2]}", true},
        {"{\"a\": [2, 1]}", "{\"a\": [1, 2]}", false},
        {"{\"a.1\": 2}", "{\"a\": [1, 2]}", true},
        {"{\"a.b\": 2}", "{\"a\": [{\"b\": 1}, {\"b\": 2}]}", true},
        {"{\"a.1.b\": 1}", "{\"a\": [{\"b\": 1}, {\"b\": 2}]}", false},
        {"{\"a\": {\"$size\": 2}}", "{\"a\": [1, 2]}", true},
        {"{\"a\": {\"$size\": 2}}", "{\"a\": 2}", false},
        {"{\"a\": {\"$all\": [1, 2]}}", "{\"a\": [3, 2, 1]}", true},
        {"{\"a\": {\"$all\": [1, 4]}}", "{\"a\": [3, 2, 1]}", false},
        {"{\"a\": {\"$all\": []}}", "{\"a\": []}", false},
        {"{\"a\": {\"$elemMatch\": {\"$gt\": 1, \"$lt\": 3}}}", "{\"a\": [0, 2, 5]}", true},
        {"{\"a\": {\"$elemMatch\": {\"$gt\": 2, \"$lt\": 3}}}", "{\"a\": [0, 5]}", false},
        {"{\"a\": {\"$elemMatch\": {\"x\": 1, \"y\": 2}}}",
         "{\"a\": [{\"x\": 1}, {\"x\": 1, \"y\": 2}]}", true},
        {"{\"a\": {\"$elemMatch\": {\"x\": 1, \"y\": 2}}}", "{\"a\": [{\"x\": 1}, {\"y\": 2}]}",
         false},
        {"{\"a.x\": 1, \"a.y\": 2}", "{\"a\": [{\"x\": 1}, {\"y\": 2}]}", true},
        {"{\"a\": {\"$nin\": [7, 8]}}", "{\"a\": [1, 8]}", false},
    };

    (void)state;
    check(cases, sizeof cases / sizeof cases[0]);
}

static void test_logic_types_and_remainders(void **state)
{
    static const struct match_case cases[] = {
        {"{\"$or\": [{\"a\": 1}, {\"b\": 1}]}", "{\"b\": 1}", true},
        {"{\"$nor\": [{\"a\": 1}, {\"b\": 1}]}", "{\"b\": 1}", false},
        {"{\"$and\": [{\"a\": {\"$gt\": 1}}, {\"a\": {\"$lt\": 3}}]}", "{\"a\": 2}", true},
        {"{\"a\": {\"$not\": {\"$gt\": 1}}}", "{}", true},
        {"{\"a\": {\"$not\": {\"$gt\": 1}}}", "{\"a\": 2}", false},
        {"{\"a\": {\"$mod\": [4, 1]}}", "{\"a\": 9}", true},
        {"{\"a\": {\"$mod\": [4, 1]}}", "{\"a\": 8}", false},
        {"{\"$comment\": \"why\", \"a\": 1}", "{\"a\": 1}", true},
    };

    (void)state;
    check(cases, sizeof cases / sizeof cases[0]);
}

/* Not as JSON, where $type means something else. */
static void test_types_by_name(void **state)
{
    bson_t *filters[] = {
        BCON_NEW("a", "{", "$type", BCON_UTF8("string"), "}"),
        BCON_NEW("a", "{", "$type", BCON_UTF8("number"), "}"),
        BCON_NEW("a", "{", "$type", BCON_UTF8("bool"), "}"),
        BCON_NEW("a", "{", "$type", BCON_UTF8("array"), "}"),
    };
    bson_t *docs[] = {from_json("{\"a\": [1, \"x\"]}"), from_json("{\"a\": 1.5}"),
                      from_json("{\"a\": true}"), from_json("{\"a\": []}")};
    struct hf_sandbox_refusal no = {0};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(hf_sandbox_filter_check(filters[i], &no), 0);
        assert_true(hf_sandbox_filter_test(filters[i], docs[i]));
        assert_false(hf_sandbox_filter_test(filters[i], docs[(i + 2) % 4]));
    }
    for (size_t i = 0; i < 4; i++) {
        bson_destroy(filters[i]);
        bson_destroy(docs[i]);
    }
}

static void test_what_is_malformed_is_refused_by_name(void **state)
{
    static const struct {
        const char *filter, *message;
    } cases[] = {
        {"{\"a\": {\"$foo\": 1}}", "unknown operator: $foo"},
        {"{\"$foo\": 1}", "unknown top level operator: $foo"},
        {"{\"$or\": []}", "$or must be a nonempty array"},
        {"{\"$and\": [1]}", "$or/$and/$nor entries need to be full objects"},
        {"{\"$nor\": [{\"a\": 1}, {\"a\": {\"$all\": 1}}]}", "$all needs an array"},
        {"{\"a\": {\"$in\": 1}}", "$in needs an array"},
        {"{\"a\": {\"$mod\": [0, 1]}}", "$mod needs a positive divisor and a remainder"},
        {"{\"a\": {\"$regex\": \"(\"}}", "a regular expression is not in the sandbox"},
        {"{\"a\": {\"$elemMatch\": {\"$gt\": 1, \"$size\": -1}}}",
         "$size needs a whole number that is not negative"},
        {"{\"a\": {\"$elemMatch\": 1}}", "$elemMatch needs an Object"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bson_t *filter = from_json(cases[i].filter);
        struct hf_sandbox_refusal no = {0};

        assert_int_not_equal(hf_sandbox_filter_check(filter, &no), 0);
        assert_string_equal(no.message, cases[i].message);
        bson_destroy(filter);
    }
}

static void test_the_bounds_of_a_scan_are_known(void **state)
{
    bson_t *filter = from_json("{\"a\": {\"$gte\": 5}, \"_id\": 7}");
    bson_value_t value;

    (void)state;
    assert_true(hf_sandbox_filter_bound(filter, "_id", "$eq", &value));
    assert_int_equal(value.value.v_int32, 7);
    assert_false(hf_sandbox_filter_bound(filter, "a", "$eq", &value));
    assert_true(hf_sandbox_filter_bound(filter, "a", "$gt", &value));
    assert_int_equal(value.value.v_int32, 5);
    bson_destroy(filter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comparison_keeps_to_the_type_of_its_operand),
        cmocka_unit_test(test_null_matches_what_is_missing),
        cmocka_unit_test(test_arrays_match_by_element_and_as_a_whole),
        cmocka_unit_test(test_logic_types_and_remainders),
        cmocka_unit_test(test_types_by_name),
        cmocka_unit_test(test_what_is_malformed_is_refused_by_name),
        cmocka_unit_test(test_the_bounds_of_a_scan_are_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
