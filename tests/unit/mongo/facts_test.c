/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts about a server, from recorded replies.
 */
#include "unit/mongo/recorded.h"

#include <string.h>

#include "mongo/hello_internal.h"

static void test_percona_is_told_by_its_own_version_field(void **state)
{
    (void)state;
    HF_REPLY bson_t *reply = recorded("buildInfo");
    struct hf_mongo_facts facts = {0};
    struct hf_error err;

    assert_int_equal(hf_mongo_parse_build_info(reply, &facts, &err), HF_ERR_OK);
    assert_int_equal(facts.edition, HF_MONGO_PERCONA);
    assert_string_equal(facts.version, "4.4.6-8");
}

/* versionArray of 4.4.6-8 is [4, 4, 7, -100]: the text is what counts. */
static void test_the_version_comes_from_its_text(void **state)
{
    (void)state;
    HF_REPLY bson_t *reply = recorded("buildInfo-unauthenticated");
    struct hf_mongo_facts facts = {0};
    struct hf_error err;

    assert_int_equal(hf_mongo_parse_build_info(reply, &facts, &err), HF_ERR_OK);
    assert_int_equal(facts.version_major, 4);
    assert_int_equal(facts.version_minor, 4);
    assert_int_equal(facts.version_patch, 6);
}

static void test_editions(void **state)
{
    (void)state;
    HF_REPLY bson_t *enterprise =
        bson_of("{\"version\": \"7.0.14\", \"modules\": [\"x\", \"enterprise\"]}");
    HF_REPLY bson_t *community = bson_of("{\"version\": \"4.4.29\", \"modules\": []}");
    struct hf_mongo_facts facts = {0};
    struct hf_error err;

    assert_int_equal(hf_mongo_parse_build_info(enterprise, &facts, &err), HF_ERR_OK);
    assert_int_equal(facts.edition, HF_MONGO_ENTERPRISE);
    assert_int_equal(facts.version_major, 7);
    assert_int_equal(hf_mongo_parse_build_info(community, &facts, &err), HF_ERR_OK);
    assert_int_equal(facts.edition, HF_MONGO_COMMUNITY);
}

static void test_version_texts(void **state)
{
    (void)state;
    uint32_t v[3];

    assert_true(hf_mongo_parse_version("4.2", v));
    assert_int_equal(v[0], 4);
    assert_int_equal(v[1], 2);
    assert_int_equal(v[2], 0);
    assert_true(hf_mongo_parse_version("8.0.4-rc1", v));
    assert_int_equal(v[2], 4);
    assert_false(hf_mongo_parse_version("", v));
    assert_false(hf_mongo_parse_version("v4", v));
    assert_false(hf_mongo_parse_version("99999999999999999999.1", v));
}

static void test_fcv_of_the_parameter_and_of_the_document(void **state)
{
    (void)state;
    HF_REPLY bson_t *parameter = recorded("getParameter-featureCompatibilityVersion");
    HF_REPLY bson_t *document = bson_of(
        "{\"_id\": \"featureCompatibilityVersion\", \"version\": \"4.2\", \"targetVersion\": "
        "\"4.4\"}");
    struct hf_mongo_facts facts = {0};
    struct hf_error err;

    assert_int_equal(hf_mongo_parse_fcv(parameter, &facts, &err), HF_ERR_OK);
    assert_string_equal(facts.fcv, "4.4");
    assert_string_equal(facts.fcv_target, "");
    assert_int_equal(hf_mongo_parse_fcv(document, &facts, &err), HF_ERR_OK);
    assert_string_equal(facts.fcv, "4.2");
    assert_string_equal(facts.fcv_target, "4.4");
    assert_int_equal(facts.fcv_major, 4);
    assert_int_equal(facts.fcv_minor, 2);
}

static void test_server_status_tells_engine_and_open_cursor(void **state)
{
    (void)state;
    HF_REPLY bson_t *idle = recorded("serverStatus-primary");
    HF_REPLY bson_t *open = recorded("serverStatus-backupCursorOpen");
    struct hf_mongo_facts facts = {0};
    struct hf_error err;

    assert_int_equal(hf_mongo_parse_server_status(idle, &facts, &err), HF_ERR_OK);
    assert_string_equal(facts.engine, "wiredTiger");
    assert_false(facts.backup_cursor_open);
    assert_int_equal(facts.pid, 18243);
    assert_int_equal(hf_mongo_parse_server_status(open, &facts, &err), HF_ERR_OK);
    assert_true(facts.backup_cursor_open);
}

static void test_start_options_of_a_shard_member(void **state)
{
    (void)state;
    HF_REPLY bson_t *reply = recorded("getCmdLineOpts-shard");
    HF_CLEANUP(hf_mongo_facts_fini)
    struct hf_mongo_facts facts = {.role = HF_MONGO_ROLE_MEMBER};
    struct hf_error err;

    assert_int_equal(hf_mongo_parse_cmd_line(reply, &facts, &err), HF_ERR_OK);
    assert_string_equal(facts.dbpath, "/data/db");
    assert_int_equal(facts.shard_role, HF_MONGO_SHARD_SHARDSVR);
    assert_false(facts.directory_per_db);
    assert_true(facts.options_known);
    assert_string_equal(facts.restore_options, "{}");
}

