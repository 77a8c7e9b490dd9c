/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which snapshot begins next: fair between projects, within the limits, as a model that looks through everything each time has
 * it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backup/turns.h"
#include "base/alloc.h"
#include "base/bytes.h"

#define ENTRIES_MAX 40

static const char *const hosts[] = {"", "a", "b", "c"};

static struct hf_id number(uint64_t n)
{
    struct hf_id id = {{0}};

    for (size_t i = 0; i < 8; i++) {
        id.bytes[i] = (uint8_t)(n >> (56 - 8 * i));
    }
    return id;
}

/* ---- One project, two projects ---- */

static struct hf_turn_entry entry(uint64_t project, uint64_t job, uint64_t latest_s)
{
    return (struct hf_turn_entry){.job = number(job),
                                  .project = number(project),
                                  .store = number(1),
                                  .host = "",
                                  .latest_s = latest_s};
}

/* "2 1 3t 4h": the jobs in their order, with what they wait for. */
static void expect_order(const struct hf_turns_view *view, const char *want)
{
    HF_CLEANUP(hf_turns_destroy) struct hf_turns *turns = NULL;
    struct hf_error err;
    char got[256] = "";
    enum hf_turn_why why;
    size_t at = 0;

    assert_int_equal(hf_turns_create(view, &turns, &err), HF_ERR_OK);
    while (hf_turns_next(turns, &at, &why)) {
        size_t len = strlen(got);
        (void)snprintf(got + len, sizeof got - len, "%s%d%s", len == 0 ? "" : " ",
                       view->waiting[at].job.bytes[7],
                       why == HF_TURN_GOES    ? ""
                       : why == HF_TURN_STORE ? "s"
                       : why == HF_TURN_HOST  ? "h"
                                              : "t");
    }
    assert_string_equal(got, want);
}

static void test_a_project_with_much_to_do_leaves_the_others_their_turns(void **state)
{
    (void)state;
    const struct hf_turn_entry waiting[] = {entry(1, 1, 10), entry(1, 2, 11), entry(1, 3, 12),
                                            entry(1, 4, 13), entry(2, 5, 99), entry(3, 6, 98)};
    const struct hf_turn_entry running[] = {entry(1, 7, 0)};
    struct hf_turns_view view = {.waiting = waiting, .waiting_count = HF_ARRAY_LEN(waiting)};

    expect_order(&view, "1 6 5 2 3 4");
    view.running = running;
    view.running_count = 1;
    expect_order(&view, "6 5 1 2 3 4");
    view.at_once.total = 4;
    expect_order(&view, "6 5 1 2t 3t 4t");
    /* One at a time, nothing running: who had the last turn comes last. */
    const struct hf_turn_taken taken[] = {{number(3), 7}, {number(1), 8}};
    view.running_count = 0;
    view.at_once.total = 1;
    view.turns = taken;
    view.turn_count = 2;
    expect_order(&view, "5 6t 1t 2t 3t 4t");
}

static void test_in_a_project_the_deadline_counts_then_how_late(void **state)
{
    (void)state;
    struct hf_turn_entry waiting[] = {entry(1, 1, 30), entry(1, 2, 20), entry(1, 3, 20)};
    const struct hf_turns_view view = {.waiting = waiting, .waiting_count = 3};

    waiting[1].owed_s = 9;
    waiting[2].owed_s = 8;
    expect_order(&view, "3 2 1");
}

static void test_a_limit_holds_back_what_it_is_of_and_nothing_else(void **state)
{
    (void)state;
    struct hf_turn_entry waiting[] = {entry(1, 1, 1), entry(1, 2, 2), entry(1, 3, 3),
                                      entry(2, 4, 4)};
    struct hf_turn_entry running[] = {entry(2, 5, 0)};
    const struct hf_turns_view view = {.waiting = waiting,
                                       .waiting_count = 4,
                                       .running = running,
                                       .running_count = 1,
                                       .at_once = {.total = 3, .per_store = 2, .per_host = 1}};

    waiting[0].host = waiting[1].host = running[0].host = "a";
    waiting[2].store = number(2);
    expect_order(&view, "1h 2h 3 4");
    waiting[3].store = number(2);
    waiting[0].host = "b";
    expect_order(&view, "1 4 2s 3t");
}

