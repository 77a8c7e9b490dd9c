/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A heap of projects, each with its entries in their order; stores and hosts are counted by number.
 */
#include "backup/turns.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct project {
    struct hf_id id;
    size_t first, end; /* of turns->order; first: its next */
    uint64_t running, turn;
};

struct hf_turns {
    const struct hf_turns_view *view;       /* borrowed */
    size_t *order;                          /* owned: numbers of waiting entries, by project */
    struct project *projects;               /* owned: those with waiting entries, by id */
    size_t *heap;                           /* owned: numbers of projects, the next one first */
    struct hf_id *stores;                   /* owned: sorted, no two alike */
    const char **hosts;                     /* owned: the same */
    uint64_t *store_running, *host_running; /* owned: by their numbers */
    size_t project_count, heap_count, store_count, host_count;
    uint64_t running, last_turn;
    size_t said; /* the entry that hf_turns_next said last goes */
};

const char *hf_turn_why_text(enum hf_turn_why why)
{
    switch (why) {
    case HF_TURN_GOES:
        return "nothing";
    case HF_TURN_STORE:
        return "other snapshots into its store";
    case HF_TURN_HOST:
        return "other snapshots of its host";
    case HF_TURN_TOTAL:
        break;
    }
    return "other snapshots";
}

/* ---- Order ---- */

static int compare_ids(const struct hf_id *a, const struct hf_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

static int compare_id_items(const void *a, const void *b)
{
    return compare_ids(a, b);
}

static int compare_hosts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* In one project: the earliest to begin, the longest late. */
static int compare_entries(const struct hf_turn_entry *a, const struct hf_turn_entry *b)
{
    int order = compare_numbers(a->latest_s, b->latest_s);

    order = order != 0 ? order : compare_numbers(a->owed_s, b->owed_s);
    return order != 0 ? order : compare_ids(&a->job, &b->job);
}

static int compare_waiting(const void *a, const void *b, void *context)
{
    const struct hf_turns_view *view = context;
    const struct hf_turn_entry *one = &view->waiting[*(const size_t *)a];
    const struct hf_turn_entry *other = &view->waiting[*(const size_t *)b];
    int order = compare_ids(&one->project, &other->project);

    return order != 0 ? order : compare_entries(one, other);
}

static bool goes_before(const struct hf_turns *turns, size_t a, size_t b)
{
    const struct project *one = &turns->projects[a], *other = &turns->projects[b];
    int order = compare_numbers(one->running, other->running);

    order = order != 0 ? order : compare_numbers(one->turn, other->turn);
    if (order == 0) {
        order = compare_entries(&turns->view->waiting[turns->order[one->first]],
                                &turns->view->waiting[turns->order[other->first]]);
    }
    return order < 0;
}

/* ---- The heap ---- */

static void swap(size_t *a, size_t *b)
{
    size_t kept = *a;

    *a = *b;
    *b = kept;
}

static void sink(struct hf_turns *turns, size_t at)
{
    size_t *heap = turns->heap;

    for (;;) {
        size_t best = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < turns->heap_count; child++) {
            best = goes_before(turns, heap[child], heap[best]) ? child : best;
        }
        if (best == at) {
            return;
        }
        swap(&heap[at], &heap[best]);
        at = best;
    }
}

/* The first project has become another: it has more running, another next entry, or none. */
static void place_first(struct hf_turns *turns)
{
    const struct project *project = &turns->projects[turns->heap[0]];

    if (project->first == project->end) {
        turns->heap[0] = turns->heap[--turns->heap_count];
    }
    sink(turns, 0);
}

/* ---- Numbers ---- */

static size_t store_number(const struct hf_turns *turns, const struct hf_id *store)
{
    const struct hf_id *found =
        bsearch(store, turns->stores, turns->store_count, sizeof *store, compare_id_items);

    return (size_t)(found - turns->stores);
}

/* Of one whose host is known. */
static size_t host_number(const struct hf_turns *turns, const char *host)
{
    const char *const *found =
        bsearch(&host, turns->hosts, turns->host_count, sizeof(const char *), compare_hosts);

    return (size_t)(found - turns->hosts);
}

static size_t unique(void *items, size_t count, size_t size,
                     int (*compare)(const void *a, const void *b))
{
    uint8_t *bytes = items;
    size_t kept = 0;

    if (count > 0) {
        qsort(items, count, size, compare);
    }
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || compare(bytes + (kept - 1) * size, bytes + i * size) != 0) {
            memmove(bytes + kept * size, bytes + i * size, size);
            kept++;
        }
    }
    return kept;
}

static uint64_t changed(uint64_t count, int64_t by)
{
    return (uint64_t)((int64_t)count + by);
}

/* Counts the entry in, or out again. */
static void count_entry(struct hf_turns *turns, const struct hf_turn_entry *entry, int64_t by)
{
    uint64_t *of_store = &turns->store_running[store_number(turns, &entry->store)];

    turns->running = changed(turns->running, by);
    *of_store = changed(*of_store, by);
    if (entry->host[0] != '\0') {
        uint64_t *of_host = &turns->host_running[host_number(turns, entry->host)];
        *of_host = changed(*of_host, by);
    }
}

/* ---- Creation ---- */

static struct project *find_project(const struct hf_turns *turns, const struct hf_id *id)
{
    size_t low = 0, high = turns->project_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_ids(&turns->projects[middle].id, id);
        if (order == 0) {
            return &turns->projects[middle];
        }
        *(order < 0 ? &low : &high) = order < 0 ? middle + 1 : middle;
    }
    return NULL;
}

