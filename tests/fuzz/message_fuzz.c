/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between agent and server; the first byte chooses which. What decodes encodes and decodes again.
 */
#include "format/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define AGAIN(kind, value)                                                                         \
    do {                                                                                           \
        HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT((size_t)64 << 20);               \
        HF_ASSERT(hf_msg_##kind##_encode(&(value), &bytes, &err) == HF_ERR_OK);                    \
    } while (0)

static void decode_calls(unsigned which, struct hf_str text)
{
    struct hf_error err;
    if (which == 0) {
        HF_CLEANUP(hf_msg_hello_fini) struct hf_msg_hello hello = {.host = ""};
        if (hf_msg_hello_decode(text, &hello, &err) == HF_ERR_OK) {
            AGAIN(hello, hello);
        }
    } else if (which == 1) {
        HF_CLEANUP(hf_msg_poll_fini) struct hf_msg_poll poll = {.session = ""};
        if (hf_msg_poll_decode(text, &poll, &err) == HF_ERR_OK) {
            AGAIN(poll, poll);
        }
    } else if (which == 7) {
        struct hf_msg_slice slice;
        if (hf_msg_slice_decode(text, &slice, &err) == HF_ERR_OK) {
            AGAIN(slice, slice);
        }
    } else {
        HF_CLEANUP(hf_msg_finish_fini) struct hf_msg_finish finish = {.session = ""};
        if (hf_msg_finish_decode(text, &finish, &err) == HF_ERR_OK) {
            AGAIN(finish, finish);
        }
    }
}

static void decode_answers(unsigned which, struct hf_str text)
{
    struct hf_error err;
    if (which == 3) {
        struct hf_msg_hello_answer answer;
        if (hf_msg_hello_answer_decode(text, &answer, &err) == HF_ERR_OK) {
            AGAIN(hello_answer, answer);
        }
    } else if (which == 4) {
        HF_CLEANUP(hf_msg_poll_answer_fini) struct hf_msg_poll_answer answer = {.tasks = NULL};
        if (hf_msg_poll_answer_decode(text, &answer, &err) == HF_ERR_OK) {
            AGAIN(poll_answer, answer);
        }
    } else if (which == 5) {
        HF_CLEANUP(hf_msg_objects_fini) struct hf_msg_objects objects = {.items = NULL};
        if (hf_msg_objects_decode(text, &objects, &err) == HF_ERR_OK) {
            AGAIN(objects, objects);
        }
    } else {
        hf_msg_error_decode(text, 500, &err);
        HF_ASSERT(err.code != HF_ERR_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct hf_str text = {.data = (const char *)data + 1, .len = size - 1};
    unsigned which = data[0] % 8;
    if (which < 3 || which == 7) {
        decode_calls(which, text);
    } else {
        decode_answers(which, text);
    }
    return 0;
}
