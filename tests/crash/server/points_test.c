/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restores to a point in time while server and agent die. A server and an agent live through a restore that replays (a
 * scripted mongod plays its part) and a link to the same point. One such life is counted; then, for each fault point that
 * it passes in turn, a life dies there (SIGKILL):
 *
 *   the server alone   its agent has done the work, or never got it, and tells a new server
 *   the agent alone    in its own process; the server goes on, and a new agent says hello
 *   both               in one process
 *
 * and both start again as always. Afterwards the restore is FINISHED and the directory is at the point, or BROKEN with a
 * reason and the directory shows by a mark that it is none, or is the whole snapshot; or nothing was recorded. What it
 * needs cannot be deleted or pruned until then, and can be afterwards. A second restore into the same directory ends well.
 *
 * HF_TEST_SEED chooses the points of a short run (printed); HOLDFAST_SOAK takes all of them.
 */
#include "crash/server/life.h"
#include "support/run.h"
#include "support/scripted_replay.h"

#include <sys/mman.h>
#include <sys/wait.h>

#include "agent/point.h"
#include "base/fault.h"
#include "server/flow_tail.h"
#include "server/points.h"

#define SHORT_LIVES 9
#define LIMIT_S 300
#define SLICE_ENTRIES 4u
#define LATER_S 200u /* the second snapshot's, so that no promise holds what lies before it */

/* Points that no other program here names in a list of its own: an undisturbed life passes each of them. */
static const char *const passed[] = {"server.link.recorded", "oplog.replay.marked"};

enum death { NOBODY, SERVER, AGENT, BOTH };
static const char *const death_words[] = {"nobody", "the server", "the agent", "both"};

/* Shared with the children. */
struct story {
    bool told;                                /* the agent has done its work and told of it */
    enum death death;                         /* of this life */
    uint64_t nth;                             /* at this pass; AGENT: of those of its work */
    uint64_t passes, agent_first, agent_last; /* of the undisturbed life */
    uint64_t lives, died, finished, broken, none, links, spoiled; /* for the last line */
};

struct fixture {
    char *dir, *world, *template, *finish, *self;
    char *sources[3];
    struct story *story;
    uint64_t seed;
};

static struct fixture f; /* the hook of a life has no room for it */

static char *target_of(struct life *life)
{
    return hf_path_join(life->restore_root, "target");
}

/* ---- What there is to restore ---- */

static void put_slices(struct life *life)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf entry = HF_BUF_INIT(4096);
    struct world world = {.next_writer = 0x20};
    struct tailer tailer;
    struct hf_error err;
    bool taken = false;
    life_load_keys(life, &world.ring);
    world.store = life->server.app.oplog_store;
    tailer_begin(&tailer, &world, NULL);
    for (uint32_t i = SCRIPTED_CHECKPOINT; i <= SCRIPTED_LAST + 1; i++) {
        if (i <= SCRIPTED_LAST) {
            scripted_make(i, NULL, SCRIPTED_TERM, &entry);
        } else {
            const struct made_entry later = {
                .optime = {LATER_S, 1, SCRIPTED_TERM}, .op = "n", .ns = ""};
            hf_buf_clear(&entry);
            make_entry(&later, &entry);
        }
        EXPECT_OK(hf_slicer_add(tailer.slicer, hf_buf_bytes(&entry), 0, &taken, &err), &err);
        LIFE_CHECK(taken);
        if (i % SLICE_ENTRIES == 0) {
            tailer_put(&tailer);
        }
    }
    tailer_put(&tailer);
    tailer_end(&tailer);
    hf_keyring_wipe(&world.ring);
}

/* A copy as scripted_replay makes it; the second version is never started. */
static void write_sources(void)
{
    static const struct scripted_case plain = {.version = {4, 4, 6}};
    struct hf_error err;
    for (size_t version = 1; version <= 2; version++) {
        f.sources[version] = hf_asprintf("%s/source-%zu", f.dir, version);
        const struct scripted_replay replay = {.dir = f.sources[version]};
        EXPECT_OK(hf_fs_make_dirs(replay.dir, 0700, &err), &err);
        scripted_replay_reset(&replay, &plain);
        /* Of a name that a restore onto the directory knows. */
        HF_CLEANUP(hf_free) char *log = hf_path_join(replay.dir, SCRIPTED_ARGUMENTS);
        EXPECT_OK(hf_fs_publish_replace(log, hf_bytes_of("", 0), 0600, &err), &err);
    }
}

