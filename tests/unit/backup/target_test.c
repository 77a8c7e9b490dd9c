/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restores onto sets: what stands in the way, and what follows on what.
 */
#include "backup/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct hf_target_record record;
    struct hf_error err;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct hf_target_record *record = &f->record;

    record->id = record->cluster = record->job = record->snapshot = record->project =
        (struct hf_id){{7}};
    record->active = true;
    record->bytes = 1000;
    record->member_count = 2;
    (void)snprintf(record->set_name, sizeof record->set_name, "rs1");
    (void)snprintf(record->fcv, sizeof record->fcv, "4.4");
    (void)snprintf(record->options, sizeof record->options,
                   "{\"storage\": {\"directoryPerDB\": true}}");
    (void)snprintf(record->members[0].host, 16, "a:1");
    (void)snprintf(record->members[1].host, 16, "b:2");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static void end(struct fixture *f, size_t member, enum hf_err code)
{
    struct hf_error outcome = {.code = code, .message = "why"};

    f->record.members[member].state = HF_TARGET_MEMBER_RUNNING;
    hf_target_member_ended(&f->record, member, &outcome, 10);
}

static void end_phase(struct fixture *f)
{
    end(f, 0, HF_ERR_OK);
    end(f, 1, HF_ERR_OK);
    assert_true(hf_target_advance(&f->record, 10));
}

static void go_to(struct fixture *f, enum hf_target_phase phase)
{
    while (f->record.phase != phase) {
        end_phase(f);
    }
}

static void test_every_phase_waits_for_all_members(void **state)
{
    static const enum hf_target_phase phases[] = {
        HF_TARGET_CHECK, HF_TARGET_BUILD,   HF_TARGET_STOP,  HF_TARGET_SWAP,
        HF_TARGET_START, HF_TARGET_PRIMARY, HF_TARGET_CLEAN, HF_TARGET_DONE};
    struct fixture *f = *state;

    for (size_t i = 0; i + 1 < HF_ARRAY_LEN(phases); i++) {
        assert_int_equal(f->record.phase, phases[i]);
        assert_true(hf_target_is_due(&f->record, 0, 10));
        end(f, 0, HF_ERR_OK);
        assert_false(hf_target_advance(&f->record, 10));
        assert_false(hf_target_is_due(&f->record, 0, 10));
        end(f, 1, HF_ERR_OK);
        assert_true(hf_target_advance(&f->record, 11));
        assert_int_equal(f->record.phase, phases[i + 1]);
    }
    assert_true(hf_target_has_ended(&f->record));
    assert_int_equal(f->record.finished_s, 11);
    assert_int_equal(hf_target_cancel(&f->record, &f->err), HF_ERR_CONFLICT);
}

static void test_in_place_nothing_is_built_beside(void **state)
{
    struct fixture *f = *state;

    f->record.in_place = true;
    end_phase(f);
    assert_int_equal(f->record.phase, HF_TARGET_STOP);
    end_phase(f);
    assert_int_equal(f->record.phase, HF_TARGET_SWAP);
    /* From here on there is no way back. */
    assert_int_equal(hf_target_cancel(&f->record, &f->err), HF_ERR_CONFLICT);
    assert_non_null(strstr(f->err.message, "has no old data to go back to"));
    end(f, 0, HF_ERR_CORRUPT);
    end(f, 1, HF_ERR_OK);
    assert_true(hf_target_advance(&f->record, 12));
    assert_int_equal(f->record.phase, HF_TARGET_UNDONE);
    assert_non_null(strstr(f->record.error, "a:1: why; the set is down, its old data is gone"));
}

