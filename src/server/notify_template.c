/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values into a template's places, nothing more: no conditions, no loops.
 */
#include "server/notify_template.h"

#include <inttypes.h>
#include <stdio.h>

const char *const hf_notice_names[] = {
    "id",       "alertId", "groupId", "eventTypeName", "alertTypeName",  "status",
    "what",     "scope",   "created", "notices",       "replicaSetName", "hostnameAndPort",
    "resolved", "text",    NULL};

static const char *known(struct hf_str name)
{
    for (size_t i = 0; hf_notice_names[i] != NULL; i++) {
        if (hf_str_equal_c(name, hf_notice_names[i])) {
            return hf_notice_names[i];
        }
    }
    return NULL;
}

static enum hf_err put(struct hf_buf *out, const char *text, bool as_json, struct hf_error *err)
{
    if (!as_json) {
        return hf_buf_append_text(out, text, err);
    }
    for (; *text != '\0'; text++) {
        enum hf_err code = *text == '"' || *text == '\\' ? hf_buf_appendf(out, err, "\\%c", *text)
                           : (uint8_t)*text < ' '
                               ? hf_buf_appendf(out, err, "\\u%04x", (unsigned)*text)
                               : hf_buf_append(out, hf_bytes_of(text, 1), err);
        if (code != HF_ERR_OK) {
            return code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err put_value(struct hf_buf *out, const struct hf_json *body, const char *name,
                             bool as_json, struct hf_error *err)
{
    const char *text = hf_json_get_text(body, name);

    if (text == NULL && hf_json_get(body, name) != NULL) {
        return hf_buf_appendf(out, err, "%" PRIu64, hf_json_get_u64(body, name, 0));
    }
    return text == NULL ? HF_ERR_OK : put(out, text, as_json, err);
}

static enum hf_err fill(struct hf_str rest, const struct hf_json *body, bool as_json,
                        struct hf_buf *out, struct hf_error *err)
{
    while (rest.len > 0) {
        const char *open = memmem(rest.data, rest.len, "{{", 2);
        size_t before = open == NULL ? rest.len : (size_t)(open - rest.data);
        if (hf_buf_append(out, hf_bytes_of(rest.data, before), err) != HF_ERR_OK) {
            return err->code;
        }
        if (open == NULL) {
            return HF_ERR_OK;
        }
        struct hf_str inside = {open + 2, rest.len - before - 2};
        const char *close = memmem(inside.data, inside.len, "}}", 2);
        if (close == NULL) {
            return hf_fail(err, HF_ERR_INVALID, "'{{' at byte %zu is not closed by '}}'",
                           (size_t)(open - rest.data));
        }
        struct hf_str name = {inside.data, (size_t)(close - inside.data)};
        while (name.len > 0 && *name.data == ' ') {
            name = (struct hf_str){name.data + 1, name.len - 1};
        }
        while (name.len > 0 && name.data[name.len - 1] == ' ') {
            name.len--;
        }
        const char *which = known(name);
        if (which == NULL) {
            return hf_fail(err, HF_ERR_INVALID, "'{{%.*s}}' is nothing that an alert has",
                           name.len > 40 ? 40 : (int)name.len, name.data);
        }
        if (put_value(out, body, which, as_json, err) != HF_ERR_OK) {
            return err->code;
        }
        size_t used = (size_t)(close + 2 - rest.data);
        rest = (struct hf_str){rest.data + used, rest.len - used};
    }
    return HF_ERR_OK;
}

enum hf_err hf_notice_render(struct hf_str template, const struct hf_json *body, bool as_json,
                             struct hf_buf *out, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    size_t from = out->len;

    if (fill(template, body, as_json, out, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!as_json) {
        return HF_ERR_OK;
    }
    struct hf_error why;
    if (hf_json_decode((struct hf_str){(const char *)out->data + from, out->len - from},
                       HF_NOTICE_TEMPLATE_MAX_BYTES * 2, &json, &why) != HF_ERR_OK) {
        return hf_fail(err, HF_ERR_INVALID, "what it gives is no JSON: %s", why.message);
    }
    return HF_ERR_OK;
}