/* ---- The agent's part ---- */

static void keep_finish(struct life *life, const struct hf_msg_finish *finish)
{
    struct hf_error err;
    struct hf_msg_finish copy = *finish;
    struct hf_buf text = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES);
    copy.agent = *hf_agent_state_id(life->state);
    memcpy(copy.session, life->session, sizeof copy.session);
    LIFE_OK(hf_msg_finish_encode(&copy, &text, &err), &err);
    LIFE_OK(hf_fs_publish_replace(f.finish, hf_buf_bytes(&text), 0600, &err), &err);
    hf_buf_fini(&text);
}

/* hf_agent_restore but for the wire of its store. */
static enum hf_err do_restore(struct life *life, const struct hf_task *task,
                              struct hf_msg_finish *finish, struct hf_error *err)
{
    struct hf_agent_context context = {.mongod = f.self};
    const struct hf_agent_work work = {.context = &context, .task = task};
    const struct hf_agent_reach reach = {
        .store = life->server.app.oplog_store,
        .directory = task->restore.directory,
        .snapshot = &task->restore.snapshot,
        .capture = task->restore.capture,
        .point = &task->restore.point,
        .program = f.self,
    };
    LIFE_CHECK(task->restore.point.wanted);
    if (life_restore(life, task, finish, err) != HF_ERR_OK ||
        HF_FAULT("agent.restore.files", err) != HF_ERR_OK ||
        hf_agent_reach_point(&work, &reach, &finish->replay, err) != HF_ERR_OK ||
        HF_FAULT("agent.restore.done", err) != HF_ERR_OK) {
        return err->code;
    }
    return HF_ERR_OK;
}

static void expect_held(struct life *life);
static void expect_all_is_well(struct life *life);

static enum hf_err restore_and_die(struct life *life, const struct hf_task *task,
                                   struct hf_msg_finish *finish, struct hf_error *err)
{
    int status = 0;
    expect_held(life);
    if (f.story->death == AGENT) {
        (void)fflush(NULL);
        pid_t pid = fork();
        LIFE_CHECK(pid >= 0);
        if (pid == 0) {
            hf_fault_arm_death("*", f.story->nth);
            _exit(do_restore(life, task, finish, err) == HF_ERR_OK ? 0 : 3);
        }
        LIFE_CHECK(waitpid(pid, &status, 0) == pid);
        f.story->died += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        LIFE_CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
        expect_held(life); /* nobody said yet that it ended */
        hf_agent_state_close(life->state);
        life->restore = do_restore;
        life_start_agent(life);
        expect_all_is_well(life);
        life_stop(life);
        _exit(0);
    }
    f.story->agent_first = hf_fault_passes(NULL) + 1;
    enum hf_err code = do_restore(life, task, finish, err);
    f.story->agent_last = hf_fault_passes(NULL);
    if (f.story->death == SERVER && code == HF_ERR_OK) {
        keep_finish(life, finish);
    }
    expect_held(life);
    return code;
}

/* ---- A life ---- */

static void begin(struct life *life)
{
    life_begin(life, f.world);
    for (size_t i = 1; i <= 2; i++) {
        life->sources[i] = f.sources[i];
    }
    life->checkpoints[1] = (struct hf_optime){100, SCRIPTED_CHECKPOINT, -1};
    life->oplog_ends[1] = (struct hf_optime){100, SCRIPTED_COPY, SCRIPTED_TERM};
    life->checkpoints[2] = (struct hf_optime){LATER_S, 1, -1};
    life->oplog_ends[2] = (struct hf_optime){LATER_S, 1, SCRIPTED_TERM};
    life->restore = do_restore;
    life_start_server(life);
    life->server.app.oplog_kept_s = 1;
}

static struct hf_target point_of(void)
{
    return (struct hf_target){
        .kind = HF_TARGET_TIMESTAMP, .seconds = 100, .increment = SCRIPTED_LAST};
}