static void test_a_failure_leads_back_by_how_far_it_was(void **state)
{
    static const struct {
        enum hf_target_phase at, back;
    } cases[] = {
        {HF_TARGET_CHECK, HF_TARGET_UNDONE}, {HF_TARGET_BUILD, HF_TARGET_BACK},
        {HF_TARGET_STOP, HF_TARGET_BACK},    {HF_TARGET_SWAP, HF_TARGET_BACK},
        {HF_TARGET_START, HF_TARGET_HALT},   {HF_TARGET_PRIMARY, HF_TARGET_HALT},
    };
    struct fixture *f = *state;
    struct hf_target_record fresh = f->record;

    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        f->record = fresh;
        go_to(f, cases[i].at);
        end(f, 0, HF_ERR_CORRUPT);
        f->record.members[1].state = HF_TARGET_MEMBER_RUNNING;
        /* The other one is waited for: no member has two steps at once. */
        assert_true(hf_target_advance(&f->record, 20));
        assert_int_equal(f->record.phase, cases[i].at);
        assert_true(f->record.failing && !f->record.undoing);
        assert_false(hf_target_is_due(&f->record, 0, 99));
        end(f, 1, HF_ERR_CANCELLED);
        assert_true(hf_target_advance(&f->record, 21));
        assert_int_equal(f->record.phase, cases[i].back);
        assert_string_equal(f->record.error, "a:1: why");
        assert_string_equal(f->record.error_class, "CORRUPT");
        while (!hf_target_has_ended(&f->record)) {
            end_phase(f);
        }
        assert_int_equal(f->record.phase, HF_TARGET_UNDONE);
    }
}

static void test_a_lost_agent_gets_its_step_again_and_not_for_ever(void **state)
{
    struct fixture *f = *state;

    go_to(f, HF_TARGET_BUILD);
    for (unsigned i = 1; i < HF_TARGET_TRIES; i++) {
        end(f, 0, i % 2 == 0 ? HF_ERR_LOST : HF_ERR_UNAVAILABLE);
        assert_false(hf_target_advance(&f->record, 10));
        assert_int_equal(f->record.members[0].state, HF_TARGET_MEMBER_WAITING);
        assert_true(hf_target_is_due(&f->record, 0, 10 + i));
        assert_int_equal(hf_target_is_due(&f->record, 0, 10), i == 1);
    }
    end(f, 0, HF_ERR_LOST);
    end(f, 1, HF_ERR_OK);
    assert_true(hf_target_advance(&f->record, 10));
    assert_int_equal(f->record.phase, HF_TARGET_BACK);
    /* The way back is tried for ever. */
    for (unsigned i = 0; i < 4 * HF_TARGET_TRIES; i++) {
        end(f, 0, HF_ERR_CORRUPT);
        assert_false(hf_target_advance(&f->record, 10));
        assert_true(hf_target_is_due(&f->record, 0, 10 + HF_TARGET_PAUSE_MAX_S));
    }
    /* Unless the operator gives it up. */
    assert_int_equal(hf_target_cancel(&f->record, &f->err), HF_ERR_OK);
    assert_true(hf_target_advance(&f->record, 10));
    assert_int_equal(f->record.phase, HF_TARGET_UNDONE);
}

static void test_a_clean_stop_of_an_agent_is_no_cancel(void **state)
{
    struct fixture *f = *state;

    go_to(f, HF_TARGET_STOP);
    end(f, 0, HF_ERR_CANCELLED);
    assert_int_equal(f->record.members[0].state, HF_TARGET_MEMBER_WAITING);
    assert_int_equal(hf_target_cancel(&f->record, &f->err), HF_ERR_OK);
    assert_true(hf_target_advance(&f->record, 10));
    assert_int_equal(f->record.phase, HF_TARGET_BACK);
    assert_string_equal(f->record.error, "cancelled by the operator");
}

static void test_old_data_that_stays_is_no_failure(void **state)
{
    struct fixture *f = *state;

    go_to(f, HF_TARGET_CLEAN);
    assert_int_equal(hf_target_cancel(&f->record, &f->err), HF_ERR_CONFLICT);
    for (unsigned i = 0; i < HF_TARGET_CLEAN_TRIES; i++) {
        end(f, 0, HF_ERR_DENIED);
    }
    end(f, 1, HF_ERR_OK);
    assert_true(hf_target_advance(&f->record, 10));
    assert_int_equal(f->record.phase, HF_TARGET_DONE);
    assert_string_equal(f->record.members[0].error, "why");
}