static void find_projects(struct hf_turns *turns)
{
    const struct hf_turns_view *view = turns->view;

    for (size_t i = 0; i < view->waiting_count; i++) {
        const struct hf_id *id = &view->waiting[turns->order[i]].project;
        if (turns->project_count == 0 ||
            !hf_id_equal(&turns->projects[turns->project_count - 1].id, id)) {
            turns->projects[turns->project_count++] =
                (struct project){.id = *id, .first = i, .end = i};
        }
        turns->projects[turns->project_count - 1].end++;
    }
    for (size_t i = 0; i < view->turn_count; i++) {
        struct project *project = find_project(turns, &view->turns[i].project);
        uint64_t turn = view->turns[i].turn;
        if (project != NULL) {
            project->turn = turn;
        }
        turns->last_turn = turn > turns->last_turn ? turn : turns->last_turn;
    }
    for (size_t i = 0; i < view->running_count; i++) {
        struct project *project = find_project(turns, &view->running[i].project);
        if (project != NULL) {
            project->running++;
        }
    }
}

static void count_running(struct hf_turns *turns)
{
    const struct hf_turns_view *view = turns->view;
    size_t hosts = 0;

    for (size_t i = 0; i < view->waiting_count + view->running_count; i++) {
        const struct hf_turn_entry *entry =
            i < view->waiting_count ? &view->waiting[i] : &view->running[i - view->waiting_count];
        turns->stores[i] = entry->store;
        if (entry->host[0] != '\0') {
            turns->hosts[hosts++] = entry->host;
        }
    }
    turns->store_count = unique(turns->stores, view->waiting_count + view->running_count,
                                sizeof *turns->stores, compare_id_items);
    turns->host_count = unique(turns->hosts, hosts, sizeof(const char *), compare_hosts);
    for (size_t i = 0; i < view->running_count; i++) {
        count_entry(turns, &view->running[i], 1);
    }
}

enum hf_err hf_turns_create(const struct hf_turns_view *view, struct hf_turns **out,
                            struct hf_error *err)
{
    HF_CLEANUP(hf_turns_destroy) struct hf_turns *turns = hf_alloc_zero(sizeof *turns);
    size_t waiting = view->waiting_count + 1, all = waiting + view->running_count;

    if (turns == NULL || (turns->order = hf_alloc_array(waiting, sizeof *turns->order)) == NULL ||
        (turns->projects = hf_alloc_array(waiting, sizeof *turns->projects)) == NULL ||
        (turns->heap = hf_alloc_array(waiting, sizeof *turns->heap)) == NULL ||
        (turns->stores = hf_alloc_array(all, sizeof *turns->stores)) == NULL ||
        (turns->hosts = hf_alloc_array(all, sizeof(const char *))) == NULL ||
        (turns->store_running = hf_alloc_zero(all * sizeof(uint64_t))) == NULL ||
        (turns->host_running = hf_alloc_zero(all * sizeof(uint64_t))) == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    turns->view = view;
    for (size_t i = 0; i < view->waiting_count; i++) {
        turns->order[i] = i;
    }
    if (view->waiting_count > 0) {
        struct hf_turns_view borrowed = *view;
        qsort_r(turns->order, view->waiting_count, sizeof *turns->order, compare_waiting,
                &borrowed);
    }
    find_projects(turns);
    count_running(turns);
    turns->heap_count = turns->project_count;
    for (size_t i = 0; i < turns->heap_count; i++) {
        turns->heap[i] = i;
    }
    for (size_t i = turns->heap_count / 2; i > 0; i--) {
        sink(turns, i - 1);
    }
    *out = HF_TAKE(turns);
    return HF_ERR_OK;
}

void hf_turns_destroy(struct hf_turns *turns)
{
    if (turns == NULL) {
        return;
    }
    hf_free(turns->order);
    hf_free(turns->projects);
    hf_free(turns->heap);
    hf_free(turns->stores);
    hf_free(turns->hosts);
    hf_free(turns->store_running);
    hf_free(turns->host_running);
    hf_free(turns);
}

/* ---- Turns ---- */

static bool is_full(uint64_t running, uint64_t limit)
{
    return limit != 0 && running >= limit;
}

static enum hf_turn_why look(const struct hf_turns *turns, const struct hf_turn_entry *entry)
{
    const struct hf_turns_view *view = turns->view;

    if (is_full(turns->store_running[store_number(turns, &entry->store)],
                view->at_once.per_store)) {
        return HF_TURN_STORE;
    }
    if (entry->host[0] != '\0' &&
        is_full(turns->host_running[host_number(turns, entry->host)], view->at_once.per_host)) {
        return HF_TURN_HOST;
    }
    return is_full(turns->running, view->at_once.total) ? HF_TURN_TOTAL : HF_TURN_GOES;
}

bool hf_turns_next(struct hf_turns *turns, size_t *entry, enum hf_turn_why *why)
{
    if (turns->heap_count == 0) {
        return false;
    }
    struct project *project = &turns->projects[turns->heap[0]];
    *entry = turns->order[project->first++];
    *why = look(turns, &turns->view->waiting[*entry]);
    if (*why == HF_TURN_GOES) {
        count_entry(turns, &turns->view->waiting[*entry], 1);
        turns->said = *entry;
    }
    if (*why == HF_TURN_GOES || *why == HF_TURN_TOTAL) {
        project->running++; /* in a full house as if those before it had begun */
        project->turn = ++turns->last_turn;
    }
    place_first(turns);
    return true;
}

void hf_turns_refused(struct hf_turns *turns)
{
    count_entry(turns, &turns->view->waiting[turns->said], -1);
}