/* The snapshot of the first version, which all restores are of. */
static void find_base(struct life *life, struct hf_snapshot_record *out)
{
    struct hf_keep_snapshots snapshots;
    life_snapshots(life, &snapshots);
    LIFE_CHECK(snapshots.count == 2);
    for (size_t i = 0; i < snapshots.count; i++) {
        if (snapshots.items[i].description[0] == '1') {
            *out = snapshots.items[i];
        }
    }
    LIFE_CHECK(out->state == HF_SNAPSHOT_COMPLETE);
    hf_keep_snapshots_fini(&snapshots);
}

/* Base and slices cannot go. */
static void expect_held(struct life *life)
{
    struct hf_error err;
    struct hf_snapshot_record base = {0};
    HF_CLEANUP(hf_free) struct hf_optime *leases = NULL;
    uint64_t deleted = 0;
    size_t count = 0;
    bool leased = false;
    find_base(life, &base);
    LIFE_OK(hf_points_leases(&life->server.app, &life->job.id, &leases, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        leased = leased || hf_optime_compare_ts(&leases[i], &base.checkpoint) <= 0;
    }
    LIFE_CHECK(leased);
    LIFE_CHECK(hf_flow_delete(&life->server.app, &base.id, &err) == HF_ERR_CONFLICT);
    LIFE_OK(hf_flow_prune(&life->server.app, &life->job.id, &deleted, &err), &err);
    LIFE_CHECK(deleted == 0);
}

static void ask(struct life *life, bool onto, struct hf_restore_record *out)
{
    struct hf_error err;
    struct hf_snapshot_record base = {0};
    char *target = target_of(life);
    find_base(life, &base);
    const struct hf_flow_restore_wish wish = {.project = life->server.app.first_project,
                                              .snapshot = base.id,
                                              .point = true,
                                              .target = point_of(),
                                              .directory = target,
                                              .onto = onto};
    LIFE_OK(hf_flow_restore(&life->server.app, &wish, out, &err), &err);
    hf_free(target);
}

static void look_up(struct life *life, struct hf_restore_record *restore)
{
    struct hf_error err;
    struct hf_id id = restore->id;
    LIFE_OK(hf_keep_restore_get(life->server.app.catalog, &id, restore, NULL, &err), &err);
}

static void link_to_point(struct life *life)
{
    struct hf_error err;
    struct hf_snapshot_record base = {0};
    struct hf_restore_record job;
    struct hf_link_record link;
    find_base(life, &base);
    const struct hf_flow_link_wish wish = {.project = life->server.app.first_project,
                                           .snapshot = base.id,
                                           .point = true,
                                           .target = point_of()};
    LIFE_OK(hf_flow_link(&life->server.app, &wish, &job, &link, &err), &err);
}

static void expect_at_point(struct life *life)
{
    static struct scripted s;
    char *target = target_of(life);
    char *unfinished = hf_path_join(target, HF_RESTORE_MARK_NAME);
    char *replay = hf_path_join(target, HF_REPLAY_MARK);
    LIFE_CHECK(!hf_fs_exists(unfinished) && !hf_fs_exists(replay));
    scripted_read(&s, target);
    LIFE_CHECK(s.count == SCRIPTED_LAST && s.begin.ts.i == SCRIPTED_LAST);
    scripted_fini(&s);
    hf_free(replay);
    hf_free(unfinished);
    hf_free(target);
}

/* Nothing, or marked as unfinished, or the whole snapshot, or at the point. */
static void expect_no_mixture(struct life *life)
{
    static struct scripted s;
    char *target = target_of(life);
    char *unfinished = hf_path_join(target, HF_RESTORE_MARK_NAME);
    char *replay = hf_path_join(target, HF_REPLAY_MARK);
    char *file = hf_path_join(target, SCRIPTED_FILE);
    if (hf_fs_exists(file) && !hf_fs_exists(unfinished) && !hf_fs_exists(replay)) {
        scripted_read(&s, target);
        LIFE_CHECK((s.count == SCRIPTED_COPY && s.begin.ts.i == 0 && s.point.t == 0) ||
                   (s.count == SCRIPTED_LAST && s.begin.ts.i == SCRIPTED_LAST));
        scripted_fini(&s);
    }
    hf_free(file);
    hf_free(replay);
    hf_free(unfinished);
    hf_free(target);
}

static void build(void)
{
    struct life life;
    struct hf_snapshot_record record;
    begin(&life);
    life_start_agent(&life);
    life_start_job(&life);
    life_take(&life, 1, &record);
    put_slices(&life);
    life_take(&life, 2, &record);
    life_stop(&life);
}

static void live(void)
{
    struct life life;
    struct hf_restore_record restore;
    hf_fault_disarm_all();
    if (f.story->death == SERVER || f.story->death == BOTH) {
        hf_fault_arm_death("*", f.story->nth);
    }
    begin(&life);
    life.restore = restore_and_die;
    life_start_agent(&life);
    life_start_job(&life);
    ask(&life, false, &restore);
    expect_held(&life);
    life_work(&life);
    look_up(&life, &restore);
    if (restore.state != HF_RESTORE_FINISHED) {
        LIFE_FAIL("the restore is %s: %s", hf_restore_state_word(restore.state), restore.error);
    }
    f.story->told = true;
    expect_at_point(&life);
    link_to_point(&life);
    expect_held(&life);
    life_stop(&life);
    f.story->passes = hf_fault_passes(NULL);
    for (size_t i = 0; i < HF_ARRAY_LEN(passed); i++) {
        LIFE_CHECK(hf_fault_passes(passed[i]) > 0);
    }
}

/* ---- The life after ---- */

/* The agent that did not die says what it did, as it would have gone on trying to. */
static void tell_kept(struct life *life)
{
    struct hf_error err;
    struct hf_msg_finish finish = {0};
    struct hf_buf text = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES);
    struct hf_agent_noted noted = {0};
    LIFE_OK(hf_agent_state_open(life->agent_dir, &life->state, &err), &err);
    life_say_hello(life);
    if (hf_fs_exists(f.finish)) {
        LIFE_OK(hf_fs_read_whole(f.finish, HF_MESSAGE_MAX_BYTES, &text, &err), &err);
        LIFE_OK(
            hf_msg_finish_decode((struct hf_str){(const char *)text.data, text.len}, &finish, &err),
            &err);
        LIFE_CHECK(life_tell(life, &finish));
        LIFE_OK(hf_agent_state_tasks(life->state, &noted, &err), &err);
        for (size_t i = 0; i < noted.count; i++) {
            LIFE_OK(hf_agent_state_forget_task(life->state, &noted.tasks[i].id, &err), &err);
        }
        hf_agent_noted_fini(&noted);
        hf_msg_finish_fini(&finish);
    }
    life_settle_the_past(life);
    hf_buf_fini(&text);
}

