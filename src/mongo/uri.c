/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seed lists and connection strings as text: which hosts there are, and the string for one of them. The driver parses
 * what comes out; this file only takes apart and puts together. Must not connect.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "mongo/client_internal.h"

#define URI_MAX_BYTES 16384
static const char scheme[] = "mongodb://";

/* The pieces of a URI, borrowed from its text. userinfo is without '@', options without '?'. */
struct uri_parts {
    struct hf_str userinfo, hosts, database, options;
};

static bool is_uri(const char *text)
{
    return strncmp(text, scheme, sizeof scheme - 1) == 0;
}

static enum hf_err split_uri(const char *text, struct uri_parts *out, struct hf_error *err)
{
    const char *at = text + sizeof scheme - 1;
    size_t authority_len = strcspn(at, "/?");
    struct hf_str authority = {at, authority_len};

    *out = (struct uri_parts){.hosts = authority};
    /* The last '@': a password may hold one although it should be escaped. */
    for (size_t i = authority.len; i > 0; i--) {
        if (authority.data[i - 1] == '@') {
            out->userinfo = (struct hf_str){at, i - 1};
            out->hosts = (struct hf_str){at + i, authority.len - i};
            break;
        }
    }
    const char *rest = at + authority_len;
    if (*rest == '/') {
        rest++;
        out->database = (struct hf_str){rest, strcspn(rest, "?")};
        rest += out->database.len;
    }
    if (*rest == '?') {
        out->options = hf_str_of(rest + 1);
    }
    if (out->hosts.len == 0) {
        return hf_fail(err, HF_ERR_INVALID, "a mongodb:// uri without a host");
    }
    return HF_ERR_OK;
}

/* One host of a list, port added where it is missing. */
static enum hf_err read_host(struct hf_str text, char out[HF_MONGO_HOST_BYTES],
                             struct hf_error *err)
{
    struct hf_str port = hf_str_of("27017");
    size_t name_len = text.len;
    size_t from = 0;
    uint64_t number = 0;

    if (text.len > 0 && text.data[0] == '[') {
        const char *close = memchr(text.data, ']', text.len);
        if (close == NULL) {
            return hf_fail(err, HF_ERR_INVALID, "host %.*s: '[' without ']'", HF_STR_ARG(text));
        }
        from = (size_t)(close - text.data);
    }
    const char *colon = text.len > from ? memchr(text.data + from, ':', text.len - from) : NULL;
    if (colon != NULL) {
        name_len = (size_t)(colon - text.data);
        port = (struct hf_str){colon + 1, text.len - name_len - 1};
    }
    if (name_len == 0 || text.len + sizeof ":27017" > HF_MONGO_HOST_BYTES) {
        return hf_fail(err, HF_ERR_INVALID, "host '%.*s': its name is empty or too long",
                       HF_STR_ARG(text));
    }
    for (size_t i = 0; i < name_len; i++) {
        char c = text.data[i];
        if (c <= ' ' || c == 0x7f || strchr("/@?%,\"'<>\\", c) != NULL) {
            return hf_fail(err, HF_ERR_INVALID, "host '%.*s': not a name or an address",
                           HF_STR_ARG(text));
        }
    }
    if (!hf_parse_u64(port, &number) || number == 0 || number > 65535) {
        return hf_fail(err, HF_ERR_INVALID, "host '%.*s': the port is not 1 to 65535",
                       HF_STR_ARG(text));
    }
    memcpy(out, text.data, name_len);
    out[name_len] = ':';
    memcpy(out + name_len + 1, port.data, port.len);
    out[name_len + 1 + port.len] = '\0';
    return HF_ERR_OK;
}

enum hf_err hf_mongo_parse_seeds(const char *seeds, struct hf_mongo_hosts *out,
                                 struct hf_error *err)
{
    struct uri_parts parts;

