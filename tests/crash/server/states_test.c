/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job from start to start: started, stopped, restarted, stopped, terminated, started again, with a snapshot and slices
 * in each run. The server dies at a fault point of a move or of what a move asks for, and another one goes on: the job is
 * in the state before the move or in the one behind it, and comes to the same end.
 *
 * In make test a share of the deaths (by the seed), all of them in a soak.
 */
#include "base/fault.h"
#include "crash/server/life.h"
#include "server/flow_check.h"
#include "server/flow_tail.h"
#include "support/oplog_kit.h"
#include "support/run.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define LIMIT_S 120
#define SHORT_DEATHS 8
#define TICKS_MAX 40

/* Where a death is put: every point of the moves and of what follows them. */
static const char *const points[] = {
    "server.job.checked",         "server.job.moved",           "server.job.assigned",
    "server.job.swept",           "server.job.keys_made",       "server.job.provisioned",
    "server.terminate.expired",   "server.terminate.deleted",   "server.terminate.emptied",
    "server.terminate.head_gone", "server.terminate.keys_gone", "server.terminate.gone",
    "server.tail.run_begun",      "server.tail.gap_told",       "server.tail.snapshot_wanted",
    "server.tail.caught_up",      "server.tail.named",          "server.tail.made",
};
#define POINTS HF_ARRAY_LEN(points)

/* What was asked for, and what was seen to be done. */
enum phase { STARTED, TAKEN, STOPPED, RESTARTED, TAKEN_AGAIN, STOPPED_AGAIN, GONE, ANEW, PHASES };

struct story {   /* shared with the children */
    size_t done; /* phases */
    uint32_t increment;
    uint64_t passes[POINTS];
    uint64_t deaths;
};

struct fixture {
    char *dir, *world, *source; /* owned */
    struct story *story;
    uint64_t seed;
};

/* ---- A server with an agent that tails too ---- */

static void tell_end(struct life *life, const struct hf_task_record *task, enum hf_err code)
{
    struct hf_msg_finish finish = {
        .task = task->id, .attempt = task->attempt, .kind = task->kind, .code = code};
    (void)snprintf(finish.message, sizeof finish.message, "stopped");
    LIFE_CHECK(life_tell(life, &finish));
}

/* One slice, of one entry. */
static void save_slice(struct life *life, struct story *story, const struct hf_task_record *record)
{
    struct hf_error err;
    struct hf_task task = {.id = record->id};
    struct hf_slicer *slicer = NULL;
    struct hf_object_name name;
    struct hf_buf entry = HF_BUF_INIT((size_t)1 << 20);
    struct hf_buf object = HF_BUF_INIT(HF_SLICE_OBJECT_MAX_BYTES);
    bool taken = false;
    LIFE_OK(hf_flow_task_message(&life->server.app, record, &task, &err), &err);
    const struct hf_slicer_options options = {.keyring = &task.keyring,
                                              .writer = task.tail.writer,
                                              .set_name = LIFE_SET,
                                              .member = task.tail.member,
                                              .fcv = "4.4",
                                              .start = task.tail.start};
    const struct made_entry made = {
        .optime = {.seconds = 1000, .increment = ++story->increment, .term = 1},
        .op = "i",
        .ns = "a.b",
        .id = story->increment};
    make_entry(&made, &entry);
    LIFE_OK(hf_slicer_create(&options, &slicer, &err), &err);
    LIFE_OK(hf_slicer_add(slicer, hf_buf_bytes(&entry), 0, &taken, &err), &err);
    LIFE_OK(hf_slicer_close(slicer, &name, &object, &err), &err);
    LIFE_OK(hf_store_put(life->server.app.oplog_store, hf_str_of(hf_object_name_text(&name).text),
                         hf_buf_bytes(&object), NULL, &err),
            &err);
    struct hf_msg_slice slice = {.agent = record->agent, .task = task.id, .attempt = task.attempt};
    (void)snprintf(slice.object, sizeof slice.object, "%s", hf_object_name_text(&name).text);
    LIFE_OK(hf_flow_tail_slice(&life->server.app, &slice, &err), &err);
    hf_slicer_destroy(slicer);
    hf_task_fini(&task);
    hf_buf_fini(&entry);
    hf_buf_fini(&object);
}

/* What an agent does with each of its tasks, once. */
static void do_task(struct life *life, struct story *story, const struct hf_task_record *task,
                    const struct hf_id *saved)
{
    struct hf_error err;
    struct hf_task message = {.id = task->id};
    if (task->cancelled) {
        tell_end(life, task, HF_ERR_CANCELLED);
    } else if (task->kind == HF_TASK_TAIL) {
        if (!hf_id_equal(saved, &task->id)) {
            save_slice(life, story, task);
        }
    } else if (hf_flow_task_message(&life->server.app, task, &message, &err) == HF_ERR_OK) {
        life_do_task(life, &message);
        hf_task_fini(&message);
    }
}

