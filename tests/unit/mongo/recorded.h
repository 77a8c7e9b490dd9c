/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recorded answers of a real server, for the tests of this room.
 */
#ifndef HF_TESTS_UNIT_MONGO_RECORDED_H
#define HF_TESTS_UNIT_MONGO_RECORDED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "mongo/client_internal.h"
#include "mongo/reply_internal.h"
#include "os/fs.h"

/* The member `part` ("request", "response") of tests/fixtures/recorded/<name>.json; destroy with bson_destroy. */
static inline bson_t *recorded_part(const char *name, const char *part)
{
    const char *root = getenv("HF_TEST_FIXTURES");
    assert_non_null(root);
    HF_CLEANUP(hf_free) char *path = hf_asprintf("%s/recorded/%s.json", root, name);
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(64u << 20);
    struct hf_error err;
    bson_error_t error = {0};
    bson_t inside;

    assert_non_null(path);
    if (hf_fs_read_whole(path, 32u << 20, &text, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    bson_t *whole = bson_new_from_json(text.data, (ssize_t)text.len, &error);
    if (whole == NULL) {
        fail_msg("%s: %s", path, error.message);
    }
    assert_true(hf_mongo_get_doc(whole, part, &inside));
    bson_t *copy = bson_copy(&inside);
    bson_destroy(whole);
    return copy;
}

static inline bson_t *recorded(const char *name)
{
    return recorded_part(name, "response");
}

static inline bson_t *bson_of(const char *json)
{
    bson_error_t error = {0};
    bson_t *doc = bson_new_from_json((const uint8_t *)json, -1, &error);
    if (doc == NULL) {
        fail_msg("%s: %s", json, error.message);
    }
    return doc;
}

/* HF_REPLY bson_t *reply = recorded("hello-primary"); */
static inline void recorded_drop_on_exit(bson_t **doc)
{
    bson_destroy(*doc);
}
#define HF_REPLY HF_CLEANUP(recorded_drop)

#endif
