/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Percent-encoding and the splitting of request targets. Everything here comes from outside: each
 * length is bounded before it sizes anything, and an error names the place.
 */
#include "net/url.h"

#include "base/alloc.h"

/* Room for one encoded byte and a NUL. */
#define ENCODED_BYTES 4

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

enum hf_err hf_url_encode(struct hf_buf *out, struct hf_str text, struct hf_error *err)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = (uint8_t)text.data[i];
        uint8_t encoded[ENCODED_BYTES] = {'%', (uint8_t)digits[byte >> 4],
                                          (uint8_t)digits[byte & 15], 0};
        struct hf_bytes piece =
            is_unreserved(text.data[i]) ? hf_bytes_of(&text.data[i], 1) : hf_bytes_of(encoded, 3);
        if (hf_buf_append(out, piece, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_url_add_parameter(struct hf_buf *out, bool *first, const char *name,
                                 struct hf_str value, struct hf_error *err)
{
    if (hf_buf_append_text(out, *first ? "?" : "&", err) != HF_ERR_OK ||
        hf_url_encode(out, hf_str_of(name), err) != HF_ERR_OK ||
        hf_buf_append_text(out, "=", err) != HF_ERR_OK ||
        hf_url_encode(out, value, err) != HF_ERR_OK) {
        return err->code;
    }
    *first = false;
    return HF_ERR_OK;
}

/* The part of raw up to the separator, which is taken off as well; *more tells whether there was
 * one. */
static struct hf_str take_until(struct hf_str *raw, char separator, bool *more)
{
    const char *end = raw->len == 0 ? NULL : memchr(raw->data, separator, raw->len);
    struct hf_str part = {.data = raw->data,
                          .len = end == NULL ? raw->len : (size_t)(end - raw->data)};

    *more = end != NULL;
    size_t taken = part.len + (end == NULL ? 0 : 1);
    raw->data += taken;
    raw->len -= taken;
    return part;
}

/* Decodes into *to, which has room (decoding never lengthens), ends it with NUL and moves *to
 * behind. */
static enum hf_err decode(struct hf_str raw, bool plus_is_space, char **to, const char *what,
                          struct hf_error *err)
{
    char *at = *to;

    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.data[i];
        if (c == '%') {
            uint8_t byte;
            if (raw.len - i < 3 ||
                !hf_hex_decode((struct hf_str){.data = raw.data + i + 1, .len = 2}, &byte, 1)) {
                return hf_fail(err, HF_ERR_INVALID, "%s: \"%%\" without two hexadecimal digits",
                               what);
            }
            c = (char)byte;
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c == '\0') {
            return hf_fail(err, HF_ERR_INVALID, "%s: a NUL byte", what);
        }
        *at++ = c;
    }
    *at++ = '\0';
    *to = at;
    return HF_ERR_OK;
}

static enum hf_err parse_segments(struct hf_url_target *target, char **to, struct hf_error *err)
{
    struct hf_str rest = {.data = target->path.data + 1, .len = target->path.len - 1};
    bool more = rest.len > 0;

    while (more) {
        struct hf_str raw = take_until(&rest, '/', &more);
        if (raw.len == 0) {
            if (!more) {
                target->trailing_slash = true;
                return HF_ERR_OK;
            }
            return hf_fail(err, HF_ERR_INVALID, "request path: an empty segment");
        }
        if (target->segment_count == HF_URL_SEGMENTS_MAX) {
            return hf_fail(err, HF_ERR_LIMIT, "request path: more than %d segments",
                           HF_URL_SEGMENTS_MAX);
        }
        const char *segment = *to;
        if (decode(raw, false, to, "request path", err) != HF_ERR_OK) {
            return err->code;
        }
        if (strcmp(segment, ".") == 0 || strcmp(segment, "..") == 0) {
            return hf_fail(err, HF_ERR_INVALID, "request path: the segment \"%s\"", segment);
        }
        target->segments[target->segment_count++] = segment;
    }
    return HF_ERR_OK;
}

static enum hf_err parse_parameters(struct hf_url_target *target, char **to, struct hf_error *err)
{
    struct hf_str rest = target->query;
    bool more = rest.len > 0, has_value;

    while (more) {
        struct hf_str value = take_until(&rest, '&', &more);
        if (value.len == 0) {
            continue; /* "a=1&&b=2", "?" and a last "&" are common and mean nothing */
        }
        if (target->parameter_count == HF_URL_PARAMETERS_MAX) {
            return hf_fail(err, HF_ERR_LIMIT, "query: more than %d parameters",
                           HF_URL_PARAMETERS_MAX);
        }
        struct hf_url_parameter *parameter = &target->parameters[target->parameter_count];
        struct hf_str name = take_until(&value, '=', &has_value);
        parameter->name = *to;
        if (decode(name, true, to, "query", err) != HF_ERR_OK) {
            return err->code;
        }
        parameter->value = *to;
        if (decode(value, true, to, "query", err) != HF_ERR_OK) {
            return err->code;
        }
        target->parameter_count++;
    }
    return HF_ERR_OK;
}

enum hf_err hf_url_target_parse(struct hf_url_target *target, struct hf_str raw,
                                struct hf_error *err)
{
    struct hf_url_target parsed = {0};
    bool has_query;

    if (raw.len == 0 || raw.data[0] != '/') {
        return hf_fail(err, HF_ERR_INVALID, "request target does not begin with \"/\"");
    }
    if (raw.len > HF_URL_TARGET_MAX_BYTES) {
        return hf_fail(err, HF_ERR_LIMIT, "request target: %zu bytes, the limit is %zu", raw.len,
                       HF_URL_TARGET_MAX_BYTES);
    }
    parsed.path = take_until(&raw, '?', &has_query);
    parsed.query = raw;
    /* Each text is at most as long as its raw form, and its NUL takes a separator's place; the two
     * more are for a name without "=" and the end. */
    size_t room = parsed.path.len + parsed.query.len + HF_URL_PARAMETERS_MAX + 2;
    HF_CLEANUP(hf_free) char *text = hf_alloc(room);
    if (text == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "request target: no memory for %zu bytes", room);
    }
    char *to = text;
    if (parse_segments(&parsed, &to, err) != HF_ERR_OK ||
        parse_parameters(&parsed, &to, err) != HF_ERR_OK) {
        return err->code;
    }
    HF_ASSERT((size_t)(to - text) <= room);
    *target = parsed;
    target->text = HF_TAKE(text);
    return HF_ERR_OK;
}

void hf_url_target_fini(struct hf_url_target *target)
{
    hf_free(target->text);
    *target = (struct hf_url_target){0};
}

const char *hf_url_target_parameter(const struct hf_url_target *target, const char *name)
{
    for (size_t i = 0; i < target->parameter_count; i++) {
        if (strcmp(target->parameters[i].name, name) == 0) {
            return target->parameters[i].value;
        }
    }
    return NULL;
}

enum hf_err hf_url_target_once(const struct hf_url_target *target, const char *name,
                               const char **value, struct hf_error *err)
{
    size_t times = 0;

    for (size_t i = 0; i < target->parameter_count; i++) {
        times += strcmp(target->parameters[i].name, name) == 0;
    }
    if (times > 1) {
        return hf_fail(err, HF_ERR_INVALID, "query parameter %s is given %zu times", name, times);
    }
    *value = hf_url_target_parameter(target, name);
    return HF_ERR_OK;
}
