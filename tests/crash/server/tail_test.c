/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oplog of a job from its first slice on: saved, merged, broken, refused, pruned, damaged and whole again. Server and
 * agent die together at a fault point of the tail, of pruning, of merging or of a check, once and once more, and others
 * go on. Whatever was cut off:
 *
 * - the chains hold the source's entries, none missing, none twice, and the catalog's head is the store's newest;
 * - what the server has acknowledged is there;
 * - what a restore leases and what a range in the window promised is there;
 * - a gap has its event and its snapshot, and what was saved behind it can be restored;
 * - no slice is left that no chain needs.
 *
 * The agent's tail is played here, with its points where agent/tail*.c has them: the agent itself dies at them in
 * test_world_tail.py.
 *
 * In make test a share of the deaths (by the seed), all of them in a soak.
 */
#include "base/fault.h"
#include "crash/server/life.h"
#include "oplog/merge.h"
#include "oplog/reader.h"
#include "server/flow_check.h"
#include "server/flow_merge.h"
#include "server/flow_tail.h"
#include "server/points.h"
#include "support/oplog_kit.h"
#include "support/run.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define LIMIT_S 120
#define SHORT_DEATHS 4
#define NTH_MAX 16 /* so many passes of one point; of more, as many that are spread evenly */
#define TICKS_MAX 60
#define ENTRIES_MAX 512

/* Where a death is put. The run of a restarted job is begun in states_test.c. */
static const char *const points[] = {
    "agent.tail.begun",       "agent.tail.read",       "agent.tail.closed",
    "agent.tail.put",         "agent.tail.told",       "agent.tail.broken",
    "server.tail.named",      "server.tail.made",      "server.tail.caught_up",
    "server.tail.slice_read", "server.tail.refused",   "server.tail.released",
    "server.tail.gap_told",   "server.tail.base_seen", "server.tail.snapshot_wanted",
    "server.tail.head_moved", "server.prune.deleted",  "server.check.read",
    "server.check.told",      "server.check.wanted",   "server.check.kept",
    "oplog.merge.put",        "oplog.merge.written",   "oplog.merge.deleted",
};
#define POINTS HF_ARRAY_LEN(points)

enum phase { SAVED, MANY, MERGED, BROKEN, REFUSED, PRUNED, RELEASED, CHECKED, MENDED, PHASES };

/* The source's oplog is 1 to OLD_LAST, and then, once it has rolled over, from NEW_FIRST on. */
#define BASE_AT 6 /* of the first snapshot, about */
#define OLD_LAST (BASE_AT + HF_MERGE_MANY + 14)
#define NEW_FIRST (OLD_LAST + 20)
#define LEASED_FROM (OLD_LAST - 8)
#define WINDOW_S 150

struct story {       /* shared with the children */
    size_t done;     /* phases */
    uint32_t newest; /* entry of the source */
    uint32_t acked;  /* the server has said that it has it */
    bool promised[ENTRIES_MAX];
    uint64_t slices_before;
    char damaged[HF_OBJECT_NAME_BYTES];
    uint8_t damaged_byte;
    uint64_t passes[POINTS];
    uint64_t deaths, lives;
};

struct fixture {
    char *dir, *world, *source; /* owned */
    struct story *story;
    uint64_t seed;
};

/* The agent's tail, as long as the process lives. */
struct tail {
    struct hf_id task;
    struct hf_task message;
    struct hf_slicer *slicer;
    uint32_t next;
};

static struct hf_server_app *app_of(struct life *life)
{
    return &life->server.app;
}

static struct hf_head_record head_of(struct life *life)
{
    struct hf_error err;
    struct hf_head_record head;
    struct hf_id id = life->job.id;
    LIFE_OK(hf_keep_head_get(app_of(life)->catalog, &id, &head, NULL, &err), &err);
    return head;
}

/* ---- The source ---- */

static struct hf_optime optime_of(uint32_t i)
{
    return (struct hf_optime){.seconds = 100000 + 10 * i, .increment = i, .term = 1};
}

static void entry_of(uint32_t i, struct hf_buf *out)
{
    const struct made_entry made = {.optime = optime_of(i), .op = "i", .ns = "a.b", .id = i};
    make_entry(&made, out);
}

/* ---- The agent's tail ---- */

