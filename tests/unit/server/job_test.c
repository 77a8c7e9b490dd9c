/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a job over a catalog and stores in memory: what each move asks of the set, what it leaves in the stores,
 * and what is cancelled, waited for and refused.
 */
#include "server/flow_internal.h"
#include "server/flow_schedule.h"
#include "server/flow_tail.h"
#include "server/keep.h"
#include "snapshot/keys.h"
#include "snapshot/list.h"
#include "store/faulty.h"
#include "support/format_kit.h"

#define SET "rs0"

struct rig {
    struct hf_server_app app;
    struct hf_cancel cancel;
    struct hf_server_heard *heard;
    struct hf_id cluster;
    struct hf_id agents[2]; /* of members m0:1 and m1:1 */
};

struct seen {
    const char *role, *primary;
    uint64_t data_bytes;
};

static void see(struct rig *rig, size_t i, struct seen seen)
{
    struct hf_error err;
    struct hf_msg_member member = {
        .priority = 1, .readable = true, .set_members = 2, .data_bytes = seen.data_bytes};
    struct hf_msg_members members = {.items = &member, .count = 1};
    struct hf_flow_sight sight = {
        .agent = rig->agents[i], .project = rig->app.first_project, .members = &members};
    (void)snprintf(member.address, sizeof member.address, "m%zu:1", i);
    (void)snprintf(member.set_name, sizeof member.set_name, SET);
    (void)snprintf(member.state, sizeof member.state, "%s", seen.role);
    (void)snprintf(member.primary, sizeof member.primary, "%s", seen.primary);
    EXPECT_OK(hf_flow_put_members(&rig->app, &sight, &err), &err);
}

static void see_set(struct rig *rig, uint64_t bytes)
{
    see(rig, 0, (struct seen){"SECONDARY", "m1:1", bytes});
    see(rig, 1, (struct seen){"PRIMARY", "m1:1", bytes});
}

/* The oplog has a store of its own; both can be made to fail. */
static void open_stores(struct rig *rig)
{
    struct hf_error err;
    const struct hf_store_create_options create = {.installation = fixed_id(3), .plain = true};
    struct hf_store *snapshots = NULL, *oplog = NULL;
    struct hf_storemark mark;
    EXPECT_OK(hf_store_mem_create(&snapshots, &err), &err);
    EXPECT_OK(hf_store_mem_create(&oplog, &err), &err);
    EXPECT_OK(hf_store_keys_create(snapshots, &create, &rig->app.mark, &rig->app.key, &err), &err);
    EXPECT_OK(hf_store_keys_create_oplog(oplog, &rig->app.mark, 1, &mark, &err), &err);
    EXPECT_OK(hf_store_faulty_create_take(snapshots, &rig->app.store, &err), &err);
    EXPECT_OK(hf_store_faulty_create_take(oplog, &rig->app.oplog_store, &err), &err);
}

static void rig_begin(struct rig *rig)
{
    struct hf_error err;
    const struct hf_catalog_options options = {.kinds = hf_backup_kinds,
                                               .kind_count = hf_backup_kind_count};
    HF_CLEANUP(hf_keep_clusters_fini) struct hf_keep_clusters clusters = {0};
    const struct hf_catalog_query all = {.limit = 10};
    *rig = (struct rig){.app = {.first_project = fixed_id(4), .task_silence_s = 300},
                        .agents = {fixed_id(0x31), fixed_id(0x32)}};
    hf_cancel_init(&rig->cancel);
    rig->app.cancel = &rig->cancel;
    hf_mutex_init(&rig->app.ending_mutex);
    EXPECT_OK(hf_server_heard_create(&rig->heard, &err), &err);
    rig->app.heard = rig->heard;
    EXPECT_OK(hf_catalog_mem_create(&options, &rig->app.catalog, &err), &err);
    open_stores(rig);
    see_set(rig, 0);
    EXPECT_OK(hf_keep_cluster_find(rig->app.catalog, &all, &clusters, &err), &err);
    assert_int_equal(clusters.count, 1);
    rig->cluster = clusters.items[0].id;
}

static void rig_end(struct rig *rig)
{
    hf_store_close(rig->app.oplog_store);
    hf_store_close(rig->app.store);
    hf_catalog_close(rig->app.catalog);
    hf_server_heard_destroy(rig->heard);
    hf_mutex_fini(&rig->app.ending_mutex);
}

/* m1:1, whose oplog holds that much; its first entry has been seen to go. */
static void see_oplog(struct rig *rig, uint64_t first_s, uint64_t last_s)
{
    for (uint64_t before = 2; before > 0; before--) {
        struct hf_error err;
        struct hf_msg_member member = {.address = "m1:1",
                                       .set_name = SET,
                                       .state = "PRIMARY",
                                       .primary = "m1:1",
                                       .priority = 1,
                                       .readable = true,
                                       .set_members = 2,
                                       .oplog_first_s = first_s - before,
                                       .oplog_last_s = last_s - before};
        const struct hf_msg_members members = {.items = &member, .count = 1};
        const struct hf_flow_sight sight = {
            .agent = rig->agents[1], .project = rig->app.first_project, .members = &members};
        EXPECT_OK(hf_flow_put_members(&rig->app, &sight, &err), &err);
    }
}

