/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole replay, with a server that plays its part, while allocations and system calls of ours fail: each in turn, once and
 * for good. A failure is told with its own class; the directory is never called done before it is; the same call again
 * ends the work, or says that the directory has to be restored anew. Nothing leaks (the sanitizer).
 *
 * A share by default (HF_TEST_EVERY says how far apart); HOLDFAST_SOAK takes all.
 */
#include "support/run.h"
#include "support/scripted_replay.h"

#include "base/fault.h"

/* The history has an index build that was begun before the checkpoint, so that those commands are in. */
static const struct scripted_case scene = {
    .version = {4, 4, 6}, .build_at = 12, .build = "commitIndexBuild"};

struct tally {
    uint64_t rounds, refused, anew;
};

/* What it is to be after any failure: not done, or done and whole. */
static void expect_honest(struct scripted_replay *replay, enum hf_err code)
{
    struct hf_replay_mark mark;
    struct hf_error err;
    struct scripted *s = scripted_replay_look(replay);
    EXPECT_OK(hf_replay_mark_read(replay->dir, &mark, &err), &err);
    if (code == HF_ERR_OK || mark.phase == HF_REPLAY_DONE) {
        assert_int_equal(mark.phase, HF_REPLAY_DONE);
        assert_int_equal(s->count, SCRIPTED_LAST);
        assert_int_equal(s->begin.ts.i, SCRIPTED_LAST);
    }
    scripted_fini(s);
}

static void finish(struct scripted_replay *replay, struct tally *tally)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
    struct hf_error err;
    enum hf_err code = scripted_replay_run(replay, &result, &err);
    if (code == HF_ERR_LOST) {
        assert_non_null(strstr(err.message, "hint: restore the directory anew"));
        tally->anew++;
        return;
    }
    if (code != HF_ERR_OK) {
        fail_msg("the next call: %s", err.message);
    }
    expect_honest(replay, code);
}

/* One run with the nth pass of the point failing; passes left over: none failed. */
static void torture_one(struct scripted_replay *replay, const char *point, enum hf_err fault,
                        uint64_t n, uint64_t times, struct tally *tally)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
    struct hf_error err = {.message = ""};
    scripted_replay_reset(replay, &scene);
    hf_fault_disarm_all();
    hf_fault_arm_nth(point, fault, n, times);
    enum hf_err code = scripted_replay_run(replay, &result, &err);
    hf_fault_disarm_all();
    tally->rounds++;
    if (code != HF_ERR_OK) {
        tally->refused++;
        if (err.message[0] == '\0' || (code != fault && code != HF_ERR_LOST &&
                                       code != HF_ERR_INVALID && code != HF_ERR_UNAVAILABLE)) {
            fail_msg("%s %llu x%llu: %s: %s", point, (unsigned long long)n,
                     (unsigned long long)times, hf_err_name(code), err.message);
        }
    }
    expect_honest(replay, code);
    finish(replay, tally);
}

static void torture(const char *point, enum hf_err fault, uint64_t share)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
    struct scripted_replay replay;
    struct tally tally = {.rounds = 0};
    struct hf_error err;
    scripted_replay_begin(&replay, &scene);
    hf_fault_disarm_all();
    EXPECT_OK(scripted_replay_run(&replay, &result, &err), &err);
    uint64_t passes = hf_fault_passes(strcmp(point, "*") == 0 ? NULL : point);
    assert_true(passes > 0);
    uint64_t step = run_setting("HF_TEST_EVERY", run_is_soak() ? 1 : passes * 2 / share + 1);
    for (uint64_t times = 0; times < 2; times++) {
        for (uint64_t n = 1 + times * step / 2; n <= passes; n += step) {
            torture_one(&replay, point, fault, n, times, &tally);
        }
    }
    print_message(
        "%s: %llu passes, %llu runs with a failure, %llu refused, %llu to be restored anew\n",
        point, (unsigned long long)passes, (unsigned long long)tally.rounds,
        (unsigned long long)tally.refused, (unsigned long long)tally.anew);
    assert_true(tally.refused > 0);
    scripted_replay_end(&replay);
}

static void test_each_allocation_fails(void **state)
{
    (void)state;
    torture("base.alloc", HF_ERR_NO_MEMORY, 14);
}

/* Files: opened, read, written, synced, named; processes: started, waited for. */
static void test_each_system_call_fails(void **state)
{
    (void)state;
    torture("*", HF_ERR_IO, 10);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_allocation_fails),
        cmocka_unit_test(test_each_system_call_fails),
    };
    scripted_mongod(argc, argv);
    return cmocka_run_group_tests_name("torture/oplog/replay", tests, NULL, NULL);
}
