/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a replay says to servers of releases that are not at hand, and what it makes of servers that do something else than
 * they were told: nothing that was not applied may pass for done.
 */
#include "support/scripted_replay.h"

#include "base/fault.h"

static const struct scripted_case plain = {.version = {4, 4, 6}};

static void expect_words(const struct hf_error *err, const char *words)
{
    if (strstr(err->message, words) == NULL) {
        fail_msg("no '%s' in: %s", words, err->message);
    }
}

/* How often a start of the server had that word, or an index was changed so. */
static size_t starts_with(const struct scripted_replay *replay, const char *word)
{
    HF_CLEANUP(hf_free) char *path = hf_path_join(replay->dir, SCRIPTED_ARGUMENTS);
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(65536);
    struct hf_error err;
    size_t count = 0;
    EXPECT_OK(hf_fs_read_whole(path, 65536, &text, &err), &err);
    for (const char *at = hf_buf_text(&text); (at = strstr(at, word)) != NULL; at++) {
        count++;
    }
    return count;
}

/* R17.16: the same point for every release; where 4.2 removes the point's own entry, it stands one behind. */
static void test_the_truncation_point_keeps_the_last_entry_on_every_release(void **state)
{
    static const struct {
        int version[3];
        bool many;
        uint32_t point;
    } releases[] = {
        {{4, 2, 24}, false, 21}, {{4, 4, 6}, false, 20}, {{4, 4, 29}, true, 20},
        {{5, 0, 3}, true, 20},   {{6, 0, 1}, true, 20},  {{7, 0, 0}, true, 20},
    };
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(releases); i++) {
        HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
        struct scripted_case one = {.many = releases[i].many};
        struct scripted_replay replay;
        struct hf_replay_mark mark;
        struct hf_error err;
        memcpy(one.version, releases[i].version, sizeof one.version);
        scripted_replay_begin(&replay, &one);
        EXPECT_OK(scripted_replay_run(&replay, &result, &err), &err);
        struct scripted *s = scripted_replay_look(&replay);
        assert_int_equal(s->seen_point.i, releases[i].point);
        assert_int_equal(s->seen_point.t, 100);
        assert_int_equal(s->count, SCRIPTED_LAST);
        assert_int_equal(s->entries[s->count - 1].ts.i, SCRIPTED_LAST);
        scripted_fini(s);
        assert_int_equal(result.top.increment, SCRIPTED_LAST);
        assert_int_equal(result.inserted, SCRIPTED_LAST - SCRIPTED_COPY);
        assert_int_equal(result.compared, SCRIPTED_COPY - SCRIPTED_CHECKPOINT);
        /* Mark and plan speak of the entry, not of the release's way to say it. */
        EXPECT_OK(hf_replay_mark_read(replay.dir, &mark, &err), &err);
        assert_int_equal(mark.phase, HF_REPLAY_DONE);
        assert_int_equal(mark.top.increment, SCRIPTED_LAST);
        assert_int_equal(mark.truncate_after.increment, SCRIPTED_LAST);
        assert_true(mark.applies);
        assert_int_equal(mark.many, releases[i].many);
        /* Three starts; one of them recovers, and is told only what that release knows. */
        assert_int_equal(starts_with(&replay, "--dbpath"), 3);
        assert_int_equal(starts_with(&replay, "recoverFromOplogAsStandalone=true"), 1);
        assert_int_equal(starts_with(&replay, "takeUnstableCheckpointOnShutdown=true"), 1);
        assert_int_equal(starts_with(&replay, "startupRecoveryForRestore=true"), releases[i].many);
        assert_int_equal(starts_with(&replay, "ttlMonitorEnabled=false"), 3);
        assert_int_equal(starts_with(&replay, "disableLogicalSessionCacheRefresh=true"), 3);
        scripted_replay_end(&replay);
    }
}

/* At the end of a second's increments the point of 4.2 is the first of the next one. */
static void test_a_point_behind_the_greatest_increment_goes_over_to_the_next_second(void **state)
{
    const struct hf_mongo_ts greatest = {100, UINT32_MAX};
    (void)state;
    struct hf_recover_state old = {.version_major = 4, .version_minor = 2};
    struct hf_mongo_ts point = hf_recover_truncate_point(&old, greatest);
    assert_int_equal(point.seconds, 101);
    assert_int_equal(point.increment, 0);
    old.version_minor = 4;
    point = hf_recover_truncate_point(&old, greatest);
    assert_int_equal(point.seconds, 100);
    assert_int_equal(point.increment, UINT32_MAX);
}