static struct hf_job_record job_of(struct rig *rig)
{
    struct hf_error err;
    struct hf_job_record job;
    EXPECT_OK(hf_keep_job_get(rig->app.catalog, &rig->cluster, &job, NULL, &err), &err);
    return job;
}

static void expect_state(struct rig *rig, enum hf_job_state state)
{
    const struct hf_job_record job = job_of(rig);
    if (job.state != state) {
        fail_msg("the job is %s, and should be %s: %s", hf_job_state_word(job.state),
                 hf_job_state_word(state), job.problem);
    }
}

static void start(struct rig *rig)
{
    struct hf_error err;
    struct hf_job_record job;
    EXPECT_OK(hf_flow_start_job(&rig->app, &rig->cluster, &job, &err), &err);
}

static void move(struct rig *rig, enum hf_job_action action)
{
    struct hf_error err;
    struct hf_job_record job;
    EXPECT_OK(hf_flow_move_job(&rig->app, &rig->cluster, action, &job, &err), &err);
}

/* As the server does every two seconds; *err of the jobs' own. */
static enum hf_err tick(struct rig *rig, struct hf_error *err)
{
    EXPECT_OK(hf_flow_resume(&rig->app, err), err);
    EXPECT_OK(hf_flow_tail_tick(&rig->app, err), err);
    return hf_flow_jobs_tick(&rig->app, err);
}

static void tick_well(struct rig *rig)
{
    struct hf_error err;
    EXPECT_OK(tick(rig, &err), &err);
}

static size_t objects_below(struct hf_store *store, const char *prefix)
{
    struct hf_error err;
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL};
    EXPECT_OK(hf_store_list(store, hf_str_of(prefix), hf_str_of(""), 1000, &list, &err), &err);
    return list.count;
}

/* As a capture leaves it: a record and the objects of it. */
static struct hf_id put_snapshot(struct rig *rig, enum hf_snapshot_state state, uint64_t capture)
{
    struct hf_error err;
    struct hf_snapshot_record record = {.id = fixed_id((uint8_t)(0x50 + capture)),
                                        .job = rig->cluster,
                                        .project = rig->app.first_project,
                                        .cluster = rig->cluster,
                                        .store = rig->app.mark.store,
                                        .state = state,
                                        .capture = capture,
                                        .writer = fixed_id((uint8_t)(0x70 + capture)),
                                        .created_s = 1000,
                                        .finished_s = 1100};
    const struct hf_object_name names[] = {
        {.kind = HF_OBJECT_MANIFEST, .job = rig->cluster, .capture = capture},
        {.kind = HF_OBJECT_CLAIM, .job = rig->cluster, .writer = record.writer},
        {.kind = HF_OBJECT_TREE,
         .job = rig->cluster,
         .writer = record.writer,
         .first = hf_position(capture, 0),
         .last = hf_position(capture, 0)},
        {.kind = HF_OBJECT_DATA,
         .job = rig->cluster,
         .writer = record.writer,
         .first = hf_position(capture, 0),
         .last = hf_position(capture, 3)}};
    const struct hf_object_name slice = {
        .kind = HF_OBJECT_OPLOG,
        .job = rig->cluster,
        .writer = record.writer,
        .first_optime = {.seconds = 5, .increment = (uint32_t)capture, .term = 1},
        .last_optime = {.seconds = 9, .increment = (uint32_t)capture, .term = 1}};
    (void)snprintf(record.set_name, sizeof record.set_name, SET);
    (void)snprintf(record.member, sizeof record.member, "m0:1");
    EXPECT_OK(hf_keep_snapshot_insert(rig->app.catalog, &record, &err), &err);
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        EXPECT_OK(hf_store_put(rig->app.store, hf_str_of(hf_object_name_text(&names[i]).text),
                               hf_bytes_of("x", 1), NULL, &err),
                  &err);
    }
    EXPECT_OK(hf_store_put(rig->app.oplog_store, hf_str_of(hf_object_name_text(&slice).text),
                           hf_bytes_of("x", 1), NULL, &err),
              &err);
    return record.id;
}

static enum hf_snapshot_state state_of(struct rig *rig, const struct hf_id *snapshot)
{
    struct hf_error err;
    struct hf_snapshot_record record;
    EXPECT_OK(hf_keep_snapshot_get(rig->app.catalog, snapshot, &record, NULL, &err), &err);
    return record.state;
}