static void tell_end(struct life *life, const struct hf_task_record *task, enum hf_err code,
                     const char *why)
{
    struct hf_error err;
    struct hf_msg_finish finish = {
        .task = task->id, .attempt = task->attempt, .kind = task->kind, .code = code};
    (void)snprintf(finish.message, sizeof finish.message, "%s", why);
    LIFE_CHECK(life_tell(life, &finish));
    LIFE_OK(hf_agent_state_forget_task(life->state, &task->id, &err), &err);
}

static void tail_drop(struct tail *tail)
{
    if (tail->slicer != NULL) {
        hf_slicer_destroy(tail->slicer);
        hf_task_fini(&tail->message);
    }
    *tail = (struct tail){.slicer = NULL};
}

static void tail_begin(struct life *life, struct story *story, const struct hf_task_record *record,
                       struct tail *tail)
{
    struct hf_error err;
    tail_drop(tail);
    tail->task = record->id;
    tail->message.id = record->id;
    LIFE_OK(hf_flow_task_message(app_of(life), record, &tail->message, &err), &err);
    LIFE_OK(hf_agent_state_note_task(life->state, &tail->message, &err), &err);
    const struct hf_task_tail *task = &tail->message.tail;
    LIFE_OK(hf_chain_point_check(&task->start, &err), &err);
    const struct hf_slicer_options options = {.keyring = &tail->message.keyring,
                                              .writer = task->writer,
                                              .set_name = LIFE_SET,
                                              .member = task->member,
                                              .fcv = "4.4",
                                              .start = task->start};
    LIFE_OK(hf_slicer_create(&options, &tail->slicer, &err), &err);
    LIFE_OK(HF_FAULT("agent.tail.begun", &err), &err);
    LIFE_CHECK(!hf_optime_is_none(&task->start.previous) || task->start.cause == HF_CHAIN_FIRST);
    tail->next = hf_optime_is_none(&task->start.previous) ? 1 : task->start.previous.increment + 1;
    /* What is acknowledged is never asked for again. */
    LIFE_CHECK(tail->next > story->acked);
}

static void tail_add(struct tail *tail, uint32_t count)
{
    struct hf_error err;
    for (uint32_t i = 0; i < count; i++) {
        HF_CLEANUP(hf_buf_fini) struct hf_buf entry = HF_BUF_INIT((size_t)1 << 20);
        bool taken = false;
        entry_of(tail->next++, &entry);
        LIFE_OK(hf_slicer_add(tail->slicer, hf_buf_bytes(&entry), 0, &taken, &err), &err);
        LIFE_CHECK(taken);
    }
}

/* Puts and tells what the slicer has; flip: with a bit that is wrong. */
static enum hf_err tail_send(struct life *life, struct story *story,
                             const struct hf_task_record *record, struct tail *tail, bool flip)
{
    struct hf_error err;
    struct hf_object_name name;
    HF_CLEANUP(hf_buf_fini) struct hf_buf object = HF_BUF_INIT(HF_SLICE_OBJECT_MAX_BYTES);
    LIFE_OK(hf_slicer_close(tail->slicer, &name, &object, &err), &err);
    LIFE_OK(HF_FAULT("agent.tail.closed", &err), &err);
    if (flip) {
        object.data[object.len - 100] ^= 4;
    }
    LIFE_OK(hf_store_put(app_of(life)->oplog_store, hf_str_of(hf_object_name_text(&name).text),
                         hf_buf_bytes(&object), NULL, &err),
            &err);
    LIFE_OK(HF_FAULT("agent.tail.put", &err), &err);
    struct hf_msg_slice slice = {
        .agent = record->agent, .task = record->id, .attempt = record->attempt};
    (void)snprintf(slice.object, sizeof slice.object, "%s", hf_object_name_text(&name).text);
    enum hf_err code = hf_flow_tail_slice(app_of(life), &slice, &err);
    if (code == HF_ERR_OK) {
        LIFE_CHECK(!flip);
        story->acked = name.last_optime.increment;
        LIFE_OK(HF_FAULT("agent.tail.told", &err), &err);
    }
    return code;
}

