/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One tail for each started job, and the head of its chain: over a catalog and stores in memory, with a tailer made by
 * hand.
 */
#include "server/flow_tail.h"
#include "server/keep.h"
#include "server/rounds.h"
#include "snapshot/keys.h"
#include "support/oplog_kit.h"

#define SET "rs0"

struct rig {
    struct hf_server_app app;
    struct hf_cancel cancel;
    struct hf_server_heard *heard;
    struct hf_job_record job;
    struct hf_keyring ring;
    struct hf_id agents[2]; /* of members m0:1 and m1:1 */
};

/* ---- The set ---- */

static void see(struct rig *rig, size_t i, const char *role, bool hello)
{
    struct hf_error err;
    struct hf_msg_member member = {.priority = 1, .readable = true, .set_members = 2};
    struct hf_msg_members members = {.items = &member, .count = 1};
    struct hf_flow_sight sight = {.agent = rig->agents[i],
                                  .project = rig->app.first_project,
                                  .members = &members,
                                  .hello = hello};
    (void)snprintf(member.address, sizeof member.address, "m%zu:1", i);
    (void)snprintf(member.set_name, sizeof member.set_name, SET);
    (void)snprintf(member.state, sizeof member.state, "%s", role);
    (void)snprintf(member.fcv, sizeof member.fcv, "4.4");
    EXPECT_OK(hf_flow_put_members(&rig->app, &sight, &err), &err);
}

static void open_stores(struct rig *rig, bool apart)
{
    struct hf_error err;
    const struct hf_store_create_options create = {.installation = fixed_id(3), .plain = true};
    struct hf_storemark mark;
    EXPECT_OK(hf_store_mem_create(&rig->app.store, &err), &err);
    EXPECT_OK(hf_store_keys_create(rig->app.store, &create, &rig->app.mark, &rig->app.key, &err),
              &err);
    rig->app.oplog_store = rig->app.store;
    if (apart) {
        EXPECT_OK(hf_store_mem_create(&rig->app.oplog_store, &err), &err);
        EXPECT_OK(hf_store_keys_create_oplog(rig->app.oplog_store, &rig->app.mark, 1, &mark, &err),
                  &err);
    }
}

static void rig_begin(struct rig *rig, bool apart)
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
    open_stores(rig, apart);
    see(rig, 0, "SECONDARY", true);
    see(rig, 1, "PRIMARY", true);
    EXPECT_OK(hf_keep_cluster_find(rig->app.catalog, &all, &clusters, &err), &err);
    assert_int_equal(clusters.count, 1);
    EXPECT_OK(hf_flow_start_job(&rig->app, &clusters.items[0].id, &rig->job, &err), &err);
    EXPECT_OK(hf_job_keys_load(rig->app.store, &rig->app.key, &rig->job.id, &rig->ring, &err),
              &err);
}

static void rig_end(struct rig *rig)
{
    if (rig->app.oplog_store != rig->app.store) {
        hf_store_close(rig->app.oplog_store);
    }
    hf_store_close(rig->app.store);
    hf_catalog_close(rig->app.catalog);
    hf_server_heard_destroy(rig->heard);
    hf_mutex_fini(&rig->app.ending_mutex);
}

static void tick(struct rig *rig)
{
    struct hf_error err;
    EXPECT_OK(hf_flow_resume(&rig->app, &err), &err);
    EXPECT_OK(hf_flow_tail_tick(&rig->app, &err), &err);
}

static struct hf_head_record head_of(struct rig *rig)
{
    struct hf_error err;
    struct hf_head_record head;
    EXPECT_OK(hf_keep_head_get(rig->app.catalog, &rig->job.id, &head, NULL, &err), &err);
    return head;
}

static size_t open_tails(struct rig *rig)
{
    struct hf_error err;
    HF_CLEANUP(hf_keep_tasks_fini) struct hf_keep_tasks tasks = {0};
    const struct hf_catalog_query all = {.limit = 100};
    size_t open = 0;
    EXPECT_OK(hf_keep_task_find(rig->app.catalog, &all, &tasks, &err), &err);
    for (size_t i = 0; i < tasks.count; i++) {
        open += tasks.items[i].kind == HF_TASK_TAIL && tasks.items[i].state != HF_TASK_ENDED;
    }
    return open;
}

static struct hf_job_record job_of(struct rig *rig)
{
    struct hf_error err;
    struct hf_job_record job;
    EXPECT_OK(hf_keep_job_get(rig->app.catalog, &rig->job.id, &job, NULL, &err), &err);
    return job;
}

static size_t events_of(struct rig *rig, const char *type, char *text, size_t text_len)
{
    struct hf_error err;
    HF_CLEANUP(hf_keep_events_fini) struct hf_keep_events events = {0};
    const struct hf_catalog_query all = {.index = "createdS", .limit = 1000};
    size_t count = 0;
    EXPECT_OK(hf_keep_event_find(rig->app.catalog, &all, &events, &err), &err);
    for (size_t i = 0; i < events.count; i++) {
        if (strcmp(events.items[i].type, type) == 0) {
            count++;
            (void)snprintf(text, text_len, "%s", events.items[i].text);
        }
    }
    return count;
}