static size_t open_tasks(struct rig *rig, enum hf_task_kind kind, size_t *cancelled)
{
    struct hf_error err;
    HF_CLEANUP(hf_keep_tasks_fini) struct hf_keep_tasks tasks = {0};
    const struct hf_catalog_query all = {.limit = 100};
    size_t open = 0;
    *cancelled = 0;
    EXPECT_OK(hf_keep_task_find(rig->app.catalog, &all, &tasks, &err), &err);
    for (size_t i = 0; i < tasks.count; i++) {
        bool is = tasks.items[i].kind == kind && tasks.items[i].state != HF_TASK_ENDED;
        open += is;
        *cancelled += is && tasks.items[i].cancelled;
    }
    return open;
}

/* What the agent does with a task that was cancelled. */
static void agent_stops(struct rig *rig, enum hf_task_kind kind)
{
    struct hf_error err;
    HF_CLEANUP(hf_keep_tasks_fini) struct hf_keep_tasks tasks = {0};
    const struct hf_catalog_query all = {.limit = 100};
    EXPECT_OK(hf_keep_task_find(rig->app.catalog, &all, &tasks, &err), &err);
    for (size_t i = 0; i < tasks.count; i++) {
        const struct hf_task_record *one = &tasks.items[i];
        bool fresh = false;
        if (one->kind != kind || !one->cancelled || one->state == HF_TASK_ENDED) {
            continue;
        }
        struct hf_msg_finish finish = {.agent = one->agent,
                                       .task = one->id,
                                       .attempt = one->attempt,
                                       .kind = kind,
                                       .code = HF_ERR_CANCELLED,
                                       .message = "cancelled"};
        EXPECT_OK(hf_flow_note_finish(&rig->app, &finish, &fresh, &err), &err);
        assert_true(fresh);
        EXPECT_OK(hf_flow_finish(&rig->app, &one->id, &err), &err);
    }
}

/* ---- Tests ---- */

static void test_a_start_asks_for_a_primary_data_and_one_set_of_the_name(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_job_record job;
    (void)state;
    rig_begin(&rig);
    see(&rig, 0, (struct seen){"SECONDARY", "", 0});
    see(&rig, 1, (struct seen){"SECONDARY", "", 0});
    EXPECT_ERROR(hf_flow_start_job(&rig.app, &rig.cluster, &job, &err), HF_ERR_UNAVAILABLE,
                 "set rs0 has no primary", &err);
    see(&rig, 0, (struct seen){"SECONDARY", "m1:1", 0});
    see(&rig, 1, (struct seen){"SECONDARY", "other:1", 0});
    EXPECT_ERROR(hf_flow_start_job(&rig.app, &rig.cluster, &job, &err), HF_ERR_CONFLICT,
                 "name two primaries, m1:1 and other:1", &err);
    see(&rig, 0, (struct seen){"ARBITER", "m1:1", 0});
    see(&rig, 1, (struct seen){"RECOVERING", "m1:1", 0});
    EXPECT_ERROR(hf_flow_start_job(&rig.app, &rig.cluster, &job, &err), HF_ERR_UNAVAILABLE,
                 "no agent serves a member of set rs0", &err);
    EXPECT_ERROR(hf_keep_job_get(rig.app.catalog, &rig.cluster, &job, NULL, &err), HF_ERR_NOT_FOUND,
                 "", &err);
    assert_int_equal(objects_below(rig.app.store, "j/"), 0);
    see_set(&rig, 0);
    start(&rig);
    expect_state(&rig, HF_JOB_STARTED);
    assert_int_equal(objects_below(rig.app.store, "j/"), 2); /* its keys */
    EXPECT_ERROR(hf_flow_start_job(&rig.app, &rig.cluster, &job, &err), HF_ERR_CONFLICT,
                 "the job of set rs0 is STARTED already", &err);
    rig_end(&rig);
}

static void test_much_data_wait_for_approval(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_job_record job;
    (void)state;
    rig_begin(&rig);
    rig.app.provision_threshold_bytes = 1 << 20;
    EXPECT_OK(hf_flow_start_job(&rig.app, &rig.cluster, &job, &err), &err);
    assert_int_equal(job.state, HF_JOB_PROVISIONING);
    assert_non_null(strstr(job.problem, "how large the data are"));
    see_set(&rig, 3 << 20);
    tick_well(&rig);
    job = job_of(&rig);
    assert_int_equal(job.state, HF_JOB_PROVISIONING);
    assert_true(job.waiting);
    assert_non_null(strstr(job.problem, "3.0 MiB, are above --provision-threshold, 1.0 MiB"));
    assert_int_equal(objects_below(rig.app.store, "j/"), 0);
    EXPECT_ERROR(hf_flow_move_job(&rig.app, &rig.cluster, HF_JOB_STOP, &job, &err), HF_ERR_CONFLICT,
                 "is PROVISIONING", &err);
    move(&rig, HF_JOB_DENY);
    expect_state(&rig, HF_JOB_INACTIVE);
    start(&rig);
    expect_state(&rig, HF_JOB_PROVISIONING);
    move(&rig, HF_JOB_APPROVE);
    tick_well(&rig);
    expect_state(&rig, HF_JOB_STARTED);
    assert_false(job_of(&rig).waiting);
    rig_end(&rig);
}