/* backup-domain.md 4.12, and 4.2 beside it: R17.11. */
static void test_versions_open_what_the_matrix_says(void **state)
{
    static const char *const versions[] = {"4.0.28", "4.2.24", "4.4.6-8", "4.4.29", "5.0.1",
                                           "5.3.2",  "6.0.4",  "7.0.13",  "8.0.3",  "9.0.0",
                                           "44.4.0", "4.40.1", "4.4",     "soon",   ""};
    static const struct {
        const char *fcv;
        const char *fits; /* one letter a version: y, or - */
    } rows[] = {
        {"4.2", "-yyy--------y--"}, {"4.4", "--yyy-------y--"}, {"5.0", "----y-y--------"},
        {"6.0", "------yy-------"}, {"7.0", "-------yy------"}, {"8.0", "--------y------"},
        {"4.0", "---------------"}, {"9.0", "---------------"}, {"", "---------------"},
        {"4", "---------------"},
    };

    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
        assert_int_equal(strlen(rows[i].fits), HF_ARRAY_LEN(versions));
        for (size_t j = 0; j < HF_ARRAY_LEN(versions); j++) {
            if (hf_target_version_fits(rows[i].fcv, versions[j]) != (rows[i].fits[j] == 'y')) {
                fail_msg("FCV '%s', version '%s'", rows[i].fcv, versions[j]);
            }
        }
    }
}

static void take_of(struct fixture *f, size_t member, const char *text)
{
    struct hf_json *report = NULL;

    assert_int_equal(hf_json_decode(hf_str_of(text), 65536, &report, &f->err), HF_ERR_OK);
    assert_int_equal(hf_target_take_report(&f->record, member, report, &f->err), HF_ERR_OK);
    hf_json_drop(report);
}

static void take(struct fixture *f, const char *text)
{
    take_of(f, 0, text);
}

static void need(struct fixture *f, size_t index, const char *kind, const char *text)
{
    assert_true(f->record.obstacle_count > index);
    assert_string_equal(f->record.obstacles[index].kind, kind);
    if (strstr(f->record.obstacles[index].text, text) == NULL) {
        fail_msg("'%s' is not in '%s'", text, f->record.obstacles[index].text);
    }
}

static void test_everything_in_the_way_is_listed(void **state)
{
    struct fixture *f = *state;

    take(f, "{\"version\": \"6.0.1\", \"fcv\": \"4.2\", \"options\": {\"storage\": {\"engine\": "
            "\"inMemory\", \"wiredTiger\": {\"engineConfig\": {\"directoryForIndexes\": true}}}}, "
            "\"freeBytes\": 1000, \"dataBytes\": 900, \"problems\": [{\"kind\": \"DIRECTORY\", "
            "\"text\": \"no\"}], \"config\": {\"configsvr\": true, \"version\": 3, \"members\": "
            "[{\"host\": \"a:1\"}, {\"host\": \"b:2\"}, {\"host\": \"c:3\"}]}}");
    need(f, 0, "DIRECTORY", "no");
    need(f, 1, "VERSION", "it runs 6.0.1, which does not open files of FCV 4.4");
    need(f, 2, "FCV", "FCV 4.2, below the snapshot's 4.4");
    need(f, 3, "OPTIONS", "storage.directoryPerDB is false there, the snapshot has true");
    need(f, 4, "OPTIONS", "directoryForIndexes is true there");
    need(f, 5, "OPTIONS", "storage.engine is inMemory there, the snapshot has wiredTiger");
    need(f, 6, "SPACE", "512 MiB are needed; hint: --reuse-space");
    need(f, 7, "MEMBERS", "config servers");
    need(f, 8, "AGENT", "member c:3, which no agent serves");
    assert_int_equal(f->record.obstacle_count, 9);
    /* The real run refuses what the dry run lists. */
    end(f, 0, HF_ERR_OK);
    end(f, 1, HF_ERR_OK);
    struct hf_target_record dry = f->record;
    assert_true(hf_target_advance(&f->record, 10));
    assert_int_equal(f->record.phase, HF_TARGET_UNDONE);
    assert_string_equal(f->record.error, "a:1: no (and more; see restore show)");
    dry.dry_run = true;
    assert_true(hf_target_advance(&dry, 10));
    assert_int_equal(dry.phase, HF_TARGET_DONE);
}

