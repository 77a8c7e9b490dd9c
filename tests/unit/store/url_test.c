/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "os/fs.h"
#include "store/store.h"
#include "store/url.h"

static void assert_path(const char *rest, const char *expected)
{
    struct hf_error err;
    HF_CLEANUP(hf_free) char *path = NULL;
    assert_int_equal(hf_store_url_to_path(hf_str_of(rest), &path, &err), HF_ERR_OK);
    assert_string_equal(path, expected);
}

static void assert_refused(const char *rest, const char *why)
{
    struct hf_error err;
    HF_CLEANUP(hf_free) char *path = NULL;
    assert_int_equal(hf_store_url_to_path(hf_str_of(rest), &path, &err), HF_ERR_INVALID);
    assert_null(path);
    assert_non_null(strstr(err.message, why));
}

static void test_paths_of_urls(void **state)
{
    (void)state;
    assert_path("/a/b", "/a/b");
    assert_path("localhost/a/b", "/a/b");
    assert_path("/", "/");
    assert_path("/back%20up/100%25/%C3%A4", "/back up/100%/\xc3\xa4");
    assert_path("/back up", "/back up");
    assert_refused("", "not absolute");
    assert_refused("a/b", "not absolute");
    assert_refused("host/a", "three slashes");
    assert_refused("/a?b", "query");
    assert_refused("/a#b", "fragment");
    assert_refused("/a%2", "hexadecimal");
    assert_refused("/a%zz", "hexadecimal");
    assert_refused("/a%", "hexadecimal");
    assert_refused("/a%00b", "hexadecimal");
}

static void test_a_path_s_url_leads_back_to_it(void **state)
{
    (void)state;
    const char *paths[] = {"/", "/a/b-c.d_e~f", "/back up", "/100%/?#", "/\xc3\xa4\x01", "/a:b@c"};
    for (size_t i = 0; i < HF_ARRAY_LEN(paths); i++) {
        struct hf_error err;
        HF_CLEANUP(hf_free) char *url = NULL;
        HF_CLEANUP(hf_free) char *path = NULL;
        assert_int_equal(hf_store_url_of_path(paths[i], &url, &err), HF_ERR_OK);
        assert_int_equal(strncmp(url, "file:///", 8), 0);
        assert_int_equal(hf_store_url_to_path(hf_str_of(url + 7), &path, &err), HF_ERR_OK);
        assert_string_equal(path, paths[i]);
    }
}

static void test_a_store_opens_by_its_url_and_tells_it(void **state)
{
    (void)state;
    struct hf_error err;
    HF_CLEANUP(hf_free) char *dir = NULL;
    HF_CLEANUP(hf_store_close) struct hf_store *store = NULL;
    HF_CLEANUP(hf_store_close) struct hf_store *again = NULL;
    assert_int_equal(hf_fs_make_temp_dir("hf store", &dir, &err), HF_ERR_OK);
    HF_CLEANUP(hf_free) char *url = hf_asprintf("file://%s/new", dir);
    struct hf_store_url_options options = {.url = url};
    assert_int_equal(hf_store_open_url(&options, &store, &err), HF_ERR_NOT_FOUND);
    options.create = true;
    assert_int_equal(hf_store_open_url(&options, &store, &err), HF_ERR_OK);
    assert_null(strchr(hf_store_url(store), ' '));
    options.url = hf_store_url(store);
    options.create = false;
    options.read_only = true;
    assert_int_equal(hf_store_open_url(&options, &again, &err), HF_ERR_OK);
    assert_string_equal(hf_store_url(again), hf_store_url(store));
    assert_int_equal(hf_store_put(again, hf_str_of("x"), hf_bytes_of("x", 1), NULL, &err),
                     HF_ERR_DENIED);
    assert_int_equal(hf_fs_remove_tree(dir, &err), HF_ERR_OK);
}

static void test_other_kinds_are_refused_by_name_without_their_secrets(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_store *store = NULL;
    assert_int_equal(
        hf_store_open_url(&(struct hf_store_url_options){.url = "s3://id:secret@bucket/x"}, &store,
                          &err),
        HF_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "no stores of kind \"s3\""));
    assert_null(strstr(err.message, "secret"));
    assert_int_equal(
        hf_store_open_url(&(struct hf_store_url_options){.url = "/plain/path"}, &store, &err),
        HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "hint: file:///"));
    assert_int_equal(
        hf_store_open_url(&(struct hf_store_url_options){.url = "file://a"}, &store, &err),
        HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "open store file://a: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_of_urls),
        cmocka_unit_test(test_a_path_s_url_leads_back_to_it),
        cmocka_unit_test(test_a_store_opens_by_its_url_and_tells_it),
        cmocka_unit_test(test_other_kinds_are_refused_by_name_without_their_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
