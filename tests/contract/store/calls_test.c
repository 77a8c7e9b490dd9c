/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every driver: put, get, size and delete, one object at a time.
 */
#include "contract/store/drivers.h"

#define NAME "j/01/p/0001-1-0-ab"

static void test_what_was_put_comes_back(void **state)
{
    struct fixture *f = *state;
    must_put(f, NAME, "some bytes");
    must_put(f, "top", "at the top");
    assert_content(f, NAME, "some bytes");
    assert_content(f, "top", "at the top");
}

static void test_an_empty_object_is_an_object(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    uint64_t size_bytes = 7;
    must_put(f, NAME, "");
    assert_content(f, NAME, "");
    assert_int_equal(hf_store_size(f->store, hf_str_of(NAME), &size_bytes, &err), HF_ERR_OK);
    assert_int_equal(size_bytes, 0);
    must_put(f, NAME, "");
    assert_int_equal(put_text(f, NAME, "x", &err), HF_ERR_EXISTS);
}

static void test_every_byte_value_survives(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    uint8_t bytes[256];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)i;
    }
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(1024);
    assert_int_equal(
        hf_store_put(f->store, hf_str_of(NAME), hf_bytes_of(bytes, sizeof bytes), NULL, &err),
        HF_ERR_OK);
    assert_int_equal(hf_store_get(f->store, hf_str_of(NAME), 1024, &out, &err), HF_ERR_OK);
    assert_int_equal(out.len, sizeof bytes);
    assert_memory_equal(out.data, bytes, sizeof bytes);
}

static void test_the_same_bytes_again_are_success(void **state)
{
    struct fixture *f = *state;
    must_put(f, NAME, "some bytes");
    must_put(f, NAME, "some bytes");
    assert_content(f, NAME, "some bytes");
    assert_list(f, "", "", 0, NAME);
}

static void test_other_bytes_are_refused_and_change_nothing(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    must_put(f, NAME, "some bytes");
    const char *others[] = {"same bytes", "some byteS", "some byte", "some bytes ", ""};
    for (size_t i = 0; i < HF_ARRAY_LEN(others); i++) {
        assert_int_equal(put_text(f, NAME, others[i], &err), HF_ERR_EXISTS);
        assert_framed(f, "put", NAME, &err);
        assert_content(f, NAME, "some bytes");
    }
    assert_list(f, "", "", 0, NAME);
}

static void test_options_may_be_given_or_not(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct hf_store_put_options options = {.use_reserve = true};
    assert_int_equal(hf_store_put(f->store, hf_str_of(NAME), hf_bytes_of("x", 1), &options, &err),
                     HF_ERR_OK);
    assert_content(f, NAME, "x");
}

static void test_the_largest_object_goes_in_and_one_byte_more_does_not(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    uint64_t size_bytes = 0;
    uint8_t *bytes = hf_alloc_zero(HF_STORE_OBJECT_MAX_BYTES + 1);
    assert_non_null(bytes);
    assert_int_equal(hf_store_put(f->store, hf_str_of("big"),
                                  hf_bytes_of(bytes, HF_STORE_OBJECT_MAX_BYTES + 1), NULL, &err),
                     HF_ERR_LIMIT);
    assert_framed(f, "put", "big", &err);
    assert_absent(f, "big");
    bytes[HF_STORE_OBJECT_MAX_BYTES - 1] = 1;
    assert_int_equal(hf_store_put(f->store, hf_str_of("big"),
                                  hf_bytes_of(bytes, HF_STORE_OBJECT_MAX_BYTES), NULL, &err),
                     HF_ERR_OK);
    assert_int_equal(hf_store_size(f->store, hf_str_of("big"), &size_bytes, &err), HF_ERR_OK);
    assert_int_equal(size_bytes, HF_STORE_OBJECT_MAX_BYTES);
    /* Only the last byte differs. */
    bytes[HF_STORE_OBJECT_MAX_BYTES - 1] = 2;
    assert_int_equal(hf_store_put(f->store, hf_str_of("big"),
                                  hf_bytes_of(bytes, HF_STORE_OBJECT_MAX_BYTES), NULL, &err),
                     HF_ERR_EXISTS);
    hf_free(bytes);
}