/* What the copy itself holds behind the point is cut; nothing is put in, so no release takes the way for many entries. */
static void test_a_copy_is_cut_by_its_own_oplog_on_old_and_new_releases(void **state)
{
    static const struct scripted_case cases[] = {{.version = {4, 2, 24}},
                                                 {.version = {6, 0, 1}, .many = true}};
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
        struct scripted_replay replay;
        struct hf_error err;
        scripted_replay_begin(&replay, &cases[i]);
        replay.point.last = replay.point.read_after = (struct hf_optime){.term = -1};
        replay.point.truncate_after = (struct hf_optime){100, 7, -1};
        replay.point.inserts = false;
        EXPECT_OK(scripted_replay_run(&replay, &result, &err), &err);
        struct scripted *s = scripted_replay_look(&replay);
        assert_int_equal(s->seen_point.i, i == 0 ? 8 : 7);
        assert_int_equal(s->count, 7);
        scripted_fini(s);
        assert_int_equal(result.top.increment, 7);
        assert_int_equal(starts_with(&replay, "startupRecoveryForRestore"), 0);
        scripted_replay_end(&replay);
    }
}

static void test_what_was_not_applied_is_never_done(void **state)
{
    static const struct {
        const char *lie;
        enum hf_err code;
        const char *words;
    } lies[] = {
        {"eats", HF_ERR_CORRUPT,
         "the oplog of the copy begins with 100.6/3, behind its checkpoint 100.5"},
        {"takes fewer", HF_ERR_CORRUPT, "took 10 of 11 entries"},
        {"no recovery", HF_ERR_LOST,
         "the server did not take the truncation point (100, 20): no recovery ran"},
        {"cuts nothing", HF_ERR_OK, ""}, /* nothing is there to cut */
        {"cuts more", HF_ERR_LOST, "the oplog ends with 100.19/3 and has to end with 100.20/3"},
        {"applies nothing", HF_ERR_LOST,
         "the server applied entries up to its checkpoint only, not to 100.20/3"},
        {"applies less", HF_ERR_LOST,
         "the server applied entries up to 100.19/3 only, not to 100.20/3"},
        {"forgets", HF_ERR_LOST, "they were changed since"},
    };
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(lies); i++) {
        HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
        const struct scripted_case one = {.version = {4, 4, 6}, .lie = lies[i].lie};
        struct scripted_replay replay;
        struct hf_replay_mark mark;
        struct hf_error err = {.message = ""};
        scripted_replay_begin(&replay, &one);
        enum hf_err code = scripted_replay_run(&replay, &result, &err);
        if (code != lies[i].code) {
            fail_msg("%s: %s: %s", lies[i].lie, hf_err_name(code), err.message);
        }
        if (code != HF_ERR_OK) {
            expect_words(&err, lies[i].words);
            EXPECT_OK(hf_replay_mark_read(replay.dir, &mark, &err), &err);
            assert_true(mark.phase != HF_REPLAY_DONE);
        }
        scripted_replay_end(&replay);
    }
}

/* With entries of its own behind the point, a server that does not cut them is noticed. */
static void test_a_copy_that_was_not_cut_is_noticed(void **state)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
    const struct scripted_case one = {.version = {4, 4, 6}, .lie = "cuts nothing"};
    struct scripted_replay replay;
    struct hf_error err;
    (void)state;
    scripted_replay_begin(&replay, &one);
    replay.point.last = replay.point.truncate_after = replay.point.copy_has = scripted_optime(7);
    replay.point.inserts = false;
    assert_int_equal(scripted_replay_run(&replay, &result, &err), HF_ERR_LOST);
    expect_words(&err, "the oplog ends with 100.9/3 and has to end with 100.7/3");
    scripted_replay_end(&replay);
}

static void test_a_copy_that_the_source_rolled_back_is_no_base(void **state)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
    const struct scripted_case one = {.version = {4, 4, 6}, .rolled_back = SCRIPTED_COPY};
    struct scripted_replay replay;
    struct hf_error err;
    (void)state;
    scripted_replay_begin(&replay, &one);
    assert_int_equal(scripted_replay_run(&replay, &result, &err), HF_ERR_CONFLICT);
    expect_words(
        &err, "the copy holds the entry 100.9/2, which the stored oplog does not have: the source "
              "rolled it back");
    /* Nothing was put in, and a point before is reached. */
    struct scripted *s = scripted_replay_look(&replay);
    assert_int_equal(s->count, SCRIPTED_COPY);
    scripted_fini(s);
    replay.point.last = replay.point.truncate_after = scripted_optime(SCRIPTED_COPY - 1);
    replay.point.inserts = false;
    EXPECT_OK(scripted_replay_run(&replay, &result, &err), &err);
    assert_int_equal(result.top.increment, SCRIPTED_COPY - 1);
    scripted_replay_end(&replay);
}

