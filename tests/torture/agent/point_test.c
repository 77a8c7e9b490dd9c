/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent's way from a restored snapshot to a point, out of stored slices and with a server that plays its part, while
 * allocations and system calls of ours fail: each in turn, once and for good. A failure is told with its own class and says
 * what became of the directory; nothing is called done that is not; the same task on files that were restored anew ends well.
 * Nothing leaks (the sanitizer).
 *
 * A share by default (HF_TEST_EVERY says how far apart); HOLDFAST_SOAK takes all.
 */
#include "support/run.h"
#include "support/scripted_replay.h"

#include "agent/point.h"
#include "base/fault.h"

#define SLICE_ENTRIES 4u

static const struct scripted_case scene = {.version = {4, 4, 6}};

struct reached {
    struct scripted_replay replay;
    struct world world;
    struct hf_task task;
    struct hf_agent_context context;
};

static void put_slices(struct world *world)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf entry = HF_BUF_INIT(4096);
    struct tailer tailer;
    struct hf_error err;
    bool taken = false;
    tailer_begin(&tailer, world, NULL);
    for (uint32_t i = SCRIPTED_CHECKPOINT; i <= SCRIPTED_LAST; i++) {
        scripted_make(i, NULL, SCRIPTED_TERM, &entry);
        EXPECT_OK(hf_slicer_add(tailer.slicer, hf_buf_bytes(&entry), 0, &taken, &err), &err);
        assert_true(taken);
        if (i % SLICE_ENTRIES == 0) {
            tailer_put(&tailer);
        }
    }
    tailer_put(&tailer);
    tailer_end(&tailer);
}

static void reached_begin(struct reached *reached)
{
    *reached = (struct reached){.task = {.kind = HF_TASK_RESTORE}};
    scripted_replay_begin(&reached->replay, &scene);
    world_begin(&reached->world);
    put_slices(&reached->world);
    reached->task.keyring = reached->world.ring;
    reached->task.restore.snapshot = fixed_id(0x51);
    reached->task.restore.capture = 1;
    struct hf_task_point *point = &reached->task.restore.point;
    *point = (struct hf_task_point){
        .wanted = true,
        .seconds = 100,
        .increment = SCRIPTED_LAST,
        .last = scripted_optime(SCRIPTED_LAST),
        .checkpoint = {100, SCRIPTED_CHECKPOINT, -1},
        .oplog_end = scripted_optime(SCRIPTED_COPY),
        .committed = scripted_optime(SCRIPTED_COPY),
    };
    (void)snprintf(point->server_version, sizeof point->server_version, "4.4.6-8");
}

static void reached_end(struct reached *reached)
{
    scripted_replay_end(&reached->replay);
    world_end(&reached->world);
}

static enum hf_err reach(struct reached *reached, struct hf_msg_replay *out, struct hf_error *err)
{
    const struct hf_agent_work work = {.context = &reached->context, .task = &reached->task};
    const struct hf_agent_reach options = {
        .store = reached->world.store,
        .directory = reached->replay.dir,
        .snapshot = &reached->task.restore.snapshot,
        .capture = reached->task.restore.capture,
        .point = &reached->task.restore.point,
        .program = reached->replay.self,
    };
    *out = (struct hf_msg_replay){.done = false};
    return hf_agent_reach_point(&work, &options, out, err);
}

static void expect_reached(struct reached *reached, const struct hf_msg_replay *told)
{
    HF_CLEANUP(hf_free) char *mark = hf_path_join(reached->replay.dir, HF_REPLAY_MARK);
    struct scripted *s = scripted_replay_look(&reached->replay);
    assert_int_equal(s->count, SCRIPTED_LAST);
    assert_int_equal(s->begin.ts.i, SCRIPTED_LAST);
    assert_true(told->done);
    assert_int_equal(told->top.increment, SCRIPTED_LAST);
    assert_int_equal(told->inserted, SCRIPTED_LAST - SCRIPTED_COPY);
    assert_false(hf_fs_exists(mark));
    scripted_fini(s);
}

/* One run with the nth pass of the point failing; true: it was refused. */
static bool torture_one(struct reached *reached, const char *point, enum hf_err fault, uint64_t n,
                        uint64_t times)
{
    struct hf_msg_replay told;
    struct hf_error err = {.message = ""};
    scripted_replay_reset(&reached->replay, &scene);
    hf_fault_disarm_all();
    hf_fault_arm_nth(point, fault, n, times);
    enum hf_err code = reach(reached, &told, &err);
    hf_fault_disarm_all();
    if (code == HF_ERR_OK) {
        expect_reached(reached, &told);
        return false;
    }
    bool says = strncmp(err.message, "plan the replay: ", 17) == 0 ||
                strstr(err.message, ", which is no whole restore now: ") != NULL;
    /* A server that could not be told to stop is terminated; one that plays a part does not end cleanly then. */
    bool terminated = code == HF_ERR_INTERNAL && strstr(err.message, "exit code 143") != NULL;
    if (told.done || !says ||
        (!terminated && code != fault && code != HF_ERR_LOST && code != HF_ERR_INVALID &&
         code != HF_ERR_UNAVAILABLE)) {
        fail_msg("%s %llu x%llu: %s: %s", point, (unsigned long long)n, (unsigned long long)times,
                 hf_err_name(code), err.message);
    }
    /* What the next restore into the directory does. */
    scripted_replay_reset(&reached->replay, &scene);
    EXPECT_OK(reach(reached, &told, &err), &err);
    expect_reached(reached, &told);
    return true;
}

static void torture(const char *point, enum hf_err fault, uint64_t share)
{
    struct reached reached;
    struct hf_msg_replay told;
    struct hf_error err;
    uint64_t rounds = 0;
    uint64_t refused = 0;
    reached_begin(&reached);
    hf_fault_disarm_all();
    EXPECT_OK(reach(&reached, &told, &err), &err);
    expect_reached(&reached, &told);
    uint64_t passes = hf_fault_passes(strcmp(point, "*") == 0 ? NULL : point);
    assert_true(passes > 0);
    uint64_t step = run_setting("HF_TEST_EVERY", run_is_soak() ? 1 : passes * 2 / share + 1);
    for (uint64_t times = 0; times < 2; times++) {
        for (uint64_t n = 1 + times * step / 2; n <= passes; n += step) {
            refused += torture_one(&reached, point, fault, n, times);
            rounds++;
        }
    }
    print_message("%s: %llu passes, %llu runs with a failure, %llu refused\n", point,
                  (unsigned long long)passes, (unsigned long long)rounds,
                  (unsigned long long)refused);
    assert_true(refused > 0);
    reached_end(&reached);
}

static void test_each_allocation_fails(void **state)
{
    (void)state;
    torture("base.alloc", HF_ERR_NO_MEMORY, 6);
}

/* Files: opened, read, written, synced, named; processes: started, waited for. */
static void test_each_system_call_fails(void **state)
{
    (void)state;
    torture("*", HF_ERR_IO, 4);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_allocation_fails),
        cmocka_unit_test(test_each_system_call_fails),
    };
    scripted_mongod(argc, argv);
    return cmocka_run_group_tests_name("torture/agent/point", tests, NULL, NULL);
}