/* The one restore of the life before; false: it was not recorded. */
static bool find_restore(struct life *life, struct hf_restore_record *out)
{
    struct hf_error err;
    struct hf_snapshot_record base = {0};
    struct hf_keep_restores restores = {0};
    size_t found = 0;
    find_base(life, &base);
    const struct hf_id_text id = hf_id_text(&life->job.id);
    const struct hf_catalog_query query = {.index = "jobId", .equals_text = id.text, .limit = 1000};
    LIFE_OK(hf_keep_restore_find(life->server.app.catalog, &query, &restores, &err), &err);
    for (size_t i = 0; i < restores.count; i++) {
        if (!restores.items[i].link) {
            *out = restores.items[i];
            found++;
        }
    }
    LIFE_CHECK(found <= 1);
    hf_keep_restores_fini(&restores);
    return found == 1;
}

static void withdraw_links(struct life *life)
{
    struct hf_error err;
    struct hf_snapshot_record base = {0};
    struct hf_keep_links links = {0};
    find_base(life, &base);
    const struct hf_id_text id = hf_id_text(&base.id);
    const struct hf_catalog_query query = {
        .index = "snapshotId", .equals_text = id.text, .limit = 1000};
    LIFE_OK(hf_keep_link_find(life->server.app.catalog, &query, &links, &err), &err);
    LIFE_CHECK(links.count <= 1);
    if (links.count == 1) {
        f.story->links++;
        expect_held(life);
        LIFE_CHECK(links.items[0].expires_s <= links.items[0].created_s + 3600);
        LIFE_OK(hf_flow_link_withdraw(&life->server.app, &links.items[0].id, &err), &err);
    }
    hf_keep_links_fini(&links);
}