static size_t open_tasks(struct life *life, struct hf_keep_tasks *out)
{
    struct hf_error err;
    const struct hf_catalog_query all = {.limit = 1000};
    size_t open = 0;
    LIFE_OK(hf_keep_task_find(life->server.app.catalog, &all, out, &err), &err);
    for (size_t i = 0; i < out->count; i++) {
        open += out->items[i].state != HF_TASK_ENDED;
    }
    return open;
}

/* The server's periodic work, then the agent's. */
static void beat(struct life *life, struct story *story)
{
    struct hf_error err;
    struct hf_keep_tasks tasks = {0};
    struct hf_head_record head;
    struct hf_id job = life->job.id, saved = {{0}};
    enum hf_err code = HF_ERR_OK;
    LIFE_OK(hf_flow_resume(&life->server.app, &err), &err);
    LIFE_OK(hf_flow_tail_tick(&life->server.app, &err), &err);
    code = hf_flow_jobs_tick(&life->server.app, &err);
    LIFE_CHECK(code == HF_ERR_OK || code == HF_ERR_BUSY);
    if (hf_keep_head_get(life->server.app.catalog, &job, &head, NULL, &err) == HF_ERR_OK &&
        head.slices > 0 && head.run == life_job(life).run && head.next_cause[0] == '\0') {
        saved = head.task; /* it has brought its slice, or another has for it */
    }
    (void)open_tasks(life, &tasks);
    for (size_t i = 0; i < tasks.count; i++) {
        if (tasks.items[i].state == HF_TASK_WAITING || tasks.items[i].state == HF_TASK_RUNNING) {
            do_task(life, story, &tasks.items[i], &saved);
        }
    }
    hf_keep_tasks_fini(&tasks);
}

static size_t objects_of(struct life *life)
{
    struct hf_error err;
    struct hf_store_list list;
    LIFE_OK(
        hf_store_list(life->server.app.store, hf_str_of("j/"), hf_str_of(""), 1000, &list, &err),
        &err);
    size_t count = list.count;
    hf_store_list_fini(&list);
    return count;
}

/* The newest COMPLETE snapshot with a greater capture number; false: none. */
static bool newest_above(struct life *life, uint64_t capture, struct hf_snapshot_record *out)
{
    struct hf_keep_snapshots snapshots;
    bool found = false;
    life_snapshots(life, &snapshots);
    for (size_t i = 0; i < snapshots.count; i++) {
        const struct hf_snapshot_record *one = &snapshots.items[i];
        if (one->state == HF_SNAPSHOT_COMPLETE && one->capture > capture) {
            *out = *one;
            capture = one->capture;
            found = true;
        }
    }
    hf_keep_snapshots_fini(&snapshots);
    return found;
}

/* ---- The phases ---- */

static void move_to(struct life *life, struct story *story, enum hf_job_state from,
                    enum hf_job_action action, enum hf_job_state to)
{
    struct hf_error err;
    if (life_job(life).state == from) {
        LIFE_OK(hf_flow_move_job(&life->server.app, &life->job.id, action, &life->job, &err), &err);
    }
    for (unsigned i = 0; i < TICKS_MAX; i++) {
        struct hf_keep_tasks tasks = {0};
        size_t open = open_tasks(life, &tasks);
        hf_keep_tasks_fini(&tasks);
        if (life_job(life).state == to && open == 0) {
            return;
        }
        beat(life, story);
    }
    const struct hf_job_record job = life_job(life);
    LIFE_FAIL("the job is still %s: %s", hf_job_state_word(job.state), job.problem);
}

static void start(struct life *life, struct story *story)
{
    life_start_job(life);
    for (unsigned i = 0; i < TICKS_MAX && life_job(life).state != HF_JOB_STARTED; i++) {
        beat(life, story);
    }
    LIFE_CHECK(life_job(life).state == HF_JOB_STARTED);
}

/* By itself where it is wanted; by hand where nobody wants it, or an attempt that died makes it wait. */
static void take(struct life *life, struct story *story, uint64_t above,
                 struct hf_snapshot_record *out)
{
    struct hf_error err;
    for (unsigned i = 0; i < TICKS_MAX; i++) {
        if (newest_above(life, above, out)) {
            return;
        }
        beat(life, story);
        const struct hf_job_record job = life_job(life);
        if (i > 4 && hf_id_is_none(&job.running) && !newest_above(life, above, out)) {
            const struct hf_flow_wish wish = {.project = life->server.app.first_project,
                                              .set_name = LIFE_SET,
                                              .description = "1"};
            LIFE_OK(hf_flow_take(&life->server.app, &wish, out, &err), &err);
        }
    }
    LIFE_FAIL("no snapshot above %llu", (unsigned long long)above);
}