static void test_a_store_that_is_away_keeps_a_start_waiting_and_no_longer(void **state)
{
    struct rig rig;
    struct hf_error err;
    (void)state;
    rig_begin(&rig);
    hf_store_faulty_add(rig.app.store, &(struct hf_store_fault){.call = HF_STORE_CALL_PUT,
                                                                .code = HF_ERR_UNAVAILABLE});
    start(&rig);
    expect_state(&rig, HF_JOB_PROVISIONING);
    assert_int_equal(tick(&rig, &err), HF_ERR_UNAVAILABLE);
    assert_true(job_of(&rig).problem[0] != '\0');
    hf_store_faulty_clear(rig.app.store);
    tick_well(&rig);
    expect_state(&rig, HF_JOB_STARTED);
    assert_string_equal(job_of(&rig).problem, "");
    rig_end(&rig);
}

static void test_a_new_job_takes_its_first_snapshot_by_itself(void **state)
{
    struct rig rig;
    size_t cancelled = 0;
    (void)state;
    rig_begin(&rig);
    rig.app.first_snapshot = true;
    start(&rig);
    tick_well(&rig);
    assert_int_equal(open_tasks(&rig, HF_TASK_TAIL, &cancelled), 1);
    /* It waits for the tail's first slice, for a while. */
    assert_int_equal(open_tasks(&rig, HF_TASK_CAPTURE, &cancelled), 0);
    struct hf_error err;
    struct hf_job_record job;
    uint64_t revision = 0;
    EXPECT_OK(hf_keep_job_get(rig.app.catalog, &rig.cluster, &job, &revision, &err), &err);
    job.started_s -= 1000;
    EXPECT_OK(hf_keep_job_replace(rig.app.catalog, &job, &revision, &err), &err);
    tick_well(&rig);
    assert_int_equal(open_tasks(&rig, HF_TASK_CAPTURE, &cancelled), 1);
    rig_end(&rig);
}

static void test_a_stop_ends_capture_and_tail_and_nothing_begins(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_snapshot_record taken, refused;
    const struct hf_flow_wish wish = {.project = fixed_id(4), .set_name = SET};
    size_t cancelled = 0;
    (void)state;
    rig_begin(&rig);
    start(&rig);
    const struct hf_id old = put_snapshot(&rig, HF_SNAPSHOT_COMPLETE, 1);
    tick_well(&rig);
    EXPECT_OK(hf_flow_take(&rig.app, &wish, &taken, &err), &err);
    assert_int_equal(open_tasks(&rig, HF_TASK_CAPTURE, &cancelled), 1);
    assert_int_equal(open_tasks(&rig, HF_TASK_TAIL, &cancelled), 1);
    move(&rig, HF_JOB_STOP);
    EXPECT_ERROR(hf_flow_take(&rig.app, &wish, &refused, &err), HF_ERR_CONFLICT,
                 "the job of set rs0 is STOPPED", &err);
    tick_well(&rig);
    assert_int_equal(open_tasks(&rig, HF_TASK_CAPTURE, &cancelled), 1);
    assert_int_equal(cancelled, 1);
    assert_int_equal(open_tasks(&rig, HF_TASK_TAIL, &cancelled), 1);
    assert_int_equal(cancelled, 1);
    agent_stops(&rig, HF_TASK_CAPTURE);
    agent_stops(&rig, HF_TASK_TAIL);
    for (unsigned i = 0; i < 3; i++) {
        tick_well(&rig);
    }
    assert_int_equal(open_tasks(&rig, HF_TASK_CAPTURE, &cancelled), 0);
    assert_int_equal(open_tasks(&rig, HF_TASK_TAIL, &cancelled), 0);
    assert_int_equal(state_of(&rig, &taken.id), HF_SNAPSHOT_ABANDONED);
    assert_int_equal(state_of(&rig, &old), HF_SNAPSHOT_COMPLETE);
    assert_int_equal(job_of(&rig).failures, 0); /* cancelled is not failed */
    rig_end(&rig);
}

static void test_a_restart_tails_again_and_wants_a_snapshot(void **state)
{
    struct rig rig;
    size_t cancelled = 0;
    (void)state;
    rig_begin(&rig);
    start(&rig);
    tick_well(&rig);
    move(&rig, HF_JOB_STOP);
    /* Restarted before the old tail has ended: that one ends all the same. */
    start(&rig);
    expect_state(&rig, HF_JOB_STARTED);
    tick_well(&rig);
    assert_int_equal(open_tasks(&rig, HF_TASK_TAIL, &cancelled), 1);
    assert_int_equal(cancelled, 1);
    agent_stops(&rig, HF_TASK_TAIL);
    tick_well(&rig);
    assert_int_equal(open_tasks(&rig, HF_TASK_TAIL, &cancelled), 1);
    assert_int_equal(cancelled, 0);
    assert_int_equal(job_of(&rig).run, 1);
    assert_non_null(strstr(job_of(&rig).snapshot_wanted, "the job was restarted"));
    rig_end(&rig);
}