static void test_one_that_is_refused_leaves_its_place_to_another_project(void **state)
{
    (void)state;
    HF_CLEANUP(hf_turns_destroy) struct hf_turns *turns = NULL;
    const struct hf_turn_entry waiting[] = {entry(1, 1, 1), entry(1, 2, 2), entry(2, 3, 3)};
    const struct hf_turns_view view = {
        .waiting = waiting, .waiting_count = 3, .at_once = {.total = 1}};
    struct hf_error err;
    enum hf_turn_why why;
    size_t at = 0;

    assert_int_equal(hf_turns_create(&view, &turns, &err), HF_ERR_OK);
    assert_true(hf_turns_next(turns, &at, &why));
    assert_int_equal(at, 0);
    hf_turns_refused(turns);
    assert_true(hf_turns_next(turns, &at, &why));
    assert_int_equal(at, 2);
    assert_int_equal(why, HF_TURN_GOES);
    assert_true(hf_turns_next(turns, &at, &why));
    assert_int_equal(why, HF_TURN_TOTAL);
    assert_false(hf_turns_next(turns, &at, &why));
}

/* ---- The model: everything is counted anew for each step ---- */

struct model {
    const struct hf_turns_view *view;
    bool done[ENTRIES_MAX], begun[ENTRIES_MAX];     /* of the waiting */
    uint64_t tries[ENTRIES_MAX], turn[ENTRIES_MAX]; /* of the projects, by number */
    uint64_t last_turn;
};

static size_t project_of(const struct hf_turn_entry *one)
{
    return one->project.bytes[7];
}

static void model_begin(struct model *model, const struct hf_turns_view *view)
{
    *model = (struct model){.view = view};
    for (size_t i = 0; i < view->running_count; i++) {
        model->tries[project_of(&view->running[i])]++;
    }
    for (size_t i = 0; i < view->turn_count; i++) {
        model->turn[view->turns[i].project.bytes[7]] = view->turns[i].turn;
        model->last_turn =
            view->turns[i].turn > model->last_turn ? view->turns[i].turn : model->last_turn;
    }
}

static bool is_better(const struct model *model, size_t a, size_t b)
{
    const struct hf_turn_entry *one = &model->view->waiting[a], *other = &model->view->waiting[b];
    size_t p = project_of(one), q = project_of(other);
    const uint64_t keys[][2] = {{model->tries[p], model->tries[q]},
                                {model->turn[p], model->turn[q]},
                                {one->latest_s, other->latest_s},
                                {one->owed_s, other->owed_s},
                                {one->job.bytes[7], other->job.bytes[7]}};

    for (size_t i = 0; i < HF_ARRAY_LEN(keys); i++) {
        if (keys[i][0] != keys[i][1]) {
            return keys[i][0] < keys[i][1];
        }
    }
    return false;
}

static enum hf_turn_why model_why(const struct model *model, size_t which)
{
    const struct hf_turns_view *view = model->view;
    const struct hf_turn_entry *one = &view->waiting[which];
    uint64_t total = 0, store = 0, host = 0;

    for (size_t i = 0; i < view->waiting_count + view->running_count; i++) {
        bool waits = i < view->waiting_count;
        const struct hf_turn_entry *other =
            waits ? &view->waiting[i] : &view->running[i - view->waiting_count];
        if (waits && !model->begun[i]) {
            continue;
        }
        total++;
        store += hf_id_equal(&one->store, &other->store);
        host += one->host[0] != '\0' && strcmp(one->host, other->host) == 0;
    }
    return view->at_once.per_store != 0 && store >= view->at_once.per_store ? HF_TURN_STORE
           : view->at_once.per_host != 0 && host >= view->at_once.per_host  ? HF_TURN_HOST
           : view->at_once.total != 0 && total >= view->at_once.total       ? HF_TURN_TOTAL
                                                                            : HF_TURN_GOES;
}

static bool model_next(struct model *model, size_t *which, enum hf_turn_why *why)
{
    size_t best = SIZE_MAX;

    for (size_t i = 0; i < model->view->waiting_count; i++) {
        if (!model->done[i] && (best == SIZE_MAX || is_better(model, i, best))) {
            best = i;
        }
    }
    if (best == SIZE_MAX) {
        return false;
    }
    *which = best;
    *why = model_why(model, best);
    model->done[best] = true;
    model->begun[best] = *why == HF_TURN_GOES;
    if (*why == HF_TURN_GOES || *why == HF_TURN_TOTAL) {
        model->tries[project_of(&model->view->waiting[best])]++;
        model->turn[project_of(&model->view->waiting[best])] = ++model->last_turn;
    }
    return true;
}

/* ---- Chance ---- */

struct chance {
    uint64_t seed;
};

static uint64_t draw(struct chance *chance, uint64_t below)
{
    chance->seed = chance->seed * 6364136223846793005U + 1442695040888963407U;
    return (chance->seed >> 33) % below;
}