static void run_phase(struct life *life, struct story *story, enum phase phase)
{
    struct hf_snapshot_record snapshot;
    struct hf_error err;
    struct hf_head_record head;
    struct hf_id id = life->job.id;

    switch (phase) {
    case STARTED:
        start(life, story);
        LIFE_CHECK(life_job(life).run == 0);
        break;
    case TAKEN:
        take(life, story, 0, &snapshot);
        break;
    case STOPPED:
        move_to(life, story, HF_JOB_STARTED, HF_JOB_STOP, HF_JOB_STOPPED);
        beat(life, story);
        LIFE_CHECK(newest_above(life, 0, &snapshot)); /* what is there stays */
        break;
    case RESTARTED:
        if (life_job(life).state == HF_JOB_STOPPED) {
            LIFE_OK(hf_flow_start_job(&life->server.app, &id, &life->job, &err), &err);
        }
        LIFE_CHECK(life_job(life).run == 1); /* exactly one, however often it died */
        break;
    case TAKEN_AGAIN: {
        LIFE_CHECK(newest_above(life, 0, &snapshot));
        take(life, story, 1, &snapshot);
        for (unsigned i = 0; i < TICKS_MAX; i++) {
            LIFE_OK(hf_keep_head_get(life->server.app.catalog, &id, &head, NULL, &err), &err);
            if (head.run == 1 && head.next_cause[0] == '\0' && hf_id_is_none(&head.gap)) {
                break;
            }
            beat(life, story);
        }
        if (strcmp(head.cause, "resumed") != 0) {
            LIFE_FAIL("the chain begins for '%s' (next '%s', run %llu): %s", head.cause,
                      head.next_cause, (unsigned long long)head.run, head.problem);
        }
        break;
    }
    case STOPPED_AGAIN: {
        struct hf_json *checked = NULL;
        const struct hf_job_record job = life_job(life);
        LIFE_OK(hf_flow_check(&life->server.app, &job, true, &checked, &err), &err);
        hf_json_drop(checked);
        move_to(life, story, HF_JOB_STARTED, HF_JOB_STOP, HF_JOB_STOPPED);
        break;
    }
    case GONE: {
        struct hf_json *checked = NULL;
        move_to(life, story, HF_JOB_STOPPED, HF_JOB_TERMINATE, HF_JOB_INACTIVE);
        LIFE_CHECK(!newest_above(life, 0, &snapshot));
        LIFE_CHECK(objects_of(life) == 0);
        /* Nor what a check said of them, nor is there anything to check. */
        life->server.app.oplog_check_s = 1;
        LIFE_OK(hf_flow_check_tick(&life->server.app, &err), &err);
        LIFE_OK(hf_flow_check_last(&life->server.app, &id, &checked, &err), &err);
        LIFE_CHECK(checked == NULL);
        break;
    }
    case ANEW:
        start(life, story);
        take(life, story, 0, &snapshot);
        LIFE_CHECK(snapshot.parent_capture == 0 && snapshot.blocks_reused == 0);
        break;
    case PHASES:
        break;
    }
}

/* The state that a phase leaves, and the one that the next one's move may have led to already. */
static void expect_a_whole_state(struct life *life, size_t done)
{
    static const enum hf_job_state states[PHASES + 1][3] = {
        {HF_JOB_INACTIVE, HF_JOB_PROVISIONING, HF_JOB_STARTED},
        {HF_JOB_STARTED, HF_JOB_STARTED, HF_JOB_STARTED},
        {HF_JOB_STARTED, HF_JOB_STARTED, HF_JOB_STOPPED},
        {HF_JOB_STOPPED, HF_JOB_STOPPED, HF_JOB_STARTED},
        {HF_JOB_STARTED, HF_JOB_STARTED, HF_JOB_STARTED},
        {HF_JOB_STARTED, HF_JOB_STARTED, HF_JOB_STOPPED},
        {HF_JOB_STOPPED, HF_JOB_TERMINATING, HF_JOB_INACTIVE},
        {HF_JOB_INACTIVE, HF_JOB_PROVISIONING, HF_JOB_STARTED},
        {HF_JOB_STARTED, HF_JOB_STARTED, HF_JOB_STARTED},
    };
    struct hf_job_record job;
    struct hf_error err;
    struct hf_id id = life->job.id;
    if (hf_keep_job_get(life->server.app.catalog, &id, &job, NULL, &err) != HF_ERR_OK) {
        LIFE_CHECK(done == 0);
        return;
    }
    for (size_t i = 0; i < 3; i++) {
        if (states[done][i] == job.state) {
            return;
        }
    }
    LIFE_FAIL("after phase %zu the job is %s", done, hf_job_state_word(job.state));
}