static void put_restore(struct rig *rig, const struct hf_id *snapshot, enum hf_restore_state state)
{
    struct hf_error err;
    struct hf_restore_record restore = {.id = fixed_id(0x91),
                                        .snapshot = *snapshot,
                                        .job = rig->cluster,
                                        .project = rig->app.first_project,
                                        .cluster = rig->cluster,
                                        .task = fixed_id(0x92),
                                        .state = state};
    uint64_t revision = 0;
    if (hf_keep_restore_get(rig->app.catalog, &restore.id, &restore, &revision, &err) ==
        HF_ERR_OK) {
        restore.state = state;
        EXPECT_OK(hf_keep_restore_replace(rig->app.catalog, &restore, &revision, &err), &err);
    } else {
        EXPECT_OK(hf_keep_restore_insert(rig->app.catalog, &restore, &err), &err);
    }
}

static void expect_nothing_stored(struct rig *rig)
{
    struct hf_error err;
    struct hf_head_record head;
    assert_int_equal(objects_below(rig->app.store, "j/"), 0);
    assert_int_equal(objects_below(rig->app.oplog_store, "j/"), 0);
    EXPECT_ERROR(hf_keep_head_get(rig->app.catalog, &rig->cluster, &head, NULL, &err),
                 HF_ERR_NOT_FOUND, "", &err);
}

static void
test_a_termination_is_refused_while_a_snapshot_is_needed_and_waits_for_late_ones(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_job_record job;
    struct hf_flow_reading reading;
    (void)state;
    rig_begin(&rig);
    start(&rig);
    const struct hf_id snapshot = put_snapshot(&rig, HF_SNAPSHOT_COMPLETE, 1);
    move(&rig, HF_JOB_STOP);
    put_restore(&rig, &snapshot, HF_RESTORE_IN_PROGRESS);
    EXPECT_ERROR(hf_flow_move_job(&rig.app, &rig.cluster, HF_JOB_TERMINATE, &job, &err),
                 HF_ERR_CONFLICT, "restore 9192939495", &err);
    expect_state(&rig, HF_JOB_STOPPED);
    put_restore(&rig, &snapshot, HF_RESTORE_FINISHED);
    move(&rig, HF_JOB_TERMINATE);
    put_restore(&rig, &snapshot, HF_RESTORE_IN_PROGRESS); /* slipped in between check and move */
    assert_int_equal(tick(&rig, &err), HF_ERR_CONFLICT);
    assert_int_equal(state_of(&rig, &snapshot), HF_SNAPSHOT_COMPLETE);
    assert_non_null(strstr(job_of(&rig).problem, "restore 9192939495"));
    EXPECT_ERROR(hf_flow_open(&rig.app, &snapshot, &reading, &err), HF_ERR_CONFLICT,
                 "is being deleted: the job of set rs0 is TERMINATING", &err);
    put_restore(&rig, &snapshot, HF_RESTORE_FINISHED);
    tick_well(&rig);
    expect_state(&rig, HF_JOB_INACTIVE);
    assert_int_equal(state_of(&rig, &snapshot), HF_SNAPSHOT_EXPIRED);
    expect_nothing_stored(&rig);
    rig_end(&rig);
}

static void test_a_link_holds_its_snapshot_and_with_it_the_job(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_job_record job;
    struct hf_link_record link = {.id = fixed_id(0x91),
                                  .job = fixed_id(1),
                                  .project = fixed_id(4),
                                  .nonce = "00",
                                  .file = "f",
                                  .expires_s = UINT32_MAX,
                                  .max_downloads = 1};
    uint64_t revision = 1;
    (void)state;
    rig_begin(&rig);
    start(&rig);
    const struct hf_id snapshot = put_snapshot(&rig, HF_SNAPSHOT_COMPLETE, 1);
    move(&rig, HF_JOB_STOP);
    link.snapshot = snapshot;
    link.job = rig.cluster;
    EXPECT_OK(hf_keep_link_insert(rig.app.catalog, &link, &err), &err);
    EXPECT_ERROR(hf_flow_move_job(&rig.app, &rig.cluster, HF_JOB_TERMINATE, &job, &err),
                 HF_ERR_CONFLICT, "a link to snapshot", &err);
    /* Used up, and what was downloaded may still be brought to a point. */
    link.downloads = 1;
    link.lease_from = (struct hf_optime){.seconds = 5, .increment = 1, .term = 1};
    EXPECT_OK(hf_keep_link_replace(rig.app.catalog, &link, &revision, &err), &err);
    EXPECT_ERROR(hf_flow_move_job(&rig.app, &rig.cluster, HF_JOB_TERMINATE, &job, &err),
                 HF_ERR_CONFLICT, "brought to a point in time", &err);
    link.expires_s = 5;
    EXPECT_OK(hf_keep_link_replace(rig.app.catalog, &link, &revision, &err), &err);
    move(&rig, HF_JOB_TERMINATE);
    rig_end(&rig);
}