static void expect_end(struct life *life, struct hf_restore_record *restore)
{
    look_up(life, restore);
    if (restore->state == HF_RESTORE_FINISHED) {
        f.story->finished++;
        expect_at_point(life);
        LIFE_CHECK(restore->point.top.increment == SCRIPTED_LAST);
        return;
    }
    f.story->broken++;
    if (restore->state != HF_RESTORE_BROKEN || restore->error[0] == '\0' ||
        strcmp(restore->error_class, "LOST") != 0) {
        LIFE_FAIL("the restore is %s: %s: %s", hf_restore_state_word(restore->state),
                  restore->error_class, restore->error);
    }
    if (f.story->told || (f.story->death == SERVER && hf_fs_exists(f.finish))) {
        LIFE_FAIL("done, and then BROKEN: %s", restore->error);
    }
    expect_no_mixture(life);
}

/* Nothing is held any more; what is not promised can go. */
static void expect_released(struct life *life)
{
    HF_CLEANUP(hf_free) struct hf_optime *leases = NULL;
    struct hf_error err;
    struct hf_snapshot_record base = {0};
    size_t count = 0;
    uint64_t deleted = 0;
    find_base(life, &base);
    LIFE_OK(hf_points_leases(&life->server.app, &life->job.id, &leases, &count, &err), &err);
    LIFE_CHECK(count == 0);
    LIFE_OK(hf_flow_delete(&life->server.app, &base.id, &err), &err);
    LIFE_OK(hf_flow_prune(&life->server.app, &life->job.id, &deleted, &err), &err);
    LIFE_CHECK(deleted >= SCRIPTED_LAST / SLICE_ENTRIES - 1);
}

/* As a server may leave a copy that is killed in its first start: what lies there is good for nothing. */
static void spoil(struct life *life)
{
    static struct scripted s;
    char *target = target_of(life);
    char *replay = hf_path_join(target, HF_REPLAY_MARK);
    if (hf_fs_exists(replay)) {
        scripted_read(&s, target);
        scripted_fini(&s);
        s.point = (struct scripted_ts){7, 7};
        scripted_write(&s);
        f.story->spoiled++;
    }
    hf_free(replay);
    hf_free(target);
}

/* Once server and agent have found each other again. */
static void expect_all_is_well(struct life *life)
{
    struct hf_restore_record restore = {0};
    struct hf_restore_record second;
    life_start_job(life);
    bool there = find_restore(life, &restore);
    if (there && restore.state == HF_RESTORE_IN_PROGRESS) {
        expect_held(life);
    }
    life_work(life);
    /* What nobody speaks for is given up after its time. */
    hf_server_heard_listen(life->server.app.heard, (HF_TASK_SILENT_MAX_S + 1) * UINT64_C(1000));
    life_say_hello(life);
    life_resume(life);
    life_work(life);
    if (there) {
        expect_end(life, &restore);
    } else {
        LIFE_CHECK(!f.story->told);
        f.story->none++;
    }
    withdraw_links(life);
    char *target = target_of(life);
    bool onto = hf_fs_exists(target);
    spoil(life);
    ask(life, onto, &second);
    life_work(life);
    look_up(life, &second);
    if (onto && strstr(second.error, "hint: leave --onto out for an empty directory") != NULL) {
        ask(life, false, &second);
        life_work(life);
        look_up(life, &second);
    }
    hf_free(target);
    if (second.state != HF_RESTORE_FINISHED) {
        LIFE_FAIL("the second restore is %s: %s", hf_restore_state_word(second.state),
                  second.error);
    }
    expect_at_point(life);
    expect_released(life);
}

static void recover(void)
{
    struct life life;
    begin(&life);
    if (f.story->death == SERVER) {
        tell_kept(&life);
    } else {
        life_start_agent(&life);
    }
    expect_all_is_well(&life);
    life_stop(&life);
}

/* ---- Dying ---- */

/* True when it died of SIGKILL. */
static bool run_child(void (*body)(void))
{
    int status = 0;
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(LIMIT_S);
        body();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        return true;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_msg("death of %s at fault point %llu, seed %llu: status %x",
                 death_words[f.story->death], (unsigned long long)f.story->nth,
                 (unsigned long long)f.seed, (unsigned)status);
    }
    return false;
}