static void test_what_is_not_there_is_not_found(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    uint64_t size_bytes;
    uint8_t byte;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(16);
    must_put(f, NAME, "some bytes");
    /* Missing, missing with its directory, a directory, below an object. */
    const char *names[] = {"j/01/p/0002", "x/y/z", "j/01/p", "j", NAME "/x", NAME "/x/y"};
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        struct hf_str name = hf_str_of(names[i]);
        assert_int_equal(hf_store_get(f->store, name, 16, &out, &err), HF_ERR_NOT_FOUND);
        assert_framed(f, "get", names[i], &err);
        assert_int_equal(hf_store_get_range(f->store, name, 0, &byte, 1, &err), HF_ERR_NOT_FOUND);
        assert_framed(f, "get", names[i], &err);
        assert_int_equal(hf_store_get_tail(f->store, name, 1, &out, &size_bytes, &err),
                         HF_ERR_NOT_FOUND);
        assert_framed(f, "get", names[i], &err);
        assert_int_equal(hf_store_size(f->store, name, &size_bytes, &err), HF_ERR_NOT_FOUND);
        assert_framed(f, "size", names[i], &err);
        assert_int_equal(hf_store_delete(f->store, name, &err),
                         is_remote() ? HF_ERR_DENIED : HF_ERR_NOT_FOUND);
        assert_framed(f, "delete", names[i], &err);
    }
    assert_content(f, NAME, "some bytes");
}

static void test_get_clears_the_buffer_and_keeps_to_max(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(64);
    must_put(f, NAME, "0123456789");
    assert_int_equal(hf_buf_append_text(&out, "old", &err), HF_ERR_OK);
    assert_int_equal(hf_store_get(f->store, hf_str_of(NAME), 10, &out, &err), HF_ERR_OK);
    assert_int_equal(out.len, 10);
    assert_int_equal(hf_store_get(f->store, hf_str_of(NAME), 9, &out, &err), HF_ERR_LIMIT);
    assert_framed(f, "get", NAME, &err);
    assert_int_equal(out.len, 0);
    HF_CLEANUP(hf_buf_fini) struct hf_buf small = HF_BUF_INIT(9);
    assert_int_equal(hf_store_get(f->store, hf_str_of(NAME), 10, &small, &err), HF_ERR_LIMIT);
}

static void test_a_range_is_exact_or_an_error(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    uint8_t out[16];
    struct hf_str name = hf_str_of(NAME);
    must_put(f, NAME, "0123456789");

    assert_int_equal(hf_store_get_range(f->store, name, 0, out, 10, &err), HF_ERR_OK);
    assert_memory_equal(out, "0123456789", 10);
    assert_int_equal(hf_store_get_range(f->store, name, 3, out, 4, &err), HF_ERR_OK);
    assert_memory_equal(out, "3456", 4);
    assert_int_equal(hf_store_get_range(f->store, name, 9, out, 1, &err), HF_ERR_OK);
    assert_memory_equal(out, "9", 1);
    assert_int_equal(hf_store_get_range(f->store, name, 10, out, 0, &err), HF_ERR_OK);
    assert_int_equal(hf_store_get_range(f->store, name, 4, out, 0, &err), HF_ERR_OK);

    assert_int_equal(hf_store_get_range(f->store, name, 0, out, 11, &err), HF_ERR_CORRUPT);
    assert_framed(f, "get", NAME, &err);
    assert_non_null(strstr(err.message, "ends after 10 bytes"));
    assert_int_equal(hf_store_get_range(f->store, name, 9, out, 2, &err), HF_ERR_CORRUPT);
    assert_int_equal(hf_store_get_range(f->store, name, 10, out, 1, &err), HF_ERR_CORRUPT);
    assert_int_equal(hf_store_get_range(f->store, name, 11, out, 0, &err), HF_ERR_CORRUPT);
    assert_int_equal(hf_store_get_range(f->store, name, UINT64_MAX, out, 1, &err), HF_ERR_CORRUPT);
    assert_int_equal(hf_store_get_range(f->store, name, UINT64_MAX - 1, out, 16, &err),
                     HF_ERR_CORRUPT);
}