static uint64_t slices_left(struct rig *rig)
{
    struct hf_error err;
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list found = {.entries = NULL};
    struct hf_object_text prefix = hf_object_prefix(HF_OBJECT_OPLOG, &rig->job.id);
    EXPECT_OK(hf_store_list(rig->app.oplog_store, hf_str_of(prefix.text), hf_str_of(""), 100,
                            &found, &err),
              &err);
    return found.count;
}

/* ---- A tailer: what the agent does with its task ---- */

struct tailer {
    struct rig *rig;
    struct hf_task task;
    struct hf_id agent;
    struct hf_slicer *slicer;
    struct hf_buf object;
    struct hf_object_name name;
};

static void tailer_begin_as(struct tailer *tailer, struct rig *rig, const struct hf_id *task)
{
    struct hf_error err;
    struct hf_task_record record;
    *tailer = (struct tailer){.rig = rig};
    hf_buf_init(&tailer->object, HF_SLICE_OBJECT_MAX_BYTES);
    EXPECT_OK(hf_keep_task_get(rig->app.catalog, task, &record, NULL, &err), &err);
    EXPECT_OK(hf_flow_task_message(&rig->app, &record, &tailer->task, &err), &err);
    assert_int_equal(tailer->task.kind, HF_TASK_TAIL);
    EXPECT_OK(hf_chain_point_check(&tailer->task.tail.start, &err), &err);
    tailer->agent = record.agent;
    const struct hf_task_tail *tail = &tailer->task.tail;
    const struct hf_slicer_options options = {.keyring = &tailer->task.keyring,
                                              .writer = tail->writer,
                                              .set_name = tail->set_name,
                                              .member = tail->member,
                                              .fcv = "4.4",
                                              .start = tail->start};
    EXPECT_OK(hf_slicer_create(&options, &tailer->slicer, &err), &err);
}

static void tailer_begin(struct tailer *tailer, struct rig *rig)
{
    struct hf_head_record head = head_of(rig);
    assert_false(hf_id_is_none(&head.task));
    tailer_begin_as(tailer, rig, &head.task);
}

static void tailer_end(struct tailer *tailer)
{
    hf_slicer_destroy(tailer->slicer);
    hf_task_fini(&tailer->task);
    hf_buf_fini(&tailer->object);
}

/* Entries (100, from) to (100, to), durable as one slice. */
static void tailer_put(struct tailer *tailer, uint32_t from, uint32_t to)
{
    struct hf_error err;
    for (uint32_t i = from; i <= to; i++) {
        HF_CLEANUP(hf_buf_fini) struct hf_buf entry = HF_BUF_INIT((size_t)1 << 20);
        const struct made_entry made = {
            .optime = {.seconds = i > 14 ? 200 : 100, .increment = i, .term = 1},
            .op = "i",
            .ns = "a.b",
            .id = i};
        bool taken = false;
        make_entry(&made, &entry);
        EXPECT_OK(hf_slicer_add(tailer->slicer, hf_buf_bytes(&entry), 0, &taken, &err), &err);
        assert_true(taken);
    }
    EXPECT_OK(hf_slicer_close(tailer->slicer, &tailer->name, &tailer->object, &err), &err);
    EXPECT_OK(hf_slice_check_put(hf_buf_bytes(&tailer->object), &tailer->name, &err), &err);
    EXPECT_OK(hf_store_put(tailer->rig->app.oplog_store,
                           hf_str_of(hf_object_name_text(&tailer->name).text),
                           hf_buf_bytes(&tailer->object), NULL, &err),
              &err);
}

static enum hf_err tailer_tell(struct tailer *tailer, struct hf_error *err)
{
    struct hf_msg_slice slice = {.agent = tailer->agent,
                                 .task = tailer->task.id,
                                 .attempt = tailer->task.attempt,
                                 .lag_s = 3,
                                 .lag_entries = 40};
    (void)snprintf(slice.object, sizeof slice.object, "%s",
                   hf_object_name_text(&tailer->name).text);
    return hf_flow_tail_slice(&tailer->rig->app, &slice, err);
}

static void tailer_save(struct tailer *tailer, uint32_t from, uint32_t to)
{
    struct hf_error err;
    tailer_put(tailer, from, to);
    EXPECT_OK(tailer_tell(tailer, &err), &err);
}