static void test_an_index_build_without_its_end_becomes_a_note(void **state)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
    const struct scripted_case one = {.version = {4, 4, 6}, .build_at = 15};
    struct scripted_replay replay;
    bson_iter_t op;
    struct hf_error err;
    (void)state;
    scripted_replay_begin(&replay, &one);
    EXPECT_OK(scripted_replay_run(&replay, &result, &err), &err);
    assert_int_equal(result.note_count, 1);
    assert_string_equal(result.notes[0].name, "shop.orders");
    assert_non_null(strstr(result.notes[0].text, "the build of its index by_n had begun"));
    struct scripted *s = scripted_replay_look(&replay);
    assert_true(bson_iter_init_find(&op, s->entries[14].document, "op"));
    assert_string_equal(bson_iter_utf8(&op, NULL), "n");
    scripted_fini(s);
    scripted_replay_end(&replay);
}

/* 4.4 as a standalone leaves what its checkpoint shows of such a build, and does nothing at its commit. */
static void test_an_index_that_was_being_built_at_the_checkpoint_is_made_whole(void **state)
{
    static const struct {
        const char *build;
        bool made, noop;
    } ends[] = {{"commitIndexBuild", true, false}, {"abortIndexBuild", false, true}};
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(ends); i++) {
        HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
        const struct scripted_case one = {
            .version = {4, 4, 6}, .build_at = 15, .build = ends[i].build, .half = true};
        struct scripted_replay replay;
        bson_iter_t op;
        struct hf_error err;
        scripted_replay_begin(&replay, &one);
        EXPECT_OK(scripted_replay_run(&replay, &result, &err), &err);
        assert_int_equal(result.note_count, 0);
        assert_int_equal(starts_with(&replay, "dropIndexes orders by_n\n"), 1);
        assert_int_equal(starts_with(&replay, "createIndexes orders by_n\n"), ends[i].made);
        struct scripted *s = scripted_replay_look(&replay);
        assert_true(bson_iter_init_find(&op, s->entries[14].document, "op"));
        assert_string_equal(bson_iter_utf8(&op, NULL), ends[i].noop ? "n" : "c");
        scripted_fini(s);
        scripted_replay_end(&replay);
    }
}

/* Neither committed nor aborted up to the point, and in no replayed entry: its half goes, and is named. */
static void test_an_index_that_was_being_built_and_has_no_end_becomes_a_note(void **state)
{
    const struct scripted_case one = {.version = {4, 4, 6}, .half = true};
    (void)state;
    for (uint64_t stopped_at = 0; stopped_at <= 4; stopped_at++) {
        HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
        struct scripted_replay replay;
        struct hf_error err;
        scripted_replay_begin(&replay, &one);
#ifdef HF_FAULTS
        if (stopped_at > 0) {
            hf_fault_arm_nth("oplog.replay.marked", HF_ERR_IO, stopped_at, 1);
            assert_int_equal(scripted_replay_run(&replay, &result, &err), HF_ERR_IO);
            hf_fault_disarm_all();
        }
#endif
        EXPECT_OK(scripted_replay_run(&replay, &result, &err), &err);
        assert_int_equal(result.note_count, 1);
        assert_string_equal(result.notes[0].name, "shop.orders");
        assert_non_null(strstr(result.notes[0].text, "the build of its index by_n had begun"));
        assert_false(result.notes[0].mended);
        struct scripted *s = scripted_replay_look(&replay);
        assert_int_equal(s->by_n, 0);
        scripted_fini(s);
        scripted_replay_end(&replay);
    }
}

static void test_a_good_server_is_believed(void **state)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result again = {.note_count = 0};
    struct scripted_replay replay;
    struct hf_error err;
    (void)state;
    scripted_replay_begin(&replay, &plain);
    EXPECT_OK(scripted_replay_run(&replay, &result, &err), &err);
    EXPECT_OK(scripted_replay_run(&replay, &again, &err), &err);
    assert_true(again.done_before);
    scripted_replay_end(&replay);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_good_server_is_believed),
        cmocka_unit_test(test_the_truncation_point_keeps_the_last_entry_on_every_release),
        cmocka_unit_test(test_a_point_behind_the_greatest_increment_goes_over_to_the_next_second),
        cmocka_unit_test(test_a_copy_is_cut_by_its_own_oplog_on_old_and_new_releases),
        cmocka_unit_test(test_what_was_not_applied_is_never_done),
        cmocka_unit_test(test_a_copy_that_was_not_cut_is_noticed),
        cmocka_unit_test(test_a_copy_that_the_source_rolled_back_is_no_base),
        cmocka_unit_test(test_an_index_build_without_its_end_becomes_a_note),
        cmocka_unit_test(test_an_index_that_was_being_built_at_the_checkpoint_is_made_whole),
        cmocka_unit_test(test_an_index_that_was_being_built_and_has_no_end_becomes_a_note),
    };
    scripted_mongod(argc, argv);
    return cmocka_run_group_tests_name("oplog/replay_scripted", tests, NULL, NULL);
}