static void test_a_termination_deletes_all_its_keys_last_and_a_start_again_is_full(void **state)
{
    struct rig rig;
    struct hf_error err;
    HF_CLEANUP(hf_keyring_wipe) struct hf_keyring before = {0}, after = {0};
    struct hf_snapshot_record taken;
    const struct hf_flow_wish wish = {.project = fixed_id(4), .set_name = SET};
    (void)state;
    rig_begin(&rig);
    start(&rig);
    tick_well(&rig);
    EXPECT_OK(hf_job_keys_load(rig.app.store, &rig.app.key, &rig.cluster, &before, &err), &err);
    const struct hf_id one = put_snapshot(&rig, HF_SNAPSHOT_COMPLETE, 1);
    (void)put_snapshot(&rig, HF_SNAPSHOT_FAILED, 2);
    (void)put_snapshot(&rig, HF_SNAPSHOT_ABANDONED, 3);
    const struct hf_id four = put_snapshot(&rig, HF_SNAPSHOT_COMPLETE, 4);
    move(&rig, HF_JOB_STOP);
    move(&rig, HF_JOB_TERMINATE);
    assert_int_equal(tick(&rig, &err), HF_ERR_BUSY);
    assert_non_null(strstr(job_of(&rig).problem, "waits for the end of the tail of m0:1"));
    assert_int_equal(state_of(&rig, &one), HF_SNAPSHOT_COMPLETE);
    agent_stops(&rig, HF_TASK_TAIL);
    /* A pack that the store does not let go of yet: everything else goes, and the keys stay with it. */
    hf_store_faulty_add(rig.app.store, &(struct hf_store_fault){.call = HF_STORE_CALL_DELETE,
                                                                .nth = 9,
                                                                .times = 1,
                                                                .code = HF_ERR_DENIED});
    assert_int_equal(tick(&rig, &err), HF_ERR_DENIED);
    expect_state(&rig, HF_JOB_TERMINATING);
    assert_int_equal(objects_below(rig.app.store, "j/"), 3); /* it, and two copies of the keys */
    EXPECT_OK(hf_job_keys_load(rig.app.store, &rig.app.key, &rig.cluster, &after, &err), &err);
    tick_well(&rig);
    expect_state(&rig, HF_JOB_INACTIVE);
    assert_int_equal(state_of(&rig, &one), HF_SNAPSHOT_EXPIRED);
    assert_int_equal(state_of(&rig, &four), HF_SNAPSHOT_EXPIRED);
    expect_nothing_stored(&rig);
    tick_well(&rig);
    /* A pack that was on its way came late: the next life begins without it. */
    (void)put_snapshot(&rig, HF_SNAPSHOT_FAILED, 5);
    start(&rig);
    assert_int_equal(objects_below(rig.app.store, "j/"), 2);
    EXPECT_OK(hf_job_keys_load(rig.app.store, &rig.app.key, &rig.cluster, &after, &err), &err);
    assert_memory_not_equal(before.hash_key, after.hash_key, sizeof after.hash_key);
    EXPECT_OK(hf_flow_take(&rig.app, &wish, &taken, &err), &err);
    assert_int_equal(taken.parent_capture, 0);
    assert_int_equal(taken.adopted_capture, 0);
    rig_end(&rig);
}

static void test_a_store_that_is_not_mounted_is_not_an_empty_one(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_store *mounted = NULL, *bare = NULL;
    (void)state;
    rig_begin(&rig);
    start(&rig);
    (void)put_snapshot(&rig, HF_SNAPSHOT_COMPLETE, 1);
    move(&rig, HF_JOB_STOP);
    move(&rig, HF_JOB_TERMINATE);
    EXPECT_OK(hf_store_mem_create(&bare, &err), &err);
    mounted = rig.app.oplog_store;
    rig.app.oplog_store = bare;
    assert_int_equal(tick(&rig, &err), HF_ERR_UNAVAILABLE);
    expect_state(&rig, HF_JOB_TERMINATING);
    rig.app.oplog_store = mounted;
    tick_well(&rig);
    expect_state(&rig, HF_JOB_INACTIVE);
    expect_nothing_stored(&rig);
    hf_store_close(bare);
    rig_end(&rig);
}