static void test_what_fits_is_no_obstacle_and_gives_the_configuration(void **state)
{
    struct fixture *f = *state;

    take(f, "{\"version\": \"4.4.6\", \"fcv\": \"4.4\", \"options\": {\"storage\": "
            "{\"directoryPerDB\": true, \"wiredTiger\": {\"engineConfig\": {\"cacheSizeGB\": "
            "3}}}}, \"freeBytes\": 9000000000, \"config\": {\"_id\": \"rs1\", \"version\": "
            "{\"$numberInt\": \"41\"}, \"members\": [{\"host\": \"a:1\", \"priority\": 2}, "
            "{\"host\": \"b:2\"}], \"settings\": {\"chainingAllowed\": false}}}");
    assert_int_equal(f->record.obstacle_count, 0);
    assert_non_null(strstr(f->record.config, "\"version\":{\"$numberInt\":\"42\"}"));
    assert_non_null(strstr(f->record.config, "\"term\":{\"$numberLong\":\"1\"}"));
    assert_non_null(strstr(f->record.config, "\"chainingAllowed\":false,\"replicaSetId\":{\"$oid\":"
                                             "\"070000000000000000000000\"}"));
    assert_non_null(strstr(f->record.config, "\"priority\":2"));
}

static void test_the_fcv_of_the_target_is_not_below(void **state)
{
    static const char *const fcvs[] = {"4.2", "4.4", "5.0", "6.0", "7.0", "8.0"};
    struct fixture *f = *state;
    struct hf_target_record fresh = f->record;
    char report[128];

    for (size_t i = 1; i < HF_ARRAY_LEN(fcvs); i++) {
        for (size_t j = 0; j < HF_ARRAY_LEN(fcvs); j++) {
            f->record = fresh;
            (void)snprintf(f->record.fcv, sizeof f->record.fcv, "%s", fcvs[i]);
            (void)snprintf(report, sizeof report, "{\"version\": \"%s.1\", \"fcv\": \"%s\"}",
                           fcvs[i], fcvs[j]);
            take(f, report);
            assert_int_equal(f->record.obstacle_count, j < i ? 1 : 0);
            if (j < i) {
                need(f, 0, "FCV", "setFeatureCompatibilityVersion there first");
            }
        }
    }
}

/* A server of the next release opens the files, but does not replay another's oplog. */
static void test_a_point_needs_the_release_of_the_snapshot(void **state)
{
    static const struct {
        bool to_point;
        const char *report, *obstacle;
    } cases[] = {
        {true, "{\"version\": \"4.4.29\"}", NULL},
        {false, "{\"version\": \"5.0.3\"}", NULL},
        {true, "{\"version\": \"5.0.3\"}", "would replay with 5.0.3 what a 4.4.6-8 wrote"},
        {true, "{\"version\": \"5.0.3\", \"replayVersion\": \"4.4.18\"}", NULL},
        {true, "{\"version\": \"4.4.6\", \"replayVersion\": \"5.0.3\"}", "would replay with 5.0.3"},
        {true, "{}", NULL},
    };
    struct fixture *f = *state;
    struct hf_target_record fresh = f->record;

    (void)snprintf(fresh.server_version, sizeof fresh.server_version, "4.4.6-8");
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        f->record = fresh;
        f->record.to_point = cases[i].to_point;
        take(f, cases[i].report);
        assert_int_equal(f->record.obstacle_count, cases[i].obstacle == NULL ? 0 : 1);
        if (cases[i].obstacle != NULL) {
            need(f, 0, "VERSION", cases[i].obstacle);
        }
    }
}

/* R17.12: what a member has too little, to the byte. */
static void test_room_is_needed_on_every_member(void **state)
{
    static const uint64_t mib = (uint64_t)1 << 20;
    struct fixture *f = *state;
    struct hf_target_record fresh = f->record;
    const struct {
        bool in_place, arbiter;
        uint64_t free_bytes, data_bytes;
        bool fits;
    } cases[] = {
        {false, false, 1536 * mib, 0, true},
        {false, false, 1536 * mib - 1, 0, false},
        {false, false, 1000, 9999 * mib, false},
        {true, false, 512 * mib, 1024 * mib, true},
        {true, false, 512 * mib - 1, 1024 * mib, false},
        {true, false, 0, 1536 * mib, true},
        {true, false, 1024 * mib, 0, false},
        {false, true, 0, 0, true},
    };
    char report[128];

    fresh.bytes = 1024 * mib;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        f->record = fresh;
        f->record.in_place = cases[i].in_place;
        f->record.members[0].arbiter = cases[i].arbiter;
        (void)snprintf(report, sizeof report, "{\"freeBytes\": %llu, \"dataBytes\": %llu}",
                       (unsigned long long)cases[i].free_bytes,
                       (unsigned long long)cases[i].data_bytes);
        take(f, report);
        assert_int_equal(f->record.obstacle_count, cases[i].fits ? 0 : 1);
        if (!cases[i].fits) {
            need(f, 0, "SPACE", "MiB are needed");
            assert_int_equal(strstr(f->record.obstacles[0].text, "--reuse-space") != NULL,
                             !cases[i].in_place);
        }
    }
    /* Each one's own. */
    f->record = fresh;
    take(f, "{\"freeBytes\": 7}");
    take_of(f, 1, "{\"freeBytes\": 8}");
    assert_int_equal(f->record.obstacle_count, 2);
    assert_string_equal(f->record.obstacles[0].member, "a:1");
    assert_string_equal(f->record.obstacles[1].member, "b:2");
}