/* Up to where the source is now; small slices. */
static void tail_run(struct life *life, struct story *story, const struct hf_task_record *record,
                     struct tail *tail)
{
    struct hf_error err;
    while (tail->next <= story->newest) {
        uint32_t there = tail->next <= OLD_LAST && story->newest > OLD_LAST
                             ? OLD_LAST - tail->next + 1
                             : story->newest - tail->next + 1;
        LIFE_OK(HF_FAULT("agent.tail.read", &err), &err);
        if (tail->next > OLD_LAST && tail->next < NEW_FIRST) {
            hf_slicer_break(tail->slicer, HF_CHAIN_ROLLED_OVER, "4.4");
            tail->next = NEW_FIRST;
            LIFE_OK(HF_FAULT("agent.tail.broken", &err), &err);
            there = story->newest - tail->next + 1;
        }
        tail_add(tail, story->newest > OLD_LAST && there > 1 ? 2 : 1);
        if (tail_send(life, story, record, tail, false) != HF_ERR_OK) {
            return;
        }
    }
}

/* ---- A beat of both ---- */

/* The one open task of a tail; false: there is none. */
static bool open_tail(struct life *life, struct hf_task_record *out)
{
    struct hf_error err;
    struct hf_head_record head;
    struct hf_id id = life->job.id;
    return hf_keep_head_get(app_of(life)->catalog, &id, &head, NULL, &err) == HF_ERR_OK &&
           !hf_id_is_none(&head.task) &&
           hf_keep_task_get(app_of(life)->catalog, &head.task, out, NULL, &err) == HF_ERR_OK &&
           (out->state == HF_TASK_WAITING || out->state == HF_TASK_RUNNING);
}

/* Tails that failed are waited behind; nobody does here. */
static void make_haste(struct life *life)
{
    struct hf_error err;
    struct hf_head_record head;
    struct hf_id id = life->job.id;
    uint64_t revision = 0;
    if (hf_keep_head_get(app_of(life)->catalog, &id, &head, &revision, &err) == HF_ERR_OK &&
        head.failures > 1) {
        head.failures = 1;
        LIFE_OK(hf_keep_head_replace(app_of(life)->catalog, &head, &revision, &err), &err);
    }
}

static void work_on(struct life *life, const struct hf_task_record *record)
{
    struct hf_error err;
    struct hf_task message = {.id = record->id};
    if (record->kind != HF_TASK_TAIL &&
        (record->state == HF_TASK_WAITING || record->state == HF_TASK_RUNNING) &&
        hf_flow_task_message(app_of(life), record, &message, &err) == HF_ERR_OK) {
        life->newest = head_of(life).last;
        life_do_task(life, &message);
        hf_task_fini(&message);
    }
}

static void beat(struct life *life, struct story *story, struct tail *tail)
{
    struct hf_error err;
    const struct hf_catalog_query all = {.limit = 1000};
    HF_CLEANUP(hf_keep_tasks_fini) struct hf_keep_tasks tasks = {0};
    struct hf_task_record record;
    make_haste(life);
    LIFE_OK(hf_flow_resume(app_of(life), &err), &err);
    LIFE_OK(hf_flow_tail_tick(app_of(life), &err), &err);
    if (open_tail(life, &record)) {
        if (!hf_id_equal(&tail->task, &record.id)) {
            tail_begin(life, story, &record, tail);
        }
        tail_run(life, story, &record, tail);
    }
    LIFE_OK(hf_keep_task_find(app_of(life)->catalog, &all, &tasks, &err), &err);
    for (size_t i = 0; i < tasks.count; i++) {
        work_on(life, &tasks.items[i]);
    }
}

/* ---- What must be ---- */

static struct hf_points *points_of(struct life *life)
{
    struct hf_error err;
    struct hf_points *found = NULL;
    struct hf_id id = life->job.id;
    LIFE_OK(hf_points_load(app_of(life), &id, &found, &err), &err);
    return found;
}

static bool is_promised(const struct hf_points *found, uint32_t i)
{
    const struct hf_target target = {.kind = HF_TARGET_TIMESTAMP,
                                     .seconds = optime_of(i).seconds,
                                     .increment = optime_of(i).increment};
    for (size_t k = 0; k < found->ranges.count; k++) {
        if (hf_range_has(&found->ranges.items[k], &target)) {
            return true;
        }
    }
    return false;
}