static void tailer_finish(struct tailer *tailer, enum hf_err code, const char *message)
{
    struct hf_error err;
    struct hf_msg_finish finish = {.agent = tailer->agent,
                                   .task = tailer->task.id,
                                   .attempt = tailer->task.attempt,
                                   .kind = HF_TASK_TAIL,
                                   .code = code};
    bool fresh = false;
    (void)snprintf(finish.message, sizeof finish.message, "%s", message);
    EXPECT_OK(hf_flow_note_finish(&tailer->rig->app, &finish, &fresh, &err), &err);
    assert_true(fresh);
    EXPECT_OK(hf_flow_finish(&tailer->rig->app, &finish.task, &err), &err);
}

/* The task's agent is not heard of while the other one is. */
static void fall_silent(struct rig *rig, size_t i)
{
    for (unsigned s = 0; s <= HF_AGENT_SILENT_MAX_S / 10 + 1; s++) {
        hf_server_heard_listen(rig->heard, 10000);
        hf_server_heard_note(rig->heard, HF_HEARD_MEMBERS, &rig->agents[1 - i]);
    }
}

/* ---- Tests ---- */

static void move_job(struct rig *rig, enum hf_job_action action)
{
    struct hf_error err;
    EXPECT_OK(hf_flow_move_job(&rig->app, &rig->job.id, action, &rig->job, &err), &err);
}

static void
test_the_oplog_of_a_restarted_job_is_another_chain_and_a_snapshot_is_wanted(void **state)
{
    struct rig rig;
    struct tailer first, second;
    char text[HF_RECORD_ERROR_BYTES];
    (void)state;
    rig_begin(&rig, false);
    tick(&rig);
    tailer_begin(&first, &rig);
    tailer_save(&first, 1, 5);
    tailer_put(&first, 6, 7); /* and not told of, before the tail is stopped */
    move_job(&rig, HF_JOB_STOP);
    tick(&rig);
    tailer_finish(&first, HF_ERR_CANCELLED, "cancelled");
    tick(&rig);
    tick(&rig);
    assert_int_equal(open_tails(&rig), 0);
    assert_string_equal(job_of(&rig).snapshot_wanted, "");
    struct hf_error err;
    EXPECT_OK(hf_flow_start_job(&rig.app, &rig.job.cluster, &rig.job, &err), &err);
    tick(&rig);
    assert_int_equal(open_tails(&rig), 1);
    tick(&rig);
    tailer_begin(&second, &rig);
    assert_int_equal(second.task.tail.start.cause, HF_CHAIN_RESUMED);
    assert_int_equal(second.task.tail.start.broken_after.increment, 7);
    tailer_save(&second, 12, 13);
    struct hf_head_record head = head_of(&rig);
    assert_string_equal(head.cause, "resumed");
    assert_int_equal(head.chain_first.increment, 12);
    assert_int_equal(events_of(&rig, HF_EVENT_OPLOG_GAP, text, sizeof text), 1);
    assert_non_null(strstr(text, "the job had been stopped"));
    assert_non_null(strstr(job_of(&rig).snapshot_wanted, "resumed"));
    tick(&rig);
    assert_int_equal(head_of(&rig).run, 1);
    tailer_end(&first);
    tailer_end(&second);
    rig_end(&rig);
}

static void test_a_started_job_has_one_tail_and_its_slices_move_the_head(void **state)
{
    struct rig rig;
    struct tailer tailer;
    struct hf_error err;
    (void)state;
    rig_begin(&rig, false);
    tick(&rig);
    tick(&rig);
    assert_int_equal(open_tails(&rig), 1);
    struct hf_head_record head = head_of(&rig);
    assert_string_equal(head.member, "m0:1"); /* the secondary */
    tailer_begin(&tailer, &rig);
    assert_int_equal(tailer.task.tail.start.cause, HF_CHAIN_FIRST);
    assert_false(tailer.task.keyring.has_seal_key);
    tailer_save(&tailer, 1, 5);
    tailer_save(&tailer, 6, 9);
    EXPECT_OK(tailer_tell(&tailer, &err), &err); /* the answer was lost */
    head = head_of(&rig);
    assert_int_equal(head.last.increment, 9);
    assert_int_equal(head.sequence, 9);
    assert_int_equal(head.slices, 2);
    assert_int_equal(head.lag_s, 3);
    assert_int_equal(head.lag_entries, 40);
    char text[HF_RECORD_ERROR_BYTES];
    assert_int_equal(events_of(&rig, HF_EVENT_OPLOG_GAP, text, sizeof text), 0);
    tick(&rig);
    assert_int_equal(open_tails(&rig), 1);
    tailer_end(&tailer);
    rig_end(&rig);
}