static void draw_entries(struct chance *chance, struct hf_turn_entry *out, size_t count, size_t job)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = entry(1 + draw(chance, 5), job + i, draw(chance, 6));
        out[i].owed_s = draw(chance, 3);
        out[i].store = number(draw(chance, 3));
        out[i].host = hosts[draw(chance, HF_ARRAY_LEN(hosts))];
    }
}

static void compare_once(uint64_t seed)
{
    HF_CLEANUP(hf_turns_destroy) struct hf_turns *turns = NULL;
    struct chance chance = {seed};
    struct hf_turn_entry waiting[ENTRIES_MAX], running[8];
    struct hf_turn_taken taken[4];
    struct hf_turns_view view = {.waiting = waiting, .running = running, .turns = taken};
    struct model model;
    struct hf_error err;
    enum hf_turn_why got_why, want_why;
    size_t got = 0, want = 0, steps = 0;

    view.waiting_count = draw(&chance, ENTRIES_MAX);
    view.running_count = draw(&chance, 8);
    view.turn_count = draw(&chance, 5);
    view.at_once.total = draw(&chance, 12);
    view.at_once.per_store = draw(&chance, 5);
    view.at_once.per_host = draw(&chance, 3);
    draw_entries(&chance, waiting, view.waiting_count, 1);
    draw_entries(&chance, running, view.running_count, 100);
    for (size_t i = 0; i < view.turn_count; i++) {
        taken[i] = (struct hf_turn_taken){number(i + 1), draw(&chance, 100) * 5 + i};
    }
    model_begin(&model, &view);
    assert_int_equal(hf_turns_create(&view, &turns, &err), HF_ERR_OK);
    while (model_next(&model, &want, &want_why)) {
        if (!hf_turns_next(turns, &got, &got_why) || got != want || got_why != want_why) {
            fail_msg("seed %llu, step %zu: entry %zu (%d), and should be %zu (%d)",
                     (unsigned long long)seed, steps, got, (int)got_why, want, (int)want_why);
        }
        if (got_why == HF_TURN_GOES && draw(&chance, 4) == 0) {
            hf_turns_refused(turns);
            model.begun[want] = false;
        }
        steps++;
    }
    assert_false(hf_turns_next(turns, &got, &got_why));
}

static void test_it_agrees_with_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20000; seed++) {
        compare_once(seed);
    }
}

/* Every job in turn would cost 10^10 comparisons; this is a few 10^6. */
static void test_a_hundred_thousand_jobs_cost_little(void **state)
{
    (void)state;
    size_t count = 100000, at = 0, seen = 0;
    HF_CLEANUP(hf_free) struct hf_turn_entry *waiting = hf_alloc_array(count, sizeof *waiting);
    HF_CLEANUP(hf_turns_destroy) struct hf_turns *turns = NULL;
    const struct hf_turns_view view = {.waiting = waiting,
                                       .waiting_count = count,
                                       .at_once = {.total = 16, .per_store = 4, .per_host = 1}};
    struct hf_error err;
    enum hf_turn_why why;

    assert_non_null(waiting);
    for (size_t i = 0; i < count; i++) {
        waiting[i] = entry(i % 300, i, i * 7919 % count);
        waiting[i].store = number(i % 7);
        waiting[i].host = hosts[i % HF_ARRAY_LEN(hosts)];
    }
    assert_int_equal(hf_turns_create(&view, &turns, &err), HF_ERR_OK);
    while (hf_turns_next(turns, &at, &why)) {
        seen++;
    }
    assert_int_equal(seen, count);
}

static void test_what_is_waited_for_has_words(void **state)
{
    (void)state;
    assert_string_equal(hf_turn_why_text(HF_TURN_GOES), "nothing");
    assert_string_equal(hf_turn_why_text(HF_TURN_STORE), "other snapshots into its store");
    assert_string_equal(hf_turn_why_text(HF_TURN_HOST), "other snapshots of its host");
    assert_string_equal(hf_turn_why_text(HF_TURN_TOTAL), "other snapshots");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_project_with_much_to_do_leaves_the_others_their_turns),
        cmocka_unit_test(test_in_a_project_the_deadline_counts_then_how_late),
        cmocka_unit_test(test_a_limit_holds_back_what_it_is_of_and_nothing_else),
        cmocka_unit_test(test_one_that_is_refused_leaves_its_place_to_another_project),
        cmocka_unit_test(test_it_agrees_with_the_model),
        cmocka_unit_test(test_a_hundred_thousand_jobs_cost_little),
        cmocka_unit_test(test_what_is_waited_for_has_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
