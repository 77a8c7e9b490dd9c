/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of JSON share: text in, text out.
 */
#ifndef HF_TESTS_UNIT_CODEC_JSON_ROOM_H
#define HF_TESTS_UNIT_CODEC_JSON_ROOM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/fault.h"
#include "codec/json.h"

static inline struct hf_json *decoded(const char *text)
{
    struct hf_json *value = NULL;
    struct hf_error err;
    if (hf_json_decode(hf_str_of(text), 1 << 20, &value, &err) != HF_ERR_OK) {
        fail_msg("%s: %s", text, err.message);
    }
    return value;
}

static inline void assert_encodes(const struct hf_json *value, const char *expected)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(1 << 20);
    struct hf_error err;
    assert_int_equal(hf_json_encode(value, 0, &out, &err), HF_ERR_OK);
    assert_string_equal(hf_buf_text(&out), expected);
}

static inline int disarm(void **state)
{
    (void)state;
    hf_fault_disarm_all();
    return 0;
}

#endif