/* Every entry of the chain is the source's, and each comes behind the one before. Marks what was seen. */
static void read_chain(const struct hf_points *found, size_t chain, uint8_t *seen)
{
    struct hf_error err;
    struct hf_oplog_entry entry;
    HF_CLEANUP(hf_chain_reader_close) struct hf_chain_reader *reader = NULL;
    const struct hf_chain_reader_options options = {
        .chains = &found->chains, .chain = chain, .reader = found->reader};
    bool more = true;
    uint32_t i = found->chains.items[chain].first.increment;
    LIFE_OK(hf_chain_reader_open(&options, &reader, &err), &err);
    for (;; i++) {
        HF_CLEANUP(hf_buf_fini) struct hf_buf expected = HF_BUF_INIT((size_t)1 << 20);
        LIFE_OK(hf_chain_reader_next(reader, &entry, &more, &err), &err);
        if (!more) {
            break;
        }
        entry_of(i, &expected);
        if (entry.bytes.len != expected.len ||
            memcmp(entry.bytes.data, expected.data, expected.len) != 0) {
            LIFE_FAIL("entry %u is another one: %s", i, hf_optime_text(&entry.optime).text);
        }
        LIFE_CHECK(i < ENTRIES_MAX);
        seen[i]++;
    }
    LIFE_CHECK(i == found->chains.items[chain].last.increment + 1);
}

static const struct hf_chain *chain_with(const struct hf_points *found, uint32_t i)
{
    const struct hf_optime at = optime_of(i);
    for (size_t k = 0; k < found->chains.count; k++) {
        const struct hf_chain *one = &found->chains.items[k];
        if (hf_optime_compare_ts(&one->first, &at) <= 0 &&
            hf_optime_compare_ts(&at, &one->last) <= 0) {
            return one;
        }
    }
    LIFE_FAIL("no chain has entry %u", i);
}

/* The catalog's head is the end of the store's newest chain, which has all that was acknowledged. */
static void expect_head(struct life *life, const struct hf_points *found, const struct story *story)
{
    const struct hf_head_record head = head_of(life);
    const struct hf_chain *chain = chain_with(found, head.last.increment);
    struct hf_hash hash;
    LIFE_CHECK(hf_hex_decode(hf_str_of(head.hash), hash.bytes, sizeof hash.bytes));
    LIFE_CHECK(head.last.increment >= story->acked);
    LIFE_CHECK(hf_optime_equal(&chain->last, &head.last));
    LIFE_CHECK(hf_hash_equal(&chain->hash_last, &hash));
}

/* Of a store in which nothing is damaged. from: the oldest entry that must be there. */
static void expect_whole(struct life *life, const struct story *story, uint32_t from)
{
    struct hf_points *found = points_of(life);
    uint8_t seen[ENTRIES_MAX] = {0};
    bool broken = story->newest > OLD_LAST;
    for (size_t i = 0; i < found->chains.count; i++) {
        read_chain(found, i, seen);
    }
    for (uint32_t i = from; i <= story->newest; i++) {
        bool there = i <= OLD_LAST || i >= NEW_FIRST;
        if (seen[i] != (there ? 1 : 0)) {
            LIFE_FAIL("entry %u is there %u times", i, (unsigned)seen[i]);
        }
    }
    if (from <= OLD_LAST && found->chains.count != (broken ? 2u : 1u)) {
        LIFE_FAIL("%zu chains", found->chains.count);
    }
    if (broken && from <= OLD_LAST) {
        const struct hf_chain *old = chain_with(found, OLD_LAST);
        LIFE_CHECK(old->end == HF_CHAIN_CAUSE && old->end_cause == HF_CHAIN_ROLLED_OVER);
    }
    for (size_t i = 0; i < found->chains.link_count; i++) {
        const struct hf_slice_link *link = &found->chains.links[i];
        if (link->problem != NULL || !link->used) {
            LIFE_FAIL("an orphan: %s: %s", hf_object_name_text(&link->name).text,
                      link->problem == NULL ? "no chain needs it" : link->problem);
        }
    }
    expect_head(life, found, story);
    hf_points_destroy(found);
}