static void test_a_tail_moves_when_its_member_goes_and_goes_on_at_the_very_entry(void **state)
{
    struct rig rig;
    struct tailer first, second;
    (void)state;
    rig_begin(&rig, false);
    tick(&rig);
    tailer_begin(&first, &rig);
    tailer_save(&first, 1, 5);
    tailer_finish(&first, HF_ERR_UNAVAILABLE, "m0:1 does not answer");
    tick(&rig);
    struct hf_head_record head = head_of(&rig);
    assert_string_equal(head.member, "m1:1");
    assert_int_equal(open_tails(&rig), 1);
    tailer_begin(&second, &rig);
    assert_int_equal(second.task.tail.start.previous.increment, 5);
    assert_int_equal(second.task.tail.start.sequence, 5);
    assert_int_equal(second.task.tail.start.cause, HF_CHAIN_NONE);
    tailer_save(&second, 6, 7);
    assert_int_equal(head_of(&rig).last.increment, 7);
    tailer_end(&first);
    tailer_end(&second);
    rig_end(&rig);
}

static void test_a_silent_agent_loses_its_tail_and_what_it_brings_late_is_refused(void **state)
{
    struct rig rig;
    struct tailer first, second;
    struct hf_error err;
    (void)state;
    rig_begin(&rig, false);
    tick(&rig);
    tailer_begin(&first, &rig);
    tailer_save(&first, 1, 5);
    tick(&rig);
    fall_silent(&rig, 0);
    tick(&rig);
    tick(&rig);
    assert_string_equal(head_of(&rig).member, "m1:1");
    tailer_begin(&second, &rig);
    tailer_put(&first, 6, 9);
    EXPECT_ERROR(tailer_tell(&first, &err), HF_ERR_LOST, "has ended", &err);
    tailer_save(&second, 6, 7);
    assert_int_equal(head_of(&rig).last.increment, 7);
    tailer_end(&first);
    tailer_end(&second);
    rig_end(&rig);
}

static void test_a_slice_that_was_not_told_of_is_taken_up(void **state)
{
    struct rig rig;
    struct tailer first, second;
    (void)state;
    rig_begin(&rig, true);
    tick(&rig);
    tailer_begin(&first, &rig);
    tailer_save(&first, 1, 5);
    tailer_put(&first, 6, 8);
    tailer_put(&first, 9, 9);
    tailer_finish(&first, HF_ERR_LOST, "the agent began anew");
    tick(&rig);
    assert_int_equal(head_of(&rig).last.increment, 9);
    tailer_begin(&second, &rig);
    assert_int_equal(second.task.tail.start.previous.increment, 9);
    tailer_save(&second, 10, 11);
    assert_int_equal(head_of(&rig).sequence, 11);
    tailer_end(&first);
    tailer_end(&second);
    rig_end(&rig);
}

static void test_even_the_first_slice_is_taken_up(void **state)
{
    struct rig rig;
    struct tailer first;
    (void)state;
    rig_begin(&rig, false);
    tick(&rig);
    tailer_begin(&first, &rig);
    tailer_put(&first, 1, 5);
    tailer_finish(&first, HF_ERR_LOST, "the agent began anew");
    tick(&rig);
    struct hf_head_record head = head_of(&rig);
    assert_int_equal(head.last.increment, 5);
    assert_string_equal(head.cause, "first");
    tailer_end(&first);
    rig_end(&rig);
}

static void test_a_head_that_the_catalog_lost_is_found_in_the_store(void **state)
{
    struct rig rig;
    struct tailer first, second;
    struct hf_error err;
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    (void)state;
    rig_begin(&rig, true);
    tick(&rig);
    tailer_begin(&first, &rig);
    tailer_save(&first, 1, 5);
    tailer_save(&first, 6, 8);
    struct hf_head_record before = head_of(&rig);
    EXPECT_OK(hf_catalog_get(rig.app.catalog, HF_KIND_HEAD, hf_id_text(&rig.job.id).text, &document,
                             &err),
              &err);
    EXPECT_OK(
        hf_catalog_remove(rig.app.catalog, HF_KIND_HEAD, document.id, document.revision, &err),
        &err);
    tick(&rig);
    struct hf_head_record head = head_of(&rig);
    assert_int_equal(head.last.increment, 8);
    assert_int_equal(head.sequence, before.sequence);
    assert_string_equal(head.hash, before.hash);
    assert_string_equal(head.object, before.object);
    assert_string_equal(head.cause, "first");
    assert_int_equal(open_tails(&rig), 1); /* the old one is nobody's */
    EXPECT_ERROR(tailer_tell(&first, &err), HF_ERR_LOST, "", &err);
    tailer_begin(&second, &rig);
    tailer_save(&second, 9, 9);
    assert_int_equal(head_of(&rig).sequence, 9);
    tailer_end(&first);
    tailer_end(&second);
    rig_end(&rig);
}

