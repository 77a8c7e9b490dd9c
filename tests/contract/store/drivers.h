/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a list of tests on every driver of a store, each test on a fresh, empty one. A driver that
 * passes all programs of this folder is one.
 */
#ifndef HF_TESTS_CONTRACT_STORE_DRIVERS_H
#define HF_TESTS_CONTRACT_STORE_DRIVERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "contract/store/object_server.h"
#include "os/fs.h"
#include "store/remote.h"
#include "store/store.h"

struct fixture {
    struct hf_store *store;
    struct hf_store *behind; /* the store that deletes: the same, or the one behind the server */
    char *dir;               /* of driver fs */
    struct object_server server;
};

struct driver {
    const char *kind;
    void (*open)(struct fixture *f);
};

static inline void open_fs(struct fixture *f)
{
    struct hf_error err;
    if (hf_fs_exists("/dev/shm")) {
        (void)setenv("TMPDIR", "/dev/shm", 0); /* ten thousand durable objects, in seconds */
    }
    assert_int_equal(hf_fs_make_temp_dir("hf-store-contract", &f->dir, &err), HF_ERR_OK);
    assert_int_equal(
        hf_store_fs_open(&(struct hf_store_fs_options){.root = f->dir}, &f->store, &err),
        HF_ERR_OK);
}

static inline void open_mem(struct fixture *f)
{
    struct hf_error err;
    assert_int_equal(hf_store_mem_create(&f->store, &err), HF_ERR_OK);
}

/* Over a real connection to a server with a store in memory. */
static inline void open_remote(struct fixture *f)
{
    struct hf_error err = {.message = ""};
    struct hf_secret bearer;
    assert_int_equal(hf_store_mem_create(&f->behind, &err), HF_ERR_OK);
    object_server_start(&f->server, f->behind);
    assert_true(hf_secret_set(&bearer, hf_bytes_of(OBJECT_SERVER_KEY, strlen(OBJECT_SERVER_KEY))));
    HF_CLEANUP(hf_free) char *url = object_server_url(&f->server);
    const struct hf_store_remote_options options = {.base_url = url,
                                                    .bearer = &bearer,
                                                    .task = OBJECT_SERVER_TASK,
                                                    .attempt = OBJECT_SERVER_ATTEMPT,
                                                    .retry_ms = 1};
    if (hf_store_remote_open(&options, &f->store, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
}

static const struct driver drivers[] = {
    {"fs", open_fs}, {"mem", open_mem}, {"remote", open_remote}};
static const struct driver *current_driver;

static inline int set_up(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);
    assert_non_null(f);
    current_driver->open(f);
    f->behind = f->behind == NULL ? f->store : f->behind;
    *state = f;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    hf_fault_disarm_all();
    hf_store_close(f->store);
    if (f->behind != f->store) {
        object_server_stop(&f->server);
        hf_store_close(f->behind);
    }
    if (f->dir != NULL) {
        assert_int_equal(hf_fs_remove_tree(f->dir, &err), HF_ERR_OK);
    }
    hf_free(f->dir);
    hf_free(f);
    return 0;
}

#define ON_STORE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

/* The exit code of a test program: how many tests failed, over all drivers. */
#define RUN_ON_EVERY_DRIVER(tests)                                                                 \
    ({                                                                                             \
        int failed_ = 0;                                                                           \
        for (size_t driver_ = 0; driver_ < HF_ARRAY_LEN(drivers); driver_++) {                     \
            current_driver = &drivers[driver_];                                                    \
            failed_ += cmocka_run_group_tests_name(current_driver->kind, tests, NULL, NULL);       \
        }                                                                                          \
        failed_;                                                                                   \
    })

/* An agent deletes nothing, and its server takes no more than 32 components with the path. */
static inline bool is_remote(void)
{
    return strcmp(current_driver->kind, "remote") == 0;
}

/* ---- Shorthand: what must work, works ---- */

static inline enum hf_err put_text(struct fixture *f, const char *name, const char *text,
                                   struct hf_error *err)
{
    return hf_store_put(f->store, hf_str_of(name), hf_bytes_of_str(hf_str_of(text)), NULL, err);
}

static inline void must_put(struct fixture *f, const char *name, const char *text)
{
    struct hf_error err = {.message = ""};
    if (put_text(f, name, text, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
}

/* The object is there with this content. */
static inline void assert_content(struct fixture *f, const char *name, const char *text)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(HF_STORE_OBJECT_MAX_BYTES);
    struct hf_error err = {.message = ""};
    if (hf_store_get(f->store, hf_str_of(name), HF_STORE_OBJECT_MAX_BYTES, &out, &err) !=
        HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(out.len, strlen(text));
    assert_memory_equal(out.data, text, out.len);
}

static inline void assert_absent(struct fixture *f, const char *name)
{
    struct hf_error err;
    uint64_t size_bytes;
    assert_int_equal(hf_store_size(f->store, hf_str_of(name), &size_bytes, &err), HF_ERR_NOT_FOUND);
}

/* "call name: url: " is in front of what the driver says, and the driver says something. */
static inline void assert_framed(struct fixture *f, const char *call, const char *name,
                                 const struct hf_error *err)
{
    HF_CLEANUP(hf_free)
    char *frame = hf_asprintf("%s %s: %s: ", call, name, hf_store_url(f->store));
    assert_non_null(frame);
    if (strncmp(err->message, frame, strlen(frame)) != 0 || err->message[strlen(frame)] == '\0') {
        fail_msg("\"%s\" does not begin with \"%s\"", err->message, frame);
    }
}

/* A list as one text: "a b c", with " ..." behind it when there is more. Free with hf_free. */
static inline char *list_text(struct fixture *f, const char *prefix, const char *after, size_t max)
{
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL, .count = 0};
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT((size_t)16 << 20);
    struct hf_error err = {.message = ""};
    if (hf_store_list(f->store, hf_str_of(prefix), hf_str_of(after), max, &list, &err) !=
        HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    for (size_t i = 0; i < list.count; i++) {
        assert_int_equal(
            hf_buf_appendf(&text, &err, "%s%s", i == 0 ? "" : " ", list.entries[i].name),
            HF_ERR_OK);
    }
    if (list.more) {
        assert_int_equal(hf_buf_append_text(&text, " ...", &err), HF_ERR_OK);
    }
    const char *content = hf_buf_text(&text);
    assert_non_null(content);
    return hf_strdup(content);
}

static inline void assert_list(struct fixture *f, const char *prefix, const char *after, size_t max,
                               const char *expected)
{
    HF_CLEANUP(hf_free) char *text = list_text(f, prefix, after, max);
    assert_non_null(text);
    assert_string_equal(text, expected);
}

#endif
