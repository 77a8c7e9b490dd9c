/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which servers may be backed up, and how each other one is refused by name.
 */
#include "unit/mongo/recorded.h"

#include <stdio.h>
#include <string.h>

#include "mongo/topology.h"

static struct hf_mongo_facts good(void)
{
    return (struct hf_mongo_facts){
        .host = "h:1",
        .set_name = "rs0",
        .role = HF_MONGO_ROLE_MEMBER,
        .secondary = true,
        .version = "4.4.6-8",
        .version_major = 4,
        .version_minor = 4,
        .version_patch = 6,
        .edition = HF_MONGO_PERCONA,
        .fcv = "4.4",
        .fcv_major = 4,
        .fcv_minor = 4,
        .engine = "wiredTiger",
    };
}

static void expect(const struct hf_mongo_facts *facts, enum hf_err code, const char *words)
{
    struct hf_error err = {.message = ""};

    assert_int_equal(hf_mongo_backup_check(facts, &err), code);
    if (code != HF_ERR_OK && strstr(err.message, words) == NULL) {
        fail_msg("no '%s' in: %s", words, err.message);
    }
}

static void test_a_member_with_fcv_4_2_or_higher_takes_the_cursor(void **state)
{
    (void)state;
    struct hf_mongo_facts facts = good();

    expect(&facts, HF_ERR_OK, "");
    facts.fcv_minor = 2;
    expect(&facts, HF_ERR_OK, "");
    facts.fcv_major = 7;
    facts.fcv_minor = 0;
    expect(&facts, HF_ERR_OK, "");
    facts.primary = true;
    facts.secondary = false;
    expect(&facts, HF_ERR_OK, "");
}

static void test_an_open_cursor_is_no_reason_to_refuse(void **state)
{
    (void)state;
    struct hf_mongo_facts facts = good();

    facts.backup_cursor_open = true;
    expect(&facts, HF_ERR_OK, "");
}

static void test_lower_fcv_is_refused_with_its_value(void **state)
{
    (void)state;
    struct hf_mongo_facts facts = good();

    facts.fcv_minor = 0;
    (void)snprintf(facts.fcv, sizeof facts.fcv, "4.0");
    expect(&facts, HF_ERR_UNSUPPORTED, "h:1 has feature compatibility version 4.0; 4.2");
    facts.fcv_major = 0;
    facts.fcv[0] = '\0';
    expect(&facts, HF_ERR_UNSUPPORTED, "version (not known)");
}

static void test_each_unfit_role_is_refused_by_name(void **state)
{
    (void)state;
    struct hf_mongo_facts facts = good();

    facts.role = HF_MONGO_ROLE_MONGOS;
    expect(&facts, HF_ERR_UNSUPPORTED, "h:1 is a mongos");
    facts.role = HF_MONGO_ROLE_STANDALONE;
    expect(&facts, HF_ERR_UNSUPPORTED, "h:1 is a standalone");
    facts.role = HF_MONGO_ROLE_NOT_INITIATED;
    expect(&facts, HF_ERR_UNSUPPORTED, "h:1 is not initiated");
    facts.role = HF_MONGO_ROLE_UNKNOWN;
    expect(&facts, HF_ERR_UNSUPPORTED, "its role is not known");
    facts = good();
    facts.arbiter = true;
    expect(&facts, HF_ERR_UNSUPPORTED, "h:1 is an arbiter of rs0");
}

static void test_a_recovering_member_may_be_fit_later(void **state)
{
    (void)state;
    struct hf_mongo_facts facts = good();

    facts.secondary = false;
    expect(&facts, HF_ERR_CONFLICT, "neither primary nor secondary just now");
}

static void test_community_and_old_releases_lack_the_stage(void **state)
{
    (void)state;
    struct hf_mongo_facts facts = good();

    facts.edition = HF_MONGO_COMMUNITY;
    expect(&facts, HF_ERR_UNSUPPORTED,
           "h:1 runs MongoDB Community 4.4.6-8, which has no $backupCursor");
    facts.edition = HF_MONGO_PERCONA;
    facts.version_patch = 5;
    expect(&facts, HF_ERR_UNSUPPORTED, "too old for $backupCursor");
    facts.version_minor = 2;
    facts.version_patch = 14;
    expect(&facts, HF_ERR_UNSUPPORTED, "too old for $backupCursor");
    facts.version_patch = 15;
    expect(&facts, HF_ERR_OK, "");
    facts.edition = HF_MONGO_ENTERPRISE;
    facts.version_patch = 0;
    expect(&facts, HF_ERR_OK, "");
    facts.version_minor = 0;
    expect(&facts, HF_ERR_UNSUPPORTED, "too old for $backupCursor");
    facts.version_major = 3;
    expect(&facts, HF_ERR_UNSUPPORTED, "too old for $backupCursor");
    facts.version_major = 8;
    expect(&facts, HF_ERR_OK, "");
}

static void test_another_engine_is_refused_by_name(void **state)
{
    (void)state;
    struct hf_mongo_facts facts = good();

    (void)snprintf(facts.engine, sizeof facts.engine, "inMemory");
    expect(&facts, HF_ERR_UNSUPPORTED, "h:1 uses the storage engine inMemory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_member_with_fcv_4_2_or_higher_takes_the_cursor),
        cmocka_unit_test(test_an_open_cursor_is_no_reason_to_refuse),
        cmocka_unit_test(test_lower_fcv_is_refused_with_its_value),
        cmocka_unit_test(test_each_unfit_role_is_refused_by_name),
        cmocka_unit_test(test_a_recovering_member_may_be_fit_later),
        cmocka_unit_test(test_community_and_old_releases_lack_the_stage),
        cmocka_unit_test(test_another_engine_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