static size_t events_of(struct life *life, const char *type)
{
    struct hf_error err;
    HF_CLEANUP(hf_keep_events_fini) struct hf_keep_events events = {0};
    const struct hf_catalog_query all = {.index = "createdS", .limit = 1000};
    size_t count = 0;
    LIFE_OK(hf_keep_event_find(app_of(life)->catalog, &all, &events, &err), &err);
    for (size_t i = 0; i < events.count; i++) {
        count += strcmp(events.items[i].type, type) == 0;
    }
    return count;
}

/* ---- The phases ---- */

/* The newest entry is saved, and can be restored: where a base was lacking, one was taken by itself. */
static void reach(struct life *life, struct story *story, struct tail *tail, uint32_t newest)
{
    struct hf_error err;
    story->newest = newest > story->newest ? newest : story->newest;
    for (unsigned i = 0; i < TICKS_MAX; i++) {
        struct hf_head_record head;
        struct hf_id id = life->job.id;
        beat(life, story, tail);
        if (hf_keep_head_get(app_of(life)->catalog, &id, &head, NULL, &err) == HF_ERR_OK &&
            head.last.increment == story->newest && hf_id_is_none(&head.gap) &&
            (head.base_seen || story->newest > OLD_LAST) &&
            life_job(life).snapshot_wanted[0] == '\0') {
            struct hf_points *found = points_of(life);
            bool is = is_promised(found, story->newest);
            hf_points_destroy(found);
            if (is) {
                return;
            }
        }
    }
    const struct hf_job_record job = life_job(life);
    const struct hf_head_record head = head_of(life);
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    life_snapshots(life, &snapshots);
    for (size_t i = 0; i < snapshots.count; i++) {
        (void)fprintf(stderr, "snapshot %s of %s, created %llu, wanted %llu: %s\n",
                      hf_snapshot_state_word(snapshots.items[i].state),
                      hf_optime_text(&snapshots.items[i].committed).text,
                      (unsigned long long)snapshots.items[i].created_s,
                      (unsigned long long)job.wanted_s, snapshots.items[i].error);
    }
    struct hf_points *found = points_of(life);
    for (size_t i = 0; i < found->ranges.count; i++) {
        (void)fprintf(
            stderr, "range %s to %s: %s\n", hf_optime_text(&found->ranges.items[i].start).text,
            hf_optime_text(&found->ranges.items[i].end).text, found->ranges.items[i].end_text);
    }
    hf_points_destroy(found);
    LIFE_FAIL("entry %u cannot be restored; head %s: %s; wanted: %s", story->newest,
              hf_optime_text(&head.last).text, head.problem, job.snapshot_wanted);
}

/* Nobody wants a job's first snapshot by itself. */
static void take_first(struct life *life)
{
    struct hf_error err;
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    struct hf_snapshot_record taken;
    const struct hf_flow_wish wish = {
        .project = app_of(life)->first_project, .set_name = LIFE_SET, .description = "1"};
    life_snapshots(life, &snapshots);
    if (snapshots.count == 0) {
        LIFE_OK(hf_flow_take(app_of(life), &wish, &taken, &err), &err);
    }
}

/* What is asked for in this second was not taken in it before. */
static void age_snapshots(struct life *life)
{
    struct hf_error err;
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    life_snapshots(life, &snapshots);
    for (size_t i = 0; i < snapshots.count; i++) {
        struct hf_snapshot_record one;
        uint64_t revision = 0;
        LIFE_OK(hf_keep_snapshot_get(app_of(life)->catalog, &snapshots.items[i].id, &one, &revision,
                                     &err),
                &err);
        one.created_s = 1000;
        LIFE_OK(hf_keep_snapshot_replace(app_of(life)->catalog, &one, &revision, &err), &err);
    }
}

static void lease(struct life *life, bool done)
{
    struct hf_error err;
    const struct hf_id id = {{0x41, 1}};
    struct hf_restore_record restore = {.id = id,
                                        .snapshot = {{0x42, 1}},
                                        .job = life->job.id,
                                        .project = life_job(life).project,
                                        .cluster = life_job(life).cluster,
                                        .state = HF_RESTORE_IN_PROGRESS,
                                        .lease_from = optime_of(LEASED_FROM)};
    uint64_t revision = 0;
    if (hf_keep_restore_get(app_of(life)->catalog, &id, &restore, &revision, &err) ==
        HF_ERR_NOT_FOUND) {
        LIFE_OK(hf_keep_restore_insert(app_of(life)->catalog, &restore, &err), &err);
    } else if (done) {
        restore.state = HF_RESTORE_FINISHED;
        LIFE_OK(hf_keep_restore_replace(app_of(life)->catalog, &restore, &revision, &err), &err);
    }
}