static void test_a_forced_termination_ends_what_it_waits_for_and_sweeps_later(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_job_record job;
    (void)state;
    rig_begin(&rig);
    start(&rig);
    const struct hf_id snapshot = put_snapshot(&rig, HF_SNAPSHOT_COMPLETE, 1);
    EXPECT_ERROR(hf_flow_move_job(&rig.app, &rig.cluster, HF_JOB_FORCE_TERMINATE, &job, &err),
                 HF_ERR_CONFLICT, "the job of set rs0 is STARTED", &err);
    assert_int_equal(state_of(&rig, &snapshot), HF_SNAPSHOT_COMPLETE);
    move(&rig, HF_JOB_STOP);
    move(&rig, HF_JOB_TERMINATE);
    hf_store_faulty_add(rig.app.store, &(struct hf_store_fault){.call = HF_STORE_CALL_DELETE,
                                                                .code = HF_ERR_DENIED});
    assert_int_equal(tick(&rig, &err), HF_ERR_DENIED);
    move(&rig, HF_JOB_FORCE_TERMINATE);
    expect_state(&rig, HF_JOB_INACTIVE);
    assert_true(job_of(&rig).leftover);
    assert_int_equal(state_of(&rig, &snapshot), HF_SNAPSHOT_EXPIRED);
    tick_well(&rig);
    assert_true(job_of(&rig).leftover);
    assert_non_null(strstr(job_of(&rig).problem, "delete j/"));
    hf_store_faulty_clear(rig.app.store);
    tick_well(&rig);
    assert_false(job_of(&rig).leftover);
    expect_nothing_stored(&rig);
    rig_end(&rig);
}

static void test_a_move_is_made_once_whoever_else_changes_the_job(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_job_record job;
    (void)state;
    rig_begin(&rig);
    start(&rig);
    move(&rig, HF_JOB_STOP);
    EXPECT_ERROR(hf_flow_move_job(&rig.app, &rig.cluster, HF_JOB_STOP, &job, &err), HF_ERR_CONFLICT,
                 "STOPPED already", &err);
    EXPECT_OK(hf_flow_prefer_member(&rig.app, &rig.cluster, "m1:1", &job, &err), &err);
    assert_string_equal(job_of(&rig).preferred_member, "m1:1");
    move(&rig, HF_JOB_TERMINATE);
    EXPECT_ERROR(hf_flow_start_job(&rig.app, &rig.cluster, &job, &err), HF_ERR_CONFLICT,
                 "is TERMINATING: what it stored is being deleted", &err);
    rig_end(&rig);
}

/* Shorter than what is asked for is refused; shorter than from one snapshot to the next is said. */
static void test_an_oplog_shorter_than_the_snapshots_interval_is_said(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_cluster_record cluster;
    struct hf_schedule_record schedule;
    struct hf_job_record job;
    struct hf_policy policy;
    char said[HF_RECORD_ERROR_BYTES];
    (void)state;
    rig_begin(&rig);
    rig.app.oplog_window_min_s = 3 * 3600;
    rig.app.schedules = true;
    EXPECT_OK(hf_keep_cluster_get(rig.app.catalog, &rig.cluster, &cluster, NULL, &err), &err);
    EXPECT_OK(hf_flow_job_warning(&rig.app, &cluster, said, &err), &err);
    assert_string_equal(said, "");
    see_oplog(&rig, 1000000, 1000000 + 2 * 3600);
    assert_int_equal(hf_flow_start_job(&rig.app, &rig.cluster, &job, &err), HF_ERR_CONFLICT);
    see_oplog(&rig, 1000000, 1000000 + 4 * 3600);
    EXPECT_OK(hf_flow_job_warning(&rig.app, &cluster, said, &err), &err);
    assert_non_null(strstr(said, "reaches back 14400 s, and should 86400 s"));
    EXPECT_OK(hf_flow_start_job(&rig.app, &rig.cluster, &job, &err), &err);
    hf_policy_default(&policy, 1000000);
    policy.interval_min = 60;
    EXPECT_OK(hf_flow_policy_set(&rig.app, &job, &policy, &schedule, &err), &err);
    EXPECT_OK(hf_flow_job_warning(&rig.app, &cluster, said, &err), &err);
    assert_string_equal(said, "");
    rig_end(&rig);
}

/* The next snapshot is asked for between the last state of the one before and the rest of its end. */
struct ending {
    struct rig *rig;
    struct hf_snapshot_record record;
};

static void end_later(void *argument)
{
    struct ending *ending = argument;
    struct hf_error err;
    hf_cancel_sleep(&ending->rig->cancel, 100);
    EXPECT_OK(hf_flow_wind_up(&ending->rig->app, &ending->record, &err), &err);
}

static void test_who_asks_while_the_one_before_is_wound_up_waits_for_that(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_job_record job;
    struct hf_snapshot_record second;
    struct ending first = {.rig = &rig};
    const struct hf_flow_wish wish = {.project = fixed_id(4), .set_name = SET};
    struct hf_thread *thread;
    uint64_t revision = 0;
    (void)state;
    rig_begin(&rig);
    start(&rig);
    EXPECT_OK(hf_flow_take(&rig.app, &wish, &first.record, &err), &err);
    EXPECT_ERROR(hf_flow_take(&rig.app, &wish, &second, &err), HF_ERR_CONFLICT,
                 "is still being taken", &err);
    EXPECT_OK(
        hf_keep_snapshot_get(rig.app.catalog, &first.record.id, &first.record, &revision, &err),
        &err);
    first.record.state = HF_SNAPSHOT_FAILED;
    EXPECT_OK(hf_keep_snapshot_replace(rig.app.catalog, &first.record, &revision, &err), &err);
    EXPECT_OK(hf_thread_start("ends", end_later, &first, &thread, &err), &err);
    EXPECT_OK(hf_flow_take(&rig.app, &wish, &second, &err), &err);
    hf_thread_join(thread);
    job = job_of(&rig);
    assert_true(hf_id_equal(&job.running, &second.id));
    rig_end(&rig);
}