static void test_a_tail_is_the_end_or_all(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    uint64_t size_bytes = 0;
    struct hf_str name = hf_str_of(NAME);
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(64);
    must_put(f, NAME, "0123456789");

    assert_int_equal(hf_store_get_tail(f->store, name, 3, &out, &size_bytes, &err), HF_ERR_OK);
    assert_int_equal(out.len, 3);
    assert_memory_equal(out.data, "789", 3);
    assert_int_equal(size_bytes, 10);
    size_t longer[] = {10, 11, SIZE_MAX};
    for (size_t i = 0; i < HF_ARRAY_LEN(longer); i++) {
        size_bytes = 0;
        assert_int_equal(hf_store_get_tail(f->store, name, longer[i], &out, &size_bytes, &err),
                         HF_ERR_OK);
        assert_int_equal(out.len, 10);
        assert_memory_equal(out.data, "0123456789", 10);
        assert_int_equal(size_bytes, 10);
    }
    assert_int_equal(hf_store_get_tail(f->store, name, 0, &out, &size_bytes, &err), HF_ERR_OK);
    assert_int_equal(out.len, 0);
    assert_int_equal(size_bytes, 10);
    must_put(f, "empty", "");
    assert_int_equal(hf_store_get_tail(f->store, hf_str_of("empty"), 5, &out, &size_bytes, &err),
                     HF_ERR_OK);
    assert_int_equal(out.len, 0);
    assert_int_equal(size_bytes, 0);
    HF_CLEANUP(hf_buf_fini) struct hf_buf small = HF_BUF_INIT(2);
    assert_int_equal(hf_store_get_tail(f->store, name, 3, &small, &size_bytes, &err), HF_ERR_LIMIT);
}

static void test_a_deleted_object_is_gone_and_its_name_free(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    must_put(f, NAME, "some bytes");
    must_put(f, "j/01/p/0002", "others");
    assert_int_equal(hf_store_delete(f->behind, hf_str_of(NAME), &err), HF_ERR_OK);
    assert_absent(f, NAME);
    assert_int_equal(hf_store_delete(f->behind, hf_str_of(NAME), &err), HF_ERR_NOT_FOUND);
    assert_list(f, "", "", 0, "j/01/p/0002");
    must_put(f, NAME, "other bytes");
    assert_content(f, NAME, "other bytes");
}

static void test_no_name_is_another_s_directory(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    must_put(f, "a/b", "object");
    assert_int_equal(put_text(f, "a/b/c", "below", &err), HF_ERR_EXISTS);
    assert_framed(f, "put", "a/b/c", &err);
    assert_int_equal(put_text(f, "a/b/c/d/e", "far below", &err), HF_ERR_EXISTS);
    assert_int_equal(put_text(f, "a", "above", &err), HF_ERR_EXISTS);
    assert_framed(f, "put", "a", &err);
    assert_list(f, "", "", 0, "a/b");
    must_put(f, "a/bc", "beside");
    must_put(f, "a/b-c", "beside");
}

static void test_bad_names_reach_no_driver(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    uint64_t size_bytes;
    uint8_t byte;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(16);
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL, .count = 0};
    const char *names[] = {"",       "/",    "/a",  "a/",  "a//b",     "../a",
                           "a/../b", ".",    "a/.", "..a", "a b",      "a\n",
                           "a\\",    "a\"b", "%41", "a:b", "\xc3\xa4", "a/.b"};
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        struct hf_str name = hf_str_of(names[i]);
        assert_int_equal(hf_store_put(f->store, name, hf_bytes_of("x", 1), NULL, &err),
                         HF_ERR_INVALID);
        assert_non_null(strstr(err.message, "put: "));
        assert_non_null(strstr(err.message, "is refused: "));
        assert_int_equal(hf_store_get(f->store, name, 1, &out, &err), HF_ERR_INVALID);
        assert_int_equal(hf_store_get_range(f->store, name, 0, &byte, 1, &err), HF_ERR_INVALID);
        assert_int_equal(hf_store_get_tail(f->store, name, 1, &out, &size_bytes, &err),
                         HF_ERR_INVALID);
        assert_int_equal(hf_store_size(f->store, name, &size_bytes, &err), HF_ERR_INVALID);
        assert_int_equal(hf_store_delete(f->store, name, &err), HF_ERR_INVALID);
    }
    const char *beginnings[] = {"/", "/a", "a//", "..", "a/..", "a b", ".a"};
    for (size_t i = 0; i < HF_ARRAY_LEN(beginnings); i++) {
        struct hf_str text = hf_str_of(beginnings[i]);
        assert_int_equal(hf_store_list(f->store, text, hf_str_of(""), 1, &list, &err),
                         HF_ERR_INVALID);
        assert_non_null(strstr(err.message, "prefix"));
        assert_int_equal(hf_store_list(f->store, hf_str_of(""), text, 1, &list, &err),
                         HF_ERR_INVALID);
        assert_non_null(strstr(err.message, "cursor"));
    }
    struct hf_str with_nul = {.data = "a\0b", .len = 3};
    assert_int_equal(hf_store_size(f->store, with_nul, &size_bytes, &err), HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "name \"a?b\" is refused"));
    assert_list(f, "", "", 0, "");
}

