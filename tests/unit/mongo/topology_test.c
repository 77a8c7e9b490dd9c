/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of a set, from recorded hello, replSetGetStatus and replSetGetConfig.
 */
#include "unit/mongo/recorded.h"

#include <string.h>

#include "mongo/hello_internal.h"

struct role_case {
    const char *name;
    enum hf_mongo_role role;
    bool primary, secondary, hidden, arbiter, config_server;
    const char *set_name, *me;
};

static void test_hello_and_ismaster_tell_the_role(void **state)
{
    (void)state;
    static const struct role_case cases[] = {
        {"hello-primary", HF_MONGO_ROLE_MEMBER, true, false, false, false, false, "rs0",
         "host-a.example.net:27017"},
        {"isMaster-primary", HF_MONGO_ROLE_MEMBER, true, false, false, false, false, "rs0",
         "host-a.example.net:27017"},
        {"hello-secondary", HF_MONGO_ROLE_MEMBER, false, true, false, false, false, "rs0",
         "host-b.example.net:27017"},
        {"isMaster-secondary", HF_MONGO_ROLE_MEMBER, false, true, false, false, false, "rs0",
         "host-b.example.net:27017"},
        {"hello-hidden", HF_MONGO_ROLE_MEMBER, false, true, true, false, false, "rs0",
         "host-c.example.net:27017"},
        {"hello-arbiter", HF_MONGO_ROLE_MEMBER, false, false, false, true, false, "rs1",
         "host-f.example.net:27017"},
        {"isMaster-arbiter", HF_MONGO_ROLE_MEMBER, false, false, false, true, false, "rs1",
         "host-f.example.net:27017"},
        {"hello-configsvr", HF_MONGO_ROLE_MEMBER, true, false, false, false, true, "cfg",
         "host-k.example.net:27017"},
        {"hello-shard", HF_MONGO_ROLE_MEMBER, true, false, false, false, false, "shard1",
         "host-l.example.net:27017"},
        {"hello-standalone", HF_MONGO_ROLE_STANDALONE, true, false, false, false, false, "", ""},
        {"hello-mongos", HF_MONGO_ROLE_MONGOS, true, false, false, false, false, "", ""},
        {"isMaster-mongos", HF_MONGO_ROLE_MONGOS, true, false, false, false, false, "", ""},
        {"hello-not-initiated", HF_MONGO_ROLE_NOT_INITIATED, false, false, false, false, false, "",
         ""},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        HF_REPLY bson_t *reply = recorded(cases[i].name);
        struct hf_mongo_hello hello;
        struct hf_error err;

        assert_int_equal(hf_mongo_parse_hello(reply, &hello, &err), HF_ERR_OK);
        if (hello.role != cases[i].role) {
            fail_msg("%s: role %d", cases[i].name, hello.role);
        }
        assert_int_equal(hello.primary, cases[i].primary);
        assert_int_equal(hello.secondary, cases[i].secondary);
        assert_int_equal(hello.hidden, cases[i].hidden);
        assert_int_equal(hello.arbiter, cases[i].arbiter);
        assert_int_equal(hello.config_server, cases[i].config_server);
        assert_string_equal(hello.set_name, cases[i].set_name);
        assert_string_equal(hello.me, cases[i].me);
    }
}

static void test_hello_tells_the_majority_optime(void **state)
{
    (void)state;
    HF_REPLY bson_t *reply = recorded("hello-configsvr");
    HF_REPLY bson_t *young = recorded("hello-not-initiated");
    struct hf_mongo_hello hello;
    struct hf_error err;

    assert_int_equal(hf_mongo_parse_hello(reply, &hello, &err), HF_ERR_OK);
    assert_int_equal(hello.last_write.ts.seconds, 1795450002);
    assert_int_equal(hello.majority.ts.seconds, 1795450001);
    assert_int_equal(hello.majority.ts.increment, 2);
    assert_int_equal(hello.majority.term, 1);
    assert_int_equal(hf_mongo_parse_hello(young, &hello, &err), HF_ERR_OK);
    assert_true(hf_mongo_ts_is_null(hello.majority.ts));
}

