/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every driver: any thread may call any function. Threads assert nothing (cmocka's checks are the
 * main thread's); they note what they saw.
 */
#include "base/thread.h"
#include "contract/store/drivers.h"

#define THREADS 6
#define ROUNDS 60

struct racer {
    struct hf_store *store;  /* borrowed */
    struct hf_store *behind; /* borrowed: deletes */
    unsigned number;
    atomic_bool *begin; /* borrowed: set when all threads are there */
    enum hf_err codes[ROUNDS];
    unsigned torn; /* contents that nobody put */
};

static void name_of(unsigned round, char out[32])
{
    snprintf(out, 32, "j/%02u/p/%04u", round % 3, round);
}

/* What racer `number` puts: 3 + number bytes, so that a torn object shows. */
static struct hf_bytes content_of(unsigned number, uint8_t out[16])
{
    memset(out, (int)('a' + number), 16);
    return hf_bytes_of(out, 3 + number);
}

static void wait_for_all(const struct racer *racer)
{
    while (!atomic_load(racer->begin)) {
    }
}

static void run_race(void *argument)
{
    struct racer *racer = argument;
    struct hf_error err;
    wait_for_all(racer);
    for (unsigned round = 0; round < ROUNDS; round++) {
        char name[32];
        uint8_t bytes[16];
        name_of(round, name);
        racer->codes[round] = hf_store_put(racer->store, hf_str_of(name),
                                           content_of(racer->number, bytes), NULL, &err);
    }
}

static void start(struct racer racers[THREADS], struct fixture *f, atomic_bool *begin,
                  void (*run)(void *argument))
{
    struct hf_thread *threads[THREADS];
    struct hf_error err;
    for (unsigned i = 0; i < THREADS; i++) {
        racers[i] =
            (struct racer){.store = f->store, .behind = f->behind, .number = i, .begin = begin};
        assert_int_equal(hf_thread_start("racer", run, &racers[i], &threads[i], &err), HF_ERR_OK);
    }
    atomic_store(begin, true);
    for (unsigned i = 0; i < THREADS; i++) {
        hf_thread_join(threads[i]);
    }
}

static void test_of_different_bytes_for_one_name_exactly_one_wins(void **state)
{
    struct fixture *f = *state;
    struct racer racers[THREADS];
    atomic_bool begin = false;
    start(racers, f, &begin, run_race);
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned winners = 0;
        unsigned winner = 0;
        for (unsigned i = 0; i < THREADS; i++) {
            if (racers[i].codes[round] == HF_ERR_OK) {
                winners++;
                winner = i;
            } else {
                assert_int_equal(racers[i].codes[round], HF_ERR_EXISTS);
            }
        }
        assert_int_equal(winners, 1);
        char name[32];
        uint8_t bytes[16];
        struct hf_error err;
        HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(64);
        name_of(round, name);
        assert_int_equal(hf_store_get(f->store, hf_str_of(name), 64, &out, &err), HF_ERR_OK);
        assert_true(hf_bytes_equal(hf_buf_bytes(&out), content_of(winner, bytes)));
    }
}

static void run_same(void *argument)
{
    struct racer *racer = argument;
    struct hf_error err;
    wait_for_all(racer);
    for (unsigned round = 0; round < ROUNDS; round++) {
        char name[32];
        uint8_t bytes[16];
        name_of(round, name);
        racer->codes[round] =
            hf_store_put(racer->store, hf_str_of(name), content_of(0, bytes), NULL, &err);
    }
}

static void test_the_same_bytes_from_all_threads_are_success_for_all(void **state)
{
    struct fixture *f = *state;
    struct racer racers[THREADS];
    atomic_bool begin = false;
    start(racers, f, &begin, run_same);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < THREADS; i++) {
            assert_int_equal(racers[i].codes[round], HF_ERR_OK);
        }
    }
}

static bool is_whole(const struct hf_buf *out)
{
    for (size_t i = 1; i < out->len; i++) {
        if (out->data[i] != out->data[0]) {
            return false;
        }
    }
    return out->len >= 3 && out->data[0] == 'a' + (out->len - 3);
}

/* Puts, reads, lists and deletes a handful of names that all threads use. */
static void run_mixed(void *argument)
{
    struct racer *racer = argument;
    struct hf_error err;
    wait_for_all(racer);
    for (unsigned round = 0; round < ROUNDS; round++) {
        char name[32];
        uint8_t bytes[16];
        HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(64);
        HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL, .count = 0};
        name_of((round + racer->number) % 5, name);
        enum hf_err code = hf_store_put(racer->store, hf_str_of(name),
                                        content_of(racer->number, bytes), NULL, &err);
        racer->torn += code != HF_ERR_OK && code != HF_ERR_EXISTS;
        code = hf_store_get(racer->store, hf_str_of(name), 64, &out, &err);
        racer->torn += code == HF_ERR_OK ? !is_whole(&out) : code != HF_ERR_NOT_FOUND;
        code = hf_store_list(racer->store, hf_str_of("j/"), hf_str_of(""), 0, &list, &err);
        racer->torn += code != HF_ERR_OK;
        for (size_t i = 0; i < list.count; i++) {
            racer->torn += list.entries[i].size_bytes < 3;
            racer->torn += i > 0 && strcmp(list.entries[i - 1].name, list.entries[i].name) >= 0;
        }
        code = hf_store_delete(racer->behind, hf_str_of(name), &err);
        racer->torn += code != HF_ERR_OK && code != HF_ERR_NOT_FOUND;
    }
}

static void test_puts_reads_lists_and_deletes_never_see_half_an_object(void **state)
{
    struct fixture *f = *state;
    struct racer racers[THREADS];
    atomic_bool begin = false;
    start(racers, f, &begin, run_mixed);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(racers[i].torn, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_STORE(test_of_different_bytes_for_one_name_exactly_one_wins),
        ON_STORE(test_the_same_bytes_from_all_threads_are_success_for_all),
        ON_STORE(test_puts_reads_lists_and_deletes_never_see_half_an_object),
    };
    return RUN_ON_EVERY_DRIVER(tests);
}