static void test_a_lost_store_ends_the_range_with_that_cause(void **state)
{
    struct rig rig;
    struct tailer first, second;
    struct hf_error err;
    char text[HF_RECORD_ERROR_BYTES];
    (void)state;
    rig_begin(&rig, false);
    tick(&rig);
    tailer_begin(&first, &rig);
    tailer_save(&first, 1, 5);
    EXPECT_OK(hf_store_delete(rig.app.oplog_store, hf_str_of(hf_object_name_text(&first.name).text),
                              &err),
              &err);
    tailer_finish(&first, HF_ERR_LOST, "the agent began anew");
    tick(&rig);
    tailer_begin(&second, &rig);
    assert_int_equal(second.task.tail.start.cause, HF_CHAIN_STORE_LOST);
    assert_int_equal(second.task.tail.start.broken_after.increment, 5);
    tailer_save(&second, 8, 9);
    assert_int_equal(events_of(&rig, HF_EVENT_OPLOG_GAP, text, sizeof text), 1);
    assert_non_null(strstr(text, "storeLost"));
    assert_non_null(strstr(text, "100.5/1"));
    assert_non_null(strstr(job_of(&rig).snapshot_wanted, "storeLost"));
    tick(&rig); /* takes it */
    const struct hf_job_record job = job_of(&rig);
    assert_false(hf_id_is_none(&job.running));
    tailer_end(&first);
    tailer_end(&second);
    rig_end(&rig);
}

static void test_a_store_that_is_away_is_no_lost_one(void **state)
{
    struct rig rig;
    struct tailer first, second;
    struct hf_error err;
    struct hf_store *store, *empty;
    (void)state;
    rig_begin(&rig, true);
    tick(&rig);
    tailer_begin(&first, &rig);
    tailer_save(&first, 1, 5);
    store = rig.app.oplog_store;
    EXPECT_OK(hf_store_mem_create(&empty, &err), &err);
    rig.app.oplog_store = empty;
    first.name.last_optime.increment = 7;
    EXPECT_ERROR(tailer_tell(&first, &err), HF_ERR_UNAVAILABLE, "has no mark", &err);
    assert_int_equal(open_tails(&rig), 1);
    tailer_finish(&first, HF_ERR_UNAVAILABLE, "the store does not answer");
    tick(&rig);
    assert_int_equal(open_tails(&rig), 0);
    assert_non_null(strstr(head_of(&rig).problem, "has no mark"));
    assert_string_equal(head_of(&rig).next_cause, "");
    rig.app.oplog_store = store;
    tick(&rig);
    tailer_begin(&second, &rig);
    assert_int_equal(second.task.tail.start.previous.increment, 5);
    hf_store_close(empty);
    tailer_end(&first);
    tailer_end(&second);
    rig_end(&rig);
}

static void test_a_forged_slice_is_refused_and_its_tail_ends(void **state)
{
    struct rig rig;
    struct tailer liar, honest;
    struct hf_error err;
    char text[HF_RECORD_ERROR_BYTES];
    (void)state;
    rig_begin(&rig, false);
    tick(&rig);
    tailer_begin(&liar, &rig);
    tailer_save(&liar, 1, 5);
    /* Not of the job's key. */
    struct hf_keyring other = rig.ring;
    other.hash_key[0] ^= 1;
    hf_slicer_destroy(liar.slicer);
    const struct hf_slicer_options options = {.keyring = &other,
                                              .writer = liar.task.tail.writer,
                                              .set_name = SET,
                                              .member = liar.task.tail.member,
                                              .start = hf_head_point(&(struct hf_head_record){
                                                  .last = head_of(&rig).last, .sequence = 5})};
    struct hf_slicer_options forged = options;
    memset(forged.start.hash.bytes, 1, sizeof forged.start.hash.bytes);
    EXPECT_OK(hf_slicer_create(&forged, &liar.slicer, &err), &err);
    tailer_put(&liar, 6, 9);
    EXPECT_ERROR(tailer_tell(&liar, &err), HF_ERR_CORRUPT, "", &err);
    assert_int_equal(head_of(&rig).last.increment, 5);
    assert_int_equal(open_tails(&rig), 0);
    assert_int_equal(events_of(&rig, HF_EVENT_SLICE_REFUSED, text, sizeof text), 1);
    assert_non_null(strstr(text, "m0:1"));
    assert_int_equal(slices_left(&rig), 1); /* what was refused is gone */
    tick(&rig);
    assert_string_equal(head_of(&rig).member, "m1:1");
    tailer_begin(&honest, &rig);
    tailer_save(&honest, 6, 7);
    assert_int_equal(head_of(&rig).last.increment, 7);
    tailer_end(&liar);
    tailer_end(&honest);
    rig_end(&rig);
}