static size_t slice_count(struct life *life, uint32_t from)
{
    struct hf_points *found = points_of(life);
    const struct hf_optime at = optime_of(from);
    size_t count = 0;
    for (size_t i = 0; i < found->chains.link_count; i++) {
        count += hf_optime_compare_ts(&found->chains.links[i].name.last_optime, &at) >= 0;
    }
    hf_points_destroy(found);
    return count;
}

/* Small ones become one, but for what is leased. */
static void merge(struct life *life, struct story *story)
{
    struct hf_error err;
    lease(life, false);
    for (unsigned i = 0; i < 3; i++) {
        LIFE_OK(hf_flow_merge_tick(app_of(life), &err), &err);
    }
    LIFE_CHECK(slice_count(life, 1) < HF_MERGE_MANY / 2);
    if (slice_count(life, LEASED_FROM) != OLD_LAST - LEASED_FROM + 1) {
        LIFE_FAIL("%zu slices of what is leased", slice_count(life, LEASED_FROM));
    }
    expect_whole(life, story, 1);
}

/* A slice of a bad memory: refused, gone, told of; and the next tail brings what it held. */
static void refuse(struct life *life, struct story *story, struct tail *tail, uint32_t newest)
{
    struct hf_task_record record;
    for (unsigned i = 0; i < TICKS_MAX && events_of(life, HF_EVENT_SLICE_REFUSED) == 0; i++) {
        beat(life, story, tail);
        if (open_tail(life, &record) && hf_id_equal(&tail->task, &record.id)) {
            tail_add(tail, 1);
            LIFE_CHECK(tail_send(life, story, &record, tail, true) == HF_ERR_CORRUPT);
            tell_end(life, &record, HF_ERR_CORRUPT, "refused");
        }
    }
    LIFE_CHECK(events_of(life, HF_EVENT_SLICE_REFUSED) > 0);
    reach(life, story, tail, newest);
    expect_whole(life, story, 1);
}

static void note_promises(struct life *life, struct story *story)
{
    struct hf_points *found = points_of(life);
    for (uint32_t i = 1; i <= story->newest; i++) {
        story->promised[i] = is_promised(found, i);
    }
    story->slices_before = found->chains.link_count;
    hf_points_destroy(found);
}

/* What is older than the window goes, once nobody leases it. */
static void prune(struct life *life, struct story *story)
{
    struct hf_error err;
    uint64_t deleted = 0;
    const struct hf_optime window = {.seconds = optime_of(story->newest).seconds - WINDOW_S};
    app_of(life)->oplog_kept_s = WINDOW_S;
    LIFE_OK(hf_flow_prune(app_of(life), &life->job.id, &deleted, &err), &err);
    if (life_job(life).running.bytes[0] == 0 && slice_count(life, 1) == story->slices_before) {
        LIFE_FAIL("nothing was pruned of %zu slices", slice_count(life, 1));
    }
    struct hf_points *found = points_of(life);
    for (uint32_t i = 1; i <= story->newest; i++) {
        const struct hf_optime at = optime_of(i);
        if (story->promised[i] && hf_optime_compare_ts(&window, &at) <= 0 &&
            !is_promised(found, i)) {
            LIFE_FAIL("entry %u was promised", i);
        }
    }
    hf_points_destroy(found);
    expect_whole(life, story, LEASED_FROM);
    app_of(life)->oplog_kept_s = 0;
}

static void prune_released(struct life *life, struct story *story)
{
    struct hf_error err;
    uint64_t deleted = 0;
    lease(life, true);
    app_of(life)->oplog_kept_s = WINDOW_S;
    LIFE_OK(hf_flow_prune(app_of(life), &life->job.id, &deleted, &err), &err);
    LIFE_CHECK(slice_count(life, 1) == slice_count(life, NEW_FIRST));
    expect_whole(life, story, NEW_FIRST + (story->newest - NEW_FIRST) / 2);
    app_of(life)->oplog_kept_s = 0;
}