/* An agent of another project names a set and a member as ours does. */
static void see_in(struct rig *rig, struct hf_id project, struct hf_id agent)
{
    struct hf_error err;
    struct hf_msg_member member = {.address = "m1:1",
                                   .set_name = SET,
                                   .state = "SECONDARY",
                                   .primary = "theirs:1",
                                   .priority = 1,
                                   .readable = true,
                                   .set_members = 2};
    const struct hf_msg_members members = {.items = &member, .count = 1};
    const struct hf_flow_sight sight = {
        .agent = agent, .project = project, .members = &members, .hello = true};
    EXPECT_OK(hf_flow_put_members(&rig->app, &sight, &err), &err);
}

static void test_a_set_of_the_same_name_in_another_project_is_another_one(void **state)
{
    struct rig rig;
    struct hf_error err;
    const struct hf_id ours = fixed_id(4), other = fixed_id(0x77), agent = fixed_id(0x41);
    const struct hf_catalog_query all = {.limit = 10};
    HF_CLEANUP(hf_keep_clusters_fini) struct hf_keep_clusters clusters = {0};
    struct hf_flow_members members = {0};
    struct hf_cluster_record mine, theirs;
    struct hf_snapshot_record taken;
    struct hf_flow_wish wish = {.project = other, .set_name = SET};
    (void)state;
    rig_begin(&rig);
    see_in(&rig, other, agent);
    EXPECT_OK(hf_keep_cluster_find(rig.app.catalog, &all, &clusters, &err), &err);
    assert_int_equal(clusters.count, 2);
    EXPECT_OK(hf_flow_find_cluster(&rig.app, &ours, SET, &mine, &err), &err);
    EXPECT_OK(hf_flow_find_cluster(&rig.app, &other, SET, &theirs, &err), &err);
    assert_true(hf_id_equal(&mine.id, &rig.cluster));
    assert_false(hf_id_equal(&mine.id, &theirs.id));
    const struct hf_id nobody = fixed_id(0x78);
    EXPECT_ERROR(hf_flow_find_cluster(&rig.app, &nobody, SET, &theirs, &err), HF_ERR_NOT_FOUND,
                 "no agent has reported", &err);
    EXPECT_OK(hf_flow_members(&rig.app, &other, &members, &err), &err);
    assert_int_equal(members.count, 1);
    assert_true(hf_id_equal(&members.items[0].agent, &agent));
    hf_free(members.items);
    EXPECT_OK(hf_flow_members(&rig.app, NULL, &members, &err), &err);
    assert_int_equal(members.count, 3);
    hf_free(members.items);
    /* Theirs names another primary: within a project that would be two sets of a name. */
    start(&rig);
    put_snapshot(&rig, HF_SNAPSHOT_COMPLETE, 1);
    tick_well(&rig);
    EXPECT_ERROR(hf_flow_take(&rig.app, &wish, &taken, &err), HF_ERR_NOT_FOUND,
                 "set rs0 has no backup job", &err);
    wish.project = ours;
    EXPECT_OK(hf_flow_take(&rig.app, &wish, &taken, &err), &err);
    assert_true(hf_id_equal(&taken.project, &ours));
    assert_false(hf_id_equal(&taken.agent, &agent));
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_oplog_shorter_than_the_snapshots_interval_is_said),
        cmocka_unit_test(test_a_start_asks_for_a_primary_data_and_one_set_of_the_name),
        cmocka_unit_test(test_much_data_wait_for_approval),
        cmocka_unit_test(test_a_store_that_is_away_keeps_a_start_waiting_and_no_longer),
        cmocka_unit_test(test_a_new_job_takes_its_first_snapshot_by_itself),
        cmocka_unit_test(test_a_stop_ends_capture_and_tail_and_nothing_begins),
        cmocka_unit_test(test_a_restart_tails_again_and_wants_a_snapshot),
        cmocka_unit_test(
            test_a_termination_is_refused_while_a_snapshot_is_needed_and_waits_for_late_ones),
        cmocka_unit_test(test_a_link_holds_its_snapshot_and_with_it_the_job),
        cmocka_unit_test(test_a_termination_deletes_all_its_keys_last_and_a_start_again_is_full),
        cmocka_unit_test(test_a_store_that_is_not_mounted_is_not_an_empty_one),
        cmocka_unit_test(test_a_forced_termination_ends_what_it_waits_for_and_sweeps_later),
        cmocka_unit_test(test_who_asks_while_the_one_before_is_wound_up_waits_for_that),
        cmocka_unit_test(test_a_move_is_made_once_whoever_else_changes_the_job),
        cmocka_unit_test(test_a_set_of_the_same_name_in_another_project_is_another_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