/* Sound, of the job's key, and not of the member that the tail is of: it must not come in by the back door either. */
static void test_a_slice_of_another_member_is_refused_and_never_taken_up(void **state)
{
    struct rig rig;
    struct tailer liar, honest;
    struct hf_error err;
    (void)state;
    rig_begin(&rig, false);
    tick(&rig);
    tailer_begin(&liar, &rig);
    tailer_save(&liar, 1, 5);
    const struct hf_slicer_options options = {.keyring = &rig.ring,
                                              .writer = liar.task.tail.writer,
                                              .set_name = SET,
                                              .member = "elsewhere:1",
                                              .start = hf_slicer_point(liar.slicer)};
    hf_slicer_destroy(liar.slicer);
    EXPECT_OK(hf_slicer_create(&options, &liar.slicer, &err), &err);
    tailer_put(&liar, 6, 9);
    assert_int_equal(slices_left(&rig), 2);
    EXPECT_ERROR(tailer_tell(&liar, &err), HF_ERR_INVALID, "elsewhere:1", &err);
    assert_int_equal(slices_left(&rig), 1);
    tick(&rig);
    assert_int_equal(head_of(&rig).last.increment, 5);
    tailer_begin(&honest, &rig);
    tailer_save(&honest, 6, 7);
    /* A name is easily said: what was taken before stays, whoever refers to it. */
    liar.name = honest.name;
    EXPECT_ERROR(tailer_tell(&liar, &err), HF_ERR_LOST, "", &err);
    assert_int_equal(slices_left(&rig), 2);
    tailer_end(&liar);
    tailer_end(&honest);
    rig_end(&rig);
}

static void test_a_slice_that_was_never_put_is_refused(void **state)
{
    struct rig rig;
    struct tailer liar;
    struct hf_error err;
    (void)state;
    rig_begin(&rig, false);
    tick(&rig);
    tailer_begin(&liar, &rig);
    tailer_save(&liar, 1, 5);
    liar.name.last_optime.increment = 99;
    EXPECT_ERROR(tailer_tell(&liar, &err), HF_ERR_NOT_FOUND, "", &err);
    assert_int_equal(open_tails(&rig), 0);
    tailer_end(&liar);
    rig_end(&rig);
}

static void test_of_two_servers_tails_one_goes_on(void **state)
{
    struct rig rig;
    struct tailer ours, theirs;
    struct hf_error err;
    uint64_t revision = 0;
    (void)state;
    rig_begin(&rig, false);
    tick(&rig);
    tailer_begin(&ours, &rig);
    tailer_save(&ours, 1, 5);
    /* Another server of the same catalog names a tail of its own. */
    struct hf_task_record task;
    EXPECT_OK(hf_keep_task_get(rig.app.catalog, &ours.task.id, &task, NULL, &err), &err);
    task.id = fixed_id(0x51);
    task.writer = fixed_id(0x52);
    EXPECT_OK(hf_keep_task_insert(rig.app.catalog, &task, &err), &err);
    struct hf_head_record head;
    EXPECT_OK(hf_keep_head_get(rig.app.catalog, &rig.job.id, &head, &revision, &err), &err);
    head.task = task.id;
    EXPECT_OK(hf_keep_head_replace(rig.app.catalog, &head, &revision, &err), &err);
    tailer_begin(&theirs, &rig);
    tailer_put(&ours, 6, 9);
    EXPECT_ERROR(tailer_tell(&ours, &err), HF_ERR_CONFLICT, "another tail", &err);
    tailer_save(&theirs, 6, 7);
    assert_int_equal(head_of(&rig).last.increment, 7);
    assert_int_equal(open_tails(&rig), 2);
    tick(&rig);
    assert_int_equal(open_tails(&rig), 1);
    EXPECT_ERROR(tailer_tell(&ours, &err), HF_ERR_LOST, "", &err);
    tailer_save(&theirs, 8, 8);
    tailer_end(&ours);
    tailer_end(&theirs);
    rig_end(&rig);
}

static void test_the_keys_go_to_the_store_of_the_oplog_before_the_first_slice(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_keyring ring;
    (void)state;
    rig_begin(&rig, true);
    assert_int_equal(hf_job_keys_load(rig.app.oplog_store, &rig.app.key, &rig.job.id, &ring, &err),
                     HF_ERR_NOT_FOUND);
    tick(&rig);
    EXPECT_OK(hf_job_keys_load(rig.app.oplog_store, &rig.app.key, &rig.job.id, &ring, &err), &err);
    assert_memory_equal(ring.hash_key, rig.ring.hash_key, sizeof ring.hash_key);
    rig_end(&rig);
}

static void test_a_job_that_is_not_started_has_no_tail(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_job_record job;
    struct hf_task_record task;
    uint64_t revision = 0;
    (void)state;
    rig_begin(&rig, false);
    tick(&rig);
    EXPECT_OK(hf_keep_job_get(rig.app.catalog, &rig.job.id, &job, &revision, &err), &err);
    job.state = HF_JOB_STOPPED;
    EXPECT_OK(hf_keep_job_replace(rig.app.catalog, &job, &revision, &err), &err);
    tick(&rig);
    struct hf_id id = head_of(&rig).task;
    EXPECT_OK(hf_keep_task_get(rig.app.catalog, &id, &task, NULL, &err), &err);
    assert_true(task.cancelled);
    rig_end(&rig);
}