static void die_once(enum death death, uint64_t nth)
{
    struct hf_error err;
    struct story *story = f.story;
    HF_CLEANUP(hf_free)
    char *command = hf_asprintf("cp -a '%s' '%s'", f.template, f.world);
    EXPECT_OK(hf_fs_remove_tree(f.world, &err), &err);
    (void)remove(f.finish);
    assert_int_equal(system(command), 0);
    story->death = death;
    story->nth = nth;
    story->told = false;
    story->lives++;
    bool died = run_child(live);
    assert_true(!died || death == SERVER || death == BOTH);
    story->died += died;
    if (death != AGENT) { /* else the same server has seen it through */
        assert_false(run_child(recover));
    }
}

static bool is_the_agents(uint64_t nth)
{
    return nth >= f.story->agent_first && nth <= f.story->agent_last;
}

static void test_a_death_on_the_way_to_a_point_leaves_no_mixture(void **state)
{
#ifdef HF_FAULTS
    struct story *story = f.story;
    (void)state;
    story->death = NOBODY;
    assert_false(run_child(build));
    HF_CLEANUP(hf_free) char *command = hf_asprintf("mv '%s' '%s'", f.world, f.template);
    assert_int_equal(system(command), 0);
    die_once(NOBODY, 0);
    assert_int_equal(story->finished, 1);
    assert_int_equal(story->links, 1);
    const struct story counted = *story;
    print_message("a life passes %llu fault points, %llu to %llu of them in the agent's work\n",
                  (unsigned long long)counted.passes, (unsigned long long)counted.agent_first,
                  (unsigned long long)counted.agent_last);
    uint64_t step =
        run_setting("HF_TEST_EVERY", run_is_soak() ? 1 : 1 + counted.passes / SHORT_LIVES);
    for (uint64_t nth = 1 + f.seed % step, turn = f.seed; nth <= counted.passes;
         nth += step, turn++) {
        story->agent_first = counted.agent_first;
        story->agent_last = counted.agent_last;
        bool agents = is_the_agents(nth);
        enum death alone = agents ? AGENT : SERVER;
        if (run_is_soak() || turn % 2 == 0) {
            die_once(BOTH, nth);
        }
        if (run_is_soak() || turn % 2 == 1) {
            die_once(alone, agents ? nth - counted.agent_first + 1 : nth);
        }
    }
    print_message("%llu lives, %llu died: %llu restores finished, %llu broken, %llu not recorded; "
                  "%llu links, %llu copies spoiled\n",
                  (unsigned long long)story->lives, (unsigned long long)story->died,
                  (unsigned long long)story->finished, (unsigned long long)story->broken,
                  (unsigned long long)story->none, (unsigned long long)story->links,
                  (unsigned long long)story->spoiled);
    assert_true(story->died + 2 >= story->lives - 1);
#else
    (void)state;
    skip();
#endif
}

static int make_fixture(void **state)
{
    struct hf_error err;
    char *made = NULL;
    (void)state;
    run_in_memory((uint64_t)256 << 20);
    f.story =
        mmap(NULL, sizeof *f.story, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(f.story != MAP_FAILED);
    assert_int_equal(hf_fs_make_temp_dir("hf-crash-points", &made, &err), HF_ERR_OK);
    assert_int_equal(hf_path_real(made, &f.dir, &err), HF_ERR_OK);
    hf_free(made);
    f.world = hf_path_join(f.dir, "world");
    f.template = hf_path_join(f.dir, "template");
    f.finish = hf_path_join(f.dir, "finish.json");
    EXPECT_OK(hf_self_path(&f.self, &err), &err);
    EXPECT_OK(hf_fs_make_dirs(f.world, 0700, &err), &err);
    write_sources();
    f.seed = run_seed();
    print_message("seed %llu\n", (unsigned long long)f.seed);
    return 0;
}

static int drop_fixture(void **state)
{
    struct hf_error err;
    (void)state;
    assert_int_equal(hf_fs_remove_tree(f.dir, &err), HF_ERR_OK);
    hf_free(f.sources[1]);
    hf_free(f.sources[2]);
    hf_free(f.self);
    hf_free(f.finish);
    hf_free(f.template);
    hf_free(f.world);
    hf_free(f.dir);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_death_on_the_way_to_a_point_leaves_no_mixture,
                                        make_fixture, drop_fixture),
    };
    scripted_mongod(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