    out->count = 0;
    if (seeds == NULL || seeds[0] == '\0') {
        return hf_fail(err, HF_ERR_INVALID, "the list of hosts is empty");
    }
    if (strlen(seeds) > URI_MAX_BYTES) {
        return hf_fail(err, HF_ERR_INVALID, "the list of hosts is longer than %d bytes",
                       URI_MAX_BYTES);
    }
    struct hf_str rest = hf_str_of(seeds);
    if (strncmp(seeds, "mongodb+srv://", strlen("mongodb+srv://")) == 0) {
        return hf_fail(
            err, HF_ERR_INVALID,
            "mongodb+srv:// is not understood; hint: list the hosts in a mongodb:// uri");
    }
    if (is_uri(seeds)) {
        if (split_uri(seeds, &parts, err) != HF_ERR_OK) {
            return err->code;
        }
        rest = parts.hosts;
    }
    for (;;) {
        const char *comma = memchr(rest.data, ',', rest.len);
        struct hf_str one = {rest.data, comma != NULL ? (size_t)(comma - rest.data) : rest.len};

        if (out->count == HF_MONGO_MAX_MEMBERS) {
            return hf_fail(err, HF_ERR_INVALID, "more than %d hosts", HF_MONGO_MAX_MEMBERS);
        }
        if (read_host(one, out->names[out->count], err) != HF_ERR_OK) {
            return err->code;
        }
        out->count++;
        if (comma == NULL) {
            return HF_ERR_OK;
        }
        rest = (struct hf_str){comma + 1, rest.len - one.len - 1};
    }
}

/* What would make the driver look for other servers than the one it is given. */
static bool option_is_dropped(struct hf_str option)
{
    static const char names[][20] = {"replicaset=",     "directconnection=", "loadbalanced=",
                                     "readpreference=", "appname=",          "maxstalenesssec"};

    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        size_t len = strlen(names[i]);
        if (option.len >= len && strncasecmp(option.data, names[i], len) == 0) {
            return true;
        }
    }
    return false;
}

static enum hf_err append_options(struct hf_buf *uri, struct hf_str options, struct hf_error *err)
{
    bool first = true;

    while (options.len > 0) {
        const char *end = memchr(options.data, '&', options.len);
        struct hf_str one = {options.data,
                             end != NULL ? (size_t)(end - options.data) : options.len};

        if (one.len > 0 && !option_is_dropped(one)) {
            if (hf_buf_appendf(uri, err, "%s%.*s", first ? "?" : "&", HF_STR_ARG(one)) !=
                HF_ERR_OK) {
                return err->code;
            }
            first = false;
        }
        size_t used = one.len + (end != NULL ? 1 : 0);
        options = (struct hf_str){options.data + used, options.len - used};
    }
    return HF_ERR_OK;
}

enum hf_err hf_mongo_member_uri(const char *base, const char *host, char **out,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf uri = HF_BUF_INIT(2 * URI_MAX_BYTES);
    struct uri_parts parts = {0};

    if (base != NULL) {
        if (!is_uri(base) || strlen(base) > URI_MAX_BYTES) {
            return hf_fail(err, HF_ERR_INVALID, "not a mongodb:// uri, or longer than %d bytes",
                           URI_MAX_BYTES);
        }
        if (split_uri(base, &parts, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (hf_buf_append_text(&uri, scheme, err) != HF_ERR_OK) {
        return err->code;
    }
    if (parts.userinfo.len > 0 &&
        hf_buf_appendf(&uri, err, "%.*s@", HF_STR_ARG(parts.userinfo)) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_buf_appendf(&uri, err, "%s/%.*s", host, HF_STR_ARG(parts.database)) != HF_ERR_OK ||
        append_options(&uri, parts.options, err) != HF_ERR_OK) {
        return err->code;
    }
    const char *text = hf_buf_text(&uri);
    *out = text == NULL ? NULL : hf_strdup(text);
    if (*out == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s: connection string", host);
    }
    return HF_ERR_OK;
}