static void complete_snapshot(struct rig *rig, uint8_t id, uint32_t checkpoint)
{
    struct hf_error err;
    struct hf_snapshot_record record = {
        .id = fixed_id(id),
        .job = rig->job.id,
        .project = rig->job.project,
        .cluster = rig->job.cluster,
        .store = rig->job.store,
        .state = HF_SNAPSHOT_COMPLETE,
        .capture = id,
        .writer = fixed_id(id),
        .checkpoint = {.seconds = 100, .increment = checkpoint, .term = -1},
        .oplog_end = {.seconds = 100, .increment = checkpoint + 1, .term = 1},
        .committed = {.seconds = 100, .increment = checkpoint + 1, .term = 1}};
    (void)snprintf(record.set_name, sizeof record.set_name, SET);
    EXPECT_OK(hf_keep_snapshot_insert(rig->app.catalog, &record, &err), &err);
}

/* Its copy is certain up to (100, checkpoint + 1). */
static void expect_wanted_behind(uint32_t checkpoint, bool wanted)
{
    struct rig rig;
    struct tailer tailer;
    rig_begin(&rig, true);
    complete_snapshot(&rig, 1, checkpoint);
    tick(&rig);
    tailer_begin(&tailer, &rig);
    assert_string_equal(job_of(&rig).snapshot_wanted, "");
    tailer_save(&tailer, 5, 9);
    tick(&rig);
    assert_int_equal(strstr(job_of(&rig).snapshot_wanted, "newest snapshot") != NULL, wanted);
    assert_true(head_of(&rig).base_seen);
    tailer_end(&tailer);
    rig_end(&rig);
}

static void test_a_first_chain_behind_a_snapshot_asks_for_another_one(void **state)
{
    (void)state;
    expect_wanted_behind(3, true); /* certain up to 4, and nobody knows what came between */
    expect_wanted_behind(4, false);
}

static void test_a_first_chain_without_a_snapshot_asks_for_none(void **state)
{
    struct rig rig;
    struct tailer tailer;
    (void)state;
    rig_begin(&rig, true);
    tick(&rig);
    tailer_begin(&tailer, &rig);
    tailer_save(&tailer, 1, 5);
    tick(&rig);
    assert_string_equal(job_of(&rig).snapshot_wanted, "");
    tailer_end(&tailer);
    rig_end(&rig);
}

static uint64_t prune(struct rig *rig)
{
    struct hf_error err;
    uint64_t deleted = 99;
    EXPECT_OK(hf_flow_prune(&rig->app, &rig->job.id, &deleted, &err), &err);
    return deleted;
}

static void test_old_slices_go_but_for_what_the_base_of_the_window_needs(void **state)
{
    struct rig rig;
    struct tailer tailer;
    struct hf_error err;
    uint64_t revision = 0;
    (void)state;
    rig_begin(&rig, true);
    tick(&rig);
    tailer_begin(&tailer, &rig);
    tailer_save(&tailer, 1, 5);
    tailer_save(&tailer, 6, 9);
    tailer_save(&tailer, 10, 14);
    tailer_save(&tailer, 15, 20);
    complete_snapshot(&rig, 1, 7);
    rig.app.oplog_kept_s = 0;
    assert_int_equal(prune(&rig), 0);
    rig.app.oplog_kept_s = 500;
    assert_int_equal(prune(&rig), 0); /* all of it lies within */
    rig.app.oplog_kept_s = 50;
    assert_int_equal(prune(&rig), 1); /* the base needs the others */
    assert_int_equal(slices_left(&rig), 3);
    complete_snapshot(&rig, 2, 11);
    /* A restore that reads from the second slice on holds it, and lets go of it. */
    struct hf_restore_record restore = {.id = fixed_id(0x41),
                                        .snapshot = fixed_id(1),
                                        .job = rig.job.id,
                                        .project = rig.job.project,
                                        .cluster = rig.job.cluster,
                                        .state = HF_RESTORE_IN_PROGRESS,
                                        .lease_from = {.seconds = 100, .increment = 8, .term = 1}};
    EXPECT_OK(hf_keep_restore_insert(rig.app.catalog, &restore, &err), &err);
    assert_int_equal(prune(&rig), 0);
    EXPECT_OK(hf_keep_restore_get(rig.app.catalog, &restore.id, &restore, &revision, &err), &err);
    restore.state = HF_RESTORE_FINISHED;
    EXPECT_OK(hf_keep_restore_replace(rig.app.catalog, &restore, &revision, &err), &err);
    assert_int_equal(prune(&rig), 1);
    assert_int_equal(slices_left(&rig), 2);
    tailer_save(&tailer, 21, 22); /* the tail goes on */
    assert_int_equal(head_of(&rig).sequence, 22);
    tailer_end(&tailer);
    rig_end(&rig);
}

/* ---- Rounds ---- */

