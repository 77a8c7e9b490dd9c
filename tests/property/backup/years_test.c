/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seven years of a busy project in seconds: several jobs whose schedules, reference times, retentions and pauses change,
 * that are stopped and started; captures that fail, last long, are cut off; a server that is down, a clock that is set
 * forward and back, tails that stand still. Time is a number here. Every decision of the product is compared with
 * tests/support/naive_schedule.h:
 *
 *   what begins   was owed, by walking over the minutes; not in a pause; of those that could begin the most pressing one
 *   what is owed  and planned is the same after each look, so a missed window is taken once and none is forgotten
 *   silence       a job that can take snapshots has one in time, whatever the clock did before
 *   classes       expiry and full reading are those of the naive calendar; each day, week and month that has a snapshot has
 *                 its long-kept one
 *   what goes     had expired, and leaves a good snapshot and every instant that was promised; what stays has a reason.
 *                 Of a stopped job nothing goes, nor of one that was started again before it has a new one
 *   by hand       is kept as long as the naive policy keeps a daily one, or any; longer, shorter, for ever, as was said
 *
 * A share of the seeds in make test, more with HOLDFAST_SOAK. HOLDFAST_SEED=n runs one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backup/schedule.h"
#include "support/naive_schedule.h"

#define JOBS 4
#define SNAPSHOTS_MAX 1200
#define YEARS 7
#define START_S UINT64_C(1795651200) /* 2026-11-26: two leap days come */
#define TICK_S 300
#define AT_ONCE 2

static struct naive_calendar calendar;

struct job {
    struct hf_job_record record;
    struct hf_schedule_record schedule;
    struct hf_snapshot_record *snapshots;
    unsigned *chain_of;
    size_t count;
    size_t running;  /* SIZE_MAX: none */
    uint64_t ends_s; /* of what runs, true time */
    bool will_fail;
    /* The source. */
    uint64_t down_until_s, tail_down_until_s;
    unsigned chain;
    uint64_t newest_s; /* entry of the stored oplog */
    /* The naive twin. */
    struct naive_policy naive;
    uint64_t planned_s, owed_s, attempt_owed_s, not_before_s, failures, seen_s;
    bool active, attempt;
    uint64_t began_at; /* number of the next capture when it began to take them */
    /* For the test against silence, in true time: since when the job could have had one. */
    uint64_t able_since_s, owed_true_s;
};

struct world {
    struct job jobs[JOBS];
    uint64_t true_s;
    int64_t clock_error_s;
    uint64_t clock_until_s, down_until_s, seen_s;
    uint64_t seed;
    uint64_t begun, failed, gone, pinned, full, stepped, changed, looks;
    uint64_t waited, alone, leaps, extended, for_ever, by_hand; /* of what must not be missed */
};

static uint64_t roll(struct world *world, uint64_t sides)
{
    world->seed ^= world->seed << 13;
    world->seed ^= world->seed >> 7;
    world->seed ^= world->seed << 17;
    return world->seed % sides;
}

static bool chance(struct world *world, uint64_t one_in)
{
    return roll(world, one_in) == 0;
}

static uint64_t now_of(const struct world *world)
{
    return (uint64_t)((int64_t)world->true_s + world->clock_error_s);
}

static void random_policy(struct world *world, struct naive_policy *out)
{
    static const uint64_t intervals[] = {1440, 1440, 720, 720, 480, 360, 360, 240, 120, 60};

    *out = (struct naive_policy){
        .every_min = intervals[roll(world, HF_ARRAY_LEN(intervals))],
        .reference_min = roll(world, 1440),
        .base_days = 1 + roll(world, 4),
        .keeps = {chance(world, 3) ? 0 : 3 + roll(world, 12),
                  chance(world, 4) ? 0 : 1 + roll(world, 6),
                  chance(world, 4) ? 0 : 1 + roll(world, 14),
                  chance(world, 2) ? 0 : 1 + roll(world, 3)},
        .full_weekday = (unsigned)roll(world, 7),
        .pause = chance(world, 2),
        .pause_weekday = (unsigned)roll(world, 7),
        .pause_from_min = roll(world, 1000),
        .deadline = chance(world, 2),
        .deadline_min = roll(world, 1440),
    };
    out->pause_to_min = out->pause_from_min + 1 + roll(world, 1439 - out->pause_from_min);
    if (chance(world, 40)) {
        out->every_min = chance(world, 2) ? 15 : 30;
        out->base_days = 1;
    }
}

