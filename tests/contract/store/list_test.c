/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every driver: listing, whose exact order grooming's safety hangs on (keeps I6).
 */
#include "contract/store/drivers.h"

static void test_an_empty_store_lists_nothing(void **state)
{
    struct fixture *f = *state;
    assert_list(f, "", "", 0, "");
    assert_list(f, "j/", "", 0, "");
    assert_list(f, "", "j/01", 5, "");
}

static void test_names_come_in_byte_order_whatever_their_directories(void **state)
{
    struct fixture *f = *state;
    /* '-' and '.' are smaller than '/', digits and letters greater. */
    const char *names[] = {"a/z",   "a-",    "a.b/c", "a0",   "a-/x", "a-b", "a/a/a",
                           "a/a-a", "a/a.a", "b",     "A",    "_",    "a_",  "aa",
                           "a--",   "a-.",   "0",     "a/a0", "a-/-"};
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        if (strcmp(names[i], "a-") != 0) { /* "a-/x" makes a directory of it */
            must_put(f, names[i], names[i]);
        }
    }
    assert_list(f, "", "", 0,
                "0 A _ a-- a-. a-/- a-/x a-b a.b/c a/a-a a/a.a a/a/a a/a0 a/z a0 a_ aa b");
}

static void test_a_prefix_may_end_anywhere(void **state)
{
    struct fixture *f = *state;
    const char *names[] = {"j/01/p/0001", "j/01/p/0002", "j/01/t/0001",
                           "j/010/p/1",   "j/02/p/1",    "k/1"};
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        must_put(f, names[i], "x");
    }
    assert_list(f, "j/01/p/", "", 0, "j/01/p/0001 j/01/p/0002");
    assert_list(f, "j/01/", "", 0, "j/01/p/0001 j/01/p/0002 j/01/t/0001");
    assert_list(f, "j/01", "", 0, "j/01/p/0001 j/01/p/0002 j/01/t/0001 j/010/p/1");
    assert_list(f, "j/01/p/0002", "", 0, "j/01/p/0002");
    assert_list(f, "j/01/p/0002/", "", 0, "");
    assert_list(f, "j/01/p/0002/x", "", 0, "");
    assert_list(f, "j/01/p", "", 0, "j/01/p/0001 j/01/p/0002");
    assert_list(f, "k", "", 0, "k/1");
    assert_list(f, "k/1", "", 0, "k/1");
    assert_list(f, "l", "", 0, "");
    assert_list(f, "x/y/z", "", 0, "");
}

static void test_a_cursor_need_not_be_a_name_that_is_there(void **state)
{
    struct fixture *f = *state;
    const char *names[] = {"a/1", "a/3", "b/1", "c-1", "c/1"};
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        must_put(f, names[i], "x");
    }
    assert_list(f, "", "a/1", 0, "a/3 b/1 c-1 c/1");
    assert_list(f, "", "a/2", 0, "a/3 b/1 c-1 c/1");
    assert_list(f, "", "a/3", 0, "b/1 c-1 c/1");
    assert_list(f, "", "a", 0, "a/1 a/3 b/1 c-1 c/1");
    assert_list(f, "", "a/", 0, "a/1 a/3 b/1 c-1 c/1");
    assert_list(f, "", "a0", 0, "b/1 c-1 c/1");
    assert_list(f, "", "a/1/x", 0, "a/3 b/1 c-1 c/1");
    assert_list(f, "", "c", 0, "c-1 c/1");
    assert_list(f, "", "c-1", 0, "c/1");
    assert_list(f, "", "c/1", 0, "");
    assert_list(f, "", "z", 0, "");
    assert_list(f, "b", "a/1", 0, "b/1");
    assert_list(f, "b", "b/1", 0, "");
    assert_list(f, "a", "b", 0, "");
    assert_list(f, "a/", "A", 0, "a/1 a/3");
}

static void test_more_is_said_only_when_there_is_more(void **state)
{
    struct fixture *f = *state;
    const char *names[] = {"a/1", "a/2", "b/1", "c"};
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        must_put(f, names[i], "x");
    }
    assert_list(f, "", "", 1, "a/1 ...");
    assert_list(f, "", "", 2, "a/1 a/2 ...");
    assert_list(f, "", "", 3, "a/1 a/2 b/1 ...");
    assert_list(f, "", "", 4, "a/1 a/2 b/1 c");
    assert_list(f, "", "", 5, "a/1 a/2 b/1 c");
    assert_list(f, "a", "", 2, "a/1 a/2");
    assert_list(f, "", "a/1", 2, "a/2 b/1 ...");
    assert_list(f, "", "b/1", 1, "c");
}

static void test_sizes_are_listed(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL, .count = 0};
    must_put(f, "a", "");
    must_put(f, "b/c", "12345");
    assert_int_equal(hf_store_list(f->store, hf_str_of(""), hf_str_of(""), 0, &list, &err),
                     HF_ERR_OK);
    assert_int_equal(list.count, 2);
    assert_int_equal(list.entries[0].size_bytes, 0);
    assert_int_equal(list.entries[1].size_bytes, 5);
    hf_store_list_fini(&list);
    assert_int_equal(list.count, 0);
    assert_null(list.entries);
}

/* 10,000 names like those of packs, put in a scattered order, come sorted in pages of every kind.
 */
static void test_ten_thousand_names_in_order(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    const unsigned count = 10000;
    for (unsigned i = 0; i < count; i++) {
        unsigned number = (i * 7919U) % count;
        char name[64];
        snprintf(name, sizeof name, "j/%02u/%c/%06u-1-0", number / 1000,
                 number % 2 == 0 ? 'p' : 't', number);
        must_put(f, name, "");
    }
    size_t pages[] = {0, 997, 20000};
    for (size_t p = 0; p < HF_ARRAY_LEN(pages); p++) {
        char last[64] = "";
        size_t seen = 0;
        bool more = true;
        while (more) {
            HF_CLEANUP(hf_store_list_fini)
            struct hf_store_list list = {.entries = NULL, .count = 0};
            assert_int_equal(
                hf_store_list(f->store, hf_str_of("j/"), hf_str_of(last), pages[p], &list, &err),
                HF_ERR_OK);
            for (size_t i = 0; i < list.count; i++) {
                assert_true(strcmp(last, list.entries[i].name) < 0);
                snprintf(last, sizeof last, "%s", list.entries[i].name);
            }
            assert_true(list.count <= (pages[p] == 0 ? 1000 : pages[p]));
            seen += list.count;
            more = list.more;
        }
        assert_int_equal(seen, count);
    }
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL, .count = 0};
    assert_int_equal(
        hf_store_list(f->store, hf_str_of("j/03/p/0031"), hf_str_of(""), 0, &list, &err),
        HF_ERR_OK);
    assert_int_equal(list.count, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_STORE(test_an_empty_store_lists_nothing),
        ON_STORE(test_names_come_in_byte_order_whatever_their_directories),
        ON_STORE(test_a_prefix_may_end_anywhere),
        ON_STORE(test_a_cursor_need_not_be_a_name_that_is_there),
        ON_STORE(test_more_is_said_only_when_there_is_more),
        ON_STORE(test_sizes_are_listed),
        ON_STORE(test_ten_thousand_names_in_order),
    };
    return RUN_ON_EVERY_DRIVER(tests);
}