#define MANY 600 /* jobs: two rounds, and a part of one */

static size_t round_of(struct rig *rig, enum hf_round_of which, unsigned seen[MANY])
{
    struct hf_error err;
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};
    EXPECT_OK(hf_rounds_jobs(&rig->app, which, HF_ROUND_JOBS, &jobs, &err), &err);
    for (size_t i = 0; i < jobs.count; i++) {
        if (!hf_id_equal(&jobs.items[i].id, &rig->job.id)) {
            seen[jobs.items[i].created_s]++;
        }
    }
    return jobs.count;
}

static void test_a_round_costs_the_same_however_many_jobs_there_are(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_rounds rounds;
    struct hf_id woken = {{0}};
    unsigned seen[MANY] = {0};
    (void)state;
    rig_begin(&rig, false);
    for (unsigned i = 0; i < MANY; i++) {
        struct hf_job_record job = rig.job;
        job.id = fixed_id(0);
        job.id.bytes[4] = (uint8_t)(i >> 8);
        job.id.bytes[5] = (uint8_t)i;
        job.created_s = i;
        woken = job.id;
        EXPECT_OK(hf_keep_job_insert(rig.app.catalog, &job, &err), &err);
    }
    assert_int_equal(round_of(&rig, HF_ROUND_TAILS, seen), MANY + 1); /* without rounds: all */
    memset(seen, 0, sizeof seen);
    hf_rounds_init(&rounds);
    rig.app.rounds = &rounds;
    assert_int_equal(round_of(&rig, HF_ROUND_TAILS, seen), HF_ROUND_JOBS);
    assert_false(hf_rounds_is_over(&rig.app, HF_ROUND_TAILS));
    assert_int_equal(round_of(&rig, HF_ROUND_TAILS, seen), HF_ROUND_JOBS);
    assert_int_equal(round_of(&rig, HF_ROUND_TAILS, seen), MANY + 1 - 2 * HF_ROUND_JOBS);
    assert_true(hf_rounds_is_over(&rig.app, HF_ROUND_TAILS));
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(seen[i], 1);
    }
    /* One that somebody waits for comes at once, in each work's next round and once; in its turn it comes as ever. */
    hf_rounds_wake(&rounds, &woken);
    hf_rounds_wake(&rounds, &woken);
    assert_int_equal(round_of(&rig, HF_ROUND_TAILS, seen), HF_ROUND_JOBS + 1);
    assert_int_equal(seen[MANY - 1], 2);
    assert_int_equal(round_of(&rig, HF_ROUND_TAILS, seen), HF_ROUND_JOBS);
    hf_rounds_wake(&rounds, &woken);
    assert_int_equal(round_of(&rig, HF_ROUND_TAILS, seen), MANY + 1 - 2 * HF_ROUND_JOBS);
    assert_int_equal(seen[MANY - 1], 3);
    assert_int_equal(round_of(&rig, HF_ROUND_MOVES, seen), HF_ROUND_JOBS + 1);
    assert_int_equal(seen[MANY - 1], 4);
    rig.app.rounds = NULL;
    hf_rounds_fini(&rounds);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_the_oplog_of_a_restarted_job_is_another_chain_and_a_snapshot_is_wanted),
        cmocka_unit_test(test_a_started_job_has_one_tail_and_its_slices_move_the_head),
        cmocka_unit_test(test_a_tail_moves_when_its_member_goes_and_goes_on_at_the_very_entry),
        cmocka_unit_test(test_a_silent_agent_loses_its_tail_and_what_it_brings_late_is_refused),
        cmocka_unit_test(test_a_slice_that_was_not_told_of_is_taken_up),
        cmocka_unit_test(test_even_the_first_slice_is_taken_up),
        cmocka_unit_test(test_a_head_that_the_catalog_lost_is_found_in_the_store),
        cmocka_unit_test(test_a_lost_store_ends_the_range_with_that_cause),
        cmocka_unit_test(test_a_store_that_is_away_is_no_lost_one),
        cmocka_unit_test(test_a_forged_slice_is_refused_and_its_tail_ends),
        cmocka_unit_test(test_a_slice_of_another_member_is_refused_and_never_taken_up),
        cmocka_unit_test(test_a_slice_that_was_never_put_is_refused),
        cmocka_unit_test(test_of_two_servers_tails_one_goes_on),
        cmocka_unit_test(test_the_keys_go_to_the_store_of_the_oplog_before_the_first_slice),
        cmocka_unit_test(test_a_job_that_is_not_started_has_no_tail),
        cmocka_unit_test(test_a_first_chain_behind_a_snapshot_asks_for_another_one),
        cmocka_unit_test(test_a_first_chain_without_a_snapshot_asks_for_none),
        cmocka_unit_test(test_old_slices_go_but_for_what_the_base_of_the_window_needs),
        cmocka_unit_test(test_a_round_costs_the_same_however_many_jobs_there_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