/* A byte of the slice that holds the entry, in the store's directory. */
static void set_byte(struct life *life, struct story *story, bool good)
{
    HF_CLEANUP(hf_free)
    char *path = hf_path_join(life->store_url + strlen("file://"), story->damaged);
    FILE *file = fopen(path, "r+b");
    if (file == NULL) {
        LIFE_FAIL("%s is gone", story->damaged);
    }
    LIFE_CHECK(fseek(file, 40, SEEK_SET) == 0);
    LIFE_CHECK(fputc(good ? story->damaged_byte : story->damaged_byte ^ 0x10, file) != EOF);
    LIFE_CHECK(fclose(file) == 0);
}

/* The newest slice but three. */
static void choose_damage(struct life *life, struct story *story)
{
    struct hf_points *found = points_of(life);
    if (story->damaged[0] == '\0') {
        const struct hf_slice_link *link = &found->chains.links[found->chains.link_count - 4];
        char name[HF_OBJECT_NAME_BYTES];
        (void)snprintf(name, sizeof name, "%s", hf_object_name_text(&link->name).text);
        HF_CLEANUP(hf_free)
        char *path = hf_path_join(life->store_url + strlen("file://"), name);
        FILE *file = fopen(path, "rb");
        LIFE_CHECK(file != NULL && fseek(file, 40, SEEK_SET) == 0);
        story->damaged_byte = (uint8_t)fgetc(file);
        LIFE_CHECK(fclose(file) == 0);
        memcpy(story->damaged, name, sizeof name);
    }
    hf_points_destroy(found);
}

static uint64_t check(struct life *life)
{
    struct hf_error err;
    HF_CLEANUP(hf_json_drop) struct hf_json *document = NULL;
    const struct hf_job_record job = life_job(life);
    LIFE_OK(hf_flow_check(app_of(life), &job, true, &document, &err), &err);
    return hf_json_get_u64(document, "faultCount", 99);
}

static void find_damage(struct life *life, struct story *story, struct tail *tail)
{
    age_snapshots(life);
    choose_damage(life, story);
    set_byte(life, story, false);
    LIFE_CHECK(check(life) == 1);
    LIFE_CHECK(check(life) == 1); /* no news */
    size_t told = events_of(life, HF_EVENT_OPLOG_DAMAGED);
    LIFE_CHECK(told >= 1 && told <= 1 + story->deaths);
    reach(life, story, tail, story->newest); /* behind the damage, with a base of its own */
    struct hf_points *found = points_of(life);
    LIFE_CHECK(chain_with(found, story->newest)->start == HF_CHAIN_DAMAGED);
    expect_head(life, found, story);
    hf_points_destroy(found);
}

static void mend_damage(struct life *life, struct story *story, struct tail *tail)
{
    set_byte(life, story, true);
    LIFE_CHECK(check(life) == 0);
    reach(life, story, tail, story->newest + 2);
    expect_whole(life, story, NEW_FIRST + (story->newest - NEW_FIRST) / 2);
}

static void run_phase(struct life *life, struct story *story, enum phase phase, struct tail *tail)
{
    switch (phase) {
    case SAVED:
        life_start_job(life);
        story->newest = story->newest > 2 ? story->newest : 2;
        for (unsigned i = 0; i < 3; i++) {
            beat(life, story, tail);
        }
        take_first(life);
        reach(life, story, tail, BASE_AT);
        break;
    case MANY:
        reach(life, story, tail, OLD_LAST);
        expect_whole(life, story, 1);
        break;
    case MERGED:
        merge(life, story);
        break;
    case BROKEN:
        age_snapshots(life);
        reach(life, story, tail, NEW_FIRST + 8);
        LIFE_CHECK(events_of(life, HF_EVENT_OPLOG_GAP) == 1);
        reach(life, story, tail, NEW_FIRST + 24);
        expect_whole(life, story, 1);
        break;
    case REFUSED:
        refuse(life, story, tail, NEW_FIRST + 30);
        note_promises(life, story);
        break;
    case PRUNED:
        prune(life, story);
        break;
    case RELEASED:
        prune_released(life, story);
        break;
    case CHECKED:
        find_damage(life, story, tail);
        break;
    case MENDED:
        mend_damage(life, story, tail);
        LIFE_CHECK(events_of(life, HF_EVENT_OPLOG_GAP) == 1);
        break;
    case PHASES:
        break;
    }
}

