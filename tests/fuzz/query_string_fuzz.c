/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a request target. What is taken apart and put together again must come apart the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "net/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void append(struct hf_buf *out, const char *text, bool encoded)
{
    struct hf_error err;
    enum hf_err code =
        encoded ? hf_url_encode(out, hf_str_of(text), &err) : hf_buf_append_text(out, text, &err);

    if (code != HF_ERR_OK) {
        abort();
    }
}

static void put_together(const struct hf_url_target *target, struct hf_buf *out)
{
    bool first = true;
    struct hf_error err;

    for (size_t i = 0; i < target->segment_count; i++) {
        append(out, "/", false);
        append(out, target->segments[i], true);
    }
    if (target->segment_count == 0 || target->trailing_slash) {
        append(out, "/", false);
    }
    for (size_t i = 0; i < target->parameter_count; i++) {
        if (hf_url_add_parameter(out, &first, target->parameters[i].name,
                                 hf_str_of(target->parameters[i].value), &err) != HF_ERR_OK) {
            abort();
        }
    }
}

static bool equal(const struct hf_url_target *a, const struct hf_url_target *b)
{
    bool same = a->segment_count == b->segment_count && a->parameter_count == b->parameter_count &&
                a->trailing_slash == b->trailing_slash;

    for (size_t i = 0; same && i < a->segment_count; i++) {
        same = strcmp(a->segments[i], b->segments[i]) == 0;
    }
    for (size_t i = 0; same && i < a->parameter_count; i++) {
        same = strcmp(a->parameters[i].name, b->parameters[i].name) == 0 &&
               strcmp(a->parameters[i].value, b->parameters[i].value) == 0;
    }
    return same;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HF_CLEANUP(hf_url_target_fini) struct hf_url_target target = {0}, again = {0};
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(8 * HF_URL_TARGET_MAX_BYTES);
    struct hf_error err;

    if (hf_url_target_parse(&target, (struct hf_str){.data = (const char *)data, .len = size},
                            &err) != HF_ERR_OK) {
        return 0;
    }
    put_together(&target, &text);
    /* Encoding may lengthen a target beyond what is taken. */
    if (text.len <= HF_URL_TARGET_MAX_BYTES) {
        struct hf_str raw = {.data = (const char *)text.data, .len = text.len};
        if (hf_url_target_parse(&again, raw, &err) != HF_ERR_OK || !equal(&target, &again)) {
            abort();
        }
    }
    return 0;
}