static void test_all_agents_log_in_as_one_user(void **state)
{
    static const struct {
        const char *first, *second, *obstacle;
    } cases[] = {
        {"{\"login\": {\"user\": \"admin.a\", \"print\": \"11\"}}",
         "{\"login\": {\"user\": \"admin.a\", \"print\": \"11\"}}", NULL},
        {"{\"login\": {\"user\": \"\", \"print\": \"none\"}}",
         "{\"login\": {\"user\": \"\", \"print\": \"none\"}}", NULL},
        {"{}", "{\"login\": {\"user\": \"admin.a\", \"print\": \"11\"}}", NULL},
        {"{\"login\": {\"user\": \"admin.a\", \"print\": \"11\"}}",
         "{\"login\": {\"user\": \"admin.b\", \"print\": \"11\"}}",
         "its agent logs in as admin.b, another member's as admin.a"},
        {"{\"login\": {\"user\": \"\", \"print\": \"none\"}}",
         "{\"login\": {\"user\": \"admin.b\", \"print\": \"11\"}}", "another member's as nobody"},
        {"{\"login\": {\"user\": \"admin.a\", \"print\": \"11\"}}",
         "{\"login\": {\"user\": \"admin.a\", \"print\": \"12\"}}",
         "user admin.a is another one there"},
    };
    struct fixture *f = *state;
    struct hf_target_record fresh = f->record;

    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        f->record = fresh;
        take(f, cases[i].first);
        take_of(f, 1, cases[i].second);
        assert_int_equal(f->record.obstacle_count, cases[i].obstacle == NULL ? 0 : 1);
        if (cases[i].obstacle != NULL) {
            need(f, 0, "LOGIN", cases[i].obstacle);
            assert_string_equal(f->record.obstacles[0].member, "b:2");
        }
    }
}

static void test_a_record_comes_back_from_its_document(void **state)
{
    struct fixture *f = *state;
    struct fixture *back = calloc(1, sizeof *back);

    go_to(f, HF_TARGET_SWAP);
    end(f, 0, HF_ERR_LOST);
    f->record.members[0].spent_s[HF_TARGET_BUILD] = 77;
    f->record.members[1].reused_bytes = 78;
    f->record.members[1].fetched_bytes = 79;
    (void)snprintf(f->record.login, sizeof f->record.login, "admin.a");
    (void)snprintf(f->record.login_print, sizeof f->record.login_print, "aa");
    hf_target_object(&f->record, "SPACE", "a:1", "%s", "little");
    struct hf_json *json = hf_target_record_encode(&f->record);
    assert_string_equal(hf_json_get_text(json, "state"), "ACTIVE");
    assert_int_equal(hf_target_record_decode(json, &back->record, &f->err), HF_ERR_OK);
    hf_json_drop(json);
    assert_memory_equal(&back->record, &f->record, sizeof f->record);
    free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_phase_waits_for_all_members, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_in_place_nothing_is_built_beside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_failure_leads_back_by_how_far_it_was, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_lost_agent_gets_its_step_again_and_not_for_ever,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_clean_stop_of_an_agent_is_no_cancel, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_old_data_that_stays_is_no_failure, set_up, tear_down),
        cmocka_unit_test(test_versions_open_what_the_matrix_says),
        cmocka_unit_test_setup_teardown(test_everything_in_the_way_is_listed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_fits_is_no_obstacle_and_gives_the_configuration,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_fcv_of_the_target_is_not_below, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_point_needs_the_release_of_the_snapshot, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_room_is_needed_on_every_member, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_all_agents_log_in_as_one_user, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_record_comes_back_from_its_document, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
