/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every driver: any thread may call, and compare-and-set decides. Threads assert nothing; they note
 * what they saw.
 */
#include "base/thread.h"
#include "contract/catalog/drivers.h"

#define THREADS 6
#define ROUNDS 40

struct worker {
    struct hf_catalog *catalog; /* borrowed */
    unsigned number;
    unsigned won;
    unsigned wrong;
};

static void start(struct worker workers[THREADS], struct fixture *f, void (*run)(void *argument))
{
    struct hf_thread *threads[THREADS];
    struct hf_error err;
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.catalog = f->catalog, .number = i};
        assert_int_equal(hf_thread_start("worker", run, &workers[i], &threads[i], &err), HF_ERR_OK);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        hf_thread_join(threads[i]);
    }
}

/* Adds one to a counter that all share, again and again until each of its rounds was counted. */
static void run_count(void *argument)
{
    struct worker *worker = argument;
    struct hf_error err;
    while (worker->won < ROUNDS && worker->wrong == 0) {
        HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document;
        if (hf_catalog_get(worker->catalog, "job", "counter", &document, &err) != HF_ERR_OK) {
            worker->wrong++;
            break;
        }
        int64_t n = hf_json_get_integer(document.json, "n", -1);
        worker->wrong += (uint64_t)n + 1 != document.revision;
        hf_json_set_integer(document.json, "n", n + 1);
        enum hf_err code = hf_catalog_replace(
            worker->catalog, "job", "counter", document.revision, document.json,
            worker->number % 2 == 0 ? HF_CATALOG_SYNCED : HF_CATALOG_UNSYNCED, &err);
        worker->won += code == HF_ERR_OK;
        worker->wrong += code != HF_ERR_OK && code != HF_ERR_CONFLICT;
    }
}

static void test_no_increment_is_lost(void **state)
{
    struct fixture *f = *state;
    struct worker workers[THREADS];
    char text[32];
    must_insert(f, "job", "counter", "{'n': 0}");
    start(workers, f, run_count);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(workers[i].wrong, 0);
        assert_int_equal(workers[i].won, ROUNDS);
    }
    snprintf(text, sizeof text, "{'n': %d}", THREADS * ROUNDS);
    assert_document(f, "job", "counter", THREADS * ROUNDS + 1, text);
}

static void run_insert(void *argument)
{
    struct worker *worker = argument;
    struct hf_error err;
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    hf_json_set_text(json, "job", "j");
    hf_json_set_integer(json, "size", worker->number);
    for (unsigned round = 0; round < ROUNDS; round++) {
        char id[16];
        snprintf(id, sizeof id, "%03u", round);
        enum hf_err code =
            hf_catalog_insert(worker->catalog, "snapshot", id, json, HF_CATALOG_SYNCED, &err);
        worker->won += code == HF_ERR_OK;
        worker->wrong += code != HF_ERR_OK && code != HF_ERR_EXISTS;
    }
}

static void test_of_all_inserts_of_one_id_exactly_one_wins(void **state)
{
    struct fixture *f = *state;
    struct worker workers[THREADS];
    struct hf_error err;
    uint64_t count = 0;
    unsigned won = 0;
    start(workers, f, run_insert);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(workers[i].wrong, 0);
        won += workers[i].won;
    }
    assert_int_equal(won, ROUNDS);
    struct hf_catalog_query query = {.kind = "snapshot", .index = "job", .equals_text = "j"};
    assert_int_equal(hf_catalog_count(f->catalog, &query, &count, &err), HF_ERR_OK);
    assert_int_equal(count, ROUNDS);
}

/* Moves one document from job to job, while others look for it. */
static void run_move_and_look(void *argument)
{
    struct worker *worker = argument;
    struct hf_error err;
    for (unsigned round = 0; round < ROUNDS; round++) {
        HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list list;
        struct hf_catalog_query query = {.kind = "snapshot", .index = "job"};
        if (worker->number == 0) {
            HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
            hf_json_set_text(json, "job", round % 2 == 0 ? "b" : "a");
            worker->wrong += hf_catalog_replace(worker->catalog, "snapshot", "1", round + 1, json,
                                                HF_CATALOG_UNSYNCED, &err) != HF_ERR_OK;
        }
        /* One moment's view: it is always there, once. */
        worker->wrong += hf_catalog_find(worker->catalog, &query, &list, &err) != HF_ERR_OK;
        worker->wrong += list.count != 1;
    }
}

static void test_a_query_sees_one_moment(void **state)
{
    struct fixture *f = *state;
    struct worker workers[THREADS];
    must_insert(f, "snapshot", "1", "{'job': 'a'}");
    start(workers, f, run_move_and_look);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(workers[i].wrong, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_CATALOG(test_no_increment_is_lost),
        ON_CATALOG(test_of_all_inserts_of_one_id_exactly_one_wins),
        ON_CATALOG(test_a_query_sees_one_moment),
    };
    return RUN_ON_EVERY_DRIVER(tests);
}
