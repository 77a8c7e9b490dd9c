/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Built-in roles and what they allow, as the real server was seen to answer.
 */
#include "sandbox/server_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void test_roles_allow_what_was_observed(void **state)
{
    static const struct {
        const char *role, *role_db;
        struct hf_sandbox_deed deed;
        bool allowed;
    } cases[] = {
        {"backup", "admin", {"find", "admin", NULL}, true},
        {"backup", "admin", {"find", "local", "oplog.rs"}, true},
        {"backup", "admin", {"appendOplogNote", NULL, NULL}, true},
        {"backup", "admin", {"dbHash", "app", NULL}, false},
        {"backup", "admin", {"killAnyCursor", NULL, NULL}, false},
        {"readAnyDatabase", "admin", {"find", "admin", NULL}, true},
        {"readAnyDatabase", "admin", {"find", "local", "oplog.rs"}, false},
        {"readAnyDatabase", "admin", {"appendOplogNote", NULL, NULL}, false},
        {"readAnyDatabase", "admin", {"replSetGetConfig", NULL, NULL}, false},
        {"readAnyDatabase", "admin", {"serverStatus", NULL, NULL}, false},
        {"read", "app", {"find", "admin", NULL}, false},
        {"read", "app", {"find", "app", "orders"}, true},
        {"read", "app", {"find", "app", "system.users"}, false},
        {"hostManager", "admin", {"find", "admin", NULL}, false},
        {"hostManager", "admin", {"killAnyCursor", NULL, NULL}, true},
        {"clusterMonitor", "admin", {"find", "admin", NULL}, false},
        {"clusterMonitor", "admin", {"dbHash", "app", NULL}, false},
        {"clusterMonitor", "admin", {"getCmdLineOpts", NULL, NULL}, true},
        {"root", "admin", {"internal", NULL, NULL}, false},
        {"root", "admin", {"shutdown", NULL, NULL}, true},
        {"__system", "admin", {"internal", NULL, NULL}, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (hf_sandbox_role_allows(cases[i].role, cases[i].role_db, &cases[i].deed) !=
            cases[i].allowed) {
            fail_msg("case %zu of %s", i, cases[i].role);
        }
    }
}

static void test_roles_of_admin_exist_only_there(void **state)
{
    const struct hf_sandbox_deed find = {"find", "app", NULL};

    (void)state;
    assert_false(hf_sandbox_role_allows("backup", "app", &find));
    assert_false(hf_sandbox_role_allows("noSuchRole", "admin", &find));
}

static void test_privileges_of_made_roles(void **state)
{
    const struct hf_sandbox_deed fsync = {"fsync", NULL, NULL}, find = {"find", "admin", NULL},
                                 elsewhere = {"find", "app", NULL};
    bson_t *cluster = BCON_NEW("resource", "{", "cluster", BCON_BOOL(true), "}", "actions", "[",
                               "fsync", "unlock", "]");
    bson_t *whole = BCON_NEW("resource", "{", "db", BCON_UTF8("admin"), "collection", BCON_UTF8(""),
                             "}", "actions", "[", "find", "]");
    bson_t *broken = BCON_NEW("resource", "{", "}", "actions", "[", "find", "]");

    (void)state;
    assert_true(hf_sandbox_privilege_allows(cluster, &fsync));
    assert_false(hf_sandbox_privilege_allows(cluster, &find));
    assert_true(hf_sandbox_privilege_allows(whole, &find));
    assert_false(hf_sandbox_privilege_allows(whole, &elsewhere));
    assert_false(hf_sandbox_privilege_allows(broken, &find));
    bson_destroy(cluster);
    bson_destroy(whole);
    bson_destroy(broken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roles_allow_what_was_observed),
        cmocka_unit_test(test_roles_of_admin_exist_only_there),
        cmocka_unit_test(test_privileges_of_made_roles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