static void test_names_up_to_the_limits(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    char name[HF_STORE_NAME_MAX_BYTES + 2];
    memset(name, 'n', sizeof name);
    name[255] = '/';
    name[510] = '/';
    name[512] = '\0';
    must_put(f, name, "long");
    assert_content(f, name, "long");
    assert_list(f, "", "", 0, name);
    name[512] = 'n';
    name[513] = '\0';
    assert_int_equal(put_text(f, name, "long", &err), HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "longer than 512 bytes"));
    /* The deepest: a component each second byte. */
    memset(name, 'n', sizeof name);
    for (size_t i = 1; i < 511; i += 2) {
        name[i] = '/';
    }
    name[511] = '\0';
    if (!is_remote()) {
        must_put(f, name, "deep");
        assert_content(f, name, "deep");
        assert_list(f, "n/n/", "", 0, name);
    }
    memset(name, 'n', sizeof name);
    name[256] = '\0';
    assert_int_equal(put_text(f, name, "x", &err), HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "component is longer than 255 bytes"));
}

static void test_faults_before_and_after_the_effect(void **state)
{
#ifdef HF_FAULTS
    struct fixture *f = *state;
    struct hf_error err;
    char point[64];

    snprintf(point, sizeof point, "store.%s.put", current_driver->kind);
    hf_fault_arm(point, HF_ERR_NO_SPACE);
    assert_int_equal(put_text(f, NAME, "x", &err), HF_ERR_NO_SPACE);
    assert_framed(f, "put", NAME, &err);
    assert_absent(f, NAME);

    snprintf(point, sizeof point, "store.%s.put.done", current_driver->kind);
    hf_fault_arm(point, HF_ERR_TIMEOUT);
    assert_int_equal(put_text(f, NAME, "x", &err), HF_ERR_TIMEOUT);
    assert_framed(f, "put", NAME, &err);
    assert_content(f, NAME, "x");
    must_put(f, NAME, "x"); /* the lost answer did no harm */

    if (!is_remote()) {
        snprintf(point, sizeof point, "store.%s.delete.done", current_driver->kind);
        hf_fault_arm(point, HF_ERR_TIMEOUT);
        assert_int_equal(hf_store_delete(f->store, hf_str_of(NAME), &err), HF_ERR_TIMEOUT);
        assert_framed(f, "delete", NAME, &err);
        assert_absent(f, NAME);
    }

    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL, .count = 0};
    snprintf(point, sizeof point, "store.%s.list", current_driver->kind);
    hf_fault_arm(point, HF_ERR_UNAVAILABLE);
    assert_int_equal(hf_store_list(f->store, hf_str_of("j/"), hf_str_of(""), 0, &list, &err),
                     HF_ERR_UNAVAILABLE);
    assert_framed(f, "list", "j/", &err);
#else
    (void)state;
    skip();
#endif
}

static void test_abilities_were_probed(void **state)
{
    struct fixture *f = *state;
    struct hf_store_abilities abilities = hf_store_abilities(f->store);
    assert_true(abilities.put_if_absent);
    assert_true(abilities.consistent_list);
    assert_list(f, "", "", 0, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_STORE(test_what_was_put_comes_back),
        ON_STORE(test_an_empty_object_is_an_object),
        ON_STORE(test_every_byte_value_survives),
        ON_STORE(test_the_same_bytes_again_are_success),
        ON_STORE(test_other_bytes_are_refused_and_change_nothing),
        ON_STORE(test_options_may_be_given_or_not),
        ON_STORE(test_the_largest_object_goes_in_and_one_byte_more_does_not),
        ON_STORE(test_what_is_not_there_is_not_found),
        ON_STORE(test_get_clears_the_buffer_and_keeps_to_max),
        ON_STORE(test_a_range_is_exact_or_an_error),
        ON_STORE(test_a_tail_is_the_end_or_all),
        ON_STORE(test_a_deleted_object_is_gone_and_its_name_free),
        ON_STORE(test_no_name_is_another_s_directory),
        ON_STORE(test_bad_names_reach_no_driver),
        ON_STORE(test_names_up_to_the_limits),
        ON_STORE(test_faults_before_and_after_the_effect),
        ON_STORE(test_abilities_were_probed),
    };
    return RUN_ON_EVERY_DRIVER(tests);
}
