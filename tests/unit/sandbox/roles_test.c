/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Built-in roles and what they allow, as the real server was seen to answer.
 */
#include "sandbox/roles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define ACT(name) HF_SANDBOX_ACT(name)

static void test_roles_allow_what_was_observed(void **state)
{
    static const struct {
        const char *role, *role_db;
        uint64_t action;
        const char *db, *coll;
        bool allowed;
    } cases[] = {
        {"backup", "admin", ACT(FIND), "admin", NULL, true},
        {"backup", "admin", ACT(FIND), "local", "oplog.rs", true},
        {"backup", "admin", ACT(APPEND_OPLOG_NOTE), NULL, NULL, true},
        {"backup", "admin", ACT(DB_HASH), "app", NULL, false},
        {"backup", "admin", ACT(KILL_ANY_CURSOR), NULL, NULL, false},
        {"readAnyDatabase", "admin", ACT(FIND), "admin", NULL, true},
        {"readAnyDatabase", "admin", ACT(FIND), "local", "oplog.rs", false},
        {"readAnyDatabase", "admin", ACT(APPEND_OPLOG_NOTE), NULL, NULL, false},
        {"readAnyDatabase", "admin", ACT(REPL_SET_GET_CONFIG), NULL, NULL, false},
        {"readAnyDatabase", "admin", ACT(SERVER_STATUS), NULL, NULL, false},
        {"read", "app", ACT(FIND), "admin", NULL, false},
        {"read", "app", ACT(FIND), "app", "orders", true},
        {"read", "app", ACT(FIND), "app", "system.users", false},
        {"hostManager", "admin", ACT(FIND), "admin", NULL, false},
        {"hostManager", "admin", ACT(KILL_ANY_CURSOR), NULL, NULL, true},
        {"clusterMonitor", "admin", ACT(FIND), "admin", NULL, false},
        {"clusterMonitor", "admin", ACT(DB_HASH), "app", NULL, false},
        {"clusterMonitor", "admin", ACT(GET_CMD_LINE_OPTS), NULL, NULL, true},
        {"root", "admin", ACT(INTERNAL), NULL, NULL, false},
        {"root", "admin", ACT(SHUTDOWN), NULL, NULL, true},
        {"__system", "admin", ACT(INTERNAL), NULL, NULL, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hf_sandbox_rights rights = {0};
        assert_true(hf_sandbox_role_builtin(cases[i].role, cases[i].role_db, &rights));
        if (hf_sandbox_rights_allow(&rights, cases[i].action, cases[i].db, cases[i].coll) !=
            cases[i].allowed) {
            fail_msg("case %zu of %s", i, cases[i].role);
        }
    }
}

static void test_roles_of_admin_exist_only_there(void **state)
{
    struct hf_sandbox_rights rights = {0};

    (void)state;
    assert_false(hf_sandbox_role_builtin("backup", "app", &rights));
    assert_false(hf_sandbox_role_builtin("noSuchRole", "admin", &rights));
    assert_int_equal(rights.count, 0);
}

static void test_privileges_of_made_roles(void **state)
{
    struct hf_sandbox_rights rights = {0};
    bson_t *cluster = BCON_NEW("resource", "{", "cluster", BCON_BOOL(true), "}", "actions", "[",
                               "fsync", "unlock", "]");
    bson_t *whole = BCON_NEW("resource", "{", "db", BCON_UTF8("admin"), "collection", BCON_UTF8(""),
                             "}", "actions", "[", "find", "]");
    bson_t *broken = BCON_NEW("resource", "{", "}", "actions", "[", "find", "]");

    (void)state;
    assert_true(hf_sandbox_rights_add_privilege(&rights, cluster));
    assert_true(hf_sandbox_rights_add_privilege(&rights, whole));
    assert_false(hf_sandbox_rights_add_privilege(&rights, broken));
    assert_true(hf_sandbox_rights_allow(&rights, ACT(FSYNC), NULL, NULL));
    assert_true(hf_sandbox_rights_allow(&rights, ACT(FIND), "admin", NULL));
    assert_false(hf_sandbox_rights_allow(&rights, ACT(FIND), "app", NULL));
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