static void test_options_that_a_restore_needs_are_kept_and_secrets_are_not(void **state)
{
    (void)state;
    HF_REPLY bson_t *reply = bson_of(
        "{\"parsed\": {\"storage\": {\"dbPath\": \"/srv/db\", \"directoryPerDB\": true, "
        "\"wiredTiger\": {\"engineConfig\": {\"directoryForIndexes\": true, \"cacheSizeGB\": 2}, "
        "\"collectionConfig\": {\"blockCompressor\": \"zstd\"}}}, \"security\": {\"keyFile\": "
        "\"/etc/k\", \"enableEncryption\": true, \"vault\": {\"token\": \"secret\"}}}}");
    HF_CLEANUP(hf_mongo_facts_fini)
    struct hf_mongo_facts facts = {.role = HF_MONGO_ROLE_MEMBER};
    struct hf_error err;

    assert_int_equal(hf_mongo_parse_cmd_line(reply, &facts, &err), HF_ERR_OK);
    assert_string_equal(facts.dbpath, "/srv/db");
    assert_true(facts.directory_per_db);
    assert_true(facts.directory_for_indexes);
    assert_string_equal(facts.restore_options,
                        "{\"security\":{\"enableEncryption\":true},\"storage\":{"
                        "\"directoryPerDB\":true,\"wiredTiger\":{\"collectionConfig\":{"
                        "\"blockCompressor\":\"zstd\"},\"engineConfig\":{\"directoryForIndexes\":"
                        "true}}}}");
}

static void test_a_relative_dbpath_is_not_believed(void **state)
{
    (void)state;
    HF_REPLY bson_t *reply = bson_of("{\"parsed\": {\"storage\": {\"dbPath\": \"data\"}}}");
    HF_CLEANUP(hf_mongo_facts_fini)
    struct hf_mongo_facts facts = {.role = HF_MONGO_ROLE_MEMBER};
    struct hf_error err;

    assert_int_equal(hf_mongo_parse_cmd_line(reply, &facts, &err), HF_ERR_OK);
    assert_null(facts.dbpath);
    assert_non_null(strstr(facts.missing, "dbPath is relative (data)"));
}

static void test_a_default_dbpath_is_the_servers(void **state)
{
    (void)state;
    HF_REPLY bson_t *reply = bson_of("{\"parsed\": {}}");
    HF_REPLY bson_t *mongos = recorded("getCmdLineOpts-mongos");
    HF_CLEANUP(hf_mongo_facts_fini)
    struct hf_mongo_facts facts = {.role = HF_MONGO_ROLE_MEMBER};
    HF_CLEANUP(hf_mongo_facts_fini)
    struct hf_mongo_facts of_mongos = {.role = HF_MONGO_ROLE_MONGOS};
    struct hf_error err;

    assert_int_equal(hf_mongo_parse_cmd_line(reply, &facts, &err), HF_ERR_OK);
    assert_string_equal(facts.dbpath, "/data/db");
    assert_int_equal(hf_mongo_parse_cmd_line(mongos, &of_mongos, &err), HF_ERR_OK);
    assert_null(of_mongos.dbpath);
}

static void test_replies_without_what_they_are_for_are_refused(void **state)
{
    (void)state;
    HF_REPLY bson_t *empty = bson_of("{}");
    HF_REPLY bson_t *odd = bson_of("{\"version\": 44, \"storageEngine\": [], \"parsed\": 1}");
    struct hf_mongo_facts facts = {0};
    struct hf_error err;

    assert_int_equal(hf_mongo_parse_build_info(empty, &facts, &err), HF_ERR_CORRUPT);
    assert_string_equal(err.message, "buildInfo: no version");
    assert_int_equal(hf_mongo_parse_build_info(odd, &facts, &err), HF_ERR_CORRUPT);
    assert_int_equal(hf_mongo_parse_fcv(odd, &facts, &err), HF_ERR_CORRUPT);
    assert_int_equal(hf_mongo_parse_server_status(odd, &facts, &err), HF_ERR_CORRUPT);
    assert_string_equal(err.message, "serverStatus: no storageEngine.name");
    assert_int_equal(hf_mongo_parse_cmd_line(odd, &facts, &err), HF_ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percona_is_told_by_its_own_version_field),
        cmocka_unit_test(test_the_version_comes_from_its_text),
        cmocka_unit_test(test_editions),
        cmocka_unit_test(test_version_texts),
        cmocka_unit_test(test_fcv_of_the_parameter_and_of_the_document),
        cmocka_unit_test(test_server_status_tells_engine_and_open_cursor),
        cmocka_unit_test(test_start_options_of_a_shard_member),
        cmocka_unit_test(test_options_that_a_restore_needs_are_kept_and_secrets_are_not),
        cmocka_unit_test(test_a_relative_dbpath_is_not_believed),
        cmocka_unit_test(test_a_default_dbpath_is_the_servers),
        cmocka_unit_test(test_replies_without_what_they_are_for_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