/* What an operator would say. */
static struct hf_policy policy_of(const struct naive_policy *naive)
{
    struct hf_policy policy = {
        .interval_min = naive->every_min,
        .reference_min = naive->reference_min,
        .base_days = naive->base_days,
        .daily_days = naive->keeps[0],
        .weekly_weeks = naive->keeps[1],
        .monthly_months = naive->keeps[2],
        .yearly_years = naive->keeps[3],
        .full_day = (enum hf_weekday)naive->full_weekday,
        .has_deadline = naive->deadline,
        .deadline_min = naive->deadline_min,
    };
    enum hf_policy_setting which;
    struct hf_error err;

    if (naive->pause) {
        (void)snprintf(policy.pauses, sizeof policy.pauses, "%s %02u:%02u-%02u:%02u",
                       hf_weekday_word((enum hf_weekday)naive->pause_weekday),
                       (unsigned)naive->pause_from_min / 60, (unsigned)naive->pause_from_min % 60,
                       (unsigned)naive->pause_to_min / 60, (unsigned)naive->pause_to_min % 60);
    }
    if (hf_policy_check(&policy, &which, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    return policy;
}

static struct hf_schedule_view view_of(const struct job *job)
{
    return (struct hf_schedule_view){
        .job = &job->record, .snapshots = job->snapshots, .count = job->count};
}

/* ---- The naive twin of a look ---- */

static uint64_t naive_wait_s(const struct job *job)
{
    uint64_t most_s = job->naive.every_min * 60 < 3600 ? job->naive.every_min * 60 : 3600;
    uint64_t wait_s = 60;

    for (uint64_t i = 1; i < job->failures; i++) {
        wait_s = wait_s * 2 > most_s ? most_s : wait_s * 2;
    }
    return wait_s < most_s ? wait_s : most_s;
}

static void naive_look(struct job *job, uint64_t now_s)
{
    bool back = job->seen_s > now_s + 60;
    bool has_complete = false, paid = false;

    /* Clocks. */
    if (job->planned_s > now_s + (back ? 2 * job->naive.every_min * 60 : 2 * NAIVE_DAY_S)) {
        job->planned_s = naive_next(&job->naive, now_s);
    }
    if (job->not_before_s > now_s + 3600) {
        job->not_before_s = now_s + naive_wait_s(job);
    }
    job->owed_s = job->owed_s > now_s ? now_s : job->owed_s;
    job->attempt_owed_s = job->attempt_owed_s > now_s ? now_s : job->attempt_owed_s;
    job->seen_s = now_s;
    /* What came of the attempt. */
    if (job->attempt) {
        const struct hf_snapshot_record *one = NULL;
        for (size_t i = 0; i < job->count; i++) {
            if (hf_id_equal(&job->snapshots[i].id, &job->schedule.attempt)) {
                one = &job->snapshots[i];
            }
        }
        if (one == NULL || one->state == HF_SNAPSHOT_FAILED) {
            job->owed_s = job->owed_s == 0 || job->attempt_owed_s < job->owed_s
                              ? job->attempt_owed_s
                              : job->owed_s;
            job->failures++;
            job->not_before_s = now_s + naive_wait_s(job);
            job->attempt = false;
        } else if (one->state != HF_SNAPSHOT_IN_PROGRESS) {
            job->failures = 0;
            job->not_before_s = 0;
            job->attempt = false;
        }
    }
    for (size_t i = 0; i < job->count; i++) {
        has_complete = has_complete || job->snapshots[i].state == HF_SNAPSHOT_COMPLETE;
    }
    /* The job's state. */
    bool started = job->record.state == HF_JOB_STARTED;
    if (started && !job->active) {
        job->failures = 0;
        job->not_before_s = 0;
        job->began_at = job->record.next_capture;
        if (!has_complete) {
            job->owed_s = now_s;
            job->planned_s = naive_next(&job->naive, now_s);
        } else if (job->planned_s == 0) {
            job->planned_s = naive_next(&job->naive, now_s);
        }
    }
    job->active = started;
    /* Time has come. */
    if (started && job->planned_s <= now_s) {
        job->owed_s = job->owed_s == 0 ? job->planned_s : job->owed_s;
        job->planned_s = naive_next(&job->naive, now_s);
    }
    for (size_t i = 0; i < job->count; i++) {
        paid = paid ||
               (job->snapshots[i].automatic && job->snapshots[i].state == HF_SNAPSHOT_COMPLETE &&
                job->snapshots[i].created_s >= job->owed_s && job->snapshots[i].created_s <= now_s);
    }
    job->owed_s = paid ? 0 : job->owed_s;
}

static bool naive_ready(const struct job *job, uint64_t now_s)
{
    return job->active && job->owed_s != 0 && !job->attempt && job->running == SIZE_MAX &&
           job->not_before_s <= now_s && !naive_paused(&calendar, &job->naive, now_s);
}

/* By when it has to begin. */
static uint64_t naive_pressing_s(const struct job *job)
{
    uint64_t next_s = job->owed_s + job->naive.every_min * 60, deadline_s = job->owed_s;

    if (!job->naive.deadline) {
        return next_s;
    }
    do { /* the deadline's next coming after it was due */
        deadline_s = (deadline_s / 60 + 1) * 60;
    } while (deadline_s / 60 % 1440 != job->naive.deadline_min);
    deadline_s -= job->schedule.took_s < deadline_s ? job->schedule.took_s : deadline_s - 1;
    return deadline_s < next_s ? deadline_s : next_s;
}

static void same(const char *what, const struct job *job, uint64_t product, uint64_t naive)
{
    if (product != naive) {
        fail_msg("%s: %s: the product says %llu, the naive model %llu", job->record.set_name, what,
                 (unsigned long long)product, (unsigned long long)naive);
    }
}

/* ---- Expiry ---- */

static struct naive_chain chain_of(const struct job *job, unsigned chain)
{
    return (struct naive_chain){.snapshots = job->snapshots,
                                .chain_of = job->chain_of,
                                .count = job->count,
                                .chain = chain};
}

static bool is_good(const struct hf_snapshot_record *one)
{
    return one->state == HF_SNAPSHOT_COMPLETE && (one->verified_s == 0 || one->verified_ok);
}

static void check_gone(struct world *world, const struct job *job,
                       const enum hf_retention_verdict *verdicts, uint64_t window_s, uint64_t now_s)
{
    bool before[SNAPSHOTS_MAX], after[SNAPSHOTS_MAX];
    bool good_before = false, good_after = false;
    size_t newest = SIZE_MAX;
    bool may_go = false;

    for (size_t i = 0; i < job->count; i++) {
        may_go = may_go || (job->record.state == HF_JOB_STARTED &&
                            job->snapshots[i].state == HF_SNAPSHOT_COMPLETE &&
                            job->snapshots[i].capture >= job->began_at);
    }
    for (size_t i = 0; i < job->count; i++) {
        const struct hf_snapshot_record *one = &job->snapshots[i];
        before[i] = is_good(one);
        after[i] = before[i] && verdicts[i] != HF_RETENTION_GOES;
        good_before = good_before || before[i];
        good_after = good_after || after[i];
        if (before[i] && (newest == SIZE_MAX || one->capture > job->snapshots[newest].capture)) {
            newest = i;
        }
        if (verdicts[i] == HF_RETENTION_GOES) {
            assert_int_equal(one->state, HF_SNAPSHOT_COMPLETE);
            assert_false(one->keep);
            assert_true(one->expires_s != 0 && one->expires_s <= now_s);
            assert_true(may_go);
        } else if (verdicts[i] == HF_RETENTION_WAITS) {
            assert_false(may_go);
            world->waited++;
        }
    }
    /* The guarantee at its hardest: neither captures nor the tail work, and all is over. */
    world->alone += good_before && newest != SIZE_MAX &&
                    now_s >= job->snapshots[newest].expires_s &&
                    job->snapshots[newest].expires_s != 0 && world->true_s < job->down_until_s &&
                    world->true_s < job->tail_down_until_s;
    assert_int_equal(good_before, good_after);
    if (newest != SIZE_MAX) {
        assert_int_not_equal(verdicts[newest], HF_RETENTION_GOES);
    }
    /* Every instant of the window, at each snapshot's own time and hourly between, is reached as before. */
    for (unsigned number = job->chain > 3 ? job->chain - 3 : 1; number <= job->chain; number++) {
        struct naive_chain chain = chain_of(job, number);
        chain.slices_from_s = naive_slices_from_s(&chain, before, window_s);
        for (size_t i = 0; i < job->count; i++) {
            uint64_t at_s = job->snapshots[i].checkpoint.seconds;
            at_s = at_s < window_s ? window_s : at_s;
            if (naive_reaches(&chain, before, at_s)) {
                assert_true(naive_reaches(&chain, after, at_s));
            }
        }
    }
    /* What has expired and stays has a reason: without it something would be lost. */
    for (size_t i = 0; i < job->count; i++) {
        const struct hf_snapshot_record *one = &job->snapshots[i];
        bool expired = one->state == HF_SNAPSHOT_COMPLETE && !one->keep && one->expires_s != 0 &&
                       one->expires_s <= now_s;
        if (!expired || verdicts[i] == HF_RETENTION_GOES || verdicts[i] == HF_RETENTION_WAITS) {
            continue;
        }
        bool parent = false, loses = false;
        world->pinned++;
        for (size_t k = 0; k < job->count; k++) {
            parent = parent || (job->snapshots[k].state == HF_SNAPSHOT_IN_PROGRESS &&
                                job->snapshots[k].parent_capture == one->capture);
        }
        if (i == newest || parent) {
            continue;
        }
        bool less[SNAPSHOTS_MAX];
        struct naive_chain chain = chain_of(job, job->chain_of[i]);
        chain.slices_from_s = naive_slices_from_s(&chain, before, window_s);
        memcpy(less, after, sizeof less);
        less[i] = false;
        for (size_t k = 0; k < job->count; k++) {
            uint64_t at_s = job->snapshots[k].checkpoint.seconds;
            at_s = at_s < window_s ? window_s : at_s;
            loses =
                loses || (naive_reaches(&chain, after, at_s) && !naive_reaches(&chain, less, at_s));
        }
        assert_true(loses);
    }
}

static void expire(struct world *world, struct job *job, uint64_t now_s)
{
    enum hf_retention_verdict verdicts[SNAPSHOTS_MAX];
    struct hf_retention_place places[SNAPSHOTS_MAX];
    const struct hf_clock_witness store = {.name = "store", .says_s = world->true_s};
    struct hf_error err;
    size_t left = 0;

    if (hf_retention_clocks(&store, 1, now_s, &err) != HF_ERR_OK) {
        assert_true(now_s > world->true_s + 300 || now_s + 300 < world->true_s);
        return;
    }
    assert_true(now_s <= world->true_s + 300 && now_s + 300 >= world->true_s);
    struct hf_retention_view view = {
        .job = &job->record,
        .snapshots = job->snapshots,
        .count = job->count,
        .window_s = job->newest_s > 86400 ? job->newest_s - 86400 : 0,
        .places = places,
        .waits_for_capture = job->schedule.waits_for_capture,
    };
    for (size_t i = 0; i < job->count; i++) {
        if (is_good(&job->snapshots[i])) {
            places[view.place_count++] =
                (struct hf_retention_place){.snapshot = i, .chain = job->chain_of[i]};
        }
    }
    hf_retention_judge(&view, now_s, verdicts);
    check_gone(world, job, verdicts, view.window_s, now_s);
    size_t running = job->running;
    for (size_t i = 0; i < job->count; i++) {
        bool goes = verdicts[i] == HF_RETENTION_GOES;
        /* A failed attempt is forgotten once its schedule knows of it. */
        bool old = job->snapshots[i].state == HF_SNAPSHOT_FAILED &&
                   !hf_id_equal(&job->snapshots[i].id, &job->schedule.attempt);
        world->gone += goes;
        if (goes || old) {
            continue;
        }
        if (i == running) {
            job->running = left;
        }
        if (left != i) {
            job->snapshots[left] = job->snapshots[i];
            job->chain_of[left] = job->chain_of[i];
        }
        left++;
    }
    job->count = left;
}

/* ---- Captures ---- */

static void take(struct world *world, struct job *job, bool automatic)
{
    uint64_t now_s = now_of(world), capture = job->record.next_capture++;
    struct hf_policy policy = policy_of(&job->naive);
    struct hf_retention_plan plan;
    size_t newest = SIZE_MAX;

    assert_true(job->count < SNAPSHOTS_MAX);
    struct hf_snapshot_record *one = &job->snapshots[job->count];
    *one = (struct hf_snapshot_record){.state = HF_SNAPSHOT_IN_PROGRESS,
                                       .capture = capture,
                                       .created_s = now_s,
                                       .automatic = automatic};
    memcpy(one->id.bytes, &capture, sizeof capture);
    one->id.bytes[11] = (uint8_t)(job - world->jobs + 1);
    for (size_t i = 0; i < job->count; i++) {
        if (job->snapshots[i].state == HF_SNAPSHOT_COMPLETE &&
            (newest == SIZE_MAX || job->snapshots[i].capture > job->snapshots[newest].capture)) {
            newest = i;
        }
    }
    one->parent_capture = newest == SIZE_MAX ? 0 : job->snapshots[newest].capture;
    if (automatic) {
        hf_retention_plan(&policy, job->snapshots, job->count, now_s, &plan);
        uint64_t classes = 0;
        for (unsigned class = 0; class < 4; class ++) {
            if (job->naive.keeps[class] != 0 &&
                !naive_has_class(&calendar, job->snapshots, job->count, class, now_s)) {
                classes |= UINT64_C(1) << class;
            }
        }
        same("classes", job, plan.classes, classes);
        same("expiry", job, plan.expires_s, naive_expires(&calendar, &job->naive, classes, now_s));
        same("full", job, plan.full,
             naive_full(&calendar, &job->naive, job->snapshots, job->count, classes, now_s));
        one->classes = plan.classes;
        one->expires_s = plan.expires_s;
        one->full = plan.full;
        world->full += plan.full;
    } else {
        uint64_t days = job->naive.keeps[0] != 0 ? job->naive.keeps[0] : job->naive.base_days;
        same("days by hand", job, hf_retention_on_demand_days(&policy), days);
        one->expires_s = now_s + days * NAIVE_DAY_S;
        world->by_hand++;
    }
    const struct naive_day *day = naive_day_of(&calendar, now_s);
    world->leaps += day->month == 2 && day->day == 29;
    one->checkpoint = (struct hf_optime){
        .seconds = (uint32_t)world->true_s, .increment = (uint32_t)capture % 1000 + 1, .term = -1};
    job->chain_of[job->count] = job->chain;
    job->running = job->count++;
    job->ends_s = world->true_s + 60 + roll(world, 40) * 60 + (chance(world, 60) ? 6 * 3600 : 0);
    job->will_fail = chance(world, 20) || world->true_s < job->down_until_s;
    world->begun++;
}

static void end_captures(struct world *world)
{
    for (size_t j = 0; j < JOBS; j++) {
        struct job *job = &world->jobs[j];
        if (job->running == SIZE_MAX || world->true_s < job->ends_s) {
            continue;
        }
        struct hf_snapshot_record *one = &job->snapshots[job->running];
        one->state = job->will_fail ? HF_SNAPSHOT_FAILED : HF_SNAPSHOT_COMPLETE;
        one->finished_s = now_of(world);
        world->failed += job->will_fail;
        job->running = SIZE_MAX;
        job->record.running = (struct hf_id){{0}};
        /* Whatever period it lies in has its long-kept one, if such are kept. */
        for (unsigned class = 0; one->state == HF_SNAPSHOT_COMPLETE && one->automatic && class < 4;
             class ++) {
            if ((one->classes >> class & 1) == 0 && job->naive.keeps[class] != 0 &&
                job->record.wanted_s < one->created_s &&
                naive_same(&calendar, class, one->created_s, now_of(world))) {
                assert_true(
                    naive_has_class(&calendar, job->snapshots, job->count, class, one->created_s));
            }
        }
    }
}

/* ---- The server ---- */

static void look_at(struct world *world, struct job *job)
{
    uint64_t now_s = now_of(world);
    const uint64_t expire_s = job->schedule.expire_s;

    world->looks++;
    if (expire_s <= now_s || expire_s > now_s + HF_SCHEDULE_LOOK_S) {
        if (chance(world, 6)) { /* the store is away at other times, for the test's speed */
            expire(world, job, now_s);
        }
        uint64_t next_s = hf_retention_next_s(job->snapshots, job->count, now_s);
        uint64_t most_s = now_s + HF_SCHEDULE_LOOK_S;
        job->schedule.expire_s = next_s < most_s ? next_s : most_s;
    }
    const struct hf_schedule_view view = view_of(job);
    naive_look(job, now_s);
    hf_schedule_look(&job->schedule, &view, now_s);
    same("planned", job, job->schedule.due_s, job->planned_s);
    same("owed", job, job->schedule.owed_s, job->owed_s);
    same("patience", job, job->schedule.not_before_s, job->not_before_s);
    same("queued", job, job->schedule.queue_s, naive_ready(job, now_s) ? naive_pressing_s(job) : 0);
    assert_true(job->schedule.wake_s > now_s);
    assert_true(job->schedule.wake_s <= now_s + HF_SCHEDULE_LOOK_S);
}

static void begin_queued(struct world *world)
{
    uint64_t now_s = now_of(world);

    for (;;) {
        struct job *first = NULL;
        size_t running = 0;
        for (size_t j = 0; j < JOBS; j++) {
            struct job *job = &world->jobs[j];
            running += job->running != SIZE_MAX;
            if (job->schedule.queue_s != 0 &&
                (first == NULL || job->schedule.queue_s < first->schedule.queue_s)) {
                first = job;
            }
        }
        if (first == NULL || running >= AT_ONCE) {
            return;
        }
        if (!hf_schedule_may_begin(&first->schedule, now_s)) {
            assert_false(naive_ready(first, now_s));
            look_at(world, first);
            assert_int_equal(first->schedule.queue_s, 0);
            continue;
        }
        if (first->running !=
            SIZE_MAX) { /* one by hand came first: it is refused, and comes again */
            hf_schedule_refused(&first->schedule, "one runs", HF_SCHEDULE_SOON, now_s);
            assert_int_equal(first->schedule.queue_s, 0);
            assert_true(first->schedule.not_before_s <= now_s + 60);
            first->not_before_s = first->schedule.not_before_s;
            continue;
        }
        assert_true(naive_ready(first, now_s));
        for (size_t j = 0; j < JOBS; j++) {
            struct job *other = &world->jobs[j];
            if (other->schedule.queue_s != 0 && naive_ready(other, now_s)) {
                assert_true(naive_pressing_s(first) <= naive_pressing_s(other));
            }
        }
        take(world, first, true);
        struct hf_snapshot_record *taken = &first->snapshots[first->running];
        first->record.running = taken->id;
        hf_schedule_begun(&first->schedule, &taken->id, now_s);
        first->attempt = true;
        first->attempt_owed_s = first->owed_s;
        first->owed_s = 0;
    }
}

static void tick(struct world *world)
{
    uint64_t now_s = now_of(world);
    bool back = world->seen_s > now_s + 5;

    for (size_t j = 0; j < JOBS; j++) {
        struct job *job = &world->jobs[j];
        if (job->schedule.wake_s <= now_s || back ||
            job->schedule.wake_s > now_s + HF_SCHEDULE_LOOK_S + 5) {
            look_at(world, job);
        }
    }
    world->seen_s = now_s;
    begin_queued(world);
}

/* No job that could have had one for long has none: two intervals, the pause (which comes once more when the clock is set
 * back), the captures of others and the patience. */
static void check_silence(struct world *world, struct job *job)
{
    bool able = job->record.state == HF_JOB_STARTED && world->true_s >= world->down_until_s &&
                world->true_s >= job->down_until_s && job->record.moved_s <= world->true_s;
    uint64_t limit_s = 3 * job->naive.every_min * 60 + 4 * 86400;

    for (size_t i = 0; i < job->count; i++) {
        if (job->snapshots[i].automatic && job->snapshots[i].state == HF_SNAPSHOT_COMPLETE &&
            job->snapshots[i].checkpoint.seconds > job->able_since_s) {
            job->able_since_s = job->snapshots[i].checkpoint.seconds;
        }
    }
    if (!able || job->able_since_s == 0) {
        job->able_since_s = world->true_s;
    }
    if (world->true_s - job->able_since_s > limit_s) {
        fail_msg("%s: nothing was taken for %llu s", job->record.set_name,
                 (unsigned long long)(world->true_s - job->able_since_s));
    }
}

/* ---- What happens to them ---- */

static void change_policy(struct world *world, struct job *job)
{
    const struct hf_schedule_view view = view_of(job);
    uint64_t now_s = now_of(world);
    struct naive_policy old = job->naive, next = old;
    bool day_has = false;

    random_policy(world, &next);
    if (chance(world, 2)) { /* an offset alone */
        uint64_t reference = next.reference_min;
        next = old;
        next.reference_min = reference;
    }
    for (size_t i = 0; i < job->count; i++) {
        day_has = day_has ||
                  (job->snapshots[i].automatic && job->snapshots[i].state == HF_SNAPSHOT_COMPLETE &&
                   naive_same(&calendar, 0, job->snapshots[i].created_s, job->planned_s));
    }
    struct hf_policy policy = policy_of(&next);
    uint64_t before_s = job->planned_s;
    bool moved = next.reference_min != old.reference_min || next.every_min != old.every_min;
    job->naive = next;
    if (moved && job->planned_s > now_s) {
        job->planned_s = naive_moved(&calendar, &next, next.reference_min != old.reference_min,
                                     job->planned_s, day_has, now_s);
        assert_true(job->planned_s >= before_s); /* never brought forward */
    }
    naive_look(job, now_s);
    hf_schedule_change(&job->schedule, &policy, &view, now_s);
    same("moved", job, job->schedule.due_s, job->planned_s);
    job->record.wanted_s = now_s; /* classes of before may have been off */
    world->changed++;
}

static void happen_to(struct world *world, struct job *job)
{
    if (chance(world, 9000)) {
        change_policy(world, job);
    }
    if (chance(world, 40000)) { /* stopped, and started again */
        job->record.state = job->record.state == HF_JOB_STARTED ? HF_JOB_STOPPED : HF_JOB_STARTED;
        job->record.moved_s = world->true_s + 2 * 3600;
        job->schedule.wake_s = chance(world, 2) ? 1 : job->schedule.wake_s;
        if (job->record.state == HF_JOB_STARTED) {
            job->chain++;
        }
    } else if (job->record.state == HF_JOB_STOPPED && chance(world, 900)) {
        job->record.state = HF_JOB_STARTED;
        job->record.moved_s = world->true_s + 2 * 3600;
        job->chain++;
    }
    if (chance(world, 60000)) {
        job->down_until_s = world->true_s + 3600 + roll(world, 12 * 86400);
    }
    if (chance(world, 60000)) { /* the set is away: neither works */
        job->down_until_s = job->tail_down_until_s =
            world->true_s + 6 * 86400 + roll(world, 12 * 86400);
        job->chain++;
    }
    if (chance(world, 60000)) {
        job->tail_down_until_s = world->true_s + 3600 + roll(world, 10 * 86400);
        job->chain += chance(world, 2);
    }
    if (world->true_s >= job->tail_down_until_s) {
        job->newest_s = world->true_s;
    }
    if (job->count == 0) {
        return;
    }
    struct hf_snapshot_record *one = &job->snapshots[roll(world, job->count)];
    if (one->state == HF_SNAPSHOT_COMPLETE && chance(world, 20000)) { /* by hand */
        /* The long-kept one of a period only ever longer: whoever shortens it has none by his own will. */
        uint64_t least_s = one->keep           ? one->created_s + 800 * NAIVE_DAY_S
                           : one->classes != 0 ? one->expires_s
                                               : now_of(world);
        const struct hf_retention_wish wish = {.keep = chance(world, 3),
                                               .expires_s = least_s + roll(world, 400 * 86400)};
        struct hf_error ignored;
        bool over = !one->keep && one->expires_s != 0 && one->expires_s <= now_of(world);
        uint64_t was_s = one->keep ? UINT64_MAX : one->expires_s;
        enum hf_err code = hf_retention_change(one, &wish, now_of(world), &ignored);
        assert_int_equal(code == HF_ERR_OK, !over);
        if (!over) {
            assert_int_equal(one->keep, wish.keep);
            assert_int_equal(one->expires_s, wish.keep ? 0 : wish.expires_s);
            world->for_ever += wish.keep;
            world->extended += !wish.keep && wish.expires_s > was_s;
        }
    }
    if (one->keep && chance(world, 3000)) {
        one->keep = false;
        one->expires_s = one->created_s + 800 * NAIVE_DAY_S;
    }
    if (one->state == HF_SNAPSHOT_COMPLETE && chance(world, 100000)) {
        one->verified_s = now_of(world);
        one->verified_ok = chance(world, 2);
    }
    if (job->running == SIZE_MAX && !job->attempt && job->record.state == HF_JOB_STARTED &&
        chance(world, 20000)) {
        take(world, job, false);
        job->record.running = job->snapshots[job->running].id;
    }
}

static void happen(struct world *world)
{
    if (world->clock_error_s != 0 && world->true_s >= world->clock_until_s) {
        world->clock_error_s = 0;
        world->stepped++;
    } else if (chance(world, 15000)) {
        static const int64_t steps[] = {-86400 * 40, -86400 * 3, -7200,      -900,
                                        -70,         -20,        30,         250,
                                        4000,        90000,      86400 * 35, 86400 * 400};
        world->clock_error_s = steps[roll(world, HF_ARRAY_LEN(steps))];
        world->clock_until_s = world->true_s + 600 + roll(world, 3 * 86400);
        world->stepped++;
    }
    if (chance(world, 30000)) {
        world->down_until_s = world->true_s + 600 + roll(world, 4 * 86400);
    }
    for (size_t j = 0; j < JOBS; j++) {
        happen_to(world, &world->jobs[j]);
    }
}

static void live(uint64_t seed)
{
    struct world *world = calloc(1, sizeof *world);
    uint64_t end_s = START_S + YEARS * UINT64_C(31557600);

    assert_non_null(world);
    world->seed = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    world->true_s = START_S;
    for (size_t j = 0; j < JOBS; j++) {
        struct job *job = &world->jobs[j];
        const struct hf_id id = {{1, (uint8_t)(j + 1)}};
        job->snapshots = calloc(SNAPSHOTS_MAX, sizeof *job->snapshots);
        job->chain_of = calloc(SNAPSHOTS_MAX, sizeof *job->chain_of);
        assert_true(job->snapshots != NULL && job->chain_of != NULL);
        job->record = (struct hf_job_record){.id = id, .state = HF_JOB_STARTED, .next_capture = 1};
        (void)snprintf(job->record.set_name, sizeof job->record.set_name, "seed %llu, job %zu, 1",
                       (unsigned long long)seed, j);
        job->running = SIZE_MAX;
        job->chain = 1;
        hf_schedule_init(&job->schedule, &job->record, START_S);
        random_policy(world, &job->naive);
        job->schedule.policy = policy_of(&job->naive);
    }
    while (world->true_s < end_s) {
        world->true_s += TICK_S + roll(world, 3) - 1;
        happen(world);
        end_captures(world);
        if (world->true_s >= world->down_until_s) {
            tick(world);
        }
        if (chance(world, 30)) {
            for (size_t j = 0; j < JOBS; j++) {
                check_silence(world, &world->jobs[j]);
            }
        }
    }
    (void)printf(
        "seed %llu: %llu begun, %llu failed, %llu read everything, %llu gone, %llu kept by "
        "the guarantee, %llu policies, %llu steps of the clock, %llu looks\n",
        (unsigned long long)seed, (unsigned long long)world->begun,
        (unsigned long long)world->failed, (unsigned long long)world->full,
        (unsigned long long)world->gone, (unsigned long long)world->pinned,
        (unsigned long long)world->changed, (unsigned long long)world->stepped,
        (unsigned long long)world->looks);
    (void)printf("    %llu waited for a restart, %llu the last while nothing worked, %llu on 29 "
                 "February, %llu extended, %llu for ever, %llu by hand\n",
                 (unsigned long long)world->waited, (unsigned long long)world->alone,
                 (unsigned long long)world->leaps, (unsigned long long)world->extended,
                 (unsigned long long)world->for_ever, (unsigned long long)world->by_hand);
    assert_true(world->waited > 0 && world->alone > 0 && world->leaps > 0 && world->extended > 0 &&
                world->for_ever > 0 && world->by_hand > 0);
    assert_true(world->begun > 5000 && world->failed > 50 && world->gone > 1000 &&
                world->pinned > 0 && world->changed > 20 && world->stepped > 20);
    for (size_t j = 0; j < JOBS; j++) {
        free(world->jobs[j].snapshots);
        free(world->jobs[j].chain_of);
    }
    free(world);
}

static void test_seven_years_of_a_busy_project(void **state)
{
    const char *one = getenv("HOLDFAST_SEED"), *soak = getenv("HOLDFAST_SOAK");
    uint64_t seeds = soak != NULL && soak[0] != '\0' ? 60 : 1;

    (void)state;
    naive_calendar_fill(&calendar);
    if (one != NULL) {
        live(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        live(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seven_years_of_a_busy_project),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
