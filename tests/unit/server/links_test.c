/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The secret of links and what is made of it; downloads at their last byte come to it one after the other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/thread.h"
#include "os/fs.h"
#include "server/links.h"

struct fixture {
    char *dir, *key_path; /* owned */
    struct hf_server_links *links;
    struct hf_error err;
};

static int set_up(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);

    assert_non_null(f);
    assert_int_equal(hf_fs_make_temp_dir("hf-links-test", &f->dir, &f->err), HF_ERR_OK);
    f->key_path = hf_path_join(f->dir, "link.key");
    assert_int_equal(hf_server_links_create(f->key_path, &f->links, &f->err), HF_ERR_OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    hf_server_links_destroy(f->links);
    assert_int_equal(hf_fs_remove_tree(f->dir, &f->err), HF_ERR_OK);
    hf_free(f->dir);
    hf_free(f->key_path);
    hf_free(f);
    return 0;
}

static struct hf_link_record link_of(uint8_t id, const char *nonce)
{
    struct hf_link_record link = {.downloads = 0};

    memset(&link.id, id, sizeof link.id);
    (void)snprintf(link.nonce, sizeof link.nonce, "%s", nonce);
    return link;
}

static void test_a_key_hangs_on_secret_id_and_nonce(void **state)
{
    struct fixture *f = *state;
    const struct hf_link_record link = link_of(1, "aa"), other = link_of(2, "aa");
    const struct hf_link_record again = link_of(1, "ab");
    char key[HF_LINK_KEY_BYTES], more[HF_LINK_KEY_BYTES + 1];

    hf_server_links_key(f->links, &link, key);
    assert_int_equal(strlen(key), 64);
    assert_true(hf_server_links_key_is(f->links, &link, key));
    assert_false(hf_server_links_key_is(f->links, &other, key));
    assert_false(hf_server_links_key_is(f->links, &again, key));
    assert_false(hf_server_links_key_is(f->links, &link, ""));
    (void)snprintf(more, sizeof more, "%s0", key);
    assert_false(hf_server_links_key_is(f->links, &link, more));
    /* The next start reads the same secret; another file is another secret. */
    hf_server_links_destroy(f->links);
    f->links = NULL;
    assert_int_equal(hf_server_links_create(f->key_path, &f->links, &f->err), HF_ERR_OK);
    assert_true(hf_server_links_key_is(f->links, &link, key));
    hf_server_links_destroy(f->links);
    f->links = NULL;
    assert_int_equal(hf_fs_remove_scratch(f->key_path, &f->err), HF_ERR_OK);
    assert_int_equal(hf_server_links_create(f->key_path, &f->links, &f->err), HF_ERR_OK);
    assert_false(hf_server_links_key_is(f->links, &link, key));
}

static void test_a_secret_that_is_none_is_told(void **state)
{
    struct fixture *f = *state;
    struct hf_server_links *links = NULL;
    HF_CLEANUP(hf_free) char *path = hf_path_join(f->dir, "other.key");

    assert_int_equal(hf_fs_publish_new(path, hf_bytes_of("0123\n", 5), 0600, &f->err), HF_ERR_OK);
    assert_int_equal(hf_server_links_create(path, &links, &f->err), HF_ERR_CORRUPT);
    assert_non_null(strstr(f->err.message, "the secret of links: "));
    assert_non_null(strstr(f->err.message, "hint: remove it for a new one"));
}

struct waiter {
    struct hf_server_links *links;
    struct hf_server_transfer *transfer;
    struct hf_mutex mutex; /* guards: there */
    bool there;
};

static void come_to_the_last_byte(void *argument)
{
    struct waiter *waiter = argument;

    hf_server_links_last_byte(waiter->links, waiter->transfer);
    HF_LOCKED(&waiter->mutex);
    waiter->there = true;
}

static bool is_there(struct waiter *waiter)
{
    HF_LOCKED(&waiter->mutex);
    return waiter->there;
}

static void test_only_one_is_at_its_last_byte(void **state)
{
    struct fixture *f = *state;
    const struct hf_link_record link = link_of(1, "aa"), other = link_of(2, "aa");
    struct hf_server_transfer *first = hf_server_links_begin(f->links, &link.id);
    struct hf_server_transfer *apart = hf_server_links_begin(f->links, &other.id);
    struct waiter waiter = {.links = f->links,
                            .transfer = hf_server_links_begin(f->links, &link.id)};
    struct hf_thread *thread = NULL;
    struct hf_cancel pause;

    hf_mutex_init(&waiter.mutex);
    hf_cancel_init(&pause);
    assert_int_equal(hf_server_links_under_way(f->links, &link.id), 2);
    hf_server_links_last_byte(f->links, first);
    hf_server_links_last_byte(f->links, apart); /* of another link: nobody waits for it */
    assert_int_equal(hf_thread_start("hf-stream", come_to_the_last_byte, &waiter, &thread, &f->err),
                     HF_ERR_OK);
    /* It has every chance to come where it must not. */
    hf_cancel_sleep(&pause, 50);
    assert_false(is_there(&waiter));
    hf_server_links_end(f->links, first);
    hf_thread_join(thread);
    assert_true(is_there(&waiter));
    hf_server_links_cut(f->links, &link.id);
    assert_true(hf_server_links_is_cut(f->links, waiter.transfer));
    assert_false(hf_server_links_is_cut(f->links, apart));
    hf_server_links_end(f->links, waiter.transfer);
    hf_server_links_end(f->links, apart);
    assert_int_equal(hf_server_links_under_way(f->links, &link.id), 0);
    assert_int_equal(hf_server_links_under_way(NULL, &link.id), 0);
    hf_mutex_fini(&waiter.mutex);
}

#define LINKS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LINKS_TEST(test_a_key_hangs_on_secret_id_and_nonce),
        LINKS_TEST(test_a_secret_that_is_none_is_told),
        LINKS_TEST(test_only_one_is_at_its_last_byte),
    };
    return cmocka_run_group_tests_name("server/links", tests, NULL, NULL);
}