static void parse(const char *config_name, const char *status_name, struct hf_mongo_set *out)
{
    HF_REPLY bson_t *config = recorded(config_name);
    HF_REPLY bson_t *status = recorded(status_name);
    struct hf_error err;

    if (hf_mongo_parse_set(config, status, NULL, out, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
}

static void test_a_set_of_three_with_a_hidden_member(void **state)
{
    (void)state;
    struct hf_mongo_set set;

    parse("replSetGetConfig", "replSetGetStatus-secondary", &set);

    assert_string_equal(set.name, "rs0");
    assert_int_equal(strlen(set.id_hex), 24);
    assert_int_equal(set.term, 1);
    assert_int_equal(set.config_version, 1);
    assert_string_equal(set.primary, "host-a.example.net:27017");
    assert_int_equal(set.majority.ts.seconds, 1795449951);
    assert_int_equal(set.majority.ts.increment, 367);
    assert_int_equal(set.majority.term, 1);
    assert_int_equal(set.member_count, 3);

    const struct hf_mongo_member *a = hf_mongo_set_member(&set, "host-a.example.net:27017");
    const struct hf_mongo_member *b = hf_mongo_set_member(&set, "HOST-B.example.net:27017");
    const struct hf_mongo_member *c = hf_mongo_set_member(&set, "host-c.example.net:27017");
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    assert_null(hf_mongo_set_member(&set, "host-d.example.net:27017"));
    assert_int_equal(a->state, HF_MONGO_PRIMARY);
    assert_true(a->healthy);
    assert_false(a->self);
    assert_true(a->priority > 1.9 && a->priority < 2.1);
    assert_int_equal(b->state, HF_MONGO_SECONDARY);
    assert_true(b->self);
    assert_true(b->priority > 0.4 && b->priority < 0.6);
    assert_int_equal(b->votes, 1);
    assert_int_equal(b->lag_s, 0);
    assert_true(c->hidden);
    assert_false(b->hidden);
    assert_true(c->priority == 0.0);
}

static void test_an_arbiter_has_no_optime_and_no_lag(void **state)
{
    (void)state;
    struct hf_mongo_set set;

    parse("replSetGetConfig-with-arbiter", "replSetGetStatus-arbiter", &set);

    const struct hf_mongo_member *arbiter = hf_mongo_set_member(&set, "host-f.example.net:27017");
    assert_non_null(arbiter);
    assert_true(arbiter->arbiter);
    assert_true(arbiter->self);
    assert_int_equal(arbiter->state, HF_MONGO_ARBITER);
    assert_true(arbiter->lag_s == HF_MONGO_LAG_UNKNOWN);
    assert_true(hf_mongo_ts_is_null(arbiter->optime.ts));
    assert_string_equal(set.primary, "host-d.example.net:27017");
}

static const char config_of_two[] =
    "{\"config\": {\"_id\": \"s\", \"version\": 3, \"members\": ["
    "{\"_id\": 4, \"host\": \"a:1\", \"priority\": 1, \"votes\": 1},"
    "{\"_id\": 7, \"host\": \"b:1\", \"priority\": 0, \"votes\": 0, \"hidden\": true,"
    " \"secondaryDelaySecs\": {\"$numberLong\": \"3600\"}}]}}";

static void test_lag_is_behind_the_primary_and_delay_has_two_names(void **state)
{
    (void)state;
    HF_REPLY bson_t *config = bson_of(config_of_two);
    HF_REPLY bson_t *status = bson_of(
        "{\"term\": 9, \"members\": ["
        "{\"_id\": 7, \"health\": 1, \"state\": 2, \"optime\": {\"ts\": {\"$timestamp\": {\"t\": "
        "1000, \"i\": 1}}, \"t\": 9}},"
        "{\"_id\": 4, \"health\": 1, \"state\": 1, \"optime\": {\"ts\": {\"$timestamp\": {\"t\": "
        "4600, \"i\": 1}}, \"t\": 9}}]}");
    struct hf_mongo_set set;
    struct hf_error err;

    assert_int_equal(hf_mongo_parse_set(config, status, NULL, &set, &err), HF_ERR_OK);
    assert_int_equal(set.term, 9);
    assert_int_equal(set.members[1].lag_s, 3600);
    assert_int_equal(set.members[1].delay_s, 3600);
    assert_int_equal(set.members[1].votes, 0);
    assert_int_equal(set.members[0].lag_s, 0);
    assert_string_equal(set.primary, "a:1");
}

static void test_without_a_primary_lag_is_behind_the_newest_member(void **state)
{
    (void)state;
    HF_REPLY bson_t *config = bson_of(config_of_two);
    HF_REPLY bson_t *status = bson_of(
        "{\"members\": [{\"_id\": 7, \"health\": 1, \"state\": 2, \"optime\": {\"ts\": "
        "{\"$timestamp\": {\"t\": 1000, \"i\": 1}}, \"t\": 9}},"
        "{\"_id\": 4, \"health\": 0, \"state\": 3, \"optime\": {\"ts\": {\"$timestamp\": {\"t\": "
        "1030, \"i\": 1}}, \"t\": 9}}]}");
    struct hf_mongo_set set;
    struct hf_error err;

    assert_int_equal(hf_mongo_parse_set(config, status, NULL, &set, &err), HF_ERR_OK);
    assert_string_equal(set.primary, "");
    assert_int_equal(set.members[1].lag_s, 30);
    assert_int_equal(set.members[0].state, HF_MONGO_RECOVERING);
    assert_false(set.members[0].healthy);
}

static void test_of_two_that_claim_to_be_primary_the_followed_one_counts(void **state)
{
    (void)state;
    HF_REPLY bson_t *config = bson_of(config_of_two);
    HF_REPLY bson_t *status = bson_of("{\"members\": [{\"_id\": 4, \"health\": 1, \"state\": 1},"
                                      "{\"_id\": 7, \"health\": 1, \"state\": 1}]}");
    struct hf_mongo_hello hello = {.primary_host = "b:1"};
    struct hf_mongo_set set;
    struct hf_error err;

    assert_int_equal(hf_mongo_parse_set(config, status, &hello, &set, &err), HF_ERR_OK);
    assert_string_equal(set.primary, "b:1");
}

static void test_a_member_missing_in_the_status_is_unknown_and_unhealthy(void **state)
{
    (void)state;
    HF_REPLY bson_t *config = bson_of(config_of_two);
    HF_REPLY bson_t *status = bson_of("{\"members\": \"odd\"}");
    struct hf_mongo_set set;
    struct hf_error err;

    assert_int_equal(hf_mongo_parse_set(config, status, NULL, &set, &err), HF_ERR_OK);
    assert_int_equal(set.members[0].state, HF_MONGO_UNKNOWN);
    assert_false(set.members[0].healthy);
    assert_true(set.members[0].lag_s == HF_MONGO_LAG_UNKNOWN);
}

static void expect_refused(const char *config_json, enum hf_err code, const char *words)
{
    HF_REPLY bson_t *config = bson_of(config_json);
    HF_REPLY bson_t *status = bson_of("{}");
    struct hf_mongo_set set;
    struct hf_error err;

    assert_int_equal(hf_mongo_parse_set(config, status, NULL, &set, &err), code);
    if (strstr(err.message, words) == NULL) {
        fail_msg("no '%s' in: %s", words, err.message);
    }
}

static void test_a_configuration_that_cannot_be_is_refused(void **state)
{
    (void)state;
    HF_CLEANUP(hf_buf_fini) struct hf_buf json = HF_BUF_INIT(65536);
    struct hf_error err;

    expect_refused("{}", HF_ERR_CORRUPT, "no name or no members");
    expect_refused("{\"config\": {\"_id\": 5, \"members\": []}}", HF_ERR_CORRUPT, "no name");
    expect_refused("{\"config\": {\"_id\": \"s\", \"members\": [1]}}", HF_ERR_CORRUPT,
                   "a member is no document");
    expect_refused("{\"config\": {\"_id\": \"s\", \"members\": [{\"_id\": 1}]}}", HF_ERR_CORRUPT,
                   "set s: replSetGetConfig: a member without host or _id");
    assert_int_equal(
        hf_buf_append_text(&json, "{\"config\": {\"_id\": \"s\", \"members\": [", &err), HF_ERR_OK);
    for (int i = 0; i <= HF_MONGO_MAX_MEMBERS; i++) {
        assert_int_equal(hf_buf_appendf(&json, &err, "%s{\"_id\": %d, \"host\": \"h:%d\"}",
                                        i > 0 ? "," : "", i, i + 1),
                         HF_ERR_OK);
    }
    assert_int_equal(hf_buf_append_text(&json, "]}}", &err), HF_ERR_OK);
    expect_refused(hf_buf_text(&json), HF_ERR_LIMIT, "more than 50 members");
}

static void test_hosts_are_collected_once_each(void **state)
{
    (void)state;
    HF_REPLY bson_t *reply = bson_of("{\"hosts\": [\"a:1\", \"B:1\", 7, \"b:1\"], \"passives\": "
                                     "[\"c:1\", \"a:1\"], \"arbiters\": [\"d:1\"]}");
    HF_CLEANUP(hf_free) struct hf_mongo_hosts *hosts = hf_alloc_zero(sizeof *hosts);

    hf_mongo_parse_hello_hosts(reply, hosts);
    assert_int_equal(hosts->count, 3);
    assert_string_equal(hosts->names[0], "a:1");
    assert_string_equal(hosts->names[1], "B:1");
    assert_string_equal(hosts->names[2], "c:1");
}

static void test_states_have_the_servers_names(void **state)
{
    (void)state;
    assert_string_equal(hf_mongo_state_name(HF_MONGO_STARTUP2), "STARTUP2");
    assert_string_equal(hf_mongo_state_name((enum hf_mongo_state)99), "UNKNOWN");
    assert_int_equal(hf_mongo_state_from_name("ROLLBACK"), HF_MONGO_ROLLBACK);
    assert_int_equal(hf_mongo_state_from_name("rollback"), HF_MONGO_UNKNOWN);
    assert_int_equal(hf_mongo_state_from_name(NULL), HF_MONGO_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_and_ismaster_tell_the_role),
        cmocka_unit_test(test_hello_tells_the_majority_optime),
        cmocka_unit_test(test_a_set_of_three_with_a_hidden_member),
        cmocka_unit_test(test_an_arbiter_has_no_optime_and_no_lag),
        cmocka_unit_test(test_lag_is_behind_the_primary_and_delay_has_two_names),
        cmocka_unit_test(test_without_a_primary_lag_is_behind_the_newest_member),
        cmocka_unit_test(test_of_two_that_claim_to_be_primary_the_followed_one_counts),
        cmocka_unit_test(test_a_member_missing_in_the_status_is_unknown_and_unhealthy),
        cmocka_unit_test(test_a_configuration_that_cannot_be_is_refused),
        cmocka_unit_test(test_hosts_are_collected_once_each),
        cmocka_unit_test(test_states_have_the_servers_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