static void find_cluster(struct life *life)
{
    struct hf_error err;
    const struct hf_catalog_query query = {.index = "setName", .equals_text = LIFE_SET};
    struct hf_keep_clusters clusters = {0};
    LIFE_OK(hf_keep_cluster_find(life->server.app.catalog, &query, &clusters, &err), &err);
    LIFE_CHECK(clusters.count == 1);
    life->job.id = clusters.items[0].id;
    hf_keep_clusters_fini(&clusters);
}

static void live(struct fixture *f)
{
    struct life life;
    struct story *story = f->story;
    life_begin(&life, f->world);
    life.sources[1] = life.sources[2] = f->source;
    life_start_server(&life);
    life_start_agent(&life);
    find_cluster(&life);
    expect_a_whole_state(&life, story->done);
    for (; story->done < PHASES; story->done++) {
        run_phase(&life, story, (enum phase)story->done);
    }
    life_stop(&life);
    for (size_t i = 0; i < POINTS; i++) {
        story->passes[i] = hf_fault_passes(points[i]);
    }
}

/* ---- Dying ---- */

static bool run_child(struct fixture *f, size_t point, uint64_t nth)
{
    int status = 0;
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(LIMIT_S);
        if (nth > 0) {
            hf_fault_arm_death(points[point], nth);
        }
        live(f);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (nth > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        return true;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_msg("%s %s %llu, seed %llu: status %x", nth > 0 ? "death at" : "life after a death at",
                 points[point], (unsigned long long)nth, (unsigned long long)f->seed,
                 (unsigned)status);
    }
    return false;
}

static void begin_world(struct fixture *f)
{
    struct hf_error err;
    assert_int_equal(hf_fs_remove_tree(f->world, &err), HF_ERR_OK);
    assert_int_equal(hf_fs_make_dirs(f->world, 0700, &err), HF_ERR_OK);
    f->story->done = 0;
    f->story->increment = 0;
}

static void test_a_death_at_any_point_of_a_move_changes_nothing(void **state)
{
#ifdef HF_FAULTS
    struct fixture *f = *state;
    uint64_t passes[POINTS], total = 0, turn = f->seed;
    begin_world(f);
    assert_false(run_child(f, 0, 0));
    assert_int_equal(f->story->done, PHASES);
    memcpy(passes, f->story->passes, sizeof passes);
    for (size_t i = 0; i < POINTS; i++) {
        if (passes[i] == 0) {
            fail_msg("nothing passes %s", points[i]);
        }
        total += passes[i];
    }
    uint64_t step = run_is_soak() ? 1 : 1 + total / SHORT_DEATHS;
    for (size_t i = 0; i < POINTS; i++) {
        for (uint64_t nth = 1; nth <= passes[i]; nth++) {
            if (turn++ % step != 0) {
                continue;
            }
            begin_world(f);
            f->story->deaths += run_child(f, i, nth);
            (void)run_child(f, i, 0);
            assert_int_equal(f->story->done, PHASES);
        }
    }
    print_message("%llu of %llu deaths\n", (unsigned long long)f->story->deaths,
                  (unsigned long long)total);
    assert_true(f->story->deaths > 0);
#else
    (void)state;
    skip();
#endif
}

static int make_fixture(void **state)
{
    struct hf_error err;
    struct fixture *f = hf_alloc_zero(sizeof *f);
    struct hf_file *file = NULL;
    uint8_t bytes[40000];
    char *path = NULL;
    assert_non_null(f);
    f->story =
        mmap(NULL, sizeof *f->story, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(f->story != MAP_FAILED);
    assert_int_equal(hf_fs_make_temp_dir("hf-states-test", &f->dir, &err), HF_ERR_OK);
    f->world = hf_path_join(f->dir, "world");
    f->source = hf_path_join(f->dir, "source");
    path = hf_path_join(f->source, "a.wt");
    assert_int_equal(hf_fs_make_dirs(f->source, 0700, &err), HF_ERR_OK);
    fill_block(bytes, sizeof bytes, 1, 7);
    assert_int_equal(hf_file_open(path, HF_OPEN_CREATE_NEW, 0600, &file, &err), HF_ERR_OK);
    assert_int_equal(hf_file_write_at(file, 0, hf_bytes_of(bytes, sizeof bytes), &err), HF_ERR_OK);
    hf_file_drop(file);
    hf_free(path);
    f->seed = run_seed();
    print_message("seed %llu\n", (unsigned long long)f->seed);
    *state = f;
    return 0;
}

static int drop_fixture(void **state)
{
    struct hf_error err;
    struct fixture *f = *state;
    assert_int_equal(hf_fs_remove_tree(f->dir, &err), HF_ERR_OK);
    (void)munmap(f->story, sizeof *f->story);
    hf_free(f->dir);
    hf_free(f->world);
    hf_free(f->source);
    hf_free(f);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_death_at_any_point_of_a_move_changes_nothing,
                                        make_fixture, drop_fixture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
