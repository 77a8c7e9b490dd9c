/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seed lists and connection strings, taken apart and put together.
 */
#include "unit/mongo/recorded.h"

#include <string.h>

static struct hf_mongo_hosts hosts;

static void expect_hosts(const char *seeds, size_t count, const char *first, const char *last)
{
    struct hf_error err;

    if (hf_mongo_parse_seeds(seeds, &hosts, &err) != HF_ERR_OK) {
        fail_msg("%s: %s", seeds, err.message);
    }
    assert_int_equal(hosts.count, count);
    assert_string_equal(hosts.names[0], first);
    assert_string_equal(hosts.names[count - 1], last);
}

static void test_seeds_are_a_uri_or_a_list(void **state)
{
    (void)state;
    expect_hosts("a", 1, "a:27017", "a:27017");
    expect_hosts("a:1,b:2,c", 3, "a:1", "c:27017");
    expect_hosts("[::1]:5,[fe80::1]", 2, "[::1]:5", "[fe80::1]:27017");
    expect_hosts("mongodb://a:1,b/?replicaSet=rs0", 2, "a:1", "b:27017");
    expect_hosts("mongodb://u:p%40x@a:1/admin", 1, "a:1", "a:1");
    expect_hosts("mongodb://u:p@q@a:1", 1, "a:1", "a:1");
    expect_hosts("mongodb://a?tls=true", 1, "a:27017", "a:27017");
}

static void test_hosts_that_cannot_be_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"", "the list of hosts is empty"},
        {"a,,b", "host ''"},
        {"a:0", "the port is not 1 to 65535"},
        {"a:65536", "the port is not 1 to 65535"},
        {"a:x", "host 'a:x'"},
        {":27017", "its name is empty"},
        {"[::1", "'[' without ']'"},
        {"a b:1", "not a name or an address"},
        {"a\"b:1", "not a name or an address"},
        {"/tmp/mongodb.sock", "not a name or an address"},
        {"mongodb+srv://x.example.net", "mongodb+srv:// is not understood; hint: list the hosts"},
        {"mongodb:///db", "without a host"},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        struct hf_error err;
        assert_int_equal(hf_mongo_parse_seeds(bad[i][0], &hosts, &err), HF_ERR_INVALID);
        if (strstr(err.message, bad[i][1]) == NULL) {
            fail_msg("%s: %s", bad[i][0], err.message);
        }
    }
    struct hf_error err;
    assert_int_equal(hf_mongo_parse_seeds(NULL, &hosts, &err), HF_ERR_INVALID);
}

static void expect_uri(const char *base, const char *expected)
{
    HF_CLEANUP(hf_free) char *uri = NULL;
    struct hf_error err;

    if (hf_mongo_member_uri(base, "m:5", &uri, &err) != HF_ERR_OK) {
        fail_msg("%s: %s", base, err.message);
    }
    assert_string_equal(uri, expected);
}

static void test_one_member_gets_the_credentials_and_options_of_the_set(void **state)
{
    (void)state;
    expect_uri(NULL, "mongodb://m:5/");
    expect_uri("mongodb://a:1,b:2", "mongodb://m:5/");
    expect_uri("mongodb://u:p%2Fq@a:1/db?tls=true&tlsCAFile=/x",
               "mongodb://u:p%2Fq@m:5/db?tls=true&tlsCAFile=/x");
    expect_uri("mongodb://a/?authSource=admin&", "mongodb://m:5/?authSource=admin");
}

static void test_options_that_lead_to_other_servers_are_left_out(void **state)
{
    (void)state;
    expect_uri("mongodb://a/?replicaSet=rs0&tls=true&readPreference=nearest&appName=x"
               "&directConnection=false&loadBalanced=true",
               "mongodb://m:5/?tls=true");
    expect_uri("mongodb://a/?REPLICASET=rs0", "mongodb://m:5/");
}

static void test_what_is_no_uri_is_refused(void **state)
{
    (void)state;
    char *uri = NULL;
    struct hf_error err;

    assert_int_equal(hf_mongo_member_uri("http://a", "m:5", &uri, &err), HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "not a mongodb:// uri"));
    assert_null(uri);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds_are_a_uri_or_a_list),
        cmocka_unit_test(test_hosts_that_cannot_be_are_refused_by_name),
        cmocka_unit_test(test_one_member_gets_the_credentials_and_options_of_the_set),
        cmocka_unit_test(test_options_that_lead_to_other_servers_are_left_out),
        cmocka_unit_test(test_what_is_no_uri_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
