/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Silence, measured while the server listens: whatever a wall clock does, and however long the server was away. And what one
 * server calls, which another hears.
 */
#include "server/heard.h"

#include "backup/records.h"
#include "server/wakes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct hf_id one = {{1}}, other = {{2}};

static int begin(void **state)
{
    struct hf_error err;

    return hf_server_heard_create((struct hf_server_heard **)state, &err) == HF_ERR_OK ? 0 : -1;
}

static int end(void **state)
{
    hf_server_heard_destroy(*state);
    return 0;
}

static uint64_t silent(struct hf_server_heard *heard, const struct hf_id *id, uint64_t mark)
{
    return hf_server_heard_silent_s(heard, HF_HEARD_TASK, id, mark, 0);
}

static void test_silence_begins_with_the_first_look_and_grows_while_the_server_listens(void **state)
{
    assert_int_equal(silent(*state, &one, 1000), 0);
    hf_server_heard_listen(*state, 4999);
    assert_int_equal(silent(*state, &one, 1000), 4);
    assert_int_equal(silent(*state, &other, 1000), 0);
    hf_server_heard_listen(*state, 1);
    assert_int_equal(silent(*state, &one, 1000), 5);
    assert_int_equal(hf_server_heard_silent_s(*state, HF_HEARD_AGENT, &one, 1000, 0), 0);
}

static void test_a_mark_that_changes_ends_it_even_when_it_goes_back(void **state)
{
    assert_int_equal(silent(*state, &one, 5000), 0);
    hf_server_heard_listen(*state, 9000);
    assert_int_equal(silent(*state, &one, 1400), 0);
    hf_server_heard_listen(*state, 2000);
    assert_int_equal(silent(*state, &one, 1400), 2);
}

static void test_a_note_ends_it_whatever_the_mark_says_at_the_next_look(void **state)
{
    assert_int_equal(hf_server_heard_silent_s(*state, HF_HEARD_TASK, &one, 1, 70), 70);
    hf_server_heard_note(*state, HF_HEARD_TASK, &one);
    assert_int_equal(hf_server_heard_silent_s(*state, HF_HEARD_TASK, &one, 2, 70), 0);
    hf_server_heard_listen(*state, 3000);
    assert_int_equal(hf_server_heard_silent_s(*state, HF_HEARD_TASK, &one, 2, 70), 3);
    hf_server_heard_note(*state, HF_HEARD_TASK, &other);
    hf_server_heard_listen(*state, 3000);
    assert_int_equal(hf_server_heard_silent_s(*state, HF_HEARD_TASK, &other, 9, 70), 3);
}

static void test_what_was_known_before_the_first_look_counts(void **state)
{
    assert_int_equal(hf_server_heard_silent_s(*state, HF_HEARD_MEMBERS, &one, 1, 600), 600);
    hf_server_heard_listen(*state, 5000);
    assert_int_equal(hf_server_heard_silent_s(*state, HF_HEARD_MEMBERS, &one, 1, 4000), 605);
    assert_true(hf_server_heard_silent_s(*state, HF_HEARD_MEMBERS, &other, 1, UINT64_MAX) >
                (uint64_t)1 << 50);
}

static void test_what_nobody_asks_about_is_forgotten_and_the_rest_kept(void **state)
{
    struct hf_id id = {{0}};

    for (unsigned i = 0; i < 1000; i++) {
        id.bytes[5] = (uint8_t)(i * 7);
        id.bytes[6] = (uint8_t)(i >> 3);
        assert_int_equal(silent(*state, &id, 1), 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        hf_server_heard_listen(*state, 600000);
        assert_int_equal(silent(*state, &id, 1), (i + 1) * 600);
    }
    id.bytes[6] = 0;
    assert_int_equal(silent(*state, &id, 1), 0);
}

static void test_without_a_memory_nothing_is_silent(void **state)
{
    (void)state;
    hf_server_heard_listen(NULL, 1000000);
    hf_server_heard_note(NULL, HF_HEARD_TASK, &one);
    assert_int_equal(silent(NULL, &one, 1), 0);
}

/* ---- Calls from server to server ---- */

struct side {
    struct hf_server_app app;
    struct hf_wakes wakes;
    unsigned ones, others, alls;
};

static void count_call(void *context, const struct hf_id *agent)
{
    struct side *side = context;

    side->alls += agent == NULL;
    side->ones += agent != NULL && hf_id_equal(agent, &one);
    side->others += agent != NULL && hf_id_equal(agent, &other);
}

static void side_begin(struct side *side, struct hf_catalog *catalog, uint8_t process)
{
    *side = (struct side){.app = {.catalog = catalog,
                                  .process = {{process}},
                                  .notify = count_call,
                                  .notify_context = side}};
    hf_wakes_init(&side->wakes);
}

static void test_whom_one_server_calls_is_woken_at_the_other_once(void **state)
{
    const struct hf_catalog_options options = {.kinds = hf_backup_kinds,
                                               .kind_count = hf_backup_kind_count};
    HF_CLEANUP(hf_catalog_close) struct hf_catalog *catalog = NULL;
    struct side a, b;
    struct hf_error err;

    (void)state;
    assert_int_equal(hf_catalog_mem_create(&options, &catalog, &err), HF_ERR_OK);
    side_begin(&a, catalog, 1);
    side_begin(&b, catalog, 2);
    hf_wakes_call(&a.wakes, &one);
    for (unsigned i = 0; i < 3; i++) {
        hf_wakes_exchange(&a.wakes, &a.app, &(struct hf_id){{11}});
        hf_wakes_exchange(&b.wakes, &b.app, &(struct hf_id){{12}});
    }
    assert_int_equal(a.ones, 0);
    assert_int_equal(b.ones, 1);
    hf_wakes_call(&a.wakes, &one);
    hf_wakes_call(&a.wakes, &other);
    hf_wakes_exchange(&a.wakes, &a.app, &(struct hf_id){{11}});
    hf_wakes_exchange(&b.wakes, &b.app, &(struct hf_id){{12}});
    assert_int_equal(b.ones, 2);
    assert_int_equal(b.others, 1);
    assert_int_equal(b.alls, 0);
    /* More than are kept: any agent may be meant. */
    for (unsigned i = 0; i < HF_WAKES_KEPT + 1; i++) {
        hf_wakes_call(&a.wakes, &other);
    }
    hf_wakes_exchange(&a.wakes, &a.app, &(struct hf_id){{11}});
    hf_wakes_exchange(&b.wakes, &b.app, &(struct hf_id){{12}});
    assert_int_equal(b.others, 1 + HF_WAKES_KEPT);
    assert_int_equal(b.alls, 1);
    assert_int_equal(a.ones + a.others + a.alls, 0);
    hf_wakes_fini(&a.wakes);
    hf_wakes_fini(&b.wakes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_silence_begins_with_the_first_look_and_grows_while_the_server_listens, begin, end),
        cmocka_unit_test_setup_teardown(test_a_mark_that_changes_ends_it_even_when_it_goes_back,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_a_note_ends_it_whatever_the_mark_says_at_the_next_look,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_what_was_known_before_the_first_look_counts, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_what_nobody_asks_about_is_forgotten_and_the_rest_kept,
                                        begin, end),
        cmocka_unit_test(test_without_a_memory_nothing_is_silent),
        cmocka_unit_test(test_whom_one_server_calls_is_woken_at_the_other_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