static void live(struct fixture *f)
{
    struct life life;
    struct story *story = f->story;
    struct tail tail = {.slicer = NULL};
    life_begin(&life, f->world);
    life.sources[1] = life.sources[2] = f->source;
    life_start_server(&life);
    life_start_agent(&life);
    if (story->done > 0) {
        life_start_job(&life); /* it is: only its id is wanted */
        struct hf_points *found = points_of(&life);
        for (size_t i = 0; i < found->chains.count; i++) {
            LIFE_CHECK(found->chains.items[i].end != HF_CHAIN_DIVERGED);
        }
        LIFE_CHECK(chain_with(found, story->acked) != NULL);
        hf_points_destroy(found);
    }
    for (; story->done < PHASES; story->done++) {
        run_phase(&life, story, (enum phase)story->done, &tail);
    }
    tail_drop(&tail);
    life_stop(&life);
    for (size_t i = 0; i < POINTS; i++) {
        story->passes[i] = hf_fault_passes(points[i]);
    }
}

/* ---- Dying ---- */

/* nth 0: it lives on. True: it died where it was to. */
static bool run_child(struct fixture *f, size_t point, uint64_t nth)
{
    int status = 0;
    (void)fflush(NULL);
    f->story->lives++;
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
        f->story->deaths++;
        return true;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_msg("%s %s %llu, phase %zu, seed %llu: status %x",
                 nth > 0 ? "death at" : "life after a death at", points[point],
                 (unsigned long long)nth, f->story->done, (unsigned long long)f->seed,
                 (unsigned)status);
    }
    return false;
}

static void begin_world(struct fixture *f)
{
    struct hf_error err;
    struct story *story = f->story;
    const uint64_t lives = story->lives;
    assert_int_equal(hf_fs_remove_tree(f->world, &err), HF_ERR_OK);
    assert_int_equal(hf_fs_make_dirs(f->world, 0700, &err), HF_ERR_OK);
    *story = (struct story){.lives = lives};
}

/* Of `total` passes the one that is tried as the i-th. */
static uint64_t pass_at(uint64_t total, uint64_t i)
{
    return total <= NTH_MAX ? i + 1 : 1 + i * (total - 1) / (NTH_MAX - 1);
}

static void test_whatever_dies_the_chain_is_whole(void **state)
{
#ifdef HF_FAULTS
    struct fixture *f = *state;
    uint64_t passes[POINTS], total = 0, turn = f->seed, deaths = 0;
    begin_world(f);
    assert_false(run_child(f, 0, 0));
    assert_int_equal(f->story->done, PHASES);
    memcpy(passes, f->story->passes, sizeof passes);
    for (size_t i = 0; i < POINTS; i++) {
        if (passes[i] == 0) {
            fail_msg("nothing passes %s", points[i]);
        }
        total += passes[i] < NTH_MAX ? passes[i] : NTH_MAX;
    }
    uint64_t step = run_is_soak() ? 1 : 1 + total / SHORT_DEATHS;
    for (size_t i = 0; i < POINTS; i++) {
        for (uint64_t k = 0; k < passes[i] && k < NTH_MAX; k++) {
            if (turn++ % step != 0) {
                continue;
            }
            begin_world(f);
            if (run_child(f, i, pass_at(passes[i], k))) {
                (void)run_child(f, i, 1); /* and again, where it comes by once more */
                (void)run_child(f, i, 0);
            }
            assert_int_equal(f->story->done, PHASES);
            deaths += f->story->deaths;
        }
    }
    print_message("%llu lives, %llu deaths, of %llu places\n", (unsigned long long)f->story->lives,
                  (unsigned long long)deaths, (unsigned long long)total);
    assert_true(deaths > 0);
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
    uint8_t bytes[8000];
    char *path = NULL;
    assert_non_null(f);
    run_in_memory((uint64_t)64 << 20);
    f->story =
        mmap(NULL, sizeof *f->story, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(f->story != MAP_FAILED);
    assert_int_equal(hf_fs_make_temp_dir("hf-tail-test", &f->dir, &err), HF_ERR_OK);
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
        cmocka_unit_test_setup_teardown(test_whatever_dies_the_chain_is_whole, make_fixture,
                                        drop_fixture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
