/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Aggregation: documents in, stages, documents out.
 */
#include "sandbox/pipeline.h"

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

static const char *const inputs[] = {
    "{\"_id\": 1, \"k\": \"a\", \"v\": 5, \"d\": {\"x\": 1, \"y\": 2}}",
    "{\"_id\": 2, \"k\": \"b\", \"v\": 7, \"l\": [{\"x\": 1}, {\"x\": 2, \"y\": 3}]}",
    "{\"_id\": 3, \"k\": \"a\", \"v\": 1.5}",
    "{\"_id\": 4, \"k\": \"b\"}",
};

/* The result as one JSON array. */
static void check(const char *stages_json, const char *wanted)
{
    bson_t *stages = from_json(stages_json);
    struct hf_sandbox_docs docs = {0};
    struct hf_sandbox_refusal no = {0};
    bson_t result = BSON_INITIALIZER;
    bson_t *expected = from_json(wanted);
    uint32_t index = 0;

    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        assert_int_equal(hf_sandbox_docs_add_take(&docs, from_json(inputs[i]), &no), 0);
    }
    if (hf_sandbox_pipeline_run(stages, 0, &docs, &no) != 0) {
        fail_msg("%s: %s", stages_json, no.message);
    }
    for (size_t i = 0; i < docs.count; i++) {
        bson_value_t value = hf_sandbox_value_of_doc(docs.items[i]);
        hf_sandbox_append_element(&result, &index, &value);
    }
    if (!bson_equal(&result, expected)) {
        fail_msg("%s: got %s, wanted %s", stages_json, bson_array_as_json(&result, NULL), wanted);
    }
    bson_destroy(&result);
    bson_destroy(expected);
    hf_sandbox_docs_fini(&docs);
    bson_destroy(stages);
}

static void test_stages_follow_one_another(void **state)
{
    (void)state;
    check("{\"0\": {\"$match\": {\"k\": \"b\"}}, \"1\": {\"$project\": {\"v\": 1}}}",
          "{\"0\": {\"_id\": 2, \"v\": 7}, \"1\": {\"_id\": 4}}");
    check("{\"0\": {\"$sort\": {\"v\": -1}}, \"1\": {\"$skip\": 1}, \"2\": {\"$limit\": 1}, \"3\": "
          "{\"$project\": "
          "{\"_id\": 1}}}",
          "{\"0\": {\"_id\": 1}}");
    check("{\"0\": {\"$limit\": 2}, \"1\": {\"$count\": \"n\"}}", "{\"0\": {\"n\": 2}}");
    check("{\"0\": {\"$count\": \"}\"}}", "{\"0\": {\"}\": 4}}"); /* a word of BCON */
    check("{\"0\": {\"$match\": {\"k\": \"none\"}}, \"1\": {\"$count\": \"n\"}}", "{}");
}

static void test_groups_gather_by_key_in_order(void **state)
{
    (void)state;
    check("{\"0\": {\"$group\": {\"_id\": \"$k\", \"n\": {\"$sum\": 1}, \"s\": {\"$sum\": \"$v\"}, "
          "\"a\": {\"$avg\": \"$v\"}, \"x\": {\"$avg\": \"$d.x\"}}}}",
          "{\"0\": {\"_id\": \"a\", \"n\": 2, \"s\": 6.5, \"a\": 3.25, \"x\": 1.0}, "
          "\"1\": {\"_id\": \"b\", \"n\": 2, \"s\": 7, \"a\": 7.0, \"x\": null}}");
    check("{\"0\": {\"$group\": {\"_id\": null, \"n\": {\"$sum\": \"$_id\"}}}}",
          "{\"0\": {\"_id\": null, \"n\": 10}}");
}

static void test_projections_keep_and_leave_out(void **state)
{
    (void)state;
    check("{\"0\": {\"$limit\": 2}, \"1\": {\"$project\": {\"d.x\": 1, \"k\": 1}}}",
          "{\"0\": {\"_id\": 1, \"d\": {\"x\": 1}, \"k\": \"a\"}, \"1\": {\"_id\": 2, \"k\": "
          "\"b\"}}");
    check("{\"0\": {\"$limit\": 2}, \"1\": {\"$project\": {\"_id\": 0, \"d.x\": 0, \"v\": 0, "
          "\"l\": 0}}}",
          "{\"0\": {\"k\": \"a\", \"d\": {\"y\": 2}}, \"1\": {\"k\": \"b\"}}");
    check("{\"0\": {\"$limit\": 1}, \"1\": {\"$project\": {\"_id\": 0, \"v\": true}}}",
          "{\"0\": {\"v\": 5}}");
}

static void test_what_is_not_known_is_refused(void **state)
{
    static const struct {
        const char *stages;
        int32_t code;
        const char *message;
    } cases[] = {
        {"{\"0\": {\"$foo\": {}}}", 40324, "Unrecognized pipeline stage name: '$foo'"},
        {"{\"0\": {}}", 40323,
         "A pipeline stage specification object must contain exactly one field."},
        {"{\"0\": {\"$match\": {}}, \"1\": {\"$backupCursor\": {}}}", 40602,
         "$backupCursor is only valid as the first stage in a pipeline"},
        {"{\"0\": {\"$count\": \"\"}}", 40157, "the count field must be a non-empty string"},
        {"{\"0\": {\"$count\": \"$n\"}}", 40158, "the count field cannot be a $-prefixed path"},
        {"{\"0\": {\"$count\": \"n.m\"}}", 40160, "the count field cannot contain '.'"},
        {"{\"0\": {\"$group\": {\"n\": {\"$sum\": 1}}}}", 15955,
         "a group specification must include an _id"},
        {"{\"0\": {\"$group\": {\"_id\": 1, \"n\": {\"$foo\": 1}}}}", 15952,
         "unknown group operator of 'n'"},
        {"{\"0\": {\"$project\": {\"a\": 1, \"b\": 0}}}", 31254,
         "Cannot do exclusion in inclusion projection"},
        {"{\"0\": {\"$project\": {\"a\": \"$b\"}}}", 238,
         "projections only keep fields or leave them out here"},
        {"{\"0\": {\"$sort\": 1}}", 15959, "the specification of $sort must be an object"},
        {"{\"0\": {\"$limit\": 0}}", 15958, "the limit must be a positive number"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bson_t *stages = from_json(cases[i].stages);
        struct hf_sandbox_docs none = {0};
        struct hf_sandbox_refusal no = {0};

        assert_int_equal(hf_sandbox_pipeline_run(stages, 0, &none, &no), cases[i].code);
        assert_string_equal(no.message, cases[i].message);
        bson_destroy(stages);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stages_follow_one_another),
        cmocka_unit_test(test_groups_gather_by_key_in_order),
        cmocka_unit_test(test_projections_keep_and_leave_out),
        cmocka_unit_test(test_what_is_not_known_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
